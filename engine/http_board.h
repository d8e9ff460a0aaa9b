/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_board.h - what any thread may read of a client's connections and counters on one shard.
 *
 *                enter               set               leave
 *      FREE/LOST ------> CONNECTING ------> OPEN, CLOSING ----> FREE, or LOST after a keep-alive
 *                                                               timeout, until it is entered anew
 *
 * Role      A table with an entry for each connection that the pool may have. The shard writes,
 *           watchdogs and metrics read; neither waits for the other. An entry is a seqlock: its
 *           `sequence` is odd while it is entered, so that a reader never mixes two connections.
 * Threads   hpxi_http_boards_*: as told. All else: the shard's, the only writer; stores, and no
 *           locked instruction.
 * Memory    All allocated in the beginning. The client's settings own the boards, which so live as
 *           long as the client, and as long as the shard has connections.
 */
#ifndef HPXI_HTTP_BOARD_H
#define HPXI_HTTP_BOARD_H

#include <stdalign.h>
#include <stdatomic.h>

#include <hpx/http.h>

#include "h2/ping.h"
#include "ring/alloc.h"
#include "ring/counters.h"
#include "ring/spsc.h"

#define HPXI_HTTP_ORIGIN_WORDS (HPX_HTTP_ORIGIN_BYTES / sizeof(uint64_t))

typedef struct hpxi_http_entry {
    alignas(HPXI_ISOLATE) hpxi_h2_ping_stats ping; /* the session writes it, frame by frame */
    _Atomic uint64_t sequence;
    _Atomic uint64_t id;
    _Atomic uint64_t began_ns;
    _Atomic uint32_t state; /* hpx_http_connection_state; 0: FREE */
    _Atomic uint32_t version;
    _Atomic uint64_t origin[HPXI_HTTP_ORIGIN_WORDS]; /* text, NUL-terminated */
} hpxi_http_entry;

/* Written by the shard alone; readable by any thread. */
typedef struct hpxi_http_counters {
    alignas(HPXI_CACHE_LINE) hpxi_counter requests;
    hpxi_counter done;
    hpxi_counter failed;
    hpxi_counter timeouts;
    hpxi_counter cancelled;
    hpxi_counter retries;
    hpxi_counter retries_goaway;
    hpxi_counter retries_refused;
    hpxi_counter retries_idle_closed;
    hpxi_counter redirects;
    hpxi_counter connects;
    hpxi_counter connects_failed;
    hpxi_counter reused;
    hpxi_counter waited;
    hpxi_counter idle_died;
    hpxi_counter idle_expired;
    hpxi_counter evicted;
    hpxi_counter connections;
    hpxi_counter idle;
    hpxi_counter h2_bytes;
    hpxi_counter h2_last_read_ns;
    hpxi_counter h2_rtt_ns;
    hpxi_counter h2_bdp_bytes;
    hpxi_counter h2_window_bytes;
    hpxi_counter h2_keep_alive_timeouts;
} hpxi_http_counters;

typedef struct hpxi_http_board hpxi_http_board;
struct hpxi_http_board {
    hpxi_http_counters counters;
    const hpx_allocator *allocator;
    hpxi_http_board *next; /* set once, when it is published */
    hpxi_http_entry *entries;
    uint32_t entry_count; /* the pool's total_max */
    uint32_t shard;
    uint32_t *free; /* ring of entries to enter, the one left longest ago first */
    uint32_t free_first;
    uint32_t free_count;
    uint64_t entered; /* so many times */
};

/* The boards that a client has, one for each shard that it uses: a list. */
typedef _Atomic(hpxi_http_board *) hpxi_http_boards;

/* NULL: no memory. Not published yet: free it, or publish it. @thread any */
hpxi_http_board *
hpxi_http_board_new(const hpx_allocator *allocator, uint32_t entry_count, uint32_t shard);
void hpxi_http_board_free(hpxi_http_board *board);

/* From now on read; once per client and shard. @thread any */
void hpxi_http_boards_publish(hpxi_http_boards *boards, hpxi_http_board *board);
void hpxi_http_boards_free(hpxi_http_boards *boards);

/* As hpx_http_connections() and hpx_http_get_stats(). @thread any */
uint32_t
hpxi_http_boards_read(const hpxi_http_boards *boards, hpx_http_connection_stats *out, uint32_t max);
void hpxi_http_boards_count(const hpxi_http_boards *boards, hpx_http_stats *out);

/* A connection begins. There is always an entry: the pool's limit is exact. */
hpxi_http_entry *hpxi_http_board_enter(
    hpxi_http_board *board, bool is_tls, const char *host, uint16_t port, uint64_t now_ns);
void hpxi_http_board_leave(hpxi_http_board *board, hpxi_http_entry *entry);

static inline void hpxi_http_entry_set(hpxi_http_entry *entry, hpx_http_connection_state state)
{
    atomic_store_explicit(&entry->state, (uint32_t)state, memory_order_relaxed);
}

static inline void hpxi_http_entry_set_version(hpxi_http_entry *entry, hpx_http_version version)
{
    atomic_store_explicit(&entry->version, (uint32_t)version, memory_order_relaxed);
}

/* HTTP/1.1 read something; of HTTP/2 the session tells. */
static inline void hpxi_http_entry_read(hpxi_http_entry *entry, uint64_t now_ns)
{
    atomic_store_explicit(&entry->ping.last_read_at_ns, now_ns, memory_order_relaxed);
}

#endif /* HPXI_HTTP_BOARD_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.h - one thread, one ring, and everything that lives on it.
 *
 * Role      shard.c runs the turn; the lists here are how connections ask for a later step in it.
 * Threads   `owner` members: the shard's thread only (asserted by HPXI_ASSERT_OWNER). `shared`:
 *           atomics, any thread.
 * Memory    Made on the shard's thread after it was pinned, so that pages are NUMA-local (first
 *           touch).
 */
#ifndef HPXI_SHARD_H
#define HPXI_SHARD_H

#include <pthread.h>

#include <hpx/http_server.h>
#include <hpx/ws.h>

#include "engine/allocator.h"
#include "engine/channel.h"
#include "engine/port.h"
#include "engine/random.h"
#include "engine/resolver.h"
#include "ring/clock.h"
#include "ring/doorbell.h"
#include "ring/ring.h"
#include "ring/sock.h"
#include "ring/wheel.h"
#include "tls/session_cache.h"

#define HPXI_SHARDS_MAX 64u
#define HPXI_PORTS_MAX  256u

/* Plain bytes of a TLS read: one record of 16 KiB, rounded up. */
#define HPXI_PLAIN_BYTES (32u << 10)

/* What the HTTP clients of a shard hang on (http.h). */
typedef struct hpxi_http_shard {
    struct hpxi_http_core *cores;
    struct hpxi_http_link *links;
    struct hpxi_http_conn *dirty;              /* have something to send */
    struct hpxi_http_conn *settle_conns;       /* may be freed */
    struct hpxi_http_request *settle_requests; /* owe events */
    struct hpxi_http_core *settle_cores;       /* may be freed */
} hpxi_http_shard;

typedef enum hpxi_shard_phase {
    HPXI_SHARD_DOWN, /* no ring */
    HPXI_SHARD_RUNNING,
    HPXI_SHARD_STOPPING, /* closing all connections until stop_deadline_ns */
    HPXI_SHARD_ABORTING, /* deadline passed: aborting what is left */
} hpxi_shard_phase;

struct hpx_shard {
    hpx_engine *engine;
    uint32_t index;
    const hpx_allocator *allocator;

    struct {
        pthread_t thread;
        hpxi_shard_phase phase;
        bool in_turn; /* inside hpxi_shard_turn(): handlers may run */
        hpxi_ring *ring;
        hpxi_socks socks;
        hpxi_wheel wheel;
        hpxi_clock clock;
        uint64_t now_ns;       /* read once per turn, and again when bytes arrive */
        uint64_t last_work_ns; /* for spin-then-sleep */
        hpxi_resolver *resolver;
        hpxi_random random;
        hpxi_tls_cache *tls_sessions;
        uint8_t *plain;  /* HPXI_PLAIN_BYTES: decrypted bytes, used within one callback */
        hpx_conn *conns; /* all of them */
        uint32_t conn_count;
        hpx_conn *settle_list; /* owe an event, or may be freed */
        hpx_conn *dirty_list;  /* have plain bytes to encrypt */
        hpxi_channel *publish_list;
        hpx_subscription *feed_list; /* their feeds have something to publish */
        hpx_listener *listeners;
        hpxi_http_shard http;
        struct { /* http_server.h */
            hpx_http_server *all;
            struct hpxi_server_conn *conns;
            struct hpxi_server_conn *dirty;
            struct hpxi_server_conn *settle;
            hpx_http_call *calls; /* owe an event */
            uint32_t conn_count;
        } servers;
        uint64_t stop_deadline_ns;
        bool had_aborts; /* the stop had to abort connections */
    } owner;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint32_t attached; /* owner.thread is valid */
        _Atomic uint32_t stop;                           /* engine asks to stop */
        _Atomic uint64_t stop_timeout_ns;
        _Atomic uint32_t links_count; /* high-water mark of `links` */
        hpxi_link *_Atomic links[HPXI_PORTS_MAX];
        _Atomic(struct hpxi_http_link *) http_inbox; /* links of ports' HTTP clients, new */
    } shared;

    hpxi_doorbell doorbell;
    hpxi_counters counters;
};

static inline bool hpxi_shard_is_owner(const hpx_shard *shard)
{
    return atomic_load_explicit(&shard->shared.attached, memory_order_acquire) != 0 &&
           pthread_equal(shard->owner.thread, pthread_self()) != 0;
}

#define HPXI_ASSERT_OWNER(shard) HPX_ASSERT(hpxi_shard_is_owner(shard))

/* Prepare (doorbell, counters); no ring yet. HPX_OK or -errno. */
hpx_status hpxi_shard_init(hpx_shard *shard, hpx_engine *engine, uint32_t index);
void hpxi_shard_fini(hpx_shard *shard);

/* On the thread that will own it: pin, ring, tables, on_shard_start. */
hpx_status hpxi_shard_up(hpx_shard *shard, hpx_error *error);

/* On the owner: free everything. No connection is left. */
void hpxi_shard_down(hpx_shard *shard);

/* One turn; sleeps at most `timeout_ns` if there is nothing to do and the wait mode allows. */
int hpxi_shard_turn(hpx_shard *shard, uint64_t timeout_ns);

/* Begin closing everything (owner). Then turn until hpxi_shard_is_quiet(). */
void hpxi_shard_stop(hpx_shard *shard, uint64_t timeout_ns);
bool hpxi_shard_is_quiet(const hpx_shard *shard);

/* Links of a port (any thread): publish slot `port_index`. */
void hpxi_shard_link(hpx_shard *shard, uint32_t port_index, hpxi_link *link);

/* Commands of all ports (link.c). Returns the number taken. */
uint32_t hpxi_links_control(hpx_shard *shard);
uint32_t hpxi_links_data(hpx_shard *shard);
bool hpxi_links_are_empty_sc(hpx_shard *shard);

/* A channel has something to publish at the end of the turn (link.c). */
void hpxi_shard_mark_publish(hpx_shard *shard, hpxi_channel *channel);
void hpxi_shard_mark_feed(hpx_shard *shard, hpx_subscription *subscription);
uint32_t hpxi_shard_publish(hpx_shard *shard);

/* Steps for the HTTP clients (http_core.c). */
uint32_t hpxi_http_commands(hpx_shard *shard);
void hpxi_http_flush(hpx_shard *shard);
uint32_t hpxi_http_settle(hpx_shard *shard);
void hpxi_http_publish(hpx_shard *shard);
bool hpxi_http_may_sleep(const hpx_shard *shard);
bool hpxi_http_is_empty_sc(hpx_shard *shard);
void hpxi_http_stop(hpx_shard *shard);
bool hpxi_http_abort(hpx_shard *shard); /* true: there was something */
bool hpxi_http_is_quiet(const hpx_shard *shard);
void hpxi_http_up(hpx_shard *shard);
void hpxi_http_down(hpx_shard *shard);
void hpxi_http_fini(hpx_shard *shard); /* the shard is down, or was never up */

#endif /* HPXI_SHARD_H */

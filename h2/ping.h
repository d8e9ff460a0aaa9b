/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ping.h - HTTP/2 ping accounting: bytes received, round trip, bandwidth-delay product, keep-alive.
 *
 * Role      What arrives is recorded on every frame; from it two things are decided, when to send a
 *           PING and how large the receive windows should be. Sans-IO: time is a parameter.
 * Threads   hpxi_h2_ping_stats has one writer, the shard thread, and any number of readers. The
 *           rest of hpxi_h2_ping belongs to the shard thread.
 * Memory    None but the struct itself; it never moves. The statistics may be the user's, so that
 *           they outlive the connection for whoever reads them.
 *
 *                 hpxi_h2_ping_poll(): a sample or a keep-alive is due
 *      QUIET ------------------------------------------------------------> IN_FLIGHT
 *        ^                                                                    |  |
 *        +---- hpxi_h2_ping_acknowledged(): RTT, BDP, perhaps a window -------+  |
 *                                                                                v
 *      nothing read for keep_alive_timeout_ns after the PING:               TIMED_OUT (absorbing)
 */
#ifndef HPXI_H2_PING_H
#define HPXI_H2_PING_H

#include <stdalign.h>
#include <stdatomic.h>

#include <hpx/base.h>

#include "ring/assert.h"

#define HPXI_H2_CACHE_LINE 64u
#define HPXI_H2_NEVER_NS   UINT64_MAX
#define HPXI_H2_LATER_NS   (UINT64_MAX - 1) /* of a sample: not while one is under way */

/*
 * What a watchdog and the metrics read: one cache line. Stores are relaxed, because each member is
 * a number of its own and none publishes other memory; only those of hpxi_h2_ping_clear() release,
 * and readers acquire, so that who sees a number of this use of the line sees that it is in use
 * anew (C17 5.1.2.4: the writer's later stores belong to the release sequence). With one writer an
 * addition is a load, an add and a store; no locked instruction is needed, and none is used.
 */
typedef struct hpxi_h2_ping_stats {
    alignas(HPXI_H2_CACHE_LINE) _Atomic uint64_t bytes; /* payload of DATA frames received */
    _Atomic uint64_t last_read_at_ns;                   /* when the last frame (any) was read */
    _Atomic uint64_t rtt_ns;                            /* smoothed; 0: no PING was answered yet */
    _Atomic uint64_t bdp_bytes;                         /* bandwidth-delay product as estimated */
    _Atomic uint32_t window_bytes; /* receive window of a stream that follows from it */
    _Atomic bool keep_alive_timed_out;
} hpxi_h2_ping_stats;

_Static_assert(sizeof(hpxi_h2_ping_stats) == HPXI_H2_CACHE_LINE, "one line, no other's data on it");

/* A copy of the statistics, for readers. Members are read one by one, not as one instant. */
typedef struct hpxi_h2_ping_snapshot {
    uint64_t bytes;
    uint64_t last_read_at_ns;
    uint64_t rtt_ns;
    uint64_t bdp_bytes;
    uint32_t window_bytes;
    bool keep_alive_timed_out;
} hpxi_h2_ping_snapshot;

typedef struct hpxi_h2_ping_config {
    uint32_t window_bytes;     /* to begin with: the BDP that the first sample is compared with */
    uint32_t window_bytes_max; /* never grown past it; == window_bytes: no sampling */
    uint64_t sample_delay_ns;  /* least time from one sample to the next, to begin with */
    uint64_t sample_delay_ns_max;    /* and the most, when the estimate is stable */
    uint64_t keep_alive_interval_ns; /* PING after so long without a frame; 0: no keep-alive */
    uint64_t keep_alive_timeout_ns;  /* no frame for so long after that PING: timed out */
    bool keep_alive_while_idle;      /* also while no stream is open */
    hpxi_h2_ping_stats *stats;       /* where they are kept, borrowed; NULL: in the ping itself */
} hpxi_h2_ping_config;

/* Windows from 256 KiB to 16 MiB, samples 100 ms to 10 s apart, PING after 15 s, timeout 10 s, not
 * while idle. */
#define HPXI_H2_PING_CONFIG_INIT                                                                   \
    {                                                                                              \
        .window_bytes = 256u << 10, .window_bytes_max = 16u << 20,                                 \
        .sample_delay_ns = 100 * HPX_NS_PER_MS, .sample_delay_ns_max = 10 * HPX_NS_PER_S,          \
        .keep_alive_interval_ns = 15 * HPX_NS_PER_S, .keep_alive_timeout_ns = 10 * HPX_NS_PER_S    \
    }

typedef enum hpxi_h2_ping_state {
    HPXI_H2_PING_QUIET,     /* no PING of ours is unanswered */
    HPXI_H2_PING_IN_FLIGHT, /* one is, sent at sent_at_ns */
    HPXI_H2_PING_TIMED_OUT, /* the peer is gone; no way out */
} hpxi_h2_ping_state;

typedef enum hpxi_h2_ping_action {
    HPXI_H2_PING_NOTHING = 0,
    HPXI_H2_PING_SEND,   /* send a PING now and call hpxi_h2_ping_sent() */
    HPXI_H2_PING_GIVE_UP /* keep-alive timed out: close the connection */
} hpxi_h2_ping_action;

typedef struct hpxi_h2_ping {
    hpxi_h2_ping_stats own;
    hpxi_h2_ping_stats *stats; /* `own`, or the user's: relaxed atomics, one writer */
    struct {                   /* shard thread only */
        hpxi_h2_ping_config config;
        hpxi_h2_ping_state state;
        bool sample_wanted;         /* DATA arrived, and the last sample is long enough ago */
        bool is_sample;             /* the PING in flight measures bandwidth, too */
        uint32_t stable_count;      /* samples in a row that did not grow the window */
        uint64_t sent_at_ns;        /* of the PING in flight */
        uint64_t bytes_at_start;    /* stats.bytes before the sample */
        uint64_t sample_at_ns;      /* no sample before */
        uint64_t sample_delay_ns;   /* now */
        uint64_t bandwidth_max_bps; /* bytes per second, the most that was measured */
    } owner;
} hpxi_h2_ping;

/* `config` is copied. @thread the shard's, as everything below but hpxi_h2_ping_read() */
void hpxi_h2_ping_init(hpxi_h2_ping *ping, const hpxi_h2_ping_config *config, uint64_t now_ns);

/* All zero: hpxi_h2_ping_init() does it, too. @thread the writer */
void hpxi_h2_ping_clear(hpxi_h2_ping_stats *stats);

/* The invariant, for HPX_XASSERT and tests. */
bool hpxi_h2_ping_is_valid(const hpxi_h2_ping *ping);

/* A sample begins with the DATA before which `bytes_before` had been received: what comes in the
 * same burst belongs to it, although the PING leaves after the burst was read. */
static inline void hpxi_h2_ping_want_sample(hpxi_h2_ping *ping, uint64_t bytes_before)
{
    ping->owner.sample_wanted = true;
    ping->owner.bytes_at_start = bytes_before;
    ping->owner.sample_at_ns = HPXI_H2_LATER_NS; /* until this one is done */
}

/* One frame that is not DATA was read. @alloc never */
static inline void hpxi_h2_ping_record_non_data(hpxi_h2_ping *ping, uint64_t now_ns)
{
    atomic_store_explicit(&ping->stats->last_read_at_ns, now_ns, memory_order_relaxed);
}

/* One DATA frame, or a part of one, with `bytes` of payload was read. @alloc never */
static inline void hpxi_h2_ping_record_data(hpxi_h2_ping *ping, uint32_t bytes, uint64_t now_ns)
{
    /* One writer: nobody can store between this load and this store. */
    const uint64_t before = atomic_load_explicit(&ping->stats->bytes, memory_order_relaxed);
    atomic_store_explicit(&ping->stats->bytes, before + bytes, memory_order_relaxed);
    atomic_store_explicit(&ping->stats->last_read_at_ns, now_ns, memory_order_relaxed);
    if (HPXI_UNLIKELY(now_ns >= ping->owner.sample_at_ns)) {
        hpxi_h2_ping_want_sample(ping, before);
    }
}

/* What is due at `now_ns`, with so many streams open. Cheap enough for every turn. */
hpxi_h2_ping_action hpxi_h2_ping_poll(hpxi_h2_ping *ping, uint32_t stream_count, uint64_t now_ns);

/* The PING was queued. There is at most one in flight. */
void hpxi_h2_ping_sent(hpxi_h2_ping *ping, uint64_t now_ns);

/*
 * The PING in flight was answered. Returns the receive window that streams should have from now on
 * when it has grown, otherwise 0. stats.rtt_ns holds the smoothed round trip afterwards.
 */
uint32_t hpxi_h2_ping_acknowledged(hpxi_h2_ping *ping, uint64_t now_ns);

/* When hpxi_h2_ping_poll() must be called at the latest; HPXI_H2_NEVER_NS: whenever there is input.
 * It may be in the past. */
uint64_t hpxi_h2_ping_deadline_ns(const hpxi_h2_ping *ping, uint32_t stream_count);

/* @thread any, while `stats` lives */
hpxi_h2_ping_snapshot hpxi_h2_ping_read(const hpxi_h2_ping_stats *stats);

#endif /* HPXI_H2_PING_H */

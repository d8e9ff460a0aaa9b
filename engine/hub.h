/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub.h - what every handle and subscription of one connection shares with its shard.
 *
 * Role      State, epoch and counters as the shard last published them; the number of handles; the
 *           number of requests pending, which handles on several ports take from together.
 * Threads   `shard`: the shard's thread. `shared`: atomics; each says who writes it. The rest is
 *           read-only once the connection is made.
 * Memory    Reference counted by the connection, its handles and its subscriptions.
 */
#ifndef HPXI_HUB_H
#define HPXI_HUB_H

#include <stdalign.h>
#include <stdatomic.h>

#include <hpx/session.h>

#include "engine/spec.h"
#include "ring/counters.h"
#include "ring/spsc.h"

/* hpx_session_stats, member by member, as atomics with one writer. */
typedef struct hpxi_session_counters {
    hpxi_counter requests_sent;
    hpxi_counter replies;
    hpxi_counter timeouts;
    hpxi_counter unsolicited_replies;
    hpxi_counter updates;
    hpxi_counter unrouted_updates;
    hpxi_counter subscribe_messages;
    hpxi_counter subscribe_topics;
    hpxi_counter unsubscribe_messages;
    hpxi_counter unsubscribe_topics;
    hpxi_counter stale_drops;
    hpxi_counter server_pings;
} hpxi_session_counters;

typedef struct hpxi_hub {
    const hpx_allocator *allocator;
    uint32_t shard_index;
    bool reconnects;    /* config.reconnect */
    bool can_request;   /* the protocol injects ids */
    bool can_subscribe; /* ... builds subscriptions */
    bool has_protocol;
    uint32_t requests_max;
    uint32_t reply_ring_bytes;
    uint64_t large_bytes_max;
    uint64_t message_bytes_max;
    uint64_t request_timeout_ns;

    struct {
        hpx_conn *conn; /* NULL before it is made and after it is freed */
        bool made;      /* the connection was made, or could not be */
    } shard;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint32_t refs;
        _Atomic uint32_t handles;      /* not yet released: ports add, the shard subtracts */
        _Atomic uint32_t state;        /* hpx_conn_state; written by the shard */
        _Atomic uint32_t send_blocked; /* send queue over its limit; written by the shard */
        _Atomic uint64_t epoch;        /* written by the shard */
        _Atomic uint64_t rtt_ns;       /* written by the shard */
        _Atomic uint32_t topics;       /* held; written by the shard */
        alignas(HPXI_ISOLATE) _Atomic uint32_t pending; /* any thread adds, the shard subtracts */
        alignas(HPXI_ISOLATE) hpxi_session_counters counters; /* written by the shard */
    } shared;
} hpxi_hub;

/* References: 1; handles: 0. NULL when out of memory. */
hpxi_hub *hpxi_hub_new(const hpxi_spec *spec, const hpx_allocator *allocator);
void hpxi_hub_retain(hpxi_hub *hub);
void hpxi_hub_release(hpxi_hub *hub); /* NULL is a no-op */

/* Takes one of requests_max; exact, however many threads ask. */
bool hpxi_hub_take_pending(hpxi_hub *hub);
void hpxi_hub_give_pending(hpxi_hub *hub);

void hpxi_hub_get_stats(const hpxi_hub *hub, hpx_session_stats *out);

static inline hpx_conn_state hpxi_hub_state(const hpxi_hub *hub)
{
    return (hpx_conn_state)atomic_load_explicit(&hub->shared.state, memory_order_acquire);
}

#endif /* HPXI_HUB_H */

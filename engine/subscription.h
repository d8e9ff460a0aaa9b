/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscription.h - one subscriber of a set of topics.
 *
 * Role      Made on a port (updates go through its feed) or inline (to a function). The shard joins
 *           it to its topics and routes updates to it; letting go is a flag that the shard looks
 *           for, not a command, so it needs no room in a ring and cannot fail or be overtaken.
 * Threads   `shard` members: the shard's thread. `port` members: the port's. `shared`: atomics.
 * Memory    One allocation, reference counted by its maker and its shard.
 */
#ifndef HPXI_SUBSCRIPTION_H
#define HPXI_SUBSCRIPTION_H

#include "engine/feed.h"
#include "engine/hub.h"
#include "engine/port.h"
#include "engine/topics.h"

struct hpx_subscription {
    const hpx_allocator *allocator;
    size_t bytes;            /* of the allocation */
    hpxi_hub *hub;           /* a reference */
    hpxi_port_core *core;    /* a reference: its doorbell; NULL: inline */
    hpx_update_fn on_update; /* inline */
    void *user;
    uint32_t topic_count;
    hpx_span *topics;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint32_t refs;
        _Atomic uint32_t leaving; /* unsubscribed or released: the maker sets, the shard reads */
        _Atomic uint32_t state;   /* hpx_subscription_state; written by the shard */
        uint64_t end_epoch;       /* written by the shard before the feed's end, ... */
        uint64_t end_time_ns;     /* ... read by the port after it */
    } shared;

    hpxi_feed feed; /* port */

    struct {
        alignas(HPXI_ISOLATE) hpx_conn *conn; /* NULL: not attached (any more) */
        hpxi_link *link;                      /* port: whose flag tells of leaving */
        hpxi_member *members;                 /* [topic_count] */
        uint32_t joined;                      /* topics that were not refused */
        uint32_t waiting;                     /* of them, not yet acknowledged in this epoch */
        bool live_owed;  /* all were acknowledged when it joined: LIVE in the settle step */
        bool overflowed; /* HPX_OVERFLOW_DISCONNECT: ended in the settle step */
        bool touched;    /* told something of this epoch: an interruption is told too */
        bool ended;      /* ENDED was delivered or put in the feed */
        bool dirty;      /* on the shard's publish list */
        hpx_subscription *next_dirty;
        hpx_subscription *next_of_conn;
        hpx_subscription *prev_of_conn;
        hpx_subscription *next_of_link;
        hpx_subscription *prev_of_link;
    } shard;

    struct {
        alignas(HPXI_ISOLATE) hpx_port *port; /* NULL once released */
        hpx_subscription *next;
        hpx_subscription *prev;
    } port;
};

/* What the two ways of making one have in common. References: 1. The error names what is wrong. */
typedef struct hpxi_subscription_config {
    hpxi_hub *hub;
    hpxi_port_core *core; /* NULL: inline */
    const hpx_span *topics;
    uint32_t topic_count;
    const hpx_subscribe_config *config; /* port; checked here */
    hpx_update_fn on_update;            /* inline */
    void *user;
    const hpx_allocator *allocator;
} hpxi_subscription_config;

hpx_status hpxi_subscription_new(
    hpx_subscription **out, const hpxi_subscription_config *config, hpx_error *error);
void hpxi_subscription_retain(hpx_subscription *subscription);
void hpxi_subscription_drop(hpx_subscription *subscription); /* one reference */

/* Shard (subscription_shard.c) ----------------------------------------------------------------- */

/* Join the topics of the connection; takes over a reference. On failure (HPX_E_LIMIT,
 * HPX_E_NO_MEMORY) nothing is joined. */
hpx_status hpxi_subscription_attach(hpx_subscription *subscription, hpx_conn *conn);

/* Let go of all topics and end it: ENDED with `error` follows (inline: now). Drops the shard's
 * reference if it was attached. */
void hpxi_subscription_end(
    hpx_subscription *subscription, hpx_shard *shard, const hpx_error *error);

static inline bool hpxi_subscription_is_leaving(const hpx_subscription *subscription)
{
    /* Acquire: what the maker did before (partner: hpx_subscription_unsubscribe). */
    return atomic_load_explicit(&subscription->shared.leaving, memory_order_acquire) != 0;
}

/* A message of one of its topics. */
void hpxi_subscription_update(
    hpx_subscription *subscription, const hpxi_member *member, const hpxi_feed_message *message);

/* The topic is acknowledged, and was not before. */
void hpxi_subscription_live(hpx_subscription *subscription, uint64_t epoch);

/* The server refused the topic of `member`, which leaves it. Ends the subscription with its last
 * topic. */
void hpxi_subscription_refused(
    hpx_subscription *subscription, hpxi_member *member, const hpx_error *error, uint64_t epoch);

/* What was put off to the settle step. True: it has ended. */
bool hpxi_subscription_settle(hpx_subscription *subscription, uint64_t epoch);

/* The connection of `epoch` is lost. */
void hpxi_subscription_interrupted(hpx_subscription *subscription, uint64_t epoch);

#endif /* HPXI_SUBSCRIPTION_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * market.h - a venue on a thread of its own, for tests of sessions with threads.
 *
 * Role      An engine of two shards: shard 0 is the clients', shard 1 listens and speaks the words
 *           of session_bed.h's dialect. It keeps what a server would keep per connection, counts
 *           what may never happen, and misbehaves by chance where it is told. Besides the dialect's
 *           it understands: "kick" (cuts the connection), "leave" (says "bye"), "restart" (closes
 *           with 1012), "flush" (answers all requests that it kept), "flood COUNT" (as many "sys I"
 *           messages), and of requests "order N", which go into a ledger.
 * Threads   Settings are made before clients connect, or are atomic. `shard` members: shard 1's
 *           thread. What was seen is atomic.
 */
#ifndef HPX_TESTS_MARKET_H
#define HPX_TESTS_MARKET_H

#include <stdatomic.h>

#include <hpx/hpx.h>

#include "session_bed.h"
#include "tests/support/failing_allocator.h"

#define MARKET_TOPICS  512u /* "t.0" to "t.511" */
#define MARKET_ORDERS  600000u
#define MARKET_CLIENTS 8u
#define MARKET_KEPT    1024u

typedef struct market market;

typedef struct market_client {
    market *owner;
    hpx_conn *conn; /* NULL: free */
    uint32_t serial;
    bool authenticated;
    bool alive;                  /* neither side has begun to end it */
    _Atomic uint32_t subscribed; /* topics named in subscribe messages, ... */
    _Atomic uint32_t unsubscribed;
    _Atomic uint32_t holds[MARKET_TOPICS]; /* times subscribed now */
} market_client;

typedef struct market_kept {
    uint64_t id;
    uint32_t due; /* answered when so many requests have come */
} market_kept;

struct market {
    hpx_engine *engine;
    toy_dialect dialect;
    hpx_protocol protocol;
    failing_allocator memory; /* the engine's */
    uint32_t descriptors;     /* before it was opened */
    char url[64];
    hpx_error error;

    /* How to behave. */
    _Atomic bool keep;               /* requests, until "flush" */
    _Atomic uint32_t silent_percent; /* of requests are never answered, ... */
    _Atomic uint32_t late_percent;   /* ... many requests later, perhaps in another epoch, ... */
    _Atomic uint32_t twice_percent;  /* ... twice */
    _Atomic uint32_t drop_per_mille; /* of requests cut the connection */
    _Atomic bool updates;            /* each request also makes a few, of topics held */

    /* What happened. */
    _Atomic uint32_t connects;
    _Atomic uint32_t alive_max; /* connections at once that neither side had begun to end */
    _Atomic uint32_t early;     /* messages before the authentication */
    _Atomic uint32_t twice;     /* subscribed though it was, or the other way round */
    _Atomic uint32_t requests, kept, sends;
    _Atomic uint32_t newest;               /* index of the newest client */
    _Atomic uint8_t orders[MARKET_ORDERS]; /* copies that came */

    struct {
        uint16_t port;
        uint64_t rng;
        market_client clients[MARKET_CLIENTS];
        market_kept kept[MARKET_KEPT];
        uint32_t kept_count;
    } shard;
};

/* `m` must be zeroed, but for settings, and is large: static. */
void market_open(market *m);
void market_close(market *m); /* and asserts that nothing is left */

/* A config for the market: authenticates, reconnects at once. `m` lives on. */
hpx_ws_config market_config(market *m);

/* Says what failed and ends the process: for threads, where assertions of cmocka cannot go. */
#define MARKET_CHECK(e)                                                                            \
    do {                                                                                           \
        if (!(e)) {                                                                                \
            market_fail(#e, __FILE__, __LINE__);                                                   \
        }                                                                                          \
    } while (0)

_Noreturn void market_fail(const char *what, const char *file, int line);

#endif /* HPX_TESTS_MARKET_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_places.h - a connection brought to a state and held there, for tests of what may happen
 * in any state.
 *
 * Role      Servers that stop talking where they are told: a name server that never answers, a
 *           listener whose backlog is full, one that accepts and says nothing, the venue of
 *           session_bed.h that does not answer authentication or subscriptions.
 * Threads   The test's.
 */
#ifndef HPX_TESTS_SESSION_PLACES_H
#define HPX_TESTS_SESSION_PLACES_H

#include "session_bed.h"
#include "tests/support/failing_allocator.h"

#define PLACE_SOCKETS_MAX 16u

typedef struct place {
    session_bed bed;
    toy_dialect dialect;
    hpx_protocol protocol;
    hpx_conn_state state;
    failing_allocator memory; /* the engine's */
    int sockets[PLACE_SOCKETS_MAX];
    uint32_t socket_count;
    char dns[32];
    char url[64];
} place;

/* The states in which a connection can be held. */
#define PLACES 8u
extern const hpx_conn_state places[PLACES];

/* The bed, and what holds a connection in `state`. */
void place_open(place *p, hpx_conn_state state);
void place_close(place *p);

/* The config that leads there; may be changed before connecting. */
hpx_ws_config place_config(place *p);

/* Connect, subscribe to "t", and turn until the state is reached. Any pointer may be NULL but
 * handle. */
void place_reach(
    place *p,
    const hpx_ws_config *config,
    hpx_handle **handle,
    hpx_stream **stream,
    hpx_subscription **subscription);

/* Turns until no connection is left on the shard (asserted); how long that took. */
uint64_t place_until_gone(place *p);

#endif /* HPX_TESTS_SESSION_PLACES_H */

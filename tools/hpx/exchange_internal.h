/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange_internal.h - the exchange's parts, for the files that make it up:
 *
 *   exchange.c          the market's schedule, connections, turns
 *   exchange_serve.c    a request's way to its answer, and how that goes wrong
 *   exchange_control.c  the methods test/fault and test/state
 */
#ifndef HPX_TOOL_EXCHANGE_INTERNAL_H
#define HPX_TOOL_EXCHANGE_INTERNAL_H

#include "exchange.h"
#include "faults.h"
#include "observed.h"
#include "rest.h"
#include "session.h"

/* An answer that is kept back. */
typedef struct exchange_late {
    struct exchange_late *next;
    uint64_t due_ns;
    uint64_t session_id;
    bool across; /* to another session, once its own is gone */
    size_t size;
    char data[];
} exchange_late;

struct exchange {
    polled engine;
    market market;
    session_shared shared;
    rest *rest;            /* or NULL */
    session *sessions;     /* doubly linked, the newest first */
    uint64_t session_last; /* id */
    uint32_t timed_count;  /* what waits for the clock, at the last look; 0: turns may be long */
    uint64_t timed_look_ns;
    uint64_t rate;
    uint64_t start_ns; /* of the schedule: update n is due at start + n / rate */
    uint64_t scheduled;
    exchange_stats stats;
    bool takes_faults;
    bool updates_are_faulty; /* duplicate_every or reorder_every is set */
    faults faults;
    observed observed;
    exchange_late *late; /* by their times */
    uint32_t late_count;
    uint64_t updates;    /* delivered while updates_are_faulty */
    uint32_t held_topic; /* of the update that is kept back... */
    size_t held_size;    /* ...0: none */
    char held[MARKET_UPDATE_BYTES];
    char address[EXCHANGE_ADDRESS_BYTES];
    char rest_address[EXCHANGE_ADDRESS_BYTES];
    char update[MARKET_UPDATE_BYTES];
    char reply[SESSION_REPLY_BYTES];
};

/* exchange.c */
void exchange_drop_slow(exchange *ex, session *s, const char *why);
void exchange_send_update(exchange *ex, session *s, hpx_span update);
void exchange_deliver(exchange *ex, uint32_t topic, hpx_span update); /* to its subscribers */

/* exchange_serve.c */
void exchange_serve(exchange *ex, session *s, hpx_span message);
void exchange_send_reply(exchange *ex, session *s, const char *data, size_t size);

/* An update while updates_are_faulty. */
void exchange_misdeliver(exchange *ex, uint32_t topic, hpx_span update);

/* Do what faults have due; how many things wait for the clock. */
uint32_t exchange_misbehave(exchange *ex, uint64_t now_ns);

/* Cut or close all connections but controllers. */
void exchange_drop_all(exchange *ex, uint16_t code);

void exchange_forget_late(exchange *ex);

/* Does it get nothing, by a fault? */
static inline bool exchange_is_mute(const exchange *ex, const session *s)
{
    return ex->faults.silent && !s->is_controller;
}

/* exchange_control.c */
void exchange_control(exchange *ex, session *s, const jsonrpc_request *request);

#endif /* HPX_TOOL_EXCHANGE_INTERNAL_H */

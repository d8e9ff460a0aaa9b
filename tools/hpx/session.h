/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - one client of the exchange: what it may do, what it subscribed to, its heartbeat.
 *
 * The dialect is that of the library's JSON-RPC protocol. Methods:
 *   public/auth, public/subscribe, public/unsubscribe, public/set_heartbeat,
 *   public/disable_heartbeat, public/test, public/get_time, private/subscribe,
 *   private/unsubscribe, private/buy, private/sell, private/cancel.
 * Orders live as long as their connection: no stale order survives a reconnect.
 */
#ifndef HPX_TOOL_SESSION_H
#define HPX_TOOL_SESSION_H

#include <hpx/hpx.h>

#include "faults.h"
#include "jsonrpc.h"
#include "market.h"
#include "observed.h"
#include "text.h"

#define SESSION_ORDERS_MAX  64u
#define SESSION_REPLY_BYTES 32768u

/* Error codes of the dialect. */
enum {
    SESSION_INVALID_CREDENTIALS = 13004,
    SESSION_UNAUTHORIZED = 13009,
    SESSION_TOO_MANY_ORDERS = 10047,
    SESSION_NOT_OPEN_ORDER = 11044,
};

typedef struct session {
    struct session *next, *previous;
    hpx_conn *conn;
    uint64_t id; /* counts connections from 1 */
    uint64_t started_ns;
    uint64_t requests;
    bool is_controller; /* called a method test/...: no fault touches it, no count counts it */
    uint64_t topics[MARKET_TOPICS_MAX / 64]; /* bit i: topic i is subscribed */
    bool is_authenticated;
    bool test_is_due;           /* a test_request is out and not answered */
    uint64_t heartbeat_ns;      /* interval, 0: off */
    uint64_t heartbeat_next_ns; /* when to ask, or to give up */
    uint32_t skipped_in_row;
    uint32_t order_count;
    uint64_t orders[SESSION_ORDERS_MAX];
} session;

/* What sessions share: the exchange's parts that requests touch. */
typedef struct session_shared {
    const market *market;
    const faults *faults; /* NULL: none */
    observed *observed;   /* NULL: nobody looks */
    bool require_auth;    /* for all but a few methods */
    uint32_t subscribers[MARKET_TOPICS_MAX];
    uint64_t order_last;
    uint64_t token_last;
} session_shared;

static inline bool session_has(const session *s, uint32_t topic)
{
    return (s->topics[topic / 64] >> (topic % 64) & 1) != 0;
}

/* Answer one message: the reply is in `reply`, empty if there is none to send. */
void session_request(
    session *s, session_shared *shared, hpx_span message, uint64_t now_ns, text *reply);

/* The same for a message that was parsed already. */
void session_answer(
    session *s,
    session_shared *shared,
    const jsonrpc_request *request,
    uint64_t now_ns,
    text *reply);

/* Take the session's subscriptions out of the counts, before it goes. */
void session_leave(session *s, session_shared *shared);

typedef enum session_beat {
    SESSION_BEAT_NONE,
    SESSION_BEAT_ASK,     /* send session_test_request */
    SESSION_BEAT_EXPIRED, /* no public/test came: close */
} session_beat;

extern const char session_test_request[];

/* What the heartbeat wants now. */
session_beat session_heartbeat(session *s, uint64_t now_ns);

#endif /* HPX_TOOL_SESSION_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - what a connection with a protocol is besides a WebSocket: requests, topics,
 * authentication.
 *
 *   conn.c: ... UPGRADING -> AUTHENTICATING -> RESUBSCRIBING -> READY
 *   begin() sends the first messages and the authentication; its answer, or none needed, leads to
 *   restoring every topic that is held; when all are acknowledged the connection is Ready. All on
 *   the one socket that the ready loop reads.
 *
 * Role      session.c classifies each message and sends it to its one place; session_auth.c is the
 *           way up; session_requests.c the requests; session_topics.c turns what topics want into
 *           batches, and answers into what they are.
 * Threads   The shard's. Completions are never delivered from inside a call of the app: what a call
 *           causes is done in the connection's settle step.
 */
#ifndef HPXI_SESSION_H
#define HPXI_SESSION_H

#include "engine/pending.h"
#include "engine/subscription.h"
#include "engine/topics.h"
#include "ring/alloc.h"

typedef struct hpxi_session {
    const hpx_protocol *protocol; /* the spec's copy */
    hpxi_hub *hub;                /* the connection's */
    hpxi_pending pending;
    hpxi_topics topics;
    hpx_subscription *subscriptions; /* attached ones */
    hpxi_buf scratch;                /* messages being built */
    hpxi_buf decoded;                /* decode_binary()'s output */
    hpxi_buf held;                   /* messages that came before READY, delivered after it */
    uint64_t held_missed;
    hpx_span *names; /* [topics_per_message_max], for batches */
    bool *accepted;  /* likewise */
    uint32_t names_max;
    hpxi_request *auth;
    hpxi_request *ping;
    hpxi_timer pace; /* until the token bucket lets a batch go */
    double tokens;
    uint64_t tokens_ns;
    uint64_t inline_token; /* the last one given */
    bool lost;   /* the connection left READY or an attempt: requests complete, topics reset */
    bool sweep;  /* a subscription has something for the settle step */
    bool closed; /* nothing may be added any more */
} hpxi_session;

/* Make the session of `conn` (its spec has a protocol). HPX_OK or HPX_E_NO_MEMORY. */
hpx_status hpxi_session_new(hpx_conn *conn);
void hpxi_session_free(hpx_conn *conn); /* nothing is pending or attached */

/* conn.c ->: the WebSocket is open; drive the way to READY. */
void hpxi_session_begin(hpx_conn *conn);

/* A data message arrived, in AUTHENTICATING, RESUBSCRIBING or READY. */
void hpxi_session_message(hpx_conn *conn, hpx_message_kind kind, hpx_span raw, uint64_t time_ns);

/* READY was announced: what was held back follows. */
void hpxi_session_ready(hpx_conn *conn);

/* The connection is lost, or closing: nothing more is sent or matched. Delivers nothing. */
void hpxi_session_lose(hpx_conn *conn);

/* The connection's settle step: complete what was lost, end what leaves, send batches. */
void hpxi_session_settle(hpx_conn *conn);

/* Before CLOSED: every subscription ends with `error`. */
void hpxi_session_end(hpx_conn *conn, const hpx_error *error);

/* The deadline of AUTHENTICATING passed. */
void hpxi_session_auth_timeout(hpx_conn *conn);

/* session.c, shared by its parts --------------------------------------------------------------- */

/* An empty writer over the scratch buffer; NULL data when out of memory. */
hpx_writer hpxi_session_writer(hpx_conn *conn);

/* Frame what was written as one text message. False: the connection failed. */
bool hpxi_session_send(hpx_conn *conn, const hpx_writer *writer);

/* The dialect failed to build `what`: the connection fails with it. */
void hpxi_session_dialect_failed(hpx_conn *conn, const char *what, hpx_status status);

/* The epoch that messages now belong to: the one of READY, or the one to come. */
uint64_t hpxi_session_epoch(const hpx_conn *conn);

/* One message goes out: a token less. */
void hpxi_session_spend(hpx_conn *conn);

/* session_auth.c ------------------------------------------------------------------------------- */

/* Facts of a message that concern authentication. */
void hpxi_session_on_auth(hpx_conn *conn, bool success, hpx_span reason);

/* Every topic restored? Then READY. */
void hpxi_session_check_restored(hpx_conn *conn);

/* session_requests.c --------------------------------------------------------------------------- */

typedef struct hpxi_request_config {
    hpxi_channel *channel; /* port, or NULL */
    hpx_reply_fn on_reply; /* inline */
    void *user;
    uint64_t token;
    uint64_t deadline_ns;      /* UINT64_MAX: none */
    const hpx_request_id *raw; /* NULL: the dialect gives an id */
} hpxi_request_config;

/* Send a request in READY. HPX_OK: it will complete. Else it was not sent: HPX_E_INVALID,
 * HPX_E_DUPLICATE, HPX_E_NO_MEMORY, HPX_E_AGAIN. The caller has taken it from the hub's pending. */
hpx_status hpxi_session_request(
    hpx_conn *conn, const hpxi_request_config *config, hpx_span payload, hpxi_request **out);

/* A driver's own request: an id, and what to do without an answer. NULL: none free. */
hpxi_request *hpxi_session_own_request(hpx_conn *conn, hpxi_pending_kind kind, uint64_t timeout_ns);

/* A driver's own request is over. */
void hpxi_session_drop_own(hpx_conn *conn, hpxi_request *request);

/* Complete an application's request: exactly once, and its slot is free before the app hears. */
void hpxi_session_complete(
    hpx_conn *conn, hpxi_request *request, hpx_status status, bool is_error, hpx_span payload);

/* Give up a request: completes as HPX_E_CANCELLED in the timers' step. */
void hpxi_session_cancel(hpx_conn *conn, hpxi_request *request);

/* The handle is released: its requests are forgotten. */
void hpxi_session_forget(hpx_conn *conn, const hpxi_channel *channel);

/* All requests end: the application's as HPX_E_DISCONNECTED. */
void hpxi_session_disconnect_requests(hpx_conn *conn);

/* session_topics.c ----------------------------------------------------------------------------- */

/* Send batches while there are topics to (un)subscribe and tokens to spend. */
void hpxi_session_send_batches(hpx_conn *conn);

/* The answer to a batch, by id. */
void hpxi_session_on_batch(
    hpx_conn *conn, hpxi_request *request, const hpx_classified *message, hpx_span text);

/* ... or by topic: MEANS_SUBSCRIBED, MEANS_UNSUBSCRIBED, MEANS_REFUSED. */
void hpxi_session_on_topic(hpx_conn *conn, const hpx_classified *message);

void hpxi_session_on_pace(hpxi_timer *timer, uint64_t now_ns);

#endif /* HPXI_SESSION_H */

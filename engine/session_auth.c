/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_auth.c - from an open WebSocket to READY: first messages, authentication, topics.
 *
 *   begin -> AUTHENTICATING -(answer, or none needed)-> RESUBSCRIBING -(all restored)-> READY
 *
 * Threads   The shard's.
 */
#include "engine/conn.h"
#include "engine/error.h"
#include "engine/session.h"

/* More first messages than that are a dialect that never says "no more". */
#define SESSION_ON_CONNECT_MAX 32u

/* The first messages. False: the connection failed. */
static bool session_greet(hpx_conn *conn)
{
    const hpx_protocol *protocol = conn->session->protocol;
    for (uint32_t i = 0; protocol->build_on_connect != NULL && i < SESSION_ON_CONNECT_MAX; i++) {
        hpx_writer writer = hpxi_session_writer(conn);
        hpxi_request *request = hpxi_session_own_request(
            conn, HPXI_PENDING_QUIET, conn->spec->config.request_timeout_ns);
        HPX_ASSERT(request != NULL); /* a new connection has none */
        const hpx_status status =
            protocol->build_on_connect(protocol->ctx, i, request->id, &writer);
        if (status < 0 || writer.overflow) {
            hpxi_session_dialect_failed(conn, "a first message", status < 0 ? status : HPX_E_LIMIT);
            return false;
        }
        if (status == 0) {
            hpxi_session_drop_own(conn, request);
            return true;
        }
        if (!hpxi_session_send(conn, &writer)) {
            return false;
        }
    }
    return true;
}

/* AUTHENTICATING -> RESUBSCRIBING. */
static void session_restore(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    hpxi_conn_resubscribing(conn);
    hpxi_topics_restore(&session->topics);
    /* In the settle step, so that what the app does in this turn goes along. */
    hpxi_conn_mark_settle(conn);
}

void hpxi_session_begin(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    const hpx_ws_config *config = &conn->spec->config;
    HPX_ASSERT(conn->state == HPX_CONN_AUTHENTICATING);
    HPX_ASSERT(!session->lost);
    HPX_ASSERT(session->pending.live == NULL);
    hpxi_buf_consume(&session->held, hpxi_buf_size(&session->held)); /* of an earlier attempt */
    session->held_missed = 0;
    session->tokens_ns = conn->shard->owner.now_ns;
    session->tokens =
        config->messages_burst != 0 ? (double)config->messages_burst : config->messages_per_second;
    if (!session_greet(conn)) {
        return;
    }
    const hpx_protocol *protocol = session->protocol;
    if (protocol->build_auth == NULL) {
        session_restore(conn);
        return;
    }
    hpx_writer writer = hpxi_session_writer(conn);
    hpxi_request *request = hpxi_session_own_request(conn, HPXI_PENDING_AUTH, HPX_NEVER);
    HPX_ASSERT(request != NULL);
    const hpx_status status = protocol->build_auth(protocol->ctx, request->id, &writer);
    if (status < 0 || writer.overflow) {
        hpxi_session_dialect_failed(conn, "the authentication", status < 0 ? status : HPX_E_LIMIT);
        return;
    }
    if (status == 0) {
        hpxi_session_drop_own(conn, request);
        session_restore(conn);
        return;
    }
    session->auth = request; /* the deadline is the stage's */
    (void)hpxi_session_send(conn, &writer);
}

void hpxi_session_on_auth(hpx_conn *conn, bool success, hpx_span reason)
{
    hpxi_session *session = conn->session;
    if (conn->state != HPX_CONN_AUTHENTICATING || session->auth == NULL) {
        return; /* said without being asked */
    }
    hpxi_session_drop_own(conn, session->auth);
    session->auth = NULL;
    if (success) {
        session_restore(conn);
        return;
    }
    hpx_error error;
    (void)hpxi_error_set(
        &error,
        HPX_E_AUTH_FAILED,
        HPX_STAGE_AUTH,
        "the server refused the authentication%s%.*s",
        reason.size != 0 ? ": " : "",
        (int)(reason.size < 120 ? reason.size : 120),
        reason.size != 0 ? (const char *)reason.data : "");
    hpxi_conn_leave(conn, &error);
}

void hpxi_session_auth_timeout(hpx_conn *conn)
{
    hpxi_conn_fail_with(
        conn,
        HPX_E_AUTH_TIMEOUT,
        HPX_STAGE_AUTH,
        "the server did not answer the authentication within request_timeout_ns");
}

void hpxi_session_check_restored(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_RESUBSCRIBING);
    if (conn->session->topics.restoring == 0) {
        hpxi_conn_become_ready(conn);
    }
}

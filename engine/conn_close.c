/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_close.c - the ways down: orderly, failed, refused, aborted; and the terminal events.
 *
 *   close, peer_close -> CLOSING -(both CLOSE frames)-> finish: close_notify, FIN
 *        -(peer's FIN, or close_timeout)-> socket closed -> gone -> CLOSED
 *   violation         -> CLOSING, CLOSE(code) sent, finish
 *   fail              -> CLOSING, socket closed -> gone -> CLOSED
 *   each of them, with another attempt to follow -> BACKING_OFF instead of CLOSED
 *
 * Threads   The shard's. Nothing here delivers an event but hpxi_conn_settle().
 */
#include <stdio.h>
#include <string.h>

#include "engine/conn.h"
#include "engine/error.h"

void hpxi_conn_mark_settle(hpx_conn *conn)
{
    if (!conn->on_settle) {
        conn->on_settle = true;
        conn->next_settle = conn->shard->owner.settle_list;
        conn->shard->owner.settle_list = conn;
    }
}

/* Nothing more can be said or heard: the socket goes, and DISCONNECTED is owed. */
static void conn_drop(hpx_conn *conn)
{
    hpxi_dial_cancel(&conn->dial);
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->deadline);
    hpxi_conn_heartbeat_stop(conn);
    if (conn->session != NULL) {
        hpxi_session_lose(conn);
    }
    if (hpxi_conn_wants_retry(conn)) {
        hpxi_conn_back_off(conn);
    } else if (conn->state != HPX_CONN_CLOSING) {
        hpxi_conn_set_state(conn, HPX_CONN_CLOSING);
    }
    conn->discard = true;
    conn->owes_disconnected = true;
    if (conn->sock != NULL && conn->sock->state != HPXI_SOCK_CLOSING) {
        hpxi_sock_close(conn->sock); /* on_gone settles */
    }
    hpxi_conn_mark_settle(conn);
}

void hpxi_conn_fail(hpx_conn *conn, const hpx_error *error)
{
    HPX_ASSERT(conn->state != HPX_CONN_CLOSED);
    if (conn->state == HPX_CONN_CLOSING) {
        /* The first cause stands; unless the closing handshake itself was cut short. */
        if (conn->error.status == HPX_OK && !conn->close_received) {
            conn->error.status = error->status;
            conn->error.os_errno = error->os_errno;
            (void)snprintf(conn->error.detail, sizeof(conn->error.detail), "%s", error->detail);
        }
    } else {
        conn->error = *error;
        if (conn->sock != NULL && conn->tls != NULL) {
            hpxi_sock_flush(conn->sock); /* a TLS alert, if one waits */
        }
    }
    conn_drop(conn);
}

void hpxi_conn_fail_with(hpx_conn *conn, hpx_status status, hpx_stage stage, const char *detail)
{
    hpx_error error;
    (void)hpxi_error_set(&error, status, stage, "%s", detail);
    hpxi_conn_fail(conn, &error);
}

static void conn_begin_closing(hpx_conn *conn)
{
    hpxi_conn_heartbeat_stop(conn);
    if (conn->session != NULL) {
        hpxi_session_lose(conn);
    }
    hpxi_conn_set_state(conn, HPX_CONN_CLOSING);
    hpxi_wheel_set(
        &conn->shard->owner.wheel,
        &conn->deadline,
        conn->shard->owner.now_ns + conn->close_timeout_ns);
}

static void conn_send_close(hpx_conn *conn, uint16_t code, hpx_span reason)
{
    HPX_ASSERT(!conn->close_sent);
    uint8_t payload[HPXI_WS_CONTROL_BYTES_MAX];
    const size_t size = hpxi_ws_close_payload(payload, code, reason);
    conn->close_sent = true;
    (void)hpxi_conn_control(conn, HPXI_WS_CLOSE, payload, size); /* no memory: FIN says it too */
}

void hpxi_conn_finish(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_CLOSING);
    if (conn->sock == NULL || conn->sock->state == HPXI_SOCK_CLOSING || conn->sock->finishing) {
        return; /* or finished before: the peer's close_notify comes after its CLOSE frame */
    }
    conn->finish = true;
    if (conn->tls != NULL) {
        if (hpxi_buf_size(&conn->plain_out) != 0) {
            return; /* hpxi_conn_flush() comes back here */
        }
        hpxi_tls_close_notify(conn->tls, hpxi_sock_out(conn->sock));
        hpxi_sock_mark(conn->sock);
    }
    hpxi_sock_finish(conn->sock);
}

void hpxi_conn_violation(hpx_conn *conn, hpx_status status, uint16_t code, const char *detail)
{
    HPX_ASSERT(status < 0);
    if (conn->state == HPX_CONN_CLOSING) {
        hpxi_conn_fail_with(conn, status, HPX_STAGE_CLOSE, detail);
        return;
    }
    HPX_ASSERT(hpxi_conn_is_open(conn));
    (void)hpxi_error_set(&conn->error, status, hpxi_conn_stage(conn), "%s", detail);
    conn->error.close_code = code;
    conn_begin_closing(conn);
    conn_send_close(conn, code, (hpx_span){0});
    conn->discard = true;
    conn->owes_disconnected = true;
    hpxi_conn_mark_settle(conn);
    hpxi_conn_finish(conn);
}

/* While backing off there is nothing to take down; unless the old socket is still going. */
static void conn_close_backing_off(hpx_conn *conn)
{
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->backoff);
    hpxi_conn_set_state(conn, HPX_CONN_CLOSING);
    hpxi_conn_mark_settle(conn);
}

void hpxi_conn_close(hpx_conn *conn, uint16_t code, hpx_span reason)
{
    conn->terminal = true;
    switch (conn->state) {
    case HPX_CONN_IDLE:
    case HPX_CONN_RESOLVING:
    case HPX_CONN_CONNECTING:
    case HPX_CONN_TLS_HANDSHAKE:
    case HPX_CONN_UPGRADING:
        hpxi_conn_fail_with(
            conn, HPX_E_ABORTED, HPX_STAGE_CLOSE, "closed by the application before it was ready");
        return;
    case HPX_CONN_AUTHENTICATING:
    case HPX_CONN_RESUBSCRIBING:
        (void)hpxi_error_set(
            &conn->error,
            HPX_E_ABORTED,
            HPX_STAGE_CLOSE,
            "closed by the application before it was ready");
        conn->error.close_code = code;
        conn_begin_closing(conn);
        conn_send_close(conn, code, reason);
        return;
    case HPX_CONN_READY:
        (void)hpxi_error_set(&conn->error, HPX_OK, HPX_STAGE_CLOSE, "closed by the application");
        conn->error.close_code = code;
        conn_begin_closing(conn);
        conn_send_close(conn, code, reason);
        return;
    case HPX_CONN_BACKING_OFF:
        conn_close_backing_off(conn);
        return;
    case HPX_CONN_CLOSING:
    case HPX_CONN_CLOSED:
        return;
    }
    HPX_ASSERT(false);
}

void hpxi_conn_leave(hpx_conn *conn, const hpx_error *error)
{
    HPX_ASSERT(hpxi_conn_is_open(conn));
    conn->error = *error;
    conn->error.close_code = 1000;
    conn_begin_closing(conn);
    conn_send_close(conn, 1000, (hpx_span){0});
    conn->owes_disconnected = true;
    hpxi_conn_mark_settle(conn);
}

void hpxi_conn_reconnect(hpx_conn *conn, hpx_span reason)
{
    HPX_ASSERT(conn->spec != NULL && conn->spec->config.reconnect);
    hpx_error error;
    (void)hpxi_error_set(
        &error,
        HPX_E_RECONNECT,
        HPX_STAGE_CLOSE,
        "the application asked for a new connection%s%.*s",
        reason.size != 0 ? ": " : "",
        (int)reason.size,
        reason.size != 0 ? (const char *)reason.data : "");
    switch (conn->state) {
    case HPX_CONN_IDLE:
    case HPX_CONN_RESOLVING:
    case HPX_CONN_CONNECTING:
    case HPX_CONN_TLS_HANDSHAKE:
    case HPX_CONN_UPGRADING:
        hpxi_conn_fail(conn, &error);
        return;
    case HPX_CONN_AUTHENTICATING:
    case HPX_CONN_RESUBSCRIBING:
    case HPX_CONN_READY:
        hpxi_conn_leave(conn, &error);
        return;
    case HPX_CONN_BACKING_OFF:
        conn->backoff_over = true;
        hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->backoff);
        hpxi_conn_mark_settle(conn);
        return;
    case HPX_CONN_CLOSING:
    case HPX_CONN_CLOSED:
        return;
    }
    HPX_ASSERT(false);
}

void hpxi_conn_peer_close(hpx_conn *conn, uint16_t code, hpx_span reason)
{
    HPX_ASSERT(!conn->close_received);
    conn->close_received = true;
    if (hpxi_conn_is_open(conn)) {
        (void)hpxi_error_set(
            &conn->error,
            HPX_E_WS_CLOSED,
            hpxi_conn_stage(conn),
            "the peer closed with %u%s%.*s",
            code,
            reason.size != 0 ? ": " : "",
            (int)reason.size,
            reason.size != 0 ? (const char *)reason.data : "");
        conn_begin_closing(conn);
        conn_send_close(conn, code, (hpx_span){0}); /* RFC 6455 5.5.1: echo the code */
        conn->owes_disconnected = true;
        hpxi_conn_mark_settle(conn);
    }
    conn->error.close_code = code;
    hpxi_conn_finish(conn);
}

void hpxi_conn_close_timeout(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_CLOSING);
    if (conn->error.status == HPX_OK && !conn->close_received) {
        conn->error.status = HPX_E_CLOSE_TIMEOUT;
        (void)snprintf(
            conn->error.detail,
            sizeof(conn->error.detail),
            "the peer did not answer our CLOSE frame in time");
    }
    conn_drop(conn);
}

void hpxi_conn_abort(hpx_conn *conn)
{
    conn->terminal = true;
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->backoff);
    if (conn->sock != NULL && conn->sock->state != HPXI_SOCK_CLOSING) {
        hpxi_sock_abort(conn->sock);
    }
    if (conn->error.status == HPX_OK) {
        (void)hpxi_error_set(
            &conn->error,
            HPX_E_ABORTED,
            HPX_STAGE_CLOSE,
            "the engine stopped before the closing handshake was over");
    }
    conn_drop(conn);
}

/* ---- Terminal events ------------------------------------------------------------------------- */

static void conn_unlink(hpx_conn *conn)
{
    hpx_shard *shard = conn->shard;
    if (conn->prev != NULL) {
        conn->prev->next = conn->next;
    } else {
        shard->owner.conns = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    for (hpx_conn **at = &shard->owner.dirty_list; conn->on_dirty; at = &(*at)->next_dirty) {
        HPX_ASSERT(*at != NULL);
        if (*at == conn) {
            *at = conn->next_dirty;
            break;
        }
    }
    shard->owner.conn_count--;
    atomic_store_explicit(
        &shard->counters.connections, shard->owner.conn_count, memory_order_relaxed);
}

void hpxi_conn_add_handle(hpx_conn *conn, hpxi_channel *channel)
{
    HPX_ASSERT(channel->shard.conn == NULL);
    channel->shard.conn = conn;
    channel->shard.prev = NULL;
    channel->shard.next = conn->handles;
    if (channel->shard.next != NULL) {
        channel->shard.next->shard.prev = channel;
    }
    conn->handles = channel;
}

void hpxi_conn_remove_handle(hpx_conn *conn, hpxi_channel *channel)
{
    HPX_ASSERT(channel->shard.conn == conn);
    if (channel->shard.prev != NULL) {
        channel->shard.prev->shard.next = channel->shard.next;
    } else {
        conn->handles = channel->shard.next;
    }
    if (channel->shard.next != NULL) {
        channel->shard.next->shard.prev = channel->shard.prev;
    }
    channel->shard.conn = NULL;
}

static void conn_free(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_CLOSED);
    HPX_ASSERT(conn->sock == NULL);
    HPX_ASSERT(!conn->on_settle);
    HPX_ASSERT(!hpxi_timer_is_set(&conn->deadline));
    HPX_ASSERT(!hpxi_timer_is_set(&conn->backoff));
    HPX_ASSERT(!hpxi_timer_is_set(&conn->heartbeat));
    HPX_ASSERT(!hpxi_timer_is_set(&conn->watchdog));
    conn_unlink(conn);
    while (conn->handles != NULL) { /* they stay until they are released, but lead nowhere */
        hpxi_conn_remove_handle(conn, conn->handles);
    }
    hpxi_session_free(conn);
    hpxi_channel_release(conn->channel);
    if (conn->hub != NULL) {
        conn->hub->shard.conn = NULL;
        hpxi_hub_release(conn->hub);
    }
    hpxi_tls_free(conn->tls);
    hpxi_ws_head_fini(&conn->head);
    hpxi_ws_decoder_fini(&conn->decoder);
    hpxi_buf_fini(&conn->plain_out);
    hpxi_spec_free(conn->spec);
    if (conn->listener != NULL) {
        hpxi_listener_release(conn->listener);
    }
    hpxi_free(conn->shard->allocator, conn, sizeof(*conn));
}

static void conn_deliver_terminal(hpx_conn *conn, hpx_event_kind kind)
{
    if (conn->role == HPXI_WS_ROLE_SERVER && !conn->announced) {
        return; /* a peer that never became a WebSocket makes no events */
    }
    const hpx_event event = {
        .kind = kind,
        .epoch = conn->epoch,
        .time_ns = conn->shard->owner.now_ns,
        .error = &conn->error,
    };
    hpxi_conn_deliver(conn, &event);
}

static void conn_settle_writable(hpx_conn *conn)
{
    if (!conn->want_writable || conn->state != HPX_CONN_READY) {
        return;
    }
    if (hpxi_conn_queued(conn) > conn->send_queue_bytes_max / 2) {
        if (!conn->sock->stuck) {
            hpxi_conn_mark_settle(conn); /* else on_drain does */
        }
        return;
    }
    conn->want_writable = false;
    if (conn->hub != NULL) {
        atomic_store_explicit(&conn->hub->shared.send_blocked, 0, memory_order_relaxed);
    }
    const hpx_event event = {
        .kind = HPX_EVENT_WRITABLE,
        .epoch = conn->epoch,
        .time_ns = conn->shard->owner.now_ns,
    };
    hpxi_conn_deliver(conn, &event);
}

void hpxi_conn_settle(hpx_conn *conn)
{
    HPX_ASSERT(!conn->on_settle);
    conn_settle_writable(conn);
    if (conn->session != NULL) {
        hpxi_session_settle(conn); /* requests are over before DISCONNECTED is told */
    }
    if (conn->owes_disconnected && !conn->told_disconnected) {
        conn->told_disconnected = true;
        conn_deliver_terminal(conn, HPX_EVENT_DISCONNECTED);
    }
    if (conn->state == HPX_CONN_BACKING_OFF) {
        hpxi_conn_retry(conn);
    } else if (conn->state == HPX_CONN_CLOSING && conn->sock == NULL && !conn->on_settle) {
        HPX_ASSERT(conn->told_disconnected);
        HPX_ASSERT(conn->dial.state == HPXI_DIAL_IDLE);
        hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->deadline);
        if (conn->session != NULL && !conn->session->closed) {
            hpxi_session_end(conn, &conn->error);
            if (conn->on_settle) {
                return; /* for what the ends of subscriptions caused: once more, then CLOSED */
            }
        }
        hpxi_conn_set_state(conn, HPX_CONN_CLOSED);
        conn_deliver_terminal(conn, HPX_EVENT_CLOSED);
        conn_free(conn);
    }
}

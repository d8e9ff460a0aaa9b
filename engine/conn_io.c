/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_io.c - a connection's bytes: from the socket through TLS and the codec to events, and from
 * messages through the codec and TLS to the socket.
 *
 * Threads   The shard's. This is the hot path: no allocation, no lock, no system call of its own.
 */
#include <string.h>

#include "engine/conn.h"
#include "engine/encrypt.h"
#include "engine/error.h"

/* ---- Events ---------------------------------------------------------------------------------- */

void hpxi_conn_deliver(hpx_conn *conn, const hpx_event *event)
{
    HPX_DASSERT(conn->shard->owner.in_turn);
    if (conn->on_event != NULL) {
        conn->on_event(conn, event, conn->user);
        return;
    }
    if (conn->channel == NULL) {
        return;
    }
    if (event->kind != HPX_EVENT_MESSAGE) {
        hpxi_channel_event(conn->channel, event);
    } else if (!hpxi_channel_message(conn->channel, event)) {
        hpxi_count(&conn->shard->counters.messages_dropped, 1);
    }
    hpxi_shard_mark_publish(conn->shard, conn->channel);
}

/* ---- Bytes in -------------------------------------------------------------------------------- */

static void conn_on_control(hpx_conn *conn, const hpxi_ws_message *message)
{
    switch (message->op) {
    case HPXI_WS_PING:
        /* A peer that floods pings and reads nothing gets no pongs beyond the queue's limit. */
        if (!conn->close_sent && hpxi_conn_queued(conn) <= conn->send_queue_bytes_max) {
            (void)hpxi_conn_control(conn, HPXI_WS_PONG, message->data, message->size);
        }
        return;
    case HPXI_WS_PONG:
        hpxi_conn_heartbeat_pong(conn, message->data, message->size);
        return;
    case HPXI_WS_CLOSE:
        hpxi_conn_peer_close(
            conn, message->close_code, (hpx_span){.data = message->data, .size = message->size});
        return;
    case HPXI_WS_CONTINUATION:
    case HPXI_WS_TEXT:
    case HPXI_WS_BINARY:
        break;
    }
    HPX_ASSERT(false);
}

static void conn_on_frames(hpx_conn *conn, uint8_t *data, size_t size)
{
    hpx_event event = {
        .kind = HPX_EVENT_MESSAGE,
        .epoch = conn->epoch,
        .time_ns = conn->shard->owner.now_ns,
    };
    hpxi_ws_message message;
    uint64_t delivered = 0;
    hpx_status status;
    while ((status = hpxi_ws_decoder_next(&conn->decoder, &data, &size, &message)) == 1) {
        if (HPXI_UNLIKELY(message.op > HPXI_WS_BINARY)) {
            conn_on_control(conn, &message);
        } else if (conn->session != NULL) {
            if (HPXI_LIKELY(hpxi_conn_is_open(conn))) {
                const hpx_span raw = {.data = message.data, .size = message.size};
                delivered++;
                hpxi_session_message(conn, (hpx_message_kind)message.op, raw, event.time_ns);
            }
        } else if (HPXI_LIKELY(conn->state == HPX_CONN_READY)) {
            _Static_assert((int)HPX_MESSAGE_TEXT == (int)HPXI_WS_TEXT, "kinds are opcodes");
            _Static_assert((int)HPX_MESSAGE_BINARY == (int)HPXI_WS_BINARY, "kinds are opcodes");
            event.message_kind = (hpx_message_kind)message.op;
            event.payload = (hpx_span){.data = message.data, .size = message.size};
            event.raw = event.payload;
            delivered++;
            hpxi_conn_deliver(conn, &event);
        }
        if (HPXI_UNLIKELY(conn->discard)) {
            break;
        }
    }
    if (delivered != 0) {
        conn->message_ns = event.time_ns;
        hpxi_count(&conn->shard->counters.messages_received, delivered);
    }
    if (HPXI_UNLIKELY(status < 0 && status != HPX_E_PARTIAL) && !conn->discard) {
        hpxi_conn_violation(conn, status, conn->decoder.failure_code, conn->decoder.failure_detail);
    }
}

void hpxi_conn_on_plain(hpx_conn *conn, uint8_t *data, size_t size)
{
    if (HPXI_UNLIKELY(conn->state == HPX_CONN_UPGRADING)) {
        hpxi_conn_on_head(conn, &data, &size);
        if (!hpxi_conn_is_open(conn) && conn->state != HPX_CONN_CLOSING) {
            return;
        }
    }
    if (!conn->discard && size != 0) {
        conn_on_frames(conn, data, size);
    }
}

/* The peer's close_notify. In the middle of an open WebSocket that is an abnormal closure. */
static void conn_on_tls_end(hpx_conn *conn)
{
    if (conn->state == HPX_CONN_CLOSING) {
        hpxi_conn_finish(conn);
        return;
    }
    hpxi_conn_fail_with(
        conn,
        HPX_E_EOF,
        hpxi_conn_stage(conn),
        "the peer ended TLS without a WebSocket CLOSE frame");
}

static void conn_on_cipher(hpx_conn *conn, uint8_t *data, size_t size)
{
    if (HPXI_UNLIKELY(conn->state == HPX_CONN_TLS_HANDSHAKE) &&
        !hpxi_conn_on_handshake(conn, &data, &size)) {
        return;
    }
    hpxi_buf *out = hpxi_sock_out(conn->sock);
    while (!conn->discard) {
        hpx_error error;
        uint8_t *plain = conn->shard->owner.plain;
        const ptrdiff_t got =
            hpxi_tls_read(conn->tls, &data, &size, plain, HPXI_PLAIN_BYTES, out, &error);
        if (got > 0) {
            hpxi_conn_on_plain(conn, plain, (size_t)got);
        } else if (got == HPX_E_PARTIAL) {
            break;
        } else if (got == 0) {
            conn_on_tls_end(conn);
            break;
        } else {
            hpxi_conn_fail(conn, &error);
            break;
        }
    }
    if (hpxi_buf_size(out) != 0 && !conn->finish && conn->sock->state == HPXI_SOCK_OPEN) {
        hpxi_sock_mark(conn->sock); /* a KeyUpdate's answer, an alert */
    }
}

/* ---- Socket callbacks ------------------------------------------------------------------------ */

static void conn_on_bytes(hpxi_sock *sock, uint8_t *data, size_t size)
{
    hpx_conn *conn = sock->owner;
    if (HPXI_UNLIKELY(conn->discard)) {
        return;
    }
    if (conn->tls != NULL) {
        conn_on_cipher(conn, data, size);
    } else {
        hpxi_conn_on_plain(conn, data, size);
    }
}

hpx_stage hpxi_conn_stage(const hpx_conn *conn)
{
    switch (conn->state) {
    case HPX_CONN_IDLE:
        return HPX_STAGE_CONFIG;
    case HPX_CONN_RESOLVING:
        return HPX_STAGE_RESOLVE;
    case HPX_CONN_CONNECTING:
        return HPX_STAGE_CONNECT;
    case HPX_CONN_TLS_HANDSHAKE:
        return HPX_STAGE_TLS;
    case HPX_CONN_UPGRADING:
        return HPX_STAGE_UPGRADE;
    case HPX_CONN_AUTHENTICATING:
        return HPX_STAGE_AUTH;
    case HPX_CONN_RESUBSCRIBING:
        return HPX_STAGE_RESUBSCRIBE;
    case HPX_CONN_READY:
        return HPX_STAGE_READY;
    case HPX_CONN_BACKING_OFF:
    case HPX_CONN_CLOSING:
    case HPX_CONN_CLOSED:
        break;
    }
    return HPX_STAGE_CLOSE;
}

static void conn_on_end(hpxi_sock *sock, int result)
{
    hpx_conn *conn = sock->owner;
    hpx_error error;
    if (result < 0) {
        (void)hpxi_error_set_errno(
            &error, result, hpxi_conn_stage(conn), "%s", conn->info.peer_address);
    } else if (conn->tls != NULL && hpxi_conn_is_open(conn)) {
        (void)hpxi_error_set(
            &error,
            HPX_E_TLS_TRUNCATED,
            hpxi_conn_stage(conn),
            "%s ended TCP without TLS close_notify",
            conn->info.peer_address);
    } else {
        (void)hpxi_error_set(
            &error,
            HPX_E_EOF,
            hpxi_conn_stage(conn),
            "%s closed the connection%s",
            conn->info.peer_address,
            hpxi_conn_is_open(conn) ? " without a CLOSE frame" : "");
    }
    hpxi_conn_fail(conn, &error);
}

static void conn_on_drain(hpxi_sock *sock)
{
    hpx_conn *conn = sock->owner;
    if (hpxi_buf_size(&conn->plain_out) != 0) {
        hpxi_conn_mark(conn);
    }
    if (conn->want_writable) {
        hpxi_conn_mark_settle(conn);
    }
}

static void conn_on_gone(hpxi_sock *sock)
{
    hpx_conn *conn = sock->owner;
    HPX_ASSERT(conn->sock == sock);
    conn->sock = NULL;
    hpxi_conn_mark_settle(conn);
}

/* Sockets come to a connection connected (dial.c, listener.c): on_connect and on_accept are not
 * called. */
const hpxi_sock_ops hpxi_conn_sock_ops = {
    .on_bytes = conn_on_bytes,
    .on_end = conn_on_end,
    .on_drain = conn_on_drain,
    .on_gone = conn_on_gone,
};

/* ---- Bytes out ------------------------------------------------------------------------------- */

hpxi_buf *hpxi_conn_out(hpx_conn *conn)
{
    HPX_ASSERT(conn->sock != NULL);
    return conn->tls != NULL ? &conn->plain_out : hpxi_sock_out(conn->sock);
}

void hpxi_conn_mark(hpx_conn *conn)
{
    if (conn->tls == NULL) {
        hpxi_sock_mark(conn->sock);
        return;
    }
    if (!conn->on_dirty) {
        conn->on_dirty = true;
        conn->next_dirty = conn->shard->owner.dirty_list;
        conn->shard->owner.dirty_list = conn;
    }
}

uint64_t hpxi_conn_queued(const hpx_conn *conn)
{
    return hpxi_buf_size(&conn->plain_out) +
           (conn->sock != NULL ? hpxi_sock_queued(conn->sock) : 0);
}

/* Room for a frame of `size` payload bytes in the buffer that is sent from (or encrypted from),
 * with its header written. The payload goes to the place returned; NULL when out of memory. */
static uint8_t *conn_frame_begin(hpx_conn *conn, hpxi_ws_op op, size_t size, const uint8_t *key)
{
    hpxi_buf *out = hpxi_conn_out(conn);
    uint8_t *to = hpxi_buf_reserve(out, hpxi_ws_frame_bytes(size, key != NULL));
    if (HPXI_UNLIKELY(to == NULL)) {
        return NULL;
    }
    const size_t head = hpxi_ws_encode_head(to, op, true, key, size);
    hpxi_buf_commit(out, head + size);
    hpxi_conn_mark(conn);
    return to + head;
}

/* Frames straight into the buffer that is sent from (or encrypted from): one copy. */
static bool conn_frame(hpx_conn *conn, hpxi_ws_op op, const uint8_t *payload, size_t size)
{
    const bool masked = conn->role == HPXI_WS_ROLE_CLIENT;
    uint8_t key[4];
    if (masked) {
        hpxi_random_key4(&conn->shard->owner.random, key);
    }
    uint8_t *to = conn_frame_begin(conn, op, size, masked ? key : NULL);
    if (HPXI_UNLIKELY(to == NULL)) {
        return false;
    }
    hpxi_ws_encode_payload(to, payload, size, masked ? key : NULL, 0);
    return true;
}

hpx_status hpxi_conn_send_spliced(hpx_conn *conn, hpx_span payload, const hpx_splice *splice)
{
    HPX_DASSERT(hpxi_conn_is_open(conn));
    HPX_DASSERT(conn->role == HPXI_WS_ROLE_CLIENT);
    HPX_ASSERT(splice->offset + splice->removed <= payload.size);
    const size_t tail = payload.size - splice->offset - splice->removed;
    const size_t size = splice->offset + splice->text_bytes + tail;
    uint8_t key[4];
    hpxi_random_key4(&conn->shard->owner.random, key);
    uint8_t *to = conn_frame_begin(conn, HPXI_WS_TEXT, size, key);
    if (HPXI_UNLIKELY(to == NULL)) {
        return HPX_E_NO_MEMORY;
    }
    hpxi_ws_encode_payload(to, payload.data, splice->offset, key, 0);
    size_t at = splice->offset;
    hpxi_ws_encode_payload(to + at, (const uint8_t *)splice->text, splice->text_bytes, key, at);
    at += splice->text_bytes;
    hpxi_ws_encode_payload(to + at, payload.data + splice->offset + splice->removed, tail, key, at);
    hpxi_count(&conn->shard->counters.messages_sent, 1);
    return HPX_OK;
}

bool hpxi_conn_control(hpx_conn *conn, hpxi_ws_op op, const uint8_t *payload, size_t size)
{
    HPX_ASSERT(size <= HPXI_WS_CONTROL_BYTES_MAX);
    return conn_frame(conn, op, payload, size);
}

hpx_status hpxi_conn_send(hpx_conn *conn, hpx_message_kind kind, hpx_span payload)
{
    HPX_DASSERT(hpxi_conn_is_open(conn));
    if (HPXI_UNLIKELY(!conn_frame(conn, (hpxi_ws_op)kind, payload.data, payload.size))) {
        return HPX_E_NO_MEMORY;
    }
    hpxi_count(&conn->shard->counters.messages_sent, 1);
    return HPX_OK;
}

void hpxi_conn_flush(hpx_conn *conn)
{
    HPX_ASSERT(conn->tls != NULL);
    if (conn->sock == NULL || conn->sock->state != HPXI_SOCK_OPEN) {
        return;
    }
    hpx_error error;
    if (hpxi_encrypt(conn->tls, &conn->plain_out, conn->sock, &error) != HPX_OK) {
        hpxi_conn_fail(conn, &error);
        return;
    }
    if (hpxi_buf_size(&conn->plain_out) == 0) {
        if (conn->finish) {
            hpxi_conn_finish(conn);
        }
    } else if (!conn->sock->stuck) {
        hpxi_conn_mark(conn); /* go on in the next turn; if stuck, on_drain does */
    }
}

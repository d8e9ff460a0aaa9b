/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server_conn.c - a connection of the HTTP server: socket, TLS, bytes both ways, deadlines.
 *
 *   [TLS] -> SNIFF -> HTTP1 or HTTP2 -> CLOSING -> gone
 *
 * Role      Carries bytes between the socket and http_server_h1.c or http_server_h2.c. CLOSING is
 *           either orderly (finish: what is queued goes out, then FIN, then the peer's FIN or a
 *           deadline) or at once (fail).
 * Threads   The shard's.
 */
#include <stdio.h>
#include <string.h>

#include "engine/encrypt.h"
#include "engine/error.h"
#include "engine/http_server.h"

#define CONN_OF(member_ptr, member)                                                                \
    ((hpxi_server_conn *)(void *)((char *)(member_ptr)-offsetof(hpxi_server_conn, member)))

/* What tells HTTP/2 from a method of HTTP/1.1: the beginning of its preface (RFC 9113 3.4). */
static const char conn_preface[] = "PRI * HTTP/2.0\r\n";
#define CONN_PREFACE_BYTES (sizeof(conn_preface) - 1)

void hpxi_server_mark(hpxi_server_conn *conn)
{
    if (!conn->on_dirty) {
        conn->on_dirty = true;
        conn->next_dirty = conn->shard->owner.servers.dirty;
        conn->shard->owner.servers.dirty = conn;
    }
}

void hpxi_server_mark_settle(hpxi_server_conn *conn)
{
    if (!conn->on_settle) {
        conn->on_settle = true;
        conn->next_settle = conn->shard->owner.servers.settle;
        conn->shard->owner.servers.settle = conn;
    }
}

uint64_t hpxi_server_queued(const hpxi_server_conn *conn)
{
    return hpxi_buf_size(&conn->plain_out) +
           (conn->sock != NULL ? hpxi_sock_queued(conn->sock) : 0);
}

void hpxi_server_set_deadline(hpxi_server_conn *conn, uint64_t timeout_ns)
{
    hpxi_wheel *wheel = &conn->shard->owner.wheel;
    conn->stall_sent = conn->sock != NULL ? hpxi_sock_sent(conn->sock) : 0;
    if (timeout_ns == HPX_NEVER) {
        hpxi_wheel_cancel(wheel, &conn->deadline);
    } else {
        hpxi_wheel_set(wheel, &conn->deadline, conn->shard->owner.now_ns + timeout_ns);
    }
}

static bool conn_can_send(const hpxi_server_conn *conn)
{
    return conn->sock != NULL && conn->sock->state == HPXI_SOCK_OPEN && !conn->sock->finishing;
}

/* ---- Ends ------------------------------------------------------------------------------------ */

/* The socket goes, with RST if a call was aborted. */
static void conn_drop(hpxi_server_conn *conn, bool reset)
{
    hpxi_wheel *wheel = &conn->shard->owner.wheel;
    conn->state = HPXI_SERVER_CLOSING;
    hpxi_wheel_cancel(wheel, &conn->deadline);
    hpxi_wheel_cancel(wheel, &conn->h2_timer);
    if (conn->sock != NULL && conn->sock->state != HPXI_SOCK_CLOSING) {
        if (reset) {
            hpxi_sock_flush(conn->sock);
            hpxi_sock_abort(conn->sock);
        } else {
            hpxi_sock_close(conn->sock); /* on_gone settles */
        }
    }
    hpxi_server_mark_settle(conn);
}

void hpxi_server_fail(hpxi_server_conn *conn, const hpx_error *error)
{
    HPX_ASSERT(error->status < 0);
    conn->state = HPXI_SERVER_CLOSING;
    for (hpx_http_call *call = conn->calls; call != NULL; call = call->next) {
        hpxi_call_done(call, error);
    }
    if (conn->sock != NULL && conn->tls != NULL && conn->sock->state == HPXI_SOCK_OPEN) {
        hpxi_sock_flush(conn->sock); /* a TLS alert, if one waits */
    }
    conn_drop(conn, false);
}

void hpxi_server_reset(hpxi_server_conn *conn)
{
    conn_drop(conn, true);
}

void hpxi_server_fail_with(hpxi_server_conn *conn, hpx_status status, const char *detail)
{
    hpx_error error;
    (void)hpxi_error_set(&error, status, HPX_STAGE_NONE, "%s", detail);
    hpxi_server_fail(conn, &error);
}

/* Everything queued is in the socket's hands: close_notify and FIN. */
static void conn_finish_step(hpxi_server_conn *conn)
{
    if (!conn_can_send(conn) || hpxi_buf_size(&conn->plain_out) != 0) {
        return; /* hpxi_server_flush() comes back here */
    }
    if (conn->tls != NULL) {
        hpxi_tls_close_notify(conn->tls, hpxi_sock_out(conn->sock));
    }
    hpxi_sock_mark(conn->sock);
    hpxi_sock_finish(conn->sock);
    hpxi_server_mark_settle(conn); /* perhaps nothing is left to wait for */
}

void hpxi_server_finish(hpxi_server_conn *conn)
{
    if (conn->state == HPXI_SERVER_CLOSING) {
        return;
    }
    HPX_ASSERT(conn->sock != NULL);
    const hpx_http_server_config *config = &conn->server->config;
    conn->state = HPXI_SERVER_CLOSING;
    conn->finish = true;
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->h2_timer);
    hpxi_sock_resume(conn->sock); /* to hear the peer's FIN */
    hpxi_server_set_deadline(
        conn, hpxi_server_queued(conn) == 0 ? config->close_timeout_ns : config->stall_timeout_ns);
    hpxi_server_mark(conn);
}

void hpxi_server_close(hpxi_server_conn *conn)
{
    switch (conn->state) {
    case HPXI_SERVER_TLS:
        conn_drop(conn, false);
        return;
    case HPXI_SERVER_SNIFF:
        hpxi_server_finish(conn);
        return;
    case HPXI_SERVER_HTTP1:
        if (conn->calls == NULL) {
            hpxi_server_finish(conn);
        } /* else: after its answer */
        return;
    case HPXI_SERVER_HTTP2:
        hpxi_h2_drain(conn->h2, conn->shard->owner.now_ns);
        if (conn->calls == NULL) {
            hpxi_server_set_deadline(conn, conn->server->config.close_timeout_ns);
        }
        hpxi_server_mark(conn);
        return;
    case HPXI_SERVER_CLOSING:
        return;
    }
    HPX_ASSERT(false);
}

void hpxi_servers_abort(hpx_shard *shard)
{
    /* The servers are closed by now: their connections are found through what is left of them. */
    for (hpxi_server_conn *conn = shard->owner.servers.conns; conn != NULL;
         conn = conn->next_of_shard) {
        shard->owner.had_aborts = true;
        hpxi_server_fail_with(conn, HPX_E_ABORTED, "the engine stopped before the answer was out");
    }
}

/* ---- Bytes in -------------------------------------------------------------------------------- */

static void conn_open(hpxi_server_conn *conn, bool is_h2)
{
    if (!is_h2) {
        conn->state = HPXI_SERVER_HTTP1;
        hpxi_server_h1_open(conn);
    } else {
        conn->state = HPXI_SERVER_HTTP2;
        if (!hpxi_server_h2_open(conn)) {
            hpxi_server_fail_with(conn, HPX_E_NO_MEMORY, "no memory for an HTTP/2 session");
            return;
        }
        hpxi_server_mark(conn);
    }
    hpxi_server_set_deadline(conn, conn->server->config.idle_timeout_ns);
}

static void conn_http(hpxi_server_conn *conn, const uint8_t *data, size_t size)
{
    if (conn->state == HPXI_SERVER_HTTP1) {
        hpxi_server_h1_bytes(conn, data, size);
    } else if (conn->state == HPXI_SERVER_HTTP2) {
        hpxi_server_h2_bytes(conn, data, size);
    }
}

/* HTTP/2 if the connection begins with its preface. What has come is held until that is clear. */
static void conn_sniff(hpxi_server_conn *conn, const uint8_t *data, size_t size)
{
    if (!hpxi_buf_append(&conn->held, data, size)) {
        hpxi_server_fail_with(conn, HPX_E_NO_MEMORY, "no memory for received bytes");
        return;
    }
    hpxi_buf held = conn->held;
    const size_t have = hpxi_buf_size(&held);
    const size_t some = have < CONN_PREFACE_BYTES ? have : CONN_PREFACE_BYTES;
    const bool may_be_h2 = memcmp(held.data + held.head, conn_preface, some) == 0;
    if (may_be_h2 && some < CONN_PREFACE_BYTES) {
        return;
    }
    hpxi_buf_init(&conn->held, conn->shard->allocator);
    conn_open(conn, may_be_h2);
    const hpx_span all = hpxi_buf_span(&held);
    conn_http(conn, all.data, all.size);
    hpxi_buf_fini(&held);
}

static void conn_plain(hpxi_server_conn *conn, const uint8_t *data, size_t size)
{
    if (HPXI_UNLIKELY(conn->state == HPXI_SERVER_SNIFF)) {
        conn_sniff(conn, data, size);
    } else {
        conn_http(conn, data, size);
    }
}

/* The peer sends no more: FIN, or close_notify. */
static void conn_peer_ended(hpxi_server_conn *conn)
{
    if (conn->peer_ended) {
        return;
    }
    conn->peer_ended = true;
    switch (conn->state) {
    case HPXI_SERVER_TLS:
    case HPXI_SERVER_SNIFF:
        conn_drop(conn, false);
        return;
    case HPXI_SERVER_HTTP1:
        hpxi_server_h1_end(conn);
        return;
    case HPXI_SERVER_HTTP2:
        hpxi_server_h2_end(conn);
        return;
    case HPXI_SERVER_CLOSING:
        hpxi_server_mark_settle(conn);
        return;
    }
    HPX_ASSERT(false);
}

static void conn_tls_step(hpxi_server_conn *conn, uint8_t **data, size_t *size)
{
    hpx_error error = {0};
    hpxi_buf *out = hpxi_sock_out(conn->sock);
    const hpx_status status = hpxi_tls_handshake(conn->tls, data, size, out, &error);
    if (hpxi_buf_size(out) != 0) {
        hpxi_sock_mark(conn->sock);
    }
    if (status == HPX_E_PARTIAL) {
        return;
    }
    if (status != 1) {
        error.status = status;
        hpxi_server_fail(conn, &error); /* flushes the alert */
        return;
    }
    hpxi_tls_info info;
    hpxi_tls_get_info(conn->tls, &info);
    if (info.alpn[0] == '\0' && conn->server->config.version == HPX_HTTP_ANY) {
        conn->state = HPXI_SERVER_SNIFF;
        hpxi_server_set_deadline(conn, conn->server->config.idle_timeout_ns);
    } else {
        conn_open(conn, strcmp(info.alpn, "h2") == 0);
    }
}

static void conn_cipher(hpxi_server_conn *conn, uint8_t *data, size_t size)
{
    if (HPXI_UNLIKELY(conn->state == HPXI_SERVER_TLS)) {
        conn_tls_step(conn, &data, &size);
    }
    hpxi_sock *sock = conn->sock;
    while (conn->state != HPXI_SERVER_TLS && sock->state == HPXI_SOCK_OPEN) {
        hpx_error error = {0};
        uint8_t *plain = conn->shard->owner.plain;
        const ptrdiff_t got = hpxi_tls_read(
            conn->tls, &data, &size, plain, HPXI_PLAIN_BYTES, hpxi_sock_out(sock), &error);
        if (got > 0) {
            conn_plain(conn, plain, (size_t)got);
        } else if (got == HPX_E_PARTIAL) {
            break;
        } else if (got == 0) {
            conn_peer_ended(conn);
            break;
        } else {
            error.status = (hpx_status)got;
            hpxi_server_fail(conn, &error);
        }
    }
    if (conn_can_send(conn) && hpxi_buf_size(hpxi_sock_out(sock)) != 0) {
        hpxi_sock_mark(sock); /* a KeyUpdate's answer */
    }
}

/* ---- Socket callbacks ------------------------------------------------------------------------ */

static void conn_on_bytes(hpxi_sock *sock, uint8_t *data, size_t size)
{
    hpxi_server_conn *conn = sock->owner;
    if (conn->tls != NULL) {
        conn_cipher(conn, data, size); /* in CLOSING too: the peer's close_notify ends it */
    } else {
        conn_plain(conn, data, size);
    }
}

static void conn_on_end(hpxi_sock *sock, int result)
{
    hpxi_server_conn *conn = sock->owner;
    if (result < 0) {
        hpx_error error;
        (void)hpxi_error_set_errno(&error, result, HPX_STAGE_NONE, "%s", conn->peer_address);
        hpxi_server_fail(conn, &error);
    } else {
        conn_peer_ended(conn);
    }
}

static void conn_on_drain(hpxi_sock *sock)
{
    hpxi_server_conn *conn = sock->owner;
    if (conn->state == HPXI_SERVER_CLOSING) {
        hpxi_server_set_deadline(conn, conn->server->config.close_timeout_ns);
        hpxi_server_mark_settle(conn);
    }
    hpxi_server_mark(conn);
    for (hpx_http_call *call = conn->calls; call != NULL; call = call->next) {
        if (call->want_writable) {
            hpxi_call_mark_settle(call);
        }
    }
}

static void conn_on_gone(hpxi_sock *sock)
{
    hpxi_server_conn *conn = sock->owner;
    HPX_ASSERT(conn->sock == sock);
    conn->sock = NULL;
    hpxi_server_mark_settle(conn);
}

static const hpxi_sock_ops conn_sock_ops = {
    .on_bytes = conn_on_bytes,
    .on_end = conn_on_end,
    .on_drain = conn_on_drain,
    .on_gone = conn_on_gone,
};

/* ---- Deadlines ------------------------------------------------------------------------------- */

void hpxi_server_watch(hpxi_server_conn *conn)
{
    const hpx_http_server_config *config = &conn->server->config;
    const bool receives = conn->state == HPXI_SERVER_HTTP2;
    hpxi_server_set_deadline(
        conn,
        receives && config->request_timeout_ns < config->stall_timeout_ns
            ? config->request_timeout_ns
            : config->stall_timeout_ns);
}

/* HTTP/2: requests that are not complete in time. (HTTP/1.1 has one, with a deadline of its own.)
 */
static void conn_check_requests(hpxi_server_conn *conn)
{
    const uint64_t timeout_ns = conn->server->config.request_timeout_ns;
    const uint64_t now_ns = conn->shard->owner.now_ns;
    for (hpx_http_call *call = conn->calls; call != NULL; call = call->next) {
        if (call->phase == HPXI_CALL_RECEIVING && now_ns - call->began_ns >= timeout_ns) {
            conn->server->stats.refused += !call->refused;
            hpxi_server_h2_abort(call);
            hpxi_call_done(call, NULL); /* the app does not know of it */
        }
    }
}

/* While calls are open: has the peer taken anything since the last look, if it was to? */
static void conn_check_stall(hpxi_server_conn *conn)
{
    if (hpxi_server_queued(conn) != 0 && hpxi_sock_sent(conn->sock) == conn->stall_sent) {
        hpxi_server_fail_with(
            conn, HPX_E_HTTP_IDLE, "the peer took nothing of the answer within stall_timeout_ns");
        return;
    }
    hpxi_server_watch(conn);
}

static void conn_on_deadline(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_server_conn *conn = CONN_OF(timer, deadline);
    switch (conn->state) {
    case HPXI_SERVER_TLS:
    case HPXI_SERVER_CLOSING:
        hpxi_server_fail_with(conn, HPX_E_HTTP_IDLE, "the peer did not go on");
        return;
    case HPXI_SERVER_SNIFF:
        hpxi_server_finish(conn);
        return;
    case HPXI_SERVER_HTTP1:
        if (conn->calls != NULL && conn->calls->phase != HPXI_CALL_RECEIVING) {
            conn_check_stall(conn);
        } else if (conn->reader.message_bytes != 0) {
            hpxi_server_h1_refuse(conn, 408, "the request was not complete in time");
        } else {
            hpxi_server_finish(conn); /* idle */
        }
        return;
    case HPXI_SERVER_HTTP2:
        if (conn->calls != NULL) {
            conn_check_requests(conn);
            conn_check_stall(conn);
        } else {
            hpxi_h2_drain(conn->h2, conn->shard->owner.now_ns);
            hpxi_server_h2_flush(conn);
            hpxi_server_finish(conn);
        }
        return;
    }
    HPX_ASSERT(false);
}

/* ---- Accept ---------------------------------------------------------------------------------- */

static void conn_link(hpxi_server_conn *conn)
{
    hpx_http_server *server = conn->server;
    hpx_shard *shard = conn->shard;
    conn->next = server->conns;
    if (conn->next != NULL) {
        conn->next->prev = conn;
    }
    server->conns = conn;
    conn->next_of_shard = shard->owner.servers.conns;
    if (conn->next_of_shard != NULL) {
        conn->next_of_shard->prev_of_shard = conn;
    }
    shard->owner.servers.conns = conn;
    shard->owner.servers.conn_count++;
    server->stats.connections++;
    server->refs++;
}

static bool conn_begin_tls(hpxi_server_conn *conn)
{
    hpxi_tls_session_config config = {
        .context = conn->server->config.tls,
        .is_server = true,
        HPXI_TLS_ALPN(HPXI_TLS_ALPN_H2_HTTP1)};
    if (conn->server->config.version == HPX_HTTP_1_1) {
        config.alpn = (const uint8_t *)HPXI_TLS_ALPN_HTTP1;
        config.alpn_bytes = sizeof(HPXI_TLS_ALPN_HTTP1) - 1;
    }
    hpx_error error = {0};
    conn->state = HPXI_SERVER_TLS;
    return hpxi_tls_new(&conn->tls, &config, conn->shard->allocator, &error) == HPX_OK;
}

void hpxi_server_accept(hpx_http_server *server, int fd)
{
    hpx_shard *shard = server->shard;
    hpxi_server_conn *conn =
        hpxi_alloc_zero(shard->allocator, sizeof(*conn), _Alignof(hpxi_server_conn));
    if (conn == NULL) {
        (void)hpxi_net_close(fd);
        return;
    }
    conn->server = server;
    conn->shard = shard;
    conn->state = HPXI_SERVER_SNIFF;
    hpxi_buf_init(&conn->plain_out, shard->allocator);
    hpxi_buf_init(&conn->held, shard->allocator);
    hpxi_timer_init(&conn->deadline, conn_on_deadline);
    hpxi_timer_init(&conn->h2_timer, hpxi_server_h2_timer);
    conn_link(conn);
    (void)hpxi_net_tcp_tune(fd, 0);
    if (hpxi_sock_adopt(&shard->owner.socks, fd, &conn_sock_ops, conn, &conn->sock) != HPX_OK) {
        conn->sock = NULL; /* the table is full: the peer sees a closed connection */
        conn_drop(conn, false);
        return;
    }
    hpxi_address peer;
    if (hpxi_net_peer(fd, &peer) == 0) {
        hpxi_address_format(&peer, conn->peer_address);
    }
    (void)hpxi_sock_receive(conn->sock, false);
    if (server->config.tls != NULL) {
        if (!conn_begin_tls(conn)) {
            conn_drop(conn, false);
            return;
        }
        hpxi_server_set_deadline(conn, server->config.handshake_timeout_ns);
    } else if (server->config.version == HPX_HTTP_1_1) {
        conn_open(conn, false);
    } else {
        hpxi_server_set_deadline(conn, server->config.idle_timeout_ns);
    }
}

/* ---- Steps of the turn ----------------------------------------------------------------------- */

/* Encrypts what waits, within the limits. False: more waits, and the socket is not stuck. */
static bool conn_encrypt(hpxi_server_conn *conn)
{
    hpx_error error;
    if (hpxi_encrypt(conn->tls, &conn->plain_out, conn->sock, &error) != HPX_OK) {
        hpxi_server_fail(conn, &error);
        return true;
    }
    return hpxi_buf_size(&conn->plain_out) == 0 || conn->sock->stuck;
}

void hpxi_server_flush(hpxi_server_conn *conn)
{
    if (!conn_can_send(conn)) {
        return;
    }
    if (conn->state == HPXI_SERVER_HTTP2) {
        hpxi_server_h2_flush(conn);
    }
    if (!conn_can_send(conn)) {
        return;
    }
    if (conn->tls == NULL) {
        hpxi_sock_mark(conn->sock);
    } else if (conn->state != HPXI_SERVER_TLS && !conn_encrypt(conn)) {
        hpxi_server_mark(conn);
    }
    if (conn->finish) {
        conn_finish_step(conn);
    }
}

static void conn_unlink(hpxi_server_conn *conn)
{
    hpx_http_server *server = conn->server;
    hpx_shard *shard = conn->shard;
    *(conn->prev != NULL ? &conn->prev->next : &server->conns) = conn->next;
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    *(conn->prev_of_shard != NULL ? &conn->prev_of_shard->next_of_shard
                                  : &shard->owner.servers.conns) = conn->next_of_shard;
    if (conn->next_of_shard != NULL) {
        conn->next_of_shard->prev_of_shard = conn->prev_of_shard;
    }
    for (hpxi_server_conn **at = &shard->owner.servers.dirty; conn->on_dirty;
         at = &(*at)->next_dirty) {
        HPX_ASSERT(*at != NULL);
        if (*at == conn) {
            *at = conn->next_dirty;
            break;
        }
    }
    shard->owner.servers.conn_count--;
    server->stats.connections--;
}

static void conn_free(hpxi_server_conn *conn)
{
    HPX_ASSERT(conn->calls == NULL && conn->sock == NULL && !conn->on_settle);
    HPX_ASSERT(!hpxi_timer_is_set(&conn->deadline) && !hpxi_timer_is_set(&conn->h2_timer));
    conn_unlink(conn);
    if (conn->spare != NULL) {
        hpxi_call_free(conn->spare);
    }
    if (conn->reader_made) {
        hpxi_h1_reader_fini(&conn->reader);
    }
    hpxi_h2_free(conn->h2);
    hpxi_tls_free(conn->tls);
    hpxi_buf_fini(&conn->plain_out);
    hpxi_buf_fini(&conn->held);
    hpxi_server_release(conn->server);
    hpxi_free(conn->shard->allocator, conn, sizeof(*conn));
}

void hpxi_server_settle(hpxi_server_conn *conn)
{
    if (conn->state == HPXI_SERVER_HTTP1) {
        hpxi_server_h1_next(conn);
        return;
    }
    if (conn->state == HPXI_SERVER_HTTP2) {
        if (conn->calls == NULL) {
            hpxi_server_set_deadline(conn, conn->server->config.idle_timeout_ns);
        }
        return;
    }
    if (conn->state != HPXI_SERVER_CLOSING) {
        return;
    }
    const bool said_all = conn->finish && hpxi_server_queued(conn) == 0;
    if (conn->sock != NULL && conn->peer_ended && said_all) {
        conn_drop(conn, false);
    } else if (conn->sock == NULL && conn->calls == NULL) {
        conn_free(conn);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_conn.c - a connection of the HTTP client: dial, TLS, bytes both ways, close.
 *
 *   DIALING -> [TLS] -> OPEN -> CLOSING -> gone
 *
 * Role      Carries bytes between the socket and http_h1.c or http_h2.c, and tells the pool what
 *           becomes of it. Whatever ends it leads to CLOSING, where it serves nobody; it leaves the
 *           pool when its socket is gone, so that connections_max is exact.
 * Threads   The shard's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/encrypt.h"
#include "engine/engine.h"
#include "engine/error.h"
#include "engine/http.h"

#define CONN_OF(member_ptr, member)                                                                \
    ((hpxi_http_conn *)(void *)((char *)(member_ptr)-offsetof(hpxi_http_conn, member)))

#define REQUEST_OF_WAITER(waiter)                                                                  \
    ((hpxi_http_request *)(void *)((char *)(waiter)-offsetof(hpxi_http_request, waiter)))

/* An idle connection used again sooner than this is not asked whether it is alive: what could have
 * ended it is on its way to us anyway. */
#define CONN_ASK_AFTER_NS (500 * HPX_NS_PER_US)

#define CONN_ALERT_NO_PROTOCOL 120 /* no_application_protocol, RFC 7301 section 3.2 */

static const uint8_t conn_alpn_any[] = {2, 'h', '2', 8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
static const uint8_t conn_alpn_h1[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
static const uint8_t conn_alpn_h2[] = {2, 'h', '2'};

static uint64_t conn_lap(hpxi_http_conn *conn)
{
    const uint64_t now = conn->core->shard->owner.now_ns;
    const uint64_t took = now - conn->stage_ns;
    conn->stage_ns = now;
    return took;
}

void hpxi_http_conn_mark(hpxi_http_conn *conn)
{
    if (!conn->on_dirty) {
        hpx_shard *shard = conn->core->shard;
        conn->on_dirty = true;
        conn->next_dirty = shard->owner.http.dirty;
        shard->owner.http.dirty = conn;
    }
}

void hpxi_http_conn_mark_settle(hpxi_http_conn *conn)
{
    if (!conn->on_settle) {
        hpx_shard *shard = conn->core->shard;
        conn->on_settle = true;
        conn->next_settle = shard->owner.http.settle_conns;
        shard->owner.http.settle_conns = conn;
    }
}

size_t hpxi_http_conn_queued(const hpxi_http_conn *conn)
{
    return hpxi_buf_size(&conn->plain_out) + hpxi_sock_queued(conn->sock);
}

/* ---- Ends ------------------------------------------------------------------------------------ */

/* CLOSING: the socket goes; nobody is served. */
static void conn_drop(hpxi_http_conn *conn)
{
    HPX_ASSERT(conn->item.state == HPXI_POOL_CLOSING);
    conn->state = HPXI_HTTP_CLOSING;
    hpxi_http_entry_set(conn->entry, HPX_HTTP_CONNECTION_CLOSING);
    hpxi_wheel *wheel = &conn->core->shard->owner.wheel;
    hpxi_dial_cancel(&conn->dial);
    hpxi_wheel_cancel(wheel, &conn->deadline);
    hpxi_wheel_cancel(wheel, &conn->h2_timer);
    if (conn->sock != NULL && conn->sock->state != HPXI_SOCK_CLOSING) {
        hpxi_sock_close(conn->sock); /* on_gone settles */
    }
    hpxi_http_conn_mark_settle(conn);
}

/* What the buffers hold (GOAWAY), and close_notify. */
static void conn_last_words(hpxi_http_conn *conn)
{
    if (conn->tls != NULL) {
        hpx_error ignored;
        hpxi_buf *out = hpxi_sock_out(conn->sock);
        if (hpxi_buf_size(&conn->plain_out) != 0) {
            (void)hpxi_tls_write(conn->tls, hpxi_buf_span(&conn->plain_out), out, &ignored);
            hpxi_buf_consume(&conn->plain_out, hpxi_buf_size(&conn->plain_out));
        }
        hpxi_tls_close_notify(conn->tls, out);
    }
    hpxi_sock_flush(conn->sock);
}

void hpxi_http_conn_fail(hpxi_http_conn *conn, const hpx_error *error)
{
    HPX_ASSERT(error->status < 0);
    if (conn->state == HPXI_HTTP_CLOSING) {
        return;
    }
    hpxi_pool *pool = &conn->core->pool;
    conn->error = *error;
    if (conn->sock != NULL && conn->sock->state == HPXI_SOCK_OPEN) {
        if (conn->state == HPXI_HTTP_OPEN && conn->is_h2 && error->status != HPX_E_EOF) {
            conn_last_words(conn);
        }
        hpxi_sock_flush(conn->sock); /* a TLS alert, if one waits */
    }
    if (conn->state != HPXI_HTTP_OPEN) {
        conn->state = HPXI_HTTP_CLOSING;
        hpxi_count(&conn->core->counters->connects_failed, 1);
        hpxi_pool_fail(pool, &conn->item);
        conn_drop(conn);
        return;
    }
    if (conn->item.users == 0 && conn->item.served) {
        hpxi_count(&conn->core->counters->idle_died, 1);
    }
    conn->state = HPXI_HTTP_CLOSING; /* no new bytes either way */
    if (conn->is_h2) {
        hpxi_http_h2_end(conn, error);
    } else {
        hpxi_http_h1_end(
            conn, conn->tls != NULL ? conn->tls_ended : error->status == HPX_E_EOF, error);
    }
    hpxi_pool_retire(pool, &conn->item); /* closes, unless the last user did already */
    HPX_ASSERT(conn->item.state == HPXI_POOL_CLOSING);
}

void hpxi_http_conn_fail_with(hpxi_http_conn *conn, hpx_status status, const char *detail)
{
    hpx_error error;
    (void)hpxi_error_set(&error, status, HPX_STAGE_NONE, "%s", detail);
    hpxi_http_conn_fail(conn, &error);
}

void hpxi_http_conn_close(hpxi_http_conn *conn)
{
    if (conn->state == HPXI_HTTP_OPEN && conn->sock->state == HPXI_SOCK_OPEN) {
        if (conn->is_h2) {
            hpxi_h2_drain(conn->h2, conn->core->shard->owner.now_ns);
            hpxi_http_h2_flush(conn);
        }
        conn_last_words(conn);
    }
    conn_drop(conn);
}

void hpxi_http_conn_abort(hpxi_http_conn *conn)
{
    if (conn->sock != NULL && conn->sock->state != HPXI_SOCK_CLOSING) {
        hpxi_sock_abort(conn->sock);
    }
    hpxi_http_conn_fail_with(conn, HPX_E_ABORTED, "the engine stopped");
}

/* ---- Sockets and TLS ------------------------------------------------------------------------- */

static void conn_show(hpxi_http_conn *conn)
{
    hpxi_http_entry_set_version(conn->entry, conn->is_h2 ? HPX_HTTP_2 : HPX_HTTP_1_1);
    hpxi_http_entry_set(conn->entry, HPX_HTTP_CONNECTION_OPEN);
}

static void conn_open(hpxi_http_conn *conn)
{
    hpxi_http_core *core = conn->core;
    hpxi_wheel_cancel(&core->shard->owner.wheel, &conn->deadline);
    conn->state = HPXI_HTTP_OPEN;
    if (!conn->is_h2) {
        conn_show(conn);
        hpxi_http_h1_open(conn);
        hpxi_pool_ready(&core->pool, &conn->item, HPXI_POOL_UNIQUE, 1, core->shard->owner.now_ns);
        return;
    }
    if (!hpxi_http_h2_open(conn)) {
        conn->state = HPXI_HTTP_TLS;
        hpxi_http_conn_fail_with(conn, HPX_E_NO_MEMORY, "no memory for an HTTP/2 session");
        return;
    }
    conn_show(conn);
    const uint32_t room = hpxi_h2_can_open(conn->h2);
    hpxi_pool_ready(&core->pool, &conn->item, HPXI_POOL_SHARED, room, core->shard->owner.now_ns);
    hpxi_http_conn_mark(conn);
}

static void conn_tls_agreed(hpxi_http_conn *conn)
{
    hpxi_tls_info tls;
    hpxi_tls_get_info(conn->tls, &tls);
    hpx_http_info *info = &conn->info;
    (void)snprintf(info->tls_version, sizeof(info->tls_version), "%s", tls.version);
    (void)snprintf(info->tls_cipher, sizeof(info->tls_cipher), "%s", tls.cipher);
    info->tls_verified = tls.verified;
    info->tls_resumed = tls.resumed;
    info->tls_ns = conn_lap(conn);
    const bool agreed_h2 = strcmp(tls.alpn, "h2") == 0;
    const hpx_http_version wanted = conn->origin.version;
    conn->is_h2 = agreed_h2 || wanted == HPX_HTTP_2_PRIOR_KNOWLEDGE;
    if (wanted == HPX_HTTP_2 && !agreed_h2) {
        hpx_error error;
        (void)hpxi_error_set(
            &error,
            HPX_E_HTTP_VERSION,
            HPX_STAGE_TLS,
            "%s does not speak HTTP/2 (ALPN \"h2\" was not agreed)",
            conn->origin.host);
        hpxi_http_conn_fail(conn, &error);
        return;
    }
    conn_open(conn);
}

/* Drives the handshake with what arrived. */
static void conn_tls_step(hpxi_http_conn *conn, uint8_t **data, size_t *size)
{
    hpx_error error = {0};
    hpxi_buf *out = hpxi_sock_out(conn->sock);
    const hpx_status status = hpxi_tls_handshake(conn->tls, data, size, out, &error);
    if (hpxi_buf_size(out) != 0) {
        hpxi_sock_mark(conn->sock);
    }
    if (status == 1) {
        conn_tls_agreed(conn);
    } else if (status != HPX_E_PARTIAL) {
        error.status = status;
        if (error.tls_alert == CONN_ALERT_NO_PROTOCOL) {
            error.status = HPX_E_HTTP_VERSION;
        }
        hpxi_http_conn_fail(conn, &error); /* flushes the alert */
    }
}

static void conn_begin_tls(hpxi_http_conn *conn)
{
    const hpxi_http_origin *origin = &conn->origin;
    hpxi_tls_session_config config = {
        .insecure_no_verify = origin->insecure,
        .server_name = origin->server_name,
        .alpn = conn_alpn_any,
        .alpn_bytes = sizeof(conn_alpn_any),
        .sessions = conn->core->shard->owner.tls_sessions,
        .host = origin->host,
        .port = origin->port,
    };
    memcpy(&config.context, &origin->tls, sizeof(config.context)); /* for its reference count */
    if (origin->version == HPX_HTTP_1_1) {
        config.alpn = conn_alpn_h1;
        config.alpn_bytes = sizeof(conn_alpn_h1);
    } else if (origin->version != HPX_HTTP_ANY) {
        config.alpn = conn_alpn_h2;
        config.alpn_bytes = sizeof(conn_alpn_h2);
    }
    hpx_error error = {0};
    conn->state = HPXI_HTTP_TLS;
    const hpx_status status =
        hpxi_tls_new(&conn->tls, &config, conn->core->shard->allocator, &error);
    if (status != HPX_OK) {
        error.status = status;
        error.stage = HPX_STAGE_TLS;
        hpxi_http_conn_fail(conn, &error);
        return;
    }
    uint8_t *none = NULL;
    size_t nothing = 0;
    conn_tls_step(conn, &none, &nothing); /* the first flight */
}

static void conn_plain(hpxi_http_conn *conn, const uint8_t *data, size_t size)
{
    if (conn->is_h2) {
        hpxi_http_h2_bytes(conn, data, size);
    } else {
        hpxi_http_entry_read(conn->entry, conn->core->shard->owner.now_ns);
        hpxi_http_h1_bytes(conn, data, size);
    }
}

static void conn_on_tls_end(hpxi_http_conn *conn)
{
    hpx_error error;
    conn->tls_ended = true;
    (void)hpxi_error_set(
        &error, HPX_E_EOF, HPX_STAGE_NONE, "%s closed the connection", conn->info.peer_address);
    hpxi_http_conn_fail(conn, &error);
}

static void conn_cipher(hpxi_http_conn *conn, uint8_t *data, size_t size)
{
    if (conn->state == HPXI_HTTP_TLS) {
        conn_tls_step(conn, &data, &size);
    }
    hpxi_sock *sock = conn->sock;
    while (conn->state == HPXI_HTTP_OPEN) {
        hpx_error error = {0};
        uint8_t *plain = conn->core->shard->owner.plain;
        const ptrdiff_t got = hpxi_tls_read(
            conn->tls, &data, &size, plain, HPXI_PLAIN_BYTES, hpxi_sock_out(sock), &error);
        if (got > 0) {
            conn_plain(conn, plain, (size_t)got);
        } else if (got == HPX_E_PARTIAL) {
            break;
        } else if (got == 0) {
            conn_on_tls_end(conn);
        } else {
            error.status = (hpx_status)got;
            hpxi_http_conn_fail(conn, &error);
        }
    }
    if (sock->state == HPXI_SOCK_OPEN && hpxi_buf_size(hpxi_sock_out(sock)) != 0) {
        hpxi_sock_mark(sock); /* a KeyUpdate's answer */
    }
}

static void conn_on_bytes(hpxi_sock *sock, uint8_t *data, size_t size)
{
    hpxi_http_conn *conn = sock->owner;
    if (conn->state == HPXI_HTTP_CLOSING) {
        return;
    }
    if (conn->tls != NULL) {
        conn_cipher(conn, data, size);
    } else {
        conn_plain(conn, data, size);
    }
}

static void conn_on_end(hpxi_sock *sock, int result)
{
    hpxi_http_conn *conn = sock->owner;
    hpx_error error;
    const hpx_stage stage = conn->state == HPXI_HTTP_TLS ? HPX_STAGE_TLS : HPX_STAGE_NONE;
    const char *peer = conn->info.peer_address;
    if (result < 0) {
        (void)hpxi_error_set_errno(&error, result, stage, "%s", peer);
    } else if (conn->tls != NULL && conn->state == HPXI_HTTP_OPEN && !conn->tls_ended) {
        (void)hpxi_error_set(
            &error, HPX_E_TLS_TRUNCATED, stage, "%s ended TCP without TLS close_notify", peer);
    } else {
        (void)hpxi_error_set(&error, HPX_E_EOF, stage, "%s closed the connection", peer);
    }
    hpxi_http_conn_fail(conn, &error);
}

static void conn_on_drain(hpxi_sock *sock)
{
    hpxi_http_conn *conn = sock->owner;
    if (conn->state == HPXI_HTTP_OPEN) {
        hpxi_http_conn_mark(conn);
    }
}

static void conn_on_gone(hpxi_sock *sock)
{
    hpxi_http_conn *conn = sock->owner;
    HPX_ASSERT(conn->sock == sock);
    conn->sock = NULL;
    hpxi_http_conn_mark_settle(conn);
}

static const hpxi_sock_ops conn_sock_ops = {
    .on_bytes = conn_on_bytes,
    .on_end = conn_on_end,
    .on_drain = conn_on_drain,
    .on_gone = conn_on_gone,
};

/* ---- Dial ------------------------------------------------------------------------------------ */

static void conn_on_resolved(hpxi_dial *dial)
{
    hpxi_http_conn *conn = dial->owner;
    conn->info.resolve_ns = conn_lap(conn);
}

static void conn_on_connected(hpxi_dial *dial, hpxi_sock *sock)
{
    hpxi_http_conn *conn = dial->owner;
    HPX_ASSERT(conn->state == HPXI_HTTP_DIALING && conn->sock == NULL);
    conn->info.connect_ns = conn_lap(conn);
    conn->sock = sock;
    hpxi_sock_set_owner(sock, &conn_sock_ops, conn);
    hpxi_address peer;
    if (hpxi_net_peer(sock->fd, &peer) == 0) {
        hpxi_address_format(&peer, conn->info.peer_address);
    }
    (void)hpxi_sock_receive(sock, false);
    if (conn->origin.is_tls) {
        conn_begin_tls(conn);
        return;
    }
    conn->is_h2 = conn->origin.version == HPX_HTTP_2_PRIOR_KNOWLEDGE;
    conn_open(conn);
}

static void conn_on_dial_failed(hpxi_dial *dial, const hpx_error *error)
{
    hpxi_http_conn_fail(dial->owner, error);
}

static const hpxi_dial_ops conn_dial_ops = {
    .on_resolved = conn_on_resolved,
    .on_connected = conn_on_connected,
    .on_failed = conn_on_dial_failed,
};

static void conn_on_deadline(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_http_conn *conn = CONN_OF(timer, deadline);
    const bool in_tls = conn->state == HPXI_HTTP_TLS;
    hpx_error error;
    (void)hpxi_error_set(
        &error,
        in_tls ? HPX_E_TLS_TIMEOUT : HPX_E_CONNECT_TIMEOUT,
        in_tls ? HPX_STAGE_TLS : HPX_STAGE_CONNECT,
        "no connection to %s:%u within connect_timeout_ns",
        conn->origin.host,
        conn->origin.port);
    hpxi_http_conn_fail(conn, &error);
}

/* ---- For the pool ---------------------------------------------------------------------------- */

static void conn_link(hpxi_http_conn *conn)
{
    hpxi_http_core *core = conn->core;
    conn->next = core->conns;
    if (conn->next != NULL) {
        conn->next->prev = conn;
    }
    core->conns = conn;
    core->conn_count++;
}

static hpxi_pool_item *conn_connect(hpxi_pool *pool, hpxi_pool_key *key)
{
    hpxi_http_core *core = pool->owner;
    hpx_shard *shard = core->shard;
    hpxi_http_conn *conn =
        shard->owner.phase != HPXI_SHARD_RUNNING || core->released
            ? NULL
            : hpxi_alloc_zero(shard->allocator, sizeof(*conn), _Alignof(hpxi_http_conn));
    if (conn == NULL) {
        return NULL;
    }
    hpxi_count(&core->counters->connects, 1);
    conn->core = core;
    conn->state = HPXI_HTTP_DIALING;
    conn->stage_ns = shard->owner.now_ns;
    hpxi_http_key_read(&conn->origin, key->data, key->bytes);
    hpxi_buf_init(&conn->plain_out, shard->allocator);
    hpxi_timer_init(&conn->deadline, conn_on_deadline);
    hpxi_timer_init(&conn->h2_timer, hpxi_http_h2_timer);
    hpxi_dial_init(
        &conn->dial,
        &conn_dial_ops,
        conn,
        &shard->owner.socks,
        &shard->owner.wheel,
        &shard->owner.now_ns);
    conn_link(conn);
    const hpxi_http_origin *origin = &conn->origin;
    conn->entry = hpxi_http_board_enter(
        core->board, origin->is_tls, origin->host, origin->port, shard->owner.now_ns);
    const hpx_http_config *config = &core->settings->config;
    const uint64_t timeout_ns = config->connect_timeout_ns;
    const hpxi_dial_config dial = {
        .host = conn->origin.host,
        .port = conn->origin.port,
        .override =
            hpxi_http_settings_override(core->settings, conn->origin.host, conn->origin.port),
        .resolve_timeout_ns = timeout_ns,
        .connect_timeout_ns = timeout_ns,
    };
    hpxi_wheel_set(&shard->owner.wheel, &conn->deadline, shard->owner.now_ns + timeout_ns);
    hpxi_dial_start(&conn->dial, shard->owner.resolver, &dial);
    return &conn->item;
}

static bool conn_is_alive(hpxi_pool_item *item)
{
    const hpxi_http_conn *conn = CONN_OF(item, item);
    const hpxi_sock *sock = conn->sock;
    if (conn->state != HPXI_HTTP_OPEN || sock->state != HPXI_SOCK_OPEN || sock->ended ||
        sock->send_failed) {
        return false;
    }
    if (conn->is_h2 && hpxi_h2_is_closing(conn->h2)) {
        return false;
    }
    const uint64_t idle_ns = conn->core->shard->owner.now_ns - item->idle_since_ns;
    if (idle_ns < CONN_ASK_AFTER_NS || !item->served) {
        return true;
    }
    if (conn->keep_alive_ns != 0 && idle_ns >= conn->keep_alive_ns - conn->keep_alive_ns / 8) {
        return false; /* about to be closed by the peer */
    }
    /* HTTP/2 may have bytes to say any time; HTTP/1.1 has no business to. */
    const int unread = hpxi_net_peek(sock->fd);
    return unread == -EAGAIN || (unread > 0 && conn->is_h2);
}

static void conn_pool_close(hpxi_pool_item *item)
{
    hpxi_http_conn_close(CONN_OF(item, item));
}

static void conn_grant(hpxi_pool_waiter *waiter, hpxi_pool_item *item)
{
    hpxi_http_request *request = REQUEST_OF_WAITER(waiter);
    hpxi_http_conn *conn = CONN_OF(item, item);
    hpxi_http_request_granted(request, conn);
    hpxi_http_conn_begin(conn, request);
}

static void conn_refuse(hpxi_pool_waiter *waiter, hpxi_pool_item *item)
{
    hpxi_http_request *request = REQUEST_OF_WAITER(waiter);
    if (item == NULL) {
        hpxi_http_request_fail_with(request, HPX_E_NO_MEMORY, "no memory for a connection");
        return;
    }
    const hpx_error *error = &CONN_OF(item, item)->error;
    hpxi_http_request_fail(request, error);
    if (error->status == HPX_E_CONNECT_TIMEOUT || error->status == HPX_E_TLS_TIMEOUT ||
        error->status == HPX_E_DNS_TIMEOUT) {
        request->outcome = HPX_HTTP_TIMEOUT;
    }
}

const hpxi_pool_ops hpxi_http_pool_ops = {
    .connect = conn_connect,
    .is_alive = conn_is_alive,
    .close = conn_pool_close,
    .grant = conn_grant,
    .refuse = conn_refuse,
};

/* ---- For requests ---------------------------------------------------------------------------- */

void hpxi_http_conn_begin(hpxi_http_conn *conn, hpxi_http_request *request)
{
    HPX_ASSERT(conn->state == HPXI_HTTP_OPEN);
    if (conn->is_h2) {
        hpxi_http_h2_begin(conn, request);
    } else {
        hpxi_http_h1_begin(conn, request);
    }
}

hpx_http_processed hpxi_http_conn_give_up(hpxi_http_conn *conn, hpxi_http_request *request)
{
    return conn->is_h2 ? hpxi_http_h2_give_up(conn, request) : hpxi_http_h1_give_up(conn, request);
}

void hpxi_http_conn_taken(hpxi_http_conn *conn, hpxi_http_request *request, size_t bytes)
{
    if (conn->is_h2) {
        hpxi_h2_consume(conn->h2, request->stream, bytes);
        hpxi_http_conn_mark(conn);
    } else if (hpxi_buf_size(&request->backlog) == 0 && conn->sock != NULL) {
        hpxi_sock_resume(conn->sock);
    }
}

void hpxi_http_conn_resume_body(hpxi_http_conn *conn, hpxi_http_request *request)
{
    request->pull_starved = false;
    hpxi_http_request_moved(request);
    if (conn->is_h2) {
        hpxi_h2_resume(conn->h2, request->stream);
    }
    hpxi_http_conn_mark(conn);
}

/* ---- Steps of the turn ----------------------------------------------------------------------- */

/* Encrypts what waits, within the limits. False: more waits, and the socket is not stuck. */
static bool conn_encrypt(hpxi_http_conn *conn)
{
    hpx_error error;
    if (hpxi_encrypt(conn->tls, &conn->plain_out, conn->sock, &error) != HPX_OK) {
        hpxi_http_conn_fail(conn, &error);
        return true;
    }
    return hpxi_buf_size(&conn->plain_out) == 0 || conn->sock->stuck;
}

void hpxi_http_conn_flush(hpxi_http_conn *conn)
{
    if (conn->state != HPXI_HTTP_OPEN || conn->sock->state != HPXI_SOCK_OPEN) {
        return;
    }
    if (conn->is_h2) {
        hpxi_http_h2_flush(conn);
    } else {
        hpxi_http_h1_flush(conn);
    }
    if (conn->state != HPXI_HTTP_OPEN) {
        return;
    }
    if (conn->tls == NULL) {
        hpxi_sock_mark(conn->sock);
    } else if (!conn_encrypt(conn)) {
        hpxi_http_conn_mark(conn);
    }
}

static void conn_free(hpxi_http_conn *conn)
{
    hpxi_http_core *core = conn->core;
    HPX_ASSERT(conn->exchange == NULL && !conn->on_settle);
    HPX_ASSERT(!hpxi_timer_is_set(&conn->deadline) && !hpxi_timer_is_set(&conn->h2_timer));
    *(conn->prev != NULL ? &conn->prev->next : &core->conns) = conn->next;
    if (conn->next != NULL) {
        conn->next->prev = conn->prev;
    }
    core->conn_count--;
    for (hpxi_http_conn **at = &core->shard->owner.http.dirty; conn->on_dirty;
         at = &(*at)->next_dirty) {
        HPX_ASSERT(*at != NULL);
        if (*at == conn) {
            *at = conn->next_dirty;
            break;
        }
    }
    hpxi_h2_free(conn->h2);
    hpxi_http_board_leave(core->board, conn->entry); /* the session wrote to it */
    hpxi_tls_free(conn->tls);
    if (conn->reader_made) {
        hpxi_h1_reader_fini(&conn->reader);
    }
    hpxi_buf_fini(&conn->plain_out);
    hpxi_free(core->shard->allocator, conn, sizeof(*conn));
    if (core->released) {
        hpxi_http_core_mark(core); /* perhaps it was the last one */
    }
}

void hpxi_http_conn_settle(hpxi_http_conn *conn)
{
    if (conn->state == HPXI_HTTP_CLOSING && conn->sock == NULL) {
        HPX_ASSERT(conn->dial.state == HPXI_DIAL_IDLE);
        hpxi_pool_remove(&conn->core->pool, &conn->item);
        conn_free(conn);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.c - the driver's way up: one function per transition, and what a connection is made of.
 *
 * Threads   The shard's. Callbacks from dial, sockets and timers arrive here; conn.h has the
 *           diagram.
 */
#include "engine/conn.h"

#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/error.h"

/* Buffers kept between messages; larger ones are given back (ws/frame.h). */
#define CONN_RETAIN_BYTES (256u << 10)

#define CONN_OF(member_ptr, member)                                                                \
    ((hpx_conn *)(void *)((char *)(member_ptr)-offsetof(hpx_conn, member)))

static void conn_on_deadline(hpxi_timer *timer, uint64_t now_ns);

void hpxi_conn_set_state(hpx_conn *conn, hpx_conn_state state)
{
    /* Forward, but for a new attempt. */
    HPX_ASSERT(
        state > conn->state || conn->state == HPX_CONN_BACKING_OFF ||
        state == HPX_CONN_BACKING_OFF);
    HPX_ASSERT(conn->state != HPX_CONN_CLOSED);
    conn->state = state;
    if (conn->hub != NULL) {
        atomic_store_explicit(&conn->hub->shared.epoch, conn->epoch, memory_order_relaxed);
        /* Release: whoever sees READY sees its epoch (partner: hpx_handle_send). */
        atomic_store_explicit(&conn->hub->shared.state, (uint32_t)state, memory_order_release);
    }
}

/* Ends a stage: returns how long it took and starts the next one's clock. */
static uint64_t conn_lap(hpx_conn *conn)
{
    const uint64_t now = conn->shard->owner.now_ns;
    const uint64_t took = now - conn->stage_ns;
    conn->stage_ns = now;
    return took;
}

static void conn_set_deadline(hpx_conn *conn, uint64_t timeout_ns)
{
    hpxi_wheel_set(
        &conn->shard->owner.wheel, &conn->deadline, conn->shard->owner.now_ns + timeout_ns);
}

/* ---- What a connection is made of ------------------------------------------------------------ */

static void conn_link(hpx_conn *conn)
{
    hpx_shard *shard = conn->shard;
    conn->next = shard->owner.conns;
    if (conn->next != NULL) {
        conn->next->prev = conn;
    }
    shard->owner.conns = conn;
    shard->owner.conn_count++;
    atomic_store_explicit(
        &shard->counters.connections, shard->owner.conn_count, memory_order_relaxed);
}

static void conn_on_resolved(hpxi_dial *dial);
static void conn_on_connected(hpxi_dial *dial, hpxi_sock *sock);
static void conn_on_dial_failed(hpxi_dial *dial, const hpx_error *error);

static const hpxi_dial_ops conn_dial_ops = {
    .on_resolved = conn_on_resolved,
    .on_connected = conn_on_connected,
    .on_failed = conn_on_dial_failed,
};

static hpx_conn *conn_new(hpx_shard *shard, hpxi_ws_role role)
{
    HPXI_ASSERT_OWNER(shard);
    hpx_conn *conn = hpxi_alloc_zero(shard->allocator, sizeof(*conn), _Alignof(hpx_conn));
    if (conn == NULL) {
        return NULL;
    }
    conn->shard = shard;
    conn->role = role;
    conn->state = HPX_CONN_IDLE;
    conn->stage_ns = shard->owner.now_ns;
    conn->info.shard = shard->index;
    conn->info.is_server = role == HPXI_WS_ROLE_SERVER;
    hpxi_timer_init(&conn->deadline, conn_on_deadline);
    hpxi_timer_init(&conn->backoff, hpxi_conn_on_backoff);
    hpxi_conn_heartbeat_init(conn);
    hpxi_buf_init(&conn->plain_out, shard->allocator);
    hpxi_dial_init(
        &conn->dial,
        &conn_dial_ops,
        conn,
        &shard->owner.socks,
        &shard->owner.wheel,
        &shard->owner.now_ns);
    conn_link(conn);
    return conn;
}

/* Made, and then not wanted after all. */
static void conn_unlink_new(hpx_conn *conn)
{
    hpx_shard *shard = conn->shard;
    HPX_ASSERT(shard->owner.conns == conn);
    shard->owner.conns = conn->next;
    if (conn->next != NULL) {
        conn->next->prev = NULL;
    }
    shard->owner.conn_count--;
    hpxi_free(shard->allocator, conn, sizeof(*conn));
}

/* Decoder and head reader with the limits of the spec or the listener. */
static void conn_init_codec(
    hpx_conn *conn,
    uint64_t message_bytes_max,
    uint32_t fragments_max,
    uint32_t head_bytes_max,
    uint32_t head_fields_max)
{
    const hpxi_ws_limits limits = {
        .message_bytes_max = message_bytes_max,
        .retain_bytes_max = CONN_RETAIN_BYTES,
        .fragments_max = fragments_max,
    };
    hpxi_ws_decoder_init(&conn->decoder, conn->role, &limits, conn->shard->allocator);
    hpxi_ws_head_init(
        &conn->head, conn->role, head_bytes_max, head_fields_max, conn->shard->allocator);
}

static void conn_init_client_codec(hpx_conn *conn)
{
    const hpx_ws_config *config = &conn->spec->config;
    conn_init_codec(
        conn,
        config->message_bytes_max,
        config->fragments_max,
        config->upgrade_bytes_max,
        config->upgrade_headers_max);
}

void hpxi_conn_renew(hpx_conn *conn)
{
    HPX_ASSERT(conn->role == HPXI_WS_ROLE_CLIENT);
    HPX_ASSERT(conn->sock == NULL);
    hpxi_tls_free(conn->tls);
    conn->tls = NULL;
    hpxi_ws_head_fini(&conn->head);
    hpxi_ws_decoder_fini(&conn->decoder);
    conn_init_client_codec(conn);
    hpxi_buf_consume(&conn->plain_out, hpxi_buf_size(&conn->plain_out)); /* never on a later one */
    conn->hot = conn->spec->config.receive_mode == HPX_RECEIVE_HOT;
    conn->want_writable = false;
    conn->close_sent = false;
    conn->close_received = false;
    conn->finish = false;
    conn->discard = false;
    conn->owes_disconnected = false;
    conn->told_disconnected = false;
    conn->ready_ns = 0;
    conn->info = (hpx_conn_info){.shard = conn->shard->index, .is_tls = conn->spec->url.is_tls};
    atomic_store_explicit(&conn->hub->shared.send_blocked, 0, memory_order_relaxed);
}

hpx_conn *
hpxi_conn_new_client(hpx_shard *shard, hpxi_spec *spec, hpxi_hub *hub, hpxi_channel *channel)
{
    hpx_conn *conn = conn_new(shard, HPXI_WS_ROLE_CLIENT);
    if (conn == NULL) {
        return NULL;
    }
    conn->spec = spec;
    conn->hub = hub;
    if (spec->config.protocol != NULL && hpxi_session_new(conn) != HPX_OK) {
        conn_unlink_new(conn);
        return NULL;
    }
    hub->shard.conn = conn;
    hub->shard.made = true;
    conn->channel = channel;
    conn->on_event = spec->config.on_event;
    conn->user = spec->config.user;
    conn->hot = spec->config.receive_mode == HPX_RECEIVE_HOT;
    conn->send_queue_bytes_max = spec->config.send_queue_bytes_max;
    conn->close_timeout_ns = spec->config.close_timeout_ns;
    conn->info.is_tls = spec->url.is_tls;
    conn_init_client_codec(conn);
    return conn;
}

/* ---- IDLE -> RESOLVING -> CONNECTING --------------------------------------------------------- */

void hpxi_conn_start(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_IDLE || conn->state == HPX_CONN_BACKING_OFF);
    HPX_ASSERT(conn->sock == NULL);
    HPX_ASSERT(conn->role == HPXI_WS_ROLE_CLIENT);
    const hpxi_spec *spec = conn->spec;
    const hpxi_dial_config config = {
        .host = spec->url.host,
        .port = spec->url.port,
        .override = &spec->override,
        .resolve_timeout_ns = spec->config.resolve_timeout_ns,
        .connect_timeout_ns = spec->config.connect_timeout_ns,
        .busy_poll_us = spec->config.busy_poll_us,
    };
    conn->stage_ns = conn->shard->owner.now_ns;
    hpxi_conn_set_state(conn, HPX_CONN_RESOLVING);
    hpxi_dial_start(&conn->dial, conn->shard->owner.resolver, &config);
}

static void conn_on_resolved(hpxi_dial *dial)
{
    hpx_conn *conn = dial->owner;
    HPX_ASSERT(conn->state == HPX_CONN_RESOLVING);
    conn->info.resolve_ns = conn_lap(conn);
    hpxi_conn_set_state(conn, HPX_CONN_CONNECTING);
}

static void conn_on_dial_failed(hpxi_dial *dial, const hpx_error *error)
{
    hpx_conn *conn = dial->owner;
    HPX_ASSERT(conn->state == HPX_CONN_RESOLVING || conn->state == HPX_CONN_CONNECTING);
    hpxi_conn_fail(conn, error);
}

/* ---- The socket is there: CONNECTING -> TLS_HANDSHAKE or UPGRADING --------------------------- */

static void conn_use_socket(hpx_conn *conn, hpxi_sock *sock)
{
    HPX_ASSERT(conn->sock == NULL);
    conn->sock = sock;
    hpxi_sock_set_owner(sock, &hpxi_conn_sock_ops, conn);
    hpxi_address peer;
    if (hpxi_net_peer(sock->fd, &peer) == 0) {
        hpxi_address_format(&peer, conn->info.peer_address);
    }
    conn->hot = hpxi_sock_receive(sock, conn->hot);
}

static void conn_begin_upgrade(hpx_conn *conn)
{
    hpxi_conn_set_state(conn, HPX_CONN_UPGRADING);
    if (conn->role == HPXI_WS_ROLE_SERVER) {
        return; /* the client speaks first; the deadline of accept goes on */
    }
    hpxi_random_bytes(&conn->shard->owner.random, conn->nonce, sizeof(conn->nonce));
    hpxi_ws_request_config request = conn->spec->request;
    memcpy(request.nonce, conn->nonce, sizeof(request.nonce));
    if (hpxi_ws_request_write(hpxi_conn_out(conn), &request) != HPX_OK) {
        hpxi_conn_fail_with(conn, HPX_E_NO_MEMORY, HPX_STAGE_UPGRADE, "no memory");
        return;
    }
    hpxi_conn_mark(conn);
    conn_set_deadline(conn, conn->spec->config.upgrade_timeout_ns);
}

/* Drives the TLS handshake with what arrived; true once it is done. */
static bool conn_tls_step(hpx_conn *conn, uint8_t **data, size_t *size)
{
    hpx_error error = {0};
    const hpx_status status =
        hpxi_tls_handshake(conn->tls, data, size, hpxi_sock_out(conn->sock), &error);
    if (hpxi_buf_size(hpxi_sock_out(conn->sock)) != 0) {
        hpxi_sock_mark(conn->sock);
    }
    if (status == HPX_E_PARTIAL) {
        return false;
    }
    if (status < 0) {
        hpxi_conn_fail(conn, &error); /* flushes the alert */
        return false;
    }
    hpxi_tls_info info;
    hpxi_tls_get_info(conn->tls, &info);
    (void)snprintf(conn->info.tls_version, sizeof(conn->info.tls_version), "%s", info.version);
    (void)snprintf(conn->info.tls_cipher, sizeof(conn->info.tls_cipher), "%s", info.cipher);
    conn->info.tls_verified = info.verified;
    conn->info.tls_resumed = info.resumed;
    conn->info.tls_ns = conn_lap(conn);
    return true;
}

static void conn_begin_tls(hpx_conn *conn, const hpxi_tls_session_config *config)
{
    hpx_error error = {0};
    hpxi_conn_set_state(conn, HPX_CONN_TLS_HANDSHAKE);
    const hpx_status status = hpxi_tls_new(&conn->tls, config, conn->shard->allocator, &error);
    if (status != HPX_OK) {
        error.status = status;
        error.stage = HPX_STAGE_TLS;
        hpxi_conn_fail(conn, &error);
        return;
    }
    if (!config->is_server) {
        uint8_t *none = NULL;
        size_t nothing = 0;
        const bool done = conn_tls_step(conn, &none, &nothing); /* the first flight */
        HPX_ASSERT(!done);
    }
}

/* What the kernel refuses was asked for, so the attempt fails and says what. */
static bool conn_set_hints(hpx_conn *conn)
{
    const hpx_ws_config *config = &conn->spec->config;
    const hpx_engine *engine = conn->shard->engine;
    const bool steer = config->incoming_cpu && engine->config.cpu_count != 0;
    const int cpu = steer ? (int)engine->cpus[conn->shard->index] : -1;
    const int result = hpxi_net_tcp_hint(conn->sock->fd, config->quickack, cpu);
    if (result < 0) {
        hpx_error error;
        (void)hpxi_error_set_errno(&error, result, HPX_STAGE_CONNECT, "quickack or incoming_cpu");
        hpxi_conn_fail(conn, &error);
    }
    return result >= 0;
}

static void conn_on_connected(hpxi_dial *dial, hpxi_sock *sock)
{
    hpx_conn *conn = dial->owner;
    HPX_ASSERT(conn->state == HPX_CONN_CONNECTING);
    conn->info.connect_ns = conn_lap(conn);
    conn_use_socket(conn, sock);
    if (!conn_set_hints(conn)) {
        return;
    }
    if (!conn->spec->url.is_tls) {
        conn_begin_upgrade(conn);
        return;
    }
    const char *name = conn->spec->config.tls_server_name;
    const hpxi_tls_session_config config = {
        .context = conn->spec->tls,
        .insecure_no_verify = conn->spec->insecure_no_verify,
        .server_name = name != NULL ? name : conn->spec->url.host,
        .sessions = conn->shard->owner.tls_sessions,
        .host = conn->spec->url.host,
        .port = conn->spec->url.port,
    };
    conn_set_deadline(conn, conn->spec->config.tls_timeout_ns);
    conn_begin_tls(conn, &config);
}

void hpxi_conn_accept(hpx_listener *listener, int fd)
{
    hpx_shard *shard = listener->shard;
    hpx_conn *conn = conn_new(shard, HPXI_WS_ROLE_SERVER);
    if (conn == NULL) {
        (void)hpxi_net_close(fd);
        return;
    }
    listener->refs++;
    conn->listener = listener;
    conn->on_event = listener->config.on_event;
    conn->user = listener->config.user;
    conn->hot = listener->config.receive_mode == HPX_RECEIVE_HOT;
    conn->send_queue_bytes_max = listener->config.send_queue_bytes_max;
    conn->close_timeout_ns = listener->config.close_timeout_ns;
    conn->info.is_tls = listener->config.tls != NULL;
    conn_init_codec(
        conn,
        listener->config.message_bytes_max,
        listener->config.fragments_max,
        listener->config.upgrade_bytes_max,
        listener->config.upgrade_headers_max);
    (void)hpxi_net_tcp_tune(fd, 0);
    hpxi_sock *sock = NULL;
    const hpx_status status =
        hpxi_sock_adopt(&shard->owner.socks, fd, &hpxi_conn_sock_ops, conn, &sock);
    if (status != HPX_OK) { /* the table is full: the peer sees a closed connection */
        hpxi_conn_fail_with(conn, status, HPX_STAGE_CONNECT, "no socket left on this shard");
        return;
    }
    conn_use_socket(conn, sock);
    conn_set_deadline(conn, listener->config.handshake_timeout_ns);
    if (listener->config.tls == NULL) {
        conn_begin_upgrade(conn);
        return;
    }
    const hpxi_tls_session_config config = {.context = listener->config.tls, .is_server = true};
    conn_begin_tls(conn, &config);
}

/* ---- TLS_HANDSHAKE -> UPGRADING -> READY ----------------------------------------------------- */

bool hpxi_conn_on_handshake(hpx_conn *conn, uint8_t **data, size_t *size)
{
    HPX_ASSERT(conn->state == HPX_CONN_TLS_HANDSHAKE);
    if (!conn_tls_step(conn, data, size)) {
        return false;
    }
    conn_begin_upgrade(conn);
    return true;
}

void hpxi_conn_become_ready(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_UPGRADING || conn->state == HPX_CONN_RESUBSCRIBING);
    if (conn->session != NULL) {
        conn->info.resubscribe_ns = conn_lap(conn);
    }
    conn->ready_ns = conn->shard->owner.now_ns;
    conn->epoch++;
    hpxi_conn_set_state(conn, HPX_CONN_READY);
    conn->announced = true;
    const hpx_event event = {
        .kind = HPX_EVENT_CONNECTED,
        .epoch = conn->epoch,
        .time_ns = conn->shard->owner.now_ns,
        .info = &conn->info,
    };
    hpxi_conn_deliver(conn, &event);
    if (conn->session != NULL) {
        hpxi_session_ready(conn);
    }
}

void hpxi_conn_resubscribing(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_AUTHENTICATING);
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->deadline);
    conn->info.auth_ns = conn_lap(conn);
    hpxi_conn_set_state(conn, HPX_CONN_RESUBSCRIBING);
}

/* UPGRADING -> READY, or AUTHENTICATING first where there is a protocol. */
static void conn_open(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_UPGRADING);
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->deadline);
    hpxi_ws_head_fini(&conn->head);
    conn->info.upgrade_ns = conn_lap(conn);
    hpxi_conn_heartbeat_start(conn);
    if (conn->session == NULL) {
        hpxi_conn_become_ready(conn);
        return;
    }
    hpxi_conn_set_state(conn, HPX_CONN_AUTHENTICATING);
    conn_set_deadline(conn, conn->spec->config.request_timeout_ns);
    hpxi_session_begin(conn);
}

static void conn_on_answer(hpx_conn *conn)
{
    hpx_error error = {0};
    hpxi_ws_request_config request = conn->spec->request;
    memcpy(request.nonce, conn->nonce, sizeof(request.nonce));
    hpxi_ws_answer answer;
    const hpx_status status = hpxi_ws_answer_check(&conn->head, &request, &answer, &error);
    if (status != HPX_OK) {
        error.status = status;
        error.stage = HPX_STAGE_UPGRADE;
        hpxi_conn_fail(conn, &error);
        return;
    }
    (void)snprintf(
        conn->info.subprotocol, sizeof(conn->info.subprotocol), "%s", answer.subprotocol);
    conn_open(conn);
}

static void conn_refuse(hpx_conn *conn, uint32_t http_status, uint32_t retry_after_s)
{
    conn->error = (hpx_error){
        .status = HPX_E_HTTP_MALFORMED,
        .stage = HPX_STAGE_UPGRADE,
        .http_status = (int32_t)http_status};
    conn->discard = true;
    const hpx_status status =
        hpxi_ws_refusal_write(hpxi_conn_out(conn), http_status, retry_after_s);
    hpxi_conn_set_state(conn, HPX_CONN_CLOSING);
    conn_set_deadline(conn, conn->close_timeout_ns);
    if (status == HPX_OK) {
        hpxi_conn_mark(conn);
    }
    hpxi_conn_finish(conn);
}

/* What the application says to a valid request. */
static hpx_upgrade_answer conn_ask_app(hpx_conn *conn, const hpxi_ws_offer *offer)
{
    const hpx_listen_config *config = &conn->listener->config;
    hpx_upgrade_answer answer = {.http_status = 101};
    if (config->on_upgrade != NULL) {
        const hpx_upgrade_request request = {
            .target = offer->target,
            .host = offer->host,
            .subprotocol = offer->subprotocol != NULL ? offer->subprotocol : "",
        };
        answer = config->on_upgrade(&request, config->user);
        if (answer.http_status != 101 && (answer.http_status < 400 || answer.http_status > 599)) {
            answer.http_status = 500;
        }
    }
    return answer;
}

static void conn_on_offer(hpx_conn *conn)
{
    hpx_error error = {0};
    hpxi_ws_offer offer;
    const hpx_listen_config *config = &conn->listener->config;
    const uint32_t http_status = hpxi_ws_offer_check(
        &conn->head, config->subprotocols, config->subprotocol_count, &offer, &error);
    if (http_status != 101) {
        conn_refuse(conn, http_status, 0);
        return;
    }
    const hpx_upgrade_answer answer = conn_ask_app(conn, &offer);
    if (answer.http_status != 101) {
        conn_refuse(conn, answer.http_status, answer.retry_after_s);
        return;
    }
    if (hpxi_ws_answer_write(hpxi_conn_out(conn), &offer) != HPX_OK) {
        hpxi_conn_fail_with(conn, HPX_E_NO_MEMORY, HPX_STAGE_UPGRADE, "no memory");
        return;
    }
    hpxi_conn_mark(conn);
    (void)snprintf(
        conn->info.subprotocol,
        sizeof(conn->info.subprotocol),
        "%s",
        offer.subprotocol != NULL ? offer.subprotocol : "");
    (void)snprintf(conn->info.target, sizeof(conn->info.target), "%s", offer.target);
    conn_open(conn);
}

void hpxi_conn_on_head(hpx_conn *conn, uint8_t **data, size_t *size)
{
    HPX_ASSERT(conn->state == HPX_CONN_UPGRADING);
    hpx_error error = {0};
    const hpx_status status = hpxi_ws_head_feed(&conn->head, data, size, &error);
    if (status == HPX_E_PARTIAL) {
        return;
    }
    const bool is_client = conn->role == HPXI_WS_ROLE_CLIENT;
    if (status < 0) {
        if (is_client || status == HPX_E_NO_MEMORY) {
            error.status = status;
            error.stage = HPX_STAGE_UPGRADE;
            hpxi_conn_fail(conn, &error);
        } else {
            conn_refuse(conn, status == HPX_E_HTTP_TOO_BIG ? 431 : 400, 0);
        }
        return;
    }
    if (is_client) {
        conn_on_answer(conn);
    } else {
        conn_on_offer(conn);
    }
}

/* ---- Deadlines ------------------------------------------------------------------------------- */

static void conn_on_deadline(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpx_conn *conn = CONN_OF(timer, deadline);
    switch (conn->state) {
    case HPX_CONN_TLS_HANDSHAKE:
        hpxi_conn_fail_with(
            conn, HPX_E_TLS_TIMEOUT, HPX_STAGE_TLS, "the TLS handshake was not finished in time");
        return;
    case HPX_CONN_UPGRADING:
        hpxi_conn_fail_with(
            conn,
            HPX_E_UPGRADE_TIMEOUT,
            HPX_STAGE_UPGRADE,
            "the server did not answer the WebSocket upgrade in time");
        return;
    case HPX_CONN_AUTHENTICATING:
        hpxi_session_auth_timeout(conn);
        return;
    case HPX_CONN_CLOSING:
        hpxi_conn_close_timeout(conn);
        return;
    case HPX_CONN_IDLE:
    case HPX_CONN_RESOLVING:
    case HPX_CONN_CONNECTING:    /* the dial has its own deadline */
    case HPX_CONN_RESUBSCRIBING: /* each batch has one */
    case HPX_CONN_READY:
    case HPX_CONN_BACKING_OFF:
    case HPX_CONN_CLOSED:
        break;
    }
    HPX_ASSERT(false);
}

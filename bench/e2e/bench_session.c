/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_session.c - the engine with a session on it, and a venue that says back what it hears.
 *
 * The dialect is the library's generic JSON one: {"id":N,...} said back is a response without an
 * error, so an echo answers requests and acknowledges batches of topics; {"topic":"...",...} is an
 * update. The venue is the engine's server role on the same shard: its cost is in every number, and
 * the same in those that are compared.
 */
#include "bench_session.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <hpx/hpx.h>

#include "peers.h"

#define LOSE_QUIET_NS   (100 * HPX_NS_PER_US)
#define PUBLISH_BATCH   256u
#define SUBSCRIBERS_MAX 16u

static const char question[] = "{\"id\":0,\"method\":\"public/get_time\",\"params\":{}}";
static const char update_text[] =
    "{\"topic\":\"t0\",\"data\":{\"seq\":1234567,\"ts_ns\":1234567890123456789,\"price\":64997.32,"
    "\"amount\":0.7032,\"side\":\"buy\"}}"; /* 112 bytes */

struct session {
    session_setup setup;
    _Atomic uint64_t allocations;
    hpx_engine *engine;
    hpx_shard *shard; /* INLINE, PORT_SAME: turned by this thread */
    hpx_port *port;
    hpx_protocol *protocol;
    hpx_tls_context *server_tls;
    hpx_tls_context *client_tls;
    _Atomic uint16_t venue_port;
    hpx_conn *venue_conn; /* the shard's thread only */
    hpx_conn *conn;       /* INLINE */
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_subscription *held;
    hpx_subscription *subs[SUBSCRIBERS_MAX];
    uint32_t sub_count;
    uint32_t ready;      /* INLINE: CONNECTED events; and replies and updates, below */
    uint64_t attempt_ns; /* of the last CONNECTED */
    bool resumed;
    uint64_t live;
    uint64_t replies;
    uint64_t updates;
    uint64_t sum; /* keeps the reads of payloads from being removed */
};

static void die(const char *what, const char *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why);
    exit(1);
}

static void check(hpx_status status, const hpx_error *error)
{
    if (status != HPX_OK) {
        die(hpx_status_name(status), error->detail);
    }
}

static void *count_alloc(size_t size, size_t align, void *ctx)
{
    session *s = ctx;
    atomic_fetch_add_explicit(&s->allocations, 1, memory_order_relaxed);
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void count_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

static uint64_t allocations(session *s)
{
    return atomic_load_explicit(&s->allocations, memory_order_relaxed);
}

/* CPU time of this thread: what neighbours take from it does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * HPX_NS_PER_S + (uint64_t)now.tv_nsec;
}

static bool is_polled(const session *s)
{
    return s->setup.way == SESSION_INLINE || s->setup.way == SESSION_PORT_SAME;
}

/* ---- The venue ------------------------------------------------------------------------------- */

static void venue_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    session *s = user;
    if (event->kind == HPX_EVENT_CONNECTED) {
        s->venue_conn = conn;
    } else if (event->kind == HPX_EVENT_MESSAGE) {
        (void)!hpx_conn_send(conn, event->message_kind, event->payload);
    }
}

static void venue_listen(hpx_shard *shard, void *user)
{
    session *s = user;
    hpx_listen_config config = HPX_LISTEN_CONFIG_INIT;
    config.address = "127.0.0.1:0";
    config.on_event = venue_on_event;
    config.user = s;
    config.tls = s->server_tls;
    hpx_listener *listener;
    hpx_error error;
    check(hpx_shard_listen(shard, &config, &listener, &error), &error);
    atomic_store(&s->venue_port, hpx_listener_get_port(listener));
}

/* ---- Inline ---------------------------------------------------------------------------------- */

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    session *s = user;
    (void)conn;
    if (event->kind == HPX_EVENT_CONNECTED) {
        const hpx_conn_info *info = event->info;
        s->ready++;
        s->resumed = info->tls_resumed;
        s->attempt_ns = info->resolve_ns + info->connect_ns + info->tls_ns + info->upgrade_ns +
                        info->auth_ns + info->resubscribe_ns;
    } else if (event->kind == HPX_EVENT_DISCONNECTED && s->ready == 0) {
        die("connect", event->error->detail);
    }
}

static void on_update(hpx_conn *conn, hpx_subscription *sub, const hpx_update *update, void *user)
{
    session *s = user;
    (void)conn;
    (void)sub;
    if (update->kind == HPX_UPDATE_MESSAGE) {
        s->updates++;
        s->sum += update->payload.data[0];
    } else if (update->kind == HPX_UPDATE_LIVE) {
        s->live++;
    }
}

static void on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    session *s = user;
    (void)conn;
    if (reply->status != HPX_OK) {
        die("reply", hpx_status_name(reply->status));
    }
    s->replies++;
}

static void ask_inline(session *s)
{
    if (hpx_conn_request(s->conn, hpx_span_of(question), 0, on_reply, s, NULL) != HPX_OK) {
        die("request", "refused");
    }
}

static void turn(session *s)
{
    (void)hpx_shard_poll(s->shard);
}

/* ---- Up and down ----------------------------------------------------------------------------- */

static void open_dialect(session *s)
{
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.subscribe = "{\"id\":${id},\"op\":\"subscribe\",\"args\":${topics}}";
    config.unsubscribe = "{\"id\":${id},\"op\":\"unsubscribe\",\"args\":${topics}}";
    config.acknowledges = true;
    hpx_error error;
    check(hpx_protocol_json_new(&s->protocol, &config, &error), &error);
}

static void open_tls(session *s)
{
    hpx_tls_config server = HPX_TLS_CONFIG_INIT;
    hpx_tls_config client = HPX_TLS_CONFIG_INIT;
    hpx_error error;
    server.cert_file = peer_ca_file();
    server.key_file = peer_key_file();
    server.ticket_count = s->setup.tickets;
    client.ca_file = peer_ca_file();
    check(hpx_tls_server_context_new(&s->server_tls, &server, &error), &error);
    check(hpx_tls_client_context_new(&s->client_tls, &client, &error), &error);
}

static void open_engine(session *s)
{
    static const uint32_t shard_cpu[] = {1};
    hpx_error error;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.allocator = (hpx_allocator){.alloc = count_alloc, .free = count_free, .ctx = s};
    config.shard_mode = is_polled(s) ? HPX_SHARDS_POLLED : HPX_SHARDS_THREADS;
    config.wait_mode = s->setup.way == SESSION_PORT_WAIT ? HPX_WAIT_SLEEP : HPX_WAIT_SPIN;
    config.on_shard_start = venue_listen;
    config.user = s;
    if (!is_polled(s)) {
        config.cpus = shard_cpu;
        config.cpu_count = 1;
    }
    peer_pin_self(is_polled(s) && s->setup.raw_peer == 0 ? 1 : 0);
    check(hpx_engine_new(&s->engine, &config, &error), &error);
    check(hpx_engine_start(s->engine, &error), &error);
    if (is_polled(s)) {
        s->shard = hpx_engine_shard(s->engine, 0);
        check(hpx_shard_attach(s->shard, &error), &error);
    }
    check(hpx_port_open(&s->port, s->engine, NULL, &error), &error);
}

static void subscribe_all(session *s)
{
    static char names[1024][8];
    static hpx_span topics[1024];
    hpx_error error;
    for (uint32_t i = 0; i < s->setup.topics; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "t%u", i % 1024);
        topics[i] = hpx_span_of(names[i]);
    }
    if (s->setup.way == SESSION_INLINE) {
        check(
            hpx_conn_subscribe(s->conn, topics, s->setup.topics, on_update, s, &s->held, &error),
            &error);
    } else {
        check(
            hpx_handle_subscribe_many(s->handle, topics, s->setup.topics, NULL, &s->held, &error),
            &error);
    }
}

session *session_open(const session_setup *setup)
{
    session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        abort();
    }
    s->setup = *setup;
    open_dialect(s);
    if (setup->tls) {
        open_tls(s);
    }
    open_engine(s);
    char url[64];
    (void)snprintf(
        url,
        sizeof(url),
        "%s://127.0.0.1:%u/",
        setup->tls ? "wss" : "ws",
        setup->raw_peer != 0 ? setup->raw_peer : atomic_load(&s->venue_port));
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = url;
    ws.tls = s->client_tls;
    ws.protocol = s->protocol;
    ws.reconnect = true;
    ws.backoff_initial_ns = ws.backoff_max_ns = 1;
    ws.backoff_jitter = 0.0;
    ws.request_timeout_ns = 5 * HPX_NS_PER_S;
    hpx_error error;
    if (setup->way == SESSION_INLINE) {
        ws.on_event = on_event;
        ws.user = s;
        check(hpx_shard_connect(s->shard, &ws, &s->conn, &error), &error);
    } else {
        check(hpx_ws_connect(s->port, &ws, &s->handle, &s->stream, &error), &error);
    }
    if (setup->topics != 0) {
        subscribe_all(s);
    }
    while (setup->way == SESSION_INLINE ? s->ready == 0 : !hpx_handle_is_connected(s->handle)) {
        if (is_polled(s)) {
            turn(s);
        }
    }
    return s;
}

void session_close(session *s)
{
    hpx_port_close(s->port); /* with all that is on it */
    if (is_polled(s)) {
        (void)hpx_shard_detach_wait(s->shard, 0);
    }
    (void)hpx_engine_stop_wait(s->engine, 0);
    hpx_engine_free(s->engine);
    hpx_tls_context_release(s->server_tls);
    hpx_tls_context_release(s->client_tls);
    hpx_protocol_free(s->protocol);
    free(s);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void request(session *s)
{
    const hpx_status status = hpx_handle_request(s->handle, hpx_span_of(question), 0, NULL, NULL);
    if (status != HPX_OK) {
        die("request", hpx_status_name(status));
    }
}

static bool take_reply(session *s)
{
    hpx_reply reply;
    if (hpx_handle_next_reply(s->handle, &reply) != 1) {
        return false;
    }
    if (reply.status != HPX_OK) {
        die("reply", hpx_status_name(reply.status));
    }
    s->sum += reply.payload.data[0];
    s->replies++;
    return true;
}

static void ask_one(session *s)
{
    hpx_reply reply;
    const uint64_t before = s->replies;
    switch (s->setup.way) {
    case SESSION_INLINE:
        ask_inline(s);
        while (s->replies == before) {
            turn(s);
        }
        break;
    case SESSION_PORT:
        request(s);
        while (!take_reply(s)) {
        }
        break;
    case SESSION_PORT_SAME:
        request(s);
        while (!take_reply(s)) {
            turn(s);
        }
        break;
    case SESSION_PORT_WAIT:
        if (hpx_handle_request_wait(s->handle, hpx_span_of(question), 0, &reply) != HPX_OK) {
            die("request_wait", hpx_status_name(reply.status));
        }
        break;
    }
}

void session_ask(session *s, uint32_t count, uint64_t *samples)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t start = hpx_clock_now_ns();
        ask_one(s);
        samples[i] = hpx_clock_now_ns() - start;
    }
}

void session_flood(session *s, uint32_t count, uint32_t window, session_counts *out)
{
    const uint64_t allocated = allocations(s);
    const uint64_t start = hpx_clock_now_ns();
    const uint64_t start_cpu = cpu_ns();
    const uint64_t before = s->replies;
    uint64_t asked = 0;
    while (s->replies - before < count) {
        for (; asked < count && asked - (s->replies - before) < window; asked++) {
            if (s->setup.way == SESSION_INLINE) {
                ask_inline(s);
            } else {
                request(s);
            }
        }
        if (is_polled(s)) {
            turn(s);
        }
        while (s->setup.way != SESSION_INLINE && take_reply(s)) {
        }
    }
    out->done += count;
    out->wall_ns += hpx_clock_now_ns() - start;
    out->cpu_ns += cpu_ns() - start_cpu;
    out->allocations += allocations(s) - allocated;
}

/* ---- Updates --------------------------------------------------------------------------------- */

void session_subscribe(session *s)
{
    const hpx_span topic = hpx_span_of("t0");
    hpx_error error;
    hpx_subscription **sub = &s->subs[s->sub_count++];
    if (s->setup.way == SESSION_INLINE) {
        check(hpx_conn_subscribe(s->conn, &topic, 1, on_update, s, sub, &error), &error);
    } else {
        check(hpx_handle_subscribe_many(s->handle, &topic, 1, NULL, sub, &error), &error);
    }
    while (hpx_subscription_get_state(*sub) != HPX_SUBSCRIPTION_LIVE) {
        turn(s);
    }
}

static uint64_t updates_seen(session *s)
{
    hpx_session_stats stats;
    if (s->setup.way == SESSION_INLINE) {
        hpx_conn_get_stats(s->conn, &stats);
    } else {
        hpx_handle_get_stats(s->handle, &stats);
    }
    return stats.updates + stats.unrouted_updates;
}

static void read_all(session *s)
{
    hpx_update update;
    for (uint32_t i = 0; s->setup.way != SESSION_INLINE && i < s->sub_count; i++) {
        while (hpx_subscription_next(s->subs[i], &update) == 1) {
            if (update.missed != 0) {
                die("update", "missed some");
            }
            if (update.kind == HPX_UPDATE_MESSAGE) {
                s->sum += update.payload.data[0];
                s->updates++;
            }
        }
    }
}

void session_publish(session *s, uint32_t rounds, session_fan_out *out)
{
    const uint64_t allocated = allocations(s);
    for (uint32_t round = 0; round < rounds; round++) {
        const uint64_t target = updates_seen(s) + PUBLISH_BATCH;
        for (uint32_t i = 0; i < PUBLISH_BATCH; i++) {
            (void)!hpx_conn_send(s->venue_conn, HPX_MESSAGE_TEXT, hpx_span_of(update_text));
        }
        const uint64_t before = s->updates;
        const uint64_t start = cpu_ns();
        while (updates_seen(s) < target) {
            turn(s);
        }
        const uint64_t published = cpu_ns();
        read_all(s);
        out->read_ns += cpu_ns() - published;
        out->shard_ns += published - start;
        if (s->updates - before != (uint64_t)PUBLISH_BATCH * s->sub_count) {
            die("update", "not all came");
        }
    }
    out->updates += (uint64_t)rounds * PUBLISH_BATCH;
    out->allocations += allocations(s) - allocated;
}

/* ---- Losing the connection ------------------------------------------------------------------- */

void session_lose(session *s, uint32_t count, uint64_t *samples, uint64_t *attempts)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t before = s->ready;
        const uint64_t start = hpx_clock_now_ns();
        hpx_conn_abort(s->venue_conn);
        while (s->ready == before) {
            turn(s);
        }
        samples[i] = hpx_clock_now_ns() - start;
        attempts[i] = s->attempt_ns;
        /* The venue sees its end, tickets come; and the next loss falls anywhere in a timer's
         * tick. */
        const uint64_t until = hpx_clock_now_ns() + LOSE_QUIET_NS + i * 37 % 64 * 1024;
        while (hpx_clock_now_ns() < until) {
            turn(s);
        }
    }
}

bool session_is_resumed(const session *s)
{
    return s->resumed;
}

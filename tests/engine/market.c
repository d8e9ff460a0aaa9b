/* SPDX-License-Identifier: Apache-2.0 */
#include "market.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "engine/conn.h"
#include "engine/engine.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

/* Late answers wait for so many further requests. */
#define LATE_MIN 50u
#define LATE_MAX 2000u

_Noreturn void market_fail(const char *what, const char *file, int line)
{
    (void)fprintf(stderr, "%s:%d: %s\n", file, line, what);
    abort();
}

/* ---- Words ----------------------------------------------------------------------------------- */

static hpx_span word(hpx_span *text)
{
    size_t end = 0;
    while (end < text->size && text->data[end] != ' ') {
        end++;
    }
    const hpx_span found = {.data = text->data, .size = end};
    const size_t next = end < text->size ? end + 1 : end;
    text->data += next;
    text->size -= next;
    return found;
}

static bool is(hpx_span span, const char *text)
{
    return span.size == strlen(text) && memcmp(span.data, text, span.size) == 0;
}

static uint64_t number(hpx_span span)
{
    uint64_t value = 0;
    for (size_t i = 0; i < span.size && span.data[i] >= '0' && span.data[i] <= '9'; i++) {
        value = value * 10 + (uint64_t)(span.data[i] - '0');
    }
    return value;
}

static uint32_t below(market *m, uint32_t n)
{
    uint64_t *rng = &m->shard.rng;
    *rng ^= *rng << 13;
    *rng ^= *rng >> 7;
    *rng ^= *rng << 17;
    return (uint32_t)((*rng >> 16) % n);
}

static void say(hpx_conn *conn, const char *text, size_t size)
{
    const hpx_status status = hpx_conn_send(
        conn, HPX_MESSAGE_TEXT, (hpx_span){.data = (const uint8_t *)text, .size = size});
    MARKET_CHECK(status == HPX_OK || status == HPX_E_NOT_CONNECTED); /* it may be going */
}

static void answer(hpx_conn *conn, uint64_t id, hpx_span tail)
{
    char text[128];
    const int size = snprintf(
        text,
        sizeof(text),
        "res %llu ok %.*s",
        (unsigned long long)id,
        (int)(tail.size < 64 ? tail.size : 64),
        tail.size != 0 ? (const char *)tail.data : "");
    say(conn, text, (size_t)size);
}

/* ---- Topics ---------------------------------------------------------------------------------- */

static void market_topics(market *m, market_client *client, hpx_span list, bool up)
{
    while (list.size != 0) {
        const hpx_span topic = word(&list);
        MARKET_CHECK(topic.size > 2 && topic.data[0] == 't');
        const uint64_t index = number((hpx_span){.data = topic.data + 2, .size = topic.size - 2});
        MARKET_CHECK(index < MARKET_TOPICS);
        const uint32_t before = atomic_load(&client->holds[index]);
        if ((before != 0) == up) {
            atomic_fetch_add(&m->twice, 1);
        }
        atomic_store(&client->holds[index], up ? before + 1 : 0);
        atomic_fetch_add(up ? &client->subscribed : &client->unsubscribed, 1);
    }
}

static void market_subscribe(market *m, market_client *client, hpx_span id, hpx_span list, bool up)
{
    static _Thread_local char text[64u << 10];
    market_topics(m, client, list, up);
    const int size = snprintf(
        text,
        sizeof(text),
        "res %.*s ok %.*s",
        (int)id.size,
        (const char *)id.data,
        (int)list.size,
        list.size != 0 ? (const char *)list.data : "");
    MARKET_CHECK(size > 0 && (size_t)size < sizeof(text));
    say(client->conn, text, (size_t)size);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void market_keep(market *m, uint64_t id, uint32_t due)
{
    if (m->shard.kept_count < MARKET_KEPT) {
        m->shard.kept[m->shard.kept_count++] = (market_kept){.id = id, .due = due};
        atomic_fetch_add(&m->kept, 1);
    }
}

/* Answers what is due, on this connection, whichever it was asked on. */
static void market_answer_due(market *m, hpx_conn *conn, uint32_t due)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < m->shard.kept_count; i++) {
        if (m->shard.kept[i].due <= due) {
            answer(conn, m->shard.kept[i].id, hpx_span_of("late"));
            atomic_fetch_sub(&m->kept, 1);
        } else {
            m->shard.kept[left++] = m->shard.kept[i];
        }
    }
    m->shard.kept_count = left;
}

/* Of a few topics by chance, as far as they are subscribed. */
static void market_update(market *m, market_client *client)
{
    for (unsigned i = 0; i < 8; i++) {
        const uint32_t topic = below(m, 40);
        if (atomic_load(&client->holds[topic]) != 0) {
            char text[160];
            const int size = snprintf(text, sizeof(text), "upd t.%u %0*u", topic, 100, i);
            say(client->conn, text, (size_t)size);
        }
    }
}

static void market_cut(market *m, market_client *client)
{
    switch (below(m, 3)) {
    case 0:
        hpx_conn_abort(client->conn);
        break;
    case 1:
        (void)hpx_conn_close(client->conn, 1012, (hpx_span){0});
        break;
    default:
        say(client->conn, "bye now", 7);
        break;
    }
}

static void market_request(market *m, market_client *client, uint64_t id, hpx_span text)
{
    const uint32_t count = atomic_fetch_add(&m->requests, 1) + 1;
    hpx_span tail = text;
    if (is(word(&tail), "order")) {
        const uint64_t order = number(tail);
        MARKET_CHECK(order < MARKET_ORDERS);
        atomic_fetch_add(&m->orders[order], 1);
    }
    if (atomic_load(&m->keep)) {
        market_keep(m, id, UINT32_MAX);
        return;
    }
    const uint32_t chance = below(m, 100);
    const uint32_t silent = atomic_load(&m->silent_percent);
    const uint32_t late = silent + atomic_load(&m->late_percent);
    if (chance >= late) {
        answer(client->conn, id, tail);
        if (chance < late + atomic_load(&m->twice_percent)) {
            answer(client->conn, id, tail);
        }
    } else if (chance >= silent) {
        market_keep(m, id, count + LATE_MIN + below(m, LATE_MAX - LATE_MIN));
    }
    if (m->shard.kept_count != 0 && count % 16 == 0) {
        market_answer_due(m, client->conn, count);
    }
    if (atomic_load(&m->updates)) {
        market_update(m, client);
    }
    const uint32_t drop = atomic_load(&m->drop_per_mille);
    if (drop != 0 && below(m, 1000) < drop) {
        market_cut(m, client);
    }
}

/* ---- Messages, events ------------------------------------------------------------------------ */

static void market_command(market *m, market_client *client, hpx_span verb, hpx_span rest)
{
    if (is(verb, "kick")) {
        hpx_conn_abort(client->conn);
    } else if (is(verb, "leave")) {
        say(client->conn, "bye leave", 9);
    } else if (is(verb, "restart")) {
        (void)hpx_conn_close(client->conn, 1012, (hpx_span){0});
    } else if (is(verb, "flush")) {
        market_answer_due(m, client->conn, UINT32_MAX);
    } else if (is(verb, "flood")) {
        const uint64_t count = number(rest);
        for (uint64_t i = 0; i < count; i++) {
            char text[32];
            const int size = snprintf(text, sizeof(text), "sys %llu", (unsigned long long)i);
            say(client->conn, text, (size_t)size);
        }
    } else {
        atomic_fetch_add(&m->sends, 1);
    }
}

static void market_on_message(market *m, market_client *client, hpx_span text)
{
    const hpx_span verb = word(&text);
    const hpx_span rest = text;
    const hpx_span id = word(&text);
    if (is(verb, "auth")) {
        client->authenticated = true;
        answer(client->conn, number(id), (hpx_span){0});
        return;
    }
    if (!client->authenticated) {
        atomic_fetch_add(&m->early, 1);
    }
    if (is(verb, "sub") || is(verb, "unsub")) {
        market_subscribe(m, client, id, text, is(verb, "sub"));
    } else if (is(verb, "req")) {
        market_request(m, client, number(id), text);
    } else if (is(verb, "ping") || is(verb, "pong")) {
        answer(client->conn, number(id), (hpx_span){0});
    } else {
        market_command(m, client, verb, rest);
    }
}

/* Events tell of an end when the loop comes to it: the kernel knows what is open now. */
static uint32_t market_count_alive(const market *m)
{
    uint32_t alive = 0;
    for (uint32_t i = 0; i < MARKET_CLIENTS; i++) {
        const hpx_conn *conn = m->shard.clients[i].conn;
        struct tcp_info info;
        socklen_t size = sizeof(info);
        if (conn != NULL && conn->sock != NULL && conn->sock->state == HPXI_SOCK_OPEN &&
            getsockopt(conn->sock->fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) {
            alive += info.tcpi_state == TCP_ESTABLISHED ? 1 : 0;
        }
    }
    return alive;
}

static void market_on_connected(market *m, hpx_conn *conn)
{
    market_client *client = NULL;
    for (uint32_t i = 0; i < MARKET_CLIENTS && client == NULL; i++) {
        client = m->shard.clients[i].conn == NULL ? &m->shard.clients[i] : NULL;
    }
    MARKET_CHECK(client != NULL);
    client->owner = m;
    client->conn = conn;
    client->authenticated = false;
    client->serial = atomic_fetch_add(&m->connects, 1) + 1;
    atomic_store(&client->subscribed, 0);
    atomic_store(&client->unsubscribed, 0);
    for (uint32_t i = 0; i < MARKET_TOPICS; i++) {
        atomic_store_explicit(&client->holds[i], 0, memory_order_relaxed);
    }
    hpx_conn_set_user(conn, client);
    atomic_store(&m->newest, (uint32_t)(client - m->shard.clients));
    const uint32_t alive = market_count_alive(m);
    if (alive > atomic_load(&m->alive_max)) {
        atomic_store(&m->alive_max, alive);
    }
}

static void market_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        market_on_connected(user, conn);
        break;
    case HPX_EVENT_MESSAGE: {
        market_client *client = user;
        market_on_message(client->owner, client, event->payload);
        break;
    }
    case HPX_EVENT_DISCONNECTED: {
        market_client *client = user;
        client->conn = NULL;
        break;
    }
    case HPX_EVENT_WRITABLE:
    case HPX_EVENT_CLOSED:
        break;
    }
}

/* ---- Open, close ----------------------------------------------------------------------------- */

static void market_listen(hpx_shard *shard, void *user)
{
    market *m = user;
    if (hpx_shard_index(shard) != 1) {
        return;
    }
    hpx_listen_config config = HPX_LISTEN_CONFIG_INIT;
    config.address = "127.0.0.1:0";
    config.on_event = market_on_event;
    config.user = m;
    config.send_queue_bytes_max = 1u << 30;
    hpx_listener *listener = NULL;
    if (hpx_shard_listen(shard, &config, &listener, &m->error) == HPX_OK) {
        m->shard.port = hpx_listener_get_port(listener);
    }
}

void market_open(market *m)
{
    m->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    m->descriptors = test_descriptors();
    m->shard.rng = UINT64_C(0x9E3779B97F4A7C15);
    m->dialect.secret = "s";
    m->protocol = toy_protocol(&m->dialect);
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_count = 2;
    config.wait_mode = HPX_WAIT_SLEEP; /* there are more threads than cores */
    config.allocator = fa_allocator(&m->memory);
    config.on_shard_start = market_listen;
    config.user = m;
    if (hpx_engine_new(&m->engine, &config, &m->error) != HPX_OK ||
        hpx_engine_start(m->engine, &m->error) != HPX_OK || m->shard.port == 0) {
        fail_msg("%s", m->error.detail);
    }
    (void)snprintf(m->url, sizeof(m->url), "ws://127.0.0.1:%u/", m->shard.port);
}

void market_close(market *m)
{
    assert_int_equal(hpx_engine_stop_wait(m->engine, 10 * HPX_NS_PER_S), HPX_OK);
    for (uint32_t i = 0; i < 2; i++) { /* no thread is left that could touch them */
        assert_int_equal(m->engine->shards[i].owner.wheel.count, 0);
        assert_int_equal(m->engine->shards[i].owner.conn_count, 0);
    }
    hpx_engine_free(m->engine);
    assert_int_equal(m->memory.live, 0);
    assert_int_equal(test_descriptors(), m->descriptors);
}

hpx_ws_config market_config(market *m)
{
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = m->url;
    config.protocol = &m->protocol;
    config.shard = 0;
    config.reconnect = true;
    config.backoff_initial_ns = 1;
    config.backoff_max_ns = HPX_NS_PER_MS / 10;
    return config;
}

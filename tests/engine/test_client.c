/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: hpx_ws_client does what its header says: it connects or says precisely why not, keeps
 * itself connected whether or not it is called, asks, subscribes, and counts what it cannot keep.
 * Method: the venue of session_bed.h on a thread of its own; servers that stop talking.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "raw_server.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"
#include "ws_client_bed.h"

#define MS   HPX_NS_PER_MS
#define LONG CLIENT_LONG_NS

/* ---- Up -------------------------------------------------------------------------------------- */

static void test_client_when_connected_then_it_asks_and_closes_in_good_order(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    const uint32_t descriptors = test_descriptors();
    ws_client_bed_connect(&r);
    assert_true(hpx_ws_client_is_connected(r.client));
    assert_int_equal(hpx_ws_client_get_state(r.client), HPX_CONN_READY);
    assert_int_equal(hpx_ws_client_get_epoch(r.client), 1);
    hpx_error error;
    assert_int_equal(hpx_ws_client_get_error(r.client, &error), HPX_OK);
    assert_int_equal(hpx_ws_client_ready_wait(r.client, 0, &error), HPX_OK);
    hpx_reply reply;
    assert_int_equal(
        hpx_ws_client_request_wait(r.client, hpx_span_of("req one"), 0, &reply), HPX_OK);
    assert_true(span_ends_with(reply.payload, " ok one"));
    assert_int_equal(
        hpx_ws_client_request_wait(r.client, hpx_span_of("no verb"), 0, &reply), HPX_E_INVALID);

    assert_int_equal(hpx_ws_client_close_wait(r.client, 4000, hpx_span_of("done"), LONG), HPX_OK);
    assert_false(hpx_ws_client_is_connected(r.client));
    assert_int_equal(hpx_ws_client_get_state(r.client), HPX_CONN_CLOSED);
    assert_int_equal(hpx_ws_client_get_error(r.client, &error), HPX_OK);
    assert_int_equal(error.close_code, 4000);
    assert_int_equal(
        hpx_ws_client_request_wait(r.client, hpx_span_of("req two"), 0, &reply),
        HPX_E_NOT_CONNECTED);
    assert_int_equal(hpx_ws_client_ready_wait(r.client, LONG, &error), HPX_E_CLOSED);
    assert_int_equal(hpx_ws_client_close_wait(r.client, 0, (hpx_span){0}, LONG), HPX_OK);
    hpx_ws_client_free(r.client);
    r.client = NULL;
    assert_int_equal(r.memory.live, 0);
    ws_client_bed_until_descriptors(descriptors);
    ws_client_bed_close(&r);
}

/* Its own engine, the caller's, the caller's port. */
static void test_client_when_engine_or_port_is_given_then_it_uses_them(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    hpx_engine_config engine_config = HPX_ENGINE_CONFIG_INIT;
    engine_config.shard_count = 2;
    engine_config.allocator = fa_allocator(&r.memory);
    hpx_engine *engine;
    hpx_port *port;
    assert_int_equal(hpx_engine_new(&engine, &engine_config, NULL), HPX_OK);
    assert_int_equal(hpx_engine_start(engine, NULL), HPX_OK);
    assert_int_equal(hpx_port_open(&port, engine, NULL, NULL), HPX_OK);
    hpx_ws_client *clients[3] = {NULL};
    hpx_ws_client_config configs[3] = {r.config, r.config, r.config};
    configs[1].engine = engine;
    configs[2].port = port;
    hpx_reply reply;
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        assert_int_equal(
            hpx_ws_client_connect_wait(&clients[i], &r.ws, &configs[i], LONG, NULL), HPX_OK);
    }
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        assert_int_equal(
            hpx_ws_client_request_wait(clients[i], hpx_span_of("req x"), 0, &reply), HPX_OK);
        hpx_ws_client_free(clients[i]);
    }
    /* The caller's port stays open, the connection on it does not. */
    for (uint32_t alive = 3; alive != 0; ws_client_bed_nap(MS)) {
        alive = venue_lock(&r.venue)->alive;
        venue_unlock(&r.venue);
    }
    hpx_port_close(port);
    assert_int_equal(hpx_engine_stop_wait(engine, LONG), HPX_OK);
    hpx_engine_free(engine);
    assert_int_equal(r.memory.live, 0); /* each client's block went with its CLOSED */
    ws_client_bed_close(&r);
}

/* ---- Not up: the precise error, in time ------------------------------------------------------ */

static void assert_fails(ws_client_bed *r, uint64_t timeout_ns, hpx_status status, hpx_error *error)
{
    const uint32_t descriptors = test_descriptors();
    const uint64_t start_ns = hpx_clock_now_ns();
    assert_int_equal(
        hpx_ws_client_connect_wait(&r->client, &r->ws, &r->config, timeout_ns, error), status);
    if (status == HPX_E_TIMEOUT) {
        assert_true(hpx_clock_now_ns() - start_ns >= timeout_ns);
    }
    assert_null(r->client);
    assert_int_equal(error->status, status);
    assert_int_equal(r->memory.live, 0);
    ws_client_bed_until_descriptors(descriptors);
}

static void test_client_when_refused_then_the_cause_at_once_or_at_the_timeout(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    uint16_t port;
    const int fd = ws_client_bed_closed_port(&port);
    char url[64];
    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", port);
    r.ws.url = url;
    r.ws.reconnect = false;
    hpx_error error;
    assert_fails(&r, LONG, -ECONNREFUSED, &error);
    assert_int_equal(error.stage, HPX_STAGE_CONNECT);
    assert_int_equal(error.os_errno, ECONNREFUSED);

    r.ws.reconnect = true; /* goes on until the timeout, and tells of the last attempt */
    uint64_t timeout_ns = 50 * MS;
    do { /* on a busy machine the first attempt may not have failed by then */
        timeout_ns *= 2;
        assert_fails(&r, timeout_ns, HPX_E_TIMEOUT, &error);
        assert_non_null(strstr(error.detail, "not ready within "));
    } while (error.stage != HPX_STAGE_CONNECT && timeout_ns < LONG);
    assert_int_equal(error.os_errno, ECONNREFUSED);
    assert_non_null(strstr(error.detail, "last failure: "));
    assert_non_null(strstr(error.detail, "refused"));
    (void)close(fd);
    ws_client_bed_close(&r);
}

static void test_client_when_nobody_answers_then_timeout_tells_the_state(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    raw_server server;
    raw_server_open(&server, RAW_SILENT_UPGRADE);
    char url[64];
    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", server.port);
    r.ws.url = url;
    hpx_error error;
    assert_fails(&r, 50 * MS, HPX_E_TIMEOUT, &error);
    assert_non_null(strstr(error.detail, "still upgrading; no attempt has failed"));
    raw_server_close(&server);
    ws_client_bed_close(&r);
}

static void test_client_when_authentication_is_refused_then_that_error(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    venue_lock(&r.venue)->refuse_auth = true;
    venue_unlock(&r.venue);
    r.dialect.secret = "s3cret";
    r.ws.attempts_max = 1;
    hpx_error error;
    assert_fails(&r, LONG, HPX_E_AUTH_FAILED, &error);
    assert_int_equal(error.stage, HPX_STAGE_AUTH);
    assert_non_null(strstr(error.detail, "bad secret"));
    ws_client_bed_close(&r);
}

static void on_event_of_nobody(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)conn;
    (void)event;
    (void)user;
}

static void test_client_when_the_config_is_bad_then_the_error_names_it(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    hpx_engine *const some_engine = (hpx_engine *)&r;
    const struct {
        const char *word;
        hpx_status status;
        hpx_ws_client_config config;
        const char *url;
        hpx_event_fn on_event;
        uint32_t ws_size;
    } rows[] = {
        {"HPX_WS_CLIENT_CONFIG_INIT", HPX_E_INVALID, {.size = 0}, "ws://x/", NULL, 0},
        {"flags", HPX_E_INVALID, {.flags = 1}, "ws://x/", NULL, 0},
        {"engine and port",
         HPX_E_INVALID,
         {.engine = some_engine, .port = (hpx_port *)&r},
         "ws://x/",
         NULL,
         0},
        {"message_ring_bytes", HPX_E_INVALID, {.message_ring_bytes = 5000}, "ws://x/", NULL, 0},
        {"message_ring_bytes", HPX_E_INVALID, {.message_ring_bytes = 2048}, "ws://x/", NULL, 0},
        {"on_event", HPX_E_INVALID, {0}, "ws://x/", on_event_of_nobody, 0},
        {"HPX_WS_CONFIG_INIT", HPX_E_INVALID, {0}, "ws://x/", NULL, 8},
        {"url", HPX_E_INVALID, {0}, NULL, NULL, 0},
        {"http", HPX_E_URL, {0}, "http://x/", NULL, 0},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpx_ws_client_config config = rows[i].config;
        config.size = i == 0 ? 0 : (uint32_t)sizeof(config);
        config.allocator = r.config.allocator;
        hpx_ws_config ws = r.ws;
        ws.size = rows[i].ws_size != 0 ? rows[i].ws_size : ws.size;
        ws.url = rows[i].url;
        ws.on_event = rows[i].on_event;
        hpx_error error = {0};
        assert_int_equal(hpx_ws_client_connect(&r.client, &ws, &config, &error), rows[i].status);
        assert_null(r.client);
        if (strstr(error.detail, rows[i].word) == NULL) {
            fail_msg("row %zu: \"%s\" does not name %s", i, error.detail, rows[i].word);
        }
        assert_int_equal(r.memory.live, 0);
    }
    hpx_ws_client_free(NULL);
    ws_client_bed_close(&r);
}

/* ---- Kept up --------------------------------------------------------------------------------- */

/* Many more losses than a stream has room for; the application sleeps through all of them. */
static void test_client_when_never_called_then_it_is_reconnected_all_the_same(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    ws_client_bed_connect(&r);
    for (uint32_t i = 1; i <= 100; i++) {
        venue_thread_until(&r.venue, &r.venue.bed.venue.connects, i);
        venue_thread_drop(&r.venue);
    }
    venue_thread_until(&r.venue, &r.venue.bed.venue.connects, 101);
    assert_int_equal(venue_lock(&r.venue)->alive_max, 1);
    venue_unlock(&r.venue);
    hpx_error error;
    assert_int_equal(hpx_ws_client_ready_wait(r.client, LONG, &error), HPX_OK);
    assert_in_range(hpx_ws_client_get_epoch(r.client), 50, 101);
    const hpx_status last = hpx_ws_client_get_error(r.client, &error);
    assert_true(last == HPX_E_EOF || last == -ECONNRESET);
    assert_int_equal(error.status, last);
    assert_true(error.detail[0] != '\0');
    ws_client_bed_close(&r);
}

typedef struct watcher {
    const hpx_ws_client *client;
    _Atomic bool stop;
    uint64_t looks;
    bool torn;
} watcher;

#define REASON_ONE "####################################################################"
#define REASON_TWO "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~"

static void *watch(void *arg)
{
    watcher *w = arg;
    do {
        hpx_error error;
        const hpx_status status = hpx_ws_client_get_error(w->client, &error);
        (void)hpx_ws_client_is_connected(w->client);
        (void)hpx_ws_client_get_epoch(w->client);
        w->torn |= status != error.status || memchr(error.detail, 0, sizeof(error.detail)) == NULL;
        const bool one = strstr(error.detail, REASON_ONE) != NULL;
        const bool two = strstr(error.detail, REASON_TWO) != NULL;
        w->torn |= one && strchr(error.detail, '~') != NULL;
        w->torn |= two && strchr(error.detail, '#') != NULL;
        w->torn |= status == HPX_E_RECONNECT && !one && !two;
        w->looks++;
    } while (!atomic_load(&w->stop));
    return NULL;
}

static void test_client_when_another_thread_looks_then_it_sees_whole_errors(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    ws_client_bed_connect(&r);
    watcher w = {.client = r.client};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, &w), 0);
    for (uint32_t i = 1; i <= 200; i++) {
        const hpx_span reason = hpx_span_of(i % 2 != 0 ? REASON_ONE : REASON_TWO);
        assert_int_equal(hpx_handle_reconnect(hpx_ws_client_handle(r.client), reason), HPX_OK);
        const uint64_t until = hpx_clock_now_ns() + LONG;
        while (hpx_ws_client_get_epoch(r.client) <= i && hpx_clock_now_ns() < until) {
            ws_client_bed_nap(MS / 20);
        }
    }
    assert_int_equal(hpx_ws_client_get_epoch(r.client), 201);
    atomic_store(&w.stop, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(w.torn);
    assert_true(w.looks > 0);
    ws_client_bed_close(&r);
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void test_client_when_several_requests_then_each_has_its_reply(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    ws_client_bed_connect(&r);
    int users[3];
    uint64_t tokens[3];
    hpx_reply reply;
    assert_int_equal(hpx_ws_client_next_reply(r.client, &reply), 0);
    assert_int_equal(hpx_ws_client_reply_wait(r.client, &reply, MS), HPX_E_TIMEOUT);
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        assert_int_equal(
            hpx_ws_client_request(r.client, hpx_span_of("req x"), 0, &users[i], &tokens[i]),
            HPX_OK);
    }
    hpx_reply waited; /* overtakes the others, which stay */
    assert_int_equal(
        hpx_ws_client_request_wait(r.client, hpx_span_of("req y"), 0, &waited), HPX_OK);
    assert_true(span_ends_with(waited.payload, " ok y"));
    for (size_t i = 0; i < COUNT_OF(users); i++) {
        assert_int_equal(hpx_ws_client_reply_wait(r.client, &reply, LONG), 1);
        assert_int_equal(reply.status, HPX_OK);
        assert_ptr_equal(reply.user, &users[i]);
        assert_int_equal(reply.token, tokens[i]);
    }
    assert_int_equal(hpx_ws_client_next_reply(r.client, &reply), 0);

    venue_lock(&r.venue)->keep_requests = true;
    venue_unlock(&r.venue);
    assert_int_equal(
        hpx_ws_client_request_wait(r.client, hpx_span_of("req z"), 20 * MS, &reply), HPX_E_TIMEOUT);
    assert_int_equal(hpx_ws_client_request(r.client, hpx_span_of("req z"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(hpx_ws_client_close_wait(r.client, 0, (hpx_span){0}, LONG), HPX_OK);
    assert_int_equal(hpx_ws_client_reply_wait(r.client, &reply, LONG), 1);
    assert_int_equal(reply.status, HPX_E_DISCONNECTED);
    ws_client_bed_close(&r);
}

/* ---- Subscriptions --------------------------------------------------------------------------- */

static void test_client_when_subscribed_then_updates_until_it_lets_go(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    ws_client_bed_connect(&r);
    hpx_update update;
    hpx_subscription *from = NULL;
    hpx_error error;
    assert_int_equal(hpx_ws_client_next_update(r.client, &update, NULL), HPX_E_CLOSED); /* none */
    assert_int_equal(hpx_ws_client_update_wait(r.client, &update, NULL, LONG), HPX_E_CLOSED);
    hpx_subscription *a;
    assert_int_equal(hpx_ws_client_subscribe(r.client, "a", NULL, &a, &error), HPX_OK);
    (void)ws_client_bed_expect(&r, HPX_UPDATE_LIVE, &from);
    assert_ptr_equal(from, a);
    ws_client_bed_say(&r, "upd a 1");
    update = ws_client_bed_expect(&r, HPX_UPDATE_MESSAGE, &from);
    assert_true(span_ends_with(update.payload, " 1"));
    /* The one in hand does not count as news. */
    assert_int_equal(hpx_ws_client_next_update(r.client, &update, NULL), 0);
    assert_int_equal(hpx_ws_client_update_wait(r.client, &update, NULL, 5 * MS), HPX_E_TIMEOUT);

    const hpx_span pair[] = {hpx_span_of("b"), hpx_span_of("c")};
    hpx_subscription *bc;
    assert_int_equal(hpx_ws_client_subscribe_many(r.client, pair, 2, NULL, &bc, &error), HPX_OK);
    (void)ws_client_bed_expect(&r, HPX_UPDATE_LIVE, &from);
    assert_ptr_equal(from, bc);
    ws_client_bed_say(&r, "upd c 2");
    update = ws_client_bed_expect(&r, HPX_UPDATE_MESSAGE, &from);
    assert_ptr_equal(from, bc);
    assert_int_equal(update.topic_index, 1);

    assert_int_equal(hpx_ws_client_unsubscribe(r.client, a), HPX_OK);
    assert_int_equal(hpx_ws_client_unsubscribe(r.client, a), HPX_E_STALE);
    venue_thread_until(&r.venue, &r.venue.bed.venue.unsubscribe_topics, 1);
    assert_int_equal(hpx_ws_client_close_wait(r.client, 0, (hpx_span){0}, LONG), HPX_OK);
    do {
        assert_int_equal(hpx_ws_client_update_wait(r.client, &update, &from, LONG), 1);
        assert_ptr_equal(from, bc);
    } while (update.kind != HPX_UPDATE_ENDED);
    assert_int_equal(hpx_ws_client_update_wait(r.client, &update, NULL, LONG), HPX_E_CLOSED);
    assert_int_equal(hpx_ws_client_subscribe(r.client, "d", NULL, NULL, &error), HPX_E_CLOSED);
    ws_client_bed_close(&r);
}

static void test_client_when_the_connection_is_lost_then_subscriptions_come_back(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    ws_client_bed_connect(&r);
    hpx_error error;
    assert_int_equal(hpx_ws_client_subscribe(r.client, "a", NULL, NULL, &error), HPX_OK);
    (void)ws_client_bed_expect(&r, HPX_UPDATE_LIVE, NULL);
    venue_thread_drop(&r.venue);
    assert_int_equal(ws_client_bed_expect(&r, HPX_UPDATE_INTERRUPTED, NULL).epoch, 1);
    assert_int_equal(ws_client_bed_expect(&r, HPX_UPDATE_LIVE, NULL).epoch, 2);
    ws_client_bed_say(&r, "upd a again");
    assert_int_equal(ws_client_bed_expect(&r, HPX_UPDATE_MESSAGE, NULL).epoch, 2);
    ws_client_bed_close(&r);
}

static void say_busy(venue *v, void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++) {
        venue_say(v, "upd t0 %d", i);
    }
    venue_say(v, "upd t11 0");
    venue_say(v, "upd t11 1");
}

/* A flood on one topic and a few words on another: they are taken in turns. */
static void test_client_when_one_topic_is_busy_then_the_other_gets_its_turn(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    ws_client_bed_connect(&r);
    hpx_subscription *subs[12]; /* more than the first room for them */
    hpx_error error;
    hpx_subscription *from;
    for (size_t i = 0; i < COUNT_OF(subs); i++) {
        char name[8];
        snprintf(name, sizeof(name), "t%zu", i);
        assert_int_equal(hpx_ws_client_subscribe(r.client, name, NULL, &subs[i], &error), HPX_OK);
        (void)ws_client_bed_expect(&r, HPX_UPDATE_LIVE, &from);
        assert_ptr_equal(from, subs[i]);
    }
    venue_thread_call(&r.venue, say_busy, NULL);
    hpx_reply reply; /* comes after all of them */
    assert_int_equal(hpx_ws_client_request_wait(r.client, hpx_span_of("req x"), 0, &reply), HPX_OK);
    uint32_t quiet = 0;
    for (int i = 0; i < 4; i++) {
        (void)ws_client_bed_expect(&r, HPX_UPDATE_MESSAGE, &from);
        quiet += from == subs[11] ? 1 : 0;
    }
    assert_int_equal(quiet, 2);
    ws_client_bed_close(&r);
}

/* ---- Messages -------------------------------------------------------------------------------- */

static void test_client_when_messages_are_of_nobody_then_they_are_queued(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    ws_client_bed_connect(&r);
    hpx_event message;
    assert_int_equal(hpx_ws_client_next_message(r.client, &message), 0);
    assert_int_equal(hpx_ws_client_message_wait(r.client, &message, 5 * MS), HPX_E_TIMEOUT);
    ws_client_bed_say(&r, "sys one");
    ws_client_bed_say(&r, "what");
    assert_int_equal(hpx_ws_client_message_wait(r.client, &message, LONG), 1);
    assert_int_equal(message.kind, HPX_EVENT_MESSAGE);
    assert_int_equal(message.message_kind, HPX_MESSAGE_TEXT);
    assert_int_equal(message.message_class, HPX_CLASS_SYSTEM);
    assert_int_equal(message.epoch, 1);
    assert_int_equal(message.missed, 0);
    assert_true(message.time_ns != 0 && span_ends_with(message.payload, "sys one"));
    assert_int_equal(hpx_ws_client_message_wait(r.client, &message, LONG), 1);
    assert_int_equal(message.message_class, HPX_CLASS_UNKNOWN);
    assert_int_equal(hpx_ws_client_message_wait(r.client, &message, 5 * MS), HPX_E_TIMEOUT);
    ws_client_bed_say(&r, "sys last");
    assert_int_equal(hpx_ws_client_send(r.client, HPX_MESSAGE_TEXT, hpx_span_of("hello")), HPX_OK);
    venue_thread_until(&r.venue, &r.venue.bed.venue.sends, 1);
    assert_int_equal(hpx_ws_client_close_wait(r.client, 0, (hpx_span){0}, LONG), HPX_OK);
    assert_int_equal(hpx_ws_client_message_wait(r.client, &message, LONG), 1);
    assert_true(span_ends_with(message.payload, "sys last"));
    assert_int_equal(hpx_ws_client_message_wait(r.client, &message, LONG), HPX_E_CLOSED);
    assert_int_equal(
        hpx_ws_client_send(r.client, HPX_MESSAGE_TEXT, hpx_span_of("x")), HPX_E_NOT_CONNECTED);
    ws_client_bed_close(&r);
}

#define FLOOD 200u

static void say_flood(venue *v, void *arg)
{
    (void)arg;
    static char big[2000]; /* more than a quarter of the ring */
    memset(big, 'b', sizeof(big));
    const hpx_span span = {.data = (const uint8_t *)big, .size = sizeof(big)};
    assert_int_equal(hpx_conn_send(venue_only(v)->conn, HPX_MESSAGE_TEXT, span), HPX_OK);
    for (uint32_t i = 0; i < FLOOD; i++) {
        venue_say(v, "number %u", i);
    }
}

static void test_client_when_the_queue_is_full_then_drops_are_counted_and_told(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    r.config.message_ring_bytes = 4096;
    r.ws.protocol = NULL; /* every message is the application's */
    ws_client_bed_connect(&r);
    hpx_reply reply;
    assert_int_equal(hpx_ws_client_request(r.client, hpx_span_of("x"), 0, NULL, NULL), HPX_E_STATE);
    assert_int_equal(hpx_ws_client_next_reply(r.client, &reply), 0);
    assert_int_equal(hpx_ws_client_reply_wait(r.client, &reply, LONG), HPX_E_STATE);
    venue_thread_call(&r.venue, say_flood, NULL);
    /* The ring is full before the first is taken; from then on they come as they may. */
    const uint64_t until = hpx_clock_now_ns() + LONG;
    while (hpx_ws_client_messages_dropped(r.client) < 2 && hpx_clock_now_ns() < until) {
        ws_client_bed_nap(MS / 10);
    }
    hpx_event message;
    uint64_t taken = 0;
    uint64_t missed = 0;
    while (taken + hpx_ws_client_messages_dropped(r.client) < FLOOD + 1 &&
           hpx_clock_now_ns() < until) {
        if (hpx_ws_client_next_message(r.client, &message) == 1) {
            assert_true(taken != 0 || message.missed == 1); /* the big one */
            missed += message.missed;
            taken++;
        }
    }
    const uint64_t dropped = hpx_ws_client_messages_dropped(r.client);
    assert_int_equal(taken + dropped, FLOOD + 1);
    assert_true(taken > 20);
    ws_client_bed_say(&r, "after");
    assert_int_equal(hpx_ws_client_message_wait(r.client, &message, LONG), 1);
    assert_true(span_ends_with(message.payload, "after"));
    assert_int_equal(missed + message.missed, dropped);
    ws_client_bed_close(&r);
}

typedef struct heard {
    _Atomic uint32_t count;
    _Atomic bool wrong;
} heard;

static void hear(hpx_conn *conn, const hpx_event *event, void *user)
{
    heard *h = user;
    if (event->kind != HPX_EVENT_MESSAGE ||
        hpx_conn_send(conn, HPX_MESSAGE_TEXT, event->payload) != HPX_OK) {
        atomic_store(&h->wrong, true);
    }
    atomic_fetch_add(&h->count, 1);
}

static void test_client_when_on_message_is_set_then_it_gets_them(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    heard h = {0};
    r.config.on_message = hear;
    r.config.user = &h;
    ws_client_bed_connect(&r);
    ws_client_bed_say(&r, "sys one");
    ws_client_bed_say(&r, "sys two");
    venue_thread_until(&r.venue, &r.venue.bed.venue.sends, 2); /* they come back */
    assert_int_equal(atomic_load(&h.count), 2);
    assert_false(atomic_load(&h.wrong));
    hpx_event message;
    assert_int_equal(hpx_ws_client_next_message(r.client, &message), HPX_E_STATE);
    assert_int_equal(hpx_ws_client_message_wait(r.client, &message, LONG), HPX_E_STATE);
    ws_client_bed_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_when_connected_then_it_asks_and_closes_in_good_order),
        cmocka_unit_test(test_client_when_engine_or_port_is_given_then_it_uses_them),
        cmocka_unit_test(test_client_when_refused_then_the_cause_at_once_or_at_the_timeout),
        cmocka_unit_test(test_client_when_nobody_answers_then_timeout_tells_the_state),
        cmocka_unit_test(test_client_when_authentication_is_refused_then_that_error),
        cmocka_unit_test(test_client_when_the_config_is_bad_then_the_error_names_it),
        cmocka_unit_test(test_client_when_never_called_then_it_is_reconnected_all_the_same),
        cmocka_unit_test(test_client_when_another_thread_looks_then_it_sees_whole_errors),
        cmocka_unit_test(test_client_when_several_requests_then_each_has_its_reply),
        cmocka_unit_test(test_client_when_subscribed_then_updates_until_it_lets_go),
        cmocka_unit_test(test_client_when_the_connection_is_lost_then_subscriptions_come_back),
        cmocka_unit_test(test_client_when_one_topic_is_busy_then_the_other_gets_its_turn),
        cmocka_unit_test(test_client_when_messages_are_of_nobody_then_they_are_queued),
        cmocka_unit_test(test_client_when_the_queue_is_full_then_drops_are_counted_and_told),
        cmocka_unit_test(test_client_when_on_message_is_set_then_it_gets_them),
    };
    return cmocka_run_group_tests_name("engine/client", tests, NULL, NULL);
}

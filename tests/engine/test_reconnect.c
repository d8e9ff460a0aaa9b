/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a lost connection comes back on a new socket under the next epoch, politely: backoff with
 * jitter, reset only after a stable period, Retry-After honoured, a limit of attempts; never two
 * sockets at once; a close is honoured while backing off; dead peers and silent feeds are found.
 * Method: the backoff as a pure function; then a server of the test's own that drops, refuses or
 * falls silent, and times of its accepts; and both roles on one shard for many reconnects.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hpx/hpx.h>

#include "engine/conn.h"
#include "raw_server.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

#define WAIT_NS (20 * HPX_NS_PER_S)
#define MS      HPX_NS_PER_MS

/* ---- The delay ------------------------------------------------------------------------------- */

static void test_backoff_when_no_jitter_then_exact(void **state)
{
    (void)state;
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.backoff_initial_ns = 100 * MS;
    config.backoff_max_ns = 30000 * MS;
    config.backoff_factor = 2.0;
    config.backoff_jitter = 0.0;
    const uint64_t expected[] = {100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    for (uint32_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(hpxi_backoff_ns(&config, i, 0.7), expected[i] * MS);
    }
    assert_int_equal(hpxi_backoff_ns(&config, UINT32_MAX, 0.7), 30000 * MS);
    config.backoff_factor = 1.0;
    assert_int_equal(hpxi_backoff_ns(&config, UINT32_MAX, 0.7), 100 * MS);
}

static void test_backoff_when_jitter_then_spread_evenly(void **state)
{
    (void)state;
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.backoff_initial_ns = 1000 * MS;
    config.backoff_max_ns = 30000 * MS;
    config.backoff_factor = 2.0;
    assert_true(config.backoff_jitter == 1.0); /* the initialiser's */
    hpxi_random random;
    hpxi_random_init(&random);
    unsigned tenths[10] = {0};
    for (unsigned i = 0; i < 100000; i++) {
        uint32_t bits;
        hpxi_random_bytes(&random, &bits, sizeof(bits));
        const uint64_t delay = hpxi_backoff_ns(&config, 1, (double)bits / (double)UINT32_MAX);
        assert_true(delay <= 2000 * MS);
        const uint64_t tenth = delay / (200 * MS);
        tenths[tenth < 10 ? tenth : 9]++;
    }
    for (unsigned i = 0; i < 10; i++) {
        assert_in_range(tenths[i], 9500, 10500); /* five standard deviations */
    }
    config.backoff_jitter = 0.5;
    assert_int_equal(hpxi_backoff_ns(&config, 1, 0.0), 1000 * MS);
    assert_int_equal(hpxi_backoff_ns(&config, 1, 1.0), 2000 * MS);
    hpxi_random_fini(&random);
}

/* ---- Against a server that misbehaves -------------------------------------------------------- */

typedef struct rig {
    hpx_engine *engine;
    hpx_port *port;
    hpx_handle *handle;
    hpx_stream *stream;
    raw_server peer;
    unsigned descriptors_before;
} rig;

/* Connects to the peer (or, without one, to a port that nobody listens on). */
static void rig_open(rig *r, raw_mode mode, bool has_peer, hpx_ws_config *ws)
{
    r->descriptors_before = test_descriptors();
    raw_server_open(&r->peer, mode);
    if (!has_peer) {
        raw_server_close(&r->peer);
    }
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.wait_mode = HPX_WAIT_SLEEP;
    hpx_error error = {0};
    assert_int_equal(hpx_engine_new(&r->engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(r->engine, &error), HPX_OK);
    assert_int_equal(hpx_port_open(&r->port, r->engine, NULL, &error), HPX_OK);
    char url[64];
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", r->peer.port);
    ws->url = url;
    if (hpx_ws_connect(r->port, ws, &r->handle, &r->stream, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
}

static void rig_close(rig *r, bool has_peer)
{
    hpx_port_close(r->port);
    assert_int_equal(hpx_engine_stop_wait(r->engine, HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(r->engine);
    if (has_peer) {
        raw_server_close(&r->peer);
    }
    assert_int_equal(test_descriptors(), r->descriptors_before);
}

static void expect(rig *r, hpx_event *event, hpx_event_kind kind, hpx_status status)
{
    assert_int_equal(hpx_stream_wait(r->stream, event, WAIT_NS), 1);
    if (event->kind != kind || (event->error != NULL && event->error->status != status)) {
        fail_msg("event %d: %s", event->kind, event->error != NULL ? event->error->detail : "-");
    }
}

static void test_reconnect_when_refused_then_attempts_and_closed(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.reconnect = true;
    ws.attempts_max = 5;
    ws.backoff_initial_ns = MS;
    rig r;
    rig_open(&r, RAW_DROPS, false, &ws);
    hpx_event event;
    for (unsigned i = 0; i < ws.attempts_max; i++) {
        expect(&r, &event, HPX_EVENT_DISCONNECTED, -ECONNREFUSED);
        assert_int_equal(event.epoch, 0);
    }
    expect(&r, &event, HPX_EVENT_CLOSED, -ECONNREFUSED);
    assert_int_equal(hpx_stream_next(r.stream, &event), HPX_E_CLOSED);
    rig_close(&r, false);
}

static void test_reconnect_when_accepted_and_dropped_then_backs_off(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.reconnect = true;
    ws.backoff_initial_ns = 10 * MS;
    ws.backoff_jitter = 0.0;
    rig r;
    rig_open(&r, RAW_DROPS_ON_BYTES, true, &ws);
    hpx_event event;
    for (uint64_t epoch = 1; epoch <= 6; epoch++) {
        expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
        assert_int_equal(event.epoch, epoch);
        assert_int_equal(hpx_handle_send(r.handle, HPX_MESSAGE_TEXT, hpx_span_of("go")), HPX_OK);
        expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_EOF);
        assert_int_equal(event.epoch, epoch);
    }
    for (uint32_t i = 0; i + 1 < 6; i++) { /* Ready, but never stable: 10, 20, 40, 80, 160 ms */
        const uint64_t gap =
            atomic_load(&r.peer.times_ns[i + 1]) - atomic_load(&r.peer.times_ns[i]);
        assert_true(gap >= (10 * MS << i));
    }
    rig_close(&r, true);
}

static void test_reconnect_when_stable_then_begins_anew(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.reconnect = true;
    ws.backoff_initial_ns = MS;
    ws.backoff_factor = 10.0;
    ws.backoff_jitter = 0.0;
    ws.stable_after_ns = MS; /* each Ready period is stable: the delay never grows */
    ws.attempts_max = 3;     /* and the limit is never met */
    rig r;
    rig_open(&r, RAW_DROPS_ON_BYTES, true, &ws);
    hpx_event event;
    const uint64_t start = hpx_clock_now_ns();
    for (uint64_t epoch = 1; epoch <= 8; epoch++) {
        expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
        const uint64_t until = hpx_clock_now_ns() + 2 * MS; /* READY began before */
        while (hpx_clock_now_ns() < until) {
        }
        assert_int_equal(hpx_handle_send(r.handle, HPX_MESSAGE_TEXT, hpx_span_of("go")), HPX_OK);
        expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_EOF);
    }
    assert_true(hpx_clock_now_ns() - start < 5 * HPX_NS_PER_S); /* growing: over 1000 s */
    rig_close(&r, true);
}

static void test_reconnect_when_retry_after_then_waits(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.reconnect = true;
    ws.backoff_initial_ns = MS;
    rig r;
    rig_open(&r, RAW_TOO_MANY, true, &ws);
    hpx_event event;
    expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_UPGRADE_STATUS);
    assert_int_equal(event.error->http_status, 429);
    expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_UPGRADE_STATUS);
    assert_true(
        atomic_load(&r.peer.times_ns[1]) - atomic_load(&r.peer.times_ns[0]) >= HPX_NS_PER_S);
    rig_close(&r, true);
}

static void test_close_when_backing_off_then_closed_at_once(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.reconnect = true;
    ws.backoff_initial_ns = 3600 * HPX_NS_PER_S;
    ws.backoff_max_ns = 3600 * HPX_NS_PER_S;
    ws.backoff_jitter = 0.0;
    rig r;
    rig_open(&r, RAW_DROPS, true, &ws);
    hpx_event event;
    expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
    expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_EOF);
    assert_int_equal(hpx_handle_state(r.handle), HPX_CONN_BACKING_OFF);
    assert_int_equal(
        hpx_handle_send(r.handle, HPX_MESSAGE_TEXT, hpx_span_of("no")), HPX_E_NOT_CONNECTED);
    const uint64_t start = hpx_clock_now_ns();
    assert_int_equal(hpx_handle_close(r.handle, 0, (hpx_span){0}), HPX_OK);
    expect(&r, &event, HPX_EVENT_CLOSED, HPX_E_EOF);
    assert_true(hpx_clock_now_ns() - start < HPX_NS_PER_S);
    rig_close(&r, true);
}

static void test_reconnect_when_asked_then_new_epoch(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.reconnect = true;
    ws.backoff_initial_ns = MS;
    rig r;
    rig_open(&r, RAW_ANSWERS_CLOSE, true, &ws);
    hpx_event event;
    for (uint64_t epoch = 1; epoch <= 5; epoch++) {
        expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
        assert_int_equal(event.epoch, epoch);
        assert_int_equal(hpx_handle_reconnect(r.handle, hpx_span_of("rotate keys")), HPX_OK);
        expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_RECONNECT);
        assert_non_null(strstr(event.error->detail, "rotate keys"));
    }
    rig_close(&r, true);
}

static void test_reconnect_when_not_configured_then_refused(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    rig r;
    rig_open(&r, RAW_ANSWERS_CLOSE, true, &ws);
    hpx_event event;
    expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
    assert_int_equal(hpx_handle_reconnect(r.handle, (hpx_span){0}), HPX_E_STATE);
    rig_close(&r, true);
}

/* Nobody takes the lifecycle events of hundreds of attempts: they wait, none is lost. */
static void test_reconnect_when_nobody_reads_then_held_up_not_lost(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.reconnect = true;
    ws.backoff_initial_ns = 1;
    ws.backoff_max_ns = 1;
    rig r;
    rig_open(&r, RAW_DROPS, true, &ws);
    uint32_t before = 0;
    for (uint32_t now = 1; now != before;) { /* until it does not go on any more */
        before = now;
        const uint64_t until = hpx_clock_now_ns() + 200 * MS;
        while (hpx_clock_now_ns() < until) {
        }
        now = atomic_load(&r.peer.accepted);
    }
    hpx_event event;
    for (uint64_t epoch = 1; epoch <= 200; epoch++) {
        expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
        assert_int_equal(event.epoch, epoch);
        expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_EOF);
    }
    rig_close(&r, true);
}

static void test_heartbeat_when_no_pong_then_lost_in_time(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.ping_interval_ns = 50 * MS;
    ws.pong_timeout_ns = 100 * MS;
    rig r;
    rig_open(&r, RAW_SILENT_CLOSE, true, &ws);
    hpx_event event;
    expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
    const uint64_t start = hpx_clock_now_ns();
    expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_PONG_TIMEOUT);
    assert_in_range(hpx_clock_now_ns() - start, 140 * MS, 350 * MS);
    rig_close(&r, true);
}

static void test_heartbeat_when_quiet_but_ponging_then_kept(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.ping_interval_ns = 10 * MS;
    ws.pong_timeout_ns = 2000 * MS;
    rig r;
    rig_open(&r, RAW_ANSWERS_CLOSE, true, &ws);
    hpx_event event;
    expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
    assert_int_equal(hpx_stream_wait(r.stream, &event, 300 * MS), HPX_E_TIMEOUT);
    assert_true(hpx_handle_is_connected(r.handle));
    const uint64_t rtt = hpx_handle_rtt_ns(r.handle);
    assert_true(rtt > 0 && rtt < 2000 * MS);
    rig_close(&r, true);
}

static void test_watchdog_when_no_message_then_lost(void **state)
{
    (void)state;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.ping_interval_ns = 10 * MS;
    ws.inbound_idle_timeout_ns = 150 * MS;
    rig r;
    rig_open(&r, RAW_ANSWERS_CLOSE, true, &ws); /* it pongs, but sends nothing */
    hpx_event event;
    expect(&r, &event, HPX_EVENT_CONNECTED, HPX_OK);
    expect(&r, &event, HPX_EVENT_DISCONNECTED, HPX_E_INBOUND_IDLE);
    rig_close(&r, true);
}

/* ---- Many reconnects, both roles on one shard ------------------------------------------------ */

#define RECONNECTS 1000u

typedef struct pair {
    hpx_conn *server; /* the one live connection at the server */
    uint32_t live;    /* how many there are */
    uint64_t epoch;
    uint64_t lost;
    uint64_t heard; /* epochs whose greeting arrived */
    uint64_t stale; /* greetings of another epoch than the connection's */
    uint64_t accepted;
    bool closed;
} pair;

static void on_server(hpx_conn *conn, const hpx_event *event, void *user)
{
    pair *p = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        p->live++;
        p->accepted++;
        assert_int_equal(p->live, 1); /* never two at once */
        p->server = conn;
        break;
    case HPX_EVENT_MESSAGE: {
        uint64_t epoch = 0;
        assert_int_equal(event->payload.size, sizeof(epoch));
        memcpy(&epoch, event->payload.data, sizeof(epoch));
        p->heard++;
        p->stale += epoch != p->accepted;
        /* Lose it in another way each time. */
        if (p->accepted % 3 == 0) {
            assert_int_equal(hpx_conn_close(conn, 1012, (hpx_span){0}), HPX_OK);
        } else {
            hpxi_conn_abort(conn); /* RST */
        }
        break;
    }
    case HPX_EVENT_CLOSED:
        p->live--;
        break;
    case HPX_EVENT_DISCONNECTED:
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void on_client(hpx_conn *conn, const hpx_event *event, void *user)
{
    pair *p = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED: {
        assert_int_equal(event->epoch, p->epoch + 1);
        assert_int_equal(p->lost, p->epoch); /* each loss was told before the next */
        p->epoch = event->epoch;
        const hpx_span greeting = {.data = (const uint8_t *)&p->epoch, .size = sizeof(p->epoch)};
        assert_int_equal(hpx_conn_send(conn, HPX_MESSAGE_BINARY, greeting), HPX_OK);
        break;
    }
    case HPX_EVENT_DISCONNECTED:
        assert_int_equal(event->epoch, p->epoch);
        p->lost++;
        if (p->lost % 2 == 0) { /* at once, while the old socket may still be going */
            assert_int_equal(hpx_conn_reconnect(conn, (hpx_span){0}), HPX_OK);
        }
        if (p->lost == RECONNECTS) {
            assert_int_equal(hpx_conn_close(conn, 0, (hpx_span){0}), HPX_OK);
        }
        break;
    case HPX_EVENT_CLOSED:
        p->closed = true;
        break;
    case HPX_EVENT_MESSAGE:
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void test_reconnect_when_a_thousand_times_then_nothing_leaks(void **state)
{
    (void)state;
    const unsigned before = test_descriptors();
    pair p = {0};
    hpx_engine *engine = NULL;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    hpx_error error = {0};
    assert_int_equal(hpx_engine_new(&engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(engine, &error), HPX_OK);
    hpx_shard *shard = hpx_engine_shard(engine, 0);
    assert_int_equal(hpx_shard_attach(shard, &error), HPX_OK);
    const unsigned running = test_descriptors();
    hpx_listen_config listen = HPX_LISTEN_CONFIG_INIT;
    hpx_listener *listener = NULL;
    listen.address = "127.0.0.1:0";
    listen.on_event = on_server;
    listen.user = &p;
    assert_int_equal(hpx_shard_listen(shard, &listen, &listener, &error), HPX_OK);
    char url[64];
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", hpx_listener_get_port(listener));
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = url;
    ws.on_event = on_client;
    ws.user = &p;
    ws.reconnect = true;
    ws.backoff_initial_ns = 1;
    ws.backoff_max_ns = 1;
    hpx_conn *conn = NULL;
    assert_int_equal(hpx_shard_connect(shard, &ws, &conn, &error), HPX_OK);
    const uint64_t deadline = hpx_clock_now_ns() + 3 * WAIT_NS;
    while (!p.closed || p.live != 0) {
        (void)hpx_shard_poll_wait(shard, HPX_NS_PER_S);
        if (hpx_clock_now_ns() > deadline) {
            fail_msg("epoch %llu, live %u", (unsigned long long)p.epoch, p.live);
        }
    }
    assert_int_equal(p.epoch, RECONNECTS);
    assert_int_equal(p.heard, RECONNECTS);
    assert_int_equal(p.stale, 0);
    hpx_listener_close(listener);
    while (!hpxi_shard_is_quiet(shard)) {
        (void)hpx_shard_poll(shard);
    }
    assert_int_equal(test_descriptors(), running);
    assert_int_equal(shard->owner.wheel.count, 0);
    assert_int_equal(hpx_shard_detach_wait(shard, HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(engine);
    assert_int_equal(test_descriptors(), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backoff_when_no_jitter_then_exact),
        cmocka_unit_test(test_backoff_when_jitter_then_spread_evenly),
        cmocka_unit_test(test_reconnect_when_refused_then_attempts_and_closed),
        cmocka_unit_test(test_reconnect_when_accepted_and_dropped_then_backs_off),
        cmocka_unit_test(test_reconnect_when_stable_then_begins_anew),
        cmocka_unit_test(test_reconnect_when_retry_after_then_waits),
        cmocka_unit_test(test_close_when_backing_off_then_closed_at_once),
        cmocka_unit_test(test_reconnect_when_asked_then_new_epoch),
        cmocka_unit_test(test_reconnect_when_not_configured_then_refused),
        cmocka_unit_test(test_reconnect_when_nobody_reads_then_held_up_not_lost),
        cmocka_unit_test(test_heartbeat_when_no_pong_then_lost_in_time),
        cmocka_unit_test(test_heartbeat_when_quiet_but_ponging_then_kept),
        cmocka_unit_test(test_watchdog_when_no_message_then_lost),
        cmocka_unit_test(test_reconnect_when_a_thousand_times_then_nothing_leaks),
    };
    return cmocka_run_group_tests_name("engine/reconnect", tests, NULL, NULL);
}

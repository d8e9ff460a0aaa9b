/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: both roles of the engine, on one shard driven by the test: connect, echo, close; events in
 * their order, exactly one terminal event, nothing left behind.
 * Method: a POLLED engine; the listener echoes; the client sends messages of many sizes and checks
 * what comes back byte by byte. The engine's own allocator counts blocks.
 */
#include <stdio.h>
#include <stdlib.h>

#include <hpx/hpx.h>

#include "tests/support/test.h"

#define DEADLINE_NS (20 * HPX_NS_PER_S)

typedef struct loop {
    hpx_engine *engine;
    hpx_shard *shard;
    hpx_listener *listener;
    uint64_t deadline_ns;
    /* server */
    uint32_t server_connected;
    uint32_t server_closed;
    bool server_kicks; /* close with 4001 at the first message */
    /* client */
    uint32_t connected, disconnected, closed;
    uint64_t epoch;
    hpx_error last;
    uint8_t *expected;
    size_t size;
    uint32_t echoed;
    uint32_t wanted;
} loop;

static void on_server(hpx_conn *conn, const hpx_event *event, void *user)
{
    loop *l = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        l->server_connected++;
        assert_true(event->info->is_server);
        break;
    case HPX_EVENT_MESSAGE:
        if (l->server_kicks) {
            assert_int_equal(hpx_conn_close(conn, 4001, hpx_span_of("enough")), HPX_OK);
            break;
        }
        assert_int_equal(hpx_conn_send(conn, event->message_kind, event->payload), HPX_OK);
        break;
    case HPX_EVENT_CLOSED:
        l->server_closed++;
        break;
    case HPX_EVENT_DISCONNECTED:
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void client_send(loop *l, hpx_conn *conn)
{
    static const size_t sizes[] = {
        0, 1, 2, 124, 125, 126, 127, 128, 1000, 65535, 65536, 100000, 16u << 20, 3};
    l->size = sizes[l->echoed % (sizeof(sizes) / sizeof(sizes[0]))];
    for (size_t i = 0; i < l->size; i++) {
        l->expected[i] = (uint8_t)(i * 31 + l->echoed);
    }
    const hpx_span payload = {.data = l->expected, .size = l->size};
    assert_int_equal(hpx_conn_send(conn, HPX_MESSAGE_BINARY, payload), HPX_OK);
}

static void on_client(hpx_conn *conn, const hpx_event *event, void *user)
{
    loop *l = user;
    assert_int_equal(l->closed, 0); /* nothing after the last event */
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        l->connected++;
        l->epoch = event->epoch;
        client_send(l, conn);
        break;
    case HPX_EVENT_MESSAGE:
        assert_int_equal(event->payload.size, l->size);
        if (l->size != 0) {
            assert_memory_equal(event->payload.data, l->expected, l->size);
        }
        l->echoed++;
        if (l->echoed == l->wanted) {
            assert_int_equal(hpx_conn_close(conn, 0, (hpx_span){0}), HPX_OK);
        } else {
            client_send(l, conn);
        }
        break;
    case HPX_EVENT_DISCONNECTED:
        l->disconnected++;
        assert_non_null(event->error);
        l->last = *event->error;
        break;
    case HPX_EVENT_CLOSED:
        l->closed++;
        break;
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void loop_open(loop *l, hpx_receive_mode mode)
{
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    hpx_error error = {0};
    assert_int_equal(hpx_engine_new(&l->engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(l->engine, &error), HPX_OK);
    l->shard = hpx_engine_shard(l->engine, 0);
    if (hpx_shard_attach(l->shard, &error) != HPX_OK) {
        fail_msg("attach: %s", error.detail);
    }
    hpx_listen_config listen = HPX_LISTEN_CONFIG_INIT;
    listen.address = "127.0.0.1:0";
    listen.on_event = on_server;
    listen.user = l;
    listen.receive_mode = mode;
    if (hpx_shard_listen(l->shard, &listen, &l->listener, &error) != HPX_OK) {
        fail_msg("listen: %s", error.detail);
    }
    l->expected = malloc(16u << 20);
    l->deadline_ns = hpx_clock_now_ns() + DEADLINE_NS;
}

static void loop_connect(loop *l, hpx_receive_mode mode)
{
    char url[64];
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/echo", hpx_listener_get_port(l->listener));
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = url;
    ws.on_event = on_client;
    ws.user = l;
    ws.receive_mode = mode;
    ws.quickack = true;
    ws.incoming_cpu = true; /* without a pin: no effect */
    hpx_error error = {0};
    hpx_conn *conn = NULL;
    assert_int_equal(hpx_shard_connect(l->shard, &ws, &conn, &error), HPX_OK);
    while (l->closed == 0 || l->server_closed != l->server_connected) {
        assert_true(hpx_shard_poll_wait(l->shard, HPX_NS_PER_S) >= 0);
        if (hpx_clock_now_ns() > l->deadline_ns) {
            fail_msg(
                "hang: connected %u echoed %u disconnected %u closed %u server %u/%u",
                l->connected,
                l->echoed,
                l->disconnected,
                l->closed,
                l->server_connected,
                l->server_closed);
        }
    }
}

static void loop_close(loop *l)
{
    assert_int_equal(hpx_shard_detach_wait(l->shard, HPX_NS_PER_S), HPX_OK);
    assert_int_equal(hpx_engine_stop_wait(l->engine, 0), HPX_OK);
    hpx_engine_free(l->engine);
    free(l->expected);
}

static void echo(hpx_receive_mode mode)
{
    loop l = {.wanted = 60};
    loop_open(&l, mode);
    loop_connect(&l, mode);
    assert_int_equal(l.echoed, l.wanted);
    assert_int_equal(l.connected, 1);
    assert_int_equal(l.disconnected, 1);
    assert_int_equal(l.epoch, 1);
    assert_int_equal(l.last.status, HPX_OK); /* we asked for it, and it was orderly */
    assert_int_equal(l.last.close_code, 1000);
    assert_int_equal(l.server_connected, 1);
    hpx_shard_stats stats;
    hpx_shard_get_stats(l.shard, &stats);
    assert_int_equal(stats.connections, 0);
    assert_int_equal(stats.messages_received, 2 * l.wanted);
    loop_close(&l);
}

static void test_echo_when_multishot_then_all_sizes_come_back(void **state)
{
    (void)state;
    echo(HPX_RECEIVE_MULTISHOT);
}

static void test_echo_when_hot_then_all_sizes_come_back(void **state)
{
    (void)state;
    echo(HPX_RECEIVE_HOT);
}

static void test_close_when_peer_closes_then_code_and_reason_are_told(void **state)
{
    (void)state;
    loop l = {.wanted = 10, .server_kicks = true};
    loop_open(&l, HPX_RECEIVE_MULTISHOT);
    loop_connect(&l, HPX_RECEIVE_MULTISHOT);
    assert_int_equal(l.last.status, HPX_E_WS_CLOSED);
    assert_int_equal(l.last.close_code, 4001);
    assert_non_null(strstr(l.last.detail, "enough"));
    loop_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_when_multishot_then_all_sizes_come_back),
        cmocka_unit_test(test_echo_when_hot_then_all_sizes_come_back),
        cmocka_unit_test(test_close_when_peer_closes_then_code_and_reason_are_told),
    };
    return cmocka_run_group_tests_name("engine/loopback", tests, NULL, NULL);
}

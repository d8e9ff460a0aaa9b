/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: connections of a shard resume the TLS session of the one before, and say so; a connection
 * with other settings does not; with HPX_TLS_NO_RESUMPTION none does. What is sent in one turn
 * shares a record.
 * Method: a POLLED engine with a listener that gives tickets; one client after the other; the
 * shard's count of bytes sent.
 */
#include <stdio.h>

#include <hpx/hpx.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"

#define DEADLINE_NS (20 * HPX_NS_PER_S)

static duo_site site;
static hpx_engine *engine;
static hpx_shard *shard;
static hpx_listener *listener;

typedef struct client {
    bool ready;
    bool closed;
    hpx_conn_info info;
    hpx_error last;
} client;

static uint32_t silent_messages; /* that the server takes without an answer */

static void on_server(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)user;
    if (event->kind == HPX_EVENT_MESSAGE && silent_messages != 0) {
        silent_messages--;
    } else if (event->kind == HPX_EVENT_MESSAGE) {
        assert_int_equal(hpx_conn_send(conn, event->message_kind, event->payload), HPX_OK);
    }
}

static void on_client(hpx_conn *conn, const hpx_event *event, void *user)
{
    client *c = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        c->ready = true;
        c->info = *event->info;
        assert_int_equal(hpx_conn_send(conn, HPX_MESSAGE_TEXT, hpx_span_of("hello")), HPX_OK);
        break;
    case HPX_EVENT_MESSAGE:
        assert_int_equal(hpx_conn_close(conn, 0, (hpx_span){0}), HPX_OK);
        break;
    case HPX_EVENT_DISCONNECTED:
        c->last = *event->error;
        break;
    case HPX_EVENT_CLOSED:
        c->closed = true;
        break;
    case HPX_EVENT_WRITABLE:
        break;
    }
}

/* One connection from beginning to end; true if it was resumed. */
static bool visit(hpx_tls_context *context, const char *name, bool insecure)
{
    char url[64];
    client c = {0};
    hpx_conn *conn = NULL;
    hpx_error error = {0};
    (void)snprintf(url, sizeof(url), "wss://127.0.0.1:%u/", hpx_listener_get_port(listener));
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.tls = context;
    config.tls_server_name = name;
    config.on_event = on_client;
    config.user = &c;
    if (insecure) {
        hpx_ws_config_set_insecure_no_verify(&config);
    }
    if (hpx_shard_connect(shard, &config, &conn, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    const uint64_t deadline_ns = hpx_clock_now_ns() + DEADLINE_NS;
    while (!c.closed) {
        assert_true(hpx_clock_now_ns() < deadline_ns);
        (void)hpx_shard_poll(shard);
    }
    if (!c.ready) {
        fail_msg("%s", c.last.detail);
    }
    assert_true(c.info.is_tls);
    assert_int_equal(c.info.tls_verified, !insecure);
    return c.info.tls_resumed;
}

static int resume_setup(void **state)
{
    (void)state;
    static const certs_spec leaf = {.san = {SAN_DNS("host.example"), SAN_DNS("other.example")}};
    hpx_error error = {0};
    duo_site_make(&site, &leaf);
    hpx_tls_config server = duo_server_config(&site);
    server.ticket_count = 2;
    hpx_tls_context *context = duo_server_context(&server);
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    config.tls_session_hosts_max = 4;
    assert_int_equal(hpx_engine_new(&engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(engine, &error), HPX_OK);
    shard = hpx_engine_shard(engine, 0);
    if (hpx_shard_attach(shard, &error) != HPX_OK) {
        fail_msg("attach: %s", error.detail);
    }
    hpx_listen_config listen = HPX_LISTEN_CONFIG_INIT;
    listen.address = "127.0.0.1:0";
    listen.on_event = on_server;
    listen.tls = context;
    if (hpx_shard_listen(shard, &listen, &listener, &error) != HPX_OK) {
        fail_msg("listen: %s", error.detail);
    }
    hpx_tls_context_release(context);
    return 0;
}

static int resume_teardown(void **state)
{
    (void)state;
    assert_int_equal(hpx_shard_detach_wait(shard, DEADLINE_NS), HPX_OK);
    hpx_engine_free(engine);
    duo_site_free(&site);
    return 0;
}

static void test_connections_of_a_shard_resume_when_their_settings_are_the_same(void **state)
{
    (void)state;
    assert_false(visit(site.client, "host.example", false));
    for (int i = 0; i < 5; i++) {
        assert_true(visit(site.client, "host.example", false));
    }
    assert_false(visit(site.client, "other.example", false));
    assert_true(visit(site.client, "other.example", false));
    assert_false(visit(site.client, "host.example", true));
    assert_true(visit(site.client, "host.example", true));
    assert_true(visit(site.client, "host.example", false));
}

static void test_connections_when_resumption_is_off_then_none_resumes(void **state)
{
    (void)state;
    hpx_tls_config config = duo_client_config(&site);
    config.flags = HPX_TLS_NO_RESUMPTION;
    hpx_tls_context *context = duo_client_context(&config);
    for (int i = 0; i < 3; i++) {
        assert_false(visit(context, "host.example", false));
    }
    hpx_tls_context_release(context);
}

#define SMALL_COUNT 100u

typedef struct burst {
    hpx_conn *conn;
    bool closed;
    uint64_t sent_before;
} burst;

static uint64_t bytes_sent(void)
{
    hpx_shard_stats stats;
    hpx_shard_get_stats(shard, &stats);
    return stats.bytes_sent;
}

static void on_burst(hpx_conn *conn, const hpx_event *event, void *user)
{
    burst *b = user;
    if (event->kind == HPX_EVENT_CONNECTED) {
        b->conn = conn;
        b->sent_before = bytes_sent();
        for (uint32_t i = 0; i < SMALL_COUNT; i++) {
            assert_int_equal(hpx_conn_send(conn, HPX_MESSAGE_TEXT, hpx_span_of("tick")), HPX_OK);
        }
    }
    b->closed = b->closed || event->kind == HPX_EVENT_CLOSED;
}

static void test_small_messages_of_one_turn_share_a_record(void **state)
{
    (void)state;
    char url[64];
    burst b = {0};
    hpx_conn *conn = NULL;
    (void)snprintf(url, sizeof(url), "wss://127.0.0.1:%u/", hpx_listener_get_port(listener));
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.tls = site.client;
    config.tls_server_name = "host.example";
    config.on_event = on_burst;
    config.user = &b;
    silent_messages = SMALL_COUNT;
    assert_int_equal(hpx_shard_connect(shard, &config, &conn, NULL), HPX_OK);
    const uint64_t deadline_ns = hpx_clock_now_ns() + DEADLINE_NS;
    while (silent_messages != 0) {
        assert_true(hpx_clock_now_ns() < deadline_ns);
        (void)hpx_shard_poll(shard);
    }
    /* 2 + 4 + 4 bytes each: header, mask, "tick"; and one record of TLS 1.3 around them all. */
    assert_int_equal(bytes_sent() - b.sent_before, SMALL_COUNT * 10 + 5 + 1 + 16);
    assert_int_equal(hpx_conn_close(b.conn, 0, (hpx_span){0}), HPX_OK);
    while (!b.closed) {
        assert_true(hpx_clock_now_ns() < deadline_ns);
        (void)hpx_shard_poll(shard);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connections_of_a_shard_resume_when_their_settings_are_the_same),
        cmocka_unit_test(test_small_messages_of_one_turn_share_a_record),
        cmocka_unit_test(test_connections_when_resumption_is_off_then_none_resumes),
    };
    return cmocka_run_group_tests(tests, resume_setup, resume_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A listener's application may refuse an upgrade, with a status and a Retry-After that the
 *         client understands; and may cut an accepted connection without a word.
 * Method  Both roles on one shard driven by the test.
 */
#include <errno.h>
#include <stdio.h>

#include <hpx/hpx.h>

#include "tests/support/test.h"

#define DEADLINE_NS (20 * HPX_NS_PER_S)

typedef struct bed {
    hpx_engine *engine;
    hpx_shard *shard;
    char url[64];
    /* server */
    hpx_upgrade_answer answer;
    uint32_t asked;
    char target[64];
    char host[64];
    char subprotocol[16];
    uint32_t server_connected, server_disconnected, server_closed;
    hpx_status server_status;
    bool aborts; /* at the first message */
    /* client */
    uint32_t connected, closed;
    hpx_error last;
} bed;

static hpx_upgrade_answer on_upgrade(const hpx_upgrade_request *request, void *user)
{
    bed *b = user;
    b->asked++;
    snprintf(b->target, sizeof(b->target), "%s", request->target);
    snprintf(b->host, sizeof(b->host), "%s", request->host);
    snprintf(b->subprotocol, sizeof(b->subprotocol), "%s", request->subprotocol);
    return b->answer;
}

static void on_server(hpx_conn *conn, const hpx_event *event, void *user)
{
    bed *b = user;
    assert_int_equal(b->server_closed, 0);
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        b->server_connected++;
        break;
    case HPX_EVENT_MESSAGE:
        assert_true(b->aborts);
        hpx_conn_abort(conn);
        break;
    case HPX_EVENT_DISCONNECTED:
        b->server_disconnected++;
        b->server_status = event->error->status;
        break;
    case HPX_EVENT_CLOSED:
        b->server_closed++;
        break;
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void on_client(hpx_conn *conn, const hpx_event *event, void *user)
{
    bed *b = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        b->connected++;
        if (b->aborts) {
            assert_int_equal(hpx_conn_send(conn, HPX_MESSAGE_TEXT, hpx_span_of("cut me")), HPX_OK);
        } else {
            assert_int_equal(hpx_conn_close(conn, 0, (hpx_span){0}), HPX_OK);
        }
        break;
    case HPX_EVENT_DISCONNECTED:
        b->last = *event->error;
        break;
    case HPX_EVENT_CLOSED:
        b->closed++;
        break;
    case HPX_EVENT_MESSAGE:
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void bed_open(bed *b, bool asks)
{
    static const char *const subprotocols[] = {"v2"};
    hpx_error error = {0};
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_count = 1;
    config.shard_mode = HPX_SHARDS_POLLED;
    assert_int_equal(hpx_engine_new(&b->engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(b->engine, &error), HPX_OK);
    b->shard = hpx_engine_shard(b->engine, 0);
    assert_int_equal(hpx_shard_attach(b->shard, &error), HPX_OK);
    hpx_listen_config listen = HPX_LISTEN_CONFIG_INIT;
    listen.address = "127.0.0.1:0";
    listen.on_event = on_server;
    listen.on_upgrade = asks ? on_upgrade : NULL;
    listen.user = b;
    listen.subprotocols = subprotocols;
    listen.subprotocol_count = 1;
    hpx_listener *listener = NULL;
    assert_int_equal(hpx_shard_listen(b->shard, &listen, &listener, &error), HPX_OK);
    snprintf(b->url, sizeof(b->url), "ws://127.0.0.1:%u/a?b=c", hpx_listener_get_port(listener));
}

static void bed_connect(bed *b)
{
    static const char *const subprotocols[] = {"v1", "v2"};
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = b->url;
    config.on_event = on_client;
    config.user = b;
    config.subprotocols = subprotocols;
    config.subprotocol_count = 2;
    hpx_conn *conn = NULL;
    hpx_error error = {0};
    assert_int_equal(hpx_shard_connect(b->shard, &config, &conn, &error), HPX_OK);
    const uint64_t end_ns = hpx_clock_now_ns() + DEADLINE_NS;
    while (b->closed == 0 || b->server_closed < b->server_connected) {
        assert_true(hpx_clock_now_ns() < end_ns);
        hpx_shard_poll_wait(b->shard, HPX_NS_PER_MS);
    }
    b->closed = 0;
}

static void bed_close(bed *b)
{
    assert_int_equal(hpx_shard_detach_wait(b->shard, HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(b->engine);
}

static void test_upgrade_when_refused_then_status_and_retry_after_arrive(void **state)
{
    (void)state;
    static const struct {
        hpx_upgrade_answer answer;
        int32_t status;
        uint64_t retry_after_ns;
    } rows[] = {
        {{429, 7}, 429, 7 * HPX_NS_PER_S},
        {{503, 1}, 503, HPX_NS_PER_S},
        {{503, 0}, 503, 0},
        {{401, 0}, 401, 0},
        {{0, 0}, 500, 0},
        {{200, 0}, 500, 0},
        {{600, 0}, 500, 0},
    };
    bed b = {0};
    bed_open(&b, true);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        b.answer = rows[i].answer;
        bed_connect(&b);
        assert_int_equal(b.asked, i + 1);
        assert_int_equal(b.last.status, HPX_E_UPGRADE_STATUS);
        assert_int_equal(b.last.stage, HPX_STAGE_UPGRADE);
        assert_int_equal(b.last.http_status, rows[i].status);
        assert_true(b.last.retry_after_ns == rows[i].retry_after_ns);
    }
    assert_int_equal(b.connected, 0);
    assert_int_equal(b.server_connected, 0); /* refused connections make no events */
    assert_string_equal(b.target, "/a?b=c");
    assert_string_equal(b.subprotocol, "v2");
    assert_non_null(strstr(b.url, b.host));
    bed_close(&b);
}

static void test_upgrade_when_accepted_then_connected(void **state)
{
    (void)state;
    bed b = {.answer = {.http_status = 101}};
    bed_open(&b, true);
    bed_connect(&b);
    assert_int_equal(b.asked, 1);
    assert_int_equal(b.connected, 1);
    assert_int_equal(b.last.status, HPX_OK);
    bed_close(&b);
}

static void test_abort_when_connected_then_the_peer_sees_a_reset(void **state)
{
    (void)state;
    bed b = {.aborts = true};
    bed_open(&b, false);
    bed_connect(&b);
    assert_int_equal(b.connected, 1);
    assert_int_equal(b.server_disconnected, 1);
    assert_int_equal(b.server_status, HPX_E_ABORTED);
    assert_true(b.last.status == -ECONNRESET || b.last.status == HPX_E_EOF);
    assert_int_equal(b.last.close_code, 0);
    bed_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upgrade_when_refused_then_status_and_retry_after_arrive),
        cmocka_unit_test(test_upgrade_when_accepted_then_connected),
        cmocka_unit_test(test_abort_when_connected_then_the_peer_sees_a_reset),
    };
    return cmocka_run_group_tests_name("engine/upgrade", tests, NULL, NULL);
}

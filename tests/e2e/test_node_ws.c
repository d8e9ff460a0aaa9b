/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: our client against node's `ws`, in every way in which an application may hold a connection.
 * Method: one server process; each test opens an engine per way, runs one script of ws_peer.h, and
 * has the server tell what it saw. Descriptors and allocations are counted by the bed.
 */
#include "tests/e2e/echo_script.h"
#include "tests/e2e/ws_peer.h"
#include "tests/support/test.h"

static ws_peer server;

static void test_echo_when_any_size_then_the_same_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS; i++) {
        ws_check_echo(&server, &ws_ways[i], i < WS_WAYS_PLAIN ? ECHO_BYTES_MAX : 1u << 20);
    }
}

static void test_echo_when_fragmented_at_random_then_messages_are_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS; i++) {
        ws_check_fragments(&server, &ws_ways[i], i < 2 ? ECHO_BYTES_MAX : 1u << 20);
    }
}

static void test_echo_when_pipelined_then_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS; i++) {
        ws_check_pipelined(&server, &ws_ways[i]);
    }
}

static void test_ping_when_the_server_pings_then_pongs_hold_its_payload(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS; i++) {
        ws_check_ping(&server, &ws_ways[i]);
    }
}

static void test_close_when_the_server_closes_then_code_and_reason_are_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS_PLAIN; i++) {
        ws_check_server_close(&server, &ws_ways[i]);
    }
}

static void test_close_when_we_close_then_the_server_sees_code_and_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS; i++) {
        ws_check_our_close(&server, &ws_ways[i]);
    }
}

static void test_subprotocol_when_offered_then_the_servers_choice_is_told(void **state)
{
    (void)state;
    ws_check_subprotocol(&server, &ws_ways[0]);
    ws_check_subprotocol(&server, &ws_ways[5]);
}

static void test_headers_when_added_then_the_server_sees_them(void **state)
{
    (void)state;
    ws_check_headers(&server, &ws_ways[1]);
    ws_check_headers(&server, &ws_ways[4]);
}

/* RST or FIN in the middle of Ready: neither is an orderly close. */
static void test_loss_when_the_server_drops_tcp_then_no_orderly_close_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS; i++) {
        char url[WS_URL_BYTES];
        e2e_bed bed;
        e2e_client client;
        hpx_error error;
        const hpx_ws_config config = ws_peer_config(&server, &ws_ways[i], "/terminate", url);
        bed_open(&bed, ws_ways[i].form, NULL);
        client_connect(&client, &bed, &config, NULL);
        client_send(&client, HPX_MESSAGE_TEXT, "now", 3);
        client_expect_end(&client, &error);
        bed_close(&bed);
        assert_int_equal(error.stage, HPX_STAGE_READY);
        assert_int_equal(error.close_code, 0);
        assert_string_equal(
            hpx_status_name(error.status), ws_ways[i].tls ? "HPX_E_TLS_TRUNCATED" : "HPX_E_EOF");
        (void)peer_expect(&server.process, "closed");
    }
}

/* 20 MiB in 64-byte messages, at once: each arrives, in order, through the inline handler. */
static void test_flood_when_inline_then_nothing_is_lost(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    char url[WS_URL_BYTES];
    e2e_bed bed;
    e2e_client client;
    const ws_way way = {CLIENT_THREAD, HPX_RECEIVE_MULTISHOT, true};
    const hpx_ws_config config = ws_peer_config(&server, &way, "/flood?count=20000&size=1024", url);
    bed_open(&bed, way.form, NULL);
    client_connect(&client, &bed, &config, NULL);
    client_send(&client, HPX_MESSAGE_TEXT, "go", 2);
    for (uint32_t i = 0; i < COUNT; i++) {
        const hpx_event *event = client_expect(&client, HPX_EVENT_MESSAGE);
        uint32_t number;
        assert_int_equal(event->payload.size, 1024);
        memcpy(&number, event->payload.data, sizeof(number));
        assert_int_equal(number, i);
        assert_int_equal(event->payload.data[1023], i & 255);
    }
    client_finish(&client);
    bed_close(&bed);
    (void)peer_expect(&server.process, "closed");
}

static int start(void **state)
{
    (void)state;
    ws_peer_start(&server, "ws_server.js");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    ws_peer_stop(&server);
    return 0;
}

int main(void)
{
    if (!peer_has((const char *const[]){"node", "-e", "require('ws')", NULL})) {
        return TEST_EXIT_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_echo_when_any_size_then_the_same_comes_back),
        cmocka_unit_test(test_echo_when_fragmented_at_random_then_messages_are_whole),
        cmocka_unit_test(test_echo_when_pipelined_then_in_order),
        cmocka_unit_test(test_ping_when_the_server_pings_then_pongs_hold_its_payload),
        cmocka_unit_test(test_close_when_the_server_closes_then_code_and_reason_are_told),
        cmocka_unit_test(test_close_when_we_close_then_the_server_sees_code_and_reason),
        cmocka_unit_test(test_subprotocol_when_offered_then_the_servers_choice_is_told),
        cmocka_unit_test(test_headers_when_added_then_the_server_sees_them),
        cmocka_unit_test(test_loss_when_the_server_drops_tcp_then_no_orderly_close_is_told),
        cmocka_unit_test(test_flood_when_inline_then_nothing_is_lost),
    };
    return cmocka_run_group_tests_name("e2e/node_ws", tests, start, stop);
}

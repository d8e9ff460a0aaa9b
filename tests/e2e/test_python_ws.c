/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: our client against python3-websockets: a second, independent reading of RFC 6455.
 * Method: as test_node_ws.c, with the scripts of ws_peer.h.
 */
#include "tests/e2e/echo_script.h"
#include "tests/e2e/ws_peer.h"
#include "tests/support/test.h"

static ws_peer server;

static void test_echo_when_any_size_then_the_same_comes_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS_PLAIN; i++) {
        ws_check_echo(&server, &ws_ways[i], i < 2 ? ECHO_BYTES_MAX : 1u << 20);
    }
}

static void test_echo_when_fragmented_at_random_then_messages_are_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS_PLAIN; i++) {
        ws_check_fragments(&server, &ws_ways[i], i < 1 ? ECHO_BYTES_MAX : 1u << 20);
    }
}

static void test_echo_when_pipelined_then_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS_PLAIN; i++) {
        ws_check_pipelined(&server, &ws_ways[i]);
    }
}

static void test_ping_when_the_server_pings_then_pongs_hold_its_payload(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS_PLAIN; i++) {
        ws_check_ping(&server, &ws_ways[i]);
    }
}

static void test_close_when_the_server_closes_then_code_and_reason_are_told(void **state)
{
    (void)state;
    ws_check_server_close(&server, &ws_ways[1]);
    ws_check_server_close(&server, &ws_ways[4]);
}

static void test_close_when_we_close_then_the_server_sees_code_and_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < WS_WAYS_PLAIN; i++) {
        ws_check_our_close(&server, &ws_ways[i]);
    }
}

static void test_subprotocol_when_offered_then_the_servers_choice_is_told(void **state)
{
    (void)state;
    ws_check_subprotocol(&server, &ws_ways[3]);
}

static void test_headers_when_added_then_the_server_sees_them(void **state)
{
    (void)state;
    ws_check_headers(&server, &ws_ways[0]);
    ws_check_headers(&server, &ws_ways[5]);
}

static int start(void **state)
{
    (void)state;
    ws_peer_start(&server, "ws_server.py");
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
    const char *python = getenv("HPX_PYTHON");
    if (!peer_has((const char *const[]){
            python != NULL ? python : "python3", "-c", "import websockets", NULL})) {
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
    };
    return cmocka_run_group_tests_name("e2e/python_ws", tests, start, stop);
}

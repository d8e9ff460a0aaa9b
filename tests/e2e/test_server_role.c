/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: our server role serves other people's clients, and refuses what is no WebSocket.
 * Method: the service of service.h in this process; node's `ws` and python3-websockets as clients
 * that check their own side (servers/ws_client.*); curl and a bare socket for requests that are no
 * upgrade. What the service saw is compared as well; it counts descriptors and allocations.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/peer.h"
#include "tests/e2e/service.h"
#include "tests/e2e/ws_peer.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

static char folder[PEER_PATH_BYTES];
static char ca[PEER_PATH_BYTES + 16];
static e2e_service served;
static uint32_t visit; /* the next one to look at */

#define PYTHON "ws_client.py"
#define NODE   "ws_client.js"

static void client_start(e2e_peer *client, const char *script, const char *name, bool tls)
{
    char url[WS_URL_BYTES];
    (void)snprintf(
        url,
        sizeof(url),
        "%s://localhost:%u",
        tls ? "wss" : "ws",
        tls ? served.tls_port : served.port);
    peer_start_script(client, script, (const char *const[]){url, name, tls ? ca : NULL, NULL});
}

static void expect_told(service_what what, const char *expected)
{
    const char *line = service_told(&served, visit, what);
    if (strncmp(line, expected, strlen(expected)) != 0) {
        fail_msg("visit %u: the service told \"%s\", not \"%s\"", visit, line, expected);
    }
}

typedef struct role_case {
    const char *name;
    const char *open; /* target and subprotocol */
    const char *end;  /* how the connection ended for the service */
} role_case;

#define ECHO   "/echo -"
#define CLOSED "HPX_E_WS_CLOSED ready 1000 "

/* The cases in one process of the client, one connection each. */
static void check_cases(const char *script, bool tls, const role_case *cases, size_t count)
{
    e2e_peer client;
    char names[256] = "";
    for (size_t i = 0; i < count; i++) {
        const size_t used = strlen(names);
        (void)snprintf(
            names + used, sizeof(names) - used, "%s%s", i == 0 ? "" : ",", cases[i].name);
    }
    client_start(&client, script, names, tls);
    const int status = peer_wait(&client);
    if (status != 0) {
        fail_msg("%s %s: status %d", script, names, status);
    }
    for (size_t i = 0; i < count; i++) {
        char open[64];
        (void)snprintf(open, sizeof(open), "%s %s", cases[i].open, tls ? "tls" : "plain");
        expect_told(SERVICE_OPEN, open);
        expect_told(SERVICE_END, cases[i].end);
        (void)service_told(&served, visit++, SERVICE_CLOSED);
    }
}

static const role_case rfc_cases[] = {
    {"echo", ECHO, CLOSED},
    {"fragments", ECHO, CLOSED},
    {"pipelined", ECHO, CLOSED},
    {"ping", ECHO, CLOSED},
    {"push", "/push -", CLOSED},
    {"our_close", ECHO, "HPX_E_WS_CLOSED ready 4005 the peer closed with 4005: bye \xE2\x82\xAC"},
    {"their_close", "/close -", "HPX_OK close 4002 "},
    {"subprotocol", "/echo hpx.v2", CLOSED},
};

static void test_python_client_when_it_uses_all_of_rfc_6455_then_it_is_served(void **state)
{
    (void)state;
    check_cases(PYTHON, false, rfc_cases, COUNT_OF(rfc_cases));
    check_cases(PYTHON, true, rfc_cases, COUNT_OF(rfc_cases));
}

static void test_node_client_when_it_uses_all_of_rfc_6455_then_it_is_served(void **state)
{
    (void)state;
    check_cases(NODE, false, rfc_cases, COUNT_OF(rfc_cases));
    check_cases(NODE, true, rfc_cases, COUNT_OF(rfc_cases));
}

static void test_node_client_when_it_breaks_the_rules_then_it_is_told_why(void **state)
{
    static const role_case plain[] = {
        {"unmasked", ECHO, "HPX_E_WS_PROTOCOL ready 1002 "},
        {"not_utf8", ECHO, "HPX_E_WS_UTF8 ready 1007 "},
        {"too_big", ECHO, "HPX_E_WS_TOO_BIG ready 1009 "},
        {"vanish", ECHO, "HPX_E_EOF ready 0 "},
    };
    static const role_case tls[] = {
        {"not_utf8", ECHO, "HPX_E_WS_UTF8 ready 1007 "},
        {"too_big", ECHO, "HPX_E_WS_TOO_BIG ready 1009 "},
        {"vanish", ECHO, "HPX_E_TLS_TRUNCATED ready 0 "},
    };
    (void)state;
    check_cases(NODE, false, plain, COUNT_OF(plain));
    check_cases(NODE, true, tls, COUNT_OF(tls));
}

/* ---- Requests that are no upgrade ---------------------------------------------------------------
 */

typedef struct curl_row {
    const char *args[4];
    const char *status;
} curl_row;

static void test_http_when_it_is_no_upgrade_then_curl_gets_the_right_status(void **state)
{
    (void)state;
    static char big[20000];
    (void)snprintf(big, sizeof(big), "X-Big: %0*d", (int)sizeof(big) - 8, 0);
    const curl_row rows[] = {
        {{NULL}, "426"},
        {{"-X", "POST", "-d", "a=b"}, "405"},
        {{"-X", "DELETE", NULL}, "405"},
        {{"-H", big, NULL}, "431"},
        {{"-H", "Host:", NULL}, "400"},
        {{"-H", "Upgrade: h2c", NULL}, "426"},
    };
    for (size_t i = 0; i < 2 * COUNT_OF(rows); i++) {
        const curl_row *row = &rows[i / 2];
        const bool tls = i % 2 == 1;
        char url[WS_URL_BYTES];
        char out[4096];
        (void)snprintf(
            url,
            sizeof(url),
            "%s://localhost:%u/feed",
            tls ? "https" : "http",
            tls ? served.tls_port : served.port);
        const char *argv[16] = {
            "curl", "-s", "-S", "--http1.1", "--cacert", ca, "-w", "\n%{http_code}", url};
        for (size_t k = 0; k < COUNT_OF(row->args) && row->args[k] != NULL; k++) {
            argv[9 + k] = row->args[k];
        }
        assert_int_equal(peer_run(out, sizeof(out), argv), 0);
        const char *last = strrchr(out, '\n');
        assert_non_null(last);
        if (strcmp(last + 1, row->status) != 0) {
            fail_msg("curl row %zu: \"%s\" instead of %s", i / 2, last + 1, row->status);
        }
    }
}

/* Writes bytes and returns all that comes back until the end of the connection. */
static size_t exchange(const char *bytes, size_t size, char *answer, size_t answer_bytes)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(served.port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval timeout = {.tv_sec = 15};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
    size_t used = 0;
    for (ssize_t got = 1; got > 0 && used < answer_bytes - 1; used += (size_t)got) {
        got = recv(fd, answer + used, answer_bytes - 1 - used, 0);
        if (got < 0) {
            fail_msg("the server did not end the connection");
        }
    }
    answer[used] = '\0';
    (void)close(fd);
    return used;
}

#define BYTES(text) (text), sizeof(text) - 1
#define REQUEST     "GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION     "Sec-WebSocket-Version: 13\r\n"

static void test_request_when_malformed_then_it_is_answered_and_closed(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *answer; /* how it begins; "": closed without a word */
    } rows[] = {
        {BYTES("hello\r\n\r\n"), "HTTP/1.1 400 "},
        {BYTES("\x16\x03\x01\x01\x00\r\n\r\n"), "HTTP/1.1 400 "},
        {BYTES("GET /echo HTTP/1.1\r\nbad name: x\r\n\r\n"), "HTTP/1.1 400 "},
        {BYTES(REQUEST VERSION "\r\n"), "HTTP/1.1 400 "},
        {BYTES(REQUEST VERSION "Sec-WebSocket-Key: short\r\n\r\n"), "HTTP/1.1 400 "},
        {BYTES(REQUEST KEY "Sec-WebSocket-Version: 8\r\n\r\n"), "HTTP/1.1 426 "},
        {BYTES("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), "HTTP/1.1 405 "},
        {BYTES(""), ""}, /* silence: the handshake's deadline */
        {BYTES("GET /ec"), ""},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char answer[2048];
        (void)exchange(rows[i].bytes, rows[i].size, answer, sizeof(answer));
        const size_t size = strlen(rows[i].answer);
        if (strncmp(answer, rows[i].answer, size != 0 ? size : 1) != 0) {
            fail_msg("row %zu: \"%s\" instead of \"%s\"", i, answer, rows[i].answer);
        }
    }
    /* None of them made an event: the next visit is a good one's. */
    check_cases(NODE, false, &(const role_case){"ping", ECHO, CLOSED}, 1);
}

static int start(hpx_receive_mode mode)
{
    ws_certs(folder, (const char *const[]){"good", NULL});
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    service_start(&served, folder, mode);
    visit = 0;
    return 0;
}

static int start_multishot(void **state)
{
    (void)state;
    return start(HPX_RECEIVE_MULTISHOT);
}

static int stop(void **state)
{
    (void)state;
    service_stop(&served);
    peer_folder_remove(folder);
    return 0;
}

/* Hot receiving, and the engine's stop: those who are connected get a CLOSE with 1001. */
static void test_stop_when_clients_are_connected_then_they_see_1001(void **state)
{
    (void)state;
    (void)start(HPX_RECEIVE_HOT);
    e2e_peer clients[4];
    check_cases(NODE, true, rfc_cases, COUNT_OF(rfc_cases));
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        client_start(&clients[i], i < 2 ? NODE : PYTHON, "stay", i % 2 == 1);
        (void)peer_expect(&clients[i], "ready");
    }
    const uint32_t held = test_descriptors();
    assert_true(held > served.descriptors);
    served.descriptors += (int)COUNT_OF(clients); /* their pipes */
    service_stop(&served);
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        assert_int_equal(peer_wait(&clients[i]), 0);
        expect_told(SERVICE_OPEN, ECHO);
        expect_told(SERVICE_END, "HPX_OK close 1001 ");
        (void)service_told(&served, visit++, SERVICE_CLOSED);
    }
    peer_folder_remove(folder);
}

int main(void)
{
    if (!peer_has((const char *const[]){"node", "-e", "require('ws')", NULL}) ||
        !peer_has((const char *const[]){"curl", "--version", NULL})) {
        return TEST_EXIT_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_python_client_when_it_uses_all_of_rfc_6455_then_it_is_served),
        cmocka_unit_test(test_node_client_when_it_uses_all_of_rfc_6455_then_it_is_served),
        cmocka_unit_test(test_node_client_when_it_breaks_the_rules_then_it_is_told_why),
        cmocka_unit_test(test_http_when_it_is_no_upgrade_then_curl_gets_the_right_status),
        cmocka_unit_test(test_request_when_malformed_then_it_is_answered_and_closed),
    };
    const struct CMUnitTest stop_tests[] = {
        cmocka_unit_test(test_stop_when_clients_are_connected_then_they_see_1001),
    };
    const int failed = cmocka_run_group_tests_name("e2e/server_role", tests, start_multishot, stop);
    return failed + cmocka_run_group_tests_name("e2e/server_role stop", stop_tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: hpx_ws_client in the hands of a small program, against servers in processes of their own.
 * Method: `hpx exchange` over TLS: authentication, orders, market data without a gap, an exchange
 * that dies and comes back. python3-websockets: plain messages, and closes that both sides agree
 * about.
 */
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include <hpx/hpx.h>

#include "tests/e2e/peer.h"
#include "tests/e2e/ws_peer.h"
#include "tests/support/descriptors.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define TOPICS 4u

static const char *const topics[TOPICS] = {
    "trades.BTC-USD", "book.BTC-USD", "trades.ETH-USD", "book.ETH-USD"};

/* ---- hpx exchange ---------------------------------------------------------------------------- */

typedef struct rig {
    e2e_peer exchange;
    char folder[PEER_PATH_BYTES];
    char address[64]; /* the same one after a restart */
    char url[128];
    hpx_tls_context *tls;
    failing_allocator memory;
    uint32_t descriptors;
    hpx_ws_client *client;
    uint64_t seq[TOPICS]; /* the last one of each; 0: none yet */
} rig;

/* False: it ended at once. */
static bool exchange_try(rig *r)
{
    static const char listening[] = "listening on ";
    const char *tool = getenv("HPX_TOOL");
    const char *const argv[] = {
        tool != NULL ? tool : "hpx",
        "exchange",
        "--quiet",
        "--rate",
        "2000",
        "--dir",
        r->folder,
        "--listen",
        r->address,
        NULL};
    peer_start(&r->exchange, NULL, argv);
    const char *line = peer_next_line(&r->exchange);
    if (line == NULL) {
        (void)peer_wait(&r->exchange);
        return false;
    }
    assert_int_equal(strncmp(line, listening, sizeof(listening) - 1), 0);
    (void)snprintf(r->address, sizeof(r->address), "%s", line + sizeof(listening) - 1);
    const char *colon = strchr(r->address, ':');
    assert_non_null(colon);
    (void)snprintf(r->url, sizeof(r->url), "wss://localhost%s/ws", colon);
    return true;
}

/* Again and again: the kernel closes the listener of a process that was killed, which its io_uring
 * still holds, some time after the process is gone. */
static void exchange_start(rig *r)
{
    const uint64_t until_ms = peer_now_ms() + PEER_DEADLINE_MS;
    while (!exchange_try(r)) {
        const struct timespec nap = {.tv_nsec = 20000000};
        assert_true(peer_now_ms() < until_ms);
        (void)nanosleep(&nap, NULL);
    }
}

static void rig_open(rig *r)
{
    memset(r, 0, sizeof(*r));
    r->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    (void)snprintf(r->address, sizeof(r->address), "127.0.0.1:0");
    peer_folder_make(r->folder);
    exchange_start(r);
    char ca[PEER_PATH_BYTES + 16];
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", r->folder);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_file = ca;
    hpx_error error;
    if (hpx_tls_client_context_new(&r->tls, &config, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    r->descriptors = test_descriptors();
}

static void rig_close(rig *r)
{
    hpx_ws_client_free(r->client);
    assert_int_equal(r->memory.live, 0);
    hpx_tls_context_release(r->tls);
    peer_kill(&r->exchange);
    peer_folder_remove(r->folder);
}

static hpx_status rig_connect(rig *r, const char *secret, hpx_error *error)
{
    char params[128];
    (void)snprintf(
        params,
        sizeof(params),
        "{\"grant_type\":\"client_credentials\",\"client_id\":\"me\",\"client_secret\":\"%s\"}",
        secret);
    hpx_json_rpc_config rpc = HPX_JSON_RPC_CONFIG_INIT;
    rpc.auth_params = params;
    hpx_protocol *protocol;
    assert_int_equal(hpx_protocol_json_rpc_new(&protocol, &rpc, error), HPX_OK);
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = r->url;
    ws.tls = r->tls;
    ws.protocol = protocol;
    ws.reconnect = secret[0] == 's';
    ws.backoff_initial_ns = HPX_NS_PER_MS;
    ws.backoff_max_ns = 50 * HPX_NS_PER_MS;
    hpx_ws_client_config config = HPX_WS_CLIENT_CONFIG_INIT;
    config.allocator = fa_allocator(&r->memory);
    const hpx_status status =
        hpx_ws_client_connect_wait(&r->client, &ws, &config, CLIENT_DEADLINE_NS, error);
    hpx_protocol_free(protocol);
    return status;
}

static uint64_t seq_of(hpx_span payload)
{
    char text[512];
    assert_true(payload.size < sizeof(text));
    memcpy(text, payload.data, payload.size);
    text[payload.size] = '\0';
    const char *seq = strstr(text, "\"seq\":");
    assert_non_null(seq);
    return strtoull(seq + 6, NULL, 10);
}

/* Takes `count` updates: of each topic the next one, every time. */
static void take(rig *r, uint32_t count)
{
    for (uint32_t i = 0; i < count;) {
        hpx_update update;
        if (hpx_ws_client_update_wait(r->client, &update, NULL, CLIENT_DEADLINE_NS) != 1) {
            fail_msg("only %u of %u updates came", i, count);
        }
        if (update.kind == HPX_UPDATE_INTERRUPTED) {
            memset(r->seq, 0, sizeof(r->seq)); /* a gap, as told */
        }
        if (update.kind != HPX_UPDATE_MESSAGE) {
            assert_int_not_equal(update.kind, HPX_UPDATE_ENDED);
            continue;
        }
        assert_int_equal(update.missed, 0);
        const uint64_t seq = seq_of(update.payload);
        const uint64_t before = r->seq[update.topic_index];
        assert_true(before == 0 || seq == before + 1);
        r->seq[update.topic_index] = seq;
        i++;
    }
}

static void order(rig *r)
{
    static const char text[] = "{\"jsonrpc\":\"2.0\",\"method\":\"private/buy\",\"params\":{"
                               "\"instrument_name\":\"BTC-USD\",\"amount\":1,\"price\":100}}";
    hpx_reply reply;
    assert_int_equal(
        hpx_ws_client_request_wait(r->client, hpx_span_of(text), CLIENT_DEADLINE_NS, &reply),
        HPX_OK);
    assert_false(reply.is_error); /* authenticated on this connection */
}

static void test_ws_client_when_the_exchange_dies_and_comes_back_then_it_goes_on(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_error error;
    if (rig_connect(&r, "secret", &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    order(&r);
    hpx_span spans[TOPICS];
    for (size_t i = 0; i < TOPICS; i++) {
        spans[i] = hpx_span_of(topics[i]);
    }
    hpx_subscription *sub;
    hpx_subscribe_config config = HPX_SUBSCRIBE_CONFIG_INIT;
    config.ring_bytes = 4u << 20; /* for a test that is not scheduled for a second */
    assert_int_equal(
        hpx_ws_client_subscribe_many(r.client, spans, TOPICS, &config, &sub, &error), HPX_OK);
    take(&r, 500);

    peer_kill(&r.exchange);
    exchange_start(&r);
    take(&r, 500); /* those that came before, then those of the next connection */
    while (hpx_ws_client_get_epoch(r.client) == 1) {
        take(&r, 1);
    }
    assert_int_equal(hpx_ws_client_ready_wait(r.client, CLIENT_DEADLINE_NS, &error), HPX_OK);
    assert_int_equal(hpx_ws_client_get_epoch(r.client), 2);
    assert_int_not_equal(hpx_ws_client_get_error(r.client, &error), HPX_OK); /* why it was lost */
    order(&r);
    take(&r, 100);
    assert_int_equal(hpx_subscription_get_state(sub), HPX_SUBSCRIPTION_LIVE);
    assert_int_equal(
        hpx_ws_client_close_wait(r.client, 1000, hpx_span_of("done"), CLIENT_DEADLINE_NS), HPX_OK);
    assert_int_equal(hpx_ws_client_get_error(r.client, &error), HPX_OK);
    assert_int_equal(error.close_code, 1000);
    rig_close(&r);
}

static void test_ws_client_when_the_secret_is_wrong_then_it_says_so(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_error error;
    assert_int_equal(rig_connect(&r, "wrong", &error), HPX_E_AUTH_FAILED);
    assert_int_equal(error.stage, HPX_STAGE_AUTH);
    assert_non_null(strstr(error.detail, "invalid_credentials"));
    assert_int_equal(test_descriptors(), r.descriptors);
    rig_close(&r);
}

static void test_ws_client_when_the_certificate_is_unknown_then_it_says_so(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_tls_context_release(r.tls);
    r.tls = NULL; /* the system's roots */
    hpx_error error;
    assert_int_equal(rig_connect(&r, "wrong", &error), HPX_E_TLS_UNTRUSTED);
    assert_int_equal(error.stage, HPX_STAGE_TLS);
    rig_close(&r);
}

/* ---- python3-websockets ---------------------------------------------------------------------- */

static void test_ws_client_when_there_is_no_protocol_then_messages_come_and_go(void **state)
{
    (void)state;
    const char *python = getenv("HPX_PYTHON");
    if (!peer_has((const char *const[]){
            python != NULL ? python : "python3", "-c", "import websockets", NULL})) {
        skip();
    }
    ws_peer server;
    ws_peer_start(&server, "ws_server.py");
    char url[64];
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/echo", server.port);
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = url;
    hpx_ws_client *client;
    hpx_error error;
    assert_int_equal(
        hpx_ws_client_connect_wait(&client, &ws, NULL, CLIENT_DEADLINE_NS, &error), HPX_OK);
    for (size_t i = 0; i < 50; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "message %zu \xE2\x82\xAC", i);
        assert_int_equal(hpx_ws_client_send(client, HPX_MESSAGE_TEXT, hpx_span_of(text)), HPX_OK);
    }
    for (size_t i = 0; i < 50; i++) {
        char text[64];
        (void)snprintf(text, sizeof(text), "message %zu \xE2\x82\xAC", i);
        hpx_event message;
        assert_int_equal(hpx_ws_client_message_wait(client, &message, CLIENT_DEADLINE_NS), 1);
        assert_int_equal(message.message_kind, HPX_MESSAGE_TEXT);
        assert_int_equal(message.payload.size, strlen(text));
        assert_memory_equal(message.payload.data, text, strlen(text));
    }
    assert_int_equal(
        hpx_ws_client_close_wait(client, 4321, hpx_span_of("enough"), CLIENT_DEADLINE_NS), HPX_OK);
    assert_string_equal(peer_expect(&server.process, "closed"), "4321 enough");
    hpx_ws_client_free(client);

    /* Freed without a word: a close in good order all the same. */
    assert_int_equal(
        hpx_ws_client_connect_wait(&client, &ws, NULL, CLIENT_DEADLINE_NS, &error), HPX_OK);
    hpx_ws_client_free(client);
    assert_int_equal(strncmp(peer_expect(&server.process, "closed"), "1000", 4), 0);

    /* Closed by the server, without reconnect: the cause, and its code. */
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/close?code=4001&reason=go", server.port);
    assert_int_equal(
        hpx_ws_client_connect_wait(&client, &ws, NULL, CLIENT_DEADLINE_NS, &error), HPX_OK);
    assert_int_equal(hpx_ws_client_send(client, HPX_MESSAGE_TEXT, hpx_span_of("x")), HPX_OK);
    hpx_event message;
    assert_int_equal(
        hpx_ws_client_message_wait(client, &message, CLIENT_DEADLINE_NS), HPX_E_CLOSED);
    assert_int_equal(hpx_ws_client_ready_wait(client, CLIENT_DEADLINE_NS, &error), HPX_E_WS_CLOSED);
    assert_int_equal(error.close_code, 4001);
    hpx_ws_client_free(client);
    ws_peer_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ws_client_when_the_exchange_dies_and_comes_back_then_it_goes_on),
        cmocka_unit_test(test_ws_client_when_the_secret_is_wrong_then_it_says_so),
        cmocka_unit_test(test_ws_client_when_the_certificate_is_unknown_then_it_says_so),
        cmocka_unit_test(test_ws_client_when_there_is_no_protocol_then_messages_come_and_go),
    };
    return cmocka_run_group_tests_name("e2e/ws_client", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_session.c - the exchange's JSON-RPC dialect.
 *
 * Goal      Every request has the reply that the dialect promises; nothing that a client sends
 *           crashes the exchange or makes a reply that is no JSON.
 * Method    Dialogues as tables: request, exact reply. Then mutations of valid requests.
 */
#include <stdio.h>
#include <yyjson.h>

#include "tests/support/test.h"
#include "tools/hpx/session.h"

#define MUTATIONS 200000u
#define NOW_NS    UINT64_C(1000000000)

static market test_market;
static session_shared shared;
static session client;
static char reply_buffer[SESSION_REPLY_BYTES];

static int setup(void **state)
{
    (void)state;
    const char *why = NULL;
    memset(&shared, 0, sizeof(shared));
    memset(&client, 0, sizeof(client));
    shared.market = &test_market;
    return market_init(&test_market, "BTC-USD,ETH-USD", 1, &why) ? 0 : -1;
}

static const char *ask_bytes(const void *bytes, size_t size)
{
    text reply;
    text_init(&reply, reply_buffer, sizeof(reply_buffer));
    session_request(&client, &shared, (hpx_span){bytes, size}, NOW_NS, &reply);
    return reply.data;
}

static const char *ask(const char *json)
{
    return ask_bytes(json, strlen(json));
}

/* Request and reply without their common parts. */
static void check(const char *method_and_params, const char *reply)
{
    char request[512], expected[512];
    snprintf(
        request,
        sizeof(request),
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":%s}",
        method_and_params);
    snprintf(expected, sizeof(expected), "{\"jsonrpc\":\"2.0\",\"id\":7,%s}", reply);
    assert_string_equal(ask(request), expected);
}

#define UNAUTHORIZED "\"error\":{\"code\":13009,\"message\":\"unauthorized\"}"
#define GRANT        "\"public/auth\",\"params\":{\"grant_type\":\"client_credentials\","

static void log_in(void)
{
    check(
        GRANT "\"client_id\":\"me\",\"client_secret\":\"secret\"}",
        "\"result\":{\"access_token\":\"hpx-1\",\"expires_in\":900,\"token_type\":\"bearer\","
        "\"scope\":\"connection trade:read_write\"}");
}

static void test_session_when_request_is_malformed_then_the_specified_code(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *id;
        int code;
    } rows[] = {
        {"", "null", -32700},
        {"{", "null", -32700},
        {"nonsense", "null", -32700},
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/test\"}x", "null", -32700},
        {"\xFF\xFE", "null", -32700},
        {"[]", "null", -32600},
        {"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/test\"}]", "null", -32600},
        {"1", "null", -32600},
        {"null", "null", -32600},
        {"{}", "null", -32600},
        {"{\"id\":5}", "5", -32600},
        {"{\"jsonrpc\":2.0,\"id\":5,\"method\":\"public/test\"}", "5", -32600},
        {"{\"jsonrpc\":\"1.0\",\"id\":5,\"method\":\"public/test\"}", "5", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":5}", "5", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":[1],\"method\":\"public/test\"}", "null", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"public/test\"}", "null", -32600},
        {"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"public/nothing\"}", "5", -32601},
        {"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"public/test\\u0000\"}", "5", -32601},
        {"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"\"}", "5", -32601},
        {"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"public/test\",\"params\":[]}", "5", -32602},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char start[80];
        snprintf(
            start,
            sizeof(start),
            "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,",
            rows[i].id,
            rows[i].code);
        const char *reply = ask(rows[i].request);
        if (strncmp(reply, start, strlen(start)) != 0) {
            fail_msg("%s: got %s", rows[i].request, reply);
        }
    }
}

static void test_session_when_id_is_anything_legal_then_echoed_as_it_was(void **state)
{
    (void)state;
    static const char *const ids[] = {
        "0",
        "-1",
        "1e2",
        "1.50",
        "123456789012345678901234567890",
        "\"a\"",
        "\"\"",
        "\"\\\"\\\\\"",
        "\"\xC3\xA4\"",
        "null",
    };
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        char request[160], expected[160];
        snprintf(
            request,
            sizeof(request),
            "{\"jsonrpc\":\"2.0\",\"id\":%s,\"method\":\"public/test\"}",
            ids[i]);
        snprintf(
            expected,
            sizeof(expected),
            "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":{\"version\":\"" HPX_VERSION_STRING "\"}}",
            ids[i]);
        assert_string_equal(ask(request), expected);
    }
    char request[1024];
    snprintf(
        request, sizeof(request), "{\"jsonrpc\":\"2.0\",\"id\":\"%0300d\",\"method\":\"x\"}", 0);
    assert_non_null(strstr(ask(request), "\"id\":null,\"error\":{\"code\":-32600"));
}

static void test_session_when_notification_then_done_but_not_answered(void **state)
{
    (void)state;
    assert_string_equal(
        ask("{\"jsonrpc\":\"2.0\",\"method\":\"public/subscribe\","
            "\"params\":{\"channels\":[\"trades.BTC-USD\"]}}"),
        "");
    assert_int_equal(shared.subscribers[0], 1);
    assert_string_equal(ask("{\"jsonrpc\":\"2.0\",\"method\":\"no/such\"}"), "");
}

static void test_session_when_not_authenticated_then_private_is_refused(void **state)
{
    (void)state;
    check("\"private/buy\"", UNAUTHORIZED);
    check("\"private/sell\"", UNAUTHORIZED);
    check("\"private/cancel\"", UNAUTHORIZED);
    check("\"private/subscribe\"", UNAUTHORIZED);
    check(
        GRANT "\"client_id\":\"me\",\"client_secret\":\"wrong\"}",
        "\"error\":{\"code\":13004,\"message\":\"invalid_credentials\"}");
    check("\"private/buy\"", UNAUTHORIZED);
    log_in();
    check(
        "\"private/subscribe\",\"params\":{\"channels\":[\"book.ETH-USD\"]}",
        "\"result\":[\"book.ETH-USD\"]");
    /* A failed login takes back what a good one gave. */
    check(
        GRANT "\"client_id\":\"me\",\"client_secret\":\"\"}",
        "\"error\":{\"code\":13004,\"message\":\"invalid_credentials\"}");
    check("\"private/buy\"", UNAUTHORIZED);
    assert_non_null(
        strstr(ask("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/auth\"}"), "-32602"));
}

static void test_session_when_subscribing_then_known_channels_once(void **state)
{
    (void)state;
    check(
        "\"public/subscribe\",\"params\":{\"channels\":[\"book.ETH-USD\",\"no.such\",5,null,"
        "\"trades.BTC-USD\",\"book.ETH-USD\"]}",
        "\"result\":[\"book.ETH-USD\",\"trades.BTC-USD\"]");
    check(
        "\"public/subscribe\",\"params\":{\"channels\":[\"book.ETH-USD\"]}",
        "\"result\":[\"book.ETH-USD\"]");
    const uint32_t book = (uint32_t)market_find_topic(&test_market, "book.ETH-USD", 12);
    assert_int_equal(shared.subscribers[book], 1); /* a second time adds nothing */
    assert_true(session_has(&client, book));
    check(
        "\"public/unsubscribe\",\"params\":{\"channels\":[\"book.ETH-USD\",\"x\"]}",
        "\"result\":[\"book.ETH-USD\"]");
    assert_int_equal(shared.subscribers[book], 0);
    check("\"public/subscribe\",\"params\":{\"channels\":[]}", "\"result\":[]");
    session_leave(&client, &shared);
    for (uint32_t i = 0; i < MARKET_TOPICS_MAX; i++) {
        assert_int_equal(shared.subscribers[i], 0);
    }
    assert_non_null(
        strstr(ask("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\"}"), "-32602"));
}

#define BUY(amount, price)                                                                         \
    "\"private/buy\",\"params\":{\"instrument_name\":\"BTC-USD\",\"amount\":" amount               \
    ",\"price\":" price "}"

static void test_session_when_trading_then_orders_open_and_cancel(void **state)
{
    (void)state;
    log_in();
    check(
        BUY("0.10", "65000.5"),
        "\"result\":{\"order\":{\"order_id\":\"HPX-1\",\"instrument_name\":\"BTC-USD\","
        "\"direction\":\"buy\",\"amount\":0.10,\"price\":65000.5,\"order_state\":\"open\"},"
        "\"trades\":[]}");
    check(
        "\"private/cancel\",\"params\":{\"order_id\":\"HPX-1\"}",
        "\"result\":{\"order_id\":\"HPX-1\",\"order_state\":\"cancelled\"}");
    check(
        "\"private/cancel\",\"params\":{\"order_id\":\"HPX-1\"}",
        "\"error\":{\"code\":11044,\"message\":\"not_open_order\"}");
    static const char *const bad[] = {
        BUY("0", "1"),
        BUY("-1", "1"),
        BUY("\"1\"", "1"),
        BUY("1", "1e999"),
        BUY("1", "null"),
        BUY("1.00000000000000000000000000000000000000000001", "1"),
        "\"private/sell\",\"params\":{\"instrument_name\":\"DOGE\",\"amount\":1,\"price\":1}",
        "\"private/sell\"",
        "\"private/cancel\",\"params\":{\"order_id\":1}",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char request[300];
        snprintf(request, sizeof(request), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":%s}", bad[i]);
        assert_non_null(strstr(ask(request), "\"code\":-32602"));
    }
    assert_int_equal(client.order_count, 0);
}

static void test_session_when_too_many_orders_then_refused(void **state)
{
    (void)state;
    log_in();
    const char *request = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":" BUY("1", "1") "}";
    for (unsigned i = 0; i < SESSION_ORDERS_MAX; i++) {
        assert_non_null(strstr(ask(request), "\"open\""));
    }
    assert_non_null(strstr(ask(request), "\"code\":10047"));
    assert_int_equal(client.order_count, SESSION_ORDERS_MAX);
}

static void test_session_when_heartbeat_is_answered_then_kept_else_expired(void **state)
{
    (void)state;
    const uint64_t second = HPX_NS_PER_S;
    assert_int_equal(session_heartbeat(&client, NOW_NS), SESSION_BEAT_NONE);
    check("\"public/set_heartbeat\",\"params\":{\"interval\":10}", "\"result\":\"ok\"");
    assert_int_equal(session_heartbeat(&client, NOW_NS + 9 * second), SESSION_BEAT_NONE);
    assert_int_equal(session_heartbeat(&client, NOW_NS + 10 * second), SESSION_BEAT_ASK);
    assert_int_equal(session_heartbeat(&client, NOW_NS + 19 * second), SESSION_BEAT_NONE);
    check("\"public/test\"", "\"result\":{\"version\":\"" HPX_VERSION_STRING "\"}");
    assert_int_equal(session_heartbeat(&client, NOW_NS + 10 * second), SESSION_BEAT_ASK);
    assert_int_equal(session_heartbeat(&client, NOW_NS + 20 * second), SESSION_BEAT_EXPIRED);
    assert_int_equal(session_heartbeat(&client, NOW_NS + 99 * second), SESSION_BEAT_NONE);
    check("\"public/set_heartbeat\",\"params\":{\"interval\":1}", "\"result\":\"ok\"");
    check("\"public/disable_heartbeat\"", "\"result\":\"ok\"");
    assert_int_equal(session_heartbeat(&client, NOW_NS + 99 * second), SESSION_BEAT_NONE);
    static const char *const bad[] = {"0", "-1", "3601", "\"10\"", "1e-9"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char request[160];
        snprintf(
            request,
            sizeof(request),
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/set_heartbeat\","
            "\"params\":{\"interval\":%s}}",
            bad[i]);
        assert_non_null(strstr(ask(request), "\"code\":-32602"));
    }
}

static uint64_t next_random(uint64_t *random)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *random >> 33;
}

static void test_session_when_requests_are_mutated_then_replies_are_json(void **state)
{
    (void)state;
    static const char *const seeds[] = {
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\",\"params\":{\"channels\":["
        "\"trades.BTC-USD\",\"book.ETH-USD\"]}}",
        "{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":" GRANT
        "\"client_id\":\"a\",\"client_secret\":\"secret\"}}",
        "{\"jsonrpc\":\"2.0\",\"id\":12.5,\"method\":" BUY("1.5", "2e3") "}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/set_heartbeat\",\"params\":{"
        "\"interval\":10}}",
    };
    static const char alphabet[] = "\"\\{}[]:,0123456789eE+-.tfnull\0\x80\xC3\xFF uU";
    uint64_t random = 2024;
    for (unsigned i = 0; i < MUTATIONS; i++) {
        char request[256];
        const char *seed = seeds[i % COUNT_OF(seeds)];
        size_t size = strlen(seed);
        /* NOLINTNEXTLINE(bugprone-not-null-terminated-result): bytes, not a string */
        memcpy(request, seed, size);
        for (uint64_t edits = next_random(&random) % 4; edits > 0; edits--) {
            request[next_random(&random) % size] =
                alphabet[next_random(&random) % (sizeof(alphabet) - 1)];
        }
        size -= next_random(&random) % 8 == 0 ? next_random(&random) % size : 0;
        const char *reply = ask_bytes(request, size);
        if (reply[0] != '\0') {
            yyjson_doc *doc = yyjson_read(reply, strlen(reply), 0);
            assert_non_null(doc);
            yyjson_doc_free(doc);
        }
    }
    session_leave(&client, &shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(
            test_session_when_request_is_malformed_then_the_specified_code, setup),
        cmocka_unit_test_setup(test_session_when_id_is_anything_legal_then_echoed_as_it_was, setup),
        cmocka_unit_test_setup(test_session_when_notification_then_done_but_not_answered, setup),
        cmocka_unit_test_setup(test_session_when_not_authenticated_then_private_is_refused, setup),
        cmocka_unit_test_setup(test_session_when_subscribing_then_known_channels_once, setup),
        cmocka_unit_test_setup(test_session_when_trading_then_orders_open_and_cancel, setup),
        cmocka_unit_test_setup(test_session_when_too_many_orders_then_refused, setup),
        cmocka_unit_test_setup(
            test_session_when_heartbeat_is_answered_then_kept_else_expired, setup),
        cmocka_unit_test_setup(test_session_when_requests_are_mutated_then_replies_are_json, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

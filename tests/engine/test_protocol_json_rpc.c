/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    The JSON-RPC dialect sends each message to its one place, whatever an exchange, or
 *         someone who pretends to be one, sends; and says what the driver wants in its language.
 * Method  Tables of messages and what they are; every cut of each; every setting changed.
 */
#include <stdio.h>

#include "engine/protocol.h"
#include "tests/engine/dialect_bed.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

/* clang-format off */
static const bed_row rows[] = {
    /* responses, and ids in all forms */
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}", "response 1"},
    {"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}", "response 1"},
    {"{\"result\":1,\"id\":1.0}", "response 1"},
    {"{\"result\":1,\"id\":1e3}", "response 1000"},
    {"{\"result\":1,\"id\":0}", "response 0"},
    {"{\"result\":1,\"id\":-0}", "response 0"},
    {"{\"result\":1,\"id\":18446744073709551615}", "response 18446744073709551615"},
    {"{\"result\":1,\"id\":18446744073709551616}", "response none"},
    {"{\"result\":1,\"id\":-1}", "response none"},
    {"{\"result\":1,\"id\":1.5}", "response none"},
    {"{\"result\":1,\"id\":1e400}", "response none"},
    {"{\"result\":1,\"id\":true}", "response none"},
    {"{\"result\":1,\"id\":[1]}", "response none"},
    {"{\"result\":1,\"id\":{\"id\":1}}", "response none"},
    {"{\"result\":1,\"id\":\"1\"}", "response \"1\""},
    {"{\"result\":1,\"id\":\"a-b\"}", "response \"a-b\""},
    {"{\"result\":1,\"id\":\"\"}", "response \"\""},
    {"{\"result\":1,\"id\":\"a\\u002db\"}", "response \"a-b\""},
    {"{\"result\":1,\"id\":\"012345678901234567890123456789012345678901234567\"}",
     "response \"012345678901234567890123456789012345678901234567\""},
    {"{\"result\":1,\"id\":\"0123456789012345678901234567890123456789012345678\"}",
     "response none"},
    {"{\"result\":1,\"id\":null}", "unknown"},
    {"{\"result\":1}", "unknown"},
    {"{\"id\":1}", "unknown"},
    {"{\"result\":1,\"\\u0069d\":5}", "response 5"},
    {"{\"res\\u0075lt\":1,\"id\":5}", "response 5"},
    {"{\"result\":1,\"id\":5,\"id\":6}", "response 5"},
    {"{\"result\":1,\"\\u0069d\":5,\"id\":6}", "response 5"},
    {"{\"result\":{\"id\":9},\"id\":5}", "response 5"},
    {"{\"result\":{\"method\":\"subscription\"},\"id\":5}", "response 5"},
    {"{\"result\":\"\\\"id\\\":6\",\"id\":5}", "response 5"},
    {" { \"result\" : 1 , \"id\" : 5 } ", "response 5"},
    /* errors */
    {"{\"id\":1,\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}",
     "response 1 error: Method not found"},
    {"{\"id\":1,\"error\":{\"code\":13,\"message\":\"a \\\"b\\\" \\u20ac\"}}",
     "response 1 error: a \"b\" \xE2\x82\xAC"},
    {"{\"id\":1,\"error\":\"no\"}", "response 1 error: no"},
    {"{\"id\":1,\"error\":{\"code\":7}}", "response 1 error: {\"code\":7}"},
    {"{\"id\":1,\"error\":{\"message\":5}}", "response 1 error: {\"message\":5}"},
    {"{\"id\":1,\"error\":null,\"result\":7}", "response 1"},
    {"{\"id\":1,\"error\":{\"message\":\"x\"},\"result\":7}", "response 1 error: x"},
    {"{\"id\":null,\"error\":{\"code\":-32700,\"message\":\"Parse error\"}}",
     "system error: Parse error"},
    {"{\"error\":{\"message\":\"Going down\"}}", "system error: Going down"},
    {"{\"id\":-7,\"error\":{\"message\":\"x\"}}", "response none error: x"},
    {"{\"id\":1,\"error\":null}", "unknown"},
    /* updates */
    {"{\"method\":\"subscription\",\"params\":{\"channel\":\"trades.BTC\",\"data\":{"
     "\"channel\":\"x\"}}}", "update trades.BTC"},
    {"{\"params\":{\"data\":[1,2],\"channel\":\"trades.BTC\"},\"method\":\"subscription\"}",
     "update trades.BTC"},
    {"{\"method\":\"subscription\",\"params\":{\"channel\":\"trades\\/BTC\"}}",
     "update trades/BTC"},
    {"{\"method\":\"subscr\\u0069ption\",\"params\":{\"ch\\u0061nnel\":\"t\"}}", "update t"},
    {"{\"method\":\"subscription\",\"params\":{\"channel\":\"a\",\"channel\":\"b\"}}", "update a"},
    {"{\"method\":\"subscription\",\"params\":{\"x\":1},\"params\":{\"channel\":\"b\"}}",
     "unknown"},
    {"{\"method\":\"subscription\",\"params\":{\"channel\":\"t\"},\"id\":4}", "update t"},
    {"{\"method\":\"subscription\",\"params\":{\"channel\":\"t\"},\"result\":1,\"id\":4}",
     "update t"},
    {"{\"method\":\"subscription\",\"params\":{\"channel\":5}}", "unknown"},
    {"{\"method\":\"subscription\",\"params\":{\"channel\":null}}", "unknown"},
    {"{\"method\":\"subscription\",\"params\":[{\"channel\":\"t\"}]}", "unknown"},
    {"{\"method\":\"subscription\",\"channel\":\"t\"}", "unknown"},
    {"{\"method\":\"subscription\"}", "unknown"},
    {"{\"method\":[\"subscription\"],\"params\":{\"channel\":\"t\"}}", "unknown"},
    {"{\"method\":null,\"params\":{\"channel\":\"t\"}}", "unknown"},
    /* the session */
    {"{\"method\":\"heartbeat\",\"params\":{\"type\":\"test_request\"}}", "control ping"},
    {"{\"method\":\"heartbeat\",\"params\":{\"type\":\"heartbeat\"}}", "control"},
    {"{\"method\":\"heartbeat\"}", "control"},
    {"{\"method\":\"heartbeat2\",\"params\":{\"type\":\"test_request\"}}", "system"},
    {"{\"method\":\"announcement\",\"params\":{\"type\":\"test_request\"}}", "system"},
    {"{\"method\":\"ask\",\"params\":{},\"id\":1}", "system"},
    {"{\"method\":\"\"}", "system"},
    /* neither */
    {"{}", "unknown"}, {"[]", "unknown"}, {"", "unknown"}, {"null", "unknown"}, {"5", "unknown"},
    {"\"x\"", "unknown"},
    {"[{\"id\":1,\"result\":1}]", "unknown"},
    {"{\"id\":1,\"result\":1}x", "unknown"},
    {"{\"id\":1,\"result\":1}{\"id\":2,\"result\":1}", "unknown"},
    {"{\"id\":1,\"result\":1", "unknown"},
    {"{\"id\":1,\"result\":01}", "unknown"},
    {"{\"id\":1,\"result\":\"\xFF\"}", "unknown"},
    {"{\"id\":1,\"result\":\"\xC3\xA9\"}", "response 1"},
    {"{\"id\":1,'result':1}", "unknown"},
    {"ping", "unknown"},
};
/* clang-format on */

static void test_classify_when_any_message_then_to_its_place(void **state)
{
    (void)state;
    bed_check(hpx_protocol_json_rpc(), rows, COUNT_OF(rows));
}

static void test_classify_when_cut_then_unknown(void **state)
{
    (void)state;
    const hpx_protocol *protocol = hpx_protocol_json_rpc();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t whole = strlen(rows[i].text);
        while (whole != 0 && rows[i].text[whole - 1] != '}') {
            whole--;
        }
        for (size_t size = 0; size < whole; size++) {
            const char *said = bed_classify(protocol, rows[i].text, size);
            /* "{...}{...}" is whole in the middle */
            if (strcmp(said, "unknown") != 0 && strchr(rows[i].text, '{') == rows[i].text &&
                strstr(rows[i].text, "}{") == NULL) {
                fail_msg("%.*s is %s", (int)size, rows[i].text, said);
            }
        }
    }
}

static void test_classify_when_deep_then_unknown_and_alive(void **state)
{
    (void)state;
    enum { LEVELS = 1000000 };
    char *text = malloc(2 * LEVELS + 64);
    assert_non_null(text);
    size_t size = (size_t)sprintf(text, "{\"id\":1,\"result\":");
    memset(text + size, '[', LEVELS);
    memset(text + size + LEVELS, ']', LEVELS);
    size += 2 * LEVELS;
    text[size++] = '}';
    assert_string_equal(bed_classify(hpx_protocol_json_rpc(), text, size), "unknown");
    size = (size_t)sprintf(text, "{\"id\":1,\"result\":");
    memset(text + size, '[', HPXI_JSON_DEPTH_MAX - 1);
    memset(text + size + HPXI_JSON_DEPTH_MAX - 1, ']', HPXI_JSON_DEPTH_MAX - 1);
    size += 2 * (HPXI_JSON_DEPTH_MAX - 1);
    text[size++] = '}';
    assert_string_equal(bed_classify(hpx_protocol_json_rpc(), text, size), "response 1");
    free(text);
}

static void test_classify_when_topic_is_long_then_as_it_stands(void **state)
{
    (void)state;
    char text[1200] = "{\"method\":\"subscription\",\"params\":{\"channel\":\"";
    size_t size = strlen(text);
    memset(text + size, 'x', 1000);
    sprintf(text + size + 1000, "\"}}");
    hpx_classified said = {0};
    const hpx_protocol *protocol = hpx_protocol_json_rpc();
    protocol->classify(protocol->ctx, hpx_span_of(text), &said);
    assert_int_equal(said.message_class, HPX_CLASS_UPDATE);
    assert_ptr_equal(said.topic.data, text + size); /* no copy where nothing is escaped */
    assert_int_equal(said.topic.size, 1000);
    memcpy(text + size, "\\/", 2);
    said = (hpx_classified){0};
    protocol->classify(protocol->ctx, hpx_span_of(text), &said);
    assert_ptr_equal(said.topic.data, text + size);
    assert_int_equal(said.topic.size, 1000);
}

static void test_build_when_defaults_then_deribits_shape(void **state)
{
    (void)state;
    const hpx_protocol *protocol = hpx_protocol_json_rpc();
    assert_int_equal(protocol->size, sizeof(hpx_protocol));
    assert_int_equal(protocol->flags, HPX_PROTOCOL_ACKNOWLEDGES);
    assert_string_equal(protocol->name, "json-rpc");
    assert_null(protocol->build_auth);
    assert_null(protocol->build_on_connect);
    assert_null(protocol->decode_binary);
    assert_string_equal(
        bed_subscribe(protocol, 2, "trades.BTC-USD"),
        "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"public/subscribe\","
        "\"params\":{\"channels\":[\"trades.BTC-USD\"]}}");
    assert_string_equal(
        bed_unsubscribe(protocol, UINT64_MAX, "a b\"c \\d"),
        "{\"jsonrpc\":\"2.0\",\"id\":18446744073709551615,\"method\":\"public/unsubscribe\","
        "\"params\":{\"channels\":[\"a\",\"b\\\"c\",\"\\\\d\"]}}");
    const char *ping = "{\"jsonrpc\":\"2.0\",\"id\":4,\"method\":\"public/test\",\"params\":{}}";
    assert_string_equal(bed_ping(protocol, 4), ping);
    assert_string_equal(bed_pong(protocol, "{}", 4), ping);
    assert_ptr_equal(hpx_protocol_json_rpc(), protocol);
}

static void test_writer_when_any_byte_then_json_says_it(void **state)
{
    (void)state;
    uint8_t all[128];
    uint8_t out[1024];
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (uint8_t)i;
    }
    hpx_writer writer = {.data = out, .capacity = sizeof(out)};
    hpx_writer_json_string(&writer, (hpx_span){.data = all, .size = sizeof(all)});
    assert_false(writer.overflow);
    hpxi_json_paths none;
    hpxi_json_found found;
    hpxi_json_paths_init(&none);
    const hpx_span text = {.data = out, .size = writer.size};
    assert_int_equal(hpxi_json_scan(&none, text, &found), HPXI_JSON_OK);
    assert_true(hpxi_json_is_text(found.root, (hpx_span){.data = all, .size = sizeof(all)}));
    writer = (hpx_writer){.data = out, .capacity = sizeof(out)};
    hpx_writer_json_string(&writer, hpx_span_of("\x01\b\"/\xC3\xA9"));
    assert_int_equal(writer.size, 15);
    assert_memory_equal(out, "\"\\u0001\\b\\\"/\xC3\xA9\"", 15);
    writer = (hpx_writer){.data = out, .capacity = 3};
    hpx_writer_u64(&writer, 100);
    assert_int_equal(writer.size, 3);
    hpx_writer_u64(&writer, 0);
    assert_true(writer.overflow);
}

static void test_build_when_too_long_then_overflow_is_told(void **state)
{
    (void)state;
    const hpx_protocol *protocol = hpx_protocol_json_rpc();
    const hpx_span topics[] = {hpx_span_of("abc"), hpx_span_of("def")};
    const size_t whole = strlen(bed_subscribe(protocol, 1, "abc def"));
    uint8_t out[256];
    for (size_t capacity = 0; capacity <= whole; capacity++) {
        hpx_writer writer = {.data = out, .capacity = capacity};
        assert_int_equal(protocol->build_subscribe(protocol->ctx, 1, topics, 2, &writer), 1);
        assert_int_equal(writer.overflow, capacity < whole);
        assert_true(writer.size <= capacity);
    }
}

typedef struct inject_row {
    const char *payload;
    const char *injected;
} inject_row;

/* clang-format off */
static const inject_row inject_rows[] = {
    {"{}", "{\"id\":7}"}, {"{ }", "{\"id\":7 }"}, {" {} ", " {\"id\":7} "},
    {"{\n\t}", "{\"id\":7\n\t}"},
    {"{\"method\":\"m\"}", "{\"id\":7,\"method\":\"m\"}"},
    {" { \"method\":\"m\"} ", " {\"id\":7, \"method\":\"m\"} "},
    {"{\"id\":1}", "{\"id\":7}"}, {"{\"id\" : 1 }", "{\"id\" : 7 }"},
    {"{\"id\":null}", "{\"id\":7}"},
    {"{\"id\":\"x\"}", "{\"id\":7}"}, {"{\"id\":\"\"}", "{\"id\":7}"},
    {"{\"id\":\"x\\\"y\"}", "{\"id\":7}"},
    {"{\"id\":[1,{}]}", "{\"id\":7}"}, {"{\"id\":{\"a\":1},\"b\":2}", "{\"id\":7,\"b\":2}"},
    {"{\"id\":-1.5e3,\"b\":2}", "{\"id\":7,\"b\":2}"}, {"{\"id\":true}", "{\"id\":7}"},
    {"{\"\\u0069d\":1}", "{\"\\u0069d\":7}"},
    {"{\"params\":{\"id\":1}}", "{\"id\":7,\"params\":{\"id\":1}}"},
    {"{\"a\":\"id\"}", "{\"id\":7,\"a\":\"id\"}"},
    {"[]", "-4101"}, {"", "-4101"}, {"x", "-4101"}, {"\"{}\"", "-4101"}, {"1", "-4101"},
    {"null", "-4101"},
    {"{\"a\":1", "-4101"}, {"{\"a\":1}}", "-4101"}, {"[{\"id\":1}]", "-4101"},
    {"{\"a\":\"\xFF\"}", "-4101"},
    {"{\"id\":1,\"id\":2}", "-4101"}, {"{\"id\":1,\"\\u0069d\":2}", "-4101"},
};
/* clang-format on */

static void test_inject_when_object_then_its_id_is_ours(void **state)
{
    (void)state;
    const hpx_protocol *protocol = hpx_protocol_json_rpc();
    for (size_t i = 0; i < COUNT_OF(inject_rows); i++) {
        const char *injected = bed_inject(protocol, inject_rows[i].payload, 7);
        if (strcmp(injected, inject_rows[i].injected) != 0) {
            fail_msg("%s: %s", inject_rows[i].payload, injected);
        }
    }
    assert_string_equal(
        bed_inject(protocol, "{\"a\":1}", UINT64_MAX), "{\"id\":18446744073709551615,\"a\":1}");
}

static void check_result(const char *response, const char *topics, const char *accepted)
{
    const hpx_protocol *protocol = hpx_protocol_json_rpc();
    hpx_span spans[8];
    bool out[8];
    uint32_t count = 0;
    for (const char *at = topics; *at != '\0'; at++) {
        spans[count++] = (hpx_span){.data = (const uint8_t *)at, .size = 1};
    }
    for (uint32_t i = 0; i < count; i++) {
        out[i] = (i & 1) != 0; /* whatever was there */
    }
    protocol->subscription_result(protocol->ctx, hpx_span_of(response), spans, count, out);
    for (uint32_t i = 0; i < count; i++) {
        if (out[i] != (accepted[i] == 'y')) {
            fail_msg("%s: topic %c", response, topics[i]);
        }
    }
}

static void test_result_when_some_topics_are_listed_then_only_those(void **state)
{
    (void)state;
    check_result("{\"id\":1,\"result\":[\"a\",\"b\",\"c\"]}", "abc", "yyy");
    check_result("{\"id\":1,\"result\":[\"c\",\"a\"]}", "abc", "yny");
    check_result("{\"id\":1,\"result\":[]}", "abc", "nnn");
    check_result(
        "{\"id\":1,\"result\":[ \"x\" , \"\\u0062\" ,5,null,[\"a\"],{\"c\":1}]}", "abc", "nyn");
    check_result("{\"id\":1,\"result\":[\"b\",\"b\",\"b\"]}", "abc", "nyn");
    check_result("{\"id\":1,\"result\":\"ok\"}", "abc", "yyy");
    check_result("{\"id\":1,\"result\":null}", "abc", "yyy");
    check_result("{\"id\":1}", "abc", "yyy");
    check_result("not JSON", "abc", "nnn");
}

static hpx_status build_signed(void *ctx, uint64_t id, hpx_writer *out)
{
    hpx_writer_text(out, ctx);
    hpx_writer_u64(out, id);
    return 1;
}

static void test_new_when_every_setting_is_another_then_all_of_them_count(void **state)
{
    (void)state;
    static const char *const on_connect[] = {
        "{\"method\":\"hello\"}", "{\"method\":\"mine\",\"id\":\"x\"}", "{}"};
    char topic_field[] = "info.name";
    hpx_json_rpc_config config = HPX_JSON_RPC_CONFIG_INIT;
    config.auth_method = "login";
    config.auth_params = "{\"key\":\"k\"}";
    config.subscribe_method = "sub";
    config.unsubscribe_method = "unsub";
    config.topics_field = "top\"ics";
    config.update_method = "data";
    config.update_topic_field = topic_field;
    config.heartbeat_method = "beat";
    config.heartbeat_type = "now";
    config.ping_method = "ping";
    config.reconnect_method = "leave";
    config.on_connect = on_connect;
    config.on_connect_count = 3;
    hpx_protocol *protocol = NULL;
    hpx_error error = {0};
    assert_int_equal(hpx_protocol_json_rpc_new(&protocol, &config, &error), HPX_OK);
    memset(topic_field, 'x', sizeof(topic_field) - 1); /* it was copied */
    static const bed_row other[] = {
        {"{\"method\":\"data\",\"params\":{\"info\":{\"name\":\"t\"}}}", "update t"},
        {"{\"method\":\"subscription\",\"params\":{\"channel\":\"t\"}}", "system"},
        {"{\"method\":\"beat\",\"params\":{\"type\":\"now\"}}", "control ping"},
        {"{\"method\":\"leave\"}", "system reconnect"},
        {"{\"id\":1,\"result\":1}", "response 1"},
    };
    bed_check(protocol, other, COUNT_OF(other));
    assert_string_equal(
        bed_auth(protocol, 9),
        "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"login\",\"params\":{\"key\":\"k\"}}");
    assert_string_equal(
        bed_subscribe(protocol, 9, "a"),
        "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"sub\",\"params\":{\"top\\\"ics\":[\"a\"]}}");
    assert_string_equal(
        bed_unsubscribe(protocol, 9, "a"),
        "{\"jsonrpc\":\"2.0\",\"id\":9,\"method\":\"unsub\",\"params\":{\"top\\\"ics\":[\"a\"]}}");
    assert_string_equal(bed_on_connect(protocol, 0, 5), "{\"id\":5,\"method\":\"hello\"}");
    assert_string_equal(bed_on_connect(protocol, 1, 5), on_connect[1]);
    assert_string_equal(bed_on_connect(protocol, 2, 5), "{\"id\":5}");
    assert_string_equal(bed_on_connect(protocol, 3, 5), "");
    hpx_protocol_free(protocol);

    config = (hpx_json_rpc_config)HPX_JSON_RPC_CONFIG_INIT;
    char sign[] = "signed ";
    config.build_auth = build_signed;
    config.build_auth_ctx = sign;
    config.ping_method = "";
    config.heartbeat_method = "";
    assert_int_equal(hpx_protocol_json_rpc_new(&protocol, &config, NULL), HPX_OK);
    assert_string_equal(bed_auth(protocol, 3), "signed 3");
    assert_null(protocol->build_ping);
    assert_null(protocol->build_pong);
    assert_string_equal(bed_classify(protocol, "{\"method\":\"\"}", 13), "system");
    hpx_protocol_free(protocol);
}

static void check_refused(const hpx_json_rpc_config *config, const char *detail)
{
    hpx_protocol *protocol = NULL;
    hpx_error error = {0};
    assert_int_equal(hpx_protocol_json_rpc_new(&protocol, config, &error), HPX_E_INVALID);
    assert_null(protocol);
    assert_int_equal(error.stage, HPX_STAGE_CONFIG);
    assert_string_equal(error.detail, detail);
    assert_int_equal(hpx_protocol_json_rpc_new(&protocol, config, NULL), HPX_E_INVALID);
}

static void test_new_when_config_is_bad_then_the_member_is_named(void **state)
{
    (void)state;
    const hpx_json_rpc_config good = HPX_JSON_RPC_CONFIG_INIT;
    static const char *const texts[] = {"{}", "[]"};
    static const char *const twice[] = {"{\"id\":1,\"id\":2}"};
    static const char *const missing[] = {"{}", NULL};
    hpx_json_rpc_config config = good;
    check_refused(NULL, "config: NULL or without its size; use the INIT macro");
    config.size = 0;
    check_refused(&config, "config: NULL or without its size; use the INIT macro");
    config = good;
    config.flags = 1;
    check_refused(&config, "flags: must be 0");
    config = good;
    config.auth_params = "[1]";
    check_refused(&config, "auth_params: not a JSON object");
    config.auth_params = "{";
    check_refused(&config, "auth_params: not a JSON object");
    config = good;
    config.subscribe_method = "";
    check_refused(&config, "subscribe_method: empty");
    config = good;
    config.update_topic_field = "a..b";
    check_refused(&config, "update_topic_field: not a path of 1 to 7 keys");
    config.update_topic_field = "a.b.c.d.e.f.g.h";
    check_refused(&config, "update_topic_field: not a path of 1 to 7 keys");
    config = good;
    config.on_connect_count = 17;
    check_refused(&config, "on_connect_count: more than 16");
    config.on_connect_count = 1;
    check_refused(&config, "on_connect: NULL, but on_connect_count is not 0");
    config.on_connect = missing;
    config.on_connect_count = 2;
    check_refused(&config, "on_connect: one of the messages is NULL");
    config.on_connect = texts;
    check_refused(&config, "on_connect: one of the messages is no JSON object, or has two ids");
    config.on_connect = twice;
    config.on_connect_count = 1;
    check_refused(&config, "on_connect: one of the messages is no JSON object, or has two ids");
}

static void test_new_when_config_is_of_an_older_version_then_the_rest_is_default(void **state)
{
    (void)state;
    hpx_json_rpc_config config = HPX_JSON_RPC_CONFIG_INIT;
    config.size = offsetof(hpx_json_rpc_config, auth_params);
    config.auth_params = "beyond what the program knew of";
    hpx_protocol *protocol = NULL;
    assert_int_equal(hpx_protocol_json_rpc_new(&protocol, &config, NULL), HPX_OK);
    assert_null(protocol->build_auth);
    hpx_protocol_free(protocol);
}

static void scenario_new(hpx_allocator allocator, bool expect_success)
{
    static const char *const on_connect[] = {"{}"};
    hpx_json_rpc_config config = HPX_JSON_RPC_CONFIG_INIT;
    config.on_connect = on_connect;
    config.on_connect_count = 1;
    hpx_protocol *protocol = NULL;
    hpx_error error = {0};
    const hpx_status status = hpxi_protocol_json_rpc_new(&protocol, &config, &allocator, &error);
    assert_int_equal(status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    assert_int_equal(error.status, status);
    if (protocol != NULL) {
        protocol->retain(protocol->ctx); /* a connection */
        const hpx_protocol table = *protocol;
        hpx_protocol_free(protocol);
        hpx_classified said = {0};
        table.classify(table.ctx, hpx_span_of("{\"id\":1,\"result\":1}"), &said);
        assert_int_equal(said.message_class, HPX_CLASS_RESPONSE);
        table.release(table.ctx);
    }
}

static void test_free_when_connections_hold_it_then_it_lives_until_the_last(void **state)
{
    (void)state;
    fa_exhaust(scenario_new);
    hpx_protocol_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classify_when_any_message_then_to_its_place),
        cmocka_unit_test(test_classify_when_cut_then_unknown),
        cmocka_unit_test(test_classify_when_deep_then_unknown_and_alive),
        cmocka_unit_test(test_classify_when_topic_is_long_then_as_it_stands),
        cmocka_unit_test(test_build_when_defaults_then_deribits_shape),
        cmocka_unit_test(test_writer_when_any_byte_then_json_says_it),
        cmocka_unit_test(test_build_when_too_long_then_overflow_is_told),
        cmocka_unit_test(test_inject_when_object_then_its_id_is_ours),
        cmocka_unit_test(test_result_when_some_topics_are_listed_then_only_those),
        cmocka_unit_test(test_new_when_every_setting_is_another_then_all_of_them_count),
        cmocka_unit_test(test_new_when_config_is_bad_then_the_member_is_named),
        cmocka_unit_test(test_new_when_config_is_of_an_older_version_then_the_rest_is_default),
        cmocka_unit_test(test_free_when_connections_hold_it_then_it_lives_until_the_last),
    };
    return cmocka_run_group_tests_name("engine/protocol_json_rpc", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    The generic JSON dialect does what its rules and templates say, and says what is wrong
 *         with those that make no sense.
 * Method  Tables of messages for one dialect that uses every member, and for the defaults; what
 *         templates write; the refused configurations and their words.
 */
#include <stdio.h>

#include "engine/protocol.h"
#include "tests/engine/dialect_bed.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

static hpx_protocol *make(const hpx_json_config *config)
{
    hpx_protocol *protocol = NULL;
    hpx_error error = {0};
    if (hpx_protocol_json_new(&protocol, config, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    return protocol;
}

/* clang-format off */
static const bed_row default_rows[] = {
    {"ping", "control ping"}, {"pong", "control pong"}, {"pin", "unknown"}, {"ping ", "unknown"},
    {"\"ping\"", "unknown"},
    {"{\"id\":1}", "response 1"},
    {"{\"id\":1,\"error\":{\"message\":\"no\"}}", "response 1 error: no"},
    {"{\"id\":1,\"error\":null}", "response 1"}, {"{\"id\":1,\"error\":false}", "response 1 error"},
    {"{\"id\":\"1\"}", "response \"1\""}, {"{\"id\":-1}", "response none"},
    {"{\"id\":null}", "unknown"},
    {"{\"id\":1,\"topic\":\"t\"}", "response 1"},
    {"{\"topic\":\"t\",\"data\":1}", "update t"}, {"{\"topic\":17}", "update 17"},
    {"{\"topic\":\"\"}", "unknown"},
    {"{\"topic\":null}", "unknown"}, {"{\"topic\":\"a\\/b\"}", "update a/b"},
    {"{\"topic\":{\"channel\":\"x\", \"n\":1}}", "update {\"channel\":\"x\", \"n\":1}"},
    {"{\"topic\":\"t\",\"error\":{\"message\":\"no\"}}", "system error: no"},
    {"{\"error\":{\"message\":\"no\"}}", "system error: no"},
    {"{\"data\":{\"topic\":\"t\",\"id\":1}}", "unknown"},
    {"{\"t\\u006fpic\":\"t\"}", "update t"}, {"{\"topic\":\"a\",\"topic\":\"b\"}", "update a"},
    {"", "unknown"}, {"[]", "unknown"}, {"{", "unknown"}, {"{\"topic\":\"t\"}}", "unknown"},
    {"{\"topic\":\"\xFF\"}", "unknown"},
};
/* clang-format on */

static void test_defaults_when_any_message_then_to_its_place(void **state)
{
    (void)state;
    const hpx_json_config config = HPX_JSON_CONFIG_INIT;
    hpx_protocol *protocol = make(&config);
    bed_check(protocol, default_rows, COUNT_OF(default_rows));
    assert_int_equal(protocol->flags, 0);
    assert_string_equal(protocol->name, "json");
    assert_null(protocol->build_auth);
    assert_null(protocol->build_ping);
    assert_null(protocol->build_on_connect);
    assert_string_equal(
        bed_subscribe(protocol, 3, "a b\"c"),
        "{\"op\":\"subscribe\",\"args\":[\"a\",\"b\\\"c\"],\"id\":3}");
    assert_string_equal(
        bed_unsubscribe(protocol, 3, "a"), "{\"op\":\"unsubscribe\",\"args\":[\"a\"],\"id\":3}");
    assert_string_equal(bed_pong(protocol, "ping", 3), "pong");
    assert_string_equal(bed_inject(protocol, "{\"op\":\"x\"}", 3), "{\"id\":3,\"op\":\"x\"}");
    hpx_protocol_free(protocol);
}

/* Every rule; messages that match several, to see the order. */
static hpx_json_config full_config(void)
{
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.id_field = "req|meta.req";
    config.topic_field = "topic|arg.0.topic";
    config.update_rule = "data|kind=update";
    config.response_rule = "kind=answer|kind=reply&final=true";
    config.error_rule = "ok=false|code=500";
    config.reason_field = "msg|error.text";
    config.system_rule = "kind=notice";
    config.reconnect_rule = "kind=notice&code=64";
    config.auth_ok_rule = "kind=login&ok=true";
    config.auth_failed_rule = "kind=login&ok=false";
    config.acknowledges = true;
    config.subscribed_rule = "kind=sub&ok=true";
    config.unsubscribed_rule = "kind=unsub";
    config.refused_rule = "kind=sub&ok=false";
    config.ping_rule = "ping";
    config.ping_text = "?";
    config.ping_value_field = "ping";
    config.pong = "{\"pong\":${ping}}";
    config.pong_rule = "pong";
    config.pong_text = "!";
    return config;
}

/* clang-format off */
static const bed_row full_rows[] = {
    {"?", "control ping"}, {"!", "control pong"}, {"ping", "unknown"}, {"pong", "unknown"},
    {"{\"ping\":1,\"kind\":\"login\",\"ok\":true}", "control ping"}, {"{\"ping\":null}", "unknown"},
    {"{\"pong\":{}}", "control pong"},
    {"{\"kind\":\"notice\",\"code\":64,\"msg\":\"bye\"}", "system reconnect: bye"},
    {"{\"kind\":\"notice\",\"code\":\"64\"}", "system reconnect"},
    {"{\"kind\":\"notice\",\"code\":64.0,\"msg\":\"bye\"}", "system: bye"},
    {"{\"kind\":\"notice\",\"topic\":\"t\",\"data\":1}", "system"},
    {"{\"kind\":\"login\",\"ok\":true,\"req\":1}", "control auth-ok"},
    {"{\"kind\":\"login\",\"ok\":false,\"error\":{\"text\":\"key\"}}", "control auth-failed: key"},
    {"{\"kind\":\"login\",\"ok\":\"false\",\"msg\":\"\"}", "control auth-failed"},
    {"{\"kind\":\"login\",\"ok\":null}", "unknown"},
    {"{\"kind\":\"sub\",\"ok\":true,\"topic\":\"t\"}", "control subscribed t"},
    {"{\"kind\":\"sub\",\"ok\":true,\"arg\":[{\"topic\":\"t\"}]}", "control subscribed t"},
    {"{\"kind\":\"sub\",\"ok\":true,\"topic\":null,\"arg\":[{\"topic\":\"t\"}]}",
     "control subscribed t"},
    {"{\"kind\":\"sub\",\"ok\":true}", "unknown"},
    {"{\"kind\":\"unsub\",\"topic\":\"t\"}", "control unsubscribed t"},
    {"{\"kind\":\"sub\",\"ok\":false,\"topic\":\"t\",\"msg\":\"limit\"}",
     "control refused t: limit"},
    {"{\"kind\":\"sub\",\"ok\":false,\"msg\":\"limit\"}", "system error: limit"},
    {"{\"data\":[],\"topic\":\"t\"}", "update t"}, {"{\"data\":null,\"topic\":\"t\"}", "unknown"},
    {"{\"kind\":\"update\",\"topic\":\"t\",\"req\":5}", "update t"},
    {"{\"kind\":\"update\"}", "unknown"},
    {"{\"kind\":\"answer\",\"req\":5}", "response 5"},
    {"{\"kind\":\"answer\",\"meta\":{\"req\":6}}", "response 6"},
    {"{\"kind\":\"reply\",\"req\":5}", "unknown"},
    {"{\"kind\":\"reply\",\"req\":5,\"final\":true}", "response 5"},
    {"{\"kind\":\"answer\",\"req\":5,\"ok\":false,\"msg\":\"no\"}", "response 5 error: no"},
    {"{\"kind\":\"answer\",\"req\":5,\"code\":500}", "response 5 error"},
    {"{\"req\":5}", "unknown"},
    {"{\"code\":500,\"msg\":\"x\"}", "system error: x"}, {"{\"topic\":\"t\"}", "unknown"},
    {"{\"kind\":[\"notice\"]}", "unknown"}, {"{\"kind\":{\"notice\":1}}", "unknown"},
    {"{\"k\\u0069nd\":\"not\\u0069ce\"}", "system"},
    {"{\"kind\":\"answer\",\"kind\":\"notice\",\"req\":1}", "response 1"},
};
/* clang-format on */

static void test_rules_when_several_match_then_the_documented_order_decides(void **state)
{
    (void)state;
    const hpx_json_config config = full_config();
    hpx_protocol *protocol = make(&config);
    bed_check(protocol, full_rows, COUNT_OF(full_rows));
    assert_int_equal(protocol->flags, HPX_PROTOCOL_ACKNOWLEDGES);
    assert_string_equal(
        bed_pong(protocol, "{\"ping\":1492420473027}", 1), "{\"pong\":1492420473027}");
    assert_string_equal(bed_pong(protocol, "{\"ping\":\"a\\\"b\"}", 1), "{\"pong\":\"a\\\"b\"}");
    assert_string_equal(bed_pong(protocol, "{\"ping\":[1, 2]}", 1), "{\"pong\":[1, 2]}");
    assert_string_equal(bed_pong(protocol, "?", 1), "{\"pong\":null}");
    assert_string_equal(bed_inject(protocol, "{\"meta\":{}}", 1), "{\"req\":1,\"meta\":{}}");
    hpx_protocol_free(protocol);
}

static void test_classify_when_cut_then_unknown(void **state)
{
    (void)state;
    const hpx_json_config config = full_config();
    hpx_protocol *protocol = make(&config);
    for (size_t i = 0; i < COUNT_OF(full_rows); i++) {
        const size_t whole = strlen(full_rows[i].text);
        for (size_t size = 1; size < whole; size++) {
            assert_string_equal(bed_classify(protocol, full_rows[i].text, size), "unknown");
        }
    }
    hpx_protocol_free(protocol);
}

static void test_ids_when_strings_of_digits_then_numbers_to_the_driver(void **state)
{
    (void)state;
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    char id_field[] = "meta.req_id";
    config.id_is_string = true;
    config.id_field = id_field;
    config.auth = "{\"op\":\"auth\",\"id\":${id}}";
    config.ping = "{\"op\":\"ping\",\"id\":${id}}";
    hpx_protocol *protocol = make(&config);
    memset(id_field, 'x', sizeof(id_field) - 1); /* it was copied */
    static const bed_row rows[] = {
        {"{\"meta\":{\"req_id\":\"7\"}}", "response 7"},
        {"{\"meta\":{\"req_id\":\"\\u0037\"}}", "response 7"},
        {"{\"meta\":{\"req_id\":7}}", "response 7"},
        {"{\"meta\":{\"req_id\":\"07\"}}", "response \"07\""},
        {"{\"meta\":{\"req_id\":\"x\"}}", "response \"x\""},
        {"{\"meta\":{\"req_id\":\"18446744073709551616\"}}", "response \"18446744073709551616\""},
        {"{\"meta\":{}}", "unknown"},
    };
    bed_check(protocol, rows, COUNT_OF(rows));
    assert_string_equal(bed_auth(protocol, 5), "{\"op\":\"auth\",\"id\":\"5\"}");
    assert_string_equal(bed_ping(protocol, 5), "{\"op\":\"ping\",\"id\":\"5\"}");
    static const char *const injected[][2] = {
        {"{}", "{\"meta\":{\"req_id\":\"5\"}}"},
        {"{\"a\":1}", "{\"meta\":{\"req_id\":\"5\"},\"a\":1}"},
        {"{\"a\":1,\"meta\":{}}", "{\"a\":1,\"meta\":{\"req_id\":\"5\"}}"},
        {"{\"meta\":{ \"b\":2}}", "{\"meta\":{\"req_id\":\"5\", \"b\":2}}"},
        {"{\"meta\":{\"req_id\":null}}", "{\"meta\":{\"req_id\":\"5\"}}"},
        {"{\"meta\":{\"req_id\":\"abc\"}}", "{\"meta\":{\"req_id\":\"5\"}}"},
        {"{\"meta\":1}", "-4101"},
        {"{\"meta\":null}", "-4101"},
        {"{\"meta\":[]}", "-4101"},
        {"{\"meta\":{},\"meta\":{}}", "-4101"},
        {"[]", "-4101"},
    };
    for (size_t i = 0; i < COUNT_OF(injected); i++) {
        assert_string_equal(bed_inject(protocol, injected[i][0], 5), injected[i][1]);
    }
    hpx_protocol_free(protocol);
}

typedef struct template_row {
    const char *subscribe;
    const char *topics;
    const char *written;
} template_row;

/* clang-format off */
static const template_row template_rows[] = {
    {"{\"a\":${topics}}", "x y", "{\"a\":[\"x\",\"y\"]}"},
    {"{\"a\":${topics:{\"c\":${topic}}}}", "x y", "{\"a\":[{\"c\":\"x\"},{\"c\":\"y\"}]}"},
    {"{\"a\":${topics:{\"c\":{\"}\":${topic}}}}}", "x", "{\"a\":[{\"c\":{\"}\":\"x\"}}]}"},
    {"{\"a\":${topics:\"t.${topic:raw}.{\"},\"id\":${id}}", "x y",
     "{\"a\":[\"t.x.{\",\"t.y.{\"],\"id\":9}"},
    {"{\"a\":${topics:\"\\\"}${topic:raw}\"}}", "x", "{\"a\":[\"\\\"}x\"]}"},
    {"{\"a\":${topics:${topic:raw}}}", "{\"c\":1} {\"c\":2}", "{\"a\":[{\"c\":1},{\"c\":2}]}"},
    {"{\"a\":${topics:[${topic},${id}]}}", "x", "{\"a\":[[\"x\",9]]}"},
    {"{\"a\":${topic}}", "x", "{\"a\":\"x\"}"},
    {"{\"a\":\"t:${topic:raw}\"}", "x", "{\"a\":\"t:x\"}"},
    {"{\"a\":${topic}}", "x y", "-4205"}, /* then the driver asks for one */
    {"{\"a\":${topics},\"b\":${topics}}", "x", "{\"a\":[\"x\"],\"b\":[\"x\"]}"},
    {"SUB ${topic:raw} $ {x} $$ ${id}", "x", "SUB x $ {x} $$ 9"},
    {"${topics}", "x", "[\"x\"]"},
};
/* clang-format on */

static void test_templates_when_filled_in_then_written_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(template_rows); i++) {
        hpx_json_config config = HPX_JSON_CONFIG_INIT;
        config.subscribe = template_rows[i].subscribe;
        hpx_protocol *protocol = make(&config);
        const char *written = bed_subscribe(protocol, 9, template_rows[i].topics);
        if (strcmp(written, template_rows[i].written) != 0) {
            fail_msg("%s: %s", template_rows[i].subscribe, written);
        }
        hpx_protocol_free(protocol);
    }
}

static hpx_status build_signed(void *ctx, uint64_t id, hpx_writer *out)
{
    ++*(int *)ctx;
    hpx_writer_u64(out, id);
    return 1;
}

static void test_auth_and_on_connect_when_set_then_written_so(void **state)
{
    (void)state;
    static const char *const on_connect[] = {"{\"hello\":${id}}", "hi"};
    int calls = 0;
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.on_connect = on_connect;
    config.on_connect_count = 2;
    config.auth = "login";
    hpx_protocol *protocol = make(&config);
    assert_string_equal(bed_on_connect(protocol, 0, 1), "{\"hello\":1}");
    assert_string_equal(bed_on_connect(protocol, 1, 2), "hi");
    assert_string_equal(bed_on_connect(protocol, 2, 3), "");
    assert_string_equal(bed_auth(protocol, 3), "login");
    hpx_protocol_free(protocol);
    config.build_auth = build_signed;
    config.build_auth_ctx = &calls;
    protocol = make(&config);
    assert_string_equal(bed_auth(protocol, 3), "3");
    assert_int_equal(calls, 1);
    hpx_protocol_free(protocol);
}

static void check_refused(const hpx_json_config *config, const char *detail)
{
    hpx_protocol *protocol = NULL;
    hpx_error error = {0};
    assert_int_equal(hpx_protocol_json_new(&protocol, config, &error), HPX_E_INVALID);
    assert_null(protocol);
    if (strcmp(error.detail, detail) != 0) {
        fail_msg("%s\n  should be: %s", error.detail, detail);
    }
}

typedef struct bad_row {
    size_t member;
    const char *text;
    const char *detail;
} bad_row;

#define BAD(name, text, what)                                                                      \
    {                                                                                              \
        offsetof(hpx_json_config, name), text, #name ": " what                                     \
    }

/* clang-format off */
static const bad_row bad_rows[] = {
    BAD(id_field, "", "a path or a key of one is empty"),
    BAD(id_field, "a||b", "a path or a key of one is empty"),
    BAD(id_field, "a|b|c|d|e", "more than 4 paths"),
    BAD(id_field, "an_id_field_with_a_name_of_more_than_forty_bytes",
     "more than 64 bytes with an id in it"),
    BAD(topic_field, "a..b", "a path or a key of one is empty"),
    BAD(topic_field, "a.b.c.d.e.f.g.h.i",
     "more than 8 keys in a path, or more than 32 paths or 63 keys in the dialect"),
    BAD(update_rule, "", "a path or a key of one is empty"),
    BAD(update_rule, "=x", "a path or a key of one is empty"),
    BAD(update_rule, "a=x|", "a path or a key of one is empty"),
    BAD(update_rule, "a=x&", "a path or a key of one is empty"),
    BAD(update_rule, "a=x&&b", "a path or a key of one is empty"),
    BAD(system_rule, ".", "a path or a key of one is empty"),
    BAD(error_rule,
     "a=1|a=2|a=3|a=4|a=5|a=6|a=7|a=8|a=9|a=1|a=2|a=3|a=4|a=5|a=6|a=7|a=8|a=9|a=1|a=2"
     "|a=3|a=4|a=5|a=6|a=7|a=8|a=9|"
        "a=1|a=2|a=3|a=4|a=5|a=6|a=7|a=8|a=9|a=1|a=2|a=3|a=4|a=5|a=6|a=7|a=8|a=9|a=1|a=2"
        "|a=3|a=4|a=5|a=6|a=7|a=8|a=9|a=1|a=2|a=3|"
        "a=4|a=5|a=6|a=7|a=8|a=9|a=1|a=2", "more than 64 terms in the rules of the dialect"),
    BAD(subscribe, "", "empty"),
    BAD(subscribe, "{\"a\":1}", "says no topic: needs ${topics} or ${topic}"),
    BAD(subscribe, "{\"a\":${topics}", "begins as JSON but is none once filled in"),
    BAD(subscribe, "{\"a\":\"${topics}\"}", "begins as JSON but is none once filled in"),
    BAD(subscribe, "{\"a\":${topics},\"t\":${ping}}", "a variable that has no meaning here"),
    BAD(subscribe, "{\"a\":${topic",
     "an unknown variable: there are ${id}, ${topics}, ${topic} and ${ping}"),
    BAD(subscribe, "{\"a\":${TOPICS}}",
     "an unknown variable: there are ${id}, ${topics}, ${topic} and ${ping}"),
    BAD(subscribe, "{\"a\":${topics:}}", "nothing between ${topics: and }"),
    BAD(subscribe, "{\"a\":${topics:{\"c\":${topic}}", "no } for ${topics:"),
    BAD(subscribe, "{\"a\":${topics:${topics}}}", "a variable that has no meaning here"),
    BAD(subscribe, "${id}${id}${id}${id}${id}${id}${id}${id}${id}${id}${id}${id}${id}${id}${id}${id"
     "}${id}${id}${id}${id}${id}${id}${id}${id}${topic}", "more than 24 parts"),
    BAD(unsubscribe, "{}", "says no topic: needs ${topics} or ${topic}"),
    BAD(auth, "{\"k\":${topic}}", "a variable that has no meaning here"),
    BAD(auth, "{\"k\":}", "begins as JSON but is none once filled in"),
    BAD(ping, "[", "begins as JSON but is none once filled in"),
    BAD(pong, "{\"pong\":${ping}}", "${ping} needs ping_value_field"),
};
/* clang-format on */

static void test_new_when_config_is_bad_then_the_member_is_named(void **state)
{
    (void)state;
    const hpx_json_config good = HPX_JSON_CONFIG_INIT;
    static const char *const topics[] = {"{\"a\":${topics}}"};
    hpx_json_config config = good;
    check_refused(NULL, "config: NULL or without its size; use the INIT macro");
    config.size = 4;
    check_refused(&config, "config: NULL or without its size; use the INIT macro");
    config = good;
    config.flags = 2;
    check_refused(&config, "flags: must be 0");
    config = good;
    config.on_connect = topics;
    config.on_connect_count = 1;
    check_refused(&config, "on_connect: a variable that has no meaning here");
    config = good;
    config.acknowledges = true;
    config.subscribe = "{\"a\":${topics}}";
    check_refused(&config, "acknowledges: needs ${id} in subscribe, or subscribed_rule");
    for (size_t i = 0; i < COUNT_OF(bad_rows); i++) {
        config = good;
        *(const char **)(void *)((char *)&config + bad_rows[i].member) = bad_rows[i].text;
        check_refused(&config, bad_rows[i].detail);
    }
    static char text[20000];
    memset(text, 'x', sizeof(text) - 1);
    config = good;
    config.auth = text;
    check_refused(&config, "auth: longer than 16384 bytes");
}

static void scenario_new(hpx_allocator allocator, bool expect_success)
{
    const hpx_json_config config = full_config();
    hpx_protocol *protocol = NULL;
    hpx_error error = {0};
    const hpx_status status = hpxi_protocol_json_new(&protocol, &config, &allocator, &error);
    assert_int_equal(status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    hpx_protocol_free(protocol);
}

/* Refused when its memory is taken already. */
static void scenario_bad(hpx_allocator allocator, bool expect_success)
{
    hpx_json_config config = full_config();
    config.subscribe = "{";
    hpx_protocol *protocol = NULL;
    const hpx_status status = hpxi_protocol_json_new(&protocol, &config, &allocator, NULL);
    assert_int_equal(status, expect_success ? HPX_E_INVALID : HPX_E_NO_MEMORY);
    assert_null(protocol);
}

static void test_new_when_memory_ends_then_nothing_is_left(void **state)
{
    (void)state;
    fa_exhaust(scenario_new);
    fa_exhaust(scenario_bad);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults_when_any_message_then_to_its_place),
        cmocka_unit_test(test_rules_when_several_match_then_the_documented_order_decides),
        cmocka_unit_test(test_classify_when_cut_then_unknown),
        cmocka_unit_test(test_ids_when_strings_of_digits_then_numbers_to_the_driver),
        cmocka_unit_test(test_templates_when_filled_in_then_written_so),
        cmocka_unit_test(test_auth_and_on_connect_when_set_then_written_so),
        cmocka_unit_test(test_new_when_config_is_bad_then_the_member_is_named),
        cmocka_unit_test(test_new_when_memory_ends_then_nothing_is_left),
    };
    return cmocka_run_group_tests_name("engine/protocol_json", tests, NULL, NULL);
}

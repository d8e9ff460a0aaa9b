/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Strings say what they say whatever is escaped in them; numbers are whole numbers in
 *         whatever form they are written; elements of arrays come one by one.
 * Method  Tables, and strings escaped in every way that a byte allows.
 */
#include <stdio.h>

#include "engine/json_value.h"
#include "tests/support/test.h"

/* The value of `text`, which must be JSON. */
static hpxi_json_value value_of(const char *text)
{
    hpxi_json_paths paths;
    hpxi_json_found found;
    hpxi_json_paths_init(&paths);
    const hpxi_json_result result = hpxi_json_scan(&paths, hpx_span_of(text), &found);
    if (result != HPXI_JSON_OK) {
        fail_msg("no JSON: %s", text);
    }
    return found.root;
}

typedef struct number_row {
    const char *text;
    bool whole;
    uint64_t value;
} number_row;

/* clang-format off */
static const number_row number_rows[] = {
    {"0", true, 0}, {"-0", true, 0}, {"0.0", true, 0}, {"-0.0e5", true, 0},
    {"0e999999999999999999999", true, 0},
    {"1", true, 1}, {"1.0", true, 1}, {"1e3", true, 1000}, {"1E+3", true, 1000}, {"10e-1", true, 1},
    {"1000e-3", true, 1}, {"1.5e1", true, 15}, {"1.5", false, 0}, {"15e-1", false, 0},
    {"0.1", false, 0},
    {"0.001e3", true, 1}, {"0.001e2", false, 0}, {"100.000", true, 100}, {"12.3400e2", true, 1234},
    {"-1", false, 0}, {"-1e3", false, 0}, {"-0.5", false, 0},
    {"18446744073709551615", true, UINT64_MAX}, {"18446744073709551616", false, 0},
    {"18446744073709551615.000", true, UINT64_MAX}, {"1844674407370955161.5e1", true, UINT64_MAX},
    {"1844674407370955161.6e1", false, 0},
    {"10000000000000000000", true, UINT64_C(10000000000000000000)},
    {"1e19", true, UINT64_C(10000000000000000000)}, {"1e20", false, 0}, {"2e19", false, 0},
    {"1e-1", false, 0},
    {"1e99999999999999999999", false, 0}, {"1e-99999999999999999999", false, 0},
    {"123456789012345678901234567890", false, 0}, {"\"1\"", false, 0}, {"true", false, 0},
    {"null", false, 0},
    {"9007199254740993", true, UINT64_C(9007199254740993)}, /* a double cannot hold it */
};
/* clang-format on */

static void test_number_when_whole_then_exact_in_any_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(number_rows); i++) {
        const number_row *row = &number_rows[i];
        uint64_t number = 0;
        const bool whole = hpxi_json_to_u64(value_of(row->text), &number);
        if (whole != row->whole || (whole && number != row->value)) {
            fail_msg("%s: %d, %llu", row->text, whole, (unsigned long long)number);
        }
    }
}

static void test_number_when_it_has_many_zeros_then_still_exact(void **state)
{
    (void)state;
    static char text[40000];
    uint64_t number = 0;
    int size = sprintf(text, "0.");
    memset(text + size, '0', 20000);
    sprintf(text + size + 20000, "7e20001");
    assert_true(hpxi_json_to_u64(value_of(text), &number));
    assert_int_equal(number, 7);
    text[0] = '7';
    memset(text + 1, '0', 20000);
    sprintf(text + 20001, "e-20000");
    assert_true(hpxi_json_to_u64(value_of(text), &number));
    assert_int_equal(number, 7);
}

static void test_digits_when_a_plain_number_then_read(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "01",
        "00",
        "1.0",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1e3",
        "a",
        "18446744073709551616",
        "99999999999999999999999"};
    uint64_t number = 0;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(hpxi_json_digits_to_u64(hpx_span_of(bad[i]), &number));
    }
    assert_true(hpxi_json_digits_to_u64(hpx_span_of("0"), &number));
    assert_int_equal(number, 0);
    assert_true(hpxi_json_digits_to_u64(hpx_span_of("18446744073709551615"), &number));
    assert_true(number == UINT64_MAX);
}

typedef struct text_row {
    const char *json;
    const char *text;
} text_row;

/* clang-format off */
static const text_row text_rows[] = {
    {"\"\"", ""}, {"\"abc\"", "abc"}, {"\"\\u0061bc\"", "abc"}, {"\"a\\u0062c\"", "abc"},
    {"\"\\/\\\\\\\"\"", "/\\\""}, {"\"\\b\\f\\n\\r\\t\"", "\b\f\n\r\t"},
    {"\"\\u00E9\"", "\xC3\xA9"},
    {"\"\\u20ac\"", "\xE2\x82\xAC"}, {"\"\\uD83D\\uDE00!\"", "\xF0\x9F\x98\x80!"},
    {"\"\\uFFFF\"", "\xEF\xBF\xBF"},
    {"\"\\uDBFF\\uDFFF\"", "\xF4\x8F\xBF\xBF"}, {"\"x\\u007f\\u0080y\"", "x\x7F\xC2\x80y"},
    {"\"\\u07FF\\u0800\"", "\xDF\xBF\xE0\xA0\x80"},
};
/* clang-format on */

static void test_text_when_escaped_then_says_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(text_rows); i++) {
        const hpxi_json_value value = value_of(text_rows[i].json);
        const hpx_span text = hpx_span_of(text_rows[i].text);
        uint8_t out[64];
        assert_true(hpxi_json_is_text(value, text));
        assert_int_equal(hpxi_json_unescape(value, out, sizeof(out)), text.size);
        assert_bytes_equal(out, text.data, text.size);
        assert_int_equal(hpxi_json_unescape(value, out, text.size), text.size);
        if (text.size != 0) {
            assert_true(hpxi_json_unescape(value, out, text.size - 1) == SIZE_MAX);
            assert_false(hpxi_json_is_text(value, (hpx_span){text.data, text.size - 1}));
        }
        char longer[64];
        sprintf(longer, "%sx", text_rows[i].text);
        assert_false(hpxi_json_is_text(value, hpx_span_of(longer)));
    }
    assert_false(hpxi_json_is_text(value_of("1"), hpx_span_of("1")));
    assert_false(hpxi_json_is_text(value_of("null"), hpx_span_of("null")));
}

static void test_elements_when_an_array_then_each_in_order(void **state)
{
    (void)state;
    const hpxi_json_value array =
        value_of("[ 1,\"a]\\\"\" , [2,[3]],{\"x\":\"}\"},true ,null,\"\",-1.5e3 ]");
    static const char *const texts[] = {
        "1", "a]\\\"", "[2,[3]]", "{\"x\":\"}\"}", "true", "null", "", "-1.5e3"};
    static const hpxi_json_kind kinds[] = {
        HPXI_JSON_NUMBER,
        HPXI_JSON_STRING,
        HPXI_JSON_ARRAY,
        HPXI_JSON_OBJECT,
        HPXI_JSON_TRUE,
        HPXI_JSON_NULL,
        HPXI_JSON_STRING,
        HPXI_JSON_NUMBER};
    hpxi_json_elements elements = hpxi_json_elements_of(array);
    hpxi_json_value element;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_true(hpxi_json_elements_next(&elements, &element));
        assert_int_equal(element.kind, kinds[i]);
        assert_int_equal(element.size, strlen(texts[i]));
        assert_bytes_equal(element.data, texts[i], element.size);
        assert_int_equal(element.escaped, i == 1);
    }
    assert_false(hpxi_json_elements_next(&elements, &element));
    assert_false(hpxi_json_elements_next(&elements, &element));
    elements = hpxi_json_elements_of(value_of("[ ]"));
    assert_false(hpxi_json_elements_next(&elements, &element));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number_when_whole_then_exact_in_any_form),
        cmocka_unit_test(test_number_when_it_has_many_zeros_then_still_exact),
        cmocka_unit_test(test_digits_when_a_plain_number_then_read),
        cmocka_unit_test(test_text_when_escaped_then_says_the_same),
        cmocka_unit_test(test_elements_when_an_array_then_each_in_order),
    };
    return cmocka_run_group_tests_name("engine/protocol_value", tests, NULL, NULL);
}

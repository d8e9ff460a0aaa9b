/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_text.c - text in a fixed buffer, and figures for people.
 *
 * Goal      What does not fit is left out whole and flagged; figures read well at every size.
 * Method    Tables; a buffer of every size.
 */
#include "tests/support/test.h"
#include "tools/hpx/text.h"

static void test_text_when_it_does_not_fit_then_full_and_terminated(void **state)
{
    (void)state;
    for (size_t capacity = 1; capacity <= 16; capacity++) {
        char buffer[17];
        memset(buffer, 'x', sizeof(buffer));
        text out;
        text_init(&out, buffer, capacity);
        text_add(&out, "1234");
        text_addf(&out, "%d", 5678);
        assert_int_equal(out.full, capacity < 9);
        assert_int_equal(out.size, capacity < 5 ? 0 : capacity < 9 ? 4 : 8);
        assert_int_equal(buffer[out.size], '\0');
        assert_int_equal(buffer[capacity], 'x');
        text_add(&out, "");
        assert_int_equal(out.full, capacity < 9);
    }
}

static void test_text_when_json_then_escaped(void **state)
{
    (void)state;
    char buffer[64];
    text out;
    text_init(&out, buffer, sizeof(buffer));
    text_add_json(&out, "a\"b\\\n\0\xC3\xA4", 8);
    assert_string_equal(buffer, "\"a\\\"b\\\\\\u000a\\u0000\xC3\xA4\"");
}

static void test_text_when_duration_then_three_digits_and_a_unit(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        const char *shown;
    } rows[] = {
        {0, "0 ns"},
        {999, "999 ns"},
        {1000, "1.00 us"},
        {9994, "9.99 us"},
        {9995, "10.0 us"},
        {12345, "12.3 us"},
        {99960, "100 us"},
        {999499, "999 us"},
        {999500, "1.00 ms"},
        {1234567, "1.23 ms"},
        {UINT64_C(1500000000), "1.50 s"},
        {UINT64_C(3600000000000), "3600 s"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char buffer[32];
        text out;
        text_init(&out, buffer, sizeof(buffer));
        text_add_duration(&out, rows[i].ns);
        assert_string_equal(buffer, rows[i].shown);
    }
}

static void test_text_when_count_then_thousands_are_separated(void **state)
{
    (void)state;
    static const struct {
        uint64_t count;
        const char *shown;
    } rows[] = {
        {0, "0"},
        {999, "999"},
        {1000, "1,000"},
        {1234567, "1,234,567"},
        {UINT64_MAX, "18,446,744,073,709,551,615"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char buffer[32];
        text out;
        text_init(&out, buffer, sizeof(buffer));
        text_add_count(&out, rows[i].count);
        assert_string_equal(buffer, rows[i].shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_when_it_does_not_fit_then_full_and_terminated),
        cmocka_unit_test(test_text_when_json_then_escaped),
        cmocka_unit_test(test_text_when_duration_then_three_digits_and_a_unit),
        cmocka_unit_test(test_text_when_count_then_thousands_are_separated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the words of HTTP are recognised byte for byte.
 * Method: each byte 0..255 at each place of texts of 0 to 24 bytes, against the rules written out;
 * tables for hosts, targets, numbers and lists.
 */
#include "h1/syntax.h"
#include "tests/support/test.h"

static hpx_span span_of(const char *text)
{
    return (hpx_span){.data = (const uint8_t *)text, .size = strlen(text)};
}

/* The form that looks at eight bytes at a time finds what one byte at a time would. */
static void test_find_control_when_any_byte_anywhere_then_found(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 24; size++) {
        uint8_t *text = malloc(size == 0 ? 1 : size); /* exact: the sanitizer sees overreads */
        assert_non_null(text);
        for (size_t at = 0; at < size; at++) {
            for (int byte = 0; byte < 256; byte++) {
                for (int around = 0; around < 2; around++) {
                    memset(text, around == 0 ? ' ' : 0xFF, size);
                    text[at] = (uint8_t)byte;
                    const bool control = byte < 0x20 || byte == 0x7F;
                    assert_ptr_equal(
                        hpxi_h1_find_control(text, text + size), text + (control ? at : size));
                }
            }
        }
        memset(text, 'a', size);
        assert_ptr_equal(hpxi_h1_find_control(text, text + size), text + size);
        free(text);
    }
}

static void test_is_host_when_given_then_only_names_and_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"a", true},         {"api.example.com", true},
        {"a:1", true},       {"a:65535", true},
        {"a:", true},        {"127.0.0.1:80", true},
        {"[::1]", true},     {"[::1]:443", true},
        {"a_b-c~d", true},   {"a%41", true},
        {"", false},         {":80", false},
        {"a:b", false},      {"a:123456", false},
        {"a b", false},      {"a/b", false},
        {"a@b", false},      {"a?b", false},
        {"[]", false},       {"[::1", false},
        {"[::1]x", false},   {"[::g]", false},
        {"[a b]", false},    {"a\\b", false},
        {"a[b]", false},     {"a:1:2", false},
        {"\xC3\xA9", false}, {"a\"b", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (hpxi_h1_is_host(span_of(rows[i].text)) != rows[i].good) {
            fail_msg("%s", rows[i].text);
        }
    }
    assert_false(hpxi_h1_is_host((hpx_span){0}));
}

static void test_is_target_when_given_then_form_of_its_method(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *target;
        bool good;
    } rows[] = {
        {"GET", "/", true},
        {"GET", "/a?b=c&d=%20|^\"", true},
        {"GET", "//a", true},
        {"GET", "http://a", true},
        {"GET", "HTTPS://a:1/b?c", true},
        {"GET", "http://a?b", true},
        {"OPTIONS", "*", true},
        {"OPTIONS", "/a", true},
        {"CONNECT", "a:1", true},
        {"CONNECT", "[::1]:1", true},
        {"GET", "", false},
        {"GET", "a", false},
        {"GET", "*", false},
        {"GET", "?a", false},
        {"GET", "/a#b", false},
        {"GET", "/a b", false},
        {"GET", "/\x7F", false},
        {"GET", "/\x80", false},
        {"GET", "http://", false},
        {"GET", "http:///a", false},
        {"GET", "http://a@b/", false},
        {"GET", "http:/a", false},
        {"GET", "ftp://a/", false},
        {"OPTIONS", "**", false},
        {"CONNECT", "a", false},
        {"CONNECT", "a:", false},
        {"CONNECT", "[::1]", false},
        {"CONNECT", "/", false},
        {"CONNECT", "http://a:1", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const hpx_span method = span_of(rows[i].method);
        if (hpxi_h1_is_target(method, span_of(rows[i].target)) != rows[i].good) {
            fail_msg("%s %s", rows[i].method, rows[i].target);
        }
    }
    assert_false(hpxi_h1_is_target(span_of("GET"), (hpx_span){0}));
}

static void test_list_next_when_commas_then_elements_without_empty_ones(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *elements; /* joined by | */
    } rows[] = {
        {"", ""}, {",", ""}, {" , ,", ""}, {"a", "a"}, {"a,b", "a|b"}, {"\ta , , b c ,", "a|b c"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char joined[32] = "";
        hpx_span rest = span_of(rows[i].text);
        hpx_span element;
        while (hpxi_h1_list_next(&rest, &element)) {
            assert_int_not_equal(element.size, 0);
            strcat(joined, joined[0] == '\0' ? "" : "|");
            strncat(joined, (const char *)element.data, element.size);
        }
        assert_string_equal(joined, rows[i].elements);
    }
}

static void test_span_compare_when_case_differs_then_only_has_is_equal(void **state)
{
    (void)state;
    assert_true(hpxi_h1_span_is(span_of("aB"), "aB"));
    assert_false(hpxi_h1_span_is(span_of("ab"), "aB"));
    assert_false(hpxi_h1_span_is(span_of("a"), "aB"));
    assert_true(hpxi_h1_span_has(span_of("aB-9"), "Ab-9"));
    assert_false(
        hpxi_h1_span_has(span_of("a@"), "A`")); /* they differ by 0x20 and are no letters */
    assert_false(hpxi_h1_span_has(span_of("abc"), "ab"));
    const hpxi_h1_field fields[] = {
        {.name = span_of("A"), .value = span_of("1")},
        {.name = span_of("a"), .value = span_of("2")}};
    assert_ptr_equal(hpxi_h1_field_find(fields, 2, "a"), &fields[0]);
    assert_null(hpxi_h1_field_find(fields, 2, "b"));
    assert_null(hpxi_h1_field_find(NULL, 0, "b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_control_when_any_byte_anywhere_then_found),
        cmocka_unit_test(test_is_host_when_given_then_only_names_and_addresses),
        cmocka_unit_test(test_is_target_when_given_then_form_of_its_method),
        cmocka_unit_test(test_list_next_when_commas_then_elements_without_empty_ones),
        cmocka_unit_test(test_span_compare_when_case_differs_then_only_has_is_equal),
    };
    return cmocka_run_group_tests_name("h1/syntax", tests, NULL, NULL);
}

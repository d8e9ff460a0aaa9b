/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    The JSON scanner accepts what RFC 8259 calls JSON and nothing else, finds the wanted
 *         values whatever surrounds them, and reads no byte outside of the text.
 * Method  Tables; every byte of a message replaced by every other byte, judged by yyjson; every
 *         cut. Each text lies in a block of exactly its size, for the address sanitizer.
 */
#include <stdio.h>
#include <yyjson.h>

#include "engine/json_scan.h"
#include "engine/json_value.h"
#include "tests/support/test.h"

/* Scans a copy that ends where its memory ends. The found values point into *copy. */
static hpxi_json_result scan(
    const hpxi_json_paths *paths,
    const char *text,
    size_t size,
    hpxi_json_found *found,
    char **copy)
{
    *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(*copy);
    memcpy(*copy, text, size);
    memset(found, 0xAA, sizeof(*found)); /* nothing of it may be needed */
    return hpxi_json_scan(paths, (hpx_span){.data = (const uint8_t *)*copy, .size = size}, found);
}

static hpxi_json_result verdict(const char *text, size_t size)
{
    hpxi_json_paths paths;
    hpxi_json_found found;
    char *copy = NULL;
    hpxi_json_paths_init(&paths);
    assert_true(hpxi_json_paths_add(&paths, hpx_span_of("a.b")) >= 0);
    const hpxi_json_result result = scan(&paths, text, size, &found, &copy);
    free(copy);
    return result;
}

/* clang-format off */
static const char *const good_texts[] = {
    "{}", "[]", " { } ", "\t\r\n[\n]\n", "0", "-0", "1", "true", "false", "null", "\"\"", "\"a\"",
    "[1,2]", "[[],{}]", "{\"a\":{\"b\":[{}]}}", "1.5", "-1.25e+10", "1E5", "0.0", "0e0", "1e999",
    "[1 , 2]", "{ \"a\" : 1 , \"b\" : 2 }", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\u00e9\"",
    "\"\\uD83D\\uDE00\"", "\"\xC3\xA9\"", "\"\xF0\x9F\x98\x80\"", "{\"\":1}", "\"\x7F\"",
    "{\"a\":1,\"a\":2}", "[123456789012345678901234567890]", "[0.12345678901234567890123]",
    "{\"0123456789abcdef\":\"0123456789abcdef0123456789abcdef\"}",
};

static const char *const bad_texts[] = {
    "", " ", "{", "}", "[", "]", "{]", "[}", "[1", "[1,", "[1,]", "[,]", "[,1]", "{,}", "{\"a\"}",
    "{\"a\":}", "{\"a\":1,}", "{\"a\":1,,}", "{\"a\" 1}", "{\"a\"::1}", "{a:1}", "{1:1}", "{'a':1}",
    "{\"a\":1]", "[1}", "{}{}", "[] 1", "1 2", "nul", "nulls", "True", "tru", "truee", "fals",
    "01", "-", "-01", "+1", ".5", "1.", "1.e5", "1e", "1e+", "1.5.5", "0x1", "1_0", "NaN",
    "Infinity",
    "-Infinity", "--1", "\"", "\"a", "\"\\\"", "\"\\", "\"\\x\"", "\"\\u\"", "\"\\u12\"",
    "\"\\u123g\"", "\"\\uD800\"", "\"\\uD800x\"", "\"\\uD800\\n\"", "\"\\uD800\\uD800\"",
    "\"\\uDC00\"",
    "\"\x01\"", "\"\n\"", "\"\t\"", "\"\x1F\"", "\"\x80\"", "\"\xC3\"", "\"\xC0\xAF\"",
    "\"\xED\xA0\x80\"",
    "\"\xF4\x90\x80\x80\"", "\xEF\xBB\xBF{}", "{}\xC3\xA9", "[1]/", "/**/1", "[1]//", "\"a\"b",
    "[\"a\"\"b\"]",
    "[1 2]", "{\"a\":1 \"b\":2}", "{\"a\":\"b\" \"c\":1}", "[\x0B]", "\xC2\xA0[]",
    "{\"abcdefghijklmnopqrst\xFF\":1}",
    "[\"0123456789abcdef\x01\"]", "[1234567890123456a]", "[12345678901234567890.]", "[true false]",
};
/* clang-format on */

static void test_scan_when_json_then_accepted_and_whatever_follows_is_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good_texts); i++) {
        char text[128];
        const size_t size = strlen(good_texts[i]);
        memcpy(text, good_texts[i], size);
        if (verdict(text, size) != HPXI_JSON_OK) {
            fail_msg("refused: %s", good_texts[i]);
        }
        static const char after[] = {'x', '\0', ',', '}', ']', '"', '\xFF', ':'};
        for (size_t a = 0; a < sizeof(after); a++) {
            text[size] = after[a];
            if (verdict(text, size + 1) != HPXI_JSON_MALFORMED) {
                fail_msg("accepted with byte %d behind: %s", after[a], good_texts[i]);
            }
        }
    }
}

static void test_scan_when_not_json_then_malformed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_texts); i++) {
        if (verdict(bad_texts[i], strlen(bad_texts[i])) != HPXI_JSON_MALFORMED) {
            fail_msg("accepted: %s", bad_texts[i]);
        }
    }
    assert_int_equal(verdict("\"\0\"", 3), HPXI_JSON_MALFORMED);
    assert_int_equal(verdict("[1]\0", 4), HPXI_JSON_MALFORMED);
}

static const char sample[] =
    "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"book.BTC-USD."
    "100ms\","
    "\"data\":{\"bids\":[[63214.5,\"0.25\"],[1e-3, -2]],\"\\u0061\\n\":\"\xC3\xA9 \\uD83D\\uDE00\","
    "\"t\":true,\"f\":false,\"n\":null,\"o\":{}, \"e\":[ ]}},\"id\" : 1.0E1 } ";

/* Without a byte above 0x7F, so that the first one is noticed wherever it is. */
static const char ascii_sample[] =
    "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"a\":{\"b\":\"x\""
    ",\"abcdefghijkl\":\"y\"},"
    "\"data\":{\"0123456789abcdef0\":[\"0123456789abcdef0\",\"z\"],\"k\":\"\\n\"}},\"id\":\"1\"}";

static bool yyjson_accepts(const char *text, size_t size)
{
    char copy[sizeof(sample)];
    memcpy(copy, text, size);
    yyjson_doc *doc = yyjson_read_opts(copy, size, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    yyjson_doc_free(doc);
    return doc != NULL;
}

static uint32_t check_every_byte(const char *original, size_t size)
{
    char text[sizeof(sample)];
    uint32_t accepted = 0;
    memcpy(text, original, size);
    assert_int_equal(verdict(text, size), HPXI_JSON_OK);
    for (size_t at = 0; at < size; at++) {
        for (int byte = 0; byte < 256; byte++) {
            text[at] = (char)byte;
            const bool good = verdict(text, size) == HPXI_JSON_OK;
            accepted += good ? 1 : 0;
            if (good != yyjson_accepts(text, size)) {
                fail_msg("byte %zu as %#x: %s here", at, byte, good ? "accepted" : "refused");
            }
        }
        text[at] = original[at];
    }
    return accepted;
}

static void test_scan_when_any_byte_is_any_other_then_yyjson_agrees(void **state)
{
    (void)state;
    _Static_assert(sizeof(ascii_sample) <= sizeof(sample), "both fit");
    assert_true(check_every_byte(sample, sizeof(sample) - 1) > 5000);
    assert_true(check_every_byte(ascii_sample, sizeof(ascii_sample) - 1) > 5000);
}

static void test_scan_when_cut_then_malformed(void **state)
{
    (void)state;
    const size_t whole = sizeof(sample) - 2; /* without the space behind it */
    for (size_t size = 0; size < whole; size++) {
        assert_int_equal(verdict(sample, size), HPXI_JSON_MALFORMED);
    }
    assert_int_equal(verdict(sample, whole), HPXI_JSON_OK);
}

static void test_scan_when_deep_then_512_levels_and_no_more(void **state)
{
    (void)state;
    static char text[6 * 300000];
    static const char *const openings[] = {"[", "{\"a\":", "[{\"b\":"};
    static const char *const closings[] = {"]", "}", "}]"};
    for (size_t i = 0; i < COUNT_OF(openings); i++) {
        const size_t each = i == 2 ? 2 : 1; /* levels of one opening */
        const size_t counts[] = {1, 63, 64, 65, HPXI_JSON_DEPTH_MAX / each, 200000};
        for (size_t c = 0; c < COUNT_OF(counts); c++) {
            size_t size = 0;
            for (size_t level = 0; level < counts[c]; level++) {
                size += (size_t)sprintf(text + size, "%s", openings[i]);
            }
            text[size++] = '1';
            const bool fits = counts[c] * each <= HPXI_JSON_DEPTH_MAX;
            assert_int_equal(verdict(text, size), fits ? HPXI_JSON_MALFORMED : HPXI_JSON_TOO_DEEP);
            for (size_t level = 0; level < counts[c] && fits; level++) {
                size += (size_t)sprintf(text + size, "%s", closings[i]);
            }
            assert_int_equal(verdict(text, size), fits ? HPXI_JSON_OK : HPXI_JSON_TOO_DEEP);
        }
    }
    memset(text, '[', HPXI_JSON_DEPTH_MAX + 1);
    assert_int_equal(verdict(text, HPXI_JSON_DEPTH_MAX + 1), HPXI_JSON_TOO_DEEP);
    assert_int_equal(verdict(text, HPXI_JSON_DEPTH_MAX), HPXI_JSON_MALFORMED);
}

typedef struct find_row {
    const char *text;
    const char *path;
    hpxi_json_kind kind;
    const char *value;
} find_row;

/* clang-format off */
static const find_row find_rows[] = {
    {"{\"a\":1}", "a", HPXI_JSON_NUMBER, "1"},
    {"{\"a\":null}", "a", HPXI_JSON_NULL, "null"},
    {"{\"b\":1}", "a", HPXI_JSON_ABSENT, ""},
    {"{\"b\":{\"a\":1},\"a\":2}", "a", HPXI_JSON_NUMBER, "2"},
    {"{\"b\":[{\"a\":1}],\"a\":2}", "a", HPXI_JSON_NUMBER, "2"},
    {"{\"b\":\"a\",\"a\":2}", "a", HPXI_JSON_NUMBER, "2"},
    {"{\"b\":\"\\\"a\\\":1\",\"a\":2}", "a", HPXI_JSON_NUMBER, "2"},
    {"{\"a\":1,\"a\":2}", "a", HPXI_JSON_NUMBER, "1"},
    {"{\"\\u0061\":1,\"a\":2}", "a", HPXI_JSON_NUMBER, "1"},
    {"{\"\\u0069\\u0064\":7}", "id", HPXI_JSON_NUMBER, "7"},
    {"{\"i\\u0064\":7}", "id", HPXI_JSON_NUMBER, "7"},
    {"{\"i\\u0064x\":7}", "id", HPXI_JSON_ABSENT, ""},
    {"{\"i\\\\d\":7}", "i\\d", HPXI_JSON_NUMBER, "7"},
    {"{\"\\uD83D\\uDE00\":7}", "\xF0\x9F\x98\x80", HPXI_JSON_NUMBER, "7"},
    {"{\"A\":1}", "a", HPXI_JSON_ABSENT, ""},
    {"{\"aa\":1}", "a", HPXI_JSON_ABSENT, ""},
    {"{\"a\" : { \"b\" : true } }", "a.b", HPXI_JSON_TRUE, "true"},
    {"{\"a\":{\"b\":false}}", "a", HPXI_JSON_OBJECT, "{\"b\":false}"},
    {"{\"a\":[1,[2]] }", "a", HPXI_JSON_ARRAY, "[1,[2]]"},
    {"{\"a\":{},\"c\":{\"b\":1}}", "a.b", HPXI_JSON_ABSENT, ""},
    {"{\"a\":{},\"a\":{\"b\":1}}", "a.b", HPXI_JSON_ABSENT, ""},
    {"{\"a\":{\"b\":1},\"a\":{\"b\":2}}", "a.b", HPXI_JSON_NUMBER, "1"},
    {"{\"a\":\"b\",\"b\":1}", "a.b", HPXI_JSON_ABSENT, ""},
    {"{\"a\":[{\"b\":1},{\"b\":2}]}", "a.b", HPXI_JSON_ABSENT, ""},
    {"{\"a\":[{\"b\":1},{\"b\":2}]}", "a.1.b", HPXI_JSON_NUMBER, "2"},
    {"{\"a\":[[5,6],{\"b\":2}]}", "a.0.1", HPXI_JSON_NUMBER, "6"},
    {"{\"a\":[1]}", "a.1", HPXI_JSON_ABSENT, ""},
    {"{\"a\":[1,2]}", "a.01", HPXI_JSON_ABSENT, ""},
    {"{\"a\":{\"1\":3}}", "a.1", HPXI_JSON_NUMBER, "3"},
    {"[\"x\",\"y\"]", "1", HPXI_JSON_STRING, "y"},
    {"{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":{\"f\":{\"g\":{\"h\":8}}}}}}}}", "a.b.c.d.e.f.g.h",
     HPXI_JSON_NUMBER, "8"},
    {"{\"a\":\"\"}", "a", HPXI_JSON_STRING, ""},
    {"{\"a\":\"x\\ny\"}", "a", HPXI_JSON_STRING, "x\\ny"},
    {"{\"a\":-1.5e3}", "a", HPXI_JSON_NUMBER, "-1.5e3"},
    {"{\"a\":\"0123456789abcdef0123456789\"}", "a", HPXI_JSON_STRING, "0123456789abcdef0123456789"},
};
/* clang-format on */

static void test_scan_when_path_is_wanted_then_its_value_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(find_rows); i++) {
        const find_row *row = &find_rows[i];
        hpxi_json_paths paths;
        hpxi_json_found found;
        char *copy = NULL;
        hpxi_json_paths_init(&paths);
        const int slot = hpxi_json_paths_add(&paths, hpx_span_of(row->path));
        assert_int_equal(slot, 0);
        assert_int_equal(scan(&paths, row->text, strlen(row->text), &found, &copy), HPXI_JSON_OK);
        const hpxi_json_value value = hpxi_json_at(&found, slot);
        if (value.kind != row->kind || value.size != strlen(row->value) ||
            (value.size != 0 && memcmp(value.data, row->value, value.size) != 0)) {
            fail_msg("%s at %s: kind %d", row->path, row->text, (int)value.kind);
        }
        assert_int_equal(hpxi_json_has(&found, slot), row->kind > HPXI_JSON_NULL);
        free(copy);
    }
}

static void test_scan_when_many_paths_then_each_in_its_slot(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":{\"x\":1,\"y\":2},\"b\":[3,{\"x\":4}],\"c\":5}";
    static const char *const wanted[] = {"a.x", "a.y", "b.0", "b.1.x", "c", "a", "d", "b.2"};
    static const char *const values[] = {"1", "2", "3", "4", "5", "{\"x\":1,\"y\":2}", "", ""};
    hpxi_json_paths paths;
    hpxi_json_found found;
    char *copy = NULL;
    hpxi_json_paths_init(&paths);
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        assert_int_equal(hpxi_json_paths_add(&paths, hpx_span_of(wanted[i])), i);
    }
    assert_int_equal(hpxi_json_paths_add(&paths, hpx_span_of("a.y")), 1);
    assert_int_equal(scan(&paths, text, sizeof(text) - 1, &found, &copy), HPXI_JSON_OK);
    for (size_t i = 0; i < COUNT_OF(wanted); i++) {
        const hpxi_json_value value = hpxi_json_at(&found, (int)i);
        assert_int_equal(value.size, strlen(values[i]));
        assert_bytes_equal(value.data, values[i], value.size);
    }
    assert_int_equal(found.repeated, 0);
    assert_int_equal(found.root.kind, HPXI_JSON_OBJECT);
    assert_int_equal(found.root.size, sizeof(text) - 1);
    free(copy);
}

static void test_paths_when_beyond_limits_then_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "a.", ".a", "a..b"};
    hpxi_json_paths paths;
    hpxi_json_paths_init(&paths);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(hpxi_json_paths_add(&paths, hpx_span_of(bad[i])), HPX_E_INVALID);
    }
    assert_int_equal(hpxi_json_paths_add(&paths, hpx_span_of("a.b.c.d.e.f.g.h.i")), HPX_E_LIMIT);
    hpxi_json_paths_init(&paths);
    char names[HPXI_JSON_SLOTS_MAX + 1][8];
    for (uint32_t i = 0; i <= HPXI_JSON_SLOTS_MAX; i++) {
        sprintf(names[i], "k%u", i);
        const int slot = hpxi_json_paths_add(&paths, hpx_span_of(names[i]));
        assert_int_equal(slot, i < HPXI_JSON_SLOTS_MAX ? (int)i : HPX_E_LIMIT);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan_when_json_then_accepted_and_whatever_follows_is_not),
        cmocka_unit_test(test_scan_when_not_json_then_malformed),
        cmocka_unit_test(test_scan_when_any_byte_is_any_other_then_yyjson_agrees),
        cmocka_unit_test(test_scan_when_cut_then_malformed),
        cmocka_unit_test(test_scan_when_deep_then_512_levels_and_no_more),
        cmocka_unit_test(test_scan_when_path_is_wanted_then_its_value_is_found),
        cmocka_unit_test(test_scan_when_many_paths_then_each_in_its_slot),
        cmocka_unit_test(test_paths_when_beyond_limits_then_refused),
    };
    return cmocka_run_group_tests_name("engine/protocol_scan", tests, NULL, NULL);
}

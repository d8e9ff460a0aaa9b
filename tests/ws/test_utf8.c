/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the three validators agree with each other and with somebody else's on every sequence, at
 * every place of a text, however a stream is cut; a stream fails at the first byte that no valid
 * text could have there.
 * Method: the reference is compared with Python's decoder on all sequences of 4 representative
 * bytes, and by counting (Unicode has 1,112,064 characters). Then the reference judges the others:
 * exhaustively for up to 3 bytes and for 4 bytes that begin with F0..F7, each within ASCII at a
 * place that varies, and cut. Where the first two bytes are bad already, and under a sanitizer, the
 * last of the four goes through representatives only; HPX_TEST_EXHAUSTIVE=1 tries them all.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/test.h"
#include "ws/utf8.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_IS_SLOW 1
#endif
#endif
#ifndef TEST_IS_SLOW
#define TEST_IS_SLOW 0
#endif

#define TEXT_BYTES 96u

/* The first and last byte of every class that RFC 3629 distinguishes, and some within. */
static const uint8_t edges[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xAF, 0xBF,
                                0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
                                0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFC, 0xFE, 0xFF};

static uint8_t text[TEXT_BYTES]; /* ASCII, but while a sequence is tried */
static size_t place;

static bool feed_all(const uint8_t *data, size_t size, size_t cut)
{
    hpxi_utf8 utf8;
    hpxi_utf8_init(&utf8);
    return hpxi_utf8_feed(&utf8, data, cut) && hpxi_utf8_feed(&utf8, data + cut, size - cut) &&
           hpxi_utf8_is_complete(&utf8);
}

static void fail_sequence(const char *form, const uint8_t *bytes, size_t size, bool expected)
{
    fail_msg(
        "%s: %02X %02X %02X %02X (%zu bytes) at %zu is %s",
        form,
        bytes[0],
        size > 1 ? bytes[1] : 0,
        size > 2 ? bytes[2] : 0,
        size > 3 ? bytes[3] : 0,
        size,
        place,
        expected ? "good" : "bad");
}

/* One sequence against the reference, by itself and within ASCII. The place moves on each time,
 * the end of the text with it, so that sequences meet the edges of blocks and the short end. */
static void check_sequence(const uint8_t *bytes, size_t size)
{
    const bool expected = hpxi_utf8_check_scalar(bytes, size);
    place = (place + 1) % (TEXT_BYTES - 4);
    memcpy(text + place, bytes, size);
    const size_t text_bytes = place % 3 == 0 ? place + size : TEXT_BYTES - place % 31;
    const size_t whole = text_bytes < place + size ? place + size : text_bytes;
    if (hpxi_utf8_check(text, whole) != expected) {
        fail_sequence("best", bytes, size, expected);
    }
    if (size < 4 || place % 2 == 0) {
        if (hpxi_utf8_check_portable(bytes, size) != expected) {
            fail_sequence("portable", bytes, size, expected);
        }
    }
    if (size < 4 || place % 2 != 0) {
        if (feed_all(text, whole, place + 1) != expected) {
            fail_sequence("stream", bytes, size, expected);
        }
    }
    memset(text + place, 'x', size);
}

static void check_every_way(const uint8_t *bytes, size_t size)
{
    const bool expected = hpxi_utf8_check_scalar(bytes, size);
    for (size_t at = 0; at < 70; at += 1 + at / 8) {
        memset(text, 'x', sizeof(text));
        place = at;
        memcpy(text + at, bytes, size);
        const size_t ends[] = {at + size, TEXT_BYTES};
        for (size_t i = 0; i < COUNT_OF(ends); i++) {
            if (hpxi_utf8_check(text, ends[i]) != expected ||
                hpxi_utf8_check_portable(text, ends[i]) != expected) {
                fail_sequence("check", bytes, size, expected);
            }
        }
        for (size_t cut = 0; cut <= size; cut++) {
            if (feed_all(text, TEXT_BYTES, at + cut) != expected) {
                fail_sequence("stream", bytes, size, expected);
            }
        }
    }
    memset(text, 'x', sizeof(text));
}

static void test_utf8_scalar_when_all_of_unicode_then_counts_match(void **state)
{
    (void)state;
    size_t good[5] = {0};
    uint8_t b[4];
    for (uint32_t i = 0; i < 1u << 24; i++) {
        b[0] = (uint8_t)(i >> 16);
        b[1] = (uint8_t)(i >> 8);
        b[2] = (uint8_t)i;
        if (b[0] < 0x80 || b[1] < 0x80) {
            continue; /* sequences with ASCII in front are shorter ones */
        }
        good[1] += i % 65536 == 0xFFFF && hpxi_utf8_check_scalar(b, 1);
        good[2] += b[2] == 0xFF && hpxi_utf8_check_scalar(b, 2);
        good[3] += b[2] >= 0x80 && hpxi_utf8_check_scalar(b, 3);
        for (uint32_t last = 0x80; b[0] >= 0xF0 && b[2] >= 0x80 && last < 0x100; last++) {
            b[3] = (uint8_t)last;
            good[4] += hpxi_utf8_check_scalar(b, 4);
        }
    }
    for (b[0] = 0; b[0] < 0x80; b[0]++) {
        good[1] += hpxi_utf8_check_scalar(b, 1);
    }
    assert_int_equal(good[1], 128);
    assert_int_equal(good[2], 1920);
    assert_int_equal(good[3], 65536 - 2048 - 2048);
    assert_int_equal(good[4], 1048576);
}

/* Prints one character, 1 or 0, for every sequence of 4 of the edges, in the order of ours. */
static const char python_oracle[] =
    "import itertools, sys\n"
    "edges = bytes.fromhex('%s')\n"
    "def good(text):\n"
    "    try:\n"
    "        bytes(text).decode('utf-8')\n"
    "        return '1'\n"
    "    except UnicodeDecodeError:\n"
    "        return '0'\n"
    "sys.stdout.write(''.join(map(good, itertools.product(edges, repeat=4))))\n";

static void test_utf8_scalar_when_python_judges_then_same(void **state)
{
    (void)state;
    const char *python = getenv("HPX_PYTHON"); // NOLINT(concurrency-mt-unsafe): one thread
    char hex[2 * sizeof(edges) + 1];
    char script[1024];
    char command[1200];
    for (size_t i = 0; i < sizeof(edges); i++) {
        snprintf(hex + 2 * i, 3, "%02X", edges[i]);
    }
    snprintf(script, sizeof(script), python_oracle, hex);
    snprintf(command, sizeof(command), "%s -c \"%s\"", python == NULL ? "python3" : python, script);
    FILE *oracle = popen(command, "r"); // NOLINT(cert-env33-c): our own command
    assert_non_null(oracle);
    const size_t n = sizeof(edges);
    for (size_t i = 0; i < n * n * n * n; i++) {
        const uint8_t b[4] = {
            edges[i / (n * n * n)], edges[i / (n * n) % n], edges[i / n % n], edges[i % n]};
        const int verdict = fgetc(oracle);
        if (verdict == EOF && i == 0) {
            pclose(oracle);
            skip(); /* no Python here */
        }
        if (hpxi_utf8_check_scalar(b, 4) != (verdict == '1')) {
            fail_sequence("scalar", b, 4, verdict == '1');
        }
    }
    assert_int_equal(fgetc(oracle), EOF);
    assert_int_equal(pclose(oracle), 0);
}

static void test_utf8_when_any_three_bytes_then_as_scalar(void **state)
{
    (void)state;
    memset(text, 'x', sizeof(text));
    for (uint32_t i = 0; i < 1u << 24; i++) {
        const uint8_t b[3] = {(uint8_t)i, (uint8_t)(i >> 8), (uint8_t)(i >> 16)};
        if (TEST_IS_SLOW && i % 7 != 0) {
            continue;
        }
        check_sequence(b, 3);
        if (i < 1u << 16) {
            check_sequence(b, 2);
        }
        if (i < 1u << 8) {
            check_sequence(b, 1);
        }
    }
}

static void test_utf8_when_any_four_bytes_from_F0_then_as_scalar(void **state)
{
    (void)state;
    // NOLINTNEXTLINE(concurrency-mt-unsafe): one thread
    const bool everything = getenv("HPX_TEST_EXHAUSTIVE") != NULL;
    memset(text, 'x', sizeof(text));
    for (uint32_t i = 0; i < 1u << 19; i++) {
        uint8_t b[4] = {(uint8_t)(0xF0 + (i >> 16)), (uint8_t)(i >> 8), (uint8_t)i, 0};
        const bool may_be_good = (b[1] & 0xC0) == 0x80;
        if (everything || (may_be_good && !TEST_IS_SLOW)) {
            for (uint32_t last = 0; last < 256; last++) {
                b[3] = (uint8_t)last;
                check_sequence(b, 4);
            }
            continue;
        }
        for (size_t edge = i % 3; edge < sizeof(edges); edge += 3) {
            b[3] = edges[edge];
            check_sequence(b, 4);
        }
    }
}

static void test_utf8_when_edges_at_any_place_and_cut_then_as_scalar(void **state)
{
    (void)state;
    const size_t n = sizeof(edges);
    for (size_t i = 0; i < n * n * n * n; i++) {
        if (i % (TEST_IS_SLOW ? 97 : 23) != 0) {
            continue;
        }
        const uint8_t b[4] = {
            edges[i / (n * n * n)], edges[i / (n * n) % n], edges[i / n % n], edges[i % n]};
        check_every_way(b, 4);
    }
}

/* Length of the longest prefix that some valid text begins with, by trying all ways to go on. */
static size_t good_prefix(const uint8_t *data, size_t size)
{
    static const uint8_t rests[][3] = {
        {0x80, 0x80, 0x80}, {0xA0, 0x80, 0x80}, {0x90, 0x80, 0x80}, {0xBF, 0xBF, 0xBF}};
    for (size_t at = 1; at <= size; at++) {
        bool good = hpxi_utf8_check_scalar(data, at);
        for (size_t rest = 0; !good && rest < COUNT_OF(rests) * 3; rest++) {
            uint8_t whole[TEXT_BYTES + 3];
            memcpy(whole, data, at);
            memcpy(whole + at, rests[rest / 3], 3);
            good = hpxi_utf8_check_scalar(whole, at + 1 + rest % 3);
        }
        if (!good) {
            return at - 1;
        }
    }
    return size;
}

static void test_utf8_feed_when_bad_then_fails_at_the_first_bad_byte(void **state)
{
    (void)state;
    const size_t n = sizeof(edges);
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < n * n * n * n; i += TEST_IS_SLOW ? 211 : 11) {
        const uint8_t b[4] = {
            edges[i / (n * n * n)], edges[i / (n * n) % n], edges[i / n % n], edges[i % n]};
        const size_t at = i % 67;
        memcpy(text + at, b, 4);
        const size_t good = at + good_prefix(b, 4); /* what goes before is ASCII */
        for (size_t size = 0; size <= at + 4; size++) {
            hpxi_utf8 utf8;
            hpxi_utf8_init(&utf8);
            const bool fed = hpxi_utf8_feed(&utf8, text, size);
            if (fed != (size <= good)) {
                fail_sequence("feed", b, 4, size <= good);
            }
            /* For ever: no rest makes it good again. */
            assert_true(fed || !hpxi_utf8_feed(&utf8, (const uint8_t *)"\x80xx", 3));
            assert_true(fed || !hpxi_utf8_is_complete(&utf8));
        }
        memset(text + at, 'x', 4);
    }
}

static size_t make_random_text(uint8_t *bytes, size_t size, uint32_t *seed)
{
    static const char *const characters[] = {
        "a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x9A\x80", "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"};
    const uint32_t kinds = 1 + (*seed >> 8) % 6;
    size_t at = 0;
    while (at < size) {
        *seed = *seed * 1664525u + 1013904223u;
        const char *character = characters[(*seed >> 16) % kinds];
        if (at + strlen(character) > size) {
            break;
        }
        for (size_t i = 0; character[i] != '\0'; i++) {
            bytes[at++] = (uint8_t)character[i];
        }
    }
    return at;
}

/* Long texts, good and with one byte changed, that begin or end at a page of no access. */
static void test_utf8_when_random_text_between_guard_pages_then_as_scalar(void **state)
{
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mprotect(map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(map + 2 * page, page, PROT_NONE), 0);
    uint32_t seed = 12345;
    for (size_t round = 0; round < 60000; round++) {
        uint8_t random_text[600];
        const size_t size = make_random_text(random_text, round % sizeof(random_text), &seed);
        if (round % 3 != 0 && size != 0) {
            random_text[(seed >> 4) % size] ^= (uint8_t)(1u << (seed >> 29));
        }
        uint8_t *const first = map + page;
        uint8_t *const last = map + 2 * page - size;
        const bool expected = hpxi_utf8_check_scalar(random_text, size);
        assert_true(expected || round % 3 != 0);
        memcpy(first, random_text, size);
        assert_int_equal(hpxi_utf8_check(first, size), expected);
        memcpy(last, random_text, size);
        assert_int_equal(hpxi_utf8_check(last, size), expected);
        assert_int_equal(hpxi_utf8_check_portable(last, size), expected);
        assert_int_equal(feed_all(last, size, size == 0 ? 0 : seed % size), expected);
    }
    assert_int_equal(munmap(map, 3 * page), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8_scalar_when_all_of_unicode_then_counts_match),
        cmocka_unit_test(test_utf8_scalar_when_python_judges_then_same),
        cmocka_unit_test(test_utf8_when_any_three_bytes_then_as_scalar),
        cmocka_unit_test(test_utf8_when_any_four_bytes_from_F0_then_as_scalar),
        cmocka_unit_test(test_utf8_when_edges_at_any_place_and_cut_then_as_scalar),
        cmocka_unit_test(test_utf8_feed_when_bad_then_fails_at_the_first_bad_byte),
        cmocka_unit_test(test_utf8_when_random_text_between_guard_pages_then_as_scalar),
    };
    return cmocka_run_group_tests_name("ws/utf8", tests, NULL, NULL);
}

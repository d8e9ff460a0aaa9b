/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: coded bodies are decoded as zlib made them, wherever they are cut, up to the limits and not
 * a byte further; what is damaged, cut short or too long is refused.
 * Method: bodies made by zlib in each format, in pieces of every size with output buffers of
 * several; each byte damaged in turn; a bomb of 64 MiB; each allocation failing in turn.
 */
#include <zlib.h>

#include "h1/content.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define CODED_BYTES_MAX (256u << 10)

typedef struct coded {
    uint8_t bytes[CODED_BYTES_MAX];
    size_t size;
} coded;

typedef struct decoded {
    hpx_status status; /* of finish(), or the failure */
    uint8_t *bytes;
    size_t size;
    char detail[HPX_ERROR_DETAIL_BYTES];
} decoded;

static const char text[] =
    "{\"price\":\"100.25\",\"size\":\"3\"},{\"price\":\"100.50\",\"size\":\"14\"},"
    "{\"price\":\"101.00\",\"size\":\"159\"}";

/* window: 15 zlib, 31 gzip, -15 raw. Appends. */
static void code(coded *out, int window, const void *bytes, size_t size)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)size;
    stream.next_out = out->bytes + out->size;
    stream.avail_out = (uInt)(sizeof(out->bytes) - out->size);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out->size = sizeof(out->bytes) - stream.avail_out;
    assert_int_equal(deflateEnd(&stream), Z_OK);
}

/* Decodes pieces of `piece` bytes into buffers of `out_bytes`, each of its exact size. */
static void decode(
    decoded *d,
    hpxi_h1_content *content,
    const uint8_t *bytes,
    size_t size,
    size_t piece,
    size_t out_bytes)
{
    *d = (decoded){.status = HPX_E_PARTIAL};
    for (size_t at = 0; at < size && d->status == HPX_E_PARTIAL; at += piece) {
        const size_t some = size - at < piece ? size - at : piece;
        uint8_t *in = malloc(some);
        uint8_t *out = malloc(out_bytes);
        assert_true(in != NULL && out != NULL);
        memcpy(in, bytes + at, some);
        const uint8_t *data = in;
        size_t left = some;
        size_t produced = 0;
        while ((d->status =
                    hpxi_h1_content_next(content, &data, &left, out, out_bytes, &produced)) == 1) {
            assert_in_range(produced, 1, out_bytes);
            d->bytes = realloc(d->bytes, d->size + produced);
            assert_non_null(d->bytes);
            memcpy(d->bytes + d->size, out, produced);
            d->size += produced;
        }
        assert_int_equal(produced, 0);
        assert_false(hpxi_h1_content_has_more(content));
        assert_true(d->status != HPX_E_PARTIAL || left == 0);
        free(in);
        free(out);
    }
    if (d->status == HPX_E_PARTIAL) {
        const uint8_t *none = NULL;
        size_t nothing = 0;
        uint8_t byte;
        size_t produced = 0;
        assert_int_equal(
            hpxi_h1_content_next(content, &none, &nothing, &byte, 1, &produced), HPX_E_PARTIAL);
        d->status = hpxi_h1_content_finish(content);
    }
    const hpx_error *error = hpxi_h1_content_error(content);
    assert_int_equal(error->status, d->status);
    memcpy(d->detail, error->detail, sizeof(d->detail));
    if (d->status != HPX_OK) { /* for ever */
        const uint8_t *data = bytes;
        uint8_t out[8];
        size_t produced = 0;
        assert_int_equal(
            hpxi_h1_content_next(content, &data, &size, out, sizeof(out), &produced), d->status);
        assert_int_equal(hpxi_h1_content_finish(content), d->status);
    }
}

static hpxi_h1_content *fresh(hpxi_h1_coding coding, const hpx_allocator *allocator)
{
    hpxi_h1_content *content =
        hpxi_h1_content_new(coding, &HPXI_H1_CONTENT_LIMITS_DEFAULT, allocator);
    assert_non_null(content);
    return content;
}

static void test_content_when_any_format_then_decoded_at_every_cut(void **state)
{
    (void)state;
    static const struct {
        hpxi_h1_coding coding;
        int window;
        size_t members;
    } rows[] = {
        {HPXI_H1_CODING_GZIP, 31, 1},
        {HPXI_H1_CODING_GZIP, 31, 3},
        {HPXI_H1_CODING_DEFLATE, 15, 1},
        {HPXI_H1_CODING_DEFLATE, -15, 1}, /* the mislabelled one */
    };
    static const size_t outs[] = {1, 7, 4096};
    static coded body;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_h1_content *content = fresh(HPXI_H1_CODING_GZIP, &allocator);
    size_t warm = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        body.size = 0;
        for (size_t m = 0; m < rows[i].members; m++) {
            code(&body, rows[i].window, text, sizeof(text) - 1);
        }
        for (size_t piece = 1; piece <= body.size; piece++) {
            for (size_t o = 0; o < COUNT_OF(outs); o++) {
                decoded d;
                hpxi_h1_content_reset(content, rows[i].coding, &HPXI_H1_CONTENT_LIMITS_DEFAULT);
                decode(&d, content, body.bytes, body.size, piece, outs[o]);
                assert_int_equal(d.status, HPX_OK);
                assert_int_equal(d.size, rows[i].members * (sizeof(text) - 1));
                for (size_t m = 0; m < rows[i].members; m++) {
                    assert_memory_equal(d.bytes + m * (sizeof(text) - 1), text, sizeof(text) - 1);
                }
                free(d.bytes);
                warm = warm == 0 ? fa.count : warm;
            }
        }
    }
    assert_int_equal(fa.count, warm); /* no allocation after the first body */
    hpxi_h1_content_free(content);
    hpxi_h1_content_free(NULL);
    assert_int_equal(fa.live, 0);
}

/* No damage that changes the text goes unseen where there is a checksum, and none does harm where
 * there is none. The result does not depend on the pieces. */
static void test_content_when_any_byte_is_damaged_then_refused(void **state)
{
    (void)state;
    static const struct {
        hpxi_h1_coding coding;
        int window;
        size_t from; /* before: fields of the gzip header that nothing checks */
    } rows[] = {
        {HPXI_H1_CODING_GZIP, 31, 10},
        {HPXI_H1_CODING_DEFLATE, 15, 2},
        {HPXI_H1_CODING_DEFLATE, -15, 0}};
    static coded body;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_h1_content *content = fresh(HPXI_H1_CODING_GZIP, &allocator);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        body.size = 0;
        code(&body, rows[i].window, text, sizeof(text) - 1);
        for (size_t at = rows[i].from; at < body.size; at++) {
            for (int bit = 0; bit < 8; bit++) {
                decoded d[2];
                body.bytes[at] ^= (uint8_t)(1 << bit);
                for (size_t k = 0; k < 2; k++) {
                    hpxi_h1_content_reset(content, rows[i].coding, &HPXI_H1_CONTENT_LIMITS_DEFAULT);
                    decode(&d[k], content, body.bytes, body.size, k == 0 ? 1 : 1000, 64);
                }
                body.bytes[at] ^= (uint8_t)(1 << bit);
                if (rows[i].window > 0 && d[0].status == HPX_OK) { /* a bit that is padding */
                    assert_int_equal(d[0].size, sizeof(text) - 1);
                    assert_memory_equal(d[0].bytes, text, sizeof(text) - 1);
                }
                assert_int_equal(d[0].status, d[1].status);
                assert_int_equal(d[0].size, d[1].size);
                assert_bytes_equal(d[0].bytes, d[1].bytes, d[0].size);
                free(d[0].bytes);
                free(d[1].bytes);
            }
        }
    }
    hpxi_h1_content_free(content);
    assert_int_equal(fa.live, 0);
}

static void test_content_when_output_is_full_then_says_that_there_is_more(void **state)
{
    (void)state;
    static coded body;
    body.size = 0;
    code(&body, 31, text, sizeof(text) - 1);
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_h1_content *content = fresh(HPXI_H1_CODING_GZIP, &allocator);
    const uint8_t *data = body.bytes;
    size_t size = body.size;
    uint8_t out[sizeof(text)];
    size_t produced = 0;
    assert_false(hpxi_h1_content_has_more(content));
    assert_int_equal(hpxi_h1_content_next(content, &data, &size, out, 10, &produced), 1);
    assert_int_equal(produced, 10);
    assert_true(hpxi_h1_content_has_more(content));
    assert_int_equal(hpxi_h1_content_next(content, &data, &size, out, sizeof(out), &produced), 1);
    assert_int_equal(produced, sizeof(text) - 11);
    assert_false(hpxi_h1_content_has_more(content));
    assert_int_equal(hpxi_h1_content_finish(content), HPX_OK);
    hpxi_h1_content_free(content);
    assert_int_equal(fa.live, 0);
}

static void test_content_when_cut_short_then_eof(void **state)
{
    (void)state;
    static const int windows[] = {31, 15, -15};
    static coded body;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_h1_content *content = fresh(HPXI_H1_CODING_GZIP, &allocator);
    for (size_t w = 0; w < COUNT_OF(windows); w++) {
        const hpxi_h1_coding coding =
            windows[w] == 31 ? HPXI_H1_CODING_GZIP : HPXI_H1_CODING_DEFLATE;
        body.size = 0;
        code(&body, windows[w], text, sizeof(text) - 1);
        for (size_t size = 0; size < body.size; size++) {
            decoded d;
            hpxi_h1_content_reset(content, coding, &HPXI_H1_CONTENT_LIMITS_DEFAULT);
            decode(&d, content, body.bytes, size, 5, 64);
            assert_int_equal(d.status, size == 0 ? HPX_OK : HPX_E_EOF); /* empty is empty */
            free(d.bytes);
        }
    }
    hpxi_h1_content_free(content);
    assert_int_equal(fa.live, 0);
}

static void test_content_when_bytes_follow_then_refused(void **state)
{
    (void)state;
    static const int windows[] = {31, 15, -15};
    static coded body;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    for (size_t w = 0; w < COUNT_OF(windows); w++) {
        body.size = 0;
        code(&body, windows[w], text, sizeof(text) - 1);
        memcpy(body.bytes + body.size, "xyz", 3);
        for (size_t piece = 1; piece < 200; piece += 66) {
            hpxi_h1_content *content =
                fresh(windows[w] == 31 ? HPXI_H1_CODING_GZIP : HPXI_H1_CODING_DEFLATE, &allocator);
            decoded d;
            decode(&d, content, body.bytes, body.size + 3, piece, 64);
            assert_int_equal(d.status, HPX_E_HTTP_MALFORMED);
            assert_int_equal(d.size, sizeof(text) - 1); /* what was good was given out */
            free(d.bytes);
            hpxi_h1_content_free(content);
        }
    }
    assert_int_equal(fa.live, 0);
}

/* The limit is exact: a body as long as it passes. */
static void test_content_when_output_reaches_limit_then_refused_beyond(void **state)
{
    (void)state;
    static coded body;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_h1_content *content = fresh(HPXI_H1_CODING_GZIP, &allocator);
    body.size = 0;
    code(&body, 31, text, sizeof(text) - 1);
    for (size_t max = sizeof(text) - 3; max <= sizeof(text); max++) {
        for (size_t piece = 1; piece < 200; piece += 66) {
            const hpxi_h1_content_limits limits = {.output_bytes_max = max};
            decoded d;
            hpxi_h1_content_reset(content, HPXI_H1_CODING_GZIP, &limits);
            decode(&d, content, body.bytes, body.size, piece, 50);
            assert_int_equal(d.status, max >= sizeof(text) - 1 ? HPX_OK : HPX_E_HTTP_TOO_BIG);
            assert_int_equal(d.size, max < sizeof(text) - 1 ? max : sizeof(text) - 1);
            free(d.bytes);
        }
    }
    hpxi_h1_content_free(content);
    assert_int_equal(fa.live, 0);
}

/* 64 MiB of zeros in 64 KiB: stopped by the ratio long before the limit on output. */
static void test_content_when_bomb_then_stopped_by_its_ratio(void **state)
{
    (void)state;
    static coded bomb;
    const size_t size = (size_t)64 << 20;
    uint8_t *zeros = calloc(1, size);
    assert_non_null(zeros);
    bomb.size = 0;
    code(&bomb, 31, zeros, size);
    free(zeros);
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_h1_content *content = fresh(HPXI_H1_CODING_GZIP, &allocator);
    for (size_t piece = 100; piece <= bomb.size; piece *= 20) {
        decoded d;
        hpxi_h1_content_reset(content, HPXI_H1_CODING_GZIP, &HPXI_H1_CONTENT_LIMITS_DEFAULT);
        decode(&d, content, bomb.bytes, bomb.size, piece, 65536);
        assert_int_equal(d.status, HPX_E_HTTP_TOO_BIG);
        assert_non_null(strstr(d.detail, "gzip body: more output than its limit or its ratio"));
        assert_in_range(d.size, 1 << 20, 2 << 20);
        free(d.bytes);
    }
    assert_true(fa.bytes < 50000);
    const hpxi_h1_content_limits any = {.output_bytes_max = size};
    decoded d;
    hpxi_h1_content_reset(content, HPXI_H1_CODING_GZIP, &any);
    decode(&d, content, bomb.bytes, bomb.size, bomb.size, 1 << 20);
    assert_int_equal(d.status, HPX_OK);
    assert_int_equal(d.size, size);
    free(d.bytes);
    hpxi_h1_content_free(content);
    assert_int_equal(fa.live, 0);
}

static void test_coding_of_when_value_is_given_then_only_known_single_ones(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        int coding; /* -1: refused */
    } rows[] = {
        {"", HPXI_H1_CODING_IDENTITY},
        {"Identity", HPXI_H1_CODING_IDENTITY},
        {"gzip", HPXI_H1_CODING_GZIP},
        {"X-GZIP", HPXI_H1_CODING_GZIP},
        {"deflate", HPXI_H1_CODING_DEFLATE},
        {"br", -1},
        {"gzip, gzip", -1},
        {"gzip,", -1},
        {"gzipx", -1},
        {"compress", -1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpxi_h1_coding coding = HPXI_H1_CODING_IDENTITY;
        const hpx_span value = {
            .data = (const uint8_t *)rows[i].value, .size = strlen(rows[i].value)};
        assert_int_equal(hpxi_h1_coding_of(value, &coding), rows[i].coding >= 0);
        assert_true(rows[i].coding < 0 || (int)coding == rows[i].coding);
    }
}

static void content_scenario(hpx_allocator allocator, bool expect_success)
{
    static coded body;
    body.size = 0;
    code(&body, 31, text, sizeof(text) - 1);
    hpxi_h1_content *content =
        hpxi_h1_content_new(HPXI_H1_CODING_GZIP, &HPXI_H1_CONTENT_LIMITS_DEFAULT, &allocator);
    if (content == NULL) {
        assert_false(expect_success);
        return;
    }
    decoded d;
    decode(&d, content, body.bytes, body.size, 7, 10);
    assert_int_equal(d.status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    free(d.bytes);
    hpxi_h1_content_free(content);
}

static void test_content_when_any_allocation_fails_then_no_memory_and_no_leak(void **state)
{
    (void)state;
    fa_exhaust(content_scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content_when_any_format_then_decoded_at_every_cut),
        cmocka_unit_test(test_content_when_any_byte_is_damaged_then_refused),
        cmocka_unit_test(test_content_when_output_is_full_then_says_that_there_is_more),
        cmocka_unit_test(test_content_when_cut_short_then_eof),
        cmocka_unit_test(test_content_when_bytes_follow_then_refused),
        cmocka_unit_test(test_content_when_output_reaches_limit_then_refused_beyond),
        cmocka_unit_test(test_content_when_bomb_then_stopped_by_its_ratio),
        cmocka_unit_test(test_coding_of_when_value_is_given_then_only_known_single_ones),
        cmocka_unit_test(test_content_when_any_allocation_fails_then_no_memory_and_no_leak),
    };
    return cmocka_run_group_tests_name("h1/content", tests, NULL, NULL);
}

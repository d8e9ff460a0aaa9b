/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    gzip, zlib and raw deflate bodies decode to the same bytes however they are cut and
 *         however small the room; what is cut short, malformed or has bytes behind it is told.
 * Method  Bodies made with zlib's compressor, fed whole, at every cut, and byte by byte.
 */
#include "h1/decode.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define PLAIN_BYTES 3000u

static const struct {
    const char *name;
    hpxi_http_coding coding;
    int window;
} codings[] = {
    {"gzip", HPXI_HTTP_GZIP, 15 + 16},
    {"zlib", HPXI_HTTP_DEFLATE, 15},
    {"raw", HPXI_HTTP_DEFLATE, -15},
};

static uint8_t plain[PLAIN_BYTES];
static uint8_t packed[2 * PLAIN_BYTES];

static size_t pack(int window)
{
    z_stream stream = {0};
    for (size_t i = 0; i < PLAIN_BYTES; i++) {
        plain[i] = (uint8_t)(i * i >> 3);
    }
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = plain;
    stream.avail_in = PLAIN_BYTES;
    stream.next_out = packed;
    stream.avail_out = sizeof(packed);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    const size_t made = sizeof(packed) - stream.avail_out;
    deflateEnd(&stream);
    return made;
}

typedef struct result {
    ptrdiff_t status; /* 0, or the error */
    size_t size;
    uint8_t bytes[PLAIN_BYTES + 100];
} result;

static void
feed(hpxi_http_decoder *decoder, const uint8_t *data, size_t size, size_t room, result *out)
{
    while (out->status == 0) {
        const ptrdiff_t got =
            hpxi_http_decoder_next(decoder, &data, &size, out->bytes + out->size, room);
        if (got == 0) {
            assert_int_equal(size, 0);
            return;
        }
        if (got < 0) {
            out->status = got;
        } else {
            assert_true((size_t)got <= room);
            out->size += (size_t)got;
            assert_true(out->size <= PLAIN_BYTES);
        }
    }
}

static void test_decode_when_cut_anywhere_then_the_same_bytes(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_http_decoder decoder;
    assert_int_equal(hpxi_http_decoder_init(&decoder, &allocator), HPX_OK);
    static result r;
    size_t before = 0;
    for (size_t c = 0; c < COUNT_OF(codings); c++) {
        const size_t size = pack(codings[c].window);
        for (size_t cut = 0; cut <= size; cut++) {
            r = (result){0};
            hpxi_http_decoder_start(&decoder, codings[c].coding);
            assert_true(hpxi_http_decoder_is_complete(&decoder)); /* an empty body is */
            feed(&decoder, packed, cut, 64, &r);
            assert_int_equal(hpxi_http_decoder_is_complete(&decoder), cut == 0 || cut == size);
            feed(&decoder, packed + cut, size - cut, 64, &r);
            assert_int_equal(r.status, 0);
            assert_int_equal(r.size, PLAIN_BYTES);
            assert_memory_equal(r.bytes, plain, PLAIN_BYTES);
            assert_true(hpxi_http_decoder_is_complete(&decoder));
            before = before == 0 ? fa.count : before;
        }
        r = (result){0};
        hpxi_http_decoder_start(&decoder, codings[c].coding);
        for (size_t i = 0; i < size; i++) {
            feed(&decoder, packed + i, 1, 1, &r);
        }
        assert_int_equal(r.size, PLAIN_BYTES);
        assert_memory_equal(r.bytes, plain, PLAIN_BYTES);
    }
    assert_int_equal(fa.count, before); /* used again without allocating */
    hpxi_http_decoder_fini(&decoder);
    assert_int_equal(fa.live, 0);
}

static void test_decode_when_malformed_then_told(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_http_decoder decoder;
    assert_int_equal(hpxi_http_decoder_init(&decoder, &allocator), HPX_OK);
    static result r;
    for (size_t c = 0; c < COUNT_OF(codings); c++) {
        const size_t size = pack(codings[c].window);
        r = (result){0}; /* bytes behind the end */
        hpxi_http_decoder_start(&decoder, codings[c].coding);
        feed(&decoder, packed, size, 4096 - 1000, &r);
        feed(&decoder, (const uint8_t *)"x", 1, 64, &r);
        assert_int_equal(r.status, HPX_E_HTTP_ENCODING);
        r = (result){0};
        hpxi_http_decoder_start(&decoder, codings[c].coding);
        packed[0] = 0xFF; /* no header of any of them, and a reserved block type */
        feed(&decoder, packed, size, 64, &r);
        assert_int_equal(r.status, HPX_E_HTTP_ENCODING);
    }
    hpxi_http_decoder_fini(&decoder);
    assert_int_equal(fa.live, 0);
}

static void test_coding_when_named_then_known(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        hpxi_http_coding coding;
    } rows[] = {
        {"gzip", HPXI_HTTP_GZIP},
        {"GZip", HPXI_HTTP_GZIP},
        {"x-gzip", HPXI_HTTP_GZIP},
        {"deflate", HPXI_HTTP_DEFLATE},
        {"identity", HPXI_HTTP_IDENTITY},
        {"", HPXI_HTTP_IDENTITY},
        {"br", HPXI_HTTP_UNKNOWN_CODING},
        {"gzip, gzip", HPXI_HTTP_UNKNOWN_CODING},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(hpxi_http_coding_of(hpx_span_of(rows[i].value)), rows[i].coding);
    }
}

static void test_init_when_there_is_no_memory_then_said(void **state)
{
    (void)state;
    failing_allocator fa = {.fail_at = 0};
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_http_decoder decoder;
    assert_int_equal(hpxi_http_decoder_init(&decoder, &allocator), HPX_E_NO_MEMORY);
    assert_int_equal(fa.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode_when_cut_anywhere_then_the_same_bytes),
        cmocka_unit_test(test_decode_when_malformed_then_told),
        cmocka_unit_test(test_coding_when_named_then_known),
        cmocka_unit_test(test_init_when_there_is_no_memory_then_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

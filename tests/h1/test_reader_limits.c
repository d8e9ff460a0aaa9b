/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: hostile input stops at the reader's limits with linear work and bounded memory, and running
 * out of memory is a failure like any other.
 * Method: floods in pieces of several sizes. Work is counted in bytes taken, memory in bytes asked
 * of the allocator: no clock. Each limit is met exactly, then passed by one.
 */
#include <stdio.h>

#include "tests/h1/vectors.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define FLOOD_BYTES  ((size_t)20 << 20)
#define CARELESS_MAX 100u /* reads after a refusal */

static const size_t piece_sizes[] = {1, 2, 7, 1448, 65536};

typedef struct flood_result {
    hpx_status status;
    size_t offered; /* bytes given to the reader until it refused */
    size_t memory_max;
    size_t allocations;
    uint64_t body_bytes;
    hpx_error error;
} flood_result;

typedef struct flood {
    hpxi_h1_role role;
    hpxi_h1_limits limits;
    const char *start; /* once */
    const char *again; /* then this, over and over */
} flood;

/* Bytes [at, at + size) of the endless stream. */
static void flood_fill(const flood *f, size_t at, char *out, size_t size)
{
    const size_t start = strlen(f->start);
    const size_t again = strlen(f->again);
    for (size_t i = 0; i < size; i++, at++) {
        out[i] = at < start ? f->start[at] : f->again[(at - start) % again];
    }
}

/* Reads until refused, or all of FLOOD_BYTES; then goes on, as a careless caller might. */
static flood_result flood_run(const flood *f, size_t piece)
{
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    flood_result result = {.status = HPX_E_PARTIAL};
    hpxi_h1_reader reader;
    hpxi_h1_reader_init(&reader, f->role, &f->limits, &allocator);
    hpxi_h1_reader_start(&reader, NULL);
    char *buffer = malloc(piece);
    assert_non_null(buffer);
    size_t careless = 0;
    for (size_t at = 0; at < FLOOD_BYTES && careless < CARELESS_MAX; at += piece) {
        flood_fill(f, at, buffer, piece);
        const uint8_t *data = (const uint8_t *)buffer;
        size_t size = piece;
        hpxi_h1_event event;
        int status;
        while ((status = hpxi_h1_reader_next(&reader, &data, &size, &event)) == 1) {
        }
        const bool refused = result.status != HPX_E_PARTIAL;
        assert_true(!refused || status == result.status); /* once failed, the same for ever */
        result.status = status;
        result.offered += refused ? 0 : piece;
        careless += refused ? 1 : 0;
        result.memory_max = fa.bytes > result.memory_max ? fa.bytes : result.memory_max;
    }
    result.allocations = fa.count;
    result.body_bytes = reader.body_bytes;
    result.error = reader.error;
    free(buffer);
    hpxi_h1_reader_fini(&reader);
    assert_int_equal(fa.live, 0);
    return result;
}

/* Refused after `bytes` of the flood with this text, whatever the pieces. */
static void flood_check(const flood *f, size_t bytes, size_t memory_max, const char *text)
{
    for (size_t p = 0; p < COUNT_OF(piece_sizes); p++) {
        const flood_result result = flood_run(f, piece_sizes[p]);
        assert_int_equal(result.status, HPX_E_HTTP_TOO_BIG);
        assert_string_equal(result.error.detail, text);
        assert_in_range(result.offered, bytes, bytes + piece_sizes[p] - 1);
        assert_true(result.memory_max <= memory_max);
        assert_true(result.allocations <= 16);
    }
}

/* W14, H6: one field of 20 MB, byte by byte. */
static void test_reader_when_one_endless_field_then_fails_at_the_cap(void **state)
{
    (void)state;
    static const uint32_t caps[] = {64, 16384, 262144};
    for (size_t c = 0; c < COUNT_OF(caps); c++) {
        char text[100];
        snprintf(text, sizeof(text), "more than %u bytes in the response's head", caps[c]);
        flood f = {
            .limits = HPXI_H1_LIMITS_DEFAULT, .start = "HTTP/1.1 200 x\r\nA: ", .again = "a"};
        f.limits.head_bytes_max = caps[c];
        flood_check(&f, caps[c] + 1, 2 * (size_t)caps[c] + 256, text);
        f.role = HPXI_H1_ROLE_SERVER;
        f.start = "GET / HTTP/1.1\r\nA: ";
        snprintf(text, sizeof(text), "more than %u bytes in the request's head", caps[c]);
        flood_check(&f, caps[c] + 1, 2 * (size_t)caps[c] + 256, text);
    }
}

static void test_reader_when_endless_fields_then_fails_at_the_cap(void **state)
{
    (void)state;
    const flood f = {
        .limits = HPXI_H1_LIMITS_DEFAULT, .start = "HTTP/1.1 200 x\r\n", .again = "A: b\r\n"};
    flood_check(&f, 16 + 129 * 6, 4096, "more than 128 fields in the response's head");
}

/* H6: interim responses without end, small ones and large ones. */
static void test_reader_when_endless_interim_responses_then_fails_at_the_cap(void **state)
{
    (void)state;
    flood f = {.limits = HPXI_H1_LIMITS_DEFAULT, .start = "", .again = "HTTP/1.1 100 x\r\n\r\n"};
    flood_check(&f, 17 * 18, 4096, "more than 16 interim responses before the final one");
    f.limits.interim_max = 0;
    flood_check(&f, 18, 4096, "more than 0 interim responses before the final one");
    f.limits.interim_max = 1000000;
    flood_check(&f, 65537, 4096, "more than 65536 bytes in the response's head");
}

/* H6: chunk extensions, in one chunk and spread over many. */
static void test_reader_when_endless_extensions_then_fails_at_the_cap(void **state)
{
    (void)state;
    static const char text[] = "too many bytes of chunk extensions, after %u bytes of the body";
    static const char head[] = "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n";
    char start[100];
    char expected[100];
    snprintf(start, sizeof(start), "%s5;", head);
    snprintf(expected, sizeof(expected), text, 0);
    flood f = {.limits = HPXI_H1_LIMITS_DEFAULT, .start = start, .again = "a"};
    flood_check(&f, strlen(head) + 1 + 16385, 4096, expected);
    f.start = head;
    f.again = "1;abc\r\nx\r\n"; /* 4 bytes of extension in each */
    snprintf(expected, sizeof(expected), text, 4096);
    flood_check(&f, strlen(head) + 4096 * 10 + 2, 4096, expected);
}

static void test_reader_when_endless_trailers_then_fails_at_the_cap(void **state)
{
    (void)state;
    flood f = {
        .limits = HPXI_H1_LIMITS_DEFAULT,
        .start = "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ",
        .again = "a"};
    const size_t head = strlen(f.start) - 3;
    flood_check(
        &f, head + 16385, 2 * 16384 + 4096, "more than 16384 bytes in the response's trailers");
    f.again = "a\r\nA: ";
    flood_check(&f, head + 129 * 6, 8192, "more than 128 fields in the response's trailers");
}

/* Chunks of one byte are no attack as such: they pass, with no memory but the head's. */
static void test_reader_when_chunks_of_one_byte_then_body_and_no_memory(void **state)
{
    (void)state;
    const flood f = {
        .limits = HPXI_H1_LIMITS_DEFAULT,
        .start = "HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n",
        .again = "1\r\nx\r\n"};
    const flood_result result = flood_run(&f, 1448);
    assert_int_equal(result.status, HPX_E_PARTIAL);
    assert_in_range(result.body_bytes, FLOOD_BYTES / 6 - 20, FLOOD_BYTES / 6 + 300);
    assert_true(result.memory_max <= 4096);
}

/* Each limit met exactly passes, at every cut; one less does not. */
static void test_reader_when_limit_is_met_exactly_then_passes(void **state)
{
    (void)state;
    static const char bytes[] =
        "HTTP/1.1 103 early hints\r\nA: b\r\nC: d\r\n\r\n"
        "HTTP/1.1 200 fine\r\nTransfer-Encoding: chunked\r\nE: f\r\nG: h\r\n\r\n"
        "1;abc\r\nx\r\n0;d=e\r\nT: u\r\nV: w\r\nX: y\r\n\r\n";
    const hpxi_h1_limits exact = {
        .head_bytes_max = 40 + 61,
        .fields_max = 3,
        .interim_max = 1,
        .extension_bytes_max = 8,
        .trailer_bytes_max = 20};
    for (int less = -1; less < 5; less++) {
        log_plan plan = {.limits = exact};
        plan.limits.head_bytes_max -= less == 0;
        plan.limits.fields_max -= less == 1;
        plan.limits.interim_max -= less == 2;
        plan.limits.extension_bytes_max -= less == 3;
        plan.limits.trailer_bytes_max -= less == 4;
        message_log whole;
        log_read(&whole, &plan, (const uint8_t *)bytes, sizeof(bytes) - 1, 0, sizeof(bytes));
        assert_int_equal(whole.status, less < 0 ? HPX_E_PARTIAL : HPX_E_HTTP_TOO_BIG);
        assert_int_equal(whole.message_count, less < 0 ? 1 : 0);
        for (size_t piece = 1; piece < sizeof(bytes); piece++) {
            message_log cut;
            log_read(&cut, &plan, (const uint8_t *)bytes, sizeof(bytes) - 1, 0, piece);
            assert_string_equal(cut.text, whole.text);
            log_read(&cut, &plan, (const uint8_t *)bytes, sizeof(bytes) - 1, piece, 1000);
            assert_string_equal(cut.text, whole.text);
        }
    }
}

/* Garbage is told by the first byte that shows it. */
static void test_reader_when_not_http_then_fails_at_the_first_wrong_byte(void **state)
{
    (void)state;
    static const struct {
        vector_kind kind;
        const char *bytes;
        size_t fails_at; /* number of bytes after which it is clear */
    } rows[] = {
        {VECTOR_GET, "\x15\x03\x01", 1},
        {VECTOR_GET, "HTTP/2 200\r\n", 6},
        {VECTOR_GET, "HTTP/1.2 200\r\n", 8},
        {VECTOR_GET, "GET / HTTP/1.1\r\n", 1},
        {VECTOR_GET, "HTTP/1.1 abc\r\n", 14},
        {VECTOR_GET, "\xEF\xBB\xBFHTTP/1.1 200", 1},
        {VECTOR_REQUEST, "\x16\x03\x01", 1},
        {VECTOR_REQUEST, "*1\r\n$4\r\nPING\r\n", 3},
        {VECTOR_REQUEST, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 16},
        {VECTOR_REQUEST, "{\"id\":1}", 1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const vector row = {.kind = rows[i].kind};
        const log_plan plan = vector_plan(&row);
        message_log log;
        const uint8_t *bytes = (const uint8_t *)rows[i].bytes;
        log_read(&log, &plan, bytes, rows[i].fails_at - 1, 0, 100);
        assert_int_equal(log.status, HPX_E_PARTIAL);
        log_read(&log, &plan, bytes, rows[i].fails_at, 0, 100);
        assert_int_equal(log.status, HPX_E_HTTP_MALFORMED);
    }
}

static void read_scenario(hpx_allocator allocator, bool expect_success)
{
    char bytes[4096] = "HTTP/1.1 100 x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    for (int i = 0; i < 40; i++) { /* the array of fields grows twice, the buffer as well */
        strcat(bytes, "Name: a value of some length, so that the buffer grows\r\n");
    }
    strcat(bytes, "\r\n1\r\nx\r\n0\r\nTrailer: a\r\n\r\n");
    log_plan plan = {.limits = HPXI_H1_LIMITS_DEFAULT, .allocator = &allocator};
    message_log log;
    for (size_t piece = 1; piece < 1000; piece *= 31) {
        log_read(&log, &plan, (const uint8_t *)bytes, strlen(bytes), 0, piece);
        if (!expect_success && log.status != HPX_E_PARTIAL) {
            assert_int_equal(log.status, HPX_E_NO_MEMORY);
            return;
        }
        assert_int_equal(log.message_count, 1);
    }
    assert_true(expect_success);
}

static void test_reader_when_any_allocation_fails_then_no_memory_and_no_leak(void **state)
{
    (void)state;
    fa_exhaust(read_scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_when_one_endless_field_then_fails_at_the_cap),
        cmocka_unit_test(test_reader_when_endless_fields_then_fails_at_the_cap),
        cmocka_unit_test(test_reader_when_endless_interim_responses_then_fails_at_the_cap),
        cmocka_unit_test(test_reader_when_endless_extensions_then_fails_at_the_cap),
        cmocka_unit_test(test_reader_when_endless_trailers_then_fails_at_the_cap),
        cmocka_unit_test(test_reader_when_chunks_of_one_byte_then_body_and_no_memory),
        cmocka_unit_test(test_reader_when_limit_is_met_exactly_then_passes),
        cmocka_unit_test(test_reader_when_not_http_then_fails_at_the_first_wrong_byte),
        cmocka_unit_test(test_reader_when_any_allocation_fails_then_no_memory_and_no_leak),
    };
    return cmocka_run_group_tests_name("h1/reader_limits", tests, NULL, NULL);
}

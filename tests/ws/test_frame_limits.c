/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what a peer can make the decoder hold is bounded by the limits and by the bytes that it
 * really sent; a steady state allocates nothing; a failing allocation is a clean end.
 * Method: a counting allocator under streams that press on each limit from both sides.
 */
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"
#include "tests/ws/frame_log.h"

#define CLAIM_MAX ((size_t)65536) /* most that a claimed length may reserve */

typedef struct fixture {
    failing_allocator fa;
    hpx_allocator allocator;
    hpxi_ws_decoder decoder;
    size_t bytes_most; /* most bytes ever held between two calls */
} fixture;

static void fixture_init(fixture *f, hpxi_ws_limits limits)
{
    *f = (fixture){.fa = FAILING_ALLOCATOR_NEVER};
    f->allocator = fa_allocator(&f->fa);
    hpxi_ws_decoder_init(&f->decoder, HPXI_WS_ROLE_CLIENT, &limits, &f->allocator);
}

static void fixture_fini(fixture *f)
{
    hpxi_ws_decoder_fini(&f->decoder);
    assert_int_equal(f->fa.live, 0);
}

/* Decodes one piece to its end; the last status, messages counted. */
static hpx_status give(fixture *f, const void *bytes, size_t size, size_t *messages)
{
    static uint8_t block[200000];
    assert_true(size <= sizeof(block));
    memcpy(block, bytes, size);
    uint8_t *in = block;
    hpxi_ws_message message;
    hpx_status status;
    while ((status = hpxi_ws_decoder_next(&f->decoder, &in, &size, &message)) == 1) {
        ++*messages;
    }
    assert_int_equal(size, 0);
    f->bytes_most = f->bytes_most < f->fa.bytes ? f->fa.bytes : f->bytes_most;
    return status;
}

static size_t frame_header(uint8_t *dst, hpxi_ws_op op, bool fin, uint64_t size)
{
    static uint8_t payload[UINT16_MAX];
    if (size <= UINT16_MAX) {
        return hpxi_ws_encode(dst, op, fin, NULL, payload, (size_t)size) - (size_t)size;
    }
    dst[0] = (uint8_t)((fin ? 0x80 : 0) | op);
    dst[1] = 127;
    for (uint32_t i = 0; i < 8; i++) {
        dst[2 + i] = (uint8_t)(size >> (56 - 8 * i));
    }
    return 10;
}

static void test_frame_limit_when_message_at_limit_then_passes_and_one_more_fails(void **state)
{
    (void)state;
    static const uint64_t limits[] = {1, 2, 125, 126, 127, 1000, 65535, 65536, 100000};
    static uint8_t frame[200000];
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        for (size_t cut = 0; cut < 3; cut++) { /* in one piece; header alone; last byte alone */
            for (uint64_t over = 0; over < 2; over++) {
                fixture f;
                fixture_init(
                    &f,
                    (hpxi_ws_limits){
                        .message_bytes_max = limits[i], .retain_bytes_max = 0, .fragments_max = 1});
                const size_t size = (size_t)(limits[i] + over);
                const size_t header = frame_header(frame, HPXI_WS_BINARY, true, size);
                const size_t whole = header + size;
                const size_t first = cut == 0 ? whole : cut == 1 ? header : whole - 1;
                size_t messages = 0;
                hpx_status status = give(&f, frame, first, &messages);
                if (over != 0) {
                    assert_int_equal(status, HPX_E_WS_TOO_BIG);
                    assert_int_equal(f.decoder.failure_code, 1009);
                    assert_int_equal(f.fa.count, 0); /* refused before anything was stored */
                } else {
                    assert_int_equal(status, HPX_E_PARTIAL);
                    status = give(&f, frame + first, whole - first, &messages);
                    assert_int_equal(status, HPX_E_PARTIAL);
                    assert_int_equal(messages, 1);
                    assert_true(f.bytes_most <= limits[i]);
                }
                fixture_fini(&f);
            }
        }
    }
}

static void test_frame_limit_when_fragments_add_up_then_sum_is_limited(void **state)
{
    (void)state;
    for (uint64_t last = 0; last < 12; last++) {
        fixture f;
        fixture_init(
            &f,
            (hpxi_ws_limits){
                .message_bytes_max = 10, .retain_bytes_max = 4096, .fragments_max = 8});
        size_t messages = 0;
        assert_int_equal(
            give(
                &f,
                "\x02\x03"
                "abc",
                5,
                &messages),
            HPX_E_PARTIAL);
        assert_int_equal(
            give(
                &f,
                "\x00\x04"
                "defg",
                6,
                &messages),
            HPX_E_PARTIAL);
        uint8_t frame[32] = {0};
        const size_t header = frame_header(frame, HPXI_WS_CONTINUATION, true, last);
        /* The header alone decides. */
        const hpx_status status = give(&f, frame, header, &messages);
        assert_int_equal(status, last <= 3 ? HPX_E_PARTIAL : HPX_E_WS_TOO_BIG);
        assert_true(f.bytes_most <= 10);
        if (last <= 3) {
            assert_int_equal(give(&f, frame + header, (size_t)last, &messages), HPX_E_PARTIAL);
            assert_int_equal(messages, 1);
        } else {
            assert_int_equal(f.fa.live, 0); /* a failed decoder holds nothing */
        }
        fixture_fini(&f);
    }
}

static void test_frame_limit_when_length_sum_would_wrap_then_too_big(void **state)
{
    (void)state;
    static const uint64_t lengths[] = {
        INT64_MAX,
        INT64_MAX - 1,
        UINT64_C(1) << 62,
        UINT64_C(1) << 32,
        (UINT64_C(1) << 32) - 1,
        UINT64_C(1) << 31,
        (UINT64_C(1) << 31) - 1};
    for (size_t i = 0; i < COUNT_OF(lengths) * 2; i++) {
        fixture f;
        fixture_init(
            &f,
            (hpxi_ws_limits){
                .message_bytes_max = 1 << 20, .retain_bytes_max = 4096, .fragments_max = 8});
        size_t messages = 0;
        const bool second = i % 2 != 0;
        if (second) {
            assert_int_equal(
                give(
                    &f,
                    "\x02\x01"
                    "a",
                    3,
                    &messages),
                HPX_E_PARTIAL);
        }
        uint8_t frame[16];
        const size_t header = frame_header(
            frame, second ? HPXI_WS_CONTINUATION : HPXI_WS_BINARY, true, lengths[i / 2]);
        assert_int_equal(give(&f, frame, header, &messages), HPX_E_WS_TOO_BIG);
        assert_true(f.bytes_most <= CLAIM_MAX);
        fixture_fini(&f);
    }
}

static void test_frame_limit_when_too_many_fragments_then_too_big(void **state)
{
    (void)state;
    for (uint32_t limit = 1; limit < 6; limit++) {
        fixture f;
        fixture_init(
            &f,
            (hpxi_ws_limits){
                .message_bytes_max = 100, .retain_bytes_max = 100, .fragments_max = limit});
        size_t messages = 0;
        for (int round = 0; round < 3; round++) { /* the count begins anew with each message */
            for (uint32_t i = 0; i < limit; i++) {
                uint8_t frame[3] = {i == 0 ? 0x02 : 0x00, 0x01, 'a'};
                frame[0] |= i + 1 == limit ? 0x80 : 0;
                assert_int_equal(give(&f, frame, 3, &messages), HPX_E_PARTIAL);
                /* Control frames do not count. */
                assert_int_equal(give(&f, "\x89\x00", 2, &messages), HPX_E_PARTIAL);
            }
        }
        assert_int_equal(messages, 3 + 3 * limit);
        hpx_status status = give(
            &f,
            "\x02\x01"
            "a",
            3,
            &messages);
        for (uint32_t i = 1; i <= limit && status == HPX_E_PARTIAL; i++) {
            status = give(&f, i < limit ? "\x00\x00" : "\x80\x00", 2, &messages);
            assert_int_equal(status, i < limit ? HPX_E_PARTIAL : HPX_E_WS_TOO_BIG);
        }
        assert_int_equal(status, HPX_E_WS_TOO_BIG);
        assert_int_equal(f.decoder.failure_code, 1009);
        fixture_fini(&f);
    }
}

/* Pitfall W5: an endless message of one-byte fragments. */
static void test_frame_memory_when_million_fragments_then_bounded(void **state)
{
    (void)state;
    const hpxi_ws_limits limits = {
        .message_bytes_max = 1500000, .retain_bytes_max = 65536, .fragments_max = 2000000};
    fixture f;
    fixture_init(&f, limits);
    size_t messages = 0;
    assert_int_equal(
        give(
            &f,
            "\x02\x01"
            "a",
            3,
            &messages),
        HPX_E_PARTIAL);
    for (size_t i = 1; i < 1000000; i++) {
        assert_int_equal(
            give(
                &f,
                "\x00\x01"
                "a",
                3,
                &messages),
            HPX_E_PARTIAL);
        assert_true(f.fa.bytes <= 2 * (i + 1) + 256); /* what came, not what was promised */
    }
    assert_true(f.bytes_most <= limits.message_bytes_max);
    assert_true(f.fa.count < 32);
    assert_int_equal(give(&f, "\x80\x00", 2, &messages), HPX_E_PARTIAL);
    assert_int_equal(messages, 1);
    assert_int_equal(f.fa.live, 0); /* over retain_bytes_max */
    fixture_fini(&f);
}

static void test_frame_memory_when_length_only_claimed_then_little_is_reserved(void **state)
{
    (void)state;
    const hpxi_ws_limits limits = {
        .message_bytes_max = UINT64_C(1) << 30,
        .retain_bytes_max = UINT64_C(1) << 30,
        .fragments_max = 4};
    static uint8_t piece[100000];
    fixture f;
    fixture_init(&f, limits);
    size_t messages = 0;
    const size_t header = frame_header(piece, HPXI_WS_BINARY, true, UINT64_C(1) << 30);
    assert_int_equal(give(&f, piece, header + 1, &messages), HPX_E_PARTIAL);
    assert_true(f.bytes_most <= CLAIM_MAX);
    size_t received = 1;
    memset(piece, 'x', sizeof(piece));
    for (size_t i = 1; i < 300; i++) {
        const size_t size = i * 331 % sizeof(piece);
        assert_int_equal(give(&f, piece, size, &messages), HPX_E_PARTIAL);
        received += size;
        assert_true(f.fa.bytes <= 2 * received + CLAIM_MAX);
    }
    assert_true(f.fa.count < 20); /* it grew by doubling */
    fixture_fini(&f);
}

static void test_frame_memory_when_retained_then_within_limit(void **state)
{
    (void)state;
    static uint8_t frame[20000];
    fixture f;
    fixture_init(
        &f,
        (hpxi_ws_limits){
            .message_bytes_max = 1 << 20, .retain_bytes_max = 8192, .fragments_max = 4});
    size_t messages = 0;
    for (size_t size = 100; size <= 16384; size *= 2) {
        const size_t header = frame_header(frame, HPXI_WS_BINARY, true, size);
        assert_int_equal(give(&f, frame, header + 1, &messages), HPX_E_PARTIAL);
        assert_int_equal(give(&f, frame + header + 1, size - 1, &messages), HPX_E_PARTIAL);
        assert_true(f.fa.bytes <= 8192);
        assert_true(f.bytes_most <= 32768);
    }
    assert_int_equal(messages, 8);
    fixture_fini(&f);
}

static void test_frame_memory_when_steady_then_no_allocation(void **state)
{
    (void)state;
    static uint8_t stream[100000];
    size_t size = 0;
    for (size_t i = 0; i < 60; i++) {
        static const uint8_t text[2000] = "tick";
        const bool whole = i % 3 != 0;
        size += hpxi_ws_encode(stream + size, HPXI_WS_TEXT, whole, NULL, text, i * 31);
        size += hpxi_ws_encode(stream + size, HPXI_WS_PING, true, NULL, text, i);
        if (!whole) {
            size += hpxi_ws_encode(stream + size, HPXI_WS_CONTINUATION, true, NULL, text, 50);
        }
    }
    fixture f;
    fixture_init(
        &f,
        (hpxi_ws_limits){
            .message_bytes_max = 1 << 20, .retain_bytes_max = 1 << 20, .fragments_max = 4});
    size_t messages = 0;
    size_t count = 0;
    for (size_t round = 0; round < 40; round++) {
        const size_t piece = 1 + round % 20 * 73;
        for (size_t at = 0; at < size; at += piece) {
            const size_t take = size - at < piece ? size - at : piece;
            assert_int_equal(give(&f, stream + at, take, &messages), HPX_E_PARTIAL);
        }
        if (round == 0) {
            count = f.fa.count;
            assert_true(count > 0);
        }
        assert_int_equal(f.fa.count, count);
    }
    assert_int_equal(messages, 4800);
    fixture_fini(&f);
}

static void decode_scenario(hpx_allocator allocator, bool expect_success)
{
    static uint8_t stream[200000];
    static const uint8_t payload[70000];
    size_t size = 0;
    size += hpxi_ws_encode(stream + size, HPXI_WS_BINARY, false, NULL, payload, 100);
    size += hpxi_ws_encode(stream + size, HPXI_WS_PING, true, NULL, payload, 100);
    size += hpxi_ws_encode(stream + size, HPXI_WS_CONTINUATION, true, NULL, payload, 5000);
    size += hpxi_ws_encode(stream + size, HPXI_WS_BINARY, true, NULL, payload, 70000);
    const hpxi_ws_limits limits = {
        .message_bytes_max = 1 << 20, .retain_bytes_max = 100, .fragments_max = 4};
    hpxi_ws_decoder decoder;
    hpxi_ws_decoder_init(&decoder, HPXI_WS_ROLE_CLIENT, &limits, &allocator);
    frame_log log = {0};
    frame_log_decode(&log, &decoder, stream, size, (frame_cut){.chunk = 1000});
    if (expect_success) {
        assert_int_equal(log.status, HPX_E_PARTIAL);
        assert_int_equal(log.event_count, 3);
    } else {
        assert_int_equal(log.status, HPX_E_NO_MEMORY);
        assert_int_equal(log.failure_code, 1011);
        assert_true(hpxi_ws_decoder_is_valid(&decoder));
        uint8_t *in = stream;
        hpxi_ws_message message;
        assert_int_equal(hpxi_ws_decoder_next(&decoder, &in, &size, &message), HPX_E_NO_MEMORY);
    }
    hpxi_ws_decoder_fini(&decoder);
    frame_log_free(&log);
}

static void test_frame_memory_when_any_allocation_fails_then_clean_end(void **state)
{
    (void)state;
    fa_exhaust(decode_scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_limit_when_message_at_limit_then_passes_and_one_more_fails),
        cmocka_unit_test(test_frame_limit_when_fragments_add_up_then_sum_is_limited),
        cmocka_unit_test(test_frame_limit_when_length_sum_would_wrap_then_too_big),
        cmocka_unit_test(test_frame_limit_when_too_many_fragments_then_too_big),
        cmocka_unit_test(test_frame_memory_when_million_fragments_then_bounded),
        cmocka_unit_test(test_frame_memory_when_length_only_claimed_then_little_is_reserved),
        cmocka_unit_test(test_frame_memory_when_retained_then_within_limit),
        cmocka_unit_test(test_frame_memory_when_steady_then_no_allocation),
        cmocka_unit_test(test_frame_memory_when_any_allocation_fails_then_clean_end),
    };
    return cmocka_run_group_tests_name("ws/frame_limits", tests, NULL, NULL);
}

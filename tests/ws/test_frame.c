/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every rule of RFC 6455 section 5 and 7.4, for both roles, wherever the input is cut.
 * Method: a table of byte strings as a server sends them, and what must come out. Each is decoded
 * in one piece, at every chunk size and split at every byte, and each result must be the same. For
 * the server's role the same table is used with its frames masked. `fails_at` is the byte that
 * breaks the rule: with one byte at a time, the decoder must fail on it and not later.
 */
#include <stdio.h>

#include "tests/support/test.h"
#include "tests/ws/frame_log.h"

#define LINE_BYTES 1024

static const hpxi_ws_limits frame_limits = {
    .message_bytes_max = 1 << 20, .retain_bytes_max = 4096, .fragments_max = 16};

typedef struct vector {
    const char *name;
    const char *bytes;
    size_t size;
    const char *expected; /* as frame_log_render() has it */
    size_t fails_at;      /* number of bytes given when it fails, client role; 0: not said */
} vector;

#define BYTES(s) s, sizeof(s) - 1

/* clang-format off */
static const vector vectors[] = {
    /* 5.2, 5.6: messages in one frame */
    {"text", BYTES("\x81\x02" "hi"), "text(hi)", 0},
    {"binary", BYTES("\x82\x03" "\x00\xFF" "a"), "binary(\\x00\\xFFa)", 0},
    {"empty_text", BYTES("\x81\x00"), "text()", 0},
    {"empty_binary", BYTES("\x82\x00"), "binary()", 0},
    {"two_messages_are_two_events", BYTES("\x81\x01" "a" "\x81\x01" "b"), "text(a) text(b)", 0},
    {"empty_between", BYTES("\x81\x01" "a" "\x82\x00" "\x81\x00" "\x81\x01" "b"),
     "text(a) binary() text() text(b)", 0},
    {"cut_in_header", BYTES("\x81\x02" "hi" "\x81"), "text(hi)", 0},
    {"cut_in_length", BYTES("\x81\x7E\x00"), "", 0},
    {"cut_in_payload", BYTES("\x81\x05" "hell"), "", 0},
    {"nothing", BYTES(""), "", 0},

    /* 5.2: reserved bits and opcodes */
    {"rsv1_text", BYTES("\xC1\x00"), "!1002", 2},
    {"rsv2_text", BYTES("\xA1\x00"), "!1002", 2},
    {"rsv3_text", BYTES("\x91\x00"), "!1002", 2},
    {"rsv_all_binary", BYTES("\xF2\x01" "a"), "!1002", 2},
    {"rsv1_ping", BYTES("\xC9\x00"), "!1002", 2},
    {"rsv3_pong", BYTES("\x9A\x00"), "!1002", 2},
    {"rsv2_close", BYTES("\xA8\x00"), "!1002", 2},
    {"rsv1_continuation", BYTES("\x01\x01" "a" "\xC0\x01" "b"), "!1002", 5},
    {"rsv_after_good_message", BYTES("\x81\x02" "hi" "\xC1\x00"), "text(hi) !1002", 6},
    {"opcode_3", BYTES("\x83\x00"), "!1002", 2},
    {"opcode_4", BYTES("\x84\x00"), "!1002", 2},
    {"opcode_5", BYTES("\x85\x00"), "!1002", 2},
    {"opcode_6", BYTES("\x86\x00"), "!1002", 2},
    {"opcode_7", BYTES("\x87\x01" "a"), "!1002", 2},
    {"opcode_3_not_fin", BYTES("\x03\x00"), "!1002", 2},
    {"opcode_B", BYTES("\x8B\x00"), "!1002", 2},
    {"opcode_C", BYTES("\x8C\x00"), "!1002", 2},
    {"opcode_D", BYTES("\x8D\x00"), "!1002", 2},
    {"opcode_E", BYTES("\x8E\x00"), "!1002", 2},
    {"opcode_F", BYTES("\x8F\x01" "a"), "!1002", 2},

    /* 5.2: lengths in their shortest form, high bit 0 */
    {"length_16_of_0", BYTES("\x82\x7E\x00\x00"), "!1002", 4},
    {"length_16_of_125", BYTES("\x82\x7E\x00\x7D"), "!1002", 4},
    {"length_16_of_126_is_good", BYTES("\x82\x7E\x00\x7E" "123456"), "", 0},
    {"length_64_of_0", BYTES("\x82\x7F\0\0\0\0\0\0\0\0"), "!1002", 10},
    {"length_64_of_125", BYTES("\x82\x7F\0\0\0\0\0\0\0\x7D"), "!1002", 10},
    {"length_64_of_65535", BYTES("\x82\x7F\0\0\0\0\0\0\xFF\xFF"), "!1002", 10},
    {"length_64_of_65536_is_good", BYTES("\x82\x7F\0\0\0\0\0\1\0\0" "123"), "", 0},
    {"length_64_high_bit", BYTES("\x82\x7F\x80\0\0\0\0\0\0\0"), "!1002", 10},
    {"length_64_all_ones", BYTES("\x82\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "!1002", 10},
    {"length_64_of_2_63_less_1", BYTES("\x82\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "!1009", 10},
    {"length_64_of_2_32", BYTES("\x82\x7F\0\0\0\1\0\0\0\0"), "!1009", 10},
    {"length_64_of_2_31", BYTES("\x82\x7F\0\0\0\0\x80\0\0\0"), "!1009", 10},
    {"length_sum_wraps",
     BYTES("\x02\x01" "a" "\x80\x7F\x7F\xFF\xFF\xFF\xFF\xFF\xFF\xFF"), "!1009", 13},

    /* 5.4: fragmentation */
    {"two_fragments", BYTES("\x01\x03" "Hel" "\x80\x02" "lo"), "text(Hello)", 0},
    {"three_fragments", BYTES("\x02\x01" "a" "\x00\x01" "b" "\x80\x01" "c"), "binary(abc)", 0},
    {"empty_fragments", BYTES("\x01\x00\x00\x00\x00\x00\x80\x00"), "text()", 0},
    {"empty_first_fragment", BYTES("\x01\x00\x80\x01" "a"), "text(a)", 0},
    {"empty_last_fragment", BYTES("\x01\x01" "a" "\x80\x00"), "text(a)", 0},
    {"ping_between_fragments",
     BYTES("\x01\x01" "a" "\x89\x01" "p" "\x80\x01" "b"), "ping(p) text(ab)", 0},
    {"controls_between_fragments",
     BYTES("\x02\x01" "a" "\x89\x00" "\x8A\x02" "pq" "\x00\x01" "b" "\x89\x01" "r" "\x80\x01" "c"),
     "ping() pong(pq) ping(r) binary(abc)", 0},
    {"message_after_fragments",
     BYTES("\x01\x01" "a" "\x80\x01" "b" "\x81\x01" "c" "\x02\x01" "d" "\x80\x01" "e"),
     "text(ab) text(c) binary(de)", 0},
    {"orphan_continuation", BYTES("\x80\x00"), "!1002", 2},
    {"orphan_continuation_not_fin", BYTES("\x00\x01" "a"), "!1002", 2},
    {"continuation_after_whole", BYTES("\x81\x01" "a" "\x80\x01" "b"), "text(a) !1002", 5},
    {"continuation_after_last",
     BYTES("\x01\x01" "a" "\x80\x01" "b" "\x80\x01" "c"), "text(ab) !1002", 8},
    {"text_inside_text", BYTES("\x01\x01" "a" "\x81\x01" "b"), "!1002", 5},
    {"binary_inside_text", BYTES("\x01\x01" "a" "\x02\x01" "b"), "!1002", 5},
    {"text_inside_empty_fragment", BYTES("\x01\x00" "\x81\x00"), "!1002", 4},
    {"text_inside_text_after_ping", BYTES("\x01\x01" "a" "\x89\x00" "\x81\x01" "b"),
     "ping() !1002", 7},

    /* 5.5: control frames */
    {"ping", BYTES("\x89\x04" "ping"), "ping(ping)", 0},
    {"empty_ping_is_delivered", BYTES("\x89\x00"), "ping()", 0},
    {"unsolicited_pong", BYTES("\x8A\x01" "x"), "pong(x)", 0},
    {"binary_ping", BYTES("\x89\x02" "\xFF\xFE"), "ping(\\xFF\\xFE)", 0},
    {"fragmented_ping", BYTES("\x09\x00"), "!1002", 2},
    {"fragmented_pong", BYTES("\x0A\x01" "a"), "!1002", 2},
    {"fragmented_close", BYTES("\x08\x02" "\x03\xE8"), "!1002", 2},
    {"ping_of_126", BYTES("\x89\x7E\x00\x7E"), "!1002", 2},
    {"ping_of_5_in_16_bits", BYTES("\x89\x7E\x00\x05" "12345"), "!1002", 2},
    {"pong_of_65536", BYTES("\x8A\x7F\0\0\0\0\0\1\0\0"), "!1002", 2},
    {"close_of_126", BYTES("\x88\x7E\x00\x7E"), "!1002", 2},

    /* 5.5.1, 7.4: CLOSE */
    {"close_empty", BYTES("\x88\x00"), "close(1005)", 0},
    {"close_1000", BYTES("\x88\x02\x03\xE8"), "close(1000)", 0},
    {"close_reason", BYTES("\x88\x05\x03\xE9" "bye"), "close(1001,bye)", 0},
    {"close_reason_utf8", BYTES("\x88\x05\x03\xE8\xE2\x82\xAC"), "close(1000,\\xE2\\x82\\xAC)", 0},
    {"close_half_code", BYTES("\x88\x01\x03"), "!1002", 2},
    {"close_code_999", BYTES("\x88\x02\x03\xE7"), "!1002", 4},
    {"close_code_1004", BYTES("\x88\x02\x03\xEC"), "!1002", 4},
    {"close_code_1005", BYTES("\x88\x02\x03\xED"), "!1002", 4},
    {"close_code_1006", BYTES("\x88\x02\x03\xEE"), "!1002", 4},
    {"close_code_1015", BYTES("\x88\x02\x03\xF7"), "!1002", 4},
    {"close_code_before_reason", BYTES("\x88\x03\x03\xEE\xFF"), "!1002", 0},
    {"close_reason_not_utf8", BYTES("\x88\x03\x03\xE8\xFF"), "!1007", 5},
    {"close_reason_cut_character", BYTES("\x88\x04\x03\xE8\xE2\x82"), "!1007", 6},
    {"close_inside_fragments", BYTES("\x01\x01" "a" "\x88\x02\x03\xE8"), "close(1000)", 0},
    {"nothing_after_close", BYTES("\x88\x00" "\x81\x01" "a"), "close(1005)", 0},
    {"rubbish_after_close", BYTES("\x88\x00" "\xFF\xFF\xFF"), "close(1005)", 0},
    {"close_after_message", BYTES("\x81\x01" "a" "\x88\x00"), "text(a) close(1005)", 0},

    /* 8.1: text is UTF-8, as a whole, and fails at the first bad byte */
    {"utf8", BYTES("\x81\x09" "\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x80"),
     "text(\\xC3\\xA9\\xE2\\x82\\xAC\\xF0\\x9F\\x9A\\x80)", 0},
    {"utf8_across_fragments", BYTES("\x01\x01\xE2" "\x00\x01\x82" "\x80\x01\xAC"),
     "text(\\xE2\\x82\\xAC)", 0},
    {"utf8_across_fragments_and_ping",
     BYTES("\x01\x02\xF0\x9F" "\x89\x01\xFF" "\x80\x02\x9A\x80"),
     "ping(\\xFF) text(\\xF0\\x9F\\x9A\\x80)", 0},
    {"utf8_bad_byte", BYTES("\x81\x04" "ab\xFF" "c"), "!1007", 5},
    {"utf8_overlong", BYTES("\x81\x02\xC0\xAF"), "!1007", 3},
    {"utf8_overlong_3", BYTES("\x81\x03\xE0\x80\xAF"), "!1007", 4},
    {"utf8_surrogate", BYTES("\x81\x03\xED\xA0\x80"), "!1007", 4},
    {"utf8_above_10FFFF", BYTES("\x81\x04\xF4\x90\x80\x80"), "!1007", 4},
    {"utf8_bare_continuation", BYTES("\x81\x01\x80"), "!1007", 3},
    {"utf8_cut_at_the_end", BYTES("\x81\x02\xE2\x82"), "!1007", 4},
    {"utf8_cut_at_the_last_fragment", BYTES("\x01\x01\xE2" "\x80\x01\x82"), "!1007", 6},
    {"utf8_cut_then_empty_last_fragment", BYTES("\x01\x02\xE2\x82" "\x80\x00"), "!1007", 6},
    {"utf8_bad_in_first_fragment", BYTES("\x01\x03" "a\xFF" "b" "\x80\x00"), "!1007", 4},
    {"utf8_bad_in_long_frame_of_which_little_came",
     BYTES("\x81\x7E\x10\x00" "abc\xFF"), "!1007", 8},
    {"utf8_bad_second_fragment", BYTES("\x01\x01\xE2" "\x80\x01" "a"), "!1007", 6},
    {"utf8_state_does_not_leak_into_the_next",
     BYTES("\x01\x02\xC3\xA9" "\x80\x00" "\x81\x01" "a" "\x01\x01" "b" "\x80\x01" "c"),
     "text(\\xC3\\xA9) text(a) text(bc)", 0},
    {"binary_is_not_text", BYTES("\x02\x01\xE2" "\x80\x01\xFF"), "binary(\\xE2\\xFF)", 0},
};
/* clang-format on */

/* Rules that the table cannot say, as it is masked for the server's role. */
typedef struct mask_vector {
    const char *name;
    hpxi_ws_role role;
    const char *bytes;
    size_t size;
    const char *expected;
} mask_vector;

/* clang-format off */
static const mask_vector mask_vectors[] = {
    {"masked_text_to_client", HPXI_WS_ROLE_CLIENT, BYTES("\x81\x82" "0000" "XY"), "!1002"},
    {"masked_empty_to_client", HPXI_WS_ROLE_CLIENT, BYTES("\x81\x80" "0000"), "!1002"},
    {"masked_long_to_client", HPXI_WS_ROLE_CLIENT, BYTES("\x81\xFE" "\x01\x00" "0000"), "!1002"},
    {"masked_ping_to_client", HPXI_WS_ROLE_CLIENT, BYTES("\x89\x80" "0000"), "!1002"},
    {"unmasked_text_to_server", HPXI_WS_ROLE_SERVER, BYTES("\x81\x02" "hi"), "!1002"},
    {"unmasked_empty_to_server", HPXI_WS_ROLE_SERVER, BYTES("\x81\x00"), "!1002"},
    {"unmasked_long_to_server", HPXI_WS_ROLE_SERVER, BYTES("\x82\x7E" "\x01\x00"), "!1002"},
    {"unmasked_close_to_server", HPXI_WS_ROLE_SERVER, BYTES("\x88\x00"), "!1002"},
    {"unmasked_fragment_to_server", HPXI_WS_ROLE_SERVER,
     BYTES("\x01\x81" "\0\0\0\0" "a" "\x80\x01" "b"), "!1002"},
    {"rfc_5_7_masked_hello", HPXI_WS_ROLE_SERVER,
     BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "text(Hello)"},
    {"rfc_5_7_masked_pong", HPXI_WS_ROLE_SERVER,
     BYTES("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), "pong(Hello)"},
    {"masked_empty", HPXI_WS_ROLE_SERVER, BYTES("\x81\x80" "abcd" "\x88\x80" "abcd"),
     "text() close(1005)"},
};
/* clang-format on */

static size_t header_bytes(const uint8_t *frame, size_t size)
{
    const uint8_t length7 = size < 2 ? 0 : frame[1] & 0x7F;
    return length7 == 127 ? 10 : length7 == 126 ? 4 : 2;
}

/* As a client would have sent the same frames; frames that are cut stay so. */
static size_t mask_frames(uint8_t *dst, const uint8_t *src, size_t size)
{
    uint8_t key[4] = {0x11, 0x80, 0xFE, 0x5A};
    size_t to = 0;
    for (size_t at = 0; at < size; key[0]++) {
        const size_t header = header_bytes(src + at, size - at);
        if (size - at < header) {
            memcpy(dst + to, src + at, size - at);
            dst[to + 1] |= size - at > 1 ? 0x80 : 0;
            return to + size - at;
        }
        uint64_t length = src[at + 1] & 0x7F;
        for (size_t i = 2; i < header; i++) {
            length = (i == 2 ? 0 : length << 8) | src[at + i];
        }
        memcpy(dst + to, src + at, header);
        dst[to + 1] |= 0x80;
        memcpy(dst + to + header, key, 4);
        to += header + 4;
        at += header;
        for (uint64_t i = 0; i < length && at < size; i++) {
            dst[to++] = src[at++] ^ key[i % 4];
        }
    }
    return to;
}

static void decode_and_expect(
    frame_log *log,
    const char *name,
    hpxi_ws_role role,
    const uint8_t *bytes,
    size_t size,
    frame_cut cut,
    const char *expected)
{
    char line[LINE_BYTES];
    *log = (frame_log){0};
    frame_log_decode_alone(log, role, &frame_limits, bytes, size, cut);
    frame_log_render(log, line, sizeof(line));
    if (strcmp(line, expected) != 0) {
        fail_msg(
            "%s, role %d, chunk %zu, split %zu: got '%s' (%s), expected '%s'",
            name,
            (int)role,
            cut.chunk,
            cut.split,
            line,
            log->detail == NULL ? "no failure" : log->detail,
            expected);
    }
    assert_true((log->status == HPX_E_PARTIAL) == (log->detail == NULL));
}

static void expect_however_cut(
    const char *name, hpxi_ws_role role, const uint8_t *bytes, size_t size, const char *expected)
{
    frame_log whole;
    decode_and_expect(&whole, name, role, bytes, size, (frame_cut){.chunk = size + 1}, expected);
    for (size_t i = 1; i <= 2 * size; i++) {
        const frame_cut cut = i <= size ? (frame_cut){.chunk = i} : (frame_cut){.split = i - size};
        frame_log log;
        decode_and_expect(&log, name, role, bytes, size, cut, expected);
        if (!frame_log_is_equal(&log, &whole)) { /* the rule that it names as well */
            fail_msg("%s: '%s' and '%s'", name, whole.detail, log.detail);
        }
        frame_log_free(&log);
    }
    frame_log_free(&whole);
}

static void test_frame_decoder_when_cut_anywhere_then_same_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        const vector *v = &vectors[i];
        const uint8_t *bytes = (const uint8_t *)v->bytes;
        uint8_t masked[1024];
        assert_true(v->size < 128);
        expect_however_cut(v->name, HPXI_WS_ROLE_CLIENT, bytes, v->size, v->expected);
        const size_t masked_size = mask_frames(masked, bytes, v->size);
        expect_however_cut(v->name, HPXI_WS_ROLE_SERVER, masked, masked_size, v->expected);
    }
    for (size_t i = 0; i < COUNT_OF(mask_vectors); i++) {
        const mask_vector *v = &mask_vectors[i];
        expect_however_cut(v->name, v->role, (const uint8_t *)v->bytes, v->size, v->expected);
    }
}

static void test_frame_decoder_when_rule_broken_then_fails_at_that_byte(void **state)
{
    (void)state;
    size_t checked = 0;
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        const vector *v = &vectors[i];
        if (v->fails_at == 0) {
            continue;
        }
        frame_log log = {0};
        frame_log_decode_alone(
            &log,
            HPXI_WS_ROLE_CLIENT,
            &frame_limits,
            (const uint8_t *)v->bytes,
            v->size,
            (frame_cut){.chunk = 1});
        if (log.consumed != v->fails_at) {
            fail_msg("%s: failed at byte %zu, not %zu", v->name, log.consumed, v->fails_at);
        }
        frame_log_free(&log);
        checked++;
    }
    assert_true(checked > 50);
}

static void test_frame_decoder_when_failed_then_same_failure_for_ever(void **state)
{
    (void)state;
    uint8_t bad[] = {0x81, 0x01, 'a', 0xC1, 0x00, 0x81, 0x01, 'b'};
    hpxi_ws_decoder decoder;
    hpxi_ws_decoder_init(&decoder, HPXI_WS_ROLE_CLIENT, &frame_limits, &frame_log_allocator);
    uint8_t *in = bad;
    size_t size = sizeof(bad);
    hpxi_ws_message message;
    assert_int_equal(hpxi_ws_decoder_next(&decoder, &in, &size, &message), 1);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(hpxi_ws_decoder_next(&decoder, &in, &size, &message), HPX_E_WS_PROTOCOL);
        assert_int_equal(size, 0);
        assert_ptr_equal(in, bad + sizeof(bad));
        assert_int_equal(decoder.failure_code, 1002);
        assert_true(hpxi_ws_decoder_is_valid(&decoder));
        size = 3; /* a good frame does not help any more */
        in = bad + sizeof(bad) - size;
    }
    hpxi_ws_decoder_fini(&decoder);
}

static void test_frame_decoder_when_whole_in_input_then_in_place(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 65535, 65536, 70000};
    for (size_t i = 0; i < COUNT_OF(sizes) * 2; i++) {
        const bool masked = i % 2 != 0;
        const size_t size = sizes[i / 2];
        uint8_t *payload = calloc(1, size + 1);
        uint8_t *frame = malloc(hpxi_ws_frame_bytes(size, masked));
        memset(payload, 'x', size);
        size_t left = hpxi_ws_encode(
            frame, HPXI_WS_TEXT, true, masked ? (const uint8_t *)"abcd" : NULL, payload, size);
        hpxi_ws_decoder decoder;
        hpxi_ws_decoder_init(
            &decoder,
            masked ? HPXI_WS_ROLE_SERVER : HPXI_WS_ROLE_CLIENT,
            &frame_limits,
            &frame_log_allocator);
        uint8_t *in = frame;
        hpxi_ws_message message;
        assert_int_equal(left, hpxi_ws_frame_bytes(size, masked));
        assert_int_equal(hpxi_ws_decoder_next(&decoder, &in, &left, &message), 1);
        assert_int_equal(left, 0);
        assert_int_equal(message.size, size);
        assert_ptr_equal(message.data + size, in);
        assert_bytes_equal(message.data, payload, size);
        assert_int_equal(decoder.gathered.capacity, 0);
        hpxi_ws_decoder_fini(&decoder);
        free(frame);
        free(payload);
    }
}

/* RFC 6455 7.4.2 and the IANA registry, by hand and not by the code's own ranges. */
static bool close_code_is_good(uint32_t code)
{
    static const uint16_t good[] = {
        1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        if (code == good[i]) {
            return true;
        }
    }
    return code / 1000 == 3 || code / 1000 == 4;
}

static void test_frame_close_when_any_code_then_only_registered_pass(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= UINT16_MAX; code++) {
        const uint8_t frame[] = {0x88, 0x02, (uint8_t)(code >> 8), (uint8_t)code};
        uint8_t masked[16];
        const size_t masked_size = mask_frames(masked, frame, sizeof(frame));
        char expected[32] = "!1002";
        const bool good = close_code_is_good(code);
        if (good) {
            snprintf(expected, sizeof(expected), "close(%u)", code);
        }
        assert_int_equal(hpxi_ws_close_code_is_valid((uint16_t)code), good);
        const frame_cut whole = {.chunk = 64};
        frame_log log;
        decode_and_expect(&log, "code", HPXI_WS_ROLE_CLIENT, frame, sizeof(frame), whole, expected);
        frame_log_free(&log);
        decode_and_expect(&log, "code", HPXI_WS_ROLE_SERVER, masked, masked_size, whole, expected);
        frame_log_free(&log);
    }
}

static void test_frame_header_when_any_two_bytes_then_as_rfc_says(void **state)
{
    (void)state;
    for (uint32_t bytes = 0; bytes <= UINT16_MAX; bytes++) {
        const uint8_t frame[2] = {(uint8_t)(bytes >> 8), (uint8_t)bytes};
        const uint32_t op = frame[0] & 15u;
        const uint32_t length = frame[1] & 127u;
        const bool masked = frame[1] >= 128;
        const bool known = op <= 2 || (op >= 8 && op <= 10);
        const bool lawful = known && (frame[0] & 0x70) == 0 && op != 0 &&
                            (op < 8 || (frame[0] >= 128 && length <= 125)) &&
                            (op != 8 || length != 1);
        for (int role = 0; role < 2; role++) {
            frame_log log = {0};
            frame_log_decode_alone(
                &log,
                role == 0 ? HPXI_WS_ROLE_CLIENT : HPXI_WS_ROLE_SERVER,
                &frame_limits,
                frame,
                2,
                (frame_cut){.chunk = 2});
            const bool good = lawful && masked == (role == 1);
            assert_int_equal(log.status, good ? HPX_E_PARTIAL : HPX_E_WS_PROTOCOL);
            frame_log_free(&log);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_decoder_when_cut_anywhere_then_same_events),
        cmocka_unit_test(test_frame_decoder_when_rule_broken_then_fails_at_that_byte),
        cmocka_unit_test(test_frame_decoder_when_failed_then_same_failure_for_ever),
        cmocka_unit_test(test_frame_decoder_when_whole_in_input_then_in_place),
        cmocka_unit_test(test_frame_close_when_any_code_then_only_registered_pass),
        cmocka_unit_test(test_frame_header_when_any_two_bytes_then_as_rfc_says),
    };
    return cmocka_run_group_tests_name("ws/frame", tests, NULL, NULL);
}

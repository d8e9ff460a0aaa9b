/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: frames are written as RFC 6455 5.2 has them, and what is encoded is decoded.
 * Method: the RFC's examples byte by byte; every length around each form; then random sessions,
 * fragmented at random with control frames between the fragments, encoded, cut at random and
 * decoded: the events must be the messages. A failing session prints its seed.
 */
#include "tests/support/test.h"
#include "tests/ws/frame_log.h"

#define SESSION_COUNT 200u
#define MESSAGE_MAX   70000u

static const uint8_t rfc_key[4] = {0x37, 0xFA, 0x21, 0x3D};

typedef struct example {
    const char *name;
    hpxi_ws_op op;
    bool fin;
    const uint8_t *key;
    const char *payload;
    const char *bytes;
    size_t size;
} example;

#define BYTES(s) s, sizeof(s) - 1

/* RFC 6455 5.7 */
static const example examples[] = {
    {"text", HPXI_WS_TEXT, true, NULL, "Hello", BYTES("\x81\x05Hello")},
    {"masked_text",
     HPXI_WS_TEXT,
     true,
     rfc_key,
     "Hello",
     BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")},
    {"first_fragment", HPXI_WS_TEXT, false, NULL, "Hel", BYTES("\x01\x03Hel")},
    {"last_fragment", HPXI_WS_CONTINUATION, true, NULL, "lo", BYTES("\x80\x02lo")},
    {"ping", HPXI_WS_PING, true, NULL, "Hello", BYTES("\x89\x05Hello")},
    {"masked_pong",
     HPXI_WS_PONG,
     true,
     rfc_key,
     "Hello",
     BYTES("\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58")},
    {"empty", HPXI_WS_BINARY, true, NULL, "", BYTES("\x82\x00")},
    {"masked_empty_close", HPXI_WS_CLOSE, true, rfc_key, "", BYTES("\x88\x80\x37\xfa\x21\x3d")},
};

static void test_frame_encode_when_rfc_example_then_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        const example *e = &examples[i];
        const size_t payload_bytes = strlen(e->payload);
        uint8_t frame[64];
        memset(frame, 0xEE, sizeof(frame));
        const size_t size = hpxi_ws_encode(
            frame,
            e->op,
            e->fin,
            e->key,
            payload_bytes == 0 ? NULL : (const uint8_t *)e->payload,
            payload_bytes);
        if (size != e->size || memcmp(frame, e->bytes, size) != 0 || frame[size] != 0xEE) {
            fail_msg("%s", e->name);
        }
        assert_int_equal(size, hpxi_ws_frame_bytes(payload_bytes, e->key != NULL));
    }
}

static void test_frame_encode_when_length_changes_form_then_shortest(void **state)
{
    (void)state;
    static const struct {
        size_t size;
        const char *header;
        size_t header_bytes;
    } forms[] = {
        {0, BYTES("\x82\x00")},
        {125, BYTES("\x82\x7D")},
        {126, BYTES("\x82\x7E\x00\x7E")},
        {256, BYTES("\x82\x7E\x01\x00")},
        {65535, BYTES("\x82\x7E\xFF\xFF")},
        {65536, BYTES("\x82\x7F\0\0\0\0\0\1\0\0")},
        {70000, BYTES("\x82\x7F\0\0\0\0\0\1\x11\x70")},
    };
    static uint8_t payload[MESSAGE_MAX];
    static uint8_t frame[MESSAGE_MAX + 32];
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (uint8_t)(i * 7);
    }
    for (size_t i = 0; i < COUNT_OF(forms) * 2; i++) {
        const bool masked = i % 2 != 0;
        const size_t size = forms[i / 2].size;
        const size_t header_bytes = forms[i / 2].header_bytes;
        memset(frame, 0xEE, sizeof(frame));
        const size_t whole =
            hpxi_ws_encode(frame, HPXI_WS_BINARY, true, masked ? rfc_key : NULL, payload, size);
        assert_int_equal(whole, header_bytes + (masked ? 4 : 0) + size);
        assert_int_equal(whole, hpxi_ws_frame_bytes(size, masked));
        assert_int_equal(frame[1] >> 7, masked);
        assert_int_equal(frame[whole], 0xEE);
        frame[1] &= 0x7F;
        assert_memory_equal(frame, forms[i / 2].header, header_bytes);
        const uint8_t *body = frame + header_bytes + (masked ? 4 : 0);
        for (size_t at = 0; at < size; at++) {
            const uint8_t expected = masked ? payload[at] ^ rfc_key[at % 4] : payload[at];
            if (body[at] != expected) {
                fail_msg("size %zu, masked %d, byte %zu", size, (int)masked, at);
            }
        }
    }
}

static void test_frame_close_payload_when_reason_is_long_then_cut_between_characters(void **state)
{
    (void)state;
    uint8_t reason[200];
    uint8_t payload[HPXI_WS_CONTROL_BYTES_MAX];
    assert_int_equal(hpxi_ws_close_payload(payload, HPXI_WS_CLOSE_NONE, (hpx_span){0}), 0);
    assert_int_equal(hpxi_ws_close_payload(payload, 1000, (hpx_span){0}), 2);
    assert_memory_equal(payload, "\x03\xE8", 2);
    for (size_t ascii = 0; ascii <= 130; ascii++) {
        for (size_t bytes = 2; bytes <= 4; bytes++) {
            static const char *const characters[] = {
                "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x9A\x80"};
            memset(reason, 'r', ascii);
            memcpy(reason + ascii, characters[bytes - 2], bytes);
            memset(reason + ascii + bytes, 's', 10);
            const hpx_span span = {.data = reason, .size = ascii + bytes + 10};
            const size_t size = hpxi_ws_close_payload(payload, 4000, span);
            assert_memory_equal(payload, "\x0F\xA0", 2);
            assert_memory_equal(payload + 2, reason, size - 2);
            const size_t room = 123;
            const size_t expected = span.size <= room                      ? span.size
                                    : ascii < room && ascii + bytes > room ? ascii
                                                                           : room;
            assert_int_equal(size, 2 + expected);
            assert_true(hpxi_utf8_check_scalar(payload + 2, size - 2));
        }
    }
}

/* ---- Random sessions ------------------------------------------------------------------------ */

typedef struct session {
    uint64_t seed;
    bool masked;
    uint8_t *bytes; /* as on the wire */
    size_t size;
    frame_log expected;
    uint8_t payload[MESSAGE_MAX + 4];
} session;

static uint32_t session_random(session *s, uint32_t below)
{
    return (uint32_t)(frame_log_random(&s->seed) >> 33) % below;
}

static void session_put(session *s, hpxi_ws_op op, bool fin, const uint8_t *payload, size_t size)
{
    const uint64_t dice = frame_log_random(&s->seed);
    uint8_t key[4];
    memcpy(key, &dice, sizeof(key));
    s->size += hpxi_ws_encode(s->bytes + s->size, op, fin, s->masked ? key : NULL, payload, size);
}

static void session_put_control(session *s)
{
    uint8_t payload[HPXI_WS_CONTROL_BYTES_MAX];
    const size_t size = session_random(s, sizeof(payload) + 1);
    for (size_t i = 0; i < size; i++) {
        payload[i] = (uint8_t)session_random(s, 256);
    }
    const hpxi_ws_op op = session_random(s, 2) == 0 ? HPXI_WS_PING : HPXI_WS_PONG;
    session_put(s, op, true, payload, size);
    frame_log_add(&s->expected, op, 0, payload, size);
}

static size_t session_size(session *s)
{
    switch (session_random(s, 8)) {
    case 0:
        return 0;
    case 1:
        return session_random(s, MESSAGE_MAX + 1);
    case 2:
        return 120 + session_random(s, 12);
    case 3:
        return 65530 + session_random(s, 12);
    default:
        return session_random(s, 1000);
    }
}

/* Fills payload; returns its size. Text has characters of 1 to 4 bytes. */
static size_t session_payload(session *s, hpxi_ws_op op)
{
    static const char *const characters[] = {"a", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x9A\x80"};
    const size_t size = session_size(s);
    const uint32_t kinds = 1 + session_random(s, 4);
    size_t at = 0;
    while (at < size) {
        if (op == HPXI_WS_BINARY) {
            s->payload[at++] = (uint8_t)session_random(s, 256);
        } else {
            const char *character = characters[session_random(s, kinds)];
            memcpy(s->payload + at, character, strlen(character));
            at += strlen(character);
        }
    }
    return at <= MESSAGE_MAX ? at : size;
}

static void session_put_message(session *s)
{
    const hpxi_ws_op op = session_random(s, 2) == 0 ? HPXI_WS_TEXT : HPXI_WS_BINARY;
    size_t size = session_payload(s, op);
    if (!hpxi_utf8_check_scalar(s->payload, size) && op == HPXI_WS_TEXT) {
        size = 0; /* cut inside a character at MESSAGE_MAX: rare */
    }
    const uint32_t fragments = session_random(s, 3) == 0 ? 1 + session_random(s, 10) : 1;
    size_t at = 0;
    for (uint32_t i = 1; i <= fragments; i++) {
        const size_t left = size - at;
        const size_t take = i == fragments ? left : session_random(s, (uint32_t)left + 1);
        const hpxi_ws_op frame_op = i == 1 ? op : HPXI_WS_CONTINUATION;
        session_put(s, frame_op, i == fragments, s->payload + at, take);
        at += take;
        if (i < fragments && session_random(s, 4) == 0) {
            session_put_control(s);
        }
    }
    frame_log_add(&s->expected, op, 0, s->payload, size);
}

static void session_make(session *s, uint64_t seed)
{
    *s = (session){.seed = seed * UINT64_C(0x9E3779B97F4A7C15)};
    const uint32_t messages = 1 + session_random(s, 30);
    s->masked = session_random(s, 2) == 0;
    s->bytes = malloc((size_t)(messages + 1) * (MESSAGE_MAX + 64 * 256));
    assert_non_null(s->bytes);
    for (uint32_t i = 0; i < messages; i++) {
        session_put_message(s);
        if (session_random(s, 4) == 0) {
            session_put_control(s);
        }
    }
    uint8_t payload[HPXI_WS_CONTROL_BYTES_MAX];
    const hpx_span reason = {.data = (const uint8_t *)"done", .size = 4};
    const size_t size = hpxi_ws_close_payload(payload, 1000, reason);
    session_put(s, HPXI_WS_CLOSE, true, payload, size);
    frame_log_add(&s->expected, HPXI_WS_CLOSE, 1000, reason.data, reason.size);
    s->expected.status = HPX_E_PARTIAL;
}

static void test_frame_session_when_cut_at_random_then_decodes_to_itself(void **state)
{
    (void)state;
    static session s;
    const hpxi_ws_limits limits = {
        .message_bytes_max = MESSAGE_MAX, .retain_bytes_max = 4096, .fragments_max = 10};
    for (uint64_t seed = 1; seed <= SESSION_COUNT; seed++) {
        session_make(&s, seed);
        const frame_cut cuts[] = {
            {.chunk = s.size}, {.chunk = 1448}, {.seed = seed}, {.seed = seed * 1000003}};
        for (size_t i = 0; i < COUNT_OF(cuts); i++) {
            frame_log log = {0};
            frame_log_decode_alone(
                &log,
                s.masked ? HPXI_WS_ROLE_SERVER : HPXI_WS_ROLE_CLIENT,
                &limits,
                s.bytes,
                s.size,
                cuts[i]);
            if (!frame_log_is_equal(&log, &s.expected)) {
                fail_msg(
                    "seed %llu, cut %zu: %zu events of %zu (%s)",
                    (unsigned long long)seed,
                    i,
                    log.event_count,
                    s.expected.event_count,
                    log.detail == NULL ? "no failure" : log.detail);
            }
            frame_log_free(&log);
        }
        frame_log_free(&s.expected);
        free(s.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frame_encode_when_rfc_example_then_same_bytes),
        cmocka_unit_test(test_frame_encode_when_length_changes_form_then_shortest),
        cmocka_unit_test(test_frame_close_payload_when_reason_is_long_then_cut_between_characters),
        cmocka_unit_test(test_frame_session_when_cut_at_random_then_decodes_to_itself),
    };
    return cmocka_run_group_tests_name("ws/frame_encode", tests, NULL, NULL);
}

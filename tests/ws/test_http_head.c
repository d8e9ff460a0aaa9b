/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the head reader stops hostile input at its limits, with linear work and bounded memory, and
 * tells what is no HTTP by the first byte that shows it.
 * Method: floods up to 20 MB in pieces of several sizes; work is counted in bytes looked at, memory
 * in bytes asked of the allocator: no clock.
 */
#include "ring/quote.h"
#include "tests/support/failing_allocator.h"
#include "tests/ws/head_feeding.h"

#define FLOOD_BYTES  ((size_t)20 << 20)
#define CARELESS_MAX 100u /* feeds after a refusal */

static const size_t piece_sizes[] = {1, 2, 7, 1448, 65536};

typedef struct flood_result {
    hpx_status status;
    size_t offered; /* bytes given to the reader until it refused */
    size_t scanned;
    size_t allocations;
    size_t memory_max;
} flood_result;

/* Feeds `size` bytes in pieces and goes on after the refusal, as a careless caller might. */
static flood_result flood(
    hpxi_ws_role role,
    uint32_t bytes_max,
    uint32_t fields_max,
    uint8_t *bytes,
    size_t size,
    size_t piece)
{
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    flood_result result = {.status = HPX_E_PARTIAL};
    hpx_error error = {0};
    hpxi_ws_head head;
    hpxi_ws_head_init(&head, role, bytes_max, fields_max, &allocator);
    size_t careless = 0;
    for (size_t at = 0; at < size && careless < CARELESS_MAX; at += piece) {
        uint8_t *data = bytes + at;
        size_t left = size - at < piece ? size - at : piece;
        const bool refused = result.status != HPX_E_PARTIAL;
        const hpx_status status = hpxi_ws_head_feed(&head, &data, &left, &error);
        assert_true(!refused || status == result.status); /* once failed, the same for ever */
        result.offered += refused ? 0 : piece;
        careless += refused ? 1 : 0;
        result.status = status;
        result.memory_max = fa.bytes > result.memory_max ? fa.bytes : result.memory_max;
        assert_int_not_equal(status, 1);
    }
    result.scanned = head.scanned;
    result.allocations = fa.count;
    assert_detail_printable(&error);
    hpxi_ws_head_fini(&head);
    assert_int_equal(fa.live, 0);
    return result;
}

/* W14: one field of 20 MB. */
static void test_head_feed_when_one_endless_field_then_fails_at_the_cap(void **state)
{
    (void)state;
    static const char start[] = "HTTP/1.1 101 x\r\nA: ";
    static const uint32_t caps[] = {64, 16384, 262144};
    uint8_t *bytes = malloc(FLOOD_BYTES);
    assert_non_null(bytes);
    memset(bytes, 'a', FLOOD_BYTES);
    memcpy(bytes, start, sizeof(start) - 1);
    for (size_t c = 0; c < COUNT_OF(caps); c++) {
        for (size_t p = 0; p < COUNT_OF(piece_sizes); p++) {
            const flood_result result =
                flood(HPXI_WS_ROLE_CLIENT, caps[c], 100, bytes, FLOOD_BYTES, piece_sizes[p]);
            assert_int_equal(result.status, HPX_E_HTTP_TOO_BIG);
            assert_int_equal(result.scanned, caps[c]); /* each byte once, and none above the cap */
            assert_true(result.offered <= caps[c] + piece_sizes[p]);
            assert_true(result.memory_max <= 2 * (size_t)caps[c] + 256);
            assert_true(result.allocations <= 12);
        }
    }
    free(bytes);
}

/* W14: 10^5 fields. The cap on fields stops them long before the cap on bytes. */
static void test_head_feed_when_endless_fields_then_fails_at_the_cap(void **state)
{
    (void)state;
    static const char start[] = "GET / HTTP/1.1\r\n";
    static const char field[] = "A: b\r\n";
    const size_t start_bytes = sizeof(start) - 1;
    const size_t field_bytes = sizeof(field) - 1;
    const size_t size = start_bytes + 100000 * field_bytes;
    uint8_t *bytes = malloc(size);
    assert_non_null(bytes);
    memcpy(bytes, start, start_bytes);
    for (size_t at = start_bytes; at < size; at += field_bytes) {
        memcpy(bytes + at, field, field_bytes);
    }
    for (uint32_t fields_max = 0; fields_max <= 1000; fields_max += 100) {
        for (size_t p = 0; p < COUNT_OF(piece_sizes); p++) {
            const flood_result result =
                flood(HPXI_WS_ROLE_SERVER, 1u << 20, fields_max, bytes, size, piece_sizes[p]);
            assert_int_equal(result.status, HPX_E_HTTP_TOO_BIG);
            assert_int_equal(result.scanned, start_bytes + (fields_max + 1) * field_bytes);
        }
    }
    free(bytes);
}

/* A head as long as the cap passes, one byte more does not. */
static void test_head_feed_when_head_is_as_long_as_cap_then_complete(void **state)
{
    (void)state;
    static const char bytes[] = "HTTP/1.1 101 x\r\nA: b\r\n\r\n";
    const uint32_t size = sizeof(bytes) - 1;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    for (uint32_t cap = 1; cap <= size + 1; cap++) {
        hpxi_ws_head head;
        hpx_error error = {0};
        hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, cap, 1, &allocator);
        const feeding fed = feed_cut(&head, bytes, size, cap % size, &error);
        assert_int_equal(fed.status, cap >= size ? 1 : HPX_E_HTTP_TOO_BIG);
        hpxi_ws_head_fini(&head);
    }
}

/* Not HTTP: told at this byte, not at the end of a timeout. */
static void test_head_feed_when_not_http_then_fails_at_the_first_wrong_byte(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        hpxi_ws_role role;
        const char *bytes;
        size_t size;
        size_t fails_at; /* number of bytes after which it is clear */
    } rows[] = {
#define ROW(name, role, bytes, fails_at)                                                           \
    {name, HPXI_WS_ROLE_##role, bytes, sizeof(bytes) - 1, fails_at}
        ROW("tls_alert", CLIENT, "\x15\x03\x01\x00\x02\x02\x46", 1),
        ROW("tls_hello", SERVER, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 1),
        ROW("ssh_banner", CLIENT, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 1),
        ROW("ssh_client", SERVER, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", 32),
        ROW("ssh_client_long", SERVER, "SSH-2.0-OpenSSH_for_Windows_9.5\r\n", 25),
        ROW("smtp_banner", CLIENT, "220 mail.example ESMTP\r\n", 1),
        ROW("smtp_client", SERVER, "EHLO mail.example\r\n", 19),
        ROW("http_2_answer", CLIENT, "\x00\x00\x12\x04\x00", 1),
        ROW("http_2_preface", SERVER, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 16),
        ROW("html", CLIENT, "<!DOCTYPE html>", 1),
        ROW("http_2_version", CLIENT, "HTTP/2 200\r\n", 6),
        ROW("http_1_2_version", CLIENT, "HTTP/1.2 200\r\n", 8),
        ROW("shoutcast", CLIENT, "ICY 200 OK\r\n", 1),
        ROW("rtsp", CLIENT, "RTSP/1.0 200 OK\r\n", 1),
        ROW("http_of_a_client", CLIENT, "GET / HTTP/1.1\r\n", 1),
        ROW("websocket_frame", CLIENT, "\x81\x02hi", 1),
        ROW("zeros", SERVER, "\0\0\0\0", 1),
        ROW("utf8_bom", CLIENT, "\xEF\xBB\xBFHTTP/1.1 101 x\r\n", 1),
        ROW("lf_after_status_line", CLIENT, "HTTP/1.1 101 x\nA: b\n", 15),
        ROW("redis", SERVER, "*1\r\n$4\r\nPING\r\n", 3),
        ROW("proxy_protocol", SERVER, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", 32),
        ROW("proxy_protocol_2", SERVER, "\r\n\r\n\0\r\nQUIT\n", 1),
        ROW("http_0_9", SERVER, "GET /\r\n", 7),
#undef ROW
    };
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpxi_ws_head head;
        hpx_error error = {0};
        hpxi_ws_head_init(&head, rows[i].role, 16384, 100, &allocator);
        const feeding fed = feed_bytes(&head, rows[i].bytes, rows[i].size, &error);
        if (fed.status != HPX_E_HTTP_MALFORMED || fed.used + 1 != rows[i].fails_at) {
            fail_msg("%s: %d after %zu bytes", rows[i].name, fed.status, fed.used);
        }
        assert_detail_printable(&error);
        hpxi_ws_head_fini(&head);
        assert_int_equal(fa.live, 0);
    }
}

/* Every control byte, in the first line and in a field. */
static void test_head_feed_when_control_byte_then_malformed(void **state)
{
    (void)state;
    static const char *const starts[] = {"HTTP/1.1 101 a", "HTTP/1.1 101 a\r\nName: v"};
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    for (size_t s = 0; s < COUNT_OF(starts); s++) {
        for (int byte = 0; byte < 256; byte++) {
            char bytes[32];
            const size_t size = strlen(starts[s]) + 1;
            memcpy(bytes, starts[s], size - 1);
            bytes[size - 1] = (char)byte;
            hpxi_ws_head head;
            hpx_error error = {0};
            hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, 64, 1, &allocator);
            const bool bad = (byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7F;
            assert_int_equal(
                feed_cut(&head, bytes, size, 3, &error).status,
                bad ? HPX_E_HTTP_MALFORMED : HPX_E_PARTIAL);
            hpxi_ws_head_fini(&head);
        }
    }
}

static void feed_scenario(hpx_allocator allocator, bool expect_success)
{
    static const char bytes[] = "HTTP/1.1 101 x\r\nA: b\r\n\r\n";
    char long_value[2000];
    memset(long_value, 'a', sizeof(long_value));
    hpx_error error = {0};
    hpxi_ws_head head;
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, 4096, 4, &allocator);
    hpx_status status = feed_bytes(&head, bytes, sizeof(bytes) - 3, &error).status;
    if (status == HPX_E_PARTIAL) {
        status = feed_bytes(&head, long_value, sizeof(long_value), &error).status;
    }
    if (status == HPX_E_PARTIAL) {
        status = feed_bytes(&head, "\r\n\r\n", 4, &error).status;
    }
    assert_int_equal(status, expect_success ? 1 : HPX_E_NO_MEMORY);
    assert_int_equal(error.status, expect_success ? 0 : HPX_E_NO_MEMORY);
    if (!expect_success) { /* and it stays failed */
        assert_int_equal(feed_bytes(&head, "x", 1, &error).status, HPX_E_NO_MEMORY);
    }
    hpxi_ws_head_fini(&head);
}

static void test_head_feed_when_any_allocation_fails_then_no_memory_and_no_leak(void **state)
{
    (void)state;
    fa_exhaust(feed_scenario);
}

static void test_quote_when_any_bytes_then_printable_and_bounded(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        size_t room;
        const char *quoted;
    } rows[] = {
        {"", 0, 16, "\"\""},
        {"plain", 5, 16, "\"plain\""},
        {"a\"b\\c", 5, 16, "\"a\\\"b\\\\c\""},
        {"\r\n\t\0", 4, 32, "\"\\r\\n\\t\\0\""},
        {"\x1B\x7F\x80\xFF", 4, 32, "\"\\x1b\\x7f\\x80\\xff\""},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 32, 16, "\"aaaaaaa\"..."},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char *out = malloc(rows[i].room); /* exact: the sanitizer sees overruns */
        assert_non_null(out);
        const hpx_span bytes = {.data = (const uint8_t *)rows[i].bytes, .size = rows[i].size};
        assert_string_equal(hpxi_quote(out, rows[i].room, bytes), rows[i].quoted);
        free(out);
    }
    uint8_t all[256];
    for (size_t i = 0; i < sizeof(all); i++) {
        all[i] = (uint8_t)i;
    }
    for (size_t room = HPXI_QUOTE_BYTES_MIN; room < 1024; room++) {
        char *out = malloc(room);
        assert_non_null(out);
        (void)hpxi_quote(out, room, (hpx_span){.data = all, .size = sizeof(all)});
        assert_true(strnlen(out, room) < room);
        for (const char *at = out; *at != '\0'; at++) {
            assert_in_range(*at, 0x20, 0x7E);
        }
        free(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_feed_when_one_endless_field_then_fails_at_the_cap),
        cmocka_unit_test(test_head_feed_when_endless_fields_then_fails_at_the_cap),
        cmocka_unit_test(test_head_feed_when_head_is_as_long_as_cap_then_complete),
        cmocka_unit_test(test_head_feed_when_not_http_then_fails_at_the_first_wrong_byte),
        cmocka_unit_test(test_head_feed_when_control_byte_then_malformed),
        cmocka_unit_test(test_head_feed_when_any_allocation_fails_then_no_memory_and_no_leak),
        cmocka_unit_test(test_quote_when_any_bytes_then_printable_and_bounded),
    };
    return cmocka_run_group_tests_name("ws/http_head", tests, NULL, NULL);
}

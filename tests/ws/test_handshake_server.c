/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the server accepts the requests of RFC 6455 4.2.1 and answers all others with the right
 * status; what it writes is exact.
 * Method: each request is fed whole, cut in two at every byte, and byte by byte; the outcome must
 * be the same each time, and the bytes after the head must stay in the input.
 */
#include "tests/support/failing_allocator.h"
#include "tests/ws/head_feeding.h"

#define HEAD_BYTES_MAX  1024u
#define HEAD_FIELDS_MAX 8u

#define GET        "GET /chat?x=1 HTTP/1.1\r\n"
#define HOST       "Host: server.example.com\r\n"
#define UPGRADE    "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define KEY        "Sec-WebSocket-Key: " RFC_KEY "\r\n"
#define VERSION    "Sec-WebSocket-Version: 13\r\n"
#define REST       UPGRADE CONNECTION KEY VERSION
#define GOOD       GET HOST REST
#define END        "\r\n"
#define PAD10      "aaaaaaaaaa"
#define PAD50      PAD10 PAD10 PAD10 PAD10 PAD10
#define PAD255     PAD50 PAD50 PAD50 PAD50 PAD50 "aaaaa"

/* What hpxi_ws_head_feed() said, where it did not come to a check. */
#define FEED_MALFORMED 1u
#define FEED_TOO_BIG   2u
#define FEED_PARTIAL   3u

typedef struct offer_row {
    const char *name;
    const char *bytes;
    size_t size;
    uint32_t result;
    const char *detail; /* of a refusal: part of it */
    const char *target; /* of an accepted offer; NULL: "/chat?x=1" */
    const char *host;   /* NULL: "server.example.com" */
    const char *subprotocol;
} offer_row;

#define OK(name, bytes)                                                                            \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, 101, NULL, NULL, NULL, NULL                                \
    }
#define BAD(name, bytes, result, detail)                                                           \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, result, detail, NULL, NULL, NULL                           \
    }
#define FOR(name, bytes, target, host)                                                             \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, 101, NULL, target, host, NULL                              \
    }
#define CHOSEN(name, bytes, sub)                                                                   \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, 101, NULL, NULL, NULL, sub                                 \
    }

/* clang-format off */
static const offer_row rows[] = {
    /* good */
    OK("minimal", GOOD END),
    OK("frames_follow", GOOD END "\x81\x80\x00\x01\x02\x03\r\n\r\n"),
    OK("any_case_any_order",
       GET "SEC-WEBSOCKET-VERSION: 13\r\nsec-websocket-key:" RFC_KEY "\r\nconnection: UPGRADE\r\n"
       "upgrade: WebSocket\r\nhOST:server.example.com\r\n" END),
    OK("upgrade_list", GET HOST "Upgrade: h2c, websocket\r\n" CONNECTION KEY VERSION END),
    OK("upgrade_twice", GET HOST "Upgrade: h2c\r\n" REST END),
    OK("connection_list",
       GET HOST UPGRADE "Connection: keep-alive, Upgrade\r\n" KEY VERSION END),
    OK("extensions_are_declined", GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n" END),
    OK("origin_is_not_judged", GOOD "Origin: https://elsewhere.example\r\n" END),
    OK("no_body_announced", GOOD "Content-Length: 0\r\n" END),
    OK("fields_at_limit", GOOD "A: 1\r\nB: 2\r\nC: 3\r\n" END),
    FOR("root", "GET / HTTP/1.1\r\n" HOST REST END, "/", NULL),
    FOR("odd_but_visible_target", "GET /{\"a\":[1]}?^|`<>\\ HTTP/1.1\r\n" HOST REST END,
        "/{\"a\":[1]}?^|`<>\\", NULL),
    FOR("target_at_limit", "GET /" PAD50 PAD50 PAD50 PAD50 PAD50 "aaaa HTTP/1.1\r\n" HOST REST END,
        "/" PAD50 PAD50 PAD50 PAD50 PAD50 "aaaa", NULL),
    FOR("target_cut", "GET /" PAD255 " HTTP/1.1\r\n" HOST REST END,
        "/" PAD50 PAD50 PAD50 PAD50 PAD50 "aaaa", NULL),
    FOR("host_with_port", GET "Host: [::1]:8080\r\n" REST END, NULL, "[::1]:8080"),
    FOR("host_with_empty_port", GET "Host: a:\r\n" REST END, NULL, "a:"),
    FOR("host_at_limit", GET "Host: " PAD255 "\r\n" REST END, NULL, PAD255),
    FOR("absolute_form", "GET http://other.example:81/a?b HTTP/1.1\r\n" HOST REST END,
        "/a?b", "other.example:81"),
    FOR("absolute_form_without_path", "GET WSS://other.example HTTP/1.1\r\n" HOST REST END,
        "/", "other.example"),
    CHOSEN("subprotocol_our_order_wins",
           GOOD "Sec-WebSocket-Protocol: chat, soap, v2.json\r\n" END, "v2.json"),
    CHOSEN("subprotocol_our_order_is_theirs",
           GOOD "Sec-WebSocket-Protocol: v2.json, chat\r\n" END, "v2.json"),
    CHOSEN("subprotocol_over_two_fields",
           GOOD "Sec-WebSocket-Protocol: soap\r\nsec-websocket-protocol: chat\r\n" END, "chat"),
    CHOSEN("subprotocol_no_match", GOOD "Sec-WebSocket-Protocol: soap, Chat\r\n" END, NULL),

    /* request line */
    BAD("post", "POST /chat HTTP/1.1\r\n" HOST REST END, 405, "not GET but \"POST\""),
    BAD("head", "HEAD /chat HTTP/1.1\r\n" HOST REST END, 405, "not GET but \"HEAD\""),
    BAD("lower_case_get", "get /chat HTTP/1.1\r\n" HOST REST END, 405, "not GET but \"get\""),
    BAD("http_1_0", "GET /chat HTTP/1.0\r\n" HOST REST END, 400, "not HTTP/1.1 but \"HTTP/1.0\""),
    BAD("post_1_0", "POST /chat HTTP/1.0\r\n" HOST REST END, 400, "not HTTP/1.1"),
    BAD("http_1_2", "GET /chat HTTP/1.2\r\n" HOST REST END, FEED_MALFORMED, "request line"),
    BAD("http_2_0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", FEED_MALFORMED, "at byte 16 of"),
    BAD("http_0_9", "GET /chat\r\n", FEED_MALFORMED, "no HTTP/1.x in the request line"),
    BAD("version_with_more", "GET / HTTP/1.1x\r\n" HOST REST END, FEED_MALFORMED, "request line"),
    BAD("space_after_version", "GET / HTTP/1.1 \r\n" HOST REST END, FEED_MALFORMED, "at byte 17"),
    BAD("lower_case_http", "GET / http/1.1\r\n" HOST REST END, FEED_MALFORMED, "request line"),
    BAD("two_spaces", "GET  /chat HTTP/1.1\r\n" HOST REST END, 400, "not HTTP/1.1"),
    BAD("two_spaces_before_version", "GET /chat  HTTP/1.1\r\n" HOST REST END, 400, "not HTTP/1.1"),
    BAD("no_target", "GET HTTP/1.1\r\n" HOST REST END, 400, "not a request line: \"GET HTTP/1.1\""),
    BAD("space_in_target", "GET /a b HTTP/1.1\r\n" HOST REST END, 400, "not HTTP/1.1 but \"b HTTP"),
    BAD("tab_in_target", "GET /a\tb HTTP/1.1\r\n" HOST REST END, 400, "bad byte in request target"),
    BAD("latin1_in_target", "GET /\xE9 HTTP/1.1\r\n" HOST REST END, 400, "\"/\\xe9\""),
    BAD("fragment", "GET /chat#f HTTP/1.1\r\n" HOST REST END, 400, "bad byte in request target"),
    BAD("asterisk", "GET * HTTP/1.1\r\n" HOST REST END, 400, "neither a path nor a URL: \"*\""),
    BAD("authority_form", "GET a:80 HTTP/1.1\r\n" HOST REST END, 400, "neither a path nor"),
    BAD("other_scheme", "GET ftp://a/ HTTP/1.1\r\n" HOST REST END, 400, "neither a path nor"),
    BAD("absolute_form_no_host", "GET http:///a HTTP/1.1\r\n" HOST REST END, 400, "neither"),
    BAD("absolute_form_user", "GET http://u@a/ HTTP/1.1\r\n" HOST REST END, 400, "neither"),
    BAD("method_not_a_token", "G{T / HTTP/1.1\r\n", FEED_MALFORMED, "begins with \"G{T / HTTP"),
    BAD("method_long", "GETGETGETGETGETGETGETGETGET /", FEED_MALFORMED, "not HTTP/1.1"),
    BAD("empty_line_first", "\r\n" GOOD END, FEED_MALFORMED, "begins with \"\\r\\nGET"),
    BAD("space_first", " " GOOD END, FEED_MALFORMED, "not HTTP/1.1"),

    /* Host */
    BAD("no_host", GET REST END, 400, "no Host"),
    BAD("two_hosts", GET HOST "Host: b\r\n" REST END, 400,
        "more than one Host \"server.example.com\""),
    BAD("host_empty", GET "Host:\r\n" REST END, 400, "bad Host \"\""),
    BAD("host_user", GET "Host: u@a\r\n" REST END, 400, "bad Host \"u@a\""),
    BAD("host_path", GET "Host: a/b\r\n" REST END, 400, "bad Host"),
    BAD("host_list", GET "Host: a b\r\n" REST END, 400, "bad Host"),
    BAD("host_port", GET "Host: a:b\r\n" REST END, 400, "bad Host"),
    BAD("host_long", GET "Host: a" PAD255 "\r\n" REST END, 400, "bad Host"),
    BAD("absolute_form_no_host_field", "GET http://a/ HTTP/1.1\r\n" REST END, 400, "no Host"),

    /* Upgrade and Connection */
    BAD("no_upgrade", GET HOST CONNECTION KEY VERSION END, 426, "Upgrade does not say websocket"),
    BAD("upgrade_h2c", GET HOST "Upgrade: h2c\r\n" CONNECTION KEY VERSION END, 426, "Upgrade"),
    BAD("upgrade_version", GET HOST "Upgrade: websocket/13\r\n" CONNECTION KEY VERSION END, 426,
        "Upgrade does not say"),
    BAD("no_connection", GET HOST UPGRADE KEY VERSION END, 426, "Connection does not say upgrade"),
    BAD("connection_close", GET HOST UPGRADE "Connection: close\r\n" KEY VERSION END, 426,
        "Connection does not say"),
    BAD("plain_get", GET HOST END, 426, "Upgrade does not say"),

    /* Sec-WebSocket-Key and -Version */
    BAD("no_key", GET HOST UPGRADE CONNECTION VERSION END, 400, "Sec-WebSocket-Key is not"),
    BAD("two_keys", GOOD KEY END, 400, "more than one Sec-WebSocket-Key"),
    BAD("key_empty", GET HOST UPGRADE CONNECTION VERSION "Sec-WebSocket-Key:\r\n" END, 400,
        "not base64 of 16 bytes: \"\""),
    BAD("key_of_15_bytes", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("key_of_17_bytes", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA=\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("key_of_18_bytes", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAAA\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("key_without_padding", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("key_url_alphabet", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAA-_A==\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("key_and_more", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: " RFC_KEY "AAAA\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("key_with_space", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: AAAAAAAAAAA AAAAAAAAAA==\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("key_padding_inside", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: AAAAAAAAAAA=AAAAAAAAAA==\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("key_with_at_sign", GET HOST UPGRADE CONNECTION VERSION
        "Sec-WebSocket-Key: @AAAAAAAAAAAAAAAAAAAAA==\r\n" END, 400, "not base64 of 16 bytes"),
    BAD("no_version", GET HOST UPGRADE CONNECTION KEY END, 426, "not 13 but \"\""),
    BAD("version_8", GET HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 8\r\n" END, 426,
        "not 13 but \"8\""),
    BAD("version_013", GET HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 013\r\n" END, 426,
        "not 13 but \"013\""),
    BAD("version_list", GET HOST UPGRADE CONNECTION KEY "Sec-WebSocket-Version: 8, 13\r\n" END, 426,
        "not 13 but \"8, 13\""),
    BAD("two_versions", GOOD VERSION END, 400, "more than one Sec-WebSocket-Version"),

    /* a body would be taken for frames */
    BAD("content_length", GOOD "Content-Length: 5\r\n" END "hello", 400, "Content-Length \"5\""),
    BAD("content_length_plus", GOOD "Content-Length: +0\r\n" END, 400, "Content-Length \"+0\""),
    BAD("content_length_twice", GOOD "Content-Length: 0\r\nContent-Length: 5\r\n" END, 400,
        "Content-Length"),
    BAD("chunked", GOOD "Transfer-Encoding: chunked\r\n" END "0\r\n\r\n", 400, "\"chunked\""),
    BAD("identity", GOOD "transfer-encoding: identity\r\n" END, 400, "Transfer-Encoding"),

    /* subprotocols */
    BAD("subprotocol_not_a_token", GOOD "Sec-WebSocket-Protocol: a b\r\n" END, 400,
        "not a token: \"a b\""),
    BAD("subprotocol_empty", GOOD "Sec-WebSocket-Protocol: ,\r\n" END, 400, "names none"),

    /* syntax and limits */
    BAD("folded", GOOD "A: b\r\n c\r\n" END, 400, "folded header field"),
    BAD("space_before_colon", GET "Host : a\r\n" REST END, 400, "not a header field"),
    BAD("no_colon", GOOD "Nonsense\r\n" END, 400, "not a header field"),
    BAD("bare_lf", "GET / HTTP/1.1\n" HOST REST END, FEED_MALFORMED, "LF without CR"),
    BAD("bare_cr", GOOD "A: b\rc\r\n" END, FEED_MALFORMED, "CR without LF"),
    BAD("nul", GOOD "A: \0\r\n" END, FEED_MALFORMED, "NUL"),
    BAD("fields_above_limit", GOOD "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n" END, FEED_TOO_BIG,
        "head of the request has more than 8 fields"),
    BAD("bytes_above_limit", "GET /" PAD255 PAD255 PAD255 PAD255 " HTTP/1.1\r\n", FEED_TOO_BIG,
        "head of the request has more than 1024 bytes"),
    BAD("no_end", GOOD, FEED_PARTIAL, NULL),
};
/* clang-format on */

static const char *const supported[] = {"v2.json", "chat"};

static size_t head_bytes(const offer_row *row)
{
    const char *end = memmem(row->bytes, row->size, "\r\n\r\n", 4);
    assert_non_null(end);
    return (size_t)(end - row->bytes) + 4;
}

static uint32_t decide(
    const offer_row *row, feeding fed, hpxi_ws_head *head, hpxi_ws_offer *offer, hpx_error *error)
{
    switch (fed.status) {
    case 1:
        assert_int_equal(fed.used, head_bytes(row));
        return hpxi_ws_offer_check(head, supported, COUNT_OF(supported), offer, error);
    case HPX_E_PARTIAL:
        assert_int_equal(fed.used, row->size);
        return FEED_PARTIAL;
    case HPX_E_HTTP_TOO_BIG:
        return FEED_TOO_BIG;
    default:
        assert_int_equal(fed.status, HPX_E_HTTP_MALFORMED);
        return FEED_MALFORMED;
    }
}

static void check_accepted(const offer_row *row, const hpxi_ws_offer *offer)
{
    assert_string_equal(offer->target, row->target == NULL ? "/chat?x=1" : row->target);
    assert_int_equal(offer->target_cut, strcmp(row->name, "target_cut") == 0);
    assert_string_equal(offer->host, row->host == NULL ? "server.example.com" : row->host);
    assert_string_equal(offer->key, RFC_KEY);
    if (row->subprotocol == NULL) {
        assert_null(offer->subprotocol);
    } else {
        assert_string_equal(offer->subprotocol, row->subprotocol);
    }
}

static void run_row(const offer_row *row)
{
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    for (size_t cut = 0; cut <= row->size + 1; cut++) {
        hpxi_ws_head head;
        hpxi_ws_offer offer;
        hpx_error error = {0};
        hpxi_ws_head_init(&head, HPXI_WS_ROLE_SERVER, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
        const feeding fed = cut <= row->size ? feed_cut(&head, row->bytes, row->size, cut, &error)
                                             : feed_bytes(&head, row->bytes, row->size, &error);
        const uint32_t result = decide(row, fed, &head, &offer, &error);
        if (result != row->result) {
            fail_msg("%s: %u (%s)", row->name, result, error.detail);
        }
        if (result == 101) {
            check_accepted(row, &offer);
        } else if (result != FEED_PARTIAL) {
            assert_detail_printable(&error);
            assert_int_equal(error.stage, HPX_STAGE_UPGRADE);
            assert_int_equal(error.http_status, result >= 100 ? result : 0);
        }
        if (cut == row->size && row->detail != NULL && strstr(error.detail, row->detail) == NULL) {
            fail_msg("%s: detail is: %s", row->name, error.detail);
        }
        hpxi_ws_head_fini(&head);
    }
    assert_int_equal(fa.live, 0);
}

static void test_offer_check_when_cut_anywhere_then_same_outcome(void **state)
{
    (void)state;
    assert_true(COUNT_OF(rows) >= 60);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        print_message("%s\n", rows[i].name);
        run_row(&rows[i]);
    }
}

static void test_offer_check_when_nothing_supported_then_none_chosen(void **state)
{
    (void)state;
    static const char bytes[] = GOOD "Sec-WebSocket-Protocol: chat\r\n" END;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_ws_head head;
    hpxi_ws_offer offer;
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_SERVER, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
    assert_int_equal(feed_cut(&head, bytes, sizeof(bytes) - 1, 0, NULL).status, 1);
    assert_int_equal(hpxi_ws_offer_check(&head, NULL, 0, &offer, NULL), 101);
    assert_null(offer.subprotocol);
    hpxi_ws_head_fini(&head);
}

static void assert_written(const hpxi_buf *out, const char *expected)
{
    const hpx_span written = hpxi_buf_span(out);
    assert_int_equal(written.size, strlen(expected));
    assert_memory_equal(written.data, expected, written.size);
}

static void test_answer_write_when_accepted_then_these_bytes(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_ws_offer offer = {.key = RFC_KEY};
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    assert_int_equal(hpxi_ws_answer_write(&out, &offer), HPX_OK);
    assert_written(
        &out,
        "HTTP/1.1 101 Switching Protocols\r\n" UPGRADE CONNECTION
        "Sec-WebSocket-Accept: " RFC_ACCEPT "\r\n\r\n");
    hpxi_buf_consume(&out, hpxi_buf_size(&out));
    offer.subprotocol = "chat";
    assert_int_equal(hpxi_ws_answer_write(&out, &offer), HPX_OK);
    assert_written(
        &out,
        "HTTP/1.1 101 Switching Protocols\r\n" UPGRADE CONNECTION
        "Sec-WebSocket-Accept: " RFC_ACCEPT "\r\n"
        "Sec-WebSocket-Protocol: chat\r\n\r\n");
    hpxi_buf_fini(&out);
    assert_int_equal(fa.live, 0);
}

static void test_refusal_write_when_status_then_these_bytes(void **state)
{
    (void)state;
    static const struct {
        uint32_t http_status;
        uint32_t retry_after_s;
        const char *bytes;
    } expected[] = {
        {400,
         0,
         "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n"
         "Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nBad Request\r\n"},
        {405,
         0,
         "HTTP/1.1 405 Method Not Allowed\r\nConnection: close\r\nAllow: GET\r\n"
         "Content-Type: text/plain\r\nContent-Length: 20\r\n\r\nMethod Not Allowed\r\n"},
        {426,
         0,
         "HTTP/1.1 426 Upgrade Required\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
         "Sec-WebSocket-Version: 13\r\n"
         "Content-Type: text/plain\r\nContent-Length: 18\r\n\r\nUpgrade Required\r\n"},
        {431,
         0,
         "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
         "Content-Type: text/plain\r\nContent-Length: 33\r\n\r\n"
         "Request Header Fields Too Large\r\n"},
        {429,
         UINT32_MAX,
         "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 4294967295\r\n"
         "Content-Type: text/plain\r\nContent-Length: 19\r\n\r\nToo Many Requests\r\n"},
        {418,
         0,
         "HTTP/1.1 418 Refused\r\nConnection: close\r\n"
         "Content-Type: text/plain\r\nContent-Length: 9\r\n\r\nRefused\r\n"},
    };
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(
            hpxi_ws_refusal_write(&out, expected[i].http_status, expected[i].retry_after_s),
            HPX_OK);
        assert_written(&out, expected[i].bytes);
        hpxi_buf_consume(&out, hpxi_buf_size(&out));
    }
    static const uint32_t others[] = {401, 403, 404, 408, 500, 502, 503, 504, 599};
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        assert_int_equal(hpxi_ws_refusal_write(&out, others[i], 0), HPX_OK);
    }
    hpxi_buf_fini(&out);
    assert_int_equal(fa.live, 0);
}

/* The whole of the server's part: reads, decides, answers. */
static void serve_scenario(hpx_allocator allocator, bool expect_success)
{
    static const char bytes[] = GOOD END;
    hpxi_ws_head head;
    hpxi_ws_offer offer;
    hpx_error error = {0};
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_SERVER, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
    hpx_status status = feed_bytes(&head, bytes, sizeof(bytes) - 1, &error).status;
    if (status == 1) {
        assert_int_equal(hpxi_ws_offer_check(&head, NULL, 0, &offer, &error), 101);
        status = hpxi_ws_answer_write(&out, &offer);
    }
    if (status == HPX_OK) {
        status = hpxi_ws_refusal_write(&out, 426, 0);
    }
    assert_int_equal(status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    hpxi_ws_head_fini(&head);
    hpxi_buf_fini(&out);
}

static void test_server_when_any_allocation_fails_then_no_memory_and_no_leak(void **state)
{
    (void)state;
    fa_exhaust(serve_scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_offer_check_when_cut_anywhere_then_same_outcome),
        cmocka_unit_test(test_offer_check_when_nothing_supported_then_none_chosen),
        cmocka_unit_test(test_answer_write_when_accepted_then_these_bytes),
        cmocka_unit_test(test_refusal_write_when_status_then_these_bytes),
        cmocka_unit_test(test_server_when_any_allocation_fails_then_no_memory_and_no_leak),
    };
    return cmocka_run_group_tests_name("ws/handshake_server", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the client accepts the answers of RFC 6455 4.1 and no other, and says what was wrong.
 * Method: each answer is fed whole, cut in two at every byte, and byte by byte; the outcome must be
 * the same each time, and the bytes after the head must stay in the input.
 */
#include "tests/support/failing_allocator.h"
#include "tests/ws/head_feeding.h"

#define HEAD_BYTES_MAX  512u
#define HEAD_FIELDS_MAX 8u

#define SWITCHING  "HTTP/1.1 101 Switching Protocols\r\n"
#define UPGRADE    "Upgrade: websocket\r\n"
#define CONNECTION "Connection: Upgrade\r\n"
#define ACCEPT     "Sec-WebSocket-Accept: " RFC_ACCEPT "\r\n"
#define END        "\r\n"
#define GOOD       SWITCHING UPGRADE CONNECTION ACCEPT
#define FRAMES     "\x81\x02hi\r\n\r\nHTTP/1.1 \x00"
#define PAD10      "aaaaaaaaaa"
#define PAD100     PAD10 PAD10 PAD10 PAD10 PAD10 PAD10 PAD10 PAD10 PAD10 PAD10

typedef struct answer_row {
    const char *name;
    const char *bytes;
    size_t size;
    hpx_status status;
    uint32_t http_status;
    const char *detail;      /* part of it, or NULL */
    const char *subprotocol; /* of a good answer, or NULL */
    uint64_t retry_after_s;
} answer_row;

#define OK(name, bytes)                                                                            \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, HPX_OK, 101, NULL, NULL, 0                                 \
    }
#define CHOSEN(name, bytes, sub)                                                                   \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, HPX_OK, 101, NULL, sub, 0                                  \
    }
#define BAD(name, bytes, status, http_status, detail)                                              \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, status, http_status, detail, NULL, 0                       \
    }
#define LATER(name, bytes, http_status, seconds)                                                   \
    {                                                                                              \
        name, bytes, sizeof(bytes) - 1, HPX_E_UPGRADE_STATUS, http_status, #http_status, NULL,     \
            seconds                                                                                \
    }

/* clang-format off */
static const answer_row rows[] = {
    /* good */
    OK("minimal", GOOD END),
    OK("frames_follow", GOOD END FRAMES),
    OK("no_reason", "HTTP/1.1 101 \r\n" UPGRADE CONNECTION ACCEPT END),
    OK("other_reason",
        "HTTP/1.1 101 Web Socket Protocol Handshake\r\n" UPGRADE CONNECTION ACCEPT END),
    OK("latin1_reason", "HTTP/1.1 101 \xE9t\xE9\r\n" UPGRADE CONNECTION ACCEPT END),
    OK("names_in_any_case",
        SWITCHING "uPGRADE: WebSocket\r\nCONNECTION: uPgRaDe\r\nsec-websocket-accept: "
        RFC_ACCEPT "\r\n" END),
    OK("any_order", SWITCHING ACCEPT CONNECTION UPGRADE END),
    OK("white_space_around_values",
        SWITCHING "Upgrade:\t websocket \t\r\nConnection:Upgrade\r\nSec-WebSocket-Accept: \t"
        RFC_ACCEPT "  \r\n" END),
    OK("connection_list", SWITCHING UPGRADE "Connection: keep-alive, Upgrade\r\n" ACCEPT END),
    OK("connection_list_other_order",
        SWITCHING UPGRADE "Connection: Upgrade, keep-alive\r\n" ACCEPT END),
    OK("connection_list_with_empty_elements",
        SWITCHING UPGRADE "Connection: ,, upgrade ,\r\n" ACCEPT END),
    OK("connection_twice", SWITCHING UPGRADE "Connection: keep-alive\r\n" CONNECTION ACCEPT END),
    OK("other_fields", GOOD "Server: x/1 (y)\r\nX-Empty:\r\nX-Latin: \xFF\r\n" END),
    OK("body_length_of_a_101_means_nothing", GOOD "Content-Length: 5\r\n" END "hello"),
    OK("fields_at_limit", GOOD "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n" END),
    CHOSEN("subprotocol_first", GOOD "Sec-WebSocket-Protocol: chat\r\n" END, "chat"),
    CHOSEN("subprotocol_second", GOOD "Sec-WebSocket-Protocol:  v2.json \r\n" END, "v2.json"),

    /* status line */
    BAD("http_1_0_with_101", "HTTP/1.0 101 Switching Protocols\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 101, "needs HTTP/1.1"),
    BAD("http_1_2", "HTTP/1.2 101 Switching Protocols\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "begins with \"HTTP/1.2 101"),
    BAD("http_2", "HTTP/2 101\r\n" END, HPX_E_HTTP_MALFORMED, 0, "not HTTP/1.1"),
    BAD("http_0_9", "<html>", HPX_E_HTTP_MALFORMED, 0, "begins with \"<html>\""),
    BAD("lower_case_http", "http/1.1 101 x\r\n" END, HPX_E_HTTP_MALFORMED, 0, "not HTTP/1.1"),
    BAD("empty_line_first", "\r\n" GOOD END, HPX_E_HTTP_MALFORMED, 0, "begins with \"\\r\\n"),
    BAD("space_first", " " GOOD END, HPX_E_HTTP_MALFORMED, 0, "not HTTP/1.1"),
    BAD("no_space_after_code", "HTTP/1.1 101\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "not a status line: \"HTTP/1.1 101\""),
    BAD("two_spaces", "HTTP/1.1  101 x\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "not a status line"),
    BAD("two_digits", "HTTP/1.1 10 x\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "not a status line"),
    BAD("four_digits", "HTTP/1.1 1010 x\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "not a status line"),
    BAD("hexadecimal_code", "HTTP/1.1 0x65 x\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "not a status line"),
    BAD("code_below_100", "HTTP/1.1 099 x\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "not a status line"),
    BAD("tab_for_space", "HTTP/1.1 101\tx\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "not a status line"),
    BAD("only_the_version", "HTTP/1.1 \r\n" END, HPX_E_HTTP_MALFORMED, 0, "not a status line"),

    /* other statuses: W15 and the hints they carry */
    BAD("status_200", "HTTP/1.1 200 OK\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_UPGRADE_STATUS, 200, "answered 200 \"OK\""),
    BAD("status_100", "HTTP/1.1 100 Continue\r\n" END, HPX_E_UPGRADE_STATUS, 100, "answered 100"),
    BAD("status_102", "HTTP/1.1 102 x\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_UPGRADE_STATUS, 102, "answered 102"),
    BAD("status_301", "HTTP/1.1 301 Moved\r\nLocation: https://a.example/b\r\n" END,
        HPX_E_UPGRADE_STATUS, 301, "301 \"Moved\", Location \"https://a.example/b\""),
    BAD("status_302_location_escaped", "HTTP/1.1 302 Found\r\nLocation: x\"\x80\ty\r\n" END,
        HPX_E_UPGRADE_STATUS, 302, "Location \"x\\\"\\x80\\ty\""),
    BAD("status_302_location_cut", "HTTP/1.1 302 Found\r\nLocation: " PAD100 PAD100 "\r\n" END,
        HPX_E_UPGRADE_STATUS, 302, "aaa\"..."),
    BAD("status_307_without_location", "HTTP/1.1 307 Temporary Redirect\r\n" END,
        HPX_E_UPGRADE_STATUS, 307, "307 \"Temporary Redirect\""),
    BAD("status_401", "HTTP/1.1 401 Unauthorized\r\nLocation: nowhere\r\n" END,
        HPX_E_UPGRADE_STATUS, 401, "401 \"Unauthorized\""),
    BAD("status_426", "HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 8\r\n" END,
        HPX_E_UPGRADE_STATUS, 426, "426"),
    LATER("status_429_seconds",
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 120\r\n" END, 429, 120),
    LATER("status_503_seconds",
        "HTTP/1.1 503 Service Unavailable\r\nretry-after:3 \r\n" END, 503, 3),
    BAD("status_503_date", "HTTP/1.1 503 x\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n" END,
        HPX_E_UPGRADE_STATUS, 503, "503"),
    BAD("status_503_negative",
        "HTTP/1.1 503 x\r\nRetry-After: -1\r\n" END, HPX_E_UPGRADE_STATUS, 503, "503"),
    BAD("status_503_twice", "HTTP/1.1 503 x\r\nRetry-After: 1\r\nRetry-After: 2\r\n" END,
        HPX_E_UPGRADE_STATUS, 503, "503"),
    LATER("status_503_for_ever",
        "HTTP/1.1 503 x\r\nRetry-After: 99999999999999999999999999\r\n" END, 503, 1000000000),
    BAD("status_500_retry_after_is_not_for_it",
        "HTTP/1.1 500 x\r\nRetry-After: 9\r\n" END, HPX_E_UPGRADE_STATUS, 500, "500"),
    LATER("status_of_http_1_0", "HTTP/1.0 503 x\r\nRetry-After: 9\r\n" END "<html>", 503, 9),
    BAD("status_999", "HTTP/1.1 999 x\r\n" END, HPX_E_UPGRADE_STATUS, 999, "999"),
    BAD("reason_cut", "HTTP/1.1 404 " PAD100 "\r\n" END, HPX_E_UPGRADE_STATUS, 404, "aaa\"..."),

    /* Upgrade and Connection: W15 */
    BAD("no_upgrade", SWITCHING CONNECTION ACCEPT END, HPX_E_UPGRADE_HEADER, 101, "no Upgrade"),
    BAD("upgrade_twice", SWITCHING UPGRADE UPGRADE CONNECTION ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "Upgrade is there 2 times"),
    BAD("upgrade_h2c", SWITCHING "Upgrade: h2c\r\n" CONNECTION ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "not websocket but \"h2c\""),
    BAD("upgrade_list", SWITCHING "Upgrade: websocket, h2c\r\n" CONNECTION ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "not websocket but \"websocket, h2c\""),
    BAD("upgrade_with_version", SWITCHING "Upgrade: websocket/13\r\n" CONNECTION ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "websocket/13"),
    BAD("upgrade_empty", SWITCHING "Upgrade:\r\n" CONNECTION ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "not websocket but \"\""),
    BAD("upgrade_prefix", SWITCHING "Upgrade: websocke\r\n" CONNECTION ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "websocke\""),
    BAD("upgrade_longer", SWITCHING "Upgrade: websockets\r\n" CONNECTION ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "websockets\""),
    BAD("no_connection", SWITCHING UPGRADE ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "Connection does not say upgrade"),
    BAD("connection_close", SWITCHING UPGRADE "Connection: close\r\n" ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "Connection does not say upgrade; its last word is \"close\""),
    BAD("connection_word_contains_it",
        SWITCHING UPGRADE "Connection: upgraded, no-upgrade\r\n" ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "does not say upgrade"),
    BAD("connection_without_comma",
        SWITCHING UPGRADE "Connection: keep-alive Upgrade\r\n" ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "not a token"),
    BAD("connection_quoted", SWITCHING UPGRADE "Connection: \"Upgrade\"\r\n" ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "not a token"),
    BAD("connection_empty", SWITCHING UPGRADE "Connection:\r\n" ACCEPT END,
        HPX_E_UPGRADE_HEADER, 101, "does not say upgrade"),

    /* Sec-WebSocket-Accept: W15 */
    BAD("no_accept",
        SWITCHING UPGRADE CONNECTION END, HPX_E_UPGRADE_ACCEPT, 101, "no Sec-WebSocket-Accept"),
    BAD("accept_twice",
        GOOD ACCEPT END, HPX_E_UPGRADE_ACCEPT, 101, "Sec-WebSocket-Accept is there 2 times"),
    BAD("accept_of_other_key",
        SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept: HSmrc0sMlYUkAGmm5OPpG2HaGWk=\r\n" END,
        HPX_E_UPGRADE_ACCEPT, 101, "is \"HSmrc0sMlYUkAGmm5OPpG2HaGWk=\", not \"" RFC_ACCEPT "\""),
    BAD("accept_is_the_key",
        SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept: " RFC_KEY "\r\n" END,
        HPX_E_UPGRADE_ACCEPT, 101, "not \"" RFC_ACCEPT),
    BAD("accept_other_case",
        SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" END,
        HPX_E_UPGRADE_ACCEPT, 101, "S3pPLM"),
    BAD("accept_without_padding",
        SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n" END,
        HPX_E_UPGRADE_ACCEPT, 101, "xOo\", not"),
    BAD("accept_with_more",
        SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept: " RFC_ACCEPT ", x\r\n" END,
        HPX_E_UPGRADE_ACCEPT, 101, "=, x\""),
    BAD("accept_empty", SWITCHING UPGRADE CONNECTION "Sec-WebSocket-Accept:\r\n" END,
        HPX_E_UPGRADE_ACCEPT, 101, "is \"\", not"),

    /* Sec-WebSocket-Extensions and -Protocol: W15 */
    BAD("extension", GOOD "Sec-WebSocket-Extensions: permessage-deflate\r\n" END,
        HPX_E_UPGRADE_EXTENSION, 101, "chose \"permessage-deflate\""),
    BAD("extension_empty",
        GOOD "sec-websocket-extensions:\r\n" END, HPX_E_UPGRADE_EXTENSION, 101, "chose \"\""),
    BAD("subprotocol_not_offered", GOOD "Sec-WebSocket-Protocol: soap\r\n" END,
        HPX_E_UPGRADE_SUBPROTOCOL, 101, "not offered: \"soap\""),
    BAD("subprotocol_other_case", GOOD "Sec-WebSocket-Protocol: Chat\r\n" END,
        HPX_E_UPGRADE_SUBPROTOCOL, 101, "not offered: \"Chat\""),
    BAD("subprotocol_list", GOOD "Sec-WebSocket-Protocol: chat, v2.json\r\n" END,
        HPX_E_UPGRADE_SUBPROTOCOL, 101, "not offered: \"chat, v2.json\""),
    BAD("subprotocol_twice",
        GOOD "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: chat\r\n" END,
        HPX_E_UPGRADE_SUBPROTOCOL, 101, "is there 2 times"),
    BAD("subprotocol_empty", GOOD "Sec-WebSocket-Protocol:\r\n" END,
        HPX_E_UPGRADE_SUBPROTOCOL, 101, "not offered: \"\""),

    /* syntax of the head: H4, H5 */
    BAD("bare_lf", "HTTP/1.1 101 x\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 0, "LF without CR at byte 15"),
    BAD("bare_lf_ends_head", GOOD "\n", HPX_E_HTTP_MALFORMED, 0, "LF without CR"),
    BAD("bare_cr", SWITCHING "A: b\rC: d\r\n" END, HPX_E_HTTP_MALFORMED, 0, "CR without LF"),
    BAD("cr_cr_lf", SWITCHING UPGRADE "\r\r\n", HPX_E_HTTP_MALFORMED, 0, "CR without LF"),
    BAD("nul_in_value", SWITCHING "A: b\0c\r\n" END, HPX_E_HTTP_MALFORMED, 0, "NUL at byte"),
    BAD("escape_in_value",
        SWITCHING "A: \x1B[2J\r\n" END, HPX_E_HTTP_MALFORMED, 0, "control byte at byte"),
    BAD("delete_in_value",
        SWITCHING "A: \x7F\r\n" END, HPX_E_HTTP_MALFORMED, 0, "control byte at byte"),
    BAD("delete_in_reason",
        "HTTP/1.1 101 \x7F\r\n" END, HPX_E_HTTP_MALFORMED, 0, "control byte at byte 14"),
    BAD("folded", SWITCHING "A: b\r\n c\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 101, "folded header field: \" c\""),
    BAD("folded_with_tab_and_colon", SWITCHING "A: b\r\n\tc: d\r\n" UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 101, "folded header field"),
    BAD("folded_first", SWITCHING " " UPGRADE CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 101, "folded header field"),
    BAD("space_before_colon", SWITCHING "Upgrade : websocket\r\n" CONNECTION ACCEPT END,
        HPX_E_HTTP_MALFORMED, 101, "not a header field: \"Upgrade : websocket\""),
    BAD("no_colon",
        GOOD "Nonsense\r\n" END, HPX_E_HTTP_MALFORMED, 101, "not a header field: \"Nonsense\""),
    BAD("no_name", GOOD ": x\r\n" END, HPX_E_HTTP_MALFORMED, 101, "not a header field"),
    BAD("name_not_a_token",
        GOOD "A(b): x\r\n" END, HPX_E_HTTP_MALFORMED, 101, "not a header field"),
    BAD("name_not_ascii", GOOD "\xC3\xA9: x\r\n" END, HPX_E_HTTP_MALFORMED, 101, "\\xc3\\xa9"),
    BAD("malformed_field_of_a_refusal",
        "HTTP/1.1 503 x\r\nNonsense\r\n" END, HPX_E_HTTP_MALFORMED, 503, "Nonsense"),

    /* limits: W14 */
    BAD("fields_above_limit", GOOD "A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\n" END,
        HPX_E_HTTP_TOO_BIG, 0, "more than 8 fields"),
    BAD("bytes_above_limit", GOOD "A: " PAD100 PAD100 PAD100 PAD100 "\r\n" END,
        HPX_E_HTTP_TOO_BIG, 0, "more than 512 bytes"),
    BAD("no_end", SWITCHING UPGRADE CONNECTION ACCEPT, HPX_E_PARTIAL, 0, NULL),
    BAD("nothing", "", HPX_E_PARTIAL, 0, NULL),
};
/* clang-format on */

static const char *const offered[] = {"chat", "v2.json"};

static hpxi_ws_request_config request_config(void)
{
    hpxi_ws_request_config config = {
        .host = "server.example.com",
        .target = "/chat",
        .subprotocols = offered,
        .subprotocol_count = COUNT_OF(offered),
    };
    memcpy(config.nonce, RFC_NONCE, sizeof(config.nonce));
    return config;
}

/* Bytes of the head of a row whose head is complete. */
static size_t head_bytes(const answer_row *row)
{
    const char *end = memmem(row->bytes, row->size, "\r\n\r\n", 4);
    assert_non_null(end);
    return (size_t)(end - row->bytes) + 4;
}

static void check_outcome(const answer_row *row, feeding fed, hpxi_ws_head *head, hpx_error *error)
{
    hpxi_ws_answer answer = {0};
    hpx_status status = fed.status;
    if (fed.status == 1) {
        assert_int_equal(fed.used, head_bytes(row));
        const hpxi_ws_request_config request = request_config();
        status = hpxi_ws_answer_check(head, &request, &answer, error);
    }
    assert_int_equal(status, row->status);
    if (status == HPX_OK) {
        assert_int_equal(answer.http_status, row->http_status);
        assert_string_equal(answer.subprotocol, row->subprotocol == NULL ? "" : row->subprotocol);
        return;
    }
    if (status == HPX_E_PARTIAL) {
        assert_int_equal(fed.used, row->size);
        return;
    }
    assert_int_equal(error->status, row->status);
    assert_int_equal(error->stage, HPX_STAGE_UPGRADE);
    assert_int_equal(error->http_status, row->http_status);
    assert_int_equal(error->retry_after_ns, row->retry_after_s * HPX_NS_PER_S);
    assert_detail_printable(error);
}

static void run_row(const answer_row *row)
{
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    for (size_t cut = 0; cut <= row->size + 1; cut++) {
        hpxi_ws_head head;
        hpx_error error = {0};
        hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
        const feeding fed = cut <= row->size ? feed_cut(&head, row->bytes, row->size, cut, &error)
                                             : feed_bytes(&head, row->bytes, row->size, &error);
        check_outcome(row, fed, &head, &error);
        if (cut == row->size && row->detail != NULL && strstr(error.detail, row->detail) == NULL) {
            fail_msg("%s: detail is: %s", row->name, error.detail);
        }
        hpxi_ws_head_fini(&head);
    }
    assert_int_equal(fa.live, 0);
}

static void test_answer_check_when_cut_anywhere_then_same_outcome(void **state)
{
    (void)state;
    assert_true(COUNT_OF(rows) >= 60);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        print_message("%s\n", rows[i].name);
        run_row(&rows[i]);
    }
}

static void test_answer_check_when_no_error_wanted_then_same_status(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpxi_ws_head head;
        hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
        const feeding fed = feed_cut(&head, rows[i].bytes, rows[i].size, rows[i].size, NULL);
        hpx_status status = fed.status;
        if (status == 1) {
            const hpxi_ws_request_config request = request_config();
            hpxi_ws_answer answer;
            status = hpxi_ws_answer_check(&head, &request, &answer, NULL);
        }
        assert_int_equal(status, rows[i].status);
        hpxi_ws_head_fini(&head);
    }
}

/* A server must not choose a subprotocol when none was offered. */
static void test_answer_check_when_nothing_offered_then_subprotocol_is_refused(void **state)
{
    (void)state;
    static const char bytes[] = GOOD "Sec-WebSocket-Protocol: chat\r\n" END;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_ws_head head;
    hpxi_ws_answer answer;
    hpx_error error;
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
    assert_int_equal(feed_cut(&head, bytes, sizeof(bytes) - 1, 0, &error).status, 1);
    hpxi_ws_request_config request = request_config();
    request.subprotocol_count = 0;
    assert_int_equal(
        hpxi_ws_answer_check(&head, &request, &answer, &error), HPX_E_UPGRADE_SUBPROTOCOL);
    hpxi_ws_head_fini(&head);
}

/* Location matters in a redirect only: elsewhere it may be anything. */
static void test_answer_check_when_no_redirect_then_location_is_not_told(void **state)
{
    (void)state;
    static const char bytes[] = "HTTP/1.1 401 Unauthorized\r\nLocation: nowhere\r\n\r\n";
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    const hpxi_ws_request_config request = request_config();
    hpxi_ws_head head;
    hpxi_ws_answer answer;
    hpx_error error;
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
    assert_int_equal(feed_cut(&head, bytes, sizeof(bytes) - 1, 0, &error).status, 1);
    assert_int_equal(hpxi_ws_answer_check(&head, &request, &answer, &error), HPX_E_UPGRADE_STATUS);
    assert_string_equal(error.detail, "the server answered 401 \"Unauthorized\"");
    hpxi_ws_head_fini(&head);
}

/* The accept value depends on the nonce: each bit of it counts. */
static void test_answer_check_when_nonce_differs_in_one_bit_then_refused(void **state)
{
    (void)state;
    static const char bytes[] = GOOD END;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_ws_head head;
    hpxi_ws_answer answer;
    hpx_error error;
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
    assert_int_equal(feed_cut(&head, bytes, sizeof(bytes) - 1, 0, &error).status, 1);
    for (size_t bit = 0; bit < 8 * HPXI_WS_NONCE_BYTES; bit++) {
        hpxi_ws_request_config request = request_config();
        request.nonce[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(
            hpxi_ws_answer_check(&head, &request, &answer, &error), HPX_E_UPGRADE_ACCEPT);
    }
    hpxi_ws_head_fini(&head);
}

/* The answer's copy of the subprotocol is cut, its comparison is not. */
static void test_answer_check_when_subprotocol_is_long_then_copy_is_cut(void **state)
{
    (void)state;
    static const char bytes[] = GOOD "Sec-WebSocket-Protocol: " PAD100 "\r\n" END;
    static const char *const names[] = {PAD100 "b", PAD100};
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_ws_head head;
    hpxi_ws_answer answer;
    hpx_error error;
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, HEAD_BYTES_MAX, HEAD_FIELDS_MAX, &allocator);
    assert_int_equal(feed_cut(&head, bytes, sizeof(bytes) - 1, 0, &error).status, 1);
    hpxi_ws_request_config request = request_config();
    request.subprotocols = names;
    assert_int_equal(hpxi_ws_answer_check(&head, &request, &answer, &error), HPX_OK);
    assert_int_equal(strlen(answer.subprotocol), sizeof(answer.subprotocol) - 1);
    request.subprotocol_count = 1; /* the longer name only */
    assert_int_equal(
        hpxi_ws_answer_check(&head, &request, &answer, &error), HPX_E_UPGRADE_SUBPROTOCOL);
    hpxi_ws_head_fini(&head);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answer_check_when_cut_anywhere_then_same_outcome),
        cmocka_unit_test(test_answer_check_when_no_error_wanted_then_same_status),
        cmocka_unit_test(test_answer_check_when_nothing_offered_then_subprotocol_is_refused),
        cmocka_unit_test(test_answer_check_when_no_redirect_then_location_is_not_told),
        cmocka_unit_test(test_answer_check_when_nonce_differs_in_one_bit_then_refused),
        cmocka_unit_test(test_answer_check_when_subprotocol_is_long_then_copy_is_cut),
    };
    return cmocka_run_group_tests_name("ws/handshake_client", tests, NULL, NULL);
}

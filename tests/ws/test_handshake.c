/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the key's answer, the bytes of a request, and the strings that must not get into one.
 * Method: the RFC's own example; byte-exact requests; every byte value tried at every place of each
 * kind of string, against a rule written down here on its own.
 */
#include "tests/support/failing_allocator.h"
#include "tests/ws/head_feeding.h"

static hpxi_ws_request_config config_of_rfc(void)
{
    hpxi_ws_request_config config = {.host = "server.example.com", .target = "/chat"};
    memcpy(config.nonce, RFC_NONCE, sizeof(config.nonce));
    return config;
}

static void test_accept_of_when_key_of_rfc_then_value_of_rfc(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        const char *accept;
    } rows[] = {
        {RFC_KEY, RFC_ACCEPT},
        {"x3JJHMbDL1EzLkh9GBhXDw==", "HSmrc0sMlYUkAGmm5OPpG2HaGWk="},
        {"AAAAAAAAAAAAAAAAAAAAAA==", "ICX+Yqv66kxgM0FcWaLWlFLwTAI="},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char accept[HPXI_WS_ACCEPT_BYTES + 1];
        memset(accept, 'x', sizeof(accept));
        hpxi_ws_accept_of(accept, rows[i].key, strlen(rows[i].key));
        assert_string_equal(accept, rows[i].accept);
    }
}

static void assert_request(const hpxi_ws_request_config *config, const char *expected)
{
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpx_error error = {0};
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    assert_true(hpxi_buf_append(&out, "before", 6)); /* it appends */
    assert_int_equal(hpxi_ws_request_check(config, &error), HPX_OK);
    assert_int_equal(hpxi_ws_request_write(&out, config), HPX_OK);
    const hpx_span written = hpxi_buf_span(&out);
    assert_int_equal(written.size, 6 + strlen(expected));
    assert_memory_equal(written.data + 6, expected, strlen(expected));
    hpxi_buf_fini(&out);
    assert_int_equal(fa.live, 0);
}

static void test_request_write_when_minimal_then_these_bytes(void **state)
{
    (void)state;
    const hpxi_ws_request_config config = config_of_rfc();
    assert_request(
        &config,
        "GET /chat HTTP/1.1\r\n"
        "Host: server.example.com\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Key: " RFC_KEY "\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "\r\n");
}

static void test_request_write_when_full_then_these_bytes(void **state)
{
    (void)state;
    static const char *const headers[] = {
        "Authorization: Bearer a.b-c", "X-Empty:", "x-none: ", "Origin:null", "X-Utf8: \xC3\xA9"};
    static const char *const subprotocols[] = {"v2.json", "chat"};
    hpxi_ws_request_config config = config_of_rfc();
    config.host = "[::1]:8443";
    config.target = "/a/b?c=d&e=%20";
    config.headers = headers;
    config.header_count = COUNT_OF(headers);
    config.subprotocols = subprotocols;
    config.subprotocol_count = COUNT_OF(subprotocols);
    memset(config.nonce, 0xFF, sizeof(config.nonce));
    assert_request(
        &config,
        "GET /a/b?c=d&e=%20 HTTP/1.1\r\n"
        "Host: [::1]:8443\r\n"
        "Upgrade: websocket\r\n"
        "Connection: Upgrade\r\n"
        "Sec-WebSocket-Key: /////////////////////w==\r\n"
        "Sec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: v2.json, chat\r\n"
        "Authorization: Bearer a.b-c\r\n"
        "X-Empty:\r\n"
        "x-none: \r\n"
        "Origin:null\r\n"
        "X-Utf8: \xC3\xA9\r\n"
        "\r\n");
}

typedef enum place { HOST, TARGET, HEADER, SUBPROTOCOL } place;

/* Checks a request with one string replaced. */
static hpx_status check_with(place where, const char *text, hpx_error *error)
{
    const char *const headers[] = {"X-First: 1", text};
    const char *const subprotocols[] = {"first", text};
    hpxi_ws_request_config config = config_of_rfc();
    switch (where) {
    case HOST:
        config.host = text;
        break;
    case TARGET:
        config.target = text;
        break;
    case HEADER:
        config.headers = headers;
        config.header_count = COUNT_OF(headers);
        break;
    case SUBPROTOCOL:
        config.subprotocols = subprotocols;
        config.subprotocol_count = COUNT_OF(subprotocols);
        break;
    }
    assert_int_equal(hpxi_ws_request_check(&config, NULL), hpxi_ws_request_check(&config, error));
    return hpxi_ws_request_check(&config, error);
}

typedef struct string_row {
    place where;
    const char *text;
    const char *detail; /* NULL: it is good */
} string_row;

static const string_row string_rows[] = {
    {HOST, "a", NULL},
    {HOST, "a.example:1", NULL},
    {HOST, "127.0.0.1:65535", NULL},
    {HOST, "[::ffff:1.2.3.4]", NULL},
    {HOST, "[::1]:80", NULL},
    {HOST, NULL, "host"},
    {HOST, "", "host"},
    {HOST, ":80", "host"},
    {HOST, "a:123456", "host"},
    {HOST, "a:b", "host"},
    {HOST, "a:1:2", "host"},
    {HOST, "user@a", "host"},
    {HOST, "a/b", "host"},
    {HOST, "::1", "host"},
    {HOST, "[::1", "host"},
    {HOST, "[]", "host"},
    {HOST, "[::1]a", "host"},
    {HOST, "[fe80::1%25eth0]", "host"},
    {HOST, "a\r\nX: y", "host"},
    {TARGET, "/", NULL},
    {TARGET, "//", NULL},
    {TARGET, "/?", NULL},
    {TARGET, NULL, "target"},
    {TARGET, "", "target"},
    {TARGET, "a", "target"},
    {TARGET, "?a", "target"},
    {TARGET, "*", "target"},
    {TARGET, "http://a/", "target"},
    {TARGET, "/ HTTP/1.1\r\nHost: b\r\n", "target"},
    {TARGET, "/#f", "target"},
    {HEADER, "Name: value", NULL},
    {HEADER, "Name:value", NULL},
    {HEADER, "Name:", NULL},
    {HEADER, "Name: a b : c", NULL},
    {HEADER, "!#$%&'*+-.^_`|~09azAZ: 1", NULL},
    {HEADER, "Hosts: 1", NULL},
    {HEADER, "Sec-WebSocke: 1", NULL},
    {HEADER, "X-Sec-WebSocket-Key: 1", NULL},
    {HEADER, NULL, "headers[1] is NULL"},
    {HEADER, "", "headers[1] is not \"Name: value\""},
    {HEADER, "Name", "headers[1] is not \"Name: value\""},
    {HEADER, ": value", "headers[1] has a name that is not a token"},
    {HEADER, "Na me: value", "headers[1] has a name that is not a token"},
    {HEADER, "Name : value", "headers[1] has a name that is not a token"},
    {HEADER, " Name: value", "headers[1] has a name that is not a token"},
    {HEADER, "\xC3\xA9: value", "headers[1] has a name that is not a token"},
    {HEADER, "Na\r\nme: value", "headers[1] has a name that is not a token"},
    {HEADER, "Name:  value", "headers[1] has white space"},
    {HEADER, "Name: value ", "headers[1] has white space"},
    {HEADER, "Name:  ", "headers[1] has white space"},
    {HEADER, "Name: \tvalue", "headers[1] has a control byte"},
    {HEADER, "Name: a\tb", "headers[1] has a control byte"},
    {HEADER, "Name: a\r\nX: y", "headers[1] has a control byte"},
    {HEADER, "Name: a\n", "headers[1] has a control byte"},
    {HEADER, "Name: a\r", "headers[1] has a control byte"},
    {HEADER, "Name: \x7F", "headers[1] has a control byte"},
    {HEADER, "Host: a", "headers[1] is a field that the handshake itself sets"},
    {HEADER, "hOST: a", "headers[1] is a field that"},
    {HEADER, "Upgrade: h2c", "headers[1] is a field that"},
    {HEADER, "Connection: close", "headers[1] is a field that"},
    {HEADER, "connection:", "headers[1] is a field that"},
    {HEADER, "Sec-WebSocket-Key: " RFC_KEY, "headers[1] is a field that"},
    {HEADER, "Sec-WebSocket-Version: 8", "headers[1] is a field that"},
    {HEADER, "Sec-WebSocket-Protocol: a", "headers[1] is a field that"},
    {HEADER, "SEC-WEBSOCKET-EXTENSIONS: x", "headers[1] is a field that"},
    {HEADER, "Sec-WebSocket-Accept: x", "headers[1] is a field that"},
    {HEADER, "Sec-WebSocket-New: x", "headers[1] is a field that"},
    {HEADER, "Content-Length: 0", "headers[1] is a field that"},
    {HEADER, "Transfer-Encoding: chunked", "headers[1] is a field that"},
    {HEADER, "Expect: 100-continue", "headers[1] is a field that"},
    {SUBPROTOCOL, "second", NULL},
    {SUBPROTOCOL, "First", NULL},
    {SUBPROTOCOL, NULL, "subprotocols[1] is NULL"},
    {SUBPROTOCOL, "", "subprotocols[1] is not a token"},
    {SUBPROTOCOL, "a b", "subprotocols[1] is not a token"},
    {SUBPROTOCOL, "a,b", "subprotocols[1] is not a token"},
    {SUBPROTOCOL, "a\r\nX: y", "subprotocols[1] is not a token"},
    {SUBPROTOCOL, "\"a\"", "subprotocols[1] is not a token"},
    {SUBPROTOCOL, "first", "subprotocols[1] was named before"},
};

static void test_request_check_when_string_is_bad_then_it_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(string_rows); i++) {
        const string_row *row = &string_rows[i];
        hpx_error error = {0};
        const hpx_status status = check_with(row->where, row->text, &error);
        if (status != (row->detail == NULL ? HPX_OK : HPX_E_INVALID)) {
            fail_msg("row %zu (%s): %d %s", i, row->text, status, error.detail);
        }
        if (row->detail == NULL) {
            continue;
        }
        assert_int_equal(error.status, HPX_E_INVALID);
        assert_int_equal(error.stage, HPX_STAGE_CONFIG);
        assert_detail_printable(&error);
        if (strncmp(error.detail, row->detail, strlen(row->detail)) != 0) {
            fail_msg("row %zu: detail is: %s", i, error.detail);
        }
    }
}

/* Which bytes each string may hold: RFC 9110 5.6.2 and 5.5, RFC 3986. Written down again here. */
static bool is_allowed(place where, bool in_name, int byte)
{
    static const char alphanumeric[] = "0123456789abcdefghijklmnopqrstuvwxyz"
                                       "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char *const also[] = {
        [HOST] = "-._~%!$&'()*+,;=",
        [TARGET] = NULL,
        [HEADER] = "!#$%&'*+-.^_`|~",
        [SUBPROTOCOL] = "!#$%&'*+-.^_`|~",
    };
    if (where == TARGET) {
        return byte > 0x20 && byte < 0x7F && byte != '#';
    }
    if (where == HEADER && !in_name) {
        return byte >= 0x20 && byte != 0x7F;
    }
    return strchr(alphanumeric, byte) != NULL || strchr(also[where], byte) != NULL;
}

/* H4: no byte that could end the line, or the word, gets through at any place. */
static void test_request_check_when_any_byte_anywhere_then_only_allowed_ones_pass(void **state)
{
    (void)state;
    static const struct {
        place where;
        const char *text;
        size_t first; /* the places to change: [first, last] */
        size_t last;
        bool in_name;
    } rows[] = {
        {HOST, "host.example", 0, 11, false},
        {TARGET, "/path?query", 1, 10, false},
        {HEADER, "Name: v", 0, 3, true},
        {HEADER, "Name: a value", 7, 11, false},
        {SUBPROTOCOL, "protocol", 0, 7, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t at = rows[i].first; at <= rows[i].last; at++) {
            for (int byte = 1; byte < 256; byte++) {
                char text[32];
                strcpy(text, rows[i].text);
                text[at] = (char)byte;
                const bool separator = (rows[i].where == HOST && byte == ':') ||
                                       (rows[i].where == HEADER && byte == ':');
                if (separator) {
                    continue; /* splits the string in another way */
                }
                hpx_error error = {0};
                const hpx_status status = check_with(rows[i].where, text, &error);
                const bool good = is_allowed(rows[i].where, rows[i].in_name, byte);
                if (status != (good ? HPX_OK : HPX_E_INVALID)) {
                    fail_msg("row %zu, place %zu, byte 0x%02x: %d", i, at, byte, status);
                }
            }
        }
    }
}

/* A credential never reaches an error text. */
static void test_request_check_when_header_is_bad_then_value_is_not_shown(void **state)
{
    (void)state;
    hpx_error error = {0};
    assert_int_equal(check_with(HEADER, "Authorization: s3cret\n", &error), HPX_E_INVALID);
    assert_null(strstr(error.detail, "s3cret"));
}

static void test_request_check_when_list_is_null_with_count_then_invalid(void **state)
{
    (void)state;
    hpx_error error = {0};
    hpxi_ws_request_config config = config_of_rfc();
    config.header_count = 1;
    assert_int_equal(hpxi_ws_request_check(&config, &error), HPX_E_INVALID);
    config.header_count = 0;
    config.subprotocol_count = 1;
    assert_int_equal(hpxi_ws_request_check(&config, &error), HPX_E_INVALID);
}

static void write_scenario(hpx_allocator allocator, bool expect_success)
{
    const hpxi_ws_request_config config = config_of_rfc();
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    const hpx_status status = hpxi_ws_request_write(&out, &config);
    assert_int_equal(status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    assert_true((hpxi_buf_size(&out) != 0) == expect_success); /* all or nothing */
    hpxi_buf_fini(&out);
}

static void test_request_write_when_any_allocation_fails_then_nothing_is_written(void **state)
{
    (void)state;
    fa_exhaust(write_scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accept_of_when_key_of_rfc_then_value_of_rfc),
        cmocka_unit_test(test_request_write_when_minimal_then_these_bytes),
        cmocka_unit_test(test_request_write_when_full_then_these_bytes),
        cmocka_unit_test(test_request_check_when_string_is_bad_then_it_is_named),
        cmocka_unit_test(test_request_check_when_any_byte_anywhere_then_only_allowed_ones_pass),
        cmocka_unit_test(test_request_check_when_header_is_bad_then_value_is_not_shown),
        cmocka_unit_test(test_request_check_when_list_is_null_with_count_then_invalid),
        cmocka_unit_test(test_request_write_when_any_allocation_fails_then_nothing_is_written),
    };
    return cmocka_run_group_tests_name("ws/handshake", tests, NULL, NULL);
}

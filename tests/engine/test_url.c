/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: ws:// and wss:// URLs give the host, port, Host value and target that RFC 6455 3 says, and
 * anything that two programs could read in two ways is refused.
 * Method: a table of good and one of bad URLs; every byte value tried at every place.
 */
#include <stdio.h>

#include "engine/url.h"
#include "tests/support/test.h"

#define PAD10   "aaaaaaaaaa"
#define PAD50   PAD10 PAD10 PAD10 PAD10 PAD10
#define PAD63   PAD50 PAD10 "aaa"
#define NAME253 PAD63 "." PAD63 "." PAD63 "." PAD50 PAD10 "a"

typedef struct good_row {
    const char *text;
    bool is_tls;
    const char *address; /* "4", "6" or "" */
    uint16_t port;
    const char *host;
    const char *host_header;
    const char *target;
} good_row;

/* clang-format off */
static const good_row good_rows[] = {
    {"ws://a", false, "", 80, "a", "a", "/"},
    {"wss://a", true, "", 443, "a", "a", "/"},
    {"WS://a/", false, "", 80, "a", "a", "/"},
    {"wSs://A.Example/Path", true, "", 443, "a.example", "a.example", "/Path"},
    {"ws://a:80/", false, "", 80, "a", "a", "/"},
    {"ws://a:443/", false, "", 443, "a", "a:443", "/"},
    {"wss://a:443/", true, "", 443, "a", "a", "/"},
    {"wss://a:80/", true, "", 80, "a", "a:80", "/"},
    {"wss://a:1", true, "", 1, "a", "a:1", "/"},
    {"wss://a:65535", true, "", 65535, "a", "a:65535", "/"},
    {"ws://a?b=c", false, "", 80, "a", "a", "/?b=c"},
    {"ws://a:81?", false, "", 81, "a", "a:81", "/?"},
    {"ws://a/?", false, "", 80, "a", "a", "/?"},
    {"ws://a/b/../c/./d//e", false, "", 80, "a", "a", "/b/../c/./d//e"},
    {"ws://a/b?c/d?e:f@g", false, "", 80, "a", "a", "/b?c/d?e:f@g"},
    {"ws://a/-._~!$&'()*+,;=:@/?", false, "", 80, "a", "a", "/-._~!$&'()*+,;=:@/?"},
    {"ws://a/%20%7e%Ff", false, "", 80, "a", "a", "/%20%7e%Ff"},
    {"ws://a/http://b", false, "", 80, "a", "a", "/http://b"},
    {"ws://a/stream?streams=btc@trade/eth@trade", false, "", 80, "a", "a",
     "/stream?streams=btc@trade/eth@trade"},
    {"ws://xn--bcher-kva.example", false, "", 80, "xn--bcher-kva.example",
     "xn--bcher-kva.example", "/"},
    {"ws://my_service-1.x", false, "", 80, "my_service-1.x", "my_service-1.x", "/"},
    {"ws://1a.2b", false, "", 80, "1a.2b", "1a.2b", "/"},
    {"ws://1.2.3.4.example", false, "", 80, "1.2.3.4.example", "1.2.3.4.example", "/"},
    {"ws://0xg", false, "", 80, "0xg", "0xg", "/"},
    {"ws://localhost:8080/ws", false, "", 8080, "localhost", "localhost:8080", "/ws"},
    {"ws://127.0.0.1", false, "4", 80, "127.0.0.1", "127.0.0.1", "/"},
    {"wss://0.0.0.0:8443/x", true, "4", 8443, "0.0.0.0", "0.0.0.0:8443", "/x"},
    {"ws://[::1]", false, "6", 80, "::1", "[::1]", "/"},
    {"wss://[2001:DB8::A]:444/x?y", true, "6", 444, "2001:db8::a", "[2001:db8::a]:444", "/x?y"},
    {"ws://[::ffff:1.2.3.4]:80", false, "6", 80, "::ffff:1.2.3.4", "[::ffff:1.2.3.4]", "/"},
    {"ws://" PAD63 ".a", false, "", 80, PAD63 ".a", PAD63 ".a", "/"},
    {"ws://" NAME253 ":65535", false, "", 65535, NAME253, NAME253 ":65535", "/"},
};

static const struct {
    const char *text;
    size_t offset; /* that the detail tells */
    const char *detail;
} bad_rows[] = {
    {"", 0, "does not begin with ws:// or wss://"},
    {"a", 1, "does not begin with"},
    {"//a", 0, "does not begin with"},
    {"ws", 2, "does not begin with"},
    {"ws:", 2, "does not begin with"},
    {"ws:/", 2, "does not begin with"},
    {"ws:/a", 2, "does not begin with"},
    {"ws:a", 2, "does not begin with"},
    {" ws://a", 0, "does not begin with"},
    {"1ws://a", 0, "does not begin with"},
    {"://a", 0, "does not begin with"},
    {"a.example:80", 9, "does not begin with"},
    {"http://a", 0, "scheme is neither ws nor wss: \"http\""},
    {"https://a", 0, "\"https\""},
    {"w://a", 0, "\"w\""},
    {"wsss://a", 0, "\"wsss\""},
    {"wsx://a", 0, "\"wsx\""},
    {"ws+unix://a", 0, "\"ws+unix\""},
    {"ws://", 5, "host is empty"},
    {"ws:///path", 5, "host is empty"},
    {"ws://:80", 5, "host is empty"},
    {"ws://?a", 5, "host is empty"},
    {"ws://[]", 6, "host is empty"},
    {"ws://user@a", 5, "user info"},
    {"ws://user:secret@a/", 5, "user info"},
    {"ws://@a", 5, "user info"},
    {"ws://a/#", 7, "fragment"},
    {"ws://a#f", 6, "fragment"},
    {"ws://a/b?c#d", 10, "fragment"},
    {"ws://a:", 7, "port is not a number from 1 to 65535: \"\""},
    {"ws://a:/", 7, "port is not"},
    {"ws://a:0", 7, "port is not"},
    {"ws://a:080", 7, "port is not"},
    {"ws://a:65536", 7, "\"65536\""},
    {"ws://a:99999", 7, "port is not"},
    {"ws://a:100000", 7, "port is not"},
    {"ws://a:18446744073709551617", 7, "port is not"},
    {"ws://a:+80", 7, "port is not"},
    {"ws://a: 80", 7, "port is not"},
    {"ws://a:80 /", 7, "port is not"},
    {"ws://a:8x", 7, "port is not"},
    {"ws://a:80:81", 7, "port is not"},
    {"ws://[::1]80", 10, "byte not allowed after the host"},
    {"ws://[::1].a", 10, "byte not allowed after the host"},
    {"ws://[::1", 5, "no ] after"},
    {"ws://[::1/]", 5, "no ] after"},
    {"ws://::1/", 5, "host is empty"},
    {"ws://[1.2.3.4]", 6, "not an IPv6 address"},
    {"ws://[a]", 6, "not an IPv6 address"},
    {"ws://[::1::]", 6, "not an IPv6 address"},
    {"ws://[fe80::1%eth0]", 6, "not an IPv6 address"},
    {"ws://[fe80::1%25eth0]", 6, "not an IPv6 address"},
    {"ws://[v1.a]", 6, "not an IPv6 address"},
    {"ws://a..b", 5, "empty label"},
    {"ws://.a", 5, "empty label"},
    {"ws://a.", 5, "empty label"},
    {"ws://.", 5, "empty label"},
    {"ws://" PAD63 "a.b", 5, "label of the host name has more than 63 bytes"},
    {"ws://b." PAD63 "a", 7, "label of the host name has more than 63 bytes"},
    {"ws://" NAME253 "a", 5, "host has more than 253 bytes"},
    {"ws://-a", 5, "hyphen: \"-a\""},
    {"ws://a.b-.c", 7, "hyphen: \"b-\""},
    {"ws://1", 5, "no IPv4 address"},
    {"ws://1.2.3", 5, "no IPv4 address"},
    {"ws://1.2.3.256", 5, "no IPv4 address"},
    {"ws://1.2.3.4.5", 5, "no IPv4 address"},
    {"ws://017.0.0.1", 5, "no IPv4 address"},
    {"ws://0x7f000001", 5, "no IPv4 address"},
    {"ws://0X7F.1", 5, "no IPv4 address"},
    {"ws://a.0x", 5, "no IPv4 address"},
    {"ws://a b", 6, "byte not allowed in a host name: \" \""},
    {"ws://a%41", 6, "byte not allowed in a host name: \"%\""},
    {"ws://b\xC3\xBC" "cher.example", 6, "byte not allowed in a host name: \"\\xc3\""},
    {"ws://a\\b", 6, "\"\\\\\""},
    {"ws://a\r\nHost: b", 6, "byte not allowed in a host name: \"\\r\""},
    {"ws://a/%", 7, "% is not followed"},
    {"ws://a/%2", 7, "% is not followed"},
    {"ws://a/%2g", 7, "% is not followed"},
    {"ws://a/%%20", 7, "% is not followed"},
    {"ws://a/ b", 7, "byte must be percent-encoded: \" \""},
    {"ws://a/b\t", 8, "byte must be percent-encoded: \"\\t\""},
    {"ws://a/b\r\nX: y", 8, "byte must be percent-encoded: \"\\r\""},
    {"ws://a/\x7F", 7, "byte must be percent-encoded: \"\\x7f\""},
    {"ws://a/\xC3\xA9", 7, "byte must be percent-encoded: \"\\xc3\""},
    {"ws://a/?x=[1]", 10, "byte must be percent-encoded: \"[\""},
    {"ws://a/{b}", 7, "byte must be percent-encoded: \"{\""},
    {"ws://a/b\"", 8, "byte must be percent-encoded: \"\\\"\""},
    {"ws://a/b\\c", 8, "byte must be percent-encoded"},
    {"ws://a/<>", 7, "byte must be percent-encoded"},
    {"ws://a/^`|", 7, "byte must be percent-encoded"},
};
/* clang-format on */

static void test_url_parse_when_good_then_these_parts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(good_rows); i++) {
        const good_row *row = &good_rows[i];
        hpxi_url url;
        hpx_error error = {0};
        memset(&url, 0xAA, sizeof(url));
        if (hpxi_url_parse(&url, row->text, &error) != HPX_OK) {
            fail_msg("%s: %s", row->text, error.detail);
        }
        assert_int_equal(url.is_tls, row->is_tls);
        assert_int_equal(url.host_is_v4, row->address[0] == '4');
        assert_int_equal(url.host_is_v6, row->address[0] == '6');
        assert_int_equal(url.port, row->port);
        assert_string_equal(url.host, row->host);
        assert_string_equal(url.host_header, row->host_header);
        assert_string_equal(url.target, row->target);
    }
}

static void test_url_parse_when_bad_then_says_what_and_where(void **state)
{
    (void)state;
    assert_true(COUNT_OF(good_rows) + COUNT_OF(bad_rows) >= 50);
    for (size_t i = 0; i < COUNT_OF(bad_rows); i++) {
        hpxi_url url;
        hpx_error error = {0};
        char where[48];
        snprintf(where, sizeof(where), "(offset %zu of the URL)", bad_rows[i].offset);
        if (hpxi_url_parse(&url, bad_rows[i].text, &error) != HPX_E_URL) {
            fail_msg("%s was accepted", bad_rows[i].text);
        }
        assert_int_equal(error.status, HPX_E_URL);
        assert_int_equal(error.stage, HPX_STAGE_CONFIG);
        if (strstr(error.detail, bad_rows[i].detail) == NULL ||
            strstr(error.detail, where) == NULL) {
            fail_msg("row %zu (%s): %s", i, bad_rows[i].text, error.detail);
        }
        for (const char *at = error.detail; *at != '\0'; at++) {
            assert_in_range(*at, 0x20, 0x7E);
        }
        assert_null(strstr(error.detail, "secret"));
        assert_string_equal(url.host, ""); /* nothing half done is left */
        assert_int_equal(hpxi_url_parse(&url, bad_rows[i].text, NULL), HPX_E_URL);
    }
}

/* The target has room for 4095 bytes, its first slash included. */
static void test_url_parse_when_target_is_long_then_4095_bytes_fit(void **state)
{
    (void)state;
    static const char start[] = "ws://a?";
    char text[sizeof(start) + HPXI_URL_TARGET_BYTES];
    for (size_t bytes = HPXI_URL_TARGET_BYTES - 3; bytes < HPXI_URL_TARGET_BYTES; bytes++) {
        memcpy(text, start, sizeof(start) - 1);
        memset(text + sizeof(start) - 1, 'a', bytes);
        text[sizeof(start) - 1 + bytes] = '\0';
        hpxi_url url;
        hpx_error error = {0};
        const bool fits = bytes + 2 < HPXI_URL_TARGET_BYTES; /* "/?" comes first */
        assert_int_equal(hpxi_url_parse(&url, text, &error), fits ? HPX_OK : HPX_E_URL);
        assert_int_equal(strlen(url.target), fits ? bytes + 2 : 0);
        assert_true(fits || strstr(error.detail, "more than 4095 bytes") != NULL);
    }
}

/* Whatever byte is put wherever: what comes out holds none that could end a line or a word. */
static void test_url_parse_when_any_byte_anywhere_then_parts_are_clean(void **state)
{
    (void)state;
    static const char *const texts[] = {"wss://host.example:8443/path?a=%41", "ws://[::1]:8/p"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        for (size_t at = 0; at < strlen(texts[i]); at++) {
            for (int byte = 0; byte < 256; byte++) {
                char text[48];
                strcpy(text, texts[i]);
                text[at] = (char)byte;
                hpxi_url url;
                const hpx_status status = hpxi_url_parse(&url, text, NULL);
                const bool clean = byte > 0x20 && byte < 0x7F && byte != '#';
                if (byte != 0) {
                    assert_true(clean || status == HPX_E_URL);
                }
                const char *const parts[] = {url.host, url.host_header, url.target};
                for (size_t p = 0; p < COUNT_OF(parts); p++) {
                    for (const char *c = parts[p]; *c != '\0'; c++) {
                        assert_in_range(*c, 0x21, 0x7E);
                    }
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_parse_when_good_then_these_parts),
        cmocka_unit_test(test_url_parse_when_bad_then_says_what_and_where),
        cmocka_unit_test(test_url_parse_when_target_is_long_then_4095_bytes_fit),
        cmocka_unit_test(test_url_parse_when_any_byte_anywhere_then_parts_are_clean),
    };
    return cmocka_run_group_tests_name("engine/url", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A certificate's name matches the wanted one exactly when RFC 9525 says so.
 * Method  Tables: what may be wanted at all, dNSName against name, iPAddress against address. SANs
 *         are given with their length, so that they can hold a NUL.
 */
#include <stdio.h>

#include "tests/support/test.h"
#include "tls/name.h"

static const struct {
    const char *text;
    bool good;
    bool is_address;
    const char *host;
} parse_rows[] = {
    {"a.example", true, false, "a.example"},
    {"A.EXAMPLE", true, false, "a.example"},
    {"a.example.", true, false, "a.example"},
    {"localhost", true, false, "localhost"},
    {"xn--bcher-kva.example", true, false, "xn--bcher-kva.example"},
    {"a_b.example", true, false, "a_b.example"},
    {"127.0.0.1", true, true, "127.0.0.1"},
    {"::1", true, true, "::1"},
    {"[::1]", true, true, "::1"},
    {"2001:DB8::1", true, true, "2001:DB8::1"},
    {"::ffff:127.0.0.1", true, true, "::ffff:127.0.0.1"},
    {"1.2.3.4.example", true, false, "1.2.3.4.example"},
    {"", false, false, NULL},
    {".", false, false, NULL},
    {"a..example", false, false, NULL},
    {".example", false, false, NULL},
    {"a.example..", false, false, NULL},
    {"*.example.com", false, false, NULL},
    {"a b.example", false, false, NULL},
    {"a.example:443", false, false, NULL},
    {"a@b.example", false, false, NULL},
    {"b\xC3\xBC"
     "cher.example",
     false,
     false,
     NULL},
    {"127.0.0.1.", false, false, NULL},
    {"127.1", false, false, NULL},
    {"0x7f.1", false, false, NULL},
    {"a.0x7f", false, false, NULL},
    {"127.0.0.256", false, false, NULL},
    {"[127.0.0.1]", false, false, NULL},
    {"[::1", false, false, NULL},
    {"fe80::1%eth0", false, false, NULL},
};

static void test_name_parse_takes_names_and_addresses_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(parse_rows); i++) {
        hpxi_tls_name name;
        const bool good = hpxi_tls_name_parse(&name, parse_rows[i].text);
        if (good != parse_rows[i].good || (good && name.is_address != parse_rows[i].is_address) ||
            (good && strcmp(name.host, parse_rows[i].host) != 0)) {
            fail_msg("row %zu, '%s': good %d", i, parse_rows[i].text, good);
        }
    }
}

static void test_name_parse_when_longer_than_dns_allows_then_refused(void **state)
{
    (void)state;
    hpxi_tls_name name;
    char text[300];
    memset(text, 'a', sizeof(text));
    for (size_t i = 49; i < sizeof(text); i += 50) {
        text[i] = '.';
    }
    text[253] = '\0';
    assert_true(hpxi_tls_name_parse(&name, text));
    assert_int_equal(name.host_bytes, 253);
    text[253] = '.';
    text[254] = '\0';
    assert_true(hpxi_tls_name_parse(&name, text));
    text[253] = 'a';
    assert_false(hpxi_tls_name_parse(&name, text));
    memset(text, 'a', 64);
    memcpy(text + 64, ".example", sizeof(".example"));
    assert_false(hpxi_tls_name_parse(&name, text)); /* a label of 64 */
    assert_true(hpxi_tls_name_parse(&name, text + 1));
}

#define DNS(text) (text), sizeof(text) - 1

static const struct {
    const char *wanted;
    const char *san;
    size_t san_bytes;
    bool matches;
} dns_rows[] = {
    {"a.example", DNS("a.example"), true},
    {"a.example", DNS("A.eXaMpLe"), true},
    {"A.Example", DNS("a.example"), true},
    {"a.example.", DNS("a.example"), true},
    {"localhost", DNS("localhost"), true},
    {"a.example.com", DNS("*.example.com"), true},
    {"A.EXAMPLE.COM", DNS("*.example.COM"), true},
    {"a.example.com.", DNS("*.example.com"), true},
    {"a.b.example.com", DNS("*.b.example.com"), true},
    {"xn--bcher-kva.example.com", DNS("*.example.com"), true},
    {"xn--bcher-kva.example", DNS("xn--bcher-kva.example"), true},
    {"a_b.example", DNS("a_b.example"), true},
    {"a.example", DNS("b.example"), false},
    {"a.example", DNS("a.example.com"), false},
    {"a.example.com", DNS("example.com"), false},
    {"ba.example", DNS("a.example"), false},
    {"a.example", DNS(""), false},
    {"a.example", DNS("."), false},
    {"a.example", DNS("a.example."), false},
    {"a.example", DNS("a..example"), false},
    {"a.example", DNS(".a.example"), false},
    {"a.example", DNS("a.example\0"), false},
    {"a.example", DNS("a.example\0.evil.test"), false},
    {"a.example.com", DNS("*.example.com\0"), false},
    {"a.example", DNS(" a.example"), false},
    {"a.example", DNS("a.example:443"), false},
    {"a.example", DNS("*"), false},
    {"localhost", DNS("*"), false},
    {"a.example", DNS("*."), false},
    {"a.example", DNS("*.example"), false},
    {"a.com", DNS("*.com"), false},
    {"a.example.com", DNS("*.*.com"), false},
    {"a.example.com", DNS("*.*"), false},
    {"a.example.com", DNS("**.example.com"), false},
    {"a.example.com", DNS("a*.example.com"), false},
    {"ta.example.com", DNS("t*.example.com"), false},
    {"at.example.com", DNS("*t.example.com"), false},
    {"t.example.com", DNS("t*.example.com"), false},
    {"a.b.example.com", DNS("*tb.example.com"), false},
    {"a.example.com", DNS("a.*.com"), false},
    {"a.example.com", DNS("a.example.*"), false},
    {"a.b.example.com", DNS("*.example.com"), false},
    {"example.com", DNS("*.example.com"), false},
    {"xn--bcher-kva.example.com", DNS("xn--*.example.com"), false},
    {"127.0.0.1", DNS("127.0.0.1"), false},
    {"127.0.0.1", DNS("*.0.0.1"), false},
    {"127.0.0.1", DNS("\x7f\0\0\1"), false},
    {"::1", DNS("::1"), false},
};

static void test_name_matches_dns_only_as_rfc9525_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(dns_rows); i++) {
        hpxi_tls_name name;
        assert_true(hpxi_tls_name_parse(&name, dns_rows[i].wanted));
        /* In a block of its own size: nothing beyond the SAN may be read. */
        uint8_t *san = malloc(dns_rows[i].san_bytes + (dns_rows[i].san_bytes == 0));
        assert_non_null(san);
        memcpy(san, dns_rows[i].san, dns_rows[i].san_bytes);
        const bool matches = hpxi_tls_name_matches_dns(&name, san, dns_rows[i].san_bytes);
        free(san);
        if (matches != dns_rows[i].matches) {
            fail_msg("row %zu: '%s' against '%s'", i, dns_rows[i].wanted, dns_rows[i].san);
        }
    }
}

static const struct {
    const char *wanted;
    const char *san;
    size_t san_bytes;
    bool matches;
} ip_rows[] = {
    {"127.0.0.1", DNS("\x7f\0\0\1"), true},
    {"0.0.0.0", DNS("\0\0\0\0"), true},
    {"::1", DNS("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), true},
    {"[2001:db8::1]", DNS("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), true},
    {"2001:0DB8:0:0::1", DNS("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"), true},
    {"127.0.0.1", DNS("\x7f\0\0\2"), false},
    {"127.0.0.1", DNS("\x7f\0\0"), false},
    {"127.0.0.1", DNS("\x7f\0\0\1\0"), false},
    {"127.0.0.1", DNS(""), false},
    {"127.0.0.1", DNS("127.0.0.1"), false},
    {"127.0.0.1", DNS("\x7f\0\0\1\xff\xff\xff\xff"), false}, /* address and mask */
    {"127.0.0.1", DNS("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1"), false},
    {"::ffff:127.0.0.1", DNS("\x7f\0\0\1"), false},
    {"::1", DNS("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"), false},
    {"a.example", DNS("\x7f\0\0\1"), false},
    {"abcd", DNS("abcd"), false},
};

static void test_name_matches_ip_only_byte_by_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ip_rows); i++) {
        hpxi_tls_name name;
        assert_true(hpxi_tls_name_parse(&name, ip_rows[i].wanted));
        const bool matches =
            hpxi_tls_name_matches_ip(&name, (const uint8_t *)ip_rows[i].san, ip_rows[i].san_bytes);
        if (matches != ip_rows[i].matches) {
            fail_msg("row %zu: '%s'", i, ip_rows[i].wanted);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_parse_takes_names_and_addresses_and_nothing_else),
        cmocka_unit_test(test_name_parse_when_longer_than_dns_allows_then_refused),
        cmocka_unit_test(test_name_matches_dns_only_as_rfc9525_says),
        cmocka_unit_test(test_name_matches_ip_only_byte_by_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A probe accepts and refuses as a connection would, tells what the server showed in either
 *         case, resumes on its second connection, and refuses settings that make no sense.
 * Method  Probes against server sessions in memory, piece by piece.
 */
#include <stdio.h>
#include <time.h>

#include <hpx/tls_probe.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"

#define NAME "host.example"

static duo_site site;

static int probe_setup(void **state)
{
    (void)state;
    duo_site_make(
        &site,
        &(certs_spec){
            .common_name = "bad\x1b[2Jname",
            .san = {
                SAN_DNS(NAME), SAN_IP("\x7f\0\0\1"), SAN_IP("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1")}});
    hpx_tls_config config = duo_server_config(&site);
    config.ticket_count = 2;
    hpx_tls_context_release(site.server);
    site.server = duo_server_context(&config);
    return 0;
}

static int probe_teardown(void **state)
{
    (void)state;
    duo_site_free(&site);
    return 0;
}

static hpx_tls_probe *make_probe(const char *name, const char *alpn)
{
    hpx_tls_probe *probe = NULL;
    hpx_error error;
    hpx_tls_probe_config config = HPX_TLS_PROBE_CONFIG_INIT;
    config.context = site.client;
    config.server_name = name;
    config.alpn = alpn;
    if (hpx_tls_probe_new(&probe, &config, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    return probe;
}

/* Brings the server's answers to the probe, `piece` bytes at a time, until the server is silent. */
static hpx_status converse(hpx_tls_probe *probe, size_t piece, hpx_error *error)
{
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    const hpxi_tls_session_config config = {
        .context = site.server, .is_server = true, HPXI_TLS_ALPN(HPXI_TLS_ALPN_HTTP1)};
    hpxi_tls *server = NULL;
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    assert_int_equal(hpxi_tls_new(&server, &config, &allocator, NULL), HPX_OK);
    assert_int_equal(hpx_tls_probe_start(probe, error), HPX_OK);
    hpx_status status = HPX_E_PARTIAL;
    hpx_status at_server = HPX_E_PARTIAL;
    for (;;) {
        const hpx_span hello = hpx_tls_probe_output(probe);
        if (hello.size == 0 || at_server != HPX_E_PARTIAL) {
            break;
        }
        uint8_t *data = (uint8_t *)(uintptr_t)hello.data;
        size_t size = hello.size;
        at_server = hpxi_tls_handshake(server, &data, &size, &out, NULL);
        hpx_tls_probe_sent(probe, hello.size);
        while (hpxi_buf_size(&out) != 0) {
            const hpx_span there = hpxi_buf_span(&out);
            const size_t part = piece < there.size ? piece : there.size;
            status = hpx_tls_probe_receive(probe, there.data, part, error);
            hpxi_buf_consume(&out, part);
        }
    }
    hpxi_tls_free(server);
    hpxi_buf_fini(&out);
    assert_int_equal(memory.live, 0);
    return status;
}

static void test_probe_of_a_good_server_tells_all_and_resumes(void **state)
{
    (void)state;
    static const size_t pieces[] = {SIZE_MAX, 1, 100};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        hpx_error error;
        hpx_tls_report report;
        hpx_tls_certificate leaf;
        hpx_tls_probe *probe = make_probe(NAME, "h2,http/1.1");
        assert_int_equal(converse(probe, pieces[i], &error), 1);
        hpx_tls_probe_get_report(probe, &report);
        assert_string_equal(report.version, "TLSv1.3");
        assert_string_equal(report.cipher, "TLS_AES_128_GCM_SHA256");
        assert_string_equal(report.alpn, "http/1.1");
        assert_true(report.verified);
        assert_false(report.resumed);
        assert_int_equal(report.certificate_count, 1);
        assert_int_equal(report.session_count, 2);
        assert_int_equal(hpx_tls_probe_get_certificate(probe, 0, &leaf), HPX_OK);
        assert_string_equal(leaf.subject, "/CN=bad?[2Jname");
        assert_string_equal(leaf.issuer, "/CN=test root");
        assert_non_null(strstr(leaf.names, NAME));
        assert_non_null(strstr(leaf.names, "127.0.0.1"));
        assert_non_null(strstr(leaf.names, "::1"));
        assert_string_equal(leaf.key, "ECDSA P-256");
        assert_string_equal(leaf.signature, "ECDSA SHA-256");
        assert_false(leaf.is_ca || leaf.is_self_signed);
        const int64_t now_s = (int64_t)time(NULL);
        assert_in_range(now_s - leaf.not_before_s, CERTS_DAY_S - 600, CERTS_DAY_S + 600);
        assert_in_range(leaf.not_after_s - now_s, 30 * CERTS_DAY_S - 600, 30 * CERTS_DAY_S + 600);
        uint8_t digest[32];
        assert_int_equal(wc_Sha256Hash(site.leaf.der, (word32)site.leaf.der_bytes, digest), 0);
        assert_memory_equal(leaf.sha256, digest, sizeof(digest));
        assert_int_equal(hpx_tls_probe_get_certificate(probe, 1, &leaf), HPX_E_INVALID);
        for (int again = 0; again < 3; again++) {
            assert_int_equal(converse(probe, pieces[i], &error), 1);
            hpx_tls_probe_get_report(probe, &report);
            assert_true(report.resumed && report.verified);
            assert_int_equal(report.certificate_count, 0);
        }
        hpx_tls_probe_free(probe);
    }
}

static void test_probe_of_a_bad_server_tells_why_and_shows_the_chain_all_the_same(void **state)
{
    (void)state;
    hpx_error error;
    hpx_tls_report report;
    hpx_tls_certificate leaf;
    hpx_tls_probe *probe = make_probe("other.example", NULL);
    assert_int_equal(converse(probe, SIZE_MAX, &error), HPX_E_TLS_NAME);
    assert_int_equal(error.stage, HPX_STAGE_TLS);
    assert_non_null(strstr(error.detail, "wanted other.example"));
    hpx_tls_probe_get_report(probe, &report);
    assert_false(report.verified);
    assert_string_equal(report.version, "TLSv1.3");
    assert_int_equal(report.certificate_count, 1);
    assert_int_equal(report.session_count, 0);
    assert_int_equal(hpx_tls_probe_get_certificate(probe, 0, &leaf), HPX_OK);
    hpx_tls_probe_free(probe);
}

static void test_probe_pins_are_what_the_config_takes(void **state)
{
    (void)state;
    hpx_error error;
    hpx_tls_certificate leaf;
    hpx_tls_probe *probe = make_probe(NAME, NULL);
    assert_int_equal(converse(probe, SIZE_MAX, &error), 1);
    assert_int_equal(hpx_tls_probe_get_certificate(probe, 0, &leaf), HPX_OK);
    hpx_tls_probe_free(probe);
    hpx_tls_context *const before = site.client;
    for (int i = 0; i < 2; i++) {
        hpx_tls_config config = duo_client_config(&site);
        config.pin_sha256 = leaf.pin_sha256;
        config.pin_count = 1;
        site.client = duo_client_context(&config);
        probe = make_probe(NAME, NULL);
        assert_int_equal(converse(probe, SIZE_MAX, &error), i == 0 ? 1 : HPX_E_TLS_PIN);
        hpx_tls_probe_free(probe);
        hpx_tls_context_release(site.client);
        leaf.pin_sha256[0] ^= 1;
    }
    site.client = before;
}

static void test_probe_when_the_peer_is_no_tls_server_then_nothing_is_made_up(void **state)
{
    (void)state;
    hpx_error error;
    hpx_tls_report report;
    hpx_tls_probe *probe = make_probe(NAME, NULL);
    hpx_tls_probe_get_report(probe, &report);
    assert_string_equal(report.version, "");
    static const uint8_t answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    assert_int_equal(
        hpx_tls_probe_receive(probe, answer, sizeof(answer) - 1, &error), HPX_E_INVALID);
    assert_int_equal(hpx_tls_probe_start(probe, &error), HPX_OK);
    assert_int_equal(
        hpx_tls_probe_receive(probe, answer, sizeof(answer) - 1, &error), HPX_E_TLS_PROTOCOL);
    hpx_tls_probe_get_report(probe, &report);
    assert_string_equal(report.version, "");
    assert_string_equal(report.cipher, "");
    assert_int_equal(report.certificate_count, 0);
    hpx_tls_probe_free(probe);
    hpx_tls_probe_free(NULL);
}

static void test_probe_when_a_setting_is_bad_then_none(void **state)
{
    (void)state;
    static char long_name[400];
    memset(long_name, 'a', sizeof(long_name) - 1);
    const struct {
        hpx_tls_probe_config config;
        const char *detail;
    } rows[] = {
        {{.size = 0}, "size"},
        {{.size = sizeof(hpx_tls_probe_config), .flags = 1}, "flags"},
        {{.size = sizeof(hpx_tls_probe_config)}, "server_name: required"},
        {{.size = sizeof(hpx_tls_probe_config), .server_name = long_name}, "server_name: too long"},
        {{.size = sizeof(hpx_tls_probe_config), .server_name = NAME, .alpn = ""}, "alpn"},
        {{.size = sizeof(hpx_tls_probe_config), .server_name = NAME, .alpn = "h2,"}, "alpn"},
        {{.size = sizeof(hpx_tls_probe_config), .server_name = NAME, .alpn = long_name}, "alpn"},
        {{.size = sizeof(hpx_tls_probe_config), .server_name = NAME, .context = site.server},
         "context"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpx_tls_probe *probe = (hpx_tls_probe *)1;
        hpx_error error = {0};
        assert_int_equal(hpx_tls_probe_new(&probe, &rows[i].config, &error), HPX_E_INVALID);
        assert_null(probe);
        if (strstr(error.detail, rows[i].detail) == NULL) {
            fail_msg("row %zu: '%s'", i, error.detail);
        }
    }
    hpx_error error;
    hpx_tls_probe *probe = make_probe("not a name", NULL);
    assert_int_equal(hpx_tls_probe_start(probe, &error), HPX_E_TLS_CONFIG);
    hpx_tls_probe_free(probe);
}

static void test_probe_when_the_nth_allocation_fails_then_none_and_nothing_leaks(void **state)
{
    (void)state;
    for (size_t i = 0;; i++) {
        hpx_tls_probe *probe = (hpx_tls_probe *)1;
        hpx_error error = {0};
        ptrdiff_t live = 0;
        hpx_tls_probe_config config = HPX_TLS_PROBE_CONFIG_INIT;
        config.context = site.client;
        config.server_name = NAME;
        duo_wolf_memory_start(i);
        hpx_status status = hpx_tls_probe_new(&probe, &config, &error);
        assert_int_equal(probe == NULL, status != HPX_OK);
        if (status == HPX_OK) {
            status = hpx_tls_probe_start(probe, &error);
        }
        hpx_tls_probe_free(probe);
        (void)duo_wolf_memory_stop(&live);
        assert_int_equal(live, 0);
        if (status == HPX_OK) {
            assert_true(i > 5);
            return;
        }
        assert_int_equal(status, HPX_E_NO_MEMORY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_of_a_good_server_tells_all_and_resumes),
        cmocka_unit_test(test_probe_of_a_bad_server_tells_why_and_shows_the_chain_all_the_same),
        cmocka_unit_test(test_probe_pins_are_what_the_config_takes),
        cmocka_unit_test(test_probe_when_the_peer_is_no_tls_server_then_nothing_is_made_up),
        cmocka_unit_test(test_probe_when_a_setting_is_bad_then_none),
        cmocka_unit_test(test_probe_when_the_nth_allocation_fails_then_none_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, probe_setup, probe_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: TLS against OpenSSL: each version and suite that we offer, each certificate that we must
 * refuse, client certificates, alerts, and streams that end without close_notify.
 * Method: `openssl s_server` with a small WebSocket echo behind it (servers/s_server.py), one
 * process per row. A refusal has to have its own status, at the TLS stage.
 */
#include <signal.h>
#include <stdio.h>

#include "tests/e2e/echo_script.h"
#include "tests/e2e/ws_peer.h"
#include "tests/support/test.h"

static char folder[PEER_PATH_BYTES];
static hpx_tls_context *trusting;

/* s_server with FOLDER/NAME.pem and more options (NULL: none left). */
static uint16_t tls_server(e2e_peer *server, const char *name, const char *const *options)
{
    char cert[PEER_PATH_BYTES + 32];
    char key[PEER_PATH_BYTES + 32];
    (void)snprintf(cert, sizeof(cert), "%s/%s.pem", folder, name);
    (void)snprintf(key, sizeof(key), "%s/%s.key", folder, name);
    const char *args[16] = {"-cert", cert, "-key", key};
    for (size_t i = 0; options != NULL && options[i] != NULL; i++) {
        assert_true(i + 5 < COUNT_OF(args));
        args[i + 4] = options[i];
    }
    peer_start_script(server, "s_server.py", args);
    return peer_port(server, "listening");
}

static hpx_ws_config tls_config(char url[WS_URL_BYTES], const char *host, uint16_t port)
{
    (void)snprintf(url, WS_URL_BYTES, "wss://%s:%u/echo", host, port);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.tls = trusting;
    return config;
}

/* ---- Versions and suites --------------------------------------------------------------------- */

typedef struct suite_row {
    const char *cert;
    const char *version_option;
    const char *suite_option;
    const char *suite;
    const char *cipher; /* its IANA name, as hpx_conn_info has it */
} suite_row;

static const suite_row suite_rows[] = {
    {"good", "-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"},
    {"good-rsa", "-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384"},
    {"good",
     "-tls1_3",
     "-ciphersuites",
     "TLS_CHACHA20_POLY1305_SHA256",
     "TLS_CHACHA20_POLY1305_SHA256"},
    {"good",
     "-tls1_2",
     "-cipher",
     "ECDHE-ECDSA-AES128-GCM-SHA256",
     "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
    {"good",
     "-tls1_2",
     "-cipher",
     "ECDHE-ECDSA-AES256-GCM-SHA384",
     "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
    {"good",
     "-tls1_2",
     "-cipher",
     "ECDHE-ECDSA-CHACHA20-POLY1305",
     "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    {"good-rsa",
     "-tls1_2",
     "-cipher",
     "ECDHE-RSA-AES128-GCM-SHA256",
     "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
    {"good-rsa",
     "-tls1_2",
     "-cipher",
     "ECDHE-RSA-AES256-GCM-SHA384",
     "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
    {"good-rsa",
     "-tls1_2",
     "-cipher",
     "ECDHE-RSA-CHACHA20-POLY1305",
     "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
};

static void test_suites_when_the_server_takes_only_one_then_it_is_agreed_and_echoes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(suite_rows); i++) {
        const suite_row *row = &suite_rows[i];
        const char *options[] = {row->version_option, row->suite_option, row->suite, NULL};
        char url[WS_URL_BYTES];
        e2e_peer server;
        e2e_bed bed;
        e2e_client client;
        hpx_conn_info info;
        const uint16_t port = tls_server(&server, row->cert, options);
        const hpx_ws_config config = tls_config(url, "127.0.0.1", port);
        bed_open(&bed, (client_form)(i % CLIENT_FORMS), NULL);
        client_connect(&client, &bed, &config, &info);
        const bool is_1_3 = strcmp(row->version_option, "-tls1_3") == 0;
        assert_string_equal(info.tls_version, is_1_3 ? "TLSv1.3" : "TLSv1.2");
        assert_string_equal(info.tls_cipher, row->cipher);
        assert_true(info.tls_verified);
        assert_true(info.tls_ns > 0);
        echo_sizes(&client, 1u << 20);
        client_finish(&client);
        bed_close(&bed);
        assert_string_equal(peer_expect(&server, "closed"), "1000");
        peer_kill(&server);
    }
}

/* A suite that we do not offer, or a version that we do not speak: the peer says so by an alert. */
static void test_suites_when_none_is_shared_then_the_alert_is_told(void **state)
{
    static const struct {
        const char *options[6];
        int alert;
    } rows[] = {
        {{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256", NULL}, 40},
        {{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-CCM", NULL}, 40},
        {{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0", NULL}, 70},
        {{"-tls1_3", "-ciphersuites", "TLS_AES_128_CCM_SHA256", NULL}, 40},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char url[WS_URL_BYTES];
        e2e_peer server;
        e2e_bed bed;
        e2e_client client;
        hpx_error error;
        const uint16_t port = tls_server(&server, "good", rows[i].options);
        const hpx_ws_config config = tls_config(url, "127.0.0.1", port);
        bed_open(&bed, (client_form)(i % CLIENT_FORMS), NULL);
        client_open(&client, &bed, &config);
        client_expect_end(&client, &error);
        bed_close(&bed);
        peer_kill(&server);
        assert_string_equal(hpx_status_name(error.status), "HPX_E_TLS_ALERT");
        assert_int_equal(error.stage, HPX_STAGE_TLS);
        assert_int_equal(error.tls_alert, rows[i].alert);
    }
}

static void test_version_when_the_minimum_is_1_3_then_1_2_is_refused(void **state)
{
    (void)state;
    char ca[PEER_PATH_BYTES + 16];
    char url[WS_URL_BYTES];
    e2e_peer server;
    e2e_bed bed;
    e2e_client client;
    hpx_error error;
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    hpx_tls_config modern = HPX_TLS_CONFIG_INIT;
    modern.ca_file = ca;
    modern.version_min = HPX_TLS_VERSION_1_3;
    const uint16_t port = tls_server(&server, "good", (const char *const[]){"-tls1_2", NULL});
    hpx_ws_config config = tls_config(url, "127.0.0.1", port);
    assert_int_equal(hpx_tls_client_context_new(&config.tls, &modern, &error), HPX_OK);
    bed_open(&bed, CLIENT_STREAM, NULL);
    client_open(&client, &bed, &config);
    client_expect_end(&client, &error);
    bed_close(&bed);
    hpx_tls_context_release(config.tls);
    peer_kill(&server);
    assert_string_equal(hpx_status_name(error.status), "HPX_E_TLS_ALERT");
    assert_int_equal(error.tls_alert, 70); /* protocol_version */
    assert_int_equal(error.stage, HPX_STAGE_TLS);
}

/* ---- Certificates ---------------------------------------------------------------------------- */

typedef struct cert_row {
    const char *cert;
    const char *host; /* of the URL */
    const char *name; /* tls_server_name, or NULL */
    const char *status;
} cert_row;

static const cert_row cert_rows[] = {
    {"good", "127.0.0.1", NULL, "HPX_OK"},
    {"good", "localhost", NULL, "HPX_OK"},
    {"good", "127.0.0.1", "localhost", "HPX_OK"},
    {"good", "127.0.0.1", "other.example", "HPX_E_TLS_NAME"},
    {"name-only", "localhost", NULL, "HPX_OK"},
    {"name-only", "127.0.0.1", NULL, "HPX_E_TLS_NAME"}, /* IP target: no DNS name will do */
    {"other", "localhost", NULL, "HPX_E_TLS_NAME"},
    {"other", "127.0.0.1", "other.example", "HPX_OK"},
    {"expired", "localhost", NULL, "HPX_E_TLS_EXPIRED"},
    {"early", "localhost", NULL, "HPX_E_TLS_NOT_YET_VALID"},
    {"untrusted", "localhost", NULL, "HPX_E_TLS_UNTRUSTED"},
    {"self-signed", "localhost", NULL, "HPX_E_TLS_UNTRUSTED"},
};

/* Verified: as the row says. Not verified: always connected, and marked. */
static void check_cert(const cert_row *row, client_form form, uint16_t port, bool verify)
{
    static const char *const resolve_format = "localhost:%u:127.0.0.1";
    char resolve[64];
    const char *resolves[] = {resolve};
    char url[WS_URL_BYTES];
    e2e_bed bed;
    e2e_client client;
    (void)snprintf(resolve, sizeof(resolve), resolve_format, port);
    hpx_ws_config config = tls_config(url, row->host, port);
    config.resolve = resolves;
    config.resolve_count = 1;
    config.tls_server_name = row->name;
    if (!verify) {
        hpx_ws_config_set_insecure_no_verify(&config);
    }
    bed_open(&bed, form, NULL);
    if (!verify || strcmp(row->status, "HPX_OK") == 0) {
        hpx_conn_info info;
        client_connect(&client, &bed, &config, &info);
        assert_int_equal(info.tls_verified, verify);
        assert_true(info.is_tls);
        echo_sizes(&client, 127);
        client_finish(&client);
    } else {
        hpx_error error;
        client_open(&client, &bed, &config);
        client_expect_end(&client, &error);
        assert_string_equal(hpx_status_name(error.status), row->status);
        assert_int_equal(error.stage, HPX_STAGE_TLS);
        assert_true(strlen(error.detail) > 10);
    }
    bed_close(&bed);
}

static void test_certificates_when_bad_then_each_has_its_own_status(void **state)
{
    (void)state;
    e2e_peer server = {0};
    uint16_t port = 0;
    for (size_t i = 0; i < COUNT_OF(cert_rows); i++) {
        const cert_row *row = &cert_rows[i];
        const client_form form = (client_form)(i % CLIENT_FORMS);
        if (i == 0 || strcmp(row->cert, cert_rows[i - 1].cert) != 0) {
            const char *version = i % 2 == 0 ? "-tls1_3" : "-tls1_2";
            peer_kill(&server);
            port = tls_server(&server, row->cert, (const char *const[]){version, NULL});
        }
        check_cert(row, form, port, true);
        check_cert(row, form, port, false);
    }
    peer_kill(&server);
}

/* The system's roots do not sign for our server; they are used where no context is given. */
static void test_certificates_when_no_context_is_given_then_the_system_roots_decide(void **state)
{
    (void)state;
    char url[WS_URL_BYTES];
    e2e_peer server;
    e2e_bed bed;
    e2e_client client;
    hpx_error error;
    hpx_ws_config config = tls_config(url, "127.0.0.1", tls_server(&server, "good", NULL));
    config.tls = NULL;
    bed_open(&bed, CLIENT_STREAM, NULL);
    client_open(&client, &bed, &config);
    client_expect_end(&client, &error);
    bed_close(&bed);
    peer_kill(&server);
    assert_string_equal(hpx_status_name(error.status), "HPX_E_TLS_UNTRUSTED");
}

/* ---- Client certificates --------------------------------------------------------------------- */

static hpx_tls_context *context_with_client_cert(void)
{
    char ca[PEER_PATH_BYTES + 16];
    char cert[PEER_PATH_BYTES + 16];
    char key[PEER_PATH_BYTES + 16];
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    (void)snprintf(cert, sizeof(cert), "%s/client.pem", folder);
    (void)snprintf(key, sizeof(key), "%s/client.key", folder);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_file = ca;
    config.cert_file = cert;
    config.key_file = key;
    hpx_tls_context *context = NULL;
    hpx_error error = {0};
    if (hpx_tls_client_context_new(&context, &config, &error) != HPX_OK) {
        fail_msg("client certificate: %s", error.detail);
    }
    return context;
}

static void check_client_cert(const char *version, bool with_cert)
{
    char ca[PEER_PATH_BYTES + 16];
    char url[WS_URL_BYTES];
    e2e_peer server;
    e2e_bed bed;
    e2e_client client;
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    const char *options[] = {version, "-Verify", "1", "-verify_return_error", "-CAfile", ca, NULL};
    const uint16_t port = tls_server(&server, "good", options);
    hpx_ws_config config = tls_config(url, "127.0.0.1", port);
    bed_open(&bed, CLIENT_STREAM, NULL);
    if (with_cert) {
        config.tls = context_with_client_cert();
        client_connect(&client, &bed, &config, NULL);
        echo_sizes(&client, 65536);
        client_finish(&client);
        hpx_tls_context_release(config.tls);
    } else {
        hpx_error error;
        client_open(&client, &bed, &config);
        client_expect_end(&client, &error);
        const bool is_1_3 = strcmp(version, "-tls1_3") == 0;
        assert_string_equal(hpx_status_name(error.status), "HPX_E_TLS_ALERT");
        /* certificate_required; in TLS 1.2, which has none, handshake_failure */
        assert_int_equal(error.tls_alert, is_1_3 ? 116 : 40);
    }
    bed_close(&bed);
    peer_kill(&server);
}

static void test_client_certificate_when_demanded_then_it_decides(void **state)
{
    (void)state;
    check_client_cert("-tls1_3", true);
    check_client_cert("-tls1_2", true);
    check_client_cert("-tls1_3", false);
    check_client_cert("-tls1_2", false);
}

/* ---- Truncation ------------------------------------------------------------------------------ */

/* The process that holds the TLS connection is killed: a FIN, and no close_notify. */
static void test_truncation_when_the_peer_is_killed_then_it_is_told(void **state)
{
    (void)state;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        const char *version = form == CLIENT_THREAD ? "-tls1_2" : "-tls1_3";
        char url[WS_URL_BYTES];
        e2e_peer server;
        e2e_bed bed;
        e2e_client client;
        hpx_error error;
        const uint16_t port = tls_server(&server, "good", (const char *const[]){version, NULL});
        const hpx_ws_config config = tls_config(url, "127.0.0.1", port);
        bed_open(&bed, form, NULL);
        client_connect(&client, &bed, &config, NULL);
        echo_sizes(&client, 127); /* nothing is on its way when it dies */
        peer_signal(&server, SIGUSR1);
        client_expect_end(&client, &error);
        bed_close(&bed);
        peer_kill(&server);
        assert_string_equal(hpx_status_name(error.status), "HPX_E_TLS_TRUNCATED");
        assert_int_equal(error.stage, HPX_STAGE_READY);
        assert_int_equal(error.close_code, 0);
    }
}

static int start(void **state)
{
    (void)state;
    ws_certs(folder, (const char *const[]){"all", NULL});
    trusting = ws_trust(folder);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    hpx_tls_context_release(trusting);
    peer_folder_remove(folder);
    return 0;
}

int main(void)
{
    if (!peer_has((const char *const[]){"openssl", "version", NULL})) {
        return TEST_EXIT_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_suites_when_the_server_takes_only_one_then_it_is_agreed_and_echoes),
        cmocka_unit_test(test_suites_when_none_is_shared_then_the_alert_is_told),
        cmocka_unit_test(test_version_when_the_minimum_is_1_3_then_1_2_is_refused),
        cmocka_unit_test(test_certificates_when_bad_then_each_has_its_own_status),
        cmocka_unit_test(test_certificates_when_no_context_is_given_then_the_system_roots_decide),
        cmocka_unit_test(test_client_certificate_when_demanded_then_it_decides),
        cmocka_unit_test(test_truncation_when_the_peer_is_killed_then_it_is_told),
    };
    return cmocka_run_group_tests_name("e2e/openssl_peer", tests, start, stop);
}

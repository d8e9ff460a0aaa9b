/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Both roles talk to another TLS implementation: every cipher suite, both versions, other
 *         groups, key updates, an orderly end; and what we must not agree to is refused.
 * Method  `openssl s_server` and `openssl s_client` as processes of our own over loopback, with
 *         certificates that OpenSSL makes. Ports are the kernel's choice. Every wait has a limit.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/test.h"
#include "tests/tls/peer.h"

typedef struct peer_row {
    const char *name;
    const char *kind; /* ecdsa or rsa */
    const char *options[6];
    const char *version;
    const char *cipher; /* what get_info must tell; NULL: no agreement is possible */
} peer_row;

static const peer_row rows[] = {
    {"1.3 AES-128",
     "ecdsa",
     {"-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"},
     "TLSv1.3",
     "TLS_AES_128_GCM_SHA256"},
    {"1.3 AES-256",
     "rsa",
     {"-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"},
     "TLSv1.3",
     "TLS_AES_256_GCM_SHA384"},
    {"1.3 ChaCha20",
     "ecdsa",
     {"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"},
     "TLSv1.3",
     "TLS_CHACHA20_POLY1305_SHA256"},
    {"1.3 P-256", "ecdsa", {"-tls1_3", "-groups", "P-256"}, "TLSv1.3", "TLS_AES_"},
    {"1.3 P-384", "rsa", {"-tls1_3", "-groups", "P-384"}, "TLSv1.3", "TLS_AES_"},
    {"1.3 preferred", "ecdsa", {NULL}, "TLSv1.3", "TLS_AES_"},
    {"1.2 ECDSA AES-128",
     "ecdsa",
     {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"},
     "TLSv1.2",
     "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"},
    {"1.2 ECDSA AES-256",
     "ecdsa",
     {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"},
     "TLSv1.2",
     "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
    {"1.2 ECDSA ChaCha20",
     "ecdsa",
     {"-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"},
     "TLSv1.2",
     "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    {"1.2 RSA AES-128",
     "rsa",
     {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"},
     "TLSv1.2",
     "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
    {"1.2 RSA AES-256",
     "rsa",
     {"-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"},
     "TLSv1.2",
     "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
    {"1.2 RSA ChaCha20",
     "rsa",
     {"-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"},
     "TLSv1.2",
     "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"},
    {"1.2 P-384", "rsa", {"-tls1_2", "-groups", "P-384"}, "TLSv1.2", "TLS_ECDHE_RSA_WITH_"},
    {"1.2 CBC", "rsa", {"-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"}, NULL, NULL},
    {"1.2 no forward secrecy", "rsa", {"-tls1_2", "-cipher", "AES128-GCM-SHA256"}, NULL, NULL},
    {"1.1", "rsa", {"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, NULL, NULL},
};

static void check_agreed(wire *w, const peer_row *row, bool verified)
{
    hpxi_tls_info info;
    hpxi_tls_get_info(w->tls, &info);
    if (strcmp(info.version, row->version) != 0 || strstr(info.cipher, row->cipher) == NULL) {
        fail_msg("%s: %s %s", row->name, info.version, info.cipher);
    }
    assert_int_equal(info.verified, verified);
}

static uint16_t server_start(process *p, const peer_row *row, bool reverse)
{
    const char *arguments[PEER_ARGUMENTS_MAX] = {"openssl", "s_server", "-accept", "127.0.0.1:0"};
    char names[2][32];
    (void)snprintf(names[0], sizeof(names[0]), "%s.pem", row->kind);
    (void)snprintf(names[1], sizeof(names[1]), "%s.key", row->kind);
    size_t count = 4;
    arguments[count++] = "-cert";
    arguments[count++] = peer_file(names[0]);
    arguments[count++] = "-key";
    arguments[count++] = peer_file(names[1]);
    if (reverse) {
        arguments[count++] = "-rev";
    }
    for (size_t i = 0; i < COUNT_OF(row->options) && row->options[i] != NULL; i++) {
        arguments[count++] = row->options[i];
    }
    process_start(p, arguments);
    char output[1024];
    process_expect(p, output, sizeof(output), "ACCEPT 127.0.0.1:");
    const char *port = strstr(output, "ACCEPT 127.0.0.1:") + strlen("ACCEPT 127.0.0.1:");
    return (uint16_t)strtoul(port, NULL, 10);
}

static void test_client_talks_to_s_server(void **state)
{
    (void)state;
    hpx_tls_context *context = peer_client_context(NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        process server;
        const uint16_t port = server_start(&server, &rows[i], true);
        const hpxi_tls_session_config config = {
            .context = context, .server_name = (i & 1) != 0 ? "localhost" : "127.0.0.1"};
        wire w;
        wire_open(&w, peer_connect(port), &config);
        const hpx_status status = wire_handshake(&w);
        if (rows[i].cipher == NULL) {
            if (status >= 0 || w.error.status > HPX_E_TLS_HANDSHAKE) {
                fail_msg("%s: %d '%s'", rows[i].name, status, w.error.detail);
            }
        } else {
            if (status != 1) {
                fail_msg("%s: %d '%s'", rows[i].name, status, w.error.detail);
            }
            check_agreed(&w, &rows[i], true);
            wire_write(&w, "abcdefg\n");
            wire_expect(&w, "gfedcba\n");
            wire_write(&w, "CLOSE\n");
            wire_expect(&w, ""); /* close_notify */
        }
        wire_close(&w);
        process_end(&server);
    }
    hpx_tls_context_release(context);
}

static void test_client_follows_key_updates_of_s_server(void **state)
{
    (void)state;
    hpx_tls_context *context = peer_client_context(NULL);
    process server;
    char output[4096];
    const uint16_t port = server_start(&server, &rows[0], false);
    const hpxi_tls_session_config config = {.context = context, .server_name = "localhost"};
    wire w;
    wire_open(&w, peer_connect(port), &config);
    assert_int_equal(wire_handshake(&w), 1);
    process_say(&server, "from server\n");
    wire_expect(&w, "from server\n"); /* and all that came before: session tickets */
    for (int i = 0; i < 5; i++) {
        process_say(&server, i % 2 == 0 ? "K\n" : "k\n"); /* with and without asking for ours */
        wire_expect_nothing(&w);
        process_say(&server, "from server\n");
        wire_expect(&w, "from server\n");
        char line[32];
        (void)snprintf(line, sizeof(line), "from client %d\n", i);
        wire_write(&w, line);
        process_expect(&server, output, sizeof(output), line);
    }
    wire_close(&w);
    process_end(&server);
    hpx_tls_context_release(context);
}

static void test_client_refuses_an_address_behind_name_constraints(void **state)
{
    (void)state;
    const peer_row constrained = {
        .name = "constrained",
        .kind = "constrained",
        .options = {"-cert_chain", peer_file("middle.pem")}};
    static const struct {
        const char *wanted;
        hpx_status status;
    } cases[] = {{"127.0.0.1", HPX_E_TLS_CERTIFICATE}, {"localhost", 1}};
    hpx_tls_context *context = peer_client_context(NULL);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        process server;
        const uint16_t port = server_start(&server, &constrained, true);
        const hpxi_tls_session_config config = {.context = context, .server_name = cases[i].wanted};
        wire w;
        wire_open(&w, peer_connect(port), &config);
        const hpx_status status = wire_handshake(&w);
        if (status != cases[i].status) {
            fail_msg("%s: %d '%s'", cases[i].wanted, status, w.error.detail);
        }
        wire_close(&w);
        process_end(&server);
    }
    hpx_tls_context_release(context);
}

static void client_start(process *p, const peer_row *row, uint16_t port)
{
    static char where[32];
    (void)snprintf(where, sizeof(where), "127.0.0.1:%u", port);
    const char *arguments[PEER_ARGUMENTS_MAX] = {
        "openssl",
        "s_client",
        "-connect",
        where,
        "-quiet",
        "-verify_return_error",
        "-verify_hostname",
        "localhost",
        "-CAfile"};
    size_t count = 9;
    arguments[count++] = peer_file("root.pem");
#if !defined(HAVE_SERVER_RENEGOTIATION_INFO)
    /* Such a wolfSSL answers no renegotiation_info, without which OpenSSL 3 refuses TLS 1.2. */
    arguments[count++] = "-legacy_server_connect";
#endif
    for (size_t i = 0; i < COUNT_OF(row->options) && row->options[i] != NULL; i++) {
        arguments[count++] = row->options[i];
    }
    process_start(p, arguments);
}

static hpx_tls_context *server_context(const char *kind)
{
    char names[2][32];
    (void)snprintf(names[0], sizeof(names[0]), "%s.pem", kind);
    (void)snprintf(names[1], sizeof(names[1]), "%s.key", kind);
    hpx_tls_context *context = NULL;
    hpx_error error;
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.cert_file = peer_file(names[0]);
    config.key_file = peer_file(names[1]);
    if (hpx_tls_server_context_new(&context, &config, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    return context;
}

static void test_server_talks_to_s_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpx_tls_context *context = server_context(rows[i].kind);
        uint16_t port = 0;
        const int listener = peer_listen(&port);
        process client;
        client_start(&client, &rows[i], port);
        const hpxi_tls_session_config config = {.context = context, .is_server = true};
        wire w;
        wire_open(&w, peer_accept(listener), &config);
        const hpx_status status = wire_handshake(&w);
        if (rows[i].cipher == NULL) {
            assert_true(status < 0);
        } else {
            if (status != 1) {
                fail_msg("%s: %d '%s'", rows[i].name, status, w.error.detail);
            }
            check_agreed(&w, &rows[i], false);
            char output[1024];
            process_say(&client, "from client\n");
            wire_expect(&w, "from client\n");
            wire_write(&w, "from server\n");
            process_expect(&client, output, sizeof(output), "from server\n");
            hpxi_tls_close_notify(w.tls, &w.out);
            wire_flush(&w);
            wire_expect(&w, ""); /* s_client answers with its own */
        }
        wire_close(&w);
        process_end(&client);
        (void)close(listener);
        hpx_tls_context_release(context);
    }
}

int main(void)
{
    if (system("openssl version >/dev/null 2>&1") != 0) { /* NOLINT(cert-env33-c) */
        return TEST_EXIT_SKIP;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_talks_to_s_server),
        cmocka_unit_test(test_client_follows_key_updates_of_s_server),
        cmocka_unit_test(test_client_refuses_an_address_behind_name_constraints),
        cmocka_unit_test(test_server_talks_to_s_client),
    };
    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Against the TLS servers that people run - OpenSSL, nginx, GnuTLS, node - a client
 *         handshakes, resumes as far as the server lets it, shows its certificate, recovers when
 *         the server forgot its tickets, and never renegotiates.
 * Method  Each server as a process of our own over loopback, serving a page; several connections
 *         with one session cache, and a table that says which of them must be resumed. Servers
 *         that are not installed are skipped by name.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"
#include "tests/tls/peer.h"

#define CONNECTIONS 4
#define SKIPPED     UINT16_MAX

static const uint64_t now_ns = 1;

/* ---- Servers --------------------------------------------------------------------------------- */

typedef enum kind { OPENSSL, NGINX, GNUTLS, NODE } kind;

typedef struct row {
    const char *name;
    kind kind;
    const char *options[6]; /* of the program's; nginx: lines of its server block */
    const char *version;
    const char *cipher;
    const char *resumed; /* per connection: 'r' resumed, '-' full */
    bool with_client_certificate;
} row;

static bool has_program(const char *name)
{
    char command[128];
    (void)snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", name);
    return system(command) == 0; /* NOLINT(cert-env33-c) */
}

static void add_options(const char **arguments, size_t count, const row *r)
{
    for (size_t i = 0; i < COUNT_OF(r->options) && r->options[i] != NULL; i++) {
        assert_true(count + 1 < PEER_ARGUMENTS_MAX);
        arguments[count++] = r->options[i];
    }
}

static uint16_t openssl_start(process *p, const row *r)
{
    char output[1024];
    const char *arguments[PEER_ARGUMENTS_MAX] = {
        "openssl", "s_server", "-accept", "127.0.0.1:0", "-www", "-cert"};
    arguments[6] = peer_file("ecdsa.pem");
    arguments[7] = "-key";
    arguments[8] = peer_file("ecdsa.key");
    size_t count = 9;
    if (r->with_client_certificate) {
        arguments[count++] = "-Verify";
        arguments[count++] = "1";
        arguments[count++] = "-verify_return_error";
        arguments[count++] = "-CAfile";
        arguments[count++] = peer_file("root.pem");
    }
    add_options(arguments, count, r);
    process_start(p, arguments);
    process_expect(p, output, sizeof(output), "ACCEPT 127.0.0.1:");
    return (uint16_t)strtoul(strrchr(output, ':') + 1, NULL, 10);
}

/* On a socket that is bound already (NGINX=fd; is how nginx updates itself). */
static uint16_t nginx_start(process *p, const row *r)
{
    uint16_t port = 0;
    char text[2048];
    char conf[CERTS_PATH_MAX];
    char env[32];
    const int fd = peer_listen(&port);
    assert_int_equal(fcntl(fd, F_SETFD, 0), 0);
    (void)snprintf(
        text,
        sizeof(text),
        "daemon off; worker_processes 1; error_log stderr; pid %s;\n"
        "events { worker_connections 32; }\n"
        "http { access_log off;\n"
        "client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;\n"
        "uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"
        "server { listen 127.0.0.1:%u ssl; ssl_certificate %s; ssl_certificate_key %s;\n"
        "%s\n%s\nlocation / { return 200 page; } } }\n",
        peer_file("nginx.pid"),
        port,
        peer_file("ecdsa.pem"),
        peer_file("ecdsa.key"),
        r->options[0],
        r->options[1]);
    const char *folder = peer_file(".");
    certs_write_file(conf, folder, "nginx.conf", text);
    (void)snprintf(env, sizeof(env), "%d;", fd);
    assert_int_equal(setenv("NGINX", env, 1), 0);
    const char *const program = access("/usr/sbin/nginx", X_OK) == 0 ? "/usr/sbin/nginx" : "nginx";
    const char *const arguments[] = {program, "-p", folder, "-c", conf, "-e", "stderr", NULL};
    process_start_until(p, arguments, SIGTERM);
    assert_int_equal(unsetenv("NGINX"), 0);
    (void)close(fd);
    return port;
}

/* It says nothing into a pipe, and takes no port 0: try ports until it answers on one. */
static uint16_t gnutls_start(process *p, const row *r)
{
    for (int attempt = 0; attempt < 10; attempt++) {
        uint16_t port = 0;
        char text[16];
        (void)close(peer_listen(&port));
        (void)snprintf(text, sizeof(text), "%u", port);
        const char *arguments[PEER_ARGUMENTS_MAX] = {
            "gnutls-serv", "--http", "-q", "-p", text, "--x509certfile"};
        arguments[6] = peer_file("ecdsa.pem");
        arguments[7] = "--x509keyfile";
        arguments[8] = peer_file("ecdsa.key");
        add_options(arguments, 9, r);
        process_start(p, arguments);
        for (int waited_ms = 0; waited_ms < PEER_WAIT_MS; waited_ms += 10) {
            const int fd = peer_try_connect(port);
            if (fd >= 0) {
                (void)close(fd);
                return port;
            }
            siginfo_t ended = {0};
            if (waitid(P_PID, (id_t)p->pid, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
                ended.si_pid != 0) {
                break; /* somebody else took the port meanwhile */
            }
            (void)usleep(10000);
        }
        process_end(p);
    }
    fail_msg("gnutls-serv does not start");
    return 0;
}

static uint16_t node_start(process *p, const row *r)
{
    char output[1024];
    char script[1024];
    (void)snprintf(
        script,
        sizeof(script),
        "const fs = require('fs');"
        "const server = require('https').createServer({"
        "  cert: fs.readFileSync('%s'), key: fs.readFileSync('%s'), %s },"
        "  (q, a) => a.end('page'));"
        "server.listen(0, '127.0.0.1', () => console.log(`PORT ${server.address().port} .`));",
        peer_file("ecdsa.pem"),
        peer_file("ecdsa.key"),
        r->options[0]);
    const char *const arguments[] = {"node", "-e", script, NULL};
    process_start(p, arguments);
    process_expect(p, output, sizeof(output), " .");
    return (uint16_t)strtoul(strstr(output, "PORT ") + 5, NULL, 10);
}

/* The port; SKIPPED when there is no such program. */
static uint16_t server_start(process *p, const row *r)
{
    static const char *const programs[] = {"openssl", "nginx", "gnutls-serv", "node"};
    const bool is_there = has_program(programs[r->kind]) ||
                          (r->kind == NGINX && access("/usr/sbin/nginx", X_OK) == 0);
    if (!is_there) {
        print_message("%s: skipped, there is no %s\n", r->name, programs[r->kind]);
        return SKIPPED;
    }
    switch (r->kind) {
    case OPENSSL:
        return openssl_start(p, r);
    case NGINX:
        return nginx_start(p, r);
    case GNUTLS:
        return gnutls_start(p, r);
    case NODE:
        break;
    }
    return node_start(p, r);
}

/* ---- The client ------------------------------------------------------------------------------ */

typedef struct bed {
    failing_allocator memory;
    hpx_allocator allocator;
    hpxi_tls_cache *cache;
    hpx_tls_context *context;
} bed;

static void bed_make(bed *b, bool with_certificate)
{
    b->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    b->allocator = fa_allocator(&b->memory);
    const hpxi_tls_cache_config config = {.hosts_max = 4, .now_ns = &now_ns};
    assert_int_equal(hpxi_tls_cache_new(&b->cache, &config, &b->allocator), HPX_OK);
    hpx_tls_config tls = HPX_TLS_CONFIG_INIT;
    if (with_certificate) {
        tls.cert_file = peer_file("client.pem");
        tls.key_file = peer_file("client.key");
    }
    b->context = peer_client_context(&tls);
}

static void bed_free(bed *b)
{
    hpxi_tls_cache_free(b->cache);
    hpx_tls_context_release(b->context);
    assert_int_equal(b->memory.live, 0);
}

/* Gets the page over one connection; what was agreed is in *info. */
static hpx_status get_page(bed *b, uint16_t port, hpxi_tls_info *info, hpx_error *error)
{
    wire w;
    const hpxi_tls_session_config config = {
        .context = b->context,
        .server_name = "localhost",
        .sessions = b->cache,
        .host = "localhost",
        .port = 443};
    wire_open(&w, peer_connect(port), &config);
    const hpx_status status = wire_handshake(&w);
    hpxi_tls_get_info(w.tls, info);
    *error = w.error;
    if (status == 1) {
        wire_write(&w, "GET / HTTP/1.0\r\n\r\n");
        wire_expect(&w, "HTTP/1.");
        hpxi_tls_close_notify(w.tls, &w.out);
        wire_flush(&w);
    }
    wire_close(&w);
    return status;
}

static const row rows[] = {
    {"openssl 1.3, no ticket",
     OPENSSL,
     {"-tls1_3", "-num_tickets", "0"},
     "TLSv1.3",
     "TLS_",
     "----",
     false},
    {"openssl 1.3, 1 ticket",
     OPENSSL,
     {"-tls1_3", "-num_tickets", "1"},
     "TLSv1.3",
     "TLS_",
     "-rrr",
     false},
    {"openssl 1.3, 4 tickets",
     OPENSSL,
     {"-tls1_3", "-num_tickets", "4"},
     "TLSv1.3",
     "TLS_",
     "-rrr",
     false},
    {"openssl 1.3, stateful", OPENSSL, {"-tls1_3", "-no_ticket"}, "TLSv1.3", "TLS_", "-rrr", false},
    {"openssl 1.3 AES-256",
     OPENSSL,
     {"-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"},
     "TLSv1.3",
     "TLS_AES_256_GCM_SHA384",
     "-rrr",
     false},
    {"openssl 1.3 ChaCha20",
     OPENSSL,
     {"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"},
     "TLSv1.3",
     "TLS_CHACHA20_POLY1305_SHA256",
     "-rrr",
     false},
    {"openssl 1.3 P-384",
     OPENSSL,
     {"-tls1_3", "-groups", "P-384"},
     "TLSv1.3",
     "TLS_",
     "-rrr",
     false},
    {"openssl 1.2 ticket", OPENSSL, {"-tls1_2"}, "TLSv1.2", "TLS_ECDHE_", "-rrr", false},
    {"openssl 1.2 session ID",
     OPENSSL,
     {"-tls1_2", "-no_ticket"},
     "TLSv1.2",
     "TLS_ECDHE_",
     "-rrr",
     false},
    {"openssl 1.2 neither",
     OPENSSL,
     {"-tls1_2", "-no_ticket", "-no_cache"},
     "TLSv1.2",
     "TLS_ECDHE_",
     "----",
     false},
    {"openssl 1.2 ChaCha20",
     OPENSSL,
     {"-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"},
     "TLSv1.2",
     "CHACHA20",
     "-rrr",
     false},
    {"openssl 1.2 AES-256",
     OPENSSL,
     {"-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"},
     "TLSv1.2",
     "AES_256_GCM",
     "-rrr",
     false},
    {"openssl 1.3 client certificate", OPENSSL, {"-tls1_3"}, "TLSv1.3", "TLS_", "-rrr", true},
    {"openssl 1.2 client certificate", OPENSSL, {"-tls1_2"}, "TLSv1.2", "TLS_ECDHE_", "-rrr", true},
    {"nginx 1.3", NGINX, {"ssl_protocols TLSv1.3;", ""}, "TLSv1.3", "TLS_", "-rrr", false},
    {"nginx 1.2 ticket",
     NGINX,
     {"ssl_protocols TLSv1.2;", ""},
     "TLSv1.2",
     "TLS_ECDHE_",
     "-rrr",
     false},
    {"nginx 1.2 session ID",
     NGINX,
     {"ssl_protocols TLSv1.2; ssl_session_tickets off;", "ssl_session_cache shared:x:1m;"},
     "TLSv1.2",
     "TLS_ECDHE_",
     "-rrr",
     false},
    {"gnutls 1.3",
     GNUTLS,
     {"--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.3"},
     "TLSv1.3",
     "TLS_",
     "-rrr",
     false},
    {"gnutls 1.2",
     GNUTLS,
     {"--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2"},
     "TLSv1.2",
     "TLS_ECDHE_",
     "-rrr",
     false},
    {"gnutls 1.2, no ticket",
     GNUTLS,
     {"--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2", "--noticket"},
     "TLSv1.2",
     "TLS_ECDHE_",
     "-rrr",
     false},
    /* node gives two tickets, and none for one of them used */
    {"node 1.3", NODE, {"minVersion: 'TLSv1.3'"}, "TLSv1.3", "TLS_", "-rr-", false},
    {"node 1.2", NODE, {"maxVersion: 'TLSv1.2'"}, "TLSv1.2", "TLS_ECDHE_", "-rrr", false},
};

static void check_row(const row *r)
{
    bed b;
    process server;
    const uint16_t port = server_start(&server, r);
    if (port == SKIPPED) {
        return;
    }
    bed_make(&b, r->with_client_certificate);
    char resumed[CONNECTIONS + 1] = "";
    for (size_t i = 0; i < CONNECTIONS; i++) {
        hpxi_tls_info info;
        hpx_error error;
        const hpx_status status = get_page(&b, port, &info, &error);
        if (status != 1) {
            fail_msg("%s, connection %zu: %d '%s'", r->name, i, status, error.detail);
        }
        if (strcmp(info.version, r->version) != 0 || strstr(info.cipher, r->cipher) == NULL) {
            fail_msg("%s: %s %s", r->name, info.version, info.cipher);
        }
        assert_true(info.verified);
        resumed[i] = info.resumed ? 'r' : '-';
    }
    if (strcmp(resumed, r->resumed) != 0) {
        fail_msg("%s: resumed %s, not %s", r->name, resumed, r->resumed);
    }
    bed_free(&b);
    process_end(&server);
}

static void test_client_resumes_at_every_server_as_far_as_that_allows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        check_row(&rows[i]);
    }
}

static void test_client_without_the_certificate_asked_for_is_refused(void **state)
{
    (void)state;
    static const row asking[] = {
        {"1.3", OPENSSL, {"-tls1_3"}, NULL, NULL, NULL, true},
        {"1.2", OPENSSL, {"-tls1_2"}, NULL, NULL, NULL, true},
    };
    for (size_t i = 0; i < COUNT_OF(asking); i++) {
        bed b;
        process server;
        const uint16_t port = server_start(&server, &asking[i]);
        bed_make(&b, false);
        wire w;
        const hpxi_tls_session_config config = {.context = b.context, .server_name = "localhost"};
        wire_open(&w, peer_connect(port), &config);
        hpx_status status = wire_handshake(&w);
        while (status == 1 || status == HPX_E_PARTIAL) { /* 1.3: the alert follows our Finished */
            static uint8_t plain[1 << 14];
            assert_true(wire_fill(&w));
            status = (hpx_status)hpxi_tls_read(
                w.tls, &w.data, &w.size, plain, sizeof(plain), &w.out, &w.error);
        }
        assert_int_equal(status, HPX_E_TLS_ALERT);
        assert_int_equal(w.error.tls_alert, i == 0 ? 116 : 40);
        wire_close(&w);
        bed_free(&b);
        process_end(&server);
    }
}

static void test_client_recovers_when_a_restarted_server_knows_no_ticket(void **state)
{
    (void)state;
    static const row restarted[] = {
        {"1.3", OPENSSL, {"-tls1_3"}, NULL, NULL, NULL, false},
        {"1.2 ticket", OPENSSL, {"-tls1_2"}, NULL, NULL, NULL, false},
        {"1.2 session ID", OPENSSL, {"-tls1_2", "-no_ticket"}, NULL, NULL, NULL, false},
        {"gnutls",
         GNUTLS,
         {"--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2"},
         NULL,
         NULL,
         NULL,
         false},
    };
    for (size_t i = 0; i < COUNT_OF(restarted); i++) {
        bed b;
        process server;
        hpxi_tls_info info;
        hpx_error error;
        uint16_t port = server_start(&server, &restarted[i]);
        if (port == SKIPPED) {
            continue;
        }
        bed_make(&b, false);
        assert_int_equal(get_page(&b, port, &info, &error), 1);
        assert_int_equal(get_page(&b, port, &info, &error), 1);
        assert_true(info.resumed);
        process_end(&server);
        port = server_start(&server, &restarted[i]); /* its key is the cache's, whatever the port */
        if (get_page(&b, port, &info, &error) != 1) {
            fail_msg("%s: '%s'", restarted[i].name, error.detail);
        }
        assert_false(info.resumed);
        assert_true(info.verified);
        for (int again = 0; again < 2; again++) {
            assert_int_equal(get_page(&b, port, &info, &error), 1);
        }
        assert_true(info.resumed);
        bed_free(&b);
        process_end(&server);
    }
}

/* Reads until the session ends or brings data; what the peer should not be able to get. */
static ptrdiff_t read_on(wire *w)
{
    static uint8_t plain[1 << 14];
    ptrdiff_t rc = HPX_E_PARTIAL;
    while (rc == HPX_E_PARTIAL) {
        if (w->size == 0 && !wire_fill(w)) {
            return HPX_E_EOF;
        }
        rc = hpxi_tls_read(w->tls, &w->data, &w->size, plain, sizeof(plain), &w->out, &w->error);
        wire_flush(w);
    }
    return rc;
}

/* Renegotiation changes who one talks to in the middle (CVE-2009-3555): it never happens. */
static void test_client_asked_to_renegotiate_then_it_does_not(void **state)
{
    (void)state;
    process peer;
    wire w;
    char output[1024];
    hpx_tls_context *context = peer_client_context(NULL);
    const char *const server[] = {
        "openssl",
        "s_server",
        "-accept",
        "127.0.0.1:0",
        "-tls1_2",
        "-cert",
        peer_file("ecdsa.pem"),
        "-key",
        peer_file("ecdsa.key"),
        NULL};
    process_start(&peer, server);
    process_expect(&peer, output, sizeof(output), "ACCEPT 127.0.0.1:");
    const uint16_t port = (uint16_t)strtoul(strrchr(output, ':') + 1, NULL, 10);
    const hpxi_tls_session_config client = {.context = context, .server_name = "localhost"};
    wire_open(&w, peer_connect(port), &client);
    assert_int_equal(wire_handshake(&w), 1);
    process_say(&peer, "r\n");     /* HelloRequest: answered with the warning no_renegotiation */
    assert_true(read_on(&w) <= 0); /* OpenSSL gives up; no byte of data came of it */
    wire_close(&w);
    process_end(&peer);
    hpx_tls_context_release(context);
}

static void test_server_asked_to_renegotiate_then_the_session_ends(void **state)
{
    (void)state;
    process peer;
    wire w;
    uint16_t port = 0;
    char where[32];
    hpx_tls_context *context = NULL;
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.cert_file = peer_file("ecdsa.pem");
    config.key_file = peer_file("ecdsa.key");
    assert_int_equal(hpx_tls_server_context_new(&context, &config, NULL), HPX_OK);
    const int listener = peer_listen(&port);
    (void)snprintf(where, sizeof(where), "127.0.0.1:%u", port);
    const char *const client[] = {
        "openssl",
        "s_client",
        "-connect",
        where,
        "-tls1_2",
        "-legacy_server_connect",
        "-CAfile",
        peer_file("root.pem"),
        NULL};
    process_start(&peer, client);
    const hpxi_tls_session_config server = {.context = context, .is_server = true};
    wire_open(&w, peer_accept(listener), &server);
    assert_int_equal(wire_handshake(&w), 1);
    process_say(&peer, "R\n"); /* a second ClientHello */
    const ptrdiff_t rc = read_on(&w);
    if (rc != HPX_E_TLS_PROTOCOL && rc != HPX_E_TLS_ALERT) {
        fail_msg("%td '%s'", rc, w.error.detail);
    }
    wire_close(&w);
    process_end(&peer);
    (void)close(listener);
    hpx_tls_context_release(context);
}

int main(void)
{
    if (!has_program("openssl")) {
        return TEST_EXIT_SKIP;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_resumes_at_every_server_as_far_as_that_allows),
        cmocka_unit_test(test_client_without_the_certificate_asked_for_is_refused),
        cmocka_unit_test(test_client_recovers_when_a_restarted_server_knows_no_ticket),
        cmocka_unit_test(test_client_asked_to_renegotiate_then_it_does_not),
        cmocka_unit_test(test_server_asked_to_renegotiate_then_the_session_ends),
    };
    return cmocka_run_group_tests(tests, peer_setup, peer_teardown);
}

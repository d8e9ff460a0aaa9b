/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Both roles talk to another TLS implementation: every cipher suite, both versions, other
 *         groups, key updates, an orderly end; and what we must not agree to is refused.
 * Method  `openssl s_server` and `openssl s_client` as processes of our own over loopback, with
 *         certificates that OpenSSL makes. Ports are the kernel's choice. Every wait has a limit.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/test.h"
#include "tests/tls/certs.h"
#include "tls/tls.h"

#define WAIT_MS       20000
#define ARGUMENTS_MAX 32

static char folder[CERTS_PATH_MAX];

static const char *in_folder(const char *name)
{
    static char paths[8][2 * CERTS_PATH_MAX];
    static size_t turn;
    char *path = paths[turn++ % COUNT_OF(paths)];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

/* A process with pipes to its standard input and from its standard output. */
typedef struct process {
    pid_t pid;
    int in;
    int out;
} process;

static void process_start(process *p, const char *const *arguments)
{
    int in[2];
    int out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    char *copy[ARGUMENTS_MAX] = {NULL};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        assert_true(i + 1 < ARGUMENTS_MAX);
        copy[i] = strdup(arguments[i]);
    }
    const pid_t parent = getpid();
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        /* Dies with the test, however that ends. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && dup2(in[0], 0) == 0 &&
            dup2(out[1], 1) == 1 && dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2) == 2) {
            (void)execvp(copy[0], copy);
        }
        _exit(127);
    }
    for (size_t i = 0; copy[i] != NULL; i++) {
        free(copy[i]);
    }
    (void)close(in[0]);
    (void)close(out[1]);
    p->in = in[1];
    p->out = out[0];
}

static void process_end(process *p)
{
    int status = 0;
    (void)kill(p->pid, SIGKILL);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    (void)close(p->in);
    (void)close(p->out);
}

/* Reads the process's output until `text` is in it. */
static void process_expect(process *p, char *output, size_t output_bytes, const char *text)
{
    size_t used = 0;
    output[0] = '\0';
    while (strstr(output, text) == NULL) {
        struct pollfd wait = {.fd = p->out, .events = POLLIN};
        if (poll(&wait, 1, WAIT_MS) != 1) {
            fail_msg("no '%s' in '%s'", text, output);
        }
        const ssize_t rc = read(p->out, output + used, output_bytes - used - 1);
        if (rc <= 0) {
            fail_msg("the process ended without '%s': '%s'", text, output);
        }
        used += (size_t)rc;
        output[used] = '\0';
    }
}

static void process_say(process *p, const char *text)
{
    assert_int_equal(write(p->in, text, strlen(text)), strlen(text));
}

/* A session over a blocking socket. */
typedef struct wire {
    int fd;
    hpxi_tls *tls;
    hpxi_buf out;
    uint8_t input[4096];
    uint8_t *data;
    size_t size;
    hpx_error error;
} wire;

static void *wire_alloc(size_t size, size_t align, void *user)
{
    (void)user;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void wire_dealloc(void *block, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(block);
}

static const hpx_allocator wire_allocator = {.alloc = wire_alloc, .free = wire_dealloc};

static void wire_flush(wire *w)
{
    while (hpxi_buf_size(&w->out) != 0) {
        const hpx_span bytes = hpxi_buf_span(&w->out);
        const ssize_t rc = send(w->fd, bytes.data, bytes.size, MSG_NOSIGNAL);
        if (rc <= 0) {
            hpxi_buf_consume(&w->out, bytes.size); /* the peer is gone; reading will tell */
            return;
        }
        hpxi_buf_consume(&w->out, (size_t)rc);
    }
}

static bool wire_fill(wire *w)
{
    assert_int_equal(w->size, 0);
    const ssize_t rc = recv(w->fd, w->input, sizeof(w->input), 0);
    w->data = w->input;
    w->size = rc > 0 ? (size_t)rc : 0;
    return rc > 0;
}

static hpx_status wire_handshake(wire *w)
{
    for (;;) {
        const hpx_status status =
            hpxi_tls_handshake(w->tls, &w->data, &w->size, &w->out, &w->error);
        wire_flush(w);
        if (status != HPX_E_PARTIAL) {
            return status;
        }
        if (!wire_fill(w)) {
            return HPX_E_EOF;
        }
    }
}

static void wire_open(wire *w, int fd, const hpxi_tls_session_config *config)
{
    const struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    *w = (wire){.fd = fd};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    hpxi_buf_init(&w->out, &wire_allocator);
    assert_int_equal(hpxi_tls_new(&w->tls, config, &wire_allocator, &w->error), HPX_OK);
}

static void wire_close(wire *w)
{
    hpxi_tls_free(w->tls);
    hpxi_buf_fini(&w->out);
    (void)close(w->fd);
}

static void wire_write(wire *w, const char *text)
{
    assert_int_equal(hpxi_tls_write(w->tls, hpx_span_of(text), &w->out, &w->error), HPX_OK);
    wire_flush(w);
}

/* Reads until `text` has come, or, with "", the peer's close_notify. */
static void wire_expect(wire *w, const char *text)
{
    static uint8_t plain[1 << 14];
    char got[256] = "";
    size_t used = 0;
    while (text[0] == '\0' || strstr(got, text) == NULL) {
        const ptrdiff_t rc =
            hpxi_tls_read(w->tls, &w->data, &w->size, plain, sizeof(plain), &w->out, &w->error);
        wire_flush(w);
        if (rc == HPX_E_PARTIAL) {
            if (!wire_fill(w)) {
                fail_msg("the peer ended without '%s': '%s'", text, got);
            }
            continue;
        }
        if (rc == 0 && text[0] == '\0') {
            return;
        }
        if (rc <= 0) {
            fail_msg("read: %td '%s'", rc, w->error.detail);
        }
        assert_true(used + (size_t)rc < sizeof(got));
        memcpy(got + used, plain, (size_t)rc);
        used += (size_t)rc;
        got[used] = '\0';
    }
}

/* Waits for records that hold no application data. */
static void wire_expect_nothing(wire *w)
{
    static uint8_t plain[1 << 14];
    assert_true(wire_fill(w));
    assert_int_equal(
        hpxi_tls_read(w->tls, &w->data, &w->size, plain, sizeof(plain), &w->out, &w->error),
        HPX_E_PARTIAL);
    wire_flush(w);
}

static int connect_to(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static hpx_tls_context *client_context(void)
{
    hpx_tls_context *context = NULL;
    hpx_error error;
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_file = in_folder("root.pem");
    if (hpx_tls_client_context_new(&context, &config, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    return context;
}

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
    const char *arguments[ARGUMENTS_MAX] = {"openssl", "s_server", "-accept", "127.0.0.1:0"};
    char names[2][32];
    (void)snprintf(names[0], sizeof(names[0]), "%s.pem", row->kind);
    (void)snprintf(names[1], sizeof(names[1]), "%s.key", row->kind);
    size_t count = 4;
    arguments[count++] = "-cert";
    arguments[count++] = in_folder(names[0]);
    arguments[count++] = "-key";
    arguments[count++] = in_folder(names[1]);
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
    hpx_tls_context *context = client_context();
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        process server;
        const uint16_t port = server_start(&server, &rows[i], true);
        const hpxi_tls_session_config config = {
            .context = context, .server_name = (i & 1) != 0 ? "localhost" : "127.0.0.1"};
        wire w;
        wire_open(&w, connect_to(port), &config);
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
    hpx_tls_context *context = client_context();
    process server;
    char output[4096];
    const uint16_t port = server_start(&server, &rows[0], false);
    const hpxi_tls_session_config config = {.context = context, .server_name = "localhost"};
    wire w;
    wire_open(&w, connect_to(port), &config);
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
        .options = {"-cert_chain", in_folder("middle.pem")}};
    static const struct {
        const char *wanted;
        hpx_status status;
    } cases[] = {{"127.0.0.1", HPX_E_TLS_CERTIFICATE}, {"localhost", 1}};
    hpx_tls_context *context = client_context();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        process server;
        const uint16_t port = server_start(&server, &constrained, true);
        const hpxi_tls_session_config config = {.context = context, .server_name = cases[i].wanted};
        wire w;
        wire_open(&w, connect_to(port), &config);
        const hpx_status status = wire_handshake(&w);
        if (status != cases[i].status) {
            fail_msg("%s: %d '%s'", cases[i].wanted, status, w.error.detail);
        }
        wire_close(&w);
        process_end(&server);
    }
    hpx_tls_context_release(context);
}

static int listen_on_loopback(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof(address);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static int accept_within_limit(int listener)
{
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, WAIT_MS), 1);
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void client_start(process *p, const peer_row *row, uint16_t port)
{
    static char where[32];
    (void)snprintf(where, sizeof(where), "127.0.0.1:%u", port);
    const char *arguments[ARGUMENTS_MAX] = {
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
    arguments[count++] = in_folder("root.pem");
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
    config.cert_file = in_folder(names[0]);
    config.key_file = in_folder(names[1]);
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
        const int listener = listen_on_loopback(&port);
        process client;
        client_start(&client, &rows[i], port);
        const hpxi_tls_session_config config = {.context = context, .is_server = true};
        wire w;
        wire_open(&w, accept_within_limit(listener), &config);
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

static int peer_setup(void **state)
{
    (void)state;
    const char *source = getenv("HPX_SOURCE_DIR");
    char command[3 * CERTS_PATH_MAX];
    certs_folder_make(folder);
    (void)snprintf(
        command,
        sizeof(command),
        "%s/tests/tls/make_certs.sh %s",
        source == NULL ? "." : source,
        folder);
    return system(command); /* NOLINT(cert-env33-c): our own script */
}

static int peer_teardown(void **state)
{
    (void)state;
    certs_folder_remove(folder);
    return 0;
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

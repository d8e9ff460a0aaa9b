/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/tls/peer.h"

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

static char folder[CERTS_PATH_MAX];

const char *peer_file(const char *name)
{
    static char paths[8][2 * CERTS_PATH_MAX];
    static size_t turn;
    char *path = paths[turn++ % COUNT_OF(paths)];
    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

void process_start_until(process *p, const char *const *arguments, int death_signal)
{
    int in[2];
    int out[2];
    assert_int_equal(pipe2(in, O_CLOEXEC), 0);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    char *copy[PEER_ARGUMENTS_MAX] = {NULL};
    for (size_t i = 0; arguments[i] != NULL; i++) {
        assert_true(i + 1 < PEER_ARGUMENTS_MAX);
        copy[i] = strdup(arguments[i]);
    }
    const pid_t parent = getpid();
    p->death_signal = death_signal;
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        /* Dies with the test, however that ends. */
        if (prctl(PR_SET_PDEATHSIG, death_signal) == 0 && getppid() == parent &&
            dup2(in[0], 0) == 0 && dup2(out[1], 1) == 1 &&
            dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), 2) == 2) {
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

void process_start(process *p, const char *const *arguments)
{
    process_start_until(p, arguments, SIGKILL);
}

void process_end(process *p)
{
    int status = 0;
    (void)kill(p->pid, p->death_signal);
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    (void)close(p->in);
    (void)close(p->out);
}

/* Reads the process's output until `text` is in it. */
void process_expect(process *p, char *output, size_t output_bytes, const char *text)
{
    size_t used = 0;
    output[0] = '\0';
    while (strstr(output, text) == NULL) {
        struct pollfd wait = {.fd = p->out, .events = POLLIN};
        if (poll(&wait, 1, PEER_WAIT_MS) != 1) {
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

void process_say(process *p, const char *text)
{
    assert_int_equal(write(p->in, text, strlen(text)), strlen(text));
}

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

const hpx_allocator wire_allocator = {.alloc = wire_alloc, .free = wire_dealloc};

void wire_flush(wire *w)
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

bool wire_fill(wire *w)
{
    assert_int_equal(w->size, 0);
    const ssize_t rc = recv(w->fd, w->input, sizeof(w->input), 0);
    w->data = w->input;
    w->size = rc > 0 ? (size_t)rc : 0;
    return rc > 0;
}

hpx_status wire_handshake(wire *w)
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

void wire_open(wire *w, int fd, const hpxi_tls_session_config *config)
{
    const struct timeval limit = {.tv_sec = PEER_WAIT_MS / 1000};
    *w = (wire){.fd = fd};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    hpxi_buf_init(&w->out, &wire_allocator);
    assert_int_equal(hpxi_tls_new(&w->tls, config, &wire_allocator, &w->error), HPX_OK);
}

void wire_close(wire *w)
{
    hpxi_tls_free(w->tls);
    hpxi_buf_fini(&w->out);
    (void)close(w->fd);
}

void wire_write(wire *w, const char *text)
{
    assert_int_equal(hpxi_tls_write(w->tls, hpx_span_of(text), &w->out, &w->error), HPX_OK);
    wire_flush(w);
}

/* Reads until `text` has come, or, with "", the peer's close_notify. */
void wire_expect(wire *w, const char *text)
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
        const size_t room = sizeof(got) - 1 - used;
        const size_t part = (size_t)rc < room ? (size_t)rc : room; /* the begin of it will do */
        memcpy(got + used, plain, part);
        used += part;
        got[used] = '\0';
    }
}

/* Waits for records that hold no application data. */
void wire_expect_nothing(wire *w)
{
    static uint8_t plain[1 << 14];
    assert_true(wire_fill(w));
    assert_int_equal(
        hpxi_tls_read(w->tls, &w->data, &w->size, plain, sizeof(plain), &w->out, &w->error),
        HPX_E_PARTIAL);
    wire_flush(w);
}

int peer_try_connect(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

int peer_connect(uint16_t port)
{
    const int fd = peer_try_connect(port);
    assert_true(fd >= 0);
    return fd;
}

int peer_listen(uint16_t *port)
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

int peer_accept(int listener)
{
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    assert_int_equal(poll(&wait, 1, PEER_WAIT_MS), 1);
    const int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

hpx_tls_context *peer_client_context(const hpx_tls_config *config)
{
    hpx_tls_context *context = NULL;
    hpx_error error;
    hpx_tls_config own = HPX_TLS_CONFIG_INIT;
    if (config != NULL) {
        own = *config;
    }
    own.ca_file = peer_file("root.pem");
    if (hpx_tls_client_context_new(&context, &own, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    return context;
}

int peer_setup(void **state)
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

int peer_teardown(void **state)
{
    (void)state;
    certs_folder_remove(folder);
    return 0;
}

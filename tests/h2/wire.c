/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/h2/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/peer.h"
#include "tests/support/test.h"

#define WIRE_READ_BYTES (64u << 10)
#define WIRE_OUT_BYTES  (128u << 10)
#define WIRE_POLL_MS    20

static void wire_prepare(int fd)
{
    const int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

/* Sends what the buffer holds, as far as it goes. false: the connection is gone. */
static bool wire_send(int fd, hpxi_buf *out)
{
    while (hpxi_buf_size(out) != 0) {
        const hpx_span span = hpxi_buf_span(out);
        const ssize_t sent = send(fd, span.data, span.size, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        hpxi_buf_consume(out, (size_t)sent);
    }
    return true;
}

/* Writes and sends until there is no more, or the socket takes no more. false: it is gone. */
static bool wire_flush(hpxi_h2 *h2, int fd, hpxi_buf *out, uint64_t now_ns)
{
    hpx_status more = 1;
    while (more == 1 && hpxi_buf_size(out) < WIRE_OUT_BYTES) {
        more = hpxi_h2_flush(h2, out, WIRE_OUT_BYTES, now_ns);
        if (!wire_send(fd, out)) {
            return false;
        }
    }
    return wire_send(fd, out);
}

/* ---- Client --------------------------------------------------------------------------------- */

void wire_connect(wire *w, uint16_t port, const hpxi_h2_config *config)
{
    *w = (wire){.memory = FAILING_ALLOCATOR_NEVER, .now_ns = hpx_clock_now_ns()};
    w->allocator = fa_allocator(&w->memory);
    const uint64_t deadline_ms = peer_now_ms() + PEER_DEADLINE_MS;
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (;;) {
        w->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(w->fd >= 0);
        if (connect(w->fd, (const struct sockaddr *)&address, sizeof(address)) == 0) {
            break;
        }
        assert_int_equal(errno, ECONNREFUSED);
        assert_true(peer_now_ms() < deadline_ms);
        (void)close(w->fd);
        (void)poll(NULL, 0, WIRE_POLL_MS);
    }
    wire_prepare(w->fd);
    w->side = (duo_side){.name = "client", .now_ns = &w->now_ns};
    hpxi_buf_init(&w->side.out, &w->allocator);
    config = config == NULL ? &hpxi_h2_config_client : config;
    assert_int_equal(hpxi_h2_new(&w->side.h2, config, &w->allocator, w->now_ns), HPX_OK);
}

static void wire_receive(wire *w)
{
    static uint8_t block[WIRE_READ_BYTES];
    const ssize_t got = recv(w->fd, block, sizeof(block), 0);
    if (got > 0) {
        side_feed(&w->side, block, (size_t)got, 0);
    } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
        w->is_at_end = true;
        hpxi_h2_eof(w->side.h2);
        side_feed(&w->side, NULL, 0, 0);
    }
}

static void wire_turn(wire *w)
{
    w->now_ns = hpx_clock_now_ns();
    (void)wire_flush(w->side.h2, w->fd, &w->side.out, w->now_ns); /* an end shows in recv() */
    side_feed(&w->side, NULL, 0, 0);
    const bool is_stuck = hpxi_buf_size(&w->side.out) != 0;
    struct pollfd fd = {.fd = w->fd, .events = (short)(is_stuck ? POLLIN | POLLOUT : POLLIN)};
    (void)poll(&fd, 1, WIRE_POLL_MS);
    if ((fd.revents & ~POLLOUT) != 0) {
        wire_receive(w);
    }
}

void wire_run(wire *w, bool (*done)(const wire *w))
{
    const uint64_t deadline_ms = peer_now_ms() + PEER_DEADLINE_MS;
    while (!done(w) && !w->is_at_end) {
        if (peer_now_ms() > deadline_ms) {
            fail_msg("not done in time: %s", side_told(&w->side));
        }
        wire_turn(w);
    }
}

void wire_run_until_closed(wire *w, uint32_t closed_count)
{
    const uint64_t deadline_ms = peer_now_ms() + PEER_DEADLINE_MS;
    while (w->side.closed_count < closed_count && !w->is_at_end) {
        if (peer_now_ms() > deadline_ms) {
            fail_msg(
                "%u of %u streams closed in time: %s",
                w->side.closed_count,
                closed_count,
                side_told(&w->side));
        }
        wire_turn(w);
    }
}

void wire_close(wire *w)
{
    hpxi_h2_free(w->side.h2);
    hpxi_buf_fini(&w->side.out);
    (void)close(w->fd);
    assert_int_equal(w->memory.live, 0);
}

/* ---- Server --------------------------------------------------------------------------------- */

#define SERVED_BYTES (1u << 20)

typedef struct wire_connection {
    int fd; /* -1: free */
    hpxi_h2 *h2;
    hpxi_buf out;
} wire_connection;

static uint8_t served[SERVED_BYTES];

static const hpxi_h2_field served_trailer = {
    .name = {(const uint8_t *)"sum", 3}, .value = {(const uint8_t *)"42", 2}};

/* A body that is not known beforehand: made by the pull function. */
static ptrdiff_t pull_decimal(void *ctx, uint8_t *to, size_t room, bool *is_last)
{
    *is_last = true;
    return snprintf((char *)to, room, "%zu", (size_t)(uintptr_t)ctx);
}

static bool path_is(const hpxi_h2_event *event, const char *path)
{
    return event->head.path.size == strlen(path) &&
           memcmp(event->head.path.data, path, event->head.path.size) == 0;
}

static void server_get(hpxi_h2 *h2, const hpxi_h2_event *event)
{
    hpxi_h2_body body = {0};
    if (path_is(event, "/early")) {
        body.span = hpx_span_of("early");
        (void)hpxi_h2_inform(h2, event->stream, 103, NULL, 0, NULL);
    } else if (path_is(event, "/trailers")) {
        body.span = hpx_span_of("body");
        body.trailers = &served_trailer;
        body.trailer_count = 1;
    } else {
        char digits[16] = {0};
        const size_t size = event->head.path.size - 1;
        memcpy(digits, event->head.path.data + 1, size < 15 ? size : 15);
        const size_t wanted = strtoul(digits, NULL, 10);
        body.span = (hpx_span){served, wanted < SERVED_BYTES ? wanted : SERVED_BYTES};
    }
    const bool is_head = event->head.method.size == 4 && event->head.method.data[0] == 'H';
    (void)hpxi_h2_respond(h2, event->stream, 200, NULL, 0, is_head ? NULL : &body, NULL);
}

static bool is_method(const hpxi_h2_event *event, const char *method)
{
    return event->head.method.size == strlen(method) &&
           memcmp(event->head.method.data, method, event->head.method.size) == 0;
}

/* The user pointer of an upload counts its bytes, from 1; of anything else it is NULL. */
static void server_take(wire_server *server, hpxi_h2 *h2, const hpxi_h2_event *event)
{
    const uintptr_t count = (uintptr_t)event->user;
    switch (event->kind) {
    case HPXI_H2_REQUEST:
        (void)atomic_fetch_add(&server->requests, 1);
        if (is_method(event, "GET") || is_method(event, "HEAD")) {
            server_get(h2, event);
        } else {
            (void)hpxi_h2_set_user(h2, event->stream, (void *)(uintptr_t)1);
        }
        break;
    case HPXI_H2_DATA:
        (void)hpxi_h2_set_user(h2, event->stream, (void *)(count + event->data.size));
        hpxi_h2_consume(h2, event->stream, event->data.size);
        break;
    case HPXI_H2_END:
        if (count != 0) {
            const hpxi_h2_body body = {.pull = pull_decimal, .pull_ctx = (void *)(count - 1)};
            (void)hpxi_h2_respond(h2, event->stream, 200, NULL, 0, &body, NULL);
        }
        break;
    default:
        break;
    }
}

static void server_accept(wire_server *server, wire_connection *connections)
{
    const int fd = accept(server->listener, NULL, NULL);
    for (uint32_t i = 0; fd >= 0 && i < WIRE_CONNECTIONS; i++) {
        wire_connection *c = &connections[i];
        if (c->fd < 0) {
            wire_prepare(fd);
            c->fd = fd;
            hpxi_buf_init(&c->out, &server->allocator);
            if (hpxi_h2_new(
                    &c->h2, &hpxi_h2_config_server, &server->allocator, hpx_clock_now_ns()) !=
                HPX_OK) {
                abort();
            }
            return;
        }
    }
    (void)close(fd);
}

static void server_drop(wire_connection *c)
{
    hpxi_h2_free(c->h2);
    hpxi_buf_fini(&c->out);
    (void)close(c->fd);
    c->fd = -1;
}

/* Reads what there is, answers. false: the connection is done. */
static bool server_turn(wire_server *server, wire_connection *c)
{
    static uint8_t block[WIRE_READ_BYTES];
    const uint64_t now_ns = hpx_clock_now_ns();
    const ssize_t got = recv(c->fd, block, sizeof(block), 0);
    const bool is_end = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
    const uint8_t *at = block;
    size_t size = got > 0 ? (size_t)got : 0;
    hpxi_h2_event event;
    hpx_status status;
    while ((status = hpxi_h2_next(c->h2, &at, &size, &c->out, now_ns, &event)) == 1) {
        server_take(server, c->h2, &event);
    }
    const bool is_sent = wire_flush(c->h2, c->fd, &c->out, now_ns);
    if (status != HPX_E_PARTIAL) {
        (void)atomic_fetch_add(&server->failures, 1);
        fprintf(stderr, "server: %s\n", hpxi_h2_failure(c->h2).detail);
    }
    return !is_end && is_sent && status == HPX_E_PARTIAL;
}

static void *server_run(void *arg)
{
    wire_server *server = arg;
    static wire_connection connections[WIRE_CONNECTIONS];
    for (uint32_t i = 0; i < WIRE_CONNECTIONS; i++) {
        connections[i].fd = -1;
    }
    while (!atomic_load(&server->stops)) {
        struct pollfd fds[WIRE_CONNECTIONS + 1] = {{.fd = server->listener, .events = POLLIN}};
        for (uint32_t i = 0; i < WIRE_CONNECTIONS; i++) {
            const wire_connection *c = &connections[i];
            const bool is_stuck = c->fd >= 0 && hpxi_buf_size(&c->out) != 0;
            fds[i + 1] = (struct pollfd){
                .fd = c->fd, .events = (short)(is_stuck ? POLLIN | POLLOUT : POLLIN)};
        }
        (void)poll(fds, WIRE_CONNECTIONS + 1, WIRE_POLL_MS);
        for (uint32_t i = 0; i < WIRE_CONNECTIONS; i++) {
            if (connections[i].fd >= 0 && fds[i + 1].fd == connections[i].fd &&
                fds[i + 1].revents != 0 && !server_turn(server, &connections[i])) {
                server_drop(&connections[i]);
            }
        }
        if (fds[0].revents != 0) {
            server_accept(server, connections);
        }
    }
    for (uint32_t i = 0; i < WIRE_CONNECTIONS; i++) {
        if (connections[i].fd >= 0) {
            server_drop(&connections[i]);
        }
    }
    return NULL;
}

void wire_server_start(wire_server *server)
{
    *server = (wire_server){.memory = FAILING_ALLOCATOR_NEVER};
    server->allocator = fa_allocator(&server->memory);
    for (size_t i = 0; i < SERVED_BYTES; i++) {
        served[i] = (uint8_t)(i * 31);
    }
    server->listener = peer_bind(true, &server->port);
    assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
}

void wire_server_stop(wire_server *server)
{
    atomic_store(&server->stops, true);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    (void)close(server->listener);
    assert_int_equal(server->memory.live, 0);
    assert_int_equal(server->failures, 0);
}

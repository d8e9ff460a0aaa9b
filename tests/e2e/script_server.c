/* SPDX-License-Identifier: Apache-2.0 */
/* script_server.c - the server's thread, and what scripts need. */
#include "tests/e2e/script_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/coding.h>
#include <wolfssl/wolfcrypt/hash.h>

#define SOCKET_TIMEOUT_S 15

#define CHECK(e)                                                                                   \
    do {                                                                                           \
        if (!(e)) {                                                                                \
            fprintf(stderr, "script_server.c:%d: %s: %s\n", __LINE__, #e, strerror(errno));        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* ---- Its thread ------------------------------------------------------------------------------ */

static void server_serve(script_server *server, int fd)
{
    const struct timeval timeout = {.tv_sec = SOCKET_TIMEOUT_S};
    const int one = 1;
    CHECK(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) == 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) == 0);
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
    script_conn *conn = calloc(1, sizeof(*conn));
    CHECK(conn != NULL);
    conn->fd = fd;
    conn->release = server->release;
    const int saw = server->serve(conn, server->user);
    if (conn->fd >= 0) {
        (void)close(conn->fd);
    }
    free(conn);
    (void)pthread_mutex_lock(&server->lock);
    server->served++;
    server->saw = saw;
    (void)pthread_cond_broadcast(&server->changed);
    (void)pthread_mutex_unlock(&server->lock);
}

static void *server_run(void *argument)
{
    script_server *server = argument;
    for (;;) {
        struct pollfd fds[2] = {
            {.fd = server->stop, .events = POLLIN}, {.fd = server->fd, .events = POLLIN}};
        CHECK(poll(fds, 2, -1) > 0 || errno == EINTR);
        if (fds[0].revents != 0) {
            return NULL;
        }
        if (fds[1].revents != 0) {
            const int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC);
            if (fd >= 0) {
                server_serve(server, fd);
            }
        }
    }
}

static int server_bind(int family, uint16_t *port, int backlog)
{
    struct sockaddr_storage address = {.ss_family = (sa_family_t)family};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&address;
    socklen_t size = family == AF_INET ? sizeof(*v4) : sizeof(*v6);
    const int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (family == AF_INET) {
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        v4->sin_port = htons(*port);
    } else {
        v6->sin6_addr = in6addr_loopback;
        v6->sin6_port = htons(*port);
    }
    if (bind(fd, (const struct sockaddr *)&address, size) != 0) {
        (void)close(fd);
        return -1;
    }
    CHECK(listen(fd, backlog) == 0);
    CHECK(getsockname(fd, (struct sockaddr *)&address, &size) == 0);
    *port = ntohs(family == AF_INET ? v4->sin_port : v6->sin6_port);
    return fd;
}

void script_start(script_server *server, script_fn serve, void *user)
{
    *server = (script_server){.serve = serve, .user = user, .saw = SCRIPT_SAW_NOTHING};
    server->fd = server_bind(AF_INET, &server->port, 128);
    CHECK(server->fd >= 0);
    server->stop = eventfd(0, EFD_CLOEXEC);
    server->release = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
    CHECK(server->stop >= 0);
    CHECK(server->release >= 0);
    CHECK(pthread_mutex_init(&server->lock, NULL) == 0);
    CHECK(pthread_cond_init(&server->changed, NULL) == 0);
    CHECK(pthread_create(&server->thread, NULL, server_run, server) == 0);
}

void script_stop(script_server *server)
{
    const uint64_t one = 1;
    CHECK(write(server->stop, &one, sizeof(one)) == sizeof(one));
    CHECK(pthread_join(server->thread, NULL) == 0);
    (void)close(server->fd);
    (void)close(server->stop);
    (void)close(server->release);
    (void)pthread_cond_destroy(&server->changed);
    (void)pthread_mutex_destroy(&server->lock);
}

int script_await(script_server *server, uint32_t count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 2 * SOCKET_TIMEOUT_S;
    (void)pthread_mutex_lock(&server->lock);
    int rc = 0;
    while (server->served < count && rc == 0) {
        rc = pthread_cond_timedwait(&server->changed, &server->lock, &until);
    }
    const int saw = server->served >= count ? server->saw : SCRIPT_SAW_NOTHING;
    (void)pthread_mutex_unlock(&server->lock);
    return saw;
}

void script_release(script_server *server)
{
    const uint64_t one = 1;
    CHECK(write(server->release, &one, sizeof(one)) == sizeof(one));
}

uint32_t script_served(script_server *server)
{
    (void)pthread_mutex_lock(&server->lock);
    const uint32_t served = server->served;
    (void)pthread_mutex_unlock(&server->lock);
    return served;
}

/* ---- For scripts ----------------------------------------------------------------------------- */

bool script_read_head(script_conn *conn)
{
    while (conn->head_bytes < sizeof(conn->head) - 1) {
        const ssize_t got = recv(conn->fd, conn->head + conn->head_bytes, 1, 0);
        if (got <= 0) {
            return false;
        }
        conn->head_bytes++;
        conn->head[conn->head_bytes] = '\0';
        if (conn->head_bytes >= 4 && strcmp(conn->head + conn->head_bytes - 4, "\r\n\r\n") == 0) {
            return true;
        }
    }
    return false;
}

bool script_write(script_conn *conn, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size != 0) {
        const ssize_t sent = send(conn->fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

void script_rest(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
}

bool script_dribble(script_conn *conn, const void *data, size_t size, size_t step)
{
    const uint8_t *at = data;
    while (size != 0) {
        const size_t part = size < step ? size : step;
        if (!script_write(conn, at, part)) {
            return false;
        }
        at += part;
        size -= part;
        if (size != 0) {
            script_rest();
        }
    }
    return true;
}

size_t script_answer(const script_conn *conn, char *to, size_t to_bytes)
{
    static const char name[] = "\r\nSec-WebSocket-Key: ";
    char text[128];
    byte digest[WC_SHA_DIGEST_SIZE];
    byte accept[64];
    word32 accept_bytes = sizeof(accept) - 1;
    const char *key = strstr(conn->head, name);
    CHECK(key != NULL);
    const int text_bytes = snprintf(
        text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + sizeof(name) - 1);
    CHECK(wc_ShaHash((const byte *)text, (word32)text_bytes, digest) == 0);
    CHECK(Base64_Encode_NoNl(digest, sizeof(digest), accept, &accept_bytes) == 0);
    const int size = snprintf(
        to,
        to_bytes,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: %.*s\r\n\r\n",
        (int)accept_bytes,
        (const char *)accept);
    CHECK(size > 0 && (size_t)size < to_bytes);
    return (size_t)size;
}

/* 1: all bytes; otherwise how the connection ended. */
static int conn_read_exact(script_conn *conn, uint8_t *to, size_t size)
{
    while (size != 0) {
        const ssize_t got = recv(conn->fd, to, size, 0);
        if (got <= 0) {
            return got == 0 ? SCRIPT_SAW_EOF : SCRIPT_SAW_RESET;
        }
        to += got;
        size -= (size_t)got;
    }
    return 1;
}

int script_read_frames(script_conn *conn)
{
    for (;;) {
        uint8_t head[6];
        uint8_t payload[128] = {0};
        int rc = conn_read_exact(conn, head, sizeof(head));
        if (rc != 1) {
            return rc;
        }
        const size_t size = head[1] & 0x7F;
        if ((head[1] & 0x80) == 0 || size > 125) {
            return SCRIPT_SAW_NOTHING; /* not masked, or not a small frame */
        }
        rc = conn_read_exact(conn, payload, size);
        if (rc != 1) {
            return rc;
        }
        for (size_t i = 0; i < size; i++) {
            payload[i] ^= head[2 + i % 4];
        }
        if ((head[0] & 0x0F) == 8) {
            return size < 2 ? 1005 : payload[0] << 8 | payload[1];
        }
    }
}

int script_read_end(script_conn *conn)
{
    uint8_t ignored[4096];
    for (;;) {
        const ssize_t got = recv(conn->fd, ignored, sizeof(ignored), 0);
        if (got <= 0) {
            return got == 0 ? SCRIPT_SAW_EOF : SCRIPT_SAW_RESET;
        }
    }
}

void script_hold(const script_conn *conn)
{
    uint64_t one;
    struct pollfd fd = {.fd = conn->release, .events = POLLIN};
    CHECK(poll(&fd, 1, SOCKET_TIMEOUT_S * 1000) == 1);
    CHECK(read(conn->release, &one, sizeof(one)) == sizeof(one));
}

void script_reset(script_conn *conn)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    CHECK(setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
    (void)close(conn->fd);
    conn->fd = -1;
}

/* ---- An address that answers nothing ----------------------------------------------------------
 */

bool script_hole_open(script_hole *hole, int family, uint16_t port)
{
    *hole = (script_hole){.fds = {-1, -1, -1, -1}, .port = port};
    hole->fds[0] = server_bind(family, &hole->port, 0);
    if (hole->fds[0] < 0) {
        return false;
    }
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    CHECK(getsockname(hole->fds[0], (struct sockaddr *)&address, &size) == 0);
    for (size_t i = 1; i < 4; i++) { /* nobody accepts: from here on its SYNs are dropped */
        hole->fds[i] = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        CHECK(hole->fds[i] >= 0);
        CHECK(
            connect(hole->fds[i], (const struct sockaddr *)&address, size) == 0 ||
            errno == EINPROGRESS);
    }
    return true;
}

void script_hole_close(script_hole *hole)
{
    for (size_t i = 0; i < 4; i++) {
        if (hole->fds[i] >= 0) {
            (void)close(hole->fds[i]);
        }
    }
}

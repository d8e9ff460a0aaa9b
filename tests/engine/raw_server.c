/* SPDX-License-Identifier: Apache-2.0 */
/* raw_server.c - a server that stops talking where it is told. */
#include "raw_server.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <hpx/base.h>

#include "tests/support/test.h"
#include "ws/handshake.h"

/* Reads the request; its Sec-WebSocket-Key, or NULL at the end. */
static const char *raw_read_request(int fd, char *in, size_t size)
{
    size_t have = 0;
    while (have < size - 1) {
        const ssize_t got = recv(fd, in + have, size - 1 - have, 0);
        if (got <= 0) {
            return NULL;
        }
        have += (size_t)got;
        in[have] = '\0';
        if (strstr(in, "\r\n\r\n") != NULL) {
            break;
        }
    }
    const char *key = strstr(in, "Sec-WebSocket-Key: ");
    return key == NULL ? NULL : key + strlen("Sec-WebSocket-Key: ");
}

static void raw_upgrade(int fd)
{
    char in[4096];
    const char *key = raw_read_request(fd, in, sizeof(in));
    if (key == NULL) {
        return;
    }
    char accept[HPXI_WS_ACCEPT_BYTES + 1];
    hpxi_ws_accept_of(accept, key, HPXI_WS_KEY_BYTES);
    char out[256];
    const int size = snprintf(
        out,
        sizeof(out),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
        accept);
    (void)send(fd, out, (size_t)size, MSG_NOSIGNAL);
}

static void raw_refuse(int fd)
{
    static const char answer[] = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n"
                                 "Content-Length: 0\r\n\r\n";
    char in[4096];
    if (raw_read_request(fd, in, sizeof(in)) != NULL) {
        (void)send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL);
    }
}

/* Small frames, one per segment: all that the tests send. */
static void raw_answer(int fd, const uint8_t *in, size_t size)
{
    if (size < 6) {
        return;
    }
    if ((in[0] & 0x0F) == 8) {
        const uint8_t frame[] = {0x88, 2, 1000 >> 8, 1000 & 0xFF};
        (void)send(fd, frame, sizeof(frame), MSG_NOSIGNAL);
    } else if ((in[0] & 0x0F) == 9) {
        uint8_t frame[2 + 125] = {0x8A, in[1] & 0x7F};
        for (size_t i = 0; i < frame[1] && 6 + i < size; i++) {
            frame[2 + i] = in[6 + i] ^ in[2 + (i & 3)];
        }
        (void)send(fd, frame, 2u + frame[1], MSG_NOSIGNAL);
    }
}

static void raw_serve(const raw_server *server, int fd)
{
    switch (server->mode) {
    case RAW_TOO_MANY:
        raw_refuse(fd);
        return;
    case RAW_DROPS:
        raw_upgrade(fd);
        return;
    case RAW_SILENT_CLOSE:
    case RAW_ANSWERS_CLOSE:
    case RAW_DROPS_ON_BYTES:
        raw_upgrade(fd);
        break;
    case RAW_SILENT_ACCEPT:
    case RAW_SILENT_UPGRADE:
        break;
    }
    uint8_t in[4096];
    for (ssize_t got; (got = recv(fd, in, sizeof(in), 0)) > 0;) {
        if (server->mode == RAW_DROPS_ON_BYTES) {
            return;
        }
        if (server->mode == RAW_ANSWERS_CLOSE) {
            raw_answer(fd, in, (size_t)got);
        }
    }
}

static void *raw_main(void *arg)
{
    raw_server *server = arg;
    for (;;) {
        const int fd = accept(server->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        const uint32_t index = atomic_load(&server->accepted);
        if (index < RAW_TIMES_MAX) {
            atomic_store(&server->times_ns[index], hpx_clock_now_ns());
        }
        atomic_store(&server->accepted, index + 1);
        raw_serve(server, fd);
        (void)close(fd);
    }
}

void raw_server_open(raw_server *server, raw_mode mode)
{
    *server = (raw_server){.mode = mode};
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, raw_main, server), 0);
}

void raw_server_close(raw_server *server)
{
    (void)shutdown(server->listener, SHUT_RDWR);
    (void)pthread_join(server->thread, NULL);
    (void)close(server->listener);
}

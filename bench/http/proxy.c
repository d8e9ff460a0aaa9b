/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.c - a TCP proxy that delivers every byte half a round trip later, in both directions, with
 * room for as much on the way as anybody sends: a long wire, not a slow one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <hpx/base.h>

#include "bench/http/bench_http.h"

#define PIECE_BYTES 65536u

typedef struct piece {
    struct piece *next;
    uint64_t due_ns;
    size_t size;
    size_t sent;
    uint8_t bytes[PIECE_BYTES];
} piece;

typedef struct wire { /* one direction */
    int from;
    int to;
    piece *first;
    piece *last;
    bool ended;
} wire;

struct bench_proxy {
    pthread_t thread;
    int listener;
    uint16_t port;
    uint16_t target;
    uint64_t delay_ns;
    atomic_bool stops;
};

static int proxy_connect(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        abort();
    }
    return fd;
}

static void wire_read(wire *w, uint64_t delay_ns)
{
    while (!w->ended) {
        piece *p = malloc(sizeof(*p));
        const ssize_t got = recv(w->from, p->bytes, sizeof(p->bytes), MSG_DONTWAIT);
        if (got <= 0) {
            free(p);
            w->ended = got == 0 || errno != EAGAIN;
            return;
        }
        p->next = NULL;
        p->size = (size_t)got;
        p->sent = 0;
        p->due_ns = hpx_clock_now_ns() + delay_ns;
        *(w->last != NULL ? &w->last->next : &w->first) = p;
        w->last = p;
    }
}

static void wire_write(wire *w)
{
    const uint64_t now_ns = hpx_clock_now_ns();
    while (w->first != NULL && w->first->due_ns <= now_ns) {
        piece *p = w->first;
        const ssize_t sent =
            send(w->to, p->bytes + p->sent, p->size - p->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            return;
        }
        p->sent += (size_t)sent;
        if (p->sent == p->size) {
            w->first = p->next;
            w->last = w->first == NULL ? NULL : w->last;
            free(p);
        }
    }
}

static void proxy_serve(bench_proxy *proxy, int client)
{
    const int server = proxy_connect(proxy->target);
    const int on = 1;
    (void)setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    wire wires[2] = {{.from = client, .to = server}, {.from = server, .to = client}};
    while (!proxy->stops && !wires[0].ended) {
        struct pollfd fds[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
        const bool waits = wires[0].first == NULL && wires[1].first == NULL;
        (void)poll(fds, 2, waits ? 20 : 1);
        for (int i = 0; i < 2; i++) {
            wire_read(&wires[i], proxy->delay_ns);
            wire_write(&wires[i]);
        }
    }
    for (int i = 0; i < 2; i++) {
        while (wires[i].first != NULL) {
            piece *p = wires[i].first;
            wires[i].first = p->next;
            free(p);
        }
    }
    close(client);
    close(server);
}

static void *proxy_main(void *user)
{
    bench_proxy *proxy = user;
    while (!proxy->stops) {
        struct pollfd ready = {.fd = proxy->listener, .events = POLLIN};
        if (poll(&ready, 1, 20) == 1) {
            const int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
            if (client >= 0) {
                proxy_serve(proxy, client);
            }
        }
    }
    return NULL;
}

bench_proxy *bench_proxy_new(uint16_t port, uint64_t rtt_ns)
{
    bench_proxy *proxy = calloc(1, sizeof(*proxy));
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    proxy->target = port;
    proxy->delay_ns = rtt_ns / 2;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(proxy->listener, (struct sockaddr *)&address, size) != 0 ||
        listen(proxy->listener, 16) != 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&address, &size) != 0 ||
        pthread_create(&proxy->thread, NULL, proxy_main, proxy) != 0) {
        abort();
    }
    proxy->port = ntohs(address.sin_port);
    return proxy;
}

uint16_t bench_proxy_port(const bench_proxy *proxy)
{
    return proxy->port;
}

void bench_proxy_free(bench_proxy *proxy)
{
    proxy->stops = true;
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
    free(proxy);
}

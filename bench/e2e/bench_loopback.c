/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_loopback.c - the clients: raw loops, and the engine driven by the benchmark's thread.
 *
 * Threads   One.
 */
#include "bench_loopback.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <hpx/hpx.h>

#include "peers.h"

#define RAW_BUFFER_BYTES (256u << 10)

struct client {
    client_kind kind;
    int fd; /* raw */
    uint8_t *buffer;
    hpx_engine *engine; /* hpx */
    hpx_shard *shard;
    hpx_conn *conn;
    hpx_tls_context *tls;
    bool ready;
    bool closed;
    size_t bytes;
    uint64_t received;
    uint64_t received_bytes;
};

static uint64_t now_of(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * HPX_NS_PER_S + (uint64_t)now.tv_nsec;
}

static void check(hpx_status status, const hpx_error *error)
{
    if (status != HPX_OK) {
        fprintf(stderr, "bench: %s: %s\n", hpx_status_name(status), error->detail);
        exit(1);
    }
}

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    client *c = user;
    (void)conn;
    switch (event->kind) {
    case HPX_EVENT_MESSAGE:
        c->received++;
        c->received_bytes += event->payload.size;
        break;
    case HPX_EVENT_CONNECTED:
        c->ready = true;
        break;
    case HPX_EVENT_CLOSED:
        c->closed = true;
        break;
    case HPX_EVENT_DISCONNECTED:
        if (!c->ready) {
            fprintf(stderr, "bench: %s\n", event->error->detail);
            exit(1);
        }
        break;
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void open_raw(client *c, uint16_t port)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int one = 1;
    if (connect(c->fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
        perror("bench: connect");
        exit(1);
    }
}

static void open_hpx(client *c, uint16_t port, slot_sizes slots)
{
    const bool tls = c->kind == CLIENT_WSS_MULTISHOT || c->kind == CLIENT_WSS_HOT;
    const bool hot = c->kind == CLIENT_WS_HOT || c->kind == CLIENT_WSS_HOT;
    hpx_error error;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    config.wait_mode = c->kind == CLIENT_WS_SLEEP ? HPX_WAIT_SLEEP : HPX_WAIT_SPIN;
    config.recv_slot_bytes = slots.bytes;
    config.recv_slot_count = slots.count;
    check(hpx_engine_new(&c->engine, &config, &error), &error);
    check(hpx_engine_start(c->engine, &error), &error);
    c->shard = hpx_engine_shard(c->engine, 0);
    check(hpx_shard_attach(c->shard, &error), &error);
    if (tls) {
        hpx_tls_config tls_config = HPX_TLS_CONFIG_INIT;
        tls_config.ca_file = peer_ca_file();
        check(hpx_tls_client_context_new(&c->tls, &tls_config, &error), &error);
    }
    char url[64];
    (void)snprintf(url, sizeof(url), "%s://127.0.0.1:%u/", tls ? "wss" : "ws", port);
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = url;
    ws.tls = c->tls;
    ws.on_event = on_event;
    ws.user = c;
    ws.receive_mode = hot ? HPX_RECEIVE_HOT : HPX_RECEIVE_MULTISHOT;
    check(hpx_shard_connect(c->shard, &ws, &c->conn, &error), &error);
    while (!c->ready) {
        (void)hpx_shard_poll(c->shard);
    }
}

client *client_open(client_kind kind, uint16_t port, slot_sizes slots)
{
    client *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        abort();
    }
    c->kind = kind;
    c->fd = -1;
    c->buffer = malloc(RAW_BUFFER_BYTES);
    memset(c->buffer, 'x', RAW_BUFFER_BYTES);
    if (kind == CLIENT_RAW || kind == CLIENT_RAW_BLOCKING) {
        open_raw(c, port);
    } else {
        open_hpx(c, port, slots);
    }
    return c;
}

void client_close(client *c)
{
    if (c->engine != NULL) {
        (void)hpx_shard_detach_wait(c->shard, 0);
        hpx_engine_free(c->engine);
        hpx_tls_context_release(c->tls);
    } else {
        (void)close(c->fd);
    }
    free(c->buffer);
    free(c);
}

/* ---- Round trips ----------------------------------------------------------------------------- */

static void ping_raw(client *c)
{
    size_t got = 0;
    if (send(c->fd, c->buffer, c->bytes, MSG_NOSIGNAL) != (ssize_t)c->bytes) {
        perror("bench: send");
        exit(1);
    }
    const int flags = c->kind == CLIENT_RAW ? MSG_DONTWAIT : 0;
    while (got < c->bytes) {
        const ssize_t n = recv(c->fd, c->buffer, RAW_BUFFER_BYTES, flags);
        if (n > 0) {
            got += (size_t)n;
        } else if (n == 0 || errno != EAGAIN) {
            perror("bench: recv");
            exit(1);
        }
    }
}

static void ping_hpx(client *c)
{
    const uint64_t before = c->received;
    const hpx_span payload = {.data = c->buffer, .size = c->bytes};
    if (hpx_conn_send(c->conn, HPX_MESSAGE_BINARY, payload) != HPX_OK) {
        fprintf(stderr, "bench: send refused\n");
        exit(1);
    }
    while (c->received == before && !c->closed) {
        (void)hpx_shard_poll_wait(c->shard, HPX_NS_PER_S);
    }
}

void client_ping(client *c, size_t bytes, uint32_t count, uint64_t *samples)
{
    c->bytes = bytes;
    uint64_t start = now_of(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < count; i++) {
        if (c->engine != NULL) {
            ping_hpx(c);
        } else {
            ping_raw(c);
        }
        const uint64_t end = now_of(CLOCK_MONOTONIC);
        samples[i] = end - start;
        start = end;
    }
}

/* ---- Floods ---------------------------------------------------------------------------------- */

/* Receives 256 KiB at a time and walks the frame headers: what any receiver has to do at least. */
static void flood_raw(client *c, uint64_t until)
{
    size_t skip = 0; /* of the frame that the last read ended in */
    uint8_t head[4];
    size_t head_have = 0;
    while (now_of(CLOCK_MONOTONIC) < until) {
        const ssize_t got = recv(c->fd, c->buffer, RAW_BUFFER_BYTES, 0);
        if (got <= 0) {
            continue;
        }
        size_t at = 0;
        while (at < (size_t)got) {
            if (skip != 0) {
                const size_t take = skip < (size_t)got - at ? skip : (size_t)got - at;
                at += take;
                skip -= take;
                continue;
            }
            head[head_have++] = c->buffer[at++];
            if (head_have == sizeof(head)) {
                skip = (size_t)head[2] << 8 | head[3];
                head_have = 0;
                c->received++;
                c->received_bytes += skip;
            }
        }
    }
}

void client_flood(client *c, uint64_t ns, flood_result *out)
{
    if (c->engine == NULL && c->received == 0 &&
        send(c->fd, c->buffer, 1, MSG_NOSIGNAL) != 1) { /* tells the peer to begin */
        perror("bench: send");
        exit(1);
    }
    const uint64_t messages = c->received;
    const uint64_t bytes = c->received_bytes;
    const uint64_t cpu = now_of(CLOCK_THREAD_CPUTIME_ID);
    const uint64_t start = now_of(CLOCK_MONOTONIC);
    if (c->engine == NULL) {
        flood_raw(c, start + ns);
    } else {
        while (now_of(CLOCK_MONOTONIC) < start + ns) {
            (void)hpx_shard_poll_wait(c->shard, HPX_NS_PER_MS);
        }
    }
    *out = (flood_result){
        .messages = c->received - messages,
        .bytes = c->received_bytes - bytes,
        .wall_ns = now_of(CLOCK_MONOTONIC) - start,
        .cpu_ns = now_of(CLOCK_THREAD_CPUTIME_ID) - cpu,
    };
}

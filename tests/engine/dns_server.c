/* SPDX-License-Identifier: Apache-2.0 */
/* dns_server.c - the scripts of dns_server.h. Trusts its client: it is our own resolver. */
#include "tests/engine/dns_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TYPE_A     1
#define TYPE_CNAME 5
#define TYPE_AAAA  28

#define RCODE_SERVFAIL 2
#define RCODE_NXDOMAIN 3

#define CHECK(e)                                                                                   \
    do {                                                                                           \
        if (!(e)) {                                                                                \
            fprintf(stderr, "dns_server.c:%d: %s\n", __LINE__, #e);                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct packet {
    size_t size;
    uint8_t bytes[2048];
} packet;

typedef struct question {
    char name[256];
    uint16_t type;
    size_t size; /* of header and question */
} question;

static uint64_t server_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void put(packet *out, const void *bytes, size_t size)
{
    CHECK(out->size + size <= sizeof(out->bytes));
    memcpy(out->bytes + out->size, bytes, size);
    out->size += size;
}

static void put_u16(packet *out, uint32_t value)
{
    const uint8_t bytes[2] = {(uint8_t)(value >> 8), (uint8_t)value};
    put(out, bytes, sizeof(bytes));
}

static void put_u32(packet *out, uint32_t value)
{
    put_u16(out, value >> 16);
    put_u16(out, value & 0xFFFF);
}

static void put_name(packet *out, const char *name)
{
    for (const char *at = name; *at != '\0';) {
        const size_t label = strcspn(at, ".");
        const uint8_t size = (uint8_t)label;
        put(out, &size, 1);
        put(out, at, label);
        at += at[label] == '.' ? label + 1 : label;
    }
    put(out, "", 1);
}

/* A record of `owner`, or of the name asked when that is NULL. Counts it in the header. */
static void put_record(
    packet *out, const char *owner, uint16_t type, uint32_t ttl, const void *data, size_t size)
{
    if (owner == NULL) {
        put_u16(out, 0xC00C);
    } else {
        put_name(out, owner);
    }
    put_u16(out, type);
    put_u16(out, 1);
    put_u32(out, ttl);
    put_u16(out, (uint32_t)size);
    put(out, data, size);
    out->bytes[7]++;
}

static void put_alias(packet *out, const char *owner, uint32_t ttl, const char *target)
{
    packet name = {0};
    put_name(&name, target);
    put_record(out, owner, TYPE_CNAME, ttl, name.bytes, name.size);
}

/* 192.0.2.<last> or 2001:db8::<last>, as asked. */
static void put_address(packet *out, const char *owner, uint16_t type, uint32_t ttl, uint32_t last)
{
    uint8_t v4[4] = {192, 0, 2, (uint8_t)last};
    uint8_t v6[16] = {0x20, 0x01, 0x0d, 0xb8};
    v6[15] = (uint8_t)last;
    if (type == TYPE_A) {
        put_record(out, owner, type, ttl, v4, sizeof(v4));
    } else {
        put_record(out, owner, type, ttl, v6, sizeof(v6));
    }
}

static bool parse(question *out, const uint8_t *bytes, size_t size)
{
    if (size < 17) {
        return false;
    }
    size_t at = 12;
    size_t to = 0;
    while (at < size && bytes[at] != 0) {
        const size_t label = bytes[at];
        CHECK(at + 1 + label < size);
        CHECK(to + label + 2 < sizeof(out->name));
        if (to != 0) {
            out->name[to++] = '.';
        }
        memcpy(out->name + to, bytes + at + 1, label);
        to += label;
        at += 1 + label;
    }
    out->name[to] = '\0';
    CHECK(at + 5 <= size);
    out->type = (uint16_t)(bytes[at + 1] << 8 | bytes[at + 2]);
    out->size = at + 5;
    return true;
}

static bool starts(const question *q, const char *prefix)
{
    return strncmp(q->name, prefix, strlen(prefix)) == 0;
}

/* The records that a name has, whatever the transport. */
static void script(packet *out, const question *q)
{
    unsigned number = 0;
    if (starts(q, "nx.")) {
        out->bytes[3] |= RCODE_NXDOMAIN;
    } else if (starts(q, "servfail.")) {
        out->bytes[3] |= RCODE_SERVFAIL;
    } else if (starts(q, "aaaa.")) {
        if (q->type == TYPE_AAAA) {
            put_address(out, NULL, q->type, 300, 1);
        }
    } else if (starts(q, "both.")) {
        for (uint32_t i = 1; i <= (q->type == TYPE_A ? 3u : 2u); i++) {
            put_address(out, NULL, q->type, 300, i);
        }
    } else if (starts(q, "many.") || starts(q, "tc")) {
        for (uint32_t i = 1; i <= 20; i++) {
            put_address(out, NULL, q->type, 300, i);
        }
    } else if (starts(q, "cname.")) {
        put_alias(out, NULL, 20, "alias.test");
        put_alias(out, "alias.test", 10, "target.test");
        if (q->type == TYPE_A) {
            put_address(out, "target.test", q->type, 300, 7);
        }
    } else if (q->type == TYPE_A && sscanf(q->name, "ttl%u.test", &number) == 1) {
        put_address(out, NULL, q->type, number, 1);
    } else if (q->type == TYPE_A && sscanf(q->name, "p%u.test", &number) == 1) {
        const uint8_t v4[4] = {10, 0, (uint8_t)(number / 256), (uint8_t)(number % 256)};
        put_record(out, NULL, q->type, 300, v4, sizeof(v4));
    } else if (starts(q, "malformed.")) {
        put_address(out, NULL, q->type, 300, 1);
        out->size -= 2;
    } else if (q->type == TYPE_A && !starts(q, "nodata.")) {
        put_address(out, NULL, q->type, 300, 1);
    }
}

static void answer(packet *out, const uint8_t *asked, const question *q)
{
    *out = (packet){0};
    put(out, asked, q->size);
    out->bytes[2] = 0x81;         /* response, recursion desired */
    out->bytes[3] = 0x80;         /* recursion available */
    memset(out->bytes + 6, 0, 6); /* no records yet; drops the OPT record of newer c-ares */
    script(out, q);
}

static void server_delay(
    dns_server *server, const packet *out, const struct sockaddr_storage *to, socklen_t to_size)
{
    CHECK(server->delayed_count < DNS_SERVER_DELAYED_MAX);
    dns_delayed *delayed = &server->delayed[server->delayed_count++];
    CHECK(out->size <= sizeof(delayed->bytes));
    CHECK(to_size <= sizeof(delayed->to));
    delayed->due_ms = server_now_ms() + DNS_SERVER_SLOW_MS;
    delayed->size = out->size;
    memcpy(delayed->bytes, out->bytes, out->size);
    memcpy(delayed->to, to, to_size);
    delayed->to_size = to_size;
}

static void server_on_udp(dns_server *server)
{
    uint8_t asked[1024];
    struct sockaddr_storage from;
    socklen_t from_size = sizeof(from);
    const ssize_t size = recvfrom(
        server->udp, asked, sizeof(asked), MSG_DONTWAIT, (struct sockaddr *)&from, &from_size);
    question q;
    if (size < 0 || !parse(&q, asked, (size_t)size)) {
        return;
    }
    atomic_fetch_add(&server->questions, 1);
    if (starts(&q, "silent") || (starts(&q, "half.") && q.type == TYPE_AAAA)) {
        return;
    }
    packet out;
    answer(&out, asked, &q);
    if (starts(&q, "slow")) {
        server_delay(server, &out, &from, from_size);
        return;
    }
    if (starts(&q, "tc")) {
        out.size = q.size;
        out.bytes[2] |= 0x02; /* truncated */
        memset(out.bytes + 6, 0, 6);
    }
    if (starts(&q, "noise.")) {
        packet stale = out;
        stale.bytes[0] ^= 0xFF; /* the answer to another question */
        stale.bytes[stale.size - 1] ^= 0xFF;
        sendto(server->udp, "", 0, 0, (struct sockaddr *)&from, from_size);
        sendto(server->udp, stale.bytes, stale.size, 0, (struct sockaddr *)&from, from_size);
    }
    if (starts(&q, "garbage.")) {
        const packet garbage = {.size = 200, .bytes = {0xFF, 0xFE, 0x01}};
        sendto(server->udp, "xyz", 3, 0, (struct sockaddr *)&from, from_size);
        sendto(server->udp, garbage.bytes, garbage.size, 0, (struct sockaddr *)&from, from_size);
    }
    sendto(server->udp, out.bytes, out.size, 0, (struct sockaddr *)&from, from_size);
}

/* Written in pieces, the first of them half of the length. False when the client is gone. */
static bool server_send_tcp(dns_server *server, int client, const uint8_t *bytes, size_t size)
{
    const uint32_t hold = atomic_load(&server->hold);
    if (hold != 0) {
        CHECK(server->held_size + size <= sizeof(server->held));
        memcpy(server->held + server->held_size, bytes, size);
        server->held_size += size;
        if (++server->held_count < hold) {
            return true;
        }
        const ssize_t all = (ssize_t)server->held_size;
        server->held_size = 0;
        server->held_count = 0;
        return send(client, server->held, (size_t)all, MSG_NOSIGNAL) == all;
    }
    for (size_t at = 0; at < size;) {
        const size_t left = size - at;
        const size_t piece = at == 0 ? 1 : 100;
        const ssize_t sent = send(client, bytes + at, left < piece ? left : piece, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += (size_t)sent;
    }
    return true;
}

/* One question; the client is gone when it says so, or stops in the middle. */
static bool server_on_tcp(dns_server *server, int client)
{
    uint8_t asked[1026];
    if (recv(client, asked, 2, MSG_WAITALL) != 2) {
        return false;
    }
    const size_t size = (size_t)(asked[0] << 8 | asked[1]);
    CHECK(size <= 1024);
    if (recv(client, asked + 2, size, MSG_WAITALL) != (ssize_t)size) {
        return false;
    }
    question q;
    CHECK(parse(&q, asked + 2, size));
    atomic_fetch_add(&server->questions, 1);
    atomic_fetch_add(&server->questions_tcp, 1);
    packet out;
    answer(&out, asked + 2, &q);
    uint8_t framed[2 + sizeof(out.bytes)];
    framed[0] = (uint8_t)(out.size >> 8);
    framed[1] = (uint8_t)out.size;
    memcpy(framed + 2, out.bytes, out.size);
    return server_send_tcp(server, client, framed, out.size + 2);
}

static void server_accept(dns_server *server)
{
    const int client = accept4(server->tcp, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) {
        return;
    }
    CHECK(server->client_count < DNS_SERVER_CLIENTS_MAX);
    const int on = 1;
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    server->clients[server->client_count++] = client;
}

/* Sends what is due. Returns the time until the next is, in ms; -1: nothing waits. */
static int server_send_delayed(dns_server *server)
{
    const uint64_t now_ms = server_now_ms();
    uint64_t wait_ms = UINT64_MAX;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < server->delayed_count; i++) {
        dns_delayed *delayed = &server->delayed[i];
        if (delayed->due_ms <= now_ms) {
            struct sockaddr_storage to;
            memcpy(&to, delayed->to, delayed->to_size);
            sendto(
                server->udp,
                delayed->bytes,
                delayed->size,
                0,
                (struct sockaddr *)&to,
                delayed->to_size);
            continue;
        }
        const uint64_t left_ms = delayed->due_ms - now_ms;
        wait_ms = left_ms < wait_ms ? left_ms : wait_ms;
        server->delayed[kept++] = *delayed;
    }
    server->delayed_count = kept;
    return wait_ms == UINT64_MAX ? -1 : (int)wait_ms;
}

static void *server_run(void *argument)
{
    dns_server *server = argument;
    for (;;) {
        struct pollfd fds[3 + DNS_SERVER_CLIENTS_MAX] = {
            {.fd = server->stop, .events = POLLIN},
            {.fd = server->udp, .events = POLLIN},
            {.fd = server->tcp, .events = POLLIN},
        };
        const uint32_t clients = server->client_count;
        for (uint32_t i = 0; i < clients; i++) {
            fds[3 + i] = (struct pollfd){.fd = server->clients[i], .events = POLLIN};
        }
        poll(fds, 3 + clients, server_send_delayed(server));
        if (fds[0].revents != 0) {
            return NULL;
        }
        if (fds[1].revents != 0) {
            server_on_udp(server);
        }
        uint32_t kept = 0;
        for (uint32_t i = 0; i < clients; i++) {
            if (fds[3 + i].revents != 0 && !server_on_tcp(server, server->clients[i])) {
                close(server->clients[i]);
                continue;
            }
            server->clients[kept++] = server->clients[i];
        }
        server->client_count = kept;
        if (fds[2].revents != 0) {
            server_accept(server);
        }
    }
}

void dns_server_start(dns_server *server)
{
    *server = (dns_server){0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    /* A port that is free for both: the kernel picks UDP's, and TCP's has to fit. */
    for (int attempt = 0;; attempt++) {
        CHECK(attempt < 100);
        server->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        server->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(server->udp >= 0);
        CHECK(server->tcp >= 0);
        address.sin_port = 0;
        CHECK(bind(server->udp, (struct sockaddr *)&address, sizeof(address)) == 0);
        CHECK(getsockname(server->udp, (struct sockaddr *)&address, &size) == 0);
        if (bind(server->tcp, (struct sockaddr *)&address, sizeof(address)) == 0) {
            break;
        }
        close(server->udp);
        close(server->tcp);
    }
    CHECK(listen(server->tcp, 16) == 0);
    const int bytes = 4 << 20; /* hundreds of questions at once */
    if (setsockopt(server->udp, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
        setsockopt(server->udp, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    server->port = ntohs(address.sin_port);
    server->stop = eventfd(0, EFD_CLOEXEC);
    CHECK(server->stop >= 0);
    CHECK(pthread_create(&server->thread, NULL, server_run, server) == 0);
}

void dns_server_stop(dns_server *server)
{
    const uint64_t one = 1;
    CHECK(write(server->stop, &one, sizeof(one)) == sizeof(one));
    CHECK(pthread_join(server->thread, NULL) == 0);
    for (uint32_t i = 0; i < server->client_count; i++) {
        close(server->clients[i]);
    }
    close(server->udp);
    close(server->tcp);
    close(server->stop);
}

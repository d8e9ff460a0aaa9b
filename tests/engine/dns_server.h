/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_server.h - a name server on loopback, UDP and TCP, whose answers follow from the name asked.
 *
 *   a.test        one A             nx.*          NXDOMAIN
 *   aaaa.test     one AAAA          nodata.test   NOERROR, no record
 *   both.test     3 A, 2 AAAA       servfail.test SERVFAIL
 *   many.test     20 A, 20 AAAA     silent*       no answer, ever
 *   cname.test    2 aliases to A    half.test     one A; no answer for AAAA
 *   ttlN.test     A with TTL N      malformed.test  a record that ends behind the packet
 *   pN.test       10.0.N/256.N%256  noise.test    an empty and a stale datagram, then the answer
 *                                   garbage.test  what is no DNS message, then the answer
 *   tcN.test      truncated; over TCP 20 A, 20 AAAA, written in small pieces
 *   slow*         one A, DNS_SERVER_SLOW_MS later
 *
 * Threads   The server has one of its own. Counters may be read from any thread.
 */
#ifndef HPX_TESTS_DNS_SERVER_H
#define HPX_TESTS_DNS_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#define DNS_SERVER_SLOW_MS     60
#define DNS_SERVER_DELAYED_MAX 64
#define DNS_SERVER_CLIENTS_MAX 16

typedef struct dns_server dns_server;

typedef struct dns_delayed {
    uint64_t due_ms;
    size_t size;
    uint8_t bytes[512];
    uint8_t to[32];
    uint32_t to_size;
} dns_delayed;

struct dns_server {
    uint16_t port;
    _Atomic uint32_t questions;     /* over UDP and TCP */
    _Atomic uint32_t questions_tcp; /* of these, over TCP */
    _Atomic uint32_t hold;          /* keep TCP answers back until there are that many; 0: do not */
    int udp;
    int tcp;
    int stop; /* eventfd */
    pthread_t thread;
    int clients[DNS_SERVER_CLIENTS_MAX];
    uint32_t client_count;
    dns_delayed delayed[DNS_SERVER_DELAYED_MAX];
    uint32_t delayed_count;
    uint8_t held[64 * 1024];
    size_t held_size;
    uint32_t held_count;
};

void dns_server_start(dns_server *server);
void dns_server_stop(dns_server *server);

#endif /* HPX_TESTS_DNS_SERVER_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - a socket under a session, as little as a test against other programs needs: a client on
 * the test's thread, and a server on a thread of its own.
 *
 *   GET /N        N bytes: byte i is (uint8_t)(i * 31)
 *   GET /early    103, then 200 "early"
 *   GET /trailers "body", then the trailer sum=42
 *   POST          how many bytes came, in decimal
 */
#ifndef HPX_TESTS_H2_WIRE_H
#define HPX_TESTS_H2_WIRE_H

#include <pthread.h>
#include <stdatomic.h>

#include "tests/h2/duo.h"

#define WIRE_CONNECTIONS 64u

typedef struct wire {
    duo_side side;
    int fd;
    bool is_at_end; /* the peer closed */
    uint64_t now_ns;
    failing_allocator memory;
    hpx_allocator allocator;
} wire;

/* Connects, trying again until the peer listens. NULL config: the defaults. */
void wire_connect(wire *w, uint16_t port, const hpxi_h2_config *config);

/* Sends and receives until so many streams have got their CLOSED since wire_connect(), or the
 * connection ended; fails the test at a deadline. */
void wire_run_until_closed(wire *w, uint32_t closed_count);

/* The same until `done` says so. */
void wire_run(wire *w, bool (*done)(const wire *w));

/* Checks that nothing is left. */
void wire_close(wire *w);

typedef struct wire_server {
    pthread_t thread;
    int listener;
    uint16_t port;
    atomic_bool stops;
    atomic_uint requests;
    atomic_uint failures; /* connections that failed otherwise than by the peer's end */
    failing_allocator memory;
    hpx_allocator allocator;
} wire_server;

void wire_server_start(wire_server *server);

/* Checks that nothing is left and that no connection failed. */
void wire_server_stop(wire_server *server);

#endif /* HPX_TESTS_H2_WIRE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw_server.h - a server of the tests' own on plain sockets, that stops talking where it is told.
 *
 * Threads   Opened and closed by the test; serves one connection after the other on its own.
 */
#ifndef HPX_TESTS_RAW_SERVER_H
#define HPX_TESTS_RAW_SERVER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

typedef enum raw_mode {
    RAW_SILENT_ACCEPT,  /* accepts, says nothing */
    RAW_SILENT_UPGRADE, /* reads the request, does not answer */
    RAW_SILENT_CLOSE,   /* upgrades, then never says a word: no pong, no CLOSE */
    RAW_ANSWERS_CLOSE,  /* upgrades, answers PING with PONG and CLOSE with CLOSE, then ends */
    RAW_DROPS,          /* upgrades, and drops at once */
    RAW_DROPS_ON_BYTES, /* upgrades, and drops when the first frame comes */
    RAW_TOO_MANY,       /* answers 429 with Retry-After: 1 */
} raw_mode;

#define RAW_TIMES_MAX 64u

typedef struct raw_server {
    raw_mode mode;
    int listener;
    uint16_t port;
    pthread_t thread;
    _Atomic uint32_t accepted;
    _Atomic uint64_t times_ns[RAW_TIMES_MAX]; /* of the first accepts */
} raw_server;

void raw_server_open(raw_server *server, raw_mode mode);
void raw_server_close(raw_server *server);

#endif /* HPX_TESTS_RAW_SERVER_H */

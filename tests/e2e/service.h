/* SPDX-License-Identifier: Apache-2.0 */
/*
 * service.h - our server role as an application would write it: an engine whose shard listens in
 * plain and TLS, and a log of what it saw.
 *
 *   /echo          every message comes back
 *   /close         closes with 4002 "enough" at the first message
 *   /push          sends "one", "two" and 70000 bytes at once
 *
 * Threads   Handlers run on the shard's thread and only append to the log; the test reads it.
 */
#ifndef HPX_TESTS_E2E_SERVICE_H
#define HPX_TESTS_E2E_SERVICE_H

#include <pthread.h>

#include <hpx/hpx.h>

#include "tests/support/failing_allocator.h"

#define SERVICE_LINES_MAX  256
#define SERVICE_LINE_BYTES 256

typedef struct e2e_service {
    hpx_engine *engine;
    hpx_tls_context *tls;
    hpx_receive_mode mode;
    uint16_t port;
    uint16_t tls_port;
    failing_allocator memory;
    int descriptors;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    uint32_t written;
    uint32_t taken;
    char lines[SERVICE_LINES_MAX][SERVICE_LINE_BYTES];
    hpx_error listen_error;
} e2e_service;

/* Certificate and key of the TLS port from FOLDER (see servers/make_certs.sh). */
void service_start(e2e_service *service, const char *folder, hpx_receive_mode mode);

/* Stops the engine (1001 to those connected), checks that nothing is left. The log stays readable. */
void service_stop(e2e_service *service);

/*
 * The next line of the log; fails the test if none comes in time.
 *   "open TARGET SUBPROTOCOL tls|plain"
 *   "end STATUS STAGE CODE DETAIL"      DISCONNECTED
 *   "closed"                            CLOSED: its descriptor is closed, too
 */
const char *service_next(e2e_service *service);

#endif /* HPX_TESTS_E2E_SERVICE_H */

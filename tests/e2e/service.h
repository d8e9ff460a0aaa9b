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

#define SERVICE_VISITS_MAX 256
#define SERVICE_LINE_BYTES 256

/* What the log holds of each visit, a connection that became a WebSocket. */
typedef enum service_what {
    SERVICE_OPEN = 0, /* "TARGET SUBPROTOCOL tls|plain" */
    SERVICE_END,      /* "STATUS STAGE CODE DETAIL" of DISCONNECTED */
    SERVICE_CLOSED,   /* "" at CLOSED: its descriptor is closed, too */
} service_what;

#define SERVICE_WHATS 3

typedef struct e2e_service {
    hpx_engine *engine;
    hpx_tls_context *tls;
    hpx_receive_mode mode;
    uint16_t port;
    uint16_t tls_port;
    failing_allocator memory;
    uint32_t descriptors;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    uint32_t visits;
    struct {
        uint32_t count;
        char lines[SERVICE_WHATS][SERVICE_LINE_BYTES];
    } log[SERVICE_VISITS_MAX];
    char failure[SERVICE_LINE_BYTES]; /* of a handler */
    hpx_error listen_error;
} e2e_service;

/* Certificate and key of the TLS port from FOLDER (see servers/make_certs.sh). */
void service_start(e2e_service *service, const char *folder, hpx_receive_mode mode);

/* Stops the engine (1001 to those connected), checks that nothing is left. The log stays readable.
 */
void service_stop(e2e_service *service);

/* What is told of the visit (they are numbered from 0 in the order in which they came); fails the
 * test if it is not there in time. */
const char *service_told(e2e_service *service, uint32_t visit, service_what what);

#endif /* HPX_TESTS_E2E_SERVICE_H */

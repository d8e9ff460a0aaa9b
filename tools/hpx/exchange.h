/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.h - the exchange simulator: a WebSocket server that speaks JSON-RPC and publishes a
 * simulated market, and a REST side (rest.h).
 *
 * Threads   One thread makes, turns and frees an exchange; it is its shard's owner.
 * Memory    Per connection one session (about 700 bytes) and the engine's send queue, at most
 *           EXCHANGE_QUEUE_BYTES. Nothing is allocated per update.
 */
#ifndef HPX_TOOL_EXCHANGE_H
#define HPX_TOOL_EXCHANGE_H

#include <hpx/hpx.h>

#include "market.h"
#include "polled.h"

#define EXCHANGE_QUEUE_BYTES   (UINT64_C(16) << 20)
#define EXCHANGE_SKIPPED_MAX   10000u /* updates not queued in a row: closed with 1008 */
#define EXCHANGE_RATE_MAX      UINT64_C(10000000)
#define EXCHANGE_ADDRESS_BYTES 256

typedef struct exchange exchange;

typedef struct exchange_config {
    const char *listen;    /* ADDR:PORT */
    const char *cert_file; /* both NULL: plain TCP */
    const char *key_file;
    const char *symbols; /* for market_init() */
    uint64_t seed;
    uint64_t rate;             /* updates per second, all topics together; 0: none */
    uint32_t cpu;              /* POLLED_CPU_NONE: not pinned */
    bool requires_auth;        /* subscriptions too need public/auth first */
    bool takes_faults;         /* the methods test/fault and test/state are there */
    const char *const *faults; /* on from the start; faults.h has their grammar */
    uint32_t fault_count;
    const char *rest;          /* ADDR:PORT of the REST side; NULL: none */
    uint64_t rest_limit;       /* its requests per second; 0: no limit */
} exchange_config;

typedef struct exchange_stats {
    uint64_t sessions;    /* connected now */
    uint64_t published;   /* updates of the market */
    uint64_t queued;      /* copies handed to connections */
    uint64_t skipped;     /* copies left out because a client was slow */
    uint64_t late;        /* updates given up because this thread could not keep the rate */
    uint64_t requests;    /* JSON-RPC messages taken */
    uint64_t closed_slow; /* connections closed for being slow */
    uint64_t rest;        /* requests to the REST side */
} exchange_stats;

/* Make it, attach the calling thread and listen. `config` is borrowed for the call. */
hpx_status exchange_new(exchange **out, const exchange_config *config, hpx_error *error);

/* Close its connections (1001) and free it; NULL is a no-op. */
void exchange_free(exchange *ex);

/* HOST:PORT that it listens on. Borrowed. */
const char *exchange_address(const exchange *ex);
uint16_t exchange_port(const exchange *ex);

/* HOST:PORT of the REST side; "" without one. Borrowed. */
const char *exchange_rest_address(const exchange *ex);

/* For hpx_shard_wake(). */
hpx_shard *exchange_shard(const exchange *ex);

/* Publish what is due, serve what came in, wait at most `wait_ns`. */
void exchange_turn(exchange *ex, uint64_t wait_ns);

exchange_stats exchange_get_stats(const exchange *ex);

#endif /* HPX_TOOL_EXCHANGE_H */

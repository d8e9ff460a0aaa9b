/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolver_bed.h - a shard's worth of machinery around one resolver: ring, wheel, clock, turns.
 *
 * Role      The clock is CLOCK_MONOTONIC plus what the test adds, so that it can let a TTL pass.
 *           resolver_bed_close() checks what must hold after every test: polls home, nothing in
 *           flight, no descriptor and no block of memory left.
 * Threads   One, and the name server's.
 */
#ifndef HPX_TESTS_RESOLVER_BED_H
#define HPX_TESTS_RESOLVER_BED_H

#include "engine/resolver.h"
#include "tests/engine/dns_server.h"
#include "tests/support/failing_allocator.h"

typedef struct resolver_bed {
    dns_server server;
    failing_allocator memory;
    hpx_allocator allocator;
    hpxi_counters counters;
    hpxi_ring *ring;
    hpxi_wheel wheel;
    uint64_t now_ns;
    uint64_t ahead_ns; /* of the real clock */
    uint32_t descriptors;
    hpxi_resolver *resolver;
    char servers[128];
    char hosts_path[64]; /* a file that does not exist, unless the test writes it */
} resolver_bed;

/* A query and its outcome. */
typedef struct ask {
    hpxi_query query;
    resolver_bed *bed;
    uint32_t called;
    uint64_t called_ns;
    hpx_status status;
    hpxi_addresses addresses;
    char detail[HPX_ERROR_DETAIL_BYTES];
    void (*then)(struct ask *ask); /* run in the callback, may be NULL */
    void *context;
} ask;

/* `cache_entries` 0: no cache. */
void resolver_bed_open(resolver_bed *bed, uint32_t cache_entries);
void resolver_bed_close(resolver_bed *bed);

void resolver_bed_new_resolver(resolver_bed *bed, uint32_t cache_entries);

/* One turn of a shard; sleeps up to a few milliseconds when there is nothing to do. */
void resolver_bed_turn(resolver_bed *bed);

/* Turns until all have been called, for at most ten seconds. */
void resolver_bed_run(resolver_bed *bed, const ask *asks, uint32_t count);

/* Turns for a while. */
void resolver_bed_idle(resolver_bed *bed, uint64_t time_ns);

void resolver_bed_ask(
    resolver_bed *bed, ask *ask, const char *host, uint16_t port, uint64_t timeout_ns);

/* Ask and wait; the outcome is in `ask`. Returns the number of questions the server got. */
uint32_t resolver_bed_resolve(resolver_bed *bed, ask *ask, const char *host);

/* Turns until the server has had that many questions; fails if there are more. */
void resolver_bed_await_questions(resolver_bed *bed, uint32_t count);

/* The answer is these addresses: text, in order, separated by blanks. */
void resolver_bed_assert_addresses(const ask *ask, const char *expected);

#endif /* HPX_TESTS_RESOLVER_BED_H */

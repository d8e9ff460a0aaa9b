/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resolver.h - names to addresses with c-ares, driven by the shard's ring and timer wheel.
 *
 * Role      A and AAAA are asked together, and A alone as well if that takes over 300 ms, because
 *           c-ares holds a known A back for an AAAA that is never answered. Numeric hosts,
 *           localhost names (RFC 6761) and names in the hosts file need no query. Answers are
 *           cached for their TTL (bounded, LRU), failures are not. Queries for a name that is
 *           being asked already share its answer. No blocking call, no helper thread. All of
 *           c-ares' sockets are made and used through ring/net.h and watched through
 *           hpxi_ring_poll().
 * Threads   The shard's.
 * Memory    c-ares allocates per query; the cache is bounded by cache_entries, names being asked by
 *           HPXI_RESOLVER_LOOKUPS_MAX: more fail at once with HPX_E_DNS_FAILED.
 */
#ifndef HPXI_RESOLVER_H
#define HPXI_RESOLVER_H

#include "ring/net.h"
#include "ring/ring.h"
#include "ring/wheel.h"

#define HPXI_ADDRESSES_MAX 16u

#define HPXI_RESOLVER_LOOKUPS_MAX 256u
/* Polls in flight at most; each may have one cancel. For the sum in hpxi_ring_config.ops_max. */
#define HPXI_RESOLVER_POLLS_MAX 256u

typedef struct hpxi_resolver hpxi_resolver;

typedef struct hpxi_addresses {
    uint32_t count;
    hpxi_address list[HPXI_ADDRESSES_MAX]; /* RFC 8305 section 4 order: families interleaved, v6
                                              first; ports set */
} hpxi_addresses;

typedef struct hpxi_query hpxi_query;
/* Called once, from hpxi_resolver_completion(), _settle() or a timer; never from inside
 * hpxi_query_start(). status: HPX_OK, HPX_E_DNS_NOT_FOUND, HPX_E_DNS_FAILED, HPX_E_DNS_TIMEOUT.
 * `addresses` (empty unless HPX_OK) and `detail` (names host and cause, "" if HPX_OK) are never
 * NULL and borrowed for the call. The query is not active any more: it may be freed or started. */
typedef void (*hpxi_query_fn)(
    hpxi_query *query, hpx_status status, const hpxi_addresses *addresses, const char *detail);

/* A member of the asking object, zeroed before its first use; must not move while active. */
struct hpxi_query {
    hpxi_query_fn done;
    void *owner;
    hpxi_resolver *resolver;
    hpxi_query *next; /* private from here on */
    hpxi_query *prev;
    bool active;
    uint16_t port;
    uint32_t lookup; /* index of the lookup that it waits for */
    hpxi_timer timeout;
};

typedef struct hpxi_resolver_config {
    const char *servers;    /* "ADDR[:PORT],...", NULL: the system's */
    uint32_t cache_entries; /* 0: no cache */
    const char *hosts_path; /* borrowed for the resolver's life; NULL: /etc/hosts */
} hpxi_resolver_config;

/* Reads resolv.conf (once, before the loop). `now_ns` points to the shard's turn clock. */
hpx_status hpxi_resolver_new(
    hpxi_resolver **out,
    const hpxi_resolver_config *config,
    hpxi_ring *ring,
    hpxi_wheel *wheel,
    const uint64_t *now_ns,
    const hpx_allocator *allocator,
    hpx_error *error);

/* NULL is fine. Queries still active get no callback. Polls in flight are cancelled, but their
 * final completions are still to come and must not be routed to this resolver any more. Not from
 * inside a callback. */
void hpxi_resolver_free(hpxi_resolver *resolver);

/* Start a query. Its callback comes later, at most timeout_ns from now. */
void hpxi_query_start(
    hpxi_resolver *resolver,
    hpxi_query *query,
    const char *host,
    uint16_t port,
    uint64_t timeout_ns,
    hpxi_query_fn done,
    void *owner);

/* Cancel: no callback. Nothing if not active. */
void hpxi_query_cancel(hpxi_query *query);

/* Route a completion of HPXI_OP_POLL. */
void hpxi_resolver_completion(hpxi_resolver *resolver, const hpxi_completion *completion);

/* Answers known at once (numeric, localhost, cache) are called back here; once per turn. Returns
 * their number. */
uint32_t hpxi_resolver_settle(hpxi_resolver *resolver);

/* Polls whose final completion has not come (for tests: 0 when quiet). */
uint32_t hpxi_resolver_polls(const hpxi_resolver *resolver);

#endif /* HPXI_RESOLVER_H */

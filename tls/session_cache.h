/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_cache.h - TLS sessions to resume: what a shard remembers of the servers it spoke to.
 *
 * Role      Keeps, for each key, up to HPXI_TLS_TICKETS_MAX tickets of TLS 1.3, each handed out
 *           once (RFC 8446 C.4), or the one session of TLS 1.2. A key is all that a connection was
 *           asked for: host, port, name to verify, ALPN list, whether to verify at all, and the
 *           context with its roots, client certificate, pins, versions and ciphers. Settings that
 *           differ in one of them never share a session.
 * Threads   One thread: a cache belongs to a shard. Nothing is shared between shards, which would
 *           take a lock, or hand-overs, to save a handshake per shard and host.
 * Memory    Hosts are a fixed table, the least recently used one makes room. A host costs its key
 *           (about 100 bytes), the leaf certificate that was verified, and its tickets (about 700
 *           bytes each, HPXI_TLS_TICKET_BYTES_MAX more at most).
 * Time      `now_ns` points to the shard's clock. It is read, never advanced.
 */
#ifndef HPXI_TLS_SESSION_CACHE_H
#define HPXI_TLS_SESSION_CACHE_H

#include <stdbool.h>

#include "ring/alloc.h"

#define HPXI_TLS_TICKETS_MAX      4u
#define HPXI_TLS_TICKET_BYTES_MAX 4096u /* a longer one is not kept */
#define HPXI_TLS_HOSTS_MAX        65536u

/* However long the server says: RFC 8446 4.6.1 allows seven days, a day is enough for us. */
#define HPXI_TLS_SESSION_NS_MAX ((uint64_t)24 * 3600 * HPX_NS_PER_S)

struct WOLFSSL_SESSION; /* wolfSSL's, reference counted by itself */

typedef struct hpxi_tls_cache hpxi_tls_cache;

typedef struct hpxi_tls_cache_config {
    uint32_t hosts_max;     /* 1..HPXI_TLS_HOSTS_MAX */
    const uint64_t *now_ns; /* borrowed for the cache's life */
} hpxi_tls_cache_config;

/* HPX_OK or HPX_E_NO_MEMORY. `allocator` must outlive the cache. */
hpx_status hpxi_tls_cache_new(
    hpxi_tls_cache **out, const hpxi_tls_cache_config *config, const hpx_allocator *allocator);

/* Sessions that use the cache are freed before. NULL is a no-op. */
void hpxi_tls_cache_free(hpxi_tls_cache *cache);

/* What two connections must have in common to share a session: opaque bytes, compared whole. */
typedef struct hpxi_tls_key {
    uint64_t hash;
    size_t size;
    uint8_t bytes[];
} hpxi_tls_key;

/* Its bytes are to be filled in, then hpxi_tls_key_seal() called. NULL: out of memory. */
hpxi_tls_key *hpxi_tls_key_new(size_t size, const hpx_allocator *allocator);
void hpxi_tls_key_seal(hpxi_tls_key *key);
void hpxi_tls_key_free(hpxi_tls_key *key, const hpx_allocator *allocator);

/*
 * What was verified when a session was made, so that its resumption can be judged again. Shared,
 * on one thread, by the cache and the sessions that came out of it.
 */
typedef struct hpxi_tls_proof {
    uint32_t references;
    int64_t not_after_s; /* Unix time: when the first certificate of the chain expires */
    size_t leaf_bytes;
    uint8_t leaf[]; /* DER */
} hpxi_tls_proof;

/* Copies the leaf. One reference. NULL: out of memory. Memory is wolfSSL's. */
hpxi_tls_proof *hpxi_tls_proof_new(const uint8_t *leaf, size_t leaf_bytes, int64_t not_after_s);
hpxi_tls_proof *hpxi_tls_proof_retain(hpxi_tls_proof *proof); /* NULL stays NULL */
void hpxi_tls_proof_release(hpxi_tls_proof *proof);           /* NULL is a no-op */

typedef struct hpxi_tls_found {
    struct WOLFSSL_SESSION *session; /* a reference of the caller's; NULL: none */
    hpxi_tls_proof *proof;           /* a reference of the caller's; NULL: nothing was verified */
} hpxi_tls_found;

/* The newest session for this key that has not expired. One of TLS 1.3 is not found again. */
hpxi_tls_found hpxi_tls_cache_take(hpxi_tls_cache *cache, const hpxi_tls_key *key);

/*
 * Keeps a session (taking the caller's reference, also when it is dropped) until now + lifetime_ns.
 * `is_once`: a ticket of TLS 1.3. Without memory for a new host, or with a lifetime of 0, the
 * session is dropped. Sessions that were made with another leaf than `proof` are dropped, too.
 */
void hpxi_tls_cache_put(
    hpxi_tls_cache *cache,
    const hpxi_tls_key *key,
    struct WOLFSSL_SESSION *session,
    hpxi_tls_proof *proof,
    bool is_once,
    uint64_t lifetime_ns);

/* Forgets all sessions of this key. */
void hpxi_tls_cache_evict(hpxi_tls_cache *cache, const hpxi_tls_key *key);

typedef struct hpxi_tls_cache_stats {
    uint32_t hosts;    /* with at least one session, expired ones among them */
    uint32_t sessions; /* kept now */
    uint64_t hits;
    uint64_t misses;
    uint64_t kept;    /* sessions put and not dropped at once */
    uint64_t evicted; /* hosts forgotten, to make room or by hpxi_tls_cache_evict() */
} hpxi_tls_cache_stats;

hpxi_tls_cache_stats hpxi_tls_cache_get_stats(const hpxi_tls_cache *cache);

#endif /* HPXI_TLS_SESSION_CACHE_H */

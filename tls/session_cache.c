/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_cache.c - a fixed table of hosts, found by hash, in order of use. See session_cache.h.
 *
 * A host is in exactly one of two lists: `used`, most recently used first, or `free`. Used ones are
 * also in the chain of their hash's bucket. A host without a session left goes back to `free`.
 */
#include "tls/session_cache.h"

#include "tls/internal.h"

#define CACHE_NONE UINT32_MAX

typedef struct cache_ticket {
    WOLFSSL_SESSION *session;
    uint64_t expires_ns;
} cache_ticket;

typedef struct cache_host {
    hpxi_tls_key *key; /* NULL: free */
    hpxi_tls_proof *proof;
    uint32_t chain; /* next of the same bucket */
    uint32_t next;  /* less recently used; of a free one: next free */
    uint32_t previous;
    uint32_t ticket_count; /* oldest first */
    bool is_once;          /* each ticket is handed out once; else there is one, for ever */
    cache_ticket tickets[HPXI_TLS_TICKETS_MAX];
} cache_host;

struct hpxi_tls_cache {
    const hpx_allocator *allocator;
    const uint64_t *now_ns;
    cache_host *hosts;
    uint32_t *buckets; /* a power of two of them */
    uint32_t hosts_max;
    uint32_t bucket_mask;
    uint32_t newest; /* of the used ones */
    uint32_t oldest;
    uint32_t free;
    hpxi_tls_cache_stats stats;
};

/* ---- Keys and proofs ------------------------------------------------------------------------- */

hpxi_tls_key *hpxi_tls_key_new(size_t size, const hpx_allocator *allocator)
{
    HPX_ASSERT(size != 0);
    hpxi_tls_key *key =
        hpxi_alloc_zero(allocator, sizeof(hpxi_tls_key) + size, _Alignof(hpxi_tls_key));
    if (key != NULL) {
        key->size = size;
    }
    return key;
}

/* FNV-1a: keys are our own configuration, nobody can choose them to collide. */
void hpxi_tls_key_seal(hpxi_tls_key *key)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (size_t i = 0; i < key->size; i++) {
        hash = (hash ^ key->bytes[i]) * UINT64_C(0x100000001B3);
    }
    key->hash = hash ^ (hash >> 32);
}

void hpxi_tls_key_free(hpxi_tls_key *key, const hpx_allocator *allocator)
{
    if (key != NULL) {
        hpxi_free(allocator, key, sizeof(hpxi_tls_key) + key->size);
    }
}

static hpxi_tls_key *cache_copy_key(const hpxi_tls_cache *cache, const hpxi_tls_key *key)
{
    hpxi_tls_key *copy = hpxi_tls_key_new(key->size, cache->allocator);
    if (copy != NULL) {
        memcpy(copy->bytes, key->bytes, key->size);
        copy->hash = key->hash;
    }
    return copy;
}

hpxi_tls_proof *hpxi_tls_proof_new(const uint8_t *leaf, size_t leaf_bytes, int64_t not_after_s)
{
    HPX_ASSERT(leaf_bytes != 0);
    hpxi_tls_proof *proof = hpxi_tls_alloc_zero(sizeof(hpxi_tls_proof) + leaf_bytes);
    if (proof != NULL) {
        proof->references = 1;
        proof->not_after_s = not_after_s;
        proof->leaf_bytes = leaf_bytes;
        memcpy(proof->leaf, leaf, leaf_bytes);
    }
    return proof;
}

hpxi_tls_proof *hpxi_tls_proof_retain(hpxi_tls_proof *proof)
{
    if (proof != NULL) {
        HPX_ASSERT(proof->references != 0);
        proof->references++;
    }
    return proof;
}

void hpxi_tls_proof_release(hpxi_tls_proof *proof)
{
    if (proof == NULL) {
        return;
    }
    HPX_ASSERT(proof->references != 0);
    if (--proof->references == 0) {
        hpxi_tls_dealloc(proof);
    }
}

static bool cache_is_same_proof(const hpxi_tls_proof *a, const hpxi_tls_proof *b)
{
    if (a == NULL || b == NULL) {
        return a == b;
    }
    return a == b ||
           (a->leaf_bytes == b->leaf_bytes && memcmp(a->leaf, b->leaf, a->leaf_bytes) == 0);
}

/* ---- The table ------------------------------------------------------------------------------- */

static uint32_t *cache_bucket(hpxi_tls_cache *cache, const hpxi_tls_key *key)
{
    return &cache->buckets[(uint32_t)key->hash & cache->bucket_mask];
}

static uint32_t cache_find(hpxi_tls_cache *cache, const hpxi_tls_key *key)
{
    uint32_t at = *cache_bucket(cache, key);
    while (at != CACHE_NONE) {
        HPX_ASSERT(at < cache->hosts_max);
        const hpxi_tls_key *other = cache->hosts[at].key;
        if (other->hash == key->hash && other->size == key->size &&
            memcmp(other->bytes, key->bytes, key->size) == 0) {
            return at;
        }
        at = cache->hosts[at].chain;
    }
    return CACHE_NONE;
}

static void cache_unlink(hpxi_tls_cache *cache, uint32_t at)
{
    const cache_host *host = &cache->hosts[at];
    if (host->previous == CACHE_NONE) {
        HPX_ASSERT(cache->newest == at);
        cache->newest = host->next;
    } else {
        cache->hosts[host->previous].next = host->next;
    }
    if (host->next == CACHE_NONE) {
        HPX_ASSERT(cache->oldest == at);
        cache->oldest = host->previous;
    } else {
        cache->hosts[host->next].previous = host->previous;
    }
}

static void cache_link_newest(hpxi_tls_cache *cache, uint32_t at)
{
    cache_host *host = &cache->hosts[at];
    host->previous = CACHE_NONE;
    host->next = cache->newest;
    if (cache->newest == CACHE_NONE) {
        cache->oldest = at;
    } else {
        cache->hosts[cache->newest].previous = at;
    }
    cache->newest = at;
}

static void cache_touch(hpxi_tls_cache *cache, uint32_t at)
{
    cache_unlink(cache, at);
    cache_link_newest(cache, at);
}

/* Drops the ticket at this place; later ones move up. */
static void cache_drop_ticket(hpxi_tls_cache *cache, cache_host *host, uint32_t i)
{
    HPX_ASSERT(i < host->ticket_count);
    wolfSSL_SESSION_free(host->tickets[i].session);
    host->ticket_count--;
    for (; i < host->ticket_count; i++) {
        host->tickets[i] = host->tickets[i + 1];
    }
    host->tickets[host->ticket_count] = (cache_ticket){0};
    HPX_ASSERT(cache->stats.sessions != 0);
    cache->stats.sessions--;
}

static void cache_drop_tickets(hpxi_tls_cache *cache, cache_host *host)
{
    while (host->ticket_count != 0) {
        cache_drop_ticket(cache, host, host->ticket_count - 1);
    }
}

static void cache_forget(hpxi_tls_cache *cache, uint32_t at)
{
    cache_host *host = &cache->hosts[at];
    HPX_ASSERT(host->key != NULL);
    cache_drop_tickets(cache, host);
    cache_unlink(cache, at);
    uint32_t *link = cache_bucket(cache, host->key);
    while (*link != at) {
        HPX_ASSERT(*link != CACHE_NONE);
        link = &cache->hosts[*link].chain;
    }
    *link = host->chain;
    hpxi_tls_proof_release(host->proof);
    hpxi_tls_key_free(host->key, cache->allocator);
    *host = (cache_host){.next = cache->free};
    cache->free = at;
    HPX_ASSERT(cache->stats.hosts != 0);
    cache->stats.hosts--;
}

static void cache_evict_at(hpxi_tls_cache *cache, uint32_t at)
{
    cache_forget(cache, at);
    cache->stats.evicted++;
}

/* A free place in the table, linked in for this key; the least recently used one makes room. */
static uint32_t cache_add(hpxi_tls_cache *cache, const hpxi_tls_key *key)
{
    hpxi_tls_key *copy = cache_copy_key(cache, key);
    if (copy == NULL) {
        return CACHE_NONE;
    }
    if (cache->free == CACHE_NONE) {
        cache_evict_at(cache, cache->oldest);
    }
    const uint32_t at = cache->free;
    HPX_ASSERT(at < cache->hosts_max);
    cache_host *host = &cache->hosts[at];
    cache->free = host->next;
    uint32_t *bucket = cache_bucket(cache, key);
    *host = (cache_host){.key = copy, .chain = *bucket};
    *bucket = at;
    cache_link_newest(cache, at);
    cache->stats.hosts++;
    HPX_ASSERT(cache->stats.hosts <= cache->hosts_max);
    return at;
}

/* ---- The contract ---------------------------------------------------------------------------- */

hpx_status hpxi_tls_cache_new(
    hpxi_tls_cache **out, const hpxi_tls_cache_config *config, const hpx_allocator *allocator)
{
    HPX_ASSERT(config->hosts_max != 0 && config->hosts_max <= HPXI_TLS_HOSTS_MAX);
    HPX_ASSERT(config->now_ns != NULL);
    *out = NULL;
    uint32_t bucket_count = 1;
    while (bucket_count < config->hosts_max) {
        bucket_count *= 2;
    }
    hpxi_tls_cache *cache = hpxi_alloc_zero(allocator, sizeof(*cache), _Alignof(hpxi_tls_cache));
    if (cache == NULL) {
        return HPX_E_NO_MEMORY;
    }
    *cache = (hpxi_tls_cache){
        .allocator = allocator,
        .now_ns = config->now_ns,
        .hosts_max = config->hosts_max,
        .bucket_mask = bucket_count - 1,
        .newest = CACHE_NONE,
        .oldest = CACHE_NONE,
    };
    cache->hosts =
        hpxi_alloc_zero(allocator, config->hosts_max * sizeof(cache_host), _Alignof(cache_host));
    cache->buckets = hpxi_alloc(allocator, bucket_count * sizeof(uint32_t), _Alignof(uint32_t));
    if (cache->hosts == NULL || cache->buckets == NULL) {
        hpxi_tls_cache_free(cache);
        return HPX_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < bucket_count; i++) {
        cache->buckets[i] = CACHE_NONE;
    }
    for (uint32_t i = 0; i < config->hosts_max; i++) {
        cache->hosts[i].next = i + 1 == config->hosts_max ? CACHE_NONE : i + 1;
    }
    *out = cache;
    return HPX_OK;
}

void hpxi_tls_cache_free(hpxi_tls_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    while (cache->newest != CACHE_NONE) {
        cache_forget(cache, cache->newest);
    }
    HPX_ASSERT(cache->stats.sessions == 0);
    const hpx_allocator *allocator = cache->allocator;
    hpxi_free(allocator, cache->hosts, cache->hosts_max * sizeof(cache_host));
    hpxi_free(allocator, cache->buckets, (cache->bucket_mask + 1) * sizeof(uint32_t));
    hpxi_free(allocator, cache, sizeof(*cache));
}

hpxi_tls_found hpxi_tls_cache_take(hpxi_tls_cache *cache, const hpxi_tls_key *key)
{
    hpxi_tls_found found = {0};
    const uint32_t at = cache_find(cache, key);
    cache_host *host = at == CACHE_NONE ? NULL : &cache->hosts[at];
    for (uint32_t i = host == NULL ? 0 : host->ticket_count; i-- > 0;) {
        if (host->tickets[i].expires_ns <= *cache->now_ns) {
            cache_drop_ticket(cache, host, i);
        }
    }
    if (host != NULL && host->ticket_count != 0) {
        const uint32_t newest = host->ticket_count - 1;
        WOLFSSL_SESSION *session = host->tickets[newest].session;
        if (wolfSSL_SESSION_up_ref(session) == WOLFSSL_SUCCESS) {
            found.session = session;
            found.proof = hpxi_tls_proof_retain(host->proof);
        }
        if (host->is_once) {
            cache_drop_ticket(cache, host, newest);
        }
        cache_touch(cache, at);
    }
    if (host != NULL && host->ticket_count == 0) {
        cache_forget(cache, at);
    }
    if (found.session != NULL) {
        cache->stats.hits++;
    } else {
        cache->stats.misses++;
    }
    return found;
}

void hpxi_tls_cache_put(
    hpxi_tls_cache *cache,
    const hpxi_tls_key *key,
    WOLFSSL_SESSION *session,
    hpxi_tls_proof *proof,
    bool is_once,
    uint64_t lifetime_ns)
{
    HPX_ASSERT(session != NULL);
    uint32_t at = CACHE_NONE;
    if (lifetime_ns != 0) {
        at = cache_find(cache, key);
        at = at == CACHE_NONE ? cache_add(cache, key) : at;
    }
    if (at == CACHE_NONE) {
        wolfSSL_SESSION_free(session);
        return;
    }
    cache_host *host = &cache->hosts[at];
    const bool is_same = host->is_once == is_once && cache_is_same_proof(host->proof, proof);
    if (!is_same || !is_once) {
        cache_drop_tickets(cache, host);
    }
    if (host->proof != proof) {
        hpxi_tls_proof_release(host->proof);
        host->proof = hpxi_tls_proof_retain(proof);
    }
    if (host->ticket_count == HPXI_TLS_TICKETS_MAX) {
        cache_drop_ticket(cache, host, 0);
    }
    host->is_once = is_once;
    lifetime_ns = lifetime_ns < HPXI_TLS_SESSION_NS_MAX ? lifetime_ns : HPXI_TLS_SESSION_NS_MAX;
    host->tickets[host->ticket_count++] =
        (cache_ticket){.session = session, .expires_ns = *cache->now_ns + lifetime_ns};
    cache->stats.sessions++;
    cache->stats.kept++;
    cache_touch(cache, at);
}

void hpxi_tls_cache_evict(hpxi_tls_cache *cache, const hpxi_tls_key *key)
{
    const uint32_t at = cache_find(cache, key);
    if (at != CACHE_NONE) {
        cache_evict_at(cache, at);
    }
}

hpxi_tls_cache_stats hpxi_tls_cache_get_stats(const hpxi_tls_cache *cache)
{
    return cache->stats;
}

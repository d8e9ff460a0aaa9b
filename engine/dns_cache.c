/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_cache.c - a hash table with chains over a fixed array of entries, and a list by age of use.
 *
 * Every entry is always in the age list: unused and expired ones (host "") at its old end, where
 * the next put takes its entry from. Links are indices into the array.
 */
#include "engine/dns_cache.h"

#include "ring/alloc.h"

#define NONE UINT32_MAX

typedef struct cache_entry {
    uint32_t chain; /* next of the same bucket */
    uint32_t newer;
    uint32_t older;
    uint32_t hash;
    uint64_t expires_ns;
    hpxi_addresses addresses;
    char host[HPXI_DNS_HOST_BYTES]; /* "": not in a bucket */
} cache_entry;

struct hpxi_dns_cache {
    hpx_allocator allocator;
    uint32_t count;       /* entries */
    uint32_t bucket_mask; /* buckets: a power of two, at least count */
    uint32_t newest;
    uint32_t oldest;
    cache_entry *entries;
    uint32_t *buckets;
};

/* FNV-1a. Hosts come from our own configuration: nobody chooses them to collide. */
static uint32_t cache_hash(const char *host)
{
    uint32_t hash = 2166136261u;
    for (const char *at = host; *at != '\0'; at++) {
        hash = (hash ^ (uint8_t)*at) * 16777619u;
    }
    return hash;
}

static void cache_age_unlink(hpxi_dns_cache *cache, uint32_t index)
{
    HPX_DASSERT(index < cache->count);
    const cache_entry *entry = &cache->entries[index];
    *(entry->newer == NONE ? &cache->newest : &cache->entries[entry->newer].older) = entry->older;
    *(entry->older == NONE ? &cache->oldest : &cache->entries[entry->older].newer) = entry->newer;
}

static void cache_age_push_newest(hpxi_dns_cache *cache, uint32_t index)
{
    HPX_DASSERT(index < cache->count);
    cache_entry *entry = &cache->entries[index];
    entry->newer = NONE;
    entry->older = cache->newest;
    *(cache->newest == NONE ? &cache->oldest : &cache->entries[cache->newest].newer) = index;
    cache->newest = index;
}

static void cache_age_push_oldest(hpxi_dns_cache *cache, uint32_t index)
{
    HPX_DASSERT(index < cache->count);
    cache_entry *entry = &cache->entries[index];
    entry->older = NONE;
    entry->newer = cache->oldest;
    *(cache->oldest == NONE ? &cache->newest : &cache->entries[cache->oldest].older) = index;
    cache->oldest = index;
}

/* Take an entry out of its bucket; its place in the age list stays. */
static void cache_forget(hpxi_dns_cache *cache, uint32_t index)
{
    cache_entry *entry = &cache->entries[index];
    if (entry->host[0] == '\0') {
        return;
    }
    uint32_t *link = &cache->buckets[entry->hash & cache->bucket_mask];
    while (*link != index) {
        HPX_ASSERT(*link != NONE);
        link = &cache->entries[*link].chain;
    }
    *link = entry->chain;
    entry->host[0] = '\0';
}

static uint32_t cache_lookup(const hpxi_dns_cache *cache, const char *host, uint32_t hash)
{
    HPX_DASSERT(host[0] != '\0');
    uint32_t index = cache->buckets[hash & cache->bucket_mask];
    while (index != NONE) {
        const cache_entry *entry = &cache->entries[index];
        if (entry->hash == hash && strcmp(entry->host, host) == 0) {
            break;
        }
        index = entry->chain;
    }
    return index;
}

hpxi_dns_cache *hpxi_dns_cache_new(uint32_t entries, const hpx_allocator *allocator)
{
    HPX_ASSERT(entries != 0);
    HPX_ASSERT(entries <= UINT32_C(1) << 20);
    uint32_t buckets = 1;
    while (buckets < entries) {
        buckets *= 2;
    }
    hpxi_dns_cache *cache = hpxi_alloc_zero(allocator, sizeof(*cache), _Alignof(hpxi_dns_cache));
    if (cache == NULL) {
        return NULL;
    }
    cache->allocator = *allocator;
    cache->count = entries;
    cache->bucket_mask = buckets - 1;
    cache->newest = NONE;
    cache->oldest = NONE;
    cache->entries =
        hpxi_alloc_zero(allocator, entries * sizeof(cache_entry), _Alignof(cache_entry));
    cache->buckets = hpxi_alloc(allocator, buckets * sizeof(uint32_t), _Alignof(uint32_t));
    if (cache->entries == NULL || cache->buckets == NULL) {
        hpxi_dns_cache_free(cache);
        return NULL;
    }
    memset(cache->buckets, 0xFF, buckets * sizeof(uint32_t)); /* all NONE */
    for (uint32_t i = 0; i < entries; i++) {
        cache_age_push_newest(cache, i);
    }
    return cache;
}

void hpxi_dns_cache_free(hpxi_dns_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    HPX_ASSERT(cache->count != 0);
    const hpx_allocator allocator = cache->allocator;
    hpxi_free(&allocator, cache->buckets, (cache->bucket_mask + 1) * sizeof(uint32_t));
    hpxi_free(&allocator, cache->entries, cache->count * sizeof(cache_entry));
    hpxi_free(&allocator, cache, sizeof(*cache));
}

const hpxi_addresses *hpxi_dns_cache_find(hpxi_dns_cache *cache, const char *host, uint64_t now_ns)
{
    const uint32_t index = cache_lookup(cache, host, cache_hash(host));
    if (index == NONE) {
        return NULL;
    }
    cache_entry *entry = &cache->entries[index];
    HPX_DASSERT(entry->addresses.count != 0);
    cache_age_unlink(cache, index);
    if (now_ns >= entry->expires_ns) {
        cache_forget(cache, index);
        cache_age_push_oldest(cache, index);
        return NULL;
    }
    cache_age_push_newest(cache, index);
    return &entry->addresses;
}

void hpxi_dns_cache_put(
    hpxi_dns_cache *cache, const char *host, const hpxi_addresses *addresses, uint64_t expires_ns)
{
    HPX_ASSERT(addresses->count != 0);
    HPX_ASSERT(strlen(host) < HPXI_DNS_HOST_BYTES);
    const uint32_t hash = cache_hash(host);
    uint32_t index = cache_lookup(cache, host, hash);
    if (index == NONE) {
        index = cache->oldest;
        cache_forget(cache, index);
        cache_entry *entry = &cache->entries[index];
        memcpy(entry->host, host, strlen(host) + 1);
        entry->hash = hash;
        entry->chain = cache->buckets[hash & cache->bucket_mask];
        cache->buckets[hash & cache->bucket_mask] = index;
    }
    cache->entries[index].addresses = *addresses;
    cache->entries[index].expires_ns = expires_ns;
    cache_age_unlink(cache, index);
    cache_age_push_newest(cache, index);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key.c - interned keys, and the shard that a key belongs to.
 *
 * Threads   The pool's; hashing and placement: any.
 * Memory    One block per key. A key that nobody refers to stays until keys_unused_max others have
 *           been unused for a shorter time.
 */
#include "pool/internal.h"

#define KEY_SEED UINT64_C(0x9E3779B97F4A7C15)

static uint64_t key_mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * UINT64_C(0xBF58476D1CE4E5B9);
    return hash ^ (hash >> 29);
}

uint64_t hpxi_pool_hash(hpx_span bytes)
{
    uint64_t hash = KEY_SEED ^ bytes.size;
    size_t at = 0;
    for (; bytes.size - at >= sizeof(uint64_t); at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, bytes.data + at, sizeof(word));
        hash = key_mix(hash, word);
    }
    uint64_t rest = 0;
    if (at != bytes.size) {
        memcpy(&rest, bytes.data + at, bytes.size - at);
    }
    hash = key_mix(hash, rest);
    return key_mix(hash, hash >> 32);
}

static void key_free(hpxi_pool *pool, hpxi_pool_key *key)
{
    hpxi_pool_key **at = &pool->buckets[key->hash % HPXI_POOL_BUCKETS];
    while (*at != key) {
        HPX_ASSERT(*at != NULL);
        at = &(*at)->chain;
    }
    *at = key->chain;
    hpxi_free(pool->allocator, key, sizeof(*key) + key->bytes);
}

static void key_drop_unused(hpxi_pool *pool, uint32_t keep)
{
    while (pool->unused_count > keep) {
        hpxi_pool_key *key = pool->unused.first;
        hpxi_pool_keys_remove(&pool->unused, key);
        pool->unused_count--;
        key_free(pool, key);
    }
}

hpxi_pool_key *hpxi_pool_key_get(hpxi_pool *pool, hpx_span bytes, hpxi_pool_kind kind)
{
    HPX_ASSERT(bytes.size != 0 && bytes.size <= UINT32_MAX / 2);
    const uint64_t hash = hpxi_pool_hash(bytes);
    hpxi_pool_key **bucket = &pool->buckets[hash % HPXI_POOL_BUCKETS];
    for (hpxi_pool_key *key = *bucket; key != NULL; key = key->chain) {
        if (key->hash == hash && key->bytes == bytes.size &&
            memcmp(key->data, bytes.data, bytes.size) == 0) {
            hpxi_pool_key_retain(pool, key);
            return key;
        }
    }
    hpxi_pool_key *key =
        hpxi_alloc_zero(pool->allocator, sizeof(*key) + bytes.size, _Alignof(hpxi_pool_key));
    if (key == NULL) {
        return NULL;
    }
    key->hash = hash;
    key->bytes = (uint32_t)bytes.size;
    key->kind = kind;
    key->refs = 1;
    memcpy(key->data, bytes.data, bytes.size);
    key->chain = *bucket;
    *bucket = key;
    return key;
}

void hpxi_pool_key_retain(hpxi_pool *pool, hpxi_pool_key *key)
{
    if (key->refs++ == 0) {
        hpxi_pool_keys_remove(&pool->unused, key);
        HPX_ASSERT(pool->unused_count != 0);
        pool->unused_count--;
    }
}

void hpxi_pool_key_release(hpxi_pool *pool, hpxi_pool_key *key)
{
    HPX_ASSERT(key->refs != 0);
    if (--key->refs != 0) {
        return;
    }
    HPX_ASSERT(key->live == 0 && key->first == NULL && key->available == NULL);
    if (key->is_pending) { /* nobody wants anything of it any more */
        key->is_pending = false;
        hpxi_pool_keys_remove(&pool->pending, key);
    }
    hpxi_pool_keys_append(&pool->unused, key);
    pool->unused_count++;
    key_drop_unused(pool, pool->config.keys_unused_max);
}

void hpxi_pool_keys_free(hpxi_pool *pool)
{
    key_drop_unused(pool, 0);
    for (uint32_t i = 0; i < HPXI_POOL_BUCKETS; i++) {
        HPX_ASSERT(pool->buckets[i] == NULL); /* a reference was not given back */
    }
}

uint32_t hpxi_pool_place(
    hpxi_pool_placement placement,
    uint64_t hash,
    uint32_t caller,
    const uint32_t *loads,
    uint32_t shards)
{
    HPX_ASSERT(shards != 0 && caller < shards);
    const uint32_t home = (uint32_t)((hash >> 32) % shards);
    if (placement == HPXI_POOL_CALLER) {
        return caller;
    }
    if (placement == HPXI_POOL_HOME) {
        return home;
    }
    HPX_ASSERT(placement == HPXI_POOL_LEAST_LOADED && loads != NULL);
    uint32_t best = home;
    for (uint32_t i = 1; i < shards; i++) {
        const uint32_t shard = (home + i) % shards;
        best = loads[shard] < loads[best] ? shard : best;
    }
    return best;
}

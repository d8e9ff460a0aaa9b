/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pool.c - the same pool code in all three cases: what differs is who shares it and how.
 */
#include "bench/pool/bench_pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/allocator.h"
#include "pool/pool.h"

#define HOSTS       10u
#define MUTEXES     16u
#define THREADS_MAX 64u

typedef struct part { /* one pool, on cache lines of its own */
    _Alignas(128) pthread_mutex_t lock;
    hpxi_pool pool;
    hpxi_pool_key *keys[HOSTS];
    hpxi_pool_item *items; /* [HOSTS * threads] */
} part;

struct bench_pool {
    bench_pool_kind kind;
    hpxi_counting_allocator memory;
    uint32_t part_count;
    uint32_t part_of[HOSTS]; /* 16 mutexes: by hash */
    part *parts;
};

static hpxi_pool_item *pool_connect(hpxi_pool *pool, hpxi_pool_key *key)
{
    (void)key;
    part *p = pool->owner;
    return &p->items[pool->stats.connects];
}

static bool pool_is_alive(hpxi_pool_item *item)
{
    return item->state == HPXI_POOL_READY;
}

static void pool_close(hpxi_pool_item *item)
{
    (void)item;
}

static void pool_grant(hpxi_pool_waiter *waiter, hpxi_pool_item *item)
{
    (void)waiter;
    (void)item;
}

static const hpxi_pool_ops pool_ops = {
    .connect = pool_connect,
    .is_alive = pool_is_alive,
    .close = pool_close,
    .grant = pool_grant,
    .refuse = pool_grant,
};

static void part_init(part *p, uint32_t threads, const hpx_allocator *allocator)
{
    const uint32_t items = HOSTS * threads;
    const hpxi_pool_config config = {
        .total_max = items,
        .per_key_max = threads,
        .shared_per_key_max = 1,
        .idle_per_key_max = threads,
        .idle_ns = UINT64_MAX,
        .keys_unused_max = HOSTS,
    };
    (void)pthread_mutex_init(&p->lock, NULL);
    hpxi_pool_init(&p->pool, &pool_ops, &config, allocator, p);
    p->items = calloc(items, sizeof(p->items[0]));
    for (uint32_t host = 0; host < HOSTS; host++) {
        char name[64];
        snprintf(name, sizeof(name), "https api%u.exchange.example 443", host);
        p->keys[host] = hpxi_pool_key_get(&p->pool, hpx_span_of(name), HPXI_POOL_UNIQUE);
        hpxi_pool_warm_up(&p->pool, p->keys[host], threads);
    }
    hpxi_pool_pump(&p->pool);
    for (uint32_t i = 0; i < items; i++) {
        hpxi_pool_ready(&p->pool, &p->items[i], HPXI_POOL_UNIQUE, 1, 1);
    }
    hpxi_pool_pump(&p->pool);
}

bench_pool *bench_pool_new(bench_pool_kind kind, uint32_t threads)
{
    bench_pool *bench = calloc(1, sizeof(*bench));
    bench->kind = kind;
    hpxi_counting_allocator_init(&bench->memory, NULL);
    bench->part_count = kind == BENCH_POOL_ONE_MUTEX    ? 1
                        : kind == BENCH_POOL_16_MUTEXES ? MUTEXES
                                                        : threads;
    const size_t bytes = bench->part_count * sizeof(part);
    bench->parts = aligned_alloc(128, bytes);
    for (uint32_t i = 0; i < bench->part_count; i++) {
        part_init(
            &bench->parts[i], kind == BENCH_POOL_PER_SHARD ? 1 : threads, &bench->memory.counting);
    }
    for (uint32_t host = 0; host < HOSTS; host++) {
        bench->part_of[host] =
            (uint32_t)(bench->parts[0].keys[host]->hash >> 32) % bench->part_count;
    }
    return bench;
}

void bench_pool_free(bench_pool *bench)
{
    for (uint32_t i = 0; i < bench->part_count; i++) {
        part *p = &bench->parts[i];
        for (uint32_t k = 0; k < p->pool.stats.connects; k++) {
            hpxi_pool_retire(&p->pool, &p->items[k]);
            hpxi_pool_remove(&p->pool, &p->items[k]);
        }
        for (uint32_t host = 0; host < HOSTS; host++) {
            hpxi_pool_key_release(&p->pool, p->keys[host]);
        }
        hpxi_pool_fini(&p->pool);
        free(p->items);
        (void)pthread_mutex_destroy(&p->lock);
    }
    free(bench->parts);
    free(bench);
}

static hpxi_pool_item *part_checkout(part *p, uint32_t host)
{
    hpxi_pool_waiter waiter = {0};
    hpxi_pool_item *item = hpxi_pool_checkout(&p->pool, p->keys[host], &waiter);
    if (item == NULL) {
        abort(); /* there is one for everybody */
    }
    return item;
}

void bench_pool_run(bench_pool *bench, uint32_t thread, uint32_t count)
{
    const bool locks = bench->kind != BENCH_POOL_PER_SHARD;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t host = (i + thread) % HOSTS;
        part *p = &bench->parts[locks ? bench->part_of[host] : thread];
        if (locks) {
            (void)pthread_mutex_lock(&p->lock);
        }
        hpxi_pool_item *item = part_checkout(p, host);
        if (locks) {
            (void)pthread_mutex_unlock(&p->lock);
            (void)pthread_mutex_lock(&p->lock);
        }
        hpxi_pool_checkin(&p->pool, item, true, i);
        if (locks) {
            (void)pthread_mutex_unlock(&p->lock);
        }
    }
}

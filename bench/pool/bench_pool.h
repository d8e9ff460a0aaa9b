/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pool.h - checkout and checkin over ten hosts, with three ways to let many threads do it.
 */
#ifndef HPX_BENCH_POOL_H
#define HPX_BENCH_POOL_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum bench_pool_kind {
    BENCH_POOL_ONE_MUTEX,  /* one pool for all threads behind one mutex */
    BENCH_POOL_16_MUTEXES, /* sixteen pools by key hash, a mutex each */
    BENCH_POOL_PER_SHARD,  /* a pool per thread, no mutex: hpx */
} bench_pool_kind;

typedef struct bench_pool bench_pool;

/* Pools with idle connections for every host and thread. */
bench_pool *bench_pool_new(bench_pool_kind kind, uint32_t threads);
void bench_pool_free(bench_pool *bench);

/* `count` checkouts and checkins of thread `thread`, hosts in turn. */
void bench_pool_run(bench_pool *bench, uint32_t thread, uint32_t count);

#ifdef __cplusplus
}
#endif

#endif /* HPX_BENCH_POOL_H */

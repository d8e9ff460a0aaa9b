/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ping.h - the loops of bench_ping.cc, in C: the headers measured are C17 and not C++.
 *
 * Every loop records many times per call, so that the call itself does not count.
 */
#ifndef HPX_BENCH_PING_H
#define HPX_BENCH_PING_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BENCH_PING_THREADS 16

/* Ways to count what was received on a connection, and when. */
typedef enum bench_ping_way {
    BENCH_PING_MUTEX,         /* one connection, used by all threads, behind a mutex */
    BENCH_PING_FETCH_ADD,     /* one connection, used by all threads, locked instructions */
    BENCH_PING_FETCH_ADD_OWN, /* a connection per thread, locked instructions all the same */
    BENCH_PING_OURS,          /* a connection per thread (its shard), one writer */
} bench_ping_way;

/* Before the threads start. */
void bench_ping_reset(void);

/* `count` frames of `bytes` each by thread `thread` of at most BENCH_PING_THREADS. */
void bench_ping_record(bench_ping_way way, int thread, uint32_t bytes, uint32_t count);

/* All bytes counted since the reset: what was recorded, or the way loses some. */
uint64_t bench_ping_total(void);

#ifdef __cplusplus
}
#endif
#endif /* HPX_BENCH_PING_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* bench_session.h - a client and a server session joined in memory, for bench_session.cc. */
#ifndef HPX_BENCH_SESSION_H
#define HPX_BENCH_SESSION_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_pair bench_pair;

/* `answer_bytes` is the size of every answer's body. */
bench_pair *bench_pair_new(size_t answer_bytes);
void bench_pair_free(bench_pair *pair);

/* `count` GET requests, `at_once` of them open at a time, each to its end. */
void bench_pair_requests(bench_pair *pair, uint32_t count, uint32_t at_once);

typedef struct bench_pair_info {
    uint64_t frames;              /* received by both so far */
    uint64_t bytes;               /* of bodies, received by the client */
    uint64_t allocations;         /* asked from the allocator by both */
    uint64_t library_allocations; /* asked for by nghttp2, by both */
} bench_pair_info;

bench_pair_info bench_pair_get_info(const bench_pair *pair);

#ifdef __cplusplus
}
#endif
#endif /* HPX_BENCH_SESSION_H */

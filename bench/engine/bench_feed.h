/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_feed.h - the loops of bench_feed.cc, in C: the feed's header is C17 and not C++.
 *
 * Every loop runs many operations per call, so that the call itself does not count.
 */
#ifndef HPX_BENCH_FEED_H
#define HPX_BENCH_FEED_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_feed bench_feed;

/* `feeds` subscriptions to 16 topics, with rings of 256 KiB; overflow: an hpx_overflow. With a
 * thread: two feeds, there and back, and somebody on the second CPU who answers. */
bench_feed *bench_feed_new(uint32_t overflow, uint32_t feeds, bool with_thread);
void bench_feed_free(bench_feed *bench);

typedef struct bench_feed_times {
    uint64_t push_ns;
    uint64_t take_ns;
    uint64_t taken;
    uint64_t allocations; /* during both */
} bench_feed_times;

/* Adds up: `count` messages of `bytes` pushed to every feed, published once per 16; every 256
 * messages all feeds are emptied, if `with_take`, on the same thread. */
void bench_feed_fan_out(
    bench_feed *bench, uint32_t bytes, uint32_t count, bool with_take, bench_feed_times *times);

/* `count` round trips, one at a time, each in ns in rtt_ns. Both threads spin. */
void bench_feed_ping(bench_feed *bench, uint32_t bytes, uint32_t count, uint64_t *rtt_ns);

/* Pins the calling thread to the first CPU; false where there is only one. */
bool bench_feed_pin(void);

#ifdef __cplusplus
}
#endif
#endif /* HPX_BENCH_FEED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_spsc.h - the loops of bench_spsc.cc, in C: the ring's header is C17 and not C++.
 *
 * Every loop runs many operations per call, so that the call itself does not count.
 */
#ifndef HPX_BENCH_SPSC_H
#define HPX_BENCH_SPSC_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_spsc bench_spsc;

/* Two rings of `ring_bytes` (there and back) and, if wished, a thread pinned to the second CPU of
 * the process, if it has two. NULL when out of memory. */
bench_spsc *bench_spsc_new(uint32_t ring_bytes, bool with_thread);
void bench_spsc_free(bench_spsc *bench);

/* claim, commit, publish, peek, release on one thread, `count` times; the payload's first and last
 * byte are touched. `batch` records per publish. */
void bench_spsc_local(bench_spsc *bench, uint32_t bytes, uint32_t count, uint32_t batch);

/* `count` records to the other thread, which reads first and last byte; returns when it has them.
 */
void bench_spsc_stream(bench_spsc *bench, uint32_t bytes, uint32_t count, uint32_t batch);

/* `count` round trips, one at a time, each in ns in rtt_ns. Both threads spin. */
void bench_spsc_ping(bench_spsc *bench, uint32_t bytes, uint32_t count, uint64_t *rtt_ns);

/* Pins the calling thread to the first CPU; false where there is only one. */
bool bench_spsc_pin(void);

#ifdef __cplusplus
}
#endif
#endif /* HPX_BENCH_SPSC_H */

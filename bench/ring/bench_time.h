/* SPDX-License-Identifier: Apache-2.0 */
/* bench_time.h - the loops of bench_time.cc over the timer wheel and the clock, in C. */
#ifndef HPX_BENCH_TIME_H
#define HPX_BENCH_TIME_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_wheel bench_wheel;

/* A wheel with `timers` timers set, spread over a minute. NULL when out of memory. */
bench_wheel *bench_wheel_new(uint32_t timers);
void bench_wheel_free(bench_wheel *bench);

/* `count` times: set one more timer (deadlines within a minute) and cancel it. */
void bench_wheel_set_cancel(bench_wheel *bench, uint32_t count);

/* `count` times: move one of the set timers to a new deadline, as an idle timeout is. */
void bench_wheel_move(bench_wheel *bench, uint32_t count);

/* `count` times: advance by step_ns; what fires is set again, a minute ahead. Returns the fired. */
uint64_t bench_wheel_advance(bench_wheel *bench, uint32_t count, uint64_t step_ns);

/* `count` readings; the last one. */
uint64_t bench_clock_tsc(uint32_t count);
uint64_t bench_clock_gettime(uint32_t count);

#ifdef __cplusplus
}
#endif
#endif /* HPX_BENCH_TIME_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.h - CLOCK_MONOTONIC in nanoseconds, read from the calibrated TSC.
 *
 * Role      hpxi_clock_now() costs about 10 ns. Falls back to clock_gettime() where the TSC is not
 *           invariant. It is re-anchored to CLOCK_MONOTONIC about once a second and never goes
 *           backwards within one hpxi_clock.
 * Threads   A clock belongs to one thread (its shard).
 */
#ifndef HPXI_CLOCK_H
#define HPXI_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct hpxi_clock {
    uint64_t anchor_tsc;
    uint64_t anchor_ns;
    uint64_t mult;         /* ns = (tsc - anchor_tsc) * mult >> 32 */
    uint64_t reanchor_tsc; /* TSC distance after which to re-anchor */
    uint64_t last_ns;
    bool use_tsc;
} hpxi_clock;

/* Calibrates (takes about 2 ms the first time in a process, then is shared). */
void hpxi_clock_init(hpxi_clock *clock);

/* Now. Monotonic per clock. */
uint64_t hpxi_clock_now(hpxi_clock *clock);

/* Seconds since 1970, for what is shown to others (Date). It may jump: no deadline by it. */
int64_t hpxi_clock_utc_s(void);

#endif /* HPXI_CLOCK_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hist.h - log-linear histogram of nanoseconds: every value within 1/64 of the truth.
 *
 * Threads   One writer; any thread may read at any time (relaxed: figures, not a ledger).
 * Memory    Fixed, in place, about 19 KiB.
 */
#ifndef HPX_TOOL_HIST_H
#define HPX_TOOL_HIST_H

#include <stdatomic.h>
#include <stdint.h>

#define HIST_SUB_BITS     6 /* 64 buckets per power of two */
#define HIST_VALUE_BITS   41
#define HIST_VALUE_MAX    ((UINT64_C(1) << HIST_VALUE_BITS) - 1) /* 36 minutes; above: clamped */
#define HIST_BUCKET_COUNT ((HIST_VALUE_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

/* All zero is an empty histogram. */
typedef struct hist {
    _Atomic uint64_t buckets[HIST_BUCKET_COUNT];
    _Atomic uint64_t max; /* exact */
} hist;

/* Count one value. Writer only. */
void hist_add(hist *h, uint64_t value);

/* Values counted. */
uint64_t hist_count(const hist *h);

/* Largest value, exactly; 0 if empty. */
uint64_t hist_max(const hist *h);

/* Smallest value that `percent` (0..100) of the values do not exceed, rounded up to its bucket's
 * end but never above the maximum; 0 if empty. */
uint64_t hist_percentile(const hist *h, double percent);

#endif /* HPX_TOOL_HIST_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hist.c - log-linear histogram.
 *
 * A value is its top HIST_SUB_BITS + 1 bits and a shift: bucket = shift * 64 + (value >> shift).
 * Below 128 the shift is 0 and buckets are exact.
 */
#include "hist.h"

#include <assert.h>
#include <math.h>
#include <stddef.h>

#define HIST_LINEAR_BITS (HIST_SUB_BITS + 1)

_Static_assert(HIST_VALUE_BITS < 64, "a bucket's upper end must fit");

static size_t hist_index(uint64_t value)
{
    assert(value <= HIST_VALUE_MAX);
    const int bits = value == 0 ? 0 : 64 - __builtin_clzll(value);
    const int shift = bits > HIST_LINEAR_BITS ? bits - HIST_LINEAR_BITS : 0;
    const size_t index = ((size_t)shift << HIST_SUB_BITS) + (size_t)(value >> shift);
    assert(index < HIST_BUCKET_COUNT);
    return index;
}

/* Largest value that lands in the bucket. */
static uint64_t hist_upper(size_t index)
{
    assert(index < HIST_BUCKET_COUNT);
    if (index < ((size_t)1 << HIST_LINEAR_BITS)) {
        return index;
    }
    const size_t shift = (index >> HIST_SUB_BITS) - 1;
    const uint64_t top = index - (shift << HIST_SUB_BITS);
    return ((top + 1) << shift) - 1;
}

/* One writer: a load and a store instead of a locked add. Readers take relaxed loads below. */
static void hist_raise(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

void hist_add(hist *h, uint64_t value)
{
    const uint64_t clamped = value > HIST_VALUE_MAX ? HIST_VALUE_MAX : value;
    _Atomic uint64_t *bucket = &h->buckets[hist_index(clamped)];
    hist_raise(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1);
    if (value > atomic_load_explicit(&h->max, memory_order_relaxed)) {
        hist_raise(&h->max, value);
    }
}

uint64_t hist_count(const hist *h)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HIST_BUCKET_COUNT; i++) {
        count += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    }
    return count;
}

uint64_t hist_max(const hist *h)
{
    return atomic_load_explicit(&h->max, memory_order_relaxed);
}

uint64_t hist_percentile(const hist *h, double percent)
{
    assert(percent >= 0 && percent <= 100);
    const uint64_t count = hist_count(h);
    const uint64_t max = hist_max(h);
    uint64_t rank = (uint64_t)ceil((double)count * percent / 100.0);
    rank = rank == 0 ? 1 : rank;
    uint64_t seen = 0;
    for (size_t i = 0; i < HIST_BUCKET_COUNT; i++) {
        seen += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        if (seen >= rank) {
            const uint64_t upper = hist_upper(i);
            return upper < max ? upper : max;
        }
    }
    return max; /* empty, or the writer is between a bucket and its maximum */
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator.h - the engine's allocator: the app's or the library's own, counted.
 *
 * Threads   Any (the counter is atomic; allocation happens at set-up and growth, never per
 *           message).
 */
#ifndef HPXI_ALLOCATOR_H
#define HPXI_ALLOCATOR_H

#include <stdatomic.h>

#include <hpx/base.h>

typedef struct hpxi_counting_allocator {
    hpx_allocator wrapped;  /* what really allocates */
    hpx_allocator counting; /* what the library calls; its ctx is this struct */
    _Atomic uint64_t count; /* allocations so far */
    _Atomic int64_t live;   /* blocks not yet freed */
} hpxi_counting_allocator;

/* The library's own: mimalloc where built with it, else the C library. */
hpx_allocator hpxi_allocator_own(void);

/* `from` NULL or all zero: the library's own. Must not move. */
void hpxi_counting_allocator_init(hpxi_counting_allocator *allocator, const hpx_allocator *from);

#endif /* HPXI_ALLOCATOR_H */

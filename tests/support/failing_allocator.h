/* SPDX-License-Identifier: Apache-2.0 */
/*
 * failing_allocator.h - fails the nth allocation and counts what is live. One per test.
 *
 * Threads   The counters are atomic, so that an engine's shards may share one.
 */
#ifndef HPX_TESTS_FAILING_ALLOCATOR_H
#define HPX_TESTS_FAILING_ALLOCATOR_H

#include <hpx/base.h>

typedef struct failing_allocator {
    size_t fail_at;        /* 0-based index of the allocation to fail; SIZE_MAX never */
    _Atomic size_t count;  /* allocations asked for so far */
    _Atomic size_t live;   /* blocks not yet freed */
    _Atomic size_t bytes;  /* bytes not yet freed, as the callers of free() say */
} failing_allocator;

#define FAILING_ALLOCATOR_NEVER {.fail_at = SIZE_MAX}

/* The allocator's face to the library. `fa` must outlive everything allocated from it. */
hpx_allocator fa_allocator(failing_allocator *fa);

/*
 * Runs the scenario once to count its allocations, then once per allocation with that one failing.
 * Aborts when a run leaves a block behind. The scenario must release all it made.
 */
void fa_exhaust(void (*scenario)(hpx_allocator alloc, bool expect_success));

#endif /* HPX_TESTS_FAILING_ALLOCATOR_H */

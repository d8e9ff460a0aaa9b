/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/failing_allocator.h"

static void *fa_alloc(size_t size, size_t align, void *ctx)
{
    failing_allocator *fa = ctx;
    if (atomic_fetch_add_explicit(&fa->count, 1, memory_order_relaxed) == fa->fail_at) {
        return NULL;
    }
    if (align < sizeof(void *)) {
        align = sizeof(void *);
    }
    void *block = aligned_alloc(align, (size + align - 1) / align * align);
    if (block != NULL) {
        atomic_fetch_add_explicit(&fa->live, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(&fa->bytes, size, memory_order_relaxed);
    }
    return block;
}

static void fa_free(void *block, size_t size, void *ctx)
{
    failing_allocator *fa = ctx;
    if (block == NULL || atomic_fetch_sub_explicit(&fa->live, 1, memory_order_relaxed) == 0) {
        fprintf(stderr, "failing_allocator: freed NULL, or more than was allocated\n");
        abort();
    }
    atomic_fetch_sub_explicit(&fa->bytes, size, memory_order_relaxed);
    free(block);
}

hpx_allocator fa_allocator(failing_allocator *fa)
{
    return (hpx_allocator){.alloc = fa_alloc, .free = fa_free, .ctx = fa};
}

static void fa_check_empty(const failing_allocator *fa)
{
    if (fa->live != 0 || fa->bytes != 0) {
        fprintf(
            stderr,
            "failing_allocator: %zu blocks (%zu bytes) left when allocation %zd failed\n",
            (size_t)fa->live,
            (size_t)fa->bytes,
            (ssize_t)fa->fail_at);
        abort();
    }
}

void fa_exhaust(void (*scenario)(hpx_allocator alloc, bool expect_success))
{
    failing_allocator counting = FAILING_ALLOCATOR_NEVER;
    scenario(fa_allocator(&counting), true);
    fa_check_empty(&counting);
    const size_t total = counting.count;
    for (size_t i = 0; i < total; i++) {
        failing_allocator fa = {.fail_at = i};
        scenario(fa_allocator(&fa), false);
        fa_check_empty(&fa);
    }
}

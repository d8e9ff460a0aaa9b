/* SPDX-License-Identifier: Apache-2.0 */
/* allocator.c - the library's own allocator, and the counter around any allocator. */
#include "engine/allocator.h"

#include <stdlib.h>

#include "ring/assert.h"

#ifndef HPX_HAVE_MIMALLOC /* set by CMake */
#define HPX_HAVE_MIMALLOC 0
#endif

#if HPX_HAVE_MIMALLOC
#include <mimalloc.h>

static void *own_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return mi_malloc_aligned(size, align);
}

static void own_free(void *ptr, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    mi_free(ptr);
}
#else
static void *own_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    const size_t least = align < sizeof(void *) ? sizeof(void *) : align;
    return aligned_alloc(least, (size + least - 1) / least * least);
}

static void own_free(void *ptr, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(ptr);
}
#endif

static void *counting_alloc(size_t size, size_t align, void *ctx)
{
    hpxi_counting_allocator *allocator = ctx;
    HPX_ASSERT(align != 0 && (align & (align - 1)) == 0);
    atomic_fetch_add_explicit(&allocator->count, 1, memory_order_relaxed);
    void *block = allocator->wrapped.alloc(size, align, allocator->wrapped.ctx);
    if (block != NULL) {
        atomic_fetch_add_explicit(&allocator->live, 1, memory_order_relaxed);
    }
    return block;
}

static void counting_free(void *ptr, size_t size, void *ctx)
{
    hpxi_counting_allocator *allocator = ctx;
    HPX_ASSERT(ptr != NULL);
    atomic_fetch_sub_explicit(&allocator->live, 1, memory_order_relaxed);
    allocator->wrapped.free(ptr, size, allocator->wrapped.ctx);
}

hpx_allocator hpxi_allocator_own(void)
{
    return (hpx_allocator){.alloc = own_alloc, .free = own_free};
}

void hpxi_counting_allocator_init(hpxi_counting_allocator *allocator, const hpx_allocator *from)
{
    if (from != NULL && from->alloc != NULL) {
        HPX_ASSERT(from->free != NULL);
        allocator->wrapped = *from;
    } else {
        allocator->wrapped = hpxi_allocator_own();
    }
    allocator->counting =
        (hpx_allocator){.alloc = counting_alloc, .free = counting_free, .ctx = allocator};
    atomic_init(&allocator->count, 0);
    atomic_init(&allocator->live, 0);
}

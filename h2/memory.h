/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - one session's memory: counted, bounded, and with blocks kept for nghttp2.
 *
 * Role      nghttp2 allocates half a dozen blocks per request (stream, frames, field lists).
 *           They come from the session's allocator through `library`, and are kept by size when
 *           nghttp2 gives them back, so that a steady state asks the allocator for nothing.
 * Threads   As the session: one.
 * Memory    All blocks, kept ones included, stay within bytes_max. When a new block would not fit,
 *           the kept ones go back to the allocator first.
 */
#ifndef HPXI_H2_MEMORY_H
#define HPXI_H2_MEMORY_H

#include <nghttp2/nghttp2.h>

#include "ring/alloc.h"

#define HPXI_H2_MEMORY_CLASSES 12u /* 32 bytes to 64 KiB, doubling */

struct hpxi_h2_block;

typedef struct hpxi_h2_memory {
    const hpx_allocator *allocator; /* borrowed */
    size_t bytes_max;
    size_t bytes;                 /* held from the allocator */
    uint64_t allocations;         /* asked from the allocator */
    uint64_t library_allocations; /* asked for by nghttp2 */
    struct hpxi_h2_block *kept[HPXI_H2_MEMORY_CLASSES];
    hpx_allocator counted; /* for our own objects: counted and bounded, nothing kept */
    nghttp2_mem library;   /* for nghttp2 */
} hpxi_h2_memory;

/* In place; it must not move afterwards. */
void hpxi_h2_memory_init(hpxi_h2_memory *memory, const hpx_allocator *allocator, size_t bytes_max);

/* Gives the kept blocks back. Everything must have been freed. */
void hpxi_h2_memory_fini(hpxi_h2_memory *memory);

#endif /* HPXI_H2_MEMORY_H */

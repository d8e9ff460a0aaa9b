/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc.h - thin calls over hpx_allocator, and the growable byte buffer built on it.
 *
 * Role      hpxi_buf is a queue of bytes in one contiguous block: reserve at the tail, consume at
 *           the head. It grows by doubling and never shrinks, so that a steady state allocates
 *           nothing. An hpxi_buf has one owner at a time.
 * Threads   A buffer belongs to one thread at a time. The allocator is thread-safe.
 */
#ifndef HPXI_ALLOC_H
#define HPXI_ALLOC_H

#include <string.h>

#include <hpx/base.h>

#include "ring/assert.h"

/* Takes memory aligned to `align` (a power of two). NULL when there is none. */
static inline void *hpxi_alloc(const hpx_allocator *allocator, size_t size, size_t align)
{
    HPX_ASSERT(size != 0);
    return allocator->alloc(size, align, allocator->ctx);
}

/* As hpxi_alloc(), zeroed. */
static inline void *hpxi_alloc_zero(const hpx_allocator *allocator, size_t size, size_t align)
{
    void *block = hpxi_alloc(allocator, size, align);
    if (block != NULL) {
        memset(block, 0, size);
    }
    return block;
}

static inline void hpxi_free(const hpx_allocator *allocator, void *block, size_t size)
{
    if (block != NULL) {
        allocator->free(block, size, allocator->ctx);
    }
}

typedef struct hpxi_buf {
    uint8_t *data;
    size_t head; /* first unread byte */
    size_t tail; /* first free byte; head <= tail <= capacity */
    size_t capacity;
    const hpx_allocator *allocator;
} hpxi_buf;

static inline void hpxi_buf_init(hpxi_buf *buf, const hpx_allocator *allocator)
{
    *buf = (hpxi_buf){.allocator = allocator};
}

static inline void hpxi_buf_fini(hpxi_buf *buf)
{
    hpxi_free(buf->allocator, buf->data, buf->capacity);
    *buf = (hpxi_buf){.allocator = buf->allocator};
}

static inline size_t hpxi_buf_size(const hpxi_buf *buf)
{
    HPX_DASSERT(buf->head <= buf->tail);
    HPX_DASSERT(buf->tail <= buf->capacity);
    return buf->tail - buf->head;
}

/* Slow path of hpxi_buf_reserve(): compacts, else grows by doubling. */
uint8_t *hpxi_buf_grow(hpxi_buf *buf, size_t bytes);

/* `bytes` writable bytes at the tail, contiguous; NULL when out of memory (nothing lost). */
static inline uint8_t *hpxi_buf_reserve(hpxi_buf *buf, size_t bytes)
{
    if (HPXI_LIKELY(buf->capacity - buf->tail >= bytes && buf->data != NULL)) {
        return buf->data + buf->tail;
    }
    return hpxi_buf_grow(buf, bytes);
}

static inline void hpxi_buf_commit(hpxi_buf *buf, size_t bytes)
{
    HPX_DASSERT(bytes <= buf->capacity - buf->tail);
    buf->tail += bytes;
}

static inline void hpxi_buf_consume(hpxi_buf *buf, size_t bytes)
{
    HPX_DASSERT(bytes <= hpxi_buf_size(buf));
    buf->head += bytes;
    if (buf->head == buf->tail) {
        buf->head = 0;
        buf->tail = 0;
    }
}

static inline bool hpxi_buf_append(hpxi_buf *buf, const void *bytes, size_t size)
{
    uint8_t *to = hpxi_buf_reserve(buf, size);
    if (to == NULL) {
        return false;
    }
    if (size != 0) {
        memcpy(to, bytes, size);
    }
    hpxi_buf_commit(buf, size);
    return true;
}

static inline hpx_span hpxi_buf_span(const hpxi_buf *buf)
{
    return (hpx_span){
        .data = buf->data == NULL ? NULL : buf->data + buf->head, .size = hpxi_buf_size(buf)};
}

#endif /* HPXI_ALLOC_H */

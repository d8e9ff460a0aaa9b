/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - nghttp2's allocator: size classes over the session's allocator.
 *
 * Role      nghttp2 frees without a size, so each block begins with a header that names its class.
 */
#include "h2/memory.h"

#include <stdalign.h>

#define MEMORY_CLASS_SHIFT 5u    /* the smallest class: 32 bytes, header included */
#define MEMORY_CLASS_NONE  0xFFu /* larger than the largest class: not kept */

typedef struct hpxi_h2_block {
    alignas(16) size_t bytes; /* of the whole block */
    union {
        uint8_t class_index;        /* in use */
        struct hpxi_h2_block *next; /* kept */
    };
} h2_block;

_Static_assert(sizeof(h2_block) == 16, "what follows the header is aligned as malloc() aligns");

static void memory_give_back(hpxi_h2_memory *memory, void *block, size_t bytes)
{
    HPX_ASSERT(memory->bytes >= bytes);
    memory->bytes -= bytes;
    hpxi_free(memory->allocator, block, bytes);
}

static void memory_trim(hpxi_h2_memory *memory)
{
    for (size_t i = 0; i < HPXI_H2_MEMORY_CLASSES; i++) {
        while (memory->kept[i] != NULL) {
            h2_block *block = memory->kept[i];
            memory->kept[i] = block->next;
            memory_give_back(memory, block, block->bytes);
        }
    }
}

static void *memory_take(hpxi_h2_memory *memory, size_t bytes, size_t align)
{
    HPX_DASSERT(memory->bytes <= memory->bytes_max);
    if (bytes > memory->bytes_max - memory->bytes) {
        memory_trim(memory);
        if (bytes > memory->bytes_max - memory->bytes) {
            return NULL;
        }
    }
    memory->allocations++;
    void *block = hpxi_alloc(memory->allocator, bytes, align);
    if (block != NULL) {
        memory->bytes += bytes;
        HPX_DASSERT(memory->bytes <= memory->bytes_max);
    }
    return block;
}

/* ---- nghttp2's face ------------------------------------------------------------------------- */

static uint8_t memory_class_of(size_t bytes)
{
    uint8_t index = 0;
    while (index < HPXI_H2_MEMORY_CLASSES && bytes > (size_t)1 << (MEMORY_CLASS_SHIFT + index)) {
        index++;
    }
    return index == HPXI_H2_MEMORY_CLASSES ? MEMORY_CLASS_NONE : index;
}

static void *library_malloc(size_t size, void *ctx)
{
    hpxi_h2_memory *memory = ctx;
    memory->library_allocations++;
    if (size > SIZE_MAX / 4) {
        return NULL;
    }
    size_t bytes = size + sizeof(h2_block);
    const uint8_t index = memory_class_of(bytes);
    h2_block *block = NULL;
    if (index != MEMORY_CLASS_NONE) {
        bytes = (size_t)1 << (MEMORY_CLASS_SHIFT + index);
        block = memory->kept[index];
    }
    if (block != NULL) {
        memory->kept[index] = block->next;
    } else {
        block = memory_take(memory, bytes, alignof(h2_block));
        if (block == NULL) {
            return NULL;
        }
        block->bytes = bytes;
    }
    HPX_DASSERT(block->bytes == bytes);
    block->class_index = index;
    return block + 1;
}

static void library_free(void *ptr, void *ctx)
{
    hpxi_h2_memory *memory = ctx;
    if (ptr == NULL) {
        return;
    }
    h2_block *block = (h2_block *)ptr - 1;
    const uint8_t index = block->class_index;
    if (index == MEMORY_CLASS_NONE) {
        memory_give_back(memory, block, block->bytes);
        return;
    }
    HPX_ASSERT(index < HPXI_H2_MEMORY_CLASSES); /* else nghttp2 wrote before its block */
    block->next = memory->kept[index];
    memory->kept[index] = block;
}

static void *library_calloc(size_t count, size_t size, void *ctx)
{
    if (size != 0 && count > SIZE_MAX / 4 / size) {
        return NULL;
    }
    void *ptr = library_malloc(count * size, ctx);
    if (ptr != NULL) {
        memset(ptr, 0, count * size);
    }
    return ptr;
}

static void *library_realloc(void *ptr, size_t size, void *ctx)
{
    if (ptr == NULL) {
        return library_malloc(size, ctx);
    }
    const h2_block *block = (h2_block *)ptr - 1;
    const size_t room = block->bytes - sizeof(h2_block);
    if (size <= room) {
        return ptr;
    }
    void *moved = library_malloc(size, ctx);
    if (moved != NULL) {
        memcpy(moved, ptr, room);
        library_free(ptr, ctx);
    }
    return moved;
}

/* ---- Our own objects ------------------------------------------------------------------------ */

static void *counted_alloc(size_t size, size_t align, void *ctx)
{
    return memory_take(ctx, size, align);
}

static void counted_free(void *ptr, size_t size, void *ctx)
{
    memory_give_back(ctx, ptr, size);
}

void hpxi_h2_memory_init(hpxi_h2_memory *memory, const hpx_allocator *allocator, size_t bytes_max)
{
    *memory = (hpxi_h2_memory){
        .allocator = allocator,
        .bytes_max = bytes_max,
        .counted = {.alloc = counted_alloc, .free = counted_free, .ctx = memory},
        .library = {
            .mem_user_data = memory,
            .malloc = library_malloc,
            .free = library_free,
            .calloc = library_calloc,
            .realloc = library_realloc}};
}

void hpxi_h2_memory_fini(hpxi_h2_memory *memory)
{
    memory_trim(memory);
    HPX_ASSERT(memory->bytes == 0);
}

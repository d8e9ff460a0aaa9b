/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - wolfSSL's allocator, counted, and wiping what is freed; its one-time start; how it was
 * built.
 *
 * Threads   Any. wolfSSL's allocator is one per process: it is set when the program is loaded, so
 *           that no block is taken from one allocator and given to another, whoever in the program
 *           calls wolfSSL first.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include <hpx/system.h>

#include "tls/internal.h"

#ifndef HPX_HAVE_MIMALLOC /* set by CMake */
#define HPX_HAVE_MIMALLOC 0
#endif
#if HPX_HAVE_MIMALLOC
#include <mimalloc.h>
#endif

static _Atomic uint64_t memory_allocations;
static pthread_once_t memory_once = PTHREAD_ONCE_INIT;
static hpx_status memory_init_status = HPX_E_INTERNAL;

static size_t memory_usable_bytes(void *block)
{
#if HPX_HAVE_MIMALLOC
    return mi_usable_size(block);
#else
    return malloc_usable_size(block);
#endif
}

static void *memory_malloc(size_t size)
{
    atomic_fetch_add_explicit(&memory_allocations, 1, memory_order_relaxed);
#if HPX_HAVE_MIMALLOC
    return mi_malloc(size);
#else
    return malloc(size);
#endif
}

/* wolfSSL wipes its keys, but not the last record's plain text in a session's buffers. */
static void memory_free(void *block)
{
    if (block == NULL) {
        return;
    }
    explicit_bzero(block, memory_usable_bytes(block));
#if HPX_HAVE_MIMALLOC
    mi_free(block);
#else
    free(block);
#endif
}

/* Never in place, so that what is left behind is wiped as well. */
static void *memory_realloc(void *block, size_t size)
{
    void *other = memory_malloc(size);
    if (other != NULL && block != NULL) {
        const size_t before = memory_usable_bytes(block);
        memcpy(other, block, before < size ? before : size);
        memory_free(block);
    }
    return other;
}

uint64_t hpxi_tls_allocations(void)
{
    return atomic_load_explicit(&memory_allocations, memory_order_relaxed);
}

void *hpxi_tls_alloc_zero(size_t size)
{
    HPX_ASSERT(size != 0);
    void *block = wolfSSL_Malloc(size);
    if (block != NULL) {
        memset(block, 0, size);
    }
    return block;
}

void hpxi_tls_dealloc(void *block)
{
    wolfSSL_Free(block);
}

__attribute__((constructor)) static void memory_set_allocators(void)
{
    const int rc = wolfSSL_SetAllocators(memory_malloc, memory_free, memory_realloc);
    HPX_ASSERT(rc == 0);
}

static void memory_init(void)
{
    memory_init_status = wolfSSL_Init() == WOLFSSL_SUCCESS ? HPX_OK : HPX_E_NO_MEMORY;
}

hpx_status hpxi_tls_global_init(void)
{
    const int rc = pthread_once(&memory_once, memory_init);
    HPX_ASSERT(rc == 0);
    return memory_init_status;
}

void hpx_system_tls_build(hpx_tls_build *out)
{
    HPX_ASSERT(out != NULL);
    *out = (hpx_tls_build)
    {
        .version = wolfSSL_lib_version(),
#if (defined(WOLFSSL_AESNI) && defined(USE_INTEL_SPEEDUP)) || defined(WOLFSSL_ARMASM)
        .has_assembly = true,
#endif
#if !defined(OPENSSL_COMPATIBLE_DEFAULTS)
        .verifies_by_default = true,
#endif
    };
    HPX_ASSERT(out->version != NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.c - wolfSSL's allocator, counted, and wiping what is freed; its one-time start; how it was
 * built.
 *
 * A record of at most 4 KiB lives in the session's own two buffers. For a longer one wolfSSL asks
 * for a block and gives it back when the record is done: these blocks come from a few that each
 * thread keeps, so that no record allocates and an idle session holds none. They are as long as the
 * longest record. What they hold when they come back is cipher text, or wiped by wolfSSL.
 *
 * Threads   Any. wolfSSL's allocator is one per process: it is set when the program is loaded, so
 *           that no block is taken from one allocator and given to another, whoever in the program
 *           calls wolfSSL first.
 * Memory    At most MEMORY_SPARES_MAX blocks of MEMORY_RECORD_BYTES for each thread that drives
 *           sessions; freed when it ends.
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

#define MEMORY_RECORD_MIN 4096u /* shorter ones are the session's business */
#define MEMORY_RECORD_BYTES                                                                        \
    (17u << 10)              /* 16 KiB, header, and 256 bytes of expansion, rounded up             \
                              */
#define MEMORY_SPARES_MAX 4u /* in and out of a session, and a handshake's messages */

/* Record blocks that this thread keeps for its next long record. */
typedef struct memory_spares {
    void *blocks[MEMORY_SPARES_MAX];
    uint32_t count;
    bool is_registered; /* memory_spares_free() will run when the thread ends */
    bool is_driving;    /* wolfSSL is at work on a session: what it asks for now is short-lived */
} memory_spares;

static _Thread_local memory_spares memory_of_thread;
static pthread_key_t memory_spares_key;

static _Atomic uint64_t memory_allocations;
static pthread_once_t memory_once = PTHREAD_ONCE_INIT;
static hpx_status memory_init_status = HPX_E_INTERNAL;

size_t hpxi_tls_memory_usable_bytes(void *block)
{
#if HPX_HAVE_MIMALLOC
    return mi_usable_size(block);
#else
    return malloc_usable_size(block);
#endif
}

static void memory_give_back(void *block)
{
#if HPX_HAVE_MIMALLOC
    mi_free(block);
#else
    free(block);
#endif
}

/* A thread ends, or the program. */
static void memory_spares_free(void *spares_of_thread)
{
    memory_spares *spares = spares_of_thread;
    while (spares->count > 0) {
        memory_give_back(spares->blocks[--spares->count]);
    }
    spares->is_registered = false;
}

/* Keeps a record block for this thread's next one; false: there are enough. */
static bool memory_keep(void *block)
{
    memory_spares *spares = &memory_of_thread;
    if (spares->count == MEMORY_SPARES_MAX) {
        return false;
    }
    if (!spares->is_registered) {
        if (pthread_setspecific(memory_spares_key, spares) != 0) {
            return false;
        }
        spares->is_registered = true;
    }
    spares->blocks[spares->count++] = block;
    return true;
}

void hpxi_tls_memory_drive(bool on)
{
    HPX_DASSERT(memory_of_thread.is_driving != on);
    memory_of_thread.is_driving = on;
}

static void *memory_malloc(size_t size)
{
    if (size > MEMORY_RECORD_MIN && size <= MEMORY_RECORD_BYTES && memory_of_thread.is_driving) {
        memory_spares *spares = &memory_of_thread;
        if (HPXI_LIKELY(spares->count > 0)) {
            return spares->blocks[--spares->count];
        }
        size = MEMORY_RECORD_BYTES;
    }
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
    const size_t usable = hpxi_tls_memory_usable_bytes(block);
    if (usable >= MEMORY_RECORD_BYTES && usable < 2 * MEMORY_RECORD_BYTES && memory_keep(block)) {
        return;
    }
    explicit_bzero(block, usable);
    memory_give_back(block);
}

/* Never in place, so that what is left behind is wiped as well. */
static void *memory_realloc(void *block, size_t size)
{
    void *other = memory_malloc(size);
    if (other != NULL && block != NULL) {
        const size_t before = hpxi_tls_memory_usable_bytes(block);
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
    int rc = pthread_key_create(&memory_spares_key, memory_spares_free);
    HPX_ASSERT(rc == 0);
    rc = wolfSSL_SetAllocators(memory_malloc, memory_free, memory_realloc);
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

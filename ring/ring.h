/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.h - the completion queue of a shard: what the library needs of io_uring, and no more.
 *
 * Role      ring_uring.c implements this on io_uring. A simulated backend with virtual time can
 *           implement the same functions and be chosen at link time: no call here is virtual.
 * Threads   A ring belongs to the thread that made it (IORING_SETUP_SINGLE_ISSUER).
 * Memory    Sized by hpxi_ring_config; nothing is allocated after hpxi_ring_new().
 *
 * Every operation carries a token: op, generation, index. Completions bring it back. A token's
 * index may be reused only when no operation with it is in flight.
 */
#ifndef HPXI_RING_H
#define HPXI_RING_H

#include <stdbool.h>
#include <stdint.h>

#include <hpx/base.h>

#include "ring/counters.h"
#include "ring/net.h"

typedef struct hpxi_ring hpxi_ring;

typedef enum hpxi_op {
    HPXI_OP_NONE = 0,
    HPXI_OP_ACCEPT,  /* multishot: result is the new fd */
    HPXI_OP_CONNECT, /* once */
    HPXI_OP_RECV,    /* multishot into provided buffers */
    HPXI_OP_SEND,    /* once, MSG_WAITALL; may still be short */
    HPXI_OP_POLL,    /* multishot: result is the event mask. For the resolver. */
    HPXI_OP_DOORBELL, /* multishot poll of the shard's eventfd */
    HPXI_OP_CANCEL,  /* completion of a cancel itself: to be ignored */
} hpxi_op;

typedef uint64_t hpxi_token; /* op:8 | generation:24 | index:32 */

#define HPXI_GENERATION_MASK UINT32_C(0xFFFFFF)

static inline hpxi_token hpxi_token_make(hpxi_op op, uint32_t generation, uint32_t index)
{
    return (uint64_t)op << 56 | (uint64_t)(generation & HPXI_GENERATION_MASK) << 32 | index;
}

typedef struct hpxi_completion {
    hpxi_op op;
    uint32_t generation;
    uint32_t index;
    int32_t result; /* >= 0, or -errno */
    bool more;      /* a multishot operation goes on; if false, it has ended */
    uint16_t slot;  /* RECV: index of the slot that `data` lies in */
    uint8_t *data;  /* RECV with result > 0: the bytes, writable, until hpxi_ring_recycle() */
} hpxi_completion;

typedef struct hpxi_ring_config {
    uint32_t sq_entries; /* powers of two, all of them */
    uint32_t cq_entries;
    uint32_t slot_bytes;
    uint32_t slot_count; /* <= 32768 */
    uint32_t ops_max;    /* upper bound of operations in flight and cancels, for the overflow of
                            preparations when the submission queue is full */
} hpxi_ring_config;

/*
 * Set up on the calling thread: SINGLE_ISSUER | DEFER_TASKRUN | TASKRUN_FLAG | SUBMIT_ALL | CLAMP |
 * CQSIZE (| NO_SQARRAY), registered ring descriptor, dontfork, NO_IOWAIT where it exists, buffer
 * ring registered. Features and operations are probed, never versions.
 *
 * Errors name the cause and the remedy in `error`: HPX_E_URING_DISABLED (sysctl),
 * HPX_E_URING_BLOCKED (EPERM/ENOSYS with the sysctl at 0: seccomp), HPX_E_URING_UNSUPPORTED
 * (missing feature or op, named), HPX_E_MEMLOCK, HPX_E_NO_MEMORY, -errno.
 */
hpx_status hpxi_ring_new(hpxi_ring **out, const hpxi_ring_config *config, hpxi_counters *counters,
                         const hpx_allocator *allocator, hpx_error *error);

/* Number of operations whose final completion has not been taken by hpxi_ring_next(). */
uint32_t hpxi_ring_inflight(const hpxi_ring *ring);

/* Cancel everything, reap until nothing is in flight or `timeout_ns` has passed, then free. If
 * operations remain their buffers are leaked on purpose: the kernel may still write to them. */
void hpxi_ring_free(hpxi_ring *ring, uint64_t timeout_ns);

/* Preparations. They never fail: when the submission queue is full they submit; what still does
 * not fit is kept (config.ops_max) and submitted in the next turn. Memory given (address, data)
 * belongs to the kernel until the final completion. */
void hpxi_ring_accept(hpxi_ring *ring, hpxi_token token, int fd);
void hpxi_ring_connect(hpxi_ring *ring, hpxi_token token, int fd, const hpxi_address *address);
void hpxi_ring_recv(hpxi_ring *ring, hpxi_token token, int fd);
void hpxi_ring_send(hpxi_ring *ring, hpxi_token token, int fd, const void *data, uint32_t size);
void hpxi_ring_poll(hpxi_ring *ring, hpxi_token token, int fd, uint32_t events);

/* Cancel the operation(s) with exactly this token: their final completion follows, with -ECANCELED
 * or with what happened first. */
void hpxi_ring_cancel(hpxi_ring *ring, hpxi_token target);

/* Submit and run completions if there is anything to submit or the kernel says there is work
 * (IORING_SQ_TASKRUN, overflow); otherwise makes no system call. Never blocks.
 * Returns the number of completions ready (may be a lower bound), or -errno. */
int hpxi_ring_turn(hpxi_ring *ring);

/* As hpxi_ring_turn(), but sleeps until a completion is ready or timeout_ns has passed. */
int hpxi_ring_wait(hpxi_ring *ring, uint64_t timeout_ns);

/* Is a completion ready, or does the kernel ask to be entered? No system call. */
bool hpxi_ring_has_work(const hpxi_ring *ring);

/* Take the next completion. False when there is none. */
bool hpxi_ring_next(hpxi_ring *ring, hpxi_completion *out);

/* Give the slot of a RECV completion back; made visible to the kernel by hpxi_ring_turn()/_wait()
 * or hpxi_ring_slots_flush(). Each slot exactly once (asserted); no-op when data is NULL. */
void hpxi_ring_recycle(hpxi_ring *ring, const hpxi_completion *completion);
void hpxi_ring_slots_flush(hpxi_ring *ring);

/* Slots owned by the kernel now (for tests: equals slot_count when quiet). */
uint32_t hpxi_ring_slots_home(const hpxi_ring *ring);

#endif /* HPXI_RING_H */

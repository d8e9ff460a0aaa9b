/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doorbell.h - wakes a consumer that sleeps, and costs a spinning one nothing.
 *
 * Consumer  prepare(): asleep = 1 (seq_cst); then re-check every source (hpxi_spsc_is_empty_sc);
 *           if all are empty, sleep on `fd` (an eventfd); afterwards cancel().
 * Producer  publish its records (seq_cst store), then ring(): writes the eventfd only if it swaps
 *           `asleep` from 1 to 0.
 * Proof     In the single total order of seq_cst operations either the consumer's store of asleep
 *           comes before the producer's load of it, which then rings; or the producer's publish
 *           comes before the consumer's re-check, which then finds the record.
 * Threads   Any number of producers, one consumer.
 */
#ifndef HPXI_DOORBELL_H
#define HPXI_DOORBELL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <hpx/base.h>

typedef struct hpxi_doorbell {
    alignas(128) _Atomic uint32_t asleep;
    int fd; /* eventfd, non-blocking, close-on-exec; read-only after init */
} hpxi_doorbell;

hpx_status hpxi_doorbell_init(hpxi_doorbell *bell); /* HPX_OK or -errno */
void hpxi_doorbell_fini(hpxi_doorbell *bell);

/* Consumer: announce sleep. Re-check all sources after this and before sleeping. */
static inline void hpxi_doorbell_prepare(hpxi_doorbell *bell)
{
    atomic_store_explicit(&bell->asleep, 1, memory_order_seq_cst); /* partner: ring() */
}

/* Consumer: awake again (woken, or the re-check found work). */
static inline void hpxi_doorbell_cancel(hpxi_doorbell *bell)
{
    atomic_store_explicit(&bell->asleep, 0, memory_order_relaxed);
}

/* Consumer: take the eventfd's count so that it no longer polls readable. */
void hpxi_doorbell_drain(hpxi_doorbell *bell);

/* Consumer: block on the eventfd until it is rung or timeout_ns has passed (UINT64_MAX: for ever).
 * Only between prepare() and cancel(). Returns true if rung; drains. EINTR counts as not rung. */
bool hpxi_doorbell_wait(hpxi_doorbell *bell, uint64_t timeout_ns);

/* The slow path of ring(): the system call. Async-signal-safe. */
void hpxi_doorbell_write(hpxi_doorbell *bell);

/* Producer: call after publishing. Returns true if the consumer had to be woken. */
static inline bool hpxi_doorbell_ring(hpxi_doorbell *bell)
{
    /* Partner: prepare(). The plain load keeps the line shared while the consumer is awake. */
    if (atomic_load_explicit(&bell->asleep, memory_order_seq_cst) == 0) {
        return false;
    }
    if (atomic_exchange_explicit(&bell->asleep, 0, memory_order_seq_cst) == 0) {
        return false;
    }
    hpxi_doorbell_write(bell);
    return true;
}

#endif /* HPXI_DOORBELL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counters.h - counters of one shard: written by its thread alone, readable by any thread.
 *
 * Relaxed loads and stores, no locked instruction: there is one writer, and a reader needs each
 * number whole, not all of them from one instant.
 */
#ifndef HPXI_COUNTERS_H
#define HPXI_COUNTERS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t hpxi_counter;

typedef struct hpxi_counters {
    alignas(128) hpxi_counter turns;
    hpxi_counter turns_busy;
    hpxi_counter enters;
    hpxi_counter sleeps;
    hpxi_counter bytes_received;
    hpxi_counter bytes_sent;
    hpxi_counter recv_syscalls;
    hpxi_counter send_syscalls;
    hpxi_counter send_fallbacks;
    hpxi_counter messages_received;
    hpxi_counter messages_sent;
    hpxi_counter messages_dropped;
    hpxi_counter no_buffers;
    hpxi_counter cq_overflows;
    hpxi_counter stale_completions;
    hpxi_counter stale_commands;
    hpxi_counter connections;
    hpxi_counter turn_ns_max;
    hpxi_counter wakes;
} hpxi_counters;

/* Single writer only. */
static inline void hpxi_count(hpxi_counter *counter, uint64_t by)
{
    const uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + by, memory_order_relaxed);
}

static inline uint64_t hpxi_counter_read(const hpxi_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif /* HPXI_COUNTERS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* bench_ping.c - see bench_ping.h. */
#include "bench/h2/bench_ping.h"

#include <pthread.h>
#include <stdatomic.h>

#include "h2/ping.h"

#define START_NS (1000 * HPX_NS_PER_S)

/* As HTTP libraries that share a connection among threads keep it. */
typedef struct locked_counters {
    alignas(HPXI_H2_CACHE_LINE) pthread_mutex_t lock;
    uint64_t bytes;
    uint64_t last_read_at_ns;
    uint64_t sample_at_ns;
    bool sample_wanted;
} locked_counters;

typedef struct added_counters {
    alignas(HPXI_H2_CACHE_LINE) _Atomic uint64_t bytes;
    _Atomic uint64_t last_read_at_ns;
    _Atomic uint64_t sample_at_ns;
    atomic_bool sample_wanted;
} added_counters;

static locked_counters locked = {.lock = PTHREAD_MUTEX_INITIALIZER};
static added_counters added[BENCH_PING_THREADS];
static hpxi_h2_ping pings[BENCH_PING_THREADS];

void bench_ping_reset(void)
{
    static const hpxi_h2_ping_config config = HPXI_H2_PING_CONFIG_INIT;
    locked.bytes = 0;
    locked.sample_at_ns = UINT64_MAX;
    for (int i = 0; i < BENCH_PING_THREADS; i++) {
        atomic_store(&added[i].bytes, 0);
        atomic_store(&added[i].sample_at_ns, UINT64_MAX);
        hpxi_h2_ping_init(&pings[i], &config, START_NS);
    }
}

static void record_locked(uint32_t bytes, uint64_t now_ns)
{
    pthread_mutex_lock(&locked.lock);
    locked.bytes += bytes;
    locked.last_read_at_ns = now_ns;
    if (now_ns >= locked.sample_at_ns) {
        locked.sample_wanted = true;
    }
    pthread_mutex_unlock(&locked.lock);
}

static inline void record_added(added_counters *to, uint32_t bytes, uint64_t now_ns)
{
    atomic_fetch_add_explicit(&to->bytes, bytes, memory_order_relaxed);
    atomic_store_explicit(&to->last_read_at_ns, now_ns, memory_order_relaxed);
    if (now_ns >= atomic_load_explicit(&to->sample_at_ns, memory_order_relaxed)) {
        atomic_store_explicit(&to->sample_wanted, true, memory_order_relaxed);
    }
}

void bench_ping_record(bench_ping_way way, int thread, uint32_t bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t now_ns = START_NS + i;
        switch (way) {
        case BENCH_PING_MUTEX:
            record_locked(bytes, now_ns);
            break;
        case BENCH_PING_FETCH_ADD:
            record_added(&added[0], bytes, now_ns);
            break;
        case BENCH_PING_FETCH_ADD_OWN:
            record_added(&added[thread], bytes, now_ns);
            break;
        case BENCH_PING_OURS:
            hpxi_h2_ping_record_data(&pings[thread], bytes, now_ns);
            break;
        }
    }
}

uint64_t bench_ping_total(void)
{
    uint64_t total = locked.bytes;
    for (int i = 0; i < BENCH_PING_THREADS; i++) {
        total += atomic_load(&added[i].bytes) + hpxi_h2_ping_read(pings[i].stats).bytes;
    }
    return total;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* bench_feed.c - see bench_feed.h. */
#include "bench/engine/bench_feed.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "engine/feed.h"

#define BENCH_TOPICS  16u
#define BENCH_BYTES   4096u /* of the largest message */
#define BENCH_PUBLISH 16u
#define BENCH_ROUND   256u

struct bench_feed {
    hpxi_feed *feeds;
    uint32_t feed_count;
    hpx_allocator allocator;
    _Atomic uint64_t allocations;
    bool with_thread;
    _Atomic bool stop;
    pthread_t thread;
    uint64_t sum; /* keeps the reads of the reader from being removed */
    uint8_t message[BENCH_BYTES];
};

static void *bench_alloc(size_t size, size_t align, void *ctx)
{
    bench_feed *bench = ctx;
    atomic_fetch_add_explicit(&bench->allocations, 1, memory_order_relaxed);
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void bench_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

/* The CPUs that this process may use, read before the first pinning. */
static cpu_set_t allowed;

/* Pins to the nth of them; false where there is only one. */
static bool pin_to(int nth)
{
    if (CPU_COUNT(&allowed) == 0 && sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
        return false;
    }
    for (size_t cpu = 0; CPU_COUNT(&allowed) >= 2 && cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed) && nth-- == 0) {
            cpu_set_t one;
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            return pthread_setaffinity_np(pthread_self(), sizeof(one), &one) == 0;
        }
    }
    return false;
}

bool bench_feed_pin(void)
{
    return pin_to(0);
}

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* First and last byte: what a message costs its reader at the least. */
static uint64_t touch(hpx_span payload)
{
    return payload.size == 0 ? 0 : (uint64_t)payload.data[0] + payload.data[payload.size - 1];
}

static void push(bench_feed *bench, hpxi_feed *feed, uint64_t number, uint32_t bytes)
{
    const hpxi_feed_message message = {
        .topic_index = (uint32_t)(number % BENCH_TOPICS),
        .kind = HPX_MESSAGE_TEXT,
        .epoch = 1,
        .time_ns = number,
        .payload = {.data = bench->message, .size = bytes}};
    (void)hpxi_feed_push(feed, &message);
}

static void *answer_run(void *arg)
{
    bench_feed *bench = arg;
    (void)pin_to(1);
    while (!atomic_load_explicit(&bench->stop, memory_order_relaxed)) {
        hpx_update update;
        if (hpxi_feed_next(&bench->feeds[0], &update) != 1) {
            pause_cpu();
            continue;
        }
        bench->sum += touch(update.payload);
        push(bench, &bench->feeds[1], update.time_ns, (uint32_t)update.payload.size);
        hpxi_feed_publish(&bench->feeds[1]);
    }
    return NULL;
}

bench_feed *bench_feed_new(uint32_t overflow, uint32_t feeds, bool with_thread)
{
    bench_feed *bench = calloc(1, sizeof(*bench));
    if (bench == NULL) {
        abort(); /* a benchmark: no use in going on */
    }
    bench->allocator = (hpx_allocator){.alloc = bench_alloc, .free = bench_free, .ctx = bench};
    bench->feed_count = feeds;
    bench->feeds = aligned_alloc(_Alignof(hpxi_feed), feeds * sizeof(hpxi_feed));
    bench->with_thread = with_thread;
    const hpxi_feed_config config = {
        .overflow = (hpx_overflow)overflow,
        .ring_bytes = 256u << 10,
        .topic_count = BENCH_TOPICS,
        .message_bytes_max = BENCH_BYTES,
        .allocator = &bench->allocator};
    for (uint32_t i = 0; i < feeds; i++) {
        if (bench->feeds == NULL || hpxi_feed_init(&bench->feeds[i], &config) != HPX_OK) {
            abort();
        }
    }
    if (with_thread && pthread_create(&bench->thread, NULL, answer_run, bench) != 0) {
        abort();
    }
    return bench;
}

void bench_feed_free(bench_feed *bench)
{
    if (bench->with_thread) {
        atomic_store(&bench->stop, true);
        pthread_join(bench->thread, NULL);
    }
    for (uint32_t i = 0; i < bench->feed_count; i++) {
        hpxi_feed_fini(&bench->feeds[i]);
    }
    free(bench->feeds);
    free(bench);
}

static void fan_out_round(bench_feed *bench, uint32_t bytes)
{
    for (uint32_t i = 0; i < BENCH_ROUND; i++) {
        for (uint32_t j = 0; j < bench->feed_count; j++) {
            push(bench, &bench->feeds[j], i, bytes);
        }
        for (uint32_t j = 0; i % BENCH_PUBLISH == BENCH_PUBLISH - 1 && j < bench->feed_count; j++) {
            hpxi_feed_publish(&bench->feeds[j]);
        }
    }
}

void bench_feed_fan_out(
    bench_feed *bench, uint32_t bytes, uint32_t count, bool with_take, bench_feed_times *times)
{
    uint64_t sum = 0;
    const uint64_t allocations = bench->allocations;
    for (uint32_t done = 0; done < count; done += BENCH_ROUND) {
        const uint64_t start_ns = hpx_clock_now_ns();
        fan_out_round(bench, bytes);
        const uint64_t pushed_ns = hpx_clock_now_ns();
        hpx_update update;
        for (uint32_t j = 0; with_take && j < bench->feed_count; j++) {
            while (hpxi_feed_next(&bench->feeds[j], &update) == 1) {
                sum += touch(update.payload);
                times->taken++;
            }
        }
        times->push_ns += pushed_ns - start_ns;
        times->take_ns += hpx_clock_now_ns() - pushed_ns;
    }
    times->allocations += bench->allocations - allocations;
    bench->sum += sum; /* used, so computed */
}

void bench_feed_ping(bench_feed *bench, uint32_t bytes, uint32_t count, uint64_t *rtt_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t start_ns = hpx_clock_now_ns();
        push(bench, &bench->feeds[0], i, bytes);
        hpxi_feed_publish(&bench->feeds[0]);
        hpx_update update;
        while (hpxi_feed_next(&bench->feeds[1], &update) != 1) {
            pause_cpu();
        }
        rtt_ns[i] = hpx_clock_now_ns() - start_ns;
    }
}

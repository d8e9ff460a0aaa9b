/* SPDX-License-Identifier: Apache-2.0 */
/* bench_spsc.c - see bench_spsc.h. */
#include "bench/ring/bench_spsc.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include <hpx/base.h>

#include "ring/spsc.h"

enum { COMMAND_STREAM = 1, COMMAND_LAST, COMMAND_PING, COMMAND_STOP };

struct bench_spsc {
    hpxi_spsc there;
    hpxi_spsc back;
    hpx_allocator allocator;
    bool with_thread;
    pthread_t thread;
    uint64_t sum; /* keeps the reads of the consumer from being removed */
};

static void *bench_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
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

bool bench_spsc_pin(void)
{
    return pin_to(0);
}

static void pause_cpu(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

/* First and last byte: what a record of this size costs at the least. */
static uint64_t touch(const hpxi_record *record)
{
    return (uint64_t)record->payload[0] + record->payload[record->bytes - 1];
}

static hpxi_record *claim_spinning(hpxi_spsc *ring, uint32_t type, uint32_t bytes, uint64_t tag)
{
    hpxi_record *record;
    while ((record = hpxi_spsc_claim(ring, type, bytes, tag)) == NULL) {
        hpxi_spsc_publish(ring);
        pause_cpu();
    }
    record->payload[0] = (uint8_t)tag;
    record->payload[bytes - 1] = (uint8_t)tag;
    return record;
}

static void answer(bench_spsc *bench, const hpxi_record *record)
{
    claim_spinning(&bench->back, record->type, record->bytes, record->tag);
    hpxi_spsc_commit(&bench->back);
    hpxi_spsc_publish(&bench->back);
}

static void *bench_run(void *arg)
{
    bench_spsc *bench = arg;
    (void)pin_to(1);
    for (bool going = true; going;) {
        const hpxi_record *record = hpxi_spsc_peek(&bench->there);
        if (record == NULL) {
            pause_cpu();
            continue;
        }
        bench->sum += touch(record);
        if (record->type != COMMAND_STREAM) {
            answer(bench, record);
        }
        going = record->type != COMMAND_STOP;
        hpxi_spsc_release(&bench->there);
    }
    return NULL;
}

bench_spsc *bench_spsc_new(uint32_t ring_bytes, bool with_thread)
{
    bench_spsc *bench = aligned_alloc(HPXI_ISOLATE, sizeof(*bench));
    if (bench == NULL) {
        return NULL;
    }
    bench->sum = 0;
    bench->with_thread = with_thread;
    bench->allocator = (hpx_allocator){.alloc = bench_alloc, .free = bench_free};
    if (hpxi_spsc_init(&bench->there, ring_bytes, &bench->allocator) != HPX_OK ||
        hpxi_spsc_init(&bench->back, ring_bytes, &bench->allocator) != HPX_OK ||
        (with_thread && pthread_create(&bench->thread, NULL, bench_run, bench) != 0)) {
        abort(); /* a benchmark: no use in going on */
    }
    return bench;
}

static void send_one(bench_spsc *bench, uint32_t type, uint32_t bytes, uint64_t tag)
{
    claim_spinning(&bench->there, type, bytes, tag);
    hpxi_spsc_commit(&bench->there);
    hpxi_spsc_publish(&bench->there);
}

static void await_answer(bench_spsc *bench)
{
    while (hpxi_spsc_peek(&bench->back) == NULL) {
        pause_cpu();
    }
    hpxi_spsc_release(&bench->back);
}

void bench_spsc_free(bench_spsc *bench)
{
    if (bench->with_thread) {
        send_one(bench, COMMAND_STOP, 16, 0);
        await_answer(bench);
        pthread_join(bench->thread, NULL);
    }
    hpxi_spsc_fini(&bench->there);
    hpxi_spsc_fini(&bench->back);
    free(bench);
}

void bench_spsc_local(bench_spsc *bench, uint32_t bytes, uint32_t count, uint32_t batch)
{
    hpxi_spsc *ring = &bench->there;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i += batch) {
        for (uint32_t j = 0; j < batch; j++) {
            claim_spinning(ring, COMMAND_STREAM, bytes, i + j);
            hpxi_spsc_commit(ring);
        }
        hpxi_spsc_publish(ring);
        const hpxi_record *record;
        while ((record = hpxi_spsc_peek(ring)) != NULL) {
            sum += touch(record);
            hpxi_spsc_release(ring);
        }
    }
    bench->sum += sum; /* used, so computed */
}

void bench_spsc_stream(bench_spsc *bench, uint32_t bytes, uint32_t count, uint32_t batch)
{
    for (uint32_t i = 0; i < count; i++) {
        claim_spinning(&bench->there, COMMAND_STREAM, bytes, i);
        hpxi_spsc_commit(&bench->there);
        if (i % batch == batch - 1) {
            hpxi_spsc_publish(&bench->there);
        }
    }
    send_one(bench, COMMAND_LAST, 16, count);
    await_answer(bench);
}

void bench_spsc_ping(bench_spsc *bench, uint32_t bytes, uint32_t count, uint64_t *rtt_ns)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t start_ns = hpx_clock_now_ns();
        send_one(bench, COMMAND_PING, bytes, i);
        await_answer(bench);
        rtt_ns[i] = hpx_clock_now_ns() - start_ns;
    }
}

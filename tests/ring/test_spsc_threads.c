/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: between real threads no record is lost, torn, repeated or reordered, and no wake-up is
 * lost. Method: size, type and content of every record follow from its sequence number, and the
 * consumer computes them again. The doorbell's producers mix bursts with waiting until all is
 * consumed, at once or once the consumer is asleep: there, a lost wake-up is a deadlock, which the
 * watchdog in the main thread turns into a failure. Worth most under thread sanitizer.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

#include "ring/doorbell.h"
#include "ring/spsc.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define RING_BYTES       (16u * 1024)
#define PRODUCERS_MAX    2
#define STREAM_RECORDS   2000000u
#define DOORBELL_RECORDS 200000u
#define SLEEPS_MIN       1000u
#define HANG_NS          (20 * HPX_NS_PER_S) /* without one record: above any scheduling delay */
#define WATCH_NS         (2 * HPX_NS_PER_MS)

typedef struct channel {
    hpxi_spsc ring;
    alignas(HPXI_ISOLATE) _Atomic uint64_t taken; /* by the consumer; the producer waits on it */
    uint64_t count;
    uint32_t seed;
    bool with_doorbell;
} channel;

static channel channels[PRODUCERS_MAX];
static size_t channels_used;
static hpxi_doorbell bell;
static _Atomic uint32_t running; /* threads not yet at their end */
static _Atomic bool stop;        /* the watchdog's: everybody out */
static uint64_t sleeps;
static char failure[160]; /* the consumer's first complaint */

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* What the record with this number looks like. Mostly small, some up to the largest. */
static uint32_t record_bytes(const channel *c, uint64_t tag)
{
    const uint64_t x = mix(tag + c->seed);
    const uint32_t limit = x % 8 == 0 ? c->ring.bytes_max : 64;
    return (uint32_t)(x >> 32) % (limit + 1);
}

static uint32_t record_type(const channel *c, uint64_t tag)
{
    return 1 + (uint32_t)(mix(tag ^ c->seed) % 1000);
}

static void record_fill(uint8_t *payload, uint32_t bytes, uint64_t tag)
{
    uint64_t word = mix(tag);
    for (; bytes >= sizeof(word); bytes -= (uint32_t)sizeof(word), payload += sizeof(word)) {
        memcpy(payload, &word, sizeof(word));
        word = word * 6364136223846793005u + 1;
    }
    memcpy(payload, &word, bytes);
}

static bool record_is_right(const channel *c, const hpxi_record *record, uint64_t tag)
{
    if (record->tag != tag || record->bytes != record_bytes(c, tag) ||
        record->type != record_type(c, tag)) {
        return false;
    }
    uint64_t word = mix(tag);
    const uint8_t *payload = record->payload;
    uint32_t bytes = record->bytes;
    for (; bytes >= sizeof(word); bytes -= (uint32_t)sizeof(word), payload += sizeof(word)) {
        if (memcmp(payload, &word, sizeof(word)) != 0) {
            return false;
        }
        word = word * 6364136223846793005u + 1;
    }
    return memcmp(payload, &word, bytes) == 0;
}

static void producer_flush(channel *c)
{
    hpxi_spsc_publish(&c->ring);
    if (c->with_doorbell) {
        hpxi_doorbell_ring(&bell);
    }
}

static bool producer_put(channel *c, uint64_t tag)
{
    const uint32_t bytes = record_bytes(c, tag);
    hpxi_record *record;
    while ((record = hpxi_spsc_claim(&c->ring, record_type(c, tag), bytes, tag)) == NULL) {
        producer_flush(c);
        sched_yield();
        if (atomic_load(&stop)) {
            return false;
        }
    }
    record_fill(record->payload, bytes, tag);
    hpxi_spsc_commit(&c->ring);
    return true;
}

/* A few nanoseconds to a few hundred, or a turn of somebody else: to meet the other thread at every
 * point of its protocol, on a machine with one free processor too. */
static void dither(uint64_t x)
{
    if (x % 16 == 0) {
        sched_yield();
    }
    for (volatile uint64_t left = (x >> 4) % 128; left != 0; left--) {
    }
}

/* Until all sent is consumed, and the consumer asleep too if so wished. */
static bool producer_wait(const channel *c, uint64_t sent, bool until_asleep)
{
    uint32_t spins = 0;
    while (atomic_load(&c->taken) != sent || (until_asleep && atomic_load(&bell.asleep) == 0)) {
        if (++spins % 1024 == 0) {
            sched_yield();
        }
        if (atomic_load(&stop)) {
            return false;
        }
    }
    return true;
}

static void *producer_run(void *arg)
{
    channel *c = arg;
    uint64_t sent = 0;
    bool going = true;
    while (going && sent < c->count) {
        const uint64_t x = mix(sent * 3 + c->seed);
        const uint64_t burst = x % 4 == 0 ? 1 + (x >> 8) % 32 : 1;
        for (uint64_t left = burst; going && left != 0 && sent < c->count; left--) {
            going = producer_put(c, sent);
            sent += going;
        }
        producer_flush(c);
        if (going && c->with_doorbell && (x >> 32) % 4 != 0) {
            /* Asleep: only if the consumer has a reason to sleep, and nobody else to wake it. */
            const bool can_sleep = sent < c->count && channels_used == 1;
            going = producer_wait(c, sent, can_sleep && (x >> 40) % 8 == 0);
            dither(x >> 48);
            /* With the bell's line at hand, ring() can look before publish() is seen by others, if
             * the two are not ordered. */
            (void)atomic_load_explicit(&bell.asleep, memory_order_relaxed);
        }
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

/* All that is there; false on the first wrong record. */
static bool consumer_drain(channel *c, uint64_t *taken, bool *any)
{
    const hpxi_record *record;
    while ((record = hpxi_spsc_peek(&c->ring)) != NULL) {
        if (!record_is_right(c, record, *taken)) {
            (void)snprintf(
                failure,
                sizeof(failure),
                "channel seed %u: record %llu is wrong: tag %llu, type %u, %u bytes",
                c->seed,
                (unsigned long long)*taken,
                (unsigned long long)record->tag,
                record->type,
                record->bytes);
            return false;
        }
        hpxi_spsc_release(&c->ring);
        ++*taken;
        *any = true;
        atomic_store(&c->taken, *taken);
    }
    return true;
}

static void consumer_sleep(uint64_t turn)
{
    const uint64_t x = mix(turn);
    dither(x);
    hpxi_doorbell_prepare(&bell);
    if (x >> 16 & 1) {
        dither(x >> 17);
    }
    bool empty = true;
    for (size_t i = 0; i < PRODUCERS_MAX && i < channels_used; i++) {
        empty = empty && hpxi_spsc_is_empty_sc(&channels[i].ring);
    }
    if (empty) {
        sleeps++;
        hpxi_doorbell_wait(&bell, UINT64_MAX);
    }
    hpxi_doorbell_cancel(&bell);
}

static void *consumer_run(void *arg)
{
    (void)arg;
    uint64_t taken[PRODUCERS_MAX] = {0};
    uint64_t turn = 0;
    bool right = true;
    bool done = false;
    while (right && !done && !atomic_load(&stop)) {
        bool any = false;
        done = true;
        for (size_t i = 0; right && i < channels_used; i++) {
            right = consumer_drain(&channels[i], &taken[i], &any);
            done = done && taken[i] == channels[i].count;
        }
        if (any || done || !right) {
            continue;
        }
        if (channels[0].with_doorbell) {
            consumer_sleep(++turn);
        } else {
            sched_yield();
        }
    }
    if (!right) {
        atomic_store(&stop, true);
    }
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static uint64_t total_taken(void)
{
    uint64_t total = 0;
    for (size_t i = 0; i < channels_used; i++) {
        total += atomic_load(&channels[i].taken);
    }
    return total;
}

/* Waits for all threads; false if they got nowhere for HANG_NS, after making them leave. */
static bool watch(void)
{
    const struct timespec pause = {.tv_nsec = (long)WATCH_NS};
    uint64_t seen = 0;
    uint64_t still_ns = 0;
    bool hung = false;
    while (atomic_load(&running) != 0) {
        nanosleep(&pause, NULL);
        const uint64_t now = total_taken();
        still_ns = now == seen ? still_ns + WATCH_NS : 0;
        seen = now;
        if (still_ns >= HANG_NS) {
            hung = true;
            atomic_store(&stop, true);
            hpxi_doorbell_write(&bell);
        }
    }
    return !hung;
}

static void run(size_t producers, uint64_t records, bool with_doorbell)
{
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    channels_used = producers;
    sleeps = 0;
    failure[0] = '\0';
    atomic_store(&stop, false);
    atomic_store(&running, (uint32_t)producers + 1);
    assert_int_equal(hpxi_doorbell_init(&bell), HPX_OK);
    for (size_t i = 0; i < producers; i++) {
        channels[i] = (channel){
            .count = records, .seed = 1 + (uint32_t)i * 77, .with_doorbell = with_doorbell};
        assert_int_equal(hpxi_spsc_init(&channels[i].ring, RING_BYTES, &allocator), HPX_OK);
    }
    pthread_t threads[PRODUCERS_MAX + 1];
    assert_int_equal(pthread_create(&threads[producers], NULL, consumer_run, NULL), 0);
    for (size_t i = 0; i < producers; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, producer_run, &channels[i]), 0);
    }
    const bool finished = watch();
    for (size_t i = 0; i <= producers; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    const uint64_t taken = total_taken();
    for (size_t i = 0; i < producers; i++) {
        assert_true(failure[0] != '\0' || !finished || hpxi_spsc_is_empty_sc(&channels[i].ring));
        hpxi_spsc_fini(&channels[i].ring);
    }
    hpxi_doorbell_fini(&bell);
    if (!finished) {
        fail_msg("hung after %llu records: a wake-up was lost", (unsigned long long)taken);
    }
    assert_string_equal(failure, "");
    assert_int_equal(taken, records * producers);
    assert_int_equal(memory.count, producers); /* the rings' own */
}

static void test_spsc_when_two_threads_then_every_record_right(void **state)
{
    (void)state;
    run(1, STREAM_RECORDS, false);
}

static void test_spsc_doorbell_when_consumer_sleeps_then_nothing_lost(void **state)
{
    (void)state;
    run(1, DOORBELL_RECORDS, true);
    print_message("%llu sleeps\n", (unsigned long long)sleeps);
    assert_true(sleeps >= SLEEPS_MIN); /* else nothing was tested */
}

static void test_spsc_doorbell_when_two_producers_then_nothing_lost(void **state)
{
    (void)state;
    run(2, DOORBELL_RECORDS / 2, true);
    print_message("%llu sleeps\n", (unsigned long long)sleeps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spsc_when_two_threads_then_every_record_right),
        cmocka_unit_test(test_spsc_doorbell_when_consumer_sleeps_then_nothing_lost),
        cmocka_unit_test(test_spsc_doorbell_when_two_producers_then_nothing_lost),
    };
    return cmocka_run_group_tests_name("ring/spsc_threads", tests, NULL, NULL);
}

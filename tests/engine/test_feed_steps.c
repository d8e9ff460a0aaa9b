/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: wherever one side of a feed is interrupted by the other, nothing is torn, lost uncounted or
 * out of order. Method: one side runs with the processor's trap flag set, and at its nth
 * instruction the other side runs from inside the trap's handler; so for many n. So the rare
 * interleavings are all met, on one processor too. (What needs both at once, and other orders of
 * memory than the program's, is for feed_threads and the thread sanitizer.)
 */
#include "engine/feed.h"
#include "tests/engine/feed_bed.h"
#include "tests/support/test.h"

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#if !defined(__has_feature)
#define STEPS_CAN_RUN 1
#elif !__has_feature(thread_sanitizer)
#define STEPS_CAN_RUN 1
#endif
#endif

#if defined(STEPS_CAN_RUN)
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>

#define RING_BYTES  4096u
#define TRAP_FLAG   0x100
#define SMALL_BYTES 40u
#define LARGE_BYTES 2048u
#define STEPS_MAX   100000u

/* A trap costs microseconds, so not every instruction is tried: each pair of sides begins at
 * another one. Instrumented code has many more between those that matter. */
#if defined(__clang__)
#define STRIDE 599u
#else
#define STRIDE 29u
#endif

/* ---- Memory, that may be asked for in the middle of itself ----------------------------------- */

#define ARENA_BLOCKS 32u
#define ARENA_BYTES  8192u

static struct {
    alignas(128) uint8_t bytes[ARENA_BLOCKS][ARENA_BYTES];
    _Atomic bool used[ARENA_BLOCKS];
} arena;

static void *arena_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    HPX_ASSERT(size <= ARENA_BYTES && align <= 128);
    for (uint32_t i = 0; i < ARENA_BLOCKS; i++) {
        if (!atomic_exchange(&arena.used[i], true)) {
            return arena.bytes[i];
        }
    }
    return NULL;
}

static void arena_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    const size_t index = (size_t)((uint8_t *)block - arena.bytes[0]) / ARENA_BYTES;
    memset(block, 0xEE, size); /* to be seen, if somebody still looks at it */
    HPX_ASSERT(atomic_exchange(&arena.used[index], false));
}

static uint32_t arena_used(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < ARENA_BLOCKS; i++) {
        count += atomic_load(&arena.used[i]);
    }
    return count;
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static struct {
    volatile uint64_t left; /* until the other side runs */
    volatile bool is_armed;
    void (*other)(void);
} stepper;

static void on_trap(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    if (stepper.is_armed && stepper.left != 0) {
        stepper.left--;
        *flags |= TRAP_FLAG;
        return;
    }
    *flags &= ~TRAP_FLAG;
    if (stepper.is_armed) {
        stepper.is_armed = false;
        stepper.other();
    }
}

/* Runs `one`, and `other` at its nth instruction. false: `one` has fewer. */
static bool run_steps(void (*one)(void), void (*other)(void), uint64_t nth)
{
    stepper.left = nth + 1;
    stepper.other = other;
    stepper.is_armed = true;
    __asm__ volatile("int3" ::: "memory"); /* the handler sets the trap flag */
    one();
    const bool was_there = !stepper.is_armed;
    stepper.is_armed = false; /* the next trap takes the flag away */
    return was_there;
}

/* ---- Both sides ------------------------------------------------------------------------------ */

static hpxi_feed feed;
static feed_bed_log feed_log;
static const hpx_allocator allocator = {.alloc = arena_alloc, .free = arena_free};

static void put(size_t bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        feed_bed_log_message(&feed_log, (uint32_t)(feed_log.count % FEED_BED_TOPICS), bytes);
    }
}

static void put_nothing(void)
{
}

static void put_unpublished(void)
{
    put(SMALL_BYTES, 2);
}

static void put_few(void)
{
    put(SMALL_BYTES, 3);
    hpxi_feed_publish(&feed);
}

static void put_ring(void) /* as much as the ring holds, and more */
{
    put(SMALL_BYTES, 60);
    hpxi_feed_publish(&feed);
}

static void put_marks(void)
{
    put(SMALL_BYTES, 1);
    feed_bed_log_mark(&feed_log);
    put(SMALL_BYTES, 2);
    feed_bed_log_mark(&feed_log);
    put(SMALL_BYTES, 1);
    hpxi_feed_publish(&feed);
}

static void put_large(void) /* as much as the budget allows, and more */
{
    put(LARGE_BYTES, 5);
    hpxi_feed_publish(&feed);
}

static bool is_ended;

static void put_end(void)
{
    put(SMALL_BYTES, 1);
    is_ended = true;
    feed_bed_log_end(&feed_log);
}

/* Of the writer's calls alone, as they are to be stepped through. */
static uint8_t prepared_buffer[LARGE_BYTES];
static hpxi_feed_message prepared;

static void prepare(size_t bytes)
{
    const uint32_t topic = (uint32_t)(feed_log.count % FEED_BED_TOPICS);
    const uint64_t number = feed_bed_log_note_message(&feed_log, topic);
    prepared = feed_bed_message(prepared_buffer, topic, number, bytes);
}

static void prepare_small(void)
{
    prepare(SMALL_BYTES);
}

static void prepare_large(void)
{
    prepare(LARGE_BYTES);
}

static void call_push(void)
{
    (void)hpxi_feed_push(&feed, &prepared);
}

static void call_publish(void)
{
    hpxi_feed_publish(&feed);
}

static void call_mark(void)
{
    feed_bed_log_mark(&feed_log);
}

static void call_refuse(void)
{
    feed_bed_log_refuse(&feed_log);
}

static void call_end(void)
{
    is_ended = true;
    feed_bed_log_end(&feed_log);
}

static hpx_update taken;
static int taken_got;

static void take_one(void)
{
    taken_got = hpxi_feed_next(&feed, &taken);
}

static void take_all(void)
{
    while (feed_bed_log_take(&feed_log)) {
    }
}

typedef void (*side_fn)(void);

static void open_feed(hpx_overflow overflow, side_fn before)
{
    const hpxi_feed_config config = {
        .overflow = overflow,
        .ring_bytes = RING_BYTES,
        .large_bytes_max = 4 * (uint64_t)LARGE_BYTES,
        .topic_count = FEED_BED_TOPICS,
        .message_bytes_max = LARGE_BYTES,
        .allocator = &allocator};
    assert_int_equal(hpxi_feed_init(&feed, &config), HPX_OK);
    feed_bed_log_begin(&feed_log, &feed, overflow);
    feed_log.is_concurrent = true;
    is_ended = false;
    before();
}

static void close_feed(void)
{
    take_all();
    assert_true(hpxi_feed_is_empty_sc(&feed));
    if (!is_ended) {
        put_marks();
        put_end();
        take_all();
    }
    feed_bed_log_check(&feed_log);
    hpxi_feed_fini(&feed);
    assert_int_equal(arena_used(), 0);
}

static const hpx_overflow policies[] = {
    HPX_OVERFLOW_DROP_OLDEST, HPX_OVERFLOW_DROP_NEWEST, HPX_OVERFLOW_CONFLATE};

static void test_feed_next_when_writer_comes_between_then_right(void **state)
{
    (void)state;
    static const side_fn befores[] = {put_nothing, put_few, put_ring, put_marks, put_large};
    static const side_fn others[] = {put_ring, put_marks, put_large, put_end};
    uint64_t runs = 0;
    for (size_t p = 0; p < COUNT_OF(policies) * COUNT_OF(befores) * COUNT_OF(others); p++) {
        const hpx_overflow overflow = policies[p % COUNT_OF(policies)];
        const side_fn before = befores[p / COUNT_OF(policies) % COUNT_OF(befores)];
        const side_fn other = others[p / COUNT_OF(policies) / COUNT_OF(befores)];
        bool was_there = true;
        for (uint64_t nth = p % STRIDE; was_there; nth += STRIDE, runs++) {
            assert_true(nth < STEPS_MAX);
            open_feed(overflow, before);
            was_there = run_steps(take_one, other, nth);
            (void)feed_bed_log_accept(&feed_log, taken_got, &taken);
            close_feed();
        }
    }
    print_message("%llu runs\n", (unsigned long long)runs);
}

static void test_feed_put_when_reader_comes_between_then_right(void **state)
{
    (void)state;
    static const side_fn befores[] = {put_nothing, put_ring, put_large};
    static const struct {
        side_fn prepare;
        side_fn call;
    } ones[] = {
        {prepare_small, call_push},
        {prepare_large, call_push},
        {put_unpublished, call_publish},
        {put_unpublished, call_mark},
        {put_unpublished, call_refuse},
        {put_unpublished, call_end},
    };
    uint64_t runs = 0;
    for (size_t p = 0; p < COUNT_OF(policies) * COUNT_OF(befores) * COUNT_OF(ones); p++) {
        const hpx_overflow overflow = policies[p % COUNT_OF(policies)];
        const side_fn before = befores[p / COUNT_OF(policies) % COUNT_OF(befores)];
        const size_t one = p / COUNT_OF(policies) / COUNT_OF(befores);
        bool was_there = true;
        for (uint64_t nth = p % STRIDE; was_there; nth += STRIDE, runs++) {
            assert_true(nth < STEPS_MAX);
            open_feed(overflow, before);
            ones[one].prepare();
            was_there = run_steps(ones[one].call, take_all, nth);
            close_feed();
        }
    }
    print_message("%llu runs\n", (unsigned long long)runs);
}

int main(void)
{
    const struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
    if (sigaction(SIGTRAP, &action, NULL) != 0) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feed_next_when_writer_comes_between_then_right),
        cmocka_unit_test(test_feed_put_when_reader_comes_between_then_right),
    };
    return cmocka_run_group_tests_name("engine/feed_steps", tests, NULL, NULL);
}

#else

int main(void)
{
    return TEST_EXIT_SKIP; /* no trap flag here, or a sanitizer that delays signals */
}

#endif

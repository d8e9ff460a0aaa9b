/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the clock never goes back, and agrees with CLOCK_MONOTONIC before, across and after its
 * re-anchoring, and after stops and jumps of the TSC.
 * Method: each reading is bracketed by two of CLOCK_MONOTONIC, so that a preempted test is a late
 * test and no failure. Jumps are made by moving the clock's anchor. Nothing here measures speed.
 */
#include <pthread.h>
#include <time.h>

#include <hpx/base.h>

#include "ring/clock.h"
#include "tests/support/test.h"

#define ERROR_NS_MAX                                                                               \
    HPX_NS_PER_MS /* what the calibration's 2 ms can be off in a second, and more */
#define RUN_NS (5 * HPX_NS_PER_S / 2) /* two re-anchors */

/* NULL, or what is wrong with this reading. */
static const char *check_reading(hpxi_clock *clock, uint64_t *last_ns)
{
    const uint64_t before_ns = hpx_clock_now_ns();
    const uint64_t now_ns = hpxi_clock_now(clock);
    const uint64_t after_ns = hpx_clock_now_ns();
    if (now_ns < *last_ns) {
        return "went back";
    }
    if (now_ns + ERROR_NS_MAX < before_ns) {
        return "behind CLOCK_MONOTONIC";
    }
    if (now_ns > after_ns + ERROR_NS_MAX) {
        return "ahead of CLOCK_MONOTONIC";
    }
    *last_ns = now_ns;
    return NULL;
}

static const char *check_for(hpxi_clock *clock, uint64_t run_ns)
{
    const uint64_t end_ns = hpx_clock_now_ns() + run_ns;
    uint64_t last_ns = 0;
    const char *wrong = NULL;
    while (wrong == NULL && last_ns < end_ns) {
        wrong = check_reading(clock, &last_ns);
    }
    return wrong;
}

static void assert_right(const char *wrong)
{
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
}

static void test_clock_when_read_for_seconds_then_right_and_monotonic(void **state)
{
    (void)state;
    hpxi_clock clock;
    hpxi_clock_init(&clock);
    const uint64_t first_anchor_ns = clock.anchor_ns;
    print_message("use_tsc %d\n", clock.use_tsc);
    assert_right(check_for(&clock, RUN_NS));
    assert_true(!clock.use_tsc || clock.anchor_ns > first_anchor_ns);
}

static void test_clock_when_process_was_stopped_then_right_at_once(void **state)
{
    (void)state;
    const uint64_t stops_s[] = {2, 60, 3600, 1000000};
    for (size_t i = 0; i < COUNT_OF(stops_s); i++) {
        hpxi_clock clock;
        hpxi_clock_init(&clock);
        const uint64_t mult = clock.mult;
        /* As if the clock had been made, and last read, that long ago. */
        const uint64_t stop_ns = stops_s[i] * HPX_NS_PER_S;
        clock.anchor_tsc -= stops_s[i] * clock.reanchor_tsc;
        clock.anchor_ns -= stop_ns < clock.anchor_ns ? stop_ns : clock.anchor_ns;
        clock.last_ns = clock.anchor_ns;
        assert_right(check_for(&clock, 10 * HPX_NS_PER_MS));
        assert_in_range(clock.mult, mult - mult / 100, mult + mult / 100);
    }
}

static void test_clock_when_tsc_jumps_then_right_and_ratio_kept(void **state)
{
    (void)state;
    for (int back = 0; back <= 1; back++) {
        hpxi_clock clock;
        hpxi_clock_init(&clock);
        const uint64_t mult = clock.mult;
        clock.anchor_tsc += (back ? 1000 : -1000ull) * clock.reanchor_tsc;
        assert_right(check_for(&clock, 10 * HPX_NS_PER_MS));
        assert_int_equal(clock.mult, mult);
    }
}

static void test_clock_when_new_anchor_is_behind_then_waits(void **state)
{
    (void)state;
    hpxi_clock clock;
    hpxi_clock_init(&clock);
    const uint64_t ahead_ns = hpxi_clock_now(&clock) + 20 * HPX_NS_PER_MS;
    clock.last_ns = ahead_ns;
    uint64_t now_ns;
    do {
        now_ns = hpxi_clock_now(&clock);
        const uint64_t after_ns = hpx_clock_now_ns(); /* after: a preemption makes it later only */
        assert_true(now_ns >= ahead_ns);
        assert_true(now_ns == ahead_ns || after_ns + ERROR_NS_MAX >= now_ns);
    } while (now_ns == ahead_ns);
    assert_right(check_for(&clock, HPX_NS_PER_MS));
}

static void test_clock_when_no_tsc_then_clock_monotonic(void **state)
{
    (void)state;
    hpxi_clock clock;
    hpxi_clock_init(&clock);
    clock.use_tsc = false;
    clock.mult = 0;
    for (int i = 0; i < 100000; i++) {
        const uint64_t before_ns = hpx_clock_now_ns();
        const uint64_t now_ns = hpxi_clock_now(&clock);
        assert_in_range(now_ns, before_ns, hpx_clock_now_ns());
    }
}

static void *thread_run(void *wrong)
{
    hpxi_clock clock;
    hpxi_clock_init(&clock);
    *(const char **)wrong = check_for(&clock, 50 * HPX_NS_PER_MS);
    return NULL;
}

/* The first test of the program: the threads race for the calibration. */
static void test_clock_init_when_threads_race_then_all_right(void **state)
{
    (void)state;
    pthread_t threads[4];
    const char *wrong[COUNT_OF(threads)];
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, thread_run, &wrong[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_right(wrong[i]);
    }
}

static void test_clock_utc_when_read_then_what_time_says(void **state)
{
    (void)state;
    const int64_t before_s = time(NULL) - 1; /* the coarse clock is a tick behind */
    const int64_t now_s = hpxi_clock_utc_s();
    assert_in_range(now_s, before_s, time(NULL) + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_init_when_threads_race_then_all_right),
        cmocka_unit_test(test_clock_when_read_for_seconds_then_right_and_monotonic),
        cmocka_unit_test(test_clock_when_process_was_stopped_then_right_at_once),
        cmocka_unit_test(test_clock_when_tsc_jumps_then_right_and_ratio_kept),
        cmocka_unit_test(test_clock_when_new_anchor_is_behind_then_waits),
        cmocka_unit_test(test_clock_when_no_tsc_then_clock_monotonic),
        cmocka_unit_test(test_clock_utc_when_read_then_what_time_says),
    };
    return cmocka_run_group_tests_name("ring/clock", tests, NULL, NULL);
}

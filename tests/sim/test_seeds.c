/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: P1 to P11 hold whatever the network, the venue and the order of things do; liveness: once
 * nothing goes wrong any more, everything comes back. G21 the same seed is the same run.
 * Method: bed.h. As many seeds as fit into the time; a failure prints its seed and ends the test.
 *
 *   test_sim_seeds                        what CI runs
 *   test_sim_seeds --seed N [--trace]     one seed; with all that happens
 *   test_sim_seeds --minutes M [--from N] as many seeds as fit, from N or from the clock's
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bed.h"
#include "tests/support/test.h"

#define SECONDS_CI   8u
#define SEEDS_CI_MIN 20u /* on however slow a machine */

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif

static uint64_t seed_now; /* for who dies without a word */

static void say_seed(void)
{
    char text[96];
    const int size = snprintf(
        text, sizeof(text), "\nin seed %" PRIu64 " (test_sim_seeds --seed N --trace)\n", seed_now);
    (void)!write(STDERR_FILENO, text, (size_t)size);
}

static void on_signal(int number)
{
    say_seed();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

#ifdef HAS_ASAN
void __sanitizer_set_death_callback(void (*callback)(void));
#endif

static void watch_for_death(void)
{
#ifdef HAS_ASAN
    __sanitizer_set_death_callback(say_seed);
#else
    (void)signal(SIGSEGV, on_signal);
#endif
    (void)signal(SIGABRT, on_signal);
}

static uint64_t real_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * HPX_NS_PER_S + (uint64_t)now.tv_nsec;
}

static run_result one_seed(uint64_t seed, FILE *trace)
{
    run_result result;
    seed_now = seed;
    run_seed(seed, trace, &result);
    return result;
}

static void add(run_result *sum, const run_result *one)
{
    sum->updates += one->updates;
    sum->replies += one->replies;
    sum->actions += one->actions;
    sum->connects += one->connects;
    sum->sim_ns += one->sim_ns;
    sum->network.no_buffers += one->network.no_buffers;
    sum->network.cq_overflows += one->network.cq_overflows;
    sum->network.completions += one->network.completions;
    sum->network.segments += one->network.segments;
    sum->network.stale_taken += one->network.stale_taken;
    for (uint32_t i = 0; i < HPXI_SIM_FAULT_COUNT; i++) {
        sum->network.faults[i] += one->network.faults[i];
    }
    for (uint32_t i = 0; i < VENUE_FAULT_COUNT; i++) {
        sum->venue_faults[i] += one->venue_faults[i];
    }
}

static void print_sum(uint64_t seeds, uint64_t from, const run_result *sum, uint64_t took_ns)
{
    printf(
        "seeds %" PRIu64 "..%" PRIu64 " in %.1f s (%.0f/s): %.0f simulated s, %" PRIu64
        " connections, %" PRIu64 " replies, %" PRIu64 " updates, %" PRIu64 " completions\n",
        from,
        from + seeds - 1,
        (double)took_ns / 1e9,
        (double)seeds * 1e9 / (double)took_ns,
        (double)sum->sim_ns / 1e9,
        sum->connects,
        sum->replies,
        sum->updates,
        sum->network.completions);
}

/* As many as fit, at least `least`. */
static uint64_t run_for(uint64_t from, uint64_t ns, uint64_t least, run_result *sum)
{
    const uint64_t start = real_ns();
    uint64_t seeds = 0;
    memset(sum, 0, sizeof(*sum));
    while (seeds < least || real_ns() - start < ns) {
        const run_result one = one_seed(from + seeds, NULL);
        add(sum, &one);
        seeds++;
    }
    print_sum(seeds, from, sum, real_ns() - start);
    return seeds;
}

static void test_engine_when_everything_goes_wrong_then_keeps_its_promises(void **state)
{
    (void)state;
    run_result sum;
    const uint64_t seeds = run_for(1, SECONDS_CI * HPX_NS_PER_S, SEEDS_CI_MIN, &sum);
    assert_true(sum.replies > seeds && sum.updates > seeds && sum.connects > seeds);
    if (seeds < 200) {
        return; /* too few to be sure of each fault */
    }
    for (uint32_t i = 0; i < HPXI_SIM_FAULT_COUNT; i++) {
        if (sum.network.faults[i] == 0) {
            fail_msg("%s never happened", hpxi_sim_fault_name((hpxi_sim_fault)i));
        }
    }
    for (uint32_t i = 0; i < VENUE_FAULT_COUNT; i++) {
        if (sum.venue_faults[i] == 0) {
            fail_msg("venue fault %u never happened", i);
        }
    }
    assert_true(sum.network.no_buffers > 0 && sum.network.cq_overflows > 0);
    assert_true(sum.network.stale_taken > 0);
}

static void test_engine_when_same_seed_then_same_run(void **state)
{
    (void)state;
    uint64_t before = 0;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        const uint64_t first = one_seed(seed, NULL).hash;
        assert_int_equal(one_seed(seed, NULL).hash, first);
        assert_int_not_equal(first, before);
        before = first;
    }
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: test_sim_seeds [--seed N [--trace] | --minutes M [--from N]]\n");
    return 2;
}

static int run_by_hand(int argc, char **argv)
{
    uint64_t seed = 0, from = (uint64_t)time(NULL), minutes = 0;
    bool trace = false;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            trace = true;
        } else if (i + 1 == argc) {
            return usage();
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--from") == 0) {
            from = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--minutes") == 0) {
            minutes = strtoull(argv[++i], NULL, 10);
        } else {
            return usage();
        }
    }
    run_result sum;
    if (seed != 0) {
        const uint64_t start = real_ns();
        sum = one_seed(seed, trace ? stdout : NULL);
        printf("trace hash %016" PRIx64 "\n", sum.hash);
        print_sum(1, seed, &sum, real_ns() - start);
        return 0;
    }
    (void)run_for(from, minutes * 60 * HPX_NS_PER_S, 1, &sum);
    return 0;
}

int main(int argc, char **argv)
{
    watch_for_death();
    if (argc > 1) {
        return run_by_hand(argc, argv);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_when_same_seed_then_same_run),
        cmocka_unit_test(test_engine_when_everything_goes_wrong_then_keeps_its_promises),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

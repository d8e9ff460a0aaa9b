/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hist.c - the latency histogram.
 *
 * Goal      Percentiles are never below the truth and at most 1/64 above it.
 * Method    Against the same values sorted.
 */
#include "tests/support/test.h"
#include "tools/hpx/hist.h"

#define VALUES 20000u

static void test_hist_when_empty_then_everything_is_zero(void **state)
{
    (void)state;
    static hist h;
    assert_int_equal(hist_count(&h), 0);
    assert_int_equal(hist_max(&h), 0);
    assert_int_equal(hist_percentile(&h, 99), 0);
}

static void test_hist_when_values_are_small_then_exact(void **state)
{
    (void)state;
    static hist h;
    for (uint64_t value = 1; value <= 100; value++) {
        hist_add(&h, value);
    }
    assert_int_equal(hist_count(&h), 100);
    assert_int_equal(hist_percentile(&h, 0), 1);
    assert_int_equal(hist_percentile(&h, 1), 1);
    assert_int_equal(hist_percentile(&h, 50), 50);
    assert_int_equal(hist_percentile(&h, 99), 99);
    assert_int_equal(hist_percentile(&h, 99.9), 100);
    assert_int_equal(hist_percentile(&h, 100), 100);
}

static int compare(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a;
    const uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void test_hist_when_values_span_all_sizes_then_within_one_64th(void **state)
{
    (void)state;
    static hist h;
    static uint64_t values[VALUES];
    uint64_t random = 42;
    for (size_t i = 0; i < VALUES; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        values[i] = (random >> 8) & HIST_VALUE_MAX;
        values[i] >>= (random >> 50) % HIST_VALUE_BITS;
        hist_add(&h, values[i]);
    }
    qsort(values, VALUES, sizeof(values[0]), compare);
    for (unsigned tenth = 1; tenth <= 1000; tenth++) {
        const uint64_t truth = values[(size_t)VALUES * tenth / 1000 - 1];
        const uint64_t got = hist_percentile(&h, tenth / 10.0);
        /* The product is rounded in floating point: one rank up is as right. */
        const size_t next = (size_t)VALUES * tenth / 1000;
        const uint64_t above = values[next < VALUES ? next : VALUES - 1];
        assert_true(got >= truth);
        assert_true(got <= above + above / 64 + 1);
    }
    assert_int_equal(hist_max(&h), values[VALUES - 1]);
}

static void test_hist_when_value_is_enormous_then_clamped_but_max_is_exact(void **state)
{
    (void)state;
    static hist h;
    hist_add(&h, UINT64_MAX);
    hist_add(&h, HIST_VALUE_MAX);
    assert_int_equal(hist_count(&h), 2);
    assert_true(hist_max(&h) == UINT64_MAX);
    assert_int_equal(hist_percentile(&h, 50), HIST_VALUE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hist_when_empty_then_everything_is_zero),
        cmocka_unit_test(test_hist_when_values_are_small_then_exact),
        cmocka_unit_test(test_hist_when_values_span_all_sizes_then_within_one_64th),
        cmocka_unit_test(test_hist_when_value_is_enormous_then_clamped_but_max_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: PINGs are sent when a sample or keep-alive is due and at no other time; the window grows
 * when a sample nears it, and only then; samples become rare when nothing changes; a silent peer is
 * found in time and a slow one is not taken for it; any thread may read while one writes.
 * Method: the state machine driven by hand with time as a parameter; two threads for the last
 * (checked under the thread sanitizer).
 */
#include <pthread.h>

#include "h2/ping.h"
#include "tests/support/test.h"

#define START_NS (5000 * HPX_NS_PER_S)
#define MS       HPX_NS_PER_MS
#define WINDOW   65536u

static hpxi_h2_ping ping;

static void start(uint32_t window_bytes_max, uint64_t interval_ns, bool while_idle)
{
    const hpxi_h2_ping_config config = {
        .window_bytes = WINDOW,
        .window_bytes_max = window_bytes_max,
        .sample_delay_ns = 100 * MS,
        .sample_delay_ns_max = 10000 * MS,
        .keep_alive_interval_ns = interval_ns,
        .keep_alive_timeout_ns = 10000 * MS,
        .keep_alive_while_idle = while_idle};
    hpxi_h2_ping_init(&ping, &config, START_NS);
    assert_true(hpxi_h2_ping_is_valid(&ping));
}

static hpxi_h2_ping_snapshot stats(void)
{
    assert_true(hpxi_h2_ping_is_valid(&ping));
    return hpxi_h2_ping_read(ping.stats);
}

/* DATA, the PING it asks for, and the answer after `rtt_ns`. Returns the window, if it grew. */
static uint32_t sample(uint64_t *now_ns, uint32_t bytes, uint64_t rtt_ns)
{
    hpxi_h2_ping_record_data(&ping, bytes / 2, *now_ns);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, *now_ns), HPXI_H2_PING_SEND);
    hpxi_h2_ping_sent(&ping, *now_ns);
    *now_ns += rtt_ns;
    hpxi_h2_ping_record_data(&ping, bytes - bytes / 2, *now_ns);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, *now_ns), HPXI_H2_PING_NOTHING);
    return hpxi_h2_ping_acknowledged(&ping, *now_ns);
}

static void test_ping_when_data_flows_then_sampled_and_recorded(void **state)
{
    (void)state;
    start(1u << 20, 0, false);
    uint64_t now_ns = START_NS;
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns), HPXI_H2_PING_NOTHING);
    hpxi_h2_ping_record_non_data(&ping, now_ns + 1);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns + 1), HPXI_H2_PING_NOTHING);
    assert_int_equal(stats().last_read_at_ns, now_ns + 1);
    assert_int_equal(sample(&now_ns, 1000, 20 * MS), 0);
    assert_int_equal(stats().bytes, 1000);
    assert_int_equal(stats().rtt_ns, 20 * MS);
    assert_int_equal(stats().last_read_at_ns, now_ns);
    hpxi_h2_ping_record_data(&ping, 1000, now_ns + 99 * MS); /* too soon for the next one */
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns + 99 * MS), HPXI_H2_PING_NOTHING);
    hpxi_h2_ping_record_data(&ping, 1000, now_ns + 100 * MS);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns + 100 * MS), HPXI_H2_PING_SEND);
}

static void test_ping_when_sample_nears_window_then_it_grows(void **state)
{
    (void)state;
    start(1u << 20, 0, false);
    uint64_t now_ns = START_NS;
    assert_int_equal(sample(&now_ns, WINDOW / 3 * 2 - 10, 20 * MS), 0); /* under two thirds */
    assert_int_equal(stats().window_bytes, WINDOW);
    now_ns += 100 * MS;
    const uint32_t grown = sample(&now_ns, 60000, 20 * MS);
    assert_int_equal(grown, 120000);
    assert_int_equal(stats().window_bytes, grown);
    assert_int_equal(stats().bdp_bytes, grown);
    now_ns += 100 * MS;
    assert_int_equal(sample(&now_ns, 79000, 20 * MS), 0);
    now_ns += 500 * MS;
    assert_int_equal(sample(&now_ns, 900000, 20 * MS), 1u << 20); /* the limit */
    now_ns += 10000 * MS;
    assert_int_equal(sample(&now_ns, 5000000, 20 * MS), 0);
    assert_int_equal(stats().window_bytes, 1u << 20);
}

static void test_ping_when_only_the_round_trip_grows_then_window_stays(void **state)
{
    (void)state;
    start(16u << 20, 0, false);
    uint64_t now_ns = START_NS;
    assert_int_equal(sample(&now_ns, 60000, 20 * MS), 120000);
    now_ns += 100 * MS;
    /* A queue on the way: the same bytes a second, ten times the time. */
    assert_int_equal(sample(&now_ns, 110000, 400 * MS), 0);
    assert_int_equal(stats().window_bytes, 120000);
}

static void test_ping_when_estimate_is_stable_then_samples_become_rare(void **state)
{
    (void)state;
    start(1u << 20, 0, false);
    uint64_t now_ns = START_NS;
    uint64_t last_ns = now_ns;
    uint64_t longest_ns = 0;
    uint32_t count = 0;
    for (uint32_t i = 0; i < 60000; i++) { /* DATA every millisecond, for a minute */
        now_ns += MS;
        hpxi_h2_ping_record_data(&ping, 10, now_ns);
        if (hpxi_h2_ping_poll(&ping, 1, now_ns) == HPXI_H2_PING_SEND) {
            hpxi_h2_ping_sent(&ping, now_ns);
            now_ns += 5 * MS;
            assert_int_equal(hpxi_h2_ping_acknowledged(&ping, now_ns), 0);
            longest_ns = now_ns - last_ns > longest_ns ? now_ns - last_ns : longest_ns;
            last_ns = now_ns;
            count++;
        }
    }
    assert_in_range(count, 8, 20);
    assert_in_range(longest_ns, 9000 * MS, 10100 * MS);
    now_ns += 10000 * MS;
    assert_int_equal(sample(&now_ns, 60000, 5 * MS), 120000); /* growth: soon again */
    hpxi_h2_ping_record_data(&ping, 10, now_ns + 5000 * MS);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns + 5000 * MS), HPXI_H2_PING_SEND);
}

static void test_ping_when_window_is_fixed_then_no_samples(void **state)
{
    (void)state;
    start(WINDOW, 0, false);
    hpxi_h2_ping_record_data(&ping, 1u << 30, START_NS + 1);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, START_NS + 1), HPXI_H2_PING_NOTHING);
    assert_int_equal(hpxi_h2_ping_deadline_ns(&ping, 1), HPXI_H2_NEVER_NS);
}

/* ---- Keep-alive ----------------------------------------------------------------------------- */

static void test_ping_when_idle_then_only_while_idle_pings(void **state)
{
    (void)state;
    start(WINDOW, 15000 * MS, false);
    assert_int_equal(hpxi_h2_ping_deadline_ns(&ping, 0), HPXI_H2_NEVER_NS);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 0, START_NS + 3600000 * MS), HPXI_H2_PING_NOTHING);
    assert_int_equal(hpxi_h2_ping_deadline_ns(&ping, 1), START_NS + 15000 * MS);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, START_NS + 14999 * MS), HPXI_H2_PING_NOTHING);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, START_NS + 15000 * MS), HPXI_H2_PING_SEND);
    start(WINDOW, 15000 * MS, true);
    assert_int_equal(hpxi_h2_ping_deadline_ns(&ping, 0), START_NS + 15000 * MS);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 0, START_NS + 15000 * MS), HPXI_H2_PING_SEND);
}

static void test_ping_when_frames_arrive_then_keep_alive_waits(void **state)
{
    (void)state;
    start(WINDOW, 15000 * MS, false);
    uint64_t now_ns = START_NS;
    for (int i = 0; i < 100; i++) {
        now_ns += 14000 * MS;
        assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns), HPXI_H2_PING_NOTHING);
        hpxi_h2_ping_record_non_data(&ping, now_ns);
    }
}

static void test_ping_when_nothing_is_read_after_it_then_timed_out_for_ever(void **state)
{
    (void)state;
    start(WINDOW, 15000 * MS, false);
    uint64_t now_ns = START_NS + 15000 * MS;
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns), HPXI_H2_PING_SEND);
    hpxi_h2_ping_sent(&ping, now_ns);
    now_ns += 9000 * MS;
    hpxi_h2_ping_record_data(&ping, 1, now_ns); /* slow, but alive */
    now_ns += 9999 * MS;
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns), HPXI_H2_PING_NOTHING);
    assert_int_equal(hpxi_h2_ping_deadline_ns(&ping, 1), now_ns + MS);
    assert_false(stats().keep_alive_timed_out);
    now_ns += MS;
    assert_int_equal(hpxi_h2_ping_poll(&ping, 0, now_ns), HPXI_H2_PING_GIVE_UP);
    assert_true(stats().keep_alive_timed_out);
    assert_int_equal(hpxi_h2_ping_acknowledged(&ping, now_ns), 0); /* too late */
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns), HPXI_H2_PING_GIVE_UP);
    assert_int_equal(hpxi_h2_ping_deadline_ns(&ping, 1), HPXI_H2_NEVER_NS);
    assert_int_equal(ping.owner.state, HPXI_H2_PING_TIMED_OUT);
}

static void test_ping_when_keep_alive_answer_comes_then_not_a_sample(void **state)
{
    (void)state;
    start(1u << 20, 15000 * MS, true);
    uint64_t now_ns = START_NS + 15000 * MS;
    assert_int_equal(hpxi_h2_ping_poll(&ping, 0, now_ns), HPXI_H2_PING_SEND);
    hpxi_h2_ping_sent(&ping, now_ns);
    hpxi_h2_ping_record_data(&ping, 1u << 20, now_ns + MS); /* a sample is wanted, but after it */
    assert_int_equal(hpxi_h2_ping_acknowledged(&ping, now_ns + 2 * MS), 0);
    assert_int_equal(stats().rtt_ns, 2 * MS);
    assert_int_equal(stats().window_bytes, WINDOW);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 1, now_ns + 2 * MS), HPXI_H2_PING_SEND);
    hpxi_h2_ping_sent(&ping, now_ns + 2 * MS);
    assert_int_equal(hpxi_h2_ping_acknowledged(&ping, now_ns + 4 * MS), 0); /* nothing came */
}

/* ---- Readers -------------------------------------------------------------------------------- */

#define RECORDS 200000u

static void *watch(void *arg)
{
    (void)arg;
    hpxi_h2_ping_snapshot before = {0};
    while (before.bytes < RECORDS) {
        const hpxi_h2_ping_snapshot now = hpxi_h2_ping_read(ping.stats);
        if (now.bytes < before.bytes || now.last_read_at_ns < before.last_read_at_ns) {
            return (void *)&ping; /* went backwards */
        }
        before = now;
    }
    return NULL;
}

static void test_ping_when_the_user_keeps_the_numbers_then_they_outlive_it(void **state)
{
    (void)state;
    static hpxi_h2_ping_stats kept;
    atomic_store(&kept.bytes, 7); /* of the connection before */
    atomic_store(&kept.rtt_ns, 7);
    atomic_store(&kept.keep_alive_timed_out, true);
    hpxi_h2_ping_config config = HPXI_H2_PING_CONFIG_INIT;
    config.stats = &kept;
    config.keep_alive_while_idle = true;
    hpxi_h2_ping_init(&ping, &config, START_NS);
    assert_true(hpxi_h2_ping_is_valid(&ping));
    assert_int_equal(hpxi_h2_ping_read(&kept).bytes, 0);
    assert_int_equal(hpxi_h2_ping_read(&kept).rtt_ns, 0);
    assert_false(hpxi_h2_ping_read(&kept).keep_alive_timed_out);
    hpxi_h2_ping_record_data(&ping, 100, START_NS + 1);
    hpxi_h2_ping_record_non_data(&ping, START_NS + 2);
    const uint64_t sent_ns = START_NS + 3600000 * MS;
    assert_int_equal(hpxi_h2_ping_poll(&ping, 0, sent_ns), HPXI_H2_PING_SEND);
    hpxi_h2_ping_sent(&ping, sent_ns);
    assert_int_equal(hpxi_h2_ping_poll(&ping, 0, sent_ns + 3600000 * MS), HPXI_H2_PING_GIVE_UP);
    memset(&ping, 0, sizeof(ping));
    const hpxi_h2_ping_snapshot after = hpxi_h2_ping_read(&kept);
    assert_int_equal(after.bytes, 100);
    assert_int_equal(after.last_read_at_ns, START_NS + 2);
    assert_true(after.keep_alive_timed_out);
}

static void test_ping_when_another_thread_reads_then_numbers_only_grow(void **state)
{
    (void)state;
    start(WINDOW, 0, false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watch, NULL), 0);
    for (uint32_t i = 0; i < RECORDS; i++) {
        hpxi_h2_ping_record_data(&ping, 1, START_NS + i);
    }
    void *wrong = NULL;
    assert_int_equal(pthread_join(thread, &wrong), 0);
    assert_null(wrong);
    assert_int_equal(stats().bytes, RECORDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ping_when_data_flows_then_sampled_and_recorded),
        cmocka_unit_test(test_ping_when_sample_nears_window_then_it_grows),
        cmocka_unit_test(test_ping_when_only_the_round_trip_grows_then_window_stays),
        cmocka_unit_test(test_ping_when_estimate_is_stable_then_samples_become_rare),
        cmocka_unit_test(test_ping_when_window_is_fixed_then_no_samples),
        cmocka_unit_test(test_ping_when_idle_then_only_while_idle_pings),
        cmocka_unit_test(test_ping_when_frames_arrive_then_keep_alive_waits),
        cmocka_unit_test(test_ping_when_nothing_is_read_after_it_then_timed_out_for_ever),
        cmocka_unit_test(test_ping_when_keep_alive_answer_comes_then_not_a_sample),
        cmocka_unit_test(test_ping_when_the_user_keeps_the_numbers_then_they_outlive_it),
        cmocka_unit_test(test_ping_when_another_thread_reads_then_numbers_only_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

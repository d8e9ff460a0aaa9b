/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the doorbell's calls, one by one: who writes, who wakes, what is left in the eventfd.
 * Method: on one thread; poll() with no timeout says whether the descriptor is readable. Two
 * threads are in test_spsc_threads.c, all interleavings in test_doorbell_model.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <unistd.h>

#include "ring/doorbell.h"
#include "tests/support/test.h"

static hpxi_doorbell bell;

static int setup(void **state)
{
    (void)state;
    return hpxi_doorbell_init(&bell);
}

static int teardown(void **state)
{
    (void)state;
    hpxi_doorbell_fini(&bell);
    return 0;
}

static bool is_readable(void)
{
    struct pollfd poll_fd = {.fd = bell.fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static void test_doorbell_init_when_done_then_awake_and_silent(void **state)
{
    (void)state;
    assert_true(fcntl(bell.fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(bell.fd, F_GETFD) & FD_CLOEXEC);
    assert_false(is_readable());
    assert_false(hpxi_doorbell_ring(&bell));
    assert_false(is_readable());
}

static void test_doorbell_init_when_no_descriptor_then_errno(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    hpxi_doorbell other;
    const hpx_status status = hpxi_doorbell_init(&other);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(status, -EMFILE);
    hpxi_doorbell_fini(&other); /* legal, and closes nothing */
    hpxi_doorbell_fini(&other);
}

static void test_doorbell_ring_when_asleep_then_once(void **state)
{
    (void)state;
    hpxi_doorbell_prepare(&bell);
    assert_true(hpxi_doorbell_ring(&bell));
    assert_false(hpxi_doorbell_ring(&bell)); /* the second producer need not */
    assert_true(is_readable());
    assert_true(hpxi_doorbell_wait(&bell, UINT64_MAX));
    assert_false(is_readable());
    hpxi_doorbell_cancel(&bell);
    assert_false(hpxi_doorbell_ring(&bell));
}

static void test_doorbell_ring_when_cancelled_then_silent(void **state)
{
    (void)state;
    hpxi_doorbell_prepare(&bell);
    hpxi_doorbell_cancel(&bell);
    assert_false(hpxi_doorbell_ring(&bell));
    assert_false(is_readable());
}

static void test_doorbell_wait_when_not_rung_then_times_out(void **state)
{
    (void)state;
    hpxi_doorbell_prepare(&bell);
    assert_false(hpxi_doorbell_wait(&bell, 0));
    assert_false(hpxi_doorbell_wait(&bell, 2 * HPX_NS_PER_MS));
    hpxi_doorbell_write(&bell);
    assert_true(hpxi_doorbell_wait(&bell, UINT64_MAX - 1)); /* 584 years fit a timespec */
    hpxi_doorbell_cancel(&bell);
}

static void test_doorbell_drain_when_rung_often_then_silent(void **state)
{
    (void)state;
    hpxi_doorbell_drain(&bell); /* nothing there: no harm, no block */
    for (int i = 0; i < 5; i++) {
        hpxi_doorbell_write(&bell);
    }
    assert_true(is_readable());
    hpxi_doorbell_drain(&bell);
    assert_false(is_readable());
}

static void test_doorbell_write_when_count_is_full_then_still_readable(void **state)
{
    (void)state;
    const uint64_t full = UINT64_MAX - 1;
    assert_int_equal(write(bell.fd, &full, sizeof(full)), sizeof(full));
    errno = 1234;
    hpxi_doorbell_write(&bell);
    assert_int_equal(errno, 1234); /* a signal handler may call it */
    assert_true(is_readable());
    hpxi_doorbell_drain(&bell);
    assert_false(is_readable());
}

static void on_alarm(int number)
{
    (void)number;
}

static void test_doorbell_wait_when_signal_then_not_rung(void **state)
{
    (void)state;
    const struct sigaction action = {.sa_handler = on_alarm};
    struct sigaction before;
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    /* Repeated, so that a signal before the wait has begun does not leave it waiting for ever. */
    const struct itimerval every_ms = {.it_interval.tv_usec = 1000, .it_value.tv_usec = 1000};
    const struct itimerval off = {.it_value.tv_usec = 0};
    assert_int_equal(setitimer(ITIMER_REAL, &every_ms, NULL), 0);
    hpxi_doorbell_prepare(&bell);
    const bool rung = hpxi_doorbell_wait(&bell, UINT64_MAX);
    hpxi_doorbell_cancel(&bell);
    assert_int_equal(setitimer(ITIMER_REAL, &off, NULL), 0);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    assert_false(rung);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_doorbell_init_when_done_then_awake_and_silent),
        TEST(test_doorbell_init_when_no_descriptor_then_errno),
        TEST(test_doorbell_ring_when_asleep_then_once),
        TEST(test_doorbell_ring_when_cancelled_then_silent),
        TEST(test_doorbell_wait_when_not_rung_then_times_out),
        TEST(test_doorbell_drain_when_rung_often_then_silent),
        TEST(test_doorbell_write_when_count_is_full_then_still_readable),
        TEST(test_doorbell_wait_when_signal_then_not_rung),
    };
    return cmocka_run_group_tests_name("ring/doorbell", tests, NULL, NULL);
}

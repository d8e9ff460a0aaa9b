/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the number of requests that may be pending is exact, however many threads ask (P3).
 * Method: threads that take and give without a rest, and a count of their own. (With all that
 * comes between two requests in an application: test_session_threads.c.)
 */
#include <pthread.h>

#include "engine/hub.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

/* The counter itself, without all that comes between two requests: two threads that see the last
 * place free at the same instant are many here. */
enum { HUB_MAX = 1, HUB_TAKES = TEST_UNDER_TSAN ? 100000 : 1000000 };

static hpxi_hub *hub;
static _Atomic uint32_t hub_taken;
static _Atomic uint32_t over;

static void *hub_run(void *argument)
{
    (void)argument;
    for (uint32_t taken = 0; taken < HUB_TAKES;) {
        if (hpxi_hub_take_pending(hub)) {
            over += atomic_fetch_add(&hub_taken, 1) < HUB_MAX ? 0 : 1;
            atomic_fetch_sub(&hub_taken, 1);
            hpxi_hub_give_pending(hub);
            taken++;
        }
    }
    return NULL;
}

static void test_p3_pending_when_taken_and_given_by_threads_then_never_over(void **state)
{
    (void)state;
    hpxi_spec spec = {.config.requests_max = HUB_MAX};
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    pthread_t threads[4];
    hub = hpxi_hub_new(&spec, &allocator);
    assert_non_null(hub);
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hub_run, NULL), 0);
    }
    for (unsigned i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(over, 0);
    assert_true(hpxi_hub_take_pending(hub)); /* all of them are there again */
    assert_false(hpxi_hub_take_pending(hub));
    hpxi_hub_release(hub);
    assert_int_equal(memory.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p3_pending_when_taken_and_given_by_threads_then_never_over),
    };
    return cmocka_run_group_tests_name("engine/hub", tests, NULL, NULL);
}

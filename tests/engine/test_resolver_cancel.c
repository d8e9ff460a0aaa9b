/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: an asker may lose interest, vanish or ask again at any moment, and the resolver itself may
 * be freed at any moment; what was cancelled stays silent, and nothing touches what was freed.
 * Method: the real ring, c-ares and a scripted name server; every number of turns before the cut.
 * The sanitizers see what touches freed memory, resolver_bed_close() what is left behind.
 */
#include <stdio.h>

#include "tests/engine/resolver_bed.h"
#include "tests/support/test.h"

#define LONG_NS (9 * HPX_NS_PER_S)

/* Start, make `turns` turns, cancel and free: whatever comes later must touch nothing of it. */
static void cancel_after(resolver_bed *bed, const char *host, int turns)
{
    ask *a = calloc(1, sizeof(*a));
    assert_non_null(a);
    resolver_bed_ask(bed, a, host, 443, LONG_NS);
    for (int i = 0; i < turns && a->called == 0; i++) {
        resolver_bed_turn(bed);
    }
    const uint32_t called = a->called;
    hpxi_query_cancel(&a->query);
    assert_false(a->query.active);
    assert_int_equal(a->called, called);
    free(a);
}

static void test_cancel_when_at_any_moment_then_silence(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "localhost", "a.test", "slow.test", "tc1.test", "nx.test", "silent.test", "two..dots"};
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        for (int turns = 0; turns < 12; turns++) {
            static resolver_bed bed;
            resolver_bed_open(&bed, 4);
            cancel_after(&bed, hosts[i], turns);
            for (int more = 0; more < 3; more++) {
                resolver_bed_turn(&bed);
            }
            if (strcmp(hosts[i], "silent.test") == 0) { /* c-ares would wait for 3 s */
                hpxi_resolver_free(bed.resolver);
                bed.resolver = NULL;
            }
            resolver_bed_close(&bed);
        }
    }
}

static void test_cancel_when_lookup_goes_on_then_answer_fills_the_cache(void **state)
{
    (void)state;
    static resolver_bed bed;
    resolver_bed_open(&bed, 4);
    cancel_after(&bed, "slow.test", 1);
    resolver_bed_idle(&bed, 4 * DNS_SERVER_SLOW_MS * HPX_NS_PER_MS);
    while (hpxi_resolver_polls(bed.resolver) != 0) {
        resolver_bed_turn(&bed);
    }
    ask a;
    assert_int_equal(resolver_bed_resolve(&bed, &a, "slow.test"), 0);
    resolver_bed_assert_addresses(&a, "192.0.2.1:443");
    resolver_bed_close(&bed);
}

static void then_cancel_other(ask *self)
{
    ask *other = self->context;
    hpxi_query_cancel(&other->query);
}

static void test_cancel_when_from_another_s_callback_then_silence(void **state)
{
    (void)state;
    static const char *const hosts[][2] = {
        {"localhost", "localhost"}, {"slow.test", "slow.test"}, {"127.0.0.1", "::1"}};
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        static resolver_bed bed;
        resolver_bed_open(&bed, 4);
        ask asks[3] = {0};
        asks[0].then = then_cancel_other;
        asks[0].context = &asks[1];
        resolver_bed_ask(&bed, &asks[0], hosts[i][0], 1, LONG_NS);
        resolver_bed_ask(&bed, &asks[1], hosts[i][1], 2, LONG_NS);
        resolver_bed_ask(&bed, &asks[2], hosts[i][1], 3, LONG_NS);
        resolver_bed_run(&bed, &asks[2], 1);
        assert_int_equal(asks[0].called, 1);
        assert_int_equal(asks[1].called, 0);
        assert_int_equal(asks[2].called, 1);
        resolver_bed_close(&bed);
    }
}

static void then_ask_again(ask *self)
{
    if (self->called < 5) {
        resolver_bed_ask(self->bed, self, self->context, 443, LONG_NS);
    }
}

static void test_start_when_from_its_own_callback_then_called_in_a_later_turn(void **state)
{
    (void)state;
    static const char *const hosts[] = {"localhost", "ttl300.test", "ttl0.test", "nx.test", "a..b"};
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        static resolver_bed bed;
        resolver_bed_open(&bed, 4);
        ask a = {.then = then_ask_again};
        char host[32];
        snprintf(host, sizeof(host), "%s", hosts[i]);
        a.context = host;
        resolver_bed_ask(&bed, &a, host, 443, LONG_NS);
        for (uint32_t before = 0; a.called < 5;) {
            resolver_bed_turn(&bed);
            /* Settle, the timer and completions are three occasions in a turn. */
            assert_true(a.called - before <= 3);
            before = a.called;
        }
        assert_false(a.query.active);
        resolver_bed_close(&bed);
    }
}

static void then_free(ask *self)
{
    *(uint32_t *)self->context += 1;
    free(self);
}

static void test_callback_when_it_frees_its_query_then_nothing_touches_it(void **state)
{
    (void)state;
    static const char *const hosts[] = {"localhost", "a.test", "nx.test", "silent.test"};
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        static resolver_bed bed;
        resolver_bed_open(&bed, 4);
        uint32_t freed = 0;
        for (int n = 0; n < 3; n++) {
            ask *a = calloc(1, sizeof(*a));
            assert_non_null(a);
            a->then = then_free;
            a->context = &freed;
            const uint64_t timeout_ns = hosts[i][0] == 's' ? 20 * HPX_NS_PER_MS : LONG_NS;
            resolver_bed_ask(&bed, a, hosts[i], 443, timeout_ns);
        }
        while (freed < 3) {
            resolver_bed_turn(&bed);
        }
        hpxi_resolver_free(bed.resolver);
        bed.resolver = NULL;
        resolver_bed_close(&bed);
    }
}

static void test_free_when_queries_are_active_then_no_callback_and_nothing_left(void **state)
{
    (void)state;
    static const char *const hosts[] = {
        "silent.test", "silent2.test", "tc1.test", "slow.test", "localhost", "a.test"};
    hpxi_resolver_free(NULL);
    for (int turns = 0; turns < 8; turns++) {
        static resolver_bed bed;
        resolver_bed_open(&bed, 4);
        ask asks[COUNT_OF(hosts)] = {0};
        uint32_t called[COUNT_OF(hosts)];
        for (size_t i = 0; i < COUNT_OF(hosts); i++) {
            resolver_bed_ask(&bed, &asks[i], hosts[i], 443, LONG_NS);
        }
        for (int i = 0; i < turns; i++) {
            resolver_bed_turn(&bed);
        }
        for (size_t i = 0; i < COUNT_OF(hosts); i++) {
            called[i] = asks[i].called;
        }
        assert_int_equal(asks[0].called, 0);
        hpxi_resolver_free(bed.resolver);
        /* Another one on the same ring is not confused by the completions that still come. */
        resolver_bed_new_resolver(&bed, 0);
        ask a;
        resolver_bed_resolve(&bed, &a, "a.test");
        resolver_bed_assert_addresses(&a, "192.0.2.1:443");
        for (size_t i = 0; i < COUNT_OF(hosts); i++) {
            assert_int_equal(asks[i].called, called[i]);
            assert_false(asks[i].query.active);
        }
        resolver_bed_close(&bed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_when_at_any_moment_then_silence),
        cmocka_unit_test(test_cancel_when_lookup_goes_on_then_answer_fills_the_cache),
        cmocka_unit_test(test_cancel_when_from_another_s_callback_then_silence),
        cmocka_unit_test(test_start_when_from_its_own_callback_then_called_in_a_later_turn),
        cmocka_unit_test(test_callback_when_it_frees_its_query_then_nothing_touches_it),
        cmocka_unit_test(test_free_when_queries_are_active_then_no_callback_and_nothing_left),
    };
    return cmocka_run_group_tests_name("engine/resolver_cancel", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    The pool does what pool.h says: who gets which item, when connections begin and which
 *         go, exactly within its limits.
 * Method  A fake poolable (fake.h) whose connections are ready, fail and die when the test says so;
 *         time is a number.
 */
#include "pool/pool.h"
#include "tests/pool/fake.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

/* An idle item of `key`, made through a waiter that then gives it back. */
static fake_item *make_idle(fake_pool *fake, hpxi_pool_key *key, uint64_t now_ns)
{
    assert_null(fake_checkout(fake, key, FAKE_WAITERS_MAX - 1));
    hpxi_pool_pump(&fake->pool);
    fake_item *item = fake_last(fake);
    hpxi_pool_ready(&fake->pool, &item->item, HPXI_POOL_UNIQUE, 1, now_ns);
    hpxi_pool_pump(&fake->pool);
    assert_ptr_equal(fake->waiters[FAKE_WAITERS_MAX - 1].item, &item->item);
    return item;
}

static void test_checkout_when_several_are_idle_then_the_newest_alive_one(void **state)
{
    (void)state;
    fake_pool f;
    fake_init(&f, &fake_config, NULL);
    hpxi_pool_key *key = fake_key(&f, "a", HPXI_POOL_UNIQUE);
    fake_item *items[3];
    for (int i = 0; i < 3; i++) {
        items[i] = make_idle(&f, key, 1);
    }
    for (int i = 0; i < 3; i++) { /* 0 first, 2 is the newest */
        hpxi_pool_checkin(&f.pool, &items[i]->item, true, 10 + (uint64_t)i);
    }
    items[2]->dead = true;
    hpxi_pool_item *got = fake_checkout(&f, key, 0);
    assert_ptr_equal(got, &items[1]->item);
    assert_true(items[2]->closing);
    assert_int_equal(f.pool.stats.dead, 1);
    assert_ptr_equal(fake_checkout(&f, key, 1), &items[0]->item);
    assert_null(fake_checkout(&f, key, 2)); /* none left */
    hpxi_pool_cancel(&f.pool, &f.waiters[2].waiter);
    hpxi_pool_checkin(&f.pool, got, true, 20);
    hpxi_pool_checkin(&f.pool, &items[0]->item, true, 20);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_waiters_when_items_come_back_then_first_come_first_served(void **state)
{
    (void)state;
    fake_pool f;
    hpxi_pool_config config = fake_config;
    config.per_key_max = 1;
    fake_init(&f, &config, NULL);
    hpxi_pool_key *key = fake_key(&f, "a", HPXI_POOL_UNIQUE);
    fake_item *item = make_idle(&f, key, 1); /* in use */
    for (uint32_t w = 0; w < 4; w++) {
        assert_null(fake_checkout(&f, key, w));
    }
    hpxi_pool_cancel(&f.pool, &f.waiters[1].waiter);
    hpxi_pool_cancel(&f.pool, &f.waiters[1].waiter); /* again: nothing */
    const uint32_t expected[] = {0, 2, 3};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        hpxi_pool_checkin(&f.pool, &item->item, true, 2);
        /* Whoever asks now comes after those who wait, although one is free. */
        assert_null(fake_checkout(&f, key, 10 + (uint32_t)i));
        hpxi_pool_pump(&f.pool);
        assert_int_equal(f.waiters[expected[i]].granted, 1);
        assert_int_equal(f.waiters[10 + i].granted, 0);
        hpxi_pool_cancel(&f.pool, &f.waiters[10 + i].waiter);
    }
    assert_int_equal(f.waiters[1].granted + f.waiters[1].refused, 0);
    assert_int_equal(f.connects, 1);
    hpxi_pool_checkin(&f.pool, &item->item, true, 3);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_wait_when_one_comes_back_before_the_connect_then_it_is_used(void **state)
{
    (void)state;
    fake_pool f;
    fake_init(&f, &fake_config, NULL);
    hpxi_pool_key *key = fake_key(&f, "a", HPXI_POOL_UNIQUE);
    fake_item *busy = make_idle(&f, key, 1);
    assert_null(fake_checkout(&f, key, 0));
    hpxi_pool_pump(&f.pool);
    fake_item *connecting = fake_last(&f);
    assert_ptr_not_equal(connecting, busy);
    hpxi_pool_checkin(&f.pool, &busy->item, true, 2);
    hpxi_pool_pump(&f.pool);
    assert_ptr_equal(f.waiters[0].item, &busy->item);
    hpxi_pool_ready(&f.pool, &connecting->item, HPXI_POOL_UNIQUE, 1, 3); /* now a spare */
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.pool.idle, 1);
    assert_ptr_equal(fake_checkout(&f, key, 1), &connecting->item);
    hpxi_pool_checkin(&f.pool, &connecting->item, true, 4);
    hpxi_pool_checkin(&f.pool, &busy->item, true, 4);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_connects_when_unique_then_one_per_waiter_up_to_the_limit(void **state)
{
    (void)state;
    fake_pool f;
    hpxi_pool_config config = fake_config;
    config.per_key_max = 3;
    fake_init(&f, &config, NULL);
    hpxi_pool_key *key = fake_key(&f, "a", HPXI_POOL_UNIQUE);
    for (uint32_t w = 0; w < 5; w++) {
        assert_null(fake_checkout(&f, key, w));
        hpxi_pool_pump(&f.pool);
        assert_int_equal(f.connects, w < 3 ? w + 1 : 3);
    }
    for (uint32_t w = 0; w < 5; w++) {
        hpxi_pool_cancel(&f.pool, &f.waiters[w].waiter);
    }
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_shared_when_many_ask_then_one_connect_and_all_use_it(void **state)
{
    (void)state;
    fake_pool f;
    fake_init(&f, &fake_config, NULL);
    hpxi_pool_key *key = fake_key(&f, "h2", HPXI_POOL_SHARED);
    for (uint32_t w = 0; w < 6; w++) {
        assert_null(fake_checkout(&f, key, w));
        hpxi_pool_pump(&f.pool);
    }
    assert_int_equal(f.connects, 1);
    fake_item *first = fake_last(&f);
    hpxi_pool_ready(&f.pool, &first->item, HPXI_POOL_SHARED, 4, 1);
    hpxi_pool_pump(&f.pool);
    for (uint32_t w = 0; w < 4; w++) {
        assert_ptr_equal(f.waiters[w].item, &first->item);
    }
    assert_int_equal(f.waiters[4].granted, 0);
    assert_int_equal(f.connects, 2); /* full: one more, shared_per_key_max is 2 */
    hpxi_pool_set_capacity(&f.pool, &first->item, 5);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.waiters[4].granted, 1);
    assert_int_equal(f.waiters[5].granted, 0);
    hpxi_pool_set_capacity(&f.pool, &first->item, 2); /* those above keep their use */
    hpxi_pool_checkin(&f.pool, &first->item, true, 2);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.waiters[5].granted, 0);
    for (int i = 0; i < 4; i++) {
        hpxi_pool_checkin(&f.pool, &first->item, true, 3);
    }
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.waiters[5].granted, 1);
    hpxi_pool_checkin(&f.pool, &first->item, true, 4);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_shared_when_capacity_is_0_then_waits_without_spinning(void **state)
{
    (void)state;
    fake_pool f;
    hpxi_pool_config config = fake_config;
    config.shared_per_key_max = 1;
    fake_init(&f, &config, NULL);
    hpxi_pool_key *key = fake_key(&f, "h2", HPXI_POOL_SHARED);
    assert_null(fake_checkout(&f, key, 0));
    hpxi_pool_pump(&f.pool);
    fake_item *item = fake_last(&f);
    hpxi_pool_ready(&f.pool, &item->item, HPXI_POOL_SHARED, 0, 1);
    hpxi_pool_pump(&f.pool);
    assert_false(f.pool.dirty); /* nothing to do before something changes */
    assert_int_equal(f.connects, 1);
    assert_int_equal(f.waiters[0].granted, 0);
    hpxi_pool_set_capacity(&f.pool, &item->item, 1);
    assert_true(f.pool.dirty);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.waiters[0].granted, 1);
    hpxi_pool_checkin(&f.pool, &item->item, true, 2);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_shared_when_it_turns_out_unique_then_the_others_connect_too(void **state)
{
    (void)state;
    fake_pool f;
    fake_init(&f, &fake_config, NULL);
    hpxi_pool_key *key = fake_key(&f, "alpn", HPXI_POOL_SHARED);
    for (uint32_t w = 0; w < 3; w++) {
        assert_null(fake_checkout(&f, key, w));
    }
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 1);
    fake_item *item = fake_last(&f);
    hpxi_pool_ready(&f.pool, &item->item, HPXI_POOL_UNIQUE, 1, 1);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.waiters[0].granted, 1);
    assert_int_equal(f.connects, 3);
    hpxi_pool_cancel(&f.pool, &f.waiters[1].waiter);
    hpxi_pool_cancel(&f.pool, &f.waiters[2].waiter);
    hpxi_pool_checkin(&f.pool, &item->item, true, 2);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_total_when_met_then_the_longest_idle_of_any_key_goes(void **state)
{
    (void)state;
    fake_pool f;
    hpxi_pool_config config = fake_config;
    config.total_max = 3;
    fake_init(&f, &config, NULL);
    hpxi_pool_key *a = fake_key(&f, "a", HPXI_POOL_UNIQUE);
    hpxi_pool_key *b = fake_key(&f, "b", HPXI_POOL_UNIQUE);
    fake_item *items[3];
    for (int i = 0; i < 3; i++) {
        items[i] = make_idle(&f, a, 1);
    }
    hpxi_pool_checkin(&f.pool, &items[1]->item, true, 5); /* the longest idle */
    hpxi_pool_checkin(&f.pool, &items[0]->item, true, 6);
    assert_null(fake_checkout(&f, b, 0));
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 3); /* not above total_max, not for a moment */
    assert_true(items[1]->closing);
    assert_false(items[0]->closing);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.pool.stats.evicted, 1); /* one is enough */
    assert_int_equal(fake_remove_closing(&f), 1);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 4);
    assert_int_equal(f.pool.total, 3);
    fake_item *made = fake_last(&f);
    hpxi_pool_ready(&f.pool, &made->item, HPXI_POOL_UNIQUE, 1, 7);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.waiters[0].granted, 1);
    /* All in use: the next one waits until one comes back, which goes for it. */
    hpxi_pool_item *again = fake_checkout(&f, a, 1);
    assert_ptr_equal(again, &items[0]->item);
    assert_null(fake_checkout(&f, b, 2));
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 4);
    hpxi_pool_checkin(&f.pool, again, true, 8);
    hpxi_pool_pump(&f.pool);
    assert_true(items[0]->closing);
    hpxi_pool_cancel(&f.pool, &f.waiters[2].waiter);
    hpxi_pool_checkin(&f.pool, &items[2]->item, true, 9);
    hpxi_pool_checkin(&f.pool, &made->item, true, 9);
    hpxi_pool_key_release(&f.pool, a);
    hpxi_pool_key_release(&f.pool, b);
    fake_fini(&f);
}

static void test_idle_when_above_the_limit_or_too_long_then_closed(void **state)
{
    (void)state;
    fake_pool f;
    hpxi_pool_config config = fake_config;
    config.idle_per_key_max = 2;
    fake_init(&f, &config, NULL);
    hpxi_pool_key *key = fake_key(&f, "a", HPXI_POOL_UNIQUE);
    fake_item *items[3];
    for (int i = 0; i < 3; i++) {
        items[i] = make_idle(&f, key, 1);
    }
    assert_int_equal(hpxi_pool_deadline(&f.pool), UINT64_MAX);
    for (int i = 0; i < 3; i++) {
        hpxi_pool_checkin(&f.pool, &items[i]->item, true, 100 + (uint64_t)i);
    }
    assert_true(items[0]->closing); /* the oldest is the one too many */
    assert_int_equal(f.pool.stats.surplus, 1);
    assert_int_equal(hpxi_pool_deadline(&f.pool), 101 + 1000);
    hpxi_pool_expire(&f.pool, 1100);
    assert_false(items[1]->closing);
    hpxi_pool_expire(&f.pool, 1101);
    assert_true(items[1]->closing);
    assert_false(items[2]->closing);
    assert_int_equal(hpxi_pool_deadline(&f.pool), 102 + 1000);
    hpxi_pool_expire(&f.pool, 5000);
    assert_true(items[2]->closing);
    assert_int_equal(f.pool.stats.expired, 2);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_warm_up_when_asked_then_made_and_idle_min_is_kept(void **state)
{
    (void)state;
    fake_pool f;
    hpxi_pool_config config = fake_config;
    config.idle_per_key_min = 1;
    fake_init(&f, &config, NULL);
    hpxi_pool_key *key = fake_key(&f, "a", HPXI_POOL_UNIQUE);
    hpxi_pool_warm_up(&f.pool, key, 3);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 3);
    for (uint32_t i = 0; i < 3; i++) {
        hpxi_pool_ready(&f.pool, &f.items[i].item, HPXI_POOL_UNIQUE, 1, 10);
    }
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 3);
    hpxi_pool_item *got = fake_checkout(&f, key, 0); /* from now on one is kept */
    assert_non_null(got);
    hpxi_pool_checkin(&f.pool, got, true, 20);
    hpxi_pool_expire(&f.pool, 100000);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.pool.idle, 1);
    assert_int_equal(f.pool.stats.expired, 2);
    (void)fake_remove_closing(&f);
    got = fake_checkout(&f, key, 1); /* in use: another is made beforehand */
    assert_non_null(got);
    hpxi_pool_checkin(&f.pool, got, false, 100001); /* and lost */
    (void)fake_remove_closing(&f);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 4);
    hpxi_pool_fail(&f.pool, &fake_last(&f)->item); /* refused: not again before somebody asks */
    (void)fake_remove_closing(&f);
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 4);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_fail_when_unique_then_one_waiter_else_all(void **state)
{
    (void)state;
    fake_pool f;
    fake_init(&f, &fake_config, NULL);
    hpxi_pool_key *unique = fake_key(&f, "u", HPXI_POOL_UNIQUE);
    hpxi_pool_key *shared = fake_key(&f, "s", HPXI_POOL_SHARED);
    assert_null(fake_checkout(&f, unique, 0));
    hpxi_pool_pump(&f.pool);
    fake_item *first = fake_last(&f);
    assert_null(fake_checkout(&f, unique, 1));
    hpxi_pool_pump(&f.pool);
    hpxi_pool_fail(&f.pool, &first->item);
    assert_int_equal(f.waiters[0].refused, 1);
    assert_int_equal(f.waiters[1].refused, 0);
    assert_null(fake_checkout(&f, shared, 2));
    assert_null(fake_checkout(&f, shared, 3));
    hpxi_pool_pump(&f.pool);
    hpxi_pool_fail(&f.pool, &fake_last(&f)->item);
    assert_int_equal(f.waiters[2].refused + f.waiters[3].refused, 2);
    f.cannot_connect = true;
    assert_null(fake_checkout(&f, shared, 4));
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.waiters[4].refused, 1);
    hpxi_pool_cancel(&f.pool, &f.waiters[1].waiter);
    hpxi_pool_key_release(&f.pool, unique);
    hpxi_pool_key_release(&f.pool, shared);
    fake_fini(&f);
}

static void test_retire_when_in_use_then_no_new_users_and_closed_with_the_last(void **state)
{
    (void)state;
    fake_pool f;
    fake_init(&f, &fake_config, NULL);
    hpxi_pool_key *key = fake_key(&f, "h2", HPXI_POOL_SHARED);
    assert_null(fake_checkout(&f, key, 0));
    assert_null(fake_checkout(&f, key, 1));
    hpxi_pool_pump(&f.pool);
    fake_item *old = fake_last(&f);
    hpxi_pool_ready(&f.pool, &old->item, HPXI_POOL_SHARED, 10, 1);
    hpxi_pool_pump(&f.pool);
    hpxi_pool_retire(&f.pool, &old->item); /* GOAWAY */
    assert_null(fake_checkout(&f, key, 2));
    hpxi_pool_pump(&f.pool);
    assert_int_equal(f.connects, 2);
    hpxi_pool_checkin(&f.pool, &old->item, true, 2);
    assert_false(old->closing);
    hpxi_pool_checkin(&f.pool, &old->item, true, 3);
    assert_true(old->closing);
    hpxi_pool_cancel(&f.pool, &f.waiters[2].waiter);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
}

static void test_keys_when_unused_then_remembered_up_to_the_limit(void **state)
{
    (void)state;
    fake_pool f;
    fake_init(&f, &fake_config, NULL);
    hpxi_pool_key *a = fake_key(&f, "a", HPXI_POOL_SHARED);
    assert_ptr_equal(fake_key(&f, "a", HPXI_POOL_UNIQUE), a);
    assert_ptr_not_equal(fake_key(&f, "b", HPXI_POOL_UNIQUE), a);
    assert_int_equal(a->kind, HPXI_POOL_SHARED);
    hpxi_pool_key_release(&f.pool, a);
    hpxi_pool_key_release(&f.pool, a);
    hpxi_pool_key_release(&f.pool, fake_key(&f, "b", HPXI_POOL_UNIQUE));
    hpxi_pool_key_release(&f.pool, fake_key(&f, "b", HPXI_POOL_UNIQUE) /* still one of ours */);
    hpxi_pool_key *b = fake_key(&f, "b", HPXI_POOL_UNIQUE);
    hpxi_pool_key_release(&f.pool, b);
    hpxi_pool_key_release(&f.pool, b);
    assert_int_equal(f.pool.unused_count, 2);
    char name[8] = "k0";
    for (int i = 0; i < 9; i++) {
        name[1] = (char)('0' + i);
        hpxi_pool_key_release(&f.pool, fake_key(&f, name, HPXI_POOL_UNIQUE));
        assert_true(f.pool.unused_count <= fake_config.keys_unused_max);
    }
    fake_fini(&f);
}

static void churn(fake_pool *f, hpxi_pool_key *key, int rounds)
{
    for (int i = 0; i < rounds; i++) {
        hpxi_pool_item *item = fake_checkout(f, key, 0);
        assert_non_null(item);
        assert_null(fake_checkout(f, key, 1)); /* the limit is 1 */
        hpxi_pool_checkin(&f->pool, item, true, 10 + (uint64_t)i);
        hpxi_pool_pump(&f->pool);
        hpxi_pool_checkin(&f->pool, f->waiters[1].item, true, 10 + (uint64_t)i);
        hpxi_pool_pump(&f->pool);
    }
}

static void test_steady_state_when_used_then_allocates_nothing(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    fake_pool f;
    hpxi_pool_config config = fake_config;
    config.per_key_max = 1;
    fake_init(&f, &config, &allocator);
    hpxi_pool_key *key = fake_key(&f, "a", HPXI_POOL_UNIQUE);
    fake_item *item = make_idle(&f, key, 1);
    hpxi_pool_checkin(&f.pool, &item->item, true, 2);
    churn(&f, key, 10);
    const size_t before = fa.count;
    churn(&f, key, 1000);
    hpxi_pool_key_release(&f.pool, fake_key(&f, "a", HPXI_POOL_UNIQUE));
    assert_int_equal(fa.count, before);
    hpxi_pool_key_release(&f.pool, key);
    fake_fini(&f);
    assert_int_equal(fa.live, 0);
}

static void test_key_when_there_is_no_memory_then_null_and_nothing_changes(void **state)
{
    (void)state;
    failing_allocator fa = {.fail_at = 0};
    const hpx_allocator allocator = fa_allocator(&fa);
    fake_pool f;
    fake_init(&f, &fake_config, &allocator);
    assert_null(hpxi_pool_key_get(&f.pool, hpx_span_of("a"), HPXI_POOL_UNIQUE));
    hpxi_pool_key_release(&f.pool, fake_key(&f, "a", HPXI_POOL_UNIQUE));
    fake_fini(&f);
    assert_int_equal(fa.live, 0);
}

static void test_place_when_policy_then_home_caller_or_least_loaded(void **state)
{
    (void)state;
    uint32_t counts[8] = {0};
    for (uint32_t i = 0; i < 8000; i++) {
        const hpx_span bytes = {.data = (const uint8_t *)&i, .size = sizeof(i)};
        const uint64_t hash = hpxi_pool_hash(bytes);
        const uint32_t home = hpxi_pool_place(HPXI_POOL_HOME, hash, 0, NULL, 8);
        assert_int_equal(home, hpxi_pool_place(HPXI_POOL_HOME, hash, 5, NULL, 8));
        counts[home]++;
    }
    for (int i = 0; i < 8; i++) {
        assert_in_range(counts[i], 800, 1200);
    }
    assert_int_equal(hpxi_pool_place(HPXI_POOL_CALLER, 1, 3, NULL, 8), 3);
    const uint32_t loads[4] = {5, 2, 9, 2};
    const uint32_t least = hpxi_pool_place(HPXI_POOL_LEAST_LOADED, 7, 0, loads, 4);
    assert_true(least == 1 || least == 3);
    const uint32_t equal[4] = {1, 1, 1, 1};
    assert_int_equal(
        hpxi_pool_place(HPXI_POOL_LEAST_LOADED, 7, 0, equal, 4),
        hpxi_pool_place(HPXI_POOL_HOME, 7, 0, NULL, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkout_when_several_are_idle_then_the_newest_alive_one),
        cmocka_unit_test(test_waiters_when_items_come_back_then_first_come_first_served),
        cmocka_unit_test(test_wait_when_one_comes_back_before_the_connect_then_it_is_used),
        cmocka_unit_test(test_connects_when_unique_then_one_per_waiter_up_to_the_limit),
        cmocka_unit_test(test_shared_when_many_ask_then_one_connect_and_all_use_it),
        cmocka_unit_test(test_shared_when_capacity_is_0_then_waits_without_spinning),
        cmocka_unit_test(test_shared_when_it_turns_out_unique_then_the_others_connect_too),
        cmocka_unit_test(test_total_when_met_then_the_longest_idle_of_any_key_goes),
        cmocka_unit_test(test_idle_when_above_the_limit_or_too_long_then_closed),
        cmocka_unit_test(test_warm_up_when_asked_then_made_and_idle_min_is_kept),
        cmocka_unit_test(test_fail_when_unique_then_one_waiter_else_all),
        cmocka_unit_test(test_retire_when_in_use_then_no_new_users_and_closed_with_the_last),
        cmocka_unit_test(test_keys_when_unused_then_remembered_up_to_the_limit),
        cmocka_unit_test(test_steady_state_when_used_then_allocates_nothing),
        cmocka_unit_test(test_key_when_there_is_no_memory_then_null_and_nothing_changes),
        cmocka_unit_test(test_place_when_policy_then_home_caller_or_least_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

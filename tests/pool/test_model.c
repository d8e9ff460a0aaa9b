/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Whatever is done to a pool in whatever order: its limits hold at every step, each waiter
 *         ends exactly once and in its key's order, and once things calm down nobody is left
 *         waiting.
 * Method  Random steps against the fake poolable, with a model that knows who asked when. The seed
 *         is printed; HPX_SEED replays one.
 */
#include <stdio.h>

#include "tests/pool/fake.h"
#include "tests/support/test.h"

#define MODEL_KEYS  4u
#define MODEL_STEPS 4000
#define MODEL_SEEDS 150u

typedef struct model {
    fake_pool fake;
    hpxi_pool_key *keys[MODEL_KEYS];
    uint64_t random;
    uint64_t now_ns;
    uint64_t asked;
    uint64_t last_granted[MODEL_KEYS]; /* `asked` of the last one that was granted after a wait */
} model;

static uint64_t model_random(model *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return m->random;
}

static uint32_t model_below(model *m, uint32_t limit)
{
    return (uint32_t)((model_random(m) >> 11) % limit);
}

static fake_item *model_pick_item(model *m, hpxi_pool_state state)
{
    const uint32_t from = model_below(m, FAKE_ITEMS_MAX);
    for (uint32_t i = 0; i < FAKE_ITEMS_MAX; i++) {
        fake_item *item = &m->fake.items[(from + i) % FAKE_ITEMS_MAX];
        if (item->used && item->item.state == state) {
            return item;
        }
    }
    return NULL;
}

static fake_waiter *model_pick_waiter(model *m, bool holding)
{
    const uint32_t from = model_below(m, FAKE_WAITERS_MAX);
    for (uint32_t i = 0; i < FAKE_WAITERS_MAX; i++) {
        fake_waiter *waiter = &m->fake.waiters[(from + i) % FAKE_WAITERS_MAX];
        if (waiter->active && (waiter->item != NULL) == holding) {
            return waiter;
        }
    }
    return NULL;
}

static void model_ask(model *m)
{
    for (uint32_t w = 0; w < FAKE_WAITERS_MAX; w++) {
        if (m->fake.waiters[w].active) {
            continue;
        }
        const uint32_t k = model_below(m, MODEL_KEYS);
        const uint32_t waiting = m->keys[k]->waiting;
        hpxi_pool_item *item = fake_checkout(&m->fake, m->keys[k], w);
        fake_waiter *waiter = &m->fake.waiters[w];
        waiter->key = k;
        waiter->asked = ++m->asked;
        if (item != NULL) {
            assert_int_equal(waiting, 0); /* nobody was overtaken */
            assert_ptr_equal(item->key, m->keys[k]);
            waiter->item = item;
        }
        return;
    }
}

static void model_give_back(model *m, bool reusable)
{
    fake_waiter *waiter = model_pick_waiter(m, true);
    if (waiter != NULL) {
        hpxi_pool_checkin(&m->fake.pool, waiter->item, reusable, m->now_ns);
        waiter->active = false;
        waiter->item = NULL;
    }
}

static void model_ready(model *m)
{
    fake_item *item = model_pick_item(m, HPXI_POOL_CONNECTING);
    if (item == NULL) {
        return;
    }
    const bool shared = item->item.key == m->keys[0] || item->item.key == m->keys[1];
    hpxi_pool_ready(
        &m->fake.pool,
        &item->item,
        shared ? HPXI_POOL_SHARED : HPXI_POOL_UNIQUE,
        shared ? model_below(m, 6) : 1,
        m->now_ns);
}

static void model_step(model *m)
{
    fake_item *item = NULL;
    fake_waiter *waiter = NULL;
    switch (model_below(m, 16)) {
    case 0:
    case 1:
    case 2:
    case 3:
        model_ask(m);
        break;
    case 4:
    case 5:
    case 6:
        model_give_back(m, model_below(m, 8) != 0);
        break;
    case 7:
    case 8:
        model_ready(m);
        break;
    case 9:
        item = model_pick_item(m, HPXI_POOL_CONNECTING);
        if (item != NULL) {
            hpxi_pool_fail(&m->fake.pool, &item->item);
        }
        break;
    case 10:
        waiter = model_pick_waiter(m, false);
        if (waiter != NULL) {
            hpxi_pool_cancel(&m->fake.pool, &waiter->waiter);
            waiter->active = false;
        }
        break;
    case 11:
        item = model_pick_item(m, HPXI_POOL_READY);
        if (item != NULL) {
            item->dead = item->item.users == 0;
        }
        break;
    case 12:
        item = model_pick_item(m, HPXI_POOL_READY);
        if (item != NULL && item->item.key->kind == HPXI_POOL_SHARED) {
            hpxi_pool_set_capacity(&m->fake.pool, &item->item, model_below(m, 6));
        }
        break;
    case 13:
        item = model_pick_item(m, HPXI_POOL_READY);
        if (item != NULL && model_below(m, 4) == 0) {
            hpxi_pool_retire(&m->fake.pool, &item->item);
        }
        break;
    case 14:
        (void)fake_remove_closing(&m->fake);
        break;
    default:
        m->now_ns += model_below(m, 800);
        hpxi_pool_expire(&m->fake.pool, m->now_ns);
        break;
    }
}

/* In the order of the grants, what each key's waiters had asked must rise. */
static void model_check_order(model *m, uint64_t *seen_order)
{
    for (;;) {
        fake_waiter *next = NULL;
        for (uint32_t w = 0; w < FAKE_WAITERS_MAX; w++) {
            fake_waiter *waiter = &m->fake.waiters[w];
            if (waiter->active && waiter->order > *seen_order &&
                (next == NULL || waiter->order < next->order)) {
                next = waiter;
            }
        }
        if (next == NULL) {
            return;
        }
        *seen_order = next->order;
        assert_int_equal(next->granted, 1);
        assert_ptr_equal(next->item->key, m->keys[next->key]);
        assert_true(next->asked > m->last_granted[next->key]);
        m->last_granted[next->key] = next->asked;
    }
}

static void model_check(model *m)
{
    const hpxi_pool *pool = &m->fake.pool;
    assert_true(hpxi_pool_is_valid(pool));
    uint32_t used = 0;
    for (uint32_t i = 0; i < FAKE_ITEMS_MAX; i++) {
        used += m->fake.items[i].used;
    }
    assert_int_equal(used, pool->total);
    assert_true(used <= pool->config.total_max);
    uint32_t waiting = 0;
    for (uint32_t w = 0; w < FAKE_WAITERS_MAX; w++) {
        const fake_waiter *waiter = &m->fake.waiters[w];
        waiting += waiter->active && waiter->item == NULL;
        assert_true(waiter->granted + waiter->refused <= 1);
    }
    assert_int_equal(waiting, pool->waiting);
}

/* Everything connects, everybody gives back: nobody may be left. */
static void model_calm_down(model *m)
{
    for (int round = 0; round < 2000; round++) {
        model_ready(m);
        model_give_back(m, true);
        (void)fake_remove_closing(&m->fake);
        fake_item *item = model_pick_item(m, HPXI_POOL_READY);
        if (item != NULL && item->item.capacity == 0) {
            hpxi_pool_set_capacity(&m->fake.pool, &item->item, 1);
        }
        hpxi_pool_pump(&m->fake.pool);
    }
    assert_int_equal(m->fake.pool.waiting, 0);
    assert_null(model_pick_waiter(m, true));
}

static void model_run(uint64_t seed)
{
    static model m;
    memset(&m, 0, sizeof(m));
    m.random = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    hpxi_pool_config config = fake_config;
    config.total_max = 2 + model_below(&m, 12);
    config.per_key_max = 1 + model_below(&m, 6);
    config.shared_per_key_max = 1 + model_below(&m, 2);
    config.idle_per_key_max = model_below(&m, 4);
    config.idle_per_key_min = config.idle_per_key_max != 0 ? model_below(&m, 2) : 0;
    fake_init(&m.fake, &config, NULL);
    static const char *const names[MODEL_KEYS] = {"h2", "h2 too", "h1", "h1 too"};
    for (uint32_t k = 0; k < MODEL_KEYS; k++) {
        m.keys[k] = fake_key(&m.fake, names[k], k < 2 ? HPXI_POOL_SHARED : HPXI_POOL_UNIQUE);
    }
    uint64_t order = 0;
    for (uint32_t w = 0; w < FAKE_WAITERS_MAX; w++) { /* orders go on from the run before */
        order = m.fake.waiters[w].order > order ? m.fake.waiters[w].order : order;
    }
    for (int step = 0; step < MODEL_STEPS; step++) {
        model_step(&m);
        hpxi_pool_pump(&m.fake.pool);
        model_check_order(&m, &order);
        model_check(&m);
    }
    model_calm_down(&m);
    for (uint32_t k = 0; k < MODEL_KEYS; k++) {
        hpxi_pool_key_release(&m.fake.pool, m.keys[k]);
    }
    fake_fini(&m.fake);
}

static void test_pool_when_anything_happens_then_the_model_agrees(void **state)
{
    (void)state;
    const char *given = getenv("HPX_SEED");
    const uint64_t first = given != NULL ? strtoull(given, NULL, 10) : 1;
    const uint64_t count = given != NULL ? 1 : MODEL_SEEDS;
    for (uint64_t seed = first; seed < first + count; seed++) {
        printf("HPX_SEED=%llu\n", (unsigned long long)seed); /* cmocka shows it when it fails */
        model_run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pool_when_anything_happens_then_the_model_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/pool/fake.h"

#include "tests/support/test.h"

const hpxi_pool_config fake_config = {
    .total_max = 16,
    .per_key_max = 8,
    .shared_per_key_max = 2,
    .idle_per_key_max = 4,
    .idle_ns = 1000,
    .keys_unused_max = 4,
};

static fake_item *last_connected;

static hpxi_pool_item *fake_connect(hpxi_pool *pool, hpxi_pool_key *key)
{
    (void)key;
    fake_pool *fake = pool->owner;
    if (fake->cannot_connect) {
        return NULL;
    }
    for (uint32_t i = 0; i < FAKE_ITEMS_MAX; i++) {
        fake_item *item = &fake->items[i];
        if (!item->used) {
            *item = (fake_item){.used = true};
            fake->connects++;
            last_connected = item;
            return &item->item;
        }
    }
    fail_msg("more items than total_max");
    return NULL;
}

static bool fake_is_alive(hpxi_pool_item *item)
{
    return !((fake_item *)(void *)item)->dead;
}

static void fake_close(hpxi_pool_item *item)
{
    fake_item *fake = (fake_item *)(void *)item;
    assert_true(fake->used);
    assert_false(fake->closing); /* once */
    assert_int_equal(item->users, 0);
    fake->closing = true;
}

static void fake_grant(hpxi_pool_waiter *waiter, hpxi_pool_item *item)
{
    fake_waiter *fake = (fake_waiter *)(void *)waiter;
    static uint64_t order;
    assert_non_null(item->key);
    assert_false(((fake_item *)(void *)item)->closing);
    fake->granted++;
    fake->item = item;
    fake->order = ++order;
}

static void fake_refuse(hpxi_pool_waiter *waiter, hpxi_pool_item *item)
{
    (void)item;
    fake_waiter *fake = (fake_waiter *)(void *)waiter;
    fake->refused++;
    fake->active = false;
}

static const hpxi_pool_ops fake_ops = {
    .connect = fake_connect,
    .is_alive = fake_is_alive,
    .close = fake_close,
    .grant = fake_grant,
    .refuse = fake_refuse,
};

void fake_init(fake_pool *fake, const hpxi_pool_config *config, const hpx_allocator *allocator)
{
    memset(fake, 0, sizeof(*fake));
    fake->counter.fail_at = SIZE_MAX;
    fake->allocator = fa_allocator(&fake->counter);
    hpxi_pool_init(
        &fake->pool, &fake_ops, config, allocator != NULL ? allocator : &fake->allocator, fake);
}

uint32_t fake_remove_closing(fake_pool *fake)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < FAKE_ITEMS_MAX; i++) {
        fake_item *item = &fake->items[i];
        if (item->used && item->item.state == HPXI_POOL_CLOSING) {
            hpxi_pool_remove(&fake->pool, &item->item);
            item->used = false;
            fake->closes++;
            count++;
        }
    }
    return count;
}

void fake_fini(fake_pool *fake)
{
    for (uint32_t i = 0; i < FAKE_ITEMS_MAX; i++) {
        if (fake->items[i].used) {
            hpxi_pool_retire(&fake->pool, &fake->items[i].item);
        }
    }
    (void)fake_remove_closing(fake);
    hpxi_pool_fini(&fake->pool);
    assert_int_equal(fake->counter.live, 0);
}

hpxi_pool_key *fake_key(fake_pool *fake, const char *name, hpxi_pool_kind kind)
{
    hpxi_pool_key *key = hpxi_pool_key_get(&fake->pool, hpx_span_of(name), kind);
    assert_non_null(key);
    return key;
}

fake_item *fake_last(fake_pool *fake)
{
    (void)fake;
    return last_connected;
}

hpxi_pool_item *fake_checkout(fake_pool *fake, hpxi_pool_key *key, uint32_t w)
{
    assert_true(w < FAKE_WAITERS_MAX);
    fake->waiters[w] = (fake_waiter){.active = true};
    return hpxi_pool_checkout(&fake->pool, key, &fake->waiters[w].waiter);
}

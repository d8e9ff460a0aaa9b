/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake.h - a poolable that only records: what the pool asked of it, and in which order.
 *
 * Threads   One.
 */
#ifndef HPX_TESTS_POOL_FAKE_H
#define HPX_TESTS_POOL_FAKE_H

#include "pool/pool.h"
#include "tests/support/failing_allocator.h"

#define FAKE_ITEMS_MAX   64u
#define FAKE_WAITERS_MAX 256u

typedef struct fake_item {
    hpxi_pool_item item;
    bool used;    /* by the pool: between connect and remove */
    bool dead;    /* what is_alive says */
    bool closing; /* `close` was called */
} fake_item;

typedef struct fake_waiter {
    hpxi_pool_waiter waiter;
    uint32_t granted; /* how often */
    uint32_t refused;
    hpxi_pool_item *item; /* granted */
    uint64_t order;       /* of the grant or refusal */
    uint32_t key;         /* for the test */
    uint64_t asked;
    bool active; /* asked, and not ended */
} fake_waiter;

typedef struct fake_pool {
    hpxi_pool pool;
    failing_allocator counter; /* when the test brings no allocator */
    hpx_allocator allocator;
    fake_item items[FAKE_ITEMS_MAX];
    fake_waiter waiters[FAKE_WAITERS_MAX];
    uint32_t connects;
    uint32_t closes;
    uint64_t order;
    bool cannot_connect; /* connect returns NULL */
} fake_pool;

/* `allocator` NULL: one that never fails, and finds leaks in fake_fini(). */
void fake_init(fake_pool *fake, const hpxi_pool_config *config, const hpx_allocator *allocator);

/* Removes what is closing, closes the rest, and frees. No item has a user, nothing waits. */
void fake_fini(fake_pool *fake);

hpxi_pool_key *fake_key(fake_pool *fake, const char *name, hpxi_pool_kind kind);

/* The item whose connect came last. */
fake_item *fake_last(fake_pool *fake);

/* One use of an item of `key`, or NULL and waiter `w` waits. */
hpxi_pool_item *fake_checkout(fake_pool *fake, hpxi_pool_key *key, uint32_t w);

/* Every item whose `close` was called is gone. Returns their number. */
uint32_t fake_remove_closing(fake_pool *fake);

extern const hpxi_pool_config fake_config; /* roomy: 16 items, 8 of a key, 4 idle, 1000 ns */

#endif /* HPX_TESTS_POOL_FAKE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.c - items and waiters: see pool.h for the states.
 *
 * Role      Each change only notes what it means (an item on its key's list, a waiter in its queue,
 *           `dirty`); hpxi_pool_pump() then acts. So nothing here runs the caller's code while the
 *           caller is in the middle of a change.
 * Threads   The shard's.
 */
#include "pool/internal.h"

void hpxi_pool_init(
    hpxi_pool *pool,
    const hpxi_pool_ops *ops,
    const hpxi_pool_config *config,
    const hpx_allocator *allocator,
    void *owner)
{
    HPX_ASSERT(config->total_max != 0 && config->per_key_max != 0);
    HPX_ASSERT(config->shared_per_key_max != 0);
    HPX_ASSERT(config->idle_per_key_min <= config->idle_per_key_max);
    *pool = (hpxi_pool){.ops = ops, .config = *config, .allocator = allocator, .owner = owner};
}

void hpxi_pool_fini(hpxi_pool *pool)
{
    HPX_ASSERT(pool->total == 0 && pool->waiting == 0 && pool->idle == 0);
    hpxi_pool_keys_free(pool);
}

/* ---- Lists ----------------------------------------------------------------------------------- */

static void pool_want(hpxi_pool *pool, hpxi_pool_key *key)
{
    pool->dirty = true;
    if (!key->is_pending) {
        key->is_pending = true;
        hpxi_pool_keys_append(&pool->pending, key);
    }
}

static void available_push(hpxi_pool_item *item)
{
    hpxi_pool_key *key = item->key;
    HPX_DASSERT(!item->available);
    item->available = true;
    item->prev = NULL;
    item->next = key->available;
    if (item->next != NULL) {
        item->next->prev = item;
    }
    key->available = item;
}

static void available_remove(hpxi_pool_item *item)
{
    hpxi_pool_key *key = item->key;
    HPX_DASSERT(item->available);
    item->available = false;
    *(item->prev != NULL ? &item->prev->next : &key->available) = item->next;
    if (item->next != NULL) {
        item->next->prev = item->prev;
    }
    item->next = NULL;
    item->prev = NULL;
}

static void idle_append(hpxi_pool *pool, hpxi_pool_item *item, uint64_t now_ns)
{
    item->idle_since_ns = now_ns;
    item->idle_next = NULL;
    item->idle_prev = pool->idle_last;
    *(item->idle_prev != NULL ? &item->idle_prev->idle_next : &pool->idle_first) = item;
    pool->idle_last = item;
    pool->idle++;
    item->key->idle++;
}

static void idle_remove(hpxi_pool *pool, hpxi_pool_item *item)
{
    HPX_DASSERT(item->state == HPXI_POOL_READY && item->users == 0);
    *(item->idle_prev != NULL ? &item->idle_prev->idle_next : &pool->idle_first) = item->idle_next;
    *(item->idle_next != NULL ? &item->idle_next->idle_prev : &pool->idle_last) = item->idle_prev;
    item->idle_next = NULL;
    item->idle_prev = NULL;
    HPX_DASSERT(pool->idle != 0 && item->key->idle != 0);
    pool->idle--;
    item->key->idle--;
}

/* READY or CONNECTING: off every list, and not counted as live any more. */
static void item_leave(hpxi_pool *pool, hpxi_pool_item *item)
{
    hpxi_pool_key *key = item->key;
    if (item->state == HPXI_POOL_READY) {
        if (item->available) {
            available_remove(item);
        }
        if (item->users == 0) {
            idle_remove(pool, item);
        }
    } else {
        HPX_ASSERT(item->state == HPXI_POOL_CONNECTING);
        HPX_ASSERT(key->connecting != 0);
        key->connecting--;
    }
    HPX_ASSERT(key->live != 0);
    key->live--;
    if (key->first != NULL || key->keep_warm) {
        pool_want(pool, key); /* its place may be taken by another */
    }
}

static void item_closing(hpxi_pool *pool, hpxi_pool_item *item)
{
    HPX_ASSERT(item->users == 0);
    item->state = HPXI_POOL_CLOSING;
    pool->closing++;
}

/* READY without users: it goes. */
static void item_kill(hpxi_pool *pool, hpxi_pool_item *item)
{
    item_leave(pool, item);
    item_closing(pool, item);
    pool->ops->close(item);
}

/* ---- Users ----------------------------------------------------------------------------------- */

static void item_use(hpxi_pool *pool, hpxi_pool_item *item)
{
    HPX_ASSERT(item->state == HPXI_POOL_READY && item->users < item->capacity);
    if (item->users == 0) {
        idle_remove(pool, item);
    }
    if (++item->users == item->capacity) {
        available_remove(item);
    }
}

/* The newest item with room that is alive, one use of it taken; dead ones on the way are closed. */
static hpxi_pool_item *key_take(hpxi_pool *pool, hpxi_pool_key *key)
{
    for (hpxi_pool_item *item; (item = key->available) != NULL;) {
        if (item->users == 0 && !pool->ops->is_alive(item)) {
            pool->stats.dead++;
            item_kill(pool, item);
            continue;
        }
        item_use(pool, item);
        return item;
    }
    return NULL;
}

static void waiter_enqueue(hpxi_pool *pool, hpxi_pool_key *key, hpxi_pool_waiter *waiter)
{
    hpxi_pool_key_retain(pool, key);
    waiter->key = key;
    waiter->next = NULL;
    waiter->prev = key->last;
    *(key->last != NULL ? &key->last->next : &key->first) = waiter;
    key->last = waiter;
    key->waiting++;
    pool->waiting++;
    pool_want(pool, key);
}

static void waiter_dequeue(hpxi_pool *pool, hpxi_pool_waiter *waiter)
{
    hpxi_pool_key *key = waiter->key;
    *(waiter->prev != NULL ? &waiter->prev->next : &key->first) = waiter->next;
    *(waiter->next != NULL ? &waiter->next->prev : &key->last) = waiter->prev;
    waiter->next = NULL;
    waiter->prev = NULL;
    waiter->key = NULL;
    HPX_ASSERT(key->waiting != 0 && pool->waiting != 0);
    key->waiting--;
    pool->waiting--;
    hpxi_pool_key_release(pool, key);
}

hpxi_pool_item *hpxi_pool_checkout(hpxi_pool *pool, hpxi_pool_key *key, hpxi_pool_waiter *waiter)
{
    HPX_ASSERT(waiter->key == NULL);
    HPX_ASSERT(key->refs != 0);
    if (HPXI_UNLIKELY(pool->config.idle_per_key_min != 0)) {
        key->keep_warm = true;
    }
    if (HPXI_LIKELY(key->first == NULL)) { /* nobody is overtaken */
        hpxi_pool_item *item = key_take(pool, key);
        if (HPXI_LIKELY(item != NULL)) {
            pool->stats.checkouts++;
            return item;
        }
    }
    pool->stats.waits++;
    waiter_enqueue(pool, key, waiter);
    return NULL;
}

/* More idle ones than are kept, and nobody waits: the oldest goes. */
static void key_trim(hpxi_pool *pool, hpxi_pool_key *key)
{
    if (key->idle <= pool->config.idle_per_key_max || key->first != NULL) {
        return;
    }
    hpxi_pool_item *oldest = pool->idle_first;
    while (oldest->key != key) {
        oldest = oldest->idle_next;
        HPX_ASSERT(oldest != NULL);
    }
    pool->stats.surplus++;
    item_kill(pool, oldest);
}

void hpxi_pool_checkin(hpxi_pool *pool, hpxi_pool_item *item, bool reusable, uint64_t now_ns)
{
    HPX_ASSERT(item->users != 0);
    HPX_ASSERT(item->state == HPXI_POOL_READY || item->state == HPXI_POOL_RETIRED);
    item->served = true;
    if (!reusable) {
        hpxi_pool_retire(pool, item); /* has a user: does not close yet */
    }
    item->users--;
    if (item->state == HPXI_POOL_RETIRED) {
        if (item->users == 0) {
            item_closing(pool, item);
            pool->ops->close(item);
        }
        return;
    }
    if (!item->available && item->users < item->capacity) {
        available_push(item);
    }
    if (item->users == 0) {
        idle_append(pool, item, now_ns);
        key_trim(pool, item->key);
    }
    if (item->key->first != NULL) {
        pool_want(pool, item->key);
    } else if (HPXI_UNLIKELY(pool->pending.first != NULL)) {
        pool->dirty = true; /* an idle one may make room for another key */
    }
}

void hpxi_pool_cancel(hpxi_pool *pool, hpxi_pool_waiter *waiter)
{
    if (waiter->key != NULL) {
        waiter_dequeue(pool, waiter);
    }
}

void hpxi_pool_warm_up(hpxi_pool *pool, hpxi_pool_key *key, uint32_t count)
{
    key->warm = count > key->warm ? count : key->warm;
    pool_want(pool, key);
}

/* ---- Items ----------------------------------------------------------------------------------- */

void hpxi_pool_ready(
    hpxi_pool *pool, hpxi_pool_item *item, hpxi_pool_kind kind, uint32_t capacity, uint64_t now_ns)
{
    HPX_ASSERT(item->state == HPXI_POOL_CONNECTING);
    HPX_ASSERT(kind == HPXI_POOL_SHARED || capacity == 1);
    hpxi_pool_key *key = item->key;
    HPX_ASSERT(key->connecting != 0);
    key->connecting--;
    key->kind = kind;
    item->state = HPXI_POOL_READY;
    item->capacity = capacity;
    if (capacity != 0) {
        available_push(item);
    }
    idle_append(pool, item, now_ns);
    pool_want(pool, key);
}

void hpxi_pool_set_capacity(hpxi_pool *pool, hpxi_pool_item *item, uint32_t capacity)
{
    item->capacity = capacity;
    if (item->state != HPXI_POOL_READY) {
        return;
    }
    const bool room = item->users < capacity;
    if (room && !item->available) {
        available_push(item);
        pool_want(pool, item->key);
    } else if (!room && item->available) {
        available_remove(item);
    }
}

void hpxi_pool_fail(hpxi_pool *pool, hpxi_pool_item *item)
{
    HPX_ASSERT(item->state == HPXI_POOL_CONNECTING);
    hpxi_pool_key *key = item->key;
    key->keep_warm = false; /* not again before somebody asks */
    key->warm = 0;
    item_leave(pool, item);
    item_closing(pool, item);
    pool->stats.failures++;
    uint32_t count = key->kind == HPXI_POOL_SHARED ? key->waiting : 1;
    for (; count != 0 && key->first != NULL; count--) {
        hpxi_pool_waiter *waiter = key->first; /* the item holds a reference to the key */
        waiter_dequeue(pool, waiter);
        pool->ops->refuse(waiter, item);
    }
}

void hpxi_pool_retire(hpxi_pool *pool, hpxi_pool_item *item)
{
    if (item->state == HPXI_POOL_CONNECTING || item->state == HPXI_POOL_READY) {
        item_leave(pool, item);
        item->state = HPXI_POOL_RETIRED;
        if (item->users == 0) {
            item_closing(pool, item);
            pool->ops->close(item);
        }
    }
}

void hpxi_pool_remove(hpxi_pool *pool, hpxi_pool_item *item)
{
    HPX_ASSERT(item->state == HPXI_POOL_CLOSING && item->users == 0);
    HPX_ASSERT(pool->total != 0 && pool->closing != 0);
    pool->total--;
    pool->closing--;
    hpxi_pool_key *key = item->key;
    item->key = NULL;
    item->state = HPXI_POOL_NONE;
    hpxi_pool_key_release(pool, key);
    pool->dirty = true;
}

/* ---- Pump ------------------------------------------------------------------------------------ */

/* Connections that the key should begin now. */
static uint32_t key_wants(const hpxi_pool *pool, const hpxi_pool_key *key)
{
    const hpxi_pool_config *config = &pool->config;
    const bool shared = key->kind == HPXI_POOL_SHARED;
    uint32_t want = key->waiting > key->connecting ? key->waiting - key->connecting : 0;
    if (shared) {
        want = key->waiting != 0 && key->connecting == 0 ? 1 : 0;
    }
    uint32_t warm = key->warm > key->live ? key->warm - key->live : 0;
    const uint32_t ahead = key->idle + key->connecting;
    if (key->keep_warm && config->idle_per_key_min > ahead + warm && !shared) {
        warm = config->idle_per_key_min - ahead;
    } else if (key->keep_warm && config->idle_per_key_min != 0 && shared && key->live == 0) {
        warm = warm > 1 ? warm : 1;
    }
    want = want > warm ? want : warm;
    const uint32_t max = shared ? config->shared_per_key_max : config->per_key_max;
    const uint32_t room = max > key->live ? max - key->live : 0;
    return want < room ? want : room;
}

/* Room for one more item below total_max; if not now, then soon: an idle one is closed for it. */
static bool pool_has_room(hpxi_pool *pool)
{
    if (pool->total < pool->config.total_max) {
        return true;
    }
    if (pool->closing == 0 && pool->idle_first != NULL) {
        pool->stats.evicted++;
        hpxi_pool_item *victim = pool->idle_first;
        victim->key->keep_warm = false; /* or it would be made again at once */
        item_kill(pool, victim);
    }
    return false;
}

static bool key_connect(hpxi_pool *pool, hpxi_pool_key *key)
{
    hpxi_pool_item *item = pool->ops->connect(pool, key);
    if (item == NULL) {
        key->warm = 0;
        key->keep_warm = false;
        if (key->first != NULL) {
            hpxi_pool_waiter *waiter = key->first;
            waiter_dequeue(pool, waiter); /* `key` is held by the caller */
            pool->ops->refuse(waiter, NULL);
        }
        return false;
    }
    HPX_ASSERT(item->state == HPXI_POOL_NONE);
    hpxi_pool_key_retain(pool, key);
    *item = (hpxi_pool_item){.key = key, .state = HPXI_POOL_CONNECTING};
    key->live++;
    key->connecting++;
    pool->total++;
    pool->stats.connects++;
    return true;
}

/* What can be done for one key; false: it still wants something. */
static bool key_pump(hpxi_pool *pool, hpxi_pool_key *key)
{
    while (key->first != NULL) {
        hpxi_pool_item *item = key_take(pool, key);
        if (item == NULL) {
            break;
        }
        hpxi_pool_waiter *waiter = key->first;
        waiter_dequeue(pool, waiter);
        pool->ops->grant(waiter, item);
    }
    while (key_wants(pool, key) != 0) {
        if (!pool_has_room(pool)) {
            return false;
        }
        (void)key_connect(pool, key);
    }
    if (key->live >= key->warm) {
        key->warm = 0;
    }
    return key->first == NULL;
}

/* Each pending key once; keys that become pending meanwhile wait for the next round. */
static void pool_round(hpxi_pool *pool)
{
    uint32_t count = 0;
    for (const hpxi_pool_key *key = pool->pending.first; key != NULL; key = key->next) {
        count++;
    }
    for (; count != 0 && pool->pending.first != NULL; count--) {
        hpxi_pool_key *key = pool->pending.first;
        hpxi_pool_keys_remove(&pool->pending, key);
        key->is_pending = false;
        hpxi_pool_key_retain(pool, key); /* its last waiter may go */
        const bool settled = key_pump(pool, key);
        if (!settled && !key->is_pending) {
            key->is_pending = true;
            hpxi_pool_keys_append(&pool->pending, key);
        }
        hpxi_pool_key_release(pool, key);
    }
}

void hpxi_pool_pump(hpxi_pool *pool)
{
    while (pool->dirty) {
        pool->dirty = false;
        pool_round(pool);
    }
    HPX_XASSERT(hpxi_pool_is_valid(pool));
}

/* ---- Time ------------------------------------------------------------------------------------ */

void hpxi_pool_expire(hpxi_pool *pool, uint64_t now_ns)
{
    const uint32_t count = pool->idle; /* those kept go to the end: look at each once */
    for (uint32_t i = 0; i < count; i++) {
        hpxi_pool_item *item = pool->idle_first;
        if (item == NULL || now_ns < item->idle_since_ns ||
            now_ns - item->idle_since_ns < pool->config.idle_ns) {
            return;
        }
        if (item->key->keep_warm && item->key->idle <= pool->config.idle_per_key_min) {
            idle_remove(pool, item);
            idle_append(pool, item, now_ns);
            continue;
        }
        pool->stats.expired++;
        item_kill(pool, item);
    }
}

uint64_t hpxi_pool_deadline(const hpxi_pool *pool)
{
    if (pool->idle_first == NULL || pool->config.idle_ns == UINT64_MAX) {
        return UINT64_MAX;
    }
    return pool->idle_first->idle_since_ns + pool->config.idle_ns;
}

/* ---- Invariants ------------------------------------------------------------------------------ */

static bool key_is_valid(const hpxi_pool *pool, const hpxi_pool_key *key)
{
    uint32_t waiting = 0;
    for (const hpxi_pool_waiter *waiter = key->first; waiter != NULL; waiter = waiter->next) {
        waiting++;
        if (waiter->key != key) {
            return false;
        }
    }
    for (const hpxi_pool_item *item = key->available; item != NULL; item = item->next) {
        if (item->key != key || item->state != HPXI_POOL_READY || !item->available ||
            item->users >= item->capacity) {
            return false;
        }
    }
    return waiting == key->waiting && key->connecting + key->idle <= key->live &&
           (key->refs != 0 || (waiting == 0 && key->live == 0)) && key->live <= pool->total;
}

bool hpxi_pool_is_valid(const hpxi_pool *pool)
{
    uint32_t live = 0;
    uint32_t waiting = 0;
    for (uint32_t i = 0; i < HPXI_POOL_BUCKETS; i++) {
        for (const hpxi_pool_key *key = pool->buckets[i]; key != NULL; key = key->chain) {
            if (!key_is_valid(pool, key)) {
                return false;
            }
            live += key->live;
            waiting += key->waiting;
        }
    }
    uint32_t idle = 0;
    uint64_t since = 0;
    for (const hpxi_pool_item *item = pool->idle_first; item != NULL; item = item->idle_next) {
        idle++;
        if (item->state != HPXI_POOL_READY || item->users != 0 || item->idle_since_ns < since) {
            return false;
        }
        since = item->idle_since_ns;
    }
    return idle == pool->idle && waiting == pool->waiting && live + pool->closing <= pool->total &&
           pool->total <= pool->config.total_max;
}

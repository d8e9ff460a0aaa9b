/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - connections kept for reuse, of one shard: who may have which, when new ones are made,
 * and which go.
 *
 *   CONNECTING -> READY <-> (users come and go) -> CLOSING -> removed
 *                   `-> RETIRED (no new users) ----^
 *
 * Role      Generic over what it pools: an hpxi_pool_item is a member of the connection, an
 *           hpxi_pool_waiter of whatever waits for one. Keys are opaque bytes: two connections are
 *           interchangeable if and only if their keys are equal. An item has one user at a time, or
 *           as many as its capacity says (HTTP/2).
 * Threads   One: the shard's.
 * Memory    Items and waiters are the caller's and must not move. Keys are interned, kept while
 *           used and for a while after: the steady state allocates nothing.
 * Time      Is a parameter.
 *
 * Callbacks: `connect` and `grant` come only from hpxi_pool_pump(), `refuse` from there and from
 * hpxi_pool_fail(). `is_alive` and `close` may come from any function; they must not call the pool.
 */
#ifndef HPXI_POOL_H
#define HPXI_POOL_H

#include "ring/alloc.h"

typedef struct hpxi_pool hpxi_pool;
typedef struct hpxi_pool_key hpxi_pool_key;
typedef struct hpxi_pool_item hpxi_pool_item;
typedef struct hpxi_pool_waiter hpxi_pool_waiter;

/* How many users an item of a key has. A key learns it from its connections (ALPN). */
typedef enum hpxi_pool_kind {
    HPXI_POOL_UNIQUE, /* one: as many connects at once as there are waiters */
    HPXI_POOL_SHARED, /* several, or not known yet: one connect at a time */
} hpxi_pool_kind;

typedef enum hpxi_pool_state {
    HPXI_POOL_NONE = 0, /* not in the pool */
    HPXI_POOL_CONNECTING,
    HPXI_POOL_READY,
    HPXI_POOL_RETIRED, /* has users, gets no new ones */
    HPXI_POOL_CLOSING, /* `close` was called: counts until hpxi_pool_remove() */
} hpxi_pool_state;

struct hpxi_pool_item {
    hpxi_pool_key *key;
    hpxi_pool_state state;
    uint32_t users;
    uint32_t capacity;
    bool served;            /* had a user before */
    bool available;         /* on the key's list: READY with room */
    uint64_t idle_since_ns; /* of READY without users */
    hpxi_pool_item *next;   /* the key's list, newest first */
    hpxi_pool_item *prev;
    hpxi_pool_item *idle_next; /* the pool's idle list, oldest first */
    hpxi_pool_item *idle_prev;
};

struct hpxi_pool_waiter {
    hpxi_pool_key *key; /* NULL: does not wait */
    hpxi_pool_waiter *next;
    hpxi_pool_waiter *prev;
};

/* What a pooled thing can do. All are required. */
typedef struct hpxi_pool_ops {
    /* Begin a connection for `key` and return its item; later hpxi_pool_ready() or _fail(). NULL:
     * not possible, the oldest waiter is refused. */
    hpxi_pool_item *(*connect)(hpxi_pool *pool, hpxi_pool_key *key);
    /* May an idle item be used? Looked at just before it is handed out. */
    bool (*is_alive)(hpxi_pool_item *item);
    /* Not wanted any more: end it, and hpxi_pool_remove() when it is gone (not at once). */
    void (*close)(hpxi_pool_item *item);
    /* The waiter has one use of the item: give it back with hpxi_pool_checkin(). */
    void (*grant)(hpxi_pool_waiter *waiter, hpxi_pool_item *item);
    /* The connection that the waiter waited for failed (`item`), or none could be begun (NULL). */
    void (*refuse)(hpxi_pool_waiter *waiter, hpxi_pool_item *item);
} hpxi_pool_ops;

/* All numbers at least 1, unless said otherwise. */
typedef struct hpxi_pool_config {
    uint32_t total_max;          /* items, those that are closing too: exact */
    uint32_t per_key_max;        /* items of one key that are not going */
    uint32_t shared_per_key_max; /* of a key whose connections are shared */
    uint32_t idle_per_key_max;   /* 0: none is kept */
    uint32_t idle_per_key_min;   /* 0: none is made beforehand */
    uint64_t idle_ns;            /* then an idle one is closed */
    uint32_t keys_unused_max;    /* keys remembered without any item: 0 to 65536 */
} hpxi_pool_config;

typedef struct hpxi_pool_stats {
    uint64_t checkouts; /* that got an item at once */
    uint64_t waits;     /* that had to wait */
    uint64_t connects;
    uint64_t failures; /* connects that failed */
    uint64_t dead;     /* idle items found unusable */
    uint64_t expired;  /* idle for too long */
    uint64_t surplus;  /* idle beyond idle_per_key_max */
    uint64_t evicted;  /* idle, closed to make room below total_max */
} hpxi_pool_stats;

#define HPXI_POOL_BUCKETS 256u

typedef struct hpxi_pool_keys { /* list of keys, first in, first out */
    hpxi_pool_key *first;
    hpxi_pool_key *last;
} hpxi_pool_keys;

struct hpxi_pool {
    const hpxi_pool_ops *ops;
    hpxi_pool_config config;
    const hpx_allocator *allocator;
    void *owner;
    hpxi_pool_key *buckets[HPXI_POOL_BUCKETS];
    hpxi_pool_keys unused; /* longest unused first */
    uint32_t unused_count;
    hpxi_pool_keys pending;     /* want something that pump may give */
    hpxi_pool_item *idle_first; /* oldest */
    hpxi_pool_item *idle_last;
    uint32_t total;
    uint32_t closing;
    uint32_t idle;
    uint32_t waiting;
    bool dirty; /* something changed that pump should look at */
    hpxi_pool_stats stats;
};

struct hpxi_pool_key {
    uint64_t hash;
    uint32_t bytes;
    uint32_t refs; /* users, waiters, items, callers of hpxi_pool_key_get() */
    hpxi_pool_kind kind;
    uint32_t live; /* items that are not going */
    uint32_t connecting;
    uint32_t idle;
    uint32_t waiting;
    uint32_t warm;  /* items to have, once; and then idle_per_key_min */
    bool keep_warm; /* was used, and the last connect did not fail */
    bool is_pending;
    hpxi_pool_item *available; /* newest first */
    hpxi_pool_waiter *first;
    hpxi_pool_waiter *last;
    hpxi_pool_key *chain; /* of the bucket */
    hpxi_pool_key *next;  /* of `pending` or `unused`: never on both */
    hpxi_pool_key *prev;
    uint8_t data[];
};

void hpxi_pool_init(
    hpxi_pool *pool,
    const hpxi_pool_ops *ops,
    const hpxi_pool_config *config,
    const hpx_allocator *allocator,
    void *owner);

/* No item and no waiter is left. */
void hpxi_pool_fini(hpxi_pool *pool);

/* ---- Keys ------------------------------------------------------------------------------------ */

/* The interned key and a reference, NULL when out of memory. `kind` counts for a new key only.
 * key.c */
hpxi_pool_key *hpxi_pool_key_get(hpxi_pool *pool, hpx_span bytes, hpxi_pool_kind kind);
void hpxi_pool_key_retain(hpxi_pool *pool, hpxi_pool_key *key);
void hpxi_pool_key_release(hpxi_pool *pool, hpxi_pool_key *key);

/* The hash that keys are found and placed by. */
uint64_t hpxi_pool_hash(hpx_span bytes);

/* ---- Users ----------------------------------------------------------------------------------- */

/* One use of an item of `key`: the newest idle one that is alive, at once; or NULL, and `waiter`
 * waits: first come, first served, for whatever becomes free or connected first. */
hpxi_pool_item *hpxi_pool_checkout(hpxi_pool *pool, hpxi_pool_key *key, hpxi_pool_waiter *waiter);

/* Give one use back. Not `reusable`: the item retires. */
void hpxi_pool_checkin(hpxi_pool *pool, hpxi_pool_item *item, bool reusable, uint64_t now_ns);

/* The waiter waits no more. Nothing if it does not wait. */
void hpxi_pool_cancel(hpxi_pool *pool, hpxi_pool_waiter *waiter);

/* Have `count` items of the key, connected or connecting. */
void hpxi_pool_warm_up(hpxi_pool *pool, hpxi_pool_key *key, uint32_t count);

/* ---- Items ----------------------------------------------------------------------------------- */

/* CONNECTING -> READY, with room for `capacity` users (0: none yet). */
void hpxi_pool_ready(
    hpxi_pool *pool, hpxi_pool_item *item, hpxi_pool_kind kind, uint32_t capacity, uint64_t now_ns);

/* The peer allows more or fewer users. Those above keep their use. */
void hpxi_pool_set_capacity(hpxi_pool *pool, hpxi_pool_item *item, uint32_t capacity);

/* CONNECTING -> CLOSING, without `close`. A unique one takes the oldest waiter with it, a shared
 * one all of the key's. */
void hpxi_pool_fail(hpxi_pool *pool, hpxi_pool_item *item);

/* No new users; without any, `close` comes at once. Any state. */
void hpxi_pool_retire(hpxi_pool *pool, hpxi_pool_item *item);

/* It is gone: its place is free. CLOSING, no users. */
void hpxi_pool_remove(hpxi_pool *pool, hpxi_pool_item *item);

/* ---- The pool -------------------------------------------------------------------------------- */

/* Grant, connect, make room: what the changes since the last call allow. */
void hpxi_pool_pump(hpxi_pool *pool);

/* Close what was idle for too long. */
void hpxi_pool_expire(hpxi_pool *pool, uint64_t now_ns);

/* When to call it next; UINT64_MAX: nothing is idle. */
uint64_t hpxi_pool_deadline(const hpxi_pool *pool);

/* The invariants, walked: for HPX_XASSERT and tests. */
bool hpxi_pool_is_valid(const hpxi_pool *pool);

/* ---- Placement ------------------------------------------------------------------------------- */

typedef enum hpxi_pool_placement {
    HPXI_POOL_HOME,         /* by hash: all connections of a key on one shard */
    HPXI_POOL_CALLER,       /* where it is asked for */
    HPXI_POOL_LEAST_LOADED, /* fewest in `loads`; equal ones: nearest to home */
} hpxi_pool_placement;

/* The shard for a key. `loads` has one entry per shard, and may be NULL for the other two. */
uint32_t hpxi_pool_place(
    hpxi_pool_placement placement,
    uint64_t hash,
    uint32_t caller,
    const uint32_t *loads,
    uint32_t shards);

#endif /* HPXI_POOL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topics.h - the topics of one connection: who holds them, and what the server knows of them.
 *
 *   ABSENT -(subscribe sent)-> SUBSCRIBING -(accepted)-> ACTIVE
 *   ACTIVE -(unsubscribe sent)-> UNSUBSCRIBING -(accepted)-> ABSENT -(nobody holds it)-> freed
 *   SUBSCRIBING -(refused)-> ABSENT;  any -(connection lost)-> ABSENT
 *
 * Role      A topic is interned once, with the members that hold it. What is *wanted* (somebody
 *           holds it) and what *is* (the state) are reconciled in batches: a topic whose batch is
 *           under way waits for its answer, so that nothing is ever sent twice, and a subscribe
 *           that was undone before it was sent is never sent at all.
 * Threads   The shard's. No I/O: the session turns batches into messages.
 */
#ifndef HPXI_TOPICS_H
#define HPXI_TOPICS_H

#include <hpx/session.h>

#include "ring/alloc.h"

#define HPXI_BATCHES_MAX 32u /* messages of (un)subscribing that may wait for their answer */

typedef enum hpxi_topic_state {
    HPXI_TOPIC_ABSENT = 0,    /* not subscribed at the server */
    HPXI_TOPIC_SUBSCRIBING,   /* in a batch that was sent */
    HPXI_TOPIC_ACTIVE,        /* subscribed at the server */
    HPXI_TOPIC_UNSUBSCRIBING, /* in a batch that was sent */
} hpxi_topic_state;

typedef struct hpxi_topic hpxi_topic;
typedef struct hpxi_request hpxi_request;

/* One topic of one subscription. */
typedef struct hpxi_member {
    hpxi_topic *topic; /* NULL: not joined (any more) */
    hpx_subscription *subscription;
    struct hpxi_member *next;
    struct hpxi_member *prev;
    uint32_t index; /* of the topic, among the subscription's */
} hpxi_member;

typedef struct hpxi_batch {
    bool is_subscribe;
    uint32_t count;        /* topics that still wait; 0: free */
    hpxi_topic *first;     /* in the order in which they were named */
    hpxi_request *request; /* the message's, or NULL */
    struct hpxi_batch *next_free;
} hpxi_batch;

struct hpxi_topic {
    hpxi_topic *next_in_bucket;
    hpxi_topic *next; /* of the queue or the batch that it is in */
    hpxi_topic *prev;
    hpxi_batch *batch; /* SUBSCRIBING, UNSUBSCRIBING */
    hpxi_member *members;
    uint64_t hash;
    hpxi_topic_state state;
    uint32_t bytes;
    bool queued_up;   /* in the queue of topics to subscribe */
    bool queued_down; /* in the queue of topics to unsubscribe */
    bool restoring;   /* the connection is not Ready before it is settled */
    char name[];
};

typedef struct hpxi_topic_queue {
    hpxi_topic *first;
    hpxi_topic *last;
} hpxi_topic_queue;

typedef struct hpxi_topics {
    const hpx_allocator *allocator;
    hpxi_topic **buckets;
    uint64_t mask;
    uint32_t count;        /* topics known */
    uint32_t held;         /* of them, held by members */
    uint32_t held_max;     /* config.topics_max */
    uint32_t restoring;    /* topics that still keep the connection from being Ready */
    hpxi_topic_queue up;   /* wanted and ABSENT, perhaps not any more */
    hpxi_topic_queue down; /* unwanted and ACTIVE, perhaps not any more */
    hpxi_batch batches[HPXI_BATCHES_MAX];
    hpxi_batch *free_batches;
} hpxi_topics;

hpx_status hpxi_topics_init(hpxi_topics *topics, uint32_t held_max, const hpx_allocator *allocator);

/* No members are left. */
void hpxi_topics_fini(hpxi_topics *topics);

/* `member` (its subscription and index set) holds the topic from now on. HPX_OK, HPX_E_LIMIT,
 * HPX_E_NO_MEMORY (nothing changed). */
hpx_status hpxi_topics_join(hpxi_topics *topics, hpx_span name, hpxi_member *member);

/* ... and not any more; nothing if it did not. */
void hpxi_topics_leave(hpxi_topics *topics, hpxi_member *member);

/* Nobody holds the topic any more: takes its members off it (their topic is NULL, `next` leads to
 * the next), so that they can be told one by one. The topic may be freed. */
hpxi_member *hpxi_topics_detach(hpxi_topics *topics, hpxi_topic *topic);

hpxi_topic *hpxi_topics_find(const hpxi_topics *topics, hpx_span name);

/* Is there a batch to send? Unsubscribes first: they make room at the server. */
bool hpxi_topics_have_work(hpxi_topics *topics);

/* Take up to `max` topics that want the same. NULL: nothing to do, or all batches wait. */
hpxi_batch *hpxi_topics_take(hpxi_topics *topics, uint32_t max);

/* It could not be sent: as before, its topics first in the queue. */
void hpxi_topics_undo(hpxi_topics *topics, hpxi_batch *batch);

/* The server answered for one topic of a batch under way: it did as asked, or refused (detach
 * the members first: who still holds it wants it tried again). The batch is free once its last
 * topic is settled: then its request is returned, to be given back; else NULL. The topic may be
 * freed. */
hpxi_request *hpxi_topics_settle(hpxi_topics *topics, hpxi_topic *topic, bool accepted);

/* The connection is lost: the server knows nothing any more. Requests of batches are not touched.
 */
void hpxi_topics_reset(hpxi_topics *topics);

/* Every topic that is held is to be subscribed anew; `restoring` counts them. */
void hpxi_topics_restore(hpxi_topics *topics);

/* The invariant, in O(topics): for HPX_XASSERT and tests. */
bool hpxi_topics_is_valid(const hpxi_topics *topics);

static inline hpx_span hpxi_topic_name(const hpxi_topic *topic)
{
    return (hpx_span){.data = (const uint8_t *)topic->name, .size = topic->bytes};
}

#endif /* HPXI_TOPICS_H */

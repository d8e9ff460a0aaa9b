/* SPDX-License-Identifier: Apache-2.0 */
/* topics.c - interning, reference counting and reconciling of topics. */
#include "engine/topics.h"

#include <string.h>

#include "ring/assert.h"

#define TOPICS_BUCKETS_MIN 64u

/* ---- Table ----------------------------------------------------------------------------------- */

/* Eight bytes at a time: a topic is looked up for every update. */
static uint64_t topic_hash(hpx_span name)
{
    uint64_t hash = UINT64_C(0x9E3779B97F4A7C15) ^ name.size;
    const uint8_t *at = name.data;
    size_t left = name.size;
    for (; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        hash = (hash ^ word) * UINT64_C(0xFF51AFD7ED558CCD);
        hash ^= hash >> 32;
    }
    uint64_t rest = 0;
    if (left != 0) {
        memcpy(&rest, at, left);
    }
    hash = (hash ^ rest) * UINT64_C(0xC4CEB9FE1A85EC53);
    return hash ^ hash >> 29;
}

hpx_status hpxi_topics_init(hpxi_topics *topics, uint32_t held_max, const hpx_allocator *allocator)
{
    *topics =
        (hpxi_topics){.allocator = allocator, .held_max = held_max, .mask = TOPICS_BUCKETS_MIN - 1};
    topics->buckets = hpxi_alloc_zero(
        allocator, TOPICS_BUCKETS_MIN * sizeof(topics->buckets[0]), _Alignof(hpxi_topic *));
    for (uint32_t i = 0; i < HPXI_BATCHES_MAX; i++) {
        topics->batches[i].next_free = topics->free_batches;
        topics->free_batches = &topics->batches[i];
    }
    return topics->buckets != NULL ? HPX_OK : HPX_E_NO_MEMORY;
}

void hpxi_topics_fini(hpxi_topics *topics)
{
    if (topics->buckets == NULL) {
        return;
    }
    hpxi_topics_reset(topics); /* frees those that nobody holds */
    HPX_ASSERT(topics->count == 0);
    hpxi_free(topics->allocator, topics->buckets, (topics->mask + 1) * sizeof(topics->buckets[0]));
    topics->buckets = NULL;
}

hpxi_topic *hpxi_topics_find(const hpxi_topics *topics, hpx_span name)
{
    const uint64_t hash = topic_hash(name);
    hpxi_topic *topic = topics->buckets[hash & topics->mask];
    while (topic != NULL && (topic->hash != hash || topic->bytes != name.size ||
                             memcmp(topic->name, name.data, name.size) != 0)) {
        topic = topic->next_in_bucket;
    }
    return topic;
}

static void topics_insert(hpxi_topics *topics, hpxi_topic *topic)
{
    hpxi_topic **bucket = &topics->buckets[topic->hash & topics->mask];
    topic->next_in_bucket = *bucket;
    *bucket = topic;
}

/* Twice as many buckets; if there is no memory for them, chains are longer. */
static void topics_grow(hpxi_topics *topics)
{
    const uint64_t old = topics->mask + 1;
    hpxi_topic **buckets =
        hpxi_alloc_zero(topics->allocator, 2 * old * sizeof(buckets[0]), _Alignof(hpxi_topic *));
    if (buckets == NULL) {
        return;
    }
    hpxi_topic **from = topics->buckets;
    topics->buckets = buckets;
    topics->mask = 2 * old - 1;
    for (uint64_t i = 0; i < old; i++) {
        for (hpxi_topic *topic = from[i], *next; topic != NULL; topic = next) {
            next = topic->next_in_bucket;
            topics_insert(topics, topic);
        }
    }
    hpxi_free(topics->allocator, from, old * sizeof(from[0]));
}

static hpxi_topic *topic_new(hpxi_topics *topics, hpx_span name)
{
    hpxi_topic *topic =
        hpxi_alloc_zero(topics->allocator, sizeof(*topic) + name.size, _Alignof(hpxi_topic));
    if (topic == NULL) {
        return NULL;
    }
    topic->hash = topic_hash(name);
    topic->bytes = (uint32_t)name.size;
    memcpy(topic->name, name.data, name.size);
    topics_insert(topics, topic);
    topics->count++;
    if (topics->count > topics->mask) {
        topics_grow(topics);
    }
    return topic;
}

/* ---- Queues ---------------------------------------------------------------------------------- */

static void queue_push(hpxi_topic_queue *queue, hpxi_topic *topic, bool in_front)
{
    topic->next = in_front ? queue->first : NULL;
    topic->prev = in_front ? NULL : queue->last;
    *(topic->prev != NULL ? &topic->prev->next : &queue->first) = topic;
    *(topic->next != NULL ? &topic->next->prev : &queue->last) = topic;
}

static void queue_remove(hpxi_topic_queue *queue, hpxi_topic *topic)
{
    *(topic->prev != NULL ? &topic->prev->next : &queue->first) = topic->next;
    *(topic->next != NULL ? &topic->next->prev : &queue->last) = topic->prev;
    topic->next = NULL;
    topic->prev = NULL;
}

static void topic_unqueue(hpxi_topics *topics, hpxi_topic *topic)
{
    if (topic->queued_up) {
        queue_remove(&topics->up, topic);
        topic->queued_up = false;
    } else if (topic->queued_down) {
        queue_remove(&topics->down, topic);
        topic->queued_down = false;
    }
}

static void topic_set_restoring(hpxi_topics *topics, hpxi_topic *topic, bool restoring)
{
    if (topic->restoring != restoring) {
        topic->restoring = restoring;
        topics->restoring += restoring ? 1 : UINT32_MAX; /* minus one */
    }
}

static void topic_free(hpxi_topics *topics, hpxi_topic *topic)
{
    HPX_ASSERT(topic->members == NULL);
    HPX_ASSERT(topic->batch == NULL);
    topic_set_restoring(topics, topic, false);
    topic_unqueue(topics, topic);
    hpxi_topic **at = &topics->buckets[topic->hash & topics->mask];
    while (*at != topic) {
        HPX_ASSERT(*at != NULL);
        at = &(*at)->next_in_bucket;
    }
    *at = topic->next_in_bucket;
    topics->count--;
    hpxi_free(topics->allocator, topic, sizeof(*topic) + topic->bytes);
}

/* What is wanted or what is has changed: queue the topic for what it needs now, if anything. The
 * topic may be freed. */
static void topic_reconcile(hpxi_topics *topics, hpxi_topic *topic, bool in_front)
{
    const bool wanted = topic->members != NULL;
    topic_unqueue(topics, topic);
    switch (topic->state) {
    case HPXI_TOPIC_SUBSCRIBING:
    case HPXI_TOPIC_UNSUBSCRIBING:
        return; /* after its answer */
    case HPXI_TOPIC_ABSENT:
        if (!wanted) {
            topic_free(topics, topic);
            return;
        }
        topic->queued_up = true;
        queue_push(&topics->up, topic, in_front);
        return;
    case HPXI_TOPIC_ACTIVE:
        if (!wanted) {
            topic->queued_down = true;
            queue_push(&topics->down, topic, in_front);
        }
        return;
    }
    HPX_ASSERT(false);
}

/* ---- Members --------------------------------------------------------------------------------- */

hpx_status hpxi_topics_join(hpxi_topics *topics, hpx_span name, hpxi_member *member)
{
    HPX_ASSERT(member->topic == NULL);
    HPX_ASSERT(name.size >= 1 && name.size <= HPX_TOPIC_BYTES_MAX);
    hpxi_topic *topic = hpxi_topics_find(topics, name);
    if ((topic == NULL || topic->members == NULL) && topics->held >= topics->held_max) {
        return HPX_E_LIMIT;
    }
    if (topic == NULL) {
        topic = topic_new(topics, name);
        if (topic == NULL) {
            return HPX_E_NO_MEMORY;
        }
    }
    const bool first = topic->members == NULL;
    member->topic = topic;
    member->prev = NULL;
    member->next = topic->members; /* in front: a walk over the members does not meet it */
    if (member->next != NULL) {
        member->next->prev = member;
    }
    topic->members = member;
    if (first) {
        topics->held++;
        topic_reconcile(topics, topic, false);
    }
    return HPX_OK;
}

void hpxi_topics_leave(hpxi_topics *topics, hpxi_member *member)
{
    hpxi_topic *topic = member->topic;
    if (topic == NULL) {
        return;
    }
    member->topic = NULL;
    *(member->prev != NULL ? &member->prev->next : &topic->members) = member->next;
    if (member->next != NULL) {
        member->next->prev = member->prev;
    }
    member->next = NULL;
    member->prev = NULL;
    if (topic->members == NULL) {
        topics->held--;
        topic_set_restoring(topics, topic, false);
        topic_reconcile(topics, topic, false);
    }
}

hpxi_member *hpxi_topics_detach(hpxi_topics *topics, hpxi_topic *topic)
{
    hpxi_member *members = topic->members;
    if (members == NULL) {
        return NULL;
    }
    for (hpxi_member *member = members; member != NULL; member = member->next) {
        member->topic = NULL;
        member->prev = NULL;
    }
    topic->members = NULL;
    topics->held--;
    topic_set_restoring(topics, topic, false);
    topic_reconcile(topics, topic, false);
    return members;
}

/* ---- Batches --------------------------------------------------------------------------------- */

bool hpxi_topics_have_work(hpxi_topics *topics)
{
    return topics->up.first != NULL || topics->down.first != NULL;
}

hpxi_batch *hpxi_topics_take(hpxi_topics *topics, uint32_t max)
{
    HPX_ASSERT(max >= 1);
    const bool up = topics->down.first == NULL;
    hpxi_topic_queue *queue = up ? &topics->up : &topics->down;
    hpxi_batch *batch = topics->free_batches;
    if (queue->first == NULL || batch == NULL) {
        return NULL;
    }
    topics->free_batches = batch->next_free;
    *batch = (hpxi_batch){.is_subscribe = up};
    hpxi_topic_queue taken = {0};
    while (queue->first != NULL && batch->count < max) {
        hpxi_topic *topic = queue->first;
        HPX_ASSERT(topic->state == (up ? HPXI_TOPIC_ABSENT : HPXI_TOPIC_ACTIVE));
        HPX_ASSERT((topic->members != NULL) == up);
        topic_unqueue(topics, topic);
        topic->state = up ? HPXI_TOPIC_SUBSCRIBING : HPXI_TOPIC_UNSUBSCRIBING;
        topic->batch = batch;
        queue_push(&taken, topic, false);
        batch->count++;
    }
    batch->first = taken.first;
    return batch;
}

static void batch_remove(hpxi_batch *batch, hpxi_topic *topic)
{
    HPX_ASSERT(topic->batch == batch);
    HPX_ASSERT(batch->count != 0);
    *(topic->prev != NULL ? &topic->prev->next : &batch->first) = topic->next;
    if (topic->next != NULL) {
        topic->next->prev = topic->prev;
    }
    topic->next = NULL;
    topic->prev = NULL;
    topic->batch = NULL;
    batch->count--;
}

static void batch_free(hpxi_topics *topics, hpxi_batch *batch)
{
    HPX_ASSERT(batch->count == 0);
    batch->next_free = topics->free_batches;
    topics->free_batches = batch;
}

void hpxi_topics_undo(hpxi_topics *topics, hpxi_batch *batch)
{
    HPX_ASSERT(batch->request == NULL);
    hpxi_topic *topic = batch->first;
    while (topic != NULL && topic->next != NULL) {
        topic = topic->next;
    }
    for (hpxi_topic *before; topic != NULL; topic = before) { /* last first: the order stays */
        before = topic->prev;
        batch_remove(batch, topic);
        topic->state = batch->is_subscribe ? HPXI_TOPIC_ABSENT : HPXI_TOPIC_ACTIVE;
        topic_reconcile(topics, topic, true);
    }
    batch_free(topics, batch);
}

hpxi_request *hpxi_topics_settle(hpxi_topics *topics, hpxi_topic *topic, bool accepted)
{
    hpxi_batch *batch = topic->batch;
    HPX_ASSERT(batch != NULL);
    batch_remove(batch, topic);
    topic_set_restoring(topics, topic, false);
    const bool subscribing = topic->state == HPXI_TOPIC_SUBSCRIBING;
    /* A refused unsubscribe: the server does not know the topic (any more). */
    topic->state = subscribing && accepted ? HPXI_TOPIC_ACTIVE : HPXI_TOPIC_ABSENT;
    topic_reconcile(topics, topic, false);
    if (batch->count != 0) {
        return NULL;
    }
    hpxi_request *request = batch->request;
    batch_free(topics, batch);
    return request;
}

/* ---- Lost and restored ----------------------------------------------------------------------- */

void hpxi_topics_reset(hpxi_topics *topics)
{
    for (uint32_t i = 0; i < HPXI_BATCHES_MAX; i++) {
        hpxi_batch *batch = &topics->batches[i];
        if (batch->count == 0) {
            continue;
        }
        while (batch->first != NULL) {
            hpxi_topic *topic = batch->first;
            batch_remove(batch, topic);
            topic->state = HPXI_TOPIC_ABSENT;
        }
        batch_free(topics, batch);
    }
    for (uint64_t i = 0; i <= topics->mask; i++) {
        for (hpxi_topic *topic = topics->buckets[i], *next; topic != NULL; topic = next) {
            next = topic->next_in_bucket;
            topic->state = HPXI_TOPIC_ABSENT;
            topic_set_restoring(topics, topic, false);
            topic_reconcile(topics, topic, false);
        }
    }
    HPX_ASSERT(topics->restoring == 0);
    HPX_ASSERT(topics->down.first == NULL);
}

void hpxi_topics_restore(hpxi_topics *topics)
{
    HPX_ASSERT(topics->restoring == 0);
    for (hpxi_topic *topic = topics->up.first; topic != NULL; topic = topic->next) {
        HPX_ASSERT(topic->state == HPXI_TOPIC_ABSENT);
        topic_set_restoring(topics, topic, true);
    }
}

bool hpxi_topics_is_valid(const hpxi_topics *topics)
{
    uint32_t count = 0;
    uint32_t held = 0;
    uint32_t restoring = 0;
    for (uint64_t i = 0; i <= topics->mask; i++) {
        for (const hpxi_topic *at = topics->buckets[i]; at != NULL; at = at->next_in_bucket) {
            const bool wanted = at->members != NULL;
            count++;
            held += wanted ? 1 : 0;
            restoring += at->restoring ? 1 : 0;
            const bool under_way =
                at->state == HPXI_TOPIC_SUBSCRIBING || at->state == HPXI_TOPIC_UNSUBSCRIBING;
            if (under_way != (at->batch != NULL) ||
                at->queued_up != (at->state == HPXI_TOPIC_ABSENT && wanted) ||
                at->queued_down != (at->state == HPXI_TOPIC_ACTIVE && !wanted) ||
                (at->state == HPXI_TOPIC_ABSENT && !wanted)) {
                return false;
            }
        }
    }
    return count == topics->count && held == topics->held && restoring == topics->restoring;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* feed_conflate.c - the newest message of each topic. */
#include "engine/feed_conflate.h"

#include <string.h>

#include "ring/alloc.h"

#define CONFLATE_FRESH      4u /* the middle buffer was not taken yet */
#define CONFLATE_INDEX_MASK 3u
#define CONFLATE_BYTES_MIN  256u

static uint32_t conflate_ring_count(uint32_t topic_count)
{
    uint32_t count = 1;
    while (count < topic_count) {
        count *= 2;
    }
    return count;
}

hpx_status hpxi_feed_conflate_init(
    hpxi_feed_conflate *conflate,
    uint32_t topic_count,
    uint64_t message_bytes_max,
    const hpx_allocator *allocator)
{
    HPX_ASSERT(topic_count != 0);
    HPX_ASSERT(topic_count <= 1u << 30);
    memset(conflate, 0, sizeof(*conflate));
    const uint32_t ring_count = conflate_ring_count(topic_count);
    const size_t ring_bytes = ring_count * sizeof(uint32_t);
    conflate->topic_count = topic_count;
    conflate->mask = ring_count - 1;
    conflate->message_bytes_max = message_bytes_max;
    conflate->allocator = allocator;
    conflate->port.limit = UINT64_MAX;
    conflate->topics =
        hpxi_alloc_zero(allocator, topic_count * sizeof(hpxi_feed_topic), HPXI_CACHE_LINE);
    conflate->dirty = hpxi_alloc_zero(allocator, ring_bytes, HPXI_CACHE_LINE);
    conflate->deferred = hpxi_alloc_zero(allocator, ring_bytes, HPXI_CACHE_LINE);
    if (conflate->topics == NULL || conflate->dirty == NULL || conflate->deferred == NULL) {
        hpxi_feed_conflate_fini(conflate);
        return HPX_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < topic_count; i++) {
        hpxi_feed_topic *topic = &conflate->topics[i];
        topic->back = 0;
        atomic_init(&topic->middle, 1);
        topic->front = 2;
    }
    return HPX_OK;
}

void hpxi_feed_conflate_fini(hpxi_feed_conflate *conflate)
{
    const hpx_allocator *allocator = conflate->allocator;
    const size_t ring_bytes = ((size_t)conflate->mask + 1) * sizeof(uint32_t);
    for (uint32_t i = 0; conflate->topics != NULL && i < conflate->topic_count; i++) {
        for (uint32_t j = 0; j < HPXI_FEED_BUFFERS; j++) {
            const hpxi_feed_buffer *buffer = &conflate->topics[i].buffers[j];
            hpxi_free(allocator, buffer->data, buffer->capacity);
        }
    }
    hpxi_free(allocator, conflate->topics, conflate->topic_count * sizeof(hpxi_feed_topic));
    hpxi_free(allocator, conflate->dirty, ring_bytes);
    hpxi_free(allocator, conflate->deferred, ring_bytes);
    conflate->topics = NULL;
    conflate->dirty = NULL;
    conflate->deferred = NULL;
}

/* ---- Shard ----------------------------------------------------------------------------------- */

/* Room for `bytes` in a buffer whose content nobody needs any more. */
static bool conflate_reserve(hpxi_feed_conflate *conflate, hpxi_feed_buffer *buffer, size_t bytes)
{
    if (HPXI_LIKELY(bytes <= buffer->capacity)) {
        return true;
    }
    if (bytes > conflate->message_bytes_max) {
        return false;
    }
    uint64_t capacity = buffer->capacity == 0 ? CONFLATE_BYTES_MIN : buffer->capacity;
    while (capacity < bytes) {
        capacity *= 2;
    }
    if (capacity > conflate->message_bytes_max) {
        capacity = conflate->message_bytes_max;
    }
    uint8_t *data = hpxi_alloc(conflate->allocator, capacity, HPXI_CACHE_LINE);
    if (data == NULL) {
        return false;
    }
    hpxi_free(conflate->allocator, buffer->data, buffer->capacity);
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

bool hpxi_feed_conflate_push(
    hpxi_feed_conflate *conflate, const hpxi_feed_message *message, uint64_t sequence)
{
    HPX_ASSERT(message->topic_index < conflate->topic_count);
    hpxi_feed_topic *topic = &conflate->topics[message->topic_index];
    hpxi_feed_buffer *buffer = &topic->buffers[topic->back];
    topic->ordinal++;
    if (!conflate_reserve(conflate, buffer, message->payload.size)) {
        return false;
    }
    buffer->message = *message;
    buffer->message.payload.data = buffer->data;
    buffer->sequence = sequence;
    buffer->ordinal = topic->ordinal;
    if (message->payload.size != 0) {
        memcpy(buffer->data, message->payload.data, message->payload.size);
    }
    /* Partner: conflate_swap(). The front buffer that the reader gave back is ours now. */
    const uint32_t before = atomic_exchange_explicit(
        &topic->middle, topic->back | CONFLATE_FRESH, memory_order_acq_rel);
    topic->back = before & CONFLATE_INDEX_MASK;
    if ((before & CONFLATE_FRESH) == 0) {
        /* The reader removed the topic's entry before it took FRESH away: there is room, and the
         * place is not being read. */
        conflate->dirty[conflate->shard.tail_claimed++ & conflate->mask] = message->topic_index;
    }
    return true;
}

void hpxi_feed_conflate_publish(hpxi_feed_conflate *conflate)
{
    const uint64_t tail = conflate->shard.tail_claimed;
    if (tail != atomic_load_explicit(&conflate->shard.tail, memory_order_relaxed)) {
        /* Partners: conflate_tail(), and hpxi_feed_conflate_is_empty_sc() for the doorbell. */
        atomic_store_explicit(&conflate->shard.tail, tail, memory_order_seq_cst);
    }
}

/* ---- Port ------------------------------------------------------------------------------------ */

static uint64_t conflate_tail(const hpxi_feed_conflate *conflate)
{
    /* Partner: hpxi_feed_conflate_publish(). */
    return atomic_load_explicit(&conflate->shard.tail, memory_order_acquire);
}

static bool conflate_is_fresh(const hpxi_feed_topic *topic)
{
    return (atomic_load_explicit(&topic->middle, memory_order_relaxed) & CONFLATE_FRESH) != 0;
}

static void conflate_swap(hpxi_feed_topic *topic)
{
    /* Partner: hpxi_feed_conflate_push(). */
    const uint32_t before =
        atomic_exchange_explicit(&topic->middle, topic->front, memory_order_acq_rel);
    HPX_ASSERT((before & CONFLATE_FRESH) != 0);
    topic->front = before & CONFLATE_INDEX_MASK;
    topic->is_waiting = true;
}

static void conflate_defer(hpxi_feed_conflate *conflate, uint32_t index)
{
    hpxi_feed_topic *topic = &conflate->topics[index];
    if (!topic->is_deferred) {
        topic->is_deferred = true;
        conflate->deferred[conflate->port.deferred_tail++ & conflate->mask] = index;
    }
}

/* The next topic that may have a message below the limit, in its front buffer. */
static bool conflate_next_topic(hpxi_feed_conflate *conflate, uint32_t *index)
{
    while (conflate->port.deferred_head != conflate->port.deferred_barrier) {
        *index = conflate->deferred[conflate->port.deferred_head++ & conflate->mask];
        hpxi_feed_topic *topic = &conflate->topics[*index];
        topic->is_deferred = false;
        /* A newer message stands in the dirty ring, or is about to: that one will be delivered. */
        if (topic->is_waiting && !conflate_is_fresh(topic)) {
            return true;
        }
    }
    if (conflate->port.head != conflate->port.barrier) {
        *index = conflate->dirty[conflate->port.head++ & conflate->mask];
        conflate_swap(&conflate->topics[*index]);
        return true;
    }
    return false;
}

/* How far to look for messages below `limit`: to what is there now, once per limit, so that a
 * flood of newer messages cannot keep back what stands at the limit. */
static void conflate_set_barriers(hpxi_feed_conflate *conflate, uint64_t limit)
{
    if (limit == UINT64_MAX || limit != conflate->port.limit) {
        conflate->port.limit = limit;
        conflate->port.barrier = conflate_tail(conflate);
        conflate->port.deferred_barrier = conflate->port.deferred_tail;
    }
}

bool hpxi_feed_conflate_take(hpxi_feed_conflate *conflate, uint64_t limit, hpxi_feed_item *item)
{
    conflate_set_barriers(conflate, limit);
    uint32_t index = 0;
    while (conflate_next_topic(conflate, &index)) {
        hpxi_feed_topic *topic = &conflate->topics[index];
        const hpxi_feed_buffer *front = &topic->buffers[topic->front];
        if (front->sequence >= limit) {
            conflate_defer(conflate, index);
            continue;
        }
        HPX_DASSERT(front->ordinal > topic->taken);
        topic->is_waiting = false;
        conflate->port.held = index;
        *item = (hpxi_feed_item){
            .message = front->message,
            .sequence = front->sequence,
            .missed = front->ordinal - topic->taken - 1};
        return true;
    }
    return false;
}

void hpxi_feed_conflate_put_back(hpxi_feed_conflate *conflate)
{
    conflate->topics[conflate->port.held].is_waiting = true;
    conflate_defer(conflate, conflate->port.held);
}

void hpxi_feed_conflate_let_go(hpxi_feed_conflate *conflate)
{
    hpxi_feed_topic *topic = &conflate->topics[conflate->port.held];
    topic->taken = topic->buffers[topic->front].ordinal;
}

bool hpxi_feed_conflate_is_empty_sc(hpxi_feed_conflate *conflate)
{
    /* Partner: hpxi_feed_conflate_publish(). */
    const uint64_t tail = atomic_load_explicit(&conflate->shard.tail, memory_order_seq_cst);
    return tail == conflate->port.head &&
           conflate->port.deferred_head == conflate->port.deferred_tail;
}

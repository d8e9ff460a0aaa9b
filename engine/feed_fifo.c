/* SPDX-License-Identifier: Apache-2.0 */
/* feed_fifo.c - messages in order, and no room when full. */
#include "engine/feed_fifo.h"

#include <string.h>

/* A record's type is the message kind, with this for one whose payload is a block. */
#define FIFO_TYPE_LARGE 4u

typedef struct fifo_head {
    uint64_t epoch;
    uint64_t time_ns;
    uint64_t topic_index;
} fifo_head;

typedef struct fifo_large {
    fifo_head head;
    uint8_t *data;
    size_t bytes;
} fifo_large;

_Static_assert((HPX_MESSAGE_TEXT | HPX_MESSAGE_BINARY) < FIFO_TYPE_LARGE, "kinds fit");

hpx_status hpxi_feed_fifo_init(
    hpxi_feed_fifo *fifo,
    uint32_t ring_bytes,
    uint64_t large_bytes_max,
    const hpx_allocator *allocator)
{
    memset(fifo, 0, sizeof(*fifo));
    fifo->allocator = allocator;
    fifo->large_bytes_max = large_bytes_max;
    const hpx_status status = hpxi_spsc_init(&fifo->ring, ring_bytes, allocator);
    fifo->inline_max = fifo->ring.bytes_max - sizeof(fifo_head);
    return status;
}

void hpxi_feed_fifo_fini(hpxi_feed_fifo *fifo)
{
    if (fifo->port.is_held) {
        hpxi_feed_fifo_let_go(fifo);
    }
    hpxi_spsc_publish(&fifo->ring);
    for (hpxi_record *record; (record = hpxi_spsc_peek(&fifo->ring)) != NULL;) {
        if (record->type > FIFO_TYPE_LARGE) {
            fifo_large large;
            memcpy(&large, record->payload, sizeof(large));
            hpxi_free(fifo->allocator, large.data, large.bytes);
        }
        hpxi_spsc_release(&fifo->ring);
    }
    hpxi_spsc_fini(&fifo->ring);
}

static bool fifo_push_large(
    hpxi_feed_fifo *fifo,
    const hpxi_feed_message *message,
    const fifo_head *head,
    uint64_t sequence)
{
    const size_t bytes = message->payload.size;
    /* Partner: hpxi_feed_fifo_let_go(); only the sum matters. */
    const uint64_t outstanding =
        atomic_load_explicit(&fifo->shared.large_bytes, memory_order_acquire);
    if (bytes > fifo->large_bytes_max || outstanding > fifo->large_bytes_max - bytes) {
        return false;
    }
    const uint32_t type = (uint32_t)message->kind | FIFO_TYPE_LARGE;
    hpxi_record *record = hpxi_spsc_claim(&fifo->ring, type, sizeof(fifo_large), sequence);
    if (record == NULL) {
        return false;
    }
    uint8_t *data = hpxi_alloc(fifo->allocator, bytes, HPXI_CACHE_LINE);
    if (data == NULL) {
        return false; /* the claim is abandoned */
    }
    memcpy(data, message->payload.data, bytes);
    const fifo_large large = {.head = *head, .data = data, .bytes = bytes};
    memcpy(record->payload, &large, sizeof(large));
    hpxi_spsc_commit(&fifo->ring);
    atomic_fetch_add_explicit(&fifo->shared.large_bytes, bytes, memory_order_relaxed);
    return true;
}

bool hpxi_feed_fifo_push(hpxi_feed_fifo *fifo, const hpxi_feed_message *message, uint64_t sequence)
{
    const fifo_head head = {
        .epoch = message->epoch, .time_ns = message->time_ns, .topic_index = message->topic_index};
    if (HPXI_UNLIKELY(message->payload.size > fifo->inline_max)) {
        return fifo_push_large(fifo, message, &head, sequence);
    }
    const uint32_t bytes = (uint32_t)(sizeof(head) + message->payload.size);
    hpxi_record *record = hpxi_spsc_claim(&fifo->ring, (uint32_t)message->kind, bytes, sequence);
    if (record == NULL) {
        return false;
    }
    memcpy(record->payload, &head, sizeof(head));
    if (message->payload.size != 0) {
        memcpy(record->payload + sizeof(head), message->payload.data, message->payload.size);
    }
    hpxi_spsc_commit(&fifo->ring);
    return true;
}

void hpxi_feed_fifo_publish(hpxi_feed_fifo *fifo)
{
    hpxi_spsc_publish(&fifo->ring);
}

bool hpxi_feed_fifo_take(hpxi_feed_fifo *fifo, uint64_t limit, hpxi_feed_item *item)
{
    HPX_DASSERT(!fifo->port.is_held);
    const hpxi_record *record = hpxi_spsc_peek(&fifo->ring);
    if (record == NULL || record->tag >= limit) {
        return false;
    }
    fifo_large large = {.bytes = 0};
    hpx_span payload = {
        .data = record->payload + sizeof(large.head), .size = record->bytes - sizeof(large.head)};
    if (record->type > FIFO_TYPE_LARGE) {
        memcpy(&large, record->payload, sizeof(large));
        payload = (hpx_span){.data = large.data, .size = large.bytes};
    } else {
        memcpy(&large.head, record->payload, sizeof(large.head));
    }
    fifo->port.is_held = true;
    fifo->port.block = large.data;
    fifo->port.block_bytes = large.bytes;
    *item = (hpxi_feed_item){
        .sequence = record->tag,
        .message = {
            .topic_index = (uint32_t)large.head.topic_index,
            .kind = (hpx_message_kind)(record->type & ~FIFO_TYPE_LARGE),
            .epoch = large.head.epoch,
            .time_ns = large.head.time_ns,
            .payload = payload}};
    return true;
}

void hpxi_feed_fifo_put_back(hpxi_feed_fifo *fifo)
{
    HPX_DASSERT(fifo->port.is_held);
    fifo->port.is_held = false;
}

void hpxi_feed_fifo_let_go(hpxi_feed_fifo *fifo)
{
    HPX_DASSERT(fifo->port.is_held);
    fifo->port.is_held = false;
    if (fifo->port.block != NULL) {
        hpxi_free(fifo->allocator, fifo->port.block, fifo->port.block_bytes);
        fifo->port.block = NULL;
        /* Partner: fifo_push_large(). */
        atomic_fetch_sub_explicit(
            &fifo->shared.large_bytes, fifo->port.block_bytes, memory_order_release);
    }
    hpxi_spsc_release(&fifo->ring);
}

bool hpxi_feed_fifo_is_empty_sc(hpxi_feed_fifo *fifo)
{
    return hpxi_spsc_is_empty_sc(&fifo->ring);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* replies.c - the ring of outcomes. */
#include "engine/replies.h"

#include <string.h>

#include "ring/assert.h"

/* Record types. */
enum {
    REPLY_INLINE = 1, /* reply_head + payload */
    REPLY_BLOCK = 2,  /* reply_head + reply_block */
    REPLY_TAKEN = 3,  /* out of order; its block, if any, is freed */
};

typedef struct reply_head {
    int32_t status;
    bool sent;
    bool is_error;
    uint64_t token;
    void *user;
    uint64_t epoch;
    uint64_t sent_ns;
    uint64_t time_ns;
} reply_head;

typedef struct reply_block {
    uint8_t *data;
    size_t size;
} reply_block;

/* A bare outcome, or one with a block, in the ring; and as much again that the ring's end may
 * waste once per lap. */
#define REPLY_BARE_BYTES                                                                           \
    (sizeof(hpxi_record) + sizeof(reply_head) + sizeof(reply_block) + HPXI_SPSC_ALIGN)

_Static_assert(REPLY_BARE_BYTES <= 96, "the default reply ring holds twice 1024 of them");

static uint64_t replies_reserve(uint32_t requests_max)
{
    return ((uint64_t)requests_max + 2) * REPLY_BARE_BYTES;
}

uint64_t hpxi_replies_bytes_min(uint32_t requests_max)
{
    const uint64_t twice = 2 * replies_reserve(requests_max);
    uint64_t bytes = 4096;
    while (bytes < twice) {
        bytes *= 2;
    }
    return bytes;
}

hpx_status hpxi_replies_init(
    hpxi_replies *replies,
    uint32_t ring_bytes,
    uint32_t requests_max,
    uint64_t large_bytes_max,
    const hpx_allocator *allocator)
{
    HPX_ASSERT(ring_bytes >= hpxi_replies_bytes_min(requests_max));
    memset(replies, 0, sizeof(*replies));
    replies->allocator = allocator;
    replies->requests_max = requests_max;
    replies->reserve_bytes = replies_reserve(requests_max);
    replies->large_bytes_max = large_bytes_max;
    return hpxi_spsc_init(&replies->ring, ring_bytes, allocator);
}

/* ---- Shard ----------------------------------------------------------------------------------- */

/* May a payload of `bytes` go into the ring itself? Not into the reserve. */
static bool replies_fit(const hpxi_replies *replies, size_t bytes)
{
    const hpxi_spsc *ring = &replies->ring;
    if (bytes > ring->bytes_max - sizeof(reply_head)) {
        return false;
    }
    const uint64_t need = hpxi_spsc_record_bytes((uint32_t)(sizeof(reply_head) + bytes));
    /* Partner: hpxi_spsc_release(). */
    const uint64_t head = atomic_load_explicit(&ring->consumer.head, memory_order_acquire);
    const uint64_t spare = ring->mask + 1 - (ring->producer.tail_claimed - head);
    return spare >= 2 * need + replies->reserve_bytes;
}

static bool replies_make_block(hpxi_replies *replies, hpx_span payload, reply_block *block)
{
    const uint64_t outstanding = atomic_load_explicit(&replies->large_bytes, memory_order_acquire);
    if (outstanding != 0 && outstanding + payload.size > replies->large_bytes_max) {
        return false;
    }
    block->data = hpxi_alloc(replies->allocator, payload.size, HPXI_CACHE_LINE);
    if (block->data == NULL) {
        return false;
    }
    block->size = payload.size;
    memcpy(block->data, payload.data, payload.size);
    atomic_fetch_add_explicit(&replies->large_bytes, payload.size, memory_order_relaxed);
    return true;
}

void hpxi_replies_push(hpxi_replies *replies, const hpx_reply *reply)
{
    reply_head head = {
        .status = reply->status,
        .sent = reply->sent,
        .is_error = reply->is_error,
        .token = reply->token,
        .user = reply->user,
        .epoch = reply->epoch,
        .sent_ns = reply->sent_ns,
        .time_ns = reply->time_ns,
    };
    hpx_span payload = reply->payload;
    reply_block block = {0};
    const bool fits = payload.size == 0 || replies_fit(replies, payload.size);
    if (!fits && !replies_make_block(replies, payload, &block)) {
        head.status = HPX_E_NO_MEMORY;
        payload = (hpx_span){0};
    } else if (!fits) {
        payload = (hpx_span){.data = (const uint8_t *)&block, .size = sizeof(block)};
    }
    hpxi_record *record = hpxi_spsc_claim(
        &replies->ring,
        block.data != NULL ? REPLY_BLOCK : REPLY_INLINE,
        (uint32_t)(sizeof(head) + payload.size),
        head.token);
    HPX_ASSERT(record != NULL); /* the reserve */
    memcpy(record->payload, &head, sizeof(head));
    if (payload.size != 0) {
        memcpy(record->payload + sizeof(head), payload.data, payload.size);
    }
    hpxi_spsc_commit(&replies->ring);
}

void hpxi_replies_publish(hpxi_replies *replies)
{
    hpxi_spsc_publish(&replies->ring);
}

/* ---- Port ------------------------------------------------------------------------------------ */

bool hpxi_replies_may_open(const hpxi_replies *replies)
{
    return replies->port.open < replies->requests_max;
}

uint64_t hpxi_replies_open(hpxi_replies *replies)
{
    HPX_ASSERT(hpxi_replies_may_open(replies));
    replies->port.open++;
    return ++replies->port.token;
}

void hpxi_replies_unopen(hpxi_replies *replies)
{
    HPX_ASSERT(replies->port.open != 0);
    replies->port.open--;
    replies->port.token--; /* nobody saw it: tokens count the requests that the shard gets */
}

static void replies_free_block(hpxi_replies *replies, hpxi_record *record)
{
    if (record->type != REPLY_BLOCK) {
        return;
    }
    reply_block block;
    memcpy(&block, record->payload + sizeof(reply_head), sizeof(block));
    hpxi_free(replies->allocator, block.data, block.size);
    /* Release: the shard's budget follows the free. */
    atomic_fetch_sub_explicit(&replies->large_bytes, block.size, memory_order_release);
    record->type = REPLY_TAKEN;
}

/* The app is done with the reply it looked at. Records are given back in order. */
static void replies_let_go(hpxi_replies *replies)
{
    if (replies->port.held != NULL) {
        replies_free_block(replies, replies->port.held);
        replies->port.held->type = REPLY_TAKEN;
        replies->port.held = NULL;
    }
    for (hpxi_record *record;
         (record = hpxi_spsc_peek(&replies->ring)) != NULL && record->type == REPLY_TAKEN;) {
        hpxi_spsc_release(&replies->ring);
        HPX_ASSERT(replies->port.open != 0);
        replies->port.open--;
    }
}

static void replies_show(hpxi_replies *replies, hpxi_record *record, hpx_reply *reply)
{
    reply_head head;
    memcpy(&head, record->payload, sizeof(head));
    *reply = (hpx_reply){
        .status = head.status,
        .sent = head.sent,
        .is_error = head.is_error,
        .token = head.token,
        .user = head.user,
        .epoch = head.epoch,
        .sent_ns = head.sent_ns,
        .time_ns = head.time_ns,
        .payload = {.data = record->payload + sizeof(head), .size = record->bytes - sizeof(head)},
    };
    if (record->type == REPLY_BLOCK) {
        reply_block block;
        memcpy(&block, record->payload + sizeof(head), sizeof(block));
        reply->payload = (hpx_span){.data = block.data, .size = block.size};
    }
    replies->port.held = record;
}

int hpxi_replies_next(hpxi_replies *replies, hpx_reply *reply)
{
    replies_let_go(replies);
    hpxi_record *record = hpxi_spsc_peek(&replies->ring);
    if (record == NULL) {
        return 0;
    }
    replies_show(replies, record, reply);
    return 1;
}

int hpxi_replies_take(hpxi_replies *replies, uint64_t token, hpx_reply *reply)
{
    replies_let_go(replies);
    for (hpxi_record *record = hpxi_spsc_peek(&replies->ring); record != NULL;
         record = hpxi_spsc_after(&replies->ring, record)) {
        if (record->tag == token && record->type != REPLY_TAKEN) {
            replies_show(replies, record, reply);
            return 1;
        }
    }
    return 0;
}

bool hpxi_replies_are_empty_sc(hpxi_replies *replies)
{
    hpxi_spsc_look_sc(&replies->ring);
    for (const hpxi_record *record = hpxi_spsc_peek(&replies->ring); record != NULL;
         record = hpxi_spsc_after(&replies->ring, record)) {
        if (record->type != REPLY_TAKEN && record != replies->port.held) {
            return false; /* what was taken, or is being looked at, is nothing new */
        }
    }
    return true;
}

bool hpxi_replies_have_no_news_sc(hpxi_replies *replies)
{
    /* Partner: hpxi_spsc_publish(). next and take have looked at all before tail_seen. */
    return atomic_load_explicit(&replies->ring.producer.tail, memory_order_seq_cst) ==
           replies->ring.consumer.tail_seen;
}

void hpxi_replies_fini(hpxi_replies *replies)
{
    for (hpxi_record *record; (record = hpxi_spsc_peek(&replies->ring)) != NULL;) {
        replies_free_block(replies, record);
        hpxi_spsc_release(&replies->ring);
    }
    hpxi_spsc_fini(&replies->ring);
}

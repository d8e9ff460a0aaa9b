/* SPDX-License-Identifier: Apache-2.0 */
/* feed_lossy.c - messages in order, and the oldest make room. The protocol is in feed_lossy.h. */
#include "engine/feed_lossy.h"

#include <string.h>

#include "ring/alloc.h"

#define LOSSY_ALIGN      16u
#define LOSSY_WORD       sizeof(uint64_t)
#define LOSSY_HEAD_WORDS 4u
#define LOSSY_HEAD_BYTES (LOSSY_HEAD_WORDS * LOSSY_WORD)

/* Types of records: a padding, or a message kind, perhaps with LARGE. */
#define LOSSY_TYPE_BITS    3u
#define LOSSY_TYPE_MASK    7u
#define LOSSY_TYPE_PADDING 0u
#define LOSSY_TYPE_LARGE   4u

_Static_assert((HPX_MESSAGE_TEXT | HPX_MESSAGE_BINARY) < LOSSY_TYPE_LARGE, "kinds fit");

/* Payload of a LARGE record. */
typedef struct lossy_large {
    uint64_t data; /* the pointer, as words are what the ring holds */
    uint64_t bytes;
    uint64_t slot;
} lossy_large;

/* First words of a record. */
typedef struct lossy_head {
    uint64_t sequence;
    uint32_t type;
    uint32_t topic_index;
    uint32_t bytes; /* of payload */
} lossy_head;

hpx_status hpxi_feed_lossy_init(
    hpxi_feed_lossy *lossy,
    uint32_t ring_bytes,
    uint64_t large_bytes_max,
    const hpx_allocator *allocator)
{
    HPX_ASSERT(ring_bytes >= 1024 && (ring_bytes & (ring_bytes - 1)) == 0);
    memset(lossy, 0, sizeof(*lossy));
    lossy->mask = (uint64_t)ring_bytes - 1;
    lossy->inline_max = ring_bytes / 4 - LOSSY_HEAD_BYTES;
    lossy->large_bytes_max = large_bytes_max;
    lossy->allocator = allocator;
    const uint64_t slots = large_bytes_max / (ring_bytes / 4) + 1;
    lossy->slot_count =
        slots < HPXI_FEED_LOSSY_SLOTS_MAX ? (uint32_t)slots : HPXI_FEED_LOSSY_SLOTS_MAX;
    /* Zeroed so that the pages exist: no page fault in the first round on the hot path. */
    lossy->words = hpxi_alloc_zero(allocator, ring_bytes, HPXI_ISOLATE);
    lossy->port.copy = hpxi_alloc_zero(allocator, lossy->inline_max, HPXI_CACHE_LINE);
    if (lossy->words == NULL || lossy->port.copy == NULL) {
        hpxi_feed_lossy_fini(lossy);
        return HPX_E_NO_MEMORY;
    }
    return HPX_OK;
}

void hpxi_feed_lossy_fini(hpxi_feed_lossy *lossy)
{
    for (uint32_t slot = 0; slot < lossy->slot_count; slot++) {
        if (atomic_load_explicit(&lossy->shared.owner[slot], memory_order_relaxed) != 0) {
            const hpxi_feed_lossy_block *block = &lossy->shard.blocks[slot];
            hpxi_free(lossy->allocator, block->data, block->bytes);
        }
    }
    hpxi_free(lossy->allocator, lossy->port.block, lossy->port.block_bytes);
    hpxi_free(lossy->allocator, lossy->words, lossy->mask + 1);
    hpxi_free(lossy->allocator, lossy->port.copy, lossy->inline_max);
    lossy->words = NULL;
    lossy->port.copy = NULL;
    lossy->port.block = NULL;
}

/* ---- Words ----------------------------------------------------------------------------------- */

static _Atomic uint64_t *lossy_at(const hpxi_feed_lossy *lossy, uint64_t position)
{
    HPX_DASSERT(position % LOSSY_ALIGN == 0);
    return lossy->words + (position & lossy->mask) / LOSSY_WORD;
}

static uint64_t lossy_record_bytes(uint32_t payload_bytes)
{
    const uint64_t mask = LOSSY_ALIGN - 1;
    return LOSSY_HEAD_BYTES + (((uint64_t)payload_bytes + mask) & ~mask);
}

/* Bytes from a record to the next one. Padding has no [2] and [3] and tells its whole size. */
static uint64_t lossy_step(const lossy_head *head)
{
    return head->type == LOSSY_TYPE_PADDING ? head->bytes : lossy_record_bytes(head->bytes);
}

static lossy_head lossy_load_head(const _Atomic uint64_t *at)
{
    /* Partner: lossy_store_head(). */
    const uint64_t first = atomic_load_explicit(&at[0], memory_order_acquire);
    const uint64_t second = atomic_load_explicit(&at[1], memory_order_acquire);
    return (lossy_head){
        .sequence = first >> LOSSY_TYPE_BITS,
        .type = (uint32_t)(first & LOSSY_TYPE_MASK),
        .topic_index = (uint32_t)(second >> 32),
        .bytes = (uint32_t)second};
}

static void lossy_store_head(_Atomic uint64_t *at, const lossy_head *head)
{
    /* Partner: lossy_load_head(). */
    const uint64_t first = head->sequence << LOSSY_TYPE_BITS | head->type;
    const uint64_t second = (uint64_t)head->topic_index << 32 | head->bytes;
    atomic_store_explicit(&at[0], first, memory_order_release);
    atomic_store_explicit(&at[1], second, memory_order_release);
}

static void lossy_store_bytes(_Atomic uint64_t *to, const void *from, size_t bytes)
{
    const uint8_t *at = from;
    uint64_t word = 0;
    /* Partner: lossy_load_bytes(). */
    for (; bytes >= LOSSY_WORD; bytes -= LOSSY_WORD, at += LOSSY_WORD) {
        memcpy(&word, at, LOSSY_WORD);
        atomic_store_explicit(to++, word, memory_order_release);
    }
    if (bytes != 0) {
        word = 0;
        memcpy(&word, at, bytes);
        atomic_store_explicit(to, word, memory_order_release);
    }
}

/* Whole words: `to` has room for them. */
static void lossy_load_bytes(uint64_t *to, const _Atomic uint64_t *from, size_t bytes)
{
    const size_t count = (bytes + LOSSY_WORD - 1) / LOSSY_WORD;
    for (size_t i = 0; i < count; i++) {
        to[i] = atomic_load_explicit(&from[i], memory_order_acquire);
    }
}

/* ---- Shard ----------------------------------------------------------------------------------- */

/* Takes a block back from the reader, if it has not taken it yet. */
static void lossy_reclaim(hpxi_feed_lossy *lossy, uint64_t slot, uint64_t sequence)
{
    HPX_DASSERT(slot < lossy->slot_count);
    uint64_t owner = sequence + 1;
    /* Partner: lossy_claim_block(). Who swaps it to 0 owns the block. */
    if (!atomic_compare_exchange_strong_explicit(
            &lossy->shared.owner[slot], &owner, 0, memory_order_acq_rel, memory_order_acquire)) {
        return;
    }
    const hpxi_feed_lossy_block *block = &lossy->shard.blocks[slot];
    hpxi_free(lossy->allocator, block->data, block->bytes);
    atomic_fetch_sub_explicit(&lossy->shared.large_bytes, block->bytes, memory_order_relaxed);
}

static void lossy_reclaim_oldest(hpxi_feed_lossy *lossy)
{
    const uint64_t slot = lossy->shard.slot_oldest++ % lossy->slot_count;
    const uint64_t owner = atomic_load_explicit(&lossy->shared.owner[slot], memory_order_acquire);
    if (owner != 0) {
        lossy_reclaim(lossy, slot, owner - 1);
    }
}

/* Moves `oldest` to `until` or past it, and tells the reader before anything is overwritten. */
static void lossy_evict(hpxi_feed_lossy *lossy, uint64_t until)
{
    const uint64_t tail = lossy->shard.tail;
    HPX_ASSERT(until <= tail);
    uint64_t oldest = lossy->shard.oldest;
    while (oldest < until) {
        const _Atomic uint64_t *at = lossy_at(lossy, oldest);
        const lossy_head head = lossy_load_head(at);
        if (head.type > LOSSY_TYPE_LARGE) {
            lossy_large large;
            lossy_load_bytes((uint64_t *)&large, at + LOSSY_HEAD_WORDS, sizeof(large));
            lossy_reclaim(lossy, large.slot, head.sequence);
        }
        oldest += lossy_step(&head);
    }
    HPX_ASSERT(oldest <= tail);
    lossy->shard.oldest = oldest;

    const bool is_milestone = tail - lossy->shard.milestone >= (lossy->mask + 1) / 4;
    const uint64_t recent = lossy->shard.milestone;
    if (oldest > lossy->shard.tail_published ||
        (is_milestone && recent > lossy->shard.tail_published)) {
        hpxi_feed_lossy_publish(lossy); /* the reader goes to records that are published, only */
    }
    /* Partner: the loads in lossy_is_intact() and lossy_resume(). */
    if (is_milestone) {
        atomic_store_explicit(&lossy->published.recent, recent, memory_order_release);
        lossy->shard.milestone = tail;
    }
    atomic_store_explicit(&lossy->published.oldest, oldest, memory_order_release);
}

/* Room for a record at the end, after padding if need be. Never fails. */
static _Atomic uint64_t *lossy_claim(hpxi_feed_lossy *lossy, uint64_t need)
{
    const uint64_t capacity = lossy->mask + 1;
    const uint64_t tail = lossy->shard.tail;
    const uint64_t to_end = capacity - (tail & lossy->mask);
    const uint64_t pad = need > to_end ? to_end : 0;
    HPX_DASSERT(need <= capacity / 4);
    if (HPXI_UNLIKELY(tail + pad + need - lossy->shard.oldest > capacity)) {
        const uint64_t least = tail + pad + need - capacity;
        const uint64_t batch = lossy->shard.oldest + capacity / 16;
        lossy_evict(lossy, least > batch ? least : batch);
    }
    if (pad != 0) {
        const lossy_head padding = {.type = LOSSY_TYPE_PADDING, .bytes = (uint32_t)pad};
        lossy_store_head(lossy_at(lossy, tail), &padding);
    }
    lossy->shard.tail = tail + pad + need;
    return lossy_at(lossy, tail + pad);
}

static void lossy_write(
    hpxi_feed_lossy *lossy,
    const hpxi_feed_message *message,
    uint64_t sequence,
    uint32_t type,
    hpx_span payload)
{
    HPX_DASSERT(payload.size <= lossy->inline_max);
    const lossy_head head = {
        .sequence = sequence,
        .type = type,
        .topic_index = message->topic_index,
        .bytes = (uint32_t)payload.size};
    _Atomic uint64_t *at = lossy_claim(lossy, lossy_record_bytes(head.bytes));
    lossy_store_head(at, &head);
    atomic_store_explicit(&at[2], message->epoch, memory_order_release);
    atomic_store_explicit(&at[3], message->time_ns, memory_order_release);
    lossy_store_bytes(at + LOSSY_HEAD_WORDS, payload.data, payload.size);
}

static bool
lossy_push_large(hpxi_feed_lossy *lossy, const hpxi_feed_message *message, uint64_t sequence)
{
    const size_t bytes = message->payload.size;
    if (bytes > lossy->large_bytes_max) {
        return false;
    }
    const uint64_t slot = lossy->shard.slot_next % lossy->slot_count;
    /* The reader subtracts what it has let go of; only the sum matters. */
    while (atomic_load_explicit(&lossy->shared.large_bytes, memory_order_acquire) + bytes >
               lossy->large_bytes_max ||
           lossy->shard.slot_next - lossy->shard.slot_oldest == lossy->slot_count) {
        if (lossy->shard.slot_oldest == lossy->shard.slot_next) {
            return false; /* what is outstanding is what the application looks at */
        }
        lossy_reclaim_oldest(lossy);
    }
    uint8_t *data = hpxi_alloc(lossy->allocator, bytes, HPXI_CACHE_LINE);
    if (data == NULL) {
        return false;
    }
    memcpy(data, message->payload.data, bytes);
    lossy->shard.slot_next++;
    lossy->shard.blocks[slot] = (hpxi_feed_lossy_block){.data = data, .bytes = bytes};
    atomic_fetch_add_explicit(&lossy->shared.large_bytes, bytes, memory_order_relaxed);
    /* Before the record, which is what the reader finds first. */
    HPX_DASSERT(atomic_load_explicit(&lossy->shared.owner[slot], memory_order_relaxed) == 0);
    atomic_store_explicit(&lossy->shared.owner[slot], sequence + 1, memory_order_release);
    const lossy_large large = {.data = (uintptr_t)data, .bytes = bytes, .slot = slot};
    lossy_write(
        lossy,
        message,
        sequence,
        (uint32_t)message->kind | LOSSY_TYPE_LARGE,
        (hpx_span){.data = (const uint8_t *)&large, .size = sizeof(large)});
    return true;
}

bool hpxi_feed_lossy_push(
    hpxi_feed_lossy *lossy, const hpxi_feed_message *message, uint64_t sequence)
{
    if (HPXI_UNLIKELY(message->payload.size > lossy->inline_max)) {
        return lossy_push_large(lossy, message, sequence);
    }
    lossy_write(lossy, message, sequence, (uint32_t)message->kind, message->payload);
    return true;
}

void hpxi_feed_lossy_publish(hpxi_feed_lossy *lossy)
{
    if (lossy->shard.tail_published != lossy->shard.tail) {
        lossy->shard.tail_published = lossy->shard.tail;
        /* Partners: lossy_copy_next(), and hpxi_feed_lossy_is_empty_sc() for the doorbell. */
        atomic_store_explicit(&lossy->published.tail, lossy->shard.tail, memory_order_seq_cst);
    }
}

/* ---- Port ------------------------------------------------------------------------------------ */

/* Was the record at `position` whole until now? To be asked after its words were loaded. */
static bool lossy_is_intact(const hpxi_feed_lossy *lossy, uint64_t position)
{
    /* Partner: lossy_evict(). */
    return atomic_load_explicit(&lossy->published.oldest, memory_order_acquire) <= position;
}

/* After having been lapped: where to go on. */
static void lossy_resume(hpxi_feed_lossy *lossy, bool is_repeated)
{
    /* Partner: lossy_evict(). */
    uint64_t position = atomic_load_explicit(&lossy->published.oldest, memory_order_acquire);
    if (is_repeated) {
        const uint64_t recent =
            atomic_load_explicit(&lossy->published.recent, memory_order_acquire);
        position = recent > position ? recent : position;
    }
    HPX_DASSERT(position > lossy->port.position);
    lossy->port.position = position;
    if (position > lossy->port.tail_seen) {
        /* What the writer points at is published: it was so before it pointed there. */
        lossy->port.tail_seen = atomic_load_explicit(&lossy->published.tail, memory_order_acquire);
        HPX_ASSERT(position <= lossy->port.tail_seen);
    }
}

/* The block of a LARGE record, unless the writer has taken it back. */
static bool lossy_claim_block(hpxi_feed_lossy *lossy, const lossy_head *head)
{
    lossy_large large;
    memcpy(&large, lossy->port.copy, sizeof(large));
    HPX_ASSERT(head->bytes == sizeof(large));
    HPX_ASSERT(large.slot < lossy->slot_count);
    uint64_t owner = head->sequence + 1;
    /* Partner: lossy_reclaim(), and the store in lossy_push_large(). */
    if (!atomic_compare_exchange_strong_explicit(
            &lossy->shared.owner[large.slot],
            &owner,
            0,
            memory_order_acq_rel,
            memory_order_acquire)) {
        return false;
    }
    lossy->port.block = (uint8_t *)(uintptr_t)large.data;
    lossy->port.block_bytes = large.bytes;
    return true;
}

/* Copies the record at the reader's position into `item`. false: it was overwritten meanwhile
 * (position unchanged), or it is nothing to deliver (position moved on). */
static bool lossy_copy(hpxi_feed_lossy *lossy)
{
    const uint64_t position = lossy->port.position;
    const _Atomic uint64_t *at = lossy_at(lossy, position);
    const lossy_head head = lossy_load_head(at);
    if (!lossy_is_intact(lossy, position)) {
        return false; /* so that its size is not believed */
    }
    if (head.type == LOSSY_TYPE_PADDING) {
        lossy->port.position += head.bytes;
        return false;
    }
    HPX_ASSERT(head.bytes <= lossy->inline_max);
    const uint64_t epoch = atomic_load_explicit(&at[2], memory_order_acquire);
    const uint64_t time_ns = atomic_load_explicit(&at[3], memory_order_acquire);
    lossy_load_bytes(lossy->port.copy, at + LOSSY_HEAD_WORDS, head.bytes);
    if (!lossy_is_intact(lossy, position)) {
        return false;
    }
    lossy->port.position += lossy_step(&head);
    hpx_span payload = {.data = (const uint8_t *)lossy->port.copy, .size = head.bytes};
    if (head.type > LOSSY_TYPE_LARGE) {
        if (!lossy_claim_block(lossy, &head)) {
            return false;
        }
        payload = (hpx_span){.data = lossy->port.block, .size = lossy->port.block_bytes};
    }
    lossy->port.item = (hpxi_feed_item){
        .sequence = head.sequence,
        .message = {
            .topic_index = head.topic_index,
            .kind = (hpx_message_kind)(head.type & ~LOSSY_TYPE_LARGE),
            .epoch = epoch,
            .time_ns = time_ns,
            .payload = payload}};
    return true;
}

/* The next record that is still whole, into `item`. */
static bool lossy_copy_next(hpxi_feed_lossy *lossy)
{
    for (bool is_repeated = false;;) {
        if (lossy->port.position == lossy->port.tail_seen) {
            /* Partner: hpxi_feed_lossy_publish(). */
            lossy->port.tail_seen =
                atomic_load_explicit(&lossy->published.tail, memory_order_acquire);
            if (lossy->port.position == lossy->port.tail_seen) {
                return false;
            }
        }
        if (lossy_copy(lossy)) {
            return true;
        }
        if (!lossy_is_intact(lossy, lossy->port.position)) {
            lossy_resume(lossy, is_repeated);
            is_repeated = true;
        }
    }
}

bool hpxi_feed_lossy_take(hpxi_feed_lossy *lossy, uint64_t limit, hpxi_feed_item *item)
{
    HPX_DASSERT(!lossy->port.is_held);
    if (!lossy->port.has_item) {
        lossy->port.has_item = lossy_copy_next(lossy);
    }
    if (!lossy->port.has_item || lossy->port.item.sequence >= limit) {
        return false;
    }
    lossy->port.is_held = true;
    *item = lossy->port.item;
    return true;
}

void hpxi_feed_lossy_put_back(hpxi_feed_lossy *lossy)
{
    HPX_DASSERT(lossy->port.is_held);
    lossy->port.is_held = false;
}

void hpxi_feed_lossy_let_go(hpxi_feed_lossy *lossy)
{
    HPX_DASSERT(lossy->port.is_held);
    lossy->port.is_held = false;
    lossy->port.has_item = false;
    if (lossy->port.block != NULL) {
        hpxi_free(lossy->allocator, lossy->port.block, lossy->port.block_bytes);
        lossy->port.block = NULL;
        /* Partner: lossy_push_large(). */
        atomic_fetch_sub_explicit(
            &lossy->shared.large_bytes, lossy->port.block_bytes, memory_order_release);
    }
}

bool hpxi_feed_lossy_is_empty_sc(hpxi_feed_lossy *lossy)
{
    const bool has_waiting = lossy->port.has_item && !lossy->port.is_held;
    /* Partner: hpxi_feed_lossy_publish(). */
    const uint64_t tail = atomic_load_explicit(&lossy->published.tail, memory_order_seq_cst);
    return !has_waiting && tail == lossy->port.position;
}

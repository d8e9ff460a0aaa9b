/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_lossy.h - messages in order, and the oldest make room: DROP_OLDEST.
 *
 * Role      A ring whose writer never waits and never looks at the reader.
 * Layout    Records of 64-bit words, padded to 16 bytes, never torn over the end of the buffer:
 *           a padding record fills the rest. Positions are bytes, 64 bits, and never wrap.
 *             [0] sequence << 3 | type   [1] topic << 32 | payload bytes   [2] epoch   [3] time
 *           and then the payload. Of padding only [0] and [1] exist.
 * Protocol  Before it overwrites, the writer moves `oldest` past the records it overwrites. The
 *           reader copies a record out and then looks at `oldest` again: has it not passed the
 *           record, the copy is intact. Words are stored with release and loaded with acquire:
 *           a reader that saw a word of the new record therefore sees the new `oldest` as well.
 *           (Neither costs anything on x86. No fences: thread sanitizer does not know them.)
 * Progress  The writer makes room for a sixteenth of the ring at a time, so that a reader that
 *           was lapped and goes on at `oldest` is not lapped again at once. If it is, it goes on
 *           at `recent`: to be lapped there the writer has to fill about a quarter of the ring
 *           while one message is copied.
 * Large     A message over `inline_max` is an owned block. Its record names it, and a slot says
 *           whose it is: the one who swaps the slot to 0 (the reader to deliver it, the writer to
 *           evict it) frees it. So the oldest blocks make room for new ones too.
 * Threads   push, publish: the shard's. take, put_back, let_go, is_empty_sc: the port's.
 */
#ifndef HPXI_FEED_LOSSY_H
#define HPXI_FEED_LOSSY_H

#include "engine/feed_item.h"
#include "ring/spsc.h"

#define HPXI_FEED_LOSSY_SLOTS_MAX 64u /* large messages outstanding */

typedef struct hpxi_feed_lossy_block {
    uint8_t *data;
    size_t bytes;
} hpxi_feed_lossy_block;

typedef struct hpxi_feed_lossy {
    /* Read-only after init. */
    _Atomic uint64_t *words;
    uint64_t mask; /* of byte positions */
    size_t inline_max;
    uint64_t large_bytes_max;
    uint32_t slot_count;
    const hpx_allocator *allocator;

    /* Written by the shard, read by the port. */
    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t tail; /* published position */
        alignas(HPXI_ISOLATE) _Atomic uint64_t oldest;
        _Atomic uint64_t recent; /* position of a record, for a reader that is lapped often */
    } published;

    /* Both threads. */
    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t large_bytes; /* sum of the blocks that exist */
        _Atomic uint64_t owner[HPXI_FEED_LOSSY_SLOTS_MAX];  /* sequence + 1, 0: nobody's */
    } shared;

    struct {
        alignas(HPXI_ISOLATE) uint64_t tail;
        uint64_t tail_published;
        uint64_t oldest;
        uint64_t milestone; /* `recent` after the next quarter */
        uint64_t slot_next; /* slots are used in turn: [slot_oldest, slot_next) may be in use */
        uint64_t slot_oldest;
        hpxi_feed_lossy_block blocks[HPXI_FEED_LOSSY_SLOTS_MAX];
    } shard;

    struct {
        alignas(HPXI_ISOLATE) uint64_t position; /* of the next record to copy */
        uint64_t tail_seen;
        bool has_item; /* `item` was copied out and waits for its turn, or is looked at */
        bool is_held;  /* ... and is looked at */
        hpxi_feed_item item;
        uint8_t *block; /* the item's, if not NULL */
        size_t block_bytes;
        uint64_t *copy; /* of inline_max bytes */
    } port;
} hpxi_feed_lossy;

hpx_status hpxi_feed_lossy_init(
    hpxi_feed_lossy *lossy,
    uint32_t ring_bytes,
    uint64_t large_bytes_max,
    const hpx_allocator *allocator);
void hpxi_feed_lossy_fini(hpxi_feed_lossy *lossy);

/* false: too large for its budget, or no memory; nothing was queued. */
bool hpxi_feed_lossy_push(
    hpxi_feed_lossy *lossy, const hpxi_feed_message *message, uint64_t sequence);
void hpxi_feed_lossy_publish(hpxi_feed_lossy *lossy);

bool hpxi_feed_lossy_take(hpxi_feed_lossy *lossy, uint64_t limit, hpxi_feed_item *item);
void hpxi_feed_lossy_put_back(hpxi_feed_lossy *lossy);
void hpxi_feed_lossy_let_go(hpxi_feed_lossy *lossy);
/* May say false where there is nothing; the next take() puts that right. */
bool hpxi_feed_lossy_is_empty_sc(hpxi_feed_lossy *lossy);

#endif /* HPXI_FEED_LOSSY_H */

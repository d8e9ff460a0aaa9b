/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_conflate.h - the newest message of each topic: CONFLATE.
 *
 * Role      Per topic three buffers: the writer fills the back one, the reader shows the front one,
 *           and one atomic exchange swaps either with the middle one. So the memory itself is
 *           plain, and neither side waits. A topic whose middle buffer is FRESH stands in the ring
 *           of dirty topics, once: that ring cannot overflow.
 * Order     Topics are taken in the order in which they became dirty. A topic that a newer message
 *           carried past `limit` (a mark that must come first) is deferred until that has gone.
 * Missed    Every message of a topic has an ordinal; a gap in them is what was replaced.
 * Threads   push, publish: the shard's. take, put_back, let_go, is_empty_sc: the port's.
 * Memory    Buffers grow to the largest message of their topic, at most message_bytes_max, and are
 *           grown by the shard alone; then nothing is allocated.
 */
#ifndef HPXI_FEED_CONFLATE_H
#define HPXI_FEED_CONFLATE_H

#include "engine/feed_item.h"
#include "ring/spsc.h"

#define HPXI_FEED_BUFFERS 3u

typedef struct hpxi_feed_buffer {
    uint8_t *data;
    size_t capacity;
    hpxi_feed_message message; /* its payload lies in `data` */
    uint64_t sequence;
    uint64_t ordinal; /* counts the topic's messages, from 1 */
} hpxi_feed_buffer;

typedef struct hpxi_feed_topic {
    alignas(HPXI_CACHE_LINE) _Atomic uint32_t middle; /* index of the middle buffer, and FRESH */
    uint32_t back;                                    /* shard */
    uint64_t ordinal;                                 /* shard: messages so far */

    alignas(HPXI_CACHE_LINE) uint32_t front; /* port */
    bool is_waiting;                         /* port: the front buffer was not delivered */
    bool is_deferred;                        /* port: stands in the ring of deferred topics */
    uint64_t taken;                          /* port: ordinal delivered last */

    alignas(HPXI_CACHE_LINE) hpxi_feed_buffer buffers[HPXI_FEED_BUFFERS];
} hpxi_feed_topic;

typedef struct hpxi_feed_conflate {
    /* Read-only after init. */
    hpxi_feed_topic *topics;
    uint32_t topic_count;
    uint32_t mask; /* of both rings of topic indices */
    uint64_t message_bytes_max;
    uint32_t *dirty;    /* shard -> port */
    uint32_t *deferred; /* the port's own */
    const hpx_allocator *allocator;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t tail; /* of dirty: published */
        alignas(HPXI_ISOLATE) uint64_t tail_claimed;
    } shard;

    struct {
        alignas(HPXI_ISOLATE) uint64_t head; /* of dirty */
        uint64_t deferred_head;
        uint64_t deferred_tail;
        uint64_t limit;            /* the barriers below are for this one */
        uint64_t barrier;          /* dirty topics before it may have messages below the limit */
        uint64_t deferred_barrier; /* deferred ones likewise */
        uint32_t held;             /* topic that was taken last */
    } port;
} hpxi_feed_conflate;

hpx_status hpxi_feed_conflate_init(
    hpxi_feed_conflate *conflate,
    uint32_t topic_count,
    uint64_t message_bytes_max,
    const hpx_allocator *allocator);
void hpxi_feed_conflate_fini(hpxi_feed_conflate *conflate);

/* false: over message_bytes_max, or no memory; the topic keeps the message it has. */
bool hpxi_feed_conflate_push(
    hpxi_feed_conflate *conflate, const hpxi_feed_message *message, uint64_t sequence);
void hpxi_feed_conflate_publish(hpxi_feed_conflate *conflate);

/* With `limit` UINT64_MAX: any message. Otherwise the caller has seen what stands at the limit, so
 * that all that came before it is visible. */
bool hpxi_feed_conflate_take(hpxi_feed_conflate *conflate, uint64_t limit, hpxi_feed_item *item);
void hpxi_feed_conflate_put_back(hpxi_feed_conflate *conflate);
void hpxi_feed_conflate_let_go(hpxi_feed_conflate *conflate);
/* May say false where there is nothing; the next take() puts that right. */
bool hpxi_feed_conflate_is_empty_sc(hpxi_feed_conflate *conflate);

#endif /* HPXI_FEED_CONFLATE_H */

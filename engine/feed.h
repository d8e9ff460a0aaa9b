/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed.h - the queue between a shard and one subscription on a port, with an overflow policy.
 *
 * Role      Messages go through one of three stores, by policy (feed_lossy.h, feed_fifo.h,
 *           feed_conflate.h). What may not be lost goes its own way: marks and refusals through a
 *           queue with reserved room, the end through a place of its own.
 * Order     Everything takes a sequence number, messages that are dropped too. The reader merges
 *           by it. As nothing but messages is ever lost, a gap in the numbers is exactly the
 *           messages missed: delivered + missed == pushed once ENDED was taken, whatever the
 *           policy. (CONFLATE reorders topics and counts per topic instead; its sum is the same.)
 * Publish   Messages become visible at publish(). Marks, refusals and the end publish what is
 *           before them and are visible at once, so that a reader that sees one sees that too.
 *           All published positions are seq_cst stores: doorbell.h says why.
 * Threads   init, fini: either, while the other is not there. init .. publish: the shard's.
 *           next, is_empty_sc: the port's.
 * Memory    push and next allocate nothing, but for blocks of large messages and for growing
 *           buffers of CONFLATE. A refusal takes memory for its error's text, and does without if
 *           there is none.
 */
#ifndef HPXI_FEED_H
#define HPXI_FEED_H

#include <hpx/session.h>

#include "engine/feed_conflate.h"
#include "engine/feed_fifo.h"
#include "engine/feed_item.h"
#include "engine/feed_lossy.h"

/* Marks that may wait untaken; of further ones the newest is kept until there is room. */
#define HPXI_FEED_MARKS_MAX 112u

typedef struct hpxi_feed_config {
    hpx_overflow overflow;
    uint32_t ring_bytes;        /* power of two, >= 4 KiB; all but CONFLATE */
    uint64_t large_bytes_max;   /* sum of messages over a quarter of the ring; all but CONFLATE */
    uint32_t topic_count;       /* >= 1 */
    uint64_t message_bytes_max; /* CONFLATE: of a topic's buffer */
    const hpx_allocator *allocator; /* borrowed */
} hpxi_feed_config;

typedef enum hpxi_feed_result {
    HPXI_FEED_TAKEN,
    HPXI_FEED_DROPPED,  /* counted; told as missed */
    HPXI_FEED_OVERFLOW, /* DISCONNECT: nothing was queued, the caller ends the subscription */
} hpxi_feed_result;

/* A mark or a refusal. */
typedef struct hpxi_feed_control {
    uint64_t sequence;
    uint64_t epoch;
    uint64_t time_ns;
    hpx_error *error;  /* REFUSED: owned; NULL if there was no memory for it: ... */
    hpx_status status; /* ... this is what is left of it */
    hpx_stage stage;
    hpx_update_kind kind;
    uint32_t topic_index; /* REFUSED */
} hpxi_feed_control;

typedef struct hpxi_feed {
    /* Read-only after init. */
    hpx_overflow overflow;
    uint32_t topic_count;
    hpxi_feed_control *controls; /* ring of control_count */
    uint32_t control_count;
    const hpx_allocator *allocator;

    union {
        hpxi_feed_lossy lossy;       /* DROP_OLDEST */
        hpxi_feed_fifo fifo;         /* DROP_NEWEST, DISCONNECT */
        hpxi_feed_conflate conflate; /* CONFLATE */
    } messages;

    struct {
        alignas(HPXI_ISOLATE) uint64_t sequence; /* of the next to be pushed */
        uint32_t refusals;
        bool is_ended;
        bool owes_mark; /* `owed` found no room */
        hpxi_feed_control owed;
    } shard;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t control_tail; /* written by the shard */
        _Atomic uint64_t end; /* sequence of ENDED + 1, 0 before; written by the shard */
        hpx_error end_error;  /* readable once `end` is set */
        alignas(HPXI_ISOLATE) _Atomic uint64_t control_head; /* written by the port */
    } shared;

    struct {
        alignas(HPXI_ISOLATE) uint64_t accounted; /* delivered, or told as missed */
        uint64_t control_head;
        bool has_held; /* the last update was a message of the store */
        bool ended_taken;
        hpx_error error; /* of the last REFUSED update */
    } port;
} hpxi_feed;

/* HPX_OK, HPX_E_NO_MEMORY (then nothing is left to give back). */
hpx_status hpxi_feed_init(hpxi_feed *feed, const hpxi_feed_config *config);
/* Both threads are done with it. Frees what nobody took. */
void hpxi_feed_fini(hpxi_feed *feed);

/* Shard: nothing may follow hpxi_feed_end(). */
hpxi_feed_result hpxi_feed_push(hpxi_feed *feed, const hpxi_feed_message *message);
/* LIVE or INTERRUPTED. */
void hpxi_feed_mark(hpxi_feed *feed, hpx_update_kind kind, uint64_t epoch, uint64_t time_ns);
/* REFUSED; at most topic_count times in the feed's life. `error` is copied. */
void hpxi_feed_refuse(
    hpxi_feed *feed,
    uint32_t topic_index,
    const hpx_error *error,
    uint64_t epoch,
    uint64_t time_ns);
/* ENDED, once: delivered after all that was queued. `error` is copied. */
void hpxi_feed_end(hpxi_feed *feed, const hpx_error *error);
/* Makes messages visible; cheap when there is nothing new. Then the doorbell may be rung. */
void hpxi_feed_publish(hpxi_feed *feed);

/* Port: 1 an update (all but `topic`; views valid until the next call), 0 none now, HPX_E_CLOSED
 * after ENDED was taken. */
int hpxi_feed_next(hpxi_feed *feed, hpx_update *update);

/* Port: is there nothing to take? In the doorbell's total order, after hpxi_doorbell_prepare(). May
 * say false where there is nothing, and then true after hpxi_feed_next() has returned 0. */
bool hpxi_feed_is_empty_sc(hpxi_feed *feed);

#endif /* HPXI_FEED_H */

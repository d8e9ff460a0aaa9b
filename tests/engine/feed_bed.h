/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_bed.h - messages whose content follows from their number, and a log of what a feed was given
 * that checks what it gives back, for the tests of feeds.
 *
 * Numbers are those that the feed gives: everything pushed counts, marks and refusals too.
 */
#ifndef HPX_TESTS_FEED_BED_H
#define HPX_TESTS_FEED_BED_H

#include "engine/feed.h"

#define FEED_BED_BYTES_MAX (64u * 1024)

typedef struct feed_bed_size {
    uint32_t common_max; /* of most messages */
    uint32_t rare_max;   /* of one in sixteen */
} feed_bed_size;

uint64_t feed_bed_mix(uint64_t x);

/* Size of message `number`. */
size_t feed_bed_bytes(uint64_t number, feed_bed_size size);
void feed_bed_fill(uint8_t *buffer, size_t bytes, uint64_t number);
bool feed_bed_is_right(hpx_span payload, uint64_t number);

/* Message `number`, in `buffer`: its kind and epoch follow from it too, and its time is the number.
 */
hpxi_feed_message feed_bed_message(uint8_t *buffer, uint32_t topic, uint64_t number, size_t bytes);

/* Pushes it. */
hpxi_feed_result feed_bed_push(hpxi_feed *feed, uint32_t topic, uint64_t number, size_t bytes);

/* Is the update message `number`, as it was pushed? */
bool feed_bed_is_message(const hpx_update *update, uint64_t number);

/* ---- A log ----------------------------------------------------------------------------------- */

#define FEED_BED_TOPICS  5u
#define FEED_BED_LOG_MAX 20000u

/* Everything that was pushed to a feed and taken from it. Every update that is taken is checked:
 * its content, its place in the order, and what it says was missed. */
typedef struct feed_bed_log {
    hpxi_feed *feed; /* with FEED_BED_TOPICS topics */
    hpx_overflow overflow;
    bool is_concurrent;             /* what is pushed may not be in the feed yet */
    uint64_t count;                 /* things pushed, ... */
    uint16_t did[FEED_BED_LOG_MAX]; /* ... and what: a topic, or a control */
    uint64_t newest[FEED_BED_TOPICS];
    uint64_t newest_taken[FEED_BED_TOPICS]; /* one past the last delivered */
    uint64_t messages;                      /* pushed */
    uint64_t delivered;
    uint64_t missed;
    uint64_t position; /* one past the last number delivered; CONFLATE: of a control */
    uint64_t controls_waiting;
    uint32_t refusals;
    bool is_ended; /* and ENDED was taken */
} feed_bed_log;

void feed_bed_log_begin(feed_bed_log *log, hpxi_feed *feed, hpx_overflow overflow);

/* At most FEED_BED_LOG_MAX things, and marks only while fewer than HPXI_FEED_MARKS_MAX wait. */
void feed_bed_log_message(feed_bed_log *log, uint32_t topic, size_t bytes);
/* ... which the caller pushes itself: its number. */
uint64_t feed_bed_log_note_message(feed_bed_log *log, uint32_t topic);
void feed_bed_log_mark(feed_bed_log *log);
void feed_bed_log_refuse(feed_bed_log *log);
void feed_bed_log_end(feed_bed_log *log);

/* Takes and checks one update. false: there was none, or ENDED was taken before. */
bool feed_bed_log_take(feed_bed_log *log);
/* The second half of it: what hpxi_feed_next() returned. */
bool feed_bed_log_accept(feed_bed_log *log, int got, const hpx_update *update);

/* After ENDED: nothing is unaccounted for. */
void feed_bed_log_check(const feed_bed_log *log);

#endif /* HPX_TESTS_FEED_BED_H */

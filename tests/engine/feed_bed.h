/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_bed.h - messages whose content follows from their number, for the tests of feeds.
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

/* Pushes message `number`: its kind and epoch follow from it too, and its time is the number. */
hpxi_feed_result feed_bed_push(hpxi_feed *feed, uint32_t topic, uint64_t number, size_t bytes);

/* Is the update message `number`, as it was pushed? */
bool feed_bed_is_message(const hpx_update *update, uint64_t number);

#endif /* HPX_TESTS_FEED_BED_H */

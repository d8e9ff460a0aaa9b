/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_item.h - what goes through a feed, for feed.h and the three stores of messages behind it.
 *
 * The stores share five verbs. Shard: push(), publish(). Port: take(limit), the next message whose
 * sequence number is below `limit`; then put_back() if it turned out that something else comes
 * before it, or let_go() when the application is done with its view.
 */
#ifndef HPXI_FEED_ITEM_H
#define HPXI_FEED_ITEM_H

#include <hpx/session.h>

typedef struct hpxi_feed_message {
    uint32_t topic_index; /* of the subscription's topics */
    hpx_message_kind kind;
    uint64_t epoch;
    uint64_t time_ns;
    hpx_span payload;
} hpxi_feed_message;

/* A message on its way to the application. `payload` is a view until let_go(). */
typedef struct hpxi_feed_item {
    hpxi_feed_message message;
    uint64_t sequence;
    uint64_t missed; /* conflating alone: messages of this topic that it replaced */
} hpxi_feed_item;

#endif /* HPXI_FEED_ITEM_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed.h - the quickstart's client: subscribes to topics and keeps count of what comes.
 *
 * Threads   feed_on_event() runs on the client's shard and is the only writer of everything but
 *           the topics' names. Any thread may read the atomics; `info` may be read once `epoch`
 *           is not 0 and `error` once the state is FEED_CLOSED: each is written once, before that.
 * Memory    In place, about 40 KiB. JSON is parsed into a buffer of its own: no allocation.
 */
#ifndef HPX_TOOL_FEED_H
#define HPX_TOOL_FEED_H

#include <stdatomic.h>

#include <hpx/hpx.h>

#include "hist.h"
#include "market.h"

#define FEED_TOPICS_MAX   16u
#define FEED_PARSER_BYTES 16384u

typedef enum feed_state {
    FEED_CONNECTING,
    FEED_LIVE,
    FEED_LOST,   /* the engine is making a new connection */
    FEED_CLOSED, /* it gave up */
} feed_state;

typedef struct feed_topic {
    char name[MARKET_TOPIC_BYTES + 1];
    _Atomic uint64_t messages;
    _Atomic uint64_t gaps;    /* times that `seq` jumped */
    _Atomic uint64_t missing; /* updates that were jumped over */
    _Atomic int64_t price_cents;
    uint64_t sequence; /* shard only; 0: the next one may be any */
} feed_topic;

typedef struct feed {
    uint32_t topic_count;
    feed_topic topics[FEED_TOPICS_MAX];
    hist latency; /* from the exchange's ts_ns to the callback */
    _Atomic uint64_t messages;
    _Atomic uint64_t bytes;
    _Atomic uint64_t strange; /* messages that were not understood */
    _Atomic uint64_t epoch;   /* of the connection; 0 before the first */
    _Atomic int state;        /* feed_state */
    hpx_conn_info info;       /* of the first connection */
    hpx_error error;
    char parser[FEED_PARSER_BYTES]; /* shard only */
} feed;

/* Topics trades.X and book.X for each of `symbols` ("A,B"); at most FEED_TOPICS_MAX topics. */
void feed_init(feed *f, const char *symbols);

/* An hpx_event_fn; `user` is the feed. */
void feed_on_event(hpx_conn *conn, const hpx_event *event, void *user);

feed_state feed_get_state(const feed *f);

/* 0: not connected yet. Otherwise `info` may be read. */
uint64_t feed_get_epoch(const feed *f);

/* Sum over the topics. */
uint64_t feed_gaps(const feed *f);

#endif /* HPX_TOOL_FEED_H */

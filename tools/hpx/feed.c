/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed.c - the quickstart's client, inline on its shard.
 *
 * This is what a program's own handler would look like: take the time, parse in place, count.
 */
#include "feed.h"

#include <assert.h>
#include <math.h>
#include <string.h>
#include <yyjson.h>

#include "text.h"

#define FEED_REQUEST_BYTES 1024

/* The shard is the only writer: no locked instruction is needed. Readers are feed_get_state() and
 * the quickstart's drawing. */
static void feed_bump(_Atomic uint64_t *counter, uint64_t by)
{
    const uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + by, memory_order_relaxed);
}

void feed_init(feed *f, const char *symbols)
{
    static market scratch;
    const char *why = NULL;
    const bool is_good = market_init(&scratch, symbols, 0, &why);
    assert(is_good);
    assert(scratch.topic_count <= FEED_TOPICS_MAX);
    memset(f, 0, sizeof(*f));
    for (uint32_t i = 0; is_good && i < scratch.topic_count; i++) {
        memcpy(f->topics[i].name, scratch.topics[i].name, sizeof(f->topics[i].name));
        f->topic_count++;
    }
}

static void feed_subscribe(feed *f, hpx_conn *conn)
{
    char buffer[FEED_REQUEST_BYTES];
    text request;
    text_init(&request, buffer, sizeof(buffer));
    text_add(
        &request,
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\","
        "\"params\":{\"channels\":[");
    for (uint32_t i = 0; i < f->topic_count; i++) {
        text_addf(&request, "%s\"%s\"", i == 0 ? "" : ",", f->topics[i].name);
    }
    text_add(&request, "]}}");
    assert(!request.full);
    const hpx_span payload = {(const uint8_t *)request.data, request.size};
    if (hpx_conn_send(conn, HPX_MESSAGE_TEXT, payload) != HPX_OK) {
        hpx_conn_close(conn, 1011, hpx_span_of("could not subscribe"));
    }
}

static feed_topic *feed_find(feed *f, yyjson_val *channel)
{
    for (uint32_t i = 0; i < f->topic_count; i++) {
        if (yyjson_equals_str(channel, f->topics[i].name)) {
            return &f->topics[i];
        }
    }
    return NULL;
}

/* Last price of a trade, or the best bid. */
static int64_t feed_price_cents(yyjson_val *data)
{
    yyjson_val *price = yyjson_obj_get(data, "price");
    if (price == NULL) {
        price = yyjson_arr_get(yyjson_arr_get(yyjson_obj_get(data, "bids"), 0), 0);
    }
    return (int64_t)llround(yyjson_get_num(price) * 100.0);
}

/* False: not an update. */
static bool feed_take(feed *f, yyjson_val *root, uint64_t now_ns)
{
    yyjson_val *params = yyjson_obj_get(root, "params");
    yyjson_val *data = yyjson_obj_get(params, "data");
    feed_topic *topic = feed_find(f, yyjson_obj_get(params, "channel"));
    if (topic == NULL || !yyjson_is_obj(data)) {
        return yyjson_obj_get(root, "result") != NULL;
    }
    const uint64_t sequence = yyjson_get_uint(yyjson_obj_get(data, "seq"));
    const uint64_t sent_ns = yyjson_get_uint(yyjson_obj_get(data, "ts_ns"));
    if (topic->sequence != 0 && sequence != topic->sequence + 1) {
        feed_bump(&topic->gaps, 1);
        feed_bump(&topic->missing, sequence > topic->sequence ? sequence - topic->sequence - 1 : 0);
    }
    topic->sequence = sequence;
    feed_bump(&topic->messages, 1);
    atomic_store_explicit(&topic->price_cents, feed_price_cents(data), memory_order_relaxed);
    hist_add(&f->latency, now_ns > sent_ns ? now_ns - sent_ns : 0);
    feed_bump(&f->messages, 1);
    return true;
}

static void feed_on_message(feed *f, hpx_span payload)
{
    const uint64_t now_ns = hpx_clock_now_ns();
    feed_bump(&f->bytes, payload.size);
    yyjson_alc memory;
    yyjson_alc_pool_init(&memory, f->parser, sizeof(f->parser));
    char *bytes = (char *)(uintptr_t)payload.data; /* only read: no INSITU flag */
    yyjson_doc *doc =
        payload.size == 0 ? NULL : yyjson_read_opts(bytes, payload.size, 0, &memory, NULL);
    if (doc == NULL || !feed_take(f, yyjson_doc_get_root(doc), now_ns)) {
        feed_bump(&f->strange, 1);
    }
    yyjson_doc_free(doc);
}

/* Release: pairs with the acquire in feed_get_state(); `error` is written before. */
static void feed_set_state(feed *f, feed_state state)
{
    atomic_store_explicit(&f->state, (int)state, memory_order_release);
}

static void feed_on_connected(feed *f, hpx_conn *conn, const hpx_event *event)
{
    if (feed_get_epoch(f) == 0) {
        f->info = *event->info;
    }
    /* Release: pairs with the acquire in feed_get_epoch(); `info` is written before. */
    atomic_store_explicit(&f->epoch, event->epoch, memory_order_release);
    feed_subscribe(f, conn);
    feed_set_state(f, FEED_LIVE);
}

/* What was published meanwhile is not ours: the next connection may begin anywhere. */
static void feed_on_lost(feed *f)
{
    for (uint32_t i = 0; i < f->topic_count; i++) {
        f->topics[i].sequence = 0;
    }
    feed_set_state(f, FEED_LOST);
}

void feed_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    feed *f = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        feed_on_connected(f, conn, event);
        break;
    case HPX_EVENT_MESSAGE:
        feed_on_message(f, event->payload);
        break;
    case HPX_EVENT_DISCONNECTED:
        feed_on_lost(f);
        break;
    case HPX_EVENT_CLOSED:
        f->error = *event->error;
        feed_set_state(f, FEED_CLOSED);
        break;
    case HPX_EVENT_WRITABLE:
        break;
    }
}

uint64_t feed_get_epoch(const feed *f)
{
    return atomic_load_explicit(&f->epoch, memory_order_acquire);
}

feed_state feed_get_state(const feed *f)
{
    return (feed_state)atomic_load_explicit(&f->state, memory_order_acquire);
}

uint64_t feed_gaps(const feed *f)
{
    uint64_t gaps = 0;
    for (uint32_t i = 0; i < f->topic_count; i++) {
        gaps += atomic_load_explicit(&f->topics[i].gaps, memory_order_relaxed);
    }
    return gaps;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: P2 authentication, resubscription and the ready loop use one socket; P6 what is subscribed
 * at the server is what is held, never twice; P10 updates reach each subscriber in wire order.
 * Method: the venue of session_bed.h keeps the set that a server would keep, per connection, and
 * counts messages, topics, and what was (un)subscribed twice.
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "session_bed.h"
#include "tests/support/test.h"

#define MS HPX_NS_PER_MS

typedef struct rig {
    session_bed bed;
    toy_dialect dialect;
    hpx_protocol protocol;
    hpx_ws_config config;
    hpx_handle *handle;
    hpx_stream *stream;
} rig;

static void rig_prepare(rig *r)
{
    memset(r, 0, sizeof(*r));
    session_bed_open(&r->bed);
    r->protocol = toy_protocol(&r->dialect);
    r->config = session_bed_config(&r->bed, &r->protocol);
}

static void rig_connect(rig *r)
{
    hpx_error error;
    if (hpx_ws_connect(r->bed.port, &r->config, &r->handle, &r->stream, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
}

static void rig_open(rig *r)
{
    rig_prepare(r);
    rig_connect(r);
    session_bed_until_state(&r->bed, r->handle, HPX_CONN_READY);
}

static void rig_close(rig *r)
{
    assert_int_equal(r->bed.venue.twice, 0);
    assert_true(r->bed.venue.alive_max <= 1);
    hpx_handle_release(r->handle);
    hpx_stream_release(r->stream);
    session_bed_close(&r->bed);
}

static hpx_subscription *rig_subscribe(rig *r, hpx_handle *handle, const char *topic)
{
    hpx_subscription *sub;
    hpx_error error;
    if (hpx_handle_subscribe(handle, topic, NULL, &sub, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    (void)r;
    return sub;
}

/* The next update; the shard turns meanwhile. */
static hpx_update rig_update(rig *r, hpx_subscription *sub)
{
    hpx_update update = {0};
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    int got;
    while ((got = hpx_subscription_next(sub, &update)) == 0) {
        (void)hpx_shard_poll(r->bed.shard);
        if (hpx_clock_now_ns() > until) {
            fail_msg("no update came");
        }
    }
    assert_int_equal(got, 1);
    return update;
}

static void assert_no_update(rig *r, hpx_subscription *sub)
{
    hpx_update update;
    session_bed_run(&r->bed, 5 * MS);
    assert_int_equal(hpx_subscription_next(sub, &update), 0);
}

static void rig_reconnect(rig *r)
{
    const uint32_t connects = r->bed.venue.connects;
    venue_drop(&r->bed.venue);
    session_bed_until(&r->bed, &r->bed.venue.connects, connects + 1);
    session_bed_until_state(&r->bed, r->handle, HPX_CONN_READY);
}

/* ---- One topic ------------------------------------------------------------------------------- */

static void test_update_when_subscribed_then_in_order_with_topic(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "t.a");
    assert_int_equal(hpx_subscription_get_state(sub), HPX_SUBSCRIPTION_PENDING);
    hpx_update update = rig_update(&r, sub);
    assert_int_equal(update.kind, HPX_UPDATE_LIVE);
    assert_int_equal(update.epoch, 1);
    assert_int_equal(hpx_subscription_get_state(sub), HPX_SUBSCRIPTION_LIVE);
    assert_int_equal(hpx_handle_subscription_count(r.handle), 1);
    hpx_span topics[2];
    assert_int_equal(hpx_handle_topics(r.handle, topics, 2), 1);
    assert_memory_equal(topics[0].data, "t.a", 3);
    for (unsigned i = 0; i < 100; i++) {
        venue_say(&r.bed.venue, "upd t.a %u", i);
        venue_say(&r.bed.venue, "upd t.b %u", i); /* nobody's */
    }
    for (unsigned i = 0; i < 100; i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "upd t.a %u", i);
        update = rig_update(&r, sub);
        assert_int_equal(update.kind, HPX_UPDATE_MESSAGE);
        assert_int_equal(update.missed, 0);
        assert_int_equal(update.epoch, 1);
        assert_int_equal(update.topic.size, 3);
        assert_memory_equal(update.topic.data, "t.a", 3);
        assert_int_equal(update.payload.size, strlen(expected));
        assert_memory_equal(update.payload.data, expected, strlen(expected));
    }
    assert_no_update(&r, sub);
    hpx_session_stats stats;
    hpx_handle_get_stats(r.handle, &stats);
    assert_int_equal(stats.updates, 100);
    assert_int_equal(stats.unrouted_updates, 100);
    hpx_subscription_release(sub);
    rig_close(&r);
}

static void test_p6_topic_when_held_twice_then_unsubscribed_with_the_last(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    venue *v = &r.bed.venue;
    hpx_subscription *first = rig_subscribe(&r, r.handle, "t");
    hpx_subscription *second = rig_subscribe(&r, r.handle, "t");
    assert_int_equal(rig_update(&r, first).kind, HPX_UPDATE_LIVE);
    assert_int_equal(rig_update(&r, second).kind, HPX_UPDATE_LIVE);
    hpx_subscription *third = rig_subscribe(&r, r.handle, "t"); /* it is there already */
    assert_int_equal(rig_update(&r, third).kind, HPX_UPDATE_LIVE);
    assert_int_equal(v->subscribe_topics, 1);
    hpx_subscription_release(third);
    hpx_subscription_release(first);
    session_bed_run(&r.bed, 10 * MS);
    assert_int_equal(v->unsubscribe_topics, 0);
    venue_say(v, "upd t still");
    assert_int_equal(rig_update(&r, second).kind, HPX_UPDATE_MESSAGE);
    hpx_subscription_release(second);
    session_bed_until(&r.bed, &v->unsubscribe_topics, 1);
    session_bed_run(&r.bed, 10 * MS);
    assert_int_equal(v->unsubscribe_messages, 1);
    assert_int_equal(venue_only(v)->topic_count, 0);
    assert_int_equal(hpx_handle_subscription_count(r.handle), 0);
    rig_close(&r);
}

static void test_p6_unsubscribe_when_released_after_then_sent_once_and_ended_told(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "t");
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_LIVE);
    venue_say(&r.bed.venue, "upd t last");
    session_bed_run(&r.bed, 5 * MS);
    hpx_subscription_unsubscribe(sub);
    hpx_subscription_unsubscribe(sub);
    session_bed_until(&r.bed, &r.bed.venue.unsubscribe_topics, 1);
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_MESSAGE); /* was queued */
    const hpx_update ended = rig_update(&r, sub);
    assert_int_equal(ended.kind, HPX_UPDATE_ENDED);
    assert_int_equal(ended.error->status, HPX_OK);
    hpx_update none;
    assert_int_equal(hpx_subscription_next(sub, &none), HPX_E_CLOSED);
    assert_int_equal(hpx_subscription_get_state(sub), HPX_SUBSCRIPTION_ENDED);
    hpx_subscription_release(sub);
    session_bed_run(&r.bed, 10 * MS);
    assert_int_equal(r.bed.venue.unsubscribe_messages, 1);
    rig_close(&r);
}

static void test_p6_subscribe_when_undone_in_the_same_turn_then_nothing_sent(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "t");
    hpx_subscription_release(sub);
    session_bed_run(&r.bed, 10 * MS);
    assert_int_equal(r.bed.venue.subscribe_messages, 0);
    assert_int_equal(r.bed.venue.unsubscribe_messages, 0);
    /* The other way round: let go and wanted again before the shard turns. */
    sub = rig_subscribe(&r, r.handle, "t");
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_LIVE);
    hpx_subscription *again = rig_subscribe(&r, r.handle, "t");
    hpx_subscription_release(sub);
    assert_int_equal(rig_update(&r, again).kind, HPX_UPDATE_LIVE);
    session_bed_run(&r.bed, 10 * MS);
    assert_int_equal(r.bed.venue.subscribe_messages, 1);
    assert_int_equal(r.bed.venue.unsubscribe_messages, 0);
    hpx_subscription_release(again);
    rig_close(&r);
}

static void
test_p6_topic_when_wanted_again_during_unsubscribe_then_subscribed_after_it(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    venue *v = &r.bed.venue;
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "t");
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_LIVE);
    hpx_subscription_release(sub);
    for (unsigned i = 0; i < 3; i++) { /* the batch is sent, its answer is not here */
        (void)hpx_shard_poll(r.bed.shard);
    }
    sub = rig_subscribe(&r, r.handle, "t");
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_LIVE);
    assert_int_equal(v->unsubscribe_topics, 1);
    assert_int_equal(v->subscribe_topics, 2);
    assert_true(venue_has(venue_only(v), "t"));
    hpx_subscription_release(sub);
    rig_close(&r);
}

/* ---- Many ------------------------------------------------------------------------------------ */

static void test_batches_when_many_topics_then_as_large_as_allowed(void **state)
{
    (void)state;
    enum { COUNT = 250 };
    rig r;
    rig_open(&r);
    static char names[COUNT][16];
    hpx_span topics[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        topics[i].size = (size_t)snprintf(names[i], sizeof(names[i]), "t.%u", i);
        topics[i].data = (const uint8_t *)names[i];
    }
    hpx_subscription *sub;
    hpx_error error;
    assert_int_equal(
        hpx_handle_subscribe_many(r.handle, topics, COUNT, NULL, &sub, &error), HPX_OK);
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_LIVE); /* once, for all of them */
    assert_int_equal(r.bed.venue.subscribe_messages, 3);         /* 100, 100, 50 */
    assert_int_equal(r.bed.venue.subscribe_topics, COUNT);
    venue_say(&r.bed.venue, "upd t.249 a");
    venue_say(&r.bed.venue, "upd t.0 b");
    assert_int_equal(rig_update(&r, sub).topic_index, 249); /* wire order across topics */
    assert_int_equal(rig_update(&r, sub).topic_index, 0);
    topics[7] = topics[9];
    hpx_subscription *twice;
    assert_int_equal(
        hpx_handle_subscribe_many(r.handle, topics, COUNT, NULL, &twice, &error), HPX_E_INVALID);
    assert_non_null(strstr(error.detail, "t.9"));
    assert_int_equal(
        hpx_handle_subscribe(r.handle, "t.\xFF", NULL, &twice, &error), HPX_E_INVALID);
    assert_non_null(strstr(error.detail, "UTF-8"));
    hpx_subscription_release(sub);
    session_bed_until(&r.bed, &r.bed.venue.unsubscribe_topics, COUNT);
    session_bed_run(&r.bed, 5 * MS);
    assert_int_equal(venue_only(&r.bed.venue)->topic_count, 0);
    rig_close(&r);
}

static void test_pace_when_limited_then_batches_wait_for_tokens(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    r.config.topics_per_message_max = 1;
    r.config.messages_per_second = 50.0;
    r.config.messages_burst = 2;
    rig_connect(&r);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
    hpx_subscription *subs[10];
    const uint64_t start = hpx_clock_now_ns();
    for (unsigned i = 0; i < COUNT_OF(subs); i++) {
        char name[16];
        snprintf(name, sizeof(name), "t.%u", i);
        subs[i] = rig_subscribe(&r, r.handle, name);
    }
    session_bed_until(&r.bed, &r.bed.venue.subscribe_messages, 10);
    /* A burst of 2, then 8 more at one every 20 ms. */
    assert_true(hpx_clock_now_ns() - start >= 155 * MS);
    for (unsigned i = 0; i < COUNT_OF(subs); i++) {
        hpx_subscription_release(subs[i]);
    }
    rig_close(&r);
}

/* ---- Refused --------------------------------------------------------------------------------- */

static void test_topic_when_refused_then_told_and_the_others_go_on(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    r.bed.venue.refuse_topic = "bad";
    const hpx_span topics[] = {hpx_span_of("good"), hpx_span_of("bad")};
    hpx_subscription *sub;
    hpx_subscription *alone = rig_subscribe(&r, r.handle, "bad");
    hpx_error error;
    assert_int_equal(hpx_handle_subscribe_many(r.handle, topics, 2, NULL, &sub, &error), HPX_OK);
    const hpx_update refused = rig_update(&r, sub);
    assert_int_equal(refused.kind, HPX_UPDATE_REFUSED);
    assert_int_equal(refused.topic_index, 1);
    assert_int_equal(refused.error->status, HPX_E_REFUSED);
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_LIVE);
    venue_say(&r.bed.venue, "upd good x");
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_MESSAGE);
    assert_int_equal(rig_update(&r, alone).kind, HPX_UPDATE_REFUSED);
    const hpx_update ended = rig_update(&r, alone);
    assert_int_equal(ended.kind, HPX_UPDATE_ENDED);
    assert_int_equal(ended.error->status, HPX_E_REFUSED);
    assert_non_null(strstr(ended.error->detail, "bad"));
    rig_reconnect(&r); /* what was refused is not tried again */
    assert_int_equal(venue_only(&r.bed.venue)->topic_count, 1);
    assert_int_equal(r.bed.venue.subscribe_topics, 3);
    hpx_subscription_release(sub);
    hpx_subscription_release(alone);
    rig_close(&r);
}

static void test_batch_when_not_acknowledged_then_connects_anew(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    r.config.request_timeout_ns = 30 * MS;
    r.bed.venue.stall_subscribe = true;
    rig_connect(&r);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "t");
    session_bed_until(&r.bed, &r.bed.venue.connects, 2);
    r.bed.venue.stall_subscribe = false;
    hpx_update update = rig_update(&r, sub);
    while (update.kind == HPX_UPDATE_INTERRUPTED) {
        update = rig_update(&r, sub);
    }
    assert_int_equal(update.kind, HPX_UPDATE_LIVE);
    bool seen = false;
    hpx_event event;
    while (hpx_stream_next(r.stream, &event) == 1) {
        seen |=
            event.kind == HPX_EVENT_DISCONNECTED && event.error->status == HPX_E_SUBSCRIBE_TIMEOUT;
    }
    assert_true(seen);
    hpx_subscription_release(sub);
    rig_close(&r);
}

/* ---- Reconnects ------------------------------------------------------------------------------ */

static void test_p6_reconnect_when_topics_held_then_each_restored_once_before_ready(void **state)
{
    (void)state;
    enum { COUNT = 120 };
    rig r;
    rig_open(&r);
    venue *v = &r.bed.venue;
    hpx_subscription *subs[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "t.%u", i);
        subs[i] = rig_subscribe(&r, r.handle, name);
    }
    hpx_subscription *twice = rig_subscribe(&r, r.handle, "t.5");
    assert_int_equal(rig_update(&r, subs[COUNT - 1]).kind, HPX_UPDATE_LIVE);
    for (unsigned round = 0; round < 20; round++) {
        const uint32_t before = v->subscribe_topics;
        rig_reconnect(&r);
        assert_int_equal(venue_only(v)->topic_count, COUNT); /* once Ready: all of them */
        assert_int_equal(v->subscribe_topics - before, COUNT);
        assert_int_equal(hpx_handle_epoch(r.handle), round + 2);
        hpx_event event; /* a stream that nobody reads holds up reconnection */
        while (hpx_stream_next(r.stream, &event) == 1) {
        }
    }
    assert_int_equal(v->unsubscribe_topics, 0);
    const hpx_update interrupted = rig_update(&r, subs[COUNT - 1]);
    assert_int_equal(interrupted.kind, HPX_UPDATE_INTERRUPTED);
    assert_int_equal(interrupted.epoch, 1);
    const hpx_update live = rig_update(&r, subs[COUNT - 1]);
    assert_int_equal(live.kind, HPX_UPDATE_LIVE);
    assert_int_equal(live.epoch, 2);
    hpx_subscription_release(twice);
    for (unsigned i = 0; i < COUNT; i++) {
        hpx_subscription_release(subs[i]);
    }
    rig_close(&r);
}

static void test_subscribe_when_not_connected_then_restored_with_the_connection(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    rig_connect(&r);
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "early"); /* IDLE still */
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
    assert_true(venue_has(venue_only(&r.bed.venue), "early")); /* Ready means restored */
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_LIVE);
    hpx_subscription_release(sub);
    rig_close(&r);
}

/* ---- The way up ------------------------------------------------------------------------------ */

static void test_p2_session_when_authenticated_then_all_on_one_socket_in_order(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    r.dialect.secret = "s3cret";
    r.dialect.greets = true;
    r.bed.venue.require_auth = true;
    r.bed.venue.greets = true;
    rig_connect(&r);
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "t");
    for (unsigned round = 0; round < 5; round++) {
        session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
        const venue_client *client = venue_only(&r.bed.venue);
        assert_true(client->authenticated);  /* the same connection that is Ready ... */
        assert_true(venue_has(client, "t")); /* ... and subscribed */
        assert_int_equal(r.bed.venue.connects, round + 1); /* there was no other */
        assert_int_equal(r.bed.venue.auths, round + 1);
        venue_say(&r.bed.venue, "upd t x"); /* ... and read */
        hpx_update update = rig_update(&r, sub);
        while (update.kind != HPX_UPDATE_MESSAGE) {
            update = rig_update(&r, sub);
        }
        hpx_event event = {0};
        assert_int_equal(hpx_stream_next(r.stream, &event), 1);
        assert_int_equal(event.kind, HPX_EVENT_CONNECTED); /* before the welcome, sent earlier */
        assert_int_equal(event.epoch, round + 1);
        assert_int_equal(hpx_stream_next(r.stream, &event), 1);
        assert_int_equal(event.kind, HPX_EVENT_MESSAGE);
        assert_int_equal(event.message_class, HPX_CLASS_SYSTEM);
        assert_memory_equal(event.payload.data, "sys welcome", 11);
        rig_reconnect(&r);
        assert_int_equal(hpx_stream_next(r.stream, &event), 1);
        assert_int_equal(event.kind, HPX_EVENT_DISCONNECTED);
    }
    assert_int_equal(r.bed.venue.early, 6); /* the greeting, which comes before by design */
    hpx_subscription_release(sub);
    rig_close(&r);
}

static void test_auth_when_refused_then_error_says_so_and_nothing_else_is_sent(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    r.dialect.secret = "wrong";
    r.bed.venue.refuse_auth = true;
    r.bed.venue.require_auth = true;
    r.config.attempts_max = 2;
    rig_connect(&r);
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "t");
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_CLOSED);
    assert_int_equal(r.bed.venue.auths, 2);
    assert_int_equal(r.bed.venue.early, 0);
    hpx_event event;
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(hpx_stream_next(r.stream, &event), 1);
        assert_int_equal(event.kind, HPX_EVENT_DISCONNECTED);
        assert_int_equal(event.error->status, HPX_E_AUTH_FAILED);
        assert_int_equal(event.error->stage, HPX_STAGE_AUTH);
        assert_non_null(strstr(event.error->detail, "bad secret"));
    }
    assert_int_equal(hpx_stream_next(r.stream, &event), 1);
    assert_int_equal(event.kind, HPX_EVENT_CLOSED);
    const hpx_update ended = rig_update(&r, sub); /* exactly one terminal event, for it too */
    assert_int_equal(ended.kind, HPX_UPDATE_ENDED);
    assert_int_equal(ended.error->status, HPX_E_AUTH_FAILED);
    hpx_subscription *late;
    assert_int_equal(hpx_handle_subscribe(r.handle, "t", NULL, &late, NULL), HPX_E_CLOSED);
    hpx_subscription_release(sub);
    rig_close(&r);
}

static void test_auth_when_not_answered_then_timeout(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    r.dialect.secret = "s";
    r.bed.venue.stall_auth = true;
    r.config.request_timeout_ns = 20 * MS;
    r.config.reconnect = false;
    rig_connect(&r);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_CLOSED);
    hpx_event event;
    assert_int_equal(hpx_stream_next(r.stream, &event), 1);
    assert_int_equal(event.error->status, HPX_E_AUTH_TIMEOUT);
    rig_close(&r);
}

static void test_server_when_asks_to_reconnect_or_pings_then_done(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    venue *v = &r.bed.venue;
    for (unsigned i = 0; i < 200; i++) { /* more than may be unanswered at once */
        venue_say(v, "hb");
        session_bed_until(&r.bed, &v->pongs, i + 1);
    }
    venue_say(v, "bye maintenance");
    session_bed_until(&r.bed, &v->connects, 2);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
    bool seen = false;
    hpx_event event;
    while (hpx_stream_next(r.stream, &event) == 1) {
        if (event.kind == HPX_EVENT_DISCONNECTED) {
            assert_int_equal(event.error->status, HPX_E_SERVER_RECONNECT);
            assert_non_null(strstr(event.error->detail, "maintenance"));
            seen = true;
        }
    }
    assert_true(seen);
    rig_close(&r);
}

static void test_heartbeat_when_of_the_protocol_then_rtt_and_timeout(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    r.config.heartbeat = HPX_HEARTBEAT_BOTH;
    r.config.ping_interval_ns = 5 * MS;
    r.config.pong_timeout_ns = 50 * MS;
    rig_connect(&r);
    session_bed_until(&r.bed, &r.bed.venue.pings, 5);
    assert_int_equal(hpx_handle_state(r.handle), HPX_CONN_READY);
    assert_true(hpx_handle_rtt_ns(r.handle) > 0);
    r.bed.venue.silent_pings = true; /* frames are answered still */
    session_bed_until(&r.bed, &r.bed.venue.connects, 2);
    hpx_event event;
    bool seen = false;
    while (hpx_stream_next(r.stream, &event) == 1) {
        seen |= event.kind == HPX_EVENT_DISCONNECTED && event.error->status == HPX_E_PONG_TIMEOUT;
    }
    assert_true(seen);
    rig_close(&r);
}

/* ---- The port's descriptor ------------------------------------------------------------------- */

static bool is_readable(int fd)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

static void test_port_fd_when_anything_can_be_taken_then_readable_until_taken(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_subscription *sub = rig_subscribe(&r, r.handle, "t");
    assert_int_equal(rig_update(&r, sub).kind, HPX_UPDATE_LIVE);
    const int fd = hpx_port_fd(r.bed.port);
    hpx_event event;
    hpx_update update;
    hpx_reply reply;
    while (hpx_stream_next(r.stream, &event) == 1) {
    }
    assert_int_equal(hpx_handle_next_reply(r.handle, &reply), 0);
    assert_false(is_readable(fd));
    assert_int_equal(hpx_port_wait(r.bed.port, MS), HPX_E_TIMEOUT);

    venue_say(&r.bed.venue, "upd t x");
    session_bed_run(&r.bed, 5 * MS);
    assert_true(is_readable(fd));
    assert_int_equal(hpx_port_wait(r.bed.port, 0), 1);
    assert_int_equal(hpx_subscription_next(sub, &update), 1);
    assert_int_equal(hpx_stream_next(r.stream, &event), 0);
    assert_int_equal(hpx_subscription_next(sub, &update), 0);
    assert_false(is_readable(fd));

    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req y"), 0, NULL, NULL), HPX_OK);
    session_bed_run(&r.bed, 5 * MS);
    assert_true(is_readable(fd));
    assert_int_equal(hpx_handle_next_reply(r.handle, &reply), 1);
    assert_int_equal(hpx_subscription_next(sub, &update), 0); /* arms: another reply is there */
    assert_true(is_readable(fd));
    assert_int_equal(hpx_handle_next_reply(r.handle, &reply), 1);
    assert_int_equal(hpx_handle_next_reply(r.handle, &reply), 0);
    assert_false(is_readable(fd));
    hpx_subscription_release(sub);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update_when_subscribed_then_in_order_with_topic),
        cmocka_unit_test(test_p6_topic_when_held_twice_then_unsubscribed_with_the_last),
        cmocka_unit_test(test_p6_unsubscribe_when_released_after_then_sent_once_and_ended_told),
        cmocka_unit_test(test_p6_subscribe_when_undone_in_the_same_turn_then_nothing_sent),
        cmocka_unit_test(
            test_p6_topic_when_wanted_again_during_unsubscribe_then_subscribed_after_it),
        cmocka_unit_test(test_batches_when_many_topics_then_as_large_as_allowed),
        cmocka_unit_test(test_pace_when_limited_then_batches_wait_for_tokens),
        cmocka_unit_test(test_topic_when_refused_then_told_and_the_others_go_on),
        cmocka_unit_test(test_batch_when_not_acknowledged_then_connects_anew),
        cmocka_unit_test(test_p6_reconnect_when_topics_held_then_each_restored_once_before_ready),
        cmocka_unit_test(test_subscribe_when_not_connected_then_restored_with_the_connection),
        cmocka_unit_test(test_p2_session_when_authenticated_then_all_on_one_socket_in_order),
        cmocka_unit_test(test_auth_when_refused_then_error_says_so_and_nothing_else_is_sent),
        cmocka_unit_test(test_auth_when_not_answered_then_timeout),
        cmocka_unit_test(test_server_when_asks_to_reconnect_or_pings_then_done),
        cmocka_unit_test(test_heartbeat_when_of_the_protocol_then_rtt_and_timeout),
        cmocka_unit_test(test_port_fd_when_anything_can_be_taken_then_readable_until_taken),
    };
    return cmocka_run_group_tests_name("engine/session_topics", tests, NULL, NULL);
}

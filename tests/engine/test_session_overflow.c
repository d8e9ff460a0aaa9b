/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a subscriber that is slower than its topics gets what its policy says and is told exactly
 * what it missed, message for message; others on the same topics get everything; the loop never
 * waits for it (P10). Method: one topic's numbered messages to a subscriber of each policy, on a
 * port, with a small ring, and to an inline one; the slow ones read nothing, or now and then.
 */
#include <stdio.h>
#include <string.h>

#include "session_bed.h"
#include "tests/support/test.h"

#define MS HPX_NS_PER_MS

typedef struct rig {
    session_bed bed;
    toy_dialect dialect;
    hpx_protocol protocol;
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_conn *conn; /* an inline connection */
    uint32_t inline_next;
    bool inline_live;
} rig;

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)conn;
    (void)event;
    (void)user;
}

/* "upd TOPIC NUMBER ..." */
static uint32_t number_of(const hpx_update *update)
{
    unsigned number = 0;
    char text[64];
    (void)snprintf(
        text,
        sizeof(text),
        "%.*s",
        (int)(update->payload.size < 60 ? update->payload.size : 60),
        (const char *)update->payload.data);
    assert_int_equal(sscanf(text, "upd %*s %u", &number), 1);
    return number;
}

static void
on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    rig *r = user;
    (void)conn;
    (void)subscription;
    if (update->kind == HPX_UPDATE_LIVE) {
        r->inline_live = true;
    } else if (update->kind == HPX_UPDATE_MESSAGE) {
        assert_int_equal(number_of(update), r->inline_next);
        assert_int_equal(update->missed, 0);
        r->inline_next++;
    }
}

static void rig_open(rig *r)
{
    memset(r, 0, sizeof(*r));
    session_bed_open(&r->bed);
    r->protocol = toy_protocol(&r->dialect);
    hpx_ws_config config = session_bed_config(&r->bed, &r->protocol);
    hpx_error error;
    assert_int_equal(hpx_ws_connect(r->bed.port, &config, &r->handle, &r->stream, &error), HPX_OK);
    session_bed_until_state(&r->bed, r->handle, HPX_CONN_READY);
    config.on_event = on_event;
    assert_int_equal(hpx_shard_connect(r->bed.shard, &config, &r->conn, &error), HPX_OK);
    hpx_subscription *sub;
    const hpx_span topic = hpx_span_of("t");
    assert_int_equal(hpx_conn_subscribe(r->conn, &topic, 1, on_update, r, &sub, &error), HPX_OK);
    while (!r->inline_live) {
        (void)hpx_shard_poll(r->bed.shard);
    }
}

static void rig_close(rig *r)
{
    hpx_handle_release(r->handle);
    hpx_stream_release(r->stream);
    session_bed_close(&r->bed);
}

static hpx_subscription *rig_subscribe(rig *r, hpx_overflow overflow, uint32_t topics)
{
    hpx_subscribe_config config = HPX_SUBSCRIBE_CONFIG_INIT;
    config.overflow = overflow;
    config.ring_bytes = 4096;
    config.large_bytes_max = 16u << 10;
    hpx_subscription *sub;
    hpx_error error;
    const hpx_span names[] = {hpx_span_of("t"), hpx_span_of("u")};
    assert_int_equal(
        hpx_handle_subscribe_many(r->handle, names, topics, &config, &sub, &error), HPX_OK);
    hpx_update update;
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (hpx_subscription_next(sub, &update) != 1) {
        (void)hpx_shard_poll(r->bed.shard);
        assert_true(hpx_clock_now_ns() < until);
    }
    assert_int_equal(update.kind, HPX_UPDATE_LIVE);
    return sub;
}

/* A message to both connections; the shard takes it. */
static void rig_push(rig *r, const char *topic, uint32_t number, size_t bytes)
{
    static char text[64u << 10];
    int size = snprintf(text, sizeof(text), "upd %s %u ", topic, number);
    if (bytes > (size_t)size) {
        memset(text + size, 'x', bytes - (size_t)size);
        size = (int)bytes;
    }
    const hpx_span message = {.data = (const uint8_t *)text, .size = (size_t)size};
    for (unsigned i = 0; i < VENUE_CLIENTS_MAX; i++) {
        if (r->bed.venue.clients[i].conn != NULL) {
            assert_int_equal(
                hpx_conn_send(r->bed.venue.clients[i].conn, HPX_MESSAGE_TEXT, message), HPX_OK);
        }
    }
}

static void rig_turns(rig *r, uint32_t least)
{
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (r->inline_next < least) {
        (void)hpx_shard_poll(r->bed.shard);
        assert_true(hpx_clock_now_ns() < until);
    }
    for (unsigned i = 0; i < 4; i++) {
        (void)hpx_shard_poll(r->bed.shard);
    }
}

/* What is there now. Numbers go on, but for what `missed` tells. */
static uint32_t take(hpx_subscription *sub, uint32_t *next, uint32_t max)
{
    hpx_update update;
    uint32_t taken = 0;
    while (taken < max && hpx_subscription_next(sub, &update) == 1) {
        assert_int_equal(update.kind, HPX_UPDATE_MESSAGE);
        assert_int_equal(number_of(&update), *next + update.missed);
        *next = number_of(&update) + 1;
        taken++;
    }
    return taken;
}

enum { COUNT = 5000 };

static void test_p10_drop_oldest_when_nobody_reads_then_newest_and_exact_lag(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_subscription *sub = rig_subscribe(&r, HPX_OVERFLOW_DROP_OLDEST, 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        rig_push(&r, "t", i, 0);
        if (i % 50 == 0) {
            rig_turns(&r, 0);
        }
    }
    rig_turns(&r, COUNT);
    hpx_update update;
    assert_int_equal(hpx_subscription_next(sub, &update), 1);
    assert_int_equal(update.missed, number_of(&update)); /* told before the first */
    assert_true(update.missed > COUNT / 2);
    uint32_t next = number_of(&update) + 1;
    const uint32_t first = next;
    const uint32_t taken = take(sub, &next, COUNT);
    assert_int_equal(next, COUNT);          /* up to the newest, ... */
    assert_int_equal(taken, COUNT - first); /* ... with no further gap */
    hpx_subscription_release(sub);
    rig_close(&r);
}

static void test_p10_drop_newest_when_nobody_reads_then_oldest_and_exact_lag(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_subscription *sub = rig_subscribe(&r, HPX_OVERFLOW_DROP_NEWEST, 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        rig_push(&r, "t", i, 0);
        if (i % 50 == 0) {
            rig_turns(&r, 0);
        }
    }
    rig_turns(&r, COUNT);
    uint32_t next = 0;
    const uint32_t kept = take(sub, &next, COUNT);
    assert_int_equal(next, kept); /* the oldest, without a gap */
    assert_true(kept > 10 && kept < COUNT / 2);
    rig_push(&r, "t", COUNT, 0);
    rig_turns(&r, COUNT + 1);
    hpx_update update;
    assert_int_equal(hpx_subscription_next(sub, &update), 1);
    assert_int_equal(number_of(&update), COUNT);
    assert_int_equal(update.missed, COUNT - kept);
    hpx_shard_stats stats;
    hpx_shard_get_stats(r.bed.shard, &stats);
    assert_int_equal(stats.messages_dropped, COUNT - kept);
    hpx_subscription_release(sub);
    rig_close(&r);
}

/* Now and then a few are read: what is told and what is taken is what was sent, at any moment. */
static void test_p10_lag_when_read_now_and_then_then_told_exactly(void **state)
{
    (void)state;
    static const hpx_overflow policies[] = {HPX_OVERFLOW_DROP_OLDEST, HPX_OVERFLOW_DROP_NEWEST};
    rig r;
    rig_open(&r);
    hpx_subscription *subs[2];
    uint32_t next[2] = {0};
    for (unsigned i = 0; i < 2; i++) {
        subs[i] = rig_subscribe(&r, policies[i], 1);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        rig_push(&r, "t", i, i % 7 == 0 ? 900 : (i % 11 == 0 ? 3000 : 0)); /* some are blocks */
        if (i % 13 == 0) {
            rig_turns(&r, 0);
        }
        if (i % 37 == 0) {
            (void)take(subs[0], &next[0], i % 5);
            (void)take(subs[1], &next[1], i % 3);
        }
    }
    rig_turns(&r, COUNT);
    for (unsigned i = 0; i < 2; i++) {
        (void)take(subs[i], &next[i], COUNT);
        rig_push(&r, "t", COUNT + i, 0); /* tells what was dropped last */
        rig_turns(&r, COUNT + i + 1);
        (void)take(subs[i], &next[i], COUNT);
        assert_int_equal(next[i], COUNT + i + 1);
        hpx_subscription_release(subs[i]);
    }
    rig_close(&r);
}

static void test_p10_conflate_when_nobody_reads_then_newest_of_each_topic(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    hpx_subscription *sub = rig_subscribe(&r, HPX_OVERFLOW_CONFLATE, 2);
    uint64_t delivered = 0;
    uint64_t missed = 0;
    uint32_t newest[2] = {0};
    uint32_t pushed = 0;
    hpx_update update;
    for (uint32_t i = 0; i < COUNT; i++) {
        newest[0] = i;
        rig_push(&r, "t", i, 0);
        pushed++;
        if (i % 3 == 0) {
            newest[1] = i;
            rig_push(&r, "u", i, 0);
            pushed++;
        }
        if (i % 100 == 99) {
            rig_turns(&r, i + 1);
            for (unsigned j = 0; j < 2; j++) { /* one of each, and the newest */
                assert_int_equal(hpx_subscription_next(sub, &update), 1);
                assert_int_equal(number_of(&update), newest[update.topic_index]);
                missed += update.missed;
                delivered++;
            }
            assert_int_equal(hpx_subscription_next(sub, &update), 0);
        }
    }
    assert_int_equal(delivered + missed, pushed);
    hpx_subscription_release(sub);
    rig_close(&r);
}

static void test_p10_disconnect_when_nobody_reads_then_ended_and_unsubscribed(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    venue *v = &r.bed.venue;
    hpx_subscription *sub = rig_subscribe(&r, HPX_OVERFLOW_DISCONNECT, 2);
    hpx_subscription *same = rig_subscribe(&r, HPX_OVERFLOW_DROP_OLDEST, 1);
    for (uint32_t i = 0; i < COUNT; i++) {
        rig_push(&r, "t", i, 0);
        if (i % 50 == 0) {
            rig_turns(&r, 0);
        }
    }
    rig_turns(&r, COUNT);
    assert_int_equal(hpx_subscription_get_state(sub), HPX_SUBSCRIPTION_ENDED);
    hpx_update update;
    uint32_t next = 0;
    int got;
    while ((got = hpx_subscription_next(sub, &update)) == 1 && update.kind == HPX_UPDATE_MESSAGE) {
        assert_int_equal(number_of(&update), next++); /* all that it had, without a gap */
        assert_int_equal(update.missed, 0);
    }
    assert_int_equal(got, 1);
    assert_int_equal(update.kind, HPX_UPDATE_ENDED);
    assert_int_equal(update.error->status, HPX_E_OVERFLOW);
    assert_true(next > 10 && next < COUNT);
    assert_int_equal(hpx_subscription_next(sub, &update), HPX_E_CLOSED);
    session_bed_until(&r.bed, &v->unsubscribe_topics, 1); /* "u": nobody else holds it */
    session_bed_run(&r.bed, 2 * MS);
    assert_int_equal(v->unsubscribe_topics, 1);
    assert_int_equal(hpx_handle_subscription_count(r.handle), 1);
    assert_int_equal(hpx_handle_state(r.handle), HPX_CONN_READY); /* only the subscription ended */
    hpx_subscription_release(sub);
    sub = rig_subscribe(&r, HPX_OVERFLOW_DISCONNECT, 2); /* and once more */
    rig_push(&r, "t", COUNT, 0);
    rig_turns(&r, COUNT + 1);
    assert_int_equal(hpx_subscription_next(sub, &update), 1);
    assert_int_equal(number_of(&update), COUNT);
    hpx_subscription_release(sub);
    hpx_subscription_release(same);
    assert_int_equal(v->twice, 0);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p10_drop_oldest_when_nobody_reads_then_newest_and_exact_lag),
        cmocka_unit_test(test_p10_drop_newest_when_nobody_reads_then_oldest_and_exact_lag),
        cmocka_unit_test(test_p10_lag_when_read_now_and_then_then_told_exactly),
        cmocka_unit_test(test_p10_conflate_when_nobody_reads_then_newest_of_each_topic),
        cmocka_unit_test(test_p10_disconnect_when_nobody_reads_then_ended_and_unsubscribed),
    };
    return cmocka_run_group_tests_name("engine/session_overflow", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the promises of a connection that are about what flows: P9 lifecycle events are neither
 * lost nor reordered nor kept waiting by a stream that nobody reads, and every message dropped is
 * counted; P10 each subscriber sees all of its messages in the wire's order.
 * Method: the venue of session_bed.h, floods, overlapping sets of topics in both forms.
 */
#include <stdio.h>
#include <stdlib.h>
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

static void rig_connect(rig *r, hpx_port *port)
{
    hpx_error error;
    if (hpx_ws_connect(port, &r->config, &r->handle, &r->stream, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    session_bed_until_state(&r->bed, r->handle, HPX_CONN_READY);
}

static void rig_close(rig *r)
{
    hpx_handle_release(r->handle);
    hpx_stream_release(r->stream);
    session_bed_close(&r->bed);
}

/* ---- P9 -------------------------------------------------------------------------------------- */

enum { P9_EPOCHS = 5, P9_MESSAGES = 5000 };

/* Floods the stream; requests of another port are served meanwhile, in a few turns each. */
static void p9_flood(rig *r, hpx_handle *other, unsigned epoch)
{
    for (unsigned i = 0; i < P9_MESSAGES; i++) {
        venue_say(&r->bed.venue, "sys %u of %u", i, epoch);
        if (i % 500 != 0) {
            continue;
        }
        hpx_reply reply;
        unsigned turns = 0;
        assert_int_equal(
            hpx_handle_request(other, hpx_span_of("req x"), HPX_NEVER, NULL, NULL), HPX_OK);
        while (hpx_handle_next_reply(other, &reply) == 0) {
            (void)hpx_shard_poll(r->bed.shard);
            assert_true(++turns < 10000);
        }
        assert_int_equal(reply.status, HPX_OK);
    }
    session_bed_run(&r->bed, 10 * MS);
}

/* CONNECTED, messages or word of their loss, DISCONNECTED. Returns what was missed. */
static uint64_t p9_take_epoch(rig *r, unsigned epoch)
{
    hpx_event event;
    uint64_t missed = 0;
    uint64_t next = 0;
    assert_int_equal(hpx_stream_next(r->stream, &event), 1);
    assert_int_equal(event.kind, HPX_EVENT_CONNECTED);
    assert_int_equal(event.epoch, epoch);
    for (;;) {
        assert_int_equal(hpx_stream_next(r->stream, &event), 1);
        missed += event.missed;
        next += event.missed; /* told just before what follows */
        if (event.kind != HPX_EVENT_MESSAGE) {
            break;
        }
        char expected[32];
        const int size =
            snprintf(expected, sizeof(expected), "sys %u of %u", (unsigned)next, epoch);
        assert_int_equal(event.payload.size, size);
        assert_memory_equal(event.payload.data, expected, (size_t)size);
        assert_int_equal(event.epoch, epoch);
        next++;
    }
    assert_int_equal(next, P9_MESSAGES);
    assert_int_equal(event.kind, HPX_EVENT_DISCONNECTED);
    assert_int_equal(event.epoch, epoch);
    return missed;
}

/* A consumer that reads nothing: the loop goes on, messages are dropped and counted to the last
 * one, and of the lifecycle events every single one is there afterwards, in order. */
static void test_p9_lifecycle_when_stream_is_not_read_then_complete_and_in_order(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    r.config.stream_ring_bytes = 64u << 10;
    rig_connect(&r, r.bed.port);
    hpx_port *other;
    hpx_handle *clone;
    hpx_error error;
    assert_int_equal(hpx_port_open(&other, r.bed.engine, NULL, &error), HPX_OK);
    assert_int_equal(hpx_handle_clone(r.handle, other, &clone), HPX_OK);
    for (unsigned epoch = 1; epoch <= P9_EPOCHS; epoch++) {
        p9_flood(&r, clone, epoch);
        if (epoch < P9_EPOCHS) {
            venue_drop(&r.bed.venue);
            session_bed_until(&r.bed, &r.bed.venue.connects, epoch + 1);
            session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
        }
    }
    assert_int_equal(hpx_handle_close(r.handle, 0, (hpx_span){0}), HPX_OK);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_CLOSED);
    hpx_shard_stats stats;
    hpx_shard_get_stats(r.bed.shard, &stats);
    uint64_t missed = 0;
    for (unsigned epoch = 1; epoch <= P9_EPOCHS; epoch++) {
        missed += p9_take_epoch(&r, epoch);
    }
    hpx_event event;
    assert_int_equal(hpx_stream_next(r.stream, &event), 1);
    assert_int_equal(event.kind, HPX_EVENT_CLOSED);
    assert_int_equal(hpx_stream_next(r.stream, &event), HPX_E_CLOSED);
    assert_true(missed > 0);
    assert_int_equal(missed, stats.messages_dropped);
    hpx_handle_release(clone);
    hpx_port_close(other);
    rig_close(&r);
}

/* ---- P10 ------------------------------------------------------------------------------------- */

enum { P10_TOPICS = 6, P10_SUBS = 8, P10_MESSAGES = 4000 };

typedef struct p10_sub {
    hpx_subscription *sub;
    uint32_t topics; /* bit per topic */
    uint32_t next;   /* of the messages that concern it */
} p10_sub;

static uint8_t p10_topic_of[P10_MESSAGES];

static bool p10_wants(const p10_sub *s, uint32_t message)
{
    return (s->topics >> p10_topic_of[message] & 1) != 0;
}

static void p10_take(p10_sub *s, const hpx_update *update)
{
    if (update->kind != HPX_UPDATE_MESSAGE) {
        return;
    }
    while (s->next < P10_MESSAGES && !p10_wants(s, s->next)) {
        s->next++;
    }
    char expected[48];
    const int size =
        snprintf(expected, sizeof(expected), "upd t.%u number %u", p10_topic_of[s->next], s->next);
    assert_int_equal(update->missed, 0);
    assert_int_equal(update->payload.size, size);
    assert_memory_equal(update->payload.data, expected, (size_t)size);
    s->next++;
}

static void
p10_on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    (void)conn;
    (void)subscription;
    p10_take(user, update);
}

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)conn;
    (void)event;
    (void)user;
}

/* Subscribers 0 to 5 are on two ports, the last ones inline. */
enum { P10_PORT_SUBS = 6 };

static void p10_subscribe(rig *r, p10_sub *subs, hpx_handle *clone, hpx_conn *conn)
{
    for (unsigned i = 0; i < P10_SUBS; i++) {
        hpx_error error;
        hpx_span topics[P10_TOPICS];
        char names[P10_TOPICS][8];
        uint32_t count = 0;
        subs[i].topics = (i * 37 + 21) & ((1u << P10_TOPICS) - 1);
        for (unsigned t = 0; t < P10_TOPICS; t++) {
            if ((subs[i].topics >> t & 1) != 0) {
                (void)snprintf(names[count], sizeof(names[0]), "t.%u", t);
                topics[count] = hpx_span_of(names[count]);
                count++;
            }
        }
        const hpx_status status =
            i >= P10_PORT_SUBS
                ? hpx_conn_subscribe(
                      conn, topics, count, p10_on_update, &subs[i], &subs[i].sub, &error)
                : hpx_handle_subscribe_many(
                      i % 2 == 0 ? r->handle : clone, topics, count, NULL, &subs[i].sub, &error);
        assert_int_equal(status, HPX_OK);
    }
}

static void p10_take_all(p10_sub *s)
{
    hpx_update update;
    while (hpx_subscription_next(s->sub, &update) == 1) {
        p10_take(s, &update);
    }
}

/* Messages of topics by chance to every connection; some subscribers read, others fall behind. */
static void p10_push(rig *r, p10_sub *subs)
{
    srand(7);
    for (uint32_t i = 0; i < P10_MESSAGES; i++) {
        p10_topic_of[i] = (uint8_t)(rand() % P10_TOPICS);
        char text[48];
        const int size = snprintf(text, sizeof(text), "upd t.%u number %u", p10_topic_of[i], i);
        const hpx_span span = {.data = (const uint8_t *)text, .size = (size_t)size};
        for (unsigned c = 0; c < VENUE_CLIENTS_MAX; c++) {
            if (r->bed.venue.clients[c].conn != NULL) {
                assert_int_equal(
                    hpx_conn_send(r->bed.venue.clients[c].conn, HPX_MESSAGE_TEXT, span), HPX_OK);
            }
        }
        if (i % 97 == 0) {
            for (unsigned turn = 0; turn < 4; turn++) {
                (void)hpx_shard_poll(r->bed.shard);
            }
            for (unsigned s = i % 3; s < P10_PORT_SUBS; s += 3) {
                p10_take_all(&subs[s]);
            }
        }
    }
    session_bed_run(&r->bed, 50 * MS);
}

/* Overlapping sets of topics, on two ports and inline: each sees its messages, all, in the wire's
 * order across its topics. */
static void test_p10_updates_when_topics_overlap_then_wire_order_for_each(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    hpx_port *other;
    hpx_error error;
    hpx_handle *clone;
    hpx_conn *conn;
    assert_int_equal(hpx_port_open(&other, r.bed.engine, NULL, &error), HPX_OK);
    rig_connect(&r, r.bed.port);
    assert_int_equal(hpx_handle_clone(r.handle, other, &clone), HPX_OK);
    r.config.on_event = on_event;
    assert_int_equal(hpx_shard_connect(r.bed.shard, &r.config, &conn, &error), HPX_OK);
    p10_sub subs[P10_SUBS] = {{0}};
    p10_subscribe(&r, subs, clone, conn);
    session_bed_until(&r.bed, &r.bed.venue.connects, 2);
    session_bed_run(&r.bed, 20 * MS);
    p10_push(&r, subs);
    for (unsigned i = 0; i < P10_SUBS; i++) {
        if (i < P10_PORT_SUBS) {
            p10_take_all(&subs[i]);
        }
        while (subs[i].next < P10_MESSAGES && !p10_wants(&subs[i], subs[i].next)) {
            subs[i].next++;
        }
        assert_int_equal(subs[i].next, P10_MESSAGES); /* to the last one */
        if (i < P10_PORT_SUBS) {
            hpx_subscription_release(subs[i].sub);
        }
    }
    hpx_handle_release(clone);
    hpx_port_close(other);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p9_lifecycle_when_stream_is_not_read_then_complete_and_in_order),
        cmocka_unit_test(test_p10_updates_when_topics_overlap_then_wire_order_for_each),
    };
    return cmocka_run_group_tests_name("engine/promises_flow", tests, NULL, NULL);
}

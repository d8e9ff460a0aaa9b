/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: P3 every request completes exactly once; P4 a reply of an earlier epoch, a late, a second
 * or a foreign one reaches nobody; P5 nothing issued in one epoch is sent in another. Method: the
 * venue of session_bed.h keeps answers back, gives them late, twice, after a reconnect.
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
} rig;

static void rig_open_with(rig *r, uint32_t requests_max, uint64_t backoff_ns)
{
    memset(r, 0, sizeof(*r));
    session_bed_open(&r->bed);
    r->protocol = toy_protocol(&r->dialect);
    hpx_ws_config config = session_bed_config(&r->bed, &r->protocol);
    config.requests_max = requests_max;
    config.backoff_initial_ns = backoff_ns;
    hpx_error error;
    if (hpx_ws_connect(r->bed.port, &config, &r->handle, &r->stream, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    session_bed_until_state(&r->bed, r->handle, HPX_CONN_READY);
}

static void rig_open(rig *r, uint32_t requests_max)
{
    rig_open_with(r, requests_max, MS);
}

static void rig_close(rig *r)
{
    hpx_handle_release(r->handle);
    hpx_stream_release(r->stream);
    session_bed_close(&r->bed);
}

/* The next reply; the shard turns meanwhile. */
static hpx_reply rig_reply(rig *r, hpx_handle *handle)
{
    hpx_reply reply = {0};
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (hpx_handle_next_reply(handle, &reply) == 0) {
        (void)hpx_shard_poll(r->bed.shard);
        if (hpx_clock_now_ns() > until) {
            fail_msg("no reply came");
        }
    }
    return reply;
}

static void assert_no_reply(rig *r, hpx_handle *handle)
{
    hpx_reply reply;
    session_bed_run(&r->bed, 5 * MS);
    assert_int_equal(hpx_handle_next_reply(handle, &reply), 0);
}

static uint64_t rig_unsolicited(const rig *r)
{
    hpx_session_stats stats;
    hpx_handle_get_stats(r->handle, &stats);
    return stats.unsolicited_replies;
}

static void assert_payload(const hpx_reply *reply, const char *tail)
{
    const size_t size = strlen(tail);
    assert_true(reply->payload.size >= size);
    assert_memory_equal(reply->payload.data + reply->payload.size - size, tail, size);
}

/* ---- P3 -------------------------------------------------------------------------------------- */

static void test_p3_request_when_answered_then_one_reply(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    int user;
    uint64_t token = 0;
    assert_int_equal(
        hpx_handle_request(r.handle, hpx_span_of("req one"), 0, &user, &token), HPX_OK);
    assert_int_equal(hpx_handle_pending_count(r.handle), 1);
    const hpx_reply reply = rig_reply(&r, r.handle);
    assert_int_equal(reply.status, HPX_OK);
    assert_true(reply.sent && !reply.is_error);
    assert_ptr_equal(reply.user, &user);
    assert_int_equal(reply.token, token);
    assert_int_equal(reply.epoch, 1);
    assert_true(reply.time_ns >= reply.sent_ns && reply.sent_ns != 0);
    assert_payload(&reply, " ok one");
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    assert_no_reply(&r, r.handle);

    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req fail"), 0, NULL, NULL), HPX_OK);
    const hpx_reply refused = rig_reply(&r, r.handle);
    assert_int_equal(refused.status, HPX_OK);
    assert_true(refused.is_error);
    rig_close(&r);
}

static void test_p3_request_when_not_answered_then_timeout_and_late_answer_unsolicited(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    r.bed.venue.keep_requests = true;
    assert_int_equal(
        hpx_handle_request(r.handle, hpx_span_of("req late"), 20 * MS, NULL, NULL), HPX_OK);
    const hpx_reply reply = rig_reply(&r, r.handle);
    assert_int_equal(reply.status, HPX_E_TIMEOUT);
    assert_true(reply.sent);
    assert_int_equal(reply.payload.size, 0);
    assert_true(reply.time_ns - reply.sent_ns >= 19 * MS);
    assert_int_equal(hpx_handle_pending_count(r.handle), 0); /* no entry is left */
    venue_answer(&r.bed.venue, 0, "too late");
    assert_no_reply(&r, r.handle);
    assert_int_equal(rig_unsolicited(&r), 1);
    rig_close(&r);
}

static void test_p3_request_when_answered_twice_or_by_foreign_id_then_once(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    r.bed.venue.answer_twice = true;
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(rig_reply(&r, r.handle).status, HPX_OK);
    assert_no_reply(&r, r.handle);
    assert_int_equal(rig_unsolicited(&r), 1);
    static const char *const foreign[] = {
        "res 0 ok",
        "res 1 ok",
        "res 99999999 ok",
        "res abc ok",
        "res  ok",
        "res 18446744073709551615 ok"};
    for (size_t i = 0; i < COUNT_OF(foreign); i++) {
        venue_say(&r.bed.venue, "%s", foreign[i]);
    }
    assert_no_reply(&r, r.handle);
    assert_int_equal(rig_unsolicited(&r), 1 + COUNT_OF(foreign));
    rig_close(&r);
}

static void test_p3_request_when_cancelled_then_cancelled_once(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    r.bed.venue.keep_requests = true;
    uint64_t token;
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, &token), HPX_OK);
    session_bed_until(&r.bed, &r.bed.venue.kept_count, 1);
    assert_int_equal(hpx_request_cancel(r.handle, token), HPX_OK);
    assert_int_equal(hpx_request_cancel(r.handle, token), HPX_OK);
    assert_int_equal(rig_reply(&r, r.handle).status, HPX_E_CANCELLED);
    venue_answer(&r.bed.venue, 0, "x");
    assert_no_reply(&r, r.handle);
    assert_int_equal(rig_unsolicited(&r), 1);
    assert_int_equal(hpx_request_cancel(r.handle, token), HPX_OK); /* over: nothing */
    assert_int_equal(hpx_request_cancel(r.handle, 12345), HPX_OK);
    assert_no_reply(&r, r.handle);
    rig_close(&r);
}

/* The cancellation overtakes its request, which is then not sent at all. */
static void test_p3_request_when_cancelled_while_queued_then_not_sent(void **state)
{
    (void)state;
    enum { COUNT = 200 }; /* more than the shard takes in one turn */
    rig r;
    rig_open(&r, 0);
    uint64_t tokens[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(
            hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, &tokens[i]), HPX_OK);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        assert_int_equal(hpx_request_cancel(r.handle, tokens[i]), HPX_OK);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        const hpx_reply reply = rig_reply(&r, r.handle);
        const bool cancelled = (reply.token - tokens[0]) % 2 == 0;
        assert_int_equal(reply.status, cancelled ? HPX_E_CANCELLED : HPX_OK);
        assert_int_equal(reply.sent, !cancelled);
    }
    assert_no_reply(&r, r.handle);
    assert_int_equal(r.bed.venue.requests, COUNT / 2);
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    rig_close(&r);
}

static void
test_p3_request_when_connection_lost_then_disconnected_and_never_sent_again(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    venue *v = &r.bed.venue;
    v->keep_requests = true;
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req order"), 0, NULL, NULL), HPX_OK);
    session_bed_until(&r.bed, &v->kept_count, 1);
    venue_drop(v);
    const hpx_reply reply = rig_reply(&r, r.handle);
    assert_int_equal(reply.status, HPX_E_DISCONNECTED);
    assert_true(reply.sent);
    session_bed_until(&r.bed, &v->connects, 2);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
    session_bed_run(&r.bed, 10 * MS);
    assert_int_equal(v->requests, 1); /* one copy on the wire, ever */
    rig_close(&r);
}

/* ---- P4, P5 ---------------------------------------------------------------------------------- */

static void test_p4_reply_when_of_earlier_epoch_then_completes_nothing(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    venue *v = &r.bed.venue;
    v->keep_requests = true;
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req old"), 0, NULL, NULL), HPX_OK);
    session_bed_until(&r.bed, &v->kept_count, 1);
    venue_drop(v);
    assert_int_equal(rig_reply(&r, r.handle).status, HPX_E_DISCONNECTED);
    session_bed_until(&r.bed, &v->connects, 2);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
    int user;
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req new"), 0, &user, NULL), HPX_OK);
    session_bed_until(&r.bed, &v->kept_count, 2);
    venue_answer(v, 0, "old"); /* on the new connection, with the old id */
    assert_no_reply(&r, r.handle);
    assert_int_equal(rig_unsolicited(&r), 1);
    venue_answer(v, 1, "new");
    const hpx_reply reply = rig_reply(&r, r.handle);
    assert_ptr_equal(reply.user, &user);
    assert_payload(&reply, "ok new");
    assert_int_equal(reply.epoch, 2);
    assert_string_not_equal(v->kept[0].id, v->kept[1].id); /* ids are never used again */
    rig_close(&r);
}

/* Ids that differ from the right one in one bit, and shapes of it that are other ids. */
static void test_p4_reply_when_id_is_almost_right_then_completes_nothing(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    venue *v = &r.bed.venue;
    v->keep_requests = true;
    for (unsigned i = 0; i < 4; i++) { /* neighbours in the slab */
        assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    }
    session_bed_until(&r.bed, &v->kept_count, 4);
    const uint64_t right = strtoull(v->kept[1].id, NULL, 10);
    unsigned sent = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        const uint64_t wrong = right ^ UINT64_C(1) << bit;
        bool is_other = false;
        for (unsigned i = 0; i < 4; i++) {
            is_other |= strtoull(v->kept[i].id, NULL, 10) == wrong;
        }
        if (!is_other) {
            venue_say(v, "res %llu ok wrong", (unsigned long long)wrong);
            sent++;
        }
    }
    venue_say(v, "res x%s ok wrong", v->kept[1].id);
    venue_say(v, "res %s.0 ok wrong", v->kept[1].id);
    assert_no_reply(&r, r.handle);
    assert_int_equal(rig_unsolicited(&r), sent + 2);
    assert_int_equal(hpx_handle_pending_count(r.handle), 4);
    venue_answer(v, 1, "right");
    const hpx_reply reply = rig_reply(&r, r.handle);
    assert_payload(&reply, "ok right");
    rig_close(&r);
}

static void test_p5_commands_when_issued_before_loss_then_not_sent_after_it(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    venue *v = &r.bed.venue;
    /* The shard does not turn between these and the loss: they wait in the data ring. */
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req stale"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(
        hpx_handle_send(r.handle, HPX_MESSAGE_TEXT, hpx_span_of("stale send")), HPX_OK);
    assert_int_equal(hpx_handle_reconnect(r.handle, hpx_span_of("test")), HPX_OK);
    const hpx_reply reply = rig_reply(&r, r.handle); /* control overtook data */
    assert_int_equal(reply.status, HPX_E_DISCONNECTED);
    assert_false(reply.sent);
    session_bed_until(&r.bed, &v->connects, 2);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
    session_bed_run(&r.bed, 10 * MS);
    assert_int_equal(v->requests, 0);
    assert_int_equal(v->sends, 0);
    hpx_session_stats stats;
    hpx_handle_get_stats(r.handle, &stats);
    assert_int_equal(stats.stale_drops, 2);
    rig_close(&r);
}

/* So many that some still stand in the ring when the next epoch is Ready. */
static void test_p5_commands_when_next_epoch_is_ready_then_still_not_sent(void **state)
{
    (void)state;
    enum { COUNT = 120000 };
    rig r;
    rig_open_with(&r, 2 * COUNT / 100, 1);
    venue *v = &r.bed.venue;
    hpx_port_config large = HPX_PORT_CONFIG_INIT;
    large.data_ring_bytes = 16u << 20;
    hpx_port *port;
    hpx_handle *second;
    hpx_error error;
    hpx_session_stats stats;
    assert_int_equal(hpx_port_open(&port, r.bed.engine, &large, &error), HPX_OK);
    assert_int_equal(hpx_handle_clone(r.handle, port, &second), HPX_OK);
    for (unsigned i = 0; i < COUNT; i++) {
        const hpx_status status =
            i % 100 == 99 ? hpx_handle_request(second, hpx_span_of("req stale"), 0, NULL, NULL)
                          : hpx_handle_send(second, HPX_MESSAGE_TEXT, hpx_span_of("stale"));
        assert_int_equal(status, HPX_OK);
    }
    assert_int_equal(hpx_handle_reconnect(r.handle, (hpx_span){0}), HPX_OK);
    session_bed_until(&r.bed, &v->connects, 2);
    session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
    hpx_handle_get_stats(r.handle, &stats);
    assert_true(stats.stale_drops < COUNT); /* or this test says nothing */
    for (unsigned i = 0; i < COUNT / 100; i++) {
        const hpx_reply reply = rig_reply(&r, second);
        assert_int_equal(reply.status, HPX_E_DISCONNECTED);
        assert_false(reply.sent);
        assert_int_equal(reply.epoch, 1);
    }
    session_bed_run(&r.bed, 10 * MS);
    hpx_handle_get_stats(r.handle, &stats);
    assert_int_equal(stats.stale_drops, COUNT);
    assert_int_equal(v->sends, 0);
    assert_int_equal(v->requests, 0);
    hpx_handle_release(second);
    hpx_port_close(port);
    rig_close(&r);
}

static void test_request_when_not_ready_then_refused_at_once(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    assert_int_equal(hpx_handle_reconnect(r.handle, (hpx_span){0}), HPX_OK);
    (void)hpx_shard_poll(r.bed.shard);
    assert_int_not_equal(hpx_handle_state(r.handle), HPX_CONN_READY);
    assert_int_equal(
        hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_E_NOT_CONNECTED);
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    rig_close(&r);
}

/* ---- Capacity, ids --------------------------------------------------------------------------- */

static void test_capacity_when_met_then_limit_at_once_and_exact(void **state)
{
    (void)state;
    enum { MAX = 10 };
    rig r;
    rig_open(&r, MAX);
    r.bed.venue.keep_requests = true;
    for (unsigned i = 0; i < MAX; i++) {
        assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(
            hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_E_LIMIT);
    }
    session_bed_until(&r.bed, &r.bed.venue.kept_count, MAX);
    venue_answer(&r.bed.venue, 3, "x");
    assert_int_equal(rig_reply(&r, r.handle).status, HPX_OK);
    hpx_reply reply;
    assert_int_equal(hpx_handle_next_reply(r.handle, &reply), 0); /* lets go of the last one */
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(
        hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_E_LIMIT);
    rig_close(&r);
}

/* The send queue is full: refused at once, told when there is room, and what was taken is sent. */
static void test_request_when_send_queue_is_full_then_again_and_writable(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 2000);
    char text[1000];
    memset(text, 'x', sizeof(text));
    memcpy(text, "req ", 4);
    const hpx_span payload = {.data = (const uint8_t *)text, .size = sizeof(text)};
    hpx_event event;
    assert_int_equal(hpx_stream_next(r.stream, &event), 1); /* CONNECTED */
    uint32_t accepted = 0;
    hpx_status status;
    while ((status = hpx_handle_request(r.handle, payload, 0, NULL, NULL)) == HPX_OK) {
        accepted++; /* the shard does not turn: the data ring fills */
    }
    assert_int_equal(status, HPX_E_AGAIN);
    assert_true(accepted > 100);
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (hpx_stream_next(r.stream, &event) == 0) {
        (void)hpx_shard_poll(r.bed.shard);
        assert_true(hpx_clock_now_ns() < until);
    }
    assert_int_equal(event.kind, HPX_EVENT_WRITABLE);
    assert_int_equal(hpx_handle_request(r.handle, payload, 0, NULL, NULL), HPX_OK);
    for (uint32_t i = 0; i <= accepted; i++) {
        assert_int_equal(rig_reply(&r, r.handle).status, HPX_OK);
    }
    assert_no_reply(&r, r.handle);
    assert_int_equal(r.bed.venue.requests, accepted + 1);
    rig_close(&r);
}

static void test_replies_when_not_taken_then_again_and_none_lost(void **state)
{
    (void)state;
    enum { MAX = 4 };
    rig r;
    rig_open(&r, MAX);
    for (unsigned i = 0; i < MAX; i++) {
        assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    }
    session_bed_run(&r.bed, 20 * MS); /* all answered, none taken */
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    assert_int_equal(
        hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_E_AGAIN);
    for (unsigned i = 0; i < MAX; i++) {
        assert_int_equal(rig_reply(&r, r.handle).status, HPX_OK);
    }
    assert_no_reply(&r, r.handle);
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    rig_close(&r);
}

static void test_raw_request_when_id_is_pending_then_duplicate(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    r.bed.venue.keep_requests = true;
    const hpx_request_id text = {.kind = HPX_ID_TEXT, .text = hpx_span_of("mine-1")};
    const hpx_request_id number = {.kind = HPX_ID_NUMBER, .number = 7};
    assert_int_equal(
        hpx_handle_request_raw(r.handle, &text, hpx_span_of("req mine-1 a"), 0, NULL, NULL),
        HPX_OK);
    assert_int_equal(
        hpx_handle_request_raw(r.handle, &number, hpx_span_of("req 7 b"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(
        hpx_handle_request_raw(r.handle, &text, hpx_span_of("req mine-1 c"), 0, NULL, NULL),
        HPX_OK);
    const hpx_reply duplicate = rig_reply(&r, r.handle);
    assert_int_equal(duplicate.status, HPX_E_DUPLICATE);
    assert_false(duplicate.sent);
    session_bed_run(&r.bed, 5 * MS);
    assert_int_equal(r.bed.venue.kept_count, 2);
    venue_answer(&r.bed.venue, 1, "b");
    const hpx_reply b = rig_reply(&r, r.handle);
    assert_payload(&b, "ok b");
    venue_answer(&r.bed.venue, 0, "a");
    const hpx_reply a = rig_reply(&r, r.handle);
    assert_payload(&a, "ok a");
    /* Free again. */
    assert_int_equal(
        hpx_handle_request_raw(r.handle, &text, hpx_span_of("req mine-1 d"), 0, NULL, NULL),
        HPX_OK);
    session_bed_until(&r.bed, &r.bed.venue.kept_count, 3);
    const hpx_request_id none = {0};
    assert_int_equal(
        hpx_handle_request_raw(r.handle, &none, hpx_span_of("req"), 0, NULL, NULL), HPX_E_INVALID);
    rig_close(&r);
}

static void test_request_when_dialect_finds_no_place_then_invalid(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("nonsense"), 0, NULL, NULL), HPX_OK);
    const hpx_reply reply = rig_reply(&r, r.handle);
    assert_int_equal(reply.status, HPX_E_INVALID);
    assert_false(reply.sent);
    const uint8_t bad[] = {'r', 'e', 'q', ' ', 0xFF};
    const hpx_span no_text = {.data = bad, .size = sizeof(bad)};
    assert_int_equal(hpx_handle_request(r.handle, no_text, 0, NULL, NULL), HPX_E_INVALID);
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    rig_close(&r);
}

static void test_request_when_large_then_whole_both_ways(void **state)
{
    (void)state;
    enum { BYTES = 3 << 20 };
    rig r;
    rig_open(&r, 0);
    r.bed.venue.keep_requests = true;
    char *text = malloc(BYTES);
    assert_non_null(text);
    memset(text, 'x', BYTES);
    memcpy(text, "req ", 4);
    const hpx_span payload = {.data = (const uint8_t *)text, .size = BYTES};
    assert_int_equal(hpx_handle_request(r.handle, payload, 0, NULL, NULL), HPX_OK);
    session_bed_until(&r.bed, &r.bed.venue.kept_count, 1);
    const int head = snprintf(text, 64, "res %s ok ", r.bed.venue.kept[0].id);
    text[head] = 'x';
    hpx_conn *conn = venue_only(&r.bed.venue)->conn;
    assert_int_equal(hpx_conn_send(conn, HPX_MESSAGE_TEXT, payload), HPX_OK);
    const hpx_reply reply = rig_reply(&r, r.handle);
    assert_int_equal(reply.status, HPX_OK);
    assert_int_equal(reply.payload.size, BYTES);
    assert_memory_equal(reply.payload.data, text, BYTES);
    free(text);
    assert_no_reply(&r, r.handle);
    rig_close(&r);
}

/* ---- Handles --------------------------------------------------------------------------------- */

static void test_release_when_requests_are_under_way_then_forgotten(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 8);
    r.bed.venue.keep_requests = true;
    hpx_handle *second;
    assert_int_equal(hpx_handle_clone(r.handle, r.bed.port, &second), HPX_OK);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(hpx_handle_request(second, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    }
    session_bed_until(&r.bed, &r.bed.venue.kept_count, 3);
    assert_int_equal(hpx_handle_request(second, hpx_span_of("req y"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(hpx_handle_pending_count(r.handle), 4);
    hpx_handle_release(second); /* one of its requests is still in the ring */
    session_bed_run(&r.bed, 5 * MS);
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    assert_int_equal(hpx_handle_state(r.handle), HPX_CONN_READY); /* not the last handle */
    venue_answer(&r.bed.venue, 0, "x");
    session_bed_run(&r.bed, 5 * MS);
    assert_int_equal(rig_unsolicited(&r), 1);
    for (unsigned i = 0; i < 8; i++) { /* all of the capacity is there again */
        assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    }
    rig_close(&r);
}

/* Requests that the full data ring refused were never opened: nothing of them is given back. */
static void test_release_when_the_data_ring_was_full_then_pending_is_exact(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 4096);
    hpx_port_config small = HPX_PORT_CONFIG_INIT;
    small.data_ring_bytes = 64u << 10;
    hpx_port *port;
    hpx_handle *second;
    hpx_error error;
    assert_int_equal(hpx_port_open(&port, r.bed.engine, &small, &error), HPX_OK);
    assert_int_equal(hpx_handle_clone(r.handle, port, &second), HPX_OK);
    hpx_status status;
    uint32_t accepted = 0;
    while ((status = hpx_handle_request(second, hpx_span_of("req x"), 0, NULL, NULL)) == HPX_OK) {
        accepted++;
    }
    assert_int_equal(status, HPX_E_AGAIN);
    assert_int_equal(hpx_handle_pending_count(r.handle), accepted);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(
            hpx_handle_request(second, hpx_span_of("req x"), 0, NULL, NULL), HPX_E_AGAIN);
    }
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req y"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(hpx_handle_pending_count(r.handle), accepted + 1);
    hpx_handle_release(second);
    assert_int_equal(rig_reply(&r, r.handle).status, HPX_OK);
    session_bed_run(&r.bed, 5 * MS);
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    hpx_port_close(port);
    rig_close(&r);
}

static void test_reply_when_two_handles_then_each_gets_its_own(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, 0);
    hpx_port *port;
    hpx_handle *second;
    hpx_error error;
    assert_int_equal(hpx_port_open(&port, r.bed.engine, NULL, &error), HPX_OK);
    assert_int_equal(hpx_handle_clone(r.handle, port, &second), HPX_OK);
    assert_int_equal(hpx_handle_request(second, hpx_span_of("req b"), 0, NULL, NULL), HPX_OK);
    assert_int_equal(hpx_handle_request(r.handle, hpx_span_of("req a"), 0, NULL, NULL), HPX_OK);
    const hpx_reply a = rig_reply(&r, r.handle);
    const hpx_reply b = rig_reply(&r, second);
    assert_payload(&a, "ok a");
    assert_payload(&b, "ok b");
    assert_no_reply(&r, second);
    assert_no_reply(&r, r.handle);
    hpx_handle_release(second);
    hpx_port_close(port);
    rig_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p3_request_when_answered_then_one_reply),
        cmocka_unit_test(
            test_p3_request_when_not_answered_then_timeout_and_late_answer_unsolicited),
        cmocka_unit_test(test_p3_request_when_answered_twice_or_by_foreign_id_then_once),
        cmocka_unit_test(test_p3_request_when_cancelled_then_cancelled_once),
        cmocka_unit_test(test_p3_request_when_cancelled_while_queued_then_not_sent),
        cmocka_unit_test(
            test_p3_request_when_connection_lost_then_disconnected_and_never_sent_again),
        cmocka_unit_test(test_p4_reply_when_of_earlier_epoch_then_completes_nothing),
        cmocka_unit_test(test_p4_reply_when_id_is_almost_right_then_completes_nothing),
        cmocka_unit_test(test_p5_commands_when_issued_before_loss_then_not_sent_after_it),
        cmocka_unit_test(test_p5_commands_when_next_epoch_is_ready_then_still_not_sent),
        cmocka_unit_test(test_request_when_not_ready_then_refused_at_once),
        cmocka_unit_test(test_capacity_when_met_then_limit_at_once_and_exact),
        cmocka_unit_test(test_request_when_send_queue_is_full_then_again_and_writable),
        cmocka_unit_test(test_replies_when_not_taken_then_again_and_none_lost),
        cmocka_unit_test(test_raw_request_when_id_is_pending_then_duplicate),
        cmocka_unit_test(test_request_when_dialect_finds_no_place_then_invalid),
        cmocka_unit_test(test_request_when_large_then_whole_both_ways),
        cmocka_unit_test(test_release_when_requests_are_under_way_then_forgotten),
        cmocka_unit_test(test_release_when_the_data_ring_was_full_then_pending_is_exact),
        cmocka_unit_test(test_reply_when_two_handles_then_each_gets_its_own),
    };
    return cmocka_run_group_tests_name("engine/session_requests", tests, NULL, NULL);
}

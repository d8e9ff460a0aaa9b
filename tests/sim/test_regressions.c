/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what the simulation has found stays fixed.
 * Method: the shortest way to each, on the venue of the session tests, in simulated time.
 */
#include <string.h>

#include "ring/sim.h"
#include "tests/engine/session_bed.h"
#include "tests/support/test.h"

#define MS HPX_NS_PER_MS

typedef struct rig {
    session_bed bed;
    toy_dialect dialect;
    hpx_protocol protocol;
    hpx_ws_config config;
    hpx_conn *conn;
    hpx_subscription *first, *second;
    uint32_t connected, live, replies, disconnected;
    uint32_t replies_before_disconnected;
    hpx_status reply_status;
} rig;

static void rig_open(rig *r)
{
    memset(r, 0, sizeof(*r));
    const hpxi_sim_config network = {
        .seed = 1,
        .start_ns = HPX_NS_PER_S,
        .delay_min_ns = 1000,
        .delay_max_ns = 1000,
        .retransmit_ns = HPX_NS_PER_S,
        .spin_ns = 50 * 1000,
        .window_bytes = 1u << 16,
        .segment_bytes = 1000};
    hpxi_sim_begin(&network, NULL);
    session_bed_open(&r->bed);
    r->protocol = toy_protocol(&r->dialect);
    r->config = session_bed_config(&r->bed, &r->protocol);
}

static void rig_close(rig *r)
{
    session_bed_close(&r->bed);
    assert_int_equal(hpxi_sim_end(), 0);
}

static hpx_span span(const char *text)
{
    return (hpx_span){.data = (const uint8_t *)text, .size = strlen(text)};
}

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)conn;
    rig *r = user;
    r->connected += event->kind == HPX_EVENT_CONNECTED ? 1 : 0;
    if (event->kind == HPX_EVENT_DISCONNECTED) {
        r->disconnected++;
        r->replies_before_disconnected = r->replies;
    }
}

static void on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    (void)conn;
    rig *r = user;
    r->replies++;
    r->reply_status = reply->status;
}

static void
on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    rig *r = user;
    if (update->kind == HPX_UPDATE_LIVE) {
        r->live++;
        if (subscription == r->second) {
            hpx_conn_abort(conn);
        }
    }
}

/* Simulation, before its first commit: "P3: DISCONNECTED, but 3 requests are open". */
static void test_disconnected_when_a_live_handler_aborts_then_told_after_the_replies(void **state)
{
    (void)state;
    rig r;
    rig_open(&r);
    r.bed.venue.keep_requests = true;
    r.config.on_event = on_event;
    r.config.user = &r;
    hpx_error error;
    assert_int_equal(hpx_shard_connect(r.bed.shard, &r.config, &r.conn, &error), HPX_OK);
    session_bed_until(&r.bed, &r.connected, 1);
    const hpx_span topic = span("t");
    assert_int_equal(
        hpx_conn_subscribe(r.conn, &topic, 1, on_update, &r, &r.first, &error), HPX_OK);
    session_bed_until(&r.bed, &r.live, 1);
    assert_int_equal(hpx_conn_request(r.conn, span("req x"), 0, on_reply, &r, NULL), HPX_OK);
    session_bed_until(&r.bed, &r.bed.venue.requests, 1);
    /* The topic is active: LIVE is told in the settle step, not by an answer. */
    assert_int_equal(
        hpx_conn_subscribe(r.conn, &topic, 1, on_update, &r, &r.second, &error), HPX_OK);
    session_bed_until(&r.bed, &r.disconnected, 1);
    assert_int_equal(r.replies_before_disconnected, 1);
    assert_int_equal(r.reply_status, HPX_E_DISCONNECTED);
    session_bed_run(&r.bed, 10 * MS);
    assert_int_equal(r.replies, 1);
    rig_close(&r);
}

/* Simulation, before its first commit: "C9: "ping" before authentication". */
static void test_heartbeat_when_authentication_is_slow_then_no_ping_before_its_answer(void **state)
{
    (void)state;
    static const hpx_heartbeat kinds[] = {HPX_HEARTBEAT_PROTOCOL, HPX_HEARTBEAT_BOTH};
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        rig r;
        rig_open(&r);
        r.dialect.secret = "secret";
        r.bed.venue.require_auth = true;
        r.bed.venue.stall_auth = true;
        r.config.heartbeat = kinds[i];
        r.config.ping_interval_ns = 5 * MS;
        r.config.pong_timeout_ns = 5 * MS;
        r.config.request_timeout_ns = 60 * MS;
        hpx_handle *handle;
        hpx_stream *stream;
        hpx_error error;
        assert_int_equal(hpx_ws_connect(r.bed.port, &r.config, &handle, &stream, &error), HPX_OK);
        session_bed_until(&r.bed, &r.bed.venue.auths, 1);
        session_bed_run(&r.bed, 50 * MS);
        assert_int_equal(hpx_handle_state(handle), HPX_CONN_AUTHENTICATING);
        assert_int_equal(r.bed.venue.pings, 0);
        assert_int_equal(r.bed.venue.early, 0);
        r.bed.venue.stall_auth = false; /* after the stage's own deadline: again, and then pings */
        session_bed_until_state(&r.bed, handle, HPX_CONN_READY);
        session_bed_until(&r.bed, &r.bed.venue.pings, 1);
        assert_int_equal(r.bed.venue.early, 0);
        hpx_handle_release(handle);
        hpx_stream_release(stream);
        rig_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_disconnected_when_a_live_handler_aborts_then_told_after_the_replies),
        cmocka_unit_test(test_heartbeat_when_authentication_is_slow_then_no_ping_before_its_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

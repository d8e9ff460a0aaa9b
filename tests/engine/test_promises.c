/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the promises of a connection that are about its life: P1 one owner, P7 a close is honoured
 * in every state and overtakes queued data, P8 the last release takes all away, P11 exactly one
 * terminal event. (P2: test_session_topics.c. P3, P4, P5: test_session_requests.c and, with
 * threads, test_session_threads.c. P6: test_session_topics.c and test_session_threads.c. P9, P10:
 * test_promises_flow.c, test_session_threads.c and test_session_overflow.c.)
 * Method: the venue of session_bed.h, and servers that stop talking in each stage.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "session_places.h"
#include "tests/support/descriptors.h"
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

/* ---- P1 -------------------------------------------------------------------------------------- */

static hpx_conn *p1_conn;
static hpx_subscription *p1_subscription;
static void p1_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)conn;
    (void)event;
    (void)user;
}

static void
p1_on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    (void)conn;
    (void)subscription;
    (void)update;
    (void)user;
}

static void p1_on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    (void)conn;
    (void)reply;
    (void)user;
}

#define P1_CALLS 8u

/* Everything that changes a connection or tells of its inside. */
static void p1_call(unsigned which)
{
    const hpx_span text = hpx_span_of("req x");
    const hpx_request_id id = {.kind = HPX_ID_NUMBER, .number = 1};
    hpx_subscription *sub;
    hpx_status status = HPX_OK;
    switch (which) {
    case 0:
        status = hpx_conn_send(p1_conn, HPX_MESSAGE_TEXT, text);
        break;
    case 1:
        status = hpx_conn_close(p1_conn, 0, (hpx_span){0});
        break;
    case 2:
        status = hpx_conn_reconnect(p1_conn, (hpx_span){0});
        break;
    case 3:
        status = hpx_conn_request(p1_conn, text, 0, p1_on_reply, NULL, NULL);
        break;
    case 4:
        status = hpx_conn_request_raw(p1_conn, &id, text, 0, p1_on_reply, NULL, NULL);
        break;
    case 5:
        status = hpx_conn_request_cancel(p1_conn, 1);
        break;
    case 6:
        status = hpx_conn_subscribe(p1_conn, &text, 1, p1_on_update, NULL, &sub, NULL);
        break;
    default:
        hpx_conn_unsubscribe(p1_conn, p1_subscription);
        break;
    }
    (void)status;
}

static void *p1_thread(void *argument)
{
    p1_call((unsigned)(uintptr_t)argument);
    return NULL;
}

/* In a child: the call, from a thread that is not the shard's or from the one that is. */
static int p1_child(unsigned which, bool foreign)
{
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        pthread_t thread;
        (void)close(STDERR_FILENO); /* the assertion's words */
        (void)signal(SIGABRT, SIG_DFL);
        if (!foreign) {
            p1_call(which);
        } else if (
            pthread_create(&thread, NULL, p1_thread, (void *)(uintptr_t)which) != 0 ||
            pthread_join(thread, NULL) != 0) {
            _exit(2);
        }
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* One owner: a call from any other thread is stopped before it touches anything. */
static void test_p1_connection_when_touched_by_another_thread_then_stopped(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    r.config.on_event = p1_on_event;
    hpx_error error;
    const hpx_span topic = hpx_span_of("t");
    assert_int_equal(hpx_shard_connect(r.bed.shard, &r.config, &p1_conn, &error), HPX_OK);
    assert_int_equal(
        hpx_conn_subscribe(p1_conn, &topic, 1, p1_on_update, NULL, &p1_subscription, &error),
        HPX_OK);
    session_bed_until(&r.bed, &r.bed.venue.subscribe_topics, 1);
    session_bed_run(&r.bed, 5 * MS);
    assert_int_equal(hpx_conn_get_state(p1_conn), HPX_CONN_READY);
    for (unsigned which = 0; which < P1_CALLS; which++) {
        const int foreign = p1_child(which, true);
        assert_true(WIFSIGNALED(foreign) && WTERMSIG(foreign) == SIGABRT);
        const int own = p1_child(which, false);
        assert_true(WIFEXITED(own) && WEXITSTATUS(own) == 0);
    }
    session_bed_close(&r.bed);
}

/* ---- P7 -------------------------------------------------------------------------------------- */

/* All events up to CLOSED, which has to come, once and last. */
static hpx_error until_closed(session_bed *bed, hpx_stream *stream)
{
    hpx_event event;
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    hpx_error error = {0};
    for (bool closed = false; !closed;) {
        const int got = hpx_stream_next(stream, &event);
        assert_true(got >= 0);
        if (got == 1) {
            closed = event.kind == HPX_EVENT_CLOSED;
            error = closed ? *event.error : error;
            continue;
        }
        (void)hpx_shard_poll(bed->shard);
        if (hpx_clock_now_ns() > until) {
            fail_msg("CLOSED never came");
        }
    }
    session_bed_run(bed, MS);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(hpx_stream_next(stream, &event), HPX_E_CLOSED);
    }
    return error;
}

static void test_p7_close_when_in_any_state_then_closed(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        place p;
        hpx_handle *handle;
        hpx_stream *stream;
        hpx_subscription *sub;
        place_open(&p, places[i]);
        const hpx_ws_config config = place_config(&p);
        place_reach(&p, &config, &handle, &stream, &sub);
        const uint32_t connects = p.bed.venue.connects;
        const uint64_t start = hpx_clock_now_ns();
        assert_int_equal(hpx_handle_close(handle, 0, (hpx_span){0}), HPX_OK);
        (void)until_closed(&p.bed, stream);
        /* Timeouts of the stages are 5 s and more, and the backoff an hour. */
        assert_true(hpx_clock_now_ns() - start < 4 * HPX_NS_PER_S);
        assert_int_equal(hpx_handle_state(handle), HPX_CONN_CLOSED);
        (void)place_until_gone(&p);
        assert_int_equal(p.bed.venue.connects, connects); /* and nobody comes back */
        hpx_handle_release(handle);
        hpx_stream_release(stream);
        place_close(&p);
    }
}

/* Also when the shard did not turn between connect and close. */
static void test_p7_close_when_idle_then_closed(void **state)
{
    (void)state;
    rig r;
    rig_prepare(&r);
    hpx_error error;
    assert_int_equal(hpx_ws_connect(r.bed.port, &r.config, &r.handle, &r.stream, &error), HPX_OK);
    assert_int_equal(hpx_handle_close(r.handle, 0, (hpx_span){0}), HPX_OK);
    error = until_closed(&r.bed, r.stream);
    assert_int_equal(error.status, HPX_E_ABORTED);
    assert_int_equal(r.bed.venue.connects, 0);
    rig_close(&r);
}

/* Queued before, not on the wire after: close and reconnect overtake ten thousand commands. */
static void p7_overtake(bool close)
{
    enum { COUNT = 10000 };
    rig r;
    rig_prepare(&r);
    r.config.requests_max = COUNT;
    hpx_port_config large = HPX_PORT_CONFIG_INIT;
    large.data_ring_bytes = 4u << 20;
    hpx_port *port;
    hpx_error error;
    assert_int_equal(hpx_port_open(&port, r.bed.engine, &large, &error), HPX_OK);
    rig_connect(&r, port);
    for (unsigned i = 0; i < COUNT; i++) {
        const hpx_status status =
            i % 2 == 0 ? hpx_handle_send(r.handle, HPX_MESSAGE_TEXT, hpx_span_of("stale"))
                       : hpx_handle_request(r.handle, hpx_span_of("req stale"), 0, NULL, NULL);
        assert_int_equal(status, HPX_OK);
    }
    if (close) {
        assert_int_equal(hpx_handle_close(r.handle, 0, (hpx_span){0}), HPX_OK);
        (void)until_closed(&r.bed, r.stream);
    } else {
        assert_int_equal(hpx_handle_reconnect(r.handle, (hpx_span){0}), HPX_OK);
        session_bed_until(&r.bed, &r.bed.venue.connects, 2);
        session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
        session_bed_run(&r.bed, 20 * MS);
    }
    assert_int_equal(r.bed.venue.sends, 0);
    assert_int_equal(r.bed.venue.requests, 0);
    unsigned replies = 0;
    hpx_reply reply;
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (replies < COUNT / 2) { /* some may still stand in the ring */
        (void)hpx_shard_poll(r.bed.shard);
        while (hpx_handle_next_reply(r.handle, &reply) == 1) {
            assert_int_equal(reply.status, HPX_E_DISCONNECTED);
            assert_false(reply.sent);
            replies++;
        }
        assert_true(hpx_clock_now_ns() < until);
    }
    session_bed_run(&r.bed, MS);
    assert_int_equal(hpx_handle_next_reply(r.handle, &reply), 0); /* each of them, once */
    assert_int_equal(r.bed.venue.sends, 0);
    assert_int_equal(r.bed.venue.requests, 0);
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    hpx_handle_release(r.handle);
    hpx_stream_release(r.stream);
    hpx_port_close(port);
    session_bed_close(&r.bed);
}

static void test_p7_control_when_ten_thousand_commands_are_queued_then_overtakes(void **state)
{
    (void)state;
    p7_overtake(true);
    p7_overtake(false);
}

/* ---- P8 -------------------------------------------------------------------------------------- */

/* Reach the state, let go of all handles; how long until the connection is gone. */
static uint64_t p8_release(place *p)
{
    hpx_handle *handle;
    hpx_handle *clone;
    hpx_stream *stream;
    hpx_subscription *sub;
    const hpx_ws_config config = place_config(p);
    place_reach(p, &config, &handle, &stream, &sub);
    assert_int_equal(hpx_handle_clone(handle, p->bed.port, &clone), HPX_OK);
    session_bed_run(&p->bed, MS);
    hpx_handle_release(handle);
    session_bed_run(&p->bed, 2 * MS); /* not the last one */
    if (p->state != HPX_CONN_CLOSING) {
        assert_int_equal(hpx_handle_state(clone), p->state);
    }
    hpx_handle_release(clone);
    const uint64_t took = place_until_gone(p);
    hpx_subscription_release(sub);
    hpx_stream_release(stream);
    session_bed_run(&p->bed, MS);
    return took;
}

static void test_p8_release_of_the_last_handle_when_in_any_state_then_all_is_gone(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        place p;
        place_open(&p, places[i]);
        (void)p8_release(&p); /* the resolver, say, keeps a buffer from its first use */
        const uint32_t descriptors = test_descriptors();
        const size_t blocks = p.memory.live;
        assert_true(p8_release(&p) < HPX_NS_PER_S);
        assert_int_equal(p.memory.live, blocks); /* timers, buffers, topics: all of it */
        assert_int_equal(test_descriptors(), descriptors);
        place_close(&p);
    }
}

/* ---- P11 ------------------------------------------------------------------------------------- */

/* The ways to an end. */
typedef enum p11_way {
    P11_APP_CLOSES,
    P11_PEER_CLOSES,
    P11_PEER_DROPS,
    P11_ATTEMPTS_ARE_OVER,
    P11_AUTH_REFUSED,
    P11_AUTH_SILENT,
    P11_SHARD_DETACHES,
    P11_SHARD_ABORTS,
    P11_UNSUBSCRIBED_THEN_CLOSED,
    P11_CLOSED_TWICE,
    P11_WAYS,
} p11_way;

typedef struct p11_counts {
    uint32_t closed, ended, replies, after;
} p11_counts;

static void p11_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    p11_counts *counts = user;
    (void)conn;
    counts->after += counts->closed;
    counts->closed += event->kind == HPX_EVENT_CLOSED ? 1 : 0;
}

static void
p11_on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    p11_counts *counts = user;
    (void)conn;
    (void)subscription;
    counts->after += counts->closed + counts->ended;
    counts->ended += update->kind == HPX_UPDATE_ENDED ? 1 : 0;
}

static void p11_on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    p11_counts *counts = user;
    (void)conn;
    (void)reply;
    counts->after += counts->closed;
    counts->replies++;
}

static void p11_prepare(rig *r, p11_way way)
{
    rig_prepare(r);
    r->config.reconnect = way == P11_ATTEMPTS_ARE_OVER;
    r->config.attempts_max = 3;
    r->config.request_timeout_ns = way == P11_AUTH_SILENT ? 5 * MS : 0;
    r->dialect.secret = "s";
    r->bed.venue.refuse_auth = way == P11_AUTH_REFUSED;
    r->bed.venue.stall_auth = way == P11_AUTH_SILENT;
    r->bed.venue.keep_requests = true;
}

static bool p11_gets_ready(p11_way way)
{
    return way != P11_AUTH_REFUSED && way != P11_AUTH_SILENT;
}

/* What leads to the end; the port's handle is NULL for an inline connection. */
static void p11_go(rig *r, p11_way way, hpx_conn *conn, hpx_subscription *sub)
{
    venue *v = &r->bed.venue;
    switch (way) {
    case P11_PEER_CLOSES:
        assert_int_equal(hpx_conn_close(venue_only(v)->conn, 1001, (hpx_span){0}), HPX_OK);
        return;
    case P11_PEER_DROPS:
        venue_drop(v);
        return;
    case P11_ATTEMPTS_ARE_OVER:
        v->refuse_auth = true;
        venue_drop(v);
        return;
    case P11_UNSUBSCRIBED_THEN_CLOSED:
        if (conn != NULL) {
            hpx_conn_unsubscribe(conn, sub);
        } else {
            hpx_subscription_unsubscribe(sub);
        }
        break;
    case P11_AUTH_REFUSED:
    case P11_AUTH_SILENT:
    case P11_SHARD_DETACHES:
    case P11_SHARD_ABORTS:
        return; /* of itself, or at the end */
    case P11_APP_CLOSES:
    case P11_CLOSED_TWICE:
    case P11_WAYS:
        break;
    }
    for (unsigned i = 0; i < (way == P11_CLOSED_TWICE ? 2u : 1u); i++) {
        assert_int_equal(
            conn != NULL ? hpx_conn_close(conn, 0, (hpx_span){0})
                         : hpx_handle_close(r->handle, 0, (hpx_span){0}),
            HPX_OK);
    }
}

static void p11_shut(rig *r, p11_way way)
{
    if (way == P11_SHARD_DETACHES || way == P11_SHARD_ABORTS) {
        const hpx_status status =
            hpx_shard_detach_wait(r->bed.shard, way == P11_SHARD_ABORTS ? 0 : 5 * HPX_NS_PER_S);
        assert_true(status == HPX_OK || way == P11_SHARD_ABORTS);
    }
}

static void p11_finish(rig *r, p11_way way)
{
    hpx_port_close(r->bed.port);
    if (way != P11_SHARD_DETACHES && way != P11_SHARD_ABORTS) {
        assert_int_equal(hpx_shard_detach_wait(r->bed.shard, 5 * HPX_NS_PER_S), HPX_OK);
    }
    assert_int_equal(hpx_engine_stop_wait(r->bed.engine, 5 * HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(r->bed.engine);
}

static void p11_port(p11_way way)
{
    enum { REQUESTS = 5 };
    rig r;
    p11_prepare(&r, way);
    hpx_error error;
    hpx_subscription *sub;
    assert_int_equal(hpx_ws_connect(r.bed.port, &r.config, &r.handle, &r.stream, &error), HPX_OK);
    assert_int_equal(hpx_handle_subscribe(r.handle, "t", NULL, &sub, &error), HPX_OK);
    uint32_t asked = 0;
    if (p11_gets_ready(way)) {
        session_bed_until_state(&r.bed, r.handle, HPX_CONN_READY);
        for (; asked < REQUESTS; asked++) {
            assert_int_equal(
                hpx_handle_request(r.handle, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
        }
        session_bed_until(&r.bed, &r.bed.venue.kept_count, REQUESTS);
    }
    p11_go(&r, way, NULL, sub);
    p11_shut(&r, way);
    if (way != P11_SHARD_DETACHES && way != P11_SHARD_ABORTS) {
        session_bed_until_state(&r.bed, r.handle, HPX_CONN_CLOSED);
        session_bed_run(&r.bed, MS);
    }
    p11_counts counts = {0};
    hpx_event event;
    int got;
    while ((got = hpx_stream_next(r.stream, &event)) == 1) {
        counts.after += counts.closed;
        counts.closed += event.kind == HPX_EVENT_CLOSED ? 1 : 0;
    }
    assert_int_equal(got, HPX_E_CLOSED);
    hpx_update update;
    while ((got = hpx_subscription_next(sub, &update)) == 1) {
        counts.after += counts.ended;
        counts.ended += update.kind == HPX_UPDATE_ENDED ? 1 : 0;
    }
    assert_int_equal(got, HPX_E_CLOSED);
    hpx_reply reply;
    while (hpx_handle_next_reply(r.handle, &reply) == 1) {
        assert_int_equal(reply.status, HPX_E_DISCONNECTED);
        counts.replies++;
    }
    assert_int_equal(counts.closed, 1);
    assert_int_equal(counts.ended, 1);
    assert_int_equal(counts.replies, asked);
    assert_int_equal(counts.after, 0);
    assert_int_equal(hpx_handle_pending_count(r.handle), 0);
    p11_finish(&r, way);
}

static void p11_inline(p11_way way)
{
    enum { REQUESTS = 5 };
    rig r;
    p11_prepare(&r, way);
    p11_counts counts = {0};
    r.config.on_event = p11_on_event;
    r.config.user = &counts;
    hpx_error error;
    hpx_conn *conn;
    hpx_subscription *sub;
    const hpx_span topic = hpx_span_of("t");
    uint32_t asked = 0;
    assert_int_equal(hpx_shard_connect(r.bed.shard, &r.config, &conn, &error), HPX_OK);
    assert_int_equal(
        hpx_conn_subscribe(conn, &topic, 1, p11_on_update, &counts, &sub, &error), HPX_OK);
    if (p11_gets_ready(way)) {
        while (hpx_conn_get_state(conn) != HPX_CONN_READY) {
            (void)hpx_shard_poll(r.bed.shard);
        }
        for (; asked < REQUESTS; asked++) {
            assert_int_equal(
                hpx_conn_request(conn, hpx_span_of("req x"), 0, p11_on_reply, &counts, NULL),
                HPX_OK);
        }
        session_bed_until(&r.bed, &r.bed.venue.kept_count, REQUESTS);
    }
    p11_go(&r, way, conn, sub);
    p11_shut(&r, way);
    if (way != P11_SHARD_DETACHES && way != P11_SHARD_ABORTS) {
        session_bed_until(&r.bed, &counts.closed, 1);
        session_bed_run(&r.bed, MS);
    }
    assert_int_equal(counts.closed, 1);
    assert_int_equal(counts.ended, 1);
    assert_int_equal(counts.replies, asked);
    assert_int_equal(counts.after, 0);
    p11_finish(&r, way);
}

static void test_p11_objects_when_they_end_in_any_way_then_told_once_and_last(void **state)
{
    (void)state;
    for (p11_way way = P11_APP_CLOSES; way < P11_WAYS; way++) {
        p11_port(way);
        p11_inline(way);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p1_connection_when_touched_by_another_thread_then_stopped),
        cmocka_unit_test(test_p7_close_when_in_any_state_then_closed),
        cmocka_unit_test(test_p7_close_when_idle_then_closed),
        cmocka_unit_test(test_p7_control_when_ten_thousand_commands_are_queued_then_overtakes),
        cmocka_unit_test(test_p8_release_of_the_last_handle_when_in_any_state_then_all_is_gone),
        cmocka_unit_test(test_p11_objects_when_they_end_in_any_way_then_told_once_and_last),
    };
    return cmocka_run_group_tests_name("engine/promises", tests, NULL, NULL);
}

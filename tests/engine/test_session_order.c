/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: inline and through a port an application sees the same events, the same replies, and per
 * subscription the same updates, in the same order, with the same contents.
 * Method: one script of a venue (greeting, updates, refusals, requests answered, late, twice and
 * never, cancellations, loss, reconnect, a server's goodbye, close) is run twice, once in each
 * form; what was told is written down line by line and compared.
 */
#include <stdio.h>
#include <string.h>

#include "session_bed.h"
#include "tests/support/test.h"

#define MS        HPX_NS_PER_MS
#define LOG_BYTES (256u << 10)
#define SUBS      4u

typedef struct log {
    size_t size;
    char text[LOG_BYTES];
} log;

typedef struct rig {
    bool is_inline;
    session_bed bed;
    toy_dialect dialect;
    hpx_protocol protocol;
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_conn *conn;
    bool closed;
    uint32_t replies, asked;
    uint64_t tokens[1000];
    hpx_subscription *subs[SUBS];
    bool ended[SUBS];
    log events;
    log answers;
    log updates[SUBS];
} rig;

static void write_down(log *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void write_down(log *to, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(to->text + to->size, LOG_BYTES - to->size, format, arguments);
    va_end(arguments);
    assert_in_range(size, 1, LOG_BYTES - to->size - 1);
    to->size += (size_t)size;
}

#define SPAN(s) (int)(s).size, (s).size != 0 ? (const char *)(s).data : ""

/* ---- What is told ---------------------------------------------------------------------------- */

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    rig *r = user;
    (void)conn;
    write_down(
        &r->events,
        "event %d epoch %llu class %d [%.*s] [%.*s] %s %d\n",
        event->kind,
        (unsigned long long)event->epoch,
        event->message_class,
        SPAN(event->payload),
        SPAN(event->raw),
        event->error != NULL ? hpx_status_name(event->error->status) : "-",
        event->error != NULL ? (int)event->error->stage : 0);
    r->closed |= event->kind == HPX_EVENT_CLOSED;
}

static void on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    rig *r = user;
    (void)conn;
    const char *text = reply->payload.size != 0 ? (const char *)reply->payload.data : "";
    write_down(
        &r->answers,
        "token %llu %s sent %d error %d epoch %llu [%.*s]\n",
        (unsigned long long)reply->token,
        hpx_status_name(reply->status),
        reply->sent,
        reply->is_error,
        (unsigned long long)reply->epoch,
        (int)reply->payload.size,
        text);
    r->replies++;
}

static void take_update(rig *r, unsigned i, const hpx_update *update)
{
    write_down(
        &r->updates[i],
        "update %d epoch %llu topic %u [%.*s] [%.*s] missed %llu %s\n",
        update->kind,
        (unsigned long long)update->epoch,
        update->topic_index,
        SPAN(update->topic),
        SPAN(update->payload),
        (unsigned long long)update->missed,
        update->error != NULL ? hpx_status_name(update->error->status) : "-");
    r->ended[i] |= update->kind == HPX_UPDATE_ENDED;
}

static rig *the_rig; /* of the run */

static void
on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    (void)conn;
    (void)subscription;
    const unsigned *index = user;
    take_update(the_rig, *index, update);
}

/* ---- What is done, in either form ------------------------------------------------------------ */

static void drain(rig *r)
{
    if (r->is_inline) {
        return;
    }
    hpx_event event;
    hpx_reply reply;
    hpx_update update;
    while (hpx_stream_next(r->stream, &event) == 1) {
        on_event(NULL, &event, r);
    }
    while (hpx_handle_next_reply(r->handle, &reply) == 1) {
        on_reply(NULL, &reply, r);
    }
    for (unsigned i = 0; i < SUBS; i++) {
        while (r->subs[i] != NULL && hpx_subscription_next(r->subs[i], &update) == 1) {
            take_update(r, i, &update);
        }
    }
}

static void run_for(rig *r, uint64_t ns)
{
    session_bed_run(&r->bed, ns);
    drain(r);
}

static void until(rig *r, const uint32_t *count, uint32_t least)
{
    const uint64_t deadline = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (*count < least) {
        (void)hpx_shard_poll(r->bed.shard);
        drain(r);
        assert_true(hpx_clock_now_ns() < deadline);
    }
}

static hpx_conn_state state_of(const rig *r)
{
    if (!r->is_inline) {
        return hpx_handle_state(r->handle);
    }
    return r->closed ? HPX_CONN_CLOSED : hpx_conn_get_state(r->conn);
}

static void until_state(rig *r, hpx_conn_state wanted)
{
    const uint64_t deadline = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (state_of(r) != wanted) {
        (void)hpx_shard_poll(r->bed.shard);
        drain(r);
        assert_true(hpx_clock_now_ns() < deadline);
    }
}

static void ask(rig *r, const char *text, uint64_t timeout_ns)
{
    uint64_t *token = &r->tokens[r->asked++];
    const hpx_span payload = hpx_span_of(text);
    assert_int_equal(
        r->is_inline ? hpx_conn_request(r->conn, payload, timeout_ns, on_reply, r, token)
                     : hpx_handle_request(r->handle, payload, timeout_ns, r, token),
        HPX_OK);
}

static void cancel(rig *r, uint32_t which)
{
    assert_int_equal(
        r->is_inline ? hpx_conn_request_cancel(r->conn, r->tokens[which])
                     : hpx_request_cancel(r->handle, r->tokens[which]),
        HPX_OK);
}

static void subscribe(rig *r, unsigned i, const char *const *names, uint32_t count)
{
    static unsigned indices[SUBS] = {0, 1, 2, 3};
    hpx_span topics[8];
    hpx_error error;
    for (uint32_t t = 0; t < count; t++) {
        topics[t] = hpx_span_of(names[t]);
    }
    assert_int_equal(
        r->is_inline
            ? hpx_conn_subscribe(
                  r->conn, topics, count, on_update, &indices[i], &r->subs[i], &error)
            : hpx_handle_subscribe_many(r->handle, topics, count, NULL, &r->subs[i], &error),
        HPX_OK);
}

static void unsubscribe(rig *r, unsigned i)
{
    if (r->is_inline) {
        hpx_conn_unsubscribe(r->conn, r->subs[i]);
    } else {
        hpx_subscription_unsubscribe(r->subs[i]);
    }
}

static void connect_rig(rig *r)
{
    hpx_ws_config config = session_bed_config(&r->bed, &r->protocol);
    hpx_error error;
    if (r->is_inline) {
        config.on_event = on_event;
        config.user = r;
        assert_int_equal(hpx_shard_connect(r->bed.shard, &config, &r->conn, &error), HPX_OK);
    } else {
        assert_int_equal(
            hpx_ws_connect(r->bed.port, &config, &r->handle, &r->stream, &error), HPX_OK);
    }
}

/* ---- The script ------------------------------------------------------------------------------ */

static void script_topics(rig *r)
{
    venue *v = &r->bed.venue;
    static const char *const sets[SUBS][3] = {
        {"a", "b", NULL}, {"b", "c", NULL}, {"bad", "a", NULL}, {"bad", NULL, NULL}};
    for (unsigned i = 0; i < SUBS; i++) {
        subscribe(r, i, sets[i], i == 3 ? 1 : 2);
    }
    until_state(r, HPX_CONN_READY);
    run_for(r, 5 * MS);
    for (unsigned i = 0; i < 60; i++) {
        static const char *const names[] = {"a", "b", "c", "d"};
        venue_say(v, "upd %s %u", names[i * 7 % 4], i);
        if (i % 9 == 0) {
            venue_say(v, "sys %u", i);
        }
        if (i % 20 == 0) {
            venue_say(v, "gibberish %u", i);
        }
    }
    run_for(r, 5 * MS);
}

static void script_requests(rig *r)
{
    venue *v = &r->bed.venue;
    for (unsigned i = 0; i < 20; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), i % 5 == 4 ? "req fail" : "req %u", i);
        ask(r, text, 0);
    }
    until(r, &r->replies, r->asked);
    v->answer_twice = true;
    ask(r, "req twice", 0);
    until(r, &r->replies, r->asked);
    v->answer_twice = false;
    v->keep_requests = true;
    ask(r, "req one", 0);
    ask(r, "req late", MS);
    ask(r, "req two", 0);
    until(r, &v->kept_count, 3);
    until(r, &r->replies, r->asked - 2); /* the timeout */
    venue_answer(v, 1, "late");
    venue_answer(v, 2, "two");
    venue_answer(v, 0, "one"); /* in the other order */
    until(r, &r->replies, r->asked);
    ask(r, "req cancelled", 0);
    until(r, &v->kept_count, 4);
    cancel(r, r->asked - 1);
    until(r, &r->replies, r->asked);
}

static void script_losses(rig *r)
{
    venue *v = &r->bed.venue;
    ask(r, "req lost", 0);
    until(r, &v->kept_count, 5);
    venue_say(v, "upd a last");
    run_for(r, 2 * MS);
    venue_drop(v);
    until(r, &v->connects, 2);
    until_state(r, HPX_CONN_READY);
    venue_answer(v, 4, "of another epoch");
    venue_say(v, "upd a again");
    run_for(r, 2 * MS);
    unsubscribe(r, 1);
    run_for(r, 2 * MS);
    venue_say(v, "upd b for the first only");
    venue_say(v, "bye now");
    until(r, &v->connects, 3);
    until_state(r, HPX_CONN_READY);
    run_for(r, 2 * MS);
    if (r->is_inline) {
        assert_int_equal(hpx_conn_close(r->conn, 4001, hpx_span_of("done")), HPX_OK);
    } else {
        assert_int_equal(hpx_handle_close(r->handle, 4001, hpx_span_of("done")), HPX_OK);
    }
    until_state(r, HPX_CONN_CLOSED);
    run_for(r, MS);
}

static rig *run(bool is_inline)
{
    rig *r = calloc(1, sizeof(*r));
    assert_non_null(r);
    the_rig = r;
    r->is_inline = is_inline;
    session_bed_open(&r->bed);
    r->dialect.secret = "s";
    r->dialect.greets = true;
    r->bed.venue.greets = true;
    r->bed.venue.refuse_topic = "bad";
    r->protocol = toy_protocol(&r->dialect);
    connect_rig(r);
    script_topics(r);
    script_requests(r);
    script_losses(r);
    assert_true(r->closed);
    for (unsigned i = 0; i < SUBS; i++) {
        assert_true(r->ended[i]);
    }
    session_bed_close(&r->bed);
    return r;
}

/* Line by line, so that a failure is short. */
static void assert_same(const char *what, const log *port, const log *inlined)
{
    const char *a = port->text;
    const char *b = inlined->text;
    while (*a != '\0' || *b != '\0') {
        const int size_a = (int)strcspn(a, "\n");
        const int size_b = (int)strcspn(b, "\n");
        if (size_a != size_b || memcmp(a, b, (size_t)size_a) != 0) {
            fail_msg("%s: port \"%.*s\", inline \"%.*s\"", what, size_a, a, size_b, b);
        }
        a += size_a + (a[size_a] != '\0' ? 1 : 0);
        b += size_b + (b[size_b] != '\0' ? 1 : 0);
    }
}

static void test_events_when_inline_and_when_through_a_port_then_the_same_in_order(void **state)
{
    (void)state;
    rig *through_port = run(false);
    rig *inlined = run(true);
    assert_same("events", &through_port->events, &inlined->events);
    assert_same("replies", &through_port->answers, &inlined->answers);
    for (unsigned i = 0; i < SUBS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "updates %u", i);
        assert_same(name, &through_port->updates[i], &inlined->updates[i]);
        assert_true(inlined->updates[i].size > 100);
    }
    assert_int_equal(inlined->replies, inlined->asked);
    assert_true(inlined->events.size > 500 && inlined->answers.size > 1000);
    free(through_port);
    free(inlined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_when_inline_and_when_through_a_port_then_the_same_in_order),
    };
    return cmocka_run_group_tests_name("engine/session_order", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: requests and updates allocate nothing in steady state, in either form, for every kind of
 * subscriber (P12); and when any one allocation fails on the way from the engine's start through
 * authentication, subscription, requests, loss and reconnect to the end, nothing crashes, nothing
 * leaks, every accepted request completes once and every object ends once (P3, P11).
 * Method: the venue of session_bed.h on an allocator that counts, and malloc itself counted by
 * interposition (not under a sanitizer, which has its own); then the whole life with the first,
 * the second, ... allocation failing.
 */
#include <stdio.h>
#include <string.h>

#include "session_bed.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define MS HPX_NS_PER_MS

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS_MALLOC 0
#endif
#endif
#ifndef COUNTS_MALLOC
#define COUNTS_MALLOC 1
#endif

static uint64_t mallocs;

#if COUNTS_MALLOC
/* glibc's own names for what is interposed here. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t align, size_t size);

void *malloc(size_t size)
{
    mallocs++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    mallocs++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size)
{
    mallocs++;
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t align, size_t size)
{
    mallocs++;
    return __libc_memalign(align, size);
}
#endif

/* ---- Steady state ---------------------------------------------------------------------------- */

enum {
    WARM_UP = 1000,
    ROUNDS = COUNTS_MALLOC ? 20000 : 3000,
    POLICIES = 4,
    INLINE_SUBS = 2,
};

typedef struct steady {
    session_bed bed;
    toy_dialect dialect;
    hpx_protocol protocol;
    failing_allocator memory;
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_conn *conn; /* inline */
    hpx_subscription *subs[POLICIES];
    uint32_t replies, updates, asked;
} steady;

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)conn;
    (void)event;
    (void)user;
}

static void on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    steady *s = user;
    (void)conn;
    assert_int_equal(reply->status, HPX_OK);
    s->replies++;
}

static void
on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    steady *s = user;
    (void)conn;
    (void)subscription;
    s->updates += update->kind == HPX_UPDATE_MESSAGE ? 1 : 0;
}

static void steady_open(steady *s)
{
    memset(s, 0, sizeof(*s));
    s->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    hpx_engine_config engine = HPX_ENGINE_CONFIG_INIT;
    engine.allocator = fa_allocator(&s->memory);
    session_bed_open_with(&s->bed, &engine);
    s->protocol = toy_protocol(&s->dialect);
    hpx_ws_config config = session_bed_config(&s->bed, &s->protocol);
    config.ping_interval_ns = HPX_NEVER;
    hpx_error error;
    assert_int_equal(hpx_ws_connect(s->bed.port, &config, &s->handle, &s->stream, &error), HPX_OK);
    config.on_event = on_event;
    assert_int_equal(hpx_shard_connect(s->bed.shard, &config, &s->conn, &error), HPX_OK);
    session_bed_until(&s->bed, &s->bed.venue.connects, 2);
    for (unsigned i = 0; i < POLICIES; i++) {
        hpx_subscribe_config sub = HPX_SUBSCRIBE_CONFIG_INIT;
        sub.overflow = (hpx_overflow)i;
        assert_int_equal(hpx_handle_subscribe(s->handle, "t", &sub, &s->subs[i], &error), HPX_OK);
    }
    const hpx_span topic = hpx_span_of("t");
    for (unsigned i = 0; i < INLINE_SUBS; i++) {
        hpx_subscription *sub;
        assert_int_equal(
            hpx_conn_subscribe(s->conn, &topic, 1, on_update, s, &sub, &error), HPX_OK);
    }
    session_bed_run(&s->bed, 20 * MS);
}

/* One request of each form, one update to each subscriber. */
static void steady_round(steady *s, uint32_t round)
{
    const hpx_request_id raw = {.kind = HPX_ID_NUMBER, .number = 7};
    const hpx_span text = hpx_span_of("req steady");
    const uint32_t replies = s->replies;
    if (round % 4 == 0) {
        assert_int_equal(
            hpx_handle_request_raw(s->handle, &raw, hpx_span_of("req 7 raw"), 0, NULL, NULL),
            HPX_OK);
        assert_int_equal(
            hpx_conn_request_raw(s->conn, &raw, hpx_span_of("req 7 raw"), 0, on_reply, s, NULL),
            HPX_OK);
    } else {
        assert_int_equal(hpx_handle_request(s->handle, text, 0, NULL, NULL), HPX_OK);
        assert_int_equal(hpx_conn_request(s->conn, text, 0, on_reply, s, NULL), HPX_OK);
    }
    for (unsigned i = 0; i < VENUE_CLIENTS_MAX; i++) {
        hpx_conn *conn = s->bed.venue.clients[i].conn;
        if (conn != NULL) {
            assert_int_equal(
                hpx_conn_send(conn, HPX_MESSAGE_TEXT, hpx_span_of("upd t steady")), HPX_OK);
        }
    }
    hpx_reply reply;
    bool answered = false;
    while (!answered || s->replies == replies) {
        (void)hpx_shard_poll(s->bed.shard);
        if (hpx_handle_next_reply(s->handle, &reply) == 1) {
            assert_int_equal(reply.status, HPX_OK);
            answered = true;
        }
    }
    for (unsigned i = 0; i < POLICIES; i++) {
        hpx_update update;
        while (hpx_subscription_next(s->subs[i], &update) == 1) {
            s->updates += update.kind == HPX_UPDATE_MESSAGE ? 1 : 0;
        }
    }
}

static void test_p12_requests_and_updates_when_steady_then_nothing_is_allocated(void **state)
{
    (void)state;
    steady s;
    steady_open(&s);
    for (uint32_t i = 0; i < WARM_UP; i++) {
        steady_round(&s, i);
    }
    const size_t allocations = s.memory.count;
    const uint64_t mallocs_before = mallocs;
    hpx_shard_stats before;
    hpx_shard_stats after;
    hpx_shard_get_stats(s.bed.shard, &before);
    const uint32_t updates = s.updates;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        steady_round(&s, i);
    }
    const uint64_t mallocs_after = mallocs;
    hpx_shard_get_stats(s.bed.shard, &after);
    assert_int_equal(s.memory.count - allocations, 0);
    assert_int_equal(after.allocations - before.allocations, 0);
    assert_int_equal(mallocs_after - mallocs_before, 0);
    assert_true(s.updates - updates >= ROUNDS * (POLICIES + INLINE_SUBS) - 2 * POLICIES);
    /* Of both ends together: a request, an answer, an update, at most, for each connection. */
    assert_true(after.send_syscalls - before.send_syscalls <= 6u * ROUNDS);
    for (unsigned i = 0; i < POLICIES; i++) {
        hpx_subscription_release(s.subs[i]);
    }
    hpx_handle_release(s.handle);
    hpx_stream_release(s.stream);
    session_bed_close(&s.bed);
    assert_int_equal(s.memory.live, 0);
}

/* ---- Every allocation failing ---------------------------------------------------------------- */

typedef struct life {
    session_bed bed;
    toy_dialect dialect;
    hpx_protocol protocol;
    bool expect_success;
    hpx_handle *handle;
    hpx_handle *clone;
    hpx_stream *stream;
    hpx_subscription *sub;
    hpx_conn *conn;          /* inline */
    uint32_t asked, replies; /* of both handles; or inline */
    uint32_t answered;       /* of them, with HPX_OK */
    uint32_t ended, closed, connected;
} life;

static char large[300u << 10];

static void life_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    life *l = user;
    (void)conn;
    assert_int_equal(l->closed, 0);
    l->connected += event->kind == HPX_EVENT_CONNECTED ? 1 : 0;
    l->closed += event->kind == HPX_EVENT_CLOSED ? 1 : 0;
}

static void life_on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    life *l = user;
    (void)conn;
    assert_int_equal(l->closed, 0);
    l->replies++;
    l->answered += reply->status == HPX_OK ? 1 : 0;
}

static void
life_on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    life *l = user;
    (void)conn;
    (void)subscription;
    assert_int_equal(l->ended + l->closed, 0);
    l->ended += update->kind == HPX_UPDATE_ENDED ? 1 : 0;
}

static void life_drain(life *l)
{
    hpx_event event;
    hpx_reply reply;
    hpx_update update;
    if (l->stream != NULL) {
        while (hpx_stream_next(l->stream, &event) == 1) {
            life_on_event(NULL, &event, l);
        }
    }
    hpx_handle *handles[] = {l->handle, l->clone};
    for (unsigned i = 0; i < 2; i++) {
        while (handles[i] != NULL && hpx_handle_next_reply(handles[i], &reply) == 1) {
            l->replies++;
            l->answered += reply.status == HPX_OK ? 1 : 0;
        }
    }
    while (l->handle != NULL && l->sub != NULL && hpx_subscription_next(l->sub, &update) == 1) {
        assert_int_equal(l->ended, 0);
        l->ended += update.kind == HPX_UPDATE_ENDED ? 1 : 0;
    }
}

static bool life_is_ready(const life *l)
{
    if (l->closed != 0) {
        return false;
    }
    return l->handle != NULL ? hpx_handle_is_connected(l->handle)
                             : hpx_conn_get_state(l->conn) == HPX_CONN_READY;
}

/* Turns until Ready or closed; or until all that was asked has ended. */
static void life_turns(life *l, bool for_replies)
{
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    for (;;) {
        life_drain(l);
        if (for_replies ? l->replies == l->asked : (l->closed != 0 || life_is_ready(l))) {
            return;
        }
        (void)hpx_shard_poll(l->bed.shard);
        assert_true(hpx_clock_now_ns() < until);
    }
}

static void life_ask(life *l, hpx_handle *handle, hpx_span text, const hpx_request_id *raw)
{
    hpx_status status;
    if (handle != NULL) {
        status = raw != NULL ? hpx_handle_request_raw(handle, raw, text, 0, NULL, NULL)
                             : hpx_handle_request(handle, text, 0, NULL, NULL);
    } else {
        status = raw != NULL ? hpx_conn_request_raw(l->conn, raw, text, 0, life_on_reply, l, NULL)
                             : hpx_conn_request(l->conn, text, 0, life_on_reply, l, NULL);
    }
    assert_true(
        status == HPX_OK ||
        (!l->expect_success && (status == HPX_E_NO_MEMORY || status == HPX_E_NOT_CONNECTED)));
    l->asked += status == HPX_OK ? 1 : 0;
}

static void life_requests(life *l)
{
    const hpx_request_id raw = {.kind = HPX_ID_TEXT, .text = hpx_span_of("mine")};
    life_turns(l, false);
    if (l->closed != 0) {
        return;
    }
    life_ask(l, l->handle, hpx_span_of("req one"), NULL);
    life_ask(l, l->handle, hpx_span_of("req mine two"), &raw);
    life_ask(l, l->handle, (hpx_span){.data = (const uint8_t *)large, .size = sizeof(large)}, NULL);
    if (l->clone != NULL) {
        life_ask(l, l->clone, hpx_span_of("req three"), NULL);
    }
    life_turns(l, true);
}

static void life_run(life *l)
{
    life_requests(l);
    venue_drop(&l->bed.venue);
    for (unsigned i = 0; i < 10; i++) {
        (void)hpx_shard_poll(l->bed.shard);
    }
    life_requests(l);
    life_turns(l, false);
    if (l->closed == 0) {
        const hpx_status status = l->handle != NULL ? hpx_handle_close(l->handle, 0, (hpx_span){0})
                                                    : hpx_conn_close(l->conn, 0, (hpx_span){0});
        assert_int_equal(status, HPX_OK);
    }
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (l->closed == 0) {
        (void)hpx_shard_poll(l->bed.shard);
        life_drain(l);
        assert_true(hpx_clock_now_ns() < until);
    }
    for (unsigned i = 0; i < 5; i++) {
        (void)hpx_shard_poll(l->bed.shard);
        life_drain(l);
    }
    assert_int_equal(l->replies, l->asked);
    assert_int_equal(l->closed, 1);
    assert_int_equal(l->ended, l->sub != NULL ? 1 : 0);
    if (l->expect_success) {
        assert_int_equal(l->connected, 2);
        assert_int_equal(l->answered, l->asked);
        assert_non_null(l->sub);
    }
}

static bool life_open(life *l, hpx_allocator allocator, bool expect_success)
{
    memset(l, 0, sizeof(*l));
    memset(large, 'x', sizeof(large));
    memcpy(large, "req large ", 10);
    hpx_engine_config engine = HPX_ENGINE_CONFIG_INIT;
    engine.allocator = allocator;
    l->expect_success = expect_success;
    if (!session_bed_try_open(&l->bed, &engine)) {
        assert_false(expect_success);
        return false;
    }
    l->bed.venue.may_lack_memory = true;
    l->dialect.secret = "s";
    l->protocol = toy_protocol(&l->dialect);
    return true;
}

static hpx_ws_config life_config(life *l)
{
    hpx_ws_config config = session_bed_config(&l->bed, &l->protocol);
    if (!l->expect_success) { /* for what the venue could not say */
        config.request_timeout_ns = 20 * MS;
        config.upgrade_timeout_ns = 20 * MS;
    }
    return config;
}

static void life_on_a_port(hpx_allocator allocator, bool expect_success)
{
    life l;
    if (!life_open(&l, allocator, expect_success)) {
        return;
    }
    const hpx_ws_config config = life_config(&l);
    hpx_error error;
    hpx_status status = hpx_ws_connect(l.bed.port, &config, &l.handle, &l.stream, &error);
    if (status == HPX_OK) {
        const hpx_span topics[] = {hpx_span_of("a"), hpx_span_of("b")};
        status = hpx_handle_subscribe_many(l.handle, topics, 2, NULL, &l.sub, &error);
        assert_true(status == HPX_OK || (status == HPX_E_NO_MEMORY && !expect_success));
        status = hpx_handle_clone(l.handle, l.bed.port, &l.clone);
        assert_true(status == HPX_OK || (status == HPX_E_NO_MEMORY && !expect_success));
        life_run(&l);
    } else {
        assert_true(status == HPX_E_NO_MEMORY && !expect_success);
    }
    hpx_subscription_release(l.sub);
    hpx_handle_release(l.clone);
    hpx_handle_release(l.handle);
    hpx_stream_release(l.stream);
    session_bed_close(&l.bed);
}

static void life_inline(hpx_allocator allocator, bool expect_success)
{
    life l;
    if (!life_open(&l, allocator, expect_success)) {
        return;
    }
    hpx_ws_config config = life_config(&l);
    config.on_event = life_on_event;
    config.user = &l;
    hpx_error error;
    hpx_status status = hpx_shard_connect(l.bed.shard, &config, &l.conn, &error);
    if (status == HPX_OK) {
        const hpx_span topics[] = {hpx_span_of("a"), hpx_span_of("b")};
        status = hpx_conn_subscribe(l.conn, topics, 2, life_on_update, &l, &l.sub, &error);
        assert_true(status == HPX_OK || (status == HPX_E_NO_MEMORY && !expect_success));
        life_run(&l);
    } else {
        assert_true(status == HPX_E_NO_MEMORY && !expect_success);
    }
    session_bed_close(&l.bed);
}

static void test_memory_when_any_allocation_fails_on_a_port_then_all_ends_once(void **state)
{
    (void)state;
    if (TEST_UNDER_TSAN) {
        skip();
    }
    fa_exhaust(life_on_a_port);
}

static void test_memory_when_any_allocation_fails_inline_then_all_ends_once(void **state)
{
    (void)state;
    if (TEST_UNDER_TSAN) {
        skip();
    }
    fa_exhaust(life_inline);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p12_requests_and_updates_when_steady_then_nothing_is_allocated),
        cmocka_unit_test(test_memory_when_any_allocation_fails_on_a_port_then_all_ends_once),
        cmocka_unit_test(test_memory_when_any_allocation_fails_inline_then_all_ends_once),
    };
    return cmocka_run_group_tests_name("engine/session_memory", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: ports, handles and subscriptions that come and go in any order, on threads of their own,
 * while the connection drops at random: nothing is used after it went (sanitizers), nothing is
 * left, what the server has is what is held, and the wait for one reply leaves the others alone.
 * Method: the market of market.h; each thread opens a port, does things by chance, and closes the
 * port with whatever is open on it; the seed of each thread is its number.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "market.h"
#include "tests/support/test.h"

#define MS          HPX_NS_PER_MS
#define DEADLINE_NS (100 * HPX_NS_PER_S)

enum {
    THREADS = 4,
    LIVES = TEST_UNDER_TSAN ? 60 : 250, /* ports that each thread opens and closes */
    HANDLES = 3,
    SUBS = 6,
    STEPS = 12,
    TOPICS = 40,
};

static market m; /* of the test that runs */
static const hpx_handle *original;

typedef struct worker {
    pthread_t thread;
    uint64_t rng;
    hpx_port *port;
    hpx_handle *handles[HANDLES];
    hpx_subscription *subs[SUBS];
    uint32_t open[HANDLES]; /* requests without reply */
} worker;

static uint32_t below(worker *w, uint32_t n)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return (uint32_t)((w->rng >> 16) % n);
}

static void pause_ns(uint64_t ns)
{
    const struct timespec time = {.tv_nsec = (long)ns};
    (void)nanosleep(&time, NULL);
}

/* ---- Steps ----------------------------------------------------------------------------------- */

static hpx_handle *some_handle(worker *w, unsigned *which)
{
    *which = below(w, HANDLES);
    if (w->handles[*which] == NULL) {
        MARKET_CHECK(hpx_handle_clone(original, w->port, &w->handles[*which]) == HPX_OK);
        w->open[*which] = 0;
    }
    return w->handles[*which];
}

static void step_subscribe(worker *w)
{
    static const uint32_t rings[] = {4096, 65536};
    hpx_span topics[3];
    char names[3][8];
    unsigned which;
    hpx_handle *handle = some_handle(w, &which);
    hpx_subscription **sub = &w->subs[below(w, SUBS)];
    if (*sub != NULL) {
        return;
    }
    const uint32_t count = 1 + below(w, 3);
    const uint32_t first = below(w, TOPICS);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "t.%u", (first + i * 7) % TOPICS);
        topics[i] = hpx_span_of(names[i]);
    }
    hpx_subscribe_config config = HPX_SUBSCRIBE_CONFIG_INIT;
    config.overflow = (hpx_overflow)below(w, 4);
    config.ring_bytes = rings[below(w, 2)];
    hpx_error error;
    MARKET_CHECK(hpx_handle_subscribe_many(handle, topics, count, &config, sub, &error) == HPX_OK);
}

static void step_take(worker *w)
{
    hpx_subscription *sub = w->subs[below(w, SUBS)];
    hpx_update update;
    if (sub == NULL) {
        return;
    }
    int got = below(w, 2) == 0 ? hpx_subscription_wait(sub, &update, MS)
                               : hpx_subscription_next(sub, &update);
    while (got == 1) {
        MARKET_CHECK(update.kind >= HPX_UPDATE_MESSAGE && update.kind <= HPX_UPDATE_ENDED);
        got = hpx_subscription_next(sub, &update);
    }
}

static void step_let_go(worker *w)
{
    hpx_subscription **sub = &w->subs[below(w, SUBS)];
    if (*sub != NULL && below(w, 3) == 0) {
        hpx_subscription_unsubscribe(*sub);
    } else if (*sub != NULL) {
        hpx_subscription_release(*sub);
        *sub = NULL;
    }
}

static void step_request(worker *w)
{
    unsigned which;
    hpx_handle *handle = some_handle(w, &which);
    uint64_t token;
    for (uint32_t i = below(w, 5); i != 0; i--) {
        const hpx_status status =
            hpx_handle_request(handle, hpx_span_of("req x"), (1 + below(w, 5)) * MS, NULL, &token);
        MARKET_CHECK(
            status == HPX_OK || status == HPX_E_NOT_CONNECTED || status == HPX_E_LIMIT ||
            status == HPX_E_AGAIN);
        w->open[which] += status == HPX_OK ? 1 : 0;
        if (status == HPX_OK && below(w, 4) == 0) {
            MARKET_CHECK(hpx_request_cancel(handle, token) == HPX_OK);
        }
    }
}

static void step_replies(worker *w)
{
    const unsigned which = below(w, HANDLES);
    hpx_reply reply;
    while (w->handles[which] != NULL && w->open[which] != 0 &&
           hpx_handle_next_reply(w->handles[which], &reply) == 1) {
        w->open[which]--;
    }
}

static void step_wait(worker *w)
{
    unsigned which;
    hpx_reply reply;
    const hpx_status status =
        hpx_handle_request_wait(some_handle(w, &which), hpx_span_of("req y"), 5 * MS, &reply);
    MARKET_CHECK(
        status == HPX_OK || status == HPX_E_TIMEOUT || status == HPX_E_DISCONNECTED ||
        status == HPX_E_NOT_CONNECTED || status == HPX_E_LIMIT || status == HPX_E_AGAIN);
}

static void step_disturb(worker *w)
{
    unsigned which;
    hpx_handle *handle = some_handle(w, &which);
    switch (below(w, 6)) {
    case 0:
        (void)hpx_handle_reconnect(handle, (hpx_span){0});
        break;
    case 1:
        (void)!hpx_handle_send(handle, HPX_MESSAGE_TEXT, hpx_span_of("kick"));
        break;
    default:
        hpx_handle_release(handle); /* with requests under way, and subscriptions of its own */
        w->handles[which] = NULL;
        break;
    }
}

static void *live(void *argument)
{
    worker *w = argument;
    for (unsigned life = 0; life < LIVES; life++) {
        hpx_error error;
        memset(w->handles, 0, sizeof(w->handles));
        memset(w->subs, 0, sizeof(w->subs));
        hpx_status status;
        while ((status = hpx_port_open(&w->port, m.engine, NULL, &error)) == HPX_E_LIMIT) {
            pause_ns(MS / 10); /* closed ones that a shard has not yet let go */
        }
        MARKET_CHECK(status == HPX_OK);
        for (unsigned i = below(w, STEPS); i != 0; i--) {
            static void (*const steps[])(worker *) = {
                step_subscribe,
                step_subscribe,
                step_take,
                step_let_go,
                step_request,
                step_replies,
                step_wait,
                step_request,
                step_subscribe,
                step_let_go,
                step_disturb,
                step_take,
            };
            steps[below(w, (uint32_t)COUNT_OF(steps))](w);
        }
        hpx_port_close(w->port); /* with all that is open on it */
    }
    return NULL;
}

/* ---- Around it ------------------------------------------------------------------------------- */

static _Atomic bool over;

/* Updates for everybody, and the stream read. */
static void *feed_and_read(void *argument)
{
    hpx_stream *stream = argument;
    hpx_event event;
    while (!atomic_load(&over)) {
        (void)!hpx_stream_wait(stream, &event, MS);
    }
    return NULL;
}

static void until_none_is_held(const hpx_handle *handle)
{
    const uint64_t until = hpx_clock_now_ns() + DEADLINE_NS;
    bool none = false;
    while (!none) {
        const market_client *client = &m.shard.clients[atomic_load(&m.newest)];
        none = hpx_handle_subscription_count(handle) == 0 &&
               hpx_handle_pending_count(handle) == 0 && hpx_handle_is_connected(handle);
        for (uint32_t i = 0; i < MARKET_TOPICS; i++) {
            none = none && atomic_load(&client->holds[i]) == 0;
        }
        pause_ns(MS);
        MARKET_CHECK(hpx_clock_now_ns() < until);
    }
}

static void test_everything_when_it_comes_and_goes_then_nothing_is_left(void **state)
{
    (void)state;
    memset(&m, 0, sizeof(m));
    market_open(&m);
    atomic_store(&m.silent_percent, 10);
    atomic_store(&m.late_percent, 5);
    atomic_store(&m.twice_percent, 5);
    atomic_store(&m.drop_per_mille, 5);
    atomic_store(&m.updates, true);
    hpx_port *port;
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_error error;
    assert_int_equal(hpx_port_open(&port, m.engine, NULL, &error), HPX_OK);
    hpx_ws_config config = market_config(&m);
    config.topics_per_message_max = 3;
    config.requests_max = 40;
    assert_int_equal(hpx_ws_connect(port, &config, &handle, &stream, &error), HPX_OK);
    original = handle;
    worker workers[THREADS] = {{0}};
    pthread_t reader;
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&reader, NULL, feed_and_read, stream), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i].rng = (i + 1) * UINT64_C(0x9E3779B97F4A7C15);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, live, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
    }
    until_none_is_held(handle);
    atomic_store(&over, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(atomic_load(&m.twice), 0);
    assert_int_equal(atomic_load(&m.early), 0);
    assert_int_equal(atomic_load(&m.alive_max), 1);
    assert_true(hpx_handle_epoch(handle) > 3);
    hpx_session_stats stats;
    hpx_handle_get_stats(handle, &stats);
    assert_true(stats.updates != 0);
    hpx_handle_release(handle);
    hpx_stream_release(stream);
    hpx_port_close(port);
    market_close(&m);
}

/* The wait for one reply takes that one only: the others stay, in their order. */
static void test_p3_wait_when_other_requests_are_under_way_then_they_stay(void **state)
{
    (void)state;
    enum { BEFORE = 20 };
    memset(&m, 0, sizeof(m));
    market_open(&m);
    hpx_port *port;
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_error error;
    hpx_event event;
    assert_int_equal(hpx_port_open(&port, m.engine, NULL, &error), HPX_OK);
    const hpx_ws_config config = market_config(&m);
    assert_int_equal(hpx_ws_connect(port, &config, &handle, &stream, &error), HPX_OK);
    assert_int_equal(hpx_stream_wait(stream, &event, DEADLINE_NS), 1);
    assert_int_equal(event.kind, HPX_EVENT_CONNECTED);
    for (unsigned round = 0; round < 50; round++) {
        uint64_t tokens[BEFORE];
        hpx_reply reply;
        for (unsigned i = 0; i < BEFORE; i++) {
            assert_int_equal(
                hpx_handle_request(handle, hpx_span_of("req x"), 0, NULL, &tokens[i]), HPX_OK);
        }
        assert_int_equal(
            hpx_handle_request_wait(handle, hpx_span_of("req x waited"), 0, &reply), HPX_OK);
        assert_true(reply.payload.size > 7);
        assert_memory_equal(reply.payload.data + reply.payload.size - 6, "waited", 6);
        for (unsigned i = 0; i < BEFORE; i++) {
            assert_int_equal(hpx_handle_wait_reply(handle, &reply, DEADLINE_NS), 1);
            assert_int_equal(reply.token, tokens[i]);
        }
        assert_int_equal(hpx_handle_next_reply(handle, &reply), 0);
    }
    hpx_handle_release(handle);
    hpx_stream_release(stream);
    hpx_port_close(port);
    market_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_when_it_comes_and_goes_then_nothing_is_left),
        cmocka_unit_test(test_p3_wait_when_other_requests_are_under_way_then_they_stay),
    };
    return cmocka_run_group_tests_name("engine/session_chaos", tests, NULL, NULL);
}

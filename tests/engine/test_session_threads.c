/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what sessions promise, with threads, reconnects and chance: the capacity for requests is
 * exact with 8 threads (P3); a thousand reconnects with 500 topics and 8 handles on 4 ports leave
 * at the server what is held, one connection at a time, and no descriptor, timer or block behind
 * (P2, P6); of a hundred thousand orders, a third unanswered, on a connection that drops, each ends
 * once and none is on the wire twice (P3, P4, P5); a stream that nobody reads holds up nobody (P9).
 * Method: the market of market.h, ledgers, and barriers where everything is to stand still.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "market.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

#define MS HPX_NS_PER_MS

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define SCALE 12u
#elif __has_feature(address_sanitizer)
#define SCALE 5u
#endif
#endif
#ifndef SCALE
#define SCALE 1u
#endif

#define DEADLINE_NS (100 * HPX_NS_PER_S)

static market m; /* of the test that runs */

static void market_begin(void)
{
    memset(&m, 0, sizeof(m));
    market_open(&m);
}

static void pause_ns(uint64_t ns)
{
    const struct timespec time = {.tv_nsec = (long)ns};
    (void)nanosleep(&time, NULL);
}

static void until_ready(const hpx_handle *handle)
{
    const uint64_t until = hpx_clock_now_ns() + DEADLINE_NS;
    while (!hpx_handle_is_connected(handle)) {
        pause_ns(MS / 20);
        MARKET_CHECK(hpx_clock_now_ns() < until);
    }
}

static hpx_port *open_port(void)
{
    hpx_port *port;
    hpx_error error;
    MARKET_CHECK(hpx_port_open(&port, m.engine, NULL, &error) == HPX_OK);
    return port;
}

/* One more thread: its port, and a clone of the handle there. */
typedef struct worker {
    pthread_t thread;
    uint32_t index;
    uint64_t rng;
    const hpx_handle *original;
    hpx_port *port;
    hpx_handle *handle;
} worker;

static uint32_t below(worker *w, uint32_t n)
{
    w->rng ^= w->rng << 13;
    w->rng ^= w->rng >> 7;
    w->rng ^= w->rng << 17;
    return (uint32_t)((w->rng >> 16) % n);
}

static void worker_begin(worker *w)
{
    w->rng = (w->index + 1) * UINT64_C(0x9E3779B97F4A7C15);
    w->port = open_port();
    MARKET_CHECK(hpx_handle_clone(w->original, w->port, &w->handle) == HPX_OK);
}

static void worker_end(worker *w)
{
    hpx_handle_release(w->handle);
    hpx_port_close(w->port);
}

static void
workers_start(worker *workers, uint32_t count, const hpx_handle *original, void *(*run)(void *))
{
    for (uint32_t i = 0; i < count; i++) {
        workers[i].index = i;
        workers[i].original = original;
        MARKET_CHECK(pthread_create(&workers[i].thread, NULL, run, &workers[i]) == 0);
    }
}

static void workers_join(worker *workers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        MARKET_CHECK(pthread_join(workers[i].thread, NULL) == 0);
    }
}

/* ---- Capacity -------------------------------------------------------------------------------- */

enum {
    CAP_THREADS = 8,
    CAP_MAX = 29,
    CAP_ROUNDS = 60 / (SCALE > 4 ? 4 : 1),
    CAP_FREE = 3000 / SCALE, /* requests of each thread without barriers */
};

static pthread_barrier_t cap_barrier;
static _Atomic uint32_t cap_accepted;
static _Atomic uint64_t cap_go_ns;

static void cap_round(worker *w)
{
    uint32_t mine = 0;
    uint32_t refused = 0;
    if (w->index == 0) {
        atomic_store(&cap_go_ns, hpx_clock_now_ns() + MS / 4);
    }
    (void)pthread_barrier_wait(&cap_barrier);
    while (hpx_clock_now_ns() < atomic_load(&cap_go_ns)) {
        /* A barrier wakes one thread after the other; at a time they begin at once. */
    }
    while (refused < 50) { /* nothing is answered: what is accepted stays */
        const hpx_status status =
            hpx_handle_request(w->handle, hpx_span_of("req x"), HPX_NEVER, NULL, NULL);
        MARKET_CHECK(status == HPX_OK || status == HPX_E_LIMIT);
        mine += status == HPX_OK ? 1 : 0;
        refused += status == HPX_OK ? 0 : 1;
        MARKET_CHECK(hpx_handle_pending_count(w->handle) <= CAP_MAX);
    }
    atomic_fetch_add(&cap_accepted, mine);
    (void)pthread_barrier_wait(&cap_barrier);
    if (w->index == 0) { /* a quiet moment: exactly so many */
        const uint64_t until = hpx_clock_now_ns() + DEADLINE_NS;
        MARKET_CHECK(atomic_exchange(&cap_accepted, 0) == CAP_MAX);
        MARKET_CHECK(hpx_handle_pending_count(w->handle) == CAP_MAX);
        while (atomic_load(&m.kept) != CAP_MAX) {
            pause_ns(MS / 50);
            MARKET_CHECK(hpx_clock_now_ns() < until);
        }
        MARKET_CHECK(hpx_handle_send(w->handle, HPX_MESSAGE_TEXT, hpx_span_of("flush")) == HPX_OK);
    }
    hpx_reply reply;
    for (; mine != 0; mine--) {
        MARKET_CHECK(hpx_handle_wait_reply(w->handle, &reply, DEADLINE_NS) == 1);
        MARKET_CHECK(reply.status == HPX_OK);
    }
    MARKET_CHECK(hpx_handle_next_reply(w->handle, &reply) == 0);
    (void)pthread_barrier_wait(&cap_barrier);
    MARKET_CHECK(hpx_handle_pending_count(w->handle) == 0);
}

/* Answered at once, and asked again and again without a rest: each place that becomes free has all
 * threads after it. */
static void cap_free(worker *w)
{
    static uint8_t ledgers[CAP_THREADS][CAP_FREE];
    uint8_t *ledger = ledgers[w->index];
    uint32_t asked = 0;
    uint32_t answered = 0;
    memset(ledger, 0, CAP_FREE);
    const uint64_t until = hpx_clock_now_ns() + DEADLINE_NS;
    while (answered < CAP_FREE) {
        for (unsigned tries = 0; tries < 100 && asked < CAP_FREE; tries++) {
            const hpx_status status =
                hpx_handle_request(w->handle, hpx_span_of("req x"), 0, &ledger[asked], NULL);
            MARKET_CHECK(hpx_handle_pending_count(w->handle) <= CAP_MAX);
            MARKET_CHECK(status == HPX_OK || status == HPX_E_LIMIT || status == HPX_E_AGAIN);
            asked += status == HPX_OK ? 1 : 0;
        }
        (void)sched_yield();
        hpx_reply reply;
        while (hpx_handle_next_reply(w->handle, &reply) == 1) {
            uint8_t *entry = reply.user;
            MARKET_CHECK(reply.status == HPX_OK);
            MARKET_CHECK(entry >= ledger && entry < ledger + CAP_FREE && *entry == 0);
            *entry = 1;
            answered++;
        }
        MARKET_CHECK(hpx_clock_now_ns() < until);
    }
    hpx_reply reply;
    MARKET_CHECK(hpx_handle_next_reply(w->handle, &reply) == 0);
}

static void *cap_run(void *argument)
{
    worker *w = argument;
    worker_begin(w);
    for (unsigned i = 0; i < CAP_ROUNDS; i++) {
        cap_round(w);
    }
    if (pthread_barrier_wait(&cap_barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
        atomic_store(&m.keep, false);
    }
    (void)pthread_barrier_wait(&cap_barrier);
    cap_free(w);
    worker_end(w);
    return NULL;
}

static void test_p3_capacity_when_eight_threads_ask_then_exact(void **state)
{
    (void)state;
    market_begin();
    atomic_store(&m.keep, true);
    hpx_port *port = open_port();
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_error error;
    hpx_ws_config config = market_config(&m);
    config.requests_max = CAP_MAX;
    assert_int_equal(hpx_ws_connect(port, &config, &handle, &stream, &error), HPX_OK);
    until_ready(handle);
    worker workers[CAP_THREADS] = {{0}};
    assert_int_equal(pthread_barrier_init(&cap_barrier, NULL, CAP_THREADS), 0);
    workers_start(workers, CAP_THREADS, handle, cap_run);
    workers_join(workers, CAP_THREADS);
    (void)pthread_barrier_destroy(&cap_barrier);
    assert_int_equal(hpx_handle_pending_count(handle), 0);
    hpx_session_stats stats;
    hpx_handle_get_stats(handle, &stats);
    assert_int_equal(stats.replies, CAP_ROUNDS * CAP_MAX + CAP_THREADS * CAP_FREE);
    assert_int_equal(stats.unsolicited_replies, 0);
    assert_int_equal(atomic_load(&m.connects), 1);
    hpx_handle_release(handle);
    hpx_stream_release(stream);
    hpx_port_close(port);
    market_close(&m);
}

/* ---- A thousand reconnects ------------------------------------------------------------------- */

enum {
    RE_PORTS = 4,
    RE_HANDLES = 2, /* on each */
    RE_TOPICS = 500,
    RE_CHURN = 3, /* subscriptions of each handle that come and go */
    RE_ROUNDS = 1000 / SCALE,
    RE_KEPT_BLOCKS = 8,
    RE_CALM = 10, /* every so many rounds nobody comes or goes */
};

static pthread_barrier_t re_barrier;
static _Atomic uint32_t re_held[MARKET_TOPICS]; /* times held, by all */

typedef struct re_worker {
    worker base;
    hpx_stream *stream; /* of the first */
    hpx_handle *handles[RE_HANDLES];
    hpx_subscription *fixed[RE_HANDLES];
    hpx_subscription *churn[RE_HANDLES][RE_CHURN];
    uint32_t churn_topic[RE_HANDLES][RE_CHURN];
} re_worker;

static uint32_t re_distinct(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < MARKET_TOPICS; i++) {
        count += atomic_load(&re_held[i]) != 0 ? 1 : 0;
    }
    return count;
}

/* Each handle holds an eighth of the topics for good, and one more, so that some are shared. */
static void re_subscribe(re_worker *w, unsigned h)
{
    enum { SHARE = RE_TOPICS / (RE_PORTS * RE_HANDLES) + 2 };
    hpx_span topics[SHARE];
    char names[SHARE][8];
    const uint32_t first = (w->base.index * RE_HANDLES + h) * (SHARE - 2);
    for (uint32_t i = 0; i < SHARE; i++) {
        const uint32_t topic = (first + i) % RE_TOPICS;
        (void)snprintf(names[i], sizeof(names[i]), "t.%u", topic);
        topics[i] = hpx_span_of(names[i]);
        atomic_fetch_add(&re_held[topic], 1);
    }
    MARKET_CHECK(
        hpx_handle_subscribe_many(w->handles[h], topics, SHARE, NULL, &w->fixed[h], NULL) ==
        HPX_OK);
}

static void re_drop(re_worker *w, unsigned h, unsigned slot)
{
    if (w->churn[h][slot] != NULL) {
        if (below(&w->base, 2) == 0) {
            hpx_subscription_unsubscribe(w->churn[h][slot]); /* both ways are one */
        }
        hpx_subscription_release(w->churn[h][slot]);
        w->churn[h][slot] = NULL;
        atomic_fetch_sub(&re_held[w->churn_topic[h][slot]], 1);
    }
}

static void re_churn(re_worker *w)
{
    const unsigned h = below(&w->base, RE_HANDLES);
    const unsigned slot = below(&w->base, RE_CHURN);
    char name[16];
    re_drop(w, h, slot);
    const uint32_t topic = below(&w->base, RE_TOPICS);
    (void)snprintf(name, sizeof(name), "t.%u", topic);
    hpx_error error;
    MARKET_CHECK(
        hpx_handle_subscribe(w->handles[h], name, NULL, &w->churn[h][slot], &error) == HPX_OK);
    w->churn_topic[h][slot] = topic;
    atomic_fetch_add(&re_held[topic], 1);
}

static void re_take(hpx_subscription *sub)
{
    hpx_update update;
    while (sub != NULL && hpx_subscription_next(sub, &update) == 1) {
        MARKET_CHECK(update.kind == HPX_UPDATE_LIVE || update.kind == HPX_UPDATE_INTERRUPTED);
    }
}

static void re_take_all(re_worker *w)
{
    for (unsigned h = 0; h < RE_HANDLES; h++) {
        re_take(w->fixed[h]);
        for (unsigned slot = 0; slot < RE_CHURN; slot++) {
            re_take(w->churn[h][slot]);
        }
    }
}

/* One of the ways in which a connection goes; sometimes two at once. */
static void re_force(re_worker *w, unsigned round)
{
    static const char *const words[] = {"kick", "leave", "restart"};
    hpx_handle *handle = w->handles[round % RE_HANDLES];
    if (round % 4 != 3) {
        const hpx_status status =
            hpx_handle_send(handle, HPX_MESSAGE_TEXT, hpx_span_of(words[round % 4]));
        MARKET_CHECK(status == HPX_OK || status == HPX_E_NOT_CONNECTED);
    }
    if (round % 4 == 3 || round % 8 == 0) {
        MARKET_CHECK(hpx_handle_reconnect(handle, hpx_span_of("test")) == HPX_OK);
    }
}

static void re_until_epoch(re_worker *w, uint64_t epoch)
{
    hpx_event event = {0};
    uint64_t seen = 0;
    while (seen < epoch) {
        MARKET_CHECK(hpx_stream_wait(w->stream, &event, DEADLINE_NS) == 1);
        MARKET_CHECK(event.kind == HPX_EVENT_CONNECTED || event.kind == HPX_EVENT_DISCONNECTED);
        seen = event.kind == HPX_EVENT_CONNECTED ? event.epoch : seen;
    }
}

/* A request that was answered: all that this port did before has been done. */
static void re_fence(re_worker *w)
{
    hpx_reply reply;
    const uint64_t until = hpx_clock_now_ns() + DEADLINE_NS;
    while (hpx_handle_request_wait(w->handles[1], hpx_span_of("req x"), 0, &reply) != HPX_OK) {
        pause_ns(MS / 20);
        MARKET_CHECK(hpx_clock_now_ns() < until);
    }
}

static bool re_server_is_held(void)
{
    const market_client *client = &m.shard.clients[atomic_load(&m.newest)];
    for (uint32_t i = 0; i < MARKET_TOPICS; i++) {
        if (atomic_load(&client->holds[i]) != (atomic_load(&re_held[i]) != 0 ? 1 : 0)) {
            return false;
        }
    }
    return true;
}

/* Everybody stands still: the server's multiset becomes the set that is held. */
static void re_check(const re_worker *w, bool calm)
{
    const uint64_t until = hpx_clock_now_ns() + DEADLINE_NS;
    while (!re_server_is_held() || !hpx_handle_is_connected(w->handles[0]) ||
           hpx_handle_subscription_count(w->handles[0]) != re_distinct()) {
        pause_ns(MS / 20);
        MARKET_CHECK(hpx_clock_now_ns() < until);
    }
    const market_client *client = &m.shard.clients[atomic_load(&m.newest)];
    if (calm) { /* each once, and none let go */
        MARKET_CHECK(atomic_load(&client->subscribed) == re_distinct());
        MARKET_CHECK(atomic_load(&client->unsubscribed) == 0);
    }
    MARKET_CHECK(atomic_load(&m.twice) == 0);
    MARKET_CHECK(atomic_load(&m.early) == 0);
    MARKET_CHECK(atomic_load(&m.alive_max) == 1);
}

static void *re_run(void *argument)
{
    re_worker *w = argument;
    const bool leads = w->base.index == 0;
    for (unsigned h = 0; h < RE_HANDLES; h++) {
        re_subscribe(w, h);
    }
    for (unsigned round = 0; round < RE_ROUNDS; round++) {
        const bool calm = round % RE_CALM == 0;
        (void)pthread_barrier_wait(&re_barrier);
        if (leads && round > 0 && (round - 1) % RE_CALM == 0) {
            re_check(w, false);
        }
        const uint64_t epoch = hpx_handle_epoch(w->handles[0]);
        if (leads) {
            re_force(w, round);
        }
        for (unsigned i = 0; i < 4 && !calm; i++) {
            re_churn(w);
        }
        if (leads) {
            re_until_epoch(w, epoch + 1);
        }
        re_fence(w);
        re_take_all(w);
        (void)pthread_barrier_wait(&re_barrier);
        if (leads) {
            re_check(w, calm && round > 0);
        }
    }
    (void)pthread_barrier_wait(&re_barrier);
    for (unsigned h = 0; h < RE_HANDLES; h++) {
        hpx_subscription_release(w->fixed[h]);
        for (unsigned slot = 0; slot < RE_CHURN; slot++) {
            re_drop(w, h, slot);
        }
    }
    return NULL;
}

/* What a new connection has that restored one topic, which was then let go: nothing under way. */
static size_t re_blocks(re_worker *w)
{
    const uint64_t until = hpx_clock_now_ns() + DEADLINE_NS;
    hpx_handle *handle = w->handles[0];
    hpx_subscription *sub;
    hpx_error error;
    MARKET_CHECK(hpx_handle_subscribe(handle, "t.1", NULL, &sub, &error) == HPX_OK);
    const uint64_t epoch = hpx_handle_epoch(handle);
    MARKET_CHECK(hpx_handle_reconnect(handle, (hpx_span){0}) == HPX_OK);
    re_until_epoch(w, epoch + 1);
    hpx_subscription_release(sub);
    const market_client *client = &m.shard.clients[atomic_load(&m.newest)];
    bool none = false;
    while (!none || hpx_handle_subscription_count(handle) != 0) {
        none = true;
        for (uint32_t i = 0; i < MARKET_TOPICS; i++) {
            none = none && atomic_load(&client->holds[i]) == 0;
        }
        pause_ns(MS / 10);
        MARKET_CHECK(hpx_clock_now_ns() < until);
    }
    size_t blocks = m.memory.live;
    for (unsigned quiet = 0; quiet < 20; quiet++) { /* the shards' last references */
        pause_ns(5 * MS);
        quiet = m.memory.live == blocks ? quiet : 0;
        blocks = m.memory.live;
    }
    return blocks;
}

static void re_open_port(re_worker *w, uint32_t index, const hpx_handle *original)
{
    w->base.index = index;
    w->base.rng = (index + 1) * UINT64_C(0x9E3779B97F4A7C15);
    w->base.port = open_port();
    for (unsigned h = 0; h < RE_HANDLES; h++) {
        assert_int_equal(hpx_handle_clone(original, w->base.port, &w->handles[h]), HPX_OK);
    }
}

static void test_p6_topics_when_a_thousand_reconnects_then_server_has_what_is_held(void **state)
{
    (void)state;
    static re_worker workers[RE_PORTS];
    memset(workers, 0, sizeof(workers));
    market_begin();
    hpx_port *port = open_port();
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_error error;
    const hpx_ws_config config = market_config(&m);
    assert_int_equal(hpx_ws_connect(port, &config, &handle, &stream, &error), HPX_OK);
    until_ready(handle);
    for (uint32_t i = 0; i < RE_PORTS; i++) {
        re_open_port(&workers[i], i, handle);
    }
    workers[0].stream = stream;
    hpx_handle_release(handle); /* 8 handles are left, on 4 ports */
    const size_t blocks = re_blocks(&workers[0]);
    const uint32_t descriptors = test_descriptors();
    assert_int_equal(pthread_barrier_init(&re_barrier, NULL, RE_PORTS), 0);
    /* Ports are used by one thread at a time: theirs, then this one again. */
    for (uint32_t i = 0; i < RE_PORTS; i++) {
        assert_int_equal(pthread_create(&workers[i].base.thread, NULL, re_run, &workers[i]), 0);
    }
    for (uint32_t i = 0; i < RE_PORTS; i++) {
        assert_int_equal(pthread_join(workers[i].base.thread, NULL), 0);
    }
    (void)pthread_barrier_destroy(&re_barrier);
    assert_true(hpx_handle_epoch(workers[0].handles[0]) >= RE_ROUNDS);
    /* A socket's slot keeps its two buffers for the next one: a few may have been made late. A
     * block for each reconnect, or each topic, would be hundreds. */
    const size_t blocks_after = re_blocks(&workers[0]);
    assert_true(blocks_after <= blocks + RE_KEPT_BLOCKS);
    assert_int_equal(test_descriptors(), descriptors);
    for (uint32_t i = 0; i < RE_PORTS; i++) {
        for (unsigned h = 0; h < RE_HANDLES; h++) {
            hpx_handle_release(workers[i].handles[h]);
        }
        if (i == 0) {
            hpx_stream_release(stream);
        }
        hpx_port_close(workers[i].base.port);
    }
    hpx_port_close(port);
    market_close(&m);
}

/* ---- Orders ---------------------------------------------------------------------------------- */

enum {
    ORDER_THREADS = 4,
    ORDERS = 30000 / SCALE, /* accepted, of each thread */
    ORDER_IDS = MARKET_ORDERS / ORDER_THREADS,
    ORDER_WINDOW = 64,
};

typedef enum order_state {
    ORDER_NONE = 0,
    ORDER_REFUSED,  /* at once: it must never be on the wire */
    ORDER_OPEN,     /* accepted */
    ORDER_ANSWERED, /* and how it ended */
    ORDER_UNSENT,
    ORDER_UNKNOWN, /* sent, and no answer came */
} order_state;

static uint8_t order_states[MARKET_ORDERS];

static void order_take(uint32_t *open, hpx_handle *handle)
{
    hpx_reply reply;
    if (hpx_handle_wait_reply(handle, &reply, MS / 2) != 1) {
        return;
    }
    do {
        uint8_t *order = reply.user;
        char expected[32];
        MARKET_CHECK(order >= order_states && order < order_states + MARKET_ORDERS);
        MARKET_CHECK(*order == ORDER_OPEN); /* completed once */
        const int size = snprintf(expected, sizeof(expected), " ok %td", order - order_states);
        switch (reply.status) {
        case HPX_OK: /* the answer to this one and no other */
            MARKET_CHECK(reply.sent && reply.payload.size > (size_t)size);
            MARKET_CHECK(
                memcmp(
                    reply.payload.data + reply.payload.size - (size_t)size,
                    expected,
                    (size_t)size) == 0 ||
                memcmp(reply.payload.data + reply.payload.size - 8, " ok late", 8) == 0);
            *order = ORDER_ANSWERED;
            break;
        case HPX_E_TIMEOUT:
        case HPX_E_DISCONNECTED:
        case HPX_E_CANCELLED:
            MARKET_CHECK(reply.payload.size == 0);
            *order = reply.sent ? ORDER_UNKNOWN : ORDER_UNSENT;
            break;
        default:
            market_fail(hpx_status_name(reply.status), __FILE__, __LINE__);
        }
        (*open)--;
    } while (hpx_handle_next_reply(handle, &reply) == 1);
}

static void *order_run(void *argument)
{
    worker *w = argument;
    uint32_t next = w->index * ORDER_IDS;
    uint32_t accepted = 0;
    uint32_t open = 0;
    worker_begin(w);
    const uint64_t until = hpx_clock_now_ns() + DEADLINE_NS;
    while (accepted < ORDERS || open != 0) {
        hpx_status status = HPX_E_LIMIT;
        if (accepted < ORDERS && open < ORDER_WINDOW) {
            char text[32];
            uint64_t token;
            MARKET_CHECK(next < (w->index + 1) * ORDER_IDS);
            (void)snprintf(text, sizeof(text), "req order %u", next);
            status = hpx_handle_request(
                w->handle, hpx_span_of(text), (2 + below(w, 10)) * MS, &order_states[next], &token);
            MARKET_CHECK(
                status == HPX_OK || status == HPX_E_LIMIT || status == HPX_E_AGAIN ||
                status == HPX_E_NOT_CONNECTED);
            order_states[next++] = status == HPX_OK ? ORDER_OPEN : ORDER_REFUSED;
            accepted += status == HPX_OK ? 1 : 0;
            open += status == HPX_OK ? 1 : 0;
            if (status == HPX_OK && below(w, 100) == 0) {
                (void)hpx_request_cancel(w->handle, token);
            }
            if (status == HPX_E_NOT_CONNECTED) {
                pause_ns(MS / 5);
            }
        }
        if (status != HPX_OK && open != 0) {
            order_take(&open, w->handle);
        }
        MARKET_CHECK(hpx_clock_now_ns() < until);
    }
    hpx_reply reply;
    MARKET_CHECK(hpx_handle_next_reply(w->handle, &reply) == 0);
    worker_end(w);
    return NULL;
}

/* Reads the stream, so that reconnection goes on. */
static _Atomic bool order_over;

static void *order_read(void *argument)
{
    hpx_stream *stream = argument;
    uint64_t epoch = 0;
    bool up = false;
    while (!atomic_load(&order_over)) {
        hpx_event event;
        if (hpx_stream_wait(stream, &event, 5 * MS) != 1) {
            continue;
        }
        if (event.kind == HPX_EVENT_CONNECTED) {
            MARKET_CHECK(!up && event.epoch == epoch + 1);
            epoch = event.epoch;
            up = true;
        } else if (event.kind == HPX_EVENT_DISCONNECTED) {
            up = false;
        }
    }
    return NULL;
}

static void test_p5_orders_when_connection_drops_at_random_then_each_ends_once(void **state)
{
    (void)state;
    market_begin();
    memset(order_states, 0, sizeof(order_states));
    atomic_store(&m.silent_percent, 30);
    atomic_store(&m.late_percent, 5);
    atomic_store(&m.twice_percent, 2);
    atomic_store(&m.drop_per_mille, 1);
    hpx_port *port = open_port();
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_error error;
    const hpx_ws_config config = market_config(&m);
    assert_int_equal(hpx_ws_connect(port, &config, &handle, &stream, &error), HPX_OK);
    until_ready(handle);
    worker workers[ORDER_THREADS] = {{0}};
    pthread_t reader;
    atomic_store(&order_over, false);
    assert_int_equal(pthread_create(&reader, NULL, order_read, stream), 0);
    workers_start(workers, ORDER_THREADS, handle, order_run);
    workers_join(workers, ORDER_THREADS);
    atomic_store(&order_over, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    assert_int_equal(hpx_handle_pending_count(handle), 0);
    uint32_t counts[ORDER_UNKNOWN + 1] = {0};
    for (uint32_t i = 0; i < MARKET_ORDERS; i++) {
        const uint32_t copies = atomic_load(&m.orders[i]);
        counts[order_states[i]]++;
        assert_true(copies <= 1);
        assert_true(copies == 1 || order_states[i] != ORDER_ANSWERED);
        assert_true(
            copies == 0 || order_states[i] == ORDER_ANSWERED || order_states[i] == ORDER_UNKNOWN);
    }
    hpx_session_stats stats;
    hpx_handle_get_stats(handle, &stats);
    assert_int_equal(counts[ORDER_OPEN], 0);
    assert_int_equal(
        counts[ORDER_ANSWERED] + counts[ORDER_UNSENT] + counts[ORDER_UNKNOWN],
        ORDER_THREADS * ORDERS);
    assert_int_equal(stats.replies, counts[ORDER_ANSWERED]);
    assert_true(stats.unsolicited_replies > 0 && counts[ORDER_UNKNOWN] > 0);
    assert_true(hpx_handle_epoch(handle) > 3);
    hpx_handle_release(handle);
    hpx_stream_release(stream);
    hpx_port_close(port);
    market_close(&m);
}

/* ---- A stream that nobody reads -------------------------------------------------------------- */

static void test_p9_flood_when_stream_is_not_read_then_others_are_served(void **state)
{
    (void)state;
    enum { ROUNDS = 300 / SCALE, BURST = 500 };
    market_begin();
    hpx_port *port = open_port();
    hpx_port *other = open_port();
    hpx_handle *flooded;
    hpx_handle *quiet;
    hpx_stream *unread;
    hpx_stream *stream;
    hpx_error error;
    hpx_ws_config config = market_config(&m);
    config.stream_ring_bytes = 64u << 10;
    assert_int_equal(hpx_ws_connect(port, &config, &flooded, &unread, &error), HPX_OK);
    assert_int_equal(hpx_ws_connect(other, &config, &quiet, &stream, &error), HPX_OK);
    until_ready(flooded);
    until_ready(quiet);
    char text[32];
    (void)snprintf(text, sizeof(text), "flood %u", BURST);
    for (unsigned round = 0; round < ROUNDS; round++) {
        hpx_reply reply;
        assert_int_equal(hpx_handle_send(flooded, HPX_MESSAGE_TEXT, hpx_span_of(text)), HPX_OK);
        for (unsigned i = 0; i < 3; i++) { /* within their time, of either connection */
            hpx_handle *handle = i == 2 ? flooded : quiet;
            assert_int_equal(
                hpx_handle_request_wait(handle, hpx_span_of("req x"), 5 * HPX_NS_PER_S, &reply),
                HPX_OK);
        }
    }
    hpx_shard_stats stats;
    hpx_shard_get_stats(hpx_engine_shard(m.engine, 0), &stats);
    uint64_t missed = 0;
    uint64_t taken = 0;
    hpx_event event;
    assert_int_equal(hpx_handle_close(flooded, 0, (hpx_span){0}), HPX_OK);
    do {
        assert_int_equal(hpx_stream_wait(unread, &event, DEADLINE_NS), 1);
        taken += event.kind == HPX_EVENT_MESSAGE ? 1 : 0;
        missed += event.missed;
    } while (event.kind != HPX_EVENT_CLOSED);
    assert_true(missed > 0);
    assert_true(taken + missed <= ROUNDS * BURST);
    if (event.error->status == HPX_OK) { /* all that was sent had come by then */
        assert_int_equal(stats.messages_dropped, ROUNDS * BURST - taken);
    }
    hpx_handle_release(flooded);
    hpx_handle_release(quiet);
    hpx_stream_release(unread);
    hpx_stream_release(stream);
    hpx_port_close(port);
    hpx_port_close(other);
    market_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p3_capacity_when_eight_threads_ask_then_exact),
        cmocka_unit_test(test_p6_topics_when_a_thousand_reconnects_then_server_has_what_is_held),
        cmocka_unit_test(test_p5_orders_when_connection_drops_at_random_then_each_ends_once),
        cmocka_unit_test(test_p9_flood_when_stream_is_not_read_then_others_are_served),
    };
    return cmocka_run_group_tests_name("engine/session_threads", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: many app threads on ports of their own lose, double and mix up nothing; released handles
 * end their connections; a consumer that does not read loses what is counted, and holds up nobody.
 * Method: an engine of two shards. Shard 1 listens and echoes, shard 0 has the clients. Every
 * message holds its connection, number, size and checksum. Threads note their first failure; the
 * test's thread asserts.
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "tests/e2e/client.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

#ifdef UNDER_TSAN
#define MESSAGES   1500u
#define FLOOD      5000u
#define RELEASE_NS (5 * HPX_NS_PER_S)
#else
#define MESSAGES   20000u
#define FLOOD      30000u
#define RELEASE_NS HPX_NS_PER_S /* the promise */
#endif

#define THREADS     4u
#define CONNECTIONS 4u /* per thread */
#define WINDOW      64u
#define BYTES_MAX   512u
#define DEADLINE_NS (100 * HPX_NS_PER_S)

/* ---- The listening shard -----------------------------------------------------------------------
 */

typedef struct far_side {
    hpx_engine *engine;
    uint16_t port;
    _Atomic uint32_t open;
    _Atomic uint32_t closed_1000; /* by the client, in good order */
    _Atomic uint32_t closed_other;
    hpx_error error;
    failing_allocator memory;
    uint32_t descriptors;
} far_side;

/* "flood COUNT SIZE", "one", "kick": what a client asks of the far side. Anything else is echoed.
 */
static void far_command(hpx_conn *conn, hpx_span text)
{
    static _Thread_local uint8_t payload[64u << 10];
    char line[64];
    unsigned count = 0;
    unsigned size = 0;
    (void)snprintf(line, sizeof(line), "%.*s", (int)text.size, (const char *)text.data);
    if (strcmp(line, "kick") == 0) {
        (void)hpx_conn_close(conn, 4003, hpx_span_of("kicked"));
        return;
    }
    if (strcmp(line, "one") == 0) {
        if (hpx_conn_send(conn, HPX_MESSAGE_TEXT, text) != HPX_OK) {
            abort();
        }
        return;
    }
    if (sscanf(line, "flood %u %u", &count, &size) != 2 || size > sizeof(payload)) {
        abort();
    }
    for (uint32_t i = 0; i < count; i++) {
        memcpy(payload, &i, sizeof(i));
        const hpx_span message = {.data = payload, .size = size};
        if (hpx_conn_send(conn, HPX_MESSAGE_BINARY, message) != HPX_OK) {
            abort();
        }
    }
}

static void far_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    far_side *far = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        atomic_fetch_add(&far->open, 1);
        break;
    case HPX_EVENT_MESSAGE:
        if (event->message_kind == HPX_MESSAGE_TEXT) {
            far_command(conn, event->payload);
        } else if (hpx_conn_send(conn, event->message_kind, event->payload) != HPX_OK) {
            abort();
        }
        break;
    case HPX_EVENT_DISCONNECTED:
        if (event->error->status == HPX_E_WS_CLOSED && event->error->close_code == 1000) {
            atomic_fetch_add(&far->closed_1000, 1);
        } else {
            atomic_fetch_add(&far->closed_other, 1);
        }
        break;
    case HPX_EVENT_CLOSED:
        atomic_fetch_sub(&far->open, 1);
        break;
    case HPX_EVENT_WRITABLE:
        break;
    }
}

static void far_listen(hpx_shard *shard, void *user)
{
    far_side *far = user;
    if (shard != hpx_engine_shard(far->engine, 1)) {
        return;
    }
    hpx_listen_config config = HPX_LISTEN_CONFIG_INIT;
    config.address = "127.0.0.1:0";
    config.on_event = far_on_event;
    config.user = far;
    hpx_listener *listener = NULL;
    if (hpx_shard_listen(shard, &config, &listener, &far->error) == HPX_OK) {
        far->port = hpx_listener_get_port(listener);
    }
}

static void far_open(far_side *far)
{
    memset(far, 0, sizeof(*far));
    far->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    far->descriptors = test_descriptors();
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_count = 2;
    config.allocator = fa_allocator(&far->memory);
    config.on_shard_start = far_listen;
    config.user = far;
    assert_int_equal(hpx_engine_new(&far->engine, &config, &far->error), HPX_OK);
    if (hpx_engine_start(far->engine, &far->error) != HPX_OK || far->port == 0) {
        fail_msg("engine: %s", far->error.detail);
    }
}

static void far_close(far_side *far)
{
    assert_int_equal(hpx_engine_stop_wait(far->engine, 2 * HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(far->engine);
    assert_int_equal(far->memory.live, 0);
    assert_int_equal(far->memory.bytes, 0);
    assert_int_equal(test_descriptors(), far->descriptors);
}

static hpx_ws_config far_config(const far_side *far, char url[64])
{
    (void)snprintf(url, 64, "ws://127.0.0.1:%u/", far->port);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.shard = 0;
    return config;
}

static bool far_await(_Atomic uint32_t *value, uint32_t wanted, uint64_t timeout_ns)
{
    const uint64_t began_ns = hpx_clock_now_ns();
    while (atomic_load(value) != wanted) {
        if (hpx_clock_now_ns() - began_ns > timeout_ns) {
            return false;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
    return true;
}

/* ---- App threads -------------------------------------------------------------------------------
 */

typedef struct lane {
    hpx_handle *handle;
    hpx_stream *stream;
    uint32_t id;
    uint32_t sent;
    uint32_t received;
    bool connected;
} lane;

typedef struct app {
    pthread_t thread;
    far_side *far;
    uint32_t index;
    hpx_port *port;
    lane lanes[CONNECTIONS];
    uint64_t deadline_ns;
    char failure[160]; /* the first one */
} app;

typedef struct message_head {
    uint32_t lane;
    uint32_t number;
    uint32_t size;
    uint32_t sum;
} message_head;

static uint32_t message_sum(const uint8_t *bytes, size_t size)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * 16777619u;
    }
    return hash;
}

static uint32_t message_make(uint8_t *to, uint32_t id, uint32_t number)
{
    const uint32_t size =
        (uint32_t)sizeof(message_head) + (id * 7919u + number * 104729u) % (BYTES_MAX - 16);
    for (uint32_t i = sizeof(message_head); i < size; i++) {
        to[i] = (uint8_t)(i * 31 + number + id);
    }
    const message_head head = {
        .lane = id,
        .number = number,
        .size = size,
        .sum = message_sum(to + sizeof(message_head), size - sizeof(message_head)),
    };
    memcpy(to, &head, sizeof(head));
    return size;
}

static void app_fail(app *a, const char *what, const lane *l, int64_t number)
{
    if (a->failure[0] == '\0') {
        (void)snprintf(
            a->failure,
            sizeof(a->failure),
            "thread %u, lane %u, %u sent, %u back: %s %lld",
            a->index,
            l->id,
            l->sent,
            l->received,
            what,
            (long long)number);
    }
}

/* Sends up to the window; counts what it did. */
static uint32_t app_send(app *a, lane *l)
{
    uint8_t payload[BYTES_MAX];
    uint32_t count = 0;
    while (l->connected && l->sent < MESSAGES && l->sent - l->received < WINDOW) {
        const uint32_t size = message_make(payload, l->id, l->sent);
        const hpx_status status = hpx_handle_send(
            l->handle, HPX_MESSAGE_BINARY, (hpx_span){.data = payload, .size = size});
        if (status == HPX_E_AGAIN) {
            break;
        }
        if (status != HPX_OK) {
            app_fail(a, "send", l, status);
            break;
        }
        l->sent++;
        count++;
    }
    return count;
}

static void app_check(app *a, lane *l, const hpx_event *event)
{
    message_head head = {0};
    if (event->payload.size < sizeof(head)) {
        app_fail(a, "short message", l, (int64_t)event->payload.size);
        return;
    }
    memcpy(&head, event->payload.data, sizeof(head));
    const uint32_t sum =
        message_sum(event->payload.data + sizeof(head), event->payload.size - sizeof(head));
    if (event->missed != 0) {
        app_fail(a, "missed", l, (int64_t)event->missed);
    } else if (head.lane != l->id || head.size != event->payload.size || head.sum != sum) {
        app_fail(a, "wrong message, number", l, head.number);
    } else if (head.number != l->received) {
        app_fail(a, "out of order, number", l, head.number);
    }
    l->received++;
}

static uint32_t app_receive(app *a, lane *l)
{
    hpx_event event;
    uint32_t count = 0;
    int got;
    while ((got = hpx_stream_next(l->stream, &event)) == 1) {
        count++;
        if (event.kind == HPX_EVENT_MESSAGE) {
            app_check(a, l, &event);
        } else if (event.kind == HPX_EVENT_CONNECTED && !l->connected) {
            l->connected = true;
        } else if (event.kind != HPX_EVENT_WRITABLE) {
            app_fail(a, "event", l, event.kind);
        }
    }
    if (got < 0) {
        app_fail(a, "stream", l, got);
    }
    return count;
}

/* Threads wait in both ways that there are. */
static void app_rest(app *a)
{
    if (a->index % 2 == 0) {
        struct pollfd fd = {.fd = hpx_stream_fd(a->lanes[0].stream), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
        return;
    }
    hpx_event event;
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        lane *l = &a->lanes[i];
        if (l->received == MESSAGES) {
            continue;
        }
        const int got = hpx_stream_wait(l->stream, &event, HPX_NS_PER_MS);
        if (got == 1 && event.kind == HPX_EVENT_MESSAGE) {
            app_check(a, l, &event);
        } else if (got == 1 && event.kind == HPX_EVENT_CONNECTED) {
            l->connected = true;
        }
    }
}

static void app_exchange(app *a)
{
    for (uint32_t done = 0; done < CONNECTIONS && a->failure[0] == '\0';) {
        uint32_t work = 0;
        done = 0;
        for (uint32_t i = 0; i < CONNECTIONS; i++) {
            work += app_send(a, &a->lanes[i]);
            work += app_receive(a, &a->lanes[i]);
            done += a->lanes[i].received == MESSAGES;
        }
        if (hpx_clock_now_ns() > a->deadline_ns) {
            app_fail(a, "deadline", &a->lanes[0], 0);
        } else if (work == 0) {
            app_rest(a);
        }
    }
}

/* After the handle is released: DISCONNECTED (orderly, 1000), CLOSED, the end. */
static void app_see_end(app *a, lane *l)
{
    hpx_event event;
    if (hpx_stream_wait(l->stream, &event, CLIENT_DEADLINE_NS) != 1 ||
        event.kind != HPX_EVENT_DISCONNECTED || event.error->status != HPX_OK ||
        event.error->close_code != 1000) {
        app_fail(a, "no orderly DISCONNECTED", l, event.kind);
    } else if (
        hpx_stream_wait(l->stream, &event, CLIENT_DEADLINE_NS) != 1 ||
        event.kind != HPX_EVENT_CLOSED) {
        app_fail(a, "no CLOSED", l, event.kind);
    } else if (hpx_stream_next(l->stream, &event) != HPX_E_CLOSED) {
        app_fail(a, "more after CLOSED", l, event.kind);
    }
}

static void *app_run(void *argument)
{
    app *a = argument;
    char url[64];
    hpx_error error = {0};
    const hpx_ws_config config = far_config(a->far, url);
    a->deadline_ns = hpx_clock_now_ns() + DEADLINE_NS;
    if (hpx_port_open(&a->port, a->far->engine, NULL, &error) != HPX_OK) {
        app_fail(a, error.detail, &a->lanes[0], error.status);
        return NULL;
    }
    for (uint32_t i = 0; i < CONNECTIONS; i++) {
        lane *l = &a->lanes[i];
        l->id = a->index * CONNECTIONS + i;
        if (hpx_ws_connect(a->port, &config, &l->handle, &l->stream, &error) != HPX_OK) {
            app_fail(a, error.detail, l, error.status);
            hpx_port_close(a->port);
            return NULL;
        }
    }
    app_exchange(a);
    for (uint32_t i = 0; i < CONNECTIONS; i++) { /* some streams go before their end is seen */
        hpx_handle_release(a->lanes[i].handle);
        if (i % 2 == 0 && a->failure[0] == '\0') {
            app_see_end(a, &a->lanes[i]);
        }
        if (i < 2) {
            hpx_stream_release(a->lanes[i].stream);
        } /* else the port's close does it */
    }
    hpx_port_close(a->port);
    return NULL;
}

static void test_ports_when_many_threads_exchange_then_every_message_comes_back_once(void **state)
{
    (void)state;
    static far_side far;
    static app apps[THREADS];
    far_open(&far);
    for (uint32_t i = 0; i < THREADS; i++) {
        apps[i] = (app){.far = &far, .index = i};
        assert_int_equal(pthread_create(&apps[i].thread, NULL, app_run, &apps[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(apps[i].thread, NULL), 0);
    }
    const bool gone = far_await(&far.closed_1000, THREADS * CONNECTIONS, RELEASE_NS);
    for (uint32_t i = 0; i < THREADS; i++) {
        if (apps[i].failure[0] != '\0') {
            fail_msg("%s", apps[i].failure);
        }
    }
    assert_true(gone);
    assert_true(far_await(&far.open, 0, RELEASE_NS));
    assert_int_equal(far.closed_other, 0);
    hpx_shard_stats stats;
    hpx_shard_get_stats(hpx_engine_shard(far.engine, 0), &stats);
    assert_int_equal(stats.messages_received, THREADS * CONNECTIONS * MESSAGES);
    assert_int_equal(stats.messages_dropped, 0);
    far_close(&far);
}

/* ---- A consumer that does not read -------------------------------------------------------------
 */

static void slow_send(hpx_handle *handle, const char *text)
{
    assert_int_equal(hpx_handle_send(handle, HPX_MESSAGE_TEXT, hpx_span_of(text)), HPX_OK);
}

static void slow_connect(hpx_port *port, const hpx_ws_config *config, lane *l)
{
    hpx_event event;
    hpx_error error = {0};
    assert_int_equal(hpx_ws_connect(port, config, &l->handle, &l->stream, &error), HPX_OK);
    assert_int_equal(hpx_stream_wait(l->stream, &event, CLIENT_DEADLINE_NS), 1);
    assert_int_equal(event.kind, HPX_EVENT_CONNECTED);
}

/* Another connection of the same shard and port goes on while the flood is dropped. */
static void slow_echo(lane *l, uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds; i++) {
        hpx_event event;
        const hpx_span payload = {.data = (const uint8_t *)&i, .size = sizeof(i)};
        assert_int_equal(hpx_handle_send(l->handle, HPX_MESSAGE_BINARY, payload), HPX_OK);
        assert_int_equal(hpx_stream_wait(l->stream, &event, 5 * HPX_NS_PER_S), 1);
        assert_int_equal(event.kind, HPX_EVENT_MESSAGE);
        assert_memory_equal(event.payload.data, &i, sizeof(i));
    }
}

static hpx_shard_stats slow_await_received(far_side *far, uint64_t wanted)
{
    const uint64_t began_ns = hpx_clock_now_ns();
    for (;;) {
        hpx_shard_stats stats;
        hpx_shard_get_stats(hpx_engine_shard(far->engine, 0), &stats);
        if (stats.messages_received >= wanted) {
            assert_int_equal(stats.messages_received, wanted);
            return stats;
        }
        if (hpx_clock_now_ns() - began_ns > CLIENT_DEADLINE_NS) {
            fail_msg(
                "%llu messages received of %llu",
                (unsigned long long)stats.messages_received,
                (unsigned long long)wanted);
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
    }
}

/* Takes all that is there: numbers rise, and the gaps are what `missed` says. Returns how many. */
static uint64_t slow_drain(lane *l, uint32_t *next, uint64_t *missed)
{
    hpx_event event;
    uint64_t delivered = 0;
    int got;
    while ((got = hpx_stream_next(l->stream, &event)) == 1) {
        assert_int_equal(event.kind, HPX_EVENT_MESSAGE);
        delivered++;
        *missed += event.missed;
        *next += (uint32_t)event.missed;
        if (event.message_kind == HPX_MESSAGE_BINARY) {
            uint32_t number;
            memcpy(&number, event.payload.data, sizeof(number));
            assert_int_equal(number, *next);
        }
        *next += 1;
    }
    assert_int_equal(got, 0);
    return delivered;
}

static void check_slow(uint32_t count, uint32_t size, uint64_t large_bytes_max)
{
    enum { ROUNDS = 300 };
    static far_side far;
    hpx_port *port = NULL;
    hpx_event event;
    hpx_error error = {0};
    char url[64];
    char flood[32];
    lane slow = {0};
    lane fast = {0};
    far_open(&far);
    hpx_ws_config config = far_config(&far, url);
    config.stream_ring_bytes = 64u << 10;
    config.stream_large_bytes_max = large_bytes_max;
    assert_int_equal(hpx_port_open(&port, far.engine, NULL, &error), HPX_OK);
    slow_connect(port, &config, &slow);
    slow_connect(port, &config, &fast);
    (void)snprintf(flood, sizeof(flood), "flood %u %u", count, size);

    slow_send(slow.handle, flood);
    slow_echo(&fast, ROUNDS);
    hpx_shard_stats stats = slow_await_received(&far, count + ROUNDS);
    uint32_t next = 0;
    uint64_t missed = 0;
    uint64_t delivered = slow_drain(&slow, &next, &missed);
    assert_in_range(delivered, 1, count - 1);
    assert_int_equal(missed, 0); /* all drops came after what was kept */
    assert_int_equal(delivered + stats.messages_dropped, count);

    slow_send(slow.handle, "one"); /* the next message tells how many were lost before it */
    stats = slow_await_received(&far, count + ROUNDS + 1);
    assert_int_equal(hpx_stream_wait(slow.stream, &event, CLIENT_DEADLINE_NS), 1);
    assert_int_equal(event.kind, HPX_EVENT_MESSAGE);
    assert_int_equal(event.message_kind, HPX_MESSAGE_TEXT);
    assert_int_equal(delivered + event.missed, count);
    assert_int_equal(stats.messages_dropped, event.missed);

    /* Once more; then the peer closes while the ring is full: the end still arrives, in order. */
    slow_send(slow.handle, flood);
    slow_send(slow.handle, "kick");
    slow_echo(&fast, ROUNDS);
    stats = slow_await_received(&far, 2 * count + 2 * ROUNDS + 1);
    delivered = 0;
    missed = 0;
    do {
        assert_int_equal(hpx_stream_wait(slow.stream, &event, CLIENT_DEADLINE_NS), 1);
        delivered += event.kind == HPX_EVENT_MESSAGE;
        missed += event.missed;
    } while (event.kind == HPX_EVENT_MESSAGE);
    assert_int_equal(event.kind, HPX_EVENT_DISCONNECTED);
    assert_int_equal(event.error->close_code, 4003);
    assert_int_equal(hpx_stream_wait(slow.stream, &event, CLIENT_DEADLINE_NS), 1);
    assert_int_equal(event.kind, HPX_EVENT_CLOSED);
    assert_int_equal(hpx_stream_next(slow.stream, &event), HPX_E_CLOSED);
    assert_in_range(delivered, 1, count - 1);
    assert_int_equal(delivered + missed, count); /* DISCONNECTED tells of the last ones */
    slow_echo(&fast, 10);
    hpx_port_close(port); /* releases handles and streams */
    assert_true(far_await(&far.open, 0, RELEASE_NS));
    far_close(&far);
}

static void test_slow_consumer_when_it_does_not_read_then_drops_are_exact(void **state)
{
    (void)state;
    check_slow(FLOOD, 256, 0);
}

static void test_slow_consumer_when_messages_are_large_then_drops_are_exact(void **state)
{
    (void)state;
    check_slow(200, 40u << 10, 256u << 10);
}

/* ---- A sender that is too fast ------------------------------------------------------------------
 */

/* Sends until the queue is full; WRITABLE then says when to go on. Every message accepted arrives.
 */
static void test_sender_when_the_queue_is_full_then_writable_follows(void **state)
{
    (void)state;
    static far_side far;
    static uint8_t payload[1000];
    hpx_port *port = NULL;
    hpx_error error = {0};
    char url[64];
    lane l = {0};
    far_open(&far);
    hpx_ws_config config = far_config(&far, url);
    config.stream_ring_bytes = 16u << 20;
    assert_int_equal(hpx_port_open(&port, far.engine, NULL, &error), HPX_OK);
    slow_connect(port, &config, &l);
    uint32_t fulls = 0;
    for (uint32_t number = 0; fulls < 5;) {
        memcpy(payload, &number, sizeof(number));
        const hpx_status status = hpx_handle_send(
            l.handle, HPX_MESSAGE_BINARY, (hpx_span){.data = payload, .size = sizeof(payload)});
        if (status == HPX_OK) {
            number++;
            l.sent++;
            continue;
        }
        assert_int_equal(status, HPX_E_AGAIN);
        fulls++;
        for (bool writable = false; !writable;) {
            hpx_event event;
            if (hpx_stream_wait(l.stream, &event, 5 * HPX_NS_PER_S) != 1) {
                fail_msg("no WRITABLE after HPX_E_AGAIN number %u", fulls);
            }
            writable = event.kind == HPX_EVENT_WRITABLE;
            if (event.kind == HPX_EVENT_MESSAGE) {
                uint32_t back;
                memcpy(&back, event.payload.data, sizeof(back));
                assert_int_equal(back, l.received);
                assert_int_equal(event.missed, 0);
                l.received++;
            }
        }
    }
    while (l.received < l.sent) {
        hpx_event event;
        assert_int_equal(hpx_stream_wait(l.stream, &event, CLIENT_DEADLINE_NS), 1);
        l.received += event.kind == HPX_EVENT_MESSAGE;
    }
    hpx_port_close(port);
    assert_true(far_await(&far.open, 0, RELEASE_NS));
    far_close(&far);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ports_when_many_threads_exchange_then_every_message_comes_back_once),
        cmocka_unit_test(test_slow_consumer_when_it_does_not_read_then_drops_are_exact),
        cmocka_unit_test(test_slow_consumer_when_messages_are_large_then_drops_are_exact),
        cmocka_unit_test(test_sender_when_the_queue_is_full_then_writable_follows),
    };
    return cmocka_run_group_tests_name("e2e/port_stress", tests, NULL, NULL);
}

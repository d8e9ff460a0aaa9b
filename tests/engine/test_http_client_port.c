/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A client on a port: every request ends once, whatever the threads do; nothing is lost
 *         when the app reads slowly, cancels, stops the engine or goes; ids go stale cleanly.
 * Method  An engine with two shards and a thread of the app, against an HTTP server in an engine of
 *         its own. The thread sanitizer watches the rings.
 *
 *   GET /N   N bytes: byte i is (uint8_t)(i * 31)      POST   how many bytes came, in decimal
 *   GET /hold  is never answered
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <hpx/hpx.h>

#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define PATIENCE_NS (60 * HPX_NS_PER_S)

/* ---- Server -----------------------------------------------------------------------------------
 */

typedef struct server {
    hpx_engine *engine;
    _Atomic uint32_t port;
    _Atomic uint32_t requests;
} server;

typedef struct reply {
    uint64_t size;
    uint64_t sent;
} reply;

static void reply_go_on(hpx_http_call *call, reply *r)
{
    static _Thread_local uint8_t piece[16384];
    while (r->sent < r->size) {
        const uint64_t left = r->size - r->sent;
        const size_t part = left < sizeof(piece) ? (size_t)left : sizeof(piece);
        for (size_t i = 0; i < part; i++) {
            piece[i] = (uint8_t)((r->sent + i) * 31);
        }
        const hpx_status status =
            hpx_http_call_write(call, (hpx_span){.data = piece, .size = part});
        if (status != HPX_OK) {
            return; /* WRITABLE follows, or CLOSED */
        }
        r->sent += part;
    }
    (void)hpx_http_call_end(call);
}

static void server_answer(hpx_http_call *call, server *s, const hpx_http_call_info *info)
{
    s->requests++;
    if (info->body.size != 0) {
        char text[32];
        snprintf(text, sizeof(text), "%zu", info->body.size);
        (void)hpx_http_call_answer(call, 200, NULL, 0, hpx_span_of(text), NULL);
        return;
    }
    if (info->path.data[1] == 'h') {
        return;
    }
    reply *r = calloc(1, sizeof(*r));
    for (size_t i = 1; i < info->path.size; i++) {
        r->size = r->size * 10 + (uint64_t)(info->path.data[i] - '0');
    }
    hpx_http_call_set_user(call, r);
    if (hpx_http_call_begin(call, 200, NULL, 0, r->size, NULL) == HPX_OK) {
        reply_go_on(call, r);
    }
}

static server *the_server;

static void server_on_event(hpx_http_call *call, const hpx_http_call_event *event, void *user)
{
    reply *r = user == the_server ? NULL : user;
    switch (event->kind) {
    case HPX_HTTP_CALL_REQUEST:
        server_answer(call, the_server, event->info);
        break;
    case HPX_HTTP_CALL_WRITABLE:
        if (r != NULL) {
            reply_go_on(call, r);
        }
        break;
    case HPX_HTTP_CALL_CLOSED:
        free(r);
        break;
    }
}

static void server_on_start(hpx_shard *shard, void *user)
{
    server *s = user;
    hpx_http_server *listening = NULL;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.address = "127.0.0.1:0";
    config.on_event = server_on_event;
    config.user = s;
    config.body_bytes_max = 8u << 20;
    config.send_queue_bytes_max = 256u << 10;
    assert_int_equal(hpx_shard_http_listen(shard, &config, &listening, NULL), HPX_OK);
    s->port = hpx_http_server_get_port(listening);
}

static void server_open(server *s)
{
    memset(s, 0, sizeof(*s));
    the_server = s;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.wait_mode = HPX_WAIT_SLEEP;
    config.on_shard_start = server_on_start;
    config.user = s;
    assert_int_equal(hpx_engine_new(&s->engine, &config, NULL), HPX_OK);
    assert_int_equal(hpx_engine_start(s->engine, NULL), HPX_OK);
    assert_int_not_equal(s->port, 0);
}

static void server_close(server *s)
{
    (void)hpx_engine_stop_wait(s->engine, HPX_NS_PER_S);
    hpx_engine_free(s->engine);
}

/* ---- Client -----------------------------------------------------------------------------------
 */

#define ANSWERS_MAX 4096u

typedef struct answer {
    hpx_http_id id;
    uint32_t ends;
    uint32_t events;
    uint64_t body_bytes;
    bool corrupt;
    int32_t status;
    hpx_http_outcome outcome;
    uint32_t shard;
    char text[32];
} answer;

typedef struct bench {
    server server;
    hpx_engine *engine;
    hpx_port *port;
    hpx_http_client *client;
    hpx_http_config config;
    uint32_t count;
    uint32_t ended;
    answer answers[ANSWERS_MAX];
} bench;

static bench b;

static void prepare(void)
{
    memset(&b, 0, sizeof(b));
    server_open(&b.server);
    b.config = (hpx_http_config)HPX_HTTP_CONFIG_INIT;
    b.config.timeout_ns = PATIENCE_NS;
    b.config.idle_timeout_ns = PATIENCE_NS;
}

static void open_client(void)
{
    hpx_error error = {0};
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.wait_mode = HPX_WAIT_SLEEP;
    config.shard_count = 2;
    assert_int_equal(hpx_engine_new(&b.engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(b.engine, &error), HPX_OK);
    assert_int_equal(hpx_port_open(&b.port, b.engine, NULL, &error), HPX_OK);
    if (hpx_http_client_open(b.port, &b.config, &b.client, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
}

static void finish(void)
{
    for (uint32_t i = 0; i < b.count; i++) {
        assert_true(b.answers[i].ends <= 1);
        assert_false(b.answers[i].corrupt);
    }
    hpx_http_client_release(b.client);
    hpx_port_close(b.port);
    assert_int_equal(hpx_engine_stop_wait(b.engine, 5 * HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(b.engine);
    server_close(&b.server);
}

static answer *ask_with(hpx_http_request *request, const char *path)
{
    char url[128];
    assert_true(b.count < ANSWERS_MAX);
    answer *a = &b.answers[b.count++];
    memset(a, 0, sizeof(*a));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u%s", b.server.port, path);
    request->url = url;
    request->user = a;
    hpx_error error = {0};
    const hpx_status status = hpx_http_send(b.client, request, &a->id, &error);
    if (status != HPX_OK) {
        fail_msg("%s: %s", hpx_status_name(status), error.detail);
    }
    return a;
}

static answer *ask(const char *path, hpx_http_version version)
{
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.version = version;
    return ask_with(&request, path);
}

static void take(const hpx_http_event *event)
{
    answer *a = event->user;
    assert_int_equal(event->id, a->id);
    assert_int_equal(a->ends, 0); /* nothing follows END */
    a->events++;
    for (size_t i = 0; i < event->body.size; i++) {
        if (a->body_bytes < sizeof(a->text) - 1) {
            a->text[a->body_bytes] = (char)event->body.data[i];
        }
        a->corrupt |= event->body.data[i] != (uint8_t)(a->body_bytes * 31);
        a->body_bytes++;
    }
    if (event->kind == HPX_HTTP_EVENT_END) {
        a->ends++;
        a->status = event->status;
        a->outcome = event->outcome;
        a->shard = event->info->shard;
        b.ended++;
    }
}

static void until_all_ended(void)
{
    hpx_http_event event;
    while (b.ended < b.count) {
        assert_int_equal(hpx_http_wait(b.client, &event, PATIENCE_NS), 1);
        take(&event);
    }
    assert_int_equal(hpx_http_wait(b.client, &event, PATIENCE_NS), HPX_E_CLOSED);
    assert_int_equal(hpx_http_next(b.client, &event), 0);
}

static void test_port_when_many_requests_then_each_ends_once_and_whole(void **state)
{
    (void)state;
    for (uint32_t shard = 0; shard < 3; shard++) {
        prepare();
        b.config.shard = shard == 2 ? HPX_SHARD_LEAST_LOADED : shard;
        open_client();
        for (int i = 0; i < 300; i++) {
            char path[16];
            snprintf(path, sizeof(path), "/%d", i * 37);
            (void)ask(path, i % 2 != 0 ? HPX_HTTP_2_PRIOR_KNOWLEDGE : HPX_HTTP_1_1);
        }
        until_all_ended();
        uint32_t on_second = 0;
        for (uint32_t i = 0; i < b.count; i++) {
            assert_int_equal(b.answers[i].outcome, HPX_HTTP_DONE);
            assert_int_equal(b.answers[i].status, 200);
            assert_int_equal(b.answers[i].body_bytes, i * 37);
            on_second += b.answers[i].shard;
        }
        assert_int_equal(on_second, shard == 0 ? 0 : shard == 1 ? 300 : on_second);
        assert_true(shard != 2 || (on_second > 50 && on_second < 250));
        hpx_http_stats stats;
        hpx_http_get_stats(b.client, &stats);
        assert_int_equal(stats.done, 300);
        assert_int_equal(stats.requests, 300);
        finish();
    }
}

/* A ring of 64 KiB, and an app that takes its time: the peer is throttled, nothing is lost. */
static void test_port_when_the_app_is_slow_then_nothing_is_lost(void **state)
{
    (void)state;
    for (int version = HPX_HTTP_1_1; version <= HPX_HTTP_2_PRIOR_KNOWLEDGE; version += 2) {
        prepare();
        b.config.event_ring_bytes = 64u << 10;
        b.config.header_bytes_max = 4096;
        b.config.headers_max = 64;
        b.config.h2_window_bytes = 128u << 10;
        open_client();
        for (int i = 0; i < 4; i++) {
            (void)ask("/3000000", (hpx_http_version)version);
        }
        hpx_http_event event;
        for (uint32_t taken = 0; b.ended < b.count; taken++) {
            if (taken % 64 == 0) {
                usleep(1000);
            }
            assert_int_equal(hpx_http_wait(b.client, &event, PATIENCE_NS), 1);
            take(&event);
        }
        for (uint32_t i = 0; i < b.count; i++) {
            assert_int_equal(b.answers[i].outcome, HPX_HTTP_DONE);
            assert_int_equal(b.answers[i].body_bytes, 3000000);
        }
        finish();
    }
}

#define GZIP_PLAIN_BYTES (8u << 20)

/* Serves one request with a gzip body of GZIP_PLAIN_BYTES, a little at a time. */
static void *gzip_main(void *user)
{
    const int listener = *(const int *)user;
    const int fd = accept(listener, NULL, NULL);
    uint8_t *plain = malloc(GZIP_PLAIN_BYTES);
    uint8_t *packed = malloc(1u << 20);
    z_stream stream = {0};
    char text[2048];
    for (size_t i = 0; i < GZIP_PLAIN_BYTES; i++) {
        plain[i] = (uint8_t)(i * 31);
    }
    (void)deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    stream.next_in = plain;
    stream.avail_in = GZIP_PLAIN_BYTES;
    stream.next_out = packed;
    stream.avail_out = 1u << 20;
    (void)deflate(&stream, Z_FINISH);
    const size_t size = (1u << 20) - stream.avail_out;
    deflateEnd(&stream);
    (void)recv(fd, text, sizeof(text), 0);
    const int head = snprintf(
        text,
        sizeof(text),
        "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
        size);
    (void)send(fd, text, (size_t)head, MSG_NOSIGNAL);
    for (size_t at = 0; at < size; at += 500) {
        (void)send(fd, packed + at, size - at < 500 ? size - at : 500, MSG_NOSIGNAL);
        usleep(200);
    }
    free(plain);
    free(packed);
    (void)recv(fd, text, sizeof(text), 0); /* until the client goes */
    close(fd);
    return NULL;
}

/* A few bytes become many while the ring is full: what is decoded waits, and then goes first. */
static void test_port_when_decoding_into_a_full_ring_then_in_order(void **state)
{
    (void)state;
    prepare();
    b.config.event_ring_bytes = 64u << 10;
    b.config.header_bytes_max = 4096;
    b.config.headers_max = 64;
    open_client();
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t address_bytes = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, address_bytes), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &address_bytes), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, gzip_main, &listener), 0);
    const uint32_t port = b.server.port;
    b.server.port = ntohs(address.sin_port);
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.flags = HPX_HTTP_DECODE;
    const answer *a = ask_with(&request, "/");
    b.server.port = port;
    hpx_http_event event;
    for (uint32_t taken = 0; b.ended < b.count; taken++) {
        if (taken % 16 == 0) {
            usleep(500);
        }
        assert_int_equal(hpx_http_wait(b.client, &event, PATIENCE_NS), 1);
        take(&event);
    }
    assert_int_equal(a->outcome, HPX_HTTP_DONE);
    assert_int_equal(a->body_bytes, GZIP_PLAIN_BYTES);
    finish();
    (void)pthread_join(thread, NULL);
    close(listener);
}

static void test_port_when_collected_and_large_then_one_event_beyond_the_ring(void **state)
{
    (void)state;
    prepare();
    open_client();
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.collect_bytes_max = 8u << 20;
    for (int i = 0; i < 6; i++) {
        (void)ask_with(&request, i % 2 != 0 ? "/5000000" : "/500");
    }
    until_all_ended();
    for (uint32_t i = 0; i < b.count; i++) {
        assert_int_equal(b.answers[i].outcome, HPX_HTTP_DONE);
        assert_int_equal(b.answers[i].body_bytes, i % 2 != 0 ? 5000000 : 500);
        assert_int_equal(b.answers[i].events, 1);
    }
    (void)ask_with(&request, "/5000000"); /* ends, but is not taken: freed with the client */
    usleep(50000);
    finish();
}

static void test_port_when_the_body_is_large_then_it_goes_as_a_block(void **state)
{
    (void)state;
    prepare();
    open_client();
    static uint8_t body[3u << 20];
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.method = "POST";
    for (int i = 0; i < 4; i++) {
        request.body = (hpx_span){.data = body, .size = i % 2 != 0 ? sizeof(body) : 100};
        request.version = i < 2 ? HPX_HTTP_1_1 : HPX_HTTP_2_PRIOR_KNOWLEDGE;
        (void)ask_with(&request, "/");
    }
    until_all_ended();
    for (uint32_t i = 0; i < b.count; i++) {
        assert_string_equal(b.answers[i].text, i % 2 != 0 ? "3145728" : "100");
        b.answers[i].corrupt = false; /* it is a number */
    }
    finish();
}

static void test_port_when_cancelled_at_any_moment_then_one_end_each(void **state)
{
    (void)state;
    prepare();
    b.config.requests_max = 64;
    open_client();
    uint64_t random = 77;
    hpx_http_event event;
    uint32_t cancelled = 0;
    while (b.count < 1500) {
        while (b.count - b.ended < 64 && b.count < 1500) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            const char *const paths[] = {"/0", "/100", "/200000", "/hold"};
            answer *a =
                ask(paths[(random >> 33) % 4],
                    (random >> 40) % 2 != 0 ? HPX_HTTP_2_PRIOR_KNOWLEDGE : HPX_HTTP_1_1);
            if ((random >> 45) % 2 != 0) {
                assert_int_equal(hpx_http_cancel(b.client, a->id), HPX_OK);
            }
        }
        for (int i = 0; i < 40 && hpx_http_next(b.client, &event) == 1; i++) {
            take(&event);
        }
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        const answer *victim = &b.answers[(random >> 33) % b.count];
        const hpx_status status = hpx_http_cancel(b.client, victim->id);
        assert_int_equal(status, victim->ends != 0 ? HPX_E_STALE : HPX_OK);
        cancelled += status == HPX_OK;
    }
    for (uint32_t i = 0; i < b.count; i++) {
        (void)hpx_http_cancel(b.client, b.answers[i].id);
    }
    until_all_ended();
    assert_true(cancelled != 0);
    answer *last = ask("/1000", HPX_HTTP_2_PRIOR_KNOWLEDGE);
    until_all_ended();
    assert_int_equal(last->outcome, HPX_HTTP_DONE);
    assert_int_equal(last->body_bytes, 1000);
    finish();
}

static void test_port_when_cancelled_again_and_again_then_the_ring_has_room(void **state)
{
    (void)state;
    prepare();
    b.config.requests_max = 4;
    b.config.command_ring_bytes = 64u << 10;
    open_client();
    const answer *held = ask("/hold", HPX_HTTP_1_1);
    for (int i = 0; i < 100000; i++) { /* its END is not taken: it stays open here */
        assert_int_equal(hpx_http_cancel(b.client, held->id), HPX_OK);
    }
    const answer *next = ask("/100", HPX_HTTP_1_1); /* not HPX_E_AGAIN */
    until_all_ended();
    assert_int_equal(held->outcome, HPX_HTTP_CANCELLED);
    assert_int_equal(next->outcome, HPX_HTTP_DONE);
    finish();
}

/* What the watchdog has seen; nothing is asserted on its thread. */
typedef struct watchdog {
    _Atomic bool is_over;
    uint64_t looks;
    uint64_t open[3]; /* by version */
    uint64_t wrong;
    char origin[HPX_HTTP_ORIGIN_BYTES];
} watchdog;

static void *watchdog_main(void *user)
{
    watchdog *w = user;
    hpx_http_connection_stats all[64];
    hpx_http_stats stats;
    do {
        const uint32_t count = hpx_http_connections(b.client, all, 64);
        hpx_http_get_stats(b.client, &stats);
        w->looks++;
        w->wrong += count > 64 || stats.done > stats.requests;
        for (uint32_t i = 0; i < count && i < 64; i++) {
            const hpx_http_connection_stats *c = &all[i];
            const bool is_open = c->state == HPX_HTTP_CONNECTION_OPEN;
            w->open[1] += is_open && c->version == HPX_HTTP_1_1;
            w->open[2] += is_open && c->version == HPX_HTTP_2;
            w->wrong += strcmp(c->origin, w->origin) != 0 || c->began_ns == 0 || c->shard > 1;
        }
    } while (!w->is_over);
    return NULL;
}

/* Connections come and go, on two shards, and under the watchdog's eyes. */
static void test_port_when_watched_by_another_thread_then_its_connections_are_seen(void **state)
{
    (void)state;
    static watchdog w;
    prepare();
    b.config.shard = HPX_SHARD_LEAST_LOADED;
    b.config.connections_max = 8;
    b.config.idle_per_origin_max = 1;
    b.config.idle_connection_ns = HPX_NS_PER_MS;
    open_client();
    memset(&w, 0, sizeof(w));
    (void)snprintf(w.origin, sizeof(w.origin), "http://127.0.0.1:%u", b.server.port);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, watchdog_main, &w), 0);
    for (int round = 0; round < 40; round++) {
        for (int i = 0; i < 12; i++) {
            (void)ask("/20000", i % 4 == 0 ? HPX_HTTP_2_PRIOR_KNOWLEDGE : HPX_HTTP_1_1);
        }
        until_all_ended();
    }
    w.is_over = true;
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(w.wrong, 0);
    assert_true(w.looks != 0);

    (void)ask("/1000000", HPX_HTTP_2_PRIOR_KNOWLEDGE); /* one to be seen for certain */
    hpx_http_event event;
    assert_int_equal(hpx_http_wait(b.client, &event, PATIENCE_NS), 1);
    take(&event);
    w.open[2] = 0;
    assert_null(watchdog_main(&w));
    assert_true(w.open[2] != 0 && w.wrong == 0);
    until_all_ended();
    finish();
}

static void test_port_when_limits_are_met_then_said_at_once(void **state)
{
    (void)state;
    prepare();
    b.config.requests_max = 2;
    open_client();
    answer *first = ask("/hold", HPX_HTTP_1_1);
    answer *second = ask("/hold", HPX_HTTP_1_1);
    hpx_error error = {0};
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = "http://127.0.0.1:1/";
    assert_int_equal(hpx_http_send(b.client, &request, NULL, &error), HPX_E_LIMIT);
    assert_int_equal(hpx_http_cancel(b.client, first->id), HPX_OK);
    assert_int_equal(hpx_http_cancel(b.client, second->id), HPX_OK);
    until_all_ended();
    assert_int_equal(first->outcome, HPX_HTTP_CANCELLED);
    assert_int_equal(hpx_http_cancel(b.client, first->id), HPX_E_STALE);
    assert_int_equal(hpx_http_resume(b.client, second->id), HPX_E_STALE);
    assert_int_equal(hpx_http_pause(b.client, second->id), HPX_E_STATE);
    answer *third = ask("/5", HPX_HTTP_1_1); /* in the slot of one of them */
    assert_int_equal(hpx_http_cancel(b.client, first->id), HPX_E_STALE);
    until_all_ended();
    assert_int_equal(third->outcome, HPX_HTTP_DONE);
    finish();
}

static void test_port_when_the_engine_stops_then_every_request_still_ends(void **state)
{
    (void)state;
    prepare();
    b.config.event_ring_bytes = 64u << 10;
    b.config.header_bytes_max = 4096;
    b.config.headers_max = 64;
    open_client();
    for (int i = 0; i < 200; i++) { /* more ends than the ring has room for */
        (void)ask(i % 3 == 0 ? "/hold" : "/100000", HPX_HTTP_2_PRIOR_KNOWLEDGE);
    }
    (void)hpx_engine_stop_wait(b.engine, HPX_NS_PER_S);
    until_all_ended();
    uint32_t cancelled = 0;
    for (uint32_t i = 0; i < b.count; i++) {
        cancelled += b.answers[i].outcome == HPX_HTTP_CANCELLED;
    }
    assert_true(cancelled >= 67);
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = "http://127.0.0.1:1/";
    assert_int_equal(hpx_http_send(b.client, &request, NULL, NULL), HPX_E_STATE);
    hpx_http_client_release(b.client);
    hpx_port_close(b.port);
    hpx_engine_free(b.engine);
    server_close(&b.server);
}

static void test_port_when_closed_with_requests_open_then_all_is_given_back(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        prepare();
        open_client();
        for (int k = 0; k < 30; k++) {
            (void)ask(k % 2 != 0 ? "/hold" : "/50000", HPX_HTTP_ANY);
        }
        if (i % 2 == 0) {
            usleep(3000);
        }
        if (i < 2) {
            hpx_http_client_release(b.client);
        }
        hpx_port_close(b.port); /* releases what is open on it */
        assert_int_equal(hpx_engine_stop_wait(b.engine, 5 * HPX_NS_PER_S), HPX_OK);
        hpx_engine_free(b.engine);
        server_close(&b.server);
    }
}

static void test_port_when_polled_by_descriptor_then_no_event_is_missed(void **state)
{
    (void)state;
    prepare();
    open_client();
    const int fd = hpx_http_fd(b.client);
    for (int i = 0; i < 200; i++) {
        (void)ask("/10", HPX_HTTP_1_1);
        while (b.ended < b.count) {
            struct pollfd ready = {.fd = fd, .events = POLLIN};
            assert_int_equal(poll(&ready, 1, 30000), 1);
            hpx_http_event event;
            while (hpx_http_next(b.client, &event) == 1) {
                take(&event);
            }
        }
    }
    finish();
}

typedef struct producer {
    _Atomic uint32_t ready; /* pieces that may be taken */
    uint32_t taken;
} producer;

static int produce(void *user, uint8_t *to, size_t size)
{
    producer *p = user;
    if (p->taken == 20) {
        return 0;
    }
    if (p->taken == p->ready) {
        return HPX_E_AGAIN;
    }
    p->taken++;
    memset(to, 'p', size < 100 ? size : 100);
    return size < 100 ? (int)size : 100;
}

static void test_port_when_a_body_is_pulled_then_resume_goes_on(void **state)
{
    (void)state;
    for (int version = HPX_HTTP_1_1; version <= HPX_HTTP_2_PRIOR_KNOWLEDGE; version += 2) {
        prepare();
        open_client();
        static producer p;
        p = (producer){0};
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.method = "POST";
        request.version = (hpx_http_version)version;
        request.pull = produce;
        request.pull_user = &p;
        request.body_bytes = HPX_HTTP_SIZE_UNKNOWN;
        answer *a = ask_with(&request, "/");
        for (int i = 0; i < 20; i++) {
            p.ready++;
            hpx_status status;
            while ((status = hpx_http_resume(b.client, a->id)) == HPX_E_AGAIN) {
            }
            assert_int_equal(status, HPX_OK);
        }
        until_all_ended();
        assert_string_equal(a->text, "2000");
        a->corrupt = false;
        finish();
    }
}

/* Making a client, its links and slots: each allocation fails in turn. */
static void test_port_when_there_is_no_memory_then_said_and_nothing_leaks(void **state)
{
    (void)state;
    size_t first = 0;
    size_t last = 1;
    for (size_t fail_at = 0; fail_at < last - first; fail_at++) {
        failing_allocator fa = FAILING_ALLOCATOR_NEVER;
        hpx_engine *engine = NULL;
        hpx_port *port = NULL;
        hpx_http_client *client = NULL;
        hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
        config.wait_mode = HPX_WAIT_SLEEP;
        config.allocator = fa_allocator(&fa);
        assert_int_equal(hpx_engine_new(&engine, &config, NULL), HPX_OK);
        assert_int_equal(hpx_engine_start(engine, NULL), HPX_OK);
        assert_int_equal(hpx_port_open(&port, engine, NULL, NULL), HPX_OK);
        first = fa.count;
        fa.fail_at = first + fail_at;
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = "http://127.0.0.1:1/"; /* refused */
        hpx_status status = hpx_http_client_open(port, NULL, &client, NULL);
        if (status == HPX_OK) {
            status = hpx_http_send(client, &request, NULL, NULL);
        }
        if (status == HPX_OK) {
            hpx_http_event event;
            assert_int_equal(hpx_http_wait(client, &event, PATIENCE_NS), 1);
            assert_int_equal(event.outcome, HPX_HTTP_FAILED);
            assert_true(event.error->status == HPX_E_NO_MEMORY || event.error->status == -111);
        } else {
            assert_int_equal(status, HPX_E_NO_MEMORY);
        }
        last = fa.count > last ? fa.count : last;
        hpx_port_close(port);
        assert_int_equal(hpx_engine_stop_wait(engine, 5 * HPX_NS_PER_S), HPX_OK);
        hpx_engine_free(engine);
        assert_int_equal(fa.live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_port_when_many_requests_then_each_ends_once_and_whole),
        cmocka_unit_test(test_port_when_the_app_is_slow_then_nothing_is_lost),
        cmocka_unit_test(test_port_when_decoding_into_a_full_ring_then_in_order),
        cmocka_unit_test(test_port_when_collected_and_large_then_one_event_beyond_the_ring),
        cmocka_unit_test(test_port_when_the_body_is_large_then_it_goes_as_a_block),
        cmocka_unit_test(test_port_when_cancelled_at_any_moment_then_one_end_each),
        cmocka_unit_test(test_port_when_cancelled_again_and_again_then_the_ring_has_room),
        cmocka_unit_test(test_port_when_watched_by_another_thread_then_its_connections_are_seen),
        cmocka_unit_test(test_port_when_limits_are_met_then_said_at_once),
        cmocka_unit_test(test_port_when_the_engine_stops_then_every_request_still_ends),
        cmocka_unit_test(test_port_when_closed_with_requests_open_then_all_is_given_back),
        cmocka_unit_test(test_port_when_polled_by_descriptor_then_no_event_is_missed),
        cmocka_unit_test(test_port_when_a_body_is_pulled_then_resume_goes_on),
        cmocka_unit_test(test_port_when_there_is_no_memory_then_said_and_nothing_leaks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

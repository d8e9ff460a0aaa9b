/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the HTTP/2 side of our server: streams answered in any order, flow control held, streams
 * reset by either side, graceful close; each call ends once, also when memory runs out.
 * Method: our own client session (h2/session.h) over a bare socket to the server of http_bed.h, all
 * turned by the test.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "h2/session.h"
#include "tests/engine/http_bed.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define STREAMS     16u
#define DEADLINE_NS (30 * HPX_NS_PER_S)

/* One stream of the client. */
typedef struct visit {
    hpxi_h2_stream stream;
    uint16_t status;
    char body[64];
    size_t body_bytes;
    uint32_t interim; /* 1xx */
    bool ended;
    bool closed;
    uint32_t code;
} visit;

typedef struct h2_client {
    failing_allocator fa;
    hpx_allocator allocator;
    hpxi_h2 *h2;
    hpxi_buf out;
    int fd;
    bool peer_ended;
    bool goaway;
    bool keeps_data; /* does not consume: the window closes */
    hpx_status status;
    visit visits[STREAMS];
} h2_client;

static void client_open(h2_client *c, const http_bed *bed)
{
    *c = (h2_client){.fa = FAILING_ALLOCATOR_NEVER};
    c->allocator = fa_allocator(&c->fa);
    hpxi_buf_init(&c->out, &c->allocator);
    assert_int_equal(
        hpxi_h2_new(&c->h2, &hpxi_h2_config_client, &c->allocator, hpx_clock_now_ns()), HPX_OK);
    c->fd = bed_connect(bed);
}

static void client_close(h2_client *c)
{
    hpxi_h2_free(c->h2);
    hpxi_buf_fini(&c->out);
    assert_int_equal(c->fa.live, 0);
    close(c->fd);
}

static void client_event(h2_client *c, const hpxi_h2_event *event)
{
    visit *v = event->user;
    switch (event->kind) {
    case HPXI_H2_INFORMATIONAL:
        v->interim++;
        break;
    case HPXI_H2_RESPONSE:
        v->status = event->head.status;
        break;
    case HPXI_H2_DATA:
        if (v->body_bytes + event->data.size < sizeof(v->body)) {
            memcpy(v->body + v->body_bytes, event->data.data, event->data.size);
        }
        v->body_bytes += event->data.size;
        if (!c->keeps_data) {
            hpxi_h2_consume(c->h2, event->stream, event->data.size);
        }
        break;
    case HPXI_H2_END:
        v->ended = true;
        break;
    case HPXI_H2_CLOSED:
        v->closed = true;
        v->code = event->closed.code;
        break;
    case HPXI_H2_GOAWAY:
        c->goaway = true;
        break;
    default:
        break;
    }
}

/* One turn of both sides. */
static void client_turn(h2_client *c, http_bed *bed)
{
    uint8_t buffer[16384];
    const uint64_t now_ns = hpx_clock_now_ns();
    (void)hpxi_h2_flush(c->h2, &c->out, 65536, now_ns);
    const hpx_span out = hpxi_buf_span(&c->out);
    const ssize_t sent = out.size == 0 ? 0 : send(c->fd, out.data, out.size, MSG_NOSIGNAL);
    if (sent > 0) {
        hpxi_buf_consume(&c->out, (size_t)sent);
    }
    bed_turn(bed);
    const ssize_t got = recv(c->fd, buffer, sizeof(buffer), 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        c->peer_ended = true;
        return;
    }
    const uint8_t *data = buffer;
    size_t size = got > 0 ? (size_t)got : 0;
    hpxi_h2_event event;
    while ((c->status = hpxi_h2_next(c->h2, &data, &size, &c->out, now_ns, &event)) == 1) {
        client_event(c, &event);
    }
}

#define turn_until(c, bed, condition)                                                              \
    do {                                                                                           \
        const uint64_t end_ns = hpx_clock_now_ns() + DEADLINE_NS;                                  \
        while (!(condition)) {                                                                     \
            client_turn((c), (bed));                                                               \
            assert_true(hpx_clock_now_ns() < end_ns);                                              \
        }                                                                                          \
    } while (0)

static void ask(h2_client *c, uint32_t i, const char *path, const char *body)
{
    const hpxi_h2_request_head head = {
        .method = hpx_span_of(body == NULL ? "GET" : "POST"),
        .scheme = hpx_span_of("http"),
        .authority = hpx_span_of("x"),
        .path = hpx_span_of(path)};
    const hpxi_h2_body sent = {.span = body == NULL ? (hpx_span){0} : hpx_span_of(body)};
    assert_int_equal(
        hpxi_h2_request(c->h2, &c->visits[i].stream, &head, &sent, &c->visits[i], NULL), HPX_OK);
}

static void expect_visit(const h2_client *c, uint32_t i, uint16_t status, const char *body)
{
    const visit *v = &c->visits[i];
    assert_true(v->ended && v->closed);
    assert_int_equal(v->status, status);
    assert_int_equal(v->body_bytes, strlen(body));
    assert_memory_equal(v->body, body, v->body_bytes);
}

static void test_h2_when_asked_then_answers_of_every_form(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *body;
        uint16_t status;
        const char *answer;
    } rows[] = {
        {"/hello", NULL, 200, "hello"},
        {"/none", NULL, 204, ""},
        {"/chunks", NULL, 200, "one,two,three"},
        {"/length", NULL, 200, "one,two,three"},
        {"/bad", NULL, 500, "bad"},
        {"/nowhere", NULL, 404, "no such path"},
        {"/echo?a=b", "hello", 200, "POST|a=b|hello||x"},
    };
    http_bed bed;
    h2_client c;
    bed_open(&bed, NULL);
    client_open(&c, &bed);
    for (uint32_t i = 0; i < COUNT_OF(rows); i++) {
        ask(&c, i, rows[i].path, rows[i].body);
    }
    turn_until(&c, &bed, bed.closed == COUNT_OF(rows) && c.visits[COUNT_OF(rows) - 1].closed);
    for (uint32_t i = 0; i < COUNT_OF(rows); i++) {
        expect_visit(&c, i, rows[i].status, rows[i].answer);
    }
    assert_int_equal(bed.lost, 0);
    client_close(&c);
    bed_stop(&bed);
}

/* RFC 9110 10.1.1: the client need not wait for its own patience to end. */
static void test_h2_when_client_expects_continue_then_100(void **state)
{
    (void)state;
    http_bed bed;
    h2_client c;
    bed_open(&bed, NULL);
    client_open(&c, &bed);
    const hpxi_h2_field expect = {
        .name = hpx_span_of("expect"), .value = hpx_span_of("100-continue")};
    const hpxi_h2_request_head head = {
        .method = hpx_span_of("POST"),
        .scheme = hpx_span_of("http"),
        .authority = hpx_span_of("x"),
        .path = hpx_span_of("/echo"),
        .fields = &expect,
        .field_count = 1};
    const hpxi_h2_body body = {.span = hpx_span_of("hello")};
    assert_int_equal(
        hpxi_h2_request(c.h2, &c.visits[0].stream, &head, &body, &c.visits[0], NULL), HPX_OK);
    ask(&c, 1, "/hello", NULL);
    turn_until(&c, &bed, c.visits[0].closed && c.visits[1].closed);
    expect_visit(&c, 0, 200, "POST||hello||x");
    assert_int_equal(c.visits[0].interim, 1);
    assert_int_equal(c.visits[1].interim, 0);
    client_close(&c);
    bed_stop(&bed);
}

static void test_h2_when_answered_in_reverse_then_each_gets_its_own(void **state)
{
    (void)state;
    http_bed bed;
    h2_client c;
    bed_open(&bed, NULL);
    client_open(&c, &bed);
    for (uint32_t i = 0; i < STREAMS; i++) {
        ask(&c, i, "/later", NULL);
    }
    turn_until(&c, &bed, bed.kept_count == STREAMS);
    for (uint32_t i = STREAMS; i-- > 0;) {
        char text[16];
        (void)snprintf(text, sizeof(text), "answer %u", i);
        assert_int_equal(
            hpx_http_call_answer(bed.kept[i], 200, NULL, 0, hpx_span_of(text), NULL), HPX_OK);
        turn_until(&c, &bed, c.visits[i].closed);
        expect_visit(&c, i, 200, text);
    }
    turn_until(&c, &bed, bed.closed == STREAMS);
    client_close(&c);
    bed_stop(&bed);
}

/* A client that does not consume closes the window of its stream: what the server holds stays at
 * its limit, and others go on. */
static void test_h2_when_window_is_closed_then_again_and_others_go_on(void **state)
{
    (void)state;
    http_bed bed;
    h2_client c;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.send_queue_bytes_max = 100000;
    bed_open(&bed, &config);
    bed.stream_left = UINT64_C(30) << 20;
    client_open(&c, &bed);
    c.keeps_data = true;
    ask(&c, 0, "/big", NULL);
    for (uint64_t left = 0; left != bed.stream_left;) { /* until it makes no progress */
        left = bed.stream_left;
        for (uint32_t i = 0; i < 100; i++) {
            client_turn(&c, &bed);
        }
    }
    assert_true(bed.stream_left > UINT64_C(20) << 20);
    ask(&c, 1, "/hello", NULL);
    turn_until(&c, &bed, c.visits[1].closed);
    expect_visit(&c, 1, 200, "hello");
    c.keeps_data = false;
    hpxi_h2_consume(c.h2, c.visits[0].stream, c.visits[0].body_bytes);
    turn_until(&c, &bed, c.visits[0].closed && bed.closed == 2);
    assert_int_equal(c.visits[0].body_bytes, UINT64_C(30) << 20);
    assert_true(bed.writable > 2);
    client_close(&c);
    bed_stop(&bed);
}

static void test_h2_when_stream_is_reset_then_call_ends_once(void **state)
{
    (void)state;
    http_bed bed;
    h2_client c;
    bed_open(&bed, NULL);
    client_open(&c, &bed);
    ask(&c, 0, "/later", NULL);
    turn_until(&c, &bed, bed.kept_count == 1);
    assert_int_equal(hpxi_h2_reset(c.h2, c.visits[0].stream, HPXI_H2_CANCEL, NULL), HPX_OK);
    turn_until(&c, &bed, bed.closed == 1);
    assert_int_equal(bed.last.status, HPX_E_H2_RESET);
    assert_int_equal(bed.last.h2_error, HPXI_H2_CANCEL);
    ask(&c, 1, "/abort", NULL); /* and by us */
    ask(&c, 2, "/short", NULL);
    ask(&c, 3, "/raw", NULL); /* there are no raw bytes in HTTP/2: the bed aborts */
    turn_until(&c, &bed, c.visits[1].closed && c.visits[2].closed && c.visits[3].closed);
    assert_int_equal(c.visits[1].code, HPXI_H2_INTERNAL_ERROR);
    assert_int_equal(c.visits[2].code, HPXI_H2_INTERNAL_ERROR);
    turn_until(&c, &bed, bed.closed == 4);
    ask(&c, 4, "/hello", NULL);
    turn_until(&c, &bed, c.visits[4].closed);
    expect_visit(&c, 4, 200, "hello");
    client_close(&c);
    bed_stop(&bed);
}

/* GOAWAY; what is open is still answered, then the connection ends. */
static void test_h2_when_server_closes_then_open_calls_go_on(void **state)
{
    (void)state;
    http_bed bed;
    h2_client c;
    bed_open(&bed, NULL);
    client_open(&c, &bed);
    ask(&c, 0, "/later", NULL);
    turn_until(&c, &bed, bed.kept_count == 1);
    hpx_http_server_close(bed.server);
    turn_until(&c, &bed, c.goaway);
    assert_int_equal(
        hpx_http_call_answer(bed.kept[0], 200, NULL, 0, hpx_span_of("late"), NULL), HPX_OK);
    turn_until(&c, &bed, c.visits[0].closed && c.peer_ended);
    expect_visit(&c, 0, 200, "late");
    client_close(&c);
    bed_stop(&bed);
}

/* The client's connection breaks with calls open. */
static void test_h2_when_connection_breaks_then_all_calls_are_lost(void **state)
{
    (void)state;
    http_bed bed;
    h2_client c;
    bed_open(&bed, NULL);
    client_open(&c, &bed);
    for (uint32_t i = 0; i < STREAMS; i++) {
        ask(&c, i, "/later", NULL);
    }
    turn_until(&c, &bed, bed.kept_count == STREAMS);
    const struct linger hard = {.l_onoff = 1};
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    client_close(&c);
    while (bed.closed != STREAMS) {
        bed_turn(&bed);
    }
    assert_int_equal(bed.lost, STREAMS);
    bed_stop(&bed);
}

static ptrdiff_t never(void *ctx, uint8_t *to, size_t room, bool *is_last)
{
    (void)ctx;
    (void)to;
    (void)room;
    *is_last = false;
    return HPX_E_AGAIN;
}

/* A body that does not come; while another stream of the connection lives on. */
static void test_h2_when_body_stalls_then_reset_and_others_go_on(void **state)
{
    (void)state;
    http_bed bed;
    h2_client c;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.request_timeout_ns = 30 * HPX_NS_PER_MS;
    bed_open(&bed, &config);
    client_open(&c, &bed);
    ask(&c, 0, "/later", NULL);
    turn_until(&c, &bed, bed.kept_count == 1);
    const hpxi_h2_request_head head = {
        .method = hpx_span_of("POST"),
        .scheme = hpx_span_of("http"),
        .authority = hpx_span_of("x"),
        .path = hpx_span_of("/echo")};
    const hpxi_h2_body body = {.pull = never};
    assert_int_equal(
        hpxi_h2_request(c.h2, &c.visits[1].stream, &head, &body, &c.visits[1], NULL), HPX_OK);
    turn_until(&c, &bed, c.visits[1].closed);
    assert_int_equal(c.visits[1].status, 0);
    assert_int_equal(bed.requests, 1);
    assert_int_equal(
        hpx_http_call_answer(bed.kept[0], 200, NULL, 0, hpx_span_of("late"), NULL), HPX_OK);
    turn_until(&c, &bed, c.visits[0].closed);
    expect_visit(&c, 0, 200, "late");
    client_close(&c);
    bed_stop(&bed);
}

/* Without a request for a time, GOAWAY and the end. */
static void test_h2_when_idle_then_closed(void **state)
{
    (void)state;
    http_bed bed;
    h2_client c;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.idle_timeout_ns = 30 * HPX_NS_PER_MS;
    bed_open(&bed, &config);
    client_open(&c, &bed);
    ask(&c, 0, "/hello", NULL);
    turn_until(&c, &bed, c.visits[0].closed);
    turn_until(&c, &bed, c.goaway && c.peer_ended);
    client_close(&c);
    bed_stop(&bed);
}

/* Bytes that are no HTTP/2 after its preface: GOAWAY, and the end. */
static void test_h2_when_frames_are_garbage_then_closed(void **state)
{
    (void)state;
    http_bed bed;
    bed_open(&bed, NULL);
    const int fd = bed_connect(&bed);
    static const char bytes[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is not a frame at all......";
    bed_send(&bed, fd, bytes, sizeof(bytes) - 1);
    char got[1024];
    ssize_t some = -1;
    while (some != 0) {
        bed_turn(&bed);
        some = read(fd, got, sizeof(got));
        assert_true(some >= 0 || errno == EAGAIN);
    }
    close(fd);
    bed_stop(&bed);
}

/* Memory runs out at each allocation of a connection in turn. */
static void test_h2_when_any_allocation_fails_then_calls_end_and_it_goes_on(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    http_bed bed;
    bed_open_with(&bed, NULL, &allocator);
    bed.lenient = true;
    bool hit = true;
    for (size_t i = 0; hit; i++) {
        h2_client c;
        fa.fail_at = fa.count + i;
        client_open(&c, &bed);
        ask(&c, 0, "/echo", "hello");
        ask(&c, 1, "/chunks", NULL);
        turn_until(&c, &bed, c.peer_ended || (c.visits[0].closed && c.visits[1].closed));
        hit = fa.count > fa.fail_at;
        fa.fail_at = SIZE_MAX;
        client_close(&c);
        bed_turns(&bed, 20);
        assert_int_equal(bed.closed, bed.requests);
        assert_true(i < 2000);
    }
    bed_exchange(&bed, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", 1, false);
    assert_string_equal(bed_text, "200 keep hello\n");
    bed_stop(&bed);
    assert_int_equal(fa.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_h2_when_asked_then_answers_of_every_form),
        cmocka_unit_test(test_h2_when_client_expects_continue_then_100),
        cmocka_unit_test(test_h2_when_answered_in_reverse_then_each_gets_its_own),
        cmocka_unit_test(test_h2_when_window_is_closed_then_again_and_others_go_on),
        cmocka_unit_test(test_h2_when_stream_is_reset_then_call_ends_once),
        cmocka_unit_test(test_h2_when_server_closes_then_open_calls_go_on),
        cmocka_unit_test(test_h2_when_connection_breaks_then_all_calls_are_lost),
        cmocka_unit_test(test_h2_when_body_stalls_then_reset_and_others_go_on),
        cmocka_unit_test(test_h2_when_idle_then_closed),
        cmocka_unit_test(test_h2_when_frames_are_garbage_then_closed),
        cmocka_unit_test(test_h2_when_any_allocation_fails_then_calls_end_and_it_goes_on),
    };
    return cmocka_run_group_tests_name("engine/http_server_h2", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the HTTP/1.1 side of our server: answers of every form, keep-alive and pipelining in order,
 * refusals, limits, deadlines, slow readers; each call ends once, and nothing is left behind.
 * Method: a shard that the test turns itself, bare sockets as clients, our own reader to read what
 * comes back (http_bed.h).
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/engine/http_bed.h"
#include "tests/support/descriptors.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define HOST      " HTTP/1.1\r\nHost: x\r\n"
#define GET(path) "GET " path HOST "\r\n"
#define UNTIL_END UINT32_MAX

typedef struct row {
    const char *request;
    uint32_t count;
    const char *log;
} row;

static void check_rows(http_bed *bed, const row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const bool head = strncmp(rows[i].request, "HEAD ", 5) == 0;
        bed_exchange(bed, rows[i].request, rows[i].count, head);
        if (strcmp(bed_text, rows[i].log) != 0) {
            fail_msg("%s\nexpected\n%s\nis\n%s", rows[i].request, rows[i].log, bed_text);
        }
    }
}

static void test_http_server_when_asked_then_answers_of_every_form(void **state)
{
    (void)state;
    static const row rows[] = {
        {GET("/hello"), 1, "200 keep hello\n"},
        {GET("/nowhere"), 1, "404 keep no such path\n"},
        {GET("/none"), 1, "204 keep \n"},
        {GET("/chunks"), 1, "200 keep one,two,three\n"},
        {GET("/length"), 1, "200 keep one,two,three\n"},
        {GET("/bad"), 1, "500 keep bad\n"},
        {"HEAD /hello" HOST "\r\n", 1, "200 keep \n"},
        {"HEAD /chunks" HOST "\r\n", 1, "200 keep \n"},
        {"HEAD /length" HOST "\r\n", 1, "200 keep \n"},
        {"OPTIONS *" HOST "\r\n", 1, "200 keep OPTIONS||||x\n"},
        {"GET /echo?a=b&c" HOST "X-Ask: yes\r\n\r\n", 1, "200 keep GET|a=b&c||yes|x\n"},
        {"GET http://other:1/echo?q" HOST "\r\n", 1, "200 keep GET|q|||other:1\n"},
        {"GET http://other" HOST "\r\n", 1, "200 keep GET|||root|other\n"},
        {"GET http://other?q" HOST "\r\n", 1, "200 keep GET|q||root|other\n"},
        {"GET /" HOST "\r\n", 1, "200 keep GET|||root|x\n"},
        {"POST /echo" HOST "Content-Length: 5\r\n\r\nhello", 1, "200 keep POST||hello||x\n"},
        {"PUT /echo" HOST
         "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nT: u\r\n\r\n",
         1,
         "200 keep PUT||abcde||x\n"},
        {"PUT /echo" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
         1,
         "100\n200 keep PUT||x||x\n"},
        {"GET /hello" HOST "Connection: close\r\n\r\n", UNTIL_END, "200 last hello\nFIN"},
        {"GET /hello HTTP/1.0\r\n\r\n", UNTIL_END, "200 last hello\nFIN"},
        {"GET /chunks HTTP/1.0\r\n\r\n", UNTIL_END, "200 last one,two,three\nFIN"},
        {"GET /chunks HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
         UNTIL_END,
         "200 last one,two,three\nFIN"},
        {"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", 1, "200 kept hello\n"},
        {GET("/abort"), UNTIL_END, "200 keep partcut RST"},
        {GET("/short"), UNTIL_END, "200 keep 123cut RST"},
    };
    http_bed bed;
    bed_open(&bed, NULL);
    check_rows(&bed, rows, COUNT_OF(rows));
    assert_int_equal(bed.lost, 2);
    assert_int_equal(bed.last.status, HPX_E_ABORTED);
    hpx_http_server_stats stats;
    do {
        bed_turn(&bed);
        hpx_http_server_get_stats(bed.server, &stats);
    } while (stats.connections != 0);
    assert_int_equal(stats.accepted, COUNT_OF(rows));
    assert_int_equal(stats.requests, COUNT_OF(rows));
    assert_int_equal(stats.lost, 2);
    assert_int_equal(stats.refused, 0);
    bed_stop(&bed);
}

static void test_http_server_when_request_is_bad_then_refused_and_closed(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        const char *status;
    } rows[] = {
        {"nonsense\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET /" HOST "A : b\r\n\r\n", "400"},
        {"GET /" HOST "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400"},
        {"POST /" HOST "Transfer-Encoding: gzip\r\n\r\n", "501"},
        {"GET / HTTP/1.3\r\n\r\n", "505"},
        {"PRI * HTTP/3.0\r\n\r\n", "505"},
        {"PUT /" HOST "Expect: tea\r\n\r\n", "417"},
        {"PUT /" HOST "Content-Length: 2000000\r\n\r\n", "413"},
        {"POST /echo" HOST "Transfer-Encoding: chunked\r\n\r\nx", "400"},
    };
    http_bed bed;
    bed_open(&bed, NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bed_exchange(&bed, rows[i].request, UNTIL_END, false);
        if (strncmp(bed_text, rows[i].status, 3) != 0 || strstr(bed_text, " last ") == NULL ||
            strstr(bed_text, "FIN") == NULL) {
            fail_msg("%s\n%s", rows[i].request, bed_text);
        }
    }
    hpx_http_server_stats stats;
    hpx_http_server_get_stats(bed.server, &stats);
    assert_int_equal(stats.refused, COUNT_OF(rows));
    assert_int_equal(stats.requests, 0);
    assert_int_equal(bed.requests, 0);
    bed_stop(&bed);
}

/* The limit on bodies, met and passed by one; announced, and only found out. */
static void test_http_server_when_body_reaches_limit_then_413_beyond(void **state)
{
    (void)state;
    static const row rows[] = {
        {"PUT /echo" HOST "Content-Length: 5\r\n\r\nhello", 1, "200 keep PUT||hello||x\n"},
        {"PUT /echo" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
         1,
         "200 keep PUT||abcde||x\n"},
        {"PUT /echo" HOST "Content-Length: 6\r\n\r\nhello!",
         UNTIL_END,
         "413 last the body is too large\n\nFIN"},
        {"PUT /echo" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n",
         UNTIL_END,
         "413 last the body is too large\n\nFIN"},
    };
    http_bed bed;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.body_bytes_max = 5;
    bed_open(&bed, &config);
    check_rows(&bed, rows, COUNT_OF(rows));
    assert_int_equal(bed.requests, 2);
    bed_stop(&bed);
}

/* A good request, then a bad one in the same segment: the good one is answered first. */
static void test_http_server_when_pipelined_then_answers_in_order(void **state)
{
    (void)state;
    static const row rows[] = {
        {GET("/hello") GET("/none") GET("/chunks") "POST /echo" HOST
                                                   "Content-Length: 2\r\n\r\nhi" GET("/length"),
         5,
         "200 keep hello\n204 keep \n200 keep one,two,three\n200 keep POST||hi||x\n"
         "200 keep one,two,three\n"},
        {GET("/hello") "BAD\r\n\r\n",
         UNTIL_END,
         "200 keep hello\n400 last request is not HTTP/1.1: it begins with \"BAD\\r\"\n\nFIN"},
        {"GET /hello" HOST "Connection: close\r\n\r\n" GET("/hello"),
         UNTIL_END,
         "200 last hello\nFIN"},
    };
    http_bed bed;
    bed_open(&bed, NULL);
    check_rows(&bed, rows, COUNT_OF(rows));
    bed_stop(&bed);
}

/* Requests that come while one is open wait for it. */
static void test_http_server_when_answered_later_then_the_next_ones_wait(void **state)
{
    (void)state;
    http_bed bed;
    bed_open(&bed, NULL);
    const int fd = bed_connect(&bed);
    static const char requests[] = GET("/later") GET("/hello") GET("/later") GET("/none");
    bed_send(&bed, fd, requests, sizeof(requests) - 1);
    for (uint32_t i = 0; i < 2; i++) {
        while (bed.kept_count == i) {
            bed_turn(&bed);
        }
        bed_turns(&bed, 20);
        assert_int_equal(bed.kept_count, i + 1);
        assert_int_equal(bed.requests, 2 * i + 1);
        assert_int_equal(
            hpx_http_call_answer(bed.kept[i], 200, NULL, 0, hpx_span_of("late"), NULL), HPX_OK);
    }
    bed_read(&bed, fd, 4, false);
    assert_string_equal(bed_text, "200 keep late\n200 keep hello\n200 keep late\n204 keep \n");
    close(fd);
    bed_stop(&bed);
}

/* Each request cut at each byte, and one byte at a time. */
static void test_http_server_when_request_is_cut_then_the_same_answer(void **state)
{
    (void)state;
    static const char request[] =
        "POST /echo?q" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" GET("/hello");
    http_bed bed;
    bed_open(&bed, NULL);
    const size_t size = sizeof(request) - 1;
    const int fd = bed_connect(&bed);
    for (size_t cut = 1; cut < size; cut++) {
        bed_send(&bed, fd, request, cut);
        bed_turns(&bed, 2);
        bed_send(&bed, fd, request + cut, size - cut);
        bed_read(&bed, fd, 2, false);
        assert_string_equal(bed_text, "200 keep POST|q|abc||x\n200 keep hello\n");
    }
    for (size_t at = 0; at < size; at++) {
        bed_send(&bed, fd, request + at, 1);
    }
    bed_read(&bed, fd, 2, false);
    assert_string_equal(bed_text, "200 keep POST|q|abc||x\n200 keep hello\n");
    close(fd);
    bed_stop(&bed);
}

/* Bytes of the app's own; what the client makes of them is its business. */
static void test_http_server_when_raw_then_bytes_as_given_and_closed(void **state)
{
    (void)state;
    http_bed bed;
    bed_open(&bed, NULL);
    const int fd = bed_connect(&bed);
    bed_send(&bed, fd, GET("/raw"), sizeof(GET("/raw")) - 1);
    char got[200];
    size_t have = 0;
    ssize_t some = -1;
    while (some != 0) {
        bed_turn(&bed);
        some = read(fd, got + have, sizeof(got) - have);
        have += some > 0 ? (size_t)some : 0;
    }
    assert_int_equal(have, 41);
    assert_memory_equal(got, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nraw", have);
    close(fd);
    bed_stop(&bed);
}

/* 20 MB to a client that reads late: the queue stays at its limit, WRITABLE comes, all arrives. */
static void test_http_server_when_reader_is_slow_then_again_and_writable(void **state)
{
    (void)state;
    http_bed bed;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.send_queue_bytes_max = 100000;
    bed_open(&bed, &config);
    const uint64_t size = UINT64_C(20) << 20;
    bed.stream_left = size;
    const int fd = bed_connect(&bed);
    bed_send(&bed, fd, GET("/big"), sizeof(GET("/big")) - 1);
    for (uint64_t left = 0; left != bed.stream_left;) { /* until it makes no progress */
        left = bed.stream_left;
        bed_turns(&bed, 100);
    }
    assert_in_range(bed.stream_left, 1, size - 1);
    bed_read(&bed, fd, 1, false);
    assert_int_equal(bed_body_bytes, size);
    assert_true(bed.writable > 2);
    close(fd);
    bed_stop(&bed);
}

static void test_http_server_when_nobody_goes_on_then_deadlines(void **state)
{
    (void)state;
    http_bed bed;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.request_timeout_ns = 30 * HPX_NS_PER_MS;
    config.idle_timeout_ns = 30 * HPX_NS_PER_MS;
    config.stall_timeout_ns = 30 * HPX_NS_PER_MS;
    config.version = HPX_HTTP_1_1; /* without it, what could be HTTP/2 is still waited for */
    bed_open(&bed, &config);
    static const row rows[] = {
        {"", UNTIL_END, "FIN"},
        {"GET /hello HTT", UNTIL_END, "408 last the request was not complete in time\n\nFIN"},
        {"POST /echo" HOST "Content-Length: 5\r\n\r\nhell",
         UNTIL_END,
         "408 last the request was not complete in time\n\nFIN"},
        {GET("/hello"), UNTIL_END, "200 keep hello\nFIN"},
    };
    check_rows(&bed, rows, COUNT_OF(rows));
    bed.stream_left = UINT64_C(50) << 20; /* more than the kernel holds */
    const int fd = bed_connect(&bed);
    bed_send(&bed, fd, GET("/big"), sizeof(GET("/big")) - 1);
    while (bed.lost == 0) {
        bed_turn(&bed);
    }
    assert_int_equal(bed.last.status, HPX_E_HTTP_IDLE);
    close(fd);
    bed_stop(&bed);
}

static void test_http_server_when_requests_max_then_closed_after_the_last(void **state)
{
    (void)state;
    http_bed bed;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.requests_max = 2;
    bed_open(&bed, &config);
    bed_exchange(&bed, GET("/hello") GET("/none") GET("/hello"), UNTIL_END, false);
    assert_string_equal(bed_text, "200 keep hello\n204 last \nFIN");
    bed_stop(&bed);
}

/* The client leaves: half a close still gets its answer, a whole one loses the call. */
static void test_http_server_when_client_leaves_then_call_ends_once(void **state)
{
    (void)state;
    http_bed bed;
    bed_open(&bed, NULL);
    int fd = bed_connect(&bed);
    bed_send(&bed, fd, GET("/later"), sizeof(GET("/later")) - 1);
    (void)shutdown(fd, SHUT_WR);
    while (bed.kept_count == 0) {
        bed_turn(&bed);
    }
    bed_turns(&bed, 20);
    assert_int_equal(bed.closed, 0);
    assert_int_equal(
        hpx_http_call_answer(bed.kept[0], 200, NULL, 0, hpx_span_of("late"), NULL), HPX_OK);
    bed_read(&bed, fd, UNTIL_END, false);
    assert_string_equal(bed_text, "200 last late\nFIN");
    close(fd);
    fd = bed_connect(&bed); /* half a close after the answer has begun */
    bed_send(&bed, fd, GET("/later"), sizeof(GET("/later")) - 1);
    while (bed.kept_count == 1) {
        bed_turn(&bed);
    }
    assert_int_equal(hpx_http_call_begin(bed.kept[1], 200, NULL, 0, 4, NULL), HPX_OK);
    (void)shutdown(fd, SHUT_WR);
    bed_turns(&bed, 20);
    assert_int_equal(hpx_http_call_write(bed.kept[1], hpx_span_of("late")), HPX_OK);
    assert_int_equal(hpx_http_call_end(bed.kept[1]), HPX_OK);
    bed_read(&bed, fd, UNTIL_END, false);
    assert_string_equal(bed_text, "200 keep late\nFIN");
    close(fd);
    fd = bed_connect(&bed);
    bed_send(&bed, fd, GET("/later"), sizeof(GET("/later")) - 1);
    while (bed.kept_count == 2) {
        bed_turn(&bed);
    }
    const struct linger hard = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    close(fd);
    while (bed.lost == 0) {
        bed_turn(&bed);
    }
    assert_int_equal(bed.last.os_errno, ECONNRESET);
    bed_exchange(&bed, "GET /half", 0, false); /* leaves within a request */
    bed_turns(&bed, 20);
    bed_stop(&bed);
}

/* More than is held comes behind the last request: the peer is throttled while it waits, and what
 * it sent is read and dropped before the end, for a reset could overtake the answer. */
static void test_http_server_when_flooded_behind_the_last_then_no_reset(void **state)
{
    (void)state;
    static char flood[8 << 20];
    http_bed bed;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.close_timeout_ns = 20 * HPX_NS_PER_S;
    bed_open(&bed, &config);
    const int fd = bed_connect(&bed);
    const size_t head =
        (size_t)snprintf(flood, sizeof(flood), "GET /later" HOST "Connection: close\r\n\r\n");
    memset(flood + head, 'x', sizeof(flood) - head);
    size_t sent = 0;
    for (uint32_t idle = 0; idle < 200 && sent < sizeof(flood); idle++) { /* what it takes in */
        const ssize_t some = send(fd, flood + sent, sizeof(flood) - sent, MSG_NOSIGNAL);
        sent += some > 0 ? (size_t)some : 0;
        idle = some > 0 ? 0 : idle;
        bed_turns(&bed, 2);
    }
    assert_int_equal(bed.kept_count, 1);
    hpx_shard_stats shard;
    hpx_shard_get_stats(bed.shard, &shard);
    bed_turns(&bed, 100);
    hpx_shard_get_stats(bed.shard, &shard);
    assert_in_range(shard.bytes_received, 1, sizeof(flood) / 4);
    assert_int_equal(
        hpx_http_call_answer(bed.kept[0], 200, NULL, 0, hpx_span_of("late"), NULL), HPX_OK);
    bed_read(&bed, fd, UNTIL_END, false);
    assert_string_equal(bed_text, "200 last late\nFIN");
    (void)shutdown(fd, SHUT_WR);
    hpx_http_server_stats stats;
    do {
        bed_turn(&bed);
        hpx_http_server_get_stats(bed.server, &stats);
    } while (stats.connections != 0);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0); /* FIN still, not ECONNRESET */
    hpx_shard_get_stats(bed.shard, &shard);
    assert_int_equal(shard.bytes_received, sent);
    close(fd);
    bed_stop(&bed);
}

static void test_http_server_when_closed_then_open_calls_go_on(void **state)
{
    (void)state;
    http_bed bed;
    bed_open(&bed, NULL);
    const int idle = bed_connect(&bed);
    bed_send(&bed, idle, GET("/hello"), sizeof(GET("/hello")) - 1);
    bed_read(&bed, idle, 1, false);
    const int fd = bed_connect(&bed);
    bed_send(&bed, fd, GET("/later"), sizeof(GET("/later")) - 1);
    while (bed.kept_count == 0) {
        bed_turn(&bed);
    }
    hpx_http_server_close(bed.server);
    hpx_http_server_close(NULL);
    bed_read(&bed, idle, UNTIL_END, false);
    assert_string_equal(bed_text, "FIN");
    assert_int_equal(
        hpx_http_call_answer(bed.kept[0], 200, NULL, 0, hpx_span_of("late"), NULL), HPX_OK);
    bed_read(&bed, fd, UNTIL_END, false);
    assert_string_equal(bed_text, "200 last late\nFIN");
    close(idle);
    close(fd);
    bed_stop(&bed);
}

/* The engine stops while a call is open and its client silent: it is lost, once. */
static void test_http_server_when_engine_stops_then_calls_are_lost(void **state)
{
    (void)state;
    const uint32_t descriptors = test_descriptors();
    http_bed bed;
    bed_open(&bed, NULL);
    const int fd = bed_connect(&bed);
    bed_send(&bed, fd, GET("/later"), sizeof(GET("/later")) - 1);
    while (bed.kept_count == 0) {
        bed_turn(&bed);
    }
    assert_int_equal(hpx_shard_detach_wait(bed.shard, 20 * HPX_NS_PER_MS), HPX_E_TIMEOUT);
    assert_int_equal(bed.closed, 1);
    assert_int_equal(bed.last.status, HPX_E_ABORTED);
    hpx_engine_free(bed.engine);
    close(fd);
    assert_int_equal(test_descriptors(), descriptors);
}

static void test_http_server_when_config_is_bad_then_refused_with_reason(void **state)
{
    (void)state;
    http_bed bed;
    bed_open(&bed, NULL);
    static const struct {
        hpx_http_server_config config;
        const char *detail;
    } rows[] = {
        {{.size = 0}, "config size is not set"},
        {HPX_HTTP_SERVER_CONFIG_INIT, "address is NULL"},
        {{.size = sizeof(hpx_http_server_config), .address = "127.0.0.1:0"}, "on_event is NULL"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpx_http_server *server = NULL;
        hpx_error error = {0};
        assert_int_equal(
            hpx_shard_http_listen(bed.shard, &rows[i].config, &server, &error), HPX_E_INVALID);
        assert_null(server);
        assert_non_null(strstr(error.detail, rows[i].detail));
    }
    bed_stop(&bed);
}

static uint64_t allocations(const http_bed *bed)
{
    hpx_shard_stats stats;
    hpx_shard_get_stats(bed->shard, &stats);
    return stats.allocations;
}

/* After the first requests of a connection, nothing is allocated. */
static void test_http_server_when_steady_then_no_allocation(void **state)
{
    (void)state;
    static const char request[] = "POST /echo" HOST "Content-Length: 5\r\n\r\nhello" GET("/chunks");
    http_bed bed;
    bed_open(&bed, NULL);
    const int fd = bed_connect(&bed);
    uint64_t warm = 0;
    for (uint32_t i = 0; i < 200; i++) {
        bed_send(&bed, fd, request, sizeof(request) - 1);
        bed_read(&bed, fd, 2, false);
        if (i == 20) {
            warm = allocations(&bed);
        }
    }
    assert_int_equal(allocations(&bed), warm);
    close(fd);
    bed_stop(&bed);
}

/* Memory runs out at each allocation of a connection in turn: it is lost or not, but the server
 * goes on, and every call that was seen ends. */
static void test_http_server_when_any_allocation_fails_then_it_goes_on(void **state)
{
    (void)state;
    static const char requests[] = "POST /echo" HOST "Content-Length: 5\r\n\r\nhello" GET(
        "/chunks") "PUT /echo" HOST "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3\r\nabc\r\n0\r\nT: u\r\n\r\n";
    static const char good[] =
        "200 keep POST||hello||x\n200 keep one,two,three\n200 last PUT||abc||x\nFIN";
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    http_bed bed;
    bed_open_with(&bed, NULL, &allocator);
    bed.lenient = true;
    uint32_t failures = 0;
    for (size_t i = 0; failures < 2; i++) {
        fa.fail_at = fa.count + i;
        bed_exchange(&bed, requests, UNTIL_END, false);
        const bool hit = fa.count > fa.fail_at;
        fa.fail_at = SIZE_MAX;
        failures += hit ? 0 : 1; /* twice none: all were met */
        bed_turns(&bed, 20);
        assert_int_equal(bed.closed, bed.requests);
        bed_exchange(&bed, requests, UNTIL_END, false);
        assert_string_equal(bed_text, good);
        assert_true(i < 100);
    }
    assert_true(bed.requests > 10);
    bed_stop(&bed);
    assert_int_equal(fa.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_server_when_asked_then_answers_of_every_form),
        cmocka_unit_test(test_http_server_when_request_is_bad_then_refused_and_closed),
        cmocka_unit_test(test_http_server_when_body_reaches_limit_then_413_beyond),
        cmocka_unit_test(test_http_server_when_pipelined_then_answers_in_order),
        cmocka_unit_test(test_http_server_when_answered_later_then_the_next_ones_wait),
        cmocka_unit_test(test_http_server_when_request_is_cut_then_the_same_answer),
        cmocka_unit_test(test_http_server_when_raw_then_bytes_as_given_and_closed),
        cmocka_unit_test(test_http_server_when_reader_is_slow_then_again_and_writable),
        cmocka_unit_test(test_http_server_when_nobody_goes_on_then_deadlines),
        cmocka_unit_test(test_http_server_when_requests_max_then_closed_after_the_last),
        cmocka_unit_test(test_http_server_when_client_leaves_then_call_ends_once),
        cmocka_unit_test(test_http_server_when_flooded_behind_the_last_then_no_reset),
        cmocka_unit_test(test_http_server_when_closed_then_open_calls_go_on),
        cmocka_unit_test(test_http_server_when_engine_stops_then_calls_are_lost),
        cmocka_unit_test(test_http_server_when_config_is_bad_then_refused_with_reason),
        cmocka_unit_test(test_http_server_when_steady_then_no_allocation),
        cmocka_unit_test(test_http_server_when_any_allocation_fails_then_it_goes_on),
    };
    return cmocka_run_group_tests_name("engine/http_server", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    HTTP/1.1 through the client against a server that behaves as it likes: each request ends
 *         once and with the right outcome, a connection is used again only when that is safe, and
 *         nothing that may have reached the server is sent twice (pitfalls H1, H3 to H7).
 * Method  http_client_bed.h: the test is the server, on the same thread.
 */
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/engine/http_client_bed.h"
#include "tests/support/test.h"

static client_bed bed;

#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void bed_begin(void)
{
    client_bed_prepare(&bed);
    client_bed_open(&bed);
}

static void test_get_when_answered_then_events_in_order_and_connection_reused(void **state)
{
    (void)state;
    bed_begin();
    http_answer *first = client_bed_get(&bed, "/a?b=c#not-sent");
    const int fd = client_bed_serve(
        &bed, first, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: 1\r\n\r\nhello");
    assert_string_equal(strtok(bed.text, "\r"), "GET /a?b=c HTTP/1.1");
    client_bed_expect_done(first, 200, "hello");
    assert_int_equal(first->heads, 1);
    assert_string_equal(first->headers, "Content-Length: 5\nX-One: 1\n");
    assert_false(first->info.reused);
    assert_int_equal(first->info.version, HPX_HTTP_1_1);
    assert_true(first->info.connect_ns != 0);
    assert_int_equal(first->info.response_bytes, 5);
    assert_int_equal(first->info.attempts, 1);
    http_answer *second = client_bed_get(&bed, "/second");
    client_bed_again(&bed, fd, second, OK_2);
    client_bed_expect_done(second, 200, "ok");
    assert_true(second->info.reused);
    assert_int_equal(second->info.connect_ns, 0);
    assert_int_equal(hpx_http_cancel(bed.client, second->id), HPX_E_STALE);
    close(fd);
    client_bed_close(&bed);
}

static void test_request_when_written_then_host_agent_and_given_headers(void **state)
{
    (void)state;
    bed_begin();
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    const hpx_http_header headers[] = {
        hpx_http_header_of("X-Key", "k"), hpx_http_header_of("Accept", "text/x")};
    request.url = "/";
    request.method = "PUT";
    request.headers = headers;
    request.header_count = COUNT_OF(headers);
    request.body = hpx_span_of("body");
    http_answer *answer = client_bed_send(&bed, &request);
    const int fd = client_bed_accept(&bed);
    (void)client_bed_read(&bed, fd, "\r\n\r\nbody", bed.text);
    char expected[512];
    snprintf(expected, sizeof(expected), "PUT / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\n", bed.port);
    assert_memory_equal(bed.text, expected, strlen(expected));
    assert_non_null(strstr(bed.text, "\r\nX-Key: k\r\n"));
    assert_non_null(strstr(bed.text, "\r\nAccept: text/x\r\n"));
    assert_null(strstr(bed.text, "*/*"));
    assert_non_null(strstr(bed.text, "\r\nUser-Agent: hpx/" HPX_VERSION_STRING "\r\n"));
    assert_non_null(strstr(bed.text, "\r\nContent-Length: 4\r\n"));
    client_bed_write(&bed, fd, "HTTP/1.1 204 No Content\r\n\r\n");
    client_bed_until_end(&bed, answer);
    client_bed_expect_done(answer, 204, "");
    close(fd);
    client_bed_close(&bed);
}

static void test_collect_when_asked_then_one_event_with_everything(void **state)
{
    (void)state;
    bed_begin();
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = "/";
    request.collect_bytes_max = 5;
    http_answer *answer = client_bed_send(&bed, &request);
    const int fd = client_bed_serve(
        &bed,
        answer,
        "HTTP/1.1 200 OK\r\nA: 1\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n3\r\ncde\r\n"
        "0\r\nT: 2\r\n\r\n");
    client_bed_expect_done(answer, 200, "abcde");
    assert_int_equal(answer->heads, 0);
    assert_string_equal(answer->headers, "A: 1\nTransfer-Encoding: chunked\n");
    assert_string_equal(answer->trailers, "T: 2\n");
    request.url = "/";
    answer = client_bed_send(&bed, &request);
    client_bed_again(&bed, fd, answer, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabcdef");
    client_bed_expect_failed(
        answer, HPX_E_HTTP_BODY_TOO_BIG, HPX_STAGE_BODY, HPX_HTTP_PROCESSED_YES);
    assert_true(client_bed_is_closed(&bed, fd));
    close(fd);
    client_bed_close(&bed);
}

/* Responses that end well, and whether their connection may be used again. */
static void test_response_when_whole_then_done_and_reused_only_if_safe(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        const char *response;
        const char *body;
        int32_t status;
        bool reused;
    } rows[] = {
        {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", 304, true},
        {"HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "", 200, true},
        {"GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "", 200, true},
        {"GET",
         "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nL: x\r\n\r\n" OK_2,
         "ok",
         200,
         true},
        {"GET", "HTTP/1.1 500 No\r\nContent-Length: 1\r\n\r\nx", "x", 500, true},
        {"GET",
         "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
         "ok",
         200,
         false},
        {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", 200, false},
        {"GET", OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "ok", 200, false},
        {"GET", OK_2 "\r\n", "ok", 200, false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bed_begin();
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = "/";
        request.method = rows[i].method;
        http_answer *answer = client_bed_send(&bed, &request);
        const int fd = client_bed_serve(&bed, answer, rows[i].response);
        client_bed_expect_done(answer, rows[i].status, rows[i].body);
        http_answer *next = client_bed_get(&bed, "/next");
        if (rows[i].reused) {
            client_bed_again(&bed, fd, next, OK_2);
            assert_true(next->info.reused);
        } else {
            assert_true(client_bed_is_closed(&bed, fd));
            const int other = client_bed_serve(&bed, next, OK_2);
            assert_false(next->info.reused);
            close(other);
        }
        client_bed_expect_done(next, 200, "ok"); /* never the poisoned answer */
        close(fd);
        client_bed_close(&bed);
    }
}

static void test_idle_when_bytes_or_eof_come_then_the_connection_is_never_used(void **state)
{
    (void)state;
    static const char *const surprises[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", NULL};
    for (size_t i = 0; i < COUNT_OF(surprises); i++) {
        for (int seen = 0; seen < 2; seen++) { /* before the next request, and just with it */
            bed_begin();
            http_answer *answer = client_bed_get(&bed, "/");
            const int fd = client_bed_serve(&bed, answer, OK_2);
            client_bed_until_idle(&bed, 1);
            usleep(2000); /* idle long enough to be asked whether it is alive */
            if (surprises[i] != NULL) {
                client_bed_write(&bed, fd, surprises[i]);
            } else {
                shutdown(fd, SHUT_WR);
            }
            if (seen == 0) {
                client_bed_until_connections(&bed, 0);
            }
            http_answer *next = client_bed_post(&bed, "/", "order");
            const int other = client_bed_accept(&bed);
            (void)client_bed_read(&bed, other, "order", bed.text);
            client_bed_write(&bed, other, OK_2);
            client_bed_until_end(&bed, next);
            client_bed_expect_done(next, 200, "ok");
            assert_false(next->info.reused);
            hpx_http_stats stats;
            client_bed_stats(&bed, &stats);
            assert_int_equal(stats.retries, 0);
            close(fd);
            close(other);
            client_bed_close(&bed);
        }
    }
}

static void test_idle_when_near_the_peers_keep_alive_then_not_used(void **state)
{
    (void)state;
    bed_begin();
    http_answer *answer = client_bed_get(&bed, "/");
    const int fd = client_bed_serve(
        &bed,
        answer,
        "HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=1\r\nContent-Length: 2\r\n\r\nok");
    const uint64_t until_ns = hpx_clock_now_ns() + 900 * HPX_NS_PER_MS;
    while (hpx_clock_now_ns() < until_ns) {
        client_bed_turn(&bed, 1);
    }
    http_answer *next = client_bed_post(&bed, "/", "order");
    const int other = client_bed_serve(&bed, next, OK_2);
    client_bed_expect_done(next, 200, "ok");
    assert_false(next->info.reused);
    assert_true(client_bed_is_closed(&bed, fd));
    close(fd);
    close(other);
    client_bed_close(&bed);
}

/* The server takes the bytes of a request and goes: what it did with them nobody knows. */
static void test_request_when_connection_lost_after_it_then_unknown_and_sent_once(void **state)
{
    (void)state;
    static const char *const methods[] = {"GET", "POST", "DELETE"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        for (int fresh = 0; fresh < 2; fresh++) {
            bed_begin();
            int fd = -1;
            if (!fresh) {
                fd = client_bed_serve(&bed, client_bed_get(&bed, "/"), OK_2);
            }
            hpx_http_request request = HPX_HTTP_REQUEST_INIT;
            request.url = "/order";
            request.method = methods[i];
            http_answer *answer = client_bed_send(&bed, &request);
            if (fresh) {
                fd = client_bed_accept(&bed);
            }
            (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
            close(fd);
            client_bed_until_end(&bed, answer);
            client_bed_expect_failed(
                answer, HPX_E_EOF, HPX_STAGE_RESPONSE, HPX_HTTP_PROCESSED_UNKNOWN);
            assert_int_equal(answer->status, 0);
            assert_false(client_bed_has_connection(&bed));
            hpx_http_stats stats;
            client_bed_stats(&bed, &stats);
            assert_int_equal(stats.retries, 0);
            client_bed_close(&bed);
        }
    }
}

/* The end of the connection is there before a byte of the request could be written. */
static void test_request_when_nothing_was_written_then_tried_again_and_counted(void **state)
{
    (void)state;
    bed_begin();
    http_answer *first = client_bed_get(&bed, "/");
    const int fd = client_bed_serve(&bed, first, OK_2);
    client_bed_until_idle(&bed, 1);
    /* RST: our send fails at once, and took nothing. */
    const struct linger hard = {.l_onoff = 1};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)), 0);
    http_answer *answer = client_bed_post(&bed, "/order", "once");
    close(fd);
    const int other = client_bed_accept(&bed);
    (void)client_bed_read(&bed, other, "once", bed.text);
    client_bed_write(&bed, other, OK_2);
    client_bed_until_end(&bed, answer);
    client_bed_expect_done(answer, 200, "ok");
    hpx_http_stats stats;
    client_bed_stats(&bed, &stats);
    assert_int_equal(answer->info.attempts, 1 + stats.retries);
    assert_int_equal(stats.retries, stats.retries_idle_closed);
    assert_int_equal(stats.retries, 1);
    close(other);
    client_bed_close(&bed);
}

static void test_response_when_malformed_then_refused_and_connection_closed(void **state)
{
    (void)state;
    static const struct {
        const char *response;
        hpx_status status;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         HPX_E_HTTP_MALFORMED},
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
         HPX_E_HTTP_MALFORMED},
        {"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\na", HPX_E_HTTP_MALFORMED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, x\r\n\r\n", HPX_E_HTTP_MALFORMED},
        {"HTTP/1.1 200 OK\r\nA: 1\r\n b\r\n\r\n", HPX_E_HTTP_MALFORMED},
        {"HTTP/1.1 200 OK\nA: 1\n\n", HPX_E_HTTP_MALFORMED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", HPX_E_HTTP_MALFORMED},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
         HPX_E_HTTP_MALFORMED},
        {"SSH-2.0-OpenSSH\r\n", HPX_E_HTTP_MALFORMED},
        {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
         HPX_E_HTTP_MALFORMED},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bed_begin();
        http_answer *answer = client_bed_get(&bed, "/");
        const int fd = client_bed_serve(&bed, answer, rows[i].response);
        assert_int_equal(answer->outcome, HPX_HTTP_FAILED);
        assert_true(
            answer->error.status == rows[i].status || answer->error.status == HPX_E_HTTP_TOO_BIG);
        assert_true(client_bed_is_closed(&bed, fd));
        close(fd);
        client_bed_close(&bed);
    }
}

static void test_response_when_cut_short_then_truncated_not_done(void **state)
{
    (void)state;
    static const struct {
        const char *response;
        hpx_status status;
        hpx_stage stage;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", HPX_E_HTTP_TRUNCATED, HPX_STAGE_BODY},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
         HPX_E_HTTP_TRUNCATED,
         HPX_STAGE_BODY},
        {"HTTP/1.1 200 OK\r\nContent-Le", HPX_E_EOF, HPX_STAGE_RESPONSE},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bed_begin();
        http_answer *answer = client_bed_get(&bed, "/");
        const int fd = client_bed_accept(&bed);
        (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
        client_bed_write(&bed, fd, rows[i].response);
        client_bed_turn(&bed, 4);
        close(fd);
        client_bed_until_end(&bed, answer);
        assert_int_equal(answer->outcome, HPX_HTTP_FAILED);
        assert_string_equal(hpx_status_name(answer->error.status), hpx_status_name(rows[i].status));
        assert_int_equal(answer->error.stage, rows[i].stage);
        client_bed_close(&bed);
    }
    /* Until the close: a FIN is its end, a reset is not. */
    for (int reset = 0; reset < 2; reset++) {
        bed_begin();
        http_answer *answer = client_bed_get(&bed, "/");
        const int fd = client_bed_accept(&bed);
        (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
        client_bed_write(&bed, fd, "HTTP/1.1 200 OK\r\n\r\nall of it");
        client_bed_turn(&bed, 4);
        const struct linger hard = {.l_onoff = reset};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
        close(fd);
        client_bed_until_end(&bed, answer);
        assert_string_equal(answer->body, "all of it");
        assert_int_equal(answer->outcome, reset ? HPX_HTTP_FAILED : HPX_HTTP_DONE);
        client_bed_close(&bed);
    }
}

static void test_limits_when_met_then_the_documented_outcome(void **state)
{
    (void)state;
    client_bed_prepare(&bed);
    bed.config.interim_max = 3;
    bed.config.headers_max = 4;
    bed.config.header_bytes_max = 1024;
    bed.config.body_bytes_max = 8;
    client_bed_open(&bed);
    static const char *const responses[] = {
        "HTTP/1.1 100 A\r\n\r\nHTTP/1.1 100 A\r\n\r\nHTTP/1.1 100 A\r\n\r\nHTTP/1.1 100 "
        "A\r\n\r\n" OK_2,
        "HTTP/1.1 200 OK\r\nA: 1\r\nB: 1\r\nC: 1\r\nD: 1\r\nE: 1\r\n\r\n",
        NULL, /* a header of 2000 bytes */
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabcdefghi",
    };
    char *large = malloc(4096);
    snprintf(large, 4096, "HTTP/1.1 200 OK\r\nA: %02000d\r\n\r\n", 1);
    for (size_t i = 0; i < COUNT_OF(responses); i++) {
        http_answer *answer = client_bed_get(&bed, "/");
        const int fd = client_bed_serve(&bed, answer, responses[i] != NULL ? responses[i] : large);
        assert_int_equal(answer->outcome, HPX_HTTP_FAILED);
        assert_string_equal(
            hpx_status_name(answer->error.status),
            i == 3 ? "HPX_E_HTTP_BODY_TOO_BIG" : "HPX_E_HTTP_TOO_BIG");
        close(fd);
    }
    free(large);
    client_bed_close(&bed);
}

static void test_send_when_request_is_bad_then_refused_before_a_byte(void **state)
{
    (void)state;
    bed_begin();
    const hpx_http_header bad_headers[] = {
        hpx_http_header_of("A\r\nB", "x"),
        hpx_http_header_of("A", "x\r\nEvil: 1"),
        hpx_http_header_of("A", "x\ny"),
        hpx_http_header_of("A ", "x"),
        hpx_http_header_of("", "x"),
        hpx_http_header_of("A", " x"),
        hpx_http_header_of("Content-Length", "3"),
        hpx_http_header_of("Transfer-Encoding", "chunked"),
        hpx_http_header_of("Connection", "close"),
        hpx_http_header_of("Host", "a b"),
        {hpx_span_of("A"), {(const uint8_t *)"x\0y", 3}},
    };
    hpx_error error;
    for (size_t i = 0; i < COUNT_OF(bad_headers); i++) {
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = bed.base;
        request.headers = &bad_headers[i];
        request.header_count = 1;
        assert_int_equal(hpx_http_send(bed.client, &request, NULL, &error), HPX_E_INVALID);
        assert_int_equal(error.stage, HPX_STAGE_CONFIG);
    }
    static const char *const methods[] = {"", "G T", "GET\r\nX: y", "CONNECT", "\x7F"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = bed.base;
        request.method = methods[i];
        assert_int_equal(hpx_http_send(bed.client, &request, NULL, &error), HPX_E_INVALID);
    }
    static const char *const urls[] = {
        "ftp://a/", "http://", "http://a b/", "http://u:p@a/", "http://a/\r\nX", "a", "ws://a/"};
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = urls[i];
        assert_int_equal(hpx_http_send(bed.client, &request, NULL, &error), HPX_E_URL);
    }
    assert_false(client_bed_has_connection(&bed));
    client_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_when_answered_then_events_in_order_and_connection_reused),
        cmocka_unit_test(test_request_when_written_then_host_agent_and_given_headers),
        cmocka_unit_test(test_collect_when_asked_then_one_event_with_everything),
        cmocka_unit_test(test_response_when_whole_then_done_and_reused_only_if_safe),
        cmocka_unit_test(test_idle_when_bytes_or_eof_come_then_the_connection_is_never_used),
        cmocka_unit_test(test_idle_when_near_the_peers_keep_alive_then_not_used),
        cmocka_unit_test(test_request_when_connection_lost_after_it_then_unknown_and_sent_once),
        cmocka_unit_test(test_request_when_nothing_was_written_then_tried_again_and_counted),
        cmocka_unit_test(test_response_when_malformed_then_refused_and_connection_closed),
        cmocka_unit_test(test_response_when_cut_short_then_truncated_not_done),
        cmocka_unit_test(test_limits_when_met_then_the_documented_outcome),
        cmocka_unit_test(test_send_when_request_is_bad_then_refused_before_a_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

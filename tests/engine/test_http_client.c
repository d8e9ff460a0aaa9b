/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    What the client does around an exchange: bodies produced, decoded and held back,
 * deadlines, cancels, calls from inside the handler, the pool's limits, memory. Method
 * http_client_bed.h: the test is the server, on the same thread.
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

/* ---- Bodies -----------------------------------------------------------------------------------
 */

typedef struct producer {
    uint32_t pieces; /* of "0123456789" left */
    bool starve;     /* HPX_E_AGAIN once in between */
    hpx_status fail;
} producer;

static int produce(void *user, uint8_t *to, size_t size)
{
    producer *p = user;
    assert_true(size >= 10);
    if (p->starve) {
        p->starve = false;
        return HPX_E_AGAIN;
    }
    if (p->pieces == 0) {
        return p->fail;
    }
    p->pieces--;
    memcpy(to, "0123456789", 10);
    return 10;
}

static void test_pull_when_size_unknown_then_chunked_and_resumed(void **state)
{
    (void)state;
    bed_begin();
    producer p = {.pieces = 2, .starve = true};
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = "/";
    request.method = "POST";
    request.pull = produce;
    request.pull_user = &p;
    request.body_bytes = HPX_HTTP_SIZE_UNKNOWN;
    http_answer *answer = client_bed_send(&bed, &request);
    const int fd = client_bed_accept(&bed);
    (void)client_bed_read(&bed, fd, "Transfer-Encoding: chunked\r\n", bed.text);
    client_bed_turn(&bed, 10);
    assert_int_equal(p.pieces, 2);
    assert_int_equal(hpx_http_resume(bed.client, answer->id), HPX_OK);
    (void)client_bed_read(&bed, fd, "0\r\n\r\n", bed.text);
    assert_non_null(strstr(bed.text, "a\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"));
    client_bed_write(&bed, fd, OK_2);
    client_bed_until_end(&bed, answer);
    client_bed_expect_done(answer, 200, "ok");
    assert_int_equal(answer->info.request_bytes, 20);
    close(fd);
    client_bed_close(&bed);
}

static void test_pull_when_it_fails_or_is_short_then_failed_and_closed(void **state)
{
    (void)state;
    for (int shorter = 0; shorter < 2; shorter++) {
        bed_begin();
        producer p = {.pieces = 1, .fail = shorter ? 0 : HPX_E_INTERNAL};
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = "/";
        request.method = "POST";
        request.pull = produce;
        request.pull_user = &p;
        request.body_bytes = 100;
        http_answer *answer = client_bed_send(&bed, &request);
        const int fd = client_bed_accept(&bed);
        client_bed_until_end(&bed, answer);
        client_bed_expect_failed(
            answer, shorter ? HPX_E_INVALID : HPX_E_INTERNAL, HPX_STAGE_REQUEST, answer->processed);
        assert_true(client_bed_is_closed(&bed, fd));
        close(fd);
        client_bed_close(&bed);
    }
}

static void test_body_when_large_then_sent_whole_and_early_answer_closes(void **state)
{
    (void)state;
    bed_begin();
    const size_t size = 3u << 20;
    char *body = malloc(size);
    memset(body, 'x', size);
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = "/";
    request.method = "POST";
    request.body = (hpx_span){.data = (const uint8_t *)body, .size = size};
    http_answer *answer = client_bed_send(&bed, &request);
    memset(body, 'y', size); /* it was copied */
    int fd = client_bed_accept(&bed);
    (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
    size_t got = strlen(strstr(bed.text, "\r\n\r\n")) - 4;
    while (got < size) {
        static char part[65536];
        const ssize_t n = read(fd, part, sizeof(part));
        if (n > 0) {
            assert_int_equal(part[0], 'x');
            assert_int_equal(part[n - 1], 'x');
            got += (size_t)n;
        } else {
            client_bed_turn(&bed, 1);
        }
    }
    assert_int_equal(got, size);
    client_bed_write(&bed, fd, OK_2);
    client_bed_until_end(&bed, answer);
    client_bed_expect_done(answer, 200, "ok");
    /* An answer before all of the body was sent: done, but the connection cannot be used again. */
    request.url = "/";
    answer = client_bed_send(&bed, &request);
    (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
    client_bed_write(&bed, fd, "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n");
    client_bed_until_end(&bed, answer);
    client_bed_expect_done(answer, 413, "");
    client_bed_until_connections(&bed, 0);
    close(fd);
    free(body);
    client_bed_close(&bed);
}

static size_t compress_text(uint8_t *to, size_t room, const char *from, size_t size, int window)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    uint8_t *input = malloc(size);
    memcpy(input, from, size);
    stream.next_in = input;
    stream.avail_in = (unsigned)size;
    stream.next_out = to;
    stream.avail_out = (unsigned)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    const size_t made = room - stream.avail_out;
    deflateEnd(&stream);
    free(input);
    return made;
}

static void send_encoded(int fd, const char *coding, const uint8_t *bytes, size_t size)
{
    char head[200];
    snprintf(
        head,
        sizeof(head),
        "HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %zu\r\n\r\n",
        coding,
        size);
    client_bed_write(&bed, fd, head);
    client_bed_write_bytes(&bed, fd, bytes, size);
}

static void test_decode_when_gzip_or_deflate_then_decoded_and_bounded(void **state)
{
    (void)state;
    client_bed_prepare(&bed);
    bed.config.decoded_bytes_max = 1u << 20;
    client_bed_open(&bed);
    static const struct {
        const char *coding;
        int window;
    } codings[] = {{"gzip", 15 + 16}, {"deflate", 15}, {"deflate", -15}};
    const size_t size = 300000;
    char *plain = malloc(4u << 20);
    uint8_t *packed = malloc(1u << 20);
    memset(plain, 0, 4u << 20);
    for (size_t i = 0; i < size; i++) {
        plain[i] = (char)('a' + i * i % 23);
    }
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum = sum * 31 + (uint8_t)plain[i];
    }
    int fd = -1;
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.flags = HPX_HTTP_DECODE;
    for (size_t i = 0; i < COUNT_OF(codings) + 2; i++) {
        const bool cut = i == COUNT_OF(codings);
        const bool bomb = i == COUNT_OF(codings) + 1;
        const size_t c = i < COUNT_OF(codings) ? i : 0;
        const size_t packed_bytes =
            compress_text(packed, 1u << 20, plain, bomb ? 4u << 20 : size, codings[c].window);
        request.url = "/";
        http_answer *answer = client_bed_send(&bed, &request);
        fd = fd < 0 ? client_bed_accept(&bed) : fd;
        (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
        assert_non_null(strstr(bed.text, "\r\nAccept-Encoding: gzip, deflate\r\n"));
        send_encoded(fd, codings[c].coding, packed, cut ? packed_bytes / 2 : packed_bytes);
        client_bed_until_end(&bed, answer);
        if (cut) {
            client_bed_expect_failed(
                answer, HPX_E_HTTP_TRUNCATED, HPX_STAGE_BODY, HPX_HTTP_PROCESSED_YES);
        } else if (bomb) {
            client_bed_expect_failed(
                answer, HPX_E_HTTP_BODY_TOO_BIG, HPX_STAGE_BODY, HPX_HTTP_PROCESSED_YES);
            assert_true(answer->body_bytes <= 1u << 20);
        } else {
            assert_int_equal(answer->outcome, HPX_HTTP_DONE);
            assert_int_equal(answer->body_bytes, size);
            assert_true(answer->body_sum == sum);
            assert_int_equal(answer->info.response_bytes, packed_bytes);
            assert_int_equal(answer->info.body_bytes, size);
        }
    }
    close(fd);
    free(plain);
    free(packed);
    client_bed_close(&bed);
}

/* ---- Deadlines and cancels --------------------------------------------------------------------
 */

static void test_deadlines_when_passed_then_timeout_says_which(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        hpx_status status;
        hpx_stage stage;
    } rows[] = {
        {"overall", HPX_E_HTTP_TIMEOUT, HPX_STAGE_RESPONSE},
        {"first byte", HPX_E_HTTP_FIRST_BYTE, HPX_STAGE_RESPONSE},
        {"idle", HPX_E_HTTP_IDLE, HPX_STAGE_BODY},
        {"connect", HPX_E_CONNECT_TIMEOUT, HPX_STAGE_QUEUE},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        client_bed_prepare(&bed);
        bed.config.connections_max = 1;
        client_bed_open(&bed);
        int fd = -1;
        if (i == 3) { /* the only connection is taken */
            (void)client_bed_get(&bed, "/first");
            fd = client_bed_accept(&bed);
        }
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = "/";
        const uint64_t limit_ns = (i == 0 ? 300 : 30) * HPX_NS_PER_MS;
        request.timeout_ns = i == 0 ? limit_ns : HPX_NEVER;
        request.first_byte_timeout_ns = i == 1 ? limit_ns : HPX_NEVER;
        request.idle_timeout_ns = i == 2 ? limit_ns : HPX_NEVER;
        request.connect_timeout_ns = i == 3 ? limit_ns : HPX_NEVER;
        http_answer *answer = client_bed_send(&bed, &request);
        if (i != 3) {
            fd = client_bed_accept(&bed);
            (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
        }
        if (i == 2) {
            client_bed_write(&bed, fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na");
        }
        client_bed_until_end(&bed, answer);
        assert_int_equal(answer->outcome, HPX_HTTP_TIMEOUT);
        assert_string_equal(hpx_status_name(answer->error.status), hpx_status_name(rows[i].status));
        assert_string_equal(hpx_stage_name(answer->error.stage), hpx_stage_name(rows[i].stage));
        const hpx_http_processed known[] = {
            HPX_HTTP_PROCESSED_UNKNOWN,
            HPX_HTTP_PROCESSED_UNKNOWN,
            HPX_HTTP_PROCESSED_YES,
            HPX_HTTP_PROCESSED_NO};
        assert_int_equal(answer->processed, known[i]);
        assert_true(answer->info.total_ns >= limit_ns);
        close(fd);
        client_bed_close(&bed);
    }
}

static void test_cancel_when_in_any_phase_then_cancelled_once_and_closed(void **state)
{
    (void)state;
    for (int phase = 0; phase < 5; phase++) {
        bed_begin();
        http_answer *answer = client_bed_post(&bed, "/", "body");
        int fd = -1;
        if (phase >= 1) {
            fd = client_bed_accept(&bed);
        }
        if (phase >= 2) {
            (void)client_bed_read(&bed, fd, "body", bed.text);
        }
        if (phase >= 3) {
            client_bed_write(&bed, fd, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc");
            while (answer->body_bytes < 3) {
                client_bed_turn(&bed, 1);
            }
        }
        assert_int_equal(hpx_http_cancel(bed.client, answer->id), HPX_OK);
        assert_int_equal(answer->ends, 0); /* not from inside the call */
        assert_int_equal(hpx_http_cancel(bed.client, answer->id), HPX_OK);
        if (phase == 4) { /* the client goes before END could be told: no event */
            hpx_http_client_release(bed.client);
            bed.client = NULL;
            client_bed_turn(&bed, 20);
            assert_int_equal(answer->ends, 0);
        } else {
            client_bed_until_end(&bed, answer);
            assert_int_equal(answer->outcome, HPX_HTTP_CANCELLED);
            assert_int_equal(answer->error.status, HPX_E_CANCELLED);
            const hpx_http_processed known = phase < 2    ? HPX_HTTP_PROCESSED_NO
                                             : phase == 2 ? HPX_HTTP_PROCESSED_UNKNOWN
                                                          : HPX_HTTP_PROCESSED_YES;
            if (phase != 1) { /* 1: perhaps it was written in the turns of accept */
                assert_int_equal(answer->processed, known);
            }
            assert_int_equal(hpx_http_cancel(bed.client, answer->id), HPX_E_STALE);
        }
        if (fd >= 0 && phase >= 2) {
            assert_true(client_bed_is_closed(&bed, fd));
        }
        if (fd >= 0) {
            close(fd);
        }
        client_bed_close(&bed);
    }
}

/* From inside each event: cancel, send, release. */
static void on_event_cancel(client_bed *b, const hpx_http_event *event, http_answer *answer)
{
    const hpx_http_event_kind *when = b->user;
    if (event->kind == *when) {
        (void)hpx_http_cancel(b->client, answer->id);
    }
}

static void on_event_send(client_bed *b, const hpx_http_event *event, http_answer *answer)
{
    const hpx_http_event_kind *when = b->user;
    (void)answer;
    if (event->kind == *when && b->answer_count < 3) {
        (void)client_bed_get(b, "/more");
    }
}

static void on_event_release(client_bed *b, const hpx_http_event *event, http_answer *answer)
{
    const hpx_http_event_kind *when = b->user;
    (void)answer;
    if (event->kind == *when) {
        hpx_http_client_release(b->client);
        b->client = NULL;
    }
}

static void test_handler_when_it_calls_anything_then_nothing_breaks(void **state)
{
    (void)state;
    void (*const handlers[])(client_bed *, const hpx_http_event *, http_answer *) = {
        on_event_cancel, on_event_send, on_event_release};
    for (size_t h = 0; h < COUNT_OF(handlers); h++) {
        for (int kind = HPX_HTTP_EVENT_HEADERS; kind <= HPX_HTTP_EVENT_END; kind++) {
            client_bed_prepare(&bed);
            /* While END is delivered its own place is free already. */
            bed.config.requests_max = kind == HPX_HTTP_EVENT_END ? 1 : 3;
            client_bed_open(&bed);
            hpx_http_event_kind when = (hpx_http_event_kind)kind;
            bed.user = &when;
            bed.on_event = handlers[h];
            (void)client_bed_get(&bed, "/");
            const int fd = client_bed_accept(&bed);
            (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
            client_bed_write(&bed, fd, OK_2);
            client_bed_turn(&bed, 30);
            bed.on_event = NULL;
            close(fd);
            client_bed_close(&bed);
        }
    }
}

static void test_pause_when_body_comes_then_held_back_until_resumed(void **state)
{
    (void)state;
    bed_begin();
    http_answer *answer = client_bed_get(&bed, "/");
    const int fd = client_bed_accept(&bed);
    (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
    client_bed_write(&bed, fd, "HTTP/1.1 200 OK\r\nContent-Length: 40000000\r\n\r\n");
    while (answer->heads == 0) {
        client_bed_turn(&bed, 1);
    }
    assert_int_equal(hpx_http_pause(bed.client, answer->id), HPX_OK);
    /* The peer is throttled: what can be written without turns is bounded. */
    static char block[65536];
    memset(block, 'z', sizeof(block));
    size_t written = 0;
    for (int quiet = 0; quiet < 50;) {
        const ssize_t sent = send(fd, block, sizeof(block), MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            written += (size_t)sent;
            quiet = 0;
            assert_true(written < 40000000);
        } else {
            quiet++;
        }
        client_bed_turn(&bed, 1);
    }
    assert_int_equal(answer->body_bytes, 0);
    assert_int_equal(hpx_http_resume(bed.client, answer->id), HPX_OK);
    while (written < 40000000) {
        const size_t left = 40000000 - written;
        const size_t part = left < sizeof(block) ? left : sizeof(block);
        client_bed_write_bytes(&bed, fd, block, part);
        written += part;
    }
    client_bed_until_end(&bed, answer);
    assert_int_equal(answer->outcome, HPX_HTTP_DONE);
    assert_int_equal(answer->body_bytes, 40000000);
    close(fd);
    client_bed_close(&bed);
}

static void test_pause_when_longer_than_the_idle_timeout_then_it_rests(void **state)
{
    (void)state;
    client_bed_prepare(&bed);
    bed.config.idle_timeout_ns = 300 * HPX_NS_PER_MS;
    client_bed_open(&bed);
    http_answer *answer = client_bed_get(&bed, "/");
    const int fd = client_bed_accept(&bed);
    (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
    client_bed_write(&bed, fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n");
    while (answer->heads == 0) {
        client_bed_turn(&bed, 1);
    }
    assert_int_equal(hpx_http_pause(bed.client, answer->id), HPX_OK);
    const uint64_t until_ns = hpx_clock_now_ns() + 700 * HPX_NS_PER_MS;
    while (hpx_clock_now_ns() < until_ns) {
        client_bed_turn(&bed, 1);
    }
    assert_int_equal(answer->ends, 0);
    client_bed_write(&bed, fd, "ok");
    assert_int_equal(hpx_http_resume(bed.client, answer->id), HPX_OK);
    client_bed_until_end(&bed, answer);
    client_bed_expect_done(answer, 200, "ok");
    close(fd);
    client_bed_close(&bed);
}

static void test_cancel_when_the_slot_is_used_again_then_stale(void **state)
{
    (void)state;
    bed_begin();
    http_answer *first = client_bed_get(&bed, "/");
    const int fd = client_bed_serve(&bed, first, OK_2);
    http_answer *second = client_bed_get(&bed, "/");
    assert_int_not_equal(second->id, first->id);
    assert_int_equal(hpx_http_cancel(bed.client, first->id), HPX_E_STALE);
    assert_int_equal(hpx_http_pause(bed.client, first->id), HPX_E_STALE);
    assert_int_equal(hpx_http_resume(bed.client, 0), HPX_E_STALE);
    assert_int_equal(hpx_http_cancel(bed.client, UINT64_MAX), HPX_E_STALE);
    client_bed_again(&bed, fd, second, OK_2);
    client_bed_expect_done(second, 200, "ok");
    close(fd);
    client_bed_close(&bed);
}

/* ---- Pool -------------------------------------------------------------------------------------
 */

static void test_pool_when_origins_compete_then_exact_limit_and_no_loss(void **state)
{
    (void)state;
    client_bed_prepare(&bed);
    bed.config.connections_max = 2;
    client_bed_open(&bed);
    http_answer *answers[20];
    char url[64];
    for (size_t i = 0; i < COUNT_OF(answers); i++) { /* two origins: by name and by number */
        snprintf(
            url, sizeof(url), "http://%s:%u/", i % 2 != 0 ? "localhost" : "127.0.0.1", bed.port);
        answers[i] = client_bed_get(&bed, url);
    }
    int fds[64];
    size_t fd_count = 0;
    size_t done = 0;
    while (done < COUNT_OF(answers)) {
        const int fd = accept4(bed.listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd >= 0) {
            fds[fd_count++] = fd;
        }
        for (size_t i = 0; i < fd_count; i++) {
            char request[1024];
            if (read(fds[i], request, sizeof(request)) > 0) {
                client_bed_write(&bed, fds[i], OK_2);
            }
        }
        client_bed_turn(&bed, 1);
        hpx_http_stats stats;
        client_bed_stats(&bed, &stats);
        assert_true(stats.connections <= 2);
        done = stats.done;
    }
    for (size_t i = 0; i < fd_count; i++) {
        close(fds[i]);
    }
    client_bed_close(&bed);
}

static void test_warm_up_when_asked_then_first_request_finds_a_connection(void **state)
{
    (void)state;
    bed_begin();
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = bed.base;
    assert_int_equal(hpx_http_warm_up(bed.client, &request, 2, NULL), HPX_OK);
    client_bed_until_idle(&bed, 2);
    const int one = client_bed_accept(&bed);
    const int two = client_bed_accept(&bed);
    http_answer *answer = client_bed_get(&bed, "/");
    client_bed_turn(&bed, 20);
    ssize_t got = read(one, bed.text, sizeof(bed.text));
    const int fd = got > 0 ? one : two;
    if (got <= 0) {
        got = read(two, bed.text, sizeof(bed.text));
    }
    assert_true(got > 0);
    client_bed_write(&bed, fd, OK_2);
    client_bed_until_end(&bed, answer);
    client_bed_expect_done(answer, 200, "ok");
    assert_int_equal(answer->info.connect_ns == 0, 0); /* its first use: the making counts */
    close(one);
    close(two);
    client_bed_close(&bed);
}

static void test_connect_when_refused_then_no_and_the_stage(void **state)
{
    (void)state;
    bed_begin();
    close(bed.listener);
    http_answer *answer = client_bed_get(&bed, "/");
    client_bed_until_end(&bed, answer);
    client_bed_expect_failed(
        answer, -111 /* ECONNREFUSED */, HPX_STAGE_CONNECT, HPX_HTTP_PROCESSED_NO);
    bed.listener = dup(0);
    client_bed_close(&bed);
}

/* ---- Memory -----------------------------------------------------------------------------------
 */

static void test_steady_state_when_requests_repeat_then_nothing_is_allocated(void **state)
{
    (void)state;
    bed_begin();
    int fd = client_bed_serve(&bed, client_bed_get(&bed, "/"), OK_2);
    size_t before = 0;
    for (int i = 0; i < 300; i++) {
        if (i == 20) {
            before = bed.memory.count;
        }
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = "/";
        request.method = "POST";
        request.body = hpx_span_of("{\"order\":1}");
        request.collect_bytes_max = i % 2 != 0 ? 1000 : 0;
        http_answer *answer = client_bed_send(&bed, &request);
        client_bed_again(&bed, fd, answer, OK_2);
        client_bed_expect_done(answer, 200, "ok");
        bed.answer_count--;
    }
    assert_int_equal(bed.memory.count, before);
    close(fd);
    client_bed_close(&bed);
}

static void test_memory_when_each_allocation_fails_then_an_end_and_no_leak(void **state)
{
    (void)state;
    size_t first = 0;
    size_t last = 1;
    for (size_t fail_at = 0; fail_at < last - first; fail_at++) {
        bed_begin();
        first = bed.memory.count;
        bed.memory.fail_at = first + fail_at;
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = bed.base;
        request.flags = HPX_HTTP_DECODE;
        request.collect_bytes_max = 100;
        http_answer *answer = &bed.answers[bed.answer_count++];
        memset(answer, 0, sizeof(*answer));
        request.user = answer;
        int fd = -1;
        const hpx_status status = hpx_http_send(bed.client, &request, &answer->id, NULL);
        for (int turn = 0; status == HPX_OK && turn < 4000 && answer->ends == 0; turn++) {
            client_bed_turn(&bed, 1);
            if (fd < 0) {
                fd = accept4(bed.listener, NULL, NULL, SOCK_NONBLOCK);
            } else if (read(fd, bed.text, sizeof(bed.text)) > 0) {
                client_bed_write(&bed, fd, OK_2);
            }
        }
        assert_true(status == HPX_E_NO_MEMORY || answer->ends == 1);
        if (answer->ends == 1 && answer->outcome != HPX_HTTP_DONE) {
            assert_int_equal(answer->error.status, HPX_E_NO_MEMORY);
        }
        last = bed.memory.count > last ? bed.memory.count : last;
        bed.memory.fail_at = SIZE_MAX;
        if (fd >= 0) {
            close(fd);
        }
        client_bed_close(&bed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pull_when_size_unknown_then_chunked_and_resumed),
        cmocka_unit_test(test_pull_when_it_fails_or_is_short_then_failed_and_closed),
        cmocka_unit_test(test_body_when_large_then_sent_whole_and_early_answer_closes),
        cmocka_unit_test(test_decode_when_gzip_or_deflate_then_decoded_and_bounded),
        cmocka_unit_test(test_deadlines_when_passed_then_timeout_says_which),
        cmocka_unit_test(test_cancel_when_in_any_phase_then_cancelled_once_and_closed),
        cmocka_unit_test(test_handler_when_it_calls_anything_then_nothing_breaks),
        cmocka_unit_test(test_pause_when_body_comes_then_held_back_until_resumed),
        cmocka_unit_test(test_pause_when_longer_than_the_idle_timeout_then_it_rests),
        cmocka_unit_test(test_cancel_when_the_slot_is_used_again_then_stale),
        cmocka_unit_test(test_pool_when_origins_compete_then_exact_limit_and_no_loss),
        cmocka_unit_test(test_warm_up_when_asked_then_first_request_finds_a_connection),
        cmocka_unit_test(test_connect_when_refused_then_no_and_the_stage),
        cmocka_unit_test(test_steady_state_when_requests_repeat_then_nothing_is_allocated),
        cmocka_unit_test(test_memory_when_each_allocation_fails_then_an_end_and_no_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

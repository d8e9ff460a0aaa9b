/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    HTTP/2 through the client against a server that sends the frames it likes: streams share
 *         a connection within its limits, what the server proved not to have processed is tried
 *         again and nothing else is, and hostile frames end the connection (pitfalls H8, H11 to
 *         H14).
 * Method  http_client_bed.h with prior knowledge; the test writes raw frames (RFC 9113 section 4)
 *         and reads the headers of the client's.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/engine/http_client_bed.h"
#include "tests/support/test.h"

enum {
    DATA = 0,
    HEADERS = 1,
    RST_STREAM = 3,
    SETTINGS = 4,
    PUSH_PROMISE = 5,
    PING = 6,
    GOAWAY = 7,
    WINDOW_UPDATE = 8,
    END_STREAM = 1,
    ACK = 1,
    END_HEADERS = 4,
};

#define OK_HEAD       "\x88" /* :status 200, indexed */
#define PREFACE_BYTES 24u
#define FRAME_HEAD    9u

#define CANCELS 10000u
#define BATCH   20u

static client_bed bed;

/* The server's end of one connection. */
typedef struct peer {
    int fd;
    uint8_t in[65536];
    size_t size;
    bool greeted;
    bool silent;          /* answers no PING */
    uint32_t counts[256]; /* frames read, by type */
    uint64_t data_bytes;
    uint32_t last_stream; /* of the last HEADERS */
} peer;

static void
put(peer *p, uint8_t type, uint8_t flags, uint32_t stream, const void *body, size_t size)
{
    uint8_t frame[FRAME_HEAD + 32768];
    assert_true(size <= 32768);
    const uint8_t head[FRAME_HEAD] = {
        (uint8_t)(size >> 16),
        (uint8_t)(size >> 8),
        (uint8_t)size,
        type,
        flags,
        (uint8_t)(stream >> 24),
        (uint8_t)(stream >> 16),
        (uint8_t)(stream >> 8),
        (uint8_t)stream};
    memcpy(frame, head, sizeof(head));
    if (size != 0) {
        memcpy(frame + sizeof(head), body, size);
    }
    client_bed_write_bytes(&bed, p->fd, frame, sizeof(head) + size);
}

static void put_u32(peer *p, uint8_t type, uint32_t stream, uint32_t value)
{
    const uint8_t body[4] = {
        (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    put(p, type, 0, stream, body, sizeof(body));
}

static void put_setting(peer *p, uint16_t id, uint32_t value)
{
    const uint8_t body[6] = {
        (uint8_t)(id >> 8),
        (uint8_t)id,
        (uint8_t)(value >> 24),
        (uint8_t)(value >> 16),
        (uint8_t)(value >> 8),
        (uint8_t)value};
    put(p, SETTINGS, 0, 0, body, sizeof(body));
}

static void put_goaway(peer *p, uint32_t last_stream, uint32_t code)
{
    const uint8_t body[8] = {
        0, 0, (uint8_t)(last_stream >> 8), (uint8_t)last_stream, 0, 0, 0, (uint8_t)code};
    put(p, GOAWAY, 0, 0, body, sizeof(body));
}

static void answer_ok(peer *p, uint32_t stream)
{
    put(p, HEADERS, END_HEADERS, stream, OK_HEAD, 1);
    put(p, DATA, END_STREAM, stream, "ok", 2);
}

/* Takes the next frame that is there. False: none. */
static bool take_frame(peer *p)
{
    const size_t skip = p->greeted ? 0 : PREFACE_BYTES;
    if (p->size < skip + FRAME_HEAD) {
        return false;
    }
    const uint8_t *head = p->in + skip;
    const size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    if (p->size < skip + FRAME_HEAD + size) {
        return false;
    }
    if (!p->greeted) {
        assert_memory_equal(p->in, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PREFACE_BYTES);
        p->greeted = true;
    }
    p->counts[head[3]]++;
    if (head[3] == HEADERS) {
        p->last_stream =
            (uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8];
    } else if (head[3] == DATA) {
        p->data_bytes += size;
    } else if (head[3] == SETTINGS && (head[4] & ACK) == 0) {
        put(p, SETTINGS, ACK, 0, NULL, 0);
    } else if (head[3] == PING && (head[4] & ACK) == 0 && !p->silent) {
        put(p, PING, ACK, 0, head + FRAME_HEAD, size);
    }
    const size_t used = skip + FRAME_HEAD + size;
    memmove(p->in, p->in + used, p->size - used);
    p->size -= used;
    return true;
}

static void read_frames(peer *p)
{
    for (int i = 0; i < 4; i++) {
        client_bed_turn(&bed, 1);
        const ssize_t got = read(p->fd, p->in + p->size, sizeof(p->in) - p->size);
        p->size += got > 0 ? (size_t)got : 0;
        while (take_frame(p)) {
        }
    }
}

/* Until so many frames of the type have been read in all. */
static void until(peer *p, uint8_t type, uint32_t count)
{
    const uint64_t limit_ns = hpx_clock_now_ns() + 60 * HPX_NS_PER_S;
    while (p->counts[type] < count) {
        read_frames(p);
        assert_true(hpx_clock_now_ns() < limit_ns);
    }
}

static void accept_peer(peer *p)
{
    memset(p, 0, sizeof(*p));
    p->fd = client_bed_accept(&bed);
    put(p, SETTINGS, 0, 0, NULL, 0);
}

static http_answer *ask(const char *method, const char *body)
{
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = "/";
    request.method = method;
    request.version = HPX_HTTP_2_PRIOR_KNOWLEDGE;
    if (body != NULL) {
        request.body = hpx_span_of(body);
    }
    return client_bed_send(&bed, &request);
}

static void bed_begin(void)
{
    client_bed_prepare(&bed);
    client_bed_open(&bed);
}

static void bed_end(peer *p)
{
    close(p->fd);
    client_bed_close(&bed);
}

static void expect_done(const http_answer *answer)
{
    assert_string_equal(hpx_status_name(answer->error.status), "HPX_OK");
    assert_int_equal(answer->outcome, HPX_HTTP_DONE);
    assert_int_equal(answer->status, 200);
    assert_string_equal(answer->body, "ok");
    assert_int_equal(answer->info.version, HPX_HTTP_2);
}

static void
expect_failed(const http_answer *answer, hpx_status status, hpx_http_processed processed)
{
    assert_string_equal(hpx_status_name(answer->error.status), hpx_status_name(status));
    assert_int_equal(answer->outcome, HPX_HTTP_FAILED);
    assert_string_equal(
        hpx_http_processed_name(answer->processed), hpx_http_processed_name(processed));
}

static void test_streams_when_many_then_one_connection_in_any_order(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    http_answer *answers[10];
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        answers[i] = ask(i % 2 != 0 ? "POST" : "GET", i % 2 != 0 ? "body" : NULL);
    }
    accept_peer(&p);
    until(&p, HEADERS, 10);
    for (uint32_t i = 10; i-- > 0;) {
        answer_ok(&p, 2 * i + 1);
    }
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        client_bed_until_end(&bed, answers[i]);
        expect_done(answers[i]);
        assert_int_equal(answers[i]->heads, 1);
    }
    hpx_http_stats stats;
    client_bed_stats(&bed, &stats);
    assert_int_equal(stats.connects, 1);
    assert_int_equal(p.data_bytes, 5 * 4);
    bed_end(&p);
}

static void test_streams_when_the_limit_is_2_then_2_at_a_time_in_order(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    http_answer *first = ask("GET", NULL);
    accept_peer(&p);
    put_setting(&p, 3, 2); /* SETTINGS_MAX_CONCURRENT_STREAMS */
    until(&p, HEADERS, 1);
    answer_ok(&p, 1);
    client_bed_until_end(&bed, first);
    http_answer *answers[6];
    for (size_t i = 0; i < COUNT_OF(answers); i++) {
        answers[i] = ask("GET", NULL);
    }
    for (uint32_t done = 0; done < 6; done++) {
        until(&p, HEADERS, done + 2);
        read_frames(&p);
        assert_true(p.counts[HEADERS] - 1 - done <= 2);
        answer_ok(&p, 3 + 2 * done);
        client_bed_until_end(&bed, answers[done]);
        expect_done(answers[done]);
    }
    bed_end(&p);
}

static void test_streams_when_the_limit_is_0_then_they_wait_for_settings(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    http_answer *first = ask("GET", NULL);
    accept_peer(&p);
    put_setting(&p, 3, 0);
    until(&p, HEADERS, 1);
    answer_ok(&p, 1);
    client_bed_until_end(&bed, first);
    client_bed_turn(&bed, 10);
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = "/";
    request.version = HPX_HTTP_2_PRIOR_KNOWLEDGE;
    request.timeout_ns = 20 * HPX_NS_PER_MS;
    http_answer *late = client_bed_send(&bed, &request);
    http_answer *patient = ask("GET", NULL);
    client_bed_until_end(&bed, late);
    assert_int_equal(late->outcome, HPX_HTTP_TIMEOUT);
    assert_int_equal(late->error.stage, HPX_STAGE_QUEUE);
    assert_int_equal(late->processed, HPX_HTTP_PROCESSED_NO);
    read_frames(&p);
    assert_int_equal(p.counts[HEADERS], 1);
    put_setting(&p, 3, 1);
    until(&p, HEADERS, 2);
    answer_ok(&p, p.last_stream);
    client_bed_until_end(&bed, patient);
    expect_done(patient);
    bed_end(&p);
}

static void test_goaway_when_streams_are_above_it_then_they_go_elsewhere_once(void **state)
{
    (void)state;
    static peer p;
    static peer q;
    bed_begin();
    http_answer *taken = ask("POST", "order 1");
    http_answer *refused = ask("POST", "order 2");
    accept_peer(&p);
    until(&p, HEADERS, 2);
    put_goaway(&p, 1, 0);
    accept_peer(&q);
    until(&q, HEADERS, 1);
    answer_ok(&q, 1);
    client_bed_until_end(&bed, refused);
    expect_done(refused);
    assert_int_equal(refused->info.attempts, 2);
    answer_ok(&p, 1); /* the old connection still serves what it took */
    client_bed_until_end(&bed, taken);
    expect_done(taken);
    assert_int_equal(taken->info.attempts, 1);
    hpx_http_stats stats;
    client_bed_stats(&bed, &stats);
    assert_int_equal(stats.retries, 1);
    assert_int_equal(stats.retries_goaway, 1);
    assert_int_equal(p.counts[HEADERS] + q.counts[HEADERS], 3);
    close(q.fd);
    bed_end(&p);
}

static void test_goaway_when_the_stream_is_below_it_then_unknown_and_not_sent_again(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    http_answer *answer = ask("GET", NULL);
    accept_peer(&p);
    until(&p, HEADERS, 1);
    put_goaway(&p, 1, 2 /* INTERNAL_ERROR */);
    client_bed_turn(&bed, 10);
    close(p.fd);
    client_bed_until_end(&bed, answer);
    assert_int_equal(answer->outcome, HPX_HTTP_FAILED);
    assert_int_equal(answer->processed, HPX_HTTP_PROCESSED_UNKNOWN);
    assert_false(client_bed_has_connection(&bed));
    p.fd = dup(0);
    bed_end(&p);
}

static void test_refused_when_rst_stream_then_again_up_to_the_limit(void **state)
{
    (void)state;
    static peer p;
    client_bed_prepare(&bed);
    bed.config.retries_max = 2;
    client_bed_open(&bed);
    http_answer *answer = ask("POST", "order");
    accept_peer(&p);
    for (uint32_t i = 0; i < 3; i++) {
        until(&p, HEADERS, i + 1);
        put_u32(&p, RST_STREAM, p.last_stream, 7 /* REFUSED_STREAM */);
    }
    client_bed_until_end(&bed, answer);
    expect_failed(answer, HPX_E_H2_REFUSED, HPX_HTTP_PROCESSED_NO);
    assert_int_equal(answer->info.attempts, 3);
    assert_int_equal(answer->error.h2_error, 7);
    hpx_http_stats stats;
    client_bed_stats(&bed, &stats);
    assert_int_equal(stats.retries_refused, 2);
    assert_int_equal(stats.retries, 2);
    bed_end(&p);
}

static int produce(void *user, uint8_t *to, size_t size)
{
    uint32_t *left = user;
    assert_true(size >= 4);
    if (*left == 0) {
        return 0;
    }
    (*left)--;
    memcpy(to, "part", 4);
    return 4;
}

/* What the app's producer gave is gone: it cannot be sent again, though it would be safe. */
static void test_refused_when_the_body_was_pulled_then_not_again_but_processed_no(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    uint32_t left = 1;
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    request.url = "/";
    request.method = "POST";
    request.version = HPX_HTTP_2_PRIOR_KNOWLEDGE;
    request.pull = produce;
    request.pull_user = &left;
    request.body_bytes = HPX_HTTP_SIZE_UNKNOWN;
    http_answer *answer = client_bed_send(&bed, &request);
    accept_peer(&p);
    until(&p, DATA, 1);
    put_u32(&p, RST_STREAM, 1, 7);
    client_bed_until_end(&bed, answer);
    expect_failed(answer, HPX_E_H2_REFUSED, HPX_HTTP_PROCESSED_NO);
    assert_int_equal(answer->info.attempts, 1);
    read_frames(&p);
    assert_int_equal(p.counts[HEADERS], 1);
    bed_end(&p);
}

static void test_reset_when_by_peer_then_unknown_with_its_code(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    http_answer *answer = ask("GET", NULL);
    http_answer *other = ask("GET", NULL);
    accept_peer(&p);
    until(&p, HEADERS, 2);
    put_u32(&p, RST_STREAM, 1, 2);
    client_bed_until_end(&bed, answer);
    expect_failed(answer, HPX_E_H2_RESET, HPX_HTTP_PROCESSED_UNKNOWN);
    assert_int_equal(answer->error.h2_error, 2);
    answer_ok(&p, 3); /* the others are not touched */
    client_bed_until_end(&bed, other);
    expect_done(other);
    bed_end(&p);
}

static void test_connection_when_lost_in_the_body_then_failed_not_done(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    http_answer *answer = ask("GET", NULL);
    http_answer *silent = ask("GET", NULL);
    accept_peer(&p);
    until(&p, HEADERS, 2);
    put(&p, HEADERS, END_HEADERS, 1, OK_HEAD, 1);
    put(&p, DATA, 0, 1, "part", 4);
    client_bed_turn(&bed, 10);
    shutdown(p.fd, SHUT_WR); /* not close(): what was not read would make it a reset */
    client_bed_until_end(&bed, answer);
    client_bed_until_end(&bed, silent);
    expect_failed(answer, HPX_E_EOF, HPX_HTTP_PROCESSED_YES);
    assert_string_equal(answer->body, "part");
    assert_int_equal(answer->error.stage, HPX_STAGE_BODY);
    expect_failed(silent, HPX_E_EOF, HPX_HTTP_PROCESSED_UNKNOWN);
    assert_false(client_bed_has_connection(&bed));
    bed_end(&p);
}

static void test_reset_when_the_response_is_whole_then_done(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    char *body = calloc(1, 200001);
    memset(body, 'b', 200000); /* more than the window: it cannot all be sent */
    http_answer *answer = ask("POST", body);
    accept_peer(&p);
    until(&p, HEADERS, 1);
    answer_ok(&p, 1);
    put_u32(&p, RST_STREAM, 1, 0); /* RFC 9113 8.1: NO_ERROR, no need for the rest */
    client_bed_until_end(&bed, answer);
    expect_done(answer);
    free(body);
    bed_end(&p);
}

static void test_body_when_above_the_window_then_it_follows_the_updates(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    char *body = calloc(1, 300001);
    memset(body, 'b', 300000);
    http_answer *answer = ask("POST", body);
    accept_peer(&p);
    while (p.data_bytes < 65535) {
        read_frames(&p);
    }
    for (int i = 0; i < 10; i++) {
        read_frames(&p);
    }
    assert_int_equal(p.data_bytes, 65535); /* the initial window, not one byte more */
    put_u32(&p, WINDOW_UPDATE, 0, 1u << 20);
    put_u32(&p, WINDOW_UPDATE, 1, 1u << 20);
    while (p.data_bytes < 300000) {
        read_frames(&p);
    }
    answer_ok(&p, 1);
    client_bed_until_end(&bed, answer);
    expect_done(answer);
    assert_int_equal(answer->info.request_bytes, 300000);
    free(body);
    bed_end(&p);
}

/* What no honest server sends, and what is said then. */
static void test_frames_when_hostile_then_the_connection_ends(void **state)
{
    (void)state;
    static peer p;
    for (int kind = 0; kind < 4; kind++) {
        bed_begin();
        http_answer *answer = ask("GET", NULL);
        accept_peer(&p);
        until(&p, HEADERS, 1);
        if (kind == 0) { /* we said ENABLE_PUSH = 0 */
            put(&p, PUSH_PROMISE, END_HEADERS, 1, "\0\0\0\2" OK_HEAD, 5);
        } else if (kind == 1) {
            put(&p, DATA, 0, 5, "x", 1); /* a stream that does not exist */
        } else if (kind == 2) {
            client_bed_write(&bed, p.fd, "HTTP/1.1 400 Bad Request\r\n\r\n");
        } else {
            for (int i = 0; i < 5000 && answer->ends == 0; i++) {
                put(&p, PING, 0, 0, "12345678", 8);
            }
        }
        client_bed_until_end(&bed, answer);
        assert_int_equal(answer->outcome, HPX_HTTP_FAILED);
        assert_string_equal(
            hpx_status_name(answer->error.status),
            kind == 3 ? "HPX_E_H2_FLOOD" : "HPX_E_H2_PROTOCOL");
        client_bed_until_connections(&bed, 0);
        bed_end(&p);
    }
}

static void test_late_frames_when_cancelled_then_ignored_and_the_window_stays_whole(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    static uint8_t block[16000];
    (void)ask("GET", NULL);
    accept_peer(&p);
    until(&p, HEADERS, 1);
    answer_ok(&p, 1);
    client_bed_until_end(&bed, &bed.answers[0]);
    for (uint32_t i = 0; i < CANCELS; i += BATCH) { /* 10,000 streams, far more than a window */
        bed.answer_count = 1;
        http_answer *answers[BATCH];
        for (uint32_t k = 0; k < BATCH; k++) {
            answers[k] = ask("GET", NULL);
        }
        until(&p, HEADERS, i + 1 + BATCH);
        for (uint32_t k = 0; k < BATCH; k++) {
            const uint32_t stream = p.last_stream - 2 * k;
            put(&p, HEADERS, END_HEADERS, stream, OK_HEAD, 1);
            put(&p, DATA, 0, stream, block, k % 3 == 0 ? 100 : sizeof(block) / 4);
        }
        if (i % (2 * BATCH) == 0) {
            client_bed_turn(&bed, 2);
        }
        for (uint32_t k = 0; k < BATCH; k++) {
            assert_int_equal(hpx_http_cancel(bed.client, answers[k]->id), HPX_OK);
        }
        for (uint32_t k = 0; k < BATCH; k++) {
            client_bed_until_end(&bed, answers[k]);
            assert_int_equal(answers[k]->outcome, HPX_HTTP_CANCELLED);
            put(&p, DATA, 0, p.last_stream - 2 * k, block, 1000); /* it had not heard yet */
        }
        read_frames(&p);
    }
    until(&p, RST_STREAM, CANCELS);
    assert_int_equal(p.counts[RST_STREAM], CANCELS);
    http_answer *last = ask("GET", NULL);
    until(&p, HEADERS, CANCELS + 2);
    answer_ok(&p, p.last_stream);
    client_bed_until_end(&bed, last);
    expect_done(last);
    hpx_http_stats stats;
    client_bed_stats(&bed, &stats);
    assert_int_equal(stats.connects, 1);
    bed_end(&p);
}

static void test_pause_when_data_comes_then_no_window_is_given(void **state)
{
    (void)state;
    static peer p;
    client_bed_prepare(&bed);
    bed.config.h2_window_bytes = 128u << 10;
    bed.config.h2_fixed_window = true;
    client_bed_open(&bed);
    http_answer *answer = ask("GET", NULL);
    accept_peer(&p);
    until(&p, HEADERS, 1);
    put(&p, HEADERS, END_HEADERS, 1, OK_HEAD, 1);
    while (answer->heads == 0) {
        client_bed_turn(&bed, 1);
    }
    assert_int_equal(hpx_http_pause(bed.client, answer->id), HPX_OK);
    static uint8_t block[16384];
    const uint32_t updates = p.counts[WINDOW_UPDATE];
    for (int i = 0; i < 4; i++) { /* 64 KiB: the stream's window */
        put(&p, DATA, 0, 1, block, sizeof(block));
    }
    for (int i = 0; i < 20; i++) {
        read_frames(&p);
    }
    assert_int_equal(answer->body_bytes, 0);
    assert_int_equal(p.counts[WINDOW_UPDATE], updates);
    assert_int_equal(hpx_http_resume(bed.client, answer->id), HPX_OK);
    until(&p, WINDOW_UPDATE, updates + 1);
    assert_int_equal(answer->body_bytes, 65536);
    put(&p, DATA, END_STREAM, 1, NULL, 0);
    client_bed_until_end(&bed, answer);
    assert_int_equal(answer->outcome, HPX_HTTP_DONE);
    bed_end(&p);
}

static void test_keep_alive_when_the_peer_is_silent_then_lost(void **state)
{
    (void)state;
    static peer p;
    client_bed_prepare(&bed);
    bed.config.h2_keep_alive_ns = 20 * HPX_NS_PER_MS;
    bed.config.h2_keep_alive_timeout_ns = 20 * HPX_NS_PER_MS;
    client_bed_open(&bed);
    http_answer *answer = ask("GET", NULL);
    accept_peer(&p);
    p.silent = true;
    until(&p, HEADERS, 1);
    client_bed_until_end(&bed, answer);
    expect_failed(answer, HPX_E_PONG_TIMEOUT, HPX_HTTP_PROCESSED_UNKNOWN);
    read_frames(&p);
    assert_int_equal(p.counts[PING], 1);
    hpx_http_stats stats;
    client_bed_stats(&bed, &stats);
    assert_int_equal(stats.h2_keep_alive_timeouts, 1);
    client_bed_until_connections(&bed, 0);
    hpx_http_connection_stats lost;
    assert_int_equal(hpx_http_connections(bed.client, &lost, 1), 1);
    assert_int_equal(lost.state, HPX_HTTP_CONNECTION_LOST);
    assert_true(lost.h2_keep_alive_timed_out);
    bed_end(&p);
}

static void test_ping_when_data_flows_then_its_numbers_are_in_the_stats(void **state)
{
    (void)state;
    static peer p;
    static uint8_t block[16384];
    hpx_http_stats stats;
    bed_begin();
    http_answer *answer = ask("GET", NULL);
    accept_peer(&p);
    until(&p, HEADERS, 1);
    client_bed_stats(&bed, &stats);
    assert_int_equal(stats.h2_rtt_ns, 0);
    put(&p, HEADERS, END_HEADERS, 1, OK_HEAD, 1);
    for (int i = 0; i < 8; i++) {
        put(&p, DATA, 0, 1, block, sizeof(block));
    }
    until(&p, PING, 1);
    put(&p, DATA, END_STREAM, 1, NULL, 0);
    client_bed_until_end(&bed, answer);
    client_bed_turn(&bed, 10);
    client_bed_stats(&bed, &stats);
    assert_int_equal(stats.h2_bytes, 8 * sizeof(block));
    assert_true(stats.h2_rtt_ns != 0);
    assert_true(stats.h2_window_bytes != 0);
    assert_true(stats.h2_last_read_ns != 0 && stats.h2_last_read_ns <= hpx_clock_now_ns());
    assert_int_equal(stats.h2_keep_alive_timeouts, 0);
    hpx_http_connection_stats one;
    assert_int_equal(hpx_http_connections(bed.client, &one, 1), 1);
    assert_int_equal(one.state, HPX_HTTP_CONNECTION_OPEN);
    assert_int_equal(one.version, HPX_HTTP_2);
    assert_int_equal(one.h2_bytes, 8 * sizeof(block));
    assert_true(one.h2_rtt_ns == stats.h2_rtt_ns && one.h2_bdp_bytes == stats.h2_bdp_bytes);
    assert_int_equal(one.h2_window_bytes, stats.h2_window_bytes);
    assert_true(one.began_ns != 0 && one.began_ns <= one.last_read_ns);
    bed_end(&p);
}

static void test_idle_when_the_peer_closes_then_the_next_request_connects_anew(void **state)
{
    (void)state;
    static peer p;
    static peer q;
    bed_begin();
    http_answer *answer = ask("GET", NULL);
    accept_peer(&p);
    until(&p, HEADERS, 1);
    answer_ok(&p, 1);
    client_bed_until_end(&bed, answer);
    put_goaway(&p, 1, 0);
    client_bed_until_connections(&bed, 0);
    answer = ask("GET", NULL);
    accept_peer(&q);
    until(&q, HEADERS, 1);
    answer_ok(&q, 1);
    client_bed_until_end(&bed, answer);
    expect_done(answer);
    hpx_http_stats stats;
    client_bed_stats(&bed, &stats);
    assert_int_equal(stats.retries, 0);
    close(q.fd);
    bed_end(&p);
}

static void test_steady_state_when_requests_repeat_then_nothing_is_allocated(void **state)
{
    (void)state;
    static peer p;
    bed_begin();
    size_t before = 0;
    for (uint32_t i = 0; i < 400; i++) {
        bed.answer_count = 0;
        http_answer *answer = ask("POST", "{\"order\":1}");
        if (i == 0) {
            accept_peer(&p);
        }
        until(&p, HEADERS, i + 1);
        answer_ok(&p, p.last_stream);
        client_bed_until_end(&bed, answer);
        expect_done(answer);
        if (i == 100) {
            before = bed.memory.count;
        }
    }
    assert_int_equal(bed.memory.count, before);
    bed_end(&p);
}

/* Each allocation from the first request on fails in turn: an end, no leak, no crash. */
static void test_memory_when_each_allocation_fails_then_an_end_and_no_leak(void **state)
{
    (void)state;
    static peer p;
    size_t first = 0;
    size_t last = 1;
    for (size_t fail_at = 0; fail_at < last - first; fail_at++) {
        bed_begin();
        first = bed.memory.count;
        bed.memory.fail_at = first + fail_at;
        http_answer *answer = &bed.answers[bed.answer_count++];
        memset(answer, 0, sizeof(*answer));
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = bed.base;
        request.version = HPX_HTTP_2_PRIOR_KNOWLEDGE;
        request.method = "POST";
        request.body = hpx_span_of("order");
        request.user = answer;
        memset(&p, 0, sizeof(p));
        p.fd = -1;
        const hpx_status status = hpx_http_send(bed.client, &request, &answer->id, NULL);
        for (int turn = 0; status == HPX_OK && turn < 4000 && answer->ends == 0; turn++) {
            client_bed_turn(&bed, 1);
            if (p.fd < 0) {
                p.fd = accept(bed.listener, NULL, NULL);
                if (p.fd >= 0) {
                    put(&p, SETTINGS, 0, 0, NULL, 0);
                }
                continue;
            }
            const uint32_t before = p.counts[HEADERS];
            const ssize_t got = recv(p.fd, p.in + p.size, sizeof(p.in) - p.size, MSG_DONTWAIT);
            p.size += got > 0 ? (size_t)got : 0;
            while (take_frame(&p)) {
            }
            if (p.counts[HEADERS] != before) {
                answer_ok(&p, p.last_stream);
            }
        }
        assert_true(status == HPX_E_NO_MEMORY || answer->ends == 1);
        if (answer->ends == 1 && answer->outcome != HPX_HTTP_DONE) {
            assert_string_equal(hpx_status_name(answer->error.status), "HPX_E_NO_MEMORY");
        }
        last = bed.memory.count > last ? bed.memory.count : last;
        bed.memory.fail_at = SIZE_MAX;
        if (p.fd >= 0) {
            close(p.fd);
        }
        client_bed_close(&bed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_when_many_then_one_connection_in_any_order),
        cmocka_unit_test(test_streams_when_the_limit_is_2_then_2_at_a_time_in_order),
        cmocka_unit_test(test_streams_when_the_limit_is_0_then_they_wait_for_settings),
        cmocka_unit_test(test_goaway_when_streams_are_above_it_then_they_go_elsewhere_once),
        cmocka_unit_test(test_goaway_when_the_stream_is_below_it_then_unknown_and_not_sent_again),
        cmocka_unit_test(test_refused_when_rst_stream_then_again_up_to_the_limit),
        cmocka_unit_test(test_refused_when_the_body_was_pulled_then_not_again_but_processed_no),
        cmocka_unit_test(test_reset_when_by_peer_then_unknown_with_its_code),
        cmocka_unit_test(test_connection_when_lost_in_the_body_then_failed_not_done),
        cmocka_unit_test(test_reset_when_the_response_is_whole_then_done),
        cmocka_unit_test(test_body_when_above_the_window_then_it_follows_the_updates),
        cmocka_unit_test(test_frames_when_hostile_then_the_connection_ends),
        cmocka_unit_test(test_late_frames_when_cancelled_then_ignored_and_the_window_stays_whole),
        cmocka_unit_test(test_pause_when_data_comes_then_no_window_is_given),
        cmocka_unit_test(test_keep_alive_when_the_peer_is_silent_then_lost),
        cmocka_unit_test(test_ping_when_data_flows_then_its_numbers_are_in_the_stats),
        cmocka_unit_test(test_idle_when_the_peer_closes_then_the_next_request_connects_anew),
        cmocka_unit_test(test_steady_state_when_requests_repeat_then_nothing_is_allocated),
        cmocka_unit_test(test_memory_when_each_allocation_fails_then_an_end_and_no_leak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

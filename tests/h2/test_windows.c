/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a consumer that does not consume holds the peer back, on its stream alone; every byte of
 * connection window comes back, however a stream ends; windows follow the measured
 * bandwidth-delay product; a peer may shrink its windows and stream limit to nothing and below.
 * Method: two sessions in memory with the smallest connection window, so that a leak of a few bytes
 * per stream stops the connection well before the test's end. H11, H13, H14.
 */
#include <stdio.h>

#include "tests/h2/duo.h"
#include "tests/support/test.h"

#define STREAMS 10000u
#define WINDOW  65535u

static duo bed;
static uint8_t zeros[4u << 20];

static hpxi_h2_config small_client(void)
{
    hpxi_h2_config config = hpxi_h2_config_client;
    config.connection_window_bytes = WINDOW;
    config.ping.window_bytes = WINDOW / 2; /* the connection is kept at twice that */
    config.ping.window_bytes_max = WINDOW / 2;
    return config;
}

/* Answers with as many bytes as the path says. */
static void serve_bytes(duo_side *side, const hpxi_h2_event *event)
{
    if (event->kind != HPXI_H2_REQUEST) {
        return;
    }
    char digits[16] = {0};
    assert_true(event->head.path.size < sizeof(digits));
    memcpy(digits, event->head.path.data + 1, event->head.path.size - 1);
    const size_t size = strtoul(digits, NULL, 10);
    assert_true(size <= sizeof(zeros));
    const hpxi_h2_body body = {.span = {zeros, size}};
    assert_int_equal(hpxi_h2_respond(side->h2, event->stream, 200, NULL, 0, &body, NULL), HPX_OK);
}

static void start_small(void)
{
    const hpxi_h2_config config = small_client();
    assert_true(duo_init(&bed, &config, NULL));
    bed.client.is_quiet = true;
    bed.server.is_quiet = true;
    bed.server.on_event = serve_bytes;
    duo_run(&bed);
}

/* What must hold whenever all is quiet: nothing is missing but what waits for the next update. */
static void check_window_is_whole(duo_side *side)
{
    hpxi_h2_info info;
    hpxi_h2_get_info(side->h2, &info);
    assert_int_equal(info.unconsumed_bytes, 0);
    assert_int_equal(info.streams_open, 0);
    assert_true(info.window_connection_bytes > 0);
    assert_true((uint32_t)info.window_connection_bytes >= info.window_connection_bytes_max / 2);
}

/* ---- Backpressure --------------------------------------------------------------------------- */

static void test_windows_when_consumer_does_not_consume_then_only_its_stream_stops(void **state)
{
    (void)state;
    start_small();
    bed.client.keeps_data = true;
    const hpxi_h2_stream slow = side_request(&bed.client, "GET", "/200000");
    duo_run(&bed);
    assert_int_equal(bed.client.data_bytes, WINDOW / 2);
    bed.client.keeps_data = false;
    (void)side_request(&bed.client, "GET", "/200000");
    duo_run(&bed);
    assert_int_equal(bed.client.data_bytes, WINDOW / 2 + 200000);
    assert_int_equal(bed.client.closed_count, 1);
    hpxi_h2_consume(bed.client.h2, slow, WINDOW / 2);
    duo_run(&bed);
    assert_int_equal(bed.client.data_bytes, 400000);
    assert_int_equal(bed.client.closed_count, 2);
    check_window_is_whole(&bed.client);
    duo_fini(&bed);
}

static void test_windows_when_stream_ends_unconsumed_then_connection_gets_it_back(void **state)
{
    (void)state;
    start_small();
    bed.client.keeps_data = true;
    for (int i = 0; i < 100; i++) {
        (void)side_request(&bed.client, "GET", "/30000");
        duo_run(&bed);
    }
    assert_int_equal(bed.client.data_bytes, 3000000);
    check_window_is_whole(&bed.client);
    duo_fini(&bed);
}

/* ---- Cancelled streams (H11) ---------------------------------------------------------------- */

typedef enum cancel_when {
    CANCEL_BEFORE_WRITTEN,
    CANCEL_BEFORE_ANSWER,
    CANCEL_AT_HEAD,
    CANCEL_AT_DATA,
    CANCEL_AT_DATA_HALF_CONSUMED,
    CANCEL_AT_END,
    CANCEL_WAYS,
} cancel_when;

static void cancel_on(duo_side *side, const hpxi_h2_event *event)
{
    const cancel_when *when = side->ctx;
    const bool is_due = (*when == CANCEL_AT_HEAD && event->kind == HPXI_H2_RESPONSE) ||
                        (*when == CANCEL_AT_DATA && event->kind == HPXI_H2_DATA) ||
                        (*when == CANCEL_AT_DATA_HALF_CONSUMED && event->kind == HPXI_H2_DATA) ||
                        (*when == CANCEL_AT_END && event->kind == HPXI_H2_END);
    if (event->kind == HPXI_H2_DATA && *when == CANCEL_AT_DATA_HALF_CONSUMED) {
        hpxi_h2_consume(side->h2, event->stream, event->data.size / 2);
    }
    if (is_due) {
        assert_int_equal(hpxi_h2_reset(side->h2, event->stream, HPXI_H2_CANCEL, NULL), HPX_OK);
        assert_int_equal(hpxi_h2_reset(side->h2, event->stream, HPXI_H2_CANCEL, NULL), HPX_E_STALE);
    }
}

static void cancel_one(cancel_when when)
{
    bed.client.ctx = &when;
    const hpxi_h2_stream stream =
        side_request(&bed.client, "GET", when == CANCEL_AT_END ? "/20000" : "/40000");
    if (when == CANCEL_BEFORE_ANSWER) {
        (void)duo_move(&bed, &bed.client, &bed.server);
    }
    if (when == CANCEL_BEFORE_WRITTEN || when == CANCEL_BEFORE_ANSWER) {
        hpxi_h2_processed processed;
        assert_int_equal(hpxi_h2_reset(bed.client.h2, stream, HPXI_H2_CANCEL, &processed), HPX_OK);
        assert_int_equal(
            processed,
            when == CANCEL_BEFORE_WRITTEN ? HPXI_H2_PROCESSED_NO : HPXI_H2_PROCESSED_UNKNOWN);
    }
    duo_run(&bed);
}

static void test_windows_when_10000_streams_are_cancelled_then_window_is_whole(void **state)
{
    (void)state;
    start_small();
    bed.server.keeps_data = true;
    bed.client.keeps_data = true;
    bed.client.on_event = cancel_on;
    for (uint32_t i = 0; i < STREAMS; i++) {
        bed.now_ns += HPX_NS_PER_S / 50; /* below limits.resets_received */
        cancel_one((cancel_when)(i % CANCEL_WAYS));
        assert_int_equal(bed.client.status, HPX_OK);
        assert_int_equal(bed.server.status, HPX_OK);
        assert_int_equal(bed.client.closed_count, 0); /* reset: no event */
    }
    check_window_is_whole(&bed.client);
    bed.client.on_event = NULL;
    bed.client.keeps_data = false;
    bed.client.data_bytes = 0;
    (void)side_request(&bed.client, "GET", "/300000"); /* 10,001 */
    duo_run(&bed);
    assert_int_equal(bed.client.data_bytes, 300000);
    assert_int_equal(bed.client.closed_count, 1);
    check_window_is_whole(&bed.client);
    check_window_is_whole(&bed.server);
    duo_fini(&bed);
}

/* DATA that was on its way when we reset: for a stream that is gone, padding included (H14). */
static void test_windows_when_late_data_arrives_then_it_is_given_back(void **state)
{
    (void)state;
    const hpxi_h2_config config = small_client();
    assert_true(duo_init_alone(&bed, &config));
    bed.client.is_quiet = true;
    hpxi_buf raw;
    hpxi_buf_init(&raw, &bed.allocator);
    raw_hello(&raw, false);
    raw_frame(&raw, RAW_SETTINGS, RAW_ACK, 0, NULL, 0);
    static uint8_t padded[1000];
    padded[0] = 200;
    for (uint32_t i = 0; i < 300; i++) {
        const hpxi_h2_stream stream = side_request(&bed.client, "GET", "/");
        (void)side_flush(&bed.client);
        const uint32_t id = hpxi_h2_stream_id(bed.client.h2, stream);
        if (i % 2 == 0) { /* RST_STREAM written before DATA comes, or only queued */
            assert_int_equal(hpxi_h2_reset(bed.client.h2, stream, HPXI_H2_CANCEL, NULL), HPX_OK);
            (void)side_flush(&bed.client);
        }
        raw_frame(&raw, RAW_HEADERS, RAW_END_HEADERS, id, "\x88", 1); /* :status 200 */
        raw_frame(&raw, RAW_DATA, RAW_PADDED, id, padded, sizeof(padded));
        hpx_span span = hpxi_buf_span(&raw);
        side_feed(&bed.client, span.data, span.size, 0);
        hpxi_buf_consume(&raw, span.size);
        if (i % 2 != 0) {
            assert_int_equal(hpxi_h2_reset(bed.client.h2, stream, HPXI_H2_CANCEL, NULL), HPX_OK);
            raw_frame(&raw, RAW_DATA, RAW_PADDED, id, padded, sizeof(padded));
            span = hpxi_buf_span(&raw);
            side_feed(&bed.client, span.data, span.size, 100);
            hpxi_buf_consume(&raw, span.size);
        }
        (void)side_flush(&bed.client);
        assert_int_equal(bed.client.status, HPX_OK);
        hpxi_buf_consume(&bed.client.out, hpxi_buf_size(&bed.client.out));
    }
    check_window_is_whole(&bed.client);
    hpxi_buf_fini(&raw);
    duo_fini(&bed);
}

static void test_windows_when_server_resets_mid_body_then_window_is_whole(void **state)
{
    (void)state;
    start_small();
    bed.client.keeps_data = true;
    for (int i = 0; i < 500; i++) {
        bed.now_ns += HPX_NS_PER_S / 50;
        (void)side_request(&bed.client, "GET", "/200000");
        duo_run(&bed);
        assert_int_equal(
            hpxi_h2_reset(bed.server.h2, bed.server.last, HPXI_H2_INTERNAL_ERROR, NULL), HPX_OK);
        duo_run(&bed);
    }
    assert_int_equal(bed.client.closed_count, 500);
    check_window_is_whole(&bed.client);
    duo_fini(&bed);
}

/* More DATA than the content-length says: the stream ends, and what was of it counts as read. */
static void test_windows_when_body_is_too_long_then_stream_ends_and_window_is_whole(void **state)
{
    (void)state;
    const hpxi_h2_config config = small_client();
    assert_true(duo_init_alone(&bed, &config));
    hpxi_buf raw;
    hpxi_buf_init(&raw, &bed.allocator);
    raw_hello(&raw, false);
    for (uint32_t i = 0; i < 200; i++) {
        const hpxi_h2_stream stream = side_request(&bed.client, "GET", "/");
        (void)side_flush(&bed.client);
        const uint32_t id = hpxi_h2_stream_id(bed.client.h2, stream);
        raw_frame(
            &raw,
            RAW_HEADERS,
            RAW_END_HEADERS,
            id,
            "\x88\x0F\x0D\x03"
            "500",
            7);
        raw_frame(&raw, RAW_DATA, 0, id, zeros, 400);
        raw_frame(&raw, RAW_DATA, 0, id, zeros, 400);
        const hpx_span span = hpxi_buf_span(&raw);
        (void)side_told(&bed.client);
        side_feed(&bed.client, span.data, span.size, 0);
        hpxi_buf_consume(&raw, span.size);
        (void)side_flush(&bed.client);
        side_feed(&bed.client, NULL, 0, 0);
        char expected[128];
        snprintf(
            expected,
            sizeof(expected),
            "RESPONSE %u 200 content-length=500\n"
            "CLOSED HPX_E_HTTP_MALFORMED code=1 peer=0 processed=unknown\n",
            id);
        const char *told = side_told(&bed.client);
        assert_non_null(strstr(told, expected));
        bed.now_ns += HPX_NS_PER_S / 50;
        hpxi_buf_consume(&bed.client.out, hpxi_buf_size(&bed.client.out));
        if (i == 0) {
            raw_frame(&raw, RAW_SETTINGS, RAW_ACK, 0, NULL, 0);
        }
    }
    check_window_is_whole(&bed.client);
    hpxi_buf_fini(&raw);
    duo_fini(&bed);
}

/* ---- Windows that follow the path ----------------------------------------------------------- */

/* A download over a path with 25 ms from a request to its answer, which holds DUO_OUT_BYTES. */
static uint32_t run_path(hpxi_h2_config config, uint32_t rounds)
{
    assert_true(duo_init(&bed, &config, NULL));
    bed.client.is_quiet = true;
    bed.server.is_quiet = true;
    bed.server.on_event = serve_bytes;
    duo_run(&bed);
    for (uint32_t i = 0; i < rounds; i++) {
        if (hpxi_h2_can_open(bed.client.h2) > 124) {
            (void)side_request(&bed.client, "GET", "/4000000");
        }
        (void)duo_move(&bed, &bed.client, &bed.server);
        bed.now_ns += 25 * HPX_NS_PER_MS;
        (void)duo_move(&bed, &bed.server, &bed.client);
        bed.now_ns += 25 * HPX_NS_PER_MS;
    }
    assert_int_equal(bed.client.status, HPX_OK);
    assert_int_equal(bed.server.status, HPX_OK);
    const hpxi_h2_ping_snapshot stats = hpxi_h2_ping_read(hpxi_h2_stats(bed.client.h2));
    assert_int_equal(stats.bytes, bed.client.data_bytes);
    assert_in_range(stats.rtt_ns, 20 * HPX_NS_PER_MS, 30 * HPX_NS_PER_MS);
    hpxi_h2_info info;
    hpxi_h2_get_info(bed.client.h2, &info);
    assert_int_equal(info.window_stream_bytes, stats.window_bytes);
    assert_true(info.window_connection_bytes_max >= 2 * info.window_stream_bytes);
    const uint32_t window = stats.window_bytes;
    duo_fini(&bed);
    return window;
}

static void test_windows_when_path_holds_more_then_they_grow_to_twice_that(void **state)
{
    (void)state;
    hpxi_h2_config config = hpxi_h2_config_client;
    config.ping.window_bytes = WINDOW;
    config.ping.window_bytes_max = 1u << 20;
    assert_int_equal(run_path(config, 400), 2 * DUO_OUT_BYTES);
    config.ping.window_bytes_max = 200000;
    assert_int_equal(run_path(config, 400), 200000);
    config.ping.window_bytes_max = WINDOW;
    config.ping.keep_alive_interval_ns = HPX_NS_PER_MS; /* still measures the round trip */
    assert_int_equal(run_path(config, 100), WINDOW);
}

/* ---- The peer's windows and limits (H13) ---------------------------------------------------- */

static void put_setting(uint8_t to[6], uint16_t id, uint32_t value)
{
    to[0] = (uint8_t)(id >> 8);
    to[1] = (uint8_t)id;
    to[2] = (uint8_t)(value >> 24);
    to[3] = (uint8_t)(value >> 16);
    to[4] = (uint8_t)(value >> 8);
    to[5] = (uint8_t)value;
}

static void feed_setting(duo_side *side, uint16_t id, uint32_t value)
{
    uint8_t setting[6];
    put_setting(setting, id, value);
    hpxi_buf raw;
    hpxi_buf_init(&raw, &bed.allocator);
    raw_frame(&raw, RAW_SETTINGS, 0, 0, setting, sizeof(setting));
    const hpx_span span = hpxi_buf_span(&raw);
    side_feed(side, span.data, span.size, 0);
    hpxi_buf_fini(&raw);
}

static size_t flush_data_bytes(duo_side *side)
{
    hpxi_buf_consume(&side->out, hpxi_buf_size(&side->out));
    assert_int_equal(side_flush(side), 0);
    const size_t overhead = 9;
    const size_t size = hpxi_buf_size(&side->out);
    const uint32_t frames = raw_count(hpxi_buf_span(&side->out), RAW_DATA, 0);
    return frames == 0 ? 0 : size - frames * overhead;
}

static void test_windows_when_initial_window_shrinks_below_zero_then_waits_and_resumes(void **state)
{
    (void)state;
    assert_true(duo_init_alone(&bed, &hpxi_h2_config_client));
    feed_setting(&bed.client, 4, 1000);
    const hpxi_h2_body body = {.span = {zeros, 2000}};
    (void)side_request_with(&bed.client, "POST", "/", NULL, 0, &body);
    (void)side_flush(&bed.client);
    feed_setting(&bed.client, 4, 300); /* 1000 are out: 700 below zero */
    (void)side_flush(&bed.client);
    assert_int_equal(flush_data_bytes(&bed.client), 0);
    feed_setting(&bed.client, 4, 1000);
    (void)flush_data_bytes(&bed.client); /* the answer to SETTINGS */
    assert_int_equal(flush_data_bytes(&bed.client), 0);
    const uint8_t update[13] = {0, 0, 4, RAW_WINDOW_UPDATE, 0, 0, 0, 0, 1, 0, 0, 4, 0};
    side_feed(&bed.client, update, sizeof(update), 0);
    assert_int_equal(flush_data_bytes(&bed.client), 1000);
    duo_fini(&bed);
}

static void test_windows_when_no_streams_are_allowed_then_waits_without_spin(void **state)
{
    (void)state;
    assert_true(duo_init_alone(&bed, &hpxi_h2_config_client));
    (void)side_request(&bed.client, "GET", "/"); /* before SETTINGS, and unwritten */
    feed_setting(&bed.client, 3, 0);
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 0);
    assert_false(hpxi_h2_is_closing(bed.client.h2));
    assert_int_equal(side_flush(&bed.client), 0);
    assert_int_equal(raw_count(hpxi_buf_span(&bed.client.out), RAW_HEADERS, 0), 0);
    hpxi_buf_consume(&bed.client.out, hpxi_buf_size(&bed.client.out));
    assert_int_equal(side_flush(&bed.client), 0);
    assert_int_equal(hpxi_buf_size(&bed.client.out), 0); /* no spin */
    feed_setting(&bed.client, 3, 2);
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 1);
    assert_int_equal(side_flush(&bed.client), 0);
    assert_int_equal(raw_count(hpxi_buf_span(&bed.client.out), RAW_HEADERS, 0), 1);
    feed_setting(&bed.client, 3, 0); /* below what is open: that goes on */
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 0);
    const uint8_t answer[10] = {0, 0, 1, RAW_HEADERS, 5, 0, 0, 0, 1, 0x88};
    side_feed(&bed.client, answer, sizeof(answer), 0);
    assert_int_equal(bed.client.closed_count, 1);
    assert_non_null(strstr(side_told(&bed.client), "SETTINGS streams=0 window=65535 first=1\n"));
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 0);
    feed_setting(&bed.client, 3, 1);
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 1);
    duo_fini(&bed);
}

/* Unwritten requests, cancelled while the limit is 0, and a GOAWAY over those that are left. */
static void test_windows_when_unwritten_requests_end_then_not_processed(void **state)
{
    (void)state;
    assert_true(duo_init_alone(&bed, &hpxi_h2_config_client));
    const hpxi_h2_stream first = side_request(&bed.client, "GET", "/");
    (void)side_request(&bed.client, "GET", "/");
    (void)side_request(&bed.client, "GET", "/");
    feed_setting(&bed.client, 3, 0);
    (void)side_flush(&bed.client);
    hpxi_h2_processed processed = HPXI_H2_PROCESSED_UNKNOWN;
    assert_int_equal(hpxi_h2_reset(bed.client.h2, first, HPXI_H2_CANCEL, &processed), HPX_OK);
    assert_int_equal(processed, HPXI_H2_PROCESSED_NO);
    (void)side_told(&bed.client);
    const uint8_t goaway[17] = {0, 0, 8, RAW_GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    side_feed(&bed.client, goaway, sizeof(goaway), 0);
    assert_string_equal(
        side_told(&bed.client),
        "GOAWAY last=0 code=0\n"
        "CLOSED HPX_E_H2_REFUSED code=7 peer=1 processed=no\n"
        "CLOSED HPX_E_H2_REFUSED code=7 peer=1 processed=no\n");
    (void)side_flush(&bed.client);
    assert_int_equal(raw_count(hpxi_buf_span(&bed.client.out), RAW_HEADERS, 0), 0);
    assert_int_equal(bed.client.status, HPX_OK);
    duo_fini(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_when_consumer_does_not_consume_then_only_its_stream_stops),
        cmocka_unit_test(test_windows_when_stream_ends_unconsumed_then_connection_gets_it_back),
        cmocka_unit_test(test_windows_when_10000_streams_are_cancelled_then_window_is_whole),
        cmocka_unit_test(test_windows_when_late_data_arrives_then_it_is_given_back),
        cmocka_unit_test(test_windows_when_server_resets_mid_body_then_window_is_whole),
        cmocka_unit_test(test_windows_when_body_is_too_long_then_stream_ends_and_window_is_whole),
        cmocka_unit_test(test_windows_when_path_holds_more_then_they_grow_to_twice_that),
        cmocka_unit_test(
            test_windows_when_initial_window_shrinks_below_zero_then_waits_and_resumes),
        cmocka_unit_test(test_windows_when_no_streams_are_allowed_then_waits_without_spin),
        cmocka_unit_test(test_windows_when_unwritten_requests_end_then_not_processed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

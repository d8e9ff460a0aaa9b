/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every stream ends in exactly one CLOSED that says why and whether the peer can have acted
 * on it; graceful ends lose nothing; handles of ended streams are refused; keep-alive and the
 * SETTINGS timeout find a dead peer. Method: two sessions in memory, or one with frames made by
 * hand, in every way a stream can end. H12.
 */
#include "tests/h2/duo.h"
#include "tests/support/test.h"

static duo bed;

static void put_number(uint8_t to[4], uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

static void feed_frame(
    duo_side *side, uint8_t type, uint8_t flags, uint32_t id, const void *payload, size_t size)
{
    hpxi_buf raw;
    hpxi_buf_init(&raw, &bed.allocator);
    raw_frame(&raw, type, flags, id, payload, size);
    const hpx_span span = hpxi_buf_span(&raw);
    side_feed(side, span.data, span.size, 0);
    hpxi_buf_fini(&raw);
}

static void feed_reset(duo_side *side, uint32_t id, uint32_t code)
{
    uint8_t payload[4];
    put_number(payload, code);
    feed_frame(side, RAW_RST_STREAM, 0, id, payload, sizeof(payload));
}

static void feed_goaway(duo_side *side, uint32_t last_id, uint32_t code)
{
    uint8_t payload[8];
    put_number(payload, last_id);
    put_number(payload + 4, code);
    feed_frame(side, RAW_GOAWAY, 0, 0, payload, sizeof(payload));
}

/* A client with `count` requests written. */
static void start_client(uint32_t count, const hpxi_h2_config *config)
{
    assert_true(duo_init_alone(&bed, config == NULL ? &hpxi_h2_config_client : config));
    feed_frame(&bed.client, RAW_SETTINGS, 0, 0, NULL, 0);
    feed_frame(&bed.client, RAW_SETTINGS, RAW_ACK, 0, NULL, 0);
    for (uint32_t i = 0; i < count; i++) {
        (void)side_request(&bed.client, "GET", "/");
    }
    (void)side_flush(&bed.client);
    hpxi_buf_consume(&bed.client.out, hpxi_buf_size(&bed.client.out));
    (void)side_told(&bed.client);
}

/* ---- RST_STREAM ----------------------------------------------------------------------------- */

static void test_streams_when_reset_by_peer_then_code_and_whether_processed(void **state)
{
    (void)state;
    static const struct {
        uint32_t code;
        bool after_head;
        const char *closed;
    } rows[] = {
        {HPXI_H2_REFUSED_STREAM, false, "CLOSED HPX_E_H2_REFUSED code=7 peer=1 processed=no\n"},
        /* A head was sent: it did process the request, whatever it says. */
        {HPXI_H2_REFUSED_STREAM, true, "CLOSED HPX_E_H2_RESET code=7 peer=1 processed=unknown\n"},
        {HPXI_H2_CANCEL, false, "CLOSED HPX_E_H2_RESET code=8 peer=1 processed=unknown\n"},
        {HPXI_H2_INTERNAL_ERROR, true, "CLOSED HPX_E_H2_RESET code=2 peer=1 processed=unknown\n"},
        {HPXI_H2_NO_ERROR, false, "CLOSED HPX_E_H2_RESET code=0 peer=1 processed=unknown\n"},
        {0x12345678, false, "CLOSED HPX_E_H2_RESET code=305419896 peer=1 processed=unknown\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        start_client(1, NULL);
        if (rows[i].after_head) {
            feed_frame(&bed.client, RAW_HEADERS, RAW_END_HEADERS, 1, "\x88", 1);
            (void)side_told(&bed.client);
        }
        feed_reset(&bed.client, 1, rows[i].code);
        assert_string_equal(side_told(&bed.client), rows[i].closed);
        assert_int_equal(bed.client.status, HPX_OK);
        duo_fini(&bed);
    }
}

/* RFC 9113 8.1: a whole response, then RST_STREAM(NO_ERROR): it needs no more of the body. */
static void test_streams_when_server_needs_no_more_body_then_response_counts(void **state)
{
    (void)state;
    start_client(0, NULL);
    static const uint8_t big[100000];
    const hpxi_h2_body body = {.span = {big, sizeof(big)}};
    (void)side_request_with(&bed.client, "POST", "/", NULL, 0, &body);
    (void)side_flush(&bed.client); /* 65,535 of them */
    feed_frame(&bed.client, RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, 1, "\x88", 1);
    feed_reset(&bed.client, 1, HPXI_H2_NO_ERROR);
    assert_string_equal(
        side_told(&bed.client),
        "RESPONSE 1 200\nEND 1 0 bytes\nCLOSED HPX_OK code=0 peer=1 processed=unknown\n");
    duo_fini(&bed);
}

static void test_streams_when_client_resets_then_server_is_told_and_no_event_follows(void **state)
{
    (void)state;
    assert_true(duo_init(&bed, NULL, NULL));
    bed.server.on_event = NULL;
    duo_run(&bed);
    const hpxi_h2_stream stream = side_request(&bed.client, "GET", "/");
    duo_run(&bed);
    (void)side_told(&bed.client);
    (void)side_told(&bed.server);
    assert_int_equal(hpxi_h2_reset(bed.client.h2, stream, HPXI_H2_CANCEL, NULL), HPX_OK);
    assert_int_equal(hpxi_h2_reset(bed.client.h2, stream, HPXI_H2_CANCEL, NULL), HPX_E_STALE);
    assert_int_equal(hpxi_h2_set_user(bed.client.h2, stream, NULL), HPX_E_STALE);
    hpxi_h2_consume(bed.client.h2, stream, 100);
    duo_run(&bed);
    assert_string_equal(side_told(&bed.client), "");
    assert_string_equal(
        side_told(&bed.server), "CLOSED HPX_E_H2_RESET code=8 peer=1 processed=unknown\n");
    assert_int_equal(
        hpxi_h2_respond(bed.server.h2, bed.server.last, 200, NULL, 0, NULL, NULL), HPX_E_STALE);
    duo_fini(&bed);
}

static void test_streams_when_slot_is_used_again_then_old_handle_is_stale(void **state)
{
    (void)state;
    hpxi_h2_config config = hpxi_h2_config_client;
    config.limits.streams_max = 1;
    start_client(0, &config);
    hpxi_h2_stream streams[100];
    for (uint32_t i = 0; i < COUNT_OF(streams); i++) {
        streams[i] = side_request(&bed.client, "GET", "/");
        (void)side_flush(&bed.client);
        for (uint32_t j = 0; j < i; j++) {
            assert_true(streams[j] != streams[i]);
            assert_int_equal(hpxi_h2_stream_id(bed.client.h2, streams[j]), 0);
        }
        feed_frame(
            &bed.client, RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, 2 * i + 1, "\x88", 1);
    }
    assert_int_equal(bed.client.closed_count, COUNT_OF(streams));
    assert_int_equal(hpxi_h2_stream_id(bed.client.h2, HPXI_H2_NO_STREAM), 0);
    assert_int_equal(hpxi_h2_stream_id(bed.client.h2, UINT64_MAX), 0);
    duo_fini(&bed);
}

/* ---- Malformed messages (RFC 9113 8.1.1) ------------------------------------------------------
 */

#define LENGTH_5                                                                                   \
    "\x0F\x0D\x01"                                                                                 \
    "5"
#define STATUS_100                                                                                 \
    "\x08\x03"                                                                                     \
    "100"
#define STATUS_101                                                                                 \
    "\x08\x03"                                                                                     \
    "101"

typedef struct raw_message {
    const char *name;
    const char *method;
    struct {
        uint8_t type;
        uint8_t flags;
        const char *payload;
        size_t size;
    } frames[4];
} raw_message;

static const raw_message malformed[] = {
    {"body longer than its length",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS, "\x88" LENGTH_5, 5}, {RAW_DATA, RAW_END_STREAM, "123456", 6}}},
    {"body shorter than its length",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS, "\x88" LENGTH_5, 5}, {RAW_DATA, RAW_END_STREAM, "1234", 4}}},
    {"length and no body",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, "\x88" LENGTH_5, 5}}},
    {"trailers before the body is whole",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS, "\x88" LENGTH_5, 5},
      {RAW_DATA, 0, "1234", 4},
      {RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, "\0\1a\1b", 5}}},
    {"a body for HEAD",
     "HEAD",
     {{RAW_HEADERS, RAW_END_HEADERS, "\x88" LENGTH_5, 5}, {RAW_DATA, RAW_END_STREAM, "12345", 5}}},
    {"a body for 204",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS, "\x89", 1}, {RAW_DATA, RAW_END_STREAM, "x", 1}}},
    {"DATA after 100",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS, STATUS_100, 5}, {RAW_DATA, 0, "x", 1}}},
    {"100 that ends the stream",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, STATUS_100, 5}}},
    {"101", "GET", {{RAW_HEADERS, RAW_END_HEADERS, STATUS_101, 5}}},
    {"no status", "GET", {{RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, "\0\1a\1b", 5}}},
    {"two of them", "GET", {{RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, "\x88\x88", 2}}},
    {"trailers that do not end the stream",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS, "\x88", 1}, {RAW_HEADERS, RAW_END_HEADERS, "\0\1a\1b", 5}}},
    {"a pseudo-header field in trailers",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS, "\x88", 1},
      {RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, "\x88", 1}}},
    {"a line break in a value",
     "GET",
     {{RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, "\x88\0\1a\3b\nc", 8}}},
};

static void test_streams_when_message_is_malformed_then_it_never_ends_well(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(malformed); i++) {
        const raw_message *m = &malformed[i];
        start_client(0, NULL);
        (void)side_request(&bed.client, m->method, "/");
        (void)side_flush(&bed.client);
        (void)side_told(&bed.client);
        for (size_t j = 0; j < COUNT_OF(m->frames) && m->frames[j].payload != NULL; j++) {
            feed_frame(
                &bed.client,
                m->frames[j].type,
                m->frames[j].flags,
                1,
                m->frames[j].payload,
                m->frames[j].size);
        }
        (void)side_flush(&bed.client);
        side_feed(&bed.client, NULL, 0, 0);
        const char *told = side_told(&bed.client);
        if (strstr(told, "CLOSED HPX_E_HTTP_MALFORMED code=1 peer=0 processed=unknown\n") == NULL ||
            strstr(told, "END") != NULL) {
            fail_msg("%s: %s", m->name, told);
        }
        assert_int_equal(bed.client.status, HPX_OK); /* the connection goes on */
        assert_int_equal(raw_count(hpxi_buf_span(&bed.client.out), RAW_RST_STREAM, 1), 1);
        duo_fini(&bed);
    }
}

/* ---- GOAWAY (H12) --------------------------------------------------------------------------- */

static void test_streams_when_goaway_then_those_above_it_were_not_processed(void **state)
{
    (void)state;
    start_client(3, NULL);
    feed_goaway(&bed.client, 3, HPXI_H2_NO_ERROR);
    assert_string_equal(
        side_told(&bed.client),
        "GOAWAY last=3 code=0\nCLOSED HPX_E_H2_REFUSED code=7 peer=1 processed=no\n");
    assert_true(hpxi_h2_is_closing(bed.client.h2));
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 0);
    assert_false(hpxi_h2_is_drained(bed.client.h2));
    feed_frame(&bed.client, RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, 1, "\x88", 1);
    assert_non_null(strstr(side_told(&bed.client), "CLOSED HPX_OK"));
    hpxi_h2_eof(bed.client.h2);
    side_feed(&bed.client, NULL, 0, 0);
    assert_string_equal(
        side_told(&bed.client), "CLOSED HPX_E_EOF code=0 peer=0 processed=unknown\n");
    assert_int_equal(bed.client.status, HPX_E_EOF);
    assert_int_equal(bed.client.closed_count, 3);
    duo_fini(&bed);
}

static void test_streams_when_goaway_twice_then_the_second_may_only_lower(void **state)
{
    (void)state;
    start_client(3, NULL);
    feed_goaway(&bed.client, 0x7FFFFFFF, HPXI_H2_NO_ERROR);
    assert_string_equal(side_told(&bed.client), "GOAWAY last=2147483647 code=0\n");
    feed_goaway(&bed.client, 1, HPXI_H2_ENHANCE_YOUR_CALM);
    assert_string_equal(
        side_told(&bed.client),
        "GOAWAY last=1 code=11\n"
        "CLOSED HPX_E_H2_REFUSED code=7 peer=1 processed=no\n"
        "CLOSED HPX_E_H2_REFUSED code=7 peer=1 processed=no\n");
    hpxi_h2_eof(bed.client.h2);
    side_feed(&bed.client, NULL, 0, 0);
    assert_string_equal(
        side_told(&bed.client), "CLOSED HPX_E_H2_GOAWAY code=11 peer=0 processed=unknown\n");
    assert_int_equal(hpxi_h2_failure(bed.client.h2).code, HPXI_H2_ENHANCE_YOUR_CALM);
    duo_fini(&bed);
}

static void test_streams_when_connection_ends_then_unwritten_ones_were_not_processed(void **state)
{
    (void)state;
    start_client(1, NULL);
    (void)side_request(&bed.client, "POST", "/");
    (void)side_told(&bed.client);
    hpxi_h2_fail(bed.client.h2, HPX_E_TLS_ALERT);
    hpxi_h2_fail(bed.client.h2, HPX_E_EOF); /* too late */
    side_feed(&bed.client, NULL, 0, 0);
    assert_string_equal(
        side_told(&bed.client),
        "CLOSED HPX_E_TLS_ALERT code=0 peer=0 processed=unknown\n"
        "CLOSED HPX_E_TLS_ALERT code=0 peer=0 processed=no\n");
    assert_int_equal(bed.client.status, HPX_E_TLS_ALERT);
    assert_int_equal(side_flush(&bed.client), HPX_E_TLS_ALERT);
    assert_int_equal(hpxi_buf_size(&bed.client.out), 0); /* no GOAWAY */
    hpxi_h2_stream stream;
    const hpxi_h2_request_head head = {0};
    assert_int_equal(hpxi_h2_request(bed.client.h2, &stream, &head, NULL, NULL, NULL), HPX_E_STATE);
    duo_fini(&bed);
}

/* ---- Drain ---------------------------------------------------------------------------------- */

static void test_streams_when_server_drains_then_open_ones_finish(void **state)
{
    (void)state;
    assert_true(duo_init(&bed, NULL, NULL));
    bed.server.on_event = NULL;
    duo_run(&bed);
    (void)side_request(&bed.client, "GET", "/1");
    duo_run(&bed);
    const hpxi_h2_stream first = bed.server.last;
    hpxi_h2_drain(bed.server.h2, bed.now_ns);
    hpxi_h2_drain(bed.server.h2, bed.now_ns);
    (void)side_request(&bed.client, "GET", "/2"); /* crosses the GOAWAY */
    (void)duo_move(&bed, &bed.client, &bed.server);
    const hpxi_h2_stream second = bed.server.last;
    assert_true(first != second);
    duo_run(&bed);
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 0);
    const char *told = side_told(&bed.client);
    assert_non_null(strstr(told, "GOAWAY last=2147483647 code=0\nGOAWAY last=3 code=0\n"));
    assert_int_equal(bed.client.closed_count, 0);
    assert_false(hpxi_h2_is_drained(bed.server.h2));
    assert_false(hpxi_h2_is_drained(bed.client.h2));
    assert_int_equal(hpxi_h2_respond(bed.server.h2, first, 200, NULL, 0, NULL, NULL), HPX_OK);
    assert_int_equal(hpxi_h2_respond(bed.server.h2, second, 200, NULL, 0, NULL, NULL), HPX_OK);
    duo_run(&bed);
    assert_int_equal(bed.client.closed_count, 2);
    assert_true(hpxi_h2_is_drained(bed.server.h2));
    assert_true(hpxi_h2_is_drained(bed.client.h2));
    assert_int_equal(bed.client.status, HPX_OK);
    assert_int_equal(bed.server.status, HPX_OK);
    duo_fini(&bed);
}

static void test_streams_when_client_drains_then_open_ones_finish(void **state)
{
    (void)state;
    assert_true(duo_init(&bed, NULL, NULL));
    bed.server.on_event = NULL;
    duo_run(&bed);
    (void)side_request(&bed.client, "GET", "/");
    duo_run(&bed);
    assert_false(hpxi_h2_is_closing(bed.client.h2));
    hpxi_h2_drain(bed.client.h2, bed.now_ns);
    assert_true(hpxi_h2_is_closing(bed.client.h2));
    duo_run(&bed);
    assert_false(hpxi_h2_is_drained(bed.client.h2));
    assert_int_equal(
        hpxi_h2_respond(bed.server.h2, bed.server.last, 200, NULL, 0, NULL, NULL), HPX_OK);
    duo_run(&bed);
    assert_int_equal(bed.client.closed_count, 1);
    assert_true(hpxi_h2_is_drained(bed.client.h2));
    assert_true(hpxi_h2_is_drained(bed.server.h2));
    duo_fini(&bed);
}

static void test_streams_when_aborted_then_goaway_with_the_code(void **state)
{
    (void)state;
    start_client(1, NULL);
    hpxi_h2_abort(bed.client.h2, HPXI_H2_NO_ERROR);
    assert_int_equal(side_flush(&bed.client), HPX_E_ABORTED);
    hpxi_h2_abort(bed.client.h2, HPXI_H2_CANCEL);
    (void)side_flush(&bed.client);
    assert_int_equal(raw_goaway_code(hpxi_buf_span(&bed.client.out), NULL), HPXI_H2_NO_ERROR);
    assert_int_equal(raw_count(hpxi_buf_span(&bed.client.out), RAW_GOAWAY, 0), 1);
    side_feed(&bed.client, NULL, 0, 0);
    assert_string_equal(
        side_told(&bed.client), "CLOSED HPX_E_ABORTED code=0 peer=0 processed=unknown\n");
    duo_fini(&bed);
}

/* ---- Server role ---------------------------------------------------------------------------- */

static void test_streams_when_client_opens_too_many_then_refused_and_counted(void **state)
{
    (void)state;
    hpxi_h2_config server = hpxi_h2_config_server;
    server.limits.streams_max = 2;
    assert_true(duo_init(&bed, NULL, &server));
    bed.server.on_event = NULL;
    for (int i = 0; i < 4; i++) { /* before the client knows the limit */
        (void)side_request(&bed.client, "GET", "/");
    }
    duo_run(&bed);
    const char *told = side_told(&bed.client);
    const char refused[] = "CLOSED HPX_E_H2_REFUSED code=7 peer=1 processed=no\n";
    assert_non_null(strstr(told, refused));
    assert_int_equal(bed.client.closed_count, 2);
    assert_int_equal(bed.server.closed_count, 0); /* it never knew them */
    hpxi_h2_info info;
    hpxi_h2_get_info(bed.server.h2, &info);
    assert_int_equal(info.resets_sent, 2);
    assert_int_equal(info.streams_open, 2);
    duo_fini(&bed);
}

static void test_streams_when_response_is_unlawful_then_invalid(void **state)
{
    (void)state;
    assert_true(duo_init(&bed, NULL, NULL));
    bed.server.on_event = NULL;
    duo_run(&bed);
    (void)side_request(&bed.client, "HEAD", "/");
    duo_run(&bed);
    hpxi_h2 *h2 = bed.server.h2;
    const hpxi_h2_stream stream = bed.server.last;
    const hpxi_h2_body body = {.span = hpx_span_of("x")};
    const hpxi_h2_field bad = field_of("Upper", "x");
    assert_int_equal(hpxi_h2_respond(h2, stream, 200, NULL, 0, &body, NULL), HPX_E_INVALID);
    assert_int_equal(hpxi_h2_respond(h2, stream, 199, NULL, 0, NULL, NULL), HPX_E_INVALID);
    assert_int_equal(hpxi_h2_respond(h2, stream, 600, NULL, 0, NULL, NULL), HPX_E_INVALID);
    assert_int_equal(hpxi_h2_respond(h2, stream, 200, &bad, 1, NULL, NULL), HPX_E_INVALID);
    assert_int_equal(hpxi_h2_inform(h2, stream, 101, NULL, 0, NULL), HPX_E_INVALID);
    assert_int_equal(hpxi_h2_inform(h2, stream, 200, NULL, 0, NULL), HPX_E_INVALID);
    assert_int_equal(hpxi_h2_inform(h2, stream, 100, NULL, 0, NULL), HPX_OK);
    assert_int_equal(hpxi_h2_respond(h2, stream, 200, NULL, 0, NULL, NULL), HPX_OK);
    assert_int_equal(hpxi_h2_respond(h2, stream, 200, NULL, 0, NULL, NULL), HPX_E_STATE);
    assert_int_equal(hpxi_h2_inform(h2, stream, 100, NULL, 0, NULL), HPX_E_STATE);
    (void)side_told(&bed.client);
    duo_run(&bed);
    assert_string_equal(
        side_told(&bed.client),
        "INFORMATIONAL 1 100\nRESPONSE 1 200\nEND 1 0 bytes\n"
        "CLOSED HPX_OK code=0 peer=0 processed=unknown\n");
    duo_fini(&bed);
}

/* ---- Dead peers ----------------------------------------------------------------------------- */

static void test_streams_when_peer_is_silent_then_ping_and_timeout(void **state)
{
    (void)state;
    start_client(1, NULL);
    assert_int_equal(hpxi_h2_deadline_ns(bed.client.h2), DUO_START_NS + 15 * HPX_NS_PER_S);
    bed.now_ns = DUO_START_NS + 15 * HPX_NS_PER_S;
    assert_int_equal(side_flush(&bed.client), HPX_OK);
    assert_int_equal(raw_count(hpxi_buf_span(&bed.client.out), RAW_PING, 0), 1);
    assert_int_equal(hpxi_h2_deadline_ns(bed.client.h2), bed.now_ns + 10 * HPX_NS_PER_S);
    bed.now_ns += 10 * HPX_NS_PER_S;
    assert_int_equal(side_flush(&bed.client), HPX_E_PONG_TIMEOUT);
    assert_true(hpxi_h2_ping_read(hpxi_h2_stats(bed.client.h2)).keep_alive_timed_out);
    assert_int_equal(hpxi_h2_deadline_ns(bed.client.h2), HPXI_H2_NEVER_NS);
    side_feed(&bed.client, NULL, 0, 0);
    assert_string_equal(
        side_told(&bed.client), "CLOSED HPX_E_PONG_TIMEOUT code=0 peer=0 processed=unknown\n");
    duo_fini(&bed);
}

static void test_streams_when_peer_answers_pings_then_goes_on(void **state)
{
    (void)state;
    assert_true(duo_init(&bed, NULL, NULL));
    bed.server.on_event = NULL;
    (void)side_request(&bed.client, "GET", "/");
    duo_run(&bed);
    for (int i = 0; i < 20; i++) {
        bed.now_ns += 20 * HPX_NS_PER_S;
        duo_run(&bed);
    }
    assert_int_equal(bed.client.status, HPX_OK);
    assert_int_equal(bed.server.status, HPX_OK);
    assert_true(bed.client.pong_count + bed.server.pong_count >= 20);
    duo_fini(&bed);
}

static void test_streams_when_settings_are_not_acknowledged_then_settings_timeout(void **state)
{
    (void)state;
    assert_true(duo_init_alone(&bed, &hpxi_h2_config_client));
    (void)side_flush(&bed.client);
    assert_int_equal(hpxi_h2_deadline_ns(bed.client.h2), DUO_START_NS + 10 * HPX_NS_PER_S);
    bed.now_ns += 10 * HPX_NS_PER_S;
    assert_int_equal(side_flush(&bed.client), HPX_E_H2_PROTOCOL);
    assert_int_equal(
        raw_goaway_code(hpxi_buf_span(&bed.client.out), NULL), HPXI_H2_SETTINGS_TIMEOUT);
    duo_fini(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_when_reset_by_peer_then_code_and_whether_processed),
        cmocka_unit_test(test_streams_when_server_needs_no_more_body_then_response_counts),
        cmocka_unit_test(test_streams_when_client_resets_then_server_is_told_and_no_event_follows),
        cmocka_unit_test(test_streams_when_slot_is_used_again_then_old_handle_is_stale),
        cmocka_unit_test(test_streams_when_message_is_malformed_then_it_never_ends_well),
        cmocka_unit_test(test_streams_when_goaway_then_those_above_it_were_not_processed),
        cmocka_unit_test(test_streams_when_goaway_twice_then_the_second_may_only_lower),
        cmocka_unit_test(test_streams_when_connection_ends_then_unwritten_ones_were_not_processed),
        cmocka_unit_test(test_streams_when_server_drains_then_open_ones_finish),
        cmocka_unit_test(test_streams_when_client_drains_then_open_ones_finish),
        cmocka_unit_test(test_streams_when_aborted_then_goaway_with_the_code),
        cmocka_unit_test(test_streams_when_client_opens_too_many_then_refused_and_counted),
        cmocka_unit_test(test_streams_when_response_is_unlawful_then_invalid),
        cmocka_unit_test(test_streams_when_peer_is_silent_then_ping_and_timeout),
        cmocka_unit_test(test_streams_when_peer_answers_pings_then_goes_on),
        cmocka_unit_test(test_streams_when_settings_are_not_acknowledged_then_settings_timeout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

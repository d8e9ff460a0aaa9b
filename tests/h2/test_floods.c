/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever a peer sends, memory stays bounded, and what is too much ends the connection with
 * ENHANCE_YOUR_CALM, or the stream alone where that suffices; broken rules end it with their code;
 * an honest peer at the allowed rates is left alone.
 * Method: frames made by hand, repeated, to a session on its own. H8, H9, H10, H14 of the catalogue
 * of bugs in other implementations.
 */
#include <stdio.h>

#include "tests/h2/duo.h"
#include "tests/support/test.h"

#define REPEATS_MAX 40000u

static duo bed;
static hpxi_buf raw;

static void put_number(uint8_t to[4], uint32_t value)
{
    to[0] = (uint8_t)(value >> 24);
    to[1] = (uint8_t)(value >> 16);
    to[2] = (uint8_t)(value >> 8);
    to[3] = (uint8_t)value;
}

static void raw_request(hpxi_buf *to, uint32_t stream_id, uint8_t flags)
{
    hpxi_buf head;
    hpxi_buf_init(&head, &bed.allocator);
    raw_field(&head, ":method", "GET");
    raw_field(&head, ":scheme", "https");
    raw_field(&head, ":authority", "a");
    raw_field(&head, ":path", "/");
    const hpx_span span = hpxi_buf_span(&head);
    raw_frame(to, RAW_HEADERS, flags, stream_id, span.data, span.size);
    hpxi_buf_fini(&head);
}

static void raw_response(hpxi_buf *to, uint32_t stream_id, uint8_t flags, const char *status)
{
    hpxi_buf head;
    hpxi_buf_init(&head, &bed.allocator);
    raw_field(&head, ":status", status);
    const hpx_span span = hpxi_buf_span(&head);
    raw_frame(to, RAW_HEADERS, flags, stream_id, span.data, span.size);
    hpxi_buf_fini(&head);
}

/* ---- What is repeated ----------------------------------------------------------------------- */

static void repeat_ping(uint32_t i)
{
    uint8_t data[8] = {0};
    put_number(data, i);
    raw_frame(&raw, RAW_PING, 0, 0, data, sizeof(data));
}

static void repeat_ping_answer(uint32_t i)
{
    uint8_t data[8] = {'h'};
    put_number(data + 4, i);
    raw_frame(&raw, RAW_PING, RAW_ACK, 0, data, sizeof(data));
}

static void repeat_settings(uint32_t i)
{
    (void)i;
    raw_frame(&raw, RAW_SETTINGS, 0, 0, NULL, 0);
}

static void repeat_reset(uint32_t i)
{
    uint8_t code[4] = {0};
    put_number(code, HPXI_H2_CANCEL);
    raw_request(&raw, 2 * i + 1, RAW_END_HEADERS | RAW_END_STREAM);
    raw_frame(&raw, RAW_RST_STREAM, 0, 2 * i + 1, code, sizeof(code));
}

/* CVE-2025-8671: the window of a stream overflows, so we have to reset it. */
static void repeat_made_you_reset(uint32_t i)
{
    uint8_t increment[4];
    put_number(increment, 0x7FFFFFFF);
    raw_request(&raw, 2 * i + 1, RAW_END_HEADERS);
    raw_frame(&raw, RAW_WINDOW_UPDATE, 0, 2 * i + 1, increment, sizeof(increment));
}

static void repeat_empty_data(uint32_t i)
{
    if (i == 0) {
        raw_request(&raw, 1, RAW_END_HEADERS);
    }
    raw_frame(&raw, RAW_DATA, 0, 1, NULL, 0);
}

static void repeat_padded_data(uint32_t i)
{
    static const uint8_t no_padding = 0;
    if (i == 0) {
        raw_request(&raw, 1, RAW_END_HEADERS);
    }
    raw_frame(&raw, RAW_DATA, RAW_PADDED, 1, &no_padding, 1);
}

static void repeat_priority(uint32_t i)
{
    const uint8_t data[5] = {0, 0, 0, 0, 16};
    raw_frame(&raw, RAW_PRIORITY, 0, 2 * i + 3, data, sizeof(data));
}

static void repeat_window_update(uint32_t i)
{
    uint8_t increment[4];
    (void)i;
    put_number(increment, 1);
    raw_frame(&raw, RAW_WINDOW_UPDATE, 0, 0, increment, sizeof(increment));
}

static void repeat_unknown(uint32_t i)
{
    (void)i;
    raw_frame(&raw, 0xBB, 0, 0, "x", 1);
}

static void repeat_goaway(uint32_t i)
{
    const uint8_t data[8] = {0};
    (void)i;
    raw_frame(&raw, RAW_GOAWAY, 0, 0, data, sizeof(data));
}

/* A response to a stream that has ended. */
static void repeat_late_head(uint32_t i)
{
    (void)i;
    raw_response(&raw, 1, RAW_END_HEADERS | RAW_END_STREAM, "200");
}

static void repeat_late_reset(uint32_t i)
{
    uint8_t code[4] = {0};
    if (i == 0) {
        raw_response(&raw, 1, RAW_END_HEADERS | RAW_END_STREAM, "200");
    }
    raw_frame(&raw, RAW_RST_STREAM, 0, 1, code, sizeof(code));
}

static void repeat_continuation(uint32_t i)
{
    if (i == 0) {
        raw_request(&raw, 1, RAW_END_STREAM);
    }
    raw_frame(&raw, RAW_CONTINUATION, 0, 1, "\0\1a\1b", 5);
}

static void repeat_settings_entries(uint32_t i)
{
    static const uint8_t entries[33 * 6] = {0, 1};
    (void)i;
    raw_frame(&raw, RAW_SETTINGS, 0, 0, entries, sizeof(entries));
}

typedef struct flood {
    const char *name;
    void (*repeat)(uint32_t i);
    bool to_server;
    bool to_client;
    const char *detail; /* begins the failure's */
} flood;

static const flood floods[] = {
    {"PING", repeat_ping, true, true, "limits.pings"},
    {"PING answers", repeat_ping_answer, true, true, "limits.overhead"},
    {"SETTINGS", repeat_settings, true, true, "limits.settings"},
    {"rapid reset", repeat_reset, true, false, "limits.resets_received"},
    {"made you reset", repeat_made_you_reset, true, false, "limits.resets_sent"},
    {"empty DATA", repeat_empty_data, true, false, "limits.overhead"},
    {"padded empty DATA", repeat_padded_data, true, false, "limits.overhead"},
    {"PRIORITY", repeat_priority, true, true, "limits.overhead"},
    {"WINDOW_UPDATE", repeat_window_update, true, true, "limits.overhead"},
    {"unknown type", repeat_unknown, true, true, "limits.overhead"},
    {"GOAWAY", repeat_goaway, true, true, "limits.overhead"},
    {"late heads", repeat_late_head, false, true, "limits.overhead"},
    {"late RST_STREAM", repeat_late_reset, false, true, "limits.resets_received"},
    {"CONTINUATION", repeat_continuation, true, false, "limits.continuations_max"},
    {"SETTINGS entries", repeat_settings_entries, true, true, "SETTINGS: too many setting entries"},
};

/* Feed until the session fails; the peer reads what it is sent. Returns how often. */
static uint32_t run_flood(duo_side *side, void (*repeat)(uint32_t i), size_t cut)
{
    size_t bytes_most = 0;
    uint32_t i = 0;
    for (; i < REPEATS_MAX && side->status == HPX_OK; i++) {
        hpxi_buf_consume(&raw, hpxi_buf_size(&raw));
        repeat(i);
        const hpx_span span = hpxi_buf_span(&raw);
        side_feed(side, span.data, span.size, cut);
        if (side->status == HPX_OK) {
            (void)side_flush(side);
            side_feed(side, NULL, 0, 0);
            if (side->status == HPX_OK) {
                hpxi_buf_consume(&side->out, hpxi_buf_size(&side->out));
            }
        }
        bytes_most = bed.memory.bytes > bytes_most ? bed.memory.bytes : bytes_most;
    }
    assert_true(bytes_most < 2u << 20);
    return i;
}

static void start_alone(const hpxi_h2_config *config)
{
    assert_true(duo_init_alone(&bed, config));
    hpxi_buf_init(&raw, &bed.allocator);
    duo_side *side = duo_alone(&bed);
    raw_hello(&raw, config->is_server);
    const hpx_span span = hpxi_buf_span(&raw);
    side_feed(side, span.data, span.size, 0);
    (void)side_flush(side);
    hpxi_buf_consume(&side->out, hpxi_buf_size(&side->out));
    (void)side_told(side);
    hpxi_buf_consume(&raw, span.size);
}

static void stop_alone(void)
{
    hpxi_buf_fini(&raw);
    duo_fini(&bed);
}

static void check_flood(const flood *f, const hpxi_h2_config *config, size_t cut)
{
    start_alone(config);
    duo_side *side = duo_alone(&bed);
    side->is_quiet = true;
    side->keeps_data = true;
    if (!config->is_server) {
        (void)side_request(side, "GET", "/");
        (void)side_flush(side);
        hpxi_buf_consume(&side->out, hpxi_buf_size(&side->out));
    }
    const uint32_t count = run_flood(side, f->repeat, cut);
    const hpxi_h2_failure_info failure = hpxi_h2_failure(side->h2);
    if (side->status != HPX_E_H2_FLOOD ||
        strncmp(failure.detail, f->detail, strlen(f->detail)) != 0) {
        fail_msg(
            "%s to %s: %s (%s) after %u",
            f->name,
            side->name,
            hpx_status_name(side->status),
            failure.detail,
            count);
    }
    assert_int_equal(failure.code, HPXI_H2_ENHANCE_YOUR_CALM);
    assert_int_equal(raw_goaway_code(hpxi_buf_span(&side->out), NULL), HPXI_H2_ENHANCE_YOUR_CALM);
    assert_int_equal(raw_count(hpxi_buf_span(&side->out), RAW_GOAWAY, 0), 1);
    side_feed(side, "more", 4, 0); /* nothing comes after it */
    (void)side_flush(side);
    assert_int_equal(raw_count(hpxi_buf_span(&side->out), RAW_GOAWAY, 0), 1);
    stop_alone();
}

static void test_floods_when_peer_floods_then_calm_and_memory_bounded(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(floods); i++) {
        for (size_t cut = 0; cut <= 7; cut += 7) {
            if (floods[i].to_server) {
                check_flood(&floods[i], &hpxi_h2_config_server, cut);
            }
            if (floods[i].to_client) {
                check_flood(&floods[i], &hpxi_h2_config_client, cut);
            }
        }
    }
}

static void test_floods_when_answers_are_not_taken_then_calm(void **state)
{
    (void)state;
    hpxi_h2_config config = hpxi_h2_config_server;
    config.limits.acks_max = 50;
    start_alone(&config);
    duo_side *side = duo_alone(&bed);
    uint32_t i = 0;
    for (; i < 1000 && side->status == HPX_OK; i++) {
        repeat_ping(i);
        const hpx_span span = hpxi_buf_span(&raw);
        side_feed(side, span.data, span.size, 0); /* and no flush: our output is stuck */
        hpxi_buf_consume(&raw, span.size);
    }
    assert_int_equal(i, 51);
    assert_int_equal(side->status, HPX_E_H2_FLOOD);
    assert_int_equal(raw_goaway_code(hpxi_buf_span(&side->out), NULL), HPXI_H2_ENHANCE_YOUR_CALM);
    stop_alone();
}

static void test_floods_when_rates_are_kept_then_left_alone(void **state)
{
    (void)state;
    static void (*const honest[])(uint32_t i) = {
        repeat_ping, repeat_settings, repeat_window_update, repeat_unknown, repeat_reset};
    for (size_t k = 0; k < COUNT_OF(honest); k++) {
        start_alone(&hpxi_h2_config_server);
        duo_side *side = duo_alone(&bed);
        side->is_quiet = true;
        for (uint32_t i = 0; i < 5000; i++) {
            bed.now_ns += honest[k] == repeat_settings ? HPX_NS_PER_S / 10 : HPX_NS_PER_S / 100;
            hpxi_buf_consume(&raw, hpxi_buf_size(&raw));
            if (i == 0) {
                raw_frame(&raw, RAW_SETTINGS, RAW_ACK, 0, NULL, 0);
            }
            honest[k](i);
            const hpx_span span = hpxi_buf_span(&raw);
            side_feed(side, span.data, span.size, 0);
            (void)side_flush(side);
            assert_int_equal(side->status, HPX_OK);
            hpxi_buf_consume(&side->out, hpxi_buf_size(&side->out));
        }
        stop_alone();
    }
}

/* ---- Heads ---------------------------------------------------------------------------------- */

/* One entry of 4 KB in the table, and one byte for each further use of it. */
static void test_floods_when_hpack_bomb_then_stream_ends_and_memory_bounded(void **state)
{
    (void)state;
    start_alone(&hpxi_h2_config_server);
    duo_side *side = duo_alone(&bed);
    static uint8_t block[16384];
    size_t at = 0;
    static const uint8_t pseudo[] = {0x82, 0x87, 0x84, 0x41, 1, 'a'}; /* GET https / a */
    memcpy(block, pseudo, sizeof(pseudo));
    at += sizeof(pseudo);
    static const uint8_t entry[] = {0x40, 1, 'x', 127, 0xA1, 0x1E}; /* x: 4000 bytes, indexed */
    memcpy(block + at, entry, sizeof(entry));
    at += sizeof(entry);
    memset(block + at, 'y', 4000);
    at += 4000;
    memset(block + at, 0x80 | 62, sizeof(block) - at); /* 12,000 times 4 KB */
    const size_t before = bed.memory.bytes;
    raw_frame(&raw, RAW_HEADERS, RAW_END_HEADERS | RAW_END_STREAM, 1, block, sizeof(block));
    raw_request(&raw, 3, RAW_END_HEADERS | RAW_END_STREAM);
    const hpx_span span = hpxi_buf_span(&raw);
    side_feed(side, span.data, span.size, 0);
    (void)side_flush(side);
    side_feed(side, NULL, 0, 0);
    assert_true(bed.memory.bytes < before + (512u << 10));
    assert_int_equal(side->status, HPX_OK);
    assert_int_equal(raw_count(hpxi_buf_span(&side->out), RAW_RST_STREAM, 1), 1);
    assert_string_equal(
        side_told(side),
        "REQUEST 3 GET https a /\nEND 3 0 bytes\n"
        "CLOSED HPX_OK code=0 peer=0 processed=unknown\n");
    stop_alone();
}

/* As the engine drains a session whose socket is gone. */
static void test_session_when_failed_and_asked_without_input_then_its_streams_end(void **state)
{
    (void)state;
    start_alone(&hpxi_h2_config_client);
    duo_side *side = duo_alone(&bed);
    (void)side_request(side, "GET", "/");
    (void)side_flush(side);
    hpxi_h2_fail(side->h2, HPX_E_ABORTED);
    const uint8_t *none = NULL;
    size_t nothing = 0;
    hpxi_h2_event event;
    assert_int_equal(hpxi_h2_next(side->h2, &none, &nothing, &side->out, bed.now_ns, &event), 1);
    assert_int_equal(event.kind, HPXI_H2_CLOSED);
    const hpx_status status =
        hpxi_h2_next(side->h2, &none, &nothing, &side->out, bed.now_ns, &event);
    assert_int_equal(status, HPX_E_ABORTED);
    assert_null(none);
    assert_int_equal(nothing, 0);
    stop_alone();
}

static void check_client_refuses_head(hpx_status expected, const char *name, uint32_t repeats)
{
    hpxi_h2_config config = hpxi_h2_config_client;
    config.limits.header_list_bytes_max = 4096;
    config.limits.fields_max = 40;
    config.limits.informational_max = 10;
    start_alone(&config);
    duo_side *side = duo_alone(&bed);
    (void)side_request(side, "GET", "/");
    (void)side_flush(side);
    hpxi_buf_consume(&side->out, hpxi_buf_size(&side->out));
    hpxi_buf head;
    hpxi_buf_init(&head, &bed.allocator);
    raw_field(&head, ":status", name == NULL ? "103" : "200");
    for (uint32_t i = 0; i < repeats && name != NULL; i++) {
        raw_field(&head, name, "v");
    }
    const hpx_span block = hpxi_buf_span(&head);
    for (uint32_t i = 0; i < (name == NULL ? repeats : 1); i++) {
        raw_frame(&raw, RAW_HEADERS, RAW_END_HEADERS, 1, block.data, block.size);
    }
    hpx_span span = hpxi_buf_span(&raw);
    side_feed(side, span.data, span.size, 0);
    (void)side_flush(side);
    side_feed(side, NULL, 0, 0);
    assert_int_equal(side->status, HPX_OK); /* the connection goes on */
    char closed[96];
    snprintf(
        closed,
        sizeof(closed),
        "CLOSED %s code=%d peer=0 processed=unknown\n",
        hpx_status_name(expected),
        expected == HPX_E_HTTP_MALFORMED ? HPXI_H2_PROTOCOL_ERROR : HPXI_H2_INTERNAL_ERROR);
    const char *told = side_told(side);
    if (strstr(told, closed) == NULL) {
        fail_msg("%s: %s", name, told);
    }
    assert_null(strstr(told, "RESPONSE"));
    hpxi_buf_fini(&head);
    stop_alone();
}

static void test_floods_when_head_is_over_a_limit_or_malformed_then_stream_ends(void **state)
{
    (void)state;
    check_client_refuses_head(HPX_E_HTTP_TOO_BIG, "x", 41); /* fields_max */
    static char long_name[201];
    memset(long_name, 'n', 200);
    check_client_refuses_head(HPX_E_HTTP_TOO_BIG, long_name, 20); /* header_list_bytes_max */
    check_client_refuses_head(HPX_E_HTTP_TOO_BIG, NULL, 11);      /* informational_max */
    check_client_refuses_head(HPX_E_HTTP_MALFORMED, "Upper", 1);
    check_client_refuses_head(HPX_E_HTTP_MALFORMED, "connection", 1);
    check_client_refuses_head(HPX_E_HTTP_MALFORMED, "bad name", 1);
    check_client_refuses_head(HPX_E_HTTP_MALFORMED, ":path", 1);
}

/* ---- Broken rules --------------------------------------------------------------------------- */

typedef struct broken {
    const char *name;
    bool to_server;
    uint8_t type;
    uint8_t flags;
    uint32_t stream_id;
    const char *payload;
    size_t size;
    uint32_t code;
} broken;

static const uint8_t too_large[16385];

static const broken rules[] = {
    {"DATA on stream 0", true, RAW_DATA, 0, 0, "x", 1, HPXI_H2_PROTOCOL_ERROR},
    {"DATA on an idle stream", true, RAW_DATA, 0, 5, "x", 1, HPXI_H2_PROTOCOL_ERROR},
    {"DATA before a head", false, RAW_DATA, 0, 1, "x", 1, HPXI_H2_PROTOCOL_ERROR},
    {"DATA on our idle stream", false, RAW_DATA, 0, 5, "x", 1, HPXI_H2_PROTOCOL_ERROR},
    {"HEADERS on an even stream", true, RAW_HEADERS, 4, 2, "\x82", 1, HPXI_H2_PROTOCOL_ERROR},
    {"CONTINUATION alone", true, RAW_CONTINUATION, 4, 1, "\x82", 1, HPXI_H2_PROTOCOL_ERROR},
    {"HEADERS that do not decompress",
     true,
     RAW_HEADERS,
     5,
     1,
     "\xFF\xFF\xFF\xFF\xFF\xFF",
     6,
     HPXI_H2_COMPRESSION_ERROR},
    {"PUSH_PROMISE",
     false,
     RAW_PUSH_PROMISE,
     4,
     1,
     "\0\0\0\2\x82\x87\x84\x41\1a",
     10,
     HPXI_H2_PROTOCOL_ERROR},
    {"SETTINGS of 5 bytes", true, RAW_SETTINGS, 0, 0, "\0\0\0\0\0", 5, HPXI_H2_FRAME_SIZE_ERROR},
    {"SETTINGS answer nobody asked for", true, RAW_SETTINGS, 1, 0, NULL, 0, HPXI_H2_NO_ERROR},
    {"ENABLE_PUSH 2", true, RAW_SETTINGS, 0, 0, "\0\2\0\0\0\2", 6, HPXI_H2_PROTOCOL_ERROR},
    {"window above 2^31",
     true,
     RAW_SETTINGS,
     0,
     0,
     "\0\4\xFF\0\0\0",
     6,
     HPXI_H2_FLOW_CONTROL_ERROR},
    {"PING of 7 bytes", true, RAW_PING, 0, 0, "1234567", 7, HPXI_H2_FRAME_SIZE_ERROR},
    {"PING on a stream", true, RAW_PING, 0, 1, "12345678", 8, HPXI_H2_PROTOCOL_ERROR},
    {"WINDOW_UPDATE of 0", true, RAW_WINDOW_UPDATE, 0, 0, "\0\0\0\0", 4, HPXI_H2_PROTOCOL_ERROR},
    {"WINDOW_UPDATE over the top",
     true,
     RAW_WINDOW_UPDATE,
     0,
     0,
     "\x7F\xFF\xFF\xFF",
     4,
     HPXI_H2_FLOW_CONTROL_ERROR},
    {"RST_STREAM on an idle stream",
     true,
     RAW_RST_STREAM,
     0,
     9,
     "\0\0\0\0",
     4,
     HPXI_H2_PROTOCOL_ERROR},
    {"frame over 16 KiB",
     true,
     RAW_DATA,
     0,
     1,
     (const char *)too_large,
     sizeof(too_large),
     HPXI_H2_FRAME_SIZE_ERROR},
};

static void check_broken(const broken *rule, size_t cut)
{
    start_alone(rule->to_server ? &hpxi_h2_config_server : &hpxi_h2_config_client);
    duo_side *side = duo_alone(&bed);
    if (!rule->to_server) {
        (void)side_request(side, "GET", "/");
        (void)side_flush(side);
        hpxi_buf_consume(&side->out, hpxi_buf_size(&side->out));
    }
    raw_frame(&raw, rule->type, rule->flags, rule->stream_id, rule->payload, rule->size);
    raw_frame(&raw, RAW_PING, 0, 0, "after it", 8);
    const hpx_span span = hpxi_buf_span(&raw);
    side_feed(side, span.data, span.size, cut);
    const hpxi_h2_failure_info failure = hpxi_h2_failure(side->h2);
    if (rule->code == HPXI_H2_NO_ERROR) { /* the hello left one SETTINGS to be answered */
        assert_int_equal(side->status, HPX_OK);
    } else if (side->status != HPX_E_H2_PROTOCOL || failure.code != rule->code) {
        fail_msg(
            "%s: %s code %u (%s)",
            rule->name,
            hpx_status_name(side->status),
            failure.code,
            failure.detail);
    } else {
        assert_int_equal(raw_goaway_code(hpxi_buf_span(&side->out), NULL), rule->code);
        assert_int_equal(raw_count(hpxi_buf_span(&side->out), RAW_GOAWAY, 0), 1);
        assert_true(failure.detail[0] != '\0');
        assert_int_equal(raw_count(hpxi_buf_span(&side->out), RAW_PING, 0), 0);
    }
    assert_int_equal(side->closed_count, !rule->to_server);
    stop_alone();
}

static void test_floods_when_a_rule_is_broken_then_its_code_and_nothing_after(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rules); i++) {
        for (size_t cut = 0; cut < 12; cut++) {
            check_broken(&rules[i], cut);
        }
    }
}

static void test_floods_when_preface_is_wrong_then_protocol_error(void **state)
{
    (void)state;
    static const char http1[] = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (size_t cut = 0; cut < 12; cut++) {
        assert_true(duo_init_alone(&bed, &hpxi_h2_config_server));
        side_feed(&bed.server, http1, sizeof(http1) - 1, cut);
        assert_int_equal(bed.server.status, HPX_E_H2_PROTOCOL);
        duo_fini(&bed);
        assert_true(duo_init_alone(&bed, &hpxi_h2_config_client));
        side_feed(&bed.client, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, cut);
        (void)side_flush(&bed.client);
        assert_int_equal(bed.client.status, HPX_E_H2_PROTOCOL);
        duo_fini(&bed);
    }
}

/* H10: nghttp2 has aborted the process on GOAWAY after closed streams (its issue 1637). */
static void test_floods_when_goaway_after_long_idle_then_no_abort(void **state)
{
    (void)state;
    assert_true(duo_init(&bed, NULL, NULL));
    for (int i = 0; i < 20; i++) {
        (void)side_request(&bed.client, "GET", "/");
        duo_run(&bed);
    }
    bed.now_ns += 240 * HPX_NS_PER_S;
    const uint8_t goaway[17] = {0, 0, 8, RAW_GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    side_feed(&bed.client, goaway, sizeof(goaway), 0);
    duo_run(&bed);
    assert_int_equal(bed.client.status, HPX_OK);
    assert_true(hpxi_h2_is_drained(bed.client.h2));
    uint8_t to_server[17];
    memcpy(to_server, goaway, sizeof(goaway));
    to_server[12] = 0; /* a server opens no streams */
    side_feed(&bed.server, to_server, sizeof(to_server), 0);
    duo_run(&bed);
    assert_int_equal(bed.server.status, HPX_OK);
    duo_fini(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_floods_when_peer_floods_then_calm_and_memory_bounded),
        cmocka_unit_test(test_floods_when_answers_are_not_taken_then_calm),
        cmocka_unit_test(test_floods_when_rates_are_kept_then_left_alone),
        cmocka_unit_test(test_floods_when_hpack_bomb_then_stream_ends_and_memory_bounded),
        cmocka_unit_test(test_floods_when_head_is_over_a_limit_or_malformed_then_stream_ends),
        cmocka_unit_test(test_floods_when_a_rule_is_broken_then_its_code_and_nothing_after),
        cmocka_unit_test(test_floods_when_preface_is_wrong_then_protocol_error),
        cmocka_unit_test(test_session_when_failed_and_asked_without_input_then_its_streams_end),
        cmocka_unit_test(test_floods_when_goaway_after_long_idle_then_no_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever a server does after its 101 is understood or refused: frames cut at every byte,
 * frames against the rules, limits, and every way to end a connection badly.
 * Method: a scripted server writes bytes; the test knows which events they are, and which close
 * code the server has to see. Every row runs in each form (client.h), descriptors and allocations
 * counted.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "tests/e2e/client.h"
#include "tests/e2e/script_server.h"
#include "tests/support/test.h"

#define MS        HPX_NS_PER_MS
#define PROMPT_NS (4 * HPX_NS_PER_S)

typedef enum frame_end {
    END_READ = 0, /* read the client's frames up to its CLOSE, then close */
    END_CLOSE,
    END_RESET,
    END_HOLD, /* the same, but close only when the test says so */
} frame_end;

typedef struct frame_row {
    const char *name;
    const char *bytes;
    size_t size;
    frame_end end;
    const char *status;
    int close_code; /* in the error */
    int saw;        /* by the server */
    uint32_t messages;
} frame_row;

typedef struct frame_script {
    const frame_row *row;
    client_form form; /* decides how the bytes are cut */
} frame_script;

#define BYTES(text) (text), sizeof(text) - 1

/* Limits of the client: 1000 bytes, 4 fragments. */
static const frame_row frame_rows[] = {
    {"masked", BYTES("\x81\x82\x01\x02\x03\x04hi"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"reserved opcode 3", BYTES("\x83\x00"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"reserved opcode 11", BYTES("\x8B\x00"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"RSV1 without extension", BYTES("\xC1\x02hi"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"fragmented ping", BYTES("\x09\x00"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"ping of 126 bytes", BYTES("\x89\x7E\x00\x7E"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"orphan continuation", BYTES("\x80\x01x"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"text inside text", BYTES("\x01\x01x\x81\x01y"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"length not minimal",
     BYTES("\x81\x7E\x00\x05hello"),
     END_READ,
     "HPX_E_WS_PROTOCOL",
     1002,
     1002,
     0},
    {"length above 2^63",
     BYTES("\x82\x7F\x80\x00\x00\x00\x00\x00\x00\x00"),
     END_READ,
     "HPX_E_WS_PROTOCOL",
     1002,
     1002,
     0},
    {"a good one first", BYTES("\x81\x02hi\x83\x00"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 1},
    {"text is not UTF-8",
     BYTES("\x81\x04"
           "ab\xC0\x80"),
     END_READ,
     "HPX_E_WS_UTF8",
     1007,
     1007,
     0},
    {"UTF-8 cut by the end",
     BYTES("\x81\x03"
           "a\xE2\x82"),
     END_READ,
     "HPX_E_WS_UTF8",
     1007,
     1007,
     0},
    {"surrogate across fragments",
     BYTES("\x01\x02"
           "a\xED\x80\x02\xA0\x80"),
     END_READ,
     "HPX_E_WS_UTF8",
     1007,
     1007,
     0},
    {"one byte too many", BYTES("\x82\x7E\x03\xE9"), END_READ, "HPX_E_WS_TOO_BIG", 1009, 1009, 0},
    {"2^62 bytes",
     BYTES("\x82\x7F\x40\x00\x00\x00\x00\x00\x00\x00"),
     END_READ,
     "HPX_E_WS_TOO_BIG",
     1009,
     1009,
     0},
    {"too big in the sum",
     BYTES("\x02\x01x\x80\x7E\x03\xE8"),
     END_READ,
     "HPX_E_WS_TOO_BIG",
     1009,
     1009,
     0},
    {"5 fragments",
     BYTES("\x02\x01"
           "a\x00\x01"
           "b\x00\x01"
           "c\x00\x01"
           "d\x00\x01"
           "e"),
     END_READ,
     "HPX_E_WS_TOO_BIG",
     1009,
     1009,
     0},
    {"close of one byte", BYTES("\x88\x01\x03"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"close 1005", BYTES("\x88\x02\x03\xED"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"close 2999", BYTES("\x88\x02\x0B\xB7"), END_READ, "HPX_E_WS_PROTOCOL", 1002, 1002, 0},
    {"close reason not UTF-8",
     BYTES("\x88\x03\x03\xE8\xFF"),
     END_READ,
     "HPX_E_WS_UTF8",
     1007,
     1007,
     0},
    {"close without a code", BYTES("\x88\x00"), END_READ, "HPX_E_WS_CLOSED", 1005, 1005, 0},
    {"close 1011",
     BYTES("\x88\x05\x03\xF3"
           "bad"),
     END_READ,
     "HPX_E_WS_CLOSED",
     1011,
     1011,
     0},
    {"frames after close",
     BYTES("\x88\x02\x03\xE9\x81\x02hi\x83\x00"),
     END_READ,
     "HPX_E_WS_CLOSED",
     1001,
     1001,
     0},
    {"close, no FIN", BYTES("\x88\x02\x0F\xA1"), END_HOLD, "HPX_E_WS_CLOSED", 4001, 4001, 0},
    {"FIN", BYTES(""), END_CLOSE, "HPX_E_EOF", 0, SCRIPT_SAW_NOTHING, 0},
    {"FIN in a frame",
     BYTES("\x81\x02hi\x81\x05hel"),
     END_CLOSE,
     "HPX_E_EOF",
     0,
     SCRIPT_SAW_NOTHING,
     1},
    {"RST", BYTES(""), END_RESET, "ECONNRESET", 0, SCRIPT_SAW_NOTHING, 0},
};

/* All at once; byte by byte; header and payload apart. */
static void serve_cut_as(script_conn *conn, const frame_row *row, client_form form)
{
    const size_t first = form == CLIENT_STREAM && row->size > 2 ? 2 : 0;
    const size_t step = form == CLIENT_THREAD ? 1 : row->size;
    (void)script_write(conn, row->bytes, first);
    if (first != 0) {
        script_rest();
    }
    (void)script_dribble(conn, row->bytes + first, row->size - first, step);
}

static int serve_frames(script_conn *conn, void *user)
{
    const frame_script *script = user;
    const frame_row *row = script->row;
    char answer[512];
    if (!script_read_head(conn)) {
        return SCRIPT_SAW_NOTHING;
    }
    (void)script_write(conn, answer, script_answer(conn, answer, sizeof(answer)));
    serve_cut_as(conn, row, script->form);
    switch (row->end) {
    case END_READ:
        return script_read_frames(conn);
    case END_HOLD: {
        const int code = script_read_frames(conn);
        script_hold(conn);
        return code;
    }
    case END_RESET: /* not before the client is Ready: the 101 could be lost with it */
        (void)recv(conn->fd, answer, sizeof(answer), 0);
        script_reset(conn);
        break;
    case END_CLOSE:
        break;
    }
    return SCRIPT_SAW_NOTHING;
}

static hpx_ws_config frames_config(const script_server *server, char url[64])
{
    (void)snprintf(url, 64, "ws://127.0.0.1:%u/", server->port);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.message_bytes_max = 1000;
    config.fragments_max = 4;
    config.close_timeout_ns = 200 * MS;
    return config;
}

static void check_frames(const frame_row *row, script_server *server, client_form form)
{
    char url[64];
    e2e_bed bed;
    e2e_client client;
    hpx_error error;
    const hpx_ws_config config = frames_config(server, url);
    const uint64_t began_ns = hpx_clock_now_ns();
    bed_open(&bed, form, NULL);
    client_connect(&client, &bed, &config, NULL);
    if (row->end == END_RESET) {
        client_send(&client, HPX_MESSAGE_BINARY, "", 0);
    }
    client_expect_end(&client, &error);
    if (row->end == END_HOLD) {
        script_release(server);
    }
    const int saw = script_await(server, (uint32_t)form + 1);
    bed_close(&bed);
    if (strcmp(hpx_status_name(error.status), row->status) != 0 || error.stage != HPX_STAGE_READY ||
        error.close_code != row->close_code || saw != row->saw || error.detail[0] == '\0' ||
        client.messages != row->messages) {
        fail_msg(
            "%s (%s): %s at %s, code %d, server saw %d, %u messages: \"%s\"",
            row->name,
            client_form_names[form],
            hpx_status_name(error.status),
            hpx_stage_name(error.stage),
            error.close_code,
            saw,
            client.messages,
            error.detail);
    }
    assert_true(hpx_clock_now_ns() - began_ns < PROMPT_NS);
}

static void test_frames_when_against_the_rules_then_both_sides_know_why(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(frame_rows); i++) {
        frame_script script = {.row = &frame_rows[i]};
        script_server server;
        script_start(&server, serve_frames, &script);
        for (client_form form = 0; form < CLIENT_FORMS; form++) {
            script.form = form;
            check_frames(script.row, &server, form);
        }
        script_stop(&server);
    }
}

/* ---- A close that is not answered --------------------------------------------------------------
 */

/* Takes our CLOSE; then answers as told, and in no case sends FIN. */
static int serve_our_close(script_conn *conn, void *user)
{
    const bool *answers = user;
    char text[512];
    if (!script_read_head(conn)) {
        return SCRIPT_SAW_NOTHING;
    }
    (void)script_write(conn, text, script_answer(conn, text, sizeof(text)));
    const int code = script_read_frames(conn);
    if (*answers) {
        (void)script_write(conn, "\x81\x02hi\x88\x02\x03\xE8", 8);
    }
    script_hold(conn);
    return code;
}

static void check_our_close(bool answers, client_form form, const char *status)
{
    script_server server;
    char url[64];
    e2e_bed bed;
    e2e_client client;
    hpx_error error;
    script_start(&server, serve_our_close, &answers);
    const hpx_ws_config config = frames_config(&server, url);
    bed_open(&bed, form, NULL);
    client_connect(&client, &bed, &config, NULL);
    const uint64_t began_ns = hpx_clock_now_ns();
    client_close(&client, 1001, "away");
    client_expect_end(&client, &error);
    const uint64_t took_ns = hpx_clock_now_ns() - began_ns;
    script_release(&server);
    assert_int_equal(script_await(&server, 1), 1001);
    bed_close(&bed);
    script_stop(&server);
    assert_string_equal(hpx_status_name(error.status), status);
    assert_in_range(took_ns, 198 * MS, PROMPT_NS);
}

static void test_close_when_the_server_does_not_finish_then_the_timeout_does(void **state)
{
    (void)state;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        check_our_close(false, form, "HPX_E_CLOSE_TIMEOUT"); /* no CLOSE frame */
        check_our_close(true, form, "HPX_OK");               /* a CLOSE frame, and no FIN */
    }
}

/* ---- Cuts --------------------------------------------------------------------------------------
 */

/* Three messages: text, binary with a longer length, text in two fragments with a ping between. */
#define STREAM_BINARY_BYTES 200
static const char stream_first[] = "\x81\x03one\x82\x7E\x00\xC8";
static const char stream_last[] = "\x01\x03"
                                  "th\xC3\x89\x01!\x80\x04\xA9"
                                  "ree";

typedef struct cut_script {
    size_t at;   /* two writes, cut here; 0: not cut */
    size_t step; /* or pieces of this size */
} cut_script;

static size_t stream_bytes(const script_conn *conn, char *to, size_t to_bytes)
{
    size_t used = script_answer(conn, to, to_bytes);
    memcpy(to + used, stream_first, sizeof(stream_first) - 1);
    used += sizeof(stream_first) - 1;
    for (size_t i = 0; i < STREAM_BINARY_BYTES; i++) {
        to[used++] = (char)(uint8_t)(i * 7);
    }
    memcpy(to + used, stream_last, sizeof(stream_last) - 1);
    return used + sizeof(stream_last) - 1;
}

static int serve_cut(script_conn *conn, void *user)
{
    const cut_script *cut = user;
    char text[1024];
    if (!script_read_head(conn)) {
        return SCRIPT_SAW_NOTHING;
    }
    const size_t size = stream_bytes(conn, text, sizeof(text));
    const size_t at = cut->at < size ? cut->at : size;
    if (cut->step != 0) {
        (void)script_dribble(conn, text, size, cut->step);
    } else {
        (void)script_write(conn, text, at);
        script_rest();
        (void)script_write(conn, text + at, size - at);
    }
    const int code = script_read_frames(conn); /* skips the pong */
    (void)script_write(conn, "\x88\x02\x03\xE8", 4);
    (void)script_read_end(conn);
    return code;
}

static void check_cut(e2e_bed *bed, e2e_client *client, script_server *server)
{
    char url[64];
    uint8_t binary[STREAM_BINARY_BYTES];
    for (size_t i = 0; i < sizeof(binary); i++) {
        binary[i] = (uint8_t)(i * 7);
    }
    const uint32_t served = script_served(server);
    const hpx_ws_config config = frames_config(server, url);
    client_connect(client, bed, &config, NULL);
    client_expect_message(client, HPX_MESSAGE_TEXT, "one", 3);
    client_expect_message(client, HPX_MESSAGE_BINARY, binary, sizeof(binary));
    client_expect_message(client, HPX_MESSAGE_TEXT, "th\xC3\xA9ree", 7);
    client_finish(client);
    assert_int_equal(script_await(server, served + 1), 1000);
}

#define CUTS_MAX 420

static void test_stream_when_cut_anywhere_then_the_same_events_come(void **state)
{
    (void)state;
    static e2e_client clients[CUTS_MAX];
    script_conn *shape = calloc(1, sizeof(*shape));
    char text[1024];
    assert_non_null(shape);
    (void)snprintf(
        shape->head,
        sizeof(shape->head),
        "GET / HTTP/1.1\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    const size_t size = stream_bytes(shape, text, sizeof(text));
    free(shape);
    assert_in_range(size, 300, CUTS_MAX);
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        e2e_bed bed;
        cut_script cut = {0};
        script_server server;
        script_start(&server, serve_cut, &cut);
        bed_open(&bed, form, NULL);
        for (cut.at = form + 1; cut.at < size; cut.at += CLIENT_FORMS) { /* a third in each form */
            check_cut(&bed, &clients[cut.at], &server);
        }
        bed_close(&bed);
        script_stop(&server);
    }
}

static void test_stream_when_in_one_segment_or_in_bytes_then_the_same_events_come(void **state)
{
    (void)state;
    static const size_t steps[] = {4096, 1, 2, 3, 7};
    static e2e_client clients[COUNT_OF(steps)];
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        e2e_bed bed;
        cut_script cut = {0};
        script_server server;
        script_start(&server, serve_cut, &cut);
        bed_open(&bed, form, NULL);
        for (size_t i = 0; i < COUNT_OF(steps); i++) {
            cut.step = steps[i];
            check_cut(&bed, &clients[i], &server);
        }
        bed_close(&bed);
        script_stop(&server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames_when_against_the_rules_then_both_sides_know_why),
        cmocka_unit_test(test_close_when_the_server_does_not_finish_then_the_timeout_does),
        cmocka_unit_test(test_stream_when_cut_anywhere_then_the_same_events_come),
        cmocka_unit_test(test_stream_when_in_one_segment_or_in_bytes_then_the_same_events_come),
    };
    return cmocka_run_group_tests_name("e2e/bad_frames", tests, NULL, NULL);
}

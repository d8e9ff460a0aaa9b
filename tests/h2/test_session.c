/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a client session and a server session exchange every kind of message whole, wherever the
 * bytes are cut and whichever allocation fails; a steady state allocates nothing.
 * Method: two sessions joined in memory (duo.h); logs compared with what is right, and with the
 * logs of other cuts.
 */
#include <errno.h>

#include "tests/h2/duo.h"
#include "tests/support/test.h"

static duo bed; /* large */

/* ---- One of each kind ----------------------------------------------------------------------- */

static const char hello[] = "hello";

static ptrdiff_t pull_hello(void *ctx, uint8_t *to, size_t room, bool *is_last)
{
    size_t *at = ctx;
    if (*at % 2 == 1) {
        ++*at;
        return HPX_E_AGAIN;
    }
    assert_true(room != 0);
    to[0] = (uint8_t)hello[*at / 2];
    ++*at;
    *is_last = *at / 2 == 4 && *at % 2 == 1;
    return 1;
}

static const hpxi_h2_field trailer = {
    .name = {(const uint8_t *)"checksum", 8}, .value = {(const uint8_t *)"77", 2}};

static bool path_is(const hpxi_h2_event *event, const char *path)
{
    return event->head.path.size == strlen(path) &&
           memcmp(event->head.path.data, path, event->head.path.size) == 0;
}

/* The server's book of answers, by path. */
static void serve(duo_side *side, const hpxi_h2_event *event)
{
    if (event->kind != HPXI_H2_REQUEST) {
        return;
    }
    const hpxi_h2_stream stream = event->stream;
    const hpxi_h2_field length = field_of("content-length", "5");
    hpxi_h2_body body = {.span = hpx_span_of(hello)};
    hpx_status status = HPX_OK;
    if (path_is(event, "/none")) {
        status = hpxi_h2_respond(side->h2, stream, 204, NULL, 0, NULL, NULL);
    } else if (path_is(event, "/head")) {
        status = hpxi_h2_respond(side->h2, stream, 200, &length, 1, NULL, NULL);
    } else if (path_is(event, "/early")) {
        const hpxi_h2_field link = field_of("link", "</style.css>");
        status = hpxi_h2_inform(side->h2, stream, 103, &link, 1, NULL);
        if (status == HPX_OK) {
            status = hpxi_h2_respond(side->h2, stream, 200, &length, 1, &body, NULL);
        }
    } else if (path_is(event, "/trailers")) {
        body.trailers = &trailer;
        body.trailer_count = 1;
        status = hpxi_h2_respond(side->h2, stream, 200, NULL, 0, &body, NULL);
    } else {
        status = hpxi_h2_respond(side->h2, stream, 200, &length, 1, &body, NULL);
    }
    assert_true(status == HPX_OK || status == HPX_E_NO_MEMORY);
}

typedef struct exchange {
    const char *method;
    const char *path;
    bool has_body;
    bool has_trailers;
    const char *client; /* log of the client */
    const char *server;
} exchange;

#define REQUEST_LINE(method, path) "REQUEST 1 " method " https example.com " path
#define CLOSED_WELL                "CLOSED HPX_OK code=0 peer=0 processed=unknown\n"

static const exchange exchanges[] = {
    {"GET",
     "/",
     false,
     false,
     "RESPONSE 1 200 content-length=5\nEND 1 5 bytes \"hello\"\n" CLOSED_WELL,
     REQUEST_LINE("GET", "/") " te=trailers\nEND 1 0 bytes\n" CLOSED_WELL},
    {"GET",
     "/none",
     false,
     false,
     "RESPONSE 1 204\nEND 1 0 bytes\n" CLOSED_WELL,
     REQUEST_LINE("GET", "/none") " te=trailers\nEND 1 0 bytes\n" CLOSED_WELL},
    {"HEAD",
     "/head",
     false,
     false,
     "RESPONSE 1 200 content-length=5\nEND 1 0 bytes\n" CLOSED_WELL,
     REQUEST_LINE("HEAD", "/head") " te=trailers\nEND 1 0 bytes\n" CLOSED_WELL},
    {"GET",
     "/early",
     false,
     false,
     "INFORMATIONAL 1 103 link=</style.css>\nRESPONSE 1 200 content-length=5\n"
     "END 1 5 bytes \"hello\"\n" CLOSED_WELL,
     REQUEST_LINE("GET", "/early") " te=trailers\nEND 1 0 bytes\n" CLOSED_WELL},
    {"GET",
     "/trailers",
     false,
     false,
     "RESPONSE 1 200\nTRAILERS 1 checksum=77\nEND 1 5 bytes \"hello\"\n" CLOSED_WELL,
     REQUEST_LINE("GET", "/trailers") " te=trailers\nEND 1 0 bytes\n" CLOSED_WELL},
    {"POST",
     "/",
     true,
     false,
     "RESPONSE 1 200 content-length=5\nEND 1 5 bytes \"hello\"\n" CLOSED_WELL,
     REQUEST_LINE(
         "POST", "/") " te=trailers content-length=5\nEND 1 5 bytes \"hello\"\n" CLOSED_WELL},
    {"PUT",
     "/x?a=b",
     true,
     true,
     "RESPONSE 1 200 content-length=5\nEND 1 5 bytes \"hello\"\n" CLOSED_WELL,
     REQUEST_LINE("PUT", "/x?a=b") " te=trailers content-length=5\n"
                                   "TRAILERS 1 checksum=77\nEND 1 5 bytes \"hello\"\n" CLOSED_WELL},
    {"POST",
     "/empty",
     false,
     false,
     "RESPONSE 1 200 content-length=5\nEND 1 5 bytes \"hello\"\n" CLOSED_WELL,
     REQUEST_LINE("POST", "/empty") " te=trailers content-length=0\nEND 1 0 bytes\n" CLOSED_WELL},
};

/* Leaves nothing; false when memory failed on the way. */
static bool run_exchange(hpx_allocator allocator, const exchange *x, size_t cut)
{
    if (!duo_init_with(&bed, allocator, NULL, NULL)) {
        return false;
    }
    bed.cut = cut;
    bed.server.on_event = serve;
    const hpxi_h2_field te = field_of("te", "trailers");
    const hpxi_h2_body body = {
        .span = hpx_span_of(x->has_body ? hello : ""),
        .trailers = &trailer,
        .trailer_count = x->has_trailers ? 1 : 0};
    duo_run(&bed);
    bool is_whole = bed.client.status == HPX_OK && bed.server.status == HPX_OK;
    if (is_whole) {
        (void)side_told(&bed.client);
        (void)side_told(&bed.server);
        const hpxi_h2_stream stream =
            side_request_with(&bed.client, x->method, x->path, &te, 1, &body);
        duo_run(&bed);
        is_whole = stream != HPXI_H2_NO_STREAM && bed.client.status == HPX_OK &&
                   bed.server.status == HPX_OK;
    }
    if (is_whole) {
        assert_string_equal(side_told(&bed.client), x->client);
        assert_string_equal(side_told(&bed.server), x->server);
    } else {
        assert_true(bed.client.status == HPX_E_NO_MEMORY || bed.server.status == HPX_E_NO_MEMORY);
    }
    duo_fini(&bed);
    return is_whole;
}

static void test_session_when_cut_anywhere_then_messages_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(exchanges); i++) {
        for (size_t cut = 0; cut <= 64; cut++) {
            assert_true(run_exchange((hpx_allocator){0}, &exchanges[i], cut));
        }
    }
}

static void run_failing(hpx_allocator allocator, bool expect_success)
{
    const bool is_whole = run_exchange(allocator, &exchanges[6], 0);
    assert_true(is_whole || !expect_success);
}

static void test_session_when_an_allocation_fails_then_no_memory_and_no_leak(void **state)
{
    (void)state;
    fa_exhaust(run_failing);
}

/* A connection's life: many streams, one cancelled, one not answered, a window that grows, drain.
 */
static void run_life(hpx_allocator allocator, bool expect_success)
{
    static uint8_t big[100000];
    hpxi_h2_config client = hpxi_h2_config_client;
    client.ping.window_bytes = 20000;
    if (!duo_init_with(&bed, allocator, &client, NULL)) {
        assert_false(expect_success);
        return;
    }
    bed.server.on_event = serve;
    duo_run(&bed);
    const hpxi_h2_body body = {.span = {big, sizeof(big)}};
    hpxi_h2_stream streams[5] = {0};
    for (size_t i = 0; i < COUNT_OF(streams) && hpxi_h2_can_open(bed.client.h2) != 0; i++) {
        streams[i] = side_request_with(&bed.client, "POST", "/early", NULL, 0, &body);
    }
    (void)duo_move(&bed, &bed.client, &bed.server);
    bed.now_ns += HPX_NS_PER_S;
    (void)hpxi_h2_reset(bed.client.h2, streams[1], HPXI_H2_CANCEL, NULL);
    duo_run(&bed);
    hpxi_h2_drain(bed.server.h2, bed.now_ns);
    duo_run(&bed);
    const bool is_whole = bed.client.status == HPX_OK && bed.server.status == HPX_OK;
    assert_true(is_whole || !expect_success);
    if (is_whole) {
        assert_true(hpxi_h2_is_drained(bed.client.h2));
        assert_int_equal(bed.client.closed_count, 4);
    } else {
        assert_true(bed.client.status == HPX_E_NO_MEMORY || bed.server.status == HPX_E_NO_MEMORY);
    }
    hpxi_h2_eof(bed.client.h2);
    hpxi_h2_eof(bed.server.h2);
    side_feed(&bed.client, NULL, 0, 0);
    side_feed(&bed.server, NULL, 0, 0);
    uint32_t made = 0;
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        made += streams[i] != HPXI_H2_NO_STREAM && i != 1;
    }
    assert_in_range(bed.client.closed_count, made, made + 1); /* the cancelled one, if it failed */
    duo_fini(&bed);
}

static void test_session_when_an_allocation_fails_in_its_life_then_every_stream_ends(void **state)
{
    (void)state;
    fa_exhaust(run_life);
}

static void test_session_when_body_is_pulled_and_deferred_then_it_goes_on_after_resume(void **state)
{
    (void)state;
    assert_true(duo_init(&bed, NULL, NULL));
    duo_run(&bed);
    size_t at = 0;
    const hpxi_h2_body body = {.pull = pull_hello, .pull_ctx = &at};
    const hpxi_h2_field length = field_of("content-length", "5");
    const hpxi_h2_stream stream = side_request_with(&bed.client, "POST", "/", &length, 1, &body);
    (void)side_told(&bed.server);
    for (int i = 0; i < 5; i++) {
        duo_run(&bed);
        assert_int_equal(bed.server.data_bytes, i + 1);
        hpxi_h2_resume(bed.client.h2, stream);
    }
    duo_run(&bed);
    const char *told = side_told(&bed.server);
    assert_non_null(strstr(told, "END 1 5 bytes \"hello\""));
    hpxi_h2_resume(bed.client.h2, stream); /* stale: no harm */
    duo_fini(&bed);
}

/* ---- Our own body breaks its word ------------------------------------------------------------ */

static ptrdiff_t pull_once(void *ctx, uint8_t *to, size_t room, bool *is_last)
{
    assert_true(room >= 5);
    memcpy(to, hello, 5);
    *is_last = true;
    return ctx == NULL ? 5 : -ECANCELED;
}

static void test_session_when_pulled_body_is_not_its_length_then_reset_and_told(void **state)
{
    (void)state;
    static bool cancels;
    static const struct {
        const char *length;
        void *ctx;
        const char *closed;
    } rows[] = {
        {"4", NULL, "CLOSED HPX_E_INVALID code=2 peer=0 processed=unknown\n"},
        {"6", NULL, "CLOSED HPX_E_INVALID code=2 peer=0 processed=unknown\n"},
        {"5", &cancels, "CLOSED ECANCELED code=2 peer=0 processed=unknown\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_true(duo_init(&bed, NULL, NULL));
        bed.server.on_event = NULL; /* does not answer */
        duo_run(&bed);
        const hpxi_h2_body body = {.pull = pull_once, .pull_ctx = rows[i].ctx};
        const hpxi_h2_field length = field_of("content-length", rows[i].length);
        (void)side_request_with(&bed.client, "POST", "/", &length, 1, &body);
        (void)side_told(&bed.client);
        duo_run(&bed);
        assert_string_equal(side_told(&bed.client), rows[i].closed);
        assert_non_null(strstr(
            side_told(&bed.server), "CLOSED HPX_E_H2_RESET code=2 peer=1 processed=unknown\n"));
        assert_int_equal(bed.client.status, HPX_OK); /* the connection goes on */
        assert_int_equal(hpxi_h2_can_open(bed.client.h2), 128);
        duo_fini(&bed);
    }
}

/* ---- Multiplexing --------------------------------------------------------------------------- */

static void test_session_when_many_streams_send_bodies_then_they_take_turns(void **state)
{
    (void)state;
    static uint8_t big[60000];
    hpxi_h2_config server = hpxi_h2_config_server;
    server.ping.window_bytes = 1 << 20;
    assert_true(duo_init(&bed, NULL, &server));
    bed.server.on_event = NULL;
    duo_run(&bed);
    const hpxi_h2_body body = {.span = {big, sizeof(big)}};
    for (int i = 0; i < 4; i++) {
        (void)side_request_with(&bed.client, "POST", "/", NULL, 0, &body);
    }
    hpxi_buf out;
    hpxi_buf_init(&out, &bed.allocator);
    assert_int_equal(hpxi_h2_flush(bed.client.h2, &out, 100000, bed.now_ns), 1);
    assert_true(hpxi_buf_size(&out) >= 100000);
    assert_true(hpxi_buf_size(&out) < 100000 + 16384 + 9);
    for (uint32_t id = 1; id < 8; id += 2) {
        const uint32_t count = raw_count(hpxi_buf_span(&out), RAW_DATA, id);
        assert_true(count == 1 || count == 2); /* of 6 or 7 frames */
    }
    hpxi_buf_fini(&out);
    duo_fini(&bed);
}

static void test_session_when_more_streams_than_allowed_then_again_until_one_closes(void **state)
{
    (void)state;
    hpxi_h2_config server = hpxi_h2_config_server;
    server.limits.streams_max = 3;
    assert_true(duo_init(&bed, NULL, &server));
    bed.server.on_event = NULL;
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 100); /* before SETTINGS */
    duo_run(&bed);
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 3);
    hpxi_h2_stream streams[3];
    for (int i = 0; i < 3; i++) {
        streams[i] = side_request(&bed.client, "GET", "/");
    }
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 0);
    const hpxi_h2_request_head head = {
        .method = hpx_span_of("GET"),
        .scheme = hpx_span_of("https"),
        .authority = hpx_span_of("a"),
        .path = hpx_span_of("/")};
    hpxi_h2_stream stream;
    assert_int_equal(hpxi_h2_request(bed.client.h2, &stream, &head, NULL, NULL, NULL), HPX_E_AGAIN);
    duo_run(&bed);
    assert_int_equal(
        hpxi_h2_respond(bed.server.h2, bed.server.last, 200, NULL, 0, NULL, NULL), HPX_OK);
    duo_run(&bed);
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 1);
    assert_int_equal(hpxi_h2_stream_id(bed.client.h2, streams[0]), 1);
    assert_int_equal(hpxi_h2_stream_id(bed.client.h2, streams[2]), 0); /* answered: stale */
    assert_int_equal(hpxi_h2_reset(bed.client.h2, streams[2], HPXI_H2_CANCEL, NULL), HPX_E_STALE);
    assert_int_equal(hpxi_h2_reset(bed.client.h2, streams[0], HPXI_H2_CANCEL, NULL), HPX_OK);
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 1); /* until RST_STREAM is written */
    duo_run(&bed);
    assert_int_equal(hpxi_h2_can_open(bed.client.h2), 2);
    duo_fini(&bed);
}

/* ---- Steady state --------------------------------------------------------------------------- */

static void test_session_when_steady_then_no_allocation(void **state)
{
    (void)state;
    assert_true(duo_init(&bed, NULL, NULL));
    bed.server.on_event = serve;
    bed.client.is_quiet = true;
    bed.server.is_quiet = true;
    const hpxi_h2_body body = {
        .span = hpx_span_of(hello), .trailers = &trailer, .trailer_count = 1};
    size_t allocations = 0;
    hpxi_h2_info before = {0};
    for (int i = 0; i < 400; i++) {
        if (i == 200) {
            allocations = bed.memory.count;
            hpxi_h2_get_info(bed.client.h2, &before);
        }
        for (int j = 0; j < 4; j++) {
            (void)side_request_with(&bed.client, "POST", "/trailers", NULL, 0, &body);
        }
        duo_run(&bed);
    }
    assert_int_equal(bed.memory.count, allocations);
    hpxi_h2_info after;
    hpxi_h2_get_info(bed.client.h2, &after);
    assert_int_equal(after.allocations, before.allocations);
    assert_int_equal(after.memory_bytes, before.memory_bytes);
    assert_int_equal(after.streams_opened - before.streams_opened, 800);
    const uint64_t each = (after.library_allocations - before.library_allocations) / 800;
    print_message("nghttp2 asks for %u blocks per request (client)\n", (unsigned)each);
    assert_true(each < 40);
    duo_fini(&bed);
}

/* ---- Configuration -------------------------------------------------------------------------- */

static void test_session_when_config_is_out_of_range_then_invalid_and_named(void **state)
{
    (void)state;
    assert_int_equal(hpxi_h2_config_check(&hpxi_h2_config_client, NULL), HPX_OK);
    assert_int_equal(hpxi_h2_config_check(&hpxi_h2_config_server, NULL), HPX_OK);
    hpxi_h2_config configs[5];
    for (size_t i = 0; i < COUNT_OF(configs); i++) {
        configs[i] = hpxi_h2_config_client;
    }
    configs[0].limits.streams_max = 0;
    configs[1].ping.window_bytes_max = configs[1].ping.window_bytes - 1;
    configs[2].limits.overhead.per_s = 0;
    configs[3].connection_window_bytes = 65534;
    configs[4].ping.keep_alive_timeout_ns = 0;
    static const char *const named[] = {
        "streams_max", "window_bytes_max", "overhead", "connection_window", "keep_alive_timeout"};
    for (size_t i = 0; i < COUNT_OF(configs); i++) {
        hpx_error error = {0};
        assert_int_equal(hpxi_h2_config_check(&configs[i], &error), HPX_E_INVALID);
        assert_non_null(strstr(error.detail, named[i]));
        failing_allocator memory = FAILING_ALLOCATOR_NEVER;
        const hpx_allocator allocator = fa_allocator(&memory);
        hpxi_h2 *h2;
        assert_int_equal(hpxi_h2_new(&h2, &configs[i], &allocator, 0), HPX_E_INVALID);
        assert_null(h2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_when_cut_anywhere_then_messages_whole),
        cmocka_unit_test(test_session_when_an_allocation_fails_then_no_memory_and_no_leak),
        cmocka_unit_test(test_session_when_an_allocation_fails_in_its_life_then_every_stream_ends),
        cmocka_unit_test(
            test_session_when_body_is_pulled_and_deferred_then_it_goes_on_after_resume),
        cmocka_unit_test(test_session_when_pulled_body_is_not_its_length_then_reset_and_told),
        cmocka_unit_test(test_session_when_many_streams_send_bodies_then_they_take_turns),
        cmocka_unit_test(test_session_when_more_streams_than_allowed_then_again_until_one_closes),
        cmocka_unit_test(test_session_when_steady_then_no_allocation),
        cmocka_unit_test(test_session_when_config_is_out_of_range_then_invalid_and_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

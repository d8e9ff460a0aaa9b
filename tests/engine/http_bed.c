/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_bed.c - see http_bed.h. The paths:
 *
 *   /hello   200 "hello"                      /echo   method, query, body, X-Ask header; and for
 *                                                     "/", with "root" in place of the header
 *   /none    204                              /later  kept for the test
 *   /chunks  three pieces, size unknown       /length three pieces, size known
 *   /big     bed->stream_left bytes in pieces, as the peer takes them
 *   /abort   part of an answer, then abort    /short  less than announced
 *   /raw     bytes of its own, then close     /bad    a header that is refused, then 500
 */
#include "tests/engine/http_bed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test.h"

#define BED_DEADLINE_NS (30 * HPX_NS_PER_S)
#define BED_PIECE_BYTES 8192u

char bed_text[BED_TEXT_BYTES];
uint64_t bed_body_bytes;

/* ---- Handler --------------------------------------------------------------------------------- */

static bool path_is(const hpx_http_call_info *info, const char *path)
{
    return info->path.size == strlen(path) && memcmp(info->path.data, path, info->path.size) == 0;
}

static void bed_answer(hpx_http_call *call, uint16_t status, const char *body)
{
    const http_bed *bed = hpx_http_call_get_user(call);
    const hpx_status answered =
        hpx_http_call_answer(call, status, NULL, 0, hpx_span_of(body), NULL);
    if (answered != HPX_OK &&
        !(bed->lenient && (answered == HPX_E_NO_MEMORY || answered == HPX_E_STATE))) {
        fail_msg("answer: %s", hpx_status_name(answered));
    }
    assert_int_equal(
        hpx_http_call_answer(call, status, NULL, 0, hpx_span_of(body), NULL), HPX_E_STATE);
}

static void bed_echo(hpx_http_call *call, const hpx_http_call_info *info)
{
    char text[512];
    const hpx_span ask =
        path_is(info, "/") ? hpx_span_of("root") : hpx_http_call_header(call, "x-ask");
    const int bytes = snprintf(
        text,
        sizeof(text),
        "%.*s|%.*s|%.*s|%.*s|%.*s",
        (int)info->method.size,
        (const char *)info->method.data,
        (int)info->query.size,
        info->query.size == 0 ? "" : (const char *)info->query.data,
        (int)info->body.size,
        info->body.size == 0 ? "" : (const char *)info->body.data,
        (int)ask.size,
        ask.size == 0 ? "" : (const char *)ask.data,
        (int)info->authority.size,
        info->authority.size == 0 ? "" : (const char *)info->authority.data);
    assert_true(bytes > 0 && (size_t)bytes < sizeof(text));
    bed_answer(call, 200, text);
}

static void bed_pieces(hpx_http_call *call, uint64_t size)
{
    const http_bed *bed = hpx_http_call_get_user(call);
    if (bed->lenient) {
        (void)hpx_http_call_begin(call, 200, NULL, 0, size, NULL);
        (void)hpx_http_call_write(call, hpx_span_of("one,two,three"));
        (void)hpx_http_call_end(call);
        return;
    }
    assert_int_equal(hpx_http_call_write(call, hpx_span_of("x")), HPX_E_STATE);
    assert_int_equal(hpx_http_call_begin(call, 200, NULL, 0, size, NULL), HPX_OK);
    assert_int_equal(hpx_http_call_write(call, hpx_span_of("one,")), HPX_OK);
    assert_int_equal(hpx_http_call_write(call, (hpx_span){0}), HPX_OK);
    assert_int_equal(hpx_http_call_write(call, hpx_span_of("two,")), HPX_OK);
    assert_int_equal(hpx_http_call_write(call, hpx_span_of("three")), HPX_OK);
    if (size != HPX_HTTP_SIZE_UNKNOWN) {
        assert_int_equal(hpx_http_call_write(call, hpx_span_of("x")), HPX_E_INVALID);
    }
    assert_int_equal(hpx_http_call_end(call), HPX_OK);
    assert_int_equal(hpx_http_call_end(call), HPX_E_STATE);
}

static void bed_stream(http_bed *bed, hpx_http_call *call)
{
    static const uint8_t piece[BED_PIECE_BYTES];
    while (bed->stream_left != 0) {
        const size_t some =
            bed->stream_left < sizeof(piece) ? (size_t)bed->stream_left : sizeof(piece);
        const hpx_status status =
            hpx_http_call_write(call, (hpx_span){.data = piece, .size = some});
        if (status == HPX_E_AGAIN) {
            return;
        }
        assert_int_equal(status, HPX_OK);
        bed->stream_left -= some;
    }
    assert_int_equal(hpx_http_call_end(call), HPX_OK);
}

static void bed_bad(hpx_http_call *call)
{
    const hpx_http_header bad[] = {
        hpx_http_header_of("A", "b\r\nC: d"),
        hpx_http_header_of("Content-Length", "1"),
        hpx_http_header_of("Transfer-Encoding", "chunked"),
        hpx_http_header_of("a b", "c")};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        hpx_error error = {0};
        assert_int_equal(
            hpx_http_call_answer(call, 200, &bad[i], 1, hpx_span_of("x"), &error), HPX_E_INVALID);
        assert_true(error.detail[0] != '\0');
    }
    assert_int_equal(
        hpx_http_call_answer(call, 204, NULL, 0, hpx_span_of("x"), NULL), HPX_E_INVALID);
    assert_int_equal(
        hpx_http_call_answer(call, 99, NULL, 0, hpx_span_of("x"), NULL), HPX_E_INVALID);
    assert_int_equal(
        hpx_http_call_answer(call, 600, NULL, 0, hpx_span_of("x"), NULL), HPX_E_INVALID);
    bed_answer(call, 500, "bad");
}

static void bed_request(http_bed *bed, hpx_http_call *call, const hpx_http_call_info *info)
{
    bed->requests++;
    if (path_is(info, "/hello")) {
        bed_answer(call, 200, "hello");
    } else if (path_is(info, "/echo") || path_is(info, "*") || path_is(info, "/")) {
        bed_echo(call, info);
    } else if (path_is(info, "/none")) {
        bed_answer(call, 204, "");
    } else if (path_is(info, "/later")) {
        assert_true(bed->kept_count < BED_KEPT_MAX);
        bed->kept[bed->kept_count++] = call;
    } else if (path_is(info, "/chunks")) {
        bed_pieces(call, HPX_HTTP_SIZE_UNKNOWN);
    } else if (path_is(info, "/length")) {
        bed_pieces(call, 13);
    } else if (path_is(info, "/big")) {
        assert_int_equal(hpx_http_call_begin(call, 200, NULL, 0, bed->stream_left, NULL), HPX_OK);
        bed_stream(bed, call);
    } else if (path_is(info, "/abort")) {
        assert_int_equal(hpx_http_call_begin(call, 200, NULL, 0, 100, NULL), HPX_OK);
        assert_int_equal(hpx_http_call_write(call, hpx_span_of("part")), HPX_OK);
        hpx_http_call_abort(call);
        hpx_http_call_abort(call);
    } else if (path_is(info, "/short")) {
        assert_int_equal(hpx_http_call_begin(call, 200, NULL, 0, 10, NULL), HPX_OK);
        assert_int_equal(hpx_http_call_write(call, hpx_span_of("123")), HPX_OK);
        assert_int_equal(hpx_http_call_end(call), HPX_E_INVALID);
    } else if (path_is(info, "/raw") && info->version == HPX_HTTP_2) {
        assert_int_equal(hpx_http_call_raw(call, hpx_span_of("x"), true), HPX_E_STATE);
        hpx_http_call_abort(call);
    } else if (path_is(info, "/raw")) {
        assert_int_equal(
            hpx_http_call_raw(
                call, hpx_span_of("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nraw"), true),
            HPX_OK);
        assert_int_equal(hpx_http_call_raw(call, hpx_span_of("x"), true), HPX_E_STATE);
    } else if (path_is(info, "/bad")) {
        bed_bad(call);
    } else {
        bed_answer(call, 404, "no such path");
    }
}

static void bed_on_event(hpx_http_call *call, const hpx_http_call_event *event, void *user)
{
    http_bed *bed = user;
    assert_ptr_equal(hpx_http_call_get_user(call), bed);
    switch (event->kind) {
    case HPX_HTTP_CALL_REQUEST:
        assert_ptr_equal(event->info, hpx_http_call_get_info(call));
        bed_request(bed, call, event->info);
        break;
    case HPX_HTTP_CALL_WRITABLE:
        bed->writable++;
        bed_stream(bed, call);
        break;
    case HPX_HTTP_CALL_CLOSED:
        bed->closed++;
        if (event->error->status != HPX_OK) {
            bed->lost++;
            bed->last = *event->error;
        }
        break;
    }
}

/* ---- Up and down ----------------------------------------------------------------------------- */

void bed_open(http_bed *bed, const hpx_http_server_config *config)
{
    bed_open_with(bed, config, NULL);
}

void bed_open_with(
    http_bed *bed, const hpx_http_server_config *config, const hpx_allocator *allocator)
{
    *bed = (http_bed){0};
    hpx_engine_config engine = HPX_ENGINE_CONFIG_INIT;
    if (allocator != NULL) {
        engine.allocator = *allocator;
    }
    engine.shard_mode = HPX_SHARDS_POLLED;
    hpx_error error = {0};
    assert_int_equal(hpx_engine_new(&bed->engine, &engine, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(bed->engine, &error), HPX_OK);
    bed->shard = hpx_engine_shard(bed->engine, 0);
    if (hpx_shard_attach(bed->shard, &error) != HPX_OK) {
        fail_msg("attach: %s", error.detail);
    }
    hpx_http_server_config full = HPX_HTTP_SERVER_CONFIG_INIT;
    if (config != NULL) {
        full = *config;
    }
    full.address = "127.0.0.1:0";
    full.on_event = bed_on_event;
    full.user = bed;
    if (hpx_shard_http_listen(bed->shard, &full, &bed->server, &error) != HPX_OK) {
        fail_msg("listen: %s", error.detail);
    }
}

void bed_stop(http_bed *bed)
{
    assert_int_equal(hpx_shard_detach_wait(bed->shard, 5 * HPX_NS_PER_S), HPX_OK);
    assert_int_equal(bed->closed, bed->requests);
    hpx_engine_free(bed->engine);
}

void bed_turn(http_bed *bed)
{
    (void)hpx_shard_poll_wait(bed->shard, HPX_NS_PER_MS);
}

void bed_turns(http_bed *bed, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)hpx_shard_poll(bed->shard);
    }
}

/* ---- Clients --------------------------------------------------------------------------------- */

int bed_connect(const http_bed *bed)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons(hpx_http_server_get_port(bed->server)),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void bed_send(http_bed *bed, int fd, const char *bytes, size_t size)
{
    const uint64_t end_ns = hpx_clock_now_ns() + BED_DEADLINE_NS;
    while (size != 0) {
        const ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        } else if (errno != EAGAIN) {
            return; /* the server has had enough: what it said is read */
        }
        bed_turn(bed);
        assert_true(hpx_clock_now_ns() < end_ns);
    }
}

static void *bed_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void bed_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

static void bed_log(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void bed_log(const char *format, ...)
{
    const size_t used = strlen(bed_text);
    va_list args;
    va_start(args, format);
    (void)vsnprintf(bed_text + used, sizeof(bed_text) - used, format, args);
    va_end(args);
}

/* "keep", or "kept" if the server said so, which only HTTP/1.0 needs. */
static void bed_head(const hpxi_h1_head *head)
{
    const hpx_http_header *said = hpxi_h1_field_find(head->fields, head->field_count, "Connection");
    const bool kept = said != NULL && hpxi_h1_span_has(said->value, "keep-alive");
    bed_log("%u %s ", head->status, kept ? "kept" : head->keep_alive ? "keep" : "last");
    assert_non_null(hpxi_h1_field_find(head->fields, head->field_count, "Date"));
}

/* One event of the reader; whether a response was completed. */
static bool bed_event(hpxi_h1_reader *reader, const hpxi_h1_event *event)
{
    switch (event->kind) {
    case HPXI_H1_EVENT_INTERIM:
        bed_log("%u\n", event->head->status);
        return false;
    case HPXI_H1_EVENT_HEAD:
        bed_head(event->head);
        return false;
    case HPXI_H1_EVENT_DATA:
        if (bed_body_bytes < 60) {
            bed_log("%.*s", (int)event->data.size, (const char *)event->data.data);
        }
        bed_body_bytes += event->data.size;
        return false;
    case HPXI_H1_EVENT_END:
        bed_log("\n");
        return true;
    }
    assert_true(reader == NULL);
    return false;
}

typedef struct bed_reading {
    hpxi_h1_reader reader;
    hpxi_h1_exchange exchange;
    uint32_t count;
} bed_reading;

static void bed_take(bed_reading *r, const uint8_t *data, size_t size)
{
    hpxi_h1_event event;
    int status;
    while ((status = hpxi_h1_reader_next(&r->reader, &data, &size, &event)) == 1) {
        if (bed_event(&r->reader, &event)) {
            r->count++;
            if (hpxi_h1_reader_is_reusable(&r->reader)) {
                hpxi_h1_reader_start(&r->reader, &r->exchange);
            }
        }
    }
    if (status != HPX_E_PARTIAL) {
        fail_msg("the client refuses: %s\n%s", r->reader.error.detail, bed_text);
    }
}

static void bed_end(bed_reading *r, bool clean)
{
    hpxi_h1_event event;
    const int status = hpxi_h1_reader_close(&r->reader, clean, &event);
    if (status == 1) {
        (void)bed_event(&r->reader, &event);
    } else if (status < 0 && r->reader.message_bytes != 0) {
        bed_log("cut ");
    }
    bed_log(clean ? "FIN" : "RST");
}

void bed_read(http_bed *bed, int fd, uint32_t count, bool head)
{
    static const hpx_allocator allocator = {.alloc = bed_alloc, .free = bed_free};
    bed_reading r = {.exchange = {.head = head}};
    bed_text[0] = '\0';
    bed_body_bytes = 0;
    hpxi_h1_reader_init(&r.reader, HPXI_H1_ROLE_CLIENT, &HPXI_H1_LIMITS_DEFAULT, &allocator);
    hpxi_h1_reader_start(&r.reader, &r.exchange);
    const uint64_t end_ns = hpx_clock_now_ns() + BED_DEADLINE_NS;
    while (r.count < count) {
        uint8_t buffer[16384];
        const ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
        if (got > 0) {
            bed_take(&r, buffer, (size_t)got);
        } else if (got == 0 || errno != EAGAIN) {
            bed_end(&r, got == 0);
            break;
        } else {
            bed_turn(bed);
        }
        if (hpx_clock_now_ns() >= end_ns) {
            fail_msg("no answer in time; so far:\n%s", bed_text);
        }
    }
    hpxi_h1_reader_fini(&r.reader);
}

void bed_exchange(http_bed *bed, const char *request, uint32_t count, bool head)
{
    const int fd = bed_connect(bed);
    bed_send(bed, fd, request, strlen(request));
    bed_read(bed, fd, count, head);
    close(fd);
}

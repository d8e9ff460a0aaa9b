/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.c - RFC 9112: bytes into messages. The states and their ends; reader_head.c reads heads.
 *
 * Threads   One thread at a time. Memory: see reader.h.
 */
#include "h1/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "h1/reader_head.h"
#include "ring/quote.h"

#define READER_METHOD_BYTES_MAX 24u
#define READER_START_BYTES_MAX  (READER_METHOD_BYTES_MAX + 1)
#define READER_HEAD_BYTES_MIN   64u

enum {
    READER_BAD_REQUEST = 400,
    READER_FIELDS_TOO_LARGE = 431,
    READER_UNAVAILABLE = 503,
};

void hpxi_h1_reader_init(
    hpxi_h1_reader *reader,
    hpxi_h1_role role,
    const hpxi_h1_limits *limits,
    const hpx_allocator *allocator)
{
    HPX_ASSERT(role == HPXI_H1_ROLE_CLIENT || role == HPXI_H1_ROLE_SERVER);
    HPX_ASSERT(limits->head_bytes_max >= READER_HEAD_BYTES_MIN);
    HPX_ASSERT(limits->head_bytes_max <= INT32_MAX && limits->trailer_bytes_max <= INT32_MAX);
    HPX_ASSERT(limits->trailer_bytes_max >= 2); /* the empty line */
    HPX_ASSERT(limits->fields_max < UINT32_MAX && limits->extension_bytes_max < UINT32_MAX);
    *reader = (hpxi_h1_reader){
        .state = HPXI_H1_STATE_IDLE, .role = role, .limits = *limits, .reusable = true};
    hpxi_h1_lines_init(&reader->lines, allocator);
    hpxi_h1_lines_init(&reader->trailers, allocator);
}

void hpxi_h1_reader_fini(hpxi_h1_reader *reader)
{
    hpxi_h1_lines_fini(&reader->lines);
    hpxi_h1_lines_fini(&reader->trailers);
}

bool hpxi_h1_reader_is_valid(const hpxi_h1_reader *reader)
{
    const hpxi_h1_limits *limits = &reader->limits;
    const bool bounded = reader->head_bytes <= limits->head_bytes_max &&
                         reader->lines.bytes.tail <= limits->head_bytes_max &&
                         reader->trailers.bytes.tail <= limits->trailer_bytes_max &&
                         reader->lines.field_count <= limits->fields_max &&
                         reader->trailers.field_count <= limits->fields_max &&
                         reader->interim_count <= limits->interim_max &&
                         reader->chunked.extension_bytes <= limits->extension_bytes_max + 1;
    const bool length =
        reader->state != HPXI_H1_STATE_BODY || reader->body_bytes < reader->head.body_bytes;
    return bounded && length &&
           (reader->state == HPXI_H1_STATE_FAILED) == (reader->error.status != HPX_OK);
}

hpx_status hpxi_h1_reader_fail(
    hpxi_h1_reader *reader, hpx_status status, uint16_t refusal, const char *format, ...)
{
    HPX_ASSERT(status < 0 && status != HPX_E_PARTIAL);
    HPX_ASSERT(reader->state != HPXI_H1_STATE_FAILED);
    const bool client = reader->role == HPXI_H1_ROLE_CLIENT;
    reader->state = HPXI_H1_STATE_FAILED;
    reader->refusal = client ? 0 : refusal;
    reader->error = (hpx_error){
        .status = status,
        .stage = HPX_STAGE_READY,
        .http_status = client ? reader->head.status : refusal};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reader->error.detail, sizeof(reader->error.detail), format, args);
    va_end(args);
    return status;
}

static const char *reader_noun(const hpxi_h1_reader *reader)
{
    return reader->role == HPXI_H1_ROLE_CLIENT ? "response" : "request";
}

void hpxi_h1_reader_start(hpxi_h1_reader *reader, const hpxi_h1_exchange *exchange)
{
    HPX_ASSERT(hpxi_h1_reader_is_reusable(reader));
    HPX_ASSERT(exchange == NULL || reader->role == HPXI_H1_ROLE_CLIENT);
    reader->exchange = exchange == NULL ? (hpxi_h1_exchange){0} : *exchange;
    reader->head = (hpxi_h1_head){0};
    hpxi_h1_lines_reset(&reader->lines);
    hpxi_h1_lines_reset(&reader->trailers);
    reader->chunked = (hpxi_h1_chunked){0};
    reader->message_bytes = 0;
    reader->body_bytes = 0;
    reader->head_bytes = 0;
    reader->interim_count = 0;
    reader->interim_told = false;
    reader->blank_skipped = false;
    reader->started = false;
    reader->state = HPXI_H1_STATE_HEAD;
}

/* ---- Head ------------------------------------------------------------------------------------ */

/* Can byte number `at` of a head belong to "HTTP/1.x " or to "METHOD "? */
static bool reader_start_allows(hpxi_h1_reader *reader, size_t at, uint8_t byte)
{
    if (reader->role == HPXI_H1_ROLE_SERVER) {
        reader->started = byte == ' ' && at != 0;
        return reader->started || (at < READER_METHOD_BYTES_MAX && hpxi_h1_is_token_byte(byte));
    }
    static const char start[] = "HTTP/1.x ";
    reader->started = at == sizeof(start) - 2;
    return start[at] == 'x' ? byte == '0' || byte == '1' : byte == (uint8_t)start[at];
}

/* What is no HTTP is told by the first byte that shows it, not by the end of a timeout. */
static hpx_status reader_check_start(hpxi_h1_reader *reader, const uint8_t *data, size_t size)
{
    const hpx_span have = hpxi_buf_span(&reader->lines.bytes);
    const size_t room = reader->limits.head_bytes_max - reader->head_bytes - have.size;
    const uint8_t first = have.size != 0 ? have.data[0] : data[0];
    if (first == '\r' && reader->role == HPXI_H1_ROLE_SERVER && !reader->blank_skipped) {
        return HPX_OK; /* to be the empty line before the request line */
    }
    for (size_t i = 0; i < size && i < room && !reader->started; i++) {
        if (!reader_start_allows(reader, have.size + i, data[i])) {
            uint8_t sample[READER_START_BYTES_MAX];
            char quoted[4 * READER_START_BYTES_MAX + 8];
            HPX_ASSERT(have.size + i < sizeof(sample));
            if (have.size != 0) {
                memcpy(sample, have.data, have.size);
            }
            memcpy(sample + have.size, data, i + 1);
            return hpxi_h1_reader_fail(
                reader,
                HPX_E_HTTP_MALFORMED,
                READER_BAD_REQUEST,
                "%s is not HTTP/1.1: it begins with %s",
                reader_noun(reader),
                hpxi_quote(
                    quoted, sizeof(quoted), (hpx_span){.data = sample, .size = have.size + i + 1}));
        }
    }
    return HPX_OK;
}

/* A refusal by hpxi_h1_lines_feed(). */
static hpx_status reader_fail_lines(
    hpxi_h1_reader *reader,
    hpx_status status,
    const char *part,
    uint32_t bytes_max,
    const char *what)
{
    const hpxi_h1_lines *lines =
        reader->state == HPXI_H1_STATE_HEAD ? &reader->lines : &reader->trailers;
    const char *noun = reader_noun(reader);
    if (status == HPX_E_NO_MEMORY) {
        return hpxi_h1_reader_fail(
            reader, status, READER_UNAVAILABLE, "no memory for the %s of the %s", part, noun);
    }
    if (status == HPX_E_HTTP_MALFORMED) {
        return hpxi_h1_reader_fail(
            reader,
            status,
            READER_BAD_REQUEST,
            "%s at byte %zu of the %s's %s",
            what,
            reader->head_bytes * (size_t)(lines == &reader->lines) + lines->bytes.tail,
            noun,
            part);
    }
    const bool bytes = what != NULL;
    return hpxi_h1_reader_fail(
        reader,
        status,
        READER_FIELDS_TOO_LARGE,
        "more than %u %s in the %s's %s",
        bytes ? bytes_max : reader->limits.fields_max,
        bytes ? "bytes" : "fields",
        noun,
        part);
}

/* A 1xx response is complete: the head of another one follows it. */
static int reader_interim_done(hpxi_h1_reader *reader, hpxi_h1_event *event)
{
    if (reader->interim_count == reader->limits.interim_max) {
        return hpxi_h1_reader_fail(
            reader,
            HPX_E_HTTP_TOO_BIG,
            0,
            "more than %u interim responses before the final one",
            reader->limits.interim_max);
    }
    reader->interim_count++;
    reader->interim_told = true;
    *event = (hpxi_h1_event){.kind = HPXI_H1_EVENT_INTERIM, .head = &reader->head};
    return 1;
}

/* The head is complete and good: what comes next, and its event. */
static int reader_head_done(hpxi_h1_reader *reader, hpxi_h1_event *event)
{
    static const hpxi_h1_state next[] = {
        [HPXI_H1_NO_BODY] = HPXI_H1_STATE_END,
        [HPXI_H1_LENGTH] = HPXI_H1_STATE_BODY,
        [HPXI_H1_CHUNKED] = HPXI_H1_STATE_CHUNKED,
        [HPXI_H1_UNTIL_CLOSE] = HPXI_H1_STATE_UNTIL_CLOSE,
        [HPXI_H1_TUNNEL] = HPXI_H1_STATE_TUNNEL,
    };
    hpxi_h1_head *head = &reader->head;
    if (reader->role == HPXI_H1_ROLE_CLIENT && head->status < 200 && head->status != 101) {
        return reader_interim_done(reader, event);
    }
    const bool empty = head->framing == HPXI_H1_LENGTH && head->body_bytes == 0;
    reader->state = empty ? HPXI_H1_STATE_END : next[head->framing];
    head->keep_alive = head->keep_alive && head->framing != HPXI_H1_TUNNEL;
    *event = (hpxi_h1_event){.kind = HPXI_H1_EVENT_HEAD, .head = head};
    return 1;
}

/* The next head begins in an empty buffer; a head of before counts. */
static void reader_head_next(hpxi_h1_reader *reader)
{
    reader->head_bytes += (uint32_t)hpxi_buf_size(&reader->lines.bytes);
    hpxi_h1_lines_reset(&reader->lines);
    reader->head = (hpxi_h1_head){0};
    reader->interim_told = false;
    reader->started = false;
}

static int
reader_next_head(hpxi_h1_reader *reader, const uint8_t **data, size_t *size, hpxi_h1_event *event)
{
    hpxi_h1_lines *lines = &reader->lines;
    const hpxi_h1_limits *limits = &reader->limits;
    int result = HPXI_H1_LINES_FIRST;
    while (result == HPXI_H1_LINES_FIRST) {
        if (*size == 0) {
            return HPX_E_PARTIAL;
        }
        if (reader->interim_told) {
            reader_head_next(reader);
        }
        if (!reader->started && reader_check_start(reader, *data, *size) != HPX_OK) {
            return reader->error.status;
        }
        const char *what = NULL;
        result = hpxi_h1_lines_feed(
            lines,
            limits->head_bytes_max - reader->head_bytes,
            limits->fields_max + 1,
            data,
            size,
            &what);
        if (result < 0 && result != HPX_E_PARTIAL) {
            return reader_fail_lines(reader, result, "head", limits->head_bytes_max, what);
        }
        if (result == HPXI_H1_LINES_FIRST && hpxi_h1_reader_check_first_line(reader) != HPX_OK) {
            return reader->error.status;
        }
        if (result == HPXI_H1_LINES_COMPLETE && !reader->started) {
            reader_head_next(reader);
            reader->blank_skipped = true;
            result = HPXI_H1_LINES_FIRST; /* go on with the request line */
        }
    }
    if (result != HPXI_H1_LINES_COMPLETE) {
        return result;
    }
    const hpx_status status = hpxi_h1_reader_check_head(reader);
    return status == HPX_OK ? reader_head_done(reader, event) : status;
}

/* ---- Body ------------------------------------------------------------------------------------ */

static int reader_data(hpxi_h1_reader *reader, hpx_span data, hpxi_h1_event *event)
{
    HPX_DASSERT(data.size != 0);
    reader->body_bytes += data.size;
    *event = (hpxi_h1_event){.kind = HPXI_H1_EVENT_DATA, .data = data};
    return 1;
}

/* BODY and UNTIL_CLOSE: as much as there is, and as the length allows. */
static int
reader_next_body(hpxi_h1_reader *reader, const uint8_t **data, size_t *size, hpxi_h1_event *event)
{
    if (*size == 0) {
        return HPX_E_PARTIAL;
    }
    hpx_span piece = {.data = *data, .size = *size};
    if (reader->state == HPXI_H1_STATE_BODY) {
        const uint64_t left = reader->head.body_bytes - reader->body_bytes;
        HPX_ASSERT(left != 0);
        piece.size = piece.size < left ? piece.size : (size_t)left;
        reader->state = piece.size == left ? HPXI_H1_STATE_END : HPXI_H1_STATE_BODY;
    }
    *data += piece.size;
    *size -= piece.size;
    return reader_data(reader, piece, event);
}

static int
reader_next_chunk(hpxi_h1_reader *reader, const uint8_t **data, size_t *size, hpxi_h1_event *event)
{
    hpx_span piece = {0};
    const char *what = NULL;
    const int result = hpxi_h1_chunked_next(
        &reader->chunked, reader->limits.extension_bytes_max, data, size, &piece, &what);
    if (result == 1) {
        return reader_data(reader, piece, event);
    }
    if (result == 0) {
        reader->state = HPXI_H1_STATE_TRAILERS;
        return 0;
    }
    if (result == HPX_E_PARTIAL) {
        return result;
    }
    const bool big = result == HPX_E_HTTP_TOO_BIG;
    return hpxi_h1_reader_fail(
        reader,
        result,
        big ? READER_FIELDS_TOO_LARGE : READER_BAD_REQUEST,
        "%s, after %llu bytes of the body",
        what,
        (unsigned long long)reader->body_bytes);
}

static int reader_next_trailers(hpxi_h1_reader *reader, const uint8_t **data, size_t *size)
{
    const hpxi_h1_limits *limits = &reader->limits;
    int result = HPXI_H1_LINES_FIRST;
    const char *what = NULL;
    while (result == HPXI_H1_LINES_FIRST) {
        result = hpxi_h1_lines_feed(
            &reader->trailers, limits->trailer_bytes_max, limits->fields_max, data, size, &what);
    }
    if (result == HPX_E_PARTIAL) {
        return result;
    }
    if (result < 0) {
        return reader_fail_lines(reader, result, "trailers", limits->trailer_bytes_max, what);
    }
    const hpx_status status = hpxi_h1_reader_check_trailers(reader);
    reader->state = status == HPX_OK ? HPXI_H1_STATE_END : reader->state;
    return status;
}

static int reader_end(hpxi_h1_reader *reader, hpxi_h1_event *event)
{
    *event = (hpxi_h1_event){
        .kind = HPXI_H1_EVENT_END,
        .trailers = reader->trailers.fields,
        .trailer_count = reader->trailers.field_count};
    reader->state = HPXI_H1_STATE_IDLE;
    reader->reusable = reader->head.keep_alive;
    return 1;
}

/* ---- Driver ---------------------------------------------------------------------------------- */

/* A byte that nobody asked for: a response to no request, or what follows the last request. */
static int reader_next_idle(hpxi_h1_reader *reader, const uint8_t *data, size_t size)
{
    return size == 0 ? HPX_E_PARTIAL
                     : hpxi_h1_reader_fail(
                           reader,
                           HPX_E_HTTP_MALFORMED,
                           READER_BAD_REQUEST,
                           "byte 0x%02x where no %s was expected",
                           data[0],
                           reader_noun(reader));
}

static int
reader_step(hpxi_h1_reader *reader, const uint8_t **data, size_t *size, hpxi_h1_event *event)
{
    if (reader->state == HPXI_H1_STATE_CHUNKED) {
        const int result = reader_next_chunk(reader, data, size, event);
        if (result != 0) {
            return result;
        }
    }
    if (reader->state == HPXI_H1_STATE_TRAILERS) {
        const int result = reader_next_trailers(reader, data, size);
        if (result != 0) {
            return result;
        }
    }
    switch (reader->state) {
    case HPXI_H1_STATE_IDLE:
        return reader_next_idle(reader, *data, *size);
    case HPXI_H1_STATE_HEAD:
        return reader_next_head(reader, data, size, event);
    case HPXI_H1_STATE_BODY:
    case HPXI_H1_STATE_UNTIL_CLOSE:
        return reader_next_body(reader, data, size, event);
    case HPXI_H1_STATE_END:
        return reader_end(reader, event);
    case HPXI_H1_STATE_TUNNEL:
        return 0;
    default:
        HPX_ASSERT(reader->state == HPXI_H1_STATE_FAILED);
        return reader->error.status;
    }
}

int hpxi_h1_reader_next(
    hpxi_h1_reader *reader, const uint8_t **data, size_t *size, hpxi_h1_event *event)
{
    HPX_ASSERT(*data != NULL || *size == 0);
    HPX_XASSERT(hpxi_h1_reader_is_valid(reader));
    const size_t before = *size;
    const int result = reader_step(reader, data, size, event);
    reader->message_bytes += before - *size;
    HPX_XASSERT(hpxi_h1_reader_is_valid(reader));
    HPX_DASSERT(result != HPX_E_PARTIAL || *size == 0);
    return result;
}

/* What is missing when the connection ends in this state. */
static hpx_status reader_fail_cut(hpxi_h1_reader *reader, bool clean)
{
    const char *noun = reader_noun(reader);
    const char *how = clean ? "ended" : "broke";
    const unsigned long long body = reader->body_bytes;
    if (reader->state == HPXI_H1_STATE_HEAD) {
        return reader->message_bytes == 0
                   ? hpxi_h1_reader_fail(
                         reader,
                         HPX_E_EOF,
                         READER_BAD_REQUEST,
                         "connection %s before the first byte of the %s",
                         how,
                         noun)
                   : hpxi_h1_reader_fail(
                         reader,
                         HPX_E_EOF,
                         READER_BAD_REQUEST,
                         "connection %s within the head of the %s, after %llu bytes",
                         how,
                         noun,
                         (unsigned long long)reader->message_bytes);
    }
    if (reader->state == HPXI_H1_STATE_BODY) {
        return hpxi_h1_reader_fail(
            reader,
            HPX_E_EOF,
            READER_BAD_REQUEST,
            "connection %s after %llu of %llu bytes of the body",
            how,
            body,
            (unsigned long long)reader->head.body_bytes);
    }
    return hpxi_h1_reader_fail(
        reader,
        HPX_E_EOF,
        READER_BAD_REQUEST,
        "connection %s after %llu bytes of the body, %s",
        how,
        body,
        reader->state == HPXI_H1_STATE_UNTIL_CLOSE ? "which only a clean end completes"
                                                   : "before its last chunk was complete");
}

int hpxi_h1_reader_close(hpxi_h1_reader *reader, bool clean, hpxi_h1_event *event)
{
    HPX_XASSERT(hpxi_h1_reader_is_valid(reader));
    switch (reader->state) {
    case HPXI_H1_STATE_IDLE:
        reader->reusable = false;
        return 0;
    case HPXI_H1_STATE_TUNNEL:
        return 0;
    case HPXI_H1_STATE_FAILED:
        return reader->error.status;
    case HPXI_H1_STATE_UNTIL_CLOSE:
        if (!clean) {
            return reader_fail_cut(reader, clean);
        }
        break;
    case HPXI_H1_STATE_END:
        break;
    default:
        return reader_fail_cut(reader, clean);
    }
    (void)reader_end(reader, event);
    reader->reusable = false;
    return 1;
}

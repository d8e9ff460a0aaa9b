/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/h2/duo.h"

#include <stdio.h>

#include "tests/support/test.h"

#define RAW_HEADER_BYTES 9u
#define DUO_ROUNDS_MAX   100000u

/* ---- The log -------------------------------------------------------------------------------- */

void side_log(duo_side *side, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const size_t room = sizeof(side->log) - side->log_size;
    const int size = vsnprintf(side->log + side->log_size, room, format, args);
    va_end(args);
    assert_true(size >= 0 && (size_t)size < room);
    side->log_size += (size_t)size;
}

const char *side_told(duo_side *side)
{
    side->log[side->log_size] = '\0';
    side->log_size = 0;
    return side->log;
}

static uint32_t body_index(uint32_t stream_id)
{
    return stream_id / 2 % DUO_BODIES;
}

static void log_head(duo_side *side, const char *kind, uint32_t id, const hpxi_h2_event *event)
{
    side_log(side, "%s %u", kind, id);
    if (event->head.status != 0) {
        side_log(side, " %u", event->head.status);
    }
    if (event->head.method.size != 0) {
        side_log(
            side,
            " %.*s %.*s %.*s %.*s",
            (int)event->head.method.size,
            (const char *)event->head.method.data,
            (int)event->head.scheme.size,
            (const char *)event->head.scheme.data,
            (int)event->head.authority.size,
            (const char *)event->head.authority.data,
            (int)event->head.path.size,
            (const char *)event->head.path.data);
    }
    for (uint32_t i = 0; i < event->head.field_count; i++) {
        const hpxi_h2_field *field = &event->head.fields[i];
        side_log(
            side,
            " %.*s%s=%.*s",
            (int)field->name.size,
            (const char *)field->name.data,
            field->is_sensitive ? "!" : "",
            (int)field->value.size,
            (const char *)field->value.data);
    }
    side_log(side, "\n");
}

static void log_end(duo_side *side, uint32_t id)
{
    const uint32_t index = body_index(id);
    const size_t size = side->bodies[index].size;
    side_log(side, "END %u %zu bytes", id, size);
    if (size != 0 && size <= 64) {
        side_log(side, " \"%.*s\"", (int)size, (const char *)side->bodies[index].bytes);
    }
    side_log(side, "\n");
}

static void log_closed(duo_side *side, const hpxi_h2_event *event)
{
    side_log(
        side,
        "CLOSED %s code=%u peer=%d processed=%s\n",
        hpx_status_name(event->closed.status),
        event->closed.code,
        event->closed.by_peer,
        event->closed.processed == HPXI_H2_PROCESSED_NO ? "no" : "unknown");
}

static void log_connection(duo_side *side, const hpxi_h2_event *event)
{
    switch (event->kind) {
    case HPXI_H2_SETTINGS:
        side_log(
            side,
            "SETTINGS streams=%u window=%u first=%d\n",
            event->settings.streams_max,
            event->settings.window_bytes,
            event->settings.is_first);
        break;
    case HPXI_H2_GOAWAY:
        side_log(
            side, "GOAWAY last=%u code=%u\n", event->goaway.last_stream_id, event->goaway.code);
        break;
    default:
        side->pong_count++;
        side->window_bytes = event->pong.window_bytes;
        break;
    }
}

static void log_event(duo_side *side, const hpxi_h2_event *event)
{
    const uint32_t id = hpxi_h2_stream_id(side->h2, event->stream);
    switch (event->kind) {
    case HPXI_H2_INFORMATIONAL:
        log_head(side, "INFORMATIONAL", id, event);
        break;
    case HPXI_H2_RESPONSE:
        log_head(side, "RESPONSE", id, event);
        break;
    case HPXI_H2_REQUEST:
        log_head(side, "REQUEST", id, event);
        break;
    case HPXI_H2_TRAILERS:
        log_head(side, "TRAILERS", id, event);
        break;
    case HPXI_H2_END:
        log_end(side, id);
        break;
    case HPXI_H2_CLOSED:
        assert_int_equal(id, 0); /* the handle is stale when its last event is delivered */
        log_closed(side, event);
        break;
    case HPXI_H2_DATA:
        break;
    default:
        log_connection(side, event);
        break;
    }
}

/* ---- Feeding -------------------------------------------------------------------------------- */

static void gather_body(duo_side *side, const hpxi_h2_event *event)
{
    const uint32_t index = body_index(hpxi_h2_stream_id(side->h2, event->stream));
    if (event->kind == HPXI_H2_REQUEST || event->kind == HPXI_H2_RESPONSE) {
        side->bodies[index].size = 0;
    }
    if (event->kind != HPXI_H2_DATA) {
        return;
    }
    assert_true(event->data.size != 0);
    side->last_size = event->data.size;
    side->data_bytes += event->data.size;
    for (size_t i = 0; i < event->data.size; i++) {
        if (side->bodies[index].size < DUO_BODY_BYTES) {
            side->bodies[index].bytes[side->bodies[index].size] = event->data.data[i];
        }
        side->bodies[index].size++;
    }
}

static void answer_empty(duo_side *side, const hpxi_h2_event *event)
{
    if (event->kind == HPXI_H2_REQUEST) {
        const hpx_status status =
            hpxi_h2_respond(side->h2, event->stream, 200, NULL, 0, NULL, NULL);
        assert_true(status == HPX_OK || status == HPX_E_NO_MEMORY);
    }
}

static void take_event(duo_side *side, const hpxi_h2_event *event)
{
    gather_body(side, event);
    if (!side->is_quiet) {
        log_event(side, event);
    }
    if (event->stream != HPXI_H2_NO_STREAM) {
        side->last = event->stream;
    }
    side->closed_count += event->kind == HPXI_H2_CLOSED;
    if (event->kind == HPXI_H2_DATA && !side->keeps_data) {
        hpxi_h2_consume(side->h2, event->stream, event->data.size);
    }
    if (side->on_event != NULL) {
        side->on_event(side, event);
    }
}

static void note_status(duo_side *side, hpx_status status)
{
    if (status < 0 && status != HPX_E_PARTIAL) {
        assert_true(side->status == HPX_OK || side->status == status); /* the same for ever */
        side->status = status;
    }
}

static void feed_piece(duo_side *side, const uint8_t *data, size_t size)
{
    uint8_t *block = malloc(size == 0 ? 1 : size);
    assert_non_null(block);
    if (size != 0) {
        memcpy(block, data, size);
    }
    const uint8_t *at = block;
    hpxi_h2_event event;
    hpx_status status;
    while ((status = hpxi_h2_next(side->h2, &at, &size, &side->out, *side->now_ns, &event)) == 1) {
        take_event(side, &event);
    }
    assert_int_equal(size, 0);
    note_status(side, status);
    free(block);
}

void side_feed(duo_side *side, const void *data, size_t size, size_t cut)
{
    const uint8_t *at = data;
    size_t take;
    do {
        take = cut != 0 && cut < size ? cut : size;
        feed_piece(side, at, take);
        size -= take;
        at = size == 0 ? at : at + take;
    } while (size != 0);
}

hpx_status side_flush(duo_side *side)
{
    const hpx_status status = hpxi_h2_flush(
        side->h2, &side->out, hpxi_buf_size(&side->out) + DUO_OUT_BYTES, *side->now_ns);
    note_status(side, status);
    return status;
}

/* ---- The pair ------------------------------------------------------------------------------- */

static bool side_init(
    duo *d, duo_side *side, const char *name, const hpxi_h2_config *config, duo_handler on_event)
{
    side->name = name;
    side->now_ns = &d->now_ns;
    side->on_event = on_event;
    hpxi_buf_init(&side->out, &d->allocator);
    return hpxi_h2_new(&side->h2, config, &d->allocator, d->now_ns) == HPX_OK;
}

bool duo_init_with(
    duo *d, hpx_allocator allocator, const hpxi_h2_config *client, const hpxi_h2_config *server)
{
    *d = (duo){.memory = FAILING_ALLOCATOR_NEVER, .now_ns = DUO_START_NS};
    d->allocator = allocator.alloc == NULL ? fa_allocator(&d->memory) : allocator;
    client = client == NULL ? &hpxi_h2_config_client : client;
    server = server == NULL ? &hpxi_h2_config_server : server;
    if (!side_init(d, &d->client, "client", client, NULL) ||
        !side_init(d, &d->server, "server", server, answer_empty)) {
        duo_fini(d);
        return false;
    }
    return true;
}

bool duo_init(duo *d, const hpxi_h2_config *client, const hpxi_h2_config *server)
{
    return duo_init_with(d, (hpx_allocator){0}, client, server);
}

bool duo_init_alone(duo *d, const hpxi_h2_config *config)
{
    *d = (duo){.memory = FAILING_ALLOCATOR_NEVER, .now_ns = DUO_START_NS};
    d->allocator = fa_allocator(&d->memory);
    return config->is_server ? side_init(d, &d->server, "server", config, answer_empty)
                             : side_init(d, &d->client, "client", config, NULL);
}

duo_side *duo_alone(duo *d)
{
    return d->client.h2 != NULL ? &d->client : &d->server;
}

static void side_fini(duo_side *side)
{
    hpxi_h2_free(side->h2);
    side->h2 = NULL;
    if (side->out.allocator != NULL) {
        hpxi_buf_fini(&side->out);
    }
}

void duo_fini(duo *d)
{
    side_fini(&d->client);
    side_fini(&d->server);
    assert_int_equal(d->memory.live, 0);
    assert_int_equal(d->memory.bytes, 0);
}

size_t duo_move(duo *d, duo_side *from, duo_side *to)
{
    (void)side_flush(from);
    const hpx_span bytes = hpxi_buf_span(&from->out);
    if (bytes.size != 0) {
        side_feed(to, bytes.data, bytes.size, d->cut);
        hpxi_buf_consume(&from->out, bytes.size);
    }
    side_feed(from, NULL, 0, 0); /* what its flush brought */
    return bytes.size;
}

void duo_run(duo *d)
{
    uint32_t rounds = 0;
    while (duo_move(d, &d->client, &d->server) + duo_move(d, &d->server, &d->client) != 0) {
        assert_true(rounds++ < DUO_ROUNDS_MAX);
    }
}

/* ---- Requests ------------------------------------------------------------------------------- */

hpxi_h2_field field_of(const char *name, const char *value)
{
    return (hpxi_h2_field){.name = hpx_span_of(name), .value = hpx_span_of(value)};
}

hpxi_h2_stream side_request_with(
    duo_side *side,
    const char *method,
    const char *path,
    const hpxi_h2_field *fields,
    uint32_t field_count,
    const hpxi_h2_body *body)
{
    const hpxi_h2_request_head head = {
        .method = hpx_span_of(method),
        .scheme = hpx_span_of("https"),
        .authority = hpx_span_of("example.com"),
        .path = hpx_span_of(path),
        .fields = fields,
        .field_count = field_count};
    hpxi_h2_stream stream;
    hpx_error error = {0};
    const hpx_status status = hpxi_h2_request(side->h2, &stream, &head, body, side->ctx, &error);
    if (status == HPX_E_NO_MEMORY) {
        return HPXI_H2_NO_STREAM; /* a test of failing allocations */
    }
    if (status != HPX_OK) {
        fail_msg("request: %s: %s", hpx_status_name(status), error.detail);
    }
    return stream;
}

hpxi_h2_stream side_request(duo_side *side, const char *method, const char *path)
{
    return side_request_with(side, method, path, NULL, 0, NULL);
}

/* ---- Frames by hand ------------------------------------------------------------------------- */

void raw_frame(
    hpxi_buf *to, uint8_t type, uint8_t flags, uint32_t stream_id, const void *payload, size_t size)
{
    const uint8_t header[RAW_HEADER_BYTES] = {
        (uint8_t)(size >> 16),
        (uint8_t)(size >> 8),
        (uint8_t)size,
        type,
        flags,
        (uint8_t)(stream_id >> 24),
        (uint8_t)(stream_id >> 16),
        (uint8_t)(stream_id >> 8),
        (uint8_t)stream_id};
    assert_true(hpxi_buf_append(to, header, sizeof(header)));
    assert_true(hpxi_buf_append(to, payload, size));
}

static void raw_string(hpxi_buf *to, const char *text)
{
    const size_t size = strlen(text);
    assert_true(size < 127 + 128); /* one or two bytes of length */
    if (size < 127) {
        const uint8_t length = (uint8_t)size;
        assert_true(hpxi_buf_append(to, &length, 1));
    } else {
        const uint8_t length[2] = {127, (uint8_t)(size - 127)};
        assert_true(hpxi_buf_append(to, length, 2));
    }
    assert_true(hpxi_buf_append(to, text, size));
}

void raw_field(hpxi_buf *to, const char *name, const char *value)
{
    static const uint8_t literal = 0x00;
    assert_true(hpxi_buf_append(to, &literal, 1));
    raw_string(to, name);
    raw_string(to, value);
}

void raw_hello(hpxi_buf *to, bool as_client)
{
    static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    if (as_client) {
        assert_true(hpxi_buf_append(to, magic, sizeof(magic) - 1));
    }
    raw_frame(to, RAW_SETTINGS, 0, 0, NULL, 0);
}

static uint32_t raw_number(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Past the preface, if it begins with one. */
static hpx_span raw_frames(hpx_span bytes)
{
    if (bytes.size >= 24 && memcmp(bytes.data, "PRI * ", 6) == 0) {
        return (hpx_span){.data = bytes.data + 24, .size = bytes.size - 24};
    }
    return bytes;
}

static size_t raw_frame_bytes(hpx_span at)
{
    assert_true(at.size >= RAW_HEADER_BYTES);
    const size_t size = RAW_HEADER_BYTES + (raw_number(at.data) >> 8);
    assert_true(size <= at.size);
    return size;
}

uint32_t raw_goaway_code(hpx_span bytes, uint32_t *last_stream_id)
{
    hpx_span at = raw_frames(bytes);
    while (at.size != 0) {
        const size_t size = raw_frame_bytes(at);
        if (at.data[3] == RAW_GOAWAY) {
            assert_true(size >= RAW_HEADER_BYTES + 8);
            if (last_stream_id != NULL) {
                *last_stream_id = raw_number(at.data + RAW_HEADER_BYTES);
            }
            return raw_number(at.data + RAW_HEADER_BYTES + 4);
        }
        at.data += size;
        at.size -= size;
    }
    return UINT32_MAX;
}

uint32_t raw_count(hpx_span bytes, uint8_t type, uint32_t stream_id)
{
    uint32_t count = 0;
    hpx_span at = raw_frames(bytes);
    while (at.size != 0) {
        const size_t size = raw_frame_bytes(at);
        count += at.data[3] == type && (stream_id == 0 || raw_number(at.data + 5) == stream_id);
        at.data += size;
        at.size -= size;
    }
    return count;
}

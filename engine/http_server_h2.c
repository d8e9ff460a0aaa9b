/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server_h2.c - HTTP/2 on a server's connection: a call is a stream.
 *
 * Role      Drives the session (h2/session.h). A call's request is copied out of it, for its views
 *           do not last until the body is complete; its answer waits in the call until the session
 *           takes it. A call is DONE when its stream has ended.
 * Threads   The shard's.
 */
#include <stdio.h>
#include <string.h>

#include "engine/error.h"
#include "engine/http_server.h"

/* Frames are made while less than this waits to be encrypted or sent. */
#define H2_QUEUE_BYTES (256u << 10)

#define CONN_OF_TIMER(timer)                                                                       \
    ((hpxi_server_conn *)(void *)((char *)(timer)-offsetof(hpxi_server_conn, h2_timer)))

static uint64_t h2_now(const hpxi_server_conn *conn)
{
    return conn->shard->owner.now_ns;
}

bool hpxi_server_h2_open(hpxi_server_conn *conn)
{
    return hpxi_h2_new(&conn->h2, &conn->server->h2_config, conn->shard->allocator, h2_now(conn)) ==
           HPX_OK;
}

/* ---- Requests -------------------------------------------------------------------------------- */

static hpx_span h2_copy(hpx_http_call *call, hpx_span from)
{
    uint8_t *to = call->head.data + call->head.tail;
    if (from.size != 0) {
        memcpy(to, from.data, from.size);
    }
    hpxi_buf_commit(&call->head, from.size);
    return (hpx_span){.data = to, .size = from.size};
}

/* Fields first, for their alignment, then all their bytes: reserved at once, so nothing moves. */
static bool h2_copy_head(hpx_http_call *call, const hpxi_h2_event *event)
{
    const uint32_t count = event->head.field_count;
    size_t bytes = count * sizeof(hpx_http_header) + event->head.method.size +
                   event->head.path.size + event->head.authority.size;
    for (uint32_t i = 0; i < count; i++) {
        bytes += event->head.fields[i].name.size + event->head.fields[i].value.size;
    }
    HPX_ASSERT(hpxi_buf_size(&call->head) == 0);
    hpx_http_header *headers =
        (hpx_http_header *)(void *)hpxi_buf_reserve(&call->head, bytes == 0 ? 1 : bytes);
    if (headers == NULL) {
        return false;
    }
    HPX_ASSERT((uintptr_t)headers % _Alignof(hpx_http_header) == 0);
    hpxi_buf_commit(&call->head, count * sizeof(headers[0]));
    for (uint32_t i = 0; i < count; i++) {
        headers[i].name = h2_copy(call, event->head.fields[i].name);
        headers[i].value = h2_copy(call, event->head.fields[i].value);
    }
    call->info.headers = headers;
    call->info.header_count = count;
    call->info.method = h2_copy(call, event->head.method);
    call->info.target = h2_copy(call, event->head.path);
    call->info.authority = h2_copy(call, event->head.authority);
    return true;
}

static void h2_on_request(hpxi_server_conn *conn, const hpxi_h2_event *event)
{
    const bool first = conn->calls == NULL;
    hpx_http_call *call = hpxi_call_new(conn);
    if (call != NULL && !h2_copy_head(call, event)) {
        call->refused = true; /* its CLOSED frees it */
        hpxi_call_done(call, NULL);
        call = NULL;
    }
    if (call == NULL) {
        (void)hpxi_h2_reset(conn->h2, event->stream, HPXI_H2_REFUSED_STREAM, NULL);
        return;
    }
    call->stream = event->stream;
    (void)hpxi_h2_set_user(conn->h2, event->stream, call);
    const hpx_http_header *expect =
        hpxi_h1_field_find(call->info.headers, call->info.header_count, "expect");
    if (expect != NULL && hpxi_h1_span_has(expect->value, "100-continue")) {
        (void)hpxi_h2_inform(conn->h2, event->stream, 100, NULL, 0, NULL); /* else it waits */
    }
    if (first) {
        hpxi_server_watch(conn);
    }
}

/* Its body is too large: 413, and what still comes of it is dropped. */
static void h2_refuse(hpxi_server_conn *conn, hpx_http_call *call)
{
    static const hpxi_h2_body none;
    call->refused = true;
    conn->server->stats.refused++;
    (void)hpxi_h2_respond(conn->h2, call->stream, 413, NULL, 0, &none, NULL);
}

static void h2_on_data(hpxi_server_conn *conn, hpx_http_call *call, const hpxi_h2_event *event)
{
    const size_t size = event->data.size;
    if (call != NULL && !call->refused) {
        const bool fits = size <= conn->server->config.body_bytes_max - hpxi_buf_size(&call->body);
        if (!fits || !hpxi_buf_append(&call->body, event->data.data, size)) {
            h2_refuse(conn, call);
        }
    }
    hpxi_h2_consume(conn->h2, event->stream, size);
}

static void h2_on_closed(hpx_http_call *call, const hpxi_h2_event *event)
{
    if (call == NULL) {
        return;
    }
    const hpx_status status = event->closed.status;
    hpx_error error;
    if (status != HPX_OK) {
        (void)hpxi_error_set(
            &error,
            status,
            HPX_STAGE_NONE,
            "the stream ended with %s%s",
            hpxi_h2_code_name(event->closed.code),
            event->closed.by_peer ? " from the peer" : "");
        error.h2_error = event->closed.code;
    }
    hpxi_call_done(call, status == HPX_OK ? NULL : &error);
    hpxi_call_mark_settle(call);
}

static void h2_on_event(hpxi_server_conn *conn, const hpxi_h2_event *event)
{
    hpx_http_call *call = event->user;
    switch (event->kind) {
    case HPXI_H2_REQUEST:
        h2_on_request(conn, event);
        return;
    case HPXI_H2_DATA:
        h2_on_data(conn, call, event);
        return;
    case HPXI_H2_END:
        if (call != NULL && !call->refused) {
            hpxi_call_announce(call);
        }
        return;
    case HPXI_H2_CLOSED:
        h2_on_closed(call, event);
        return;
    default:
        return; /* SETTINGS, PONG, GOAWAY: the session's business; TRAILERS are dropped */
    }
}

/* ---- The session ----------------------------------------------------------------------------- */

static void h2_read(hpxi_server_conn *conn, const uint8_t *data, size_t size)
{
    hpxi_h2_event event;
    hpx_status status = 1;
    while (conn->state == HPXI_SERVER_HTTP2 && status == 1) {
        status = hpxi_h2_next(conn->h2, &data, &size, hpxi_server_out(conn), h2_now(conn), &event);
        if (status == 1) {
            h2_on_event(conn, &event);
        }
    }
    if (conn->state != HPXI_SERVER_HTTP2) {
        return;
    }
    if (status != HPX_E_PARTIAL) { /* it failed; its GOAWAY is in the buffer */
        conn->server->stats.refused += status != HPX_E_EOF;
        hpxi_server_finish(conn);
    }
}

void hpxi_server_h2_bytes(hpxi_server_conn *conn, const uint8_t *data, size_t size)
{
    h2_read(conn, data, size);
    hpxi_server_mark(conn); /* answers of the session */
}

static const uint8_t h2_nothing[1];

void hpxi_server_h2_end(hpxi_server_conn *conn)
{
    hpxi_h2_eof(conn->h2);
    h2_read(conn, h2_nothing, 0);
    hpxi_server_finish(conn);
}

void hpxi_server_h2_flush(hpxi_server_conn *conn)
{
    hpxi_buf *out = hpxi_server_out(conn);
    const hpx_status status = hpxi_h2_flush(conn->h2, out, H2_QUEUE_BYTES, h2_now(conn));
    h2_read(conn, h2_nothing, 0); /* streams that ended with what was just written */
    if (conn->state != HPXI_SERVER_HTTP2) {
        return;
    }
    if (hpxi_h2_is_drained(conn->h2)) {
        hpxi_server_finish(conn);
        return;
    }
    if (status == 1 && !conn->sock->stuck) {
        hpxi_server_mark(conn); /* more waits for room: go on in the next turn; else on_drain */
    }
    const uint64_t next = hpxi_h2_deadline_ns(conn->h2);
    if (next == HPX_NEVER) {
        hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->h2_timer);
    } else {
        hpxi_wheel_set(&conn->shard->owner.wheel, &conn->h2_timer, next);
    }
}

void hpxi_server_h2_timer(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_server_mark(CONN_OF_TIMER(timer));
}

/* ---- Answers --------------------------------------------------------------------------------- */

/* The session takes the next bytes of an answer. */
static ptrdiff_t h2_pull(void *ctx, uint8_t *to, size_t room, bool *is_last)
{
    hpx_http_call *call = ctx;
    hpx_span waiting = hpxi_buf_span(&call->out);
    const size_t some = waiting.size < room ? waiting.size : room;
    if (some != 0) {
        memcpy(to, waiting.data, some);
        hpxi_buf_consume(&call->out, some);
    }
    if (call->want_writable) {
        hpxi_call_mark_settle(call);
    }
    *is_last = call->out_ended && some == waiting.size;
    return some == 0 && !*is_last ? HPX_E_AGAIN : (ptrdiff_t)some;
}

/* Lower-case copies of the names in the server's scratch buffer. NULL: no memory. */
static uint8_t *h2_lower_names(hpxi_buf *names, const hpx_http_header *headers, uint32_t count)
{
    size_t bytes = 1;
    for (uint32_t i = 0; i < count; i++) {
        bytes += headers[i].name.size;
    }
    hpxi_buf_consume(names, hpxi_buf_size(names));
    uint8_t *to = hpxi_buf_reserve(names, bytes);
    if (to == NULL) {
        return NULL;
    }
    uint8_t *at = to;
    for (uint32_t i = 0; i < count; i++) {
        for (size_t k = 0; k < headers[i].name.size; k++) {
            const uint8_t byte = headers[i].name.data[k];
            *at++ = byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
        }
    }
    return to;
}

hpx_status hpxi_server_h2_head(
    hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    hpx_error *error)
{
    hpxi_server_conn *conn = call->conn;
    const uint8_t *name = h2_lower_names(&conn->server->names, headers, header_count);
    if (name == NULL) {
        return HPX_E_NO_MEMORY;
    }
    hpxi_h2_field fields[HPXI_SERVER_FIELDS_MAX];
    uint32_t count = 0;
    bool has_date = false;
    for (uint32_t i = 0; i < header_count; i++) {
        fields[count].name = (hpx_span){.data = name, .size = headers[i].name.size};
        fields[count].value = headers[i].value;
        fields[count].is_sensitive = false;
        has_date = has_date || hpxi_h1_span_is(fields[count].name, "date");
        name += headers[i].name.size;
        count++;
    }
    if (!has_date) {
        fields[count++] = (hpxi_h2_field){
            .name = hpx_span_of("date"), .value = hpx_span_of(hpxi_server_date(conn->server))};
    }
    char length[24];
    if (call->body_bytes != HPX_HTTP_SIZE_UNKNOWN && status != 204 && status != 304) {
        (void)snprintf(length, sizeof(length), "%llu", (unsigned long long)call->body_bytes);
        fields[count++] =
            (hpxi_h2_field){.name = hpx_span_of("content-length"), .value = hpx_span_of(length)};
    }
    const bool empty = call->no_body || call->body_bytes == 0;
    const hpxi_h2_body body = {.pull = empty ? NULL : h2_pull, .pull_ctx = empty ? NULL : call};
    const hpx_status result =
        hpxi_h2_respond(conn->h2, call->stream, status, fields, count, &body, error);
    /* Anything but these: the stream or the session has ended, and CLOSED is on its way. */
    return result == HPX_OK || result == HPX_E_INVALID || result == HPX_E_NO_MEMORY ? result
                                                                                    : HPX_E_STATE;
}

void hpxi_server_h2_abort(hpx_http_call *call)
{
    hpxi_server_conn *conn = call->conn;
    (void)hpxi_h2_reset(conn->h2, call->stream, HPXI_H2_INTERNAL_ERROR, NULL);
    hpxi_server_mark(conn);
}

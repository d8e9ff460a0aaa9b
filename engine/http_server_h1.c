/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server_h1.c - HTTP/1.1 on a server's connection: one request at a time.
 *
 * Role      What comes while a request is being answered (pipelining, RFC 9112 9.3.2) is held, and
 *           the peer throttled once that is much; so answers leave in the order of the requests.
 * Threads   The shard's.
 */
#include <stdio.h>
#include <string.h>

#include "engine/error.h"
#include "engine/http_server.h"
#include "h1/writer.h"

#define H1_HELD_MAX (64u << 10) /* then no more is received until the answer is out */

void hpxi_server_h1_open(hpxi_server_conn *conn)
{
    hpxi_h1_reader_init(
        &conn->reader, HPXI_H1_ROLE_SERVER, &conn->server->h1_limits, conn->shard->allocator);
    conn->reader_made = true;
    hpxi_h1_reader_start(&conn->reader, NULL);
}

/* The call whose body is being received; NULL between requests, and while one is answered. */
static hpx_http_call *h1_receiving(const hpxi_server_conn *conn)
{
    hpx_http_call *call = conn->calls;
    return call != NULL && call->phase == HPXI_CALL_RECEIVING ? call : NULL;
}

void hpxi_server_h1_refuse(hpxi_server_conn *conn, uint16_t status, const char *detail)
{
    hpx_http_call *call = h1_receiving(conn);
    char body[HPX_ERROR_DETAIL_BYTES + 1];
    const int bytes = snprintf(body, sizeof(body), "%s\n", detail);
    HPX_ASSERT(bytes > 0 && (size_t)bytes < sizeof(body));
    const hpx_http_header fields[] = {
        hpx_http_header_of("Date", hpxi_server_date(conn->server)),
        hpx_http_header_of("Content-Type", "text/plain")};
    const hpxi_h1_response response = {
        .status = status,
        .fields = fields,
        .field_count = sizeof(fields) / sizeof(fields[0]),
        .body = HPXI_H1_BODY_LENGTH,
        .body_bytes = (uint64_t)bytes,
        .close = true};
    hpxi_buf *out = hpxi_server_out(conn);
    if (hpxi_h1_response_write(out, &response, NULL) == HPX_OK) {
        (void)hpxi_buf_append(out, body, (size_t)bytes);
    }
    conn->server->stats.refused++;
    hpxi_server_finish(conn);
    if (call != NULL) {
        hpxi_call_done(call, NULL);
    }
}

/* ---- Bytes in -------------------------------------------------------------------------------- */

static bool h1_on_head(hpxi_server_conn *conn, const hpxi_h1_head *head)
{
    const hpx_http_server_config *config = &conn->server->config;
    hpx_http_call *call = hpxi_call_new(conn);
    if (call == NULL) {
        hpxi_server_fail_with(conn, HPX_E_NO_MEMORY, "no memory for a request");
        return false;
    }
    conn->request_count++;
    call->info.method = head->method;
    call->info.target = head->target;
    call->info.authority = head->host;
    call->info.headers = head->fields;
    call->info.header_count = head->field_count;
    const uint8_t *target = head->target.data;
    if (target[0] != '/' && target[0] != '*' && !hpxi_h1_span_is(head->method, "CONNECT")) {
        /* http://host/path: the host in front counts, not Host (RFC 9112 3.2.2) */
        const uint8_t *end = target + head->target.size;
        const uint8_t *host = (const uint8_t *)memchr(target, ':', head->target.size) + 3;
        const uint8_t *path = host;
        while (path < end && *path != '/' && *path != '?') {
            path++;
        }
        call->info.authority = (hpx_span){.data = host, .size = (size_t)(path - host)};
        call->info.target = (hpx_span){.data = path, .size = (size_t)(end - path)};
    }
    if (head->framing == HPXI_H1_LENGTH && head->body_bytes > config->body_bytes_max) {
        hpxi_server_h1_refuse(conn, 413, "the body is too large");
        return false;
    }
    if (head->expects_continue) {
        (void)hpxi_h1_continue_write(hpxi_server_out(conn)); /* no memory: it waits, then sends */
        hpxi_server_mark(conn);
    }
    return true;
}

static bool h1_on_data(hpxi_server_conn *conn, hpx_span data)
{
    hpx_http_call *call = h1_receiving(conn);
    HPX_ASSERT(call != NULL);
    if (data.size > conn->server->config.body_bytes_max - hpxi_buf_size(&call->body)) {
        hpxi_server_h1_refuse(conn, 413, "the body is too large");
        return false;
    }
    if (!hpxi_buf_append(&call->body, data.data, data.size)) {
        hpxi_server_fail_with(conn, HPX_E_NO_MEMORY, "no memory for a request's body");
        return false;
    }
    return true;
}

/* Whether reading goes on. */
static bool h1_on_event(hpxi_server_conn *conn, const hpxi_h1_event *event)
{
    switch (event->kind) {
    case HPXI_H1_EVENT_HEAD:
        return h1_on_head(conn, event->head);
    case HPXI_H1_EVENT_DATA:
        return h1_on_data(conn, event->data);
    case HPXI_H1_EVENT_END:
        hpxi_server_watch(conn);
        hpxi_call_announce(h1_receiving(conn));
        return true;
    case HPXI_H1_EVENT_INTERIM:
        break;
    }
    HPX_ASSERT(false);
    return false;
}

/* The last answer is out: another request, or the end. */
static void h1_after_call(hpxi_server_conn *conn)
{
    HPX_ASSERT(conn->calls == NULL);
    if (conn->last) {
        hpxi_server_finish(conn);
        return;
    }
    hpxi_h1_reader_start(&conn->reader, NULL);
    hpxi_server_set_deadline(conn, conn->server->config.idle_timeout_ns);
}

/* Reads until a request waits for its answer, or the input is used up. */
static void h1_read(hpxi_server_conn *conn, const uint8_t **data, size_t *size)
{
    while (conn->state == HPXI_SERVER_HTTP1) {
        hpx_http_call *call = conn->calls;
        if (call != NULL && call->phase != HPXI_CALL_RECEIVING) {
            if (call->phase != HPXI_CALL_DONE || call->on_settle || conn->abort) {
                return; /* it is answered later, or seen to in the settle step */
            }
            (void)hpxi_call_settle(call);
            if (conn->state == HPXI_SERVER_HTTP1) {
                h1_after_call(conn);
            }
            continue;
        }
        const bool fresh = conn->reader.message_bytes == 0;
        hpxi_h1_event event;
        const int result = hpxi_h1_reader_next(&conn->reader, data, size, &event);
        if (fresh && conn->reader.message_bytes != 0) {
            hpxi_server_set_deadline(conn, conn->server->config.request_timeout_ns);
        }
        if (result == HPX_E_PARTIAL) {
            return;
        }
        if (result < 0) {
            hpxi_server_h1_refuse(conn, conn->reader.refusal, conn->reader.error.detail);
            return;
        }
        HPX_ASSERT(result == 1); /* requests make no tunnels */
        if (!h1_on_event(conn, &event)) {
            return;
        }
    }
}

/* Reads; afterwards, a call that is done and was not seen to is left to the settle step. */
static void h1_read_guarded(hpxi_server_conn *conn, const uint8_t **data, size_t *size)
{
    HPX_ASSERT(!conn->in_bytes);
    conn->in_bytes = true;
    h1_read(conn, data, size);
    conn->in_bytes = false;
    if (conn->calls != NULL && conn->calls->phase == HPXI_CALL_DONE) {
        hpxi_call_mark_settle(conn->calls);
    }
}

void hpxi_server_h1_bytes(hpxi_server_conn *conn, const uint8_t *data, size_t size)
{
    if (hpxi_buf_size(&conn->held) == 0) {
        h1_read_guarded(conn, &data, &size);
    }
    if (size == 0 || conn->state != HPXI_SERVER_HTTP1) {
        return;
    }
    if (!hpxi_buf_append(&conn->held, data, size)) {
        hpxi_server_fail_with(conn, HPX_E_NO_MEMORY, "no memory for requests that wait");
    } else if (hpxi_buf_size(&conn->held) > H1_HELD_MAX) {
        hpxi_sock_pause(conn->sock);
    }
}

void hpxi_server_h1_next(hpxi_server_conn *conn)
{
    if (conn->calls != NULL || conn->state != HPXI_SERVER_HTTP1) {
        return;
    }
    if (conn->abort) {
        hpxi_server_reset(conn);
        return;
    }
    if (conn->reader.state == HPXI_H1_STATE_IDLE) { /* else it was seen to while reading */
        h1_after_call(conn);
    }
    if (conn->state == HPXI_SERVER_HTTP1 && hpxi_buf_size(&conn->held) != 0) {
        const hpx_span held = hpxi_buf_span(&conn->held);
        const uint8_t *data = held.data;
        size_t size = held.size;
        h1_read_guarded(conn, &data, &size);
        hpxi_buf_consume(&conn->held, held.size - size);
    }
    if (conn->state != HPXI_SERVER_HTTP1) {
        return;
    }
    if (hpxi_buf_size(&conn->held) <= H1_HELD_MAX) {
        hpxi_sock_resume(conn->sock);
    }
    if (conn->peer_ended && conn->calls == NULL) {
        hpxi_server_finish(conn);
    }
}

void hpxi_server_h1_end(hpxi_server_conn *conn)
{
    hpx_http_call *call = h1_receiving(conn);
    if (call != NULL) { /* cut short: nobody waits for an answer */
        hpxi_server_fail_with(conn, HPX_E_EOF, "the peer ended within a request");
    } else if (conn->calls == NULL) {
        hpxi_server_finish(conn);
    } /* else: it may still read the answer */
}

/* ---- Answers --------------------------------------------------------------------------------- */

static bool h1_has(const hpx_http_header *headers, uint32_t count, const char *name)
{
    return hpxi_h1_field_find(headers, count, name) != NULL;
}

hpx_status hpxi_server_h1_head(
    hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    hpx_error *error)
{
    hpxi_server_conn *conn = call->conn;
    const hpxi_h1_head *head = &conn->reader.head;
    const bool unknown = call->body_bytes == HPX_HTTP_SIZE_UNKNOWN;
    const bool no_length = status == 204 || status == 304;
    hpx_http_header fields[HPXI_SERVER_FIELDS_MAX];
    uint32_t count = 0;
    if (!h1_has(headers, header_count, "Date")) {
        fields[count++] = hpx_http_header_of("Date", hpxi_server_date(conn->server));
    }
    if (header_count != 0) {
        memcpy(fields + count, headers, header_count * sizeof(fields[0]));
    }
    call->chunked = unknown && head->version_minor == 1 && !no_length;
    conn->last = !head->keep_alive || conn->server->sock == NULL || conn->peer_ended ||
                 conn->request_count >= conn->server->config.requests_max ||
                 (unknown && !call->chunked);
    const hpxi_h1_response response = {
        .status = status,
        .fields = fields,
        .field_count = count + header_count,
        .body = no_length       ? HPXI_H1_BODY_NONE
                : !unknown      ? HPXI_H1_BODY_LENGTH
                : call->chunked ? HPXI_H1_BODY_CHUNKED
                                : HPXI_H1_BODY_UNTIL_CLOSE,
        .body_bytes = unknown || no_length ? 0 : call->body_bytes,
        .close = conn->last,
        .keep_alive = !conn->last && head->version_minor == 0};
    return hpxi_h1_response_write(hpxi_server_out(conn), &response, error);
}

hpx_status hpxi_server_h1_piece(hpx_http_call *call, hpx_span piece)
{
    hpxi_buf *out = hpxi_server_out(call->conn);
    if (call->chunked) {
        return hpxi_h1_chunk_write(out, piece);
    }
    return hpxi_buf_append(out, piece.data, piece.size) ? HPX_OK : HPX_E_NO_MEMORY;
}

hpx_status hpxi_server_h1_last(hpx_http_call *call)
{
    if (!call->chunked || call->no_body) {
        return HPX_OK;
    }
    return hpxi_h1_chunks_end(hpxi_server_out(call->conn), NULL, 0, NULL);
}

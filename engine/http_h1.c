/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_h1.c - HTTP/1.1 on a connection: one exchange at a time (RFC 9112).
 *
 * Role      The request's head and body go into the send buffer, the body as far as the buffer's
 *           limit allows; the reader's events go to the request. After the response the connection
 *           is given back: reusable only if both messages are complete, the peer agreed, and not
 *           one byte more has come (pitfalls H1).
 * Threads   The shard's.
 */
#include <string.h>

#include "engine/error.h"
#include "engine/http.h"
#include "h1/writer.h"

/* The body is appended while less than this is waiting to be sent. */
#define H1_QUEUE_BYTES (256u << 10)
/* One call of a pull function. */
#define H1_PULL_BYTES (16u << 10)

void hpxi_http_h1_open(hpxi_http_conn *conn)
{
    const hpx_http_config *config = &conn->core->settings->config;
    hpxi_h1_limits limits = HPXI_H1_LIMITS_DEFAULT;
    limits.head_bytes_max = config->header_bytes_max;
    limits.trailer_bytes_max = config->header_bytes_max;
    limits.extension_bytes_max = config->header_bytes_max;
    limits.fields_max = config->headers_max;
    limits.interim_max = config->interim_max;
    hpxi_h1_reader_init(&conn->reader, HPXI_H1_ROLE_CLIENT, &limits, conn->core->shard->allocator);
    conn->reader_made = true;
}

/* ---- Request --------------------------------------------------------------------------------- */

static bool h1_is_chunked(const hpxi_http_packed *packed)
{
    return packed->pull != NULL && packed->pull_bytes == HPX_HTTP_SIZE_UNKNOWN;
}

static hpx_status
h1_write_head(hpxi_http_conn *conn, const hpxi_http_packed *packed, hpx_error *error)
{
    hpxi_h1_field fields[HPXI_HTTP_HEADERS_MAX];
    hpxi_http_packed_headers(packed, fields);
    hpxi_h1_request head = {
        .method = hpxi_http_packed_method(packed),
        .target = hpxi_http_packed_target(packed),
        .host = hpxi_http_packed_authority(packed),
        .fields = fields,
        .field_count = packed->header_count,
        .body = HPXI_H1_BODY_NONE,
    };
    if (h1_is_chunked(packed)) {
        head.body = HPXI_H1_BODY_CHUNKED;
    } else if (packed->pull != NULL || packed->body_bytes != 0) {
        head.body = HPXI_H1_BODY_LENGTH;
        head.body_bytes = packed->pull != NULL ? packed->pull_bytes : packed->body_bytes;
    }
    return hpxi_h1_request_write(hpxi_http_conn_out(conn), &head, error);
}

static void h1_body_complete(hpxi_http_conn *conn)
{
    conn->body_queued = true;
    hpxi_http_request_sent(conn->exchange);
}

/* The rest of a body that is in memory, up to the limit. False: no memory. */
static bool h1_append_span(hpxi_http_conn *conn)
{
    hpxi_http_request *request = conn->exchange;
    const hpx_span body = hpxi_http_packed_body(hpxi_http_request_packed(request));
    const size_t queued = hpxi_http_conn_queued(conn);
    const size_t left = body.size - (size_t)request->body_sent;
    const size_t room = queued < H1_QUEUE_BYTES ? H1_QUEUE_BYTES - queued : 0;
    const size_t part = left < room ? left : room;
    if (part != 0) {
        if (!hpxi_buf_append(hpxi_http_conn_out(conn), body.data + request->body_sent, part)) {
            return false;
        }
        request->body_sent += part;
        hpxi_http_request_moved(request);
    }
    if (part == left) {
        h1_body_complete(conn);
    }
    return true;
}

static void h1_pull_failed(hpxi_http_conn *conn, hpx_status status, const char *detail)
{
    hpx_error error;
    (void)hpxi_error_set(&error, status, HPX_STAGE_REQUEST, "%s", detail);
    hpxi_http_request_fail(conn->exchange, &error); /* gives the connection up: it closes */
}

/* The producer says that the body is over. */
static void h1_pull_end(hpxi_http_conn *conn)
{
    hpxi_http_request *request = conn->exchange;
    const hpxi_http_packed *packed = hpxi_http_request_packed(request);
    if (!h1_is_chunked(packed)) {
        if (request->body_sent != packed->pull_bytes) {
            h1_pull_failed(conn, HPX_E_INVALID, "the body is shorter than body_bytes");
            return;
        }
    } else if (hpxi_h1_chunks_end(hpxi_http_conn_out(conn), NULL, 0, NULL) != HPX_OK) {
        h1_pull_failed(conn, HPX_E_NO_MEMORY, "no memory for the body");
        return;
    }
    h1_body_complete(conn);
}

/* One piece from the producer into the buffer. False: nothing more now. */
static bool h1_pull_piece(hpxi_http_conn *conn)
{
    hpxi_http_request *request = conn->exchange;
    const hpxi_http_packed *packed = hpxi_http_request_packed(request);
    uint8_t piece[H1_PULL_BYTES];
    size_t room = sizeof(piece);
    const bool chunked = h1_is_chunked(packed);
    if (!chunked && packed->pull_bytes - request->body_sent < room) {
        room = (size_t)(packed->pull_bytes - request->body_sent);
        if (room == 0) {
            h1_pull_end(conn); /* all announced bytes are there: it is not asked again */
            return false;
        }
    }
    request->pulled = true;
    const int got = packed->pull(packed->pull_user, piece, room);
    if (got == HPX_E_AGAIN) {
        request->pull_starved = true;
        return false;
    }
    if (got <= 0) {
        if (got == 0) {
            h1_pull_end(conn);
        } else {
            h1_pull_failed(conn, got, "the body's pull function gave up");
        }
        return false;
    }
    HPX_ASSERT((size_t)got <= room);
    const hpx_span part = {.data = piece, .size = (size_t)got};
    hpxi_buf *out = hpxi_http_conn_out(conn);
    const bool good = chunked ? hpxi_h1_chunk_write(out, part) == HPX_OK
                              : hpxi_buf_append(out, part.data, part.size);
    if (!good) {
        h1_pull_failed(conn, HPX_E_NO_MEMORY, "no memory for the body");
        return false;
    }
    request->body_sent += part.size;
    hpxi_http_request_moved(request);
    return true;
}

void hpxi_http_h1_flush(hpxi_http_conn *conn)
{
    if (conn->exchange == NULL || conn->body_queued) {
        return;
    }
    if (hpxi_http_request_packed(conn->exchange)->pull == NULL) {
        if (!h1_append_span(conn)) {
            h1_pull_failed(conn, HPX_E_NO_MEMORY, "no memory for the body");
        }
    } else if (!conn->exchange->pull_starved) {
        while (hpxi_http_conn_queued(conn) < H1_QUEUE_BYTES && h1_pull_piece(conn)) {
        }
    }
    if (conn->exchange != NULL && !conn->body_queued && !conn->exchange->pull_starved &&
        !conn->sock->stuck && conn->state == HPXI_HTTP_OPEN) {
        hpxi_http_conn_mark(conn); /* go on in the next turn; if stuck, on_drain does */
    }
}

void hpxi_http_h1_begin(hpxi_http_conn *conn, hpxi_http_request *request)
{
    HPX_ASSERT(conn->exchange == NULL);
    const hpxi_http_packed *packed = hpxi_http_request_packed(request);
    conn->exchange = request;
    conn->exchange_from = hpxi_sock_sent(conn->sock) + hpxi_sock_queued(conn->sock);
    conn->body_queued = false;
    hpx_error error = {0};
    const hpx_status status = h1_write_head(conn, packed, &error);
    if (status != HPX_OK) {
        error.status = status;
        error.stage = HPX_STAGE_REQUEST;
        hpxi_http_request_fail(request, &error);
        return;
    }
    const hpxi_h1_exchange exchange = {.head = (packed->flags & HPXI_HTTP_PACK_HEAD) != 0};
    hpxi_h1_reader_start(&conn->reader, &exchange);
    if (packed->pull == NULL && packed->body_bytes == 0) {
        h1_body_complete(conn);
    }
    hpxi_http_conn_mark(conn); /* flush appends the body and sends */
}

/* ---- Response -------------------------------------------------------------------------------- */

/* The response is complete: the connection goes back, or goes. */
static void h1_complete(
    hpxi_http_conn *conn, const hpxi_h1_field *trailers, uint32_t trailer_count, bool clean_rest)
{
    hpxi_http_core *core = conn->core;
    hpxi_http_request *request = conn->exchange;
    if (trailer_count != 0) {
        hpxi_http_deliver_trailers(
            request, (const hpx_http_header *)(const void *)trailers, trailer_count);
        if (conn->exchange == NULL) {
            return; /* failed, and gave the connection up */
        }
    }
    const bool reusable = conn->state == HPXI_HTTP_OPEN && conn->body_queued && clean_rest &&
                          hpxi_h1_reader_is_reusable(&conn->reader);
    conn->exchange = NULL;
    request->conn = NULL;
    if (conn->sock != NULL) {
        hpxi_sock_resume(conn->sock);
    }
    hpxi_pool_checkin(&core->pool, &conn->item, reusable, core->shard->owner.now_ns);
    hpxi_http_response_complete(request);
}

/* "Keep-Alive: timeout=5, max=100", which is in no RFC of today, but servers send it and
 * mean it: the peer will close then, so the connection is not used shortly before. */
static void h1_note_keep_alive(hpxi_http_conn *conn, const hpxi_h1_head *head)
{
    const hpxi_h1_field *field = hpxi_h1_field_find(head->fields, head->field_count, "keep-alive");
    if (field == NULL) {
        return;
    }
    static const char name[] = "timeout=";
    const size_t name_bytes = sizeof(name) - 1;
    hpx_span rest = field->value;
    hpx_span element;
    while (hpxi_h1_list_next(&rest, &element)) {
        uint64_t seconds = 0;
        if (element.size > name_bytes && memcmp(element.data, name, name_bytes) == 0) {
            const hpx_span digits = {
                .data = element.data + name_bytes, .size = element.size - name_bytes};
            if (hpxi_h1_parse_length(digits, &seconds) == HPX_OK && seconds < 1000000) {
                conn->keep_alive_ns = seconds * HPX_NS_PER_S;
            }
        }
    }
}

static void h1_event(hpxi_http_conn *conn, const hpxi_h1_event *event, bool input_is_over)
{
    hpxi_http_request *request = conn->exchange;
    switch (event->kind) {
    case HPXI_H1_EVENT_INTERIM:
        request->info.interim++;
        return;
    case HPXI_H1_EVENT_HEAD:
        h1_note_keep_alive(conn, event->head);
        hpxi_http_deliver_head(
            request,
            event->head->status,
            (const hpx_http_header *)(const void *)event->head->fields,
            event->head->field_count);
        return;
    case HPXI_H1_EVENT_DATA:
        if (hpxi_http_deliver_body(request, event->data) != 0 && conn->exchange != NULL) {
            hpxi_sock_pause(conn->sock);
        }
        return;
    case HPXI_H1_EVENT_END:
        h1_complete(conn, event->trailers, event->trailer_count, input_is_over);
        return;
    }
    HPX_ASSERT(false);
}

static void h1_malformed(hpxi_http_conn *conn)
{
    hpx_error error = conn->reader.error;
    error.stage = HPX_STAGE_NONE;                   /* the request's */
    hpxi_http_request_fail(conn->exchange, &error); /* gives the connection up */
}

void hpxi_http_h1_bytes(hpxi_http_conn *conn, const uint8_t *data, size_t size)
{
    if (conn->exchange == NULL) {
        hpxi_http_conn_fail_with(
            conn, HPX_E_HTTP_MALFORMED, "the server sent bytes that answer no request");
        return;
    }
    hpxi_http_request_first_byte(conn->exchange);
    hpxi_http_request_moved(conn->exchange);
    while (conn->exchange != NULL) {
        hpxi_h1_event event;
        const int got = hpxi_h1_reader_next(&conn->reader, &data, &size, &event);
        if (got == 1) {
            h1_event(conn, &event, size == 0);
        } else if (got == HPX_E_PARTIAL) {
            return;
        } else if (got == 0) { /* a tunnel that nobody asked for: the reader refuses 101 */
            hpxi_http_request_fail_with(
                conn->exchange, HPX_E_HTTP_MALFORMED, "the server switched protocols");
        } else {
            h1_malformed(conn);
        }
    }
}

/* ---- Ends ------------------------------------------------------------------------------------ */

static hpx_http_processed h1_processed(const hpxi_http_conn *conn)
{
    const bool sent = hpxi_sock_sent(conn->sock) > conn->exchange_from;
    return sent ? HPX_HTTP_PROCESSED_UNKNOWN : HPX_HTTP_PROCESSED_NO;
}

hpx_http_processed hpxi_http_h1_give_up(hpxi_http_conn *conn, hpxi_http_request *request)
{
    HPX_ASSERT(conn->exchange == request);
    const hpx_http_processed processed = h1_processed(conn);
    hpxi_http_core *core = conn->core;
    conn->exchange = NULL;
    hpxi_pool_checkin(&core->pool, &conn->item, false, core->shard->owner.now_ns);
    return processed;
}

/* The connection broke under a request. */
static void h1_lost(hpxi_http_conn *conn, const hpx_error *error)
{
    hpxi_http_core *core = conn->core;
    hpxi_http_request *request = conn->exchange;
    hpx_error told = *error;
    if (request->phase != HPXI_HTTP_RECEIVING && h1_processed(conn) == HPX_HTTP_PROCESSED_NO) {
        told.stage = hpxi_http_request_stage(request);
        (void)hpxi_http_h1_give_up(conn, request);
        request->conn = NULL;
        hpxi_http_request_retry(request, &core->counters->retries_idle_closed, &told);
        return;
    }
    if (request->status != 0 && (error->status == HPX_E_EOF || conn->reader.error.status != 0)) {
        (void)hpxi_error_set(
            &told,
            HPX_E_HTTP_TRUNCATED,
            HPX_STAGE_BODY,
            "%s",
            conn->reader.error.detail[0] != '\0' ? conn->reader.error.detail : error->detail);
    }
    hpxi_http_request_fail(request, &told);
}

void hpxi_http_h1_end(hpxi_http_conn *conn, bool clean, const hpx_error *error)
{
    if (conn->exchange == NULL) {
        return;
    }
    hpxi_h1_event event;
    const int got = hpxi_h1_reader_close(&conn->reader, clean, &event);
    if (got == 1) {
        h1_complete(conn, event.trailers, event.trailer_count, true);
    } else {
        h1_lost(conn, error);
    }
}

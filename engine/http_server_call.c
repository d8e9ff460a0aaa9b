/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server_call.c - a request and the answer to it: the public functions on a call.
 *
 * Threads   The shard's.
 * Memory    See http_server.h. A finished call is kept by its connection for the next request.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "engine/error.h"
#include "engine/http_server.h"
#include "h1/writer.h"

const char *hpxi_server_date(hpx_http_server *server)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    const time_t now = hpxi_clock_utc_s();
    if (now != server->date_s) {
        struct tm utc;
        (void)gmtime_r(&now, &utc);
        server->date_s = now;
        /* RFC 9110 5.6.7. strftime() would follow the locale; the remainders tell the compiler how
         * long it can get. */
        (void)snprintf(
            server->date,
            sizeof(server->date),
            "%s, %02u %s %04u %02u:%02u:%02u GMT",
            days[utc.tm_wday % 7],
            (unsigned)utc.tm_mday % 100,
            months[utc.tm_mon % 12],
            (unsigned)(utc.tm_year + 1900) % 10000,
            (unsigned)utc.tm_hour % 100,
            (unsigned)utc.tm_min % 100,
            (unsigned)utc.tm_sec % 100);
    }
    return server->date;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static void call_reset(hpx_http_call *call, hpxi_server_conn *conn)
{
    hpxi_buf body = call->body;
    hpxi_buf head = call->head;
    hpxi_buf out = call->out;
    hpxi_buf_consume(&body, hpxi_buf_size(&body));
    hpxi_buf_consume(&head, hpxi_buf_size(&head));
    hpxi_buf_consume(&out, hpxi_buf_size(&out));
    *call = (hpx_http_call){
        .conn = conn,
        .server = conn->server,
        .user = conn->server->config.user,
        .began_ns = conn->shard->owner.now_ns,
        .body = body,
        .head = head,
        .out = out,
        .info =
            {.version = conn->state == HPXI_SERVER_HTTP2 ? HPX_HTTP_2 : HPX_HTTP_1_1,
             .is_tls = conn->tls != NULL,
             .peer_address = conn->peer_address},
    };
}

hpx_http_call *hpxi_call_new(hpxi_server_conn *conn)
{
    hpx_http_call *call = conn->spare;
    conn->spare = NULL;
    if (call == NULL) {
        const hpx_allocator *allocator = conn->shard->allocator;
        call = hpxi_alloc_zero(allocator, sizeof(*call), _Alignof(hpx_http_call));
        if (call == NULL) {
            return NULL;
        }
        hpxi_buf_init(&call->body, allocator);
        hpxi_buf_init(&call->head, allocator);
        hpxi_buf_init(&call->out, allocator);
    }
    call_reset(call, conn);
    call->next = conn->calls;
    if (call->next != NULL) {
        call->next->prev = call;
    }
    conn->calls = call;
    return call;
}

void hpxi_call_free(hpx_http_call *call)
{
    const hpx_allocator *allocator = call->body.allocator;
    hpxi_buf_fini(&call->body);
    hpxi_buf_fini(&call->head);
    hpxi_buf_fini(&call->out);
    hpxi_free(allocator, call, sizeof(*call));
}

/* Off its connection, which keeps it if it has none. */
static void call_retire(hpx_http_call *call)
{
    hpxi_server_conn *conn = call->conn;
    HPX_ASSERT(!call->on_settle);
    *(call->prev != NULL ? &call->prev->next : &conn->calls) = call->next;
    if (call->next != NULL) {
        call->next->prev = call->prev;
    }
    if (conn->spare == NULL) {
        conn->spare = call;
    } else {
        hpxi_call_free(call);
    }
}

void hpxi_call_mark_settle(hpx_http_call *call)
{
    if (!call->on_settle) {
        hpx_shard *shard = call->conn->shard;
        call->on_settle = true;
        call->next_settle = shard->owner.servers.calls;
        shard->owner.servers.calls = call;
    }
}

static void call_deliver(hpx_http_call *call, const hpx_http_call_event *event)
{
    HPX_DASSERT(call->conn->shard->owner.in_turn);
    call->server->config.on_event(call, event, call->user);
}

void hpxi_call_announce(hpx_http_call *call)
{
    HPX_ASSERT(call->phase == HPXI_CALL_RECEIVING);
    hpx_http_call_info *info = &call->info;
    const hpx_span target = info->target;
    const uint8_t *mark = target.size == 0 ? NULL : memchr(target.data, '?', target.size);
    const size_t path = mark == NULL ? target.size : (size_t)(mark - target.data);
    info->path = path == 0 ? hpx_span_of("/") : (hpx_span){.data = target.data, .size = path};
    info->query =
        mark == NULL ? (hpx_span){0} : (hpx_span){.data = mark + 1, .size = target.size - path - 1};
    info->body = hpxi_buf_span(&call->body);
    call->is_head = hpxi_h1_span_is(info->method, "HEAD");
    call->phase = HPXI_CALL_OPEN;
    call->announced = true;
    call->server->stats.requests++;
    const hpx_http_call_event event = {
        .kind = HPX_HTTP_CALL_REQUEST,
        .time_ns = call->conn->shard->owner.now_ns,
        .info = info,
    };
    call_deliver(call, &event);
}

void hpxi_call_done(hpx_http_call *call, const hpx_error *error)
{
    if (call->phase == HPXI_CALL_DONE) {
        return;
    }
    call->phase = HPXI_CALL_DONE;
    call->want_writable = false;
    if (error != NULL) {
        call->error = *error;
        call->server->stats.lost += call->announced;
    }
    if (!call->conn->in_bytes || call->conn->state != HPXI_SERVER_HTTP1) {
        hpxi_call_mark_settle(call);
    }
}

static void call_settle_writable(hpx_http_call *call)
{
    hpxi_server_conn *conn = call->conn;
    if (!call->want_writable || conn->sock == NULL) {
        return;
    }
    if (hpx_http_call_queued_bytes(call) > call->server->config.send_queue_bytes_max / 2) {
        if (conn->state == HPXI_SERVER_HTTP1 && !conn->sock->stuck) {
            hpxi_call_mark_settle(call); /* else on_drain, or the session, does */
        }
        return;
    }
    call->want_writable = false;
    const hpx_http_call_event event = {
        .kind = HPX_HTTP_CALL_WRITABLE, .time_ns = conn->shard->owner.now_ns};
    call_deliver(call, &event);
}

bool hpxi_call_settle(hpx_http_call *call)
{
    HPX_ASSERT(!call->on_settle);
    if (call->phase != HPXI_CALL_DONE) {
        call_settle_writable(call);
        return false;
    }
    if (call->announced) {
        const hpx_http_call_event event = {
            .kind = HPX_HTTP_CALL_CLOSED,
            .time_ns = call->conn->shard->owner.now_ns,
            .error = &call->error,
        };
        call_deliver(call, &event);
        HPX_ASSERT(!call->on_settle);
    }
    call_retire(call);
    return true;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static hpx_status call_state_error(hpx_error *error, const char *what)
{
    return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_NONE, "%s", what);
}

static hpx_status call_check(
    const hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    uint64_t body_bytes,
    hpx_error *error)
{
    HPXI_ASSERT_OWNER(call->conn->shard);
    if (call->phase != HPXI_CALL_OPEN) {
        return call_state_error(
            error,
            call->phase == HPXI_CALL_DONE ? "the call is over" : "an answer has begun already");
    }
    if (header_count > HPXI_SERVER_FIELDS_MAX - HPXI_SERVER_OWN_FIELDS) {
        return hpxi_error_set(
            error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%u headers: too many", header_count);
    }
    if (status > 599) {
        return hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "status %u", status);
    }
    const bool never = status == 204 || status == 304;
    if (never && body_bytes != 0) {
        return hpxi_error_set(
            error, HPX_E_INVALID, HPX_STAGE_CONFIG, "a %u has no body (RFC 9110 6.4.1)", status);
    }
    const hpxi_h1_response response = {
        .status = status, .fields = headers, .field_count = header_count};
    return hpxi_h1_response_check(&response, error);
}

static hpx_status call_lost_memory(hpx_http_call *call, hpx_error *error)
{
    hpx_error lost;
    (void)hpxi_error_set(&lost, HPX_E_NO_MEMORY, HPX_STAGE_NONE, "no memory for the answer");
    if (error != NULL) {
        *error = lost;
    }
    hpxi_server_fail(call->conn, &lost);
    return HPX_E_NO_MEMORY;
}

hpx_status hpx_http_call_begin(
    hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    uint64_t body_bytes,
    hpx_error *error)
{
    hpx_status result = call_check(call, status, headers, header_count, body_bytes, error);
    if (result != HPX_OK) {
        return result;
    }
    call->body_bytes = body_bytes;
    call->no_body = call->is_head || status == 204 || status == 304;
    result = call->conn->state == HPXI_SERVER_HTTP2
                 ? hpxi_server_h2_head(call, status, headers, header_count, error)
                 : hpxi_server_h1_head(call, status, headers, header_count, error);
    if (result == HPX_E_NO_MEMORY) {
        return call_lost_memory(call, error);
    }
    if (result == HPX_OK) {
        call->phase = HPXI_CALL_STREAMING;
        hpxi_server_mark(call->conn);
    }
    return result;
}

/* More bytes of the body; the queue's limit is the caller's business. */
static hpx_status call_put(hpx_http_call *call, hpx_span piece)
{
    if (piece.size > call->body_bytes - call->body_done && !call->raw) {
        return HPX_E_INVALID;
    }
    call->body_done += piece.size;
    if (call->no_body || piece.size == 0) {
        return HPX_OK;
    }
    hpx_status status;
    if (call->conn->state == HPXI_SERVER_HTTP2) {
        status = hpxi_buf_append(&call->out, piece.data, piece.size) ? HPX_OK : HPX_E_NO_MEMORY;
        hpxi_h2_resume(call->conn->h2, call->stream);
    } else {
        status = hpxi_server_h1_piece(call, piece);
    }
    if (status != HPX_OK) {
        return call_lost_memory(call, NULL);
    }
    hpxi_server_mark(call->conn);
    return HPX_OK;
}

hpx_status hpx_http_call_write(hpx_http_call *call, hpx_span piece)
{
    HPXI_ASSERT_OWNER(call->conn->shard);
    if (call->phase != HPXI_CALL_STREAMING || call->out_ended) {
        return HPX_E_STATE;
    }
    if (hpx_http_call_queued_bytes(call) > call->server->config.send_queue_bytes_max) {
        call->want_writable = true;
        hpxi_call_mark_settle(call);
        return HPX_E_AGAIN;
    }
    return call_put(call, piece);
}

hpx_status hpx_http_call_end(hpx_http_call *call)
{
    HPXI_ASSERT_OWNER(call->conn->shard);
    if (call->phase != HPXI_CALL_STREAMING || call->out_ended) {
        return HPX_E_STATE;
    }
    if (call->body_bytes != HPX_HTTP_SIZE_UNKNOWN && call->body_done != call->body_bytes &&
        !call->is_head && !call->raw) {
        hpx_http_call_abort(call);
        return HPX_E_INVALID;
    }
    if (call->conn->state == HPXI_SERVER_HTTP2) {
        call->out_ended = true; /* the stream's end makes it DONE */
        hpxi_h2_resume(call->conn->h2, call->stream);
        hpxi_server_mark(call->conn);
        return HPX_OK;
    }
    if (hpxi_server_h1_last(call) != HPX_OK) {
        return call_lost_memory(call, NULL);
    }
    hpxi_server_mark(call->conn);
    hpxi_call_done(call, NULL);
    return HPX_OK;
}

hpx_status hpx_http_call_answer(
    hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    hpx_span body,
    hpx_error *error)
{
    hpx_status result = hpx_http_call_begin(call, status, headers, header_count, body.size, error);
    if (result == HPX_OK) {
        result = call_put(call, body);
    }
    return result == HPX_OK ? hpx_http_call_end(call) : result;
}

void hpx_http_call_abort(hpx_http_call *call)
{
    HPXI_ASSERT_OWNER(call->conn->shard);
    if (call->phase == HPXI_CALL_DONE) {
        return;
    }
    hpx_error error;
    (void)hpxi_error_set(
        &error, HPX_E_ABORTED, HPX_STAGE_NONE, "the application cut the answer off");
    if (call->conn->state == HPXI_SERVER_HTTP2) {
        hpxi_server_h2_abort(call);
    } else {
        call->conn->abort = true;
    }
    hpxi_call_done(call, &error);
}

hpx_status hpx_http_call_raw(hpx_http_call *call, hpx_span bytes, bool then_close)
{
    HPXI_ASSERT_OWNER(call->conn->shard);
    hpxi_server_conn *conn = call->conn;
    if (conn->state != HPXI_SERVER_HTTP1 || call->phase == HPXI_CALL_DONE) {
        return HPX_E_STATE;
    }
    call->phase = HPXI_CALL_STREAMING;
    call->raw = true;
    call->chunked = false;
    conn->last = true; /* nobody knows where this ends */
    if (!hpxi_buf_append(hpxi_server_out(conn), bytes.data, bytes.size)) {
        return call_lost_memory(call, NULL);
    }
    hpxi_server_mark(conn);
    if (then_close) {
        hpxi_call_done(call, NULL);
    }
    return HPX_OK;
}

uint64_t hpx_http_call_queued_bytes(const hpx_http_call *call)
{
    return call->conn->state == HPXI_SERVER_HTTP2 ? hpxi_buf_size(&call->out)
                                                  : hpxi_server_queued(call->conn);
}

const hpx_http_call_info *hpx_http_call_get_info(const hpx_http_call *call)
{
    return &call->info;
}

hpx_span hpx_http_call_header(const hpx_http_call *call, const char *name)
{
    const hpx_http_header *found =
        hpxi_h1_field_find(call->info.headers, call->info.header_count, name);
    return found == NULL ? (hpx_span){0} : found->value;
}

void hpx_http_call_set_user(hpx_http_call *call, void *user)
{
    call->user = user;
}

void *hpx_http_call_get_user(const hpx_http_call *call)
{
    return call->user;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_h2.c - HTTP/2 on a connection: the requests that share it are streams (RFC 9113).
 *
 * Role      Drives the session (h2/session.h) and keeps the pool's idea of how many more users the
 *           connection takes equal to the session's. A stream that the peer proved it did not
 *           process (GOAWAY, REFUSED_STREAM) is tried again elsewhere; nothing else is.
 * Threads   The shard's.
 */
#include <stdio.h>
#include <string.h>

#include "engine/error.h"
#include "engine/http.h"

/* Frames are made while less than this waits to be encrypted or sent. */
#define H2_QUEUE_BYTES (256u << 10)

#define CONN_OF_TIMER(timer)                                                                       \
    ((hpxi_http_conn *)(void *)((char *)(timer)-offsetof(hpxi_http_conn, h2_timer)))

static uint64_t h2_now(const hpxi_http_conn *conn)
{
    return conn->core->shard->owner.now_ns;
}

bool hpxi_http_h2_open(hpxi_http_conn *conn)
{
    const hpx_http_config *from = &conn->core->settings->config;
    hpxi_h2_config config = hpxi_h2_config_client;
    config.limits.streams_max = from->h2_streams_max;
    config.limits.header_list_bytes_max = from->header_bytes_max;
    config.limits.fields_max = from->headers_max;
    config.limits.informational_max = from->interim_max;
    config.connection_window_bytes = from->h2_window_bytes;
    config.ping.window_bytes = from->h2_window_bytes / 2;
    config.ping.window_bytes_max =
        from->h2_fixed_window ? config.ping.window_bytes : from->h2_window_bytes_max;
    config.ping.keep_alive_interval_ns =
        from->h2_keep_alive_ns == HPX_NEVER ? 0 : from->h2_keep_alive_ns;
    config.ping.keep_alive_timeout_ns = from->h2_keep_alive_timeout_ns;
    config.ping.keep_alive_while_idle = from->h2_keep_alive_while_idle;
    config.ping.stats = &conn->entry->ping;
    config.limits.memory_bytes_max += 2 * (size_t)from->h2_window_bytes_max;
    return hpxi_h2_new(&conn->h2, &config, conn->core->shard->allocator, h2_now(conn)) == HPX_OK;
}

/* The pool hands out what the session has room for; a session that takes no more is retired. */
static void h2_sync(hpxi_http_conn *conn)
{
    if (conn->state != HPXI_HTTP_OPEN) {
        return;
    }
    hpxi_pool *pool = &conn->core->pool;
    const uint32_t capacity = conn->item.users + hpxi_h2_can_open(conn->h2);
    if (capacity != conn->item.capacity) {
        hpxi_pool_set_capacity(pool, &conn->item, capacity);
    }
    if (hpxi_h2_is_closing(conn->h2)) {
        hpxi_pool_retire(pool, &conn->item); /* closes it if it serves nobody */
    }
}

/* ---- Request --------------------------------------------------------------------------------- */

/* A body in memory, or from the app's producer; inside hpxi_h2_flush(). */
static ptrdiff_t h2_pull(void *ctx, uint8_t *to, size_t room, bool *is_last)
{
    hpxi_http_request *request = ctx;
    const hpxi_http_packed *packed = hpxi_http_request_packed(request);
    size_t got = 0;
    if (packed->pull == NULL) {
        const hpx_span body = hpxi_http_packed_body(packed);
        const size_t left = body.size - (size_t)request->body_sent;
        got = left < room ? left : room;
        memcpy(to, body.data + request->body_sent, got);
        *is_last = got == left;
    } else {
        request->pulled = true;
        const bool known = packed->pull_bytes != HPX_HTTP_SIZE_UNKNOWN;
        if (known && packed->pull_bytes - request->body_sent < room) {
            room = (size_t)(packed->pull_bytes - request->body_sent);
        }
        const int result = room == 0 ? 0 : packed->pull(packed->pull_user, to, room);
        if (result < 0) {
            request->pull_starved = result == HPX_E_AGAIN;
            return result;
        }
        got = (size_t)result;
        *is_last = got == 0 || (known && request->body_sent + got == packed->pull_bytes);
        if (known && got == 0 && request->body_sent != packed->pull_bytes) {
            return HPX_E_INVALID;
        }
    }
    request->body_sent += got;
    hpxi_http_request_moved(request);
    if (*is_last) {
        hpxi_http_request_sent(request);
    }
    return (ptrdiff_t)got;
}

static uint32_t h2_fields(
    hpxi_http_packed *packed,
    hpxi_h2_field fields[HPXI_HTTP_HEADERS_MAX + 1],
    char length[24],
    bool has_body)
{
    hpxi_h1_field from[HPXI_HTTP_HEADERS_MAX];
    hpxi_http_packed_lower(packed);
    hpxi_http_packed_headers(packed, from);
    uint32_t count = packed->header_count;
    for (uint32_t i = 0; i < count; i++) {
        const bool secret = hpxi_h1_span_is(from[i].name, "authorization") ||
                            hpxi_h1_span_is(from[i].name, "cookie");
        fields[i] =
            (hpxi_h2_field){.name = from[i].name, .value = from[i].value, .is_sensitive = secret};
    }
    const uint64_t bytes = packed->pull != NULL ? packed->pull_bytes : packed->body_bytes;
    if (has_body && bytes != HPX_HTTP_SIZE_UNKNOWN) {
        (void)snprintf(length, 24, "%llu", (unsigned long long)bytes);
        fields[count++] =
            (hpxi_h2_field){.name = hpx_span_of("content-length"), .value = hpx_span_of(length)};
    }
    return count;
}

/* The use of the connection is given back without anything having been sent. */
static void h2_back_to_queue(hpxi_http_conn *conn, hpxi_http_request *request)
{
    hpxi_http_core *core = conn->core;
    request->conn = NULL;
    hpxi_pool_checkin(&core->pool, &conn->item, true, h2_now(conn));
    h2_sync(conn);
    hpxi_pool_key_release(&core->pool, request->key);
    request->key = NULL;
    hpxi_http_request_again(request);
}

void hpxi_http_h2_begin(hpxi_http_conn *conn, hpxi_http_request *request)
{
    hpxi_http_packed *packed = hpxi_http_request_packed(request);
    const bool has_body = packed->pull != NULL || packed->body_bytes != 0;
    hpxi_h2_field fields[HPXI_HTTP_HEADERS_MAX + 1];
    char length[24];
    const hpxi_h2_request_head head = {
        .method = hpxi_http_packed_method(packed),
        .scheme = hpx_span_of(conn->origin.is_tls ? "https" : "http"),
        .authority = hpxi_http_packed_authority(packed),
        .path = hpxi_http_packed_target(packed),
        .fields = fields,
        .field_count = h2_fields(packed, fields, length, has_body),
    };
    const hpxi_h2_body body = {.pull = h2_pull, .pull_ctx = request};
    hpx_error error = {0};
    const hpx_status status = hpxi_h2_request(
        conn->h2, &request->stream, &head, has_body ? &body : NULL, request, &error);
    if (status == HPX_E_AGAIN || status == HPX_E_STATE) {
        request->stream = HPXI_H2_NO_STREAM;
        h2_back_to_queue(conn, request);
        return;
    }
    if (status != HPX_OK) {
        request->stream = HPXI_H2_NO_STREAM;
        error.status = status;
        error.stage = HPX_STAGE_REQUEST;
        hpxi_http_request_fail(request, &error);
        return;
    }
    if (!has_body) {
        hpxi_http_request_sent(request);
    }
    h2_sync(conn);
    hpxi_http_conn_mark(conn);
}

hpx_http_processed hpxi_http_h2_give_up(hpxi_http_conn *conn, hpxi_http_request *request)
{
    hpxi_http_core *core = conn->core;
    hpxi_h2_processed processed = HPXI_H2_PROCESSED_NO;
    if (request->stream != HPXI_H2_NO_STREAM) {
        processed = HPXI_H2_PROCESSED_UNKNOWN;
        (void)hpxi_h2_reset(conn->h2, request->stream, HPXI_H2_CANCEL, &processed);
        request->stream = HPXI_H2_NO_STREAM;
        if (conn->state == HPXI_HTTP_OPEN) {
            hpxi_http_conn_mark(conn);
        }
    }
    hpxi_pool_checkin(&core->pool, &conn->item, true, h2_now(conn));
    h2_sync(conn);
    return processed == HPXI_H2_PROCESSED_NO ? HPX_HTTP_PROCESSED_NO : HPX_HTTP_PROCESSED_UNKNOWN;
}

/* ---- Response -------------------------------------------------------------------------------- */

/* Fields as the app sees them, in the core's scratch. */
static hpx_http_header *
h2_headers(hpxi_http_core *core, const hpxi_h2_field *fields, uint32_t count)
{
    HPX_ASSERT(count <= core->settings->config.headers_max);
    for (uint32_t i = 0; i < count; i++) {
        core->headers[i] = (hpx_http_header){.name = fields[i].name, .value = fields[i].value};
    }
    return core->headers;
}

static void h2_closed(hpxi_http_conn *conn, const hpxi_h2_event *event)
{
    hpxi_http_core *core = conn->core;
    hpxi_http_request *request = event->user;
    HPX_ASSERT(request->conn == conn);
    request->conn = NULL;
    request->stream = HPXI_H2_NO_STREAM;
    hpxi_pool_checkin(&core->pool, &conn->item, conn->state == HPXI_HTTP_OPEN, h2_now(conn));
    h2_sync(conn);
    if (request->h2_ended) { /* a RST_STREAM after the whole response takes nothing away */
        hpxi_http_response_complete(request);
        return;
    }
    const bool lost = conn->state != HPXI_HTTP_OPEN;
    hpx_error error = conn->error;
    if (!lost) {
        (void)hpxi_error_set(
            &error,
            event->closed.status != HPX_OK ? event->closed.status : HPX_E_HTTP_TRUNCATED,
            HPX_STAGE_NONE,
            "%s ended the stream with %s",
            event->closed.by_peer ? conn->info.peer_address : "we",
            hpxi_h2_code_name(event->closed.code));
    }
    error.stage = hpxi_http_request_stage(request);
    error.h2_error = event->closed.code;
    if (event->closed.processed == HPXI_H2_PROCESSED_NO && request->status == 0) {
        const bool refused = event->closed.code == HPXI_H2_REFUSED_STREAM && !conn->h2_goaway;
        hpxi_http_counters *counters = core->counters;
        hpxi_http_request_retry(
            request, refused ? &counters->retries_refused : &counters->retries_goaway, &error);
        return;
    }
    hpxi_http_request_fail_processed(request, &error, HPX_HTTP_PROCESSED_UNKNOWN);
}

static void h2_body(hpxi_http_conn *conn, hpxi_http_request *request, const hpxi_h2_event *event)
{
    hpxi_count(&conn->core->counters->h2_bytes, event->data.size);
    const size_t held = hpxi_http_deliver_body(request, event->data);
    hpxi_h2_consume(conn->h2, event->stream, event->data.size - held);
}

/* The ping accounting's numbers, where hpx_http_get_stats() finds them. */
static void h2_publish_ping(const hpxi_http_conn *conn)
{
    hpxi_http_counters *counters = conn->core->counters;
    const hpxi_h2_ping_snapshot ping = hpxi_h2_ping_read(hpxi_h2_stats(conn->h2));
    atomic_store_explicit(&counters->h2_rtt_ns, ping.rtt_ns, memory_order_relaxed);
    atomic_store_explicit(&counters->h2_bdp_bytes, ping.bdp_bytes, memory_order_relaxed);
    atomic_store_explicit(&counters->h2_window_bytes, ping.window_bytes, memory_order_relaxed);
}

static void h2_event(hpxi_http_conn *conn, const hpxi_h2_event *event)
{
    hpxi_http_request *request = event->user;
    if (event->stream != HPXI_H2_NO_STREAM && event->kind != HPXI_H2_CLOSED) {
        hpxi_http_request_first_byte(request);
        hpxi_http_request_moved(request);
    }
    switch (event->kind) {
    case HPXI_H2_INFORMATIONAL:
        request->info.interim++;
        return;
    case HPXI_H2_RESPONSE:
        hpxi_http_deliver_head(
            request,
            event->head.status,
            h2_headers(conn->core, event->head.fields, event->head.field_count),
            event->head.field_count);
        return;
    case HPXI_H2_DATA:
        h2_body(conn, request, event);
        return;
    case HPXI_H2_TRAILERS:
        hpxi_http_deliver_trailers(
            request,
            h2_headers(conn->core, event->head.fields, event->head.field_count),
            event->head.field_count);
        return;
    case HPXI_H2_END:
        request->h2_ended = true;
        return;
    case HPXI_H2_CLOSED:
        h2_closed(conn, event);
        return;
    case HPXI_H2_GOAWAY:
        conn->h2_goaway = true;
        return;
    case HPXI_H2_PONG:
        h2_publish_ping(conn);
        return;
    case HPXI_H2_SETTINGS:
    case HPXI_H2_REQUEST:
        return;
    }
    HPX_ASSERT(false);
}

static void h2_failed(hpxi_http_conn *conn, hpx_status status)
{
    const hpxi_h2_failure_info failure = hpxi_h2_failure(conn->h2);
    if (status == HPX_E_PONG_TIMEOUT) {
        hpxi_count(&conn->core->counters->h2_keep_alive_timeouts, 1);
    }
    hpx_error error;
    (void)hpxi_error_set(
        &error,
        status,
        HPX_STAGE_NONE,
        "%s: %s (%s)",
        conn->info.peer_address,
        failure.detail,
        hpxi_h2_code_name(failure.code));
    error.h2_error = failure.code;
    hpxi_http_conn_fail(conn, &error);
}

/* Events of the input, and those that wait without any. */
static void h2_events(hpxi_http_conn *conn, const uint8_t *data, size_t size)
{
    hpx_status status = 1;
    while (status == 1 && conn->state == HPXI_HTTP_OPEN) {
        hpxi_h2_event event;
        status =
            hpxi_h2_next(conn->h2, &data, &size, hpxi_http_conn_out(conn), h2_now(conn), &event);
        if (status == 1) {
            h2_event(conn, &event);
        }
    }
    if (status != 1 && status != HPX_E_PARTIAL) {
        h2_failed(conn, status);
        return;
    }
    h2_sync(conn);
}

void hpxi_http_h2_bytes(hpxi_http_conn *conn, const uint8_t *data, size_t size)
{
    hpxi_http_counters *counters = conn->core->counters;
    atomic_store_explicit(&counters->h2_last_read_ns, h2_now(conn), memory_order_relaxed);
    h2_events(conn, data, size);
    if (conn->state == HPXI_HTTP_OPEN) {
        hpxi_http_conn_mark(conn); /* answers, window updates */
    }
}

void hpxi_http_h2_end(hpxi_http_conn *conn, const hpx_error *error)
{
    HPX_ASSERT(conn->state == HPXI_HTTP_CLOSING);
    if (error->status == HPX_E_EOF) {
        hpxi_h2_eof(conn->h2);
    } else {
        hpxi_h2_fail(conn->h2, error->status);
    }
    const uint8_t *none = NULL;
    size_t nothing = 0;
    hpxi_h2_event event;
    hpxi_buf ignored; /* nobody would get it */
    hpxi_buf_init(&ignored, conn->core->shard->allocator);
    while (hpxi_h2_next(conn->h2, &none, &nothing, &ignored, h2_now(conn), &event) == 1) {
        h2_event(conn, &event);
    }
    hpxi_buf_fini(&ignored);
}

/* ---- Steps of the turn ----------------------------------------------------------------------- */

static void h2_set_timer(hpxi_http_conn *conn)
{
    hpxi_wheel *wheel = &conn->core->shard->owner.wheel;
    const uint64_t deadline_ns = hpxi_h2_deadline_ns(conn->h2);
    if (deadline_ns == HPXI_H2_NEVER_NS) {
        hpxi_wheel_cancel(wheel, &conn->h2_timer);
    } else if (!hpxi_timer_is_set(&conn->h2_timer) || conn->h2_timer.deadline_ns != deadline_ns) {
        hpxi_wheel_set(wheel, &conn->h2_timer, deadline_ns);
    }
}

void hpxi_http_h2_timer(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_http_conn_mark(CONN_OF_TIMER(timer)); /* flush does what is due */
}

void hpxi_http_h2_flush(hpxi_http_conn *conn)
{
    if (hpxi_sock_queued(conn->sock) > H2_QUEUE_BYTES && conn->sock->stuck) {
        return; /* on_drain comes back */
    }
    const hpx_status status =
        hpxi_h2_flush(conn->h2, hpxi_http_conn_out(conn), H2_QUEUE_BYTES, h2_now(conn));
    if (status == 1 && !conn->sock->stuck) {
        hpxi_http_conn_mark(conn);
    }
    h2_events(conn, NULL, 0);
    if (conn->state == HPXI_HTTP_OPEN) {
        h2_set_timer(conn);
    }
}

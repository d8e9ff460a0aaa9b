/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_request.c - a request's way from the queue to its one end: deadlines, retries, outcomes.
 *
 *   start -> QUEUED -(pool)-> granted -> SENDING -> WAITING -> RECEIVING -> done
 *   any of them -> fail, cancel, a deadline                            -> ENDED -> END
 *
 * Threads   The shard's. END is delivered from the settle step, never from inside a call.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/error.h"
#include "engine/http.h"

#define REQUEST_OF(member_ptr, member)                                                             \
    ((hpxi_http_request *)(void *)((char *)(member_ptr)-offsetof(hpxi_http_request, member)))

/* Buffers above this are given back after a request: one large body does not hold memory. */
#define REQUEST_KEEP_BYTES (256u << 10)

static uint64_t request_now(const hpxi_http_request *request)
{
    return request->core->shard->owner.now_ns;
}

hpx_stage hpxi_http_request_stage(const hpxi_http_request *request)
{
    switch (request->phase) {
    case HPXI_HTTP_QUEUED:
        return HPX_STAGE_QUEUE;
    case HPXI_HTTP_SENDING:
        return HPX_STAGE_REQUEST;
    case HPXI_HTTP_WAITING:
        return HPX_STAGE_RESPONSE;
    case HPXI_HTTP_RECEIVING:
        return request->status == 0 ? HPX_STAGE_RESPONSE : HPX_STAGE_BODY;
    case HPXI_HTTP_FREE:
    case HPXI_HTTP_ENDED:
        break;
    }
    return HPX_STAGE_NONE;
}

void hpxi_http_request_mark(hpxi_http_request *request)
{
    if (!request->on_settle) {
        hpx_shard *shard = request->core->shard;
        request->on_settle = true;
        request->next_settle = shard->owner.http.settle_requests;
        shard->owner.http.settle_requests = request;
    }
}

/* ---- Deadlines ------------------------------------------------------------------------------- */

static void request_set(hpxi_http_request *request, hpxi_timer *timer, uint64_t from, uint64_t ns)
{
    hpxi_wheel *wheel = &request->core->shard->owner.wheel;
    if (ns == HPX_NEVER || from > UINT64_MAX - ns) {
        hpxi_wheel_cancel(wheel, timer);
    } else {
        hpxi_wheel_set(wheel, timer, from + ns);
    }
}

static void request_timed_out(hpxi_http_request *request, hpx_status status, const char *what)
{
    hpx_error error;
    (void)hpxi_error_set(&error, status, hpxi_http_request_stage(request), "%s", what);
    hpxi_http_request_fail(request, &error);
    request->outcome = HPX_HTTP_TIMEOUT;
}

static void request_on_deadline(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_http_request *request = REQUEST_OF(timer, deadline);
    request_timed_out(
        request, HPX_E_HTTP_TIMEOUT, "the request was not finished within timeout_ns");
}

/* Nothing moved for long enough? Bytes that moved since the timer was set push it on. */
static void request_check_idle(hpxi_http_request *request, uint64_t now_ns)
{
    const uint64_t limit = hpxi_http_request_packed(request)->idle_timeout_ns;
    if (limit == HPX_NEVER) {
        return;
    }
    const bool rests = request->paused || request->blocked || request->pull_starved;
    const uint64_t from = rests ? now_ns : request->marks.moved_ns;
    if (now_ns >= from && now_ns - from >= limit) {
        request_timed_out(request, HPX_E_HTTP_IDLE, "no byte moved for idle_timeout_ns");
        return;
    }
    request_set(request, &request->stage, from, limit);
}

static void request_on_stage(hpxi_timer *timer, uint64_t now_ns)
{
    hpxi_http_request *request = REQUEST_OF(timer, stage);
    switch (request->phase) {
    case HPXI_HTTP_QUEUED:
        request_timed_out(
            request, HPX_E_CONNECT_TIMEOUT, "no connection could be had within connect_timeout_ns");
        return;
    case HPXI_HTTP_WAITING:
        request_timed_out(
            request,
            HPX_E_HTTP_FIRST_BYTE,
            "the response did not begin within first_byte_timeout_ns");
        return;
    case HPXI_HTTP_SENDING:
    case HPXI_HTTP_RECEIVING:
        request_check_idle(request, now_ns);
        return;
    case HPXI_HTTP_FREE:
    case HPXI_HTTP_ENDED:
        break;
    }
    HPX_ASSERT(false);
}

/* ---- The way ----------------------------------------------------------------------------------
 */

/* What a response leaves in the slot: gone, for the next attempt. */
static void request_renew(hpxi_http_request *request)
{
    request->conn = NULL;
    request->stream = HPXI_H2_NO_STREAM;
    request->body_sent = 0;
    request->pull_starved = false;
    request->status = 0;
    request->h2_ended = false;
    request->redirecting = false;
    request->decoding = false;
    request->head_count = 0;
    request->trailer_count = 0;
    request->trailers_at = 0;
    request->owes_headers = false;
    hpxi_buf_consume(&request->head, hpxi_buf_size(&request->head));
    hpxi_buf_consume(&request->body, hpxi_buf_size(&request->body));
    hpxi_buf_consume(&request->backlog, hpxi_buf_size(&request->backlog));
}

void hpxi_http_request_again(hpxi_http_request *request)
{
    hpxi_http_core *core = request->core;
    const hpxi_http_packed *packed = hpxi_http_request_packed(request);
    request_renew(request);
    request->phase = HPXI_HTTP_QUEUED;
    request->marks = (hpxi_http_marks){
        .began_ns = request->marks.began_ns,
        .attempt_ns = request_now(request),
        .moved_ns = request_now(request)};
    hpxi_http_origin origin;
    const hpx_span key = hpxi_http_packed_key(packed);
    hpxi_http_key_read(&origin, key.data, key.size);
    const hpxi_pool_kind kind =
        origin.version == HPX_HTTP_1_1 ? HPXI_POOL_UNIQUE : HPXI_POOL_SHARED;
    request->key = hpxi_pool_key_get(&core->pool, key, kind);
    if (request->key == NULL) {
        hpxi_http_request_fail_with(request, HPX_E_NO_MEMORY, "no memory for a pool key");
        return;
    }
    hpxi_pool_item *item = hpxi_pool_checkout(&core->pool, request->key, &request->waiter);
    if (item != NULL) {
        hpxi_count(&core->counters->reused, 1);
        hpxi_http_pool_ops.grant(&request->waiter, item);
        return;
    }
    hpxi_count(&core->counters->waited, 1);
    request_set(request, &request->stage, request->marks.attempt_ns, packed->connect_timeout_ns);
}

/* FREE -> open. */
static void request_open(hpxi_http_request *request)
{
    hpxi_http_core *core = request->core;
    HPX_ASSERT(request->phase == HPXI_HTTP_FREE);
    hpxi_timer_init(&request->deadline, request_on_deadline);
    hpxi_timer_init(&request->stage, request_on_stage);
    request->next = core->open;
    request->prev = NULL;
    if (request->next != NULL) {
        request->next->prev = request;
    }
    core->open = request;
    core->open_count++;
    hpxi_count(&core->counters->requests, 1);
    request->pulled = false;
    request->paused = false;
    request->blocked = false;
    request->error = (hpx_error){0};
    request->info = (hpx_http_info){.shard = core->shard->index, .attempts = 1};
    request->marks = (hpxi_http_marks){.began_ns = request_now(request)};
}

void hpxi_http_request_start(hpxi_http_request *request)
{
    request_open(request);
    request_set(
        request,
        &request->deadline,
        request->marks.began_ns,
        hpxi_http_request_packed(request)->timeout_ns);
    hpxi_http_request_again(request);
    if (request->core->shard->owner.phase != HPXI_SHARD_RUNNING) {
        hpxi_http_request_cancel(request, "the engine stops");
    }
}

void hpxi_http_request_start_failed(hpxi_http_request *request, hpxi_http_packed *packed)
{
    request->spare = (hpxi_http_packed){.user = packed->user, .timeout_ns = HPX_NEVER};
    hpxi_http_packed_drop(packed);
    request_open(request);
    request->phase = HPXI_HTTP_QUEUED;
    hpxi_http_request_fail_with(request, HPX_E_NO_MEMORY, "no memory for the request");
}

void hpxi_http_request_resume(hpxi_http_request *request)
{
    if (request->pull_starved && request->conn != NULL) {
        hpxi_http_conn_resume_body(request->conn, request);
    }
    request->pull_starved = false;
    if (request->paused) {
        request->paused = false;
        hpxi_http_request_moved(request);
        hpxi_http_request_mark(request);
    }
}

void hpxi_http_request_pause(hpxi_http_request *request)
{
    request->paused = true;
}

void hpxi_http_request_granted(hpxi_http_request *request, hpxi_http_conn *conn)
{
    HPX_ASSERT(request->phase == HPXI_HTTP_QUEUED);
    hpx_http_info *info = &request->info;
    const uint64_t now = request_now(request);
    request->conn = conn;
    request->phase = HPXI_HTTP_SENDING;
    request->marks.granted_ns = now;
    request->marks.moved_ns = now;
    info->reused = conn->item.served;
    info->version = conn->is_h2 ? HPX_HTTP_2 : HPX_HTTP_1_1;
    info->is_tls = conn->origin.is_tls;
    info->tls_verified = conn->info.tls_verified;
    info->tls_resumed = conn->info.tls_resumed;
    memcpy(info->tls_version, conn->info.tls_version, sizeof(info->tls_version));
    memcpy(info->tls_cipher, conn->info.tls_cipher, sizeof(info->tls_cipher));
    memcpy(info->peer_address, conn->info.peer_address, sizeof(info->peer_address));
    info->resolve_ns = info->reused ? 0 : conn->info.resolve_ns;
    info->connect_ns = info->reused ? 0 : conn->info.connect_ns;
    info->tls_ns = info->reused ? 0 : conn->info.tls_ns;
    const uint64_t waited = now - request->marks.attempt_ns;
    const uint64_t making = info->resolve_ns + info->connect_ns + info->tls_ns;
    info->queue_ns = waited > making ? waited - making : 0;
    request_set(request, &request->stage, now, hpxi_http_request_packed(request)->idle_timeout_ns);
}

void hpxi_http_request_sent(hpxi_http_request *request)
{
    if (request->phase != HPXI_HTTP_SENDING) {
        return; /* the response began before */
    }
    request->phase = HPXI_HTTP_WAITING;
    request->marks.sent_ns = request_now(request);
    request->marks.moved_ns = request->marks.sent_ns;
    request_set(
        request,
        &request->stage,
        request->marks.sent_ns,
        hpxi_http_request_packed(request)->first_byte_timeout_ns);
}

void hpxi_http_request_first_byte(hpxi_http_request *request)
{
    if (request->phase == HPXI_HTTP_RECEIVING) {
        return;
    }
    HPX_ASSERT(request->phase == HPXI_HTTP_SENDING || request->phase == HPXI_HTTP_WAITING);
    request->phase = HPXI_HTTP_RECEIVING;
    request->marks.first_byte_ns = request_now(request);
    request->marks.moved_ns = request->marks.first_byte_ns;
    request_set(
        request,
        &request->stage,
        request->marks.first_byte_ns,
        hpxi_http_request_packed(request)->idle_timeout_ns);
}

/* ---- The end ----------------------------------------------------------------------------------
 */

static uint64_t request_span(uint64_t from, uint64_t to)
{
    return from != 0 && to > from ? to - from : 0;
}

static void request_timings(hpxi_http_request *request)
{
    const uint64_t now = request_now(request);
    const hpxi_http_marks *marks = &request->marks;
    hpx_http_info *info = &request->info;
    const uint64_t sent = marks->sent_ns != 0 ? marks->sent_ns : marks->first_byte_ns;
    if (marks->granted_ns == 0) {
        info->queue_ns = request_span(marks->attempt_ns, now);
    } else if (sent == 0) {
        info->send_ns = request_span(marks->granted_ns, now);
    } else {
        info->send_ns = request_span(marks->granted_ns, sent);
        info->wait_ns = request_span(sent, marks->first_byte_ns != 0 ? marks->first_byte_ns : now);
        info->receive_ns = request_span(marks->first_byte_ns, now);
    }
    info->request_bytes = request->body_sent;
    info->total_ns = request_span(marks->began_ns, now);
}

/* Off the connection and out of the queue. Tells what the peer may have done. */
static hpx_http_processed request_leave(hpxi_http_request *request)
{
    hpxi_http_core *core = request->core;
    hpxi_wheel_cancel(&core->shard->owner.wheel, &request->stage);
    hpx_http_processed processed = HPX_HTTP_PROCESSED_NO;
    if (request->conn != NULL) {
        processed = hpxi_http_conn_give_up(request->conn, request);
        request->conn = NULL;
        request->stream = HPXI_H2_NO_STREAM;
    }
    hpxi_pool_cancel(&core->pool, &request->waiter);
    if (request->key != NULL) {
        hpxi_pool_key_release(&core->pool, request->key);
        request->key = NULL;
    }
    return request->status != 0 ? HPX_HTTP_PROCESSED_YES : processed;
}

/* What was held back of a response that will not be delivered whole. */
static void request_drop_body(hpxi_http_request *request)
{
    hpxi_buf_consume(&request->backlog, hpxi_buf_size(&request->backlog));
    hpxi_buf_consume(&request->body, hpxi_buf_size(&request->body));
}

static void request_end(hpxi_http_request *request, hpx_http_outcome outcome)
{
    HPX_ASSERT(request->phase != HPXI_HTTP_FREE && request->phase != HPXI_HTTP_ENDED);
    hpxi_wheel_cancel(&request->core->shard->owner.wheel, &request->deadline);
    request_timings(request);
    request->outcome = outcome;
    request->phase = HPXI_HTTP_ENDED;
    hpxi_http_packed_drop(hpxi_http_request_packed(request));
    if (hpxi_buf_size(&request->next_packed) != 0) {
        hpxi_http_packed_drop(
            (hpxi_http_packed *)(void *)(request->next_packed.data + request->next_packed.head));
    }
    hpxi_http_request_mark(request);
}

void hpxi_http_request_fail(hpxi_http_request *request, const hpx_error *error)
{
    hpxi_http_request_fail_processed(request, error, HPX_HTTP_PROCESSED_NO);
}

void hpxi_http_request_fail_processed(
    hpxi_http_request *request, const hpx_error *error, hpx_http_processed processed)
{
    HPX_ASSERT(error->status < 0);
    if (request->phase == HPXI_HTTP_FREE || request->phase == HPXI_HTTP_ENDED) {
        return; /* its first end stands */
    }
    request->error = *error;
    if (request->error.stage == HPX_STAGE_NONE) {
        request->error.stage = hpxi_http_request_stage(request);
    }
    const hpx_http_processed left = request_leave(request);
    request->processed = left > processed ? left : processed;
    request_end(request, HPX_HTTP_FAILED);
    request_drop_body(request);
}

void hpxi_http_request_fail_with(
    hpxi_http_request *request, hpx_status status, const char *format, ...)
{
    char detail[HPX_ERROR_DETAIL_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    hpx_error error;
    (void)hpxi_error_set(&error, status, HPX_STAGE_NONE, "%s", detail);
    hpxi_http_request_fail(request, &error);
}

void hpxi_http_request_cancel(hpxi_http_request *request, const char *why)
{
    if (request->phase == HPXI_HTTP_ENDED) {
        if (request->outcome != HPX_HTTP_DONE || !hpxi_http_deliver_has_more(request)) {
            return; /* its first end stands */
        }
        (void)hpxi_error_set(&request->error, HPX_E_CANCELLED, HPX_STAGE_BODY, "%s", why);
        request_drop_body(request);
        hpxi_http_request_mark(request);
    } else if (request->phase != HPXI_HTTP_FREE) {
        hpxi_http_request_fail_with(request, HPX_E_CANCELLED, "%s", why);
    }
    request->outcome = HPX_HTTP_CANCELLED;
}

void hpxi_http_response_complete(hpxi_http_request *request)
{
    HPX_ASSERT(request->conn == NULL); /* the protocol gave the use back */
    if (request->phase == HPXI_HTTP_ENDED) {
        return;
    }
    (void)request_leave(request);
    if (request->redirecting) {
        request->info.redirects++;
        hpxi_count(&request->core->counters->redirects, 1);
        hpxi_http_redirect_follow(request);
        hpxi_http_request_again(request);
        return;
    }
    request->processed = HPX_HTTP_PROCESSED_YES;
    request_end(request, HPX_HTTP_DONE);
}

void hpxi_http_request_retry(
    hpxi_http_request *request, hpxi_counter *counter, const hpx_error *error)
{
    HPX_ASSERT(request->conn == NULL && request->status == 0);
    hpxi_http_core *core = request->core;
    const uint32_t retries_max = core->settings->config.retries_max;
    const bool allowed =
        retries_max != HPX_HTTP_NO_RETRIES && request->info.attempts <= retries_max;
    if (!allowed || request->pulled || core->released ||
        core->shard->owner.phase != HPXI_SHARD_RUNNING) {
        hpxi_http_request_fail(request, error); /* processed: no */
        return;
    }
    hpxi_count(&core->counters->retries, 1);
    hpxi_count(counter, 1);
    (void)request_leave(request);
    request->info.attempts++;
    hpxi_http_request_again(request);
}

/* ---- Settle -----------------------------------------------------------------------------------
 */

static void request_shrink(hpxi_buf *buf)
{
    hpxi_buf_consume(buf, hpxi_buf_size(buf));
    if (buf->capacity > REQUEST_KEEP_BYTES) {
        hpxi_buf_fini(buf);
    }
}

static void request_count(const hpxi_http_request *request)
{
    hpxi_http_counters *counters = request->core->counters;
    switch (request->outcome) {
    case HPX_HTTP_DONE:
        hpxi_count(&counters->done, 1);
        return;
    case HPX_HTTP_FAILED:
        hpxi_count(&counters->failed, 1);
        return;
    case HPX_HTTP_TIMEOUT:
        hpxi_count(&counters->timeouts, 1);
        return;
    case HPX_HTTP_CANCELLED:
        hpxi_count(&counters->cancelled, 1);
        return;
    }
    HPX_ASSERT(false);
}

static void request_free(hpxi_http_request *request)
{
    hpxi_http_core *core = request->core;
    HPX_ASSERT(request->phase == HPXI_HTTP_ENDED && request->conn == NULL);
    HPX_ASSERT(!hpxi_timer_is_set(&request->deadline) && !hpxi_timer_is_set(&request->stage));
    request_count(request);
    *(request->prev != NULL ? &request->prev->next : &core->open) = request->next;
    if (request->next != NULL) {
        request->next->prev = request->prev;
    }
    core->open_count--;
    request_renew(request);
    request_shrink(&request->packed);
    request_shrink(&request->next_packed);
    request_shrink(&request->head);
    request_shrink(&request->body);
    request_shrink(&request->backlog);
    request->phase = HPXI_HTTP_FREE;
    hpxi_http_core_give_back(core, request);
    if (core->released) {
        hpxi_http_core_mark(core); /* perhaps it was the last one */
    }
}

void hpxi_http_request_settle(hpxi_http_request *request)
{
    if (request->phase == HPXI_HTTP_FREE) {
        return;
    }
    if (hpxi_http_deliver_owed(request)) {
        request_free(request);
    }
}

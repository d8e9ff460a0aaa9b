/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_deliver.c - a response's way out: decoded, collected or in pieces, as events.
 *
 *   bytes -> [backlog] -> [decoder] -> [held] -> event         in pieces
 *   bytes -> [decoder] -> collected -> event                   with collect_bytes_max
 *
 * Role      `backlog` and `held` are used only while the app has paused or its port's ring is full.
 *           Then the peer is throttled, so what they hold is bounded: by the stream's window, or by
 *           what was on its way when the socket was paused.
 * Threads   The shard's.
 */
#include <string.h>

#include "engine/error.h"
#include "engine/http.h"
#include "engine/http_link.h"

static bool deliver_collects(hpxi_http_request *request)
{
    return (hpxi_http_request_packed(request)->flags & HPXI_HTTP_PACK_COLLECT) != 0;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void deliver_block(hpxi_http_request *request)
{
    if (!request->blocked) {
        request->blocked = true;
        request->core->blocked_count++;
    }
}

static void deliver_unblock(hpxi_http_request *request)
{
    if (request->blocked) {
        request->blocked = false;
        HPX_ASSERT(request->core->blocked_count != 0);
        request->core->blocked_count--;
    }
}

/* To the handler or into the ring. False: the ring is full, nothing was done. */
static bool deliver_event(hpxi_http_request *request, hpx_http_event *event)
{
    hpxi_http_core *core = request->core;
    event->id = request->id;
    event->user = hpxi_http_request_packed(request)->user;
    event->time_ns = core->shard->owner.now_ns;
    if (core->released) {
        return true;
    }
    if (core->link == NULL) {
        const hpx_http_config *config = &core->settings->config;
        config->on_event(core->client, event, config->user);
        return true;
    }
    if (hpxi_http_link_emit(core->link, event, &request->body)) {
        return true;
    }
    deliver_block(request);
    return false;
}

/* ---- Kept heads ------------------------------------------------------------------------------ */

static bool deliver_keep(hpxi_buf *head, const hpx_http_header *headers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const hpxi_http_packed_header sizes = {
            .name_bytes = (uint32_t)headers[i].name.size,
            .value_bytes = (uint32_t)headers[i].value.size};
        if (!hpxi_buf_append(head, &sizes, sizeof(sizes)) ||
            !hpxi_buf_append(head, headers[i].name.data, headers[i].name.size) ||
            !hpxi_buf_append(head, headers[i].value.data, headers[i].value.size)) {
            return false;
        }
    }
    return true;
}

/* Views of what was kept, into `to`. */
static void deliver_kept(hpx_span bytes, hpx_http_header *to, uint32_t count)
{
    const uint8_t *at = bytes.data;
    for (uint32_t i = 0; i < count; i++) {
        hpxi_http_packed_header sizes;
        memcpy(&sizes, at, sizeof(sizes));
        at += sizeof(sizes);
        to[i].name = (hpx_span){.data = at, .size = sizes.name_bytes};
        at += sizes.name_bytes;
        to[i].value = (hpx_span){.data = at, .size = sizes.value_bytes};
        at += sizes.value_bytes;
    }
    HPX_ASSERT(count == 0 || at <= bytes.data + bytes.size);
}

static bool deliver_kept_headers(hpxi_http_request *request)
{
    hpx_http_header *headers = request->core->headers;
    deliver_kept(hpxi_buf_span(&request->head), headers, request->head_count);
    hpx_http_event event = {
        .kind = HPX_HTTP_EVENT_HEADERS,
        .status = request->status,
        .headers = headers,
        .header_count = request->head_count,
    };
    return deliver_event(request, &event);
}

/* ---- Failing --------------------------------------------------------------------------------- */

/* Also after a whole response was received, and only now looked at. */
static void deliver_fail(hpxi_http_request *request, hpx_status status, const char *detail)
{
    if (request->phase != HPXI_HTTP_ENDED) {
        hpxi_http_request_fail_with(request, status, "%s", detail);
        return;
    }
    HPX_ASSERT(request->outcome == HPX_HTTP_DONE);
    request->outcome = HPX_HTTP_FAILED;
    (void)hpxi_error_set(&request->error, status, HPX_STAGE_BODY, "%s", detail);
    hpxi_buf_consume(&request->backlog, hpxi_buf_size(&request->backlog));
    hpxi_buf_consume(&request->body, hpxi_buf_size(&request->body));
}

static bool deliver_is_over(const hpxi_http_request *request)
{
    return request->phase == HPXI_HTTP_ENDED && request->outcome != HPX_HTTP_DONE;
}

/* ---- Body ------------------------------------------------------------------------------------ */

static void deliver_collect(hpxi_http_request *request, hpx_span bytes)
{
    const uint64_t max = hpxi_http_request_packed(request)->collect_bytes_max;
    if (bytes.size > max - hpxi_buf_size(&request->body)) {
        deliver_fail(request, HPX_E_HTTP_BODY_TOO_BIG, "the body is above collect_bytes_max");
    } else if (!hpxi_buf_append(&request->body, bytes.data, bytes.size)) {
        deliver_fail(request, HPX_E_NO_MEMORY, "no memory for the body");
    }
}

static bool deliver_holds_back(const hpxi_http_request *request)
{
    HPX_DASSERT(!request->owes_headers || request->blocked); /* they go first */
    return request->paused || request->blocked;
}

/* Ready bytes to the app; advances past what was taken. */
static void deliver_pieces(hpxi_http_request *request, const uint8_t **data, size_t *size)
{
    const hpxi_http_link *link = request->core->link;
    const size_t piece_max = link != NULL ? hpxi_http_link_piece_max(link) : SIZE_MAX;
    while (*size != 0 && !deliver_is_over(request) && !deliver_holds_back(request)) {
        const size_t piece = *size < piece_max ? *size : piece_max;
        hpx_http_event event = {
            .kind = HPX_HTTP_EVENT_BODY, .body = {.data = *data, .size = piece}};
        if (!deliver_event(request, &event)) {
            return;
        }
        *data += piece;
        *size -= piece;
    }
}

/* Decoded or plain bytes, counted: collected or delivered; what cannot go now is held. */
static void deliver_ready(hpxi_http_request *request, const uint8_t *data, size_t size)
{
    request->info.body_bytes += size;
    if (deliver_collects(request)) {
        deliver_collect(request, (hpx_span){.data = data, .size = size});
        return;
    }
    deliver_pieces(request, &data, &size);
    if (size != 0 && !deliver_is_over(request) && !hpxi_buf_append(&request->body, data, size)) {
        deliver_fail(request, HPX_E_NO_MEMORY, "no memory for the body");
    }
}

/* A failure of the decoder, in the words of the API. */
static void deliver_fail_decoder(hpxi_http_request *request, hpx_status status)
{
    const hpx_status told = status == HPX_E_HTTP_TOO_BIG     ? HPX_E_HTTP_BODY_TOO_BIG
                            : status == HPX_E_HTTP_MALFORMED ? HPX_E_HTTP_ENCODING
                            : status == HPX_E_EOF            ? HPX_E_HTTP_TRUNCATED
                                                             : status;
    deliver_fail(request, told, hpxi_h1_content_error(request->decoder)->detail);
}

static void deliver_decode(hpxi_http_request *request, const uint8_t **data, size_t *size)
{
    uint8_t *to = request->core->decoded;
    while (!deliver_is_over(request) && !deliver_holds_back(request)) {
        size_t made = 0;
        const int status =
            hpxi_h1_content_next(request->decoder, data, size, to, HPXI_HTTP_DECODE_BYTES, &made);
        if (status == HPX_E_PARTIAL) {
            return;
        }
        if (status == 1) {
            deliver_ready(request, to, made);
        } else {
            deliver_fail_decoder(request, status);
        }
    }
}

/* Raw bytes, as far as they can go now; advances past what was taken. */
static void deliver_raw(hpxi_http_request *request, const uint8_t **data, size_t *size)
{
    if (request->decoding) {
        deliver_decode(request, data, size);
        return;
    }
    if (deliver_collects(request)) {
        deliver_ready(request, *data, *size);
        *data += *size;
        *size = 0;
        return;
    }
    const size_t before = *size;
    deliver_pieces(request, data, size);
    request->info.body_bytes += before - *size;
}

size_t hpxi_http_deliver_body(hpxi_http_request *request, hpx_span bytes)
{
    if (request->phase == HPXI_HTTP_ENDED) {
        return 0;
    }
    request->info.response_bytes += bytes.size;
    if (request->info.response_bytes > request->core->settings->config.body_bytes_max) {
        deliver_fail(request, HPX_E_HTTP_BODY_TOO_BIG, "the body is above body_bytes_max");
        return 0;
    }
    if (request->redirecting) {
        return 0;
    }
    const uint8_t *data = bytes.data;
    size_t size = bytes.size;
    const bool held = !deliver_collects(request) && hpxi_buf_size(&request->body) != 0;
    if (hpxi_buf_size(&request->backlog) == 0 && !held && !deliver_holds_back(request)) {
        deliver_raw(request, &data, &size);
    }
    if (size == 0 || request->phase == HPXI_HTTP_ENDED) {
        return 0;
    }
    if (!hpxi_buf_append(&request->backlog, data, size)) {
        deliver_fail(request, HPX_E_NO_MEMORY, "no memory for the body");
        return 0;
    }
    return size;
}

/* ---- Head and end ---------------------------------------------------------------------------- */

static bool
deliver_start_decoder(hpxi_http_request *request, const hpx_http_header *headers, uint32_t count)
{
    if ((hpxi_http_request_packed(request)->flags & HPXI_HTTP_PACK_DECODE) == 0) {
        return true;
    }
    const hpxi_h1_field *field =
        hpxi_h1_field_find((const hpxi_h1_field *)(const void *)headers, count, "content-encoding");
    hpxi_h1_coding coding;
    if (field == NULL || !hpxi_h1_coding_of(field->value, &coding) ||
        coding == HPXI_H1_CODING_IDENTITY) {
        return true; /* as it is: the app sees the header */
    }
    const hpxi_h1_content_limits limits = {
        .output_bytes_max = request->core->settings->config.decoded_bytes_max};
    if (request->decoder != NULL) {
        hpxi_h1_content_reset(request->decoder, coding, &limits);
    } else {
        request->decoder = hpxi_h1_content_new(coding, &limits, request->core->shard->allocator);
        if (request->decoder == NULL) {
            return false;
        }
    }
    request->decoding = true;
    return true;
}

void hpxi_http_deliver_head(
    hpxi_http_request *request, int32_t status, const hpx_http_header *headers, uint32_t count)
{
    request->status = status;
    if (request->core->settings->config.redirects_max != 0) {
        request->redirecting = hpxi_http_redirect_prepare(request, headers, count);
        if (request->redirecting || request->phase == HPXI_HTTP_ENDED) {
            return;
        }
    }
    if (!deliver_start_decoder(request, headers, count)) {
        deliver_fail(request, HPX_E_NO_MEMORY, "no memory for a decoder");
        return;
    }
    if (!deliver_collects(request)) {
        hpx_http_event event = {
            .kind = HPX_HTTP_EVENT_HEADERS,
            .status = status,
            .headers = headers,
            .header_count = count,
        };
        if (deliver_event(request, &event)) {
            return;
        }
        request->owes_headers = true;
    }
    if (!deliver_keep(&request->head, headers, count)) {
        deliver_fail(request, HPX_E_NO_MEMORY, "no memory for the headers");
        return;
    }
    request->head_count = count;
    request->trailers_at = hpxi_buf_size(&request->head);
}

void hpxi_http_deliver_trailers(
    hpxi_http_request *request, const hpx_http_header *trailers, uint32_t count)
{
    if (request->phase == HPXI_HTTP_ENDED || request->redirecting) {
        return;
    }
    if (!deliver_keep(&request->head, trailers, count)) {
        deliver_fail(request, HPX_E_NO_MEMORY, "no memory for the trailers");
        return;
    }
    request->trailer_count = count;
}

static bool deliver_end(hpxi_http_request *request)
{
    hpxi_http_core *core = request->core;
    const bool collected = deliver_collects(request) && request->outcome == HPX_HTTP_DONE;
    const hpx_span kept = hpxi_buf_span(&request->head);
    hpx_http_header *headers = core->headers;
    hpx_http_header *trailers = headers + request->head_count;
    if (collected) {
        deliver_kept(kept, headers, request->head_count);
    }
    if (request->trailer_count != 0) {
        const hpx_span rest = {
            .data = kept.data + request->trailers_at, .size = kept.size - request->trailers_at};
        deliver_kept(rest, trailers, request->trailer_count);
    }
    hpx_http_event event = {
        .kind = HPX_HTTP_EVENT_END,
        .status = request->status,
        .headers = collected ? headers : NULL,
        .header_count = collected ? request->head_count : 0,
        .trailers = trailers,
        .trailer_count = request->trailer_count,
        .body = collected ? hpxi_buf_span(&request->body) : (hpx_span){0},
        .outcome = request->outcome,
        .processed = request->processed,
        .error = &request->error,
        .info = &request->info,
    };
    core->ending = 1; /* its place is free for whoever is called now */
    const bool out = deliver_event(request, &event);
    core->ending = 0;
    return out;
}

/* Held and backlogged bytes, as far as they can go. */
static void deliver_held(hpxi_http_request *request)
{
    if (!deliver_collects(request) && hpxi_buf_size(&request->body) != 0) {
        hpx_span held = hpxi_buf_span(&request->body);
        const size_t before = held.size;
        deliver_pieces(request, &held.data, &held.size);
        if (!deliver_is_over(request)) { /* else it is empty already */
            hpxi_buf_consume(&request->body, before - held.size);
        }
        if (hpxi_buf_size(&request->body) != 0) {
            return;
        }
    }
    hpx_span rest = hpxi_buf_span(&request->backlog);
    const size_t before = rest.size;
    if (before == 0 && !request->decoding) {
        return;
    }
    deliver_raw(request, &rest.data, &rest.size);
    if (deliver_is_over(request)) {
        return;
    }
    hpxi_buf_consume(&request->backlog, before - rest.size);
    if (request->conn != NULL && before != rest.size) {
        hpxi_http_conn_taken(request->conn, request, before - rest.size);
    }
}

bool hpxi_http_deliver_has_more(hpxi_http_request *request)
{
    if (deliver_collects(request)) {
        return false;
    }
    return hpxi_buf_size(&request->body) != 0 || hpxi_buf_size(&request->backlog) != 0 ||
           (request->decoding && hpxi_h1_content_has_more(request->decoder));
}

bool hpxi_http_deliver_owed(hpxi_http_request *request)
{
    deliver_unblock(request);
    if (request->owes_headers && !deliver_is_over(request)) {
        if (!deliver_kept_headers(request)) {
            return false;
        }
    }
    request->owes_headers = false;
    if (!deliver_is_over(request) && !request->paused) {
        deliver_held(request);
    }
    if (request->phase != HPXI_HTTP_ENDED || request->blocked) {
        return false;
    }
    if (!deliver_is_over(request)) {
        if (hpxi_http_deliver_has_more(request) && !request->core->released) {
            return false; /* END waits behind the body */
        }
        if (request->decoding && !request->core->released) {
            const hpx_status status = hpxi_h1_content_finish(request->decoder);
            if (status != HPX_OK) {
                deliver_fail_decoder(request, status);
            }
        }
    }
    return deliver_end(request);
}

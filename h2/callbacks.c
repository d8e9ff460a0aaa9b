/* SPDX-License-Identifier: Apache-2.0 */
/*
 * callbacks.c - what nghttp2 tells while it takes input or gives output.
 *
 * Role      Callbacks note down: events, ends of streams, windows to give back. They submit nothing
 *           and change nothing in nghttp2, whose own state is in motion while they run; what is to
 *           be done about it is done by the caller of nghttp2 afterwards (session.c). The one
 *           exception is nghttp2_submit_trailer() in a body's read function, as its manual asks.
 */
#include <stdio.h>

#include "h2/internal.h"

#define CALLBACKS_FIELD_OVERHEAD 32u /* RFC 9113 6.5.2 */
#define CALLBACKS_STATUS_FINAL   200u

/* Tokens of the overhead budget that useful work earns; see hpxi_h2_limits. */
#define CALLBACKS_STREAM_EARNS 16u
#define CALLBACKS_DATA_EARNS   4u

/* ---- Heads received ------------------------------------------------------------------------- */

static bool incoming_is_head(const nghttp2_frame *frame)
{
    return frame->hd.type == NGHTTP2_HEADERS;
}

static int on_begin_headers(nghttp2_session *library, const nghttp2_frame *frame, void *user)
{
    hpxi_h2 *h2 = user;
    HPX_DASSERT(h2->is_inside);
    if (!incoming_is_head(frame)) {
        return 0;
    }
    hpxi_buf_consume(&h2->arena, hpxi_buf_size(&h2->arena));
    h2->incoming = (hpxi_h2_incoming){.stream = hpxi_h2_handle_of(h2, frame->hd.stream_id)};
    if (!h2->config.is_server || frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        return 0;
    }
    hpxi_h2_slot *slot = hpxi_h2_slot_take(h2, frame->hd.stream_id);
    if (slot == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* RST_STREAM */
    }
    slot->is_written = true;
    h2->live_count++;
    h2->opened_count++;
    hpxi_h2_bucket_earn(&h2->overhead, CALLBACKS_STREAM_EARNS);
    h2->incoming.stream = hpxi_h2_slot_handle(h2, slot);
    const int rc = nghttp2_session_set_stream_user_data(
        library, frame->hd.stream_id, (void *)(uintptr_t)h2->incoming.stream);
    HPX_ASSERT(rc == 0); /* the stream was opened just now */
    return 0;
}

/* A copy in the arena, as an offset into it; false when out of memory. */
static bool incoming_copy(hpxi_h2 *h2, nghttp2_vec from, hpx_span *to)
{
    const size_t offset = hpxi_buf_size(&h2->arena);
    HPX_DASSERT(offset <= h2->config.limits.header_list_bytes_max);
    if (!hpxi_buf_append(&h2->arena, from.base, from.len)) {
        return false;
    }
    *to = (hpx_span){.data = (const uint8_t *)(uintptr_t)offset, .size = from.len};
    return true;
}

static hpx_span *incoming_pseudo(hpxi_h2 *h2, nghttp2_vec name)
{
    static const char *const names[] = {":method", ":scheme", ":authority", ":path"};
    hpx_span *const spans[] = {
        &h2->incoming.method, &h2->incoming.scheme, &h2->incoming.authority, &h2->incoming.path};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (name.len == strlen(names[i]) && memcmp(name.base, names[i], name.len) == 0) {
            return spans[i];
        }
    }
    return NULL;
}

/* Counted before it is copied. NULL, or which limit is met. */
static const char *incoming_count(hpxi_h2 *h2, nghttp2_vec name, nghttp2_vec value)
{
    const hpxi_h2_limits *limits = &h2->config.limits;
    h2->incoming.list_bytes += name.len + value.len + CALLBACKS_FIELD_OVERHEAD;
    if (h2->incoming.list_bytes > limits->header_list_bytes_max) {
        return "header_list_bytes_max";
    }
    if (name.base[0] != ':' && h2->incoming.field_count == limits->fields_max) {
        return "fields_max";
    }
    return NULL;
}

static int incoming_break(hpxi_h2 *h2, hpxi_h2_slot *slot, hpx_status status)
{
    h2->incoming.is_broken = true;
    if (slot->status == HPX_OK) {
        slot->status = status;
    }
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* RST_STREAM; the rest is only decompressed */
}

/* The three digits of :status, which nghttp2 has checked. */
static int incoming_status(hpxi_h2 *h2, hpxi_h2_slot *slot, nghttp2_vec value)
{
    uint16_t status = 0;
    for (size_t i = 0; i < value.len; i++) {
        status = (uint16_t)(status * 10 + (value.base[i] - '0'));
    }
    h2->incoming.status = status;
    if (status < CALLBACKS_STATUS_FINAL &&
        ++slot->informational_count > h2->config.limits.informational_max) {
        return incoming_break(h2, slot, HPX_E_HTTP_TOO_BIG);
    }
    return 0;
}

static int incoming_add(hpxi_h2 *h2, hpxi_h2_slot *slot, nghttp2_vec name, nghttp2_vec value)
{
    if (incoming_count(h2, name, value) != NULL) {
        return incoming_break(h2, slot, HPX_E_HTTP_TOO_BIG);
    }
    if (name.base[0] == ':') {
        hpx_span *pseudo = incoming_pseudo(h2, name);
        if (pseudo == NULL) {
            return incoming_status(h2, slot, value);
        }
        return incoming_copy(h2, value, pseudo) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    hpxi_h2_field *field = &h2->fields[h2->incoming.field_count];
    if (!incoming_copy(h2, name, &field->name) || !incoming_copy(h2, value, &field->value)) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    h2->incoming.field_count++;
    return 0;
}

static int on_header(
    nghttp2_session *library,
    const nghttp2_frame *frame,
    const uint8_t *name,
    size_t name_size,
    const uint8_t *value,
    size_t value_size,
    uint8_t flags,
    void *user)
{
    (void)library;
    hpxi_h2 *h2 = user;
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, h2->incoming.stream);
    if (!incoming_is_head(frame) || slot == NULL || h2->incoming.is_broken) {
        return 0; /* of a stream that the user has reset */
    }
    HPX_ASSERT(name_size != 0); /* nghttp2 refuses it */
    /* nghttp2_vec has no const. */
    const nghttp2_vec n = {.base = (uint8_t *)(uintptr_t)name, .len = name_size};
    const nghttp2_vec v = {.base = (uint8_t *)(uintptr_t)value, .len = value_size};
    const uint32_t before = h2->incoming.field_count;
    const int rc = incoming_add(h2, slot, n, v);
    if (rc == NGHTTP2_ERR_CALLBACK_FAILURE) {
        hpxi_h2_session_fail(h2, HPX_E_NO_MEMORY, HPXI_H2_INTERNAL_ERROR, "no memory for a head");
    } else if (h2->incoming.field_count != before) {
        h2->fields[before].is_sensitive = (flags & NGHTTP2_NV_FLAG_NO_INDEX) != 0;
    }
    return rc;
}

/* RFC 9113 8.2.1: a malformed field makes the message malformed; nghttp2 alone would skip it. */
static int on_invalid_header(
    nghttp2_session *library,
    const nghttp2_frame *frame,
    const uint8_t *name,
    size_t name_size,
    const uint8_t *value,
    size_t value_size,
    uint8_t flags,
    void *user)
{
    (void)library;
    (void)frame;
    (void)name;
    (void)name_size;
    (void)value;
    (void)value_size;
    (void)flags;
    hpxi_h2 *h2 = user;
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, h2->incoming.stream);
    return slot == NULL ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
                        : incoming_break(h2, slot, HPX_E_HTTP_MALFORMED);
}

static void incoming_settle(const hpxi_h2 *h2, hpx_span *span)
{
    const size_t offset = (uintptr_t)span->data;
    HPX_DASSERT(offset + span->size <= hpxi_buf_size(&h2->arena));
    span->data = span->size == 0 ? NULL : h2->arena.data + h2->arena.head + offset;
}

/* A head is complete: offsets become spans, and the event is due. */
static void incoming_deliver(hpxi_h2 *h2, hpxi_h2_slot *slot)
{
    hpxi_h2_incoming *in = &h2->incoming;
    HPX_DASSERT(!in->is_broken);
    HPX_DASSERT(!slot->is_ended);
    HPX_DASSERT(in->field_count <= h2->config.limits.fields_max);
    hpxi_h2_event_kind kind = HPXI_H2_TRAILERS;
    if (!slot->got_final && h2->config.is_server) {
        kind = HPXI_H2_REQUEST;
        slot->is_announced = true;
    } else if (!slot->got_final) {
        kind = in->status < CALLBACKS_STATUS_FINAL ? HPXI_H2_INFORMATIONAL : HPXI_H2_RESPONSE;
    }
    slot->got_final = slot->got_final || kind != HPXI_H2_INFORMATIONAL;
    for (uint32_t i = 0; i < in->field_count; i++) {
        incoming_settle(h2, &h2->fields[i].name);
        incoming_settle(h2, &h2->fields[i].value);
    }
    incoming_settle(h2, &in->method);
    incoming_settle(h2, &in->scheme);
    incoming_settle(h2, &in->authority);
    incoming_settle(h2, &in->path);
    if (kind == HPXI_H2_REQUEST) {
        slot->is_head_only = in->method.size == 4 && memcmp(in->method.data, "HEAD", 4) == 0;
    }
    hpxi_h2_event *event = hpxi_h2_session_push(h2, kind, in->stream);
    event->head.status = in->status;
    event->head.field_count = in->field_count;
    event->head.fields = h2->fields;
    event->head.method = in->method;
    event->head.scheme = in->scheme;
    event->head.authority = in->authority;
    event->head.path = in->path;
}

/* ---- Other frames received ------------------------------------------------------------------ */

static int on_data_chunk(
    nghttp2_session *library,
    uint8_t flags,
    int32_t stream_id,
    const uint8_t *data,
    size_t size,
    void *user)
{
    (void)library;
    (void)flags;
    hpxi_h2 *h2 = user;
    HPX_DASSERT(h2->is_inside);
    const hpxi_h2_stream stream = hpxi_h2_handle_of(h2, stream_id);
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    if (slot == NULL) {
        h2->refund_bytes += size; /* reset by the user: nobody will consume it */
        return 0;
    }
    slot->unconsumed_bytes += size;
    h2->unconsumed_bytes += size;
    hpxi_h2_session_push(h2, HPXI_H2_DATA, stream)->data = (hpx_span){.data = data, .size = size};
    return 0;
}

static void frame_end_of_message(hpxi_h2 *h2, const nghttp2_frame *frame)
{
    const hpxi_h2_stream stream = hpxi_h2_handle_of(h2, frame->hd.stream_id);
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    if (slot != NULL && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        slot->got_end = true;
        (void)hpxi_h2_session_push(h2, HPXI_H2_END, stream);
    }
}

static void frame_headers(hpxi_h2 *h2, const nghttp2_frame *frame)
{
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, h2->incoming.stream);
    if (slot != NULL && !h2->incoming.is_broken) {
        incoming_deliver(h2, slot);
        frame_end_of_message(h2, frame);
    }
}

static void frame_settings(hpxi_h2 *h2, const nghttp2_frame *frame)
{
    if ((frame->hd.flags & NGHTTP2_FLAG_ACK) != 0) {
        HPX_DASSERT(h2->settings_unacknowledged != 0); /* nghttp2 refuses one too many */
        h2->settings_unacknowledged--;
        h2->settings_at_ns = h2->now_ns;
        return;
    }
    hpxi_h2_event *event = hpxi_h2_session_push(h2, HPXI_H2_SETTINGS, HPXI_H2_NO_STREAM);
    event->settings.is_first = !h2->got_settings;
    h2->got_settings = true;
}

static void frame_ping(hpxi_h2 *h2, const nghttp2_frame *frame)
{
    if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
        return; /* nghttp2 answers */
    }
    const uint8_t *data = frame->ping.opaque_data;
    if (h2->is_drain_pinged && memcmp(data, hpxi_h2_drain_data, HPXI_H2_PING_BYTES) == 0) {
        h2->is_drain_pinged = false;
        h2->is_drain_final_due = true;
    } else if (
        h2->ping.owner.state == HPXI_H2_PING_IN_FLIGHT &&
        memcmp(data, h2->ping_data, HPXI_H2_PING_BYTES) == 0) {
        const uint32_t window_bytes = hpxi_h2_ping_acknowledged(&h2->ping, h2->now_ns);
        if (window_bytes != 0) {
            h2->window_wanted = window_bytes;
        }
        const hpxi_h2_ping_snapshot stats = hpxi_h2_ping_read(h2->ping.stats);
        hpxi_h2_event *event = hpxi_h2_session_push(h2, HPXI_H2_PONG, HPXI_H2_NO_STREAM);
        event->pong.rtt_ns = stats.rtt_ns;
        event->pong.window_bytes = stats.window_bytes;
    } else {
        h2->was_useful = false; /* nobody asked */
    }
}

static void frame_goaway(hpxi_h2 *h2, const nghttp2_frame *frame)
{
    size_t size = frame->goaway.opaque_data_len;
    size = size > sizeof(h2->debug_data) ? sizeof(h2->debug_data) : size;
    if (size != 0) {
        memcpy(h2->debug_data, frame->goaway.opaque_data, size);
    }
    h2->got_goaway = true;
    h2->is_closing_by_goaway = true; /* until nghttp2 returns */
    h2->goaway_code = frame->goaway.error_code;
    hpxi_h2_event *event = hpxi_h2_session_push(h2, HPXI_H2_GOAWAY, HPXI_H2_NO_STREAM);
    event->goaway.last_stream_id = (uint32_t)frame->goaway.last_stream_id;
    event->goaway.code = frame->goaway.error_code;
    event->goaway.debug_data = (hpx_span){.data = h2->debug_data, .size = size};
}

static int on_frame_recv(nghttp2_session *library, const nghttp2_frame *frame, void *user)
{
    (void)library;
    hpxi_h2 *h2 = user;
    HPX_DASSERT(h2->is_inside);
    h2->was_useful = true;
    switch (frame->hd.type) {
    case NGHTTP2_DATA:
        frame_end_of_message(h2, frame);
        break;
    case NGHTTP2_HEADERS:
        frame_headers(h2, frame);
        break;
    case NGHTTP2_RST_STREAM: {
        hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, hpxi_h2_handle_of(h2, frame->hd.stream_id));
        h2->resets_received_count++;
        if (slot != NULL) {
            slot->got_reset = true;
        }
        break;
    }
    case NGHTTP2_SETTINGS:
        frame_settings(h2, frame);
        break;
    case NGHTTP2_PING:
        frame_ping(h2, frame);
        break;
    case NGHTTP2_GOAWAY:
        frame_goaway(h2, frame);
        break;
    default:
        break; /* counted by type already (session.c) */
    }
    return 0;
}

/* ---- Ends of streams ------------------------------------------------------------------------ */

/* Why a stream that nghttp2 let go of ended, where no earlier cause is known. */
static hpx_status end_status(const hpxi_h2 *h2, const hpxi_h2_slot *slot, uint32_t code)
{
    const bool is_by_peer = slot->got_reset || h2->is_closing_by_goaway;
    if (code == HPXI_H2_NO_ERROR && slot->got_end) {
        return HPX_OK; /* also a server that needs no more of our body (RFC 9113 8.1) */
    }
    if (code == HPXI_H2_REFUSED_STREAM && is_by_peer && !slot->got_final) {
        return HPX_E_H2_REFUSED;
    }
    if (is_by_peer) {
        return HPX_E_H2_RESET;
    }
    return code == HPXI_H2_PROTOCOL_ERROR ? HPX_E_HTTP_MALFORMED : HPX_E_H2_PROTOCOL;
}

static int on_stream_close(nghttp2_session *library, int32_t stream_id, uint32_t code, void *user)
{
    (void)library;
    hpxi_h2 *h2 = user;
    HPX_DASSERT(h2->is_inside);
    const hpxi_h2_stream stream = hpxi_h2_handle_of(h2, stream_id);
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    /* Requests are written in the order of their numbers. One above the last was dropped before: it
     * was cancelled, overtaken by GOAWAY, or there was no memory. */
    const bool is_unwritten = !h2->config.is_server && stream_id > h2->written_id;
    if (stream != HPXI_H2_NO_STREAM) { /* else: refused before it was ours */
        uint32_t *count = is_unwritten ? &h2->queued_count : &h2->live_count;
        HPX_ASSERT(*count != 0);
        *count -= 1;
    }
    if (slot != NULL) {
        const hpx_status status = is_unwritten ? HPX_E_H2_REFUSED : end_status(h2, slot, code);
        hpxi_h2_slot_end(h2, slot, slot->status != HPX_OK ? slot->status : status, code);
    }
    return 0;
}

/* ---- Frames sent ---------------------------------------------------------------------------- */

static void sent_request(hpxi_h2 *h2, const nghttp2_frame *frame)
{
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, hpxi_h2_handle_of(h2, frame->hd.stream_id));
    HPX_ASSERT(h2->queued_count != 0);
    HPX_ASSERT(frame->hd.stream_id > h2->written_id);
    h2->written_id = frame->hd.stream_id;
    h2->queued_count--;
    h2->live_count++;
    h2->opened_count++;
    hpxi_h2_bucket_earn(&h2->overhead, CALLBACKS_STREAM_EARNS);
    if (slot != NULL) {
        slot->is_written = true;
    }
}

/* Resets that the user asked for have a stale handle; any other is for something the peer did. */
static void sent_reset(hpxi_h2 *h2, const nghttp2_frame *frame)
{
    const hpxi_h2_stream stream = hpxi_h2_handle_of(h2, frame->hd.stream_id);
    const hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    h2->resets_sent_count++;
    const bool is_ours = stream != HPXI_H2_NO_STREAM && slot == NULL;
    const bool is_our_body = slot != NULL && slot->is_body_broken;
    if (!is_ours && !is_our_body && !hpxi_h2_bucket_take(&h2->resets_sent, h2->now_ns)) {
        hpxi_h2_session_fail(
            h2,
            HPX_E_H2_FLOOD,
            HPXI_H2_ENHANCE_YOUR_CALM,
            "limits.resets_sent: too many streams had to be reset for the peer's faults");
    }
}

/* A GOAWAY with an error is nghttp2's: it found a rule broken, and names it in the debug data. */
static void sent_goaway(hpxi_h2 *h2, const nghttp2_frame *frame)
{
    const uint32_t code = frame->goaway.error_code;
    if (code == HPXI_H2_NO_ERROR || h2->failure.status != HPX_OK) {
        return;
    }
    size_t size = frame->goaway.opaque_data_len;
    size = size >= sizeof(h2->detail) ? sizeof(h2->detail) - 1 : size;
    if (size == 0) {
        (void)snprintf(h2->detail, sizeof(h2->detail), "%s", hpxi_h2_code_name(code));
    } else {
        memcpy(h2->detail, frame->goaway.opaque_data, size);
        h2->detail[size] = '\0';
    }
    /* INTERNAL_ERROR is how nghttp2 says that it had no memory to compress a head. */
    const hpx_status status = code == HPXI_H2_ENHANCE_YOUR_CALM ? HPX_E_H2_FLOOD
                              : code == HPXI_H2_INTERNAL_ERROR  ? HPX_E_NO_MEMORY
                                                                : HPX_E_H2_PROTOCOL;
    hpxi_h2_session_fail(h2, status, code, h2->detail);
    h2->is_goaway_due = false; /* this is it */
}

static int on_frame_send(nghttp2_session *library, const nghttp2_frame *frame, void *user)
{
    (void)library;
    hpxi_h2 *h2 = user;
    HPX_DASSERT(h2->is_inside);
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
            sent_request(h2, frame);
        }
        break;
    case NGHTTP2_DATA:
        hpxi_h2_bucket_earn(&h2->overhead, CALLBACKS_DATA_EARNS);
        break;
    case NGHTTP2_RST_STREAM:
        sent_reset(h2, frame);
        break;
    case NGHTTP2_GOAWAY:
        sent_goaway(h2, frame);
        break;
    default:
        break;
    }
    return 0;
}

void hpxi_h2_callbacks_set(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, hpxi_h2_body_send);
}

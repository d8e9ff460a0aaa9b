/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c - stream slots, requests and responses, bodies, windows.
 *
 * Role      A slot is what we know of a stream; nghttp2 knows the rest and keeps our handle with
 * it. A handle is slot and generation, so that one kept too long is told from its successor.
 *
 *      free --take--> open --end--> ended --(CLOSED delivered)--> free
 *                        \__reset: free at once; nghttp2 lets go of the stream later__/
 *
 * Memory    Slots are allocated with the session. A request takes nothing of ours.
 */
#include "h2/internal.h"

#define STREAM_PSEUDO_MAX   4u  /* :method :scheme :authority :path */
#define STREAM_LENGTH_BYTES 24u /* a content-length in decimal */

/* ---- Slots ---------------------------------------------------------------------------------- */

hpx_status hpxi_h2_slots_init(hpxi_h2 *h2)
{
    const uint32_t count = h2->config.limits.streams_max;
    h2->slots =
        hpxi_alloc_zero(&h2->memory.counted, count * sizeof(*h2->slots), _Alignof(hpxi_h2_slot));
    if (h2->slots == NULL) {
        return HPX_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        h2->slots[i].generation = 1;
        h2->slots[i].next = i + 1 < count ? i + 1 : HPXI_H2_NO_SLOT;
    }
    h2->free_first = 0;
    h2->ended_first = HPXI_H2_NO_SLOT;
    h2->ended_last = HPXI_H2_NO_SLOT;
    return HPX_OK;
}

hpxi_h2_slot *hpxi_h2_slot_of(const hpxi_h2 *h2, hpxi_h2_stream stream)
{
    const uint32_t index = (uint32_t)stream;
    const uint32_t generation = (uint32_t)(stream >> 32);
    if (generation == 0 || index >= h2->config.limits.streams_max) {
        return NULL;
    }
    hpxi_h2_slot *slot = &h2->slots[index];
    return slot->generation == generation && slot->stream_id != 0 ? slot : NULL;
}

hpxi_h2_stream hpxi_h2_slot_handle(const hpxi_h2 *h2, const hpxi_h2_slot *slot)
{
    HPX_DASSERT(slot->generation != 0);
    return (uint64_t)slot->generation << 32 | (uint64_t)(slot - h2->slots);
}

hpxi_h2_slot *hpxi_h2_slot_take(hpxi_h2 *h2, int32_t stream_id)
{
    HPX_ASSERT(stream_id > 0);
    if (h2->free_first == HPXI_H2_NO_SLOT) {
        return NULL;
    }
    hpxi_h2_slot *slot = &h2->slots[h2->free_first];
    HPX_ASSERT(slot->stream_id == 0);
    h2->free_first = slot->next;
    *slot = (hpxi_h2_slot){
        .generation = slot->generation, .next = HPXI_H2_NO_SLOT, .stream_id = stream_id};
    h2->used_count++;
    return slot;
}

/* What the user did not consume goes back to the connection; the stream's own window is gone. */
static void slot_settle(hpxi_h2 *h2, hpxi_h2_slot *slot)
{
    HPX_ASSERT(h2->unconsumed_bytes >= slot->unconsumed_bytes);
    h2->unconsumed_bytes -= slot->unconsumed_bytes;
    h2->refund_bytes += slot->unconsumed_bytes;
    slot->unconsumed_bytes = 0;
}

/* The handle becomes stale. */
static void slot_forget(hpxi_h2_slot *slot)
{
    slot->generation = slot->generation == UINT32_MAX ? 1 : slot->generation + 1;
}

static void slot_free(hpxi_h2 *h2, hpxi_h2_slot *slot)
{
    HPX_ASSERT(slot->unconsumed_bytes == 0);
    HPX_ASSERT(slot->stream_id != 0);
    HPX_ASSERT(h2->used_count != 0);
    slot->stream_id = 0;
    slot->next = h2->free_first;
    h2->free_first = (uint32_t)(slot - h2->slots);
    h2->used_count--;
}

void hpxi_h2_slot_release(hpxi_h2 *h2, hpxi_h2_slot *slot)
{
    slot_settle(h2, slot);
    slot_forget(slot);
    slot_free(h2, slot);
}

void hpxi_h2_slot_end(hpxi_h2 *h2, hpxi_h2_slot *slot, hpx_status status, uint32_t code)
{
    HPX_ASSERT(!slot->is_ended);
    HPX_ASSERT(slot->stream_id != 0);
    HPX_ASSERT(status <= 0);
    slot->is_ended = true;
    slot->is_by_peer = slot->got_reset || h2->is_closing_by_goaway;
    slot->status = status;
    slot->code = code;
    slot->next = HPXI_H2_NO_SLOT;
    const uint32_t index = (uint32_t)(slot - h2->slots);
    if (h2->ended_last == HPXI_H2_NO_SLOT) {
        h2->ended_first = index;
    } else {
        h2->slots[h2->ended_last].next = index;
    }
    h2->ended_last = index;
}

static hpxi_h2_processed slot_processed(const hpxi_h2_slot *slot)
{
    const bool is_refused = slot->is_ended && slot->status == HPX_E_H2_REFUSED;
    return is_refused || !slot->is_written ? HPXI_H2_PROCESSED_NO : HPXI_H2_PROCESSED_UNKNOWN;
}

bool hpxi_h2_slot_next_ended(hpxi_h2 *h2, hpxi_h2_event *event)
{
    while (h2->ended_first != HPXI_H2_NO_SLOT) {
        hpxi_h2_slot *slot = &h2->slots[h2->ended_first];
        h2->ended_first = slot->next;
        if (h2->ended_first == HPXI_H2_NO_SLOT) {
            h2->ended_last = HPXI_H2_NO_SLOT;
        }
        const bool is_silent = slot->is_discarded || !slot->is_announced;
        *event = (hpxi_h2_event){
            .kind = HPXI_H2_CLOSED, .stream = hpxi_h2_slot_handle(h2, slot), .user = slot->user};
        event->closed.status = slot->status;
        event->closed.code = slot->code;
        event->closed.by_peer = slot->is_by_peer;
        event->closed.processed = slot_processed(slot);
        hpxi_h2_slot_release(h2, slot);
        if (!is_silent) {
            return true;
        }
    }
    return false;
}

/* ---- Both roles ----------------------------------------------------------------------------- */

void hpxi_h2_consume(hpxi_h2 *h2, hpxi_h2_stream stream, size_t bytes)
{
    HPX_ASSERT(!h2->is_inside);
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    if (slot == NULL || bytes == 0 || h2->failure.status != HPX_OK) {
        return;
    }
    HPX_ASSERT(bytes <= slot->unconsumed_bytes);
    HPX_DASSERT(bytes <= h2->unconsumed_bytes);
    slot->unconsumed_bytes -= bytes;
    h2->unconsumed_bytes -= bytes;
    (void)hpxi_h2_session_check(h2, nghttp2_session_consume(h2->library, slot->stream_id, bytes));
}

void hpxi_h2_resume(hpxi_h2 *h2, hpxi_h2_stream stream)
{
    HPX_ASSERT(!h2->is_inside);
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    if (slot == NULL || !slot->is_deferred || slot->is_ended || h2->failure.status != HPX_OK) {
        return;
    }
    slot->is_deferred = false;
    const int rc = nghttp2_session_resume_data(h2->library, slot->stream_id);
    if (rc != NGHTTP2_ERR_INVALID_ARGUMENT) { /* the stream is being reset: no DATA any more */
        (void)hpxi_h2_session_check(h2, rc);
    }
}

hpx_status
hpxi_h2_reset(hpxi_h2 *h2, hpxi_h2_stream stream, hpxi_h2_code code, hpxi_h2_processed *processed)
{
    HPX_ASSERT(!h2->is_inside);
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    if (slot == NULL) {
        return HPX_E_STALE;
    }
    if (processed != NULL) {
        *processed = slot_processed(slot);
    }
    if (slot->is_ended) {
        slot_settle(h2, slot);
        slot_forget(slot);
        slot->is_discarded = true; /* in the list of ended streams, which frees it */
    } else {
        const int32_t stream_id = slot->stream_id;
        hpxi_h2_slot_release(h2, slot);
        if (h2->failure.status == HPX_OK) {
            (void)hpxi_h2_session_check(
                h2,
                nghttp2_submit_rst_stream(
                    h2->library, NGHTTP2_FLAG_NONE, stream_id, (uint32_t)code));
        }
    }
    hpxi_h2_session_refund(h2);
    return HPX_OK;
}

hpx_status hpxi_h2_set_user(hpxi_h2 *h2, hpxi_h2_stream stream, void *user)
{
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    if (slot == NULL) {
        return HPX_E_STALE;
    }
    slot->user = user;
    return HPX_OK;
}

uint32_t hpxi_h2_stream_id(const hpxi_h2 *h2, hpxi_h2_stream stream)
{
    const hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, stream);
    return slot == NULL ? 0 : (uint32_t)slot->stream_id;
}

/* ---- Bodies --------------------------------------------------------------------------------- */

static nghttp2_nv stream_pair(hpx_span name, hpx_span value, bool is_sensitive)
{
    /* nghttp2_nv has no const; it copies what it is given. */
    return (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name.data,
        .value = (uint8_t *)(uintptr_t)value.data,
        .namelen = name.size,
        .valuelen = value.size,
        .flags = is_sensitive ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
}

static size_t
stream_add_fields(hpxi_h2 *h2, size_t count, const hpxi_h2_field *fields, uint32_t field_count)
{
    HPX_ASSERT(field_count <= h2->config.limits.fields_max);
    for (uint32_t i = 0; i < field_count; i++) {
        h2->pairs[count++] = stream_pair(fields[i].name, fields[i].value, fields[i].is_sensitive);
    }
    return count;
}

static ssize_t body_break(hpxi_h2_slot *slot, hpx_status status)
{
    slot->is_body_broken = true;
    slot->status = status;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* RST_STREAM with INTERNAL_ERROR */
}

/* The last bytes of the body were given. */
static ssize_t body_finish(hpxi_h2 *h2, hpxi_h2_slot *slot, size_t size, uint32_t *flags)
{
    if (slot->has_length && slot->sent_bytes != slot->expected_bytes) {
        return body_break(slot, HPX_E_INVALID);
    }
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (slot->body.trailer_count != 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const size_t count =
            stream_add_fields(h2, 0, slot->body.trailers, slot->body.trailer_count);
        if (nghttp2_submit_trailer(h2->library, slot->stream_id, h2->pairs, count) != 0) {
            return NGHTTP2_ERR_CALLBACK_FAILURE; /* no memory */
        }
    }
    return (ssize_t)size;
}

static ssize_t body_pull(hpxi_h2 *h2, hpxi_h2_slot *slot, uint8_t *to, size_t room, uint32_t *flags)
{
    bool is_last = false;
    const ptrdiff_t got = slot->body.pull(slot->body.pull_ctx, to, room, &is_last);
    if (got == HPX_E_AGAIN || (got == 0 && !is_last)) {
        slot->is_deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    if (got < 0) {
        return body_break(slot, (hpx_status)got);
    }
    HPX_ASSERT((size_t)got <= room);
    slot->sent_bytes += (size_t)got;
    if (slot->has_length && slot->sent_bytes > slot->expected_bytes) {
        return body_break(slot, HPX_E_INVALID);
    }
    return is_last ? body_finish(h2, slot, (size_t)got, flags) : got;
}

ssize_t hpxi_h2_body_read(
    nghttp2_session *library,
    int32_t stream_id,
    uint8_t *to,
    size_t room,
    uint32_t *flags,
    nghttp2_data_source *source,
    void *user)
{
    (void)library;
    (void)stream_id;
    hpxi_h2 *h2 = user;
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, (hpxi_h2_stream)(uintptr_t)source->ptr);
    if (slot == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* reset by the user; so is the stream */
    }
    if (hpxi_buf_size(h2->out) >= h2->out_bytes_max) {
        h2->is_paused = true;
        return NGHTTP2_ERR_PAUSE;
    }
    if (slot->body.pull != NULL) {
        return body_pull(h2, slot, to, room, flags);
    }
    HPX_DASSERT(slot->sent_bytes <= slot->body.span.size);
    const size_t left = slot->body.span.size - (size_t)slot->sent_bytes;
    const size_t size = left < room ? left : room;
    if (size != 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_COPY; /* hpxi_h2_body_send() takes it from the span */
    }
    slot->sent_bytes += size;
    return size == left ? body_finish(h2, slot, size, flags) : (ssize_t)size;
}

int hpxi_h2_body_send(
    nghttp2_session *library,
    nghttp2_frame *frame,
    const uint8_t *frame_header,
    size_t size,
    nghttp2_data_source *source,
    void *user)
{
    (void)library;
    hpxi_h2 *h2 = user;
    HPX_ASSERT(frame->data.padlen == 0); /* we pad nothing */
    hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, (hpxi_h2_stream)(uintptr_t)source->ptr);
    HPX_ASSERT(slot != NULL); /* read just before, in the same call of nghttp2 */
    HPX_ASSERT(slot->sent_bytes >= size);
    if (hpxi_buf_reserve(h2->out, HPXI_H2_FRAME_HEADER_BYTES + size) == NULL) {
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    (void)hpxi_buf_append(h2->out, frame_header, HPXI_H2_FRAME_HEADER_BYTES);
    (void)hpxi_buf_append(h2->out, slot->body.span.data + (size_t)slot->sent_bytes - size, size);
    return 0;
}

/* Trailers are a head, too. Sets what the body promises in *facts; HPX_OK or HPX_E_INVALID. */
static hpx_status stream_check_body(
    const hpxi_h2 *h2, const hpxi_h2_body *body, const hpxi_h2_head_facts *facts, hpx_error *error)
{
    if (body->pull == NULL && facts->has_length && facts->length != body->span.size) {
        return hpxi_h2_invalid(
            error,
            "content-length is %llu, the body has %zu bytes",
            (unsigned long long)facts->length,
            body->span.size);
    }
    hpxi_h2_head_facts trailers;
    const hpx_status status =
        hpxi_h2_fields_check(body->trailers, body->trailer_count, (hpx_span){0}, &trailers, error);
    if (status != HPX_OK) {
        return status;
    }
    if (trailers.has_length) {
        return hpxi_h2_invalid(error, "content-length in trailers (RFC 9110 6.5.1)");
    }
    return hpxi_h2_sizes_check(h2, body->trailer_count, trailers.list_bytes, error);
}

static void
slot_set_body(hpxi_h2_slot *slot, const hpxi_h2_body *body, const hpxi_h2_head_facts *facts)
{
    slot->body = *body;
    slot->has_length = facts->has_length;
    slot->expected_bytes = facts->length;
}

static bool body_is_empty(const hpxi_h2_body *body)
{
    return body->pull == NULL && body->span.size == 0 && body->trailer_count == 0;
}

/* Digits of `value`, from the end of `to`. */
static hpx_span stream_decimal(uint8_t to[STREAM_LENGTH_BYTES], uint64_t value)
{
    size_t at = STREAM_LENGTH_BYTES;
    do {
        to[--at] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    return (hpx_span){.data = to + at, .size = STREAM_LENGTH_BYTES - at};
}

/* ---- Client --------------------------------------------------------------------------------- */

uint32_t hpxi_h2_can_open(const hpxi_h2 *h2)
{
    if (hpxi_h2_is_closing(h2)) {
        return 0;
    }
    const uint32_t peers =
        nghttp2_session_get_remote_settings(h2->library, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    const uint32_t ours = h2->config.limits.streams_max;
    const uint32_t most = peers < ours ? peers : ours;
    HPX_DASSERT(h2->used_count <= ours);
    const uint32_t open = h2->live_count + h2->queued_count;
    const uint32_t free_count = ours - h2->used_count;
    const uint32_t left = most > open ? most - open : 0;
    return left < free_count ? left : free_count;
}

bool hpxi_h2_is_closing(const hpxi_h2 *h2)
{
    return h2->config.is_server || h2->failure.status != HPX_OK || h2->is_draining ||
           h2->got_goaway || nghttp2_session_check_request_allowed(h2->library) == 0;
}

/* A body, even an empty one where a body is expected, says its size (RFC 9110 8.6). */
static bool request_needs_length(const hpxi_h2_request_head *head, const hpxi_h2_body *body)
{
    if (body->pull != NULL) {
        return false;
    }
    return body->span.size != 0 ||
           (head->method.size == 4 && memcmp(head->method.data, "POST", 4) == 0) ||
           (head->method.size == 3 && memcmp(head->method.data, "PUT", 3) == 0) ||
           (head->method.size == 5 && memcmp(head->method.data, "PATCH", 5) == 0);
}

/* The head as nghttp2 wants it, in h2->pairs. Returns how many. */
static size_t request_pairs(
    hpxi_h2 *h2, const hpxi_h2_request_head *head, const hpxi_h2_body *body, hpx_span length)
{
    h2->pairs[0] = stream_pair(hpx_span_of(":method"), head->method, false);
    h2->pairs[1] = stream_pair(hpx_span_of(":scheme"), head->scheme, false);
    h2->pairs[2] = stream_pair(hpx_span_of(":authority"), head->authority, false);
    h2->pairs[3] = stream_pair(hpx_span_of(":path"), head->path, false);
    size_t count = stream_add_fields(h2, STREAM_PSEUDO_MAX, head->fields, head->field_count);
    if (length.size != 0 && request_needs_length(head, body)) {
        h2->pairs[count++] = stream_pair(hpx_span_of("content-length"), length, false);
    }
    return count;
}

static hpx_status
request_submit(hpxi_h2 *h2, hpxi_h2_slot *slot, const hpxi_h2_body *body, size_t pair_count)
{
    void *handle = (void *)(uintptr_t)hpxi_h2_slot_handle(h2, slot);
    const nghttp2_data_provider provider = {
        .source.ptr = handle, .read_callback = hpxi_h2_body_read};
    const int32_t stream_id = nghttp2_submit_request(
        h2->library, NULL, h2->pairs, pair_count, body_is_empty(body) ? NULL : &provider, handle);
    if (stream_id < 0) {
        hpxi_h2_slot_release(h2, slot);
        return hpxi_h2_session_check(h2, stream_id);
    }
    HPX_ASSERT(stream_id == slot->stream_id);
    slot->is_announced = true;
    h2->queued_count++;
    return HPX_OK;
}

hpx_status hpxi_h2_request(
    hpxi_h2 *h2,
    hpxi_h2_stream *out,
    const hpxi_h2_request_head *head,
    const hpxi_h2_body *body,
    void *user,
    hpx_error *error)
{
    HPX_ASSERT(!h2->is_inside);
    static const hpxi_h2_body nothing;
    body = body == NULL ? &nothing : body;
    *out = HPXI_H2_NO_STREAM;
    if (hpxi_h2_is_closing(h2)) {
        return HPX_E_STATE;
    }
    hpxi_h2_head_facts facts;
    hpx_status status = hpxi_h2_request_facts(h2, head, &facts, error);
    if (status == HPX_OK) {
        status = stream_check_body(h2, body, &facts, error);
    }
    if (status != HPX_OK) {
        return status;
    }
    if (hpxi_h2_can_open(h2) == 0) {
        return HPX_E_AGAIN;
    }
    const int32_t stream_id = (int32_t)nghttp2_session_get_next_stream_id(h2->library);
    hpxi_h2_slot *slot = hpxi_h2_slot_take(h2, stream_id);
    HPX_ASSERT(slot != NULL); /* can_open counts free slots */
    slot_set_body(slot, body, &facts);
    slot->user = user;
    slot->is_head_only = head->method.size == 4 && memcmp(head->method.data, "HEAD", 4) == 0;
    uint8_t digits[STREAM_LENGTH_BYTES];
    const hpx_span length =
        facts.has_length ? (hpx_span){0} : stream_decimal(digits, body->span.size);
    const size_t pair_count = request_pairs(h2, head, body, length);
    const hpxi_h2_stream handle = hpxi_h2_slot_handle(h2, slot);
    status = request_submit(h2, slot, body, pair_count);
    if (status == HPX_OK) {
        *out = handle;
    }
    return status;
}

/* ---- Server --------------------------------------------------------------------------------- */

static size_t response_pairs(
    hpxi_h2 *h2,
    uint8_t digits[STREAM_LENGTH_BYTES],
    uint16_t status,
    const hpxi_h2_field *fields,
    uint32_t field_count)
{
    h2->pairs[0] = stream_pair(hpx_span_of(":status"), stream_decimal(digits, status), false);
    return stream_add_fields(h2, 1, fields, field_count);
}

/* What inform and respond check alike. The slot in *slot on HPX_OK. */
static hpx_status response_check(
    const hpxi_h2 *h2,
    hpxi_h2_stream stream,
    const hpxi_h2_field *fields,
    uint32_t field_count,
    hpxi_h2_slot **slot,
    hpxi_h2_head_facts *facts,
    hpx_error *error)
{
    *slot = hpxi_h2_slot_of(h2, stream);
    if (*slot == NULL) {
        return HPX_E_STALE;
    }
    if (!h2->config.is_server || (*slot)->sent_final || (*slot)->is_ended ||
        h2->failure.status != HPX_OK) {
        return HPX_E_STATE;
    }
    const hpx_status status =
        hpxi_h2_fields_check(fields, field_count, (hpx_span){0}, facts, error);
    return status != HPX_OK ? status
                            : hpxi_h2_sizes_check(h2, field_count, facts->list_bytes, error);
}

hpx_status hpxi_h2_inform(
    hpxi_h2 *h2,
    hpxi_h2_stream stream,
    uint16_t status,
    const hpxi_h2_field *fields,
    uint32_t field_count,
    hpx_error *error)
{
    HPX_ASSERT(!h2->is_inside);
    hpxi_h2_slot *slot;
    hpxi_h2_head_facts facts;
    const hpx_status checked =
        response_check(h2, stream, fields, field_count, &slot, &facts, error);
    if (checked != HPX_OK) {
        return checked;
    }
    if (status < 100 || status > 199 || status == 101) {
        return hpxi_h2_invalid(error, "status %u is not 1xx, or is 101", status);
    }
    uint8_t digits[STREAM_LENGTH_BYTES];
    const size_t count = response_pairs(h2, digits, status, fields, field_count);
    return hpxi_h2_session_check(
        h2,
        nghttp2_submit_headers(
            h2->library, NGHTTP2_FLAG_NONE, slot->stream_id, NULL, h2->pairs, count, NULL));
}

hpx_status hpxi_h2_respond(
    hpxi_h2 *h2,
    hpxi_h2_stream stream,
    uint16_t status,
    const hpxi_h2_field *fields,
    uint32_t field_count,
    const hpxi_h2_body *body,
    hpx_error *error)
{
    HPX_ASSERT(!h2->is_inside);
    static const hpxi_h2_body nothing;
    body = body == NULL ? &nothing : body;
    hpxi_h2_slot *slot;
    hpxi_h2_head_facts facts;
    hpx_status checked = response_check(h2, stream, fields, field_count, &slot, &facts, error);
    if (checked != HPX_OK) {
        return checked;
    }
    if (status < 200 || status > 599) {
        return hpxi_h2_invalid(error, "status %u is not 200 to 599", status);
    }
    if (slot->is_head_only || status == 204 || status == 304) {
        if (!body_is_empty(body)) {
            return hpxi_h2_invalid(error, "a body for HEAD, 204 or 304 (RFC 9110 6.4.1)");
        }
        facts.has_length = false; /* the size that a GET would have */
    }
    checked = stream_check_body(h2, body, &facts, error);
    if (checked != HPX_OK) {
        return checked;
    }
    uint8_t digits[STREAM_LENGTH_BYTES];
    const size_t count = response_pairs(h2, digits, status, fields, field_count);
    const nghttp2_data_provider provider = {
        .source.ptr = (void *)(uintptr_t)stream, .read_callback = hpxi_h2_body_read};
    /* Streams take turns: otherwise nghttp2 would finish the oldest first (RFC 9218). */
    const nghttp2_extpri taking_turns = {.urgency = NGHTTP2_EXTPRI_DEFAULT_URGENCY, .inc = 1};
    (void)nghttp2_session_change_extpri_stream_priority(
        h2->library, slot->stream_id, &taking_turns, 1);
    checked = hpxi_h2_session_check(
        h2,
        nghttp2_submit_response(
            h2->library,
            slot->stream_id,
            h2->pairs,
            count,
            body_is_empty(body) ? NULL : &provider));
    if (checked == HPX_OK) {
        slot_set_body(slot, body, &facts);
        slot->sent_final = true;
    }
    return checked;
}

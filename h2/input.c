/* SPDX-License-Identifier: Apache-2.0 */
/*
 * input.c - bytes into events.
 *
 * Role      Input goes to nghttp2 frame by frame: our own reading of the nine header bytes counts
 *           every frame before nghttp2 sees it (floods), and bounds what one call of nghttp2 can
 *           bring, so that events need no queue but a few places. The user gets those events before
 *           the next frame is read, and outside of nghttp2: there every function may be called.
 *
 *      hpxi_h2_next:  events of the last frame -> streams that ended -> the next frame
 *                                              \-> failed: end the streams left, then the failure
 *
 * When nghttp2 finds a rule broken it queues a GOAWAY and ignores all input; it does not say so. A
 * frame about which no callback came is therefore followed by an attempt to write what is queued.
 */
#include "h2/internal.h"

#define INPUT_PUMP_BYTES_MAX (64u << 10) /* `out` beyond it: a failure shows in the next flush */

/* ---- Budgets: every frame is counted before nghttp2 sees it --------------------------------- */

typedef enum input_frame_cost {
    INPUT_COST_NONE,
    INPUT_COST_PING,
    INPUT_COST_SETTINGS,
    INPUT_COST_RESET,
    INPUT_COST_OVERHEAD,
} input_frame_cost;

static uint8_t input_frame_type(const hpxi_h2 *h2)
{
    return h2->header[HPXI_H2_FRAME_TYPE_AT];
}

static uint32_t input_frame_size(const hpxi_h2 *h2)
{
    return (uint32_t)h2->header[0] << 16 | (uint32_t)h2->header[1] << 8 | h2->header[2];
}

static int32_t input_frame_stream(const hpxi_h2 *h2)
{
    return (int32_t)(((uint32_t)h2->header[5] & 0x7Fu) << 24 | (uint32_t)h2->header[6] << 16 |
                     (uint32_t)h2->header[7] << 8 | h2->header[8]);
}

static input_frame_cost input_frame_cost_of(const hpxi_h2 *h2)
{
    const uint8_t flags = h2->header[HPXI_H2_FRAME_FLAGS_AT];
    /* A padded DATA frame of one byte is the length of no padding, and nothing. */
    const bool is_empty = input_frame_size(h2) == 0 ||
                          (input_frame_type(h2) == NGHTTP2_DATA && input_frame_size(h2) == 1 &&
                           (flags & NGHTTP2_FLAG_PADDED) != 0);
    switch (input_frame_type(h2)) {
    case NGHTTP2_DATA:
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
        return is_empty && (flags & NGHTTP2_FLAG_END_STREAM) == 0 ? INPUT_COST_OVERHEAD
                                                                  : INPUT_COST_NONE;
    case NGHTTP2_PING:
        return (flags & NGHTTP2_FLAG_ACK) != 0 ? INPUT_COST_NONE : INPUT_COST_PING;
    case NGHTTP2_SETTINGS:
        return (flags & NGHTTP2_FLAG_ACK) != 0 ? INPUT_COST_NONE : INPUT_COST_SETTINGS;
    case NGHTTP2_RST_STREAM:
        /* A client's peer can reset only what the client asked for. */
        return !h2->config.is_server &&
                       hpxi_h2_handle_of(h2, input_frame_stream(h2)) != HPXI_H2_NO_STREAM
                   ? INPUT_COST_NONE
                   : INPUT_COST_RESET;
    case NGHTTP2_PRIORITY:
    case NGHTTP2_WINDOW_UPDATE:
    case NGHTTP2_GOAWAY:
        return INPUT_COST_OVERHEAD;
    default:
        return INPUT_COST_NONE; /* counted afterwards, if nothing came of it */
    }
}

static void input_charge(hpxi_h2 *h2, input_frame_cost cost)
{
    static const char *const details[] = {
        [INPUT_COST_NONE] = NULL,
        [INPUT_COST_PING] = "limits.pings: too many PING frames",
        [INPUT_COST_SETTINGS] = "limits.settings: too many SETTINGS frames",
        [INPUT_COST_RESET] = "limits.resets_received: too many RST_STREAM frames",
        [INPUT_COST_OVERHEAD] = "limits.overhead: too many frames that carry nothing"};
    hpxi_h2_bucket *const buckets[] = {
        [INPUT_COST_NONE] = NULL,
        [INPUT_COST_PING] = &h2->pings,
        [INPUT_COST_SETTINGS] = &h2->settings,
        [INPUT_COST_RESET] = &h2->resets_received,
        [INPUT_COST_OVERHEAD] = &h2->overhead};
    if (cost != INPUT_COST_NONE && !hpxi_h2_bucket_take(buckets[cost], h2->now_ns)) {
        hpxi_h2_session_fail(h2, HPX_E_H2_FLOOD, HPXI_H2_ENHANCE_YOUR_CALM, details[cost]);
    }
}

/* ---- Input ---------------------------------------------------------------------------------- */

hpxi_h2_event *hpxi_h2_session_push(hpxi_h2 *h2, hpxi_h2_event_kind kind, hpxi_h2_stream stream)
{
    HPX_ASSERT(h2->event_count < HPXI_H2_EVENTS_MAX); /* nghttp2 had one frame at most */
    hpxi_h2_event *event = &h2->events[h2->event_count++];
    *event = (hpxi_h2_event){.kind = kind, .stream = stream};
    return event;
}

static void input_header_complete(hpxi_h2 *h2)
{
    HPX_DASSERT(h2->header_have == HPXI_H2_FRAME_HEADER_BYTES);
    HPX_DASSERT(h2->event_count == 0); /* those of the frame before were taken */
    h2->payload_left = input_frame_size(h2);
    h2->frames_received++;
    h2->was_useful = false;
    input_charge(h2, input_frame_cost_of(h2));
    if (input_frame_type(h2) == NGHTTP2_PUSH_PROMISE) {
        /* Our first frame forbade it, and a request to push for came after that frame. */
        hpxi_h2_session_fail(
            h2,
            HPX_E_H2_PROTOCOL,
            HPXI_H2_PROTOCOL_ERROR,
            "PUSH_PROMISE: push is disabled (RFC 9113 8.4)");
    }
    if (input_frame_type(h2) != NGHTTP2_DATA) {
        hpxi_h2_ping_record_non_data(&h2->ping, h2->now_ns);
    }
}

/* A frame is whole and nothing came of it: it was of no use, or it broke a rule. */
static void input_frame_was_useless(hpxi_h2 *h2, hpxi_buf *out)
{
    const uint8_t type = input_frame_type(h2);
    const bool has_more = (type == NGHTTP2_HEADERS || type == NGHTTP2_CONTINUATION) &&
                          (h2->header[HPXI_H2_FRAME_FLAGS_AT] & NGHTTP2_FLAG_END_HEADERS) == 0;
    /* Late DATA is no overhead: the connection's window bounds it. */
    if (type != NGHTTP2_DATA && !has_more) {
        input_charge(h2, INPUT_COST_OVERHEAD);
    }
    if (h2->failure.status == HPX_OK && hpxi_buf_size(out) < INPUT_PUMP_BYTES_MAX) {
        (void)hpxi_h2_session_write(h2, out, 0); /* what is queued, but no bodies */
    }
}

/* Requests that the peer's GOAWAY found unwritten never will be. */
static void input_end_unwritten(hpxi_h2 *h2)
{
    for (uint32_t i = 0; i < h2->config.limits.streams_max && h2->queued_count != 0; i++) {
        hpxi_h2_slot *slot = &h2->slots[i];
        if (slot->stream_id != 0 && !slot->is_ended && !slot->is_written) {
            hpxi_h2_slot_end(h2, slot, HPX_E_H2_REFUSED, HPXI_H2_REFUSED_STREAM);
        }
    }
}

/* Bytes to nghttp2; what they bring is in h2->events and the slots afterwards. false: failed. */
static bool input_give(hpxi_h2 *h2, const uint8_t *data, size_t size)
{
    HPX_DASSERT(h2->failure.status == HPX_OK); /* nghttp2 may not be used after it */
    HPX_DASSERT(size != 0);
    h2->is_inside = true;
    const ssize_t taken = nghttp2_session_mem_recv(h2->library, data, size);
    h2->is_inside = false;
    if (hpxi_h2_session_check(h2, (int)taken) != HPX_OK) {
        return false;
    }
    HPX_ASSERT((size_t)taken == size); /* we pause nothing */
    return true;
}

/* The client's preface: 24 bytes before the first frame. */
static void input_feed_magic(hpxi_h2 *h2, const uint8_t **data, size_t *size)
{
    const size_t piece = *size < h2->magic_left ? *size : h2->magic_left;
    h2->magic_left -= (uint32_t)piece;
    (void)input_give(h2, *data, piece);
    *data += piece;
    *size -= piece;
}

/*
 * Gather the frame's header. A header that was cut goes to nghttp2 as a whole from here: some
 * versions count a CONTINUATION again for each piece of its header. One that lies whole in the
 * input stays there, *used bytes of it, to go with its payload. false: not complete, or failed.
 */
static bool input_feed_header(hpxi_h2 *h2, const uint8_t **data, size_t *size, size_t *used)
{
    const uint32_t had = h2->header_have;
    const size_t need = HPXI_H2_FRAME_HEADER_BYTES - had;
    const size_t piece = *size < need ? *size : need;
    memcpy(h2->header + had, *data, piece);
    h2->header_have += (uint32_t)piece;
    if (h2->header_have == HPXI_H2_FRAME_HEADER_BYTES) {
        input_header_complete(h2);
    }
    if (had == 0 && piece == HPXI_H2_FRAME_HEADER_BYTES) {
        *used = piece;
        return h2->failure.status == HPX_OK;
    }
    *data += piece;
    *size -= piece;
    return h2->header_have == HPXI_H2_FRAME_HEADER_BYTES && h2->failure.status == HPX_OK &&
           input_give(h2, h2->header, HPXI_H2_FRAME_HEADER_BYTES);
}

/* What is done when nghttp2 has returned. */
static void input_settle(hpxi_h2 *h2, hpxi_buf *out)
{
    if (h2->is_closing_by_goaway) {
        input_end_unwritten(h2);
        h2->is_closing_by_goaway = false;
    }
    hpxi_h2_session_refund(h2);
    if (h2->payload_left == 0) {
        h2->header_have = 0;
        if (!h2->was_useful) {
            input_frame_was_useless(h2, out);
        }
    }
}

/* Bytes of one frame at most. */
static void input_feed(hpxi_h2 *h2, const uint8_t **data, size_t *size, hpxi_buf *out)
{
    if (h2->magic_left != 0) {
        input_feed_magic(h2, data, size);
        return;
    }
    size_t used = 0;
    if (h2->header_have < HPXI_H2_FRAME_HEADER_BYTES && !input_feed_header(h2, data, size, &used)) {
        return;
    }
    const size_t left = *size - used;
    const uint32_t payload = left < h2->payload_left ? (uint32_t)left : h2->payload_left;
    h2->payload_left -= payload;
    if (input_frame_type(h2) == NGHTTP2_DATA) {
        hpxi_h2_ping_record_data(&h2->ping, payload, h2->now_ns);
    }
    const size_t piece = used + payload;
    if (piece == 0 || input_give(h2, *data, piece)) {
        input_settle(h2, out);
    }
    *data += piece;
    *size -= piece;
}

static void input_fill_settings(const hpxi_h2 *h2, hpxi_h2_event *event)
{
    nghttp2_session *library = h2->library;
    event->settings.streams_max =
        nghttp2_session_get_remote_settings(library, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    event->settings.window_bytes =
        nghttp2_session_get_remote_settings(library, NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE);
    event->settings.frame_bytes_max =
        nghttp2_session_get_remote_settings(library, NGHTTP2_SETTINGS_MAX_FRAME_SIZE);
    event->settings.header_list_bytes_max =
        nghttp2_session_get_remote_settings(library, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE);
}

/* The next event of the last frame, unless its stream was reset by the user since. */
static bool input_next_event(hpxi_h2 *h2, hpxi_h2_event *event)
{
    while (h2->event_at < h2->event_count) {
        *event = h2->events[h2->event_at++];
        if (event->kind == HPXI_H2_SETTINGS) {
            input_fill_settings(h2, event);
        }
        if (event->stream == HPXI_H2_NO_STREAM) {
            return true;
        }
        const hpxi_h2_slot *slot = hpxi_h2_slot_of(h2, event->stream);
        if (slot != NULL) {
            event->user = slot->user;
            return true;
        }
    }
    h2->event_at = 0;
    h2->event_count = 0;
    return false;
}

/* The session has failed: one more stream ends with it. */
static bool input_next_failed(hpxi_h2 *h2, hpxi_h2_event *event)
{
    while (h2->failed_at < h2->config.limits.streams_max) {
        hpxi_h2_slot *slot = &h2->slots[h2->failed_at++];
        if (slot->stream_id != 0 && !slot->is_ended) {
            hpxi_h2_slot_end(h2, slot, h2->failure.status, h2->failure.code);
            if (hpxi_h2_slot_next_ended(h2, event)) {
                return true;
            }
        }
    }
    return false;
}

hpx_status hpxi_h2_next(
    hpxi_h2 *h2,
    const uint8_t **data,
    size_t *size,
    hpxi_buf *out,
    uint64_t now_ns,
    hpxi_h2_event *event)
{
    HPX_ASSERT(!h2->is_inside);
    h2->now_ns = now_ns;
    for (;;) {
        if (input_next_event(h2, event) || hpxi_h2_slot_next_ended(h2, event)) {
            return 1;
        }
        hpxi_h2_session_refund(h2);
        if (h2->failure.status != HPX_OK) {
            hpxi_h2_session_write_goaway(h2, out);
            *data = *size == 0 ? *data : *data + *size;
            *size = 0;
            return input_next_failed(h2, event) ? 1 : h2->failure.status;
        }
        HPX_XASSERT(hpxi_h2_session_is_valid(h2));
        if (*size == 0) {
            return HPX_E_PARTIAL;
        }
        input_feed(h2, data, size, out);
    }
}

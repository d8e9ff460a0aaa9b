/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - the life of a session: making, output, deadlines, graceful end, failure.
 *
 * Role      Output is pulled from nghttp2 frame by frame into the caller's buffer. A failure is
 *           noted once, whoever finds it. The GOAWAY that tells the peer is nghttp2's own where
 *           nghttp2 found it, otherwise the last frame is written by us.
 */
#include "h2/internal.h"

#define SESSION_WINDOW_MAX       UINT32_C(0x7FFFFFFF)
#define SESSION_STREAMS_ASSUMED  100u /* MAX_CONCURRENT_STREAMS before the peer's SETTINGS */
#define SESSION_SEND_HEADS_SLACK (64u << 10)
#define SESSION_PING_TAG         0x68u /* first byte of our PINGs' data */

const uint8_t hpxi_h2_drain_data[HPXI_H2_PING_BYTES] = {'h', 'p', 'x', 'd', 'r', 'a', 'i', 'n'};

const char *hpxi_h2_code_name(uint32_t code)
{
    static const char *const names[] = {
        "NO_ERROR",
        "PROTOCOL_ERROR",
        "INTERNAL_ERROR",
        "FLOW_CONTROL_ERROR",
        "SETTINGS_TIMEOUT",
        "STREAM_CLOSED",
        "FRAME_SIZE_ERROR",
        "REFUSED_STREAM",
        "CANCEL",
        "COMPRESSION_ERROR",
        "CONNECT_ERROR",
        "ENHANCE_YOUR_CALM",
        "INADEQUATE_SECURITY",
        "HTTP_1_1_REQUIRED"};
    return code < sizeof(names) / sizeof(names[0]) ? names[code] : "an unknown code";
}

/* ---- Failure -------------------------------------------------------------------------------- */

void hpxi_h2_session_fail(hpxi_h2 *h2, hpx_status status, uint32_t code, const char *detail)
{
    HPX_ASSERT(status < 0);
    HPX_ASSERT(detail != NULL);
    if (h2->failure.status == HPX_OK) {
        h2->failure = (hpxi_h2_failure_info){.status = status, .code = code, .detail = detail};
        h2->is_goaway_due = code != HPXI_H2_NO_ERROR;
    }
}

hpx_status hpxi_h2_session_check(hpxi_h2 *h2, int library_error)
{
    if (library_error >= 0) {
        return HPX_OK;
    }
    switch (library_error) {
    case NGHTTP2_ERR_FLOODED:
        hpxi_h2_session_fail(
            h2,
            HPX_E_H2_FLOOD,
            HPXI_H2_ENHANCE_YOUR_CALM,
            "limits.acks_max: the peer asks for answers that it does not take");
        break;
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        hpxi_h2_session_fail(
            h2,
            HPX_E_H2_FLOOD,
            HPXI_H2_ENHANCE_YOUR_CALM,
            "limits.continuations_max: one head in too many frames");
        break;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        hpxi_h2_session_fail(
            h2, HPX_E_H2_PROTOCOL, HPXI_H2_PROTOCOL_ERROR, "not the preface of HTTP/2 (3.4)");
        break;
    case NGHTTP2_ERR_NOMEM:
    case NGHTTP2_ERR_CALLBACK_FAILURE: /* ours fail for no other reason */
        hpxi_h2_session_fail(
            h2,
            HPX_E_NO_MEMORY,
            HPXI_H2_INTERNAL_ERROR,
            "no memory, or limits.memory_bytes_max is met");
        break;
    default:
        hpxi_h2_session_fail(
            h2, HPX_E_INTERNAL, HPXI_H2_INTERNAL_ERROR, nghttp2_strerror(library_error));
        break;
    }
    return h2->failure.status;
}

hpxi_h2_failure_info hpxi_h2_failure(const hpxi_h2 *h2)
{
    hpxi_h2_failure_info failure = h2->failure;
    failure.detail = failure.detail == NULL ? "" : failure.detail;
    return failure;
}

void hpxi_h2_fail(hpxi_h2 *h2, hpx_status status)
{
    HPX_ASSERT(!h2->is_inside);
    hpxi_h2_session_fail(h2, status, HPXI_H2_NO_ERROR, hpx_status_text(status));
}

void hpxi_h2_eof(hpxi_h2 *h2)
{
    HPX_ASSERT(!h2->is_inside);
    if (h2->got_goaway && h2->goaway_code != HPXI_H2_NO_ERROR) {
        hpxi_h2_session_fail(
            h2, HPX_E_H2_GOAWAY, HPXI_H2_NO_ERROR, hpxi_h2_code_name(h2->goaway_code));
        h2->failure.code = h2->goaway_code;
    } else {
        hpxi_h2_fail(h2, HPX_E_EOF);
    }
}

void hpxi_h2_abort(hpxi_h2 *h2, hpxi_h2_code code)
{
    HPX_ASSERT(!h2->is_inside);
    if (h2->failure.status == HPX_OK) {
        hpxi_h2_session_fail(h2, HPX_E_ABORTED, (uint32_t)code, hpx_status_text(HPX_E_ABORTED));
        h2->is_goaway_due = true; /* with NO_ERROR as well */
    }
}

/* After a failure nghttp2 may not be used any more (its manual), so the last frame is ours. */
void hpxi_h2_session_write_goaway(hpxi_h2 *h2, hpxi_buf *out)
{
    if (!h2->is_goaway_due) {
        return;
    }
    h2->is_goaway_due = false;
    if (h2->is_mid_head) {
        return; /* nothing may come between HEADERS and CONTINUATION (RFC 9113 6.10) */
    }
    const uint32_t last_id = (uint32_t)nghttp2_session_get_last_proc_stream_id(h2->library);
    const uint32_t code = h2->failure.code;
    const uint8_t frame[HPXI_H2_FRAME_HEADER_BYTES + 8] = {
        [2] = 8,
        [HPXI_H2_FRAME_TYPE_AT] = NGHTTP2_GOAWAY,
        [9] = (uint8_t)(last_id >> 24),
        [10] = (uint8_t)(last_id >> 16),
        [11] = (uint8_t)(last_id >> 8),
        [12] = (uint8_t)last_id,
        [13] = (uint8_t)(code >> 24),
        [14] = (uint8_t)(code >> 16),
        [15] = (uint8_t)(code >> 8),
        [16] = (uint8_t)code};
    (void)hpxi_buf_append(out, frame, sizeof(frame)); /* the connection ends without it, too */
}

/* ---- Life ----------------------------------------------------------------------------------- */

static void session_set_options(const hpxi_h2 *h2, nghttp2_option *option)
{
    const hpxi_h2_limits *limits = &h2->config.limits;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_peer_max_concurrent_streams(option, SESSION_STREAMS_ASSUMED);
    nghttp2_option_set_max_reserved_remote_streams(option, 0);
    nghttp2_option_set_max_continuations(option, limits->continuations_max);
    nghttp2_option_set_max_settings(option, limits->settings_entries_max);
    nghttp2_option_set_max_outbound_ack(option, limits->acks_max);
    nghttp2_option_set_max_send_header_block_length(
        option, limits->header_list_bytes_max + SESSION_SEND_HEADS_SLACK);
    /* Off: it reads a clock. We count resets ourselves, with the caller's time (input.c). */
    nghttp2_option_set_stream_reset_rate_limit(option, UINT32_MAX, UINT32_MAX);
}

static int session_new_library(hpxi_h2 *h2)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int rc = nghttp2_session_callbacks_new(&callbacks);
    if (rc == 0) {
        rc = nghttp2_option_new(&option);
    }
    if (rc == 0) {
        hpxi_h2_callbacks_set(callbacks);
        session_set_options(h2, option);
    }
    if (rc == 0) {
        rc = h2->config.is_server ? nghttp2_session_server_new3(
                                        &h2->library, callbacks, h2, option, &h2->memory.library)
                                  : nghttp2_session_client_new3(
                                        &h2->library, callbacks, h2, option, &h2->memory.library);
    }
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return rc;
}

static void session_note_settings(hpxi_h2 *h2, uint64_t now_ns)
{
    if (h2->settings_unacknowledged++ == 0) {
        h2->settings_at_ns = now_ns;
    }
}

/* The connection's window is kept at twice a stream's at least. */
static int session_widen_connection(hpxi_h2 *h2)
{
    const uint32_t now = (uint32_t)nghttp2_session_get_effective_local_window_size(h2->library);
    uint64_t wanted = (uint64_t)h2->window_bytes * 2;
    wanted =
        wanted < h2->config.connection_window_bytes ? h2->config.connection_window_bytes : wanted;
    wanted = wanted > SESSION_WINDOW_MAX ? SESSION_WINDOW_MAX : wanted;
    if (wanted <= now) {
        return 0;
    }
    return nghttp2_session_set_local_window_size(
        h2->library, NGHTTP2_FLAG_NONE, 0, (int32_t)wanted);
}

static int session_submit_first_settings(hpxi_h2 *h2, uint64_t now_ns)
{
    const hpxi_h2_limits *limits = &h2->config.limits;
    const nghttp2_settings_entry common[2] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h2->window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits->header_list_bytes_max}};
    const nghttp2_settings_entry client[3] = {
        common[0], common[1], {NGHTTP2_SETTINGS_ENABLE_PUSH, 0}};
    /* A client's PRIORITY frames then build no tree in our memory (RFC 9218 2.1). */
    const nghttp2_settings_entry server[4] = {
        common[0],
        common[1],
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1}};
    const int rc = nghttp2_submit_settings(
        h2->library,
        NGHTTP2_FLAG_NONE,
        h2->config.is_server ? server : client,
        h2->config.is_server ? 4 : 3);
    if (rc != 0) {
        return rc;
    }
    session_note_settings(h2, now_ns);
    return session_widen_connection(h2);
}

static void session_init_budgets(hpxi_h2 *h2, uint64_t now_ns)
{
    const hpxi_h2_limits *limits = &h2->config.limits;
    hpxi_h2_bucket_init(&h2->pings, limits->pings, now_ns);
    hpxi_h2_bucket_init(&h2->settings, limits->settings, now_ns);
    hpxi_h2_bucket_init(&h2->resets_received, limits->resets_received, now_ns);
    hpxi_h2_bucket_init(&h2->resets_sent, limits->resets_sent, now_ns);
    hpxi_h2_bucket_init(&h2->overhead, limits->overhead, now_ns);
}

static hpx_status session_init(hpxi_h2 *h2, uint64_t now_ns)
{
    const hpxi_h2_limits *limits = &h2->config.limits;
    const hpx_allocator *counted = &h2->memory.counted;
    h2->pairs = hpxi_alloc(
        counted,
        (limits->fields_max + HPXI_H2_OWN_FIELDS) * sizeof(*h2->pairs),
        _Alignof(nghttp2_nv));
    h2->fields =
        hpxi_alloc_zero(counted, limits->fields_max * sizeof(*h2->fields), _Alignof(hpxi_h2_field));
    if (h2->pairs == NULL || h2->fields == NULL || hpxi_h2_slots_init(h2) != HPX_OK) {
        return HPX_E_NO_MEMORY;
    }
    if (session_new_library(h2) != 0 || session_submit_first_settings(h2, now_ns) != 0) {
        return HPX_E_NO_MEMORY; /* the only way for these to fail */
    }
    return HPX_OK;
}

hpx_status hpxi_h2_new(
    hpxi_h2 **out, const hpxi_h2_config *config, const hpx_allocator *allocator, uint64_t now_ns)
{
    *out = NULL;
    if (hpxi_h2_config_check(config, NULL) != HPX_OK) {
        return HPX_E_INVALID;
    }
    hpxi_h2 *h2 = hpxi_alloc_zero(allocator, sizeof(*h2), _Alignof(hpxi_h2));
    if (h2 == NULL) {
        return HPX_E_NO_MEMORY;
    }
    h2->config = *config;
    h2->allocator = allocator;
    h2->now_ns = now_ns;
    h2->window_bytes = config->ping.window_bytes;
    h2->magic_left = config->is_server ? HPXI_H2_MAGIC_BYTES : 0;
    hpxi_h2_ping_init(&h2->ping, &config->ping, now_ns);
    hpxi_h2_memory_init(&h2->memory, allocator, config->limits.memory_bytes_max);
    hpxi_buf_init(&h2->arena, &h2->memory.counted);
    session_init_budgets(h2, now_ns);
    const hpx_status status = session_init(h2, now_ns);
    if (status != HPX_OK) {
        hpxi_h2_free(h2);
        return status;
    }
    *out = h2;
    return HPX_OK;
}

void hpxi_h2_free(hpxi_h2 *h2)
{
    if (h2 == NULL) {
        return;
    }
    HPX_ASSERT(!h2->is_inside);
    const hpxi_h2_limits *limits = &h2->config.limits;
    const hpx_allocator *counted = &h2->memory.counted;
    nghttp2_session_del(h2->library);
    hpxi_buf_fini(&h2->arena);
    hpxi_free(counted, h2->slots, limits->streams_max * sizeof(*h2->slots));
    hpxi_free(counted, h2->fields, limits->fields_max * sizeof(*h2->fields));
    hpxi_free(counted, h2->pairs, (limits->fields_max + HPXI_H2_OWN_FIELDS) * sizeof(*h2->pairs));
    hpxi_h2_memory_fini(&h2->memory);
    hpxi_free(h2->allocator, h2, sizeof(*h2));
}

void hpxi_h2_session_refund(hpxi_h2 *h2)
{
    HPX_DASSERT(!h2->is_inside);
    const uint64_t bytes = h2->refund_bytes;
    if (bytes == 0 || h2->failure.status != HPX_OK) {
        return;
    }
    h2->refund_bytes = 0;
    h2->refunded_bytes += bytes;
    (void)hpxi_h2_session_check(h2, nghttp2_session_consume_connection(h2->library, (size_t)bytes));
}

/* ---- Output --------------------------------------------------------------------------------- */

/* Does the frame (or the preface) have CONTINUATION to follow? */
static bool session_is_unfinished_head(const uint8_t *frame, size_t size)
{
    return size >= HPXI_H2_FRAME_HEADER_BYTES &&
           (frame[HPXI_H2_FRAME_TYPE_AT] == NGHTTP2_HEADERS ||
            frame[HPXI_H2_FRAME_TYPE_AT] == NGHTTP2_CONTINUATION) &&
           (frame[HPXI_H2_FRAME_FLAGS_AT] & NGHTTP2_FLAG_END_HEADERS) == 0;
}

/* Writes frames while `out` is below out_bytes_max; bodies only then, control frames and heads also
 * when it is 0. 1: more waits for room; 0: all is written; or the failure. */
hpx_status hpxi_h2_session_write(hpxi_h2 *h2, hpxi_buf *out, size_t out_bytes_max)
{
    HPX_DASSERT(h2->out == NULL);
    const bool is_pump = out_bytes_max == 0;
    h2->out = out;
    h2->out_bytes_max = out_bytes_max;
    h2->is_paused = false;
    int result = 0;
    while (h2->failure.status == HPX_OK) {
        if (!is_pump && !h2->is_mid_head && hpxi_buf_size(out) >= out_bytes_max) {
            result = nghttp2_session_want_write(h2->library) != 0;
            break;
        }
        const uint8_t *frame;
        h2->is_inside = true;
        const ssize_t size = nghttp2_session_mem_send(h2->library, &frame);
        h2->is_inside = false;
        if (hpxi_h2_session_check(h2, (int)size) != HPX_OK || size == 0) {
            result = h2->is_paused;
            break;
        }
        h2->is_mid_head = session_is_unfinished_head(frame, (size_t)size);
        if (!hpxi_buf_append(out, frame, (size_t)size)) {
            hpxi_h2_session_fail(
                h2, HPX_E_NO_MEMORY, HPXI_H2_INTERNAL_ERROR, "no memory for output");
        }
    }
    h2->out = NULL;
    return h2->failure.status != HPX_OK ? h2->failure.status : result;
}

/* A window that the last sample asked for; one SETTINGS under way at a time. */
static void session_announce_window(hpxi_h2 *h2, uint64_t now_ns)
{
    if (h2->window_wanted == 0 || h2->settings_unacknowledged != 0) {
        return;
    }
    h2->window_bytes = h2->window_wanted;
    h2->window_wanted = 0;
    const nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, h2->window_bytes};
    int rc = nghttp2_submit_settings(h2->library, NGHTTP2_FLAG_NONE, &entry, 1);
    if (rc == 0) {
        session_note_settings(h2, now_ns);
        rc = session_widen_connection(h2);
    }
    (void)hpxi_h2_session_check(h2, rc);
}

static void session_send_ping(hpxi_h2 *h2, uint64_t now_ns)
{
    h2->ping_sequence++;
    h2->ping_data[0] = SESSION_PING_TAG;
    for (size_t i = 1; i < HPXI_H2_PING_BYTES; i++) {
        h2->ping_data[i] = (uint8_t)(h2->ping_sequence >> (8 * (HPXI_H2_PING_BYTES - 1 - i)));
    }
    hpxi_h2_ping_sent(&h2->ping, now_ns);
    (void)hpxi_h2_session_check(
        h2, nghttp2_submit_ping(h2->library, NGHTTP2_FLAG_NONE, h2->ping_data));
}

static uint64_t session_settings_deadline(const hpxi_h2 *h2)
{
    const uint64_t timeout_ns = h2->config.settings_timeout_ns;
    if (h2->settings_unacknowledged == 0 || timeout_ns == 0 ||
        h2->settings_at_ns > UINT64_MAX - timeout_ns) {
        return HPXI_H2_NEVER_NS;
    }
    return h2->settings_at_ns + timeout_ns;
}

/* What time and the answers to PING and SETTINGS make due. */
static void session_do_due(hpxi_h2 *h2, uint64_t now_ns)
{
    if (now_ns >= session_settings_deadline(h2)) {
        hpxi_h2_session_fail(
            h2,
            HPX_E_H2_PROTOCOL,
            HPXI_H2_SETTINGS_TIMEOUT,
            "settings_timeout_ns: our SETTINGS were not acknowledged");
        return;
    }
    switch (hpxi_h2_ping_poll(&h2->ping, h2->used_count, now_ns)) {
    case HPXI_H2_PING_NOTHING:
        break;
    case HPXI_H2_PING_SEND:
        session_send_ping(h2, now_ns);
        break;
    case HPXI_H2_PING_GIVE_UP:
        hpxi_h2_session_fail(
            h2,
            HPX_E_PONG_TIMEOUT,
            HPXI_H2_NO_ERROR,
            "ping.keep_alive_timeout_ns: nothing was read after a PING");
        return;
    }
    session_announce_window(h2, now_ns);
    if (h2->is_drain_final_due && h2->failure.status == HPX_OK) {
        h2->is_drain_final_due = false;
        h2->is_drain_final = true;
        (void)hpxi_h2_session_check(
            h2,
            nghttp2_submit_goaway(
                h2->library,
                NGHTTP2_FLAG_NONE,
                nghttp2_session_get_last_proc_stream_id(h2->library),
                HPXI_H2_NO_ERROR,
                NULL,
                0));
    }
}

hpx_status hpxi_h2_flush(hpxi_h2 *h2, hpxi_buf *out, size_t out_bytes_max, uint64_t now_ns)
{
    HPX_ASSERT(!h2->is_inside);
    HPX_ASSERT(out_bytes_max != 0);
    h2->now_ns = now_ns;
    hpxi_h2_session_refund(h2);
    if (h2->failure.status == HPX_OK) {
        session_do_due(h2, now_ns);
    }
    const hpx_status result = hpxi_h2_session_write(h2, out, out_bytes_max);
    HPX_XASSERT(hpxi_h2_session_is_valid(h2));
    if (result < 0) {
        hpxi_h2_session_write_goaway(h2, out);
    }
    return result;
}

uint64_t hpxi_h2_deadline_ns(const hpxi_h2 *h2)
{
    if (h2->failure.status != HPX_OK) {
        return HPXI_H2_NEVER_NS;
    }
    const uint64_t settings_ns = session_settings_deadline(h2);
    const uint64_t ping_ns = hpxi_h2_ping_deadline_ns(&h2->ping, h2->used_count);
    return settings_ns < ping_ns ? settings_ns : ping_ns;
}

/* ---- The invariant -------------------------------------------------------------------------- */

static bool session_is_budget_valid(const hpxi_h2_bucket *bucket)
{
    return bucket->token_ns != 0 && bucket->debt_ns <= bucket->room_ns;
}

bool hpxi_h2_session_is_valid(const hpxi_h2 *h2)
{
    uint32_t used = 0;
    uint32_t ended = 0;
    uint64_t unconsumed = 0;
    for (uint32_t i = 0; i < h2->config.limits.streams_max; i++) {
        const hpxi_h2_slot *slot = &h2->slots[i];
        used += slot->stream_id != 0;
        ended += slot->stream_id != 0 && slot->is_ended;
        unconsumed += slot->unconsumed_bytes;
        if (slot->generation == 0 || (slot->stream_id == 0 && slot->unconsumed_bytes != 0)) {
            return false;
        }
    }
    for (uint32_t at = h2->ended_first; at != HPXI_H2_NO_SLOT; at = h2->slots[at].next) {
        if (ended-- == 0 || !h2->slots[at].is_ended) {
            return false;
        }
    }
    return ended == 0 && used == h2->used_count && unconsumed == h2->unconsumed_bytes &&
           h2->event_at <= h2->event_count && h2->event_count <= HPXI_H2_EVENTS_MAX &&
           h2->memory.bytes <= h2->memory.bytes_max && session_is_budget_valid(&h2->pings) &&
           session_is_budget_valid(&h2->settings) &&
           session_is_budget_valid(&h2->resets_received) &&
           session_is_budget_valid(&h2->resets_sent) && session_is_budget_valid(&h2->overhead) &&
           hpxi_h2_ping_is_valid(&h2->ping);
}

/* ---- Graceful end --------------------------------------------------------------------------- */

void hpxi_h2_drain(hpxi_h2 *h2, uint64_t now_ns)
{
    HPX_ASSERT(!h2->is_inside);
    h2->now_ns = now_ns;
    if (h2->is_draining || h2->failure.status != HPX_OK) {
        return;
    }
    h2->is_draining = true;
    int rc;
    if (h2->config.is_server) {
        rc = nghttp2_submit_shutdown_notice(h2->library);
        h2->is_drain_pinged = true;
        if (rc == 0) {
            rc = nghttp2_submit_ping(h2->library, NGHTTP2_FLAG_NONE, hpxi_h2_drain_data);
        }
    } else {
        h2->is_drain_final = true;
        rc = nghttp2_submit_goaway(h2->library, NGHTTP2_FLAG_NONE, 0, HPXI_H2_NO_ERROR, NULL, 0);
    }
    (void)hpxi_h2_session_check(h2, rc);
}

bool hpxi_h2_is_drained(const hpxi_h2 *h2)
{
    const bool is_ending = h2->is_drain_final || h2->got_goaway;
    const bool is_written =
        h2->failure.status != HPX_OK || nghttp2_session_get_outbound_queue_size(h2->library) == 0;
    return is_ending && is_written && h2->used_count == 0 && h2->live_count == 0;
}

/* ---- Information ---------------------------------------------------------------------------- */

void hpxi_h2_get_info(const hpxi_h2 *h2, hpxi_h2_info *out)
{
    *out = (hpxi_h2_info){
        .streams_open = h2->live_count + h2->queued_count,
        .streams_opened = h2->opened_count,
        .streams_max_peer = nghttp2_session_get_remote_settings(
            h2->library, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
        .window_stream_bytes = h2->window_bytes,
        .window_connection_bytes = nghttp2_session_get_local_window_size(h2->library),
        .window_connection_bytes_max =
            (uint32_t)nghttp2_session_get_effective_local_window_size(h2->library),
        .unconsumed_bytes = h2->unconsumed_bytes,
        .refunded_bytes = h2->refunded_bytes,
        .resets_received = h2->resets_received_count,
        .resets_sent = h2->resets_sent_count,
        .frames_received = h2->frames_received,
        .library_allocations = h2->memory.library_allocations,
        .allocations = h2->memory.allocations,
        .memory_bytes = h2->memory.bytes};
}

const hpxi_h2_ping_stats *hpxi_h2_stats(const hpxi_h2 *h2)
{
    return h2->ping.stats;
}

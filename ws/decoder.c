/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decoder.c - RFC 6455 section 5: bytes into messages.
 *
 *   HEADER --(2..14 bytes)--> PAYLOAD --(payload_left == 0)--> HEADER
 *      \                          \----(a CLOSE frame)-------> CLOSED (discards)
 *       \__ any violation _________\_________________________> FAILED (absorbing)
 *
 * The top of hpxi_ws_decoder_next() takes the frame that nearly all are: data, whole in the input,
 * not a fragment. Anything else goes through the states. Neither way depends on where the input is
 * cut: a rule is checked as soon as the bytes that it is about are there, and not before.
 *
 * Threads   A decoder belongs to one thread at a time.
 * Memory    See frame.h. What is gathered lies at the front of `gathered` (head == 0).
 */
#include "ws/frame.h"
#include "ws/mask.h"

#define DECODER_FIN        0x80u
#define DECODER_RSV        0x70u
#define DECODER_OP         0x0Fu
#define DECODER_MASKED     0x80u
#define DECODER_LENGTH7    0x7Fu
#define DECODER_LENGTH16   126u
#define DECODER_LENGTH64   127u
#define DECODER_CONTROL    0x08u
#define DECODER_CLAIM_MAX  (UINT64_C(64) * 1024) /* most that is reserved for a claimed length */
#define DECODER_GATHER_MIN UINT64_C(256)

enum {
    DECODER_CLOSE_PROTOCOL = 1002,
    DECODER_CLOSE_UTF8 = 1007,
    DECODER_CLOSE_TOO_BIG = 1009,
    DECODER_CLOSE_INTERNAL = 1011,
};

/* One text, whether the whole message was checked or its last byte was. */
static const char decoder_not_utf8[] = "text message is not UTF-8 (RFC 6455 8.1)";

void hpxi_ws_decoder_init(
    hpxi_ws_decoder *decoder,
    hpxi_ws_role role,
    const hpxi_ws_limits *limits,
    const hpx_allocator *allocator)
{
    HPX_ASSERT(limits->message_bytes_max != 0);
    HPX_ASSERT(limits->message_bytes_max <= SIZE_MAX / 4);
    HPX_ASSERT(limits->fragments_max != 0);
    HPX_ASSERT(role == HPXI_WS_ROLE_CLIENT || role == HPXI_WS_ROLE_SERVER);
    *decoder = (hpxi_ws_decoder){.state = HPXI_WS_DECODER_HEADER, .role = role, .limits = *limits};
    hpxi_buf_init(&decoder->gathered, allocator);
}

void hpxi_ws_decoder_fini(hpxi_ws_decoder *decoder)
{
    hpxi_buf_fini(&decoder->gathered);
    decoder->gathered_delivered = false;
}

static bool decoder_is_control(hpxi_ws_op op)
{
    return (op & DECODER_CONTROL) != 0;
}

/* What holds in every state. */
static bool decoder_is_consistent(const hpxi_ws_decoder *decoder)
{
    return decoder->gathered.head == 0 && decoder->gathered.tail <= decoder->gathered.capacity &&
           decoder->gathered.capacity <= decoder->limits.message_bytes_max &&
           decoder->control_have <= HPXI_WS_CONTROL_BYTES_MAX &&
           decoder->header_have < HPXI_WS_HEADER_BYTES_MAX &&
           decoder->fragments <= decoder->limits.fragments_max;
}

bool hpxi_ws_decoder_is_valid(const hpxi_ws_decoder *decoder)
{
    if (!decoder_is_consistent(decoder)) {
        return false;
    }
    switch (decoder->state) {
    case HPXI_WS_DECODER_HEADER:
        return decoder->payload_left == 0 && decoder->failure == HPX_OK &&
               (decoder->in_message || decoder->gathered_delivered ||
                decoder->gathered.tail == 0) &&
               (!decoder->gathered_delivered || !decoder->in_message) &&
               decoder->in_message == (decoder->fragments != 0);
    case HPXI_WS_DECODER_PAYLOAD:
        return decoder->header_have == 0 && decoder->payload_left != 0 &&
               decoder->failure == HPX_OK && !decoder->gathered_delivered;
    case HPXI_WS_DECODER_CLOSED:
        return decoder->failure == HPX_OK && decoder->gathered.capacity == 0;
    case HPXI_WS_DECODER_FAILED:
        return decoder->failure < 0 && decoder->failure_code >= DECODER_CLOSE_PROTOCOL &&
               decoder->failure_detail != NULL && decoder->gathered.capacity == 0;
    }
    return false;
}

/* ---- Ends: failure and CLOSE ---------------------------------------------------------------- */

/* Nothing will be gathered any more: give the memory back now, the connection may live on. */
static void decoder_stop(hpxi_ws_decoder *decoder, hpxi_ws_decoder_state state)
{
    HPX_DASSERT(state == HPXI_WS_DECODER_CLOSED || state == HPXI_WS_DECODER_FAILED);
    hpxi_buf_fini(&decoder->gathered);
    decoder->gathered_delivered = false;
    decoder->in_message = false;
    decoder->header_have = 0;
    decoder->payload_left = 0;
    decoder->state = state;
}

/* Returns `status`. `detail` is static text. */
static hpx_status
decoder_fail(hpxi_ws_decoder *decoder, hpx_status status, uint16_t code, const char *detail)
{
    HPX_ASSERT(status < 0);
    HPX_ASSERT(decoder->state != HPXI_WS_DECODER_FAILED);
    decoder_stop(decoder, HPXI_WS_DECODER_FAILED);
    decoder->failure = status;
    decoder->failure_code = code;
    decoder->failure_detail = detail;
    return status;
}

static hpx_status decoder_fail_protocol(hpxi_ws_decoder *decoder, const char *detail)
{
    return decoder_fail(decoder, HPX_E_WS_PROTOCOL, DECODER_CLOSE_PROTOCOL, detail);
}

static hpx_status decoder_fail_utf8(hpxi_ws_decoder *decoder, const char *detail)
{
    return decoder_fail(decoder, HPX_E_WS_UTF8, DECODER_CLOSE_UTF8, detail);
}

static hpx_status decoder_fail_too_big(hpxi_ws_decoder *decoder, const char *detail)
{
    return decoder_fail(decoder, HPX_E_WS_TOO_BIG, DECODER_CLOSE_TOO_BIG, detail);
}

/* ---- Header --------------------------------------------------------------------------------- */

/* Bytes of the header, as far as the bytes so far tell. */
static uint8_t decoder_header_need(const hpxi_ws_decoder *decoder)
{
    if (decoder->header_have < 2) {
        return 2;
    }
    const uint8_t length7 = decoder->header[1] & DECODER_LENGTH7;
    const uint8_t mask = (decoder->header[1] & DECODER_MASKED) != 0 ? 4 : 0;
    const uint8_t extended = length7 == DECODER_LENGTH64 ? 8 : length7 == DECODER_LENGTH16 ? 2 : 0;
    return (uint8_t)(2 + extended + mask);
}

/* What the first two bytes alone can break. NULL, or the rule of RFC 6455 section 5. */
static const char *decoder_check_start(const hpxi_ws_decoder *decoder)
{
    const hpxi_ws_op op = (hpxi_ws_op)(decoder->header[0] & DECODER_OP);
    const bool fin = (decoder->header[0] & DECODER_FIN) != 0;
    const bool masked = (decoder->header[1] & DECODER_MASKED) != 0;
    const uint8_t length7 = decoder->header[1] & DECODER_LENGTH7;
    if ((decoder->header[0] & DECODER_RSV) != 0) {
        return "reserved bit set without an extension (RFC 6455 5.2)";
    }
    if ((op > HPXI_WS_BINARY && op < HPXI_WS_CLOSE) || op > HPXI_WS_PONG) {
        return "reserved opcode (RFC 6455 5.2)";
    }
    if (masked != (decoder->role == HPXI_WS_ROLE_SERVER)) {
        return masked ? "masked frame from a server (RFC 6455 5.1)"
                      : "unmasked frame from a client (RFC 6455 5.1)";
    }
    if (decoder_is_control(op)) {
        if (!fin) {
            return "fragmented control frame (RFC 6455 5.5)";
        }
        if (length7 > HPXI_WS_CONTROL_BYTES_MAX) {
            return "control frame over 125 bytes (RFC 6455 5.5)";
        }
        if (op == HPXI_WS_CLOSE && length7 == 1) {
            return "close frame with half a code (RFC 6455 5.5.1)";
        }
        return NULL;
    }
    if (op == HPXI_WS_CONTINUATION && !decoder->in_message) {
        return "continuation without a message (RFC 6455 5.4)";
    }
    if (op != HPXI_WS_CONTINUATION && decoder->in_message) {
        return "new message inside a fragmented one (RFC 6455 5.4)";
    }
    return NULL;
}

/* The payload length of a whole header. */
static uint64_t decoder_length(const hpxi_ws_decoder *decoder)
{
    const uint8_t length7 = decoder->header[1] & DECODER_LENGTH7;
    if (length7 < DECODER_LENGTH16) {
        return length7;
    }
    const size_t bytes = length7 == DECODER_LENGTH64 ? 8 : 2;
    uint64_t length = 0;
    for (size_t i = 0; i < bytes; i++) {
        length = length << 8 | decoder->header[2 + i];
    }
    return length;
}

/* RFC 6455 5.2: the high bit is 0 and the shortest form must be used. NULL, or the rule. */
static const char *decoder_check_length(uint8_t length7, uint64_t length)
{
    HPX_DASSERT(length7 <= DECODER_LENGTH64);
    if (length >> 63 != 0) {
        return "payload length with the high bit set (RFC 6455 5.2)";
    }
    const uint64_t length_min = length7 == DECODER_LENGTH64   ? UINT16_MAX + UINT64_C(1)
                                : length7 == DECODER_LENGTH16 ? DECODER_LENGTH16
                                                              : 0;
    return length < length_min ? "payload length not in its shortest form (RFC 6455 5.2)" : NULL;
}

/* A header is whole and lawful: count it in its message, before any of its payload is kept. */
static hpx_status decoder_begin_data(hpxi_ws_decoder *decoder)
{
    HPX_ASSERT(decoder->gathered.tail <= decoder->limits.message_bytes_max);
    if (decoder->payload_left > decoder->limits.message_bytes_max - decoder->gathered.tail) {
        return decoder_fail_too_big(decoder, "message over message_bytes_max");
    }
    if (decoder->fragments == decoder->limits.fragments_max) {
        return decoder_fail_too_big(decoder, "message in more frames than fragments_max");
    }
    decoder->fragments++;
    if (decoder->frame_op != HPXI_WS_CONTINUATION) {
        HPX_ASSERT(decoder->gathered.tail == 0);
        decoder->message_op = decoder->frame_op;
        hpxi_utf8_init(&decoder->utf8);
    }
    return HPX_OK;
}

static hpx_status decoder_begin_frame(hpxi_ws_decoder *decoder)
{
    HPX_DASSERT(decoder->header_have == decoder_header_need(decoder));
    const uint64_t length = decoder_length(decoder);
    const char *broken = decoder_check_length(decoder->header[1] & DECODER_LENGTH7, length);
    if (broken != NULL) {
        return decoder_fail_protocol(decoder, broken);
    }
    if (decoder->role == HPXI_WS_ROLE_SERVER) {
        memcpy(decoder->mask_key, decoder->header + decoder->header_have - 4, 4);
    }
    decoder->frame_op = (hpxi_ws_op)(decoder->header[0] & DECODER_OP);
    decoder->frame_fin = (decoder->header[0] & DECODER_FIN) != 0;
    decoder->payload_left = length;
    decoder->payload_at = 0;
    decoder->header_have = 0;
    decoder->control_have = 0;
    decoder->state = HPXI_WS_DECODER_PAYLOAD;
    return decoder_is_control(decoder->frame_op) ? HPX_OK : decoder_begin_data(decoder);
}

/* HPX_OK: the state is PAYLOAD. */
static hpx_status decoder_take_header(hpxi_ws_decoder *decoder, uint8_t **data, size_t *size)
{
    uint8_t need;
    while (decoder->header_have < (need = decoder_header_need(decoder))) {
        if (*size == 0) {
            return HPX_E_PARTIAL;
        }
        HPX_DASSERT(*data != NULL);
        const size_t lacking = need - decoder->header_have;
        const size_t take = *size < lacking ? *size : lacking;
        memcpy(decoder->header + decoder->header_have, *data, take);
        decoder->header_have = (uint8_t)(decoder->header_have + take);
        *data += take;
        *size -= take;
        if (need == 2 && decoder->header_have == 2) {
            const char *broken = decoder_check_start(decoder);
            if (broken != NULL) {
                return decoder_fail_protocol(decoder, broken);
            }
        }
    }
    return decoder_begin_frame(decoder);
}

/* ---- Payload -------------------------------------------------------------------------------- */

static void decoder_unmask(hpxi_ws_decoder *decoder, uint8_t *dst, const uint8_t *src, size_t size)
{
    if (decoder->role == HPXI_WS_ROLE_SERVER) {
        hpxi_ws_mask(dst, src, size, decoder->mask_key, (size_t)decoder->payload_at);
    } else if (dst != src) {
        memcpy(dst, src, size);
    }
}

static inline uint64_t decoder_least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t decoder_most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/*
 * Room for `take` more bytes of the message, in front of which all others lie. The claimed length
 * of the frame counts up to a bound; beyond it the capacity follows the bytes that came.
 */
static bool decoder_reserve(hpxi_ws_decoder *decoder, size_t take)
{
    hpxi_buf *buf = &decoder->gathered;
    HPX_DASSERT(take <= decoder->payload_left);
    HPX_DASSERT(take <= decoder->limits.message_bytes_max - buf->tail);
    if (HPXI_LIKELY(buf->capacity - buf->tail >= take)) {
        return true;
    }
    uint64_t capacity = buf->tail + decoder_least(decoder->payload_left, DECODER_CLAIM_MAX);
    capacity = decoder_most(capacity, buf->tail + (uint64_t)take);
    capacity = decoder_most(capacity, buf->capacity * UINT64_C(2));
    capacity = decoder_most(capacity, DECODER_GATHER_MIN);
    capacity = decoder_least(capacity, decoder->limits.message_bytes_max);
    uint8_t *block = hpxi_alloc(buf->allocator, (size_t)capacity, 64);
    if (block == NULL) {
        return false;
    }
    if (buf->tail != 0) {
        memcpy(block, buf->data, buf->tail);
    }
    hpxi_free(buf->allocator, buf->data, buf->capacity);
    buf->data = block;
    buf->capacity = (size_t)capacity;
    HPX_DASSERT(buf->capacity - buf->tail >= take);
    return true;
}

static hpx_status decoder_gather(hpxi_ws_decoder *decoder, const uint8_t *data, size_t take)
{
    HPX_DASSERT(take != 0);
    if (decoder_is_control(decoder->frame_op)) {
        HPX_ASSERT(take <= HPXI_WS_CONTROL_BYTES_MAX - decoder->control_have);
        decoder_unmask(decoder, decoder->control + decoder->control_have, data, take);
        decoder->control_have = (uint8_t)(decoder->control_have + take);
        return HPX_OK;
    }
    if (!decoder_reserve(decoder, take)) {
        return decoder_fail(
            decoder, HPX_E_NO_MEMORY, DECODER_CLOSE_INTERNAL, "no memory for a message");
    }
    uint8_t *to = decoder->gathered.data + decoder->gathered.tail;
    decoder_unmask(decoder, to, data, take);
    hpxi_buf_commit(&decoder->gathered, take);
    if (decoder->message_op == HPXI_WS_TEXT && !hpxi_utf8_feed(&decoder->utf8, to, take)) {
        return decoder_fail_utf8(decoder, decoder_not_utf8);
    }
    return HPX_OK;
}

/* The last event pointed into `gathered`, and its reader is done. */
static void decoder_recycle(hpxi_ws_decoder *decoder)
{
    HPX_DASSERT(decoder->gathered_delivered);
    HPX_DASSERT(!decoder->in_message);
    decoder->gathered_delivered = false;
    if (decoder->gathered.capacity > decoder->limits.retain_bytes_max) {
        hpxi_buf_fini(&decoder->gathered);
    } else {
        decoder->gathered.tail = 0;
    }
}

/* RFC 6455 5.5.1 and 7.4. `out` holds the whole payload. */
static hpx_status decoder_finish_close(hpxi_ws_decoder *decoder, hpxi_ws_message *out)
{
    out->close_code = HPXI_WS_CLOSE_NONE;
    if (out->size != 0) {
        HPX_ASSERT(out->size >= 2);
        const uint16_t code = (uint16_t)(out->data[0] << 8 | out->data[1]);
        if (!hpxi_ws_close_code_is_valid(code)) {
            return decoder_fail_protocol(decoder, "close code not allowed (RFC 6455 7.4)");
        }
        out->close_code = code;
        out->data += 2;
        out->size -= 2;
        if (!hpxi_utf8_check(out->data, out->size)) {
            return decoder_fail_utf8(decoder, "close reason is not UTF-8 (RFC 6455 5.5.1)");
        }
    }
    decoder_stop(decoder, HPXI_WS_DECODER_CLOSED);
    return 1;
}

static hpx_status
decoder_finish_control(hpxi_ws_decoder *decoder, uint8_t *data, size_t size, hpxi_ws_message *out)
{
    HPX_DASSERT(size <= HPXI_WS_CONTROL_BYTES_MAX);
    decoder->state = HPXI_WS_DECODER_HEADER;
    *out = (hpxi_ws_message){.op = decoder->frame_op, .data = data, .size = size};
    return decoder->frame_op == HPXI_WS_CLOSE ? decoder_finish_close(decoder, out) : 1;
}

/* A data frame is whole. HPX_OK: more fragments follow. */
static hpx_status decoder_finish_data(hpxi_ws_decoder *decoder, hpxi_ws_message *out)
{
    HPX_DASSERT(decoder->payload_left == 0);
    decoder->state = HPXI_WS_DECODER_HEADER;
    decoder->in_message = !decoder->frame_fin;
    if (decoder->in_message) {
        return HPX_OK;
    }
    if (decoder->message_op == HPXI_WS_TEXT && !hpxi_utf8_is_complete(&decoder->utf8)) {
        return decoder_fail_utf8(decoder, decoder_not_utf8);
    }
    decoder->fragments = 0;
    decoder->gathered_delivered = true;
    *out = (hpxi_ws_message){
        .op = decoder->message_op, .data = decoder->gathered.data, .size = decoder->gathered.tail};
    return 1;
}

/* The whole payload of a control frame, or of a message in one frame, lies in the input. */
static hpx_status
decoder_take_in_place(hpxi_ws_decoder *decoder, uint8_t **data, size_t *size, hpxi_ws_message *out)
{
    HPX_DASSERT(decoder->payload_at == 0);
    HPX_DASSERT(decoder->payload_left <= *size);
    uint8_t *payload = *data;
    const size_t bytes = (size_t)decoder->payload_left;
    if (bytes != 0) {
        decoder_unmask(decoder, payload, payload, bytes);
        *data += bytes;
        *size -= bytes;
    }
    decoder->payload_left = 0;
    if (decoder_is_control(decoder->frame_op)) {
        return decoder_finish_control(decoder, payload, bytes, out);
    }
    HPX_DASSERT(decoder->gathered.tail == 0);
    decoder->state = HPXI_WS_DECODER_HEADER;
    decoder->fragments = 0;
    if (decoder->frame_op == HPXI_WS_TEXT && !hpxi_utf8_check(payload, bytes)) {
        return decoder_fail_utf8(decoder, decoder_not_utf8);
    }
    *out = (hpxi_ws_message){.op = decoder->frame_op, .data = payload, .size = bytes};
    return 1;
}

static hpx_status
decoder_take_payload(hpxi_ws_decoder *decoder, uint8_t **data, size_t *size, hpxi_ws_message *out)
{
    const bool control = decoder_is_control(decoder->frame_op);
    const bool one_frame =
        control || (decoder->frame_fin && decoder->frame_op != HPXI_WS_CONTINUATION);
    if (one_frame && decoder->payload_at == 0 && decoder->payload_left <= *size) {
        return decoder_take_in_place(decoder, data, size, out);
    }
    const size_t take = decoder->payload_left < *size ? (size_t)decoder->payload_left : *size;
    if (take != 0) {
        const hpx_status status = decoder_gather(decoder, *data, take);
        if (status != HPX_OK) {
            return status;
        }
        decoder->payload_left -= take;
        decoder->payload_at += take;
        *data += take;
        *size -= take;
    }
    if (decoder->payload_left != 0) {
        return HPX_E_PARTIAL;
    }
    return control ? decoder_finish_control(decoder, decoder->control, decoder->control_have, out)
                   : decoder_finish_data(decoder, out);
}

/* ---- Next ----------------------------------------------------------------------------------- */

/* By state, for what the fast path does not take. */
static hpx_status
decoder_run(hpxi_ws_decoder *decoder, uint8_t **data, size_t *size, hpxi_ws_message *out)
{
    if (decoder->gathered_delivered) {
        decoder_recycle(decoder);
    }
    for (;;) {
        hpx_status status = HPX_OK;
        switch (decoder->state) {
        case HPXI_WS_DECODER_HEADER:
            status = decoder_take_header(decoder, data, size);
            break;
        case HPXI_WS_DECODER_PAYLOAD:
            status = decoder_take_payload(decoder, data, size, out);
            break;
        case HPXI_WS_DECODER_CLOSED:
            return HPX_E_PARTIAL;
        case HPXI_WS_DECODER_FAILED:
            return decoder->failure;
        }
        if (status != HPX_OK) {
            return status;
        }
    }
}

static __attribute__((noinline)) hpx_status
decoder_next_slow(hpxi_ws_decoder *decoder, uint8_t **data, size_t *size, hpxi_ws_message *out)
{
    const hpx_status status = decoder_run(decoder, data, size, out);
    HPX_XASSERT(hpxi_ws_decoder_is_valid(decoder));
    if (status != 1 && *size != 0) {
        HPX_DASSERT(decoder->state >= HPXI_WS_DECODER_CLOSED);
        *data += *size; /* discarded: nobody may see it again, and no caller may spin on it */
        *size = 0;
    }
    return status;
}

/* Between messages, with nothing to tidy up. */
static inline bool decoder_is_idle(const hpxi_ws_decoder *decoder)
{
    return decoder->state == HPXI_WS_DECODER_HEADER && decoder->header_have == 0 &&
           !decoder->in_message && !decoder->gathered_delivered;
}

/*
 * One data message in one frame of up to 65535 bytes, all of it in the input: header bytes at
 * most 8, payload in place. False: it is something else, or not all there, or breaks a rule; then
 * nothing was touched, and the states say which.
 */
static inline bool decoder_take_fast(
    const hpxi_ws_decoder *decoder, uint8_t **data, size_t *size, hpxi_ws_message *out)
{
    uint8_t *const in = *data;
    const size_t have = *size;
    if (HPXI_UNLIKELY(have < 2)) {
        return false;
    }
    /* FIN, no reserved bit, TEXT or BINARY: 0x81 or 0x82; masked as the role has it. */
    const bool masked = decoder->role == HPXI_WS_ROLE_SERVER;
    const uint32_t op = in[0] ^ DECODER_FIN;
    size_t length = in[1] ^ (masked ? DECODER_MASKED : 0u);
    size_t header = masked ? 6 : 2;
    if (HPXI_UNLIKELY(op - HPXI_WS_TEXT > HPXI_WS_BINARY - HPXI_WS_TEXT)) {
        return false;
    }
    if (length > 125) {
        if (length != DECODER_LENGTH16 || have < 4) {
            return false;
        }
        length = (size_t)in[2] << 8 | in[3];
        header += 2;
        if (HPXI_UNLIKELY(length <= 125)) {
            return false;
        }
    }
    if (HPXI_UNLIKELY(have < header + length || length > decoder->limits.message_bytes_max)) {
        return false;
    }
    uint8_t *const payload = in + header;
    if (masked) {
        hpxi_ws_mask(payload, payload, length, payload - 4, 0);
    }
    out->op = (hpxi_ws_op)op;
    out->close_code = 0;
    out->data = payload;
    out->size = length;
    *data = payload + length;
    *size = have - header - length;
    return true;
}

hpx_status
hpxi_ws_decoder_next(hpxi_ws_decoder *decoder, uint8_t **data, size_t *size, hpxi_ws_message *out)
{
    HPX_DASSERT(*data != NULL || *size == 0);
    HPX_XASSERT(hpxi_ws_decoder_is_valid(decoder));
    if (HPXI_UNLIKELY(!decoder_is_idle(decoder)) || !decoder_take_fast(decoder, data, size, out)) {
        return decoder_next_slow(decoder, data, size, out);
    }
    if (out->op == HPXI_WS_TEXT && HPXI_UNLIKELY(!hpxi_utf8_check(out->data, out->size))) {
        (void)decoder_fail_utf8(decoder, decoder_not_utf8);
        return decoder_next_slow(decoder, data, size, out);
    }
    return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encoder.c - RFC 6455 section 5: messages into frames. No state: a frame is a function of its
 * arguments. The mask key is the caller's, who must draw it anew for every frame (10.3).
 *
 * Threads   Any.
 */
#include "ws/frame.h"
#include "ws/mask.h"

#define ENCODER_FIN      0x80u
#define ENCODER_MASKED   0x80u
#define ENCODER_LENGTH16 126u
#define ENCODER_LENGTH64 127u

/* RFC 6455 5.2: the shortest form that holds the length. Returns the header's bytes so far. */
static inline size_t encoder_length(uint8_t *dst, size_t size, uint8_t masked)
{
    if (HPXI_LIKELY(size <= 125)) {
        dst[1] = (uint8_t)(masked | size);
        return 2;
    }
    if (HPXI_LIKELY(size <= UINT16_MAX)) {
        dst[1] = (uint8_t)(masked | ENCODER_LENGTH16);
        dst[2] = (uint8_t)(size >> 8);
        dst[3] = (uint8_t)size;
        return 4;
    }
    HPX_ASSERT((uint64_t)size >> 63 == 0);
    dst[1] = (uint8_t)(masked | ENCODER_LENGTH64);
    for (uint32_t i = 0; i < 8; i++) {
        dst[2 + i] = (uint8_t)((uint64_t)size >> (56 - 8 * i));
    }
    return 10;
}

size_t
hpxi_ws_encode_head(uint8_t *dst, hpxi_ws_op op, bool fin, const uint8_t *mask_key, size_t size)
{
    HPX_DASSERT(op <= HPXI_WS_BINARY || (op >= HPXI_WS_CLOSE && op <= HPXI_WS_PONG));
    /* RFC 6455 5.5: control frames are short and whole. */
    HPX_ASSERT(op < HPXI_WS_CLOSE || (fin && size <= HPXI_WS_CONTROL_BYTES_MAX));

    dst[0] = (uint8_t)((fin ? ENCODER_FIN : 0u) | (uint32_t)op);
    size_t at = encoder_length(dst, size, mask_key != NULL ? ENCODER_MASKED : 0);
    if (mask_key != NULL) {
        memcpy(dst + at, mask_key, 4);
        at += 4;
    }
    HPX_DASSERT(at + size == hpxi_ws_frame_bytes(size, mask_key != NULL));
    return at;
}

void hpxi_ws_encode_payload(
    uint8_t *dst, const uint8_t *piece, size_t size, const uint8_t *mask_key, size_t at)
{
    HPX_DASSERT(piece != NULL || size == 0);
    if (size == 0) {
        return;
    }
    if (mask_key != NULL) {
        hpxi_ws_mask(dst, piece, size, mask_key, at);
    } else {
        memcpy(dst, piece, size);
    }
}

size_t hpxi_ws_encode(
    uint8_t *dst,
    hpxi_ws_op op,
    bool fin,
    const uint8_t *mask_key,
    const uint8_t *payload,
    size_t size)
{
    const size_t head = hpxi_ws_encode_head(dst, op, fin, mask_key, size);
    hpxi_ws_encode_payload(dst + head, payload, size, mask_key, 0);
    return head + size;
}

size_t hpxi_ws_close_payload(uint8_t *dst, uint16_t code, hpx_span reason)
{
    if (code == HPXI_WS_CLOSE_NONE) {
        return 0;
    }
    HPX_ASSERT(hpxi_ws_close_code_is_valid(code));
    size_t size = reason.size;
    if (size > HPXI_WS_CLOSE_REASON_MAX) {
        size = HPXI_WS_CLOSE_REASON_MAX;
        while (size != 0 && (reason.data[size] & 0xC0) == 0x80) {
            size--; /* the first byte left out would be in the middle of a character */
        }
    }
    dst[0] = (uint8_t)(code >> 8);
    dst[1] = (uint8_t)code;
    if (size != 0) {
        memcpy(dst + 2, reason.data, size);
    }
    HPX_DASSERT(2 + size <= HPXI_WS_CONTROL_BYTES_MAX);
    return 2 + size;
}

bool hpxi_ws_close_code_is_valid(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

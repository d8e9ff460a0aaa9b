/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - RFC 6455 section 5: bytes into messages (decoder) and messages into frames (encoder).
 *
 * Role      Sans-IO. The decoder is strict: masking by role, RSV, opcodes, minimal lengths,
 *           fragmentation, control frames, close codes and reasons, streaming UTF-8, limits.
 * Threads   A decoder belongs to one thread at a time. No clock, no globals.
 * Memory    A message that lies whole and unfragmented in the input is delivered in place (and
 *           unmasked in place). Only what is cut or fragmented is gathered in the decoder's
 *           buffer, which grows as bytes arrive (never by a length that a peer merely claims), up
 *           to message_bytes_max, and is kept for the next message up to retain_bytes_max.
 */
#ifndef HPXI_WS_FRAME_H
#define HPXI_WS_FRAME_H

#include "ring/alloc.h"
#include "ws/utf8.h"

typedef enum hpxi_ws_op {
    HPXI_WS_CONTINUATION = 0x0,
    HPXI_WS_TEXT = 0x1,
    HPXI_WS_BINARY = 0x2,
    HPXI_WS_CLOSE = 0x8,
    HPXI_WS_PING = 0x9,
    HPXI_WS_PONG = 0xA,
} hpxi_ws_op;

typedef enum hpxi_ws_role {
    HPXI_WS_ROLE_CLIENT, /* we mask; the peer must not */
    HPXI_WS_ROLE_SERVER, /* the peer must mask; we do not */
} hpxi_ws_role;

#define HPXI_WS_CONTROL_BYTES_MAX 125u
#define HPXI_WS_HEADER_BYTES_MAX  14u
#define HPXI_WS_CLOSE_REASON_MAX  123u
#define HPXI_WS_CLOSE_NONE        1005u /* a CLOSE frame without a code (never on the wire) */

typedef struct hpxi_ws_limits {
    uint64_t message_bytes_max; /* over it: HPX_E_WS_TOO_BIG, before the bytes are stored */
    uint64_t retain_bytes_max;  /* capacity kept between messages */
    uint32_t fragments_max;     /* frames of one message */
} hpxi_ws_limits;

/* One whole message or control frame. */
typedef struct hpxi_ws_message {
    hpxi_ws_op op;       /* TEXT, BINARY, CLOSE, PING, PONG */
    uint16_t close_code; /* CLOSE: the code, HPXI_WS_CLOSE_NONE if there was none */
    uint8_t *data;       /* payload (CLOSE: the reason without the code); NULL only if size is 0 */
    size_t size;         /* valid until the next call on the decoder or the input's end of life */
} hpxi_ws_message;

typedef enum hpxi_ws_decoder_state {
    HPXI_WS_DECODER_HEADER,  /* gathering a frame header */
    HPXI_WS_DECODER_PAYLOAD, /* payload_left bytes of the frame to come */
    HPXI_WS_DECODER_CLOSED,  /* a CLOSE frame was delivered: later bytes are discarded */
    HPXI_WS_DECODER_FAILED,  /* absorbing; `failure` holds the code */
} hpxi_ws_decoder_state;

typedef struct hpxi_ws_decoder {
    hpxi_ws_decoder_state state;
    hpxi_ws_role role;
    hpxi_ws_limits limits;
    hpx_status failure;
    uint16_t failure_code;      /* close code for the wire: 1002, 1007, 1009, 1011 */
    const char *failure_detail; /* static text: which rule was broken */
    uint64_t payload_left;
    uint64_t payload_at; /* bytes of this frame's payload seen: the mask's phase */
    uint8_t header[HPXI_WS_HEADER_BYTES_MAX];
    uint8_t header_have;
    uint8_t mask_key[4];
    hpxi_ws_op frame_op;
    bool frame_fin;
    hpxi_ws_op message_op; /* of the fragmented message in progress */
    bool in_message;       /* a data frame without FIN was seen */
    uint32_t fragments;
    hpxi_utf8 utf8;          /* of the text message in progress */
    hpxi_buf gathered;       /* data message in progress */
    bool gathered_delivered; /* the last event pointed into `gathered`: empty it first */
    uint8_t control[HPXI_WS_CONTROL_BYTES_MAX]; /* control frame in progress */
    uint8_t control_have;
} hpxi_ws_decoder;

void hpxi_ws_decoder_init(
    hpxi_ws_decoder *decoder,
    hpxi_ws_role role,
    const hpxi_ws_limits *limits,
    const hpx_allocator *allocator);
void hpxi_ws_decoder_fini(hpxi_ws_decoder *decoder);

/* The invariant, for HPX_XASSERT and fuzzing. */
bool hpxi_ws_decoder_is_valid(const hpxi_ws_decoder *decoder);

/*
 * Take the next message from the front of the input, and advance *data and *size past it.
 *
 * Returns 1 a message in *out; HPX_E_PARTIAL everything was consumed (and kept); or the failure,
 * for ever: HPX_E_WS_PROTOCOL, HPX_E_WS_UTF8, HPX_E_WS_TOO_BIG, HPX_E_NO_MEMORY. After a CLOSE
 * frame all input is consumed and discarded (RFC 6455 5.5.1) and HPX_E_PARTIAL returned; after a
 * failure it is consumed and discarded as well.
 */
hpx_status
hpxi_ws_decoder_next(hpxi_ws_decoder *decoder, uint8_t **data, size_t *size, hpxi_ws_message *out);

/* Bytes of a frame with `size` payload bytes. */
static inline size_t hpxi_ws_frame_bytes(size_t size, bool masked)
{
    return (masked ? 6u : 2u) + (size > UINT16_MAX ? 8u : size > 125u ? 2u : 0u) + size;
}

/*
 * Write one frame (FIN set as given) to dst, which has hpxi_ws_frame_bytes() room; the payload is
 * copied and masked in one pass. `mask_key` NULL: unmasked. Returns the bytes written. dst and
 * payload must not overlap.
 */
size_t hpxi_ws_encode(
    uint8_t *dst,
    hpxi_ws_op op,
    bool fin,
    const uint8_t *mask_key,
    const uint8_t *payload,
    size_t size);

/* The same in parts: the header of a frame of `size` payload bytes (returns its bytes); then the
 * payload, in pieces: `at` is where a piece begins in the payload. */
size_t
hpxi_ws_encode_head(uint8_t *dst, hpxi_ws_op op, bool fin, const uint8_t *mask_key, size_t size);
void hpxi_ws_encode_payload(
    uint8_t *dst, const uint8_t *piece, size_t size, const uint8_t *mask_key, size_t at);

/* Payload of a CLOSE frame: code (valid, or HPXI_WS_CLOSE_NONE) and reason (cut at 123 bytes, at a
 * character boundary). Returns its size; 0 if code is HPXI_WS_CLOSE_NONE. `dst` has room for
 * HPXI_WS_CONTROL_BYTES_MAX. */
size_t hpxi_ws_close_payload(uint8_t *dst, uint16_t code, hpx_span reason);

/* May this code appear in a CLOSE frame (RFC 6455 7.4; IANA registry: 1000-1003, 1007-1014,
 * 3000-4999)? */
bool hpxi_ws_close_code_is_valid(uint16_t code);

#endif /* HPXI_WS_FRAME_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame_log.h - decodes bytes cut in a given way and writes down what came out, so that two ways
 * of cutting can be compared.
 *
 * Memory    Every piece is given to the decoder in a block of exactly its size, which is
 *           overwritten and freed before the next: a sanitizer sees what reads beyond it, and the
 *           log shows what was kept by reference.
 */
#ifndef HPX_TESTS_FRAME_LOG_H
#define HPX_TESTS_FRAME_LOG_H

#include "ws/frame.h"

/* How the input is cut. One of the three is set. */
typedef struct frame_cut {
    size_t chunk;  /* pieces of this size */
    size_t split;  /* two pieces, the first of this size */
    uint64_t seed; /* random pieces, most of them small */
} frame_cut;

typedef struct frame_log {
    uint8_t *bytes; /* per event: op, close code, size, payload */
    size_t size;
    size_t capacity;
    size_t event_count;
    hpx_status status;     /* of the last call */
    uint16_t failure_code; /* of the decoder */
    const char *detail;    /* of the decoder */
    size_t consumed;       /* bytes given until it failed, or all */
} frame_log;

/* Decodes into an empty log with the decoder given; stops after the first failure. */
void frame_log_decode(
    frame_log *log, hpxi_ws_decoder *decoder, const uint8_t *bytes, size_t size, frame_cut cut);

/* The same with a decoder of its own and the C library's memory. */
void frame_log_decode_alone(
    frame_log *log,
    hpxi_ws_role role,
    const hpxi_ws_limits *limits,
    const uint8_t *bytes,
    size_t size,
    frame_cut cut);

void frame_log_add(
    frame_log *log, hpxi_ws_op op, uint16_t close_code, const uint8_t *data, size_t size);
void frame_log_free(frame_log *log);

bool frame_log_is_equal(const frame_log *a, const frame_log *b);

/*
 * One line: "text(hi) ping() close(1000,bye) binary[300] !1002". Payloads over 40 bytes show as
 * their size, bytes that are not printable ASCII as \xNN.
 */
void frame_log_render(const frame_log *log, char *line, size_t line_bytes);

/* The C library's memory. */
extern const hpx_allocator frame_log_allocator;

/* Never 0 from a seed that is not 0 (xorshift64). */
uint64_t frame_log_random(uint64_t *seed);

#endif /* HPX_TESTS_FRAME_LOG_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message_log.h - reads bytes with an h1 reader, in pieces, and writes down what it says.
 *
 * Each piece is a block of its own with the exact size, so that the sanitizer sees every read past
 * it, and the reader cannot keep pointers into it unseen. Pieces of a body are joined, so that the
 * log of a stream must not depend on where it was cut:
 *
 *   I103 A=b            interim response and its fields
 *   H200 len5 keep A=b  head: status or method and target, framing, keep-alive, fields
 *   D"hello"            body
 *   E X=y               end and its trailers
 *   T                   tunnel: the rest is not ours
 *   M                   the message is not complete
 *   !-5300 detail       failure
 */
#ifndef HPX_TESTS_MESSAGE_LOG_H
#define HPX_TESTS_MESSAGE_LOG_H

#include "h1/reader.h"

#define LOG_BYTES_MAX 8192u

typedef enum log_close {
    LOG_CLOSE_NONE, /* the stream stays open */
    LOG_CLOSE_CLEAN,
    LOG_CLOSE_CUT,
} log_close;

typedef struct log_plan {
    hpxi_h1_role role;
    hpxi_h1_exchange exchange;
    hpxi_h1_limits limits;
    log_close close;
    const hpx_allocator *allocator; /* NULL: malloc */
} log_plan;

typedef struct message_log {
    char text[LOG_BYTES_MAX];
    size_t bytes;
    hpx_status status;      /* of the last call: 0, HPX_E_PARTIAL or the failure */
    uint16_t refusal;       /* after a failure, of a server */
    uint32_t message_count; /* ENDs */
    bool reusable;
    bool in_body; /* a D is open */
} message_log;

/* Reads pieces of `piece` bytes, of which the first has `first` (0: as the others). */
void log_read(
    message_log *log,
    const log_plan *plan,
    const uint8_t *bytes,
    size_t size,
    size_t first,
    size_t piece);

#endif /* HPX_TESTS_MESSAGE_LOG_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dialect_bed.h - asking a dialect the driver's questions, in words.
 *
 * Role      Every text lies in a block of exactly its size. What a dialect says is written as one
 *           line, for tables:
 *
 *               response 7              response "x" error: no such method
 *               update trades.BTC       control ping         unknown
 */
#ifndef HPX_TESTS_DIALECT_BED_H
#define HPX_TESTS_DIALECT_BED_H

#include <hpx/protocol.h>

/* One line on `text`; valid until the next call. */
const char *bed_classify(const hpx_protocol *protocol, const char *text, size_t size);

typedef struct bed_row {
    const char *text;
    const char *said;
} bed_row;

/* Fails the test at the first row that the dialect sees otherwise. */
void bed_check(const hpx_protocol *protocol, const bed_row *rows, size_t count);

/* What the functions write, NUL-terminated, "" for nothing, "-4205" for an error or overflow.
 * Valid until the next call. */
const char *bed_auth(const hpx_protocol *protocol, uint64_t id);
const char *bed_on_connect(const hpx_protocol *protocol, uint32_t index, uint64_t id);
const char *bed_ping(const hpx_protocol *protocol, uint64_t id);
const char *bed_pong(const hpx_protocol *protocol, const char *ping, uint64_t id);
/* `topics`: with spaces between them. */
const char *bed_subscribe(const hpx_protocol *protocol, uint64_t id, const char *topics);
const char *bed_unsubscribe(const hpx_protocol *protocol, uint64_t id, const char *topics);

/* The payload with its id spliced in, or "-4101". */
const char *bed_inject(const hpx_protocol *protocol, const char *payload, uint64_t id);

#endif /* HPX_TESTS_DIALECT_BED_H */

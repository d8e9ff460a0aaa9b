/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunked.h - the chunked transfer coding (RFC 9112 7.1), without its trailers.
 *
 * Role      Finds the data between the chunk lines. Stricter than the RFC: no white space around
 *           extensions (llhttp refuses it too), and at most 16 digits.
 * Threads   One thread at a time. Memory: none; data is views into the input.
 */
#ifndef HPXI_H1_CHUNKED_H
#define HPXI_H1_CHUNKED_H

#include <hpx/base.h>

typedef enum hpxi_h1_chunked_state {
    HPXI_H1_CHUNK_SIZE,       /* first digit to come */
    HPXI_H1_CHUNK_DIGITS,     /* more digits, or the end of the size */
    HPXI_H1_CHUNK_NAME_FIRST, /* after ";" */
    HPXI_H1_CHUNK_NAME,
    HPXI_H1_CHUNK_VALUE_FIRST, /* after "=" */
    HPXI_H1_CHUNK_VALUE,
    HPXI_H1_CHUNK_QUOTED,
    HPXI_H1_CHUNK_ESCAPED,    /* after a backslash */
    HPXI_H1_CHUNK_QUOTED_END, /* after the closing quote */
    HPXI_H1_CHUNK_LINE_LF,
    HPXI_H1_CHUNK_DATA,
    HPXI_H1_CHUNK_DATA_CR,
    HPXI_H1_CHUNK_DATA_LF,
    HPXI_H1_CHUNK_LAST, /* the line of the last chunk is over: trailers follow */
} hpxi_h1_chunked_state;

/* All zero is the state at the start of a body. */
typedef struct hpxi_h1_chunked {
    hpxi_h1_chunked_state state;
    uint8_t digits;           /* of the size so far */
    uint32_t extension_bytes; /* of the whole body so far, semicolons included */
    uint64_t left;            /* bytes of the chunk's data to come */
} hpxi_h1_chunked;

/*
 * Take bytes; advance *data and *size past them. Returns 1 with a view into the input in *out (not
 * empty), 0 after the last chunk's line, HPX_E_PARTIAL (all was taken), HPX_E_HTTP_MALFORMED or
 * HPX_E_HTTP_TOO_BIG with the rule in *what; *data is then after the byte that broke it.
 */
int hpxi_h1_chunked_next(
    hpxi_h1_chunked *chunked,
    uint32_t extension_bytes_max,
    const uint8_t **data,
    size_t *size,
    hpx_span *out,
    const char **what);

#endif /* HPXI_H1_CHUNKED_H */

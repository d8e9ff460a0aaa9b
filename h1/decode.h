/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decode.h - Content-Encoding: gzip and deflate (RFC 9110 section 8.4.1), piece by piece.
 *
 * Role      Bytes in, bytes out, in pieces of the caller's size. "deflate" is zlib's format, as the
 *           RFC says, or raw, as some servers send: told apart by the first byte.
 * Threads   One thread at a time.
 * Memory    zlib's state, about 40 KiB, from the allocator; kept from one body to the next.
 */
#ifndef HPXI_H1_DECODE_H
#define HPXI_H1_DECODE_H

#include <zlib.h>

#include "ring/alloc.h"

typedef enum hpxi_http_coding {
    HPXI_HTTP_IDENTITY = 0,
    HPXI_HTTP_GZIP,
    HPXI_HTTP_DEFLATE,
    HPXI_HTTP_UNKNOWN_CODING,
} hpxi_http_coding;

/* By the value of Content-Encoding; lists are UNKNOWN, but for "identity". */
hpxi_http_coding hpxi_http_coding_of(hpx_span value);

typedef struct hpxi_http_decoder {
    z_stream stream;
    const hpx_allocator *allocator;
    hpxi_http_coding coding;
    bool began;    /* the first byte was seen */
    bool finished; /* the end of the compressed stream was */
    bool full;     /* the last call filled its room: there may be more without input */
} hpxi_http_decoder;

/* HPX_OK, HPX_E_NO_MEMORY. */
hpx_status hpxi_http_decoder_init(hpxi_http_decoder *decoder, const hpx_allocator *allocator);
void hpxi_http_decoder_fini(hpxi_http_decoder *decoder);

/* Begin a body. GZIP or DEFLATE. */
void hpxi_http_decoder_start(hpxi_http_decoder *decoder, hpxi_http_coding coding);

/*
 * Decode from the front of *data and *size, which are advanced, into to[0..room). Returns > 0 bytes
 * written: call again; 0 all input was used; HPX_E_HTTP_ENCODING malformed, or bytes after the end;
 * HPX_E_NO_MEMORY.
 */
ptrdiff_t hpxi_http_decoder_next(
    hpxi_http_decoder *decoder, const uint8_t **data, size_t *size, uint8_t *to, size_t room);

/* The body has ended: was the compressed stream complete? An empty body is. */
bool hpxi_http_decoder_is_complete(const hpxi_http_decoder *decoder);

#endif /* HPXI_H1_DECODE_H */

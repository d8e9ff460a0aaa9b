/* SPDX-License-Identifier: Apache-2.0 */
/*
 * content.h - decodes the content codings gzip and deflate (RFC 9110 8.4.1), piece by piece.
 *
 * Role      Bytes of a body in, decoded bytes out, with limits on how many. Checksums and lengths
 *           are verified. "deflate" is the zlib format; as some servers send the raw one under that
 *           name, a body whose first two bytes are no zlib header is taken for raw (which has no
 *           checksum). gzip may have several members.
 * Threads   One thread at a time.
 * Memory    About 45 KiB per decoder, from the allocator, kept across resets. The output buffer is
 *           the caller's.
 */
#ifndef HPXI_H1_CONTENT_H
#define HPXI_H1_CONTENT_H

#include <hpx/base.h>

typedef enum hpxi_h1_coding {
    HPXI_H1_CODING_IDENTITY, /* nothing to decode */
    HPXI_H1_CODING_GZIP,
    HPXI_H1_CODING_DEFLATE,
} hpxi_h1_coding;

/* The coding that a value of Content-Encoding names, ASCII case aside: "gzip", "x-gzip", "deflate",
 * "identity" or nothing. False for others, and for more than one. */
bool hpxi_h1_coding_of(hpx_span value, hpxi_h1_coding *coding);

/* Over one of them: HPX_E_HTTP_TOO_BIG, before the bytes are given out. */
typedef struct hpxi_h1_content_limits {
    uint64_t output_bytes_max; /* of one body */
    uint32_t ratio_max;        /* output per byte of input so far; 0: any */
    uint64_t ratio_free_bytes; /* output that is allowed whatever its ratio */
} hpxi_h1_content_limits;

/* Deflate itself cannot exceed 1032; text of markets stays below 50. */
#define HPXI_H1_CONTENT_LIMITS_DEFAULT                                                             \
    ((hpxi_h1_content_limits){                                                                     \
        .output_bytes_max = UINT64_C(64) << 20,                                                    \
        .ratio_max = 256,                                                                          \
        .ratio_free_bytes = UINT64_C(1) << 20})

typedef struct hpxi_h1_content hpxi_h1_content;

/* NULL when out of memory. Not for IDENTITY. */
hpxi_h1_content *hpxi_h1_content_new(
    hpxi_h1_coding coding, const hpxi_h1_content_limits *limits, const hpx_allocator *allocator);
void hpxi_h1_content_free(hpxi_h1_content *content); /* NULL is fine */

/* For the next body. Allocates nothing. */
void hpxi_h1_content_reset(
    hpxi_h1_content *content, hpxi_h1_coding coding, const hpxi_h1_content_limits *limits);

/*
 * Decode from the front of the input into `out`; advance *data and *size. Call until it does not
 * return 1.
 *
 * Returns 1 with *produced (not 0) bytes in `out`; HPX_E_PARTIAL when all input was taken; or, for
 * ever, HPX_E_HTTP_MALFORMED, HPX_E_HTTP_TOO_BIG, HPX_E_NO_MEMORY: see hpxi_h1_content_error().
 */
int hpxi_h1_content_next(
    hpxi_h1_content *content,
    const uint8_t **data,
    size_t *size,
    uint8_t *out,
    size_t out_bytes,
    size_t *produced);

/* The last output filled its room: there may be more, even without input. */
bool hpxi_h1_content_has_more(const hpxi_h1_content *content);

/* The body is over. HPX_OK if its coding is complete (or the body empty), HPX_E_EOF if it is cut
 * short, or the failure of before. */
hpx_status hpxi_h1_content_finish(hpxi_h1_content *content);

/* What made it fail; status 0 while it has not. Valid until the next call. */
const hpx_error *hpxi_h1_content_error(const hpxi_h1_content *content);

#endif /* HPXI_H1_CONTENT_H */

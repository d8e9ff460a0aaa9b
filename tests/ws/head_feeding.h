/* SPDX-License-Identifier: Apache-2.0 */
/*
 * head_feeding.h - gives bytes to a head reader in pieces, as TCP would.
 *
 * Each piece is a block of its own with the exact size, so that the sanitizer sees every read past
 * it, and the reader cannot keep pointers into it unseen.
 */
#ifndef HPX_TESTS_HEAD_FEEDING_H
#define HPX_TESTS_HEAD_FEEDING_H

#include "tests/support/test.h"
#include "ws/handshake.h"

typedef struct feeding {
    hpx_status status; /* of the last feed */
    size_t used;       /* bytes taken until then */
} feeding;

/* Feeds one piece; adds what was taken to *used. */
static inline hpx_status
feed_piece(hpxi_ws_head *head, const char *bytes, size_t size, size_t *used, hpx_error *error)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    uint8_t *data = copy;
    size_t left = size;
    const hpx_status status = hpxi_ws_head_feed(head, &data, &left, error);
    if (status == 1 || status == HPX_E_PARTIAL) {
        assert_ptr_equal(data, copy + (size - left));
        assert_true(status == 1 || left == 0);
        *used += size - left;
    }
    free(copy);
    return status;
}

/* Feeds [0, cut), then [cut, size) if the head is not decided by then. */
static inline feeding
feed_cut(hpxi_ws_head *head, const char *bytes, size_t size, size_t cut, hpx_error *error)
{
    feeding fed = {0};
    fed.status = feed_piece(head, bytes, cut, &fed.used, error);
    if (fed.status == HPX_E_PARTIAL) {
        fed.status = feed_piece(head, bytes + cut, size - cut, &fed.used, error);
    }
    return fed;
}

/* Feeds one byte at a time until the head is decided. */
static inline feeding
feed_bytes(hpxi_ws_head *head, const char *bytes, size_t size, hpx_error *error)
{
    feeding fed = {.status = HPX_E_PARTIAL};
    for (size_t at = 0; at < size && fed.status == HPX_E_PARTIAL; at++) {
        fed.status = feed_piece(head, bytes + at, 1, &fed.used, error);
    }
    return fed;
}

/* A detail is one printable line, whatever the peer sent. */
static inline void assert_detail_printable(const hpx_error *error)
{
    const size_t size = strnlen(error->detail, sizeof(error->detail));
    assert_in_range(size, 1, sizeof(error->detail) - 1);
    for (size_t i = 0; i < size; i++) {
        assert_in_range(error->detail[i], 0x20, 0x7E);
    }
}

/* The nonce whose key is the one of RFC 6455 1.3, "dGhlIHNhbXBsZSBub25jZQ==". */
#define RFC_NONCE  "the sample nonce"
#define RFC_KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define RFC_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#endif /* HPX_TESTS_HEAD_FEEDING_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8.h - strict UTF-8 validation (RFC 3629: no overlong forms, no surrogates, <= U+10FFFF),
 * streaming, vectorised with run-time dispatch, with a scalar reference.
 *
 * Threads   Any; the state is the caller's.
 */
#ifndef HPXI_WS_UTF8_H
#define HPXI_WS_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hpxi_utf8 {
    uint32_t state; /* 0 between characters; private */
} hpxi_utf8;

static inline void hpxi_utf8_init(hpxi_utf8 *utf8)
{
    utf8->state = 0;
}

/* False as soon as the bytes so far cannot begin any valid text (fails fast, RFC 6455 8.1), and
 * from then on. */
bool hpxi_utf8_feed(hpxi_utf8 *utf8, const uint8_t *data, size_t size);

/* Are we between characters? */
static inline bool hpxi_utf8_is_complete(const hpxi_utf8 *utf8)
{
    return utf8->state == 0;
}

/* Whole text in one piece. */
bool hpxi_utf8_check(const uint8_t *data, size_t size);

/* What a CPU without AVX2 gets: words of ASCII are skipped, the rest goes byte by byte. */
bool hpxi_utf8_check_portable(const uint8_t *data, size_t size);

/* The reference: decodes every character. */
bool hpxi_utf8_check_scalar(const uint8_t *data, size_t size);

#endif /* HPXI_WS_UTF8_H */

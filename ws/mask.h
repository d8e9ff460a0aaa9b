/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mask.h - RFC 6455 5.3 masking, vectorised with run-time dispatch.
 *
 * Role      dst[i] = src[i] ^ key[(phase + i) % 4], in every form. dst == src is allowed, other
 *           overlap is not. `key` is the masking key as on the wire. Masking and unmasking are the
 *           same.
 * Threads   Any; no state but the dispatch, which is constant once the program has started.
 */
#ifndef HPXI_WS_MASK_H
#define HPXI_WS_MASK_H

#include <stddef.h>
#include <stdint.h>

/* The best form for this CPU. */
void hpxi_ws_mask(
    uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4], size_t phase);

/* What a CPU without AVX2 gets: 16 bytes at a time, in terms of no particular instruction set. */
void hpxi_ws_mask_portable(
    uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4], size_t phase);

/* The reference that the vector forms are tested against. */
void hpxi_ws_mask_scalar(
    uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4], size_t phase);

#endif /* HPXI_WS_MASK_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mask.h - RFC 6455 5.3 masking, vectorised with run-time dispatch.
 *
 * Threads   Any; no state but the dispatch, which is constant after the first call.
 */
#ifndef HPXI_WS_MASK_H
#define HPXI_WS_MASK_H

#include <stddef.h>
#include <stdint.h>

/* dst[i] = src[i] ^ key[(phase + i) % 4]. dst == src is allowed, other overlap is not. `key` is the
 * masking key as on the wire. Masking and unmasking are the same. */
void hpxi_ws_mask(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4],
                  size_t phase);

/* The reference that the vector forms are tested against. */
void hpxi_ws_mask_scalar(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4],
                         size_t phase);

#endif /* HPXI_WS_MASK_H */

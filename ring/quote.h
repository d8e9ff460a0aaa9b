/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quote.h - bytes of a peer or a user made fit for an error's detail.
 *
 * Role      Details are one printable line whatever the bytes were: no control byte or escape
 *           sequence of a peer reaches a terminal or a log.
 * Threads   Any; no state. Memory: the caller's.
 */
#ifndef HPXI_QUOTE_H
#define HPXI_QUOTE_H

#include <hpx/base.h>

#define HPXI_QUOTE_BYTES_MIN 16u

/*
 * Write "bytes" with quotes, backslash escapes (\" \\ \r \n \t \0 \xNN), and cut with ... when
 * out_bytes (at least HPXI_QUOTE_BYTES_MIN, the NUL included) is too small. Returns out.
 */
const char *hpxi_quote(char *out, size_t out_bytes, hpx_span bytes);

#endif /* HPXI_QUOTE_H */

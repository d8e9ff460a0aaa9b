/* SPDX-License-Identifier: Apache-2.0 */
/* quote.c - bytes made fit for an error's detail. */
#include "ring/quote.h"

#include <string.h>

#include "ring/assert.h"

#define QUOTE_ESCAPE_BYTES_MAX 4u /* \xNN */
#define QUOTE_END_BYTES        5u /* quote, three dots, NUL */

/* Writes one byte, escaped, and returns how many were written: 1 to QUOTE_ESCAPE_BYTES_MAX. */
static size_t quote_byte(char *to, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    static const char plain[] = {'\0', '\r', '\n', '\t', '"', '\\'};
    static const char named[sizeof(plain)] = {'0', 'r', 'n', 't', '"', '\\'};
    const char *found = memchr(plain, byte, sizeof(plain));
    if (found != NULL) {
        to[0] = '\\';
        to[1] = named[found - plain];
        return 2;
    }
    if (byte >= 0x20 && byte < 0x7F) {
        to[0] = (char)byte;
        return 1;
    }
    to[0] = '\\';
    to[1] = 'x';
    to[2] = hex[byte >> 4];
    to[3] = hex[byte & 0xF];
    return QUOTE_ESCAPE_BYTES_MAX;
}

const char *hpxi_quote(char *out, size_t out_bytes, hpx_span bytes)
{
    HPX_ASSERT(out_bytes >= HPXI_QUOTE_BYTES_MIN);
    HPX_ASSERT(bytes.data != NULL || bytes.size == 0);
    size_t used = 0;
    out[used++] = '"';
    size_t i = 0;
    while (i < bytes.size && out_bytes - used >= QUOTE_ESCAPE_BYTES_MAX + QUOTE_END_BYTES) {
        used += quote_byte(out + used, bytes.data[i++]);
    }
    HPX_ASSERT(out_bytes - used >= QUOTE_END_BYTES);
    memcpy(out + used, i < bytes.size ? "\"..." : "\"", i < bytes.size ? 5 : 2);
    return out;
}

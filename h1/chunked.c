/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chunked.c - the chunked transfer coding (RFC 9112 7.1), without its trailers.
 *
 *   SIZE --> DIGITS --(CR)--> LINE_LF --> DATA --> DATA_CR --> DATA_LF --> SIZE
 *               \ (;)         /  \--(size 0)--> LAST
 *                NAME .. VALUE
 *
 * Threads   One thread at a time. Memory: none.
 */
#include "h1/chunked.h"

#include "h1/syntax.h"
#include "ring/assert.h"

#define CHUNKED_DIGITS_MAX 16u

static const char chunked_bad_size[] = "chunk size is not a hexadecimal number (RFC 9112 7.1)";
static const char chunked_bad_line[] = "chunk line does not end with CRLF (RFC 9112 7.1)";
static const char chunked_bad_extension[] = "bad byte in a chunk extension (RFC 9112 7.1.1)";
static const char chunked_bad_data[] = "no CRLF after a chunk's data (RFC 9112 7.1)";

/* What may follow a whole size, name or value: another extension, or the line's end. */
static const char *chunked_after_word(hpxi_h1_chunked *chunked, uint8_t byte, const char *complaint)
{
    if (byte == ';') {
        chunked->state = HPXI_H1_CHUNK_NAME_FIRST;
        return NULL;
    }
    chunked->state = HPXI_H1_CHUNK_LINE_LF;
    return byte == '\r' ? NULL : complaint;
}

static const char *chunked_size(hpxi_h1_chunked *chunked, uint8_t byte)
{
    const int digit = hpxi_h1_hex_digit(byte);
    if (digit < 0) {
        return chunked->state == HPXI_H1_CHUNK_SIZE
                   ? chunked_bad_size
                   : chunked_after_word(
                         chunked, byte, byte == '\n' ? chunked_bad_line : chunked_bad_size);
    }
    chunked->state = HPXI_H1_CHUNK_DIGITS;
    if (++chunked->digits > CHUNKED_DIGITS_MAX || chunked->left > (uint64_t)INT64_MAX >> 4) {
        return "chunk size is too large";
    }
    chunked->left = chunked->left << 4 | (uint64_t)digit;
    return NULL;
}

/* chunk-ext = *( ";" token [ "=" ( token / quoted-string ) ] ) */
static const char *chunked_extension(hpxi_h1_chunked *chunked, uint8_t byte)
{
    const bool token = hpxi_h1_is_token_byte(byte);
    const bool text = (byte >= 0x20 && byte != 0x7F) || byte == '\t';
    switch (chunked->state) {
    case HPXI_H1_CHUNK_NAME_FIRST:
        chunked->state = HPXI_H1_CHUNK_NAME;
        return token ? NULL : chunked_bad_extension;
    case HPXI_H1_CHUNK_NAME:
        if (byte == '=') {
            chunked->state = HPXI_H1_CHUNK_VALUE_FIRST;
            return NULL;
        }
        return token ? NULL : chunked_after_word(chunked, byte, chunked_bad_extension);
    case HPXI_H1_CHUNK_VALUE_FIRST:
        chunked->state = byte == '"' ? HPXI_H1_CHUNK_QUOTED : HPXI_H1_CHUNK_VALUE;
        return token || byte == '"' ? NULL : chunked_bad_extension;
    case HPXI_H1_CHUNK_VALUE:
        return token ? NULL : chunked_after_word(chunked, byte, chunked_bad_extension);
    case HPXI_H1_CHUNK_QUOTED:
        if (byte == '"') {
            chunked->state = HPXI_H1_CHUNK_QUOTED_END;
        } else if (byte == '\\') {
            chunked->state = HPXI_H1_CHUNK_ESCAPED;
        }
        return text ? NULL : chunked_bad_extension;
    case HPXI_H1_CHUNK_ESCAPED:
        chunked->state = HPXI_H1_CHUNK_QUOTED;
        return text ? NULL : chunked_bad_extension;
    default:
        HPX_ASSERT(chunked->state == HPXI_H1_CHUNK_QUOTED_END);
        return chunked_after_word(chunked, byte, chunked_bad_extension);
    }
}

/* One byte that is not data. NULL, or the rule that it breaks. */
static const char *chunked_step(hpxi_h1_chunked *chunked, uint8_t byte)
{
    switch (chunked->state) {
    case HPXI_H1_CHUNK_SIZE:
    case HPXI_H1_CHUNK_DIGITS:
        return chunked_size(chunked, byte);
    case HPXI_H1_CHUNK_LINE_LF:
        chunked->state = chunked->left != 0 ? HPXI_H1_CHUNK_DATA : HPXI_H1_CHUNK_LAST;
        chunked->digits = 0;
        return byte == '\n' ? NULL : chunked_bad_line;
    case HPXI_H1_CHUNK_DATA_CR:
        chunked->state = HPXI_H1_CHUNK_DATA_LF;
        return byte == '\r' ? NULL : chunked_bad_data;
    case HPXI_H1_CHUNK_DATA_LF:
        chunked->state = HPXI_H1_CHUNK_SIZE;
        return byte == '\n' ? NULL : chunked_bad_data;
    default:
        return chunked_extension(chunked, byte);
    }
}

static bool chunked_in_extension(const hpxi_h1_chunked *chunked)
{
    return chunked->state >= HPXI_H1_CHUNK_NAME_FIRST && chunked->state <= HPXI_H1_CHUNK_QUOTED_END;
}

/* As much of the chunk's data as there is. */
static hpx_span chunked_take_data(hpxi_h1_chunked *chunked, const uint8_t **data, size_t *size)
{
    HPX_DASSERT(chunked->left != 0 && *size != 0);
    const size_t some = *size < chunked->left ? *size : (size_t)chunked->left;
    const hpx_span out = {.data = *data, .size = some};
    chunked->left -= some;
    *data += some;
    *size -= some;
    if (chunked->left == 0) {
        chunked->state = HPXI_H1_CHUNK_DATA_CR;
    }
    return out;
}

int hpxi_h1_chunked_next(
    hpxi_h1_chunked *chunked,
    uint32_t extension_bytes_max,
    const uint8_t **data,
    size_t *size,
    hpx_span *out,
    const char **what)
{
    HPX_ASSERT(*data != NULL || *size == 0);
    while (chunked->state != HPXI_H1_CHUNK_LAST) {
        if (*size == 0) {
            return HPX_E_PARTIAL;
        }
        if (chunked->state == HPXI_H1_CHUNK_DATA) {
            *out = chunked_take_data(chunked, data, size);
            return 1;
        }
        const uint8_t byte = *(*data)++;
        --*size;
        *what = chunked_step(chunked, byte);
        if (*what != NULL) {
            return HPX_E_HTTP_MALFORMED;
        }
        if (chunked_in_extension(chunked) && ++chunked->extension_bytes > extension_bytes_max) {
            *what = "too many bytes of chunk extensions";
            return HPX_E_HTTP_TOO_BIG;
        }
    }
    return 0;
}

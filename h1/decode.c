/* SPDX-License-Identifier: Apache-2.0 */
/* decode.c - gzip and deflate bodies, with zlib. */
#include "h1/decode.h"

#include "h1/syntax.h"

#define DECODE_WINDOW_GZIP (15 + 16) /* zlib: 32 KiB window, gzip header */
#define DECODE_WINDOW_ZLIB 15
#define DECODE_WINDOW_RAW  (-15)

/* zlib frees without a size: it is kept in front of the block. */
#define DECODE_PREFIX 16u

static void *decode_alloc(void *opaque, unsigned items, unsigned size)
{
    const hpx_allocator *allocator = opaque;
    const size_t bytes = DECODE_PREFIX + (size_t)items * size;
    uint8_t *block = hpxi_alloc(allocator, bytes, DECODE_PREFIX);
    if (block == NULL) {
        return NULL;
    }
    memcpy(block, &bytes, sizeof(bytes));
    return block + DECODE_PREFIX;
}

static void decode_free(void *opaque, void *address)
{
    const hpx_allocator *allocator = opaque;
    uint8_t *block = (uint8_t *)address - DECODE_PREFIX;
    size_t bytes;
    memcpy(&bytes, block, sizeof(bytes));
    hpxi_free(allocator, block, bytes);
}

hpxi_http_coding hpxi_http_coding_of(hpx_span value)
{
    if (value.size == 0 || hpxi_h1_span_has(value, "identity")) {
        return HPXI_HTTP_IDENTITY;
    }
    if (hpxi_h1_span_has(value, "gzip") || hpxi_h1_span_has(value, "x-gzip")) {
        return HPXI_HTTP_GZIP;
    }
    return hpxi_h1_span_has(value, "deflate") ? HPXI_HTTP_DEFLATE : HPXI_HTTP_UNKNOWN_CODING;
}

hpx_status hpxi_http_decoder_init(hpxi_http_decoder *decoder, const hpx_allocator *allocator)
{
    *decoder = (hpxi_http_decoder){.allocator = allocator};
    decoder->stream.zalloc = decode_alloc;
    decoder->stream.zfree = decode_free;
    /* zlib's opaque pointer is not const; the two functions above take it as such. */
    memcpy(&decoder->stream.opaque, &allocator, sizeof(allocator));
    return inflateInit2(&decoder->stream, DECODE_WINDOW_GZIP) == Z_OK ? HPX_OK : HPX_E_NO_MEMORY;
}

void hpxi_http_decoder_fini(hpxi_http_decoder *decoder)
{
    (void)inflateEnd(&decoder->stream);
}

void hpxi_http_decoder_start(hpxi_http_decoder *decoder, hpxi_http_coding coding)
{
    HPX_ASSERT(coding == HPXI_HTTP_GZIP || coding == HPXI_HTTP_DEFLATE);
    decoder->coding = coding;
    decoder->began = false;
    decoder->finished = false;
    decoder->full = false;
}

/* With the first byte at hand. A zlib header's low four bits are 8 (RFC 1950 2.2), and no raw
 * deflate stream that a compressor makes begins so. */
static bool decode_begin(hpxi_http_decoder *decoder, uint8_t first)
{
    decoder->began = true;
    const int window = decoder->coding == HPXI_HTTP_GZIP ? DECODE_WINDOW_GZIP
                       : (first & 0x0F) == 8             ? DECODE_WINDOW_ZLIB
                                                         : DECODE_WINDOW_RAW;
    return inflateReset2(&decoder->stream, window) == Z_OK;
}

ptrdiff_t hpxi_http_decoder_next(
    hpxi_http_decoder *decoder, const uint8_t **data, size_t *size, uint8_t *to, size_t room)
{
    HPX_ASSERT(room != 0 && room <= UINT32_MAX);
    if (*size == 0 && !decoder->full) {
        return 0;
    }
    if (decoder->finished || (!decoder->began && !decode_begin(decoder, **data))) {
        return HPX_E_HTTP_ENCODING;
    }
    z_stream *stream = &decoder->stream;
    const size_t take = *size < UINT32_MAX ? *size : UINT32_MAX;
    uint8_t *input = NULL; /* zlib reads it only, but its type says otherwise */
    memcpy(&input, data, sizeof(input));
    stream->next_in = input;
    stream->avail_in = (unsigned)take;
    stream->next_out = to;
    stream->avail_out = (unsigned)room;
    const int result = inflate(stream, Z_NO_FLUSH);
    *data += take - stream->avail_in;
    *size -= take - stream->avail_in;
    const size_t made = room - stream->avail_out;
    decoder->full = made == room && result != Z_STREAM_END;
    if (result == Z_STREAM_END) {
        decoder->finished = true;
        return made != 0 || *size == 0 ? (ptrdiff_t)made : HPX_E_HTTP_ENCODING;
    }
    if (result != Z_OK && result != Z_BUF_ERROR) {
        return result == Z_MEM_ERROR ? HPX_E_NO_MEMORY : HPX_E_HTTP_ENCODING;
    }
    return (ptrdiff_t)made;
}

bool hpxi_http_decoder_is_complete(const hpxi_http_decoder *decoder)
{
    return !decoder->began || decoder->finished;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * content.c - decodes the content codings gzip and deflate, piece by piece.
 *
 *   START --(two bytes seen: which format)--> BODY --(end of the stream)--> ENDED
 *                                              ^------(gzip: one more member)--/
 *          Any violation leads to FAILED, for ever.
 *
 * Threads   One thread at a time. Memory: see content.h.
 */
#include "h1/content.h"

#define ZLIB_CONST
#include <zlib.h>

#include "h1/syntax.h"
#include "ring/alloc.h"

#define CONTENT_WINDOW_BITS 15
#define CONTENT_GZIP        16 /* added to the window bits: expect a gzip wrapper */
#define CONTENT_START_BYTES 2u
#define CONTENT_BLOCK_ALIGN 16u /* also the bytes in front of a block that hold its size */
#define CONTENT_PIECE_MAX   ((size_t)1 << 30) /* zlib counts in 32 bits */

typedef enum content_state {
    CONTENT_START,
    CONTENT_BODY,
    CONTENT_ENDED,
    CONTENT_FAILED,
} content_state;

struct hpxi_h1_content {
    const hpx_allocator *allocator;
    content_state state;
    hpxi_h1_coding coding;
    hpxi_h1_content_limits limits;
    z_stream stream;
    uint64_t input_bytes;
    uint64_t output_bytes;
    uint8_t start[CONTENT_START_BYTES]; /* the first bytes, until there are enough */
    uint8_t start_have;
    uint8_t start_used; /* of them, by zlib */
    bool full;          /* the last output filled its room */
    hpx_error error;
};

/* zlib frees without a size: it is kept in front of the block. */
static voidpf content_zalloc(voidpf opaque, uInt items, uInt size)
{
    const hpx_allocator *allocator = opaque;
    const size_t bytes = (size_t)items * size + CONTENT_BLOCK_ALIGN;
    uint8_t *block = hpxi_alloc(allocator, bytes, CONTENT_BLOCK_ALIGN);
    if (block == NULL) {
        return NULL;
    }
    memcpy(block, &bytes, sizeof(bytes));
    return block + CONTENT_BLOCK_ALIGN;
}

static void content_zfree(voidpf opaque, voidpf address)
{
    uint8_t *block = (uint8_t *)address - CONTENT_BLOCK_ALIGN;
    size_t bytes;
    memcpy(&bytes, block, sizeof(bytes));
    hpxi_free(opaque, block, bytes);
}

bool hpxi_h1_coding_of(hpx_span value, hpxi_h1_coding *coding)
{
    if (value.size == 0 || hpxi_h1_span_has(value, "identity")) {
        *coding = HPXI_H1_CODING_IDENTITY;
    } else if (hpxi_h1_span_has(value, "gzip") || hpxi_h1_span_has(value, "x-gzip")) {
        *coding = HPXI_H1_CODING_GZIP;
    } else if (hpxi_h1_span_has(value, "deflate")) {
        *coding = HPXI_H1_CODING_DEFLATE;
    } else {
        return false;
    }
    return true;
}

static void
content_begin(hpxi_h1_content *content, hpxi_h1_coding coding, const hpxi_h1_content_limits *limits)
{
    HPX_ASSERT(coding == HPXI_H1_CODING_GZIP || coding == HPXI_H1_CODING_DEFLATE);
    HPX_ASSERT(limits->output_bytes_max != 0);
    content->state = CONTENT_START;
    content->coding = coding;
    content->limits = *limits;
    content->input_bytes = 0;
    content->output_bytes = 0;
    content->start_have = 0;
    content->start_used = 0;
    content->full = false;
    content->error = (hpx_error){0};
}

hpxi_h1_content *hpxi_h1_content_new(
    hpxi_h1_coding coding, const hpxi_h1_content_limits *limits, const hpx_allocator *allocator)
{
    hpxi_h1_content *content =
        hpxi_alloc_zero(allocator, sizeof(*content), _Alignof(hpxi_h1_content));
    if (content == NULL) {
        return NULL;
    }
    content->allocator = allocator;
    content->stream.zalloc = content_zalloc;
    content->stream.zfree = content_zfree;
    content->stream.opaque = (void *)(uintptr_t)allocator; /* zlib knows no const */
    const int result = inflateInit2(&content->stream, CONTENT_WINDOW_BITS);
    if (result != Z_OK) {
        HPX_ASSERT(result == Z_MEM_ERROR);
        hpxi_free(allocator, content, sizeof(*content));
        return NULL;
    }
    content_begin(content, coding, limits);
    return content;
}

void hpxi_h1_content_free(hpxi_h1_content *content)
{
    if (content != NULL) {
        (void)inflateEnd(&content->stream);
        hpxi_free(content->allocator, content, sizeof(*content));
    }
}

void hpxi_h1_content_reset(
    hpxi_h1_content *content, hpxi_h1_coding coding, const hpxi_h1_content_limits *limits)
{
    content_begin(content, coding, limits);
}

static hpx_status content_fail(hpxi_h1_content *content, hpx_status status, const char *text)
{
    HPX_ASSERT(content->state != CONTENT_FAILED);
    content->state = CONTENT_FAILED;
    return hpxi_h1_error_set(
        &content->error,
        status,
        "%s body: %s, after %llu bytes in and %llu out",
        content->coding == HPXI_H1_CODING_GZIP ? "gzip" : "deflate",
        text,
        (unsigned long long)content->input_bytes,
        (unsigned long long)content->output_bytes);
}

/* RFC 1950 2.2: method 8, a window that exists, and a check over both bytes. */
static bool content_is_zlib(const uint8_t start[CONTENT_START_BYTES])
{
    return (start[0] & 0x0F) == 8 && start[0] >> 4 <= 7 && (start[0] * 256u + start[1]) % 31 == 0;
}

/* Gathers the first two bytes and chooses the format by them. False while there are fewer. */
static bool content_start(hpxi_h1_content *content, const uint8_t **data, size_t *size)
{
    while (content->start_have < CONTENT_START_BYTES && *size != 0) {
        content->start[content->start_have++] = *(*data)++;
        --*size;
    }
    if (content->start_have < CONTENT_START_BYTES) {
        return false;
    }
    int window = CONTENT_WINDOW_BITS;
    if (content->coding == HPXI_H1_CODING_GZIP) {
        window += CONTENT_GZIP;
    } else if (!content_is_zlib(content->start)) {
        window = -window; /* raw */
    }
    const int result = inflateReset2(&content->stream, window);
    HPX_ASSERT(result == Z_OK);
    content->state = CONTENT_BODY;
    return true;
}

/* How much more the limits let out, given the input so far. */
static uint64_t content_room(const hpxi_h1_content *content)
{
    const hpxi_h1_content_limits *limits = &content->limits;
    uint64_t most = limits->output_bytes_max;
    if (limits->ratio_max != 0) {
        const uint64_t ratio = limits->ratio_free_bytes + content->input_bytes * limits->ratio_max;
        most = ratio < most ? ratio : most;
    }
    return most > content->output_bytes ? most - content->output_bytes : 0;
}

/* One call of inflate() over `in`. Returns zlib's result; *in and *produced are advanced. */
static int content_inflate(
    hpxi_h1_content *content, hpx_span *in, uint8_t *out, size_t out_bytes, size_t *produced)
{
    z_stream *stream = &content->stream;
    const size_t some = in->size < CONTENT_PIECE_MAX ? in->size : CONTENT_PIECE_MAX;
    const size_t room = out_bytes < CONTENT_PIECE_MAX ? out_bytes : CONTENT_PIECE_MAX;
    stream->next_in = in->data;
    stream->avail_in = (uInt)some;
    stream->next_out = out;
    stream->avail_out = (uInt)room;
    const int result = inflate(stream, Z_NO_FLUSH);
    const size_t used = some - stream->avail_in;
    if (used != 0) { /* without input there need not be a pointer either */
        in->data += used;
        in->size -= used;
        content->input_bytes += used;
    }
    *produced = room - stream->avail_out;
    return result;
}

/* inflate() over the kept first bytes, then over the input. */
static int content_step(
    hpxi_h1_content *content,
    const uint8_t **data,
    size_t *size,
    uint8_t *out,
    size_t out_bytes,
    size_t *produced)
{
    if (content->start_used < content->start_have) {
        hpx_span kept = {
            .data = content->start + content->start_used,
            .size = (size_t)(content->start_have - content->start_used)};
        const int result = content_inflate(content, &kept, out, out_bytes, produced);
        content->start_used = (uint8_t)(content->start_have - kept.size);
        return result;
    }
    hpx_span in = {.data = *data, .size = *size};
    const int result = content_inflate(content, &in, out, out_bytes, produced);
    *data = in.data;
    *size = in.size;
    return result;
}

/* After the end of a stream: another gzip member, or bytes that nobody asked for. */
static hpx_status content_after_end(hpxi_h1_content *content)
{
    if (content->coding != HPXI_H1_CODING_GZIP) {
        return content_fail(content, HPX_E_HTTP_MALFORMED, "bytes after its end");
    }
    const int result = inflateReset2(&content->stream, CONTENT_WINDOW_BITS + CONTENT_GZIP);
    HPX_ASSERT(result == Z_OK);
    content->state = CONTENT_BODY;
    return HPX_OK;
}

/* What zlib said when it gave nothing out. */
static hpx_status content_result(hpxi_h1_content *content, int result)
{
    switch (result) {
    case Z_OK:
    case Z_STREAM_END:
    case Z_BUF_ERROR: /* it wants more input */
        return HPX_OK;
    case Z_MEM_ERROR:
        return content_fail(content, HPX_E_NO_MEMORY, "no memory to decode it");
    case Z_NEED_DICT:
        return content_fail(content, HPX_E_HTTP_MALFORMED, "it wants a preset dictionary");
    default:
        return content_fail(
            content,
            HPX_E_HTTP_MALFORMED,
            content->stream.msg == NULL ? "not of its format" : content->stream.msg);
    }
}

/*
 * Decodes as much as the limits let out. An error behind some output is told by the next call: zlib
 * repeats it, and so what was given out before it does not depend on where the input was cut.
 */
static hpx_status content_decode(
    hpxi_h1_content *content,
    const uint8_t **data,
    size_t *size,
    uint8_t *out,
    size_t out_bytes,
    size_t *produced)
{
    const uint64_t room = content_room(content);
    uint8_t probe; /* at the limit: is there one byte more? */
    const size_t most = out_bytes < room ? out_bytes : (size_t)room;
    const int result =
        content_step(content, data, size, room == 0 ? &probe : out, room == 0 ? 1 : most, produced);
    if (room == 0 && *produced != 0) {
        *produced = 0;
        return content_fail(
            content, HPX_E_HTTP_TOO_BIG, "more output than its limit or its ratio allows");
    }
    content->output_bytes += *produced;
    content->full = most != 0 && *produced == most && result != Z_STREAM_END;
    if (result == Z_STREAM_END) {
        content->state = CONTENT_ENDED;
    }
    return *produced != 0 ? HPX_OK : content_result(content, result);
}

int hpxi_h1_content_next(
    hpxi_h1_content *content,
    const uint8_t **data,
    size_t *size,
    uint8_t *out,
    size_t out_bytes,
    size_t *produced)
{
    HPX_ASSERT(out_bytes != 0 && (*data != NULL || *size == 0));
    *produced = 0;
    if (content->state == CONTENT_START && !content_start(content, data, size)) {
        return HPX_E_PARTIAL;
    }
    hpx_status status = content->error.status;
    while (status == HPX_OK && *produced == 0) {
        /* Even without input there may be output that had no room before. */
        const bool dry = content->start_used == content->start_have && *size == 0;
        if (content->state == CONTENT_ENDED) {
            status = dry ? HPX_E_PARTIAL : content_after_end(content);
        } else {
            status = content_decode(content, data, size, out, out_bytes, produced);
            if (status == HPX_OK && *produced == 0 && dry) {
                status = HPX_E_PARTIAL;
            }
        }
    }
    return *produced != 0 ? 1 : status;
}

bool hpxi_h1_content_has_more(const hpxi_h1_content *content)
{
    return content->full && content->state == CONTENT_BODY;
}

hpx_status hpxi_h1_content_finish(hpxi_h1_content *content)
{
    if (content->state == CONTENT_FAILED) {
        return content->error.status;
    }
    const bool empty = content->state == CONTENT_START && content->start_have == 0;
    if (content->state == CONTENT_ENDED || empty) {
        return HPX_OK;
    }
    return content_fail(content, HPX_E_EOF, "it is cut short");
}

const hpx_error *hpxi_h1_content_error(const hpxi_h1_content *content)
{
    return &content->error;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: what a coded body decodes to, and how it ends, does not depend on where it is cut nor
 * on the size of the output buffer; no limit is passed; an error stays, and its text is printable;
 * all memory is given back.
 *
 * Byte 0: coding (bit 0), tight limits (bit 1). Byte 1: size of the pieces. Byte 2: of the output.
 */
#include <stdlib.h>

#include "h1/content.h"
#include "ring/alloc.h"

#define OUTPUT_MAX (64u << 10)

typedef struct outcome {
    hpx_status status;
    size_t size;
    uint8_t bytes[OUTPUT_MAX];
} outcome;

static size_t held_bytes;

static void *fuzz_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    held_bytes += size;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void fuzz_free(void *block, size_t size, void *ctx)
{
    (void)ctx;
    held_bytes -= size;
    free(block);
}

static const hpx_allocator allocator = {.alloc = fuzz_alloc, .free = fuzz_free};

static void check_error(const hpx_error *error, hpx_status status)
{
    HPX_ASSERT(error->status == status);
    HPX_ASSERT(memchr(error->detail, 0, sizeof(error->detail)) != NULL);
    for (const char *at = error->detail; *at != '\0'; at++) {
        HPX_ASSERT(*at >= 0x20 && *at < 0x7F);
    }
}

/* One piece, in a block of its exact size, into output blocks of their exact size. */
static void decode_piece(
    outcome *o, hpxi_h1_content *content, const uint8_t *bytes, size_t size, size_t out_bytes)
{
    uint8_t *in = malloc(size);
    uint8_t *out = malloc(out_bytes);
    HPX_ASSERT(in != NULL && out != NULL);
    memcpy(in, bytes, size);
    const uint8_t *data = in;
    size_t left = size;
    size_t produced;
    while ((o->status = hpxi_h1_content_next(content, &data, &left, out, out_bytes, &produced)) ==
           1) {
        HPX_ASSERT(produced != 0 && produced <= out_bytes);
        HPX_ASSERT(o->size + produced <= sizeof(o->bytes));
        memcpy(o->bytes + o->size, out, produced);
        o->size += produced;
    }
    HPX_ASSERT(produced == 0);
    HPX_ASSERT(o->status != HPX_E_PARTIAL || left == 0);
    free(in);
    free(out);
}

static void
run(outcome *o,
    hpxi_h1_coding coding,
    const hpxi_h1_content_limits *limits,
    const uint8_t *bytes,
    size_t size,
    size_t piece,
    size_t out_bytes)
{
    o->status = HPX_E_PARTIAL;
    o->size = 0;
    hpxi_h1_content *content = hpxi_h1_content_new(coding, limits, &allocator);
    HPX_ASSERT(content != NULL);
    for (size_t at = 0; at < size && o->status == HPX_E_PARTIAL; at += piece) {
        decode_piece(o, content, bytes + at, size - at < piece ? size - at : piece, out_bytes);
    }
    if (o->status == HPX_E_PARTIAL) {
        o->status = hpxi_h1_content_finish(content);
    }
    HPX_ASSERT(o->size <= limits->output_bytes_max);
    if (o->status != HPX_OK) {
        check_error(hpxi_h1_content_error(content), o->status);
        HPX_ASSERT(hpxi_h1_content_finish(content) == o->status);
    }
    hpxi_h1_content_free(content);
    HPX_ASSERT(held_bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static outcome whole;
    static outcome cut;
    if (size < 4) {
        return 0;
    }
    const hpxi_h1_coding coding = (data[0] & 1) != 0 ? HPXI_H1_CODING_GZIP : HPXI_H1_CODING_DEFLATE;
    const hpxi_h1_content_limits limits = {
        .output_bytes_max = (data[0] & 2) != 0 ? 100 : OUTPUT_MAX};
    run(&whole, coding, &limits, data + 3, size - 3, size, 4096);
    run(&cut, coding, &limits, data + 3, size - 3, 1 + (size_t)data[1], 1 + (size_t)data[2]);
    HPX_ASSERT(whole.status == cut.status);
    HPX_ASSERT(whole.size == cut.size);
    HPX_ASSERT(whole.size == 0 || memcmp(whole.bytes, cut.bytes, whole.size) == 0);
    return 0;
}

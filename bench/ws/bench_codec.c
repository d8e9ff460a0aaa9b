/* SPDX-License-Identifier: Apache-2.0 */
/* bench_codec.c - see bench_codec.h. */
#include "bench/ws/bench_codec.h"

#include <stdlib.h>

#include "ws/frame.h"
#include "ws/mask.h"

struct bench_decoder {
    hpx_allocator allocator;
    hpxi_ws_decoder decoder;
};

static void *codec_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void codec_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

bench_decoder *bench_decoder_new(int is_server)
{
    bench_decoder *bench = malloc(sizeof(*bench));
    HPX_ASSERT(bench != NULL);
    bench->allocator = (hpx_allocator){.alloc = codec_alloc, .free = codec_free};
    const hpxi_ws_limits limits = {
        .message_bytes_max = 16u << 20, .retain_bytes_max = 1u << 20, .fragments_max = 65536};
    hpxi_ws_decoder_init(
        &bench->decoder,
        is_server != 0 ? HPXI_WS_ROLE_SERVER : HPXI_WS_ROLE_CLIENT,
        &limits,
        &bench->allocator);
    return bench;
}

void bench_decoder_free(bench_decoder *bench)
{
    hpxi_ws_decoder_fini(&bench->decoder);
    free(bench);
}

size_t bench_decoder_run(bench_decoder *bench, uint8_t *data, size_t size, size_t chunk)
{
    size_t count = 0;
    hpx_status status = HPX_E_PARTIAL;
    for (size_t at = 0; at < size;) {
        size_t take = chunk == 0 || size - at < chunk ? size - at : chunk;
        uint8_t *in = data + at;
        at += take;
        hpxi_ws_message message;
        while ((status = hpxi_ws_decoder_next(&bench->decoder, &in, &take, &message)) == 1) {
            count++;
        }
        HPX_ASSERT(status == HPX_E_PARTIAL);
    }
    return count;
}

size_t bench_encode(
    uint8_t *dst, int is_text, const uint8_t *mask_key, const uint8_t *payload, size_t size)
{
    return hpxi_ws_encode(
        dst, is_text != 0 ? HPXI_WS_TEXT : HPXI_WS_BINARY, true, mask_key, payload, size);
}

bench_mask_fn *bench_mask(int form)
{
    return form == 0 ? hpxi_ws_mask : form == 1 ? hpxi_ws_mask_portable : hpxi_ws_mask_scalar;
}

bench_utf8_fn *bench_utf8(int form)
{
    return form == 0   ? hpxi_utf8_check
           : form == 1 ? hpxi_utf8_check_portable
                       : hpxi_utf8_check_scalar;
}

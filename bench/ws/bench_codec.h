/* SPDX-License-Identifier: Apache-2.0 */
/* bench_codec.h - the frame codec as bench_codec.cc sees it: the internal headers are C only. */
#ifndef HPX_BENCH_CODEC_H
#define HPX_BENCH_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_decoder bench_decoder;

bench_decoder *bench_decoder_new(int is_server);
void bench_decoder_free(bench_decoder *decoder);
/* Decodes all of it; messages seen. `chunk` 0: in one piece. Aborts when a frame is refused. */
size_t bench_decoder_run(bench_decoder *decoder, uint8_t *data, size_t size, size_t chunk);

/* One whole message as a frame; its bytes. */
size_t bench_encode(
    uint8_t *dst, int is_text, const uint8_t *mask_key, const uint8_t *payload, size_t size);

typedef void
bench_mask_fn(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t *key, size_t phase);
bench_mask_fn *bench_mask(int form); /* 0 best, 1 portable, 2 scalar */

typedef bool bench_utf8_fn(const uint8_t *data, size_t size);
bench_utf8_fn *bench_utf8(int form);

#ifdef __cplusplus
}
#endif

#endif /* HPX_BENCH_CODEC_H */

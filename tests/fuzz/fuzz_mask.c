/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: every form of masking gives the scalar form's bytes, in place and not, and masking
 * twice gives the data back.
 *
 * Bytes 0 to 3: the key. Byte 4: phase (bits 0..1) and offset within the block. The rest is data.
 */
#include <stdlib.h>
#include <string.h>

#include "ring/assert.h"
#include "ws/mask.h"

#define HEAD_BYTES 5u

typedef void
mask_fn(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t *key, size_t phase);

static void check_form(mask_fn *mask, const uint8_t *data, size_t size, size_t phase, size_t offset)
{
    const uint8_t *const key = data;
    const uint8_t *const source = data + HEAD_BYTES;
    uint8_t *const expected = malloc(offset + size);
    uint8_t *const got = malloc(offset + size); /* ends where the data ends */
    HPX_ASSERT(expected != NULL);
    HPX_ASSERT(got != NULL);
    memset(got, 0xEE, offset);
    hpxi_ws_mask_scalar(expected + offset, source, size, key, phase);
    mask(got + offset, source, size, key, phase);
    HPX_ASSERT(memcmp(got + offset, expected + offset, size) == 0);
    mask(got + offset, got + offset, size, key, phase);
    HPX_ASSERT(memcmp(got + offset, source, size) == 0);
    for (size_t i = 0; i < offset; i++) {
        HPX_ASSERT(got[i] == 0xEE);
    }
    /* In two parts, the phase carried on. */
    const size_t cut = size / 3;
    mask(got + offset, source, cut, key, phase);
    mask(got + offset + cut, source + cut, size - cut, key, phase + cut);
    HPX_ASSERT(memcmp(got + offset, expected + offset, size) == 0);
    free(got);
    free(expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= HEAD_BYTES) {
        return 0;
    }
    const size_t phase = data[4] & 3;
    const size_t offset = data[4] >> 2;
    check_form(hpxi_ws_mask, data, size - HEAD_BYTES, phase, offset);
    check_form(hpxi_ws_mask_portable, data, size - HEAD_BYTES, phase, offset);
    return 0;
}

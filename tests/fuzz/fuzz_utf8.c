/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: the vector, the portable and the streaming validator say what the scalar one says, and
 * a stream that has failed stays failed.
 *
 * Bytes 0 and 1: where the stream is cut. The rest is the text, in a block of exactly its size.
 */
#include <stdlib.h>
#include <string.h>

#include "ring/assert.h"
#include "ws/utf8.h"

static bool stream_check(const uint8_t *text, size_t size, size_t piece)
{
    hpxi_utf8 utf8;
    hpxi_utf8_init(&utf8);
    bool good = true;
    for (size_t at = 0; at < size;) {
        const size_t take = size - at < piece ? size - at : piece;
        const bool fed = hpxi_utf8_feed(&utf8, text + at, take);
        HPX_ASSERT(good || !fed);
        good = fed;
        at += take;
    }
    return good && hpxi_utf8_is_complete(&utf8);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    const size_t bytes = size - 2;
    const size_t cut = (data[0] * 256u + data[1]) % (bytes + 1);
    uint8_t *const text = malloc(bytes);
    HPX_ASSERT(text != NULL);
    memcpy(text, data + 2, bytes);

    const bool expected = hpxi_utf8_check_scalar(text, bytes);
    HPX_ASSERT(hpxi_utf8_check(text, bytes) == expected);
    HPX_ASSERT(hpxi_utf8_check_portable(text, bytes) == expected);
    HPX_ASSERT(stream_check(text, bytes, cut + 1) == expected);
    HPX_ASSERT(stream_check(text, bytes, 1 + data[1] % 40u) == expected);
    HPX_ASSERT(stream_check(text, bytes, 1) == expected);
    /* Of two parts that are good, the whole is good. */
    const bool front = hpxi_utf8_check(text, cut);
    HPX_ASSERT(!front || hpxi_utf8_check(text + cut, bytes - cut) == expected);
    free(text);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: for both roles, the messages, their bytes, the failure and its rule do not depend on
 * where the input is cut. The decoder's invariant holds after every call (HPX_XASSERT, and here),
 * and it never holds more than message_bytes_max.
 *
 * Byte 0: role (bit 0), limits (bit 1), size of the first cut. Byte 1: how the sizes go on.
 */
#include <stdlib.h>

#include "ws/frame.h"

#define HASH_SEED  UINT64_C(14695981039346656037)
#define HASH_PRIME UINT64_C(1099511628211)

#define BYTEWISE_MAX 300u /* longer inputs one byte at a time cost more than they find */

typedef struct outcome {
    hpx_status status;
    uint16_t failure_code;
    const char *detail;
    uint64_t events;
    uint64_t bytes;
    uint64_t hash; /* of kinds, codes, sizes and bytes, in order */
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

static void outcome_mix(outcome *o, uint64_t value)
{
    o->hash = (o->hash ^ value) * HASH_PRIME;
}

static void outcome_add(outcome *o, const hpxi_ws_message *message)
{
    o->events++;
    o->bytes += message->size;
    outcome_mix(o, message->op);
    outcome_mix(o, message->close_code);
    outcome_mix(o, message->size);
    for (size_t i = 0; i < message->size; i++) {
        outcome_mix(o, message->data[i]);
    }
    HPX_ASSERT(message->op != HPXI_WS_TEXT || hpxi_utf8_check_scalar(message->data, message->size));
}

/* One piece, in a block of exactly its size. */
static void decode_piece(outcome *o, hpxi_ws_decoder *decoder, const uint8_t *data, size_t size)
{
    uint8_t *const block = malloc(size);
    HPX_ASSERT(block != NULL);
    memcpy(block, data, size);
    uint8_t *in = block;
    size_t left = size;
    hpxi_ws_message message;
    while ((o->status = hpxi_ws_decoder_next(decoder, &in, &left, &message)) == 1) {
        outcome_add(o, &message);
        HPX_ASSERT(hpxi_ws_decoder_is_valid(decoder));
        HPX_ASSERT(left <= size);
    }
    HPX_ASSERT(left == 0);
    HPX_ASSERT(hpxi_ws_decoder_is_valid(decoder));
    HPX_ASSERT(held_bytes <= decoder->limits.message_bytes_max);
    memset(block, 0xDD, size);
    free(block);
}

/* `first` 0: in one piece. */
static outcome
decode(hpxi_ws_role role, bool tight, const uint8_t *data, size_t size, size_t first, uint8_t step)
{
    const hpx_allocator allocator = {.alloc = fuzz_alloc, .free = fuzz_free};
    const hpxi_ws_limits limits = {
        .message_bytes_max = tight ? 130 : 1 << 20,
        .retain_bytes_max = tight ? 64 : 4096,
        .fragments_max = tight ? 4 : 1000};
    outcome o = {.status = HPX_E_PARTIAL, .hash = HASH_SEED};
    hpxi_ws_decoder decoder;
    hpxi_ws_decoder_init(&decoder, role, &limits, &allocator);
    size_t piece = first == 0 ? size : first;
    for (size_t at = 0; at < size && o.status == HPX_E_PARTIAL;) {
        const size_t take = size - at < piece ? size - at : piece;
        decode_piece(&o, &decoder, data + at, take);
        at += take;
        piece = first == 0 ? size : 1 + (piece * 5 + step) % (1u + step);
    }
    o.failure_code = decoder.failure_code;
    o.detail = decoder.failure_detail;
    hpxi_ws_decoder_fini(&decoder);
    HPX_ASSERT(held_bytes == 0);
    return o;
}

static void check_same(const outcome *a, const outcome *b)
{
    HPX_ASSERT(a->status == b->status);
    HPX_ASSERT(a->failure_code == b->failure_code);
    HPX_ASSERT(a->detail == b->detail);
    HPX_ASSERT(a->events == b->events);
    HPX_ASSERT(a->bytes == b->bytes);
    HPX_ASSERT(a->hash == b->hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    const hpxi_ws_role role = (data[0] & 1) != 0 ? HPXI_WS_ROLE_SERVER : HPXI_WS_ROLE_CLIENT;
    const bool tight = (data[0] & 2) != 0;
    const size_t first = 1 + (data[0] >> 2);
    const uint8_t step = data[1];
    const outcome whole = decode(role, tight, data + 2, size - 2, 0, 0);
    const outcome cut = decode(role, tight, data + 2, size - 2, first, step);
    check_same(&whole, &cut);
    if (size <= BYTEWISE_MAX) {
        const outcome bytes = decode(role, tight, data + 2, size - 2, 1, 0);
        check_same(&whole, &bytes);
    }
    return 0;
}

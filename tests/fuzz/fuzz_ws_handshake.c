/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: for both roles, the outcome of a head and the bytes it took do not depend on where the
 * input is cut; no error text holds an unprintable byte; no limit is passed. What our server
 * answers to a request that it accepts, our client accepts.
 *
 * Byte 0: role (bit 0), limits (bit 1), subprotocols (bit 2), size of the pieces (bits 3 to 7).
 */
#include <stdlib.h>

#include "ws/handshake.h"
#include "ws/handshake_key.h"

#define ROUND_TRIP_BYTES 2048u

typedef struct outcome {
    hpx_status status; /* of the feed, or of the client's check */
    uint32_t http_status;
    size_t used;
    uint64_t retry_after_ns;
    hpxi_ws_offer offer;
    hpxi_ws_answer answer;
} outcome;

static const char *const subprotocols[] = {"chat", "v2.json"};
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
    HPX_ASSERT(error->stage == HPX_STAGE_UPGRADE);
    HPX_ASSERT(memchr(error->detail, 0, sizeof(error->detail)) != NULL);
    HPX_ASSERT(error->detail[0] != '\0');
    for (const char *at = error->detail; *at != '\0'; at++) {
        HPX_ASSERT(*at >= 0x20 && *at < 0x7F);
    }
}

/* Feeds pieces, each in a block of exactly its size, until the head is decided. */
static void feed(outcome *o, hpxi_ws_head *head, const uint8_t *bytes, size_t size, size_t piece)
{
    hpx_error error = {0};
    o->status = HPX_E_PARTIAL;
    for (size_t at = 0; at < size && o->status == HPX_E_PARTIAL; at += piece) {
        const size_t some = size - at < piece ? size - at : piece;
        uint8_t *copy = malloc(some);
        HPX_ASSERT(copy != NULL);
        memcpy(copy, bytes + at, some);
        uint8_t *data = copy;
        size_t left = some;
        o->status = hpxi_ws_head_feed(head, &data, &left, &error);
        HPX_ASSERT(o->status < 0 || data + left == copy + some);
        HPX_ASSERT(o->status != HPX_E_PARTIAL || left == 0);
        o->used += some - left;
        free(copy);
    }
    if (o->status < 0) {
        o->used = 0; /* not told after a failure */
    }
    if (o->status < 0 && o->status != HPX_E_PARTIAL) {
        check_error(&error, o->status);
    }
    HPX_ASSERT(head->scanned <= head->bytes_max);
    HPX_ASSERT(head->lines <= head->fields_max + 2);
    HPX_ASSERT(held_bytes <= 2 * (size_t)head->bytes_max + 256);
}

static void decide(outcome *o, const hpxi_ws_head *head, uint32_t subprotocol_count)
{
    hpx_error error = {0};
    if (head->role == HPXI_WS_ROLE_SERVER) {
        o->http_status =
            hpxi_ws_offer_check(head, subprotocols, subprotocol_count, &o->offer, &error);
        if (o->http_status != 101) {
            HPX_ASSERT(o->http_status == (uint32_t)error.http_status);
            check_error(&error, error.status);
        }
        return;
    }
    const hpxi_ws_request_config request = {
        .host = "a",
        .target = "/",
        .subprotocols = subprotocols,
        .subprotocol_count = subprotocol_count,
        .nonce = "the sample nonce",
    };
    o->status = hpxi_ws_answer_check(head, &request, &o->answer, &error);
    o->http_status = o->answer.http_status;
    o->retry_after_ns = error.retry_after_ns;
    if (o->status != HPX_OK) {
        check_error(&error, o->status);
        HPX_ASSERT(o->http_status == (uint32_t)error.http_status);
    }
}

/* 6 bits of a base64 digit. */
static uint32_t digit_of(char digit)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = strchr(digits, digit);
    HPX_ASSERT(found != NULL && *found != '\0');
    return (uint32_t)(found - digits);
}

/* Our client takes our server's answer to this offer. */
static void round_trip(const hpxi_ws_offer *offer)
{
    const char *const offered[] = {offer->subprotocol};
    hpxi_ws_request_config request = {
        .host = "a",
        .target = "/",
        .subprotocols = offered,
        .subprotocol_count = offer->subprotocol == NULL ? 0 : 1,
    };
    uint32_t bits = 0;
    for (size_t i = 0, at = 0; at < HPXI_WS_NONCE_BYTES; i++) {
        bits = bits << 6 | digit_of(offer->key[i]);
        if (i % 4 != 0) { /* the second, third and fourth digit of four each end a byte */
            request.nonce[at++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
        }
    }
    char key[HPXI_WS_KEY_BYTES + 1];
    hpxi_ws_key_of(key, request.nonce);
    if (strcmp(key, offer->key) != 0) {
        HPX_ASSERT(memcmp(key, offer->key, 21) == 0); /* only the unused bits may differ */
        return;
    }
    outcome o = {0};
    hpxi_buf out;
    hpxi_ws_head head;
    hpxi_buf_init(&out, &allocator);
    hpxi_ws_head_init(&head, HPXI_WS_ROLE_CLIENT, ROUND_TRIP_BYTES, 8, &allocator);
    HPX_ASSERT(hpxi_ws_answer_write(&out, offer) == HPX_OK);
    uint8_t *data = out.data;
    size_t size = hpxi_buf_size(&out);
    HPX_ASSERT(hpxi_ws_head_feed(&head, &data, &size, NULL) == 1);
    HPX_ASSERT(size == 0);
    HPX_ASSERT(hpxi_ws_answer_check(&head, &request, &o.answer, NULL) == HPX_OK);
    hpxi_ws_head_fini(&head);
    hpxi_buf_fini(&out);
}

static outcome run(const uint8_t *data, size_t size, size_t piece)
{
    outcome o = {0};
    hpxi_ws_head head;
    const hpxi_ws_role role = (data[0] & 1) != 0 ? HPXI_WS_ROLE_SERVER : HPXI_WS_ROLE_CLIENT;
    const bool tight = (data[0] & 2) != 0;
    hpxi_ws_head_init(&head, role, tight ? 200 : 16384, tight ? 4 : 100, &allocator);
    feed(&o, &head, data + 1, size - 1, piece);
    if (o.status == 1) {
        decide(&o, &head, (data[0] & 4) != 0 ? 2 : 0);
    }
    hpxi_ws_head_fini(&head);
    HPX_ASSERT(held_bytes == 0);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    const outcome whole = run(data, size, size);
    const outcome cut = run(data, size, 1 + (data[0] >> 3));
    HPX_ASSERT(whole.status == cut.status);
    HPX_ASSERT(whole.http_status == cut.http_status);
    HPX_ASSERT(whole.used == cut.used);
    HPX_ASSERT(whole.retry_after_ns == cut.retry_after_ns);
    HPX_ASSERT(strcmp(whole.answer.subprotocol, cut.answer.subprotocol) == 0);
    HPX_ASSERT(strcmp(whole.offer.target, cut.offer.target) == 0);
    HPX_ASSERT(strcmp(whole.offer.host, cut.offer.host) == 0);
    HPX_ASSERT(strcmp(whole.offer.key, cut.offer.key) == 0);
    HPX_ASSERT(whole.offer.subprotocol == cut.offer.subprotocol);
    if ((data[0] & 1) != 0 && whole.http_status == 101) {
        round_trip(&whole.offer);
    }
    return 0;
}

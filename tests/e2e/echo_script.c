/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/echo_script.h"

#include <stdio.h>

#include "tests/support/test.h"

/* One character of 1, 2, 3 and 4 bytes. */
static const char echo_unit[] = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";

#define UNIT_BYTES (sizeof(echo_unit) - 1)

void echo_fill(uint8_t *to, size_t size, hpx_message_kind kind, uint32_t seed)
{
    if (kind == HPX_MESSAGE_BINARY) {
        for (size_t i = 0; i < size; i++) {
            to[i] = (uint8_t)((i * 2654435761u) >> 11 ^ seed ^ i);
        }
        return;
    }
    size_t at = 0;
    for (uint32_t unit = seed; at + UNIT_BYTES <= size; unit++, at += UNIT_BYTES) {
        memcpy(to + at, echo_unit, UNIT_BYTES);
        to[at] = (uint8_t)('a' + unit % 26);
    }
    for (; at < size; at++) {
        to[at] = (uint8_t)('0' + (at + seed) % 10);
    }
}

void echo_sizes(e2e_client *client, size_t bytes_max)
{
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 1u << 20, ECHO_BYTES_MAX};
    static const hpx_message_kind kinds[] = {HPX_MESSAGE_TEXT, HPX_MESSAGE_BINARY};
    uint8_t *payload = malloc(bytes_max);
    assert_non_null(payload);
    for (uint32_t i = 0; i < COUNT_OF(sizes) && sizes[i] <= bytes_max; i++) {
        for (uint32_t k = 0; k < COUNT_OF(kinds); k++) {
            echo_fill(payload, sizes[i], kinds[k], i);
            client_send(client, kinds[k], payload, sizes[i]);
            client_expect_message(client, kinds[k], payload, sizes[i]);
        }
    }
    free(payload);
}

static size_t pipelined_message(char *to, size_t to_bytes, uint32_t i)
{
    const int size = snprintf(
        to,
        to_bytes,
        "{\"n\":%u,\"pad\":\"%.*s\"}",
        i,
        (int)(i % 40),
        "........................................");
    assert_in_range(size, 1, to_bytes - 1);
    return (size_t)size;
}

void echo_pipelined(e2e_client *client, uint32_t count)
{
    char text[96];
    for (uint32_t i = 0; i < count; i++) {
        client_send(client, HPX_MESSAGE_TEXT, text, pipelined_message(text, sizeof(text), i));
    }
    for (uint32_t i = 0; i < count; i++) {
        const size_t size = pipelined_message(text, sizeof(text), i);
        client_expect_message(client, HPX_MESSAGE_TEXT, text, size);
    }
}

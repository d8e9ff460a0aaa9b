/* SPDX-License-Identifier: Apache-2.0 */
/* feed_bed.c - see feed_bed.h. */
#include "tests/engine/feed_bed.h"

#include <string.h>

uint64_t feed_bed_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

size_t feed_bed_bytes(uint64_t number, feed_bed_size size)
{
    const uint64_t x = feed_bed_mix(number + 17);
    return (size_t)((x >> 8) % ((x % 16 == 0 ? size.rare_max : size.common_max) + UINT64_C(1)));
}

void feed_bed_fill(uint8_t *buffer, size_t bytes, uint64_t number)
{
    uint64_t word = feed_bed_mix(number);
    for (; bytes >= sizeof(word); bytes -= sizeof(word), buffer += sizeof(word)) {
        memcpy(buffer, &word, sizeof(word));
        word = word * 6364136223846793005u + 1;
    }
    memcpy(buffer, &word, bytes);
}

bool feed_bed_is_right(hpx_span payload, uint64_t number)
{
    uint64_t word = feed_bed_mix(number);
    const uint8_t *at = payload.data;
    size_t bytes = payload.size;
    for (; bytes >= sizeof(word); bytes -= sizeof(word), at += sizeof(word)) {
        if (memcmp(at, &word, sizeof(word)) != 0) {
            return false;
        }
        word = word * 6364136223846793005u + 1;
    }
    return bytes == 0 || memcmp(at, &word, bytes) == 0;
}

static hpx_message_kind message_kind(uint64_t number)
{
    return number % 3 == 0 ? HPX_MESSAGE_BINARY : HPX_MESSAGE_TEXT;
}

hpxi_feed_result feed_bed_push(hpxi_feed *feed, uint32_t topic, uint64_t number, size_t bytes)
{
    static _Thread_local uint8_t buffer[FEED_BED_BYTES_MAX];
    HPX_ASSERT(bytes <= sizeof(buffer));
    feed_bed_fill(buffer, bytes, number);
    const hpxi_feed_message message = {
        .topic_index = topic,
        .kind = message_kind(number),
        .epoch = number / 1000 + 1,
        .time_ns = number, /* by which the reader knows it */
        .payload = {.data = buffer, .size = bytes}};
    return hpxi_feed_push(feed, &message);
}

bool feed_bed_is_message(const hpx_update *update, uint64_t number)
{
    return update->kind == HPX_UPDATE_MESSAGE && update->message_kind == message_kind(number) &&
           update->epoch == number / 1000 + 1 && update->time_ns == number &&
           update->error == NULL && feed_bed_is_right(update->payload, number);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spsc.c - the ring's memory and its two slow paths: refreshing the cached opposite position, and
 * the padding at the end of the buffer. The fast paths are inline in spsc.h.
 */
#include "ring/spsc.h"

#define SPSC_BYTES_MIN 1024u

hpx_status hpxi_spsc_init(hpxi_spsc *ring, uint32_t bytes, const hpx_allocator *allocator)
{
    HPX_ASSERT(bytes >= SPSC_BYTES_MIN);
    HPX_ASSERT((bytes & (bytes - 1)) == 0);
    *ring =
        (hpxi_spsc){.mask = (uint64_t)bytes - 1, .bytes_max = bytes / 4, .allocator = allocator};
    /* Zeroed so that the pages exist: no page fault in the first round on the hot path. */
    ring->data = hpxi_alloc_zero(allocator, bytes, HPXI_ISOLATE);
    return ring->data == NULL ? HPX_E_NO_MEMORY : HPX_OK;
}

void hpxi_spsc_fini(hpxi_spsc *ring)
{
    hpxi_free(ring->allocator, ring->data, ring->mask + 1);
    ring->data = NULL;
}

hpxi_record *hpxi_spsc_claim_slow(hpxi_spsc *ring, uint32_t type, uint32_t bytes, uint64_t tag)
{
    const uint64_t capacity = ring->mask + 1;
    const uint64_t tail = ring->producer.tail_claimed;
    const uint64_t need = hpxi_spsc_record_bytes(bytes);
    const uint64_t to_end = capacity - (tail & ring->mask);
    const uint64_t pad = need > to_end ? to_end : 0;
    HPX_ASSERT(pad + need <= capacity); /* or an empty ring would be full for ever */

    ring->producer.claim_bytes = 0;
    if (tail + pad + need - ring->producer.head_seen > capacity) {
        /* Partner: hpxi_spsc_release(). The consumer is done with the bytes before head. */
        ring->producer.head_seen = atomic_load_explicit(&ring->consumer.head, memory_order_acquire);
        if (tail + pad + need - ring->producer.head_seen > capacity) {
            ring->producer.full_count++;
            return NULL;
        }
    }
    if (pad != 0) {
        /* Committed together with the record: an abandoned claim leaves no padding behind. */
        hpxi_record *padding = hpxi_spsc_at(ring, tail);
        *padding = (hpxi_record){
            .type = HPXI_SPSC_TYPE_PADDING, .bytes = (uint32_t)(pad - sizeof(hpxi_record))};
    }
    hpxi_record *record = hpxi_spsc_at(ring, tail + pad);
    *record = (hpxi_record){.type = type, .bytes = bytes, .tag = tag};
    ring->producer.claim_bytes = pad + need;
    return record;
}

hpxi_record *hpxi_spsc_peek_slow(hpxi_spsc *ring)
{
    if (ring->consumer.head_taken == ring->consumer.tail_seen) {
        /* Partner: hpxi_spsc_publish(). The bytes before tail are written. */
        ring->consumer.tail_seen = atomic_load_explicit(&ring->producer.tail, memory_order_acquire);
        if (ring->consumer.head_taken == ring->consumer.tail_seen) {
            return NULL;
        }
    }
    HPX_DASSERT(ring->consumer.tail_seen - ring->consumer.head_taken <= ring->mask + 1);
    hpxi_record *record = hpxi_spsc_at(ring, ring->consumer.head_taken);
    if (record->type == HPXI_SPSC_TYPE_PADDING) {
        ring->consumer.head_taken += hpxi_spsc_record_bytes(record->bytes);
        /* Padding is committed with the record behind it, which starts the buffer. */
        HPX_ASSERT(ring->consumer.head_taken != ring->consumer.tail_seen);
        HPX_ASSERT((ring->consumer.head_taken & ring->mask) == 0);
        record = hpxi_spsc_at(ring, ring->consumer.head_taken);
    }
    HPX_DASSERT(record->type != HPXI_SPSC_TYPE_PADDING);
    HPX_DASSERT(record->bytes <= ring->bytes_max);
    return record;
}

hpxi_record *hpxi_spsc_after(hpxi_spsc *ring, const hpxi_record *record)
{
    const uint64_t offset = (uint64_t)((const uint8_t *)record - ring->data);
    HPX_DASSERT(offset <= ring->mask);
    /* Its position: the one at this offset that is not behind head. */
    uint64_t at = ring->consumer.head_taken + ((offset - ring->consumer.head_taken) & ring->mask);
    at += hpxi_spsc_record_bytes(record->bytes);
    if (at == ring->consumer.tail_seen) {
        /* Partner: hpxi_spsc_publish(). */
        ring->consumer.tail_seen = atomic_load_explicit(&ring->producer.tail, memory_order_acquire);
        if (at == ring->consumer.tail_seen) {
            return NULL;
        }
    }
    hpxi_record *next = hpxi_spsc_at(ring, at);
    if (next->type == HPXI_SPSC_TYPE_PADDING) {
        at += hpxi_spsc_record_bytes(next->bytes);
        HPX_ASSERT((at & ring->mask) == 0); /* committed with the record behind it */
        next = hpxi_spsc_at(ring, at);
    }
    return next;
}

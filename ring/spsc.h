/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spsc.h - bounded single-producer single-consumer ring of variable-size byte records.
 *
 * Producer  hpxi_spsc_claim() -> fill -> hpxi_spsc_commit(), any number of times, then
 *           hpxi_spsc_publish() makes them visible. One thread for the ring's whole life.
 * Consumer  hpxi_spsc_peek() -> use in place -> hpxi_spsc_release(). One thread likewise.
 * Layout    A record is a 16-byte header and its payload, padded to 16 bytes, never torn over the
 *           end of the buffer: a padding record (type 0) fills the rest. bytes_max is a quarter of
 *           the capacity, so that a claim of that size succeeds once the ring is empty.
 * Ordering  publish() stores tail; peek() loads it with acquire. release() stores head with
 *           release; claim() loads it with acquire. Positions are 64 bits and never wrap.
 *           publish() is a seq_cst store and hpxi_spsc_is_empty_sc() a seq_cst load, so that
 *           together with hpxi_doorbell no wake-up is lost (doorbell.h explains). No fences:
 *           thread sanitizer does not understand them.
 */
#ifndef HPXI_SPSC_H
#define HPXI_SPSC_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ring/alloc.h"
#include "ring/assert.h"

#define HPXI_CACHE_LINE 64u
#define HPXI_ISOLATE    128u /* two lines: the adjacent-line prefetcher */

#define HPXI_SPSC_ALIGN        16u
#define HPXI_SPSC_TYPE_PADDING 0u

typedef struct hpxi_record {
    uint32_t type;  /* > 0: the user's; 0: padding, never returned by peek */
    uint32_t bytes; /* of the payload */
    uint64_t tag;   /* the user's: sequence number, handle, ... */
    alignas(HPXI_SPSC_ALIGN) uint8_t payload[];
} hpxi_record;

typedef struct hpxi_spsc {
    /* Read-only after init. */
    uint8_t *data;
    uint64_t mask;
    uint32_t bytes_max;
    const hpx_allocator *allocator;

    /* Producer thread. `tail` alone is read by the consumer, and lies alone: a consumer that spins
     * on it must not take the producer's own line away between claim and publish. */
    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t tail; /* published position */
        alignas(HPXI_ISOLATE) uint64_t tail_claimed; /* committed, not yet published */
        uint64_t head_seen;                          /* last head read: saves acquire loads */
        uint64_t claim_bytes;                        /* open claim, 0 = none */
        uint64_t full_count;
    } producer;

    /* Consumer thread. `head` alone is read by the producer. */
    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t head;
        alignas(HPXI_ISOLATE) uint64_t head_taken; /* consumer's own copy of head */
        uint64_t tail_seen;
    } consumer;
} hpxi_spsc;

_Static_assert(sizeof(hpxi_record) == 16, "a record header is 16 bytes");
_Static_assert(
    offsetof(hpxi_spsc, consumer) - offsetof(hpxi_spsc, producer) >= HPXI_ISOLATE,
    "producer and consumer must not share a line");

/* `bytes`: power of two, >= 1 KiB. Returns HPX_OK or HPX_E_NO_MEMORY. */
hpx_status hpxi_spsc_init(hpxi_spsc *ring, uint32_t bytes, const hpx_allocator *allocator);
void hpxi_spsc_fini(hpxi_spsc *ring);

/* Slow paths of hpxi_spsc_claim() and hpxi_spsc_peek(): the end of the buffer or of what the cached
 * opposite position shows. */
hpxi_record *hpxi_spsc_claim_slow(hpxi_spsc *ring, uint32_t type, uint32_t bytes, uint64_t tag);
hpxi_record *hpxi_spsc_peek_slow(hpxi_spsc *ring);

/* Bytes that a record with `bytes` of payload takes in the ring. */
static inline uint64_t hpxi_spsc_record_bytes(uint32_t bytes)
{
    const uint64_t mask = HPXI_SPSC_ALIGN - 1;
    return sizeof(hpxi_record) + (((uint64_t)bytes + mask) & ~mask);
}

static inline hpxi_record *hpxi_spsc_at(const hpxi_spsc *ring, uint64_t position)
{
    HPX_DASSERT(position % HPXI_SPSC_ALIGN == 0);
    return (hpxi_record *)(void *)(ring->data + (position & ring->mask));
}

/* Producer: room for a record of `bytes` (<= bytes_max), or NULL when full (counted): that is
 * backpressure, not an error. At most one claim is open; a second claim without a commit abandons
 * the first. */
static inline hpxi_record *
hpxi_spsc_claim(hpxi_spsc *ring, uint32_t type, uint32_t bytes, uint64_t tag)
{
    HPX_DASSERT(type != HPXI_SPSC_TYPE_PADDING);
    HPX_ASSERT(bytes <= ring->bytes_max);
    const uint64_t tail = ring->producer.tail_claimed;
    const uint64_t need = hpxi_spsc_record_bytes(bytes);
    const uint64_t capacity = ring->mask + 1;
    if (HPXI_UNLIKELY(
            (tail & ring->mask) + need > capacity ||
            tail + need - ring->producer.head_seen > capacity)) {
        return hpxi_spsc_claim_slow(ring, type, bytes, tag);
    }
    hpxi_record *record = hpxi_spsc_at(ring, tail);
    record->type = type;
    record->bytes = bytes;
    record->tag = tag;
    ring->producer.claim_bytes = need;
    return record;
}

/* Producer: the open claim is complete. Visible at the next publish. */
static inline void hpxi_spsc_commit(hpxi_spsc *ring)
{
    HPX_DASSERT(ring->producer.claim_bytes != 0);
    ring->producer.tail_claimed += ring->producer.claim_bytes;
    ring->producer.claim_bytes = 0;
}

/* Producer: are there committed records that are not yet published? */
static inline bool hpxi_spsc_has_unpublished(const hpxi_spsc *ring)
{
    return ring->producer.tail_claimed !=
           atomic_load_explicit(&ring->producer.tail, memory_order_relaxed);
}

/* Producer: make all committed records visible. Cheap when there is nothing new. */
static inline void hpxi_spsc_publish(hpxi_spsc *ring)
{
    if (hpxi_spsc_has_unpublished(ring)) {
        /* Partners: hpxi_spsc_peek_slow(), and hpxi_spsc_is_empty_sc() for the doorbell. */
        atomic_store_explicit(
            &ring->producer.tail, ring->producer.tail_claimed, memory_order_seq_cst);
    }
}

/* Consumer: the oldest record, or NULL when empty. Valid until hpxi_spsc_release(). */
static inline hpxi_record *hpxi_spsc_peek(hpxi_spsc *ring)
{
    if (HPXI_LIKELY(ring->consumer.head_taken != ring->consumer.tail_seen)) {
        hpxi_record *record = hpxi_spsc_at(ring, ring->consumer.head_taken);
        if (HPXI_LIKELY(record->type != HPXI_SPSC_TYPE_PADDING)) {
            HPX_DASSERT(record->bytes <= ring->bytes_max);
            return record;
        }
    }
    return hpxi_spsc_peek_slow(ring);
}

/* Consumer: give the record returned by peek back to the producer. */
static inline void hpxi_spsc_release(hpxi_spsc *ring)
{
    HPX_DASSERT(ring->consumer.head_taken != ring->consumer.tail_seen);
    const hpxi_record *record = hpxi_spsc_at(ring, ring->consumer.head_taken);
    HPX_DASSERT(record->type != HPXI_SPSC_TYPE_PADDING);
    ring->consumer.head_taken += hpxi_spsc_record_bytes(record->bytes);
    /* Partner: hpxi_spsc_claim_slow(). */
    atomic_store_explicit(&ring->consumer.head, ring->consumer.head_taken, memory_order_release);
}

/* Consumer: emptiness in the single total order, for use after hpxi_doorbell_prepare(). */
static inline bool hpxi_spsc_is_empty_sc(hpxi_spsc *ring)
{
    /* Partner: hpxi_spsc_publish(). */
    const uint64_t tail = atomic_load_explicit(&ring->producer.tail, memory_order_seq_cst);
    return tail == ring->consumer.head_taken;
}

/* Consumer: as above, but `record` (the oldest one, being looked at; NULL: none) does not count. */
static inline bool hpxi_spsc_is_empty_after_sc(hpxi_spsc *ring, const hpxi_record *record)
{
    const uint64_t taken = record == NULL ? 0 : hpxi_spsc_record_bytes(record->bytes);
    /* Partner: hpxi_spsc_publish(). */
    const uint64_t tail = atomic_load_explicit(&ring->producer.tail, memory_order_seq_cst);
    return tail == ring->consumer.head_taken + taken;
}

/* Consumer: make what was published in the single total order visible to peek and after. */
static inline void hpxi_spsc_look_sc(hpxi_spsc *ring)
{
    /* Partner: hpxi_spsc_publish(). */
    ring->consumer.tail_seen = atomic_load_explicit(&ring->producer.tail, memory_order_seq_cst);
}

/* Consumer: the record that follows `record` (which peek or this function returned), or NULL. To
 * look ahead: nothing is released. */
hpxi_record *hpxi_spsc_after(hpxi_spsc *ring, const hpxi_record *record);

#endif /* HPXI_SPSC_H */

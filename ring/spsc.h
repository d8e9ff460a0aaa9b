/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spsc.h - bounded single-producer single-consumer ring of variable-size byte records.
 *
 * Producer  hpxi_spsc_claim() -> fill -> hpxi_spsc_commit(), any number of times, then
 *           hpxi_spsc_publish() makes them visible. One thread for the ring's whole life.
 * Consumer  hpxi_spsc_peek() -> use in place -> hpxi_spsc_release(). One thread likewise.
 * Layout    A record is an 16-byte header and its payload, padded to 16 bytes, never torn over the
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
#define HPXI_ISOLATE    (2 * HPXI_CACHE_LINE) /* two lines: the adjacent-line prefetcher */

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

    /* Producer thread; `tail` is read by the consumer. */
    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t tail; /* published position */
        uint64_t tail_claimed;                       /* committed, not yet published */
        uint64_t head_seen;                          /* last head read: saves acquire loads */
        uint64_t claim_bytes;                        /* open claim, 0 = none */
        uint64_t full_count;
    } producer;

    /* Consumer thread; `head` is read by the producer. */
    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t head;
        uint64_t head_taken; /* consumer's own copy of head */
        uint64_t tail_seen;
    } consumer;
} hpxi_spsc;

_Static_assert(sizeof(hpxi_record) == 16, "a record header is 16 bytes");
_Static_assert(offsetof(hpxi_spsc, consumer) - offsetof(hpxi_spsc, producer) >= HPXI_ISOLATE,
               "producer and consumer must not share a line");

/* `bytes`: power of two, >= 1 KiB. Returns HPX_OK or HPX_E_NO_MEMORY. */
hpx_status hpxi_spsc_init(hpxi_spsc *ring, uint32_t bytes, const hpx_allocator *allocator);
void hpxi_spsc_fini(hpxi_spsc *ring);

/* Producer: room for a record of `bytes` (<= bytes_max), or NULL when full (counted): that is
 * backpressure, not an error. At most one claim is open; a second claim without a commit abandons
 * the first. */
hpxi_record *hpxi_spsc_claim(hpxi_spsc *ring, uint32_t type, uint32_t bytes, uint64_t tag);

/* Producer: the open claim is complete. Visible at the next publish. */
void hpxi_spsc_commit(hpxi_spsc *ring);

/* Producer: make all committed records visible. Cheap when there is nothing new. */
void hpxi_spsc_publish(hpxi_spsc *ring);

/* Producer: are there committed records that are not yet published? */
static inline bool hpxi_spsc_has_unpublished(const hpxi_spsc *ring)
{
    return ring->producer.tail_claimed
           != atomic_load_explicit(&ring->producer.tail, memory_order_relaxed);
}

/* Consumer: the oldest record, or NULL when empty. Valid until hpxi_spsc_release(). */
hpxi_record *hpxi_spsc_peek(hpxi_spsc *ring);

/* Consumer: give the record returned by peek back to the producer. */
void hpxi_spsc_release(hpxi_spsc *ring);

/* Consumer: emptiness in the single total order, for use after hpxi_doorbell_prepare(). */
bool hpxi_spsc_is_empty_sc(hpxi_spsc *ring);

#endif /* HPXI_SPSC_H */

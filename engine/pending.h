/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending.h - the requests of one connection that wait for their answer.
 *
 * Role      A preallocated slab. The id on the wire is a sequence number and the slot's index, so
 *           an answer finds its request by indexing, and an id is never used twice by a
 *           connection: an answer that comes late, twice or from an earlier epoch finds nobody.
 *           Ids dictated by the application (request_raw) go through a hash table of fixed size.
 * Threads   The shard's.
 * Memory    Allocated once; slots are touched as far as concurrency ever went. Besides the
 *           application's slots there are HPXI_PENDING_OWN for the driver's own requests, so that a
 *           full slab cannot keep it from authenticating or subscribing.
 */
#ifndef HPXI_PENDING_H
#define HPXI_PENDING_H

#include <hpx/session.h>

#include "ring/alloc.h"
#include "ring/wheel.h"

typedef struct hpxi_channel hpxi_channel;

#define HPXI_PENDING_OWN       96u
#define HPXI_PENDING_QUIET_MAX 48u /* of them: a peer's pings cannot take those of batches */
#define HPXI_PENDING_SLOT_BITS 17u /* 65536 requests and our own */

typedef enum hpxi_pending_kind {
    HPXI_PENDING_FREE = 0,
    HPXI_PENDING_APP,   /* the application's */
    HPXI_PENDING_AUTH,  /* authentication */
    HPXI_PENDING_BATCH, /* a batch of topics: `object` */
    HPXI_PENDING_PING,  /* our protocol-level ping */
    HPXI_PENDING_QUIET, /* a first message or a pong: its answer means nothing */
} hpxi_pending_kind;

typedef struct hpxi_pending hpxi_pending;

typedef struct hpxi_request {
    hpxi_timer timer;
    hpxi_pending *table;
    uint64_t id; /* on the wire; 0 while free */
    uint64_t token;
    void *user;
    hpx_reply_fn on_reply; /* inline, or NULL */
    hpxi_channel *channel; /* port: where the reply goes, or NULL */
    void *object;          /* BATCH */
    uint64_t epoch;
    uint64_t sent_ns;
    struct hpxi_request *next; /* of the live list, or the free list */
    struct hpxi_request *prev;
    uint32_t index;
    hpxi_pending_kind kind;
    bool cancelled;
    bool is_raw; /* the application's id, below */
    hpx_id_kind raw_kind;
    uint32_t raw_bytes;
    uint64_t raw_number; /* NUMBER, or the hash of the text */
    uint8_t raw_text[HPX_REQUEST_ID_BYTES];
} hpxi_request;

struct hpxi_pending {
    const hpx_allocator *allocator;
    void *owner; /* the connection; for timers */
    hpxi_request *slots;
    uint32_t capacity; /* the application's and our own */
    uint32_t own_free; /* how many of our own may still be taken */
    uint32_t app_free;
    uint32_t touched; /* slots before it were used at least once */
    uint32_t raw_mask;
    uint32_t *raw; /* slot index + 1, open addressing; NULL until the first raw id */
    hpxi_request *free;
    hpxi_request *live; /* all that wait, newest first */
    uint64_t sequence;
};

/* `app_max` requests of the application. HPX_OK or HPX_E_NO_MEMORY. */
hpx_status hpxi_pending_init(
    hpxi_pending *pending, uint32_t app_max, void *owner, const hpx_allocator *allocator);
void hpxi_pending_fini(hpxi_pending *pending);

/* A request with a fresh id, its timer not set (`fire` is its callback). NULL: none left of this
 * kind (own or application's). */
hpxi_request *hpxi_pending_take(hpxi_pending *pending, hpxi_pending_kind kind, hpxi_timer_fn fire);

/* Give the request the application's id. HPX_OK, HPX_E_DUPLICATE, HPX_E_INVALID (no id, too
 * long), HPX_E_NO_MEMORY. On failure the request stays as it was. */
hpx_status
hpxi_pending_set_raw(hpxi_pending *pending, hpxi_request *request, const hpx_request_id *id);

/* The request that this id answers, or NULL. */
hpxi_request *hpxi_pending_find(hpxi_pending *pending, const hpx_request_id *id);

/* The application's request with this token (of a channel, or inline with NULL), or NULL. */
hpxi_request *
hpxi_pending_by_token(hpxi_pending *pending, const hpxi_channel *channel, uint64_t token);

/* The request is over: its slot may serve another. Its timer is not set any more. */
void hpxi_pending_give_back(hpxi_pending *pending, hpxi_request *request);

/* The invariant, in O(slots): for HPX_XASSERT and tests. */
bool hpxi_pending_is_valid(const hpxi_pending *pending);

#endif /* HPXI_PENDING_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replies.h - outcomes of a handle's requests, from its shard to its port: none is ever lost.
 *
 * Role      An SPSC ring of replies. Its room is reckoned so that the bare outcome of every request
 *           that may be open always fits; a payload goes in too while there is more room than that
 *           reserve, else it travels as an owned block. A reply can be taken out of order (by the
 *           thread that waits for it); the others keep their place.
 * Threads   `shard` functions: the shard's thread. `port` functions and members: the port's.
 * Memory    The ring, once. Blocks only for large payloads and slow consumers, bounded in sum.
 */
#ifndef HPXI_REPLIES_H
#define HPXI_REPLIES_H

#include <hpx/session.h>

#include "ring/spsc.h"

typedef struct hpxi_replies {
    hpxi_spsc ring;
    const hpx_allocator *allocator;
    uint32_t requests_max;
    uint64_t reserve_bytes; /* for the bare outcomes of requests_max requests */
    uint64_t large_bytes_max;
    _Atomic uint64_t large_bytes; /* outstanding blocks: shard adds, port subtracts */

    struct {
        alignas(HPXI_ISOLATE) uint32_t open; /* sent, and their records not yet released */
        uint64_t token;                      /* the last one given */
        hpxi_record *held;                   /* record whose payload the app looks at */
    } port;
} hpxi_replies;

/* Ring bytes that `requests_max` needs at least. */
uint64_t hpxi_replies_bytes_min(uint32_t requests_max);

hpx_status hpxi_replies_init(
    hpxi_replies *replies,
    uint32_t ring_bytes,
    uint32_t requests_max,
    uint64_t large_bytes_max,
    const hpx_allocator *allocator);

/* Both threads are done with it. */
void hpxi_replies_fini(hpxi_replies *replies);

/* Shard: append; visible after publish. Always succeeds: a payload that cannot be kept makes the
 * status HPX_E_NO_MEMORY. */
void hpxi_replies_push(hpxi_replies *replies, const hpx_reply *reply);
void hpxi_replies_publish(hpxi_replies *replies);

/* Port: may another request be opened? Then count it with its token. */
bool hpxi_replies_may_open(const hpxi_replies *replies);
uint64_t hpxi_replies_open(hpxi_replies *replies);

/* Port: the request was not sent after all. */
void hpxi_replies_unopen(hpxi_replies *replies);

/* Port: the oldest reply (1), or 0. Lets go of the last one's payload. */
int hpxi_replies_next(hpxi_replies *replies, hpx_reply *reply);

/* Port: the reply of this request (1), wherever it stands, or 0. */
int hpxi_replies_take(hpxi_replies *replies, uint64_t token, hpx_reply *reply);

/* Port: nothing to take (what the app looks at does not count). In the doorbell's total order. */
bool hpxi_replies_are_empty_sc(hpxi_replies *replies);

/* Port: nothing came since next or take returned 0. In the doorbell's total order. */
bool hpxi_replies_have_no_news_sc(hpxi_replies *replies);

#endif /* HPXI_REPLIES_H */

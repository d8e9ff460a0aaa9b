/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feed_fifo.h - messages in order, and no room when full: DROP_NEWEST and DISCONNECT.
 *
 * Role      An hpxi_spsc whose records are read in place. A message over `inline_max` travels as
 *           an owned block, bounded in sum.
 * Threads   push, publish: the shard's. take, put_back, let_go, is_empty_sc: the port's.
 * Memory    The ring, at init. Blocks are freed by the port, or by fini.
 */
#ifndef HPXI_FEED_FIFO_H
#define HPXI_FEED_FIFO_H

#include "engine/feed_item.h"
#include "ring/spsc.h"

typedef struct hpxi_feed_fifo {
    hpxi_spsc ring;
    const hpx_allocator *allocator;
    uint64_t large_bytes_max;
    size_t inline_max;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint64_t large_bytes; /* shard adds, port subtracts */
    } shared;

    struct {
        alignas(HPXI_ISOLATE) bool is_held; /* the application looks at the front record */
        uint8_t *block;                     /* ... which is this block, if not NULL */
        size_t block_bytes;
    } port;
} hpxi_feed_fifo;

hpx_status hpxi_feed_fifo_init(
    hpxi_feed_fifo *fifo,
    uint32_t ring_bytes,
    uint64_t large_bytes_max,
    const hpx_allocator *allocator);
void hpxi_feed_fifo_fini(hpxi_feed_fifo *fifo);

/* false: no room, no budget or no memory; nothing was queued. */
bool hpxi_feed_fifo_push(hpxi_feed_fifo *fifo, const hpxi_feed_message *message, uint64_t sequence);
void hpxi_feed_fifo_publish(hpxi_feed_fifo *fifo);

bool hpxi_feed_fifo_take(hpxi_feed_fifo *fifo, uint64_t limit, hpxi_feed_item *item);
void hpxi_feed_fifo_put_back(hpxi_feed_fifo *fifo);
void hpxi_feed_fifo_let_go(hpxi_feed_fifo *fifo);
bool hpxi_feed_fifo_is_empty_sc(hpxi_feed_fifo *fifo);

#endif /* HPXI_FEED_FIFO_H */

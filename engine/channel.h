/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.h - what a connection's shard and one of its handles share: the rings of the stream, and
 * the replies.
 *
 * Role      Shard -> port. Two SPSC rings for the stream, so that messages can never keep a
 * lifecycle event out: when the message ring is full a message is dropped and counted, while the
 * lifecycle ring always has room. Every record carries a sequence number (dropped messages take
 *           none); the consumer merges by it and so sees the shard's order.
 * Threads   `shard` members: the shard's thread. `port` members: the port's. `shared`: atomics.
 * Memory    Reference counted by shard, handle and stream; the last one frees. A message larger
 *           than a quarter of the ring travels as an owned block, bounded in sum.
 */
#ifndef HPXI_CHANNEL_H
#define HPXI_CHANNEL_H

#include <hpx/session.h>

#include "engine/hub.h"
#include "engine/replies.h"
#include "ring/doorbell.h"
#include "ring/spsc.h"

typedef struct hpxi_port_core hpxi_port_core; /* port.h */
typedef struct hpxi_link hpxi_link;           /* port.h */

/* Record types of both rings. */
enum {
    HPXI_RECORD_TEXT = 1,
    HPXI_RECORD_BINARY = 2,
    HPXI_RECORD_TEXT_BLOCK = 3, /* payload is a hpxi_block_record */
    HPXI_RECORD_BINARY_BLOCK = 4,
    HPXI_RECORD_CONNECTED = 5, /* hpxi_lifecycle + hpx_conn_info */
    HPXI_RECORD_WRITABLE = 6,
    HPXI_RECORD_DISCONNECTED = 7, /* hpxi_lifecycle + hpx_error */
    HPXI_RECORD_CLOSED = 8,       /* hpxi_lifecycle + hpx_error */
};

typedef struct hpxi_message_head {
    uint64_t epoch;
    uint64_t time_ns;
    uint64_t missed;        /* messages dropped just before this one */
    uint32_t message_class; /* hpx_message_class */
    uint32_t is_decoded;    /* by decode_binary(): the raw bytes are not here */
} hpxi_message_head;

typedef struct hpxi_block_record {
    hpxi_message_head head;
    uint8_t *data; /* from the engine's allocator; the consumer frees it */
    size_t size;
} hpxi_block_record;

typedef struct hpxi_lifecycle {
    uint64_t epoch;
    uint64_t time_ns;
    uint64_t missed; /* DISCONNECTED: messages dropped at the end */
} hpxi_lifecycle;

typedef struct hpxi_channel {
    const hpx_allocator *allocator;
    hpxi_port_core *port; /* a reference: its doorbell outlives the port's close */
    hpxi_hub *hub;        /* a reference */
    bool has_stream;
    bool has_replies;
    uint64_t large_bytes_max;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint32_t refs;
        _Atomic uint32_t want_room;   /* a send found the data ring full; written by the port,
                                         taken back by the shard: WRITABLE is owed */
        _Atomic uint32_t abandoned;   /* the stream was released; written by the port */
        _Atomic uint64_t requests;    /* ever opened; written by the port, before RELEASE */
        _Atomic uint64_t large_bytes; /* outstanding owned blocks: shard adds, port subtracts */
    } shared;

    hpxi_spsc messages;
    hpxi_spsc lifecycle;
    hpxi_replies replies;

    struct {
        alignas(HPXI_ISOLATE) uint64_t next_sequence;
        uint64_t missed; /* dropped since the last message that went in */
        bool dirty;      /* on the shard's publish list */
        struct hpxi_channel *next_dirty;
        hpx_conn *conn;    /* while the handle is one of its; NULL: released, or the end came */
        hpxi_link *link;   /* whose handle it is */
        uint64_t requests; /* taken from the data ring */
        struct hpxi_channel *next; /* the connection's handles */
        struct hpxi_channel *prev;
    } shard;

    struct {
        alignas(HPXI_ISOLATE) uint64_t expected; /* sequence number to deliver next */
        hpxi_spsc *held;                         /* ring whose front record the app looks at */
        uint8_t *held_block;
        size_t held_block_size;
        bool closed_taken;
    } consumer;
} hpxi_channel;

/* References: 1. The stream's rings only if has_stream, replies only if the hub can request. Takes
 * references of port and hub. HPX_OK, HPX_E_NO_MEMORY. */
hpx_status hpxi_channel_new(
    hpxi_channel **out,
    hpxi_port_core *port,
    hpxi_hub *hub,
    bool has_stream,
    uint32_t ring_bytes,
    uint64_t large_bytes_max,
    const hpx_allocator *allocator);
void hpxi_channel_retain(hpxi_channel *channel);
void hpxi_channel_release(hpxi_channel *channel);

/* Shard: append an event; visible after hpxi_channel_publish(). A message that finds no room is
 * dropped and counted; returns false then. Lifecycle events always find room (asserted). */
bool hpxi_channel_message(hpxi_channel *channel, const hpx_event *event);
void hpxi_channel_event(hpxi_channel *channel, const hpx_event *event);

/* Shard: is there room for the lifecycle events of one more attempt, and the last ones? A stream
 * that nobody reads holds up reconnection, it does not lose events. */
bool hpxi_channel_has_room(const hpxi_channel *channel);

/* Shard: make everything visible and wake the port if it sleeps. Returns true if it did. */
bool hpxi_channel_publish(hpxi_channel *channel);

/* Port: 1 an event (views valid until the next call), 0 none, HPX_E_CLOSED. */
int hpxi_channel_next(hpxi_channel *channel, hpx_event *event);

/* Port: is there anything to take? In the doorbell's total order. */
bool hpxi_channel_is_empty_sc(hpxi_channel *channel);

/* Port: no more events are wanted. */
void hpxi_channel_abandon(hpxi_channel *channel);

#endif /* HPXI_CHANNEL_H */

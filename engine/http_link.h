/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_link.h - what a client on a port and one shard share: two rings.
 *
 *   port  --commands-->  shard      requests, cancels, in their order
 *   port  <--events----  shard      heads, bodies, ends
 *
 * Role      A client has one link per shard that it uses, so that nothing here is written by two
 *           threads. When `events` is full the shard keeps what it has and throttles the peer: no
 *           event is ever dropped. When the shard is gone the port makes the missing ends itself.
 * Threads   `port` members: the port's thread. `shard` members: the shard's. `shared`: atomics.
 * Memory    Reference counted by both sides; the last one frees.
 *
 * No wake-up is lost: want_room is exchanged by both sides. Either the shard's exchange follows the
 * port's, and then sees the room that the port had made before; or it precedes it, and the port
 * then sees the wish and rings.
 */
#ifndef HPXI_HTTP_LINK_H
#define HPXI_HTTP_LINK_H

#include "engine/http.h"
#include "engine/port.h"
#include "ring/spsc.h"

/* Commands. The tag is the request's id. */
enum {
    HPXI_HTTP_COMMAND_REQUEST = 1, /* hpxi_http_command_request + packed */
    HPXI_HTTP_COMMAND_BLOCK = 2,   /* hpxi_http_command_request + hpxi_http_block */
    HPXI_HTTP_COMMAND_CANCEL = 3,
    HPXI_HTTP_COMMAND_RESUME = 4,
    HPXI_HTTP_COMMAND_WARM_UP = 5, /* hpxi_http_command_warm_up + packed */
};

/* Events; END_BLOCK has a hpxi_http_block for its body. */
enum {
    HPXI_HTTP_RECORD_HEADERS = 1,
    HPXI_HTTP_RECORD_BODY = 2,
    HPXI_HTTP_RECORD_END = 3,
    HPXI_HTTP_RECORD_END_BLOCK = 4,
};

typedef struct hpxi_http_command_request {
    hpxi_http_request *slot; /* made by the port when the slot is first used; else NULL */
    uint64_t unused;
} hpxi_http_command_request;

typedef struct hpxi_http_command_warm_up {
    uint64_t count;
    uint64_t unused;
} hpxi_http_command_warm_up;

/* Bytes in a block of their own; whoever takes the record frees it. */
typedef struct hpxi_http_block {
    uint8_t *data;
    size_t capacity;
    size_t head;
    size_t size;
} hpxi_http_block;

/* Behind it: of END the error and the info; then headers, trailers (each a hpxi_http_packed_header,
 * name, value), body or block. */
typedef struct hpxi_http_record {
    void *user;
    uint64_t time_ns;
    uint64_t body_bytes;
    int32_t status;
    uint32_t header_count;
    uint32_t trailer_count;
    uint8_t outcome;
    uint8_t processed;
    uint8_t unused[2];
} hpxi_http_record;

struct hpxi_http_link {
    const hpx_allocator *allocator;
    hpx_shard *shard_of;
    hpxi_port_core *port_core; /* a reference: its doorbell */
    hpxi_http_link *next_inbox;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint32_t refs;
        _Atomic uint32_t want_room; /* the shard has events that found no room */
        _Atomic uint32_t closed;    /* the client was released */
        _Atomic uint32_t down;      /* the shard is gone: no event follows those in the ring */
    } shared;

    hpxi_spsc commands;
    hpxi_spsc events;

    struct {
        hpxi_http_core *core;
        hpxi_http_link *next;
        bool dirty; /* has events to publish */
    } shard;

    struct {
        alignas(HPXI_ISOLATE) uint32_t open; /* requests sent and not ended */
        bool *made;                          /* [requests_max]: the slot exists on the shard */
        uint32_t requests_max;
    } port;
};

/* Any thread (http_core.c): for the shard to take. False: it is down. */
bool hpxi_http_inbox_push(hpx_shard *shard, hpxi_http_link *link);

/* ---- http_link.c ----------------------------------------------------------------------------- */

/* With its core, which the shard starts when it takes the link from its inbox. Two references. */
hpx_status hpxi_http_link_new(
    hpxi_http_link **out, hpx_shard *shard, hpxi_port_core *port, hpxi_http_settings *settings);
void hpxi_http_link_release(hpxi_http_link *link);

/* Port: hand it to its shard. False: the shard is down, and so is the link. */
bool hpxi_http_link_post(hpxi_http_link *link);

/* Shard: take up to `budget` commands. Returns their number. */
uint32_t hpxi_http_link_commands(hpxi_http_link *link, uint32_t budget);

/* Shard: append an event. `body`: the buffer that an END's body is in; a large one goes out of it
 * as it is. False: no room. */
bool hpxi_http_link_emit(hpxi_http_link *link, const hpx_http_event *event, hpxi_buf *body);

/* Shard: bytes of one BODY event at most. */
size_t hpxi_http_link_piece_max(const hpxi_http_link *link);

/* Shard: is there room again for what was held back? Else the port will ring. */
bool hpxi_http_link_has_room(hpxi_http_link *link);

/* Shard: make events visible. */
void hpxi_http_link_publish(hpxi_http_link *link);

/* Port: views of a record; `headers` has room for all. The block of END_BLOCK is in *block. */
void hpxi_http_link_read(
    const hpxi_record *record,
    hpx_http_event *event,
    hpx_http_header *headers,
    hpxi_http_block *block);

#endif /* HPXI_HTTP_LINK_H */

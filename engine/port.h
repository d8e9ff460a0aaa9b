/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h - a thread's way into the shards: per (port, shard) a control ring and a data ring.
 *
 * Role      Commands carry a handle's slot and generation, never a pointer to the connection: a
 *           command that outlives its handle finds another generation and is dropped and counted.
 *           The shard reads all control rings before any data ring, so a close overtakes any
 *           amount of queued sends.
 * Threads   hpx_port, hpx_handle, hpx_stream: the port's thread. A link's `shard` members: the
 *           shard's thread.
 */
#ifndef HPXI_PORT_H
#define HPXI_PORT_H

#include <hpx/session.h>

#include "engine/channel.h"
#include "engine/spec.h"
#include "ring/doorbell.h"
#include "ring/spsc.h"

/* Control commands. */
enum {
    HPXI_COMMAND_CONNECT = 1,   /* hpxi_command_connect */
    HPXI_COMMAND_CLOSE = 2,     /* hpxi_command_close */
    HPXI_COMMAND_RELEASE = 3,   /* no payload: the handle is gone */
    HPXI_COMMAND_RECONNECT = 4, /* hpxi_command_close: its reason */
    HPXI_COMMAND_CLONE = 5,     /* hpxi_command_clone */
    HPXI_COMMAND_CANCEL = 6,    /* uint64_t: the token of a request */
};

/* Data commands. */
enum {
    HPXI_COMMAND_SEND = 1,          /* hpxi_command_send + payload */
    HPXI_COMMAND_SEND_BLOCK = 2,    /* hpxi_command_send + hpxi_command_block */
    HPXI_COMMAND_REQUEST = 3,       /* hpxi_command_send + hpxi_command_request + payload */
    HPXI_COMMAND_REQUEST_BLOCK = 4, /* ... + hpxi_command_block */
    HPXI_COMMAND_SUBSCRIBE = 5,     /* hpx_subscription *: a reference */
};

typedef struct hpxi_command_connect {
    hpxi_spec *spec;       /* the shard's from now on */
    hpxi_channel *channel; /* a reference for the shard */
} hpxi_command_connect;

typedef struct hpxi_command_clone {
    hpxi_channel *channel; /* a reference for the shard; its hub names the connection */
} hpxi_command_clone;

typedef struct hpxi_command_close {
    uint16_t code;
    uint16_t reason_bytes;
    uint8_t reason[124];
} hpxi_command_close;

typedef struct hpxi_command_send {
    uint64_t epoch; /* the send belongs to this epoch and to no later one */
    uint32_t kind;  /* hpx_message_kind */
    uint32_t unused;
} hpxi_command_send;

typedef struct hpxi_command_request {
    uint64_t deadline_ns; /* CLOCK_MONOTONIC; UINT64_MAX: none */
    uint64_t token;
    void *user;
    uint64_t raw_number; /* the application's id, if raw_kind says so */
    uint32_t raw_kind;   /* hpx_id_kind */
    uint32_t raw_bytes;
    uint8_t raw_text[HPX_REQUEST_ID_BYTES];
    uint64_t cancelled; /* 1: given up while it stood in the ring; written by the shard */
} hpxi_command_request;

typedef struct hpxi_command_block {
    uint8_t *data; /* the shard frees it */
    size_t size;
} hpxi_command_block;

static inline uint64_t hpxi_handle_tag(uint32_t slot, uint32_t generation)
{
    return (uint64_t)generation << 32 | slot;
}

/* Shard side of a handle: there until it is released, also when its connection is gone. */
typedef struct hpxi_link_handle {
    hpxi_channel *channel; /* a reference; NULL: none */
    uint32_t generation;
} hpxi_link_handle;

/* One (port, shard) pair. Made by the port, published to the shard, freed with the port's core. */
struct hpxi_link {
    hpxi_spsc control;
    hpxi_spsc data;
    hpxi_port_core *port;
    hpxi_link_handle *handles;    /* the shard's; [handles_max] */
    _Atomic uint64_t block_bytes; /* outstanding large sends: port adds, shard subtracts */
    _Atomic uint32_t starved;     /* some handle wants room in `data`; port sets, shard clears */
    _Atomic uint32_t closed;      /* written by the port last: the shard may unlink once drained */
    _Atomic uint32_t leaving;     /* some subscription was let go; port sets, shard clears */
    hpx_subscription *subscriptions; /* the shard's list */
};

/* The part of a port that shards and channels may still need after hpx_port_close(). */
struct hpxi_port_core {
    _Atomic uint32_t refs;
    const hpx_allocator *allocator;
    uint32_t shard_count;
    uint32_t handles_max;
    hpxi_doorbell doorbell; /* rung by shards */
    hpxi_link *links;       /* [shard_count] */
};

/* No shard will read the link's commands any more: free what they own, and its handles. */
void hpxi_link_drain(hpxi_link *link);

void hpxi_port_core_retain(hpxi_port_core *core);
void hpxi_port_core_release(hpxi_port_core *core);

/* Outstanding large sends of one link: above this a send says HPX_E_AGAIN (unless it is alone). */
#define HPXI_LINK_BLOCK_BYTES_MAX (UINT64_C(64) << 20)

struct hpx_port {
    hpx_engine *engine;
    hpxi_port_core *core;
    uint32_t index;      /* in the engine's table */
    hpx_handle *handles; /* [core->handles_max] */
    hpx_handle *free_handles;
    hpx_stream *streams;                  /* list of open streams, for the shared descriptor */
    hpx_subscription *subscriptions;      /* likewise */
    struct hpx_http_client *http_clients; /* likewise */
    bool fd_mode;                         /* hpx_stream_fd() was called: re-arm in next() */
};

struct hpx_handle {
    hpx_port *port; /* NULL: free */
    hpxi_link *link;
    hpxi_channel *channel;
    uint32_t shard;
    uint32_t slot;
    uint32_t generation;
    hpx_handle *next_free;
};

struct hpx_stream {
    hpx_port *port;
    hpxi_channel *channel;
    hpx_stream *next;
    hpx_stream *prev;
};

/* Port: the descriptor serves all streams, subscriptions and handles of the port: make it
 * unreadable if none of them has anything to take. */
void hpxi_port_arm(hpx_port *port);

/* Port: call `take` until it returns something, asleep while `is_empty` (in the doorbell's total
 * order) says so. Returns what `take` did, or HPX_E_TIMEOUT. */
int hpxi_port_wait(
    hpx_port *port,
    int (*take)(void *object, void *out),
    bool (*is_empty)(void *object),
    void *object,
    void *out,
    uint64_t timeout_ns);

/* handle.c: queue a control command, and wake the shard if it sleeps. HPX_OK, HPX_E_AGAIN. */
hpx_status
hpxi_handle_control(hpx_handle *handle, uint32_t type, const void *command, uint32_t bytes);

/* handle.c: queue a data command: `head` (of which nothing is kept), then the payload, which
 * travels as an owned block if it is large. `block_type` is the type then. HPX_OK, HPX_E_AGAIN
 * (WRITABLE was asked for), HPX_E_NO_MEMORY. */
hpx_status hpxi_handle_data(
    hpx_handle *handle, uint32_t type, uint32_t block_type, hpx_span head, hpx_span payload);

/* handle.c: queue SUBSCRIBE with the command's reference. False: no room. */
bool hpxi_handle_push_subscribe(hpx_handle *handle, hpx_subscription *subscription);

/* http_port.c: nothing to take from any HTTP client. In the doorbell's total order. */
bool hpxi_http_port_may_sleep(hpx_port *port);

#endif /* HPXI_PORT_H */

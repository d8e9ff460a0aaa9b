/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_world.h - what the files of the simulation share: events, sockets, chance, the trace.
 */
#ifndef HPXI_SIM_WORLD_H
#define HPXI_SIM_WORLD_H

#include <stdarg.h>

#include "ring/alloc.h"
#include "ring/net.h"
#include "ring/sim.h"

#define SIM_SOCKETS_MAX 1024u
#define SIM_FD_FIRST    1000 /* no descriptor of the process is that high */
#define SIM_QUEUE_MAX   64u  /* connections that nobody accepted yet */
#define SIM_PORT_FIRST  10000u

typedef enum sim_kind {
    SIM_FREE = 0,
    SIM_STREAM,
    SIM_LISTENER,
    SIM_BELL,
} sim_kind;

typedef enum sim_stream_state {
    SIM_NEW = 0,
    SIM_CONNECTING,
    SIM_CONNECTED,
    SIM_FAILED, /* refused, reset or timed out */
} sim_stream_state;

/* A socket that may be gone: compare generations. */
typedef struct sim_ref {
    uint32_t index;
    uint32_t generation;
} sim_ref;

typedef struct sim_socket {
    sim_kind kind;
    uint32_t index;
    uint32_t generation;

    /* Streams. */
    sim_stream_state state;
    sim_ref peer;
    hpxi_address local;
    hpxi_address remote;
    uint8_t *in; /* received and not read */
    size_t in_size;
    size_t in_capacity;
    int connect_result; /* of SIM_FAILED */
    int error;          /* to be told once, after what is in `in` */
    bool fin_received;
    bool shut_read;
    bool shut_write;
    bool linger_zero;
    bool silent;              /* nothing of it arrives */
    bool cut;                 /* the network ended its stream: more is answered with a reset */
    bool timing;              /* a retransmission timeout is on its way */
    uint64_t unread;          /* bytes sent that the peer has not read */
    uint64_t last_arrival_ns; /* of what it sent: streams keep their order */
    uint64_t end_ns;          /* when its end, or an error, was read; 0: not yet */

    /* Listeners. */
    uint32_t queue[SIM_QUEUE_MAX]; /* accepted by the network: indices of streams */
    uint32_t queue_count;

    /* Doorbells. */
    uint64_t rings; /* not drained */
    uint64_t edges; /* in all: a multishot poll tells of each */
} sim_socket;

typedef enum sim_event_kind {
    SIM_EVENT_SYN,
    SIM_EVENT_ANSWER, /* to a connect: `result` */
    SIM_EVENT_DATA,
    SIM_EVENT_FIN,
    SIM_EVENT_RESET,
    SIM_EVENT_TIMEOUT, /* of a retransmission */
    SIM_EVENT_CALL,
} sim_event_kind;

typedef struct sim_event {
    uint64_t when_ns;
    uint64_t order; /* breaks ties */
    sim_event_kind kind;
    sim_ref to;
    sim_ref from;
    int result;
    uint32_t size;
    uint8_t *data;
    void (*fn)(void *ctx);
    void *ctx;
} sim_event;

typedef struct sim_world {
    hpxi_sim_config config;
    hpxi_sim_stats stats;
    hpxi_sim_random random;
    hpxi_sim_random entropy; /* what hpxi_os_random() gives */
    bool open;
    bool calm;
    uint64_t now_ns;
    uint64_t turns_here;
    uint64_t changes; /* of anything that an operation waits for */
    uint64_t hash;
    FILE *trace;
    sim_event *heap;
    size_t heap_count;
    size_t heap_capacity;
    uint64_t order;
    uint32_t next_port;
    sim_socket sockets[SIM_SOCKETS_MAX];
    void (*turn)(void *ctx);
    void *turn_ctx;
    void (*preempt)(void *ctx);
    void *preempt_ctx;
} sim_world;

extern sim_world hpxi_sim_world;
#define SIM (&hpxi_sim_world)

/* Does the fault happen here? Counts it. */
bool hpxi_sim_fault_happens(hpxi_sim_fault fault);

/* Joins the hash; a line of the trace, when there is one. */
void hpxi_sim_log(uint64_t what, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Events. `when_ns` in the past is now. */
void hpxi_sim_push(const sim_event *event);
uint64_t hpxi_sim_next_event_ns(void); /* UINT64_MAX: none */

/* Everything that is due. */
void hpxi_sim_run_due(void);

/* Time passes: to `when_ns`, which no event comes before. */
void hpxi_sim_pass(uint64_t when_ns);

/* ---- Sockets (sim_net.c) --------------------------------------------------------------------- */

sim_socket *hpxi_sim_socket(int fd);     /* asserts that it is open */
sim_socket *hpxi_sim_deref(sim_ref ref); /* NULL: gone */
int hpxi_sim_open(sim_kind kind);        /* a descriptor, the lowest that is free */
void hpxi_sim_close_all(void);           /* at the end */
void hpxi_sim_net_event(const sim_event *event);

static inline int hpxi_sim_fd(const sim_socket *socket)
{
    return SIM_FD_FIRST + (int)socket->index;
}

/* Begin a connect; the socket leaves SIM_CONNECTING when it is answered. */
void hpxi_sim_connect(sim_socket *socket, const hpxi_address *address);

/* The next connection that waits: a descriptor, or -EAGAIN. */
int hpxi_sim_accept(sim_socket *listener);

/* Would a receive do other than -EAGAIN? A send? */
bool hpxi_sim_may_read(const sim_socket *socket);
bool hpxi_sim_may_write(const sim_socket *socket);

/* > 0 bytes, 0 end, -EAGAIN, -errno. */
int hpxi_sim_read(sim_socket *socket, void *data, uint32_t size);
int hpxi_sim_write(sim_socket *socket, const void *data, uint32_t size);

/* ---- The ring (sim_ring.c) ------------------------------------------------------------------- */

/* Is an operation in flight on this descriptor? Closing it then would send no FIN. */
bool hpxi_sim_ring_uses(int fd);

#endif /* HPXI_SIM_WORLD_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock_bed.h - a shard's loop reduced to its sockets, and owners of sockets that check what they
 * are told: order, counts, and every byte against the pattern.
 */
#ifndef HPX_TESTS_SOCK_BED_H
#define HPX_TESTS_SOCK_BED_H

#include <time.h>

#include "ring/sock.h"
#include "tests/ring/ring_bed.h"
#include "tests/support/test.h"

#define SECONDS_MAX 50
#define HOT_MAX     4
#define CAPACITY    128

/* What an actor does inside a callback. */
typedef enum act {
    ACT_NONE,
    ACT_CLOSE,
    ACT_ABORT,
    ACT_FINISH,
    ACT_SEND,      /* append and flush at once */
    ACT_CLOSE_ALL, /* every socket there is */
} act;

typedef enum call { CALL_CONNECT, CALL_BYTES, CALL_END, CALL_DRAIN, CALL_ACCEPT, CALLS } call;

typedef struct bed bed;

/* The owner of one socket: counts, and does something inside a callback. */
typedef struct actor {
    bed *bed;
    hpxi_sock *sock;
    act acts[CALLS];
    uint32_t calls[CALLS];
    uint32_t gone;
    int connect_result;
    int end_result;
    bool hot;     /* how accepted or connected sockets receive */
    bool receive; /* start receiving when open */
    bool echo;
    uint64_t received;   /* checked against the pattern */
    uint64_t sent;       /* appended */
    uint64_t send_total; /* to append while there is room */
    struct actor *guest; /* listener: who adopts the next accepted socket */
    bool let_go;
} actor;

struct bed {
    ring_bed ring;
    hpxi_socks socks;
    int fds;
};

extern const hpxi_sock_ops actor_ops;

void bed_init_with(bed *on, const hpxi_ring_config *ring);
void bed_init(bed *on);

/* Waits until every socket is gone; checks that nothing is in flight, that slots and hot places are
 * home, and that memory and descriptors are where they were. */
void bed_fini(bed *on);

/* One turn of a shard, in the shard's order. */
void bed_turn(bed *on);

void actor_close(actor *self);
void actor_abort(actor *self);

/* Appends the next `size` bytes of the pattern, and marks. */
void actor_append(actor *self, size_t size);

void actor_connect(actor *self, const hpxi_address *address);
void actor_listen(actor *self, hpxi_address *address);

/* The actor's socket is connected to a plain one, which is returned. */
int actor_pair(actor *self);

void set_send_buffer(int fd, int bytes);

/* Before connecting: TCP recovers from a window that shrinks only by its slow timers. */
void set_buffers(int fd, int bytes);

/* Turns until the condition holds; the condition, not time, ends it. */
#define TURN_UNTIL(on, condition)                                                                  \
    do {                                                                                           \
        const time_t start_ = time(NULL);                                                          \
        while (!(condition)) {                                                                     \
            bed_turn((on));                                                                        \
            if (time(NULL) - start_ > SECONDS_MAX) {                                               \
                fail_msg("not reached in %d s: %s", SECONDS_MAX, #condition);                      \
            }                                                                                      \
        }                                                                                          \
    } while (0)

#endif /* HPX_TESTS_SOCK_BED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.h - the simulated backend: one process is the whole network, one seed decides everything.
 *
 * Role      sim_*.c implement ring.h, net.h, clock.h and doorbell.h without a kernel, and are
 *           linked instead of the files that have one. Listeners, connects, byte streams and
 *           doorbells live in one world with a virtual clock; faults happen with the chances of
 *           hpxi_sim_config. Nothing is read from the machine, so the same seed makes the same
 *           run, and hpxi_sim_hash() says so.
 * Time      Stands still while anything can run. hpxi_ring_wait() moves it to the next thing that
 *           happens, at most to its timeout. Turns move it by turn_ns, those of a shard that never
 *           sleeps by spin_ns.
 * Threads   One: the world is a static of this thread's.
 * Memory    malloc(); hpxi_sim_end() gives everything back and tells what was left open.
 */
#ifndef HPXI_SIM_H
#define HPXI_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* Faults, and what each is a chance of. */
#define HPXI_SIM_FAULTS(X)                                                                         \
    X(SHORT_RECV, "a receive brings 1..n of the bytes that are there")                             \
    X(SHORT_SEND, "a send takes 1..n of the bytes given")                                          \
    X(SEND_AGAIN, "an inline send finds no room")                                                  \
    X(NO_BUFFERS, "a multishot receive ends with ENOBUFS")                                         \
    X(RECV_ENDS, "a multishot receive ends with data, without F_MORE")                             \
    X(CQ_FULL, "the completions of a turn find the queue full")                                    \
    X(ACCEPT_ENDS, "a multishot accept ends without F_MORE")                                       \
    X(ACCEPT_FAILS, "an accept finds no descriptor")                                               \
    X(NO_SOCKET, "a socket cannot be made")                                                        \
    X(CONNECT_REFUSED, "a connect is refused, or there is no way to the host")                     \
    X(CONNECT_STALLS, "a connect is never answered")                                               \
    X(CONNECT_RESET, "a connection is reset as soon as it is made")                                \
    X(RESET, "a segment is lost with its connection: one side learns, or both")                    \
    X(CUT, "the stream ends after a segment; what follows is answered with a reset")               \
    X(SILENCE, "nothing arrives any more, in one direction or both")                               \
    X(SLOW, "a segment takes delay_slow_ns longer")                                                \
    X(LATE, "a completion comes late_ns late, after others")                                       \
    X(CANCEL_MISSES, "a cancel does not find its target, which goes on")                           \
    X(CANCEL_LOSES, "a cancel finds its target complete with what happened first")                 \
    X(STALE, "a completion of a slot's earlier use comes once more")                               \
    X(WAKE_EARLY, "a wait ends without a cause")

typedef enum hpxi_sim_fault {
#define HPXI_SIM_FAULT_ENUM(name, text) HPXI_SIM_##name,
    HPXI_SIM_FAULTS(HPXI_SIM_FAULT_ENUM)
#undef HPXI_SIM_FAULT_ENUM
        HPXI_SIM_FAULT_COUNT
} hpxi_sim_fault;

#define HPXI_SIM_CERTAIN 10000u /* chances are out of this many */

typedef struct hpxi_sim_config {
    uint64_t seed;
    uint64_t start_ns;      /* the clock's first reading */
    uint64_t delay_min_ns;  /* of a segment */
    uint64_t delay_max_ns;  /* >= delay_min_ns */
    uint64_t delay_slow_ns; /* SLOW: up to this much more */
    uint64_t late_ns;       /* LATE: up to this much */
    uint64_t retransmit_ns; /* unanswered for so long: ETIMEDOUT */
    uint64_t
        turn_ns; /* every fourth turn takes up to this much: things happen in the middle of it */
    uint64_t spin_ns; /* that a turn takes when nothing happens in it; 0: who does not sleep then is
                         spinning without a cause, and fails */
    uint32_t window_bytes;  /* of a stream: sent and not yet read */
    uint32_t segment_bytes; /* most in one segment */
    uint32_t chances[HPXI_SIM_FAULT_COUNT];
} hpxi_sim_config;

typedef struct hpxi_sim_stats {
    uint64_t faults[HPXI_SIM_FAULT_COUNT]; /* that happened */
    uint64_t no_buffers;                   /* receives that ended for want of a slot */
    uint64_t cq_overflows;                 /* completions that did not fit the queue */
    uint64_t completions;
    uint64_t connects; /* that were answered well */
    uint64_t segments;
    uint64_t stale_taken; /* completions of STALE that were taken */
} hpxi_sim_stats;

/* Begin a world: before the engine is made. `trace` NULL: none, else a line for all that happens.
 */
void hpxi_sim_begin(const hpxi_sim_config *config, FILE *trace);

/* End it: after the engine is gone. Returns the number of sockets and doorbells left open. */
uint32_t hpxi_sim_end(void);

/* From here on no fault happens. Streams that are silent stay so. */
void hpxi_sim_calm(void);

uint64_t hpxi_sim_now_ns(void);
uint64_t hpxi_sim_hash(void);
const hpxi_sim_stats *hpxi_sim_get_stats(void);
const char *hpxi_sim_fault_name(hpxi_sim_fault fault);

/* Call `fn` at `when_ns`, from whoever lets time pass: also from inside a shard's sleep, as another
 * thread would. */
void hpxi_sim_at(uint64_t when_ns, void (*fn)(void *ctx), void *ctx);

/* Called while a thread would block on a doorbell: it is to turn the shards. */
void hpxi_sim_set_turn(void (*turn)(void *ctx), void *ctx);

/* Called when a thread of the application has read the clock: there it may lose the processor for
 * as long as `preempt` lets others go on. */
void hpxi_sim_set_preempt(void (*preempt)(void *ctx), void *ctx);

/* Something the test did or saw: joins the hash and the trace. */
void hpxi_sim_note(const char *what, uint64_t a, uint64_t b);

/* Is the descriptor of a port or shard (a doorbell) readable? */
bool hpxi_sim_is_readable(int fd);

/* Sockets (not doorbells) open now. */
uint32_t hpxi_sim_socket_count(void);

/* For how long the one of them has been open that was read to its end first. */
uint64_t hpxi_sim_longest_end_ns(void);

/* Does a stream with this local port have an open descriptor? */
bool hpxi_sim_port_is_open(uint16_t port);

/* ---- Chance ---------------------------------------------------------------------------------- */

typedef struct hpxi_sim_random {
    uint64_t state;
} hpxi_sim_random;

/* SplitMix64. */
static inline uint64_t hpxi_sim_next(hpxi_sim_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* 0..bound-1; 0 when bound is 0. */
static inline uint64_t hpxi_sim_below(hpxi_sim_random *random, uint64_t bound)
{
    return bound == 0 ? 0 : hpxi_sim_next(random) % bound;
}

/* low..high, both included. */
static inline uint64_t hpxi_sim_between(hpxi_sim_random *random, uint64_t low, uint64_t high)
{
    return low + hpxi_sim_below(random, high - low + 1);
}

/* `chance` out of HPXI_SIM_CERTAIN. */
static inline bool hpxi_sim_happens(hpxi_sim_random *random, uint32_t chance)
{
    return hpxi_sim_below(random, HPXI_SIM_CERTAIN) < chance;
}

#endif /* HPXI_SIM_H */

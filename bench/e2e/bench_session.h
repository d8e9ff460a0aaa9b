/* SPDX-License-Identifier: Apache-2.0 */
/* bench_session.h - a session and its venue, in C for the C++ harness. */
#ifndef HPX_BENCH_SESSION_H
#define HPX_BENCH_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* From where requests are made. */
typedef enum session_way {
    SESSION_INLINE,    /* handlers on the shard's thread, which the benchmark's thread is */
    SESSION_PORT,      /* a thread that spins on its port; the shard has a thread of its own */
    SESSION_PORT_WAIT, /* the same with hpx_handle_request_wait(), which sleeps; so does the shard
                        */
    SESSION_PORT_SAME, /* a port on the thread that turns the shard: no second CPU has a part in it
                        */
} session_way;

typedef struct session_setup {
    session_way way;
    uint16_t raw_peer; /* port of a PEER_WS_ECHO; 0: the venue, an hpx listener on the same shard */
    bool tls;          /* with the venue only */
    uint32_t tickets;  /* that its server gives, to resume TLS sessions with */
    uint32_t topics;   /* held by one subscription */
} session_setup;

typedef struct session session;

/* Pins the calling thread (CPU 1 for INLINE and PORT_SAME, else 0: the shard gets the other one),
 * connects and waits until all is Ready. Failures end the program. */
session *session_open(const session_setup *setup);
void session_close(session *s);

/* Requests one after the other; each one's nanoseconds, from the call to its reply, in samples. */
void session_ask(session *s, uint32_t count, uint64_t *samples);

typedef struct session_counts {
    uint64_t done;
    uint64_t wall_ns;
    uint64_t cpu_ns;      /* of this thread */
    uint64_t allocations; /* of the engine's allocator, which all of the library's are */
} session_counts;

/* `count` requests, of which `window` are under way at a time. */
void session_flood(session *s, uint32_t count, uint32_t window, session_counts *out);

typedef struct session_fan_out {
    uint64_t updates;
    uint64_t shard_ns; /* CPU time of the shard: received, classified, routed to all subscribers */
    uint64_t read_ns;  /* ... and of the readers: taken by all of them */
    uint64_t allocations;
} session_fan_out;

/* PORT_SAME and INLINE: one more subscriber of the topic that is published. */
void session_subscribe(session *s);

/* PORT_SAME and INLINE: `rounds` batches of updates of one topic. */
void session_publish(session *s, uint32_t rounds, session_fan_out *out);

/* INLINE: the venue drops the connection. `samples`: until it is Ready again, with the backoff of
 * 1 ns, which is one tick of the timer wheel (65 us) at most; `attempts`: of that, from the start
 * of the attempt, as hpx_conn_info says. */
void session_lose(session *s, uint32_t count, uint64_t *samples, uint64_t *attempts);

/* INLINE: did the last connection resume a TLS session? */
bool session_is_resumed(const session *s);

#ifdef __cplusplus
}
#endif

#endif /* HPX_BENCH_SESSION_H */

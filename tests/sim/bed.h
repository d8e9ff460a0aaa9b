/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bed.h - one run of the whole engine on the simulated network, from one seed.
 *
 * Role      plan.c draws everything from the seed: the network's faults, the engine's sizes, what
 *           users and venue do. venue.c is the peer, on the engine's own server role. user.c and
 *           user_inline.c are the application. The checkers are separate and only look:
 *           ledger.c (requests and sends: P3, P4, P5), feeds.c (subscriptions and updates: P6,
 * P10), life.c (lifecycle: P9, P11; connections: P2). run.c drives, and checks that everything
 *           comes back: liveness, then sockets, memory, timers and slots.
 * Threads   One. What a user does on a port may happen while the shard sleeps or is in the middle
 *           of a turn, as from another thread; the rest happens between turns, or in handlers.
 */
#ifndef HPX_TESTS_SIM_BED_H
#define HPX_TESTS_SIM_BED_H

#include <hpx/hpx.h>

#include "ring/sim.h"
#include "tests/engine/session_bed.h" /* the dialect */
#include "tests/support/failing_allocator.h"

#define TOPICS      24u
#define TOPICS_ALL  ((1u << TOPICS) - 1)
#define OWNERS_MAX  16u
#define HANDLES_MAX 3u
#define FEEDS_MAX   256u
#define PEERS_MAX   8192u
#define PORTS       2u

/* ---- The plan -------------------------------------------------------------------------------- */

/* What the venue does wrong, each a chance out of HPXI_SIM_CERTAIN. */
#define VENUE_FAULTS(X)                                                                            \
    X(REFUSE_UPGRADE)                                                                              \
    X(REFUSE_AUTH)                                                                                 \
    X(STALL_AUTH)                                                                                  \
    X(REFUSE_TOPIC)                                                                                \
    X(REFUSE_BATCH)                                                                                \
    X(STALL_BATCH)                                                                                 \
    X(LATE_BATCH)                                                                                  \
    X(TWICE_BATCH)                                                                                 \
    X(LATE_ANSWER)                                                                                 \
    X(TWICE_ANSWER)                                                                                \
    X(NO_ANSWER)                                                                                   \
    X(ERROR_ANSWER)                                                                                \
    X(FOREIGN_ANSWER)                                                                              \
    X(STALE_ANSWER)                                                                                \
    X(SILENT_PING)                                                                                 \
    X(DROP)                                                                                        \
    X(CLOSE)                                                                                       \
    X(BYE)                                                                                         \
    X(HEARTBEAT)                                                                                   \
    X(CHATTER)                                                                                     \
    X(BURST)

typedef enum venue_fault {
#define VENUE_FAULT_ENUM(name) VENUE_##name,
    VENUE_FAULTS(VENUE_FAULT_ENUM)
#undef VENUE_FAULT_ENUM
        VENUE_FAULT_COUNT
} venue_fault;

typedef struct plan {
    uint64_t seed;
    hpxi_sim_config network;

    /* The engine. */
    hpx_wait_mode wait_mode;
    uint32_t sq_entries, cq_entries, slot_count, slot_bytes;

    /* Connections. */
    bool auth;
    bool hot;
    hpx_heartbeat heartbeat;
    uint64_t ping_ns, pong_ns, idle_ns, request_ns, connect_ns, backoff_ns, backoff_max_ns;
    uint32_t requests_max, topics_per_message;
    double messages_per_second;
    uint32_t send_queue_bytes;

    /* Users and venue. */
    uint64_t chaos_ns;
    uint64_t action_ns, drain_ns, venue_ns; /* mean gaps */
    bool fd_mode; /* takes from a port only when its descriptor is readable */
    bool gentle;  /* the network loses nothing: what times out has another cause */
    bool abrupt;  /* the shard is stopped in the middle of it */
    bool wants_inline;
    uint32_t owners;
    uint32_t addresses; /* of the venue's name, to be raced; 0: it is dialled by number */
    uint32_t venue[VENUE_FAULT_COUNT];
} plan;

void plan_make(plan *p, uint64_t seed);
void plan_print(const plan *p, FILE *to);

/* ---- What there is --------------------------------------------------------------------------- */

typedef struct bed bed;

/* What a connection has brought of one handle. */
typedef struct heard {
    uint32_t handle;
    uint32_t serial; /* last */
    uint32_t sends;
} heard;

#define HEARD_MAX 32u

/* A connection at the venue, kept after its end. */
typedef struct peer {
    bed *bed;
    hpx_conn *conn;  /* NULL: over */
    uint32_t serial; /* 1, 2, ... in the order of their upgrades */
    uint32_t owner;
    uint16_t port; /* the client's */
    bool authed;
    bool disconnected;
    uint32_t topics; /* subscribed now; a bit each */
    uint64_t epoch;  /* that its requests and sends were made in; 0: none came */
    uint8_t *log;    /* topics of the updates sent, in order */
    uint32_t log_count, log_capacity;
    uint32_t sequence[TOPICS];
    heard heard[HEARD_MAX];
    uint32_t heard_count;
} peer;

typedef struct owner {
    bed *bed;
    uint32_t id;
    bool used, is_inline, reconnects;
    hpx_handle *handles[HANDLES_MAX];
    uint32_t handle_ids[HANDLES_MAX]; /* for the ledger */
    hpx_stream *stream;
    hpx_conn *conn; /* inline */
    toy_dialect dialect;
    hpx_protocol protocol;
    char addresses[96];
    const char *resolve[1];
    bool leaving; /* close, release or abort was asked for */

    /* The lifecycle seen (life.c). */
    bool connected, closed;
    uint64_t epoch;
    uint32_t connects;
    uint32_t open_inline; /* inline requests without their outcome */
} owner;

/* A subscription and what it has shown. */
typedef struct feed {
    hpx_subscription *sub; /* NULL: released, or ended inline */
    uint32_t id, owner;
    uint32_t born; /* connections at the venue before it */
    bool is_inline;
    bool unsubscribed, ended;
    hpx_overflow overflow;
    uint32_t topics; /* held: less those refused */
    uint32_t count;
    uint8_t names[TOPICS]; /* topic of each index */
    bool had_epoch;        /* was there when an earlier connection ended */
    bool interrupted;      /* since the last message */
    bool based;            /* `next` is known */
    uint32_t peer;         /* of the last message */
    uint32_t next;         /* in that peer's log */
    uint64_t missed;       /* told by marks since the last message */
    uint64_t epoch;
    uint32_t sequence[TOPICS]; /* last seen; CONFLATE */
} feed;

/* A request or a send. Its serial, from 1, is in its text. */
typedef struct ask {
    uint32_t owner, handle;
    bool is_send, is_inline;
    bool accepted, forgotten, cancelled, answered, preempted;
    uint64_t epoch, issued_ns, timeout_ns, token;
    uint32_t order; /* of the sends of its handle and epoch */
    uint32_t outcomes, wire;
} ask;

struct bed {
    plan plan;
    hpxi_sim_random user_random, venue_random;
    failing_allocator memory;
    hpx_engine *engine;
    hpx_shard *shard;
    hpx_port *ports[PORTS];
    hpx_listener *listener;
    uint16_t port;
    bool calm;      /* nothing goes wrong any more, nobody acts */
    bool stopped;   /* no user acts */
    bool slow;      /* the user's thread may lose the processor inside a call ... */
    bool preempted; /* ... and has: it does nothing else meanwhile */
    bool quiet;     /* the venue says nothing by itself */
    owner owners[OWNERS_MAX];
    feed feeds[FEEDS_MAX];
    uint32_t feed_count;
    peer *peers[PEERS_MAX];
    uint32_t peer_count;
    ask *asks;
    uint32_t ask_count, ask_capacity;
    uint32_t open; /* accepted requests without outcome */
    uint32_t handle_next;
    uint32_t *sends; /* by handle id: sends accepted in `send_epoch` */
    uint64_t *send_epoch;

    struct later *ready_first, *ready_last; /* to be run between turns */
    uint32_t later_count;
    uint64_t updates, replies, actions; /* that were checked */
    uint64_t venue_faults[VENUE_FAULT_COUNT];
};

#define HANDLE_IDS_MAX 4096u

/* What a run found, for the summary. */
typedef struct run_result {
    uint64_t hash, updates, replies, actions, connects, sim_ns;
    hpxi_sim_stats network;
    uint64_t venue_faults[VENUE_FAULT_COUNT];
} run_result;

/* One seed from begin to end. A failed check does not return. */
void run_seed(uint64_t seed, FILE *trace, run_result *out);

/* A check failed: says so with the seed, its plan and how to see it again; ends the process. */
_Noreturn void bed_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            bed_fail(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

/* Call `fn` after `delay_ns`: between two turns, or from wherever time passes. */
void bed_later(
    bed *b, uint64_t delay_ns, void (*fn)(bed *b, uint32_t a, uint32_t c), uint32_t a, uint32_t c);
void bed_preempt(void *ctx);
void bed_anywhere(
    bed *b, uint64_t delay_ns, void (*fn)(bed *b, uint32_t a, uint32_t c), uint32_t a, uint32_t c);

/* Exponential-like gap around a mean. */
uint64_t bed_gap(hpxi_sim_random *random, uint64_t mean_ns);

static inline bool user_chance(bed *b, uint32_t percent)
{
    return hpxi_sim_below(&b->user_random, 100) < percent;
}

/* Takes the next word off the front. */
hpx_span bed_word(hpx_span *text);
bool bed_is(hpx_span word, const char *text);
uint64_t bed_number(hpx_span word); /* asserted to be one */

/* ---- Venue ----------------------------------------------------------------------------------- */

void venue_start(bed *b);
void venue_event(hpx_conn *conn, const hpx_event *event, void *user);
hpx_upgrade_answer venue_upgrade(const hpx_upgrade_request *request, void *user);
void venue_tick(bed *b, uint32_t a, uint32_t c);
void venue_publish(bed *b, peer *p, uint32_t topic, uint32_t padding);
peer *venue_newest(bed *b, uint32_t owner_id); /* whose connection is not over; or NULL */
void venue_end(bed *b);                        /* closes every connection that is left */

/* ---- Users ----------------------------------------------------------------------------------- */

void user_start(bed *b);
void user_drain_all(bed *b);
void user_release_all(bed *b);
hpx_ws_config user_config(bed *b, owner *o, char *url, size_t url_bytes);
void user_fill_topics(bed *b, feed *f, hpx_span *names, char text[][8]);
feed *user_feed_new(bed *b, owner *o);

void inline_connect(bed *b, uint32_t owner_id, uint32_t unused);
void inline_act(bed *b, uint32_t owner_id, uint32_t unused);

/* ---- Checkers -------------------------------------------------------------------------------- */

/* A new request or send; its text goes into `text`. Then accepted or refused. */
uint32_t ledger_open(bed *b, owner *o, uint32_t handle, bool is_send, uint64_t epoch);
void ledger_accepted(bed *b, uint32_t serial, uint64_t timeout_ns, uint64_t token);
void ledger_on_wire(bed *b, peer *p, uint32_t serial, bool is_send);
void ledger_answered(bed *b, peer *p, uint32_t serial);
void ledger_on_reply(bed *b, owner *o, const hpx_reply *reply);
void ledger_forget(bed *b, uint32_t handle); /* a handle was released: its requests are forgotten */
uint32_t ledger_pick_open(bed *b, uint32_t handle); /* a serial, or 0 */
void ledger_finish(bed *b);

void feed_on_update(bed *b, feed *f, const hpx_update *update);
/* Topics wanted; by those that were there before the connection `peer_serial`. */
uint32_t feeds_held(bed *b, uint32_t owner_id);
uint32_t feeds_held_before(bed *b, uint32_t owner_id, uint32_t peer_serial);
void feeds_check_final(bed *b);

void life_on_event(bed *b, owner *o, const hpx_event *event);
void life_on_peer(bed *b, const peer *p); /* a client was upgraded */
void life_check_ends(void);               /* streams that ended are closed soon */

#endif /* HPX_TESTS_SIM_BED_H */

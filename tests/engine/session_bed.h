/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_bed.h - a venue with a dialect of the tests' own, for tests of sessions.
 *
 * Role      The dialect is lines of words, so that these tests stand without JSON, and show that a
 *           table of functions is all that a dialect needs:
 *               auth ID SECRET | sub ID T... | unsub ID T... | req ID TEXT | ping ID | pong ID
 *               res ID ok [T...] | res ID err REASON | upd TOPIC TEXT | sys TEXT | hb | bye REASON
 *           The venue is the engine's server role on the same polled shard: one thread, so every
 *           order of things is the test's. It misbehaves where it is told, and counts.
 * Threads   The test's.
 */
#ifndef HPX_TESTS_SESSION_BED_H
#define HPX_TESTS_SESSION_BED_H

#include <hpx/hpx.h>

#define VENUE_CLIENTS_MAX 8u
#define VENUE_TOPICS_MAX  1024u
#define VENUE_HELD_MAX    64u

/* A request whose answer the venue keeps back. */
typedef struct venue_kept {
    char id[32];
    uint32_t client; /* serial of the connection that it came on */
} venue_kept;

typedef struct venue_client {
    hpx_conn *conn;
    uint32_t serial;
    bool authenticated;
    uint32_t topic_count;
    char topics[VENUE_TOPICS_MAX][32];
} venue_client;

typedef struct venue {
    hpx_listener *listener;
    uint16_t port;
    venue_client clients[VENUE_CLIENTS_MAX];

    /* How to behave. */
    bool require_auth;
    bool refuse_auth;
    bool stall_auth;
    bool stall_subscribe;
    bool keep_requests; /* answer them when venue_answer() says so */
    bool answer_twice;
    bool silent_pings;
    const char *refuse_topic; /* or NULL */
    bool greets;              /* "sys welcome" as soon as connected */
    bool may_lack_memory;     /* what it cannot send is lost */

    /* What happened. */
    uint32_t connects; /* serial of the newest connection */
    uint32_t alive, alive_max;
    uint32_t auths;
    uint32_t early; /* messages before authentication */
    uint32_t subscribe_messages, subscribe_topics;
    uint32_t unsubscribe_messages, unsubscribe_topics;
    uint32_t twice; /* subscribed though it was, or unsubscribed though it was not */
    uint32_t requests, pings, pongs, sends;
    char last_request[256];
    venue_kept kept[VENUE_HELD_MAX];
    uint32_t kept_count;
} venue;

typedef struct session_bed {
    hpx_engine *engine;
    hpx_shard *shard;
    hpx_port *port;
    venue venue;
    char url[64];
    hpx_error error;
} session_bed;

/* The dialect. `secret` NULL: no authentication. `acknowledges`: the venue answers batches. */
typedef struct toy_dialect {
    const char *secret;
    bool greets; /* says "req ID hello" first */
    uint32_t classified;
} toy_dialect;

hpx_protocol toy_protocol(toy_dialect *dialect);

void session_bed_open(session_bed *bed);

/* ... with settings for the engine (its mode is set here); `config` is copied. */
void session_bed_open_with(session_bed *bed, const hpx_engine_config *config);

/* ... and false, with nothing left behind, if that fails (for want of memory, say): `error`. */
bool session_bed_try_open(session_bed *bed, const hpx_engine_config *config);
void session_bed_close(session_bed *bed);

/* A config for the venue: reconnects, quick backoff without jitter. `protocol` is borrowed. */
hpx_ws_config session_bed_config(session_bed *bed, const hpx_protocol *protocol);

/* Turns of the shard for `ns`, or until *flag is at least `least` (then asserted). */
void session_bed_run(session_bed *bed, uint64_t ns);
void session_bed_until(session_bed *bed, const uint32_t *count, uint32_t least);

/* Turns until the handle is in the state. */
void session_bed_until_state(session_bed *bed, const hpx_handle *handle, hpx_conn_state state);

/* The one connection that is open at the venue (asserted). */
venue_client *venue_only(venue *venue);
bool venue_has(const venue_client *client, const char *topic);

/* Say something on the newest connection. */
void venue_say(venue *venue, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Answer a request that was kept back: "res ID ok TEXT"; on the newest connection. */
void venue_answer(venue *venue, uint32_t kept, const char *text);

/* Drop all connections at once, without a word. */
void venue_drop(venue *venue);

#endif /* HPX_TESTS_SESSION_BED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.c - the exchange simulator: publishes the market to its sessions.
 *
 * A turn publishes the updates that are due, in bounded batches, then turns the shard once. The
 * market moves whether or not somebody listens, so that sequence numbers show every gap. A client
 * whose send queue is full misses updates (counted; it sees a gap in `seq`), and is closed with
 * 1008 after EXCHANGE_SKIPPED_MAX in a row, or when a reply cannot be queued.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exchange_internal.h"

#define EXCHANGE_BATCH_MAX         256u /* updates between two turns of the shard */
#define EXCHANGE_BEHIND_NS         (100 * HPX_NS_PER_MS) /* further behind: give updates up */
#define EXCHANGE_SPIN_NS           (20 * HPX_NS_PER_US)  /* due sooner than this: do not sleep */
#define EXCHANGE_TIMED_TURN_NS     (5 * HPX_NS_PER_MS)
#define EXCHANGE_REQUEST_BYTES_MAX (UINT64_C(256) << 10)
#define EXCHANGE_SPIN_RATE         50000u
#define EXCHANGE_CLOSE_NS          HPX_NS_PER_S
#define EXCHANGE_CODE_POLICY       1008

static void exchange_join(exchange *ex, hpx_conn *conn)
{
    session *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        hpx_conn_close(conn, 1013, hpx_span_of("out of memory"));
        return;
    }
    s->conn = conn;
    s->id = ++ex->session_last;
    ex->observed.connections++;
    s->started_ns = hpx_clock_now_ns();
    s->next = ex->sessions;
    if (s->next != NULL) {
        s->next->previous = s;
    }
    ex->sessions = s;
    ex->stats.sessions++;
    hpx_conn_set_user(conn, s);
}

static void exchange_leave(exchange *ex, session *s)
{
    assert(ex->stats.sessions > 0);
    session_leave(s, &ex->shared);
    if (s->next != NULL) {
        s->next->previous = s->previous;
    }
    if (s->previous != NULL) {
        s->previous->next = s->next;
    } else {
        ex->sessions = s->next;
    }
    ex->stats.sessions--;
    free(s);
}

void exchange_drop_slow(exchange *ex, session *s, const char *why)
{
    ex->stats.closed_slow++;
    hpx_conn_close(s->conn, EXCHANGE_CODE_POLICY, hpx_span_of(why));
}

/* The listener's user pointer is the exchange; a connection's becomes its session. Hence one
 * exchange per thread. */
static _Thread_local exchange *exchange_of_thread;

static void exchange_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    exchange *ex = exchange_of_thread;
    assert(ex != NULL);
    session *s = user == ex ? NULL : user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        exchange_join(ex, conn);
        break;
    case HPX_EVENT_MESSAGE:
        if (s != NULL) {
            exchange_serve(ex, s, event->payload);
        }
        break;
    case HPX_EVENT_WRITABLE:
        if (s != NULL) {
            s->skipped_in_row = 0;
        }
        break;
    case HPX_EVENT_CLOSED:
        if (s != NULL) {
            hpx_conn_set_user(conn, ex);
            exchange_leave(ex, s);
        }
        break;
    case HPX_EVENT_DISCONNECTED:
        break;
    }
}

void exchange_send_update(exchange *ex, session *s, hpx_span update)
{
    const hpx_status status = hpx_conn_send(s->conn, HPX_MESSAGE_TEXT, update);
    if (status == HPX_OK) {
        ex->stats.queued++;
    } else if (status == HPX_E_AGAIN) {
        ex->stats.skipped++;
        s->skipped_in_row++;
        if (s->skipped_in_row == EXCHANGE_SKIPPED_MAX) {
            exchange_drop_slow(ex, s, "too slow to read updates");
        }
    }
}

void exchange_deliver(exchange *ex, uint32_t topic, hpx_span update)
{
    for (session *s = ex->sessions; s != NULL; s = s->next) {
        if (session_has(s, topic)) {
            exchange_send_update(ex, s, update);
        }
    }
}

static void exchange_publish(exchange *ex)
{
    const market_update update = market_step(&ex->market);
    ex->stats.published++;
    if (ex->shared.subscribers[update.topic] == 0) {
        return;
    }
    const size_t size = market_format(&ex->market, &update, hpx_clock_now_ns(), ex->update);
    const hpx_span payload = {(const uint8_t *)ex->update, size};
    if (ex->updates_are_faulty) {
        exchange_misdeliver(ex, update.topic, payload);
        return;
    }
    exchange_deliver(ex, update.topic, payload);
}

/* When update number `scheduled` is due. In parts, so that n * 10^9 cannot overflow. */
static uint64_t exchange_due_ns(const exchange *ex)
{
    assert(ex->rate > 0);
    const uint64_t seconds = ex->scheduled / ex->rate;
    const uint64_t remainder = ex->scheduled % ex->rate;
    return ex->start_ns + seconds * HPX_NS_PER_S + remainder * HPX_NS_PER_S / ex->rate;
}

/* Publish what is due. Returns the time until the next one: 0 if the batch was full. */
static uint64_t exchange_publish_due(exchange *ex)
{
    if (ex->rate == 0) {
        return UINT64_MAX;
    }
    const uint64_t now_ns = hpx_clock_now_ns();
    const uint64_t due_ns = exchange_due_ns(ex);
    if (due_ns > now_ns) {
        return due_ns - now_ns;
    }
    const uint64_t behind_ns = now_ns - due_ns;
    uint64_t count = 1 + (uint64_t)((double)behind_ns * (double)ex->rate / (double)HPX_NS_PER_S);
    if (behind_ns > EXCHANGE_BEHIND_NS) {
        ex->stats.late += count; /* a stall is not made good by a burst */
        ex->scheduled += count;
        return 0;
    }
    count = count < EXCHANGE_BATCH_MAX ? count : EXCHANGE_BATCH_MAX;
    for (uint64_t i = 0; i < count; i++) {
        exchange_publish(ex);
    }
    ex->scheduled += count;
    return 0;
}

/* What is due by the clock: heartbeats, and faults. */
static void exchange_timed(exchange *ex)
{
    const uint64_t now_ns = hpx_clock_now_ns();
    if (now_ns < ex->timed_look_ns) {
        return;
    }
    ex->timed_look_ns = now_ns + EXCHANGE_TIMED_TURN_NS;
    ex->timed_count = exchange_misbehave(ex, now_ns);
    for (session *s = ex->sessions; s != NULL; s = s->next) {
        ex->timed_count += s->heartbeat_ns != 0;
        switch (session_heartbeat(s, now_ns)) {
        case SESSION_BEAT_ASK:
            if (!exchange_is_mute(ex, s) &&
                hpx_conn_send(s->conn, HPX_MESSAGE_TEXT, hpx_span_of(session_test_request)) ==
                    HPX_E_AGAIN) {
                exchange_drop_slow(ex, s, "too slow to read heartbeats");
            }
            break;
        case SESSION_BEAT_EXPIRED:
            hpx_conn_close(s->conn, EXCHANGE_CODE_POLICY, hpx_span_of("no public/test came"));
            break;
        case SESSION_BEAT_NONE:
            break;
        }
    }
}

void exchange_turn(exchange *ex, uint64_t wait_ns)
{
    exchange_of_thread = ex;
    const uint64_t next_ns = exchange_publish_due(ex);
    exchange_timed(ex);
    uint64_t limit_ns = next_ns < wait_ns ? next_ns : wait_ns;
    if (ex->timed_count > 0 && limit_ns > EXCHANGE_TIMED_TURN_NS) {
        limit_ns = EXCHANGE_TIMED_TURN_NS;
    }
    if (ex->rest != NULL) {
        const uint64_t rest_ns = rest_turn(ex->rest, hpx_clock_now_ns());
        limit_ns = rest_ns < limit_ns ? rest_ns : limit_ns;
    }
    if (limit_ns < EXCHANGE_SPIN_NS) {
        hpx_shard_poll(ex->engine.shard);
    } else {
        hpx_shard_poll_wait(ex->engine.shard, limit_ns);
    }
}

static hpx_upgrade_answer exchange_on_upgrade(const hpx_upgrade_request *request, void *user)
{
    (void)request;
    exchange *ex = user;
    const hpx_upgrade_answer answer = faults_for_upgrade(&ex->faults);
    ex->observed.refused += answer.http_status != 101;
    return answer;
}

static hpx_status exchange_listen(exchange *ex, const exchange_config *config, hpx_error *error)
{
    hpx_tls_context *tls = NULL;
    if (config->cert_file != NULL) {
        hpx_tls_config tls_config = HPX_TLS_CONFIG_INIT;
        tls_config.ticket_count = 2; /* clients that come back resume */
        tls_config.cert_file = config->cert_file;
        tls_config.key_file = config->key_file;
        const hpx_status loaded = hpx_tls_server_context_new(&tls, &tls_config, error);
        if (loaded != HPX_OK) {
            return loaded;
        }
    }
    hpx_listen_config listen_config = HPX_LISTEN_CONFIG_INIT;
    listen_config.address = config->listen;
    listen_config.tls = tls;
    listen_config.on_event = exchange_on_event;
    listen_config.on_upgrade = exchange_on_upgrade;
    listen_config.user = ex;
    listen_config.message_bytes_max = EXCHANGE_REQUEST_BYTES_MAX;
    listen_config.send_queue_bytes_max = EXCHANGE_QUEUE_BYTES;
    hpx_status status =
        polled_listen(&ex->engine, &listen_config, ex->address, sizeof(ex->address), error);
    if (status == HPX_OK && config->rest != NULL) {
        const rest_config rest_side = {
            .listen = config->rest, .tls = tls, .market = &ex->market, .limit = config->rest_limit};
        status = rest_open(
            &ex->rest,
            ex->engine.shard,
            &rest_side,
            ex->rest_address,
            sizeof(ex->rest_address),
            error);
    }
    hpx_tls_context_release(tls); /* the listener holds its own reference */
    return status;
}

static hpx_wait_mode exchange_wait_mode(const exchange_config *config)
{
    if (config->cpu != POLLED_CPU_NONE) {
        return HPX_WAIT_SPIN; /* a core was given: use it */
    }
    return config->rate > EXCHANGE_SPIN_RATE ? HPX_WAIT_SPIN_THEN_SLEEP : HPX_WAIT_SLEEP;
}

/* All but the engine. NULL, or what is wrong. */
static const char *exchange_init(exchange *ex, const exchange_config *config)
{
    const char *why = NULL;
    if (!market_init(&ex->market, config->symbols, config->seed, &why)) {
        return why;
    }
    faults_init(&ex->faults);
    for (uint32_t i = 0; i < config->fault_count && why == NULL; i++) {
        why = faults_take_text(&ex->faults, config->faults[i]);
    }
    if (why == NULL && config->takes_faults && !observed_open(&ex->observed)) {
        why = "out of memory";
    }
    ex->takes_faults = config->takes_faults;
    ex->updates_are_faulty = ex->faults.duplicate_every != 0 || ex->faults.reorder_every != 0;
    ex->shared.market = &ex->market;
    ex->shared.faults = &ex->faults;
    ex->shared.observed = &ex->observed;
    ex->shared.require_auth = config->requires_auth;
    ex->rate = config->rate;
    return why;
}

hpx_status exchange_new(exchange **out, const exchange_config *config, hpx_error *error)
{
    *out = NULL;
    exchange *ex = calloc(1, sizeof(*ex));
    const char *why = ex == NULL ? "out of memory" : exchange_init(ex, config);
    if (why != NULL) {
        *error = (hpx_error){
            .status = ex == NULL ? HPX_E_NO_MEMORY : HPX_E_INVALID, .stage = HPX_STAGE_CONFIG};
        snprintf(error->detail, sizeof(error->detail), "exchange: %s", why);
        free(ex);
        return error->status;
    }
    exchange_of_thread = ex;
    const polled_config engine_config = {
        .cpu = config->cpu, .wait_mode = exchange_wait_mode(config)};
    hpx_status status = polled_open(&ex->engine, &engine_config, error);
    if (status == HPX_OK) {
        status = exchange_listen(ex, config, error);
    }
    if (status != HPX_OK) {
        exchange_free(ex);
        return status;
    }
    ex->start_ns = hpx_clock_now_ns();
    *out = ex;
    return HPX_OK;
}

void exchange_free(exchange *ex)
{
    if (ex == NULL) {
        return;
    }
    exchange_of_thread = ex;
    for (session *s = ex->sessions; s != NULL; s = s->next) {
        hpx_conn_close(s->conn, 1001, hpx_span_of("the exchange is closing"));
    }
    polled_close(&ex->engine, EXCHANGE_CLOSE_NS);
    assert(ex->sessions == NULL); /* every connection got its Closed event */
    rest_free(ex->rest);
    exchange_of_thread = NULL;
    exchange_forget_late(ex);
    observed_close(&ex->observed);
    free(ex);
}

const char *exchange_address(const exchange *ex)
{
    return ex->address;
}

const char *exchange_rest_address(const exchange *ex)
{
    return ex->rest_address;
}

uint16_t exchange_port(const exchange *ex)
{
    const char *colon = strrchr(ex->address, ':');
    assert(colon != NULL); /* polled_listen() wrote it */
    return (uint16_t)strtoul(colon + 1, NULL, 10);
}

hpx_shard *exchange_shard(const exchange *ex)
{
    return ex->engine.shard;
}

exchange_stats exchange_get_stats(const exchange *ex)
{
    exchange_stats stats = ex->stats;
    stats.rest = ex->rest == NULL ? 0 : ex->rest->requests;
    return stats;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shard.c - the turn of a shard, and how it comes up and goes down.
 *
 * A turn    control commands -> data commands (budget) -> their sends -> hot receives -> one enter
 *           if needed -> completions (budget) -> timers -> resolver -> sends -> owed events ->
 *           publish.
 * Threads   The shard's.
 */
#include "engine/shard.h"

#include <stdio.h>
#include <string.h>

#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/error.h"
#include "engine/http_server.h"

/* Budgets of one turn: a flood in one place cannot keep the others waiting for long. */
#define TURN_COMPLETIONS_MAX 256u
#define TURN_RECEIVE_MAX     (256u << 10) /* bytes; for hot sockets: of each */
#define TURN_TIMERS_MAX      256u

/* Hot sockets share one buffer; one recv() takes at most this much. */
#define SHARD_HOT_BYTES (256u << 10)

#define SHARD_POLL_IN 0x001u /* POLLIN: the doorbell */

/* How long hpxi_shard_down() waits for cancelled operations. */
#define SHARD_REAP_NS (2 * HPX_NS_PER_S)

hpx_status hpxi_shard_init(hpx_shard *shard, hpx_engine *engine, uint32_t index)
{
    shard->engine = engine;
    shard->index = index;
    shard->allocator = &engine->memory.counting;
    shard->owner.phase = HPXI_SHARD_DOWN;
    return hpxi_doorbell_init(&shard->doorbell);
}

void hpxi_shard_fini(hpx_shard *shard)
{
    HPX_ASSERT(shard->owner.phase == HPXI_SHARD_DOWN);
    for (uint32_t i = 0; i < HPXI_PORTS_MAX; i++) {
        hpxi_link *link = atomic_load_explicit(&shard->shared.links[i], memory_order_relaxed);
        if (link != NULL) { /* the shard never came back to unlink it */
            hpxi_link_drain(link);
            hpxi_port_core_release(link->port);
        }
    }
    hpxi_http_fini(shard);
    hpxi_doorbell_fini(&shard->doorbell);
}

/* ---- Up -------------------------------------------------------------------------------------- */

static hpx_status shard_make_ring(hpx_shard *shard, hpx_error *error)
{
    const hpx_engine_config *config = &shard->engine->config;
    const hpxi_ring_config ring = {
        .sq_entries = config->sq_entries,
        .cq_entries = config->cq_entries,
        .slot_bytes = config->recv_slot_bytes,
        .slot_count = config->recv_slot_count,
        /* per socket: receive, send, connect, and a cancel of each; the doorbell; the resolver */
        .ops_max = config->connections_max * 6 + 1024,
    };
    hpx_status status =
        hpxi_ring_new(&shard->owner.ring, &ring, &shard->counters, shard->allocator, error);
    if (status != HPX_OK) {
        return status;
    }
    const hpxi_socks_config socks = {
        .capacity = config->connections_max,
        .hot_max = config->hot_connections_max,
        .hot_bytes = SHARD_HOT_BYTES,
    };
    status = hpxi_socks_init(
        &shard->owner.socks, &socks, shard->owner.ring, &shard->counters, shard->allocator);
    if (status != HPX_OK) {
        hpxi_ring_free(shard->owner.ring, SHARD_REAP_NS);
        return hpxi_error_set(
            error, status, HPX_STAGE_CONFIG, "no memory for %u sockets", config->connections_max);
    }
    return HPX_OK;
}

static hpx_status shard_make_parts(hpx_shard *shard, hpx_error *error)
{
    hpx_status status = shard_make_ring(shard, error);
    if (status != HPX_OK) {
        return status;
    }
    const hpx_engine_config *config = &shard->engine->config;
    const hpxi_resolver_config resolver = {
        .servers = config->dns_servers,
        .cache_entries = config->dns_cache_entries,
    };
    status = hpxi_resolver_new(
        &shard->owner.resolver,
        &resolver,
        shard->owner.ring,
        &shard->owner.wheel,
        &shard->owner.now_ns,
        shard->allocator,
        error);
    if (status == HPX_OK) {
        const hpxi_tls_cache_config sessions = {
            .hosts_max = config->tls_session_hosts_max, .now_ns = &shard->owner.now_ns};
        shard->owner.plain = hpxi_alloc(shard->allocator, HPXI_PLAIN_BYTES, HPXI_CACHE_LINE);
        if (shard->owner.plain != NULL &&
            hpxi_tls_cache_new(&shard->owner.tls_sessions, &sessions, shard->allocator) == HPX_OK) {
            return HPX_OK;
        }
        hpxi_free(shard->allocator, shard->owner.plain, HPXI_PLAIN_BYTES);
        status = hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
        hpxi_resolver_free(shard->owner.resolver);
    }
    hpxi_socks_fini(&shard->owner.socks);
    hpxi_ring_free(shard->owner.ring, SHARD_REAP_NS);
    return status;
}

static void shard_arm_doorbell(hpx_shard *shard)
{
    hpxi_ring_poll(
        shard->owner.ring,
        hpxi_token_make(HPXI_OP_DOORBELL, 0, 0),
        shard->doorbell.fd,
        SHARD_POLL_IN);
}

hpx_status hpxi_shard_up(hpx_shard *shard, hpx_error *error)
{
    HPX_ASSERT(shard->owner.phase == HPXI_SHARD_DOWN);
    const hpx_engine *engine = shard->engine;
    if (engine->config.cpu_count != 0) {
        const hpx_status status = hpxi_thread_pin(engine->cpus[shard->index], error);
        if (status != HPX_OK) {
            return status;
        }
    }
    hpxi_clock_init(&shard->owner.clock);
    shard->owner.now_ns = hpxi_clock_now(&shard->owner.clock);
    shard->owner.last_work_ns = shard->owner.now_ns;
    hpxi_wheel_init(&shard->owner.wheel, shard->owner.now_ns);
    hpxi_random_init(&shard->owner.random);
    const hpx_status status = shard_make_parts(shard, error);
    if (status != HPX_OK) {
        return status;
    }
    shard->owner.thread = pthread_self();
    shard->owner.phase = HPXI_SHARD_RUNNING;
    hpxi_http_up(shard);
    atomic_store_explicit(&shard->shared.attached, 1, memory_order_release);
    shard_arm_doorbell(shard);
    if (engine->config.on_shard_start != NULL) {
        engine->config.on_shard_start(shard, engine->config.user);
    }
    return HPX_OK;
}

/* ---- Down ------------------------------------------------------------------------------------ */

void hpxi_shard_stop(hpx_shard *shard, uint64_t timeout_ns)
{
    HPXI_ASSERT_OWNER(shard);
    if (shard->owner.phase != HPXI_SHARD_RUNNING) {
        return;
    }
    shard->owner.phase = HPXI_SHARD_STOPPING;
    shard->owner.now_ns = hpxi_clock_now(&shard->owner.clock);
    shard->owner.stop_deadline_ns =
        timeout_ns > UINT64_MAX / 2 ? UINT64_MAX : shard->owner.now_ns + timeout_ns;
    while (shard->owner.listeners != NULL) {
        hpx_listener_close(shard->owner.listeners);
    }
    hpxi_servers_stop(shard);
    for (hpx_conn *conn = shard->owner.conns; conn != NULL; conn = conn->next) {
        hpxi_conn_close(conn, 1001, (hpx_span){0}); /* only marks: the list does not change */
    }
    hpxi_http_stop(shard);
}

static void shard_stop_step(hpx_shard *shard)
{
    if (shard->owner.phase != HPXI_SHARD_STOPPING ||
        shard->owner.now_ns < shard->owner.stop_deadline_ns) {
        return;
    }
    shard->owner.phase = HPXI_SHARD_ABORTING;
    for (hpx_conn *conn = shard->owner.conns; conn != NULL; conn = conn->next) {
        shard->owner.had_aborts = true;
        hpxi_conn_abort(conn);
    }
    shard->owner.had_aborts |= hpxi_http_abort(shard);
    hpxi_servers_abort(shard);
}

bool hpxi_shard_is_quiet(const hpx_shard *shard)
{
    return shard->owner.conn_count == 0 && shard->owner.socks.open_count == 0 &&
           hpxi_http_is_quiet(shard) && hpxi_servers_are_quiet(shard);
}

void hpxi_shard_down(hpx_shard *shard)
{
    HPXI_ASSERT_OWNER(shard);
    HPX_ASSERT(hpxi_shard_is_quiet(shard));
    HPX_ASSERT(shard->owner.settle_list == NULL);
    (void)hpxi_shard_publish(shard);
    hpxi_http_down(shard);
    hpxi_tls_cache_free(shard->owner.tls_sessions);
    hpxi_resolver_free(shard->owner.resolver);
    hpxi_socks_fini(&shard->owner.socks);
    hpxi_ring_free(shard->owner.ring, SHARD_REAP_NS);
    hpxi_free(shard->allocator, shard->owner.plain, HPXI_PLAIN_BYTES);
    hpxi_random_fini(&shard->owner.random);
    shard->owner.phase = HPXI_SHARD_DOWN;
    atomic_store_explicit(&shard->shared.attached, 0, memory_order_release);
}

/* ---- The turn -------------------------------------------------------------------------------- */

static uint32_t shard_completions(hpx_shard *shard)
{
    hpxi_completion completion;
    uint32_t count = 0;
    uint32_t bytes = 0;
    while (count < TURN_COMPLETIONS_MAX && bytes < TURN_RECEIVE_MAX &&
           hpxi_ring_next(shard->owner.ring, &completion)) {
        if (count++ == 0) {
            shard->owner.now_ns = hpxi_clock_now(&shard->owner.clock); /* when bytes were taken */
        }
        if (HPXI_LIKELY(completion.op == HPXI_OP_RECV)) {
            bytes += completion.result > 0 ? (uint32_t)completion.result : 0;
            hpxi_socks_dispatch(&shard->owner.socks, &completion);
            continue;
        }
        switch (completion.op) {
        case HPXI_OP_ACCEPT:
        case HPXI_OP_CONNECT:
        case HPXI_OP_RECV:
        case HPXI_OP_SEND:
        case HPXI_OP_CANCEL:
            hpxi_socks_dispatch(&shard->owner.socks, &completion);
            break;
        case HPXI_OP_POLL:
            hpxi_resolver_completion(shard->owner.resolver, &completion);
            break;
        case HPXI_OP_DOORBELL:
            hpxi_doorbell_drain(&shard->doorbell);
            if (!completion.more) {
                shard_arm_doorbell(shard);
            }
            break;
        case HPXI_OP_NONE:
            break;
        }
    }
    return count;
}

static uint32_t shard_flush(hpx_shard *shard)
{
    hpx_conn *conn = shard->owner.dirty_list;
    shard->owner.dirty_list = NULL;
    while (conn != NULL) {
        hpx_conn *next = conn->next_dirty;
        conn->on_dirty = false;
        conn->next_dirty = NULL;
        hpxi_conn_flush(conn);
        conn = next;
    }
    hpxi_http_flush(shard);
    (void)hpxi_servers_flush(shard);
    return hpxi_socks_flush(&shard->owner.socks);
}

static uint32_t shard_settle(hpx_shard *shard)
{
    uint32_t count = hpxi_socks_settle(&shard->owner.socks);
    hpx_conn *conn = shard->owner.settle_list;
    shard->owner.settle_list = NULL;
    while (conn != NULL) {
        hpx_conn *next = conn->next_settle;
        conn->on_settle = false;
        conn->next_settle = NULL;
        hpxi_conn_settle(conn); /* may free it, never another */
        conn = next;
        count++;
    }
    return count + hpxi_servers_settle(shard);
}

/* May the shard sleep now? Not while anything waits for a later turn, nor with hot sockets (nothing
 * would wake it). */
static bool shard_may_sleep(const hpx_shard *shard, uint64_t timeout_ns)
{
    const hpx_engine_config *config = &shard->engine->config;
    if (shard->owner.phase != HPXI_SHARD_RUNNING && hpxi_shard_is_quiet(shard)) {
        return false; /* stopped: nothing would wake it */
    }
    if (timeout_ns == 0 || config->wait_mode == HPX_WAIT_SPIN || shard->owner.dirty_list != NULL ||
        shard->owner.settle_list != NULL || !hpxi_socks_may_sleep(&shard->owner.socks) ||
        !hpxi_http_may_sleep(shard) || !hpxi_servers_may_sleep(shard)) {
        return false;
    }
    return config->wait_mode == HPX_WAIT_SLEEP ||
           shard->owner.now_ns - shard->owner.last_work_ns >= config->spin_ns;
}

static uint64_t shard_sleep_ns(const hpx_shard *shard, uint64_t timeout_ns)
{
    uint64_t until = hpxi_wheel_next(&shard->owner.wheel);
    if (shard->owner.phase == HPXI_SHARD_STOPPING && shard->owner.stop_deadline_ns < until) {
        until = shard->owner.stop_deadline_ns;
    }
    const uint64_t now = shard->owner.now_ns;
    const uint64_t next = until <= now ? 0 : until - now;
    return next < timeout_ns ? next : timeout_ns;
}

/* The sleep handshake: announce, re-check every source, then wait (doorbell.h). */
static void shard_sleep(hpx_shard *shard, uint64_t timeout_ns)
{
    hpxi_doorbell_prepare(&shard->doorbell);
    const bool stop_asked = atomic_load_explicit(&shard->shared.stop, memory_order_seq_cst) != 0 &&
                            shard->owner.phase == HPXI_SHARD_RUNNING;
    if (!stop_asked && hpxi_links_are_empty_sc(shard) && hpxi_http_is_empty_sc(shard) &&
        !hpxi_ring_has_work(shard->owner.ring)) {
        const uint64_t sleep_ns = shard_sleep_ns(shard, timeout_ns);
        if (sleep_ns != 0) {
            const int ready = hpxi_ring_wait(shard->owner.ring, sleep_ns);
            HPX_ASSERT(ready >= 0); /* see shard_work() */
        }
    }
    hpxi_doorbell_cancel(&shard->doorbell);
    shard->owner.now_ns = hpxi_clock_now(&shard->owner.clock);
}

static uint32_t shard_work(hpx_shard *shard)
{
    uint32_t work = hpxi_links_control(shard);
    work += hpxi_links_data(shard);
    work += hpxi_http_commands(shard);
    work += shard_flush(shard); /* commands do not wait for the receives of this turn */
    if (shard->owner.socks.hot_count != 0) {
        work += hpxi_socks_receive_hot(&shard->owner.socks, TURN_RECEIVE_MAX);
    }
    const int ready = hpxi_ring_turn(shard->owner.ring);
    HPX_ASSERT(ready >= 0); /* the kernel lost completions: which, nobody can know any more */
    work += shard_completions(shard);
    work += hpxi_wheel_advance(&shard->owner.wheel, shard->owner.now_ns, TURN_TIMERS_MAX);
    work += hpxi_resolver_settle(shard->owner.resolver);
    shard_stop_step(shard);
    work += shard_flush(shard);
    work += shard_settle(shard);
    work += hpxi_http_settle(shard);
    work += hpxi_shard_publish(shard);
    hpxi_http_publish(shard);
    return work;
}

static void shard_measure(hpx_shard *shard, uint32_t work, uint64_t began_ns)
{
    hpxi_count(&shard->counters.turns, 1);
    if (work == 0) {
        return;
    }
    hpxi_count(&shard->counters.turns_busy, 1);
    const uint64_t now = hpxi_clock_now(&shard->owner.clock);
    shard->owner.last_work_ns = now;
    if (now - began_ns > hpxi_counter_read(&shard->counters.turn_ns_max)) {
        atomic_store_explicit(&shard->counters.turn_ns_max, now - began_ns, memory_order_relaxed);
    }
}

int hpxi_shard_turn(hpx_shard *shard, uint64_t timeout_ns)
{
    HPX_DASSERT(hpxi_shard_is_owner(shard));
    HPX_ASSERT(!shard->owner.in_turn); /* not from inside a handler */
    shard->owner.in_turn = true;
    shard->owner.now_ns = hpxi_clock_now(&shard->owner.clock);
    uint64_t began_ns = shard->owner.now_ns;
    uint32_t work = shard_work(shard);
    shard_measure(shard, work, began_ns);
    if (work == 0 && shard_may_sleep(shard, timeout_ns)) {
        shard_sleep(shard, timeout_ns);
        began_ns = shard->owner.now_ns;
        work = shard_work(shard);
        shard_measure(shard, work, began_ns);
    }
    shard->owner.in_turn = false;
    return (int)work;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_core.c - a client on its shard: slots, connections, and the shard's steps for all clients.
 *
 * A turn    commands (links) -> pump (pools) and flush (connections) -> ... -> settle (ends owed,
 *           connections gone, rings with room again) -> publish (links)
 * Threads   The shard's, but for making a core (any).
 */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/error.h"
#include "engine/http.h"
#include "engine/http_link.h"

/* Commands taken from one link in one turn. */
#define CORE_COMMANDS_MAX 256u

#define CORE_OF_EXPIRY(timer)                                                                      \
    ((hpxi_http_core *)(void *)((char *)(timer)-offsetof(hpxi_http_core, expiry)))

/* ---- Making and freeing ---------------------------------------------------------------------- */

/* One more than requests_max: while END is delivered, its slot is not free yet. */
static uint32_t core_slots(const hpxi_http_core *core)
{
    return core->settings->config.requests_max + 1;
}

hpxi_http_core *hpxi_http_core_new(hpx_shard *shard, hpxi_http_settings *settings)
{
    const hpx_allocator *allocator = settings->allocator;
    hpxi_http_core *core = hpxi_alloc_zero(allocator, sizeof(*core), _Alignof(hpxi_http_core));
    if (core == NULL) {
        return NULL;
    }
    hpxi_http_settings_retain(settings);
    core->settings = settings;
    core->shard = shard;
    core->generation = 1;
    core->board = hpxi_http_board_new(allocator, settings->config.connections_max, shard->index);
    const uint32_t slots = core_slots(core);
    const size_t headers = 2 * (size_t)settings->config.headers_max;
    core->slots = hpxi_alloc_zero(allocator, slots * sizeof(core->slots[0]), sizeof(void *));
    core->free_slots = hpxi_alloc(allocator, slots * sizeof(uint32_t), sizeof(uint32_t));
    core->headers = hpxi_alloc(allocator, headers * sizeof(hpx_http_header), sizeof(void *));
    core->decoded = hpxi_alloc(allocator, HPXI_HTTP_DECODE_BYTES, HPXI_CACHE_LINE);
    if (core->slots == NULL || core->free_slots == NULL || core->headers == NULL ||
        core->decoded == NULL || core->board == NULL) {
        hpxi_http_core_free(core);
        return NULL;
    }
    core->counters = &core->board->counters;
    for (uint32_t i = 0; i < slots; i++) {
        core->free_slots[i] = slots - 1 - i; /* taken from the end: 0 first */
    }
    core->free_count = slots;
    return core;
}

static void core_free_slot(hpxi_http_core *core, hpxi_http_request *request)
{
    if (request == NULL) {
        return;
    }
    hpxi_h1_content_free(request->decoder);
    hpxi_buf_fini(&request->packed);
    hpxi_buf_fini(&request->next_packed);
    hpxi_buf_fini(&request->head);
    hpxi_buf_fini(&request->body);
    hpxi_buf_fini(&request->backlog);
    hpxi_free(core->settings->allocator, request, sizeof(*request));
}

void hpxi_http_core_free(hpxi_http_core *core)
{
    if (core == NULL) {
        return;
    }
    HPX_ASSERT(core->conn_count == 0 && !core->on_settle);
    const hpx_allocator *allocator = core->settings->allocator;
    const uint32_t slots = core_slots(core);
    for (uint32_t i = 0; core->slots != NULL && i < slots; i++) {
        core_free_slot(core, core->slots[i]);
    }
    if (core->pool.ops != NULL) {
        hpxi_pool_fini(&core->pool);
    }
    hpxi_free(allocator, core->slots, slots * sizeof(core->slots[0]));
    hpxi_free(allocator, core->free_slots, slots * sizeof(uint32_t));
    hpxi_free(
        allocator,
        core->headers,
        2 * (size_t)core->settings->config.headers_max * sizeof(hpx_http_header));
    hpxi_free(allocator, core->decoded, HPXI_HTTP_DECODE_BYTES);
    if (!core->board_published) {
        hpxi_http_board_free(core->board);
    }
    hpxi_http_settings_release(core->settings);
    hpxi_free(allocator, core, sizeof(*core));
}

static void core_on_expiry(hpxi_timer *timer, uint64_t now_ns)
{
    hpxi_http_core *core = CORE_OF_EXPIRY(timer);
    hpxi_pool_expire(&core->pool, now_ns); /* the next deadline is set in the flush step */
}

void hpxi_http_core_start(hpxi_http_core *core)
{
    hpx_shard *shard = core->shard;
    const hpx_http_config *config = &core->settings->config;
    const hpxi_pool_config pool = {
        .total_max = config->connections_max,
        .per_key_max = config->connections_per_origin_max,
        .shared_per_key_max = config->h2_connections_per_origin_max,
        .idle_per_key_max = config->idle_per_origin_max,
        .idle_per_key_min = config->idle_per_origin_min,
        .idle_ns = config->idle_connection_ns,
        .keys_unused_max = 64,
    };
    hpxi_pool_init(&core->pool, &hpxi_http_pool_ops, &pool, shard->allocator, core);
    hpxi_timer_init(&core->expiry, core_on_expiry);
    hpxi_http_boards_publish(&core->settings->boards, core->board);
    core->board_published = true;
    core->next = shard->owner.http.cores;
    if (core->next != NULL) {
        core->next->prev = core;
    }
    shard->owner.http.cores = core;
}

/* ---- Slots ----------------------------------------------------------------------------------- */

hpxi_http_request *hpxi_http_request_new(const hpx_allocator *allocator)
{
    hpxi_http_request *request =
        hpxi_alloc_zero(allocator, sizeof(*request), _Alignof(hpxi_http_request));
    if (request != NULL) {
        hpxi_buf_init(&request->packed, allocator);
        hpxi_buf_init(&request->next_packed, allocator);
        hpxi_buf_init(&request->head, allocator);
        hpxi_buf_init(&request->body, allocator);
        hpxi_buf_init(&request->backlog, allocator);
    }
    return request;
}

void hpxi_http_core_adopt(hpxi_http_core *core, uint32_t slot, hpxi_http_request *request)
{
    HPX_ASSERT(slot < core_slots(core) && core->slots[slot] == NULL);
    core->slots[slot] = request;
    request->core = core;
    request->slot = slot;
}

hpxi_http_request *hpxi_http_core_take(hpxi_http_core *core)
{
    HPX_ASSERT(core->free_count != 0);
    const uint32_t slot = core->free_slots[core->free_count - 1];
    if (core->slots[slot] == NULL) {
        hpxi_http_request *request = hpxi_http_request_new(core->settings->allocator);
        if (request == NULL) {
            return NULL;
        }
        hpxi_http_core_adopt(core, slot, request);
    }
    core->free_count--;
    hpxi_http_request *request = core->slots[slot];
    request->id = core->generation++ << HPXI_HTTP_SLOT_BITS | slot;
    return request;
}

void hpxi_http_core_give_back(hpxi_http_core *core, hpxi_http_request *request)
{
    if (core->link == NULL) {
        HPX_ASSERT(core->free_count < core_slots(core));
        core->free_slots[core->free_count++] = request->slot;
    }
}

hpxi_http_request *hpxi_http_core_find(hpxi_http_core *core, hpx_http_id id)
{
    const uint32_t slot = (uint32_t)(id & HPXI_HTTP_SLOT_MASK);
    hpxi_http_request *request = slot < core_slots(core) ? core->slots[slot] : NULL;
    return request != NULL && request->phase != HPXI_HTTP_FREE && request->id == id ? request
                                                                                    : NULL;
}

void hpxi_http_core_warm_up(hpxi_http_core *core, hpxi_http_packed *packed, uint32_t count)
{
    hpxi_http_origin origin;
    const hpx_span key = hpxi_http_packed_key(packed);
    hpxi_http_key_read(&origin, key.data, key.size);
    const hpxi_pool_kind kind =
        origin.version == HPX_HTTP_1_1 ? HPXI_POOL_UNIQUE : HPXI_POOL_SHARED;
    hpxi_pool_key *interned = hpxi_pool_key_get(&core->pool, key, kind);
    if (interned != NULL) { /* else nothing is warm: the first request says so */
        hpxi_pool_warm_up(&core->pool, interned, count);
        hpxi_pool_pump(&core->pool);
        hpxi_pool_key_release(&core->pool, interned);
    }
    hpxi_http_packed_drop(packed);
}

/* ---- Release --------------------------------------------------------------------------------- */

void hpxi_http_core_mark(hpxi_http_core *core)
{
    if (!core->on_settle) {
        core->on_settle = true;
        core->next_settle = core->shard->owner.http.settle_cores;
        core->shard->owner.http.settle_cores = core;
    }
}

static void core_cancel_all(hpxi_http_core *core, const char *why)
{
    for (hpxi_http_request *request = core->open; request != NULL; request = request->next) {
        hpxi_http_request_cancel(request, why); /* only marks: the list does not change */
    }
}

static void core_retire_all(hpxi_http_core *core)
{
    for (hpxi_http_conn *conn = core->conns; conn != NULL; conn = conn->next) {
        hpxi_pool_retire(&core->pool, &conn->item); /* closes: nobody uses it any more */
    }
}

void hpxi_http_core_release(hpxi_http_core *core)
{
    core->released = true;
    core_cancel_all(core, "the client was released");
    core_retire_all(core);
    for (hpxi_http_request *request = core->open; request != NULL; request = request->next) {
        hpxi_http_request_mark(request); /* those that the full ring or a pause held back, too */
    }
    hpxi_http_core_mark(core);
}

static void core_unlink(hpxi_http_core *core)
{
    hpx_shard *shard = core->shard;
    *(core->prev != NULL ? &core->prev->next : &shard->owner.http.cores) = core->next;
    if (core->next != NULL) {
        core->next->prev = core->prev;
    }
    hpxi_wheel_cancel(&shard->owner.wheel, &core->expiry);
}

static void core_drop_link(hpxi_http_core *core)
{
    hpxi_http_link *link = core->link;
    if (link == NULL) {
        return;
    }
    hpxi_http_link **at = &core->shard->owner.http.links;
    while (*at != link) {
        HPX_ASSERT(*at != NULL);
        at = &(*at)->shard.next;
    }
    *at = link->shard.next;
    link->shard.core = NULL;
    core->link = NULL;
    hpxi_http_link_publish(link);
    /* Partner: http_port.c. After it no event follows. */
    atomic_store_explicit(&link->shared.down, 1, memory_order_seq_cst);
    (void)hpxi_doorbell_ring(&link->port_core->doorbell);
    hpxi_http_link_release(link);
}

void hpxi_http_core_settle(hpxi_http_core *core)
{
    if (core->released && core->open_count == 0 && core->conn_count == 0) {
        core_unlink(core);
        core_drop_link(core);
        hpxi_http_core_free(core);
    }
}

/* ---- Steps of the turn ----------------------------------------------------------------------- */

/* In the inbox of a shard that is down: links are refused from then on. */
#define HTTP_INBOX_SHUT ((hpxi_http_link *)(uintptr_t)1)

bool hpxi_http_inbox_push(hpx_shard *shard, hpxi_http_link *link)
{
    link->next_inbox = atomic_load_explicit(&shard->shared.http_inbox, memory_order_relaxed);
    do {
        if (link->next_inbox == HTTP_INBOX_SHUT) {
            return false;
        }
        /* In the doorbell's total order; release: the shard sees the link whole. */
    } while (!atomic_compare_exchange_weak_explicit(
        &shard->shared.http_inbox,
        &link->next_inbox,
        link,
        memory_order_seq_cst,
        memory_order_relaxed));
    return true;
}

static void http_take_inbox(hpx_shard *shard, hpxi_http_link *leave)
{
    /* Acquire: the links are whole (partner: hpxi_http_inbox_push). */
    hpxi_http_link *link =
        atomic_exchange_explicit(&shard->shared.http_inbox, leave, memory_order_acq_rel);
    HPX_ASSERT(link != HTTP_INBOX_SHUT);
    while (link != NULL) {
        hpxi_http_link *next = link->next_inbox;
        link->shard.next = shard->owner.http.links;
        shard->owner.http.links = link;
        hpxi_http_core_start(link->shard.core);
        link = next;
    }
}

void hpxi_http_up(hpx_shard *shard)
{
    hpxi_http_link *expected = HTTP_INBOX_SHUT; /* attached again; else links may wait already */
    (void)atomic_compare_exchange_strong_explicit(
        &shard->shared.http_inbox, &expected, NULL, memory_order_acq_rel, memory_order_relaxed);
}

uint32_t hpxi_http_commands(hpx_shard *shard)
{
    if (HPXI_UNLIKELY(
            atomic_load_explicit(&shard->shared.http_inbox, memory_order_relaxed) != NULL)) {
        http_take_inbox(shard, NULL);
    }
    uint32_t count = 0;
    for (hpxi_http_link *link = shard->owner.http.links; link != NULL; link = link->shard.next) {
        count += hpxi_http_link_commands(link, CORE_COMMANDS_MAX);
        if (HPXI_UNLIKELY(atomic_load_explicit(&link->shared.closed, memory_order_relaxed) != 0) &&
            !link->shard.core->released) {
            hpxi_http_core_release(link->shard.core);
        }
    }
    return count;
}

static void core_pump(hpxi_http_core *core)
{
    if (core->pool.dirty) {
        hpxi_pool_pump(&core->pool);
    }
    const uint64_t deadline_ns = hpxi_pool_deadline(&core->pool);
    if (deadline_ns != UINT64_MAX && !hpxi_timer_is_set(&core->expiry) && !core->released) {
        hpxi_wheel_set(&core->shard->owner.wheel, &core->expiry, deadline_ns);
    }
}

void hpxi_http_flush(hpx_shard *shard)
{
    for (hpxi_http_core *core = shard->owner.http.cores; core != NULL; core = core->next) {
        core_pump(core);
    }
    hpxi_http_conn *conn = shard->owner.http.dirty;
    shard->owner.http.dirty = NULL;
    while (conn != NULL) {
        hpxi_http_conn *next = conn->next_dirty;
        conn->on_dirty = false;
        conn->next_dirty = NULL;
        hpxi_http_conn_flush(conn); /* none is freed here */
        conn = next;
    }
}

/* The ring had no room: has the port made some? */
static void core_unblock(hpxi_http_core *core)
{
    if (!hpxi_http_link_has_room(core->link)) {
        return;
    }
    for (hpxi_http_request *request = core->open; request != NULL; request = request->next) {
        if (request->blocked) {
            hpxi_http_request_mark(request);
        }
    }
}

static void core_count(hpxi_http_core *core)
{
    hpxi_http_counters *counters = core->counters;
    const hpxi_pool *pool = &core->pool;
    atomic_store_explicit(&counters->idle_expired, pool->stats.expired, memory_order_relaxed);
    atomic_store_explicit(&counters->evicted, pool->stats.evicted, memory_order_relaxed);
    atomic_store_explicit(&counters->connections, core->conn_count, memory_order_relaxed);
    atomic_store_explicit(&counters->idle, pool->idle, memory_order_relaxed);
}

static uint32_t http_settle_requests(hpx_shard *shard)
{
    uint32_t count = 0;
    hpxi_http_request *request = shard->owner.http.settle_requests;
    shard->owner.http.settle_requests = NULL;
    while (request != NULL) {
        hpxi_http_request *next = request->next_settle;
        request->on_settle = false;
        request->next_settle = NULL;
        hpxi_http_request_settle(request); /* its slot stays, whatever happens */
        request = next;
        count++;
    }
    return count;
}

static uint32_t http_settle_conns(hpx_shard *shard)
{
    uint32_t count = 0;
    hpxi_http_conn *conn = shard->owner.http.settle_conns;
    shard->owner.http.settle_conns = NULL;
    while (conn != NULL) {
        hpxi_http_conn *next = conn->next_settle;
        conn->on_settle = false;
        conn->next_settle = NULL;
        hpxi_http_conn_settle(conn); /* may free it, never another */
        conn = next;
        count++;
    }
    return count;
}

uint32_t hpxi_http_settle(hpx_shard *shard)
{
    for (hpxi_http_core *core = shard->owner.http.cores; core != NULL; core = core->next) {
        if (HPXI_UNLIKELY(core->blocked_count != 0 && core->link != NULL)) {
            core_unblock(core);
        }
    }
    uint32_t count = http_settle_requests(shard) + http_settle_conns(shard);
    for (hpxi_http_core *core = shard->owner.http.cores; core != NULL; core = core->next) {
        core_count(core);
    }
    hpxi_http_core *core = shard->owner.http.settle_cores;
    shard->owner.http.settle_cores = NULL;
    while (core != NULL) {
        hpxi_http_core *next = core->next_settle;
        core->on_settle = false;
        core->next_settle = NULL;
        hpxi_http_core_settle(core); /* may free it */
        core = next;
    }
    return count;
}

void hpxi_http_publish(hpx_shard *shard)
{
    for (hpxi_http_link *link = shard->owner.http.links; link != NULL; link = link->shard.next) {
        hpxi_http_link_publish(link);
    }
}

bool hpxi_http_may_sleep(const hpx_shard *shard)
{
    const hpxi_http_shard *http = &shard->owner.http;
    for (const hpxi_http_core *core = http->cores; core != NULL; core = core->next) {
        if (core->pool.dirty) {
            return false;
        }
    }
    return http->dirty == NULL && http->settle_requests == NULL && http->settle_conns == NULL &&
           http->settle_cores == NULL;
}

bool hpxi_http_is_empty_sc(hpx_shard *shard)
{
    if (atomic_load_explicit(&shard->shared.http_inbox, memory_order_seq_cst) != NULL) {
        return false;
    }
    for (hpxi_http_link *link = shard->owner.http.links; link != NULL; link = link->shard.next) {
        if (link->shard.core->released) {
            continue; /* its commands are not taken any more */
        }
        if (!hpxi_spsc_is_empty_sc(&link->commands) ||
            atomic_load_explicit(&link->shared.closed, memory_order_seq_cst) != 0) {
            return false;
        }
        /* Room may have been made after the last look (partner: the port's exchange). */
        if (link->shard.core->blocked_count != 0 && hpxi_http_link_has_room(link)) {
            return false;
        }
    }
    return true;
}

/* ---- Stop ------------------------------------------------------------------------------------ */

void hpxi_http_stop(hpx_shard *shard)
{
    for (hpxi_http_core *core = shard->owner.http.cores; core != NULL; core = core->next) {
        core_cancel_all(core, "the engine stops");
        core_retire_all(core);
    }
}

bool hpxi_http_abort(hpx_shard *shard)
{
    bool any = false;
    for (hpxi_http_core *core = shard->owner.http.cores; core != NULL; core = core->next) {
        for (hpxi_http_conn *conn = core->conns; conn != NULL; conn = conn->next) {
            hpxi_http_conn_abort(conn);
            any = true;
        }
    }
    return any;
}

bool hpxi_http_is_quiet(const hpx_shard *shard)
{
    const hpxi_http_shard *http = &shard->owner.http;
    for (const hpxi_http_core *core = http->cores; core != NULL; core = core->next) {
        if (core->conn_count != 0 || (core->link == NULL && core->open_count != 0)) {
            return false;
        }
    }
    return http->settle_requests == NULL && http->settle_conns == NULL &&
           http->settle_cores == NULL;
}

/* Requests whose END found no room in a port's ring: the port tells it by itself. */
static void core_abandon(hpxi_http_core *core)
{
    core->released = true;
    while (core->open != NULL) {
        hpxi_http_request *request = core->open;
        HPX_ASSERT(request->phase == HPXI_HTTP_ENDED);
        request->paused = false;
        hpxi_http_request_settle(request);
    }
}

void hpxi_http_down(hpx_shard *shard)
{
    http_take_inbox(shard, HTTP_INBOX_SHUT);
    hpxi_http_core *next = NULL;
    for (hpxi_http_core *core = shard->owner.http.cores; core != NULL; core = next) {
        next = core->next;
        HPX_ASSERT(core->conn_count == 0);
        const bool is_inline = core->link == NULL;
        if (is_inline && !core->released) {
            core_unlink(core);
            core->on_settle = false;
            core->down = true; /* lives until hpx_http_client_release() */
            continue;
        }
        core_abandon(core);
        shard->owner.http.settle_cores = NULL;
        core->on_settle = false;
        core_unlink(core);
        core_drop_link(core);
        hpxi_http_core_free(core);
    }
    HPX_ASSERT(shard->owner.http.dirty == NULL);
    HPX_ASSERT(shard->owner.http.settle_requests == NULL);
}

void hpxi_http_fini(hpx_shard *shard)
{
    if (atomic_load_explicit(&shard->shared.http_inbox, memory_order_acquire) != HTTP_INBOX_SHUT) {
        hpxi_http_down(shard); /* links that a shard that never came up did not take */
    }
}

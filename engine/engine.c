/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.c - makes, starts, stops and frees an engine; the public functions on shards.
 *
 * Threads   Set-up functions: one thread. The shard threads run engine_thread().
 */
#include "engine/engine.h"

#include <stdio.h>
#include <string.h>

#include "engine/conn.h"
#include "engine/error.h"

/* ---- Configuration --------------------------------------------------------------------------- */

static void engine_defaults(hpx_engine_config *config)
{
    config->name = config->name != NULL ? config->name : "hpx";
    HPXI_DEFAULT(config->shard_count, 1);
    HPXI_DEFAULT(config->spin_ns, 50 * HPX_NS_PER_US);
    HPXI_DEFAULT(config->ports_max, 16);
    HPXI_DEFAULT(config->connections_max, 1024);
    HPXI_DEFAULT(config->hot_connections_max, 8);
    HPXI_DEFAULT(config->recv_slot_bytes, 32u << 10);
    HPXI_DEFAULT(config->recv_slot_count, 64);
    HPXI_DEFAULT(config->sq_entries, 256);
    HPXI_DEFAULT(config->cq_entries, 4096);
    HPXI_DEFAULT(config->dns_cache_entries, 256);
    HPXI_DEFAULT(config->tls_session_hosts_max, 256);
    if (config->wait_mode == HPX_WAIT_DEFAULT) {
        config->wait_mode = config->cpu_count != 0 ? HPX_WAIT_SPIN : HPX_WAIT_SPIN_THEN_SLEEP;
    }
}

static hpx_status engine_bad(hpx_error *error, const char *name, uint64_t value, const char *want)
{
    return hpxi_error_set(
        error,
        HPX_E_INVALID,
        HPX_STAGE_CONFIG,
        "%s is %llu; it must be %s",
        name,
        (unsigned long long)value,
        want);
}

static hpx_status engine_check_sizes(const hpx_engine_config *config, hpx_error *error)
{
    const struct {
        const char *name;
        uint32_t value, low, high;
        bool power;
        const char *want;
    } members[] = {
        {"shard_count", config->shard_count, 1, HPXI_SHARDS_MAX, false, "1 to 64"},
        {"ports_max", config->ports_max, 1, HPXI_PORTS_MAX, false, "1 to 256"},
        {"connections_max", config->connections_max, 8, 65536, false, "8 to 65536"},
        {"hot_connections_max", config->hot_connections_max, 1, 64, false, "1 to 64"},
        {"recv_slot_bytes",
         config->recv_slot_bytes,
         2048,
         1u << 20,
         true,
         "a power of two from 2 KiB to 1 MiB"},
        {"recv_slot_count",
         config->recv_slot_count,
         8,
         32768,
         true,
         "a power of two from 8 to 32768"},
        {"sq_entries", config->sq_entries, 8, 4096, true, "a power of two from 8 to 4096"},
        {"cq_entries", config->cq_entries, 16, 65536, true, "a power of two from 16 to 65536"},
        {"dns_cache_entries", config->dns_cache_entries, 0, 4096, false, "0 to 4096"},
        {"tls_session_hosts_max", config->tls_session_hosts_max, 1, 65536, false, "1 to 65536"},
    };
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const uint32_t value = members[i].value;
        if (value < members[i].low || value > members[i].high ||
            (members[i].power && (value & (value - 1)) != 0)) {
            return engine_bad(error, members[i].name, value, members[i].want);
        }
    }
    return HPX_OK;
}

static hpx_status engine_check(const hpx_engine_config *config, hpx_error *error)
{
    const hpx_status status = engine_check_sizes(config, error);
    if (status != HPX_OK) {
        return status;
    }
    if (config->flags != 0) {
        return engine_bad(error, "flags", config->flags, "0");
    }
    if (config->cq_entries < 2 * config->sq_entries) {
        return engine_bad(error, "cq_entries", config->cq_entries, "at least twice sq_entries");
    }
    if (config->shard_mode > HPX_SHARDS_POLLED) {
        return engine_bad(error, "shard_mode", config->shard_mode, "a hpx_shard_mode");
    }
    if (config->wait_mode > HPX_WAIT_SLEEP) {
        return engine_bad(error, "wait_mode", config->wait_mode, "a hpx_wait_mode");
    }
    if (config->cpu_count != 0 && (config->cpu_count != config->shard_count || !config->cpus)) {
        return engine_bad(error, "cpu_count", config->cpu_count, "0, or shard_count with cpus set");
    }
    if ((config->allocator.alloc == NULL) != (config->allocator.free == NULL)) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "allocator has one function; set both or neither");
    }
    if (strlen(config->name) > 11) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "name \"%.32s\" is longer than 11 bytes",
            config->name);
    }
    return HPX_OK;
}

/* Takes over strings and arrays, so that the caller's may go. */
static hpx_status engine_own_config(hpx_engine *engine, const hpx_engine_config *config)
{
    engine->config = *config;
    (void)snprintf(engine->name, sizeof(engine->name), "%s", config->name);
    engine->config.name = engine->name;
    if (config->cpu_count != 0) {
        memcpy(engine->cpus, config->cpus, config->cpu_count * sizeof(engine->cpus[0]));
        engine->config.cpus = engine->cpus;
    }
    if (config->dns_servers != NULL) {
        engine->dns_servers_bytes = strlen(config->dns_servers) + 1;
        engine->dns_servers = hpxi_alloc(&engine->memory.counting, engine->dns_servers_bytes, 1);
        if (engine->dns_servers == NULL) {
            return HPX_E_NO_MEMORY;
        }
        memcpy(engine->dns_servers, config->dns_servers, engine->dns_servers_bytes);
        engine->config.dns_servers = engine->dns_servers;
    }
    return HPX_OK;
}

/* ---- New and free ---------------------------------------------------------------------------- */

static void engine_delete(hpx_engine *engine, uint32_t shards_ready)
{
    for (uint32_t i = 0; i < shards_ready; i++) {
        hpxi_shard_fini(&engine->shards[i]);
    }
    hpxi_free(
        &engine->memory.counting,
        engine->shards,
        engine->config.shard_count * sizeof(engine->shards[0]));
    hpxi_free(&engine->memory.counting, engine->dns_servers, engine->dns_servers_bytes);
    hpx_tls_context_release(engine->default_tls);
    (void)pthread_mutex_destroy(&engine->setup_lock);
    const hpx_allocator wrapped = engine->memory.wrapped;
    wrapped.free(engine, sizeof(*engine), wrapped.ctx);
}

static hpx_status engine_make_shards(hpx_engine *engine, uint32_t *ready)
{
    *ready = 0;
    engine->shards = hpxi_alloc_zero(
        &engine->memory.counting,
        engine->config.shard_count * sizeof(engine->shards[0]),
        _Alignof(hpx_shard));
    if (engine->shards == NULL) {
        return HPX_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < engine->config.shard_count; i++) {
        const hpx_status status = hpxi_shard_init(&engine->shards[i], engine, i);
        if (status != HPX_OK) {
            return status;
        }
        (*ready)++;
    }
    return HPX_OK;
}

hpx_status hpx_engine_new(hpx_engine **out, const hpx_engine_config *config, hpx_error *error)
{
    *out = NULL;
    hpx_engine_config full = HPX_ENGINE_CONFIG_INIT;
    if (config != NULL) {
        if (config->size < offsetof(hpx_engine_config, shard_count)) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "config size is not set; use HPX_ENGINE_CONFIG_INIT");
        }
        memcpy(&full, config, config->size < sizeof(full) ? config->size : sizeof(full));
        full.size = (uint32_t)sizeof(full);
    }
    engine_defaults(&full);
    hpx_status status = engine_check(&full, error);
    if (status != HPX_OK) {
        return status;
    }
    hpxi_counting_allocator memory;
    hpxi_counting_allocator_init(&memory, &full.allocator);
    hpx_engine *engine =
        memory.wrapped.alloc(sizeof(*engine), _Alignof(hpx_engine), memory.wrapped.ctx);
    if (engine == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    memset(engine, 0, sizeof(*engine));
    hpxi_counting_allocator_init(&engine->memory, &full.allocator);
    (void)pthread_mutex_init(&engine->setup_lock, NULL);
    uint32_t ready = 0;
    status = engine_own_config(engine, &full);
    if (status == HPX_OK) {
        status = engine_make_shards(engine, &ready);
    }
    if (status != HPX_OK) {
        engine_delete(engine, ready);
        return status == HPX_E_NO_MEMORY
                   ? hpxi_error_set(error, status, HPX_STAGE_CONFIG, "no memory")
                   : hpxi_error_set_errno(error, status, HPX_STAGE_CONFIG, "eventfd");
    }
    *out = engine;
    return HPX_OK;
}

void hpx_engine_free(hpx_engine *engine)
{
    if (engine == NULL) {
        return;
    }
    if (engine->phase == HPXI_ENGINE_STARTED) {
        (void)hpx_engine_stop_wait(engine, 0);
    }
    for (uint32_t i = 0; i < HPXI_PORTS_MAX; i++) {
        HPX_ASSERT(engine->ports[i] == NULL); /* hpx_port_close() comes before */
    }
    engine_delete(engine, engine->config.shard_count);
}

/* ---- Start and stop -------------------------------------------------------------------------- */

/* What a starting shard thread tells hpx_engine_start(). */
typedef struct engine_start {
    hpx_shard *shard;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    hpx_status status;
    hpx_error error;
} engine_start;

static void engine_started(engine_start *start, hpx_status status)
{
    (void)pthread_mutex_lock(&start->lock);
    start->status = status;
    start->done = true;
    (void)pthread_cond_signal(&start->changed);
    (void)pthread_mutex_unlock(&start->lock);
}

static void *engine_thread(void *arg)
{
    engine_start *start = arg;
    hpx_shard *shard = start->shard;
    hpxi_thread_name(shard->engine->name, shard->index);
    const hpx_status status = hpxi_shard_up(shard, &start->error);
    engine_started(start, status); /* `start` is gone after this */
    if (status != HPX_OK) {
        return NULL;
    }
    while (shard->owner.phase == HPXI_SHARD_RUNNING || !hpxi_shard_is_quiet(shard)) {
        (void)hpxi_shard_turn(shard, UINT64_MAX);
    }
    hpxi_shard_down(shard);
    return NULL;
}

static hpx_status engine_start_shard(hpx_engine *engine, uint32_t index, hpx_error *error)
{
    engine_start start = {.shard = &engine->shards[index]};
    (void)pthread_mutex_init(&start.lock, NULL);
    (void)pthread_cond_init(&start.changed, NULL);
    pthread_t thread;
    const int failed = pthread_create(&thread, NULL, engine_thread, &start);
    if (failed != 0) {
        return hpxi_error_set_errno(
            error, -failed, HPX_STAGE_CONFIG, "shard %u: pthread_create", index);
    }
    (void)pthread_mutex_lock(&start.lock);
    while (!start.done) {
        (void)pthread_cond_wait(&start.changed, &start.lock);
    }
    (void)pthread_mutex_unlock(&start.lock);
    (void)pthread_cond_destroy(&start.changed);
    (void)pthread_mutex_destroy(&start.lock);
    if (start.status != HPX_OK) {
        (void)pthread_join(thread, NULL);
        if (error != NULL) {
            *error = start.error;
            error->status = start.status;
        }
    }
    return start.status;
}

/* Asks the first `count` shards to stop and joins their threads. */
static bool engine_join(hpx_engine *engine, uint32_t count, uint64_t timeout_ns)
{
    bool aborted = false;
    for (uint32_t i = 0; i < count; i++) {
        hpx_shard *shard = &engine->shards[i];
        atomic_store_explicit(&shard->shared.stop_timeout_ns, timeout_ns, memory_order_relaxed);
        atomic_store_explicit(&shard->shared.stop, 1, memory_order_seq_cst);
        (void)hpxi_doorbell_ring(&shard->doorbell);
    }
    for (uint32_t i = 0; i < count; i++) {
        (void)pthread_join(engine->shards[i].owner.thread, NULL);
        aborted = aborted || engine->shards[i].owner.had_aborts;
    }
    return aborted;
}

hpx_status hpx_engine_start(hpx_engine *engine, hpx_error *error)
{
    if (engine->phase != HPXI_ENGINE_NEW) {
        return hpxi_error_set(
            error, HPX_E_STATE, HPX_STAGE_CONFIG, "the engine was started before");
    }
    if (engine->config.shard_mode == HPX_SHARDS_THREADS) {
        for (uint32_t i = 0; i < engine->config.shard_count; i++) {
            const hpx_status status = engine_start_shard(engine, i, error);
            if (status != HPX_OK) {
                (void)engine_join(engine, i, 0);
                engine->phase = HPXI_ENGINE_STOPPED;
                return status;
            }
        }
    }
    engine->phase = HPXI_ENGINE_STARTED;
    return HPX_OK;
}

hpx_status hpx_engine_stop_wait(hpx_engine *engine, uint64_t timeout_ns)
{
    if (engine->phase != HPXI_ENGINE_STARTED) {
        return HPX_E_STATE;
    }
    bool aborted = false;
    if (engine->config.shard_mode == HPX_SHARDS_THREADS) {
        aborted = engine_join(engine, engine->config.shard_count, timeout_ns);
    } else {
        for (uint32_t i = 0; i < engine->config.shard_count; i++) {
            if (atomic_load_explicit(&engine->shards[i].shared.attached, memory_order_acquire) !=
                0) {
                return HPX_E_STATE; /* its owner must detach it */
            }
        }
    }
    engine->phase = HPXI_ENGINE_STOPPED;
    return aborted ? HPX_E_TIMEOUT : HPX_OK;
}

uint32_t hpx_engine_shard_count(const hpx_engine *engine)
{
    return engine->config.shard_count;
}

hpx_shard *hpx_engine_shard(hpx_engine *engine, uint32_t index)
{
    return index < engine->config.shard_count ? &engine->shards[index] : NULL;
}

hpx_status hpxi_engine_default_tls(hpx_engine *engine, hpx_tls_context **out, hpx_error *error)
{
    hpx_status status = HPX_OK;
    (void)pthread_mutex_lock(&engine->setup_lock);
    if (engine->default_tls == NULL) {
        status = hpx_tls_client_context_new(&engine->default_tls, NULL, error);
    }
    if (status == HPX_OK) {
        hpxi_tls_context_retain(engine->default_tls);
        *out = engine->default_tls;
    }
    (void)pthread_mutex_unlock(&engine->setup_lock);
    return status;
}

/* ---- Shards driven by the app ---------------------------------------------------------------- */

hpx_status hpx_shard_attach(hpx_shard *shard, hpx_error *error)
{
    if (shard->engine->config.shard_mode != HPX_SHARDS_POLLED ||
        shard->engine->phase != HPXI_ENGINE_STARTED || shard->owner.phase != HPXI_SHARD_DOWN) {
        return hpxi_error_set(
            error,
            HPX_E_STATE,
            HPX_STAGE_CONFIG,
            "attach needs a started engine in POLLED mode and a shard that is "
            "not attached");
    }
    hpx_error unwanted;
    return hpxi_shard_up(shard, error != NULL ? error : &unwanted);
}

hpx_status hpx_shard_detach_wait(hpx_shard *shard, uint64_t timeout_ns)
{
    if (!hpxi_shard_is_owner(shard) || shard->owner.in_turn) {
        return HPX_E_STATE;
    }
    hpxi_shard_stop(shard, timeout_ns);
    do { /* once at least: what was asked for before gets its end */
        (void)hpxi_shard_turn(shard, 10 * HPX_NS_PER_MS);
    } while (!hpxi_shard_is_quiet(shard));
    const bool aborted = shard->owner.had_aborts;
    hpxi_shard_down(shard);
    return aborted ? HPX_E_TIMEOUT : HPX_OK;
}

int hpx_shard_poll(hpx_shard *shard)
{
    return hpx_shard_poll_wait(shard, 0);
}

int hpx_shard_poll_wait(hpx_shard *shard, uint64_t timeout_ns)
{
    if (HPXI_UNLIKELY(!hpxi_shard_is_owner(shard) || shard->owner.in_turn)) {
        return HPX_E_STATE;
    }
    return hpxi_shard_turn(shard, timeout_ns);
}

void hpx_shard_wake(hpx_shard *shard)
{
    hpxi_doorbell_write(&shard->doorbell);
}

uint64_t hpx_shard_now_ns(const hpx_shard *shard)
{
    return shard->owner.now_ns;
}

uint32_t hpx_shard_index(const hpx_shard *shard)
{
    return shard->index;
}

void hpx_shard_get_stats(const hpx_shard *shard, hpx_shard_stats *out)
{
    const hpxi_counters *from = &shard->counters;
    *out = (hpx_shard_stats){
        .turns = hpxi_counter_read(&from->turns),
        .turns_busy = hpxi_counter_read(&from->turns_busy),
        .enters = hpxi_counter_read(&from->enters),
        .sleeps = hpxi_counter_read(&from->sleeps),
        .bytes_received = hpxi_counter_read(&from->bytes_received),
        .bytes_sent = hpxi_counter_read(&from->bytes_sent),
        .recv_syscalls = hpxi_counter_read(&from->recv_syscalls),
        .send_syscalls = hpxi_counter_read(&from->send_syscalls),
        .send_fallbacks = hpxi_counter_read(&from->send_fallbacks),
        .messages_received = hpxi_counter_read(&from->messages_received),
        .messages_sent = hpxi_counter_read(&from->messages_sent),
        .messages_dropped = hpxi_counter_read(&from->messages_dropped),
        .no_buffers = hpxi_counter_read(&from->no_buffers),
        .cq_overflows = hpxi_counter_read(&from->cq_overflows),
        .stale_completions = hpxi_counter_read(&from->stale_completions),
        .stale_commands = hpxi_counter_read(&from->stale_commands),
        .connections = hpxi_counter_read(&from->connections),
        .allocations = atomic_load_explicit(&shard->engine->memory.count, memory_order_relaxed),
        .turn_ns_max = hpxi_counter_read(&from->turn_ns_max),
        .wakes = hpxi_counter_read(&from->wakes),
    };
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.c - ports: opening, closing, and what outlives them.
 *
 * Threads   The port's, except the references of the core (any).
 */
#include "engine/port.h"

#include <string.h>

#include <hpx/http.h>

#include "engine/engine.h"
#include "engine/error.h"
#include "engine/subscription.h"

void hpxi_port_core_retain(hpxi_port_core *core)
{
    atomic_fetch_add_explicit(&core->refs, 1, memory_order_relaxed);
}

/* A data command that no shard will take: free what it owns. */
static void link_drop_data(const hpxi_record *record, const hpx_allocator *allocator)
{
    size_t at = sizeof(hpxi_command_send);
    switch (record->type) {
    case HPXI_COMMAND_REQUEST_BLOCK:
        at += sizeof(hpxi_command_request);
        break;
    case HPXI_COMMAND_SEND_BLOCK:
        break;
    case HPXI_COMMAND_SUBSCRIBE: {
        hpx_subscription *sub;
        memcpy(&sub, record->payload, sizeof(sub));
        hpxi_subscription_drop(sub);
        return;
    }
    default:
        return;
    }
    hpxi_command_block block;
    memcpy(&block, record->payload + at, sizeof(block));
    hpxi_free(allocator, block.data, block.size);
}

void hpxi_link_drain(hpxi_link *link)
{
    const hpx_allocator *allocator = link->port->allocator;
    for (hpxi_record *record; (record = hpxi_spsc_peek(&link->control)) != NULL;) {
        if (record->type == HPXI_COMMAND_CONNECT) {
            hpxi_command_connect command;
            memcpy(&command, record->payload, sizeof(command));
            hpxi_spec_free(command.spec);
            hpxi_channel_release(command.channel);
        } else if (record->type == HPXI_COMMAND_CLONE) {
            hpxi_command_clone command;
            memcpy(&command, record->payload, sizeof(command));
            hpxi_channel_release(command.channel);
        }
        hpxi_spsc_release(&link->control);
    }
    for (hpxi_record *record; (record = hpxi_spsc_peek(&link->data)) != NULL;) {
        link_drop_data(record, allocator);
        hpxi_spsc_release(&link->data);
    }
    for (uint32_t slot = 0; slot < link->port->handles_max; slot++) {
        hpxi_channel_release(link->handles[slot].channel); /* released, and nobody took note */
        link->handles[slot].channel = NULL;
    }
}

static void port_core_free(hpxi_port_core *core, uint32_t links_ready)
{
    const hpx_allocator *allocator = core->allocator;
    for (uint32_t i = 0; i < links_ready; i++) {
        hpxi_link *link = &core->links[i];
        hpxi_spsc_fini(&link->control);
        hpxi_spsc_fini(&link->data);
        hpxi_free(allocator, link->handles, core->handles_max * sizeof(link->handles[0]));
    }
    hpxi_free(allocator, core->links, core->shard_count * sizeof(core->links[0]));
    hpxi_doorbell_fini(&core->doorbell);
    hpxi_free(allocator, core, sizeof(*core));
}

void hpxi_port_core_release(hpxi_port_core *core)
{
    if (atomic_fetch_sub_explicit(&core->refs, 1, memory_order_acq_rel) == 1) {
        port_core_free(core, core->shard_count);
    }
}

static hpx_status link_init(hpxi_link *link, hpxi_port_core *core, const hpx_port_config *config)
{
    link->port = core;
    if (hpxi_spsc_init(&link->control, config->control_ring_bytes, core->allocator) != HPX_OK) {
        return HPX_E_NO_MEMORY;
    }
    if (hpxi_spsc_init(&link->data, config->data_ring_bytes, core->allocator) != HPX_OK) {
        hpxi_spsc_fini(&link->control);
        return HPX_E_NO_MEMORY;
    }
    link->handles = hpxi_alloc_zero(
        core->allocator, core->handles_max * sizeof(link->handles[0]), _Alignof(hpxi_link_handle));
    if (link->handles == NULL) {
        hpxi_spsc_fini(&link->data);
        hpxi_spsc_fini(&link->control);
        return HPX_E_NO_MEMORY;
    }
    return HPX_OK;
}

static hpx_status
port_core_new(hpxi_port_core **out, hpx_engine *engine, const hpx_port_config *config)
{
    const hpx_allocator *allocator = &engine->memory.counting;
    hpxi_port_core *core = hpxi_alloc_zero(allocator, sizeof(*core), _Alignof(hpxi_port_core));
    if (core == NULL) {
        return HPX_E_NO_MEMORY;
    }
    core->allocator = allocator;
    core->shard_count = engine->config.shard_count;
    core->handles_max = config->handles_max;
    atomic_init(&core->refs, 1);
    hpx_status status = hpxi_doorbell_init(&core->doorbell);
    if (status != HPX_OK) {
        hpxi_free(allocator, core, sizeof(*core));
        return status;
    }
    core->links =
        hpxi_alloc_zero(allocator, core->shard_count * sizeof(core->links[0]), _Alignof(hpxi_link));
    if (core->links == NULL) {
        hpxi_doorbell_fini(&core->doorbell);
        hpxi_free(allocator, core, sizeof(*core));
        return HPX_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < core->shard_count; i++) {
        status = link_init(&core->links[i], core, config);
        if (status != HPX_OK) {
            port_core_free(core, i);
            return status;
        }
    }
    *out = core;
    return HPX_OK;
}

static hpx_status port_check(const hpx_port_config *config, hpx_error *error)
{
    const struct {
        const char *name;
        uint32_t value, low, high;
        bool power;
    } members[] = {
        {"control_ring_bytes", config->control_ring_bytes, 4u << 10, 16u << 20, true},
        {"data_ring_bytes", config->data_ring_bytes, 64u << 10, 1u << 30, true},
        {"handles_max", config->handles_max, 1, 65536, false},
    };
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        const uint32_t value = members[i].value;
        if (value < members[i].low || value > members[i].high ||
            (members[i].power && (value & (value - 1)) != 0)) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "%s is %u; it must be %s%u to %u",
                members[i].name,
                value,
                members[i].power ? "a power of two from " : "",
                members[i].low,
                members[i].high);
        }
    }
    if (config->control_ring_bytes / 4 < config->handles_max * sizeof(hpxi_record)) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "control_ring_bytes is %u; handles_max %u needs at least %zu",
            config->control_ring_bytes,
            config->handles_max,
            4 * sizeof(hpxi_record) * config->handles_max);
    }
    return HPX_OK;
}

/* A free place in the engine's table that every shard has forgotten. */
static uint32_t port_find_index(const hpx_engine *engine)
{
    for (uint32_t i = 0; i < engine->config.ports_max; i++) {
        bool is_free = engine->ports[i] == NULL;
        for (uint32_t s = 0; s < engine->config.shard_count && is_free; s++) {
            is_free = atomic_load_explicit(
                          &engine->shards[s].shared.links[i], memory_order_acquire) == NULL;
        }
        if (is_free) {
            return i;
        }
    }
    return UINT32_MAX;
}

static hpx_status port_make(hpx_port **out, hpx_engine *engine, const hpx_port_config *config)
{
    const hpx_allocator *allocator = &engine->memory.counting;
    hpx_port *port = hpxi_alloc_zero(allocator, sizeof(*port), _Alignof(hpx_port));
    if (port == NULL) {
        return HPX_E_NO_MEMORY;
    }
    port->engine = engine;
    port->handles = hpxi_alloc_zero(
        allocator, config->handles_max * sizeof(port->handles[0]), _Alignof(hpx_handle));
    hpx_status status =
        port->handles == NULL ? HPX_E_NO_MEMORY : port_core_new(&port->core, engine, config);
    if (status != HPX_OK) {
        hpxi_free(allocator, port->handles, config->handles_max * sizeof(port->handles[0]));
        hpxi_free(allocator, port, sizeof(*port));
        return status;
    }
    for (uint32_t i = config->handles_max; i-- > 0;) {
        port->handles[i].slot = i;
        port->handles[i].next_free = port->free_handles;
        port->free_handles = &port->handles[i];
    }
    *out = port;
    return HPX_OK;
}

static void port_free(hpx_port *port)
{
    const hpx_allocator *allocator = &port->engine->memory.counting;
    hpxi_free(allocator, port->handles, port->core->handles_max * sizeof(port->handles[0]));
    hpxi_port_core_release(port->core);
    hpxi_free(allocator, port, sizeof(*port));
}

hpx_status
hpx_port_open(hpx_port **out, hpx_engine *engine, const hpx_port_config *config, hpx_error *error)
{
    *out = NULL;
    hpx_port_config full = HPX_PORT_CONFIG_INIT;
    if (config != NULL) {
        if (config->size < offsetof(hpx_port_config, control_ring_bytes)) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "config size is not set; use HPX_PORT_CONFIG_INIT");
        }
        memcpy(&full, config, config->size < sizeof(full) ? config->size : sizeof(full));
    }
    HPXI_DEFAULT(full.control_ring_bytes, 64u << 10);
    HPXI_DEFAULT(full.data_ring_bytes, 1u << 20);
    HPXI_DEFAULT(full.handles_max, 256);
    hpx_status status = port_check(&full, error);
    if (status != HPX_OK) {
        return status;
    }
    if (engine->phase != HPXI_ENGINE_STARTED) {
        return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_CONFIG, "the engine is not started");
    }
    (void)pthread_mutex_lock(&engine->setup_lock);
    const uint32_t index = port_find_index(engine);
    hpx_port *port = NULL;
    status = index == UINT32_MAX ? HPX_E_LIMIT : port_make(&port, engine, &full);
    if (status == HPX_OK) {
        port->index = index;
        engine->ports[index] = port;
        for (uint32_t s = 0; s < engine->config.shard_count; s++) {
            hpxi_shard_link(&engine->shards[s], index, &port->core->links[s]);
        }
    }
    (void)pthread_mutex_unlock(&engine->setup_lock);
    if (status != HPX_OK) {
        return hpxi_error_set(
            error,
            status,
            HPX_STAGE_CONFIG,
            "%s (ports_max is %u)",
            hpx_status_text(status),
            engine->config.ports_max);
    }
    *out = port;
    return HPX_OK;
}

void hpx_port_close(hpx_port *port)
{
    if (port == NULL) {
        return;
    }
    hpx_engine *engine = port->engine;
    while (port->streams != NULL) {
        hpx_stream_release(port->streams);
    }
    while (port->subscriptions != NULL) {
        hpx_subscription_release(port->subscriptions);
    }
    while (port->http_clients != NULL) {
        hpx_http_client_release(port->http_clients);
    }
    for (uint32_t i = 0; i < port->core->handles_max; i++) {
        if (port->handles[i].port != NULL) {
            hpx_handle_release(&port->handles[i]);
        }
    }
    const bool stopped = engine->phase == HPXI_ENGINE_STOPPED;
    for (uint32_t s = 0; s < port->core->shard_count; s++) {
        hpxi_link *link = &port->core->links[s];
        hpx_shard *shard = &engine->shards[s];
        if (stopped) { /* no shard thread: this one may read the rings */
            hpxi_link_drain(link);
            if (atomic_exchange_explicit(
                    &shard->shared.links[port->index], NULL, memory_order_acq_rel) != NULL) {
                hpxi_port_core_release(port->core);
            }
            continue;
        }
        atomic_store_explicit(&link->closed, 1, memory_order_seq_cst); /* partner: links_control */
        (void)hpxi_doorbell_ring(&shard->doorbell);
    }
    (void)pthread_mutex_lock(&engine->setup_lock);
    engine->ports[port->index] = NULL;
    (void)pthread_mutex_unlock(&engine->setup_lock);
    port_free(port);
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static bool port_is_empty_sc(hpx_port *port)
{
    for (const hpx_stream *stream = port->streams; stream != NULL; stream = stream->next) {
        if (!hpxi_channel_is_empty_sc(stream->channel)) {
            return false;
        }
    }
    for (hpx_subscription *sub = port->subscriptions; sub != NULL; sub = sub->port.next) {
        if (!hpxi_feed_is_empty_sc(&sub->feed)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < port->core->handles_max; i++) {
        hpx_handle *handle = &port->handles[i];
        if (handle->port != NULL && handle->channel->has_replies &&
            !hpxi_replies_are_empty_sc(&handle->channel->replies)) {
            return false;
        }
    }
    return hpxi_http_port_may_sleep(port);
}

int hpx_port_fd(hpx_port *port)
{
    if (!port->fd_mode) {
        port->fd_mode = true;
        hpxi_doorbell_write(&port->core->doorbell); /* readable until drained once */
    }
    return port->core->doorbell.fd;
}

void hpxi_port_arm(hpx_port *port)
{
    hpxi_doorbell *bell = &port->core->doorbell;
    hpxi_doorbell_drain(bell);
    hpxi_doorbell_prepare(bell);
    if (!port_is_empty_sc(port)) {
        hpxi_doorbell_cancel(bell);
        hpxi_doorbell_write(bell); /* stays readable */
    }
}

int hpxi_port_wait(
    hpx_port *port,
    int (*take)(void *object, void *out),
    bool (*is_empty)(void *object),
    void *object,
    void *out,
    uint64_t timeout_ns)
{
    hpxi_doorbell *bell = &port->core->doorbell;
    int got = take(object, out);
    if (got != 0) {
        return got;
    }
    const uint64_t start_ns = hpx_clock_now_ns();
    for (;;) {
        const uint64_t passed_ns = hpx_clock_now_ns() - start_ns;
        if (passed_ns >= timeout_ns) {
            if (port->fd_mode) { /* the wait disarmed the descriptor */
                hpxi_port_arm(port);
            }
            return HPX_E_TIMEOUT;
        }
        hpxi_doorbell_prepare(bell);
        if (is_empty(object)) {
            (void)hpxi_doorbell_wait(
                bell, timeout_ns == UINT64_MAX ? UINT64_MAX : timeout_ns - passed_ns);
        }
        hpxi_doorbell_cancel(bell);
        got = take(object, out);
        if (got != 0) {
            if (port->fd_mode) { /* the wait took the descriptor's wake-up */
                hpxi_doorbell_write(bell);
            }
            return got;
        }
    }
}

static int port_wait_take(void *object, void *out)
{
    (void)out;
    return port_is_empty_sc(object) ? 0 : 1;
}

static bool port_wait_is_empty(void *object)
{
    return port_is_empty_sc(object);
}

int hpx_port_wait(hpx_port *port, uint64_t timeout_ns)
{
    return hpxi_port_wait(port, port_wait_take, port_wait_is_empty, port, NULL, timeout_ns);
}

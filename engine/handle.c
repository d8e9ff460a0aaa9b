/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handle.c - handles and streams: a connection seen from a port.
 *
 * Threads   The port's.
 */
#include <string.h>

#include "engine/engine.h"
#include "engine/error.h"
#include "ws/frame.h"

/*
 * Room for a command in the control ring, NULL when full. One release record of each handle always
 * still fits after it (they have no payload: 16 bytes, and never wrap), so a release cannot fail.
 */
static hpxi_record *control_claim(hpx_handle *handle, uint32_t type, uint32_t bytes)
{
    hpxi_spsc *ring = &handle->link->control;
    const uint64_t head = atomic_load_explicit(&ring->consumer.head, memory_order_acquire);
    const uint64_t spare = ring->mask + 1 - (ring->producer.tail_claimed - head);
    const uint64_t reserve = handle->port->core->handles_max * sizeof(hpxi_record);
    const uint64_t worst = 2 * (sizeof(hpxi_record) + bytes + HPXI_SPSC_ALIGN); /* and padding */
    if (spare < reserve + worst) {
        return NULL;
    }
    return hpxi_spsc_claim(ring, type, bytes, hpxi_handle_tag(handle->slot, handle->generation));
}

hpx_status
hpxi_handle_control(hpx_handle *handle, uint32_t type, const void *command, uint32_t bytes)
{
    hpxi_record *record = control_claim(handle, type, bytes);
    if (record == NULL) {
        return HPX_E_AGAIN;
    }
    memcpy(record->payload, command, bytes);
    hpxi_spsc_commit(&handle->link->control);
    hpxi_spsc_publish(&handle->link->control);
    (void)hpxi_doorbell_ring(&handle->port->engine->shards[handle->shard].doorbell);
    return HPX_OK;
}

/* ---- Connect --------------------------------------------------------------------------------- */

static hpx_handle *handle_take(hpx_port *port)
{
    hpx_handle *handle = port->free_handles;
    if (handle != NULL) {
        port->free_handles = handle->next_free;
        handle->next_free = NULL;
        handle->port = port;
        handle->generation++;
    }
    return handle;
}

static void handle_give_back(hpx_handle *handle)
{
    hpx_port *port = handle->port;
    hpxi_channel_release(handle->channel);
    handle->channel = NULL;
    handle->port = NULL;
    handle->next_free = port->free_handles;
    port->free_handles = handle;
}

static hpx_stream *stream_new(hpx_port *port, hpxi_channel *channel)
{
    hpx_stream *stream =
        hpxi_alloc_zero(&port->engine->memory.counting, sizeof(*stream), _Alignof(hpx_stream));
    if (stream == NULL) {
        return NULL;
    }
    hpxi_channel_retain(channel);
    stream->port = port;
    stream->channel = channel;
    stream->next = port->streams;
    if (stream->next != NULL) {
        stream->next->prev = stream;
    }
    port->streams = stream;
    return stream;
}

static hpx_status
connect_place(hpx_port *port, hpxi_spec *spec, hpx_handle *handle, hpx_error *error)
{
    const uint32_t shards = port->engine->config.shard_count;
    const uint32_t wanted = spec->config.shard;
    handle->shard =
        wanted == HPX_SHARD_BY_HASH ? (uint32_t)(hpxi_spec_hash(spec) % shards) : wanted;
    if (handle->shard >= shards) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "shard is %u; the engine has %u",
            wanted,
            shards);
    }
    handle->link = &port->core->links[handle->shard];
    return HPX_OK;
}

static hpx_status connect_push(hpx_handle *handle, hpxi_spec *spec)
{
    const hpxi_command_connect command = {.spec = spec, .channel = handle->channel};
    hpxi_channel_retain(handle->channel); /* the shard's reference */
    const hpx_status status =
        hpxi_handle_control(handle, HPXI_COMMAND_CONNECT, &command, sizeof(command));
    if (status != HPX_OK) {
        hpxi_channel_release(handle->channel);
    }
    return status;
}

/* Everything but the spec. On failure nothing is left behind. */
static hpx_status connect_make(
    hpx_port *port, hpxi_spec *spec, hpx_handle **out, hpx_stream **stream, hpx_error *error)
{
    hpx_handle *handle = handle_take(port);
    if (handle == NULL) {
        return hpxi_error_set(
            error,
            HPX_E_LIMIT,
            HPX_STAGE_CONFIG,
            "all %u handles of the port are in use (handles_max)",
            port->core->handles_max);
    }
    const bool has_stream = spec->config.on_event == NULL;
    hpx_status status = connect_place(port, spec, handle, error);
    hpxi_hub *hub = NULL;
    if (status == HPX_OK) {
        hub = hpxi_hub_new(spec, port->core->allocator);
        status = hub != NULL ? HPX_OK : HPX_E_NO_MEMORY;
    }
    if (status == HPX_OK) {
        hub->shard_index = handle->shard;
        atomic_init(&hub->shared.handles, 1);
        status = hpxi_channel_new(
            &handle->channel,
            port->core,
            hub,
            has_stream,
            spec->config.stream_ring_bytes,
            spec->config.stream_large_bytes_max,
            port->core->allocator);
        if (status == HPX_OK && has_stream) {
            *stream = stream_new(port, handle->channel);
            status = *stream != NULL ? HPX_OK : HPX_E_NO_MEMORY;
        }
        if (status == HPX_OK) {
            status = connect_push(handle, spec);
        }
    }
    hpxi_hub_release(hub); /* the channel has its own */
    if (status != HPX_OK) {
        if (status != HPX_E_INVALID) { /* whose error is set */
            (void)hpxi_error_set(error, status, HPX_STAGE_CONFIG, "%s", hpx_status_text(status));
        }
        if (has_stream) {
            hpx_stream_release(*stream);
            *stream = NULL;
        }
        handle_give_back(handle);
        return status;
    }
    *out = handle;
    return HPX_OK;
}

hpx_status hpx_ws_connect(
    hpx_port *port,
    const hpx_ws_config *config,
    hpx_handle **handle,
    hpx_stream **stream,
    hpx_error *error)
{
    *handle = NULL;
    if (stream != NULL) {
        *stream = NULL;
    }
    if (stream == NULL && (config == NULL || config->on_event == NULL)) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "stream is NULL and on_event is not set: nobody would get the "
            "events");
    }
    hpxi_spec *spec = NULL;
    hpx_status status = hpxi_spec_new(&spec, config, port->core->allocator, error);
    if (status != HPX_OK) {
        return status;
    }
    if (spec->url.is_tls && spec->tls == NULL) {
        status = hpxi_engine_default_tls(port->engine, &spec->tls, error);
    }
    hpx_stream *made = NULL;
    if (status == HPX_OK) {
        status = connect_make(port, spec, handle, &made, error);
    }
    if (status != HPX_OK) {
        hpxi_spec_free(spec);
        return status;
    }
    if (stream != NULL) {
        *stream = made;
    }
    return HPX_OK;
}

/* ---- Commands -------------------------------------------------------------------------------- */

hpx_conn_state hpx_handle_state(const hpx_handle *handle)
{
    return hpxi_hub_state(handle->channel->hub);
}

bool hpx_handle_is_connected(const hpx_handle *handle)
{
    return hpx_handle_state(handle) == HPX_CONN_READY;
}

uint64_t hpx_handle_epoch(const hpx_handle *handle)
{
    return atomic_load_explicit(&handle->channel->hub->shared.epoch, memory_order_acquire);
}

static hpxi_record *data_claim(hpx_handle *handle, uint32_t type, hpx_span head, size_t bytes)
{
    hpxi_record *record = hpxi_spsc_claim(
        &handle->link->data,
        type,
        (uint32_t)(head.size + bytes),
        hpxi_handle_tag(handle->slot, handle->generation));
    if (record != NULL) {
        memcpy(record->payload, head.data, head.size);
    }
    return record;
}

/* Larger than a quarter of the ring: an owned block goes through it. */
static hpx_status data_block(hpx_handle *handle, uint32_t type, hpx_span head, hpx_span payload)
{
    hpxi_link *link = handle->link;
    const uint64_t outstanding = atomic_load_explicit(&link->block_bytes, memory_order_acquire);
    if (outstanding != 0 && outstanding + payload.size > HPXI_LINK_BLOCK_BYTES_MAX) {
        return HPX_E_AGAIN;
    }
    hpxi_record *record = data_claim(handle, type, head, sizeof(hpxi_command_block));
    if (record == NULL) {
        return HPX_E_AGAIN;
    }
    const hpxi_command_block block = {
        .data = hpxi_alloc(handle->port->core->allocator, payload.size, HPXI_CACHE_LINE),
        .size = payload.size,
    };
    if (block.data == NULL) {
        return HPX_E_NO_MEMORY; /* the claim is abandoned */
    }
    memcpy(block.data, payload.data, payload.size);
    memcpy(record->payload + head.size, &block, sizeof(block));
    atomic_fetch_add_explicit(&link->block_bytes, payload.size, memory_order_relaxed);
    return HPX_OK;
}

/* Queues the command, or says why not. */
static hpx_status
data_push(hpx_handle *handle, uint32_t type, uint32_t block_type, hpx_span head, hpx_span payload)
{
    hpxi_spsc *ring = &handle->link->data;
    if (payload.size <= ring->bytes_max - head.size) {
        hpxi_record *record = data_claim(handle, type, head, payload.size);
        if (record == NULL) {
            return HPX_E_AGAIN;
        }
        if (payload.size != 0) {
            memcpy(record->payload + head.size, payload.data, payload.size);
        }
    } else {
        const hpx_status status = data_block(handle, block_type, head, payload);
        if (status != HPX_OK) {
            return status;
        }
    }
    hpxi_spsc_commit(ring);
    hpxi_spsc_publish(ring);
    return HPX_OK;
}

/* No room: ask the shard for WRITABLE, then look once more, since it may have made room before it
 * could see the wish. (Partner: link_feed. The doorbell's order covers a shard about to sleep.) */
static void data_starved(hpx_handle *handle)
{
    atomic_store_explicit(&handle->channel->shared.want_room, 1, memory_order_seq_cst);
    atomic_store_explicit(&handle->link->starved, 1, memory_order_seq_cst);
    (void)hpxi_doorbell_ring(&handle->port->engine->shards[handle->shard].doorbell);
}

hpx_status hpxi_handle_data(
    hpx_handle *handle, uint32_t type, uint32_t block_type, hpx_span head, hpx_span payload)
{
    hpx_status status = data_push(handle, type, block_type, head, payload);
    if (HPXI_UNLIKELY(status == HPX_E_AGAIN)) {
        data_starved(handle);
        status = data_push(handle, type, block_type, head, payload);
    }
    if (status == HPX_OK) {
        (void)hpxi_doorbell_ring(&handle->port->engine->shards[handle->shard].doorbell);
    }
    return status;
}

bool hpxi_handle_push_subscribe(hpx_handle *handle, hpx_subscription *subscription)
{
    const hpx_span head = {.data = (const uint8_t *)&subscription, .size = sizeof(subscription)};
    return hpxi_handle_data(
               handle, HPXI_COMMAND_SUBSCRIBE, HPXI_COMMAND_SUBSCRIBE, head, (hpx_span){0}) ==
           HPX_OK;
}

hpx_status hpx_handle_send(hpx_handle *handle, hpx_message_kind kind, hpx_span payload)
{
    HPX_ASSERT(handle->port != NULL);
    if (kind != HPX_MESSAGE_BINARY &&
        (kind != HPX_MESSAGE_TEXT || !hpxi_utf8_check(payload.data, payload.size))) {
        return HPX_E_INVALID;
    }
    const hpxi_hub *hub = handle->channel->hub;
    if (hpxi_hub_state(hub) != HPX_CONN_READY) {
        return HPX_E_NOT_CONNECTED;
    }
    if (atomic_load_explicit(&hub->shared.send_blocked, memory_order_relaxed) != 0) {
        return HPX_E_AGAIN; /* WRITABLE follows */
    }
    const hpxi_command_send command = {
        .epoch = atomic_load_explicit(&hub->shared.epoch, memory_order_relaxed),
        .kind = kind,
    };
    const hpx_span head = {.data = (const uint8_t *)&command, .size = sizeof(command)};
    return hpxi_handle_data(handle, HPXI_COMMAND_SEND, HPXI_COMMAND_SEND_BLOCK, head, payload);
}

hpx_status hpx_handle_close(hpx_handle *handle, uint16_t code, hpx_span reason)
{
    HPX_ASSERT(handle->port != NULL);
    hpxi_command_close command = {.code = code == 0 ? 1000 : code};
    if (!hpxi_ws_close_code_is_valid(command.code) || reason.size > HPXI_WS_CLOSE_REASON_MAX ||
        !hpxi_utf8_check(reason.data, reason.size)) {
        return HPX_E_INVALID;
    }
    command.reason_bytes = (uint16_t)reason.size;
    if (reason.size != 0) {
        memcpy(command.reason, reason.data, reason.size);
    }
    return hpxi_handle_control(handle, HPXI_COMMAND_CLOSE, &command, sizeof(command));
}

uint64_t hpx_handle_rtt_ns(const hpx_handle *handle)
{
    return atomic_load_explicit(&handle->channel->hub->shared.rtt_ns, memory_order_relaxed);
}

hpx_status hpx_handle_reconnect(hpx_handle *handle, hpx_span reason)
{
    HPX_ASSERT(handle->port != NULL);
    if (!handle->channel->hub->reconnects) {
        return HPX_E_STATE;
    }
    hpxi_command_close command = {0};
    command.reason_bytes =
        (uint16_t)(reason.size < HPXI_WS_CLOSE_REASON_MAX ? reason.size : HPXI_WS_CLOSE_REASON_MAX);
    if (command.reason_bytes != 0) {
        memcpy(command.reason, reason.data, command.reason_bytes);
    }
    return hpxi_handle_control(handle, HPXI_COMMAND_RECONNECT, &command, sizeof(command));
}

void hpx_handle_release(hpx_handle *handle)
{
    if (handle == NULL) {
        return;
    }
    HPX_ASSERT(handle->port != NULL);
    hpxi_channel *channel = handle->channel;
    if (channel->has_replies) { /* visible with the command */
        atomic_store_explicit(
            &channel->shared.requests, channel->replies.port.token, memory_order_relaxed);
    }
    hpxi_spsc *ring = &handle->link->control;
    hpx_shard *shard = &handle->port->engine->shards[handle->shard];
    hpxi_record *record = hpxi_spsc_claim(
        ring, HPXI_COMMAND_RELEASE, 0, hpxi_handle_tag(handle->slot, handle->generation));
    HPX_ASSERT(record != NULL); /* control_claim() keeps room for it */
    hpxi_spsc_commit(ring);
    hpxi_spsc_publish(ring);
    (void)hpxi_doorbell_ring(&shard->doorbell);
    handle_give_back(handle);
}

/* ---- Clones ---------------------------------------------------------------------------------- */

static hpx_status clone_make(const hpx_handle *handle, hpx_handle *copy)
{
    hpxi_hub *hub = handle->channel->hub;
    copy->shard = hub->shard_index;
    copy->link = &copy->port->core->links[copy->shard];
    hpx_status status = hpxi_channel_new(
        &copy->channel, copy->port->core, hub, false, 0, 0, copy->port->core->allocator);
    if (status != HPX_OK) {
        return status;
    }
    /* Counted before the original can be released: the connection never sees none. */
    atomic_fetch_add_explicit(&hub->shared.handles, 1, memory_order_relaxed);
    const hpxi_command_clone command = {.channel = copy->channel};
    hpxi_channel_retain(copy->channel); /* the shard's reference */
    status = hpxi_handle_control(copy, HPXI_COMMAND_CLONE, &command, sizeof(command));
    if (status != HPX_OK) {
        hpxi_channel_release(copy->channel);
        /* The original is still there, by contract: this was not the last. */
        atomic_fetch_sub_explicit(&hub->shared.handles, 1, memory_order_relaxed);
    }
    return status;
}

hpx_status hpx_handle_clone(const hpx_handle *handle, hpx_port *port, hpx_handle **out)
{
    HPX_ASSERT(handle->port != NULL);
    *out = NULL;
    if (port->engine != handle->port->engine) {
        return HPX_E_INVALID;
    }
    if (hpx_handle_state(handle) == HPX_CONN_CLOSED) {
        return HPX_E_CLOSED;
    }
    hpx_handle *copy = handle_take(port);
    if (copy == NULL) {
        return HPX_E_LIMIT;
    }
    const hpx_status status = clone_make(handle, copy);
    if (status != HPX_OK) {
        handle_give_back(copy);
        return status;
    }
    *out = copy;
    return HPX_OK;
}

/* ---- Streams --------------------------------------------------------------------------------- */

int hpx_stream_next(hpx_stream *stream, hpx_event *event)
{
    const int got = hpxi_channel_next(stream->channel, event);
    if (HPXI_LIKELY(got != 0) || !stream->port->fd_mode) {
        return got;
    }
    hpxi_port_arm(stream->port);
    return hpxi_channel_next(stream->channel, event); /* what came in between */
}

static int stream_wait_take(void *object, void *out)
{
    return hpxi_channel_next(object, out);
}

static bool stream_wait_is_empty(void *object)
{
    return hpxi_channel_is_empty_sc(object);
}

int hpx_stream_wait(hpx_stream *stream, hpx_event *event, uint64_t timeout_ns)
{
    return hpxi_port_wait(
        stream->port, stream_wait_take, stream_wait_is_empty, stream->channel, event, timeout_ns);
}

int hpx_stream_fd(hpx_stream *stream)
{
    return hpx_port_fd(stream->port);
}

void hpx_stream_release(hpx_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    hpx_port *port = stream->port;
    if (stream->prev != NULL) {
        stream->prev->next = stream->next;
    } else {
        port->streams = stream->next;
    }
    if (stream->next != NULL) {
        stream->next->prev = stream->prev;
    }
    hpxi_channel_abandon(stream->channel);
    hpxi_channel_release(stream->channel);
    hpxi_free(&port->engine->memory.counting, stream, sizeof(*stream));
}

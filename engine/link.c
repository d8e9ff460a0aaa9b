/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.c - the shard's side of ports: takes commands, publishes streams.
 *
 * Threads   The shard's, except hpxi_shard_link() (the port's, once).
 */
#include <string.h>

#include "engine/conn.h"
#include "engine/error.h"
#include "engine/shard.h"

/* Data commands taken from one port in one turn, and their bytes. */
#define LINK_COMMANDS_MAX 128u
#define LINK_BYTES_MAX    (256u << 10)

void hpxi_shard_link(hpx_shard *shard, uint32_t port_index, hpxi_link *link)
{
    HPX_ASSERT(port_index < HPXI_PORTS_MAX);
    hpxi_port_core_retain(link->port); /* given back when the shard unlinks it */
    HPX_ASSERT(
        atomic_load_explicit(&shard->shared.links[port_index], memory_order_acquire) == NULL);
    /* The shard sees the link's rings ready (partner: links_at). In the doorbell's total order, so
     * that a shard about to sleep finds the first command of a new port. */
    atomic_store_explicit(&shard->shared.links[port_index], link, memory_order_seq_cst);
    uint32_t count = atomic_load_explicit(&shard->shared.links_count, memory_order_relaxed);
    while (count <= port_index && !atomic_compare_exchange_weak_explicit(
                                      &shard->shared.links_count,
                                      &count,
                                      port_index + 1,
                                      memory_order_seq_cst,
                                      memory_order_relaxed)) {
    }
}

static hpxi_link *links_at(hpx_shard *shard, uint32_t i)
{
    return atomic_load_explicit(&shard->shared.links[i], memory_order_acquire);
}

static uint32_t links_count(hpx_shard *shard)
{
    return atomic_load_explicit(&shard->shared.links_count, memory_order_acquire);
}

/* ---- Control --------------------------------------------------------------------------------- */

static hpxi_link_handle *link_handle(hpx_shard *shard, hpxi_link *link, const hpxi_record *record)
{
    const uint32_t slot = (uint32_t)record->tag;
    HPX_ASSERT(slot < link->port->handles_max);
    hpxi_link_handle *handle = &link->handles[slot];
    if (handle->conn == NULL || handle->generation != (uint32_t)(record->tag >> 32)) {
        hpxi_count(&shard->counters.stale_commands, 1);
        return NULL;
    }
    return handle;
}

/* Out of memory for the connection itself: its stream still gets its events. */
static void link_refuse(hpx_shard *shard, hpxi_channel *channel)
{
    hpx_error error;
    (void)hpxi_error_set(&error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory for the connection");
    hpx_event event = {
        .kind = HPX_EVENT_DISCONNECTED, .time_ns = shard->owner.now_ns, .error = &error};
    hpxi_channel_event(channel, &event);
    event.kind = HPX_EVENT_CLOSED;
    hpxi_channel_event(channel, &event);
    (void)hpxi_channel_publish(channel);
    hpxi_channel_release(channel);
}

static void link_connect(hpx_shard *shard, hpxi_link *link, const hpxi_record *record)
{
    hpxi_command_connect command;
    HPX_ASSERT(record->bytes == sizeof(command));
    memcpy(&command, record->payload, sizeof(command));
    hpx_conn *conn = hpxi_conn_new_client(shard, command.spec, command.channel);
    if (conn == NULL) {
        link_refuse(shard, command.channel);
        hpxi_spec_free(command.spec);
        return;
    }
    const uint32_t slot = (uint32_t)record->tag;
    HPX_ASSERT(slot < link->port->handles_max);
    HPX_ASSERT(link->handles[slot].conn == NULL);
    link->handles[slot] =
        (hpxi_link_handle){.conn = conn, .generation = (uint32_t)(record->tag >> 32)};
    conn->link = link;
    conn->handle_slot = slot;
    hpxi_conn_start(conn);
    if (shard->owner.phase != HPXI_SHARD_RUNNING) {
        hpxi_conn_close(conn, 1001, (hpx_span){0});
    }
}

static void link_release(hpxi_link_handle *handle)
{
    hpx_conn *conn = handle->conn;
    handle->conn = NULL;
    conn->link = NULL;
    hpxi_conn_close(conn, 1000, (hpx_span){0});
}

static void link_control(hpx_shard *shard, hpxi_link *link, const hpxi_record *record)
{
    if (record->type == HPXI_COMMAND_CONNECT) {
        link_connect(shard, link, record);
        return;
    }
    hpxi_link_handle *handle = link_handle(shard, link, record);
    if (handle == NULL) {
        return; /* the connection has ended already */
    }
    if (record->type == HPXI_COMMAND_CLOSE) {
        hpxi_command_close command;
        HPX_ASSERT(record->bytes == sizeof(command));
        memcpy(&command, record->payload, sizeof(command));
        hpxi_conn_close(
            handle->conn,
            command.code,
            (hpx_span){.data = command.reason, .size = command.reason_bytes});
        return;
    }
    if (record->type == HPXI_COMMAND_RECONNECT) {
        hpxi_command_close command;
        HPX_ASSERT(record->bytes == sizeof(command));
        memcpy(&command, record->payload, sizeof(command));
        hpxi_conn_reconnect(
            handle->conn, (hpx_span){.data = command.reason, .size = command.reason_bytes});
        return;
    }
    HPX_ASSERT(record->type == HPXI_COMMAND_RELEASE);
    link_release(handle);
}

/* The port is closed and its rings are read to the end: forget it. */
static void link_unlink(hpx_shard *shard, uint32_t i, hpxi_link *link)
{
    for (uint32_t slot = 0; slot < link->port->handles_max; slot++) {
        if (link->handles[slot].conn != NULL) {
            link_release(&link->handles[slot]);
        }
    }
    atomic_store_explicit(&shard->shared.links[i], NULL, memory_order_release);
    hpxi_port_core_release(link->port);
}

uint32_t hpxi_links_control(hpx_shard *shard)
{
    uint32_t count = 0;
    const uint32_t links = links_count(shard);
    for (uint32_t i = 0; i < links; i++) {
        hpxi_link *link = links_at(shard, i);
        if (link == NULL) {
            continue;
        }
        /* Acquire, before the rings are read: all that the port wrote is visible (partner:
         * hpx_port_close). */
        const bool closed = atomic_load_explicit(&link->closed, memory_order_acquire) != 0;
        for (hpxi_record *record; (record = hpxi_spsc_peek(&link->control)) != NULL;) {
            link_control(shard, link, record);
            hpxi_spsc_release(&link->control);
            count++;
        }
        if (closed && hpxi_spsc_peek(&link->data) == NULL) {
            link_unlink(shard, i, link);
        }
    }
    if (HPXI_UNLIKELY(atomic_load_explicit(&shard->shared.stop, memory_order_relaxed) != 0)) {
        hpxi_shard_stop(
            shard, atomic_load_explicit(&shard->shared.stop_timeout_ns, memory_order_relaxed));
    }
    return count;
}

/* ---- Data ------------------------------------------------------------------------------------ */

static void
link_send(hpx_shard *shard, hpx_conn *conn, const hpxi_command_send *command, hpx_span payload)
{
    if (conn->state != HPX_CONN_READY || conn->epoch != command->epoch) {
        hpxi_count(&shard->counters.stale_commands, 1); /* of an epoch that is over */
        return;
    }
    const hpx_status status = hpxi_conn_send(conn, (hpx_message_kind)command->kind, payload);
    if (status != HPX_OK) {
        hpxi_conn_fail_with(conn, status, HPX_STAGE_READY, "no memory for an outgoing message");
        return;
    }
    if (hpxi_conn_queued(conn) > conn->send_queue_bytes_max) {
        /* What the port has already put in its ring still goes in: bounded by that ring. */
        conn->want_writable = true;
        atomic_store_explicit(&conn->channel->shared.send_blocked, 1, memory_order_relaxed);
        hpxi_conn_mark_settle(conn);
    }
}

static size_t link_data(hpx_shard *shard, hpxi_link *link, const hpxi_record *record)
{
    hpxi_command_send command;
    memcpy(&command, record->payload, sizeof(command));
    hpx_span payload = {
        .data = record->payload + sizeof(command), .size = record->bytes - sizeof(command)};
    hpxi_command_block block = {0};
    if (record->type == HPXI_COMMAND_SEND_BLOCK) {
        memcpy(&block, payload.data, sizeof(block));
        payload = (hpx_span){.data = block.data, .size = block.size};
    }
    const hpxi_link_handle *handle = link_handle(shard, link, record);
    if (handle != NULL) {
        link_send(shard, handle->conn, &command, payload);
    }
    if (block.data != NULL) {
        hpxi_free(shard->allocator, block.data, block.size);
        atomic_fetch_sub_explicit(&link->block_bytes, block.size, memory_order_release);
    }
    return payload.size;
}

/* The data ring is empty again: tell those whose sends found it full. */
static void link_feed(hpx_shard *shard, hpxi_link *link)
{
    atomic_store_explicit(&link->starved, 0, memory_order_seq_cst); /* before want_room is taken */
    for (uint32_t slot = 0; slot < link->port->handles_max; slot++) {
        hpx_conn *conn = link->handles[slot].conn;
        if (conn == NULL ||
            atomic_exchange_explicit(&conn->channel->shared.want_room, 0, memory_order_seq_cst) ==
                0 ||
            conn->state != HPX_CONN_READY || conn->want_writable) {
            continue; /* not waiting; or its end, or its own WRITABLE, comes anyway */
        }
        const hpx_event event = {
            .kind = HPX_EVENT_WRITABLE,
            .epoch = conn->epoch,
            .time_ns = shard->owner.now_ns,
        };
        hpxi_conn_deliver(conn, &event);
    }
}

uint32_t hpxi_links_data(hpx_shard *shard)
{
    uint32_t count = 0;
    const uint32_t links = links_count(shard);
    for (uint32_t i = 0; i < links; i++) {
        hpxi_link *link = links_at(shard, i);
        if (link == NULL) {
            continue;
        }
        size_t bytes = 0;
        for (uint32_t taken = 0; taken < LINK_COMMANDS_MAX && bytes < LINK_BYTES_MAX; taken++) {
            const hpxi_record *record = hpxi_spsc_peek(&link->data);
            if (record == NULL) {
                break;
            }
            bytes += link_data(shard, link, record);
            hpxi_spsc_release(&link->data);
            count++;
        }
        if (HPXI_UNLIKELY(atomic_load_explicit(&link->starved, memory_order_acquire) != 0) &&
            hpxi_spsc_peek(&link->data) == NULL) {
            link_feed(shard, link);
        }
    }
    return count;
}

bool hpxi_links_are_empty_sc(hpx_shard *shard)
{
    const uint32_t links = atomic_load_explicit(&shard->shared.links_count, memory_order_seq_cst);
    for (uint32_t i = 0; i < links; i++) {
        hpxi_link *link = atomic_load_explicit(&shard->shared.links[i], memory_order_seq_cst);
        if (link == NULL) {
            continue;
        }
        if (!hpxi_spsc_is_empty_sc(&link->control) || !hpxi_spsc_is_empty_sc(&link->data) ||
            atomic_load_explicit(&link->starved, memory_order_seq_cst) != 0 ||
            atomic_load_explicit(&link->closed, memory_order_seq_cst) != 0) {
            return false;
        }
    }
    return true;
}

/* ---- Out ------------------------------------------------------------------------------------- */

void hpxi_shard_mark_publish(hpx_shard *shard, hpxi_channel *channel)
{
    if (channel->shard.dirty) {
        return;
    }
    channel->shard.dirty = true;
    hpxi_channel_retain(channel); /* its connection may end before the turn does */
    channel->shard.next_dirty = shard->owner.publish_list;
    shard->owner.publish_list = channel;
}

uint32_t hpxi_shard_publish(hpx_shard *shard)
{
    uint32_t count = 0;
    hpxi_channel *channel = shard->owner.publish_list;
    shard->owner.publish_list = NULL;
    while (channel != NULL) {
        hpxi_channel *next = channel->shard.next_dirty;
        channel->shard.dirty = false;
        channel->shard.next_dirty = NULL;
        if (hpxi_channel_publish(channel)) {
            hpxi_count(&shard->counters.wakes, 1);
        }
        hpxi_channel_release(channel);
        channel = next;
        count++;
    }
    return count;
}

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
#include "engine/subscription.h"

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

/* The handle that a command was given on, or NULL: it was released. */
static hpxi_channel *link_channel(hpx_shard *shard, hpxi_link *link, const hpxi_record *record)
{
    const uint32_t slot = (uint32_t)record->tag;
    HPX_ASSERT(slot < link->port->handles_max);
    const hpxi_link_handle *handle = &link->handles[slot];
    if (handle->channel == NULL || handle->generation != (uint32_t)(record->tag >> 32)) {
        hpxi_count(&shard->counters.stale_commands, 1);
        return NULL;
    }
    return handle->channel;
}

/* A handle appears; takes over the reference. */
static void
link_add_handle(hpxi_link *link, const hpxi_record *record, hpxi_channel *channel, hpx_conn *conn)
{
    const uint32_t slot = (uint32_t)record->tag;
    HPX_ASSERT(slot < link->port->handles_max);
    HPX_ASSERT(link->handles[slot].channel == NULL);
    link->handles[slot] =
        (hpxi_link_handle){.channel = channel, .generation = (uint32_t)(record->tag >> 32)};
    channel->shard.link = link;
    if (conn != NULL) {
        hpxi_conn_add_handle(conn, channel);
    }
}

/* To the stream, or to the handler, for which there is no connection to show. */
static void link_tell_refused(hpxi_channel *channel, const hpxi_spec *spec, const hpx_event *event)
{
    if (spec->config.on_event != NULL) {
        spec->config.on_event(NULL, event, spec->config.user);
    } else {
        hpxi_channel_event(channel, event);
    }
}

/* Out of memory for the connection itself: its events are told all the same. */
static void link_refuse(hpx_shard *shard, hpxi_channel *channel, const hpxi_spec *spec)
{
    hpx_error error;
    (void)hpxi_error_set(&error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory for the connection");
    hpx_event event = {
        .kind = HPX_EVENT_DISCONNECTED, .time_ns = shard->owner.now_ns, .error = &error};
    channel->hub->shard.made = true;
    atomic_store_explicit(
        &channel->hub->shared.state, (uint32_t)HPX_CONN_CLOSED, memory_order_release);
    link_tell_refused(channel, spec, &event);
    event.kind = HPX_EVENT_CLOSED;
    link_tell_refused(channel, spec, &event);
    (void)hpxi_channel_publish(channel);
}

static void link_connect(hpx_shard *shard, hpxi_link *link, const hpxi_record *record)
{
    hpxi_command_connect command;
    HPX_ASSERT(record->bytes == sizeof(command));
    memcpy(&command, record->payload, sizeof(command));
    hpxi_channel *channel = command.channel;
    hpxi_channel_retain(channel); /* one for the handle, one for the connection's events */
    hpxi_hub_retain(channel->hub);
    hpx_conn *conn = hpxi_conn_new_client(shard, command.spec, channel->hub, channel);
    link_add_handle(link, record, channel, conn);
    if (conn == NULL) {
        link_refuse(shard, channel, command.spec);
        hpxi_spec_free(command.spec);
        hpxi_hub_release(channel->hub);
        hpxi_channel_release(channel);
        return;
    }
    hpxi_conn_start(conn);
    if (shard->owner.phase != HPXI_SHARD_RUNNING) {
        hpxi_conn_close(conn, 1001, (hpx_span){0});
    }
}

/* False: the connection is not made yet, its CONNECT stands in another port's ring: later. */
static bool link_clone(hpxi_link *link, const hpxi_record *record)
{
    hpxi_command_clone command;
    HPX_ASSERT(record->bytes == sizeof(command));
    memcpy(&command, record->payload, sizeof(command));
    const hpxi_hub *hub = command.channel->hub;
    if (!hub->shard.made) {
        return false;
    }
    link_add_handle(link, record, command.channel, hub->shard.conn);
    return true;
}

/* The handle is gone: with its requests, and with the connection if it was the last. */
static void link_release(hpxi_link *link, uint32_t slot)
{
    hpxi_channel *channel = link->handles[slot].channel;
    hpxi_hub *hub = channel->hub;
    link->handles[slot].channel = NULL;
    /* Requests that still stand in the data ring find no handle: give back what they took. */
    const uint64_t opened = atomic_load_explicit(&channel->shared.requests, memory_order_relaxed);
    for (uint64_t left = opened - channel->shard.requests; left != 0; left--) {
        hpxi_hub_give_pending(hub);
    }
    hpx_conn *conn = channel->shard.conn;
    if (conn != NULL) {
        if (conn->session != NULL) {
            hpxi_session_forget(conn, channel);
        }
        hpxi_conn_remove_handle(conn, channel);
    }
    /* Acquire: clones are counted before their original is released. */
    const uint32_t before =
        atomic_fetch_sub_explicit(&hub->shared.handles, 1, memory_order_acq_rel);
    HPX_ASSERT(before != 0);
    if (before == 1 && conn != NULL) {
        hpxi_conn_close(conn, 1000, (hpx_span){0});
    }
    hpxi_channel_release(channel);
}

/* The cancellation overtook its request, which stands in the data ring: mark it there. */
static void link_cancel_queued(hpxi_link *link, uint64_t tag, uint64_t token)
{
    for (hpxi_record *at = hpxi_spsc_peek(&link->data); at != NULL;
         at = hpxi_spsc_after(&link->data, at)) {
        if (at->tag != tag ||
            (at->type != HPXI_COMMAND_REQUEST && at->type != HPXI_COMMAND_REQUEST_BLOCK)) {
            continue;
        }
        uint8_t *where = at->payload + sizeof(hpxi_command_send);
        hpxi_command_request request;
        memcpy(&request, where, sizeof(request));
        if (request.token == token) {
            request.cancelled = 1;
            memcpy(where, &request, sizeof(request));
            return;
        }
    }
}

static void
link_cancel(hpx_conn *conn, const hpxi_channel *channel, const hpxi_record *record, uint64_t token)
{
    if (conn->session == NULL) {
        return;
    }
    if (token > channel->shard.requests) { /* tokens count what comes through the ring */
        link_cancel_queued(channel->shard.link, record->tag, token);
        return;
    }
    hpxi_request *request = hpxi_pending_by_token(&conn->session->pending, channel, token);
    if (request != NULL) {
        hpxi_session_cancel(conn, request);
    }
}

/* A command to the handle's connection. */
static void link_command(hpx_conn *conn, const hpxi_channel *channel, const hpxi_record *record)
{
    if (record->type == HPXI_COMMAND_CANCEL) {
        uint64_t token;
        HPX_ASSERT(record->bytes == sizeof(token));
        memcpy(&token, record->payload, sizeof(token));
        link_cancel(conn, channel, record, token);
        return;
    }
    hpxi_command_close command;
    HPX_ASSERT(record->bytes == sizeof(command));
    memcpy(&command, record->payload, sizeof(command));
    const hpx_span reason = {.data = command.reason, .size = command.reason_bytes};
    if (record->type == HPXI_COMMAND_CLOSE) {
        hpxi_conn_close(conn, command.code, reason);
        return;
    }
    HPX_ASSERT(record->type == HPXI_COMMAND_RECONNECT);
    hpxi_conn_reconnect(conn, reason);
}

/* False: not now; it stays in the ring. */
static bool link_control(hpx_shard *shard, hpxi_link *link, const hpxi_record *record)
{
    if (record->type == HPXI_COMMAND_CONNECT) {
        link_connect(shard, link, record);
        return true;
    }
    if (record->type == HPXI_COMMAND_CLONE) {
        return link_clone(link, record);
    }
    hpxi_channel *channel = link_channel(shard, link, record);
    HPX_ASSERT(channel != NULL); /* RELEASE is a handle's last command */
    if (record->type == HPXI_COMMAND_RELEASE) {
        link_release(link, (uint32_t)record->tag);
    } else if (channel->shard.conn != NULL) {
        link_command(channel->shard.conn, channel, record);
    } else {
        hpxi_count(&shard->counters.stale_commands, 1); /* the connection has ended already */
    }
    return true;
}

/* All control commands of one port. */
static uint32_t link_take_control(hpx_shard *shard, hpxi_link *link)
{
    uint32_t count = 0;
    for (hpxi_record *record; (record = hpxi_spsc_peek(&link->control)) != NULL;) {
        if (!link_control(shard, link, record)) {
            break;
        }
        hpxi_spsc_release(&link->control);
        count++;
    }
    return count;
}

/* Subscriptions that were let go. */
static void link_sweep(hpx_shard *shard, hpxi_link *link, bool all)
{
    for (hpx_subscription *at = link->subscriptions, *next; at != NULL; at = next) {
        next = at->shard.next_of_link;
        if (all || hpxi_subscription_is_leaving(at)) {
            hpxi_subscription_end(at, shard, NULL);
        }
    }
}

/* The port is closed and its rings are read to the end: forget it. */
static void link_unlink(hpx_shard *shard, uint32_t i, hpxi_link *link)
{
    for (uint32_t slot = 0; slot < link->port->handles_max; slot++) {
        if (link->handles[slot].channel != NULL) {
            link_release(link, slot);
        }
    }
    link_sweep(shard, link, true);
    atomic_store_explicit(&shard->shared.links[i], NULL, memory_order_release);
    hpxi_port_core_release(link->port);
}

uint32_t hpxi_links_control(hpx_shard *shard)
{
    uint32_t count = 0;
    /* Acquire, before the rings are read: a connection that was asked for before the stop is made
     * before it, and gets its end (partner: engine_join). */
    const bool stop = atomic_load_explicit(&shard->shared.stop, memory_order_acquire) != 0;
    const uint32_t links = links_count(shard);
    for (uint32_t i = 0; i < links; i++) {
        hpxi_link *link = links_at(shard, i);
        if (link == NULL) {
            continue;
        }
        /* Acquire, before the rings are read: all that the port wrote is visible (partner:
         * hpx_port_close). */
        const bool closed = atomic_load_explicit(&link->closed, memory_order_acquire) != 0;
        count += link_take_control(shard, link);
        if (HPXI_UNLIKELY(atomic_load_explicit(&link->leaving, memory_order_relaxed) != 0) &&
            atomic_exchange_explicit(&link->leaving, 0, memory_order_seq_cst) != 0) {
            link_sweep(shard, link, false); /* partner: hpx_subscription_unsubscribe */
            count++;
        }
        if (closed && hpxi_spsc_peek(&link->data) == NULL &&
            hpxi_spsc_peek(&link->control) == NULL) {
            link_unlink(shard, i, link);
        }
    }
    if (HPXI_UNLIKELY(stop)) {
        hpxi_shard_stop(
            shard, atomic_load_explicit(&shard->shared.stop_timeout_ns, memory_order_relaxed));
    }
    return count;
}

/* ---- Data ------------------------------------------------------------------------------------ */

/* Over the queue's limit: what the port has already put in its ring still goes in, bounded by that
 * ring. */
static void link_check_queue(hpx_conn *conn)
{
    if (hpxi_conn_queued(conn) > conn->send_queue_bytes_max) {
        conn->want_writable = true;
        atomic_store_explicit(&conn->hub->shared.send_blocked, 1, memory_order_relaxed);
        hpxi_conn_mark_settle(conn);
    }
}

/* Is the connection Ready in the epoch that the command belongs to? */
static bool link_is_current(const hpx_conn *conn, const hpxi_command_send *command)
{
    return conn != NULL && conn->state == HPX_CONN_READY && conn->epoch == command->epoch;
}

static void
link_send(hpx_shard *shard, hpx_conn *conn, const hpxi_command_send *command, hpx_span payload)
{
    if (!link_is_current(conn, command)) { /* of an epoch that is over: never sent later */
        hpxi_count(&shard->counters.stale_commands, 1);
        if (conn != NULL) {
            hpxi_count(&conn->hub->shared.counters.stale_drops, 1);
        }
        return;
    }
    if (conn->session != NULL) {
        hpxi_session_spend(conn);
    }
    const hpx_status status = hpxi_conn_send(conn, (hpx_message_kind)command->kind, payload);
    if (status != HPX_OK) {
        hpxi_conn_fail_with(conn, status, HPX_STAGE_READY, "no memory for an outgoing message");
        return;
    }
    link_check_queue(conn);
}

/* A request that is over before it was sent. */
static void link_request_unsent(
    hpx_shard *shard,
    hpxi_channel *channel,
    const hpxi_command_send *command,
    const hpxi_command_request *request,
    hpx_status status)
{
    const hpx_reply reply = {
        .status = status,
        .token = request->token,
        .user = request->user,
        .epoch = command->epoch,
        .time_ns = shard->owner.now_ns,
    };
    hpxi_hub_give_pending(channel->hub);
    hpxi_replies_push(&channel->replies, &reply);
    hpxi_shard_mark_publish(shard, channel);
}

static void link_request(
    hpx_shard *shard,
    hpxi_channel *channel,
    const hpxi_command_send *command,
    const hpxi_command_request *request,
    hpx_span payload)
{
    hpx_conn *conn = channel->shard.conn;
    channel->shard.requests++;
    hpx_status status = HPX_OK;
    if (!link_is_current(conn, command)) {
        hpxi_count(&channel->hub->shared.counters.stale_drops, 1);
        status = HPX_E_DISCONNECTED;
    } else if (request->cancelled != 0) {
        status = HPX_E_CANCELLED;
    } else if (request->deadline_ns <= shard->owner.now_ns) {
        status = HPX_E_TIMEOUT;
    }
    if (status == HPX_OK) {
        const hpx_request_id raw = {
            .kind = (hpx_id_kind)request->raw_kind,
            .number = request->raw_number,
            .text = {.data = request->raw_text, .size = request->raw_bytes},
        };
        const hpxi_request_config config = {
            .channel = channel,
            .user = request->user,
            .token = request->token,
            .deadline_ns = request->deadline_ns,
            .raw = raw.kind != HPX_ID_NONE ? &raw : NULL,
        };
        hpxi_request *sent;
        status = hpxi_session_request(conn, &config, payload, &sent);
    }
    if (status != HPX_OK) {
        link_request_unsent(shard, channel, command, request, status);
        return;
    }
    link_check_queue(conn);
}

/* False: the connection is not made yet, its CONNECT stands in another port's ring: later. */
static bool link_subscribe(hpx_shard *shard, hpxi_link *link, const hpxi_record *record)
{
    hpx_subscription *sub;
    HPX_ASSERT(record->bytes == sizeof(sub));
    memcpy(&sub, record->payload, sizeof(sub));
    if (!sub->hub->shard.made) {
        return false;
    }
    hpx_conn *conn = sub->hub->shard.conn;
    hpx_error error;
    hpx_status status = HPX_OK;
    if (hpxi_subscription_is_leaving(sub)) {
        (void)hpxi_error_set(&error, HPX_OK, HPX_STAGE_READY, "unsubscribed by the application");
    } else if (conn == NULL || conn->session->closed) {
        (void)hpxi_error_set(&error, HPX_E_CLOSED, HPX_STAGE_CLOSE, "the connection is closed");
    } else {
        sub->shard.link = link;
        status = hpxi_subscription_attach(sub, conn); /* takes over the reference */
        if (status == HPX_OK) {
            return true;
        }
        (void)hpxi_error_set(
            &error, status, HPX_STAGE_CONFIG, "topics_max: %s", hpx_status_text(status));
    }
    hpxi_subscription_end(sub, shard, &error);
    hpxi_subscription_drop(sub);
    return true;
}

/* Takes one data command. False: not now; it stays in the ring. */
static bool link_data(hpx_shard *shard, hpxi_link *link, const hpxi_record *record, size_t *bytes)
{
    if (record->type == HPXI_COMMAND_SUBSCRIBE) {
        return link_subscribe(shard, link, record);
    }
    hpxi_command_send command;
    hpxi_command_request request;
    memcpy(&command, record->payload, sizeof(command));
    size_t at = sizeof(command);
    const bool is_request = record->type >= HPXI_COMMAND_REQUEST;
    if (is_request) {
        memcpy(&request, record->payload + at, sizeof(request));
        at += sizeof(request);
    }
    hpx_span payload = {.data = record->payload + at, .size = record->bytes - at};
    hpxi_command_block block = {0};
    if (record->type == HPXI_COMMAND_SEND_BLOCK || record->type == HPXI_COMMAND_REQUEST_BLOCK) {
        memcpy(&block, payload.data, sizeof(block));
        payload = (hpx_span){.data = block.data, .size = block.size};
    }
    hpxi_channel *channel = link_channel(shard, link, record);
    if (channel != NULL && is_request) {
        link_request(shard, channel, &command, &request, payload);
    } else if (channel != NULL) {
        link_send(shard, channel->shard.conn, &command, payload);
    }
    if (block.data != NULL) {
        hpxi_free(shard->allocator, block.data, block.size);
        atomic_fetch_sub_explicit(&link->block_bytes, block.size, memory_order_release);
    }
    *bytes += payload.size;
    return true;
}

/* The data ring is empty again: tell those whose sends found it full. */
static void link_feed(hpx_shard *shard, hpxi_link *link)
{
    atomic_store_explicit(&link->starved, 0, memory_order_seq_cst); /* before want_room is taken */
    for (uint32_t slot = 0; slot < link->port->handles_max; slot++) {
        hpxi_channel *channel = link->handles[slot].channel;
        hpx_conn *conn = channel != NULL ? channel->shard.conn : NULL;
        if (conn == NULL ||
            atomic_exchange_explicit(&channel->shared.want_room, 0, memory_order_seq_cst) == 0 ||
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
            /* A clone's first command must not come before the clone itself: control once more. */
            count += link_take_control(shard, link);
            if (!link_data(shard, link, record, &bytes)) {
                break;
            }
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
            atomic_load_explicit(&link->leaving, memory_order_seq_cst) != 0 ||
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

void hpxi_shard_mark_feed(hpx_shard *shard, hpx_subscription *subscription)
{
    if (subscription->shard.dirty) {
        return;
    }
    subscription->shard.dirty = true;
    hpxi_subscription_retain(subscription);
    subscription->shard.next_dirty = shard->owner.feed_list;
    shard->owner.feed_list = subscription;
}

static uint32_t shard_publish_feeds(hpx_shard *shard)
{
    uint32_t count = 0;
    hpx_subscription *sub = shard->owner.feed_list;
    shard->owner.feed_list = NULL;
    while (sub != NULL) {
        hpx_subscription *next = sub->shard.next_dirty;
        sub->shard.dirty = false;
        sub->shard.next_dirty = NULL;
        hpxi_feed_publish(&sub->feed);
        if (hpxi_doorbell_ring(&sub->core->doorbell)) {
            hpxi_count(&shard->counters.wakes, 1);
        }
        hpxi_subscription_drop(sub);
        sub = next;
        count++;
    }
    return count;
}

uint32_t hpxi_shard_publish(hpx_shard *shard)
{
    uint32_t count = shard_publish_feeds(shard);
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

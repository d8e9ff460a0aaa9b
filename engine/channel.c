/* SPDX-License-Identifier: Apache-2.0 */
/* channel.c - events from a shard to a port's stream. */
#include "engine/channel.h"

#include <string.h>

#include "engine/port.h"

/* Lifecycle events a connection may owe at once: CONNECTED, WRITABLE (one until it is taken),
 * DISCONNECTED, CLOSED; the ring holds many times that. */
#define CHANNEL_LIFECYCLE_BYTES (16u << 10)

/* Whatever was made; a ring that was not made has no data. */
static void channel_free_rings(hpxi_channel *channel)
{
    if (channel->messages.data != NULL) {
        hpxi_spsc_fini(&channel->messages);
    }
    if (channel->lifecycle.data != NULL) {
        hpxi_spsc_fini(&channel->lifecycle);
    }
    if (channel->has_replies) {
        hpxi_replies_fini(&channel->replies);
    }
}

static bool
channel_make_rings(hpxi_channel *channel, const hpxi_hub *hub, bool has_stream, uint32_t ring_bytes)
{
    const hpx_allocator *allocator = channel->allocator;
    if (has_stream) {
        if (hpxi_spsc_init(&channel->lifecycle, CHANNEL_LIFECYCLE_BYTES, allocator) != HPX_OK ||
            hpxi_spsc_init(&channel->messages, ring_bytes, allocator) != HPX_OK) {
            return false;
        }
        channel->has_stream = true;
    }
    if (hub->can_request) {
        if (hpxi_replies_init(
                &channel->replies,
                hub->reply_ring_bytes,
                hub->requests_max,
                hub->large_bytes_max,
                allocator) != HPX_OK) {
            return false;
        }
        channel->has_replies = true;
    }
    return true;
}

hpx_status hpxi_channel_new(
    hpxi_channel **out,
    hpxi_port_core *port,
    hpxi_hub *hub,
    bool has_stream,
    uint32_t ring_bytes,
    uint64_t large_bytes_max,
    const hpx_allocator *allocator)
{
    *out = NULL;
    hpxi_channel *channel = hpxi_alloc_zero(allocator, sizeof(*channel), _Alignof(hpxi_channel));
    if (channel == NULL) {
        return HPX_E_NO_MEMORY;
    }
    channel->allocator = allocator;
    channel->large_bytes_max = large_bytes_max;
    atomic_init(&channel->shared.refs, 1);
    if (!channel_make_rings(channel, hub, has_stream, ring_bytes)) {
        channel_free_rings(channel);
        hpxi_free(allocator, channel, sizeof(*channel));
        return HPX_E_NO_MEMORY;
    }
    hpxi_port_core_retain(port);
    channel->port = port;
    hpxi_hub_retain(hub);
    channel->hub = hub;
    *out = channel;
    return HPX_OK;
}

void hpxi_channel_retain(hpxi_channel *channel)
{
    atomic_fetch_add_explicit(&channel->shared.refs, 1, memory_order_relaxed);
}

/* Frees blocks of messages that nobody took. Both threads are done with the rings. */
static void channel_drain(hpxi_channel *channel)
{
    for (hpxi_record *record; (record = hpxi_spsc_peek(&channel->messages)) != NULL;) {
        if (record->type == HPXI_RECORD_TEXT_BLOCK || record->type == HPXI_RECORD_BINARY_BLOCK) {
            hpxi_block_record block;
            memcpy(&block, record->payload, sizeof(block));
            hpxi_free(channel->allocator, block.data, block.size);
        }
        hpxi_spsc_release(&channel->messages);
    }
}

void hpxi_channel_release(hpxi_channel *channel)
{
    if (channel == NULL ||
        atomic_fetch_sub_explicit(&channel->shared.refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (channel->has_stream) {
        hpxi_free(
            channel->allocator, channel->consumer.held_block, channel->consumer.held_block_size);
        if (channel->consumer.held == &channel->messages && channel->consumer.held_block != NULL) {
            hpxi_spsc_release(&channel->messages); /* its block was just freed */
        }
        channel_drain(channel);
    }
    channel_free_rings(channel);
    hpxi_hub_release(channel->hub);
    hpxi_port_core_release(channel->port);
    hpxi_free(channel->allocator, channel, sizeof(*channel));
}

static bool channel_is_wanted(const hpxi_channel *channel)
{
    return channel->has_stream &&
           atomic_load_explicit(&channel->shared.abandoned, memory_order_relaxed) == 0;
}

/* A message too large for the ring: an owned block goes through it instead. */
static bool
channel_block(hpxi_channel *channel, const hpx_event *event, const hpxi_message_head *head)
{
    /* Partner: the port subtracts with release after freeing; only the sum matters. */
    const uint64_t outstanding =
        atomic_load_explicit(&channel->shared.large_bytes, memory_order_acquire);
    if (outstanding + event->payload.size > channel->large_bytes_max) {
        return false;
    }
    const uint32_t type =
        event->message_kind == HPX_MESSAGE_TEXT ? HPXI_RECORD_TEXT_BLOCK : HPXI_RECORD_BINARY_BLOCK;
    hpxi_record *record = hpxi_spsc_claim(
        &channel->messages, type, sizeof(hpxi_block_record), channel->shard.next_sequence);
    if (record == NULL) {
        return false;
    }
    uint8_t *data = hpxi_alloc(channel->allocator, event->payload.size, 64);
    if (data == NULL) {
        return false; /* the claim is abandoned */
    }
    memcpy(data, event->payload.data, event->payload.size);
    const hpxi_block_record block = {.head = *head, .data = data, .size = event->payload.size};
    memcpy(record->payload, &block, sizeof(block));
    hpxi_spsc_commit(&channel->messages);
    atomic_fetch_add_explicit(
        &channel->shared.large_bytes, event->payload.size, memory_order_relaxed);
    return true;
}

static bool
channel_inline(hpxi_channel *channel, const hpx_event *event, const hpxi_message_head *head)
{
    const uint32_t type =
        event->message_kind == HPX_MESSAGE_TEXT ? HPXI_RECORD_TEXT : HPXI_RECORD_BINARY;
    const uint32_t bytes = (uint32_t)(sizeof(*head) + event->payload.size);
    hpxi_record *record =
        hpxi_spsc_claim(&channel->messages, type, bytes, channel->shard.next_sequence);
    if (record == NULL) {
        return false;
    }
    memcpy(record->payload, head, sizeof(*head));
    if (event->payload.size != 0) {
        memcpy(record->payload + sizeof(*head), event->payload.data, event->payload.size);
    }
    hpxi_spsc_commit(&channel->messages);
    return true;
}

bool hpxi_channel_message(hpxi_channel *channel, const hpx_event *event)
{
    HPX_DASSERT(event->kind == HPX_EVENT_MESSAGE);
    if (!channel_is_wanted(channel)) {
        return true; /* nobody listens: not a drop */
    }
    const hpxi_message_head head = {
        .epoch = event->epoch,
        .time_ns = event->time_ns,
        .missed = channel->shard.missed,
        .message_class = (uint32_t)event->message_class,
        .is_decoded = event->raw.data != event->payload.data ? 1 : 0,
    };
    const bool fits = event->payload.size <= channel->messages.bytes_max - sizeof(head);
    const bool taken =
        fits ? channel_inline(channel, event, &head) : channel_block(channel, event, &head);
    if (!taken) {
        channel->shard.missed++;
        return false;
    }
    channel->shard.missed = 0;
    channel->shard.next_sequence++;
    return true;
}

/* One attempt's events (CONNECTED, DISCONNECTED) and CLOSED, with padding at the wrap. */
#define CHANNEL_ATTEMPT_BYTES                                                                      \
    (2 * (sizeof(hpx_conn_info) + 2 * sizeof(hpx_error) +                                          \
          4 * (sizeof(hpxi_record) + sizeof(hpxi_lifecycle) + HPXI_SPSC_ALIGN)))

bool hpxi_channel_has_room(const hpxi_channel *channel)
{
    if (!channel_is_wanted(channel)) {
        return true;
    }
    const uint64_t head =
        atomic_load_explicit(&channel->lifecycle.consumer.head, memory_order_acquire);
    const uint64_t used = channel->lifecycle.producer.tail_claimed - head;
    _Static_assert(4 * CHANNEL_ATTEMPT_BYTES <= CHANNEL_LIFECYCLE_BYTES, "room for attempts");
    return CHANNEL_LIFECYCLE_BYTES - used >= CHANNEL_ATTEMPT_BYTES;
}

/* WRITABLE may use half of the lifecycle ring, so that the others always find room. */
static bool channel_has_spare_room(const hpxi_channel *channel)
{
    const uint64_t head =
        atomic_load_explicit(&channel->lifecycle.consumer.head, memory_order_acquire);
    return channel->lifecycle.producer.tail_claimed - head < CHANNEL_LIFECYCLE_BYTES / 2;
}

void hpxi_channel_event(hpxi_channel *channel, const hpx_event *event)
{
    if (!channel_is_wanted(channel)) {
        return;
    }
    uint32_t type = 0;
    const void *body = NULL;
    uint32_t body_bytes = 0;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        type = HPXI_RECORD_CONNECTED;
        body = event->info;
        body_bytes = sizeof(*event->info);
        break;
    case HPX_EVENT_WRITABLE:
        type = HPXI_RECORD_WRITABLE;
        break;
    case HPX_EVENT_DISCONNECTED:
    case HPX_EVENT_CLOSED:
        type = event->kind == HPX_EVENT_CLOSED ? HPXI_RECORD_CLOSED : HPXI_RECORD_DISCONNECTED;
        body = event->error;
        body_bytes = sizeof(*event->error);
        break;
    case HPX_EVENT_MESSAGE:
        break;
    }
    HPX_ASSERT(type != 0);
    if (event->kind == HPX_EVENT_WRITABLE && !channel_has_spare_room(channel)) {
        return; /* a hint; many of them already wait in the ring */
    }
    hpxi_lifecycle head = {.epoch = event->epoch, .time_ns = event->time_ns};
    if (event->kind == HPX_EVENT_DISCONNECTED) {
        head.missed = channel->shard.missed;
        channel->shard.missed = 0;
    }
    hpxi_record *record = hpxi_spsc_claim(
        &channel->lifecycle,
        type,
        (uint32_t)sizeof(head) + body_bytes,
        channel->shard.next_sequence);
    HPX_ASSERT(record != NULL);
    memcpy(record->payload, &head, sizeof(head));
    if (body_bytes != 0) {
        memcpy(record->payload + sizeof(head), body, body_bytes);
    }
    hpxi_spsc_commit(&channel->lifecycle);
    channel->shard.next_sequence++;
}

bool hpxi_channel_publish(hpxi_channel *channel)
{
    if (channel->has_stream) {
        hpxi_spsc_publish(&channel->messages);
        hpxi_spsc_publish(&channel->lifecycle);
    }
    if (channel->has_replies) {
        hpxi_replies_publish(&channel->replies);
    }
    return hpxi_doorbell_ring(&channel->port->doorbell);
}

static void consumer_let_go(hpxi_channel *channel)
{
    if (channel->consumer.held_block != NULL) {
        const size_t size = channel->consumer.held_block_size;
        hpxi_free(channel->allocator, channel->consumer.held_block, size);
        channel->consumer.held_block = NULL;
        atomic_fetch_sub_explicit(&channel->shared.large_bytes, size, memory_order_release);
    }
    if (channel->consumer.held != NULL) {
        hpxi_spsc_release(channel->consumer.held);
        channel->consumer.held = NULL;
    }
}

static void consumer_lifecycle(hpxi_channel *channel, hpxi_record *record, hpx_event *event)
{
    hpxi_lifecycle head;
    memcpy(&head, record->payload, sizeof(head));
    const void *body = record->payload + sizeof(head);
    *event = (hpx_event){.epoch = head.epoch, .time_ns = head.time_ns, .missed = head.missed};
    switch (record->type) {
    case HPXI_RECORD_CONNECTED:
        event->kind = HPX_EVENT_CONNECTED;
        event->info = body;
        break;
    case HPXI_RECORD_WRITABLE:
        event->kind = HPX_EVENT_WRITABLE;
        break;
    default:
        HPX_ASSERT(record->type == HPXI_RECORD_DISCONNECTED || record->type == HPXI_RECORD_CLOSED);
        event->kind =
            record->type == HPXI_RECORD_CLOSED ? HPX_EVENT_CLOSED : HPX_EVENT_DISCONNECTED;
        event->error = body;
        channel->consumer.closed_taken = event->kind == HPX_EVENT_CLOSED;
        break;
    }
}

static void consumer_message(hpxi_channel *channel, hpxi_record *record, hpx_event *event)
{
    hpxi_message_head head;
    memcpy(&head, record->payload, sizeof(head));
    const bool text = record->type == HPXI_RECORD_TEXT || record->type == HPXI_RECORD_TEXT_BLOCK;
    *event = (hpx_event){
        .kind = HPX_EVENT_MESSAGE,
        .message_kind = text ? HPX_MESSAGE_TEXT : HPX_MESSAGE_BINARY,
        .epoch = head.epoch,
        .time_ns = head.time_ns,
        .missed = head.missed,
        .message_class = (hpx_message_class)head.message_class,
        .payload = {.data = record->payload + sizeof(head), .size = record->bytes - sizeof(head)},
    };
    if (record->type == HPXI_RECORD_TEXT_BLOCK || record->type == HPXI_RECORD_BINARY_BLOCK) {
        hpxi_block_record block;
        memcpy(&block, record->payload, sizeof(block));
        event->payload = (hpx_span){.data = block.data, .size = block.size};
        channel->consumer.held_block = block.data;
        channel->consumer.held_block_size = block.size;
    }
    event->raw = head.is_decoded != 0 ? (hpx_span){0} : event->payload;
}

int hpxi_channel_next(hpxi_channel *channel, hpx_event *event)
{
    consumer_let_go(channel);
    if (channel->consumer.closed_taken) {
        return HPX_E_CLOSED;
    }
    hpxi_record *record = hpxi_spsc_peek(&channel->messages);
    if (record != NULL && record->tag == channel->consumer.expected) {
        consumer_message(channel, record, event);
        channel->consumer.held = &channel->messages;
    } else {
        record = hpxi_spsc_peek(&channel->lifecycle);
        if (record == NULL || record->tag != channel->consumer.expected) {
            return 0; /* nothing, or its predecessor is about to be published */
        }
        consumer_lifecycle(channel, record, event);
        channel->consumer.held = &channel->lifecycle;
    }
    channel->consumer.expected++;
    return 1;
}

static bool consumer_ring_is_empty_sc(const hpxi_channel *channel, hpxi_spsc *ring)
{
    /* An event that the app still looks at is nothing new. */
    const hpxi_record *held = channel->consumer.held == ring ? hpxi_spsc_peek(ring) : NULL;
    return hpxi_spsc_is_empty_after_sc(ring, held);
}

bool hpxi_channel_is_empty_sc(hpxi_channel *channel)
{
    if (!channel->has_stream || channel->consumer.closed_taken) {
        return true;
    }
    return consumer_ring_is_empty_sc(channel, &channel->messages) &&
           consumer_ring_is_empty_sc(channel, &channel->lifecycle);
}

void hpxi_channel_abandon(hpxi_channel *channel)
{
    atomic_store_explicit(&channel->shared.abandoned, 1, memory_order_relaxed);
}

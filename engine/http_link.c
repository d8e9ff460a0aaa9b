/* SPDX-License-Identifier: Apache-2.0 */
/* http_link.c - the rings between a client on a port and one of its shards. */
#include "engine/http_link.h"

#include <string.h>

/* A BODY event, so that one large response leaves room for others. */
#define LINK_PIECE_BYTES (64u << 10)

hpx_status hpxi_http_link_new(
    hpxi_http_link **out, hpx_shard *shard, hpxi_port_core *port, hpxi_http_settings *settings)
{
    *out = NULL;
    const hpx_allocator *allocator = settings->allocator;
    hpxi_http_link *link = hpxi_alloc_zero(allocator, sizeof(*link), _Alignof(hpxi_http_link));
    if (link == NULL) {
        return HPX_E_NO_MEMORY;
    }
    const hpx_http_config *config = &settings->config;
    link->allocator = allocator;
    link->shard_of = shard;
    link->port.requests_max = config->requests_max;
    link->port.made = hpxi_alloc_zero(allocator, config->requests_max * sizeof(bool), 1);
    link->shard.core = hpxi_http_core_new(shard, settings);
    bool good = link->port.made != NULL && link->shard.core != NULL;
    good = good && hpxi_spsc_init(&link->commands, config->command_ring_bytes, allocator) == HPX_OK;
    good = good && hpxi_spsc_init(&link->events, config->event_ring_bytes, allocator) == HPX_OK;
    atomic_init(&link->shared.refs, 1);
    if (!good) {
        hpxi_http_core_free(link->shard.core);
        link->shard.core = NULL;
        hpxi_http_link_release(link);
        return HPX_E_NO_MEMORY;
    }
    link->shard.core->link = link;
    hpxi_port_core_retain(port);
    link->port_core = port;
    atomic_store_explicit(&link->shared.refs, 2, memory_order_relaxed);
    *out = link;
    return HPX_OK;
}

/* What nobody took. */
static void link_drain(hpxi_http_link *link)
{
    for (hpxi_record *record; (record = hpxi_spsc_peek(&link->commands)) != NULL;) {
        if (record->type == HPXI_HTTP_COMMAND_REQUEST || record->type == HPXI_HTTP_COMMAND_BLOCK) {
            hpxi_http_command_request command;
            memcpy(&command, record->payload, sizeof(command));
            hpxi_free(link->allocator, command.slot, sizeof(*command.slot));
            void *packed = record->payload + sizeof(command);
            if (record->type == HPXI_HTTP_COMMAND_BLOCK) {
                hpxi_http_block block;
                memcpy(&block, packed, sizeof(block));
                hpxi_http_packed_drop((hpxi_http_packed *)(void *)block.data);
                hpxi_free(link->allocator, block.data, block.capacity);
            } else {
                hpxi_http_packed_drop(packed);
            }
        } else if (record->type == HPXI_HTTP_COMMAND_WARM_UP) {
            hpxi_http_packed_drop((void *)(record->payload + sizeof(hpxi_http_command_warm_up)));
        }
        hpxi_spsc_release(&link->commands);
    }
    for (hpxi_record *record; (record = hpxi_spsc_peek(&link->events)) != NULL;) {
        if (record->type == HPXI_HTTP_RECORD_END_BLOCK) {
            hpx_http_event event;
            hpxi_http_block block;
            hpxi_http_link_read(record, &event, NULL, &block);
            hpxi_free(link->allocator, block.data, block.capacity);
        }
        hpxi_spsc_release(&link->events);
    }
}

void hpxi_http_link_release(hpxi_http_link *link)
{
    if (atomic_fetch_sub_explicit(&link->shared.refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    if (link->commands.data != NULL && link->events.data != NULL) {
        link_drain(link);
    }
    hpxi_spsc_fini(&link->commands);
    hpxi_spsc_fini(&link->events);
    hpxi_free(link->allocator, link->port.made, link->port.requests_max * sizeof(bool));
    if (link->port_core != NULL) {
        hpxi_port_core_release(link->port_core);
    }
    hpxi_free(link->allocator, link, sizeof(*link));
}

bool hpxi_http_link_post(hpxi_http_link *link)
{
    if (hpxi_http_inbox_push(link->shard_of, link)) {
        (void)hpxi_doorbell_ring(&link->shard_of->doorbell);
        return true;
    }
    hpxi_http_core_free(link->shard.core);
    link->shard.core = NULL;
    atomic_store_explicit(&link->shared.down, 1, memory_order_relaxed); /* ours alone */
    hpxi_http_link_release(link);                                       /* the shard's reference */
    return false;
}

/* ---- Commands -------------------------------------------------------------------------------- */

static void link_request(hpxi_http_link *link, const hpxi_record *record)
{
    hpxi_http_core *core = link->shard.core;
    hpxi_http_command_request command;
    memcpy(&command, record->payload, sizeof(command));
    const uint32_t slot = (uint32_t)(record->tag & HPXI_HTTP_SLOT_MASK);
    if (command.slot != NULL) {
        hpxi_http_core_adopt(core, slot, command.slot);
    }
    hpxi_http_request *request = core->slots[slot];
    HPX_ASSERT(request != NULL && request->phase == HPXI_HTTP_FREE);
    request->id = record->tag;
    uint8_t *packed = (uint8_t *)(uintptr_t)record->payload + sizeof(command);
    if (record->type == HPXI_HTTP_COMMAND_BLOCK) {
        hpxi_http_block block;
        memcpy(&block, packed, sizeof(block));
        hpxi_buf_fini(&request->packed);
        request->packed.data = block.data;
        request->packed.capacity = block.capacity;
        request->packed.tail = block.size;
        hpxi_http_request_start(request);
        return;
    }
    if (hpxi_buf_append(&request->packed, packed, record->bytes - sizeof(command))) {
        hpxi_http_request_start(request);
    } else {
        hpxi_http_request_start_failed(request, (hpxi_http_packed *)(void *)packed);
    }
}

static void link_warm_up(hpxi_http_link *link, const hpxi_record *record)
{
    hpxi_http_command_warm_up command;
    memcpy(&command, record->payload, sizeof(command));
    void *packed = (uint8_t *)(uintptr_t)record->payload + sizeof(command);
    hpxi_http_core_warm_up(link->shard.core, packed, (uint32_t)command.count);
}

static void link_command(hpxi_http_link *link, const hpxi_record *record)
{
    hpxi_http_core *core = link->shard.core;
    hpxi_http_request *request = NULL;
    switch (record->type) {
    case HPXI_HTTP_COMMAND_REQUEST:
    case HPXI_HTTP_COMMAND_BLOCK:
        link_request(link, record);
        return;
    case HPXI_HTTP_COMMAND_CANCEL:
        request = hpxi_http_core_find(core, record->tag);
        if (request != NULL) {
            hpxi_http_request_cancel(request, "cancelled by the application");
        }
        return;
    case HPXI_HTTP_COMMAND_RESUME:
        request = hpxi_http_core_find(core, record->tag);
        if (request != NULL) {
            hpxi_http_request_resume(request);
        }
        return;
    default:
        HPX_ASSERT(record->type == HPXI_HTTP_COMMAND_WARM_UP);
        link_warm_up(link, record);
        return;
    }
}

uint32_t hpxi_http_link_commands(hpxi_http_link *link, uint32_t budget)
{
    if (link->shard.core->released) {
        return 0; /* freed with the link */
    }
    uint32_t count = 0;
    for (hpxi_record *record; count < budget && (record = hpxi_spsc_peek(&link->commands)) != NULL;
         count++) {
        link_command(link, record);
        hpxi_spsc_release(&link->commands);
    }
    return count;
}

/* ---- Events out ------------------------------------------------------------------------------ */

size_t hpxi_http_link_piece_max(const hpxi_http_link *link)
{
    const size_t max = link->events.bytes_max - sizeof(hpxi_http_record);
    return max < LINK_PIECE_BYTES ? max : LINK_PIECE_BYTES;
}

static size_t link_headers_bytes(const hpx_http_header *headers, uint32_t count)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += sizeof(hpxi_http_packed_header) + headers[i].name.size + headers[i].value.size;
    }
    return bytes;
}

static uint8_t *link_put(uint8_t *at, const void *bytes, size_t size)
{
    if (size != 0) {
        memcpy(at, bytes, size);
    }
    return at + size;
}

static uint8_t *link_put_headers(uint8_t *at, const hpx_http_header *headers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const hpxi_http_packed_header sizes = {
            .name_bytes = (uint32_t)headers[i].name.size,
            .value_bytes = (uint32_t)headers[i].value.size};
        at = link_put(at, &sizes, sizeof(sizes));
        at = link_put(at, headers[i].name.data, headers[i].name.size);
        at = link_put(at, headers[i].value.data, headers[i].value.size);
    }
    return at;
}

static uint32_t link_record_type(const hpx_http_event *event, bool as_block)
{
    switch (event->kind) {
    case HPX_HTTP_EVENT_HEADERS:
        return HPXI_HTTP_RECORD_HEADERS;
    case HPX_HTTP_EVENT_BODY:
        return HPXI_HTTP_RECORD_BODY;
    case HPX_HTTP_EVENT_END:
        break;
    }
    return as_block ? HPXI_HTTP_RECORD_END_BLOCK : HPXI_HTTP_RECORD_END;
}

bool hpxi_http_link_emit(hpxi_http_link *link, const hpx_http_event *event, hpxi_buf *body)
{
    const bool is_end = event->kind == HPX_HTTP_EVENT_END;
    size_t bytes = sizeof(hpxi_http_record) +
                   link_headers_bytes(event->headers, event->header_count) +
                   link_headers_bytes(event->trailers, event->trailer_count);
    bytes += is_end ? sizeof(hpx_error) + sizeof(hpx_http_info) : 0;
    const bool as_block = is_end && bytes + event->body.size > link->events.bytes_max;
    bytes += as_block ? sizeof(hpxi_http_block) : event->body.size;
    hpxi_record *record = hpxi_spsc_claim(
        &link->events, link_record_type(event, as_block), (uint32_t)bytes, event->id);
    if (record == NULL) {
        return false;
    }
    const hpxi_http_record head = {
        .user = event->user,
        .time_ns = event->time_ns,
        .body_bytes = event->body.size,
        .status = event->status,
        .header_count = event->header_count,
        .trailer_count = event->trailer_count,
        .outcome = (uint8_t)event->outcome,
        .processed = (uint8_t)event->processed,
    };
    uint8_t *at = link_put(record->payload, &head, sizeof(head));
    if (is_end) {
        at = link_put(at, event->error, sizeof(*event->error));
        at = link_put(at, event->info, sizeof(*event->info));
    }
    at = link_put_headers(at, event->headers, event->header_count);
    at = link_put_headers(at, event->trailers, event->trailer_count);
    if (as_block) {
        HPX_ASSERT(event->body.data == body->data + body->head);
        const hpxi_http_block block = {
            .data = body->data,
            .capacity = body->capacity,
            .head = body->head,
            .size = event->body.size};
        (void)link_put(at, &block, sizeof(block));
        hpxi_buf_init(body, body->allocator);
    } else {
        (void)link_put(at, event->body.data, event->body.size);
    }
    hpxi_spsc_commit(&link->events);
    link->shard.dirty = true;
    return true;
}

bool hpxi_http_link_has_room(hpxi_http_link *link)
{
    /* Partner: the exchange in http_port.c; see the head of http_link.h. */
    (void)atomic_exchange_explicit(&link->shared.want_room, 1, memory_order_acq_rel);
    const uint64_t head = atomic_load_explicit(&link->events.consumer.head, memory_order_acquire);
    const uint64_t used = link->events.producer.tail_claimed - head;
    return link->events.mask + 1 - used > (link->events.mask + 1) / 2;
}

void hpxi_http_link_publish(hpxi_http_link *link)
{
    if (link->shard.dirty) {
        link->shard.dirty = false;
        hpxi_spsc_publish(&link->events);
        if (hpxi_doorbell_ring(&link->port_core->doorbell)) {
            hpxi_count(&link->shard_of->counters.wakes, 1);
        }
    }
}

/* ---- Events in ------------------------------------------------------------------------------- */

static const uint8_t *link_get_headers(const uint8_t *at, hpx_http_header *headers, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        hpxi_http_packed_header sizes;
        memcpy(&sizes, at, sizeof(sizes));
        at += sizeof(sizes);
        if (headers != NULL) {
            headers[i].name = (hpx_span){.data = at, .size = sizes.name_bytes};
            headers[i].value = (hpx_span){.data = at + sizes.name_bytes, .size = sizes.value_bytes};
        }
        at += (size_t)sizes.name_bytes + sizes.value_bytes;
    }
    return at;
}

void hpxi_http_link_read(
    const hpxi_record *record,
    hpx_http_event *event,
    hpx_http_header *headers,
    hpxi_http_block *block)
{
    hpxi_http_record head;
    memcpy(&head, record->payload, sizeof(head));
    const uint8_t *at = record->payload + sizeof(head);
    *block = (hpxi_http_block){0};
    *event = (hpx_http_event){
        .id = record->tag,
        .user = head.user,
        .time_ns = head.time_ns,
        .status = head.status,
        .header_count = head.header_count,
        .trailer_count = head.trailer_count,
        .headers = headers,
        .trailers = headers != NULL ? headers + head.header_count : NULL,
    };
    event->kind = record->type == HPXI_HTTP_RECORD_HEADERS ? HPX_HTTP_EVENT_HEADERS
                  : record->type == HPXI_HTTP_RECORD_BODY  ? HPX_HTTP_EVENT_BODY
                                                           : HPX_HTTP_EVENT_END;
    if (event->kind == HPX_HTTP_EVENT_END) {
        event->outcome = (hpx_http_outcome)head.outcome;
        event->processed = (hpx_http_processed)head.processed;
        event->error = (const hpx_error *)(const void *)at;
        at += sizeof(hpx_error);
        event->info = (const hpx_http_info *)(const void *)at;
        at += sizeof(hpx_http_info);
    }
    at = link_get_headers(at, headers, head.header_count);
    at = link_get_headers(
        at, headers != NULL ? headers + head.header_count : NULL, head.trailer_count);
    event->body = (hpx_span){.data = at, .size = (size_t)head.body_bytes};
    if (record->type == HPXI_HTTP_RECORD_END_BLOCK) {
        memcpy(block, at, sizeof(*block));
        event->body.data = block->data + block->head;
    }
}

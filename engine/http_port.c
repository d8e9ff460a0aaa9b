/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_port.c - a client on a port: requests into the shards' rings, events out of them.
 *
 * Role      Chooses the shard, names the request, and knows which are open: so a stale id is known
 *           here, requests_max is exact, and the ends that a stopped shard owes are made here.
 * Threads   The port's.
 */
#include <string.h>

#include "engine/engine.h"
#include "engine/error.h"
#include "engine/http_client.h"

/* ---- Making and releasing -------------------------------------------------------------------- */

static void port_free(hpx_http_client *client)
{
    const hpx_allocator *allocator = client->settings->allocator;
    const hpx_http_config *config = &client->settings->config;
    hpxi_free(allocator, client->links, client->shard_count * sizeof(client->links[0]));
    hpxi_free(allocator, client->slots, config->requests_max * sizeof(client->slots[0]));
    hpxi_free(allocator, client->free_slots, config->requests_max * sizeof(uint32_t));
    hpxi_free(
        allocator, client->headers, 2 * (size_t)config->headers_max * sizeof(hpx_http_header));
    hpxi_buf_fini(&client->packed);
    hpxi_http_settings_release(client->settings);
    hpxi_free(allocator, client, sizeof(*client));
}

static hpx_status port_make(hpx_http_client **out, hpx_port *port, hpxi_http_settings *settings)
{
    const hpx_allocator *allocator = settings->allocator;
    const hpx_http_config *config = &settings->config;
    hpx_http_client *client =
        hpxi_alloc_zero(allocator, sizeof(*client), _Alignof(hpx_http_client));
    if (client == NULL) {
        hpxi_http_settings_release(settings);
        return HPX_E_NO_MEMORY;
    }
    const uint32_t slots = config->requests_max;
    client->settings = settings;
    client->port = port;
    client->shard_count = port->core->shard_count;
    client->generation = 1;
    hpxi_buf_init(&client->packed, allocator);
    client->links =
        hpxi_alloc_zero(allocator, client->shard_count * sizeof(client->links[0]), sizeof(void *));
    client->slots =
        hpxi_alloc_zero(allocator, slots * sizeof(client->slots[0]), _Alignof(hpxi_http_port_slot));
    client->free_slots = hpxi_alloc(allocator, slots * sizeof(uint32_t), sizeof(uint32_t));
    client->headers = hpxi_alloc(
        allocator, 2 * (size_t)config->headers_max * sizeof(hpx_http_header), sizeof(void *));
    if (client->links == NULL || client->slots == NULL || client->free_slots == NULL ||
        client->headers == NULL) {
        port_free(client);
        return HPX_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < slots; i++) {
        client->free_slots[i] = slots - 1 - i;
    }
    client->free_count = slots;
    *out = client;
    return HPX_OK;
}

hpx_status hpx_http_client_open(
    hpx_port *port, const hpx_http_config *config, hpx_http_client **out, hpx_error *error)
{
    *out = NULL;
    hpxi_http_settings *settings = NULL;
    hpx_status status = hpxi_http_settings_new(&settings, port->engine, config, error);
    if (status != HPX_OK) {
        return status;
    }
    const uint32_t shard = settings->config.shard;
    if (settings->config.on_event != NULL) {
        status = hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "on_event is for clients on a shard; events of this one are pulled");
    } else if (shard >= port->core->shard_count && shard < HPX_SHARD_LEAST_LOADED) {
        status = hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "shard is %u; the engine has %u",
            shard,
            port->core->shard_count);
    }
    if (status != HPX_OK) {
        hpxi_http_settings_release(settings);
        return status;
    }
    status = port_make(out, port, settings);
    if (status != HPX_OK) {
        return hpxi_error_set(error, status, HPX_STAGE_CONFIG, "no memory");
    }
    hpx_http_client *client = *out;
    client->next = port->http_clients;
    if (client->next != NULL) {
        client->next->prev = client;
    }
    port->http_clients = client;
    return HPX_OK;
}

static void port_let_go(hpx_http_client *client)
{
    if (client->block.data != NULL) {
        hpxi_free(client->settings->allocator, client->block.data, client->block.capacity);
        client->block = (hpxi_http_block){0};
    }
    if (client->held != NULL) {
        hpxi_spsc_release(&client->held->events);
        client->held = NULL;
    }
}

void hpxi_http_port_release(hpx_http_client *client)
{
    port_let_go(client);
    *(client->prev != NULL ? &client->prev->next : &client->port->http_clients) = client->next;
    if (client->next != NULL) {
        client->next->prev = client->prev;
    }
    for (uint32_t i = 0; i < client->shard_count; i++) {
        hpxi_http_link *link = client->links[i];
        if (link != NULL) {
            /* In the doorbell's total order (partner: hpxi_http_is_empty_sc). */
            atomic_store_explicit(&link->shared.closed, 1, memory_order_seq_cst);
            (void)hpxi_doorbell_ring(&link->shard_of->doorbell);
            hpxi_http_link_release(link);
        }
    }
    port_free(client);
}

/* ---- Commands -------------------------------------------------------------------------------- */

/* Room for a command, NULL when full. Cancels may use what requests must leave free. */
static hpxi_record *
port_claim(hpx_http_client *client, hpxi_http_link *link, uint32_t type, size_t bytes, uint64_t tag)
{
    hpxi_spsc *ring = &link->commands;
    if (type != HPXI_HTTP_COMMAND_CANCEL) {
        const uint64_t head = atomic_load_explicit(&ring->consumer.head, memory_order_acquire);
        const uint64_t spare = ring->mask + 1 - (ring->producer.tail_claimed - head);
        const uint64_t reserve =
            (uint64_t)client->settings->config.requests_max * sizeof(hpxi_record);
        if (spare < reserve + 2 * (sizeof(hpxi_record) + bytes + HPXI_SPSC_ALIGN)) {
            return NULL;
        }
    }
    return hpxi_spsc_claim(ring, type, (uint32_t)bytes, tag);
}

static void port_push(hpxi_http_link *link)
{
    hpxi_spsc_commit(&link->commands);
    hpxi_spsc_publish(&link->commands);
    (void)hpxi_doorbell_ring(&link->shard_of->doorbell);
}

static bool port_is_down(const hpxi_http_link *link)
{
    return atomic_load_explicit(&link->shared.down, memory_order_acquire) != 0;
}

static hpx_status
port_link(hpx_http_client *client, uint32_t shard, hpxi_http_link **out, hpx_error *error)
{
    if (client->links[shard] == NULL) {
        const hpx_status status = hpxi_http_link_new(
            &client->links[shard],
            &client->port->engine->shards[shard],
            client->port->core,
            client->settings);
        if (status != HPX_OK) {
            return hpxi_error_set(error, status, HPX_STAGE_CONFIG, "no memory");
        }
        (void)hpxi_http_link_post(client->links[shard]);
    }
    *out = client->links[shard];
    if (port_is_down(*out)) {
        return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_CONFIG, "the engine has stopped");
    }
    return HPX_OK;
}

static uint32_t port_place(const hpx_http_client *client, const hpxi_http_packed *packed)
{
    const uint32_t wanted = client->settings->config.shard;
    const uint32_t shards = client->shard_count;
    if (wanted < shards) {
        return wanted;
    }
    const uint64_t hash = hpxi_pool_hash(hpxi_http_packed_key(packed));
    uint32_t loads[HPXI_SHARDS_MAX] = {0};
    for (uint32_t i = 0; i < shards; i++) {
        loads[i] = client->links[i] != NULL ? client->links[i]->port.open : 0;
    }
    const hpxi_pool_placement placement =
        wanted == HPX_SHARD_LEAST_LOADED ? HPXI_POOL_LEAST_LOADED : HPXI_POOL_HOME;
    return hpxi_pool_place(placement, hash, 0, loads, shards);
}

static hpx_status port_full(hpx_error *error)
{
    return hpxi_error_set(error, HPX_E_AGAIN, HPX_STAGE_CONFIG, "the command ring is full");
}

/* The packed request, from scratch, into the ring: itself, or its buffer as a block. */
static hpx_status port_push_request(
    hpx_http_client *client,
    hpxi_http_link *link,
    uint64_t id,
    const hpxi_http_command_request *command,
    hpx_error *error)
{
    const hpx_span packed = hpxi_buf_span(&client->packed);
    const bool as_block = sizeof(*command) + packed.size > link->commands.bytes_max;
    const hpxi_http_block block = {
        .data = client->packed.data, .capacity = client->packed.capacity, .size = packed.size};
    const void *body = as_block ? (const void *)&block : packed.data;
    const size_t bytes = as_block ? sizeof(block) : packed.size;
    hpxi_record *record = port_claim(
        client,
        link,
        as_block ? HPXI_HTTP_COMMAND_BLOCK : HPXI_HTTP_COMMAND_REQUEST,
        sizeof(*command) + bytes,
        id);
    if (record == NULL) {
        return port_full(error);
    }
    memcpy(record->payload, command, sizeof(*command));
    memcpy(record->payload + sizeof(*command), body, bytes);
    if (as_block) {
        HPX_ASSERT(client->packed.head == 0);
        hpxi_buf_init(&client->packed, client->packed.allocator);
    }
    return HPX_OK;
}

/* Everything after packing. On failure the packed request is still in scratch. */
static hpx_status port_submit(hpx_http_client *client, hpx_http_id *id, hpx_error *error)
{
    const hpxi_http_packed *packed = (const hpxi_http_packed *)(const void *)client->packed.data;
    void *user = packed->user;
    const uint32_t shard = port_place(client, packed);
    hpxi_http_link *link = NULL;
    hpx_status status = port_link(client, shard, &link, error);
    if (status != HPX_OK) {
        return status;
    }
    const uint32_t slot = client->free_slots[client->free_count - 1];
    hpxi_http_command_request command = {0};
    if (!link->port.made[slot]) {
        command.slot = hpxi_http_request_new(client->settings->allocator);
        if (command.slot == NULL) {
            return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
        }
    }
    const hpx_http_id made = client->generation << HPXI_HTTP_SLOT_BITS | slot;
    status = port_push_request(client, link, made, &command, error);
    if (status != HPX_OK) {
        hpxi_free(client->settings->allocator, command.slot, sizeof(*command.slot));
        return status;
    }
    client->generation++;
    client->free_count--;
    client->open_count++;
    link->port.open++;
    link->port.made[slot] = true;
    client->slots[slot] =
        (hpxi_http_port_slot){.id = made, .user = user, .shard = shard, .open = true};
    port_push(link);
    if (id != NULL) {
        *id = made;
    }
    return HPX_OK;
}

static hpx_status
port_pack(hpx_http_client *client, const hpx_http_request *request, hpx_error *error)
{
    hpxi_buf_consume(&client->packed, hpxi_buf_size(&client->packed));
    return hpxi_http_pack(&client->packed, client->settings, request, error);
}

static void port_unpack(hpx_http_client *client)
{
    hpxi_http_packed_drop((hpxi_http_packed *)(void *)client->packed.data);
}

hpx_status hpxi_http_port_send(
    hpx_http_client *client, const hpx_http_request *request, hpx_http_id *id, hpx_error *error)
{
    if (client->free_count == 0) {
        return hpxi_error_set(
            error,
            HPX_E_LIMIT,
            HPX_STAGE_CONFIG,
            "%u requests are open (requests_max)",
            client->settings->config.requests_max);
    }
    hpx_status status = port_pack(client, request, error);
    if (status != HPX_OK) {
        return status;
    }
    status = port_submit(client, id, error);
    if (status != HPX_OK) {
        port_unpack(client);
    }
    return status;
}

static hpxi_http_port_slot *port_find(hpx_http_client *client, hpx_http_id id)
{
    const uint64_t slot = id & HPXI_HTTP_SLOT_MASK;
    if (slot >= client->settings->config.requests_max) {
        return NULL;
    }
    hpxi_http_port_slot *found = &client->slots[slot];
    return found->open && found->id == id ? found : NULL;
}

static bool port_push_cancel(hpx_http_client *client, const hpxi_http_port_slot *slot)
{
    hpxi_http_link *link = client->links[slot->shard];
    if (port_claim(client, link, HPXI_HTTP_COMMAND_CANCEL, 0, slot->id) == NULL) {
        return false;
    }
    port_push(link);
    return true;
}

hpx_status hpxi_http_port_cancel(hpx_http_client *client, hpx_http_id id)
{
    hpxi_http_port_slot *slot = port_find(client, id);
    if (slot == NULL) {
        return HPX_E_STALE;
    }
    if (!slot->cancelled && !port_push_cancel(client, slot)) {
        slot->cancel_owed = true;
        client->cancels_owed++;
    }
    slot->cancelled = true;
    return HPX_OK;
}

/* Cancels that found the ring full. */
static void port_push_owed(hpx_http_client *client)
{
    const uint32_t slots = client->settings->config.requests_max;
    for (uint32_t i = 0; i < slots && client->cancels_owed != 0; i++) {
        hpxi_http_port_slot *slot = &client->slots[i];
        if (slot->cancel_owed && (!slot->open || port_push_cancel(client, slot))) {
            slot->cancel_owed = false;
            client->cancels_owed--;
        }
    }
}

hpx_status hpxi_http_port_resume(hpx_http_client *client, hpx_http_id id)
{
    const hpxi_http_port_slot *slot = port_find(client, id);
    if (slot == NULL) {
        return HPX_E_STALE;
    }
    hpxi_http_link *link = client->links[slot->shard];
    if (port_claim(client, link, HPXI_HTTP_COMMAND_RESUME, 0, id) == NULL) {
        return HPX_E_AGAIN;
    }
    port_push(link);
    return HPX_OK;
}

static hpx_status port_push_warm_up(hpx_http_client *client, uint32_t count, hpx_error *error)
{
    const hpx_span packed = hpxi_buf_span(&client->packed);
    const hpxi_http_command_warm_up command = {.count = count};
    hpxi_http_link *link = NULL;
    const uint32_t shard = port_place(client, (const hpxi_http_packed *)(const void *)packed.data);
    const hpx_status status = port_link(client, shard, &link, error);
    if (status != HPX_OK) {
        return status;
    }
    if (sizeof(command) + packed.size > link->commands.bytes_max) {
        return hpxi_error_set(
            error, HPX_E_INVALID, HPX_STAGE_CONFIG, "a request to warm up with has no body");
    }
    hpxi_record *record =
        port_claim(client, link, HPXI_HTTP_COMMAND_WARM_UP, sizeof(command) + packed.size, 0);
    if (record == NULL) {
        return port_full(error);
    }
    memcpy(record->payload, &command, sizeof(command));
    memcpy(record->payload + sizeof(command), packed.data, packed.size);
    port_push(link);
    return HPX_OK;
}

hpx_status hpxi_http_port_warm_up(
    hpx_http_client *client, const hpx_http_request *request, uint32_t count, hpx_error *error)
{
    hpx_status status = port_pack(client, request, error);
    if (status == HPX_OK) {
        status = port_push_warm_up(client, count, error);
        if (status != HPX_OK) {
            port_unpack(client);
        }
    }
    return status;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void port_close_slot(hpx_http_client *client, hpxi_http_port_slot *slot)
{
    hpxi_http_link *link = client->links[slot->shard];
    HPX_ASSERT(slot->open && link->port.open != 0 && client->open_count != 0);
    slot->open = false;
    link->port.open--;
    client->open_count--;
    client->free_slots[client->free_count++] = (uint32_t)(slot - client->slots);
}

/* A record of this link, if there is one. */
static bool port_take(hpx_http_client *client, hpxi_http_link *link, hpx_http_event *event)
{
    const hpxi_record *record = hpxi_spsc_peek(&link->events);
    if (record == NULL) {
        return false;
    }
    hpxi_http_link_read(record, event, client->headers, &client->block);
    client->held = link;
    if (event->kind == HPX_HTTP_EVENT_END) {
        hpxi_http_port_slot *slot = port_find(client, event->id);
        HPX_ASSERT(slot != NULL); /* exactly one END */
        port_close_slot(client, slot);
    }
    return true;
}

/* The shard stopped before it could tell the end of a request that it was sent. */
static bool port_make_end(hpx_http_client *client, uint32_t shard, hpx_http_event *event)
{
    const uint32_t slots = client->settings->config.requests_max;
    for (uint32_t i = 0; i < slots; i++) {
        hpxi_http_port_slot *slot = &client->slots[i];
        if (!slot->open || slot->shard != shard) {
            continue;
        }
        (void)hpxi_error_set(&client->error, HPX_E_CANCELLED, HPX_STAGE_NONE, "the engine stopped");
        client->info = (hpx_http_info){.shard = shard};
        *event = (hpx_http_event){
            .kind = HPX_HTTP_EVENT_END,
            .id = slot->id,
            .user = slot->user,
            .time_ns = hpx_clock_now_ns(),
            .outcome = HPX_HTTP_CANCELLED,
            .processed = HPX_HTTP_PROCESSED_UNKNOWN,
            .error = &client->error,
            .info = &client->info,
        };
        port_close_slot(client, slot);
        return true;
    }
    return false;
}

/* The ring is empty: tell a shard that waits for room. With `sleeping` nothing may be missed. */
static void port_give_room(hpxi_http_link *link, bool sleeping)
{
    if (!sleeping && atomic_load_explicit(&link->shared.want_room, memory_order_relaxed) == 0) {
        return;
    }
    /* Partner: hpxi_http_link_has_room; see the head of http_link.h. */
    if (atomic_exchange_explicit(&link->shared.want_room, 0, memory_order_acq_rel) != 0) {
        (void)hpxi_doorbell_ring(&link->shard_of->doorbell);
    }
}

static int port_next(hpx_http_client *client, hpx_http_event *event)
{
    port_let_go(client);
    if (HPXI_UNLIKELY(client->cancels_owed != 0)) {
        port_push_owed(client);
    }
    for (uint32_t i = 0; i < client->shard_count; i++) {
        const uint32_t shard = (client->next_shard + i) % client->shard_count;
        hpxi_http_link *link = client->links[shard];
        if (link == NULL) {
            continue;
        }
        const bool down = port_is_down(link); /* before the ring is looked at for the last time */
        if (port_take(client, link, event) ||
            (HPXI_UNLIKELY(down) && link->port.open != 0 && port_make_end(client, shard, event))) {
            client->next_shard = shard + 1;
            return 1;
        }
        port_give_room(link, false);
    }
    return 0;
}

/* Nothing to take, in the doorbell's total order; and every shard knows of the room. */
static bool port_client_may_sleep(hpx_http_client *client)
{
    for (uint32_t i = 0; i < client->shard_count; i++) {
        hpxi_http_link *link = client->links[i];
        if (link == NULL) {
            continue;
        }
        const bool holds = client->held == link; /* what the app looks at is not news */
        if (!hpxi_spsc_is_empty_sc(&link->events) && !holds) {
            return false;
        }
        if (atomic_load_explicit(&link->shared.down, memory_order_seq_cst) != 0 &&
            link->port.open != 0) {
            return false;
        }
        port_give_room(link, true);
    }
    return true;
}

bool hpxi_http_port_may_sleep(hpx_port *port)
{
    for (hpx_http_client *client = port->http_clients; client != NULL; client = client->next) {
        if (!port_client_may_sleep(client)) {
            return false;
        }
    }
    return true;
}

int hpx_http_next(hpx_http_client *client, hpx_http_event *event)
{
    HPX_ASSERT(client->core == NULL);
    const int got = port_next(client, event);
    if (got != 0 || !client->port->fd_mode) {
        return got;
    }
    hpxi_port_arm(client->port);
    return port_next(client, event); /* what came in between */
}

static int port_take_any(void *object, void *out)
{
    hpx_http_client *client = object;
    const int got = port_next(client, out);
    return got == 0 && client->open_count == 0 ? HPX_E_CLOSED : got;
}

static bool port_is_empty(void *object)
{
    return port_client_may_sleep(object);
}

int hpx_http_wait(hpx_http_client *client, hpx_http_event *event, uint64_t timeout_ns)
{
    HPX_ASSERT(client->core == NULL);
    return hpxi_port_wait(client->port, port_take_any, port_is_empty, client, event, timeout_ns);
}

int hpx_http_fd(hpx_http_client *client)
{
    HPX_ASSERT(client->core == NULL);
    hpx_port *port = client->port;
    if (!port->fd_mode) {
        port->fd_mode = true;
        hpxi_doorbell_write(&port->core->doorbell); /* readable until drained once */
    }
    return port->core->doorbell.fd;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.c - hpx_ws_client: a handle, its subscriptions and a queue for messages in one object.
 *
 * The connection is made with an inline event handler and without a stream. A stream that nobody
 * reads holds up reconnection, by promise P9; a client promises that nothing has to be read. So the
 * shard's thread takes each lifecycle event itself: state and epoch stand in the handle anyway, the
 * last error is kept here under a version number, and who waits is woken. It never waits itself.
 *
 * Role      Uses the public API only, and from ring/ what any thread may use to talk to another.
 * Threads   client_on_event() and what it calls: the shard's. The rest: the client's.
 * Memory    One block with two references, the application's and the connection's, which ends with
 *           CLOSED: a client may be freed while its connection still closes.
 */
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>

#include <hpx/client.h>

#include "engine/allocator.h"
#include "engine/error.h"
#include "ring/doorbell.h"
#include "ring/spsc.h"

#define CLIENT_STOP_NS          (2 * HPX_NS_PER_S)
#define CLIENT_RING_BYTES       (256u << 10)
#define CLIENT_RECORD_MESSAGE   1u
#define CLIENT_ERROR_WORDS      (sizeof(hpx_error) / sizeof(uint64_t))
#define CLIENT_SUBSCRIPTIONS_AT 8u /* room at first; doubled when full */

_Static_assert(sizeof(hpx_error) % sizeof(uint64_t) == 0, "an error is copied word by word");

/* A message in the queue: this, then its payload. */
typedef struct client_record {
    uint64_t epoch;
    uint64_t time_ns;
    uint64_t missed;
    uint32_t message_kind;
    uint32_t message_class;
} client_record;

typedef struct client_member {
    hpx_subscription *subscription;
    bool ended; /* HPX_UPDATE_ENDED was taken */
} client_member;

struct hpx_ws_client {
    hpx_allocator allocator;
    hpx_engine *own_engine; /* NULL: the caller's */
    hpx_port *own_port;     /* NULL: the caller's */
    hpx_handle *handle;
    hpx_event_fn on_message;
    void *user;
    bool can_request;
    hpxi_spsc messages; /* shard -> client; unused with on_message */
    hpxi_doorbell bell; /* rung by the shard */

    struct {
        client_member *members;
        hpx_subscription **open; /* scratch for a wait: those that have not ended */
        uint32_t count;
        uint32_t capacity;
        uint32_t turn; /* who is asked first next time */
        bool holds_message;
    } client;

    struct {
        alignas(HPXI_ISOLATE) _Atomic uint32_t refs;
        _Atomic uint32_t closed;  /* CLOSED came; written by the shard */
        _Atomic uint64_t news;    /* lifecycle events so far; written by the shard */
        _Atomic uint64_t dropped; /* messages; written by the shard */
        _Atomic uint64_t version; /* of `error`; odd while it is written, by the shard */
        _Atomic uint64_t error[CLIENT_ERROR_WORDS];
    } shared;

    struct {
        alignas(HPXI_ISOLATE) uint64_t missed; /* dropped since the last message that went in */
    } shard;
};

static void client_drop(hpx_ws_client *client)
{
    /* Both sides' last writes come before the free. */
    if (atomic_fetch_sub_explicit(&client->shared.refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    const hpx_allocator allocator = client->allocator;
    if (client->on_message == NULL) {
        hpxi_spsc_fini(&client->messages);
    }
    hpxi_doorbell_fini(&client->bell);
    hpxi_free(&allocator, client, sizeof(*client));
}

/* ---- The shard's thread ---------------------------------------------------------------------- */

/* Without a lock: the reader tries again. No fences, which thread sanitizer does not understand:
 * whoever reads one new word (acquire) sees that the version is odd or later (release). */
static void client_put_error(hpx_ws_client *client, const hpx_error *error)
{
    uint64_t words[CLIENT_ERROR_WORDS];
    memcpy(words, error, sizeof(words));
    const uint64_t version = atomic_load_explicit(&client->shared.version, memory_order_relaxed);
    atomic_store_explicit(&client->shared.version, version + 1, memory_order_relaxed);
    for (size_t i = 0; i < CLIENT_ERROR_WORDS; i++) {
        /* Partner: hpx_ws_client_get_error(). */
        atomic_store_explicit(&client->shared.error[i], words[i], memory_order_release);
    }
    atomic_store_explicit(&client->shared.version, version + 2, memory_order_release);
}

static void client_put_message(hpx_ws_client *client, const hpx_event *event)
{
    hpxi_spsc *ring = &client->messages;
    hpxi_record *record = NULL;
    if (event->payload.size <= ring->bytes_max - sizeof(client_record)) {
        record = hpxi_spsc_claim(
            ring,
            CLIENT_RECORD_MESSAGE,
            (uint32_t)(sizeof(client_record) + event->payload.size),
            0);
    }
    if (record == NULL) {
        client->shard.missed++;
        atomic_fetch_add_explicit(&client->shared.dropped, 1, memory_order_relaxed);
        return;
    }
    const client_record head = {
        .epoch = event->epoch,
        .time_ns = event->time_ns,
        .missed = client->shard.missed,
        .message_kind = (uint32_t)event->message_kind,
        .message_class = (uint32_t)event->message_class,
    };
    client->shard.missed = 0;
    memcpy(record->payload, &head, sizeof(head));
    if (event->payload.size != 0) {
        memcpy(record->payload + sizeof(head), event->payload.data, event->payload.size);
    }
    hpxi_spsc_commit(ring);
    hpxi_spsc_publish(ring);
    (void)hpxi_doorbell_ring(&client->bell);
}

static void client_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    hpx_ws_client *client = user;
    if (event->kind == HPX_EVENT_MESSAGE) {
        if (client->on_message != NULL) {
            client->on_message(conn, event, client->user);
        } else {
            client_put_message(client, event);
        }
        return;
    }
    if (event->kind == HPX_EVENT_DISCONNECTED || event->kind == HPX_EVENT_CLOSED) {
        client_put_error(client, event->error);
    }
    const bool is_last = event->kind == HPX_EVENT_CLOSED;
    if (is_last) {
        /* Release: with its error (partner: client_is_closed). */
        atomic_store_explicit(&client->shared.closed, 1, memory_order_release);
    }
    /* In the doorbell's total order; partner: client_wait(). */
    atomic_fetch_add_explicit(&client->shared.news, 1, memory_order_seq_cst);
    (void)hpxi_doorbell_ring(&client->bell);
    if (is_last) {
        client_drop(client);
    }
}

/* ---- Waiting for the shard ------------------------------------------------------------------- */

static bool client_is_closed(const hpx_ws_client *client)
{
    return atomic_load_explicit(&client->shared.closed, memory_order_acquire) != 0;
}

static bool client_is_decided(hpx_ws_client *client)
{
    return hpx_ws_client_is_connected(client) || client_is_closed(client);
}

static bool client_has_message(hpx_ws_client *client)
{
    return hpxi_spsc_peek(&client->messages) != NULL || client_is_closed(client);
}

static bool client_has_ended(hpx_ws_client *client)
{
    return client_is_closed(client);
}

/* Waits for a lifecycle event or a message that makes it done. False: the timeout passed. */
static bool
client_wait(hpx_ws_client *client, bool (*is_done)(hpx_ws_client *client), uint64_t timeout_ns)
{
    const uint64_t start_ns = hpx_clock_now_ns();
    for (;;) {
        const uint64_t news = atomic_load_explicit(&client->shared.news, memory_order_seq_cst);
        if (is_done(client)) {
            return true;
        }
        const uint64_t passed_ns = hpx_clock_now_ns() - start_ns;
        if (passed_ns >= timeout_ns) {
            return false;
        }
        hpxi_doorbell_prepare(&client->bell);
        /* Partners: client_on_event() and hpxi_spsc_publish(). */
        if (atomic_load_explicit(&client->shared.news, memory_order_seq_cst) == news &&
            (is_done != client_has_message || hpxi_spsc_is_empty_sc(&client->messages))) {
            (void)hpxi_doorbell_wait(
                &client->bell, timeout_ns == HPX_NEVER ? HPX_NEVER : timeout_ns - passed_ns);
        }
        hpxi_doorbell_cancel(&client->bell);
    }
}

/* ---- Up -------------------------------------------------------------------------------------- */

static hpx_status client_check(
    hpx_ws_client_config *full,
    const hpx_ws_client_config *from,
    const hpx_ws_config *ws,
    hpx_error *error)
{
    *full = (hpx_ws_client_config)HPX_WS_CLIENT_CONFIG_INIT;
    const char *wrong = NULL;
    if (from != NULL && from->size < offsetof(hpx_ws_client_config, engine)) {
        wrong = "config size is not set; use HPX_WS_CLIENT_CONFIG_INIT";
    } else if (ws == NULL || ws->size < offsetof(hpx_ws_config, resolve_timeout_ns)) {
        wrong = "ws: size is not set; use HPX_WS_CONFIG_INIT";
    } else if (ws->on_event != NULL) {
        wrong = "ws.on_event is the client's; set on_message of hpx_ws_client_config";
    }
    if (wrong == NULL && from != NULL) {
        memcpy(full, from, from->size < sizeof(*full) ? from->size : sizeof(*full));
    }
    full->message_ring_bytes =
        full->message_ring_bytes != 0 ? full->message_ring_bytes : CLIENT_RING_BYTES;
    const uint32_t bytes = full->message_ring_bytes;
    if (wrong == NULL && full->flags != 0) {
        wrong = "flags is not 0";
    } else if (wrong == NULL && full->engine != NULL && full->port != NULL) {
        wrong = "engine and port are both given; a port has its engine";
    } else if (wrong == NULL && (bytes < 4096 || bytes > 1u << 30 || (bytes & (bytes - 1)) != 0)) {
        wrong = "message_ring_bytes must be a power of two from 4 KiB to 1 GiB";
    } else if (wrong == NULL && (full->allocator.alloc == NULL) != (full->allocator.free == NULL)) {
        wrong = "allocator: both functions or neither";
    }
    return wrong == NULL ? HPX_OK
                         : hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s", wrong);
}

/* The block, with the application's reference. */
static hpx_status
client_new(hpx_ws_client **out, const hpx_ws_client_config *config, hpx_error *error)
{
    const hpx_allocator allocator =
        config->allocator.alloc != NULL ? config->allocator : hpxi_allocator_own();
    hpx_ws_client *client = hpxi_alloc_zero(&allocator, sizeof(*client), alignof(hpx_ws_client));
    hpx_status status = client != NULL ? HPX_OK : HPX_E_NO_MEMORY;
    if (status == HPX_OK) {
        client->allocator = allocator;
        client->on_message = config->on_message;
        client->user = config->user;
        atomic_init(&client->shared.refs, 1);
        status = hpxi_doorbell_init(&client->bell);
    }
    if (status == HPX_OK && client->on_message == NULL) {
        status = hpxi_spsc_init(&client->messages, config->message_ring_bytes, &client->allocator);
        if (status != HPX_OK) {
            hpxi_doorbell_fini(&client->bell);
        }
    }
    if (status != HPX_OK) {
        hpxi_free(&allocator, client, sizeof(*client));
        return hpxi_error_set(error, status, HPX_STAGE_CONFIG, "%s", hpx_status_text(status));
    }
    *out = client;
    return HPX_OK;
}

/* The engine and the port, as far as they are the client's own. */
static hpx_status client_make_port(
    hpx_ws_client *client, const hpx_ws_client_config *config, hpx_port **port, hpx_error *error)
{
    *port = config->port;
    if (*port != NULL) {
        return HPX_OK;
    }
    hpx_engine *engine = config->engine;
    if (engine == NULL) {
        hpx_engine_config own = HPX_ENGINE_CONFIG_INIT;
        own.allocator = config->allocator;
        own.ports_max = 1;
        hpx_status status = hpx_engine_new(&client->own_engine, &own, error);
        if (status == HPX_OK) {
            status = hpx_engine_start(client->own_engine, error);
        }
        if (status != HPX_OK) {
            return status;
        }
        engine = client->own_engine;
    }
    const hpx_status status = hpx_port_open(&client->own_port, engine, NULL, error);
    *port = client->own_port;
    return status;
}

/* A copy of the caller's, whose events are the client's. */
static hpx_ws_config client_ws(hpx_ws_client *client, const hpx_ws_config *from)
{
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    memcpy(&ws, from, from->size < sizeof(ws) ? from->size : sizeof(ws));
    ws.size = (uint32_t)sizeof(ws);
    ws.on_event = client_on_event;
    ws.user = client;
    client->can_request = ws.protocol != NULL && ws.protocol->inject_request_id != NULL;
    return ws;
}

hpx_status hpx_ws_client_connect(
    hpx_ws_client **out,
    const hpx_ws_config *ws,
    const hpx_ws_client_config *config,
    hpx_error *error)
{
    *out = NULL;
    hpx_ws_client_config full;
    hpx_status status = client_check(&full, config, ws, error);
    if (status != HPX_OK) {
        return status;
    }
    hpx_ws_client *client = NULL;
    status = client_new(&client, &full, error);
    if (status != HPX_OK) {
        return status;
    }
    hpx_port *port;
    status = client_make_port(client, &full, &port, error);
    if (status == HPX_OK) {
        const hpx_ws_config own = client_ws(client, ws);
        atomic_fetch_add_explicit(&client->shared.refs, 1, memory_order_relaxed); /* until CLOSED */
        status = hpx_ws_connect(port, &own, &client->handle, NULL, error);
        if (status != HPX_OK) {
            client_drop(client);
        }
    }
    if (status != HPX_OK) {
        hpx_ws_client_free(client);
        return status;
    }
    *out = client;
    return HPX_OK;
}

/* Why it is not Ready, in one error. */
static hpx_status client_explain(hpx_ws_client *client, uint64_t timeout_ns, hpx_error *error)
{
    hpx_error last;
    (void)hpx_ws_client_get_error(client, &last);
    hpx_status status = last.status;
    if (!client_is_closed(client)) {
        const hpx_error cause = last;
        status = HPX_E_TIMEOUT;
        last.status = status;
        (void)snprintf(
            last.detail,
            sizeof(last.detail),
            "not ready within %llu ms, still %s; %s%.120s",
            (unsigned long long)(timeout_ns / HPX_NS_PER_MS),
            hpx_conn_state_name(hpx_ws_client_get_state(client)),
            cause.status != HPX_OK ? "last failure: " : "no attempt has failed",
            cause.status != HPX_OK ? cause.detail : "");
    } else if (status == HPX_OK) {
        status = HPX_E_CLOSED;
        last.status = status;
    }
    if (error != NULL) {
        *error = last;
    }
    return status;
}

hpx_status hpx_ws_client_ready_wait(hpx_ws_client *client, uint64_t timeout_ns, hpx_error *error)
{
    (void)client_wait(client, client_is_decided, timeout_ns);
    return hpx_ws_client_is_connected(client) ? HPX_OK : client_explain(client, timeout_ns, error);
}

hpx_status hpx_ws_client_connect_wait(
    hpx_ws_client **out,
    const hpx_ws_config *ws,
    const hpx_ws_client_config *config,
    uint64_t timeout_ns,
    hpx_error *error)
{
    hpx_status status = hpx_ws_client_connect(out, ws, config, error);
    if (status == HPX_OK) {
        status = hpx_ws_client_ready_wait(*out, timeout_ns, error);
        if (status != HPX_OK) {
            hpx_ws_client_free(*out);
            *out = NULL;
        }
    }
    return status;
}

/* ---- Down ------------------------------------------------------------------------------------ */

hpx_status hpx_ws_client_close(hpx_ws_client *client, uint16_t code, hpx_span reason)
{
    return hpx_handle_close(client->handle, code, reason);
}

hpx_status
hpx_ws_client_close_wait(hpx_ws_client *client, uint16_t code, hpx_span reason, uint64_t timeout_ns)
{
    const hpx_status status = hpx_ws_client_close(client, code, reason);
    if (status != HPX_OK) {
        return status;
    }
    return client_wait(client, client_has_ended, timeout_ns) ? HPX_OK : HPX_E_TIMEOUT;
}

void hpx_ws_client_free(hpx_ws_client *client)
{
    if (client == NULL) {
        return;
    }
    for (uint32_t i = 0; i < client->client.count; i++) {
        hpx_subscription_release(client->client.members[i].subscription);
    }
    const size_t capacity = client->client.capacity;
    hpxi_free(
        &client->allocator, client->client.members, capacity * sizeof(client->client.members[0]));
    hpxi_free(&client->allocator, client->client.open, capacity * sizeof(client->client.open[0]));
    hpx_handle_release(client->handle); /* closes the connection, if it is the last */
    hpx_port_close(client->own_port);
    if (client->own_engine != NULL) {
        (void)hpx_engine_stop_wait(client->own_engine, CLIENT_STOP_NS);
        hpx_engine_free(client->own_engine);
    }
    client_drop(client);
}

/* ---- How it stands --------------------------------------------------------------------------- */

bool hpx_ws_client_is_connected(const hpx_ws_client *client)
{
    return hpx_handle_is_connected(client->handle);
}

hpx_conn_state hpx_ws_client_get_state(const hpx_ws_client *client)
{
    return hpx_handle_state(client->handle);
}

uint64_t hpx_ws_client_get_epoch(const hpx_ws_client *client)
{
    return hpx_handle_epoch(client->handle);
}

hpx_status hpx_ws_client_get_error(const hpx_ws_client *client, hpx_error *out)
{
    uint64_t words[CLIENT_ERROR_WORDS];
    uint64_t before;
    uint64_t after;
    do {
        before = atomic_load_explicit(&client->shared.version, memory_order_acquire);
        for (size_t i = 0; i < CLIENT_ERROR_WORDS; i++) {
            /* Partner: client_put_error(). */
            words[i] = atomic_load_explicit(&client->shared.error[i], memory_order_acquire);
        }
        after = atomic_load_explicit(&client->shared.version, memory_order_relaxed);
    } while (before != after || before % 2 != 0);
    memcpy(out, words, sizeof(words));
    return out->status;
}

uint64_t hpx_ws_client_messages_dropped(const hpx_ws_client *client)
{
    return atomic_load_explicit(&client->shared.dropped, memory_order_relaxed);
}

hpx_handle *hpx_ws_client_handle(hpx_ws_client *client)
{
    return client->handle;
}

/* ---- Requests -------------------------------------------------------------------------------- */

hpx_status hpx_ws_client_request_wait(
    hpx_ws_client *client, hpx_span payload, uint64_t timeout_ns, hpx_reply *reply)
{
    return hpx_handle_request_wait(client->handle, payload, timeout_ns, reply);
}

hpx_status hpx_ws_client_request(
    hpx_ws_client *client, hpx_span payload, uint64_t timeout_ns, void *user, uint64_t *token)
{
    return hpx_handle_request(client->handle, payload, timeout_ns, user, token);
}

int hpx_ws_client_next_reply(hpx_ws_client *client, hpx_reply *reply)
{
    return hpx_handle_next_reply(client->handle, reply);
}

int hpx_ws_client_reply_wait(hpx_ws_client *client, hpx_reply *reply, uint64_t timeout_ns)
{
    return client->can_request ? hpx_handle_wait_reply(client->handle, reply, timeout_ns)
                               : HPX_E_STATE;
}

/* ---- Subscriptions --------------------------------------------------------------------------- */

/* Room for one more. */
static bool client_reserve(hpx_ws_client *client)
{
    const uint32_t old = client->client.capacity;
    if (client->client.count < old) {
        return true;
    }
    const size_t capacity = old == 0 ? CLIENT_SUBSCRIPTIONS_AT : 2 * (size_t)old;
    const size_t member_bytes = sizeof(client->client.members[0]);
    const size_t open_bytes = sizeof(client->client.open[0]);
    client_member *members =
        hpxi_alloc(&client->allocator, capacity * member_bytes, alignof(client_member));
    hpx_subscription **open =
        hpxi_alloc(&client->allocator, capacity * open_bytes, alignof(hpx_subscription *));
    if (members == NULL || open == NULL) {
        hpxi_free(&client->allocator, members, capacity * member_bytes);
        hpxi_free(&client->allocator, open, capacity * open_bytes);
        return false;
    }
    if (old != 0) {
        memcpy(members, client->client.members, old * member_bytes);
    }
    hpxi_free(&client->allocator, client->client.members, old * member_bytes);
    hpxi_free(&client->allocator, client->client.open, old * open_bytes);
    client->client.members = members;
    client->client.open = open;
    client->client.capacity = (uint32_t)capacity;
    return true;
}

hpx_status hpx_ws_client_subscribe_many(
    hpx_ws_client *client,
    const hpx_span *topics,
    uint32_t topic_count,
    const hpx_subscribe_config *config,
    hpx_subscription **out,
    hpx_error *error)
{
    if (out != NULL) {
        *out = NULL;
    }
    if (!client_reserve(client)) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    hpx_subscription *made;
    const hpx_status status =
        hpx_handle_subscribe_many(client->handle, topics, topic_count, config, &made, error);
    if (status != HPX_OK) {
        return status;
    }
    client->client.members[client->client.count++] = (client_member){.subscription = made};
    if (out != NULL) {
        *out = made;
    }
    return HPX_OK;
}

hpx_status hpx_ws_client_subscribe(
    hpx_ws_client *client,
    const char *topic,
    const hpx_subscribe_config *config,
    hpx_subscription **out,
    hpx_error *error)
{
    const hpx_span span = topic != NULL ? hpx_span_of(topic) : (hpx_span){0};
    return hpx_ws_client_subscribe_many(client, &span, 1, config, out, error);
}

hpx_status hpx_ws_client_unsubscribe(hpx_ws_client *client, hpx_subscription *subscription)
{
    for (uint32_t i = 0; i < client->client.count; i++) {
        if (client->client.members[i].subscription == subscription) {
            hpx_subscription_release(subscription);
            client->client.members[i] = client->client.members[--client->client.count];
            return HPX_OK;
        }
    }
    return HPX_E_STALE;
}

int hpx_ws_client_next_update(
    hpx_ws_client *client, hpx_update *update, hpx_subscription **subscription)
{
    const uint32_t count = client->client.count;
    bool open = false;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t at = (client->client.turn + i) % count;
        client_member *member = &client->client.members[at];
        if (member->ended) {
            continue;
        }
        open = true;
        if (hpx_subscription_next(member->subscription, update) == 1) {
            member->ended = update->kind == HPX_UPDATE_ENDED;
            client->client.turn = at + 1;
            if (subscription != NULL) {
                *subscription = member->subscription;
            }
            return 1;
        }
    }
    return open ? 0 : HPX_E_CLOSED;
}

/* Those that may still tell something, for a wait on all of them. */
static uint32_t client_list_open(hpx_ws_client *client)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < client->client.count; i++) {
        if (!client->client.members[i].ended) {
            client->client.open[open++] = client->client.members[i].subscription;
        }
    }
    return open;
}

int hpx_ws_client_update_wait(
    hpx_ws_client *client, hpx_update *update, hpx_subscription **subscription, uint64_t timeout_ns)
{
    const uint64_t start_ns = hpx_clock_now_ns();
    for (;;) {
        const int got = hpx_ws_client_next_update(client, update, subscription);
        if (got != 0) {
            return got;
        }
        const uint64_t passed_ns = hpx_clock_now_ns() - start_ns;
        if (passed_ns >= timeout_ns) {
            return HPX_E_TIMEOUT;
        }
        (void)!hpx_subscription_wait_any(
            client->client.open,
            client_list_open(client),
            timeout_ns == HPX_NEVER ? HPX_NEVER : timeout_ns - passed_ns);
    }
}

/* ---- Messages -------------------------------------------------------------------------------- */

hpx_status hpx_ws_client_send(hpx_ws_client *client, hpx_message_kind kind, hpx_span payload)
{
    return hpx_handle_send(client->handle, kind, payload);
}

int hpx_ws_client_next_message(hpx_ws_client *client, hpx_event *message)
{
    if (client->on_message != NULL) {
        return HPX_E_STATE;
    }
    if (client->client.holds_message) {
        hpxi_spsc_release(&client->messages);
        client->client.holds_message = false;
    }
    const bool is_closed = client_is_closed(client); /* before the look: the last one is seen */
    const hpxi_record *record = hpxi_spsc_peek(&client->messages);
    if (record == NULL) {
        return is_closed ? HPX_E_CLOSED : 0;
    }
    client->client.holds_message = true;
    client_record head;
    memcpy(&head, record->payload, sizeof(head));
    *message = (hpx_event){
        .kind = HPX_EVENT_MESSAGE,
        .message_kind = (hpx_message_kind)head.message_kind,
        .epoch = head.epoch,
        .time_ns = head.time_ns,
        .payload = {.data = record->payload + sizeof(head), .size = record->bytes - sizeof(head)},
        .message_class = (hpx_message_class)head.message_class,
        .missed = head.missed,
    };
    return 1;
}

int hpx_ws_client_message_wait(hpx_ws_client *client, hpx_event *message, uint64_t timeout_ns)
{
    int got = hpx_ws_client_next_message(client, message);
    if (got == 0) {
        got = client_wait(client, client_has_message, timeout_ns)
                  ? hpx_ws_client_next_message(client, message)
                  : HPX_E_TIMEOUT;
    }
    return got;
}

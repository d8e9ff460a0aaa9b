/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscription.c - subscriptions as the application sees them: made, read, let go.
 *
 * Threads   hpx_handle_*, hpx_subscription_*: the port's. hpx_conn_*: the shard's.
 */
#include "engine/subscription.h"

#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/error.h"
#include "engine/session.h"
#include "ws/utf8.h"

#define SUBSCRIPTION_TOPICS_MAX 65535u

/* ---- Made ------------------------------------------------------------------------------------ */

static int subscription_compare(const void *a, const void *b)
{
    const hpx_span *left = a;
    const hpx_span *right = b;
    if (left->size != right->size) {
        return left->size < right->size ? -1 : 1;
    }
    return memcmp(left->data, right->data, left->size);
}

static hpx_status subscription_check_topics(
    const hpx_span *topics, uint32_t count, const hpx_allocator *allocator, hpx_error *error)
{
    if (topics == NULL || count < 1 || count > SUBSCRIPTION_TOPICS_MAX) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "topic_count is %u; allowed are 1 to %u",
            count,
            SUBSCRIPTION_TOPICS_MAX);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (topics[i].data == NULL || topics[i].size < 1 || topics[i].size > HPX_TOPIC_BYTES_MAX) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "topic %u has %zu bytes; allowed are 1 to %d",
                i,
                topics[i].size,
                HPX_TOPIC_BYTES_MAX);
        }
        if (!hpxi_utf8_check(topics[i].data, topics[i].size)) {
            return hpxi_error_set(
                error, HPX_E_INVALID, HPX_STAGE_CONFIG, "topic %u is not UTF-8", i);
        }
    }
    if (count == 1) {
        return HPX_OK;
    }
    hpx_span *sorted = hpxi_alloc(allocator, count * sizeof(*sorted), _Alignof(hpx_span));
    if (sorted == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    memcpy(sorted, topics, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), subscription_compare);
    hpx_status status = HPX_OK;
    for (uint32_t i = 1; i < count && status == HPX_OK; i++) {
        if (subscription_compare(&sorted[i - 1], &sorted[i]) == 0) {
            status = hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "topic %.*s is given twice",
                (int)(sorted[i].size < 100 ? sorted[i].size : 100),
                (const char *)sorted[i].data);
        }
    }
    hpxi_free(allocator, sorted, count * sizeof(*sorted));
    return status;
}

static hpx_status subscription_check_config(
    hpx_subscribe_config *full, const hpx_subscribe_config *from, hpx_error *error)
{
    *full = (hpx_subscribe_config)HPX_SUBSCRIBE_CONFIG_INIT;
    if (from != NULL) {
        if (from->size < offsetof(hpx_subscribe_config, overflow)) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "config size is not set; use HPX_SUBSCRIBE_CONFIG_INIT");
        }
        memcpy(full, from, from->size < sizeof(*full) ? from->size : sizeof(*full));
    }
    HPXI_DEFAULT(full->ring_bytes, 256u << 10);
    HPXI_DEFAULT(full->large_bytes_max, UINT64_C(64) << 20);
    const char *wrong = NULL;
    if (full->flags != 0) {
        wrong = "flags is not 0";
    } else if ((uint32_t)full->overflow > HPX_OVERFLOW_DISCONNECT) {
        wrong = "overflow is none of HPX_OVERFLOW_...";
    } else if (
        full->ring_bytes < 4096 || full->ring_bytes > (1u << 30) ||
        (full->ring_bytes & (full->ring_bytes - 1)) != 0) {
        wrong = "ring_bytes must be a power of two from 4 KiB to 1 GiB";
    }
    return wrong == NULL ? HPX_OK
                         : hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s", wrong);
}

/* One block: the object, its members, its topics, their bytes. */
static hpx_subscription *subscription_alloc(const hpxi_subscription_config *config)
{
    const uint32_t count = config->topic_count;
    size_t text_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        text_bytes += config->topics[i].size;
    }
    const size_t bytes =
        sizeof(hpx_subscription) + count * (sizeof(hpxi_member) + sizeof(hpx_span)) + text_bytes;
    hpx_subscription *sub = hpxi_alloc_zero(config->allocator, bytes, _Alignof(hpx_subscription));
    if (sub == NULL) {
        return NULL;
    }
    sub->allocator = config->allocator;
    sub->bytes = bytes;
    sub->shard.members = (hpxi_member *)(void *)(sub + 1);
    sub->topics = (hpx_span *)(void *)(sub->shard.members + count);
    uint8_t *text = (uint8_t *)(sub->topics + count);
    for (uint32_t i = 0; i < count; i++) {
        memcpy(text, config->topics[i].data, config->topics[i].size);
        sub->topics[i] = (hpx_span){.data = text, .size = config->topics[i].size};
        text += config->topics[i].size;
    }
    sub->topic_count = count;
    return sub;
}

hpx_status hpxi_subscription_new(
    hpx_subscription **out, const hpxi_subscription_config *config, hpx_error *error)
{
    *out = NULL;
    hpx_subscribe_config full;
    hpx_status status = subscription_check_config(&full, config->config, error);
    if (status == HPX_OK) {
        status = subscription_check_topics(
            config->topics, config->topic_count, config->allocator, error);
    }
    if (status != HPX_OK) {
        return status;
    }
    hpx_subscription *sub = subscription_alloc(config);
    if (sub == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    sub->on_update = config->on_update;
    sub->user = config->core != NULL ? full.user : config->user;
    atomic_init(&sub->shared.refs, 1);
    if (config->core != NULL) {
        const hpxi_feed_config feed = {
            .overflow = full.overflow,
            .ring_bytes = full.ring_bytes,
            .large_bytes_max = full.large_bytes_max,
            .topic_count = config->topic_count,
            .message_bytes_max = config->hub->message_bytes_max,
            .allocator = config->allocator,
        };
        if (hpxi_feed_init(&sub->feed, &feed) != HPX_OK) {
            hpxi_free(sub->allocator, sub, sub->bytes);
            return hpxi_error_set(
                error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory for the subscriber's ring");
        }
        hpxi_port_core_retain(config->core);
        sub->core = config->core;
    }
    hpxi_hub_retain(config->hub);
    sub->hub = config->hub;
    *out = sub;
    return HPX_OK;
}

void hpxi_subscription_retain(hpx_subscription *sub)
{
    atomic_fetch_add_explicit(&sub->shared.refs, 1, memory_order_relaxed);
}

void hpxi_subscription_drop(hpx_subscription *sub)
{
    if (atomic_fetch_sub_explicit(&sub->shared.refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    HPX_ASSERT(sub->shard.conn == NULL);
    if (sub->core != NULL) {
        hpxi_feed_fini(&sub->feed);
        hpxi_port_core_release(sub->core);
    }
    hpxi_hub_release(sub->hub);
    hpxi_free(sub->allocator, sub, sub->bytes);
}

/* ---- On a port ------------------------------------------------------------------------------- */

static void subscription_join_port(hpx_subscription *sub, hpx_port *port)
{
    sub->port.port = port;
    sub->port.prev = NULL;
    sub->port.next = port->subscriptions;
    if (sub->port.next != NULL) {
        sub->port.next->port.prev = sub;
    }
    port->subscriptions = sub;
}

hpx_status hpx_handle_subscribe_many(
    hpx_handle *handle,
    const hpx_span *topics,
    uint32_t topic_count,
    const hpx_subscribe_config *config,
    hpx_subscription **out,
    hpx_error *error)
{
    HPX_ASSERT(handle->port != NULL);
    *out = NULL;
    hpxi_hub *hub = handle->channel->hub;
    if (!hub->can_subscribe) {
        return hpxi_error_set(
            error,
            HPX_E_STATE,
            HPX_STAGE_CONFIG,
            "the connection has no protocol that can subscribe (config.protocol)");
    }
    if (hpxi_hub_state(hub) == HPX_CONN_CLOSED) {
        return hpxi_error_set(error, HPX_E_CLOSED, HPX_STAGE_CONFIG, "the connection is closed");
    }
    const hpxi_subscription_config full = {
        .hub = hub,
        .core = handle->port->core,
        .topics = topics,
        .topic_count = topic_count,
        .config = config,
        .allocator = handle->port->core->allocator,
    };
    hpx_subscription *sub;
    const hpx_status status = hpxi_subscription_new(&sub, &full, error);
    if (status != HPX_OK) {
        return status;
    }
    hpxi_subscription_retain(sub); /* the command's */
    if (!hpxi_handle_push_subscribe(handle, sub)) {
        hpxi_subscription_drop(sub);
        hpxi_subscription_drop(sub);
        return hpxi_error_set(error, HPX_E_AGAIN, HPX_STAGE_CONFIG, "the data ring is full");
    }
    subscription_join_port(sub, handle->port);
    *out = sub;
    return HPX_OK;
}

hpx_status hpx_handle_subscribe(
    hpx_handle *handle,
    const char *topic,
    const hpx_subscribe_config *config,
    hpx_subscription **out,
    hpx_error *error)
{
    const hpx_span span = topic != NULL ? hpx_span_of(topic) : (hpx_span){0};
    return hpx_handle_subscribe_many(handle, &span, 1, config, out, error);
}

void hpx_subscription_unsubscribe(hpx_subscription *sub)
{
    HPX_ASSERT(sub->port.port != NULL);
    if (atomic_load_explicit(&sub->shared.leaving, memory_order_relaxed) != 0) {
        return;
    }
    /* The shard sees the link's flag, then this one (partner: hpxi_links_control). */
    atomic_store_explicit(&sub->shared.leaving, 1, memory_order_release);
    hpx_port *port = sub->port.port;
    hpx_shard *shard = &port->engine->shards[sub->hub->shard_index];
    hpxi_link *link = &port->core->links[sub->hub->shard_index];
    atomic_store_explicit(&link->leaving, 1, memory_order_seq_cst);
    (void)hpxi_doorbell_ring(&shard->doorbell);
}

void hpx_subscription_release(hpx_subscription *sub)
{
    if (sub == NULL) {
        return;
    }
    hpx_subscription_unsubscribe(sub);
    hpx_port *port = sub->port.port;
    if (sub->port.prev != NULL) {
        sub->port.prev->port.next = sub->port.next;
    } else {
        HPX_ASSERT(port->subscriptions == sub);
        port->subscriptions = sub->port.next;
    }
    if (sub->port.next != NULL) {
        sub->port.next->port.prev = sub->port.prev;
    }
    sub->port.port = NULL;
    hpxi_subscription_drop(sub);
}

static int subscription_take(hpx_subscription *sub, hpx_update *update)
{
    const int got = hpxi_feed_next(&sub->feed, update);
    if (HPXI_UNLIKELY(got != 1)) {
        return got;
    }
    if (update->kind == HPX_UPDATE_MESSAGE || update->kind == HPX_UPDATE_REFUSED) {
        HPX_ASSERT(update->topic_index < sub->topic_count);
        update->topic = sub->topics[update->topic_index];
    } else if (update->kind == HPX_UPDATE_ENDED) {
        update->epoch = sub->shared.end_epoch;
        update->time_ns = sub->shared.end_time_ns;
    }
    return got;
}

int hpx_subscription_next(hpx_subscription *sub, hpx_update *update)
{
    HPX_ASSERT(sub->port.port != NULL);
    const int got = subscription_take(sub, update);
    if (HPXI_LIKELY(got != 0) || !sub->port.port->fd_mode) {
        return got;
    }
    hpxi_port_arm(sub->port.port);
    return subscription_take(sub, update); /* what came in between */
}

static int subscription_wait_step(void *object, void *out)
{
    return subscription_take(object, out);
}

static bool subscription_wait_is_empty(void *object)
{
    hpx_subscription *sub = object;
    return hpxi_feed_is_empty_sc(&sub->feed);
}

int hpx_subscription_wait(hpx_subscription *sub, hpx_update *update, uint64_t timeout_ns)
{
    HPX_ASSERT(sub->port.port != NULL);
    return hpxi_port_wait(
        sub->port.port,
        subscription_wait_step,
        subscription_wait_is_empty,
        sub,
        update,
        timeout_ns);
}

typedef struct subscription_set {
    hpx_subscription *const *members;
    uint32_t count;
} subscription_set;

static bool subscription_set_is_empty(void *object)
{
    const subscription_set *set = object;
    for (uint32_t i = 0; i < set->count; i++) {
        if (!hpxi_feed_is_empty_sc(&set->members[i]->feed)) {
            return false;
        }
    }
    return true;
}

/* Takes nothing: that there is something is all that is asked. */
static int subscription_set_look(void *object, void *out)
{
    (void)out;
    return subscription_set_is_empty(object) ? 0 : 1;
}

int hpx_subscription_wait_any(
    hpx_subscription *const *subscriptions, uint32_t count, uint64_t timeout_ns)
{
    if (count == 0) {
        return HPX_E_CLOSED;
    }
    hpx_port *port = subscriptions[0]->port.port;
    for (uint32_t i = 0; i < count; i++) {
        HPX_ASSERT(subscriptions[i]->port.port == port);
    }
    subscription_set set = {.members = subscriptions, .count = count};
    return hpxi_port_wait(
        port, subscription_set_look, subscription_set_is_empty, &set, NULL, timeout_ns);
}

hpx_subscription_state hpx_subscription_get_state(const hpx_subscription *sub)
{
    return (hpx_subscription_state)atomic_load_explicit(&sub->shared.state, memory_order_acquire);
}

void *hpx_subscription_get_user(const hpx_subscription *sub)
{
    return sub->user;
}

uint32_t hpx_subscription_topic_count(const hpx_subscription *sub)
{
    return sub->topic_count;
}

hpx_span hpx_subscription_topic(const hpx_subscription *sub, uint32_t index)
{
    return index < sub->topic_count ? sub->topics[index] : (hpx_span){0};
}

uint32_t hpx_handle_subscription_count(const hpx_handle *handle)
{
    return atomic_load_explicit(&handle->channel->hub->shared.topics, memory_order_relaxed);
}

uint32_t hpx_handle_topics(const hpx_handle *handle, hpx_span *out, uint32_t max)
{
    uint32_t count = 0;
    for (const hpx_subscription *sub = handle->port->subscriptions; sub != NULL;
         sub = sub->port.next) {
        if (sub->hub != handle->channel->hub ||
            hpx_subscription_get_state(sub) == HPX_SUBSCRIPTION_ENDED ||
            atomic_load_explicit(&sub->shared.leaving, memory_order_relaxed) != 0) {
            continue;
        }
        for (uint32_t i = 0; i < sub->topic_count; i++, count++) {
            if (count < max) {
                out[count] = sub->topics[i];
            }
        }
    }
    return count;
}

/* ---- Inline ---------------------------------------------------------------------------------- */

hpx_status hpx_conn_subscribe(
    hpx_conn *conn,
    const hpx_span *topics,
    uint32_t topic_count,
    hpx_update_fn on_update,
    void *user,
    hpx_subscription **out,
    hpx_error *error)
{
    HPXI_ASSERT_OWNER(conn->shard);
    *out = NULL;
    if (conn->session == NULL || !conn->hub->can_subscribe || on_update == NULL) {
        return hpxi_error_set(
            error,
            on_update == NULL ? HPX_E_INVALID : HPX_E_STATE,
            HPX_STAGE_CONFIG,
            on_update == NULL
                ? "on_update is NULL"
                : "the connection has no protocol that can subscribe (config.protocol)");
    }
    if (conn->session->closed || conn->state == HPX_CONN_CLOSED) {
        return hpxi_error_set(error, HPX_E_CLOSED, HPX_STAGE_CONFIG, "the connection is closed");
    }
    const hpxi_subscription_config full = {
        .hub = conn->hub,
        .topics = topics,
        .topic_count = topic_count,
        .on_update = on_update,
        .user = user,
        .allocator = conn->shard->allocator,
    };
    hpx_subscription *sub;
    hpx_status status = hpxi_subscription_new(&sub, &full, error);
    if (status != HPX_OK) {
        return status;
    }
    status = hpxi_subscription_attach(sub, conn);
    if (status != HPX_OK) {
        hpxi_subscription_drop(sub);
        return hpxi_error_set(
            error,
            status,
            HPX_STAGE_CONFIG,
            "%s (topics_max is %u)",
            hpx_status_text(status),
            conn->spec->config.topics_max);
    }
    *out = sub;
    return HPX_OK;
}

void hpx_conn_unsubscribe(hpx_conn *conn, hpx_subscription *sub)
{
    HPXI_ASSERT_OWNER(conn->shard);
    HPX_ASSERT(sub->core == NULL && sub->shard.conn == conn);
    atomic_store_explicit(&sub->shared.leaving, 1, memory_order_relaxed);
    conn->session->sweep = true;
    hpxi_conn_mark_settle(conn);
}

uint32_t hpx_conn_subscription_count(const hpx_conn *conn)
{
    return conn->session != NULL ? conn->session->topics.held : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c - requests as the application makes them, from a port or inline.
 *
 * Threads   hpx_handle_*: the port's. hpx_conn_*: the shard's.
 */
#include <string.h>

#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/port.h"
#include "engine/session.h"
#include "ws/utf8.h"

/* ---- From a port ----------------------------------------------------------------------------- */

static bool request_id_is_valid(const hpx_request_id *id)
{
    return id->kind == HPX_ID_NUMBER ||
           (id->kind == HPX_ID_TEXT && id->text.size >= 1 && id->text.size <= HPX_REQUEST_ID_BYTES);
}

/* Takes one of the pending requests, or says why not. */
static hpx_status request_begin(const hpx_handle *handle)
{
    const hpxi_channel *channel = handle->channel;
    if (!channel->has_replies) {
        return HPX_E_STATE;
    }
    if (hpxi_hub_state(channel->hub) != HPX_CONN_READY) {
        return HPX_E_NOT_CONNECTED;
    }
    if (atomic_load_explicit(&channel->hub->shared.send_blocked, memory_order_relaxed) != 0) {
        return HPX_E_AGAIN;
    }
    if (!hpxi_hub_take_pending(channel->hub)) {
        return HPX_E_LIMIT;
    }
    if (!hpxi_replies_may_open(&channel->replies)) { /* they are answered, and not taken */
        hpxi_hub_give_pending(channel->hub);
        return HPX_E_AGAIN;
    }
    return HPX_OK;
}

static uint64_t request_deadline(uint64_t timeout_ns, uint64_t fallback_ns, uint64_t now_ns)
{
    const uint64_t timeout = timeout_ns != 0 ? timeout_ns : fallback_ns;
    return timeout > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + timeout;
}

static hpx_status request_push(
    hpx_handle *handle,
    const hpx_request_id *raw,
    hpx_span payload,
    uint64_t timeout_ns,
    void *user,
    uint64_t *token)
{
    HPX_ASSERT(handle->port != NULL);
    if (!hpxi_utf8_check(payload.data, payload.size)) {
        return HPX_E_INVALID;
    }
    const hpx_status refused = request_begin(handle);
    if (refused != HPX_OK) {
        return refused;
    }
    hpxi_channel *channel = handle->channel;
    hpxi_hub *hub = channel->hub;
    struct {
        hpxi_command_send send;
        hpxi_command_request request;
    } command = {
        .send.epoch = atomic_load_explicit(&hub->shared.epoch, memory_order_relaxed),
        .send.kind = HPX_MESSAGE_TEXT,
        .request.deadline_ns =
            request_deadline(timeout_ns, hub->request_timeout_ns, hpx_clock_now_ns()),
        .request.user = user,
        .request.token = hpxi_replies_open(&channel->replies),
    };
    if (raw != NULL) {
        command.request.raw_kind = (uint32_t)raw->kind;
        command.request.raw_number = raw->number;
        if (raw->kind == HPX_ID_TEXT) {
            command.request.raw_bytes = (uint32_t)raw->text.size;
            memcpy(command.request.raw_text, raw->text.data, raw->text.size);
        }
    }
    const hpx_span head = {.data = (const uint8_t *)&command, .size = sizeof(command)};
    const hpx_status status =
        hpxi_handle_data(handle, HPXI_COMMAND_REQUEST, HPXI_COMMAND_REQUEST_BLOCK, head, payload);
    if (status != HPX_OK) {
        hpxi_replies_unopen(&channel->replies);
        hpxi_hub_give_pending(hub);
        return status;
    }
    if (token != NULL) {
        *token = command.request.token;
    }
    return HPX_OK;
}

hpx_status hpx_handle_request(
    hpx_handle *handle, hpx_span payload, uint64_t timeout_ns, void *user, uint64_t *token)
{
    return request_push(handle, NULL, payload, timeout_ns, user, token);
}

hpx_status hpx_handle_request_raw(
    hpx_handle *handle,
    const hpx_request_id *id,
    hpx_span payload,
    uint64_t timeout_ns,
    void *user,
    uint64_t *token)
{
    if (!request_id_is_valid(id)) {
        return HPX_E_INVALID;
    }
    return request_push(handle, id, payload, timeout_ns, user, token);
}

typedef struct request_wait {
    hpxi_replies *replies;
    uint64_t token;
} request_wait;

static int request_wait_take(void *object, void *out)
{
    const request_wait *wait = object;
    return hpxi_replies_take(wait->replies, wait->token, out);
}

static int reply_wait_take(void *object, void *out)
{
    return hpxi_replies_next(((const request_wait *)object)->replies, out);
}

static bool request_wait_is_empty(void *object)
{
    return hpxi_replies_have_no_news_sc(((const request_wait *)object)->replies);
}

hpx_status
hpx_handle_request_wait(hpx_handle *handle, hpx_span payload, uint64_t timeout_ns, hpx_reply *reply)
{
    uint64_t token;
    const hpx_status status = hpx_handle_request(handle, payload, timeout_ns, NULL, &token);
    if (status != HPX_OK) {
        return status;
    }
    request_wait wait = {.replies = &handle->channel->replies, .token = token};
    /* Its outcome comes by itself, in time: the shard keeps the deadline. */
    const int got = hpxi_port_wait(
        handle->port, request_wait_take, request_wait_is_empty, &wait, reply, UINT64_MAX);
    HPX_ASSERT(got == 1);
    return reply->status;
}

hpx_status hpx_request_cancel(hpx_handle *handle, uint64_t token)
{
    HPX_ASSERT(handle->port != NULL);
    return hpxi_handle_control(handle, HPXI_COMMAND_CANCEL, &token, sizeof(token));
}

int hpx_handle_next_reply(hpx_handle *handle, hpx_reply *reply)
{
    HPX_ASSERT(handle->port != NULL);
    if (!handle->channel->has_replies) {
        return 0;
    }
    const int got = hpxi_replies_next(&handle->channel->replies, reply);
    if (HPXI_LIKELY(got != 0) || !handle->port->fd_mode) {
        return got;
    }
    hpxi_port_arm(handle->port);
    return hpxi_replies_next(&handle->channel->replies, reply); /* what came in between */
}

int hpx_handle_wait_reply(hpx_handle *handle, hpx_reply *reply, uint64_t timeout_ns)
{
    HPX_ASSERT(handle->port != NULL);
    HPX_ASSERT(handle->channel->has_replies);
    request_wait wait = {.replies = &handle->channel->replies};
    return hpxi_port_wait(
        handle->port, reply_wait_take, request_wait_is_empty, &wait, reply, timeout_ns);
}

uint32_t hpx_handle_pending_count(const hpx_handle *handle)
{
    return atomic_load_explicit(&handle->channel->hub->shared.pending, memory_order_relaxed);
}

void hpx_handle_get_stats(const hpx_handle *handle, hpx_session_stats *out)
{
    hpxi_hub_get_stats(handle->channel->hub, out);
}

/* ---- Inline ---------------------------------------------------------------------------------- */

static hpx_status request_inline(
    hpx_conn *conn,
    const hpx_request_id *raw,
    hpx_span payload,
    uint64_t timeout_ns,
    hpx_reply_fn on_reply,
    void *user,
    uint64_t *token)
{
    HPXI_ASSERT_OWNER(conn->shard);
    if (conn->session == NULL || !conn->hub->can_request) {
        return HPX_E_STATE;
    }
    if (on_reply == NULL) {
        return HPX_E_INVALID;
    }
    if (conn->state != HPX_CONN_READY) {
        return HPX_E_NOT_CONNECTED;
    }
    if (!hpxi_conn_may_queue(conn, payload.size)) {
        return HPX_E_AGAIN;
    }
    if (!hpxi_hub_take_pending(conn->hub)) {
        return HPX_E_LIMIT;
    }
    hpxi_conn_refresh_clock(conn);
    const hpxi_request_config config = {
        .on_reply = on_reply,
        .user = user,
        .token = ++conn->session->inline_token,
        .deadline_ns =
            request_deadline(timeout_ns, conn->hub->request_timeout_ns, conn->shard->owner.now_ns),
        .raw = raw,
    };
    hpxi_request *request;
    const hpx_status status = hpxi_session_request(conn, &config, payload, &request);
    if (status != HPX_OK) {
        hpxi_hub_give_pending(conn->hub);
        return status;
    }
    if (token != NULL) {
        *token = config.token;
    }
    return HPX_OK;
}

hpx_status hpx_conn_request(
    hpx_conn *conn,
    hpx_span payload,
    uint64_t timeout_ns,
    hpx_reply_fn on_reply,
    void *user,
    uint64_t *token)
{
    return request_inline(conn, NULL, payload, timeout_ns, on_reply, user, token);
}

hpx_status hpx_conn_request_raw(
    hpx_conn *conn,
    const hpx_request_id *id,
    hpx_span payload,
    uint64_t timeout_ns,
    hpx_reply_fn on_reply,
    void *user,
    uint64_t *token)
{
    if (!request_id_is_valid(id)) {
        return HPX_E_INVALID;
    }
    return request_inline(conn, id, payload, timeout_ns, on_reply, user, token);
}

hpx_status hpx_conn_request_cancel(hpx_conn *conn, uint64_t token)
{
    HPXI_ASSERT_OWNER(conn->shard);
    hpxi_request *request =
        conn->session != NULL ? hpxi_pending_by_token(&conn->session->pending, NULL, token) : NULL;
    if (request == NULL) {
        return HPX_E_STALE;
    }
    hpxi_session_cancel(conn, request);
    return HPX_OK;
}

uint32_t hpx_conn_pending_count(const hpx_conn *conn)
{
    return conn->hub != NULL
               ? atomic_load_explicit(&conn->hub->shared.pending, memory_order_relaxed)
               : 0;
}

void hpx_conn_get_stats(const hpx_conn *conn, hpx_session_stats *out)
{
    if (conn->hub == NULL) {
        *out = (hpx_session_stats){0};
        return;
    }
    hpxi_hub_get_stats(conn->hub, out);
}

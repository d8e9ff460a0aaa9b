/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_requests.c - requests: framed with their id, matched once, completed once.
 *
 * Role      A request is its slot in the slab from the moment it is framed to the moment it
 *           completes. Completion gives the slot back first and tells second, so that the
 *           application may send the next one from inside its handler, also at capacity.
 * Threads   The shard's.
 */
#include "engine/conn.h"
#include "engine/session.h"

static hpx_conn *request_conn(const hpxi_request *request)
{
    return request->table->owner;
}

static void request_set_deadline(hpx_conn *conn, hpxi_request *request, uint64_t deadline_ns)
{
    if (deadline_ns != UINT64_MAX) {
        hpxi_wheel_set(&conn->shard->owner.wheel, &request->timer, deadline_ns);
    }
}

/* ---- The application's ----------------------------------------------------------------------- */

static void request_on_timer(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_request *request = (hpxi_request *)(void *)timer;
    _Static_assert(offsetof(hpxi_request, timer) == 0, "a timer is its request");
    hpx_conn *conn = request_conn(request);
    if (request->cancelled) {
        hpxi_session_complete(conn, request, HPX_E_CANCELLED, false, (hpx_span){0});
        return;
    }
    hpxi_count(&conn->hub->shared.counters.timeouts, 1);
    hpxi_session_complete(conn, request, HPX_E_TIMEOUT, false, (hpx_span){0});
}

/* Frame the payload with the id spliced in: one copy. */
static hpx_status request_frame(hpx_conn *conn, const hpxi_request *request, hpx_span payload)
{
    if (request->is_raw) {
        return hpxi_conn_send(conn, HPX_MESSAGE_TEXT, payload);
    }
    const hpx_protocol *protocol = conn->session->protocol;
    hpx_splice splice = {0};
    const hpx_status status =
        protocol->inject_request_id(protocol->ctx, payload, request->id, &splice);
    if (status != 1) {
        return HPX_E_INVALID;
    }
    if (splice.offset > payload.size || splice.removed > payload.size - splice.offset ||
        splice.text_bytes > HPX_SPLICE_BYTES) {
        return HPX_E_INVALID; /* a dialect of the application's */
    }
    return hpxi_conn_send_spliced(conn, payload, &splice);
}

hpx_status hpxi_session_request(
    hpx_conn *conn, const hpxi_request_config *config, hpx_span payload, hpxi_request **out)
{
    hpxi_session *session = conn->session;
    HPX_ASSERT(conn->state == HPX_CONN_READY);
    hpxi_request *request =
        hpxi_pending_take(&session->pending, HPXI_PENDING_APP, request_on_timer);
    HPX_ASSERT(request != NULL); /* the hub's count is the slab's capacity */
    request->channel = config->channel;
    request->on_reply = config->on_reply;
    request->user = config->user;
    request->token = config->token;
    request->epoch = conn->epoch;
    hpx_status status = HPX_OK;
    if (config->raw != NULL) {
        status = hpxi_pending_set_raw(&session->pending, request, config->raw);
    }
    if (status == HPX_OK) {
        status = request_frame(conn, request, payload);
    }
    if (status != HPX_OK) {
        hpxi_pending_give_back(&session->pending, request);
        return status;
    }
    hpxi_session_spend(conn);
    hpxi_count(&session->hub->shared.counters.requests_sent, 1);
    request->sent_ns = conn->shard->owner.now_ns;
    request_set_deadline(conn, request, config->deadline_ns);
    *out = request;
    return HPX_OK;
}

void hpxi_session_complete(
    hpx_conn *conn, hpxi_request *request, hpx_status status, bool is_error, hpx_span payload)
{
    HPX_ASSERT(request->kind == HPXI_PENDING_APP);
    hpxi_channel *channel = request->channel;
    const hpx_reply_fn on_reply = request->on_reply;
    void *user = request->user;
    const hpx_reply reply = {
        .status = status,
        .sent = true,
        .is_error = is_error,
        .token = request->token,
        .user = user,
        .epoch = request->epoch,
        .sent_ns = request->sent_ns,
        .time_ns = conn->shard->owner.now_ns,
        .payload = payload,
    };
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &request->timer);
    hpxi_pending_give_back(&conn->session->pending, request);
    hpxi_hub_give_pending(conn->hub);
    if (on_reply != NULL) {
        HPX_DASSERT(conn->shard->owner.in_turn);
        on_reply(conn, &reply, user);
        return;
    }
    HPX_ASSERT(channel != NULL);
    hpxi_replies_push(&channel->replies, &reply);
    hpxi_shard_mark_publish(conn->shard, channel);
}

void hpxi_session_cancel(hpx_conn *conn, hpxi_request *request)
{
    HPX_ASSERT(request->kind == HPXI_PENDING_APP);
    request->cancelled = true;
    hpxi_wheel_set(&conn->shard->owner.wheel, &request->timer, conn->shard->owner.now_ns);
}

void hpxi_session_forget(hpx_conn *conn, const hpxi_channel *channel)
{
    hpxi_pending *pending = &conn->session->pending;
    for (hpxi_request *at = pending->live, *next; at != NULL; at = next) {
        next = at->next;
        if (at->kind == HPXI_PENDING_APP && at->channel == channel) {
            hpxi_wheel_cancel(&conn->shard->owner.wheel, &at->timer);
            hpxi_pending_give_back(pending, at);
            hpxi_hub_give_pending(conn->hub);
        }
    }
}

/* ---- The driver's own ------------------------------------------------------------------------ */

static void own_on_timer(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpxi_request *request = (hpxi_request *)(void *)timer;
    hpx_conn *conn = request_conn(request);
    if (request->kind == HPXI_PENDING_BATCH && hpxi_conn_is_open(conn)) {
        /* What the server did is unknown: a new connection makes it known. */
        hpxi_conn_fail_with(
            conn,
            HPX_E_SUBSCRIBE_TIMEOUT,
            hpxi_conn_stage(conn),
            "the server did not acknowledge a batch of topics within request_timeout_ns");
        return;
    }
    if (request->kind == HPXI_PENDING_QUIET) {
        hpxi_pending_give_back(&conn->session->pending, request);
    }
}

hpxi_request *hpxi_session_own_request(hpx_conn *conn, hpxi_pending_kind kind, uint64_t timeout_ns)
{
    HPX_ASSERT(kind != HPXI_PENDING_APP);
    hpxi_request *request = hpxi_pending_take(&conn->session->pending, kind, own_on_timer);
    if (request != NULL) {
        request->epoch = hpxi_session_epoch(conn);
        request_set_deadline(
            conn,
            request,
            timeout_ns == HPX_NEVER ? UINT64_MAX : conn->shard->owner.now_ns + timeout_ns);
    }
    return request;
}

void hpxi_session_drop_own(hpx_conn *conn, hpxi_request *request)
{
    HPX_ASSERT(request->kind != HPXI_PENDING_APP);
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &request->timer);
    hpxi_pending_give_back(&conn->session->pending, request);
}

void hpxi_session_disconnect_requests(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    HPX_ASSERT(!hpxi_conn_is_open(conn)); /* so that none is added */
    while (session->pending.live != NULL) {
        hpxi_request *request = session->pending.live;
        if (request->kind == HPXI_PENDING_APP) {
            const hpx_status status = request->cancelled ? HPX_E_CANCELLED : HPX_E_DISCONNECTED;
            hpxi_session_complete(conn, request, status, false, (hpx_span){0});
        } else {
            hpxi_session_drop_own(conn, request);
        }
    }
    session->auth = NULL;
    session->ping = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - each message to its one place: a response to its request, an update to its
 * subscribers, the rest to the stream.
 *
 * Threads   The shard's. This is the hot path: no allocation, no lock, no system call of its own.
 */
#include "engine/session.h"

#include <string.h>

#include "engine/conn.h"
#include "engine/error.h"

/* Messages being built: large enough for a batch of many topics; more are sent as more batches. */
#define SESSION_SCRATCH_BYTES (64u << 10)

/* A message held back until READY. */
typedef struct session_held {
    uint32_t kind; /* hpx_message_kind */
    uint32_t message_class;
    uint64_t time_ns;
    uint64_t bytes;
    uint64_t is_decoded; /* the bytes as received were not kept */
} session_held;

#define SESSION_OF_PACE(timer)                                                                     \
    ((hpxi_session *)(void *)((char *)(timer)-offsetof(hpxi_session, pace)))

/* ---- Made and freed -------------------------------------------------------------------------- */

hpx_status hpxi_session_new(hpx_conn *conn)
{
    const hpx_ws_config *config = &conn->spec->config;
    const hpx_allocator *allocator = conn->shard->allocator;
    hpxi_session *session = hpxi_alloc_zero(allocator, sizeof(*session), _Alignof(hpxi_session));
    if (session == NULL) {
        return HPX_E_NO_MEMORY;
    }
    conn->session = session;
    session->protocol = &conn->spec->protocol;
    session->hub = conn->hub;
    session->names_max = config->topics_per_message_max;
    hpxi_buf_init(&session->scratch, allocator);
    hpxi_buf_init(&session->decoded, allocator);
    hpxi_buf_init(&session->held, allocator);
    hpxi_timer_init(&session->pace, hpxi_session_on_pace);
    hpx_status status = hpxi_pending_init(&session->pending, config->requests_max, conn, allocator);
    if (status == HPX_OK) {
        status = hpxi_topics_init(&session->topics, config->topics_max, allocator);
    }
    if (status == HPX_OK) {
        const size_t each = sizeof(session->names[0]) + sizeof(session->accepted[0]);
        session->names = hpxi_alloc_zero(allocator, session->names_max * each, _Alignof(hpx_span));
        status = session->names != NULL ? HPX_OK : HPX_E_NO_MEMORY;
    }
    if (status != HPX_OK) {
        hpxi_session_free(conn);
        return status;
    }
    session->accepted = (bool *)(void *)(session->names + session->names_max);
    return HPX_OK;
}

void hpxi_session_free(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    if (session == NULL) {
        return;
    }
    const hpx_allocator *allocator = conn->shard->allocator;
    HPX_ASSERT(session->subscriptions == NULL);
    HPX_ASSERT(!hpxi_timer_is_set(&session->pace));
    hpxi_pending_fini(&session->pending);
    hpxi_topics_fini(&session->topics);
    const size_t each = sizeof(session->names[0]) + sizeof(session->accepted[0]);
    hpxi_free(allocator, session->names, session->names_max * each);
    hpxi_buf_fini(&session->scratch);
    hpxi_buf_fini(&session->decoded);
    hpxi_buf_fini(&session->held);
    hpxi_free(allocator, session, sizeof(*session));
    conn->session = NULL;
}

/* ---- Messages out ---------------------------------------------------------------------------- */

hpx_writer hpxi_session_writer(hpx_conn *conn)
{
    hpxi_buf *scratch = &conn->session->scratch;
    HPX_DASSERT(hpxi_buf_size(scratch) == 0);
    uint8_t *data = hpxi_buf_reserve(scratch, SESSION_SCRATCH_BYTES);
    return (hpx_writer){.data = data, .capacity = data != NULL ? SESSION_SCRATCH_BYTES : 0};
}

bool hpxi_session_send(hpx_conn *conn, const hpx_writer *writer)
{
    HPX_ASSERT(!writer->overflow);
    const hpx_span message = {.data = writer->data, .size = writer->size};
    if (hpxi_conn_send(conn, HPX_MESSAGE_TEXT, message) != HPX_OK) {
        hpxi_conn_fail_with(
            conn, HPX_E_NO_MEMORY, hpxi_conn_stage(conn), "no memory for an outgoing message");
        return false;
    }
    hpxi_session_spend(conn);
    return true;
}

void hpxi_session_dialect_failed(hpx_conn *conn, const char *what, hpx_status status)
{
    hpx_error error;
    (void)hpxi_error_set(
        &error,
        HPX_E_DIALECT,
        hpxi_conn_stage(conn),
        "%s could not build %s: %s",
        conn->session->protocol->name != NULL ? conn->session->protocol->name : "the protocol",
        what,
        hpx_status_text(status));
    hpxi_conn_fail(conn, &error);
}

uint64_t hpxi_session_epoch(const hpx_conn *conn)
{
    return conn->ready_ns != 0 ? conn->epoch : conn->epoch + 1;
}

void hpxi_session_spend(hpx_conn *conn)
{
    const hpx_ws_config *config = &conn->spec->config;
    if (config->messages_per_second > 0.0) {
        /* Into debt at most one burst: orders are never held up, and batches wait no longer. */
        hpxi_session *session = conn->session;
        const double burst = config->messages_burst != 0 ? (double)config->messages_burst
                                                         : config->messages_per_second;
        session->tokens -= 1.0;
        session->tokens = session->tokens < -burst ? -burst : session->tokens;
    }
}

/* ---- Messages for the stream ----------------------------------------------------------------- */

/* Before READY: nothing may overtake CONNECTED. A quarter of the stream's ring is held at most. */
static void session_hold(hpx_conn *conn, const hpx_event *event)
{
    hpxi_session *session = conn->session;
    const session_held head = {
        .kind = event->message_kind,
        .message_class = event->message_class,
        .time_ns = event->time_ns,
        .bytes = event->payload.size,
        .is_decoded = event->raw.data != event->payload.data ? 1 : 0,
    };
    const size_t need = sizeof(head) + event->payload.size;
    const size_t most = conn->spec->config.stream_ring_bytes / 4;
    uint8_t *to = hpxi_buf_size(&session->held) + need <= most
                      ? hpxi_buf_reserve(&session->held, need)
                      : NULL;
    if (to == NULL) {
        session->held_missed++;
        hpxi_count(&conn->shard->counters.messages_dropped, 1);
        return;
    }
    memcpy(to, &head, sizeof(head));
    if (event->payload.size != 0) {
        memcpy(to + sizeof(head), event->payload.data, event->payload.size);
    }
    hpxi_buf_commit(&session->held, need);
}

void hpxi_session_ready(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    while (hpxi_buf_size(&session->held) != 0 && conn->state == HPX_CONN_READY) {
        const hpx_span left = hpxi_buf_span(&session->held);
        session_held head;
        memcpy(&head, left.data, sizeof(head));
        const hpx_span payload = {.data = left.data + sizeof(head), .size = head.bytes};
        const hpx_event event = {
            .kind = HPX_EVENT_MESSAGE,
            .message_kind = (hpx_message_kind)head.kind,
            .message_class = (hpx_message_class)head.message_class,
            .epoch = conn->epoch,
            .time_ns = head.time_ns,
            .payload = payload,
            .raw = head.is_decoded != 0 ? (hpx_span){0} : payload,
        };
        hpxi_conn_deliver(conn, &event);
        hpxi_buf_consume(&session->held, sizeof(head) + head.bytes);
    }
    if (conn->channel != NULL) {
        conn->channel->shard.missed += session->held_missed; /* the next message tells */
    }
    session->held_missed = 0;
}

/* ---- Messages in ----------------------------------------------------------------------------- */

static void session_pong(hpx_conn *conn, hpx_span ping)
{
    hpxi_session *session = conn->session;
    hpxi_count(&session->hub->shared.counters.server_pings, 1);
    if (session->protocol->build_pong == NULL ||
        hpxi_conn_queued(conn) > conn->send_queue_bytes_max) {
        return; /* a peer that floods pings and reads nothing gets no more answers */
    }
    hpxi_request *request =
        hpxi_session_own_request(conn, HPXI_PENDING_QUIET, conn->spec->config.request_timeout_ns);
    if (request == NULL) {
        return; /* that many unanswered already */
    }
    hpx_writer writer = hpxi_session_writer(conn);
    const hpx_status status =
        session->protocol->build_pong(session->protocol->ctx, ping, request->id, &writer);
    if (status == 0) {
        hpxi_session_drop_own(conn, request);
    } else if (status < 0 || writer.overflow) {
        hpxi_session_dialect_failed(conn, "a pong", status < 0 ? status : HPX_E_LIMIT);
    } else {
        (void)hpxi_session_send(conn, &writer);
    }
}

static void session_reconnect(hpx_conn *conn, hpx_span reason)
{
    hpx_error error;
    (void)hpxi_error_set(
        &error,
        HPX_E_SERVER_RECONNECT,
        hpxi_conn_stage(conn),
        "the server asked for a new connection%s%.*s",
        reason.size != 0 ? ": " : "",
        (int)(reason.size < 100 ? reason.size : 100),
        reason.size != 0 ? (const char *)reason.data : "");
    hpxi_conn_leave(conn, &error);
}

/* What a message says about the session itself. */
static void session_on_meaning(hpx_conn *conn, const hpx_classified *message, hpx_span text)
{
    const uint32_t meaning = message->meaning;
    if ((meaning & (HPX_MEANS_AUTH_OK | HPX_MEANS_AUTH_FAILED)) != 0) {
        hpxi_session_on_auth(conn, (meaning & HPX_MEANS_AUTH_OK) != 0, message->reason);
    }
    if ((meaning & (HPX_MEANS_SUBSCRIBED | HPX_MEANS_UNSUBSCRIBED | HPX_MEANS_REFUSED)) != 0) {
        hpxi_session_on_topic(conn, message);
    }
    if ((meaning & HPX_MEANS_PING) != 0 && hpxi_conn_is_open(conn)) {
        session_pong(conn, text);
    }
    if ((meaning & HPX_MEANS_PONG) != 0) {
        hpxi_conn_heartbeat_answered(conn);
    }
    if ((meaning & HPX_MEANS_RECONNECT) != 0 && hpxi_conn_is_open(conn)) {
        session_reconnect(conn, message->reason);
    }
}

static void session_on_response(hpx_conn *conn, const hpx_classified *message, hpx_span text)
{
    hpxi_session *session = conn->session;
    const bool is_error = (message->meaning & HPX_MEANS_ERROR) != 0;
    hpxi_request *request = hpxi_pending_find(&session->pending, &message->id);
    if (request == NULL || request->cancelled) {
        hpxi_count(&session->hub->shared.counters.unsolicited_replies, 1);
        return;
    }
    switch (request->kind) {
    case HPXI_PENDING_APP:
        hpxi_count(&session->hub->shared.counters.replies, 1);
        hpxi_session_complete(conn, request, HPX_OK, is_error, text);
        return;
    case HPXI_PENDING_AUTH:
        hpxi_session_on_auth(conn, !is_error, message->reason);
        return;
    case HPXI_PENDING_BATCH:
        hpxi_session_on_batch(conn, request, message, text);
        return;
    case HPXI_PENDING_PING:
        hpxi_conn_heartbeat_answered(conn);
        return;
    case HPXI_PENDING_QUIET:
        hpxi_session_drop_own(conn, request);
        return;
    case HPXI_PENDING_FREE:
        break;
    }
    HPX_ASSERT(false);
}

static void session_on_update(hpx_conn *conn, hpx_span name, const hpxi_feed_message *message)
{
    hpxi_session *session = conn->session;
    const hpxi_topic *topic =
        name.size <= HPX_TOPIC_BYTES_MAX ? hpxi_topics_find(&session->topics, name) : NULL;
    if (topic == NULL || topic->members == NULL) {
        hpxi_count(&session->hub->shared.counters.unrouted_updates, 1);
        return;
    }
    hpxi_count(&session->hub->shared.counters.updates, 1);
    for (const hpxi_member *member = topic->members; member != NULL; member = member->next) {
        /* Members join in front and leave in the settle step: the walk is safe. */
        hpxi_subscription_update(member->subscription, member, message);
    }
}

/* decode_binary(), into the session's own buffer. False: the connection failed. */
static bool session_decode(hpx_conn *conn, hpx_span raw, hpx_span *text)
{
    hpxi_session *session = conn->session;
    const uint64_t most = conn->spec->config.message_bytes_max;
    size_t room = 4 * raw.size + 4096;
    for (;;) {
        room = room < most ? room : (size_t)most;
        uint8_t *to = hpxi_buf_reserve(&session->decoded, room);
        if (to == NULL) {
            hpxi_conn_fail_with(
                conn, HPX_E_NO_MEMORY, hpxi_conn_stage(conn), "no memory for a decoded message");
            return false;
        }
        hpx_writer writer = {.data = to, .capacity = room};
        const hpx_status status =
            session->protocol->decode_binary(session->protocol->ctx, raw, &writer);
        if (status < 0) {
            hpxi_conn_violation(
                conn, HPX_E_DIALECT, 1007, "the protocol could not decode a binary message");
            return false;
        }
        if (!writer.overflow) {
            *text = status == 1 ? (hpx_span){.data = to, .size = writer.size} : raw;
            return true;
        }
        if (room == most) {
            hpxi_conn_violation(
                conn, HPX_E_WS_TOO_BIG, 1009, "a decoded message is over message_bytes_max");
            return false;
        }
        room *= 4; /* once; the buffer stays as large */
    }
}

void hpxi_session_message(hpx_conn *conn, hpx_message_kind kind, hpx_span raw, uint64_t time_ns)
{
    const hpxi_session *session = conn->session;
    hpx_span text = raw;
    if (kind == HPX_MESSAGE_BINARY && session->protocol->decode_binary != NULL &&
        !session_decode(conn, raw, &text)) {
        return;
    }
    hpx_classified message = {0};
    session->protocol->classify(session->protocol->ctx, text, &message);
    if (HPXI_UNLIKELY((message.meaning & ~(uint32_t)HPX_MEANS_ERROR) != 0)) {
        session_on_meaning(conn, &message, text);
        if (message.message_class == HPX_CLASS_RESPONSE || !hpxi_conn_is_open(conn)) {
            return; /* it answered what it means */
        }
    }
    switch (message.message_class) {
    case HPX_CLASS_UPDATE: {
        const hpxi_feed_message update = {
            .kind = kind,
            .epoch = hpxi_session_epoch(conn),
            .time_ns = time_ns,
            .payload = text,
        };
        session_on_update(conn, message.topic, &update);
        return;
    }
    case HPX_CLASS_RESPONSE:
        session_on_response(conn, &message, text);
        return;
    case HPX_CLASS_UNKNOWN:
    case HPX_CLASS_SYSTEM:
    case HPX_CLASS_CONTROL:
        break;
    }
    const hpx_event event = {
        .kind = HPX_EVENT_MESSAGE,
        .message_kind = kind,
        .message_class = message.message_class,
        .epoch = conn->epoch,
        .time_ns = time_ns,
        .payload = text,
        .raw = raw,
    };
    if (conn->state == HPX_CONN_READY) {
        hpxi_conn_deliver(conn, &event);
    } else if (hpxi_conn_is_open(conn)) {
        session_hold(conn, &event);
    }
}

/* ---- Lost, settled, ended -------------------------------------------------------------------- */

void hpxi_session_lose(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    session->lost = true;
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &session->pace);
    hpxi_conn_mark_settle(conn);
}

static void session_settle_lost(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    const uint64_t epoch = hpxi_session_epoch(conn);
    session->lost = false;
    hpxi_session_disconnect_requests(conn);
    hpxi_topics_reset(&session->topics);
    /* `next` may leave only in a settle step: the walk is safe. */
    for (hpx_subscription *at = session->subscriptions; at != NULL; at = at->shard.next_of_conn) {
        hpxi_subscription_interrupted(at, epoch);
    }
}

/* Only here, and by their port, do subscriptions of a live connection end: `next` stays. */
static void session_sweep(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    session->sweep = false;
    for (hpx_subscription *at = session->subscriptions, *next; at != NULL; at = next) {
        next = at->shard.next_of_conn;
        (void)hpxi_subscription_settle(at, hpxi_session_epoch(conn));
    }
}

/* Handlers that are told may cause more of it. */
static void session_settle_owed(hpx_conn *conn)
{
    const hpxi_session *session = conn->session;
    while (session->lost || session->sweep) {
        if (session->lost) {
            session_settle_lost(conn);
        } else {
            session_sweep(conn);
        }
    }
}

void hpxi_session_settle(hpx_conn *conn)
{
    session_settle_owed(conn);
    if (conn->state == HPX_CONN_RESUBSCRIBING || conn->state == HPX_CONN_READY) {
        hpxi_session_send_batches(conn);
    }
    if (conn->state == HPX_CONN_RESUBSCRIBING) {
        hpxi_session_check_restored(conn);
    }
    session_settle_owed(conn); /* lost meanwhile: its requests are over before that is told */
}

void hpxi_session_end(hpx_conn *conn, const hpx_error *error)
{
    hpxi_session *session = conn->session;
    session->closed = true;
    while (session->subscriptions != NULL) {
        hpxi_subscription_end(session->subscriptions, conn->shard, error);
    }
    hpxi_topics_reset(&session->topics);
    HPX_ASSERT(session->pending.live == NULL);
}

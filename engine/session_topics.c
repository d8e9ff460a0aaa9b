/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_topics.c - what topics want, as messages; what the server answers, as states.
 *
 * Role      Batches of at most topics_per_message_max topics, as many as the token bucket allows;
 *           unsubscribes before subscribes. A batch that does not fit the scratch buffer is tried
 *           again in halves.
 * Threads   The shard's, in the settle step or on a message.
 */
#include "engine/conn.h"
#include "engine/error.h"
#include "engine/session.h"

#define SESSION_OF(timer) ((hpxi_session *)(void *)((char *)(timer)-offsetof(hpxi_session, pace)))

/* ---- Pace ------------------------------------------------------------------------------------ */

/* May one more batch go out? If not, the timer comes back when it may. */
static bool topics_may_send(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    const hpx_ws_config *config = &conn->spec->config;
    const double rate = config->messages_per_second;
    if (rate <= 0.0) {
        return true;
    }
    const double burst = config->messages_burst != 0 ? (double)config->messages_burst : rate;
    const double most = burst < 1.0 ? 1.0 : burst;
    const uint64_t now = conn->shard->owner.now_ns;
    session->tokens += (double)(now - session->tokens_ns) * rate / (double)HPX_NS_PER_S;
    session->tokens = session->tokens < most ? session->tokens : most;
    session->tokens_ns = now;
    if (session->tokens >= 1.0) {
        return true;
    }
    const double wait_ns = (1.0 - session->tokens) / rate * (double)HPX_NS_PER_S;
    hpxi_wheel_set(&conn->shard->owner.wheel, &session->pace, now + (uint64_t)wait_ns + 1);
    return false;
}

void hpxi_session_on_pace(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpx_conn *conn = SESSION_OF(timer)->pending.owner;
    hpxi_conn_mark_settle(conn);
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void topics_publish_held(hpx_conn *conn)
{
    atomic_store_explicit(
        &conn->hub->shared.topics, conn->session->topics.held, memory_order_relaxed);
}

/* Tell the members, which hold the topic no more: what they do about it makes it anew. */
static void topic_tell_refused(hpx_conn *conn, hpxi_member *members, const hpx_error *error)
{
    for (hpxi_member *member = members, *next; member != NULL; member = next) {
        next = member->next; /* the subscription may end, and its members with it */
        member->next = NULL;
        hpxi_subscription_refused(member->subscription, member, error, hpxi_session_epoch(conn));
    }
}

static void topic_refuse(hpx_conn *conn, hpxi_topic *topic, hpx_span reason)
{
    hpx_error error;
    (void)hpxi_error_set(
        &error,
        HPX_E_REFUSED,
        HPX_STAGE_READY,
        "the server refused %.*s%s%.*s",
        (int)(topic->bytes < 80 ? topic->bytes : 80),
        topic->name,
        reason.size != 0 ? ": " : "",
        (int)(reason.size < 80 ? reason.size : 80),
        reason.size != 0 ? (const char *)reason.data : "");
    hpxi_topics *topics = &conn->session->topics;
    hpxi_member *members = hpxi_topics_detach(topics, topic);
    hpxi_request *request = hpxi_topics_settle(topics, topic, false);
    if (request != NULL) {
        hpxi_session_drop_own(conn, request);
    }
    topics_publish_held(conn);
    topic_tell_refused(conn, members, &error);
}

/* The server answered for one topic, which may be freed. */
static void topic_settle(hpx_conn *conn, hpxi_topic *topic, bool accepted, hpx_span reason)
{
    hpxi_conn_mark_settle(conn); /* READY, or the next batch, may follow */
    const bool subscribing = topic->state == HPXI_TOPIC_SUBSCRIBING;
    if (subscribing && !accepted) {
        topic_refuse(conn, topic, reason);
        return;
    }
    hpxi_request *request = hpxi_topics_settle(&conn->session->topics, topic, accepted);
    if (request != NULL) {
        hpxi_session_drop_own(conn, request);
    }
    if (!subscribing) {
        return; /* nobody to tell; the topic may be gone */
    }
    for (const hpxi_member *member = topic->members; member != NULL; member = member->next) {
        hpxi_subscription_live(member->subscription, hpxi_session_epoch(conn));
    }
}

void hpxi_session_on_batch(
    hpx_conn *conn, hpxi_request *request, const hpx_classified *message, hpx_span text)
{
    hpxi_session *session = conn->session;
    const hpx_protocol *protocol = session->protocol;
    hpxi_batch *batch = request->object;
    HPX_ASSERT(batch->request == request);
    HPX_ASSERT(batch->count >= 1 && batch->count <= session->names_max);
    const bool refused = (message->meaning & HPX_MEANS_ERROR) != 0;
    const uint32_t count = batch->count;
    uint32_t i = 0;
    for (const hpxi_topic *topic = batch->first; topic != NULL; topic = topic->next) {
        session->names[i] = hpxi_topic_name(topic);
        session->accepted[i++] = !refused;
    }
    HPX_ASSERT(i == count);
    if (!refused && batch->is_subscribe && protocol->subscription_result != NULL) {
        protocol->subscription_result(
            protocol->ctx, text, session->names, count, session->accepted);
    }
    hpxi_topic *topic = batch->first;
    for (i = 0; i < count; i++) {
        hpxi_topic *next = topic->next; /* it leaves the batch, and may be freed */
        topic_settle(conn, topic, session->accepted[i], message->reason);
        topic = next;
    }
}

void hpxi_session_on_topic(hpx_conn *conn, const hpx_classified *message)
{
    hpxi_topic *topic = message->topic.size <= HPX_TOPIC_BYTES_MAX
                            ? hpxi_topics_find(&conn->session->topics, message->topic)
                            : NULL;
    if (topic == NULL || topic->batch == NULL) {
        return; /* said without being asked */
    }
    const bool is_subscribe = topic->state == HPXI_TOPIC_SUBSCRIBING;
    const uint32_t meaning = message->meaning;
    if ((meaning & HPX_MEANS_REFUSED) != 0) {
        topic_settle(conn, topic, false, message->reason);
    } else if (
        (is_subscribe && (meaning & HPX_MEANS_SUBSCRIBED) != 0) ||
        (!is_subscribe && (meaning & HPX_MEANS_UNSUBSCRIBED) != 0)) {
        topic_settle(conn, topic, true, message->reason);
    }
}

/* ---- Batches --------------------------------------------------------------------------------- */

static hpx_status batch_build(
    hpx_conn *conn, const hpxi_batch *batch, const hpxi_request *request, hpx_writer *writer)
{
    hpxi_session *session = conn->session;
    const hpx_protocol *protocol = session->protocol;
    uint32_t i = 0;
    for (const hpxi_topic *topic = batch->first; topic != NULL; topic = topic->next) {
        session->names[i++] = hpxi_topic_name(topic);
    }
    HPX_ASSERT(i == batch->count);
    const hpx_status status =
        batch->is_subscribe
            ? protocol->build_subscribe(protocol->ctx, request->id, session->names, i, writer)
            : protocol->build_unsubscribe(protocol->ctx, request->id, session->names, i, writer);
    if (status >= 0 && writer->overflow) {
        return HPX_E_LIMIT;
    }
    return status == 0 ? HPX_E_INVALID : status;
}

static void batch_count(hpx_conn *conn, const hpxi_batch *batch)
{
    hpxi_session_counters *counters = &conn->hub->shared.counters;
    hpxi_count(
        batch->is_subscribe ? &counters->subscribe_messages : &counters->unsubscribe_messages, 1);
    hpxi_count(
        batch->is_subscribe ? &counters->subscribe_topics : &counters->unsubscribe_topics,
        batch->count);
}

/* No answer will come: what was sent counts as done. */
static void batch_assume(hpx_conn *conn, hpxi_batch *batch)
{
    for (uint32_t left = batch->count; left != 0; left--) {
        topic_settle(conn, batch->first, true, (hpx_span){0});
    }
}

/* One batch. Returns the topics it took; 0: nothing to do, or the connection failed. */
static uint32_t batch_send(hpx_conn *conn, uint32_t max)
{
    hpxi_session *session = conn->session;
    hpxi_batch *batch = hpxi_topics_take(&session->topics, max);
    if (batch == NULL) {
        return 0;
    }
    hpxi_request *request =
        hpxi_session_own_request(conn, HPXI_PENDING_BATCH, conn->spec->config.request_timeout_ns);
    HPX_ASSERT(request != NULL); /* HPXI_BATCHES_MAX of HPXI_PENDING_OWN are kept for batches */
    request->object = batch;
    hpx_writer writer = hpxi_session_writer(conn);
    const hpx_status status = batch_build(conn, batch, request, &writer);
    const uint32_t count = batch->count;
    if (status == HPX_E_LIMIT && count > 1) {
        hpxi_session_drop_own(conn, request);
        hpxi_topics_undo(&session->topics, batch);
        return batch_send(conn, count / 2);
    }
    if (status < 0) {
        hpxi_session_drop_own(conn, request);
        hpxi_topics_undo(&session->topics, batch);
        hpxi_session_dialect_failed(conn, "a subscription", status);
        return 0;
    }
    batch->request = request;
    batch_count(conn, batch);
    if (!hpxi_session_send(conn, &writer)) {
        return 0;
    }
    if ((session->protocol->flags & HPX_PROTOCOL_ACKNOWLEDGES) == 0) {
        batch_assume(conn, batch);
    }
    return count;
}

void hpxi_session_send_batches(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    topics_publish_held(conn);
    while (hpxi_topics_have_work(&session->topics) && hpxi_conn_is_open(conn) &&
           topics_may_send(conn) && batch_send(conn, session->names_max) != 0) {
    }
}

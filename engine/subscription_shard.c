/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscription_shard.c - a subscription on its shard: joined to topics, told of updates, ended.
 *
 * Threads   The shard's.
 */
#include "engine/conn.h"
#include "engine/error.h"
#include "engine/session.h"
#include "engine/subscription.h"

static void subscription_publish_state(hpx_subscription *sub, hpx_subscription_state state)
{
    atomic_store_explicit(&sub->shared.state, (uint32_t)state, memory_order_release);
}

/* To the inline subscriber, or to the feed; then the port is to be told. */
static void subscription_tell(hpx_subscription *sub, const hpx_update *update)
{
    if (sub->core == NULL) {
        HPX_DASSERT(sub->shard.conn->shard->owner.in_turn);
        sub->on_update(sub->shard.conn, sub, update, sub->user);
    }
}

static void subscription_mark_publish(hpx_subscription *sub, hpx_shard *shard)
{
    if (sub->core != NULL) {
        hpxi_shard_mark_feed(shard, sub);
    }
}

/* ---- Joining --------------------------------------------------------------------------------- */

static void subscription_leave_topics(hpx_subscription *sub)
{
    hpxi_topics *topics = &sub->shard.conn->session->topics;
    for (uint32_t i = 0; i < sub->topic_count; i++) {
        hpxi_topics_leave(topics, &sub->shard.members[i]);
    }
}

static void subscription_link(hpx_subscription *sub, hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    sub->shard.prev_of_conn = NULL;
    sub->shard.next_of_conn = session->subscriptions; /* in front: a walk does not meet it */
    if (sub->shard.next_of_conn != NULL) {
        sub->shard.next_of_conn->shard.prev_of_conn = sub;
    }
    session->subscriptions = sub;
    hpxi_link *link = sub->shard.link;
    if (link == NULL) {
        return;
    }
    sub->shard.prev_of_link = NULL;
    sub->shard.next_of_link = link->subscriptions;
    if (sub->shard.next_of_link != NULL) {
        sub->shard.next_of_link->shard.prev_of_link = sub;
    }
    link->subscriptions = sub;
}

static void subscription_unlink(hpx_subscription *sub)
{
    hpx_subscription **head = &sub->shard.conn->session->subscriptions;
    hpx_subscription *next = sub->shard.next_of_conn;
    hpx_subscription *prev = sub->shard.prev_of_conn;
    *(prev != NULL ? &prev->shard.next_of_conn : head) = next;
    if (next != NULL) {
        next->shard.prev_of_conn = prev;
    }
    if (sub->shard.link == NULL) {
        return;
    }
    next = sub->shard.next_of_link;
    prev = sub->shard.prev_of_link;
    *(prev != NULL ? &prev->shard.next_of_link : &sub->shard.link->subscriptions) = next;
    if (next != NULL) {
        next->shard.prev_of_link = prev;
    }
}

hpx_status hpxi_subscription_attach(hpx_subscription *sub, hpx_conn *conn)
{
    HPX_ASSERT(sub->shard.conn == NULL);
    HPX_ASSERT(conn->session != NULL && !conn->session->closed);
    sub->shard.conn = conn;
    sub->shard.joined = sub->topic_count;
    sub->shard.waiting = 0;
    for (uint32_t i = 0; i < sub->topic_count; i++) {
        hpxi_member *member = &sub->shard.members[i];
        *member = (hpxi_member){.subscription = sub, .index = i};
        const hpx_status status = hpxi_topics_join(&conn->session->topics, sub->topics[i], member);
        if (status != HPX_OK) {
            subscription_leave_topics(sub);
            sub->shard.conn = NULL;
            return status;
        }
        sub->shard.waiting += member->topic->state == HPXI_TOPIC_ACTIVE ? 0 : 1;
    }
    subscription_link(sub, conn);
    hpxi_conn_mark_settle(conn); /* batches */
    if (sub->shard.waiting == 0) {
        sub->shard.waiting = 1; /* all are there already: told in the settle step */
        sub->shard.live_owed = true;
        conn->session->sweep = true;
    }
    return HPX_OK;
}

void hpxi_subscription_end(hpx_subscription *sub, hpx_shard *shard, const hpx_error *error)
{
    hpx_conn *conn = sub->shard.conn;
    hpx_error fine = {.stage = HPX_STAGE_READY};
    if (error == NULL) {
        (void)hpxi_error_set(&fine, HPX_OK, HPX_STAGE_READY, "unsubscribed by the application");
        error = &fine;
    }
    if (conn != NULL) {
        subscription_leave_topics(sub);
        subscription_unlink(sub);
        hpxi_conn_mark_settle(conn); /* batches */
    }
    HPX_ASSERT(!sub->shard.ended);
    sub->shard.ended = true;
    subscription_publish_state(sub, HPX_SUBSCRIPTION_ENDED);
    if (sub->core != NULL) {
        sub->shared.end_epoch = conn != NULL ? hpxi_session_epoch(conn) : 0;
        sub->shared.end_time_ns = shard->owner.now_ns;
        hpxi_feed_end(&sub->feed, error);
        subscription_mark_publish(sub, shard);
    } else if (conn != NULL) {
        const hpx_update update = {
            .kind = HPX_UPDATE_ENDED,
            .epoch = hpxi_session_epoch(conn),
            .time_ns = shard->owner.now_ns,
            .error = error,
        };
        subscription_tell(sub, &update);
    }
    sub->shard.conn = NULL;
    if (conn != NULL) {
        hpxi_subscription_drop(sub);
    }
}

/* ---- Telling --------------------------------------------------------------------------------- */

static void subscription_overflow(hpx_subscription *sub)
{
    sub->shard.overflowed = true; /* ended in the settle step: a walk over members goes on */
    sub->shard.conn->session->sweep = true;
    hpxi_conn_mark_settle(sub->shard.conn);
}

void hpxi_subscription_update(
    hpx_subscription *sub, const hpxi_member *member, const hpxi_feed_message *message)
{
    if (HPXI_UNLIKELY(sub->shard.overflowed)) {
        return;
    }
    sub->shard.touched = true;
    if (sub->core != NULL) {
        hpxi_feed_message item = *message;
        item.topic_index = member->index;
        const hpxi_feed_result result = hpxi_feed_push(&sub->feed, &item);
        if (HPXI_UNLIKELY(result == HPXI_FEED_OVERFLOW)) {
            subscription_overflow(sub);
            return;
        }
        if (HPXI_UNLIKELY(result == HPXI_FEED_DROPPED)) {
            hpxi_count(&sub->shard.conn->shard->counters.messages_dropped, 1);
        }
        subscription_mark_publish(sub, sub->shard.conn->shard);
        return;
    }
    if (hpxi_subscription_is_leaving(sub)) {
        return;
    }
    const hpx_update update = {
        .kind = HPX_UPDATE_MESSAGE,
        .message_kind = message->kind,
        .topic_index = member->index,
        .epoch = message->epoch,
        .time_ns = message->time_ns,
        .topic = sub->topics[member->index],
        .payload = message->payload,
    };
    subscription_tell(sub, &update);
}

/* LIVE and INTERRUPTED. */
static void subscription_mark(hpx_subscription *sub, hpx_update_kind kind, uint64_t epoch)
{
    hpx_shard *shard = sub->shard.conn->shard;
    if (sub->core != NULL) {
        hpxi_feed_mark(&sub->feed, kind, epoch, shard->owner.now_ns);
        subscription_mark_publish(sub, shard);
        return;
    }
    if (hpxi_subscription_is_leaving(sub)) {
        return;
    }
    const hpx_update update = {.kind = kind, .epoch = epoch, .time_ns = shard->owner.now_ns};
    subscription_tell(sub, &update);
}

static void subscription_check_live(hpx_subscription *sub, uint64_t epoch)
{
    if (sub->shard.waiting == 0 && sub->shard.joined != 0) {
        sub->shard.touched = true;
        subscription_publish_state(sub, HPX_SUBSCRIPTION_LIVE);
        subscription_mark(sub, HPX_UPDATE_LIVE, epoch);
    }
}

void hpxi_subscription_live(hpx_subscription *sub, uint64_t epoch)
{
    HPX_ASSERT(sub->shard.waiting != 0);
    sub->shard.waiting--;
    subscription_check_live(sub, epoch);
}

void hpxi_subscription_refused(
    hpx_subscription *sub, hpxi_member *member, const hpx_error *error, uint64_t epoch)
{
    hpx_shard *shard = sub->shard.conn->shard;
    HPX_ASSERT(member->topic == NULL);
    HPX_ASSERT(sub->shard.joined != 0 && sub->shard.waiting != 0);
    sub->shard.joined--;
    sub->shard.waiting--;
    if (sub->core != NULL) {
        hpxi_feed_refuse(&sub->feed, member->index, error, epoch, shard->owner.now_ns);
        subscription_mark_publish(sub, shard);
    } else if (!hpxi_subscription_is_leaving(sub)) {
        const hpx_update update = {
            .kind = HPX_UPDATE_REFUSED,
            .topic_index = member->index,
            .epoch = epoch,
            .time_ns = shard->owner.now_ns,
            .topic = sub->topics[member->index],
            .error = error,
        };
        subscription_tell(sub, &update);
    }
    if (sub->shard.joined == 0) {
        hpxi_subscription_end(sub, shard, error);
    } else {
        subscription_check_live(sub, epoch);
    }
}

void hpxi_subscription_interrupted(hpx_subscription *sub, uint64_t epoch)
{
    sub->shard.waiting = sub->shard.joined;
    sub->shard.live_owed = false;
    subscription_publish_state(sub, HPX_SUBSCRIPTION_PENDING);
    if (sub->shard.touched) {
        sub->shard.touched = false;
        subscription_mark(sub, HPX_UPDATE_INTERRUPTED, epoch);
    }
}

bool hpxi_subscription_settle(hpx_subscription *sub, uint64_t epoch)
{
    if (sub->shard.overflowed) {
        hpx_error error;
        (void)hpxi_error_set(
            &error,
            HPX_E_OVERFLOW,
            HPX_STAGE_READY,
            "the subscriber's ring was full (HPX_OVERFLOW_DISCONNECT)");
        hpxi_subscription_end(sub, sub->shard.conn->shard, &error);
        return true;
    }
    if (sub->core == NULL && hpxi_subscription_is_leaving(sub)) {
        hpxi_subscription_end(sub, sub->shard.conn->shard, NULL);
        return true;
    }
    if (sub->shard.live_owed) {
        sub->shard.live_owed = false;
        sub->shard.waiting = 0;
        subscription_check_live(sub, epoch);
    }
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* feed.c - one subscription's queue: its policy, its marks, and the order between them. */
#include "engine/feed.h"

#include <string.h>

#include "ring/alloc.h"

/* ---- The three stores, behind the same verbs ------------------------------------------------- */

static hpx_status messages_init(hpxi_feed *feed, const hpxi_feed_config *config)
{
    switch (feed->overflow) {
    case HPX_OVERFLOW_DROP_OLDEST:
        return hpxi_feed_lossy_init(
            &feed->messages.lossy, config->ring_bytes, config->large_bytes_max, config->allocator);
    case HPX_OVERFLOW_CONFLATE:
        return hpxi_feed_conflate_init(
            &feed->messages.conflate,
            config->topic_count,
            config->message_bytes_max,
            config->allocator);
    case HPX_OVERFLOW_DROP_NEWEST:
    case HPX_OVERFLOW_DISCONNECT:
        break;
    }
    return hpxi_feed_fifo_init(
        &feed->messages.fifo, config->ring_bytes, config->large_bytes_max, config->allocator);
}

static void messages_fini(hpxi_feed *feed)
{
    switch (feed->overflow) {
    case HPX_OVERFLOW_DROP_OLDEST:
        hpxi_feed_lossy_fini(&feed->messages.lossy);
        return;
    case HPX_OVERFLOW_CONFLATE:
        hpxi_feed_conflate_fini(&feed->messages.conflate);
        return;
    case HPX_OVERFLOW_DROP_NEWEST:
    case HPX_OVERFLOW_DISCONNECT:
        break;
    }
    hpxi_feed_fifo_fini(&feed->messages.fifo);
}

static bool messages_push(hpxi_feed *feed, const hpxi_feed_message *message, uint64_t sequence)
{
    switch (feed->overflow) {
    case HPX_OVERFLOW_DROP_OLDEST:
        return hpxi_feed_lossy_push(&feed->messages.lossy, message, sequence);
    case HPX_OVERFLOW_CONFLATE:
        return hpxi_feed_conflate_push(&feed->messages.conflate, message, sequence);
    case HPX_OVERFLOW_DROP_NEWEST:
    case HPX_OVERFLOW_DISCONNECT:
        break;
    }
    return hpxi_feed_fifo_push(&feed->messages.fifo, message, sequence);
}

static void messages_publish(hpxi_feed *feed)
{
    switch (feed->overflow) {
    case HPX_OVERFLOW_DROP_OLDEST:
        hpxi_feed_lossy_publish(&feed->messages.lossy);
        return;
    case HPX_OVERFLOW_CONFLATE:
        hpxi_feed_conflate_publish(&feed->messages.conflate);
        return;
    case HPX_OVERFLOW_DROP_NEWEST:
    case HPX_OVERFLOW_DISCONNECT:
        break;
    }
    hpxi_feed_fifo_publish(&feed->messages.fifo);
}

static bool messages_take(hpxi_feed *feed, uint64_t limit, hpxi_feed_item *item)
{
    switch (feed->overflow) {
    case HPX_OVERFLOW_DROP_OLDEST:
        return hpxi_feed_lossy_take(&feed->messages.lossy, limit, item);
    case HPX_OVERFLOW_CONFLATE:
        return hpxi_feed_conflate_take(&feed->messages.conflate, limit, item);
    case HPX_OVERFLOW_DROP_NEWEST:
    case HPX_OVERFLOW_DISCONNECT:
        break;
    }
    return hpxi_feed_fifo_take(&feed->messages.fifo, limit, item);
}

static void messages_put_back(hpxi_feed *feed)
{
    switch (feed->overflow) {
    case HPX_OVERFLOW_DROP_OLDEST:
        hpxi_feed_lossy_put_back(&feed->messages.lossy);
        return;
    case HPX_OVERFLOW_CONFLATE:
        hpxi_feed_conflate_put_back(&feed->messages.conflate);
        return;
    case HPX_OVERFLOW_DROP_NEWEST:
    case HPX_OVERFLOW_DISCONNECT:
        break;
    }
    hpxi_feed_fifo_put_back(&feed->messages.fifo);
}

static void messages_let_go(hpxi_feed *feed)
{
    switch (feed->overflow) {
    case HPX_OVERFLOW_DROP_OLDEST:
        hpxi_feed_lossy_let_go(&feed->messages.lossy);
        return;
    case HPX_OVERFLOW_CONFLATE:
        hpxi_feed_conflate_let_go(&feed->messages.conflate);
        return;
    case HPX_OVERFLOW_DROP_NEWEST:
    case HPX_OVERFLOW_DISCONNECT:
        break;
    }
    hpxi_feed_fifo_let_go(&feed->messages.fifo);
}

static bool messages_is_empty_sc(hpxi_feed *feed)
{
    switch (feed->overflow) {
    case HPX_OVERFLOW_DROP_OLDEST:
        return hpxi_feed_lossy_is_empty_sc(&feed->messages.lossy);
    case HPX_OVERFLOW_CONFLATE:
        return hpxi_feed_conflate_is_empty_sc(&feed->messages.conflate);
    case HPX_OVERFLOW_DROP_NEWEST:
    case HPX_OVERFLOW_DISCONNECT:
        break;
    }
    return hpxi_feed_fifo_is_empty_sc(&feed->messages.fifo);
}

/* ---- Life ------------------------------------------------------------------------------------ */

hpx_status hpxi_feed_init(hpxi_feed *feed, const hpxi_feed_config *config)
{
    HPX_ASSERT(config->topic_count != 0);
    HPX_ASSERT(config->topic_count <= UINT32_MAX - HPXI_FEED_MARKS_MAX);
    memset(feed, 0, sizeof(*feed));
    feed->overflow = config->overflow;
    feed->topic_count = config->topic_count;
    feed->allocator = config->allocator;
    feed->control_count = HPXI_FEED_MARKS_MAX + config->topic_count;
    feed->controls = hpxi_alloc_zero(
        feed->allocator, feed->control_count * sizeof(hpxi_feed_control), HPXI_CACHE_LINE);
    if (feed->controls == NULL) {
        return HPX_E_NO_MEMORY;
    }
    const hpx_status status = messages_init(feed, config);
    if (status != HPX_OK) {
        hpxi_free(feed->allocator, feed->controls, feed->control_count * sizeof(hpxi_feed_control));
        feed->controls = NULL;
    }
    return status;
}

static hpxi_feed_control *control_at(const hpxi_feed *feed, uint64_t position)
{
    return &feed->controls[position % feed->control_count];
}

void hpxi_feed_fini(hpxi_feed *feed)
{
    const uint64_t tail = atomic_load_explicit(&feed->shared.control_tail, memory_order_acquire);
    for (uint64_t head = feed->port.control_head; head != tail; head++) {
        hpxi_free(feed->allocator, control_at(feed, head)->error, sizeof(hpx_error));
    }
    hpxi_free(feed->allocator, feed->controls, feed->control_count * sizeof(hpxi_feed_control));
    feed->controls = NULL;
    messages_fini(feed);
}

/* ---- Shard ----------------------------------------------------------------------------------- */

/* Marks and refusals that wait untaken. */
static uint64_t control_used(const hpxi_feed *feed)
{
    /* Partner: control_take(). The places before head were read. */
    const uint64_t head = atomic_load_explicit(&feed->shared.control_head, memory_order_acquire);
    return atomic_load_explicit(&feed->shared.control_tail, memory_order_relaxed) - head;
}

/* Queues a mark or refusal, visible at once, and with it all messages before it. */
static void control_put(hpxi_feed *feed, const hpxi_feed_control *control)
{
    HPX_ASSERT(control_used(feed) < feed->control_count);
    messages_publish(feed);
    const uint64_t tail = atomic_load_explicit(&feed->shared.control_tail, memory_order_relaxed);
    hpxi_feed_control *at = control_at(feed, tail);
    *at = *control;
    at->sequence = feed->shard.sequence++;
    /* Partners: control_peek(), and hpxi_feed_is_empty_sc() for the doorbell. */
    atomic_store_explicit(&feed->shared.control_tail, tail + 1, memory_order_seq_cst);
}

/* The mark that found no room, if there is some now. */
static void control_pay(hpxi_feed *feed)
{
    if (HPXI_UNLIKELY(feed->shard.owes_mark) && control_used(feed) < HPXI_FEED_MARKS_MAX) {
        feed->shard.owes_mark = false;
        control_put(feed, &feed->shard.owed);
    }
}

hpxi_feed_result hpxi_feed_push(hpxi_feed *feed, const hpxi_feed_message *message)
{
    HPX_DASSERT(!feed->shard.is_ended);
    HPX_DASSERT(message->topic_index < feed->topic_count);
    control_pay(feed);
    if (HPXI_LIKELY(messages_push(feed, message, feed->shard.sequence++))) {
        return HPXI_FEED_TAKEN;
    }
    /* Its number stays unused: that is how the reader learns of it. */
    return feed->overflow == HPX_OVERFLOW_DISCONNECT ? HPXI_FEED_OVERFLOW : HPXI_FEED_DROPPED;
}

void hpxi_feed_mark(hpxi_feed *feed, hpx_update_kind kind, uint64_t epoch, uint64_t time_ns)
{
    HPX_ASSERT(kind == HPX_UPDATE_LIVE || kind == HPX_UPDATE_INTERRUPTED);
    HPX_ASSERT(!feed->shard.is_ended);
    control_pay(feed);
    feed->shard.owed = (hpxi_feed_control){.kind = kind, .epoch = epoch, .time_ns = time_ns};
    feed->shard.owes_mark = true;
    control_pay(feed);
}

void hpxi_feed_refuse(
    hpxi_feed *feed, uint32_t topic_index, const hpx_error *error, uint64_t epoch, uint64_t time_ns)
{
    HPX_ASSERT(topic_index < feed->topic_count);
    HPX_ASSERT(feed->shard.refusals < feed->topic_count);
    HPX_ASSERT(!feed->shard.is_ended);
    feed->shard.refusals++;
    control_pay(feed);
    hpxi_feed_control control = {
        .kind = HPX_UPDATE_REFUSED,
        .topic_index = topic_index,
        .epoch = epoch,
        .time_ns = time_ns,
        .status = error->status,
        .stage = error->stage,
        .error = hpxi_alloc(feed->allocator, sizeof(hpx_error), _Alignof(hpx_error))};
    if (control.error != NULL) {
        *control.error = *error;
    }
    control_put(feed, &control);
}

void hpxi_feed_end(hpxi_feed *feed, const hpx_error *error)
{
    HPX_ASSERT(!feed->shard.is_ended);
    control_pay(feed);
    feed->shard.is_ended = true;
    feed->shared.end_error = *error;
    messages_publish(feed);
    /* Partners: feed_end_sequence(), and hpxi_feed_is_empty_sc() for the doorbell. */
    atomic_store_explicit(&feed->shared.end, feed->shard.sequence + 1, memory_order_seq_cst);
}

void hpxi_feed_publish(hpxi_feed *feed)
{
    control_pay(feed);
    messages_publish(feed);
}

/* ---- Port ------------------------------------------------------------------------------------ */

static const hpxi_feed_control *control_peek(const hpxi_feed *feed)
{
    /* Partner: control_put(). */
    const uint64_t tail = atomic_load_explicit(&feed->shared.control_tail, memory_order_acquire);
    return feed->port.control_head == tail ? NULL : control_at(feed, feed->port.control_head);
}

/* Messages lost before the update with this number. CONFLATE tells it per topic, and what it could
 * not queue after a topic's last message, at the end. */
static uint64_t feed_missed(const hpxi_feed *feed, uint64_t sequence)
{
    HPX_DASSERT(feed->overflow == HPX_OVERFLOW_CONFLATE || sequence >= feed->port.accounted);
    return feed->overflow == HPX_OVERFLOW_CONFLATE ? 0 : sequence - feed->port.accounted;
}

static void message_deliver(hpxi_feed *feed, const hpxi_feed_item *item, hpx_update *update)
{
    *update = (hpx_update){
        .kind = HPX_UPDATE_MESSAGE,
        .message_kind = item->message.kind,
        .topic_index = item->message.topic_index,
        .epoch = item->message.epoch,
        .time_ns = item->message.time_ns,
        .missed = item->missed + feed_missed(feed, item->sequence),
        .payload = item->message.payload};
    feed->port.accounted += update->missed + 1;
    feed->port.has_held = true;
}

static void control_take(hpxi_feed *feed, const hpxi_feed_control *control, hpx_update *update)
{
    *update = (hpx_update){
        .kind = control->kind,
        .topic_index = control->topic_index,
        .epoch = control->epoch,
        .time_ns = control->time_ns,
        .missed = feed_missed(feed, control->sequence)};
    if (control->kind == HPX_UPDATE_REFUSED) {
        feed->port.error = (hpx_error){.status = control->status, .stage = control->stage};
        if (control->error != NULL) {
            feed->port.error = *control->error;
            hpxi_free(feed->allocator, control->error, sizeof(*control->error));
        }
        update->error = &feed->port.error;
    }
    feed->port.accounted += update->missed + 1;
    /* Partner: control_used(). */
    atomic_store_explicit(
        &feed->shared.control_head, ++feed->port.control_head, memory_order_release);
}

static void end_take(hpxi_feed *feed, uint64_t sequence, hpx_update *update)
{
    HPX_ASSERT(sequence >= feed->port.accounted);
    *update = (hpx_update){
        .kind = HPX_UPDATE_ENDED,
        .missed = sequence - feed->port.accounted,
        .error = &feed->shared.end_error};
    feed->port.accounted = sequence;
    feed->port.ended_taken = true;
}

/* What comes next among messages, marks and refusals that are visible. */
static bool feed_next(hpxi_feed *feed, hpx_update *update)
{
    for (;;) {
        /* First the control: what is before it is then visible too. */
        const hpxi_feed_control *control = control_peek(feed);
        const uint64_t limit = control == NULL ? UINT64_MAX : control->sequence;
        hpxi_feed_item item;
        if (!messages_take(feed, limit, &item)) {
            if (control == NULL) {
                return false;
            }
            control_take(feed, control, update);
            return true;
        }
        /* A control that came meanwhile may be before the message; it is visible if it is. */
        if (control == NULL && (control = control_peek(feed)) != NULL &&
            control->sequence < item.sequence) {
            messages_put_back(feed);
            continue;
        }
        message_deliver(feed, &item, update);
        return true;
    }
}

int hpxi_feed_next(hpxi_feed *feed, hpx_update *update)
{
    if (feed->port.has_held) {
        feed->port.has_held = false;
        messages_let_go(feed);
    }
    if (feed->port.ended_taken) {
        return HPX_E_CLOSED;
    }
    if (feed_next(feed, update)) {
        return 1;
    }
    /* Partner: hpxi_feed_end(). All that was queued is visible to whom sees it. */
    const uint64_t end = atomic_load_explicit(&feed->shared.end, memory_order_acquire);
    if (HPXI_LIKELY(end == 0)) {
        return 0;
    }
    if (!feed_next(feed, update)) {
        end_take(feed, end - 1, update);
    }
    return 1;
}

bool hpxi_feed_is_empty_sc(hpxi_feed *feed)
{
    if (feed->port.ended_taken) {
        return true;
    }
    /* Partners: control_put(), hpxi_feed_end(); the stores name their own. */
    const uint64_t tail = atomic_load_explicit(&feed->shared.control_tail, memory_order_seq_cst);
    const uint64_t end = atomic_load_explicit(&feed->shared.end, memory_order_seq_cst);
    return tail == feed->port.control_head && end == 0 && messages_is_empty_sc(feed);
}

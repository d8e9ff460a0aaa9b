/* SPDX-License-Identifier: Apache-2.0 */
/*
 * feeds.c - subscriptions and their updates.
 *
 * P10 updates of a connection come in wire order, and each gap is exactly what `missed` says: every
 * update names its place in the log that the venue keeps of its connection. C11 an INTERRUPTED
 * stands between the updates of two connections. P11 ENDED comes once and last. P6, when all is
 * quiet: the venue's set is what is held, and nothing is under way.
 */
#include <string.h>

#include "bed.h"

/* Updates of the feed's topics in the peer's log, from..to-1. */
static uint32_t feeds_count_log(const bed *b, const feed *f, uint32_t from, uint32_t to)
{
    const peer *p = b->peers[f->peer - 1];
    uint32_t count = 0;
    for (uint32_t i = from; i < to; i++) {
        count += (f->topics >> p->log[i] & 1u) != 0 ? 1 : 0;
    }
    return count;
}

static void feed_new_peer(bed *b, feed *f, uint32_t serial, const hpx_update *update)
{
    CHECK(
        serial >= 1 && serial <= b->peer_count && b->peers[serial - 1]->owner == f->owner,
        "P10: feed %u: an update of connection %u",
        f->id,
        serial);
    CHECK(serial > f->peer, "P4: feed %u: an update of an earlier connection", f->id);
    CHECK(
        f->peer == 0 || f->interrupted,
        "C11: feed %u: a new connection without INTERRUPTED",
        f->id);
    CHECK(update->epoch >= f->epoch, "P10: feed %u: epochs go back", f->id);
    f->peer = serial;
    f->epoch = update->epoch;
    f->next = 0;
    f->based = f->had_epoch;
    memset(f->sequence, 0, sizeof(f->sequence));
}

static void feed_on_message(bed *b, feed *f, const hpx_update *update)
{
    hpx_span text = update->payload;
    CHECK(bed_is(bed_word(&text), "upd"), "P10: feed %u: not an update", f->id);
    const hpx_span name = bed_word(&text);
    const uint32_t serial = (uint32_t)bed_number(bed_word(&text));
    const uint32_t place = (uint32_t)bed_number(bed_word(&text));
    const uint32_t sequence = (uint32_t)bed_number(bed_word(&text));
    CHECK(update->topic_index < f->count, "P10: feed %u: topic index", f->id);
    const uint32_t topic = f->names[update->topic_index];
    CHECK((f->topics >> topic & 1u) != 0, "P10: feed %u: an update of t%u", f->id, topic);
    CHECK(
        name.size == update->topic.size && memcmp(name.data, update->topic.data, name.size) == 0,
        "P10: feed %u: topic %.*s is told as another",
        f->id,
        (int)name.size,
        (const char *)name.data);
    if (serial != f->peer) {
        feed_new_peer(b, f, serial, update);
    }
    f->interrupted = false;
    CHECK(update->epoch == f->epoch, "P10: feed %u: one connection, two epochs", f->id);
    const uint64_t missed = update->missed + f->missed;
    f->missed = 0;
    if (f->overflow == HPX_OVERFLOW_CONFLATE) {
        const uint32_t last = f->sequence[topic];
        CHECK(sequence > last, "P10: feed %u: t%u goes back", f->id, topic);
        CHECK(
            last == 0 || sequence - last - 1 == update->missed,
            "P10: feed %u: t%u %u after %u, missed %llu",
            f->id,
            topic,
            sequence,
            last,
            (unsigned long long)update->missed);
        f->sequence[topic] = sequence;
        return;
    }
    CHECK(place >= f->next, "P10: feed %u: %u comes after %u", f->id, place, f->next);
    const uint32_t gap = feeds_count_log(b, f, f->next, place);
    CHECK(
        !f->based || gap == missed,
        "P10: feed %u: connection %u, %u updates lost before %u, missed says %llu",
        f->id,
        serial,
        gap,
        place,
        (unsigned long long)missed);
    f->next = place + 1;
    f->based = true;
}

/* A topic is acknowledged: at the moment, when we are told at once. */
static void feed_on_live(bed *b, const feed *f)
{
    const peer *p = venue_newest(b, f->owner);
    if (f->is_inline && p != NULL) {
        CHECK(
            (f->topics & ~p->topics) == 0,
            "C9: feed %u is live, but %x is not subscribed",
            f->id,
            f->topics & ~p->topics);
    }
}

void feed_on_update(bed *b, feed *f, const hpx_update *update)
{
    hpxi_sim_note("user update", f->id, (uint64_t)update->kind << 32 | update->missed);
    b->updates++;
    CHECK(!f->ended, "P11: feed %u: an update after ENDED", f->id);
    switch (update->kind) {
    case HPX_UPDATE_MESSAGE:
        feed_on_message(b, f, update);
        return;
    case HPX_UPDATE_LIVE:
        f->missed += update->missed;
        feed_on_live(b, f);
        return;
    case HPX_UPDATE_INTERRUPTED:
        f->interrupted = true;
        f->had_epoch = true;
        f->missed = 0; /* of the connection that is over */
        return;
    case HPX_UPDATE_REFUSED:
        CHECK(update->topic_index < f->count, "P6: feed %u: topic index", f->id);
        CHECK(
            (f->topics >> f->names[update->topic_index] & 1u) != 0,
            "P6: feed %u: refused twice",
            f->id);
        CHECK(update->error != NULL, "P11: REFUSED without an error");
        f->topics &= ~(1u << f->names[update->topic_index]);
        f->missed += update->missed;
        return;
    case HPX_UPDATE_ENDED:
        CHECK(update->error != NULL, "P11: ENDED without an error");
        CHECK(
            f->unsubscribed || f->topics == 0 || f->overflow == HPX_OVERFLOW_DISCONNECT ||
                b->owners[f->owner].leaving || !b->owners[f->owner].reconnects || b->stopped,
            "P6: feed %u ended without a cause: %s",
            f->id,
            update->error->detail);
        f->ended = true;
        return;
    }
    bed_fail("P11: update %d does not exist", update->kind);
}

uint32_t feeds_held(bed *b, uint32_t owner_id)
{
    return feeds_held_before(b, owner_id, UINT32_MAX);
}

uint32_t feeds_held_before(bed *b, uint32_t owner_id, uint32_t peer_serial)
{
    uint32_t held = 0;
    for (uint32_t i = 0; i < b->feed_count; i++) {
        const feed *f = &b->feeds[i];
        if (f->owner == owner_id && f->sub != NULL && !f->unsubscribed && !f->ended &&
            f->born < peer_serial) {
            held |= f->topics;
        }
    }
    return held;
}

static void feed_check_final(bed *b, const feed *f)
{
    const owner *o = &b->owners[f->owner];
    if (f->sub == NULL || f->unsubscribed || f->ended || o->closed || o->leaving) {
        return;
    }
    const peer *p = venue_newest(b, f->owner);
    CHECK(p != NULL, "P6: owner %u has no connection", f->owner);
    CHECK(
        f->is_inline || hpx_subscription_get_state(f->sub) == HPX_SUBSCRIPTION_LIVE,
        "P6: feed %u is not live",
        f->id);
    CHECK(f->peer == p->serial, "P10: feed %u has nothing of connection %u", f->id, p->serial);
    for (uint32_t topic = 0; f->overflow == HPX_OVERFLOW_CONFLATE && topic < TOPICS; topic++) {
        CHECK(
            (f->topics >> topic & 1u) == 0 || f->sequence[topic] == p->sequence[topic],
            "P10: feed %u: the newest of t%u is missing",
            f->id,
            topic);
    }
    CHECK(
        f->overflow == HPX_OVERFLOW_CONFLATE || feeds_count_log(b, f, f->next, p->log_count) == 0,
        "P10: feed %u: the end of the log is missing",
        f->id);
}

void feeds_check_final(bed *b)
{
    for (uint32_t i = 0; i < b->feed_count; i++) {
        feed_check_final(b, &b->feeds[i]);
    }
}

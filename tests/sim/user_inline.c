/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user_inline.c - an application on the shard's own thread: acts between turns, and from inside its
 * handlers (C12: every call from every callback).
 */
#include <stdio.h>
#include <string.h>

#include "bed.h"

static uint64_t inline_below(bed *b, uint64_t bound)
{
    return hpxi_sim_below(&b->user_random, bound);
}

/* Now and then a handler acts itself. */
static void inline_maybe_act(owner *o)
{
    bed *b = o->bed;
    if (!b->stopped && user_chance(b, 25)) {
        inline_act(b, o->id, 0);
    }
}

static void inline_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    owner *o = user;
    (void)conn;
    life_on_event(o->bed, o, event);
    inline_maybe_act(o);
    if (event->kind == HPX_EVENT_CLOSED) {
        o->conn = NULL;
    }
}

void inline_connect(bed *b, uint32_t owner_id, uint32_t unused)
{
    (void)unused;
    owner *o = &b->owners[owner_id];
    if (o->used || b->stopped) {
        return;
    }
    char url[64];
    hpx_error error;
    o->used = true;
    o->is_inline = true;
    o->reconnects = !user_chance(b, 10);
    hpx_ws_config config = user_config(b, o, url, sizeof(url));
    config.on_event = inline_on_event;
    config.user = o;
    const hpx_status status = hpx_shard_connect(b->shard, &config, &o->conn, &error);
    CHECK(status == HPX_OK, "connect: %s: %s", hpx_status_name(status), error.detail);
    o->handle_ids[0] = b->handle_next++;
    hpxi_sim_note("inline connect", o->id, o->reconnects);
}

static void inline_on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    (void)user;
    owner *o = hpx_conn_get_user(conn);
    ledger_on_reply(o->bed, o, reply);
    inline_maybe_act(o);
}

static void inline_ask(bed *b, owner *o)
{
    const bool is_send = user_chance(b, 40);
    const uint64_t epoch = hpx_conn_get_epoch(o->conn);
    const uint32_t serial = ledger_open(b, o, o->handle_ids[0], is_send, epoch);
    const uint64_t timeout_ns = user_chance(b, 50) ? 0 : 1 + inline_below(b, b->plan.request_ns);
    char text[64];
    const int size = snprintf(text, sizeof(text), is_send ? "send %u " : "req %u ", serial);
    const hpx_span payload = {.data = (uint8_t *)text, .size = (size_t)size};
    uint64_t token = 0;
    const hpx_status status =
        is_send
            ? hpx_conn_send(o->conn, HPX_MESSAGE_TEXT, payload)
            : hpx_conn_request(
                  o->conn, payload, timeout_ns, inline_on_reply, (void *)(uintptr_t)serial, &token);
    if (status == HPX_OK) {
        ledger_accepted(b, serial, timeout_ns != 0 ? timeout_ns : b->plan.request_ns, token);
    } else {
        CHECK(
            status == HPX_E_NOT_CONNECTED || status == HPX_E_LIMIT || status == HPX_E_AGAIN,
            "inline request: %s",
            hpx_status_name(status));
    }
}

static void inline_on_update(
    hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    (void)conn;
    feed *f = user;
    owner *o = hpx_conn_get_user(conn);
    CHECK(f->sub == subscription, "P11: feed %u: an update of another", f->id);
    feed_on_update(o->bed, f, update);
    if (update->kind == HPX_UPDATE_ENDED) {
        f->sub = NULL;
    }
    inline_maybe_act(o);
}

static void inline_subscribe(bed *b, owner *o)
{
    feed *f = user_feed_new(b, o);
    if (f == NULL) {
        return;
    }
    hpx_span names[TOPICS];
    char text[TOPICS][8];
    user_fill_topics(b, f, names, text);
    hpx_error error;
    const hpx_status status =
        hpx_conn_subscribe(o->conn, names, f->count, inline_on_update, f, &f->sub, &error);
    if (status == HPX_OK) {
        b->feed_count++;
        hpxi_sim_note("inline subscribe", f->id, f->topics);
        return;
    }
    CHECK(status == HPX_E_CLOSED, "subscribe: %s: %s", hpx_status_name(status), error.detail);
}

static void inline_unsubscribe(bed *b, owner *o)
{
    for (uint32_t tries = 0; b->feed_count != 0 && tries < 8; tries++) {
        feed *f = &b->feeds[inline_below(b, b->feed_count)];
        if (f->owner == o->id && f->sub != NULL && !f->ended) {
            hpxi_sim_note("inline unsubscribe", f->id, f->topics);
            f->unsubscribed = true;
            hpx_conn_unsubscribe(o->conn, f->sub);
            return;
        }
    }
}

static void inline_rarely(bed *b, owner *o)
{
    const uint64_t what = inline_below(b, 100);
    if (what < 70) {
        hpxi_sim_note("inline reconnect", o->id, 0);
        const hpx_status status = hpx_conn_reconnect(o->conn, (hpx_span){0});
        CHECK(status == (o->reconnects ? HPX_OK : HPX_E_STATE), "reconnect: %d", status);
        return;
    }
    o->leaving = true;
    hpxi_sim_note("inline close", o->id, what);
    if (what < 85) {
        CHECK(hpx_conn_close(o->conn, 1000, (hpx_span){0}) == HPX_OK, "close");
    } else {
        hpx_conn_abort(o->conn);
    }
}

void inline_act(bed *b, uint32_t owner_id, uint32_t unused)
{
    (void)unused;
    owner *o = &b->owners[owner_id];
    if (o->conn == NULL || o->closed || b->stopped) {
        return;
    }
    const uint64_t what = inline_below(b, 100);
    if (what < 60) {
        for (uint64_t more = inline_below(b, 4); more-- != 0;) {
            inline_ask(b, o);
        }
    } else if (what < 66) {
        const uint32_t serial = ledger_pick_open(b, o->handle_ids[0]);
        if (serial != 0) {
            hpxi_sim_note("inline cancel", serial, 0);
            (void)hpx_conn_request_cancel(o->conn, b->asks[serial - 1].token);
        }
    } else if (what < 80) {
        inline_subscribe(b, o);
    } else if (what < 94) {
        inline_unsubscribe(b, o);
    } else {
        inline_rarely(b, o);
    }
}

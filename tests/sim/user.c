/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user.c - an application on ports: does what comes to its mind, and takes what comes.
 *
 * Its actions happen whenever time passes: while the shard sleeps or in the middle of its turn, as
 * those of another thread would.
 */
#include <stdio.h>
#include <string.h>

#include "bed.h"

static uint64_t user_below(bed *b, uint64_t bound)
{
    return hpxi_sim_below(&b->user_random, bound);
}

/* ---- Connect --------------------------------------------------------------------------------- */

hpx_ws_config user_config(bed *b, owner *o, char *url, size_t url_bytes)
{
    const plan *p = &b->plan;
    o->dialect.secret = p->auth ? "secret" : NULL;
    o->protocol = toy_protocol(&o->dialect);
    const char *host = p->addresses == 0 ? "10.0.0.1" : "venue";
    (void)snprintf(url, url_bytes, "ws://%s:%u/o%u", host, b->port, o->id);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    if (p->addresses != 0) {
        static const char *const lists[] = {
            "10.0.0.1", "10.0.0.1,10.0.0.2", "10.0.0.1,10.0.0.2,10.0.0.3"};
        const char *list = lists[p->addresses - 1];
        (void)snprintf(o->addresses, sizeof(o->addresses), "venue:%u:%s", b->port, list);
        o->resolve[0] = o->addresses;
        config.resolve = o->resolve;
        config.resolve_count = 1;
    }
    config.url = url;
    config.protocol = &o->protocol;
    config.receive_mode = p->hot ? HPX_RECEIVE_HOT : HPX_RECEIVE_MULTISHOT;
    config.connect_timeout_ns = p->connect_ns;
    config.upgrade_timeout_ns = p->connect_ns;
    config.close_timeout_ns = 50 * HPX_NS_PER_MS;
    config.ping_interval_ns = p->ping_ns;
    config.pong_timeout_ns = p->pong_ns;
    config.inbound_idle_timeout_ns = p->idle_ns;
    config.heartbeat = p->heartbeat;
    config.request_timeout_ns = p->request_ns;
    config.requests_max = p->requests_max;
    config.topics_per_message_max = p->topics_per_message;
    config.messages_per_second = p->messages_per_second;
    config.messages_burst = p->messages_per_second > 0.0 ? 5 : 0;
    config.send_queue_bytes_max = p->send_queue_bytes;
    config.stream_ring_bytes = 64u << 10;
    config.reply_ring_bytes = 64u << 10;
    config.topics_max = TOPICS;
    config.reconnect = o->reconnects;
    config.backoff_initial_ns = p->backoff_ns;
    config.backoff_max_ns = p->backoff_max_ns;
    config.stable_after_ns = 300 * HPX_NS_PER_MS;
    return config;
}

static void user_connect(bed *b, owner *o)
{
    char url[64];
    hpx_error error;
    o->used = true;
    o->reconnects = !user_chance(b, 10);
    const hpx_ws_config config = user_config(b, o, url, sizeof(url));
    const hpx_status status =
        hpx_ws_connect(b->ports[0], &config, &o->handles[0], &o->stream, &error);
    CHECK(status == HPX_OK, "connect: %s: %s", hpx_status_name(status), error.detail);
    o->handle_ids[0] = b->handle_next++;
    hpxi_sim_note("user connect", o->id, o->reconnects);
}

/* ---- Requests and sends ---------------------------------------------------------------------- */

static uint64_t user_timeout(bed *b)
{
    const uint64_t kind = user_below(b, 8);
    return kind == 0   ? HPX_NEVER
           : kind <= 3 ? 0
                       : hpxi_sim_between(&b->user_random, 1, 2 * b->plan.request_ns);
}

static void user_ask(bed *b, owner *o, uint32_t i)
{
    hpx_handle *handle = o->handles[i];
    const bool is_send = user_chance(b, 40);
    const bool is_raw = !is_send && user_chance(b, 20);
    const uint64_t epoch = hpx_handle_epoch(handle);
    const uint32_t serial = ledger_open(b, o, o->handle_ids[i], is_send, epoch);
    const uint64_t timeout_ns = user_timeout(b);
    char text[700];
    char id[16];
    (void)snprintf(id, sizeof(id), "r%u", serial);
    int size = snprintf(
        text,
        sizeof(text),
        is_send  ? "send %u "
        : is_raw ? "req r%u %u "
                 : "req %u ",
        serial,
        serial);
    const uint64_t padding = user_chance(b, 10) ? user_below(b, 600) : 0;
    memset(text + size, 'y', padding);
    const hpx_span payload = {.data = (uint8_t *)text, .size = (size_t)size + padding};
    const hpx_request_id raw = {
        .kind = HPX_ID_TEXT, .text = {.data = (uint8_t *)id, .size = strlen(id)}};
    void *user = (void *)(uintptr_t)serial;
    uint64_t token = 0;
    hpx_status status;
    if (is_send) {
        status = hpx_handle_send(handle, HPX_MESSAGE_TEXT, payload);
    } else if (is_raw) {
        status = hpx_handle_request_raw(handle, &raw, payload, timeout_ns, user, &token);
    } else {
        status = hpx_handle_request(handle, payload, timeout_ns, user, &token);
    }
    b->asks[serial - 1].preempted = b->slow;
    if (status == HPX_OK) {
        ledger_accepted(b, serial, timeout_ns != 0 ? timeout_ns : b->plan.request_ns, token);
    } else {
        CHECK(
            status == HPX_E_NOT_CONNECTED || status == HPX_E_LIMIT || status == HPX_E_AGAIN,
            "request: %s",
            hpx_status_name(status));
    }
}

/* As a thread that loses the processor between its look at the epoch and the end of the call. */
static void user_ask_slowly(bed *b, uint32_t owner_id, uint32_t i)
{
    owner *o = &b->owners[owner_id];
    if (!b->stopped && !b->preempted && o->handles[i] != NULL) {
        b->slow = true;
        user_ask(b, o, i);
        b->slow = false;
    }
}

/* As a thread that has nothing to do but to wait. */
static void user_wait(bed *b, uint32_t i, uint32_t unused)
{
    (void)unused;
    if (b->stopped || b->preempted) {
        return;
    }
    b->preempted = true;
    const uint64_t timeout_ns = user_below(b, 30 * HPX_NS_PER_MS);
    const uint64_t start_ns = hpxi_sim_now_ns();
    const int got = hpx_port_wait(b->ports[i], timeout_ns);
    b->preempted = false;
    hpxi_sim_note("user waited", i, (uint64_t)(int64_t)got);
    CHECK(
        got == 1 || (got == HPX_E_TIMEOUT && hpxi_sim_now_ns() - start_ns >= timeout_ns),
        "P13: hpx_port_wait() says %d",
        got);
    user_drain_all(b);
}

static void user_cancel(bed *b, owner *o, uint32_t i)
{
    const uint32_t serial = ledger_pick_open(b, o->handle_ids[i]);
    if (serial != 0) {
        hpxi_sim_note("user cancel", serial, 0);
        (void)hpx_request_cancel(o->handles[i], b->asks[serial - 1].token);
    }
}

/* ---- Subscriptions --------------------------------------------------------------------------- */

feed *user_feed_new(bed *b, owner *o)
{
    if (b->feed_count == FEEDS_MAX) {
        return NULL;
    }
    feed *f = &b->feeds[b->feed_count];
    memset(f, 0, sizeof(*f));
    f->id = b->feed_count;
    f->owner = o->id;
    f->born = b->peer_count;
    f->is_inline = o->is_inline;
    return f;
}

void user_fill_topics(bed *b, feed *f, hpx_span *names, char text[][8])
{
    const uint64_t wanted = hpxi_sim_between(&b->user_random, 1, user_chance(b, 20) ? 12 : 3);
    while (f->count < wanted) {
        const uint32_t topic = (uint32_t)user_below(b, TOPICS);
        if ((f->topics >> topic & 1u) != 0) {
            continue;
        }
        f->topics |= 1u << topic;
        (void)snprintf(text[f->count], 8, "t%u", topic);
        names[f->count] =
            (hpx_span){.data = (uint8_t *)text[f->count], .size = strlen(text[f->count])};
        f->names[f->count++] = (uint8_t)topic;
    }
}

static void user_subscribe(bed *b, owner *o, uint32_t i)
{
    feed *f = user_feed_new(b, o);
    if (f == NULL) {
        return;
    }
    hpx_span names[TOPICS];
    char text[TOPICS][8];
    user_fill_topics(b, f, names, text);
    hpx_subscribe_config config = HPX_SUBSCRIBE_CONFIG_INIT;
    config.overflow = (hpx_overflow)user_below(b, 4);
    config.ring_bytes = user_chance(b, 50) ? 4096 : 0;
    f->overflow = config.overflow;
    hpx_error error;
    const hpx_status status =
        hpx_handle_subscribe_many(o->handles[i], names, f->count, &config, &f->sub, &error);
    if (status == HPX_OK) {
        b->feed_count++;
        hpxi_sim_note("user subscribe", f->id, f->topics);
        return;
    }
    CHECK(
        status == HPX_E_AGAIN || status == HPX_E_CLOSED,
        "subscribe: %s: %s",
        hpx_status_name(status),
        error.detail);
}

/* A feed on a port of this owner that is still held, or NULL. */
static feed *user_pick_feed(bed *b, const owner *o)
{
    for (uint32_t tries = 0; b->feed_count != 0 && tries < 8; tries++) {
        feed *f = &b->feeds[user_below(b, b->feed_count)];
        if (f->owner == o->id && f->sub != NULL && !f->is_inline) {
            return f;
        }
    }
    return NULL;
}

static void user_let_go(bed *b, feed *f)
{
    hpxi_sim_note("user lets go", f->id, f->topics);
    if (!f->unsubscribed && user_chance(b, 50)) {
        hpx_subscription_unsubscribe(f->sub);
        f->unsubscribed = true;
    } else {
        hpx_subscription_release(f->sub);
        f->sub = NULL;
    }
}

/* ---- Handles --------------------------------------------------------------------------------- */

static void user_clone(bed *b, owner *o, uint32_t i)
{
    uint32_t to = 0;
    while (to < HANDLES_MAX && o->handles[to] != NULL) {
        to++;
    }
    if (to == HANDLES_MAX || b->handle_next == HANDLE_IDS_MAX) {
        return;
    }
    hpx_port *port = b->ports[user_below(b, PORTS)];
    const hpx_status status = hpx_handle_clone(o->handles[i], port, &o->handles[to]);
    if (status == HPX_OK) {
        o->handle_ids[to] = b->handle_next++;
        hpxi_sim_note("user clone", o->id, o->handle_ids[to]);
        return;
    }
    CHECK(status == HPX_E_CLOSED || status == HPX_E_AGAIN, "clone: %s", hpx_status_name(status));
    o->handles[to] = NULL;
}

static void user_release_handle(bed *b, owner *o, uint32_t i)
{
    hpxi_sim_note("user release handle", o->id, o->handle_ids[i]);
    ledger_forget(b, o->handle_ids[i]);
    hpx_handle_release(o->handles[i]);
    o->handles[i] = NULL;
    bool last = true;
    for (uint32_t other = 0; other < HANDLES_MAX; other++) {
        last = last && o->handles[other] == NULL;
    }
    o->leaving = o->leaving || last;
}

/* ---- What it does ---------------------------------------------------------------------------- */

static void user_rarely(bed *b, owner *o, uint32_t i)
{
    static const hpx_span reason = {.data = (const uint8_t *)"because", .size = 7};
    const uint64_t what = user_below(b, 100);
    if (what < 45) {
        user_clone(b, o, i);
    } else if (what < 75) {
        hpxi_sim_note("user reconnect", o->id, 0);
        const hpx_status status = hpx_handle_reconnect(o->handles[i], reason);
        CHECK(status == (o->reconnects ? HPX_OK : HPX_E_STATE), "reconnect: %d", status);
    } else if (what < 95) {
        user_release_handle(b, o, i);
    } else {
        hpxi_sim_note("user close", o->id, 0);
        CHECK(hpx_handle_close(o->handles[i], 0, reason) == HPX_OK, "close");
        o->leaving = true;
    }
}

static void user_act_on(bed *b, owner *o)
{
    const uint32_t i = (uint32_t)user_below(b, HANDLES_MAX);
    if (o->handles[i] == NULL) {
        return;
    }
    const uint64_t what = user_below(b, 100);
    if (what < 5) {
        bed_later(b, 0, user_ask_slowly, o->id, i);
    } else if (what < 8) {
        bed_later(b, 0, user_wait, (uint32_t)user_below(b, PORTS), 0);
    } else if (what < 55) {
        for (uint64_t more = user_below(b, user_chance(b, 15) ? 20 : 3); more-- != 0;) {
            user_ask(b, o, i);
        }
    } else if (what < 63) {
        user_cancel(b, o, i);
    } else if (what < 77) {
        user_subscribe(b, o, i);
    } else if (what < 91) {
        feed *f = user_pick_feed(b, o);
        if (f != NULL) {
            user_let_go(b, f);
        }
    } else {
        user_rarely(b, o, i);
    }
}

/* One of the plan's; in place of one that is closed, another one. */
static owner *user_pick_owner(bed *b)
{
    owner *o = &b->owners[user_below(b, b->plan.owners)];
    for (uint32_t i = b->plan.owners; i < OWNERS_MAX && (o->closed || o->leaving); i++) {
        o = &b->owners[i];
    }
    return o;
}

static void user_act(bed *b)
{
    b->actions++;
    owner *o = user_pick_owner(b);
    if (b->plan.wants_inline && o->id % 2 == 1) {
        bed_later(b, 0, o->used ? inline_act : inline_connect, o->id, 0);
    } else if (!o->used) {
        user_connect(b, o);
    } else {
        user_act_on(b, o);
    }
}

static void user_tick(bed *b, uint32_t a, uint32_t c)
{
    (void)a;
    (void)c;
    if (b->stopped) {
        return;
    }
    if (!b->preempted) {
        user_act(b);
    }
    bed_anywhere(b, bed_gap(&b->user_random, b->plan.action_ns), user_tick, 0, 0);
}

/* ---- What it takes --------------------------------------------------------------------------- */

static void user_drain_feed(bed *b, feed *f)
{
    hpx_update update;
    int got;
    while ((got = hpx_subscription_next(f->sub, &update)) == 1) {
        feed_on_update(b, f, &update);
    }
    CHECK(got == (f->ended ? HPX_E_CLOSED : 0), "P11: feed %u: next says %d", f->id, got);
}

static void user_drain_owner(bed *b, owner *o)
{
    hpx_event event;
    hpx_reply reply;
    for (uint32_t i = 0; i < HANDLES_MAX; i++) {
        while (o->handles[i] != NULL && hpx_handle_next_reply(o->handles[i], &reply) == 1) {
            ledger_on_reply(b, o, &reply);
        }
    }
    if (o->stream == NULL) {
        return;
    }
    int got;
    while ((got = hpx_stream_next(o->stream, &event)) == 1) {
        life_on_event(b, o, &event);
    }
    CHECK(got == (o->closed ? HPX_E_CLOSED : 0), "P11: owner %u: next says %d", o->id, got);
}

void user_drain_all(bed *b)
{
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        user_drain_owner(b, &b->owners[i]);
    }
    for (uint32_t i = 0; i < b->feed_count; i++) {
        if (b->feeds[i].sub != NULL && !b->feeds[i].is_inline) {
            user_drain_feed(b, &b->feeds[i]);
        }
    }
}

static void user_drain_tick(bed *b, uint32_t a, uint32_t c)
{
    (void)a;
    (void)c;
    if (b->ports[0] == NULL) {
        return;
    }
    life_check_ends();
    bool readable = !b->plan.fd_mode;
    for (uint32_t i = 0; i < PORTS && !readable; i++) {
        readable = hpxi_sim_is_readable(hpx_port_fd(b->ports[i]));
    }
    if (readable && !b->preempted) {
        user_drain_all(b);
    }
    bed_anywhere(b, bed_gap(&b->user_random, b->plan.drain_ns), user_drain_tick, 0, 0);
}

void user_start(bed *b)
{
    for (uint32_t i = 0; b->plan.fd_mode && i < PORTS; i++) {
        (void)hpx_port_fd(b->ports[i]);
    }
    bed_anywhere(b, 0, user_tick, 0, 0);
    bed_anywhere(b, b->plan.drain_ns, user_drain_tick, 0, 0);
}

void user_release_all(bed *b)
{
    for (uint32_t i = 0; i < b->feed_count; i++) {
        feed *f = &b->feeds[i];
        if (f->sub != NULL && !f->is_inline && user_chance(b, 70)) { /* the port has the others */
            hpx_subscription_release(f->sub);
            f->sub = NULL;
        }
    }
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        owner *o = &b->owners[i];
        for (uint32_t h = 0; h < HANDLES_MAX; h++) {
            if (o->handles[h] != NULL) {
                user_release_handle(b, o, h);
            }
        }
    }
}

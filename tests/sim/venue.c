/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venue.c - the peer: speaks the dialect of words, keeps the books, and misbehaves by chance.
 *
 * It checks what only it can see: nothing before authentication (C9), no topic subscribed that is,
 * or unsubscribed that is not (P6, C1).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bed.h"

#define PADDING_MAX 6000u

static bool venue_happens(bed *b, venue_fault fault)
{
    if (b->calm || !hpxi_sim_happens(&b->venue_random, b->plan.venue[fault])) {
        return false;
    }
    b->venue_faults[fault]++;
    hpxi_sim_note("venue fault", (uint64_t)fault, 0);
    return true;
}

static uint64_t venue_delay(bed *b)
{
    return hpxi_sim_below(&b->venue_random, 2 * b->plan.request_ns);
}

static bool venue_tell(peer *p, const char *text, size_t size)
{
    if (p->conn == NULL) {
        return false;
    }
    const hpx_span span = {.data = (const uint8_t *)text, .size = size};
    return hpx_conn_send(p->conn, HPX_MESSAGE_TEXT, span) == HPX_OK;
}

static void venue_respond(peer *p, hpx_span id, const char *what)
{
    char text[512];
    const int size =
        snprintf(text, sizeof(text), "res %.*s %s", (int)id.size, (const char *)id.data, what);
    (void)venue_tell(p, text, (size_t)size);
}

/* By the client's port: those that it gave up may have arrived later. */
peer *venue_newest(bed *b, uint32_t owner_id)
{
    peer *newest = NULL;
    for (uint32_t i = 0; i < b->peer_count; i++) {
        peer *p = b->peers[i];
        if (p->owner == owner_id && (newest == NULL || p->port > newest->port)) {
            newest = p;
        }
    }
    return newest != NULL && newest->conn != NULL ? newest : NULL;
}

/* ---- Late answers ---------------------------------------------------------------------------- */

/* Kept until it is said; the texts of a run are few enough to keep them all. */
typedef struct venue_text {
    char text[256];
    uint32_t serial; /* of the request, or 0 */
} venue_text;

static venue_text *venue_texts;
static uint32_t venue_text_count, venue_text_capacity;

static uint32_t venue_keep(hpx_span id, const char *what, uint32_t serial)
{
    if (venue_text_count == venue_text_capacity) {
        venue_text_capacity = venue_text_capacity * 2 + 64;
        venue_texts = realloc(venue_texts, venue_text_capacity * sizeof(venue_text));
        CHECK(venue_texts != NULL, "no memory");
    }
    venue_text *kept = &venue_texts[venue_text_count];
    kept->serial = serial;
    (void)snprintf(
        kept->text, sizeof(kept->text), "res %.*s %s", (int)id.size, (const char *)id.data, what);
    return venue_text_count++;
}

static void venue_say_kept(bed *b, uint32_t serial, uint32_t text)
{
    peer *p = b->peers[serial - 1];
    const venue_text *kept = &venue_texts[text];
    if (venue_tell(p, kept->text, strlen(kept->text)) && kept->serial != 0) {
        ledger_answered(b, p, kept->serial);
    }
}

/* On whatever connection the owner has by then. */
static void venue_say_stale(bed *b, uint32_t owner_id, uint32_t text)
{
    peer *p = venue_newest(b, owner_id);
    if (p != NULL) {
        venue_say_kept(b, p->serial, text);
    }
}

/* ---- Requests -------------------------------------------------------------------------------- */

static void venue_reply(bed *b, peer *p, hpx_span id, const char *what, uint32_t serial)
{
    const uint32_t text = venue_keep(id, what, serial);
    if (venue_happens(b, VENUE_LATE_ANSWER)) {
        bed_later(b, venue_delay(b), venue_say_kept, p->serial, text);
    } else {
        venue_say_kept(b, p->serial, text);
    }
    if (venue_happens(b, VENUE_TWICE_ANSWER)) {
        bed_later(b, venue_delay(b) / 4, venue_say_kept, p->serial, text);
    }
    if (venue_happens(b, VENUE_STALE_ANSWER)) {
        bed_later(b, venue_delay(b), venue_say_stale, p->owner, text);
    }
}

static void venue_request(bed *b, peer *p, hpx_span id, hpx_span text)
{
    const uint32_t serial = (uint32_t)bed_number(bed_word(&text));
    ledger_on_wire(b, p, serial, false);
    char what[64];
    const bool error = venue_happens(b, VENUE_ERROR_ANSWER);
    (void)snprintf(what, sizeof(what), "%s %u", error ? "err" : "ok", serial);
    if (venue_happens(b, VENUE_FOREIGN_ANSWER)) {
        char foreign[32];
        /* Below 2^16, so none of the library's own; ours are texts. */
        const int size = snprintf(foreign, sizeof(foreign), "%u", serial);
        venue_respond(p, (hpx_span){.data = (uint8_t *)foreign, .size = (size_t)size}, "ok 0");
    }
    if (!venue_happens(b, VENUE_NO_ANSWER)) {
        venue_reply(b, p, id, what, serial);
    }
}

/* ---- Topics ---------------------------------------------------------------------------------- */

static void venue_acknowledge(bed *b, peer *p, hpx_span id, const char *what)
{
    if (venue_happens(b, VENUE_STALL_BATCH)) {
        return;
    }
    const uint32_t text = venue_keep(id, what, 0);
    if (venue_happens(b, VENUE_LATE_BATCH)) {
        bed_later(b, venue_delay(b) / 4, venue_say_kept, p->serial, text);
    } else {
        venue_say_kept(b, p->serial, text);
    }
    if (venue_happens(b, VENUE_TWICE_BATCH)) {
        bed_later(b, venue_delay(b) / 4, venue_say_kept, p->serial, text);
    }
}

static uint32_t venue_topic(hpx_span name)
{
    CHECK(name.size >= 2 && name.data[0] == 't', "P6: not a topic");
    const hpx_span digits = {.data = name.data + 1, .size = name.size - 1};
    const uint32_t topic = (uint32_t)bed_number(digits);
    CHECK(topic < TOPICS, "P6: topic %u does not exist", topic);
    return topic;
}

static void venue_subscribe(bed *b, peer *p, hpx_span id, hpx_span list)
{
    char what[192] = "ok";
    const bool refused = venue_happens(b, VENUE_REFUSE_BATCH);
    uint32_t count = 0;
    while (list.size != 0) {
        const uint32_t topic = venue_topic(bed_word(&list));
        count++;
        CHECK(
            (p->topics >> topic & 1u) == 0,
            "P6: t%u is subscribed twice on connection %u",
            topic,
            p->serial);
        if (refused || venue_happens(b, VENUE_REFUSE_TOPIC)) {
            continue;
        }
        p->topics |= 1u << topic;
        const size_t used = strlen(what);
        (void)snprintf(what + used, sizeof(what) - used, " t%u", topic);
    }
    hpxi_sim_note("venue subscribe", p->serial, p->topics);
    CHECK(count <= b->plan.topics_per_message, "P6: %u topics in one message", count);
    venue_acknowledge(b, p, id, refused ? "err no" : what);
}

static void venue_unsubscribe(bed *b, peer *p, hpx_span id, hpx_span list)
{
    while (list.size != 0) {
        const uint32_t topic = venue_topic(bed_word(&list));
        CHECK(
            (p->topics >> topic & 1u) != 0,
            "P6: t%u is unsubscribed twice on connection %u",
            topic,
            p->serial);
        p->topics &= ~(1u << topic);
    }
    hpxi_sim_note("venue unsubscribe", p->serial, p->topics);
    venue_acknowledge(b, p, id, "ok");
}

void venue_publish(bed *b, peer *p, uint32_t topic, uint32_t padding)
{
    static char text[PADDING_MAX + 128];
    if (p->conn == NULL || (p->topics >> topic & 1u) == 0) {
        return;
    }
    if (p->log_count == p->log_capacity) {
        p->log_capacity = p->log_capacity * 2 + 256;
        p->log = realloc(p->log, p->log_capacity);
        CHECK(p->log != NULL, "no memory");
    }
    const int head = snprintf(
        text,
        sizeof(text),
        "upd t%u %u %u %u ",
        topic,
        p->serial,
        p->log_count,
        p->sequence[topic] + 1);
    memset(text + head, 'x', padding);
    if (venue_tell(p, text, (size_t)head + padding)) {
        p->log[p->log_count++] = (uint8_t)topic;
        p->sequence[topic]++;
    }
    (void)b;
}

/* ---- Authentication -------------------------------------------------------------------------- */

static void venue_auth(bed *b, peer *p, hpx_span id)
{
    CHECK(b->plan.auth && !p->authed, "C9: authenticated twice");
    if (venue_happens(b, VENUE_STALL_AUTH)) {
        return;
    }
    const bool refused = venue_happens(b, VENUE_REFUSE_AUTH);
    p->authed = !refused;
    venue_respond(p, id, refused ? "err bad secret" : "ok");
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void venue_on_message(bed *b, peer *p, hpx_span text)
{
    const hpx_span verb = bed_word(&text);
    const hpx_span id = bed_word(&text);
    if (bed_is(verb, "auth")) {
        venue_auth(b, p, id);
        return;
    }
    CHECK(
        !b->plan.auth || p->authed || bed_is(verb, "pong"), /* which answers our question */
        "C9: \"%.*s\" before authentication",
        (int)verb.size,
        (const char *)verb.data);
    if (bed_is(verb, "sub")) {
        venue_subscribe(b, p, id, text);
    } else if (bed_is(verb, "unsub")) {
        venue_unsubscribe(b, p, id, text);
    } else if (bed_is(verb, "req")) {
        venue_request(b, p, id, text);
    } else if (bed_is(verb, "send")) {
        ledger_on_wire(b, p, (uint32_t)bed_number(id), true);
    } else if (bed_is(verb, "ping")) {
        if (!venue_happens(b, VENUE_SILENT_PING)) {
            venue_respond(p, id, "ok");
        }
    } else {
        CHECK(bed_is(verb, "pong"), "not a message of ours: %.*s", (int)verb.size, verb.data);
        venue_respond(p, id, "ok");
    }
}

static void venue_connected(bed *b, hpx_conn *conn, const hpx_event *event)
{
    CHECK(b->peer_count < PEERS_MAX, "C8: more than %u connections", PEERS_MAX);
    peer *p = calloc(1, sizeof(*p));
    CHECK(p != NULL, "no memory");
    p->bed = b;
    p->conn = conn;
    b->peers[b->peer_count++] = p;
    p->serial = b->peer_count;
    const char *port = strrchr(event->info->peer_address, ':');
    p->port = port == NULL ? 0 : (uint16_t)strtoul(port + 1, NULL, 10); /* none: gone already */
    p->owner = (uint32_t)strtoul(event->info->target + 2, NULL, 10);    /* "/oN" */
    CHECK(p->owner < OWNERS_MAX, "no such owner: %s", event->info->target);
    hpx_conn_set_user(conn, p);
    hpxi_sim_note("venue connected", p->serial, p->owner);
    life_on_peer(b, p);
}

/* The listener's user is the bed; that of a connection, once there is one, its peer. */
void venue_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    if (event->kind == HPX_EVENT_CONNECTED) {
        venue_connected(user, conn, event);
        return;
    }
    peer *p = user;
    switch (event->kind) {
    case HPX_EVENT_MESSAGE:
        if (p->conn != NULL) {
            venue_on_message(p->bed, p, event->payload);
        }
        break;
    case HPX_EVENT_DISCONNECTED:
        CHECK(!p->disconnected, "P9: venue: DISCONNECTED twice");
        p->disconnected = true;
        p->conn = NULL;
        break;
    case HPX_EVENT_CLOSED:
        CHECK(p->disconnected, "P9: venue: CLOSED without DISCONNECTED");
        break;
    case HPX_EVENT_CONNECTED:
    case HPX_EVENT_WRITABLE:
        break;
    }
}

hpx_upgrade_answer venue_upgrade(const hpx_upgrade_request *request, void *user)
{
    (void)request;
    const bool refused = venue_happens(user, VENUE_REFUSE_UPGRADE);
    return (hpx_upgrade_answer){.http_status = refused ? 503 : 101};
}

/* ---- By itself ------------------------------------------------------------------------------- */

static void venue_burst(bed *b, peer *p)
{
    const uint64_t count = hpxi_sim_between(&b->venue_random, 10, 150);
    for (uint64_t i = 0; i < count; i++) {
        venue_publish(b, p, (uint32_t)hpxi_sim_below(&b->venue_random, TOPICS), 40);
    }
}

static void venue_misbehave(bed *b, peer *p)
{
    static const uint16_t codes[] = {1000, 1001, 1008, 4000};
    if (venue_happens(b, VENUE_BURST)) {
        venue_burst(b, p);
    }
    if (venue_happens(b, VENUE_HEARTBEAT)) {
        (void)venue_tell(p, "hb", 2);
    }
    if (venue_happens(b, VENUE_CHATTER)) {
        const bool system = hpxi_sim_below(&b->venue_random, 2) == 0;
        (void)venue_tell(p, system ? "sys hello" : "what is this", system ? 9 : 12);
    }
    if (venue_happens(b, VENUE_BYE)) {
        (void)venue_tell(p, "bye now", 7);
    } else if (venue_happens(b, VENUE_CLOSE)) {
        const uint16_t code = codes[hpxi_sim_below(&b->venue_random, 4)];
        (void)hpx_conn_close(p->conn, code, (hpx_span){0});
    } else if (venue_happens(b, VENUE_DROP)) {
        hpx_conn_abort(p->conn);
    }
}

void venue_tick(bed *b, uint32_t a, uint32_t c)
{
    (void)a;
    (void)c;
    if (b->quiet) {
        return;
    }
    for (uint32_t i = 0; i < b->plan.owners; i++) {
        peer *p = venue_newest(b, (uint32_t)hpxi_sim_below(&b->venue_random, OWNERS_MAX));
        if (p == NULL) {
            continue;
        }
        const bool large = hpxi_sim_below(&b->venue_random, 40) == 0;
        const uint64_t padding = hpxi_sim_below(&b->venue_random, large ? PADDING_MAX : 60);
        const uint64_t topic = hpxi_sim_below(&b->venue_random, TOPICS);
        venue_publish(b, p, (uint32_t)topic, (uint32_t)padding);
        if (b->calm) {
            (void)venue_tell(p, "sys all is well", 15); /* who hears nothing reconnects */
        } else {
            venue_misbehave(b, p);
        }
    }
    bed_later(b, bed_gap(&b->venue_random, b->plan.venue_ns), venue_tick, 0, 0);
}

void venue_start(bed *b)
{
    venue_text_count = 0;
    hpx_listen_config listen = HPX_LISTEN_CONFIG_INIT;
    listen.address = "10.0.0.1:0";
    listen.on_event = venue_event;
    listen.on_upgrade = venue_upgrade;
    listen.user = b;
    listen.handshake_timeout_ns = 2 * b->plan.connect_ns;
    listen.close_timeout_ns = 100 * HPX_NS_PER_MS;
    listen.send_queue_bytes_max = 64u << 10;
    hpx_error error;
    CHECK(
        hpx_shard_listen(b->shard, &listen, &b->listener, &error) == HPX_OK,
        "listen: %s",
        error.detail);
    b->port = hpx_listener_get_port(b->listener);
    bed_later(b, b->plan.venue_ns, venue_tick, 0, 0);
}

void venue_end(bed *b)
{
    hpx_listener_close(b->listener);
    b->listener = NULL;
    for (uint32_t i = 0; i < b->peer_count; i++) {
        if (b->peers[i]->conn != NULL) {
            hpx_conn_abort(b->peers[i]->conn);
        }
    }
}

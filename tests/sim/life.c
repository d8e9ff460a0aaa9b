/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.c - lifecycle and connections.
 *
 * P9 CONNECTED and DISCONNECTED alternate, epochs count up by one, messages come between them.
 * P11 CLOSED comes once and last. P2 (C2) an owner has one connection at a time; (C9) what it holds
 * is subscribed when CONNECTED is told.
 */
#include "bed.h"

/* Longer than any closing handshake of the plans. */
#define END_NS_MAX (300 * HPX_NS_PER_MS)

static void life_connected(bed *b, owner *o, const hpx_event *event)
{
    CHECK(!o->connected, "P9: owner %u CONNECTED twice", o->id);
    CHECK(event->info != NULL, "P9: CONNECTED without info");
    CHECK(
        event->epoch == o->epoch + 1,
        "P9: owner %u: epoch %llu after %llu",
        o->id,
        (unsigned long long)event->epoch,
        (unsigned long long)o->epoch);
    o->connected = true;
    o->connects++;
    o->epoch = event->epoch;
    if (!o->is_inline) {
        return; /* seen later: the venue may have gone on */
    }
    const peer *p = venue_newest(b, o->id);
    if (p != NULL) { /* else the venue has lost it already, as the client does not know yet */
        const uint32_t held = feeds_held_before(b, o->id, p->serial);
        CHECK(!b->plan.auth || p->authed, "C9: READY without authentication");
        CHECK((held & ~p->topics) == 0, "C9: READY, but %x is not subscribed", held & ~p->topics);
    }
}

/* On a network that loses nothing only the venue can be the cause of a timeout; else bytes that did
 * arrive were left lying. */
static void life_check_cause(const bed *b, const owner *o, const hpx_error *error)
{
    const uint32_t *faults = b->plan.venue;
    if (!b->plan.gentle) {
        return;
    }
    bool possible = true;
    switch (error->status) {
    case HPX_E_PONG_TIMEOUT:
        possible = faults[VENUE_SILENT_PING] != 0;
        break;
    case HPX_E_AUTH_TIMEOUT:
        possible = faults[VENUE_STALL_AUTH] != 0;
        break;
    case HPX_E_SUBSCRIBE_TIMEOUT:
        possible = faults[VENUE_STALL_BATCH] != 0;
        break;
    case HPX_E_CONNECT_TIMEOUT:
    case HPX_E_UPGRADE_TIMEOUT:
        possible = false;
        break;
    default:
        break;
    }
    CHECK(
        possible, "U4: owner %u: %s, but nothing was lost", o->id, hpx_status_name(error->status));
}

void life_on_event(bed *b, owner *o, const hpx_event *event)
{
    hpxi_sim_note("user event", o->id, (uint64_t)event->kind << 32 | event->epoch);
    CHECK(!o->closed, "P11: owner %u: event %d after CLOSED", o->id, event->kind);
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        life_connected(b, o, event);
        return;
    case HPX_EVENT_MESSAGE:
    case HPX_EVENT_WRITABLE:
        CHECK(o->connected, "P9: owner %u: event %d while not connected", o->id, event->kind);
        CHECK(event->epoch == o->epoch, "P9: owner %u: a message of another epoch", o->id);
        return;
    case HPX_EVENT_DISCONNECTED:
        CHECK(event->error != NULL, "P9: DISCONNECTED without an error");
        life_check_cause(b, o, event->error);
        CHECK(event->epoch == o->epoch, "P9: owner %u: DISCONNECTED of another epoch", o->id);
        CHECK(
            o->open_inline == 0,
            "P3: owner %u: DISCONNECTED, but %u requests are open",
            o->id,
            o->open_inline);
        o->connected = false;
        return;
    case HPX_EVENT_CLOSED:
        CHECK(!o->connected, "P9: owner %u: CLOSED without DISCONNECTED", o->id);
        CHECK(event->error != NULL, "P11: CLOSED without an error");
        o->closed = true;
        return;
    }
    bed_fail("P9: event %d does not exist", event->kind);
}

void life_on_peer(bed *b, const peer *p)
{
    uint32_t attempts = 0;
    /* One that the client gave up may arrive after the one that followed it. */
    const bool open = hpxi_sim_port_is_open(p->port);
    for (uint32_t i = 0; i + 1 < p->serial; i++) {
        const peer *other = b->peers[i];
        attempts += other->owner == p->owner ? 1 : 0;
        CHECK(
            !open || other->owner != p->owner || !hpxi_sim_port_is_open(other->port),
            "P2: owner %u has connections %u and %u at once",
            p->owner,
            other->serial,
            p->serial);
    }
    CHECK(
        attempts == 0 || b->owners[p->owner].reconnects,
        "P2: owner %u does not reconnect, and did",
        p->owner);
}

void life_check_ends(void)
{
    const uint64_t longest = hpxi_sim_longest_end_ns();
    CHECK(
        longest < END_NS_MAX,
        "P8: a stream was read to its end %llu ms ago, and is open",
        (unsigned long long)(longest / HPX_NS_PER_MS));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ledger.c - requests and sends: what was promised, what reached the venue, how it ended.
 *
 * P3 each accepted request has one outcome. P4 an answer is the request's own, given on its own
 * connection. P5 at most one copy reaches the venue, on the connection of its own epoch. G1 the
 * sends of a handle arrive in order and without a hole, as far as their connection went.
 */
#include <stdlib.h>
#include <string.h>

#include "bed.h"

#define WAKE_SLACK_NS    (2 * HPX_NS_PER_MS)
#define TIMEOUT_SLACK_NS (5 * HPX_NS_PER_MS) /* a tick of the wheel, and a step of spinning */

static ask *ledger_at(bed *b, uint32_t serial)
{
    CHECK(serial >= 1 && serial <= b->ask_count, "P4: serial %u was never given", serial);
    return &b->asks[serial - 1];
}

uint32_t ledger_open(bed *b, owner *o, uint32_t handle, bool is_send, uint64_t epoch)
{
    if (b->ask_count == b->ask_capacity) {
        b->ask_capacity = b->ask_capacity * 2 + 256;
        b->asks = realloc(b->asks, b->ask_capacity * sizeof(ask));
        CHECK(b->asks != NULL, "no memory");
    }
    b->asks[b->ask_count] = (ask){
        .owner = o->id,
        .handle = handle,
        .is_send = is_send,
        .is_inline = o->is_inline,
        .epoch = epoch,
        .issued_ns = hpxi_sim_now_ns()};
    return ++b->ask_count;
}

void ledger_accepted(bed *b, uint32_t serial, uint64_t timeout_ns, uint64_t token)
{
    ask *a = ledger_at(b, serial);
    hpxi_sim_note(a->is_send ? "user send" : "user request", serial, a->epoch);
    CHECK(a->epoch != 0, "P5: request %u was accepted before the first epoch", serial);
    a->accepted = true;
    a->timeout_ns = timeout_ns;
    a->token = token;
    if (!a->is_send) {
        b->open++;
        b->owners[a->owner].open_inline += a->is_inline ? 1 : 0;
        return;
    }
    if (b->send_epoch[a->handle] != a->epoch) {
        b->send_epoch[a->handle] = a->epoch;
        b->sends[a->handle] = 0;
    }
    a->order = b->sends[a->handle]++;
}

static heard *ledger_heard(peer *p, uint32_t handle)
{
    for (uint32_t i = 0; i < p->heard_count; i++) {
        if (p->heard[i].handle == handle) {
            return &p->heard[i];
        }
    }
    CHECK(p->heard_count < HEARD_MAX, "more than %u handles of one connection", HEARD_MAX);
    p->heard[p->heard_count] = (heard){.handle = handle};
    return &p->heard[p->heard_count++];
}

/* On one connection a handle's messages come in their order, and its sends without a hole. */
static void ledger_check_order(peer *p, const ask *a, uint32_t serial)
{
    heard *h = ledger_heard(p, a->handle);
    CHECK(serial > h->serial, "G1: %u overtook %u", h->serial, serial);
    h->serial = serial;
    CHECK(
        !a->is_send || a->order == h->sends,
        "G1: send %u is number %u of its handle, expected %u",
        serial,
        a->order,
        h->sends);
    h->sends += a->is_send ? 1 : 0;
}

void ledger_on_wire(bed *b, peer *p, uint32_t serial, bool is_send)
{
    ask *a = ledger_at(b, serial);
    hpxi_sim_note("venue got", serial, p->serial);
    CHECK(a->owner == p->owner, "P1: request %u came from another owner", serial);
    CHECK(a->is_send == is_send, "request %u came as something else", serial);
    /* An inline call may reach the wire only after it returned. */
    CHECK(a->accepted, "P5: request %u was refused, and sent all the same", serial);
    CHECK(a->wire++ == 0, "P5: request %u is on the wire twice", serial);
    if (p->epoch == 0) {
        p->epoch = a->epoch;
        for (uint32_t i = p->serial - 1; i-- > 0;) {
            const peer *before = b->peers[i];
            CHECK(
                before->owner != p->owner || before->epoch < a->epoch,
                "P5: request %u of epoch %llu on a later connection",
                serial,
                (unsigned long long)a->epoch);
        }
    }
    CHECK(
        p->epoch == a->epoch,
        "P5: request %u of epoch %llu on the connection of epoch %llu",
        serial,
        (unsigned long long)a->epoch,
        (unsigned long long)p->epoch);
    ledger_check_order(p, a, serial);
}

void ledger_answered(bed *b, peer *p, uint32_t serial)
{
    ask *a = ledger_at(b, serial);
    a->answered = a->answered || p->epoch == a->epoch;
}

static void ledger_check_time(const ask *a, uint32_t serial, const hpx_reply *reply)
{
    if (a->timeout_ns == HPX_NEVER) {
        CHECK(reply->status != HPX_E_TIMEOUT, "P3: request %u without a limit timed out", serial);
        return;
    }
    const uint64_t due = a->issued_ns + a->timeout_ns;
    /* Inside a turn an inline request counts from the shard's clock, read once in a turn. */
    const uint64_t behind = a->is_inline ? a->issued_ns - reply->sent_ns : 0;
    CHECK(
        reply->status != HPX_E_TIMEOUT || reply->time_ns + behind >= due,
        "P3: request %u timed out %llu ns early",
        serial,
        (unsigned long long)(due - reply->time_ns));
    CHECK(
        a->preempted || reply->time_ns <= due + TIMEOUT_SLACK_NS,
        "P3: request %u ended (%d) %llu us after its deadline",
        serial,
        reply->status,
        (unsigned long long)((reply->time_ns - due) / 1000));
}

void ledger_on_reply(bed *b, owner *o, const hpx_reply *reply)
{
    const uint32_t serial = (uint32_t)(uintptr_t)reply->user;
    ask *a = ledger_at(b, serial);
    hpxi_sim_note("user reply", serial, (uint64_t)(int64_t)reply->status);
    b->replies++;
    CHECK(a->owner == o->id && !a->is_send, "P4: reply of request %u at owner %u", serial, o->id);
    CHECK(a->accepted, "P3: reply of request %u, which was refused", serial);
    CHECK(!a->forgotten, "P11: reply of request %u, whose handle is gone", serial);
    CHECK(a->outcomes++ == 0, "P3: request %u completed twice (%d)", serial, reply->status);
    CHECK(reply->token == a->token, "P4: request %u has another's token", serial);
    CHECK(reply->epoch == a->epoch, "P4: request %u is told another epoch", serial);
    CHECK(a->wire == 0 || reply->sent, "P3: request %u was sent, and told as not", serial);
    ledger_check_time(a, serial, reply);
    CHECK(
        a->preempted || reply->sent_ns <= a->issued_ns + b->plan.network.late_ns + WAKE_SLACK_NS,
        "a wake-up is lost: request %u was sent %llu us after it was made",
        serial,
        (unsigned long long)(reply->sent_ns - a->issued_ns) / 1000);
    b->open--;
    b->owners[a->owner].open_inline -= a->is_inline ? 1 : 0;
    CHECK(
        reply->status == HPX_OK || reply->status == HPX_E_TIMEOUT ||
            reply->status == HPX_E_DISCONNECTED || reply->status == HPX_E_CANCELLED ||
            reply->status == HPX_E_AGAIN,
        "P3: request %u ended with %s",
        serial,
        hpx_status_name(reply->status));
    CHECK(
        reply->status != HPX_E_CANCELLED || a->cancelled || b->stopped,
        "P3: nobody cancelled request %u",
        serial);
    if (reply->status != HPX_OK) {
        return;
    }
    CHECK(a->answered, "P4: request %u was never answered on its own connection", serial);
    hpx_span text = reply->payload;
    CHECK(bed_is(bed_word(&text), "res"), "P4: request %u: not an answer", serial);
    (void)bed_word(&text);
    CHECK(bed_is(bed_word(&text), reply->is_error ? "err" : "ok"), "P4: request %u: class", serial);
    CHECK(bed_number(bed_word(&text)) == serial, "P4: request %u has another's answer", serial);
}

void ledger_forget(bed *b, uint32_t handle)
{
    for (uint32_t i = 0; i < b->ask_count; i++) {
        ask *a = &b->asks[i];
        if (a->handle == handle && !a->is_send && a->accepted && a->outcomes == 0 &&
            !a->forgotten) {
            a->forgotten = true;
            b->open--;
        }
    }
}

uint32_t ledger_pick_open(bed *b, uint32_t handle)
{
    for (uint32_t i = b->ask_count; i-- > 0 && b->ask_count - i < 64;) {
        ask *a = &b->asks[i];
        if (a->handle == handle && !a->is_send && a->accepted && a->outcomes == 0 &&
            hpxi_sim_below(&b->user_random, 3) == 0) {
            a->cancelled = true;
            return i + 1;
        }
    }
    return 0;
}

void ledger_finish(bed *b)
{
    for (uint32_t i = 0; i < b->ask_count; i++) {
        const ask *a = &b->asks[i];
        CHECK(
            a->is_send || !a->accepted || a->forgotten || a->outcomes == 1,
            "P3: request %u (owner %u, epoch %llu) never completed",
            i + 1,
            a->owner,
            (unsigned long long)a->epoch);
    }
    CHECK(b->open == 0, "P3: %u requests are open", b->open);
}

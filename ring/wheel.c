/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel.c - the timer wheel: six levels of 64 slots, each level 64 times coarser than the one
 * below.
 *
 * Where a timer lies. Its expiry is its deadline in ticks, rounded up. The level is that of the
 * highest base-64 digit in which expiry and the wheel's tick differ, the slot is the expiry's digit
 * there. So on the levels below the top, every occupied slot is at (level 0) or after the tick's
 * own digit, and everything on a level is due before everything on the next. The top level turns:
 * its slots are the 63 ahead of the tick. What is beyond them is parked in the last.
 *
 * advance() goes from occupied slot to occupied slot. One of level 0 joins the due list; one of a
 * higher level is re-filed when the tick reaches its start. A timer is re-filed at most once per
 * level. A slot's list head keeps the slot's own number in deadline_ns, so that unlinking the last
 * timer can clear the slot's bit.
 */
#include "ring/wheel.h"

#include <stddef.h>

#include "ring/assert.h"

#define WHEEL_BITS      6u
#define WHEEL_DIGIT     (HPXI_WHEEL_SLOTS - 1u)
#define WHEEL_TOP       (HPXI_WHEEL_LEVELS - 1u)
#define WHEEL_TOP_SHIFT (WHEEL_BITS * WHEEL_TOP)
#define WHEEL_NO_SLOT   UINT64_MAX
#define WHEEL_TICK_MAX  (UINT64_MAX >> HPXI_WHEEL_TICK_SHIFT)

_Static_assert(HPXI_WHEEL_SLOTS == 1u << WHEEL_BITS, "a digit is one of the slots");
_Static_assert(HPXI_WHEEL_SLOTS == 64, "a level's occupied slots are one 64-bit word");

typedef struct wheel_slot {
    uint32_t level;
    uint32_t index;
    uint64_t tick; /* first tick of the slot */
} wheel_slot;

static uint64_t wheel_expiry(uint64_t deadline_ns)
{
    const uint64_t part = deadline_ns & ((UINT64_C(1) << HPXI_WHEEL_TICK_SHIFT) - 1);
    return (deadline_ns >> HPXI_WHEEL_TICK_SHIFT) + (part != 0);
}

static uint32_t wheel_digit(uint64_t tick, uint32_t level)
{
    return (uint32_t)(tick >> (WHEEL_BITS * level)) & WHEEL_DIGIT;
}

static void list_init(hpxi_timer *head, uint64_t number)
{
    *head = (hpxi_timer){.next = head, .prev = head, .deadline_ns = number};
}

static bool list_is_empty(const hpxi_timer *head)
{
    return head->next == head;
}

static void list_append(hpxi_timer *head, hpxi_timer *timer)
{
    timer->next = head;
    timer->prev = head->prev;
    head->prev->next = timer;
    head->prev = timer;
}

/* Moves all of `from` to the end of `to`. */
static void list_splice(hpxi_timer *to, hpxi_timer *from)
{
    HPX_DASSERT(!list_is_empty(from));
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    from->next = from;
    from->prev = from;
}

void hpxi_wheel_init(hpxi_wheel *wheel, uint64_t now_ns)
{
    wheel->tick = now_ns >> HPXI_WHEEL_TICK_SHIFT;
    wheel->count = 0;
    for (uint32_t level = 0; level < HPXI_WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (uint32_t index = 0; index < HPXI_WHEEL_SLOTS; index++) {
            list_init(&wheel->slots[level][index], (uint64_t)level * HPXI_WHEEL_SLOTS + index);
        }
    }
    list_init(&wheel->due, WHEEL_NO_SLOT);
    HPX_XASSERT(hpxi_wheel_is_valid(wheel));
}

/* The slot for a timer; see the head of this file. */
static wheel_slot wheel_place(const hpxi_wheel *wheel, uint64_t expiry)
{
    const uint64_t at = expiry < wheel->tick ? wheel->tick : expiry;
    const uint64_t top_ahead = (at >> WHEEL_TOP_SHIFT) - (wheel->tick >> WHEEL_TOP_SHIFT);
    uint32_t level = 0;
    uint64_t tick = at;
    if (top_ahead != 0) {
        const uint64_t ahead = top_ahead < HPXI_WHEEL_SLOTS ? top_ahead : HPXI_WHEEL_SLOTS - 1;
        level = WHEEL_TOP;
        tick = ((wheel->tick >> WHEEL_TOP_SHIFT) + ahead) << WHEEL_TOP_SHIFT;
    } else if (at != wheel->tick) {
        const uint32_t bit = 63u - (uint32_t)__builtin_clzll(at ^ wheel->tick);
        level = bit / WHEEL_BITS;
        HPX_DASSERT(level < WHEEL_TOP);
        tick = at >> (WHEEL_BITS * level) << (WHEEL_BITS * level);
    }
    return (wheel_slot){.level = level, .index = wheel_digit(tick, level), .tick = tick};
}

static void wheel_insert(hpxi_wheel *wheel, hpxi_timer *timer)
{
    const wheel_slot slot = wheel_place(wheel, wheel_expiry(timer->deadline_ns));
    list_append(&wheel->slots[slot.level][slot.index], timer);
    wheel->occupied[slot.level] |= UINT64_C(1) << slot.index;
}

static void wheel_unlink(hpxi_wheel *wheel, hpxi_timer *timer)
{
    hpxi_timer *next = timer->next;
    HPX_DASSERT(next->prev == timer);
    HPX_DASSERT(timer->prev->next == timer);
    next->prev = timer->prev;
    timer->prev->next = next;
    /* Neighbours that are one and the same can only be the head: it is alone now. */
    if (next == timer->prev && next->deadline_ns != WHEEL_NO_SLOT) {
        const uint64_t number = next->deadline_ns;
        HPX_DASSERT(number / HPXI_WHEEL_SLOTS < HPXI_WHEEL_LEVELS);
        wheel->occupied[number / HPXI_WHEEL_SLOTS] &= ~(UINT64_C(1) << number % HPXI_WHEEL_SLOTS);
    }
    timer->next = NULL;
    timer->prev = NULL;
}

void hpxi_wheel_set(hpxi_wheel *wheel, hpxi_timer *timer, uint64_t deadline_ns)
{
    HPX_DASSERT(timer->fire != NULL);
    if (hpxi_timer_is_set(timer)) {
        wheel_unlink(wheel, timer);
    } else {
        wheel->count++;
    }
    timer->deadline_ns = deadline_ns;
    wheel_insert(wheel, timer);
    HPX_XASSERT(hpxi_wheel_is_valid(wheel));
}

void hpxi_wheel_cancel(hpxi_wheel *wheel, hpxi_timer *timer)
{
    if (!hpxi_timer_is_set(timer)) {
        return;
    }
    HPX_DASSERT(wheel->count != 0);
    wheel_unlink(wheel, timer);
    wheel->count--;
    HPX_XASSERT(hpxi_wheel_is_valid(wheel));
}

/* The occupied slot that the tick reaches first. */
static bool wheel_first(const hpxi_wheel *wheel, wheel_slot *out)
{
    for (uint32_t level = 0; level < WHEEL_TOP; level++) {
        if (wheel->occupied[level] != 0) {
            const uint32_t index = (uint32_t)__builtin_ctzll(wheel->occupied[level]);
            const uint32_t shift = WHEEL_BITS * level;
            const uint64_t block = wheel->tick >> (shift + WHEEL_BITS) << WHEEL_BITS;
            HPX_DASSERT(index >= wheel_digit(wheel->tick, level));
            *out = (wheel_slot){.level = level, .index = index, .tick = (block | index) << shift};
            return true;
        }
    }
    const uint64_t occupied = wheel->occupied[WHEEL_TOP];
    if (occupied == 0) {
        return false;
    }
    const uint32_t own = wheel_digit(wheel->tick, WHEEL_TOP);
    HPX_DASSERT((occupied >> own & 1) == 0);
    const uint64_t turned = occupied >> own | occupied << (-own & WHEEL_DIGIT);
    const uint32_t ahead = (uint32_t)__builtin_ctzll(turned);
    *out = (wheel_slot){
        .level = WHEEL_TOP,
        .index = (own + ahead) & WHEEL_DIGIT,
        .tick = ((wheel->tick >> WHEEL_TOP_SHIFT) + ahead) << WHEEL_TOP_SHIFT,
    };
    return true;
}

/* Empties a slot that the tick has reached: into the due list, or one or more levels down. */
static void wheel_open(hpxi_wheel *wheel, wheel_slot slot)
{
    HPX_DASSERT(slot.tick == wheel->tick);
    hpxi_timer *head = &wheel->slots[slot.level][slot.index];
    wheel->occupied[slot.level] &= ~(UINT64_C(1) << slot.index);
    if (slot.level == 0) {
        list_splice(&wheel->due, head);
        return;
    }
    hpxi_timer refile;
    list_init(&refile, WHEEL_NO_SLOT);
    list_splice(&refile, head);
    for (hpxi_timer *timer = refile.next; timer != &refile;) {
        hpxi_timer *next = timer->next;
        wheel_insert(wheel, timer);
        timer = next;
    }
}

uint32_t hpxi_wheel_advance(hpxi_wheel *wheel, uint64_t now_ns, uint32_t budget)
{
    const uint64_t now_tick = now_ns >> HPXI_WHEEL_TICK_SHIFT;
    if (now_tick < wheel->tick) {
        return 0; /* another clock's reading, a little behind: its time has not come yet */
    }
    wheel_slot slot;
    while (wheel_first(wheel, &slot) && slot.tick <= now_tick) {
        wheel->tick = slot.tick;
        wheel_open(wheel, slot);
    }
    wheel->tick = now_tick;
    HPX_XASSERT(hpxi_wheel_is_valid(wheel));

    /* Callbacks may set and cancel: what they set waits in a slot for the next advance, so that a
     * timer which sets itself into the past cannot hold us here. */
    uint32_t fired = 0;
    while (fired < budget && !list_is_empty(&wheel->due)) {
        hpxi_timer *timer = wheel->due.next;
        HPX_DASSERT(timer->deadline_ns <= now_ns);
        wheel_unlink(wheel, timer);
        wheel->count--;
        fired++;
        timer->fire(timer, now_ns);
    }
    return fired;
}

uint64_t hpxi_wheel_next(const hpxi_wheel *wheel)
{
    wheel_slot slot;
    if (!list_is_empty(&wheel->due)) {
        return wheel->tick << HPXI_WHEEL_TICK_SHIFT;
    }
    if (!wheel_first(wheel, &slot) || slot.tick > WHEEL_TICK_MAX) {
        return UINT64_MAX;
    }
    return slot.tick << HPXI_WHEEL_TICK_SHIFT;
}

/* One slot: linked both ways, and its timers where wheel_place() would put them, or parked. */
static bool wheel_slot_is_valid(const hpxi_wheel *wheel, uint32_t level, uint32_t index)
{
    const hpxi_timer *head = &wheel->slots[level][index];
    const bool occupied = (wheel->occupied[level] >> index & 1) != 0;
    if (occupied == list_is_empty(head) || head->deadline_ns != level * HPXI_WHEEL_SLOTS + index) {
        return false;
    }
    for (const hpxi_timer *timer = head->next; timer != head; timer = timer->next) {
        const wheel_slot slot = wheel_place(wheel, wheel_expiry(timer->deadline_ns));
        const bool placed = slot.level == level && slot.index == index;
        if (timer->next->prev != timer || timer->prev->next != timer ||
            (level != WHEEL_TOP && !placed) || slot.level < level) {
            return false;
        }
    }
    return true;
}

bool hpxi_wheel_is_valid(const hpxi_wheel *wheel)
{
    uint64_t count = 0;
    for (uint32_t level = 0; level < HPXI_WHEEL_LEVELS; level++) {
        for (uint32_t index = 0; index < HPXI_WHEEL_SLOTS; index++) {
            if (!wheel_slot_is_valid(wheel, level, index)) {
                return false;
            }
            const hpxi_timer *head = &wheel->slots[level][index];
            for (const hpxi_timer *timer = head->next; timer != head; timer = timer->next) {
                count++;
            }
        }
    }
    for (const hpxi_timer *timer = wheel->due.next; timer != &wheel->due; timer = timer->next) {
        count++;
    }
    return count == wheel->count;
}

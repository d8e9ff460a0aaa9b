/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel.h - hierarchical timer wheel: O(1) set and cancel, no allocation, no system call.
 *
 * Role      Holds the deadlines of a shard. Timers are members of their owners' structs. A timer
 *           fires once, at the first hpxi_wheel_advance() whose time is >= its deadline rounded up
 *           to a tick (2^16 ns, 65 us): never early, at most one tick plus the turn late.
 * Order     By tick; within a tick, in no promised order.
 * Threads   One thread. Inside a fire callback any timer may be set or cancelled, its own too.
 * Memory    The wheel is a fixed array; timers are the caller's and must not move while set.
 */
#ifndef HPXI_WHEEL_H
#define HPXI_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

typedef struct hpxi_timer hpxi_timer;
typedef void (*hpxi_timer_fn)(hpxi_timer *timer, uint64_t now_ns);

struct hpxi_timer {
    hpxi_timer *next; /* NULL while not set */
    hpxi_timer *prev;
    uint64_t deadline_ns;
    hpxi_timer_fn fire;
};

#define HPXI_WHEEL_LEVELS     6u
#define HPXI_WHEEL_SLOTS      64u
#define HPXI_WHEEL_TICK_SHIFT 16u /* one tick is 2^16 ns; 6 levels of 6 bits: about 52 days */

typedef struct hpxi_wheel {
    hpxi_timer slots[HPXI_WHEEL_LEVELS][HPXI_WHEEL_SLOTS]; /* list heads */
    hpxi_timer due;                       /* list head: what the budget of an advance left over */
    uint64_t occupied[HPXI_WHEEL_LEVELS]; /* bit per non-empty slot */
    uint64_t tick;                        /* all ticks before it are done */
    uint64_t count;                       /* timers set */
} hpxi_wheel;

void hpxi_wheel_init(hpxi_wheel *wheel, uint64_t now_ns);

/* Prepare a timer; required before its first use. */
static inline void hpxi_timer_init(hpxi_timer *timer, hpxi_timer_fn fire)
{
    *timer = (hpxi_timer){.fire = fire};
}

static inline bool hpxi_timer_is_set(const hpxi_timer *timer)
{
    return timer->next != (void *)0;
}

/* Set, or move if set. A deadline in the past fires at the next advance; deadlines beyond the
 * wheel's range are parked in its last slot and re-filed, so any uint64_t works. */
void hpxi_wheel_set(hpxi_wheel *wheel, hpxi_timer *timer, uint64_t deadline_ns);

/* Cancel; nothing if not set. */
void hpxi_wheel_cancel(hpxi_wheel *wheel, hpxi_timer *timer);

/* Fire what is due at now_ns (before an earlier call's: nothing is), at most `budget` timers; the
 * rest fires at the next call. Returns the number fired. Cheap when nothing is due. */
uint32_t hpxi_wheel_advance(hpxi_wheel *wheel, uint64_t now_ns, uint32_t budget);

/* When to advance next: never later than the first deadline rounded up to a tick, so that a sleep
 * until then makes no timer later than one tick. It may be sooner, when timers of a higher level
 * must be re-filed: at most HPXI_WHEEL_LEVELS times for a timer within the wheel's range.
 * UINT64_MAX when no timer is set. */
uint64_t hpxi_wheel_next(const hpxi_wheel *wheel);

/* The invariants, walked in O(slots + timers): for HPX_XASSERT and tests. */
bool hpxi_wheel_is_valid(const hpxi_wheel *wheel);

#endif /* HPXI_WHEEL_H */

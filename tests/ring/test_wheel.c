/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every timer fires exactly once, never early and at most one tick late, whatever is set and
 * cancelled inside callbacks, and whatever the clock reads at the start.
 * Method: random operations on a virtual clock. The reference is the list of deadlines: before each
 * advance it says which timers must fire in it; each callback looks itself up there. The clock
 * starts just before 2^31 and 2^32 ms, 2^63 ns, the end of the wheel's range and of uint64_t.
 */
#include <stdio.h>

#include "ring/wheel.h"
#include "tests/support/test.h"

#define TICK_NS   (UINT64_C(1) << HPXI_WHEEL_TICK_SHIFT)
#define MS_NS     UINT64_C(1000000)
#define S_NS      UINT64_C(1000000000)
#define RANGE_NS  (UINT64_C(1) << (HPXI_WHEEL_TICK_SHIFT + 6 * HPXI_WHEEL_LEVELS))
#define TIMERS    300
#define NO_BUDGET UINT32_MAX

/* A timer and what the reference knows of it. */
typedef struct probe {
    hpxi_timer timer; /* the first member: callbacks cast */
    bool set;
    bool expected; /* due in the advance that runs now */
    uint64_t fired;
} probe;

static hpxi_wheel wheel;
static probe probes[TIMERS];
static uint64_t time_ns;
static bool advancing;
static uint64_t seed;
static uint64_t last_effective; /* tick of the last timer fired in this advance */

static const uint64_t starts_ns[] = {
    0,
    (UINT64_C(1) << 31) * MS_NS - S_NS,
    (UINT64_C(1) << 32) * MS_NS - S_NS,
    (UINT64_C(1) << 63) - S_NS,
    RANGE_NS - S_NS,
    RANGE_NS * 63 / 64 - 1,
    12345678901234567,
    UINT64_MAX - 100 * RANGE_NS,
};

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* Any magnitude equally likely: 0 to 2^bits. */
static uint64_t random_span(unsigned bits)
{
    return random_next() >> (63 - random_next() % bits);
}

/* The tick whose start is the first at or after the deadline. */
static uint64_t due_tick(uint64_t deadline_ns)
{
    return deadline_ns / TICK_NS + (deadline_ns % TICK_NS != 0);
}

static uint64_t add_saturated(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

static uint64_t random_deadline(void)
{
    switch (random_next() % 16) {
    case 0:
        return UINT64_MAX;
    case 1: { /* past */
        const uint64_t back = random_span(40);
        return back < time_ns ? time_ns - back : 0;
    }
    case 2: /* on the edge of a tick, of a slot, of a level */
        return add_saturated(time_ns >> 22 << 22, UINT64_C(1) << (16 + random_next() % 40));
    default:
        return add_saturated(time_ns, random_span(random_next() % 64 == 0 ? 62 : 44));
    }
}

static void probe_set(probe *p, uint64_t deadline_ns)
{
    hpxi_wheel_set(&wheel, &p->timer, deadline_ns);
    p->set = true;
    p->expected = false; /* set anew, in the running advance too: not before the next */
    assert_true(hpxi_timer_is_set(&p->timer));
}

static void probe_cancel(probe *p)
{
    hpxi_wheel_cancel(&wheel, &p->timer);
    p->set = false;
    p->expected = false;
    assert_false(hpxi_timer_is_set(&p->timer));
}

/* What callbacks do to the wheel: own timer, other timers, set, moved and cancelled. */
static void probe_meddle(probe *p)
{
    probe *other = &probes[random_next() % TIMERS];
    switch (random_next() % 8) {
    case 0:
        probe_set(p, random_deadline());
        break;
    case 1:
        probe_set(p, time_ns); /* at once: but not in this advance */
        break;
    case 2:
        probe_cancel(p);
        break;
    case 3:
        probe_set(other, random_deadline());
        break;
    case 4:
        probe_cancel(other);
        break;
    case 5:
        probe_set(p, random_deadline());
        probe_cancel(p);
        break;
    default:
        break;
    }
}

static void probe_fire(hpxi_timer *timer, uint64_t now_ns)
{
    probe *p = (probe *)timer;
    assert_true(advancing);
    assert_int_equal(now_ns, time_ns);
    assert_false(hpxi_timer_is_set(timer));
    assert_true(p->set);
    assert_true(timer->deadline_ns <= now_ns); /* never early */
    assert_true(p->expected);                  /* never twice, never what was cancelled */
    p->set = false;
    p->expected = false;
    p->fired++;
    probe_meddle(p);
}

static void probe_fire_plain(hpxi_timer *timer, uint64_t now_ns)
{
    probe *p = (probe *)timer;
    assert_true(timer->deadline_ns <= now_ns);
    assert_true(due_tick(timer->deadline_ns) >= last_effective);
    last_effective = due_tick(timer->deadline_ns);
    p->fired++;
}

static void reset(uint64_t start_ns, hpxi_timer_fn fire)
{
    time_ns = start_ns;
    last_effective = 0;
    hpxi_wheel_init(&wheel, start_ns);
    assert_true(hpxi_wheel_is_valid(&wheel));
    for (size_t i = 0; i < TIMERS; i++) {
        probes[i] = (probe){.set = false};
        hpxi_timer_init(&probes[i].timer, fire);
        assert_false(hpxi_timer_is_set(&probes[i].timer));
    }
}

static void check_against_reference(void)
{
    uint64_t count = 0;
    uint64_t first_tick = UINT64_MAX;
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(hpxi_timer_is_set(&probes[i].timer), probes[i].set);
        if (probes[i].set) {
            const uint64_t tick = due_tick(probes[i].timer.deadline_ns);
            first_tick = tick < first_tick ? tick : first_tick;
            count++;
        }
    }
    assert_int_equal(wheel.count, count);
    assert_true(hpxi_wheel_is_valid(&wheel));
    const uint64_t next_ns = hpxi_wheel_next(&wheel);
    if (count == 0) {
        assert_int_equal(next_ns, UINT64_MAX);
    } else if (first_tick <= UINT64_MAX / TICK_NS) {
        const uint64_t now_floor_ns = time_ns / TICK_NS * TICK_NS;
        const uint64_t due_ns = first_tick * TICK_NS;
        assert_true(next_ns <= (due_ns > now_floor_ns ? due_ns : now_floor_ns));
        assert_true(next_ns >= now_floor_ns);
    }
}

/* One advance: all that is due fires, or `budget` of it. */
static void advance(uint32_t budget)
{
    uint64_t expected = 0;
    for (size_t i = 0; i < TIMERS; i++) {
        probe *p = &probes[i];
        p->expected = p->set && due_tick(p->timer.deadline_ns) <= time_ns / TICK_NS;
        expected += p->expected;
    }
    advancing = true;
    const uint32_t fired = hpxi_wheel_advance(&wheel, time_ns, budget);
    advancing = false;
    assert_true(fired <= budget);
    assert_true(fired <= expected);
    if (fired < budget) { /* at most a tick late: nothing that was due is left */
        for (size_t i = 0; i < TIMERS; i++) {
            assert_false(probes[i].expected);
        }
    }
}

static void run_random(uint64_t start_ns, uint64_t run_seed, int steps)
{
    reset(start_ns, probe_fire);
    seed = run_seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    for (int i = 0; i < steps; i++) {
        probe *p = &probes[random_next() % TIMERS];
        const uint64_t choice = random_next() % 16;
        if (choice < 7) {
            probe_set(p, random_deadline());
        } else if (choice < 9) {
            probe_cancel(p);
        } else {
            const unsigned bits = choice == 15 && random_next() % 32 == 0 ? 53 : 30;
            time_ns = add_saturated(time_ns, random_span(bits));
            advance(random_next() % 4 == 0 ? (uint32_t)(random_next() % 8) : NO_BUDGET);
        }
        if (i % 16 == 0) {
            check_against_reference();
        }
    }
}

static void test_wheel_when_random_then_as_reference(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(starts_ns); i++) {
        for (uint64_t run_seed = 1; run_seed <= 4; run_seed++) {
            run_random(starts_ns[i], run_seed, 20000);
        }
    }
}

/* The owner sleeps until hpxi_wheel_next(): every timer in time, and no more wake-ups than levels.
 */
static void run_sleeper(uint64_t start_ns, unsigned bits)
{
    reset(start_ns, probe_fire_plain);
    for (size_t i = 0; i < TIMERS; i++) {
        hpxi_wheel_set(&wheel, &probes[i].timer, add_saturated(start_ns, random_span(bits)));
    }
    uint64_t wakes = 0;
    while (wheel.count != 0) {
        const uint64_t next_ns = hpxi_wheel_next(&wheel);
        assert_true(next_ns != UINT64_MAX);
        assert_true(next_ns >= time_ns / TICK_NS * TICK_NS);
        for (size_t i = 0; i < TIMERS; i++) {
            const probe *p = &probes[i];
            assert_true(p->fired != 0 || next_ns <= p->timer.deadline_ns + TICK_NS);
        }
        time_ns = next_ns > time_ns ? next_ns : time_ns;
        hpxi_wheel_advance(&wheel, time_ns, NO_BUDGET);
        wakes++;
    }
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(probes[i].fired, 1);
    }
    assert_true(wakes / TIMERS <= HPXI_WHEEL_LEVELS);
}

static void test_wheel_next_when_slept_until_then_in_time(void **state)
{
    (void)state;
    seed = 77;
    for (size_t i = 0; i < COUNT_OF(starts_ns); i++) {
        for (unsigned bits = 1; bits <= 52; bits += 3) {
            run_sleeper(starts_ns[i], bits);
        }
    }
}

static void test_wheel_next_when_nothing_set_then_never(void **state)
{
    (void)state;
    reset(5, probe_fire_plain);
    assert_int_equal(hpxi_wheel_next(&wheel), UINT64_MAX);
    assert_int_equal(hpxi_wheel_advance(&wheel, UINT64_MAX, NO_BUDGET), 0);
    assert_int_equal(hpxi_wheel_next(&wheel), UINT64_MAX);
}

/* Each tick on its own: the exact advance in which a timer fires. */
static void test_wheel_when_every_tick_then_fires_in_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(starts_ns); i++) {
        reset(starts_ns[i], probe_fire_plain);
        seed = i + 1;
        for (size_t t = 0; t < TIMERS; t++) {
            hpxi_wheel_set(&wheel, &probes[t].timer, time_ns + random_next() % (9000 * TICK_NS));
        }
        for (int tick = 0; tick <= 9001; tick++, time_ns += TICK_NS) {
            hpxi_wheel_advance(&wheel, time_ns, NO_BUDGET);
            for (size_t t = 0; t < TIMERS; t++) {
                const uint64_t deadline_ns = probes[t].timer.deadline_ns;
                assert_true(probes[t].fired == 0 || deadline_ns <= time_ns);
                assert_true(probes[t].fired == 1 || deadline_ns + TICK_NS > time_ns);
            }
        }
        assert_int_equal(wheel.count, 0);
    }
}

static void test_wheel_when_deadline_is_beyond_range_then_in_time(void **state)
{
    (void)state;
    const uint64_t spans_ns[] = {
        RANGE_NS - 1, RANGE_NS, RANGE_NS + 1, 2 * RANGE_NS, 63 * RANGE_NS, 90 * RANGE_NS + 12345};
    for (size_t s = 0; s < COUNT_OF(starts_ns); s++) {
        for (size_t i = 0; i < COUNT_OF(spans_ns); i++) {
            reset(starts_ns[s], probe_fire_plain);
            const uint64_t deadline_ns = starts_ns[s] + spans_ns[i];
            hpxi_wheel_set(&wheel, &probes[0].timer, deadline_ns);
            while (probes[0].fired == 0) {
                const uint64_t next_ns = hpxi_wheel_next(&wheel);
                assert_true(next_ns <= deadline_ns + TICK_NS);
                assert_true(next_ns > time_ns); /* progress: it cannot spin */
                time_ns = next_ns;
                hpxi_wheel_advance(&wheel, time_ns, NO_BUDGET);
            }
            /* And in one jump, as after a long stop of the process. */
            reset(starts_ns[s], probe_fire_plain);
            hpxi_wheel_set(&wheel, &probes[0].timer, deadline_ns);
            assert_int_equal(hpxi_wheel_advance(&wheel, deadline_ns - 1, NO_BUDGET), 0);
            assert_int_equal(hpxi_wheel_advance(&wheel, deadline_ns + TICK_NS, NO_BUDGET), 1);
        }
    }
}

static void test_wheel_when_deadline_is_never_then_never(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT_OF(starts_ns); s++) {
        reset(starts_ns[s], probe_fire_plain);
        hpxi_wheel_set(&wheel, &probes[0].timer, UINT64_MAX);
        hpxi_wheel_set(&wheel, &probes[1].timer, starts_ns[s] + S_NS);
        assert_int_equal(hpxi_wheel_advance(&wheel, UINT64_MAX - 1, NO_BUDGET), 1);
        assert_int_equal(hpxi_wheel_advance(&wheel, UINT64_MAX, NO_BUDGET), 0);
        assert_int_equal(probes[1].fired, 1);
        assert_int_equal(hpxi_wheel_next(&wheel), UINT64_MAX);
        hpxi_wheel_cancel(&wheel, &probes[0].timer);
        assert_int_equal(wheel.count, 0);
    }
}

static void test_wheel_advance_when_process_was_stopped_then_each_fires_once(void **state)
{
    (void)state;
    reset(starts_ns[3], probe_fire_plain);
    seed = 3;
    for (size_t i = 0; i < TIMERS; i++) {
        hpxi_wheel_set(&wheel, &probes[i].timer, time_ns + random_span(36));
    }
    time_ns += 100 * S_NS;
    assert_int_equal(hpxi_wheel_advance(&wheel, time_ns, NO_BUDGET), TIMERS);
    assert_int_equal(hpxi_wheel_advance(&wheel, time_ns, NO_BUDGET), 0);
    for (size_t i = 0; i < TIMERS; i++) {
        assert_int_equal(probes[i].fired, 1); /* and in order: probe_fire_plain() looks */
    }
}

static void test_wheel_advance_when_budget_is_spent_then_rest_next_time(void **state)
{
    (void)state;
    reset(0, probe_fire_plain);
    for (size_t i = 0; i < TIMERS; i++) {
        hpxi_wheel_set(&wheel, &probes[i].timer, i / 10 * TICK_NS);
    }
    time_ns = TIMERS * TICK_NS;
    assert_int_equal(hpxi_wheel_advance(&wheel, time_ns, 0), 0);
    assert_true(hpxi_wheel_next(&wheel) <= time_ns); /* what is left over is due now */
    for (size_t left = TIMERS; left != 0; left -= 7) {
        const uint32_t budget = 7;
        const uint32_t fired = hpxi_wheel_advance(&wheel, time_ns, budget);
        assert_int_equal(fired, left < budget ? left : budget);
        assert_true(hpxi_wheel_is_valid(&wheel));
        if (left <= budget) {
            break;
        }
        assert_true(hpxi_wheel_next(&wheel) <= time_ns);
    }
    assert_int_equal(wheel.count, 0);

    /* What the budget left over can still be moved and cancelled. */
    hpxi_wheel_set(&wheel, &probes[0].timer, 0);
    hpxi_wheel_set(&wheel, &probes[1].timer, 0);
    hpxi_wheel_set(&wheel, &probes[2].timer, 0);
    last_effective = 0;
    assert_int_equal(hpxi_wheel_advance(&wheel, time_ns, 0), 0);
    hpxi_wheel_cancel(&wheel, &probes[0].timer);
    hpxi_wheel_set(&wheel, &probes[1].timer, time_ns + S_NS);
    assert_int_equal(hpxi_wheel_advance(&wheel, time_ns, NO_BUDGET), 1);
    assert_int_equal(probes[0].fired, 1);
    assert_int_equal(probes[1].fired, 1);
    assert_int_equal(probes[2].fired, 2);
    assert_int_equal(hpxi_wheel_advance(&wheel, time_ns + 2 * S_NS, NO_BUDGET), 1);
}

/* Sets itself into the past, always: one firing per advance, not an endless one. */
static void fire_again(hpxi_timer *timer, uint64_t now_ns)
{
    ((probe *)timer)->fired++;
    hpxi_wheel_set(&wheel, timer, now_ns - now_ns % 3);
}

static void test_wheel_advance_when_callback_sets_past_then_next_time(void **state)
{
    (void)state;
    reset(S_NS, fire_again);
    hpxi_wheel_set(&wheel, &probes[0].timer, 0);
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_int_equal(hpxi_wheel_advance(&wheel, time_ns, NO_BUDGET), 1);
        assert_int_equal(probes[0].fired, i);
        time_ns += i % 2 == 0 ? TICK_NS : 0; /* the same time twice, then the next tick */
        /* now_ns - 1 or - 2, rounded up, is the next tick at the latest. */
        while (hpxi_wheel_next(&wheel) > time_ns) {
            time_ns = hpxi_wheel_next(&wheel);
        }
    }
}

static void test_wheel_advance_when_time_goes_back_then_nothing_fires(void **state)
{
    (void)state;
    reset(10 * S_NS, probe_fire_plain);
    hpxi_wheel_set(&wheel, &probes[0].timer, 10 * S_NS - 5);
    hpxi_wheel_set(&wheel, &probes[1].timer, 11 * S_NS);
    assert_int_equal(hpxi_wheel_advance(&wheel, 9 * S_NS, NO_BUDGET), 0);
    assert_true(hpxi_wheel_is_valid(&wheel));
    assert_int_equal(hpxi_wheel_advance(&wheel, 10 * S_NS + TICK_NS, NO_BUDGET), 1);
    assert_int_equal(hpxi_wheel_advance(&wheel, 12 * S_NS, NO_BUDGET), 1);
}

static void test_wheel_cancel_when_not_set_then_nothing(void **state)
{
    (void)state;
    reset(0, probe_fire_plain);
    hpxi_wheel_cancel(&wheel, &probes[0].timer);
    hpxi_wheel_set(&wheel, &probes[0].timer, 1);
    hpxi_wheel_cancel(&wheel, &probes[0].timer);
    hpxi_wheel_cancel(&wheel, &probes[0].timer);
    assert_int_equal(wheel.count, 0);
    assert_int_equal(hpxi_wheel_next(&wheel), UINT64_MAX); /* no bit of a slot left behind */
    assert_int_equal(hpxi_wheel_advance(&wheel, S_NS, NO_BUDGET), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel_when_random_then_as_reference),
        cmocka_unit_test(test_wheel_next_when_slept_until_then_in_time),
        cmocka_unit_test(test_wheel_next_when_nothing_set_then_never),
        cmocka_unit_test(test_wheel_when_every_tick_then_fires_in_its_own),
        cmocka_unit_test(test_wheel_when_deadline_is_beyond_range_then_in_time),
        cmocka_unit_test(test_wheel_when_deadline_is_never_then_never),
        cmocka_unit_test(test_wheel_advance_when_process_was_stopped_then_each_fires_once),
        cmocka_unit_test(test_wheel_advance_when_budget_is_spent_then_rest_next_time),
        cmocka_unit_test(test_wheel_advance_when_callback_sets_past_then_next_time),
        cmocka_unit_test(test_wheel_advance_when_time_goes_back_then_nothing_fires),
        cmocka_unit_test(test_wheel_cancel_when_not_set_then_nothing),
    };
    return cmocka_run_group_tests_name("ring/wheel", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* bench_time.c - see bench_time.h. */
#include "bench/ring/bench_time.h"

#include <stdlib.h>

#include <hpx/base.h>

#include "ring/clock.h"
#include "ring/wheel.h"

#define MINUTE_NS (60 * HPX_NS_PER_S)
#define DEADLINES 4096u /* drawn beforehand: drawing them is not what is measured */
#define START_NS  UINT64_C(123456789012345)

struct bench_wheel {
    hpxi_wheel wheel;
    uint64_t now_ns;
    uint64_t spans_ns[DEADLINES];
    uint32_t timers_count;
    hpxi_timer extra;
    hpxi_timer timers[];
};

static bench_wheel *current; /* for the callback: a timer knows only itself */

static void fire(hpxi_timer *timer, uint64_t now_ns)
{
    hpxi_wheel_set(&current->wheel, timer, now_ns + MINUTE_NS);
}

bench_wheel *bench_wheel_new(uint32_t timers)
{
    bench_wheel *bench = malloc(sizeof(*bench) + timers * sizeof(hpxi_timer));
    if (bench == NULL) {
        return NULL;
    }
    current = bench;
    bench->now_ns = START_NS;
    bench->timers_count = timers;
    hpxi_wheel_init(&bench->wheel, bench->now_ns);
    uint64_t x = 88172645463325252u;
    for (uint32_t i = 0; i < DEADLINES; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bench->spans_ns[i] = x % MINUTE_NS;
    }
    hpxi_timer_init(&bench->extra, fire);
    for (uint32_t i = 0; i < timers; i++) {
        hpxi_timer_init(&bench->timers[i], fire);
        hpxi_wheel_set(
            &bench->wheel, &bench->timers[i], bench->now_ns + bench->spans_ns[i % DEADLINES]);
    }
    return bench;
}

void bench_wheel_free(bench_wheel *bench)
{
    free(bench);
}

void bench_wheel_set_cancel(bench_wheel *bench, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        hpxi_wheel_set(
            &bench->wheel, &bench->extra, bench->now_ns + bench->spans_ns[i % DEADLINES]);
        hpxi_wheel_cancel(&bench->wheel, &bench->extra);
    }
}

void bench_wheel_move(bench_wheel *bench, uint32_t count)
{
    uint32_t at = 0;
    for (uint32_t i = 0; i < count; i++) {
        hpxi_wheel_set(
            &bench->wheel, &bench->timers[at], bench->now_ns + bench->spans_ns[i % DEADLINES]);
        at = at + 1 == bench->timers_count ? 0 : at + 1;
    }
}

uint64_t bench_wheel_advance(bench_wheel *bench, uint32_t count, uint64_t step_ns)
{
    uint64_t fired = 0;
    for (uint32_t i = 0; i < count; i++) {
        bench->now_ns += step_ns;
        fired += hpxi_wheel_advance(&bench->wheel, bench->now_ns, UINT32_MAX);
    }
    return fired;
}

uint64_t bench_clock_tsc(uint32_t count)
{
    hpxi_clock clock;
    hpxi_clock_init(&clock);
    uint64_t last_ns = 0;
    for (uint32_t i = 0; i < count; i++) {
        last_ns = hpxi_clock_now(&clock);
    }
    return last_ns;
}

uint64_t bench_clock_gettime(uint32_t count)
{
    uint64_t last_ns = 0;
    for (uint32_t i = 0; i < count; i++) {
        last_ns = hpx_clock_now_ns();
    }
    return last_ns;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clock.c - time from the TSC, tied to CLOCK_MONOTONIC.
 *
 * Role      One calibration per process gives the first ratio of nanoseconds to TSC ticks. Each
 *           clock then re-anchors about once a second and takes the ratio of that whole second,
 *           which is some hundred times more precise, and follows the slewing of CLOCK_MONOTONIC.
 * Error     Before the first re-anchor, the calibration's: tens of microseconds at most. Then below
 *           a microsecond. A suspended or stopped process re-anchors at its first reading.
 * Threads   hpxi_clock: its own thread. hpx_clock_now_ns(): any.
 */
#include "ring/clock.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

#include <hpx/base.h>

#include "ring/assert.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <fcntl.h>
#include <unistd.h>
#include <x86intrin.h>
#endif

#define CLOCK_CALIBRATE_NS  (2 * HPX_NS_PER_MS)
#define CLOCK_PAIR_ATTEMPTS 5
#define CLOCK_RATIO_SLACK   100 /* a new ratio may differ from the first by 1/100 */

/* Written once, under clock_once. 0: this machine's TSC is no clock. */
static uint64_t clock_tsc_hz;
static pthread_once_t clock_once = PTHREAD_ONCE_INIT;

typedef struct clock_pair {
    uint64_t tsc;
    uint64_t ns;
} clock_pair;

uint64_t hpx_clock_now_ns(void)
{
    struct timespec now;
    const int err = clock_gettime(CLOCK_MONOTONIC, &now);
    HPX_ASSERT(err == 0);
    return (uint64_t)now.tv_sec * HPX_NS_PER_S + (uint64_t)now.tv_nsec;
}

#if defined(__x86_64__)

static inline uint64_t clock_read_tsc(void)
{
    return __rdtsc();
}

/* Does the TSC tick at one rate in all power states, and does the kernel think so too? */
static bool clock_tsc_is_usable(void)
{
    unsigned eax, ebx, ecx, edx;
    if (__get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx) == 0 || (edx & (1u << 8)) == 0) {
        return false;
    }
    /* A kernel that found the TSC unstable has gone over to one of these. */
    static const char *const refuges[] = {"hpet", "acpi_pm", "jiffies", "refined-jiffies"};
    char name[64] = {0};
    const int fd = open(
        "/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return true; /* no sysfs in this container: the processor's word has to do */
    }
    const ssize_t size = read(fd, name, sizeof(name) - 1);
    close(fd);
    name[size > 0 ? (size_t)size : 0] = '\0';
    name[strcspn(name, "\n")] = '\0';
    for (size_t i = 0; i < sizeof(refuges) / sizeof(refuges[0]); i++) {
        if (strcmp(name, refuges[i]) == 0) {
            return false;
        }
    }
    return true;
}

#else

static inline uint64_t clock_read_tsc(void)
{
    return 0;
}

static bool clock_tsc_is_usable(void)
{
    return false;
}

#endif

/* Both clocks at one instant: of a few readings the tightest, so that a preemption between the two
 * does not count. */
static clock_pair clock_read_pair(void)
{
    clock_pair best = {0};
    uint64_t best_width = UINT64_MAX;
    for (int i = 0; i < CLOCK_PAIR_ATTEMPTS; i++) {
        const uint64_t before = clock_read_tsc();
        const uint64_t ns = hpx_clock_now_ns();
        const uint64_t width = clock_read_tsc() - before;
        if (width < best_width) {
            best_width = width;
            best = (clock_pair){.tsc = before + width / 2, .ns = ns};
        }
    }
    return best;
}

static void clock_calibrate(void)
{
    if (!clock_tsc_is_usable()) {
        return;
    }
    const clock_pair first = clock_read_pair();
    clock_pair last;
    do {
        last = clock_read_pair();
    } while (last.ns - first.ns < CLOCK_CALIBRATE_NS);
    if (last.tsc <= first.tsc) {
        return;
    }
    const double seconds = (double)(last.ns - first.ns) / (double)HPX_NS_PER_S;
    clock_tsc_hz = (uint64_t)((double)(last.tsc - first.tsc) / seconds);
}

/* 2^32 * ns / ticks */
static uint64_t clock_ratio(uint64_t ns, uint64_t ticks)
{
    HPX_DASSERT(ticks != 0);
    return (uint64_t)((double)ns / (double)ticks * 0x1p32);
}

void hpxi_clock_init(hpxi_clock *clock)
{
    const int err = pthread_once(&clock_once, clock_calibrate);
    HPX_ASSERT(err == 0);
    *clock = (hpxi_clock){.use_tsc = clock_tsc_hz != 0};
    const clock_pair now = clock_read_pair();
    clock->anchor_tsc = now.tsc;
    clock->anchor_ns = now.ns;
    clock->last_ns = now.ns;
    if (clock->use_tsc) {
        clock->mult = clock_ratio(HPX_NS_PER_S, clock_tsc_hz);
        /* At most one second of ticks is ever multiplied: 10^9 * 2^32 < 2^64 at any frequency. */
        clock->reanchor_tsc = clock_tsc_hz;
    }
}

/* The slow path: once a second, after a stop of the process, or if the TSC jumped. */
static uint64_t clock_reanchor(hpxi_clock *clock)
{
    const clock_pair now = clock_read_pair();
    const uint64_t ticks = now.tsc - clock->anchor_tsc;
    const uint64_t ns = now.ns - clock->anchor_ns;
    HPX_DASSERT(now.ns >= clock->anchor_ns);
    if (now.tsc > clock->anchor_tsc && ticks >= clock->reanchor_tsc) {
        const uint64_t first = clock_ratio(HPX_NS_PER_S, clock_tsc_hz);
        const uint64_t mult = clock_ratio(ns, ticks);
        const uint64_t slack = first / CLOCK_RATIO_SLACK;
        if (mult > first - slack && mult < first + slack) {
            clock->mult = mult; /* else the TSC jumped (a migrated guest): keep the old ratio */
        }
    }
    clock->anchor_tsc = now.tsc;
    clock->anchor_ns = now.ns;
    return now.ns;
}

uint64_t hpxi_clock_now(hpxi_clock *clock)
{
    uint64_t now_ns;
    if (HPXI_LIKELY(clock->use_tsc)) {
        const uint64_t ticks = clock_read_tsc() - clock->anchor_tsc;
        if (HPXI_LIKELY(ticks <= clock->reanchor_tsc)) {
            now_ns = clock->anchor_ns + (ticks * clock->mult >> 32);
        } else {
            now_ns = clock_reanchor(clock);
        }
    } else {
        now_ns = hpx_clock_now_ns();
    }
    /* A new anchor may lie a little behind the old line: wait there rather than go back. */
    if (HPXI_LIKELY(now_ns > clock->last_ns)) {
        clock->last_ns = now_ns;
    }
    return clock->last_ns;
}

int64_t hpxi_clock_utc_s(void)
{
    struct timespec now;
    const int err = clock_gettime(CLOCK_REALTIME_COARSE, &now);
    HPX_ASSERT(err == 0);
    return now.tv_sec;
}

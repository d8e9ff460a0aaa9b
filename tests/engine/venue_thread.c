/* SPDX-License-Identifier: Apache-2.0 */
/* venue_thread.c - turns the bed's shard until told to stop. */
#include "venue_thread.h"

#include <stdio.h>
#include <time.h>

#include "tests/support/test.h"

#define VENUE_DEADLINE_NS (30 * HPX_NS_PER_S)

static void venue_thread_nap(void)
{
    const struct timespec nap = {.tv_nsec = 100000};
    (void)nanosleep(&nap, NULL);
}

static void *venue_thread_run(void *arg)
{
    venue_thread *host = arg;
    session_bed_open(&host->bed);
    atomic_store(&host->up, true);
    while (!atomic_load(&host->stop)) {
        (void)pthread_mutex_lock(&host->lock);
        if (host->call != NULL) {
            host->call(&host->bed.venue, host->call_arg);
            host->call = NULL;
        }
        while (hpx_shard_poll(host->bed.shard) > 0) {
        }
        (void)pthread_mutex_unlock(&host->lock);
        venue_thread_nap();
    }
    session_bed_close(&host->bed);
    return NULL;
}

void venue_thread_open(venue_thread *host)
{
    host->call = NULL;
    atomic_init(&host->up, false);
    atomic_init(&host->stop, false);
    assert_int_equal(pthread_mutex_init(&host->lock, NULL), 0);
    assert_int_equal(pthread_create(&host->thread, NULL, venue_thread_run, host), 0);
    while (!atomic_load(&host->up)) {
        venue_thread_nap();
    }
}

void venue_thread_close(venue_thread *host)
{
    atomic_store(&host->stop, true);
    assert_int_equal(pthread_join(host->thread, NULL), 0);
    (void)pthread_mutex_destroy(&host->lock);
}

venue *venue_lock(venue_thread *host)
{
    (void)pthread_mutex_lock(&host->lock);
    return &host->bed.venue;
}

void venue_unlock(venue_thread *host)
{
    (void)pthread_mutex_unlock(&host->lock);
}

void venue_thread_call(venue_thread *host, void (*call)(venue *venue, void *arg), void *arg)
{
    const uint64_t until = hpx_clock_now_ns() + VENUE_DEADLINE_NS;
    (void)venue_lock(host);
    host->call = call;
    host->call_arg = arg;
    while (host->call != NULL) {
        venue_unlock(host);
        venue_thread_nap();
        if (hpx_clock_now_ns() > until) {
            fail_msg("the venue's thread does not answer");
        }
        (void)venue_lock(host);
    }
    venue_unlock(host);
}

static void call_say(venue *v, void *arg)
{
    venue_say(v, "%s", (const char *)arg);
}

void venue_thread_say(venue_thread *host, const char *text)
{
    char copy[4096];
    (void)snprintf(copy, sizeof(copy), "%s", text);
    venue_thread_call(host, call_say, copy);
}

static void call_drop(venue *v, void *arg)
{
    (void)arg;
    venue_drop(v);
}

void venue_thread_drop(venue_thread *host)
{
    venue_thread_call(host, call_drop, NULL);
}

void venue_thread_until(venue_thread *host, const uint32_t *count, uint32_t least)
{
    const uint64_t until = hpx_clock_now_ns() + VENUE_DEADLINE_NS;
    for (uint32_t now = 0; now < least;) {
        (void)venue_lock(host);
        now = *count;
        venue_unlock(host);
        if (hpx_clock_now_ns() > until) {
            fail_msg("only %u of %u happened", now, least);
        }
        venue_thread_nap();
    }
}

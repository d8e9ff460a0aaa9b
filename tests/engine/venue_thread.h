/* SPDX-License-Identifier: Apache-2.0 */
/*
 * venue_thread.h - the venue of session_bed.h on a thread of its own, for tests whose calls block.
 *
 * Threads   The test's thread touches the bed between venue_lock() and venue_unlock(), while the
 *           venue stands still.
 */
#ifndef HPX_TESTS_VENUE_THREAD_H
#define HPX_TESTS_VENUE_THREAD_H

#include <pthread.h>
#include <stdatomic.h>

#include "session_bed.h"

typedef struct venue_thread {
    session_bed bed;
    pthread_t thread;
    pthread_mutex_t lock;
    _Atomic bool up;
    _Atomic bool stop;
    void (*call)(venue *venue, void *arg); /* to be run by the thread; NULL: none */
    void *call_arg;
} venue_thread;

void venue_thread_open(venue_thread *host);
void venue_thread_close(venue_thread *host);

venue *venue_lock(venue_thread *host);
void venue_unlock(venue_thread *host);

/* Run a function on the venue's thread, between two turns: what sends must. */
void venue_thread_call(venue_thread *host, void (*call)(venue *venue, void *arg), void *arg);

/* venue_say() and venue_drop(), on the venue's thread. */
void venue_thread_say(venue_thread *host, const char *text);
void venue_thread_drop(venue_thread *host);

/* Waits until the counter of the venue is at least `least`; fails the test at its deadline. */
void venue_thread_until(venue_thread *host, const uint32_t *count, uint32_t least);

#endif /* HPX_TESTS_VENUE_THREAD_H */

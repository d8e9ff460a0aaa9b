/* SPDX-License-Identifier: Apache-2.0 */
/*
 * observed.h - what the exchange has seen, for tests: counts, and how often each id and label came.
 *
 * Threads   The exchange's. Memory: one table of about 1 MiB while it observes, none else.
 */
#ifndef HPX_TOOL_OBSERVED_H
#define HPX_TOOL_OBSERVED_H

#include <stdbool.h>
#include <stdint.h>

typedef struct observed {
    uint64_t connections; /* accepted so far, controllers too */
    uint64_t refused;     /* upgrades */
    uint64_t requests;
    uint64_t subscribe_messages, subscribe_topics; /* as asked for, known or not */
    uint64_t unsubscribe_messages, unsubscribe_topics;
    uint64_t unauthenticated; /* refused for want of public/auth */
    struct observed_entry *entries;
    uint32_t entry_count;
    uint64_t forgotten; /* ids and labels that found no room */
} observed;

/* False: no memory. */
bool observed_open(observed *o);
void observed_close(observed *o);

/* A name of kind 'i' (id) or 'l' (label) came once more. No-op unless open. */
void observed_add(observed *o, char kind, const char *name);

/* How often it came. */
uint32_t observed_count(const observed *o, char kind, const char *name);

#endif /* HPX_TOOL_OBSERVED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* observed.c - a table of counts by the hash of a name: open addressing, never shrinks. */
#include "observed.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define OBSERVED_ENTRIES 65536u /* a power of two; three quarters of them are used at most */

typedef struct observed_entry {
    uint64_t hash; /* 0: free */
    uint32_t count;
} observed_entry;

bool observed_open(observed *o)
{
    assert(o->entries == NULL);
    o->entries = calloc(OBSERVED_ENTRIES, sizeof(*o->entries));
    return o->entries != NULL;
}

void observed_close(observed *o)
{
    free(o->entries);
    *o = (observed){0};
}

/* FNV-1a of kind and name; never 0. */
static uint64_t observed_hash(char kind, const char *name)
{
    uint64_t hash = (UINT64_C(0xCBF29CE484222325) ^ (uint8_t)kind) * UINT64_C(0x100000001B3);
    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)*name) * UINT64_C(0x100000001B3);
    }
    return hash != 0 ? hash : 1;
}

/* The name's entry, or the free one where it would go. */
static observed_entry *observed_find(const observed *o, uint64_t hash)
{
    uint32_t at = (uint32_t)hash % OBSERVED_ENTRIES;
    while (o->entries[at].hash != 0 && o->entries[at].hash != hash) {
        at = (at + 1) % OBSERVED_ENTRIES;
    }
    return &o->entries[at];
}

void observed_add(observed *o, char kind, const char *name)
{
    if (o->entries == NULL) {
        return;
    }
    const uint64_t hash = observed_hash(kind, name);
    observed_entry *entry = observed_find(o, hash);
    if (entry->hash == 0) {
        if (o->entry_count == OBSERVED_ENTRIES / 4 * 3) {
            o->forgotten++;
            return;
        }
        entry->hash = hash;
        o->entry_count++;
    }
    entry->count++;
}

uint32_t observed_count(const observed *o, char kind, const char *name)
{
    return o->entries == NULL ? 0 : observed_find(o, observed_hash(kind, name))->count;
}

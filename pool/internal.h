/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - lists of keys, shared by key.c and pool.c. */
#ifndef HPXI_POOL_INTERNAL_H
#define HPXI_POOL_INTERNAL_H

#include "pool/pool.h"

static inline void hpxi_pool_keys_append(hpxi_pool_keys *list, hpxi_pool_key *key)
{
    key->next = NULL;
    key->prev = list->last;
    if (list->last != NULL) {
        list->last->next = key;
    } else {
        list->first = key;
    }
    list->last = key;
}

static inline void hpxi_pool_keys_remove(hpxi_pool_keys *list, hpxi_pool_key *key)
{
    *(key->prev != NULL ? &key->prev->next : &list->first) = key->next;
    *(key->next != NULL ? &key->next->prev : &list->last) = key->prev;
    key->next = NULL;
    key->prev = NULL;
}

/* All keys are unused: frees them (key.c). */
void hpxi_pool_keys_free(hpxi_pool *pool);

#endif /* HPXI_POOL_INTERNAL_H */

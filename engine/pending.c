/* SPDX-License-Identifier: Apache-2.0 */
/* pending.c - the slab of requests in flight, and the table of ids that the application chose. */
#include "engine/pending.h"

#include <string.h>

#include "ring/assert.h"

#define PENDING_SLOT_MASK ((UINT64_C(1) << HPXI_PENDING_SLOT_BITS) - 1)

static bool pending_is_own(hpxi_pending_kind kind)
{
    return kind != HPXI_PENDING_APP;
}

hpx_status hpxi_pending_init(
    hpxi_pending *pending, uint32_t app_max, void *owner, const hpx_allocator *allocator)
{
    HPX_ASSERT(app_max >= 1);
    HPX_ASSERT(app_max + HPXI_PENDING_OWN <= PENDING_SLOT_MASK);
    *pending = (hpxi_pending){
        .allocator = allocator,
        .owner = owner,
        .capacity = app_max + HPXI_PENDING_OWN,
        .own_free = HPXI_PENDING_OWN,
        .app_free = app_max,
    };
    /* Not zeroed: pages are touched when concurrency first reaches them. */
    pending->slots = hpxi_alloc(
        allocator, pending->capacity * sizeof(pending->slots[0]), _Alignof(hpxi_request));
    if (pending->slots == NULL) {
        return HPX_E_NO_MEMORY;
    }
    return HPX_OK;
}

void hpxi_pending_fini(hpxi_pending *pending)
{
    HPX_ASSERT(pending->live == NULL);
    if (pending->raw != NULL) {
        hpxi_free(
            pending->allocator, pending->raw, (pending->raw_mask + 1) * sizeof(pending->raw[0]));
    }
    if (pending->slots != NULL) {
        hpxi_free(
            pending->allocator, pending->slots, pending->capacity * sizeof(pending->slots[0]));
    }
    *pending = (hpxi_pending){0};
}

hpxi_request *hpxi_pending_take(hpxi_pending *pending, hpxi_pending_kind kind, hpxi_timer_fn fire)
{
    HPX_ASSERT(kind != HPXI_PENDING_FREE);
    uint32_t *left = pending_is_own(kind) ? &pending->own_free : &pending->app_free;
    const uint32_t keep =
        kind == HPXI_PENDING_QUIET ? HPXI_PENDING_OWN - HPXI_PENDING_QUIET_MAX : 0;
    if (*left <= keep) {
        return NULL;
    }
    (*left)--;
    hpxi_request *request = pending->free;
    uint32_t index;
    if (request != NULL) {
        pending->free = request->next;
        index = request->index;
    } else {
        HPX_ASSERT(pending->touched < pending->capacity);
        index = pending->touched++;
        request = &pending->slots[index];
    }
    pending->sequence++;
    *request = (hpxi_request){
        .table = pending,
        .id = pending->sequence << HPXI_PENDING_SLOT_BITS | index,
        .index = index,
        .kind = kind,
        .next = pending->live,
    };
    hpxi_timer_init(&request->timer, fire);
    if (pending->live != NULL) {
        pending->live->prev = request;
    }
    pending->live = request;
    return request;
}

/* ---- Ids of the application ------------------------------------------------------------------ */

static uint64_t pending_hash_text(hpx_span text)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < text.size; i++) {
        hash = (hash ^ text.data[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

/* Numbers that an application counts up would cluster: spread them. */
static uint32_t pending_bucket(const hpxi_pending *pending, uint64_t key)
{
    return (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & pending->raw_mask;
}

static uint64_t pending_key(const hpx_request_id *id)
{
    return id->kind == HPX_ID_NUMBER ? id->number : pending_hash_text(id->text);
}

static bool pending_raw_is(const hpxi_request *request, const hpx_request_id *id, uint64_t key)
{
    return request->raw_kind == id->kind && request->raw_number == key &&
           (id->kind == HPX_ID_NUMBER ||
            (request->raw_bytes == id->text.size &&
             memcmp(request->raw_text, id->text.data, id->text.size) == 0));
}

/* The bucket that holds the id, or UINT32_MAX. */
static uint32_t pending_raw_at(const hpxi_pending *pending, const hpx_request_id *id)
{
    const uint64_t key = pending_key(id);
    for (uint32_t at = pending_bucket(pending, key);; at = (at + 1) & pending->raw_mask) {
        const uint32_t entry = pending->raw[at];
        if (entry == 0) {
            return UINT32_MAX; /* at most half of the buckets are in use */
        }
        if (pending_raw_is(&pending->slots[entry - 1], id, key)) {
            return at;
        }
    }
}

static hpx_status pending_raw_make(hpxi_pending *pending)
{
    uint32_t buckets = 16;
    while (buckets < 2 * pending->capacity) {
        buckets *= 2;
    }
    pending->raw =
        hpxi_alloc_zero(pending->allocator, buckets * sizeof(uint32_t), _Alignof(uint32_t));
    pending->raw_mask = buckets - 1;
    return pending->raw != NULL ? HPX_OK : HPX_E_NO_MEMORY;
}

hpx_status
hpxi_pending_set_raw(hpxi_pending *pending, hpxi_request *request, const hpx_request_id *id)
{
    HPX_ASSERT(request->kind == HPXI_PENDING_APP);
    HPX_ASSERT(!request->is_raw);
    if ((id->kind != HPX_ID_NUMBER && id->kind != HPX_ID_TEXT) ||
        (id->kind == HPX_ID_TEXT && (id->text.size == 0 || id->text.size > HPX_REQUEST_ID_BYTES))) {
        return HPX_E_INVALID;
    }
    if (pending->raw == NULL && pending_raw_make(pending) != HPX_OK) {
        return HPX_E_NO_MEMORY;
    }
    if (pending_raw_at(pending, id) != UINT32_MAX) {
        return HPX_E_DUPLICATE;
    }
    request->is_raw = true;
    request->raw_kind = id->kind;
    request->raw_number = pending_key(id);
    if (id->kind == HPX_ID_TEXT) {
        request->raw_bytes = (uint32_t)id->text.size;
        memcpy(request->raw_text, id->text.data, id->text.size);
    }
    uint32_t at = pending_bucket(pending, request->raw_number);
    while (pending->raw[at] != 0) {
        at = (at + 1) & pending->raw_mask;
    }
    pending->raw[at] = request->index + 1;
    return HPX_OK;
}

/* Linear probing without tombstones: what follows the hole moves up if it may. */
static void pending_raw_remove(hpxi_pending *pending, const hpxi_request *request)
{
    uint32_t hole = pending_bucket(pending, request->raw_number);
    while (pending->raw[hole] != request->index + 1) {
        HPX_ASSERT(pending->raw[hole] != 0);
        hole = (hole + 1) & pending->raw_mask;
    }
    for (uint32_t at = (hole + 1) & pending->raw_mask; pending->raw[at] != 0;
         at = (at + 1) & pending->raw_mask) {
        const hpxi_request *other = &pending->slots[pending->raw[at] - 1];
        const uint32_t home = pending_bucket(pending, other->raw_number);
        if (((at - home) & pending->raw_mask) >= ((at - hole) & pending->raw_mask)) {
            pending->raw[hole] = pending->raw[at];
            hole = at;
        }
    }
    pending->raw[hole] = 0;
}

/* ---- Finding, giving back -------------------------------------------------------------------- */

hpxi_request *hpxi_pending_find(hpxi_pending *pending, const hpx_request_id *id)
{
    if (id->kind == HPX_ID_NUMBER) {
        const uint64_t index = id->number & PENDING_SLOT_MASK;
        if (index < pending->touched) {
            hpxi_request *request = &pending->slots[index];
            /* A free slot has the id 0, which a peer may well send. */
            if (HPXI_LIKELY(request->id == id->number) && !request->is_raw &&
                request->kind != HPXI_PENDING_FREE) {
                return request;
            }
        }
    }
    if (id->kind == HPX_ID_NONE || pending->raw == NULL ||
        (id->kind == HPX_ID_TEXT && id->text.size > HPX_REQUEST_ID_BYTES)) {
        return NULL;
    }
    const uint32_t at = pending_raw_at(pending, id);
    return at == UINT32_MAX ? NULL : &pending->slots[pending->raw[at] - 1];
}

hpxi_request *
hpxi_pending_by_token(hpxi_pending *pending, const hpxi_channel *channel, uint64_t token)
{
    for (hpxi_request *request = pending->live; request != NULL; request = request->next) {
        if (request->kind == HPXI_PENDING_APP && request->channel == channel &&
            request->token == token) {
            return request;
        }
    }
    return NULL;
}

void hpxi_pending_give_back(hpxi_pending *pending, hpxi_request *request)
{
    HPX_ASSERT(request->kind != HPXI_PENDING_FREE);
    HPX_ASSERT(request->table == pending);
    HPX_ASSERT(!hpxi_timer_is_set(&request->timer));
    if (request->is_raw) {
        pending_raw_remove(pending, request);
        request->is_raw = false;
    }
    if (request->prev != NULL) {
        request->prev->next = request->next;
    } else {
        HPX_ASSERT(pending->live == request);
        pending->live = request->next;
    }
    if (request->next != NULL) {
        request->next->prev = request->prev;
    }
    uint32_t *left = pending_is_own(request->kind) ? &pending->own_free : &pending->app_free;
    (*left)++;
    request->kind = HPXI_PENDING_FREE;
    request->id = 0; /* a later answer with it finds nobody */
    request->prev = NULL;
    request->next = pending->free;
    pending->free = request;
}

bool hpxi_pending_is_valid(const hpxi_pending *pending)
{
    uint32_t live = 0;
    uint32_t raw = 0;
    for (const hpxi_request *at = pending->live; at != NULL; at = at->next) {
        live++;
        raw += at->is_raw ? 1 : 0;
        if (at->kind == HPXI_PENDING_FREE || at->table != pending ||
            (at->next != NULL && at->next->prev != at)) {
            return false;
        }
    }
    uint32_t unused = 0;
    for (const hpxi_request *at = pending->free; at != NULL; at = at->next) {
        unused++;
        if (at->kind != HPXI_PENDING_FREE || at->id != 0) {
            return false;
        }
    }
    for (uint32_t i = 0; pending->raw != NULL && i <= pending->raw_mask; i++) {
        raw -= pending->raw[i] != 0 ? 1 : 0;
    }
    return live + unused == pending->touched && raw == 0 &&
           pending->capacity - live == pending->app_free + pending->own_free;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the slab of requests: capacities are exact per kind, an id finds its request while it waits
 * and nobody ever after, ids dictated by the application are unique among those that wait.
 * Method: random takes, raw ids, look-ups and returns against an array; the slab's own invariant
 * after every step; a failure prints its seed.
 */
#include <stdio.h>

#include "engine/pending.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define APP_MAX 40u
#define STEPS   40000u
#define SEEDS   (TEST_UNDER_TSAN ? 1u : 5u)
#define DEAD    512u /* ids of requests that are over, to ask for again */
#define RAW_IDS 60u  /* few, so that they collide; more than fit at once */

static uint64_t rng;
static uint64_t seed;
static unsigned step;

static uint32_t below(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 16) % n);
}

#define CHECK(e)                                                                                   \
    do {                                                                                           \
        if (!(e)) {                                                                                \
            fail_msg("%s (seed %llu, step %u)", #e, (unsigned long long)seed, step);               \
        }                                                                                          \
    } while (0)

typedef struct entry {
    hpxi_request *request; /* NULL: free */
    uint64_t id;
    uint64_t token;
    hpxi_pending_kind kind;
    int raw; /* index of its raw id, or -1 */
} entry;

typedef struct model {
    hpxi_pending pending;
    entry entries[APP_MAX + HPXI_PENDING_OWN];
    uint32_t app, own;
    uint64_t last_sequence;
    uint64_t dead[DEAD];
    uint64_t dead_count;
    char channels[3];
} model;

static void never(hpxi_timer *timer, uint64_t now_ns)
{
    (void)timer;
    (void)now_ns;
    fail_msg("a timer that nobody set");
}

/* Numbers of every size, and texts; `room` keeps the text. */
static hpx_request_id raw_id(int index, char room[64])
{
    hpx_request_id id = {.kind = HPX_ID_NUMBER, .number = (uint64_t)index};
    if (index % 3 == 1) {
        id.number = UINT64_MAX - (uint64_t)index;
    } else if (index % 3 == 2) {
        (void)snprintf(room, 64, "%0*d", 1 + index % (int)HPX_REQUEST_ID_BYTES, index);
        id = (hpx_request_id){.kind = HPX_ID_TEXT, .text = hpx_span_of(room)};
    }
    return id;
}

static const hpxi_channel *channel_of(model *m, unsigned i)
{
    return i == 0 ? NULL : (const hpxi_channel *)(void *)&m->channels[i];
}

static entry *pick(model *m, bool used)
{
    for (unsigned tries = 0; tries < 50; tries++) {
        entry *e = &m->entries[below((uint32_t)COUNT_OF(m->entries))];
        if ((e->request != NULL) == used) {
            return e;
        }
    }
    return NULL;
}

static bool may_take(const model *m, hpxi_pending_kind kind)
{
    if (kind == HPXI_PENDING_APP) {
        return m->app < APP_MAX;
    }
    return m->own < (kind == HPXI_PENDING_QUIET ? HPXI_PENDING_QUIET_MAX : HPXI_PENDING_OWN);
}

static void do_take(model *m)
{
    const hpxi_pending_kind kind =
        below(2) == 0 ? HPXI_PENDING_APP : (hpxi_pending_kind)(HPXI_PENDING_APP + below(5));
    entry *e = NULL;
    for (unsigned i = 0; i < COUNT_OF(m->entries) && e == NULL; i++) {
        e = m->entries[i].request == NULL ? &m->entries[i] : NULL;
    }
    hpxi_request *request = hpxi_pending_take(&m->pending, kind, never);
    CHECK((request != NULL) == may_take(m, kind)); /* exact, and of each kind */
    if (request == NULL) {
        return;
    }
    CHECK(e != NULL);
    CHECK(request->id >> HPXI_PENDING_SLOT_BITS > m->last_sequence); /* never the same again */
    m->last_sequence = request->id >> HPXI_PENDING_SLOT_BITS;
    *e = (entry){
        .request = request, .id = request->id, .token = below(1000), .kind = kind, .raw = -1};
    request->token = e->token;
    request->channel = (hpxi_channel *)(void *)&m->channels[1 + below(2)];
    *(kind == HPXI_PENDING_APP ? &m->app : &m->own) += 1;
}

static void do_raw(model *m)
{
    entry *e = pick(m, true);
    if (e == NULL || e->kind != HPXI_PENDING_APP || e->raw >= 0) {
        return;
    }
    const int index = (int)below(RAW_IDS);
    char room[64];
    const hpx_request_id id = raw_id(index, room);
    bool taken = false;
    for (unsigned i = 0; i < COUNT_OF(m->entries); i++) {
        taken |= m->entries[i].request != NULL && m->entries[i].raw == index;
    }
    const hpx_status status = hpxi_pending_set_raw(&m->pending, e->request, &id);
    CHECK(status == (taken ? HPX_E_DUPLICATE : HPX_OK));
    e->raw = taken ? -1 : index;
}

static void do_find(model *m)
{
    char room[64];
    for (unsigned i = 0; i < COUNT_OF(m->entries); i++) {
        const entry *e = &m->entries[i];
        if (e->request != NULL) {
            const hpx_request_id own = {.kind = HPX_ID_NUMBER, .number = e->id};
            /* A request with an id of the application's answers to that one only. */
            CHECK(hpxi_pending_find(&m->pending, &own) == (e->raw < 0 ? e->request : NULL));
        }
    }
    const int index = (int)below(RAW_IDS);
    const hpx_request_id raw = raw_id(index, room);
    hpxi_request *expected = NULL;
    for (unsigned i = 0; i < COUNT_OF(m->entries); i++) {
        if (m->entries[i].request != NULL && m->entries[i].raw == index) {
            expected = m->entries[i].request;
        }
    }
    CHECK(hpxi_pending_find(&m->pending, &raw) == expected);
    const uint64_t dead_max = m->dead_count < DEAD ? m->dead_count : DEAD;
    if (dead_max != 0) {
        const hpx_request_id dead = {
            .kind = HPX_ID_NUMBER, .number = m->dead[below((uint32_t)dead_max)]};
        CHECK(hpxi_pending_find(&m->pending, &dead) == NULL);
    }
    const hpx_request_id none = {.kind = HPX_ID_NONE};
    const hpx_request_id foreign = {
        .kind = HPX_ID_NUMBER, .number = (m->last_sequence + 1) << HPXI_PENDING_SLOT_BITS};
    char most[HPX_REQUEST_ID_BYTES + 2];
    memset(most, '9', sizeof(most));
    const hpx_request_id large = {
        .kind = HPX_ID_TEXT, .text = {.data = (const uint8_t *)most, .size = sizeof(most)}};
    CHECK(hpxi_pending_find(&m->pending, &none) == NULL);
    CHECK(hpxi_pending_find(&m->pending, &foreign) == NULL);
    CHECK(hpxi_pending_find(&m->pending, &large) == NULL);
}

static void do_token(model *m)
{
    const uint64_t token = below(1000);
    const unsigned which = below(3);
    const hpxi_request *found = hpxi_pending_by_token(&m->pending, channel_of(m, which), token);
    bool exists = false;
    for (unsigned i = 0; i < COUNT_OF(m->entries); i++) {
        const entry *e = &m->entries[i];
        exists |= e->request != NULL && e->kind == HPXI_PENDING_APP && e->token == token &&
                  e->request->channel == channel_of(m, which);
    }
    CHECK((found != NULL) == exists);
    CHECK(found == NULL || (found->token == token && found->kind == HPXI_PENDING_APP));
}

static void give_back(model *m, entry *e)
{
    hpxi_pending_give_back(&m->pending, e->request);
    *(e->kind == HPXI_PENDING_APP ? &m->app : &m->own) -= 1;
    m->dead[m->dead_count++ % DEAD] = e->id;
    e->request = NULL;
}

static void run(uint64_t with_seed)
{
    static model m;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    memset(&m, 0, sizeof(m));
    seed = with_seed;
    rng = with_seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    CHECK(hpxi_pending_init(&m.pending, APP_MAX, &m, &allocator) == HPX_OK);
    for (step = 0; step < STEPS; step++) {
        /* Sometimes mostly full, sometimes mostly empty. */
        const uint32_t lean = step / 1000 % 2 == 0 ? 45 : 25;
        const uint32_t what = below(100);
        entry *e;
        if (what < lean) {
            do_take(&m);
        } else if (what < 80) {
            e = pick(&m, true);
            if (e != NULL) {
                give_back(&m, e);
            }
        } else if (what < 92) {
            do_raw(&m);
        } else if (what < 96) {
            do_find(&m);
        } else {
            do_token(&m);
        }
        CHECK(hpxi_pending_is_valid(&m.pending));
        CHECK(m.pending.app_free == APP_MAX - m.app);
        CHECK(m.pending.own_free == HPXI_PENDING_OWN - m.own);
    }
    for (unsigned i = 0; i < COUNT_OF(m.entries); i++) {
        if (m.entries[i].request != NULL) {
            give_back(&m, &m.entries[i]);
        }
    }
    hpxi_pending_fini(&m.pending);
    assert_int_equal(memory.live, 0);
}

static void test_pending_when_random_script_then_as_the_model(void **state)
{
    (void)state;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        run(s);
    }
}

/* A peer's pings, however many, leave room for every batch, the ping and the authentication. */
static void test_pending_when_quiet_ones_are_many_then_others_fit(void **state)
{
    (void)state;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    hpxi_pending pending;
    assert_int_equal(hpxi_pending_init(&pending, 1, NULL, &allocator), HPX_OK);
    unsigned quiet = 0;
    while (hpxi_pending_take(&pending, HPXI_PENDING_QUIET, never) != NULL) {
        quiet++;
    }
    assert_int_equal(quiet, HPXI_PENDING_QUIET_MAX);
    for (unsigned i = quiet; i < HPXI_PENDING_OWN; i++) {
        assert_non_null(hpxi_pending_take(&pending, HPXI_PENDING_BATCH, never));
    }
    assert_null(hpxi_pending_take(&pending, HPXI_PENDING_PING, never));
    assert_non_null(hpxi_pending_take(&pending, HPXI_PENDING_APP, never));
    assert_null(hpxi_pending_take(&pending, HPXI_PENDING_APP, never));
    while (pending.live != NULL) {
        hpxi_pending_give_back(&pending, pending.live);
    }
    hpxi_pending_fini(&pending);
    assert_int_equal(memory.live, 0);
}

static void test_pending_when_raw_id_is_bad_then_invalid_and_unchanged(void **state)
{
    (void)state;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    hpx_allocator allocator = fa_allocator(&memory);
    hpxi_pending pending;
    assert_int_equal(hpxi_pending_init(&pending, 4, NULL, &allocator), HPX_OK);
    hpxi_request *request = hpxi_pending_take(&pending, HPXI_PENDING_APP, never);
    char text[HPX_REQUEST_ID_BYTES + 1];
    memset(text, 'x', sizeof(text));
    const hpx_request_id bad[] = {
        {.kind = HPX_ID_NONE},
        {.kind = HPX_ID_TEXT},
        {.kind = HPX_ID_TEXT, .text = {.data = (const uint8_t *)text, .size = sizeof(text)}},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(hpxi_pending_set_raw(&pending, request, &bad[i]), HPX_E_INVALID);
        assert_false(request->is_raw);
    }
    memory.fail_at = memory.count; /* the table of raw ids is made with the first */
    const hpx_request_id good = {.kind = HPX_ID_NUMBER, .number = 7};
    assert_int_equal(hpxi_pending_set_raw(&pending, request, &good), HPX_E_NO_MEMORY);
    assert_true(hpxi_pending_is_valid(&pending));
    assert_int_equal(hpxi_pending_set_raw(&pending, request, &good), HPX_OK);
    hpxi_pending_give_back(&pending, request);
    hpxi_pending_fini(&pending);
    assert_int_equal(memory.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pending_when_random_script_then_as_the_model),
        cmocka_unit_test(test_pending_when_quiet_ones_are_many_then_others_fit),
        cmocka_unit_test(test_pending_when_raw_id_is_bad_then_invalid_and_unchanged),
    };
    return cmocka_run_group_tests_name("engine/pending", tests, NULL, NULL);
}

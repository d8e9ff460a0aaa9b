/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: topics.c sends nothing twice, forgets nothing, and counts what restoring still waits for.
 * Method: random joins, leaves, batches, answers in any order, refusals and losses against a model
 * of plain sets; the table's own invariant and the model after every step; a failure prints its
 * seed. Then every allocation failing in turn.
 */
#include <stdio.h>

#include "engine/topics.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define NAMES     48u /* more than there are batches */
#define MEMBERS   120u
#define HELD_MAX  40u
#define STEPS     20000u
#define SEEDS     (TEST_UNDER_TSAN ? 1u : 6u)
#define NO_BATCH  (-1)
#define MAX_TAKEN 3u

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

/* What topics.c should be, in plain sets. */
typedef struct model {
    hpxi_topics topics;
    hpxi_member members[MEMBERS];
    int name_of[MEMBERS]; /* that the member holds, or -1 */
    unsigned holders[NAMES];
    unsigned held; /* names with holders */
    char names[NAMES][12];
    bool server[NAMES]; /* subscribed there */
    bool restoring[NAMES];
    int batch_of[NAMES]; /* index in batches, or NO_BATCH */
    struct {
        hpxi_batch *batch;
        bool is_subscribe;
        uint32_t count; /* 0: none */
    } batches[HPXI_BATCHES_MAX];
} model;

static char requests[HPXI_BATCHES_MAX]; /* only their addresses are used */

static hpx_span name_span(const model *m, unsigned name)
{
    return hpx_span_of(m->names[name]);
}

static bool is_held(const model *m, unsigned name)
{
    return m->holders[name] != 0;
}

static void set_name(model *m, unsigned member, int name)
{
    const int before = m->name_of[member];
    m->name_of[member] = name;
    if (before >= 0) {
        m->held -= --m->holders[before] == 0 ? 1 : 0;
    }
    if (name >= 0) {
        m->held += m->holders[name]++ == 0 ? 1 : 0;
    }
}

static bool wants(const model *m, unsigned name, bool up)
{
    return m->batch_of[name] == NO_BATCH && is_held(m, name) == up && m->server[name] != up;
}

static unsigned wanting(const model *m, bool up)
{
    unsigned count = 0;
    for (unsigned i = 0; i < NAMES; i++) {
        count += wants(m, i, up) ? 1 : 0;
    }
    return count;
}

static void check(model *m)
{
    unsigned restoring = 0;
    CHECK(hpxi_topics_is_valid(&m->topics));
    CHECK(m->topics.held == m->held);
    CHECK(hpxi_topics_have_work(&m->topics) == (wanting(m, true) + wanting(m, false) != 0));
    for (unsigned i = 0; i < NAMES; i++) {
        const hpxi_topic *topic = hpxi_topics_find(&m->topics, name_span(m, i));
        restoring += m->restoring[i] ? 1 : 0;
        /* Known as long as it is held, subscribed, or asked about; not a moment longer. */
        CHECK((topic != NULL) == (is_held(m, i) || m->server[i] || m->batch_of[i] != NO_BATCH));
        CHECK(topic == NULL || topic->restoring == m->restoring[i]);
    }
    CHECK(m->topics.restoring == restoring);
}

static void do_join(model *m)
{
    const unsigned member = below(MEMBERS);
    const unsigned name = below(NAMES);
    if (m->name_of[member] >= 0) {
        return;
    }
    const bool full = !is_held(m, name) && m->held == HELD_MAX;
    const hpx_status status = hpxi_topics_join(&m->topics, name_span(m, name), &m->members[member]);
    CHECK(status == (full ? HPX_E_LIMIT : HPX_OK));
    set_name(m, member, status == HPX_OK ? (int)name : -1);
}

static void do_leave(model *m)
{
    const unsigned member = below(MEMBERS);
    const int name = m->name_of[member];
    hpxi_topics_leave(&m->topics, &m->members[member]); /* nothing if it holds nothing */
    CHECK(m->members[member].topic == NULL);
    set_name(m, member, -1);
    if (name >= 0 && !is_held(m, (unsigned)name)) {
        m->restoring[name] = false;
    }
}

static unsigned name_index(const model *m, const hpxi_topic *topic)
{
    for (unsigned i = 0; i < NAMES; i++) {
        if (strlen(m->names[i]) == topic->bytes &&
            memcmp(m->names[i], topic->name, topic->bytes) == 0) {
            return i;
        }
    }
    fail_msg("a topic that nobody named (seed %llu)", (unsigned long long)seed);
    return 0;
}

static void do_take(model *m)
{
    const unsigned max = 1 + below(MAX_TAKEN);
    const bool up = wanting(m, false) == 0; /* unsubscribes go first */
    const unsigned wanted = wanting(m, up);
    unsigned slot = 0;
    while (slot < HPXI_BATCHES_MAX && m->batches[slot].count != 0) {
        slot++;
    }
    hpxi_batch *batch = hpxi_topics_take(&m->topics, max);
    CHECK((batch != NULL) == (wanted != 0 && slot < HPXI_BATCHES_MAX));
    if (batch == NULL) {
        return;
    }
    CHECK(batch->is_subscribe == up);
    CHECK(batch->count == (wanted < max ? wanted : max));
    unsigned count = 0;
    for (const hpxi_topic *at = batch->first; at != NULL; at = at->next, count++) {
        CHECK(wants(m, name_index(m, at), up)); /* never subscribed twice, nor let go twice */
    }
    CHECK(count == batch->count);
    if (below(8) == 0) {
        hpxi_topics_undo(&m->topics, batch); /* as if nothing had been taken */
        return;
    }
    for (const hpxi_topic *at = batch->first; at != NULL; at = at->next) {
        m->batch_of[name_index(m, at)] = (int)slot;
    }
    m->batches[slot].batch = batch;
    m->batches[slot].is_subscribe = up;
    m->batches[slot].count = count;
    batch->request = (hpxi_request *)(void *)&requests[slot];
}

static void refuse(model *m, hpxi_topic *topic, unsigned name)
{
    const unsigned holders = m->holders[name];
    unsigned detached = 0;
    hpxi_member *next;
    for (hpxi_member *at = hpxi_topics_detach(&m->topics, topic); at != NULL; at = next) {
        next = at->next;
        CHECK(at->topic == NULL);
        CHECK(m->name_of[at - m->members] == (int)name);
        set_name(m, (unsigned)(at - m->members), -1);
        at->next = NULL;
        detached++;
    }
    CHECK(detached == holders);
}

static void do_settle(model *m)
{
    const unsigned name = below(NAMES);
    const int slot = m->batch_of[name];
    if (slot == NO_BATCH) {
        return;
    }
    hpxi_topic *topic = hpxi_topics_find(&m->topics, name_span(m, name));
    CHECK(topic != NULL);
    const bool up = m->batches[slot].is_subscribe;
    const bool accepted = below(6) != 0;
    if (up && !accepted) {
        refuse(m, topic, name);
    }
    const hpxi_request *request = hpxi_topics_settle(&m->topics, topic, accepted);
    m->batches[slot].count--;
    /* The request is told exactly once: with the last topic. */
    CHECK(
        request == (m->batches[slot].count == 0 ? (hpxi_request *)(void *)&requests[slot] : NULL));
    m->batch_of[name] = NO_BATCH;
    m->restoring[name] = false;
    m->server[name] = up && accepted;
}

static void do_lose(model *m)
{
    hpxi_topics_reset(&m->topics);
    for (unsigned i = 0; i < NAMES; i++) {
        m->server[i] = false;
        m->restoring[i] = false;
        m->batch_of[i] = NO_BATCH;
    }
    for (unsigned i = 0; i < HPXI_BATCHES_MAX; i++) {
        m->batches[i].count = 0;
    }
    check(m);
    if (below(4) != 0) {
        hpxi_topics_restore(&m->topics);
        for (unsigned i = 0; i < NAMES; i++) {
            m->restoring[i] = is_held(m, i);
        }
    }
}

/* All questions answered: what is subscribed is what is held. */
static void quiesce(model *m)
{
    bool busy = true;
    while (busy) {
        do_take(m);
        for (unsigned i = 0; i < NAMES; i++) {
            do_settle(m);
        }
        busy = hpxi_topics_have_work(&m->topics);
        for (unsigned i = 0; i < NAMES; i++) {
            busy = busy || m->batch_of[i] != NO_BATCH;
        }
    }
    for (unsigned i = 0; i < NAMES; i++) {
        CHECK(m->batch_of[i] == NO_BATCH);
        CHECK(m->server[i] == is_held(m, i));
    }
    CHECK(m->topics.restoring == 0);
}

static void run(uint64_t with_seed)
{
    static model m;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    memset(&m, 0, sizeof(m));
    seed = with_seed;
    rng = with_seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    CHECK(hpxi_topics_init(&m.topics, HELD_MAX, &allocator) == HPX_OK);
    for (unsigned i = 0; i < MEMBERS; i++) {
        m.name_of[i] = -1;
    }
    for (unsigned i = 0; i < NAMES; i++) {
        (void)snprintf(m.names[i], sizeof(m.names[i]), "%.*s.%u", (int)(i % 5), "topic", i);
        m.batch_of[i] = NO_BATCH;
    }
    for (step = 0; step < STEPS; step++) {
        const uint32_t what = below(1000);
        if (what < 250) {
            do_join(&m);
        } else if (what < 480) {
            do_leave(&m);
        } else if (what < 650) {
            do_take(&m);
        } else if (what < 998) {
            do_settle(&m);
        } else {
            do_lose(&m);
        }
        check(&m);
    }
    quiesce(&m);
    check(&m);
    for (unsigned i = 0; i < MEMBERS; i++) {
        hpxi_topics_leave(&m.topics, &m.members[i]);
    }
    hpxi_topics_fini(&m.topics);
    assert_int_equal(memory.live, 0);
}

static void test_topics_when_random_script_then_as_the_model(void **state)
{
    (void)state;
    for (uint64_t s = 1; s <= SEEDS; s++) {
        run(s);
    }
}

/* Undone first batches keep their place before those that came later. */
static void test_topics_when_undone_then_first_again(void **state)
{
    (void)state;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    hpxi_topics topics;
    hpxi_member members[5] = {{0}};
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    assert_int_equal(hpxi_topics_init(&topics, 10, &allocator), HPX_OK);
    for (unsigned i = 0; i < COUNT_OF(names); i++) {
        assert_int_equal(hpxi_topics_join(&topics, hpx_span_of(names[i]), &members[i]), HPX_OK);
    }
    hpxi_topics_undo(&topics, hpxi_topics_take(&topics, 3));
    const hpxi_batch *batch = hpxi_topics_take(&topics, 5);
    assert_int_equal(batch->count, 5);
    unsigned i = 0;
    for (const hpxi_topic *at = batch->first; at != NULL; at = at->next) {
        assert_int_equal(at->name[0], names[i++][0]);
    }
    for (i = 0; i < COUNT_OF(members); i++) {
        hpxi_topics_leave(&topics, &members[i]);
    }
    hpxi_topics_fini(&topics);
    assert_int_equal(memory.live, 0);
}

/* Without memory for a topic the join fails whole; without memory for buckets chains grow. */
static void torture(hpx_allocator allocator, bool expect_success)
{
    enum { COUNT = 300 };
    static hpxi_member members[COUNT];
    memset(members, 0, sizeof(members));
    hpxi_topics topics;
    unsigned refused = 0;
    if (hpxi_topics_init(&topics, COUNT, &allocator) != HPX_OK) {
        assert_false(expect_success);
        return;
    }
    char name[16];
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof(name), "topic.%u", i);
        const hpx_status status = hpxi_topics_join(&topics, hpx_span_of(name), &members[i]);
        assert_true(status == HPX_OK || status == HPX_E_NO_MEMORY);
        assert_true(hpxi_topics_is_valid(&topics));
        refused += status == HPX_OK ? 0 : 1;
    }
    assert_true(refused == 0 || (!expect_success && refused == 1));
    assert_int_equal(topics.held, COUNT - refused);
    for (unsigned i = 0; i < COUNT; i++) {
        (void)snprintf(name, sizeof(name), "topic.%u", i);
        assert_true(
            (hpxi_topics_find(&topics, hpx_span_of(name)) != NULL) == (members[i].topic != NULL));
        hpxi_topics_leave(&topics, &members[i]);
    }
    hpxi_topics_fini(&topics);
}

static void test_topics_when_any_allocation_fails_then_nothing_is_lost(void **state)
{
    (void)state;
    fa_exhaust(torture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_topics_when_random_script_then_as_the_model),
        cmocka_unit_test(test_topics_when_undone_then_first_again),
        cmocka_unit_test(test_topics_when_any_allocation_fails_then_nothing_is_lost),
    };
    return cmocka_run_group_tests_name("engine/topics", tests, NULL, NULL);
}

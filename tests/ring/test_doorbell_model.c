/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the doorbell's protocol loses no wake-up, and each of its parts is needed for that.
 * Method: a model of doorbell.h in which every atomic access is one step. Every reachable state of
 * all interleavings is visited once. Stores that are not seq_cst go through a store buffer, which
 * may drain at any later time. A wake-up is lost where no thread can take a step, the consumer
 * sleeps, and records wait. The protocol as it is must have no such state; each weakened variant
 * must have one, or the model could not see the fault at all.
 */
#include <stdbool.h>

#include "tests/support/test.h"

#define PRODUCERS_MAX 2
#define RECORDS       3 /* per producer */
#define STATES_MAX    (1u << 22)

typedef struct variant {
    const char *name;
    uint8_t producers;
    bool recheck;         /* the consumer looks again after prepare() */
    bool prepare_first;   /* ... and not before it */
    bool publish_seq_cst; /* else a release store */
    bool prepare_seq_cst;
    bool ring_after_publish;
    bool loses;
} variant;

typedef enum producer_step { P_PUBLISH, P_LOAD, P_SWAP, P_WRITE } producer_step;
typedef enum consumer_step {
    C_PEEK,
    C_RECHECK_EARLY,
    C_PREPARE,
    C_RECHECK,
    C_SLEEP,
    C_DRAIN,
    C_CANCEL
} consumer_step;

/* Tails are counts of records. A store buffer holds at most one value here: each thread stores to
 * one location only, and a later store to it replaces the one not yet seen by anybody. */
typedef struct model {
    uint8_t tail[PRODUCERS_MAX];          /* as all see it */
    uint8_t tail_buffered[PRODUCERS_MAX]; /* as its producer sees it */
    uint8_t step[PRODUCERS_MAX];
    uint8_t sent[PRODUCERS_MAX]; /* rounds completed */
    uint8_t asleep;
    uint8_t asleep_buffered; /* the consumer's store not yet seen; 2: none */
    uint8_t rings;           /* the eventfd: 0 or "some" */
    uint8_t consumer;
    uint8_t taken[PRODUCERS_MAX];
} model;

#define NOT_BUFFERED 2

static model stack[STATES_MAX];
static uint64_t seen[STATES_MAX * 2]; /* open addressing; 0: free */
static size_t depth;
static size_t visited;

static uint64_t model_pack(const model *m)
{
    uint64_t key = 1;
    for (int p = 0; p < PRODUCERS_MAX; p++) {
        key = key << 2 | m->tail[p];
        key = key << 2 | m->tail_buffered[p];
        key = key << 2 | m->step[p];
        key = key << 2 | m->sent[p];
        key = key << 2 | m->taken[p];
    }
    key = key << 1 | m->asleep;
    key = key << 2 | m->asleep_buffered;
    key = key << 1 | m->rings;
    return key << 3 | m->consumer;
}

static void model_push(const model *m)
{
    const uint64_t key = model_pack(m);
    size_t at = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> 41);
    while (seen[at] != 0) {
        if (seen[at] == key) {
            return;
        }
        at = (at + 1) % COUNT_OF(seen);
    }
    seen[at] = key;
    visited++;
    assert_true(depth < STATES_MAX);
    stack[depth++] = *m;
}

static bool model_has_records(const model *m)
{
    for (int p = 0; p < PRODUCERS_MAX; p++) {
        if (m->taken[p] != m->tail[p]) {
            return true;
        }
    }
    return false;
}

static void producer_next(model *m, const variant *v, int p)
{
    const producer_step last = v->ring_after_publish ? P_WRITE : P_PUBLISH;
    if (m->step[p] == last) {
        m->step[p] = v->ring_after_publish ? P_PUBLISH : P_LOAD;
        m->sent[p]++;
    } else {
        m->step[p] = (uint8_t)((m->step[p] + 1) % 4);
    }
}

/* The rest of ring() is skipped: the consumer is awake. */
static void producer_skip(model *m, const variant *v, int p)
{
    m->step[p] = P_WRITE;
    producer_next(m, v, p);
}

static void producer_go(model m, const variant *v, int p)
{
    switch ((producer_step)m.step[p]) {
    case P_PUBLISH:
        m.tail_buffered[p]++;
        if (v->publish_seq_cst) {
            m.tail[p] = m.tail_buffered[p];
        }
        producer_next(&m, v, p);
        break;
    case P_LOAD:
        if (m.asleep == 0) {
            producer_skip(&m, v, p);
        } else {
            producer_next(&m, v, p);
        }
        break;
    case P_SWAP: /* a read-modify-write drains the store buffer */
        m.tail[p] = m.tail_buffered[p];
        if (m.asleep == 0) {
            producer_skip(&m, v, p);
        } else {
            m.asleep = 0;
            producer_next(&m, v, p);
        }
        break;
    case P_WRITE: /* so does a system call */
        m.tail[p] = m.tail_buffered[p];
        m.rings = 1;
        producer_next(&m, v, p);
        break;
    }
    model_push(&m);
}

static bool consumer_take(model *m)
{
    for (int p = 0; p < PRODUCERS_MAX; p++) {
        if (m->taken[p] != m->tail[p]) {
            m->taken[p]++;
            return true;
        }
    }
    return false;
}

/* False when the consumer sleeps and nothing wakes it. */
static bool consumer_go(model m, const variant *v)
{
    const consumer_step before_sleep = v->recheck && v->prepare_first ? C_RECHECK : C_SLEEP;
    const consumer_step before_prepare =
        v->recheck && !v->prepare_first ? C_RECHECK_EARLY : C_PREPARE;
    switch ((consumer_step)m.consumer) {
    case C_PEEK:
        if (!consumer_take(&m)) {
            m.consumer = (uint8_t)before_prepare;
        }
        break;
    case C_RECHECK_EARLY:
        m.consumer = model_has_records(&m) ? C_PEEK : C_PREPARE;
        break;
    case C_PREPARE:
        if (v->prepare_seq_cst) {
            m.asleep = 1;
            m.asleep_buffered = NOT_BUFFERED;
        } else {
            m.asleep_buffered = 1;
        }
        m.consumer = (uint8_t)before_sleep;
        break;
    case C_RECHECK:
        m.consumer = model_has_records(&m) ? C_CANCEL : C_SLEEP;
        break;
    case C_SLEEP:
        if (m.rings == 0) {
            return false;
        }
        m.consumer = C_DRAIN;
        break;
    case C_DRAIN:
        m.rings = 0;
        m.consumer = C_CANCEL;
        break;
    case C_CANCEL: /* a relaxed store, whatever the variant */
        m.asleep_buffered = 0;
        m.consumer = C_PEEK;
        break;
    }
    model_push(&m);
    return true;
}

/* All successors of one state; true when there are none and records wait: a lost wake-up. */
static bool model_expand(const model *m, const variant *v)
{
    bool can_step = false;
    for (int p = 0; p < v->producers; p++) {
        if (m->sent[p] < RECORDS) {
            producer_go(*m, v, p);
            can_step = true;
        }
        if (m->tail[p] != m->tail_buffered[p]) {
            model drained = *m;
            drained.tail[p] = drained.tail_buffered[p];
            model_push(&drained);
            can_step = true;
        }
    }
    if (m->asleep_buffered != NOT_BUFFERED) {
        model drained = *m;
        drained.asleep = drained.asleep_buffered;
        drained.asleep_buffered = NOT_BUFFERED;
        model_push(&drained);
        can_step = true;
    }
    if (consumer_go(*m, v)) {
        can_step = true;
    }
    return !can_step && model_has_records(m);
}

/* Number of states with a lost wake-up; *ends: of states in which all is done. */
static size_t model_explore(const variant *v, size_t *ends)
{
    memset(seen, 0, sizeof(seen));
    depth = 0;
    visited = 0;
    *ends = 0;
    size_t lost = 0;
    const uint8_t first = v->ring_after_publish ? P_PUBLISH : P_LOAD;
    const model start = {.asleep_buffered = NOT_BUFFERED, .step = {first, first}};
    model_push(&start);
    while (depth != 0) {
        const model m = stack[--depth];
        if (model_expand(&m, v)) {
            lost++;
        }
        *ends += m.consumer == C_SLEEP && m.rings == 0 && m.sent[0] == RECORDS &&
                 m.taken[0] == RECORDS && m.sent[1] == m.taken[1];
    }
    return lost;
}

static const variant variants[] = {
    {"as_it_is", 1, true, true, true, true, true, false},
    {"as_it_is_two_producers", 2, true, true, true, true, true, false},
    {"no_recheck", 1, false, true, true, true, true, true},
    {"recheck_before_prepare", 1, true, false, true, true, true, true},
    {"publish_not_seq_cst", 1, true, true, false, true, true, true},
    {"prepare_not_seq_cst", 1, true, true, true, false, true, true},
    {"ring_before_publish", 1, true, true, true, true, false, true},
};

static void test_doorbell_model_when_variant_then_loses_or_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(variants); i++) {
        const variant *v = &variants[i];
        size_t ends;
        const size_t lost = model_explore(v, &ends);
        print_message("%s: %zu states, %zu lost wake-ups\n", v->name, visited, lost);
        assert_true(visited > 50);
        assert_true(ends > 0); /* the model does reach its end */
        assert_int_equal(lost != 0, v->loses);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_doorbell_model_when_variant_then_loses_or_not),
    };
    return cmocka_run_group_tests_name("ring/doorbell_model", tests, NULL, NULL);
}

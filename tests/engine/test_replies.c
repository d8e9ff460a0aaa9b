/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the ring of outcomes: every request that may be open gets its outcome through, in order or
 * picked out by its waiter, whole; what cannot be kept says so; memory is bounded.
 * Method: random opens, pushes of every size, takes in and out of order against a list; a failure
 * prints its seed. Both sides run on the test's thread (two threads: session_threads).
 */
#include <stdio.h>

#include "engine/replies.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define REQUESTS_MAX 24u
#define LARGE_MAX    (96u << 10)
#define STEPS        60000u
#define SEEDS        (TEST_UNDER_TSAN ? 1u : 5u)
#define BYTES_MAX    (40u << 10)

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

typedef struct expected {
    uint64_t token;
    uint32_t bytes;   /* of the payload as pushed */
    bool lost;        /* its payload: HPX_E_NO_MEMORY */
    bool may_be_lost; /* unless there was room in the ring itself */
} expected;

typedef struct model {
    hpxi_replies replies;
    uint64_t asked[REQUESTS_MAX]; /* tokens of requests without outcome */
    uint32_t asked_count;
    expected queue[REQUESTS_MAX + 1]; /* pushed, not taken */
    uint32_t queued;
    uint32_t published; /* of them, visible */
    bool has_shown;
    hpx_reply shown; /* what the app looks at */
    uint32_t shown_bytes;
} model;

static uint8_t pattern[BYTES_MAX];

static const uint8_t *payload_of(uint64_t token)
{
    return pattern + token % 64;
}

static void check_reply(const hpx_reply *reply, const expected *e)
{
    CHECK(reply->token == e->token);
    CHECK(reply->user == (const void *)(pattern + e->token % 1000));
    CHECK(reply->epoch == e->token + 1 && reply->sent_ns == e->token + 2);
    CHECK(reply->time_ns == e->token + 3);
    CHECK(reply->sent == (e->token % 2 == 0) && reply->is_error == (e->token % 3 == 0));
    const bool lost = reply->status == HPX_E_NO_MEMORY;
    CHECK(reply->status == HPX_OK || (lost && (e->lost || e->may_be_lost)));
    CHECK(lost || !e->lost);
    CHECK(reply->payload.size == (lost ? 0 : e->bytes));
    CHECK(
        reply->payload.size == 0 ||
        memcmp(reply->payload.data, payload_of(e->token), reply->payload.size) == 0);
}

/* The view of the last reply holds whatever the shard does meanwhile. */
static void check_shown(const model *m)
{
    if (m->has_shown && m->shown_bytes != 0) {
        CHECK(memcmp(m->shown.payload.data, payload_of(m->shown.token), m->shown_bytes) == 0);
    }
}

static void do_open(model *m)
{
    if (!hpxi_replies_may_open(&m->replies)) {
        return;
    }
    CHECK(m->asked_count < REQUESTS_MAX);
    const uint64_t before = m->replies.port.token;
    const uint64_t token = hpxi_replies_open(&m->replies);
    CHECK(token > before);
    if (below(10) == 0) {
        hpxi_replies_unopen(&m->replies); /* the data ring was full */
        return;
    }
    m->asked[m->asked_count++] = token;
}

static void do_push(model *m, failing_allocator *memory)
{
    if (m->asked_count == 0) {
        return;
    }
    const uint32_t i = below(m->asked_count);
    const uint64_t token = m->asked[i];
    m->asked[i] = m->asked[--m->asked_count];
    static const uint32_t sizes[] = {0, 1, 60, 500, 3000, BYTES_MAX - 64};
    const uint32_t bytes = sizes[below((uint32_t)COUNT_OF(sizes))];
    const hpx_reply reply = {
        .status = HPX_OK,
        .sent = token % 2 == 0,
        .is_error = token % 3 == 0,
        .token = token,
        .user = pattern + token % 1000,
        .epoch = token + 1,
        .sent_ns = token + 2,
        .time_ns = token + 3,
        .payload = {.data = payload_of(token), .size = bytes},
    };
    const uint64_t large = atomic_load(&m->replies.large_bytes);
    const size_t count = memory->count;
    memory->fail_at = below(20) == 0 ? count : SIZE_MAX;
    hpxi_replies_push(&m->replies, &reply);
    /* Lost only for want of memory, or over the bound. */
    const bool failed = memory->count != count && atomic_load(&m->replies.large_bytes) == large;
    const bool over = bytes != 0 && large != 0 && large + bytes > LARGE_MAX;
    memory->fail_at = SIZE_MAX;
    CHECK(atomic_load(&m->replies.large_bytes) <= LARGE_MAX || large == 0);
    m->queue[m->queued++] =
        (expected){.token = token, .bytes = bytes, .lost = failed, .may_be_lost = over};
    check_shown(m);
}

static void shown(model *m, const hpx_reply *reply, uint32_t at)
{
    check_reply(reply, &m->queue[at]);
    m->has_shown = true;
    m->shown = *reply;
    m->shown_bytes = (uint32_t)reply->payload.size;
    m->queued--;
    m->published--;
    memmove(&m->queue[at], &m->queue[at + 1], (m->queued - at) * sizeof(m->queue[0]));
}

static void do_next(model *m)
{
    hpx_reply reply;
    const int got = hpxi_replies_next(&m->replies, &reply);
    CHECK(got == (m->published != 0 ? 1 : 0));
    m->has_shown = false;
    if (got == 1) {
        shown(m, &reply, 0);
    }
}

static void do_take(model *m)
{
    hpx_reply reply;
    m->has_shown = false;
    if (m->queued == 0) {
        CHECK(hpxi_replies_take(&m->replies, 1u << 30, &reply) == 0);
        return;
    }
    const uint32_t at = below(m->queued);
    const uint64_t token = m->queue[at].token;
    const int got = hpxi_replies_take(&m->replies, token, &reply);
    if (got == 0) {
        CHECK(at >= m->published);
        return;
    }
    shown(m, &reply, at);
}

static void run(uint64_t with_seed)
{
    static model m;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    memset(&m, 0, sizeof(m));
    seed = with_seed;
    rng = with_seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
    const uint32_t ring = (uint32_t)(hpxi_replies_bytes_min(REQUESTS_MAX) * (with_seed % 2 + 1));
    CHECK(hpxi_replies_init(&m.replies, ring, REQUESTS_MAX, LARGE_MAX, &allocator) == HPX_OK);
    for (step = 0; step < STEPS; step++) {
        /* Sometimes nobody takes anything, until everything that may wait does. */
        const uint32_t slow = step / 500 % 3 == 0 ? 95 : 60;
        const uint32_t what = below(100);
        if (what < 30) {
            do_open(&m);
        } else if (what < 50) {
            do_push(&m, &memory);
        } else if (what < 60) {
            hpxi_replies_publish(&m.replies);
            m.published = m.queued;
        } else if (what >= slow) {
            if (what % 2 == 0) {
                do_next(&m);
            } else {
                do_take(&m);
            }
        }
        check_shown(&m);
        /* Open are: without outcome, not taken, looked at, or taken behind one that is not. */
        CHECK(m.replies.port.open >= m.asked_count + m.queued);
        CHECK(m.replies.port.open <= REQUESTS_MAX);
    }
    if (with_seed % 2 == 0) { /* else what is left is freed at the end */
        hpxi_replies_publish(&m.replies);
        m.published = m.queued;
        while (m.queued != 0) {
            do_next(&m);
        }
        do_next(&m);
        CHECK(m.replies.port.open == m.asked_count);
        CHECK(hpxi_replies_are_empty_sc(&m.replies));
        CHECK(atomic_load(&m.replies.large_bytes) == 0);
    }
    hpxi_replies_publish(&m.replies); /* as its shard does before it lets go */
    hpxi_replies_fini(&m.replies);
    assert_int_equal(memory.live, 0);
}

static void test_replies_when_random_script_then_as_the_model(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(pattern); i++) {
        pattern[i] = (uint8_t)(i * 131 >> 3);
    }
    for (uint64_t s = 1; s <= SEEDS; s++) {
        run(s);
    }
}

/* All that may be open is answered, and nothing is taken: each outcome fits, however large the
 * payloads before it were. Again and again, so that the ring's end falls everywhere. */
static void test_replies_when_nobody_takes_then_every_outcome_fits(void **state)
{
    (void)state;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    hpxi_replies replies;
    const uint32_t ring = (uint32_t)hpxi_replies_bytes_min(REQUESTS_MAX);
    assert_int_equal(
        hpxi_replies_init(&replies, ring, REQUESTS_MAX, LARGE_MAX, &allocator), HPX_OK);
    for (uint32_t round = 0; round < 500; round++) {
        uint64_t tokens[REQUESTS_MAX];
        uint32_t count = 0;
        while (hpxi_replies_may_open(&replies)) {
            tokens[count++] = hpxi_replies_open(&replies);
        }
        assert_int_equal(count, REQUESTS_MAX);
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t bytes = (i * 37 + round * 101) % 700;
            const hpx_reply reply = {
                .token = tokens[i], .payload = {.data = pattern, .size = bytes}};
            hpxi_replies_push(&replies, &reply);
        }
        hpxi_replies_publish(&replies);
        hpx_reply reply;
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(hpxi_replies_next(&replies, &reply), 1);
            assert_int_equal(reply.token, tokens[i]);
            assert_int_equal(reply.status, HPX_OK);
        }
        assert_int_equal(hpxi_replies_next(&replies, &reply), 0);
    }
    hpxi_replies_fini(&replies);
    assert_int_equal(memory.live, 0);
}

/* A request that was not sent leaves no trace: tokens count those that were. */
static void test_replies_when_not_sent_after_all_then_its_token_is_free(void **state)
{
    (void)state;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    hpxi_replies replies;
    const uint32_t ring = (uint32_t)hpxi_replies_bytes_min(4);
    assert_int_equal(hpxi_replies_init(&replies, ring, 4, LARGE_MAX, &allocator), HPX_OK);
    const uint64_t first = hpxi_replies_open(&replies);
    hpxi_replies_unopen(&replies);
    assert_int_equal(replies.port.token, first - 1); /* what RELEASE tells the shard */
    assert_int_equal(hpxi_replies_open(&replies), first);
    hpxi_replies_fini(&replies);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replies_when_random_script_then_as_the_model),
        cmocka_unit_test(test_replies_when_nobody_takes_then_every_outcome_fits),
        cmocka_unit_test(test_replies_when_not_sent_after_all_then_its_token_is_free),
    };
    return cmocka_run_group_tests_name("engine/replies", tests, NULL, NULL);
}

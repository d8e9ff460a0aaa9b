/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: on one thread, a feed delivers what it should under each policy, in order, and its counts
 * of what was missed are exact. Method: directed cases, and random scripts of everything that both
 * sides can do against a plain list of what was pushed. Content follows from a message's number.
 */
#include <stdio.h>

#include "engine/feed.h"
#include "tests/engine/feed_bed.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define RING_BYTES   ((size_t)4096)
#define INLINE_MAX   (RING_BYTES / 4 - 32)
#define TOPICS       FEED_BED_TOPICS
#define LARGE_MAX    ((size_t)4 * 2048)
#define SCRIPT_SEEDS 8u

static const hpx_overflow policies[] = {
    HPX_OVERFLOW_DROP_OLDEST,
    HPX_OVERFLOW_DROP_NEWEST,
    HPX_OVERFLOW_CONFLATE,
    HPX_OVERFLOW_DISCONNECT,
};

static failing_allocator memory;
static hpx_allocator allocator;
static hpxi_feed feed;
static const hpx_error end_error = {.status = -77, .stage = HPX_STAGE_READY, .detail = "the end"};

static hpxi_feed_config config_of(hpx_overflow overflow)
{
    return (hpxi_feed_config){
        .overflow = overflow,
        .ring_bytes = (uint32_t)RING_BYTES,
        .large_bytes_max = LARGE_MAX,
        .topic_count = TOPICS,
        .message_bytes_max = 8192,
        .allocator = &allocator};
}

static void open_feed(hpx_overflow overflow)
{
    memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    allocator = fa_allocator(&memory);
    const hpxi_feed_config config = config_of(overflow);
    assert_int_equal(hpxi_feed_init(&feed, &config), HPX_OK);
}

static void close_feed(void)
{
    hpxi_feed_fini(&feed);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.bytes, 0);
}

static uint32_t topic_of(uint64_t number)
{
    return (uint32_t)(number % TOPICS);
}

static void push_published(uint32_t topic, uint64_t number, size_t bytes)
{
    assert_int_equal(feed_bed_push(&feed, topic, number, bytes), HPXI_FEED_TAKEN);
    hpxi_feed_publish(&feed);
}

static void expect_message(uint32_t topic, uint64_t number, size_t bytes, uint64_t missed)
{
    hpx_update update;
    assert_int_equal(hpxi_feed_next(&feed, &update), 1);
    assert_true(feed_bed_is_message(&update, number));
    assert_int_equal(update.topic_index, topic);
    assert_int_equal(update.payload.size, bytes);
    assert_int_equal(update.missed, missed);
}

static void expect_mark(hpx_update_kind kind, uint64_t epoch, uint64_t missed)
{
    hpx_update update;
    assert_int_equal(hpxi_feed_next(&feed, &update), 1);
    assert_int_equal(update.kind, kind);
    assert_int_equal(update.epoch, epoch);
    assert_int_equal(update.missed, missed);
    assert_null(update.error);
}

static void expect_nothing(void)
{
    hpx_update update;
    assert_int_equal(hpxi_feed_next(&feed, &update), 0);
    assert_true(hpxi_feed_is_empty_sc(&feed));
}

static void expect_end(uint64_t missed)
{
    hpx_update update;
    assert_false(hpxi_feed_is_empty_sc(&feed));
    assert_int_equal(hpxi_feed_next(&feed, &update), 1);
    assert_int_equal(update.kind, HPX_UPDATE_ENDED);
    assert_int_equal(update.missed, missed);
    assert_non_null(update.error);
    assert_int_equal(update.error->status, end_error.status);
    assert_string_equal(update.error->detail, end_error.detail);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hpxi_feed_next(&feed, &update), HPX_E_CLOSED);
        assert_true(hpxi_feed_is_empty_sc(&feed));
    }
}

/* ---- Directed cases -------------------------------------------------------------------------- */

static void test_feed_next_when_every_size_at_every_offset_then_as_pushed(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        open_feed(policies[p]);
        uint64_t number = 0;
        for (size_t offset = 0; offset < RING_BYTES; offset += 80) {
            for (size_t bytes = 0; bytes <= 2 * INLINE_MAX; bytes += bytes < 40 ? 1 : 61) {
                push_published(topic_of(number), number, bytes);
                expect_message(topic_of(number), number, bytes, 0);
                number++;
            }
            push_published(0, number, 9);
            push_published(1, number + 1, INLINE_MAX);
            push_published(2, number + 2, INLINE_MAX + 40);
            expect_message(0, number, 9, 0);
            expect_message(1, number + 1, INLINE_MAX, 0);
            expect_message(2, number + 2, INLINE_MAX + 40, 0);
            number += 3;
        }
        expect_nothing();
        close_feed();
    }
}

static void test_feed_publish_when_not_called_then_nothing_visible(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        open_feed(policies[p]);
        expect_nothing();
        assert_int_equal(feed_bed_push(&feed, 0, 0, 10), HPXI_FEED_TAKEN);
        assert_int_equal(feed_bed_push(&feed, 1, 1, 10), HPXI_FEED_TAKEN);
        expect_nothing();
        hpxi_feed_publish(&feed);
        assert_false(hpxi_feed_is_empty_sc(&feed));
        expect_message(0, 0, 10, 0);
        assert_false(hpxi_feed_is_empty_sc(&feed));
        expect_message(1, 1, 10, 0);
        expect_nothing();
        hpxi_feed_publish(&feed);
        expect_nothing();
        close_feed();
    }
}

static void test_feed_mark_when_between_messages_then_in_order(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        open_feed(policies[p]);
        assert_int_equal(feed_bed_push(&feed, 0, 0, 10), HPXI_FEED_TAKEN);
        hpxi_feed_mark(&feed, HPX_UPDATE_LIVE, 7, 70); /* publishes what is before it */
        assert_int_equal(feed_bed_push(&feed, 1, 2, 10), HPXI_FEED_TAKEN);
        assert_false(hpxi_feed_is_empty_sc(&feed));
        expect_message(0, 0, 10, 0);
        expect_mark(HPX_UPDATE_LIVE, 7, 0);
        expect_nothing();
        hpxi_feed_mark(&feed, HPX_UPDATE_INTERRUPTED, 7, 71);
        hpxi_feed_mark(&feed, HPX_UPDATE_LIVE, 8, 72);
        expect_message(1, 2, 10, 0);
        expect_mark(HPX_UPDATE_INTERRUPTED, 7, 0);
        assert_false(hpxi_feed_is_empty_sc(&feed));
        expect_mark(HPX_UPDATE_LIVE, 8, 0);
        expect_nothing();
        close_feed();
    }
}

/* Pushes `count` messages of 100 bytes and returns how many were refused. */
static uint64_t flood(uint64_t first, uint64_t count)
{
    uint64_t refused = 0;
    for (uint64_t i = 0; i < count; i++) {
        refused += feed_bed_push(&feed, topic_of(i), first + i, 100) != HPXI_FEED_TAKEN;
    }
    return refused;
}

/* 144 bytes each: however many were pushed, all but a sixteenth of the ring and a record is kept.
 */
static void test_feed_drop_oldest_when_full_then_newest_kept(void **state)
{
    (void)state;
    const uint64_t kept_min = (RING_BYTES - RING_BYTES / 16) / 144 - 1;
    for (uint64_t count = 1; count < 200; count++) {
        open_feed(HPX_OVERFLOW_DROP_OLDEST);
        assert_int_equal(flood(0, count), 0);
        hpxi_feed_publish(&feed);
        hpx_update update;
        assert_int_equal(hpxi_feed_next(&feed, &update), 1);
        uint64_t next = update.missed;
        assert_true(feed_bed_is_message(&update, next));
        assert_true(next == 0 || count - next >= kept_min);
        assert_true(count - next <= RING_BYTES / 144);
        while (++next < count) {
            expect_message(topic_of(next), next, 100, 0);
        }
        expect_nothing();
        hpxi_feed_end(&feed, &end_error);
        expect_end(0);
        close_feed();
    }
}

static void test_feed_drop_oldest_when_view_held_then_it_stays_whole(void **state)
{
    (void)state;
    open_feed(HPX_OVERFLOW_DROP_OLDEST);
    push_published(3, 0, 900);
    hpx_update update;
    assert_int_equal(hpxi_feed_next(&feed, &update), 1);
    assert_int_equal(flood(1, 500), 0);
    hpxi_feed_publish(&feed);
    assert_true(feed_bed_is_message(&update, 0));
    hpxi_feed_end(&feed, &end_error);
    close_feed();
}

/* The messages that fit are delivered; the others are told before the next one, or at the end. */
static void test_feed_drop_newest_when_full_then_queued_kept(void **state)
{
    (void)state;
    open_feed(HPX_OVERFLOW_DROP_NEWEST);
    const uint64_t refused = flood(0, 100);
    const uint64_t taken = 100 - refused;
    assert_in_range(taken, RING_BYTES * 7 / 8 / 144, RING_BYTES / 144);
    hpxi_feed_publish(&feed);
    for (uint64_t i = 0; i < taken; i++) {
        expect_message(topic_of(i), i, 100, 0);
    }
    expect_nothing(); /* a drop is no news by itself: no wake-up for it */
    push_published(2, 100, 5);
    expect_message(2, 100, 5, refused);
    expect_nothing();
    const uint64_t again = flood(101, 100);
    hpxi_feed_mark(&feed, HPX_UPDATE_INTERRUPTED, 9, 0);
    for (uint64_t i = 0; i < 100 - again; i++) {
        expect_message(topic_of(i), 101 + i, 100, 0);
    }
    expect_mark(HPX_UPDATE_INTERRUPTED, 9, again);
    const uint64_t last = flood(202, 100);
    hpxi_feed_end(&feed, &end_error);
    for (uint64_t i = 0; i < 100 - last; i++) {
        expect_message(topic_of(i), 202 + i, 100, 0);
    }
    expect_end(last);
    close_feed();
}

static void test_feed_disconnect_when_full_then_overflow_and_queued_kept(void **state)
{
    (void)state;
    open_feed(HPX_OVERFLOW_DISCONNECT);
    uint64_t taken = 0;
    hpxi_feed_result result;
    while ((result = feed_bed_push(&feed, 0, taken, 100)) == HPXI_FEED_TAKEN) {
        taken++;
    }
    assert_int_equal(result, HPXI_FEED_OVERFLOW);
    hpxi_feed_end(&feed, &end_error);
    for (uint64_t i = 0; i < taken; i++) {
        expect_message(0, i, 100, 0);
    }
    expect_end(1);
    close_feed();
}

static void test_feed_conflate_when_topic_repeats_then_newest_and_count(void **state)
{
    (void)state;
    open_feed(HPX_OVERFLOW_CONFLATE);
    push_published(4, 0, 10);
    push_published(1, 1, 20);
    push_published(4, 2, 3000);
    push_published(4, 3, 0);
    push_published(2, 4, 1);
    expect_message(4, 3, 0, 2);
    push_published(4, 5, 7);
    expect_message(1, 1, 20, 0);
    push_published(2, 6, 2);
    expect_message(2, 6, 2, 1);
    expect_message(4, 5, 7, 0);
    expect_nothing();
    assert_int_equal(feed_bed_push(&feed, 3, 7, 8193), HPXI_FEED_DROPPED);
    push_published(3, 8, 8192);
    expect_message(3, 8, 8192, 1);
    assert_int_equal(feed_bed_push(&feed, 3, 9, 8193), HPXI_FEED_DROPPED);
    hpxi_feed_end(&feed, &end_error);
    expect_end(1);
    close_feed();
}

/* Topic 0 becomes dirty before the mark, and is carried past it by a newer message. */
static void test_feed_conflate_when_mark_between_then_newer_message_after_it(void **state)
{
    (void)state;
    open_feed(HPX_OVERFLOW_CONFLATE);
    push_published(0, 0, 10);
    push_published(1, 1, 10);
    hpxi_feed_mark(&feed, HPX_UPDATE_INTERRUPTED, 1, 0);
    push_published(0, 3, 10);
    push_published(2, 4, 10);
    expect_message(1, 1, 10, 0);
    expect_mark(HPX_UPDATE_INTERRUPTED, 1, 0);
    assert_false(hpxi_feed_is_empty_sc(&feed));
    expect_message(0, 3, 10, 1);
    expect_message(2, 4, 10, 0);
    expect_nothing();
    /* Deferred, and then replaced by one with its own place in the order. */
    push_published(0, 5, 10);
    push_published(1, 6, 10);
    hpxi_feed_mark(&feed, HPX_UPDATE_LIVE, 2, 0);
    push_published(0, 8, 10);
    expect_message(1, 6, 10, 0); /* looked at 0 on the way */
    push_published(3, 9, 10);
    push_published(0, 10, 10);
    expect_mark(HPX_UPDATE_LIVE, 2, 0);
    expect_message(3, 9, 10, 0);
    expect_message(0, 10, 10, 2);
    hpxi_feed_end(&feed, &end_error);
    expect_end(0);
    close_feed();
}

static void test_feed_large_when_budget_met_then_policy_decides(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        if (policies[p] == HPX_OVERFLOW_CONFLATE) {
            continue;
        }
        open_feed(policies[p]);
        const size_t steady = memory.live;
        const bool is_oldest = policies[p] == HPX_OVERFLOW_DROP_OLDEST;
        const uint64_t count = 10; /* of 2048 bytes: four fit the budget */
        for (uint64_t i = 0; i < count; i++) {
            const bool taken = feed_bed_push(&feed, 0, i, 2048) == HPXI_FEED_TAKEN;
            assert_int_equal(taken, is_oldest || i < 4);
        }
        hpxi_feed_publish(&feed);
        assert_int_equal(memory.live, steady + 4);
        for (uint64_t i = 0; i < 4; i++) {
            const uint64_t missed = is_oldest && i == 0 ? 6 : 0;
            expect_message(0, is_oldest ? 6 + i : i, 2048, missed);
        }
        /* One more than the budget, however empty: the last one is still looked at. */
        assert_int_not_equal(feed_bed_push(&feed, 0, count, LARGE_MAX), HPXI_FEED_TAKEN);
        assert_int_not_equal(feed_bed_push(&feed, 0, count + 1, LARGE_MAX + 1), HPXI_FEED_TAKEN);
        expect_nothing();
        assert_int_equal(memory.live, steady);
        push_published(1, count + 2, LARGE_MAX);
        expect_message(1, count + 2, LARGE_MAX, is_oldest ? 2 : 8);
        hpxi_feed_end(&feed, &end_error);
        expect_end(0);
        close_feed();
    }
}

/* More than there are slots for, between small ones that evict them: blocks go with the records. */
static void test_feed_large_when_evicted_then_freed(void **state)
{
    (void)state;
    open_feed(HPX_OVERFLOW_DROP_OLDEST);
    const size_t steady = memory.live;
    push_published(0, 0, 2048);
    push_published(0, 1, 2048);
    assert_int_equal(memory.live, steady + 2);
    assert_int_equal(flood(2, 100), 0);
    assert_int_equal(memory.live, steady);
    hpxi_feed_publish(&feed);
    push_published(0, 102, 2048);
    hpx_update update;
    uint64_t next = 0;
    while (hpxi_feed_next(&feed, &update) == 1) {
        next += update.missed;
        assert_true(feed_bed_is_message(&update, next));
        next++;
    }
    assert_int_equal(next, 103);
    push_published(0, 103, 2048); /* left to fini, one in the reader's hands and one not */
    push_published(0, 104, 2048);
    assert_int_equal(hpxi_feed_next(&feed, &update), 1);
    close_feed();
}

static void test_feed_refuse_when_flooded_then_all_told(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        open_feed(policies[p]);
        for (uint32_t i = 0; i < 10 * HPXI_FEED_MARKS_MAX; i++) {
            hpxi_feed_mark(&feed, HPX_UPDATE_LIVE + i % 2, i, i);
        }
        for (uint32_t topic = 0; topic < TOPICS; topic++) {
            memory.fail_at = topic == 2 ? (size_t)memory.count : SIZE_MAX;
            hpx_error error = {.status = -5000 - (int)topic, .stage = HPX_STAGE_READY};
            (void)snprintf(error.detail, sizeof(error.detail), "no %u", topic);
            hpxi_feed_refuse(&feed, topic, &error, 3, topic + 100);
        }
        for (uint32_t i = 0; i < HPXI_FEED_MARKS_MAX; i++) {
            expect_mark(HPX_UPDATE_LIVE + i % 2, i, 0);
        }
        for (uint32_t topic = 0; topic < TOPICS; topic++) {
            hpx_update update;
            assert_int_equal(hpxi_feed_next(&feed, &update), 1);
            assert_int_equal(update.kind, HPX_UPDATE_REFUSED);
            assert_int_equal(update.topic_index, topic);
            assert_int_equal(update.epoch, 3);
            assert_int_equal(update.time_ns, topic + 100);
            assert_int_equal(update.error->status, -5000 - (int)topic);
            assert_int_equal(update.error->stage, HPX_STAGE_READY);
            assert_int_equal(update.error->detail[0], topic == 2 ? '\0' : 'n');
        }
        expect_nothing();
        /* The newest mark that found no room comes when there is some. */
        hpxi_feed_publish(&feed);
        expect_mark(HPX_UPDATE_INTERRUPTED, 10 * HPXI_FEED_MARKS_MAX - 1, 0);
        expect_nothing();
        close_feed();
    }
}

static void test_feed_fini_when_refusals_untaken_then_freed(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        open_feed(policies[p]);
        for (uint64_t i = 0; i < 3; i++) {
            (void)feed_bed_push(&feed, 0, i, 2048); /* not published */
            hpxi_feed_refuse(&feed, (uint32_t)i, &end_error, 1, 1);
        }
        (void)feed_bed_push(&feed, 0, 6, 2048);
        hpx_update update;
        assert_int_equal(hpxi_feed_next(&feed, &update), 1);
        assert_int_equal(hpxi_feed_next(&feed, &update), 1);
        close_feed();
    }
}

static hpx_overflow init_policy;

static void init_scenario(hpx_allocator alloc, bool expect_success)
{
    hpxi_feed_config config = config_of(init_policy);
    config.allocator = &alloc;
    const hpx_status status = hpxi_feed_init(&feed, &config);
    assert_int_equal(status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    if (status == HPX_OK) {
        hpxi_feed_fini(&feed);
    }
}

static void test_feed_init_when_memory_fails_then_nothing_left(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        init_policy = policies[p];
        fa_exhaust(init_scenario);
    }
}

static void test_feed_push_when_memory_fails_then_dropped_and_counted(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        open_feed(policies[p]);
        memory.fail_at = memory.count;
        assert_int_not_equal(feed_bed_push(&feed, 1, 0, 2048), HPXI_FEED_TAKEN);
        push_published(1, 1, 2048);
        expect_message(1, 1, 2048, 1);
        hpxi_feed_end(&feed, &end_error);
        expect_end(0);
        close_feed();
    }
}

static void test_feed_steady_state_when_running_then_no_allocation(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        open_feed(policies[p]);
        size_t after_warm_up = 0;
        uint64_t number = 0;
        for (uint32_t round = 0; round < 200; round++) {
            (void)flood(number, 50);
            number += 50;
            hpxi_feed_mark(&feed, HPX_UPDATE_LIVE + round % 2, round, number++);
            hpx_update update;
            while (hpxi_feed_next(&feed, &update) == 1) {
            }
            after_warm_up = round == 3 ? (size_t)memory.count : after_warm_up;
        }
        assert_int_equal(memory.count, after_warm_up);
        close_feed();
    }
}

/* ---- Random scripts -------------------------------------------------------------------------- */

static feed_bed_log feed_log;

static void script_op(uint64_t x)
{
    const feed_bed_size size = {.common_max = 120, .rare_max = 2 * INLINE_MAX};
    switch (x % 32) {
    case 0:
        if (feed_log.controls_waiting < HPXI_FEED_MARKS_MAX) {
            feed_bed_log_mark(&feed_log);
        }
        break;
    case 1:
        if (feed_log.refusals < TOPICS) {
            feed_bed_log_refuse(&feed_log);
        }
        break;
    case 2: /* seldom, so that there is overflow between */
        for (bool going = (x >> 20) % 16 == 0; going;) {
            going = feed_bed_log_take(&feed_log);
        }
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        hpxi_feed_publish(&feed);
        break;
    case 7:
    case 8:
    case 9:
    case 10:
    case 11:
    case 12:
    case 13:
        (void)feed_bed_log_take(&feed_log);
        break;
    default:
        feed_bed_log_message(&feed_log, topic_of(x >> 8), feed_bed_bytes(feed_log.count, size));
        break;
    }
}

static void script_run(hpx_overflow overflow, uint64_t seed)
{
    open_feed(overflow);
    feed_bed_log_begin(&feed_log, &feed, overflow);
    for (uint64_t i = 0; i < FEED_BED_LOG_MAX; i++) {
        script_op(feed_bed_mix(seed * FEED_BED_LOG_MAX + i));
    }
    feed_bed_log_end(&feed_log);
    while (feed_bed_log_take(&feed_log)) {
    }
    feed_bed_log_check(&feed_log);
    assert_true(feed_log.delivered > 1000 && feed_log.missed > 1000);
    close_feed();
}

static void test_feed_when_random_script_then_order_and_counts_exact(void **state)
{
    (void)state;
    for (size_t p = 0; p < COUNT_OF(policies); p++) {
        for (uint64_t seed = 1; seed <= SCRIPT_SEEDS; seed++) {
            script_run(policies[p], seed);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_feed_next_when_every_size_at_every_offset_then_as_pushed),
        cmocka_unit_test(test_feed_publish_when_not_called_then_nothing_visible),
        cmocka_unit_test(test_feed_mark_when_between_messages_then_in_order),
        cmocka_unit_test(test_feed_drop_oldest_when_full_then_newest_kept),
        cmocka_unit_test(test_feed_drop_oldest_when_view_held_then_it_stays_whole),
        cmocka_unit_test(test_feed_drop_newest_when_full_then_queued_kept),
        cmocka_unit_test(test_feed_disconnect_when_full_then_overflow_and_queued_kept),
        cmocka_unit_test(test_feed_conflate_when_topic_repeats_then_newest_and_count),
        cmocka_unit_test(test_feed_conflate_when_mark_between_then_newer_message_after_it),
        cmocka_unit_test(test_feed_large_when_budget_met_then_policy_decides),
        cmocka_unit_test(test_feed_large_when_evicted_then_freed),
        cmocka_unit_test(test_feed_refuse_when_flooded_then_all_told),
        cmocka_unit_test(test_feed_fini_when_refusals_untaken_then_freed),
        cmocka_unit_test(test_feed_init_when_memory_fails_then_nothing_left),
        cmocka_unit_test(test_feed_push_when_memory_fails_then_dropped_and_counted),
        cmocka_unit_test(test_feed_steady_state_when_running_then_no_allocation),
        cmocka_unit_test(test_feed_when_random_script_then_order_and_counts_exact),
    };
    return cmocka_run_group_tests_name("engine/feed", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_feed.c - the quickstart's client and its verdict.
 *
 * Goal      A jump of a topic's sequence number is seen, counted and fails the run; a run without
 *           messages fails as well.
 * Method    Message events fed to the handler; no connection.
 */
#include <stdio.h>

#include "tests/support/test.h"
#include "tools/hpx/feed.h"
#include "tools/hpx/quickstart.h"

static feed f;

static int setup(void **state)
{
    (void)state;
    feed_init(&f, MARKET_SYMBOLS_DEFAULT);
    return 0;
}

static void deliver(const char *json)
{
    const hpx_event event = {
        .kind = HPX_EVENT_MESSAGE,
        .message_kind = HPX_MESSAGE_TEXT,
        .payload = hpx_span_of(json),
    };
    feed_on_event(NULL, &event, &f);
}

static void update(const char *channel, unsigned sequence)
{
    char json[256];
    snprintf(
        json,
        sizeof(json),
        "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"%s\",\"data\":"
        "{\"seq\":%u,\"ts_ns\":%llu,\"price\":123.45,\"amount\":1,\"side\":\"buy\"}}}",
        channel,
        sequence,
        (unsigned long long)hpx_clock_now_ns());
    deliver(json);
}

static bool verdict(void)
{
    char buffer[VIEW_FRAME_BYTES];
    text out;
    text_init(&out, buffer, sizeof(buffer));
    const view v = {.feed = &f, .url = "wss://localhost/ws", .start_ns = 1};
    const bool is_good = view_summary(&v, HPX_NS_PER_S, &out);
    assert_false(out.full);
    return is_good;
}

static void test_feed_when_sequences_are_whole_then_no_gap(void **state)
{
    (void)state;
    for (unsigned i = 40; i < 140; i++) { /* the first may be any */
        update("trades.BTC-USD", i);
        update("trades.ETH-USD", i + 1000);
    }
    assert_int_equal(feed_gaps(&f), 0);
    assert_int_equal(f.messages, 200);
    assert_int_equal(hist_count(&f.latency), 200);
    assert_int_equal(f.topics[0].price_cents, 12345);
    assert_true(verdict());
}

static void test_feed_when_a_sequence_jumps_then_a_gap_and_a_failure(void **state)
{
    (void)state;
    update("trades.BTC-USD", 1);
    update("trades.BTC-USD", 2);
    update("trades.BTC-USD", 6);
    assert_int_equal(feed_gaps(&f), 1);
    assert_int_equal(f.topics[0].missing, 3);
    assert_false(verdict());
    update("trades.BTC-USD", 6); /* twice the same is no order either */
    assert_int_equal(feed_gaps(&f), 2);
    assert_int_equal(f.topics[0].missing, 3);
}

static void test_feed_when_connection_is_lost_then_the_pause_is_no_gap_but_a_failure(void **state)
{
    (void)state;
    update("trades.BTC-USD", 1);
    f.epoch = 1;
    assert_true(verdict());
    const hpx_error error = {.status = HPX_E_EOF};
    const hpx_event lost = {.kind = HPX_EVENT_DISCONNECTED, .error = &error};
    feed_on_event(NULL, &lost, &f);
    assert_int_equal(feed_get_state(&f), FEED_LOST);
    f.epoch = 2;
    update("trades.BTC-USD", 500);
    assert_int_equal(feed_gaps(&f), 0);
    assert_false(verdict());
}

static void test_feed_when_nothing_came_then_a_failure(void **state)
{
    (void)state;
    assert_false(verdict());
}

static void test_feed_when_message_is_strange_then_counted_and_a_failure(void **state)
{
    (void)state;
    static const char *const strange[] = {
        "",
        "x",
        "[]",
        "{}",
        "{\"params\":{\"channel\":\"trades.DOGE\",\"data\":{\"seq\":1}}}",
        "{\"params\":{\"channel\":\"trades.BTC-USD\",\"data\":5}}",
    };
    update("trades.BTC-USD", 1);
    for (size_t i = 0; i < COUNT_OF(strange); i++) {
        deliver(strange[i]);
    }
    assert_int_equal(f.strange, COUNT_OF(strange));
    assert_false(verdict());
}

static void test_view_when_frame_is_drawn_then_it_fits_and_names_every_topic(void **state)
{
    (void)state;
    char buffer[VIEW_FRAME_BYTES];
    text out;
    text_init(&out, buffer, sizeof(buffer));
    view v = {.feed = &f, .url = "wss://localhost/ws", .start_ns = 1, .duration_ns = 1};
    for (unsigned i = 1; i < 100; i++) {
        update("book.SOL-USD", i);
        view_sample(&v, i * HPX_NS_PER_MS);
    }
    const tui t = {.is_live = true, .has_utf8 = true, .columns = 80, .rows = 40};
    view_frame(&v, &t, HPX_NS_PER_S, &out);
    assert_false(out.full);
    for (uint32_t i = 0; i < f.topic_count; i++) {
        assert_non_null(strstr(out.data, f.topics[i].name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_feed_when_sequences_are_whole_then_no_gap, setup),
        cmocka_unit_test_setup(test_feed_when_a_sequence_jumps_then_a_gap_and_a_failure, setup),
        cmocka_unit_test_setup(
            test_feed_when_connection_is_lost_then_the_pause_is_no_gap_but_a_failure, setup),
        cmocka_unit_test_setup(test_feed_when_nothing_came_then_a_failure, setup),
        cmocka_unit_test_setup(test_feed_when_message_is_strange_then_counted_and_a_failure, setup),
        cmocka_unit_test_setup(
            test_view_when_frame_is_drawn_then_it_fits_and_names_every_topic, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_market.c - the simulated market.
 *
 * Goal      Same seed, same market; sequence numbers count up by one per topic; every update is
 *           JSON with the fields promised.
 * Method    Two markets side by side; updates parsed by yyjson; a long walk.
 */
#include <yyjson.h>

#include "tests/support/test.h"
#include "tools/hpx/market.h"

#define STEPS 200000u

static void start(market *m, const char *symbols, uint64_t seed)
{
    const char *why = NULL;
    assert_true(market_init(m, symbols, seed, &why));
}

static void test_market_when_same_seed_then_same_updates(void **state)
{
    (void)state;
    static market a, b, other;
    start(&a, MARKET_SYMBOLS_DEFAULT, 7);
    start(&b, MARKET_SYMBOLS_DEFAULT, 7);
    start(&other, MARKET_SYMBOLS_DEFAULT, 8);
    unsigned differs = 0;
    for (unsigned i = 0; i < 1000; i++) {
        char one[MARKET_UPDATE_BYTES], two[MARKET_UPDATE_BYTES], three[MARKET_UPDATE_BYTES];
        const market_update x = market_step(&a);
        const market_update y = market_step(&b);
        const market_update z = market_step(&other);
        const size_t size = market_format(&a, &x, i, one);
        assert_int_equal(size, market_format(&b, &y, i, two));
        assert_memory_equal(one, two, size);
        differs += market_format(&other, &z, i, three) != size || memcmp(one, three, size) != 0;
    }
    assert_true(differs > 900);
}

static void test_market_when_it_walks_then_sequences_count_and_prices_stay(void **state)
{
    (void)state;
    static market m;
    start(&m, "BTC-USD,ETH-USD,SOL-USD,PENNY", 1);
    uint64_t expected[MARKET_TOPICS_MAX] = {0};
    for (unsigned i = 0; i < STEPS; i++) {
        const market_update update = market_step(&m);
        assert_true(update.topic < m.topic_count);
        assert_int_equal(update.sequence, ++expected[update.topic]);
        assert_true(update.price_cents > 0);
        assert_true(update.amount > 0);
    }
    for (uint32_t i = 0; i < m.topic_count; i++) {
        assert_true(expected[i] > STEPS / m.topic_count / 2); /* every topic gets its share */
    }
    for (uint32_t i = 0; i < m.symbol_count; i++) {
        assert_true(m.symbols[i].price_cents > m.symbols[i].start_cents / 2);
        assert_true(m.symbols[i].price_cents < m.symbols[i].start_cents * 2);
    }
}

static void test_market_when_price_is_at_a_wall_then_it_turns_back(void **state)
{
    (void)state;
    static market m;
    start(&m, "ETH-USD", 1);
    market_symbol *symbol = &m.symbols[0];
    for (unsigned i = 0; i < 10000; i++) {
        symbol->price_cents =
            i % 2 == 0 ? symbol->start_cents / 2 + 1 : symbol->start_cents * 2 - 1;
        const market_update update = market_step(&m);
        assert_true(update.price_cents > symbol->start_cents / 2);
        assert_true(update.price_cents < symbol->start_cents * 2);
    }
}

static void check_number(yyjson_val *value)
{
    assert_true(yyjson_is_real(value));
    assert_true(yyjson_get_real(value) > 0);
}

static void check_update(const market *m, const market_update *update, yyjson_val *root)
{
    const market_topic *topic = &m->topics[update->topic];
    yyjson_val *params = yyjson_obj_get(root, "params");
    yyjson_val *data = yyjson_obj_get(params, "data");
    assert_true(yyjson_equals_str(yyjson_obj_get(root, "jsonrpc"), "2.0"));
    assert_true(yyjson_equals_str(yyjson_obj_get(root, "method"), "subscription"));
    assert_true(yyjson_equals_str(yyjson_obj_get(params, "channel"), topic->name));
    assert_int_equal(yyjson_get_uint(yyjson_obj_get(data, "seq")), update->sequence);
    assert_true(yyjson_get_uint(yyjson_obj_get(data, "ts_ns")) == UINT64_C(1234567890123456789));
    if (!topic->is_book) {
        const double price = (double)update->price_cents / 100;
        check_number(yyjson_obj_get(data, "amount"));
        assert_true(yyjson_get_real(yyjson_obj_get(data, "price")) == price);
        const char *side = yyjson_get_str(yyjson_obj_get(data, "side"));
        assert_string_equal(side, update->is_buy ? "buy" : "sell");
        return;
    }
    yyjson_val *bid = yyjson_arr_get(yyjson_arr_get(yyjson_obj_get(data, "bids"), 0), 0);
    yyjson_val *ask = yyjson_arr_get(yyjson_arr_get(yyjson_obj_get(data, "asks"), 0), 0);
    check_number(bid);
    check_number(ask);
    assert_true(yyjson_get_real(bid) < yyjson_get_real(ask));
}

static void test_market_when_formatted_then_json_with_all_fields(void **state)
{
    (void)state;
    static market m;
    start(&m, "BTC-USD,A,ABCDEFGHIJKLMNOPQRSTUVWX", 3);
    for (unsigned i = 0; i < 20000; i++) {
        char json[MARKET_UPDATE_BYTES];
        market_update update = market_step(&m);
        update.sequence += (uint64_t)i << 48; /* numbers of every length */
        const size_t size = market_format(&m, &update, UINT64_C(1234567890123456789), json);
        yyjson_doc *doc = yyjson_read(json, size, 0);
        assert_non_null(doc);
        check_update(&m, &update, yyjson_doc_get_root(doc));
        yyjson_doc_free(doc);
    }
}

static void test_market_when_symbols_are_bad_then_refused_with_a_reason(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        ",",
        "BTC,",
        ",BTC",
        "BTC,,ETH",
        "BTC USD",
        "BTC\"",
        "BTC/USD",
        "A,B,A",
        "ABCDEFGHIJKLMNOPQRSTUVWXY",
        "\xC3\x84",
    };
    static market m;
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const char *why = NULL;
        assert_false(market_init(&m, bad[i], 1, &why));
        assert_non_null(why);
    }
    char many[257 * 5] = "";
    for (unsigned i = 0; i < 257; i++) {
        snprintf(many + strlen(many), sizeof(many) - strlen(many), "%sS%u", i ? "," : "", i);
    }
    const char *why = NULL;
    assert_false(market_init(&m, many, 1, &why));
    *strrchr(many, ',') = '\0';
    assert_true(market_init(&m, many, 1, &why));
    assert_int_equal(m.topic_count, MARKET_TOPICS_MAX);
}

static void test_market_when_topic_is_looked_up_then_only_whole_names_match(void **state)
{
    (void)state;
    static market m;
    start(&m, MARKET_SYMBOLS_DEFAULT, 1);
    assert_int_equal(market_find_topic(&m, "trades.BTC-USD", 14), 0);
    assert_int_equal(market_find_topic(&m, "book.SOL-USD", 12), 5);
    assert_int_equal(market_find_topic(&m, "trades.BTC-USD", 13), -1);
    assert_int_equal(market_find_topic(&m, "trades.BTC-USD\0x", 16), -1);
    assert_int_equal(market_find_topic(&m, "", 0), -1);
    assert_int_equal(market_find_symbol(&m, "ETH-USD"), 1);
    assert_int_equal(market_find_symbol(&m, "ETH"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_market_when_same_seed_then_same_updates),
        cmocka_unit_test(test_market_when_it_walks_then_sequences_count_and_prices_stay),
        cmocka_unit_test(test_market_when_price_is_at_a_wall_then_it_turns_back),
        cmocka_unit_test(test_market_when_formatted_then_json_with_all_fields),
        cmocka_unit_test(test_market_when_symbols_are_bad_then_refused_with_a_reason),
        cmocka_unit_test(test_market_when_topic_is_looked_up_then_only_whole_names_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

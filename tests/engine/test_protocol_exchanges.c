/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    The shapes in which real exchanges speak can be said as generic configurations: those of
 *         docs/dialects.md.
 * Method  For each exchange its configuration, messages as its documentation prints them and what
 *         they are, and what we send.
 */
#include <hpx/protocol.h>

#include "tests/engine/dialect_bed.h"
#include "tests/support/test.h"

static hpx_protocol *make(const hpx_json_config *config)
{
    hpx_protocol *protocol = NULL;
    hpx_error error = {0};
    if (hpx_protocol_json_new(&protocol, config, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
    return protocol;
}

static void test_binance_when_combined_streams_then_understood(void **state)
{
    (void)state;
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.topic_field = "stream";
    config.error_rule = "error|code&msg";
    config.reason_field = "error.msg|msg";
    config.subscribe = "{\"method\":\"SUBSCRIBE\",\"params\":${topics},\"id\":${id}}";
    config.unsubscribe = "{\"method\":\"UNSUBSCRIBE\",\"params\":${topics},\"id\":${id}}";
    config.acknowledges = true;
    hpx_protocol *protocol = make(&config);
    static const bed_row rows[] = {
        {"{\"result\":null,\"id\":312}", "response 312"},
        {"{\"result\":[\"btcusdt@aggTrade\"],\"id\":3}", "response 3"},
        {"{\"error\":{\"code\":2,\"msg\":\"Invalid request\"},\"id\":3}",
         "response 3 error: Invalid request"},
        {"{\"code\":0,\"msg\":\"Unknown property\",\"id\":3}",
         "response 3 error: Unknown property"},
        {"{\"stream\":\"btcusdt@aggTrade\",\"data\":{\"e\":\"aggTrade\",\"p\":\"0.001\",\"id\":1}}",
         "update btcusdt@aggTrade"},
    };
    bed_check(protocol, rows, COUNT_OF(rows));
    assert_string_equal(
        bed_subscribe(protocol, 1, "btcusdt@aggTrade btcusdt@depth"),
        "{\"method\":\"SUBSCRIBE\",\"params\":[\"btcusdt@aggTrade\",\"btcusdt@depth\"],\"id\":1}");
    assert_string_equal(
        bed_inject(protocol, "{\"method\":\"LIST_SUBSCRIPTIONS\"}", 9),
        "{\"id\":9,\"method\":\"LIST_SUBSCRIPTIONS\"}");
    hpx_protocol_free(protocol);
}

#define OKX_TICKERS "{\"channel\":\"tickers\",\"instId\":\"BTC-USDT\"}"

/* Topics are the `arg` objects, as the exchange writes them. */
static void test_okx_when_topics_are_objects_then_understood(void **state)
{
    (void)state;
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.id_is_string = true;
    config.topic_field = "arg";
    config.update_rule = "data";
    config.error_rule = "event=error";
    config.reason_field = "msg";
    config.system_rule = "event=notice|event=channel-conn-count";
    config.reconnect_rule = "event=notice&code=64008";
    config.auth = "{\"op\":\"login\",\"args\":[{\"apiKey\":\"k\",\"sign\":\"s\"}]}";
    config.auth_ok_rule = "event=login&code=0";
    config.auth_failed_rule = "event=error&code=60009|event=error&code=60005";
    config.subscribe = "{\"id\":${id},\"op\":\"subscribe\",\"args\":${topics:${topic:raw}}}";
    config.unsubscribe = "{\"id\":${id},\"op\":\"unsubscribe\",\"args\":${topics:${topic:raw}}}";
    config.acknowledges = true;
    config.subscribed_rule = "event=subscribe";
    config.unsubscribed_rule = "event=unsubscribe";
    config.ping = "ping";
    hpx_protocol *protocol = make(&config);
    static const bed_row rows[] = {
        {"{\"id\":\"1512\",\"event\":\"subscribe\",\"arg\":" OKX_TICKERS
         ",\"connId\":\"a4d3ae55\"}",
         "control subscribed " OKX_TICKERS},
        {"{\"event\":\"unsubscribe\",\"arg\":" OKX_TICKERS ",\"connId\":\"a4d3ae55\"}",
         "control unsubscribed " OKX_TICKERS},
        {"{\"arg\":" OKX_TICKERS ",\"data\":[{\"last\":\"9999.99\",\"ts\":\"1597026383085\"}]}",
         "update " OKX_TICKERS},
        {"{\"id\":\"1512\",\"event\":\"error\",\"code\":\"60012\",\"msg\":\"Invalid request\"}",
         "response 1512 error: Invalid request"},
        {"{\"event\":\"error\",\"code\":\"60012\",\"msg\":\"Invalid request\"}",
         "system error: Invalid request"},
        {"{\"event\":\"login\",\"code\":\"0\",\"msg\":\"\"}", "control auth-ok"},
        {"{\"event\":\"error\",\"code\":\"60009\",\"msg\":\"Login failed.\"}",
         "control auth-failed: Login failed."},
        {"{\"event\":\"notice\",\"code\":\"64008\",\"msg\":\"The connection will soon be closed\"}",
         "system reconnect: The connection will soon be closed"},
        {"pong", "control pong"},
    };
    bed_check(protocol, rows, COUNT_OF(rows));
    assert_string_equal(
        bed_subscribe(protocol, 1, OKX_TICKERS " {\"channel\":\"account\"}"),
        "{\"id\":\"1\",\"op\":\"subscribe\",\"args\":[" OKX_TICKERS ",{\"channel\":\"account\"}]}");
    assert_string_equal(bed_ping(protocol, 1), "ping");
    assert_string_equal(
        bed_inject(protocol, "{\"op\":\"order\",\"args\":[{}]}", 7),
        "{\"id\":\"7\",\"op\":\"order\",\"args\":[{}]}");
    hpx_protocol_free(protocol);
}

static void test_bybit_when_v5_then_understood(void **state)
{
    (void)state;
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.id_field = "req_id";
    config.id_is_string = true;
    config.error_rule = "success=false";
    config.reason_field = "ret_msg";
    config.auth = "{\"req_id\":${id},\"op\":\"auth\",\"args\":[\"key\",1662350400000,\"sign\"]}";
    config.auth_ok_rule = "op=auth&success=true";
    config.auth_failed_rule = "op=auth&success=false";
    config.subscribe = "{\"req_id\":${id},\"op\":\"subscribe\",\"args\":${topics}}";
    config.unsubscribe = "{\"req_id\":${id},\"op\":\"unsubscribe\",\"args\":${topics}}";
    config.acknowledges = true;
    config.ping = "{\"req_id\":${id},\"op\":\"ping\"}";
    config.pong_rule = "op=pong|op=ping";
    hpx_protocol *protocol = make(&config);
    static const bed_row rows[] = {
        {"{\"success\":true,\"ret_msg\":\"\",\"conn_id\":\"2324\",\"req_id\":\"10\",\"op\":"
         "\"subscribe\"}",
         "response 10"},
        {"{\"success\":false,\"ret_msg\":\"error:handler not "
         "found\",\"req_id\":\"10\",\"op\":\"subscribe\"}",
         "response 10 error: error:handler not found"},
        {"{\"topic\":\"publicTrade.BTCUSDT\",\"type\":\"snapshot\",\"ts\":1672304486868,\"data\":[{"
         "}]}",
         "update publicTrade.BTCUSDT"},
        {"{\"success\":true,\"ret_msg\":\"pong\",\"conn_id\":\"0\",\"req_id\":\"\",\"op\":"
         "\"ping\"}",
         "control pong"},
        {"{\"req_id\":\"test\",\"op\":\"pong\",\"args\":[\"1675418560633\"],\"conn_id\":\"c\"}",
         "control pong"},
        {"{\"success\":true,\"ret_msg\":\"\",\"op\":\"auth\",\"conn_id\":\"c\"}",
         "control auth-ok"},
        {"{\"success\":false,\"ret_msg\":\"Params Error\",\"op\":\"auth\"}",
         "control auth-failed: Params Error"},
    };
    bed_check(protocol, rows, COUNT_OF(rows));
    assert_string_equal(
        bed_subscribe(protocol, 5, "orderbook.1.BTCUSDT"),
        "{\"req_id\":\"5\",\"op\":\"subscribe\",\"args\":[\"orderbook.1.BTCUSDT\"]}");
    assert_string_equal(bed_ping(protocol, 6), "{\"req_id\":\"6\",\"op\":\"ping\"}");
    hpx_protocol_free(protocol);
}

/* Topics are symbols of one channel, acknowledged one by one. */
static void test_kraken_when_v2_then_understood(void **state)
{
    (void)state;
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.id_field = "req_id";
    config.topic_field = "data.0.symbol|result.symbol|symbol";
    config.update_rule = "channel=ticker";
    config.reason_field = "error";
    config.system_rule = "channel=status|channel=heartbeat";
    config.subscribe = "{\"method\":\"subscribe\",\"params\":{\"channel\":\"ticker\",\"symbol\":"
                       "${topics}},\"req_id\":${id}}";
    config.unsubscribe =
        "{\"method\":\"unsubscribe\",\"params\":{\"channel\":\"ticker\",\"symbol\":"
        "${topics}},\"req_id\":${id}}";
    config.acknowledges = true;
    config.subscribed_rule = "method=subscribe&success=true";
    config.unsubscribed_rule = "method=unsubscribe&success=true";
    config.refused_rule = "method=subscribe&success=false";
    config.ping = "{\"method\":\"ping\",\"req_id\":${id}}";
    hpx_protocol *protocol = make(&config);
    static const bed_row rows[] = {
        {"{\"method\":\"subscribe\",\"result\":{\"channel\":\"ticker\",\"snapshot\":true,"
         "\"symbol\":"
         "\"ALGO/USD\"},\"success\":true,\"time_in\":\"2023-09-25T09:04:31.742599Z\",\"req_id\":1}",
         "control subscribed ALGO/USD"},
        {"{\"error\":\"Currency pair not "
         "supported\",\"method\":\"subscribe\",\"req_id\":1,\"success\":"
         "false,\"symbol\":\"X/Y\"}",
         "control refused X/Y: Currency pair not supported"},
        {"{\"method\":\"unsubscribe\",\"result\":{\"symbol\":\"ALGO/USD\"},\"success\":true}",
         "control unsubscribed ALGO/USD"},
        {"{\"channel\":\"ticker\",\"type\":\"update\",\"data\":[{\"symbol\":\"ALGO/"
         "USD\",\"bid\":0.1}]}",
         "update ALGO/USD"},
        {"{\"channel\":\"status\",\"data\":[{\"system\":\"online\"}],\"type\":\"update\"}",
         "system"},
        {"{\"channel\":\"heartbeat\"}", "system"},
        {"{\"method\":\"pong\",\"req_id\":101,\"time_in\":\"2023-09-24T14:10:23.799685Z\"}",
         "response 101"},
    };
    bed_check(protocol, rows, COUNT_OF(rows));
    assert_string_equal(
        bed_subscribe(protocol, 1, "ALGO/USD BTC/USD"),
        "{\"method\":\"subscribe\",\"params\":{\"channel\":\"ticker\",\"symbol\":[\"ALGO/USD\","
        "\"BTC/USD\"]},\"req_id\":1}");
    hpx_protocol_free(protocol);
}

/* One topic for each message; the server pings with a number that it wants back. */
static void test_htx_when_server_pings_then_its_number_goes_back(void **state)
{
    (void)state;
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.id_is_string = true;
    config.topic_field = "ch|subbed|unsubbed";
    config.update_rule = "ch";
    config.error_rule = "status=error";
    config.reason_field = "err-msg";
    config.subscribe = "{\"sub\":${topic},\"id\":${id}}";
    config.unsubscribe = "{\"unsub\":${topic},\"id\":${id}}";
    config.acknowledges = true;
    config.ping_rule = "ping";
    config.ping_value_field = "ping";
    config.pong = "{\"pong\":${ping}}";
    hpx_protocol *protocol = make(&config);
    static const bed_row rows[] = {
        {"{\"ping\":1492420473027}", "control ping"},
        {"{\"id\":\"1\",\"status\":\"ok\",\"subbed\":\"market.btcusdt.kline.1min\",\"ts\":14}",
         "response 1"},
        {"{\"status\":\"error\",\"id\":\"1\",\"err-code\":\"bad-request\",\"err-msg\":\"invalid "
         "topic\"}",
         "response 1 error: invalid topic"},
        {"{\"ch\":\"market.btcusdt.kline.1min\",\"ts\":14,\"tick\":{\"id\":1489464480}}",
         "update market.btcusdt.kline.1min"},
    };
    bed_check(protocol, rows, COUNT_OF(rows));
    assert_string_equal(
        bed_pong(protocol, "{\"ping\":1492420473027}", 1), "{\"pong\":1492420473027}");
    assert_string_equal(bed_subscribe(protocol, 1, "m.b"), "{\"sub\":\"m.b\",\"id\":\"1\"}");
    assert_string_equal(bed_subscribe(protocol, 1, "m.b m.c"), "-4205");
    hpx_protocol_free(protocol);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_binance_when_combined_streams_then_understood),
        cmocka_unit_test(test_okx_when_topics_are_objects_then_understood),
        cmocka_unit_test(test_bybit_when_v5_then_understood),
        cmocka_unit_test(test_kraken_when_v2_then_understood),
        cmocka_unit_test(test_htx_when_server_pings_then_its_number_goes_back),
    };
    return cmocka_run_group_tests_name("engine/protocol_exchanges", tests, NULL, NULL);
}

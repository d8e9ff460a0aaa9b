/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_faults.c - the exchange's faults.
 *
 * Goal      Each fault is taken as documented, and a mistake in one is refused in words and changes
 *           nothing: a test must not pass because its fault was misspelt.
 * Method    Tables of faults, good and bad; sessions that ask under them.
 */
#include <stdio.h>
#include <yyjson.h>

#include "tests/support/test.h"
#include "tools/hpx/faults.h"
#include "tools/hpx/observed.h"
#include "tools/hpx/session.h"

static faults taken;
static fault_now now;

static const char *take(const char *json)
{
    yyjson_doc *doc = yyjson_read_opts(
        (char *)(uintptr_t)json, strlen(json), YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    assert_non_null(doc);
    const char *why = faults_take(&taken, yyjson_doc_get_root(doc), &now);
    yyjson_doc_free(doc);
    return why;
}

static int setup(void **state)
{
    (void)state;
    faults_init(&taken);
    memset(&now, 0xAA, sizeof(now));
    return 0;
}

static void test_faults_when_misspelt_then_refused_and_nothing_changes(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"{}", "fault is none of"},
        {"[]", "fault is none of"},
        {"{\"fault\":\"nothing\"}", "fault is none of"},
        {"{\"fault\":5}", "fault is none of"},
        {"{\"fault\":\"answer\"}", "how is none of"},
        {"{\"fault\":\"answer\",\"how\":\"sometimes\"}", "how is none of"},
        {"{\"fault\":\"answer\",\"how\":\"late\",\"delay\":5}", "does not have"},
        {"{\"fault\":\"answer\",\"how\":\"late\",\"delay_ms\":-5}", "not whole"},
        {"{\"fault\":\"answer\",\"how\":\"late\",\"delay_ms\":1.5}", "not whole"},
        {"{\"fault\":\"answer\",\"how\":\"late\",\"delay_ms\":\"5\"}", "not whole"},
        {"{\"fault\":\"answer\",\"how\":\"late\",\"delay_ms\":99999999999999999999}", "not whole"},
        {"{\"fault\":\"answer\",\"how\":\"late\",\"across\":1}", "neither true nor false"},
        {"{\"fault\":\"answer\",\"how\":\"close\",\"code\":1006}", "no close code"},
        {"{\"fault\":\"answer\",\"how\":\"never\",\"method\":[]}", "no string"},
        {"{\"fault\":\"answer\",\"how\":\"never\",\"method\":"
         "\"0123456789012345678901234567890123456789012345678\"}",
         "too long"},
        {"{\"fault\":\"drop\"}", "neither now nor every_ms"},
        {"{\"fault\":\"drop\",\"now\":true,\"code\":999}", "no close code"},
        {"{\"fault\":\"upgrade\",\"status\":200}", "neither 101 nor"},
        {"{\"fault\":\"topics\",\"refuse\":\"a\"}", "no array"},
        {"{\"fault\":\"topics\",\"refuse\":[1]}", "no array"},
        {"{\"fault\":\"silent\",\"on\":1}", "neither true nor false"},
        {"{\"fault\":\"send\",\"text\":5}", "no string"},
        {"{\"fault\":\"clear\",\"all\":true}", "does not have"},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        const faults before = taken;
        const char *why = take(bad[i][0]);
        if (why == NULL || strstr(why, bad[i][1]) == NULL) {
            fail_msg("%s: %s", bad[i][0], why == NULL ? "taken" : why);
        }
        assert_memory_equal(&before, &taken, sizeof(taken));
        assert_int_equal(now.what, FAULT_NOW_NOTHING);
    }
    assert_non_null(faults_take_text(&taken, "{"));
    assert_non_null(faults_take_text(&taken, "{\"fault\":\"drop\",\"now\":true}"));
    assert_null(faults_take_text(&taken, "{\"fault\":\"drop\",\"every_ms\":5}"));
}

static void test_faults_when_a_request_fits_then_as_often_as_said(void **state)
{
    (void)state;
    assert_null(
        take("{\"fault\":\"answer\",\"how\":\"never\",\"method\":\"public/test\",\"times\":2}"));
    assert_null(take("{\"fault\":\"answer\",\"how\":\"twice\",\"id\":7}"));
    assert_null(take(
        "{\"fault\":\"answer\",\"how\":\"late\",\"id\":\"x\",\"delay_ms\":250,\"across\":true}"));
    assert_int_equal(faults_for_request(&taken, "public/auth", "1").how, FAULT_NONE);
    assert_int_equal(faults_for_request(&taken, "public/test", "1").how, FAULT_NEVER);
    assert_int_equal(faults_for_request(&taken, "public/test", "7").how, FAULT_NEVER);
    assert_int_equal(faults_for_request(&taken, "public/test", "7").how, FAULT_TWICE);
    assert_int_equal(faults_for_request(&taken, "public/test", "\"7\"").how, FAULT_NONE);
    const fault_answer late = faults_for_request(&taken, "public/auth", "\"x\"");
    assert_int_equal(late.how, FAULT_LATE);
    assert_true(late.across);
    assert_true(late.delay_ns == 250 * HPX_NS_PER_MS);
    assert_null(take("{\"fault\":\"clear\"}"));
    assert_int_equal(faults_for_request(&taken, "public/auth", "\"x\"").how, FAULT_NONE);
    for (uint32_t i = 0; i < FAULTS_ANSWERS_MAX; i++) {
        assert_null(take("{\"fault\":\"answer\",\"how\":\"error\"}"));
    }
    assert_non_null(take("{\"fault\":\"answer\",\"how\":\"error\"}"));
}

static void test_faults_when_upgrades_are_refused_then_as_often_as_said(void **state)
{
    (void)state;
    assert_int_equal(faults_for_upgrade(&taken).http_status, 101);
    assert_null(take("{\"fault\":\"upgrade\",\"status\":503,\"retry_after_s\":9,\"times\":1}"));
    const hpx_upgrade_answer answer = faults_for_upgrade(&taken);
    assert_int_equal(answer.http_status, 503);
    assert_int_equal(answer.retry_after_s, 9);
    assert_int_equal(faults_for_upgrade(&taken).http_status, 101);
    assert_null(take("{\"fault\":\"upgrade\"}"));
    assert_int_equal(faults_for_upgrade(&taken).http_status, 429);
    assert_int_equal(faults_for_upgrade(&taken).http_status, 429);
    assert_null(take("{\"fault\":\"upgrade\",\"status\":101}"));
    assert_int_equal(faults_for_upgrade(&taken).http_status, 101);
}

static void test_faults_when_due_now_then_handed_back(void **state)
{
    (void)state;
    assert_null(take("{\"fault\":\"drop\",\"now\":true,\"code\":4001}"));
    assert_int_equal(now.what, FAULT_NOW_DROP);
    assert_int_equal(now.code, 4001);
    assert_null(take("{\"fault\":\"send\",\"text\":\"{\",\"binary\":true}"));
    assert_int_equal(now.what, FAULT_NOW_SEND);
    assert_true(now.is_binary);
    assert_int_equal(now.text_bytes, 1);
    assert_int_equal(now.text[0], '{');
    assert_null(take("{\"fault\":\"send\",\"bytes\":100000}"));
    assert_int_equal(now.bytes, 100000);
    assert_null(take("{\"fault\":\"send\"}"));
    assert_int_equal((uint8_t)now.text[0], 0xFF);
    assert_null(take("{\"fault\":\"silent\",\"on\":true}"));
    assert_int_equal(now.what, FAULT_NOW_NOTHING);
    assert_true(taken.silent);
}

static market test_market;
static session client;
static char reply_buffer[SESSION_REPLY_BYTES];

static const char *ask(session_shared *shared, const char *method, const char *params)
{
    char request[512];
    snprintf(
        request,
        sizeof(request),
        "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"%s\",\"params\":%s}",
        method,
        params);
    text reply;
    text_init(&reply, reply_buffer, sizeof(reply_buffer));
    session_request(&client, shared, hpx_span_of(request), 0, &reply);
    const char *answer = strstr(reply.data, "\"id\":7,");
    assert_non_null(answer);
    return answer + 7;
}

static void test_session_when_topics_are_refused_then_the_others_are_subscribed(void **state)
{
    (void)state;
    const char *why = NULL;
    observed seen = {0};
    session_shared shared = {.market = &test_market, .faults = &taken, .observed = &seen};
    assert_true(market_init(&test_market, "A,B", 1, &why));
    memset(&client, 0, sizeof(client));
    const char *all = "{\"channels\":[\"trades.A\",\"trades.B\",\"book.A\"]}";
    assert_null(take("{\"fault\":\"topics\",\"refuse\":[\"trades.A\"],\"accept_max\":1}"));
    assert_string_equal(ask(&shared, "public/subscribe", all), "\"result\":[\"trades.B\"]}");
    assert_int_equal(seen.subscribe_messages, 1);
    assert_int_equal(seen.subscribe_topics, 3);
    assert_null(take("{\"fault\":\"topics\"}"));
    assert_string_equal(
        ask(&shared, "public/subscribe", all),
        "\"result\":[\"trades.A\",\"trades.B\",\"book.A\"]}");
    assert_string_equal(
        ask(&shared, "public/unsubscribe", all),
        "\"result\":[\"trades.A\",\"trades.B\",\"book.A\"]}");
    assert_int_equal(seen.unsubscribe_messages, 1);
    assert_int_equal(seen.unsubscribe_topics, 3);
}

static void test_session_when_auth_is_required_then_subscribing_before_it_is_counted(void **state)
{
    (void)state;
    const char *why = NULL;
    observed seen = {0};
    session_shared shared = {.market = &test_market, .observed = &seen, .require_auth = true};
    assert_true(market_init(&test_market, "A", 1, &why));
    memset(&client, 0, sizeof(client));
    const char *channels = "{\"channels\":[\"trades.A\"]}";
    const char *refused = "\"error\":{\"code\":13009,\"message\":\"unauthorized\"}}";
    assert_string_equal(ask(&shared, "public/subscribe", channels), refused);
    assert_string_equal(ask(&shared, "public/unsubscribe", channels), refused);
    assert_int_equal(seen.unauthenticated, 2);
    assert_int_equal(seen.subscribe_messages, 0);
    assert_non_null(strstr(ask(&shared, "public/test", "{}"), "result"));
    assert_non_null(strstr(
        ask(&shared,
            "public/auth",
            "{\"grant_type\":\"client_credentials\",\"client_id\":\"a\",\"client_secret\":"
            "\"secret\"}"),
        "result"));
    assert_string_equal(ask(&shared, "public/subscribe", channels), "\"result\":[\"trades.A\"]}");
    assert_int_equal(seen.unauthenticated, 2);
}

static void test_observed_when_names_come_then_counted_by_kind(void **state)
{
    (void)state;
    observed o = {0};
    observed_add(&o, 'i', "1"); /* nobody looks: no-op */
    assert_int_equal(observed_count(&o, 'i', "1"), 0);
    assert_true(observed_open(&o));
    observed_add(&o, 'l', "5");
    for (uint32_t i = 0; i < 100000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        observed_add(&o, 'i', name);
    }
    observed_add(&o, 'i', "5");
    assert_int_equal(observed_count(&o, 'i', "5"), 2);
    assert_int_equal(observed_count(&o, 'l', "5"), 1);
    assert_int_equal(observed_count(&o, 'l', "6"), 0);
    assert_true(o.forgotten > 0);
    assert_true(o.entry_count + o.forgotten >= 100000);
    observed_close(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_faults_when_misspelt_then_refused_and_nothing_changes, setup),
        cmocka_unit_test_setup(test_faults_when_a_request_fits_then_as_often_as_said, setup),
        cmocka_unit_test_setup(test_faults_when_upgrades_are_refused_then_as_often_as_said, setup),
        cmocka_unit_test_setup(test_faults_when_due_now_then_handed_back, setup),
        cmocka_unit_test_setup(
            test_session_when_topics_are_refused_then_the_others_are_subscribed, setup),
        cmocka_unit_test_setup(
            test_session_when_auth_is_required_then_subscribing_before_it_is_counted, setup),
        cmocka_unit_test(test_observed_when_names_come_then_counted_by_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

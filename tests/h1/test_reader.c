/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the reader accepts what RFC 9112 says a message is, refuses what could be read in two ways,
 * and says the same wherever the input is cut.
 * Method: the vectors of vectors_*.c, each whole, in pieces of every size, and split at every
 * place; what a server is to answer; the reader used for one message after another.
 */
#include "tests/h1/vectors.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

static bool log_is(const message_log *log, const vector *row)
{
    const char *failure = strstr(row->log, "!-");
    return failure == NULL ? strcmp(log->text, row->log) == 0
                           : strncmp(log->text, row->log, strlen(row->log)) == 0;
}

/* Whole; then every size of piece; then every place of a split. All logs are the same. */
static void check_row(const vector *row)
{
    const log_plan plan = vector_plan(row);
    const uint8_t *bytes = (const uint8_t *)row->bytes;
    message_log whole;
    message_log cut;
    log_read(&whole, &plan, bytes, row->size, 0, row->size + 1);
    if (!log_is(&whole, row)) {
        fail_msg("%s: expected\n%s\nis\n%s", row->name, row->log, whole.text);
    }
    for (size_t piece = 1; piece < row->size; piece++) {
        log_read(&cut, &plan, bytes, row->size, 0, piece);
        if (strcmp(cut.text, whole.text) != 0) {
            fail_msg(
                "%s in pieces of %zu:\n%s\nwhole:\n%s", row->name, piece, cut.text, whole.text);
        }
        log_read(&cut, &plan, bytes, row->size, piece, row->size);
        if (strcmp(cut.text, whole.text) != 0) {
            fail_msg("%s split at %zu:\n%s\nwhole:\n%s", row->name, piece, cut.text, whole.text);
        }
    }
}

static void test_reader_when_message_is_good_then_events_at_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < h1_good_count; i++) {
        check_row(&h1_good[i]);
    }
}

static void test_reader_when_message_is_bad_then_refused_at_every_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < h1_bad_count; i++) {
        check_row(&h1_bad[i]);
    }
}

/* All messages complete, and only then, when the input is all there: no byte is needed after. */
static void test_reader_when_input_is_shortened_then_never_complete(void **state)
{
    (void)state;
    for (size_t i = 0; i < h1_good_count; i++) {
        const vector *row = &h1_good[i];
        const log_plan plan = vector_plan(row);
        message_log whole;
        log_read(&whole, &plan, (const uint8_t *)row->bytes, row->size, 0, row->size);
        if (row->close != LOG_CLOSE_NONE || whole.message_count == 0) {
            continue;
        }
        for (size_t size = 0; size < row->size; size++) {
            message_log part;
            log_read(&part, &plan, (const uint8_t *)row->bytes, size, 0, row->size);
            assert_int_equal(part.status, HPX_E_PARTIAL);
            assert_true(part.message_count < whole.message_count);
        }
    }
}

/* The failures of a server say what to answer. */
static void test_reader_when_request_is_refused_then_status_to_answer(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint16_t refusal;
    } rows[] = {
        {"request_0_9", 400},
        {"request_2_0", 505},
        {"request_1_2", 505},
        {"request_two_spaces", 400},
        {"request_version_space", 400},
        {"request_lower_case", 400},
        {"request_no_host", 400},
        {"request_two_hosts", 400},
        {"request_length_and_coding", 400},
        {"request_coding", 501},
        {"request_expect", 417},
        {"request_method_long", 400},
        {"request_tls", 400},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        size_t at = 0;
        while (strcmp(h1_bad[at].name, rows[i].name) != 0) {
            assert_true(++at < h1_bad_count);
        }
        const log_plan plan = vector_plan(&h1_bad[at]);
        message_log log;
        log_read(&log, &plan, (const uint8_t *)h1_bad[at].bytes, h1_bad[at].size, 0, 1000);
        if (log.refusal != rows[i].refusal) {
            fail_msg("%s: %u", rows[i].name, log.refusal);
        }
    }
}

/* A connection that may not be used again says so, and one that may does. */
static void test_reader_when_message_ends_then_reusable_only_if_it_says_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < h1_good_count; i++) {
        const vector *row = &h1_good[i];
        const log_plan plan = vector_plan(row);
        message_log log;
        if (plan.role == HPXI_H1_ROLE_CLIENT) {
            log_read(&log, &plan, (const uint8_t *)row->bytes, row->size, 0, row->size);
            const bool ended = log.message_count == 1 && row->close == LOG_CLOSE_NONE;
            assert_int_equal(log.reusable, ended && strstr(row->log, " keep") != NULL);
        }
    }
}

static void
next_is(hpxi_h1_reader *reader, const char *bytes, const hpxi_h1_event_kind *kinds, size_t count)
{
    const uint8_t *data = (const uint8_t *)bytes;
    size_t size = strlen(bytes);
    hpxi_h1_event event;
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(hpxi_h1_reader_next(reader, &data, &size, &event), 1);
        assert_int_equal(event.kind, kinds[i]);
    }
    assert_int_equal(hpxi_h1_reader_next(reader, &data, &size, &event), HPX_E_PARTIAL);
    assert_int_equal(size, 0);
}

/* One reader, many messages: nothing of one shows in the next, and nothing is allocated. */
static void test_reader_when_used_again_then_clean_and_without_allocation(void **state)
{
    (void)state;
    static const hpxi_h1_event_kind body[] = {
        HPXI_H1_EVENT_HEAD, HPXI_H1_EVENT_DATA, HPXI_H1_EVENT_END};
    static const hpxi_h1_event_kind interim[] = {
        HPXI_H1_EVENT_INTERIM, HPXI_H1_EVENT_HEAD, HPXI_H1_EVENT_END};
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_h1_reader reader;
    hpxi_h1_reader_init(&reader, HPXI_H1_ROLE_CLIENT, &HPXI_H1_LIMITS_DEFAULT, &allocator);
    size_t warm = 0;
    for (size_t i = 0; i < 10; i++) {
        hpxi_h1_reader_start(&reader, NULL);
        next_is(
            &reader,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n3;x\r\nabc\r\n0\r\nT: "
            "u\r\n"
            "\r\n",
            body,
            COUNT_OF(body));
        assert_int_equal(reader.trailers.field_count, 1);
        hpxi_h1_reader_start(&reader, NULL);
        assert_int_equal(reader.message_bytes, 0);
        next_is(
            &reader,
            "HTTP/1.1 103 x\r\nL: m\r\nN: o\r\n\r\nHTTP/1.1 204 y\r\n\r\n",
            interim,
            COUNT_OF(interim));
        assert_int_equal(reader.head.field_count, 0);
        assert_int_equal(reader.message_bytes, 48);
        assert_int_equal(reader.trailers.field_count, 0);
        assert_true(hpxi_h1_reader_is_reusable(&reader));
        warm = i == 0 ? fa.count : warm;
    }
    assert_int_equal(fa.count, warm);
    hpxi_h1_reader_fini(&reader);
    assert_int_equal(fa.live, 0);
}

/* Body pieces are views into the input: nothing is copied. */
static void test_reader_when_body_comes_then_views_into_the_input(void **state)
{
    (void)state;
    static const char bytes[] = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nabcdefgh";
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_h1_reader reader;
    hpxi_h1_event event;
    hpxi_h1_reader_init(&reader, HPXI_H1_ROLE_CLIENT, &HPXI_H1_LIMITS_DEFAULT, &allocator);
    hpxi_h1_reader_start(&reader, NULL);
    const uint8_t *data = (const uint8_t *)bytes;
    size_t size = sizeof(bytes) - 1;
    assert_int_equal(hpxi_h1_reader_next(&reader, &data, &size, &event), 1);
    const uint8_t *body = data;
    assert_int_equal(hpxi_h1_reader_next(&reader, &data, &size, &event), 1);
    assert_ptr_equal(event.data.data, body);
    assert_int_equal(event.data.size, 8);
    /* the head's spans live on */
    assert_int_equal(reader.head.fields[0].value.data[0], '8');
    hpxi_h1_reader_fini(&reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader_when_message_is_good_then_events_at_every_cut),
        cmocka_unit_test(test_reader_when_message_is_bad_then_refused_at_every_cut),
        cmocka_unit_test(test_reader_when_input_is_shortened_then_never_complete),
        cmocka_unit_test(test_reader_when_request_is_refused_then_status_to_answer),
        cmocka_unit_test(test_reader_when_message_ends_then_reusable_only_if_it_says_so),
        cmocka_unit_test(test_reader_when_used_again_then_clean_and_without_allocation),
        cmocka_unit_test(test_reader_when_body_comes_then_views_into_the_input),
    };
    return cmocka_run_group_tests_name("h1/reader", tests, NULL, NULL);
}

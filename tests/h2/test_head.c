/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: no head leaves that RFC 9113 8.2 and 8.3 forbid; every byte that could end a line, a field
 * or a target elsewhere is refused before anything is sent, and the error does not show values.
 * Method: one bad thing at a time, among them every byte value in every place. H4.
 */
#include "tests/h2/duo.h"
#include "tests/support/test.h"

static duo bed;

static int start(void **state)
{
    (void)state;
    return duo_init_alone(&bed, &hpxi_h2_config_client) ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    duo_fini(&bed);
    return 0;
}

static hpxi_h2_request_head good_head(void)
{
    return (hpxi_h2_request_head){
        .method = hpx_span_of("GET"),
        .scheme = hpx_span_of("https"),
        .authority = hpx_span_of("example.com:8443"),
        .path = hpx_span_of("/a?b=c")};
}

static hpx_status check_field(const char *name, const char *value, size_t value_size)
{
    const hpxi_h2_field field = {
        .name = hpx_span_of(name), .value = {(const uint8_t *)value, value_size}};
    hpxi_h2_request_head head = good_head();
    head.fields = &field;
    head.field_count = 1;
    hpx_error error = {0};
    const hpx_status status = hpxi_h2_request_check(bed.client.h2, &head, &error);
    assert_int_equal(status, error.status);
    assert_true((status == HPX_OK) == (error.detail[0] == '\0'));
    return status;
}

static void test_head_when_lawful_then_ok(void **state)
{
    (void)state;
    const hpxi_h2_request_head head = good_head();
    assert_int_equal(hpxi_h2_request_check(bed.client.h2, &head, NULL), HPX_OK);
    hpxi_h2_request_head options = head;
    options.method = hpx_span_of("OPTIONS");
    options.path = hpx_span_of("*");
    assert_int_equal(hpxi_h2_request_check(bed.client.h2, &options, NULL), HPX_OK);
    assert_int_equal(check_field("x-y_z", "a b\tc \xC3\xA9", 8), HPX_OK);
    assert_int_equal(check_field("x", "", 0), HPX_OK);
    assert_int_equal(check_field("te", "trailers", 8), HPX_OK);
    assert_int_equal(check_field("host", "example.com:8443", 16), HPX_OK);
    assert_int_equal(check_field("content-length", "0", 1), HPX_OK);
}

static void test_head_when_field_belongs_elsewhere_then_invalid(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"connection", "close"},
        {"keep-alive", "timeout=1"},
        {"proxy-connection", "close"},
        {"transfer-encoding", "chunked"},
        {"upgrade", "websocket"},
        {"te", "gzip"},
        {"host", "other.example"},
        {":path", "/"},
        {"", "x"},
        {"X-Upper", "x"},
        {"a b", "x"},
        {"a:", "x"},
        {"x", " a"},
        {"x", "a "},
        {"x", "\ta"},
        {"content-length", "+5"},
        {"content-length", ""},
        {"content-length", "5,5"},
        {"content-length", "0x5"},
        {"content-length", "99999999999999999999"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (check_field(rows[i][0], rows[i][1], strlen(rows[i][1])) != HPX_E_INVALID) {
            fail_msg("%s: %s was accepted", rows[i][0], rows[i][1]);
        }
    }
    const hpxi_h2_field twice[2] = {
        field_of("content-length", "5"), field_of("content-length", "5")};
    hpxi_h2_request_head head = good_head();
    head.fields = twice;
    head.field_count = 2;
    assert_int_equal(hpxi_h2_request_check(bed.client.h2, &head, NULL), HPX_E_INVALID);
}

static bool may_be_in_token(int byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z') || (byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

static void test_head_when_any_byte_in_any_place_then_only_lawful_ones_pass(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        uint8_t text[3] = {'/', (uint8_t)byte, 'x'};
        const hpx_span span = {text, sizeof(text)};
        const bool is_control = byte < 0x20 || byte == 0x7f;
        hpxi_h2_request_head head = good_head();
        head.path = span;
        const bool path_ok = !is_control && byte != ' ' && byte != '#' && byte < 0x80;
        assert_int_equal(
            hpxi_h2_request_check(bed.client.h2, &head, NULL), path_ok ? HPX_OK : HPX_E_INVALID);
        text[0] = 'a';
        head = good_head();
        head.method = span;
        assert_int_equal(
            hpxi_h2_request_check(bed.client.h2, &head, NULL),
            may_be_in_token(byte) ? HPX_OK : HPX_E_INVALID);
        head = good_head();
        head.authority = span;
        const bool authority_ok =
            !is_control && byte < 0x80 && byte != ' ' && strchr("@/?#\\\"<>^`{|}", byte) == NULL;
        assert_int_equal(
            hpxi_h2_request_check(bed.client.h2, &head, NULL),
            authority_ok ? HPX_OK : HPX_E_INVALID);
        head = good_head();
        head.scheme = span;
        const bool scheme_ok = (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') ||
                               byte == '+' || byte == '-' || byte == '.';
        assert_int_equal(
            hpxi_h2_request_check(bed.client.h2, &head, NULL), scheme_ok ? HPX_OK : HPX_E_INVALID);
        assert_int_equal(
            check_field("x", (const char *)text, 3),
            is_control && byte != '\t' ? HPX_E_INVALID : HPX_OK);
        const hpxi_h2_field field = {.name = span, .value = hpx_span_of("v")};
        head = good_head();
        head.fields = &field;
        head.field_count = 1;
        assert_int_equal(
            hpxi_h2_request_check(bed.client.h2, &head, NULL),
            may_be_in_token(byte) && !(byte >= 'A' && byte <= 'Z') ? HPX_OK : HPX_E_INVALID);
    }
}

static void test_head_when_part_is_empty_or_odd_then_invalid(void **state)
{
    (void)state;
    static const char *const rows[][4] = {
        {"", "https", "a", "/"},
        {"GET", "", "a", "/"},
        {"GET", "https", "", "/"},
        {"GET", "https", "a", ""},
        {"GET", "https", "a", "x"},
        {"GET", "https", "a", "*"},
        {"CONNECT", "https", "a", "/"},
        {"GET", "HTTPS", "a", "/"},
        {"GET", "1http", "a", "/"},
        {"GET", "https", "me@a", "/"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const hpxi_h2_request_head head = {
            .method = hpx_span_of(rows[i][0]),
            .scheme = hpx_span_of(rows[i][1]),
            .authority = hpx_span_of(rows[i][2]),
            .path = hpx_span_of(rows[i][3])};
        assert_int_equal(hpxi_h2_request_check(bed.client.h2, &head, NULL), HPX_E_INVALID);
    }
}

static void test_head_when_refused_then_nothing_is_sent_and_value_is_not_shown(void **state)
{
    (void)state;
    (void)side_flush(&bed.client);
    hpxi_buf_consume(&bed.client.out, hpxi_buf_size(&bed.client.out));
    const hpxi_h2_field field = field_of("authorization", "Bearer s3cret\r\nx: y");
    hpxi_h2_request_head head = good_head();
    head.fields = &field;
    head.field_count = 1;
    hpx_error error = {0};
    hpxi_h2_stream stream = 1;
    assert_int_equal(
        hpxi_h2_request(bed.client.h2, &stream, &head, NULL, NULL, &error), HPX_E_INVALID);
    assert_int_equal(stream, HPXI_H2_NO_STREAM);
    assert_non_null(strstr(error.detail, "authorization"));
    assert_null(strstr(error.detail, "s3cret"));
    (void)side_flush(&bed.client);
    assert_int_equal(hpxi_buf_size(&bed.client.out), 0);
}

static void test_head_when_body_and_length_differ_then_invalid(void **state)
{
    (void)state;
    const hpxi_h2_field length = field_of("content-length", "4");
    const hpxi_h2_field sum = field_of("sum", "1\n");
    hpxi_h2_request_head head = good_head();
    hpxi_h2_body body = {.span = hpx_span_of("hello")};
    hpxi_h2_stream stream;
    head.fields = &length;
    head.field_count = 1;
    hpxi_h2 *h2 = bed.client.h2;
    assert_int_equal(hpxi_h2_request(h2, &stream, &head, &body, NULL, NULL), HPX_E_INVALID);
    assert_int_equal(hpxi_h2_request(h2, &stream, &head, NULL, NULL, NULL), HPX_E_INVALID);
    head.field_count = 0;
    body.trailers = &sum;
    body.trailer_count = 1;
    assert_int_equal(hpxi_h2_request(h2, &stream, &head, &body, NULL, NULL), HPX_E_INVALID);
    body.trailers = &length;
    assert_int_equal(hpxi_h2_request(h2, &stream, &head, &body, NULL, NULL), HPX_E_INVALID);
    hpxi_h2_info info;
    hpxi_h2_get_info(h2, &info);
    assert_int_equal(info.streams_open, 0);
}

static void test_head_when_over_our_limit_or_the_peers_then_invalid(void **state)
{
    (void)state;
    static hpxi_h2_field fields[129];
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        fields[i] = field_of("x", "y");
    }
    hpxi_h2_request_head head = good_head();
    head.fields = fields;
    head.field_count = 129;
    hpx_error error = {0};
    assert_int_equal(hpxi_h2_request_check(bed.client.h2, &head, &error), HPX_E_INVALID);
    assert_non_null(strstr(error.detail, "fields_max"));
    head.field_count = 128;
    assert_int_equal(hpxi_h2_request_check(bed.client.h2, &head, &error), HPX_OK);
    static const uint8_t settings[15] = {0, 0, 6, RAW_SETTINGS, 0, 0, 0, 0, 0, 0, 6, 0, 0, 4, 0};
    side_feed(&bed.client, settings, sizeof(settings), 0); /* MAX_HEADER_LIST_SIZE 1024 */
    assert_int_equal(hpxi_h2_request_check(bed.client.h2, &head, &error), HPX_E_INVALID);
    assert_non_null(strstr(error.detail, "MAX_HEADER_LIST_SIZE"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_head_when_lawful_then_ok, start, stop),
        cmocka_unit_test_setup_teardown(
            test_head_when_field_belongs_elsewhere_then_invalid, start, stop),
        cmocka_unit_test_setup_teardown(
            test_head_when_any_byte_in_any_place_then_only_lawful_ones_pass, start, stop),
        cmocka_unit_test_setup_teardown(
            test_head_when_part_is_empty_or_odd_then_invalid, start, stop),
        cmocka_unit_test_setup_teardown(
            test_head_when_refused_then_nothing_is_sent_and_value_is_not_shown, start, stop),
        cmocka_unit_test_setup_teardown(
            test_head_when_body_and_length_differ_then_invalid, start, stop),
        cmocka_unit_test_setup_teardown(
            test_head_when_over_our_limit_or_the_peers_then_invalid, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Redirects are off unless asked for; when followed, credentials stay with their origin,
 * the method changes as RFC 9110 section 15.4 says, and relative references resolve as RFC 3986
 *         section 5.2 says (pitfalls H3).
 * Method  http_client_bed.h: the test is the server, on the same thread.
 */
#include <stdio.h>
#include <unistd.h>

#include "tests/engine/http_client_bed.h"
#include "tests/support/test.h"

static client_bed bed;

#define OK_2 "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

static void bed_begin(void)
{
    client_bed_prepare(&bed);
    client_bed_open(&bed);
}

static void test_redirect_when_followed_then_credentials_stay_with_their_origin(void **state)
{
    (void)state;
    static const char *const secrets[] = {"X-API-Key"};
    for (int cross = 0; cross < 2; cross++) {
        client_bed_prepare(&bed);
        bed.config.redirects_max = 2;
        bed.config.secret_headers = secrets;
        bed.config.secret_header_count = 1;
        client_bed_open(&bed);
        const hpx_http_header headers[] = {
            hpx_http_header_of("Authorization", "secret"),
            hpx_http_header_of("Cookie", "secret"),
            hpx_http_header_of("x-api-key", "secret"),
            hpx_http_header_of("X-Plain", "kept")};
        hpx_http_request request = HPX_HTTP_REQUEST_INIT;
        request.url = "/a/b?c";
        request.headers = headers;
        request.header_count = COUNT_OF(headers);
        http_answer *answer = client_bed_send(&bed, &request);
        const int fd = client_bed_accept(&bed);
        (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
        assert_non_null(strstr(bed.text, "Authorization: secret"));
        char response[256];
        if (cross) {
            snprintf(
                response,
                sizeof(response),
                "HTTP/1.1 302 Found\r\nLocation: http://localhost:%u/x\r\nContent-Length: "
                "3\r\n\r\nabc",
                bed.port);
        } else {
            snprintf(
                response,
                sizeof(response),
                "HTTP/1.1 302 Found\r\nLocation: ../x?y\r\nContent-Length: 3\r\n\r\nabc");
        }
        client_bed_write(&bed, fd, response);
        const int next = cross ? client_bed_accept(&bed) : fd;
        (void)client_bed_read(&bed, next, "\r\n\r\n", bed.text);
        assert_memory_equal(bed.text, cross ? "GET /x HTTP" : "GET /x?y HTTP", 11);
        assert_non_null(strstr(bed.text, "X-Plain: kept"));
        assert_true((strstr(bed.text, "secret") == NULL) == (cross != 0));
        client_bed_write(&bed, next, OK_2);
        client_bed_until_end(&bed, answer);
        client_bed_expect_done(answer, 200, "ok");
        assert_int_equal(answer->info.redirects, 1);
        assert_int_equal(answer->heads, 1);
        close(fd);
        if (cross) {
            close(next);
        }
        client_bed_close(&bed);
    }
}

static void test_redirect_when_off_or_too_many_then_not_followed(void **state)
{
    (void)state;
    bed_begin();
    http_answer *answer = client_bed_get(&bed, "/");
    int fd = client_bed_serve(
        &bed, answer, "HTTP/1.1 301 M\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
    client_bed_expect_done(answer, 301, "");
    assert_false(client_bed_has_connection(&bed));
    close(fd);
    client_bed_close(&bed);

    client_bed_prepare(&bed);
    bed.config.redirects_max = 1;
    client_bed_open(&bed);
    answer = client_bed_post(&bed, "/", "body");
    fd = client_bed_accept(&bed);
    (void)client_bed_read(&bed, fd, "body", bed.text);
    client_bed_write(&bed, fd, "HTTP/1.1 303 S\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n");
    (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
    assert_memory_equal(bed.text, "GET /x HTTP", 11);
    assert_null(strstr(bed.text, "Content-"));
    client_bed_write(&bed, fd, "HTTP/1.1 307 S\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n");
    client_bed_until_end(&bed, answer);
    client_bed_expect_failed(answer, HPX_E_HTTP_REDIRECT, HPX_STAGE_BODY, HPX_HTTP_PROCESSED_YES);
    close(fd);
    client_bed_close(&bed);
}

static void test_redirect_when_location_is_relative_then_resolved(void **state)
{
    (void)state;
    http_answer *answer = NULL;
    static const struct {
        const char *location;
        const char *target;
    } rows[] = {
        {"x", "/a/b/x"},
        {"./x", "/a/b/x"},
        {"../x", "/a/x"},
        {"../../../x", "/x"},
        {"x/./y/../z", "/a/b/x/z"},
        {"..", "/a/"},
        {".", "/a/b/"},
        {"?q", "/a/b/c?q"},
        {"/y?z/../w", "/y?z/../w"},
        {"/y#fragment", "/y"},
    };
    client_bed_prepare(&bed);
    bed.config.redirects_max = 1;
    client_bed_open(&bed);
    int fd = -1;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char response[256];
        char expected[64];
        answer = client_bed_get(&bed, "/a/b/c?d");
        fd = fd < 0 ? client_bed_accept(&bed) : fd;
        (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
        snprintf(
            response,
            sizeof(response),
            "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
            rows[i].location);
        client_bed_write(&bed, fd, response);
        (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
        const int bytes = snprintf(expected, sizeof(expected), "GET %s HTTP/1.1\r", rows[i].target);
        bed.text[bytes] = '\0';
        assert_string_equal(bed.text, expected);
        client_bed_write(&bed, fd, OK_2);
        client_bed_until_end(&bed, answer);
        client_bed_expect_done(answer, 200, "ok");
    }
    static const char *const bad[] = {"http://", "ftp://a/", "http://u:p@a/", "/a b", "\x7F"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char response[256];
        answer = client_bed_get(&bed, "/");
        (void)client_bed_read(&bed, fd, "\r\n\r\n", bed.text);
        snprintf(
            response,
            sizeof(response),
            "HTTP/1.1 302 Found\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n",
            bad[i]);
        client_bed_write(&bed, fd, response);
        client_bed_until_end(&bed, answer);
        assert_int_equal(answer->outcome, HPX_HTTP_FAILED);
        close(fd); /* whoever fails in the head gives the connection up */
        fd = -1;
        answer = client_bed_get(&bed, "/");
        fd = client_bed_serve(&bed, answer, OK_2);
    }
    close(fd);
    client_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redirect_when_followed_then_credentials_stay_with_their_origin),
        cmocka_unit_test(test_redirect_when_off_or_too_many_then_not_followed),
        cmocka_unit_test(test_redirect_when_location_is_relative_then_resolved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

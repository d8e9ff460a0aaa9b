/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what the writer writes is what RFC 9112 asks for and our own reader reads back; what would
 * smuggle is refused before a byte is written, with a text that names the part and shows no value.
 * Method: each byte 0..255 in each part of a request and a response, at its front, middle and end;
 * exact bytes; a round trip through the reader; each allocation failing in turn.
 */
#include "h1/writer.h"
#include "tests/h1/message_log.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define SPAN(text) ((hpx_span){.data = (const uint8_t *)(text), .size = sizeof(text) - 1})

static void *writer_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void writer_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

static const hpx_allocator allocator = {.alloc = writer_alloc, .free = writer_free};

static bool is_token_byte(int byte)
{
    return byte != 0 && strchr(
                            "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                            byte) != NULL;
}

static bool is_host_byte(int byte)
{
    return byte != 0 && strchr(
                            "-._~%!$&'()*+,;=0123456789abcdefghijklmnopqrstuvwxyz"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                            byte) != NULL;
}

typedef enum part {
    PART_METHOD,
    PART_TARGET,
    PART_HOST,
    PART_NAME,
    PART_VALUE,
    PART_COUNT,
} part;

/* May this byte stand at this place of the part: 0 front, 1 middle, 2 end? */
static bool part_allows(part which, int byte, int place)
{
    switch (which) {
    case PART_METHOD:
    case PART_NAME:
        return is_token_byte(byte);
    case PART_TARGET:
        return byte > 0x20 && byte < 0x7F && byte != '#' && (place != 0 || byte == '/');
    case PART_HOST: /* "x:" has an empty port */
        return is_host_byte(byte) || (byte == ':' && place == 2);
    default:
        return (byte >= 0x20 && byte != 0x7F && (byte != ' ' || place == 1)) ||
               (byte == '\t' && place == 1);
    }
}

/* H4: every byte in every part. Nothing is written when one is refused. */
static void test_request_write_when_any_byte_in_any_part_then_only_the_rules_pass(void **state)
{
    (void)state;
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    for (int i = 0; i < 256 * 3 * PART_COUNT; i++) {
        const int byte = i % 256;
        const int place = i / 256 % 3;
        const part which = (part)(i / 768);
        char text[4] = {'x', 'x', 'x', '\0'};
        text[0] = which == PART_TARGET ? '/' : 'x';
        text[place] = (char)byte;
        const hpx_span bad = {.data = (const uint8_t *)text, .size = 3};
        const hpxi_h1_field field = {
            .name = which == PART_NAME ? bad : SPAN("Name"),
            .value = which == PART_VALUE ? bad : SPAN("value")};
        const hpxi_h1_request request = {
            .method = which == PART_METHOD ? bad : SPAN("GET"),
            .target = which == PART_TARGET ? bad : SPAN("/"),
            .host = which == PART_HOST ? bad : SPAN("x"),
            .fields = &field,
            .field_count = 1};
        hpx_error error = {0};
        const hpx_status status = hpxi_h1_request_write(&out, &request, &error);
        const bool allowed = part_allows(which, byte, place);
        if (status != (allowed ? HPX_OK : HPX_E_INVALID)) {
            fail_msg("byte 0x%02x at place %d of part %d: %d", byte, place, which, status);
        }
        assert_int_equal(hpxi_buf_size(&out) != 0, allowed);
        assert_int_equal(error.detail[0] != '\0', !allowed);
        hpxi_buf_consume(&out, hpxi_buf_size(&out));
    }
    hpxi_buf_fini(&out);
}

static void test_request_write_when_part_is_bad_then_detail_names_it(void **state)
{
    (void)state;
#define GOOD .method = SPAN("GET"), .target = SPAN("/"), .host = SPAN("x")
#define FIELD(n, v)                                                                                \
    .fields = &(const hpxi_h1_field){.name = SPAN(n), .value = SPAN(v)}, .field_count = 1
    const struct {
        hpxi_h1_request request;
        const char *detail;
    } rows[] = {
        {{.target = SPAN("/"), .host = SPAN("x")}, "method is not a token"},
        {{.method = SPAN("GET"), .host = SPAN("x")}, "request target is empty, has a byte"},
        {{.method = SPAN("GET"), .target = SPAN("*"), .host = SPAN("x")}, "request target is"},
        {{.method = SPAN("CONNECT"), .target = SPAN("/"), .host = SPAN("x")}, "request target is"},
        {{.method = SPAN("GET"), .target = SPAN("/")}, "host is not a name"},
        {{.method = SPAN("GET"), .target = SPAN("/"), .host = SPAN("a@b")}, "host is not a name"},
        {{.method = SPAN("TRACE"), .target = SPAN("/"), .host = SPAN("x"), .body = 1},
         "CONNECT and TRACE have no body"},
        {{GOOD, FIELD("", "v")}, "name of header field 0 is empty"},
        {{GOOD, FIELD("a b", "v")}, "name of header field 0 is not a token"},
        {{GOOD, FIELD("A", " secret")}, "value of header field \"A\" begins or ends with white"},
        {{GOOD, FIELD("A", "secret\t")}, "value of header field \"A\" begins or ends with white"},
        {{GOOD, FIELD("A", "secret\r\nB: c")},
         "value of header field \"A\" has control byte 0x0d at 6"},
        {{GOOD, FIELD("A", "secret\0")}, "value of header field \"A\" has control byte 0x00 at 6"},
        {{GOOD, FIELD("host", "x")}, "header field Host is written by the library"},
        {{GOOD, FIELD("content-length", "1")}, "header field Content-Length is written by"},
        {{GOOD, FIELD("Transfer-Encoding", "x")}, "header field Transfer-Encoding is written"},
        {{GOOD, FIELD("CONNECTION", "close")}, "header field Connection is written by"},
        {{GOOD, FIELD("Keep-Alive", "x")}, "header field Keep-Alive is written by"},
        {{GOOD, FIELD("Proxy-Connection", "x")}, "header field Proxy-Connection is written by"},
        {{GOOD, FIELD("upgrade", "x")}, "header field Upgrade is written by"},
        {{GOOD, FIELD("te", "trailers")}, "header field TE is written by"},
        {{GOOD, FIELD("trailer", "x")}, "header field Trailer is written by"},
        {{GOOD, FIELD("expect", "100-continue")}, "header field Expect is written by"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpx_error error = {0};
        assert_int_equal(hpxi_h1_request_check(&rows[i].request, &error), HPX_E_INVALID);
        if (strncmp(error.detail, rows[i].detail, strlen(rows[i].detail)) != 0) {
            fail_msg("row %zu: expected %s, is %s", i, rows[i].detail, error.detail);
        }
        assert_null(strstr(error.detail, "secret"));
        assert_int_equal(hpxi_h1_request_check(&rows[i].request, NULL), HPX_E_INVALID);
    }
}

static void expect_bytes(hpxi_buf *out, const char *bytes)
{
    const hpx_span span = hpxi_buf_span(out);
    if (span.size != strlen(bytes) || memcmp(span.data, bytes, span.size) != 0) {
        fail_msg("expected\n%s\nis\n%.*s", bytes, (int)span.size, (const char *)span.data);
    }
    hpxi_buf_consume(out, span.size);
}

static void test_request_write_when_good_then_host_first_and_framing(void **state)
{
    (void)state;
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    const hpxi_h1_field fields[] = {
        {.name = SPAN("Accept"), .value = SPAN("*/*")}, {.name = SPAN("X-Empty"), .value = {0}}};
    hpxi_h1_request request = {
        .method = SPAN("POST"),
        .target = SPAN("/v1/orders?a=b"),
        .host = SPAN("[::1]:8080"),
        .fields = fields,
        .field_count = 2,
        .body = HPXI_H1_BODY_LENGTH,
        .body_bytes = UINT64_MAX};
    assert_int_equal(hpxi_h1_request_write(&out, &request, NULL), HPX_OK);
    expect_bytes(
        &out,
        "POST /v1/orders?a=b HTTP/1.1\r\nHost: [::1]:8080\r\n"
        "Content-Length: 18446744073709551615\r\nAccept: */*\r\nX-Empty: \r\n\r\n");
    request.field_count = 0;
    request.body = HPXI_H1_BODY_CHUNKED;
    request.body_bytes = 0;
    request.close = true;
    assert_int_equal(hpxi_h1_request_write(&out, &request, NULL), HPX_OK);
    expect_bytes(
        &out,
        "POST /v1/orders?a=b HTTP/1.1\r\nHost: [::1]:8080\r\nConnection: close\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
    request.close = false;
    request.body = HPXI_H1_BODY_NONE; /* RFC 9110 8.6 */
    assert_int_equal(hpxi_h1_request_write(&out, &request, NULL), HPX_OK);
    expect_bytes(
        &out, "POST /v1/orders?a=b HTTP/1.1\r\nHost: [::1]:8080\r\nContent-Length: 0\r\n\r\n");
    request.method = SPAN("DELETE");
    assert_int_equal(hpxi_h1_request_write(&out, &request, NULL), HPX_OK);
    expect_bytes(&out, "DELETE /v1/orders?a=b HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n");
    hpxi_buf_fini(&out);
}

static void test_response_write_when_good_then_status_line_and_framing(void **state)
{
    (void)state;
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    const hpxi_h1_field field = {.name = SPAN("Content-Type"), .value = SPAN("text/plain")};
    const struct {
        hpxi_h1_response response;
        const char *bytes;
    } rows[] = {
        {{.status = 200,
          .body = HPXI_H1_BODY_LENGTH,
          .body_bytes = 12,
          .fields = &field,
          .field_count = 1},
         "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Type: text/plain\r\n\r\n"},
        {{.status = 429, .close = true},
         "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
        {{.status = 599, .reason = SPAN("Odd one"), .keep_alive = true},
         "HTTP/1.1 599 Odd one\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"},
        {{.status = 299}, "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n"},
        {{.status = 204}, "HTTP/1.1 204 No Content\r\n\r\n"},
        {{.status = 304}, "HTTP/1.1 304 Not Modified\r\n\r\n"},
        {{.status = 200, .body = HPXI_H1_BODY_CHUNKED},
         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"},
        {{.status = 200, .body = HPXI_H1_BODY_UNTIL_CLOSE, .close = true},
         "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(hpxi_h1_response_write(&out, &rows[i].response, NULL), HPX_OK);
        expect_bytes(&out, rows[i].bytes);
    }
    assert_int_equal(hpxi_h1_continue_write(&out), HPX_OK);
    expect_bytes(&out, "HTTP/1.1 100 Continue\r\n\r\n");
    hpxi_buf_fini(&out);
}

static void test_response_write_when_bad_then_refused_and_nothing_written(void **state)
{
    (void)state;
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
#define ANSWER .status = 200
    const hpxi_h1_response rows[] = {
        {.status = 0},
        {.status = 199},
        {.status = 1000},
        {.status = 204, .body = HPXI_H1_BODY_CHUNKED},
        {.status = 204, .body = HPXI_H1_BODY_LENGTH},
        {ANSWER, .reason = SPAN("a\r\nB: c")},
        {ANSWER, .reason = SPAN(" a")},
        {ANSWER, FIELD("A", "b\nc")},
        {ANSWER, FIELD("A:", "b")},
        {ANSWER, FIELD("content-length", "5")},
        {ANSWER, FIELD("transfer-encoding", "chunked")},
        {ANSWER, FIELD("connection", "close")},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpx_error error = {0};
        assert_int_equal(hpxi_h1_response_write(&out, &rows[i], &error), HPX_E_INVALID);
        assert_true(error.detail[0] != '\0');
        assert_int_equal(hpxi_buf_size(&out), 0);
    }
    hpxi_buf_fini(&out);
}

static void test_chunk_head_when_any_size_then_shortest_hexadecimal(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *head;
    } rows[] = {
        {1, "1\r\n"},
        {9, "9\r\n"},
        {15, "f\r\n"},
        {16, "10\r\n"},
        {255, "ff\r\n"},
        {256, "100\r\n"},
        {0x12345, "12345\r\n"},
        {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        uint8_t head[HPXI_H1_CHUNK_HEAD_BYTES_MAX];
        const size_t bytes = hpxi_h1_chunk_head(head, rows[i].bytes);
        assert_int_equal(bytes, strlen(rows[i].head));
        assert_memory_equal(head, rows[i].head, bytes);
    }
}

static void test_chunk_write_when_empty_then_body_goes_on(void **state)
{
    (void)state;
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    assert_int_equal(hpxi_h1_chunk_write(&out, (hpx_span){0}), HPX_OK);
    assert_int_equal(hpxi_buf_size(&out), 0); /* "0\r\n" would have ended the body */
    assert_int_equal(hpxi_h1_chunk_write(&out, SPAN("abc")), HPX_OK);
    const hpxi_h1_field bad[] = {
        {.name = SPAN("Content-Length"), .value = SPAN("1")},
        {.name = SPAN("A"), .value = SPAN("\r\n")},
        {.name = SPAN("Host"), .value = SPAN("x")},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(hpxi_h1_chunks_end(&out, &bad[i], 1, NULL), HPX_E_INVALID);
    }
    const hpxi_h1_field good = {.name = SPAN("A"), .value = SPAN("b")};
    assert_int_equal(hpxi_h1_chunks_end(&out, &good, 1, NULL), HPX_OK);
    expect_bytes(&out, "3\r\nabc\r\n0\r\nA: b\r\n\r\n");
    assert_int_equal(hpxi_h1_chunks_end(&out, NULL, 0, NULL), HPX_OK);
    expect_bytes(&out, "0\r\n\r\n");
    hpxi_buf_fini(&out);
}

/* What we write, we read: a chunked request with trailers. */
static hpx_status write_all(hpxi_buf *out)
{
    const hpxi_h1_field field = {.name = SPAN("A"), .value = SPAN("b c")};
    const hpxi_h1_request request = {
        .method = SPAN("POST"),
        .target = SPAN("/"),
        .host = SPAN("x"),
        .fields = &field,
        .field_count = 1,
        .body = HPXI_H1_BODY_CHUNKED};
    hpx_status status = hpxi_h1_request_write(out, &request, NULL);
    if (status == HPX_OK) {
        status = hpxi_h1_chunk_write(out, SPAN("0123456789abcdefghij"));
    }
    if (status == HPX_OK) {
        status = hpxi_h1_chunk_write(out, SPAN("!"));
    }
    return status == HPX_OK ? hpxi_h1_chunks_end(out, &field, 1, NULL) : status;
}

static void test_request_write_when_read_back_then_the_same(void **state)
{
    (void)state;
    hpxi_buf out;
    hpxi_buf_init(&out, &allocator);
    assert_int_equal(write_all(&out), HPX_OK);
    const log_plan plan = {.role = HPXI_H1_ROLE_SERVER, .limits = HPXI_H1_LIMITS_DEFAULT};
    message_log log;
    log_read(&log, &plan, out.data, out.tail, 0, 7);
    assert_string_equal(
        log.text,
        "HPOST / chunked keep Host=x Transfer-Encoding=chunked A=b c\n"
        "D\"0123456789abcdefghij!\"\nE A=b c\n");
    hpxi_buf_fini(&out);
}

static void write_scenario(hpx_allocator failing, bool expect_success)
{
    hpxi_buf out;
    hpxi_buf_init(&out, &failing);
    assert_int_equal(write_all(&out), expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    hpxi_buf_fini(&out);
    const hpxi_h1_response response = {.status = 200};
    hpxi_buf_init(&out, &failing);
    if (hpxi_h1_response_write(&out, &response, NULL) != HPX_OK) {
        assert_int_equal(hpxi_buf_size(&out), 0);
    }
    hpxi_buf_fini(&out);
}

static void test_write_when_any_allocation_fails_then_no_memory(void **state)
{
    (void)state;
    failing_allocator fa = {.fail_at = 0};
    write_scenario(fa_allocator(&fa), false);
    failing_allocator never = FAILING_ALLOCATOR_NEVER;
    write_scenario(fa_allocator(&never), true);
    assert_int_equal(fa.live + never.live, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_write_when_any_byte_in_any_part_then_only_the_rules_pass),
        cmocka_unit_test(test_request_write_when_part_is_bad_then_detail_names_it),
        cmocka_unit_test(test_request_write_when_good_then_host_first_and_framing),
        cmocka_unit_test(test_response_write_when_good_then_status_line_and_framing),
        cmocka_unit_test(test_response_write_when_bad_then_refused_and_nothing_written),
        cmocka_unit_test(test_chunk_head_when_any_size_then_shortest_hexadecimal),
        cmocka_unit_test(test_chunk_write_when_empty_then_body_goes_on),
        cmocka_unit_test(test_request_write_when_read_back_then_the_same),
        cmocka_unit_test(test_write_when_any_allocation_fails_then_no_memory),
    };
    return cmocka_run_group_tests_name("h1/writer", tests, NULL, NULL);
}

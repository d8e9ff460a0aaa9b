/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_head.c - what the lines of a head mean: RFC 9112 sections 3 to 6, 7.1.2 and 9.3.
 *
 * Threads   One thread at a time. Memory: spans into the reader's lines.
 */
#include "h1/reader_head.h"

#include <string.h>

#include "ring/quote.h"

#define HEAD_QUOTE_BYTES   100u
#define HEAD_VERSION_BYTES 8u /* HTTP/1.x */

enum {
    HEAD_BAD_REQUEST = 400,
    HEAD_EXPECTATION_FAILED = 417,
    HEAD_NOT_IMPLEMENTED = 501,
    HEAD_VERSION = 505,
};

/* The fields that decide where a message ends. */
typedef struct head_known {
    hpx_span host;
    hpx_span length;
    hpx_span coding;
    hpx_span expect;
    uint32_t host_count;
    uint32_t length_count;
    uint32_t coding_count;
    bool close;
    bool keep_alive;
} head_known;

/* Refuses with a text about one part of the head, and what it was. */
static hpx_status
head_refuse(hpxi_h1_reader *reader, uint16_t refusal, const char *text, hpx_span value)
{
    char quoted[HEAD_QUOTE_BYTES];
    return hpxi_h1_reader_fail(
        reader,
        HPX_E_HTTP_MALFORMED,
        refusal,
        "%s%s",
        text,
        hpxi_quote(quoted, sizeof(quoted), value));
}

/* ---- First line ------------------------------------------------------------------------------ */

static bool head_is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/* "HTTP/1.0" or "HTTP/1.1" at the front of text; the digit in *minor. */
static bool head_version(hpx_span text, uint8_t *minor)
{
    static const char version[] = "HTTP/1.";
    if (text.size < HEAD_VERSION_BYTES || memcmp(text.data, version, sizeof(version) - 1) != 0 ||
        (text.data[7] != '0' && text.data[7] != '1')) {
        return false;
    }
    *minor = (uint8_t)(text.data[7] - '0');
    return true;
}

/* status-line = HTTP-version SP 3DIGIT [ SP reason-phrase ]. The reader has seen the version. */
static hpx_status head_status_line(hpxi_h1_reader *reader, hpx_span line)
{
    hpxi_h1_head *head = &reader->head;
    const uint8_t *code = line.data + HEAD_VERSION_BYTES + 1;
    const size_t code_end = HEAD_VERSION_BYTES + 1 + 3;
    if (!head_version(line, &head->version_minor) || line.size < code_end || code[-1] != ' ' ||
        !head_is_digit(code[0]) || !head_is_digit(code[1]) || !head_is_digit(code[2]) ||
        code[0] == '0' || (line.size > code_end && line.data[code_end] != ' ')) {
        return head_refuse(reader, 0, "not a status line (RFC 9112 4): ", line);
    }
    head->status = (uint16_t)((code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0'));
    if (line.size > code_end + 1) {
        head->reason =
            (hpx_span){.data = line.data + code_end + 1, .size = line.size - code_end - 1};
    }
    return HPX_OK;
}

/* request-line = method SP request-target SP HTTP-version */
static hpx_status head_request_line(hpxi_h1_reader *reader, hpx_span line)
{
    hpxi_h1_head *head = &reader->head;
    const uint8_t *end = line.data + line.size;
    const uint8_t *first = memchr(line.data, ' ', line.size);
    HPX_ASSERT(first != NULL); /* reader_check_start() saw the method and its space */
    const uint8_t *second = memchr(first + 1, ' ', (size_t)(end - first - 1));
    if (second == NULL) {
        return head_refuse(
            reader, HEAD_BAD_REQUEST, "no version in the request line (RFC 9112 3): ", line);
    }
    const hpx_span version = {.data = second + 1, .size = (size_t)(end - second - 1)};
    if (!head_version(version, &head->version_minor) || version.size != HEAD_VERSION_BYTES) {
        const bool http = version.size > 5 && memcmp(version.data, "HTTP/", 5) == 0 &&
                          memchr(version.data, ' ', version.size) == NULL;
        return head_refuse(
            reader,
            http ? HEAD_VERSION : HEAD_BAD_REQUEST,
            "version is neither HTTP/1.1 nor HTTP/1.0 but ",
            version);
    }
    head->method = (hpx_span){.data = line.data, .size = (size_t)(first - line.data)};
    head->target = (hpx_span){.data = first + 1, .size = (size_t)(second - first - 1)};
    if (!hpxi_h1_is_target(head->method, head->target)) {
        return head_refuse(
            reader,
            HEAD_BAD_REQUEST,
            "request target is of no form that the method may have (RFC 9112 3.2): ",
            head->target);
    }
    return HPX_OK;
}

hpx_status hpxi_h1_reader_check_first_line(hpxi_h1_reader *reader)
{
    const hpx_span line = hpxi_h1_lines_first(&reader->lines);
    return reader->role == HPXI_H1_ROLE_CLIENT ? head_status_line(reader, line)
                                               : head_request_line(reader, line);
}

/* ---- Fields ---------------------------------------------------------------------------------- */

static void head_connection(head_known *known, hpx_span list)
{
    hpx_span element;
    while (hpxi_h1_list_next(&list, &element)) {
        known->close = known->close || hpxi_h1_span_has(element, "close");
        known->keep_alive = known->keep_alive || hpxi_h1_span_has(element, "keep-alive");
    }
}

/* Notes the fields that count; of those that may come once, the last. */
static void head_collect(const hpxi_h1_reader *reader, head_known *known)
{
    for (uint32_t i = 0; i < reader->lines.field_count; i++) {
        const hpxi_h1_field *field = &reader->lines.fields[i];
        switch (field->name.size) {
        case 4:
            if (hpxi_h1_span_has(field->name, "host")) {
                known->host = field->value;
                known->host_count++;
            }
            break;
        case 6:
            if (hpxi_h1_span_has(field->name, "expect")) {
                known->expect = field->value;
            }
            break;
        case 10:
            if (hpxi_h1_span_has(field->name, "connection")) {
                head_connection(known, field->value);
            }
            break;
        case 14:
            if (hpxi_h1_span_has(field->name, "content-length")) {
                known->length = field->value;
                known->length_count++;
            }
            break;
        case 17:
            if (hpxi_h1_span_has(field->name, "transfer-encoding")) {
                known->coding = field->value;
                known->coding_count++;
            }
            break;
        default:
            break;
        }
    }
}

/* RFC 9112 6.1 to 6.3: what is said about the body, if it is said once and clearly. */
static hpx_status head_body(hpxi_h1_reader *reader, const head_known *known)
{
    hpxi_h1_head *head = &reader->head;
    if (known->coding_count != 0 && known->length_count != 0) {
        return head_refuse(
            reader,
            HEAD_BAD_REQUEST,
            "both Transfer-Encoding and Content-Length (RFC 9112 6.3): ",
            known->length);
    }
    if (known->coding_count > 1) {
        return head_refuse(
            reader, HEAD_BAD_REQUEST, "more than one Transfer-Encoding: ", known->coding);
    }
    if (known->length_count > 1) {
        return head_refuse(
            reader, HEAD_BAD_REQUEST, "more than one Content-Length: ", known->length);
    }
    if (known->coding_count == 1) {
        if (!hpxi_h1_span_has(known->coding, "chunked")) {
            return head_refuse(
                reader,
                HEAD_NOT_IMPLEMENTED,
                "Transfer-Encoding is not exactly chunked but ",
                known->coding);
        }
        if (head->version_minor == 0) {
            return head_refuse(
                reader,
                HEAD_BAD_REQUEST,
                "Transfer-Encoding in HTTP/1.0 (RFC 9112 6.1): ",
                known->coding);
        }
        head->framing = HPXI_H1_CHUNKED;
    }
    if (known->length_count == 1) {
        const hpx_status status = hpxi_h1_parse_length(known->length, &head->body_bytes);
        if (status != HPX_OK) {
            return head_refuse(
                reader,
                HEAD_BAD_REQUEST,
                status == HPX_E_HTTP_TOO_BIG ? "Content-Length is above 2^63-1: "
                                             : "Content-Length is not a number: ",
                known->length);
        }
        head->framing = HPXI_H1_LENGTH;
    }
    return HPX_OK;
}

/* RFC 9112 6.3, items 1 to 8, for a response. */
static hpx_status head_response(hpxi_h1_reader *reader, const head_known *known)
{
    hpxi_h1_head *head = &reader->head;
    const hpx_status status = head_body(reader, known);
    if (status != HPX_OK) {
        return status;
    }
    if (reader->exchange.connect && head->status / 100 == 2) {
        head->framing = HPXI_H1_TUNNEL; /* whatever it says about a body is to be ignored */
        return HPX_OK;
    }
    const bool announced = head->framing == HPXI_H1_CHUNKED || head->body_bytes != 0;
    if (head->status < 200) {
        if (head->version_minor == 0) {
            return head_refuse(
                reader, 0, "HTTP/1.0 has no interim responses (RFC 9110 15.2): ", head->reason);
        }
        if (announced) {
            return head_refuse(
                reader,
                0,
                "interim response announces a body (RFC 9110 8.6): ",
                known->coding_count != 0 ? known->coding : known->length);
        }
        if (head->status == 101 && !reader->exchange.upgrade) {
            return head_refuse(
                reader, 0, "101 although no upgrade was asked for, reason ", head->reason);
        }
        head->framing = head->status == 101 ? HPXI_H1_TUNNEL : HPXI_H1_NO_BODY;
        return HPX_OK;
    }
    /* A 204 with a body is no 204: whatever follows, the next response is not read from it. */
    head->keep_alive = head->keep_alive && !(head->status == 204 && announced);
    if (reader->exchange.head || head->status == 204 || head->status == 304) {
        head->framing = HPXI_H1_NO_BODY;
    } else if (known->coding_count == 0 && known->length_count == 0) {
        head->framing = HPXI_H1_UNTIL_CLOSE;
        head->keep_alive = false;
    }
    return HPX_OK;
}

/* RFC 9112 3.2: exactly one valid Host, but HTTP/1.0 may come without. RFC 9110 10.1.1: Expect. */
static hpx_status head_request(hpxi_h1_reader *reader, const head_known *known)
{
    hpxi_h1_head *head = &reader->head;
    if (known->host_count > 1 || (known->host_count == 0 && head->version_minor == 1)) {
        return head_refuse(
            reader,
            HEAD_BAD_REQUEST,
            known->host_count == 0 ? "no Host (RFC 9112 3.2): " : "more than one Host: ",
            known->host);
    }
    if (known->host_count == 1 && !hpxi_h1_is_host(known->host)) {
        return head_refuse(reader, HEAD_BAD_REQUEST, "Host is not a host: ", known->host);
    }
    if (known->expect.size != 0 && !hpxi_h1_span_has(known->expect, "100-continue")) {
        return head_refuse(
            reader, HEAD_EXPECTATION_FAILED, "Expect is not 100-continue but ", known->expect);
    }
    head->host = known->host;
    const hpx_status status = head_body(reader, known);
    head->expects_continue = status == HPX_OK && known->expect.size != 0 &&
                             head->version_minor == 1 && head->framing != HPXI_H1_NO_BODY;
    return status;
}

static hpx_status head_fields(hpxi_h1_reader *reader, hpxi_h1_lines *lines, size_t from)
{
    hpx_span bad = {0};
    const char *what = NULL;
    const hpx_status status = hpxi_h1_lines_parse(lines, from, &bad, &what);
    if (status == HPX_E_HTTP_MALFORMED) {
        char quoted[HEAD_QUOTE_BYTES];
        return hpxi_h1_reader_fail(
            reader,
            status,
            HEAD_BAD_REQUEST,
            "%s: %s",
            what,
            hpxi_quote(quoted, sizeof(quoted), bad));
    }
    if (status != HPX_OK) {
        return hpxi_h1_reader_fail(reader, status, 503, "no memory for the header fields");
    }
    return HPX_OK;
}

hpx_status hpxi_h1_reader_check_head(hpxi_h1_reader *reader)
{
    reader->head = (hpxi_h1_head){0};
    hpx_status status = hpxi_h1_reader_check_first_line(reader);
    if (status != HPX_OK) {
        return status;
    }
    const size_t from = hpxi_h1_lines_first(&reader->lines).size + 2;
    status = head_fields(reader, &reader->lines, from);
    if (status != HPX_OK) {
        return status;
    }
    hpxi_h1_head *head = &reader->head;
    head->fields = reader->lines.fields;
    head->field_count = reader->lines.field_count;
    head_known known = {0};
    head_collect(reader, &known);
    head->keep_alive = !known.close && (head->version_minor == 1 || known.keep_alive);
    return reader->role == HPXI_H1_ROLE_CLIENT ? head_response(reader, &known)
                                               : head_request(reader, &known);
}

hpx_status hpxi_h1_reader_check_trailers(hpxi_h1_reader *reader)
{
    static const char *const forbidden[] = {"Transfer-Encoding", "Content-Length", "Host"};
    const hpx_status status = head_fields(reader, &reader->trailers, 0);
    if (status != HPX_OK) {
        return status;
    }
    for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
        const hpxi_h1_field *field =
            hpxi_h1_field_find(reader->trailers.fields, reader->trailers.field_count, forbidden[i]);
        if (field != NULL) {
            return head_refuse(
                reader,
                HEAD_BAD_REQUEST,
                "field that may not be a trailer (RFC 9110 6.5.1): ",
                field->name);
        }
    }
    return HPX_OK;
}

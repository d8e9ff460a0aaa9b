/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.c - RFC 9112: messages into bytes.
 *
 * Each message is written twice by the same code: once to count, once into the room reserved.
 *
 * Threads   Any; no state. Memory: the caller's buffer.
 */
#include "h1/writer.h"

#include "ring/quote.h"

#define WRITER_NAME_QUOTE_BYTES 64u
#define WRITER_NUMBER_BYTES     20u /* digits of UINT64_MAX */
#define WRITER_STATUS_MIN       200u
#define WRITER_STATUS_MAX       999u

/* Counts while `to` is NULL. */
typedef struct writer {
    uint8_t *to;
    size_t bytes;
} writer;

static void writer_bytes(writer *w, const void *bytes, size_t size)
{
    if (w->to != NULL && size != 0) {
        memcpy(w->to + w->bytes, bytes, size);
    }
    w->bytes += size;
}

static void writer_span(writer *w, hpx_span text)
{
    writer_bytes(w, text.data, text.size);
}

static void writer_text(writer *w, const char *text)
{
    writer_bytes(w, text, strlen(text));
}

static void writer_number(writer *w, uint64_t number)
{
    char digits[WRITER_NUMBER_BYTES];
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number != 0);
    writer_bytes(w, digits + at, sizeof(digits) - at);
}

static void writer_fields(writer *w, const hpxi_h1_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        writer_span(w, fields[i].name);
        writer_text(w, ": ");
        writer_span(w, fields[i].value);
        writer_text(w, "\r\n");
    }
}

static void writer_framing(writer *w, hpxi_h1_body body, uint64_t body_bytes)
{
    if (body == HPXI_H1_BODY_LENGTH) {
        writer_text(w, "Content-Length: ");
        writer_number(w, body_bytes);
        writer_text(w, "\r\n");
    } else if (body == HPXI_H1_BODY_CHUNKED) {
        writer_text(w, "Transfer-Encoding: chunked\r\n");
    }
}

/* ---- Checks ---------------------------------------------------------------------------------- */

/* Where the first byte is that a value may not have, for an error's text. */
static size_t writer_bad_byte_at(hpx_span value)
{
    size_t at = 0;
    while (at < value.size && (value.data[at] == '\t' || value.data[at] >= 0x20) &&
           value.data[at] != 0x7F) {
        at++;
    }
    return at;
}

static hpx_status writer_check_field(const hpxi_h1_field *field, size_t number, hpx_error *error)
{
    if (!hpxi_h1_is_token(field->name)) {
        return hpxi_h1_error_set(
            error,
            HPX_E_INVALID,
            "name of header field %zu is %s (RFC 9110 5.1)",
            number,
            field->name.size == 0 ? "empty" : "not a token");
    }
    if (hpxi_h1_is_value(field->value)) {
        return HPX_OK;
    }
    char name[WRITER_NAME_QUOTE_BYTES];
    (void)hpxi_quote(name, sizeof(name), field->name);
    const size_t at = writer_bad_byte_at(field->value);
    if (at == field->value.size) {
        return hpxi_h1_error_set(
            error,
            HPX_E_INVALID,
            "value of header field %s begins or ends with white space (RFC 9110 5.5)",
            name);
    }
    return hpxi_h1_error_set(
        error,
        HPX_E_INVALID,
        "value of header field %s has control byte 0x%02x at %zu (RFC 9110 5.5)",
        name,
        field->value.data[at],
        at);
}

/* `reserved`: names that are not the caller's to give, ending with NULL. */
static hpx_status writer_check_fields(
    const hpxi_h1_field *fields,
    size_t count,
    const char *const *reserved,
    const char *why,
    hpx_error *error)
{
    HPX_ASSERT(fields != NULL || count == 0);
    for (size_t i = 0; i < count; i++) {
        const hpx_status status = writer_check_field(&fields[i], i, error);
        if (status != HPX_OK) {
            return status;
        }
        for (size_t k = 0; reserved[k] != NULL; k++) {
            if (hpxi_h1_span_has(fields[i].name, reserved[k])) {
                return hpxi_h1_error_set(
                    error, HPX_E_INVALID, "header field %s %s", reserved[k], why);
            }
        }
    }
    return HPX_OK;
}

static const char writer_own_field[] = "is written by the library, and may not be given";

static bool writer_has_content(const hpxi_h1_request *request)
{
    return request->body != HPXI_H1_BODY_NONE;
}

hpx_status hpxi_h1_request_check(const hpxi_h1_request *request, hpx_error *error)
{
    static const char *const reserved[] = {
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect",
        NULL};
    HPX_ASSERT(request->body != HPXI_H1_BODY_UNTIL_CLOSE);
    HPX_ASSERT(request->body == HPXI_H1_BODY_LENGTH || request->body_bytes == 0);
    if (!hpxi_h1_is_token(request->method)) {
        return hpxi_h1_error_set(error, HPX_E_INVALID, "method is not a token (RFC 9110 9.1)");
    }
    if (!hpxi_h1_is_target(request->method, request->target)) {
        return hpxi_h1_error_set(
            error,
            HPX_E_INVALID,
            "request target is empty, has a byte that is not visible ASCII or is \"#\", or has a "
            "form that the method may not have (RFC 9112 3.2)");
    }
    if (!hpxi_h1_is_host(request->host)) {
        return hpxi_h1_error_set(
            error, HPX_E_INVALID, "host is not a name or address with an optional port");
    }
    const bool bodiless =
        hpxi_h1_span_is(request->method, "CONNECT") || hpxi_h1_span_is(request->method, "TRACE");
    if (bodiless && writer_has_content(request)) {
        return hpxi_h1_error_set(
            error, HPX_E_INVALID, "CONNECT and TRACE have no body (RFC 9110 9.3)");
    }
    return writer_check_fields(
        request->fields, request->field_count, reserved, writer_own_field, error);
}

hpx_status hpxi_h1_response_check(const hpxi_h1_response *response, hpx_error *error)
{
    static const char *const reserved[] = {
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Upgrade",
        "TE",
        "Trailer",
        NULL};
    HPX_ASSERT(response->body == HPXI_H1_BODY_LENGTH || response->body_bytes == 0);
    HPX_ASSERT(response->body != HPXI_H1_BODY_UNTIL_CLOSE || response->close);
    HPX_ASSERT(!response->close || !response->keep_alive);
    if (response->status < WRITER_STATUS_MIN || response->status > WRITER_STATUS_MAX) {
        return hpxi_h1_error_set(
            error, HPX_E_INVALID, "status %u is not within 200..999", response->status);
    }
    if (response->status == 204 && response->body != HPXI_H1_BODY_NONE) {
        return hpxi_h1_error_set(error, HPX_E_INVALID, "a 204 has no body (RFC 9110 15.3.5)");
    }
    if (!hpxi_h1_is_value(response->reason)) {
        return hpxi_h1_error_set(
            error, HPX_E_INVALID, "reason phrase has a control byte, or white space at an end");
    }
    return writer_check_fields(
        response->fields, response->field_count, reserved, writer_own_field, error);
}

/* ---- Messages -------------------------------------------------------------------------------- */

/* RFC 9110 8.6: a method that anticipates content says so even when there is none. */
static bool writer_says_zero(const hpxi_h1_request *request)
{
    return request->body == HPXI_H1_BODY_NONE &&
           (hpxi_h1_span_is(request->method, "POST") || hpxi_h1_span_is(request->method, "PUT") ||
            hpxi_h1_span_is(request->method, "PATCH"));
}

static void writer_request(writer *w, const void *message)
{
    const hpxi_h1_request *request = message;
    writer_span(w, request->method);
    writer_text(w, " ");
    writer_span(w, request->target);
    writer_text(w, " HTTP/1.1\r\nHost: ");
    writer_span(w, request->host);
    writer_text(w, "\r\n");
    if (request->close) {
        writer_text(w, "Connection: close\r\n");
    }
    writer_framing(
        w, writer_says_zero(request) ? HPXI_H1_BODY_LENGTH : request->body, request->body_bytes);
    writer_fields(w, request->fields, request->field_count);
    writer_text(w, "\r\n");
}

static void writer_response(writer *w, const void *message)
{
    const hpxi_h1_response *response = message;
    const bool empty =
        response->body == HPXI_H1_BODY_NONE && response->status != 204 && response->status != 304;
    writer_text(w, "HTTP/1.1 ");
    writer_number(w, response->status);
    writer_text(w, " ");
    if (response->reason.size != 0) {
        writer_span(w, response->reason);
    } else {
        writer_text(w, hpxi_h1_reason(response->status));
    }
    writer_text(w, "\r\n");
    if (response->close || response->keep_alive) {
        writer_text(w, response->close ? "Connection: close\r\n" : "Connection: keep-alive\r\n");
    }
    writer_framing(w, empty ? HPXI_H1_BODY_LENGTH : response->body, response->body_bytes);
    writer_fields(w, response->fields, response->field_count);
    writer_text(w, "\r\n");
}

typedef struct writer_trailers {
    const hpxi_h1_field *fields;
    size_t count;
} writer_trailers;

static void writer_chunks_end(writer *w, const void *message)
{
    const writer_trailers *trailers = message;
    writer_text(w, "0\r\n");
    writer_fields(w, trailers->fields, trailers->count);
    writer_text(w, "\r\n");
}

static hpx_status
writer_append(hpxi_buf *out, void (*write)(writer *w, const void *message), const void *message)
{
    writer counting = {.to = NULL};
    write(&counting, message);
    writer writing = {.to = hpxi_buf_reserve(out, counting.bytes)};
    if (writing.to == NULL) {
        return HPX_E_NO_MEMORY;
    }
    write(&writing, message);
    HPX_ASSERT(writing.bytes == counting.bytes);
    hpxi_buf_commit(out, writing.bytes);
    return HPX_OK;
}

static hpx_status writer_no_memory(hpx_status status, hpx_error *error)
{
    return status == HPX_OK ? HPX_OK
                            : hpxi_h1_error_set(error, status, "no memory for the head to send");
}

hpx_status hpxi_h1_request_write(hpxi_buf *out, const hpxi_h1_request *request, hpx_error *error)
{
    const hpx_status status = hpxi_h1_request_check(request, error);
    return status != HPX_OK ? status
                            : writer_no_memory(writer_append(out, writer_request, request), error);
}

hpx_status hpxi_h1_response_write(hpxi_buf *out, const hpxi_h1_response *response, hpx_error *error)
{
    const hpx_status status = hpxi_h1_response_check(response, error);
    return status != HPX_OK
               ? status
               : writer_no_memory(writer_append(out, writer_response, response), error);
}

hpx_status hpxi_h1_continue_write(hpxi_buf *out)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    return hpxi_buf_append(out, text, sizeof(text) - 1) ? HPX_OK : HPX_E_NO_MEMORY;
}

/* ---- Chunks ---------------------------------------------------------------------------------- */

size_t hpxi_h1_chunk_head(uint8_t to[HPXI_H1_CHUNK_HEAD_BYTES_MAX], uint64_t bytes)
{
    static const char digits[] = "0123456789abcdef";
    HPX_ASSERT(bytes != 0);
    const uint32_t count = (67u - (uint32_t)__builtin_clzll(bytes)) / 4;
    for (uint32_t i = 0; i < count; i++) {
        to[i] = (uint8_t)digits[bytes >> (4 * (count - 1 - i)) & 0xF];
    }
    to[count] = '\r';
    to[count + 1] = '\n';
    return count + 2;
}

hpx_status hpxi_h1_chunk_write(hpxi_buf *out, hpx_span data)
{
    if (data.size == 0) {
        return HPX_OK;
    }
    uint8_t head[HPXI_H1_CHUNK_HEAD_BYTES_MAX];
    const size_t head_bytes = hpxi_h1_chunk_head(head, data.size);
    uint8_t *to = hpxi_buf_reserve(out, head_bytes + data.size + 2);
    if (to == NULL) {
        return HPX_E_NO_MEMORY;
    }
    memcpy(to, head, head_bytes);
    memcpy(to + head_bytes, data.data, data.size);
    memcpy(to + head_bytes + data.size, "\r\n", 2);
    hpxi_buf_commit(out, head_bytes + data.size + 2);
    return HPX_OK;
}

hpx_status hpxi_h1_chunks_end(
    hpxi_buf *out, const hpxi_h1_field *trailers, size_t trailer_count, hpx_error *error)
{
    static const char *const reserved[] = {
        "Transfer-Encoding", "Content-Length", "Host", "Connection", "Trailer", NULL};
    const hpx_status status = writer_check_fields(
        trailers, trailer_count, reserved, "may not be a trailer (RFC 9110 6.5.1)", error);
    const writer_trailers message = {.fields = trailers, .count = trailer_count};
    return status != HPX_OK
               ? status
               : writer_no_memory(writer_append(out, writer_chunks_end, &message), error);
}

const char *hpxi_h1_reason(uint16_t status)
{
    static const struct {
        uint16_t status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {206, "Partial Content"},
        {301, "Moved Permanently"},
        {302, "Found"},
        {303, "See Other"},
        {304, "Not Modified"},
        {307, "Temporary Redirect"},
        {308, "Permanent Redirect"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "";
}

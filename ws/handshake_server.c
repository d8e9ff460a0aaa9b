/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake_server.c - the server's side of the opening handshake (RFC 6455 4.2).
 *
 * Role      Decides about a request, and writes the 101 or the refusal. Extensions that the client
 *           offers are declined by silence. Origin is not judged: browsers are not our clients.
 * Threads   One thread at a time. Memory: the answer is appended to the caller's buffer.
 */
#include <stdio.h>

#include "ring/quote.h"
#include "ws/http_head.h"

#define SERVER_QUOTE_BYTES 72u

enum {
    SERVER_HOST,
    SERVER_KEY,
    SERVER_VERSION,
    SERVER_CONTENT_LENGTH,
    SERVER_TRANSFER_ENCODING,
    SERVER_PROTOCOL,
    SERVER_FIELD_COUNT,
};

typedef struct server_request {
    const hpxi_ws_head *head;
    hpxi_ws_known fields[SERVER_FIELD_COUNT];
    hpx_span authority; /* of a target in absolute form, else empty */
    hpx_error *error;
} server_request;

/* Refuses with a text about one part of the request and what it was. Returns http_status. */
static uint32_t
server_refuse(const server_request *request, uint32_t http_status, const char *text, hpx_span value)
{
    char quoted[SERVER_QUOTE_BYTES];
    (void)hpxi_ws_error_set(
        request->error,
        http_status == 400 ? HPX_E_HTTP_MALFORMED : HPX_E_UPGRADE_HEADER,
        HPX_STAGE_UPGRADE,
        http_status,
        "%s%s",
        text,
        hpxi_quote(quoted, sizeof(quoted), value));
    return http_status;
}

/* Cuts the bytes before the first `byte` off *text; false if there is none. */
static bool server_cut(hpx_span *text, char byte, hpx_span *before)
{
    const uint8_t *at = text->size == 0 ? NULL : memchr(text->data, byte, text->size);
    if (at == NULL) {
        return false;
    }
    *before = (hpx_span){.data = text->data, .size = (size_t)(at - text->data)};
    text->size -= before->size + 1;
    text->data = at + 1;
    return true;
}

/*
 * Target in absolute form, which a server must take (RFC 9112 3.2.2): the authority then stands for
 * Host. Changes *target to the origin form; false if it is neither.
 */
static bool server_absolute_form(server_request *request, hpx_span *target)
{
    static const char *const schemes[] = {"http://", "https://", "ws://", "wss://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const size_t bytes = strlen(schemes[i]);
        const hpx_span start = {.data = target->data, .size = bytes};
        if (target->size > bytes && hpxi_ws_span_is_text(start, schemes[i])) {
            hpx_span rest = {.data = target->data + bytes, .size = target->size - bytes};
            const uint8_t *slash = memchr(rest.data, '/', rest.size);
            const size_t authority = slash == NULL ? rest.size : (size_t)(slash - rest.data);
            request->authority = (hpx_span){.data = rest.data, .size = authority};
            *target = slash == NULL ? hpx_span_of("/")
                                    : (hpx_span){.data = slash, .size = rest.size - authority};
            return hpxi_ws_is_host(request->authority);
        }
    }
    return false;
}

/* request-line = method SP target SP "HTTP/1.1". Returns 101 to go on, or the refusal. */
static uint32_t server_check_line(server_request *request, hpx_span line, hpxi_ws_offer *offer)
{
    hpx_span rest = line;
    hpx_span method;
    hpx_span target;
    if (!server_cut(&rest, ' ', &method) || !server_cut(&rest, ' ', &target) ||
        !hpxi_ws_is_token(method)) {
        return server_refuse(request, 400, "not a request line: ", line);
    }
    if (!hpxi_ws_span_is(rest, hpx_span_of("HTTP/1.1"))) {
        return server_refuse(request, 400, "not HTTP/1.1 but ", rest);
    }
    if (!hpxi_ws_span_is(method, hpx_span_of("GET"))) {
        return server_refuse(request, 405, "method is not GET but ", method);
    }
    const hpx_span given = target;
    if ((target.size == 0 || target.data[0] != '/') && !server_absolute_form(request, &target)) {
        return server_refuse(request, 400, "request target is neither a path nor a URL: ", given);
    }
    if (!hpxi_ws_is_target(target)) {
        return server_refuse(request, 400, "bad byte in request target ", given);
    }
    offer->target_cut = target.size >= sizeof(offer->target);
    const size_t bytes = offer->target_cut ? sizeof(offer->target) - 1 : target.size;
    memcpy(offer->target, target.data, bytes);
    offer->target[bytes] = '\0';
    return 101;
}

/* RFC 9112 3.2: exactly one valid Host, whatever the form of the target. */
static uint32_t server_check_host(const server_request *request, hpxi_ws_offer *offer)
{
    const hpxi_ws_known *field = &request->fields[SERVER_HOST];
    if (field->count != 1) {
        return server_refuse(
            request, 400, field->count == 0 ? "no Host " : "more than one Host ", field->value);
    }
    const hpx_span host = request->authority.size != 0 ? request->authority : field->value;
    if (!hpxi_ws_is_host(field->value) || host.size >= sizeof(offer->host)) {
        return server_refuse(request, 400, "bad Host ", field->value);
    }
    memcpy(offer->host, host.data, host.size);
    offer->host[host.size] = '\0';
    return 101;
}

/* A WebSocket request has no body: one would be taken for frames. */
static uint32_t server_check_body(const server_request *request)
{
    const hpxi_ws_known *length = &request->fields[SERVER_CONTENT_LENGTH];
    const hpxi_ws_known *encoding = &request->fields[SERVER_TRANSFER_ENCODING];
    if (encoding->count != 0) {
        return server_refuse(request, 400, "body announced: Transfer-Encoding ", encoding->value);
    }
    const bool zero = length->count == 1 && hpxi_ws_span_is(length->value, hpx_span_of("0"));
    if (length->count != 0 && !zero) {
        return server_refuse(request, 400, "body announced: Content-Length ", length->value);
    }
    return 101;
}

/* 16 bytes in base64 are 22 digits and two signs of padding. */
static bool server_is_key(hpx_span key)
{
    if (key.size != HPXI_WS_KEY_BYTES) {
        return false;
    }
    for (size_t i = 0; i < HPXI_WS_KEY_BYTES - 2; i++) {
        const uint8_t lower = key.data[i] | 0x20;
        const bool letter = lower >= 'a' && lower <= 'z';
        const bool digit = key.data[i] >= '0' && key.data[i] <= '9';
        if (!letter && !digit && key.data[i] != '+' && key.data[i] != '/') {
            return false;
        }
    }
    return key.data[HPXI_WS_KEY_BYTES - 2] == '=' && key.data[HPXI_WS_KEY_BYTES - 1] == '=';
}

/* RFC 6455 4.2.1, items 3 to 6. A request that wants no WebSocket gets 426 before its key counts.
 */
static uint32_t server_check_upgrade(const server_request *request, hpxi_ws_offer *offer)
{
    const hpx_span none = {0};
    if (!hpxi_ws_list_has(request->head, "Upgrade", "websocket")) {
        return server_refuse(request, 426, "Upgrade does not say websocket", none);
    }
    if (!hpxi_ws_list_has(request->head, "Connection", "upgrade")) {
        return server_refuse(request, 426, "Connection does not say upgrade", none);
    }
    const hpxi_ws_known *version = &request->fields[SERVER_VERSION];
    if (version->count > 1) {
        return server_refuse(
            request, 400, "more than one Sec-WebSocket-Version, first ", version->value);
    }
    if (!hpxi_ws_span_is(version->value, hpx_span_of("13"))) {
        return server_refuse(request, 426, "Sec-WebSocket-Version is not 13 but ", version->value);
    }
    const hpxi_ws_known *key = &request->fields[SERVER_KEY];
    if (key->count != 1 || !server_is_key(key->value)) {
        return server_refuse(
            request,
            400,
            key->count > 1 ? "more than one Sec-WebSocket-Key, first "
                           : "Sec-WebSocket-Key is not base64 of 16 bytes: ",
            key->value);
    }
    memcpy(offer->key, key->value.data, HPXI_WS_KEY_BYTES);
    offer->key[HPXI_WS_KEY_BYTES] = '\0';
    return 101;
}

/* Our order of preference decides (RFC 6455 4.2.2). No match is no error. */
static uint32_t server_choose(
    const server_request *request,
    const char *const *subprotocols,
    uint32_t count,
    hpxi_ws_offer *offer)
{
    hpxi_ws_list list;
    hpx_span element;
    uint32_t best = count;
    bool any = false;
    hpxi_ws_list_init(&list, request->head, "Sec-WebSocket-Protocol");
    while (hpxi_ws_list_next(&list, &element)) {
        any = true;
        if (!hpxi_ws_is_token(element)) {
            return server_refuse(request, 400, "offered subprotocol is not a token: ", element);
        }
        for (uint32_t i = 0; i < best; i++) {
            if (hpxi_ws_span_is(element, hpx_span_of(subprotocols[i]))) {
                best = i;
            }
        }
    }
    if (!any && request->fields[SERVER_PROTOCOL].count != 0) {
        return server_refuse(
            request,
            400,
            "Sec-WebSocket-Protocol names none: ",
            request->fields[SERVER_PROTOCOL].value);
    }
    offer->subprotocol = best < count ? subprotocols[best] : NULL;
    return 101;
}

uint32_t hpxi_ws_offer_check(
    const hpxi_ws_head *head,
    const char *const *subprotocols,
    uint32_t subprotocol_count,
    hpxi_ws_offer *offer,
    hpx_error *error)
{
    HPX_ASSERT(head->role == HPXI_WS_ROLE_SERVER);
    HPX_ASSERT(subprotocols != NULL || subprotocol_count == 0);
    *offer = (hpxi_ws_offer){0};
    server_request request = {
        .head = head,
        .fields =
            {[SERVER_HOST] = {.name = "Host"},
             [SERVER_KEY] = {.name = "Sec-WebSocket-Key"},
             [SERVER_VERSION] = {.name = "Sec-WebSocket-Version"},
             [SERVER_CONTENT_LENGTH] = {.name = "Content-Length"},
             [SERVER_TRANSFER_ENCODING] = {.name = "Transfer-Encoding"},
             [SERVER_PROTOCOL] = {.name = "Sec-WebSocket-Protocol"}},
        .error = error,
    };
    hpxi_ws_cursor cursor;
    const hpx_span line = hpxi_ws_head_start_line(head, &cursor);
    if (hpxi_ws_fields_collect(head, request.fields, SERVER_FIELD_COUNT, 400, error) != HPX_OK) {
        return 400;
    }
    uint32_t result = server_check_line(&request, line, offer);
    if (result == 101) {
        result = server_check_host(&request, offer);
    }
    if (result == 101) {
        result = server_check_body(&request);
    }
    if (result == 101) {
        result = server_check_upgrade(&request, offer);
    }
    if (result == 101) {
        result = server_choose(&request, subprotocols, subprotocol_count, offer);
    }
    return result;
}

/* ---- Answers --------------------------------------------------------------------------------- */

static void server_write(hpxi_ws_writer *writer, const hpxi_ws_offer *offer, const char *accept)
{
    hpxi_ws_write(
        writer,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Accept: ");
    hpxi_ws_write(writer, accept);
    if (offer->subprotocol != NULL) {
        hpxi_ws_write(writer, "\r\nSec-WebSocket-Protocol: ");
        hpxi_ws_write(writer, offer->subprotocol);
    }
    hpxi_ws_write(writer, "\r\n\r\n");
}

hpx_status hpxi_ws_answer_write(hpxi_buf *out, const hpxi_ws_offer *offer)
{
    HPX_ASSERT(offer->key[0] != '\0');
    HPX_ASSERT(offer->subprotocol == NULL || hpxi_ws_is_token(hpx_span_of(offer->subprotocol)));
    char accept[HPXI_WS_ACCEPT_BYTES + 1];
    hpxi_ws_accept_of(accept, offer->key, HPXI_WS_KEY_BYTES);
    hpxi_ws_writer counting = {.to = NULL};
    server_write(&counting, offer, accept);
    hpxi_ws_writer writing = {.to = hpxi_buf_reserve(out, counting.bytes)};
    if (writing.to == NULL) {
        return HPX_E_NO_MEMORY;
    }
    server_write(&writing, offer, accept);
    HPX_ASSERT(writing.bytes == counting.bytes);
    hpxi_buf_commit(out, writing.bytes);
    return HPX_OK;
}

/* Reason phrase and what the status obliges the server to add (RFC 9110 15.5.6, 15.5.22). */
typedef struct server_status {
    uint32_t http_status;
    const char *reason;
    const char *fields;
} server_status;

static const server_status *server_status_find(uint32_t http_status)
{
    static const char close[] = "Connection: close\r\n";
    static const server_status statuses[] = {
        {400, "Bad Request", close},
        {401, "Unauthorized", "Connection: close\r\nWWW-Authenticate: Bearer\r\n"},
        {403, "Forbidden", close},
        {404, "Not Found", close},
        {405, "Method Not Allowed", "Connection: close\r\nAllow: GET\r\n"},
        {408, "Request Timeout", close},
        {426,
         "Upgrade Required",
         "Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"},
        {429, "Too Many Requests", close},
        {431, "Request Header Fields Too Large", close},
        {500, "Internal Server Error", close},
        {502, "Bad Gateway", close},
        {503, "Service Unavailable", close},
        {504, "Gateway Timeout", close},
    };
    static const server_status other = {0, "Refused", close};
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        if (statuses[i].http_status == http_status) {
            return &statuses[i];
        }
    }
    return &other;
}

hpx_status hpxi_ws_refusal_write(hpxi_buf *out, uint32_t http_status, uint32_t retry_after_s)
{
    HPX_ASSERT(http_status >= 400 && http_status <= 599);
    const server_status *status = server_status_find(http_status);
    char retry_after[40] = "";
    if (retry_after_s != 0) {
        (void)snprintf(retry_after, sizeof(retry_after), "Retry-After: %u\r\n", retry_after_s);
    }
    char text[512];
    const int bytes = snprintf(
        text,
        sizeof(text),
        "HTTP/1.1 %u %s\r\n%s%sContent-Type: text/plain\r\n"
        "Content-Length: %zu\r\n\r\n%s\r\n",
        http_status,
        status->reason,
        status->fields,
        retry_after,
        strlen(status->reason) + 2,
        status->reason);
    HPX_ASSERT(bytes > 0 && (size_t)bytes < sizeof(text));
    return hpxi_buf_append(out, text, (size_t)bytes) ? HPX_OK : HPX_E_NO_MEMORY;
}

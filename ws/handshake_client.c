/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake_client.c - the client's side of the opening handshake (RFC 6455 4.1).
 *
 * Role      Checks the caller's strings before a byte is written, writes the request, and checks
 *           the answer. Nothing is offered as an extension, so none is accepted.
 * Threads   One thread at a time. Memory: the request is appended to the caller's buffer.
 */
#include "ring/quote.h"
#include "ws/handshake_key.h"
#include "ws/http_head.h"

#define CLIENT_QUOTE_BYTES 72u

/* So far away that it means never, and still safe to add to a clock. */
#define CLIENT_RETRY_AFTER_S_MAX UINT64_C(1000000000)

/* ---- Request --------------------------------------------------------------------------------- */

/* The value is not quoted: it may be a credential. */
static hpx_status
client_invalid(hpx_error *error, const char *list, uint32_t index, const char *why)
{
    return hpxi_ws_error_set(
        error, HPX_E_INVALID, HPX_STAGE_CONFIG, 0, "%s[%u] %s", list, index, why);
}

/* Fields that the handshake sets, or that would announce a body or another protocol. */
static bool client_is_reserved(hpx_span name)
{
    static const char *const names[] = {
        "host",
        "upgrade",
        "connection",
        "content-length",
        "transfer-encoding",
        "expect",
    };
    static const char prefix[] = "sec-websocket-";
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (hpxi_ws_span_is_text(name, names[i])) {
            return true;
        }
    }
    const size_t bytes = sizeof(prefix) - 1;
    return name.size >= bytes &&
           hpxi_ws_span_is_text((hpx_span){.data = name.data, .size = bytes}, prefix);
}

/* NULL, or what is wrong with "Name: value". */
static const char *client_header_fault(const char *header)
{
    if (header == NULL) {
        return "is NULL";
    }
    const hpx_span all = hpx_span_of(header);
    const char *colon = strchr(header, ':');
    if (colon == NULL) {
        return "is not \"Name: value\"";
    }
    const hpx_span name = {.data = all.data, .size = (size_t)(colon - header)};
    if (!hpxi_ws_is_token(name)) {
        return "has a name that is not a token";
    }
    if (client_is_reserved(name)) {
        return "is a field that the handshake itself sets, or that announces a body";
    }
    const char *value = colon[1] == ' ' ? colon + 2 : colon + 1;
    const size_t bytes = strlen(value);
    for (size_t i = 0; i < bytes; i++) {
        if ((uint8_t)value[i] < 0x20 || value[i] == 0x7F) {
            return "has a control byte in its value";
        }
    }
    if (bytes != 0 && (value[0] == ' ' || value[bytes - 1] == ' ')) {
        return "has white space around its value";
    }
    return NULL;
}

/* NULL, or what is wrong with subprotocol number `index`: RFC 6455 4.1, item 10 of the request. */
static const char *client_subprotocol_fault(const hpxi_ws_request_config *config, uint32_t index)
{
    const char *name = config->subprotocols[index];
    if (name == NULL) {
        return "is NULL";
    }
    if (!hpxi_ws_is_token(hpx_span_of(name))) {
        return "is not a token";
    }
    for (uint32_t i = 0; i < index; i++) {
        if (strcmp(config->subprotocols[i], name) == 0) {
            return "was named before";
        }
    }
    return NULL;
}

hpx_status hpxi_ws_request_check(const hpxi_ws_request_config *config, hpx_error *error)
{
    if (config->host == NULL || !hpxi_ws_is_host(hpx_span_of(config->host))) {
        return hpxi_ws_error_set(
            error, HPX_E_INVALID, HPX_STAGE_CONFIG, 0, "host is not NAME[:PORT] or [IPV6][:PORT]");
    }
    if (config->target == NULL || !hpxi_ws_is_target(hpx_span_of(config->target))) {
        return hpxi_ws_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            0,
            "target is not /PATH[?QUERY] of visible ASCII");
    }
    if ((config->headers == NULL && config->header_count != 0) ||
        (config->subprotocols == NULL && config->subprotocol_count != 0)) {
        return hpxi_ws_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            0,
            "headers or subprotocols is NULL but has a count");
    }
    for (uint32_t i = 0; i < config->header_count; i++) {
        const char *fault = client_header_fault(config->headers[i]);
        if (fault != NULL) {
            return client_invalid(error, "headers", i, fault);
        }
    }
    for (uint32_t i = 0; i < config->subprotocol_count; i++) {
        const char *fault = client_subprotocol_fault(config, i);
        if (fault != NULL) {
            return client_invalid(error, "subprotocols", i, fault);
        }
    }
    return HPX_OK;
}

static void
client_write(hpxi_ws_writer *writer, const hpxi_ws_request_config *config, const char *key)
{
    hpxi_ws_write(writer, "GET ");
    hpxi_ws_write(writer, config->target);
    hpxi_ws_write(writer, " HTTP/1.1\r\nHost: ");
    hpxi_ws_write(writer, config->host);
    hpxi_ws_write(writer, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
    hpxi_ws_write(writer, key);
    hpxi_ws_write(writer, "\r\nSec-WebSocket-Version: 13\r\n");
    for (uint32_t i = 0; i < config->subprotocol_count; i++) {
        hpxi_ws_write(writer, i == 0 ? "Sec-WebSocket-Protocol: " : ", ");
        hpxi_ws_write(writer, config->subprotocols[i]);
    }
    hpxi_ws_write(writer, config->subprotocol_count == 0 ? "" : "\r\n");
    for (uint32_t i = 0; i < config->header_count; i++) {
        hpxi_ws_write(writer, config->headers[i]);
        hpxi_ws_write(writer, "\r\n");
    }
    hpxi_ws_write(writer, "\r\n");
}

hpx_status hpxi_ws_request_write(hpxi_buf *out, const hpxi_ws_request_config *config)
{
    HPX_DASSERT(hpxi_ws_request_check(config, NULL) == HPX_OK);
    char key[HPXI_WS_KEY_BYTES + 1];
    hpxi_ws_key_of(key, config->nonce);
    hpxi_ws_writer counting = {.to = NULL};
    client_write(&counting, config, key);
    hpxi_ws_writer writing = {.to = hpxi_buf_reserve(out, counting.bytes)};
    if (writing.to == NULL) {
        return HPX_E_NO_MEMORY;
    }
    client_write(&writing, config, key);
    HPX_ASSERT(writing.bytes == counting.bytes);
    hpxi_buf_commit(out, writing.bytes);
    return HPX_OK;
}

/* ---- Answer ---------------------------------------------------------------------------------- */

enum {
    CLIENT_UPGRADE,
    CLIENT_ACCEPT,
    CLIENT_EXTENSIONS,
    CLIENT_PROTOCOL,
    CLIENT_LOCATION,
    CLIENT_RETRY_AFTER,
    CLIENT_FIELD_COUNT,
};

typedef struct client_answer {
    const hpxi_ws_head *head;
    const hpxi_ws_request_config *request;
    hpxi_ws_known fields[CLIENT_FIELD_COUNT];
    uint32_t http_status;
    uint8_t minor_version;
    hpx_span reason;
    hpx_error *error;
} client_answer;

/* Fails with a text about one field and its value. */
static hpx_status
client_fail(const client_answer *answer, hpx_status status, const char *text, hpx_span value)
{
    char quoted[CLIENT_QUOTE_BYTES];
    return hpxi_ws_error_set(
        answer->error,
        status,
        HPX_STAGE_UPGRADE,
        answer->http_status,
        "%s%s",
        text,
        hpxi_quote(quoted, sizeof(quoted), value));
}

/* Fails unless the field is there exactly once. */
static hpx_status
client_need_one(const client_answer *answer, hpx_status status, const hpxi_ws_known *field)
{
    if (field->count == 1) {
        return HPX_OK;
    }
    return hpxi_ws_error_set(
        answer->error,
        status,
        HPX_STAGE_UPGRADE,
        answer->http_status,
        field->count == 0 ? "the answer has no %s" : "%s is there %u times",
        field->name,
        field->count);
}

/* status-line = "HTTP/1." DIGIT SP 3DIGIT SP [ reason ], RFC 9112 4. The space is not optional. */
static bool client_parse_status(client_answer *answer, hpx_span line)
{
    static const char shape[] = "HTTP/1.x ddd ";
    const size_t bytes = sizeof(shape) - 1;
    if (line.size < bytes || memcmp(line.data, shape, 7) != 0) {
        return false;
    }
    for (size_t i = 8; i < bytes; i++) {
        const bool digit = line.data[i] >= '0' && line.data[i] <= '9';
        if (shape[i] == ' ' ? line.data[i] != ' ' : !digit) {
            return false;
        }
    }
    const uint32_t http_status = (uint32_t)(line.data[9] - '0') * 100 +
                                 (uint32_t)(line.data[10] - '0') * 10 +
                                 (uint32_t)(line.data[11] - '0');
    if (http_status < 100) {
        return false;
    }
    answer->minor_version = (uint8_t)(line.data[7] - '0');
    answer->http_status = http_status;
    answer->reason = (hpx_span){.data = line.data + bytes, .size = line.size - bytes};
    return true;
}

/* Retry-After in seconds; 0 for a date or for nonsense. */
static uint64_t client_retry_after_ns(const hpxi_ws_known *field)
{
    uint64_t seconds = 0;
    for (size_t i = 0; i < field->value.size; i++) {
        const uint8_t byte = field->value.data[i];
        if (byte < '0' || byte > '9') {
            return 0;
        }
        seconds = seconds * 10 + (uint64_t)(byte - '0');
        if (seconds > CLIENT_RETRY_AFTER_S_MAX) {
            seconds = CLIENT_RETRY_AFTER_S_MAX;
        }
    }
    return seconds * HPX_NS_PER_S;
}

/* Any answer but 101: nothing is followed, the caller is told where to look. */
static hpx_status client_refused(const client_answer *answer)
{
    HPX_ASSERT(answer->http_status != 101);
    const hpxi_ws_known *location = &answer->fields[CLIENT_LOCATION];
    char reason[40];
    char where[112];
    (void)hpxi_quote(reason, sizeof(reason), answer->reason);
    (void)hpxi_quote(where, sizeof(where), location->value);
    const bool redirect = answer->http_status / 100 == 3 && location->count != 0;
    const hpx_status status = hpxi_ws_error_set(
        answer->error,
        HPX_E_UPGRADE_STATUS,
        HPX_STAGE_UPGRADE,
        answer->http_status,
        "the server answered %u %s%s%s",
        answer->http_status,
        reason,
        redirect ? ", Location " : "",
        redirect ? where : "");
    const bool later = answer->http_status == 429 || answer->http_status == 503;
    if (answer->error != NULL && later && answer->fields[CLIENT_RETRY_AFTER].count == 1) {
        answer->error->retry_after_ns = client_retry_after_ns(&answer->fields[CLIENT_RETRY_AFTER]);
    }
    return status;
}

/* RFC 6455 4.1, items 2 and 3 of the answer. */
static hpx_status client_check_upgrade(const client_answer *answer)
{
    const hpxi_ws_known *upgrade = &answer->fields[CLIENT_UPGRADE];
    const hpx_status status = client_need_one(answer, HPX_E_UPGRADE_HEADER, upgrade);
    if (status != HPX_OK) {
        return status;
    }
    if (!hpxi_ws_span_is_text(upgrade->value, "websocket")) {
        return client_fail(
            answer, HPX_E_UPGRADE_HEADER, "Upgrade is not websocket but ", upgrade->value);
    }
    hpxi_ws_list list;
    hpx_span element;
    hpx_span last = {0};
    bool found = false;
    hpxi_ws_list_init(&list, answer->head, "Connection");
    while (hpxi_ws_list_next(&list, &element)) {
        if (!hpxi_ws_is_token(element)) {
            return client_fail(
                answer, HPX_E_UPGRADE_HEADER, "Connection has what is not a token: ", element);
        }
        found = found || hpxi_ws_span_is_text(element, "upgrade");
        last = element;
    }
    return found ? HPX_OK
                 : client_fail(
                       answer,
                       HPX_E_UPGRADE_HEADER,
                       "Connection does not say upgrade; its last word is ",
                       last);
}

/* RFC 6455 4.1, item 4 of the answer. */
static hpx_status client_check_accept(const client_answer *answer)
{
    const hpxi_ws_known *accept = &answer->fields[CLIENT_ACCEPT];
    const hpx_status status = client_need_one(answer, HPX_E_UPGRADE_ACCEPT, accept);
    if (status != HPX_OK) {
        return status;
    }
    char key[HPXI_WS_KEY_BYTES + 1];
    char expected[HPXI_WS_ACCEPT_BYTES + 1];
    hpxi_ws_key_of(key, answer->request->nonce);
    hpxi_ws_accept_of(expected, key, HPXI_WS_KEY_BYTES);
    if (hpxi_ws_span_is(accept->value, hpx_span_of(expected))) {
        return HPX_OK;
    }
    char quoted[CLIENT_QUOTE_BYTES];
    return hpxi_ws_error_set(
        answer->error,
        HPX_E_UPGRADE_ACCEPT,
        HPX_STAGE_UPGRADE,
        answer->http_status,
        "Sec-WebSocket-Accept is %s, not \"%s\"; is there a cache between?",
        hpxi_quote(quoted, sizeof(quoted), accept->value),
        expected);
}

/* RFC 6455 4.1, items 5 and 6 of the answer. */
static hpx_status client_check_choices(const client_answer *answer, hpxi_ws_answer *out)
{
    const hpxi_ws_known *extensions = &answer->fields[CLIENT_EXTENSIONS];
    if (extensions->count != 0) {
        return client_fail(
            answer,
            HPX_E_UPGRADE_EXTENSION,
            "no extension was offered, the server chose ",
            extensions->value);
    }
    const hpxi_ws_known *protocol = &answer->fields[CLIENT_PROTOCOL];
    if (protocol->count == 0) {
        return HPX_OK;
    }
    const hpx_status status = client_need_one(answer, HPX_E_UPGRADE_SUBPROTOCOL, protocol);
    if (status != HPX_OK) {
        return status;
    }
    for (uint32_t i = 0; i < answer->request->subprotocol_count; i++) {
        if (hpxi_ws_span_is(protocol->value, hpx_span_of(answer->request->subprotocols[i]))) {
            const size_t room = sizeof(out->subprotocol) - 1;
            const size_t bytes = protocol->value.size < room ? protocol->value.size : room;
            memcpy(out->subprotocol, protocol->value.data, bytes);
            out->subprotocol[bytes] = '\0';
            return HPX_OK;
        }
    }
    return client_fail(
        answer,
        HPX_E_UPGRADE_SUBPROTOCOL,
        "the server chose a subprotocol that was not offered: ",
        protocol->value);
}

hpx_status hpxi_ws_answer_check(
    const hpxi_ws_head *head,
    const hpxi_ws_request_config *request,
    hpxi_ws_answer *answer,
    hpx_error *error)
{
    HPX_ASSERT(head->role == HPXI_WS_ROLE_CLIENT);
    *answer = (hpxi_ws_answer){0};
    client_answer checked = {
        .head = head,
        .request = request,
        .fields =
            {[CLIENT_UPGRADE] = {.name = "Upgrade"},
             [CLIENT_ACCEPT] = {.name = "Sec-WebSocket-Accept"},
             [CLIENT_EXTENSIONS] = {.name = "Sec-WebSocket-Extensions"},
             [CLIENT_PROTOCOL] = {.name = "Sec-WebSocket-Protocol"},
             [CLIENT_LOCATION] = {.name = "Location"},
             [CLIENT_RETRY_AFTER] = {.name = "Retry-After"}},
        .error = error,
    };
    hpxi_ws_cursor cursor;
    const hpx_span line = hpxi_ws_head_start_line(head, &cursor);
    if (!client_parse_status(&checked, line)) {
        return client_fail(&checked, HPX_E_HTTP_MALFORMED, "not a status line: ", line);
    }
    answer->http_status = checked.http_status;
    hpx_status status = hpxi_ws_fields_collect(
        head, checked.fields, CLIENT_FIELD_COUNT, checked.http_status, error);
    if (status == HPX_OK && checked.http_status != 101) {
        status = client_refused(&checked);
    }
    if (status == HPX_OK && checked.minor_version != 1) {
        status =
            client_fail(&checked, HPX_E_HTTP_MALFORMED, "a 101 needs HTTP/1.1, this is ", line);
    }
    if (status == HPX_OK) {
        status = client_check_upgrade(&checked);
    }
    if (status == HPX_OK) {
        status = client_check_accept(&checked);
    }
    if (status == HPX_OK) {
        status = client_check_choices(&checked, answer);
    }
    return status;
}

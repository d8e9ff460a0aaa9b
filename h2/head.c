/* SPDX-License-Identifier: Apache-2.0 */
/*
 * head.c - checks of the heads that we send, before a byte of them exists on the wire.
 *
 * Role      RFC 9113 8.2 (fields), 8.3 (pseudo-header fields), RFC 9110 5.5 (values), 8.6
 *           (Content-Length). A value is never shown in an error: it may be a credential.
 * Threads   Any; no state. Memory: none.
 */
#include "h2/internal.h"

#define HEAD_FIELD_OVERHEAD 32u /* RFC 9113 6.5.2 */
#define HEAD_SHOWN_MAX      60  /* bytes of a name in an error */

static bool head_is_token_byte(uint8_t byte)
{
    if ((byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
        (byte >= '0' && byte <= '9')) {
        return true;
    }
    return byte != 0 && strchr("!#$%&'*+-.^_`|~", byte) != NULL;
}

static bool head_equals(hpx_span span, const char *text)
{
    return span.size == strlen(text) && (span.size == 0 || memcmp(span.data, text, span.size) == 0);
}

static bool head_spans_equal(hpx_span a, hpx_span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* ---- Fields --------------------------------------------------------------------------------- */

static bool head_name_is_valid(hpx_span name)
{
    for (size_t i = 0; i < name.size; i++) {
        /* RFC 9113 8.2: upper case makes a message malformed. */
        if (!head_is_token_byte(name.data[i]) || (name.data[i] >= 'A' && name.data[i] <= 'Z')) {
            return false;
        }
    }
    return name.size != 0;
}

static bool head_is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static bool head_value_is_valid(hpx_span value)
{
    for (size_t i = 0; i < value.size; i++) {
        const uint8_t byte = value.data[i];
        if ((byte < 0x20 && byte != '\t') || byte == 0x7f) {
            return false;
        }
    }
    return value.size == 0 ||
           (!head_is_blank(value.data[0]) && !head_is_blank(value.data[value.size - 1]));
}

/* RFC 9113 8.2.2: fields about one connection of HTTP/1.1. */
static bool head_is_connection_field(hpx_span name)
{
    static const char *const names[] = {
        "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (head_equals(name, names[i])) {
            return true;
        }
    }
    return false;
}

static bool head_parse_length(hpx_span value, uint64_t *length)
{
    *length = 0;
    for (size_t i = 0; i < value.size; i++) {
        const uint64_t digit = (uint64_t)value.data[i] - '0';
        if (value.data[i] < '0' || value.data[i] > '9' || *length > (UINT64_MAX / 2 - digit) / 10) {
            return false;
        }
        *length = *length * 10 + digit;
    }
    return value.size != 0;
}

/* What a field with a meaning of its own may hold. NULL, or what is wrong. */
static const char *
head_check_meaning(const hpxi_h2_field *field, hpx_span authority, hpxi_h2_head_facts *facts)
{
    if (head_is_connection_field(field->name)) {
        return "belongs to HTTP/1.1 (RFC 9113 8.2.2)";
    }
    if (head_equals(field->name, "te") && !head_equals(field->value, "trailers")) {
        return "may only be \"trailers\" (RFC 9113 8.2.2)";
    }
    if (head_equals(field->name, "host") && authority.size != 0 &&
        !head_spans_equal(field->value, authority)) {
        return "differs from the authority (RFC 9113 8.3.1)";
    }
    if (head_equals(field->name, "content-length")) {
        uint64_t length;
        if (!head_parse_length(field->value, &length)) {
            return "is not a number (RFC 9110 8.6)";
        }
        if (facts->has_length) {
            return "is there twice (RFC 9110 8.6)";
        }
        facts->has_length = true;
        facts->length = length;
    }
    return NULL;
}

hpx_status hpxi_h2_fields_check(
    const hpxi_h2_field *fields,
    uint32_t field_count,
    hpx_span authority,
    hpxi_h2_head_facts *facts,
    hpx_error *error)
{
    *facts = (hpxi_h2_head_facts){0};
    for (uint32_t i = 0; i < field_count; i++) {
        const hpxi_h2_field *field = &fields[i];
        if (!head_name_is_valid(field->name)) {
            return hpxi_h2_invalid(
                error, "field %u: the name is not a token in lower case (RFC 9113 8.2)", i + 1);
        }
        const int shown =
            field->name.size > HEAD_SHOWN_MAX ? HEAD_SHOWN_MAX : (int)field->name.size;
        if (!head_value_is_valid(field->value)) {
            return hpxi_h2_invalid(
                error,
                "field \"%.*s\": the value has a control byte, or white space at an end",
                shown,
                (const char *)field->name.data);
        }
        const char *wrong = head_check_meaning(field, authority, facts);
        if (wrong != NULL) {
            return hpxi_h2_invalid(
                error, "field \"%.*s\" %s", shown, (const char *)field->name.data, wrong);
        }
        facts->list_bytes += field->name.size + field->value.size + HEAD_FIELD_OVERHEAD;
    }
    return HPX_OK;
}

/* ---- Pseudo-header fields ------------------------------------------------------------------- */

static bool head_is_printable(hpx_span span, const char *refused)
{
    for (size_t i = 0; i < span.size; i++) {
        const uint8_t byte = span.data[i];
        if (byte <= 0x20 || byte >= 0x7f || strchr(refused, byte) != NULL) {
            return false;
        }
    }
    return span.size != 0;
}

static bool head_scheme_is_valid(hpx_span scheme)
{
    for (size_t i = 0; i < scheme.size; i++) {
        const uint8_t byte = scheme.data[i];
        const bool is_letter = byte >= 'a' && byte <= 'z';
        const bool is_other =
            (byte >= '0' && byte <= '9') || byte == '+' || byte == '-' || byte == '.';
        if (!is_letter && (!is_other || i == 0)) {
            return false;
        }
    }
    return scheme.size != 0;
}

static bool head_method_is_valid(hpx_span method)
{
    for (size_t i = 0; i < method.size; i++) {
        if (!head_is_token_byte(method.data[i])) {
            return false;
        }
    }
    return method.size != 0;
}

static hpx_status head_check_pseudo(const hpxi_h2_request_head *head, hpx_error *error)
{
    if (!head_method_is_valid(head->method)) {
        return hpxi_h2_invalid(error, "method: not a token (RFC 9110 9.1)");
    }
    if (head_equals(head->method, "CONNECT")) {
        return hpxi_h2_invalid(error, "method: CONNECT is not supported");
    }
    if (!head_scheme_is_valid(head->scheme)) {
        return hpxi_h2_invalid(error, "scheme: not one in lower case (RFC 3986 3.1)");
    }
    /* RFC 9113 8.3.1: no user info; a fragment or a space would end it for the next server. */
    if (!head_is_printable(head->authority, "@/?#\\\"<>^`{|}")) {
        return hpxi_h2_invalid(error, "authority: empty, or a byte that no host[:port] has");
    }
    const bool is_asterisk = head_equals(head->path, "*");
    if (is_asterisk && !head_equals(head->method, "OPTIONS")) {
        return hpxi_h2_invalid(error, "path: \"*\" is for OPTIONS only (RFC 9110 7.1)");
    }
    if (!is_asterisk && (!head_is_printable(head->path, "#") || head->path.data[0] != '/')) {
        return hpxi_h2_invalid(
            error, "path: must begin with '/' and have no space, '#', control or 8-bit byte");
    }
    return HPX_OK;
}

static size_t head_pseudo_bytes(const hpxi_h2_request_head *head)
{
    const size_t names = sizeof(":method:scheme:authority:path") - 1;
    return names + head->method.size + head->scheme.size + head->authority.size + head->path.size +
           4 * HEAD_FIELD_OVERHEAD;
}

hpx_status hpxi_h2_request_facts(
    const hpxi_h2 *h2,
    const hpxi_h2_request_head *head,
    hpxi_h2_head_facts *facts,
    hpx_error *error)
{
    hpx_status status = head_check_pseudo(head, error);
    if (status != HPX_OK) {
        return status;
    }
    status = hpxi_h2_fields_check(head->fields, head->field_count, head->authority, facts, error);
    if (status != HPX_OK) {
        return status;
    }
    facts->list_bytes += head_pseudo_bytes(head);
    return hpxi_h2_sizes_check(h2, head->field_count, facts->list_bytes, error);
}

hpx_status
hpxi_h2_sizes_check(const hpxi_h2 *h2, uint32_t field_count, size_t list_bytes, hpx_error *error)
{
    const hpxi_h2_limits *limits = &h2->config.limits;
    if (field_count > limits->fields_max) {
        return hpxi_h2_invalid(
            error, "%u fields; limits.fields_max is %u", field_count, limits->fields_max);
    }
    const uint32_t peers =
        nghttp2_session_get_remote_settings(h2->library, NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE);
    const uint32_t most =
        peers < limits->header_list_bytes_max ? peers : limits->header_list_bytes_max;
    if (list_bytes > most) {
        return hpxi_h2_invalid(
            error,
            "a head of %zu bytes; %s is %u",
            list_bytes,
            most == peers ? "the peer's MAX_HEADER_LIST_SIZE" : "limits.header_list_bytes_max",
            most);
    }
    return HPX_OK;
}

hpx_status
hpxi_h2_request_check(const hpxi_h2 *h2, const hpxi_h2_request_head *head, hpx_error *error)
{
    hpxi_h2_head_facts facts;
    return hpxi_h2_request_facts(h2, head, &facts, error);
}

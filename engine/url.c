/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url.c - ws://, wss://, http:// and https:// URLs.
 *
 *   scheme "://" host [":" port] [path] ["?" query]
 *
 * Role      Each url_parse_* takes its part off the front and leaves the offset behind it. What is
 *           not allowed by RFC 3986 is refused, never repaired: two programs that repair a URL in
 *           two ways connect to two hosts.
 * Threads   Any; no state. Memory: the caller's. No detail quotes more than the part in question:
 *           a URL may hold a password or a token.
 */
#include "engine/url.h"

#include <string.h>
#include <strings.h>

#include "engine/error.h"
#include "ring/assert.h"
#include "ring/net.h"
#include "ring/quote.h"

#define URL_NAME_BYTES_MAX  253u /* RFC 1035 2.3.4 */
#define URL_LABEL_BYTES_MAX 63u
#define URL_PORT_BYTES_MAX  5u
#define URL_QUOTE_BYTES     64u

_Static_assert(URL_NAME_BYTES_MAX < HPXI_URL_HOST_BYTES, "a name and its NUL fit");

typedef struct url_parser {
    const char *text;
    size_t at; /* offset of what is parsed next */
    bool http; /* http and https, not ws and wss */
    hpxi_url *url;
    hpx_error *error;
} url_parser;

static bool url_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool url_is_alpha(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool url_is_hex(char byte)
{
    return url_is_digit(byte) || (byte >= 'a' && byte <= 'f') || (byte >= 'A' && byte <= 'F');
}

static char url_lower(char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (char)(byte | 0x20) : byte;
}

static hpx_status url_fail(const url_parser *parser, size_t at, const char *what)
{
    return hpxi_error_set(
        parser->error, HPX_E_URL, HPX_STAGE_CONFIG, "%s (offset %zu of the URL)", what, at);
}

/* Fails and shows the part in question. */
static hpx_status url_fail_part(const url_parser *parser, size_t at, size_t bytes, const char *what)
{
    char quoted[URL_QUOTE_BYTES];
    const hpx_span part = {.data = (const uint8_t *)parser->text + at, .size = bytes};
    return hpxi_error_set(
        parser->error,
        HPX_E_URL,
        HPX_STAGE_CONFIG,
        "%s: %s (offset %zu of the URL)",
        what,
        hpxi_quote(quoted, sizeof(quoted), part),
        at);
}

static hpx_status url_parse_scheme(url_parser *parser)
{
    HPX_ASSERT(parser->at == 0);
    const char *text = parser->text;
    size_t bytes = 0;
    while (url_is_alpha(text[bytes]) ||
           (bytes != 0 && (url_is_digit(text[bytes]) || text[bytes] == '+' || text[bytes] == '-' ||
                           text[bytes] == '.'))) {
        bytes++;
    }
    if (bytes == 0 || strncmp(text + bytes, "://", 3) != 0) {
        return url_fail(
            parser,
            bytes,
            parser->http ? "URL does not begin with http:// or https://"
                         : "URL does not begin with ws:// or wss://");
    }
    const char *plain = parser->http ? "http" : "ws";
    const size_t plain_bytes = strlen(plain);
    const bool is_tls = bytes == plain_bytes + 1 && url_lower(text[plain_bytes]) == 's';
    if (strncasecmp(text, plain, plain_bytes) != 0 || (bytes != plain_bytes && !is_tls)) {
        return url_fail_part(
            parser,
            0,
            bytes,
            parser->http ? "scheme is neither http nor https" : "scheme is neither ws nor wss");
    }
    parser->url->is_tls = is_tls;
    parser->url->port = is_tls ? 443 : 80;
    parser->at = bytes + 3;
    return HPX_OK;
}

/* What the authority must not have: user info, or bytes that no part of it may have. */
static hpx_status url_check_authority(const url_parser *parser, size_t end)
{
    HPX_ASSERT(end >= parser->at);
    for (size_t at = parser->at; at < end; at++) {
        if (parser->text[at] == '@') { /* RFC 6455 3; and it is not shown: it may be a password */
            return url_fail(parser, parser->at, "user info before the host is not allowed");
        }
    }
    return HPX_OK;
}

/* "1.2.3", "1.2.3.256", "017.0.0.1", "0x7f.1": some programs would take them for addresses. */
static bool url_is_number(const char *label, size_t bytes)
{
    const bool hex = bytes >= 2 && label[0] == '0' && url_lower(label[1]) == 'x';
    for (size_t i = hex ? 2 : 0; i < bytes; i++) {
        if (hex ? !url_is_hex(label[i]) : !url_is_digit(label[i])) {
            return false;
        }
    }
    return true;
}

/* Labels of letters, digits, '-' and '_'; no empty one, so no trailing dot either. */
static hpx_status url_check_name(const url_parser *parser, size_t at, size_t bytes)
{
    const char *name = parser->text + at;
    size_t label = 0; /* first byte of the label in progress, then of the last one */
    for (size_t i = 0; i <= bytes; i++) {
        if (i < bytes && name[i] != '.') {
            if (!url_is_alpha(name[i]) && !url_is_digit(name[i]) && name[i] != '-' &&
                name[i] != '_') {
                return url_fail_part(parser, at + i, 1, "byte not allowed in a host name");
            }
            continue;
        }
        if (i == label) {
            return url_fail_part(parser, at, bytes, "host name has an empty label");
        }
        if (i - label > URL_LABEL_BYTES_MAX) {
            return url_fail(parser, at + label, "label of the host name has more than 63 bytes");
        }
        if (name[label] == '-' || name[i - 1] == '-') {
            return url_fail_part(
                parser,
                at + label,
                i - label,
                "label of the host name begins or ends with a hyphen");
        }
        if (i < bytes) {
            label = i + 1;
        }
    }
    if (url_is_number(name + label, bytes - label)) {
        return url_fail_part(parser, at, bytes, "host ends in a number but is no IPv4 address");
    }
    return HPX_OK;
}

/* The host between `at` and `at + bytes`, brackets taken off. */
static hpx_status url_set_host(url_parser *parser, size_t at, size_t bytes, bool bracketed)
{
    hpxi_url *url = parser->url;
    if (bytes == 0) {
        return url_fail(parser, at, "host is empty");
    }
    if (bytes > URL_NAME_BYTES_MAX) {
        return url_fail(parser, at, "host has more than 253 bytes");
    }
    for (size_t i = 0; i < bytes; i++) {
        url->host[i] = url_lower(parser->text[at + i]);
    }
    url->host[bytes] = '\0';
    hpxi_address address;
    const bool numeric = hpxi_address_parse(&address, url->host, url->port);
    url->host_is_v4 = numeric && address.u.any.sa_family == AF_INET;
    url->host_is_v6 = numeric && address.u.any.sa_family == AF_INET6;
    if (bracketed) {
        return url->host_is_v6
                   ? HPX_OK
                   : url_fail_part(parser, at, bytes, "not an IPv6 address between the brackets");
    }
    HPX_ASSERT(!url->host_is_v6); /* a host without brackets has no colon */
    return url->host_is_v4 ? HPX_OK : url_check_name(parser, at, bytes);
}

/* At the byte behind the host: ":" and a port, or nothing. */
static hpx_status url_parse_port(url_parser *parser, size_t end)
{
    if (parser->at == end) {
        return HPX_OK;
    }
    if (parser->text[parser->at] != ':') {
        return url_fail_part(parser, parser->at, 1, "byte not allowed after the host");
    }
    const size_t first = parser->at + 1;
    const char *digits = parser->text + first;
    const size_t bytes = end - first;
    uint32_t port = 0;
    bool good = bytes != 0 && bytes <= URL_PORT_BYTES_MAX && digits[0] != '0';
    for (size_t i = 0; i < bytes && good; i++) {
        good = url_is_digit(digits[i]);
        port = port * 10 + (uint32_t)(digits[i] - '0');
    }
    if (!good || port > UINT16_MAX) {
        return url_fail_part(parser, first, bytes, "port is not a number from 1 to 65535");
    }
    parser->url->port = (uint16_t)port;
    parser->at = end;
    return HPX_OK;
}

static hpx_status url_parse_authority(url_parser *parser)
{
    const char *text = parser->text;
    const size_t end = parser->at + strcspn(text + parser->at, "/?#");
    hpx_status status = url_check_authority(parser, end);
    if (status != HPX_OK) {
        return status;
    }
    const bool bracketed = text[parser->at] == '[';
    const size_t host = parser->at + (bracketed ? 1 : 0);
    const size_t bytes = strcspn(text + host, bracketed ? "]/?#" : ":/?#");
    if (bracketed && text[host + bytes] != ']') {
        return url_fail(parser, parser->at, "no ] after the IPv6 address");
    }
    status = url_set_host(parser, host, bytes, bracketed);
    if (status != HPX_OK) {
        return status;
    }
    parser->at = host + bytes + (bracketed ? 1 : 0);
    return url_parse_port(parser, end);
}

/* RFC 3986 3.3 and 3.4: pchar, "/" and "?". */
static bool url_is_target_byte(char byte)
{
    switch (byte) {
    case '-':
    case '.':
    case '_':
    case '~':
    case '!':
    case '$':
    case '&':
    case '\'':
    case '(':
    case ')':
    case '*':
    case '+':
    case ',':
    case ';':
    case '=':
    case ':':
    case '@':
    case '/':
    case '?':
        return true;
    default:
        return url_is_alpha(byte) || url_is_digit(byte);
    }
}

static hpx_status url_parse_target(url_parser *parser)
{
    hpxi_url *url = parser->url;
    size_t used = 0;
    if (parser->text[parser->at] != '/') {
        url->target[used++] = '/';
    }
    for (size_t at = parser->at; parser->text[at] != '\0'; at++) {
        const char byte = parser->text[at];
        if (byte == '#' && parser->http) {
            break; /* for the user agent, not for the server */
        }
        if (byte == '#') { /* RFC 6455 3 */
            return url_fail(parser, at, "a fragment (#) is not allowed");
        }
        if (byte == '%' &&
            (!url_is_hex(parser->text[at + 1]) || !url_is_hex(parser->text[at + 2]))) {
            return url_fail(parser, at, "% is not followed by two hexadecimal digits");
        }
        if (byte != '%' && !url_is_target_byte(byte)) {
            return url_fail_part(parser, at, 1, "byte must be percent-encoded");
        }
        if (used == sizeof(url->target) - 1) {
            return url_fail(parser, at, "path and query have more than 4095 bytes");
        }
        url->target[used++] = byte;
    }
    url->target[used] = '\0';
    HPX_ASSERT(url->target[0] == '/');
    return HPX_OK;
}

/* Not snprintf(): a URL is parsed for every HTTP request. */
static void url_set_host_header(hpxi_url *url)
{
    char *at = url->host_header;
    const size_t host_bytes = strlen(url->host);
    if (url->host_is_v6) {
        *at++ = '[';
    }
    memcpy(at, url->host, host_bytes);
    at += host_bytes;
    if (url->host_is_v6) {
        *at++ = ']';
    }
    if (url->port != (url->is_tls ? 443 : 80)) {
        char digits[URL_PORT_BYTES_MAX];
        size_t first = sizeof(digits);
        for (uint32_t port = url->port; port != 0; port /= 10) {
            digits[--first] = (char)('0' + port % 10);
        }
        *at++ = ':';
        memcpy(at, digits + first, sizeof(digits) - first);
        at += sizeof(digits) - first;
    }
    *at = '\0';
    HPX_ASSERT(at < url->host_header + sizeof(url->host_header));
}

/* Empty; the buffers' bytes behind their NULs are not touched: they are 5 KiB. */
static void url_clear(hpxi_url *url)
{
    url->is_tls = false;
    url->host_is_v4 = false;
    url->host_is_v6 = false;
    url->port = 0;
    url->host[0] = '\0';
    url->host_header[0] = '\0';
    url->target[0] = '\0';
}

static hpx_status url_parse(hpxi_url *out, const char *text, bool http, hpx_error *error)
{
    HPX_ASSERT(text != NULL);
    url_clear(out);
    url_parser parser = {.text = text, .http = http, .url = out, .error = error};
    hpx_status status = url_parse_scheme(&parser);
    if (status == HPX_OK) {
        status = url_parse_authority(&parser);
    }
    if (status == HPX_OK) {
        status = url_parse_target(&parser);
    }
    if (status != HPX_OK) {
        url_clear(out);
        return status;
    }
    url_set_host_header(out);
    return HPX_OK;
}

hpx_status hpxi_url_parse(hpxi_url *out, const char *text, hpx_error *error)
{
    return url_parse(out, text, false, error);
}

hpx_status hpxi_url_parse_http(hpxi_url *out, const char *text, hpx_error *error)
{
    return url_parse(out, text, true, error);
}

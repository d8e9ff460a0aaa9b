/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name.c - the reference identity and RFC 9525's matching rules. See name.h.
 *
 * Wildcards (RFC 9525 6.3): "*" is the whole left-most label, stands for exactly one label, and is
 * followed by at least two labels, so that nobody holds "*.com".
 */
#include "tls/name.h"

#include <arpa/inet.h>
#include <string.h>

#include "ring/assert.h"

static bool name_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char name_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* Letters, digits, hyphen, and the underscore that host names have in practice. */
static bool name_is_host_char(char c)
{
    const char lower = name_lower(c);
    return (lower >= 'a' && lower <= 'z') || name_is_digit(c) || c == '-' || c == '_';
}

/* Non-empty labels of at most 63 host characters, separated by single dots; no trailing dot. */
static bool name_is_host(const char *text, size_t size)
{
    size_t label_bytes = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '.') {
            if (label_bytes == 0) {
                return false;
            }
            label_bytes = 0;
        } else {
            if (!name_is_host_char(text[i]) || label_bytes == HPXI_TLS_LABEL_BYTES_MAX) {
                return false;
            }
            label_bytes++;
        }
    }
    return label_bytes != 0;
}

/*
 * A last label that is a number ("1.2.3", "10.0.0.0x1") makes resolvers read an address where a
 * certificate's dNSName would show a name, so such a host is neither.
 */
static bool name_ends_in_number(const char *text, size_t size)
{
    size_t start = size;
    while (start > 0 && text[start - 1] != '.') {
        start--;
    }
    HPX_ASSERT(start < size);
    const char *label = text + start;
    const size_t label_bytes = size - start;
    if (label_bytes >= 2 && label[0] == '0' && name_lower(label[1]) == 'x') {
        return true;
    }
    for (size_t i = 0; i < label_bytes; i++) {
        if (!name_is_digit(label[i])) {
            return false;
        }
    }
    return true;
}

static bool name_parse_address(hpxi_tls_name *out, const char *text, size_t size)
{
    const bool bracketed = size >= 2 && text[0] == '[' && text[size - 1] == ']';
    if (bracketed) {
        text++;
        size -= 2;
    }
    if (size == 0 || size >= INET6_ADDRSTRLEN) {
        return false;
    }
    char copy[INET6_ADDRSTRLEN];
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (!bracketed && inet_pton(AF_INET, copy, out->address) == 1) {
        out->address_bytes = 4;
    } else if (inet_pton(AF_INET6, copy, out->address) == 1) {
        out->address_bytes = 16;
    } else {
        return false;
    }
    out->is_address = true;
    memcpy(out->host, copy, size + 1);
    out->host_bytes = (uint8_t)size;
    return true;
}

bool hpxi_tls_name_parse(hpxi_tls_name *out, const char *text)
{
    HPX_ASSERT(text != NULL);
    memset(out, 0, sizeof(*out));
    size_t size = strnlen(text, HPXI_TLS_HOST_BYTES_MAX + 2);
    if (name_parse_address(out, text, size)) {
        return true;
    }
    if (size > 0 && text[size - 1] == '.') {
        size--; /* the root's dot says that the name is absolute; certificates never write it */
    }
    if (size == 0 || size > HPXI_TLS_HOST_BYTES_MAX) {
        return false;
    }
    if (!name_is_host(text, size) || name_ends_in_number(text, size)) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        out->host[i] = name_lower(text[i]);
    }
    out->host_bytes = (uint8_t)size;
    HPX_ASSERT(!out->is_address);
    return true;
}

static bool name_equal_ignoring_case(const char *lower, const char *other, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (lower[i] != name_lower(other[i])) {
            return false;
        }
    }
    return true;
}

bool hpxi_tls_name_matches_dns(const hpxi_tls_name *name, const uint8_t *san, size_t san_bytes)
{
    HPX_ASSERT(name->host_bytes != 0);
    if (name->is_address || san_bytes == 0 || san_bytes > HPXI_TLS_HOST_BYTES_MAX) {
        return false;
    }
    const char *pattern = (const char *)san;
    const bool wildcard = san_bytes > 2 && pattern[0] == '*' && pattern[1] == '.';
    const char *fixed = wildcard ? pattern + 2 : pattern;
    const size_t fixed_bytes = wildcard ? san_bytes - 2 : san_bytes;
    if (!name_is_host(fixed, fixed_bytes)) {
        return false; /* a NUL, a star elsewhere, an empty label: whatever it is, it is no name */
    }
    const char *host = name->host;
    size_t host_bytes = name->host_bytes;
    if (wildcard) {
        if (memchr(fixed, '.', fixed_bytes) == NULL) {
            return false;
        }
        const char *dot = memchr(host, '.', host_bytes);
        if (dot == NULL) {
            return false;
        }
        const size_t label_bytes = (size_t)(dot - host);
        HPX_ASSERT(label_bytes != 0);
        host += label_bytes + 1;
        host_bytes -= label_bytes + 1;
    }
    return host_bytes == fixed_bytes && name_equal_ignoring_case(host, fixed, fixed_bytes);
}

bool hpxi_tls_name_matches_ip(const hpxi_tls_name *name, const uint8_t *san, size_t san_bytes)
{
    HPX_ASSERT(name->host_bytes != 0);
    if (!name->is_address || san_bytes != name->address_bytes) {
        return false;
    }
    HPX_ASSERT(san_bytes == 4 || san_bytes == 16);
    return memcmp(name->address, san, san_bytes) == 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syntax.c - the words of HTTP/1.1 (RFC 9110 section 5, RFC 9112 sections 2 to 5).
 *
 * Threads   Any; no state. Memory: nothing is copied.
 */
#include "h1/syntax.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ring/assert.h"

enum {
    SYNTAX_TOKEN = 1, /* tchar */
    SYNTAX_HOST = 2,  /* in a reg-name or an IPv4 address: RFC 3986 3.2.2 */
    SYNTAX_V6 = 4,    /* in an IPv6 address */
};

/* clang-format off */
#define T SYNTAX_TOKEN
#define H SYNTAX_HOST
#define V SYNTAX_V6
static const uint8_t syntax_classes[256] = {
    ['!'] = T|H, ['#'] = T, ['$'] = T|H, ['%'] = T|H, ['&'] = T|H, ['\''] = T|H, ['('] = H,
    [')'] = H, ['*'] = T|H, ['+'] = T|H, [','] = H, ['-'] = T|H, ['.'] = T|H|V,
    ['0'] = T|H|V, ['1'] = T|H|V, ['2'] = T|H|V, ['3'] = T|H|V, ['4'] = T|H|V,
    ['5'] = T|H|V, ['6'] = T|H|V, ['7'] = T|H|V, ['8'] = T|H|V, ['9'] = T|H|V,
    [':'] = V, [';'] = H, ['='] = H, ['^'] = T, ['_'] = T|H, ['`'] = T, ['|'] = T, ['~'] = T|H,
    ['A'] = T|H|V, ['B'] = T|H|V, ['C'] = T|H|V, ['D'] = T|H|V, ['E'] = T|H|V,
    ['F'] = T|H|V, ['G'] = T|H, ['H'] = T|H, ['I'] = T|H, ['J'] = T|H, ['K'] = T|H,
    ['L'] = T|H, ['M'] = T|H, ['N'] = T|H, ['O'] = T|H, ['P'] = T|H, ['Q'] = T|H,
    ['R'] = T|H, ['S'] = T|H, ['T'] = T|H, ['U'] = T|H, ['V'] = T|H, ['W'] = T|H,
    ['X'] = T|H, ['Y'] = T|H, ['Z'] = T|H,
    ['a'] = T|H|V, ['b'] = T|H|V, ['c'] = T|H|V, ['d'] = T|H|V, ['e'] = T|H|V,
    ['f'] = T|H|V, ['g'] = T|H, ['h'] = T|H, ['i'] = T|H, ['j'] = T|H, ['k'] = T|H,
    ['l'] = T|H, ['m'] = T|H, ['n'] = T|H, ['o'] = T|H, ['p'] = T|H, ['q'] = T|H,
    ['r'] = T|H, ['s'] = T|H, ['t'] = T|H, ['u'] = T|H, ['v'] = T|H, ['w'] = T|H,
    ['x'] = T|H, ['y'] = T|H, ['z'] = T|H,
};
#undef T
#undef H
#undef V
/* clang-format on */

hpx_status hpxi_h1_error_set(hpx_error *error, hpx_status status, const char *format, ...)
{
    HPX_ASSERT(status < 0);
    if (error != NULL) {
        *error = (hpx_error){.status = status, .stage = HPX_STAGE_READY};
        va_list args;
        va_start(args, format);
        (void)vsnprintf(error->detail, sizeof(error->detail), format, args);
        va_end(args);
    }
    return status;
}

static bool syntax_is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static uint8_t syntax_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

bool hpxi_h1_is_token_byte(uint8_t byte)
{
    return (syntax_classes[byte] & SYNTAX_TOKEN) != 0;
}

/* How many bytes at the front are of this class. */
static size_t syntax_run(hpx_span text, uint8_t class)
{
    size_t at = 0;
    while (at < text.size && (syntax_classes[text.data[at]] & class) != 0) {
        at++;
    }
    return at;
}

bool hpxi_h1_is_token(hpx_span text)
{
    return text.size != 0 && syntax_run(text, SYNTAX_TOKEN) == text.size;
}

const uint8_t *hpxi_h1_find_control(const uint8_t *at, const uint8_t *end)
{
    HPX_DASSERT(at <= end);
    /* Eight bytes at a time: a byte below 0x20 borrows into its top bit, and so does DEL ^ 0x7F. */
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = ones << 7;
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        const uint64_t del = word ^ (ones * 0x7F);
        const uint64_t found = (((word - ones * 0x20) & ~word) | ((del - ones) & ~del)) & tops;
        if (found != 0) {
            break;
        }
        at += 8;
    }
    while (at < end && *at >= 0x20 && *at != 0x7F) {
        at++;
    }
    return at;
}

hpx_span hpxi_h1_trim(hpx_span text)
{
    while (text.size != 0 && (text.data[0] == ' ' || text.data[0] == '\t')) {
        text.data++;
        text.size--;
    }
    while (text.size != 0 &&
           (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t')) {
        text.size--;
    }
    return text;
}

bool hpxi_h1_is_value(hpx_span text)
{
    if (hpxi_h1_trim(text).size != text.size) {
        return false;
    }
    if (text.size == 0) {
        return true;
    }
    const uint8_t *end = text.data + text.size;
    const uint8_t *at = hpxi_h1_find_control(text.data, end);
    while (at < end && *at == '\t') {
        at = hpxi_h1_find_control(at + 1, end);
    }
    return at == end;
}

bool hpxi_h1_is_host(hpx_span text)
{
    if (text.size == 0) {
        return false;
    }
    const bool v6 = text.data[0] == '[';
    size_t at = v6 ? 1 : 0;
    const size_t run = syntax_run(
        (hpx_span){.data = text.data + at, .size = text.size - at}, v6 ? SYNTAX_V6 : SYNTAX_HOST);
    if (run == 0) {
        return false;
    }
    at += run;
    if (v6) {
        if (at == text.size || text.data[at] != ']') {
            return false;
        }
        at++;
    }
    if (at < text.size && text.data[at] == ':') {
        const size_t port = ++at;
        while (at < text.size && at - port < 5 && syntax_is_digit(text.data[at])) {
            at++;
        }
    }
    return at == text.size;
}

/* RFC 9112 3.2.2: "http" or "https", "://", and an authority without user information. */
static bool syntax_is_absolute(hpx_span target)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        const size_t scheme = strlen(schemes[i]);
        const hpx_span start = {.data = target.data, .size = scheme};
        if (target.size > scheme && hpxi_h1_span_has(start, schemes[i])) {
            size_t end = scheme;
            while (end < target.size && target.data[end] != '/' && target.data[end] != '?') {
                end++;
            }
            return hpxi_h1_is_host((hpx_span){.data = target.data + scheme, .size = end - scheme});
        }
    }
    return false;
}

bool hpxi_h1_is_target(hpx_span method, hpx_span target)
{
    for (size_t i = 0; i < target.size; i++) {
        if (target.data[i] <= 0x20 || target.data[i] >= 0x7F || target.data[i] == '#') {
            return false;
        }
    }
    if (hpxi_h1_span_is(method, "CONNECT")) {
        const uint8_t *colon = target.size == 0 ? NULL : memrchr(target.data, ':', target.size);
        return hpxi_h1_is_host(target) && colon != NULL && colon + 1 < target.data + target.size &&
               target.data[target.size - 1] != ']';
    }
    if (target.size == 1 && target.data[0] == '*') {
        return hpxi_h1_span_is(method, "OPTIONS");
    }
    return target.size != 0 && (target.data[0] == '/' || syntax_is_absolute(target));
}

bool hpxi_h1_span_is(hpx_span a, const char *b)
{
    const size_t bytes = strlen(b);
    return a.size == bytes && (bytes == 0 || memcmp(a.data, b, bytes) == 0);
}

bool hpxi_h1_span_has(hpx_span a, const char *b)
{
    if (a.size != strlen(b)) {
        return false;
    }
    for (size_t i = 0; i < a.size; i++) {
        if (syntax_lower(a.data[i]) != syntax_lower((uint8_t)b[i])) {
            return false;
        }
    }
    return true;
}

bool hpxi_h1_list_next(hpx_span *rest, hpx_span *element)
{
    while (rest->size != 0) {
        const uint8_t *comma = memchr(rest->data, ',', rest->size);
        const size_t bytes = comma == NULL ? rest->size : (size_t)(comma - rest->data);
        const size_t skip = comma == NULL ? bytes : bytes + 1;
        *element = hpxi_h1_trim((hpx_span){.data = rest->data, .size = bytes});
        rest->data += skip;
        rest->size -= skip;
        if (element->size != 0) {
            return true;
        }
    }
    return false;
}

hpx_status hpxi_h1_parse_length(hpx_span text, uint64_t *out)
{
    uint64_t value = 0;
    bool big = false;
    for (size_t i = 0; i < text.size; i++) {
        if (!syntax_is_digit(text.data[i])) {
            return HPX_E_HTTP_MALFORMED;
        }
        const uint64_t digit = (uint64_t)(text.data[i] - '0');
        big = big || value > ((uint64_t)INT64_MAX - digit) / 10;
        value = big ? 0 : value * 10 + digit;
    }
    *out = value;
    return text.size == 0 ? HPX_E_HTTP_MALFORMED : big ? HPX_E_HTTP_TOO_BIG : HPX_OK;
}

int hpxi_h1_hex_digit(uint8_t byte)
{
    if (syntax_is_digit(byte)) {
        return byte - '0';
    }
    const uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

const hpxi_h1_field *hpxi_h1_field_find(const hpxi_h1_field *fields, size_t count, const char *name)
{
    HPX_DASSERT(fields != NULL || count == 0);
    for (size_t i = 0; i < count; i++) {
        if (hpxi_h1_span_has(fields[i].name, name)) {
            return &fields[i];
        }
    }
    return NULL;
}

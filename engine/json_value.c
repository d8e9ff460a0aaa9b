/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_value.c - what a scanned value says.
 *
 * Role      The text is JSON already: what is asserted here is that, not the peer's manners.
 * Threads   Any; no state. Memory: the caller's.
 */
#include "engine/json_value.h"

#include <string.h>

#include "ring/assert.h"

#define JSON_EXPONENT_MAX (INT64_C(1) << 48) /* beyond the digits that any text can have */

static uint32_t value_hex4(const uint8_t *at)
{
    uint32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t byte = at[i];
        unit = unit << 4 | (uint32_t)(byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10);
    }
    return unit;
}

static size_t value_utf8(uint32_t point, uint8_t out[4])
{
    if (point < 0x80) {
        out[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        out[0] = (uint8_t)(0xC0 | point >> 6);
        out[1] = (uint8_t)(0x80 | (point & 0x3F));
        return 2;
    }
    if (point < 0x10000) {
        out[0] = (uint8_t)(0xE0 | point >> 12);
        out[1] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
        out[2] = (uint8_t)(0x80 | (point & 0x3F));
        return 3;
    }
    out[0] = (uint8_t)(0xF0 | point >> 18);
    out[1] = (uint8_t)(0x80 | (point >> 12 & 0x3F));
    out[2] = (uint8_t)(0x80 | (point >> 6 & 0x3F));
    out[3] = (uint8_t)(0x80 | (point & 0x3F));
    return 4;
}

/* One escape at a backslash: bytes read; out[0..*size) is what it says. */
static size_t value_escape(const uint8_t *at, uint8_t out[4], size_t *size)
{
    static const char named[] = "\"\\/bfnrt";
    static const char plain[] = "\"\\/\b\f\n\r\t";
    HPX_DASSERT(at[0] == '\\');
    if (at[1] != 'u') {
        const char *found = strchr(named, at[1]);
        HPX_ASSERT(found != NULL && *found != '\0');
        out[0] = (uint8_t)plain[found - named];
        *size = 1;
        return 2;
    }
    const uint32_t unit = value_hex4(at + 2);
    if (unit < 0xD800 || unit >= 0xE000) {
        *size = value_utf8(unit, out);
        return 6;
    }
    const uint32_t low = value_hex4(at + 8);
    HPX_ASSERT(low >= 0xDC00 && low < 0xE000);
    *size = value_utf8(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00), out);
    return 12;
}

/* The next piece of a string with escapes: either plain bytes of it, or one escape in `scratch`. */
static hpx_span value_piece(hpxi_json_value value, size_t *at, uint8_t scratch[4])
{
    HPX_DASSERT(*at < value.size);
    const uint8_t *from = value.data + *at;
    if (*from == '\\') {
        size_t size = 0;
        *at += value_escape(from, scratch, &size);
        HPX_ASSERT(*at <= value.size);
        return (hpx_span){.data = scratch, .size = size};
    }
    const uint8_t *next = memchr(from, '\\', value.size - *at);
    const size_t size = next == NULL ? value.size - *at : (size_t)(next - from);
    *at += size;
    return (hpx_span){.data = from, .size = size};
}

bool hpxi_json_is_text(hpxi_json_value value, hpx_span text)
{
    if (value.kind != HPXI_JSON_STRING) {
        return false;
    }
    if (!value.escaped) {
        return value.size == text.size &&
               (text.size == 0 || memcmp(value.data, text.data, text.size) == 0);
    }
    uint8_t scratch[4];
    size_t used = 0;
    for (size_t at = 0; at < value.size;) {
        const hpx_span piece = value_piece(value, &at, scratch);
        if (piece.size > text.size - used ||
            memcmp(piece.data, text.data + used, piece.size) != 0) {
            return false;
        }
        used += piece.size;
    }
    return used == text.size;
}

size_t hpxi_json_unescape(hpxi_json_value value, uint8_t *out, size_t capacity)
{
    HPX_ASSERT(value.kind == HPXI_JSON_STRING);
    uint8_t scratch[4];
    size_t used = 0;
    for (size_t at = 0; at < value.size;) {
        const hpx_span piece = value_piece(value, &at, scratch);
        if (piece.size > capacity - used) {
            return SIZE_MAX;
        }
        memcpy(out + used, piece.data, piece.size);
        used += piece.size;
    }
    return used;
}

/* *value = *value * 10^zeros + digit; false: 2^64 or more. */
static bool value_append(uint64_t *value, int64_t zeros, uint8_t digit)
{
    for (; zeros > 0 && *value != 0; zeros--) {
        if (__builtin_mul_overflow(*value, UINT64_C(10), value)) {
            return false;
        }
    }
    return !__builtin_add_overflow(*value, (uint64_t)digit, value);
}

/* The exponent's number at `at`; so big or so small that its exact value is no matter, it is cut
 * off at JSON_EXPONENT_MAX. */
static int64_t value_exponent(const uint8_t *at, const uint8_t *end)
{
    const bool negative = *at == '-';
    at += negative || *at == '+' ? 1 : 0;
    int64_t exponent = 0;
    for (; at != end; at++) {
        if (exponent < JSON_EXPONENT_MAX) {
            exponent = exponent * 10 + (*at - '0');
        }
    }
    return negative ? -exponent : exponent;
}

bool hpxi_json_to_u64(hpxi_json_value value, uint64_t *out)
{
    if (value.kind != HPXI_JSON_NUMBER) {
        return false;
    }
    const uint8_t *at = value.data;
    const uint8_t *end = at + value.size;
    const bool negative = *at == '-';
    at += negative ? 1 : 0;
    uint64_t whole = 0; /* the digits, up to the last one that is not zero... */
    int64_t zeros = 0;  /* ...and how many follow it */
    int64_t behind_point = 0;
    bool point = false;
    for (; at != end && (*at | 0x20) != 'e'; at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        behind_point += point ? 1 : 0;
        if (*at == '0') {
            zeros++;
        } else if (!value_append(&whole, zeros + 1, (uint8_t)(*at - '0'))) {
            return false; /* 2^64 or more, or not whole */
        } else {
            zeros = 0;
        }
    }
    if (whole == 0) {
        *out = 0; /* 0e9 and -0.0 too */
        return true;
    }
    const int64_t exponent = at == end ? 0 : value_exponent(at + 1, end);
    const int64_t scale = zeros - behind_point + exponent;
    if (negative || scale < 0 || !value_append(&whole, scale, 0)) {
        return false;
    }
    *out = whole;
    return true;
}

bool hpxi_json_digits_to_u64(hpx_span text, uint64_t *out)
{
    uint64_t number = 0;
    if (text.size == 0 || (text.size > 1 && text.data[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < text.size; i++) {
        const uint8_t digit = (uint8_t)(text.data[i] - '0');
        if (digit > 9 || !value_append(&number, 1, digit)) {
            return false;
        }
    }
    *out = number;
    return true;
}

static bool value_is_space(uint8_t byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

hpxi_json_elements hpxi_json_elements_of(hpxi_json_value array)
{
    HPX_ASSERT(array.kind == HPXI_JSON_ARRAY);
    HPX_ASSERT(array.size >= 2);
    return (hpxi_json_elements){.at = array.data + 1, .end = array.data + array.size - 1};
}

/* Behind the closing quote of the string that opens at `at`. */
static const uint8_t *value_string_end(const uint8_t *at, bool *escaped)
{
    HPX_DASSERT(*at == '"');
    for (at++; *at != '"'; at++) {
        if (*at == '\\') {
            *escaped = true;
            at++;
        }
    }
    return at + 1;
}

/* Behind the object or array that opens at `at`. */
static const uint8_t *value_container_end(const uint8_t *at)
{
    uint32_t depth = 0;
    bool escaped = false;
    do {
        if (*at == '"') {
            at = value_string_end(at, &escaped);
            continue;
        }
        depth += *at == '{' || *at == '[' ? 1 : 0;
        depth -= *at == '}' || *at == ']' ? 1 : 0;
        at++;
    } while (depth != 0);
    return at;
}

static hpxi_json_kind value_kind(uint8_t first)
{
    switch (first) {
    case '"':
        return HPXI_JSON_STRING;
    case '{':
        return HPXI_JSON_OBJECT;
    case '[':
        return HPXI_JSON_ARRAY;
    case 't':
        return HPXI_JSON_TRUE;
    case 'f':
        return HPXI_JSON_FALSE;
    case 'n':
        return HPXI_JSON_NULL;
    default:
        return HPXI_JSON_NUMBER;
    }
}

bool hpxi_json_elements_next(hpxi_json_elements *elements, hpxi_json_value *out)
{
    const uint8_t *at = elements->at;
    while (at != elements->end && (value_is_space(*at) || *at == ',')) {
        at++;
    }
    elements->at = at;
    if (at == elements->end) {
        return false;
    }
    *out = (hpxi_json_value){.data = at, .kind = value_kind(*at)};
    if (out->kind == HPXI_JSON_STRING) {
        elements->at = value_string_end(at, &out->escaped);
        out->data++;
        out->size = (size_t)(elements->at - at) - 2;
        return true;
    }
    if (out->kind == HPXI_JSON_OBJECT || out->kind == HPXI_JSON_ARRAY) {
        elements->at = value_container_end(at);
    } else {
        while (elements->at != elements->end && *elements->at != ',' &&
               !value_is_space(*elements->at)) {
            elements->at++;
        }
    }
    HPX_DASSERT(elements->at <= elements->end);
    out->size = (size_t)(elements->at - at);
    return true;
}

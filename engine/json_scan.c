/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_scan.c - one pass over a JSON text.
 *
 *   value:  scalar, or an opening bracket: then its first member, or its closing bracket
 *   behind a value:  ',' and the next member, or a closing bracket: which ends a value as well
 *
 * Role      json_walk() is that loop for the outer levels, which lie on wanted paths: their keys
 *           are compared with the children of their node. An object or array that is on none goes
 *           to json_pass(), the same loop without questions: most bytes of an update are there.
 *           What kind of bracket closes each level is a bit of `objects`.
 * Threads   Any; no state. Memory: the scanner on the stack, of fixed size.
 *
 * Functions that take a position return the one behind what they read, or NULL: malformed.
 */
#include "engine/json_scan.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "engine/json_value.h"
#include "ring/assert.h"
#include "ws/utf8.h"

#define JSON_VECTOR_BYTES 16
#define JSON_KEY_BYTES    12 /* of a short one, its quote counted */

typedef struct json_level {
    const uint8_t *start; /* its opening bracket */
    uint32_t index;       /* of the next element, in an array */
    uint8_t node;
} json_level;

typedef struct json_scanner {
    const uint8_t *end;
    const hpxi_json_paths *paths;
    hpxi_json_found *out;
    uint32_t depth; /* brackets open, as json_walk() counts */
    uint32_t high;  /* 0: no byte above 0x7F in strings; else there may be */
    bool too_deep;
    uint64_t objects[HPXI_JSON_DEPTH_MAX / 64]; /* bit of each level: object, else array */
    json_level levels[HPXI_JSON_PATH_DEPTH_MAX + 1];
} json_scanner;

static inline bool json_is_digit(uint8_t byte)
{
    return (uint8_t)(byte - '0') <= 9;
}

static inline const uint8_t *json_space(const uint8_t *at, const uint8_t *end)
{
    while (at != end && *at <= ' ' && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    return at;
}

#if defined(__SSE2__)
/* Bit of each of the 16 bytes that ends plain text: a quote, a backslash, a control byte. */
static inline uint32_t json_stops(__m128i bytes)
{
    const __m128i control = _mm_set1_epi8(0x1F);
    const __m128i stops = _mm_or_si128(
        _mm_or_si128(
            _mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')), _mm_cmpeq_epi8(bytes, _mm_set1_epi8('\\'))),
        _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes));
    return (uint32_t)_mm_movemask_epi8(stops);
}

/* Bit of each of the 16 bytes that is no digit. */
static inline uint32_t json_no_digits(__m128i bytes)
{
    const __m128i digits = _mm_sub_epi8(bytes, _mm_set1_epi8('0'));
    const __m128i good = _mm_cmpeq_epi8(_mm_min_epu8(digits, _mm_set1_epi8(9)), digits);
    return ~(uint32_t)_mm_movemask_epi8(good) & 0xFFFF;
}

static inline __m128i json_load(const uint8_t *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}
#endif

/* To the first quote, backslash or control byte at or behind `at`, or to the end. */
static const uint8_t *json_plain(json_scanner *scanner, const uint8_t *at)
{
    uint32_t high = 0;
#if defined(__SSE2__)
    while (scanner->end - at >= JSON_VECTOR_BYTES) {
        const __m128i bytes = json_load(at);
        const uint32_t stops = json_stops(bytes);
        high |= (uint32_t)_mm_movemask_epi8(bytes);
        if (stops != 0) {
            scanner->high |= high;
            return at + __builtin_ctz(stops);
        }
        at += JSON_VECTOR_BYTES;
    }
#endif
    while (at != scanner->end && *at != '"' && *at != '\\' && *at >= 0x20) {
        high |= *at & 0x80u;
        at++;
    }
    scanner->high |= high;
    return at;
}

/* The four digits of \uXXXX, or -1. */
static int json_hex4(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 4) {
        return -1;
    }
    int unit = 0;
    for (int i = 0; i < 4; i++) {
        const uint8_t lower = at[i] | 0x20;
        if (json_is_digit(at[i])) {
            unit = unit << 4 | (at[i] - '0');
        } else if (lower >= 'a' && lower <= 'f') {
            unit = unit << 4 | (lower - 'a' + 10);
        } else {
            return -1;
        }
    }
    return unit;
}

/* At a backslash. A surrogate must have its other half: no text could say it alone. */
static const uint8_t *json_escape(const json_scanner *scanner, const uint8_t *at)
{
    HPX_DASSERT(*at == '\\');
    const uint8_t *end = scanner->end;
    if (end - at < 2) {
        return NULL;
    }
    if (at[1] != 'u') {
        return at[1] != '\0' && strchr("\"\\/bfnrt", at[1]) != NULL ? at + 2 : NULL;
    }
    const int unit = json_hex4(at + 2, end);
    if (unit < 0 || (unit >= 0xDC00 && unit < 0xE000)) {
        return NULL;
    }
    if (unit < 0xD800 || unit >= 0xE000) {
        return at + 6;
    }
    const bool pair = end - at >= 12 && at[6] == '\\' && at[7] == 'u';
    const int low = pair ? json_hex4(at + 8, end) : -1;
    return low >= 0xDC00 && low < 0xE000 ? at + 12 : NULL;
}

/* Behind the opening quote: behind the closing one. */
static const uint8_t *json_long_string(json_scanner *scanner, const uint8_t *at, bool *escaped)
{
    for (;;) {
        at = json_plain(scanner, at);
        if (at == scanner->end) {
            return NULL;
        }
        if (*at == '"') {
            return at + 1;
        }
        at = *at == '\\' ? json_escape(scanner, at) : NULL;
        if (at == NULL) {
            return NULL;
        }
        *escaped = true;
    }
}

/* As above; fast where the string ends within 16 bytes and has no escapes: most do. */
static inline const uint8_t *
json_string(json_scanner *scanner, const uint8_t *at, const uint8_t *end, bool *escaped)
{
#if defined(__SSE2__)
    if (HPXI_LIKELY(end - at >= JSON_VECTOR_BYTES)) {
        const __m128i bytes = json_load(at);
        const uint32_t stops = json_stops(bytes);
        const uint8_t *stop = at + __builtin_ctz(stops | 1u << JSON_VECTOR_BYTES);
        if (HPXI_LIKELY(stops != 0 && *stop == '"')) {
            scanner->high |= (uint32_t)_mm_movemask_epi8(bytes);
            return stop + 1;
        }
    }
#else
    (void)end;
#endif
    return json_long_string(scanner, at, escaped);
}

/* A key, behind its opening quote: as json_string(), another way. The keys of a feed are the same
 * in every message, and short: a branch for each byte is foreseen, and the reader runs ahead of the
 * loads; behind a vector it would wait for each of them. */
static inline const uint8_t *
json_key(json_scanner *scanner, const uint8_t *at, const uint8_t *end, bool *escaped)
{
    if (HPXI_LIKELY(end - at >= JSON_KEY_BYTES)) {
#pragma GCC unroll 12
        for (uint32_t i = 0; i < JSON_KEY_BYTES; i++) {
            const uint8_t byte = at[i];
            if (byte == '"') {
                return at + i + 1;
            }
            if (byte < 0x20 || byte == '\\' || byte >= 0x80) {
                break;
            }
        }
    }
    return json_string(scanner, at, end, escaped);
}

/* At least one digit. */
static const uint8_t *json_digits(const uint8_t *at, const uint8_t *end)
{
    const uint8_t *start = at;
    while (at != end && json_is_digit(*at)) {
        at++;
    }
    return at != start ? at : NULL;
}

static const uint8_t *json_long_number(const uint8_t *at, const uint8_t *end)
{
    at += *at == '-' ? 1 : 0;
    if (at != end && *at == '0') { /* and no digit may follow: 01 is none */
        at++;
    } else {
        at = json_digits(at, end);
    }
    if (at != NULL && at != end && *at == '.') {
        at = json_digits(at + 1, end);
    }
    if (at != NULL && at != end && (*at | 0x20) == 'e') {
        at++;
        at += at != end && (*at == '+' || *at == '-') ? 1 : 0;
        at = json_digits(at, end);
    }
    return at;
}

/* Fast where it has less than 16 bytes, no sign and no exponent. */
static inline const uint8_t *json_number(const uint8_t *at, const uint8_t *end)
{
#if defined(__SSE2__)
    if (HPXI_LIKELY(end - at >= JSON_VECTOR_BYTES && *at >= '1')) {
        const uint32_t others = json_no_digits(json_load(at));
        const uint32_t whole = (uint32_t)__builtin_ctz(others | 1u << JSON_VECTOR_BYTES);
        if (HPXI_LIKELY(whole != 0 && whole < JSON_VECTOR_BYTES)) {
            uint32_t size = whole;
            if (at[whole] == '.') {
                const uint32_t behind = others & (others - 1);
                size = (uint32_t)__builtin_ctz(behind | 1u << JSON_VECTOR_BYTES);
            }
            if (HPXI_LIKELY(
                    size < JSON_VECTOR_BYTES && size != whole + 1 && (at[size] | 0x20) != 'e')) {
                return at + size;
            }
        }
    }
#endif
    return json_long_number(at, end);
}

static inline const uint8_t *
json_literal(const json_scanner *scanner, const uint8_t *at, const char *text)
{
    const size_t size = strlen(text);
    const bool same = (size_t)(scanner->end - at) >= size && memcmp(at, text, size) == 0;
    return same ? at + size : NULL;
}

/* To the end of a value that is no object, no array and no string. */
static inline const uint8_t *json_bare(const json_scanner *scanner, const uint8_t *at)
{
    switch (*at) {
    case 't':
        return json_literal(scanner, at, "true");
    case 'f':
        return json_literal(scanner, at, "false");
    case 'n':
        return json_literal(scanner, at, "null");
    default:
        return json_number(at, scanner->end);
    }
}

static inline bool json_is_object(const json_scanner *scanner, uint32_t level)
{
    return (scanner->objects[level / 64] >> (level % 64) & 1) != 0;
}

static inline bool json_push(json_scanner *scanner, uint32_t level, bool is_object)
{
    if (HPXI_UNLIKELY(level == HPXI_JSON_DEPTH_MAX)) {
        scanner->too_deep = true;
        return false;
    }
    uint64_t *word = &scanner->objects[level / 64];
    const uint64_t bit = UINT64_C(1) << (level % 64);
    *word = is_object ? *word | bit : *word & ~bit;
    return true;
}

/* Behind a key (NULL: it was none): to the first byte of its value. */
static inline const uint8_t *json_value_of_key(const uint8_t *at, const uint8_t *end)
{
    if (HPXI_UNLIKELY(at == NULL)) {
        return NULL;
    }
    at = json_space(at, end);
    if (HPXI_UNLIKELY(at == end || *at != ':')) {
        return NULL;
    }
    at = json_space(at + 1, end);
    return at != end ? at : NULL;
}

/* To the first byte of the value of the member at `at`, whatever its key. */
static inline const uint8_t *
json_pass_key(json_scanner *scanner, const uint8_t *at, const uint8_t *end, bool is_object)
{
    if (at == end) {
        return NULL;
    }
    if (!is_object) {
        return at;
    }
    bool escaped;
    return *at == '"' ? json_value_of_key(json_key(scanner, at + 1, end, &escaped), end) : NULL;
}

/* Passes over an object or array that nobody wants: from its opening bracket to behind its closing
 * one. json_walk() without the questions. */
static const uint8_t *json_pass(json_scanner *scanner, const uint8_t *at)
{
    const uint8_t *end = scanner->end;
    const uint32_t outside = scanner->depth;
    uint32_t depth = outside;
    bool is_object = false;
    bool escaped;
    for (;;) {
        if (*at == '"') {
            at = json_string(scanner, at + 1, end, &escaped);
        } else if (*at != '{' && *at != '[') {
            at = json_bare(scanner, at);
        } else {
            is_object = *at == '{';
            if (!json_push(scanner, depth++, is_object)) {
                return NULL;
            }
            at = json_space(at + 1, end);
            if (at != end && *at != (is_object ? '}' : ']')) {
                at = json_pass_key(scanner, at, end, is_object);
                if (at == NULL) {
                    return NULL;
                }
                continue;
            }
        }
        for (;;) {
            if (at == NULL || (at = json_space(at, end)) == end) {
                return NULL;
            }
            if (*at == ',') {
                break;
            }
            if (*at != (is_object ? '}' : ']')) {
                return NULL;
            }
            at++;
            if (--depth == outside) {
                return at;
            }
            is_object = json_is_object(scanner, depth - 1);
        }
        at = json_pass_key(scanner, json_space(at + 1, end), end, is_object);
        if (at == NULL) {
            return NULL;
        }
    }
}

static inline void json_keep(json_scanner *scanner, uint8_t node, hpxi_json_value value)
{
    const uint8_t slot = scanner->paths->nodes[node].slot;
    if (slot != HPXI_JSON_NO_SLOT) {
        scanner->out->values[slot] = value;
        scanner->out->there |= UINT32_C(1) << slot;
    }
    if (node == 0) {
        scanner->out->root = value;
    }
}

static hpxi_json_kind json_kind(uint8_t first)
{
    switch (first) {
    case 't':
        return HPXI_JSON_TRUE;
    case 'f':
        return HPXI_JSON_FALSE;
    case 'n':
        return HPXI_JSON_NULL;
    case '"':
        return HPXI_JSON_STRING;
    default:
        return HPXI_JSON_NUMBER;
    }
}

/* A value that is no object and no array. */
static inline const uint8_t *json_scalar(json_scanner *scanner, const uint8_t *at, uint8_t node)
{
    const uint8_t *start = at;
    const size_t quote = *at == '"' ? 1 : 0;
    bool escaped = false;
    at = quote != 0 ? json_string(scanner, at + 1, scanner->end, &escaped) : json_bare(scanner, at);
    if (at != NULL && node != HPXI_JSON_NO_NODE) {
        const hpxi_json_value value = {
            .data = start + quote,
            .size = (size_t)(at - start) - 2 * quote,
            .kind = json_kind(*start),
            .escaped = escaped,
        };
        json_keep(scanner, node, value);
    }
    return at;
}

/* First come, first kept. */
static inline uint8_t json_meet(json_scanner *scanner, uint8_t node)
{
    if (node == HPXI_JSON_NO_NODE) {
        return node;
    }
    const uint64_t bit = UINT64_C(1) << node;
    if ((scanner->out->seen & bit) != 0) {
        scanner->out->repeated |= bit;
        return HPXI_JSON_NO_NODE;
    }
    scanner->out->seen |= bit;
    return node;
}

static inline uint8_t json_find_key(json_scanner *scanner, uint8_t parent, hpxi_json_value key)
{
    const hpxi_json_node *nodes = scanner->paths->nodes;
    uint8_t at = nodes[parent].first_child;
    for (; at != HPXI_JSON_NO_NODE; at = nodes[at].next) {
        const hpx_span wanted = {.data = nodes[at].key, .size = nodes[at].key_bytes};
        if (HPXI_LIKELY(!key.escaped)
                ? wanted.size == key.size && memcmp(wanted.data, key.data, key.size) == 0
                : hpxi_json_is_text(key, wanted)) {
            break;
        }
    }
    return json_meet(scanner, at);
}

static inline uint8_t json_find_index(json_scanner *scanner, uint8_t parent, uint32_t index)
{
    const hpxi_json_node *nodes = scanner->paths->nodes;
    uint8_t at = nodes[parent].first_child;
    while (at != HPXI_JSON_NO_NODE && nodes[at].index != index) {
        at = nodes[at].next;
    }
    return json_meet(scanner, at);
}

/* Behind the closing bracket of the innermost level. */
static inline void json_close(json_scanner *scanner, const uint8_t *at)
{
    HPX_DASSERT(scanner->depth > 0);
    const uint32_t depth = --scanner->depth;
    const json_level *level = &scanner->levels[depth];
    const hpxi_json_value value = {
        .data = level->start,
        .size = (size_t)(at - level->start),
        .kind = json_is_object(scanner, depth) ? HPXI_JSON_OBJECT : HPXI_JSON_ARRAY,
    };
    json_keep(scanner, level->node, value);
}

/* At the first byte of a member: to that of its value. *node: who it is. */
static inline const uint8_t *json_member(json_scanner *scanner, const uint8_t *at, uint8_t *node)
{
    HPX_DASSERT(scanner->depth > 0);
    const uint8_t *end = scanner->end;
    json_level *level = &scanner->levels[scanner->depth - 1];
    if (at == end) {
        return NULL;
    }
    if (!json_is_object(scanner, scanner->depth - 1)) {
        *node = json_find_index(scanner, level->node, level->index++);
        return at;
    }
    hpxi_json_value key = {.data = at + 1, .kind = HPXI_JSON_STRING};
    at = *at == '"' ? json_key(scanner, at + 1, end, &key.escaped) : NULL;
    if (at == NULL) {
        return NULL;
    }
    key.size = (size_t)(at - key.data) - 1;
    *node = json_find_key(scanner, level->node, key);
    return json_value_of_key(at, end);
}

/* At the opening bracket of an object or array on a wanted path: to its first member or, when it
 * has none, to its closing bracket. */
static inline const uint8_t *json_open(json_scanner *scanner, const uint8_t *at, uint8_t node)
{
    HPX_DASSERT(scanner->depth <= HPXI_JSON_PATH_DEPTH_MAX);
    const bool pushed = json_push(scanner, scanner->depth, *at == '{');
    HPX_DASSERT(pushed);
    (void)pushed;
    scanner->levels[scanner->depth++] = (json_level){.start = at, .node = node};
    at = json_space(at + 1, scanner->end);
    return at != scanner->end ? at : NULL;
}

/* Behind a value, or at the bracket that closes an empty object or array: to the next member's
 * value, or to the end of the text's value (then depth is 0). */
static inline const uint8_t *json_behind(json_scanner *scanner, const uint8_t *at, uint8_t *node)
{
    while (scanner->depth != 0) {
        at = json_space(at, scanner->end);
        if (at == scanner->end) {
            return NULL;
        }
        if (*at == ',') {
            return json_member(scanner, json_space(at + 1, scanner->end), node);
        }
        if (*at != (json_is_object(scanner, scanner->depth - 1) ? '}' : ']')) {
            return NULL;
        }
        at++;
        json_close(scanner, at);
    }
    return at;
}

/* An object or array in which nothing is wanted, though itself it may be. */
static inline const uint8_t *json_container(json_scanner *scanner, const uint8_t *at, uint8_t node)
{
    const uint8_t *start = at;
    at = json_pass(scanner, at);
    if (at != NULL && node != HPXI_JSON_NO_NODE) {
        const hpxi_json_value value = {
            .data = start,
            .size = (size_t)(at - start),
            .kind = *start == '{' ? HPXI_JSON_OBJECT : HPXI_JSON_ARRAY,
        };
        json_keep(scanner, node, value);
    }
    return at;
}

/* From the first byte of the text's value. All open levels have wanted members: the others are
 * passed over. */
static const uint8_t *json_walk(json_scanner *scanner, const uint8_t *at)
{
    uint8_t node = 0; /* of the value at `at` */
    do {
        const uint8_t first = *at;
        if (first != '{' && first != '[') {
            at = json_scalar(scanner, at, node);
        } else if (
            node == HPXI_JSON_NO_NODE ||
            scanner->paths->nodes[node].first_child == HPXI_JSON_NO_NODE) {
            at = json_container(scanner, at, node);
        } else {
            at = json_open(scanner, at, node);
            if (at != NULL && *at != first + 2) { /* '}' or ']' */
                at = json_member(scanner, at, &node);
                if (at == NULL) {
                    return NULL;
                }
                continue;
            }
        }
        at = at == NULL ? NULL : json_behind(scanner, at, &node);
        if (at == NULL) {
            return NULL;
        }
    } while (scanner->depth != 0);
    return at;
}

hpxi_json_result hpxi_json_scan(const hpxi_json_paths *paths, hpx_span text, hpxi_json_found *out)
{
    HPX_DASSERT(paths->node_count >= 1 && paths->node_count <= HPXI_JSON_NODES_MAX);
    HPX_DASSERT(text.data != NULL || text.size == 0);
    const uint8_t *end = text.data + text.size;
    const uint8_t *at = json_space(text.data, end);
    if (at == end) {
        return HPXI_JSON_MALFORMED;
    }
    json_scanner scanner; /* objects and levels are written before they are read */
    scanner.end = end;
    scanner.paths = paths;
    scanner.out = out;
    scanner.depth = 0;
    scanner.high = 0;
    scanner.too_deep = false;
    out->there = 0;
    out->seen = 1; /* the root */
    out->repeated = 0;
    at = json_walk(&scanner, at);
    if (at == NULL) {
        return scanner.too_deep ? HPXI_JSON_TOO_DEEP : HPXI_JSON_MALFORMED;
    }
    if (json_space(at, end) != end) {
        return HPXI_JSON_MALFORMED;
    }
    const bool good = scanner.high == 0 || hpxi_utf8_check(text.data, text.size);
    return good ? HPXI_JSON_OK : HPXI_JSON_MALFORMED;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines.c - gathers the lines of a head or of trailers, up to the empty one, and reads its fields.
 *
 * Threads   One thread at a time. Memory: see lines.h.
 */
#include "h1/lines.h"

#define LINES_FIELDS_MIN 16u /* first capacity of the array */

void hpxi_h1_lines_init(hpxi_h1_lines *lines, const hpx_allocator *allocator)
{
    *lines = (hpxi_h1_lines){0};
    hpxi_buf_init(&lines->bytes, allocator);
}

void hpxi_h1_lines_fini(hpxi_h1_lines *lines)
{
    hpxi_free(
        lines->bytes.allocator, lines->fields, lines->field_capacity * sizeof(lines->fields[0]));
    hpxi_buf_fini(&lines->bytes);
    lines->fields = NULL;
    lines->field_count = 0;
    lines->field_capacity = 0;
}

void hpxi_h1_lines_reset(hpxi_h1_lines *lines)
{
    hpxi_buf_consume(&lines->bytes, hpxi_buf_size(&lines->bytes));
    lines->line_bytes = 0;
    lines->count = 0;
    lines->field_count = 0;
    lines->cr = false;
}

/* A LF after its CR. Returns what hpxi_h1_lines_feed() does. */
static int lines_end(hpxi_h1_lines *lines, uint32_t lines_max)
{
    lines->count++;
    const bool empty = lines->line_bytes == 0;
    lines->line_bytes = 0;
    if (empty) {
        return HPXI_H1_LINES_COMPLETE;
    }
    if (lines->count > lines_max) {
        return HPX_E_HTTP_TOO_BIG;
    }
    return lines->count == 1 ? HPXI_H1_LINES_FIRST : HPX_E_PARTIAL;
}

/* One control byte. Returns what hpxi_h1_lines_feed() does. */
static int lines_control(hpxi_h1_lines *lines, uint8_t byte, uint32_t lines_max, const char **what)
{
    if (lines->cr != (byte == '\n')) { /* they come as a pair, or not at all: RFC 9112 2.2 */
        *what = lines->cr ? "CR without LF" : "LF without CR";
        return HPX_E_HTTP_MALFORMED;
    }
    lines->cr = byte == '\r';
    if (byte == '\n') {
        return lines_end(lines, lines_max);
    }
    if (!lines->cr && byte != '\t') {
        *what = byte == 0 ? "NUL" : "control byte";
        return HPX_E_HTTP_MALFORMED;
    }
    lines->line_bytes += lines->cr ? 0 : 1;
    return HPX_E_PARTIAL;
}

/* Looks at the bytes from *at on until something is decided; *at is then after the last one. */
static int lines_scan(
    hpxi_h1_lines *lines,
    uint32_t lines_max,
    const uint8_t **at,
    const uint8_t *end,
    const char **what)
{
    int result = HPX_E_PARTIAL;
    while (*at < end && result == HPX_E_PARTIAL) {
        const uint8_t *plain = *at;
        if (!lines->cr) {
            *at = hpxi_h1_find_control(*at, end);
            lines->line_bytes += (size_t)(*at - plain);
        }
        if (*at < end) {
            result = lines_control(lines, *(*at)++, lines_max, what);
        }
    }
    return result;
}

int hpxi_h1_lines_feed(
    hpxi_h1_lines *lines,
    uint32_t bytes_max,
    uint32_t lines_max,
    const uint8_t **data,
    size_t *size,
    const char **what)
{
    const size_t have = hpxi_buf_size(&lines->bytes);
    HPX_ASSERT(have <= bytes_max);
    HPX_ASSERT(*data != NULL || *size == 0);
    if (*size == 0) {
        return HPX_E_PARTIAL;
    }
    const size_t room = bytes_max - have;
    const size_t some = *size < room ? *size : room;
    const uint8_t *at = *data;
    const int result = lines_scan(lines, lines_max, &at, *data + some, what);
    const size_t used = (size_t)(at - *data);
    if (!hpxi_buf_append(&lines->bytes, *data, used)) {
        return HPX_E_NO_MEMORY;
    }
    *data += used;
    *size -= used;
    if (result == HPX_E_PARTIAL && *size != 0) {
        *what = "too many bytes";
        return HPX_E_HTTP_TOO_BIG;
    }
    HPX_DASSERT(result != HPX_E_PARTIAL || *size == 0);
    return result;
}

hpx_span hpxi_h1_lines_first(const hpxi_h1_lines *lines)
{
    HPX_ASSERT(lines->count != 0);
    const uint8_t *end = memchr(lines->bytes.data, '\r', lines->bytes.tail);
    HPX_ASSERT(end != NULL);
    return (hpx_span){.data = lines->bytes.data, .size = (size_t)(end - lines->bytes.data)};
}

/* The next free field; NULL when out of memory. The lines were counted, so it is bounded. */
static hpxi_h1_field *lines_field_new(hpxi_h1_lines *lines)
{
    if (lines->field_count == lines->field_capacity) {
        const hpx_allocator *allocator = lines->bytes.allocator;
        const uint32_t capacity =
            lines->field_capacity == 0 ? LINES_FIELDS_MIN : lines->field_capacity * 2;
        hpxi_h1_field *fields =
            hpxi_alloc(allocator, capacity * sizeof(fields[0]), _Alignof(hpxi_h1_field));
        if (fields == NULL) {
            return NULL;
        }
        if (lines->field_count != 0) {
            memcpy(fields, lines->fields, lines->field_count * sizeof(fields[0]));
        }
        hpxi_free(allocator, lines->fields, lines->field_capacity * sizeof(fields[0]));
        lines->fields = fields;
        lines->field_capacity = capacity;
    }
    return &lines->fields[lines->field_count++];
}

/* field-line = field-name ":" OWS field-value OWS. NULL, or the rule that it breaks. */
static const char *lines_read_field(hpx_span line, hpxi_h1_field *field)
{
    size_t name = 0;
    while (name < line.size && hpxi_h1_is_token_byte(line.data[name])) {
        name++;
    }
    if (name != 0 && name < line.size && line.data[name] == ':') {
        field->name = (hpx_span){.data = line.data, .size = name};
        field->value =
            hpxi_h1_trim((hpx_span){.data = line.data + name + 1, .size = line.size - name - 1});
        return NULL;
    }
    const bool space = name < line.size && (line.data[name] == ' ' || line.data[name] == '\t');
    if (space && name == 0) {
        return "folded field (RFC 9112 5.2)";
    }
    if (name == line.size) {
        return "field without a colon (RFC 9112 5)";
    }
    if (name == 0 && line.data[0] == ':') {
        return "field without a name (RFC 9112 5)";
    }
    return space ? "white space before a field's colon (RFC 9112 5.1)"
                 : "byte in a field's name that is not a token's (RFC 9110 5.1)";
}

hpx_status hpxi_h1_lines_parse(hpxi_h1_lines *lines, size_t from, hpx_span *bad, const char **what)
{
    HPX_ASSERT(lines->bytes.head == 0 && lines->bytes.tail >= 2);
    HPX_ASSERT(lines->field_count == 0);
    const uint8_t *at = lines->bytes.data + from;
    const uint8_t *end = lines->bytes.data + lines->bytes.tail - 2; /* before the empty line */
    while (at < end) {
        /* A CR is always half of a CRLF: lines_control() saw to it. */
        const uint8_t *cr = memchr(at, '\r', (size_t)(end - at));
        HPX_ASSERT(cr != NULL);
        const hpx_span line = {.data = at, .size = (size_t)(cr - at)};
        hpxi_h1_field *field = lines_field_new(lines);
        if (field == NULL) {
            return HPX_E_NO_MEMORY;
        }
        *what = lines_read_field(line, field);
        if (*what != NULL) {
            *bad = line;
            return HPX_E_HTTP_MALFORMED;
        }
        at = cr + 2;
    }
    HPX_DASSERT(at == end);
    return HPX_OK;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_head.c - reader and syntax of HTTP/1.1 heads.
 *
 * Role      hpxi_ws_head_feed() gathers a head and refuses at once what can never become one. The
 *           rest of the syntax is checked when the head is complete.
 * Threads   One thread at a time per head.
 * Memory    One buffer per head, at most twice bytes_max. Each byte passes head_step() once, and
 *           each complete head is walked a fixed number of times: the work is linear.
 */
#include "ws/http_head.h"

#include <stdarg.h>
#include <stdio.h>

#include "ring/quote.h"

#define HEAD_METHOD_BYTES_MAX 24u
#define HEAD_SAMPLE_BYTES     24u
#define HEAD_VERSION_BYTES    9u /* " HTTP/1.x" */

hpx_status hpxi_ws_error_set(
    hpx_error *error,
    hpx_status status,
    hpx_stage stage,
    uint32_t http_status,
    const char *format,
    ...)
{
    HPX_ASSERT(status < 0);
    if (error != NULL) {
        *error = (hpx_error){.status = status, .stage = stage, .http_status = (int32_t)http_status};
        va_list args;
        va_start(args, format);
        (void)vsnprintf(error->detail, sizeof(error->detail), format, args);
        va_end(args);
    }
    return status;
}

/* ---- Syntax ---------------------------------------------------------------------------------- */

static bool head_is_alpha(uint8_t byte)
{
    const uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'z';
}

static bool head_is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool head_is_one_of(uint8_t byte, const char *set)
{
    return byte != 0 && strchr(set, byte) != NULL;
}

bool hpxi_ws_is_token_byte(uint8_t byte)
{
    return head_is_alpha(byte) || head_is_digit(byte) || head_is_one_of(byte, "!#$%&'*+-.^_`|~");
}

bool hpxi_ws_is_token(hpx_span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (!hpxi_ws_is_token_byte(text.data[i])) {
            return false;
        }
    }
    return text.size != 0;
}

bool hpxi_ws_is_target(hpx_span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7F || text.data[i] == '#') {
            return false;
        }
    }
    return text.size != 0 && text.data[0] == '/';
}

/* RFC 3986 3.2.2: the bytes of a reg-name, or of an IPv6 address between its brackets. */
static bool head_is_host_byte(uint8_t byte, bool v6)
{
    if (v6) {
        const uint8_t lower = byte | 0x20;
        return head_is_digit(byte) || (lower >= 'a' && lower <= 'f') || byte == ':' || byte == '.';
    }
    return head_is_alpha(byte) || head_is_digit(byte) || head_is_one_of(byte, "-._~%!$&'()*+,;=");
}

bool hpxi_ws_is_host(hpx_span text)
{
    const bool v6 = text.size != 0 && text.data[0] == '[';
    size_t at = v6 ? 1 : 0;
    const size_t first = at;
    while (at < text.size && head_is_host_byte(text.data[at], v6)) {
        at++;
    }
    if (at == first) {
        return false;
    }
    if (v6) {
        if (at == text.size || text.data[at] != ']') {
            return false;
        }
        at++;
    }
    if (at < text.size && text.data[at] == ':') {
        const size_t port = ++at;
        while (at < text.size && at - port < 5 && head_is_digit(text.data[at])) {
            at++;
        }
    }
    return at == text.size;
}

bool hpxi_ws_span_is(hpx_span a, hpx_span b)
{
    HPX_DASSERT(a.data != NULL || a.size == 0);
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static uint8_t head_lower(uint8_t byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

bool hpxi_ws_span_is_text(hpx_span a, const char *text)
{
    HPX_DASSERT(text != NULL);
    for (size_t i = 0; i < a.size; i++) {
        if (text[i] == '\0' || head_lower(a.data[i]) != head_lower((uint8_t)text[i])) {
            return false;
        }
    }
    return text[a.size] == '\0';
}

static hpx_span head_trim(hpx_span text)
{
    while (text.size != 0 && head_is_one_of(text.data[0], " \t")) {
        text.data++;
        text.size--;
    }
    while (text.size != 0 && head_is_one_of(text.data[text.size - 1], " \t")) {
        text.size--;
    }
    return text;
}

/* ---- Reader ---------------------------------------------------------------------------------- */

void hpxi_ws_head_init(
    hpxi_ws_head *head,
    hpxi_ws_role role,
    uint32_t bytes_max,
    uint32_t fields_max,
    const hpx_allocator *allocator)
{
    HPX_ASSERT(bytes_max != 0);
    HPX_ASSERT(role == HPXI_WS_ROLE_CLIENT || role == HPXI_WS_ROLE_SERVER);
    *head = (hpxi_ws_head){.role = role, .bytes_max = bytes_max, .fields_max = fields_max};
    hpxi_buf_init(&head->bytes, allocator);
}

void hpxi_ws_head_fini(hpxi_ws_head *head)
{
    HPX_ASSERT(head->bytes.allocator != NULL);
    hpxi_buf_fini(&head->bytes);
}

/* The first bytes: can byte number `at` belong to "HTTP/1.x " or to "METHOD "? */
static bool head_start_allows(hpxi_ws_head *head, size_t at, uint8_t byte)
{
    HPX_DASSERT(!head->started);
    if (head->role == HPXI_WS_ROLE_SERVER) {
        head->started = byte == ' ' && at != 0;
        return head->started || (at < HEAD_METHOD_BYTES_MAX && hpxi_ws_is_token_byte(byte));
    }
    static const char start[] = "HTTP/1.x ";
    head->started = at == sizeof(start) - 2;
    return start[at] == 'x' ? byte == '0' || byte == '1' : byte == (uint8_t)start[at];
}

/* How many bytes of " HTTP/1.x" the line ends with, now that `byte` follows. */
static uint8_t head_match_version(uint8_t matched, uint8_t byte)
{
    static const char version[] = " HTTP/1.x";
    HPX_DASSERT(matched < sizeof(version));
    const bool last = version[matched] == 'x' && (byte == '0' || byte == '1');
    if (last || (version[matched] != 'x' && byte == (uint8_t)version[matched])) {
        return (uint8_t)(matched + 1);
    }
    return byte == ' ' ? 1 : 0; /* the space occurs in it once, at its beginning */
}

/* A line ended. */
static hpx_status head_line(hpxi_ws_head *head, const char **what)
{
    if (head->lines == 0 && head->role == HPXI_WS_ROLE_SERVER &&
        head->matched != HEAD_VERSION_BYTES) {
        *what = "no HTTP/1.x in the request line, which ends";
        return HPX_E_HTTP_MALFORMED;
    }
    head->lines++;
    if (head->line_bytes == 0) {
        head->complete = true;
        return 1;
    }
    head->line_bytes = 0;
    return head->lines - 1 > head->fields_max ? HPX_E_HTTP_TOO_BIG : HPX_E_PARTIAL;
}

/* One byte. Every byte of a head passes here exactly once. */
static hpx_status head_step(hpxi_ws_head *head, uint8_t byte, const char **what)
{
    if (head->scanned == head->bytes_max) {
        return HPX_E_HTTP_TOO_BIG;
    }
    const size_t at = head->scanned++;
    if (!head->started && !head_start_allows(head, at, byte)) {
        return HPX_E_HTTP_MALFORMED;
    }
    if (head->cr != (byte == '\n')) { /* they come as a pair, or not at all: RFC 9112 2.2 */
        *what = head->cr ? "CR without LF" : "LF without CR";
        return HPX_E_HTTP_MALFORMED;
    }
    head->cr = byte == '\r';
    if (byte == '\n') {
        return head_line(head, what);
    }
    if (head->cr) {
        return HPX_E_PARTIAL;
    }
    if ((byte < 0x20 && byte != '\t') || byte == 0x7F) {
        *what = byte == 0 ? "NUL" : "control byte";
        return HPX_E_HTTP_MALFORMED;
    }
    if (head->lines == 0) {
        head->matched = head_match_version(head->matched, byte);
    }
    head->line_bytes++;
    return HPX_E_PARTIAL;
}

/* The first bytes of the head, gathered ones and new ones, as they are to be shown. */
static hpx_span head_sample(
    const hpxi_ws_head *head, const uint8_t *data, size_t size, uint8_t sample[HEAD_SAMPLE_BYTES])
{
    const hpx_span old = hpxi_buf_span(&head->bytes);
    const size_t first = old.size < HEAD_SAMPLE_BYTES ? old.size : HEAD_SAMPLE_BYTES;
    const size_t room = HEAD_SAMPLE_BYTES - first;
    const size_t second = size < room ? size : room;
    if (first != 0) {
        memcpy(sample, old.data, first);
    }
    if (second != 0) {
        memcpy(sample + first, data, second);
    }
    return (hpx_span){.data = sample, .size = first + second};
}

/* Makes the head fail for ever, and says why. */
static hpx_status
head_fail(hpxi_ws_head *head, hpx_status status, const char *what, hpx_span first, hpx_error *error)
{
    HPX_ASSERT(status < 0 && status != HPX_E_PARTIAL);
    head->failure = status;
    const char *side = head->role == HPXI_WS_ROLE_CLIENT ? "answer" : "request";
    if (status == HPX_E_HTTP_TOO_BIG && head->scanned == head->bytes_max) {
        return hpxi_ws_error_set(
            error,
            status,
            HPX_STAGE_UPGRADE,
            0,
            "head of the %s has more than %u bytes",
            side,
            head->bytes_max);
    }
    if (status == HPX_E_HTTP_TOO_BIG) {
        return hpxi_ws_error_set(
            error,
            status,
            HPX_STAGE_UPGRADE,
            0,
            "head of the %s has more than %u fields",
            side,
            head->fields_max);
    }
    if (status == HPX_E_NO_MEMORY) {
        return hpxi_ws_error_set(
            error, status, HPX_STAGE_UPGRADE, 0, "no memory for the head of the %s", side);
    }
    if (what != NULL) {
        return hpxi_ws_error_set(
            error,
            status,
            HPX_STAGE_UPGRADE,
            0,
            "%s at byte %zu of the %s",
            what,
            head->scanned,
            side);
    }
    char quoted[4 * HEAD_SAMPLE_BYTES];
    return hpxi_ws_error_set(
        error,
        status,
        HPX_STAGE_UPGRADE,
        0,
        "%s is not HTTP/1.1: it begins with %s",
        side,
        hpxi_quote(quoted, sizeof(quoted), first));
}

hpx_status hpxi_ws_head_feed(hpxi_ws_head *head, uint8_t **data, size_t *size, hpx_error *error)
{
    HPX_ASSERT(!head->complete);
    HPX_ASSERT(*data != NULL || *size == 0);
    if (head->failure != HPX_OK) {
        return hpxi_ws_error_set(
            error, head->failure, HPX_STAGE_UPGRADE, 0, "the head was refused before");
    }
    hpx_status status = HPX_E_PARTIAL;
    const char *what = NULL;
    size_t used = 0;
    while (used < *size && status == HPX_E_PARTIAL) {
        status = head_step(head, (*data)[used++], &what);
    }
    if ((status == HPX_E_PARTIAL || status == 1) && !hpxi_buf_append(&head->bytes, *data, used)) {
        status = HPX_E_NO_MEMORY;
    }
    if (status != HPX_E_PARTIAL && status != 1) {
        uint8_t sample[HEAD_SAMPLE_BYTES];
        const hpx_span first = head_sample(head, *data, *size, sample);
        return head_fail(head, status, what, first, error);
    }
    HPX_DASSERT(head->scanned == hpxi_buf_size(&head->bytes));
    HPX_DASSERT(head->complete == (status == 1));
    if (used != 0) {
        *data += used;
        *size -= used;
    }
    return status;
}

/* ---- Fields ---------------------------------------------------------------------------------- */

/* The line at the cursor without its CRLF. A CR is always half of a CRLF: head_step() saw to it. */
static hpx_span head_next_line(hpxi_ws_cursor *cursor)
{
    HPX_DASSERT(cursor->at < cursor->end);
    const uint8_t *end = memchr(cursor->at, '\r', (size_t)(cursor->end - cursor->at));
    HPX_ASSERT(end != NULL);
    const hpx_span line = {.data = cursor->at, .size = (size_t)(end - cursor->at)};
    cursor->at = end + 2;
    return line;
}

hpx_span hpxi_ws_head_start_line(const hpxi_ws_head *head, hpxi_ws_cursor *cursor)
{
    HPX_ASSERT(head->complete);
    HPX_ASSERT(head->failure == HPX_OK);
    const hpx_span all = hpxi_buf_span(&head->bytes);
    *cursor = (hpxi_ws_cursor){.at = all.data, .end = all.data + all.size - 2};
    return head_next_line(cursor);
}

int hpxi_ws_field_next(hpxi_ws_cursor *cursor, hpxi_ws_field *field)
{
    HPX_ASSERT(cursor->at <= cursor->end);
    if (cursor->at == cursor->end) {
        return 0;
    }
    const hpx_span line = head_next_line(cursor);
    const uint8_t *colon = memchr(line.data, ':', line.size);
    field->name = line;
    if (colon == NULL) {
        return HPX_E_HTTP_MALFORMED;
    }
    /* RFC 9112 5.1 and 5.2: no white space before the colon, no folding. Neither is a token. */
    const hpx_span name = {.data = line.data, .size = (size_t)(colon - line.data)};
    if (!hpxi_ws_is_token(name)) {
        return HPX_E_HTTP_MALFORMED;
    }
    field->name = name;
    field->value = head_trim((hpx_span){.data = colon + 1, .size = line.size - name.size - 1});
    return 1;
}

hpx_status hpxi_ws_fields_collect(
    const hpxi_ws_head *head,
    hpxi_ws_known *known,
    size_t count,
    uint32_t http_status,
    hpx_error *error)
{
    hpxi_ws_cursor cursor;
    hpxi_ws_field field;
    (void)hpxi_ws_head_start_line(head, &cursor);
    int result;
    while ((result = hpxi_ws_field_next(&cursor, &field)) == 1) {
        for (size_t i = 0; i < count; i++) {
            if (hpxi_ws_span_is_text(field.name, known[i].name) && known[i].count++ == 0) {
                known[i].value = field.value;
            }
        }
    }
    if (result == 0) {
        return HPX_OK;
    }
    char quoted[80];
    const bool folded = field.name.size != 0 && head_is_one_of(field.name.data[0], " \t");
    return hpxi_ws_error_set(
        error,
        HPX_E_HTTP_MALFORMED,
        HPX_STAGE_UPGRADE,
        http_status,
        "%s: %s",
        folded ? "folded header field" : "not a header field",
        hpxi_quote(quoted, sizeof(quoted), field.name));
}

void hpxi_ws_list_init(hpxi_ws_list *list, const hpxi_ws_head *head, const char *name)
{
    *list = (hpxi_ws_list){.name = name};
    (void)hpxi_ws_head_start_line(head, &list->cursor);
}

bool hpxi_ws_list_next(hpxi_ws_list *list, hpx_span *element)
{
    for (;;) {
        while (list->rest.size != 0) {
            const uint8_t *comma = memchr(list->rest.data, ',', list->rest.size);
            const size_t bytes =
                comma == NULL ? list->rest.size : (size_t)(comma - list->rest.data);
            const size_t skip = comma == NULL ? bytes : bytes + 1;
            *element = head_trim((hpx_span){.data = list->rest.data, .size = bytes});
            list->rest.data += skip;
            list->rest.size -= skip;
            if (element->size != 0) {
                return true;
            }
        }
        hpxi_ws_field field;
        const int result = hpxi_ws_field_next(&list->cursor, &field);
        HPX_ASSERT(result >= 0); /* hpxi_ws_fields_collect() has accepted the head */
        if (result == 0) {
            return false;
        }
        if (hpxi_ws_span_is_text(field.name, list->name)) {
            list->rest = field.value;
        }
    }
}

bool hpxi_ws_list_has(const hpxi_ws_head *head, const char *name, const char *element)
{
    hpxi_ws_list list;
    hpx_span found;
    hpxi_ws_list_init(&list, head, name);
    while (hpxi_ws_list_next(&list, &found)) {
        if (hpxi_ws_span_is_text(found, element)) {
            return true;
        }
    }
    return false;
}

void hpxi_ws_write(hpxi_ws_writer *writer, const char *text)
{
    HPX_DASSERT(text != NULL);
    const size_t bytes = strlen(text);
    if (writer->to != NULL) {
        memcpy(writer->to + writer->bytes, text, bytes);
    }
    writer->bytes += bytes;
}

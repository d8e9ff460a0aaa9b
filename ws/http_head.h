/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_head.h - private to the handshake: syntax of HTTP/1.1 heads (RFC 9112, RFC 9110).
 *
 * Role      Walks the fields of a head that hpxi_ws_head_feed() completed, and writes heads.
 * Threads   Any; no state. Memory: nothing is copied; spans point into the head.
 */
#ifndef HPXI_WS_HTTP_HEAD_H
#define HPXI_WS_HTTP_HEAD_H

#include "ws/handshake.h"

/* Fill *error (may be NULL) and return status. */
hpx_status hpxi_ws_error_set(
    hpx_error *error,
    hpx_status status,
    hpx_stage stage,
    uint32_t http_status,
    const char *format,
    ...) __attribute__((format(printf, 5, 6)));

bool hpxi_ws_is_token_byte(uint8_t byte);     /* RFC 9110 5.6.2 tchar */
bool hpxi_ws_is_token(hpx_span text);         /* at least one, all tchar */
bool hpxi_ws_is_host(hpx_span text);          /* RFC 3986 host [":" port], not empty */
bool hpxi_ws_is_target(hpx_span text);        /* origin-form: "/", visible ASCII, no "#" */
bool hpxi_ws_span_is(hpx_span a, hpx_span b); /* the same bytes */
bool hpxi_ws_span_is_text(hpx_span a, const char *text); /* the same, ASCII case aside */

typedef struct hpxi_ws_field {
    hpx_span name;
    hpx_span value; /* without the white space around it */
} hpxi_ws_field;

/* Place in a head: the next line to read. */
typedef struct hpxi_ws_cursor {
    const uint8_t *at;
    const uint8_t *end; /* after the CRLF of the last field, before the empty line */
} hpxi_ws_cursor;

/* The first line, without its CRLF; *cursor is set to the first field. */
hpx_span hpxi_ws_head_start_line(const hpxi_ws_head *head, hpxi_ws_cursor *cursor);

/* Next field. Returns 1, 0 at the end, HPX_E_HTTP_MALFORMED (field->name is then the line). */
int hpxi_ws_field_next(hpxi_ws_cursor *cursor, hpxi_ws_field *field);

/* One field that a role looks for, and how often it was there. */
typedef struct hpxi_ws_known {
    const char *name;
    uint32_t count;
    hpx_span value; /* of the first */
} hpxi_ws_known;

/* Check the syntax of all fields and note the known ones. HPX_OK, HPX_E_HTTP_MALFORMED. */
hpx_status hpxi_ws_fields_collect(
    const hpxi_ws_head *head,
    hpxi_ws_known *known,
    size_t count,
    uint32_t http_status,
    hpx_error *error);

/* Elements of a comma-separated field, over all fields of that name, empty ones left out. */
typedef struct hpxi_ws_list {
    hpxi_ws_cursor cursor;
    const char *name;
    hpx_span rest;
} hpxi_ws_list;

void hpxi_ws_list_init(hpxi_ws_list *list, const hpxi_ws_head *head, const char *name);
bool hpxi_ws_list_next(hpxi_ws_list *list, hpx_span *element);

/* True if the list has `element` (ASCII case aside). */
bool hpxi_ws_list_has(const hpxi_ws_head *head, const char *name, const char *element);

/* Writes text twice with the same code: once to count (`to` NULL), once to write. */
typedef struct hpxi_ws_writer {
    uint8_t *to;
    size_t bytes;
} hpxi_ws_writer;

void hpxi_ws_write(hpxi_ws_writer *writer, const char *text);

#endif /* HPXI_WS_HTTP_HEAD_H */

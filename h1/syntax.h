/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syntax.h - the words of HTTP/1.1 (RFC 9110 section 5, RFC 9112 sections 2 to 5).
 *
 * Role      What may stand in a token, a value, a target, a Host; comparison and lists. The reader
 *           and the writer share these, so that we never write what we would refuse to read.
 * Threads   Any; no state. Memory: nothing is copied.
 */
#ifndef HPXI_H1_SYNTAX_H
#define HPXI_H1_SYNTAX_H

#include <hpx/http.h>

/* One header or trailer field, delivered to the app as it is. Of one that was read, the value is
 * without the white space around it. */
typedef hpx_http_header hpxi_h1_field;

/* Fill *error (may be NULL) with status, stage READY and a text; returns status. */
hpx_status hpxi_h1_error_set(hpx_error *error, hpx_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

bool hpxi_h1_is_token_byte(uint8_t byte); /* RFC 9110 5.6.2 tchar */
bool hpxi_h1_is_token(hpx_span text);     /* at least one, all tchar */

/* RFC 9110 5.5: no control byte but HTAB, no white space at either end. May be empty. */
bool hpxi_h1_is_value(hpx_span text);

/* RFC 3986 host [":" port]. Not empty. */
bool hpxi_h1_is_host(hpx_span text);

/*
 * RFC 9112 3.2: does the target have the form that this method may have? "/path",
 * "http://host/path" or https, "host:port" of a CONNECT, "*" of an OPTIONS; visible ASCII without
 * "#".
 */
bool hpxi_h1_is_target(hpx_span method, hpx_span target);

/* The first byte in [at, end) that is a control byte (HTAB and DEL included), or end. */
const uint8_t *hpxi_h1_find_control(const uint8_t *at, const uint8_t *end);

hpx_span hpxi_h1_trim(hpx_span text);             /* without SP and HTAB at both ends */
bool hpxi_h1_span_is(hpx_span a, const char *b);  /* the same bytes */
bool hpxi_h1_span_has(hpx_span a, const char *b); /* the same, ASCII case aside */

/*
 * Next element of a comma-separated list, empty ones left out: cuts it off *rest. False at the end.
 */
bool hpxi_h1_list_next(hpx_span *rest, hpx_span *element);

/*
 * The digits of a decimal number up to INT64_MAX: no sign, no white space, at least one digit, and
 * nothing else. HPX_OK, HPX_E_HTTP_MALFORMED (not a number), HPX_E_HTTP_TOO_BIG (above INT64_MAX).
 */
hpx_status hpxi_h1_parse_length(hpx_span text, uint64_t *out);

/* The value of a hexadecimal digit, or -1. */
int hpxi_h1_hex_digit(uint8_t byte);

/* First field with this name (ASCII case aside), or NULL. */
const hpxi_h1_field *
hpxi_h1_field_find(const hpxi_h1_field *fields, size_t count, const char *name);

#endif /* HPXI_H1_SYNTAX_H */

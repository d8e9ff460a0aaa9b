/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lines.h - gathers the lines of a head or of trailers, up to the empty one, and reads its fields.
 *
 * Role      CRLF and nothing else ends a line; no control byte but HTAB is in one. Both are refused
 *           at the byte that breaks the rule, and so are the limits.
 * Threads   One thread at a time.
 * Memory    One buffer for the bytes, at most twice bytes_max, and one array of fields, at most
 *           fields_max long. Both are kept from one head to the next. Each byte is looked at a
 *           fixed number of times, however the input is cut.
 */
#ifndef HPXI_H1_LINES_H
#define HPXI_H1_LINES_H

#include "h1/syntax.h"
#include "ring/alloc.h"

typedef struct hpxi_h1_lines {
    hpxi_buf bytes;    /* all lines so far, with their CRLFs; head == 0 */
    size_t line_bytes; /* of the line in progress, without its CRLF */
    uint32_t count;    /* lines ended so far, the empty one included */
    uint32_t field_count;
    uint32_t field_capacity;
    hpxi_h1_field *fields; /* after hpxi_h1_lines_parse(); spans into `bytes` */
    bool cr;               /* the last byte was a CR */
} hpxi_h1_lines;

void hpxi_h1_lines_init(hpxi_h1_lines *lines, const hpx_allocator *allocator);
void hpxi_h1_lines_fini(hpxi_h1_lines *lines);
void hpxi_h1_lines_reset(hpxi_h1_lines *lines); /* for the next head; keeps the memory */

enum {
    HPXI_H1_LINES_COMPLETE = 1,
    HPXI_H1_LINES_FIRST = 2, /* the first line has just ended, and is not empty: go on feeding */
};

/*
 * Take bytes until the first line's end or the empty line; advance *data and *size past them.
 * HPXI_H1_LINES_*, HPX_E_PARTIAL (all was taken), or with *what, a static text about the byte
 * number bytes.tail: HPX_E_HTTP_MALFORMED, HPX_E_HTTP_TOO_BIG (more than bytes_max or, then *what
 * is NULL, more than lines_max lines before the empty one), HPX_E_NO_MEMORY.
 */
int hpxi_h1_lines_feed(
    hpxi_h1_lines *lines,
    uint32_t bytes_max,
    uint32_t lines_max,
    const uint8_t **data,
    size_t *size,
    const char **what);

/* The first line, without its CRLF. */
hpx_span hpxi_h1_lines_first(const hpxi_h1_lines *lines);

/*
 * Read complete lines, from byte `from` on, as fields. HPX_OK, HPX_E_NO_MEMORY, or
 * HPX_E_HTTP_MALFORMED with the line in *bad and the rule it breaks in *what.
 */
hpx_status hpxi_h1_lines_parse(hpxi_h1_lines *lines, size_t from, hpx_span *bad, const char **what);

#endif /* HPXI_H1_LINES_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.h - text built in a fixed buffer: appends, JSON strings, numbers for people.
 *
 * Memory    The caller's buffer. What does not fit sets `full` and is left out; the text stays
 *           NUL-terminated.
 */
#ifndef HPX_TOOL_TEXT_H
#define HPX_TOOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli.h"

typedef struct text {
    char *data;
    size_t size;     /* without the NUL */
    size_t capacity; /* with the NUL */
    bool full;       /* something did not fit */
} text;

/* An empty text over `buffer`; `capacity` > 0. */
void text_init(text *out, char *buffer, size_t capacity);

void text_add(text *out, const char *string);
void text_add_bytes(text *out, const char *bytes, size_t size);
void text_addf(text *out, const char *format, ...) CLI_PRINTF(2, 3);

/* A JSON string with its quotes; `bytes` is UTF-8. */
void text_add_json(text *out, const char *bytes, size_t size);

/* "834 ns", "12.3 us", "4.56 ms", "1.23 s". */
void text_add_duration(text *out, uint64_t ns);

/* Thousands separated: "1,234,567". */
void text_add_count(text *out, uint64_t count);

#endif /* HPX_TOOL_TEXT_H */

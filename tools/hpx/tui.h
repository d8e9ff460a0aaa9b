/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tui.h - a few lines of a terminal, drawn again and again in place.
 *
 * Threads   Main thread; what restores the terminal is also called from a signal handler.
 */
#ifndef HPX_TOOL_TUI_H
#define HPX_TOOL_TUI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "text.h"

#define TUI_BOLD  "\033[1m"
#define TUI_DIM   "\033[2m"
#define TUI_RED   "\033[31m"
#define TUI_GREEN "\033[32m"
#define TUI_CYAN  "\033[36m"
#define TUI_PLAIN "\033[0m"

typedef struct tui {
    bool is_live; /* escapes may be used: a terminal, not dumb, no NO_COLOR */
    bool has_utf8;
    bool has_keys; /* stdin is a terminal: tui_key() may find some */
    int columns;
    int rows;
    int drawn_lines; /* of the last frame */
} tui;

/* Look at the terminal. If it is live: no cursor, no echo, keys without Enter. */
void tui_open(tui *t);

/* Give the terminal back as it was; the last frame stays. Twice does no harm. */
void tui_close(tui *t);

/* Replace the last frame on stdout by these lines (each ends with '\n'). Longer lines are cut by
 * the terminal, lines below its last one are left out. Asks for the terminal's size again, for the
 * next frame. */
void tui_draw(tui *t, const char *lines);

/* A key that was typed, or 0. Does not wait. */
char tui_key(tui *t);

/* One character per sample, the highest one full height. */
void tui_add_sparkline(const tui *t, text *out, const uint64_t *samples, size_t count);

#endif /* HPX_TOOL_TUI_H */

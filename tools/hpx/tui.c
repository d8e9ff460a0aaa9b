/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tui.c - a few lines of a terminal, drawn in place.
 *
 * A frame is one write: the cursor goes up by the lines drawn before, every line is rewritten and
 * cleared to its end. Automatic wrapping is off meanwhile, so that a line too long for the window
 * is cut instead of shifting all that follow.
 */
#include "tui.h"

#include <assert.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static const char tui_enter[] = "\033[?25l\033[?7l"; /* hide the cursor, do not wrap */
static const char tui_leave[] = "\033[?7h\033[?25h";

/* What tui_restore() needs, also in a signal handler on any thread: written before tui_is_entered
 * is set (release); whoever takes that back (acquire) restores, once. */
static struct termios tui_saved;
static bool tui_has_saved;
static atomic_bool tui_is_entered;

static void tui_measure(tui *t)
{
    struct winsize size = {0};
    const bool is_known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    t->columns = is_known ? size.ws_col : 80;
    t->rows = is_known && size.ws_row > 0 ? size.ws_row : 24;
}

/* Async-signal-safe. */
static void tui_restore(void)
{
    if (!atomic_exchange_explicit(&tui_is_entered, false, memory_order_acquire)) {
        return;
    }
    if (tui_has_saved) {
        tcsetattr(STDIN_FILENO, TCSANOW, &tui_saved);
    }
    if (write(STDOUT_FILENO, tui_leave, sizeof(tui_leave) - 1) < 0) {
        /* The terminal is gone; there is nothing to restore. */
    }
}

static void tui_take_keys(tui *t)
{
    struct termios raw;
    if (tcgetattr(STDIN_FILENO, &tui_saved) != 0) {
        return;
    }
    raw = tui_saved;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO); /* ISIG stays: Ctrl-C is a signal */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    /* In the background this would stop us with SIGTTOU. */
    t->has_keys =
        tcgetpgrp(STDIN_FILENO) == getpgrp() && tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
    tui_has_saved = t->has_keys;
}

void tui_open(tui *t)
{
    *t = (tui){.is_live = cli_has_escapes()};
    setlocale(LC_CTYPE, "");                                  /* NOLINT(concurrency-mt-unsafe) */
    t->has_utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0; /* NOLINT(concurrency-mt-unsafe) */
    tui_measure(t);
    if (!t->is_live) {
        return;
    }
    tui_take_keys(t);
    atomic_store_explicit(&tui_is_entered, true, memory_order_release);
    cli_set_exit_hook(tui_restore);
    fputs(tui_enter, stdout);
    fflush(stdout);
}

void tui_close(tui *t)
{
    fflush(stdout);
    tui_restore();
    cli_set_exit_hook(NULL);
    t->has_keys = false;
    t->is_live = false;
}

void tui_draw(tui *t, const char *lines)
{
    assert(t->is_live);
    if (t->drawn_lines > 0) {
        printf("\r\033[%dA", t->drawn_lines);
    }
    t->drawn_lines = 0;
    /* More lines than the window has would scroll, and going up again would not reach the first. */
    while (*lines != '\0' && t->drawn_lines < t->rows - 1) {
        const size_t size = strcspn(lines, "\n");
        fwrite(lines, 1, size, stdout);
        fputs(TUI_PLAIN "\033[K\n", stdout);
        t->drawn_lines++;
        lines += size + (lines[size] == '\n');
    }
    fputs("\033[J", stdout);
    fflush(stdout);
    tui_measure(t);
}

char tui_key(tui *t)
{
    if (!t->has_keys) {
        return 0;
    }
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char key = 0;
    if (poll(&input, 1, 0) != 1) {
        return 0;
    }
    if (read(STDIN_FILENO, &key, 1) != 1) {
        t->has_keys = false; /* hung up */
        return 0;
    }
    return key;
}

void tui_add_sparkline(const tui *t, text *out, const uint64_t *samples, size_t count)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ascii[] = {"_", ".", "-", "~", "=", "+", "*", "#"};
    _Static_assert(CLI_COUNT_OF(blocks) == CLI_COUNT_OF(ascii), "the same heights");
    uint64_t max = 1;
    for (size_t i = 0; i < count; i++) {
        max = samples[i] > max ? samples[i] : max;
    }
    for (size_t i = 0; i < count; i++) {
        const size_t top = CLI_COUNT_OF(blocks) - 1;
        const size_t height = (size_t)((double)samples[i] / (double)max * (double)top + 0.5);
        text_add(out, t->has_utf8 ? blocks[height] : ascii[height]);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quickstart.h - what `hpx quickstart` shows: a frame, a line, a summary.
 */
#ifndef HPX_TOOL_QUICKSTART_H
#define HPX_TOOL_QUICKSTART_H

#include <stdbool.h>
#include <stdint.h>

#include "feed.h"
#include "text.h"
#include "tui.h"

#define VIEW_SAMPLES       48u /* of the sparkline */
#define VIEW_FRAME_BYTES   16384u
#define VIEW_FRAMES_SECOND 4u

/* Figures over time, sampled by the main thread. */
typedef struct view {
    const feed *feed;
    const char *url;
    uint64_t start_ns;
    uint64_t duration_ns; /* 0: until stopped */
    uint64_t messages_last;
    uint64_t sample_ns;
    uint64_t samples[VIEW_SAMPLES]; /* messages per second, oldest first */
    size_t sample_count;
} view;

/* Take one sample. */
void view_sample(view *v, uint64_t now_ns);

/* A whole frame for tui_draw(). */
void view_frame(const view *v, const tui *t, uint64_t now_ns, text *out);

/* For a log: a heading, then one line per call. */
void view_heading(text *out);
void view_line(const view *v, uint64_t now_ns, text *out);

/* The end. True: messages came, none is missing, and the connection was never lost. */
bool view_summary(const view *v, uint64_t now_ns, text *out);

#endif /* HPX_TOOL_QUICKSTART_H */

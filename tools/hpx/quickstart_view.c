/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quickstart_view.c - the quickstart's figures as text. Reads the feed, writes no terminal.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "quickstart.h"

#define VIEW_ROWS_FIXED 13 /* lines of a frame without the topics */

static const double view_percents[] = {50, 90, 99, 99.9};

static uint64_t view_load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void view_sample(view *v, uint64_t now_ns)
{
    const uint64_t messages = view_load(&v->feed->messages);
    const uint64_t passed_ns = now_ns - v->sample_ns;
    if (v->sample_ns != 0 && passed_ns > 0) {
        if (v->sample_count == VIEW_SAMPLES) {
            memmove(v->samples, v->samples + 1, sizeof(v->samples) - sizeof(v->samples[0]));
            v->sample_count--;
        }
        const double rate =
            (double)(messages - v->messages_last) * (double)HPX_NS_PER_S / (double)passed_ns;
        v->samples[v->sample_count++] = (uint64_t)(rate + 0.5);
    }
    v->sample_ns = now_ns;
    v->messages_last = messages;
}

/* Mean of the last samples: one second of them on a terminal. */
static uint64_t view_rate(const view *v, size_t over)
{
    const size_t count = v->sample_count < over ? v->sample_count : over;
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        sum += v->samples[v->sample_count - 1 - i];
    }
    return count == 0 ? 0 : sum / count;
}

/* `value` right-aligned in `width` columns. */
static void view_right(text *out, int width, const char *value)
{
    text_addf(out, "%*s", width, value);
}

static void view_count(text *out, int width, uint64_t count)
{
    char buffer[32];
    text number;
    text_init(&number, buffer, sizeof(buffer));
    text_add_count(&number, count);
    view_right(out, width, number.data);
}

static void view_duration(text *out, int width, uint64_t ns)
{
    char buffer[32];
    text number;
    text_init(&number, buffer, sizeof(buffer));
    text_add_duration(&number, ns);
    view_right(out, width, number.data);
}

static void view_latencies(text *out, const feed *f, int width)
{
    if (hist_count(&f->latency) == 0) {
        for (size_t i = 0; i <= CLI_COUNT_OF(view_percents); i++) {
            view_right(out, width, "-");
        }
        return;
    }
    for (size_t i = 0; i < CLI_COUNT_OF(view_percents); i++) {
        view_duration(out, width, hist_percentile(&f->latency, view_percents[i]));
    }
    view_duration(out, width, hist_max(&f->latency));
}

static uint64_t view_reconnects(const view *v)
{
    const uint64_t epoch = feed_get_epoch(v->feed);
    return epoch == 0 ? 0 : epoch - 1;
}

static void view_tls(const view *v, text *out)
{
    if (feed_get_epoch(v->feed) == 0) {
        text_add(out, "not connected");
        return;
    }
    const hpx_conn_info *info = &v->feed->info;
    text_addf(
        out,
        "%s %s, %s",
        info->tls_version,
        info->tls_cipher,
        info->tls_verified ? "certificate verified" : "certificate NOT verified");
}

static void view_state(const view *v, text *out)
{
    switch (feed_get_state(v->feed)) {
    case FEED_CONNECTING:
        text_add(out, "connecting");
        break;
    case FEED_LIVE:
        text_add(out, TUI_GREEN "live" TUI_PLAIN);
        break;
    case FEED_LOST:
        text_add(out, TUI_RED "lost, connecting again" TUI_PLAIN);
        break;
    case FEED_CLOSED:
        text_add(out, TUI_RED "given up" TUI_PLAIN);
        break;
    }
}

static void view_frame_head(const view *v, const tui *t, uint64_t now_ns, text *out)
{
    const uint64_t seconds = (now_ns - v->start_ns) / HPX_NS_PER_S;
    text_addf(out, "\n  " TUI_BOLD "hpx quickstart" TUI_PLAIN "  %s  ", v->url);
    view_state(v, out);
    text_add(out, "\n  " TUI_DIM);
    view_tls(v, out);
    text_addf(out, TUI_PLAIN "\n\n  messages/s  " TUI_BOLD);
    view_count(out, 11, view_rate(v, VIEW_FRAMES_SECOND));
    text_add(out, TUI_PLAIN "  " TUI_CYAN);
    tui_add_sparkline(t, out, v->samples, v->sample_count);
    text_add(out, TUI_PLAIN "\n  messages    ");
    view_count(out, 11, view_load(&v->feed->messages));
    text_addf(
        out,
        "  epoch %llu, %llu reconnects, %llu:%02llu",
        (unsigned long long)feed_get_epoch(v->feed),
        (unsigned long long)view_reconnects(v),
        (unsigned long long)seconds / 60,
        (unsigned long long)seconds % 60);
    if (v->duration_ns != 0) {
        text_addf(
            out,
            " of %llu:%02llu",
            (unsigned long long)(v->duration_ns / HPX_NS_PER_S) / 60,
            (unsigned long long)(v->duration_ns / HPX_NS_PER_S) % 60);
    }
    text_add(
        out,
        "\n\n  " TUI_DIM "latency          p50       p90       p99     p99.9       max" TUI_PLAIN
        "\n            ");
    view_latencies(out, v->feed, 10);
    text_add(out, "\n");
}

static void view_frame_topic(const feed_topic *topic, text *out)
{
    const int64_t cents = atomic_load_explicit(&topic->price_cents, memory_order_relaxed);
    char buffer[32];
    text price;
    text_init(&price, buffer, sizeof(buffer));
    text_add_count(&price, (uint64_t)cents / 100);
    text_addf(&price, ".%02u", (unsigned)((uint64_t)cents % 100));
    const uint64_t gaps = view_load(&topic->gaps);
    text_addf(out, "  %-18s%14s", topic->name, price.data);
    view_count(out, 14, view_load(&topic->messages));
    text_add(out, gaps == 0 ? TUI_GREEN : TUI_RED);
    view_count(out, 10, gaps);
    text_add(out, TUI_PLAIN "\n");
}

void view_frame(const view *v, const tui *t, uint64_t now_ns, text *out)
{
    assert(t->is_live);
    view_frame_head(v, t, now_ns, out);
    if (t->rows > VIEW_ROWS_FIXED + (int)v->feed->topic_count) {
        text_add(
            out,
            "\n  " TUI_DIM "topic                     price      messages      gaps" TUI_PLAIN
            "\n");
        for (uint32_t i = 0; i < v->feed->topic_count; i++) {
            view_frame_topic(&v->feed->topics[i], out);
        }
    }
    text_addf(
        out,
        "\n  " TUI_DIM "latency: exchange's timestamp to callback.%s" TUI_PLAIN "\n",
        t->has_keys ? "  q ends." : "  Ctrl-C ends.");
}

void view_heading(text *out)
{
    text_add(
        out,
        "  time  messages/s       p50       p90       p99     p99.9       max    gaps  "
        "reconnects\n");
}

void view_line(const view *v, uint64_t now_ns, text *out)
{
    const uint64_t seconds = (now_ns - v->start_ns + HPX_NS_PER_S / 2) / HPX_NS_PER_S;
    text_addf(out, "%4llu s", (unsigned long long)seconds);
    view_count(out, 12, view_rate(v, 1));
    view_latencies(out, v->feed, 10);
    view_count(out, 8, feed_gaps(v->feed));
    view_count(out, 12, view_reconnects(v));
    text_add(out, "\n");
}

static void view_summary_messages(const view *v, uint64_t passed_ns, text *out)
{
    const uint64_t messages = view_load(&v->feed->messages);
    const double seconds = (double)passed_ns / (double)HPX_NS_PER_S;
    text_add(out, "\n  messages    ");
    text_add_count(out, messages);
    text_add(out, " (");
    text_add_count(out, (uint64_t)((double)messages / seconds));
    text_addf(out, "/s, %.1f MB) in %.1f s", (double)view_load(&v->feed->bytes) / 1e6, seconds);
}

bool view_summary(const view *v, uint64_t now_ns, text *out)
{
    const uint64_t gaps = feed_gaps(v->feed);
    const uint64_t strange = view_load(&v->feed->strange);
    const uint64_t reconnects = view_reconnects(v);
    const bool has_messages = view_load(&v->feed->messages) > 0;
    text_addf(out, "\n  connection  %s\n              ", v->url);
    view_tls(v, out);
    text_addf(
        out,
        "\n              epoch %llu, %llu reconnects",
        (unsigned long long)feed_get_epoch(v->feed),
        (unsigned long long)view_reconnects(v));
    view_summary_messages(v, now_ns - v->start_ns, out);
    text_add(
        out, "\n  latency            p50       p90       p99     p99.9       max\n            ");
    view_latencies(out, v->feed, 10);
    text_add(out, "\n  gaps        ");
    text_add_count(out, gaps);
    if (strange > 0) {
        text_add(out, "\n  unknown     ");
        text_add_count(out, strange);
    }
    text_addf(
        out,
        "\n  result      %s\n",
        !has_messages    ? "FAILED: no messages came"
        : gaps > 0       ? "FAILED: updates are missing"
        : reconnects > 0 ? "FAILED: the connection was lost"
        : strange > 0    ? "FAILED: messages that were not understood"
                         : "ok");
    return has_messages && gaps == 0 && reconnects == 0 && strange == 0;
}

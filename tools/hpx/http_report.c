/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_report.c - what `hpx get` and its like tell about a request: verbose, JSON, progress.
 */
#include <stdio.h>
#include <unistd.h>

#include "cli.h"
#include "http.h"
#include "text.h"

#define HTTP_JSON_BYTES     4096
#define HTTP_PROGRESS_FROM  HPX_NS_PER_S /* shorter downloads show none */
#define HTTP_PROGRESS_EVERY (HPX_NS_PER_S / 10)

static const char *http_version_text(hpx_http_version version)
{
    return version == HPX_HTTP_2 ? "HTTP/2" : "HTTP/1.1";
}

/* Bytes of a peer on a terminal: what is not printable becomes a dot. */
static void http_print_safe(hpx_span bytes)
{
    for (size_t i = 0; i < bytes.size; i++) {
        const uint8_t byte = bytes.data[i];
        fputc(byte >= 0x20 && byte != 0x7F ? byte : '.', stderr);
    }
}

void http_show_head(const hpx_http_event *event)
{
    fflush(stdout);
    fprintf(stderr, "< %d\n", event->status);
    for (uint32_t i = 0; i < event->header_count; i++) {
        fputs("< ", stderr);
        http_print_safe(event->headers[i].name);
        fputs(": ", stderr);
        http_print_safe(event->headers[i].value);
        fputc('\n', stderr);
    }
}

static void http_note(const char *stage, uint64_t ns, const char *fact)
{
    char buffer[32];
    text duration;
    text_init(&duration, buffer, sizeof(buffer));
    text_add_duration(&duration, ns);
    fprintf(stderr, "* %-10s%10s  %s\n", stage, duration.data, fact);
}

void http_show_info(const hpx_http_event *end)
{
    const hpx_http_info *info = end->info;
    char fact[160];
    fflush(stdout);
    if (info->queue_ns != 0) {
        http_note("queue", info->queue_ns, "");
    }
    if (info->reused) {
        snprintf(fact, sizeof(fact), "%s, connection reused", info->peer_address);
        http_note("connect", 0, fact);
    } else if (info->connect_ns != 0) {
        http_note("resolve", info->resolve_ns, "");
        http_note("connect", info->connect_ns, info->peer_address);
    }
    if (info->is_tls) {
        snprintf(
            fact,
            sizeof(fact),
            "%s %s, %s%s",
            info->tls_version,
            info->tls_cipher,
            info->tls_verified ? "certificate verified" : "certificate NOT verified",
            info->tls_resumed ? ", resumed" : "");
        http_note("tls", info->tls_ns, fact);
    }
    if (info->version != HPX_HTTP_ANY) {
        http_note("send", info->send_ns, http_version_text(info->version));
        http_note("wait", info->wait_ns, "until the first byte");
        snprintf(
            fact,
            sizeof(fact),
            "%llu bytes, %llu decoded",
            (unsigned long long)info->response_bytes,
            (unsigned long long)info->body_bytes);
        http_note("receive", info->receive_ns, fact);
    }
    snprintf(
        fact,
        sizeof(fact),
        "%s%s%s",
        hpx_http_outcome_name(end->outcome),
        info->attempts > 1 ? ", tried again" : "",
        info->redirects > 0 ? ", redirected" : "");
    http_note("total", info->total_ns, fact);
}

static void http_json_member(text *line, const char *name, uint64_t value)
{
    text_addf(line, "\"%s\":%llu,", name, (unsigned long long)value);
}

static void http_json_string(text *line, const char *name, const char *value)
{
    text_addf(line, "\"%s\":", name);
    text_add_json(line, value, hpx_span_of(value).size);
    text_add(line, ",");
}

static void http_json_bool(text *line, const char *name, bool value)
{
    text_addf(line, "\"%s\":%s,", name, value ? "true" : "false");
}

static void http_json_times(text *line, const hpx_http_info *info)
{
    text_add(line, "\"times_ns\":{");
    http_json_member(line, "queue", info->queue_ns);
    http_json_member(line, "resolve", info->resolve_ns);
    http_json_member(line, "connect", info->connect_ns);
    http_json_member(line, "tls", info->tls_ns);
    http_json_member(line, "send", info->send_ns);
    http_json_member(line, "wait", info->wait_ns);
    http_json_member(line, "receive", info->receive_ns);
    text_addf(line, "\"total\":%llu}", (unsigned long long)info->total_ns);
}

void http_write_json(const char *url, const hpx_http_event *end)
{
    char buffer[HTTP_JSON_BYTES];
    text line;
    const hpx_http_info *info = end->info;
    text_init(&line, buffer, sizeof(buffer));
    text_add(&line, "{");
    http_json_string(&line, "url", url);
    http_json_string(&line, "outcome", hpx_http_outcome_name(end->outcome));
    http_json_member(&line, "status", (uint64_t)end->status);
    http_json_string(&line, "processed", hpx_http_processed_name(end->processed));
    if (end->error->status != HPX_OK) {
        http_json_string(&line, "error", hpx_status_name(end->error->status));
        http_json_string(&line, "stage", hpx_stage_name(end->error->stage));
        http_json_string(&line, "detail", end->error->detail);
    }
    if (info->version != HPX_HTTP_ANY) {
        http_json_string(&line, "version", http_version_text(info->version));
        http_json_string(&line, "peer", info->peer_address);
        http_json_bool(&line, "reused", info->reused);
    }
    if (info->tls_version[0] != '\0') {
        http_json_string(&line, "tls_version", info->tls_version);
        http_json_string(&line, "tls_cipher", info->tls_cipher);
        http_json_bool(&line, "tls_verified", info->tls_verified);
        http_json_bool(&line, "tls_resumed", info->tls_resumed);
    }
    http_json_member(&line, "attempts", info->attempts);
    http_json_member(&line, "redirects", info->redirects);
    http_json_member(&line, "request_bytes", info->request_bytes);
    http_json_member(&line, "response_bytes", info->response_bytes);
    http_json_member(&line, "body_bytes", info->body_bytes);
    http_json_times(&line, info);
    text_add(&line, "}\n");
    fwrite(line.data, 1, line.size, stdout);
}

/* ---- Progress -------------------------------------------------------------------------------- */

void http_progress_start(http_progress *progress, bool wanted)
{
    *progress = (http_progress){
        .enabled = wanted && isatty(STDERR_FILENO) == 1,
        .start_ns = hpx_clock_now_ns(),
    };
}

static void http_progress_draw(http_progress *progress, uint64_t now_ns)
{
    const double megabytes = (double)progress->bytes / 1e6;
    const double seconds = (double)(now_ns - progress->start_ns) / 1e9;
    progress->is_drawn = true;
    progress->drawn_ns = now_ns;
    if (progress->total_bytes != 0) {
        fprintf(
            stderr,
            "\r%.1f of %.1f MB, %.0f %%, %.1f MB/s \033[K",
            megabytes,
            (double)progress->total_bytes / 1e6,
            100.0 * (double)progress->bytes / (double)progress->total_bytes,
            megabytes / seconds);
    } else {
        fprintf(stderr, "\r%.1f MB, %.1f MB/s \033[K", megabytes, megabytes / seconds);
    }
}

void http_progress_add(http_progress *progress, uint64_t bytes)
{
    progress->bytes += bytes;
    if (!progress->enabled) {
        return;
    }
    const uint64_t now_ns = hpx_clock_now_ns();
    if (now_ns - progress->start_ns >= HTTP_PROGRESS_FROM &&
        now_ns - progress->drawn_ns >= HTTP_PROGRESS_EVERY) {
        http_progress_draw(progress, now_ns);
    }
}

void http_progress_end(http_progress *progress)
{
    if (progress->is_drawn) {
        http_progress_draw(progress, hpx_clock_now_ns());
        fputc('\n', stderr);
        progress->is_drawn = false;
    }
}

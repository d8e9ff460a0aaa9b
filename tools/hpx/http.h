/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - `hpx get`, `post`, `put`, `delete`, `head`: their options.
 */
#ifndef HPX_TOOL_HTTP_H
#define HPX_TOOL_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include <hpx/hpx.h>

#define HTTP_HEADERS_MAX 64
#define HTTP_RESOLVE_MAX 16
#define HTTP_URLS_MAX    256

typedef struct http_options {
    const char *command; /* "get" */
    const char *method;  /* "GET" */
    const char *urls[HTTP_URLS_MAX];
    uint32_t url_count;
    const char *outputs[HTTP_URLS_MAX]; /* the first -o belongs to the first URL, and so on */
    uint32_t output_count;
    hpx_http_version version;
    hpx_http_header headers[HTTP_HEADERS_MAX];
    uint32_t header_count;
    const char *resolve[HTTP_RESOLVE_MAX];
    uint32_t resolve_count;
    const char *data;      /* -d */
    const char *data_file; /* --data-file */
    const char *ca_file;
    bool insecure;
    bool compressed;
    bool fail; /* a status of 400 or more is a failure */
    bool verbose;
    bool write_json;
    uint32_t redirects_max;
    uint64_t timeout_ns; /* HPX_NEVER: none */
    uint64_t connect_timeout_ns;
} http_options;

/* True: run. False: `code` is the exit code. */
bool http_parse_options(http_options *out, const char *method, int argc, char **argv, int *code);

/* ---- http_report.c: what is told about a request ----------------------------------------------
 */

/* -v: the head of the response, on stderr. */
void http_show_head(const hpx_http_event *event);

/* -v: stages and their times, on stderr. */
void http_show_info(const hpx_http_event *end);

/* -w json: one line on stdout. */
void http_write_json(const char *url, const hpx_http_event *end);

/* A line on a terminal that is drawn again while a long download goes on. */
typedef struct http_progress {
    bool enabled;
    bool is_drawn;
    uint64_t start_ns;
    uint64_t drawn_ns;
    uint64_t bytes;
    uint64_t total_bytes; /* 0: not known */
} http_progress;

void http_progress_start(http_progress *progress, bool wanted);
void http_progress_add(http_progress *progress, uint64_t bytes);
void http_progress_end(http_progress *progress);

#endif /* HPX_TOOL_HTTP_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - `hpx get`, `post`, `put`, `delete`, `head`: an HTTP client for the terminal.
 *
 * Threads   The main thread has a port and waits with poll(2) for events and Ctrl-C; the engine's
 *           one shard thread does the rest, and reads the file of --data-file.
 */
#include "http.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "commands.h"

#define HTTP_STDIN_BYTES_MAX (256u << 20)

typedef struct http_client {
    const http_options *options;
    hpx_tls_context *tls;
    hpx_engine *engine;
    hpx_port *port;
    hpx_http_client *client;
    uint8_t *stdin_bytes; /* --data-file - */
    size_t stdin_size;
    int file;            /* --data-file, or -1 */
    uint64_t file_bytes; /* HPX_HTTP_SIZE_UNKNOWN: not a regular file */
    FILE *out;           /* of the present URL */
    http_progress progress;
    bool is_over; /* END came */
    bool output_failed;
    int code; /* of the first failure */
} http_client;

static void http_fail(http_client *http, int code)
{
    if (http->code == CLI_EXIT_OK) {
        http->code = code;
    }
}

/* ---- Body ------------------------------------------------------------------------------------ */

/* On the shard's thread. A file is read in pieces; it may be larger than memory. */
static int http_pull(void *user, uint8_t *to, size_t size)
{
    const http_client *http = user;
    ssize_t got;
    do {
        got = read(http->file, to, size);
    } while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : (int)got;
}

static bool http_read_stdin(http_client *http)
{
    size_t capacity = 0;
    for (;;) {
        if (http->stdin_size == capacity) {
            capacity = capacity == 0 ? 65536 : 2 * capacity;
            uint8_t *grown =
                capacity > HTTP_STDIN_BYTES_MAX ? NULL : realloc(http->stdin_bytes, capacity);
            if (grown == NULL) {
                cli_error("stdin: more than %u MiB", HTTP_STDIN_BYTES_MAX >> 20);
                return false;
            }
            http->stdin_bytes = grown;
        }
        const ssize_t got =
            read(STDIN_FILENO, http->stdin_bytes + http->stdin_size, capacity - http->stdin_size);
        if (got == 0) {
            return true;
        }
        if (got < 0 && errno != EINTR) {
            cli_error("stdin: %s", cli_errno_text(errno));
            return false;
        }
        http->stdin_size += got > 0 ? (size_t)got : 0;
    }
}

/* --data-file, for each URL anew. */
static bool http_open_file(http_client *http)
{
    const char *name = http->options->data_file;
    struct stat facts;
    http->file = open(name, O_RDONLY | O_CLOEXEC);
    if (http->file < 0 || fstat(http->file, &facts) != 0) {
        cli_error("%s: %s", name, cli_errno_text(errno));
        return false;
    }
    if (!S_ISREG(facts.st_mode)) { /* reading a pipe could hold up the shard */
        cli_error("%s: not a regular file; for a pipe use --data-file -", name);
        return false;
    }
    http->file_bytes = (uint64_t)facts.st_size;
    return true;
}

static bool http_has_header(const http_options *options, const char *name)
{
    for (uint32_t i = 0; i < options->header_count; i++) {
        const hpx_span given = options->headers[i].name;
        if (given.size == strlen(name) &&
            strncasecmp((const char *)given.data, name, given.size) == 0) {
            return true;
        }
    }
    return false;
}

static const char *http_content_type(const char *data)
{
    while (*data == ' ' || *data == '\n' || *data == '\t' || *data == '\r') {
        data++;
    }
    return *data == '{' || *data == '[' ? "application/json" : "application/x-www-form-urlencoded";
}

static bool http_fill_body(http_client *http, hpx_http_request *request)
{
    const http_options *options = http->options;
    if (options->data != NULL) {
        request->body = hpx_span_of(options->data);
    } else if (http->stdin_bytes != NULL) {
        request->body = (hpx_span){.data = http->stdin_bytes, .size = http->stdin_size};
    } else if (options->data_file != NULL) {
        if (!http_open_file(http)) {
            return false;
        }
        request->pull = http_pull;
        request->pull_user = http;
        request->body_bytes = http->file_bytes;
    }
    return true;
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void http_on_head(http_client *http, const hpx_http_event *event)
{
    if (http->options->verbose) {
        http_show_head(event);
    }
    for (uint32_t i = 0; i < event->header_count; i++) {
        const hpx_http_header *header = &event->headers[i];
        char digits[24] = {0};
        if (header->name.size == 14 && header->value.size < sizeof(digits) &&
            strncasecmp((const char *)header->name.data, "content-length", 14) == 0) {
            memcpy(digits, header->value.data, header->value.size);
            http->progress.total_bytes = strtoull(digits, NULL, 10);
        }
    }
    if (http->options->fail && event->status >= 400) {
        cli_error("the server answered %d", event->status);
        http_fail(http, CLI_EXIT_STATUS);
    }
}

static void http_on_body(http_client *http, const hpx_http_event *event)
{
    http_progress_add(&http->progress, event->body.size);
    if (http->output_failed) {
        return;
    }
    if (fwrite(event->body.data, 1, event->body.size, http->out) != event->body.size) {
        http->output_failed = true;
        if (http->out != stdout) { /* of stdout cli_finish() tells */
            cli_error("output: %s", cli_errno_text(errno));
            http_fail(http, CLI_EXIT_FAILED);
        }
        (void)hpx_http_cancel(http->client, event->id);
    }
}

static void http_on_end(http_client *http, const char *url, const hpx_http_event *event)
{
    http->is_over = true;
    http_progress_end(&http->progress);
    if (http->options->verbose) {
        http_show_info(event);
    }
    if (http->options->write_json) {
        http_write_json(url, event);
    }
    if (event->outcome == HPX_HTTP_DONE || http->output_failed) {
        return;
    }
    const char *cause = event->error->detail[0] != '\0' ? event->error->detail
                                                        : hpx_status_text(event->error->status);
    cli_error(
        "%s: %s (processed: %s)",
        hpx_stage_name(event->error->stage),
        cause,
        hpx_http_processed_name(event->processed));
    http_fail(http, event->outcome == HPX_HTTP_TIMEOUT ? CLI_EXIT_TIMEOUT : CLI_EXIT_FAILED);
}

static void http_wait(http_client *http)
{
    struct pollfd fds[] = {
        {.fd = hpx_http_fd(http->client), .events = POLLIN},
        {.fd = cli_stopping() ? -1 : cli_stop_fd(), .events = POLLIN},
    };
    (void)poll(fds, CLI_COUNT_OF(fds), -1);
}

static void http_loop(http_client *http, const char *url, hpx_http_id id)
{
    bool is_cancelled = false;
    http->is_over = false;
    while (!http->is_over) {
        hpx_http_event event;
        while (!http->is_over && hpx_http_next(http->client, &event) == 1) {
            if (event.kind == HPX_HTTP_EVENT_HEADERS) {
                http_on_head(http, &event);
            } else if (event.kind == HPX_HTTP_EVENT_BODY) {
                http_on_body(http, &event);
            } else {
                http_on_end(http, url, &event);
            }
        }
        if (http->is_over) {
            return;
        }
        if (cli_stopping() && !is_cancelled) {
            is_cancelled = true;
            (void)hpx_http_cancel(http->client, id);
        }
        http_wait(http);
    }
}

/* ---- One URL --------------------------------------------------------------------------------- */

static bool http_open_output(http_client *http, uint32_t index)
{
    http->out = stdout;
    http->output_failed = false;
    if (index >= http->options->output_count) {
        return true;
    }
    const char *name = http->options->outputs[index];
    http->out = fopen(name, "wbe");
    if (http->out == NULL) {
        cli_error("%s: %s", name, cli_errno_text(errno));
        http_fail(http, CLI_EXIT_FAILED);
        return false;
    }
    return true;
}

static void http_close_output(http_client *http)
{
    if (http->out != NULL && http->out != stdout && fclose(http->out) != 0) {
        cli_error("output: %s", cli_errno_text(errno));
        http_fail(http, CLI_EXIT_FAILED);
    }
    http->out = NULL;
}

static void http_send(http_client *http, uint32_t index)
{
    const http_options *options = http->options;
    hpx_http_header headers[HTTP_HEADERS_MAX + 1];
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    memcpy(headers, options->headers, sizeof(options->headers));
    request.url = options->urls[index];
    request.method = options->method;
    request.headers = headers;
    request.header_count = options->header_count;
    request.version = options->version;
    request.tls = http->tls;
    request.flags = options->compressed ? HPX_HTTP_DECODE : 0;
    request.timeout_ns = options->timeout_ns;
    request.connect_timeout_ns = options->connect_timeout_ns;
    if (options->insecure) {
        hpx_http_request_set_insecure_no_verify(&request);
    }
    if (options->data != NULL && !http_has_header(options, "content-type")) {
        headers[request.header_count++] =
            hpx_http_header_of("Content-Type", http_content_type(options->data));
    }
    hpx_error error = {0};
    hpx_http_id id = 0;
    if (!http_fill_body(http, &request)) {
        http_fail(http, CLI_EXIT_FAILED);
        return;
    }
    const hpx_status status = hpx_http_send(http->client, &request, &id, &error);
    if (status != HPX_OK) {
        cli_report(&error);
        const bool is_usage = status == HPX_E_URL || status == HPX_E_INVALID;
        http_fail(http, is_usage ? CLI_EXIT_USAGE : CLI_EXIT_FAILED);
        return;
    }
    const bool to_terminal = http->out == stdout && isatty(STDOUT_FILENO) == 1;
    http_progress_start(&http->progress, !to_terminal);
    http_loop(http, options->urls[index], id);
}

static void http_run(http_client *http)
{
    for (uint32_t i = 0; i < http->options->url_count && !cli_stopping(); i++) {
        if (http_open_output(http, i)) {
            http_send(http, i);
        }
        http_close_output(http);
        if (http->file >= 0) {
            close(http->file);
            http->file = -1;
        }
        if (!cli_flush()) {
            return; /* nobody reads stdout any more */
        }
    }
}

static hpx_status http_open(http_client *http, hpx_error *error)
{
    const http_options *options = http->options;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.wait_mode = HPX_WAIT_SLEEP;
    hpx_status status = hpx_engine_new(&http->engine, &config, error);
    if (status == HPX_OK) {
        status = hpx_engine_start(http->engine, error);
    }
    if (status == HPX_OK) {
        status = hpx_port_open(&http->port, http->engine, NULL, error);
    }
    if (status == HPX_OK && options->ca_file != NULL) {
        hpx_tls_config tls_config = HPX_TLS_CONFIG_INIT;
        tls_config.ca_file = options->ca_file;
        status = hpx_tls_client_context_new(&http->tls, &tls_config, error);
    }
    if (status == HPX_OK) {
        hpx_http_config http_config = HPX_HTTP_CONFIG_INIT;
        http_config.resolve = options->resolve;
        http_config.resolve_count = options->resolve_count;
        http_config.redirects_max = options->redirects_max;
        http_config.requests_max = 1;
        status = hpx_http_client_open(http->port, &http_config, &http->client, error);
    }
    return status;
}

static int http_command(const char *method, int argc, char **argv)
{
    http_options options;
    int code = CLI_EXIT_OK;
    if (!http_parse_options(&options, method, argc, argv, &code)) {
        return code;
    }
    http_client http = {.options = &options, .file = -1};
    cli_catch_stop(NULL);
    hpx_error error = {0};
    const bool reads_stdin = options.data_file != NULL && strcmp(options.data_file, "-") == 0;
    if (reads_stdin && !http_read_stdin(&http)) {
        http_fail(&http, CLI_EXIT_FAILED);
    } else {
        const hpx_status status = http_open(&http, &error);
        if (status == HPX_OK) {
            http_run(&http);
        } else {
            cli_report(&error);
            http_fail(&http, status == HPX_E_INVALID ? CLI_EXIT_USAGE : CLI_EXIT_FAILED);
        }
    }
    hpx_http_client_release(http.client);
    hpx_port_close(http.port);
    if (http.engine != NULL) {
        hpx_engine_stop_wait(http.engine, HPX_NS_PER_S);
    }
    hpx_engine_free(http.engine);
    hpx_tls_context_release(http.tls);
    free(http.stdin_bytes);
    return http.code;
}

int command_get(int argc, char **argv)
{
    return http_command("GET", argc, argv);
}

int command_post(int argc, char **argv)
{
    return http_command("POST", argc, argv);
}

int command_put(int argc, char **argv)
{
    return http_command("PUT", argc, argv);
}

int command_delete(int argc, char **argv)
{
    return http_command("DELETE", argc, argv);
}

int command_head(int argc, char **argv)
{
    return http_command("HEAD", argc, argv);
}

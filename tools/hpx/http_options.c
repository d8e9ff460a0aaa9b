/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_options.c - the command line of `hpx get`, `post`, `put`, `delete` and `head`.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "http.h"

static const char http_help[] =
    "usage: hpx get|post|put|delete|head URL... [OPTIONS]\n\n"
    "An HTTP client for the terminal: writes the body of the response to stdout. Several URLs\n"
    "are asked for one after the other and share connections. https speaks HTTP/2 where the\n"
    "server does, otherwise HTTP/1.1.\n\n"
    "  --http1.1                HTTP/1.1 only\n"
    "  --http2                  HTTP/2 over https, or fail\n"
    "  --http2-prior-knowledge  HTTP/2 without asking, over http too\n"
    "  -H 'Name: value'         add this header; may be given again\n"
    "  -d TEXT                  the body; JSON if it begins with { or [, else a form\n"
    "                           (Content-Type says which, unless -H does)\n"
    "  --data-file FILE         the body from a file, sent as it is read; - is stdin\n"
    "  -o FILE                  write the body there; the first -o goes with the first URL\n"
    "  -L, --location           follow redirects, 10 at most; credentials stay with their origin\n"
    "  --compressed             ask for gzip or deflate, and write the decoded body\n"
    "  --fail                   exit 5 if the status is 400 or more\n"
    "  --timeout S              for each URL, everything together (default 30; 0: none)\n"
    "  --connect-timeout S      of that, until connected (default 10)\n"
    "  --resolve HOST:PORT:ADDR use this address for that host; may be given again\n"
    "  --cacert FILE            trust these roots (PEM) instead of the system's\n"
    "  -k, --insecure           accept any certificate\n"
    "  -w json                  after each body, one line of JSON on stdout: outcome, status,\n"
    "                           bytes, time of every stage in nanoseconds\n"
    "  -v, --verbose            on stderr: status, headers, stages and their times, TLS\n\n"
    "Exit status: 0 a response came, whatever its status; 1 none did, or it was cut short: one\n"
    "line on stderr names the stage and the cause, and whether the server may have acted on it;\n"
    "2 wrong usage; 3 a timeout; 5 see --fail. With several URLs the first failure counts.\n";

enum {
    HTTP_1_1 = 256,
    HTTP_2,
    HTTP_2_PRIOR,
    HTTP_DATA_FILE,
    HTTP_COMPRESSED,
    HTTP_FAIL,
    HTTP_TIMEOUT,
    HTTP_CONNECT_TIMEOUT,
    HTTP_RESOLVE,
    HTTP_CACERT,
};

static const struct option http_longs[] = {
    {"http1.1", no_argument, NULL, HTTP_1_1},
    {"http2", no_argument, NULL, HTTP_2},
    {"http2-prior-knowledge", no_argument, NULL, HTTP_2_PRIOR},
    {"header", required_argument, NULL, 'H'},
    {"data", required_argument, NULL, 'd'},
    {"data-file", required_argument, NULL, HTTP_DATA_FILE},
    {"output", required_argument, NULL, 'o'},
    {"location", no_argument, NULL, 'L'},
    {"compressed", no_argument, NULL, HTTP_COMPRESSED},
    {"fail", no_argument, NULL, HTTP_FAIL},
    {"timeout", required_argument, NULL, HTTP_TIMEOUT},
    {"connect-timeout", required_argument, NULL, HTTP_CONNECT_TIMEOUT},
    {"resolve", required_argument, NULL, HTTP_RESOLVE},
    {"cacert", required_argument, NULL, HTTP_CACERT},
    {"insecure", no_argument, NULL, 'k'},
    {"write-out", required_argument, NULL, 'w'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool http_too_many(const http_options *out, const char *option, uint32_t max)
{
    cli_usage(out->command, "--%s may be given %u times at most", option, max);
    return false;
}

/* "Name: value" */
static bool http_take_header(http_options *out)
{
    if (out->header_count == HTTP_HEADERS_MAX) {
        return http_too_many(out, "header", HTTP_HEADERS_MAX);
    }
    const char *colon = strchr(optarg, ':');
    if (colon == NULL || colon == optarg) {
        cli_usage(out->command, "--header '%s' is not 'Name: value'", optarg);
        return false;
    }
    const char *value = colon + 1;
    while (*value == ' ') {
        value++;
    }
    size_t bytes = strlen(value);
    while (bytes != 0 && value[bytes - 1] == ' ') {
        bytes--;
    }
    out->headers[out->header_count++] = (hpx_http_header){
        .name = {.data = (const uint8_t *)optarg, .size = (size_t)(colon - optarg)},
        .value = {.data = (const uint8_t *)value, .size = bytes}};
    return true;
}

static bool http_take_timeout(http_options *out, const char *option, uint64_t *ns)
{
    if (strcmp(optarg, "0") == 0) {
        *ns = HPX_NEVER;
        return true;
    }
    return cli_seconds(out->command, option, optarg, ns);
}

static bool http_take_value(http_options *out, int option)
{
    switch (option) {
    case 'H':
        return http_take_header(out);
    case 'd':
        out->data = optarg;
        return true;
    case HTTP_DATA_FILE:
        out->data_file = optarg;
        return true;
    case 'o':
        if (out->output_count == HTTP_URLS_MAX) {
            return http_too_many(out, "output", HTTP_URLS_MAX);
        }
        out->outputs[out->output_count++] = optarg;
        return true;
    case HTTP_TIMEOUT:
        return http_take_timeout(out, "timeout", &out->timeout_ns);
    case HTTP_CONNECT_TIMEOUT:
        return http_take_timeout(out, "connect-timeout", &out->connect_timeout_ns);
    case HTTP_RESOLVE:
        if (out->resolve_count == HTTP_RESOLVE_MAX) {
            return http_too_many(out, "resolve", HTTP_RESOLVE_MAX);
        }
        out->resolve[out->resolve_count++] = optarg;
        return true;
    case HTTP_CACERT:
        out->ca_file = optarg;
        return true;
    case 'w':
        if (strcmp(optarg, "json") != 0) {
            cli_usage(out->command, "--write-out '%s': only json is known", optarg);
            return false;
        }
        out->write_json = true;
        return true;
    default:
        return false; /* printed by cli_option() */
    }
}

static bool http_take(http_options *out, int option)
{
    switch (option) {
    case HTTP_1_1:
        out->version = HPX_HTTP_1_1;
        return true;
    case HTTP_2:
        out->version = HPX_HTTP_2;
        return true;
    case HTTP_2_PRIOR:
        out->version = HPX_HTTP_2_PRIOR_KNOWLEDGE;
        return true;
    case 'L':
        out->redirects_max = 10;
        return true;
    case HTTP_COMPRESSED:
        out->compressed = true;
        return true;
    case HTTP_FAIL:
        out->fail = true;
        return true;
    case 'k':
        out->insecure = true;
        return true;
    case 'v':
        out->verbose = true;
        return true;
    default:
        return http_take_value(out, option);
    }
}

static bool http_check(http_options *out, int argc, char **argv)
{
    if (optind == argc) {
        cli_usage(out->command, "a URL is missing: http://HOST[:PORT][/PATH] or https://...");
        return false;
    }
    if (argc - optind > HTTP_URLS_MAX) {
        cli_usage(out->command, "more than %d URLs", HTTP_URLS_MAX);
        return false;
    }
    for (int i = optind; i < argc; i++) {
        out->urls[out->url_count++] = argv[i];
    }
    if (out->data != NULL && out->data_file != NULL) {
        cli_usage(out->command, "--data and --data-file exclude each other");
        return false;
    }
    if (out->output_count > out->url_count) {
        cli_usage(out->command, "more --output than URLs");
        return false;
    }
    return true;
}

bool http_parse_options(http_options *out, const char *method, int argc, char **argv, int *code)
{
    *out = (http_options){.command = argv[0], .method = method};
    *code = CLI_EXIT_USAGE;
    int option;
    while ((option = cli_option(argc, argv, ":hvkLH:d:o:w:", http_longs)) != CLI_OPTION_END) {
        if (option == 'h') {
            fputs(http_help, stdout);
            *code = CLI_EXIT_OK;
            return false;
        }
        if (!http_take(out, option)) {
            return false;
        }
    }
    return http_check(out, argc, argv);
}

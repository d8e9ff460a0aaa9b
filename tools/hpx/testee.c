/* SPDX-License-Identifier: Apache-2.0 */
/*
 * testee.c - `hpx ws-testee`: client side of the Autobahn test suite's fuzzing server.
 *
 * Reads the number of cases, runs each as one connection that echoes every message, and asks the
 * server to write its report. One connection at a time, inline on the main thread's shard: no
 * message can be dropped on the way, as a stream would do when it is full.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hpx/hpx.h>

#include "cli.h"
#include "commands.h"
#include "polled.h"

#define TESTEE_URL_BYTES     1024
#define TESTEE_CASES_MAX     100000
#define TESTEE_CASE_NS       (120 * HPX_NS_PER_S)
#define TESTEE_TURN_NS       (100 * HPX_NS_PER_MS)
#define TESTEE_MESSAGE_BYTES (UINT64_C(64) << 20)

static const char testee_help[] =
    "usage: hpx ws-testee --url ws://HOST:PORT [OPTIONS]\n\n"
    "Runs every case of an Autobahn fuzzing server (wstest -m fuzzingserver) and asks it for\n"
    "its report. Exit status 0 means that all cases ran; the server's report has the verdicts.\n\n"
    "  --url URL     of the fuzzing server, without a path\n"
    "  --agent NAME  name in the report (default hpx)\n"
    "  --hot         receive mode hot\n"
    "  --quiet       no progress on stderr\n";

typedef struct testee {
    const char *url;
    const char *agent;
    bool hot;
    bool quiet;
    polled engine;
} testee;

/* One connection. */
typedef struct testee_run {
    bool keeps_text; /* else: echoes */
    char text[32];   /* first message, if keeps_text */
    bool is_closed;
    bool was_connected;
    hpx_error error; /* once closed */
} testee_run;

static void testee_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    testee_run *run = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        run->was_connected = true;
        break;
    case HPX_EVENT_MESSAGE:
        if (run->keeps_text) {
            snprintf(
                run->text,
                sizeof(run->text),
                "%.*s",
                (int)event->payload.size,
                (const char *)event->payload.data);
        } else if (hpx_conn_send(conn, event->message_kind, event->payload) == HPX_E_AGAIN) {
            hpx_conn_close(conn, 1011, hpx_span_of("send queue full"));
        }
        break;
    case HPX_EVENT_CLOSED:
        run->error = *event->error;
        run->is_closed = true;
        break;
    case HPX_EVENT_WRITABLE:
    case HPX_EVENT_DISCONNECTED:
        break;
    }
}

/* Connect to URL + path and stay until the connection ends. False: stop, printed. */
static bool testee_connect(testee *t, testee_run *run, const char *path)
{
    char url[TESTEE_URL_BYTES];
    const size_t base = strlen(t->url);
    const bool has_slash = base > 0 && t->url[base - 1] == '/';
    const int size =
        snprintf(url, sizeof(url), "%.*s%s", (int)base - (has_slash ? 1 : 0), t->url, path);
    if (size < 0 || (size_t)size >= sizeof(url)) {
        cli_error("the URL is too long");
        return false;
    }
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.on_event = testee_on_event;
    config.user = run;
    config.message_bytes_max = TESTEE_MESSAGE_BYTES;
    config.send_queue_bytes_max = 2 * TESTEE_MESSAGE_BYTES;
    config.ping_interval_ns = HPX_NEVER; /* only the case's own frames */
    config.receive_mode = t->hot ? HPX_RECEIVE_HOT : HPX_RECEIVE_MULTISHOT;
    hpx_error error = {0};
    hpx_conn *conn = NULL;
    if (hpx_shard_connect(t->engine.shard, &config, &conn, &error) != HPX_OK) {
        cli_report(&error);
        return false;
    }
    const uint64_t deadline_ns = hpx_clock_now_ns() + TESTEE_CASE_NS;
    bool is_late = false;
    while (!run->is_closed) {
        if (!is_late && (cli_stopping() || hpx_clock_now_ns() > deadline_ns)) {
            is_late = true;
            hpx_conn_close(conn, 1001, hpx_span_of(""));
        }
        hpx_shard_poll_wait(t->engine.shard, TESTEE_TURN_NS);
    }
    if (!run->was_connected) {
        cli_report(&run->error);
        return false;
    }
    if (is_late) {
        cli_error("%s: %s", path, cli_stopping() ? "interrupted" : "no end after 120 s");
    }
    return !cli_stopping();
}

static bool testee_count(testee *t, uint32_t *count)
{
    testee_run run = {.keeps_text = true};
    if (!testee_connect(t, &run, "/getCaseCount")) {
        return false;
    }
    char *end = NULL;
    const unsigned long number = strtoul(run.text, &end, 10);
    if (end == run.text || *end != '\0' || number > TESTEE_CASES_MAX) {
        cli_error("/getCaseCount: '%s' is no number of cases", run.text);
        return false;
    }
    *count = (uint32_t)number;
    return true;
}

static bool testee_all(testee *t)
{
    uint32_t count = 0;
    if (!testee_count(t, &count)) {
        return false;
    }
    char path[TESTEE_URL_BYTES];
    for (uint32_t i = 1; i <= count; i++) {
        if (!t->quiet) {
            fprintf(stderr, "case %u of %u\n", i, count);
        }
        testee_run run = {0};
        snprintf(path, sizeof(path), "/runCase?case=%u&agent=%s", i, t->agent);
        if (!testee_connect(t, &run, path)) {
            return false;
        }
    }
    testee_run run = {0};
    snprintf(path, sizeof(path), "/updateReports?agent=%s", t->agent);
    if (!testee_connect(t, &run, path)) {
        return false;
    }
    if (!t->quiet) {
        fprintf(stderr, "%u cases run\n", count);
    }
    return true;
}

enum { TESTEE_URL = 256, TESTEE_AGENT, TESTEE_HOT, TESTEE_QUIET };

static const struct option testee_longs[] = {
    {"url", required_argument, NULL, TESTEE_URL},
    {"agent", required_argument, NULL, TESTEE_AGENT},
    {"hot", no_argument, NULL, TESTEE_HOT},
    {"quiet", no_argument, NULL, TESTEE_QUIET},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* True: run. False: `code` is the exit code. */
static bool testee_parse(testee *t, int argc, char **argv, int *code)
{
    int option;
    while ((option = cli_option(argc, argv, ":h", testee_longs)) != CLI_OPTION_END) {
        switch (option) {
        case TESTEE_URL:
            t->url = optarg;
            break;
        case TESTEE_AGENT:
            t->agent = optarg;
            break;
        case TESTEE_HOT:
            t->hot = true;
            break;
        case TESTEE_QUIET:
            t->quiet = true;
            break;
        case 'h':
            fputs(testee_help, stdout);
            *code = CLI_EXIT_OK;
            return false;
        default:
            *code = CLI_EXIT_USAGE;
            return false;
        }
    }
    *code = CLI_EXIT_USAGE;
    if (optind < argc) {
        cli_usage(argv[0], "unexpected '%s'", argv[optind]);
        return false;
    }
    if (t->url == NULL) {
        cli_usage(argv[0], "--url ws://HOST:PORT is missing");
        return false;
    }
    if (strspn(t->agent, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") !=
        strlen(t->agent)) {
        cli_usage(argv[0], "--agent is made of letters, digits, '-', '.' and '_'");
        return false;
    }
    return true;
}

int command_testee(int argc, char **argv)
{
    testee t = {.agent = "hpx"};
    int code = CLI_EXIT_OK;
    if (!testee_parse(&t, argc, argv, &code)) {
        return code;
    }
    hpx_error error = {0};
    const polled_config config = {.cpu = POLLED_CPU_NONE, .wait_mode = HPX_WAIT_SPIN_THEN_SLEEP};
    if (polled_open(&t.engine, &config, &error) != HPX_OK) {
        cli_report(&error);
        return CLI_EXIT_FAILED;
    }
    assert(t.engine.shard != NULL);
    cli_catch_stop(t.engine.shard);
    const bool is_done = testee_all(&t);
    cli_catch_stop(NULL);
    polled_close(&t.engine, HPX_NS_PER_S);
    return is_done ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

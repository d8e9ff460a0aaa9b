/* SPDX-License-Identifier: Apache-2.0 */
/*
 * echo.c - `hpx echo`: a WebSocket server that sends every message back.
 *
 * Threads   The main thread drives the shard; messages are answered inline, from the receive
 *           slot.
 */
#include <stdio.h>
#include <string.h>

#include <hpx/hpx.h>

#include "cli.h"
#include "commands.h"
#include "polled.h"

#define ECHO_TURN_NS         (100 * HPX_NS_PER_MS)
#define ECHO_CLOSE_NS        HPX_NS_PER_S
#define ECHO_QUEUE_BYTES_MIN (32u << 20)
#define ECHO_CODE_OVERLOAD   1013 /* "try again later": we do not queue for ever */

static const char echo_help[] =
    "usage: hpx echo --listen ADDR:PORT [OPTIONS]\n\n"
    "A WebSocket server that sends every message back, text as text and binary as binary.\n"
    "Prints 'listening on ADDR:PORT' once it accepts; port 0 means any free one.\n"
    "Ends on SIGINT or SIGTERM, after closing its connections. A client that does not read\n"
    "what it is sent is closed with 1013 once the send queue is full.\n\n"
    "  --listen ADDR:PORT   required; [::1]:0 for IPv6\n"
    "  --tls CERT KEY       serve wss:// with this certificate chain and key (PEM files)\n"
    "  --max-message BYTES  largest message accepted (default 16M; k, M, G are understood)\n"
    "  --cpu N              pin to this CPU\n"
    "  --hot                read sockets directly every turn: lower latency, few connections\n"
    "  --wait spin|sleep    spin: a whole core, lowest latency; sleep (default)\n";

typedef struct echo_options {
    const char *listen;
    const char *cert_file;
    const char *key_file;
    uint64_t message_bytes_max;
    uint32_t cpu;
    bool hot;
    hpx_wait_mode wait_mode;
} echo_options;

static void echo_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)user;
    if (event->kind != HPX_EVENT_MESSAGE) {
        return;
    }
    const hpx_status status = hpx_conn_send(conn, event->message_kind, event->payload);
    if (status == HPX_E_AGAIN || status == HPX_E_NO_MEMORY) {
        hpx_conn_close(conn, ECHO_CODE_OVERLOAD, hpx_span_of("send queue full"));
    }
}

static hpx_status echo_serve(polled *server, const echo_options *options, hpx_error *error)
{
    hpx_tls_context *tls = NULL;
    if (options->cert_file != NULL) {
        hpx_tls_config tls_config = HPX_TLS_CONFIG_INIT;
        tls_config.ticket_count = 2; /* clients that come back resume */
        tls_config.cert_file = options->cert_file;
        tls_config.key_file = options->key_file;
        const hpx_status loaded = hpx_tls_server_context_new(&tls, &tls_config, error);
        if (loaded != HPX_OK) {
            return loaded;
        }
    }
    const uint64_t queue = 2 * options->message_bytes_max;
    hpx_listen_config listen_config = HPX_LISTEN_CONFIG_INIT;
    listen_config.address = options->listen;
    listen_config.tls = tls;
    listen_config.on_event = echo_on_event;
    listen_config.message_bytes_max = options->message_bytes_max;
    listen_config.send_queue_bytes_max =
        queue > ECHO_QUEUE_BYTES_MIN ? queue : ECHO_QUEUE_BYTES_MIN;
    listen_config.receive_mode = options->hot ? HPX_RECEIVE_HOT : HPX_RECEIVE_MULTISHOT;
    char address[256];
    const hpx_status status =
        polled_listen(server, &listen_config, address, sizeof(address), error);
    hpx_tls_context_release(tls); /* the listener holds its own reference */
    if (status == HPX_OK) {
        printf("listening on %s\n", address);
    }
    return status;
}

static int echo_run(const echo_options *options)
{
    hpx_error error = {0};
    polled server;
    const polled_config config = {.cpu = options->cpu, .wait_mode = options->wait_mode};
    hpx_status status = polled_open(&server, &config, &error);
    if (status == HPX_OK) {
        cli_catch_stop(server.shard);
        status = echo_serve(&server, options, &error);
    }
    if (status != HPX_OK) {
        cli_report(&error);
        polled_close(&server, 0);
        return CLI_EXIT_FAILED;
    }
    cli_flush();
    while (!cli_stopping()) {
        hpx_shard_poll_wait(server.shard, ECHO_TURN_NS);
    }
    cli_catch_stop(NULL);
    polled_close(&server, ECHO_CLOSE_NS);
    return CLI_EXIT_OK;
}

enum { ECHO_LISTEN = 256, ECHO_TLS, ECHO_MAX_MESSAGE, ECHO_CPU, ECHO_HOT, ECHO_WAIT };

static const struct option echo_longs[] = {
    {"listen", required_argument, NULL, ECHO_LISTEN},
    {"tls", required_argument, NULL, ECHO_TLS},
    {"max-message", required_argument, NULL, ECHO_MAX_MESSAGE},
    {"cpu", required_argument, NULL, ECHO_CPU},
    {"hot", no_argument, NULL, ECHO_HOT},
    {"wait", required_argument, NULL, ECHO_WAIT},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* --tls takes two words: the second is the next one. */
static bool echo_take_tls(echo_options *options, int argc, char **argv)
{
    options->cert_file = optarg;
    if (optind >= argc || argv[optind][0] == '-') {
        cli_usage("echo", "--tls needs a certificate file and a key file");
        return false;
    }
    options->key_file = argv[optind++];
    return true;
}

static bool echo_take(echo_options *options, int option, int argc, char **argv)
{
    uint64_t number = 0;
    switch (option) {
    case ECHO_LISTEN:
        options->listen = optarg;
        return true;
    case ECHO_TLS:
        return echo_take_tls(options, argc, argv);
    case ECHO_MAX_MESSAGE:
        return cli_number(
            "echo", "max-message", optarg, 1, UINT64_C(1) << 30, &options->message_bytes_max);
    case ECHO_CPU:
        if (!cli_number("echo", "cpu", optarg, 0, 4095, &number)) {
            return false;
        }
        options->cpu = (uint32_t)number;
        return true;
    case ECHO_HOT:
        options->hot = true;
        return true;
    case ECHO_WAIT:
        options->wait_mode = strcmp(optarg, "spin") == 0 ? HPX_WAIT_SPIN : HPX_WAIT_SLEEP;
        if (strcmp(optarg, "spin") != 0 && strcmp(optarg, "sleep") != 0) {
            cli_usage("echo", "--wait is 'spin' or 'sleep', not '%s'", optarg);
            return false;
        }
        return true;
    default:
        return false; /* printed by cli_option() */
    }
}

int command_echo(int argc, char **argv)
{
    echo_options options = {
        .message_bytes_max = UINT64_C(16) << 20,
        .cpu = POLLED_CPU_NONE,
        .wait_mode = HPX_WAIT_SLEEP,
    };
    for (;;) {
        const int option = cli_option(argc, argv, ":h", echo_longs);
        if (option == CLI_OPTION_END) {
            break;
        }
        if (option == 'h') {
            fputs(echo_help, stdout);
            return CLI_EXIT_OK;
        }
        if (!echo_take(&options, option, argc, argv)) {
            return CLI_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        return cli_usage("echo", "unexpected '%s'", argv[optind]);
    }
    if (options.listen == NULL) {
        return cli_usage("echo", "--listen ADDR:PORT is missing");
    }
    return echo_run(&options);
}

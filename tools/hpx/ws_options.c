/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_options.c - the command line of `hpx ws`.
 */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "ws.h"

static const char ws_help[] =
    "usage: hpx ws URL [OPTIONS]\n\n"
    "A WebSocket client for the terminal: prints each text message as it is, followed by a\n"
    "newline, and each binary message as lower-case hex; sends each line of stdin as text.\n\n"
    "  --send TEXT              send this first; may be given again\n"
    "  --count N                exit 0 after N messages\n"
    "  --timeout S              give up after S seconds: exit 3 if not connected by then, or if\n"
    "                           --count was not reached; without --count exit 0\n"
    "  --linger S               see below (default 1)\n"
    "  --header 'Name: value'   add to the upgrade request; may be given again\n"
    "  --subprotocol NAME       offer; may be given again\n"
    "  --resolve HOST:PORT:ADDR use this address for that host; may be given again\n"
    "  --cacert FILE            trust these roots (PEM) instead of the system's\n"
    "  --insecure               accept any certificate\n"
    "  --max-message BYTES      largest message accepted (default 16M)\n"
    "  --reconnect              come back after a loss, with backoff; each time --send goes out\n"
    "                           again, and lifecycle events are shown on stderr\n"
    "  --hot                    spin, and read the socket directly: lowest latency\n"
    "  -v, --verbose            on stderr: stages and their times, TLS, peer, close\n\n"
    "With an exchange's dialect, answers meet their requests, and subscriptions survive losses:\n"
    "  --dialect NAME           json-rpc (the default if one of the next is given), or\n"
    "                           json-rpc:FILE, json:FILE: FILE has the settings as a JSON object,\n"
    "                           the members of hpx_json_rpc_config or hpx_json_config\n"
    "  --auth JSON|@FILE        authenticate on every connection: the params of json-rpc's\n"
    "                           request, or the message of json\n"
    "  --subscribe TOPIC        may be given again; each update is printed\n"
    "  --request JSON           sent once, with an id put in; may be given again; the answer is\n"
    "                           printed. Lines of stdin are requests, too\n"
    "A request that is not answered, or may have been lost with its connection, is told on stderr\n"
    "and never sent again; the exit status is then 1. Lifecycle events are shown on stderr; what\n"
    "the exchange says to the session is printed, heartbeats and acknowledgements are not.\n\n"
    "When it ends: Ctrl-C, or Ctrl-D on a terminal, closes the connection and exits 0. When\n"
    "stdin is a file or a pipe, its end does not close at once: with --count or --timeout hpx\n"
    "waits for those, otherwise until the peer was silent for --linger seconds, so that\n"
    "`echo hello | hpx ws URL` prints the answer and a feed keeps flowing.\n"
    "Exit status: see hpx --help. A close by the peer with 1000, 1001 or no code is 0, unless\n"
    "--count messages had not come yet (4); any other is 1.\n";

enum {
    WS_SEND = 256,
    WS_COUNT,
    WS_TIMEOUT,
    WS_LINGER,
    WS_HEADER,
    WS_SUBPROTOCOL,
    WS_RESOLVE,
    WS_CACERT,
    WS_INSECURE,
    WS_MAX_MESSAGE,
    WS_RECONNECT,
    WS_HOT,
    WS_DIALECT,
    WS_AUTH,
    WS_SUBSCRIBE,
    WS_REQUEST,
};

static const struct option ws_longs[] = {
    {"send", required_argument, NULL, WS_SEND},
    {"count", required_argument, NULL, WS_COUNT},
    {"timeout", required_argument, NULL, WS_TIMEOUT},
    {"linger", required_argument, NULL, WS_LINGER},
    {"header", required_argument, NULL, WS_HEADER},
    {"subprotocol", required_argument, NULL, WS_SUBPROTOCOL},
    {"resolve", required_argument, NULL, WS_RESOLVE},
    {"cacert", required_argument, NULL, WS_CACERT},
    {"insecure", no_argument, NULL, WS_INSECURE},
    {"max-message", required_argument, NULL, WS_MAX_MESSAGE},
    {"reconnect", no_argument, NULL, WS_RECONNECT},
    {"hot", no_argument, NULL, WS_HOT},
    {"dialect", required_argument, NULL, WS_DIALECT},
    {"auth", required_argument, NULL, WS_AUTH},
    {"subscribe", required_argument, NULL, WS_SUBSCRIBE},
    {"request", required_argument, NULL, WS_REQUEST},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool ws_append(const char *option, const char **list, uint32_t *count, uint32_t max)
{
    if (*count == max) {
        cli_usage("ws", "--%s may be given %u times at most", option, max);
        return false;
    }
    list[(*count)++] = optarg;
    return true;
}

static bool ws_take_list(ws_options *out, int option)
{
    switch (option) {
    case WS_SEND:
        return ws_append("send", out->sends, &out->send_count, WS_SENDS_MAX);
    case WS_HEADER:
        return ws_append("header", out->headers, &out->header_count, WS_HEADERS_MAX);
    case WS_SUBPROTOCOL:
        return ws_append(
            "subprotocol", out->subprotocols, &out->subprotocol_count, WS_SUBPROTOCOLS_MAX);
    case WS_SUBSCRIBE:
        return ws_append("subscribe", out->topics, &out->topic_count, WS_TOPICS_MAX);
    case WS_REQUEST:
        return ws_append("request", out->requests, &out->request_count, WS_REQUESTS_MAX);
    case WS_RESOLVE:
        return ws_append("resolve", out->resolve, &out->resolve_count, WS_RESOLVE_MAX);
    default:
        return false; /* printed by cli_option() */
    }
}

static bool ws_take(ws_options *out, int option)
{
    switch (option) {
    case WS_COUNT:
        return cli_number("ws", "count", optarg, 1, UINT64_MAX, &out->count);
    case WS_TIMEOUT:
        return cli_seconds("ws", "timeout", optarg, &out->timeout_ns);
    case WS_LINGER:
        return cli_seconds("ws", "linger", optarg, &out->linger_ns);
    case WS_MAX_MESSAGE:
        return cli_number(
            "ws", "max-message", optarg, 1, UINT64_C(1) << 30, &out->message_bytes_max);
    case WS_CACERT:
        out->ca_file = optarg;
        return true;
    case WS_INSECURE:
        out->insecure = true;
        return true;
    case WS_RECONNECT:
        out->reconnect = true;
        return true;
    case WS_HOT:
        out->hot = true;
        return true;
    case WS_DIALECT:
        out->dialect = optarg;
        return true;
    case WS_AUTH:
        out->auth = optarg;
        return true;
    case 'v':
        out->verbose = true;
        return true;
    default:
        return ws_take_list(out, option);
    }
}

bool ws_parse_options(ws_options *out, int argc, char **argv, int *code)
{
    *out = (ws_options){.linger_ns = HPX_NS_PER_S};
    *code = CLI_EXIT_USAGE;
    int option;
    while ((option = cli_option(argc, argv, ":hv", ws_longs)) != CLI_OPTION_END) {
        if (option == 'h') {
            fputs(ws_help, stdout);
            *code = CLI_EXIT_OK;
            return false;
        }
        if (!ws_take(out, option)) {
            return false;
        }
    }
    if (optind == argc) {
        cli_usage("ws", "a URL is missing: ws://HOST[:PORT][/PATH] or wss://...");
        return false;
    }
    if (out->dialect == NULL &&
        (out->auth != NULL || out->topic_count != 0 || out->request_count != 0)) {
        out->dialect = "json-rpc";
    }
    out->url = argv[optind];
    if (optind + 1 < argc) {
        cli_usage("ws", "unexpected '%s' after the URL", argv[optind + 1]);
        return false;
    }
    return true;
}

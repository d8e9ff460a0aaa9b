/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange_main.c - `hpx exchange`: options and main loop of the exchange simulator.
 *
 * Threads   The main thread is the shard's owner; there is no other.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hpx/hpx.h>

#include "certs.h"
#include "cli.h"
#include "commands.h"
#include "exchange.h"
#include "faults.h"

#define EXCHANGE_TURN_NS    (100 * HPX_NS_PER_MS)
#define EXCHANGE_REPORT_NS  (10 * HPX_NS_PER_S)
#define EXCHANGE_FAULTS_MAX 16u

static const char exchange_help[] =
    "usage: hpx exchange [OPTIONS]\n\n"
    "A local exchange to try things against: WebSocket over TLS with a certificate made on the\n"
    "spot, JSON-RPC 2.0, and a simulated market. Prints 'listening on ADDR:PORT', then one line\n"
    "with the URL and the CA file. Ends on SIGINT or SIGTERM.\n\n"
    "  --listen ADDR:PORT  default 127.0.0.1:9443; port 0: any free one\n"
    "  --rest ADDR:PORT    also serve REST there, over HTTP/1.1 and HTTP/2; port 0: any free one\n"
    "  --rest-limit N      requests per second to it, over: 429 (default: no limit)\n"
    "  --plain             ws:// and http:// without TLS\n"
    "  --dir DIR           where ca.pem, server.pem and server.key are kept, and reused for six\n"
    "                      days; default: a fresh directory, removed at the end\n"
    "  --symbols A,B       default " MARKET_SYMBOLS_DEFAULT "\n"
    "  --rate N            updates per second, all topics together (default 1000; 0: none)\n"
    "  --seed N            of the market's random walk (default 1)\n"
    "  --cpu N             pin to this CPU, and spin on it\n"
    "  --duration S        end after S seconds\n"
    "  --quiet             no figures on stderr every ten seconds and at the end\n"
    "  --require-auth      public/subscribe too needs public/auth first\n"
    "  --fault JSON        misbehave from the start, as below; may be repeated (16)\n"
    "  --faults            take the methods test/fault and test/state\n\n"
    "Topics: trades.SYMBOL and book.SYMBOL; `seq` counts up by one per topic.\n"
    "Methods: public/auth (any client_id, client_secret \"secret\"), public/subscribe,\n"
    "public/unsubscribe, public/set_heartbeat {interval}, public/disable_heartbeat,\n"
    "public/test, public/get_time; after auth also private/subscribe, private/unsubscribe,\n"
    "private/buy, private/sell {instrument_name, amount, price}, private/cancel {order_id}.\n"
    "Errors: -32700 -32600 -32601 -32602 as in JSON-RPC; 13004 invalid_credentials,\n"
    "13009 unauthorized, 11044 not_open_order, 10047 too_many_open_orders (64 a connection).\n"
    "Orders end with their connection. A client that does not keep up misses updates (16 MiB\n"
    "are queued for it) and is closed with 1008 after missing 10000 in a row, or when a reply\n"
    "cannot be queued, or when public/test does not follow a heartbeat in time.\n\n"
    "Faults are JSON objects, for --fault and as the params of test/fault:\n"
    "  {\"fault\":\"answer\",\"how\":HOW}    never, late, twice, foreign (another id), error,\n"
    "        malformed, drop (cut the connection instead), close. May have: method, id (which\n"
    "        requests; default all), times (how many), delay_ms (late; 100), across (late: on\n"
    "        another connection, once its own is gone), code and message (of error and close)\n"
    "  {\"fault\":\"drop\",\"now\":true}       cut all connections; with code: close them\n"
    "  {\"fault\":\"drop\",\"every_ms\":N}     cut (close) each connection when it is so old\n"
    "  {\"fault\":\"upgrade\",\"status\":429,\"retry_after_s\":S,\"times\":N}   refuse to connect\n"
    "  {\"fault\":\"updates\",\"duplicate_every\":N,\"reorder_every\":M}     every Nth update\n"
    "  {\"fault\":\"topics\",\"refuse\":[TOPIC,...],\"accept_max\":N}        subscribe in part\n"
    "  {\"fault\":\"silent\",\"on\":true}      send nothing any more; pings are answered\n"
    "  {\"fault\":\"send\",\"text\":T}         to all, now; or bytes:N (JSON of that size), or\n"
    "        neither: text that is no UTF-8; binary:true: as a binary message\n"
    "  {\"fault\":\"clear\"}                 all is well again\n"
    "Refused or stalled authentication is an answer fault of public/auth. test/state tells what\n"
    "was seen: connections, requests, subscriptions now, subscribe and unsubscribe messages; with\n"
    "{\"sessions\":true} each connection's topics; with {\"id\":X} or {\"label\":X} how often "
    "that\n"
    "came. A connection that calls test/... is a controller: no fault touches it, and it is not\n"
    "counted.\n\n"
    "REST: GET /v1/time, /v1/symbols, /v1/book/SYMBOL[?depth=N]; POST and GET /v1/orders, GET and\n"
    "DELETE /v1/orders/ID with 'Authorization: Bearer secret' and {symbol, side, amount, price,\n"
    "client_order_id}; POST /v1/echo; /v1/slow?ms=N, /v1/pieces?count=N&bytes=N&ms=N,\n"
    "/v1/large?bytes=N, /v1/status/429, and /v1/fault/KIND, which lists the kinds when unknown.\n";

typedef struct exchange_options {
    exchange_config config;
    const char *folder;
    certs files;          /* unless is_plain */
    uint64_t duration_ns; /* 0: until a signal */
    bool is_plain;
    bool is_quiet;
    const char *faults[EXCHANGE_FAULTS_MAX];
} exchange_options;

static void exchange_print_stats(const exchange *ex)
{
    const exchange_stats stats = exchange_get_stats(ex);
    fprintf(
        stderr,
        "hpx exchange: %llu connected, %llu updates, %llu sent, %llu skipped, %llu late, "
        "%llu requests, %llu closed as slow, %llu of REST\n",
        (unsigned long long)stats.sessions,
        (unsigned long long)stats.published,
        (unsigned long long)stats.queued,
        (unsigned long long)stats.skipped,
        (unsigned long long)stats.late,
        (unsigned long long)stats.requests,
        (unsigned long long)stats.closed_slow,
        (unsigned long long)stats.rest);
}

/* The certificate names localhost, so a loopback address is shown as that. */
static void
exchange_print_url(const exchange_options *options, const char *scheme, const char *address)
{
    const bool is_local = strncmp(address, "127.0.0.1:", 10) == 0 && !options->is_plain;
    printf(
        "hpx exchange: %s%s://%s%s%s",
        scheme,
        options->is_plain ? "" : "s",
        is_local ? "localhost" : address,
        is_local ? strrchr(address, ':') : "",
        strcmp(scheme, "ws") == 0 ? "/ws" : "/v1/time");
    if (!options->is_plain) {
        printf("  --cacert %s", options->files.ca_file);
    }
    printf("\n");
}

static void exchange_print_address(const exchange_options *options, const exchange *ex)
{
    printf("listening on %s\n", exchange_address(ex));
    exchange_print_url(options, "ws", exchange_address(ex));
    if (exchange_rest_address(ex)[0] != '\0') {
        exchange_print_url(options, "http", exchange_rest_address(ex));
    }
    cli_flush();
}

static void exchange_loop(const exchange_options *options, exchange *ex)
{
    const uint64_t start_ns = hpx_clock_now_ns();
    uint64_t report_ns = start_ns + EXCHANGE_REPORT_NS;
    while (!cli_stopping()) {
        exchange_turn(ex, EXCHANGE_TURN_NS);
        const uint64_t now_ns = hpx_clock_now_ns();
        if (options->duration_ns != 0 && now_ns - start_ns >= options->duration_ns) {
            break;
        }
        if (now_ns >= report_ns && !options->is_quiet) {
            exchange_print_stats(ex);
            report_ns = now_ns + EXCHANGE_REPORT_NS;
        }
    }
    if (!options->is_quiet) {
        exchange_print_stats(ex);
    }
}

static int exchange_run(exchange_options *options)
{
    hpx_error error = {0};
    certs *files = &options->files;
    if (!options->is_plain) {
        if (certs_make(files, options->folder, &error) != HPX_OK) {
            cli_report(&error);
            return CLI_EXIT_FAILED;
        }
        options->config.cert_file = files->cert_file;
        options->config.key_file = files->key_file;
    }
    exchange *ex = NULL;
    if (exchange_new(&ex, &options->config, &error) != HPX_OK) {
        cli_report(&error);
        certs_remove(files);
        return CLI_EXIT_FAILED;
    }
    cli_catch_stop(exchange_shard(ex));
    exchange_print_address(options, ex);
    exchange_loop(options, ex);
    cli_catch_stop(NULL);
    exchange_free(ex);
    certs_remove(files);
    return CLI_EXIT_OK;
}

enum {
    EXCHANGE_LISTEN = 256,
    EXCHANGE_REST,
    EXCHANGE_REST_LIMIT,
    EXCHANGE_PLAIN,
    EXCHANGE_DIR,
    EXCHANGE_SYMBOLS,
    EXCHANGE_RATE,
    EXCHANGE_SEED,
    EXCHANGE_CPU,
    EXCHANGE_DURATION,
    EXCHANGE_QUIET,
    EXCHANGE_REQUIRE_AUTH,
    EXCHANGE_FAULT,
    EXCHANGE_FAULTS,
};

static const struct option exchange_longs[] = {
    {"listen", required_argument, NULL, EXCHANGE_LISTEN},
    {"rest", required_argument, NULL, EXCHANGE_REST},
    {"rest-limit", required_argument, NULL, EXCHANGE_REST_LIMIT},
    {"plain", no_argument, NULL, EXCHANGE_PLAIN},
    {"dir", required_argument, NULL, EXCHANGE_DIR},
    {"symbols", required_argument, NULL, EXCHANGE_SYMBOLS},
    {"rate", required_argument, NULL, EXCHANGE_RATE},
    {"seed", required_argument, NULL, EXCHANGE_SEED},
    {"cpu", required_argument, NULL, EXCHANGE_CPU},
    {"duration", required_argument, NULL, EXCHANGE_DURATION},
    {"quiet", no_argument, NULL, EXCHANGE_QUIET},
    {"require-auth", no_argument, NULL, EXCHANGE_REQUIRE_AUTH},
    {"fault", required_argument, NULL, EXCHANGE_FAULT},
    {"faults", no_argument, NULL, EXCHANGE_FAULTS},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

/* A usage error is better found here than by exchange_new(). */
static bool exchange_take_symbols(exchange_options *options)
{
    static market scratch;
    const char *why = NULL;
    if (!market_init(&scratch, optarg, 0, &why)) {
        cli_usage("exchange", "--symbols '%s': %s", optarg, why);
        return false;
    }
    options->config.symbols = optarg;
    return true;
}

static bool exchange_take_fault(exchange_options *options)
{
    faults scratch;
    faults_init(&scratch);
    const char *why = faults_take_text(&scratch, optarg);
    if (options->config.fault_count == EXCHANGE_FAULTS_MAX) {
        why = "more than 16 faults";
    }
    if (why != NULL) {
        cli_usage("exchange", "--fault '%s': %s", optarg, why);
        return false;
    }
    options->faults[options->config.fault_count++] = optarg;
    options->config.faults = options->faults;
    return true;
}

static bool exchange_take(exchange_options *options, int option)
{
    uint64_t cpu = 0;
    switch (option) {
    case EXCHANGE_LISTEN:
        options->config.listen = optarg;
        return true;
    case EXCHANGE_REST:
        options->config.rest = optarg;
        return true;
    case EXCHANGE_REST_LIMIT:
        return cli_number(
            "exchange", "rest-limit", optarg, 1, EXCHANGE_RATE_MAX, &options->config.rest_limit);
    case EXCHANGE_PLAIN:
        options->is_plain = true;
        return true;
    case EXCHANGE_DIR:
        options->folder = optarg;
        return true;
    case EXCHANGE_SYMBOLS:
        return exchange_take_symbols(options);
    case EXCHANGE_RATE:
        return cli_number("exchange", "rate", optarg, 0, EXCHANGE_RATE_MAX, &options->config.rate);
    case EXCHANGE_SEED:
        return cli_number("exchange", "seed", optarg, 0, UINT64_MAX, &options->config.seed);
    case EXCHANGE_CPU:
        if (!cli_number("exchange", "cpu", optarg, 0, 4095, &cpu)) {
            return false;
        }
        options->config.cpu = (uint32_t)cpu;
        return true;
    case EXCHANGE_DURATION:
        return cli_seconds("exchange", "duration", optarg, &options->duration_ns);
    case EXCHANGE_QUIET:
        options->is_quiet = true;
        return true;
    case EXCHANGE_REQUIRE_AUTH:
        options->config.requires_auth = true;
        return true;
    case EXCHANGE_FAULT:
        return exchange_take_fault(options);
    case EXCHANGE_FAULTS:
        options->config.takes_faults = true;
        return true;
    default:
        return false; /* printed by cli_option() */
    }
}

int command_exchange(int argc, char **argv)
{
    exchange_options options = {
        .config =
            {
                .listen = "127.0.0.1:9443",
                .symbols = MARKET_SYMBOLS_DEFAULT,
                .seed = 1,
                .rate = 1000,
                .cpu = POLLED_CPU_NONE,
            },
    };
    int option;
    while ((option = cli_option(argc, argv, ":h", exchange_longs)) != CLI_OPTION_END) {
        if (option == 'h') {
            fputs(exchange_help, stdout);
            return CLI_EXIT_OK;
        }
        if (!exchange_take(&options, option)) {
            return CLI_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        return cli_usage("exchange", "unexpected '%s'", argv[optind]);
    }
    return exchange_run(&options);
}

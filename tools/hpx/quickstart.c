/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quickstart.c - `hpx quickstart`: an exchange and a client in one process, with live figures.
 *
 * Threads   The exchange has a thread and an engine of its own (polled); the client's engine has
 *           one shard thread, on which feed_on_event() runs; the main thread connects, samples and
 *           draws. They meet in the feed's atomics and over TCP, TLS and WebSocket on loopback.
 */
#include "quickstart.h"

#include <assert.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hpx/hpx.h>

#include "certs.h"
#include "cli.h"
#include "commands.h"
#include "exchange.h"

#define QUICKSTART_TURN_NS       (100 * HPX_NS_PER_MS)
#define QUICKSTART_CLOSE_NS      HPX_NS_PER_S
#define QUICKSTART_PLAIN_SECONDS 10 /* without a terminal nobody can press q */
#define QUICKSTART_URL_BYTES     64
#define QUICKSTART_ATTEMPTS_MAX  5

static const char quickstart_help[] =
    "usage: hpx quickstart [OPTIONS]\n\n"
    "Starts a local exchange and a client in one command: TCP, TLS with a verified certificate,\n"
    "WebSocket, JSON, all through the engine. Shows messages per second, latency from the\n"
    "exchange's timestamp to the client's callback, and gaps in the sequence numbers.\n\n"
    "  --duration S  end after S seconds (default: on a terminal until q or Ctrl-C, else 10)\n"
    "  --rate N      updates per second (default 5000)\n"
    "  --seed N      of the market's random walk (default 1)\n\n"
    "Without a terminal, or with NO_COLOR or TERM=dumb, it prints one line per second.\n"
    "Exit status: 0 if messages came, none was missing and the connection held, otherwise 1.\n";

typedef struct quickstart {
    uint64_t duration_ns;
    uint64_t rate;
    uint64_t seed;
    certs files;
    /* The exchange's thread. */
    pthread_t exchange_thread;
    sem_t exchange_is_up; /* posted once; then the next three are valid */
    hpx_status exchange_status;
    hpx_error exchange_error;
    exchange *exchange; /* NULL if it failed */
    uint16_t exchange_port;
    atomic_bool exchange_stop;
    sem_t exchange_may_go; /* posted once nobody else will touch the shard any more */
    /* The client. */
    hpx_tls_context *tls;
    hpx_engine *engine;
    hpx_port *port;
    hpx_handle *handle;
    feed feed;
    char url[QUICKSTART_URL_BYTES];
} quickstart;

static void semaphore_wait(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
        /* Interrupted by a signal; it will be posted in any case. */
    }
}

static void *quickstart_exchange_main(void *argument)
{
    quickstart *q = argument;
    const exchange_config config = {
        .listen = "127.0.0.1:0",
        .cert_file = q->files.cert_file,
        .key_file = q->files.key_file,
        .symbols = MARKET_SYMBOLS_DEFAULT,
        .seed = q->seed,
        .rate = q->rate,
        .cpu = POLLED_CPU_NONE,
    };
    exchange *ex = NULL;
    q->exchange_status = exchange_new(&ex, &config, &q->exchange_error);
    q->exchange = ex;
    sem_post(&q->exchange_is_up);
    if (ex == NULL) {
        return NULL;
    }
    while (!atomic_load_explicit(&q->exchange_stop, memory_order_acquire)) {
        exchange_turn(ex, QUICKSTART_TURN_NS);
    }
    semaphore_wait(&q->exchange_may_go);
    exchange_free(ex);
    return NULL;
}

/* False: it failed, printed. The thread is gone then. */
static bool quickstart_start_exchange(quickstart *q)
{
    sem_init(&q->exchange_is_up, 0, 0);
    sem_init(&q->exchange_may_go, 0, 0);
    if (pthread_create(&q->exchange_thread, NULL, quickstart_exchange_main, q) != 0) {
        cli_error("cannot start a thread");
        return false;
    }
    semaphore_wait(&q->exchange_is_up);
    if (q->exchange_status != HPX_OK) {
        pthread_join(q->exchange_thread, NULL);
        cli_report(&q->exchange_error);
        return false;
    }
    q->exchange_port = exchange_port(q->exchange);
    snprintf(q->url, sizeof(q->url), "wss://localhost:%u/ws", (unsigned)q->exchange_port);
    return true;
}

static void quickstart_stop_exchange(quickstart *q)
{
    hpx_shard *shard = exchange_shard(q->exchange);
    atomic_store_explicit(&q->exchange_stop, true, memory_order_release);
    hpx_shard_wake(shard); /* or the turn in progress ends by itself: QUICKSTART_TURN_NS */
    sem_post(&q->exchange_may_go);
    pthread_join(q->exchange_thread, NULL);
    sem_destroy(&q->exchange_is_up);
    sem_destroy(&q->exchange_may_go);
}

static hpx_status quickstart_connect(quickstart *q, hpx_error *error)
{
    /* "localhost" is what the certificate is for; with its address given nothing is looked up. */
    char resolve[64];
    snprintf(resolve, sizeof(resolve), "localhost:%u:127.0.0.1", (unsigned)q->exchange_port);
    const char *const resolves[] = {resolve};
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = q->url;
    config.tls = q->tls;
    config.resolve = resolves;
    config.resolve_count = 1;
    config.on_event = feed_on_event;
    config.user = &q->feed;
    config.reconnect = true;
    config.attempts_max = QUICKSTART_ATTEMPTS_MAX;
    return hpx_ws_connect(q->port, &config, &q->handle, NULL, error);
}

static hpx_status quickstart_start_client(quickstart *q, hpx_error *error)
{
    hpx_tls_config tls_config = HPX_TLS_CONFIG_INIT;
    tls_config.ca_file = q->files.ca_file;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.wait_mode = HPX_WAIT_SPIN_THEN_SLEEP;
    feed_init(&q->feed, MARKET_SYMBOLS_DEFAULT);
    hpx_status status = hpx_tls_client_context_new(&q->tls, &tls_config, error);
    if (status == HPX_OK) {
        status = hpx_engine_new(&q->engine, &config, error);
    }
    if (status == HPX_OK) {
        status = hpx_engine_start(q->engine, error);
    }
    if (status == HPX_OK) {
        status = hpx_port_open(&q->port, q->engine, NULL, error);
    }
    if (status == HPX_OK) {
        status = quickstart_connect(q, error);
    }
    return status;
}

static void quickstart_stop_client(quickstart *q)
{
    hpx_handle_release(q->handle); /* closes gracefully */
    hpx_port_close(q->port);
    if (q->engine != NULL) {
        hpx_engine_stop_wait(q->engine, QUICKSTART_CLOSE_NS);
    }
    hpx_engine_free(q->engine);
    hpx_tls_context_release(q->tls);
}

/* Wait until `deadline_ns`, a key or a signal. True: the user wants the end. */
static bool quickstart_wait(tui *t, uint64_t deadline_ns)
{
    for (;;) {
        const uint64_t now_ns = hpx_clock_now_ns();
        if (cli_stopping()) {
            return true;
        }
        if (now_ns >= deadline_ns) {
            return false;
        }
        struct pollfd fds[] = {
            {.fd = cli_stop_fd(), .events = POLLIN},
            {.fd = t->has_keys ? STDIN_FILENO : -1, .events = POLLIN},
        };
        const uint64_t left_ms = (deadline_ns - now_ns) / HPX_NS_PER_MS + 1;
        poll(fds, CLI_COUNT_OF(fds), (int)left_ms);
        const char key = tui_key(t);
        if (key == 'q' || key == 'Q' || key == 4) {
            return true;
        }
    }
}

static void quickstart_show(view *v, tui *t, uint64_t now_ns)
{
    static char buffer[VIEW_FRAME_BYTES];
    text out;
    text_init(&out, buffer, sizeof(buffer));
    view_sample(v, now_ns);
    if (t->is_live) {
        view_frame(v, t, now_ns, &out);
        tui_draw(t, out.data);
    } else if (now_ns > v->start_ns) {
        view_line(v, now_ns, &out);
        fputs(out.data, stdout);
    }
}

static void quickstart_loop(quickstart *q, view *v, tui *t)
{
    const uint64_t step_ns = t->is_live ? HPX_NS_PER_S / VIEW_FRAMES_SECOND : HPX_NS_PER_S;
    const uint64_t end_ns = v->duration_ns == 0 ? UINT64_MAX : v->start_ns + v->duration_ns;
    uint64_t next_ns = v->start_ns;
    view_sample(v, v->start_ns);
    for (;;) {
        next_ns += step_ns;
        const bool is_asked = quickstart_wait(t, next_ns < end_ns ? next_ns : end_ns);
        const uint64_t now_ns = hpx_clock_now_ns();
        if (is_asked || !cli_flush() || feed_get_state(&q->feed) == FEED_CLOSED) {
            return;
        }
        quickstart_show(v, t, now_ns);
        if (now_ns >= end_ns) {
            return;
        }
    }
}

static int quickstart_play(quickstart *q)
{
    tui t;
    tui_open(&t);
    view v = {
        .feed = &q->feed,
        .url = q->url,
        .start_ns = hpx_clock_now_ns(),
        .duration_ns = q->duration_ns,
    };
    static char buffer[VIEW_FRAME_BYTES];
    text out;
    text_init(&out, buffer, sizeof(buffer));
    if (!t.is_live) {
        if (v.duration_ns == 0 && !isatty(STDOUT_FILENO)) {
            v.duration_ns = QUICKSTART_PLAIN_SECONDS * HPX_NS_PER_S;
        }
        view_heading(&out);
        fputs(out.data, stdout);
    }
    quickstart_loop(q, &v, &t);
    tui_close(&t);
    if (feed_get_state(&q->feed) == FEED_CLOSED) { /* the engine gave it up */
        cli_report(&q->feed.error);
        return CLI_EXIT_FAILED;
    }
    text_init(&out, buffer, sizeof(buffer));
    view_sample(&v, hpx_clock_now_ns());
    const bool is_good = view_summary(&v, hpx_clock_now_ns(), &out);
    fputs(out.data, stdout);
    return is_good ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

static int quickstart_run(quickstart *q)
{
    hpx_error error = {0};
    if (certs_make(&q->files, NULL, &error) != HPX_OK) {
        cli_report(&error);
        return CLI_EXIT_FAILED;
    }
    if (!quickstart_start_exchange(q)) {
        certs_remove(&q->files);
        return CLI_EXIT_FAILED;
    }
    cli_catch_stop(NULL);
    int code = CLI_EXIT_FAILED;
    const hpx_status started = quickstart_start_client(q, &error);
    certs_remove(
        &q->files); /* both sides have loaded them: nothing is left behind, come what may */
    if (started == HPX_OK) {
        code = quickstart_play(q);
    } else {
        cli_report(&error);
    }
    quickstart_stop_client(q);
    quickstart_stop_exchange(q);
    return code;
}

enum { QUICKSTART_DURATION = 256, QUICKSTART_RATE, QUICKSTART_SEED };

static const struct option quickstart_longs[] = {
    {"duration", required_argument, NULL, QUICKSTART_DURATION},
    {"rate", required_argument, NULL, QUICKSTART_RATE},
    {"seed", required_argument, NULL, QUICKSTART_SEED},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static bool quickstart_take(quickstart *q, int option)
{
    switch (option) {
    case QUICKSTART_DURATION:
        return cli_seconds("quickstart", "duration", optarg, &q->duration_ns);
    case QUICKSTART_RATE:
        return cli_number("quickstart", "rate", optarg, 1, EXCHANGE_RATE_MAX, &q->rate);
    case QUICKSTART_SEED:
        return cli_number("quickstart", "seed", optarg, 0, UINT64_MAX, &q->seed);
    default:
        return false; /* printed by cli_option() */
    }
}

int command_quickstart(int argc, char **argv)
{
    static quickstart q;
    q.rate = 5000;
    q.seed = 1;
    int option;
    while ((option = cli_option(argc, argv, ":h", quickstart_longs)) != CLI_OPTION_END) {
        if (option == 'h') {
            fputs(quickstart_help, stdout);
            return CLI_EXIT_OK;
        }
        if (!quickstart_take(&q, option)) {
            return CLI_EXIT_USAGE;
        }
    }
    if (optind < argc) {
        return cli_usage("quickstart", "unexpected '%s'", argv[optind]);
    }
    return quickstart_run(&q);
}

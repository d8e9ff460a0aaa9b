/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws.c - `hpx ws`: a WebSocket client for the terminal.
 *
 * Threads   The main thread has a port and waits with poll(2) for stdin, the stream and Ctrl-C;
 *           the engine's one shard thread does the rest.
 *
 *   connecting --CONNECTED--> open --count, Ctrl-C, end of stdin, timeout--> closing --CLOSED--> .
 *   with --reconnect: open --DISCONNECTED--> connecting
 */
#include "ws.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <hpx/hpx.h>

#include "cli.h"
#include "commands.h"
#include "text.h"

#define WS_RETRY_NS       HPX_NS_PER_MS
#define WS_CLOSE_GUARD_NS (5 * HPX_NS_PER_S) /* the engine's own close timeout is shorter */
#define WS_HEX_BYTES      4096u
#define WS_STREAM_BYTES   (16u << 20) /* a terminal is slow; bursts shall not be dropped */

typedef struct ws_client {
    const ws_options *options;
    hpx_tls_context *tls;
    hpx_engine *engine;
    hpx_port *port;
    hpx_handle *handle;
    hpx_stream *stream;
    ws_session session;
    ws_input input;
    uint64_t start_ns;
    uint64_t ready_ns;   /* 0: not connected yet */
    uint64_t last_ns;    /* of the last message or line, for --linger */
    uint64_t closing_ns; /* 0: we have not asked for the end */
    uint64_t received;
    uint64_t missed; /* dropped because printing is slow; not told yet */
    uint64_t missed_told_ns;
    uint32_t sends_done;   /* of --send */
    bool is_blocked;       /* a send met a full queue: try again soon */
    bool is_close_pending; /* a close met a full queue */
    bool is_up;            /* between CONNECTED and DISCONNECTED */
    bool is_closed;
    int code; /* the exit code, once closing or closed */
} ws_client;

static void ws_note(const ws_client *client, const char *stage, uint64_t ns, const char *fact)
{
    if (!client->options->verbose) {
        return;
    }
    char buffer[32];
    text duration;
    text_init(&duration, buffer, sizeof(buffer));
    text_add_duration(&duration, ns);
    fprintf(stderr, "* %-14s%10s  %s\n", stage, duration.data, fact);
}

static void ws_note_connected(const ws_client *client, const hpx_conn_info *info)
{
    char fact[256];
    if (info->resolve_ns != 0) {
        ws_note(client, "resolve", info->resolve_ns, "");
    }
    ws_note(client, "connect", info->connect_ns, info->peer_address);
    if (info->is_tls) {
        snprintf(
            fact,
            sizeof(fact),
            "%s %s, %s%s",
            info->tls_version,
            info->tls_cipher,
            info->tls_verified ? "certificate verified" : "certificate NOT verified",
            info->tls_resumed ? ", resumed" : "");
        ws_note(client, "tls", info->tls_ns, fact);
    }
    snprintf(
        fact,
        sizeof(fact),
        "%s%s",
        info->subprotocol[0] == '\0' ? "" : "subprotocol ",
        info->subprotocol);
    ws_note(client, "upgrade", info->upgrade_ns, fact);
    ws_note(client, "ready", client->ready_ns - client->start_ns, "since start");
}

static void ws_close(ws_client *client, int code)
{
    if (client->closing_ns == 0) {
        client->closing_ns = hpx_clock_now_ns();
        client->code = code;
    }
    client->is_close_pending =
        hpx_handle_close(client->handle, 1000, (hpx_span){NULL, 0}) == HPX_E_AGAIN;
}

static void ws_print_hex(hpx_span payload)
{
    static const char digits[] = "0123456789abcdef";
    char hex[2 * WS_HEX_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < payload.size; i++) {
        hex[used++] = digits[payload.data[i] >> 4];
        hex[used++] = digits[payload.data[i] & 15];
        if (used == sizeof(hex)) {
            fwrite(hex, 1, used, stdout);
            used = 0;
        }
    }
    fwrite(hex, 1, used, stdout);
}

static void ws_tell_missed(ws_client *client, uint64_t now_ns)
{
    if (client->missed > 0) {
        cli_error("%llu messages were dropped", (unsigned long long)client->missed);
        client->missed = 0;
        client->missed_told_ns = now_ns;
    }
}

static void ws_on_message(void *to, hpx_message_kind kind, hpx_span payload, uint64_t missed)
{
    ws_client *client = to;
    if (client->closing_ns != 0 && client->options->count != 0) {
        return; /* --count was reached, or its time is up: nothing more is printed */
    }
    const uint64_t now_ns = hpx_clock_now_ns();
    client->last_ns = now_ns;
    if (client->received++ == 0) {
        ws_note(client, "first message", now_ns - client->ready_ns, "since ready");
    }
    client->missed += missed;
    if (client->missed > 0 && now_ns - client->missed_told_ns >= HPX_NS_PER_S) {
        ws_tell_missed(client, now_ns);
    }
    if (kind == HPX_MESSAGE_BINARY) {
        ws_print_hex(payload);
    } else if (payload.size > 0) {
        fwrite(payload.data, 1, payload.size, stdout);
    }
    fputc('\n', stdout);
    if (client->received == client->options->count) {
        ws_close(client, CLI_EXIT_OK);
    }
}

/* The exit code of an end that we did not ask for. */
static int ws_exit_of(const ws_client *client, const hpx_error *error)
{
    if (error->status != HPX_E_WS_CLOSED) {
        return CLI_EXIT_FAILED;
    }
    if (client->options->count != 0) {
        return CLI_EXIT_PEER_CLOSED;
    }
    const bool is_normal = error->close_code == 0 || error->close_code == 1000 ||
                           error->close_code == 1001 || error->close_code == 1005;
    return is_normal ? CLI_EXIT_OK : CLI_EXIT_FAILED;
}

static void ws_on_closed(ws_client *client, const hpx_error *error)
{
    assert(!client->is_closed);
    client->is_closed = true;
    ws_tell_missed(client, hpx_clock_now_ns());
    const bool was_asked = client->closing_ns != 0;
    const uint64_t since_ns = was_asked ? client->closing_ns : client->start_ns;
    if (was_asked && client->session.protocol != NULL) {
        cli_error("closed");
    }
    if (!was_asked) {
        client->code = ws_exit_of(client, error);
        if (client->code != CLI_EXIT_OK) {
            cli_report(error);
        }
    }
    if (client->ready_ns != 0) {
        ws_note(
            client,
            "closed",
            hpx_clock_now_ns() - since_ns,
            error->detail[0] != '\0' ? error->detail : hpx_status_text(error->status));
    }
}

static void ws_on_event(ws_client *client, const hpx_event *event)
{
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        client->ready_ns = client->last_ns = hpx_clock_now_ns();
        client->is_up = true;
        client->sends_done = 0;
        if (client->options->reconnect || client->session.protocol != NULL) {
            cli_error("connected, epoch %llu", (unsigned long long)event->epoch);
        }
        ws_note_connected(client, event->info);
        break;
    case HPX_EVENT_MESSAGE:
        if (event->message_class == HPX_CLASS_CONTROL) {
            client->missed += event->missed;
            break; /* heartbeats and acknowledgements of a dialect */
        }
        ws_on_message(client, event->message_kind, event->payload, event->missed);
        break;
    case HPX_EVENT_WRITABLE:
        client->is_blocked = false;
        break;
    case HPX_EVENT_CLOSED:
        ws_on_closed(client, event->error);
        break;
    case HPX_EVENT_DISCONNECTED:
        client->missed += event->missed;
        client->is_up = false;
        if (client->options->reconnect && client->closing_ns == 0) {
            cli_report(event->error);
        }
        break; /* CLOSED follows with the same cause; or, with --reconnect, CONNECTED */
    }
}

/* True: it is on its way, or never will be. False: the queue is full. */
static bool ws_send(ws_client *client, hpx_span line, const char *source)
{
    const hpx_status status = hpx_handle_send(client->handle, HPX_MESSAGE_TEXT, line);
    if (status == HPX_E_AGAIN) {
        client->is_blocked = true;
        return false;
    }
    client->last_ns = hpx_clock_now_ns();
    if (status == HPX_E_INVALID) {
        cli_error("%s: not valid UTF-8, not sent", source);
    } else if (status < 0 && status != HPX_E_NOT_CONNECTED) {
        cli_error("%s: not sent: %s", source, hpx_status_text(status));
    }
    return true;
}

/* As ws_send(), for a line of stdin: a request, with a dialect. */
static bool ws_send_line(ws_client *client, hpx_span line, const char *source)
{
    if (client->session.protocol == NULL) {
        return ws_send(client, line, source);
    }
    client->last_ns = hpx_clock_now_ns();
    client->is_blocked =
        ws_session_request(&client->session, client->handle, line, source) == HPX_E_AGAIN;
    return !client->is_blocked;
}

/* Send what is there to be sent, as far as the queue takes it. */
static void ws_send_all(ws_client *client)
{
    if (!client->is_up || client->closing_ns != 0) {
        return;
    }
    client->is_blocked = false;
    while (client->sends_done < client->options->send_count) {
        if (!ws_send(client, hpx_span_of(client->options->sends[client->sends_done]), "--send")) {
            return;
        }
        client->sends_done++;
    }
    if (!ws_session_send(&client->session, client->options, client->handle)) {
        client->is_blocked = true;
        return;
    }
    hpx_span line;
    while (ws_input_peek(&client->input, &line)) {
        char source[40];
        snprintf(
            source, sizeof(source), "line %llu", (unsigned long long)client->input.line_count + 1);
        if (!ws_send_line(client, line, source)) {
            return;
        }
        ws_input_take(&client->input);
    }
}

static void ws_read_stdin(ws_client *client)
{
    switch (ws_input_read(&client->input)) {
    case WS_READ_MORE:
        break;
    case WS_READ_END:
        client->last_ns = hpx_clock_now_ns();
        break;
    case WS_READ_TOO_LONG:
        cli_error("stdin: a line is longer than 16 MiB");
        ws_close(client, CLI_EXIT_FAILED);
        break;
    case WS_READ_FAILED:
        cli_error("stdin: %s", cli_errno_text(errno));
        ws_close(client, CLI_EXIT_FAILED);
        break;
    }
}

/* When the end of stdin shall close the connection; UINT64_MAX: not because of that. */
static uint64_t ws_linger_deadline(const ws_client *client)
{
    const ws_options *options = client->options;
    hpx_span line;
    if (!client->input.is_ended || client->ready_ns == 0 || client->is_blocked ||
        options->count != 0 || options->timeout_ns != 0 || client->session.pending != 0 ||
        ws_input_peek(&client->input, &line)) {
        return UINT64_MAX;
    }
    return client->input.is_terminal ? 0 : client->last_ns + options->linger_ns;
}

static uint64_t ws_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Apply the deadlines that have come; returns the next one. */
static uint64_t ws_check_deadlines(ws_client *client)
{
    const ws_options *options = client->options;
    const uint64_t now_ns = hpx_clock_now_ns();
    if (client->closing_ns != 0) {
        if (client->is_close_pending) {
            ws_close(client, client->code);
        }
        const uint64_t guard_ns = client->closing_ns + WS_CLOSE_GUARD_NS;
        client->is_closed = client->is_closed || now_ns >= guard_ns;
        return client->is_close_pending ? now_ns + WS_RETRY_NS : guard_ns;
    }
    const uint64_t timeout_ns =
        options->timeout_ns == 0 ? UINT64_MAX : client->start_ns + options->timeout_ns;
    const uint64_t linger_ns = ws_linger_deadline(client);
    if (cli_stopping() || now_ns >= linger_ns) {
        ws_close(client, client->ready_ns != 0 ? CLI_EXIT_OK : CLI_EXIT_FAILED);
        return now_ns;
    }
    if (now_ns >= timeout_ns) {
        const bool is_short =
            client->ready_ns == 0 || options->count != 0 || client->session.pending != 0;
        if (is_short) {
            cli_error(
                "%s: timed out",
                client->ready_ns == 0 ? hpx_conn_state_name(hpx_handle_state(client->handle))
                : client->session.pending != 0 ? "waiting for an answer"
                                               : "waiting for messages");
        }
        ws_close(client, is_short ? CLI_EXIT_TIMEOUT : CLI_EXIT_OK);
        return now_ns;
    }
    const uint64_t retry_ns = client->is_blocked ? now_ns + WS_RETRY_NS : UINT64_MAX;
    return ws_min(retry_ns, ws_min(timeout_ns, linger_ns));
}

/* Wait for stdin, events, Ctrl-C or the deadline. */
static void ws_wait(ws_client *client, uint64_t deadline_ns)
{
    const bool wants_input = !client->input.is_ended && client->ready_ns != 0 &&
                             client->closing_ns == 0 && !client->is_blocked;
    struct pollfd fds[] = {
        {.fd = hpx_port_fd(client->port), .events = POLLIN},
        {.fd = cli_stopping() ? -1 : cli_stop_fd(), .events = POLLIN},
        {.fd = wants_input ? STDIN_FILENO : -1, .events = POLLIN},
    };
    const uint64_t now_ns = hpx_clock_now_ns();
    struct timespec timeout = {0};
    if (deadline_ns > now_ns && deadline_ns != UINT64_MAX) {
        timeout.tv_sec = (time_t)((deadline_ns - now_ns) / HPX_NS_PER_S);
        timeout.tv_nsec = (long)((deadline_ns - now_ns) % HPX_NS_PER_S);
    }
    if (ppoll(fds, CLI_COUNT_OF(fds), deadline_ns == UINT64_MAX ? NULL : &timeout, NULL) > 0 &&
        fds[2].revents != 0) {
        ws_read_stdin(client);
    }
}

static void ws_take_session(ws_client *client)
{
    const ws_printer printer = {
        .print = ws_on_message, .to = client, .closing_ns = &client->closing_ns};
    ws_session_take(&client->session, client->handle, &printer);
    if (client->session.is_ended && client->closing_ns == 0) {
        ws_close(client, CLI_EXIT_FAILED);
    }
}

static void ws_loop(ws_client *client)
{
    while (!client->is_closed) {
        hpx_event event;
        int taken;
        while ((taken = hpx_stream_next(client->stream, &event)) == 1) {
            ws_on_event(client, &event);
        }
        ws_take_session(client);
        if (taken < 0) {
            client->is_closed = true;
        }
        if (!cli_flush() && client->closing_ns == 0) {
            ws_close(client, CLI_EXIT_OK);
        }
        ws_send_all(client);
        const uint64_t deadline_ns = ws_check_deadlines(client);
        if (!client->is_closed) {
            ws_wait(client, deadline_ns);
        }
    }
}

static hpx_status ws_connect(ws_client *client, hpx_error *error)
{
    const ws_options *options = client->options;
    if (options->ca_file != NULL) {
        hpx_tls_config tls_config = HPX_TLS_CONFIG_INIT;
        tls_config.ca_file = options->ca_file;
        const hpx_status loaded = hpx_tls_client_context_new(&client->tls, &tls_config, error);
        if (loaded != HPX_OK) {
            return loaded;
        }
    }
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = options->url;
    config.tls = client->tls;
    config.headers = options->headers;
    config.header_count = options->header_count;
    config.subprotocols = options->subprotocols;
    config.subprotocol_count = options->subprotocol_count;
    config.resolve = options->resolve;
    config.resolve_count = options->resolve_count;
    config.message_bytes_max = options->message_bytes_max;
    config.stream_ring_bytes = WS_STREAM_BYTES;
    config.reconnect = options->reconnect;
    config.receive_mode = options->hot ? HPX_RECEIVE_HOT : HPX_RECEIVE_MULTISHOT;
    if (options->insecure) {
        hpx_ws_config_set_insecure_no_verify(&config);
    }
    hpx_status status = ws_session_init(&client->session, options, error);
    config.protocol = client->session.protocol;
    if (status == HPX_OK) {
        status = hpx_ws_connect(client->port, &config, &client->handle, &client->stream, error);
    }
    if (status == HPX_OK) {
        status = ws_session_subscribe(&client->session, options, client->handle, error);
    }
    return status;
}

static hpx_status ws_open(ws_client *client, hpx_error *error)
{
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.wait_mode = client->options->hot ? HPX_WAIT_SPIN : HPX_WAIT_SLEEP;
    hpx_status status = hpx_engine_new(&client->engine, &config, error);
    if (status == HPX_OK) {
        status = hpx_engine_start(client->engine, error);
    }
    if (status == HPX_OK) {
        status = hpx_port_open(&client->port, client->engine, NULL, error);
    }
    if (status == HPX_OK) {
        client->start_ns = hpx_clock_now_ns();
        status = ws_connect(client, error);
    }
    return status;
}

int command_ws(int argc, char **argv)
{
    ws_options options;
    int code = CLI_EXIT_OK;
    if (!ws_parse_options(&options, argc, argv, &code)) {
        return code;
    }
    ws_client client = {.options = &options};
    ws_input_init(&client.input);
    cli_catch_stop(NULL);
    hpx_error error = {0};
    const hpx_status status = ws_open(&client, &error);
    if (status == HPX_OK) {
        ws_loop(&client);
        const bool is_failed = client.session.is_failed && client.code == CLI_EXIT_OK;
        code = is_failed ? CLI_EXIT_FAILED : client.code;
    } else {
        cli_report(&error);
        const bool is_usage = status == HPX_E_URL || status == HPX_E_INVALID;
        code = is_usage ? CLI_EXIT_USAGE : CLI_EXIT_FAILED;
    }
    ws_session_fini(&client.session);
    hpx_stream_release(client.stream);
    hpx_handle_release(client.handle);
    hpx_port_close(client.port);
    if (client.engine != NULL) {
        hpx_engine_stop_wait(client.engine, HPX_NS_PER_S);
    }
    hpx_engine_free(client.engine);
    hpx_tls_context_release(client.tls);
    ws_input_free(&client.input);
    return code;
}

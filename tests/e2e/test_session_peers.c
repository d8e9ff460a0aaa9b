/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a whole session against servers of other people, node's `ws` and python3-websockets, that
 * speak JSON-RPC: authentication, subscriptions (one refused), updates in order, requests answered,
 * refused, late and lost, the server's heartbeat, its cut, its close, our reconnect, our end; one
 * connection at a time, nothing before the authentication, nothing subscribed twice.
 * Method: one script, plain and over TLS, on each server; the server tells what it saw.
 */
#include <stdio.h>
#include <string.h>

#include "tests/e2e/ws_peer.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

#define MS HPX_NS_PER_MS

typedef struct session {
    ws_peer *server;
    failing_allocator memory;
    uint32_t descriptors;
    hpx_protocol *protocol;
    hpx_engine *engine;
    hpx_port *port;
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_subscription *sub;
    uint64_t epoch;
} session;

static void session_open(session *s, ws_peer *server, const char *auth_params)
{
    memset(s, 0, sizeof(*s));
    s->server = server;
    s->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    s->descriptors = test_descriptors();
    hpx_json_rpc_config dialect = HPX_JSON_RPC_CONFIG_INIT;
    dialect.auth_params = auth_params;
    hpx_error error = {0};
    assert_int_equal(hpx_protocol_json_rpc_new(&s->protocol, &dialect, &error), HPX_OK);
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.wait_mode = HPX_WAIT_SLEEP;
    config.allocator = fa_allocator(&s->memory);
    assert_int_equal(hpx_engine_new(&s->engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(s->engine, &error), HPX_OK);
    assert_int_equal(hpx_port_open(&s->port, s->engine, NULL, &error), HPX_OK);
}

static void session_connect(session *s, bool tls, uint32_t attempts_max)
{
    const ws_way way = {CLIENT_STREAM, HPX_RECEIVE_MULTISHOT, tls};
    char url[WS_URL_BYTES];
    hpx_ws_config config = ws_peer_config(s->server, &way, "/", url);
    config.protocol = s->protocol;
    config.heartbeat = HPX_HEARTBEAT_BOTH;
    config.reconnect = true;
    config.attempts_max = attempts_max;
    config.backoff_initial_ns = MS;
    config.backoff_max_ns = 10 * MS;
    hpx_error error;
    if (hpx_ws_connect(s->port, &config, &s->handle, &s->stream, &error) != HPX_OK) {
        fail_msg("%s", error.detail);
    }
}

static void session_close(session *s)
{
    hpx_port_close(s->port);
    assert_int_equal(hpx_engine_stop_wait(s->engine, CLIENT_DEADLINE_NS), HPX_OK);
    hpx_engine_free(s->engine);
    hpx_protocol_free(s->protocol);
    assert_int_equal(s->memory.live, 0);
    assert_int_equal(test_descriptors(), s->descriptors);
}

static void expect_event(session *s, hpx_event_kind kind, hpx_event *event)
{
    assert_int_equal(hpx_stream_wait(s->stream, event, CLIENT_DEADLINE_NS), 1);
    if (event->kind != kind) {
        fail_msg(
            "%s instead of %s: %s",
            client_event_name(event->kind),
            client_event_name(kind),
            event->error != NULL ? event->error->detail : "-");
    }
}

/* Lines that begin with these, as many of each, in any order: a server may tell of the end of one
 * connection after the beginning of the next. */
typedef struct lines {
    unsigned open, auth_ok, closed;
} lines;

static void expect_lines(session *s, lines wanted)
{
    while (wanted.open + wanted.auth_ok + wanted.closed != 0) {
        const char *line = peer_next_line(&s->server->process);
        assert_non_null(line);
        if (strncmp(line, "open ", 5) == 0) {
            assert_int_equal(atoi(line + 5), wanted.closed != 0 ? 2 : 1);
            wanted.open--;
        } else if (strcmp(line, "auth ok") == 0) {
            assert_int_equal(wanted.open, 0);
            wanted.auth_ok--;
        } else if (strncmp(line, "closed", 6) == 0) {
            wanted.closed--;
        }
    }
}

/* Up again: authenticated first. */
static void expect_up(session *s, bool again)
{
    hpx_event event;
    expect_lines(s, (lines){.open = 1, .auth_ok = 1, .closed = again ? 1 : 0});
    expect_event(s, HPX_EVENT_CONNECTED, &event);
    assert_int_equal(event.epoch, ++s->epoch);
}

static void expect_update(session *s, hpx_update_kind kind, hpx_update *update)
{
    assert_int_equal(hpx_subscription_wait(s->sub, update, CLIENT_DEADLINE_NS), 1);
    assert_int_equal(update->kind, kind);
}

static bool holds(hpx_span span, const char *text)
{
    const size_t size = strlen(text);
    for (size_t i = 0; i + size <= span.size; i++) {
        if (memcmp(span.data + i, text, size) == 0) {
            return true;
        }
    }
    return false;
}

static hpx_reply ask(session *s, const char *message, const char *expected)
{
    hpx_reply reply;
    const hpx_status status =
        hpx_handle_request_wait(s->handle, hpx_span_of(message), CLIENT_DEADLINE_NS, &reply);
    assert_string_equal(hpx_status_name(status), "HPX_OK");
    if (!holds(reply.payload, expected)) {
        fail_msg("%.*s", (int)reply.payload.size, (const char *)reply.payload.data);
    }
    return reply;
}

#define CALL(method, params)                                                                       \
    "{\"jsonrpc\":\"2.0\",\"method\":\"public/" method "\",\"params\":" params "}"

/* ---- The script ------------------------------------------------------------------------------ */

static void script_subscribe(session *s)
{
    const hpx_span topics[] = {
        hpx_span_of("trades.A"), hpx_span_of("refused.X"), hpx_span_of("trades.B")};
    hpx_error error;
    hpx_update update;
    assert_int_equal(
        hpx_handle_subscribe_many(s->handle, topics, 3, NULL, &s->sub, &error), HPX_OK);
    expect_update(s, HPX_UPDATE_REFUSED, &update);
    assert_int_equal(update.topic_index, 1);
    expect_update(s, HPX_UPDATE_LIVE, &update);
    assert_string_equal(peer_expect(&s->server->process, "subscribed"), "trades.A trades.B");
}

static void script_updates(session *s, unsigned count)
{
    hpx_update update;
    (void)ask(s, CALL("publish", "{\"channel\":\"trades.B\",\"count\":200}"), "\"ok\"");
    (void)ask(s, CALL("publish", "{\"channel\":\"trades.A\",\"count\":200}"), "\"ok\"");
    for (unsigned i = 0; i < 2 * count; i++) {
        char seq[32];
        (void)snprintf(seq, sizeof(seq), "\"seq\":%u}", i % count);
        expect_update(s, HPX_UPDATE_MESSAGE, &update);
        assert_int_equal(update.missed, 0);
        assert_int_equal(update.epoch, s->epoch);
        assert_int_equal(update.topic_index, i < count ? 2 : 0);
        assert_true(holds(update.payload, seq));
    }
}

static void script_requests(session *s)
{
    hpx_reply reply = ask(s, CALL("echo", "{\"a\":[1,\"\xE2\x82\xAC\"]}"), "{\"a\":[1,");
    assert_false(reply.is_error);
    reply = ask(s, CALL("fail", "{}"), "\"no\"");
    assert_true(reply.is_error);
    assert_int_equal(
        hpx_handle_request_wait(s->handle, hpx_span_of(CALL("silent", "{}")), 20 * MS, &reply),
        HPX_E_TIMEOUT);
    (void)ask(s, CALL("release", "{}"), "released"); /* the late answer came before */
    hpx_session_stats stats;
    hpx_handle_get_stats(s->handle, &stats);
    assert_int_equal(stats.unsolicited_replies, 1);
    assert_int_equal(hpx_handle_pending_count(s->handle), 0);
    (void)ask(s, CALL("heartbeat", "{}"), "\"ok\"");
    assert_string_equal(peer_expect(&s->server->process, "tested"), "");
}

/* The connection goes and comes back; `status` is how that is told. */
static void script_back(session *s, hpx_status status, int close_code)
{
    hpx_event event;
    hpx_update update;
    do { /* the server's heartbeat is a message of the stream too */
        assert_int_equal(hpx_stream_wait(s->stream, &event, CLIENT_DEADLINE_NS), 1);
    } while (event.kind == HPX_EVENT_MESSAGE);
    assert_int_equal(event.kind, HPX_EVENT_DISCONNECTED);
    if (status != HPX_OK) { /* a cut is told as one of several */
        assert_string_equal(hpx_status_name(event.error->status), hpx_status_name(status));
    }
    assert_int_equal(event.error->close_code, close_code);
    expect_update(s, HPX_UPDATE_INTERRUPTED, &update);
    assert_int_equal(update.epoch, s->epoch);
    expect_up(s, true);
    expect_update(s, HPX_UPDATE_LIVE, &update);
    assert_int_equal(update.epoch, s->epoch);
    (void)ask(s, CALL("held", "{}"), "[\"trades.A\",\"trades.B\"]");
}

static void script_losses(session *s)
{
    hpx_reply reply;
    assert_int_equal(
        hpx_handle_request(
            s->handle, hpx_span_of(CALL("silent", "{}")), CLIENT_DEADLINE_NS, NULL, NULL),
        HPX_OK);
    assert_int_equal(
        hpx_handle_request_wait(
            s->handle, hpx_span_of(CALL("drop", "{}")), CLIENT_DEADLINE_NS, &reply),
        HPX_E_DISCONNECTED);
    assert_true(reply.sent);
    assert_int_equal(hpx_handle_wait_reply(s->handle, &reply, CLIENT_DEADLINE_NS), 1);
    assert_int_equal(reply.status, HPX_E_DISCONNECTED);
    script_back(s, HPX_OK, 0);
    assert_int_equal(
        hpx_handle_request_wait(
            s->handle,
            hpx_span_of(CALL("close", "{\"code\":1012,\"reason\":\"restart\"}")),
            CLIENT_DEADLINE_NS,
            &reply),
        HPX_E_DISCONNECTED);
    script_back(s, HPX_E_WS_CLOSED, 1012);
    assert_int_equal(hpx_handle_reconnect(s->handle, hpx_span_of("rotate")), HPX_OK);
    script_back(s, HPX_E_RECONNECT, 1000);
}

static void check_session(ws_peer *server, bool tls)
{
    session s;
    session_open(&s, server, "{\"key\":\"secret\"}");
    session_connect(&s, tls, 0);
    expect_up(&s, false);
    script_subscribe(&s);
    script_updates(&s, 200);
    script_requests(&s);
    script_losses(&s);
    script_updates(&s, 200);
    hpx_subscription *again;
    hpx_error error;
    assert_int_equal(hpx_handle_subscribe(s.handle, "trades.A", NULL, &again, &error), HPX_OK);
    hpx_subscription_release(s.sub);
    assert_string_equal(peer_expect(&server->process, "unsubscribed"), "trades.B");
    hpx_subscription_release(again);
    assert_string_equal(peer_expect(&server->process, "unsubscribed"), "trades.A");
    (void)ask(&s, CALL("held", "{}"), "\"result\":[]");
    (void)ask(&s, CALL("stats", "{}"), "{\"early\":0,\"twice\":0}");
    hpx_handle_release(s.handle);
    assert_string_equal(peer_expect(&server->process, "closed"), "1000");
    hpx_stream_release(s.stream);
    session_close(&s);
}

static void check_refused(ws_peer *server)
{
    session s;
    hpx_event event;
    session_open(&s, server, "{\"key\":\"wrong\"}");
    session_connect(&s, false, 2);
    for (unsigned i = 0; i < 2; i++) {
        expect_event(&s, HPX_EVENT_DISCONNECTED, &event);
        assert_string_equal(hpx_status_name(event.error->status), "HPX_E_AUTH_FAILED");
        assert_non_null(strstr(event.error->detail, "bad key"));
    }
    expect_event(&s, HPX_EVENT_CLOSED, &event);
    unsigned bad = 0;
    for (unsigned closed = 0; bad + closed < 4;) { /* two attempts, seen to their end */
        const char *line = peer_next_line(&server->process);
        assert_non_null(line);
        assert_string_not_equal(line, "auth ok");
        bad += strcmp(line, "auth bad") == 0 ? 1 : 0;
        closed += strncmp(line, "closed", 6) == 0 ? 1 : 0;
    }
    assert_int_equal(bad, 2);
    session_close(&s);
}

/* ---- Each server ----------------------------------------------------------------------------- */

static const char *python(void)
{
    const char *path = getenv("HPX_PYTHON");
    return path != NULL ? path : "python3";
}

static void check_server(const char *script)
{
    ws_peer server;
    ws_peer_start(&server, script);
    check_refused(&server);
    check_session(&server, false);
    check_session(&server, true);
    ws_peer_stop(&server);
}

static void test_session_when_against_node_ws_then_whole(void **state)
{
    (void)state;
    if (!peer_has((const char *const[]){"node", "-e", "require('ws')", NULL})) {
        skip();
    }
    check_server("session_server.js");
}

static void test_session_when_against_python_websockets_then_whole(void **state)
{
    (void)state;
    if (!peer_has((const char *const[]){python(), "-c", "import websockets", NULL})) {
        skip();
    }
    check_server("session_server.py");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_session_when_against_node_ws_then_whole),
        cmocka_unit_test(test_session_when_against_python_websockets_then_whole),
    };
    return cmocka_run_group_tests_name("e2e/session_peers", tests, NULL, NULL);
}

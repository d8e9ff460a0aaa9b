/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/e2e/ws_peer.h"

#include <stdio.h>

#include "tests/e2e/echo_script.h"
#include "tests/support/test.h"

const ws_way ws_ways[WS_WAYS] = {
    {CLIENT_POLLED, HPX_RECEIVE_MULTISHOT, false},
    {CLIENT_POLLED, HPX_RECEIVE_MULTISHOT, true},
    {CLIENT_THREAD, HPX_RECEIVE_MULTISHOT, false},
    {CLIENT_THREAD, HPX_RECEIVE_MULTISHOT, true},
    {CLIENT_STREAM, HPX_RECEIVE_MULTISHOT, false},
    {CLIENT_STREAM, HPX_RECEIVE_MULTISHOT, true},
    {CLIENT_POLLED, HPX_RECEIVE_HOT, false},
    {CLIENT_POLLED, HPX_RECEIVE_HOT, true},
    {CLIENT_THREAD, HPX_RECEIVE_HOT, false},
    {CLIENT_THREAD, HPX_RECEIVE_HOT, true},
    {CLIENT_STREAM, HPX_RECEIVE_HOT, false},
    {CLIENT_STREAM, HPX_RECEIVE_HOT, true},
};

/* ---- The server ------------------------------------------------------------------------------ */

void ws_certs(char folder[PEER_PATH_BYTES], const char *const *names)
{
    char script[PEER_PATH_BYTES];
    char out[1024];
    peer_folder_make(folder);
    peer_script(script, "make_certs.sh");
    const char *argv[16] = {"sh", script, folder};
    for (size_t i = 0; names[i] != NULL; i++) {
        assert_true(i + 4 < COUNT_OF(argv));
        argv[i + 3] = names[i];
    }
    assert_int_equal(peer_run(out, sizeof(out), argv), 0);
}

hpx_tls_context *ws_trust(const char *folder)
{
    char ca[PEER_PATH_BYTES + 16];
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_file = ca;
    hpx_tls_context *context = NULL;
    hpx_error error = {0};
    if (hpx_tls_client_context_new(&context, &config, &error) != HPX_OK) {
        fail_msg("%s: %s", ca, error.detail);
    }
    return context;
}

void ws_peer_start(ws_peer *server, const char *script)
{
    *server = (ws_peer){0};
    ws_certs(server->folder, (const char *const[]){"good", NULL});
    char cert[PEER_PATH_BYTES + 16];
    char key[PEER_PATH_BYTES + 16];
    (void)snprintf(cert, sizeof(cert), "%s/good.pem", server->folder);
    (void)snprintf(key, sizeof(key), "%s/good.key", server->folder);
    peer_start_script(&server->process, script, (const char *const[]){"--tls", cert, key, NULL});
    server->port = peer_port(&server->process, "listening");
    server->tls_port = peer_port(&server->process, "listening-tls");
    server->tls = ws_trust(server->folder);
}

void ws_peer_stop(ws_peer *server)
{
    hpx_tls_context_release(server->tls);
    peer_kill(&server->process);
    peer_folder_remove(server->folder);
}

hpx_ws_config
ws_peer_config(const ws_peer *server, const ws_way *way, const char *path, char url[WS_URL_BYTES])
{
    const int size = snprintf(
        url,
        WS_URL_BYTES,
        "%s://127.0.0.1:%u%s",
        way->tls ? "wss" : "ws",
        way->tls ? server->tls_port : server->port,
        path);
    assert_in_range(size, 1, WS_URL_BYTES - 1);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.tls = way->tls ? server->tls : NULL;
    config.receive_mode = way->mode;
    return config;
}

/* ---- A connection of a script ---------------------------------------------------------------- */

typedef struct session {
    e2e_bed bed;
    e2e_client client;
    hpx_conn_info info;
} session;

static void session_open(session *s, ws_peer *server, const ws_way *way, const char *path)
{
    char url[WS_URL_BYTES];
    const hpx_ws_config config = ws_peer_config(server, way, path, url);
    bed_open(&s->bed, way->form, NULL);
    client_connect(&s->client, &s->bed, &config, &s->info);
    assert_false(s->info.is_server);
    assert_int_equal(s->info.is_tls, way->tls);
    assert_int_equal(s->info.tls_verified, way->tls);
    assert_string_equal(s->info.tls_version, way->tls ? "TLSv1.3" : "");
    assert_true(s->info.upgrade_ns > 0);
    const char *seen = peer_expect(&server->process, "open");
    assert_int_equal(strncmp(seen, path, strlen(path)), 0);
}

/* Our close; the server has to have seen its code. */
static void session_finish(session *s, ws_peer *server)
{
    client_finish(&s->client);
    assert_string_equal(peer_expect(&server->process, "closed"), "1000 ");
    bed_close(&s->bed);
}

void ws_check_echo(ws_peer *server, const ws_way *way, size_t bytes_max)
{
    session s;
    session_open(&s, server, way, "/echo");
    echo_sizes(&s.client, bytes_max);
    session_finish(&s, server);
}

void ws_check_fragments(ws_peer *server, const ws_way *way, size_t bytes_max)
{
    session s;
    session_open(&s, server, way, "/fragment");
    for (uint32_t i = 0; i < 3; i++) {
        echo_sizes(&s.client, i == 0 ? bytes_max : 65536);
    }
    session_finish(&s, server);
}

void ws_check_pipelined(ws_peer *server, const ws_way *way)
{
    session s;
    session_open(&s, server, way, "/echo");
    echo_pipelined(&s.client, 1000);
    session_finish(&s, server);
}

/* The server pings with 0, 1 and 125 bytes and tells what the pongs held. */
void ws_check_ping(ws_peer *server, const ws_way *way)
{
    char longest[6 + 125] = "pong ";
    memset(longest + 5, 'x', 125);
    session s;
    session_open(&s, server, way, "/ping");
    client_expect_message(&s.client, HPX_MESSAGE_TEXT, "pong ", 5);
    client_expect_message(&s.client, HPX_MESSAGE_TEXT, "pong a", 6);
    client_expect_message(&s.client, HPX_MESSAGE_TEXT, longest, 5 + 125);
    session_finish(&s, server);
}

void ws_check_server_close(ws_peer *server, const ws_way *way)
{
    static const struct {
        const char *path;
        int code;
        const char *reason;
    } rows[] = {
        {"/close?code=1000", 1000, ""},
        {"/close?code=1001&reason=restart", 1001, "restart"},
        {"/close?code=1013&reason=overloaded", 1013, "overloaded"},
        {"/close?code=4999&reason=caf%C3%A9", 4999, "caf\xC3\xA9"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        session s;
        session_open(&s, server, way, rows[i].path);
        client_send(&s.client, HPX_MESSAGE_TEXT, "now", 3);
        hpx_error error;
        client_expect_end(&s.client, &error);
        assert_string_equal(hpx_status_name(error.status), "HPX_E_WS_CLOSED");
        assert_int_equal(error.stage, HPX_STAGE_READY);
        assert_int_equal(error.close_code, rows[i].code);
        assert_non_null(strstr(error.detail, rows[i].reason));
        bed_close(&s.bed);
        assert_int_equal(atoi(peer_expect(&server->process, "closed")), rows[i].code);
    }
}

void ws_check_our_close(ws_peer *server, const ws_way *way)
{
    session s;
    session_open(&s, server, way, "/echo");
    client_close(&s.client, 4321, "done for today \xE2\x82\xAC");
    hpx_error error;
    client_expect_end(&s.client, &error);
    assert_string_equal(hpx_status_name(error.status), "HPX_OK");
    assert_int_equal(error.close_code, 4321);
    assert_string_equal(
        peer_expect(&server->process, "closed"), "4321 done for today \xE2\x82\xAC");
    bed_close(&s.bed);
}

void ws_check_subprotocol(ws_peer *server, const ws_way *way)
{
    static const struct {
        const char *offered[2];
        const char *chosen;
    } rows[] = {
        {{"hpx.v2", "hpx.v1"}, "hpx.v2"},
        {{"hpx.v1", "hpx.v2"}, "hpx.v2"},
        {{"hpx.v0", "hpx.v1"}, ""}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char url[WS_URL_BYTES];
        e2e_bed bed;
        e2e_client client;
        hpx_conn_info info;
        hpx_ws_config config = ws_peer_config(server, way, "/echo", url);
        config.subprotocols = rows[i].offered;
        config.subprotocol_count = 2;
        bed_open(&bed, way->form, NULL);
        client_connect(&client, &bed, &config, &info);
        assert_string_equal(info.subprotocol, rows[i].chosen);
        client_finish(&client);
        bed_close(&bed);
        (void)peer_expect(&server->process, "closed");
    }
}

void ws_check_headers(ws_peer *server, const ws_way *way)
{
    static const char *const headers[] = {
        "X-Api-Key: s3cr3t == \"q\"", "x-empty:", "User-Agent: hpx-e2e", "X-Last: caf\xC3\xA9"};
    char url[WS_URL_BYTES];
    e2e_bed bed;
    e2e_client client;
    hpx_ws_config config = ws_peer_config(server, way, "/headers?a=%20b", url);
    config.headers = headers;
    config.header_count = 3; /* the last one's bytes are read as Latin-1 by some servers */
    bed_open(&bed, way->form, NULL);
    client_connect(&client, &bed, &config, NULL);
    static const char expected[] = "x-api-key=s3cr3t == \"q\";x-empty=";
    client_expect_message(&client, HPX_MESSAGE_TEXT, expected, sizeof(expected) - 1);
    client_finish(&client);
    bed_close(&bed);
    const char *seen = peer_expect(&server->process, "open");
    assert_int_equal(strncmp(seen, "/headers?a=%20b", 15), 0);
    (void)peer_expect(&server->process, "closed");
}

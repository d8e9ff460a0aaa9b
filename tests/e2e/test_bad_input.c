/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: whatever goes wrong on the way to Ready is told precisely: status, stage, the protocol's
 * own number, and words; within its own deadline; with one DISCONNECTED and one CLOSED. Method:
 * malformed URLs; a scripted name server; ports that refuse or say nothing; a scripted HTTP server.
 * Every row runs in each form (client.h) on an engine of its own, whose descriptors and allocations
 * are counted.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/peer.h"
#include "tests/e2e/script_server.h"
#include "tests/e2e/ws_peer.h"
#include "tests/engine/dns_server.h"
#include "tests/support/test.h"

#define MS HPX_NS_PER_MS

/* A row that is not about a timeout has to end long before any default one. */
#define PROMPT_NS (4 * HPX_NS_PER_S)

/* ---- URLs ------------------------------------------------------------------------------------ */

static const char *const bad_urls[] = {
    "",
    "localhost",
    "http://localhost/",
    "wsx://localhost/",
    "ws:/localhost/",
    "ws://",
    "ws:///path",
    "ws://:80/",
    "ws://user@localhost/",
    "ws://localhost:/",
    "ws://localhost:0/",
    "ws://localhost:65536/",
    "ws://localhost:8a/",
    "ws://localhost:-1/",
    "ws://[::1/",
    "ws://[::1]x/",
    "ws://[localhost]/",
    "ws://::1/",
    "ws://256.0.0.1/",
    "ws://127.1/",
    "ws://local host/",
    "ws://localhost/a b",
    "ws://localhost/\r\nHost: evil",
    "ws://localhost/#fragment",
    "ws://localhost/%zz",
    "ws://local\xC3\xA9host/",
    " ws://localhost/",
};

static void test_url_when_malformed_then_it_is_refused_at_once(void **state)
{
    (void)state;
    e2e_bed bed;
    bed_open(&bed, CLIENT_STREAM, NULL);
    for (size_t i = 0; i < COUNT_OF(bad_urls); i++) {
        hpx_ws_config config = HPX_WS_CONFIG_INIT;
        hpx_handle *handle = NULL;
        hpx_stream *stream = NULL;
        hpx_error error = {0};
        config.url = bad_urls[i];
        const hpx_status status = hpx_ws_connect(bed.port, &config, &handle, &stream, &error);
        if (status != HPX_E_URL || error.status != HPX_E_URL || error.detail[0] == '\0') {
            fail_msg("\"%s\": %s, \"%s\"", bad_urls[i], hpx_status_name(status), error.detail);
        }
        assert_int_equal(error.stage, HPX_STAGE_CONFIG);
        assert_null(handle);
        assert_null(stream);
    }
    bed_close(&bed);
}

/* ---- One attempt that fails ------------------------------------------------------------------ */

typedef struct failure {
    const char *status;
    hpx_stage stage;
    int32_t os_errno;
    int32_t http_status;
    uint64_t retry_after_ns;
    const char *detail; /* part of it, or NULL */
} failure;

typedef struct attempt {
    const char *name;
    client_form form;
    const hpx_engine_config *engine; /* or NULL */
    const hpx_ws_config *config;
    script_server *server; /* or NULL; its descriptors are ours, too */
    uint64_t least_ns;     /* how long it may take */
    uint64_t most_ns;
} attempt;

/* The attempt ends as expected. Returns what the scripted server saw. */
static int check_failure(const attempt *a, const failure *expected)
{
    e2e_bed bed;
    e2e_client client;
    hpx_error error;
    const uint32_t served = a->server != NULL ? script_served(a->server) : 0;
    bed_open(&bed, a->form, a->engine);
    const uint64_t began_ns = hpx_clock_now_ns();
    client_open(&client, &bed, a->config);
    client_expect_end(&client, &error);
    const uint64_t took_ns = hpx_clock_now_ns() - began_ns;
    const int saw = a->server != NULL ? script_await(a->server, served + 1) : SCRIPT_SAW_NOTHING;
    assert_int_equal(client.connected, 0);
    assert_int_equal(client.messages, 0);
    bed_close(&bed);
    const bool same = strcmp(hpx_status_name(error.status), expected->status) == 0 &&
                      error.stage == expected->stage && error.os_errno == expected->os_errno &&
                      error.http_status == expected->http_status &&
                      error.retry_after_ns == expected->retry_after_ns && error.close_code == 0;
    const char *part = expected->detail != NULL ? expected->detail : "";
    if (!same || strstr(error.detail, part) == NULL || error.detail[0] == '\0') {
        fail_msg(
            "%s (%s): %s at %s, errno %d, http %d, retry %llu: \"%s\"",
            a->name,
            client_form_names[a->form],
            hpx_status_name(error.status),
            hpx_stage_name(error.stage),
            error.os_errno,
            error.http_status,
            (unsigned long long)error.retry_after_ns,
            error.detail);
    }
    const uint64_t slack_ns = a->least_ns / 100; /* the shard's clock is not this one */
    if (took_ns + slack_ns < a->least_ns || took_ns > a->most_ns) {
        fail_msg(
            "%s (%s): took %llu us",
            a->name,
            client_form_names[a->form],
            (unsigned long long)(took_ns / HPX_NS_PER_US));
    }
    return saw;
}

/* ---- Names ----------------------------------------------------------------------------------- */

static void test_name_when_it_cannot_be_resolved_then_the_cause_is_told(void **state)
{
    static const struct {
        const char *url;
        const char *status;
        uint64_t timeout_ns;
    } rows[] = {
        {"ws://nx.invalid/", "HPX_E_DNS_NOT_FOUND", 0},
        {"ws://nodata.test/", "HPX_E_DNS_NOT_FOUND", 0},
        {"wss://servfail.test/", "HPX_E_DNS_FAILED", 0},
        {"ws://silent.test/", "HPX_E_DNS_TIMEOUT", 200 * MS},
    };
    (void)state;
    static dns_server dns;
    char servers[32];
    dns_server_start(&dns);
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", dns.port);
    hpx_engine_config engine = HPX_ENGINE_CONFIG_INIT;
    engine.dns_servers = servers;
    for (size_t i = 0; i < COUNT_OF(rows) * CLIENT_FORMS; i++) {
        const size_t row = i / CLIENT_FORMS;
        const failure expected = {.status = rows[row].status, .stage = HPX_STAGE_RESOLVE};
        hpx_ws_config config = HPX_WS_CONFIG_INIT;
        config.url = rows[row].url;
        config.resolve_timeout_ns = rows[row].timeout_ns;
        const attempt a = {
            .name = rows[row].url,
            .form = (client_form)(i % CLIENT_FORMS),
            .engine = &engine,
            .config = &config,
            .least_ns = rows[row].timeout_ns,
            .most_ns = rows[row].timeout_ns + PROMPT_NS};
        (void)check_failure(&a, &expected);
    }
    dns_server_stop(&dns);
}

/* ---- TCP ------------------------------------------------------------------------------------- */

static void test_connect_when_refused_then_the_errno_is_told(void **state)
{
    (void)state;
    uint16_t port;
    char url[WS_URL_BYTES];
    const int held = peer_bind(false, &port); /* bound, and not listening */
    const failure expected = {
        .status = "ECONNREFUSED",
        .stage = HPX_STAGE_CONNECT,
        .os_errno = ECONNREFUSED,
        .detail = "127.0.0.1:"};
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        (void)snprintf(url, sizeof(url), "%s://127.0.0.1:%u/", form == 0 ? "wss" : "ws", port);
        const attempt a = {
            .name = "refused", .form = form, .config = &config, .most_ns = PROMPT_NS};
        (void)check_failure(&a, &expected);
    }
    (void)close(held);
}

static void test_connect_when_nothing_answers_then_its_deadline_ends_it(void **state)
{
    (void)state;
    script_hole hole;
    char url[WS_URL_BYTES];
    assert_true(script_hole_open(&hole, AF_INET, 0));
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", hole.port);
    const failure expected = {
        .status = "HPX_E_CONNECT_TIMEOUT", .stage = HPX_STAGE_CONNECT, .detail = "127.0.0.1:"};
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.connect_timeout_ns = 300 * MS;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        const attempt a = {
            .name = "hole",
            .form = form,
            .config = &config,
            .least_ns = 300 * MS,
            .most_ns = 300 * MS + PROMPT_NS};
        (void)check_failure(&a, &expected);
    }
    script_hole_close(&hole);
}

/* Closed while it connects: it ends at once, as aborted by us. */
static void test_connect_when_closed_by_us_then_it_ends_at_once(void **state)
{
    (void)state;
    script_hole hole;
    char url[WS_URL_BYTES];
    assert_true(script_hole_open(&hole, AF_INET, 0));
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", hole.port);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        e2e_bed bed;
        e2e_client client;
        hpx_error error;
        bed_open(&bed, form, NULL);
        client_open(&client, &bed, &config);
        for (int i = 0; i < 3; i++) {
            bed_turn(&bed);
        }
        client_close(&client, 0, "");
        client_expect_end(&client, &error);
        bed_close(&bed);
        assert_string_equal(hpx_status_name(error.status), "HPX_E_ABORTED");
    }
    script_hole_close(&hole);
}

/* ---- The answer to the upgrade ----------------------------------------------------------------
 */

typedef enum answer_end {
    END_WAIT = 0, /* for the client's FIN */
    END_CLOSE,
    END_RESET,
} answer_end;

typedef struct answer_row {
    const char *name;
    const char *answer; /* after the request; "@" stands for the right Sec-WebSocket-Accept */
    answer_end end;
    failure expected;
    uint64_t timeout_ns; /* of the upgrade; 0: default */
} answer_row;

#define GOOD_FIELDS "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define SWITCHING   "HTTP/1.1 101 Switching Protocols\r\n"
#define FAIL(name, code)                                                                           \
    {                                                                                              \
        .status = name, .stage = HPX_STAGE_UPGRADE, .http_status = code                            \
    }
#define FAIL_OF(name, code, words)                                                                 \
    {                                                                                              \
        .status = name, .stage = HPX_STAGE_UPGRADE, .http_status = code, .detail = words           \
    }

static const answer_row answer_rows[] = {
    {"200",
     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
     END_WAIT,
     FAIL_OF("HPX_E_UPGRADE_STATUS", 200, "200"),
     0},
    {"404",
     "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
     END_CLOSE,
     FAIL_OF("HPX_E_UPGRADE_STATUS", 404, "Not Found"),
     0},
    {"401",
     "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n\r\n",
     END_WAIT,
     FAIL("HPX_E_UPGRADE_STATUS", 401),
     0},
    {"302",
     "HTTP/1.1 302 Found\r\nLocation: wss://elsewhere.example/feed\r\n\r\n",
     END_WAIT,
     FAIL_OF("HPX_E_UPGRADE_STATUS", 302, "wss://elsewhere.example/feed"),
     0},
    {"429",
     "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\n\r\n",
     END_WAIT,
     {.status = "HPX_E_UPGRADE_STATUS",
      .stage = HPX_STAGE_UPGRADE,
      .http_status = 429,
      .retry_after_ns = 7 * HPX_NS_PER_S},
     0},
    {"503",
     "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 120\r\n\r\n",
     END_CLOSE,
     {.status = "HPX_E_UPGRADE_STATUS",
      .stage = HPX_STAGE_UPGRADE,
      .http_status = 503,
      .retry_after_ns = 120 * HPX_NS_PER_S},
     0},
    {"wrong accept",
     SWITCHING GOOD_FIELDS "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
     END_WAIT,
     FAIL("HPX_E_UPGRADE_ACCEPT", 101),
     0},
    {"no accept", SWITCHING GOOD_FIELDS "\r\n", END_WAIT, FAIL("HPX_E_UPGRADE_ACCEPT", 101), 0},
    {"no upgrade",
     SWITCHING "Connection: Upgrade\r\nSec-WebSocket-Accept: @\r\n\r\n",
     END_WAIT,
     FAIL("HPX_E_UPGRADE_HEADER", 101),
     0},
    {"no connection",
     SWITCHING "Upgrade: websocket\r\nSec-WebSocket-Accept: @\r\n\r\n",
     END_WAIT,
     FAIL("HPX_E_UPGRADE_HEADER", 101),
     0},
    {"h2c",
     SWITCHING "Upgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: @\r\n\r\n",
     END_WAIT,
     FAIL_OF("HPX_E_UPGRADE_HEADER", 101, "h2c"),
     0},
    {"subprotocol",
     SWITCHING GOOD_FIELDS "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Protocol: unoffered\r\n\r\n",
     END_WAIT,
     FAIL_OF("HPX_E_UPGRADE_SUBPROTOCOL", 101, "unoffered"),
     0},
    {"extension",
     SWITCHING GOOD_FIELDS
     "Sec-WebSocket-Accept: @\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
     END_WAIT,
     FAIL_OF("HPX_E_UPGRADE_EXTENSION", 101, "permessage-deflate"),
     0},
    {"HTTP/1.0",
     "HTTP/1.0 101 Switching Protocols\r\n" GOOD_FIELDS "Sec-WebSocket-Accept: @\r\n\r\n",
     END_WAIT,
     FAIL("HPX_E_HTTP_MALFORMED", 101),
     0},
    {"garbage",
     "\x16\x03\x01\x02garbage\x80\xFF\x01\r\n\r\n",
     END_WAIT,
     FAIL("HPX_E_HTTP_MALFORMED", 0),
     0},
    {"SSH", "SSH-2.0-OpenSSH_9.2p1\r\n", END_WAIT, FAIL("HPX_E_HTTP_MALFORMED", 0), 500 * MS},
    {"TLS alert", "\x15\x03\x01\x02\x02\x46", END_CLOSE, FAIL("HPX_E_HTTP_MALFORMED", 0), 0},
    {"space before colon",
     SWITCHING "Upgrade : websocket\r\n\r\n",
     END_WAIT,
     FAIL("HPX_E_HTTP_MALFORMED", 101),
     0},
    {"silence", "", END_WAIT, FAIL("HPX_E_UPGRADE_TIMEOUT", 0), 300 * MS},
    {"half an answer", "HTTP/1.1 101 Swit", END_WAIT, FAIL("HPX_E_UPGRADE_TIMEOUT", 0), 300 * MS},
    {"close after the request", "", END_CLOSE, FAIL("HPX_E_EOF", 0), 0},
    {"close in the head", SWITCHING "Upgrade: web", END_CLOSE, FAIL("HPX_E_EOF", 0), 0},
    {"reset",
     "",
     END_RESET,
     {.status = "ECONNRESET", .stage = HPX_STAGE_UPGRADE, .os_errno = ECONNRESET},
     0},
};

static int serve_answer(script_conn *conn, void *user)
{
    const answer_row *row = user;
    if (!script_read_head(conn)) {
        return SCRIPT_SAW_NOTHING;
    }
    char good[512];
    char text[1024];
    const size_t size = script_answer(conn, good, sizeof(good));
    const char *at = strchr(row->answer, '@');
    if (at != NULL) {
        good[size - 4] = '\0';
        (void)snprintf(
            text,
            sizeof(text),
            "%.*s%s%s",
            (int)(at - row->answer),
            row->answer,
            strstr(good, "Accept: ") + 8,
            at + 1);
    } else {
        (void)snprintf(text, sizeof(text), "%s", row->answer);
    }
    (void)script_write(conn, text, strlen(text));
    switch (row->end) {
    case END_WAIT:
        return script_read_end(conn);
    case END_RESET:
        script_reset(conn);
        break;
    case END_CLOSE:
        break;
    }
    return SCRIPT_SAW_NOTHING;
}

static void test_upgrade_when_the_answer_is_bad_then_the_error_is_precise(void **state)
{
    (void)state;
    static const char *const offered[] = {"hpx.v2"};
    for (size_t i = 0; i < COUNT_OF(answer_rows); i++) {
        const answer_row *row = &answer_rows[i];
        answer_row copy = *row;
        script_server server;
        char url[WS_URL_BYTES];
        script_start(&server, serve_answer, &copy);
        (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", server.port);
        hpx_ws_config config = HPX_WS_CONFIG_INIT;
        config.url = url;
        config.subprotocols = offered;
        config.subprotocol_count = 1;
        config.upgrade_timeout_ns = row->timeout_ns;
        const bool is_timeout = strcmp(row->expected.status, "HPX_E_UPGRADE_TIMEOUT") == 0;
        for (client_form form = 0; form < CLIENT_FORMS; form++) {
            const attempt a = {
                .name = row->name,
                .form = form,
                .config = &config,
                .server = &server,
                .least_ns = is_timeout ? row->timeout_ns : 0,
                .most_ns = row->timeout_ns + PROMPT_NS};
            const int saw = check_failure(&a, &row->expected);
            /* We have closed; bytes that we did not read make that a reset. */
            assert_true(row->end != END_WAIT || saw == SCRIPT_SAW_EOF || saw == SCRIPT_SAW_RESET);
        }
        script_stop(&server);
    }
}

/* ---- Floods ---------------------------------------------------------------------------------- */

static int serve_headers(script_conn *conn, void *user)
{
    size_t *written = user;
    static const char line[] = "X-Filler: 0123456789012345678901234567890123456789012345678901\r\n";
    bool alive = script_read_head(conn) && script_write(conn, SWITCHING, sizeof(SWITCHING) - 1);
    for (*written = 0; alive && *written < (20u << 20); *written += sizeof(line) - 1) {
        alive = script_write(conn, line, sizeof(line) - 1);
    }
    return SCRIPT_SAW_NOTHING;
}

/* 20 MB of header fields: refused at the limit, most of it unread. */
static void test_upgrade_when_headers_flood_then_they_are_cut_at_the_limit(void **state)
{
    (void)state;
    static const failure expected = {
        .status = "HPX_E_HTTP_TOO_BIG", .stage = HPX_STAGE_UPGRADE, .detail = ""};
    size_t written = 0;
    script_server server;
    char url[WS_URL_BYTES];
    script_start(&server, serve_headers, &written);
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", server.port);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        config.upgrade_headers_max = form == 0 ? 10000 : 0; /* bytes are cut, or fields */
        const attempt a = {
            .name = "header flood",
            .form = form,
            .config = &config,
            .server = &server,
            .most_ns = PROMPT_NS};
        (void)check_failure(&a, &expected);
        assert_true(written < (20u << 20));
    }
    script_stop(&server);
}

/* ---- A connection that is taken and dropped at once -------------------------------------------
 */

static int serve_nothing(script_conn *conn, void *user)
{
    (void)conn;
    (void)user;
    return SCRIPT_SAW_NOTHING;
}

/* FIN before the request, or RST because of it: which one comes first is the kernel's affair. */
static void test_upgrade_when_the_server_hangs_up_at_once_then_that_is_told(void **state)
{
    (void)state;
    script_server server;
    char url[WS_URL_BYTES];
    script_start(&server, serve_nothing, NULL);
    (void)snprintf(url, sizeof(url), "ws://127.0.0.1:%u/", server.port);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    for (int i = 0; i < 10 * CLIENT_FORMS; i++) {
        e2e_bed bed;
        e2e_client client;
        hpx_error error;
        bed_open(&bed, (client_form)(i % CLIENT_FORMS), NULL);
        client_open(&client, &bed, &config);
        client_expect_end(&client, &error);
        (void)script_await(&server, (uint32_t)i + 1);
        bed_close(&bed);
        assert_true(
            error.status == HPX_E_EOF || error.status == -ECONNRESET || error.status == -EPIPE);
        assert_int_equal(error.stage, HPX_STAGE_UPGRADE);
    }
    script_stop(&server);
}

/* ---- TLS to what is no TLS --------------------------------------------------------------------
 */

typedef struct raw_row {
    const char *name;
    const char *bytes; /* written as soon as the client has said something */
    size_t size;
    answer_end end;
    failure expected;
    uint64_t timeout_ns; /* of TLS; 0: default */
} raw_row;

#define BYTES(text) (text), sizeof(text) - 1
#define TLS_FAIL(name)                                                                             \
    {                                                                                              \
        .status = name, .stage = HPX_STAGE_TLS                                                     \
    }

static const raw_row raw_rows[] = {
    {"HTTP",
     BYTES("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
     END_CLOSE,
     {.status = "HPX_E_TLS_PROTOCOL", .stage = HPX_STAGE_TLS, .detail = "HTTP"},
     0},
    {"SSH", BYTES("SSH-2.0-OpenSSH_9.2p1\r\n"), END_WAIT, TLS_FAIL("HPX_E_TLS_PROTOCOL"), 0},
    {"silence", BYTES(""), END_WAIT, TLS_FAIL("HPX_E_TLS_TIMEOUT"), 300 * MS},
    {"half a record",
     BYTES("\x16\x03\x03\x01\x00\x02"),
     END_WAIT,
     TLS_FAIL("HPX_E_TLS_TIMEOUT"),
     300 * MS},
    {"close", BYTES(""), END_CLOSE, TLS_FAIL("HPX_E_EOF"), 0},
    {"alert", BYTES("\x15\x03\x03\x00\x02\x02\x28"), END_CLOSE, TLS_FAIL("HPX_E_TLS_ALERT"), 0},
    {"reset",
     BYTES(""),
     END_RESET,
     {.status = "ECONNRESET", .stage = HPX_STAGE_TLS, .os_errno = ECONNRESET},
     0},
};

static int serve_raw(script_conn *conn, void *user)
{
    const raw_row *row = user;
    char hello[4096];
    if (recv(conn->fd, hello, sizeof(hello), 0) <= 0) {
        return SCRIPT_SAW_NOTHING;
    }
    (void)script_write(conn, row->bytes, row->size);
    if (row->end == END_RESET) {
        script_reset(conn);
        return SCRIPT_SAW_NOTHING;
    }
    return row->end == END_WAIT ? script_read_end(conn) : SCRIPT_SAW_NOTHING;
}

static void test_tls_when_the_server_does_not_speak_it_then_that_is_told(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(raw_rows); i++) {
        raw_row row = raw_rows[i];
        script_server server;
        char url[WS_URL_BYTES];
        script_start(&server, serve_raw, &row);
        (void)snprintf(url, sizeof(url), "wss://127.0.0.1:%u/", server.port);
        hpx_ws_config config = HPX_WS_CONFIG_INIT;
        config.url = url;
        config.tls_timeout_ns = row.timeout_ns;
        for (client_form form = 0; form < CLIENT_FORMS; form++) {
            const attempt a = {
                .name = row.name,
                .form = form,
                .config = &config,
                .server = &server,
                .least_ns = row.timeout_ns,
                .most_ns = row.timeout_ns + PROMPT_NS};
            (void)check_failure(&a, &row.expected);
        }
        script_stop(&server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_when_malformed_then_it_is_refused_at_once),
        cmocka_unit_test(test_name_when_it_cannot_be_resolved_then_the_cause_is_told),
        cmocka_unit_test(test_connect_when_refused_then_the_errno_is_told),
        cmocka_unit_test(test_connect_when_nothing_answers_then_its_deadline_ends_it),
        cmocka_unit_test(test_connect_when_closed_by_us_then_it_ends_at_once),
        cmocka_unit_test(test_upgrade_when_the_answer_is_bad_then_the_error_is_precise),
        cmocka_unit_test(test_upgrade_when_headers_flood_then_they_are_cut_at_the_limit),
        cmocka_unit_test(test_upgrade_when_the_server_hangs_up_at_once_then_that_is_told),
        cmocka_unit_test(test_tls_when_the_server_does_not_speak_it_then_that_is_told),
    };
    return cmocka_run_group_tests_name("e2e/bad_input", tests, NULL, NULL);
}

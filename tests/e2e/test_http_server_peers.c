/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: our HTTP server serves other people's clients, over HTTP/1.1 and HTTP/2, plain and TLS.
 * Method: an engine with its own thread; curl for single requests, with what it has to say about
 * version, status and bytes; h2load for many streams on few connections. The server's own counters
 * are compared as well. Skipped without curl; parts without h2load.
 */
#include <stdatomic.h>
#include <stdio.h>

#include <hpx/hpx.h>

#include "tests/e2e/peer.h"
#include "tests/e2e/ws_peer.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

#define BIG_BYTES  (UINT64_C(20) << 20)
#define BODY_BYTES 300000u

typedef struct service {
    hpx_engine *engine;
    hpx_tls_context *tls;
    uint16_t port;
    uint16_t tls_port;
    _Atomic uint32_t requests;
    _Atomic uint32_t closed;
    _Atomic uint32_t lost;
    _Atomic uint32_t failures; /* of the server's API: must stay 0 */
} service;

static char folder[PEER_PATH_BYTES];
static service served;

/* ---- The service: on the shard's thread, which must not jump out through cmocka -------------- */

static void must(bool good)
{
    if (!good) {
        atomic_fetch_add_explicit(&served.failures, 1, memory_order_relaxed);
    }
}

static bool path_is(const hpx_http_call_info *info, const char *path)
{
    return info->path.size == strlen(path) && memcmp(info->path.data, path, info->path.size) == 0;
}

/* What is left of a "/big" is the call's user pointer. */
static void serve_big(hpx_http_call *call)
{
    static const uint8_t piece[16384];
    uint64_t left = (uintptr_t)hpx_http_call_get_user(call);
    while (left != 0) {
        const size_t some = left < sizeof(piece) ? (size_t)left : sizeof(piece);
        const hpx_status status =
            hpx_http_call_write(call, (hpx_span){.data = piece, .size = some});
        if (status == HPX_E_AGAIN) {
            break;
        }
        must(status == HPX_OK);
        left -= some;
    }
    hpx_http_call_set_user(call, (void *)(uintptr_t)left);
    if (left == 0) {
        must(hpx_http_call_end(call) == HPX_OK);
    }
}

static void serve_request(hpx_http_call *call, const hpx_http_call_info *info)
{
    const hpx_http_header headers[] = {
        hpx_http_header_of("Content-Type", "text/plain"),
        hpx_http_header_of("X-Mixed-Case", info->version == HPX_HTTP_2 ? "h2" : "h1")};
    if (path_is(info, "/echo")) {
        must(hpx_http_call_answer(call, 200, headers, 2, info->body, NULL) == HPX_OK);
    } else if (path_is(info, "/big")) {
        hpx_http_call_set_user(call, (void *)(uintptr_t)BIG_BYTES);
        const bool known = info->query.size == 0;
        must(
            hpx_http_call_begin(
                call, 200, headers, 2, known ? BIG_BYTES : HPX_HTTP_SIZE_UNKNOWN, NULL) == HPX_OK);
        serve_big(call);
    } else if (path_is(info, "/none")) {
        must(hpx_http_call_answer(call, 204, headers, 2, (hpx_span){0}, NULL) == HPX_OK);
    } else if (path_is(info, "/abort")) {
        must(hpx_http_call_begin(call, 200, NULL, 0, 100, NULL) == HPX_OK);
        must(hpx_http_call_write(call, hpx_span_of("part")) == HPX_OK);
        hpx_http_call_abort(call);
    } else {
        must(hpx_http_call_answer(call, 404, NULL, 0, hpx_span_of("no\n"), NULL) == HPX_OK);
    }
}

static void serve_event(hpx_http_call *call, const hpx_http_call_event *event, void *user)
{
    (void)user;
    switch (event->kind) {
    case HPX_HTTP_CALL_REQUEST:
        atomic_fetch_add_explicit(&served.requests, 1, memory_order_relaxed);
        serve_request(call, event->info);
        break;
    case HPX_HTTP_CALL_WRITABLE:
        serve_big(call);
        break;
    case HPX_HTTP_CALL_CLOSED:
        atomic_fetch_add_explicit(&served.closed, 1, memory_order_relaxed);
        atomic_fetch_add_explicit(
            &served.lost, event->error->status != HPX_OK, memory_order_relaxed);
        break;
    }
}

static void service_listen(hpx_shard *shard, void *user)
{
    (void)user;
    hpx_http_server_config config = HPX_HTTP_SERVER_CONFIG_INIT;
    config.address = "127.0.0.1:0";
    config.on_event = serve_event;
    config.close_timeout_ns = 5 * HPX_NS_PER_S; /* clients that are slow under a sanitizer */
    hpx_http_server *server = NULL;
    must(hpx_shard_http_listen(shard, &config, &server, NULL) == HPX_OK);
    served.port = hpx_http_server_get_port(server);
    config.tls = served.tls;
    must(hpx_shard_http_listen(shard, &config, &server, NULL) == HPX_OK);
    served.tls_port = hpx_http_server_get_port(server);
}

static int service_start(void **state)
{
    (void)state;
    ws_certs(folder, (const char *const[]){"good", NULL});
    char cert[PEER_PATH_BYTES + 16];
    char key[PEER_PATH_BYTES + 16];
    (void)snprintf(cert, sizeof(cert), "%s/good.pem", folder);
    (void)snprintf(key, sizeof(key), "%s/good.key", folder);
    hpx_tls_config tls = HPX_TLS_CONFIG_INIT;
    tls.cert_file = cert;
    tls.key_file = key;
    hpx_error error = {0};
    assert_int_equal(hpx_tls_server_context_new(&served.tls, &tls, &error), HPX_OK);
    hpx_engine_config engine = HPX_ENGINE_CONFIG_INIT;
    engine.wait_mode = HPX_WAIT_SLEEP;
    engine.on_shard_start = service_listen;
    assert_int_equal(hpx_engine_new(&served.engine, &engine, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(served.engine, &error), HPX_OK);
    return 0;
}

static int service_stop(void **state)
{
    (void)state;
    (void)hpx_engine_stop_wait(served.engine, 5 * HPX_NS_PER_S);
    hpx_engine_free(served.engine);
    hpx_tls_context_release(served.tls);
    peer_folder_remove(folder);
    return 0;
}

/* ---- curl ------------------------------------------------------------------------------------ */

typedef struct way {
    const char *option;
    const char *version; /* as curl says it */
    bool tls;
    bool is_h2;
} way;

static const way ways[] = {
    {"--http1.1", "1.1", false, false},
    {"--http1.0", "1.1", false, false}, /* the answer's version is the server's own */
    {"--http2-prior-knowledge", "2", false, true},
    {"--http1.1", "1.1", true, false},
    {"--http2", "2", true, true},
};

static char output[4096];

/* Runs curl with these arguments and up to four more (NULL ends); returns its exit status. */
static int curl(const way *w, const char *path, const char *const *more)
{
    char url[256];
    char ca[PEER_PATH_BYTES + 16];
    (void)snprintf(
        url,
        sizeof(url),
        "%s://localhost:%u%s",
        w->tls ? "https" : "http",
        w->tls ? served.tls_port : served.port,
        path);
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    const char *argv[24] = {"curl", "-sS", "--max-time", "60", "--cacert", ca, w->option, url};
    size_t count = 8;
    for (size_t i = 0; more[i] != NULL; i++) {
        assert_true(count + 1 < COUNT_OF(argv));
        argv[count++] = strcmp(more[i], "URL") == 0 ? url : more[i];
    }
    return peer_run(output, sizeof(output), argv);
}

static void expect_curl(const way *w, const char *path, const char *const *more, const char *text)
{
    const int status = curl(w, path, more);
    if (status != 0 || strcmp(output, text) != 0) {
        fail_msg("%s %s: exit %d, \"%s\", not \"%s\"", w->option, path, status, output, text);
    }
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_http_server_when_curl_asks_then_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        const way *w = &ways[i];
        char text[64];
        (void)snprintf(text, sizeof(text), "hello 200 %s %s", w->version, w->is_h2 ? "h2" : "h1");
        expect_curl(
            w,
            "/echo",
            ARGS("-d", "hello", "-w", " %{http_code} %{http_version} %header{x-mixed-case}"),
            text);
        expect_curl(w, "/none", ARGS("-w", "%{http_code} %{size_download}"), "204 0");
        expect_curl(w, "/where", ARGS("-w", "%{http_code}"), "no\n404");
        expect_curl(w, "/echo", ARGS("-I", "-o", "/dev/null", "-w", "%{http_code}"), "200");
        expect_curl(
            w,
            "/big",
            ARGS("-o", "/dev/null", "-w", "%{http_code} %{size_download}"),
            "200 20971520");
        expect_curl(w, "/big?x", ARGS("-o", "/dev/null", "-w", "%{size_download}"), "20971520");
        if (w->is_h2 && !w->tls) {
            continue; /* curl 7.88 fails to use such a connection again, with nghttpd too */
        }
        expect_curl(
            w,
            "/echo",
            ARGS("URL", "-d", "x", "-w", "%{num_connects},"),
            strcmp(w->option, "--http1.0") == 0 ? "x1,x1," : "x1,x0,");
    }
    assert_int_equal(served.failures, 0);
    assert_int_equal(served.lost, 0);
}

/* 300 kB up and down: chunked in HTTP/1.1, in HTTP/2 more than a stream's window; Expect. */
static void test_http_server_when_curl_sends_a_body_then_it_comes_back(void **state)
{
    (void)state;
    char sent[PEER_PATH_BYTES + 16];
    char got[PEER_PATH_BYTES + 16];
    char at[PEER_PATH_BYTES + 24];
    (void)snprintf(sent, sizeof(sent), "%s/sent", folder);
    (void)snprintf(got, sizeof(got), "%s/got", folder);
    (void)snprintf(at, sizeof(at), "@%s", sent);
    FILE *file = fopen(sent, "wb");
    assert_non_null(file);
    for (uint32_t i = 0; i < BODY_BYTES; i++) {
        fputc((int)(i * 2654435761u >> 24), file);
    }
    assert_int_equal(fclose(file), 0);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        const char *const headers[] = {
            "Expect: 100-continue", "Transfer-Encoding: chunked", "A: b"};
        for (size_t h = 0; h < COUNT_OF(headers); h++) {
            const bool is_1_0 = strcmp(ways[i].option, "--http1.0") == 0; /* neither is for it */
            if ((h == 1 && ways[i].is_h2) || (h < 2 && is_1_0)) {
                continue;
            }
            expect_curl(
                &ways[i],
                "/echo",
                ARGS("-H", headers[h], "--data-binary", at, "-o", got, "-w", "%{http_code}"),
                "200");
            assert_int_equal(peer_run(output, sizeof(output), ARGS("cmp", sent, got)), 0);
        }
    }
    assert_int_equal(served.failures, 0);
}

/* More than body_bytes_max: 413, and the client is not left waiting. */
static void test_http_server_when_body_is_too_large_then_413(void **state)
{
    (void)state;
    char at[PEER_PATH_BYTES + 24];
    (void)snprintf(at, sizeof(at), "@%s/large", folder);
    FILE *file = fopen(at + 1, "wb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 2 << 20, SEEK_SET), 0);
    fputc('x', file);
    assert_int_equal(fclose(file), 0);
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        (void)curl(
            &ways[i], "/echo", ARGS("--data-binary", at, "-o", "/dev/null", "-w", "%{http_code}"));
        if (strstr(output, "413") == NULL) {
            fail_msg("%s: %s", ways[i].option, output);
        }
    }
    assert_int_equal(served.failures, 0);
}

static void test_http_server_when_answer_is_cut_off_then_curl_sees_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(ways); i++) {
        const uint32_t lost = served.lost;
        const int status = curl(&ways[i], "/abort", ARGS("-o", "/dev/null"));
        /* 18 partial file, 52 nothing, 56 receive error, 92 HTTP/2 stream error */
        assert_true(status == 18 || status == 52 || status == 56 || status == 92);
        for (uint64_t end = peer_now_ms() + PEER_DEADLINE_MS; served.lost == lost;) {
            assert_true(peer_now_ms() < end);
        }
    }
    assert_int_equal(served.failures, 0);
}

/* ---- h2load ---------------------------------------------------------------------------------- */

static void test_http_server_when_h2load_then_every_request_succeeds(void **state)
{
    (void)state;
    if (!peer_has(ARGS("h2load", "--version"))) {
        skip();
    }
    static const char *const forms[][2] = {{"http", "--h1"}, {"http", NULL}, {"https", NULL}};
    for (size_t i = 0; i < COUNT_OF(forms); i++) {
        char url[128];
        const bool tls = strcmp(forms[i][0], "https") == 0;
        (void)snprintf(
            url,
            sizeof(url),
            "%s://127.0.0.1:%u/echo",
            forms[i][0],
            tls ? served.tls_port : served.port);
        const uint32_t before = served.requests;
        const char *const argv[] = {
            "h2load", "-n", "3000", "-c", "5", "-m", "40", url, forms[i][1], NULL};
        assert_int_equal(peer_run(output, sizeof(output), argv), 0);
        if (strstr(output, "3000 succeeded, 0 failed, 0 errored, 0 timeout") == NULL) {
            fail_msg("%s", output);
        }
        assert_int_equal(served.requests - before, 3000);
    }
    assert_int_equal(served.failures, 0);
}

/* Every call ended, once. */
static void test_http_server_when_all_is_over_then_calls_are_closed(void **state)
{
    (void)state;
    for (uint64_t end = peer_now_ms() + PEER_DEADLINE_MS; served.requests != served.closed;) {
        assert_true(peer_now_ms() < end);
    }
}

int main(void)
{
    if (!peer_has(ARGS("curl", "--version"))) {
        return TEST_EXIT_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_http_server_when_curl_asks_then_answers),
        cmocka_unit_test(test_http_server_when_curl_sends_a_body_then_it_comes_back),
        cmocka_unit_test(test_http_server_when_body_is_too_large_then_413),
        cmocka_unit_test(test_http_server_when_answer_is_cut_off_then_curl_sees_it),
        cmocka_unit_test(test_http_server_when_h2load_then_every_request_succeeds),
        cmocka_unit_test(test_http_server_when_all_is_over_then_calls_are_closed),
    };
    return cmocka_run_group_tests_name("e2e/http_server_peers", tests, service_start, service_stop);
}

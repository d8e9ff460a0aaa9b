/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: sessions speak with other implementations: our client with nghttpd and nginx (small, large,
 * many, cancelled, padded, trailers, uploads, a connection that the server ends), our server with
 * nghttp, h2load and curl.
 * Method: the programs themselves over the loopback interface, with prior knowledge; a program that
 * is absent skips its test.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/e2e/peer.h"
#include "tests/h2/wire.h"
#include "tests/support/test.h"

#define LARGE_BYTES 3000000u
#define SMALL_TEXT  "small file\n"

static wire w;
static char folder[PEER_PATH_BYTES];
static uint8_t large[LARGE_BYTES];

static void need(const char *program, const char *option)
{
    const char *const argv[] = {program, option, NULL};
    if (!peer_has(argv)) {
        print_message("%s is absent\n", program);
        skip();
    }
}

static void write_file(const char *name, const void *bytes, size_t size)
{
    char path[PEER_PATH_BYTES + 64];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static int make_folder(void **state)
{
    (void)state;
    peer_folder_make(folder);
    for (size_t i = 0; i < LARGE_BYTES; i++) {
        large[i] = (uint8_t)(i * 7 + i / 256);
    }
    write_file("small.txt", SMALL_TEXT, sizeof(SMALL_TEXT) - 1);
    write_file("large.bin", large, LARGE_BYTES);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    peer_folder_remove(folder);
    return 0;
}

/* ---- Our client ----------------------------------------------------------------------------- */

static const char *program_path(const char *system_path, const char *name)
{
    return access(system_path, X_OK) == 0 ? system_path : name;
}

/* Bound and not listening while a program listens there: nobody else gets the port. */
static int held_port;

static uint16_t nghttpd_start(e2e_peer *peer)
{
    const char *program = program_path("/usr/sbin/nghttpd", "nghttpd");
    need(program, "--version");
    uint16_t port;
    held_port = peer_bind(false, &port);
    char digits[8];
    (void)snprintf(digits, sizeof(digits), "%u", port);
    const char *const argv[] = {
        program,
        "--no-tls",
        "-a",
        "127.0.0.1",
        "-d",
        folder,
        "--echo-upload",
        "--trailer",
        "sum: 42",
        "-b",
        "100",
        digits,
        NULL};
    peer_start(peer, NULL, argv);
    return port;
}

/* Bytes of the one body under way, compared with the file as they come. */
static size_t compared;

static void compare_large(duo_side *side, const hpxi_h2_event *event)
{
    (void)side;
    if (event->kind == HPXI_H2_DATA) {
        assert_true(compared + event->data.size <= LARGE_BYTES);
        assert_memory_equal(event->data.data, large + compared, event->data.size);
        compared += event->data.size;
    }
}

static ptrdiff_t pull_large(void *ctx, uint8_t *to, size_t room, bool *is_last)
{
    size_t *at = ctx;
    const size_t left = LARGE_BYTES - *at;
    const size_t take = left < room ? left : room;
    memcpy(to, large + *at, take);
    *at += take;
    *is_last = take == left;
    return (ptrdiff_t)take;
}

static void test_peers_when_nghttpd_then_files_trailers_uploads(void **state)
{
    (void)state;
    e2e_peer peer;
    const uint16_t port = nghttpd_start(&peer);
    wire_connect(&w, port, NULL);
    (void)side_request(&w.side, "GET", "/small.txt");
    wire_run_until_closed(&w, 1);
    const char *told = side_told(&w.side);
    assert_non_null(strstr(told, "RESPONSE 1 200 server=nghttpd"));
    assert_non_null(strstr(told, "TRAILERS 1 sum=42\nEND 1 11 bytes \"" SMALL_TEXT "\"\n"));
    assert_non_null(strstr(told, "CLOSED HPX_OK"));
    (void)side_request(&w.side, "HEAD", "/small.txt");
    (void)side_request(&w.side, "GET", "/missing");
    wire_run_until_closed(&w, 3);
    told = side_told(&w.side);
    assert_non_null(strstr(told, "END 3 0 bytes"));
    assert_non_null(strstr(told, "RESPONSE 5 404"));
    compared = 0;
    w.side.on_event = compare_large;
    (void)side_request(&w.side, "GET", "/large.bin");
    wire_run_until_closed(&w, 4);
    assert_int_equal(compared, LARGE_BYTES);
    compared = 0;
    size_t at = 0;
    const hpxi_h2_body body = {.pull = pull_large, .pull_ctx = &at};
    (void)side_request_with(&w.side, "POST", "/echo", NULL, 0, &body);
    wire_run_until_closed(&w, 5);
    assert_int_equal(compared, LARGE_BYTES);
    assert_int_equal(w.side.status, HPX_OK);
    wire_close(&w);
    peer_kill(&peer);
    (void)close(held_port);
}

static void cancel_first_data(duo_side *side, const hpxi_h2_event *event)
{
    if (event->kind == HPXI_H2_DATA) {
        assert_int_equal(hpxi_h2_reset(side->h2, event->stream, HPXI_H2_CANCEL, NULL), HPX_OK);
        ++*(uint32_t *)side->ctx;
    }
}

static uint32_t cancelled;

static bool is_cancelled(const wire *one)
{
    return *(const uint32_t *)one->side.ctx == cancelled;
}

static void test_peers_when_nghttpd_then_many_at_once_and_cancelled(void **state)
{
    (void)state;
    e2e_peer peer;
    const uint16_t port = nghttpd_start(&peer);
    wire_connect(&w, port, NULL);
    w.side.is_quiet = true;
    uint32_t count = 0;
    for (uint32_t done = 0; done < 1000;) {
        while (count < 1000 && hpxi_h2_can_open(w.side.h2) != 0) {
            (void)side_request(&w.side, "GET", "/small.txt");
            count++;
        }
        wire_run_until_closed(&w, done + 1);
        done = w.side.closed_count;
    }
    assert_int_equal(w.side.data_bytes, 1000 * (sizeof(SMALL_TEXT) - 1));
    uint32_t cancels = 0;
    w.side.ctx = &cancels;
    w.side.on_event = cancel_first_data;
    w.side.keeps_data = true;
    for (cancelled = 1; cancelled <= 200; cancelled++) {
        (void)side_request(&w.side, "GET", "/large.bin");
        wire_run(&w, is_cancelled);
    }
    compared = 0;
    w.side.on_event = compare_large;
    w.side.keeps_data = false;
    (void)side_request(&w.side, "GET", "/large.bin");
    wire_run_until_closed(&w, 1001);
    assert_int_equal(compared, LARGE_BYTES);
    assert_int_equal(w.side.status, HPX_OK);
    wire_close(&w);
    peer_kill(&peer);
    (void)close(held_port);
}

static const char nginx_conf[] =
    "worker_processes 1;\n"
    "daemon off;\n"
    "master_process off;\n"
    "error_log stderr error;\n"
    "pid %s/nginx.pid;\n"
    "events { worker_connections 64; }\n"
    "http {\n"
    "  access_log off;\n"
    "  client_body_temp_path %s/body; proxy_temp_path %s/proxy; fastcgi_temp_path %s/fastcgi;\n"
    "  uwsgi_temp_path %s/uwsgi; scgi_temp_path %s/scgi;\n"
    "  keepalive_requests 20;\n"
    "  server {\n"
    "    listen 127.0.0.1:%u http2;\n"
    "    root %s;\n"
    "  }\n"
    "}\n";

static uint16_t nginx_start(e2e_peer *peer)
{
    const char *program = program_path("/usr/sbin/nginx", "nginx");
    need(program, "-v");
    uint16_t port;
    held_port = peer_bind(false, &port);
    char conf[4 * PEER_PATH_BYTES];
    const char *f = folder;
    const int size = snprintf(conf, sizeof(conf), nginx_conf, f, f, f, f, f, f, port, f);
    assert_in_range(size, 1, sizeof(conf) - 1);
    write_file("nginx.conf", conf, (size_t)size);
    char path[PEER_PATH_BYTES + 16];
    (void)snprintf(path, sizeof(path), "%s/nginx.conf", folder);
    const char *const argv[] = {program, "-p", folder, "-c", path, "-e", "stderr", NULL};
    peer_start(peer, NULL, argv);
    return port;
}

static void test_peers_when_nginx_ends_the_connection_then_nothing_is_lost(void **state)
{
    (void)state;
    e2e_peer peer;
    const uint16_t port = nginx_start(&peer);
    wire_connect(&w, port, NULL);
    compared = 0;
    w.side.on_event = compare_large;
    (void)side_request(&w.side, "GET", "/large.bin");
    wire_run_until_closed(&w, 1);
    assert_int_equal(compared, LARGE_BYTES);
    assert_non_null(strstr(side_told(&w.side), "RESPONSE 1 200 server=nginx"));
    w.side.on_event = NULL;
    for (uint32_t i = 0; i < 40; i++) { /* keepalive_requests is 20 */
        (void)side_request(&w.side, "GET", "/small.txt");
    }
    wire_run_until_closed(&w, 41);
    assert_int_equal(w.side.closed_count, 41);
    const char *told = side_told(&w.side);
    uint32_t ok = 0;
    uint32_t refused = 0;
    for (const char *at = told; (at = strstr(at, "CLOSED ")) != NULL; at++) {
        ok += strncmp(at, "CLOSED HPX_OK", 13) == 0;
        refused += strncmp(at, "CLOSED HPX_E_H2_REFUSED code=7 peer=1 processed=no", 50) == 0;
    }
    assert_non_null(strstr(told, "GOAWAY last="));
    assert_int_equal(ok + refused, 40); /* answered, or safe to send again */
    assert_true(ok >= 19);
    assert_true(refused != 0);
    assert_true(hpxi_h2_is_drained(w.side.h2));
    wire_close(&w);
    peer_kill(&peer);
    (void)close(held_port);
}

/* ---- Our server ----------------------------------------------------------------------------- */

static wire_server server;
static char output[1u << 20];

static void url_of(char url[64], const char *path)
{
    (void)snprintf(url, 64, "http://127.0.0.1:%u%s", server.port, path);
}

static void test_peers_when_nghttp_asks_our_server_then_it_is_served(void **state)
{
    (void)state;
    need("nghttp", "--version");
    wire_server_start(&server);
    char url[64];
    url_of(url, "/trailers");
    const char *const argv[] = {"nghttp", "-v", "--no-dep", url, NULL};
    assert_int_equal(peer_run(output, sizeof(output), argv), 0);
    assert_non_null(strstr(output, "recv (stream_id=1) :status: 200"));
    assert_non_null(strstr(output, "recv (stream_id=1) sum: 42"));
    assert_non_null(strstr(output, "body"));
    url_of(url, "/early");
    const char *const early[] = {"nghttp", "-v", url, NULL}; /* with PRIORITY frames */
    assert_int_equal(peer_run(output, sizeof(output), early), 0);
    assert_non_null(strstr(output, ":status: 103"));
    assert_non_null(strstr(output, ":status: 200"));
    wire_server_stop(&server);
    assert_int_equal(server.requests, 2);
}

static void test_peers_when_h2load_asks_our_server_then_all_succeed(void **state)
{
    (void)state;
    need("h2load", "--version");
    wire_server_start(&server);
    char url[64];
    url_of(url, "/1000");
    const char *const argv[] = {"h2load", "-n", "2000", "-c", "4", "-m", "32", url, NULL};
    assert_int_equal(peer_run(output, sizeof(output), argv), 0);
    if (strstr(output, "2000 succeeded, 0 failed, 0 errored, 0 timeout") == NULL) {
        fail_msg("%s", output);
    }
    wire_server_stop(&server);
    assert_int_equal(server.requests, 2000);
}

static void test_peers_when_curl_asks_our_server_then_it_is_served(void **state)
{
    (void)state;
    need("curl", "--version");
    wire_server_start(&server);
    char url[64];
    char upload[PEER_PATH_BYTES + 16];
    (void)snprintf(upload, sizeof(upload), "@%s/large.bin", folder);
    url_of(url, "/900000");
    const char *const get[] = {"curl", "-sS", "--http2-prior-knowledge", url, NULL};
    assert_int_equal(peer_run(output, sizeof(output), get), 0);
    for (size_t i = 0; i < 900000; i++) {
        assert_int_equal((uint8_t)output[i], (uint8_t)(i * 31));
    }
    const char *const post[] = {
        "curl", "-sS", "--http2-prior-knowledge", "--data-binary", upload, url, NULL};
    assert_int_equal(peer_run(output, sizeof(output), post), 0);
    assert_string_equal(output, "3000000");
    const char *const head[] = {"curl", "-sSI", "--http2-prior-knowledge", url, NULL};
    assert_int_equal(peer_run(output, sizeof(output), head), 0);
    assert_non_null(strstr(output, "HTTP/2 200"));
    wire_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peers_when_nghttpd_then_files_trailers_uploads),
        cmocka_unit_test(test_peers_when_nghttpd_then_many_at_once_and_cancelled),
        cmocka_unit_test(test_peers_when_nginx_ends_the_connection_then_nothing_is_lost),
        cmocka_unit_test(test_peers_when_nghttp_asks_our_server_then_it_is_served),
        cmocka_unit_test(test_peers_when_h2load_asks_our_server_then_all_succeed),
        cmocka_unit_test(test_peers_when_curl_asks_our_server_then_it_is_served),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

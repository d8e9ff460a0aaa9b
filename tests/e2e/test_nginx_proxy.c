/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: wss through an nginx that ends TLS and proxies to node's `ws`; and what is told when nginx
 * reloads, stops, or has no backend, in the middle of a connection.
 * Method: nginx runs in a folder of the test on a socket that the test has bound and listens on
 * (handed over as in nginx's own binary upgrade, NGINX=fd), so there is no port to guess and no
 * moment at which it is not ready. With SIGTERM as its death signal it takes its workers along.
 */
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/e2e/echo_script.h"
#include "tests/e2e/ws_peer.h"
#include "tests/support/test.h"

typedef struct proxy {
    e2e_peer process;
    uint16_t port;
    char folder[PEER_PATH_BYTES];
} proxy;

static ws_peer backend;

static const char conf_format[] =
    "worker_processes 1;\n"
    "error_log %s/error.log warn;\n"
    "pid %s/nginx.pid;\n"
    "worker_shutdown_timeout 100ms;\n"
    "events { worker_connections 64; }\n"
    "http {\n"
    "  access_log off;\n"
    "  client_body_temp_path %s/body; proxy_temp_path %s/proxy; fastcgi_temp_path %s/fastcgi;\n"
    "  uwsgi_temp_path %s/uwsgi; scgi_temp_path %s/scgi;\n"
    "  server {\n"
    "    listen 127.0.0.1:%u ssl;\n"
    "    ssl_certificate %s/good.pem;\n"
    "    ssl_certificate_key %s/good.key;\n"
    "    location / {\n"
    "      proxy_pass http://127.0.0.1:%u;\n"
    "      proxy_http_version 1.1;\n"
    "      proxy_set_header Upgrade $http_upgrade;\n"
    "      proxy_set_header Connection upgrade;\n"
    "      proxy_read_timeout 60s;\n"
    "    }\n"
    "    location /teapot { return 418; }\n"
    "  }\n"
    "}\n";

/* Not every user has the folder of system programs on the path. */
static const char *nginx_program(void)
{
    static const char system_path[] = "/usr/sbin/nginx";
    return access(system_path, X_OK) == 0 ? system_path : "nginx";
}

static void proxy_start(proxy *proxied, uint16_t backend_port)
{
    char conf[PEER_PATH_BYTES + 16];
    char env[32];
    peer_folder_make(proxied->folder);
    const char *f = proxied->folder;
    const int fd = peer_bind(true, &proxied->port);
    (void)snprintf(conf, sizeof(conf), "%s/nginx.conf", f);
    FILE *file = fopen(conf, "we");
    assert_non_null(file);
    assert_true(
        fprintf(
            file,
            conf_format,
            f,
            f,
            f,
            f,
            f,
            f,
            f,
            proxied->port,
            backend.folder,
            backend.folder,
            backend_port) > 0);
    assert_int_equal(fclose(file), 0);
    (void)snprintf(env, sizeof(env), "NGINX=%d;", fd);
    const peer_options options = {.death_signal = SIGTERM, .inherited_fd = fd, .env = env};
    const char *argv[] = {
        nginx_program(), "-p", f, "-c", conf, "-e", "stderr", "-g", "daemon off;", NULL};
    peer_start(&proxied->process, &options, argv);
    (void)close(fd);
}

/* Quits nginx if it still runs. */
static void proxy_stop(proxy *proxied)
{
    if (proxied->process.pid > 0) {
        peer_signal(&proxied->process, SIGTERM);
        assert_int_equal(peer_wait(&proxied->process), 0);
    }
    peer_folder_remove(proxied->folder);
}

static hpx_ws_config proxy_config(const proxy *proxied, const char *path, char url[WS_URL_BYTES])
{
    (void)snprintf(url, WS_URL_BYTES, "wss://localhost:%u%s", proxied->port, path);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.tls = backend.tls;
    return config;
}

static void test_proxy_when_it_passes_everything_on_then_all_is_echoed(void **state)
{
    (void)state;
    proxy proxied;
    proxy_start(&proxied, backend.port);
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        char url[WS_URL_BYTES];
        e2e_bed bed;
        e2e_client client;
        hpx_conn_info info;
        hpx_ws_config config = proxy_config(&proxied, "/fragment", url);
        config.receive_mode = form == CLIENT_POLLED ? HPX_RECEIVE_HOT : HPX_RECEIVE_MULTISHOT;
        bed_open(&bed, form, NULL);
        client_connect(&client, &bed, &config, &info);
        assert_true(info.tls_verified);
        echo_sizes(&client, form == CLIENT_THREAD ? ECHO_BYTES_MAX : 1u << 20);
        echo_pipelined(&client, 300);
        client_close(&client, 4001, "enough of it");
        hpx_error error;
        client_expect_end(&client, &error);
        assert_string_equal(hpx_status_name(error.status), "HPX_OK");
        assert_string_equal(peer_expect(&backend.process, "closed"), "4001 enough of it");
        bed_close(&bed);
    }
    proxy_stop(&proxied);
}

/* The worker that holds our connection ends 100 ms after the reload. */
static void test_reload_when_connected_then_the_loss_is_told_and_new_connections_work(void **state)
{
    (void)state;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        proxy proxied;
        char url[WS_URL_BYTES];
        e2e_bed bed;
        e2e_client clients[2];
        hpx_error error;
        proxy_start(&proxied, backend.port);
        const hpx_ws_config config = proxy_config(&proxied, "/echo", url);
        bed_open(&bed, form, NULL);
        client_connect(&clients[0], &bed, &config, NULL);
        echo_sizes(&clients[0], 127);
        peer_signal(&proxied.process, SIGHUP);
        client_expect_end(&clients[0], &error);
        if (strcmp(hpx_status_name(error.status), "HPX_E_TLS_TRUNCATED") != 0 ||
            error.stage != HPX_STAGE_READY || error.close_code != 0) {
            fail_msg(
                "reload: %s at %s: %s",
                hpx_status_name(error.status),
                hpx_stage_name(error.stage),
                error.detail);
        }
        client_connect(&clients[1], &bed, &config, NULL);
        echo_sizes(&clients[1], 127);
        client_finish(&clients[1]);
        bed_close(&bed);
        proxy_stop(&proxied);
    }
}

/* The same handle or connection goes on, on a new socket, in the next epoch. */
static void test_reload_when_reconnecting_then_the_next_epoch_echoes(void **state)
{
    (void)state;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        proxy proxied;
        char url[WS_URL_BYTES];
        e2e_bed bed;
        e2e_client client;
        proxy_start(&proxied, backend.port);
        hpx_ws_config config = proxy_config(&proxied, "/echo", url);
        config.reconnect = true;
        config.backoff_initial_ns = 10 * HPX_NS_PER_MS;
        bed_open(&bed, form, NULL);
        client_connect(&client, &bed, &config, NULL);
        for (int reload = 0; reload < 2; reload++) {
            echo_sizes(&client, 127);
            peer_signal(&proxied.process, SIGHUP);
            const hpx_event *event = client_expect(&client, HPX_EVENT_DISCONNECTED);
            assert_string_equal(hpx_status_name(event->error->status), "HPX_E_TLS_TRUNCATED");
            assert_int_equal(event->epoch, client.connected);
            client_expect_connected(&client, NULL);
        }
        echo_sizes(&client, 65536);
        client_finish(&client);
        assert_int_equal(client.connected, 3);
        assert_int_equal(client.disconnected, 3);
        bed_close(&bed);
        proxy_stop(&proxied);
    }
}

static void test_stop_when_connected_then_the_loss_is_told_and_reconnecting_is_refused(void **state)
{
    (void)state;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        proxy proxied;
        char url[WS_URL_BYTES];
        e2e_bed bed;
        e2e_client clients[2];
        hpx_error error;
        proxy_start(&proxied, backend.port);
        const hpx_ws_config config = proxy_config(&proxied, "/echo", url);
        bed_open(&bed, form, NULL);
        client_connect(&clients[0], &bed, &config, NULL);
        peer_signal(&proxied.process, SIGTERM);
        client_expect_end(&clients[0], &error);
        assert_string_equal(hpx_status_name(error.status), "HPX_E_TLS_TRUNCATED");
        assert_int_equal(error.stage, HPX_STAGE_READY);
        assert_int_equal(peer_wait(&proxied.process), 0);
        client_open(&clients[1], &bed, &config);
        client_expect_end(&clients[1], &error);
        assert_string_equal(hpx_status_name(error.status), "ECONNREFUSED");
        bed.descriptors--; /* nginx's output was closed with it */
        bed_close(&bed);
        proxy_stop(&proxied);
    }
}

/* What nginx itself answers. */
static void test_upgrade_when_nginx_answers_itself_then_its_status_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int status;
        bool plain; /* HTTP to the TLS port */
    } rows[] = {{"/echo", 502, false}, {"/teapot", 418, false}, {"/echo", 400, true}};
    uint16_t dead;
    const int held = peer_bind(false, &dead); /* nobody listens there */
    proxy proxied;
    proxy_start(&proxied, dead);
    for (size_t i = 0; i < COUNT_OF(rows) * CLIENT_FORMS; i++) {
        const size_t row = i / CLIENT_FORMS;
        char url[WS_URL_BYTES];
        e2e_bed bed;
        e2e_client client;
        hpx_error error;
        const hpx_ws_config config = proxy_config(&proxied, rows[row].path, url);
        if (rows[row].plain) {
            (void)snprintf(url, sizeof(url), "ws://localhost:%u/", proxied.port);
        }
        bed_open(&bed, (client_form)(i % CLIENT_FORMS), NULL);
        client_open(&client, &bed, &config);
        client_expect_end(&client, &error);
        bed_close(&bed);
        assert_string_equal(hpx_status_name(error.status), "HPX_E_UPGRADE_STATUS");
        assert_int_equal(error.stage, HPX_STAGE_UPGRADE);
        assert_int_equal(error.http_status, rows[row].status);
    }
    proxy_stop(&proxied);
    (void)close(held);
}

static int start(void **state)
{
    (void)state;
    ws_peer_start(&backend, "ws_server.js");
    return 0;
}

static int stop(void **state)
{
    (void)state;
    ws_peer_stop(&backend);
    return 0;
}

int main(void)
{
    if (!peer_has((const char *const[]){"node", "-e", "require('ws')", NULL}) ||
        !peer_has((const char *const[]){nginx_program(), "-v", NULL})) {
        return TEST_EXIT_SKIP;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxy_when_it_passes_everything_on_then_all_is_echoed),
        cmocka_unit_test(test_reload_when_reconnecting_then_the_next_epoch_echoes),
        cmocka_unit_test(test_reload_when_connected_then_the_loss_is_told_and_new_connections_work),
        cmocka_unit_test(
            test_stop_when_connected_then_the_loss_is_told_and_reconnecting_is_refused),
        cmocka_unit_test(test_upgrade_when_nginx_answers_itself_then_its_status_is_told),
    };
    return cmocka_run_group_tests_name("e2e/nginx_proxy", tests, start, stop);
}

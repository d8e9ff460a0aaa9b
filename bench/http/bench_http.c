/* SPDX-License-Identifier: Apache-2.0 */
/* bench_http.c - servers as child processes; hpx inline on a polled shard. */
#include "bench/http/bench_http.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hpx/hpx.h>

#define LARGE_BYTES (100u << 20)
#define OPEN_MAX    256u

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench_http: %s\n", what);
    abort();
}

/* ---- Servers -----------------------------------------------------------------------------------
 */

static uint16_t free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, size) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) != 0) {
        die("no free port");
    }
    close(fd);
    return ntohs(address.sin_port);
}

static bool wait_for(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < 500; i++) {
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int result = connect(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
        if (result == 0) {
            return true;
        }
        usleep(10000);
    }
    return false;
}

static int start(uint16_t port, char *const arguments[])
{
    const pid_t pid = fork();
    if (pid == 0) {
        const int null = open("/dev/null", O_RDWR);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        execvp(arguments[0], arguments);
        _exit(127);
    }
    if (!wait_for(port)) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return 0;
    }
    return pid;
}

static void write_file(const char *folder, const char *name, const char *content, long size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (file == NULL) {
        die("no file");
    }
    fputs(content, file);
    if (size != 0 && ftruncate(fileno(file), size) != 0) {
        die("no room for the large file");
    }
    fclose(file);
}

void bench_servers_start(bench_servers *servers)
{
    *servers = (bench_servers){.h1_port = free_port(), .h2_port = free_port()};
    strcpy(servers->folder, "/tmp/hpx-bench-XXXXXX");
    if (mkdtemp(servers->folder) == NULL || setenv("PATH", "/usr/sbin:/usr/bin:/bin", 1) != 0) {
        die("no folder");
    }
    const char *folder = servers->folder;
    char conf[2048];
    write_file(folder, "small", "", 100);
    write_file(folder, "large", "", LARGE_BYTES);
    snprintf(
        conf,
        sizeof(conf),
        "daemon off; master_process off; pid %s/pid; error_log /dev/null; worker_processes 1;\n"
        "events { worker_connections 512; }\n"
        "http { access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on;\n"
        "open_file_cache max=10;\n"
        "client_body_temp_path %s/t1; proxy_temp_path %s/t2; fastcgi_temp_path %s/t3;\n"
        "uwsgi_temp_path %s/t4; scgi_temp_path %s/t5;\n"
        "server { listen 127.0.0.1:%u; root %s; } }\n",
        folder,
        folder,
        folder,
        folder,
        folder,
        folder,
        servers->h1_port,
        folder);
    write_file(folder, "nginx.conf", conf, 0);
    char path[64];
    char port[8];
    char nginx[] = "nginx", c[] = "-c", nghttpd[] = "nghttpd", plain[] = "--no-tls", d[] = "-d";
    snprintf(path, sizeof(path), "%s/nginx.conf", folder);
    snprintf(port, sizeof(port), "%u", servers->h2_port);
    char *const nginx_arguments[] = {nginx, c, path, NULL};
    char *const nghttpd_arguments[] = {nghttpd, plain, d, servers->folder, port, NULL};
    servers->nginx = start(servers->h1_port, nginx_arguments);
    servers->nghttpd = start(servers->h2_port, nghttpd_arguments);
}

void bench_servers_stop(bench_servers *servers)
{
    const int pids[] = {servers->nginx, servers->nghttpd};
    for (int i = 0; i < 2; i++) {
        if (pids[i] != 0) {
            kill(pids[i], SIGKILL);
            waitpid(pids[i], NULL, 0);
        }
    }
    char command[64];
    snprintf(command, sizeof(command), "rm -rf %s", servers->folder);
    if (system(command) != 0) {
        fprintf(stderr, "bench_http: %s is left\n", servers->folder);
    }
}

double bench_external(const char *command, const char *key)
{
    FILE *output = popen(command, "r");
    char line[512];
    double value = 0;
    while (output != NULL && fgets(line, sizeof(line), output) != NULL) {
        const char *found = strstr(line, key);
        if (found != NULL && value <= 0) {
            value = strtod(found + strlen(key), NULL);
        }
    }
    if (output != NULL) {
        pclose(output);
    }
    return value;
}

/* ---- hpx ---------------------------------------------------------------------------------------
 */

struct bench_hpx {
    hpx_engine *engine;
    hpx_shard *shard;
    hpx_http_client *client;
    hpx_http_request request;
    char url[64];
    uint16_t port;
    uint32_t left; /* to begin */
    bench_hpx_result *result;
};

static void hpx_begin(bench_hpx *hpx)
{
    hpx->left--;
    if (hpx_http_send(hpx->client, &hpx->request, NULL, NULL) != HPX_OK) {
        die("send");
    }
}

static void hpx_on_event(hpx_http_client *client, const hpx_http_event *event, void *user)
{
    (void)client;
    bench_hpx *hpx = user;
    hpx->result->bytes += event->body.size;
    if (event->kind != HPX_HTTP_EVENT_END) {
        return;
    }
    const bool good = event->outcome == HPX_HTTP_DONE && event->status == 200;
    hpx->result->done += good;
    hpx->result->failed += !good;
    if (hpx->left != 0) {
        hpx_begin(hpx);
    }
}

bench_hpx *bench_hpx_new(uint16_t port, bool h2, bool fixed_window)
{
    bench_hpx *hpx = calloc(1, sizeof(*hpx));
    hpx_error error = {0};
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    config.wait_mode = HPX_WAIT_SLEEP; /* poll() spins all the same */
    hpx_http_config http = HPX_HTTP_CONFIG_INIT;
    http.on_event = hpx_on_event;
    http.user = hpx;
    http.connections_per_origin_max = OPEN_MAX;
    http.idle_per_origin_max = OPEN_MAX;
    http.timeout_ns = HPX_NEVER;
    if (fixed_window) {
        http.h2_fixed_window = true;
        http.h2_window_bytes = 128u << 10;
    }
    if (hpx_engine_new(&hpx->engine, &config, &error) != HPX_OK ||
        hpx_engine_start(hpx->engine, &error) != HPX_OK) {
        die(error.detail);
    }
    hpx->shard = hpx_engine_shard(hpx->engine, 0);
    if (hpx_shard_attach(hpx->shard, &error) != HPX_OK ||
        hpx_shard_http_client(hpx->shard, &http, &hpx->client, &error) != HPX_OK) {
        die(error.detail);
    }
    hpx->port = port;
    hpx->request = (hpx_http_request)HPX_HTTP_REQUEST_INIT;
    hpx->request.version = h2 ? HPX_HTTP_2_PRIOR_KNOWLEDGE : HPX_HTTP_1_1;
    return hpx;
}

void bench_hpx_free(bench_hpx *hpx)
{
    hpx_http_client_release(hpx->client);
    (void)hpx_shard_detach_wait(hpx->shard, HPX_NS_PER_S);
    hpx_engine_free(hpx->engine);
    free(hpx);
}

void bench_hpx_run(
    bench_hpx *hpx, const char *path, uint32_t open, uint32_t count, bench_hpx_result *out)
{
    *out = (bench_hpx_result){0};
    snprintf(hpx->url, sizeof(hpx->url), "http://127.0.0.1:%u%s", hpx->port, path);
    hpx->request.url = hpx->url;
    hpx->result = out;
    hpx->left = count;
    hpx_shard_stats before;
    hpx_shard_stats after;
    hpx_shard_get_stats(hpx->shard, &before);
    for (uint32_t i = 0; i < open && hpx->left != 0; i++) {
        hpx_begin(hpx);
    }
    while (out->done + out->failed < count) {
        if (open == 1) {
            (void)hpx_shard_poll(hpx->shard); /* latency: spin */
        } else {
            (void)hpx_shard_poll_wait(hpx->shard, HPX_NS_PER_S); /* leave the CPU to the server */
        }
    }
    hpx_shard_get_stats(hpx->shard, &after);
    out->allocations = after.allocations - before.allocations;
}

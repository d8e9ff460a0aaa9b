/* SPDX-License-Identifier: Apache-2.0 */
/* serve.c - a small HTTP service: GET /price answers JSON, over HTTP/1.1 and HTTP/2. */
#include <stdio.h>
#include <string.h>

#include <hpx/hpx.h>

static bool is(hpx_span text, const char *what)
{
    return text.size == strlen(what) && memcmp(text.data, what, text.size) == 0;
}

/* On the shard's thread. The answer is copied, so a buffer on the stack will do. */
static void on_call(hpx_http_call *call, const hpx_http_call_event *event, void *user)
{
    unsigned *asked = user;
    if (event->kind != HPX_HTTP_CALL_REQUEST) {
        return; /* CLOSED: nothing of the call is ours to free */
    }
    if (!is(event->info->method, "GET") || !is(event->info->path, "/price")) {
        (void)hpx_http_call_answer(call, 404, NULL, 0, hpx_span_of("no such thing\n"), NULL);
        return;
    }
    char body[64];
    snprintf(body, sizeof(body), "{\"price\":%u}\n", 100 + ++*asked % 10);
    const hpx_http_header type = hpx_http_header_of("Content-Type", "application/json");
    (void)hpx_http_call_answer(call, 200, &type, 1, hpx_span_of(body), NULL);
}

int main(int argc, char **argv)
{
    unsigned asked = 0;
    hpx_error error = {0};
    hpx_engine *engine = NULL;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED; /* this thread is the shard */
    if (hpx_engine_new(&engine, &config, &error) == HPX_OK &&
        hpx_engine_start(engine, &error) == HPX_OK) {
        hpx_shard *shard = hpx_engine_shard(engine, 0);
        hpx_http_server *server = NULL;
        hpx_http_server_config http = HPX_HTTP_SERVER_CONFIG_INIT;
        http.address = argc > 1 ? argv[1] : "127.0.0.1:8080";
        http.on_event = on_call;
        http.user = &asked;
        if (hpx_shard_attach(shard, &error) == HPX_OK &&
            hpx_shard_http_listen(shard, &http, &server, &error) == HPX_OK) {
            printf("curl http://localhost:%u/price\n", hpx_http_server_get_port(server));
            fflush(stdout);
            while (asked < 1000) {
                hpx_shard_poll_wait(shard, HPX_NS_PER_S);
            }
        }
        hpx_shard_detach_wait(shard, HPX_NS_PER_S);
    }
    if (error.status != HPX_OK) {
        fprintf(stderr, "%s: %s\n", hpx_stage_name(error.stage), error.detail);
    }
    hpx_engine_free(engine);
    return error.status == HPX_OK ? 0 : 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* session_inline.c - the lowest latency: the application's own loop turns the shard, and handlers
 * run in it. No other thread, no queue in between. Try it with:
 *   hpx exchange --plain &   and   session_inline ws://127.0.0.1:9443/ws */
#include <stdio.h>

#include <hpx/hpx.h>

typedef struct app {
    int updates;
    bool answered;
    bool closed;
} app;

static void on_update(hpx_conn *conn, hpx_subscription *sub, const hpx_update *update, void *user)
{
    app *a = user;
    (void)sub;
    if (update->kind != HPX_UPDATE_MESSAGE)
        return; /* LIVE, INTERRUPTED, ...: see session.h */
    printf("%.*s\n", (int)update->payload.size, (const char *)update->payload.data);
    if (++a->updates == 10)
        hpx_conn_close(conn, 1000, hpx_span_of("done")); /* any call may be made in a handler */
}

static void on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    app *a = user;
    (void)conn;
    a->answered = reply->status == HPX_OK;
    printf(
        "%s after %llu us: %.*s\n",
        hpx_status_name(reply->status),
        (unsigned long long)((reply->time_ns - reply->sent_ns) / HPX_NS_PER_US),
        (int)reply->payload.size,
        (const char *)reply->payload.data);
}

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    static const char question[] = "{\"jsonrpc\":\"2.0\",\"method\":\"public/get_time\"}";
    app *a = user;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        if (hpx_conn_request(conn, hpx_span_of(question), HPX_NS_PER_S, on_reply, a, NULL))
            printf("request not sent\n");
        break;
    case HPX_EVENT_DISCONNECTED:
        printf("lost at %s: %s\n", hpx_stage_name(event->error->stage), event->error->detail);
        break;
    case HPX_EVENT_CLOSED:
        a->closed = true;
        break;
    case HPX_EVENT_MESSAGE:
    case HPX_EVENT_WRITABLE:
        break;
    }
}

int main(int argc, char **argv)
{
    app a = {0};
    hpx_engine *engine = NULL;
    hpx_conn *conn;
    hpx_subscription *trades;
    hpx_error error;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    if (hpx_engine_new(&engine, &config, &error) || hpx_engine_start(engine, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;
    hpx_shard *shard = hpx_engine_shard(engine, 0);

    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = argc > 1 ? argv[1] : "ws://127.0.0.1:9443/ws";
    ws.protocol = hpx_protocol_json_rpc();
    ws.reconnect = true;
    ws.on_event = on_event;
    ws.user = &a;
    const hpx_span topic = hpx_span_of("trades.BTC-USD");
    if (hpx_shard_attach(shard, &error) || /* this thread is the shard's from here on */
        hpx_shard_connect(shard, &ws, &conn, &error) ||
        hpx_conn_subscribe(conn, &topic, 1, on_update, &a, &trades, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;

    const uint64_t until = hpx_clock_now_ns() + 20 * HPX_NS_PER_S;
    while (!a.closed && hpx_clock_now_ns() < until) {
        hpx_shard_poll(shard); /* never blocks */
        /* ... and here the application does what else it has to do in a turn. */
    }
    hpx_shard_detach_wait(shard, HPX_NS_PER_S);
    hpx_engine_free(engine);
    return !a.answered || a.updates < 10;
}

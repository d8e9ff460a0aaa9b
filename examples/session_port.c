/* SPDX-License-Identifier: Apache-2.0 */
/* session_port.c - a trading session from an application's thread: authenticated, reconnecting;
 * events, an order and market data by way of a port. Try it with:
 *   hpx exchange --plain &   and   session_port ws://127.0.0.1:9443/ws */
#include <stdio.h>

#include <hpx/hpx.h>

static const char order[] = "{\"jsonrpc\":\"2.0\",\"method\":\"private/buy\",\"params\":{"
                            "\"instrument_name\":\"BTC-USD\",\"amount\":1,\"price\":100}}";

static int text(hpx_span span)
{
    return (int)span.size;
}

/* What happened to the connection. An order is sent once per connection, and never twice. */
static bool on_event(hpx_handle *handle, const hpx_event *event)
{
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        printf("connected, epoch %llu\n", (unsigned long long)event->epoch);
        if (hpx_handle_request(handle, hpx_span_of(order), HPX_NS_PER_S, NULL, NULL) != HPX_OK)
            printf("order not sent\n");
        break;
    case HPX_EVENT_DISCONNECTED:
        printf("lost at %s: %s\n", hpx_stage_name(event->error->stage), event->error->detail);
        break;
    case HPX_EVENT_MESSAGE: /* neither an answer nor an update */
        printf("message: %.*s\n", text(event->payload), (const char *)event->payload.data);
        break;
    case HPX_EVENT_CLOSED:
        printf("closed\n");
        return false;
    case HPX_EVENT_WRITABLE:
        break;
    }
    return true;
}

static void on_reply(const hpx_reply *reply)
{
    if (reply->status == HPX_OK)
        printf("order: %.*s\n", text(reply->payload), (const char *)reply->payload.data);
    else if (reply
                 ->sent) /* HPX_E_TIMEOUT, HPX_E_DISCONNECTED: ask the exchange what became of it */
        printf("order: outcome unknown (%s)\n", hpx_status_name(reply->status));
    else
        printf("order: not sent (%s)\n", hpx_status_name(reply->status));
}

static int on_update(const hpx_update *update)
{
    if (update->missed != 0)
        printf("too slow: %llu missed\n", (unsigned long long)update->missed);
    if (update->kind != HPX_UPDATE_MESSAGE)
        return 0; /* LIVE, INTERRUPTED, ...: see session.h */
    printf("%.*s\n", text(update->payload), (const char *)update->payload.data);
    return 1;
}

static int run(hpx_port *port, const char *url, const hpx_protocol *protocol)
{
    HPX_AUTO(hpx_handle) *handle = NULL;
    HPX_AUTO(hpx_stream) *stream = NULL;
    HPX_AUTO(hpx_subscription) *trades = NULL;
    hpx_error error;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = url;
    ws.protocol = protocol;
    ws.heartbeat = HPX_HEARTBEAT_BOTH; /* WebSocket pings, and public/test */
    ws.reconnect = true;
    /* Topics are desired state: they may be named before there is a connection. */
    if (hpx_ws_connect(port, &ws, &handle, &stream, &error) ||
        hpx_handle_subscribe(handle, "trades.BTC-USD", NULL, &trades, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;

    int count = 0;
    for (bool open = true; open;) {
        hpx_event event;
        hpx_reply reply;
        hpx_update update;
        if (hpx_port_wait(port, 10 * HPX_NS_PER_S) != 1)
            return fprintf(stderr, "nothing comes\n"), 1;
        while (open && hpx_stream_next(stream, &event) == 1)
            open = on_event(handle, &event);
        while (hpx_handle_next_reply(handle, &reply) == 1)
            on_reply(&reply);
        while (hpx_subscription_next(trades, &update) == 1) {
            count += on_update(&update);
            if (count == 10)
                hpx_handle_close(handle, 1000, hpx_span_of("done")); /* CLOSED follows */
        }
    }
    return count < 10;
}

int main(int argc, char **argv)
{
    hpx_engine *engine = NULL;
    hpx_port *port = NULL;
    hpx_protocol *protocol = NULL;
    hpx_error error;
    hpx_json_rpc_config rpc = HPX_JSON_RPC_CONFIG_INIT;
    rpc.auth_params = "{\"grant_type\":\"client_credentials\",\"client_id\":\"me\","
                      "\"client_secret\":\"secret\"}"; /* sent first on every connection */
    if (hpx_protocol_json_rpc_new(&protocol, &rpc, &error) ||
        hpx_engine_new(&engine, NULL, &error) || hpx_engine_start(engine, &error) ||
        hpx_port_open(&port, engine, NULL, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;
    const int failed = run(port, argc > 1 ? argv[1] : "ws://127.0.0.1:9443/ws", protocol);
    hpx_port_close(port);
    hpx_engine_stop_wait(engine, HPX_NS_PER_S);
    hpx_engine_free(engine);
    hpx_protocol_free(protocol);
    return failed;
}

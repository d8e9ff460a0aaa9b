/* SPDX-License-Identifier: Apache-2.0 */
/* feed.c - connect through a port and print ten messages. Try it with:
 *   hpx exchange --plain &   and   feed ws://127.0.0.1:9443/ws */
#include <stdio.h>

#include <hpx/hpx.h>

static const char subscribe[] = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\","
                                "\"params\":{\"channels\":[\"trades.BTC-USD\"]}}";

int main(int argc, char **argv)
{
    hpx_engine *engine = NULL;
    hpx_port *port = NULL;
    hpx_handle *handle = NULL;
    hpx_stream *stream = NULL;
    hpx_error error = {0};
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = argc > 1 ? argv[1] : "ws://127.0.0.1:9443/ws";
    if (hpx_engine_new(&engine, NULL, &error) < 0 || hpx_engine_start(engine, &error) < 0 ||
        hpx_port_open(&port, engine, NULL, &error) < 0 ||
        hpx_ws_connect(port, &config, &handle, &stream, &error) < 0) {
        fprintf(stderr, "feed: %s\n", error.detail);
        return 1;
    }
    hpx_event event;
    int count = 0;
    while (count < 10 && hpx_stream_wait(stream, &event, UINT64_MAX) == 1) {
        if (event.kind == HPX_EVENT_CONNECTED) {
            (void)!hpx_handle_send(handle, HPX_MESSAGE_TEXT, hpx_span_of(subscribe));
        } else if (event.kind == HPX_EVENT_MESSAGE) {
            printf("%.*s\n", (int)event.payload.size, (const char *)event.payload.data);
            count++;
        } else if (event.kind == HPX_EVENT_CLOSED) {
            fprintf(stderr, "feed: %s\n", event.error->detail);
        }
    }
    hpx_stream_release(stream);
    hpx_handle_release(handle); /* closes the connection */
    hpx_port_close(port);
    hpx_engine_stop_wait(engine, HPX_NS_PER_S); /* until the close is done */
    hpx_engine_free(engine);
    return count == 10 ? 0 : 1;
}

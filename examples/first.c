/* SPDX-License-Identifier: Apache-2.0 */
/* first.c - the program of the README: subscribe, and print what comes. */
#include <stdio.h>

#include <hpx/hpx.h>

int main(void)
{
    hpx_engine *engine = NULL;
    hpx_port *port = NULL;
    hpx_handle *handle = NULL;
    hpx_stream *stream = NULL;
    hpx_event event;
    hpx_error error;
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = "ws://127.0.0.1:9443/ws";

    if (hpx_engine_new(&engine, NULL, &error) < 0 || hpx_engine_start(engine, &error) < 0 ||
        hpx_port_open(&port, engine, NULL, &error) < 0 ||
        hpx_ws_connect(port, &config, &handle, &stream, &error) < 0)
        return fprintf(stderr, "%s\n", error.detail), 1;

    hpx_span subscribe =
        hpx_span_of("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\","
                    "\"params\":{\"channels\":[\"trades.BTC-USD\"]}}");
    while (hpx_stream_wait(stream, &event, UINT64_MAX) == 1) {
        if (event.kind == HPX_EVENT_CONNECTED &&
            hpx_handle_send(handle, HPX_MESSAGE_TEXT, subscribe))
            break;
        if (event.kind == HPX_EVENT_MESSAGE)
            printf("%.*s\n", (int)event.payload.size, (const char *)event.payload.data);
        if (event.kind == HPX_EVENT_CLOSED)
            fprintf(stderr, "closed: %s\n", event.error->detail);
    }
    hpx_port_close(port); /* releases the handle: the connection closes in good order */
    hpx_engine_free(engine);
    return 0;
}

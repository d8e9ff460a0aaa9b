/* SPDX-License-Identifier: Apache-2.0 */
/* first.c - the program of the README: subscribe, and print what comes. */
#include <stdio.h>

#include <hpx/hpx.h>

int main(void)
{
    hpx_engine *engine;
    hpx_port *port;
    hpx_handle *handle;
    hpx_stream *stream;
    hpx_event event;
    hpx_error error;
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = "ws://127.0.0.1:9443/ws";
    if (hpx_engine_new(&engine, NULL, &error) || hpx_engine_start(engine, &error) ||
        hpx_port_open(&port, engine, NULL, &error) ||
        hpx_ws_connect(port, &config, &handle, &stream, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;

    hpx_span hello = hpx_span_of("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"public/subscribe\","
                                 "\"params\":{\"channels\":[\"trades.BTC-USD\"]}}");
    while (hpx_stream_wait(stream, &event, HPX_NEVER) == 1)
        if (event.kind == HPX_EVENT_MESSAGE)
            printf("%.*s\n", (int)event.payload.size, (const char *)event.payload.data);
        else if (
            event.kind == HPX_EVENT_CONNECTED && hpx_handle_send(handle, HPX_MESSAGE_TEXT, hello))
            break;
    hpx_port_close(port); /* releases the handle: the connection closes in good order */
    hpx_engine_free(engine);
    return 0;
}

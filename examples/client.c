/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - the shortest way: one object, no events. Ask the time, then print ten trades.
 *   hpx exchange --plain &   and   client ws://127.0.0.1:9443/ws */
#include <stdio.h>

#include <hpx/hpx.h>

int main(int argc, char **argv)
{
    HPX_AUTO(hpx_ws_client) *client = NULL; /* closes and frees it on every way out */
    hpx_error error;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = argc > 1 ? argv[1] : "ws://127.0.0.1:9443/ws";
    ws.protocol = hpx_protocol_json_rpc();
    ws.reconnect = true; /* for as long as the client lives */
    if (hpx_ws_client_connect_wait(&client, &ws, NULL, 5 * HPX_NS_PER_S, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;

    hpx_reply reply;
    const hpx_span question = hpx_span_of("{\"jsonrpc\":\"2.0\",\"method\":\"public/get_time\"}");
    if (hpx_ws_client_request_wait(client, question, HPX_NS_PER_S, &reply) == HPX_OK)
        printf("%.*s\n", (int)reply.payload.size, (const char *)reply.payload.data);

    if (hpx_ws_client_subscribe(client, "trades.BTC-USD", NULL, NULL, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;
    hpx_update update;
    for (int count = 0; count < 10;) {
        if (hpx_ws_client_update_wait(client, &update, NULL, 10 * HPX_NS_PER_S) != 1)
            return fprintf(stderr, "nothing comes\n"), 1;
        if (update.kind == HPX_UPDATE_MESSAGE) {
            printf("%.*s\n", (int)update.payload.size, (const char *)update.payload.data);
            count++;
        } else if (update.kind == HPX_UPDATE_INTERRUPTED) {
            printf("a gap: reconnecting\n");
        } else if (update.kind == HPX_UPDATE_REFUSED || update.kind == HPX_UPDATE_ENDED) {
            return fprintf(stderr, "%s\n", update.error->detail), 1;
        }
    }
    return hpx_ws_client_close_wait(client, 1000, hpx_span_of("done"), HPX_NS_PER_S) != HPX_OK;
}

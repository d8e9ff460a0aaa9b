/* SPDX-License-Identifier: Apache-2.0 */
/* generic_json.c - an exchange described by field names and templates, in place of code. What is
 * described here happens to be `hpx exchange`; docs/dialects.md has others. Try it with:
 *   hpx exchange --plain &   and   generic_json ws://127.0.0.1:9443/ws */
#include <stdio.h>

#include <hpx/hpx.h>

static hpx_status make_dialect(hpx_protocol **out, hpx_error *error)
{
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    config.id_field = "id";
    config.error_rule = "error";
    config.reason_field = "error.message";
    config.topic_field = "params.channel";
    config.update_rule = "method=subscription";
    config.auth = "{\"id\":${id},\"jsonrpc\":\"2.0\",\"method\":\"public/auth\",\"params\":{"
                  "\"grant_type\":\"client_credentials\",\"client_id\":\"me\","
                  "\"client_secret\":\"secret\"}}";
    config.subscribe = "{\"id\":${id},\"jsonrpc\":\"2.0\",\"method\":\"public/subscribe\","
                       "\"params\":{\"channels\":${topics}}}";
    config.unsubscribe = "{\"id\":${id},\"jsonrpc\":\"2.0\",\"method\":\"public/unsubscribe\","
                         "\"params\":{\"channels\":${topics}}}";
    config.acknowledges = true; /* by a response with the id */
    config.ping = "{\"id\":${id},\"jsonrpc\":\"2.0\",\"method\":\"public/test\"}";
    config.ping_rule = "method=heartbeat&params.type=test_request";
    config.pong = config.ping;
    return hpx_protocol_json_new(out, &config, error);
}

int main(int argc, char **argv)
{
    hpx_protocol *dialect;
    hpx_ws_client *client;
    hpx_error error;
    if (make_dialect(&dialect, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = argc > 1 ? argv[1] : "ws://127.0.0.1:9443/ws";
    ws.protocol = dialect;
    ws.heartbeat = HPX_HEARTBEAT_PROTOCOL;
    const hpx_status status =
        hpx_ws_client_connect_wait(&client, &ws, NULL, 5 * HPX_NS_PER_S, &error);
    hpx_protocol_free(dialect); /* the connection keeps what it needs */
    if (status != HPX_OK)
        return fprintf(stderr, "%s\n", error.detail), 1;

    const hpx_span books[] = {hpx_span_of("book.BTC-USD"), hpx_span_of("book.ETH-USD")};
    hpx_subscribe_config newest = HPX_SUBSCRIBE_CONFIG_INIT;
    newest.overflow = HPX_OVERFLOW_CONFLATE; /* of each book only the newest matters */
    hpx_subscription *sub;
    if (hpx_ws_client_subscribe_many(client, books, 2, &newest, &sub, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;
    int count = 0;
    hpx_update update;
    while (count < 10 && hpx_ws_client_update_wait(client, &update, NULL, 10 * HPX_NS_PER_S) == 1) {
        if (update.kind != HPX_UPDATE_MESSAGE)
            continue;
        printf(
            "%.*s (%llu older ones skipped): %.*s\n",
            (int)update.topic.size,
            (const char *)update.topic.data,
            (unsigned long long)update.missed,
            (int)update.payload.size,
            (const char *)update.payload.data);
        count++;
    }
    hpx_ws_client_free(client);
    return count < 10;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* dialect.c - a dialect of your own: a table of functions that say what messages mean and how to
 * say things. They run on the shard's thread and allocate nothing: yyjson gets a fixed pool here.
 *   hpx exchange --plain &   and   dialect ws://127.0.0.1:9443/ws */
#include <stdio.h>
#include <string.h>
#include <yyjson.h>

#include <hpx/hpx.h>

typedef struct dialect {
    char pool[64 << 10];   /* for one message being read; what does not fit is UNKNOWN */
    char topic[64];        /* outlives the pool's use: until the next classify() */
    unsigned long updates; /* a dialect may keep state of its own */
} dialect;

static yyjson_doc *parse(dialect *d, hpx_span text)
{
    yyjson_alc pool;
    yyjson_alc_pool_init(&pool, d->pool, sizeof(d->pool));
    return yyjson_read_opts((char *)(uintptr_t)text.data, text.size, 0, &pool, NULL);
}

/* What is this message? Whatever is left unsaid is UNKNOWN, and goes to the stream. */
static void classify(void *ctx, hpx_span text, hpx_classified *out)
{
    dialect *d = ctx;
    yyjson_val *root = yyjson_doc_get_root(parse(d, text));
    yyjson_val *id = yyjson_obj_get(root, "id");
    const char *method = yyjson_get_str(yyjson_obj_get(root, "method"));
    if (method != NULL && strcmp(method, "subscription") == 0) {
        const char *channel =
            yyjson_get_str(yyjson_obj_get(yyjson_obj_get(root, "params"), "channel"));
        if (channel != NULL && strlen(channel) < sizeof(d->topic)) {
            out->message_class = HPX_CLASS_UPDATE;
            out->topic = hpx_span_of(strcpy(d->topic, channel));
            d->updates++;
        }
    } else if (method != NULL) {
        out->message_class = HPX_CLASS_SYSTEM;
    } else if (yyjson_is_uint(id)) {
        out->message_class = HPX_CLASS_RESPONSE;
        out->id = (hpx_request_id){.kind = HPX_ID_NUMBER, .number = yyjson_get_uint(id)};
        out->meaning = yyjson_obj_get(root, "error") != NULL ? HPX_MEANS_ERROR : 0;
    }
}

static hpx_status write_topics(
    const char *method, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    hpx_writer_text(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    hpx_writer_u64(out, id);
    hpx_writer_text(out, ",\"method\":\"");
    hpx_writer_text(out, method);
    hpx_writer_text(out, "\",\"params\":{\"channels\":[");
    for (uint32_t i = 0; i < count; i++) {
        hpx_writer_text(out, i == 0 ? "" : ",");
        hpx_writer_json_string(out, topics[i]);
    }
    hpx_writer_text(out, "]}}");
    return 1; /* one message written */
}

static hpx_status
subscribe(void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    (void)ctx;
    return write_topics("public/subscribe", id, topics, count, out);
}

static hpx_status
unsubscribe(void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    (void)ctx;
    return write_topics("public/unsubscribe", id, topics, count, out);
}

/* This program's requests begin with {"id":, and the number goes there. */
static hpx_status inject(void *ctx, hpx_span payload, uint64_t id, hpx_splice *out)
{
    static const char head[] = "{\"id\":";
    (void)ctx;
    if (payload.size < sizeof(head) - 1 || memcmp(payload.data, head, sizeof(head) - 1) != 0)
        return HPX_E_INVALID;
    out->offset = sizeof(head) - 1;
    out->text_bytes =
        (size_t)snprintf(out->text, sizeof(out->text), "%llu", (unsigned long long)id);
    return 1;
}

int main(int argc, char **argv)
{
    static dialect d;
    hpx_protocol table = HPX_PROTOCOL_INIT;
    table.name = "my exchange";
    table.ctx = &d;
    table.flags = HPX_PROTOCOL_ACKNOWLEDGES;
    table.classify = classify;
    table.build_subscribe = subscribe;
    table.build_unsubscribe = unsubscribe;
    table.inject_request_id = inject;

    hpx_ws_client *client;
    hpx_error error;
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = argc > 1 ? argv[1] : "ws://127.0.0.1:9443/ws";
    ws.protocol = &table; /* copied; its ctx is used until the connection is closed */
    if (hpx_ws_client_connect_wait(&client, &ws, NULL, 5 * HPX_NS_PER_S, &error) ||
        hpx_ws_client_subscribe(client, "trades.BTC-USD", NULL, NULL, &error))
        return fprintf(stderr, "%s\n", error.detail), 1;
    hpx_reply reply;
    const hpx_span question =
        hpx_span_of("{\"id\":,\"jsonrpc\":\"2.0\",\"method\":\"public/test\"}");
    bool good = hpx_ws_client_request_wait(client, question, 0, &reply) == HPX_OK;
    hpx_update update;
    for (int count = 0; good && count < 10;) {
        good = hpx_ws_client_update_wait(client, &update, NULL, 10 * HPX_NS_PER_S) == 1;
        if (good && update.kind == HPX_UPDATE_MESSAGE) {
            printf("%.*s\n", (int)update.payload.size, (const char *)update.payload.data);
            count++;
        }
    }
    hpx_ws_client_free(client);
    printf("%lu updates were read\n", d.updates);
    return !good;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol_json_rpc.c - the JSON-RPC 2.0 dialect.
 *
 *   method, update_method          UPDATE of params.<topic>; UNKNOWN without one
 *   method, heartbeat_method       CONTROL, a ping where params.type asks for an answer
 *   method, reconnect_method       SYSTEM, reconnect
 *   any other method               SYSTEM
 *   result or error, and an id     RESPONSE (error wins where both are there and not null)
 *   error, no id or null           SYSTEM
 *   all else, arrays (batches) too UNKNOWN
 *
 * Role      Made once from its configuration; every question of the driver is one scan.
 * Threads   Any: immutable once made. Memory: one block.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "engine/error.h"
#include "engine/protocol.h"
#include "ring/assert.h"

typedef struct json_rpc_message {
    hpx_span text;
    bool has_id;
} json_rpc_message;

typedef struct json_rpc {
    hpxi_dialect dialect;
    hpxi_json_paths paths;
    int id, method, topic, type, error, message, result; /* slots */
    hpx_span update_method;
    hpx_span heartbeat_method; /* empty: none */
    hpx_span heartbeat_type;
    hpx_span reconnect_method; /* empty: none */
    hpx_span auth_method;
    hpx_span auth_params;
    hpx_span subscribe_method;
    hpx_span unsubscribe_method;
    hpx_span topics_field;
    hpx_span ping_method;
    hpx_build_auth build_auth;
    void *build_auth_ctx;
    hpxi_id_place id_place;
    uint32_t on_connect_count;
    json_rpc_message on_connect[HPXI_ON_CONNECT_MAX];
} json_rpc;

static void json_rpc_classify_call(
    const json_rpc *rpc, const hpxi_json_found *found, hpxi_json_value method, hpx_classified *out)
{
    if (HPXI_LIKELY(hpxi_json_is_text(method, rpc->update_method))) {
        const hpxi_json_value topic = hpxi_json_at(found, rpc->topic);
        if (topic.kind == HPXI_JSON_STRING) {
            out->message_class = HPX_CLASS_UPDATE;
            out->topic = hpxi_value_span(topic, HPXI_SCRATCH_TOPIC);
        }
        return;
    }
    out->message_class = HPX_CLASS_SYSTEM;
    if (rpc->heartbeat_method.size != 0 && hpxi_json_is_text(method, rpc->heartbeat_method)) {
        out->message_class = HPX_CLASS_CONTROL;
        if (hpxi_json_is_text(hpxi_json_at(found, rpc->type), rpc->heartbeat_type)) {
            out->meaning = HPX_MEANS_PING;
        }
    } else if (
        rpc->reconnect_method.size != 0 && hpxi_json_is_text(method, rpc->reconnect_method)) {
        out->meaning = HPX_MEANS_RECONNECT;
    }
}

static void json_rpc_classify(void *ctx, hpx_span text, hpx_classified *out)
{
    const json_rpc *rpc = ctx;
    hpxi_json_found found;
    if (hpxi_json_scan(&rpc->paths, text, &found) != HPXI_JSON_OK ||
        found.root.kind != HPXI_JSON_OBJECT) {
        return;
    }
    const hpxi_json_value method = hpxi_json_at(&found, rpc->method);
    if (method.kind == HPXI_JSON_STRING) {
        json_rpc_classify_call(rpc, &found, method, out);
        return;
    }
    const bool has_error = hpxi_json_has(&found, rpc->error);
    const bool has_id = hpxi_json_has(&found, rpc->id);
    if (!has_error && hpxi_json_at(&found, rpc->result).kind == HPXI_JSON_ABSENT) {
        return;
    }
    if (has_error) {
        const hpxi_json_value message = hpxi_json_at(&found, rpc->message);
        const hpxi_json_value error = hpxi_json_at(&found, rpc->error);
        out->meaning = HPX_MEANS_ERROR;
        out->reason = hpxi_value_span(
            message.kind == HPXI_JSON_STRING ? message : error, HPXI_SCRATCH_REASON);
    }
    if (has_id) {
        out->message_class = HPX_CLASS_RESPONSE;
        out->id = hpxi_value_id(hpxi_json_at(&found, rpc->id), false);
    } else if (has_error) {
        out->message_class = HPX_CLASS_SYSTEM;
    }
}

static void json_rpc_head(hpx_writer *out, uint64_t id, hpx_span method)
{
    hpx_writer_text(out, "{\"jsonrpc\":\"2.0\",\"id\":");
    hpx_writer_u64(out, id);
    hpx_writer_text(out, ",\"method\":");
    hpx_writer_json_string(out, method);
    hpx_writer_text(out, ",\"params\":");
}

static hpx_status json_rpc_on_connect(void *ctx, uint32_t index, uint64_t id, hpx_writer *out)
{
    const json_rpc *rpc = ctx;
    if (index >= rpc->on_connect_count) {
        return 0;
    }
    const json_rpc_message *message = &rpc->on_connect[index];
    hpx_splice splice = {0};
    if (!message->has_id) {
        const hpx_status status = hpxi_id_place_splice(&rpc->id_place, message->text, id, &splice);
        HPX_ASSERT(status == 1); /* it was tried when the dialect was made */
    }
    hpx_writer_bytes(out, message->text.data, splice.offset);
    hpx_writer_bytes(out, splice.text, splice.text_bytes);
    const size_t rest = splice.offset + splice.removed;
    hpx_writer_bytes(out, message->text.data + rest, message->text.size - rest);
    return 1;
}

static hpx_status json_rpc_auth(void *ctx, uint64_t id, hpx_writer *out)
{
    const json_rpc *rpc = ctx;
    if (rpc->build_auth != NULL) {
        return rpc->build_auth(rpc->build_auth_ctx, id, out);
    }
    json_rpc_head(out, id, rpc->auth_method);
    hpx_writer_span(out, rpc->auth_params);
    hpx_writer_text(out, "}");
    return 1;
}

static hpx_status json_rpc_topics(
    const json_rpc *rpc,
    hpx_span method,
    uint64_t id,
    const hpx_span *topics,
    uint32_t count,
    hpx_writer *out)
{
    HPX_ASSERT(count >= 1);
    json_rpc_head(out, id, method);
    hpx_writer_text(out, "{");
    hpx_writer_json_string(out, rpc->topics_field);
    hpx_writer_text(out, ":[");
    for (uint32_t i = 0; i < count && !out->overflow; i++) {
        hpx_writer_bytes(out, ",", i == 0 ? 0 : 1);
        hpx_writer_json_string(out, topics[i]);
    }
    hpx_writer_text(out, "]}}");
    return 1;
}

static hpx_status
json_rpc_subscribe(void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    const json_rpc *rpc = ctx;
    return json_rpc_topics(rpc, rpc->subscribe_method, id, topics, count, out);
}

static hpx_status json_rpc_unsubscribe(
    void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    const json_rpc *rpc = ctx;
    return json_rpc_topics(rpc, rpc->unsubscribe_method, id, topics, count, out);
}

/* Accepted are the topics in the array `result`; all of them when it is no array. Servers answer
 * in the order of the question, so the search for each starts behind the one before. */
static void json_rpc_result(
    void *ctx, hpx_span response, const hpx_span *topics, uint32_t count, bool *accepted)
{
    const json_rpc *rpc = ctx;
    hpxi_json_found found;
    const bool good = hpxi_json_scan(&rpc->paths, response, &found) == HPXI_JSON_OK;
    const hpxi_json_value result = good ? hpxi_json_at(&found, rpc->result) : (hpxi_json_value){0};
    const bool listed = result.kind == HPXI_JSON_ARRAY;
    for (uint32_t i = 0; i < count; i++) {
        accepted[i] = good && !listed;
    }
    if (!listed) {
        return;
    }
    hpxi_json_elements elements = hpxi_json_elements_of(result);
    hpxi_json_value element;
    uint32_t next = 0;
    while (hpxi_json_elements_next(&elements, &element)) {
        for (uint32_t tried = 0; tried < count; tried++) {
            const uint32_t i = (next + tried) % count;
            if (hpxi_json_is_text(element, topics[i])) {
                accepted[i] = true;
                next = i + 1;
                break;
            }
        }
    }
}

static hpx_status json_rpc_inject(void *ctx, hpx_span payload, uint64_t id, hpx_splice *out)
{
    const json_rpc *rpc = ctx;
    return hpxi_id_place_splice(&rpc->id_place, payload, id, out);
}

static hpx_status json_rpc_ping(void *ctx, uint64_t id, hpx_writer *out)
{
    const json_rpc *rpc = ctx;
    json_rpc_head(out, id, rpc->ping_method);
    hpx_writer_text(out, "{}}");
    return 1;
}

static hpx_status json_rpc_pong(void *ctx, hpx_span ping, uint64_t id, hpx_writer *out)
{
    (void)ping;
    return json_rpc_ping(ctx, id, out);
}

/* ---- Making one ------------------------------------------------------------------------------ */

#define JSON_RPC_PARAMS "params."

static void json_rpc_defaults(hpx_json_rpc_config *config)
{
    const struct {
        const char **member;
        const char *value;
    } defaults[] = {
        {&config->auth_method, "public/auth"},
        {&config->subscribe_method, "public/subscribe"},
        {&config->unsubscribe_method, "public/unsubscribe"},
        {&config->topics_field, "channels"},
        {&config->update_method, "subscription"},
        {&config->update_topic_field, "channel"},
        {&config->heartbeat_method, "heartbeat"},
        {&config->heartbeat_type, "test_request"},
        {&config->ping_method, "public/test"},
    };
    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        if (*defaults[i].member == NULL) {
            *defaults[i].member = defaults[i].value;
        }
    }
}

static size_t json_rpc_strings_bytes(const hpx_json_rpc_config *config)
{
    const char *const texts[] = {
        config->auth_method,
        config->auth_params,
        config->subscribe_method,
        config->topics_field,
        config->unsubscribe_method,
        config->update_method,
        config->heartbeat_method,
        config->heartbeat_type,
        config->ping_method,
        config->reconnect_method,
        config->update_topic_field,
    };
    size_t bytes = sizeof(JSON_RPC_PARAMS);
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        bytes += hpxi_text_bytes(texts[i]);
    }
    for (uint32_t i = 0; i < config->on_connect_count; i++) {
        bytes += hpxi_text_bytes(config->on_connect[i]);
    }
    return bytes;
}

static hpx_status json_rpc_check(const hpx_json_rpc_config *config, hpx_error *error)
{
    const struct {
        const char *name;
        const char *value;
    } needed[] = {
        {"auth_method", config->auth_method},
        {"subscribe_method", config->subscribe_method},
        {"unsubscribe_method", config->unsubscribe_method},
        {"topics_field", config->topics_field},
        {"update_method", config->update_method},
        {"update_topic_field", config->update_topic_field},
    };
    if (config->flags != 0) {
        return hpxi_config_fail(error, "flags", "must be 0");
    }
    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (needed[i].value[0] == '\0') {
            return hpxi_config_fail(error, needed[i].name, "empty");
        }
    }
    if (config->auth_params != NULL) {
        hpxi_json_paths none;
        hpxi_json_found found;
        hpxi_json_paths_init(&none);
        if (hpxi_json_scan(&none, hpx_span_of(config->auth_params), &found) != HPXI_JSON_OK ||
            found.root.kind != HPXI_JSON_OBJECT) {
            return hpxi_config_fail(error, "auth_params", "not a JSON object");
        }
    }
    return hpxi_on_connect_check(config->on_connect, config->on_connect_count, error);
}

static void json_rpc_set_table(json_rpc *rpc)
{
    hpx_protocol *table = &rpc->dialect.table;
    table->flags = HPX_PROTOCOL_ACKNOWLEDGES;
    table->name = "json-rpc";
    table->classify = json_rpc_classify;
    table->build_on_connect = rpc->on_connect_count != 0 ? json_rpc_on_connect : NULL;
    const bool auth = rpc->build_auth != NULL || rpc->auth_params.size != 0;
    table->build_auth = auth ? json_rpc_auth : NULL;
    table->build_subscribe = json_rpc_subscribe;
    table->build_unsubscribe = json_rpc_unsubscribe;
    table->subscription_result = json_rpc_result;
    table->inject_request_id = json_rpc_inject;
    table->build_ping = rpc->ping_method.size != 0 ? json_rpc_ping : NULL;
    table->build_pong = rpc->ping_method.size != 0 ? json_rpc_pong : NULL;
}

/* Compiles the configuration, whose strings are the dialect's already. */
static hpx_status json_rpc_set_paths(json_rpc *rpc, const char *topic_path, hpx_error *error)
{
    const struct {
        int *slot;
        const char *path;
    } wanted[] = {
        {&rpc->id, "id"},
        {&rpc->method, "method"},
        {&rpc->topic, topic_path},
        {&rpc->type, "params.type"},
        {&rpc->error, "error"},
        {&rpc->message, "error.message"},
        {&rpc->result, "result"},
    };
    hpxi_json_paths_init(&rpc->paths);
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        *wanted[i].slot = hpxi_json_paths_add(&rpc->paths, hpx_span_of(wanted[i].path));
        if (*wanted[i].slot < 0) {
            HPX_ASSERT(wanted[i].path == topic_path); /* the others are ours */
            return hpxi_config_fail(error, "update_topic_field", "not a path of 1 to 7 keys");
        }
    }
    const hpx_status status = hpxi_id_place_init(&rpc->id_place, hpx_span_of("id"), false);
    HPX_ASSERT(status == HPX_OK);
    return HPX_OK;
}

static hpx_status json_rpc_set_on_connect(
    json_rpc *rpc, const hpx_json_rpc_config *config, char **strings, hpx_error *error)
{
    for (uint32_t i = 0; i < config->on_connect_count; i++) {
        json_rpc_message *message = &rpc->on_connect[i];
        message->text = hpx_span_of(hpxi_text_copy(strings, config->on_connect[i]));
        const hpx_status taken = hpxi_id_place_is_taken(&rpc->id_place, message->text);
        if (taken < 0) {
            return hpxi_config_fail(
                error, "on_connect", "one of the messages is no JSON object, or has two ids");
        }
        message->has_id = taken != 0;
    }
    rpc->on_connect_count = config->on_connect_count;
    return HPX_OK;
}

static hpx_status
json_rpc_compile(json_rpc *rpc, char *strings, const hpx_json_rpc_config *config, hpx_error *error)
{
    const struct {
        hpx_span *to;
        const char *from;
    } texts[] = {
        {&rpc->update_method, config->update_method},
        {&rpc->heartbeat_method, config->heartbeat_method},
        {&rpc->heartbeat_type, config->heartbeat_type},
        {&rpc->reconnect_method, config->reconnect_method},
        {&rpc->auth_method, config->auth_method},
        {&rpc->auth_params, config->auth_params},
        {&rpc->subscribe_method, config->subscribe_method},
        {&rpc->unsubscribe_method, config->unsubscribe_method},
        {&rpc->topics_field, config->topics_field},
        {&rpc->ping_method, config->ping_method},
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        *texts[i].to = hpx_span_of(hpxi_text_copy(&strings, texts[i].from));
    }
    rpc->build_auth = config->build_auth;
    rpc->build_auth_ctx = config->build_auth_ctx;
    const char *topic_path = strings;
    memcpy(strings, JSON_RPC_PARAMS, sizeof(JSON_RPC_PARAMS) - 1);
    strings += sizeof(JSON_RPC_PARAMS) - 1;
    (void)hpxi_text_copy(&strings, config->update_topic_field);
    hpx_status status = json_rpc_set_paths(rpc, topic_path, error);
    if (status == HPX_OK) {
        status = json_rpc_set_on_connect(rpc, config, &strings, error);
    }
    return status;
}

hpx_status hpxi_protocol_json_rpc_new(
    hpx_protocol **out,
    const hpx_json_rpc_config *config,
    const hpx_allocator *allocator,
    hpx_error *error)
{
    hpx_json_rpc_config full = HPX_JSON_RPC_CONFIG_INIT;
    if (config == NULL || config->size < offsetof(hpx_json_rpc_config, auth_method)) {
        return hpxi_config_fail(error, "config", "NULL or without its size; use the INIT macro");
    }
    memcpy(&full, config, config->size < sizeof(full) ? config->size : sizeof(full));
    json_rpc_defaults(&full);
    hpx_status status = json_rpc_check(&full, error);
    if (status != HPX_OK) {
        return status;
    }
    json_rpc *rpc = hpxi_dialect_alloc(sizeof(json_rpc) + json_rpc_strings_bytes(&full), allocator);
    if (rpc == NULL) {
        return hpxi_error_set(
            error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory for the dialect");
    }
    status = json_rpc_compile(rpc, (char *)(rpc + 1), &full, error);
    if (status != HPX_OK) {
        hpxi_dialect_release(rpc);
        return status;
    }
    json_rpc_set_table(rpc);
    *out = &rpc->dialect.table;
    return HPX_OK;
}

hpx_status
hpx_protocol_json_rpc_new(hpx_protocol **out, const hpx_json_rpc_config *config, hpx_error *error)
{
    return hpxi_protocol_json_rpc_new(out, config, NULL, error);
}

/* ---- The one with the defaults --------------------------------------------------------------- */

/* In static memory, so that making it cannot fail. */
static struct {
    json_rpc rpc;
    char strings[512];
} json_rpc_default;

static void json_rpc_make_default(void)
{
    hpx_json_rpc_config config = HPX_JSON_RPC_CONFIG_INIT;
    json_rpc_defaults(&config);
    HPX_ASSERT(json_rpc_strings_bytes(&config) <= sizeof(json_rpc_default.strings));
    json_rpc *rpc = &json_rpc_default.rpc;
    rpc->dialect.table = (hpx_protocol)HPX_PROTOCOL_INIT;
    rpc->dialect.table.ctx = rpc;
    const hpx_status status = json_rpc_compile(rpc, json_rpc_default.strings, &config, NULL);
    HPX_ASSERT(status == HPX_OK);
    json_rpc_set_table(rpc);
}

const hpx_protocol *hpx_protocol_json_rpc(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, json_rpc_make_default);
    return &json_rpc_default.rpc.dialect.table;
}

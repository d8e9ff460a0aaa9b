/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_dialect.c - a dialect from a name or a file.
 *
 * Memory    What is read lives until the dialect is made, which copies it.
 */
#include "ws_dialect.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "cli.h"

#define WS_FILE_BYTES_MAX (1u << 20)
#define WS_ON_CONNECT_MAX 16u

typedef struct ws_dialect {
    char *settings; /* contents of FILE, or NULL */
    char *auth;     /* contents of @FILE, or NULL */
    yyjson_doc *doc;
    const char *on_connect[WS_ON_CONNECT_MAX];
    hpx_error *error;
} ws_dialect;

typedef struct ws_member {
    const char *name;
    size_t offset;
    enum {
        WS_MEMBER_TEXT,
        WS_MEMBER_FLAG,
    } kind;
} ws_member;

#define WS_TEXT(config, member)                                                                    \
    {                                                                                              \
#member, offsetof(config, member), WS_MEMBER_TEXT                                          \
    }
#define WS_FLAG(config, member)                                                                    \
    {                                                                                              \
#member, offsetof(config, member), WS_MEMBER_FLAG                                          \
    }

static const ws_member json_rpc_members[] = {
    WS_TEXT(hpx_json_rpc_config, auth_method),
    WS_TEXT(hpx_json_rpc_config, auth_params),
    WS_TEXT(hpx_json_rpc_config, subscribe_method),
    WS_TEXT(hpx_json_rpc_config, unsubscribe_method),
    WS_TEXT(hpx_json_rpc_config, topics_field),
    WS_TEXT(hpx_json_rpc_config, update_method),
    WS_TEXT(hpx_json_rpc_config, update_topic_field),
    WS_TEXT(hpx_json_rpc_config, heartbeat_method),
    WS_TEXT(hpx_json_rpc_config, heartbeat_type),
    WS_TEXT(hpx_json_rpc_config, ping_method),
    WS_TEXT(hpx_json_rpc_config, reconnect_method),
};

static const ws_member json_members[] = {
    WS_TEXT(hpx_json_config, id_field),
    WS_FLAG(hpx_json_config, id_is_string),
    WS_TEXT(hpx_json_config, topic_field),
    WS_TEXT(hpx_json_config, update_rule),
    WS_TEXT(hpx_json_config, response_rule),
    WS_TEXT(hpx_json_config, error_rule),
    WS_TEXT(hpx_json_config, reason_field),
    WS_TEXT(hpx_json_config, system_rule),
    WS_TEXT(hpx_json_config, reconnect_rule),
    WS_TEXT(hpx_json_config, auth),
    WS_TEXT(hpx_json_config, auth_ok_rule),
    WS_TEXT(hpx_json_config, auth_failed_rule),
    WS_TEXT(hpx_json_config, subscribe),
    WS_TEXT(hpx_json_config, unsubscribe),
    WS_FLAG(hpx_json_config, acknowledges),
    WS_TEXT(hpx_json_config, subscribed_rule),
    WS_TEXT(hpx_json_config, unsubscribed_rule),
    WS_TEXT(hpx_json_config, refused_rule),
    WS_TEXT(hpx_json_config, ping),
    WS_TEXT(hpx_json_config, pong_rule),
    WS_TEXT(hpx_json_config, ping_text),
    WS_TEXT(hpx_json_config, ping_rule),
    WS_TEXT(hpx_json_config, ping_value_field),
    WS_TEXT(hpx_json_config, pong),
    WS_TEXT(hpx_json_config, pong_text),
};

static hpx_status CLI_PRINTF(2, 3) ws_dialect_fail(ws_dialect *dialect, const char *format, ...)
{
    hpx_error *error = dialect->error;
    *error = (hpx_error){.status = HPX_E_INVALID, .stage = HPX_STAGE_CONFIG};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->detail, sizeof(error->detail), format, arguments);
    va_end(arguments);
    return HPX_E_INVALID;
}

/* The contents, NUL-terminated; NULL: the error is set. */
static char *ws_read_file(ws_dialect *dialect, const char *path)
{
    FILE *file = fopen(path, "rbe");
    char *text = malloc(WS_FILE_BYTES_MAX + 1);
    size_t size = 0;
    if (file == NULL || text == NULL) {
        ws_dialect_fail(dialect, "%.100s: %s", path, cli_errno_text(errno));
    } else {
        size = fread(text, 1, WS_FILE_BYTES_MAX, file);
        if (ferror(file) != 0 || size == WS_FILE_BYTES_MAX) {
            ws_dialect_fail(dialect, "%.100s: cannot be read, or has 1 MiB or more", path);
            size = SIZE_MAX;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    if (file == NULL || text == NULL || size == SIZE_MAX) {
        free(text);
        return NULL;
    }
    text[size] = '\0';
    return text;
}

/* A member of FILE into the config; messages of on_connect into the list. */
static hpx_status ws_dialect_set(
    ws_dialect *dialect, void *config, const ws_member *member, const char *key, yyjson_val *value)
{
    if (member->kind == WS_MEMBER_TEXT && yyjson_is_str(value)) {
        *(const char **)(void *)((char *)config + member->offset) = yyjson_get_str(value);
        return HPX_OK;
    }
    if (member->kind == WS_MEMBER_FLAG && yyjson_is_bool(value)) {
        *(bool *)(void *)((char *)config + member->offset) = yyjson_get_bool(value);
        return HPX_OK;
    }
    return ws_dialect_fail(
        dialect,
        "%.60s is not %s",
        key,
        member->kind == WS_MEMBER_TEXT ? "a string" : "true or false");
}

static hpx_status ws_dialect_set_on_connect(ws_dialect *dialect, yyjson_val *value, uint32_t *count)
{
    yyjson_arr_iter iter;
    if (!yyjson_arr_iter_init(value, &iter) || yyjson_arr_size(value) > WS_ON_CONNECT_MAX) {
        return ws_dialect_fail(dialect, "on_connect is no array of at most 16 strings");
    }
    for (yyjson_val *text = NULL; (text = yyjson_arr_iter_next(&iter)) != NULL;) {
        if (!yyjson_is_str(text)) {
            return ws_dialect_fail(dialect, "on_connect is no array of at most 16 strings");
        }
        dialect->on_connect[(*count)++] = yyjson_get_str(text);
    }
    return HPX_OK;
}

/* FILE's members into the config. */
static hpx_status ws_dialect_load(
    ws_dialect *dialect,
    const char *path,
    const ws_member *members,
    size_t member_count,
    void *config,
    uint32_t *on_connect_count)
{
    dialect->settings = ws_read_file(dialect, path);
    if (dialect->settings == NULL) {
        return HPX_E_INVALID;
    }
    dialect->doc = yyjson_read(dialect->settings, strlen(dialect->settings), YYJSON_READ_NOFLAG);
    yyjson_obj_iter iter;
    if (!yyjson_obj_iter_init(yyjson_doc_get_root(dialect->doc), &iter)) {
        return ws_dialect_fail(dialect, "%.100s: not a JSON object", path);
    }
    hpx_status status = HPX_OK;
    for (yyjson_val *key = NULL; status == HPX_OK && (key = yyjson_obj_iter_next(&iter)) != NULL;) {
        yyjson_val *value = yyjson_obj_iter_get_val(key);
        const char *name = yyjson_get_str(key);
        size_t i = 0;
        while (i < member_count && strcmp(members[i].name, name) != 0) {
            i++;
        }
        if (strcmp(name, "on_connect") == 0) {
            status = ws_dialect_set_on_connect(dialect, value, on_connect_count);
        } else if (i < member_count) {
            status = ws_dialect_set(dialect, config, &members[i], name, value);
        } else {
            status = ws_dialect_fail(dialect, "%.60s is no setting of this dialect", name);
        }
    }
    return status;
}

static hpx_status
ws_dialect_new_json_rpc(ws_dialect *dialect, hpx_protocol **out, const char *path, const char *auth)
{
    hpx_json_rpc_config config = HPX_JSON_RPC_CONFIG_INIT;
    uint32_t count = 0;
    hpx_status status = HPX_OK;
    if (path != NULL) {
        status = ws_dialect_load(
            dialect, path, json_rpc_members, CLI_COUNT_OF(json_rpc_members), &config, &count);
    }
    config.auth_params = auth != NULL ? auth : config.auth_params;
    config.on_connect = dialect->on_connect;
    config.on_connect_count = count;
    return status == HPX_OK ? hpx_protocol_json_rpc_new(out, &config, dialect->error) : status;
}

static hpx_status
ws_dialect_new_json(ws_dialect *dialect, hpx_protocol **out, const char *path, const char *auth)
{
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    uint32_t count = 0;
    const hpx_status status =
        ws_dialect_load(dialect, path, json_members, CLI_COUNT_OF(json_members), &config, &count);
    config.auth = auth != NULL ? auth : config.auth;
    config.on_connect = dialect->on_connect;
    config.on_connect_count = count;
    return status == HPX_OK ? hpx_protocol_json_new(out, &config, dialect->error) : status;
}

static hpx_status
ws_dialect_make(ws_dialect *dialect, hpx_protocol **out, const char *name, const char *auth)
{
    if (auth != NULL && auth[0] == '@') {
        dialect->auth = ws_read_file(dialect, auth + 1);
        if (dialect->auth == NULL) {
            return HPX_E_INVALID;
        }
        auth = dialect->auth;
    }
    if (strcmp(name, "json-rpc") == 0) {
        return ws_dialect_new_json_rpc(dialect, out, NULL, auth);
    }
    if (strncmp(name, "json-rpc:", 9) == 0) {
        return ws_dialect_new_json_rpc(dialect, out, name + 9, auth);
    }
    if (strncmp(name, "json:", 5) == 0) {
        return ws_dialect_new_json(dialect, out, name + 5, auth);
    }
    return ws_dialect_fail(
        dialect, "dialect '%.60s' is none of json-rpc, json-rpc:FILE, json:FILE", name);
}

hpx_status ws_dialect_new(hpx_protocol **out, const char *name, const char *auth, hpx_error *error)
{
    ws_dialect dialect = {.error = error};
    const hpx_status status = ws_dialect_make(&dialect, out, name, auth);
    yyjson_doc_free(dialect.doc);
    free(dialect.settings);
    free(dialect.auth);
    return status;
}

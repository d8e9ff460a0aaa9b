/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jsonrpc.c - JSON-RPC 2.0 requests and replies.
 *
 * Numbers are read as text (YYJSON_READ_NUMBER_AS_RAW), so that an id like 1e2 or one of 30 digits
 * comes back exactly as it was sent.
 */
#include "jsonrpc.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSONRPC_NUMBER_BYTES 40 /* longest amount or price */

static void jsonrpc_refuse(jsonrpc_request *request, int code, const char *message)
{
    assert(code < 0);
    request->error = code;
    request->error_message = message;
}

/* False: not an id that the specification allows, or too long. */
static bool jsonrpc_take_id(jsonrpc_request *request, yyjson_val *id)
{
    text out;
    text_init(&out, request->id, sizeof(request->id));
    if (yyjson_is_raw(id)) {
        text_add_bytes(&out, yyjson_get_raw(id), yyjson_get_len(id));
    } else if (yyjson_is_str(id)) {
        text_add_json(&out, yyjson_get_str(id), yyjson_get_len(id));
    } else if (yyjson_is_null(id)) {
        text_add(&out, "null");
    } else {
        out.full = true;
    }
    if (out.full) {
        snprintf(request->id, sizeof(request->id), "null");
    }
    return !out.full;
}

static void jsonrpc_take(jsonrpc_request *request, yyjson_val *root)
{
    if (yyjson_is_arr(root)) {
        jsonrpc_refuse(request, JSONRPC_INVALID_REQUEST, "batches are not supported");
        return;
    }
    if (!yyjson_is_obj(root)) {
        jsonrpc_refuse(request, JSONRPC_INVALID_REQUEST, "a request is an object");
        return;
    }
    yyjson_val *id = yyjson_obj_get(root, "id");
    request->is_notification = id == NULL;
    if (id != NULL && !jsonrpc_take_id(request, id)) {
        jsonrpc_refuse(request, JSONRPC_INVALID_REQUEST, "id is a number or a short string");
        return;
    }
    yyjson_val *version = yyjson_obj_get(root, "jsonrpc");
    yyjson_val *method = yyjson_obj_get(root, "method");
    yyjson_val *params = yyjson_obj_get(root, "params");
    if (!yyjson_equals_str(version, "2.0")) {
        jsonrpc_refuse(request, JSONRPC_INVALID_REQUEST, "jsonrpc must be \"2.0\"");
    } else if (!yyjson_is_str(method)) {
        jsonrpc_refuse(request, JSONRPC_INVALID_REQUEST, "method must be a string");
    } else if (params != NULL && !yyjson_is_obj(params)) {
        jsonrpc_refuse(request, JSONRPC_INVALID_PARAMS, "params must be an object");
    } else {
        const char *name = yyjson_get_str(method);
        request->method = strlen(name) == yyjson_get_len(method) ? name : ""; /* no NUL in it */
        request->params = params;
    }
}

void jsonrpc_parse(jsonrpc_request *out, hpx_span message)
{
    *out = (jsonrpc_request){.method = "", .id = "null"};
    /* Without the INSITU flag yyjson does not write to its input, whatever its prototype says. */
    char *bytes = (char *)(uintptr_t)message.data;
    out->doc = message.size == 0
                   ? NULL
                   : yyjson_read_opts(bytes, message.size, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    if (out->doc == NULL) {
        jsonrpc_refuse(out, JSONRPC_PARSE_ERROR, "not JSON");
        return;
    }
    jsonrpc_take(out, yyjson_doc_get_root(out->doc));
    if (out->error == JSONRPC_INVALID_REQUEST) {
        out->is_notification = false; /* nobody knows what it was: say so (section 5) */
    }
}

void jsonrpc_free(jsonrpc_request *request)
{
    yyjson_doc_free(request->doc);
    *request = (jsonrpc_request){.method = "", .id = "null"};
}

const char *jsonrpc_string(const jsonrpc_request *request, const char *name)
{
    yyjson_val *value = yyjson_obj_get(request->params, name);
    const char *string = yyjson_get_str(value);
    if (string == NULL || strlen(string) != yyjson_get_len(value)) {
        return NULL;
    }
    return string;
}

bool jsonrpc_positive(
    const jsonrpc_request *request, const char *name, double *value, hpx_span *as_written)
{
    yyjson_val *found = yyjson_obj_get(request->params, name);
    const size_t size = yyjson_get_len(found);
    char copy[JSONRPC_NUMBER_BYTES + 1] = {0};
    if (!yyjson_is_raw(found) || size > JSONRPC_NUMBER_BYTES) {
        return false;
    }
    memcpy(copy, yyjson_get_raw(found), size);
    *as_written = (hpx_span){(const uint8_t *)yyjson_get_raw(found), size};
    *value = strtod(copy, NULL);
    return isfinite(*value) && *value > 0;
}

void jsonrpc_begin(text *out, const jsonrpc_request *request)
{
    assert(request->error == 0);
    text_addf(out, "{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":", request->id);
}

void jsonrpc_end(text *out)
{
    text_add(out, "}");
}

void jsonrpc_error(text *out, const jsonrpc_request *request, int code, const char *message)
{
    assert(code != 0);
    text_addf(
        out,
        "{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":%d,\"message\":",
        request->id,
        code);
    text_add_json(out, message, strlen(message));
    text_add(out, "}}");
}

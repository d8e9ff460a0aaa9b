/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jsonrpc.h - JSON-RPC 2.0 requests in, replies out.
 *
 * Memory    A parsed request owns one yyjson document until jsonrpc_free(). Replies are written
 *           into the caller's text.
 */
#ifndef HPX_TOOL_JSONRPC_H
#define HPX_TOOL_JSONRPC_H

#include <stdbool.h>
#include <yyjson.h>

#include <hpx/base.h>

#include "text.h"

#define JSONRPC_ID_BYTES 256 /* longest id as JSON text; longer ones are refused */

/* Of the specification, section 5.1. */
enum {
    JSONRPC_PARSE_ERROR = -32700,
    JSONRPC_INVALID_REQUEST = -32600,
    JSONRPC_METHOD_NOT_FOUND = -32601,
    JSONRPC_INVALID_PARAMS = -32602,
};

typedef struct jsonrpc_request {
    yyjson_doc *doc;
    const char *method;        /* "" if error is not 0, or if it has NUL bytes */
    yyjson_val *params;        /* an object, or NULL if there are none */
    bool is_notification;      /* no id: no reply */
    int error;                 /* 0, or the code to answer with */
    const char *error_message; /* static */
    char id[JSONRPC_ID_BYTES]; /* JSON text of the id as it came; "null" if there is none */
} jsonrpc_request;

/* Never fails: what is wrong is in `error`. */
void jsonrpc_parse(jsonrpc_request *out, hpx_span message);
void jsonrpc_free(jsonrpc_request *request);

/* params[name] as a string without NUL bytes, or NULL. Borrowed until jsonrpc_free(). */
const char *jsonrpc_string(const jsonrpc_request *request, const char *name);

/* params[name] as a finite number above 0, and its digits as the peer wrote them (borrowed). */
bool jsonrpc_positive(
    const jsonrpc_request *request, const char *name, double *value, hpx_span *as_written);

/* {"jsonrpc":"2.0","id":ID,"result":  the caller appends the result and calls jsonrpc_end(). */
void jsonrpc_begin(text *out, const jsonrpc_request *request);
void jsonrpc_end(text *out);

/* A whole error reply. */
void jsonrpc_error(text *out, const jsonrpc_request *request, int code, const char *message);

#endif /* HPX_TOOL_JSONRPC_H */

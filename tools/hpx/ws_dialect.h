/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_dialect.h - --dialect and --auth of `hpx ws`: a dialect from a name or a file.
 *
 *   json-rpc         JSON-RPC 2.0 in Deribit's shape
 *   json-rpc:FILE    ... with the members of hpx_json_rpc_config that FILE's JSON object has
 *   json:FILE        hpx_json_config, likewise
 */
#ifndef HPX_TOOL_WS_DIALECT_H
#define HPX_TOOL_WS_DIALECT_H

#include <hpx/hpx.h>

/* `auth` may be NULL: JSON, or @FILE; becomes auth_params (json-rpc) or auth (json). On failure
 * `error` says what is wrong. */
hpx_status ws_dialect_new(hpx_protocol **out, const char *name, const char *auth, hpx_error *error);

#endif /* HPX_TOOL_WS_DIALECT_H */

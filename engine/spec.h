/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spec.h - a connection's configuration, checked and deep-copied: what the driver works from.
 *
 * Role      Turns hpx_ws_config (borrowed strings) into one owned object with the URL parsed and
 *           every default filled in.
 * Threads   Made on any thread, then handed to the shard; immutable.
 */
#ifndef HPXI_SPEC_H
#define HPXI_SPEC_H

#include <hpx/ws.h>

#include "engine/resolver.h"
#include "engine/url.h"
#include "ring/alloc.h"
#include "ws/handshake.h"

/* hpx_ws_config.flags; set through hpx_ws_config_set_insecure_no_verify(). */
#define HPXI_WS_FLAG_INSECURE_NO_VERIFY UINT32_C(0x5EC0FF01)

#define HPXI_HEADERS_MAX      64u
#define HPXI_SUBPROTOCOLS_MAX 16u
#define HPXI_RESOLVE_MAX      16u

typedef struct hpxi_spec {
    hpx_ws_config config; /* defaults filled in; its pointers point into this object */
    hpxi_url url;
    hpxi_addresses override;        /* from config.resolve; count 0: ask the resolver */
    hpxi_ws_request_config request; /* without the nonce */
    bool insecure_no_verify;
    hpx_tls_context *tls;  /* a reference, for wss */
    hpx_protocol protocol; /* config.protocol's table; config.protocol points here, or is NULL */
    const hpx_allocator *allocator;
    char *strings; /* one block for all strings */
    size_t strings_bytes;
    const char *headers[HPXI_HEADERS_MAX];
    const char *subprotocols[HPXI_SUBPROTOCOLS_MAX];
} hpxi_spec;

/* Check, copy, parse. `error` names the bad member. HPX_OK, HPX_E_INVALID, HPX_E_URL,
 * HPX_E_NO_MEMORY. The TLS context is not filled in here unless config->tls is set. */
hpx_status hpxi_spec_new(
    hpxi_spec **out, const hpx_ws_config *config, const hpx_allocator *allocator, hpx_error *error);

/* NULL is a no-op. */
void hpxi_spec_free(hpxi_spec *spec);

/* FNV-1a of host and port, for placement. */
uint64_t hpxi_spec_hash(const hpxi_spec *spec);

/* Is `member` of `size` bytes at its default? Fills it in: `value = value ? value : fallback`. */
#define HPXI_DEFAULT(member, fallback) ((member) = (member) != 0 ? (member) : (fallback))

#endif /* HPXI_SPEC_H */

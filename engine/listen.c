/* SPDX-License-Identifier: Apache-2.0 */
/* listen.c - an address as text, a listening socket, the port it got. */
#include "engine/listen.h"

#include "engine/error.h"
#include "ring/net.h"

hpx_status hpxi_listen(
    hpxi_socks *socks,
    const char *address,
    uint32_t backlog,
    bool reuse_port,
    const hpxi_sock_ops *ops,
    void *owner,
    hpxi_sock **sock,
    uint16_t *port,
    hpx_error *error)
{
    hpxi_address parsed;
    if (!hpxi_address_parse_endpoint(&parsed, address)) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "address \"%.80s\" is not ADDR:PORT or [ADDR]:PORT",
            address);
    }
    const hpx_status status =
        hpxi_sock_listen(socks, &parsed, backlog, reuse_port, ops, owner, sock);
    if (status == HPX_E_LIMIT) {
        return hpxi_error_set(error, status, HPX_STAGE_CONFIG, "no socket left on this shard");
    }
    if (status != HPX_OK) {
        return hpxi_error_set_errno(error, status, HPX_STAGE_CONFIG, "listen on %.80s", address);
    }
    hpxi_address local;
    if (hpxi_net_local((*sock)->fd, &local) == 0) {
        *port = hpxi_address_port(&local);
    }
    return HPX_OK;
}

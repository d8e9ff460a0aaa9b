/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listen.h - a listening socket on a shard, for whatever serves on it.
 *
 * Threads   The shard's.
 */
#ifndef HPXI_LISTEN_H
#define HPXI_LISTEN_H

#include "ring/sock.h"

/* Listen on `address` ("ADDR:PORT", "[ADDR]:PORT") with `owner` behind `ops`; *port is the bound
 * one. HPX_OK, HPX_E_INVALID, HPX_E_LIMIT, -errno; the error says what is wrong. */
hpx_status hpxi_listen(
    hpxi_socks *socks,
    const char *address,
    uint32_t backlog,
    bool reuse_port,
    const hpxi_sock_ops *ops,
    void *owner,
    hpxi_sock **sock,
    uint16_t *port,
    hpx_error *error);

#endif /* HPXI_LISTEN_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encrypt.h - what waits in plain, into the socket's buffer as TLS records: the same for every
 * connection.
 *
 * Threads   The shard's. Allocates nothing once the socket's buffer has grown.
 */
#ifndef HPXI_ENCRYPT_H
#define HPXI_ENCRYPT_H

#include "ring/alloc.h"
#include "ring/sock.h"
#include "tls/tls.h"

/* Encrypt `plain` as far as the limits go: a large message neither holds up the turn nor doubles in
 * memory. What is left goes on in the next turn, or when the socket has drained. HPX_OK, or TLS's
 * status with its error. */
hpx_status hpxi_encrypt(hpxi_tls *tls, hpxi_buf *plain, hpxi_sock *sock, hpx_error *error);

#endif /* HPXI_ENCRYPT_H */

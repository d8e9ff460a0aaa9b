/* SPDX-License-Identifier: Apache-2.0 */
/* encrypt.c - plain bytes into records, in pieces. */
#include "engine/encrypt.h"

/* Bytes to encrypt at a time, and cipher bytes to have waiting before encrypting more. */
#define ENCRYPT_BYTES  (64u << 10)
#define ENCRYPT_QUEUED (512u << 10)

hpx_status hpxi_encrypt(hpxi_tls *tls, hpxi_buf *plain, hpxi_sock *sock, hpx_error *error)
{
    HPX_ASSERT(sock->state == HPXI_SOCK_OPEN);
    hpxi_buf *out = hpxi_sock_out(sock);
    while (hpxi_buf_size(plain) != 0 && hpxi_sock_queued(sock) < ENCRYPT_QUEUED) {
        hpx_span part = hpxi_buf_span(plain);
        part.size = part.size < ENCRYPT_BYTES ? part.size : ENCRYPT_BYTES;
        *error = (hpx_error){0};
        const hpx_status status = hpxi_tls_write(tls, part, out, error);
        if (status != HPX_OK) {
            error->status = status;
            return status;
        }
        hpxi_buf_consume(plain, part.size);
        hpxi_sock_mark(sock);
        if (hpxi_buf_size(plain) != 0) {
            hpxi_sock_flush(sock); /* keep the wire busy while the rest is encrypted */
        }
    }
    return HPX_OK;
}

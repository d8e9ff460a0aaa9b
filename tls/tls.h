/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.h - TLS sessions over wolfSSL, sans-IO: cipher bytes in, plain bytes out, and back.
 *
 * Role      A session is fed straight from receive slots and writes records into the caller's
 *           buffer; it knows no socket and no clock. Both roles. Verification (chain, dates, name)
 *           is on unless `insecure` is asked for in the session's config.
 * Threads   A context (hpx/tls.h) is immutable and shared; a session belongs to one thread.
 * Memory    Buffers for records up to 4 KiB live inside wolfSSL's session; longer ones borrow a
 *           block of the thread (memory.c). No allocation per record after the handshake. Input is
 *           borrowed only during a call.
 * Copies    Receive: slot -> wolfSSL's record buffer (decrypted in place) -> `plain`. Send: plain
 *           -> wolfSSL's record buffer -> `out`.
 */
#ifndef HPXI_TLS_H
#define HPXI_TLS_H

#include <hpx/tls.h>

#include "ring/alloc.h"
#include "tls/session_cache.h"

typedef struct hpxi_tls hpxi_tls;

/*
 * A peer may send this many records in a row that bring no data: the handshake's, and after it
 * KeyUpdate, session tickets, empty records. One more ends the session with HPX_E_TLS_PROTOCOL,
 * since each costs us work, and some an answer.
 */
#define HPXI_TLS_IDLE_RECORDS_MAX 128u

/*
 * ALPN (RFC 7301). A list is in the wire's form: each name after its length in one byte, in the
 * client's order of preference. What was agreed is in hpxi_tls_info.alpn; "" when one side has no
 * list, which is no error: the caller falls back to HTTP/1.1 or not. Two lists without a common
 * name fail the handshake on both sides, as does a server that chooses what was not offered.
 * A server of ours chooses the client's first that it has.
 */
#define HPXI_TLS_ALPN_H2       "\x02h2"
#define HPXI_TLS_ALPN_HTTP1    "\x08http/1.1"
#define HPXI_TLS_ALPN_H2_HTTP1 HPXI_TLS_ALPN_H2 HPXI_TLS_ALPN_HTTP1

/* The members `alpn` and `alpn_bytes` of a hpxi_tls_session_config from such a literal. */
#define HPXI_TLS_ALPN(literal) .alpn = (const uint8_t *)(literal), .alpn_bytes = sizeof(literal) - 1

typedef struct hpxi_tls_session_config {
    hpx_tls_context *context; /* a reference is taken */
    bool is_server;
    bool insecure_no_verify; /* client only */
    const char *server_name; /* client: name or numeric address to verify; SNI unless numeric */
    const uint8_t *alpn;     /* wire form (see HPXI_TLS_ALPN_H2), borrowed for the call; or NULL */
    size_t alpn_bytes;
    hpxi_tls_cache *sessions; /* client: where to find and keep sessions to resume, must outlive the
                               * session; NULL: a full handshake that nobody remembers */
    const char *host; /* client: where the connection goes to; with `port` a part of what a */
    uint16_t port;    /* kept session is found by. Borrowed for the call; may be NULL */
} hpxi_tls_session_config;

/* Takes the context's reference. HPX_OK, HPX_E_NO_MEMORY, HPX_E_TLS_CONFIG. Memory comes from
 * wolfSSL's allocator (see hpxi_tls_global_init) and from `allocator`. */
hpx_status hpxi_tls_new(
    hpxi_tls **out,
    const hpxi_tls_session_config *config,
    const hpx_allocator *allocator,
    hpx_error *error);

/* NULL is a no-op. Secrets are wiped. */
void hpxi_tls_free(hpxi_tls *tls);

/* Another reference to a context. */
void hpxi_tls_context_retain(hpx_tls_context *context);

/*
 * Drive the handshake. Cipher bytes received are in *data and *size and are advanced past what was
 * used; bytes to send are appended to `out`. Call first with no input (client) to get the first
 * flight, then with every input until it returns 1.
 *
 * Returns 1 done (rest of the input may hold application data: give it to hpxi_tls_read());
 * HPX_E_PARTIAL all input used, more needed; or a final error with error filled (stage TLS):
 * HPX_E_TLS_UNTRUSTED, _EXPIRED, _NOT_YET_VALID, _NAME, _CERTIFICATE, _ALERT, _HANDSHAKE,
 * _PROTOCOL, HPX_E_NO_MEMORY. `out` then may hold an alert: send it before closing.
 */
hpx_status
hpxi_tls_handshake(hpxi_tls *tls, uint8_t **data, size_t *size, hpxi_buf *out, hpx_error *error);

/*
 * Decrypt: consume cipher bytes from *data and *size, put plain bytes into plain[0..plain_size),
 * which is at least 16 KiB. Answers the protocol needs (KeyUpdate) are appended to `out`.
 *
 * Returns > 0 plain bytes; HPX_E_PARTIAL all input used and no plain byte; 0 the peer's
 * close_notify (orderly end); or a final error: HPX_E_TLS_ALERT, HPX_E_TLS_PROTOCOL,
 * HPX_E_NO_MEMORY. Call again while it returns > 0.
 */
ptrdiff_t hpxi_tls_read(
    hpxi_tls *tls,
    uint8_t **data,
    size_t *size,
    uint8_t *plain,
    size_t plain_size,
    hpxi_buf *out,
    hpx_error *error);

/* Encrypt `plain` and append the records to `out`. All or nothing. HPX_OK, HPX_E_TLS_PROTOCOL,
 * HPX_E_NO_MEMORY. Only after the handshake. */
hpx_status hpxi_tls_write(hpxi_tls *tls, hpx_span plain, hpxi_buf *out, hpx_error *error);

/* Append close_notify to `out` (once; later calls do nothing). */
void hpxi_tls_close_notify(hpxi_tls *tls, hpxi_buf *out);

typedef struct hpxi_tls_info {
    char version[16];
    char cipher[48];
    char alpn[32];
    bool verified;
    bool resumed;
} hpxi_tls_info;

void hpxi_tls_get_info(const hpxi_tls *tls, hpxi_tls_info *out);

/* wolfSSL_Init once per process (idempotent, thread-safe). Called by the context constructors. */
hpx_status hpxi_tls_global_init(void);

/* Allocations wolfSSL has asked for since the process started, by all threads. */
uint64_t hpxi_tls_allocations(void);

#endif /* HPXI_TLS_H */

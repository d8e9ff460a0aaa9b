/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of tls/ share and nobody else sees.
 *
 *   context.c  builds the WOLFSSL_CTX      session.c  drives one WOLFSSL
 *   verify.c   judges the peer's chain     name.c     matches its names
 *   error.c    wolfSSL's codes to ours     memory.c   wolfSSL's allocator, how it was built
 *   keylog.c   NSS key log                  wolf.h     wolfSSL's headers
 */
#ifndef HPXI_TLS_INTERNAL_H
#define HPXI_TLS_INTERNAL_H

#include <stdatomic.h>

#include "ring/assert.h"
#include "tls/name.h"
#include "tls/tls.h"
#include "tls/wolf.h"

struct hpx_tls_context {
    WOLFSSL_CTX *wolf;
    _Atomic uint32_t references;
    bool is_server;
    int keylog_fd; /* -1: none */
};

/* What the verify callback found; the first failure stays. */
typedef struct hpxi_tls_verdict {
    hpx_status status;  /* HPX_OK, or why the chain was refused */
    int wolf_error;     /* wolfSSL's code, 0 when the refusal is our own */
    int depth;          /* of the certificate at fault, 0 the leaf */
    bool leaf_accepted; /* the leaf passed chain, dates, policy and name */
    char detail[HPX_ERROR_DETAIL_BYTES];
} hpxi_tls_verdict;

/* What a verify callback needs of the session whose handshake this thread is driving. */
typedef struct hpxi_tls_verifier {
    const hpxi_tls_name *name;     /* the reference identity; NULL for a server */
    WOLFSSL_CERT_MANAGER *manager; /* of the context: its roots */
    bool insecure;                 /* accept anything */
    hpxi_tls_verdict verdict;
} hpxi_tls_verifier;

/* verify.c */

/* Installs the verify callbacks and turns verification on, or off for a server's context. */
void hpxi_tls_verify_install(WOLFSSL_CTX *wolf, bool is_server);
/* Between these two calls wolfSSL may run the callbacks, for this verifier. */
void hpxi_tls_verify_begin(hpxi_tls_verifier *verifier);
void hpxi_tls_verify_end(hpxi_tls_verifier *verifier);

/* session.c */

/* Installs the I/O callbacks that every session of this WOLFSSL_CTX uses. */
void hpxi_tls_session_install(WOLFSSL_CTX *wolf);

/* error.c */

hpx_status hpxi_tls_status_of(int wolf_error);
/* "expired_certificate", ...; "unknown alert" when RFC 8446 section 6 has no such number. */
const char *hpxi_tls_alert_name(int alert);
/* Fills *error (may be NULL) and returns status. */
hpx_status hpxi_tls_error_set(
    hpx_error *error, hpx_status status, hpx_stage stage, int wolf_error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* wolfSSL's phrase for one of its codes; static. */
const char *hpxi_tls_reason(int wolf_error);

/* memory.c */

/* Between on and off, wolfSSL works on a session of this thread. */
void hpxi_tls_memory_drive(bool on);
void *hpxi_tls_alloc_zero(size_t size);
void hpxi_tls_dealloc(void *block);

/* keylog.c */

/* HPX_OK; HPX_E_INVALID when this wolfSSL cannot; HPX_E_TLS_CONFIG when the file cannot be opened.
 */
hpx_status hpxi_tls_keylog_open(const char *path, int *out_fd, hpx_error *error);
void hpxi_tls_keylog_close(int fd);
/* Have the session's secrets written to the context's key log. False: out of memory. */
bool hpxi_tls_keylog_attach(WOLFSSL *ssl, hpx_tls_context *context);

#endif /* HPXI_TLS_INTERNAL_H */

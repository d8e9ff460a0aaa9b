/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h - what the files of tls/ share and nobody else sees.
 *
 *   config.c   checks the settings           setup.c    makes one WOLFSSL and its session
 *   context.c  builds the WOLFSSL_CTX        session.c  drives it
 *   verify.c   judges the peer's chain       resume.c   what of it is kept for the next one, and
 *   chain.c    keys in it, pins                         session_cache.c where
 *   name.c     matches names                 memory.c   wolfSSL's allocator, how it was built
 *   error.c    wolfSSL's codes to ours       keylog.c   NSS key log
 *   wolf.h     wolfSSL's headers             probe.c    hpx/tls_probe.h: a client without a socket
 */
#ifndef HPXI_TLS_INTERNAL_H
#define HPXI_TLS_INTERNAL_H

#include <stdatomic.h>

#include <hpx/tls_probe.h>

#include "ring/assert.h"
#include "tls/name.h"
#include "tls/session_cache.h"
#include "tls/tls.h"
#include "tls/wolf.h"

#define HPXI_TLS_PINS_MAX     16u
#define HPXI_TLS_SUITES_BYTES 512u /* of wolfSSL's list of all suites that we allow */

struct hpx_tls_context {
    WOLFSSL_CTX *wolf;
    uint64_t id; /* no two contexts of a process have the same: part of a cached session's key */
    _Atomic uint32_t references;
    bool is_server;
    bool verifies_peer; /* a client's always does */
    bool requires_peer; /* a peer without a certificate is refused */
    bool resumes;
    int keylog_fd; /* -1: none */
    uint32_t pin_count;
    uint8_t pins[HPXI_TLS_PINS_MAX][HPX_TLS_PIN_BYTES];
};

/* What the verify callback found; the first failure stays. */
typedef struct hpxi_tls_verdict {
    hpx_status status;  /* HPX_OK, or why the chain was refused */
    int wolf_error;     /* wolfSSL's code, 0 when the refusal is our own */
    int depth;          /* of the certificate at fault, 0 the leaf */
    bool leaf_accepted; /* the leaf passed chain, dates, policy, name and pins */
    char detail[HPX_ERROR_DETAIL_BYTES];
} hpxi_tls_verdict;

/* What a verify callback needs of the session whose handshake this thread is driving. */
typedef struct hpxi_tls_verifier {
    const hpxi_tls_name *name;      /* the reference identity; NULL for a server */
    const hpx_tls_context *context; /* its roots, pins and role */
    bool insecure;                  /* accept anything */
    bool wants_proof;
    int64_t not_after_s;          /* earliest among the certificates accepted so far */
    hpxi_tls_proof *proof;        /* of the accepted leaf, if wanted and memory was there */
    struct hpxi_tls_chain *chain; /* where to note what the peer sent; NULL: nowhere */
    hpxi_tls_verdict verdict;
} hpxi_tls_verifier;

/* config.c */

/* Copies the members that the caller's version of the struct has over the defaults, and checks all.
 * `suites` gets the cipher list in wolfSSL's words. HPX_OK or HPX_E_INVALID. */
hpx_status hpxi_tls_config_read(
    hpx_tls_config *to,
    char suites[HPXI_TLS_SUITES_BYTES],
    const hpx_tls_config *from,
    bool is_server,
    hpx_error *error);

/* verify.c */

/* Installs the verify callbacks and turns verification on; off only for a server's context. */
void hpxi_tls_verify_install(WOLFSSL_CTX *wolf, bool verifies_peer, bool requires_peer);
/* Between these two calls wolfSSL may run the callbacks, for this verifier. */
void hpxi_tls_verify_begin(hpxi_tls_verifier *verifier);
void hpxi_tls_verify_end(hpxi_tls_verifier *verifier);
/* Judges what an earlier session verified, for one that was resumed: dates and name, as now. On
 * success the verdict is as after a full handshake. */
void hpxi_tls_verify_proof(hpxi_tls_verifier *verifier, const hpxi_tls_proof *proof);

/* chain.c */

#define HPXI_TLS_CHAIN_MAX 16u /* wolfSSL takes ten */

typedef struct hpxi_tls_noted {
    uint8_t *der;
    size_t der_bytes;
} hpxi_tls_noted;

/* The certificates that a peer showed, copied; for a probe only. All zero: none yet. */
typedef struct hpxi_tls_chain {
    uint32_t count;
    hpxi_tls_noted certs[HPXI_TLS_CHAIN_MAX];
} hpxi_tls_chain;

/* Notes those that are not noted yet, as far as there is memory. */
void hpxi_tls_chain_note(hpxi_tls_chain *chain, const WOLFSSL_BUFFER_INFO *certs, int count);
void hpxi_tls_chain_fini(hpxi_tls_chain *chain);
hpx_status
hpxi_tls_chain_describe(const hpxi_tls_chain *chain, uint32_t index, hpx_tls_certificate *out);
/* The names that the certificate is for, ", " between, as far as they fit. */
void hpxi_tls_chain_names(char *to, size_t to_bytes, const DecodedCert *cert);
/* Unix time of a certificate's date; 0, which is long ago, when it cannot be read. */
int64_t hpxi_tls_chain_time(const byte *date, int date_bytes);
/* The clock by which wolfSSL judges dates; Unix time. */
int64_t hpxi_tls_wall_clock_s(void);
/* The SubjectPublicKeyInfo of a parsed certificate, within its source. False: cannot be found. */
bool hpxi_tls_chain_spki(const DecodedCert *cert, hpx_span *out);
/* Is one of the context's pins the key of the accepted leaf, or of a certificate that the peer sent
 * and that leads from the leaf towards the root? 1, 0, or MEMORY_E and the like. */
int hpxi_tls_chain_is_pinned(
    const hpx_tls_context *context,
    const DecodedCert *leaf,
    const WOLFSSL_BUFFER_INFO *certs,
    int count);

/* resume.c */

/* Has wolfSSL tell of the sessions that a server offers. */
void hpxi_tls_resume_install(WOLFSSL_CTX *wolf);

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
/* Copies the peer's text with everything unprintable replaced: it ends in logs and terminals. */
void hpxi_tls_copy_text(char *to, size_t to_bytes, const char *from, size_t from_bytes);

/* memory.c */

/* Between on and off, wolfSSL works on a session of this thread. */
void hpxi_tls_memory_drive(bool on);
/* What this block of wolfSSL's really takes. */
size_t hpxi_tls_memory_usable_bytes(void *block);
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

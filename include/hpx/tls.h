/* SPDX-License-Identifier: Apache-2.0 */
/**
 * tls.h - TLS settings shared by connections and listeners.
 *
 * Role      A context holds what is loaded once: trust roots, certificate, key, versions. It always
 *           verifies the peer's chain, dates and name; the only way out is a function with
 *           `insecure` in its name, per connection (hpx_ws_config_set_insecure_no_verify).
 *           A connection resumes an earlier session of the same shard if host, port, name, ALPN
 *           list, verification and context are the same; the certificate of that session is then
 *           judged again. Nothing is ever sent before the handshake is done (no 0-RTT).
 * Threads   A context is immutable once made; any thread may use and release it.
 * Memory    Reference counted. Connections and listeners hold their own reference. Share one among
 *           all connections with the same settings: sessions are resumed within a context only.
 */
#ifndef HPX_TLS_H
#define HPX_TLS_H

#include <hpx/base.h>

HPX_EXTERN_C_BEGIN

typedef struct hpx_tls_context hpx_tls_context;

/** Protocol versions. Older ones than 1.2 do not exist here. */
typedef enum hpx_tls_version {
    HPX_TLS_VERSION_DEFAULT = 0, /* as a minimum 1.2, as a maximum 1.3 */
    HPX_TLS_VERSION_1_2 = 12,
    HPX_TLS_VERSION_1_3 = 13,
} hpx_tls_version;

/** Bits of hpx_tls_config.flags. */
typedef enum hpx_tls_flag {
    /** Client: every connection makes a full handshake, nothing is remembered for the next one. */
    HPX_TLS_NO_RESUMPTION = 1 << 0,
} hpx_tls_flag;

/** What a server wants of its clients' certificates. */
typedef enum hpx_tls_client_auth {
    HPX_TLS_CLIENT_AUTH_NONE = 0, /* asks for none */
    HPX_TLS_CLIENT_AUTH_REQUEST,  /* asks; lets in who has none, but nobody with a bad one */
    HPX_TLS_CLIENT_AUTH_REQUIRE,  /* lets in only clients with a good one */
} hpx_tls_client_auth;

/** Bytes of one pin: SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469). */
#define HPX_TLS_PIN_BYTES 32

/**
 * Start from HPX_TLS_CONFIG_INIT; zero members are defaults; members are only ever appended. All
 * pointers are borrowed for the call. A file wins over the same thing in memory.
 */
typedef struct hpx_tls_config {
    uint32_t size;
    uint32_t flags; /* hpx_tls_flag */

    /* Trust. A client's roots for servers, a server's for client certificates (client_auth). */
    const char *ca_file; /* PEM; NULL: ca_pem, else, for a client, the system's roots */
    const char *ca_pem;  /* PEM in memory; read if ca_file is NULL */
    size_t ca_pem_bytes;

    /* Identity: a server's, required; a client's, shown to servers that ask for one (mTLS). */
    const char *cert_file; /* PEM certificate chain, leaf first */
    const char *key_file;  /* PEM private key of cert_file, not encrypted */

    hpx_tls_version version_min; /* default 1.2 */
    const char *keylog_file;     /* NSS key log, appended, for debugging; default none */

    const char *cert_pem; /* as cert_file, in memory; read if cert_file is NULL */
    size_t cert_pem_bytes;
    const char *key_pem; /* as key_file, in memory; goes with cert_pem. Wipe yours after the call */
    size_t key_pem_bytes;

    /**
     * Client: pins, HPX_TLS_PIN_BYTES each, one after the other. Beside all other checks, the
     * server's leaf, or one of the intermediates that it sent and that lead from the leaf to the
     * root, must have one of these keys; else the connection fails with HPX_E_TLS_PIN. Default
     * none. `hpx tls HOST:PORT` prints them.
     */
    const uint8_t *pin_sha256;
    uint32_t pin_count; /* 0..16 */

    hpx_tls_version version_max; /* default 1.3; not below version_min */

    /**
     * Cipher suites by their IANA names, separated by ':', best first; a subset of the default:
     * TLS_AES_128_GCM_SHA256, TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, and for TLS 1.2
     * TLS_ECDHE_{ECDSA,RSA}_WITH_{AES_128_GCM_SHA256,AES_256_GCM_SHA384,CHACHA20_POLY1305_SHA256}.
     * No other suite can be had: all are AEAD with forward secrecy. A version of which the list has
     * none is not offered. NULL: all nine.
     */
    const char *ciphers;

    /* Server only. */
    hpx_tls_client_auth client_auth; /* default none; needs ca_file or ca_pem */
    uint32_t ticket_count; /* 0..16 session tickets per full handshake, with which a client resumes
                            * (in TLS 1.2 at most one); default 0; not with client_auth */
} hpx_tls_config;

#define HPX_TLS_CONFIG_INIT                                                                        \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_tls_config)                                                   \
    }

/**
 * Load a client context: peers are verified (chain, dates, name).
 *
 * @param out     set on success, NULL on failure; released with hpx_tls_context_release()
 * @param config  borrowed for the call; NULL means defaults (system roots)
 * @param error   may be NULL; on failure says which file and why
 * @thread   any      @alloc yes (reads files)
 * @blocks   reads the files named; opens no connection
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_TLS_CONFIG, HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status
hpx_tls_client_context_new(hpx_tls_context **out, const hpx_tls_config *config, hpx_error *error);

/** Load a server context; a certificate and its key are required. As above otherwise. @thread any
 *  @returns  HPX_OK, HPX_E_INVALID, HPX_E_TLS_CONFIG, HPX_E_NO_MEMORY */
HPX_API HPX_NODISCARD hpx_status
hpx_tls_server_context_new(hpx_tls_context **out, const hpx_tls_config *config, hpx_error *error);

/** Drop one reference; NULL is a no-op. @thread any @blocks never */
HPX_API void hpx_tls_context_release(hpx_tls_context *context);

HPX_EXTERN_C_END
#endif /* HPX_TLS_H */

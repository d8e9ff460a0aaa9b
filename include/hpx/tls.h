/* SPDX-License-Identifier: Apache-2.0 */
/**
 * tls.h - TLS settings shared by connections and listeners.
 *
 * Role      A context holds what is loaded once: trust roots, certificate, key, versions. It always
 *           verifies the peer's chain, dates and name; the only way out is a function with
 *           `insecure` in its name, per connection (hpx_ws_config_set_insecure_no_verify).
 * Threads   A context is immutable once made; any thread may use and release it.
 * Memory    Reference counted. Connections and listeners hold their own reference.
 */
#ifndef HPX_TLS_H
#define HPX_TLS_H

#include <hpx/base.h>

HPX_EXTERN_C_BEGIN

typedef struct hpx_tls_context hpx_tls_context;

typedef enum hpx_tls_version {
    HPX_TLS_VERSION_DEFAULT = 0, /* minimum 1.2 */
    HPX_TLS_VERSION_1_2 = 12,
    HPX_TLS_VERSION_1_3 = 13,
} hpx_tls_version;

/** Start from HPX_TLS_CONFIG_INIT; zero members are defaults; members are only ever appended. */
typedef struct hpx_tls_config {
    uint32_t size;
    uint32_t flags;             /* reserved, 0 */
    const char *ca_file;        /* PEM trust roots; NULL: ca_pem, else the system's roots */
    const char *ca_pem;         /* PEM trust roots in memory; read if ca_file is NULL */
    size_t ca_pem_bytes;
    const char *cert_file;      /* PEM certificate chain, leaf first; required for a server */
    const char *key_file;       /* PEM private key of cert_file */
    hpx_tls_version version_min; /* default 1.2; versions below do not exist here */
    const char *keylog_file;    /* NSS key log, appended, for debugging; default none */
} hpx_tls_config;

#define HPX_TLS_CONFIG_INIT                                                                        \
    {                                                                                              \
        (uint32_t)sizeof(hpx_tls_config), 0, NULL, NULL, 0, NULL, NULL, HPX_TLS_VERSION_DEFAULT,   \
            NULL                                                                                   \
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
HPX_API HPX_NODISCARD hpx_status hpx_tls_client_context_new(
    hpx_tls_context **out, const hpx_tls_config *config, hpx_error *error);

/** Load a server context; cert_file and key_file are required. As above otherwise. @thread any
 *  @returns  HPX_OK, HPX_E_INVALID, HPX_E_TLS_CONFIG, HPX_E_NO_MEMORY */
HPX_API HPX_NODISCARD hpx_status hpx_tls_server_context_new(
    hpx_tls_context **out, const hpx_tls_config *config, hpx_error *error);

/** Drop one reference; NULL is a no-op. @thread any @blocks never */
HPX_API void hpx_tls_context_release(hpx_tls_context *context);

HPX_EXTERN_C_END
#endif /* HPX_TLS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * tls_probe.h - look at a TLS server with the eyes of hpx, and see why it is refused.
 *
 * Role      A client's handshake without a socket: the caller moves the bytes. The server is
 *           verified exactly as a connection of hpx would; what it showed can be read whether it
 *           passed or not. Nothing but the handshake, and what answers it, is ever sent. It is what
 *           `hpx tls` is made of.
 * Threads   One thread at a time.
 * Memory    Its own; bounded by what a server may send in a handshake.
 *
 *     hpx_tls_probe_new(&probe, &config, &error);
 *     hpx_tls_probe_start(probe, &error);
 *     for (;;) {
 *         hpx_span out = hpx_tls_probe_output(probe);    // write it to the socket, then
 *         hpx_tls_probe_sent(probe, out.size);
 *         ...                                            // read from the socket
 *         status = hpx_tls_probe_receive(probe, bytes, size, &error);
 *         if (status != HPX_E_PARTIAL) break;            // 1: accepted; < 0: refused
 *     }
 */
#ifndef HPX_TLS_PROBE_H
#define HPX_TLS_PROBE_H

#include <hpx/tls.h>

HPX_EXTERN_C_BEGIN

typedef struct hpx_tls_probe hpx_tls_probe;

/** Start from HPX_TLS_PROBE_CONFIG_INIT; members are only ever appended. */
typedef struct hpx_tls_probe_config {
    uint32_t size;
    uint32_t flags;           /* reserved, 0 */
    hpx_tls_context *context; /* a client's; a reference is taken; NULL: system roots, defaults */
    const char *server_name;  /* required: host name or address to verify; SNI unless an address */
    const char *alpn;         /* "h2,http/1.1": protocols to offer, best first; NULL: none */
} hpx_tls_probe_config;

#define HPX_TLS_PROBE_CONFIG_INIT                                                                  \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_tls_probe_config)                                             \
    }

/**
 * Make a probe.
 *
 * @param out    set on success, NULL on failure; freed with hpx_tls_probe_free()
 * @param config borrowed for the call, with its strings
 * @param error  may be NULL
 * @thread   any      @alloc yes
 * @blocks   only if config->context is NULL: reads the system's roots
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_TLS_CONFIG, HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status
hpx_tls_probe_new(hpx_tls_probe **out, const hpx_tls_probe_config *config, hpx_error *error);

/** NULL is a no-op. Secrets are wiped. @thread owner @blocks never */
HPX_API void hpx_tls_probe_free(hpx_tls_probe *probe);

/**
 * Begin a connection, on a fresh socket: the ClientHello is in the output. May be called again for
 * another connection to the same server, which then resumes the session of the one before, if the
 * server gave it one.
 *
 * @thread   owner    @alloc yes    @blocks never
 * @returns  HPX_OK, HPX_E_TLS_CONFIG (server_name is neither a name nor an address, the ALPN list
 *           is malformed), HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status hpx_tls_probe_start(hpx_tls_probe *probe, hpx_error *error);

/** Bytes to send to the server, also after a refusal (the alert). Valid until the next call.
 *  @thread owner @alloc never @blocks never */
HPX_API hpx_span hpx_tls_probe_output(const hpx_tls_probe *probe);

/** That many bytes of the output were sent. @thread owner @alloc never @blocks never */
HPX_API void hpx_tls_probe_sent(hpx_tls_probe *probe, size_t bytes);

/**
 * Take bytes received from the server. After the handshake, more bytes may bring session tickets;
 * data that the server sends is dropped.
 *
 * @param bytes  borrowed for the call
 * @thread   owner    @alloc yes    @blocks never
 * @returns  1 the handshake is done and the server accepted, HPX_E_PARTIAL more bytes are needed,
 *           0 the server closed in good order, or why hpx refuses it, with *error filled
 *           (hpx_error.stage is HPX_STAGE_TLS): HPX_E_TLS_*, HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status
hpx_tls_probe_receive(hpx_tls_probe *probe, const uint8_t *bytes, size_t size, hpx_error *error);

/** What is known of the current connection. */
typedef struct hpx_tls_report {
    char version[16];           /* "TLSv1.3"; empty before the server's first answer */
    char cipher[48];            /* IANA name */
    char alpn[32];              /* chosen protocol, or empty */
    bool verified;              /* chain, dates, name and pins are good */
    bool resumed;               /* an earlier session went on, without certificates */
    uint32_t certificate_count; /* that the server showed, on this connection */
    uint32_t session_count;     /* kept to resume, of all connections so far */
} hpx_tls_report;

/** Copy it. @thread owner @alloc never @blocks never */
HPX_API void hpx_tls_probe_get_report(const hpx_tls_probe *probe, hpx_tls_report *out);

/** One certificate as the server showed it. Text of the peer has its control bytes replaced. */
typedef struct hpx_tls_certificate {
    char subject[256]; /* "/CN=..." */
    char issuer[256];
    char names[1024];     /* subjectAltName: dNSName and iPAddress, ", " between; cut with "..." */
    char key[24];         /* "ECDSA P-256", "RSA 2048", "Ed25519" */
    char signature[24];   /* "ECDSA SHA-256", "RSA SHA-1": of the issuer */
    int64_t not_before_s; /* Unix time; 0: cannot be read */
    int64_t not_after_s;
    bool is_ca;
    bool is_self_signed;
    uint8_t sha256[32];                    /* of the whole certificate */
    uint8_t pin_sha256[HPX_TLS_PIN_BYTES]; /* of its public key: see hpx_tls_config.pin_sha256 */
} hpx_tls_certificate;

/** Describe certificate `index` (0 the leaf) of the current connection.
 *  @thread owner @alloc yes @blocks never
 *  @returns HPX_OK, HPX_E_INVALID (no such one), HPX_E_TLS_CERTIFICATE (it cannot be read),
 *           HPX_E_NO_MEMORY */
HPX_API HPX_NODISCARD hpx_status
hpx_tls_probe_get_certificate(const hpx_tls_probe *probe, uint32_t index, hpx_tls_certificate *out);

HPX_EXTERN_C_END
#endif /* HPX_TLS_PROBE_H */

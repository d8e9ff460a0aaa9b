/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setup.c - makes a session and the WOLFSSL in it, completely or not at all; and frees them.
 *
 * Memory    The session itself from its allocator; WOLFSSL and all below it from wolfSSL's.
 */
#include "tls/session.h"

#define SETUP_ALPN_BYTES_MAX 256u

/* ALPN in wire form to wolfSSL's comma-separated list. False when a name cannot be written so. */
static bool setup_alpn_list(char *to, size_t to_bytes, const uint8_t *wire, size_t wire_bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < wire_bytes;) {
        const size_t name_bytes = wire[i++];
        if (name_bytes == 0 || name_bytes > wire_bytes - i || used + name_bytes + 2 > to_bytes) {
            return false;
        }
        if (memchr(wire + i, ',', name_bytes) != NULL || memchr(wire + i, 0, name_bytes) != NULL) {
            return false;
        }
        if (used != 0) {
            to[used++] = ',';
        }
        memcpy(to + used, wire + i, name_bytes);
        used += name_bytes;
        i += name_bytes;
    }
    HPX_ASSERT(used < to_bytes);
    to[used] = '\0';
    return used != 0;
}

static hpx_status setup_refuse(hpx_error *error, const char *what)
{
    return hpxi_tls_error_set(error, HPX_E_TLS_CONFIG, HPX_STAGE_TLS, 0, "%s", what);
}

static hpx_status setup_no_memory(hpx_error *error)
{
    return hpxi_tls_error_set(
        error, HPX_E_NO_MEMORY, HPX_STAGE_TLS, 0, "no memory for a TLS session");
}

static hpx_status
setup_set_alpn(hpxi_tls *tls, const hpxi_tls_session_config *config, hpx_error *error)
{
    if (config->alpn == NULL || config->alpn_bytes == 0) {
        return HPX_OK;
    }
    char list[SETUP_ALPN_BYTES_MAX];
    if (!setup_alpn_list(list, sizeof(list), config->alpn, config->alpn_bytes)) {
        return setup_refuse(error, "ALPN list is malformed or too long");
    }
    const int rc = wolfSSL_UseALPN(
        tls->wolf, list, (unsigned int)strlen(list), WOLFSSL_ALPN_FAILED_ON_MISMATCH);
    return rc == WOLFSSL_SUCCESS ? HPX_OK : setup_no_memory(error);
}

/* Whom to verify, and what to ask the server for. */
static hpx_status
setup_set_client(hpxi_tls *tls, const hpxi_tls_session_config *config, hpx_error *error)
{
    HPX_ASSERT(!tls->is_server);
    HPX_ASSERT(tls->state == HPXI_TLS_HANDSHAKE);
    const bool named =
        config->server_name != NULL && hpxi_tls_name_parse(&tls->name, config->server_name);
    if (!named && !config->insecure_no_verify) {
        return setup_refuse(error, "server name is neither a host name nor an address");
    }
    if (named && !tls->name.is_address) { /* RFC 6066 section 3: no addresses, no trailing dot */
        const int rc =
            wolfSSL_UseSNI(tls->wolf, WOLFSSL_SNI_HOST_NAME, tls->name.host, tls->name.host_bytes);
        if (rc != WOLFSSL_SUCCESS) {
            return setup_no_memory(error);
        }
    }
    tls->verifier.name = named ? &tls->name : NULL;
    tls->verifier.insecure = config->insecure_no_verify;
    if (config->insecure_no_verify) {
        wolfSSL_set_verify(tls->wolf, WOLFSSL_VERIFY_NONE, NULL);
    }
    return HPX_OK;
}

static hpx_status
setup_set_up(hpxi_tls *tls, const hpxi_tls_session_config *config, hpx_error *error)
{
    HPX_ASSERT(tls->wolf == NULL);
    tls->wolf = wolfSSL_new(tls->context->wolf);
    if (tls->wolf == NULL) {
        return setup_no_memory(error);
    }
    wolfSSL_SetIOReadCtx(tls->wolf, tls);
    wolfSSL_SetIOWriteCtx(tls->wolf, tls);
    tls->verifier.context = tls->context;
    if (!tls->is_server) {
        const hpx_status status = setup_set_client(tls, config, error);
        if (status != HPX_OK) {
            return status;
        }
    }
    if (!hpxi_tls_keylog_attach(tls->wolf, tls->context)) {
        return setup_no_memory(error);
    }
    const hpx_status status = setup_set_alpn(tls, config, error);
    if (status != HPX_OK) {
        return status;
    }
    return hpxi_tls_resume_offer(tls, config) == HPX_OK ? HPX_OK : setup_no_memory(error);
}

hpx_status hpxi_tls_new(
    hpxi_tls **out,
    const hpxi_tls_session_config *config,
    const hpx_allocator *allocator,
    hpx_error *error)
{
    HPX_ASSERT(out != NULL);
    HPX_ASSERT(config->context != NULL);
    *out = NULL;
    if (config->is_server != config->context->is_server) {
        return setup_refuse(error, "context is for the other role");
    }
    hpxi_tls *tls = hpxi_alloc_zero(allocator, sizeof(hpxi_tls), _Alignof(hpxi_tls));
    if (tls == NULL) {
        return setup_no_memory(error);
    }
    tls->allocator = *allocator;
    tls->is_server = config->is_server;
    tls->state = HPXI_TLS_HANDSHAKE;
    tls->context = config->context;
    hpxi_tls_context_retain(tls->context);
    const hpx_status status = setup_set_up(tls, config, error);
    if (status != HPX_OK) {
        hpxi_tls_free(tls);
        return status;
    }
    *out = tls;
    return HPX_OK;
}

void hpxi_tls_free(hpxi_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    HPX_ASSERT(tls->output == NULL);
    hpxi_tls_resume_fini(tls);
    if (tls->wolf != NULL) {
        wolfSSL_free(tls->wolf); /* wipes keys and record buffers */
    }
    hpx_tls_context_release(tls->context);
    const hpx_allocator allocator = tls->allocator;
    explicit_bzero(tls, sizeof(*tls));
    hpxi_free(&allocator, tls, sizeof(*tls));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * context.c - hpx/tls.h: what is loaded once and shared. The one place that makes a WOLFSSL_CTX.
 *
 * A context is built completely or not at all: every step is checked, and whatever fails, nothing
 * that could be connected with is left.
 *
 * Threads   Immutable after construction, but for wolfSSL's certificate manager: it keeps the
 *           intermediates of every chain that it verified for the context's life, behind a lock of
 *           its own that is taken in handshakes only. Only the owners of the roots can add to
 *           their number, and verify.c lets none count that the server at hand did not send.
 * Memory    wolfSSL's allocator.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tls/internal.h"

/* The first is the client's key share; the others cost a round trip when a server insists. */
static int context_groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1};

#define CONTEXT_GROUP_COUNT   ((int)(sizeof(context_groups) / sizeof(context_groups[0])))
#define CONTEXT_RSA_BITS_MIN  2048
#define CONTEXT_ECC_BITS_MIN  256
#define CONTEXT_PEM_BYTES_MAX ((size_t)1 << 24)

/* Where distributions keep their bundle of roots. */
static const char *const context_system_roots[] = {
    "/etc/ssl/certs/ca-certificates.crt",                /* Debian, Ubuntu, Arch, Gentoo */
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", /* Fedora, RHEL */
    "/etc/pki/tls/certs/ca-bundle.crt",                  /* older Fedora, RHEL */
    "/etc/ssl/ca-bundle.pem",                            /* SUSE */
    "/etc/ssl/cert.pem",                                 /* Alpine */
};

/* wolfSSL says of a file that it cannot open no more than that. */
static hpx_status context_check_readable(const char *member, const char *path, hpx_error *error)
{
    HPX_ASSERT(path != NULL);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        (void)fclose(file);
        return HPX_OK;
    }
    const int reason = errno;
    const hpx_status status = hpxi_tls_error_set(
        error,
        HPX_E_TLS_CONFIG,
        HPX_STAGE_CONFIG,
        0,
        "%s '%s' cannot be read: %s",
        member,
        path,
        strerrordesc_np(reason));
    if (error != NULL) {
        error->os_errno = reason;
    }
    return status;
}

static hpx_status
context_load_failed(const char *member, const char *path, int wolf_error, hpx_error *error)
{
    HPX_ASSERT(wolf_error != WOLFSSL_SUCCESS);
    const bool no_memory = hpxi_tls_status_of(wolf_error) == HPX_E_NO_MEMORY;
    return hpxi_tls_error_set(
        error,
        no_memory ? HPX_E_NO_MEMORY : HPX_E_TLS_CONFIG,
        HPX_STAGE_CONFIG,
        wolf_error,
        "%s '%s' cannot be used: %s",
        member,
        path,
        wolf_error < 0 ? hpxi_tls_reason(wolf_error) : "no usable PEM block in it");
}

/* The system's bundle. A root that wolfSSL cannot read is left out: the rest still stands. */
static hpx_status context_load_system_roots(WOLFSSL_CTX *wolf, hpx_error *error)
{
    const size_t count = sizeof(context_system_roots) / sizeof(context_system_roots[0]);
    for (size_t i = 0; i < count; i++) {
        const char *path = context_system_roots[i];
        if (context_check_readable("system roots", path, NULL) != HPX_OK) {
            continue;
        }
        const int rc =
            wolfSSL_CTX_load_verify_locations_ex(wolf, path, NULL, WOLFSSL_LOAD_FLAG_IGNORE_ERR);
        return rc == WOLFSSL_SUCCESS ? HPX_OK
                                     : context_load_failed("system roots", path, rc, error);
    }
    return hpxi_tls_error_set(
        error,
        HPX_E_TLS_CONFIG,
        HPX_STAGE_CONFIG,
        0,
        "no trust roots: neither %s nor its like exists; install the "
        "ca-certificates package or set ca_file",
        context_system_roots[0]);
}

static hpx_status
context_load_roots(WOLFSSL_CTX *wolf, const hpx_tls_config *config, hpx_error *error)
{
    if (config->ca_file != NULL) {
        const hpx_status status = context_check_readable("ca_file", config->ca_file, error);
        if (status != HPX_OK) {
            return status;
        }
        const int rc = wolfSSL_CTX_load_verify_locations_ex(
            wolf, config->ca_file, NULL, WOLFSSL_LOAD_FLAG_NONE);
        return rc == WOLFSSL_SUCCESS ? HPX_OK
                                     : context_load_failed("ca_file", config->ca_file, rc, error);
    }
    if (config->ca_pem != NULL) {
        const int rc = wolfSSL_CTX_load_verify_buffer_ex(
            wolf,
            (const unsigned char *)config->ca_pem,
            (long)config->ca_pem_bytes,
            WOLFSSL_FILETYPE_PEM,
            0,
            WOLFSSL_LOAD_FLAG_NONE);
        return rc == WOLFSSL_SUCCESS ? HPX_OK : context_load_failed("ca_pem", "", rc, error);
    }
    return context_load_system_roots(wolf, error);
}

static hpx_status
context_load_identity_files(WOLFSSL_CTX *wolf, const hpx_tls_config *config, hpx_error *error)
{
    HPX_ASSERT(config->key_file != NULL);
    hpx_status status = context_check_readable("cert_file", config->cert_file, error);
    if (status != HPX_OK) {
        return status;
    }
    int rc = wolfSSL_CTX_use_certificate_chain_file(wolf, config->cert_file);
    if (rc != WOLFSSL_SUCCESS) {
        return context_load_failed("cert_file", config->cert_file, rc, error);
    }
    status = context_check_readable("key_file", config->key_file, error);
    if (status != HPX_OK) {
        return status;
    }
    rc = wolfSSL_CTX_use_PrivateKey_file(wolf, config->key_file, WOLFSSL_FILETYPE_PEM);
    return rc == WOLFSSL_SUCCESS ? HPX_OK
                                 : context_load_failed("key_file", config->key_file, rc, error);
}

static hpx_status
context_load_identity_pem(WOLFSSL_CTX *wolf, const hpx_tls_config *config, hpx_error *error)
{
    HPX_ASSERT(config->cert_pem != NULL && config->key_pem != NULL);
    const unsigned char *cert = (const unsigned char *)config->cert_pem;
    const unsigned char *key = (const unsigned char *)config->key_pem;
    if (config->cert_pem_bytes > CONTEXT_PEM_BYTES_MAX ||
        config->key_pem_bytes > CONTEXT_PEM_BYTES_MAX) {
        return context_load_failed("cert_pem, key_pem", "", BAD_FUNC_ARG, error);
    }
    int rc = wolfSSL_CTX_use_certificate_chain_buffer(wolf, cert, (long)config->cert_pem_bytes);
    if (rc != WOLFSSL_SUCCESS) {
        return context_load_failed("cert_pem", "", rc, error);
    }
    rc = wolfSSL_CTX_use_PrivateKey_buffer(
        wolf, key, (long)config->key_pem_bytes, WOLFSSL_FILETYPE_PEM);
    return rc == WOLFSSL_SUCCESS ? HPX_OK : context_load_failed("key_pem", "", rc, error);
}

static hpx_status
context_load_identity(WOLFSSL_CTX *wolf, const hpx_tls_config *config, hpx_error *error)
{
    const bool from_files = config->cert_file != NULL;
    if (!from_files && config->cert_pem == NULL) {
        return HPX_OK;
    }
    const hpx_status status = from_files ? context_load_identity_files(wolf, config, error)
                                         : context_load_identity_pem(wolf, config, error);
    if (status != HPX_OK) {
        return status;
    }
    if (wolfSSL_CTX_check_private_key(wolf) == WOLFSSL_SUCCESS) {
        return HPX_OK;
    }
    return hpxi_tls_error_set(
        error,
        HPX_E_TLS_CONFIG,
        HPX_STAGE_CONFIG,
        0,
        "%s '%s' is not the key of %s '%s'",
        from_files ? "key_file" : "key_pem",
        from_files ? config->key_file : "",
        from_files ? "cert_file" : "cert_pem",
        from_files ? config->cert_file : "");
}

/* Resumption: wolfSSL's own cache is never used, for it knows of no settings. */
static const char *
context_set_sessions(WOLFSSL_CTX *wolf, const hpx_tls_config *config, bool is_server)
{
    const bool has_1_3 = config->version_max >= HPX_TLS_VERSION_1_3;
    const bool keeps = !is_server && (config->flags & HPX_TLS_NO_RESUMPTION) == 0;
    const long mode = keeps ? (long)WOLFSSL_SESS_CACHE_NO_INTERNAL : (long)WOLFSSL_SESS_CACHE_OFF;
    if (wolfSSL_CTX_set_session_cache_mode(wolf, mode) != WOLFSSL_SUCCESS) {
        return "session cache";
    }
    /* RFC 8446 4.2.9: without a fresh key exchange a stolen ticket key opens what it resumed. */
    if (has_1_3 && wolfSSL_CTX_only_dhe_psk(wolf) != 0) {
        return "resumption with forward secrecy";
    }
    if (!is_server) {
        return !keeps || wolfSSL_CTX_UseSessionTicket(wolf) == WOLFSSL_SUCCESS ? NULL
                                                                               : "session tickets";
    }
    if (config->ticket_count != 0) {
        return !has_1_3 ||
                       wolfSSL_CTX_set_num_tickets(wolf, config->ticket_count) == WOLFSSL_SUCCESS
                   ? NULL
                   : "ticket_count";
    }
    if ((has_1_3 && wolfSSL_CTX_no_ticket_TLSv13(wolf) != 0) ||
        wolfSSL_CTX_NoTicketTLSv12(wolf) != WOLFSSL_SUCCESS) {
        return "session tickets off";
    }
    return NULL;
}

/* Versions, ciphers, groups, key sizes, resumption: each call checked (curl's CVE-2024-2379 was a
 * cipher list that failed unnoticed). */
static hpx_status context_set_protocol(
    WOLFSSL_CTX *wolf,
    const hpx_tls_config *config,
    const char *suites,
    bool is_server,
    hpx_error *error)
{
    HPX_ASSERT(wolf != NULL);
    HPX_ASSERT(config->version_min != HPX_TLS_VERSION_DEFAULT);
    const bool only_1_3 = config->version_min == HPX_TLS_VERSION_1_3;
    const char *step = NULL;
    if (wolfSSL_CTX_SetMinVersion(wolf, only_1_3 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2) !=
        WOLFSSL_SUCCESS) {
        step = "version_min";
    } else if (wolfSSL_CTX_set_cipher_list(wolf, suites) != WOLFSSL_SUCCESS) {
        step = "cipher list";
    } else if (
        wolfSSL_CTX_set_groups(wolf, context_groups, CONTEXT_GROUP_COUNT) != WOLFSSL_SUCCESS) {
        step = "groups";
    } else if (
        wolfSSL_CTX_SetMinRsaKey_Sz(wolf, CONTEXT_RSA_BITS_MIN) != WOLFSSL_SUCCESS ||
        wolfSSL_CTX_SetMinEccKey_Sz(wolf, CONTEXT_ECC_BITS_MIN) != WOLFSSL_SUCCESS) {
        step = "smallest key sizes";
    } else {
        step = context_set_sessions(wolf, config, is_server);
    }
    if (step == NULL) {
        return HPX_OK;
    }
    return hpxi_tls_error_set(
        error, HPX_E_TLS_CONFIG, HPX_STAGE_CONFIG, 0, "wolfSSL refuses a setting: %s", step);
}

static WOLFSSL_METHOD *context_method(const hpx_tls_config *config, bool is_server)
{
    if (config->version_max == HPX_TLS_VERSION_1_2) {
        return is_server ? wolfTLSv1_2_server_method() : wolfTLSv1_2_client_method();
    }
    return is_server ? wolfSSLv23_server_method() : wolfSSLv23_client_method();
}

static hpx_status context_build(
    hpx_tls_context *context, const hpx_tls_config *config, const char *suites, hpx_error *error)
{
    HPX_ASSERT(context->wolf == NULL);
    WOLFSSL_METHOD *method = context_method(config, context->is_server);
    context->wolf = method == NULL ? NULL : wolfSSL_CTX_new(method); /* takes the method */
    if (context->wolf == NULL) {
        return hpxi_tls_error_set(
            error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, 0, "no memory for a TLS context");
    }
    hpx_status status =
        context_set_protocol(context->wolf, config, suites, context->is_server, error);
    if (status == HPX_OK && context->verifies_peer) {
        status = context_load_roots(context->wolf, config, error);
    }
    if (status == HPX_OK) {
        status = context_load_identity(context->wolf, config, error);
    }
    if (status == HPX_OK && config->keylog_file != NULL) {
        status = hpxi_tls_keylog_open(config->keylog_file, &context->keylog_fd, error);
    }
    if (status == HPX_OK) {
        hpxi_tls_verify_install(context->wolf, context->verifies_peer, context->requires_peer);
        hpxi_tls_session_install(context->wolf);
        if (context->resumes) {
            hpxi_tls_resume_install(context->wolf);
        }
    }
    return status;
}

static void context_destroy(hpx_tls_context *context)
{
    HPX_ASSERT(context != NULL);
    if (context->wolf != NULL) {
        wolfSSL_CTX_free(context->wolf);
    }
    if (context->keylog_fd >= 0) {
        hpxi_tls_keylog_close(context->keylog_fd);
    }
    hpxi_tls_dealloc(context);
}

/* What sessions need to know of the config later. A client always verifies. */
static void context_describe(hpx_tls_context *context, const hpx_tls_config *config, bool is_server)
{
    static _Atomic uint64_t made;
    context->id = 1 + atomic_fetch_add_explicit(&made, 1, memory_order_relaxed);
    context->is_server = is_server;
    context->verifies_peer = !is_server || config->client_auth != HPX_TLS_CLIENT_AUTH_NONE;
    context->requires_peer = !is_server || config->client_auth == HPX_TLS_CLIENT_AUTH_REQUIRE;
    context->resumes = !is_server && (config->flags & HPX_TLS_NO_RESUMPTION) == 0;
    context->keylog_fd = -1;
    context->pin_count = config->pin_count;
    if (config->pin_count != 0) {
        memcpy(context->pins, config->pin_sha256, config->pin_count * (size_t)HPX_TLS_PIN_BYTES);
    }
    HPX_ASSERT(is_server || (context->verifies_peer && context->requires_peer));
}

static hpx_status
context_new(hpx_tls_context **out, const hpx_tls_config *config, bool is_server, hpx_error *error)
{
    HPX_ASSERT(out != NULL);
    *out = NULL;
    if (error != NULL) {
        *error = (hpx_error){0};
    }
    hpx_tls_config checked;
    char suites[HPXI_TLS_SUITES_BYTES];
    hpx_status status = hpxi_tls_config_read(&checked, suites, config, is_server, error);
    if (status != HPX_OK) {
        return status;
    }
    status = hpxi_tls_global_init();
    hpx_tls_context *context =
        status == HPX_OK ? hpxi_tls_alloc_zero(sizeof(hpx_tls_context)) : NULL;
    if (context == NULL) {
        return hpxi_tls_error_set(
            error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, 0, "no memory for a TLS context");
    }
    context_describe(context, &checked, is_server);
    atomic_init(&context->references, 1);
    status = context_build(context, &checked, suites, error);
    if (status != HPX_OK) {
        context_destroy(context);
        return status;
    }
    HPX_ASSERT(context->wolf != NULL);
    *out = context;
    return HPX_OK;
}

hpx_status
hpx_tls_client_context_new(hpx_tls_context **out, const hpx_tls_config *config, hpx_error *error)
{
    return context_new(out, config, false, error);
}

hpx_status
hpx_tls_server_context_new(hpx_tls_context **out, const hpx_tls_config *config, hpx_error *error)
{
    return context_new(out, config, true, error);
}

void hpxi_tls_context_retain(hpx_tls_context *context)
{
    const uint32_t before =
        atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    HPX_ASSERT(before != 0);
}

void hpx_tls_context_release(hpx_tls_context *context)
{
    if (context == NULL) {
        return;
    }
    /* Release pairs with the acquire of whoever drops the last one and frees. */
    const uint32_t before =
        atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel);
    HPX_ASSERT(before != 0);
    if (before == 1) {
        context_destroy(context);
    }
}

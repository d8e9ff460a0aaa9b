/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.c - hpx/tls_probe.h: a session of our own, a cache of its own, and a note of every
 * certificate that the server shows.
 */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls/session.h"

#define PROBE_PLAIN_BYTES (17u << 10)
#define PROBE_ALPN_BYTES  256u

struct hpx_tls_probe {
    hpx_allocator allocator;
    hpx_tls_context *context;
    hpxi_tls_cache *sessions;
    hpxi_tls *tls; /* of the current connection; NULL before the first */
    hpxi_tls_chain chain;
    hpxi_buf output;
    uint64_t now_ns;
    size_t alpn_bytes;
    uint8_t alpn[PROBE_ALPN_BYTES];
    char server_name[HPXI_TLS_HOST_BYTES_MAX + 8];
    uint8_t plain[PROBE_PLAIN_BYTES];
};

/* A probe belongs to no engine, so neither does its memory. */
static void *probe_alloc(size_t size, size_t align, void *user)
{
    (void)user;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void probe_dealloc(void *block, size_t size, void *user)
{
    (void)user;
    explicit_bzero(block, size);
    free(block);
}

static const hpx_allocator probe_allocator = {.alloc = probe_alloc, .free = probe_dealloc};

static hpx_status probe_invalid(hpx_error *error, const char *what)
{
    return hpxi_tls_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, 0, "%s", what);
}

static hpx_status probe_no_memory(hpx_error *error)
{
    return hpxi_tls_error_set(
        error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, 0, "no memory for a TLS probe");
}

/* "h2,http/1.1" to the wire's form. False: too long, or a name is empty. */
static bool probe_set_alpn(hpx_tls_probe *probe, const char *list)
{
    for (const char *at = list;; at++) {
        const size_t size = strcspn(at, ",");
        if (size == 0 || size > UINT8_MAX || probe->alpn_bytes + 1 + size > sizeof(probe->alpn)) {
            return false;
        }
        probe->alpn[probe->alpn_bytes++] = (uint8_t)size;
        memcpy(probe->alpn + probe->alpn_bytes, at, size);
        probe->alpn_bytes += size;
        at += size;
        if (*at == '\0') {
            return true;
        }
    }
}

static hpx_status
probe_fill(hpx_tls_probe *probe, const hpx_tls_probe_config *config, hpx_error *error)
{
    probe->allocator = probe_allocator;
    hpxi_buf_init(&probe->output, &probe->allocator);
    if (strnlen(config->server_name, sizeof(probe->server_name)) == sizeof(probe->server_name)) {
        return probe_invalid(error, "server_name: too long");
    }
    memcpy(probe->server_name, config->server_name, strlen(config->server_name) + 1);
    if (config->alpn != NULL && !probe_set_alpn(probe, config->alpn)) {
        return probe_invalid(error, "alpn: names of 1 to 255 bytes with ',' between them");
    }
    if (config->context != NULL) {
        if (config->context->is_server) {
            return probe_invalid(error, "context: a server's");
        }
        hpxi_tls_context_retain(config->context);
        probe->context = config->context;
    } else {
        const hpx_status status = hpx_tls_client_context_new(&probe->context, NULL, error);
        if (status != HPX_OK) {
            return status;
        }
    }
    const hpxi_tls_cache_config sessions = {.hosts_max = 1, .now_ns = &probe->now_ns};
    return hpxi_tls_cache_new(&probe->sessions, &sessions, &probe->allocator) == HPX_OK
               ? HPX_OK
               : probe_no_memory(error);
}

hpx_status
hpx_tls_probe_new(hpx_tls_probe **out, const hpx_tls_probe_config *config, hpx_error *error)
{
    HPX_ASSERT(out != NULL);
    *out = NULL;
    if (config == NULL || config->size < offsetof(hpx_tls_probe_config, context)) {
        return probe_invalid(error, "size: start from HPX_TLS_PROBE_CONFIG_INIT");
    }
    hpx_tls_probe_config full = HPX_TLS_PROBE_CONFIG_INIT;
    memcpy(&full, config, config->size < sizeof(full) ? config->size : sizeof(full));
    if (full.flags != 0) {
        return probe_invalid(error, "flags: none are defined");
    }
    if (full.server_name == NULL) {
        return probe_invalid(error, "server_name: required");
    }
    if (hpxi_tls_global_init() != HPX_OK) {
        return probe_no_memory(error);
    }
    hpx_tls_probe *probe = hpxi_tls_alloc_zero(sizeof(*probe));
    if (probe == NULL) {
        return probe_no_memory(error);
    }
    const hpx_status status = probe_fill(probe, &full, error);
    if (status != HPX_OK) {
        hpx_tls_probe_free(probe);
        return status;
    }
    if (error != NULL) {
        *error = (hpx_error){0};
    }
    *out = probe;
    return HPX_OK;
}

void hpx_tls_probe_free(hpx_tls_probe *probe)
{
    if (probe == NULL) {
        return;
    }
    hpxi_tls_free(probe->tls);
    hpxi_tls_cache_free(probe->sessions);
    hpxi_tls_chain_fini(&probe->chain);
    hpx_tls_context_release(probe->context);
    hpxi_buf_fini(&probe->output);
    hpxi_tls_dealloc(probe);
}

/* One step with no input, or with it: sets what the public functions return. */
static hpx_status probe_step(hpx_tls_probe *probe, uint8_t **data, size_t *size, hpx_error *error)
{
    hpxi_tls *tls = probe->tls;
    if (tls->state == HPXI_TLS_HANDSHAKE) {
        const hpx_status status = hpxi_tls_handshake(tls, data, size, &probe->output, error);
        if (status != 1 || *size == 0) {
            return status;
        }
    }
    ptrdiff_t rc = 1;
    while (rc > 0) {
        rc = hpxi_tls_read(
            tls, data, size, probe->plain, sizeof(probe->plain), &probe->output, error);
    }
    if (rc < 0 && rc != HPX_E_PARTIAL && error != NULL) {
        error->stage = HPX_STAGE_TLS; /* a probe knows no other, also after the handshake */
    }
    return rc == HPX_E_PARTIAL ? 1 : (hpx_status)rc;
}

hpx_status hpx_tls_probe_start(hpx_tls_probe *probe, hpx_error *error)
{
    probe->now_ns = hpx_clock_now_ns();
    hpxi_tls_free(probe->tls);
    probe->tls = NULL;
    hpxi_tls_chain_fini(&probe->chain);
    hpxi_buf_consume(&probe->output, hpxi_buf_size(&probe->output));
    const hpxi_tls_session_config config = {
        .context = probe->context,
        .server_name = probe->server_name,
        .alpn = probe->alpn,
        .alpn_bytes = probe->alpn_bytes,
        .sessions = probe->sessions,
        .host = probe->server_name,
    };
    hpx_status status = hpxi_tls_new(&probe->tls, &config, &probe->allocator, error);
    if (status == HPX_OK) {
        probe->tls->verifier.chain = &probe->chain;
        uint8_t *none = NULL;
        size_t nothing = 0;
        status = probe_step(probe, &none, &nothing, error);
        HPX_ASSERT(status < 0);
        status = status == HPX_E_PARTIAL ? HPX_OK : status;
    }
    return status;
}

hpx_span hpx_tls_probe_output(const hpx_tls_probe *probe)
{
    return hpxi_buf_span(&probe->output);
}

void hpx_tls_probe_sent(hpx_tls_probe *probe, size_t bytes)
{
    HPX_ASSERT(bytes <= hpxi_buf_size(&probe->output));
    hpxi_buf_consume(&probe->output, bytes);
}

hpx_status
hpx_tls_probe_receive(hpx_tls_probe *probe, const uint8_t *bytes, size_t size, hpx_error *error)
{
    if (probe->tls == NULL) {
        return probe_invalid(error, "hpx_tls_probe_start() comes first");
    }
    uint8_t *data = (uint8_t *)(uintptr_t)bytes; /* is only read */
    return probe_step(probe, &data, &size, error);
}

void hpx_tls_probe_get_report(const hpx_tls_probe *probe, hpx_tls_report *out)
{
    *out = (hpx_tls_report){
        .certificate_count = probe->chain.count,
        .session_count = hpxi_tls_cache_get_stats(probe->sessions).sessions,
    };
    if (probe->tls == NULL) {
        return;
    }
    hpxi_tls_info info;
    hpxi_tls_get_info(probe->tls, &info);
    (void)snprintf(out->version, sizeof(out->version), "%s", info.version);
    (void)snprintf(out->cipher, sizeof(out->cipher), "%s", info.cipher);
    (void)snprintf(out->alpn, sizeof(out->alpn), "%s", info.alpn);
    out->verified = info.verified;
    out->resumed = info.resumed;
}

hpx_status
hpx_tls_probe_get_certificate(const hpx_tls_probe *probe, uint32_t index, hpx_tls_certificate *out)
{
    if (index >= probe->chain.count) {
        return HPX_E_INVALID;
    }
    return hpxi_tls_chain_describe(&probe->chain, index, out);
}

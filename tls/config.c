/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - hpx_tls_config: every member checked before anything is made of it; and which cipher
 * suites there are.
 */
#include <stdio.h>
#include <string.h>

#include "tls/internal.h"

#define CONFIG_TICKETS_MAX 16u

/* AEAD with forward secrecy, and nothing else: RFC 9325. In the order of preference. */
static const struct {
    const char *iana;
    const char *wolf;
    bool is_1_3;
} config_suites[] = {
    {"TLS_AES_128_GCM_SHA256", "TLS13-AES128-GCM-SHA256", true},
    {"TLS_AES_256_GCM_SHA384", "TLS13-AES256-GCM-SHA384", true},
    {"TLS_CHACHA20_POLY1305_SHA256", "TLS13-CHACHA20-POLY1305-SHA256", true},
    {"TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", false},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256", false},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", false},
    {"TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384", false},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", false},
    {"TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305", false},
};

#define CONFIG_SUITE_COUNT (sizeof(config_suites) / sizeof(config_suites[0]))

static hpx_status config_invalid(hpx_error *error, const char *what)
{
    return hpxi_tls_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, 0, "%s", what);
}

static hpx_status
config_check_identity(const hpx_tls_config *config, bool is_server, hpx_error *error)
{
    if ((config->cert_file == NULL) != (config->key_file == NULL)) {
        return config_invalid(error, "cert_file and key_file: one without the other");
    }
    if ((config->cert_pem == NULL) != (config->cert_pem_bytes == 0)) {
        return config_invalid(error, "cert_pem and cert_pem_bytes: one without the other");
    }
    if ((config->key_pem == NULL) != (config->key_pem_bytes == 0)) {
        return config_invalid(error, "key_pem and key_pem_bytes: one without the other");
    }
    if ((config->cert_pem == NULL) != (config->key_pem == NULL)) {
        return config_invalid(error, "cert_pem and key_pem: one without the other");
    }
    if (is_server && config->cert_file == NULL && config->cert_pem == NULL) {
        return config_invalid(error, "cert_file and key_file: required for a server");
    }
    return HPX_OK;
}

/* The members of one role are refused in the other: a setting without effect would be a trap. */
static hpx_status config_check_role(const hpx_tls_config *config, bool is_server, hpx_error *error)
{
    if ((config->pin_sha256 == NULL) != (config->pin_count == 0) ||
        config->pin_count > HPXI_TLS_PINS_MAX) {
        return config_invalid(error, "pin_sha256 and pin_count: 0 to 16 pins of 32 bytes");
    }
    if (config->client_auth < HPX_TLS_CLIENT_AUTH_NONE ||
        config->client_auth > HPX_TLS_CLIENT_AUTH_REQUIRE) {
        return config_invalid(error, "client_auth: not one of hpx_tls_client_auth");
    }
    if (config->ticket_count > CONFIG_TICKETS_MAX) {
        return config_invalid(error, "ticket_count: 0 to 16");
    }
    if (is_server) {
        if (config->pin_count != 0 || (config->flags & HPX_TLS_NO_RESUMPTION) != 0) {
            return config_invalid(error, "pin_sha256, HPX_TLS_NO_RESUMPTION: for clients only");
        }
        const bool verifies = config->client_auth != HPX_TLS_CLIENT_AUTH_NONE;
        if (verifies && config->ca_file == NULL && config->ca_pem == NULL) {
            return config_invalid(error, "ca_file or ca_pem: required with client_auth");
        }
        if (verifies && config->ticket_count != 0) {
            return config_invalid(error, "ticket_count: not with client_auth");
        }
    } else if (config->client_auth != HPX_TLS_CLIENT_AUTH_NONE || config->ticket_count != 0) {
        return config_invalid(error, "client_auth, ticket_count: for servers only");
    }
    return HPX_OK;
}

static hpx_status config_check_versions(hpx_tls_config *config, hpx_error *error)
{
    if (config->version_min == HPX_TLS_VERSION_DEFAULT) {
        config->version_min = HPX_TLS_VERSION_1_2;
    }
    if (config->version_max == HPX_TLS_VERSION_DEFAULT) {
        config->version_max = HPX_TLS_VERSION_1_3;
    }
    if (config->version_min != HPX_TLS_VERSION_1_2 && config->version_min != HPX_TLS_VERSION_1_3) {
        return config_invalid(error, "version_min: not one of hpx_tls_version");
    }
    if (config->version_max != HPX_TLS_VERSION_1_2 && config->version_max != HPX_TLS_VERSION_1_3) {
        return config_invalid(error, "version_max: not one of hpx_tls_version");
    }
    if (config->version_max < config->version_min) {
        return config_invalid(error, "version_max: below version_min");
    }
    return HPX_OK;
}

/* The suite of this IANA name, or CONFIG_SUITE_COUNT. */
static size_t config_find_suite(const char *name, size_t name_bytes)
{
    for (size_t i = 0; i < CONFIG_SUITE_COUNT; i++) {
        const char *iana = config_suites[i].iana;
        if (strlen(iana) == name_bytes && memcmp(iana, name, name_bytes) == 0) {
            return i;
        }
    }
    return CONFIG_SUITE_COUNT;
}

static void config_add_suite(char list[HPXI_TLS_SUITES_BYTES], size_t i)
{
    const size_t used = strlen(list);
    const int added = snprintf(
        list + used,
        HPXI_TLS_SUITES_BYTES - used,
        "%s%s",
        used == 0 ? "" : ":",
        config_suites[i].wolf);
    HPX_ASSERT(added > 0 && (size_t)added < HPXI_TLS_SUITES_BYTES - used);
}

/* `ciphers`, or all, in wolfSSL's words. */
static hpx_status
config_list_suites(char list[HPXI_TLS_SUITES_BYTES], hpx_tls_config *config, hpx_error *error)
{
    bool taken[CONFIG_SUITE_COUNT] = {false};
    bool is_1_2 = false;
    bool is_1_3 = false;
    list[0] = '\0';
    if (config->ciphers == NULL) {
        for (size_t i = 0; i < CONFIG_SUITE_COUNT; i++) {
            config_add_suite(list, i);
        }
        return HPX_OK;
    }
    for (const char *at = config->ciphers;; at++) {
        const size_t name_bytes = strcspn(at, ":");
        const size_t i = config_find_suite(at, name_bytes);
        if (i == CONFIG_SUITE_COUNT || taken[i]) {
            return hpxi_tls_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                0,
                "ciphers: '%.*s' is not one of the suites allowed, or there twice",
                (int)(name_bytes < 64 ? name_bytes : 64),
                at);
        }
        taken[i] = true;
        is_1_3 = is_1_3 || config_suites[i].is_1_3;
        is_1_2 = is_1_2 || !config_suites[i].is_1_3;
        config_add_suite(list, i);
        at += name_bytes;
        if (*at == '\0') {
            break;
        }
    }
    if ((!is_1_3 && config->version_min == HPX_TLS_VERSION_1_3) ||
        (!is_1_2 && config->version_max == HPX_TLS_VERSION_1_2)) {
        return config_invalid(error, "ciphers: none of them is of a version allowed");
    }
    config->version_min = is_1_2 ? config->version_min : HPX_TLS_VERSION_1_3;
    config->version_max = is_1_3 ? config->version_max : HPX_TLS_VERSION_1_2;
    return HPX_OK;
}

/* Copies the members that the caller's version of the struct has, and checks them. */
hpx_status hpxi_tls_config_read(
    hpx_tls_config *to,
    char suites[HPXI_TLS_SUITES_BYTES],
    const hpx_tls_config *from,
    bool is_server,
    hpx_error *error)
{
    *to = (hpx_tls_config)HPX_TLS_CONFIG_INIT;
    if (from != NULL) {
        if (from->size < 2 * sizeof(uint32_t)) {
            return config_invalid(error, "size: start from HPX_TLS_CONFIG_INIT");
        }
        memcpy(to, from, from->size < sizeof(*to) ? from->size : sizeof(*to));
        to->size = (uint32_t)sizeof(*to);
    }
    if ((to->flags & ~(uint32_t)HPX_TLS_NO_RESUMPTION) != 0) {
        return config_invalid(error, "flags: not of hpx_tls_flag");
    }
    hpx_status status = config_check_versions(to, error);
    if (status == HPX_OK) {
        status = config_list_suites(suites, to, error);
    }
    if (status != HPX_OK) {
        return status;
    }
    if (to->ca_file == NULL && (to->ca_pem == NULL) != (to->ca_pem_bytes == 0)) {
        return config_invalid(error, "ca_pem and ca_pem_bytes: one without the other");
    }
    status = config_check_identity(to, is_server, error);
    return status == HPX_OK ? config_check_role(to, is_server, error) : status;
}

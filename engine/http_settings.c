/* SPDX-License-Identifier: Apache-2.0 */
/* http_settings.c - checks and copies a client's configuration. Threads: any. */
#include <stdio.h>
#include <string.h>

#include "engine/engine.h"
#include "engine/error.h"
#include "engine/http_pack.h"
#include "tls/tls.h"

/* Fills in `fallback` where the member is at its default. */
#define SETTINGS_DEFAULT(member, fallback) ((member) = (member) != 0 ? (member) : (fallback))

/* In the command ring for each request: room to cancel it always stays free. */
#define SETTINGS_COMMAND_BYTES 64u

static void settings_defaults(hpx_http_config *config)
{
    SETTINGS_DEFAULT(config->requests_max, 1024);
    SETTINGS_DEFAULT(config->retries_max, 3);
    SETTINGS_DEFAULT(config->timeout_ns, 30 * HPX_NS_PER_S);
    SETTINGS_DEFAULT(config->connect_timeout_ns, 10 * HPX_NS_PER_S);
    SETTINGS_DEFAULT(config->first_byte_timeout_ns, HPX_NEVER);
    SETTINGS_DEFAULT(config->idle_timeout_ns, 15 * HPX_NS_PER_S);
    SETTINGS_DEFAULT(config->header_bytes_max, 64u << 10);
    SETTINGS_DEFAULT(config->headers_max, 128);
    SETTINGS_DEFAULT(config->interim_max, 16);
    SETTINGS_DEFAULT(config->body_bytes_max, UINT64_MAX);
    SETTINGS_DEFAULT(config->decoded_bytes_max, UINT64_C(1) << 30);
    SETTINGS_DEFAULT(config->connections_max, 256);
    SETTINGS_DEFAULT(config->connections_per_origin_max, 16);
    SETTINGS_DEFAULT(config->idle_per_origin_max, 16);
    SETTINGS_DEFAULT(config->idle_connection_ns, 30 * HPX_NS_PER_S);
    SETTINGS_DEFAULT(config->h2_connections_per_origin_max, 1);
    SETTINGS_DEFAULT(config->h2_streams_max, 100);
    SETTINGS_DEFAULT(config->h2_window_bytes, 1u << 20);
    SETTINGS_DEFAULT(config->h2_window_bytes_max, 16u << 20);
    SETTINGS_DEFAULT(config->h2_keep_alive_ns, HPX_NEVER);
    SETTINGS_DEFAULT(config->h2_keep_alive_timeout_ns, 20 * HPX_NS_PER_S);
    if (config->command_ring_bytes == 0) {
        config->command_ring_bytes = 1u << 20;
        while (config->command_ring_bytes < SETTINGS_COMMAND_BYTES * config->requests_max &&
               config->command_ring_bytes < 1u << 30) {
            config->command_ring_bytes *= 2;
        }
    }
    SETTINGS_DEFAULT(config->event_ring_bytes, 1u << 20);
}

static hpx_status settings_check_ranges(const hpx_http_config *config, hpx_error *error)
{
    const struct {
        const char *name;
        uint64_t value, low, high;
        bool power;
    } ranges[] = {
        {"flags", config->flags, 0, 0, false},
        {"resolve_count", config->resolve_count, 0, HPXI_HTTP_OVERRIDES_MAX, false},
        {"secret_header_count", config->secret_header_count, 0, HPXI_HTTP_SECRETS_MAX, false},
        {"requests_max", config->requests_max, 1, 65536, false},
        {"redirects_max", config->redirects_max, 0, 100, false},
        {"header_bytes_max", config->header_bytes_max, 1u << 10, 1u << 20, false},
        {"headers_max", config->headers_max, 1, 4096, false},
        {"interim_max", config->interim_max, 1, 1000, false},
        {"connections_max", config->connections_max, 1, 65536, false},
        {"connections_per_origin_max", config->connections_per_origin_max, 1, 65536, false},
        {"idle_per_origin_max", config->idle_per_origin_max, 1, 65536, false},
        {"idle_per_origin_min", config->idle_per_origin_min, 0, config->idle_per_origin_max, false},
        {"h2_connections_per_origin_max", config->h2_connections_per_origin_max, 1, 65536, false},
        {"h2_streams_max", config->h2_streams_max, 1, 65535, false},
        {"h2_window_bytes", config->h2_window_bytes, 64u << 10, 16u << 20, false},
        {"h2_window_bytes_max",
         config->h2_window_bytes_max,
         config->h2_window_bytes,
         1u << 29,
         false},
        {"command_ring_bytes", config->command_ring_bytes, 64u << 10, 1u << 30, true},
        {"event_ring_bytes", config->event_ring_bytes, 64u << 10, 1u << 30, true},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        const uint64_t value = ranges[i].value;
        if (value < ranges[i].low || value > ranges[i].high ||
            (ranges[i].power && (value & (value - 1)) != 0)) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "%s is %llu; it must be %s%llu to %llu",
                ranges[i].name,
                (unsigned long long)value,
                ranges[i].power ? "a power of two from " : "",
                (unsigned long long)ranges[i].low,
                (unsigned long long)ranges[i].high);
        }
    }
    if (config->command_ring_bytes / SETTINGS_COMMAND_BYTES < config->requests_max) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "command_ring_bytes is %u; requests_max %u needs at least %u for each",
            config->command_ring_bytes,
            config->requests_max,
            SETTINGS_COMMAND_BYTES);
    }
    const uint64_t head = config->header_bytes_max + UINT64_C(16) * config->headers_max;
    if (config->event_ring_bytes / 4 < 2 * head + 4096) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "event_ring_bytes is %u; header_bytes_max and headers_max need at least %llu",
            config->event_ring_bytes,
            (unsigned long long)(4 * (2 * head + 4096)));
    }
    return HPX_OK;
}

static hpx_status settings_check_strings(const hpx_http_config *config, hpx_error *error)
{
    const struct {
        const char *name;
        const char *const *list;
        uint32_t count;
    } lists[] = {
        {"resolve", config->resolve, config->resolve_count},
        {"secret_headers", config->secret_headers, config->secret_header_count},
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (uint32_t k = 0; k < lists[i].count; k++) {
            if (lists[i].list == NULL || lists[i].list[k] == NULL) {
                return hpxi_error_set(
                    error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s[%u] is NULL", lists[i].name, k);
            }
        }
    }
    if (config->user_agent != NULL && config->user_agent[0] != '\0' &&
        !hpxi_h1_is_value(hpx_span_of(config->user_agent))) {
        return hpxi_error_set(
            error, HPX_E_INVALID, HPX_STAGE_CONFIG, "user_agent has a byte that is not allowed");
    }
    for (uint32_t i = 0; i < config->secret_header_count; i++) {
        if (!hpxi_h1_is_token(hpx_span_of(config->secret_headers[i]))) {
            return hpxi_error_set(
                error, HPX_E_INVALID, HPX_STAGE_CONFIG, "secret_headers[%u] is no header name", i);
        }
    }
    return HPX_OK;
}

static const char *settings_copy(char **at, const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = memcpy(*at, text, bytes);
    *at += bytes;
    return copy;
}

/* Everything after the checks. */
static hpx_status settings_fill(hpxi_http_settings *settings, hpx_error *error)
{
    hpx_http_config *config = &settings->config;
    for (uint32_t i = 0; i < config->resolve_count; i++) {
        const hpx_status status =
            hpxi_override_parse(&settings->overrides[i], config->resolve[i], error);
        if (status != HPX_OK) {
            return status;
        }
    }
    settings->override_count = config->resolve_count;
    const char *agent = config->user_agent != NULL ? config->user_agent : "hpx/" HPX_VERSION_STRING;
    settings->strings_bytes = strlen(agent) + 1;
    for (uint32_t i = 0; i < config->secret_header_count; i++) {
        settings->strings_bytes += strlen(config->secret_headers[i]) + 1;
    }
    settings->strings = hpxi_alloc(settings->allocator, settings->strings_bytes, 1);
    if (settings->strings == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    char *at = settings->strings;
    config->user_agent = settings_copy(&at, agent);
    for (uint32_t i = 0; i < config->secret_header_count; i++) {
        settings->secrets[i] = settings_copy(&at, config->secret_headers[i]);
    }
    config->secret_headers = settings->secrets;
    config->resolve = NULL;
    if (config->tls != NULL) {
        hpxi_tls_context_retain(config->tls);
        settings->tls = config->tls;
    }
    return HPX_OK;
}

hpx_status hpxi_http_settings_new(
    hpxi_http_settings **out, hpx_engine *engine, const hpx_http_config *config, hpx_error *error)
{
    *out = NULL;
    hpx_http_config full = HPX_HTTP_CONFIG_INIT;
    if (config != NULL) {
        if (config->size < offsetof(hpx_http_config, tls)) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "config size is not set; use HPX_HTTP_CONFIG_INIT");
        }
        memcpy(&full, config, config->size < sizeof(full) ? config->size : sizeof(full));
        full.size = (uint32_t)sizeof(full);
    }
    settings_defaults(&full);
    hpx_status status = settings_check_ranges(&full, error);
    if (status == HPX_OK) {
        status = settings_check_strings(&full, error);
    }
    if (status != HPX_OK) {
        return status;
    }
    const hpx_allocator *allocator = &engine->memory.counting;
    hpxi_http_settings *settings =
        hpxi_alloc_zero(allocator, sizeof(*settings), _Alignof(hpxi_http_settings));
    if (settings == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    atomic_init(&settings->refs, 1);
    settings->allocator = allocator;
    settings->engine = engine;
    settings->config = full;
    status = settings_fill(settings, error);
    if (status != HPX_OK) {
        hpxi_http_settings_release(settings);
        return status;
    }
    *out = settings;
    return HPX_OK;
}

void hpxi_http_settings_retain(hpxi_http_settings *settings)
{
    atomic_fetch_add_explicit(&settings->refs, 1, memory_order_relaxed);
}

void hpxi_http_settings_release(hpxi_http_settings *settings)
{
    if (settings == NULL ||
        atomic_fetch_sub_explicit(&settings->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    hpxi_http_boards_free(&settings->boards);
    hpx_tls_context_release(settings->tls);
    hpx_tls_context_release(atomic_load_explicit(&settings->default_tls, memory_order_relaxed));
    hpxi_free(settings->allocator, settings->strings, settings->strings_bytes);
    hpxi_free(settings->allocator, settings, sizeof(*settings));
}

const hpxi_addresses *
hpxi_http_settings_override(const hpxi_http_settings *settings, const char *host, uint16_t port)
{
    for (uint32_t i = 0; i < settings->override_count; i++) {
        const hpxi_override *override = &settings->overrides[i];
        if (override->port == port && strcmp(override->host, host) == 0) {
            return &override->addresses;
        }
    }
    return NULL;
}

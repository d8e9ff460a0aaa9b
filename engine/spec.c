/* SPDX-License-Identifier: Apache-2.0 */
/* spec.c - checks and copies a connection's configuration. */
#include "engine/spec.h"

#include <string.h>

#include "engine/error.h"
#include "engine/override.h"
#include "engine/replies.h"
#include "tls/tls.h"

void hpx_ws_config_set_insecure_no_verify(hpx_ws_config *config)
{
    config->flags = HPXI_WS_FLAG_INSECURE_NO_VERIFY;
}

static hpx_status
spec_range(const char *name, uint64_t value, uint64_t low, uint64_t high, hpx_error *error)
{
    if (value >= low && value <= high) {
        return HPX_OK;
    }
    return hpxi_error_set(
        error,
        HPX_E_INVALID,
        HPX_STAGE_CONFIG,
        "%s is %llu; allowed are %llu to %llu",
        name,
        (unsigned long long)value,
        (unsigned long long)low,
        (unsigned long long)high);
}

static void spec_defaults(hpx_ws_config *config)
{
    HPXI_DEFAULT(config->resolve_timeout_ns, 5 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->connect_timeout_ns, 10 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->tls_timeout_ns, 10 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->upgrade_timeout_ns, 10 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->close_timeout_ns, 500 * HPX_NS_PER_MS);
    HPXI_DEFAULT(config->message_bytes_max, UINT64_C(16) << 20);
    HPXI_DEFAULT(config->fragments_max, 65536);
    HPXI_DEFAULT(config->send_queue_bytes_max, UINT64_C(32) << 20);
    HPXI_DEFAULT(config->upgrade_bytes_max, 16u << 10);
    HPXI_DEFAULT(config->upgrade_headers_max, 100);
    HPXI_DEFAULT(config->stream_ring_bytes, 1u << 20);
    HPXI_DEFAULT(config->stream_large_bytes_max, UINT64_C(64) << 20);
    HPXI_DEFAULT(config->ping_interval_ns, 15 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->pong_timeout_ns, 10 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->backoff_initial_ns, 100 * HPX_NS_PER_MS);
    HPXI_DEFAULT(config->backoff_max_ns, 30 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->stable_after_ns, 10 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->requests_max, 1024);
    HPXI_DEFAULT(config->request_timeout_ns, 30 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->topics_max, 65536);
    HPXI_DEFAULT(config->topics_per_message_max, 100);
    config->backoff_factor = config->backoff_factor > 0 ? config->backoff_factor : 2.0;
}

static hpx_status spec_check_flags(const hpx_ws_config *config, hpx_error *error)
{
    if (config->flags != 0 && config->flags != HPXI_WS_FLAG_INSECURE_NO_VERIFY) {
        return hpxi_error_set(
            error, HPX_E_INVALID, HPX_STAGE_CONFIG, "flags is %#x; unknown", config->flags);
    }
    if (!(config->messages_per_second >= 0.0 && config->messages_per_second <= 1e6)) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "messages_per_second is %g; allowed are 0 (no limit) to 1e6",
            config->messages_per_second);
    }
    return HPX_OK;
}

/* The dialect's table: what it must have, and what the config asks of it. */
static hpx_status spec_check_protocol(const hpx_ws_config *config, hpx_error *error)
{
    const hpx_protocol *protocol = config->protocol;
    const char *wrong = NULL;
    if (protocol == NULL) {
        wrong = config->heartbeat != HPX_HEARTBEAT_FRAME ? "heartbeat needs a protocol" : NULL;
    } else if (protocol->size < offsetof(hpx_protocol, classify) + sizeof(protocol->classify)) {
        wrong = "protocol: size is not set; use HPX_PROTOCOL_INIT";
    } else if (protocol->classify == NULL) {
        wrong = "protocol: classify is NULL";
    } else if ((protocol->retain == NULL) != (protocol->release == NULL)) {
        wrong = "protocol: retain and release are both or neither";
    } else if ((protocol->build_subscribe == NULL) != (protocol->build_unsubscribe == NULL)) {
        wrong = "protocol: build_subscribe and build_unsubscribe are both or neither";
    } else if (config->heartbeat != HPX_HEARTBEAT_FRAME && protocol->build_ping == NULL) {
        wrong = "heartbeat needs a protocol with build_ping";
    }
    return wrong == NULL ? HPX_OK
                         : hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s", wrong);
}

/* Each handle's replies: room for the bare outcome of every request that may be pending. */
static hpx_status spec_check_replies(hpx_ws_config *config, hpx_error *error)
{
    const uint64_t least = hpxi_replies_bytes_min(config->requests_max);
    if (config->reply_ring_bytes == 0) {
        config->reply_ring_bytes = least > (256u << 10) ? (uint32_t)least : 256u << 10;
    }
    const uint32_t bytes = config->reply_ring_bytes;
    if (bytes < least || bytes > (1u << 30) || (bytes & (bytes - 1)) != 0) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "reply_ring_bytes is %u; with requests_max %u it must be a power of two from %llu to "
            "1 GiB",
            bytes,
            config->requests_max,
            (unsigned long long)least);
    }
    return HPX_OK;
}

static hpx_status spec_check_ranges(const hpx_ws_config *config, hpx_error *error)
{
    const uint64_t hour = 3600 * HPX_NS_PER_S;
    const struct {
        const char *name;
        uint64_t value, low, high;
    } ranges[] = {
        {"header_count", config->header_count, 0, HPXI_HEADERS_MAX},
        {"subprotocol_count", config->subprotocol_count, 0, HPXI_SUBPROTOCOLS_MAX},
        {"resolve_count", config->resolve_count, 0, HPXI_RESOLVE_MAX},
        {"receive_mode", config->receive_mode, 0, HPX_RECEIVE_HOT},
        {"resolve_timeout_ns", config->resolve_timeout_ns, 1, hour},
        {"connect_timeout_ns", config->connect_timeout_ns, 1, hour},
        {"tls_timeout_ns", config->tls_timeout_ns, 1, hour},
        {"upgrade_timeout_ns", config->upgrade_timeout_ns, 1, hour},
        {"close_timeout_ns", config->close_timeout_ns, 1, hour},
        {"message_bytes_max", config->message_bytes_max, 1, UINT64_C(1) << 30},
        {"fragments_max", config->fragments_max, 1, UINT32_MAX},
        {"send_queue_bytes_max", config->send_queue_bytes_max, 1024, UINT64_C(1) << 32},
        {"upgrade_bytes_max", config->upgrade_bytes_max, 1, 256u << 10},
        {"upgrade_headers_max", config->upgrade_headers_max, 1, 10000},
        {"stream_ring_bytes", config->stream_ring_bytes, 64u << 10, 1u << 30},
        {"stream_large_bytes_max", config->stream_large_bytes_max, 1, UINT64_C(1) << 40},
        {"busy_poll_us", config->busy_poll_us, 0, 1000000},
        {"pong_timeout_ns", config->pong_timeout_ns, 1, hour},
        {"heartbeat", config->heartbeat, 0, HPX_HEARTBEAT_BOTH},
        {"requests_max", config->requests_max, 1, 65536},
        {"request_timeout_ns", config->request_timeout_ns, 1, 24 * hour},
        {"topics_max", config->topics_max, 1, 1u << 20},
        {"topics_per_message_max", config->topics_per_message_max, 1, 65535},
        {"messages_burst", config->messages_burst, 0, 1u << 20},
        {"backoff_initial_ns", config->backoff_initial_ns, 1, hour},
        {"backoff_max_ns", config->backoff_max_ns, config->backoff_initial_ns, 24 * hour},
        {"stable_after_ns", config->stable_after_ns, 1, 24 * hour},
    };
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
        const hpx_status status =
            spec_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, error);
        if (status != HPX_OK) {
            return status;
        }
    }
    if ((config->stream_ring_bytes & (config->stream_ring_bytes - 1)) != 0) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "stream_ring_bytes is %u; it must be a power of two",
            config->stream_ring_bytes);
    }
    if (!(config->backoff_factor >= 1.0 && config->backoff_factor <= 10.0)) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "backoff_factor is %g; allowed are 1 to 10",
            config->backoff_factor);
    }
    if (!(config->backoff_jitter >= 0.0 && config->backoff_jitter <= 1.0)) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "backoff_jitter is %g; allowed are 0 to 1",
            config->backoff_jitter);
    }
    return spec_check_flags(config, error);
}

/* Copies `text` to the strings block (NULL stays NULL) and advances *at. */
static const char *spec_copy(char **at, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    const size_t bytes = strlen(text) + 1;
    char *copy = memcpy(*at, text, bytes);
    *at += bytes;
    return copy;
}

static size_t spec_strings_bytes(const hpx_ws_config *config)
{
    size_t bytes = strlen(config->url) + 1;
    bytes += config->tls_server_name == NULL ? 0 : strlen(config->tls_server_name) + 1;
    for (uint32_t i = 0; i < config->header_count; i++) {
        bytes += strlen(config->headers[i]) + 1;
    }
    for (uint32_t i = 0; i < config->subprotocol_count; i++) {
        bytes += strlen(config->subprotocols[i]) + 1;
    }
    return bytes;
}

static hpx_status spec_check_strings(const hpx_ws_config *config, hpx_error *error)
{
    if (config->url == NULL) {
        return hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "url is NULL");
    }
    const struct {
        const char *name;
        const char *const *list;
        uint32_t count;
    } lists[] = {
        {"headers", config->headers, config->header_count},
        {"subprotocols", config->subprotocols, config->subprotocol_count},
        {"resolve", config->resolve, config->resolve_count},
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        if (lists[i].count != 0 && lists[i].list == NULL) {
            return hpxi_error_set(
                error,
                HPX_E_INVALID,
                HPX_STAGE_CONFIG,
                "%s is NULL but its count is %u",
                lists[i].name,
                lists[i].count);
        }
        for (uint32_t k = 0; k < lists[i].count; k++) {
            if (lists[i].list[k] == NULL) {
                return hpxi_error_set(
                    error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s[%u] is NULL", lists[i].name, k);
            }
        }
    }
    return HPX_OK;
}

/* One text of config.resolve: used only if it names the URL's host and port, but checked in any
 * case. */
static hpx_status spec_resolve(hpxi_spec *spec, const char *text, hpx_error *error)
{
    hpxi_override parsed;
    const hpx_status status = hpxi_override_parse(&parsed, text, error);
    if (status != HPX_OK || parsed.port != spec->url.port ||
        strcmp(parsed.host, spec->url.host) != 0) {
        return status;
    }
    hpxi_addresses *all = &spec->override;
    for (uint32_t i = 0; i < parsed.addresses.count && all->count < HPXI_ADDRESSES_MAX; i++) {
        all->list[all->count++] = parsed.addresses.list[i];
    }
    return HPX_OK;
}

static void spec_fill_strings(hpxi_spec *spec, const hpx_ws_config *from)
{
    char *at = spec->strings;
    spec->config.url = spec_copy(&at, from->url);
    spec->config.tls_server_name = spec_copy(&at, from->tls_server_name);
    for (uint32_t i = 0; i < from->header_count; i++) {
        spec->headers[i] = spec_copy(&at, from->headers[i]);
    }
    for (uint32_t i = 0; i < from->subprotocol_count; i++) {
        spec->subprotocols[i] = spec_copy(&at, from->subprotocols[i]);
    }
    HPX_ASSERT(at == spec->strings + spec->strings_bytes);
    spec->config.headers = spec->headers;
    spec->config.subprotocols = spec->subprotocols;
    spec->config.resolve = NULL; /* parsed into `override` */
    spec->config.resolve_count = 0;
}

static hpx_status spec_fill(hpxi_spec *spec, const hpx_ws_config *from, hpx_error *error)
{
    spec_fill_strings(spec, from);
    hpx_status status = hpxi_url_parse(&spec->url, spec->config.url, error);
    for (uint32_t i = 0; i < from->resolve_count && status == HPX_OK; i++) {
        status = spec_resolve(spec, from->resolve[i], error);
    }
    if (status != HPX_OK) {
        return status;
    }
    spec->request = (hpxi_ws_request_config){
        .host = spec->url.host_header,
        .target = spec->url.target,
        .headers = spec->headers,
        .header_count = from->header_count,
        .subprotocols = spec->subprotocols,
        .subprotocol_count = from->subprotocol_count,
    };
    status = hpxi_ws_request_check(&spec->request, error);
    if (status != HPX_OK) {
        return status;
    }
    if (from->protocol != NULL) {
        const size_t size = from->protocol->size;
        memcpy(
            &spec->protocol,
            from->protocol,
            size < sizeof(spec->protocol) ? size : sizeof(spec->protocol));
        spec->config.protocol = &spec->protocol;
        if (spec->protocol.retain != NULL) {
            spec->protocol.retain(spec->protocol.ctx);
        }
    }
    spec->insecure_no_verify = from->flags == HPXI_WS_FLAG_INSECURE_NO_VERIFY;
    if (from->tls != NULL) {
        hpxi_tls_context_retain(from->tls);
        spec->tls = from->tls;
    }
    return HPX_OK;
}

hpx_status hpxi_spec_new(
    hpxi_spec **out, const hpx_ws_config *config, const hpx_allocator *allocator, hpx_error *error)
{
    *out = NULL;
    hpx_ws_config full = HPX_WS_CONFIG_INIT;
    if (config == NULL || config->size < offsetof(hpx_ws_config, headers)) {
        return hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "config is NULL or its size is not set; use HPX_WS_CONFIG_INIT");
    }
    memcpy(&full, config, config->size < sizeof(full) ? config->size : sizeof(full));
    full.size = (uint32_t)sizeof(full);
    spec_defaults(&full);
    hpx_status status = spec_check_ranges(&full, error);
    if (status == HPX_OK) {
        status = spec_check_strings(&full, error);
    }
    if (status == HPX_OK) {
        status = spec_check_protocol(&full, error);
    }
    if (status == HPX_OK) {
        status = spec_check_replies(&full, error);
    }
    if (status != HPX_OK) {
        return status;
    }
    hpxi_spec *spec = hpxi_alloc_zero(allocator, sizeof(*spec), _Alignof(hpxi_spec));
    if (spec == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    spec->allocator = allocator;
    spec->config = full;
    spec->strings_bytes = spec_strings_bytes(&full);
    spec->strings = hpxi_alloc(allocator, spec->strings_bytes, 1);
    status = spec->strings == NULL
                 ? hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory")
                 : spec_fill(spec, &full, error);
    if (status != HPX_OK) {
        hpxi_spec_free(spec);
        return status;
    }
    *out = spec;
    return HPX_OK;
}

void hpxi_spec_free(hpxi_spec *spec)
{
    if (spec == NULL) {
        return;
    }
    if (spec->protocol.release != NULL) {
        spec->protocol.release(spec->protocol.ctx);
    }
    hpx_tls_context_release(spec->tls);
    hpxi_free(spec->allocator, spec->strings, spec->strings_bytes);
    hpxi_free(spec->allocator, spec, sizeof(*spec));
}

uint64_t hpxi_spec_hash(const hpxi_spec *spec)
{
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *at = spec->url.host; *at != '\0'; at++) {
        hash = (hash ^ (uint8_t)*at) * UINT64_C(1099511628211);
    }
    hash = (hash ^ (spec->url.port & 0xFFu)) * UINT64_C(1099511628211);
    return (hash ^ (uint32_t)(spec->url.port >> 8)) * UINT64_C(1099511628211);
}

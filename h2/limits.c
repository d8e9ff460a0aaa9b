/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.c - the configuration's defaults and ranges, and token buckets.
 *
 * Role      Every limit of a session is in hpxi_h2_limits; here are their defaults and what may be
 *           set. A bucket is kept in time instead of in tokens, so that it needs no remainder.
 */
#include <stdarg.h>
#include <stdio.h>

#include "h2/internal.h"

#define LIMITS_MEMORY_BYTES_MIN                                                                    \
    (128u << 10) /* nghttp2's own buffers and tables take about half                               \
                  */
#define LIMITS_STREAMS_MAX    65535u
#define LIMITS_FIELDS_MAX     65535u
#define LIMITS_LIST_BYTES_MIN 256u
#define LIMITS_LIST_BYTES_MAX (16u << 20)
#define LIMITS_COUNT_MAX      1000000u

#define LIMITS_DEFAULT                                                                             \
    {                                                                                              \
        .streams_max = 128, .header_list_bytes_max = 64u << 10, .fields_max = 128,                 \
        .informational_max = 32, .continuations_max = 16, .settings_entries_max = 32,              \
        .acks_max = 1000, .pings = {.per_s = 100, .burst = 1000},                                  \
        .settings = {.per_s = 10, .burst = 100}, .resets_received = {.per_s = 100, .burst = 1000}, \
        .resets_sent = {.per_s = 100, .burst = 1000}, .overhead = {.per_s = 1000, .burst = 10000}, \
        .memory_bytes_max = 16u << 20                                                              \
    }

const hpxi_h2_config hpxi_h2_config_client = {
    .is_server = false,
    .limits = LIMITS_DEFAULT,
    .ping = HPXI_H2_PING_CONFIG_INIT,
    .connection_window_bytes = 1u << 20,
    .settings_timeout_ns = 10 * HPX_NS_PER_S};

const hpxi_h2_config hpxi_h2_config_server = {
    .is_server = true,
    .limits = LIMITS_DEFAULT,
    .ping = HPXI_H2_PING_CONFIG_INIT,
    .connection_window_bytes = 1u << 20,
    .settings_timeout_ns = 10 * HPX_NS_PER_S};

hpx_status hpxi_h2_invalid(hpx_error *error, const char *format, ...)
{
    if (error != NULL) {
        *error = (hpx_error){.status = HPX_E_INVALID, .stage = HPX_STAGE_CONFIG};
        va_list args;
        va_start(args, format);
        (void)vsnprintf(error->detail, sizeof(error->detail), format, args);
        va_end(args);
    }
    return HPX_E_INVALID;
}

/* ---- Configuration -------------------------------------------------------------------------- */

typedef struct limits_range {
    const char *name;
    uint64_t value;
    uint64_t least;
    uint64_t most;
} limits_range;

static hpx_status limits_check_ranges(const limits_range *ranges, size_t count, hpx_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const limits_range *range = &ranges[i];
        if (range->value < range->least || range->value > range->most) {
            return hpxi_h2_invalid(
                error,
                "%s is %llu; it may be %llu to %llu",
                range->name,
                (unsigned long long)range->value,
                (unsigned long long)range->least,
                (unsigned long long)range->most);
        }
    }
    return HPX_OK;
}

static hpx_status limits_check_rate(const char *name, hpxi_h2_rate rate, hpx_error *error)
{
    const limits_range range[] = {
        {name, rate.per_s, 1, LIMITS_COUNT_MAX}, {name, rate.burst, 1, LIMITS_COUNT_MAX}};
    return limits_check_ranges(range, 2, error);
}

static hpx_status limits_check_rates(const hpxi_h2_limits *limits, hpx_error *error)
{
    const struct {
        const char *name;
        hpxi_h2_rate rate;
    } rates[] = {
        {"limits.pings", limits->pings},
        {"limits.settings", limits->settings},
        {"limits.resets_received", limits->resets_received},
        {"limits.resets_sent", limits->resets_sent},
        {"limits.overhead", limits->overhead}};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        const hpx_status status = limits_check_rate(rates[i].name, rates[i].rate, error);
        if (status != HPX_OK) {
            return status;
        }
    }
    return HPX_OK;
}

hpx_status hpxi_h2_config_check(const hpxi_h2_config *config, hpx_error *error)
{
    const hpxi_h2_limits *limits = &config->limits;
    const hpxi_h2_ping_config *ping = &config->ping;
    const limits_range ranges[] = {
        {"limits.streams_max", limits->streams_max, 1, LIMITS_STREAMS_MAX},
        {"limits.header_list_bytes_max",
         limits->header_list_bytes_max,
         LIMITS_LIST_BYTES_MIN,
         LIMITS_LIST_BYTES_MAX},
        {"limits.fields_max", limits->fields_max, 1, LIMITS_FIELDS_MAX},
        {"limits.informational_max", limits->informational_max, 0, LIMITS_COUNT_MAX},
        {"limits.continuations_max", limits->continuations_max, 1, LIMITS_COUNT_MAX},
        {"limits.settings_entries_max", limits->settings_entries_max, 8, LIMITS_COUNT_MAX},
        {"limits.acks_max", limits->acks_max, 1, LIMITS_COUNT_MAX},
        {"limits.memory_bytes_max",
         limits->memory_bytes_max,
         LIMITS_MEMORY_BYTES_MIN,
         SIZE_MAX / 4},
        {"ping.window_bytes", ping->window_bytes, 1, INT32_MAX},
        {"ping.window_bytes_max", ping->window_bytes_max, ping->window_bytes, INT32_MAX},
        {"ping.sample_delay_ns", ping->sample_delay_ns, 1, ping->sample_delay_ns_max},
        {"connection_window_bytes",
         config->connection_window_bytes,
         HPXI_H2_WINDOW_DEFAULT,
         INT32_MAX},
    };
    const hpx_status status =
        limits_check_ranges(ranges, sizeof(ranges) / sizeof(ranges[0]), error);
    if (status != HPX_OK) {
        return status;
    }
    if (ping->keep_alive_interval_ns != 0 && ping->keep_alive_timeout_ns == 0) {
        return hpxi_h2_invalid(error, "ping.keep_alive_timeout_ns is 0 with keep-alive on");
    }
    return limits_check_rates(limits, error);
}

/* ---- Buckets -------------------------------------------------------------------------------- */

void hpxi_h2_bucket_init(hpxi_h2_bucket *bucket, hpxi_h2_rate rate, uint64_t now_ns)
{
    HPX_ASSERT(rate.per_s != 0);
    HPX_ASSERT(rate.burst != 0);
    const uint64_t token_ns = HPX_NS_PER_S / rate.per_s;
    *bucket =
        (hpxi_h2_bucket){.token_ns = token_ns, .room_ns = token_ns * rate.burst, .at_ns = now_ns};
}

bool hpxi_h2_bucket_take(hpxi_h2_bucket *bucket, uint64_t now_ns)
{
    const uint64_t passed_ns = now_ns > bucket->at_ns ? now_ns - bucket->at_ns : 0;
    bucket->debt_ns = bucket->debt_ns > passed_ns ? bucket->debt_ns - passed_ns : 0;
    bucket->at_ns += passed_ns;
    if (bucket->room_ns - bucket->debt_ns < bucket->token_ns) {
        return false;
    }
    bucket->debt_ns += bucket->token_ns;
    HPX_DASSERT(bucket->debt_ns <= bucket->room_ns);
    return true;
}

void hpxi_h2_bucket_earn(hpxi_h2_bucket *bucket, uint32_t tokens)
{
    const uint64_t earned_ns = tokens * bucket->token_ns;
    bucket->debt_ns = bucket->debt_ns > earned_ns ? bucket->debt_ns - earned_ns : 0;
}

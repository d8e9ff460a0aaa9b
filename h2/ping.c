/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ping.c - when to PING, and what the answers say about the path.
 *
 * Role      One PING serves two purposes. As a sample: the DATA that arrived between PING and
 * answer is what the path holds in a round trip, if the window did not hold it back; a sample near
 * the window says that it did. As keep-alive: a peer that lets a PING and everything else
 * unanswered is gone. Threads   See ping.h.
 */
#include "h2/ping.h"

#define PING_RTT_SHIFT        3u /* smoothed over about 8 samples, as TCP does (RFC 6298) */
#define PING_STABLE_MAX       2u /* so many samples without growth: sample more rarely */
#define PING_BACKOFF          4u
#define PING_DELAY_DIVISOR    8u                  /* least delay, as a part of the configured one */
#define PING_SAMPLE_BYTES_MAX (UINT64_C(1) << 34) /* times 10^9 still fits into 64 bits */

void hpxi_h2_ping_clear(hpxi_h2_ping_stats *stats)
{
    atomic_store_explicit(&stats->bytes, 0, memory_order_release);
    atomic_store_explicit(&stats->last_read_at_ns, 0, memory_order_release);
    atomic_store_explicit(&stats->rtt_ns, 0, memory_order_release);
    atomic_store_explicit(&stats->bdp_bytes, 0, memory_order_release);
    atomic_store_explicit(&stats->window_bytes, 0, memory_order_release);
    atomic_store_explicit(&stats->keep_alive_timed_out, false, memory_order_release);
}

void hpxi_h2_ping_init(hpxi_h2_ping *ping, const hpxi_h2_ping_config *config, uint64_t now_ns)
{
    HPX_ASSERT(config->window_bytes != 0);
    HPX_ASSERT(config->window_bytes <= config->window_bytes_max);
    HPX_ASSERT(config->window_bytes_max <= INT32_MAX);
    HPX_ASSERT(config->sample_delay_ns <= config->sample_delay_ns_max);
    *ping = (hpxi_h2_ping){
        .owner = {
            .config = *config,
            .state = HPXI_H2_PING_QUIET,
            .sample_delay_ns = config->sample_delay_ns,
            .sample_at_ns =
                config->window_bytes == config->window_bytes_max ? HPXI_H2_NEVER_NS : now_ns}};
    ping->stats = config->stats != NULL ? config->stats : &ping->own;
    hpxi_h2_ping_clear(ping->stats);
    atomic_store_explicit(&ping->stats->last_read_at_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&ping->stats->bdp_bytes, config->window_bytes, memory_order_relaxed);
    atomic_store_explicit(&ping->stats->window_bytes, config->window_bytes, memory_order_relaxed);
}

bool hpxi_h2_ping_is_valid(const hpxi_h2_ping *ping)
{
    const hpxi_h2_ping_snapshot stats = hpxi_h2_ping_read(ping->stats);
    if (stats.window_bytes < ping->owner.config.window_bytes ||
        stats.window_bytes > ping->owner.config.window_bytes_max ||
        ping->owner.sample_delay_ns > ping->owner.config.sample_delay_ns_max ||
        ping->owner.bytes_at_start > stats.bytes) {
        return false;
    }
    switch (ping->owner.state) {
    case HPXI_H2_PING_QUIET:
        return !stats.keep_alive_timed_out && !ping->owner.is_sample;
    case HPXI_H2_PING_IN_FLIGHT:
        return !stats.keep_alive_timed_out;
    case HPXI_H2_PING_TIMED_OUT:
        return stats.keep_alive_timed_out;
    }
    return false;
}

static uint64_t ping_later(uint64_t at_ns, uint64_t by_ns)
{
    return at_ns > UINT64_MAX - by_ns ? UINT64_MAX : at_ns + by_ns;
}

static uint64_t ping_last_read_at(const hpxi_h2_ping *ping)
{
    return atomic_load_explicit(&ping->stats->last_read_at_ns, memory_order_relaxed);
}

uint64_t hpxi_h2_ping_deadline_ns(const hpxi_h2_ping *ping, uint32_t stream_count)
{
    const hpxi_h2_ping_config *config = &ping->owner.config;
    if (config->keep_alive_interval_ns == 0) {
        return HPXI_H2_NEVER_NS;
    }
    const uint64_t read_at_ns = ping_last_read_at(ping);
    switch (ping->owner.state) {
    case HPXI_H2_PING_QUIET:
        return stream_count != 0 || config->keep_alive_while_idle
                   ? ping_later(read_at_ns, config->keep_alive_interval_ns)
                   : HPXI_H2_NEVER_NS;
    case HPXI_H2_PING_IN_FLIGHT: {
        /* Whatever was read since shows life: an answer may queue behind a long download. */
        const uint64_t sent_at_ns = ping->owner.sent_at_ns;
        return ping_later(
            read_at_ns > sent_at_ns ? read_at_ns : sent_at_ns, config->keep_alive_timeout_ns);
    }
    case HPXI_H2_PING_TIMED_OUT:
        break;
    }
    return HPXI_H2_NEVER_NS;
}

hpxi_h2_ping_action hpxi_h2_ping_poll(hpxi_h2_ping *ping, uint32_t stream_count, uint64_t now_ns)
{
    HPX_XASSERT(hpxi_h2_ping_is_valid(ping));
    if (ping->owner.state == HPXI_H2_PING_TIMED_OUT) {
        return HPXI_H2_PING_GIVE_UP;
    }
    if (ping->owner.state == HPXI_H2_PING_QUIET && ping->owner.sample_wanted) {
        return HPXI_H2_PING_SEND;
    }
    const uint64_t deadline_ns = hpxi_h2_ping_deadline_ns(ping, stream_count);
    if (deadline_ns == HPXI_H2_NEVER_NS || now_ns < deadline_ns) {
        return HPXI_H2_PING_NOTHING;
    }
    if (ping->owner.state == HPXI_H2_PING_QUIET) {
        return HPXI_H2_PING_SEND;
    }
    ping->owner.state = HPXI_H2_PING_TIMED_OUT;
    atomic_store_explicit(&ping->stats->keep_alive_timed_out, true, memory_order_relaxed);
    return HPXI_H2_PING_GIVE_UP;
}

void hpxi_h2_ping_sent(hpxi_h2_ping *ping, uint64_t now_ns)
{
    HPX_ASSERT(ping->owner.state == HPXI_H2_PING_QUIET);
    ping->owner.state = HPXI_H2_PING_IN_FLIGHT;
    ping->owner.sent_at_ns = now_ns;
    ping->owner.is_sample = ping->owner.sample_wanted;
    ping->owner.sample_wanted = false;
}

static void ping_smooth_rtt(hpxi_h2_ping *ping, uint64_t sample_ns)
{
    sample_ns = sample_ns == 0 ? 1 : sample_ns; /* 0 means unknown */
    uint64_t rtt_ns = atomic_load_explicit(&ping->stats->rtt_ns, memory_order_relaxed);
    if (rtt_ns == 0) {
        rtt_ns = sample_ns;
    } else {
        rtt_ns = rtt_ns - (rtt_ns >> PING_RTT_SHIFT) + (sample_ns >> PING_RTT_SHIFT);
    }
    atomic_store_explicit(&ping->stats->rtt_ns, rtt_ns == 0 ? 1 : rtt_ns, memory_order_relaxed);
}

/* Nothing new: ask more rarely. */
static void ping_back_off(hpxi_h2_ping *ping)
{
    if (++ping->owner.stable_count < PING_STABLE_MAX) {
        return;
    }
    ping->owner.stable_count = 0;
    const uint64_t max_ns = ping->owner.config.sample_delay_ns_max;
    const uint64_t delay_ns = ping->owner.sample_delay_ns;
    ping->owner.sample_delay_ns =
        delay_ns > max_ns / PING_BACKOFF ? max_ns : delay_ns * PING_BACKOFF;
}

/* The new BDP, or 0 when the sample says nothing new. */
static uint64_t ping_estimate(hpxi_h2_ping *ping, uint64_t sample_bytes)
{
    const uint64_t rtt_ns = atomic_load_explicit(&ping->stats->rtt_ns, memory_order_relaxed);
    const uint64_t bdp_bytes = atomic_load_explicit(&ping->stats->bdp_bytes, memory_order_relaxed);
    if (sample_bytes > PING_SAMPLE_BYTES_MAX) {
        sample_bytes = PING_SAMPLE_BYTES_MAX;
    }
    /* The bytes of a sample arrive in up to one and a half round trips: the PING's way to the peer,
     * the data's way back, and what was under way before. */
    const uint64_t bandwidth_bps = sample_bytes * HPX_NS_PER_S / (rtt_ns + rtt_ns / 2 + 1);
    if (bandwidth_bps < ping->owner.bandwidth_max_bps) {
        return 0; /* a longer queue on the way, not a wider path: a window would only feed it */
    }
    ping->owner.bandwidth_max_bps = bandwidth_bps;
    const uint64_t max_bytes = ping->owner.config.window_bytes_max;
    if (bdp_bytes == max_bytes || sample_bytes < bdp_bytes / 3 * 2) {
        return 0;
    }
    return sample_bytes > max_bytes / 2 ? max_bytes : sample_bytes * 2;
}

uint32_t hpxi_h2_ping_acknowledged(hpxi_h2_ping *ping, uint64_t now_ns)
{
    if (ping->owner.state != HPXI_H2_PING_IN_FLIGHT) {
        return 0; /* timed out already */
    }
    HPX_DASSERT(now_ns >= ping->owner.sent_at_ns);
    const bool is_sample = ping->owner.is_sample;
    ping->owner.state = HPXI_H2_PING_QUIET;
    ping->owner.is_sample = false;
    ping_smooth_rtt(ping, now_ns - ping->owner.sent_at_ns);
    const uint64_t bytes = atomic_load_explicit(&ping->stats->bytes, memory_order_relaxed);
    if (!is_sample) {
        ping->owner.bytes_at_start = bytes; /* of a sample that was wanted meanwhile */
        return 0;
    }
    const uint64_t bdp_bytes = ping_estimate(ping, bytes - ping->owner.bytes_at_start);
    if (bdp_bytes == 0) {
        ping_back_off(ping);
    } else {
        const uint64_t least_ns = ping->owner.config.sample_delay_ns / PING_DELAY_DIVISOR;
        const uint64_t half_ns = ping->owner.sample_delay_ns / 2;
        ping->owner.stable_count = 0;
        ping->owner.sample_delay_ns = half_ns < least_ns ? least_ns : half_ns;
        atomic_store_explicit(&ping->stats->bdp_bytes, bdp_bytes, memory_order_relaxed);
        atomic_store_explicit(
            &ping->stats->window_bytes, (uint32_t)bdp_bytes, memory_order_relaxed);
    }
    ping->owner.sample_at_ns = ping_later(now_ns, ping->owner.sample_delay_ns);
    HPX_XASSERT(hpxi_h2_ping_is_valid(ping));
    return (uint32_t)bdp_bytes;
}

hpxi_h2_ping_snapshot hpxi_h2_ping_read(const hpxi_h2_ping_stats *stats)
{
    return (hpxi_h2_ping_snapshot){
        .bytes = atomic_load_explicit(&stats->bytes, memory_order_acquire),
        .last_read_at_ns = atomic_load_explicit(&stats->last_read_at_ns, memory_order_acquire),
        .rtt_ns = atomic_load_explicit(&stats->rtt_ns, memory_order_acquire),
        .bdp_bytes = atomic_load_explicit(&stats->bdp_bytes, memory_order_acquire),
        .window_bytes = atomic_load_explicit(&stats->window_bytes, memory_order_acquire),
        .keep_alive_timed_out =
            atomic_load_explicit(&stats->keep_alive_timed_out, memory_order_acquire)};
}

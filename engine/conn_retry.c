/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_retry.c - whether and when another attempt follows.
 *
 *   lost or failed -> BACKING_OFF -(delay over, old socket gone, room for events)-> RESOLVING
 *
 * Role      Exponential backoff with jitter. The count of failures starts again only after a
 *           connection was Ready for stable_after_ns, so that a server that accepts and drops is
 *           not hammered. The old socket is gone before the new one is made: never two at once.
 * Threads   The shard's.
 */
#include "engine/conn.h"

/* How long to wait for a consumer that has not taken the lifecycle events of many attempts. */
#define RETRY_ROOM_NS (50 * HPX_NS_PER_MS)

/* A server's Retry-After is honoured up to here. */
#define RETRY_AFTER_MAX_NS (3600 * HPX_NS_PER_S)

#define CONN_OF_BACKOFF(timer) ((hpx_conn *)(void *)((char *)(timer)-offsetof(hpx_conn, backoff)))

uint64_t hpxi_backoff_ns(const hpx_ws_config *config, uint32_t failures, double random)
{
    HPX_ASSERT(random >= 0.0 && random <= 1.0);
    const double most = (double)config->backoff_max_ns;
    double delay = (double)config->backoff_initial_ns;
    for (uint32_t i = 0; i < failures && delay < most; i++) {
        delay *= config->backoff_factor;
        if (config->backoff_factor <= 1.0) {
            break;
        }
    }
    delay = delay < most ? delay : most;
    const double jitter = config->backoff_jitter;
    return (uint64_t)(delay * (1.0 - jitter) + random * delay * jitter);
}

/* A Ready connection that the app gave up is no failed attempt. */
static bool retry_is_asked_for(const hpx_conn *conn)
{
    return conn->ready_ns != 0 && conn->error.status == HPX_E_RECONNECT;
}

bool hpxi_conn_wants_retry(hpx_conn *conn)
{
    if (conn->spec == NULL || !conn->spec->config.reconnect || conn->terminal) {
        return false;
    }
    const hpx_ws_config *config = &conn->spec->config;
    if (conn->ready_ns != 0 &&
        conn->shard->owner.now_ns - conn->ready_ns >= config->stable_after_ns) {
        conn->failures = 0;
    } else if (retry_is_asked_for(conn)) {
        return true;
    } else if (config->attempts_max != 0 && conn->failures + 1 >= config->attempts_max) {
        conn->terminal = true;
        return false;
    }
    return true;
}

static double retry_random(hpx_conn *conn)
{
    uint32_t bits;
    hpxi_random_bytes(&conn->shard->owner.random, &bits, sizeof(bits));
    return (double)bits / (double)UINT32_MAX;
}

void hpxi_conn_back_off(hpx_conn *conn)
{
    HPX_ASSERT(!conn->terminal);
    uint64_t delay = hpxi_backoff_ns(&conn->spec->config, conn->failures, retry_random(conn));
    if (conn->error.retry_after_ns > delay) {
        delay = conn->error.retry_after_ns < RETRY_AFTER_MAX_NS ? conn->error.retry_after_ns
                                                                : RETRY_AFTER_MAX_NS;
    }
    if (!retry_is_asked_for(conn)) {
        conn->failures += conn->failures < UINT32_MAX ? 1 : 0;
    }
    conn->backoff_over = false;
    hpxi_conn_set_state(conn, HPX_CONN_BACKING_OFF);
    hpxi_wheel_set(&conn->shard->owner.wheel, &conn->backoff, conn->shard->owner.now_ns + delay);
}

void hpxi_conn_on_backoff(hpxi_timer *timer, uint64_t now_ns)
{
    (void)now_ns;
    hpx_conn *conn = CONN_OF_BACKOFF(timer);
    HPX_ASSERT(conn->state == HPX_CONN_BACKING_OFF);
    conn->backoff_over = true;
    hpxi_conn_mark_settle(conn);
}

void hpxi_conn_retry(hpx_conn *conn)
{
    HPX_ASSERT(conn->state == HPX_CONN_BACKING_OFF);
    if (!conn->backoff_over || conn->sock != NULL) {
        return; /* the timer, or on_gone, comes back here */
    }
    if (conn->channel != NULL && !hpxi_channel_has_room(conn->channel)) {
        hpxi_wheel_set(
            &conn->shard->owner.wheel, &conn->backoff, conn->shard->owner.now_ns + RETRY_ROOM_NS);
        return;
    }
    hpxi_conn_renew(conn);
    hpxi_conn_start(conn);
}

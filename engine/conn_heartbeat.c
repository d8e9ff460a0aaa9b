/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_heartbeat.c - finds peers that are gone without a word, and feeds that fell silent.
 *
 * Role      A ping every ping_interval_ns; its pong within pong_timeout_ns, measured from the ping;
 *           the round trip is a metric. Separately: a message at least every
 *           inbound_idle_timeout_ns, because a server can answer pings and yet send nothing.
 * Threads   The shard's. Costs a message one store.
 */
#include <string.h>

#include "engine/conn.h"

#define CONN_OF(member_ptr, member)                                                                \
    ((hpx_conn *)(void *)((char *)(member_ptr)-offsetof(hpx_conn, member)))

static void heartbeat_set(hpx_conn *conn, uint64_t delay_ns)
{
    hpxi_wheel_set(
        &conn->shard->owner.wheel, &conn->heartbeat, conn->shard->owner.now_ns + delay_ns);
}

/* The payload names the ping: a pong of an earlier one, or unasked, counts for nothing. */
static void heartbeat_ping_frame(hpx_conn *conn, uint64_t now_ns)
{
    conn->ping_ns = now_ns;
    (void)hpxi_conn_control(
        conn, HPXI_WS_PING, (const uint8_t *)&conn->ping_ns, sizeof(conn->ping_ns));
}

/* The protocol's own ping, answered by a response with its id, or by what the dialect calls a
 * pong. */
static void heartbeat_ping_protocol(hpx_conn *conn, uint64_t now_ns)
{
    hpxi_session *session = conn->session;
    HPX_ASSERT(session->ping == NULL);
    hpxi_request *request = hpxi_session_own_request(conn, HPXI_PENDING_PING, HPX_NEVER);
    HPX_ASSERT(request != NULL); /* one of HPXI_PENDING_OWN is kept for it */
    hpx_writer writer = hpxi_session_writer(conn);
    const hpx_status status =
        session->protocol->build_ping(session->protocol->ctx, request->id, &writer);
    if (status != 1 || writer.overflow) {
        hpxi_session_drop_own(conn, request);
        hpxi_session_dialect_failed(conn, "a ping", status < 0 ? status : HPX_E_LIMIT);
        return;
    }
    session->ping = request;
    conn->query_ns = now_ns;
    (void)hpxi_session_send(conn, &writer);
}

static void heartbeat_on_timer(hpxi_timer *timer, uint64_t now_ns)
{
    hpx_conn *conn = CONN_OF(timer, heartbeat);
    HPX_ASSERT(hpxi_conn_is_open(conn));
    if (conn->ping_ns != 0 || conn->query_ns != 0) {
        hpxi_conn_fail_with(
            conn,
            HPX_E_PONG_TIMEOUT,
            hpxi_conn_stage(conn),
            "the peer did not answer our ping within pong_timeout_ns");
        return;
    }
    const hpx_ws_config *config = &conn->spec->config;
    if (conn->state == HPX_CONN_AUTHENTICATING) {
        heartbeat_set(conn, config->ping_interval_ns); /* nothing else is said now, and the stage */
        return;                                        /* has a deadline of its own */
    }
    heartbeat_set(conn, config->pong_timeout_ns);
    if (config->heartbeat != HPX_HEARTBEAT_PROTOCOL) {
        heartbeat_ping_frame(conn, now_ns);
    }
    if (config->heartbeat != HPX_HEARTBEAT_FRAME) {
        heartbeat_ping_protocol(conn, now_ns);
    }
}

static void watchdog_on_timer(hpxi_timer *timer, uint64_t now_ns)
{
    hpx_conn *conn = CONN_OF(timer, watchdog);
    HPX_ASSERT(hpxi_conn_is_open(conn));
    const uint64_t limit_ns = conn->spec->config.inbound_idle_timeout_ns;
    if (now_ns - conn->message_ns >= limit_ns) {
        hpxi_conn_fail_with(
            conn,
            HPX_E_INBOUND_IDLE,
            hpxi_conn_stage(conn),
            "no message arrived within inbound_idle_timeout_ns");
        return;
    }
    hpxi_wheel_set(&conn->shard->owner.wheel, &conn->watchdog, conn->message_ns + limit_ns);
}

void hpxi_conn_heartbeat_init(hpx_conn *conn)
{
    hpxi_timer_init(&conn->heartbeat, heartbeat_on_timer);
    hpxi_timer_init(&conn->watchdog, watchdog_on_timer);
}

void hpxi_conn_heartbeat_start(hpx_conn *conn)
{
    if (conn->spec == NULL) {
        return; /* server role: the clients' matter */
    }
    const hpx_ws_config *config = &conn->spec->config;
    conn->ping_ns = 0;
    conn->query_ns = 0;
    conn->message_ns = conn->shard->owner.now_ns;
    if (config->ping_interval_ns != HPX_NEVER) {
        heartbeat_set(conn, config->ping_interval_ns);
    }
    if (config->inbound_idle_timeout_ns != 0 && config->inbound_idle_timeout_ns != HPX_NEVER) {
        hpxi_wheel_set(
            &conn->shard->owner.wheel,
            &conn->watchdog,
            conn->message_ns + config->inbound_idle_timeout_ns);
    }
}

void hpxi_conn_heartbeat_stop(hpx_conn *conn)
{
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->heartbeat);
    hpxi_wheel_cancel(&conn->shard->owner.wheel, &conn->watchdog);
}

/* One ping was answered; once all are, the next is due in an interval. */
static void heartbeat_answered(hpx_conn *conn, uint64_t *sent_ns)
{
    conn->info.rtt_ns = conn->shard->owner.now_ns - *sent_ns;
    *sent_ns = 0;
    atomic_store_explicit(&conn->hub->shared.rtt_ns, conn->info.rtt_ns, memory_order_relaxed);
    if (conn->ping_ns == 0 && conn->query_ns == 0) {
        heartbeat_set(conn, conn->spec->config.ping_interval_ns);
    }
}

void hpxi_conn_heartbeat_pong(hpx_conn *conn, const uint8_t *payload, size_t size)
{
    if (conn->ping_ns != 0 && hpxi_conn_is_open(conn) && size == sizeof(conn->ping_ns) &&
        memcmp(payload, &conn->ping_ns, size) == 0) {
        heartbeat_answered(conn, &conn->ping_ns);
    }
}

void hpxi_conn_heartbeat_answered(hpx_conn *conn)
{
    hpxi_session *session = conn->session;
    if (conn->query_ns == 0 || session->ping == NULL || !hpxi_conn_is_open(conn)) {
        return; /* said without being asked */
    }
    hpxi_session_drop_own(conn, session->ping);
    session->ping = NULL;
    heartbeat_answered(conn, &conn->query_ns);
}

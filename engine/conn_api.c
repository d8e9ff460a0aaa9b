/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_api.c - the public functions on a connection, for code that runs on its shard.
 *
 * Threads   The shard's (asserted where state changes).
 */
#include "engine/conn.h"
#include "engine/engine.h"
#include "engine/error.h"

static void api_refresh_clock(hpx_shard *shard)
{
    if (!shard->owner.in_turn) {
        shard->owner.now_ns = hpxi_clock_now(&shard->owner.clock);
    }
}

void hpxi_conn_refresh_clock(hpx_conn *conn)
{
    api_refresh_clock(conn->shard);
}

hpx_status
hpx_shard_connect(hpx_shard *shard, const hpx_ws_config *config, hpx_conn **out, hpx_error *error)
{
    *out = NULL;
    if (!hpxi_shard_is_owner(shard)) {
        return hpxi_error_set(
            error,
            HPX_E_THREAD,
            HPX_STAGE_CONFIG,
            "hpx_shard_connect is for the shard's own thread; use "
            "hpx_ws_connect on a port");
    }
    if (shard->owner.phase != HPXI_SHARD_RUNNING) {
        return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_CONFIG, "the shard is stopping");
    }
    hpxi_spec *spec = NULL;
    hpx_status status = hpxi_spec_new(&spec, config, shard->allocator, error);
    if (status != HPX_OK) {
        return status;
    }
    if (spec->config.on_event == NULL) {
        status = hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "on_event is NULL");
    } else if (spec->config.shard != HPX_SHARD_BY_HASH && spec->config.shard != shard->index) {
        status = hpxi_error_set(
            error,
            HPX_E_INVALID,
            HPX_STAGE_CONFIG,
            "shard is %u, but this is shard %u",
            spec->config.shard,
            shard->index);
    } else if (spec->url.is_tls && spec->tls == NULL) {
        status = hpxi_engine_default_tls(shard->engine, &spec->tls, error);
    }
    hpxi_hub *hub = status == HPX_OK ? hpxi_hub_new(spec, shard->allocator) : NULL;
    hpx_conn *conn = hub != NULL ? hpxi_conn_new_client(shard, spec, hub, NULL) : NULL;
    if (status == HPX_OK && conn == NULL) {
        status = hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    if (status != HPX_OK) {
        hpxi_hub_release(hub);
        hpxi_spec_free(spec);
        return status;
    }
    hub->shard_index = shard->index;
    api_refresh_clock(shard);
    hpxi_conn_start(conn);
    *out = conn;
    return HPX_OK;
}

hpx_status hpx_conn_send(hpx_conn *conn, hpx_message_kind kind, hpx_span payload)
{
    HPXI_ASSERT_OWNER(conn->shard);
    if (HPXI_UNLIKELY(conn->state != HPX_CONN_READY)) {
        return HPX_E_NOT_CONNECTED;
    }
    if (HPXI_UNLIKELY(kind != HPX_MESSAGE_TEXT && kind != HPX_MESSAGE_BINARY)) {
        return HPX_E_INVALID;
    }
    if (HPXI_UNLIKELY(!hpxi_conn_may_queue(conn, payload.size))) {
        return HPX_E_AGAIN;
    }
    if (conn->session != NULL) {
        hpxi_session_spend(conn);
    }
    return hpxi_conn_send(conn, kind, payload);
}

bool hpxi_conn_may_queue(hpx_conn *conn, size_t size)
{
    const uint64_t queued = hpxi_conn_queued(conn);
    if (HPXI_UNLIKELY(queued != 0 && queued + size > conn->send_queue_bytes_max)) {
        conn->want_writable = true;
        hpxi_conn_mark_settle(conn);
        return false;
    }
    return true;
}

hpx_status hpx_conn_close(hpx_conn *conn, uint16_t code, hpx_span reason)
{
    HPXI_ASSERT_OWNER(conn->shard);
    const uint16_t sent = code == 0 ? 1000 : code;
    if (!hpxi_ws_close_code_is_valid(sent) || reason.size > HPXI_WS_CLOSE_REASON_MAX ||
        !hpxi_utf8_check(reason.data, reason.size)) {
        return HPX_E_INVALID;
    }
    api_refresh_clock(conn->shard);
    hpxi_conn_close(conn, sent, reason);
    return HPX_OK;
}

void hpx_conn_abort(hpx_conn *conn)
{
    HPXI_ASSERT_OWNER(conn->shard);
    if (conn->state == HPX_CONN_CLOSED) {
        return;
    }
    if (conn->error.status == HPX_OK) {
        (void)hpxi_error_set(
            &conn->error, HPX_E_ABORTED, hpxi_conn_stage(conn), "aborted by the application");
    }
    hpxi_conn_abort(conn);
}

hpx_status hpx_conn_reconnect(hpx_conn *conn, hpx_span reason)
{
    HPXI_ASSERT_OWNER(conn->shard);
    if (conn->spec == NULL || !conn->spec->config.reconnect) {
        return HPX_E_STATE;
    }
    hpxi_conn_reconnect(conn, reason);
    return HPX_OK;
}

hpx_conn_state hpx_conn_get_state(const hpx_conn *conn)
{
    return conn->state;
}

uint64_t hpx_conn_get_epoch(const hpx_conn *conn)
{
    return conn->epoch;
}

const hpx_conn_info *hpx_conn_get_info(const hpx_conn *conn)
{
    return &conn->info;
}

uint64_t hpx_conn_queued_bytes(const hpx_conn *conn)
{
    return hpxi_conn_queued(conn);
}

void hpx_conn_set_user(hpx_conn *conn, void *user)
{
    HPXI_ASSERT_OWNER(conn->shard);
    conn->user = user;
}

void *hpx_conn_get_user(const hpx_conn *conn)
{
    return conn->user;
}

hpx_shard *hpx_conn_get_shard(const hpx_conn *conn)
{
    return conn->shard;
}

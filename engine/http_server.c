/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server.c - a server's configuration, its listening socket, and the shard's steps for all of
 * them.
 *
 * Threads   The shard's.
 * Memory    Reference counted by the app (until closed) and by each accepted connection.
 */
#include "engine/http_server.h"

#include <string.h>

#include "engine/error.h"
#include "engine/listen.h"
#include "engine/spec.h"

static hpx_status server_invalid(hpx_error *error, const char *what)
{
    return hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s", what);
}

/* ---- Configuration --------------------------------------------------------------------------- */

static void server_defaults(hpx_http_server_config *config)
{
    HPXI_DEFAULT(config->backlog, 511);
    HPXI_DEFAULT(config->handshake_timeout_ns, 10 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->request_timeout_ns, 10 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->idle_timeout_ns, 60 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->stall_timeout_ns, 30 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->close_timeout_ns, 500 * HPX_NS_PER_MS);
    HPXI_DEFAULT(config->header_bytes_max, 64u << 10);
    HPXI_DEFAULT(config->headers_max, 128);
    HPXI_DEFAULT(config->body_bytes_max, UINT64_C(1) << 20);
    HPXI_DEFAULT(config->send_queue_bytes_max, UINT64_C(1) << 20);
    HPXI_DEFAULT(config->requests_max, UINT32_MAX);
    HPXI_DEFAULT(config->h2_streams_max, 100);
}

static hpx_status server_check(const hpx_http_server_config *config, hpx_error *error)
{
    if (config->address == NULL) {
        return server_invalid(error, "address is NULL");
    }
    if (config->on_event == NULL) {
        return server_invalid(error, "on_event is NULL");
    }
    if (config->flags != 0) {
        return server_invalid(error, "flags must be 0");
    }
    if (config->version != HPX_HTTP_ANY && config->version != HPX_HTTP_1_1) {
        return server_invalid(error, "version is neither HPX_HTTP_ANY nor HPX_HTTP_1_1");
    }
    if (config->header_bytes_max < 1u << 10 || config->header_bytes_max > 1u << 20) {
        return server_invalid(error, "header_bytes_max is not within 1 KiB..1 MiB");
    }
    if (config->headers_max > 65536) {
        return server_invalid(error, "headers_max is over 65536");
    }
    if (config->body_bytes_max > UINT64_C(1) << 30 || config->send_queue_bytes_max > UINT64_C(1)
                                                                                         << 30) {
        return server_invalid(error, "body_bytes_max or send_queue_bytes_max is over 1 GiB");
    }
    return HPX_OK;
}

static hpx_status server_set_limits(hpx_http_server *server, hpx_error *error)
{
    const hpx_http_server_config *config = &server->config;
    server->h1_limits = HPXI_H1_LIMITS_DEFAULT;
    server->h1_limits.head_bytes_max = config->header_bytes_max;
    server->h1_limits.fields_max = config->headers_max;
    server->h2_config = hpxi_h2_config_server;
    server->h2_config.limits.streams_max = config->h2_streams_max;
    server->h2_config.limits.header_list_bytes_max = config->header_bytes_max;
    server->h2_config.limits.fields_max = config->headers_max;
    return hpxi_h2_config_check(&server->h2_config, error);
}

/* ---- Life ------------------------------------------------------------------------------------ */

void hpxi_server_release(hpx_http_server *server)
{
    HPX_ASSERT(server->refs > 0);
    if (--server->refs != 0) {
        return;
    }
    HPX_ASSERT(server->conns == NULL);
    hpx_tls_context_release(server->config.tls);
    hpxi_buf_fini(&server->names);
    hpxi_free(server->shard->allocator, server, sizeof(*server));
}

static void server_on_accept(hpxi_sock *sock, int fd)
{
    hpx_http_server *server = sock->owner;
    if (fd >= 0) {
        server->stats.accepted++;
        hpxi_server_accept(server, fd);
    } /* else: out of descriptors, or the peer left at once; the accept goes on */
}

static void server_on_gone(hpxi_sock *sock)
{
    hpxi_server_release(sock->owner);
}

static const hpxi_sock_ops server_ops = {
    .on_accept = server_on_accept,
    .on_gone = server_on_gone,
};

static void server_link(hpx_http_server *server)
{
    hpx_shard *shard = server->shard;
    server->next = shard->owner.servers.all;
    if (server->next != NULL) {
        server->next->prev = server;
    }
    shard->owner.servers.all = server;
}

static hpx_status
server_check_call(hpx_shard *shard, const hpx_http_server_config *config, hpx_error *error)
{
    if (!hpxi_shard_is_owner(shard)) {
        return hpxi_error_set(
            error,
            HPX_E_THREAD,
            HPX_STAGE_CONFIG,
            "hpx_shard_http_listen is for the shard's own thread");
    }
    if (shard->owner.phase != HPXI_SHARD_RUNNING) {
        return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_CONFIG, "the shard is stopping");
    }
    if (config == NULL || config->size < offsetof(hpx_http_server_config, tls)) {
        return server_invalid(error, "config size is not set; use HPX_HTTP_SERVER_CONFIG_INIT");
    }
    return HPX_OK;
}

hpx_status hpx_shard_http_listen(
    hpx_shard *shard, const hpx_http_server_config *config, hpx_http_server **out, hpx_error *error)
{
    *out = NULL;
    hpx_status status = server_check_call(shard, config, error);
    if (status != HPX_OK) {
        return status;
    }
    hpx_http_server_config full = HPX_HTTP_SERVER_CONFIG_INIT;
    memcpy(&full, config, config->size < sizeof(full) ? config->size : sizeof(full));
    server_defaults(&full);
    status = server_check(&full, error);
    if (status != HPX_OK) {
        return status;
    }
    hpx_http_server *server =
        hpxi_alloc_zero(shard->allocator, sizeof(*server), _Alignof(hpx_http_server));
    if (server == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    server->shard = shard;
    server->refs = 1;
    server->config = full;
    hpxi_buf_init(&server->names, shard->allocator);
    if (full.tls != NULL) {
        hpxi_tls_context_retain(full.tls);
    }
    status = server_set_limits(server, error);
    if (status == HPX_OK) {
        status = hpxi_listen(
            &shard->owner.socks,
            full.address,
            full.backlog,
            full.reuse_port,
            &server_ops,
            server,
            &server->sock,
            &server->port,
            error);
        server->config.address = NULL; /* used once */
    }
    if (status != HPX_OK) {
        hpxi_server_release(server);
        return status;
    }
    server_link(server);
    *out = server;
    return HPX_OK;
}

uint16_t hpx_http_server_get_port(const hpx_http_server *server)
{
    return server->port;
}

void hpx_http_server_get_stats(const hpx_http_server *server, hpx_http_server_stats *out)
{
    *out = server->stats;
}

void hpx_http_server_close(hpx_http_server *server)
{
    if (server == NULL || server->sock == NULL) {
        return;
    }
    HPXI_ASSERT_OWNER(server->shard);
    *(server->prev != NULL ? &server->prev->next : &server->shard->owner.servers.all) =
        server->next;
    if (server->next != NULL) {
        server->next->prev = server->prev;
    }
    hpxi_sock *sock = server->sock;
    server->sock = NULL;
    for (hpxi_server_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        hpxi_server_close(conn); /* only marks: the list does not change */
    }
    hpxi_sock_close(sock); /* on_gone releases the server */
}

/* ---- The shard's steps ----------------------------------------------------------------------- */

void hpxi_servers_stop(hpx_shard *shard)
{
    while (shard->owner.servers.all != NULL) {
        hpx_http_server_close(shard->owner.servers.all);
    }
}

uint32_t hpxi_servers_flush(hpx_shard *shard)
{
    uint32_t count = 0;
    hpxi_server_conn *conn = shard->owner.servers.dirty;
    shard->owner.servers.dirty = NULL;
    while (conn != NULL) {
        hpxi_server_conn *next = conn->next_dirty;
        conn->on_dirty = false;
        conn->next_dirty = NULL;
        hpxi_server_flush(conn);
        conn = next;
        count++;
    }
    return count;
}

uint32_t hpxi_servers_settle(hpx_shard *shard)
{
    uint32_t count = 0;
    hpx_http_call *call = shard->owner.servers.calls;
    shard->owner.servers.calls = NULL;
    while (call != NULL) {
        hpx_http_call *next = call->next_settle;
        call->on_settle = false;
        call->next_settle = NULL;
        hpxi_server_conn *conn = call->conn;
        if (hpxi_call_settle(call)) { /* gone */
            hpxi_server_mark_settle(conn);
        }
        call = next;
        count++;
    }
    hpxi_server_conn *conn = shard->owner.servers.settle;
    shard->owner.servers.settle = NULL;
    while (conn != NULL) {
        hpxi_server_conn *next = conn->next_settle;
        conn->on_settle = false;
        conn->next_settle = NULL;
        hpxi_server_settle(conn); /* may free it, never another */
        conn = next;
        count++;
    }
    return count;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener.c - the server role: a listening socket of a shard, and its configuration.
 *
 * Threads   The shard's.
 * Memory    Reference counted by the app (until closed) and by each accepted connection.
 */
#include <string.h>

#include "engine/conn.h"
#include "engine/error.h"
#include "engine/listen.h"

static hpx_status listen_invalid(hpx_error *error, const char *what)
{
    return hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s", what);
}

static void listen_defaults(hpx_listen_config *config)
{
    HPXI_DEFAULT(config->backlog, 511);
    HPXI_DEFAULT(config->handshake_timeout_ns, 10 * HPX_NS_PER_S);
    HPXI_DEFAULT(config->close_timeout_ns, 500 * HPX_NS_PER_MS);
    HPXI_DEFAULT(config->message_bytes_max, UINT64_C(16) << 20);
    HPXI_DEFAULT(config->fragments_max, 65536);
    HPXI_DEFAULT(config->send_queue_bytes_max, UINT64_C(32) << 20);
    HPXI_DEFAULT(config->upgrade_bytes_max, 16u << 10);
    HPXI_DEFAULT(config->upgrade_headers_max, 100);
}

static hpx_status listen_check(const hpx_listen_config *config, hpx_error *error)
{
    if (config->address == NULL) {
        return listen_invalid(error, "address is NULL");
    }
    if (config->on_event == NULL) {
        return listen_invalid(error, "on_event is NULL");
    }
    if (config->flags != 0) {
        return listen_invalid(error, "flags must be 0");
    }
    if (config->subprotocol_count > HPXI_SUBPROTOCOLS_MAX ||
        (config->subprotocol_count != 0 && config->subprotocols == NULL)) {
        return listen_invalid(error, "subprotocol_count is over 16, or subprotocols is NULL");
    }
    if (config->message_bytes_max > UINT64_C(1) << 30) {
        return listen_invalid(error, "message_bytes_max is over 1 GiB");
    }
    if (config->upgrade_bytes_max > 256u << 10) {
        return listen_invalid(error, "upgrade_bytes_max is over 256 KiB");
    }
    if (config->receive_mode > HPX_RECEIVE_HOT) {
        return listen_invalid(error, "receive_mode is no hpx_receive_mode");
    }
    return HPX_OK;
}

static hpx_status listen_copy_strings(hpx_listener *listener, const hpx_listen_config *from)
{
    for (uint32_t i = 0; i < from->subprotocol_count; i++) {
        listener->strings_bytes += strlen(from->subprotocols[i]) + 1;
    }
    listener->config.address = NULL; /* used once, at listen */
    listener->config.subprotocols = listener->subprotocols;
    if (listener->strings_bytes == 0) {
        return HPX_OK;
    }
    listener->strings = hpxi_alloc(listener->shard->allocator, listener->strings_bytes, 1);
    if (listener->strings == NULL) {
        return HPX_E_NO_MEMORY;
    }
    char *at = listener->strings;
    for (uint32_t i = 0; i < from->subprotocol_count; i++) {
        const size_t bytes = strlen(from->subprotocols[i]) + 1;
        listener->subprotocols[i] = memcpy(at, from->subprotocols[i], bytes);
        at += bytes;
    }
    return HPX_OK;
}

void hpxi_listener_release(hpx_listener *listener)
{
    HPX_ASSERT(listener->refs > 0);
    if (--listener->refs != 0) {
        return;
    }
    const hpx_allocator *allocator = listener->shard->allocator;
    hpx_tls_context_release(listener->config.tls);
    hpxi_free(allocator, listener->strings, listener->strings_bytes);
    hpxi_free(allocator, listener, sizeof(*listener));
}

/* ---- Socket callbacks ------------------------------------------------------------------------ */

static void listener_on_accept(hpxi_sock *sock, int fd)
{
    hpx_listener *listener = sock->owner;
    if (fd >= 0) {
        hpxi_conn_accept(listener, fd);
    } /* else: out of descriptors, or the peer left at once; the accept goes on */
}

static void listener_on_gone(hpxi_sock *sock)
{
    hpxi_listener_release(sock->owner);
}

static const hpxi_sock_ops listener_ops = {
    .on_accept = listener_on_accept,
    .on_gone = listener_on_gone,
};

/* ---- Public ---------------------------------------------------------------------------------- */

hpx_status hpx_shard_listen(
    hpx_shard *shard, const hpx_listen_config *config, hpx_listener **out, hpx_error *error)
{
    *out = NULL;
    if (!hpxi_shard_is_owner(shard)) {
        return hpxi_error_set(
            error,
            HPX_E_THREAD,
            HPX_STAGE_CONFIG,
            "hpx_shard_listen is for the shard's own thread");
    }
    if (shard->owner.phase != HPXI_SHARD_RUNNING) {
        return hpxi_error_set(error, HPX_E_STATE, HPX_STAGE_CONFIG, "the shard is stopping");
    }
    if (config == NULL || config->size < offsetof(hpx_listen_config, tls)) {
        return listen_invalid(error, "config size is not set; use HPX_LISTEN_CONFIG_INIT");
    }
    hpx_listen_config full = HPX_LISTEN_CONFIG_INIT;
    memcpy(&full, config, config->size < sizeof(full) ? config->size : sizeof(full));
    listen_defaults(&full);
    hpx_status status = listen_check(&full, error);
    if (status != HPX_OK) {
        return status;
    }
    hpx_listener *listener =
        hpxi_alloc_zero(shard->allocator, sizeof(*listener), _Alignof(hpx_listener));
    if (listener == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    listener->shard = shard;
    listener->refs = 1;
    listener->config = full;
    if (full.tls != NULL) {
        hpxi_tls_context_retain(full.tls);
    }
    status = listen_copy_strings(listener, &full);
    if (status != HPX_OK) {
        (void)hpxi_error_set(error, status, HPX_STAGE_CONFIG, "no memory");
    } else {
        status = hpxi_listen(
            &shard->owner.socks,
            full.address,
            full.backlog,
            full.reuse_port,
            &listener_ops,
            listener,
            &listener->sock,
            &listener->port,
            error);
    }
    if (status != HPX_OK) {
        hpxi_listener_release(listener);
        return status;
    }
    listener->next = shard->owner.listeners;
    if (listener->next != NULL) {
        listener->next->prev = listener;
    }
    shard->owner.listeners = listener;
    *out = listener;
    return HPX_OK;
}

uint16_t hpx_listener_get_port(const hpx_listener *listener)
{
    return listener->port;
}

void hpx_listener_close(hpx_listener *listener)
{
    if (listener == NULL || listener->sock == NULL) {
        return;
    }
    HPXI_ASSERT_OWNER(listener->shard);
    if (listener->prev != NULL) {
        listener->prev->next = listener->next;
    } else {
        listener->shard->owner.listeners = listener->next;
    }
    if (listener->next != NULL) {
        listener->next->prev = listener->prev;
    }
    hpxi_sock *sock = listener->sock;
    listener->sock = NULL;
    hpxi_sock_close(sock); /* on_gone releases the listener */
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock_table.c - the slots that sockets live in.
 *
 * Role      A free list with generations. Which slot a socket gets says nothing about its past: a
 *           slot comes back only when nothing is in flight for it.
 * Threads   The shard's.
 * Memory    The table and the hot buffer at init. Send buffers grow on demand and stay with the
 * slot up to SOCK_KEEP_BYTES, so that reconnecting allocates nothing.
 */
#include "ring/net.h"
#include "ring/sock_internal.h"

#define SOCK_KEEP_BYTES ((size_t)256 * 1024) /* larger send buffers are freed with the socket */

bool hpxi_sock_is_valid(const hpxi_sock *sock)
{
    if (sock->inflight !=
        (uint32_t)sock->recv_armed + (uint32_t)sock->send_armed + (uint32_t)sock->wait_armed) {
        return false;
    }
    switch (sock->state) {
    case HPXI_SOCK_FREE:
        return sock->inflight == 0 && sock->fd == -1;
    case HPXI_SOCK_LISTENING:
    case HPXI_SOCK_CONNECTING:
        return sock->fd >= 0 && !sock->recv_armed && !sock->send_armed && !sock->receiving;
    case HPXI_SOCK_OPEN:
        return sock->fd >= 0 && !sock->wait_armed && !(sock->hot && sock->recv_armed);
    case HPXI_SOCK_CLOSING:
        return sock->fd >= 0 && !sock->receiving && !sock->hot;
    }
    return false;
}

hpx_status hpxi_socks_init(
    hpxi_socks *socks,
    const hpxi_socks_config *config,
    hpxi_ring *ring,
    hpxi_counters *counters,
    const hpx_allocator *allocator)
{
    HPX_ASSERT(config->capacity != 0);
    HPX_ASSERT(config->hot_max == 0 || config->hot_bytes != 0);
    *socks = (hpxi_socks){
        .ring = ring,
        .counters = counters,
        .allocator = allocator,
        .config = *config,
    };
    socks->table =
        hpxi_alloc_zero(allocator, sizeof(hpxi_sock) * config->capacity, alignof(hpxi_sock));
    bool complete = socks->table != NULL;
    if (config->hot_max != 0) {
        socks->hot =
            hpxi_alloc_zero(allocator, config->hot_max * sizeof(hpxi_sock *), sizeof(hpxi_sock *));
        socks->hot_buffer = hpxi_alloc_zero(allocator, config->hot_bytes, 64);
        complete = complete && socks->hot != NULL && socks->hot_buffer != NULL;
    }
    if (!complete) {
        hpxi_socks_fini(socks);
        return HPX_E_NO_MEMORY;
    }
    for (uint32_t i = config->capacity; i-- > 0;) {
        hpxi_sock *sock = &socks->table[i];
        sock->socks = socks;
        sock->index = i;
        sock->fd = -1;
        hpxi_buf_init(&sock->out, allocator);
        hpxi_buf_init(&sock->fly, allocator);
        sock->next_free = socks->free_list;
        socks->free_list = sock;
    }
    return HPX_OK;
}

void hpxi_socks_fini(hpxi_socks *socks)
{
    for (uint32_t i = 0; socks->table != NULL && i < socks->config.capacity; i++) {
        hpxi_sock *sock = &socks->table[i];
        if (sock->socks == NULL) {
            break; /* init failed before it came here */
        }
        if (sock->fd >= 0) {
            hpxi_net_close(sock->fd);
        }
        hpxi_buf_fini(&sock->out);
        if (!sock->send_armed) {
            hpxi_buf_fini(&sock->fly);
        }
    }
    const hpxi_socks_config *config = &socks->config;
    hpxi_free(socks->allocator, socks->table, config->capacity * sizeof(hpxi_sock));
    hpxi_free(socks->allocator, socks->hot, config->hot_max * sizeof(hpxi_sock *));
    hpxi_free(socks->allocator, socks->hot_buffer, config->hot_bytes);
    socks->table = NULL;
    socks->hot = NULL;
    socks->hot_buffer = NULL;
}

/* What belongs to the lists stays: the slot may still be on them. */
hpxi_sock *hpxi_sock_take(
    hpxi_socks *socks, int fd, hpxi_sock_state state, const hpxi_sock_ops *ops, void *owner)
{
    HPX_ASSERT(fd >= 0 && ops != NULL && ops->on_gone != NULL);
    hpxi_sock *sock = socks->free_list;
    if (sock == NULL) {
        return NULL;
    }
    HPX_ASSERT(sock->state == HPXI_SOCK_FREE && sock->inflight == 0);
    HPX_ASSERT(hpxi_buf_size(&sock->out) == 0 && hpxi_buf_size(&sock->fly) == 0);
    socks->free_list = sock->next_free;
    socks->open_count++;
    sock->owner = owner;
    sock->ops = ops;
    sock->fd = fd;
    sock->state = state;
    sock->hot = false;
    sock->receiving = false;
    sock->finishing = false;
    sock->write_shut = false;
    sock->send_failed = false;
    sock->ended = false;
    sock->end_owed = 0;
    sock->drain_owed = false;
    sock->cancel_owed = false;
    sock->stuck = false;
    sock->paused = false;
    sock->end_result = 0;
    sock->sent_bytes = 0;
    return sock;
}

static void sock_buf_reset(hpxi_buf *buf)
{
    hpxi_buf_consume(buf, hpxi_buf_size(buf));
    if (buf->capacity > SOCK_KEEP_BYTES) {
        hpxi_buf_fini(buf);
    }
}

void hpxi_sock_give_back(hpxi_sock *sock)
{
    HPX_ASSERT(sock->state == HPXI_SOCK_CLOSING && sock->inflight == 0);
    HPX_ASSERT(sock->fd == -1 && !sock->hot);
    sock_buf_reset(&sock->out);
    sock_buf_reset(&sock->fly);
    sock->state = HPXI_SOCK_FREE;
    sock->generation = (sock->generation + 1) & HPXI_GENERATION_MASK;
    sock->owner = NULL;
    sock->ops = NULL;
    sock->next_free = sock->socks->free_list;
    sock->socks->free_list = sock;
    HPX_ASSERT(sock->socks->open_count != 0);
    sock->socks->open_count--;
    HPX_XASSERT(hpxi_sock_is_valid(sock));
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock_internal.h - what sock.c and sock_table.c share: slots of the table, and the lists.
 *
 * A list holds a socket at most once, whatever its state; the flag of the same name says so.
 */
#ifndef HPXI_SOCK_INTERNAL_H
#define HPXI_SOCK_INTERNAL_H

#include "ring/sock.h"

/* The invariant of a socket between two calls. */
bool hpxi_sock_is_valid(const hpxi_sock *sock);

/* A fresh socket, or NULL when all are in use. */
hpxi_sock *hpxi_sock_take(
    hpxi_socks *socks, int fd, hpxi_sock_state state, const hpxi_sock_ops *ops, void *owner);

/* After on_gone: the slot is free, its generation the next. */
void hpxi_sock_give_back(hpxi_sock *sock);

static inline void hpxi_sock_push_settle(hpxi_sock *sock)
{
    if (!sock->settle) {
        sock->settle = true;
        sock->next_settle = sock->socks->settle_list;
        sock->socks->settle_list = sock;
    }
}

static inline void hpxi_sock_push_dirty(hpxi_sock *sock)
{
    hpxi_socks *socks = sock->socks;
    if (sock->dirty) {
        return;
    }
    sock->dirty = true;
    sock->next_dirty = NULL;
    if (socks->dirty_list == NULL) {
        socks->dirty_list = sock;
    } else {
        socks->dirty_tail->next_dirty = sock;
    }
    socks->dirty_tail = sock;
}

static inline void hpxi_sock_push_rearm(hpxi_sock *sock)
{
    hpxi_socks *socks = sock->socks;
    if (sock->rearm) {
        return;
    }
    sock->rearm = true;
    sock->next_rearm = NULL;
    if (socks->rearm_list == NULL) {
        socks->rearm_list = sock;
    } else {
        socks->rearm_tail->next_rearm = sock;
    }
    socks->rearm_tail = sock;
}

#endif /* HPXI_SOCK_INTERNAL_H */

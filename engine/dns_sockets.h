/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_sockets.h - c-ares' sockets, made through ring/net.h and watched by the shard's ring.
 *
 * Role      Hands c-ares its socket functions and its socket-state callback, and gives c-ares the
 *           sockets that have become ready. Knows nothing of names and answers.
 * Threads   The shard's.
 * Memory    A fixed table: c-ares 1.18 has two sockets per name server, newer versions one for each
 *           question that is asked again after a timeout. An entry is taken when c-ares makes a
 *           socket. When c-ares closes it the poll is cancelled and the descriptor closed at once,
 *           but the entry is free again only after the poll's final completion:
 *
 *             free -> open -> polled -> closed, final completion awaited -> free
 *                      |         ^ |
 *                      |         +-+ the poll ended by itself: armed again
 *                      +-> free
 *
 * Polls are multishot, and such polls report edges: what has become ready is remembered until
 * c-ares has met EAGAIN.
 */
#ifndef HPXI_DNS_SOCKETS_H
#define HPXI_DNS_SOCKETS_H

#define CARES_NO_DEPRECATED /* ares_set_socket_functions(): its successor came with 1.34 */
#include <ares.h>

#include "engine/resolver.h"

typedef struct hpxi_dns_socket {
    int fd; /* -1: none */
    uint32_t generation;
    bool is_stream;
    bool polled; /* a poll is in flight: its final completion has not come */
    bool wanted; /* c-ares wants to hear of it */
    bool wants_write;
    bool readable;
    bool writable;
    bool touched; /* c-ares has used it since this was last cleared */
    int error;    /* errno that the next receive shall report; 0: none */
} hpxi_dns_socket;

typedef struct hpxi_dns_sockets {
    hpxi_ring *ring;
    bool backlog; /* a socket is ready, and hpxi_dns_sockets_pump() has not finished with it */
    hpxi_dns_socket table[HPXI_RESOLVER_POLLS_MAX];
} hpxi_dns_sockets;

void hpxi_dns_sockets_init(hpxi_dns_sockets *sockets, hpxi_ring *ring);

/* Name the state callback in the options of a channel to be made; then, before its first query,
 * give it the socket functions. */
void hpxi_dns_sockets_options(
    hpxi_dns_sockets *sockets, struct ares_options *options, int *option_mask);
void hpxi_dns_sockets_attach(hpxi_dns_sockets *sockets, ares_channel channel);

/* Take a completion of HPXI_OP_POLL. True when a socket has become ready: to be pumped. */
bool hpxi_dns_sockets_completion(hpxi_dns_sockets *sockets, const hpxi_completion *completion);

/* Let c-ares use the ready sockets; this may call its callbacks. There is a backlog afterwards when
 * a socket has had its share for now. */
void hpxi_dns_sockets_pump(hpxi_dns_sockets *sockets, ares_channel channel);

/* Arm the polls that ended with an error. To be called now and then, not in a tight loop. */
void hpxi_dns_sockets_rearm(hpxi_dns_sockets *sockets);

/* Polls in flight. */
uint32_t hpxi_dns_sockets_polls(const hpxi_dns_sockets *sockets);

#endif /* HPXI_DNS_SOCKETS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dial.h - from a host name to a connected socket: resolve, then race the addresses (RFC 8305).
 *
 *   IDLE -> RESOLVING -> RACING -> IDLE     (one callback: connected or failed)
 *
 * Role      Attempts start HPXI_DIAL_STAGGER_NS apart, or at once when the one before failed. The
 *           first to connect wins; the others are closed.
 * Threads   The shard's.
 * Memory    A member of the connection; needs none of its own.
 */
#ifndef HPXI_DIAL_H
#define HPXI_DIAL_H

#include "engine/resolver.h"
#include "ring/sock.h"
#include "ring/wheel.h"

#define HPXI_DIAL_STAGGER_NS (250 * HPX_NS_PER_MS) /* RFC 8305 section 5 */

typedef enum hpxi_dial_state {
    HPXI_DIAL_IDLE,
    HPXI_DIAL_RESOLVING,
    HPXI_DIAL_RACING,
} hpxi_dial_state;

typedef struct hpxi_dial hpxi_dial;

/* None of them is called from inside hpxi_dial_start() or hpxi_dial_cancel(). */
typedef struct hpxi_dial_ops {
    void (*on_resolved)(hpxi_dial *dial);
    void (*on_connected)(hpxi_dial *dial, hpxi_sock *sock); /* now the callee's: set its owner */
    void (*on_failed)(hpxi_dial *dial, const hpx_error *error);
} hpxi_dial_ops;

typedef struct hpxi_dial_config {
    const char *host;
    uint16_t port;
    const hpxi_addresses *override; /* count 0: resolve */
    uint64_t resolve_timeout_ns;
    uint64_t connect_timeout_ns; /* all addresses together */
    uint32_t busy_poll_us;
} hpxi_dial_config;

struct hpxi_dial {
    hpxi_dial_state state;
    const hpxi_dial_ops *ops;
    void *owner;
    hpxi_socks *socks;
    hpxi_wheel *wheel;
    const uint64_t *now_ns;
    hpxi_dial_config config;
    hpxi_query query;
    hpxi_timer stagger;
    hpxi_timer deadline;
    hpxi_addresses addresses;
    uint32_t next;   /* address to try next */
    uint32_t active; /* attempts in flight */
    hpxi_sock *attempts[HPXI_ADDRESSES_MAX];
    hpx_error error; /* of the last failed attempt */
};

void hpxi_dial_init(
    hpxi_dial *dial,
    const hpxi_dial_ops *ops,
    void *owner,
    hpxi_socks *socks,
    hpxi_wheel *wheel,
    const uint64_t *now_ns);

/* `config` is copied; host and override are borrowed until the end. */
void hpxi_dial_start(hpxi_dial *dial, hpxi_resolver *resolver, const hpxi_dial_config *config);

/* Stop, without a callback. Nothing if idle. */
void hpxi_dial_cancel(hpxi_dial *dial);

#endif /* HPXI_DIAL_H */

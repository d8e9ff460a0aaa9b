/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peers.h - the other end of the end-to-end benchmarks: raw spinning loops on a thread of their
 * own, with nothing of the engine in them but the TLS session and the accept hash.
 */
#ifndef HPX_BENCH_PEERS_H
#define HPX_BENCH_PEERS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum peer_kind {
    PEER_RAW_ECHO,  /* sends back what it receives */
    PEER_WS_ECHO,   /* answers the upgrade, then sends each small frame back unmasked */
    PEER_WSS_ECHO,  /* the same over TLS 1.3 */
    PEER_RAW_FLOOD, /* after one byte: 64 KiB of WebSocket frames per send(), for ever */
    PEER_WS_FLOOD,  /* the same after an upgrade */
} peer_kind;

#define PEER_FLOOD_PAYLOAD 200u /* binary; with its header a frame is 204 bytes */
#define PEER_FLOOD_BATCH   (64u << 10)

typedef struct peer peer;

/* Listens on a free port of 127.0.0.1 and runs on a thread pinned to `cpu` (if there is one). */
peer *peer_start(peer_kind kind, int cpu);
uint16_t peer_port(const peer *p);
/* PEM of the CA that signs the TLS peers' certificate; a path. */
const char *peer_ca_file(void);
/* And its key: they serve as a server's certificate, too. */
const char *peer_key_file(void);
void peer_stop(peer *p);

void peer_pin_self(int cpu);

#ifdef __cplusplus
}
#endif

#endif /* HPX_BENCH_PEERS_H */

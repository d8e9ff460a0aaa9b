/* SPDX-License-Identifier: Apache-2.0 */
/* bench_loopback.h - clients of the end-to-end benchmarks, in C for the C++ harness. */
#ifndef HPX_BENCH_LOOPBACK_H
#define HPX_BENCH_LOOPBACK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum client_kind {
    CLIENT_RAW,          /* send() and recv(MSG_DONTWAIT) spinning: the floor */
    CLIENT_RAW_BLOCKING, /* send() and recv() blocking */
    CLIENT_WS_MULTISHOT,
    CLIENT_WS_HOT,
    CLIENT_WSS_MULTISHOT,
    CLIENT_WSS_HOT,
    CLIENT_WS_SLEEP, /* multishot, wait mode SLEEP */
} client_kind;

typedef struct client client;

/* The engine's receive slots; 0: its defaults. */
typedef struct slot_sizes {
    uint32_t bytes;
    uint32_t count;
} slot_sizes;

/* Connects (and upgrades). */
client *client_open(client_kind kind, uint16_t port, slot_sizes slots);
void client_close(client *c);

/* `count` round trips of `bytes`-byte binary messages; each one's nanoseconds in samples. */
void client_ping(client *c, size_t bytes, uint32_t count, uint64_t *samples);

/* What a flood of frames cost: taken for `ns` nanoseconds. */
typedef struct flood_result {
    uint64_t messages;
    uint64_t bytes; /* payload */
    uint64_t wall_ns;
    uint64_t cpu_ns; /* of the receiving thread */
} flood_result;

void client_flood(client *c, uint64_t ns, flood_result *out);

#ifdef __cplusplus
}
#endif

#endif /* HPX_BENCH_LOOPBACK_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polled.h - an engine of one shard that the calling thread drives itself.
 */
#ifndef HPX_TOOL_POLLED_H
#define HPX_TOOL_POLLED_H

#include <hpx/hpx.h>

#define POLLED_CPU_NONE UINT32_MAX

typedef struct polled {
    hpx_engine *engine;
    hpx_shard *shard;
} polled;

typedef struct polled_config {
    uint32_t cpu; /* POLLED_CPU_NONE: not pinned */
    hpx_wait_mode wait_mode;
    uint32_t connections_max; /* 0: the engine's default */
} polled_config;

/* Make, start and attach. On failure `out` is all zero. */
hpx_status polled_open(polled *out, const polled_config *config, hpx_error *error);

/* Close what is connected (until timeout_ns) and free the engine. All zero is a no-op. */
void polled_close(polled *open, uint64_t timeout_ns);

/*
 * Listen. `out` (capacity bytes) is set to HOST:PORT with the port that was bound, which matters
 * for port 0.
 */
hpx_status polled_listen(
    polled *server, const hpx_listen_config *config, char *out, size_t capacity, hpx_error *error);

#endif /* HPX_TOOL_POLLED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring_setup.h - opening an io_uring as every shard needs it, or saying why that is impossible.
 *
 * Role      Shared by hpxi_ring_new() and hpx_system_probe_uring(), so that what the probe says is
 *           what the engine does. Features and operations are tried, versions are never compared.
 * Threads   The opened ring belongs to the calling thread.
 */
#ifndef HPXI_URING_SETUP_H
#define HPXI_URING_SETUP_H

#include <stdbool.h>
#include <stdint.h>

#include <hpx/base.h>

struct io_uring;

#define HPXI_URING_MISSING_BYTES 128

/* What was found out, as far as opening got. */
typedef struct hpxi_uring_facts {
    int32_t disabled_sysctl; /* kernel.io_uring_disabled, or -1 when there is no such file */
    uint32_t features;       /* IORING_FEAT_* */
    bool defer_taskrun;
    bool provided_buffers;
    bool multishot_recv;
    bool no_iowait;
    char missing_ops[HPXI_URING_MISSING_BYTES]; /* names, separated by a blank, or "" */
} hpxi_uring_facts;

/*
 * Open and try out. On success `out` is ready for operations (its descriptor is not registered
 * yet); on failure it is closed and `error` names cause and remedy.
 */
hpx_status hpxi_uring_open(
    struct io_uring *out,
    uint32_t sq_entries,
    uint32_t cq_entries,
    hpxi_uring_facts *facts,
    hpx_error *error);

/* Translate -errno of the call named `what` into a status, with cause and remedy in `error`. */
hpx_status hpxi_uring_explain(int result, const char *what, hpx_error *error);

#endif /* HPXI_URING_SETUP_H */

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * system.h - what this machine and this build can do: the facts behind `hpx doctor`.
 *
 * Role      Probes io_uring as a shard would use it, and tells how the library was built.
 * Threads   Any thread. Opens and closes a small ring of its own.
 */
#ifndef HPX_SYSTEM_H
#define HPX_SYSTEM_H

#include <hpx/base.h>

HPX_EXTERN_C_BEGIN

/** Result of probing io_uring. `status` is what hpx_engine_start() would return. */
typedef struct hpx_uring_probe {
    hpx_status status;       /* HPX_OK, or HPX_E_URING_*, HPX_E_MEMLOCK */
    hpx_error error;         /* cause and remedy when status is not HPX_OK */
    int32_t disabled_sysctl; /* kernel.io_uring_disabled: 0, 1, 2; -1 if there is no such file */
    uint32_t features;       /* IORING_FEAT_* bits */
    bool defer_taskrun;
    bool multishot_recv;
    bool provided_buffers;
    bool no_iowait;
    char missing_ops[128]; /* names of required operations that are missing, or "" */
    char liburing_version[16];
} hpx_uring_probe;

/** Probe. @thread any @blocks for some system calls @returns out->status */
HPX_API hpx_status hpx_system_probe_uring(hpx_uring_probe *out);

/** How TLS was built. Strings are static. */
typedef struct hpx_tls_build {
    const char *version;      /* wolfSSL's, e.g. "5.7.2" */
    bool has_assembly;        /* AES-NI / vector code compiled in */
    bool verifies_by_default; /* built without OPENSSL_COMPATIBLE_DEFAULTS */
} hpx_tls_build;

/** Tell how TLS was built. @thread any */
HPX_API void hpx_system_tls_build(hpx_tls_build *out);

/** Version string of the library. @thread any */
HPX_API const char *hpx_version(void);

HPX_EXTERN_C_END
#endif /* HPX_SYSTEM_H */

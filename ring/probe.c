/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - hpx_system_probe_uring(): opens a ring as a shard would, and tells what came of it. */
#include <liburing.h>
#include <stdio.h>
#include <string.h>

#include <hpx/system.h>

#include "ring/assert.h"
#include "ring/uring_setup.h"

#define PROBE_SQ_ENTRIES 256u /* as a shard's: memory limits should show here, not later */
#define PROBE_CQ_ENTRIES 4096u

hpx_status hpx_system_probe_uring(hpx_uring_probe *out)
{
    HPX_ASSERT(out != NULL);
    *out = (hpx_uring_probe){0};
    struct io_uring uring;
    hpxi_uring_facts facts;
    out->status = hpxi_uring_open(&uring, PROBE_SQ_ENTRIES, PROBE_CQ_ENTRIES, &facts, &out->error);
    if (out->status == HPX_OK) {
        io_uring_queue_exit(&uring);
    }
    out->disabled_sysctl = facts.disabled_sysctl;
    out->features = facts.features;
    out->defer_taskrun = facts.defer_taskrun;
    out->multishot_recv = facts.multishot_recv;
    out->provided_buffers = facts.provided_buffers;
    out->no_iowait = facts.no_iowait;
    /* The names follow a blank each. */
    snprintf(
        out->missing_ops,
        sizeof(out->missing_ops),
        "%s",
        facts.missing_ops[0] == '\0' ? "" : facts.missing_ops + 1);
    snprintf(
        out->liburing_version,
        sizeof(out->liburing_version),
        "%d.%d",
        io_uring_major_version(),
        io_uring_minor_version());
    return out->status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* gauges.h - what a shard holds, from its inside. */
#ifndef HPX_TESTS_SIM_GAUGES_H
#define HPX_TESTS_SIM_GAUGES_H

#include <hpx/engine.h>

typedef struct sim_gauges {
    uint64_t timers;     /* set */
    uint32_t slots_home; /* receive slots not in use */
    uint32_t inflight;   /* operations */
    bool quiet;          /* no connection, no socket */
} sim_gauges;

sim_gauges gauges_read(const hpx_shard *shard);

#endif /* HPX_TESTS_SIM_GAUGES_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* gauges.c - apart from the rest of the bed, as it needs the engine's own headers. */
#include "gauges.h"

#include "engine/shard.h"

sim_gauges gauges_read(const hpx_shard *shard)
{
    return (sim_gauges){
        .timers = shard->owner.wheel.count,
        .slots_home = hpxi_ring_slots_home(shard->owner.ring),
        .inflight = hpxi_ring_inflight(shard->owner.ring),
        .quiet = hpxi_shard_is_quiet(shard),
    };
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polled.c - an engine of one shard that the calling thread drives itself.
 */
#include "polled.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

hpx_status polled_open(polled *out, const polled_config *config, hpx_error *error)
{
    *out = (polled){0};
    const uint32_t cpu = config->cpu;
    hpx_engine_config engine_config = HPX_ENGINE_CONFIG_INIT;
    engine_config.shard_count = 1;
    engine_config.shard_mode = HPX_SHARDS_POLLED;
    engine_config.wait_mode = config->wait_mode;
    engine_config.connections_max = config->connections_max;
    if (cpu != POLLED_CPU_NONE) {
        engine_config.cpus = &cpu;
        engine_config.cpu_count = 1;
    }
    hpx_status status = hpx_engine_new(&out->engine, &engine_config, error);
    if (status == HPX_OK) {
        status = hpx_engine_start(out->engine, error);
    }
    if (status == HPX_OK) {
        hpx_shard *shard = hpx_engine_shard(out->engine, 0);
        status = hpx_shard_attach(shard, error);
        out->shard = status == HPX_OK ? shard : NULL;
    }
    if (status != HPX_OK) {
        polled_close(out, 0);
    }
    return status;
}

void polled_close(polled *open, uint64_t timeout_ns)
{
    if (open->shard != NULL) {
        hpx_shard_detach_wait(open->shard, timeout_ns);
    }
    hpx_engine_free(open->engine);
    *open = (polled){0};
}

hpx_status polled_listen(
    polled *server, const hpx_listen_config *config, char *out, size_t capacity, hpx_error *error)
{
    assert(server->shard != NULL);
    hpx_listener *listener = NULL;
    const hpx_status status = hpx_shard_listen(server->shard, config, &listener, error);
    if (status != HPX_OK) {
        return status;
    }
    const char *colon = strrchr(config->address, ':');
    assert(colon != NULL); /* or hpx_shard_listen() had refused it */
    snprintf(
        out,
        capacity,
        "%.*s:%u",
        (int)(colon - config->address),
        config->address,
        (unsigned)hpx_listener_get_port(listener));
    return HPX_OK;
}

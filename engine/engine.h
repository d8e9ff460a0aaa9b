/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine.h - the engine: configuration, shards, ports' table.
 *
 * Threads   `setup_lock` serialises set-up only (opening ports, the default TLS context); nothing
 *           on a message's way takes it.
 */
#ifndef HPXI_ENGINE_H
#define HPXI_ENGINE_H

#include "engine/shard.h"

typedef enum hpxi_engine_phase {
    HPXI_ENGINE_NEW,
    HPXI_ENGINE_STARTED,
    HPXI_ENGINE_STOPPED,
} hpxi_engine_phase;

struct hpx_engine {
    hpxi_counting_allocator memory;
    hpx_engine_config config; /* defaults filled in; strings and arrays are the engine's */
    char name[16];
    char *dns_servers;
    size_t dns_servers_bytes;
    uint32_t cpus[HPXI_SHARDS_MAX];
    hpxi_engine_phase phase;
    hpx_shard *shards; /* [config.shard_count] */
    pthread_mutex_t setup_lock;
    hpx_port *ports[HPXI_PORTS_MAX];
    hpx_tls_context *default_tls; /* system roots, made on first use */
};

/* The engine's default client context; a reference for the caller. Any thread. */
hpx_status hpxi_engine_default_tls(hpx_engine *engine, hpx_tls_context **out, hpx_error *error);

/* Pin the calling thread to `cpu`, or say why not (HPX_E_CPU, naming the CPUs allowed). */
hpx_status hpxi_thread_pin(uint32_t cpu, hpx_error *error);
void hpxi_thread_name(const char *prefix, uint32_t index);

#endif /* HPXI_ENGINE_H */

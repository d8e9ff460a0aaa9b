/* SPDX-License-Identifier: Apache-2.0 */
/**
 * engine.h - the engine, its shards, and the ports through which other threads talk to them.
 *
 * Role      A shard is one thread with one io_uring; a connection lives on one shard for its whole
 *           life. The engine starts the shard threads, or the app drives each shard itself with
 *           hpx_shard_poll() from a thread that it pinned.
 * Threads   Functions say @thread any (any thread), setup (one thread, before start or after
 *           stop), owner (only the shard's own thread: the engine's, or the one that attached),
 *           port (only the thread that opened the port).
 * Memory    Everything is sized by hpx_engine_config and taken at start; see docs/memory.md.
 */
#ifndef HPX_ENGINE_H
#define HPX_ENGINE_H

#include <hpx/base.h>

HPX_EXTERN_C_BEGIN

typedef struct hpx_engine hpx_engine;
typedef struct hpx_shard hpx_shard;
typedef struct hpx_port hpx_port;

typedef enum hpx_shard_mode {
    HPX_SHARDS_THREADS = 0, /* hpx_engine_start() starts one thread per shard */
    HPX_SHARDS_POLLED,      /* the app attaches its own thread to each shard and polls */
} hpx_shard_mode;

typedef enum hpx_wait_mode {
    HPX_WAIT_DEFAULT = 0,     /* spin if cpus are given, else spin then sleep */
    HPX_WAIT_SPIN,            /* never sleep: lowest latency, one core at 100 % */
    HPX_WAIT_SPIN_THEN_SLEEP, /* spin for spin_ns after the last work, then sleep */
    HPX_WAIT_SLEEP,           /* sleep as soon as there is nothing to do */
} hpx_wait_mode;

/** Start from HPX_ENGINE_CONFIG_INIT. A zero member means its default. */
typedef struct hpx_engine_config {
    uint32_t size;
    uint32_t flags;       /* reserved, 0 */
    const char *name;     /* prefix of thread names, up to 11 bytes; default "hpx" */
    uint32_t shard_count; /* 1..64, default 1 */
    hpx_shard_mode shard_mode;
    hpx_wait_mode wait_mode;
    uint64_t spin_ns;             /* SPIN_THEN_SLEEP only; default 50 us */
    const uint32_t *cpus;         /* borrowed for the call: CPU of shard i; NULL: not pinned */
    uint32_t cpu_count;           /* shard_count, or 0 with cpus NULL */
    uint32_t ports_max;           /* 1..256, default 16 */
    uint32_t connections_max;     /* sockets per shard, 8..65536, default 1024 */
    uint32_t hot_connections_max; /* per shard, 1..64, default 8 */
    uint32_t recv_slot_bytes;     /* 2 KiB..1 MiB, power of two; default 32 KiB */
    uint32_t recv_slot_count;     /* 8..32768, power of two; default 64 */
    uint32_t sq_entries;          /* 8..4096, power of two; default 256 */
    uint32_t cq_entries;          /* >= 2 * sq_entries, power of two; default 4096 */
    const char *dns_servers;      /* "ADDR[:PORT],..."; NULL: the system's (resolv.conf) */
    uint32_t dns_cache_entries;   /* 0..4096, default 256 */
    hpx_allocator allocator;      /* zero: the library's own */
    /** Called on each shard's thread once it runs (THREADS) or attached (POLLED), before its
     *  first turn: the place to listen and to open inline connections. May be NULL. */
    void (*on_shard_start)(hpx_shard *shard, void *user);
    void *user;                     /* borrowed, given to on_shard_start */
    uint32_t tls_session_hosts_max; /* per shard, 1..65536, default 256: servers of which TLS
                                     * sessions are kept to resume; the least recently used goes */
} hpx_engine_config;

#define HPX_ENGINE_CONFIG_INIT                                                                     \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_engine_config)                                                \
    }

/**
 * Check the config and make an engine. Starts no thread, opens no ring.
 *
 * @param out    set on success, NULL on failure; released with hpx_engine_free()
 * @param config copied (with its strings and arrays); NULL means defaults
 * @param error  may be NULL; on failure names the bad member
 * @thread   any   @blocks never
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status
hpx_engine_new(hpx_engine **out, const hpx_engine_config *config, hpx_error *error);

/**
 * THREADS mode: start every shard's thread and wait until each has its io_uring and its pin.
 * POLLED mode: marks the engine started; shards come up in hpx_shard_attach().
 * If one shard fails, all are stopped again and the error says what failed and what to do.
 *
 * @thread   setup   @blocks until the shards are up (milliseconds)
 * @returns  HPX_OK, HPX_E_STATE, HPX_E_CPU, HPX_E_URING_DISABLED, HPX_E_URING_BLOCKED,
 *           HPX_E_URING_UNSUPPORTED, HPX_E_MEMLOCK, HPX_E_NO_MEMORY, -errno
 */
HPX_API HPX_NODISCARD hpx_status hpx_engine_start(hpx_engine *engine, hpx_error *error);

/**
 * Close every connection in its protocol's own way, at most until `timeout_ns`, then abort what is
 * left, and join the shard threads. Each connection still gets its Closed event (inline: on the
 * shard; stream: readable afterwards). In POLLED mode detach the shards first.
 *
 * @thread   setup
 * @returns  HPX_OK, HPX_E_TIMEOUT (connections had to be aborted), HPX_E_STATE
 */
HPX_API hpx_status hpx_engine_stop_wait(hpx_engine *engine, uint64_t timeout_ns);

/** Free a stopped (or never started) engine; a running one is stopped first with timeout 0.
 *  Close ports and release handles and streams before. NULL is a no-op. @thread setup
 *  @blocks only if the engine still ran */
HPX_API void hpx_engine_free(hpx_engine *engine);

/** Number of shards. @thread any */
HPX_API uint32_t hpx_engine_shard_count(const hpx_engine *engine);

/** Shard `index` (< shard_count, else NULL). Borrowed: lives as long as the engine. @thread any */
HPX_API hpx_shard *hpx_engine_shard(hpx_engine *engine, uint32_t index);

/**
 * POLLED mode: make the calling thread this shard's owner and create its ring. Pins the thread if
 * the config names a CPU for the shard.
 *
 * @thread   any one thread; it is the shard's owner until hpx_shard_detach_wait()
 * @returns  as hpx_engine_start()
 */
HPX_API HPX_NODISCARD hpx_status hpx_shard_attach(hpx_shard *shard, hpx_error *error);

/** POLLED mode: close all connections (until timeout_ns, then abort) and give the ring back.
 *  @thread owner @returns HPX_OK, HPX_E_TIMEOUT (aborted some) */
HPX_API hpx_status hpx_shard_detach_wait(hpx_shard *shard, uint64_t timeout_ns);

/**
 * POLLED mode: one turn of the loop: commands, receives, timers, sends. Never blocks.
 *
 * @thread   owner (not from inside an event handler)
 * @returns  > 0 the amount of work done, 0 idle, HPX_E_STATE not attached
 */
HPX_API int hpx_shard_poll(hpx_shard *shard);

/** POLLED mode: as hpx_shard_poll(), but if there is nothing to do waits as the wait mode says,
 *  at most timeout_ns. @thread owner @returns as hpx_shard_poll() */
HPX_API int hpx_shard_poll_wait(hpx_shard *shard, uint64_t timeout_ns);

/** End a hpx_shard_poll_wait() of the shard early. @thread any (also a signal handler) */
HPX_API void hpx_shard_wake(hpx_shard *shard);

/** The shard's clock, read once per turn: CLOCK_MONOTONIC in nanoseconds. @thread owner */
HPX_API uint64_t hpx_shard_now_ns(const hpx_shard *shard);

/** Index of the shard in its engine. @thread any */
HPX_API uint32_t hpx_shard_index(const hpx_shard *shard);

/** Counters of one shard, since start. Written by the shard alone, readable by anyone. */
typedef struct hpx_shard_stats {
    uint64_t turns;      /* turns of the loop */
    uint64_t turns_busy; /* turns that found work */
    uint64_t enters;     /* io_uring_enter calls */
    uint64_t sleeps;     /* enters that waited */
    uint64_t bytes_received;
    uint64_t bytes_sent;
    uint64_t recv_syscalls;     /* inline recv calls (hot mode) */
    uint64_t send_syscalls;     /* inline send calls */
    uint64_t send_fallbacks;    /* sends that went through a SEND SQE */
    uint64_t messages_received; /* WebSocket messages delivered */
    uint64_t messages_sent;
    uint64_t messages_dropped; /* not delivered because a stream's ring was full */
    uint64_t no_buffers;       /* receives that ended with ENOBUFS and were re-armed */
    uint64_t cq_overflows;
    uint64_t stale_completions; /* completions of an earlier use of a socket slot */
    uint64_t stale_commands;    /* commands of a released handle */
    uint64_t connections;       /* sockets open now */
    uint64_t allocations;       /* calls of the allocator */
    uint64_t turn_ns_max;       /* longest busy turn since start */
    uint64_t wakes;             /* doorbell writes to ports */
} hpx_shard_stats;

/** Copy the shard's counters. @thread any @blocks never */
HPX_API void hpx_shard_get_stats(const hpx_shard *shard, hpx_shard_stats *out);

/** Start from HPX_PORT_CONFIG_INIT. A zero member means its default. */
typedef struct hpx_port_config {
    uint32_t size;
    uint32_t flags;              /* reserved, 0 */
    uint32_t control_ring_bytes; /* per shard, power of two, 4 KiB..16 MiB; default 64 KiB */
    uint32_t data_ring_bytes;    /* per shard, power of two, 64 KiB..1 GiB; default 1 MiB */
    uint32_t handles_max;        /* handles open at once, 1..65536, default 256 */
} hpx_port_config;

#define HPX_PORT_CONFIG_INIT                                                                       \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_port_config)                                                  \
    }

/**
 * Open this thread's way into the engine. One port per thread; everything made on it (handles,
 * streams) belongs to the same thread.
 *
 * @thread   any; the caller becomes the port's thread   @blocks never
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_STATE (engine not started), HPX_E_LIMIT (ports_max; a
 *           closed port counts until every shard has let go of it, within a turn),
 *           HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status
hpx_port_open(hpx_port **out, hpx_engine *engine, const hpx_port_config *config, hpx_error *error);

/**
 * A descriptor that polls readable when anything on the port can be taken (events of streams,
 * updates of subscriptions, replies of handles), for the app's own poll or epoll loop. After it
 * polled readable, call the `next` functions of the objects you use until they return 0: that
 * re-arms it. Do not read or close it.
 *
 * @thread   port   @returns >= 0 the descriptor
 */
HPX_API int hpx_port_fd(hpx_port *port);

/** Wait until anything on the port can be taken, at most timeout_ns (UINT64_MAX: for ever).
 *  @thread port @returns 1, HPX_E_TIMEOUT */
HPX_API HPX_NODISCARD int hpx_port_wait(hpx_port *port, uint64_t timeout_ns);

/** Close the port; handles, streams and subscriptions still open on it are released. NULL is a
 * no-op.
 *  @thread port @blocks never */
HPX_API void hpx_port_close(hpx_port *port);

HPX_EXTERN_C_END
#endif /* HPX_ENGINE_H */

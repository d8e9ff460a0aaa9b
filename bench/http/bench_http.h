/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_http.h - HTTP clients against nginx and nghttpd on the loopback interface.
 *
 * Threads   The caller's: hpx polls its shard on it, libcurl runs on it. The delaying proxy has one
 *           of its own.
 */
#ifndef HPX_BENCH_HTTP_H
#define HPX_BENCH_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct bench_servers {
    int nginx;        /* pid; 0: not installed */
    int nghttpd;      /* pid; 0: not installed */
    uint16_t h1_port; /* nginx, HTTP/1.1 */
    uint16_t h2_port; /* nghttpd, HTTP/2 without TLS */
    char folder[32];
} bench_servers;

/* Files served: /small (100 bytes), /large (100 MB). */
void bench_servers_start(bench_servers *servers);
void bench_servers_stop(bench_servers *servers);

typedef struct bench_hpx bench_hpx;

typedef struct bench_hpx_result {
    uint64_t done;
    uint64_t failed;
    uint64_t bytes;
    uint64_t allocations; /* asked from the engine's allocator in the run */
} bench_hpx_result;

/* `h2`: with prior knowledge. `fixed_window`: of 64 KiB per stream, not grown. */
bench_hpx *bench_hpx_new(uint16_t port, bool h2, bool fixed_window);
void bench_hpx_free(bench_hpx *hpx);

/* `count` GETs of `path`, `open` at a time. */
void bench_hpx_run(
    bench_hpx *hpx, const char *path, uint32_t open, uint32_t count, bench_hpx_result *out);

typedef struct bench_curl bench_curl;

/* libcurl's multi interface, keep-alive, HTTP/1.1. */
bench_curl *bench_curl_new(uint16_t port, const char *path, uint32_t open);
void bench_curl_free(bench_curl *curl);
uint64_t bench_curl_run(bench_curl *curl, uint32_t count); /* done */

/* Runs a command and returns the number after `key` in its output; 0: none. */
double bench_external(const char *command, const char *key);

typedef struct bench_proxy bench_proxy;

/* Forwards to `port`; each byte arrives half of `rtt_ns` later. */
bench_proxy *bench_proxy_new(uint16_t port, uint64_t rtt_ns);
uint16_t bench_proxy_port(const bench_proxy *proxy);
void bench_proxy_free(bench_proxy *proxy);

#ifdef __cplusplus
}
#endif

#endif /* HPX_BENCH_HTTP_H */

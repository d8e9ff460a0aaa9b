/* SPDX-License-Identifier: Apache-2.0 */
/* bench_tls.h - the C side of bench_tls.cc: two sessions joined in memory, and OpenSSL's AES-GCM.
 */
#ifndef HPX_BENCH_TLS_H
#define HPX_BENCH_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A certificate made on the spot, a server's and a client's context. */
typedef struct bench_site bench_site;
bench_site *bench_site_new(void);
void bench_site_free(bench_site *site);

/* A client and a server session after a full handshake; NULL when it failed. */
typedef struct bench_pair bench_pair;
bench_pair *bench_pair_new(bench_site *site);
void bench_pair_free(bench_pair *pair);
/* What the client negotiated: "TLSv1.3 TLS_AES_128_GCM_SHA256". */
const char *bench_pair_what(const bench_pair *pair);

/* The client seals `bytes` once; the records of earlier calls are dropped if `keep` is not set. */
void bench_seal(bench_pair *pair, size_t bytes, bool keep);
/* The server opens all that was sealed and kept. Returns the plain bytes. */
size_t bench_open(bench_pair *pair);

/* wolfSSL's allocations so far, and its bytes in use while `bench_memory_watch(true)` is on. */
uint64_t bench_allocations(void);
void bench_memory_watch(bool on);
int64_t bench_memory_bytes(void);

/* TLS 1.3 records of AES-128-GCM over OpenSSL's EVP, from the system's libcrypto.so.3. */
typedef struct bench_evp bench_evp;
bench_evp *bench_evp_new(void); /* NULL: there is no such library */
void bench_evp_free(bench_evp *evp);
bool bench_evp_seal(bench_evp *evp, size_t bytes);
bool bench_evp_open(bench_evp *evp, size_t bytes); /* the record of the last seal */

#ifdef __cplusplus
}
#endif

#endif /* HPX_BENCH_TLS_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_tls.h - the C side of bench_tls.cc: two sessions joined in memory; the same of OpenSSL's;
 * and OpenSSL's AES-GCM alone.
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

/* PEM of the certificate, which is its own root, and of its key. */
const char *bench_site_cert(const bench_site *site);
const char *bench_site_key(const bench_site *site);
/* From now on the server gives tickets, and the client keeps them and resumes. */
void bench_site_resume(bench_site *site);

/* A client and a server session after a handshake, and what follows it; NULL when it failed, or was
 * not resumed although it should. The first of a site that resumes is a full one. */
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

/* OpenSSL's own TLS, from the system's libssl.so.3, set to do the same: TLS 1.3, AES-128-GCM, the
 * same certificate, verified with its name. */
typedef struct bench_ossl bench_ossl;
bench_ossl *
bench_ossl_new(const bench_site *site, bool resume); /* NULL: there is no such library */
void bench_ossl_free(bench_ossl *ossl);

typedef struct bench_ossl_pair bench_ossl_pair;
bench_ossl_pair *bench_ossl_pair_new(bench_ossl *ossl);
void bench_ossl_pair_free(bench_ossl *ossl, bench_ossl_pair *pair);
bool bench_ossl_seal(bench_ossl *ossl, bench_ossl_pair *pair, size_t bytes, bool keep);
size_t bench_ossl_open(bench_ossl *ossl, bench_ossl_pair *pair);
/* OpenSSL's allocations so far, and its bytes in use. */
uint64_t bench_ossl_allocations(void);
int64_t bench_ossl_memory(void);

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

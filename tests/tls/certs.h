/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certs.h - certificates made by the test itself, relative to the time at which it runs.
 *
 * Keys are ECDSA P-256 and signatures SHA-256 unless the spec says otherwise. Everything is made
 * with wolfCrypt; the OpenSSL peer test has its own, made by OpenSSL.
 */
#ifndef HPX_TESTS_TLS_CERTS_H
#define HPX_TESTS_TLS_CERTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>

#define CERTS_DER_MAX  4096
#define CERTS_PEM_MAX  16384
#define CERTS_PATH_MAX 256

#define CERTS_DAY_S 86400

/* One entry of a subjectAltName; `size` counts, so that NULs can be in it. */
typedef struct certs_san {
    uint8_t tag; /* 0x82 dNSName, 0x87 iPAddress, 0x81 rfc822Name, 0x86 URI */
    const char *bytes;
    size_t size;
} certs_san;

#define SAN_DNS(text)                                                                              \
    {                                                                                              \
        0x82, (text), sizeof(text) - 1                                                             \
    }
#define SAN_IP(bytes)                                                                              \
    {                                                                                              \
        0x87, (bytes), sizeof(bytes) - 1                                                           \
    }
#define SAN_MAIL(text)                                                                             \
    {                                                                                              \
        0x81, (text), sizeof(text) - 1                                                             \
    }
#define SAN_URI(text)                                                                              \
    {                                                                                              \
        0x86, (text), sizeof(text) - 1                                                             \
    }

#define CERTS_SAN_MAX 4

/* All zero: a leaf named "leaf", no subjectAltName, valid from yesterday for 30 days. */
typedef struct certs_spec {
    const char *common_name;
    certs_san san[CERTS_SAN_MAX]; /* ends at the first with size 0 */
    int64_t not_before_s;         /* relative to now; 0: -1 day */
    int64_t not_after_s;          /* relative to now; 0: +30 days */
    const char *key_usage;     /* wolfCrypt's words; NULL: digitalSignature, keyCertSign of a CA */
    const char *ext_key_usage; /* NULL: none */
    int signature;             /* Ctc_SigType; 0: CTC_SHA256wECDSA */
    bool is_ca;
} certs_spec;

typedef struct certs_identity {
    ecc_key key;
    uint8_t der[CERTS_DER_MAX];
    size_t der_bytes;
} certs_identity;

/* Makes a key and a certificate signed by `issuer`; NULL: by itself. */
void certs_make(certs_identity *out, const certs_spec *spec, const certs_identity *issuer);
void certs_free(certs_identity *identity);

/* PEM of the certificates in this order. Returns its length; `to` is CERTS_PEM_MAX, terminated. */
size_t certs_pem(char *to, const certs_identity *const *chain, size_t count);
size_t certs_key_pem(char *to, certs_identity *identity);

/* A folder of the test's own, removed with all files in it by certs_folder_remove(). */
void certs_folder_make(char path[CERTS_PATH_MAX]);
void certs_folder_remove(const char *path);
void certs_write_file(
    char path[CERTS_PATH_MAX], const char *folder, const char *name, const char *text);

#endif /* HPX_TESTS_TLS_CERTS_H */

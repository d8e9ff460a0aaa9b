/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain.c - the peer's certificates beside their verification: the keys in them, and whether one is
 * pinned.
 *
 * Memory    Parsing takes wolfSSL's memory, freed before the call returns.
 */
#include "tls/internal.h"

_Static_assert(HPX_TLS_PIN_BYTES == WC_SHA256_DIGEST_SIZE, "a pin is a SHA-256 digest");

#define CHAIN_SEQUENCE 0x30u

/* Bytes of the DER element at `at`, header included; 0: no sequence that ends before `end`. */
static size_t chain_sequence_bytes(const uint8_t *at, const uint8_t *end)
{
    const size_t there = (size_t)(end - at);
    if (there < 2 || at[0] != CHAIN_SEQUENCE) {
        return 0;
    }
    size_t size = at[1];
    size_t head = 2;
    if (size >= 0x80) {
        const size_t count = size & 0x7F;
        if (count == 0 || count > 3 || there < head + count) {
            return 0;
        }
        size = 0;
        for (size_t i = 0; i < count; i++) {
            size = size << 8 | at[head++];
        }
    }
    return size <= there - head ? head + size : 0;
}

bool hpxi_tls_chain_spki(const DecodedCert *cert, hpx_span *out)
{
    HPX_ASSERT(cert->source != NULL);
    *out = (hpx_span){0};
    if (cert->subjectRaw == NULL || cert->subjectRawLen <= 0) {
        return false;
    }
    /* RFC 5280 4.1: in a TBSCertificate the key follows the subject. */
    const uint8_t *end = cert->source + cert->maxIdx;
    const uint8_t *at = cert->subjectRaw + cert->subjectRawLen;
    HPX_ASSERT(at >= cert->source && at <= end);
    const size_t size = chain_sequence_bytes(at, end);
    *out = (hpx_span){.data = at, .size = size};
    return size != 0;
}

static bool chain_has_pinned_key(const hpx_tls_context *context, const DecodedCert *cert)
{
    hpx_span spki;
    uint8_t digest[HPX_TLS_PIN_BYTES];
    if (!hpxi_tls_chain_spki(cert, &spki) ||
        wc_Sha256Hash(spki.data, (word32)spki.size, digest) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < context->pin_count; i++) {
        if (memcmp(context->pins[i], digest, sizeof(digest)) == 0) {
            return true;
        }
    }
    return false;
}

/* Is `issuer` the certificate whose key, as the manager knows it, verified the signature? */
static bool chain_is_signer(const DecodedCert *issuer, const Signer *signer)
{
    return issuer->pubKeySize == signer->pubKeySize && issuer->publicKey != NULL &&
           memcmp(issuer->publicKey, signer->publicKey, signer->pubKeySize) == 0 &&
           memcmp(issuer->subjectHash, signer->subjectNameHash, sizeof(issuer->subjectHash)) == 0;
}

/*
 * Only keys on the way from the leaf upwards count: a server may send any certificate along, also
 * the pinned one that has nothing to do with its own.
 */
int hpxi_tls_chain_is_pinned(
    const hpx_tls_context *context,
    const DecodedCert *leaf,
    const WOLFSSL_BUFFER_INFO *certs,
    int count)
{
    HPX_ASSERT(context->pin_count != 0);
    if (chain_has_pinned_key(context, leaf)) {
        return 1;
    }
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CTX_GetCertManager(context->wolf);
    const Signer *signer = leaf->ca;
    for (int step = 1; step < count && signer != NULL; step++) {
        const Signer *above = NULL;
        int result = 0;
        for (int i = 1; i < count && above == NULL && result == 0; i++) {
            DecodedCert cert;
            wc_InitDecodedCert(&cert, certs[i].buffer, certs[i].length, NULL);
            const int parsed = wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, manager);
            if (parsed == MEMORY_E) {
                result = MEMORY_E;
            } else if (parsed == 0 && chain_is_signer(&cert, signer)) {
                result = chain_has_pinned_key(context, &cert) ? 1 : 0;
                above = cert.selfSigned ? NULL : cert.ca;
            }
            wc_FreeDecodedCert(&cert);
        }
        if (result != 0) {
            return result;
        }
        signer = above;
    }
    return 0;
}

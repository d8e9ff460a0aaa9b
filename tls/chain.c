/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chain.c - the peer's certificates beside their verification: what is in them, which keys, and
 * whether one is pinned.
 *
 * Memory    Parsing takes wolfSSL's memory, freed before the call returns.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <time.h>

#include "tls/internal.h"

_Static_assert(HPX_TLS_PIN_BYTES == WC_SHA256_DIGEST_SIZE, "a pin is a SHA-256 digest");

#define CHAIN_SEQUENCE   0x30u
#define CHAIN_TEXT_BYTES 72

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

/* ---- In words -------------------------------------------------------------------------------- */

void hpxi_tls_chain_names(char *to, size_t to_bytes, const DecodedCert *cert)
{
    HPX_ASSERT(to_bytes > CHAIN_TEXT_BYTES);
    size_t used = 0;
    to[0] = '\0';
    for (const DNS_entry *entry = cert->altNames; entry != NULL; entry = entry->next) {
        char text[CHAIN_TEXT_BYTES];
        const bool is_address = entry->type == ASN_IP_TYPE && (entry->len == 4 || entry->len == 16);
        if (entry->len <= 0 || (entry->type != ASN_DNS_TYPE && !is_address)) {
            continue;
        }
        if (is_address) {
            const int family = entry->len == 4 ? AF_INET : AF_INET6;
            (void)inet_ntop(family, entry->name, text, sizeof(text));
        } else {
            hpxi_tls_copy_text(text, sizeof(text), entry->name, (size_t)entry->len);
        }
        const size_t need = strlen(text) + 2 + strlen(", ...");
        if (used + need >= to_bytes) {
            (void)snprintf(to + used, to_bytes - used, "%s...", used == 0 ? "" : ", ");
            return;
        }
        used += (size_t)snprintf(to + used, to_bytes - used, "%s%s", used == 0 ? "" : ", ", text);
    }
    if (used == 0) {
        (void)snprintf(to, to_bytes, "no name (no subjectAltName of use)");
    }
}

int64_t hpxi_tls_chain_time(const byte *date, int date_bytes)
{
    const byte *text = NULL;
    byte format = 0;
    int text_bytes = 0;
    struct tm when = {0};
    if (date == NULL || wc_GetDateInfo(date, date_bytes, &text, &format, &text_bytes) != 0 ||
        wc_GetDateAsCalendarTime(text, text_bytes, format, &when) != 0) {
        return 0;
    }
    return (int64_t)timegm(&when);
}

int64_t hpxi_tls_wall_clock_s(void)
{
    time_t now = 0;
    const int rc = wc_GetTime(&now, sizeof(now));
    HPX_ASSERT(rc == 0);
    return (int64_t)now;
}

void hpxi_tls_chain_note(hpxi_tls_chain *chain, const WOLFSSL_BUFFER_INFO *certs, int count)
{
    for (int i = (int)chain->count; i < count && i < (int)HPXI_TLS_CHAIN_MAX; i++) {
        hpxi_tls_noted *noted = &chain->certs[i];
        noted->der = hpxi_tls_alloc_zero(certs[i].length);
        if (noted->der == NULL) {
            return;
        }
        noted->der_bytes = certs[i].length;
        memcpy(noted->der, certs[i].buffer, certs[i].length);
        chain->count++;
    }
}

void hpxi_tls_chain_fini(hpxi_tls_chain *chain)
{
    for (uint32_t i = 0; i < chain->count; i++) {
        hpxi_tls_dealloc(chain->certs[i].der);
    }
    *chain = (hpxi_tls_chain){0};
}

static int chain_rsa_bits(const DecodedCert *cert)
{
    RsaKey key;
    word32 at = 0;
    int bits = 0;
    if (wc_InitRsaKey(&key, NULL) != 0) {
        return 0;
    }
    if (wc_RsaPublicKeyDecode(cert->publicKey, &at, &key, cert->pubKeySize) == 0) {
        bits = wc_RsaEncryptSize(&key) * 8;
    }
    (void)wc_FreeRsaKey(&key);
    return bits;
}

static void chain_describe_key(char *to, size_t to_bytes, const DecodedCert *cert)
{
    int bytes = 0;
    switch (cert->keyOID) {
    case RSAk:
    case RSAPSSk:
        (void)snprintf(to, to_bytes, "RSA %d", chain_rsa_bits(cert));
        return;
    case ECDSAk:
        bytes = wc_ecc_get_curve_size_from_id(wc_ecc_get_oid(cert->pkCurveOID, NULL, NULL));
        (void)snprintf(to, to_bytes, "ECDSA P-%d", bytes == 66 ? 521 : bytes * 8);
        return;
    case ED25519k:
        (void)snprintf(to, to_bytes, "Ed25519");
        return;
    default:
        (void)snprintf(to, to_bytes, "key type %u", cert->keyOID);
    }
}

static void chain_describe_signature(char *to, size_t to_bytes, const DecodedCert *cert)
{
    static const struct {
        word32 oid;
        const char *name;
    } known[] = {
        {CTC_MD5wRSA, "RSA MD5"},
        {CTC_SHAwRSA, "RSA SHA-1"},
        {CTC_SHA256wRSA, "RSA SHA-256"},
        {CTC_SHA384wRSA, "RSA SHA-384"},
        {CTC_SHA512wRSA, "RSA SHA-512"},
        {CTC_RSASSAPSS, "RSA-PSS"},
        {CTC_SHAwECDSA, "ECDSA SHA-1"},
        {CTC_SHA256wECDSA, "ECDSA SHA-256"},
        {CTC_SHA384wECDSA, "ECDSA SHA-384"},
        {CTC_SHA512wECDSA, "ECDSA SHA-512"},
        {CTC_ED25519, "Ed25519"},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].oid == cert->signatureOID) {
            (void)snprintf(to, to_bytes, "%s", known[i].name);
            return;
        }
    }
    (void)snprintf(to, to_bytes, "signature type %u", cert->signatureOID);
}

hpx_status
hpxi_tls_chain_describe(const hpxi_tls_chain *chain, uint32_t index, hpx_tls_certificate *out)
{
    HPX_ASSERT(index < chain->count);
    const hpxi_tls_noted *noted = &chain->certs[index];
    DecodedCert cert;
    hpx_span spki;
    *out = (hpx_tls_certificate){0};
    wc_InitDecodedCert(&cert, noted->der, (word32)noted->der_bytes, NULL);
    int rc = wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL);
    if (rc == 0) {
        const size_t subject_bytes = strnlen(cert.subject, sizeof(cert.subject));
        const size_t issuer_bytes = strnlen(cert.issuer, sizeof(cert.issuer));
        hpxi_tls_copy_text(out->subject, sizeof(out->subject), cert.subject, subject_bytes);
        hpxi_tls_copy_text(out->issuer, sizeof(out->issuer), cert.issuer, issuer_bytes);
        hpxi_tls_chain_names(out->names, sizeof(out->names), &cert);
        chain_describe_key(out->key, sizeof(out->key), &cert);
        chain_describe_signature(out->signature, sizeof(out->signature), &cert);
        out->not_before_s = hpxi_tls_chain_time(cert.beforeDate, cert.beforeDateLen);
        out->not_after_s = hpxi_tls_chain_time(cert.afterDate, cert.afterDateLen);
        out->is_ca = cert.isCA != 0;
        out->is_self_signed = cert.selfSigned != 0;
        rc = wc_Sha256Hash(noted->der, (word32)noted->der_bytes, out->sha256);
        if (rc == 0 && hpxi_tls_chain_spki(&cert, &spki)) {
            rc = wc_Sha256Hash(spki.data, (word32)spki.size, out->pin_sha256);
        }
    }
    wc_FreeDecodedCert(&cert);
    if (rc == 0) {
        return HPX_OK;
    }
    return rc == MEMORY_E ? HPX_E_NO_MEMORY : HPX_E_TLS_CERTIFICATE;
}

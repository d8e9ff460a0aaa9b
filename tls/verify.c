/* SPDX-License-Identifier: Apache-2.0 */
/*
 * verify.c - judges the peer's certificates while wolfSSL verifies them.
 *
 * wolfSSL checks signatures, dates and key usage against the context's roots; what it does not, we
 * do here: the name (name.c), and what verify_objection() lists. All of it happens inside wolfSSL's
 * verify callback, before our Finished is sent, so that an impostor never sees a byte of
 * application data.
 *
 * wolfSSL calls a session's verify callback only for errors. A callback on the certificate manager
 * makes it call both for every certificate; but then the session's user pointer is lost, hence the
 * thread's current verifier.
 *
 * Threads   Runs on the thread that drives the handshake.
 * Memory    Parsing takes wolfSSL's memory, freed before the callback returns.
 */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "tls/internal.h"

#define VERIFY_TEXT_BYTES 72
#define VERIFY_DATE_BYTES 32

static _Thread_local hpxi_tls_verifier *verify_current;

void hpxi_tls_verify_begin(hpxi_tls_verifier *verifier)
{
    HPX_ASSERT(verify_current == NULL);
    verify_current = verifier;
}

void hpxi_tls_verify_end(hpxi_tls_verifier *verifier)
{
    HPX_ASSERT(verify_current == verifier);
    verify_current = NULL;
}

__attribute__((format(printf, 5, 6))) static int verify_refuse(
    hpxi_tls_verdict *verdict,
    hpx_status status,
    int wolf_error,
    int depth,
    const char *format,
    ...)
{
    HPX_ASSERT(status < 0);
    HPX_ASSERT(verdict->status == HPX_OK);
    verdict->status = status;
    verdict->wolf_error = wolf_error;
    verdict->depth = depth;
    verdict->leaf_accepted = false;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(verdict->detail, sizeof(verdict->detail), format, arguments);
    va_end(arguments);
    return 0;
}

/* What a person would call the certificate: its first name, else its common name. */
static void verify_subject(char to[VERIFY_TEXT_BYTES], const DecodedCert *cert)
{
    for (const DNS_entry *entry = cert->altNames; entry != NULL; entry = entry->next) {
        if (entry->type == ASN_DNS_TYPE && entry->len > 0) {
            hpxi_tls_copy_text(to, VERIFY_TEXT_BYTES, entry->name, (size_t)entry->len);
            return;
        }
    }
    if (cert->subjectCN != NULL && cert->subjectCNLen > 0) {
        hpxi_tls_copy_text(to, VERIFY_TEXT_BYTES, cert->subjectCN, (size_t)cert->subjectCNLen);
    } else {
        hpxi_tls_copy_text(to, VERIFY_TEXT_BYTES, "(no name)", strlen("(no name)"));
    }
}

static void verify_issuer(char to[VERIFY_TEXT_BYTES], const DecodedCert *cert)
{
    const size_t size = strnlen(cert->issuer, sizeof(cert->issuer));
    hpxi_tls_copy_text(to, VERIFY_TEXT_BYTES, cert->issuer, size);
}

static void verify_date(char to[VERIFY_DATE_BYTES], const byte *date, int date_bytes)
{
    const byte *text = NULL;
    byte format = 0;
    int text_bytes = 0;
    struct tm when = {0};
    if (date == NULL || wc_GetDateInfo(date, date_bytes, &text, &format, &text_bytes) != 0 ||
        wc_GetDateAsCalendarTime(text, text_bytes, format, &when) != 0 ||
        strftime(to, VERIFY_DATE_BYTES, "%Y-%m-%d %H:%M:%S UTC", &when) == 0) {
        (void)snprintf(to, VERIFY_DATE_BYTES, "(unreadable date)");
    }
}

/* wolfSSL refused this certificate: say what a person needs to know. Returns 0. */
static int
verify_refuse_wolf(hpxi_tls_verdict *verdict, int wolf_error, int depth, const DecodedCert *cert)
{
    HPX_ASSERT(wolf_error != 0);
    const hpx_status status = hpxi_tls_status_of(wolf_error);
    char subject[VERIFY_TEXT_BYTES];
    char other[VERIFY_TEXT_BYTES];
    verify_subject(subject, cert);
    switch (status) {
    case HPX_E_TLS_EXPIRED:
        verify_date(other, cert->afterDate, cert->afterDateLen);
        return verify_refuse(
            verdict, status, wolf_error, depth, "certificate of %s expired on %s", subject, other);
    case HPX_E_TLS_NOT_YET_VALID:
        verify_date(other, cert->beforeDate, cert->beforeDateLen);
        return verify_refuse(
            verdict,
            status,
            wolf_error,
            depth,
            "certificate of %s is not valid before %s",
            subject,
            other);
    case HPX_E_TLS_UNTRUSTED:
        if (cert->selfSigned) {
            return verify_refuse(
                verdict,
                status,
                wolf_error,
                depth,
                "certificate of %s is self-signed and not among the trusted roots",
                subject);
        }
        verify_issuer(other, cert);
        return verify_refuse(
            verdict,
            status,
            wolf_error,
            depth,
            "no trusted root signs the certificate of %s (issuer %s)",
            subject,
            other);
    default:
        return verify_refuse(
            verdict,
            status,
            wolf_error,
            depth,
            "certificate of %s refused: %s",
            subject,
            hpxi_tls_reason(wolf_error));
    }
}

static bool verify_is_weak_signature(word32 signature_oid)
{
    switch (signature_oid) {
    case CTC_MD2wRSA:
    case CTC_MD5wRSA:
    case CTC_SHAwRSA:
    case CTC_SHAwDSA:
    case CTC_SHAwECDSA:
        return true;
    default:
        return false;
    }
}

/*
 * What wolfSSL lets pass and we do not, or NULL. A self-signed root's own signature proves nothing,
 * so it may be of any kind.
 */
static const char *
verify_objection(const hpxi_tls_verifier *verifier, int depth, const DecodedCert *cert)
{
    const bool is_leaf = depth == 0;
    const bool is_client = verifier->context->is_server; /* the peer is */
    const int purposes =
        EXTKEYUSE_ANY | (is_client ? EXTKEYUSE_CLIENT_AUTH : EXTKEYUSE_SERVER_AUTH);
    /* RFC 8446 4.4.2.2, which wolfSSL checks in TLS 1.2 only. Every suite of ours has it sign. */
    if (is_leaf && cert->extKeyUsageSet && (cert->extKeyUsage & KEYUSE_DIGITAL_SIG) == 0) {
        return "is not for signatures (key usage)";
    }
    if (!cert->selfSigned && verify_is_weak_signature(cert->signatureOID)) {
        return "is signed with SHA-1 or older";
    }
    if (cert->extExtKeyUsageSet && (cert->extExtKeyUsage & purposes) == 0) {
        return is_client ? "is not for TLS clients (extended key usage)"
                         : "is not for TLS servers (extended key usage)";
    }
    /* wolfSSL applies name constraints to names only, and would let any address pass. */
    const bool for_address = verifier->name != NULL && verifier->name->is_address;
    if (!is_leaf && for_address && cert->extNameConstraintSet) {
        return "constrains names, which cannot be checked for an address";
    }
    return NULL;
}

static bool verify_entry_matches(const hpxi_tls_name *name, const DNS_entry *entry)
{
    if (entry->len <= 0) {
        return false;
    }
    const uint8_t *bytes = (const uint8_t *)entry->name;
    switch (entry->type) {
    case ASN_DNS_TYPE:
        return hpxi_tls_name_matches_dns(name, bytes, (size_t)entry->len);
    case ASN_IP_TYPE:
        return hpxi_tls_name_matches_ip(name, bytes, (size_t)entry->len);
    default:
        return false;
    }
}

static int
verify_name(hpxi_tls_verdict *verdict, const hpxi_tls_name *name, const DecodedCert *cert)
{
    for (const DNS_entry *entry = cert->altNames; entry != NULL; entry = entry->next) {
        if (verify_entry_matches(name, entry)) {
            return 1;
        }
    }
    HPX_ASSERT(name->host_bytes != 0);
    char names[HPX_ERROR_DETAIL_BYTES - 80];
    char wanted[VERIFY_TEXT_BYTES - 16];
    hpxi_tls_chain_names(names, sizeof(names), cert);
    hpxi_tls_copy_text(wanted, sizeof(wanted), name->host, name->host_bytes);
    return verify_refuse(
        verdict, HPX_E_TLS_NAME, 0, 0, "certificate is for %s; wanted %s", names, wanted);
}

/*
 * wolfSSL keeps the intermediates that it verified in the context, for ever. For us an intermediate
 * counts only if this server sent it: its dates and constraints are then checked now, and what one
 * server sends does not make another's chain complete.
 */
static bool
verify_issuer_is_here(const DecodedCert *cert, const WOLFSSL_X509_STORE_CTX *store, int depth)
{
    if (cert->ca == NULL || cert->ca->type != WOLFSSL_CHAIN_CA) {
        return true;
    }
    HPX_ASSERT(depth < store->totalCerts);
    bool found = false;
    for (int i = 0; i < store->totalCerts && !found; i++) {
        if (i == depth) {
            continue;
        }
        DecodedCert other;
        wc_InitDecodedCert(&other, store->certs[i].buffer, store->certs[i].length, NULL);
        found = wc_ParseCert(&other, CERT_TYPE, NO_VERIFY, NULL) == 0 &&
                memcmp(other.subjectHash, cert->issuerHash, sizeof(other.subjectHash)) == 0;
        wc_FreeDecodedCert(&other);
    }
    return found;
}

static int verify_pins(
    hpxi_tls_verifier *verifier, const WOLFSSL_X509_STORE_CTX *store, const DecodedCert *leaf)
{
    const hpx_tls_context *context = verifier->context;
    if (context->pin_count == 0) {
        return 1;
    }
    const int pinned = hpxi_tls_chain_is_pinned(context, leaf, store->certs, store->totalCerts);
    if (pinned == 1) {
        return 1;
    }
    char subject[VERIFY_TEXT_BYTES];
    verify_subject(subject, leaf);
    return verify_refuse(
        &verifier->verdict,
        pinned == MEMORY_E ? HPX_E_NO_MEMORY : HPX_E_TLS_PIN,
        pinned,
        0,
        "certificate of %s and its issuers have none of the pinned keys",
        subject);
}

/* The leaf has passed wolfSSL and the policy: its name and pins. */
static int verify_leaf(
    hpxi_tls_verifier *verifier, const WOLFSSL_X509_STORE_CTX *store, const DecodedCert *cert)
{
    hpxi_tls_verdict *verdict = &verifier->verdict;
    if (verifier->name != NULL && verify_name(verdict, verifier->name, cert) == 0) {
        return 0;
    }
    if (verify_pins(verifier, store, cert) == 0) {
        return 0;
    }
    HPX_ASSERT(verdict->status == HPX_OK);
    HPX_ASSERT(verifier->name != NULL || verifier->context->is_server);
    if (verifier->wants_proof && verifier->proof == NULL) {
        verifier->proof = hpxi_tls_proof_new(
            store->certs[0].buffer, store->certs[0].length, verifier->not_after_s);
    }
    verdict->leaf_accepted = true;
    return 1;
}

static int verify_judge(
    hpxi_tls_verifier *verifier,
    bool accepted,
    const WOLFSSL_X509_STORE_CTX *store,
    const DecodedCert *cert)
{
    hpxi_tls_verdict *verdict = &verifier->verdict;
    const int depth = store->error_depth;
    if (!accepted) {
        return verify_refuse_wolf(verdict, store->error, depth, cert);
    }
    if (!verify_issuer_is_here(cert, store, depth)) {
        return verify_refuse_wolf(verdict, ASN_NO_SIGNER_E, depth, cert);
    }
    const char *objection = verify_objection(verifier, depth, cert);
    if (objection != NULL) {
        char subject[VERIFY_TEXT_BYTES];
        verify_subject(subject, cert);
        return verify_refuse(
            verdict, HPX_E_TLS_CERTIFICATE, 0, depth, "certificate of %s %s", subject, objection);
    }
    const int64_t not_after_s = hpxi_tls_chain_time(cert->afterDate, cert->afterDateLen);
    if (verifier->not_after_s == 0 || not_after_s < verifier->not_after_s) {
        verifier->not_after_s = not_after_s;
    }
    return depth == 0 ? verify_leaf(verifier, store, cert) : 1;
}

void hpxi_tls_verify_proof(hpxi_tls_verifier *verifier, const hpxi_tls_proof *proof)
{
    hpxi_tls_verdict *verdict = &verifier->verdict;
    HPX_ASSERT(!verifier->insecure && verifier->name != NULL);
    HPX_ASSERT(verdict->status == HPX_OK && !verdict->leaf_accepted);
    DecodedCert cert;
    wc_InitDecodedCert(&cert, proof->leaf, (word32)proof->leaf_bytes, NULL);
    const int parsed = wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL);
    if (parsed != 0) {
        (void)verify_refuse(
            verdict,
            parsed == MEMORY_E ? HPX_E_NO_MEMORY : HPX_E_TLS_CERTIFICATE,
            parsed,
            0,
            "the certificate of the session resumed cannot be read: %s",
            hpxi_tls_reason(parsed));
    } else if (hpxi_tls_wall_clock_s() > proof->not_after_s) {
        char subject[VERIFY_TEXT_BYTES];
        verify_subject(subject, &cert);
        (void)verify_refuse(
            verdict,
            HPX_E_TLS_EXPIRED,
            ASN_AFTER_DATE_E,
            0,
            "certificate of %s, or one above it, has expired since the session was made",
            subject);
    } else if (verify_name(verdict, verifier->name, &cert) == 1) {
        verdict->leaf_accepted = true;
    }
    wc_FreeDecodedCert(&cert);
}

/* Returns 1 to accept: also over wolfSSL's objection, so only `insecure` may do that. */
static int verify_on_certificate(int preverified, WOLFSSL_X509_STORE_CTX *store)
{
    hpxi_tls_verifier *verifier = verify_current;
    HPX_ASSERT(verifier != NULL);
    if (verifier->insecure) {
        return 1;
    }
    hpxi_tls_verdict *verdict = &verifier->verdict;
    if (verifier->chain != NULL) {
        hpxi_tls_chain_note(verifier->chain, store->certs, store->totalCerts);
    }
    if (verdict->status != HPX_OK || (verifier->name == NULL && !verifier->context->is_server)) {
        return 0;
    }
    HPX_ASSERT(verifier->context->verifies_peer);
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CTX_GetCertManager(verifier->context->wolf);
    const int depth = store->error_depth;
    if (store->totalCerts == 0 && !verifier->context->requires_peer) {
        HPX_ASSERT(verifier->context->is_server);
        return 1; /* it was asked, and has none */
    }
    if (store->certs == NULL || depth < 0 || depth >= store->totalCerts) {
        return verify_refuse(
            verdict, HPX_E_TLS_CERTIFICATE, store->error, depth, "no certificate to verify");
    }
    DecodedCert cert;
    wc_InitDecodedCert(&cert, store->certs[depth].buffer, store->certs[depth].length, NULL);
    const int parsed = wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, manager);
    int result = 0;
    if (parsed != 0) {
        (void)verify_refuse(
            verdict,
            parsed == MEMORY_E ? HPX_E_NO_MEMORY : HPX_E_TLS_CERTIFICATE,
            parsed,
            depth,
            "certificate cannot be read: %s",
            hpxi_tls_reason(parsed));
    } else {
        result = verify_judge(verifier, preverified == 1, store, &cert);
    }
    wc_FreeDecodedCert(&cert);
    HPX_ASSERT(result == (verdict->status == HPX_OK));
    return result;
}

/* Only here so that wolfSSL calls verify_on_certificate() for good certificates as well. */
static int verify_on_any_certificate(int preverified, WOLFSSL_X509_STORE_CTX *store)
{
    (void)store;
    HPX_ASSERT(verify_current != NULL);
    return verify_current->insecure ? 1 : preverified;
}

void hpxi_tls_verify_install(WOLFSSL_CTX *wolf, bool verifies_peer, bool requires_peer)
{
    HPX_ASSERT(wolf != NULL);
    HPX_ASSERT(verifies_peer || !requires_peer);
    if (!verifies_peer) {
        wolfSSL_CTX_set_verify(wolf, WOLFSSL_VERIFY_NONE, NULL);
        return;
    }
    const int mode =
        WOLFSSL_VERIFY_PEER | (requires_peer ? WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0);
    wolfSSL_CTX_set_verify(wolf, mode, verify_on_certificate);
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CTX_GetCertManager(wolf);
    HPX_ASSERT(manager != NULL);
    wolfSSL_CertManagerSetVerify(manager, verify_on_any_certificate);
}

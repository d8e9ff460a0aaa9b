/* SPDX-License-Identifier: Apache-2.0 */
/*
 * certs.c - a throw-away certificate authority, made with wolfCrypt.
 *
 * Two keys are made: the authority's signs ca.pem and server.pem and is wiped; the server's goes
 * to server.key. A client that trusts ca.pem thus trusts this one certificate and no other.
 *
 * Memory    One certificate description on the heap while it runs: wolfCrypt's is 20 KiB.
 */
#include "certs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>

#include "cli.h"

#define CERTS_DER_BYTES     4096
#define CERTS_PEM_BYTES     8192
#define CERTS_KEY_BYTES     32 /* P-256 */
#define CERTS_SECONDS_PAST  3600
#define CERTS_SECONDS_VALID (7L * 24 * 3600)
#define CERTS_SECONDS_REUSE (6L * 24 * 3600)

/* GeneralNames (RFC 5280 4.2.1.6): dNSName is tag 0x82, iPAddress tag 0x87. */
static const uint8_t certs_names[] = {
    0x30, 35,                                                                   /* SEQUENCE */
    0x82, 9,  'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't',                      /* localhost */
    0x87, 4,  127, 0,   0,   1,                                                 /* 127.0.0.1 */
    0x87, 16, 0,   0,   0,   0,   0,   0,   0,   0,   0,   0, 0, 0, 0, 0, 0, 1, /* ::1 */
};
_Static_assert(sizeof(certs_names) == 2 + 35, "the SEQUENCE's length");

typedef struct certs_pem {
    uint8_t data[CERTS_PEM_BYTES];
    int size;
} certs_pem;

typedef struct certs_maker {
    WC_RNG rng;
    ecc_key authority;
    ecc_key server;
    uint8_t authority_der[CERTS_DER_BYTES]; /* the signed authority certificate */
    int authority_der_size;
    certs_pem ca, cert, key;
} certs_maker;

static hpx_status certs_fail(hpx_error *error, int os_errno, const char *what, const char *why)
{
    if (error != NULL) {
        *error = (hpx_error){
            .status = os_errno != 0 ? -os_errno : HPX_E_TLS_CONFIG,
            .stage = HPX_STAGE_CONFIG,
            .os_errno = os_errno,
        };
        snprintf(error->detail, sizeof(error->detail), "%.120s: %s", what, why);
    }
    return os_errno != 0 ? -os_errno : HPX_E_TLS_CONFIG;
}

/* A UTCTime with its tag and length, as wolfCrypt wants it (RFC 5280 4.1.2.5.1: until 2049). */
static int certs_date(uint8_t *out, size_t capacity, time_t when)
{
    struct tm parts;
    gmtime_r(&when, &parts);
    assert(capacity >= 16);
    out[0] = 0x17;
    out[1] = 13;
    return 2 + (int)strftime((char *)out + 2, capacity - 2, "%y%m%d%H%M%SZ", &parts);
}

static void certs_describe(Cert *cert, bool is_authority)
{
    const time_t now = time(NULL);
    cert->sigType = CTC_SHA256wECDSA;
    cert->isCA = is_authority;
    cert->selfSigned = is_authority;
    snprintf(cert->subject.org, sizeof(cert->subject.org), "hpx local exchange");
    snprintf(
        cert->subject.commonName,
        sizeof(cert->subject.commonName),
        "%s",
        is_authority ? "hpx throw-away CA" : "localhost");
    cert->beforeDateSz =
        certs_date(cert->beforeDate, sizeof(cert->beforeDate), now - CERTS_SECONDS_PAST);
    cert->afterDateSz =
        certs_date(cert->afterDate, sizeof(cert->afterDate), now + CERTS_SECONDS_VALID);
    if (!is_authority) {
        memcpy(cert->altNames, certs_names, sizeof(certs_names));
        cert->altNamesSz = (int)sizeof(certs_names);
    }
}

/* Extensions that depend on keys. Returns 0 or wolfCrypt's error. */
static int certs_extend(Cert *cert, certs_maker *maker, bool is_authority)
{
    ecc_key *subject = is_authority ? &maker->authority : &maker->server;
    int code = wc_SetSubjectKeyIdFromPublicKey(cert, NULL, subject);
    if (code == 0) {
        code = wc_SetAuthKeyIdFromPublicKey(cert, NULL, &maker->authority);
    }
    if (code == 0) {
        code = wc_SetKeyUsage(cert, is_authority ? "keyCertSign,cRLSign" : "digitalSignature");
    }
    if (code == 0 && !is_authority) {
        code = wc_SetExtKeyUsage(cert, "serverAuth");
    }
    if (code == 0 && !is_authority) {
        code = wc_SetIssuerBuffer(cert, maker->authority_der, maker->authority_der_size);
    }
    return code;
}

/* Header of the DER element at `at`: its size; `content` is set to the size of what follows. Only
 * the forms that lengths below 64 KiB have. 0: cut short. */
static size_t certs_der_header(const uint8_t *at, size_t left, size_t *content)
{
    if (left < 2) {
        return 0;
    }
    const size_t octets = at[1] < 0x80 ? 0 : (size_t)(at[1] - 0x80);
    if (octets > 2 || left < 2 + octets) {
        return 0;
    }
    *content = octets == 0 ? at[1] : octets == 1 ? at[2] : (size_t)at[2] << 8 | at[3];
    return 2 + octets;
}

/* Make the length in a header larger by `more`. False: it would need another octet. */
static bool certs_der_grow(uint8_t *at, size_t header, size_t content, size_t more)
{
    static const size_t maxima[] = {0x7F, 0xFF, 0xFFFF};
    assert(header >= 2);
    const size_t octets = header - 2;
    const size_t grown = content + more;
    if (grown > maxima[octets]) {
        return false;
    }
    if (octets == 2) {
        at[2] = (uint8_t)(grown >> 8);
    }
    at[1 + octets] = (uint8_t)(grown & 0xFF);
    return true;
}

/*
 * RFC 5280 4.2.1.9 wants an authority's BasicConstraints critical, strict verifiers (Python 3.13)
 * insist on it, and wolfCrypt 5.7 cannot say so: put the BOOLEAN in, before signing. Returns the
 * new size of the certificate's body, or wolfCrypt's error.
 */
static int certs_mark_critical(uint8_t *der, int size, size_t capacity)
{
    static const uint8_t constraints[] = {0x30, 0x0C, 0x06, 0x03, 0x55, 0x1D, 0x13};
    static const uint8_t critical[] = {0x01, 0x01, 0xFF};
    uint8_t *extension = memmem(der, (size_t)size, constraints, sizeof(constraints));
    if (extension == NULL || (size_t)size + sizeof(critical) > capacity) {
        return ASN_PARSE_E;
    }
    /* Down through whatever holds the extension, each a little longer now. */
    for (uint8_t *at = der; at <= extension;) {
        size_t content = 0;
        const size_t header = certs_der_header(at, (size_t)(der + size - at), &content);
        if (header == 0) {
            return ASN_PARSE_E;
        }
        uint8_t *end = at + header + content;
        if (end <= extension) {
            at = end; /* beside it */
            continue;
        }
        if (!certs_der_grow(at, header, content, sizeof(critical))) {
            return ASN_PARSE_E;
        }
        at += header;
    }
    uint8_t *place = extension + sizeof(constraints);
    memmove(place + sizeof(critical), place, (size_t)(der + size - place));
    memcpy(place, critical, sizeof(critical));
    return size + (int)sizeof(critical);
}

/* Make and sign one certificate. Returns its DER size or wolfCrypt's error. */
static int certs_sign(certs_maker *maker, bool is_authority, uint8_t *der, size_t capacity)
{
    Cert *cert = wc_CertNew(NULL);
    if (cert == NULL) {
        return MEMORY_E;
    }
    certs_describe(cert, is_authority);
    int code = certs_extend(cert, maker, is_authority);
    ecc_key *subject = is_authority ? &maker->authority : &maker->server;
    if (code == 0) {
        code = wc_MakeCert(cert, der, (word32)capacity, NULL, subject, &maker->rng);
    }
    if (code > 0 && is_authority) {
        code = certs_mark_critical(der, code, capacity);
        cert->bodySz = code;
    }
    if (code > 0) {
        code = wc_SignCert(
            cert->bodySz,
            cert->sigType,
            der,
            (word32)capacity,
            NULL,
            &maker->authority,
            &maker->rng);
    }
    wc_CertFree(cert);
    return code;
}

static int certs_to_pem(certs_pem *out, const uint8_t *der, int der_size, int type)
{
    assert(der_size > 0);
    out->size = wc_DerToPem(der, (word32)der_size, out->data, (word32)sizeof(out->data), type);
    return out->size > 0 ? 0 : out->size;
}

/* Both certificates and the server's key as PEM. Returns 0 or wolfCrypt's error. */
static int certs_generate(certs_maker *maker)
{
    uint8_t der[CERTS_DER_BYTES];
    int code = wc_ecc_make_key_ex(&maker->rng, CERTS_KEY_BYTES, &maker->authority, ECC_SECP256R1);
    if (code == 0) {
        code = wc_ecc_make_key_ex(&maker->rng, CERTS_KEY_BYTES, &maker->server, ECC_SECP256R1);
    }
    if (code != 0) {
        return code;
    }
    code = certs_sign(maker, true, maker->authority_der, sizeof(maker->authority_der));
    if (code <= 0) {
        return code;
    }
    maker->authority_der_size = code;
    code = certs_to_pem(&maker->ca, maker->authority_der, code, CERT_TYPE);
    if (code != 0) {
        return code;
    }
    code = certs_sign(maker, false, der, sizeof(der));
    if (code <= 0) {
        return code;
    }
    code = certs_to_pem(&maker->cert, der, code, CERT_TYPE);
    if (code != 0) {
        return code;
    }
    code = wc_EccKeyToDer(&maker->server, der, (word32)sizeof(der));
    if (code <= 0) {
        return code;
    }
    code = certs_to_pem(&maker->key, der, code, ECC_PRIVATEKEY_TYPE);
    explicit_bzero(der, sizeof(der));
    return code;
}

static hpx_status certs_write(const char *path, mode_t mode, const certs_pem *pem, hpx_error *error)
{
    /* A new file each time: an old one might have a wider mode, or be a link. */
    if (unlink(path) != 0 && errno != ENOENT) {
        return certs_fail(error, errno, path, cli_errno_text(errno));
    }
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) {
        return certs_fail(error, errno, path, cli_errno_text(errno));
    }
    const ssize_t written = write(fd, pem->data, (size_t)pem->size);
    const int write_errno = written < 0 ? errno : ENOSPC;
    if (close(fd) != 0 || written != pem->size) {
        return certs_fail(error, write_errno, path, cli_errno_text(write_errno));
    }
    return HPX_OK;
}

static hpx_status certs_write_all(const certs *paths, const certs_maker *maker, hpx_error *error)
{
    hpx_status status = certs_write(paths->key_file, 0600, &maker->key, error);
    if (status == HPX_OK) {
        status = certs_write(paths->cert_file, 0644, &maker->cert, error);
    }
    if (status == HPX_OK) {
        status = certs_write(paths->ca_file, 0644, &maker->ca, error);
    }
    return status;
}

static hpx_status certs_make_files(const certs *paths, hpx_error *error)
{
    certs_maker *maker = calloc(1, sizeof(*maker));
    if (maker == NULL) {
        return certs_fail(error, ENOMEM, "certificates", "out of memory");
    }
    int code = wc_InitRng(&maker->rng);
    if (code == 0) {
        wc_ecc_init(&maker->authority);
        wc_ecc_init(&maker->server);
        code = certs_generate(maker);
        wc_ecc_free(&maker->server);
        wc_ecc_free(&maker->authority);
        wc_FreeRng(&maker->rng);
    }
    hpx_status status = HPX_OK;
    if (code != 0) {
        status = certs_fail(error, 0, "certificates", wc_GetErrorString(code));
    } else {
        status = certs_write_all(paths, maker, error);
    }
    explicit_bzero(maker, sizeof(*maker));
    free(maker);
    return status;
}

/* The three files are there and have a day left at least. */
static bool certs_are_usable(const certs *paths)
{
    const char *const files[] = {paths->ca_file, paths->cert_file, paths->key_file};
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        struct stat found;
        if (stat(files[i], &found) != 0 || !S_ISREG(found.st_mode) ||
            time(NULL) - found.st_mtime > CERTS_SECONDS_REUSE) {
            return false;
        }
    }
    return true;
}

static hpx_status certs_make_folder(certs *out, const char *folder, hpx_error *error)
{
    if (folder != NULL) {
        if (strlen(folder) >= sizeof(out->folder)) {
            return certs_fail(error, ENAMETOOLONG, folder, "path too long");
        }
        snprintf(out->folder, sizeof(out->folder), "%s", folder);
        if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
            return certs_fail(error, errno, folder, cli_errno_text(errno));
        }
        return HPX_OK;
    }
    const char *const parents[] = {cli_env("XDG_RUNTIME_DIR"), cli_env("TMPDIR"), "/tmp"};
    for (size_t i = 0; i < sizeof(parents) / sizeof(parents[0]); i++) {
        if (parents[i] == NULL || parents[i][0] != '/' ||
            strlen(parents[i]) + sizeof("/hpx-exchange-XXXXXX") > sizeof(out->folder)) {
            continue;
        }
        snprintf(out->folder, sizeof(out->folder), "%s/hpx-exchange-XXXXXX", parents[i]);
        if (mkdtemp(out->folder) != NULL) {
            out->is_fresh_folder = true;
            return HPX_OK;
        }
    }
    return certs_fail(error, errno, "/tmp/hpx-exchange-XXXXXX", cli_errno_text(errno));
}

hpx_status certs_make(certs *out, const char *folder, hpx_error *error)
{
    *out = (certs){0};
    const hpx_status status = certs_make_folder(out, folder, error);
    if (status != HPX_OK) {
        return status;
    }
    snprintf(out->ca_file, sizeof(out->ca_file), "%s/ca.pem", out->folder);
    snprintf(out->cert_file, sizeof(out->cert_file), "%s/server.pem", out->folder);
    snprintf(out->key_file, sizeof(out->key_file), "%s/server.key", out->folder);
    if (!out->is_fresh_folder && certs_are_usable(out)) {
        return HPX_OK;
    }
    const hpx_status made = certs_make_files(out, error);
    if (made != HPX_OK) {
        certs_remove(out);
    }
    return made;
}

void certs_remove(const certs *made)
{
    if (made->is_fresh_folder) {
        unlink(made->ca_file);
        unlink(made->cert_file);
        unlink(made->key_file);
        rmdir(made->folder);
    }
}

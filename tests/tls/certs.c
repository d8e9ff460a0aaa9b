/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/tls/certs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/random.h>

#include "tests/support/test.h"

static size_t certs_san_der(uint8_t *to, size_t to_bytes, const certs_san *san)
{
    uint8_t body[1024];
    size_t used = 0;
    for (size_t i = 0; i < CERTS_SAN_MAX && san[i].size != 0; i++) {
        assert_true(san[i].size < 256 && used + san[i].size + 3 <= sizeof(body));
        body[used++] = san[i].tag;
        if (san[i].size >= 128) {
            body[used++] = 0x81;
        }
        body[used++] = (uint8_t)san[i].size;
        memcpy(body + used, san[i].bytes, san[i].size);
        used += san[i].size;
    }
    if (used == 0) {
        return 0;
    }
    assert_true(used + 4 <= to_bytes);
    const uint8_t head[4] = {0x30, 0x82, (uint8_t)(used >> 8), (uint8_t)used};
    const size_t head_bytes = used < 128 ? 2 : used < 256 ? 3 : 4;
    memcpy(to, head, head_bytes);
    if (head_bytes == 2) {
        to[1] = (uint8_t)used;
    } else if (head_bytes == 3) {
        to[1] = 0x81;
        to[2] = (uint8_t)used;
    }
    memcpy(to + head_bytes, body, used);
    return head_bytes + used;
}

/* UTCTime or, from 2050, GeneralizedTime (RFC 5280 4.1.2.5). Returns its length. */
static int certs_time_der(byte *to, int64_t relative_s)
{
    const time_t when = time(NULL) + (time_t)relative_s;
    struct tm parts;
    assert_non_null(gmtime_r(&when, &parts));
    const bool general = parts.tm_year >= 150;
    char text[32];
    const size_t size =
        strftime(text, sizeof(text), general ? "%Y%m%d%H%M%SZ" : "%y%m%d%H%M%SZ", &parts);
    to[0] = general ? 0x18 : 0x17;
    to[1] = (byte)size;
    memcpy(to + 2, text, size);
    return (int)size + 2;
}

static void
certs_fill(Cert *cert, const certs_spec *spec, certs_identity *self, const certs_identity *issuer)
{
    const char *name = spec->common_name == NULL ? "leaf" : spec->common_name;
    (void)snprintf(cert->subject.commonName, sizeof(cert->subject.commonName), "%s", name);
    cert->sigType = spec->signature == 0 ? CTC_SHA256wECDSA : spec->signature;
    cert->isCA = spec->is_ca;
    cert->selfSigned = issuer == NULL;
    cert->altNamesSz = (int)certs_san_der(cert->altNames, sizeof(cert->altNames), spec->san);
    cert->beforeDateSz = certs_time_der(
        cert->beforeDate, spec->not_before_s == 0 ? -CERTS_DAY_S : spec->not_before_s);
    cert->afterDateSz = certs_time_der(
        cert->afterDate, spec->not_after_s == 0 ? 30 * CERTS_DAY_S : spec->not_after_s);
    const char *usage = spec->key_usage;
    if (usage == NULL) {
        usage = spec->is_ca ? "keyCertSign,cRLSign" : "digitalSignature";
    }
    assert_int_equal(wc_SetKeyUsage(cert, usage), 0);
    if (spec->ext_key_usage != NULL) {
        assert_int_equal(wc_SetExtKeyUsage(cert, spec->ext_key_usage), 0);
    }
    assert_int_equal(wc_SetSubjectKeyIdFromPublicKey_ex(cert, ECC_TYPE, &self->key), 0);
    ecc_key issuer_key = issuer == NULL ? self->key : issuer->key;
    assert_int_equal(wc_SetAuthKeyIdFromPublicKey_ex(cert, ECC_TYPE, &issuer_key), 0);
    if (issuer != NULL) {
        assert_int_equal(wc_SetIssuerBuffer(cert, issuer->der, (int)issuer->der_bytes), 0);
    }
}

void certs_make(certs_identity *out, const certs_spec *spec, const certs_identity *issuer)
{
    WC_RNG rng;
    Cert *cert = calloc(1, sizeof(*cert));
    assert_non_null(cert);
    assert_int_equal(wc_InitRng(&rng), 0);
    assert_int_equal(wc_ecc_init(&out->key), 0);
    assert_int_equal(wc_ecc_make_key_ex(&rng, 32, &out->key, ECC_SECP256R1), 0);
    assert_int_equal(wc_InitCert(cert), 0);
    certs_fill(cert, spec, out, issuer);
    int rc = wc_MakeCert_ex(cert, out->der, sizeof(out->der), ECC_TYPE, &out->key, &rng);
    assert_true(rc > 0);
    ecc_key signer = issuer == NULL ? out->key : issuer->key;
    rc = wc_SignCert_ex(
        cert->bodySz, cert->sigType, out->der, sizeof(out->der), ECC_TYPE, &signer, &rng);
    assert_true(rc > 0);
    out->der_bytes = (size_t)rc;
    wc_FreeRng(&rng);
    free(cert);
}

void certs_free(certs_identity *identity)
{
    wc_ecc_free(&identity->key);
}

size_t certs_pem(char *to, const certs_identity *const *chain, size_t count)
{
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        const int rc = wc_DerToPem(
            chain[i]->der,
            (word32)chain[i]->der_bytes,
            (byte *)to + used,
            (word32)(CERTS_PEM_MAX - used - 1),
            CERT_TYPE);
        assert_true(rc > 0);
        used += (size_t)rc;
    }
    to[used] = '\0';
    return used;
}

size_t certs_key_pem(char *to, certs_identity *identity)
{
    byte der[512];
    const int der_bytes = wc_EccKeyToDer(&identity->key, der, sizeof(der));
    assert_true(der_bytes > 0);
    const int rc =
        wc_DerToPem(der, (word32)der_bytes, (byte *)to, CERTS_PEM_MAX - 1, ECC_PRIVATEKEY_TYPE);
    assert_true(rc > 0);
    to[rc] = '\0';
    return (size_t)rc;
}

void certs_folder_make(char path[CERTS_PATH_MAX])
{
    const char *base = getenv("TMPDIR");
    (void)snprintf(path, CERTS_PATH_MAX, "%s/hpx-tls-XXXXXX", base == NULL ? "/tmp" : base);
    assert_non_null(mkdtemp(path));
}

void certs_folder_remove(const char *path)
{
    DIR *folder = opendir(path);
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        if (entry->d_name[0] != '.') {
            const int flags = entry->d_type == DT_DIR ? AT_REMOVEDIR : 0; /* empty ones */
            assert_int_equal(unlinkat(dirfd(folder), entry->d_name, flags), 0);
        }
    }
    (void)closedir(folder);
    assert_int_equal(rmdir(path), 0);
}

void certs_write_file(
    char path[CERTS_PATH_MAX], const char *folder, const char *name, const char *text)
{
    const int size = snprintf(path, CERTS_PATH_MAX, "%s/%s", folder, name);
    assert_true(size > 0 && size < CERTS_PATH_MAX);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

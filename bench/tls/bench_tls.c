/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/tls/bench_tls.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/memory.h>

#include "ring/assert.h"
#include "tls/tls.h"

#define BENCH_PLAIN_MAX 16384
#define BENCH_PEM_MAX   4096

struct bench_site {
    hpx_tls_context *server;
    hpx_tls_context *client;
    hpxi_tls_cache *sessions; /* NULL: every handshake is a full one */
    bool has_session;
    char cert_pem[BENCH_PEM_MAX];
    char key_pem[BENCH_PEM_MAX];
};

struct bench_pair {
    hpxi_tls *client;
    hpxi_tls *server;
    hpxi_buf to_server;
    hpxi_buf to_client;
    char what[80];
};

static uint8_t bench_plain[BENCH_PLAIN_MAX];

static void *bench_alloc(size_t size, size_t align, void *user)
{
    (void)user;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void bench_dealloc(void *block, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(block);
}

static const hpx_allocator bench_allocator = {.alloc = bench_alloc, .free = bench_dealloc};

/* wolfSSL's allocator with the bytes counted: a header of 16 bytes keeps each block's size. */
static int64_t watched_bytes;

static void *watch_malloc(size_t size)
{
    size_t *block = malloc(size + 16);
    HPX_ASSERT(block != NULL);
    block[0] = size;
    watched_bytes += (int64_t)size;
    return (char *)block + 16;
}

static void watch_free(void *block)
{
    if (block != NULL) {
        size_t *head = (size_t *)(void *)((char *)block - 16);
        watched_bytes -= (int64_t)head[0];
        free(head);
    }
}

static void *watch_realloc(void *block, size_t size)
{
    void *bigger = watch_malloc(size);
    if (block != NULL) {
        const size_t before = *(size_t *)(void *)((char *)block - 16);
        memcpy(bigger, block, before < size ? before : size);
        watch_free(block);
    }
    return bigger;
}

void bench_memory_watch(bool on)
{
    static wolfSSL_Malloc_cb malloc_before;
    static wolfSSL_Free_cb free_before;
    static wolfSSL_Realloc_cb realloc_before;
    if (on) {
        (void)hpxi_tls_global_init();
        (void)wolfSSL_GetAllocators(&malloc_before, &free_before, &realloc_before);
        (void)wolfSSL_SetAllocators(watch_malloc, watch_free, watch_realloc);
    } else {
        (void)wolfSSL_SetAllocators(malloc_before, free_before, realloc_before);
    }
}

int64_t bench_memory_bytes(void)
{
    return watched_bytes;
}

uint64_t bench_allocations(void)
{
    return hpxi_tls_allocations();
}

static void bench_certificate(char *cert_pem, char *key_pem)
{
    static const byte san[] = {0x30, 0x07, 0x82, 0x05, 'b', 'e', 'n', 'c', 'h'};
    WC_RNG rng;
    ecc_key key;
    byte der[BENCH_PEM_MAX];
    Cert *cert = calloc(1, sizeof(*cert));
    HPX_ASSERT(cert != NULL);
    HPX_ASSERT(wc_InitRng(&rng) == 0);
    HPX_ASSERT(wc_ecc_init(&key) == 0);
    HPX_ASSERT(wc_ecc_make_key_ex(&rng, 32, &key, ECC_SECP256R1) == 0);
    HPX_ASSERT(wc_InitCert(cert) == 0);
    (void)snprintf(cert->subject.commonName, sizeof(cert->subject.commonName), "bench");
    cert->sigType = CTC_SHA256wECDSA;
    cert->isCA = 1;
    cert->selfSigned = 1;
    cert->daysValid = 2;
    memcpy(cert->altNames, san, sizeof(san));
    cert->altNamesSz = sizeof(san);
    HPX_ASSERT(wc_SetKeyUsage(cert, "digitalSignature,keyCertSign") == 0);
    HPX_ASSERT(wc_MakeCert_ex(cert, der, sizeof(der), ECC_TYPE, &key, &rng) > 0);
    int size = wc_SignCert_ex(cert->bodySz, cert->sigType, der, sizeof(der), ECC_TYPE, &key, &rng);
    HPX_ASSERT(size > 0);
    size = wc_DerToPem(der, (word32)size, (byte *)cert_pem, BENCH_PEM_MAX - 1, CERT_TYPE);
    HPX_ASSERT(size > 0);
    cert_pem[size] = '\0';
    size = wc_EccKeyToDer(&key, der, sizeof(der));
    HPX_ASSERT(size > 0);
    size = wc_DerToPem(der, (word32)size, (byte *)key_pem, BENCH_PEM_MAX - 1, ECC_PRIVATEKEY_TYPE);
    HPX_ASSERT(size > 0);
    key_pem[size] = '\0';
    wc_ecc_free(&key);
    wc_FreeRng(&rng);
    free(cert);
}

static void bench_make_server(bench_site *site, uint32_t ticket_count)
{
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.cert_pem = site->cert_pem;
    config.cert_pem_bytes = strlen(site->cert_pem);
    config.key_pem = site->key_pem;
    config.key_pem_bytes = strlen(site->key_pem);
    config.ticket_count = ticket_count;
    HPX_ASSERT(hpx_tls_server_context_new(&site->server, &config, NULL) == HPX_OK);
}

bench_site *bench_site_new(void)
{
    HPX_ASSERT(hpxi_tls_global_init() == HPX_OK);
    bench_site *site = calloc(1, sizeof(*site));
    HPX_ASSERT(site != NULL);
    bench_certificate(site->cert_pem, site->key_pem);
    bench_make_server(site, 0);
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_pem = site->cert_pem;
    config.ca_pem_bytes = strlen(site->cert_pem);
    HPX_ASSERT(hpx_tls_client_context_new(&site->client, &config, NULL) == HPX_OK);
    return site;
}

void bench_site_resume(bench_site *site)
{
    static const uint64_t now_ns = 1;
    const hpxi_tls_cache_config config = {.hosts_max = 1, .now_ns = &now_ns};
    HPX_ASSERT(hpxi_tls_cache_new(&site->sessions, &config, &bench_allocator) == HPX_OK);
    hpx_tls_context_release(site->server);
    bench_make_server(site, 1);
}

const char *bench_site_cert(const bench_site *site)
{
    return site->cert_pem;
}

const char *bench_site_key(const bench_site *site)
{
    return site->key_pem;
}

void bench_site_free(bench_site *site)
{
    hpxi_tls_cache_free(site->sessions);
    hpx_tls_context_release(site->server);
    hpx_tls_context_release(site->client);
    free(site);
}

static hpx_status bench_step(hpxi_tls *tls, hpxi_buf *in, hpxi_buf *out)
{
    uint8_t *data = in->data == NULL ? NULL : in->data + in->head;
    size_t size = hpxi_buf_size(in);
    const hpx_status status = hpxi_tls_handshake(tls, &data, &size, out, NULL);
    hpxi_buf_consume(in, hpxi_buf_size(in) - size);
    return status;
}

/* Opens all that is there. Returns the plain bytes. */
static size_t bench_read(hpxi_tls *tls, hpxi_buf *in, hpxi_buf *out)
{
    static uint8_t plain[BENCH_PLAIN_MAX];
    uint8_t *data = in->data == NULL ? NULL : in->data + in->head;
    size_t size = hpxi_buf_size(in);
    size_t total = 0;
    for (;;) {
        const ptrdiff_t rc = hpxi_tls_read(tls, &data, &size, plain, sizeof(plain), out, NULL);
        if (rc <= 0) {
            HPX_ASSERT(rc == HPX_E_PARTIAL);
            break;
        }
        total += (size_t)rc;
    }
    hpxi_buf_consume(in, hpxi_buf_size(in));
    return total;
}

bench_pair *bench_pair_new(bench_site *site)
{
    bench_pair *pair = calloc(1, sizeof(*pair));
    HPX_ASSERT(pair != NULL);
    hpxi_buf_init(&pair->to_server, &bench_allocator);
    hpxi_buf_init(&pair->to_client, &bench_allocator);
    hpxi_tls_session_config config = {
        .context = site->client, .server_name = "bench", .sessions = site->sessions};
    HPX_ASSERT(hpxi_tls_new(&pair->client, &config, &bench_allocator, NULL) == HPX_OK);
    config = (hpxi_tls_session_config){.context = site->server, .is_server = true};
    HPX_ASSERT(hpxi_tls_new(&pair->server, &config, &bench_allocator, NULL) == HPX_OK);
    hpx_status client = HPX_E_PARTIAL;
    hpx_status server = HPX_E_PARTIAL;
    for (int i = 0; i < 4 && (client == HPX_E_PARTIAL || server == HPX_E_PARTIAL); i++) {
        if (client == HPX_E_PARTIAL) {
            client = bench_step(pair->client, &pair->to_client, &pair->to_server);
        }
        if (server == HPX_E_PARTIAL) {
            server = bench_step(pair->server, &pair->to_server, &pair->to_client);
        }
    }
    if (client != 1 || server != 1) {
        bench_pair_free(pair);
        return NULL;
    }
    if (site->sessions != NULL) { /* the tickets */
        (void)bench_read(pair->client, &pair->to_client, &pair->to_server);
    }
    hpxi_tls_info info;
    hpxi_tls_get_info(pair->client, &info);
    if (info.resumed != site->has_session) {
        bench_pair_free(pair);
        return NULL;
    }
    site->has_session = site->sessions != NULL;
    (void)snprintf(pair->what, sizeof(pair->what), "%s %s", info.version, info.cipher);
    return pair;
}

void bench_pair_free(bench_pair *pair)
{
    hpxi_tls_free(pair->client);
    hpxi_tls_free(pair->server);
    hpxi_buf_fini(&pair->to_server);
    hpxi_buf_fini(&pair->to_client);
    free(pair);
}

const char *bench_pair_what(const bench_pair *pair)
{
    return pair->what;
}

void bench_seal(bench_pair *pair, size_t bytes, bool keep)
{
    HPX_DASSERT(bytes <= BENCH_PLAIN_MAX);
    if (!keep) {
        hpxi_buf_consume(&pair->to_server, hpxi_buf_size(&pair->to_server));
    }
    const hpx_span plain = {.data = bench_plain, .size = bytes};
    HPX_ASSERT(hpxi_tls_write(pair->client, plain, &pair->to_server, NULL) == HPX_OK);
}

size_t bench_open(bench_pair *pair)
{
    return bench_read(pair->server, &pair->to_server, &pair->to_client);
}

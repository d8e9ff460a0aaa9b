/* SPDX-License-Identifier: Apache-2.0 */
/*
 * openssl.c - what bench_tls.c does with sessions of ours, done with OpenSSL's libssl: memory BIOs
 * between a client and a server. Loaded at run time, so that the benchmark builds without its
 * headers; its numbers are those of openssl/ssl.h.
 */
#include <dlfcn.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/tls/bench_tls.h"

#define OSSL_PLAIN_MAX        16384
#define OSSL_VERIFY_PEER      1
#define OSSL_CTRL_SNI         55  /* SSL_CTRL_SET_TLSEXT_HOSTNAME */
#define OSSL_CTRL_MIN_VERSION 123 /* SSL_CTRL_SET_MIN_PROTO_VERSION */
#define OSSL_TLS_1_3          0x0304
#define OSSL_BIO_RESET        1
#define OSSL_FILETYPE_PEM     1
#define OSSL_SHUT_BOTH        3 /* SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN */

struct bench_ossl {
    void *library;
    void *crypto;
    void *server; /* SSL_CTX */
    void *client;
    void *session; /* SSL_SESSION to resume */
    bool resume;
    void *(*ctx_new)(const void *method);
    void (*ctx_free)(void *ctx);
    const void *(*method)(void);
    int (*use_chain_file)(void *ctx, const char *file);
    int (*use_key_file)(void *ctx, const char *file, int type);
    int (*load_roots)(void *ctx, const char *file, const char *path);
    void (*set_verify)(void *ctx, int mode, void *callback);
    int (*set_suites)(void *ctx, const char *list);
    int (*set_tickets)(void *ctx, size_t count);
    long (*ctx_ctrl)(void *ctx, int what, long number, void *pointer);
    void *(*ssl_new)(void *ctx);
    void (*ssl_free)(void *ssl);
    long (*ssl_ctrl)(void *ssl, int what, long number, void *pointer);
    int (*set_host)(void *ssl, const char *name);
    void (*set_bio)(void *ssl, void *in, void *out);
    void (*set_connect)(void *ssl);
    void (*set_accept)(void *ssl);
    int (*handshake)(void *ssl);
    int (*read)(void *ssl, void *to, int size);
    int (*write)(void *ssl, const void *from, int size);
    void *(*get_session)(void *ssl);
    int (*set_session)(void *ssl, void *session);
    void (*session_free)(void *session);
    int (*session_reused)(const void *ssl);
    void (*set_shutdown)(void *ssl, int mode);
    const void *(*bio_mem)(void);
    void *(*bio_new)(const void *type);
    int (*bio_up_ref)(void *bio);
    long (*bio_ctrl)(void *bio, int what, long number, void *pointer);
    int (*set_memory)(
        void *(*m)(size_t, const char *, int),
        void *(*r)(void *, size_t, const char *, int),
        void (*f)(void *, const char *, int));
};

struct bench_ossl_pair {
    void *client;
    void *server;
    void *to_server; /* BIO, also owned by both SSLs */
};

static uint64_t ossl_allocation_count;
static int64_t ossl_bytes;
static unsigned char ossl_plain[OSSL_PLAIN_MAX];

static void *ossl_malloc(size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    void *block = malloc(size);
    ossl_allocation_count++;
    ossl_bytes += (int64_t)malloc_usable_size(block);
    return block;
}

static void ossl_dealloc(void *block, const char *file, int line)
{
    (void)file;
    (void)line;
    ossl_bytes -= (int64_t)malloc_usable_size(block);
    free(block);
}

static void *ossl_realloc(void *block, size_t size, const char *file, int line)
{
    (void)file;
    (void)line;
    ossl_bytes -= (int64_t)malloc_usable_size(block);
    ossl_allocation_count++;
    void *bigger = realloc(block, size);
    ossl_bytes += (int64_t)malloc_usable_size(bigger);
    return bigger;
}

uint64_t bench_ossl_allocations(void)
{
    return ossl_allocation_count;
}

int64_t bench_ossl_memory(void)
{
    return ossl_bytes;
}

typedef struct ossl_symbol {
    const char *name;
    void *to; /* of the function pointer */
} ossl_symbol;

static bool ossl_load(bench_ossl *o)
{
    const ossl_symbol symbols[] = {
        {"SSL_CTX_new", &o->ctx_new},
        {"SSL_CTX_free", &o->ctx_free},
        {"TLS_method", &o->method},
        {"SSL_CTX_use_certificate_chain_file", &o->use_chain_file},
        {"SSL_CTX_use_PrivateKey_file", &o->use_key_file},
        {"SSL_CTX_load_verify_locations", &o->load_roots},
        {"SSL_CTX_set_verify", &o->set_verify},
        {"SSL_CTX_set_ciphersuites", &o->set_suites},
        {"SSL_CTX_set_num_tickets", &o->set_tickets},
        {"SSL_CTX_ctrl", &o->ctx_ctrl},
        {"SSL_new", &o->ssl_new},
        {"SSL_free", &o->ssl_free},
        {"SSL_ctrl", &o->ssl_ctrl},
        {"SSL_set1_host", &o->set_host},
        {"SSL_set_bio", &o->set_bio},
        {"SSL_set_connect_state", &o->set_connect},
        {"SSL_set_accept_state", &o->set_accept},
        {"SSL_do_handshake", &o->handshake},
        {"SSL_read", &o->read},
        {"SSL_write", &o->write},
        {"SSL_get1_session", &o->get_session},
        {"SSL_set_session", &o->set_session},
        {"SSL_SESSION_free", &o->session_free},
        {"SSL_session_reused", &o->session_reused},
        {"SSL_set_shutdown", &o->set_shutdown},
        {"BIO_s_mem", &o->bio_mem},
        {"BIO_new", &o->bio_new},
        {"BIO_up_ref", &o->bio_up_ref},
        {"BIO_ctrl", &o->bio_ctrl},
    };
    o->crypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    o->library = dlopen("libssl.so.3", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (o->library == NULL || o->crypto == NULL) {
        return false;
    }
    for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
        void *symbol = dlsym(o->library, symbols[i].name);
        symbol = symbol != NULL ? symbol : dlsym(o->crypto, symbols[i].name);
        if (symbol == NULL) {
            return false;
        }
        memcpy(symbols[i].to, &symbol, sizeof(symbol));
    }
    return true;
}

/* Before anything of it has allocated: later it is too late to count. */
__attribute__((constructor)) static void ossl_count_memory(void)
{
    bench_ossl o;
    void *crypto = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void *symbol = crypto == NULL ? NULL : dlsym(crypto, "CRYPTO_set_mem_functions");
    if (symbol != NULL) {
        memcpy(&o.set_memory, &symbol, sizeof(symbol));
        (void)o.set_memory(ossl_malloc, ossl_realloc, ossl_dealloc);
    }
}

/* Files are named, so give memory a name. */
static int ossl_file(char path[64], const char *text)
{
    const int fd = memfd_create("bench", MFD_CLOEXEC);
    if (fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text)) {
        (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
    }
    return fd;
}

static bool ossl_configure(bench_ossl *o, const char *cert, const char *key)
{
    static const char suite[] = "TLS_AES_128_GCM_SHA256";
    o->server = o->ctx_new(o->method());
    o->client = o->ctx_new(o->method());
    if (o->server == NULL || o->client == NULL) {
        return false;
    }
    o->set_verify(o->client, OSSL_VERIFY_PEER, NULL);
    return o->use_chain_file(o->server, cert) == 1 &&
           o->use_key_file(o->server, key, OSSL_FILETYPE_PEM) == 1 &&
           o->load_roots(o->client, cert, NULL) == 1 && o->set_suites(o->server, suite) == 1 &&
           o->set_suites(o->client, suite) == 1 &&
           o->set_tickets(o->server, o->resume ? 1 : 0) == 1 &&
           o->ctx_ctrl(o->client, OSSL_CTRL_MIN_VERSION, OSSL_TLS_1_3, NULL) == 1;
}

bench_ossl *bench_ossl_new(const bench_site *site, bool resume)
{
    char cert[64] = "";
    char key[64] = "";
    bench_ossl *o = calloc(1, sizeof(*o));
    if (o == NULL) {
        return NULL;
    }
    o->resume = resume;
    const int cert_fd = ossl_file(cert, bench_site_cert(site));
    const int key_fd = ossl_file(key, bench_site_key(site));
    if (!ossl_load(o) || !ossl_configure(o, cert, key)) {
        bench_ossl_free(o);
        o = NULL;
    }
    (void)close(cert_fd);
    (void)close(key_fd);
    return o;
}

void bench_ossl_free(bench_ossl *o)
{
    if (o->session != NULL) {
        o->session_free(o->session);
    }
    if (o->server != NULL) {
        o->ctx_free(o->server);
    }
    if (o->client != NULL) {
        o->ctx_free(o->client);
    }
    free(o);
}

static bool ossl_make(bench_ossl *o, bench_ossl_pair *pair)
{
    pair->client = o->ssl_new(o->client);
    pair->server = o->ssl_new(o->server);
    pair->to_server = o->bio_new(o->bio_mem());
    void *to_client = o->bio_new(o->bio_mem());
    if (pair->client == NULL || pair->server == NULL || pair->to_server == NULL ||
        to_client == NULL) {
        return false;
    }
    (void)o->bio_up_ref(pair->to_server);
    (void)o->bio_up_ref(to_client);
    o->set_bio(pair->client, to_client, pair->to_server);
    o->set_bio(pair->server, pair->to_server, to_client);
    o->set_connect(pair->client);
    o->set_accept(pair->server);
    char name[] = "bench";
    return o->set_host(pair->client, name) == 1 &&
           o->ssl_ctrl(pair->client, OSSL_CTRL_SNI, 0, name) == 1 &&
           (o->session == NULL || o->set_session(pair->client, o->session) == 1);
}

bench_ossl_pair *bench_ossl_pair_new(bench_ossl *o)
{
    bench_ossl_pair *pair = calloc(1, sizeof(*pair));
    if (pair == NULL) {
        return NULL;
    }
    bool done = false;
    if (ossl_make(o, pair)) {
        for (int i = 0; i < 4 && !done; i++) {
            const int client = o->handshake(pair->client);
            done = o->handshake(pair->server) == 1 && client == 1;
        }
    }
    if (done && o->resume) {
        (void)o->read(pair->client, ossl_plain, sizeof(ossl_plain)); /* the tickets */
        done = (o->session_reused(pair->client) == 1) == (o->session != NULL);
        if (o->session != NULL) {
            o->session_free(o->session);
        }
        o->session = o->get_session(pair->client);
    }
    if (!done) {
        bench_ossl_pair_free(o, pair);
        return NULL;
    }
    return pair;
}

void bench_ossl_pair_free(bench_ossl *o, bench_ossl_pair *pair)
{
    if (pair->client != NULL) {
        o->set_shutdown(pair->client, OSSL_SHUT_BOTH); /* else its session is good for nothing */
        o->ssl_free(pair->client);
    }
    if (pair->server != NULL) {
        o->ssl_free(pair->server);
    }
    free(pair);
}

bool bench_ossl_seal(bench_ossl *o, bench_ossl_pair *pair, size_t bytes, bool keep)
{
    if (!keep) {
        (void)o->bio_ctrl(pair->to_server, OSSL_BIO_RESET, 0, NULL);
    }
    return o->write(pair->client, ossl_plain, (int)bytes) == (int)bytes;
}

size_t bench_ossl_open(bench_ossl *o, bench_ossl_pair *pair)
{
    size_t total = 0;
    for (;;) {
        const int rc = o->read(pair->server, ossl_plain, sizeof(ossl_plain));
        if (rc <= 0) {
            return total;
        }
        total += (size_t)rc;
    }
}

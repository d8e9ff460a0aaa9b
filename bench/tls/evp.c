/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evp.c - the work of sealing and opening a TLS 1.3 record of AES-128-GCM (RFC 8446 5.2), done with
 * OpenSSL's EVP: nonce, header as additional data, content type behind the plain bytes, tag.
 * libcrypto is loaded at run time, so that the benchmark builds without OpenSSL's headers.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "bench/tls/bench_tls.h"

#define EVP_PLAIN_MAX   16384
#define EVP_HEAD_BYTES  5
#define EVP_TAG_BYTES   16
#define EVP_NONCE_BYTES 12
#define EVP_SET_TAG     0x11 /* EVP_CTRL_AEAD_SET_TAG */
#define EVP_GET_TAG     0x10 /* EVP_CTRL_AEAD_GET_TAG */

typedef int evp_init(
    void *ctx,
    const void *cipher,
    void *engine,
    const unsigned char *key,
    const unsigned char *iv,
    int encrypt);
typedef int
evp_update(void *ctx, unsigned char *out, int *out_bytes, const unsigned char *in, int in_bytes);
typedef int evp_final(void *ctx, unsigned char *out, int *out_bytes);
typedef int evp_ctrl(void *ctx, int type, int argument, void *pointer);

struct bench_evp {
    void *library;
    void *seal;
    void *open;
    void (*ctx_free)(void *ctx);
    evp_init *init;
    evp_update *update;
    evp_final *final;
    evp_ctrl *ctrl;
    uint64_t sealed;
    unsigned char iv[EVP_NONCE_BYTES];
    unsigned char plain[EVP_PLAIN_MAX];
    unsigned char inner[EVP_PLAIN_MAX + 1];
    unsigned char record[EVP_HEAD_BYTES + EVP_PLAIN_MAX + 1 + EVP_TAG_BYTES];
};

static void *evp_symbol(bench_evp *evp, const char *name)
{
    return evp->library == NULL ? NULL : dlsym(evp->library, name);
}

static bool evp_load(bench_evp *evp)
{
    evp->library = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
    void *(*ctx_new)(void) = NULL;
    const void *(*cipher)(void) = NULL;
    *(void **)&ctx_new = evp_symbol(evp, "EVP_CIPHER_CTX_new");
    *(void **)&cipher = evp_symbol(evp, "EVP_aes_128_gcm");
    *(void **)&evp->ctx_free = evp_symbol(evp, "EVP_CIPHER_CTX_free");
    *(void **)&evp->init = evp_symbol(evp, "EVP_CipherInit_ex");
    *(void **)&evp->update = evp_symbol(evp, "EVP_CipherUpdate");
    *(void **)&evp->final = evp_symbol(evp, "EVP_CipherFinal_ex");
    *(void **)&evp->ctrl = evp_symbol(evp, "EVP_CIPHER_CTX_ctrl");
    if (ctx_new == NULL || cipher == NULL || evp->ctx_free == NULL || evp->init == NULL ||
        evp->update == NULL || evp->final == NULL || evp->ctrl == NULL) {
        return false;
    }
    static const unsigned char key[16] = {1, 2, 3};
    evp->seal = ctx_new();
    evp->open = ctx_new();
    return evp->seal != NULL && evp->open != NULL &&
           evp->init(evp->seal, cipher(), NULL, key, evp->iv, 1) == 1 &&
           evp->init(evp->open, cipher(), NULL, key, evp->iv, 0) == 1;
}

bench_evp *bench_evp_new(void)
{
    bench_evp *evp = calloc(1, sizeof(*evp));
    if (evp != NULL && !evp_load(evp)) {
        bench_evp_free(evp);
        evp = NULL;
    }
    return evp;
}

void bench_evp_free(bench_evp *evp)
{
    if (evp->seal != NULL) {
        evp->ctx_free(evp->seal);
    }
    if (evp->open != NULL) {
        evp->ctx_free(evp->open);
    }
    if (evp->library != NULL) {
        (void)dlclose(evp->library);
    }
    free(evp);
}

static void evp_nonce(const bench_evp *evp, unsigned char nonce[EVP_NONCE_BYTES], uint64_t sequence)
{
    memcpy(nonce, evp->iv, EVP_NONCE_BYTES);
    for (int i = 0; i < 8; i++) {
        nonce[EVP_NONCE_BYTES - 1 - i] ^= (unsigned char)(sequence >> (8 * i));
    }
}

bool bench_evp_seal(bench_evp *evp, size_t bytes)
{
    unsigned char nonce[EVP_NONCE_BYTES];
    unsigned char *body = evp->record + EVP_HEAD_BYTES;
    const size_t inner = bytes + 1;
    const size_t length = inner + EVP_TAG_BYTES;
    const unsigned char head[EVP_HEAD_BYTES] = {
        23, 3, 3, (unsigned char)(length >> 8), (unsigned char)length};
    int out = 0;
    memcpy(evp->record, head, sizeof(head));
    memcpy(body, evp->plain, bytes); /* as a record layer that seals in place does */
    body[bytes] = 23;
    evp_nonce(evp, nonce, ++evp->sealed);
    return evp->init(evp->seal, NULL, NULL, NULL, nonce, 1) == 1 &&
           evp->update(evp->seal, NULL, &out, head, sizeof(head)) == 1 &&
           evp->update(evp->seal, body, &out, body, (int)inner) == 1 &&
           evp->final(evp->seal, body + inner, &out) == 1 &&
           evp->ctrl(evp->seal, EVP_GET_TAG, EVP_TAG_BYTES, body + inner) == 1;
}

bool bench_evp_open(bench_evp *evp, size_t bytes)
{
    unsigned char nonce[EVP_NONCE_BYTES];
    const unsigned char *body = evp->record + EVP_HEAD_BYTES;
    const size_t inner = bytes + 1;
    unsigned char tag[EVP_TAG_BYTES];
    int out = 0;
    memcpy(tag, body + inner, sizeof(tag));
    evp_nonce(evp, nonce, evp->sealed);
    if (evp->init(evp->open, NULL, NULL, NULL, nonce, 0) != 1 ||
        evp->ctrl(evp->open, EVP_SET_TAG, EVP_TAG_BYTES, tag) != 1 ||
        evp->update(evp->open, NULL, &out, evp->record, EVP_HEAD_BYTES) != 1 ||
        evp->update(evp->open, evp->inner, &out, body, (int)inner) != 1 ||
        evp->final(evp->open, evp->inner + inner, &out) != 1) {
        return false;
    }
    memcpy(evp->plain, evp->inner, bytes); /* to the caller */
    return true;
}

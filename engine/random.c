/* SPDX-License-Identifier: Apache-2.0 */
/* random.c - ChaCha20 with fast key erasure. */
#include <wolfssl/options.h>
/* options first: it decides what the other headers declare */
#include <wolfssl/wolfcrypt/chacha.h>
#include <wolfssl/wolfcrypt/memory.h>

#include "engine/random.h"
#include "ring/assert.h"
#include "ring/net.h"

static void random_wipe(void *data, size_t size)
{
    memset(data, 0, size);
    __asm__ volatile("" : : "r"(data) : "memory"); /* keep the store */
}

void hpxi_random_refill(hpxi_random *random)
{
    static const uint8_t zero[HPXI_RANDOM_POOL_BYTES + sizeof(random->key)];
    uint8_t stream[sizeof(zero)];
    const uint8_t nonce[CHACHA_IV_BYTES] = {0}; /* each key is used once */
    ChaCha chacha;
    HPX_ASSERT(wc_Chacha_SetKey(&chacha, random->key, sizeof(random->key)) == 0);
    HPX_ASSERT(wc_Chacha_SetIV(&chacha, nonce, 0) == 0);
    HPX_ASSERT(wc_Chacha_Process(&chacha, stream, zero, sizeof(zero)) == 0);
    memcpy(random->key, stream, sizeof(random->key));
    memcpy(random->pool, stream + sizeof(random->key), HPXI_RANDOM_POOL_BYTES);
    random->at = 0;
    random_wipe(&chacha, sizeof(chacha));
    random_wipe(stream, sizeof(stream));
}

void hpxi_random_init(hpxi_random *random)
{
    hpxi_os_random(random->key, sizeof(random->key));
    hpxi_random_refill(random);
}

void hpxi_random_fini(hpxi_random *random)
{
    random_wipe(random, sizeof(*random));
}

void hpxi_random_bytes(hpxi_random *random, void *out, size_t size)
{
    uint8_t *to = out;
    while (size != 0) {
        if (random->at == HPXI_RANDOM_POOL_BYTES) {
            hpxi_random_refill(random);
        }
        const size_t left = HPXI_RANDOM_POOL_BYTES - random->at;
        const size_t take = size < left ? size : left;
        memcpy(to, random->pool + random->at, take);
        random->at += (uint32_t)take;
        to += take;
        size -= take;
    }
}

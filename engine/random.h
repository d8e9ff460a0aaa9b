/* SPDX-License-Identifier: Apache-2.0 */
/*
 * random.h - CSPRNG of a shard: masking keys, nonces, jitter.
 *
 * Role      ChaCha20 (wolfCrypt) keyed from the kernel, with fast key erasure: each refill replaces
 *           its own key, so that past output cannot be recomputed. A refill makes 1 KiB in well
 *           under 2 us and no system call.
 * Threads   The shard's.
 */
#ifndef HPXI_RANDOM_H
#define HPXI_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HPXI_RANDOM_POOL_BYTES 1024u

typedef struct hpxi_random {
    uint32_t at; /* next unused byte of the pool */
    uint8_t key[32];
    uint8_t pool[HPXI_RANDOM_POOL_BYTES];
} hpxi_random;

void hpxi_random_init(hpxi_random *random);
void hpxi_random_fini(hpxi_random *random); /* wipes */
void hpxi_random_refill(hpxi_random *random);
void hpxi_random_bytes(hpxi_random *random, void *out, size_t size);

/* Four bytes, for a masking key. */
static inline void hpxi_random_key4(hpxi_random *random, uint8_t out[4])
{
    if (random->at + 4 > HPXI_RANDOM_POOL_BYTES) {
        hpxi_random_refill(random);
    }
    memcpy(out, random->pool + random->at, 4);
    random->at += 4;
}

#endif /* HPXI_RANDOM_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mask.c - RFC 6455 5.3 masking: a scalar reference, a form with 16-byte vectors of the compiler
 * (SSE2, NEON, or words, as the target has them), and one for AVX2.
 *
 * No form has a loop for the odd bytes at the end. They are covered by one more vector that ends
 * where the data ends and overlaps its neighbour. It is loaded before the first store, so that in
 * place no byte is masked twice.
 *
 * Threads   Any. The dispatch pointer is written by a constructor, before there are threads.
 */
#include "ws/mask.h"

#include <string.h>

#include "ring/assert.h"

/* Vectors of the compiler, so that one source serves every instruction set. */
typedef uint64_t mask_v16 __attribute__((vector_size(16)));

void hpxi_ws_mask_scalar(
    uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4], size_t phase)
{
    HPX_DASSERT(dst == src || dst + size <= src || src + size <= dst);
    for (size_t i = 0; i < size; i++) {
        dst[i] = src[i] ^ key[(phase + i) & 3];
    }
}

/* The key as a word of memory that starts `bytes` further into the repeated key. */
static inline uint32_t mask_rotate(uint32_t key, size_t bytes)
{
    const uint32_t bits = (uint32_t)(bytes & 3) * 8;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return key >> bits | key << (-bits & 31);
#else
    return key << bits | key >> (-bits & 31);
#endif
}

static inline uint32_t mask_key_at(const uint8_t key[4], size_t phase)
{
    uint32_t word;
    memcpy(&word, key, sizeof(word));
    return mask_rotate(word, phase);
}

static inline uint64_t mask_twice(uint32_t key)
{
    return (uint64_t)key << 32 | key;
}

/* Fewer than 16 bytes: two words that may overlap. `key` is already rotated to the phase. */
static inline void mask_short(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key)
{
    HPX_DASSERT(size < 16);
    if (size >= 8) {
        uint64_t first;
        uint64_t last;
        memcpy(&first, src, 8);
        memcpy(&last, src + size - 8, 8);
        first ^= mask_twice(key);
        last ^= mask_twice(mask_rotate(key, size));
        memcpy(dst, &first, 8);
        memcpy(dst + size - 8, &last, 8);
    } else if (size >= 4) {
        uint32_t first;
        uint32_t last;
        memcpy(&first, src, 4);
        memcpy(&last, src + size - 4, 4);
        first ^= key;
        last ^= mask_rotate(key, size);
        memcpy(dst, &first, 4);
        memcpy(dst + size - 4, &last, 4);
    } else {
        uint8_t bytes[4];
        memcpy(bytes, &key, sizeof(bytes));
        for (size_t i = 0; i < size; i++) {
            dst[i] = src[i] ^ bytes[i];
        }
    }
}

/* 16 bytes or more. The four vectors of a turn keep the loads ahead of the stores. */
static inline void mask_long(uint8_t *dst, const uint8_t *src, size_t size, uint32_t key)
{
    HPX_DASSERT(size >= 16);
    const uint64_t key8 = mask_twice(key);
    const uint64_t last_key8 = mask_twice(mask_rotate(key, size));
    const mask_v16 pattern = {key8, key8};
    const mask_v16 last_pattern = {last_key8, last_key8};
    mask_v16 last;
    memcpy(&last, src + size - 16, 16);
    last ^= last_pattern;

    size_t at = 0;
    for (; size - at > 64; at += 64) {
        mask_v16 v[4];
        memcpy(v, src + at, 64);
        v[0] ^= pattern;
        v[1] ^= pattern;
        v[2] ^= pattern;
        v[3] ^= pattern;
        memcpy(dst + at, v, 64);
    }
    for (; size - at > 16; at += 16) {
        mask_v16 v;
        memcpy(&v, src + at, 16);
        v ^= pattern;
        memcpy(dst + at, &v, 16);
    }
    memcpy(dst + size - 16, &last, 16);
}

void hpxi_ws_mask_portable(
    uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4], size_t phase)
{
    HPX_DASSERT(dst == src || dst + size <= src || src + size <= dst);
    const uint32_t word = mask_key_at(key, phase);
    if (size < 16) {
        mask_short(dst, src, size, word);
    } else {
        mask_long(dst, src, size, word);
    }
}

#if defined(__x86_64__)

#include <immintrin.h>

__attribute__((target("avx2"))) static inline __m256i mask_load(const uint8_t *from)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)from);
}

__attribute__((target("avx2"))) static inline void mask_store(uint8_t *to, __m256i v)
{
    _mm256_storeu_si256((__m256i *)(void *)to, v);
}

__attribute__((target("avx2"))) static void
mask_avx2(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4], size_t phase)
{
    HPX_DASSERT(dst == src || dst + size <= src || src + size <= dst);
    const uint32_t word = mask_key_at(key, phase);
    if (size < 32) {
        if (size < 16) {
            mask_short(dst, src, size, word);
        } else {
            mask_long(dst, src, size, word);
        }
        return;
    }
    const __m256i pattern = _mm256_set1_epi32((int)word);
    const __m256i last_pattern = _mm256_set1_epi32((int)mask_rotate(word, size));
    const __m256i last = _mm256_xor_si256(mask_load(src + size - 32), last_pattern);

    size_t at = 0;
    for (; size - at > 128; at += 128) {
        const __m256i a = _mm256_xor_si256(mask_load(src + at), pattern);
        const __m256i b = _mm256_xor_si256(mask_load(src + at + 32), pattern);
        const __m256i c = _mm256_xor_si256(mask_load(src + at + 64), pattern);
        const __m256i d = _mm256_xor_si256(mask_load(src + at + 96), pattern);
        mask_store(dst + at, a);
        mask_store(dst + at + 32, b);
        mask_store(dst + at + 64, c);
        mask_store(dst + at + 96, d);
    }
    for (; size - at > 32; at += 32) {
        mask_store(dst + at, _mm256_xor_si256(mask_load(src + at), pattern));
    }
    mask_store(dst + size - 32, last);
}

static void (*mask_best)(uint8_t *, const uint8_t *, size_t, const uint8_t *, size_t) =
    hpxi_ws_mask_portable;

/* A constructor and not the first call: there is no other thread yet that could be reading. */
__attribute__((constructor)) static void mask_choose(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        mask_best = mask_avx2;
    }
}

void hpxi_ws_mask(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4], size_t phase)
{
    mask_best(dst, src, size, key, phase);
}

#else

void hpxi_ws_mask(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t key[4], size_t phase)
{
    hpxi_ws_mask_portable(dst, src, size, key, phase);
}

#endif

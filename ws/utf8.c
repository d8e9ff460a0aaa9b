/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utf8.c - strict UTF-8 (RFC 3629), three times: a reference that decodes characters, a byte
 * automaton for streams, and a validator of 32 bytes at a time for AVX2.
 *
 * The automaton's state is "how many bytes the character lacks, and the range the next one must be
 * in"; RFC 3629 section 4 is exactly a list of such ranges.
 *
 * The vector form looks at each byte together with the one before it (the method of Keiser and
 * Lemire, "Validating UTF-8 In Less Than One Instruction Per Byte", 2020). Every fault that a pair
 * can show is a bit; three tables, indexed by three of the pair's four nibbles, each tell which
 * faults that nibble allows; a fault on which all three agree is there.
 */
#include "ws/utf8.h"

#include <string.h>

#include "ring/assert.h"

#define UTF8_STATE(lacking, low, high) ((uint32_t)(high) << 16 | (uint32_t)(low) << 8 | (lacking))
#define UTF8_BAD                       UINT32_MAX /* absorbing: lacking 255, a range of no byte */

#define UTF8_HIGH_BITS UINT64_C(0x8080808080808080)

/* One character's size from its first byte, and its value in *point; 0 if it is malformed. */
static size_t utf8_decode(const uint8_t *data, size_t size, uint32_t *point)
{
    HPX_DASSERT(size != 0);
    static const uint32_t point_min[5] = {0, 0, 0x80, 0x800, 0x10000};
    const uint8_t lead = data[0];
    const size_t count = lead < 0x80             ? 1
                         : (lead & 0xE0) == 0xC0 ? 2
                         : (lead & 0xF0) == 0xE0 ? 3
                         : (lead & 0xF8) == 0xF0 ? 4
                                                 : 0;
    if (count == 0 || count > size) {
        return 0;
    }
    *point = count == 1 ? lead : lead & (0x7Fu >> count);
    for (size_t i = 1; i < count; i++) {
        if ((data[i] & 0xC0) != 0x80) {
            return 0;
        }
        *point = *point << 6 | (data[i] & 0x3Fu);
    }
    return *point < point_min[count] ? 0 : count;
}

bool hpxi_utf8_check_scalar(const uint8_t *data, size_t size)
{
    for (size_t at = 0; at < size;) {
        uint32_t point = 0;
        const size_t count = utf8_decode(data + at, size - at, &point);
        if (count == 0 || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
            return false;
        }
        at += count;
    }
    return true;
}

/* RFC 3629 section 4: what may follow the first byte of a character. */
static uint32_t utf8_begin(uint8_t byte)
{
    if (byte < 0x80) {
        return 0;
    }
    if (byte < 0xC2 || byte > 0xF4) {
        return UTF8_BAD;
    }
    if (byte < 0xE0) {
        return UTF8_STATE(1, 0x80, 0xBF);
    }
    if (byte < 0xF0) {
        return byte == 0xE0   ? UTF8_STATE(2, 0xA0, 0xBF)
               : byte == 0xED ? UTF8_STATE(2, 0x80, 0x9F)
                              : UTF8_STATE(2, 0x80, 0xBF);
    }
    return byte == 0xF0   ? UTF8_STATE(3, 0x90, 0xBF)
           : byte == 0xF4 ? UTF8_STATE(3, 0x80, 0x8F)
                          : UTF8_STATE(3, 0x80, 0xBF);
}

static inline uint32_t utf8_step(uint32_t state, uint8_t byte)
{
    if (state == 0) {
        return utf8_begin(byte);
    }
    const uint8_t low = (uint8_t)(state >> 8);
    const uint8_t high = (uint8_t)(state >> 16);
    if (state == UTF8_BAD || byte < low || byte > high) {
        return UTF8_BAD;
    }
    const uint32_t lacking = (state & 0xFF) - 1;
    HPX_DASSERT(lacking < 3);
    return lacking == 0 ? 0 : UTF8_STATE(lacking, 0x80, 0xBF);
}

static inline bool utf8_word_is_ascii(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, sizeof(word));
    return (word & UTF8_HIGH_BITS) == 0;
}

bool hpxi_utf8_check_portable(const uint8_t *data, size_t size)
{
    HPX_DASSERT(data != NULL || size == 0);
    uint32_t state = 0;
    size_t at = 0;
    while (at < size) {
        if (state == 0) {
            while (size - at >= 8 && utf8_word_is_ascii(data + at)) {
                at += 8;
            }
            if (at == size) {
                break;
            }
        }
        state = utf8_step(state, data[at++]);
        if (state == UTF8_BAD) {
            return false;
        }
    }
    return state == 0;
}

/* Does the text that ends before `end`, of at least 3 bytes, end inside a character? */
static inline bool utf8_is_cut(const uint8_t *end)
{
    return (end[-1] >= 0xC0) | (end[-2] >= 0xE0) | (end[-3] >= 0xF0);
}

#if defined(__x86_64__)

#include <immintrin.h>

#define UTF8_AVX2 __attribute__((target("avx2")))

/* Faults of a pair of bytes. The last is none when the character has three or four bytes. */
enum {
    UTF8_TOO_SHORT = 1 << 0,  /* first byte of a character, then no continuation */
    UTF8_TOO_LONG = 1 << 1,   /* ASCII, then a continuation */
    UTF8_OVERLONG_3 = 1 << 2, /* E0, then 80..9F */
    UTF8_TOO_LARGE = 1 << 3,  /* F4, then 90..BF; F5 and above, then 90..BF */
    UTF8_SURROGATE = 1 << 4,  /* ED, then A0..BF */
    UTF8_OVERLONG_2 = 1 << 5, /* C0 or C1, then a continuation */
    UTF8_EDGE_4 = 1 << 6,     /* F0 (overlong) or F5 and above (too large), then 80..8F */
    UTF8_TWO_CONT = 1 << 7,   /* two continuations */
};

/* Faults that do not depend on the low nibble of the first byte. */
#define UTF8_ANY_LOW (UTF8_TOO_SHORT | UTF8_TOO_LONG | UTF8_TWO_CONT)
/* Faults of every continuation, whatever its value. */
#define UTF8_ANY_CONT (UTF8_TOO_LONG | UTF8_OVERLONG_2 | UTF8_TWO_CONT)
/* F5 and above, by low nibble (the high nibble's table confines these to F). */
#define UTF8_ABOVE_F4 (UTF8_ANY_LOW | UTF8_TOO_LARGE | UTF8_EDGE_4)

#define UTF8_TABLE(...)   _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))
#define UTF8_BITS(faults) ((char)(faults))

/* Indexed by the high nibble of the first byte. */
UTF8_AVX2 static inline __m256i utf8_first_high(void)
{
    const char ascii = UTF8_TOO_LONG;
    const char cont = UTF8_BITS(UTF8_TWO_CONT);
    return UTF8_TABLE(
        ascii,
        ascii,
        ascii,
        ascii,
        ascii,
        ascii,
        ascii,
        ascii,
        cont,
        cont,
        cont,
        cont,
        UTF8_BITS(UTF8_TOO_SHORT | UTF8_OVERLONG_2),
        UTF8_BITS(UTF8_TOO_SHORT),
        UTF8_BITS(UTF8_TOO_SHORT | UTF8_OVERLONG_3 | UTF8_SURROGATE),
        UTF8_BITS(UTF8_TOO_SHORT | UTF8_TOO_LARGE | UTF8_EDGE_4));
}

/* Indexed by the low nibble of the first byte. */
UTF8_AVX2 static inline __m256i utf8_first_low(void)
{
    const char any = UTF8_BITS(UTF8_ANY_LOW);
    const char above = UTF8_BITS(UTF8_ABOVE_F4);
    return UTF8_TABLE(
        UTF8_BITS(UTF8_ANY_LOW | UTF8_OVERLONG_2 | UTF8_OVERLONG_3 | UTF8_EDGE_4),
        UTF8_BITS(UTF8_ANY_LOW | UTF8_OVERLONG_2),
        any,
        any,
        UTF8_BITS(UTF8_ANY_LOW | UTF8_TOO_LARGE),
        above,
        above,
        above,
        above,
        above,
        above,
        above,
        above,
        UTF8_BITS(UTF8_ABOVE_F4 | UTF8_SURROGATE),
        above,
        above);
}

/* Indexed by the high nibble of the second byte. */
UTF8_AVX2 static inline __m256i utf8_second_high(void)
{
    const char no_cont = UTF8_TOO_SHORT;
    const char a_or_b = UTF8_BITS(UTF8_ANY_CONT | UTF8_SURROGATE | UTF8_TOO_LARGE);
    return UTF8_TABLE(
        no_cont,
        no_cont,
        no_cont,
        no_cont,
        no_cont,
        no_cont,
        no_cont,
        no_cont,
        UTF8_BITS(UTF8_ANY_CONT | UTF8_OVERLONG_3 | UTF8_EDGE_4),
        UTF8_BITS(UTF8_ANY_CONT | UTF8_OVERLONG_3 | UTF8_TOO_LARGE),
        a_or_b,
        a_or_b,
        no_cont,
        no_cont,
        no_cont,
        no_cont);
}

/* Faults of 32 bytes, given the 32 that begin 1, 2 and 3 bytes earlier. */
UTF8_AVX2 static inline __m256i
utf8_faults(__m256i now, __m256i before1, __m256i before2, __m256i before3)
{
    const __m256i nibble = _mm256_set1_epi8(0x0F);
    const __m256i before1_high = _mm256_and_si256(_mm256_srli_epi16(before1, 4), nibble);
    const __m256i now_high = _mm256_and_si256(_mm256_srli_epi16(now, 4), nibble);
    const __m256i pair = _mm256_and_si256(
        _mm256_and_si256(
            _mm256_shuffle_epi8(utf8_first_high(), before1_high),
            _mm256_shuffle_epi8(utf8_first_low(), _mm256_and_si256(before1, nibble))),
        _mm256_shuffle_epi8(utf8_second_high(), now_high));
    /* Bit 7 survives where a third or fourth byte of a character belongs: there, and only there,
     * two continuations are right. */
    const __m256i third = _mm256_subs_epu8(before2, _mm256_set1_epi8(0xE0 - 0x80));
    const __m256i fourth = _mm256_subs_epu8(before3, _mm256_set1_epi8(0xF0 - 0x80));
    const __m256i two_cont = _mm256_and_si256(
        _mm256_or_si256(third, fourth), _mm256_set1_epi8(UTF8_BITS(UTF8_TWO_CONT)));
    return _mm256_xor_si256(pair, two_cont);
}

UTF8_AVX2 static inline __m256i utf8_load(const uint8_t *from)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)from);
}

UTF8_AVX2 static inline bool utf8_is_ascii(__m256i v)
{
    return _mm256_movemask_epi8(v) == 0;
}

/* Faults of the block at data + at, where at least 3 bytes precede it. */
UTF8_AVX2 static inline __m256i utf8_faults_at(const uint8_t *at)
{
    return utf8_faults(utf8_load(at), utf8_load(at - 1), utf8_load(at - 2), utf8_load(at - 3));
}

/* Faults of the first block, which nothing precedes. */
UTF8_AVX2 static inline __m256i utf8_faults_first(const uint8_t *data)
{
    const __m256i now = utf8_load(data);
    const __m256i shifted =
        _mm256_permute2x128_si256(now, now, 0x08); /* zeros, then the low half */
    return utf8_faults(
        now,
        _mm256_alignr_epi8(now, shifted, 15),
        _mm256_alignr_epi8(now, shifted, 14),
        _mm256_alignr_epi8(now, shifted, 13));
}

/* The last 1 to 31 bytes, before which `before` (0 or at least 3) bytes lie. They are copied
 * between those and zeros, so that a character that the end cuts off is a fault as well. */
UTF8_AVX2 static bool utf8_check_last(const uint8_t *data, size_t size, size_t before)
{
    HPX_DASSERT(size != 0);
    HPX_DASSERT(size < 32);
    HPX_DASSERT(before == 0 || before >= 3);
    uint8_t block[3 + 32] = {0};
    if (before != 0) {
        memcpy(block, data - 3, 3);
    }
    memcpy(block + 3, data, size);
    const __m256i faults = utf8_faults_at(block + 3);
    return _mm256_testz_si256(faults, faults) != 0;
}

/* Start of the first block of 32 (multiple of 32) that is not ASCII, or of the last, short one. */
UTF8_AVX2 static inline size_t utf8_skip_ascii(const uint8_t *data, size_t size)
{
    size_t at = 0;
    for (; size - at >= 128; at += 128) {
        const __m256i ab = _mm256_or_si256(utf8_load(data + at), utf8_load(data + at + 32));
        const __m256i cd = _mm256_or_si256(utf8_load(data + at + 64), utf8_load(data + at + 96));
        if (!utf8_is_ascii(_mm256_or_si256(ab, cd))) {
            break;
        }
    }
    while (size - at >= 32 && utf8_is_ascii(utf8_load(data + at))) {
        at += 32;
    }
    return at;
}

UTF8_AVX2 static bool utf8_check_mixed(const uint8_t *data, size_t size, size_t at)
{
    HPX_DASSERT(at + 32 <= size);
    __m256i faults = _mm256_setzero_si256();
    bool cut = false;
    if (at == 0) {
        faults = utf8_faults_first(data);
        at = 32;
    }
    for (; size - at >= 32; at += 32) {
        if (utf8_is_ascii(utf8_load(data + at))) {
            cut |= utf8_is_cut(data + at);
        } else {
            faults = _mm256_or_si256(faults, utf8_faults_at(data + at));
        }
    }
    if (cut || !_mm256_testz_si256(faults, faults)) {
        return false;
    }
    return at == size ? !utf8_is_cut(data + size) : utf8_check_last(data + at, size - at, at);
}

UTF8_AVX2 static bool utf8_check_avx2(const uint8_t *data, size_t size)
{
    HPX_DASSERT(data != NULL || size == 0);
    if (size >= 32) {
        const size_t at = utf8_skip_ascii(data, size);
        if (size - at >= 32) {
            return utf8_check_mixed(data, size, at);
        }
        /* All but the last bytes are ASCII: if the last whole block is, everything is. */
        return at == size || utf8_is_ascii(utf8_load(data + size - 32)) ||
               utf8_check_last(data + at, size - at, at);
    }
    if (size >= 8) {
        bool ascii = utf8_word_is_ascii(data) && utf8_word_is_ascii(data + size - 8);
        for (size_t at = 8; ascii && at + 8 < size; at += 8) {
            ascii = utf8_word_is_ascii(data + at);
        }
        return ascii || utf8_check_last(data, size, 0);
    }
    return hpxi_utf8_check_portable(data, size);
}

static bool (*utf8_best)(const uint8_t *, size_t) = hpxi_utf8_check_portable;

/* A constructor and not the first call: there is no other thread yet that could be reading. */
__attribute__((constructor)) static void utf8_choose(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2")) {
        utf8_best = utf8_check_avx2;
    }
}

bool hpxi_utf8_check(const uint8_t *data, size_t size)
{
    return utf8_best(data, size);
}

#else

bool hpxi_utf8_check(const uint8_t *data, size_t size)
{
    return hpxi_utf8_check_portable(data, size);
}

#endif

/* Bytes at the end that may belong to a character that is not all there: 0 to 3. */
static size_t utf8_tail(const uint8_t *data, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        const uint8_t byte = data[size - back];
        if (byte >= 0xC0) {
            const size_t count = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
            return count > back ? back : 0;
        }
        if (byte < 0x80) {
            return 0;
        }
    }
    return 0;
}

bool hpxi_utf8_feed(hpxi_utf8 *utf8, const uint8_t *data, size_t size)
{
    HPX_DASSERT(data != NULL || size == 0);
    uint32_t state = utf8->state;
    size_t at = 0;
    while (state != 0 && at < size) {
        state = utf8_step(state, data[at++]);
        if (state == UTF8_BAD) {
            break;
        }
    }
    if (at < size && state == 0) {
        const size_t tail = utf8_tail(data + at, size - at);
        if (!hpxi_utf8_check(data + at, size - at - tail)) {
            state = UTF8_BAD;
        } else {
            for (at = size - tail; at < size; at++) {
                state = utf8_step(state, data[at]);
            }
        }
    }
    utf8->state = state;
    return state != UTF8_BAD;
}

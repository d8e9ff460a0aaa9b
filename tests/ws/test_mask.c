/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every form of masking is the scalar one, and touches nothing but its bytes.
 * Method: all offsets 0..63 x sizes 0..300 x 4 phases, in place and not, compared over the whole
 * buffer; the scalar form against RFC 6455 5.3 as written; long sizes around each unrolling; and
 * data that ends at a page that cannot be touched.
 */
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/support/test.h"
#include "ws/mask.h"

#define OFFSETS    64u
#define SIZE_MOST  300u
#define ROOM_BYTES 512u

typedef void
mask_fn(uint8_t *dst, const uint8_t *src, size_t size, const uint8_t *key, size_t phase);

static const struct {
    const char *name;
    mask_fn *mask;
} forms[] = {{"best", hpxi_ws_mask}, {"portable", hpxi_ws_mask_portable}};

static const uint8_t key[4] = {0x37, 0xFA, 0x21, 0x3D};

static void fill(uint8_t *bytes, size_t size, uint32_t seed)
{
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1664525u + 1013904223u;
        bytes[i] = (uint8_t)(seed >> 24);
    }
}

static void test_mask_scalar_when_rfc_example_then_as_written(void **state)
{
    (void)state;
    uint8_t masked[5];
    hpxi_ws_mask_scalar(masked, (const uint8_t *)"Hello", 5, key, 0);
    assert_memory_equal(masked, "\x7f\x9f\x4d\x51\x58", 5);
    hpxi_ws_mask_scalar(masked, masked, 5, key, 0);
    assert_memory_equal(masked, "Hello", 5);
    hpxi_ws_mask_scalar(masked, (const uint8_t *)"llo", 3, key, 2); /* in the middle of a frame */
    assert_memory_equal(masked, "\x4d\x51\x58", 3);
}

static void compare(size_t form, size_t offset, size_t size, size_t phase, bool in_place)
{
    uint8_t source[ROOM_BYTES];
    uint8_t got[ROOM_BYTES];
    uint8_t expected[ROOM_BYTES];
    const size_t from = in_place ? offset : (offset * 7 + 13) % OFFSETS;
    fill(source, sizeof(source), (uint32_t)(size * 64 + offset));
    memcpy(got, source, sizeof(got));
    memcpy(expected, source, sizeof(expected));

    hpxi_ws_mask_scalar(expected + offset, source + from, size, key, phase);
    forms[form].mask(got + offset, in_place ? got + from : source + from, size, key, phase);
    if (memcmp(got, expected, sizeof(got)) != 0) {
        fail_msg(
            "%s: offset %zu, size %zu, phase %zu, in place %d",
            forms[form].name,
            offset,
            size,
            phase,
            (int)in_place);
    }
}

static void test_mask_when_any_offset_size_and_phase_then_as_scalar(void **state)
{
    (void)state;
    for (size_t form = 0; form < COUNT_OF(forms); form++) {
        for (size_t offset = 0; offset < OFFSETS; offset++) {
            for (size_t size = 0; size <= SIZE_MOST; size++) {
                for (size_t phase = 0; phase < 4; phase++) {
                    compare(form, offset, size, phase, false);
                    compare(form, offset, size, phase, true);
                }
            }
        }
    }
}

static void test_mask_when_cut_in_two_then_phase_carries_on(void **state)
{
    (void)state;
    static uint8_t source[70000];
    static uint8_t whole[70000];
    static uint8_t parts[70000];
    fill(source, sizeof(source), 1);
    hpxi_ws_mask_scalar(whole, source, sizeof(source), key, 0);
    for (size_t cut = 0; cut < sizeof(source); cut += 1 + cut / 3) {
        for (size_t form = 0; form < COUNT_OF(forms); form++) {
            memset(parts, 0, sizeof(parts));
            forms[form].mask(parts, source, cut, key, 0);
            /* The phase may be any count of bytes, not only 0..3. */
            forms[form].mask(parts + cut, source + cut, sizeof(source) - cut, key, cut);
            assert_memory_equal(parts, whole, sizeof(whole));
        }
    }
}

static void test_mask_when_between_guard_pages_then_never_beyond(void **state)
{
    (void)state;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    uint8_t *map = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    assert_int_equal(mprotect(map, page, PROT_NONE), 0);
    assert_int_equal(mprotect(map + 2 * page, page, PROT_NONE), 0);
    for (size_t form = 0; form < COUNT_OF(forms); form++) {
        for (size_t size = 0; size <= SIZE_MOST; size++) {
            uint8_t *first = map + page;
            uint8_t *last = map + 2 * page - size;
            forms[form].mask(first, first, size, key, size);
            forms[form].mask(last, last, size, key, size);
            forms[form].mask(last, first, size, key, size);
        }
    }
    assert_int_equal(munmap(map, 3 * page), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mask_scalar_when_rfc_example_then_as_written),
        cmocka_unit_test(test_mask_when_any_offset_size_and_phase_then_as_scalar),
        cmocka_unit_test(test_mask_when_cut_in_two_then_phase_carries_on),
        cmocka_unit_test(test_mask_when_between_guard_pages_then_never_beyond),
    };
    return cmocka_run_group_tests_name("ws/mask", tests, NULL, NULL);
}

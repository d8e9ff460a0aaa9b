/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: hpxi_buf is a queue of bytes that loses nothing, also when memory runs out, and allocates
 * nothing in a steady state.
 * Method: directed cases, random traffic against a plain array, each allocation failing in turn.
 */
#include "ring/alloc.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

static failing_allocator memory;
static hpx_allocator allocator;
static hpxi_buf buf;

static int setup(void **state)
{
    (void)state;
    memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    allocator = fa_allocator(&memory);
    hpxi_buf_init(&buf, &allocator);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hpxi_buf_fini(&buf);
    return memory.live == 0 && memory.bytes == 0 ? 0 : -1;
}

/* Byte number `at` of the stream that the tests write. */
static uint8_t content(uint64_t at)
{
    return (uint8_t)(at * 131 + (at >> 8) * 17 + 3);
}

static bool put(uint64_t *written, size_t size)
{
    uint8_t *to = hpxi_buf_reserve(&buf, size);
    if (to == NULL) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        to[i] = content((*written)++);
    }
    hpxi_buf_commit(&buf, size);
    return true;
}

static void take(uint64_t *read, size_t size)
{
    const hpx_span span = hpxi_buf_span(&buf);
    assert_true(span.size >= size);
    if (span.data == NULL) {
        assert_int_equal(size, 0);
        return;
    }
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(span.data[i], content((*read)++));
    }
    hpxi_buf_consume(&buf, size);
}

static void test_alloc_zero_when_memory_then_zero_and_aligned(void **state)
{
    (void)state;
    for (size_t align = 1; align <= 4096; align *= 2) {
        uint8_t *block = hpxi_alloc_zero(&allocator, 1000, align);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % align, 0);
        for (size_t i = 0; i < 1000; i++) {
            assert_int_equal(block[i], 0);
        }
        memset(block, 0xFF, 1000); /* the next may get the same memory */
        hpxi_free(&allocator, block, 1000);
    }
    hpxi_free(&allocator, NULL, 1000);
    memory.fail_at = memory.count;
    assert_null(hpxi_alloc_zero(&allocator, 1000, 16));
}

static void test_buf_when_new_then_empty_without_memory(void **state)
{
    (void)state;
    assert_int_equal(hpxi_buf_size(&buf), 0);
    assert_int_equal(hpxi_buf_span(&buf).size, 0);
    hpxi_buf_consume(&buf, 0);
    assert_int_equal(memory.count, 0);
}

static void test_buf_append_when_nothing_then_true(void **state)
{
    (void)state;
    assert_true(hpxi_buf_append(&buf, NULL, 0));
    assert_true(hpxi_buf_append(&buf, "abc", 3));
    assert_true(hpxi_buf_append(&buf, NULL, 0));
    assert_int_equal(hpxi_buf_size(&buf), 3);
    assert_memory_equal(hpxi_buf_span(&buf).data, "abc", 3);
}

static void test_buf_reserve_when_zero_then_not_null(void **state)
{
    (void)state;
    assert_non_null(hpxi_buf_reserve(&buf, 0)); /* NULL means out of memory, and nothing else */
    uint64_t written = 0;
    assert_true(put(&written, buf.capacity));
    assert_non_null(hpxi_buf_reserve(&buf, 0));
}

static void test_buf_reserve_when_not_committed_then_nothing_added(void **state)
{
    (void)state;
    assert_non_null(hpxi_buf_reserve(&buf, 10));
    assert_int_equal(hpxi_buf_size(&buf), 0);
    uint8_t *to = hpxi_buf_reserve(&buf, 10);
    to[0] = 7;
    hpxi_buf_commit(&buf, 1); /* less than reserved */
    assert_int_equal(hpxi_buf_size(&buf), 1);
    assert_int_equal(hpxi_buf_span(&buf).data[0], 7);
}

static void test_buf_reserve_when_growing_then_bytes_kept(void **state)
{
    (void)state;
    uint64_t written = 0, read = 0;
    for (size_t size = 1; size <= 100000; size = size * 3 / 2 + 1) {
        assert_true(put(&written, size));
    }
    assert_true(memory.count < 20); /* doubling, not one allocation for each */
    take(&read, (size_t)written);
    assert_int_equal(hpxi_buf_size(&buf), 0);
}

static void test_buf_reserve_when_too_big_then_null_and_nothing_lost(void **state)
{
    (void)state;
    const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX / 2, SIZE_MAX / 4 + 1, SIZE_MAX / 4};
    uint64_t written = 0, read = 0;
    assert_true(put(&written, 100));
    take(&read, 40);
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_null(hpxi_buf_reserve(&buf, sizes[i]));
        assert_int_equal(hpxi_buf_size(&buf), 60);
    }
    take(&read, 60);
}

static void test_buf_reserve_when_memory_fails_then_nothing_lost(void **state)
{
    (void)state;
    uint64_t written = 0, read = 0;
    assert_true(put(&written, 256));
    take(&read, 6);
    memory.fail_at = memory.count;
    assert_false(put(&written, 5000));
    assert_int_equal(hpxi_buf_size(&buf), 250);
    assert_true(put(&written, 5000)); /* there is memory again */
    take(&read, 5250);
}

/* A queue that stays filled to any level, in small or large steps, must stop allocating. */
static void test_buf_when_steady_then_no_allocation(void **state)
{
    (void)state;
    for (size_t level = 1; level <= 2000; level += 37) {
        for (size_t step = 1; step <= level; step = step * 2 + 1) {
            uint64_t written = 0, read = 0;
            assert_true(put(&written, level));
            size_t warm = 0;
            for (size_t i = 0; i < 4000; i++) {
                assert_true(put(&written, step));
                take(&read, step);
                if (i == 2000) {
                    warm = memory.count;
                }
            }
            assert_int_equal(memory.count, warm);
            assert_true(buf.capacity <= 8 * (level + step) + 256);
            hpxi_buf_fini(&buf);
        }
    }
}

static uint32_t random_next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void test_buf_when_random_traffic_then_same_stream(void **state)
{
    (void)state;
    uint64_t written = 0, read = 0;
    uint32_t seed = 5;
    for (int i = 0; i < 100000; i++) {
        const uint32_t limit = random_next(&seed) % 16 == 0 ? 3000 : 50;
        const size_t size = random_next(&seed) % (limit + 1);
        if (random_next(&seed) % 2 == 0) {
            assert_true(put(&written, size));
        } else {
            const size_t used = hpxi_buf_size(&buf);
            take(&read, size < used ? size : used);
        }
        assert_int_equal(hpxi_buf_size(&buf), written - read);
    }
}

static void append_scenario(hpx_allocator alloc, bool expect_success)
{
    hpxi_buf other;
    hpxi_buf_init(&other, &alloc);
    size_t appended = 0;
    for (int i = 0; i < 100; i++) {
        const char chunk[] = "0123456789abcdefghijklmnopqrstuvwxyz";
        if (hpxi_buf_append(&other, chunk, sizeof(chunk))) {
            appended += sizeof(chunk);
        } else {
            assert_false(expect_success);
        }
        assert_int_equal(hpxi_buf_size(&other), appended);
    }
    hpxi_buf_fini(&other);
}

static void test_buf_append_when_any_allocation_fails_then_no_leak(void **state)
{
    (void)state;
    fa_exhaust(append_scenario);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_alloc_zero_when_memory_then_zero_and_aligned),
        TEST(test_buf_when_new_then_empty_without_memory),
        TEST(test_buf_append_when_nothing_then_true),
        TEST(test_buf_reserve_when_zero_then_not_null),
        TEST(test_buf_reserve_when_not_committed_then_nothing_added),
        TEST(test_buf_reserve_when_growing_then_bytes_kept),
        TEST(test_buf_reserve_when_too_big_then_null_and_nothing_lost),
        TEST(test_buf_reserve_when_memory_fails_then_nothing_lost),
        TEST(test_buf_when_steady_then_no_allocation),
        TEST(test_buf_when_random_traffic_then_same_stream),
        TEST(test_buf_append_when_any_allocation_fails_then_no_leak),
    };
    return cmocka_run_group_tests_name("ring/alloc", tests, NULL, NULL);
}

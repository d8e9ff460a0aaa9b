/* SPDX-License-Identifier: Apache-2.0 */
/* test.h - the one place that includes cmocka: its prerequisites must come first, so no sorting. */
#ifndef HPX_TESTS_TEST_H
#define HPX_TESTS_TEST_H
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
/* clang-format on */

/* Exit status by which ctest counts a test as skipped. */
#define TEST_EXIT_SKIP 77

/* The thread sanitizer makes everything ten times slower: tests of one thread do less under it. */
#if defined(__SANITIZE_THREAD__)
#define TEST_UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_UNDER_TSAN 1
#endif
#endif
#ifndef TEST_UNDER_TSAN
#define TEST_UNDER_TSAN 0
#endif

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Compares bytes and, unlike assert_memory_equal(), takes NULL for either side when size is 0.
 */
#define assert_bytes_equal(a, b, size)                                                             \
    do {                                                                                           \
        if ((size) != 0) {                                                                         \
            assert_memory_equal((a), (b), (size));                                                 \
        }                                                                                          \
    } while (0)

#endif /* HPX_TESTS_TEST_H */

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

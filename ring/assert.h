/* SPDX-License-Identifier: Apache-2.0 */
/*
 * assert.h - three tiers of assertions about our own code. Peer input is never asserted.
 *
 * HPX_ASSERT   always on: control plane, ownership, sizes. One predicted branch.
 * HPX_DASSERT  debug and sanitizer builds: pre- and postconditions of the hot path.
 * HPX_XASSERT  fuzzing and paranoid builds: walks over whole structures (x_is_valid()).
 */
#ifndef HPXI_ASSERT_H
#define HPXI_ASSERT_H

#ifndef HPX_DEBUG /* set by CMake: 0 release, 1 debug and sanitizers, 2 fuzzing */
#define HPX_DEBUG 0
#endif

_Noreturn void hpxi_assert_fail(const char *expr, const char *file, int line, const char *func);

#define HPX_ASSERT(e)                                                                              \
    (__builtin_expect(!!(e), 1) ? (void)0 : hpxi_assert_fail(#e, __FILE__, __LINE__, __func__))

#if HPX_DEBUG >= 1
#define HPX_DASSERT(e) HPX_ASSERT(e)
#else
#define HPX_DASSERT(e) ((void)(0 && (e))) /* type-checked, not run */
#endif

#if HPX_DEBUG >= 2
#define HPX_XASSERT(e) HPX_ASSERT(e)
#else
#define HPX_XASSERT(e) ((void)(0 && (e))) /* type-checked, not run */
#endif

#define HPXI_LIKELY(e)   __builtin_expect(!!(e), 1)
#define HPXI_UNLIKELY(e) __builtin_expect(!!(e), 0)

#endif /* HPXI_ASSERT_H */

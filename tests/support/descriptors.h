/* SPDX-License-Identifier: Apache-2.0 */
/* descriptors.h - how many descriptors the process holds, to compare before and after. */
#ifndef HPX_TESTS_DESCRIPTORS_H
#define HPX_TESTS_DESCRIPTORS_H

#include <stdint.h>

/* Entries of /proc/self/fd, the one used for counting included. */
uint32_t test_descriptors(void);

#endif /* HPX_TESTS_DESCRIPTORS_H */

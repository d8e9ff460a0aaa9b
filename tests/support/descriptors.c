/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/descriptors.h"

#include <dirent.h>

#include "tests/support/test.h"

uint32_t test_descriptors(void)
{
    uint32_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    (void)closedir(dir);
    return count;
}

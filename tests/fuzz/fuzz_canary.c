/* SPDX-License-Identifier: Apache-2.0 */
/* Property: false on purpose. Input that starts with "hpx!" reads past its end. */
#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size >= 4 && data[0] == 'h' && data[1] == 'p' && data[2] == 'x' && data[3] == '!') {
        volatile uint8_t byte = data[size];
        (void)byte;
    }
    return 0;
}

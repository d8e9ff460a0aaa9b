/* SPDX-License-Identifier: Apache-2.0 */
/* error.c - filling hpx_error. */
#include "engine/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ring/assert.h"

hpx_status
hpxi_error_set(hpx_error *error, hpx_status status, hpx_stage stage, const char *format, ...)
{
    if (error == NULL) {
        return status;
    }
    *error = (hpx_error){.status = status, .stage = stage};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->detail, sizeof(error->detail), format, args);
    va_end(args);
    return status;
}

hpx_status
hpxi_error_set_errno(hpx_error *error, int negative_errno, hpx_stage stage, const char *format, ...)
{
    HPX_ASSERT(negative_errno < 0 && negative_errno >= -4095);
    if (error == NULL) {
        return negative_errno;
    }
    *error = (hpx_error){.status = negative_errno, .stage = stage, .os_errno = -negative_errno};
    va_list args;
    va_start(args, format);
    (void)vsnprintf(error->detail, sizeof(error->detail), format, args);
    va_end(args);
    const size_t used = strlen(error->detail);
    (void)snprintf(
        error->detail + used,
        sizeof(error->detail) - used,
        ": %s (%s)",
        hpx_status_text(negative_errno),
        hpx_status_name(negative_errno));
    return negative_errno;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* error.h - filling hpx_error: one line, printable, never longer than its buffer. */
#ifndef HPXI_ERROR_H
#define HPXI_ERROR_H

#include <hpx/base.h>

/* Fill *error (may be NULL) and return status. The detail is printf-formatted. */
hpx_status
hpxi_error_set(hpx_error *error, hpx_status status, hpx_stage stage, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* As above for a system call's -errno: os_errno and the errno's text are added. */
hpx_status
hpxi_error_set_errno(hpx_error *error, int negative_errno, hpx_stage stage, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif /* HPXI_ERROR_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h - findings of `hpx doctor`, and the checks that make them.
 */
#ifndef HPX_TOOL_DOCTOR_H
#define HPX_TOOL_DOCTOR_H

#include <stddef.h>

#define DOCTOR_FINDINGS_MAX 32
#define DOCTOR_ROOT_BYTES   256

typedef enum doctor_status {
    DOCTOR_OK,
    DOCTOR_INFO, /* a fact; nothing to judge */
    DOCTOR_WARN, /* works, but slower or less steady than it could be */
    DOCTOR_FAIL, /* an engine will not start */
} doctor_status;

typedef struct doctor_finding {
    const char *name; /* static */
    doctor_status status;
    char value[160];
    char advice[256]; /* what to do; "" if nothing */
} doctor_finding;

typedef struct doctor {
    char root[DOCTOR_ROOT_BYTES]; /* in front of /proc and /sys: "" or --sysroot */
    size_t count;
    doctor_finding findings[DOCTOR_FINDINGS_MAX];
} doctor;

/* Run every check. What cannot be read is reported as "unknown". */
void doctor_check_kernel(doctor *d);  /* kernel, io_uring, memlock */
void doctor_check_machine(doctor *d); /* CPUs, clock, governor, memory pages */
void doctor_check_network(doctor *d); /* busy polling, buffers */
void doctor_check_build(doctor *d);   /* wolfSSL */

/* Add one finding; value and advice are set with the functions of doctor.c. */
doctor_finding *doctor_add(doctor *d, const char *name, doctor_status status);

/* First line of a file below the root, without its newline. NULL: cannot be read. The result is
 * `buffer`. */
const char *doctor_read(const doctor *d, const char *path, char *buffer, size_t capacity);

#endif /* HPX_TOOL_DOCTOR_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vectors.h - what a reader must say about which bytes: one row for each rule of RFC 9112 and for
 * each thing that we refuse. Used by the reader's tests, and by the comparison with llhttp.
 */
#ifndef HPX_TESTS_H1_VECTORS_H
#define HPX_TESTS_H1_VECTORS_H

#include "tests/h1/message_log.h"

typedef enum vector_kind {
    VECTOR_GET, /* response to a GET */
    VECTOR_HEAD,
    VECTOR_CONNECT,
    VECTOR_UPGRADE, /* response to a GET that asked for an upgrade */
    VECTOR_REQUEST, /* a server reads */
} vector_kind;

typedef struct vector {
    const char *name;
    vector_kind kind;
    log_close close;
    const char *bytes;
    size_t size;
    const char *log; /* what is expected: see message_log.h; of a failure, the beginning */
} vector;

extern const vector h1_good[];
extern const size_t h1_good_count;
extern const vector h1_bad[];
extern const size_t h1_bad_count;

log_plan vector_plan(const vector *row);

#endif /* HPX_TESTS_H1_VECTORS_H */

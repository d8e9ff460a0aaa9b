/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.h - `hpx tls`: tls.c has the command line, tls_visit.c the connections, tls_view.c the words.
 */
#ifndef HPX_TOOL_TLS_H
#define HPX_TOOL_TLS_H

#include <stdbool.h>
#include <stdint.h>

#include <hpx/hpx.h>

#include "text.h"

#define TLS_HOST_BYTES    256
#define TLS_PINS_MAX      16
#define TLS_ADDRESS_BYTES 64

typedef struct tls_options {
    char host[TLS_HOST_BYTES];
    char port[8];
    const char *name; /* to verify; NULL: host */
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    const char *alpn;
    hpx_tls_version version_min;
    hpx_tls_version version_max;
    uint8_t pins[TLS_PINS_MAX][HPX_TLS_PIN_BYTES];
    uint32_t pin_count;
    uint64_t timeout_ns;
} tls_options;

/* One connection: when it got where, and how it ended. */
typedef struct tls_visit {
    uint64_t resolve_ns; /* 0: the address of the visit before */
    uint64_t connect_ns;
    uint64_t handshake_ns;
    char address[TLS_ADDRESS_BYTES];
    hpx_status status; /* 1: accepted */
    hpx_error error;
    hpx_tls_report report;
} tls_visit;

/*
 * Connect and shake hands, at most until the timeout; then wait a moment for session tickets, and
 * close. `like` is an earlier visit whose address is used again, or NULL.
 */
void tls_visit_make(
    tls_visit *visit, hpx_tls_probe *probe, const tls_options *options, const tls_visit *like);

/* The report: `again` is the second visit, or NULL. */
void tls_view(
    text *out,
    const tls_options *options,
    const hpx_tls_probe *probe_of_first,
    const tls_visit *first);
void tls_view_again(text *out, const tls_visit *again);

#endif /* HPX_TOOL_TLS_H */

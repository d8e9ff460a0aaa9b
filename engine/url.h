/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url.h - ws://, wss://, http:// and https:// URLs (RFC 6455 section 3, RFC 9110 section 4, RFC
 * 3986), strict.
 *
 * Threads   Any; no state. Memory: fixed members, no allocation.
 */
#ifndef HPXI_URL_H
#define HPXI_URL_H

#include <stdbool.h>
#include <stdint.h>

#include <hpx/base.h>

#define HPXI_URL_HOST_BYTES   256 /* RFC 1035: 253 and NUL */
#define HPXI_URL_TARGET_BYTES 4096

typedef struct hpxi_url {
    bool is_tls;
    bool host_is_v4;
    bool host_is_v6;
    uint16_t port;                              /* explicit, or 80 / 443 */
    char host[HPXI_URL_HOST_BYTES];             /* lower case; IPv6 without brackets */
    char host_header[HPXI_URL_HOST_BYTES + 16]; /* with brackets, and port if not the default */
    char target[HPXI_URL_TARGET_BYTES];         /* path and query, at least "/" */
} hpxi_url;

/*
 * Parse. User info and fragments are refused (RFC 6455 3), so are spaces, control bytes, non-ASCII
 * bytes, bad percent-escapes, empty or over-long labels (so also a trailing dot), hosts that end in
 * a number and are no IPv4 address, ports outside 1..65535, IPv6 zones. A scheme other than ws/wss
 * (http/https included) is refused by name. HPX_OK, or HPX_E_URL with error->detail saying what and
 * at which offset.
 */
hpx_status hpxi_url_parse(hpxi_url *out, const char *text, hpx_error *error);

/* The same for http and https; a fragment is allowed, and left out (RFC 9110 7.1). */
hpx_status hpxi_url_parse_http(hpxi_url *out, const char *text, hpx_error *error);

#endif /* HPXI_URL_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * name.h - whose certificate do we want? The reference identity, and RFC 9525's rules to match it.
 *
 * Role      Only subjectAltName counts: dNSName for a name, iPAddress for an address. The common
 *           name is never read. wolfSSL's own check is not used: it accepts partial wildcards,
 *           common names, and a dNSName that spells an address.
 * Threads   Pure functions over plain data.
 */
#ifndef HPXI_TLS_NAME_H
#define HPXI_TLS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HPXI_TLS_HOST_BYTES_MAX  253u /* RFC 1035: 255 on the wire */
#define HPXI_TLS_LABEL_BYTES_MAX 63u

typedef struct hpxi_tls_name {
    bool is_address;
    uint8_t address_bytes; /* 4 or 16 when is_address */
    uint8_t address[16];
    uint8_t host_bytes;                     /* without the trailing dot */
    char host[HPXI_TLS_HOST_BYTES_MAX + 1]; /* lower case, NUL-terminated; also of an address */
} hpxi_tls_name;

/*
 * Read a name to verify: a DNS name in A-label form (one trailing dot is allowed), an IPv4 address,
 * or an IPv6 address with or without brackets. False when it is none of these.
 */
bool hpxi_tls_name_parse(hpxi_tls_name *out, const char *text);

/* Does this dNSName cover the name? `san` is the peer's: any bytes, not NUL-terminated. */
bool hpxi_tls_name_matches_dns(const hpxi_tls_name *name, const uint8_t *san, size_t san_bytes);

/* Does this iPAddress cover the name? Compared byte by byte: 4 or 16 of them. */
bool hpxi_tls_name_matches_ip(const hpxi_tls_name *name, const uint8_t *san, size_t san_bytes);

#endif /* HPXI_TLS_NAME_H */

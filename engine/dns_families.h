/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_families.h - the addresses of a name, gathered by family and put into the order in which they
 * are tried: RFC 8305 section 4, families interleaved, v6 first, each in the order it came.
 *
 * Threads   Any; no state. Memory: none but the caller's.
 */
#ifndef HPXI_DNS_FAMILIES_H
#define HPXI_DNS_FAMILIES_H

#include <ares.h>

#include "engine/resolver.h"

typedef struct hpxi_dns_families {
    uint32_t v4_count;
    uint32_t v6_count;
    hpxi_address v4[HPXI_ADDRESSES_MAX];
    hpxi_address v6[HPXI_ADDRESSES_MAX];
} hpxi_dns_families;

/* Beyond HPXI_ADDRESSES_MAX of its family an address is dropped. */
void hpxi_dns_families_add(hpxi_dns_families *to, const hpxi_address *address);

/* c-ares' answer. Returns the smallest TTL of its records in seconds, those of aliases included;
 * negative if the name server sent one above 2^31 - 1, which means 0 (RFC 2181 section 8). */
int64_t hpxi_dns_families_add_answer(hpxi_dns_families *to, const struct ares_addrinfo *answer);

/* The first HPXI_ADDRESSES_MAX of the order. */
void hpxi_dns_families_interleave(const hpxi_dns_families *from, hpxi_addresses *out);

#endif /* HPXI_DNS_FAMILIES_H */

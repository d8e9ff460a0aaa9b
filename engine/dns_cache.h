/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_cache.h - answers of the resolver by host name, until they expire.
 *
 * Role      Least recently used entries make room for new ones. Time is a parameter.
 * Threads   The shard's.
 * Memory    Two blocks at _new(), sized by the number of entries; nothing later.
 */
#ifndef HPXI_DNS_CACHE_H
#define HPXI_DNS_CACHE_H

#include "engine/resolver.h"

#define HPXI_DNS_HOST_BYTES 256u /* RFC 1035: 253, a trailing dot, NUL */

typedef struct hpxi_dns_cache hpxi_dns_cache;

/* NULL when there is no memory. `entries` > 0. */
hpxi_dns_cache *hpxi_dns_cache_new(uint32_t entries, const hpx_allocator *allocator);
void hpxi_dns_cache_free(hpxi_dns_cache *cache);

/* The answer for `host` (lower case), or NULL when there is none or it has expired. Borrowed until
 * the next call. */
const hpxi_addresses *hpxi_dns_cache_find(hpxi_dns_cache *cache, const char *host, uint64_t now_ns);

/* Keep an answer while now < expires_ns. Replaces an older one of the same host. */
void hpxi_dns_cache_put(
    hpxi_dns_cache *cache, const char *host, const hpxi_addresses *addresses, uint64_t expires_ns);

#endif /* HPXI_DNS_CACHE_H */

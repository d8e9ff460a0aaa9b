/* SPDX-License-Identifier: Apache-2.0 */
/* dns_families.c - see dns_families.h. */
#include "engine/dns_families.h"

#include <string.h>

#include "ring/assert.h"

void hpxi_dns_families_add(hpxi_dns_families *to, const hpxi_address *address)
{
    const bool is_v6 = address->u.any.sa_family == AF_INET6;
    HPX_ASSERT(is_v6 || address->u.any.sa_family == AF_INET);
    uint32_t *count = is_v6 ? &to->v6_count : &to->v4_count;
    if (*count < HPXI_ADDRESSES_MAX) {
        (is_v6 ? to->v6 : to->v4)[(*count)++] = *address;
    }
}

void hpxi_dns_families_interleave(const hpxi_dns_families *from, hpxi_addresses *out)
{
    uint32_t v4 = 0;
    uint32_t v6 = 0;
    out->count = 0;
    while (out->count < HPXI_ADDRESSES_MAX && (v4 < from->v4_count || v6 < from->v6_count)) {
        const bool v6_turn = v6 <= v4 || v4 == from->v4_count;
        const bool take_v6 = v6_turn && v6 < from->v6_count;
        out->list[out->count++] = take_v6 ? from->v6[v6++] : from->v4[v4++];
    }
    HPX_ASSERT(v4 <= from->v4_count);
    HPX_ASSERT(v6 <= from->v6_count);
}

int64_t hpxi_dns_families_add_answer(hpxi_dns_families *to, const struct ares_addrinfo *answer)
{
    int64_t ttl_s = INT32_MAX;
    for (const struct ares_addrinfo_cname *at = answer->cnames; at != NULL; at = at->next) {
        ttl_s = at->ttl < ttl_s ? at->ttl : ttl_s;
    }
    for (const struct ares_addrinfo_node *at = answer->nodes; at != NULL; at = at->ai_next) {
        hpxi_address address = {0};
        if (at->ai_family == AF_INET6) {
            address.size = sizeof(address.u.v6);
            memcpy(&address.u.v6, at->ai_addr, sizeof(address.u.v6));
        } else {
            HPX_ASSERT(at->ai_family == AF_INET);
            address.size = sizeof(address.u.v4);
            memcpy(&address.u.v4, at->ai_addr, sizeof(address.u.v4));
        }
        hpxi_dns_families_add(to, &address);
        ttl_s = at->ai_ttl < ttl_s ? at->ai_ttl : ttl_s;
    }
    return ttl_s;
}

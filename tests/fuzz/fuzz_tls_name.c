/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: a name to verify is refused, or is a host name or an address in a form of its own; and
 * what of a certificate matches it is exactly what a plain reading of RFC 9525, label by label,
 * says: never an address by a dNSName, never more than one label by a wildcard, never a byte that
 * no host name has.
 *
 * Input: the name wanted, a NUL, then the certificate's entry.
 */
#include <stdlib.h>
#include <string.h>

#include "ring/assert.h"
#include "tls/name.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool is_host_byte(char c)
{
    const char l = lower(c);
    return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* The length of the label at `at`: up to a dot or the end. */
static size_t label_bytes(const char *text, size_t size, size_t at)
{
    size_t n = 0;
    while (at + n < size && text[at + n] != '.') {
        n++;
    }
    return n;
}

static bool is_label(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (!is_host_byte(text[i])) {
            return false;
        }
    }
    return size >= 1 && size <= 63;
}

static size_t count_labels(const char *text, size_t size)
{
    size_t count = 1;
    for (size_t i = 0; i < size; i++) {
        count += text[i] == '.';
    }
    return count;
}

/* Label by label, as slow as it is plain. */
static bool plain_match(const char *host, size_t host_bytes, const char *san, size_t san_bytes)
{
    if (san_bytes == 0 || san_bytes > 253 ||
        count_labels(host, host_bytes) != count_labels(san, san_bytes)) {
        return false;
    }
    size_t h = 0;
    size_t s = 0;
    for (size_t label = 0; h <= host_bytes && s <= san_bytes; label++) {
        const size_t hn = label_bytes(host, host_bytes, h);
        const size_t sn = label_bytes(san, san_bytes, s);
        const bool star = label == 0 && sn == 1 && san[s] == '*';
        if (star && count_labels(san, san_bytes) < 3) {
            return false;
        }
        if (!star) {
            if (!is_label(san + s, sn) || hn != sn) {
                return false;
            }
            for (size_t i = 0; i < sn; i++) {
                if (lower(host[h + i]) != lower(san[s + i])) {
                    return false;
                }
            }
        }
        h += hn + 1;
        s += sn + 1;
    }
    return h == host_bytes + 1 && s == san_bytes + 1;
}

static void check_parsed(const hpxi_tls_name *name)
{
    HPX_ASSERT(name->host_bytes != 0 && name->host_bytes <= HPXI_TLS_HOST_BYTES_MAX);
    HPX_ASSERT(strlen(name->host) == name->host_bytes);
    hpxi_tls_name again;
    HPX_ASSERT(hpxi_tls_name_parse(&again, name->host));
    HPX_ASSERT(again.is_address == name->is_address);
    HPX_ASSERT(memcmp(again.address, name->address, sizeof(again.address)) == 0);
    const uint8_t *own = (const uint8_t *)name->host;
    HPX_ASSERT(hpxi_tls_name_matches_dns(name, own, name->host_bytes) == !name->is_address);
    if (name->is_address) {
        HPX_ASSERT(name->address_bytes == 4 || name->address_bytes == 16);
        HPX_ASSERT(hpxi_tls_name_matches_ip(name, name->address, name->address_bytes));
        return;
    }
    for (size_t i = 0; i < name->host_bytes; i++) {
        HPX_ASSERT(name->host[i] == '.' || is_host_byte(name->host[i]));
        HPX_ASSERT(name->host[i] == lower(name->host[i]));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = size == 0 ? NULL : memchr(data, 0, size);
    const size_t wanted_bytes = nul == NULL ? size : (size_t)(nul - data);
    const size_t san_bytes = nul == NULL ? 0 : size - wanted_bytes - 1;
    char *wanted = malloc(wanted_bytes + 1);
    uint8_t *san = malloc(san_bytes == 0 ? 1 : san_bytes);
    HPX_ASSERT(wanted != NULL && san != NULL);
    if (wanted_bytes != 0) {
        memcpy(wanted, data, wanted_bytes);
    }
    wanted[wanted_bytes] = '\0';
    if (san_bytes != 0) {
        memcpy(san, nul + 1, san_bytes);
    }
    hpxi_tls_name name;
    if (hpxi_tls_name_parse(&name, wanted)) {
        check_parsed(&name);
        const bool by_name = hpxi_tls_name_matches_dns(&name, san, san_bytes);
        const bool by_address = hpxi_tls_name_matches_ip(&name, san, san_bytes);
        HPX_ASSERT(!(name.is_address && by_name));
        HPX_ASSERT(!(!name.is_address && by_address));
        if (name.is_address) {
            HPX_ASSERT(
                by_address ==
                (san_bytes == name.address_bytes && memcmp(san, name.address, san_bytes) == 0));
        } else {
            HPX_ASSERT(
                by_name == plain_match(name.host, name.host_bytes, (const char *)san, san_bytes));
        }
    }
    free(wanted);
    free(san);
    return 0;
}

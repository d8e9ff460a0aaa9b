/* SPDX-License-Identifier: Apache-2.0 */
/* override.c - addresses given by the app. Threads: any; no state. Memory: the caller's. */
#include "engine/override.h"

#include <stdlib.h>
#include <string.h>

#include "engine/error.h"

static hpx_status override_bad(const char *text, const char *why, hpx_error *error)
{
    return hpxi_error_set(
        error,
        HPX_E_INVALID,
        HPX_STAGE_CONFIG,
        "resolve \"%.80s\": %s; expected HOST:PORT:ADDR[,ADDR...]",
        text,
        why);
}

/* One address, with or without brackets. */
static bool override_address(hpxi_address *out, const char *text, size_t bytes, uint16_t port)
{
    char address[HPXI_ADDRESS_TEXT_BYTES];
    const bool brackets = bytes >= 2 && text[0] == '[' && text[bytes - 1] == ']';
    const size_t inner = brackets ? bytes - 2 : bytes;
    if (inner == 0 || inner >= sizeof(address)) {
        return false;
    }
    memcpy(address, brackets ? text + 1 : text, inner);
    address[inner] = '\0';
    return hpxi_address_parse(out, address, port);
}

static bool override_host(hpxi_override *out, const char *host, size_t bytes)
{
    if (bytes == 0 || bytes >= sizeof(out->host)) {
        return false;
    }
    for (size_t i = 0; i < bytes; i++) {
        out->host[i] = host[i] >= 'A' && host[i] <= 'Z' ? (char)(host[i] | 0x20) : host[i];
    }
    out->host[bytes] = '\0';
    return true;
}

hpx_status hpxi_override_parse(hpxi_override *out, const char *text, hpx_error *error)
{
    *out = (hpxi_override){0};
    const bool bracketed = text[0] == '[';
    const char *host_end = strchr(text, bracketed ? ']' : ':');
    if (host_end != NULL && bracketed) {
        host_end++;
    }
    if (host_end == NULL || *host_end != ':') {
        return override_bad(text, "no port", error);
    }
    const char *host = bracketed ? text + 1 : text;
    if (!override_host(out, host, (size_t)(host_end - host) - (bracketed ? 1 : 0))) {
        return override_bad(text, "bad host", error);
    }
    char *port_end = NULL;
    const unsigned long port = strtoul(host_end + 1, &port_end, 10);
    if (port_end == host_end + 1 || *port_end != ':' || port == 0 || port > UINT16_MAX) {
        return override_bad(text, "bad port", error);
    }
    out->port = (uint16_t)port;
    for (const char *at = port_end + 1;; at++) {
        const size_t bytes = strcspn(at, ",");
        hpxi_address address;
        if (!override_address(&address, at, bytes, out->port)) {
            return override_bad(text, "bad address", error);
        }
        if (out->addresses.count < HPXI_ADDRESSES_MAX) {
            out->addresses.list[out->addresses.count++] = address;
        }
        at += bytes;
        if (*at == '\0') {
            return HPX_OK;
        }
    }
}

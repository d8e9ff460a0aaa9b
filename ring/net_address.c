/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_address.c - numeric addresses as text and back: the part of net.h that needs no kernel.
 *
 * Threads   Any; no state.
 * Memory    Nothing is allocated.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "ring/assert.h"
#include "ring/net.h"

#define NET_PORT_DIGITS_MAX 5u

bool hpxi_address_parse(hpxi_address *out, const char *host, uint16_t port)
{
    HPX_ASSERT(out != NULL && host != NULL);
    *out = (hpxi_address){0};
    if (inet_pton(AF_INET, host, &out->u.v4.sin_addr) == 1) {
        out->u.v4.sin_family = AF_INET;
        out->u.v4.sin_port = htons(port);
        out->size = sizeof(out->u.v4);
        return true;
    }
    if (inet_pton(AF_INET6, host, &out->u.v6.sin6_addr) == 1) {
        out->u.v6.sin6_family = AF_INET6;
        out->u.v6.sin6_port = htons(port);
        out->size = sizeof(out->u.v6);
        return true;
    }
    *out = (hpxi_address){0};
    return false;
}

/* One to five digits and nothing else. */
static bool net_port_parse(uint16_t *out, const char *text)
{
    uint32_t port = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] <= '9'; digits++) {
        if (digits == NET_PORT_DIGITS_MAX) {
            return false;
        }
        port = port * 10 + (uint32_t)(text[digits] - '0');
    }
    *out = (uint16_t)port;
    return digits != 0 && text[digits] == '\0' && port <= UINT16_MAX;
}

bool hpxi_address_parse_endpoint(hpxi_address *out, const char *endpoint)
{
    HPX_ASSERT(out != NULL && endpoint != NULL);
    *out = (hpxi_address){0};
    const bool bracket = endpoint[0] == '[';
    const char *host = endpoint + (bracket ? 1 : 0);
    const char *end = strchr(host, bracket ? ']' : ':');
    if (end == NULL) {
        return false;
    }
    const char *colon = bracket ? end + 1 : end;
    char text[INET6_ADDRSTRLEN];
    const size_t size = (size_t)(end - host);
    uint16_t port = 0;
    if (size >= sizeof(text) || colon[0] != ':' || !net_port_parse(&port, colon + 1)) {
        return false;
    }
    memcpy(text, host, size);
    text[size] = '\0';
    if (!hpxi_address_parse(out, text, port)) {
        return false;
    }
    if ((out->u.any.sa_family == AF_INET6) != bracket) {
        *out = (hpxi_address){0};
        return false;
    }
    return true;
}

void hpxi_address_format(const hpxi_address *address, char *text)
{
    HPX_ASSERT(address != NULL && text != NULL);
    char host[INET6_ADDRSTRLEN] = "";
    text[0] = '\0';
    if (address->size == 0) {
        return;
    }
    if (address->u.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address->u.v4.sin_addr, host, sizeof(host));
        snprintf(
            text, HPXI_ADDRESS_TEXT_BYTES, "%s:%u", host, (unsigned)ntohs(address->u.v4.sin_port));
    } else if (address->u.any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->u.v6.sin6_addr, host, sizeof(host));
        snprintf(
            text,
            HPXI_ADDRESS_TEXT_BYTES,
            "[%s]:%u",
            host,
            (unsigned)ntohs(address->u.v6.sin6_port));
    }
}

uint16_t hpxi_address_port(const hpxi_address *address)
{
    HPX_ASSERT(address != NULL);
    if (address->size == 0) {
        return 0;
    }
    return ntohs(
        address->u.any.sa_family == AF_INET6 ? address->u.v6.sin6_port : address->u.v4.sin_port);
}

void hpxi_address_set_port(hpxi_address *address, uint16_t port)
{
    HPX_ASSERT(address != NULL && address->size != 0);
    if (address->u.any.sa_family == AF_INET6) {
        address->u.v6.sin6_port = htons(port);
    } else {
        address->u.v4.sin_port = htons(port);
    }
}

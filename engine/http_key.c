/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_key.c - what connections are told apart by, as the bytes of a pool key.
 *
 * Role      Fixed members first, then the strings, each with its NUL: no two origins have the same
 *           bytes. A member left out here would let requests share that must not: pitfalls H2, and
 *           tests/engine/test_http_key.c, which changes each of them.
 * Threads   Any; no state.
 */
#include <string.h>

#include "engine/http_pack.h"

typedef struct key_head {
    uint64_t tls; /* the context's address: it lives as long as a connection with it does */
    uint16_t port;
    uint8_t version;
    uint8_t flags;
    uint8_t unused[4];
} key_head;

#define KEY_FLAG_TLS      1u
#define KEY_FLAG_INSECURE 2u

_Static_assert(sizeof(key_head) == 16, "no padding: it is compared as bytes");

static uint8_t *key_string(uint8_t *at, const char *text, size_t bytes_max)
{
    const size_t bytes = strlen(text);
    HPX_ASSERT(bytes < bytes_max);
    memcpy(at, text, bytes + 1);
    return at + bytes + 1;
}

size_t hpxi_http_key_write(uint8_t key[HPXI_HTTP_KEY_BYTES_MAX], const hpxi_http_origin *origin)
{
    key_head head = {
        .tls = (uint64_t)(uintptr_t)origin->tls,
        .port = origin->port,
        .version = (uint8_t)origin->version,
    };
    head.flags |= origin->is_tls ? KEY_FLAG_TLS : 0;
    head.flags |= origin->insecure ? KEY_FLAG_INSECURE : 0;
    memcpy(key, &head, sizeof(head));
    uint8_t *at = key + sizeof(head);
    at = key_string(at, origin->host, HPXI_URL_HOST_BYTES);
    at = key_string(at, origin->server_name, HPXI_URL_HOST_BYTES);
    at = key_string(at, origin->proxy, HPXI_URL_HOST_BYTES);
    at = key_string(at, origin->identity, HPXI_HTTP_IDENTITY_BYTES_MAX + 2);
    return (size_t)(at - key);
}

void hpxi_http_key_read(hpxi_http_origin *out, const uint8_t *key, size_t bytes)
{
    key_head head;
    HPX_ASSERT(bytes >= sizeof(head) + 4);
    memcpy(&head, key, sizeof(head));
    *out = (hpxi_http_origin){
        .is_tls = (head.flags & KEY_FLAG_TLS) != 0,
        .insecure = (head.flags & KEY_FLAG_INSECURE) != 0,
        .version = (hpx_http_version)head.version,
        .port = head.port,
        .tls = (const hpx_tls_context *)(uintptr_t)head.tls,
    };
    const char *at = (const char *)key + sizeof(head);
    const char **strings[] = {&out->host, &out->server_name, &out->proxy, &out->identity};
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        *strings[i] = at;
        at += strlen(at) + 1;
    }
    HPX_ASSERT((const uint8_t *)at == key + bytes);
}

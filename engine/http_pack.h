/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_pack.h - a client's configuration, and requests as one block of bytes each.
 *
 * Role      What an app gives is checked and copied on the app's own thread; what results can be
 *           put in a ring, kept in a slot, and sent again.
 * Threads   Settings are immutable and reference counted: any. Packing: any.
 * Memory    A packed request is plain bytes, but for a reference to its TLS context if it brought
 *           one of its own.
 */
#ifndef HPXI_HTTP_PACK_H
#define HPXI_HTTP_PACK_H

#include <stdatomic.h>

#include <hpx/http.h>

#include "engine/http_board.h"
#include "engine/override.h"
#include "engine/url.h"
#include "h1/syntax.h"
#include "ring/alloc.h"

#define HPXI_HTTP_OVERRIDES_MAX      16u
#define HPXI_HTTP_SECRETS_MAX        16u
#define HPXI_HTTP_HEADERS_MAX        128u /* of a request, the added ones too */
#define HPXI_HTTP_HEADER_BYTES_MAX   (256u << 10)
#define HPXI_HTTP_IDENTITY_BYTES_MAX 256u

/* hpx_http_request.flags, besides the public ones; set through a function. */
#define HPXI_HTTP_FLAG_INSECURE UINT32_C(0x80000000)

typedef struct hpxi_http_settings {
    _Atomic uint32_t refs;
    const hpx_allocator *allocator;
    hpx_engine *engine;
    hpx_http_config config; /* defaults filled in; its strings are in `strings` */
    hpx_tls_context *tls;   /* a reference; NULL: the engine's default, when it is needed */
    _Atomic(hpx_tls_context *) default_tls; /* a reference, once it was needed */
    hpxi_http_boards boards;                /* of the client's shards, for any thread to read */
    char *strings;
    size_t strings_bytes;
    const char *secrets[HPXI_HTTP_SECRETS_MAX];
    uint32_t override_count;
    hpxi_override overrides[HPXI_HTTP_OVERRIDES_MAX];
} hpxi_http_settings;

/* Check, copy, fill in defaults; one reference. http_settings.c. HPX_OK, HPX_E_INVALID,
 * HPX_E_NO_MEMORY. */
hpx_status hpxi_http_settings_new(
    hpxi_http_settings **out, hpx_engine *engine, const hpx_http_config *config, hpx_error *error);
void hpxi_http_settings_retain(hpxi_http_settings *settings);
void hpxi_http_settings_release(hpxi_http_settings *settings);

/* Addresses given for an origin, or NULL. */
const hpxi_addresses *
hpxi_http_settings_override(const hpxi_http_settings *settings, const char *host, uint16_t port);

/* What connections are told apart by: http_key.c writes it as a pool key and reads it back. Two
 * requests may share a connection if and only if all of it is equal. */
typedef struct hpxi_http_origin {
    bool is_tls;
    bool insecure;
    hpx_http_version version; /* so the ALPN list; HPX_HTTP_ANY only with TLS */
    uint16_t port;
    const hpx_tls_context *tls; /* trust and client certificate: contexts are immutable */
    const char *host;
    const char *server_name; /* SNI, and the name that is verified */
    const char *proxy;       /* "" (none is spoken yet) */
    const char *identity;    /* "" for NULL; else 'i' and the text */
} hpxi_http_origin;

#define HPXI_HTTP_KEY_BYTES_MAX (16u + 3 * HPXI_URL_HOST_BYTES + HPXI_HTTP_IDENTITY_BYTES_MAX + 8u)

/* Returns the size of the key. */
size_t hpxi_http_key_write(uint8_t key[HPXI_HTTP_KEY_BYTES_MAX], const hpxi_http_origin *origin);

/* The strings point into the key. */
void hpxi_http_key_read(hpxi_http_origin *out, const uint8_t *key, size_t bytes);

enum {
    HPXI_HTTP_PACK_DECODE = 1u << 0,
    HPXI_HTTP_PACK_OWNS_TLS = 1u << 1, /* a reference to `tls` goes with the block */
    HPXI_HTTP_PACK_HEAD = 1u << 2,     /* the method is HEAD */
    HPXI_HTTP_PACK_COLLECT = 1u << 3,
    HPXI_HTTP_PACK_LOWERED = 1u << 4, /* header names are in lower case */
};

/*
 * A checked request. Behind it: key, method, authority (the Host header), target, headers, body.
 * A header is a hpxi_http_packed_header, name and value.
 */
typedef struct hpxi_http_packed {
    uint32_t bytes; /* of all of it */
    uint32_t flags;
    uint32_t key_bytes;
    uint32_t method_bytes;
    uint32_t authority_bytes;
    uint32_t target_bytes;
    uint32_t header_bytes;
    uint32_t header_count;
    uint64_t body_bytes; /* of the body behind; 0 with `pull` */
    uint64_t pull_bytes; /* or HPX_HTTP_SIZE_UNKNOWN */
    hpx_http_pull_fn pull;
    void *pull_user;
    void *user;
    hpx_tls_context *tls;
    uint64_t collect_bytes_max;
    uint64_t timeout_ns; /* these four: HPX_NEVER, or a duration */
    uint64_t connect_timeout_ns;
    uint64_t first_byte_timeout_ns;
    uint64_t idle_timeout_ns;
    bool is_tls;
} hpxi_http_packed;

typedef struct hpxi_http_packed_header {
    uint32_t name_bytes;
    uint32_t value_bytes;
} hpxi_http_packed_header;

/*
 * Check the request and append its block to `out` (from an aligned start). HPX_OK; HPX_E_INVALID,
 * HPX_E_URL, HPX_E_TLS_CONFIG, HPX_E_NO_MEMORY: nothing was appended.
 */
hpx_status hpxi_http_pack(
    hpxi_buf *out, hpxi_http_settings *settings, const hpx_http_request *request, hpx_error *error);

/* The reference that the block holds, if any. */
void hpxi_http_packed_drop(hpxi_http_packed *packed);

/* Views into the block. */
hpx_span hpxi_http_packed_key(const hpxi_http_packed *packed);
hpx_span hpxi_http_packed_method(const hpxi_http_packed *packed);
hpx_span hpxi_http_packed_authority(const hpxi_http_packed *packed);
hpx_span hpxi_http_packed_target(const hpxi_http_packed *packed);
hpx_span hpxi_http_packed_body(const hpxi_http_packed *packed);

/* All headers; `fields` has room for header_count. */
void hpxi_http_packed_headers(
    const hpxi_http_packed *packed, hpxi_h1_field fields[HPXI_HTTP_HEADERS_MAX]);

/* Header names in lower case from here on: HTTP/2. */
void hpxi_http_packed_lower(hpxi_http_packed *packed);

#define HPXI_HTTP_LOCATION_BYTES (2 * HPXI_URL_TARGET_BYTES)

/*
 * http_redirect.c: the URL that a Location means (RFC 3986 section 5.2), given the origin and the
 * target ("/path?query") that it came from; not checked yet. False: it does not fit, or has a NUL.
 */
bool hpxi_http_location_resolve(
    char out[HPXI_HTTP_LOCATION_BYTES],
    const hpxi_http_origin *origin,
    hpx_span base,
    hpx_span location);

#endif /* HPXI_HTTP_PACK_H */

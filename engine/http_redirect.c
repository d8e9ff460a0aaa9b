/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_redirect.c - the request that follows a 3xx (RFC 9110 section 15.4), when the client's
 * redirects_max allows it.
 *
 * Role      Resolves Location against the request's URL (RFC 3986 section 5.2) and packs the new
 *           request by the same checks as any other. Credentials stay with their origin: once it
 *           changes, Authorization, Cookie, Proxy-Authorization, the configured secret headers, the
 *           identity and the server name are left out. From https to http is not followed at all.
 * Threads   The shard's.
 */
#include <string.h>

#include "engine/error.h"
#include "engine/http.h"

/* Text that grows in the caller's buffer. */
typedef struct redirect_text {
    char *bytes; /* [HPXI_HTTP_LOCATION_BYTES] */
    size_t size;
    bool full;
} redirect_text;

static void redirect_add(redirect_text *text, const void *bytes, size_t size)
{
    if (size >= HPXI_HTTP_LOCATION_BYTES - text->size) {
        text->full = true;
        return;
    }
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
}

static void redirect_add_text(redirect_text *text, const char *more)
{
    redirect_add(text, more, strlen(more));
}

/* Takes "." and ".." out of the path that begins at `from` (RFC 3986 5.2.4). */
static void redirect_remove_dots(redirect_text *text, size_t from)
{
    char *path = text->bytes + from;
    const size_t path_bytes = strcspn(path, "?#");
    size_t out = 0;
    for (size_t at = 0; at < path_bytes;) {
        size_t segment = 1; /* the slash, and what is up to the next */
        while (at + segment < path_bytes && path[at + segment] != '/') {
            segment++;
        }
        const bool last = at + segment == path_bytes;
        const bool one = segment == 2 && path[at + 1] == '.';
        const bool two = segment == 3 && path[at + 1] == '.' && path[at + 2] == '.';
        if (two) {
            while (out != 0 && path[--out] != '/') {
            }
        }
        if (!one && !two) {
            memmove(path + out, path + at, segment);
            out += segment;
        } else if (last) {
            path[out++] = '/';
        }
        at += segment;
    }
    memmove(path + out, path + path_bytes, strlen(path + path_bytes) + 1);
    text->size = strlen(text->bytes);
}

static bool redirect_has_scheme(hpx_span location)
{
    for (size_t i = 0; i < location.size; i++) {
        const uint8_t byte = location.data[i];
        if (byte == ':') {
            return i != 0;
        }
        if (byte == '/' || byte == '?' || byte == '#') {
            return false;
        }
    }
    return false;
}

static void redirect_add_origin(redirect_text *text, const hpxi_http_origin *origin)
{
    const bool is_v6 = strchr(origin->host, ':') != NULL;
    redirect_add_text(text, is_v6 ? "//[" : "//");
    redirect_add_text(text, origin->host);
    redirect_add_text(text, is_v6 ? "]:" : ":");
    char port[8];
    size_t at = sizeof(port);
    for (uint32_t value = origin->port; value != 0; value /= 10) {
        port[--at] = (char)('0' + value % 10);
    }
    redirect_add(text, port + at, sizeof(port) - at);
}

bool hpxi_http_location_resolve(
    char out[HPXI_HTTP_LOCATION_BYTES],
    const hpxi_http_origin *origin,
    hpx_span base,
    hpx_span location)
{
    redirect_text text = {.bytes = out};
    out[0] = '\0';
    if (location.size != 0 && memchr(location.data, '\0', location.size) != NULL) {
        return false;
    }
    if (redirect_has_scheme(location)) {
        redirect_add(&text, location.data, location.size);
        return !text.full;
    }
    redirect_add_text(&text, origin->is_tls ? "https:" : "http:");
    if (location.size >= 2 && location.data[0] == '/' && location.data[1] == '/') {
        redirect_add(&text, location.data, location.size);
        return !text.full;
    }
    redirect_add_origin(&text, origin);
    const size_t path = text.size;
    if (location.size == 0 || location.data[0] != '/') {
        size_t keep = 0; /* of the base: the path, up to its last slash unless only a query comes */
        while (keep < base.size && base.data[keep] != '?') {
            keep++;
        }
        const bool query_only = location.size == 0 || location.data[0] == '?';
        while (!query_only && keep != 0 && base.data[keep - 1] != '/') {
            keep--;
        }
        redirect_add(&text, base.data, keep);
    }
    if (location.size != 0) {
        redirect_add(&text, location.data, location.size);
    }
    if (!text.full) {
        redirect_remove_dots(&text, path);
    }
    return !text.full;
}

static bool redirect_is_secret(const hpxi_http_settings *settings, hpx_span name)
{
    static const char *const always[] = {"authorization", "cookie", "proxy-authorization"};
    for (size_t i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
        if (hpxi_h1_span_has(name, always[i])) {
            return true;
        }
    }
    for (uint32_t i = 0; i < settings->config.secret_header_count; i++) {
        if (hpxi_h1_span_has(name, settings->config.secret_headers[i])) {
            return true;
        }
    }
    return false;
}

static bool redirect_is_of_body(hpx_span name)
{
    return hpxi_h1_span_has(name, "content-type") || hpxi_h1_span_has(name, "content-encoding") ||
           hpxi_h1_span_has(name, "content-language") || hpxi_h1_span_has(name, "content-location");
}

static bool redirect_is_status(int32_t status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* Does the new request go without the body, as GET (RFC 9110 15.4)? */
static bool redirect_becomes_get(int32_t status, hpx_span method)
{
    if (hpxi_h1_span_is(method, "GET") || hpxi_h1_span_is(method, "HEAD")) {
        return false;
    }
    return status == 303 || (status <= 302 && hpxi_h1_span_is(method, "POST"));
}

typedef struct redirect_request {
    hpx_http_request next;
    hpx_http_header headers[HPXI_HTTP_HEADERS_MAX];
    char method[40];
} redirect_request;

/* The old request with what changes. */
static void redirect_fill(
    redirect_request *to,
    const hpxi_http_request *request,
    const hpxi_http_packed *packed,
    const hpxi_http_origin *origin,
    const char *url,
    bool same_origin)
{
    hpxi_h1_field fields[HPXI_HTTP_HEADERS_MAX];
    hpxi_http_packed_headers(packed, fields);
    const hpx_span method = hpxi_http_packed_method(packed);
    const bool get = redirect_becomes_get(request->status, method);
    memcpy(to->method, method.data, method.size);
    to->method[method.size] = '\0';
    to->next = (hpx_http_request){
        .size = (uint32_t)sizeof(hpx_http_request),
        .flags = ((packed->flags & HPXI_HTTP_PACK_DECODE) != 0 ? HPX_HTTP_DECODE : 0) |
                 (origin->insecure ? HPXI_HTTP_FLAG_INSECURE : 0),
        .method = get ? "GET" : to->method,
        .url = url,
        .headers = to->headers,
        .version =
            origin->is_tls || origin->version != HPX_HTTP_1_1 ? origin->version : HPX_HTTP_ANY,
        .body = get ? (hpx_span){0} : hpxi_http_packed_body(packed),
        .pull = get ? NULL : packed->pull,
        .pull_user = packed->pull_user,
        .body_bytes = get || packed->pull == NULL ? 0 : packed->pull_bytes,
        .collect_bytes_max = packed->collect_bytes_max,
        .timeout_ns = packed->timeout_ns,
        .connect_timeout_ns = packed->connect_timeout_ns,
        .first_byte_timeout_ns = packed->first_byte_timeout_ns,
        .idle_timeout_ns = packed->idle_timeout_ns,
        .tls = (packed->flags & HPXI_HTTP_PACK_OWNS_TLS) != 0 ? packed->tls : NULL,
        .tls_server_name = same_origin && origin->is_tls ? origin->server_name : NULL,
        .identity = same_origin && origin->identity[0] != '\0' ? origin->identity + 1 : NULL,
        .user = packed->user,
    };
    for (uint32_t i = 0; i < packed->header_count; i++) {
        const bool drop =
            (!same_origin && redirect_is_secret(request->core->settings, fields[i].name)) ||
            (get && redirect_is_of_body(fields[i].name));
        if (!drop) {
            to->headers[to->next.header_count++] =
                (hpx_http_header){.name = fields[i].name, .value = fields[i].value};
        }
    }
}

static void redirect_fail(hpxi_http_request *request, const char *why)
{
    hpxi_http_request_fail_with(request, HPX_E_HTTP_REDIRECT, "%s", why);
}

bool hpxi_http_redirect_prepare(
    hpxi_http_request *request, const hpx_http_header *headers, uint32_t count)
{
    const hpxi_h1_field *location =
        hpxi_h1_field_find((const hpxi_h1_field *)(const void *)headers, count, "location");
    if (!redirect_is_status(request->status) || location == NULL) {
        return false;
    }
    hpxi_http_settings *settings = request->core->settings;
    const hpxi_http_packed *packed = hpxi_http_request_packed(request);
    hpxi_http_origin origin;
    const hpx_span key = hpxi_http_packed_key(packed);
    hpxi_http_key_read(&origin, key.data, key.size);
    if (request->info.redirects >= settings->config.redirects_max) {
        redirect_fail(request, "more redirects than redirects_max");
        return false;
    }
    char text[HPXI_HTTP_LOCATION_BYTES];
    hpxi_url url;
    hpx_error error = {0};
    if (!hpxi_http_location_resolve(
            text, &origin, hpxi_http_packed_target(packed), location->value) ||
        hpxi_url_parse_http(&url, text, &error) != HPX_OK) {
        redirect_fail(request, "the Location of the redirect is no URL that can be followed");
        return false;
    }
    if (origin.is_tls && !url.is_tls) {
        redirect_fail(request, "a redirect from https to http is not followed");
        return false;
    }
    if (request->pulled &&
        !redirect_becomes_get(request->status, hpxi_http_packed_method(packed))) {
        redirect_fail(request, "the body came from a pull function and cannot be sent again");
        return false;
    }
    const bool same_origin = url.is_tls == origin.is_tls && url.port == origin.port &&
                             strcmp(url.host, origin.host) == 0;
    redirect_request next;
    redirect_fill(&next, request, packed, &origin, text, same_origin);
    hpxi_buf_consume(&request->next_packed, hpxi_buf_size(&request->next_packed));
    if (hpxi_http_pack(&request->next_packed, settings, &next.next, &error) != HPX_OK) {
        redirect_fail(request, error.detail);
        return false;
    }
    return true;
}

void hpxi_http_redirect_follow(hpxi_http_request *request)
{
    hpxi_http_packed_drop(hpxi_http_request_packed(request));
    const hpxi_buf old = request->packed;
    request->packed = request->next_packed;
    request->next_packed = old;
    hpxi_buf_consume(&request->next_packed, hpxi_buf_size(&request->next_packed));
    request->pulled = false;
}

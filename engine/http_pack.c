/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_pack.c - a request, checked and copied into one block. See http_pack.h for its layout.
 *
 * Role      What the wire must not see is refused here, on the app's thread, by the writers' own
 *           rules (h1/): before a connection is looked for.
 * Threads   Any; no state.
 */
#include "engine/http_pack.h"

#include <string.h>

#include "engine/engine.h"
#include "engine/error.h"
#include "h1/writer.h"
#include "tls/tls.h"

#define PACK_METHOD_BYTES_MAX 32u
#define PACK_BODY_BYTES_MAX   (UINT64_C(1) << 30)

/* Everything that goes into the block. */
typedef struct pack_input {
    hpxi_http_packed head; /* without sizes */
    hpxi_http_origin origin;
    hpxi_url url;
    hpx_span method;
    hpx_span body;
    hpxi_h1_field fields[HPXI_HTTP_HEADERS_MAX];
    uint32_t field_count;
} pack_input;

static hpx_status pack_invalid(hpx_error *error, const char *what)
{
    return hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s", what);
}

void hpx_http_request_set_insecure_no_verify(hpx_http_request *request)
{
    request->flags |= HPXI_HTTP_FLAG_INSECURE;
}

static hpx_status pack_check_members(const hpx_http_request *request, hpx_error *error)
{
    if ((request->flags & ~(HPX_HTTP_DECODE | HPXI_HTTP_FLAG_INSECURE)) != 0) {
        return pack_invalid(error, "flags has an unknown bit");
    }
    if (request->url == NULL) {
        return pack_invalid(error, "url is NULL");
    }
    if (request->header_count != 0 && request->headers == NULL) {
        return pack_invalid(error, "headers is NULL but header_count is not 0");
    }
    if (request->header_count > HPXI_HTTP_HEADERS_MAX - 4) {
        return pack_invalid(error, "header_count is above 124");
    }
    if ((uint32_t)request->version > HPX_HTTP_2_PRIOR_KNOWLEDGE) {
        return pack_invalid(error, "version is unknown");
    }
    if (request->body.size != 0 && (request->pull != NULL || request->body.data == NULL)) {
        return pack_invalid(error, "both body and pull are set, or the body's data is NULL");
    }
    if (request->body.size > PACK_BODY_BYTES_MAX) {
        return pack_invalid(error, "the body is above 1 GiB; use pull");
    }
    if (request->pull == NULL && request->body_bytes != 0 &&
        request->body_bytes != request->body.size) {
        return pack_invalid(error, "body_bytes is for pull");
    }
    if (request->identity != NULL && strlen(request->identity) >= HPXI_HTTP_IDENTITY_BYTES_MAX) {
        return pack_invalid(error, "identity has more than 255 bytes");
    }
    if (request->tls_server_name != NULL &&
        strlen(request->tls_server_name) >= HPXI_URL_HOST_BYTES) {
        return pack_invalid(error, "tls_server_name has more than 255 bytes");
    }
    return HPX_OK;
}

static bool pack_has(const pack_input *input, const char *name)
{
    return hpxi_h1_field_find(input->fields, input->field_count, name) != NULL;
}

static void pack_add(pack_input *input, const char *name, const char *value)
{
    HPX_ASSERT(input->field_count < HPXI_HTTP_HEADERS_MAX);
    input->fields[input->field_count++] =
        (hpxi_h1_field){.name = hpx_span_of(name), .value = hpx_span_of(value)};
}

/* The headers given, without Host (which becomes the authority), and those that we add. */
static void pack_headers(
    pack_input *input,
    const hpxi_http_settings *settings,
    const hpx_http_request *request,
    hpx_span *authority)
{
    *authority = hpx_span_of(input->url.host_header);
    for (uint32_t i = 0; i < request->header_count; i++) {
        const hpx_http_header *header = &request->headers[i];
        if (hpxi_h1_span_has(header->name, "host")) {
            *authority = header->value;
            continue;
        }
        input->fields[input->field_count++] =
            (hpxi_h1_field){.name = header->name, .value = header->value};
    }
    if (settings->config.user_agent[0] != '\0' && !pack_has(input, "user-agent")) {
        pack_add(input, "User-Agent", settings->config.user_agent);
    }
    if (!pack_has(input, "accept")) {
        pack_add(input, "Accept", "*/*");
    }
    if ((request->flags & HPX_HTTP_DECODE) != 0 && !pack_has(input, "accept-encoding")) {
        pack_add(input, "Accept-Encoding", "gzip, deflate");
    }
}

/* By the writer's own rules, which are those of HTTP/2 as well but for the case of names. */
static hpx_status pack_check_wire(pack_input *input, hpx_span authority, hpx_error *error)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < input->field_count; i++) {
        bytes += input->fields[i].name.size + input->fields[i].value.size;
    }
    if (bytes > HPXI_HTTP_HEADER_BYTES_MAX) {
        return pack_invalid(error, "the headers are above 256 KiB");
    }
    if (input->method.size > PACK_METHOD_BYTES_MAX) {
        return pack_invalid(error, "method has more than 32 bytes");
    }
    if (hpxi_h1_span_is(input->method, "CONNECT")) {
        return pack_invalid(error, "method CONNECT is not for requests");
    }
    const hpxi_h1_request check = {
        .method = input->method,
        .target = hpx_span_of(input->url.target),
        .host = authority,
        .fields = input->fields,
        .field_count = input->field_count,
    };
    const hpx_status status = hpxi_h1_request_check(&check, error);
    if (status != HPX_OK && error != NULL) {
        error->stage = HPX_STAGE_CONFIG;
    }
    return status;
}

/* The context that the connection is made with. */
static hpx_status pack_tls(
    pack_input *input,
    hpxi_http_settings *settings,
    const hpx_http_request *request,
    hpx_error *error)
{
    if (!input->url.is_tls) {
        return HPX_OK;
    }
    input->head.tls = request->tls != NULL ? request->tls : settings->tls;
    if (input->head.tls != NULL) {
        return HPX_OK;
    }
    /* Partner: the exchange below; whoever loses it gives its reference back. */
    hpx_tls_context *context = atomic_load_explicit(&settings->default_tls, memory_order_acquire);
    if (context == NULL) {
        hpx_tls_context *made = NULL;
        const hpx_status status = hpxi_engine_default_tls(settings->engine, &made, error);
        if (status != HPX_OK) {
            return status;
        }
        if (atomic_compare_exchange_strong_explicit(
                &settings->default_tls,
                &context,
                made,
                memory_order_acq_rel,
                memory_order_acquire)) {
            context = made;
        } else {
            hpx_tls_context_release(made);
        }
    }
    input->head.tls = context;
    return HPX_OK;
}

static void pack_origin(
    pack_input *input,
    const hpx_http_request *request,
    char identity[HPXI_HTTP_IDENTITY_BYTES_MAX + 1])
{
    const bool is_tls = input->url.is_tls;
    const char *name = request->tls_server_name;
    identity[0] = '\0';
    if (request->identity != NULL) {
        identity[0] = 'i'; /* so that "" is not NULL */
        memcpy(identity + 1, request->identity, strlen(request->identity) + 1);
    }
    input->origin = (hpxi_http_origin){
        .is_tls = is_tls,
        .insecure = is_tls && (request->flags & HPXI_HTTP_FLAG_INSECURE) != 0,
        .version = request->version,
        .port = input->url.port,
        .tls = input->head.tls,
        .host = input->url.host,
        .server_name = !is_tls        ? ""
                       : name != NULL ? name
                                      : input->url.host,
        .proxy = "",
        .identity = identity,
    };
    if (!is_tls && request->version == HPX_HTTP_ANY) {
        input->origin.version = HPX_HTTP_1_1;
    }
}

static uint8_t *pack_bytes(uint8_t *at, hpx_span bytes)
{
    if (bytes.size != 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return at + bytes.size;
}

/* Sizes, then all parts into one reservation. */
static hpx_status pack_write(hpxi_buf *out, pack_input *input, hpx_span authority, hpx_error *error)
{
    uint8_t key[HPXI_HTTP_KEY_BYTES_MAX];
    const hpx_span target = hpx_span_of(input->url.target);
    hpxi_http_packed *head = &input->head;
    head->key_bytes = (uint32_t)hpxi_http_key_write(key, &input->origin);
    head->method_bytes = (uint32_t)input->method.size;
    head->authority_bytes = (uint32_t)authority.size;
    head->target_bytes = (uint32_t)target.size;
    head->header_count = input->field_count;
    head->header_bytes = 0;
    for (uint32_t i = 0; i < input->field_count; i++) {
        head->header_bytes += (uint32_t)(
            sizeof(hpxi_http_packed_header) + input->fields[i].name.size +
            input->fields[i].value.size);
    }
    head->body_bytes = input->body.size;
    const size_t bytes = sizeof(*head) + head->key_bytes + head->method_bytes +
                         head->authority_bytes + head->target_bytes + head->header_bytes +
                         input->body.size;
    head->bytes = (uint32_t)bytes;
    uint8_t *at = hpxi_buf_reserve(out, bytes);
    if (at == NULL) {
        return hpxi_error_set(error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory");
    }
    at = pack_bytes(at, (hpx_span){.data = (const uint8_t *)head, .size = sizeof(*head)});
    at = pack_bytes(at, (hpx_span){.data = key, .size = head->key_bytes});
    at = pack_bytes(at, input->method);
    at = pack_bytes(at, authority);
    at = pack_bytes(at, target);
    for (uint32_t i = 0; i < input->field_count; i++) {
        const hpxi_h1_field *field = &input->fields[i];
        const hpxi_http_packed_header header = {
            .name_bytes = (uint32_t)field->name.size, .value_bytes = (uint32_t)field->value.size};
        memcpy(at, &header, sizeof(header));
        at = pack_bytes(at + sizeof(header), field->name);
        at = pack_bytes(at, field->value);
    }
    (void)pack_bytes(at, input->body);
    hpxi_buf_commit(out, bytes);
    return HPX_OK;
}

static uint64_t pack_limit(uint64_t given, uint64_t fallback)
{
    return given != 0 ? given : fallback;
}

static hpx_status pack_fill(
    pack_input *input,
    hpxi_http_settings *settings,
    const hpx_http_request *request,
    hpx_error *error)
{
    const hpx_http_config *config = &settings->config;
    const char *method = request->method != NULL ? request->method : "GET";
    input->method = hpx_span_of(method);
    input->body = request->body;
    input->field_count = 0;
    const bool owns = request->tls != NULL;
    input->head = (hpxi_http_packed){
        .flags = ((request->flags & HPX_HTTP_DECODE) != 0 ? HPXI_HTTP_PACK_DECODE : 0) |
                 (owns ? HPXI_HTTP_PACK_OWNS_TLS : 0) |
                 (strcmp(method, "HEAD") == 0 ? HPXI_HTTP_PACK_HEAD : 0) |
                 (request->collect_bytes_max != 0 ? HPXI_HTTP_PACK_COLLECT : 0),
        .pull = request->pull,
        .pull_bytes = request->body_bytes,
        .pull_user = request->pull_user,
        .user = request->user,
        .collect_bytes_max = request->collect_bytes_max,
        .timeout_ns = pack_limit(request->timeout_ns, config->timeout_ns),
        .connect_timeout_ns = pack_limit(request->connect_timeout_ns, config->connect_timeout_ns),
        .first_byte_timeout_ns =
            pack_limit(request->first_byte_timeout_ns, config->first_byte_timeout_ns),
        .idle_timeout_ns = pack_limit(request->idle_timeout_ns, config->idle_timeout_ns),
        .is_tls = input->url.is_tls,
    };
    if (request->version == HPX_HTTP_2 && !input->url.is_tls) {
        return pack_invalid(
            error, "HPX_HTTP_2 needs https; over http there is HPX_HTTP_2_PRIOR_KNOWLEDGE");
    }
    return pack_tls(input, settings, request, error);
}

hpx_status hpxi_http_pack(
    hpxi_buf *out, hpxi_http_settings *settings, const hpx_http_request *from, hpx_error *error)
{
    hpx_http_request request = HPX_HTTP_REQUEST_INIT;
    if (from == NULL || from->size < offsetof(hpx_http_request, headers)) {
        return pack_invalid(error, "request is NULL, or use HPX_HTTP_REQUEST_INIT");
    }
    memcpy(&request, from, from->size < sizeof(request) ? from->size : sizeof(request));
    hpx_status status = pack_check_members(&request, error);
    if (status != HPX_OK) {
        return status;
    }
    pack_input input;
    status = hpxi_url_parse_http(&input.url, request.url, error);
    if (status == HPX_OK) {
        status = pack_fill(&input, settings, &request, error);
    }
    if (status != HPX_OK) {
        return status;
    }
    char identity[HPXI_HTTP_IDENTITY_BYTES_MAX + 1];
    hpx_span authority;
    pack_origin(&input, &request, identity);
    pack_headers(&input, settings, &request, &authority);
    status = pack_check_wire(&input, authority, error);
    if (status == HPX_OK) {
        status = pack_write(out, &input, authority, error);
    }
    if (status == HPX_OK && (input.head.flags & HPXI_HTTP_PACK_OWNS_TLS) != 0) {
        if (input.head.tls != NULL) {
            hpxi_tls_context_retain(input.head.tls);
        }
    }
    return status;
}

void hpxi_http_packed_drop(hpxi_http_packed *packed)
{
    if ((packed->flags & HPXI_HTTP_PACK_OWNS_TLS) != 0) {
        packed->flags &= ~(uint32_t)HPXI_HTTP_PACK_OWNS_TLS;
        hpx_tls_context_release(packed->tls);
    }
}

/* ---- Views ----------------------------------------------------------------------------------- */

/* What is behind the struct. */
static const uint8_t *packed_data(const hpxi_http_packed *packed)
{
    return (const uint8_t *)(packed + 1);
}

hpx_span hpxi_http_packed_key(const hpxi_http_packed *packed)
{
    return (hpx_span){.data = packed_data(packed), .size = packed->key_bytes};
}

hpx_span hpxi_http_packed_method(const hpxi_http_packed *packed)
{
    return (hpx_span){
        .data = packed_data(packed) + packed->key_bytes, .size = packed->method_bytes};
}

hpx_span hpxi_http_packed_authority(const hpxi_http_packed *packed)
{
    const hpx_span before = hpxi_http_packed_method(packed);
    return (hpx_span){.data = before.data + before.size, .size = packed->authority_bytes};
}

hpx_span hpxi_http_packed_target(const hpxi_http_packed *packed)
{
    const hpx_span before = hpxi_http_packed_authority(packed);
    return (hpx_span){.data = before.data + before.size, .size = packed->target_bytes};
}

static size_t packed_headers_at(const hpxi_http_packed *packed)
{
    return (size_t)packed->key_bytes + packed->method_bytes + packed->authority_bytes +
           packed->target_bytes;
}

hpx_span hpxi_http_packed_body(const hpxi_http_packed *packed)
{
    return (hpx_span){
        .data = packed_data(packed) + packed_headers_at(packed) + packed->header_bytes,
        .size = (size_t)packed->body_bytes};
}

void hpxi_http_packed_headers(
    const hpxi_http_packed *packed, hpxi_h1_field fields[HPXI_HTTP_HEADERS_MAX])
{
    HPX_ASSERT(packed->header_count <= HPXI_HTTP_HEADERS_MAX);
    const uint8_t *at = packed_data(packed) + packed_headers_at(packed);
    for (uint32_t i = 0; i < packed->header_count; i++) {
        hpxi_http_packed_header header;
        memcpy(&header, at, sizeof(header));
        at += sizeof(header);
        fields[i].name = (hpx_span){.data = at, .size = header.name_bytes};
        at += header.name_bytes;
        fields[i].value = (hpx_span){.data = at, .size = header.value_bytes};
        at += header.value_bytes;
    }
}

void hpxi_http_packed_lower(hpxi_http_packed *packed)
{
    if ((packed->flags & HPXI_HTTP_PACK_LOWERED) != 0) {
        return;
    }
    packed->flags |= HPXI_HTTP_PACK_LOWERED;
    uint8_t *at = (uint8_t *)(packed + 1) + packed_headers_at(packed);
    for (uint32_t i = 0; i < packed->header_count; i++) {
        hpxi_http_packed_header header;
        memcpy(&header, at, sizeof(header));
        at += sizeof(header);
        for (uint32_t k = 0; k < header.name_bytes; k++) {
            at[k] = at[k] >= 'A' && at[k] <= 'Z' ? (uint8_t)(at[k] | 0x20) : at[k];
        }
        at += header.name_bytes + header.value_bytes;
    }
}

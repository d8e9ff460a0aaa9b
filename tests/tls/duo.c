/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/tls/duo.h"

#include <stdio.h>
#include <wolfssl/wolfcrypt/memory.h>

#include "tests/support/test.h"

static wolfSSL_Malloc_cb duo_malloc;
static wolfSSL_Free_cb duo_free_block;
static wolfSSL_Realloc_cb duo_realloc;
static size_t duo_memory_count;
static size_t duo_memory_fail_at;
static ptrdiff_t duo_memory_live;
static size_t duo_memory_bytes;

static size_t duo_usable(void *block)
{
    return hpxi_tls_memory_usable_bytes(block);
}

static void *duo_failing_malloc(size_t size)
{
    void *block = duo_memory_count++ == duo_memory_fail_at ? NULL : duo_malloc(size);
    duo_memory_live += block != NULL;
    duo_memory_bytes += block == NULL ? 0 : duo_usable(block);
    return block;
}

static void duo_counting_free(void *block)
{
    duo_memory_live -= block != NULL;
    duo_memory_bytes -= block == NULL ? 0 : duo_usable(block);
    duo_free_block(block);
}

static void *duo_failing_realloc(void *block, size_t size)
{
    if (duo_memory_count++ == duo_memory_fail_at) {
        return NULL;
    }
    duo_memory_live += block == NULL;
    duo_memory_bytes -= block == NULL ? 0 : duo_usable(block);
    void *other = duo_realloc(block, size);
    duo_memory_bytes += other == NULL ? 0 : duo_usable(other);
    return other;
}

size_t duo_wolf_memory_bytes(void)
{
    return duo_memory_bytes;
}

void duo_wolf_memory_start(size_t fail_at)
{
    assert_null(duo_malloc);
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    duo_memory_count = 0;
    duo_memory_live = 0;
    duo_memory_bytes = 0;
    duo_memory_fail_at = fail_at;
    assert_int_equal(wolfSSL_GetAllocators(&duo_malloc, &duo_free_block, &duo_realloc), 0);
    assert_int_equal(
        wolfSSL_SetAllocators(duo_failing_malloc, duo_counting_free, duo_failing_realloc), 0);
}

size_t duo_wolf_memory_stop(ptrdiff_t *live)
{
    assert_non_null(duo_malloc);
    assert_int_equal(wolfSSL_SetAllocators(duo_malloc, duo_free_block, duo_realloc), 0);
    duo_malloc = NULL;
    *live = duo_memory_live;
    return duo_memory_count;
}

uint64_t duo_random(uint64_t *seed)
{
    *seed += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = *seed;
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

void duo_fill(uint8_t *to, size_t size, uint64_t start)
{
    for (size_t i = 0; i < size; i++) {
        const uint64_t at = start + i;
        to[i] = (uint8_t)(at ^ (at >> 8) ^ (at >> 16));
    }
}

hpx_tls_config duo_server_config(const duo_site *site)
{
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.cert_file = site->cert_file;
    config.key_file = site->key_file;
    return config;
}

hpx_tls_config duo_client_config(const duo_site *site)
{
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_pem = site->root_pem;
    config.ca_pem_bytes = strlen(site->root_pem);
    return config;
}

hpx_tls_context *duo_server_context(const hpx_tls_config *config)
{
    hpx_tls_context *context = NULL;
    hpx_error error;
    if (hpx_tls_server_context_new(&context, config, &error) != HPX_OK) {
        fail_msg("server context: %s", error.detail);
    }
    return context;
}

hpx_tls_context *duo_client_context(const hpx_tls_config *config)
{
    hpx_tls_context *context = NULL;
    hpx_error error;
    if (hpx_tls_client_context_new(&context, config, &error) != HPX_OK) {
        fail_msg("client context: %s", error.detail);
    }
    return context;
}

void duo_site_make_chain(duo_site *site, const certs_identity *const *chain, size_t count)
{
    static char pem[CERTS_PEM_MAX];
    const certs_identity *const roots[] = {&site->root};
    certs_folder_make(site->folder);
    (void)certs_pem(pem, chain, count);
    certs_write_file(site->cert_file, site->folder, "cert.pem", pem);
    (void)certs_key_pem(pem, &site->leaf);
    certs_write_file(site->key_file, site->folder, "key.pem", pem);
    (void)certs_pem(site->root_pem, roots, 1);
    const hpx_tls_config server = duo_server_config(site);
    const hpx_tls_config client = duo_client_config(site);
    site->server = duo_server_context(&server);
    site->client = duo_client_context(&client);
}

void duo_site_make(duo_site *site, const certs_spec *leaf)
{
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    certs_make(&site->root, &(certs_spec){.common_name = "test root", .is_ca = true}, NULL);
    certs_make(&site->leaf, leaf, &site->root);
    const certs_identity *const chain[] = {&site->leaf};
    duo_site_make_chain(site, chain, 1);
}

void duo_site_free(duo_site *site)
{
    hpx_tls_context_release(site->server);
    hpx_tls_context_release(site->client);
    certs_free(&site->leaf);
    certs_free(&site->root);
    certs_folder_remove(site->folder);
}

void duo_site_force_tls12(duo_site *site)
{
    char path[2 * CERTS_PATH_MAX];
    WOLFSSL_CTX *wolf = wolfSSL_CTX_new(wolfTLSv1_2_server_method());
    assert_non_null(wolf);
    (void)snprintf(path, sizeof(path), "%s/cert.pem", site->folder);
    assert_int_equal(wolfSSL_CTX_use_certificate_chain_file(wolf, path), WOLFSSL_SUCCESS);
    (void)snprintf(path, sizeof(path), "%s/key.pem", site->folder);
    assert_int_equal(
        wolfSSL_CTX_use_PrivateKey_file(wolf, path, WOLFSSL_FILETYPE_PEM), WOLFSSL_SUCCESS);
    hpxi_tls_verify_install(wolf, false, false);
    hpxi_tls_session_install(wolf);
    wolfSSL_CTX_free(site->server->wolf);
    site->server->wolf = wolf;
}

/* "h2,http/1.1" to the wire's form. */
static size_t duo_alpn_wire(uint8_t *to, const char *names)
{
    size_t used = 0;
    for (const char *at = names; at != NULL;) {
        const char *comma = strchr(at, ',');
        const size_t size = comma == NULL ? strlen(at) : (size_t)(comma - at);
        assert_true(used + 1 + size <= DUO_ALPN_MAX);
        to[used++] = (uint8_t)size;
        memcpy(to + used, at, size);
        used += size;
        at = comma == NULL ? NULL : comma + 1;
    }
    return used;
}

void duo_make_with(
    duo *d, const hpxi_tls_session_config *client, const hpxi_tls_session_config *server)
{
    *d = (duo){.memory = FAILING_ALLOCATOR_NEVER, .seed = 1};
    d->allocator = fa_allocator(&d->memory);
    hpxi_buf_init(&d->to_server, &d->allocator);
    hpxi_buf_init(&d->to_client, &d->allocator);
    d->client_status = HPX_E_PARTIAL;
    d->server_status = HPX_E_PARTIAL;
    assert_int_equal(hpxi_tls_new(&d->client, client, &d->allocator, NULL), HPX_OK);
    assert_int_equal(hpxi_tls_new(&d->server, server, &d->allocator, NULL), HPX_OK);
}

void duo_make_alpn(
    duo *d,
    duo_site *site,
    const char *server_name,
    const char *client_alpn,
    const char *server_alpn)
{
    uint8_t wire[2][DUO_ALPN_MAX];
    hpxi_tls_session_config client = {.context = site->client, .server_name = server_name};
    hpxi_tls_session_config server = {.context = site->server, .is_server = true};
    if (client_alpn != NULL) {
        client.alpn = wire[0];
        client.alpn_bytes = duo_alpn_wire(wire[0], client_alpn);
    }
    if (server_alpn != NULL) {
        server.alpn = wire[1];
        server.alpn_bytes = duo_alpn_wire(wire[1], server_alpn);
    }
    duo_make_with(d, &client, &server);
}

void duo_make(duo *d, duo_site *site, const char *server_name, bool insecure)
{
    const hpxi_tls_session_config client = {
        .context = site->client, .server_name = server_name, .insecure_no_verify = insecure};
    const hpxi_tls_session_config server = {.context = site->server, .is_server = true};
    duo_make_with(d, &client, &server);
}

void duo_free(duo *d)
{
    hpxi_tls_free(d->client);
    hpxi_tls_free(d->server);
    hpxi_buf_fini(&d->to_server);
    hpxi_buf_fini(&d->to_client);
    assert_int_equal(d->memory.live, 0);
    assert_int_equal(d->memory.bytes, 0);
}

/* The next piece, in a block of exactly its size. */
static uint8_t *duo_take_piece(duo *d, hpxi_buf *from, size_t *size)
{
    const hpx_span there = hpxi_buf_span(from);
    size_t cut = d->cut_bytes == 0 ? there.size : d->cut_bytes;
    if (d->cut_bytes == DUO_CUT_RANDOM) {
        const uint64_t r = duo_random(&d->seed);
        cut = 1 + (r & 1 ? (r >> 8) % 7 : (r >> 8) % 20000);
    }
    *size = cut < there.size ? cut : there.size;
    uint8_t *piece = malloc(*size == 0 ? 1 : *size);
    assert_non_null(piece);
    if (*size != 0) {
        memcpy(piece, there.data, *size);
        hpxi_buf_consume(from, *size);
    }
    return piece;
}

/* Puts back what the handshake did not use: the first application data. */
static void duo_put_back(hpxi_buf *to, const uint8_t *bytes, size_t size)
{
    if (size == 0) {
        return;
    }
    const hpx_span rest = hpxi_buf_span(to);
    uint8_t *copy = malloc(rest.size + size);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    if (rest.size != 0) {
        memcpy(copy + size, rest.data, rest.size);
        hpxi_buf_consume(to, rest.size);
    }
    assert_true(hpxi_buf_append(to, copy, rest.size + size));
    free(copy);
}

/* The version in a record's header is ignored before encryption: a flip there proves nothing. */
static bool duo_is_header_version(const uint8_t *records, size_t size, size_t at)
{
    size_t start = 0;
    while (start + 5 <= size) {
        const size_t next = start + 5 + ((size_t)records[start + 3] << 8 | records[start + 4]);
        if (at < next) {
            return at == start + 1 || at == start + 2;
        }
        start = next;
    }
    return false;
}

static void duo_flip(duo *d, bool from_client, uint8_t *piece, size_t size)
{
    if (d->flip_at == 0 || from_client != d->flip_from_client) {
        return;
    }
    if (d->flip_at > size) {
        d->flip_at -= size;
        return;
    }
    const size_t at = d->flip_at - 1;
    d->flip_at = 0;
    if (!duo_is_header_version(piece, size, at)) {
        piece[at] ^= (uint8_t)(1u << (at % 8));
        d->flipped = true;
    }
}

static hpx_status duo_step(duo *d, bool at_client)
{
    hpxi_buf *in = at_client ? &d->to_client : &d->to_server;
    hpxi_buf *out = at_client ? &d->to_server : &d->to_client;
    size_t size = 0;
    uint8_t *piece = duo_take_piece(d, in, &size);
    duo_flip(d, !at_client, piece, size);
    uint8_t *data = piece;
    const hpx_status status = hpxi_tls_handshake(
        at_client ? d->client : d->server,
        &data,
        &size,
        out,
        at_client ? &d->client_error : &d->server_error);
    if (status == HPX_E_PARTIAL) {
        assert_int_equal(size, 0);
    }
    if (status == 1) {
        duo_put_back(in, data, size);
    }
    free(piece);
    return status;
}

bool duo_handshake(duo *d)
{
    d->client_status = duo_step(d, true);
    for (;;) {
        bool moved = false;
        if (d->server_status == HPX_E_PARTIAL && hpxi_buf_size(&d->to_server) != 0) {
            d->server_status = duo_step(d, false);
            moved = true;
        }
        if (d->client_status == HPX_E_PARTIAL && hpxi_buf_size(&d->to_client) != 0) {
            d->client_status = duo_step(d, true);
            moved = true;
        }
        if (!moved) {
            return d->client_status == 1 && d->server_status == 1;
        }
    }
}

hpx_status duo_receive(duo *d, bool at_client, hpxi_buf *plain)
{
    static _Thread_local uint8_t decrypted[DUO_PLAIN_MAX];
    hpxi_buf *in = at_client ? &d->to_client : &d->to_server;
    hpxi_buf *out = at_client ? &d->to_server : &d->to_client;
    hpx_status status = HPX_E_PARTIAL;
    while (hpxi_buf_size(in) != 0 && status == HPX_E_PARTIAL) {
        size_t size = 0;
        uint8_t *piece = duo_take_piece(d, in, &size);
        uint8_t *data = piece;
        ptrdiff_t rc = 1;
        while (rc > 0) {
            rc = hpxi_tls_read(
                at_client ? d->client : d->server,
                &data,
                &size,
                decrypted,
                sizeof(decrypted),
                out,
                at_client ? &d->client_error : &d->server_error);
            if (rc > 0) {
                assert_true(hpxi_buf_append(plain, decrypted, (size_t)rc));
            }
        }
        status = (hpx_status)rc;
        if (status == HPX_E_PARTIAL) {
            assert_int_equal(size, 0);
        }
        free(piece);
    }
    return status;
}

void duo_send(duo *d, bool from_client, const uint8_t *bytes, size_t size)
{
    const hpx_span plain = {.data = bytes, .size = size};
    assert_int_equal(
        hpxi_tls_write(
            from_client ? d->client : d->server,
            plain,
            from_client ? &d->to_server : &d->to_client,
            NULL),
        HPX_OK);
}

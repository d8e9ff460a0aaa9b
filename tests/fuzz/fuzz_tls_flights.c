/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: whatever becomes of a server's flights on their way - bytes changed, dropped, doubled,
 * put in, moved, cut anywhere - our client neither crashes nor waits with input unused, and it says
 * that the handshake is done only if it verified the server; a failure says why, and stays.
 *
 * The first byte chooses: bit 0 TLS 1.2 instead of 1.3 (whose flights are mostly cipher text, so
 * that 1.2 reaches more of the parsers), bit 1 a second, resumed handshake after a clean one, bit 2
 * the rest is the server's whole stream, bits 3 to 7 the pieces. Else the rest is a list of changes
 * of four bytes each: what, where (two bytes), and a value.
 */
#include <stdlib.h>
#include <string.h>

#include "ring/assert.h"
#include "tls/tls.h"

#define FLIGHT_PLAIN_BYTES  16384
#define FLIGHT_CHANGES_MAX  16
#define FLIGHT_STREAM_BYTES (64u << 10)

/* Valid from 2020 to 2099; made for this file only. */
static const char root_pem[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBWzCCAQGgAwIBAgIBATAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlmdXp6IHJv\n"
                               "b3QwIBcNMjAwMTAxMDAwMDAwWhgPMjA5OTEyMzEyMzU5NTlaMBQxEjAQBgNVBAMM\n"
                               "CWZ1enogcm9vdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLCN8c1Djoh1Rn3g\n"
                               "SjzMiHyMnCUZ4SG8P5wPRaQVZWiyULVpdamARhOeuORUQ78WeXTUvlX6lT/xbEcK\n"
                               "EJADm5KjQjBAMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgIEMB0GA1Ud\n"
                               "DgQWBBSvrxH4jFjuYalifpARWHVIOfyagjAKBggqhkjOPQQDAgNIADBFAiAC4yVu\n"
                               "yxzmmOKSQ+fYaZPm82lq9xafTyuzKxtRy8KXCgIhAJXVdjnM10jNf2zwoqo8WF3m\n"
                               "SceKdJPH1vccGHkmcXKJ\n"
                               "-----END CERTIFICATE-----\n";
static const char leaf_pem[] = "-----BEGIN CERTIFICATE-----\n"
                               "MIIBojCCAUegAwIBAgIBAjAKBggqhkjOPQQDAjAUMRIwEAYDVQQDDAlmdXp6IHJv\n"
                               "b3QwIBcNMjAwMTAxMDAwMDAwWhgPMjA5OTEyMzEyMzU5NTlaMA8xDTALBgNVBAMM\n"
                               "BGxlYWYwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQiqNyfsl7J0FD1+vpt1Ftq\n"
                               "AYf6j39XzvE50AR0FIFwVqPu7kWddMxKZZ1W444Ooh1ZP3kwt1NflhUZN12zEPpw\n"
                               "o4GMMIGJMAkGA1UdEwQCMAAwDgYDVR0PAQH/BAQDAgeAMBMGA1UdJQQMMAoGCCsG\n"
                               "AQUFBwMBMBcGA1UdEQQQMA6CDGhvc3QuZXhhbXBsZTAdBgNVHQ4EFgQUsRZZoXzS\n"
                               "PDgs9+wwthEXDRDcBbEwHwYDVR0jBBgwFoAUr68R+IxY7mGpYn6QEVh1SDn8moIw\n"
                               "CgYIKoZIzj0EAwIDSQAwRgIhAMeLMf98MR7patfsEnjUjpXPYhfOyeGtqa3wzK6Z\n"
                               "fBrXAiEAs4m8v34bPSbGnU1KsMfcQpkq08lIjrm+8KgGntioF2U=\n"
                               "-----END CERTIFICATE-----\n";
static const char leaf_key_pem[] =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEICkBIh+sk6r1YVX4/oUgGaf/V4ZU6AFoysYbZoK8+D9noAoGCCqGSM49\n"
    "AwEHoUQDQgAEIqjcn7JeydBQ9fr6bdRbagGH+o9/V87xOdAEdBSBcFaj7u5FnXTM\n"
    "SmWdVuOODqIdWT95MLdTX5YVGTddsxD6cA==\n"
    "-----END EC PRIVATE KEY-----\n";

enum { CHANGE_XOR, CHANGE_SET, CHANGE_DROP, CHANGE_INSERT, CHANGE_DOUBLE, CHANGE_SWAP, CHANGES };

typedef struct change {
    uint8_t what;
    uint16_t where; /* in the server's stream */
    uint8_t value;
} change;

typedef struct flight {
    hpxi_tls *client;
    hpxi_tls *server;
    hpxi_buf to_client;
    hpxi_buf to_server;
    hpxi_tls_cache *sessions;
    change changes[FLIGHT_CHANGES_MAX];
    size_t change_count;
    size_t stream_at; /* bytes that the server has sent so far */
    size_t piece;
} flight;

static hpx_tls_context *clients;
static hpx_tls_context *servers[2];
static const uint64_t now_ns = 1;

static void *plain_alloc(size_t size, size_t align, void *user)
{
    (void)user;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void plain_free(void *block, size_t size, void *user)
{
    (void)size;
    (void)user;
    free(block);
}

static const hpx_allocator plain_allocator = {.alloc = plain_alloc, .free = plain_free};

static void make_contexts(void)
{
    if (clients != NULL) {
        return;
    }
    hpx_tls_config config = HPX_TLS_CONFIG_INIT;
    config.ca_pem = root_pem;
    config.ca_pem_bytes = sizeof(root_pem) - 1;
    HPX_ASSERT(hpx_tls_client_context_new(&clients, &config, NULL) == HPX_OK);
    config = (hpx_tls_config)HPX_TLS_CONFIG_INIT;
    config.cert_pem = leaf_pem;
    config.cert_pem_bytes = sizeof(leaf_pem) - 1;
    config.key_pem = leaf_key_pem;
    config.key_pem_bytes = sizeof(leaf_key_pem) - 1;
    config.ticket_count = 1;
    HPX_ASSERT(hpx_tls_server_context_new(&servers[0], &config, NULL) == HPX_OK);
    config.version_max = HPX_TLS_VERSION_1_2;
    HPX_ASSERT(hpx_tls_server_context_new(&servers[1], &config, NULL) == HPX_OK);
}

static void flight_open(flight *f, size_t version)
{
    const hpxi_tls_session_config client = {
        .context = clients,
        .server_name = "host.example",
        .sessions = f->sessions,
        HPXI_TLS_ALPN(HPXI_TLS_ALPN_H2_HTTP1)};
    const hpxi_tls_session_config server = {
        .context = servers[version], .is_server = true, HPXI_TLS_ALPN(HPXI_TLS_ALPN_HTTP1)};
    hpxi_buf_init(&f->to_client, &plain_allocator);
    hpxi_buf_init(&f->to_server, &plain_allocator);
    HPX_ASSERT(hpxi_tls_new(&f->client, &client, &plain_allocator, NULL) == HPX_OK);
    HPX_ASSERT(hpxi_tls_new(&f->server, &server, &plain_allocator, NULL) == HPX_OK);
}

static void flight_close(flight *f)
{
    hpxi_tls_free(f->client);
    hpxi_tls_free(f->server);
    hpxi_buf_fini(&f->to_client);
    hpxi_buf_fini(&f->to_server);
}

static void append_byte(hpxi_buf *to, uint8_t byte)
{
    HPX_ASSERT(hpxi_buf_append(to, &byte, 1));
}

/* Puts one byte of the server's on the way to the client, as the changes have it. */
static void pass_on(flight *f, hpxi_buf *to, const uint8_t *from, size_t at, size_t size)
{
    uint8_t byte = from[at];
    const size_t where = f->stream_at + at;
    for (size_t i = 0; i < f->change_count; i++) {
        const change *c = &f->changes[i];
        if (c->where != where) {
            continue;
        }
        switch (c->what) {
        case CHANGE_XOR:
            byte ^= c->value;
            break;
        case CHANGE_SET:
            byte = c->value;
            break;
        case CHANGE_DROP:
            return;
        case CHANGE_INSERT:
            append_byte(to, c->value);
            break;
        case CHANGE_DOUBLE: /* what follows comes twice */
            for (size_t k = 0; k < c->value && at + k < size; k++) {
                append_byte(to, from[at + k]);
            }
            break;
        case CHANGE_SWAP:
            byte = at + c->value < size ? from[at + c->value] : byte;
            break;
        default:
            break;
        }
    }
    append_byte(to, byte);
}

/* Gives the client what is there, in pieces of their own blocks. */
static hpx_status feed_client(flight *f, hpx_error *error)
{
    hpx_status status = HPX_E_PARTIAL;
    while (hpxi_buf_size(&f->to_client) != 0 && status == HPX_E_PARTIAL) {
        const hpx_span there = hpxi_buf_span(&f->to_client);
        size_t size = f->piece < there.size ? f->piece : there.size;
        const size_t taken = size;
        uint8_t *block = malloc(size);
        HPX_ASSERT(block != NULL);
        memcpy(block, there.data, size);
        hpxi_buf_consume(&f->to_client, size);
        uint8_t *data = block;
        status = hpxi_tls_handshake(f->client, &data, &size, &f->to_server, error);
        HPX_ASSERT(size <= taken && data == block + (taken - size));
        HPX_ASSERT(status != HPX_E_PARTIAL || size == 0);
        free(block);
    }
    return status;
}

static void check_failed(flight *f, hpx_status status, const hpx_error *error)
{
    uint8_t plain[FLIGHT_PLAIN_BYTES];
    uint8_t *data = NULL;
    size_t size = 0;
    hpx_error again;
    HPX_ASSERT(error->status == status && error->stage == HPX_STAGE_TLS);
    HPX_ASSERT(error->detail[0] != '\0');
    HPX_ASSERT(
        hpxi_tls_read(f->client, &data, &size, plain, sizeof(plain), &f->to_server, &again) ==
        status);
    HPX_ASSERT(strcmp(again.detail, error->detail) == 0);
    hpxi_tls_info info;
    hpxi_tls_get_info(f->client, &info);
    HPX_ASSERT(!info.verified || status != HPX_E_TLS_NAME);
}

static hpx_status flight_run(flight *f)
{
    hpx_error error = {0};
    hpxi_buf sent;
    uint8_t *data = NULL;
    size_t size = 0;
    hpxi_buf_init(&sent, &plain_allocator);
    hpx_status status = hpxi_tls_handshake(f->client, &data, &size, &f->to_server, &error);
    hpx_status at_server = HPX_E_PARTIAL;
    while (status == HPX_E_PARTIAL && hpxi_buf_size(&f->to_server) != 0 &&
           at_server == HPX_E_PARTIAL) {
        const hpx_span to_server = hpxi_buf_span(&f->to_server);
        data = f->to_server.data + f->to_server.head;
        size = to_server.size;
        at_server = hpxi_tls_handshake(f->server, &data, &size, &sent, NULL);
        hpxi_buf_consume(&f->to_server, to_server.size);
        const hpx_span out = hpxi_buf_span(&sent);
        for (size_t i = 0; i < out.size; i++) {
            pass_on(f, &f->to_client, out.data, i, out.size);
        }
        f->stream_at += out.size;
        hpxi_buf_consume(&sent, out.size);
        status = feed_client(f, &error);
    }
    if (status < 0 && status != HPX_E_PARTIAL) {
        check_failed(f, status, &error);
    } else if (status == 1) {
        hpxi_tls_info info;
        hpxi_tls_get_info(f->client, &info);
        HPX_ASSERT(info.verified);
    }
    hpxi_buf_fini(&sent);
    return status;
}

/* Data after the handshake brings the tickets. */
static void flight_settle(flight *f)
{
    uint8_t plain[FLIGHT_PLAIN_BYTES];
    const size_t finished = hpxi_buf_size(&f->to_server);
    if (finished != 0) { /* in TLS 1.3 the client is done first */
        uint8_t *last = f->to_server.data + f->to_server.head;
        size_t last_bytes = finished;
        HPX_ASSERT(hpxi_tls_handshake(f->server, &last, &last_bytes, &f->to_client, NULL) == 1);
        hpxi_buf_consume(&f->to_server, finished);
    }
    HPX_ASSERT(hpxi_tls_write(f->server, hpx_span_of("x"), &f->to_client, NULL) == HPX_OK);
    const size_t there = hpxi_buf_size(&f->to_client);
    uint8_t *data = f->to_client.data + f->to_client.head;
    size_t size = there;
    while (hpxi_tls_read(f->client, &data, &size, plain, sizeof(plain), &f->to_server, NULL) > 0) {
    }
    hpxi_buf_consume(&f->to_client, there);
}

/* The rest of the input is all that the server says. */
static void run_stream(flight *f, const uint8_t *bytes, size_t size)
{
    hpx_error error = {0};
    uint8_t *none = NULL;
    size_t nothing = 0;
    size = size < FLIGHT_STREAM_BYTES ? size : FLIGHT_STREAM_BYTES;
    HPX_ASSERT(
        hpxi_tls_handshake(f->client, &none, &nothing, &f->to_server, &error) == HPX_E_PARTIAL);
    HPX_ASSERT(hpxi_buf_append(&f->to_client, bytes, size));
    const hpx_status status = feed_client(f, &error);
    HPX_ASSERT(status != 1); /* nobody makes up a Finished */
    if (status != HPX_E_PARTIAL) {
        check_failed(f, status, &error);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = {SIZE_MAX, 1, 2, 5, 6, 16, 100, 1000};
    if (size == 0) {
        return 0;
    }
    make_contexts();
    const uint8_t choice = data[0];
    const size_t version = choice & 1;
    const hpxi_tls_cache_config cache_config = {.hosts_max = 2, .now_ns = &now_ns};
    flight f = {.piece = pieces[(choice >> 3) % 8]};
    HPX_ASSERT(hpxi_tls_cache_new(&f.sessions, &cache_config, &plain_allocator) == HPX_OK);
    if ((choice & 2) != 0) {
        flight_open(&f, version);
        HPX_ASSERT(flight_run(&f) == 1);
        flight_settle(&f);
        flight_close(&f);
        f.stream_at = 0;
    }
    flight_open(&f, version);
    if ((choice & 4) != 0) {
        run_stream(&f, data + 1, size - 1);
    } else {
        for (size_t at = 1; at + 4 <= size && f.change_count < FLIGHT_CHANGES_MAX; at += 4) {
            f.changes[f.change_count++] = (change){
                .what = data[at] % CHANGES,
                .where = (uint16_t)(data[at + 1] << 8 | data[at + 2]),
                .value = data[at + 3]};
        }
        (void)flight_run(&f);
    }
    flight_close(&f);
    hpxi_tls_cache_free(f.sessions);
    return 0;
}

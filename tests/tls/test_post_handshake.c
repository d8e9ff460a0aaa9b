/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A peer that talks TLS after the handshake - key updates, session tickets, empty records -
 *         costs bounded memory and stops nothing.
 * Method  Our client against a bare WOLFSSL server that the test makes say these things, as often
 *         as it likes, through its own I/O callbacks.
 */
#include <stdio.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"

#define NAME  "host.example"
#define FLOOD 10000

static duo_site site;

static int post_setup(void **state)
{
    (void)state;
    duo_site_make(&site, &(certs_spec){.san = {SAN_DNS(NAME)}});
    return 0;
}

static int post_teardown(void **state)
{
    (void)state;
    duo_site_free(&site);
    return 0;
}

/* Our client, and the server as wolfSSL itself. */
typedef struct bare {
    hpxi_tls *client;
    WOLFSSL *server;
    hpxi_buf to_server;
    hpxi_buf to_client;
    hpx_allocator allocator;
    failing_allocator memory;
} bare;

static int bare_receive(WOLFSSL *wolf, char *to, int size, void *user)
{
    (void)wolf;
    bare *b = user;
    const hpx_span there = hpxi_buf_span(&b->to_server);
    if (there.size == 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    const size_t bytes = there.size < (size_t)size ? there.size : (size_t)size;
    memcpy(to, there.data, bytes);
    hpxi_buf_consume(&b->to_server, bytes);
    return (int)bytes;
}

static int bare_send(WOLFSSL *wolf, char *from, int size, void *user)
{
    (void)wolf;
    bare *b = user;
    assert_true(hpxi_buf_append(&b->to_client, from, (size_t)size));
    return size;
}

/* Gives the client what is under way; returns the sum of plain bytes, or the client's failure. */
static ptrdiff_t bare_client_reads(bare *b, hpx_error *error)
{
    static uint8_t plain[1 << 14];
    uint8_t *data = b->to_client.data + b->to_client.head;
    size_t size = hpxi_buf_size(&b->to_client);
    ptrdiff_t total = 0;
    ptrdiff_t rc = 1;
    while (rc > 0) {
        rc = hpxi_tls_read(b->client, &data, &size, plain, sizeof(plain), &b->to_server, error);
        total += rc > 0 ? rc : 0;
    }
    hpxi_buf_consume(&b->to_client, hpxi_buf_size(&b->to_client));
    return rc == HPX_E_PARTIAL ? total : rc;
}

static void bare_open(bare *b)
{
    *b = (bare){.memory = FAILING_ALLOCATOR_NEVER};
    b->allocator = fa_allocator(&b->memory);
    hpxi_buf_init(&b->to_server, &b->allocator);
    hpxi_buf_init(&b->to_client, &b->allocator);
    const hpxi_tls_session_config config = {.context = site.client, .server_name = NAME};
    assert_int_equal(hpxi_tls_new(&b->client, &config, &b->allocator, NULL), HPX_OK);
    b->server = wolfSSL_new(site.server->wolf);
    assert_non_null(b->server);
    wolfSSL_SSLSetIORecv(b->server, bare_receive);
    wolfSSL_SSLSetIOSend(b->server, bare_send);
    wolfSSL_SetIOReadCtx(b->server, b);
    wolfSSL_SetIOWriteCtx(b->server, b);
    hpx_status status = HPX_E_PARTIAL;
    for (int i = 0; i < 4 && status == HPX_E_PARTIAL; i++) {
        uint8_t *data = b->to_client.data;
        size_t size = hpxi_buf_size(&b->to_client);
        status = hpxi_tls_handshake(b->client, &data, &size, &b->to_server, NULL);
        hpxi_buf_consume(&b->to_client, hpxi_buf_size(&b->to_client));
        (void)wolfSSL_accept(b->server);
    }
    assert_int_equal(status, 1);
    assert_int_equal(bare_client_reads(b, NULL), 0);
}

static void bare_close(bare *b)
{
    hpxi_tls_free(b->client);
    wolfSSL_free(b->server);
    hpxi_buf_fini(&b->to_server);
    hpxi_buf_fini(&b->to_client);
    assert_int_equal(b->memory.live, 0);
}

static void check_data_both_ways(bare *b)
{
    char got[8];
    assert_int_equal(wolfSSL_write(b->server, "hello", 5), 5);
    assert_int_equal(bare_client_reads(b, NULL), 5);
    assert_int_equal(hpxi_tls_write(b->client, hpx_span_of("world"), &b->to_server, NULL), HPX_OK);
    assert_int_equal(wolfSSL_read(b->server, got, sizeof(got)), 5);
    assert_memory_equal(got, "world", 5);
}

static void test_key_updates_are_answered_and_data_flows(void **state)
{
    (void)state;
    bare b;
    bare_open(&b);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(wolfSSL_update_keys(b.server), WOLFSSL_SUCCESS);
        const size_t before = hpxi_buf_size(&b.to_server);
        assert_int_equal(bare_client_reads(&b, NULL), 0);
        assert_true(hpxi_buf_size(&b.to_server) > before); /* our own KeyUpdate */
        check_data_both_ways(&b);
    }
    bare_close(&b);
}

static void test_flood_of_key_updates_costs_no_memory(void **state)
{
    (void)state;
    bare b;
    bare_open(&b);
    uint64_t before = 0;
    size_t most = 0;
    for (int i = 0; i < FLOOD; i++) {
        if (i == 10) {
            before = hpxi_tls_allocations();
        }
        assert_int_equal(wolfSSL_update_keys(b.server), WOLFSSL_SUCCESS);
        assert_int_equal(bare_client_reads(&b, NULL), 0);
        char nothing[8];
        most = hpxi_buf_size(&b.to_server) > most ? hpxi_buf_size(&b.to_server) : most;
        assert_true(wolfSSL_read(b.server, nothing, sizeof(nothing)) < 0);
    }
    assert_true(most < 64); /* one answer each */
    assert_true(hpxi_tls_allocations() - before <= 64);
    check_data_both_ways(&b);
    bare_close(&b);
}

static void test_flood_of_session_tickets_is_ignored(void **state)
{
    (void)state;
    hpx_tls_context *const before = site.server;
    char cert[2 * CERTS_PATH_MAX];
    char key[2 * CERTS_PATH_MAX];
    (void)snprintf(cert, sizeof(cert), "%s/cert.pem", site.folder);
    (void)snprintf(key, sizeof(key), "%s/key.pem", site.folder);
    hpx_tls_context generous = *before;
    generous.wolf = wolfSSL_CTX_new(wolfSSLv23_server_method()); /* sends tickets by default */
    assert_non_null(generous.wolf);
    assert_int_equal(wolfSSL_CTX_use_certificate_chain_file(generous.wolf, cert), WOLFSSL_SUCCESS);
    assert_int_equal(
        wolfSSL_CTX_use_PrivateKey_file(generous.wolf, key, WOLFSSL_FILETYPE_PEM), WOLFSSL_SUCCESS);
    wolfSSL_CTX_set_verify(generous.wolf, WOLFSSL_VERIFY_NONE, NULL);
    site.server = &generous;
    bare b;
    bare_open(&b);
    ptrdiff_t live = 0;
    duo_wolf_memory_start(SIZE_MAX);
    for (int i = 0; i < FLOOD; i++) {
        assert_int_equal(wolfSSL_send_SessionTicket(b.server), WOLFSSL_SUCCESS);
        assert_true(hpxi_buf_size(&b.to_client) > 100);
        assert_int_equal(bare_client_reads(&b, NULL), 0);
    }
    (void)duo_wolf_memory_stop(&live);
    assert_in_range(live, 0, 8); /* on both sides: a ticket replaces the one before */
    check_data_both_ways(&b);
    bare_close(&b);
    bare_open(&b); /* and nothing of it is used */
    hpxi_tls_info info;
    hpxi_tls_get_info(b.client, &info);
    assert_false(info.resumed);
    assert_true(info.verified);
    bare_close(&b);
    wolfSSL_CTX_free(generous.wolf);
    site.server = before;
}

static void test_server_of_ours_sends_no_ticket(void **state)
{
    (void)state;
    bare b;
    bare_open(&b);
    assert_int_equal(hpxi_buf_size(&b.to_client), 0);
    assert_int_equal(wolfSSL_read(b.server, (char[8]){0}, 8), WOLFSSL_FATAL_ERROR);
    assert_int_equal(hpxi_buf_size(&b.to_client), 0);
    check_data_both_ways(&b);
    bare_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_updates_are_answered_and_data_flows),
        cmocka_unit_test(test_flood_of_key_updates_costs_no_memory),
        cmocka_unit_test(test_flood_of_session_tickets_is_ignored),
        cmocka_unit_test(test_server_of_ours_sends_no_ticket),
    };
    return cmocka_run_group_tests(tests, post_setup, post_teardown);
}

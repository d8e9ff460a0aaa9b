/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A peer that talks TLS beside the data - key updates, session tickets, empty records,
 *         handshake messages without end, certificates without number - costs bounded memory: among
 *         data it may do so for ever, in a row it is cut off, and a renegotiation never happens.
 * Method  Our client against a bare WOLFSSL server that the test makes say these things, as often
 *         as it likes, through its own I/O callbacks; and against bytes written by the test.
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

static hpxi_tls_cache *sessions; /* for the client; NULL: none */

/* Both, before the first byte. */
static void bare_make(bare *b)
{
    *b = (bare){.memory = FAILING_ALLOCATOR_NEVER};
    b->allocator = fa_allocator(&b->memory);
    hpxi_buf_init(&b->to_server, &b->allocator);
    hpxi_buf_init(&b->to_client, &b->allocator);
    const hpxi_tls_session_config config = {
        .context = site.client, .server_name = NAME, .sessions = sessions};
    assert_int_equal(hpxi_tls_new(&b->client, &config, &b->allocator, NULL), HPX_OK);
    b->server = wolfSSL_new(site.server->wolf);
    assert_non_null(b->server);
    wolfSSL_SSLSetIORecv(b->server, bare_receive);
    wolfSSL_SSLSetIOSend(b->server, bare_send);
    wolfSSL_SetIOReadCtx(b->server, b);
    wolfSSL_SetIOWriteCtx(b->server, b);
}

static void bare_open(bare *b)
{
    bare_make(b);
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

static void test_key_updates_among_data_go_on_for_ever(void **state)
{
    (void)state;
    bare b;
    bare_open(&b);
    uint64_t before = 0;
    for (int i = 0; i < FLOOD; i++) {
        if (i == 10) {
            before = hpxi_tls_allocations();
        }
        assert_int_equal(wolfSSL_update_keys(b.server), WOLFSSL_SUCCESS);
        check_data_both_ways(&b);
    }
    assert_true(hpxi_tls_allocations() - before <= 64);
    bare_close(&b);
}

/* The client was cut off after so many records; it says why, and for ever. */
static void check_cut_off(bare *b, int records, const hpx_error *error)
{
    hpx_error again;
    assert_in_range(records, HPXI_TLS_IDLE_RECORDS_MAX - 8, HPXI_TLS_IDLE_RECORDS_MAX);
    assert_int_equal(error->status, HPX_E_TLS_PROTOCOL);
    assert_non_null(strstr(error->detail, "128 TLS records in a row without data"));
    assert_int_equal(
        hpxi_tls_write(b->client, hpx_span_of("x"), &b->to_server, &again), HPX_E_TLS_PROTOCOL);
    assert_string_equal(again.detail, error->detail);
}

static void test_key_updates_in_a_row_are_cut_off(void **state)
{
    (void)state;
    bare b;
    hpx_error error = {0};
    size_t most = 0;
    int count = 0;
    bare_open(&b);
    while (error.status == HPX_OK && count < FLOOD) {
        assert_int_equal(wolfSSL_update_keys(b.server), WOLFSSL_SUCCESS);
        count += bare_client_reads(&b, &error) == 0;
        most = hpxi_buf_size(&b.to_server) > most ? hpxi_buf_size(&b.to_server) : most;
        (void)wolfSSL_read(b.server, (char[8]){0}, 8);
    }
    check_cut_off(&b, count, &error);
    assert_true(most < 64); /* one answer each */
    bare_close(&b);
}

/* The site's server, of wolfSSL's own settings, which gives tickets whenever asked to. */
static void be_generous(hpx_tls_context *generous)
{
    *generous = *site.server;
    generous->wolf = wolfSSL_CTX_new(wolfSSLv23_server_method());
    assert_non_null(generous->wolf);
    assert_int_equal(
        wolfSSL_CTX_use_certificate_chain_file(generous->wolf, site.cert_file), WOLFSSL_SUCCESS);
    assert_int_equal(
        wolfSSL_CTX_use_PrivateKey_file(generous->wolf, site.key_file, WOLFSSL_FILETYPE_PEM),
        WOLFSSL_SUCCESS);
    wolfSSL_CTX_set_verify(generous->wolf, WOLFSSL_VERIFY_NONE, NULL);
    site.server = generous;
}

static void test_session_tickets_among_data_go_on_for_ever(void **state)
{
    (void)state;
    hpx_tls_context *const before = site.server;
    hpx_tls_context generous;
    be_generous(&generous);
    for (int with_cache = 0; with_cache < 2; with_cache++) {
        bare b;
        const uint64_t now_ns = 1;
        const hpxi_tls_cache_config config = {.hosts_max = 2, .now_ns = &now_ns};
        failing_allocator memory = FAILING_ALLOCATOR_NEVER;
        const hpx_allocator allocator = fa_allocator(&memory);
        hpxi_tls_cache *cache = NULL;
        assert_int_equal(hpxi_tls_cache_new(&cache, &config, &allocator), HPX_OK);
        sessions = with_cache ? cache : NULL;
        bare_open(&b);
        ptrdiff_t live = 0;
        duo_wolf_memory_start(SIZE_MAX);
        for (int i = 0; i < FLOOD; i++) {
            assert_int_equal(wolfSSL_send_SessionTicket(b.server), WOLFSSL_SUCCESS);
            assert_true(hpxi_buf_size(&b.to_client) > 100);
            check_data_both_ways(&b);
        }
        (void)duo_wolf_memory_stop(&live);
        assert_in_range(live, 0, 24); /* a ticket replaces the one before, or the fourth before */
        assert_in_range(
            hpxi_tls_cache_get_stats(cache).kept,
            0,
            with_cache ? 64 : 0); /* then not listened to */
        bare_close(&b);
        sessions = NULL;
        hpxi_tls_cache_free(cache);
        assert_int_equal(memory.live, 0);
    }
    bare b;
    bare_open(&b); /* and nothing of it is used without a cache */
    hpxi_tls_info info;
    hpxi_tls_get_info(b.client, &info);
    assert_false(info.resumed);
    assert_true(info.verified);
    bare_close(&b);
    wolfSSL_CTX_free(generous.wolf);
    site.server = before;
}

static void test_session_tickets_in_a_row_are_cut_off(void **state)
{
    (void)state;
    hpx_tls_context *const before = site.server;
    hpx_tls_context generous;
    be_generous(&generous);
    bare b;
    hpx_error error = {0};
    int count = 0;
    bare_open(&b);
    while (error.status == HPX_OK && count < FLOOD) {
        assert_int_equal(wolfSSL_send_SessionTicket(b.server), WOLFSSL_SUCCESS);
        count += bare_client_reads(&b, &error) == 0;
    }
    check_cut_off(&b, count, &error);
    bare_close(&b);
    wolfSSL_CTX_free(generous.wolf);
    site.server = before;
}

/* Before any key is agreed on, a record needs none to be forged. */
static void check_forged(const void *record, size_t record_bytes, const char *detail)
{
    bare b;
    bare_make(&b);
    hpx_status status = HPX_E_PARTIAL;
    hpx_error error = {0};
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(
        hpxi_tls_handshake(b.client, &data, &size, &b.to_server, &error), HPX_E_PARTIAL);
    const uint64_t before = hpxi_tls_allocations();
    for (int i = 0; i < FLOOD && status == HPX_E_PARTIAL; i++) {
        uint8_t *copy = malloc(record_bytes);
        assert_non_null(copy);
        memcpy(copy, record, record_bytes);
        data = copy;
        size = record_bytes;
        status = hpxi_tls_handshake(b.client, &data, &size, &b.to_server, &error);
        free(copy);
    }
    assert_int_equal(status, HPX_E_TLS_PROTOCOL);
    if (detail != NULL && strstr(error.detail, detail) == NULL) {
        fail_msg("'%s'", error.detail);
    }
    assert_true(hpxi_tls_allocations() - before < 32);
    assert_true(hpxi_buf_size(&b.to_server) < 2048);
    bare_close(&b);
}

static void test_records_without_end_during_the_handshake_are_cut_off(void **state)
{
    (void)state;
    static const uint8_t empty[] = {22, 3, 3, 0, 0};
    static const uint8_t change_cipher[] = {20, 3, 3, 0, 1, 1};
    static const uint8_t warning[] = {21, 3, 3, 0, 2, 1, 90};
    static const uint8_t hello_request[] = {22, 3, 3, 0, 4, 0, 0, 0, 0};
    check_forged(empty, sizeof(empty), NULL);
    check_forged(change_cipher, sizeof(change_cipher), NULL);
    check_forged(warning, sizeof(warning), NULL);
    check_forged(hello_request, sizeof(hello_request), NULL);
}

static void test_message_longer_than_any_is_refused_before_it_is_gathered(void **state)
{
    (void)state;
    /* A ServerHello of 16 MiB, in full records: refused by its length, at the first of them. */
    static uint8_t record[5 + 16384] = {22, 3, 3, 0x40, 0, 2, 0xFF, 0xFF, 0xFF, 3, 3};
    check_forged(record, sizeof(record), NULL);
}

static void test_chain_of_many_certificates_is_refused_or_bounded(void **state)
{
    (void)state;
    static certs_identity more[25];
    const certs_identity *chain[26];
    duo_site wide;
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    certs_make(&wide.root, &(certs_spec){.common_name = "test root", .is_ca = true}, NULL);
    certs_make(&wide.leaf, &(certs_spec){.san = {SAN_DNS(NAME)}}, &wide.root);
    chain[0] = &wide.leaf;
    for (size_t i = 0; i < COUNT_OF(more); i++) {
        certs_make(&more[i], &(certs_spec){.common_name = "more", .is_ca = true}, &wide.root);
        chain[i + 1] = &more[i];
    }
    for (size_t count = 1; count <= COUNT_OF(chain); count += 5) {
        duo d;
        duo_site sending = wide;
        duo_site_make_chain(&sending, chain, count);
        duo_make(&d, &sending, NAME, false);
        const bool done = duo_handshake(&d);
        /* wolfSSL takes nine above the leaf; who sends more is refused, not crashed into */
        if (count > 10 && (done || d.client_status >= 0)) {
            fail_msg("%zu certificates: %d '%s'", count, d.client_status, d.client_error.detail);
        }
        assert_true(count > 10 || done);
        duo_free(&d);
        hpx_tls_context_release(sending.server);
        hpx_tls_context_release(sending.client);
        certs_folder_remove(sending.folder);
    }
    for (size_t i = 0; i < COUNT_OF(more); i++) {
        certs_free(&more[i]);
    }
    certs_free(&wide.leaf);
    certs_free(&wide.root);
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
        cmocka_unit_test(test_key_updates_among_data_go_on_for_ever),
        cmocka_unit_test(test_key_updates_in_a_row_are_cut_off),
        cmocka_unit_test(test_session_tickets_among_data_go_on_for_ever),
        cmocka_unit_test(test_session_tickets_in_a_row_are_cut_off),
        cmocka_unit_test(test_records_without_end_during_the_handshake_are_cut_off),
        cmocka_unit_test(test_message_longer_than_any_is_refused_before_it_is_gathered),
        cmocka_unit_test(test_chain_of_many_certificates_is_refused_or_bounded),
        cmocka_unit_test(test_server_of_ours_sends_no_ticket),
    };
    return cmocka_run_group_tests(tests, post_setup, post_teardown);
}

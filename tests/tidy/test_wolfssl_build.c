/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    The wolfSSL that is linked keeps what the engine counts on: it verifies peers unless told
 *         not to, runs AES in hardware, allocates nothing per record, and has the options that
 *         tools/setup gives it.
 * Method  Two sessions in one thread, joined by byte queues; the certificate is made on the spot.
 *         Allocations are counted through wolfSSL's own hook.
 */
#include <stdbool.h>

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>

#include "tests/support/test.h"

#define RECORD_BYTES 4096 /* longer ones take memory, which tls/memory.c keeps ready */

#if defined(OPENSSL_COMPATIBLE_DEFAULTS) || defined(OPENSSL_ALL) || defined(OPENSSL_EXTRA)
#error "this wolfSSL has the OpenSSL layer, whose clients verify nothing by default"
#endif

static size_t allocation_count;

static void *counting_malloc(size_t size)
{
    allocation_count++;
    return malloc(size);
}

static void *counting_realloc(void *block, size_t size)
{
    allocation_count++;
    return realloc(block, size);
}

static void counting_free(void *block)
{
    free(block);
}

/* One direction of the connection. */
typedef struct queue {
    char bytes[4 * RECORD_BYTES];
    size_t head;
    size_t tail;
} queue;

typedef struct endpoint {
    WOLFSSL_CTX *ctx;
    WOLFSSL *ssl;
    queue *in;
    queue *out;
} endpoint;

typedef struct pair {
    endpoint client;
    endpoint server;
    queue to_server;
    queue to_client;
} pair;

static int queue_recv(WOLFSSL *ssl, char *to, int size, void *ctx)
{
    (void)ssl;
    queue *q = ((endpoint *)ctx)->in;
    const size_t there = q->tail - q->head;
    if (there == 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    const size_t count = there < (size_t)size ? there : (size_t)size;
    memcpy(to, q->bytes + q->head, count);
    q->head += count;
    if (q->head == q->tail) {
        q->head = 0;
        q->tail = 0;
    }
    return (int)count;
}

static int queue_send(WOLFSSL *ssl, char *from, int size, void *ctx)
{
    (void)ssl;
    queue *q = ((endpoint *)ctx)->out;
    if (sizeof q->bytes - q->tail < (size_t)size) {
        return WOLFSSL_CBIO_ERR_WANT_WRITE;
    }
    memcpy(q->bytes + q->tail, from, (size_t)size);
    q->tail += (size_t)size;
    return size;
}

/* A self-signed certificate for "localhost", in DER. */
typedef struct identity {
    uint8_t key[256];
    int key_bytes;
    uint8_t certificate[1024];
    int certificate_bytes;
} identity;

static void identity_make(identity *id)
{
    static const uint8_t names[] = {0x30, 11, 0x82, 9, 'l', 'o', 'c', 'a', 'l', 'h', 'o', 's', 't'};
    WC_RNG rng;
    ecc_key key;
    Cert cert;
    assert_int_equal(wc_InitRng(&rng), 0);
    assert_int_equal(wc_ecc_init(&key), 0);
    assert_int_equal(wc_ecc_make_key(&rng, 32, &key), 0);
    id->key_bytes = wc_EccKeyToDer(&key, id->key, sizeof id->key);
    assert_true(id->key_bytes > 0);

    assert_int_equal(wc_InitCert(&cert), 0);
    strcpy(cert.subject.commonName, "localhost");
    cert.isCA = 1;
    cert.selfSigned = 1;
    cert.daysValid = 30;
    cert.sigType = CTC_SHA256wECDSA;
    memcpy(cert.altNames, names, sizeof names);
    cert.altNamesSz = sizeof names;
    assert_true(wc_MakeCert(&cert, id->certificate, sizeof id->certificate, NULL, &key, &rng) > 0);
    id->certificate_bytes = wc_SignCert(
        cert.bodySz, cert.sigType, id->certificate, sizeof id->certificate, NULL, &key, &rng);
    assert_true(id->certificate_bytes > 0);
    wc_ecc_free(&key);
    wc_FreeRng(&rng);
}

static void endpoint_init(endpoint *end, WOLFSSL_METHOD *method, queue *in, queue *out)
{
    end->in = in;
    end->out = out;
    end->ctx = wolfSSL_CTX_new(method);
    assert_non_null(end->ctx);
    wolfSSL_CTX_SetIORecv(end->ctx, queue_recv);
    wolfSSL_CTX_SetIOSend(end->ctx, queue_send);
}

static void endpoint_start(endpoint *end)
{
    end->ssl = wolfSSL_new(end->ctx);
    assert_non_null(end->ssl);
    wolfSSL_SetIOReadCtx(end->ssl, end);
    wolfSSL_SetIOWriteCtx(end->ssl, end);
}

static void endpoint_fini(endpoint *end)
{
    wolfSSL_free(end->ssl);
    wolfSSL_CTX_free(end->ctx);
}

static pair *pair_new(const identity *id, WOLFSSL_METHOD *client, WOLFSSL_METHOD *server)
{
    pair *p = calloc(1, sizeof *p);
    assert_non_null(p);
    endpoint_init(&p->client, client, &p->to_client, &p->to_server);
    endpoint_init(&p->server, server, &p->to_server, &p->to_client);
    assert_int_equal(
        wolfSSL_CTX_use_certificate_buffer(
            p->server.ctx, id->certificate, id->certificate_bytes, WOLFSSL_FILETYPE_ASN1),
        WOLFSSL_SUCCESS);
    assert_int_equal(
        wolfSSL_CTX_use_PrivateKey_buffer(
            p->server.ctx, id->key, id->key_bytes, WOLFSSL_FILETYPE_ASN1),
        WOLFSSL_SUCCESS);
    return p;
}

static void pair_free(pair *p)
{
    endpoint_fini(&p->client);
    endpoint_fini(&p->server);
    free(p);
}

static bool is_waiting(WOLFSSL *ssl, int result)
{
    const int error = wolfSSL_get_error(ssl, result);
    return error == WOLFSSL_ERROR_WANT_READ || error == WOLFSSL_ERROR_WANT_WRITE;
}

/* 0 when both sides are connected, else the client's error. */
static int pair_handshake(pair *p)
{
    endpoint_start(&p->client);
    endpoint_start(&p->server);
    int server = WOLFSSL_FAILURE;
    for (int turn = 0; turn < 100; turn++) {
        const int client = wolfSSL_connect(p->client.ssl);
        if (client != WOLFSSL_SUCCESS && !is_waiting(p->client.ssl, client)) {
            return wolfSSL_get_error(p->client.ssl, client);
        }
        if (server != WOLFSSL_SUCCESS) {
            server = wolfSSL_accept(p->server.ssl);
        }
        if (client == WOLFSSL_SUCCESS && server == WOLFSSL_SUCCESS) {
            return 0;
        }
    }
    fail_msg("the handshake does not end");
    return -1;
}

static void trust(pair *p, const identity *id)
{
    assert_int_equal(
        wolfSSL_CTX_load_verify_buffer(
            p->client.ctx, id->certificate, id->certificate_bytes, WOLFSSL_FILETYPE_ASN1),
        WOLFSSL_SUCCESS);
}

static void test_client_when_nothing_is_set_then_an_untrusted_server_is_refused(void **state)
{
    const identity *id = *state;
    pair *p = pair_new(id, wolfTLSv1_3_client_method(), wolfTLSv1_3_server_method());
    assert_int_equal(pair_handshake(p), ASN_NO_SIGNER_E);
    pair_free(p);

    p = pair_new(id, wolfTLSv1_2_client_method(), wolfTLSv1_2_server_method());
    assert_int_equal(pair_handshake(p), ASN_NO_SIGNER_E);
    pair_free(p);
}

static void test_client_when_told_not_to_verify_then_an_untrusted_server_is_accepted(void **state)
{
    pair *p = pair_new(*state, wolfTLSv1_3_client_method(), wolfTLSv1_3_server_method());
    wolfSSL_CTX_set_verify(p->client.ctx, WOLFSSL_VERIFY_NONE, NULL);
    assert_int_equal(pair_handshake(p), 0);
    pair_free(p);
}

static void test_client_when_the_name_differs_then_the_server_is_refused(void **state)
{
    pair *p = pair_new(*state, wolfTLSv1_3_client_method(), wolfTLSv1_3_server_method());
    trust(p, *state);
    endpoint_start(&p->client);
    assert_int_equal(
        wolfSSL_check_domain_name(p->client.ssl, "other.example"), WOLFSSL_SUCCESS);
    endpoint_start(&p->server);
    int error = 0;
    for (int turn = 0; turn < 100 && error == 0; turn++) {
        const int result = wolfSSL_connect(p->client.ssl);
        assert_int_not_equal(result, WOLFSSL_SUCCESS);
        if (!is_waiting(p->client.ssl, result)) {
            error = wolfSSL_get_error(p->client.ssl, result);
        }
        (void)wolfSSL_accept(p->server.ssl);
    }
    assert_int_equal(error, DOMAIN_NAME_MISMATCH);
    pair_free(p);
}

/* Sends records from one side to the other and compares. */
static void exchange(endpoint *from, endpoint *to, char *data, char *got)
{
    assert_int_equal(wolfSSL_write(from->ssl, data, RECORD_BYTES), RECORD_BYTES);
    int at = 0;
    while (at < RECORD_BYTES) {
        const int count = wolfSSL_read(to->ssl, got + at, RECORD_BYTES - at);
        assert_true(count > 0);
        at += count;
    }
    assert_memory_equal(data, got, RECORD_BYTES);
}

static void check_no_allocation(pair *p, const identity *id, const char *version)
{
    static char data[RECORD_BYTES];
    static char got[RECORD_BYTES];
    memset(data, 'x', sizeof data);
    trust(p, id);
    assert_int_equal(pair_handshake(p), 0);
    assert_string_equal(wolfSSL_get_version(p->client.ssl), version);
    /* A read takes in the session tickets; then the steady state begins. */
    exchange(&p->server, &p->client, data, got);
    exchange(&p->client, &p->server, data, got);
    const size_t before = allocation_count;
    assert_int_not_equal(before, 0);
    for (int i = 0; i < 100; i++) {
        exchange(&p->client, &p->server, data, got);
        exchange(&p->server, &p->client, data, got);
    }
    assert_int_equal(allocation_count - before, 0);
    pair_free(p);
}

static void test_records_when_connected_then_nothing_is_allocated(void **state)
{
    const identity *id = *state;
    check_no_allocation(
        pair_new(id, wolfTLSv1_3_client_method(), wolfTLSv1_3_server_method()), id, "TLSv1.3");
    check_no_allocation(
        pair_new(id, wolfTLSv1_2_client_method(), wolfTLSv1_2_server_method()), id, "TLSv1.2");
}

static void test_options_when_they_are_not_tools_setups_then_told(void **state)
{
    (void)state;
#if !defined(WOLFSSL_TICKET_NONCE_MALLOC)
    fail_msg("a ticket with a nonce over 8 bytes (rustls) would end connections: run tools/setup");
#endif
#if !defined(RECORD_SIZE) || RECORD_SIZE > 4096
    fail_msg("an idle connection would hold two buffers of 16 KiB: run tools/setup");
#endif
}

static void test_aes_when_the_cpu_has_it_then_it_runs_in_hardware(void **state)
{
    (void)state;
#if defined(__x86_64__) && defined(WOLFSSL_AESNI)
    static const uint8_t key[16] = {1};
    Aes aes;
    if (!__builtin_cpu_supports("aes")) {
        skip();
    }
    assert_int_equal(wc_AesInit(&aes, NULL, INVALID_DEVID), 0);
    assert_int_equal(wc_AesGcmSetKey(&aes, key, sizeof key), 0);
    assert_int_equal(aes.use_aesni, 1);
    wc_AesFree(&aes);
#else
    skip();
#endif
}

static int setup(void **state)
{
    static identity id;
    if (wolfSSL_SetAllocators(counting_malloc, counting_free, counting_realloc) != 0 ||
        wolfSSL_Init() != WOLFSSL_SUCCESS) {
        return -1;
    }
    identity_make(&id);
    *state = &id;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return wolfSSL_Cleanup() == WOLFSSL_SUCCESS ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_when_nothing_is_set_then_an_untrusted_server_is_refused),
        cmocka_unit_test(test_client_when_told_not_to_verify_then_an_untrusted_server_is_accepted),
        cmocka_unit_test(test_client_when_the_name_differs_then_the_server_is_refused),
        cmocka_unit_test(test_records_when_connected_then_nothing_is_allocated),
        cmocka_unit_test(test_options_when_they_are_not_tools_setups_then_told),
        cmocka_unit_test(test_aes_when_the_cpu_has_it_then_it_runs_in_hardware),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

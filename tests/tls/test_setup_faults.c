/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Whatever call of the set-up fails, nothing is left that could be connected with: no
 *         context, or no session, and an error that says so. And if the verification were not
 *         installed at all, no handshake would be taken to have verified anything.
 * Method  The linker redirects wolfSSL's set-up functions to this file (see CMakeLists.txt), which
 *         fails each call in turn. (curl's CVE-2024-2379 was
 *         a cipher list that failed, and left a connection without verification.)
 */
#include <stdio.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"

#define NAME "host.example"

static size_t calls;           /* of wrapped functions so far */
static size_t fail_at;         /* the number of the call to fail; SIZE_MAX: none */
static const char *failed;     /* the function that was made to fail last */
static bool skip_verification; /* the verify callbacks are not installed */

static bool fails(const char *function)
{
    const bool now = calls++ == fail_at;
    failed = now ? function : failed;
    return now;
}

/* WRAP(result, name, failure, (parameters), (arguments)) */
#define WRAP(type, name, failure, parameters, arguments)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (fails(#name)) {                                                                        \
            return failure;                                                                        \
        }                                                                                          \
        return __real_##name arguments;                                                            \
    }

WRAP(
    WOLFSSL_CTX *,
    wolfSSL_CTX_new,
    (wolfSSL_Free(method), (WOLFSSL_CTX *)NULL), /* takes it, also when it fails */
    (WOLFSSL_METHOD *method),
    (method))
WRAP(int, wolfSSL_CTX_SetMinVersion, 0, (WOLFSSL_CTX * ctx, int version), (ctx, version))
WRAP(int, wolfSSL_CTX_set_cipher_list, 0, (WOLFSSL_CTX * ctx, const char *list), (ctx, list))
WRAP(int, wolfSSL_CTX_set_groups, 0, (WOLFSSL_CTX * ctx, int *groups, int n), (ctx, groups, n))
WRAP(int, wolfSSL_CTX_SetMinRsaKey_Sz, 0, (WOLFSSL_CTX * ctx, short bits), (ctx, bits))
WRAP(int, wolfSSL_CTX_SetMinEccKey_Sz, 0, (WOLFSSL_CTX * ctx, short bits), (ctx, bits))
WRAP(long, wolfSSL_CTX_set_session_cache_mode, 0, (WOLFSSL_CTX * ctx, long mode), (ctx, mode))
WRAP(int, wolfSSL_CTX_only_dhe_psk, BAD_FUNC_ARG, (WOLFSSL_CTX * ctx), (ctx))
WRAP(int, wolfSSL_CTX_UseSessionTicket, BAD_FUNC_ARG, (WOLFSSL_CTX * ctx), (ctx))
WRAP(int, wolfSSL_CTX_set_num_tickets, 0, (WOLFSSL_CTX * ctx, size_t count), (ctx, count))
WRAP(int, wolfSSL_CTX_no_ticket_TLSv13, BAD_FUNC_ARG, (WOLFSSL_CTX * ctx), (ctx))
WRAP(int, wolfSSL_CTX_NoTicketTLSv12, BAD_FUNC_ARG, (WOLFSSL_CTX * ctx), (ctx))
WRAP(
    int,
    wolfSSL_CTX_load_verify_locations_ex,
    WOLFSSL_BAD_FILE,
    (WOLFSSL_CTX * ctx, const char *file, const char *path, unsigned int flags),
    (ctx, file, path, flags))
WRAP(
    int,
    wolfSSL_CTX_load_verify_buffer_ex,
    WOLFSSL_BAD_FILE,
    (WOLFSSL_CTX * ctx, const unsigned char *in, long size, int format, int user, word32 flags),
    (ctx, in, size, format, user, flags))
WRAP(
    int,
    wolfSSL_CTX_use_certificate_chain_file,
    WOLFSSL_BAD_FILE,
    (WOLFSSL_CTX * ctx, const char *file),
    (ctx, file))
WRAP(
    int,
    wolfSSL_CTX_use_PrivateKey_file,
    WOLFSSL_BAD_FILE,
    (WOLFSSL_CTX * ctx, const char *file, int format),
    (ctx, file, format))
WRAP(
    int,
    wolfSSL_CTX_use_certificate_chain_buffer,
    WOLFSSL_BAD_FILE,
    (WOLFSSL_CTX * ctx, const unsigned char *in, long size),
    (ctx, in, size))
WRAP(
    int,
    wolfSSL_CTX_use_PrivateKey_buffer,
    WOLFSSL_BAD_FILE,
    (WOLFSSL_CTX * ctx, const unsigned char *in, long size, int format),
    (ctx, in, size, format))
WRAP(int, wolfSSL_CTX_check_private_key, 0, (const WOLFSSL_CTX *ctx), (ctx))
WRAP(WOLFSSL *, wolfSSL_new, NULL, (WOLFSSL_CTX * ctx), (ctx))
WRAP(
    int,
    wolfSSL_UseSNI,
    MEMORY_E,
    (WOLFSSL * ssl, unsigned char type, const void *data, unsigned short size),
    (ssl, type, data, size))
WRAP(
    int,
    wolfSSL_UseALPN,
    MEMORY_E,
    (WOLFSSL * ssl, char *names, unsigned int size, unsigned char options),
    (ssl, names, size, options))
WRAP(
    int,
    wolfSSL_set_SessionTicket_cb,
    BAD_FUNC_ARG,
    (WOLFSSL * ssl, CallbackSessionTicket callback, void *user),
    (ssl, callback, user))
WRAP(
    int,
    wolfSSL_set_secret_cb,
    0,
    (WOLFSSL * ssl, TlsSecretCb callback, void *user),
    (ssl, callback, user))
WRAP(
    int,
    wolfSSL_set_tls13_secret_cb,
    0,
    (WOLFSSL * ssl, Tls13SecretCb callback, void *user),
    (ssl, callback, user))

void __real_wolfSSL_CTX_set_verify(WOLFSSL_CTX *ctx, int mode, VerifyCallback callback);
void __wrap_wolfSSL_CTX_set_verify(WOLFSSL_CTX *ctx, int mode, VerifyCallback callback);
void __wrap_wolfSSL_CTX_set_verify(WOLFSSL_CTX *ctx, int mode, VerifyCallback callback)
{
    if (skip_verification) {
        __real_wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
        return;
    }
    __real_wolfSSL_CTX_set_verify(ctx, mode, callback);
}

static void stop_failing(void)
{
    calls = 0;
    fail_at = SIZE_MAX;
    failed = NULL;
}

static duo_site site;
static char cert_pem[CERTS_PEM_MAX];
static char key_pem[CERTS_PEM_MAX];
static char root_file[CERTS_PATH_MAX];
static char keylog_file[2 * CERTS_PATH_MAX];

static int faults_setup(void **state)
{
    (void)state;
    stop_failing();
    duo_site_make(&site, &(certs_spec){.san = {SAN_DNS(NAME)}});
    const certs_identity *const leaf[] = {&site.leaf};
    (void)certs_pem(cert_pem, leaf, 1);
    (void)certs_key_pem(key_pem, &site.leaf);
    certs_write_file(root_file, site.folder, "root.pem", site.root_pem);
    (void)snprintf(keylog_file, sizeof(keylog_file), "%s/keys", site.folder);
    return 0;
}

static int faults_teardown(void **state)
{
    (void)state;
    stop_failing();
    duo_site_free(&site);
    return 0;
}

/* Every way to load something, for both roles. */
static size_t make_configs(hpx_tls_config configs[8], bool is_server[8])
{
    size_t n = 0;
    configs[n] = duo_client_config(&site);
    is_server[n++] = false;
    configs[n] = (hpx_tls_config)HPX_TLS_CONFIG_INIT;
    configs[n].ca_file = root_file;
    configs[n].cert_file = site.cert_file;
    configs[n].key_file = site.key_file;
    is_server[n++] = false;
    configs[n] = configs[0];
    configs[n].cert_pem = cert_pem;
    configs[n].cert_pem_bytes = strlen(cert_pem);
    configs[n].key_pem = key_pem;
    configs[n].key_pem_bytes = strlen(key_pem);
    configs[n].version_max = HPX_TLS_VERSION_1_2;
    is_server[n++] = false;
    configs[n] = configs[0];
    configs[n].flags = HPX_TLS_NO_RESUMPTION;
    is_server[n++] = false;
    configs[n] = duo_server_config(&site);
    is_server[n++] = true;
    configs[n] = duo_server_config(&site);
    configs[n].ticket_count = 2;
    is_server[n++] = true;
    configs[n] = duo_server_config(&site);
    configs[n].client_auth = HPX_TLS_CLIENT_AUTH_REQUIRE;
    configs[n].ca_file = root_file;
    is_server[n++] = true;
    configs[n] = (hpx_tls_config)HPX_TLS_CONFIG_INIT; /* the system's roots */
    is_server[n++] = false;
    return n;
}

static hpx_status
make(hpx_tls_context **out, const hpx_tls_config *config, bool is_server, hpx_error *error)
{
    *out = (hpx_tls_context *)1;
    return is_server ? hpx_tls_server_context_new(out, config, error)
                     : hpx_tls_client_context_new(out, config, error);
}

static void test_context_when_the_nth_call_fails_then_none(void **state)
{
    (void)state;
    hpx_tls_config configs[8];
    bool is_server[8];
    const size_t count = make_configs(configs, is_server);
    for (size_t i = 0; i < count; i++) {
        hpx_tls_context *context;
        hpx_error error;
        stop_failing();
        if (make(&context, &configs[i], is_server[i], &error) != HPX_OK) {
            assert_int_equal(i, count - 1); /* a system without roots */
            continue;
        }
        hpx_tls_context_release(context);
        const size_t total = calls;
        assert_true(total >= 9);
        for (size_t n = 0; n < total; n++) {
            stop_failing();
            fail_at = n;
            const hpx_status status = make(&context, &configs[i], is_server[i], &error);
            if (status != HPX_E_TLS_CONFIG && status != HPX_E_NO_MEMORY) {
                fail_msg("config %zu, call %zu: %s failed: %d", i, n, failed, status);
            }
            assert_null(context);
            assert_int_equal(error.status, status);
            assert_int_equal(error.stage, HPX_STAGE_CONFIG);
            assert_true(error.detail[0] != '\0');
            assert_int_equal(calls, n + 1); /* nothing was tried after it */
        }
    }
}

static void test_session_when_the_nth_call_fails_then_none(void **state)
{
    (void)state;
    hpx_tls_config config = duo_client_config(&site);
    config.keylog_file = keylog_file;
    hpx_tls_context *context = duo_client_context(&config);
    const uint64_t now_ns = 1;
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    const hpxi_tls_cache_config cache_config = {.hosts_max = 2, .now_ns = &now_ns};
    hpxi_tls_cache *cache = NULL;
    assert_int_equal(hpxi_tls_cache_new(&cache, &cache_config, &allocator), HPX_OK);
    const hpxi_tls_session_config session = {
        .context = context,
        .server_name = NAME,
        .sessions = cache,
        .host = NAME,
        .port = 443,
        HPXI_TLS_ALPN(HPXI_TLS_ALPN_H2)};
    const size_t before = memory.live;
    hpxi_tls *tls = NULL;
    stop_failing();
    assert_int_equal(hpxi_tls_new(&tls, &session, &allocator, NULL), HPX_OK);
    hpxi_tls_free(tls);
    const size_t total = calls;
    assert_int_equal(total, 6); /* new, SNI, two for the key log, ALPN, tickets */
    for (size_t n = 0; n < total; n++) {
        hpx_error error;
        stop_failing();
        fail_at = n;
        tls = (hpxi_tls *)1;
        if (hpxi_tls_new(&tls, &session, &allocator, &error) != HPX_E_NO_MEMORY) {
            fail_msg("call %zu: %s failed, and a session was made", n, failed);
        }
        assert_null(tls);
        assert_int_equal(error.status, HPX_E_NO_MEMORY);
        assert_int_equal(memory.live, before);
    }
    stop_failing();
    hpxi_tls_cache_free(cache);
    hpx_tls_context_release(context);
    assert_int_equal(memory.live, 0);
}

static void test_handshake_when_verification_is_not_installed_then_untrusted(void **state)
{
    (void)state;
    static const hpx_tls_version versions[] = {HPX_TLS_VERSION_1_3, HPX_TLS_VERSION_1_2};
    for (size_t v = 0; v < COUNT_OF(versions); v++) {
        stop_failing();
        hpx_tls_config config = duo_client_config(&site);
        config.version_max = versions[v];
        skip_verification = true;
        hpx_tls_context *context = duo_client_context(&config);
        skip_verification = false;
        const hpxi_tls_session_config client = {.context = context, .server_name = NAME};
        const hpxi_tls_session_config server = {.context = site.server, .is_server = true};
        duo d;
        duo_make_with(&d, &client, &server);
        hpx_tls_context_release(context);
        assert_false(duo_handshake(&d));
        assert_int_equal(d.client_status, HPX_E_TLS_UNTRUSTED);
        assert_non_null(strstr(d.client_error.detail, "without a verified certificate"));
        duo_free(&d);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_context_when_the_nth_call_fails_then_none),
        cmocka_unit_test(test_session_when_the_nth_call_fails_then_none),
        cmocka_unit_test(test_handshake_when_verification_is_not_installed_then_untrusted),
    };
    return cmocka_run_group_tests(tests, faults_setup, faults_teardown);
}

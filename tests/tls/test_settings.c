/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Each setting of hpx_tls_config does what it says, against a peer that would have it
 *         otherwise: client certificates on both sides, pins, versions, cipher suites; and a
 *         setting that makes no sense is refused by name.
 * Method  Tables of settings for both sides; a whole handshake in memory for each row.
 */
#include <stdio.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"

#define NAME "host.example"

static duo_site site;    /* the server's */
static duo_site clients; /* another root, of the clients' certificates */
static char client_cert_pem[CERTS_PEM_MAX];
static char client_key_pem[CERTS_PEM_MAX];

static void read_file(const char *path, char *to)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    to[fread(to, 1, CERTS_PEM_MAX - 1, file)] = '\0';
    (void)fclose(file);
}

static int settings_setup(void **state)
{
    (void)state;
    duo_site_make(&site, &(certs_spec){.san = {SAN_DNS(NAME)}});
    duo_site_make(
        &clients, &(certs_spec){.common_name = "trader 7", .ext_key_usage = "clientAuth"});
    read_file(clients.cert_file, client_cert_pem);
    read_file(clients.key_file, client_key_pem);
    return 0;
}

static int settings_teardown(void **state)
{
    (void)state;
    duo_site_free(&site);
    duo_site_free(&clients);
    return 0;
}

/* One handshake between contexts of these settings; they are released. */
static bool handshake(duo *d, const hpx_tls_config *client, const hpx_tls_config *server)
{
    hpx_tls_context *contexts[2] = {duo_client_context(client), duo_server_context(server)};
    const hpxi_tls_session_config ours = {.context = contexts[0], .server_name = NAME};
    const hpxi_tls_session_config theirs = {.context = contexts[1], .is_server = true};
    duo_make_with(d, &ours, &theirs);
    hpx_tls_context_release(contexts[0]);
    hpx_tls_context_release(contexts[1]);
    bool done = duo_handshake(d);
    if (d->client_status == 1) { /* in TLS 1.3 a client hears only now that it was refused */
        hpxi_buf plain;
        hpxi_buf_init(&plain, &d->allocator);
        const hpx_status status = duo_receive(d, true, &plain);
        done = done && status == HPX_E_PARTIAL;
        hpxi_buf_fini(&plain);
    }
    return done;
}

/* ---- Client certificates --------------------------------------------------------------------- */

typedef enum shown { SHOWS_NONE, SHOWS_FILE, SHOWS_MEMORY } shown;

static const struct {
    const char *name;
    certs_spec leaf; /* of the client */
    shown shown;
    hpx_tls_client_auth wanted;
    hpx_status at_server; /* 1: let in */
    const char *detail;
    bool is_verified; /* as the server sees it */
} auth_rows[] = {
    {"not asked, none",
     {.ext_key_usage = "clientAuth"},
     SHOWS_NONE,
     HPX_TLS_CLIENT_AUTH_NONE,
     1,
     NULL,
     false},
    {"not asked, has one",
     {.ext_key_usage = "clientAuth"},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_NONE,
     1,
     NULL,
     false},
    {"asked, none",
     {.ext_key_usage = "clientAuth"},
     SHOWS_NONE,
     HPX_TLS_CLIENT_AUTH_REQUEST,
     1,
     NULL,
     false},
    {"asked, file",
     {.ext_key_usage = "clientAuth"},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUEST,
     1,
     NULL,
     true},
    {"required, file",
     {.ext_key_usage = "clientAuth"},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     1,
     NULL,
     true},
    {"required, memory",
     {.ext_key_usage = "clientAuth"},
     SHOWS_MEMORY,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     1,
     NULL,
     true},
    {"required, any purpose",
     {.common_name = "c"},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     1,
     NULL,
     true},
    {"required, none",
     {.common_name = "c"},
     SHOWS_NONE,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     HPX_E_TLS_CERTIFICATE,
     NULL,
     false},
    {"for servers",
     {.ext_key_usage = "serverAuth"},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     HPX_E_TLS_CERTIFICATE,
     "Ext Key Use",
     false},
    {"asked, for servers",
     {.ext_key_usage = "serverAuth"},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUEST,
     HPX_E_TLS_CERTIFICATE,
     "Ext Key Use",
     false},
    {"expired",
     {.not_before_s = -9 * CERTS_DAY_S, .not_after_s = -CERTS_DAY_S},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     HPX_E_TLS_EXPIRED,
     "expired on",
     false},
    {"not yet valid",
     {.not_before_s = CERTS_DAY_S},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     HPX_E_TLS_NOT_YET_VALID,
     "is not valid before",
     false},
    {"key not for signatures",
     {.key_usage = "keyAgreement"},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     HPX_E_TLS_CERTIFICATE,
     NULL,
     false},
    {"signed with SHA-1",
     {.signature = CTC_SHAwECDSA},
     SHOWS_FILE,
     HPX_TLS_CLIENT_AUTH_REQUIRE,
     HPX_E_TLS_CERTIFICATE,
     "SHA-1",
     false},
};

static void check_auth_row(size_t row, hpx_tls_version version, bool stranger)
{
    duo d;
    duo_site own;
    static char cert[CERTS_PEM_MAX];
    static char key[CERTS_PEM_MAX];
    certs_spec leaf = auth_rows[row].leaf;
    leaf.common_name = "trader 7";
    duo_site_make(&own, &leaf);
    hpx_tls_config server = duo_server_config(&site);
    hpx_tls_config client = duo_client_config(&site);
    server.client_auth = auth_rows[row].wanted;
    server.ca_pem = stranger ? clients.root_pem : own.root_pem;
    server.ca_pem_bytes = strlen(server.ca_pem);
    client.version_max = version;
    if (auth_rows[row].shown == SHOWS_FILE) {
        client.cert_file = own.cert_file;
        client.key_file = own.key_file;
    } else if (auth_rows[row].shown == SHOWS_MEMORY) {
        read_file(own.cert_file, cert);
        read_file(own.key_file, key);
        client.cert_pem = cert;
        client.cert_pem_bytes = strlen(cert);
        client.key_pem = key;
        client.key_pem_bytes = strlen(key);
    }
    const hpx_status expected = stranger ? HPX_E_TLS_UNTRUSTED : auth_rows[row].at_server;
    const bool done = handshake(&d, &client, &server);
    if (done != (expected == 1) || d.server_status != expected) {
        fail_msg("%s: %d '%s'", auth_rows[row].name, d.server_status, d.server_error.detail);
    }
    hpxi_tls_info info;
    hpxi_tls_get_info(d.server, &info);
    assert_int_equal(info.verified, !stranger && auth_rows[row].is_verified);
    if (expected != 1) {
        const char *detail =
            stranger ? "no trusted root signs the certificate of trader 7" : auth_rows[row].detail;
        if (detail != NULL && strstr(d.server_error.detail, detail) == NULL) {
            fail_msg("%s: '%s'", auth_rows[row].name, d.server_error.detail);
        }
        assert_int_equal(d.client_error.status, HPX_E_TLS_ALERT);
    }
    duo_free(&d);
    duo_site_free(&own);
}

static void test_client_certificate_is_judged_by_the_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(auth_rows); i++) {
        check_auth_row(i, HPX_TLS_VERSION_1_3, false);
        check_auth_row(i, HPX_TLS_VERSION_1_2, false);
    }
    check_auth_row(4, HPX_TLS_VERSION_1_3, true);
    check_auth_row(4, HPX_TLS_VERSION_1_2, true);
    check_auth_row(3, HPX_TLS_VERSION_1_3, true);
}

/* ---- Pins ------------------------------------------------------------------------------------ */

static void pin_of(uint8_t to[HPX_TLS_PIN_BYTES], const certs_identity *identity)
{
    DecodedCert cert;
    hpx_span spki;
    wc_InitDecodedCert(&cert, identity->der, (word32)identity->der_bytes, NULL);
    assert_int_equal(wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL), 0);
    assert_true(hpxi_tls_chain_spki(&cert, &spki));
    /* It is the key, whole: 0x30 and a length that reaches to the end (P-256: 91 bytes). */
    assert_int_equal(spki.size, 91);
    assert_int_equal(spki.data[0], 0x30);
    assert_int_equal(spki.data[1], 89);
    assert_int_equal(wc_Sha256Hash(spki.data, (word32)spki.size, to), 0);
    wc_FreeDecodedCert(&cert);
}

static void check_pins(
    duo_site *chain,
    const uint8_t *pins,
    uint32_t count,
    hpx_tls_version version,
    hpx_status status)
{
    duo d;
    hpx_tls_config server = duo_server_config(chain);
    hpx_tls_config client = duo_client_config(chain);
    client.pin_sha256 = pins;
    client.pin_count = count;
    client.version_max = version;
    const bool done = handshake(&d, &client, &server);
    assert_int_equal(done, status == 1);
    assert_int_equal(d.client_status, status);
    if (status != 1) {
        assert_int_equal(d.client_error.status, HPX_E_TLS_PIN);
        assert_non_null(strstr(d.client_error.detail, "host.example and its issuers have none"));
        assert_int_equal(d.server_status, HPX_E_TLS_ALERT);
    }
    duo_free(&d);
}

static void test_pins_must_name_a_key_on_the_way_up(void **state)
{
    (void)state;
    static uint8_t pins[6][HPX_TLS_PIN_BYTES];
    duo_site chain;
    certs_identity middle;
    certs_identity above;
    certs_identity aside;
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    certs_make(&chain.root, &(certs_spec){.common_name = "root", .is_ca = true}, NULL);
    certs_make(&above, &(certs_spec){.common_name = "above", .is_ca = true}, &chain.root);
    certs_make(&middle, &(certs_spec){.common_name = "middle", .is_ca = true}, &above);
    certs_make(&aside, &(certs_spec){.common_name = "aside", .is_ca = true}, &chain.root);
    certs_make(&chain.leaf, &(certs_spec){.san = {SAN_DNS(NAME)}}, &middle);
    const certs_identity *const sent[] = {&chain.leaf, &middle, &above, &aside};
    duo_site_make_chain(&chain, sent, COUNT_OF(sent));
    pin_of(pins[0], &chain.leaf);
    pin_of(pins[1], &middle);
    pin_of(pins[2], &above);
    pin_of(pins[3], &aside); /* trusted and sent along, but it signed nothing here */
    pin_of(pins[4], &site.leaf);
    static const hpx_tls_version versions[] = {HPX_TLS_VERSION_1_3, HPX_TLS_VERSION_1_2};
    for (size_t v = 0; v < COUNT_OF(versions); v++) {
        check_pins(&chain, pins[0], 1, versions[v], 1);
        check_pins(&chain, pins[1], 1, versions[v], 1);
        check_pins(&chain, pins[2], 1, versions[v], 1);
        check_pins(&chain, pins[3], 1, versions[v], HPX_E_TLS_PIN);
        check_pins(&chain, pins[4], 1, versions[v], HPX_E_TLS_PIN);
        check_pins(&chain, pins[5], 1, versions[v], HPX_E_TLS_PIN);
        check_pins(&chain, pins[3], 3, versions[v], HPX_E_TLS_PIN);
        check_pins(&chain, pins[0], 6, versions[v], 1);
    }
    pins[0][31] ^= 1;
    check_pins(&chain, pins[0], 1, HPX_TLS_VERSION_1_3, HPX_E_TLS_PIN);
    duo_site_free(&chain);
    certs_free(&middle);
    certs_free(&above);
    certs_free(&aside);
}

static void test_pins_do_not_replace_the_other_checks(void **state)
{
    (void)state;
    static uint8_t pin[HPX_TLS_PIN_BYTES];
    duo d;
    pin_of(pin, &site.leaf);
    hpx_tls_config server = duo_server_config(&site);
    hpx_tls_config client = duo_client_config(&clients); /* another root */
    client.pin_sha256 = pin;
    client.pin_count = 1;
    assert_false(handshake(&d, &client, &server));
    assert_int_equal(d.client_status, HPX_E_TLS_UNTRUSTED);
    duo_free(&d);
}

/* ---- Versions and suites --------------------------------------------------------------------- */

static const struct {
    hpx_tls_version client[2];
    hpx_tls_version server[2];
    const char *agreed; /* NULL: none */
} version_rows[] = {
    {{0, 0}, {0, 0}, "TLSv1.3"},
    {{HPX_TLS_VERSION_1_3, 0}, {0, 0}, "TLSv1.3"},
    {{0, HPX_TLS_VERSION_1_2}, {0, 0}, "TLSv1.2"},
    {{0, 0}, {0, HPX_TLS_VERSION_1_2}, "TLSv1.2"},
    {{0, HPX_TLS_VERSION_1_2}, {0, HPX_TLS_VERSION_1_2}, "TLSv1.2"},
    {{HPX_TLS_VERSION_1_3, HPX_TLS_VERSION_1_3}, {HPX_TLS_VERSION_1_3, 0}, "TLSv1.3"},
    {{HPX_TLS_VERSION_1_3, 0}, {0, HPX_TLS_VERSION_1_2}, NULL},
    {{0, HPX_TLS_VERSION_1_2}, {HPX_TLS_VERSION_1_3, 0}, NULL},
};

static void test_versions_are_within_both_ranges_or_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(version_rows); i++) {
        duo d;
        hpx_tls_config server = duo_server_config(&site);
        hpx_tls_config client = duo_client_config(&site);
        client.version_min = version_rows[i].client[0];
        client.version_max = version_rows[i].client[1];
        server.version_min = version_rows[i].server[0];
        server.version_max = version_rows[i].server[1];
        const bool done = handshake(&d, &client, &server);
        assert_int_equal(done, version_rows[i].agreed != NULL);
        if (done) {
            hpxi_tls_info info;
            hpxi_tls_get_info(d.client, &info);
            assert_string_equal(info.version, version_rows[i].agreed);
        }
        duo_free(&d);
    }
}

static const struct {
    const char *client;
    const char *server;
    const char *agreed; /* NULL: none */
} suite_rows[] = {
    {"TLS_AES_256_GCM_SHA384", NULL, "TLS_AES_256_GCM_SHA384"},
    {NULL, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"},
    {"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
     "TLS_AES_128_GCM_SHA256",
     "TLS_AES_128_GCM_SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
     NULL,
     "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"},
    {"TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:TLS_AES_256_GCM_SHA384",
     "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
     "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"},
    {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", NULL},
    {"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", NULL, NULL}, /* the server's key is ECDSA */
};

static void test_suites_are_those_listed_and_no_other(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(suite_rows); i++) {
        duo d;
        hpx_tls_config server = duo_server_config(&site);
        hpx_tls_config client = duo_client_config(&site);
        client.ciphers = suite_rows[i].client;
        server.ciphers = suite_rows[i].server;
        const bool done = handshake(&d, &client, &server);
        hpxi_tls_info info;
        hpxi_tls_get_info(d.client, &info);
        if (done != (suite_rows[i].agreed != NULL)) {
            fail_msg("row %zu: %s %s", i, info.cipher, d.client_error.detail);
        }
        if (done) {
            assert_string_equal(info.cipher, suite_rows[i].agreed);
        }
        duo_free(&d);
    }
}

/* Every suite in the ClientHello of a default context, by number (RFC 8446 4.1.2). */
static void test_client_hello_offers_nine_suites_all_aead(void **state)
{
    (void)state;
    static const uint16_t allowed[] = {
        0x1301, 0x1302, 0x1303, 0xC02B, 0xC02C, 0xC02F, 0xC030, 0xCCA8, 0xCCA9};
    duo d;
    duo_make(&d, &site, NAME, false);
    uint8_t *data = NULL;
    size_t size = 0;
    assert_int_equal(hpxi_tls_handshake(d.client, &data, &size, &d.to_server, NULL), HPX_E_PARTIAL);
    const uint8_t *hello = hpxi_buf_span(&d.to_server).data;
    const size_t at = 5 + 4 + 2 + 32; /* record, message, version, random */
    const uint8_t *suites = hello + at + 1 + hello[at];
    const size_t count = ((size_t)suites[0] << 8 | suites[1]) / 2;
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        const uint16_t suite = (uint16_t)(suites[2 + 2 * i] << 8 | suites[3 + 2 * i]);
        bool is_allowed = suite == 0x00FF; /* renegotiation_info: no suite (RFC 5746) */
        for (size_t k = 0; k < COUNT_OF(allowed); k++) {
            is_allowed = is_allowed || suite == allowed[k];
            found += suite == allowed[k];
        }
        if (!is_allowed) {
            fail_msg("suite %04x is offered", suite);
        }
    }
    assert_int_equal(found, COUNT_OF(allowed));
    duo_free(&d);
}

/* ---- Settings that make no sense ------------------------------------------------------------- */

static uint8_t some_pins[17 * HPX_TLS_PIN_BYTES];

#define CLIENT .size = sizeof(hpx_tls_config), .ca_pem = site.root_pem, .ca_pem_bytes = 1
#define SERVER                                                                                     \
    .size = sizeof(hpx_tls_config), .cert_file = site.cert_file, .key_file = site.key_file

static const struct {
    bool is_server;
    hpx_tls_config config;
    hpx_status status;
    const char *detail;
} bad_rows[] = {
    {false, {CLIENT, .pin_count = 1}, HPX_E_INVALID, "pin_sha256"},
    {false, {CLIENT, .pin_sha256 = some_pins}, HPX_E_INVALID, "pin_sha256"},
    {false, {CLIENT, .pin_sha256 = some_pins, .pin_count = 17}, HPX_E_INVALID, "pin_sha256"},
    {false, {CLIENT, .version_max = (hpx_tls_version)11}, HPX_E_INVALID, "version_max: not"},
    {false,
     {CLIENT, .version_min = HPX_TLS_VERSION_1_3, .version_max = HPX_TLS_VERSION_1_2},
     HPX_E_INVALID,
     "version_max: below version_min"},
    {false, {CLIENT, .client_auth = HPX_TLS_CLIENT_AUTH_REQUIRE}, HPX_E_INVALID, "client_auth"},
    {false, {CLIENT, .ticket_count = 1}, HPX_E_INVALID, "ticket_count"},
    {false, {CLIENT, .ciphers = ""}, HPX_E_INVALID, "ciphers: ''"},
    {false, {CLIENT, .ciphers = "TLS_NULL_WITH_NULL_NULL"}, HPX_E_INVALID, "'TLS_NULL_WITH_NULL"},
    {false, {CLIENT, .ciphers = "TLS_RSA_WITH_RC4_128_SHA"}, HPX_E_INVALID, "ciphers: 'TLS_RSA_"},
    {false, {CLIENT, .ciphers = "ALL"}, HPX_E_INVALID, "ciphers: 'ALL'"},
    {false, {CLIENT, .ciphers = "TLS_AES_128_GCM_SHA256:"}, HPX_E_INVALID, "ciphers: ''"},
    {false,
     {CLIENT, .ciphers = "TLS_AES_128_GCM_SHA256:TLS_AES_128_GCM_SHA256"},
     HPX_E_INVALID,
     "or there twice"},
    {false,
     {CLIENT, .ciphers = "TLS_AES_128_GCM_SHA256", .version_max = HPX_TLS_VERSION_1_2},
     HPX_E_INVALID,
     "ciphers: none of them"},
    {false,
     {CLIENT,
      .ciphers = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
      .version_min = HPX_TLS_VERSION_1_3},
     HPX_E_INVALID,
     "ciphers: none of them"},
    {false, {CLIENT, .cert_pem = client_cert_pem, .cert_pem_bytes = 1}, HPX_E_INVALID, "key_pem"},
    {false, {CLIENT, .key_pem = client_key_pem, .key_pem_bytes = 1}, HPX_E_INVALID, "cert_pem"},
    {false, {CLIENT, .cert_pem = client_cert_pem}, HPX_E_INVALID, "cert_pem_bytes"},
    {false, {CLIENT, .key_pem_bytes = 5}, HPX_E_INVALID, "key_pem_bytes"},
    {true, {SERVER, .client_auth = (hpx_tls_client_auth)3}, HPX_E_INVALID, "client_auth"},
    {true,
     {SERVER, .client_auth = HPX_TLS_CLIENT_AUTH_REQUEST},
     HPX_E_INVALID,
     "ca_file or ca_pem: required"},
    {true,
     {SERVER,
      .client_auth = HPX_TLS_CLIENT_AUTH_REQUIRE,
      .ca_pem = site.root_pem,
      .ca_pem_bytes = 1,
      .ticket_count = 1},
     HPX_E_INVALID,
     "ticket_count: not with"},
    {true, {SERVER, .ticket_count = 17}, HPX_E_INVALID, "ticket_count: 0 to 16"},
    {true, {SERVER, .pin_sha256 = some_pins, .pin_count = 1}, HPX_E_INVALID, "for clients only"},
    {true, {SERVER, .flags = HPX_TLS_NO_RESUMPTION}, HPX_E_INVALID, "for clients only"},
};

static void test_context_when_settings_contradict_then_none_and_it_is_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(bad_rows); i++) {
        hpx_tls_context *context = (hpx_tls_context *)1;
        hpx_error error;
        hpx_tls_config config = bad_rows[i].config;
        if (config.ca_pem != NULL) {
            config.ca_pem_bytes = strlen(config.ca_pem);
        }
        const hpx_status status = bad_rows[i].is_server
                                      ? hpx_tls_server_context_new(&context, &config, &error)
                                      : hpx_tls_client_context_new(&context, &config, &error);
        if (status != bad_rows[i].status || strstr(error.detail, bad_rows[i].detail) == NULL) {
            fail_msg("row %zu: %d '%s'", i, status, error.detail);
        }
        assert_null(context);
    }
}

static void test_identity_in_memory_when_bad_then_refused_and_named(void **state)
{
    (void)state;
    const struct {
        const char *cert;
        const char *key;
        const char *detail;
    } rows[] = {
        {"no PEM", client_key_pem, "cert_pem"},
        {client_cert_pem, "no PEM", "key_pem"},
        {client_key_pem, client_key_pem, "cert_pem"},
        {client_cert_pem, client_cert_pem, "key_pem"},
        {site.root_pem, client_key_pem, "key_pem"}, /* not its key */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        hpx_tls_context *context = (hpx_tls_context *)1;
        hpx_error error;
        hpx_tls_config config = duo_client_config(&site);
        config.cert_pem = rows[i].cert;
        config.cert_pem_bytes = strlen(rows[i].cert);
        config.key_pem = rows[i].key;
        config.key_pem_bytes = strlen(rows[i].key);
        assert_int_equal(hpx_tls_client_context_new(&context, &config, &error), HPX_E_TLS_CONFIG);
        assert_null(context);
        if (strstr(error.detail, rows[i].detail) == NULL) {
            fail_msg("row %zu: '%s'", i, error.detail);
        }
        assert_null(strstr(error.detail, "PRIVATE"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_certificate_is_judged_by_the_server),
        cmocka_unit_test(test_pins_must_name_a_key_on_the_way_up),
        cmocka_unit_test(test_pins_do_not_replace_the_other_checks),
        cmocka_unit_test(test_versions_are_within_both_ranges_or_none),
        cmocka_unit_test(test_suites_are_those_listed_and_no_other),
        cmocka_unit_test(test_client_hello_offers_nine_suites_all_aead),
        cmocka_unit_test(test_context_when_settings_contradict_then_none_and_it_is_named),
        cmocka_unit_test(test_identity_in_memory_when_bad_then_refused_and_named),
    };
    return cmocka_run_group_tests(tests, settings_setup, settings_teardown);
}

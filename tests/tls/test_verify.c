/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A client refuses every server it should refuse, with the status and the words that name
 *         the reason, in TLS 1.2 and 1.3; and sends such a server nothing but an alert.
 * Method  One table of server certificates, made on the spot relative to now; a whole handshake in
 *         memory per row and version.
 */
#include <stdio.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"

#define NAME "host.example"

static const struct {
    const char *name;
    certs_spec leaf;
    const char *wanted; /* NULL: NAME */
    hpx_status status;  /* 1: accepted */
    const char *detail; /* a part of it */
} leaf_rows[] = {
    {"good", {.san = {SAN_DNS(NAME)}}, NULL, 1, NULL},
    {"good, last of four",
     {.san = {SAN_DNS("a.example"), SAN_IP("\x7f\0\0\1"), SAN_MAIL("x@y.example"), SAN_DNS(NAME)}},
     NULL,
     1,
     NULL},
    {"good for servers", {.san = {SAN_DNS(NAME)}, .ext_key_usage = "serverAuth"}, NULL, 1, NULL},
    {"good for all", {.san = {SAN_DNS(NAME)}, .ext_key_usage = "any"}, NULL, 1, NULL},
    {"wildcard", {.san = {SAN_DNS("*.a.example")}}, "b.a.example", 1, NULL},
    {"trailing dot wanted", {.san = {SAN_DNS(NAME)}}, NAME ".", 1, NULL},
    {"IPv4", {.san = {SAN_IP("\x7f\0\0\1")}}, "127.0.0.1", 1, NULL},
    {"IPv6", {.san = {SAN_IP("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1")}}, "::1", 1, NULL},
    {"wrong name",
     {.san = {SAN_DNS("a.example"), SAN_DNS("b.example")}},
     NULL,
     HPX_E_TLS_NAME,
     "a.example; wanted host.example"},
    {"common name only", {.common_name = NAME}, NULL, HPX_E_TLS_NAME, "no name"},
    {"common name beside a SAN",
     {.common_name = NAME, .san = {SAN_DNS("a.example")}},
     NULL,
     HPX_E_TLS_NAME,
     "certificate is for a.example; wanted host.example"},
    {"mail address only",
     {.san = {SAN_MAIL("host.example")}},
     NULL,
     HPX_E_TLS_NAME,
     "wanted host.example"},
    {"NUL in the name",
     {.san = {SAN_DNS("host.example\0.evil.test")}},
     NULL,
     HPX_E_TLS_NAME,
     "host.example?.evil.test"},
    {"partial wildcard", {.san = {SAN_DNS("h*.example")}}, NULL, HPX_E_TLS_NAME, "h*.example"},
    {"double wildcard", {.san = {SAN_DNS("**.example")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"bare star", {.san = {SAN_DNS("*")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"other IPv4",
     {.san = {SAN_IP("\x7f\0\0\2")}},
     "127.0.0.1",
     HPX_E_TLS_NAME,
     "127.0.0.2; wanted 127.0.0.1"},
    {"IPv4 as dNSName", {.san = {SAN_DNS("127.0.0.1")}}, "127.0.0.1", HPX_E_TLS_NAME, NULL},
    {"IPv4 as wildcard", {.san = {SAN_DNS("*.0.0.1")}}, "127.0.0.1", HPX_E_TLS_NAME, NULL},
    {"IPv4 as common name", {.common_name = "127.0.0.1"}, "127.0.0.1", HPX_E_TLS_NAME, NULL},
    {"other IPv6",
     {.san = {SAN_IP("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2")}},
     "::1",
     HPX_E_TLS_NAME,
     NULL},
    {"IPv6 as dNSName", {.san = {SAN_DNS("::1")}}, "::1", HPX_E_TLS_NAME, NULL},
    {"upper case in the certificate", {.san = {SAN_DNS("HOST.Example")}}, NULL, 1, NULL},
    {"upper case wanted", {.san = {SAN_DNS(NAME)}}, "Host.EXAMPLE", 1, NULL},
    {"A-label", {.san = {SAN_DNS("xn--bcher-kva.example")}}, "xn--bcher-kva.example", 1, NULL},
    {"wildcard beside an A-label",
     {.san = {SAN_DNS("*.example.org")}},
     "xn--bcher-kva.example.org",
     1,
     NULL},
    {"wildcard inside an A-label",
     {.san = {SAN_DNS("xn--*.example.org")}},
     "xn--bcher-kva.example.org",
     HPX_E_TLS_NAME,
     NULL},
    {"wildcard and the name below it",
     {.san = {SAN_DNS("*.a.example")}},
     "a.example",
     HPX_E_TLS_NAME,
     NULL},
    {"wildcard and two labels",
     {.san = {SAN_DNS("*.a.example")}},
     "c.b.a.example",
     HPX_E_TLS_NAME,
     NULL},
    {"wildcard of a top-level domain", {.san = {SAN_DNS("*.example")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"wildcard in the middle",
     {.san = {SAN_DNS("a.*.example")}},
     "a.b.example",
     HPX_E_TLS_NAME,
     NULL},
    {"two wildcards", {.san = {SAN_DNS("*.*.example")}}, "a.b.example", HPX_E_TLS_NAME, NULL},
    {"wildcard at the end of a label",
     {.san = {SAN_DNS("hos*.a.example")}},
     "host.a.example",
     HPX_E_TLS_NAME,
     NULL},
    {"wildcard at its begin",
     {.san = {SAN_DNS("*ost.a.example")}},
     "host.a.example",
     HPX_E_TLS_NAME,
     NULL},
    {"trailing dot in the certificate", {.san = {SAN_DNS(NAME ".")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"leading dot in the certificate", {.san = {SAN_DNS("." NAME)}}, NULL, HPX_E_TLS_NAME, NULL},
    {"space in the name", {.san = {SAN_DNS(NAME " ")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"NUL before the name", {.san = {SAN_DNS("\0host.example")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"name of the parent", {.san = {SAN_DNS("example")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"name of a child", {.san = {SAN_DNS("a.host.example")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"suffix without a dot", {.san = {SAN_DNS("ghost.example")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"URI only", {.san = {SAN_URI("https://host.example")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"address for a name", {.san = {SAN_IP("\x7f\0\0\1")}}, NULL, HPX_E_TLS_NAME, NULL},
    {"IPv4 in brackets of IPv6",
     {.san = {SAN_IP("\x7f\0\0\1")}},
     "::ffff:127.0.0.1",
     HPX_E_TLS_NAME,
     NULL},
    {"mapped IPv4",
     {.san = {SAN_IP("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1")}},
     "127.0.0.1",
     HPX_E_TLS_NAME,
     NULL},
    {"IPv6 wanted in brackets",
     {.san = {SAN_IP("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1")}},
     "[::1]",
     1,
     NULL},
    {"IPv6 wanted in another form",
     {.san = {SAN_IP("\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1")}},
     "2001:DB8:0::0:1",
     1,
     NULL},
    {"expires within the hour", {.san = {SAN_DNS(NAME)}, .not_after_s = 3000}, NULL, 1, NULL},
    {"valid since a minute", {.san = {SAN_DNS(NAME)}, .not_before_s = -60}, NULL, 1, NULL},
    {"expired a minute ago",
     {.san = {SAN_DNS(NAME)}, .not_after_s = -60},
     NULL,
     HPX_E_TLS_EXPIRED,
     "expired on"},
    {"expired",
     {.san = {SAN_DNS(NAME)}, .not_before_s = -9 * CERTS_DAY_S, .not_after_s = -CERTS_DAY_S},
     NULL,
     HPX_E_TLS_EXPIRED,
     "certificate of host.example expired on 20"},
    {"not yet valid",
     {.san = {SAN_DNS(NAME)}, .not_before_s = 3 * CERTS_DAY_S, .not_after_s = 9 * CERTS_DAY_S},
     NULL,
     HPX_E_TLS_NOT_YET_VALID,
     "certificate of host.example is not valid before 20"},
    {"for clients",
     {.san = {SAN_DNS(NAME)}, .ext_key_usage = "clientAuth"},
     NULL,
     HPX_E_TLS_CERTIFICATE,
     "host.example"},
    {"for code",
     {.san = {SAN_DNS(NAME)}, .ext_key_usage = "codeSigning"},
     NULL,
     HPX_E_TLS_CERTIFICATE,
     "host.example"},
    {"key not for signatures",
     {.san = {SAN_DNS(NAME)}, .key_usage = "keyAgreement"},
     NULL,
     HPX_E_TLS_CERTIFICATE,
     "host.example"},
    {"signed with SHA-1",
     {.san = {SAN_DNS(NAME)}, .signature = CTC_SHAwECDSA},
     NULL,
     HPX_E_TLS_CERTIFICATE,
     "SHA-1"},
};

/* A refused server has seen a ClientHello, perhaps an alert, and no Finished. */
static void check_refused(duo *l, const char *name, hpx_status status, const char *detail)
{
    if (l->client_status != status || l->client_error.status != status) {
        fail_msg("%s: %d '%s'", name, l->client_status, l->client_error.detail);
    }
    assert_int_equal(l->client_error.stage, HPX_STAGE_TLS);
    assert_int_not_equal(l->client_error.tls_error, 0);
    if (detail != NULL && strstr(l->client_error.detail, detail) == NULL) {
        fail_msg("%s: '%s' lacks '%s'", name, l->client_error.detail, detail);
    }
    assert_int_not_equal(l->server_status, 1);
    hpxi_tls_info info;
    hpxi_tls_get_info(l->client, &info);
    assert_false(info.verified);
    /* Failed for good, with the same answer for ever. */
    uint8_t *none = NULL;
    size_t zero = 0;
    hpx_error again;
    uint8_t plain[1 << 14];
    assert_int_equal(hpxi_tls_handshake(l->client, &none, &zero, &l->to_server, &again), status);
    assert_string_equal(again.detail, l->client_error.detail);
    assert_int_equal(
        hpxi_tls_read(l->client, &none, &zero, plain, sizeof(plain), &l->to_server, &again),
        status);
    const size_t sent = hpxi_buf_size(&l->to_server);
    assert_int_equal(hpxi_tls_write(l->client, hpx_span_of("x"), &l->to_server, &again), status);
    hpxi_tls_close_notify(l->client, &l->to_server);
    assert_int_equal(hpxi_buf_size(&l->to_server), sent);
}

static void check_row(
    duo_site *site, const char *name, const char *wanted, hpx_status status, const char *detail)
{
    duo l;
    duo_make(&l, site, wanted, false);
    const bool done = duo_handshake(&l);
    if (status == 1) {
        if (!done) {
            fail_msg("%s: refused: %d '%s'", name, l.client_status, l.client_error.detail);
        }
        hpxi_tls_info info;
        hpxi_tls_get_info(l.client, &info);
        assert_true(info.verified);
        assert_false(info.resumed);
    } else {
        check_refused(&l, name, status, detail);
    }
    duo_free(&l);
}

static void check_both_versions(
    duo_site *site, const char *name, const char *wanted, hpx_status status, const char *detail)
{
    check_row(site, name, wanted, status, detail);
    duo_site_force_tls12(site);
    check_row(site, name, wanted, status, detail);
}

static void test_verify_judges_each_leaf(void **state)
{
    (void)state;
    _Static_assert(COUNT_OF(leaf_rows) >= 40, "the matrix of the project's promise");
    for (size_t i = 0; i < COUNT_OF(leaf_rows); i++) {
        duo_site site;
        duo_site_make(&site, &leaf_rows[i].leaf);
        check_both_versions(
            &site,
            leaf_rows[i].name,
            leaf_rows[i].wanted == NULL ? NAME : leaf_rows[i].wanted,
            leaf_rows[i].status,
            leaf_rows[i].detail);
        duo_site_free(&site);
    }
}

static void test_verify_when_insecure_then_any_leaf_passes_and_none_is_verified(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(leaf_rows); i++) {
        if (leaf_rows[i].leaf.key_usage != NULL || leaf_rows[i].leaf.signature != 0) {
            continue; /* wolfSSL's limits on what a key may do hold without verification as well */
        }
        duo_site site;
        duo_site_make(&site, &leaf_rows[i].leaf);
        for (int version = 0; version < 2; version++) {
            duo l;
            duo_make(&l, &site, NAME, true);
            if (!duo_handshake(&l)) {
                fail_msg("%s: %s", leaf_rows[i].name, l.client_error.detail);
            }
            hpxi_tls_info info;
            hpxi_tls_get_info(l.client, &info);
            assert_false(info.verified);
            duo_free(&l);
            duo_site_force_tls12(&site);
        }
        duo_site_free(&site);
    }
}

static const certs_spec good_leaf = {.san = {SAN_DNS(NAME)}};
static const certs_spec good_ca = {.common_name = "test root", .is_ca = true};

static void test_verify_when_the_root_is_another_then_untrusted(void **state)
{
    (void)state;
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    duo_site site;
    certs_identity stranger;
    certs_make(&site.root, &good_ca, NULL);
    certs_make(&stranger, &(certs_spec){.common_name = "stranger", .is_ca = true}, NULL);
    certs_make(&site.leaf, &good_leaf, &stranger);
    const certs_identity *const chain[] = {&site.leaf, &stranger};
    duo_site_make_chain(&site, chain, 1);
    check_both_versions(&site, "stranger", NAME, HPX_E_TLS_UNTRUSTED, "no trusted root signs");
    duo_site_free(&site);
    certs_make(&site.root, &good_ca, NULL);
    certs_make(&site.leaf, &good_leaf, &stranger);
    duo_site_make_chain(&site, chain, 2); /* sends its own root along */
    check_both_versions(&site, "stranger sent", NAME, HPX_E_TLS_UNTRUSTED, NULL);
    duo_site_free(&site);
    certs_free(&stranger);
}

static void test_verify_when_the_root_has_the_name_but_not_the_key_then_refused(void **state)
{
    (void)state;
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    duo_site site;
    certs_identity twin;
    certs_make(&site.root, &good_ca, NULL);
    certs_make(&twin, &good_ca, NULL);
    certs_make(&site.leaf, &good_leaf, &twin);
    const certs_identity *const chain[] = {&site.leaf};
    duo_site_make_chain(&site, chain, 1);
    check_both_versions(&site, "twin", NAME, HPX_E_TLS_UNTRUSTED, "no trusted root signs");
    duo_site_free(&site);
    certs_free(&twin);
}

static void test_verify_when_self_signed_then_untrusted(void **state)
{
    (void)state;
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    const certs_spec specs[] = {
        {.common_name = NAME, .san = {SAN_DNS(NAME)}},
        {.common_name = NAME, .san = {SAN_DNS(NAME)}, .is_ca = true, .key_usage = "keyCertSign"},
    };
    for (size_t i = 0; i < COUNT_OF(specs); i++) {
        duo_site site;
        certs_make(&site.root, &good_ca, NULL);
        certs_make(&site.leaf, &specs[i], NULL);
        const certs_identity *const chain[] = {&site.leaf};
        duo_site_make_chain(&site, chain, 1);
        check_row(&site, "self-signed", NAME, HPX_E_TLS_UNTRUSTED, "self-signed");
        duo_site_free(&site);
    }
}

static const struct {
    const char *name;
    certs_spec middle;
    bool sent;
    hpx_status status;
    const char *detail;
} chain_rows[] = {
    {"good", {.common_name = "middle", .is_ca = true}, true, 1, NULL},
    {"for servers",
     {.common_name = "middle", .is_ca = true, .ext_key_usage = "serverAuth"},
     true,
     1,
     NULL},
    {"not sent",
     {.common_name = "middle", .is_ca = true},
     false,
     HPX_E_TLS_UNTRUSTED,
     "no trusted root signs the certificate of host.example"},
    {"not a CA",
     {.common_name = "middle"},
     true,
     HPX_E_TLS_UNTRUSTED,
     "no trusted root signs the certificate of host.example"},
    {"expired",
     {.common_name = "middle",
      .is_ca = true,
      .not_before_s = -9 * CERTS_DAY_S,
      .not_after_s = -CERTS_DAY_S},
     true,
     HPX_E_TLS_EXPIRED,
     "certificate of middle expired on 20"},
    {"not yet valid",
     {.common_name = "middle",
      .is_ca = true,
      .not_before_s = CERTS_DAY_S,
      .not_after_s = 9 * CERTS_DAY_S},
     true,
     HPX_E_TLS_NOT_YET_VALID,
     "certificate of middle"},
    {"for clients",
     {.common_name = "middle", .is_ca = true, .ext_key_usage = "clientAuth"},
     true,
     HPX_E_TLS_CERTIFICATE,
     "certificate of middle is not for TLS servers"},
    {"signed with SHA-1",
     {.common_name = "middle", .is_ca = true, .signature = CTC_SHAwECDSA},
     true,
     HPX_E_TLS_CERTIFICATE,
     "certificate of middle is signed with SHA-1"},
};

static void test_verify_judges_each_intermediate(void **state)
{
    (void)state;
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    for (size_t i = 0; i < COUNT_OF(chain_rows); i++) {
        duo_site site;
        certs_identity middle;
        certs_make(&site.root, &good_ca, NULL);
        certs_make(&middle, &chain_rows[i].middle, &site.root);
        certs_make(&site.leaf, &good_leaf, &middle);
        const certs_identity *const chain[] = {&site.leaf, &middle};
        duo_site_make_chain(&site, chain, chain_rows[i].sent ? 2 : 1);
        check_both_versions(
            &site, chain_rows[i].name, NAME, chain_rows[i].status, chain_rows[i].detail);
        duo_site_free(&site);
        certs_free(&middle);
    }
}

/* ---- What wolfSSL would have made of it ------------------------------------------------------ */

/* Rows that wolfSSL alone (VERIFY_PEER and wolfSSL_check_domain_name()) accepts and we refuse. */
static const char *const accepted_alone[] = {
    "common name only",
    "partial wildcard",
    "double wildcard",
    "IPv4 as dNSName",
    "IPv4 as wildcard",
    "IPv4 as common name",
    "IPv6 as dNSName",
    "wildcard inside an A-label",
    "wildcard of a top-level domain",
    "wildcard in the middle",
    "two wildcards",
    "wildcard at the end of a label",
    "wildcard at its begin",
    "key not for signatures",
    "signed with SHA-1",
    "intermediate for clients",
    "intermediate signed with SHA-1",
};

/* And the other way round. */
static const char *const refused_alone[] = {
    "trailing dot wanted",
    "IPv6",
    "IPv6 wanted in brackets",
    "IPv6 wanted in another form",
};

static bool is_listed(const char *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static int alone_receive(WOLFSSL *wolf, char *to, int size, void *user)
{
    (void)wolf;
    hpxi_buf *in = user;
    const size_t there = hpxi_buf_size(in);
    if (there == 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    const size_t bytes = there < (size_t)size ? there : (size_t)size;
    memcpy(to, hpxi_buf_span(in).data, bytes);
    hpxi_buf_consume(in, bytes);
    return (int)bytes;
}

static int alone_send(WOLFSSL *wolf, char *from, int size, void *user)
{
    (void)wolf;
    assert_true(hpxi_buf_append(user, from, (size_t)size));
    return size;
}

static bool is_accepted_alone(const duo_site *site, const char *wanted)
{
    failing_allocator memory = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&memory);
    hpxi_buf to_server;
    hpxi_buf to_client;
    hpxi_buf_init(&to_server, &allocator);
    hpxi_buf_init(&to_client, &allocator);
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_client_method());
    assert_non_null(ctx);
    wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER, NULL);
    assert_int_equal(
        wolfSSL_CTX_load_verify_buffer(
            ctx,
            (const unsigned char *)site->root_pem,
            (long)strlen(site->root_pem),
            WOLFSSL_FILETYPE_PEM),
        WOLFSSL_SUCCESS);
    wolfSSL_CTX_SetIORecv(ctx, alone_receive);
    wolfSSL_CTX_SetIOSend(ctx, alone_send);
    WOLFSSL *client = wolfSSL_new(ctx);
    assert_non_null(client);
    wolfSSL_SetIOReadCtx(client, &to_client);
    wolfSSL_SetIOWriteCtx(client, &to_server);
    assert_int_equal(wolfSSL_check_domain_name(client, wanted), WOLFSSL_SUCCESS);
    hpxi_tls *server = NULL;
    const hpxi_tls_session_config config = {.context = site->server, .is_server = true};
    assert_int_equal(hpxi_tls_new(&server, &config, &allocator, NULL), HPX_OK);
    int rc = wolfSSL_connect(client);
    for (int i = 0; i < 4 && rc != WOLFSSL_SUCCESS; i++) {
        const hpx_span bytes = hpxi_buf_span(&to_server);
        uint8_t *data = (uint8_t *)(uintptr_t)bytes.data;
        size_t size = bytes.size;
        (void)hpxi_tls_handshake(server, &data, &size, &to_client, NULL);
        hpxi_buf_consume(&to_server, bytes.size);
        rc = wolfSSL_connect(client);
    }
    hpxi_tls_free(server);
    wolfSSL_free(client);
    wolfSSL_CTX_free(ctx);
    hpxi_buf_fini(&to_server);
    hpxi_buf_fini(&to_client);
    return rc == WOLFSSL_SUCCESS;
}

/* 1 if it is not as the lists say. */
static size_t compare_alone(duo_site *site, const char *name, const char *wanted, bool ours)
{
    const bool alone = is_accepted_alone(site, wanted);
    const bool says_accepted = is_listed(accepted_alone, COUNT_OF(accepted_alone), name);
    const bool says_refused = is_listed(refused_alone, COUNT_OF(refused_alone), name);
    if (says_accepted == (alone && !ours) && says_refused == (!alone && ours)) {
        return 0;
    }
    print_message("'%s' is %s by wolfSSL alone\n", name, alone ? "accepted" : "refused");
    return 1;
}

/* A list that changes with a new wolfSSL is news: docs/tls.md tells it. */
static void test_wolfssl_alone_differs_from_us_in_the_rows_listed(void **state)
{
    (void)state;
    size_t surprises = 0;
    for (size_t i = 0; i < COUNT_OF(leaf_rows); i++) {
        duo_site site;
        duo_site_make(&site, &leaf_rows[i].leaf);
        surprises += compare_alone(
            &site,
            leaf_rows[i].name,
            leaf_rows[i].wanted == NULL ? NAME : leaf_rows[i].wanted,
            leaf_rows[i].status == 1);
        duo_site_free(&site);
    }
    for (size_t i = 0; i < COUNT_OF(chain_rows); i++) {
        duo_site site;
        certs_identity middle;
        char name[64];
        certs_make(&site.root, &good_ca, NULL);
        certs_make(&middle, &chain_rows[i].middle, &site.root);
        certs_make(&site.leaf, &good_leaf, &middle);
        const certs_identity *const chain[] = {&site.leaf, &middle};
        duo_site_make_chain(&site, chain, chain_rows[i].sent ? 2 : 1);
        (void)snprintf(name, sizeof(name), "intermediate %s", chain_rows[i].name);
        surprises += compare_alone(&site, name, NAME, chain_rows[i].status == 1);
        duo_site_free(&site);
        certs_free(&middle);
    }
    assert_int_equal(surprises, 0);
}

static void test_verify_does_not_remember_an_intermediate_of_another_server(void **state)
{
    (void)state;
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    duo_site sender;
    duo_site miser;
    certs_identity middle;
    certs_make(&sender.root, &good_ca, NULL);
    certs_make(&middle, &(certs_spec){.common_name = "middle", .is_ca = true}, &sender.root);
    certs_make(&sender.leaf, &good_leaf, &middle);
    certs_make(&miser.root, &good_ca, NULL);
    certs_make(&miser.leaf, &good_leaf, &middle);
    const certs_identity *const whole[] = {&sender.leaf, &middle};
    const certs_identity *const part[] = {&miser.leaf};
    duo_site_make_chain(&sender, whole, 2);
    duo_site_make_chain(&miser, part, 1);
    hpx_tls_context *const unused = miser.client;
    miser.client = sender.client;
    for (int i = 0; i < 2; i++) {
        check_row(&sender, "sent", NAME, 1, NULL);
        check_row(&miser, "not sent", NAME, HPX_E_TLS_UNTRUSTED, "no trusted root signs");
    }
    miser.client = unused;
    duo_site_free(&miser);
    duo_site_free(&sender);
    certs_free(&middle);
}

static void test_verify_after_a_refusal_then_the_next_good_session_passes(void **state)
{
    (void)state;
    duo_site site;
    duo_site_make(&site, &good_leaf);
    for (int i = 0; i < 3; i++) {
        check_row(&site, "good", NAME, 1, NULL);
        check_row(&site, "other", "other.example", HPX_E_TLS_NAME, "wanted other.example");
    }
    duo_site_free(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify_judges_each_leaf),
        cmocka_unit_test(test_wolfssl_alone_differs_from_us_in_the_rows_listed),
        cmocka_unit_test(test_verify_when_insecure_then_any_leaf_passes_and_none_is_verified),
        cmocka_unit_test(test_verify_when_the_root_is_another_then_untrusted),
        cmocka_unit_test(test_verify_when_the_root_has_the_name_but_not_the_key_then_refused),
        cmocka_unit_test(test_verify_when_self_signed_then_untrusted),
        cmocka_unit_test(test_verify_judges_each_intermediate),
        cmocka_unit_test(test_verify_does_not_remember_an_intermediate_of_another_server),
        cmocka_unit_test(test_verify_after_a_refusal_then_the_next_good_session_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

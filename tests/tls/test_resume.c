/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Sessions are resumed when, and only when, every setting of the connection is the same; a
 *         ticket is used once; what was verified then is judged again now; and a failure forgets.
 * Method  Client and server sessions joined in memory (duo.h) with one cache, whose clock the test
 *         moves. The pairs of settings are all those of a random set, from a seed that is printed
 *         (or given as the argument).
 */
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "tests/support/test.h"
#include "tests/tls/duo.h"
#include "tls/session.h"

#define NAME    "host.example"
#define OTHER   "peer.example" /* as long as NAME: only its letters tell them apart */
#define MINUTE  ((uint64_t)60 * HPX_NS_PER_S)
#define TICKETS 3

static duo_site sites[2]; /* servers of TLS 1.3 and of 1.2, both with tickets */
static uint64_t now_ns;
static uint64_t first_seed = 1;

/* A cache that outlives the duos using it. */
typedef struct bed {
    failing_allocator memory;
    hpx_allocator allocator;
    hpxi_tls_cache *cache;
} bed;

static void bed_make(bed *b)
{
    b->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    b->allocator = fa_allocator(&b->memory);
    const hpxi_tls_cache_config config = {.hosts_max = 64, .now_ns = &now_ns};
    assert_int_equal(hpxi_tls_cache_new(&b->cache, &config, &b->allocator), HPX_OK);
}

static void bed_free(bed *b)
{
    hpxi_tls_cache_free(b->cache);
    assert_int_equal(b->memory.live, 0);
}

static int resume_setup(void **state)
{
    (void)state;
    static const certs_spec leaf = {.san = {SAN_DNS(NAME), SAN_DNS(OTHER)}};
    now_ns = MINUTE;
    for (size_t i = 0; i < COUNT_OF(sites); i++) {
        duo_site_make(&sites[i], &leaf);
        hpx_tls_config config = duo_server_config(&sites[i]);
        config.ticket_count = TICKETS;
        config.version_max = i == 0 ? HPX_TLS_VERSION_1_3 : HPX_TLS_VERSION_1_2;
        hpx_tls_context_release(sites[i].server);
        sites[i].server = duo_server_context(&config);
    }
    return 0;
}

static int resume_teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sites); i++) {
        duo_site_free(&sites[i]);
    }
    return 0;
}

static hpxi_tls_session_config client_of(const duo_site *site, bed *b)
{
    return (hpxi_tls_session_config){
        .context = site->client,
        .server_name = NAME,
        .sessions = b->cache,
        .host = NAME,
        .port = 443};
}

static void make(duo *d, const duo_site *site, const hpxi_tls_session_config *client)
{
    const hpxi_tls_session_config server = {.context = site->server, .is_server = true};
    duo_make_with(d, client, &server);
}

/* The client takes in the tickets, and data flows. */
static void settle(duo *d)
{
    hpxi_buf plain;
    hpxi_buf_init(&plain, &d->allocator);
    duo_send(d, false, (const uint8_t *)"hello", 5);
    assert_int_equal(duo_receive(d, true, &plain), HPX_E_PARTIAL);
    duo_send(d, true, (const uint8_t *)"world", 5);
    assert_int_equal(duo_receive(d, false, &plain), HPX_E_PARTIAL);
    assert_int_equal(hpxi_buf_size(&plain), 10);
    assert_memory_equal(hpxi_buf_span(&plain).data, "helloworld", 10);
    hpxi_buf_fini(&plain);
}

/* A whole connection. Returns whether it was resumed; both sides must agree on that. */
static bool connect_once(const duo_site *site, const hpxi_tls_session_config *client)
{
    duo d;
    make(&d, site, client);
    if (!duo_handshake(&d)) {
        fail_msg("client '%s', server '%s'", d.client_error.detail, d.server_error.detail);
    }
    settle(&d);
    hpxi_tls_info at_client;
    hpxi_tls_info at_server;
    hpxi_tls_get_info(d.client, &at_client);
    hpxi_tls_get_info(d.server, &at_server);
    assert_int_equal(at_client.resumed, at_server.resumed);
    assert_int_equal(at_client.verified, !client->insecure_no_verify);
    duo_free(&d);
    return at_client.resumed;
}

static void test_resume_of_tls13_uses_each_ticket_once(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    const hpxi_tls_session_config client = client_of(&sites[0], &b);
    assert_false(connect_once(&sites[0], &client));
    assert_int_equal(hpxi_tls_cache_get_stats(b.cache).sessions, TICKETS);
    /* Without the server's answer, a ticket that was offered is gone all the same. */
    duo lost[TICKETS];
    for (size_t i = 0; i < TICKETS; i++) {
        make(&lost[i], &sites[0], &client);
        assert_true(lost[i].client->is_offered);
        assert_int_equal(hpxi_tls_cache_get_stats(b.cache).sessions, TICKETS - 1 - i);
    }
    duo none;
    make(&none, &sites[0], &client);
    assert_false(none.client->is_offered);
    duo_free(&none);
    for (size_t i = 0; i < TICKETS; i++) {
        assert_true(duo_handshake(&lost[i])); /* and each is good, at the same time */
        hpxi_tls_info info;
        hpxi_tls_get_info(lost[i].client, &info);
        assert_true(info.resumed && info.verified);
        duo_free(&lost[i]);
    }
    bed_free(&b);
}

static void test_resume_goes_on_with_the_tickets_of_resumed_sessions(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        bed_make(&b);
        const hpxi_tls_session_config client = client_of(&sites[version], &b);
        assert_false(connect_once(&sites[version], &client));
        for (int i = 0; i < 20; i++) {
            assert_true(connect_once(&sites[version], &client));
        }
        bed_free(&b);
    }
}

static void test_resume_at_every_cut(void **state)
{
    (void)state;
    static const size_t cuts[] = {1, 2, 7, DUO_CUT_RANDOM, DUO_CUT_RANDOM};
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        bed_make(&b);
        const hpxi_tls_session_config client = client_of(&sites[version], &b);
        assert_false(connect_once(&sites[version], &client));
        for (size_t i = 0; i < COUNT_OF(cuts); i++) {
            duo d;
            hpxi_tls_info info;
            make(&d, &sites[version], &client);
            d.cut_bytes = cuts[i];
            d.seed = i;
            assert_true(duo_handshake(&d));
            hpxi_tls_get_info(d.client, &info);
            assert_true(info.resumed && info.verified);
            settle(&d);
            duo_free(&d);
        }
        bed_free(&b);
    }
}

static void test_resume_when_off_then_nothing_is_kept(void **state)
{
    (void)state;
    bed b;
    bed_make(&b);
    hpx_tls_config config = duo_client_config(&sites[0]);
    config.flags = HPX_TLS_NO_RESUMPTION;
    hpxi_tls_session_config client = client_of(&sites[0], &b);
    client.context = duo_client_context(&config);
    for (int i = 0; i < 2; i++) {
        assert_false(connect_once(&sites[0], &client));
        assert_int_equal(hpxi_tls_cache_get_stats(b.cache).kept, 0);
    }
    hpx_tls_context_release(client.context);
    client = client_of(&sites[0], &b);
    client.sessions = NULL;
    assert_false(connect_once(&sites[0], &client));
    assert_false(connect_once(&sites[0], &client));
    bed_free(&b);
}

/* ---- Pairs of settings ----------------------------------------------------------------------- */

/* What two connections may differ in. Each is an index into the choices below. */
enum { SET_CONTEXT, SET_HOST, SET_PORT, SET_NAME, SET_ALPN, SET_VERIFY, SET_COUNT };

typedef struct settings {
    uint8_t choice[SET_COUNT];
} settings;

static const uint8_t choices[SET_COUNT] = {8, 2, 2, 2, 4, 2};

static hpx_tls_context *contexts[8];
static duo_site someone; /* for the client certificate */

static void make_contexts(const duo_site *site)
{
    static uint8_t pin[2][HPX_TLS_PIN_BYTES];
    duo_site_make(&someone, &(certs_spec){.common_name = "client"});
    hpx_tls_config config = duo_client_config(site);
    contexts[0] = duo_client_context(&config);
    contexts[1] = duo_client_context(&config); /* the same roots, loaded again */
    config.cert_file = someone.cert_file;
    config.key_file = someone.key_file;
    contexts[2] = duo_client_context(&config);
    config = duo_client_config(site);
    DecodedCert cert;
    hpx_span spki;
    wc_InitDecodedCert(&cert, site->leaf.der, (word32)site->leaf.der_bytes, NULL);
    assert_int_equal(wc_ParseCert(&cert, CERT_TYPE, NO_VERIFY, NULL), 0);
    assert_true(hpxi_tls_chain_spki(&cert, &spki));
    assert_int_equal(wc_Sha256Hash(spki.data, (word32)spki.size, pin[1]), 0);
    wc_FreeDecodedCert(&cert);
    config.pin_sha256 = pin[1];
    config.pin_count = 1;
    contexts[3] = duo_client_context(&config);
    config.pin_sha256 = pin[0]; /* a pin more */
    config.pin_count = 2;
    contexts[4] = duo_client_context(&config);
    config = duo_client_config(site);
    config.version_min = HPX_TLS_VERSION_1_3;
    contexts[5] = duo_client_context(&config);
    config = duo_client_config(site);
    config.ciphers = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384";
    contexts[6] = duo_client_context(&config);
    static char roots[2 * CERTS_PEM_MAX];
    (void)snprintf(roots, sizeof(roots), "%s%s", site->root_pem, someone.root_pem);
    config = duo_client_config(site);
    config.ca_pem = roots; /* a root more */
    config.ca_pem_bytes = strlen(roots);
    contexts[7] = duo_client_context(&config);
}

static hpxi_tls_session_config config_of(const settings *s, bed *b)
{
    static const char *const hosts[] = {NAME, "10.0.0.1"};
    static const uint16_t ports[] = {443, 8443};
    static const char *const names[] = {NAME, OTHER};
    static const struct {
        const char *list;
        size_t size;
    } alpns[] = {
        {NULL, 0},
        {HPXI_TLS_ALPN_HTTP1, sizeof(HPXI_TLS_ALPN_HTTP1) - 1},
        {HPXI_TLS_ALPN_H2_HTTP1, sizeof(HPXI_TLS_ALPN_H2_HTTP1) - 1},
        {HPXI_TLS_ALPN_HTTP1 HPXI_TLS_ALPN_H2, sizeof(HPXI_TLS_ALPN_H2_HTTP1) - 1},
    };
    return (hpxi_tls_session_config){
        .context = contexts[s->choice[SET_CONTEXT]],
        .insecure_no_verify = s->choice[SET_VERIFY] != 0,
        .server_name = names[s->choice[SET_NAME]],
        .alpn = (const uint8_t *)alpns[s->choice[SET_ALPN]].list,
        .alpn_bytes = alpns[s->choice[SET_ALPN]].size,
        .sessions = b->cache,
        .host = hosts[s->choice[SET_HOST]],
        .port = ports[s->choice[SET_PORT]]};
}

/* One connection with each; the second is resumed if and only if they are the same. */
static void check_pair(const duo_site *site, const settings *a, const settings *second)
{
    bed b;
    bed_make(&b);
    const hpxi_tls_session_config first_config = config_of(a, &b);
    const hpxi_tls_session_config second_config = config_of(second, &b);
    assert_false(connect_once(site, &first_config));
    const bool resumed = connect_once(site, &second_config);
    const bool same = memcmp(a, second, sizeof(*a)) == 0;
    if (resumed != same) {
        fail_msg(
            "context %u/%u host %u/%u port %u/%u name %u/%u ALPN %u/%u verify %u/%u: %s",
            a->choice[0],
            second->choice[0],
            a->choice[1],
            second->choice[1],
            a->choice[2],
            second->choice[2],
            a->choice[3],
            second->choice[3],
            a->choice[4],
            second->choice[4],
            a->choice[5],
            second->choice[5],
            resumed ? "resumed" : "not resumed");
    }
    bed_free(&b);
}

static void test_resume_never_between_settings_that_differ_in_one_field(void **state)
{
    (void)state;
    make_contexts(&sites[0]);
    size_t pairs = 0;
    for (size_t field = 0; field < SET_COUNT; field++) {
        for (uint8_t from = 0; from < choices[field]; from++) {
            for (uint8_t to = 0; to < choices[field]; to++) {
                settings a = {0};
                settings b = {0};
                a.choice[field] = from;
                b.choice[field] = to;
                check_pair(&sites[0], &a, &b);
                pairs++;
            }
        }
    }
    assert_int_equal(pairs, 64 + 4 + 4 + 4 + 16 + 4);
    uint64_t seed = first_seed;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 300; i++) { /* and from wherever one is */
        settings a;
        for (size_t field = 0; field < SET_COUNT; field++) {
            a.choice[field] = (uint8_t)(duo_random(&seed) % choices[field]);
        }
        settings b = a;
        const size_t field = duo_random(&seed) % SET_COUNT;
        b.choice[field] = (uint8_t)(duo_random(&seed) % choices[field]);
        check_pair(&sites[0], &a, &b);
    }
    for (size_t i = 0; i < COUNT_OF(contexts); i++) {
        hpx_tls_context_release(contexts[i]);
    }
    duo_site_free(&someone);
}

/* ---- What was verified then ------------------------------------------------------------------ */

/* Has the cache hold, for a connection that wants `name`, the session of one that wanted NAME. */
static void smuggle(
    const duo_site *site, bed *b, hpxi_tls_session_config *client, const char *name, bool is_old)
{
    bed empty;
    duo from;
    duo to;
    bed_make(&empty);
    hpxi_tls_session_config config = *client;
    config.sessions = empty.cache;
    make(&from, site, &config);
    config.server_name = name;
    make(&to, site, &config);
    assert_false(connect_once(site, client));
    const hpxi_tls_found found = hpxi_tls_cache_take(b->cache, from.client->key);
    assert_non_null(found.session);
    assert_true(found.proof->not_after_s > (int64_t)time(NULL));
    hpxi_tls_proof *proof = hpxi_tls_proof_new(
        found.proof->leaf,
        found.proof->leaf_bytes,
        is_old ? (int64_t)time(NULL) - 1 : found.proof->not_after_s);
    hpxi_tls_cache_evict(b->cache, from.client->key);
    hpxi_tls_cache_put(b->cache, to.client->key, found.session, proof, true, MINUTE);
    hpxi_tls_proof_release(found.proof);
    hpxi_tls_proof_release(proof);
    duo_free(&from);
    duo_free(&to);
    bed_free(&empty);
    client->server_name = name;
}

static void check_refused(const duo_site *site, const hpxi_tls_session_config *client, int status)
{
    duo d;
    hpxi_tls_info info;
    make(&d, site, client);
    assert_true(d.client->is_offered);
    assert_false(duo_handshake(&d));
    if (d.client_status != status) {
        fail_msg("%d '%s'", d.client_status, d.client_error.detail);
    }
    assert_int_equal(d.client_error.stage, HPX_STAGE_TLS);
    hpxi_tls_get_info(d.client, &info);
    assert_false(info.verified);
    duo_free(&d);
}

static void test_resume_checks_the_name_again(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        bed_make(&b);
        hpxi_tls_session_config client = client_of(&sites[version], &b);
        smuggle(&sites[version], &b, &client, "bank.example", false);
        check_refused(&sites[version], &client, HPX_E_TLS_NAME);
        assert_int_equal(hpxi_tls_cache_get_stats(b.cache).sessions, 0);
        client = client_of(&sites[version], &b);
        smuggle(&sites[version], &b, &client, OTHER, false); /* also in the certificate: fine */
        assert_true(connect_once(&sites[version], &client));
        bed_free(&b);
    }
}

static void test_resume_checks_the_dates_again(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        bed_make(&b);
        hpxi_tls_session_config client = client_of(&sites[version], &b);
        smuggle(&sites[version], &b, &client, OTHER, true);
        check_refused(&sites[version], &client, HPX_E_TLS_EXPIRED);
        bed_free(&b);
    }
}

static void test_resume_when_the_chain_expires_soon_then_not_beyond(void **state)
{
    (void)state;
    bed b;
    duo_site site;
    certs_identity middle;
    assert_int_equal(hpxi_tls_global_init(), HPX_OK);
    certs_make(&site.root, &(certs_spec){.common_name = "test root", .is_ca = true}, NULL);
    certs_make(
        &middle,
        &(certs_spec){.common_name = "middle", .is_ca = true, .not_after_s = 200},
        &site.root);
    certs_make(&site.leaf, &(certs_spec){.san = {SAN_DNS(NAME)}}, &middle);
    const certs_identity *const chain[] = {&site.leaf, &middle};
    duo_site_make_chain(&site, chain, 2);
    hpx_tls_config config = duo_server_config(&site);
    config.ticket_count = TICKETS;
    hpx_tls_context_release(site.server);
    site.server = duo_server_context(&config);
    bed_make(&b);
    const hpxi_tls_session_config client = client_of(&site, &b);
    assert_false(connect_once(&site, &client));
    now_ns += MINUTE;
    assert_true(connect_once(&site, &client));
    now_ns += 201 * HPX_NS_PER_S; /* of the 300 s that the tickets have */
    assert_false(connect_once(&site, &client));
    bed_free(&b);
    duo_site_free(&site);
    certs_free(&middle);
}

/* ---- Failures -------------------------------------------------------------------------------- */

static void test_resume_when_verification_fails_then_all_of_that_key_is_forgotten(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        duo_site impostor;
        bed_make(&b);
        const hpxi_tls_session_config client = client_of(&sites[version], &b);
        assert_false(connect_once(&sites[version], &client));
        duo_site_make(&impostor, &(certs_spec){.san = {SAN_DNS("impostor.example")}});
        check_refused(&impostor, &client, HPX_E_TLS_UNTRUSTED);
        assert_int_equal(hpxi_tls_cache_get_stats(b.cache).sessions, 0);
        assert_false(connect_once(&sites[version], &client));
        duo_site_free(&impostor);
        bed_free(&b);
    }
}

static void test_resume_when_a_handshake_ends_unfinished_then_forgotten(void **state)
{
    (void)state;
    bed b;
    duo d;
    bed_make(&b);
    const hpxi_tls_session_config client = client_of(&sites[0], &b);
    assert_false(connect_once(&sites[0], &client));
    make(&d, &sites[0], &client);
    duo_free(&d); /* timed out, say, with the ticket under way */
    assert_int_equal(hpxi_tls_cache_get_stats(b.cache).sessions, 0);
    assert_false(connect_once(&sites[0], &client));
    make(&d, &sites[0], &client);
    uint8_t garbage[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    uint8_t *data = garbage;
    size_t size = sizeof(garbage) - 1;
    assert_int_equal(
        hpxi_tls_handshake(d.client, &data, &size, &d.to_server, NULL), HPX_E_TLS_PROTOCOL);
    assert_int_equal(hpxi_tls_cache_get_stats(b.cache).sessions, 0);
    duo_free(&d);
    bed_free(&b);
}

static void test_resume_when_the_server_forgot_then_a_full_handshake(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        bed_make(&b);
        duo_site restarted = sites[version];
        hpx_tls_config config = duo_server_config(&sites[version]);
        config.ticket_count = TICKETS;
        config.version_max = version == 0 ? HPX_TLS_VERSION_1_3 : HPX_TLS_VERSION_1_2;
        restarted.server = duo_server_context(&config); /* another ticket key */
        const hpxi_tls_session_config client = client_of(&sites[version], &b);
        assert_false(connect_once(&sites[version], &client));
        assert_false(connect_once(&restarted, &client));
        /* wolfSSL as a server of TLS 1.2 gives no ticket to a client that showed a strange one */
        assert_true(connect_once(&restarted, &client) || version == 1);
        assert_true(connect_once(&restarted, &client));
        hpx_tls_context_release(restarted.server);
        bed_free(&b);
    }
}

static void test_resume_when_the_server_changed_its_version_then_it_recovers(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        bed_make(&b);
        const duo_site *before = &sites[version];
        duo_site after = sites[1 - version];
        /* The same certificate: it is the same server, updated. */
        hpx_tls_config config = duo_server_config(before);
        config.ticket_count = TICKETS;
        config.version_max = version == 0 ? HPX_TLS_VERSION_1_2 : HPX_TLS_VERSION_1_3;
        after.server = duo_server_context(&config);
        const hpxi_tls_session_config client = client_of(before, &b);
        assert_false(connect_once(before, &client));
        duo d;
        make(&d, &after, &client);
        assert_true(d.client->is_offered);
        if (!duo_handshake(&d)) { /* perhaps; but then nothing of it is left */
            assert_int_equal(hpxi_tls_cache_get_stats(b.cache).sessions, 0);
        }
        duo_free(&d);
        (void)connect_once(&after, &client);
        (void)connect_once(&after, &client);
        assert_true(connect_once(&after, &client));
        hpx_tls_context_release(after.server);
        bed_free(&b);
    }
}

static void test_resume_when_the_nth_allocation_fails_then_nothing_leaks(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        ptrdiff_t live = 0;
        size_t total = 1;
        for (size_t i = 0; i < total; i++) {
            bed_make(&b);
            const hpxi_tls_session_config client = client_of(&sites[version], &b);
            assert_false(connect_once(&sites[version], &client));
            duo_wolf_memory_start(i == 0 ? SIZE_MAX : i);
            duo d;
            const hpxi_tls_session_config server = {
                .context = sites[version].server, .is_server = true};
            d = (duo){.memory = FAILING_ALLOCATOR_NEVER, .client_status = HPX_E_PARTIAL};
            d.server_status = HPX_E_PARTIAL;
            d.allocator = fa_allocator(&d.memory);
            hpxi_buf_init(&d.to_server, &d.allocator);
            hpxi_buf_init(&d.to_client, &d.allocator);
            if (hpxi_tls_new(&d.client, &client, &d.allocator, NULL) == HPX_OK &&
                hpxi_tls_new(&d.server, &server, &d.allocator, NULL) == HPX_OK &&
                duo_handshake(&d)) {
                hpxi_tls_info info;
                hpxi_tls_get_info(d.client, &info);
                assert_true(info.verified);
                hpxi_buf plain;
                hpxi_buf_init(&plain, &d.allocator);
                (void)duo_receive(&d, true, &plain);
                hpxi_buf_fini(&plain);
            }
            duo_free(&d);
            bed_free(&b); /* with what the cache held before */
            const size_t count = duo_wolf_memory_stop(&live);
            total = i == 0 ? count : total;
        }
        assert_true(total > 20);
    }
}

/* Its clock goes on while the machine sleeps, the shard's does not. */
static void test_resume_when_wolfssl_finds_the_session_too_old_then_a_full_handshake(void **state)
{
    (void)state;
    for (size_t version = 0; version < COUNT_OF(sites); version++) {
        bed b;
        duo d;
        bed_make(&b);
        const hpxi_tls_session_config client = client_of(&sites[version], &b);
        hpxi_tls_session_config other = client;
        bed empty;
        bed_make(&empty);
        other.sessions = empty.cache;
        make(&d, &sites[version], &other); /* for its key */
        assert_false(connect_once(&sites[version], &client));
        const hpxi_tls_found found = hpxi_tls_cache_take(b.cache, d.client->key);
        assert_non_null(found.session);
        hpxi_tls_cache_evict(b.cache, d.client->key);
        assert_int_equal(wolfSSL_SSL_SESSION_set_timeout(found.session, 0), WOLFSSL_SUCCESS);
        hpxi_tls_cache_put(
            b.cache, d.client->key, found.session, found.proof, version == 0, MINUTE);
        hpxi_tls_proof_release(found.proof);
        duo_free(&d);
        bed_free(&empty);
        assert_false(connect_once(&sites[version], &client));
        assert_true(connect_once(&sites[version], &client));
        bed_free(&b);
    }
}

/* ---- The server's side of it ----------------------------------------------------------------- */

static void test_client_hello_offers_resumption_with_a_fresh_key_exchange_only(void **state)
{
    (void)state;
    bed b;
    duo d;
    bed_make(&b);
    const hpxi_tls_session_config client = client_of(&sites[0], &b);
    for (int i = 0; i < 2; i++) {
        make(&d, &sites[0], &client);
        uint8_t *data = NULL;
        size_t size = 0;
        assert_int_equal(
            hpxi_tls_handshake(d.client, &data, &size, &d.to_server, NULL), HPX_E_PARTIAL);
        /* psk_key_exchange_modes (45): two bytes, a list of one, psk_dhe_ke (RFC 8446 4.2.9) */
        static const uint8_t only_dhe[] = {0, 45, 0, 2, 1, 1};
        const hpx_span hello = hpxi_buf_span(&d.to_server);
        assert_non_null(memmem(hello.data, hello.size, only_dhe, sizeof(only_dhe)));
        static const uint8_t early_data[] = {0, 42, 0, 0}; /* never */
        assert_null(memmem(hello.data, hello.size, early_data, sizeof(early_data)));
        duo_free(&d);
        (void)connect_once(&sites[0], &client);
    }
    bed_free(&b);
}

static void test_flood_of_tickets_is_kept_within_bounds(void **state)
{
    (void)state;
    bed b;
    duo_site site = sites[0];
    bed_make(&b);
    hpx_tls_config config = duo_server_config(&site);
    config.ticket_count = 16;
    site.server = duo_server_context(&config);
    const hpxi_tls_session_config client = client_of(&site, &b);
    for (int i = 0; i < 20; i++) {
        (void)connect_once(&site, &client);
        assert_in_range(hpxi_tls_cache_get_stats(b.cache).sessions, 1, HPXI_TLS_TICKETS_MAX);
    }
    hpx_tls_context_release(site.server);
    bed_free(&b);
}

/* ---- Threads --------------------------------------------------------------------------------- */

#define THREADS 64

static pthread_barrier_t all_ready;

static void *resume_many(void *argument)
{
    bed b;
    const duo_site *site = argument;
    b.memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    b.allocator = fa_allocator(&b.memory);
    const uint64_t still = MINUTE;
    const hpxi_tls_cache_config config = {.hosts_max = 4, .now_ns = &still};
    if (hpxi_tls_cache_new(&b.cache, &config, &b.allocator) != HPX_OK) {
        return "no cache";
    }
    (void)pthread_barrier_wait(&all_ready);
    const hpxi_tls_session_config client = client_of(site, &b);
    for (int i = 0; i < 3; i++) {
        if (connect_once(site, &client) != (i != 0)) {
            return "resumed when it should not, or the other way round";
        }
    }
    hpxi_tls_cache_free(b.cache);
    return b.memory.live == 0 ? NULL : "memory was left";
}

static void test_64_threads_handshake_and_resume_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    assert_int_equal(pthread_barrier_init(&all_ready, NULL, THREADS), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, resume_many, &sites[i % 2]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        void *failure = NULL;
        assert_int_equal(pthread_join(threads[i], &failure), 0);
        if (failure != NULL) {
            fail_msg("thread %zu: %s", i, (const char *)failure);
        }
    }
    (void)pthread_barrier_destroy(&all_ready);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        first_seed = strtoull(argv[1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume_of_tls13_uses_each_ticket_once),
        cmocka_unit_test(test_resume_goes_on_with_the_tickets_of_resumed_sessions),
        cmocka_unit_test(test_resume_at_every_cut),
        cmocka_unit_test(test_resume_when_off_then_nothing_is_kept),
        cmocka_unit_test(test_resume_never_between_settings_that_differ_in_one_field),
        cmocka_unit_test(test_resume_checks_the_name_again),
        cmocka_unit_test(test_resume_checks_the_dates_again),
        cmocka_unit_test(test_resume_when_the_chain_expires_soon_then_not_beyond),
        cmocka_unit_test(test_resume_when_verification_fails_then_all_of_that_key_is_forgotten),
        cmocka_unit_test(test_resume_when_a_handshake_ends_unfinished_then_forgotten),
        cmocka_unit_test(test_resume_when_the_server_forgot_then_a_full_handshake),
        cmocka_unit_test(test_resume_when_the_server_changed_its_version_then_it_recovers),
        cmocka_unit_test(test_resume_when_the_nth_allocation_fails_then_nothing_leaks),
        cmocka_unit_test(test_resume_when_wolfssl_finds_the_session_too_old_then_a_full_handshake),
        cmocka_unit_test(test_client_hello_offers_resumption_with_a_fresh_key_exchange_only),
        cmocka_unit_test(test_flood_of_tickets_is_kept_within_bounds),
        cmocka_unit_test(test_64_threads_handshake_and_resume_at_once),
    };
    return cmocka_run_group_tests(tests, resume_setup, resume_teardown);
}

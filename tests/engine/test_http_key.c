/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    Requests that differ in scheme, host, port, SNI, trust, client certificate, verification,
 *         ALPN, proxy or connection-bound identity never share a connection (pitfalls H2); equal
 *         ones do.
 * Method  Property: random origins, each against a copy with one member changed; keys are equal if
 *         and only if the origins are, and read back as written. Then the whole client: pairs of
 *         requests that differ in one thing, counted by the connections that the server sees.
 */
#include <stdio.h>
#include <unistd.h>

#include "engine/http_pack.h"
#include "tests/engine/http_client_bed.h"
#include "tests/support/test.h"

static uint64_t seed;

static uint32_t below(uint32_t limit)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 11) % limit);
}

/* Few letters and short, so that strings run into each other if anything lets them. */
static void random_text(char to[8])
{
    const uint32_t bytes = below(6);
    for (uint32_t i = 0; i < bytes; i++) {
        to[i] = (char)('a' + below(2));
    }
    to[bytes] = '\0';
}

typedef struct sample {
    hpxi_http_origin origin;
    char host[8], server_name[8], proxy[8], identity[8];
} sample;

static void point(sample *s)
{
    s->origin.host = s->host;
    s->origin.server_name = s->server_name;
    s->origin.proxy = s->proxy;
    s->origin.identity = s->identity;
}

static void random_sample(sample *s)
{
    memset(s, 0, sizeof(*s));
    s->origin.is_tls = below(2) != 0;
    s->origin.insecure = below(2) != 0;
    s->origin.version = (hpx_http_version)below(4);
    s->origin.port = (uint16_t)(1 + below(3));
    s->origin.tls = (const hpx_tls_context *)(uintptr_t)(64 * below(3));
    random_text(s->host);
    random_text(s->server_name);
    random_text(s->proxy);
    random_text(s->identity);
    point(s);
}

static bool same(const sample *a, const sample *b)
{
    return a->origin.is_tls == b->origin.is_tls && a->origin.insecure == b->origin.insecure &&
           a->origin.version == b->origin.version && a->origin.port == b->origin.port &&
           a->origin.tls == b->origin.tls && strcmp(a->host, b->host) == 0 &&
           strcmp(a->server_name, b->server_name) == 0 && strcmp(a->proxy, b->proxy) == 0 &&
           strcmp(a->identity, b->identity) == 0;
}

/* One member becomes another's. */
static void change_one(sample *s, const sample *other)
{
    switch (below(9)) {
    case 0:
        s->origin.is_tls = other->origin.is_tls;
        break;
    case 1:
        s->origin.insecure = other->origin.insecure;
        break;
    case 2:
        s->origin.version = other->origin.version;
        break;
    case 3:
        s->origin.port = other->origin.port;
        break;
    case 4:
        s->origin.tls = other->origin.tls;
        break;
    case 5:
        memcpy(s->host, other->host, sizeof(s->host));
        break;
    case 6:
        memcpy(s->server_name, other->server_name, sizeof(s->server_name));
        break;
    case 7:
        memcpy(s->proxy, other->proxy, sizeof(s->proxy));
        break;
    default:
        memcpy(s->identity, other->identity, sizeof(s->identity));
        break;
    }
    point(s);
}

static void test_key_when_one_member_differs_then_another_key(void **state)
{
    (void)state;
    const char *given = getenv("HPX_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : 20240607;
    printf("HPX_SEED=%llu\n", (unsigned long long)seed);
    uint32_t equal = 0;
    for (int i = 0; i < 200000; i++) {
        sample a;
        sample other;
        random_sample(&a);
        random_sample(&other);
        sample b = a;
        point(&b);
        change_one(&b, &other);
        uint8_t key_a[HPXI_HTTP_KEY_BYTES_MAX];
        uint8_t key_b[HPXI_HTTP_KEY_BYTES_MAX];
        const size_t bytes_a = hpxi_http_key_write(key_a, &a.origin);
        const size_t bytes_b = hpxi_http_key_write(key_b, &b.origin);
        const bool keys_equal = bytes_a == bytes_b && memcmp(key_a, key_b, bytes_a) == 0;
        assert_int_equal(keys_equal, same(&a, &b));
        equal += keys_equal;
        sample back = {0};
        hpxi_http_key_read(&back.origin, key_a, bytes_a);
        assert_string_equal(back.origin.host, a.host);
        assert_string_equal(back.origin.server_name, a.server_name);
        assert_string_equal(back.origin.proxy, a.proxy);
        assert_string_equal(back.origin.identity, a.identity);
        assert_int_equal(back.origin.port, a.origin.port);
        assert_ptr_equal(back.origin.tls, a.origin.tls);
        assert_int_equal(back.origin.version, a.origin.version);
        assert_int_equal(back.origin.insecure, a.origin.insecure);
        assert_int_equal(back.origin.is_tls, a.origin.is_tls);
    }
    assert_true(equal > 1000); /* both answers were tried */
}

/* The key that a request gets. */
static hpx_span packed_key(hpxi_buf *buf, hpxi_http_settings *settings, const hpx_http_request *r)
{
    hpxi_buf_consume(buf, hpxi_buf_size(buf));
    assert_int_equal(hpxi_http_pack(buf, settings, r, NULL), HPX_OK);
    hpxi_http_packed *packed = (hpxi_http_packed *)(void *)buf->data;
    hpxi_http_packed_drop(packed);
    return hpxi_http_packed_key(packed);
}

static void test_request_when_it_differs_where_it_matters_then_another_key(void **state)
{
    (void)state;
    hpx_engine *engine = NULL;
    hpxi_http_settings *settings = NULL;
    assert_int_equal(hpx_engine_new(&engine, NULL, NULL), HPX_OK);
    assert_int_equal(hpxi_http_settings_new(&settings, engine, NULL, NULL), HPX_OK);
    hpx_tls_context *contexts[2];
    for (int i = 0; i < 2; i++) { /* another trust, another certificate: another context */
        assert_int_equal(hpx_tls_client_context_new(&contexts[i], NULL, NULL), HPX_OK);
    }
    hpx_http_request rows[11];
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        rows[i] = (hpx_http_request)HPX_HTTP_REQUEST_INIT;
        rows[i].url = "https://a.example/x";
        rows[i].tls = contexts[0];
    }
    rows[1].url = "http://a.example:443/x";
    rows[2].url = "https://b.example/x";
    rows[3].url = "https://a.example:444/x";
    rows[4].tls_server_name = "b.example";
    rows[5].tls = contexts[1];
    hpx_http_request_set_insecure_no_verify(&rows[6]);
    rows[7].version = HPX_HTTP_1_1;
    rows[8].version = HPX_HTTP_2;
    rows[9].identity = "";
    rows[10].identity = "me";
    hpxi_buf bufs[2];
    hpxi_buf_init(&bufs[0], settings->allocator);
    hpxi_buf_init(&bufs[1], settings->allocator);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t k = 0; k < COUNT_OF(rows); k++) {
            const hpx_span a = packed_key(&bufs[0], settings, &rows[i]);
            const hpx_span b = packed_key(&bufs[1], settings, &rows[k]);
            const bool equal = a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
            assert_int_equal(equal, i == k);
        }
    }
    /* And what does not matter: path, case of the host, the default port, the default name. */
    hpx_http_request same_as_0 = rows[0];
    same_as_0.url = "HTTPS://A.Example:443/other?query";
    same_as_0.tls_server_name = "a.example";
    same_as_0.method = "POST";
    same_as_0.user = &same_as_0;
    const hpx_span a = packed_key(&bufs[0], settings, &rows[0]);
    const hpx_span b = packed_key(&bufs[1], settings, &same_as_0);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    hpxi_buf_fini(&bufs[0]);
    hpxi_buf_fini(&bufs[1]);
    hpx_tls_context_release(contexts[0]);
    hpx_tls_context_release(contexts[1]);
    hpxi_http_settings_release(settings);
    hpx_engine_free(engine);
}

static void test_client_when_identities_differ_then_connections_do(void **state)
{
    (void)state;
    static client_bed bed;
    static char text[CLIENT_BED_TEXT_BYTES];
    client_bed_prepare(&bed);
    client_bed_open(&bed);
    static const char *const identities[] = {NULL, "", "a", "b"};
    int fds[COUNT_OF(identities)];
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < COUNT_OF(identities); i++) {
            hpx_http_request request = HPX_HTTP_REQUEST_INIT;
            request.url = "/";
            request.identity = identities[i];
            http_answer *answer = client_bed_send(&bed, &request);
            if (round == 0) {
                fds[i] = client_bed_accept(&bed);
            }
            (void)client_bed_read(&bed, fds[i], "\r\n\r\n", text); /* on its own connection */
            client_bed_write(&bed, fds[i], "HTTP/1.1 204 N\r\n\r\n");
            client_bed_until_end(&bed, answer);
            assert_int_equal(answer->info.reused, round == 1);
        }
    }
    for (size_t i = 0; i < COUNT_OF(identities); i++) {
        close(fds[i]);
    }
    client_bed_close(&bed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_when_one_member_differs_then_another_key),
        cmocka_unit_test(test_request_when_it_differs_where_it_matters_then_another_key),
        cmocka_unit_test(test_client_when_identities_differ_then_connections_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    The session cache finds what was put under the same key and nothing else: each ticket of
 *         TLS 1.3 once and the newest first, a session of TLS 1.2 again and again, nothing expired,
 *         nothing that was evicted, never more hosts or tickets than it may, the least recently
 *         used host gone first; and every reference is given back.
 * Method  Tables for each rule; then random operations beside a plain model, from a seed that is
 *         printed (or given as the argument). Sessions are wolfSSL's own, empty ones, counted by
 *         its allocator.
 */
#include <stdio.h>

#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"
#include "tests/tls/duo.h"

#define HOUR_NS ((uint64_t)3600 * HPX_NS_PER_S)

static uint64_t now_ns;
static failing_allocator memory;
static hpx_allocator allocator;
static uint64_t first_seed = 1;

static hpxi_tls_cache *make_cache(uint32_t hosts_max)
{
    memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    allocator = fa_allocator(&memory);
    now_ns = 1000;
    hpxi_tls_cache *cache = NULL;
    const hpxi_tls_cache_config config = {.hosts_max = hosts_max, .now_ns = &now_ns};
    duo_wolf_memory_start(SIZE_MAX);
    assert_int_equal(hpxi_tls_cache_new(&cache, &config, &allocator), HPX_OK);
    return cache;
}

static void free_cache(hpxi_tls_cache *cache)
{
    ptrdiff_t live = 0;
    hpxi_tls_cache_free(cache);
    (void)duo_wolf_memory_stop(&live);
    assert_int_equal(live, 0);
    assert_int_equal(memory.live, 0);
    assert_int_equal(memory.bytes, 0);
}

static hpxi_tls_key *make_key(uint32_t which)
{
    hpxi_tls_key *key = hpxi_tls_key_new(sizeof(which), &allocator);
    assert_non_null(key);
    memcpy(key->bytes, &which, sizeof(which));
    hpxi_tls_key_seal(key);
    return key;
}

static WOLFSSL_SESSION *
put(hpxi_tls_cache *cache,
    uint32_t which,
    hpxi_tls_proof *proof,
    bool is_once,
    uint64_t lifetime_ns)
{
    WOLFSSL_SESSION *session = wolfSSL_SESSION_new();
    assert_non_null(session);
    hpxi_tls_key *key = make_key(which);
    hpxi_tls_cache_put(cache, key, session, proof, is_once, lifetime_ns);
    hpxi_tls_key_free(key, &allocator);
    return session; /* to compare with: the cache has the reference */
}

/* The session found, to compare with; its references are given back. */
static WOLFSSL_SESSION *take(hpxi_tls_cache *cache, uint32_t which)
{
    hpxi_tls_key *key = make_key(which);
    const hpxi_tls_found found = hpxi_tls_cache_take(cache, key);
    hpxi_tls_key_free(key, &allocator);
    if (found.session != NULL) {
        wolfSSL_SESSION_free(found.session);
    }
    hpxi_tls_proof_release(found.proof);
    return found.session;
}

static void evict(hpxi_tls_cache *cache, uint32_t which)
{
    hpxi_tls_key *key = make_key(which);
    hpxi_tls_cache_evict(cache, key);
    hpxi_tls_key_free(key, &allocator);
}

static void test_cache_when_tickets_are_once_then_newest_first_and_each_once(void **state)
{
    (void)state;
    hpxi_tls_cache *cache = make_cache(4);
    WOLFSSL_SESSION *sessions[HPXI_TLS_TICKETS_MAX + 2];
    for (size_t i = 0; i < COUNT_OF(sessions); i++) {
        sessions[i] = put(cache, 1, NULL, true, HOUR_NS);
    }
    assert_int_equal(hpxi_tls_cache_get_stats(cache).sessions, HPXI_TLS_TICKETS_MAX);
    for (size_t i = 0; i < HPXI_TLS_TICKETS_MAX; i++) {
        assert_ptr_equal(take(cache, 1), sessions[COUNT_OF(sessions) - 1 - i]);
    }
    assert_null(take(cache, 1));
    assert_int_equal(hpxi_tls_cache_get_stats(cache).hosts, 0);
    free_cache(cache);
}

static void test_cache_when_a_session_is_not_once_then_found_again_until_replaced(void **state)
{
    (void)state;
    hpxi_tls_cache *cache = make_cache(4);
    WOLFSSL_SESSION *first = put(cache, 1, NULL, false, HOUR_NS);
    for (int i = 0; i < 5; i++) {
        assert_ptr_equal(take(cache, 1), first);
    }
    WOLFSSL_SESSION *second = put(cache, 1, NULL, false, HOUR_NS);
    assert_int_equal(hpxi_tls_cache_get_stats(cache).sessions, 1);
    assert_ptr_equal(take(cache, 1), second);
    WOLFSSL_SESSION *ticket = put(cache, 1, NULL, true, HOUR_NS); /* the server learnt TLS 1.3 */
    assert_int_equal(hpxi_tls_cache_get_stats(cache).sessions, 1);
    assert_ptr_equal(take(cache, 1), ticket);
    assert_null(take(cache, 1));
    free_cache(cache);
}

static void test_cache_when_the_lifetime_is_over_then_not_found(void **state)
{
    (void)state;
    hpxi_tls_cache *cache = make_cache(4);
    (void)put(cache, 1, NULL, true, 0); /* RFC 8446 4.6.1: to be discarded at once */
    assert_int_equal(hpxi_tls_cache_get_stats(cache).sessions, 0);
    (void)put(cache, 1, NULL, true, HOUR_NS);
    now_ns += HOUR_NS;
    assert_null(take(cache, 1));
    assert_int_equal(hpxi_tls_cache_get_stats(cache).sessions, 0);
    WOLFSSL_SESSION *session = put(cache, 1, NULL, true, HOUR_NS);
    now_ns += HOUR_NS - 1;
    assert_ptr_equal(take(cache, 1), session);
    (void)put(cache, 2, NULL, false, UINT64_MAX);
    now_ns += HPXI_TLS_SESSION_NS_MAX; /* however long the server said */
    assert_null(take(cache, 2));
    /* An old one under a new one does not come up when the new one is used. */
    (void)put(cache, 3, NULL, true, 1);
    session = put(cache, 3, NULL, true, HOUR_NS);
    now_ns += 1;
    assert_ptr_equal(take(cache, 3), session);
    assert_null(take(cache, 3));
    free_cache(cache);
}

static void test_cache_when_full_then_the_least_recently_used_host_goes(void **state)
{
    (void)state;
    hpxi_tls_cache *cache = make_cache(3);
    for (uint32_t i = 1; i <= 3; i++) {
        (void)put(cache, i, NULL, false, HOUR_NS);
    }
    assert_non_null(take(cache, 1));
    (void)put(cache, 4, NULL, false, HOUR_NS); /* 2 was used least recently */
    assert_null(take(cache, 2));
    assert_non_null(take(cache, 1));
    assert_non_null(take(cache, 3));
    assert_non_null(take(cache, 4));
    (void)put(cache, 1, NULL, false, HOUR_NS); /* a put is a use as well */
    (void)put(cache, 5, NULL, false, HOUR_NS);
    assert_null(take(cache, 3));
    const hpxi_tls_cache_stats stats = hpxi_tls_cache_get_stats(cache);
    assert_int_equal(stats.hosts, 3);
    assert_int_equal(stats.sessions, 3);
    assert_int_equal(stats.evicted, 2);
    assert_int_equal(stats.hits, 4);
    assert_int_equal(stats.misses, 2);
    free_cache(cache);
}

static void test_cache_when_evicted_then_all_tickets_of_that_key_are_gone(void **state)
{
    (void)state;
    hpxi_tls_cache *cache = make_cache(4);
    (void)put(cache, 1, NULL, true, HOUR_NS);
    (void)put(cache, 1, NULL, true, HOUR_NS);
    WOLFSSL_SESSION *other = put(cache, 2, NULL, true, HOUR_NS);
    evict(cache, 1);
    evict(cache, 3);
    assert_null(take(cache, 1));
    assert_ptr_equal(take(cache, 2), other);
    free_cache(cache);
}

static void test_cache_when_the_leaf_changes_then_sessions_of_the_old_one_are_dropped(void **state)
{
    (void)state;
    hpxi_tls_cache *cache = make_cache(4);
    hpxi_tls_proof *a = hpxi_tls_proof_new((const uint8_t *)"leaf a", 6, 1);
    hpxi_tls_proof *same = hpxi_tls_proof_new((const uint8_t *)"leaf a", 6, 1);
    hpxi_tls_proof *b = hpxi_tls_proof_new((const uint8_t *)"leaf b", 6, 1);
    (void)put(cache, 1, a, true, HOUR_NS);
    (void)put(cache, 1, same, true, HOUR_NS);
    assert_int_equal(hpxi_tls_cache_get_stats(cache).sessions, 2);
    WOLFSSL_SESSION *session = put(cache, 1, b, true, HOUR_NS);
    assert_int_equal(hpxi_tls_cache_get_stats(cache).sessions, 1);
    hpxi_tls_key *key = make_key(1);
    const hpxi_tls_found found = hpxi_tls_cache_take(cache, key);
    assert_ptr_equal(found.session, session);
    assert_memory_equal(found.proof->leaf, "leaf b", 6);
    assert_null(take(cache, 1));
    wolfSSL_SESSION_free(found.session);
    hpxi_tls_proof_release(found.proof);
    hpxi_tls_key_free(key, &allocator);
    hpxi_tls_proof_release(a);
    hpxi_tls_proof_release(same);
    hpxi_tls_proof_release(b);
    free_cache(cache);
}

static void test_cache_when_memory_fails_then_no_cache_or_nothing_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        failing_allocator failing = {.fail_at = i};
        const hpx_allocator poor = fa_allocator(&failing);
        const hpxi_tls_cache_config config = {.hosts_max = 4, .now_ns = &now_ns};
        hpxi_tls_cache *none = (hpxi_tls_cache *)1;
        assert_int_equal(hpxi_tls_cache_new(&none, &config, &poor), HPX_E_NO_MEMORY);
        assert_null(none);
        assert_int_equal(failing.live, 0);
    }
    hpxi_tls_cache *cache = make_cache(1);
    WOLFSSL_SESSION *first = put(cache, 1, NULL, true, HOUR_NS);
    hpxi_tls_key *key = make_key(2);
    memory.fail_at = memory.count;
    hpxi_tls_cache_put(cache, key, wolfSSL_SESSION_new(), NULL, true, HOUR_NS);
    memory.fail_at = SIZE_MAX;
    hpxi_tls_key_free(key, &allocator);
    assert_null(take(cache, 2));
    assert_ptr_equal(take(cache, 1), first); /* who was there did not have to make room */
    free_cache(cache);
}

/* ---- Beside a model -------------------------------------------------------------------------- */

#define MODEL_KEYS  12u
#define MODEL_HOSTS 5u

typedef struct model_host {
    bool is_once;
    size_t count;
    uint64_t used; /* a counter of uses: the smallest is the least recent */
    WOLFSSL_SESSION *sessions[HPXI_TLS_TICKETS_MAX];
    uint64_t expires_ns[HPXI_TLS_TICKETS_MAX];
} model_host;

typedef struct model {
    model_host hosts[MODEL_KEYS];
    uint64_t uses;
} model;

static void model_remove(model_host *host, size_t i)
{
    host->count--;
    for (; i < host->count; i++) {
        host->sessions[i] = host->sessions[i + 1];
        host->expires_ns[i] = host->expires_ns[i + 1];
    }
}

static void model_put(model *m, uint32_t which, WOLFSSL_SESSION *session, bool once, uint64_t life)
{
    model_host *host = &m->hosts[which];
    if (host->count == 0) {
        size_t held = 0;
        model_host *oldest = NULL;
        for (size_t i = 0; i < MODEL_KEYS; i++) {
            model_host *other = &m->hosts[i];
            held += other->count != 0;
            if (other->count != 0 && (oldest == NULL || other->used < oldest->used)) {
                oldest = other;
            }
        }
        if (held == MODEL_HOSTS) {
            oldest->count = 0;
        }
    }
    if (!once || host->is_once != once) {
        host->count = 0;
    }
    if (host->count == HPXI_TLS_TICKETS_MAX) {
        model_remove(host, 0);
    }
    host->is_once = once;
    host->sessions[host->count] = session;
    host->expires_ns[host->count++] = now_ns + life;
    host->used = ++m->uses;
}

static WOLFSSL_SESSION *model_take(model *m, uint32_t which)
{
    model_host *host = &m->hosts[which];
    for (size_t i = host->count; i-- > 0;) {
        if (host->expires_ns[i] <= now_ns) {
            model_remove(host, i);
        }
    }
    if (host->count == 0) {
        return NULL;
    }
    host->used = ++m->uses;
    WOLFSSL_SESSION *session = host->sessions[host->count - 1];
    host->count -= host->is_once;
    return session;
}

static void run_beside_model(uint64_t seed)
{
    model m = {0};
    hpxi_tls_cache *cache = make_cache(MODEL_HOSTS);
    for (int step = 0; step < 2000; step++) {
        const uint64_t r = duo_random(&seed);
        const uint32_t which = (uint32_t)(r >> 8) % MODEL_KEYS;
        if (r % 16 < 7) {
            const bool once = (r >> 40) % 4 != 0;
            const uint64_t life = 1 + (r >> 20) % 300;
            model_put(&m, which, put(cache, which, NULL, once, life), once, life);
        } else if (r % 16 < 14) {
            assert_ptr_equal(take(cache, which), model_take(&m, which));
        } else if (r % 16 < 15) {
            evict(cache, which);
            m.hosts[which].count = 0;
        } else {
            now_ns += (r >> 20) % 100;
        }
        uint32_t sessions = 0;
        uint32_t hosts = 0;
        for (size_t i = 0; i < MODEL_KEYS; i++) {
            sessions += (uint32_t)m.hosts[i].count;
            hosts += m.hosts[i].count != 0;
        }
        const hpxi_tls_cache_stats stats = hpxi_tls_cache_get_stats(cache);
        assert_int_equal(stats.sessions, sessions);
        assert_int_equal(stats.hosts, hosts);
    }
    free_cache(cache);
}

static void test_cache_beside_a_model_agrees_at_every_step(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + 50; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_beside_model(seed);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        first_seed = strtoull(argv[1], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_when_tickets_are_once_then_newest_first_and_each_once),
        cmocka_unit_test(test_cache_when_a_session_is_not_once_then_found_again_until_replaced),
        cmocka_unit_test(test_cache_when_the_lifetime_is_over_then_not_found),
        cmocka_unit_test(test_cache_when_full_then_the_least_recently_used_host_goes),
        cmocka_unit_test(test_cache_when_evicted_then_all_tickets_of_that_key_are_gone),
        cmocka_unit_test(test_cache_when_the_leaf_changes_then_sessions_of_the_old_one_are_dropped),
        cmocka_unit_test(test_cache_when_memory_fails_then_no_cache_or_nothing_kept),
        cmocka_unit_test(test_cache_beside_a_model_agrees_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

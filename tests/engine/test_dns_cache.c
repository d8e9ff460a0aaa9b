/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the cache of the resolver forgets what it must and keeps what it may.
 * Method: a long random sequence of puts, finds and steps of the clock, next to a model that keeps
 * its entries in one array in order of use. Few hosts, so that every case comes often.
 */
#include <stdio.h>

#include "engine/dns_cache.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define HOSTS 24u

typedef struct model_entry {
    uint32_t host;
    uint32_t value;
    uint64_t expires_ns;
} model_entry;

typedef struct model {
    uint32_t limit;
    uint32_t count;
    model_entry entries[HOSTS]; /* newest first */
} model;

static uint64_t random_next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static void model_remove(model *m, uint32_t at)
{
    memmove(&m->entries[at], &m->entries[at + 1], (m->count - at - 1) * sizeof(model_entry));
    m->count--;
}

static void model_push(model *m, model_entry entry)
{
    if (m->count == m->limit) {
        m->count--;
    }
    memmove(&m->entries[1], &m->entries[0], m->count * sizeof(model_entry));
    m->entries[0] = entry;
    m->count++;
}

static uint32_t model_index(const model *m, uint32_t host)
{
    uint32_t at = 0;
    while (at < m->count && m->entries[at].host != host) {
        at++;
    }
    return at;
}

/* 0: not there. */
static uint32_t model_find(model *m, uint32_t host, uint64_t now_ns)
{
    const uint32_t at = model_index(m, host);
    if (at == m->count) {
        return 0;
    }
    const model_entry entry = m->entries[at];
    model_remove(m, at);
    if (now_ns >= entry.expires_ns) {
        return 0;
    }
    model_push(m, entry);
    return entry.value;
}

static void compare(uint32_t limit, uint64_t seed)
{
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    hpxi_dns_cache *cache = hpxi_dns_cache_new(limit, &allocator);
    assert_non_null(cache);
    const size_t allocations = fa.count;
    model m = {.limit = limit};
    uint64_t now_ns = 1;
    for (uint32_t step = 0; step < 20000; step++) {
        const uint32_t host = (uint32_t)random_next(&seed) % HOSTS;
        char name[32];
        snprintf(name, sizeof(name), "host%u.test", host);
        now_ns += random_next(&seed) % 3;
        if (random_next(&seed) % 3 == 0) {
            const uint64_t expires_ns = now_ns + random_next(&seed) % 100;
            const hpxi_addresses put = {.count = 1, .list[0] = {.u.v4.sin_addr.s_addr = step + 1}};
            hpxi_dns_cache_put(cache, name, &put, expires_ns);
            const uint32_t at = model_index(&m, host);
            if (at < m.count) {
                model_remove(&m, at);
            }
            model_push(&m, (model_entry){host, step + 1, expires_ns});
            continue;
        }
        const hpxi_addresses *found = hpxi_dns_cache_find(cache, name, now_ns);
        const uint32_t value = found == NULL ? 0 : found->list[0].u.v4.sin_addr.s_addr;
        assert_int_equal(value, model_find(&m, host, now_ns));
    }
    assert_int_equal(fa.count, allocations);
    hpxi_dns_cache_free(cache);
    assert_int_equal(fa.live, 0);
}

static void test_cache_when_used_at_random_then_same_as_model(void **state)
{
    (void)state;
    static const uint32_t limits[] = {1, 2, 3, 8, 16, HOSTS};
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        for (uint64_t seed = 1; seed <= 5; seed++) {
            compare(limits[i], seed);
        }
    }
}

static void new_scenario(hpx_allocator allocator, bool expect_success)
{
    hpxi_dns_cache *cache = hpxi_dns_cache_new(5, &allocator);
    assert_int_equal(cache != NULL, expect_success);
    hpxi_dns_cache_free(cache);
}

static void test_cache_new_when_any_allocation_fails_then_no_leak(void **state)
{
    (void)state;
    fa_exhaust(new_scenario);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cache_when_used_at_random_then_same_as_model),
        cmocka_unit_test(test_cache_new_when_any_allocation_fails_then_no_leak),
    };
    return cmocka_run_group_tests_name("engine/dns_cache", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    A dialect at work allocates nothing: one block when it is made, whatever it is then
 * asked. Method  The C library's allocator is replaced by one that counts (not under a sanitizer,
 * which replaces it itself), and the dialect's by another.
 */
#include <stdatomic.h>

#include "engine/protocol.h"
#include "tests/engine/dialect_bed.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#if defined(__SANITIZE_ADDRESS__)
#define COUNTS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define COUNTS 0
#endif
#endif
#ifndef COUNTS
#define COUNTS 1
#endif

static _Atomic size_t allocations;

#if COUNTS
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t align, size_t size);

__attribute__((visibility("default"))) void *malloc(size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_malloc(size);
}

__attribute__((visibility("default"))) void *calloc(size_t count, size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void *realloc(void *block, size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_realloc(block, size);
}

__attribute__((visibility("default"))) void *aligned_alloc(size_t align, size_t size)
{
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    return __libc_memalign(align, size);
}
#endif

static const char *const messages[] = {
    "{\"method\":\"subscription\",\"params\":{\"channel\":\"trades\\/BTC\",\"data\":[[{}]]}}",
    "{\"id\":\"a\\u0062\",\"error\":{\"message\":\"\\u20ac\"}}",
    "{\"id\":1e3,\"result\":[\"a\",\"b\"]}",
    "{\"topic\":\"a\\/b\",\"data\":1}",
    "{\"ping\":\"x\"}",
    "{\"id\":1,\"result\":\"\xFF\"}",
    "{[",
    "ping",
};

/* All that a driver can ask. */
static void ask_everything(const hpx_protocol *protocol)
{
    uint8_t out[512];
    const hpx_span topics[] = {hpx_span_of("a"), hpx_span_of("b\n")};
    bool accepted[2];
    for (size_t i = 0; i < COUNT_OF(messages); i++) {
        const hpx_span text = hpx_span_of(messages[i]);
        hpx_classified said = {0};
        hpx_splice splice;
        hpx_writer writer = {.data = out, .capacity = sizeof(out)};
        protocol->classify(protocol->ctx, text, &said);
        (void)protocol->inject_request_id(protocol->ctx, text, 7, &splice);
        if (protocol->subscription_result != NULL) {
            protocol->subscription_result(protocol->ctx, text, topics, 2, accepted);
        }
        assert_int_equal(protocol->build_pong(protocol->ctx, text, 7, &writer), 1);
        assert_int_equal(protocol->build_ping(protocol->ctx, 7, &writer), 1);
        assert_int_equal(protocol->build_auth(protocol->ctx, 7, &writer), 1);
        assert_int_equal(protocol->build_on_connect(protocol->ctx, 0, 7, &writer), 1);
        assert_int_equal(protocol->build_subscribe(protocol->ctx, 7, topics, 2, &writer), 1);
        assert_int_equal(protocol->build_unsubscribe(protocol->ctx, 7, topics, 2, &writer), 1);
        assert_false(writer.overflow);
    }
}

static void check_steady(hpx_protocol *protocol, const failing_allocator *fa)
{
    assert_int_equal(fa->count, 1);
    ask_everything(protocol);
    const size_t before = allocations;
    for (int turn = 0; turn < 100; turn++) {
        ask_everything(protocol);
    }
    assert_int_equal(allocations, before);
    assert_int_equal(fa->count, 1);
    hpx_protocol_free(protocol);
    assert_int_equal(fa->live, 0);
}

static void test_dialects_when_at_work_then_nothing_is_allocated(void **state)
{
    (void)state;
    static const char *const on_connect[] = {"{}"};
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    hpx_allocator allocator = fa_allocator(&fa);
    hpx_protocol *protocol = NULL;
    hpx_json_rpc_config rpc = HPX_JSON_RPC_CONFIG_INIT;
    rpc.auth_params = "{}";
    rpc.on_connect = on_connect;
    rpc.on_connect_count = 1;
    const size_t before = allocations;
    assert_int_equal(hpxi_protocol_json_rpc_new(&protocol, &rpc, &allocator, NULL), HPX_OK);
    assert_int_equal(allocations - before, COUNTS); /* so the counter counts */
    check_steady(protocol, &fa);

    failing_allocator other = FAILING_ALLOCATOR_NEVER;
    allocator = fa_allocator(&other);
    hpx_json_config json = HPX_JSON_CONFIG_INIT;
    json.auth = "{\"id\":${id}}";
    json.ping = "ping";
    json.ping_rule = "ping";
    json.ping_value_field = "ping";
    json.pong = "{\"pong\":${ping}}";
    json.on_connect = on_connect;
    json.on_connect_count = 1;
    assert_int_equal(hpxi_protocol_json_new(&protocol, &json, &allocator, NULL), HPX_OK);
    check_steady(protocol, &other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dialects_when_at_work_then_nothing_is_allocated),
    };
    return cmocka_run_group_tests_name("engine/protocol_steady", tests, NULL, NULL);
}

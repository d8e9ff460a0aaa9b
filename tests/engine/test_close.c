/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a close is honoured in every state (P7), a released handle closes within a second (P8),
 * and each connection has exactly one DISCONNECTED and one CLOSED, in that order, last (P11).
 * Method: a server of the test's own that stops talking at a chosen point; the connection is
 * closed, released, or left to its deadline there. Descriptors and the allocator's live blocks are
 * counted before and after.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hpx/hpx.h>

#include "raw_server.h"
#include "tests/support/descriptors.h"
#include "tests/support/test.h"

#define WAIT_NS (10 * HPX_NS_PER_S)

/* ---- An engine whose blocks are counted ------------------------------------------------------ */

static _Atomic int64_t live_blocks;

static void *count_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    atomic_fetch_add(&live_blocks, 1);
    const size_t least = align < sizeof(void *) ? sizeof(void *) : align;
    return aligned_alloc(least, (size + least - 1) / least * least);
}

static void count_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    atomic_fetch_sub(&live_blocks, 1);
    free(block);
}

typedef struct rig {
    hpx_engine *engine;
    hpx_port *port;
    raw_server peer;
    unsigned descriptors_before;
} rig;

static void rig_open(rig *r, raw_mode mode)
{
    r->descriptors_before = test_descriptors();
    raw_server_open(&r->peer, mode);
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.allocator = (hpx_allocator){.alloc = count_alloc, .free = count_free};
    config.wait_mode = HPX_WAIT_SLEEP;
    hpx_error error = {0};
    assert_int_equal(hpx_engine_new(&r->engine, &config, &error), HPX_OK);
    assert_int_equal(hpx_engine_start(r->engine, &error), HPX_OK);
    assert_int_equal(hpx_port_open(&r->port, r->engine, NULL, &error), HPX_OK);
}

/* Waits for the shard to have no connection; returns how long it took. */
static uint64_t rig_wait_empty(rig *r)
{
    const uint64_t start = hpx_clock_now_ns();
    hpx_shard_stats stats;
    do {
        hpx_shard_get_stats(hpx_engine_shard(r->engine, 0), &stats);
        if (hpx_clock_now_ns() - start > WAIT_NS) {
            fail_msg("%llu connections are left", (unsigned long long)stats.connections);
        }
    } while (stats.connections != 0);
    return hpx_clock_now_ns() - start;
}

static void rig_close(rig *r)
{
    (void)rig_wait_empty(r);
    hpx_port_close(r->port);
    assert_int_equal(hpx_engine_stop_wait(r->engine, HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(r->engine);
    raw_server_close(&r->peer);
    assert_int_equal(atomic_load(&live_blocks), 0);
    assert_int_equal(test_descriptors(), r->descriptors_before);
}

static void rig_connect(rig *r, const char *scheme, hpx_handle **handle, hpx_stream **stream)
{
    char url[64];
    (void)snprintf(url, sizeof(url), "%s://127.0.0.1:%u/", scheme, r->peer.port);
    hpx_ws_config ws = HPX_WS_CONFIG_INIT;
    ws.url = url;
    hpx_error error = {0};
    if (hpx_ws_connect(r->port, &ws, handle, stream, &error) != HPX_OK) {
        fail_msg("connect: %s", error.detail);
    }
}

static void wait_state(const hpx_handle *handle, hpx_conn_state state)
{
    const uint64_t start = hpx_clock_now_ns();
    while (hpx_handle_state(handle) != state) {
        if (hpx_clock_now_ns() - start > WAIT_NS) {
            fail_msg(
                "state is %s, not %s",
                hpx_conn_state_name(hpx_handle_state(handle)),
                hpx_conn_state_name(state));
        }
    }
}

/* The stream's end: [CONNECTED] DISCONNECTED CLOSED, nothing else, nothing more. */
static void expect_end(hpx_stream *stream, bool was_connected, hpx_status status, hpx_stage stage)
{
    hpx_event event;
    if (was_connected) {
        assert_int_equal(hpx_stream_wait(stream, &event, WAIT_NS), 1);
        assert_int_equal(event.kind, HPX_EVENT_CONNECTED);
    }
    assert_int_equal(hpx_stream_wait(stream, &event, WAIT_NS), 1);
    assert_int_equal(event.kind, HPX_EVENT_DISCONNECTED);
    if (event.error->status != status) {
        fail_msg("%s: %s", hpx_status_name(event.error->status), event.error->detail);
    }
    assert_int_equal(event.error->stage, stage);
    assert_int_equal(hpx_stream_wait(stream, &event, WAIT_NS), 1);
    assert_int_equal(event.kind, HPX_EVENT_CLOSED);
    assert_int_equal(event.error->status, status);
    assert_int_equal(hpx_stream_wait(stream, &event, 0), HPX_E_CLOSED);
    assert_int_equal(hpx_stream_next(stream, &event), HPX_E_CLOSED);
}

static void close_in(raw_mode mode, const char *scheme, hpx_conn_state state, hpx_status status)
{
    rig r;
    rig_open(&r, mode);
    hpx_handle *handle = NULL;
    hpx_stream *stream = NULL;
    rig_connect(&r, scheme, &handle, &stream);
    wait_state(handle, state);
    const uint64_t start = hpx_clock_now_ns();
    assert_int_equal(hpx_handle_close(handle, 1000, (hpx_span){0}), HPX_OK);
    assert_int_equal(hpx_handle_close(handle, 1000, (hpx_span){0}), HPX_OK); /* again: no harm */
    expect_end(stream, state == HPX_CONN_READY, status, HPX_STAGE_CLOSE);
    assert_true(hpx_clock_now_ns() - start < HPX_NS_PER_S);
    assert_int_equal(hpx_handle_state(handle), HPX_CONN_CLOSED);
    const hpx_span payload = hpx_span_of("late");
    assert_int_equal(hpx_handle_send(handle, HPX_MESSAGE_TEXT, payload), HPX_E_NOT_CONNECTED);
    hpx_handle_release(handle);
    hpx_stream_release(stream);
    rig_close(&r);
}

static void test_close_when_tls_is_silent_then_ends(void **state)
{
    (void)state;
    close_in(RAW_SILENT_ACCEPT, "wss", HPX_CONN_TLS_HANDSHAKE, HPX_E_ABORTED);
}

static void test_close_when_upgrade_is_silent_then_ends(void **state)
{
    (void)state;
    close_in(RAW_SILENT_UPGRADE, "ws", HPX_CONN_UPGRADING, HPX_E_ABORTED);
}

static void test_close_when_ready_and_answered_then_orderly(void **state)
{
    (void)state;
    close_in(RAW_ANSWERS_CLOSE, "ws", HPX_CONN_READY, HPX_OK);
}

static void test_close_when_ready_and_not_answered_then_timeout(void **state)
{
    (void)state;
    close_in(RAW_SILENT_CLOSE, "ws", HPX_CONN_READY, HPX_E_CLOSE_TIMEOUT);
}

/* At once after connect: the shard may be resolving, connecting or further on. */
static void test_close_when_just_begun_then_ends(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, RAW_SILENT_UPGRADE);
    for (unsigned i = 0; i < 200; i++) {
        hpx_handle *handle = NULL;
        hpx_stream *stream = NULL;
        rig_connect(&r, "ws", &handle, &stream);
        assert_int_equal(hpx_handle_close(handle, 0, (hpx_span){0}), HPX_OK);
        expect_end(stream, false, HPX_E_ABORTED, HPX_STAGE_CLOSE);
        hpx_stream_release(stream);
        hpx_handle_release(handle);
    }
    rig_close(&r);
}

static void release_in(raw_mode mode, const char *scheme, hpx_conn_state state)
{
    rig r;
    rig_open(&r, mode);
    hpx_handle *handle = NULL;
    hpx_stream *stream = NULL;
    rig_connect(&r, scheme, &handle, &stream);
    wait_state(handle, state);
    hpx_handle_release(handle);
    assert_true(rig_wait_empty(&r) < HPX_NS_PER_S);
    hpx_stream_release(stream); /* with events not taken */
    rig_close(&r);
}

static void test_release_when_in_any_state_then_gone_within_a_second(void **state)
{
    (void)state;
    release_in(RAW_SILENT_ACCEPT, "wss", HPX_CONN_TLS_HANDSHAKE);
    release_in(RAW_SILENT_UPGRADE, "ws", HPX_CONN_UPGRADING);
    release_in(RAW_ANSWERS_CLOSE, "ws", HPX_CONN_READY);
    release_in(RAW_SILENT_CLOSE, "ws", HPX_CONN_READY);
}

static void test_port_close_when_handles_are_open_then_they_are_released(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, RAW_ANSWERS_CLOSE);
    hpx_handle *handle = NULL;
    hpx_stream *stream = NULL;
    rig_connect(&r, "ws", &handle, &stream);
    wait_state(handle, HPX_CONN_READY);
    hpx_port_close(r.port);
    r.port = NULL;
    assert_true(rig_wait_empty(&r) < HPX_NS_PER_S);
    rig_close(&r);
}

static void test_engine_stop_when_ready_then_stream_still_tells(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, RAW_ANSWERS_CLOSE);
    hpx_handle *handle = NULL;
    hpx_stream *stream = NULL;
    rig_connect(&r, "ws", &handle, &stream);
    wait_state(handle, HPX_CONN_READY);
    assert_int_equal(hpx_engine_stop_wait(r.engine, WAIT_NS), HPX_OK);
    expect_end(stream, true, HPX_OK, HPX_STAGE_CLOSE);
    hpx_port_close(r.port); /* releases both */
    hpx_engine_free(r.engine);
    raw_server_close(&r.peer);
    assert_int_equal(atomic_load(&live_blocks), 0);
    assert_int_equal(test_descriptors(), r.descriptors_before);
}

static void test_engine_stop_when_deadline_passes_then_aborted(void **state)
{
    (void)state;
    rig r;
    rig_open(&r, RAW_SILENT_CLOSE);
    hpx_handle *handle = NULL;
    hpx_stream *stream = NULL;
    rig_connect(&r, "ws", &handle, &stream);
    wait_state(handle, HPX_CONN_READY);
    assert_int_equal(hpx_engine_stop_wait(r.engine, HPX_NS_PER_MS), HPX_E_TIMEOUT);
    expect_end(stream, true, HPX_E_ABORTED, HPX_STAGE_CLOSE);
    hpx_port_close(r.port);
    hpx_engine_free(r.engine);
    raw_server_close(&r.peer);
    assert_int_equal(atomic_load(&live_blocks), 0);
    assert_int_equal(test_descriptors(), r.descriptors_before);
}

/* Stopping races with the last connection's end: a stopped shard must not go to sleep. */
static void test_engine_free_when_running_then_returns(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        rig r;
        rig_open(&r, RAW_ANSWERS_CLOSE);
        hpx_handle *handle = NULL;
        hpx_stream *stream = NULL;
        rig_connect(&r, "ws", &handle, &stream);
        if (i % 2 == 0) {
            wait_state(handle, HPX_CONN_READY);
        }
        hpx_handle_release(handle);
        hpx_port_close(r.port);
        hpx_engine_free(r.engine);
        raw_server_close(&r.peer);
        assert_int_equal(atomic_load(&live_blocks), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_when_tls_is_silent_then_ends),
        cmocka_unit_test(test_close_when_upgrade_is_silent_then_ends),
        cmocka_unit_test(test_close_when_ready_and_answered_then_orderly),
        cmocka_unit_test(test_close_when_ready_and_not_answered_then_timeout),
        cmocka_unit_test(test_close_when_just_begun_then_ends),
        cmocka_unit_test(test_release_when_in_any_state_then_gone_within_a_second),
        cmocka_unit_test(test_port_close_when_handles_are_open_then_they_are_released),
        cmocka_unit_test(test_engine_stop_when_ready_then_stream_still_tells),
        cmocka_unit_test(test_engine_stop_when_deadline_passes_then_aborted),
        cmocka_unit_test(test_engine_free_when_running_then_returns),
    };
    return cmocka_run_group_tests_name("engine/close", tests, NULL, NULL);
}

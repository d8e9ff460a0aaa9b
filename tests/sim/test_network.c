/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the simulated network does what Linux does where the engine could tell, and each fault is
 * the fault that its name says.
 * Method: a ring and bare descriptors, no engine; faults that are certain.
 */
#include <errno.h>
#include <string.h>

#include "bed.h"
#include "ring/alloc.h"
#include "ring/doorbell.h"
#include "ring/net.h"
#include "ring/ring.h"
#include "tests/support/test.h"

#define MS         HPX_NS_PER_MS
#define SLOTS      8u
#define SLOT_BYTES 64u
#define CQ_ENTRIES 16u

typedef struct net {
    hpxi_sim_config config;
    failing_allocator memory;
    hpx_allocator allocator;
    hpxi_counters counters;
    hpxi_ring *ring;
    int listener, client, server;
    uint32_t tokens;
} net;

static void net_begin(net *n)
{
    memset(n, 0, sizeof(*n));
    n->config = (hpxi_sim_config){
        .seed = 7,
        .start_ns = HPX_NS_PER_S,
        .delay_min_ns = 1000,
        .delay_max_ns = 1000,
        .delay_slow_ns = 1000,
        .late_ns = MS,
        .retransmit_ns = 300 * MS,
        .window_bytes = 1000,
        .segment_bytes = 100};
}

static void net_open(net *n)
{
    hpxi_sim_begin(&n->config, NULL);
    n->memory.fail_at = SIZE_MAX;
    n->allocator = fa_allocator(&n->memory);
    const hpxi_ring_config config = {
        .sq_entries = 8,
        .cq_entries = CQ_ENTRIES,
        .slot_bytes = SLOT_BYTES,
        .slot_count = SLOTS,
        .ops_max = 64};
    hpx_error error;
    assert_int_equal(hpxi_ring_new(&n->ring, &config, &n->counters, &n->allocator, &error), HPX_OK);
    hpxi_address address;
    assert_true(hpxi_address_parse(&address, "10.0.0.1", 0));
    n->listener = hpxi_net_tcp_listen(&address, 10, false);
    assert_true(n->listener >= 0);
}

static void net_close(net *n)
{
    hpxi_ring_free(n->ring, 0);
    (void)hpxi_sim_end();
    assert_int_equal(n->memory.live, 0);
}

static hpxi_token net_token(net *n, hpxi_op op)
{
    return hpxi_token_make(op, 1, n->tokens++);
}

/* The next completion within `ns`. */
static bool net_next(net *n, uint64_t ns, hpxi_completion *out)
{
    const uint64_t until = hpxi_sim_now_ns() + ns;
    while (!hpxi_ring_next(n->ring, out)) {
        if (hpxi_sim_now_ns() == until) {
            return false;
        }
        assert_true(hpxi_ring_wait(n->ring, until - hpxi_sim_now_ns()) >= 0);
    }
    return true;
}

static hpxi_completion net_expect(net *n, hpxi_op op)
{
    hpxi_completion completion = {0};
    assert_true(net_next(n, 1000 * MS, &completion));
    assert_int_equal(completion.op, op);
    return completion;
}

static int net_dial(net *n, int result)
{
    hpxi_address address;
    const int fd = hpxi_net_tcp_socket(AF_INET, 0);
    assert_true(fd >= 0);
    assert_int_equal(hpxi_net_local(n->listener, &address), 0);
    hpxi_ring_connect(n->ring, net_token(n, HPXI_OP_CONNECT), fd, &address);
    assert_int_equal(net_expect(n, HPXI_OP_CONNECT).result, result);
    return fd;
}

/* A client and a server, connected. */
static void net_pair(net *n)
{
    net_open(n);
    n->client = net_dial(n, 0);
    hpxi_ring_accept(n->ring, net_token(n, HPXI_OP_ACCEPT), n->listener);
    const hpxi_completion accepted = net_expect(n, HPXI_OP_ACCEPT);
    assert_true(accepted.more);
    n->server = accepted.result;
}

/* Lets what is on its way arrive. */
static void net_settle(net *n)
{
    hpxi_completion completion;
    assert_false(net_next(n, 10 * MS, &completion));
}

static void test_network_when_bytes_are_sent_then_they_arrive_in_order(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    n.config.segment_bytes = 7;
    n.config.delay_max_ns = MS;
    n.config.chances[HPXI_SIM_SHORT_RECV] = HPXI_SIM_CERTAIN;
    n.config.chances[HPXI_SIM_SHORT_SEND] = HPXI_SIM_CERTAIN;
    net_pair(&n);
    uint8_t data[600];
    for (size_t i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t)(i * 31);
    }
    hpxi_ring_recv(n.ring, net_token(&n, HPXI_OP_RECV), n.server);
    size_t sent = 0, got = 0;
    while (got < sizeof(data)) {
        if (sent < sizeof(data)) {
            const ptrdiff_t took = hpxi_net_send(n.client, data + sent, sizeof(data) - sent);
            assert_true(took > 0 || took == -EAGAIN);
            sent += took > 0 ? (size_t)took : 0;
        }
        const hpxi_completion bytes = net_expect(&n, HPXI_OP_RECV);
        assert_true(bytes.result > 0 && bytes.more);
        assert_memory_equal(bytes.data, data + got, (size_t)bytes.result);
        got += (size_t)bytes.result;
        hpxi_ring_recycle(n.ring, &bytes);
    }
    assert_int_equal(hpxi_net_shutdown(n.client, SHUT_WR), 0);
    const hpxi_completion end = net_expect(&n, HPXI_OP_RECV);
    assert_int_equal(end.result, 0);
    assert_false(end.more);
    assert_int_equal(
        hpxi_net_send(n.server, data, 5) > 0, 1); /* half closed: the other half is not */
    assert_true(hpxi_sim_get_stats()->faults[HPXI_SIM_SHORT_RECV] > 0);
    net_close(&n);
}

static void test_network_when_closed_with_unread_bytes_then_reset_after_what_was_sent(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    net_pair(&n);
    uint8_t data[100] = {1};
    assert_int_equal(hpxi_net_send(n.client, data, 100), 100);
    assert_int_equal(hpxi_net_send(n.server, data, 9), 9);
    net_settle(&n);
    assert_int_equal(hpxi_net_close(n.server), 0); /* has 100 bytes unread */
    net_settle(&n);
    assert_int_equal(hpxi_net_recv(n.client, data, sizeof(data)), 9);
    assert_int_equal(hpxi_net_recv(n.client, data, sizeof(data)), -ECONNRESET);
    assert_int_equal(hpxi_net_recv(n.client, data, sizeof(data)), 0);
    assert_int_equal(hpxi_net_send(n.client, data, 1), -EPIPE);
    net_close(&n);
}

static void test_network_when_peer_is_gone_then_bytes_are_answered_with_a_reset(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    net_pair(&n);
    uint8_t data[10] = {0};
    assert_int_equal(hpxi_net_close(n.server), 0);
    net_settle(&n);
    assert_int_equal(hpxi_net_recv(n.client, data, sizeof(data)), 0);
    assert_int_equal(hpxi_net_send(n.client, data, 10), 10); /* not known yet */
    net_settle(&n);
    assert_int_equal(hpxi_net_send(n.client, data, 10), -EPIPE); /* as after a FIN */
    net_close(&n);
}

static void test_network_when_window_is_full_then_send_waits_for_the_reader(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    net_pair(&n);
    uint8_t data[1500] = {0};
    uint8_t read[2000];
    assert_int_equal(hpxi_net_send(n.client, data, sizeof(data)), 1000);
    assert_int_equal(hpxi_net_send(n.client, data, 1), -EAGAIN);
    hpxi_ring_send(n.ring, net_token(&n, HPXI_OP_SEND), n.client, data, 500);
    net_settle(&n);
    assert_int_equal(hpxi_net_recv(n.server, read, sizeof(read)), 1000);
    assert_int_equal(net_expect(&n, HPXI_OP_SEND).result, 500);
    net_settle(&n);
    assert_int_equal(hpxi_net_recv(n.server, read, sizeof(read)), 500);
    assert_int_equal(hpxi_net_recv(n.server, read, sizeof(read)), -EAGAIN);
    net_close(&n);
}

static void test_network_when_connects_fail_then_as_the_fault_says(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    net_open(&n);
    hpxi_address address;
    assert_true(hpxi_address_parse(&address, "10.0.0.1", 9)); /* where nobody listens */
    int fd = hpxi_net_tcp_socket(AF_INET, 0);
    hpxi_ring_connect(n.ring, net_token(&n, HPXI_OP_CONNECT), fd, &address);
    assert_int_equal(net_expect(&n, HPXI_OP_CONNECT).result, -ECONNREFUSED);
    net_close(&n);

    n.config.chances[HPXI_SIM_CONNECT_STALLS] = HPXI_SIM_CERTAIN;
    net_open(&n);
    fd = hpxi_net_tcp_socket(AF_INET, 0);
    const hpxi_token token = net_token(&n, HPXI_OP_CONNECT);
    hpxi_ring_connect(n.ring, token, fd, &address);
    hpxi_completion completion;
    assert_false(net_next(&n, 60 * HPX_NS_PER_S, &completion));
    hpxi_ring_cancel(n.ring, token);
    bool seen[2] = {false, false};
    for (int i = 0; i < 2; i++) { /* in either order */
        assert_true(net_next(&n, 0, &completion) || net_next(&n, MS, &completion));
        const bool cancel = completion.op == HPXI_OP_CANCEL;
        assert_int_equal(completion.result, cancel ? 1 : -ECANCELED);
        seen[cancel] = true;
    }
    assert_true(seen[0] && seen[1]);
    net_close(&n);

    n.config.chances[HPXI_SIM_CONNECT_STALLS] = 0;
    n.config.chances[HPXI_SIM_NO_SOCKET] = HPXI_SIM_CERTAIN;
    net_open(&n);
    assert_int_equal(hpxi_net_tcp_socket(AF_INET, 0), -EMFILE);
    net_close(&n);
}

static void test_network_when_slots_are_out_then_enobufs_and_nothing_is_lost(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    net_pair(&n);
    uint8_t data[SLOT_BYTES * (SLOTS + 2)];
    memset(data, 'x', sizeof(data));
    assert_int_equal(hpxi_net_send(n.client, data, sizeof(data)), sizeof(data));
    net_settle(&n);
    hpxi_ring_recv(n.ring, net_token(&n, HPXI_OP_RECV), n.server);
    hpxi_completion held[SLOTS];
    for (uint32_t i = 0; i < SLOTS; i++) {
        held[i] = net_expect(&n, HPXI_OP_RECV);
        assert_int_equal(held[i].result, SLOT_BYTES);
    }
    assert_int_equal(hpxi_ring_slots_home(n.ring), 0);
    const hpxi_completion ended = net_expect(&n, HPXI_OP_RECV);
    assert_int_equal(ended.result, -ENOBUFS);
    assert_false(ended.more);
    for (uint32_t i = 0; i < SLOTS; i++) {
        hpxi_ring_recycle(n.ring, &held[i]);
        assert_int_equal(held[i].data[0], 0xDB); /* who reads it now sees it */
    }
    hpxi_ring_recv(n.ring, net_token(&n, HPXI_OP_RECV), n.server);
    for (uint32_t i = 0; i < 2; i++) {
        const hpxi_completion rest = net_expect(&n, HPXI_OP_RECV);
        assert_int_equal(rest.result, SLOT_BYTES);
        hpxi_ring_recycle(n.ring, &rest);
    }
    net_close(&n);
}

static void test_network_when_completions_overflow_then_all_come_and_multishot_ends(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    net_open(&n);
    uint32_t ends = 0;
    for (uint32_t i = 0; i < 2 * CQ_ENTRIES; i++) {
        hpxi_address address;
        assert_int_equal(hpxi_net_local(n.listener, &address), 0);
        const int fd = hpxi_net_tcp_socket(AF_INET, 0);
        hpxi_ring_connect(n.ring, net_token(&n, HPXI_OP_CONNECT), fd, &address);
    }
    hpxi_ring_accept(n.ring, net_token(&n, HPXI_OP_ACCEPT), n.listener);
    uint32_t connects = 0, accepts = 0;
    for (uint32_t turns = 0; turns < 40; turns++) {
        assert_true(hpxi_ring_wait(n.ring, MS) >= 0); /* nobody takes: they pile up */
    }
    hpxi_completion completion;
    while (net_next(&n, MS, &completion)) {
        connects += completion.op == HPXI_OP_CONNECT ? 1 : 0;
        accepts += completion.op == HPXI_OP_ACCEPT ? 1 : 0;
        if (completion.op == HPXI_OP_ACCEPT && !completion.more) {
            ends++;
            hpxi_ring_accept(n.ring, net_token(&n, HPXI_OP_ACCEPT), n.listener);
        }
    }
    assert_int_equal(connects, 2 * CQ_ENTRIES);
    assert_int_equal(accepts, 2 * CQ_ENTRIES);
    assert_true(ends >= 1);
    assert_true(hpxi_sim_get_stats()->cq_overflows > 0);
    net_close(&n);
}

static void test_network_when_silent_then_time_out_and_nothing_arrives(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    n.config.chances[HPXI_SIM_SILENCE] = HPXI_SIM_CERTAIN;
    net_pair(&n);
    uint8_t data[10] = {0};
    bool from_client = false;
    for (int i = 0; i < 20 && !from_client; i++) { /* until it is the client's direction */
        assert_int_equal(hpxi_net_send(n.client, data, 1), 1);
        net_settle(&n);
        from_client = hpxi_net_recv(n.server, data, sizeof(data)) == -EAGAIN;
    }
    assert_true(from_client);
    assert_int_equal(hpxi_net_recv(n.client, data, sizeof(data)), -EAGAIN);
    hpxi_completion completion;
    assert_false(net_next(&n, 400 * MS, &completion));
    assert_int_equal(hpxi_net_recv(n.client, data, sizeof(data)), -ETIMEDOUT);
    assert_int_equal(hpxi_net_recv(n.server, data, sizeof(data)), -EAGAIN); /* half open */
    net_close(&n);
}

static void test_network_when_cut_or_reset_then_the_stream_has_no_hole(void **state)
{
    (void)state;
    static const hpxi_sim_fault faults[] = {HPXI_SIM_CUT, HPXI_SIM_RESET};
    for (size_t f = 0; f < COUNT_OF(faults); f++) {
        for (uint64_t seed = 1; seed <= 50; seed++) {
            net n;
            net_begin(&n);
            n.config.seed = seed;
            n.config.segment_bytes = 3;
            n.config.chances[faults[f]] = HPXI_SIM_CERTAIN / 20;
            net_pair(&n);
            uint8_t data[300], got[400];
            for (size_t i = 0; i < sizeof(data); i++) {
                data[i] = (uint8_t)i;
            }
            (void)hpxi_net_send(n.client, data, sizeof(data));
            net_settle(&n);
            ptrdiff_t size = hpxi_net_recv(n.server, got, sizeof(got));
            assert_bytes_equal(got, data, size > 0 ? (size_t)size : 0);
            net_close(&n);
        }
    }
}

static void count_call(void *ctx)
{
    ++*(uint32_t *)ctx;
}

static void test_time_when_nothing_can_run_then_passes_to_the_next_event(void **state)
{
    (void)state;
    net n;
    net_begin(&n);
    net_open(&n);
    const uint64_t start = hpxi_sim_now_ns();
    uint32_t calls = 0;
    hpxi_sim_at(start + 30 * MS, count_call, &calls);
    assert_int_equal(hpxi_ring_turn(n.ring), 0);
    assert_int_equal(hpxi_sim_now_ns(), start);
    assert_int_equal(hpxi_ring_wait(n.ring, 20 * MS), 0);
    assert_int_equal(hpxi_sim_now_ns(), start + 20 * MS);
    assert_int_equal(calls, 0);
    assert_int_equal(hpxi_ring_wait(n.ring, 20 * MS), 0);
    assert_int_equal(hpxi_sim_now_ns(), start + 40 * MS);
    assert_int_equal(calls, 1);
    hpxi_doorbell bell;
    assert_int_equal(hpxi_doorbell_init(&bell), HPX_OK);
    hpxi_ring_poll(n.ring, hpxi_token_make(HPXI_OP_DOORBELL, 0, 0), bell.fd, 1);
    assert_int_equal(hpxi_ring_wait(n.ring, MS), 0);
    hpxi_doorbell_prepare(&bell);
    assert_true(hpxi_doorbell_ring(&bell));
    assert_true(hpxi_sim_is_readable(bell.fd));
    const uint64_t rung = hpxi_sim_now_ns();
    assert_int_equal(hpxi_ring_wait(n.ring, MS), 1);
    assert_int_equal(hpxi_sim_now_ns(), rung);
    hpxi_doorbell_drain(&bell);
    assert_false(hpxi_sim_is_readable(bell.fd));
    net_close(&n);
}

static void test_cancel_when_it_races_then_target_completes_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        net n;
        net_begin(&n);
        n.config.seed = seed;
        n.config.chances[HPXI_SIM_CANCEL_MISSES] = HPXI_SIM_CERTAIN / 3;
        n.config.chances[HPXI_SIM_CANCEL_LOSES] = HPXI_SIM_CERTAIN / 3;
        net_pair(&n);
        uint8_t data[5] = {0};
        assert_int_equal(hpxi_net_send(n.client, data, 5), 5);
        const hpxi_token token = net_token(&n, HPXI_OP_RECV);
        hpxi_ring_recv(n.ring, token, n.server);
        uint32_t finals = 0, bytes = 0;
        for (uint32_t tries = 0; finals == 0 && tries < 100; tries++) {
            hpxi_ring_cancel(n.ring, token);
            hpxi_completion completion;
            while (net_next(&n, tries == 0 ? 500 : MS, &completion)) {
                if (completion.op == HPXI_OP_RECV) {
                    finals += completion.more ? 0 : 1;
                    bytes += completion.result > 0 ? (uint32_t)completion.result : 0;
                    hpxi_ring_recycle(n.ring, &completion);
                }
            }
        }
        assert_int_equal(finals, 1);
        assert_true(bytes == 0 || bytes == 5);
        assert_int_equal(hpxi_ring_inflight(n.ring), 1); /* the accept */
        net_close(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_network_when_bytes_are_sent_then_they_arrive_in_order),
        cmocka_unit_test(test_network_when_closed_with_unread_bytes_then_reset_after_what_was_sent),
        cmocka_unit_test(test_network_when_peer_is_gone_then_bytes_are_answered_with_a_reset),
        cmocka_unit_test(test_network_when_window_is_full_then_send_waits_for_the_reader),
        cmocka_unit_test(test_network_when_connects_fail_then_as_the_fault_says),
        cmocka_unit_test(test_network_when_slots_are_out_then_enobufs_and_nothing_is_lost),
        cmocka_unit_test(test_network_when_completions_overflow_then_all_come_and_multishot_ends),
        cmocka_unit_test(test_network_when_silent_then_time_out_and_nothing_arrives),
        cmocka_unit_test(test_network_when_cut_or_reset_then_the_stream_has_no_hole),
        cmocka_unit_test(test_time_when_nothing_can_run_then_passes_to_the_next_event),
        cmocka_unit_test(test_cancel_when_it_races_then_target_completes_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

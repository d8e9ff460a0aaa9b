/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: sock.h on a ring whose cancels miss: a paused socket falls silent all the same, and nothing
 * is lost until it is resumed.
 * Method: a client that sends without end, a server that pauses, at every seed.
 */
#include <string.h>

#include "ring/sim.h"
#include "ring/sock.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define MS     HPX_NS_PER_MS
#define WINDOW 1000u

typedef struct pair {
    failing_allocator memory;
    hpx_allocator allocator;
    hpxi_counters counters;
    hpxi_ring *ring;
    hpxi_socks socks;
    hpxi_sock *listener, *client, *server;
    uint64_t received; /* the bytes count up, modulo 251 */
    uint32_t gone;
} pair;

static void on_connect(hpxi_sock *sock, int result)
{
    assert_int_equal(result, 0);
    (void)hpxi_sock_receive(sock, false);
}

static void on_bytes(hpxi_sock *sock, uint8_t *data, size_t size)
{
    pair *p = sock->owner;
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(data[i], p->received++ % 251);
    }
}

static void on_end(hpxi_sock *sock, int result)
{
    (void)sock;
    (void)result;
}

static void on_drain(hpxi_sock *sock)
{
    (void)sock;
}

static void on_accept(hpxi_sock *sock, int fd);

static void on_gone(hpxi_sock *sock)
{
    ((pair *)sock->owner)->gone++;
}

static const hpxi_sock_ops ops = {
    .on_connect = on_connect,
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_accept = on_accept,
    .on_gone = on_gone,
};

static void on_accept(hpxi_sock *sock, int fd)
{
    pair *p = sock->owner;
    assert_true(fd >= 0);
    assert_int_equal(hpxi_sock_adopt(&p->socks, fd, &ops, p, &p->server), HPX_OK);
    (void)hpxi_sock_receive(p->server, false);
}

static void pair_turn(pair *p, uint64_t ns)
{
    const uint64_t until = hpxi_sim_now_ns() + ns;
    hpxi_completion completion;
    do {
        (void)hpxi_socks_flush(&p->socks);
        const bool sleeps = hpxi_socks_may_sleep(&p->socks);
        assert_true(hpxi_ring_wait(p->ring, sleeps ? until - hpxi_sim_now_ns() : 0) >= 0);
        while (hpxi_ring_next(p->ring, &completion)) {
            hpxi_socks_dispatch(&p->socks, &completion);
        }
        (void)hpxi_socks_settle(&p->socks);
    } while (hpxi_sim_now_ns() < until);
}

static void pair_open(pair *p, uint64_t seed)
{
    memset(p, 0, sizeof(*p));
    hpxi_sim_config network = {
        .seed = seed,
        .start_ns = HPX_NS_PER_S,
        .delay_min_ns = 1000,
        .delay_max_ns = 100 * 1000,
        .retransmit_ns = HPX_NS_PER_S,
        .window_bytes = WINDOW,
        .segment_bytes = 100};
    network.chances[HPXI_SIM_CANCEL_MISSES] = HPXI_SIM_CERTAIN / 2;
    network.chances[HPXI_SIM_CANCEL_LOSES] = HPXI_SIM_CERTAIN / 4;
    hpxi_sim_begin(&network, NULL);
    p->memory.fail_at = SIZE_MAX;
    p->allocator = fa_allocator(&p->memory);
    const hpxi_ring_config ring = {
        .sq_entries = 8, .cq_entries = 64, .slot_bytes = 128, .slot_count = 32, .ops_max = 64};
    hpx_error error;
    assert_int_equal(hpxi_ring_new(&p->ring, &ring, &p->counters, &p->allocator, &error), HPX_OK);
    const hpxi_socks_config socks = {.capacity = 8};
    assert_int_equal(
        hpxi_socks_init(&p->socks, &socks, p->ring, &p->counters, &p->allocator), HPX_OK);
    hpxi_address address;
    assert_true(hpxi_address_parse(&address, "10.0.0.1", 80));
    assert_int_equal(
        hpxi_sock_listen(&p->socks, &address, 8, false, &ops, p, &p->listener), HPX_OK);
    assert_int_equal(hpxi_sock_connect(&p->socks, &address, 0, &ops, p, &p->client), HPX_OK);
    pair_turn(p, MS);
    assert_non_null(p->server);
}

static void pair_close(pair *p)
{
    hpxi_sock_close(p->client);
    hpxi_sock_close(p->server);
    hpxi_sock_close(p->listener);
    pair_turn(p, 10 * MS);
    assert_int_equal(p->gone, 3);
    hpxi_socks_fini(&p->socks);
    hpxi_ring_free(p->ring, 0);
    assert_int_equal(hpxi_sim_end(), 0);
    assert_int_equal(p->memory.live, 0);
}

static void test_pause_when_its_cancel_misses_then_tried_again(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        pair p;
        pair_open(&p, seed);
        uint8_t data[40 * WINDOW];
        for (size_t i = 0; i < sizeof(data); i++) {
            data[i] = (uint8_t)(i % 251);
        }
        assert_true(hpxi_buf_append(hpxi_sock_out(p.client), data, sizeof(data)));
        hpxi_sock_mark(p.client);
        pair_turn(&p, MS / 10);
        hpxi_sock_pause(p.server);
        pair_turn(&p, MS / 2);
        const uint64_t before = p.received;
        pair_turn(&p, 100 * MS); /* long enough for all of it */
        assert_int_equal(p.received, before);
        assert_true(before < sizeof(data));
        hpxi_sock_resume(p.server);
        pair_turn(&p, 100 * MS);
        assert_int_equal(p.received, sizeof(data));
        pair_close(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pause_when_its_cancel_misses_then_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

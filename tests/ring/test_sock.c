/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: connecting, sending and receiving as sock.h promises, however the operations end.
 * Method: sockets of the library against each other or against plain blocking ones, over loopback,
 * in both receive modes; actors check every byte, bed_fini() that nothing is left.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/ring/sock_bed.h"

#define BULK_BUFFER 4096 /* bytes; the kernel doubles it */

/* ---- opening ---- */

static void test_connect_when_accepted_then_open(void **state)
{
    (void)state;
    for (int hot = 0; hot < 2; hot++) {
        bed on;
        hpxi_address address;
        bed_init(&on);
        actor guest = {.bed = &on, .receive = true, .echo = true, .hot = hot != 0};
        actor listener = {.bed = &on, .guest = &guest};
        actor client = {.bed = &on, .receive = true, .hot = hot != 0};
        actor_listen(&listener, &address);
        actor_connect(&client, &address);
        assert_int_equal(client.calls[CALL_CONNECT], 0); /* never from inside the call */
        TURN_UNTIL(&on, client.calls[CALL_CONNECT] == 1 && guest.sock != NULL);
        assert_int_equal(client.connect_result, 0);
        assert_int_equal(client.sock->state, HPXI_SOCK_OPEN);
        assert_int_equal(client.hot, hot);
        actor_append(&client, 1000);
        TURN_UNTIL(&on, client.received == 1000);
        actor_close(&client);
        TURN_UNTIL(&on, guest.calls[CALL_END] == 1);
        assert_int_equal(guest.end_result, 0);
        actor_close(&guest);
        actor_close(&listener);
        bed_fini(&on);
        assert_int_equal(client.gone + guest.gone + listener.gone, 3);
        assert_int_equal(client.calls[CALL_END], 0);
    }
}

static void test_connect_when_refused_then_error_and_still_to_close(void **state)
{
    (void)state;
    bed on;
    hpxi_address address;
    bed_init(&on);
    close(bed_listen(&address, 1));
    actor client = {.bed = &on};
    actor_connect(&client, &address);
    TURN_UNTIL(&on, client.calls[CALL_CONNECT] == 1);
    assert_int_equal(client.connect_result, -ECONNREFUSED);
    bed_turn(&on);
    assert_int_equal(client.gone, 0);
    actor_close(&client);
    assert_int_equal(client.gone, 0); /* not from inside the call */
    bed_turn(&on);
    assert_int_equal(client.gone, 1);
    bed_fini(&on);
}

static void test_open_when_table_is_full_then_limit(void **state)
{
    (void)state;
    bed on;
    hpxi_address address;
    bed_init(&on);
    static actor guests[CAPACITY];
    memset(guests, 0, sizeof(guests));
    const int listener = bed_listen(&address, CAPACITY);
    for (int i = 0; i < CAPACITY; i++) {
        guests[i].bed = &on;
        actor_connect(&guests[i], &address);
    }
    hpxi_sock *sock = (hpxi_sock *)&on;
    assert_int_equal(
        hpxi_sock_connect(&on.socks, &address, 0, &actor_ops, &on, &sock), HPX_E_LIMIT);
    assert_null(sock);
    const int fds = bed_fd_count();
    assert_int_equal(
        hpxi_sock_listen(&on.socks, &address, 1, false, &actor_ops, &on, &sock), HPX_E_LIMIT);
    assert_int_equal(
        hpxi_sock_adopt(&on.socks, hpxi_net_tcp_socket(AF_INET, 0), &actor_ops, &on, &sock),
        HPX_E_LIMIT);
    assert_int_equal(bed_fd_count(), fds); /* taken over, so closed */
    for (int i = 0; i < CAPACITY; i++) {
        actor_close(&guests[i]);
    }
    close(listener);
    bed_fini(&on);
}

/* ---- sending and receiving ---- */

static void test_receive_when_bytes_come_one_by_one_then_in_order(void **state)
{
    (void)state;
    for (int hot = 0; hot < 2; hot++) {
        bed on;
        bed_init(&on);
        actor self = {.bed = &on, .receive = true, .echo = true, .hot = hot != 0};
        const int peer = actor_pair(&self);
        for (uint64_t i = 0; i < 3000; i++) {
            uint8_t byte;
            bed_pattern(&byte, i, 1);
            bed_write(peer, &byte, 1);
            TURN_UNTIL(&on, self.received == i + 1);
            uint8_t back;
            bed_read(peer, &back, 1);
            assert_true(bed_pattern_is(&back, i, 1));
        }
        assert_int_equal(hpxi_counter_read(&on.ring.counters.bytes_received), 3000);
        assert_int_equal(hpxi_counter_read(&on.ring.counters.bytes_sent), 3000);
        assert_int_equal(hpxi_counter_read(&on.ring.counters.send_fallbacks), 0);
        close(peer);
        TURN_UNTIL(&on, self.calls[CALL_END] == 1);
        actor_close(&self);
        bed_fini(&on);
    }
}

/* Both ends send at once through buffers of a few KiB: every send is short, many receives end. */
static void run_bulk(bool hot, uint64_t total, const hpxi_ring_config *ring)
{
    bed on;
    hpxi_address address;
    bed_init_with(&on, ring);
    actor guest = {.bed = &on, .receive = true, .hot = hot};
    actor listener = {.bed = &on, .guest = &guest};
    actor client = {.bed = &on, .receive = true, .hot = hot};
    actor_listen(&listener, &address);
    set_buffers(listener.sock->fd, BULK_BUFFER);
    actor_connect(&client, &address);
    set_buffers(client.sock->fd, BULK_BUFFER); /* its SYN leaves with the first turn */
    TURN_UNTIL(&on, client.calls[CALL_CONNECT] == 1 && guest.sock != NULL);
    actor *const both[2] = {&client, &guest};
    while (client.received < total || guest.received < total) {
        for (int i = 0; i < 2; i++) {
            const uint64_t left = total - both[i]->sent;
            const size_t size = 1 + (size_t)(both[i]->sent * 31 % 100000);
            if (left != 0 && hpxi_sock_queued(both[i]->sock) < 131072) {
                actor_append(both[i], size < left ? size : (size_t)left);
            }
        }
        bed_turn(&on);
    }
    assert_int_equal(client.received, total);
    assert_int_equal(guest.received, total);
    assert_true(hpxi_counter_read(&on.ring.counters.send_fallbacks) > 0);
    assert_int_equal(hpxi_counter_read(&on.ring.counters.bytes_received), 2 * total);
    hpxi_sock_finish(client.sock);
    TURN_UNTIL(&on, guest.calls[CALL_END] == 1);
    assert_int_equal(hpxi_counter_read(&on.ring.counters.bytes_sent), 2 * total);
    actor_close(&client);
    actor_close(&guest);
    actor_close(&listener);
    bed_fini(&on);
}

static void test_bulk_when_multishot_then_every_byte_arrives(void **state)
{
    (void)state;
    const hpxi_ring_config ring = RING_BED_CONFIG;
    run_bulk(false, UINT64_C(64) << 20, &ring);
}

static void test_bulk_when_hot_then_every_byte_arrives(void **state)
{
    (void)state;
    const hpxi_ring_config ring = RING_BED_CONFIG;
    run_bulk(true, UINT64_C(64) << 20, &ring);
}

static void test_bulk_when_slots_and_queue_are_tiny_then_every_byte_arrives(void **state)
{
    (void)state;
    const hpxi_ring_config ring = {
        .sq_entries = 2, .cq_entries = 2, .slot_bytes = 256, .slot_count = 2, .ops_max = 64};
    run_bulk(false, UINT64_C(2) << 20, &ring);
}

static void test_send_when_peer_does_not_read_then_stuck_then_drained_once(void **state)
{
    (void)state;
    enum { TOTAL = 1 << 20 };
    bed on;
    bed_init(&on);
    actor self = {.bed = &on, .receive = true};
    const int peer = actor_pair(&self);
    set_send_buffer(self.sock->fd, 4096);
    actor_append(&self, TOTAL / 2);
    hpxi_sock_flush(self.sock);
    assert_true(hpxi_sock_queued(self.sock) > 0);
    assert_int_equal(hpxi_counter_read(&on.ring.counters.send_fallbacks), 1);
    actor_append(&self, TOTAL / 2); /* queues behind the operation in flight */
    for (int i = 0; i < 100; i++) {
        bed_turn(&on);
    }
    assert_int_equal(self.calls[CALL_DRAIN], 0);
    assert_int_equal(self.sock->inflight, 2); /* one receive, one send: never two */
    static uint8_t bytes[TOTAL];
    size_t got = 0;
    while (got < TOTAL) {
        const ptrdiff_t size = hpxi_net_recv(peer, bytes + got, TOTAL - got);
        got += size > 0 ? (size_t)size : 0;
        bed_turn(&on);
        assert_true(self.sock->inflight <= 2);
    }
    assert_true(bed_pattern_is(bytes, 0, TOTAL));
    TURN_UNTIL(&on, self.calls[CALL_DRAIN] == 1);
    actor_append(&self, 10); /* not stuck any more: inline, and no second on_drain */
    bed_turn(&on);
    assert_int_equal(hpxi_sock_queued(self.sock), 0);
    assert_int_equal(self.calls[CALL_DRAIN], 1);
    actor_close(&self);
    close(peer);
    bed_fini(&on);
}

/* A drain that the owner's own flush brings about is told in settle, not inside the call. */
static void test_flush_when_it_drains_then_not_from_inside_the_call(void **state)
{
    (void)state;
    bed on;
    bed_init(&on);
    actor self = {.bed = &on, .receive = true};
    const int peer = actor_pair(&self);
    actor_append(&self, 100);
    self.sock->stuck = true; /* as after a SEND operation that has just ended */
    hpxi_sock_flush(self.sock);
    assert_int_equal(hpxi_sock_queued(self.sock), 0);
    assert_int_equal(self.calls[CALL_DRAIN], 0);
    bed_turn(&on);
    assert_int_equal(self.calls[CALL_DRAIN], 1);
    actor_close(&self);
    close(peer);
    bed_fini(&on);
}

static void test_finish_when_stuck_then_fin_comes_after_the_last_byte(void **state)
{
    (void)state;
    enum { TOTAL = 300000 };
    for (int hot = 0; hot < 2; hot++) {
        bed on;
        bed_init(&on);
        actor self = {.bed = &on, .receive = true, .hot = hot != 0};
        const int peer = actor_pair(&self);
        set_send_buffer(self.sock->fd, 4096);
        actor_append(&self, TOTAL);
        hpxi_sock_finish(self.sock);
        hpxi_sock_finish(self.sock); /* again does nothing */
        assert_true(hpxi_sock_queued(self.sock) > 0);
        static uint8_t bytes[TOTAL + 1];
        size_t got = 0;
        for (ptrdiff_t size = 1; size != 0;) {
            size = hpxi_net_recv(peer, bytes + got, sizeof(bytes) - got);
            assert_true(size >= 0 || size == -EAGAIN);
            got += size > 0 ? (size_t)size : 0;
            bed_turn(&on);
        }
        assert_int_equal(got, TOTAL);
        assert_true(bed_pattern_is(bytes, 0, TOTAL));
        /* Our side is shut; receiving goes on until the peer's end. */
        assert_int_equal(self.calls[CALL_END], 0);
        bed_pattern(bytes, 0, 500);
        bed_write(peer, bytes, 500);
        TURN_UNTIL(&on, self.received == 500);
        close(peer);
        TURN_UNTIL(&on, self.calls[CALL_END] == 1);
        assert_int_equal(self.end_result, 0);
        actor_close(&self);
        bed_fini(&on);
    }
}

/* Half-closed: the peer said its last, we still may. */
static void test_send_when_peer_has_finished_then_still_sent(void **state)
{
    (void)state;
    bed on;
    bed_init(&on);
    actor self = {.bed = &on, .receive = true};
    const int peer = actor_pair(&self);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    TURN_UNTIL(&on, self.calls[CALL_END] == 1);
    actor_append(&self, 700);
    hpxi_sock_finish(self.sock);
    uint8_t bytes[701];
    bed_read(peer, bytes, 700);
    assert_true(bed_pattern_is(bytes, 0, 700));
    assert_int_equal(recv(peer, bytes, 1, 0), 0);
    actor_close(&self);
    close(peer);
    bed_fini(&on);
}

/* The peer answers and is gone with a RST; our send finds that out first. */
static void test_send_when_connection_is_reset_then_last_words_come_before_the_end(void **state)
{
    (void)state;
    for (int hot = 0; hot < 2; hot++) {
        bed on;
        bed_init(&on);
        actor self = {.bed = &on, .receive = true, .hot = hot != 0};
        const int peer = actor_pair(&self);
        bed_turn(&on);
        uint8_t words[64];
        bed_pattern(words, 0, sizeof(words));
        bed_write(peer, words, sizeof(words));
        bed_close_rst(peer);
        actor_append(&self, 10);
        hpxi_sock_flush(self.sock);
        assert_true(self.sock->send_failed);
        assert_int_equal(self.calls[CALL_END], 0); /* not from inside the call */
        hpxi_socks_flush(&on.socks);
        assert_true(hpxi_socks_settle(&on.socks) > 0); /* owed: no sleeping now */
        assert_int_equal(self.calls[CALL_END], 0);
        TURN_UNTIL(&on, self.calls[CALL_END] == 1);
        assert_int_equal(self.received, sizeof(words));
        assert_true(self.end_result == -ECONNRESET || self.end_result == -EPIPE);
        actor_append(&self, 10); /* legal, and lost */
        bed_turn(&on);
        actor_close(&self);
        bed_fini(&on);
    }
}

/* Nothing is being received, so only settle can tell. */
static void test_send_when_it_fails_and_nothing_is_received_then_end_in_settle(void **state)
{
    (void)state;
    bed on;
    bed_init(&on);
    actor self = {.bed = &on};
    const int peer = actor_pair(&self);
    bed_close_rst(peer);
    actor_append(&self, 10);
    for (int i = 0; i < 3 && self.calls[CALL_END] == 0; i++) {
        bed_turn(&on);
    }
    assert_int_equal(self.calls[CALL_END], 1);
    assert_true(self.end_result == -ECONNRESET || self.end_result == -EPIPE);
    actor_close(&self);
    bed_fini(&on);
}

static void test_send_when_operation_fails_then_end_once(void **state)
{
    (void)state;
    for (int receive = 0; receive < 2; receive++) {
        bed on;
        bed_init(&on);
        actor self = {.bed = &on, .receive = receive != 0};
        const int peer = actor_pair(&self);
        set_send_buffer(self.sock->fd, 4096);
        actor_append(&self, 1 << 20);
        bed_turn(&on);
        assert_true(self.sock->send_armed);
        bed_close_rst(peer);
        TURN_UNTIL(&on, self.calls[CALL_END] == 1 && !self.sock->send_armed);
        bed_turn(&on);
        bed_turn(&on);
        assert_true(self.end_result < 0);
        assert_int_equal(self.calls[CALL_DRAIN], 0);
        assert_int_equal(hpxi_sock_queued(self.sock), 0);
        actor_close(&self);
        bed_fini(&on);
    }
}

/* Many sockets, few slots: each makes progress and none loses a byte. */
static void test_receive_when_slots_run_out_then_all_sockets_progress(void **state)
{
    (void)state;
    enum { SOCKETS = 24, TOTAL = 100000 };
    const hpxi_ring_config ring = {
        .sq_entries = 64, .cq_entries = 64, .slot_bytes = 512, .slot_count = 4, .ops_max = 256};
    bed on;
    bed_init_with(&on, &ring);
    static actor actors[SOCKETS];
    int peers[SOCKETS];
    static uint8_t bytes[TOTAL];
    memset(actors, 0, sizeof(actors));
    bed_pattern(bytes, 0, TOTAL);
    for (int i = 0; i < SOCKETS; i++) {
        actors[i] = (actor){.bed = &on, .receive = true};
        peers[i] = actor_pair(&actors[i]);
        bed_write(peers[i], bytes, TOTAL); /* all of it is there before the first turn */
    }
    uint64_t slowest_when_first_is_done = UINT64_MAX;
    uint32_t done = 0;
    for (const time_t start = time(NULL); done < SOCKETS;) {
        bed_turn(&on);
        uint64_t slowest = UINT64_MAX;
        done = 0;
        for (int i = 0; i < SOCKETS; i++) {
            slowest = actors[i].received < slowest ? actors[i].received : slowest;
            done += actors[i].received == TOTAL;
        }
        if (done != 0 && slowest_when_first_is_done == UINT64_MAX) {
            slowest_when_first_is_done = slowest;
        }
        assert_true(time(NULL) - start < SECONDS_MAX);
    }
    assert_true(slowest_when_first_is_done > TOTAL / 4);
    assert_true(hpxi_counter_read(&on.ring.counters.no_buffers) > 0);
    for (int i = 0; i < SOCKETS; i++) {
        actor_close(&actors[i]);
        close(peers[i]);
    }
    bed_fini(&on);
}

static void test_receive_when_completions_overflow_then_none_is_lost(void **state)
{
    (void)state;
    enum { SOCKETS = 60, ROUNDS = 200 };
    const hpxi_ring_config ring = {
        .sq_entries = 4, .cq_entries = 4, .slot_bytes = 64, .slot_count = 256, .ops_max = 256};
    bed on;
    bed_init_with(&on, &ring);
    static actor actors[SOCKETS];
    int peers[SOCKETS];
    for (int i = 0; i < SOCKETS; i++) {
        actors[i] = (actor){.bed = &on, .receive = true};
        peers[i] = actor_pair(&actors[i]);
    }
    for (uint64_t round = 0; round < ROUNDS; round++) {
        uint8_t byte;
        bed_pattern(&byte, round, 1);
        for (int i = 0; i < SOCKETS; i++) {
            bed_write(peers[i], &byte, 1);
        }
        for (int i = 0; i < SOCKETS; i++) {
            TURN_UNTIL(&on, actors[i].received == round + 1);
        }
    }
    assert_true(hpxi_counter_read(&on.ring.counters.cq_overflows) > 0);
    for (int i = 0; i < SOCKETS; i++) {
        actor_close(&actors[i]);
        close(peers[i]);
    }
    bed_fini(&on);
}

static void test_receive_when_hot_places_are_taken_then_multishot(void **state)
{
    (void)state;
    bed on;
    bed_init(&on);
    actor actors[HOT_MAX + 1];
    int peers[HOT_MAX + 1];
    uint8_t bytes[100];
    bed_pattern(bytes, 0, sizeof(bytes));
    for (int i = 0; i <= HOT_MAX; i++) {
        actors[i] = (actor){.bed = &on, .receive = true, .hot = true};
        peers[i] = actor_pair(&actors[i]);
        assert_int_equal(actors[i].hot, i < HOT_MAX);
        bed_write(peers[i], bytes, sizeof(bytes));
        TURN_UNTIL(&on, actors[i].received == sizeof(bytes));
    }
    assert_int_equal(hpxi_ring_inflight(on.ring.ring), 1);
    for (int i = 0; i <= HOT_MAX; i++) {
        actor_close(&actors[i]);
        close(peers[i]);
    }
    bed_fini(&on);
}

static void test_receive_hot_when_flooded_then_bounded_per_turn(void **state)
{
    (void)state;
    bed on;
    bed_init(&on);
    static uint8_t bytes[100000];
    bed_pattern(bytes, 0, sizeof(bytes));
    actor self = {.bed = &on, .receive = true, .hot = true};
    const int peer = actor_pair(&self);
    bed_write(peer, bytes, sizeof(bytes));
    uint64_t before = 0;
    while (before < sizeof(bytes)) {
        assert_true(hpxi_socks_receive_hot(&on.socks, 40000) <= 3);
        assert_true(self.received - before <= 40000);
        before = self.received;
    }
    const uint64_t calls = hpxi_counter_read(&on.ring.counters.recv_syscalls);
    self.received = 0; /* the pattern from its start again */
    bed_write(peer, bytes, 1);
    TURN_UNTIL(&on, self.received == 1);
    assert_true(hpxi_counter_read(&on.ring.counters.recv_syscalls) > calls);
    actor_close(&self);
    close(peer);
    bed_fini(&on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connect_when_accepted_then_open),
        cmocka_unit_test(test_connect_when_refused_then_error_and_still_to_close),
        cmocka_unit_test(test_open_when_table_is_full_then_limit),
        cmocka_unit_test(test_receive_when_bytes_come_one_by_one_then_in_order),
        cmocka_unit_test(test_bulk_when_multishot_then_every_byte_arrives),
        cmocka_unit_test(test_bulk_when_hot_then_every_byte_arrives),
        cmocka_unit_test(test_bulk_when_slots_and_queue_are_tiny_then_every_byte_arrives),
        cmocka_unit_test(test_send_when_peer_does_not_read_then_stuck_then_drained_once),
        cmocka_unit_test(test_flush_when_it_drains_then_not_from_inside_the_call),
        cmocka_unit_test(test_finish_when_stuck_then_fin_comes_after_the_last_byte),
        cmocka_unit_test(test_send_when_peer_has_finished_then_still_sent),
        cmocka_unit_test(test_send_when_connection_is_reset_then_last_words_come_before_the_end),
        cmocka_unit_test(test_send_when_it_fails_and_nothing_is_received_then_end_in_settle),
        cmocka_unit_test(test_send_when_operation_fails_then_end_once),
        cmocka_unit_test(test_receive_when_slots_run_out_then_all_sockets_progress),
        cmocka_unit_test(test_receive_when_completions_overflow_then_none_is_lost),
        cmocka_unit_test(test_receive_when_hot_places_are_taken_then_multishot),
        cmocka_unit_test(test_receive_hot_when_flooded_then_bounded_per_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

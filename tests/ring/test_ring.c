/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every way in which an operation can end on the real ring, and nothing lost on any of them.
 * Method: loopback sockets, tiny queues and slot counts. A case that ends cleanly checks that no
 * operation is in flight and that every slot is home (ring_bed_fini). Misuse is tried in a child.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <hpx/system.h>

#include "ring/ring.h"
#include "tests/ring/ring_bed.h"
#include "tests/support/test.h"

#define TOKEN(op, index) hpxi_token_make(HPXI_OP_##op, 7, (index))

static const hpxi_ring_config config_normal = RING_BED_CONFIG;

static void expect(const hpxi_completion *got, hpxi_op op, uint32_t index, int result, bool more)
{
    assert_int_equal(got->op, op);
    assert_int_equal(got->generation, 7);
    assert_int_equal(got->index, index);
    assert_int_equal(got->result, result);
    assert_int_equal(got->more, more);
}

static void test_probe_when_io_uring_works_then_ok(void **state)
{
    (void)state;
    ring_bed bed;
    ring_bed_init(&bed, &config_normal); /* skips where it does not work */
    ring_bed_fini(&bed);
    hpx_uring_probe probe;
    assert_int_equal(hpx_system_probe_uring(&probe), HPX_OK);
    assert_int_equal(probe.status, HPX_OK);
    assert_true(probe.defer_taskrun && probe.multishot_recv && probe.provided_buffers);
    assert_true(probe.features != 0);
    assert_string_equal(probe.missing_ops, "");
    assert_true(probe.liburing_version[0] == '2');
    assert_true(probe.disabled_sysctl <= 0);
}

static void test_turn_when_idle_then_no_system_call(void **state)
{
    (void)state;
    ring_bed bed;
    ring_bed_init(&bed, &config_normal);
    const uint64_t enters = hpxi_counter_read(&bed.counters.enters);
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(hpxi_ring_turn(bed.ring), 0);
        assert_false(hpxi_ring_has_work(bed.ring));
    }
    assert_int_equal(hpxi_counter_read(&bed.counters.enters), enters);
    assert_int_equal(hpxi_counter_read(&bed.counters.sleeps), 0);
    ring_bed_fini(&bed);
}

static void test_wait_when_nothing_happens_then_times_out(void **state)
{
    (void)state;
    ring_bed bed;
    ring_bed_init(&bed, &config_normal);
    const int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    hpxi_ring_poll(bed.ring, TOKEN(POLL, 1), fd, POLLIN);
    assert_int_equal(hpxi_ring_wait(bed.ring, 2 * HPX_NS_PER_MS), 0);
    assert_int_equal(hpxi_counter_read(&bed.counters.sleeps), 1);
    /* With something there it does not sleep out its time: the test would. */
    assert_int_equal(eventfd_write(fd, 1), 0);
    assert_int_equal(hpxi_ring_wait(bed.ring, UINT64_MAX), 1);
    hpxi_completion got = ring_bed_take(&bed);
    expect(&got, HPXI_OP_POLL, 1, POLLIN, true);
    /* Edge by edge, for as long as it is armed. */
    assert_int_equal(eventfd_write(fd, 1), 0);
    got = ring_bed_take(&bed);
    expect(&got, HPXI_OP_POLL, 1, POLLIN, true);
    hpxi_ring_cancel(bed.ring, TOKEN(POLL, 1));
    ring_bed_drain(&bed);
    close(fd);
    ring_bed_fini(&bed);
}

static void test_echo_over_loopback(void **state)
{
    (void)state;
    ring_bed bed;
    ring_bed_init(&bed, &config_normal);
    hpxi_address address;
    const int listener = bed_listen(&address, 4);
    const int client = hpxi_net_tcp_socket(AF_INET, 0);
    hpxi_ring_accept(bed.ring, TOKEN(ACCEPT, 1), listener);
    hpxi_ring_connect(bed.ring, TOKEN(CONNECT, 2), client, &address);
    int server = -1;
    for (int i = 0; i < 2; i++) {
        const hpxi_completion got = ring_bed_take(&bed);
        if (got.op == HPXI_OP_ACCEPT) {
            assert_true(got.more && got.result >= 0);
            server = got.result;
        } else {
            expect(&got, HPXI_OP_CONNECT, 2, 0, false);
        }
    }
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 3), server);
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 4), client);
    uint8_t sent[1000];
    for (uint32_t round = 0; round < 500; round++) {
        const uint32_t size = 1 + round * 7 % (uint32_t)sizeof(sent);
        bed_pattern(sent, UINT64_C(13) * round, size);
        hpxi_ring_send(bed.ring, TOKEN(SEND, 5), client, sent, size);
        uint32_t back = 0;
        while (back < size || hpxi_ring_inflight(bed.ring) != 3) {
            hpxi_completion got = ring_bed_take(&bed);
            if (got.op == HPXI_OP_SEND) {
                expect(&got, HPXI_OP_SEND, 5, (int)size, false);
                continue;
            }
            assert_true(got.op == HPXI_OP_RECV && got.more && got.result > 0);
            if (got.index == 3) {
                bed_write(server, got.data, (size_t)got.result);
            } else {
                assert_true(
                    bed_pattern_is(got.data, UINT64_C(13) * round + back, (size_t)got.result));
                back += (uint32_t)got.result;
            }
            hpxi_ring_recycle(bed.ring, &got);
        }
    }
    hpxi_ring_cancel(bed.ring, TOKEN(RECV, 3));
    hpxi_ring_cancel(bed.ring, TOKEN(RECV, 4));
    hpxi_ring_cancel(bed.ring, TOKEN(ACCEPT, 1));
    ring_bed_drain(&bed);
    close(server);
    close(client);
    close(listener);
    ring_bed_fini(&bed);
}

static void test_connect_when_refused_then_error(void **state)
{
    (void)state;
    ring_bed bed;
    ring_bed_init(&bed, &config_normal);
    hpxi_address address;
    close(bed_listen(&address, 1));
    const int client = hpxi_net_tcp_socket(AF_INET, 0);
    hpxi_ring_connect(bed.ring, TOKEN(CONNECT, 2), client, &address);
    const hpxi_completion got = ring_bed_take(&bed);
    expect(&got, HPXI_OP_CONNECT, 2, -ECONNREFUSED, false);
    close(client);
    ring_bed_fini(&bed);
}

static void test_recv_when_peer_ends_then_last_without_slot(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        ring_bed bed;
        int ends[2];
        ring_bed_init(&bed, &config_normal);
        bed_pair(ends);
        hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
        assert_int_equal(hpxi_ring_turn(bed.ring), 0);
        bed_write(ends[1], "hello", 5);
        hpxi_completion got = ring_bed_take(&bed);
        expect(&got, HPXI_OP_RECV, 1, 5, true);
        assert_memory_equal(got.data, "hello", 5);
        assert_int_equal(hpxi_ring_slots_home(bed.ring), config_normal.slot_count - 1);
        hpxi_ring_recycle(bed.ring, &got);
        if (reset) {
            bed_close_rst(ends[1]);
        } else {
            close(ends[1]);
        }
        got = ring_bed_take(&bed);
        expect(&got, HPXI_OP_RECV, 1, reset ? -ECONNRESET : 0, false);
        assert_null(got.data);
        hpxi_ring_recycle(bed.ring, &got); /* legal, and does nothing */
        close(ends[0]);
        ring_bed_fini(&bed);
    }
}

/* Few small slots and none given back: the receive ends, the bytes stay in the socket, and a new
 * one after the slots went home goes on where it stopped. */
static void test_recv_when_slots_run_out_then_continues_without_loss(void **state)
{
    (void)state;
    const hpxi_ring_config config = {
        .sq_entries = 8, .cq_entries = 64, .slot_bytes = 64, .slot_count = 4, .ops_max = 8};
    enum { TOTAL = 20000 };
    ring_bed bed;
    int ends[2];
    static uint8_t bytes[TOTAL];
    ring_bed_init(&bed, &config);
    bed_pair(ends);
    bed_pattern(bytes, 0, TOTAL);
    bed_write(ends[1], bytes, TOTAL);
    close(ends[1]);
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
    hpxi_completion held[4];
    uint32_t held_count = 0, ends_without_slots = 0;
    size_t total = 0;
    for (;;) {
        const hpxi_completion got = ring_bed_take(&bed);
        if (got.result > 0) {
            assert_true(held_count < 4 && got.more);
            assert_true(bed_pattern_is(got.data, total, (size_t)got.result));
            total += (size_t)got.result;
            held[held_count++] = got;
            continue;
        }
        assert_false(got.more);
        if (got.result == 0) {
            break;
        }
        assert_int_equal(got.result, -ENOBUFS);
        ends_without_slots++;
        while (held_count > 0) {
            hpxi_ring_recycle(bed.ring, &held[--held_count]); /* backwards: order is free */
        }
        hpxi_ring_slots_flush(bed.ring);
        hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
    }
    while (held_count > 0) {
        hpxi_ring_recycle(bed.ring, &held[--held_count]);
    }
    assert_int_equal(total, TOTAL);
    assert_true(ends_without_slots >= TOTAL / (4 * 64) - 1);
    close(ends[0]);
    ring_bed_fini(&bed);
}

/* U5: far more completions at once than the queue holds. */
static void test_completions_when_queue_overflows_then_none_is_lost(void **state)
{
    (void)state;
    enum { SOCKETS = 40, ROUNDS = 1500 };
    const hpxi_ring_config config = {
        .sq_entries = 4, .cq_entries = 4, .slot_bytes = 64, .slot_count = 128, .ops_max = 64};
    ring_bed bed;
    static uint64_t received[SOCKETS];
    int ends[SOCKETS][2];
    ring_bed_init(&bed, &config);
    memset(received, 0, sizeof(received));
    for (uint32_t i = 0; i < SOCKETS; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends[i]), 0);
        hpxi_ring_recv(bed.ring, TOKEN(RECV, i), ends[i][0]);
    }
    uint32_t ended_with_data = 0;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < SOCKETS; i++) {
            uint8_t byte;
            bed_pattern(&byte, round, 1);
            bed_write(ends[i][1], &byte, 1);
        }
        for (uint32_t i = 0; i < SOCKETS; i++) {
            hpxi_completion got = ring_bed_take(&bed);
            assert_int_equal(got.result, 1);
            assert_true(bed_pattern_is(got.data, received[got.index], 1));
            received[got.index]++;
            if (!got.more) {
                ended_with_data++;
                hpxi_ring_recv(bed.ring, TOKEN(RECV, got.index), ends[got.index][0]);
            }
            hpxi_ring_recycle(bed.ring, &got);
        }
    }
    for (uint32_t i = 0; i < SOCKETS; i++) {
        assert_int_equal(received[i], ROUNDS);
        close(ends[i][1]);
    }
    assert_true(ended_with_data > 0);
    assert_true(hpxi_counter_read(&bed.counters.cq_overflows) > 0);
    ring_bed_drain(&bed);
    for (uint32_t i = 0; i < SOCKETS; i++) {
        close(ends[i][0]);
    }
    ring_bed_fini(&bed);
}

static void test_prepare_when_submission_queue_is_full_then_all_are_submitted(void **state)
{
    (void)state;
    enum { OPS = 200 };
    const hpxi_ring_config config = {
        .sq_entries = 8, .cq_entries = 512, .slot_bytes = 64, .slot_count = 8, .ops_max = 8};
    ring_bed bed;
    ring_bed_init(&bed, &config);
    bool seen[OPS] = {false};
    const int fd = eventfd(1, EFD_CLOEXEC);
    for (uint32_t i = 0; i < OPS; i++) {
        hpxi_ring_poll(bed.ring, TOKEN(POLL, i), fd, POLLIN);
    }
    assert_int_equal(hpxi_ring_inflight(bed.ring), OPS);
    for (uint32_t i = 0; i < OPS; i++) {
        const hpxi_completion got = ring_bed_take(&bed);
        assert_int_equal(got.result, POLLIN);
        assert_false(seen[got.index]);
        seen[got.index] = true;
    }
    for (uint32_t i = 0; i < OPS; i++) {
        hpxi_ring_cancel(bed.ring, TOKEN(POLL, i));
    }
    ring_bed_drain(&bed);
    close(fd);
    ring_bed_fini(&bed);
}

/* U8: the target's own completion is the only end, whatever the cancel says. */
static void test_cancel_when_armed_then_target_ends(void **state)
{
    (void)state;
    ring_bed bed;
    int ends[2];
    ring_bed_init(&bed, &config_normal);
    bed_pair(ends);
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
    hpxi_ring_turn(bed.ring);
    hpxi_ring_cancel(bed.ring, TOKEN(RECV, 2)); /* another index: not meant */
    hpxi_completion got = ring_bed_take(&bed);
    assert_int_equal(got.op, HPXI_OP_CANCEL);
    assert_true(got.result <= 0);
    assert_int_equal(hpxi_ring_inflight(bed.ring), 1);
    hpxi_ring_cancel(bed.ring, TOKEN(RECV, 1));
    uint32_t seen = 0;
    while (hpxi_ring_inflight(bed.ring) != 0) {
        got = ring_bed_take(&bed);
        if (got.op == HPXI_OP_RECV) {
            expect(&got, HPXI_OP_RECV, 1, -ECANCELED, false);
            assert_null(got.data);
            seen++;
        }
    }
    assert_int_equal(seen, 1);
    close(ends[0]);
    close(ends[1]);
    ring_bed_fini(&bed);
}

static void test_cancel_when_target_has_ended_then_only_the_cancel_completes(void **state)
{
    (void)state;
    ring_bed bed;
    int ends[2];
    ring_bed_init(&bed, &config_normal);
    bed_pair(ends);
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
    hpxi_ring_turn(bed.ring);
    close(ends[1]);
    while (hpxi_ring_turn(bed.ring) == 0) { /* its end is in the queue now, and not taken */
    }
    hpxi_ring_cancel(bed.ring, TOKEN(RECV, 1));
    hpxi_completion got = ring_bed_take(&bed);
    expect(&got, HPXI_OP_RECV, 1, 0, false);
    got = ring_bed_take(&bed);
    assert_int_equal(got.op, HPXI_OP_CANCEL);
    assert_true(got.result <= 0);
    assert_int_equal(hpxi_ring_inflight(bed.ring), 0);
    close(ends[0]);
    ring_bed_fini(&bed);
}

/* Data there, receive and cancel in one submission: whichever wins, no slot is lost and the receive
 * ends once, if need be at a second cancel. */
static void test_cancel_when_racing_with_data_then_slots_come_home(void **state)
{
    (void)state;
    ring_bed bed;
    ring_bed_init(&bed, &config_normal);
    for (int round = 0; round < 300; round++) {
        int ends[2];
        uint32_t finals = 0;
        bed_pair(ends);
        bed_write(ends[1], "data", 4);
        hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
        if (round % 3 == 1) {
            hpxi_ring_turn(bed.ring);
        }
        hpxi_ring_cancel(bed.ring, TOKEN(RECV, 1));
        while (hpxi_ring_inflight(bed.ring) != 0) {
            const hpxi_completion got = ring_bed_take(&bed);
            hpxi_ring_recycle(bed.ring, &got);
            finals += got.op == HPXI_OP_RECV && !got.more;
            if (got.op == HPXI_OP_CANCEL && finals == 0) {
                hpxi_ring_cancel(bed.ring, TOKEN(RECV, 1));
            }
        }
        assert_int_equal(finals, 1);
        close(ends[0]);
        close(ends[1]);
    }
    ring_bed_fini(&bed);
}

static void test_free_when_operations_are_armed_then_all_is_cancelled(void **state)
{
    (void)state;
    ring_bed bed;
    bed_blackhole hole;
    int ends[2], full[2];
    static uint8_t block[1 << 22];
    const int fds = bed_fd_count();
    ring_bed_init(&bed, &config_normal);
    bed_blackhole_init(&hole);
    bed_pair(ends);
    bed_pair(full);
    hpxi_address address;
    const int listener = bed_listen(&address, 4);
    const int event = eventfd(0, EFD_CLOEXEC);
    const int client = hpxi_net_tcp_socket(AF_INET, 0);
    const int guest = hpxi_net_tcp_socket(AF_INET, 0);
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 2), ends[1]);
    hpxi_ring_send(bed.ring, TOKEN(SEND, 3), full[0], block, sizeof(block));
    hpxi_ring_poll(bed.ring, TOKEN(POLL, 4), event, POLLIN);
    hpxi_ring_accept(bed.ring, TOKEN(ACCEPT, 5), listener);
    hpxi_ring_connect(bed.ring, TOKEN(CONNECT, 6), client, &hole.address);
    hpxi_ring_turn(bed.ring);
    assert_true(hpxi_ring_inflight(bed.ring) == 6);
    bed_write(ends[1], "never taken", 11);
    assert_int_equal(hpxi_net_connect(guest, &address.u.any, address.size), -EINPROGRESS);
    hpxi_ring_turn(bed.ring);
    hpxi_ring_free(bed.ring, 5 * HPX_NS_PER_S);
    assert_int_equal(bed.fa.live, 0); /* leaks only what could not be cancelled */
    close(ends[0]);
    close(ends[1]);
    close(full[0]);
    close(full[1]);
    close(listener);
    close(event);
    close(client);
    close(guest);
    bed_blackhole_fini(&hole);
    assert_int_equal(bed_fd_count(), fds); /* the accepted descriptor is closed too */
}

static void free_nothing(void *ctx)
{
    (void)ctx;
    hpxi_ring_free(NULL, 0);
}

static void test_free_when_null_then_nothing(void **state)
{
    (void)state;
    assert_int_equal(bed_child(free_nothing, NULL), 0);
}

/* ---- misuse: in a child, which is to abort ---- */

static void recycle_twice(void *ctx)
{
    (void)ctx;
    ring_bed bed;
    int ends[2];
    ring_bed_init(&bed, &config_normal);
    bed_pair(ends);
    bed_write(ends[1], "x", 1);
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
    const hpxi_completion got = ring_bed_take(&bed);
    hpxi_ring_recycle(bed.ring, &got);
    hpxi_ring_recycle(bed.ring, &got);
}

static void test_recycle_when_twice_then_asserts(void **state)
{
    (void)state;
    const int status = bed_child(recycle_twice, NULL);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- making ---- */

static void make(hpx_allocator allocator, bool expect_success)
{
    hpxi_counters counters = {0};
    hpxi_ring *ring;
    hpx_error error;
    const hpx_status status = hpxi_ring_new(&ring, &config_normal, &counters, &allocator, &error);
    assert_int_equal(status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    assert_int_equal(error.status, status);
    assert_int_equal(ring != NULL, expect_success);
    hpxi_ring_free(ring, 0);
}

static void test_new_when_each_allocation_fails_then_no_leak(void **state)
{
    (void)state;
    const int fds = bed_fd_count();
    fa_exhaust(make);
    assert_int_equal(bed_fd_count(), fds);
}

static void test_new_when_config_is_wrong_then_invalid(void **state)
{
    (void)state;
    failing_allocator fa = FAILING_ALLOCATOR_NEVER;
    const hpx_allocator allocator = fa_allocator(&fa);
    for (int i = 0; i < 8; i++) {
        hpxi_ring_config config = RING_BED_CONFIG;
        hpxi_counters counters = {0};
        hpxi_ring *ring;
        hpx_error error;
        uint32_t *const members[] = {
            &config.sq_entries,
            &config.cq_entries,
            &config.slot_bytes,
            &config.slot_count,
            &config.ops_max};
        if (i < 5) {
            *members[i] = 0;
        } else if (i == 5) {
            config.slot_count = 65536;
        } else if (i == 6) {
            config.cq_entries = config.sq_entries / 2;
        } else {
            config.slot_bytes = 4095;
        }
        assert_int_equal(
            hpxi_ring_new(&ring, &config, &counters, &allocator, &error), HPX_E_INVALID);
        assert_null(ring);
    }
    assert_int_equal(fa.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_probe_when_io_uring_works_then_ok),
        cmocka_unit_test(test_turn_when_idle_then_no_system_call),
        cmocka_unit_test(test_wait_when_nothing_happens_then_times_out),
        cmocka_unit_test(test_echo_over_loopback),
        cmocka_unit_test(test_connect_when_refused_then_error),
        cmocka_unit_test(test_recv_when_peer_ends_then_last_without_slot),
        cmocka_unit_test(test_recv_when_slots_run_out_then_continues_without_loss),
        cmocka_unit_test(test_completions_when_queue_overflows_then_none_is_lost),
        cmocka_unit_test(test_prepare_when_submission_queue_is_full_then_all_are_submitted),
        cmocka_unit_test(test_cancel_when_armed_then_target_ends),
        cmocka_unit_test(test_cancel_when_target_has_ended_then_only_the_cancel_completes),
        cmocka_unit_test(test_cancel_when_racing_with_data_then_slots_come_home),
        cmocka_unit_test(test_free_when_operations_are_armed_then_all_is_cancelled),
        cmocka_unit_test(test_free_when_null_then_nothing),
        cmocka_unit_test(test_recycle_when_twice_then_asserts),
        cmocka_unit_test(test_new_when_each_allocation_fails_then_no_leak),
        cmocka_unit_test(test_new_when_config_is_wrong_then_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

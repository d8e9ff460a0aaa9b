/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what the kernel may do and here seldom does: SEND operations that take a part or are
 * interrupted, reads and writes of any size, cancels that miss. No byte is lost, doubled or moved.
 * Method: the linker puts the functions below before the ring's and the socket calls (--wrap);
 * their whims come from a seed that a failure prints.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/ring/sock_bed.h"

void __real_hpxi_ring_send(
    hpxi_ring *ring, hpxi_token token, int fd, const void *data, uint32_t size);
void __wrap_hpxi_ring_send(
    hpxi_ring *ring, hpxi_token token, int fd, const void *data, uint32_t size);
bool __real_hpxi_ring_next(hpxi_ring *ring, hpxi_completion *out);
bool __wrap_hpxi_ring_next(hpxi_ring *ring, hpxi_completion *out);
void __real_hpxi_ring_cancel(hpxi_ring *ring, hpxi_token target);
void __wrap_hpxi_ring_cancel(hpxi_ring *ring, hpxi_token target);
ptrdiff_t __real_hpxi_net_send(int fd, const void *data, size_t size);
ptrdiff_t __wrap_hpxi_net_send(int fd, const void *data, size_t size);
ptrdiff_t __real_hpxi_net_recv(int fd, void *data, size_t size);
ptrdiff_t __wrap_hpxi_net_recv(int fd, void *data, size_t size);

typedef struct whims {
    uint64_t seed;         /* 0: none */
    uint32_t cancels_miss; /* so many */
    int send_result;       /* for the next SEND completion, if not 0 */
    uint32_t shortened;
    uint32_t interrupted;
} whims;

static whims world;

static uint32_t whim(uint32_t below)
{
    world.seed ^= world.seed << 13;
    world.seed ^= world.seed >> 7;
    world.seed ^= world.seed << 17;
    return (uint32_t)(world.seed >> 33) % below;
}

void __wrap_hpxi_ring_send(
    hpxi_ring *ring, hpxi_token token, int fd, const void *data, uint32_t size)
{
    if (world.seed != 0 && whim(2) == 0) {
        size = 1 + whim(size);
        world.shortened++;
    }
    __real_hpxi_ring_send(ring, token, fd, data, size);
}

bool __wrap_hpxi_ring_next(hpxi_ring *ring, hpxi_completion *out)
{
    if (!__real_hpxi_ring_next(ring, out)) {
        return false;
    }
    if (out->op == HPXI_OP_SEND && world.send_result != 0) {
        out->result = world.send_result == INT32_MAX ? 0 : world.send_result;
        world.send_result = 0;
    }
    return true;
}

/* A cancel that misses: of no operation, but completing as this socket's. */
void __wrap_hpxi_ring_cancel(hpxi_ring *ring, hpxi_token target)
{
    if (world.cancels_miss != 0) {
        world.cancels_miss--;
        target = hpxi_token_make(HPXI_OP_NONE, (uint32_t)(target >> 32), (uint32_t)target);
    }
    __real_hpxi_ring_cancel(ring, target);
}

ptrdiff_t __wrap_hpxi_net_send(int fd, const void *data, size_t size)
{
    if (world.seed != 0 && whim(3) == 0) {
        world.interrupted++;
        return -EAGAIN;
    }
    if (world.seed != 0 && whim(2) == 0) {
        size = 1 + whim((uint32_t)size);
    }
    return __real_hpxi_net_send(fd, data, size);
}

ptrdiff_t __wrap_hpxi_net_recv(int fd, void *data, size_t size)
{
    if (world.seed != 0 && whim(3) == 0) {
        return -EAGAIN;
    }
    return __real_hpxi_net_recv(fd, data, world.seed != 0 ? 1 + whim((uint32_t)size) : size);
}

/* Both ends send and receive with pieces cut at random. */
static void run_cut(uint64_t seed, bool hot)
{
    enum { TOTAL = 400000 };
    bed on;
    hpxi_address address;
    bed_init(&on);
    actor guest = {.bed = &on, .receive = true, .hot = hot};
    actor listener = {.bed = &on, .guest = &guest};
    actor client = {.bed = &on, .receive = true, .hot = hot};
    actor_listen(&listener, &address);
    actor_connect(&client, &address);
    TURN_UNTIL(&on, client.calls[CALL_CONNECT] == 1 && guest.sock != NULL);
    world = (whims){.seed = seed};
    actor *const both[2] = {&client, &guest};
    while (client.received < TOTAL || guest.received < TOTAL) {
        for (int i = 0; i < 2; i++) {
            const uint64_t left = TOTAL - both[i]->sent;
            const size_t size = 1 + whim(20000);
            if (left != 0 && hpxi_sock_queued(both[i]->sock) < 65536) {
                actor_append(both[i], size < left ? size : (size_t)left);
            }
        }
        bed_turn(&on);
    }
    assert_int_equal(client.received, TOTAL);
    assert_int_equal(guest.received, TOTAL);
    hpxi_sock_finish(client.sock);
    hpxi_sock_finish(guest.sock);
    TURN_UNTIL(&on, client.calls[CALL_END] == 1 && guest.calls[CALL_END] == 1);
    assert_true(world.shortened > 0 && world.interrupted > 0);
    world = (whims){0};
    assert_true(client.calls[CALL_DRAIN] + guest.calls[CALL_DRAIN] > 0);
    actor_close(&client);
    actor_close(&guest);
    actor_close(&listener);
    bed_fini(&on);
}

static void test_bytes_when_cut_at_random_then_all_arrive_in_order(void **state)
{
    (void)state;
    const char *given = getenv("HPX_TEST_SEED"); /* NOLINT(concurrency-mt-unsafe): one thread */
    for (uint64_t i = 1; i <= 40; i++) {
        const uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : i * 2654435761u;
        print_message("seed %llu\n", (unsigned long long)seed);
        run_cut(seed, i % 2 == 0);
    }
}

/* Interrupted, the operation is tried again; with nothing taken, or an error, it is the end. */
static void test_send_operation_when_it_ends_badly_then_retried_or_told(void **state)
{
    (void)state;
    static const struct {
        int result; /* INT32_MAX: 0 */
        int end;
    } cases[] = {
        {-EINTR, 0}, {-EAGAIN, 0}, {-EPIPE, -EPIPE}, {-ETIMEDOUT, -ETIMEDOUT}, {INT32_MAX, -EPIPE}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        bed on;
        bed_init(&on);
        actor self = {.bed = &on};
        const int peer = actor_pair(&self);
        set_send_buffer(self.sock->fd, 4096);
        actor_append(&self, 1 << 20);
        bed_turn(&on);
        assert_true(self.sock->send_armed);
        /* The operation itself ends with an error, having taken an unknown part. */
        world.send_result = cases[i].result;
        bed_close_rst(peer);
        TURN_UNTIL(&on, self.calls[CALL_END] == 1);
        if (cases[i].end != 0) {
            assert_int_equal(self.end_result, cases[i].end);
        }
        assert_true(self.end_result < 0 && self.end_result != -EINTR);
        assert_true(self.end_result != -EAGAIN);
        assert_int_equal(world.send_result, 0);
        actor_close(&self);
        bed_fini(&on);
    }
}

static void test_close_when_cancels_miss_then_tried_again(void **state)
{
    (void)state;
    for (uint32_t misses = 1; misses < 6; misses++) {
        for (int connecting = 0; connecting < 2; connecting++) {
            bed on;
            bed_blackhole hole = {0};
            bed_init(&on);
            actor self = {.bed = &on};
            int peer = -1;
            if (connecting) {
                bed_blackhole_init(&hole);
                actor_connect(&self, &hole.address);
                bed_turn(&on);
            } else {
                self.receive = true;
                peer = actor_pair(&self);
                set_send_buffer(self.sock->fd, 4096);
                actor_append(&self, 1 << 20);
                bed_turn(&on);
                assert_int_equal(self.sock->inflight, 2);
            }
            world.cancels_miss = misses;
            actor_abort(&self);
            TURN_UNTIL(&on, self.gone == 1); /* for ever, if one were not tried again */
            world.cancels_miss = 0;
            if (connecting) {
                bed_blackhole_fini(&hole);
            } else {
                close(peer);
            }
            bed_fini(&on);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_when_cut_at_random_then_all_arrive_in_order),
        cmocka_unit_test(test_send_operation_when_it_ends_badly_then_retried_or_told),
        cmocka_unit_test(test_close_when_cancels_miss_then_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: letting go of a socket in every state and from inside every callback; completions that come
 * for nobody; and that ten thousand connections leave nothing behind.
 * Method: a table of states times the ways to close; callbacks that call back; forged completions.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/ring/sock_bed.h"

typedef enum stage {
    STAGE_LISTENING,
    STAGE_CONNECTING_UNSUBMITTED,
    STAGE_CONNECTING,
    STAGE_REFUSED,
    STAGE_OPEN,
    STAGE_RECEIVING_UNSUBMITTED,
    STAGE_RECEIVING,
    STAGE_RECEIVING_WITH_DATA,
    STAGE_HOT,
    STAGE_WAITING_FOR_SLOTS,
    STAGE_STUCK,
    STAGE_FINISHING,
    STAGE_ENDED,
    STAGE_SEND_FAILED,
    STAGES,
} stage;

typedef struct scene {
    bed on;
    actor self;
    int peer;
    bed_blackhole hole;
    hpxi_address address;
} stage_set;

static void scene_connecting(stage_set *scene)
{
    bed_blackhole_init(&scene->hole);
    actor_connect(&scene->self, &scene->hole.address);
}

static void scene_stuck(stage_set *scene)
{
    scene->self.receive = true;
    scene->peer = actor_pair(&scene->self);
    set_send_buffer(scene->self.sock->fd, 4096);
    actor_append(&scene->self, 1 << 20);
    hpxi_sock_flush(scene->self.sock);
}

static void scene_receiving(stage_set *scene, bool hot)
{
    scene->self.receive = true;
    scene->self.hot = hot;
    scene->peer = actor_pair(&scene->self);
}

/* More bytes than slots: the receive ends, and is to start again in settle. */
static void scene_waiting(stage_set *scene)
{
    static uint8_t bytes[100000];
    hpxi_completion completion;
    bed_pattern(bytes, 0, sizeof(bytes));
    scene_receiving(scene, false);
    bed_write(scene->peer, bytes, sizeof(bytes));
    while (!scene->self.sock->rearm) {
        hpxi_ring_turn(scene->on.ring.ring);
        while (hpxi_ring_next(scene->on.ring.ring, &completion)) {
            hpxi_socks_dispatch(&scene->on.socks, &completion);
        }
    }
}

static void scene_reach(stage_set *scene, stage at)
{
    uint8_t bytes[100];
    bed_pattern(bytes, 0, sizeof(bytes));
    switch (at) {
    case STAGE_LISTENING:
        actor_listen(&scene->self, &scene->address);
        bed_turn(&scene->on);
        break;
    case STAGE_CONNECTING_UNSUBMITTED:
    case STAGE_CONNECTING:
        scene_connecting(scene);
        for (int i = 0; at == STAGE_CONNECTING && i < 3; i++) {
            bed_turn(&scene->on);
        }
        assert_int_equal(scene->self.sock->inflight, 1);
        break;
    case STAGE_REFUSED:
        close(bed_listen(&scene->address, 1));
        actor_connect(&scene->self, &scene->address);
        TURN_UNTIL(&scene->on, scene->self.calls[CALL_CONNECT] == 1);
        break;
    case STAGE_OPEN:
        scene->peer = actor_pair(&scene->self);
        break;
    case STAGE_RECEIVING_UNSUBMITTED:
    case STAGE_RECEIVING:
    case STAGE_RECEIVING_WITH_DATA:
        scene_receiving(scene, false);
        if (at != STAGE_RECEIVING_UNSUBMITTED) {
            bed_turn(&scene->on);
        }
        if (at == STAGE_RECEIVING_WITH_DATA) {
            bed_write(scene->peer, bytes, sizeof(bytes));
        }
        break;
    case STAGE_HOT:
        scene_receiving(scene, true);
        break;
    case STAGE_WAITING_FOR_SLOTS:
        scene_waiting(scene);
        break;
    case STAGE_STUCK:
        scene_stuck(scene);
        break;
    case STAGE_FINISHING:
        scene_stuck(scene);
        hpxi_sock_finish(scene->self.sock);
        break;
    case STAGE_ENDED:
        scene_receiving(scene, false);
        assert_int_equal(shutdown(scene->peer, SHUT_WR), 0);
        TURN_UNTIL(&scene->on, scene->self.calls[CALL_END] == 1);
        break;
    case STAGE_SEND_FAILED:
        scene_receiving(scene, true);
        bed_close_rst(scene->peer);
        scene->peer = -1;
        actor_append(&scene->self, 10);
        hpxi_sock_flush(scene->self.sock);
        assert_true(scene->self.sock->send_failed);
        break;
    case STAGES:
        fail();
    }
}

static void test_close_when_in_each_state_then_gone_once(void **state)
{
    (void)state;
    for (stage at = 0; at < STAGES; at++) {
        for (int how = 0; how < 4; how++) {
            stage_set scene = {.peer = -1};
            const hpxi_ring_config ring = {
                .sq_entries = 64,
                .cq_entries = 64,
                .slot_bytes = 512,
                .slot_count = 4,
                .ops_max = 64};
            bed_init_with(&scene.on, &ring);
            scene.self.bed = &scene.on;
            scene_reach(&scene, at);
            uint32_t calls[CALLS];
            if (how & 1) {
                actor_abort(&scene.self);
            } else {
                actor_close(&scene.self);
            }
            if (how & 2) {
                actor_close(&scene.self); /* again is legal */
                actor_abort(&scene.self);
            }
            memcpy(calls, scene.self.calls, sizeof(calls));
            assert_int_equal(scene.self.gone, 0);
            TURN_UNTIL(&scene.on, scene.self.gone == 1);
            bed_turn(&scene.on);
            assert_memory_equal(calls, scene.self.calls, sizeof(calls));
            if (scene.peer >= 0) {
                close(scene.peer);
            }
            if (scene.hole.count != 0) {
                bed_blackhole_fini(&scene.hole);
            }
            bed_fini(&scene.on);
        }
    }
}

static void test_close_when_receiving_then_peer_sees_fin(void **state)
{
    (void)state;
    for (int hot = 0; hot < 2; hot++) {
        bed on;
        bed_init(&on);
        actor self = {.bed = &on, .receive = true, .hot = hot != 0};
        const int peer = actor_pair(&self);
        actor_append(&self, 100);
        bed_turn(&on);
        actor_close(&self);
        uint8_t bytes[100];
        bed_read(peer, bytes, 100);
        assert_int_equal(recv(peer, bytes, 1, 0), 0); /* blocks for ever if no FIN was sent */
        TURN_UNTIL(&on, self.gone == 1);
        close(peer);
        bed_fini(&on);
    }
}

static void test_abort_when_open_then_peer_sees_reset(void **state)
{
    (void)state;
    for (int mode = 0; mode < 3; mode++) {
        bed on;
        bed_init(&on);
        actor self = {.bed = &on, .receive = mode != 0, .hot = mode == 2};
        const int peer = actor_pair(&self);
        bed_turn(&on);
        actor_abort(&self);
        TURN_UNTIL(&on, self.gone == 1);
        char byte;
        assert_int_equal(recv(peer, &byte, 1, 0), -1);
        assert_int_equal(errno, ECONNRESET);
        close(peer);
        bed_fini(&on);
    }
}

/* Every callback × everything it may do, with a second socket in the way. */
static void run_reentrant(call in, act does, bool hot)
{
    bed on;
    hpxi_address address;
    bed_init(&on);
    actor guest = {.bed = &on, .receive = true, .echo = true, .hot = hot};
    actor listener = {.bed = &on, .guest = &guest};
    actor client = {.bed = &on, .receive = true, .hot = hot};
    actor witness = {.bed = &on, .receive = true, .hot = hot};
    int peer = actor_pair(&witness);
    (in == CALL_ACCEPT                        ? &listener
     : in == CALL_CONNECT || in == CALL_BYTES ? &client
                                              : &guest)
        ->acts[in] = does;
    actor_listen(&listener, &address);
    actor_connect(&client, &address);
    TURN_UNTIL(
        &on,
        (client.calls[CALL_CONNECT] == 1 || client.let_go) && (guest.sock != NULL || guest.gone));
    if (client.sock != NULL && client.sock->state == HPXI_SOCK_OPEN && !client.sock->finishing) {
        actor_append(&client, 3000);
        bed_turn(&on);
    }
    if (in == CALL_BYTES) {
        TURN_UNTIL(&on, client.calls[CALL_BYTES] != 0);
    }
    if (in == CALL_DRAIN && !guest.let_go) {
        guest.echo = false;
        guest.sent = 3000;
        TURN_UNTIL(&on, guest.received == 3000 && hpxi_sock_queued(guest.sock) == 0);
        set_send_buffer(guest.sock->fd, 4096);
        client.received = guest.sent;
        actor_append(&guest, 500000);
        TURN_UNTIL(&on, guest.calls[CALL_DRAIN] != 0);
    }
    actor_close(&client);
    if (in == CALL_END) {
        TURN_UNTIL(&on, guest.calls[CALL_END] != 0);
    }
    actor_close(&guest);
    actor_close(&listener);
    bool witness_lives = witness.sock != NULL && !witness.let_go;
    assert_int_equal(witness_lives, does != ACT_CLOSE_ALL);
    if (witness_lives) {
        uint8_t bytes[10];
        bed_pattern(bytes, 0, sizeof(bytes));
        bed_write(peer, bytes, sizeof(bytes));
        TURN_UNTIL(&on, witness.received == sizeof(bytes));
        actor_close(&witness);
    }
    close(peer);
    bed_fini(&on);
}

static void test_callback_when_it_calls_back_then_safe(void **state)
{
    (void)state;
    static const act acts[] = {ACT_CLOSE, ACT_ABORT, ACT_FINISH, ACT_SEND, ACT_CLOSE_ALL};
    for (int hot = 0; hot < 2; hot++) {
        for (call in = 0; in < CALLS; in++) {
            for (size_t i = 0; i < COUNT_OF(acts); i++) {
                const bool listener = in == CALL_ACCEPT;
                if (listener && (acts[i] == ACT_FINISH || acts[i] == ACT_SEND)) {
                    continue; /* of listeners only closing makes sense */
                }
                run_reentrant(in, acts[i], hot != 0);
            }
        }
    }
}

/* More is there than one callback is given: what is left goes nowhere. */
static void test_close_when_more_bytes_are_there_then_they_are_dropped(void **state)
{
    (void)state;
    static uint8_t bytes[100000];
    bed_pattern(bytes, 0, sizeof(bytes));
    for (int hot = 0; hot < 2; hot++) {
        for (int how = 0; how < 2; how++) {
            bed on;
            bed_init(&on);
            actor self = {.bed = &on, .receive = true, .hot = hot != 0};
            self.acts[CALL_BYTES] = how == 0 ? ACT_CLOSE : ACT_ABORT;
            const int peer = actor_pair(&self);
            bed_write(peer, bytes, sizeof(bytes));
            TURN_UNTIL(&on, self.gone == 1);
            assert_int_equal(self.calls[CALL_BYTES], 1);
            close(peer);
            bed_fini(&on);
        }
    }
}

/* A connection was accepted, and its completion not yet taken, when the listener was closed. */
static void test_close_when_accepted_descriptor_is_underway_then_it_is_closed(void **state)
{
    (void)state;
    bed on;
    hpxi_address address;
    bed_init(&on);
    actor listener = {.bed = &on};
    actor_listen(&listener, &address);
    bed_turn(&on);
    const int guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(guest, &address.u.any, address.size), 0);
    while (hpxi_ring_turn(on.ring.ring) == 0) {
    }
    actor_close(&listener);
    TURN_UNTIL(&on, listener.gone == 1);
    assert_int_equal(listener.calls[CALL_ACCEPT], 0);
    close(guest);
    bed_fini(&on); /* counts descriptors */
}

static void test_close_when_buffers_have_grown_then_large_ones_are_freed(void **state)
{
    (void)state;
    bed on;
    bed_init(&on);
    const size_t before = on.ring.fa.bytes;
    for (int i = 0; i < 2; i++) {
        actor self = {.bed = &on, .receive = true};
        const int peer = actor_pair(&self);
        actor_append(&self, i == 0 ? 16u << 20 : 1000);
        bed_turn(&on);
        actor_close(&self);
        TURN_UNTIL(&on, self.gone == 1);
        close(peer);
        /* Small ones stay, so that the next use of the slot allocates nothing. */
        assert_int_equal(on.ring.fa.bytes > before, i == 1);
    }
    bed_fini(&on);
}

/* Each hot socket closes all others while they are walked over. */
static void test_receive_hot_when_callback_closes_all_then_safe(void **state)
{
    (void)state;
    for (int first = 0; first < HOT_MAX; first++) {
        bed on;
        bed_init(&on);
        actor actors[HOT_MAX];
        int peers[HOT_MAX];
        uint8_t bytes[10];
        bed_pattern(bytes, 0, sizeof(bytes));
        for (int i = 0; i < HOT_MAX; i++) {
            actors[i] = (actor){.bed = &on, .receive = true, .hot = true};
            actors[i].acts[CALL_BYTES] = i == first ? ACT_CLOSE_ALL : ACT_CLOSE;
            peers[i] = actor_pair(&actors[i]);
            bed_write(peers[i], bytes, sizeof(bytes));
        }
        TURN_UNTIL(&on, on.socks.open_count == 0);
        assert_int_equal(actors[first].calls[CALL_BYTES] <= 1, 1);
        for (int i = 0; i < HOT_MAX; i++) {
            close(peers[i]);
        }
        bed_fini(&on);
    }
}

static void test_fini_when_sockets_are_left_then_no_descriptor_leaks(void **state)
{
    (void)state;
    bed on;
    hpxi_address address;
    bed_init(&on);
    actor self = {.bed = &on, .receive = true};
    actor listener = {.bed = &on};
    const int peer = actor_pair(&self);
    actor_listen(&listener, &address);
    bed_turn(&on);
    hpxi_socks_fini(&on.socks);
    hpxi_ring_free(on.ring.ring, HPX_NS_PER_S);
    assert_int_equal(on.ring.fa.live, 0);
    close(peer);
    assert_int_equal(bed_fd_count(), on.fds);
}

static void init_socks(hpx_allocator allocator, bool expect_success)
{
    static hpxi_counters counters;
    const hpxi_socks_config config = {.capacity = 16, .hot_max = 2, .hot_bytes = 4096};
    hpxi_socks socks;
    const hpx_status status = hpxi_socks_init(&socks, &config, NULL, &counters, &allocator);
    assert_int_equal(status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    if (status == HPX_OK) {
        hpxi_socks_fini(&socks);
    }
}

static void test_init_when_each_allocation_fails_then_no_leak(void **state)
{
    (void)state;
    fa_exhaust(init_socks);
}

/* ---- completions that nobody waits for (U1, U8) ---- */

static void test_dispatch_when_completion_is_stale_then_counted_and_dropped(void **state)
{
    (void)state;
    bed on;
    bed_init(&on);
    actor old = {.bed = &on, .receive = true};
    int peer = actor_pair(&old);
    const uint32_t index = old.sock->index;
    const uint32_t generation = old.sock->generation;
    bed_turn(&on);
    actor_close(&old);
    TURN_UNTIL(&on, old.gone == 1);
    close(peer);
    actor self = {.bed = &on, .receive = true};
    peer = actor_pair(&self);
    bed_turn(&on);
    assert_int_equal(self.sock->index, index); /* the same slot, the next generation */
    assert_int_equal(self.sock->generation, generation + 1);
    const uint32_t inflight = self.sock->inflight;

    uint64_t stale = 0;
    const hpxi_completion forged[] = {
        {.op = HPXI_OP_RECV, .index = index, .generation = generation, .result = 0},
        {.op = HPXI_OP_RECV, .index = index, .generation = generation, .result = -ECONNRESET},
        {.op = HPXI_OP_SEND, .index = index, .generation = generation, .result = 10},
        {.op = HPXI_OP_CONNECT, .index = index, .generation = generation, .result = 0},
        {.op = HPXI_OP_ACCEPT, .index = index, .generation = generation, .result = dup(0)},
        /* Right generation, nothing of the kind in flight: an operation cannot end twice. */
        {.op = HPXI_OP_SEND, .index = index, .generation = generation + 1, .result = 10},
        {.op = HPXI_OP_CONNECT, .index = index, .generation = generation + 1, .result = 0},
        {.op = HPXI_OP_RECV, .index = index + 1, .generation = 0, .result = 0},
        {.op = HPXI_OP_RECV, .index = UINT32_MAX, .generation = generation, .result = 0},
        {.op = HPXI_OP_POLL, .index = index, .generation = generation + 1, .result = 1},
    };
    for (size_t i = 0; i < COUNT_OF(forged); i++) {
        hpxi_socks_dispatch(&on.socks, &forged[i]);
        assert_int_equal(hpxi_counter_read(&on.ring.counters.stale_completions), ++stale);
    }
    assert_int_equal(self.calls[CALL_END] + self.calls[CALL_BYTES] + self.calls[CALL_CONNECT], 0);
    assert_int_equal(self.sock->inflight, inflight);

    /* One with a slot: the slot goes home, the bytes go nowhere. */
    bed_write(peer, "x", 1);
    hpxi_completion got = ring_bed_take(&on.ring);
    assert_int_equal(got.op, HPXI_OP_RECV);
    assert_int_equal(hpxi_ring_slots_home(on.ring.ring), on.ring.slot_count - 1);
    got.generation = generation;
    hpxi_socks_dispatch(&on.socks, &got);
    assert_int_equal(hpxi_counter_read(&on.ring.counters.stale_completions), stale + 1);
    assert_int_equal(hpxi_ring_slots_home(on.ring.ring), on.ring.slot_count);
    assert_int_equal(self.calls[CALL_BYTES], 0);
    actor_close(&self);
    close(peer);
    bed_fini(&on);
}

/* ---- for long ---- */

static void test_cycle_when_repeated_then_everything_returns_to_the_baseline(void **state)
{
    (void)state;
    enum { CYCLES = 10000, BATCH = 20 };
    bed on;
    hpxi_address address;
    bed_init(&on);
    actor listener = {.bed = &on};
    actor_listen(&listener, &address);
    bed_turn(&on);
    const int fds = bed_fd_count();
    size_t live = 0;
    for (uint32_t cycle = 0; cycle < CYCLES; cycle += BATCH) {
        actor clients[BATCH];
        actor guests[BATCH];
        for (uint32_t i = 0; i < BATCH; i++) {
            const bool hot = i % 5 == 0;
            clients[i] = (actor){.bed = &on, .receive = true, .hot = hot};
            guests[i] = (actor){.bed = &on, .receive = true, .echo = i % 3 == 0, .hot = hot};
            listener.guest = &guests[i];
            actor_connect(&clients[i], &address);
            if (i % 7 == 3) {
                actor_close(&clients[i]); /* before it was even submitted */
                listener.guest = NULL;
                TURN_UNTIL(&on, clients[i].gone == 1);
                continue;
            }
            TURN_UNTIL(&on, clients[i].calls[CALL_CONNECT] == 1 && guests[i].sock != NULL);
            actor_append(&clients[i], 1 + i * 100);
        }
        bed_turn(&on);
        for (uint32_t i = 0; i < BATCH; i++) {
            /* RST mostly, so that the machine's ports do not all end up in TIME_WAIT. */
            (i % 4 == 0 ? actor_close : actor_abort)(&clients[i]);
            (i % 2 == 0 ? actor_close : actor_abort)(&guests[i]);
        }
        TURN_UNTIL(&on, on.socks.open_count == 1);
        assert_int_equal(hpxi_ring_slots_home(on.ring.ring), on.ring.slot_count);
        TURN_UNTIL(&on, hpxi_ring_inflight(on.ring.ring) == 1); /* the accept */
        if (cycle == 10 * BATCH) {
            live = on.ring.fa.live;
        }
    }
    assert_int_equal(bed_fd_count(), fds);
    assert_true(on.ring.fa.live <= live + (size_t)2 * BATCH);
    assert_int_equal(hpxi_counter_read(&on.ring.counters.stale_completions), 0);
    actor_close(&listener);
    bed_fini(&on);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_close_when_in_each_state_then_gone_once),
        cmocka_unit_test(test_close_when_receiving_then_peer_sees_fin),
        cmocka_unit_test(test_abort_when_open_then_peer_sees_reset),
        cmocka_unit_test(test_callback_when_it_calls_back_then_safe),
        cmocka_unit_test(test_close_when_more_bytes_are_there_then_they_are_dropped),
        cmocka_unit_test(test_close_when_accepted_descriptor_is_underway_then_it_is_closed),
        cmocka_unit_test(test_close_when_buffers_have_grown_then_large_ones_are_freed),
        cmocka_unit_test(test_receive_hot_when_callback_closes_all_then_safe),
        cmocka_unit_test(test_fini_when_sockets_are_left_then_no_descriptor_leaks),
        cmocka_unit_test(test_init_when_each_allocation_fails_then_no_leak),
        cmocka_unit_test(test_dispatch_when_completion_is_stale_then_counted_and_dropped),
        cmocka_unit_test(test_cycle_when_repeated_then_everything_returns_to_the_baseline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

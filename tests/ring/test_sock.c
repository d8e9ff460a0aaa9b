/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: connect, send, receive and close as sock.h promises, on every way an operation can end, and
 * with callbacks that call back into the sockets.
 * Method: sockets of the library against each other or against plain blocking ones, over loopback;
 * both receive modes. bed_fini() checks after each case that every socket is gone, nothing is in
 * flight, all slots are home, and descriptors and memory are where they were.
 */
#include "ring/sock.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/ring/ring_bed.h"
#include "tests/support/test.h"

#define SECONDS_MAX 50
#define HOT_MAX     4
#define CAPACITY    128
#define BULK_BUFFER 4096

typedef enum act {
    ACT_NONE,
    ACT_CLOSE,
    ACT_ABORT,
    ACT_FINISH,
    ACT_SEND,      /* append and flush at once */
    ACT_CLOSE_ALL, /* every socket there is */
} act;

typedef enum call { CALL_CONNECT, CALL_BYTES, CALL_END, CALL_DRAIN, CALL_ACCEPT, CALLS } call;

typedef struct bed bed;

/* The owner of one socket: counts, and does something inside a callback. */
typedef struct actor {
    bed *bed;
    hpxi_sock *sock;
    act acts[CALLS];
    uint32_t calls[CALLS];
    uint32_t gone;
    int connect_result;
    int end_result;
    bool hot;            /* how accepted or connected sockets receive */
    bool receive;        /* start receiving when open */
    bool echo;
    uint64_t received;   /* checked against the pattern */
    uint64_t sent;       /* appended */
    uint64_t send_total; /* to append while there is room */
    struct actor *guest; /* listener: who adopts the next accepted socket */
    bool let_go;
} actor;

struct bed {
    ring_bed ring;
    hpxi_socks socks;
    int fds;
};

static void actor_act(actor *self, call which);

static void on_connect(hpxi_sock *sock, int result)
{
    actor *self = sock->owner;
    assert_false(self->let_go);
    assert_ptr_equal(self->sock, sock);
    self->calls[CALL_CONNECT]++;
    self->connect_result = result;
    if (result == 0 && self->receive) {
        self->hot = hpxi_sock_receive(sock, self->hot);
    }
    actor_act(self, CALL_CONNECT);
}

static void on_bytes(hpxi_sock *sock, uint8_t *data, size_t size)
{
    actor *self = sock->owner;
    assert_false(self->let_go);
    assert_true(size > 0 && self->calls[CALL_END] == 0);
    self->calls[CALL_BYTES]++;
    assert_true(bed_pattern_is(data, self->received, size));
    self->received += size;
    if (self->echo) {
        assert_true(hpxi_buf_append(hpxi_sock_out(sock), data, size));
        hpxi_sock_mark(sock);
    }
    memset(data, 0xA5, size); /* it is ours to write to */
    actor_act(self, CALL_BYTES);
}

static void on_end(hpxi_sock *sock, int result)
{
    actor *self = sock->owner;
    assert_false(self->let_go);
    self->calls[CALL_END]++;
    assert_int_equal(self->calls[CALL_END], 1);
    self->end_result = result;
    actor_act(self, CALL_END);
}

static void on_drain(hpxi_sock *sock)
{
    actor *self = sock->owner;
    assert_false(self->let_go);
    assert_int_equal(hpxi_sock_queued(sock), 0);
    self->calls[CALL_DRAIN]++;
    actor_act(self, CALL_DRAIN);
}

static void on_gone(hpxi_sock *sock)
{
    actor *self = sock->owner;
    assert_true(self->let_go);
    assert_int_equal(sock->inflight, 0);
    self->gone++;
    assert_int_equal(self->gone, 1);
    self->sock = NULL;
}

static void on_accept(hpxi_sock *sock, int fd);

static const hpxi_sock_ops ops = {
    .on_connect = on_connect,
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_accept = on_accept,
    .on_gone = on_gone,
};

static void actor_close(actor *self)
{
    if (self->sock != NULL) {
        self->let_go = true;
        hpxi_sock_close(self->sock);
    }
}

static void actor_abort(actor *self)
{
    if (self->sock != NULL) {
        self->let_go = true;
        hpxi_sock_abort(self->sock);
    }
}

/* Appends the next `size` bytes of the pattern. */
static void actor_append(actor *self, size_t size)
{
    uint8_t *to = hpxi_buf_reserve(hpxi_sock_out(self->sock), size);
    assert_non_null(to);
    bed_pattern(to, self->sent, size);
    hpxi_buf_commit(hpxi_sock_out(self->sock), size);
    self->sent += size;
    hpxi_sock_mark(self->sock);
}

static void on_accept(hpxi_sock *sock, int fd)
{
    actor *self = sock->owner;
    assert_false(self->let_go);
    self->calls[CALL_ACCEPT]++;
    assert_true(fd >= 0);
    actor *guest = self->guest;
    if (guest == NULL) {
        hpxi_net_close(fd);
    } else {
        assert_int_equal(
            hpxi_sock_adopt(sock->socks, fd, guest->sock == NULL ? &ops : NULL, guest, &guest->sock),
            HPX_OK);
        if (guest->receive) {
            guest->hot = hpxi_sock_receive(guest->sock, guest->hot);
        }
    }
    actor_act(self, CALL_ACCEPT);
}

static void actor_act(actor *self, call which)
{
    bed *on = self->bed;
    switch (self->acts[which]) {
    case ACT_NONE:
        break;
    case ACT_CLOSE:
        actor_close(self);
        break;
    case ACT_ABORT:
        actor_abort(self);
        break;
    case ACT_FINISH:
        hpxi_sock_finish(self->sock);
        break;
    case ACT_SEND:
        if (self->sock->state == HPXI_SOCK_OPEN) {
            actor_append(self, 10);
            hpxi_sock_flush(self->sock);
        }
        break;
    case ACT_CLOSE_ALL:
        for (uint32_t i = 0; i < on->socks.config.capacity; i++) {
            hpxi_sock *sock = &on->socks.table[i];
            if (sock->state != HPXI_SOCK_FREE) {
                actor_close(sock->owner);
            }
        }
        break;
    }
}

static void bed_init_with(bed *on, const hpxi_ring_config *ring)
{
    const hpxi_socks_config config = {
        .capacity = CAPACITY, .hot_max = HOT_MAX, .hot_bytes = 16384};
    on->fds = bed_fd_count();
    ring_bed_init(&on->ring, ring);
    assert_int_equal(
        hpxi_socks_init(
            &on->socks, &config, on->ring.ring, &on->ring.counters, &on->ring.allocator),
        HPX_OK);
}

static void bed_init(bed *on)
{
    const hpxi_ring_config ring = RING_BED_CONFIG;
    bed_init_with(on, &ring);
}

/* One turn of a shard, in the shard's order. */
static void bed_turn(bed *on, uint64_t sleep_ns)
{
    hpxi_completion completion;
    uint32_t work = hpxi_socks_receive_hot(&on->socks, 65536);
    const int ready =
        sleep_ns == 0 ? hpxi_ring_turn(on->ring.ring) : hpxi_ring_wait(on->ring.ring, sleep_ns);
    assert_true(ready >= 0);
    while (hpxi_ring_next(on->ring.ring, &completion)) {
        hpxi_socks_dispatch(&on->socks, &completion);
    }
    work += hpxi_socks_flush(&on->socks);
    work += hpxi_socks_settle(&on->socks);
    (void)work;
}

/* Turns until the condition holds; the condition, not time, ends it. */
#define TURN_UNTIL(on, condition)                                                                  \
    do {                                                                                           \
        const time_t start_ = time(NULL);                                                          \
        while (!(condition)) {                                                                     \
            bed_turn((on), 0);                                                                     \
            if (time(NULL) - start_ > SECONDS_MAX) {                                               \
                fail_msg("not reached in %d s: %s", SECONDS_MAX, #condition);                      \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static void bed_fini(bed *on)
{
    TURN_UNTIL(on, on->socks.open_count == 0 && hpxi_ring_inflight(on->ring.ring) == 0);
    bed_turn(on, 0);
    assert_int_equal(on->socks.hot_count, 0);
    assert_null(on->socks.settle_list);
    hpxi_socks_fini(&on->socks);
    ring_bed_fini(&on->ring);
    assert_int_equal(bed_fd_count(), on->fds);
}

static void actor_connect(actor *self, const hpxi_address *address)
{
    assert_int_equal(
        hpxi_sock_connect(&self->bed->socks, address, 0, &ops, self, &self->sock), HPX_OK);
}

/* The actor's socket is connected to a plain one, which is returned. */
static int actor_pair(actor *self)
{
    int ends[2];
    bed_pair(ends);
    assert_int_equal(
        hpxi_sock_adopt(&self->bed->socks, ends[0], &ops, self, &self->sock), HPX_OK);
    if (self->receive) {
        self->hot = hpxi_sock_receive(self->sock, self->hot);
    }
    return ends[1];
}

static void actor_listen(actor *self, hpxi_address *address)
{
    assert_true(hpxi_address_parse(address, "127.0.0.1", 0));
    assert_int_equal(
        hpxi_sock_listen(&self->bed->socks, address, 128, false, &ops, self, &self->sock), HPX_OK);
    assert_int_equal(hpxi_net_local(self->sock->fd, address), 0);
}

static void set_send_buffer(int fd, int bytes)
{
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

/* Before connecting: TCP recovers from a window that shrinks only by its slow timers. */
static void set_buffers(int fd, int bytes)
{
    set_send_buffer(fd, bytes);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
}

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
    bed_turn(&on, 0);
    assert_int_equal(client.gone, 0);
    actor_close(&client);
    assert_int_equal(client.gone, 0); /* not from inside the call */
    bed_turn(&on, 0);
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
        hpxi_sock_connect(&on.socks, &address, 0, &ops, &on, &sock), HPX_E_LIMIT);
    assert_null(sock);
    const int fds = bed_fd_count();
    assert_int_equal(hpxi_sock_listen(&on.socks, &address, 1, false, &ops, &on, &sock), HPX_E_LIMIT);
    assert_int_equal(
        hpxi_sock_adopt(&on.socks, hpxi_net_tcp_socket(AF_INET, 0), &ops, &on, &sock), HPX_E_LIMIT);
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
        bed_turn(&on, 0);
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
        bed_turn(&on, 0);
    }
    assert_int_equal(self.calls[CALL_DRAIN], 0);
    assert_int_equal(self.sock->inflight, 2); /* one receive, one send: never two */
    static uint8_t bytes[TOTAL];
    size_t got = 0;
    while (got < TOTAL) {
        const ptrdiff_t size = hpxi_net_recv(peer, bytes + got, TOTAL - got);
        got += size > 0 ? (size_t)size : 0;
        bed_turn(&on, 0);
        assert_true(self.sock->inflight <= 2);
    }
    assert_true(bed_pattern_is(bytes, 0, TOTAL));
    TURN_UNTIL(&on, self.calls[CALL_DRAIN] == 1);
    actor_append(&self, 10); /* not stuck any more: inline, and no second on_drain */
    bed_turn(&on, 0);
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
    bed_turn(&on, 0);
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
            bed_turn(&on, 0);
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
        bed_turn(&on, 0);
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
        bed_turn(&on, 0);
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
        bed_turn(&on, 0);
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
        bed_turn(&on, 0);
        assert_true(self.sock->send_armed);
        bed_close_rst(peer);
        TURN_UNTIL(&on, self.calls[CALL_END] == 1 && !self.sock->send_armed);
        bed_turn(&on, 0);
        bed_turn(&on, 0);
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
        bed_turn(&on, 0);
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

/* ---- closing ---- */

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
        bed_turn(&scene->on, 0);
        break;
    case STAGE_CONNECTING_UNSUBMITTED:
    case STAGE_CONNECTING:
        scene_connecting(scene);
        for (int i = 0; at == STAGE_CONNECTING && i < 3; i++) {
            bed_turn(&scene->on, 0);
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
            bed_turn(&scene->on, 0);
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
            bed_turn(&scene.on, 0);
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
        bed_turn(&on, 0);
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
        bed_turn(&on, 0);
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
    (in == CALL_ACCEPT ? &listener : in == CALL_CONNECT || in == CALL_BYTES ? &client : &guest)
        ->acts[in] = does;
    actor_listen(&listener, &address);
    actor_connect(&client, &address);
    TURN_UNTIL(
        &on,
        (client.calls[CALL_CONNECT] == 1 || client.let_go) && (guest.sock != NULL || guest.gone));
    if (client.sock != NULL && client.sock->state == HPXI_SOCK_OPEN && !client.sock->finishing) {
        actor_append(&client, 3000);
        bed_turn(&on, 0);
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
    bed_turn(&on, 0);
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
    bed_turn(&on, 0);
    actor_close(&old);
    TURN_UNTIL(&on, old.gone == 1);
    close(peer);
    actor self = {.bed = &on, .receive = true};
    peer = actor_pair(&self);
    bed_turn(&on, 0);
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
    bed_turn(&on, 0);
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
        bed_turn(&on, 0);
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
    assert_true(on.ring.fa.live <= live + 2 * BATCH);
    assert_int_equal(hpxi_counter_read(&on.ring.counters.stale_completions), 0);
    actor_close(&listener);
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
        cmocka_unit_test(test_close_when_in_each_state_then_gone_once),
        cmocka_unit_test(test_close_when_receiving_then_peer_sees_fin),
        cmocka_unit_test(test_abort_when_open_then_peer_sees_reset),
        cmocka_unit_test(test_callback_when_it_calls_back_then_safe),
        cmocka_unit_test(test_receive_hot_when_callback_closes_all_then_safe),
        cmocka_unit_test(test_fini_when_sockets_are_left_then_no_descriptor_leaks),
        cmocka_unit_test(test_init_when_each_allocation_fails_then_no_leak),
        cmocka_unit_test(test_dispatch_when_completion_is_stale_then_counted_and_dropped),
        cmocka_unit_test(test_cycle_when_repeated_then_everything_returns_to_the_baseline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/ring/sock_bed.h"

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

const hpxi_sock_ops actor_ops = {
    .on_connect = on_connect,
    .on_bytes = on_bytes,
    .on_end = on_end,
    .on_drain = on_drain,
    .on_accept = on_accept,
    .on_gone = on_gone,
};

void actor_close(actor *self)
{
    if (self->sock != NULL) {
        self->let_go = true;
        hpxi_sock_close(self->sock);
    }
}

void actor_abort(actor *self)
{
    if (self->sock != NULL) {
        self->let_go = true;
        hpxi_sock_abort(self->sock);
    }
}

void actor_append(actor *self, size_t size)
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
            hpxi_sock_adopt(
                sock->socks, fd, guest->sock == NULL ? &actor_ops : NULL, guest, &guest->sock),
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

void bed_init_with(bed *on, const hpxi_ring_config *ring)
{
    const hpxi_socks_config config = {.capacity = CAPACITY, .hot_max = HOT_MAX, .hot_bytes = 16384};
    on->fds = bed_fd_count();
    ring_bed_init(&on->ring, ring);
    assert_int_equal(
        hpxi_socks_init(
            &on->socks, &config, on->ring.ring, &on->ring.counters, &on->ring.allocator),
        HPX_OK);
}

void bed_init(bed *on)
{
    const hpxi_ring_config ring = RING_BED_CONFIG;
    bed_init_with(on, &ring);
}

void bed_turn(bed *on)
{
    hpxi_completion completion;
    hpxi_socks_receive_hot(&on->socks, 65536);
    assert_true(hpxi_ring_turn(on->ring.ring) >= 0);
    while (hpxi_ring_next(on->ring.ring, &completion)) {
        hpxi_socks_dispatch(&on->socks, &completion);
    }
    hpxi_socks_flush(&on->socks);
    hpxi_socks_settle(&on->socks);
}

void bed_fini(bed *on)
{
    TURN_UNTIL(on, on->socks.open_count == 0 && hpxi_ring_inflight(on->ring.ring) == 0);
    bed_turn(on);
    assert_int_equal(on->socks.hot_count, 0);
    assert_null(on->socks.settle_list);
    hpxi_socks_fini(&on->socks);
    ring_bed_fini(&on->ring);
    assert_int_equal(bed_fd_count(), on->fds);
}

void actor_connect(actor *self, const hpxi_address *address)
{
    assert_int_equal(
        hpxi_sock_connect(&self->bed->socks, address, 0, &actor_ops, self, &self->sock), HPX_OK);
}

int actor_pair(actor *self)
{
    int ends[2];
    bed_pair(ends);
    assert_int_equal(
        hpxi_sock_adopt(&self->bed->socks, ends[0], &actor_ops, self, &self->sock), HPX_OK);
    if (self->receive) {
        self->hot = hpxi_sock_receive(self->sock, self->hot);
    }
    return ends[1];
}

void actor_listen(actor *self, hpxi_address *address)
{
    assert_true(hpxi_address_parse(address, "127.0.0.1", 0));
    assert_int_equal(
        hpxi_sock_listen(&self->bed->socks, address, 128, false, &actor_ops, self, &self->sock),
        HPX_OK);
    assert_int_equal(hpxi_net_local(self->sock->fd, address), 0);
}

void set_send_buffer(int fd, int bytes)
{
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

void set_buffers(int fd, int bytes)
{
    set_send_buffer(fd, bytes);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock.c - sockets of a shard. See sock.h for the states.
 *
 * Role      Decides what every end of an operation means. Three lists of sockets drive it: dirty
 *           (bytes to send), settle (a callback owed that could not be made at once), rearm (a
 *           receive or accept to start again). A socket may be on any of them in any state, also
 *           after its slot was reused: whoever takes it off looks at the state again.
 * Threads   The shard's.
 * Memory    Of the table, see sock_table.c; nothing is allocated here but send buffers that grow.
 *
 * Callbacks may call anything here but settle, flush and receive_hot of the whole table. A slot
 * is reused only after on_gone, which only settle makes, so after any other callback the socket is
 * still this socket and only its state has to be looked at.
 */
#include "ring/sock.h"

#include <errno.h>

#include "ring/sock_internal.h"

#define SOCK_SEND_BYTES_MAX (1u << 30) /* of one SEND operation: its result is an int32 */
#define SOCK_END_ROUNDS     2          /* a failed send is reported in the turn after */
#define SOCK_REARM_SHARE    16         /* slots to be home for each receive re-armed */

static hpxi_token sock_token(const hpxi_sock *sock, hpxi_op op)
{
    return hpxi_token_make(op, sock->generation, sock->index);
}

static void sock_arm_recv(hpxi_sock *sock)
{
    HPX_ASSERT(sock->state == HPXI_SOCK_OPEN && sock->receiving);
    HPX_ASSERT(!sock->recv_armed && !sock->hot);
    sock->recv_armed = true;
    sock->inflight++;
    hpxi_ring_recv(sock->socks->ring, sock_token(sock, HPXI_OP_RECV), sock->fd);
}

static void sock_arm_accept(hpxi_sock *sock)
{
    HPX_ASSERT(sock->state == HPXI_SOCK_LISTENING && !sock->wait_armed);
    sock->wait_op = HPXI_OP_ACCEPT;
    sock->wait_armed = true;
    sock->inflight++;
    hpxi_ring_accept(sock->socks->ring, sock_token(sock, HPXI_OP_ACCEPT), sock->fd);
}

/* `fly` is the kernel's from here to the final completion. */
static void sock_arm_send(hpxi_sock *sock)
{
    HPX_ASSERT(sock->state == HPXI_SOCK_OPEN && !sock->send_armed);
    const hpx_span bytes = hpxi_buf_span(&sock->fly);
    HPX_ASSERT(bytes.size != 0);
    const size_t size = bytes.size < SOCK_SEND_BYTES_MAX ? bytes.size : SOCK_SEND_BYTES_MAX;
    sock->send_armed = true;
    sock->inflight++;
    hpxi_count(&sock->socks->counters->send_fallbacks, 1);
    hpxi_ring_send(
        sock->socks->ring, sock_token(sock, HPXI_OP_SEND), sock->fd, bytes.data, (uint32_t)size);
}

static void sock_cancel_armed(hpxi_sock *sock)
{
    hpxi_ring *ring = sock->socks->ring;
    if (sock->recv_armed) {
        hpxi_ring_cancel(ring, sock_token(sock, HPXI_OP_RECV));
    }
    if (sock->send_armed) {
        hpxi_ring_cancel(ring, sock_token(sock, HPXI_OP_SEND));
    }
    if (sock->wait_armed) {
        hpxi_ring_cancel(ring, sock_token(sock, sock->wait_op));
    }
}

/* A final completion was taken. */
static void sock_retire(hpxi_sock *sock, bool *armed)
{
    HPX_ASSERT(*armed);
    HPX_ASSERT(sock->inflight != 0);
    *armed = false;
    sock->inflight--;
    if (sock->state == HPXI_SOCK_CLOSING && sock->inflight == 0) {
        hpxi_sock_push_settle(sock);
    }
}

/* ---- opening ---- */

hpx_status hpxi_sock_connect(
    hpxi_socks *socks,
    const hpxi_address *address,
    uint32_t busy_poll_us,
    const hpxi_sock_ops *ops,
    void *owner,
    hpxi_sock **out)
{
    *out = NULL;
    if (socks->free_list == NULL) {
        return HPX_E_LIMIT;
    }
    const int fd = hpxi_net_tcp_socket(address->u.any.sa_family, busy_poll_us);
    if (fd < 0) {
        return fd;
    }
    hpxi_sock *sock = hpxi_sock_take(socks, fd, HPXI_SOCK_CONNECTING, ops, owner);
    sock->address = *address;
    sock->wait_op = HPXI_OP_CONNECT;
    sock->wait_armed = true;
    sock->inflight++;
    hpxi_ring_connect(socks->ring, sock_token(sock, HPXI_OP_CONNECT), fd, &sock->address);
    HPX_XASSERT(hpxi_sock_is_valid(sock));
    *out = sock;
    return HPX_OK;
}

hpx_status
hpxi_sock_adopt(hpxi_socks *socks, int fd, const hpxi_sock_ops *ops, void *owner, hpxi_sock **out)
{
    *out = NULL;
    hpx_status status = hpxi_net_tcp_tune(fd, 0);
    if (status == HPX_OK) {
        *out = hpxi_sock_take(socks, fd, HPXI_SOCK_OPEN, ops, owner);
        status = *out == NULL ? HPX_E_LIMIT : HPX_OK;
    }
    if (status != HPX_OK) {
        hpxi_net_close(fd);
    }
    return status;
}

hpx_status hpxi_sock_listen(
    hpxi_socks *socks,
    const hpxi_address *address,
    uint32_t backlog,
    bool reuse_port,
    const hpxi_sock_ops *ops,
    void *owner,
    hpxi_sock **out)
{
    HPX_ASSERT(ops->on_accept != NULL);
    *out = NULL;
    if (socks->free_list == NULL) {
        return HPX_E_LIMIT;
    }
    const int fd = hpxi_net_tcp_listen(address, backlog, reuse_port);
    if (fd < 0) {
        return fd;
    }
    hpxi_sock *sock = hpxi_sock_take(socks, fd, HPXI_SOCK_LISTENING, ops, owner);
    sock_arm_accept(sock);
    *out = sock;
    return HPX_OK;
}

bool hpxi_sock_receive(hpxi_sock *sock, bool hot)
{
    HPX_ASSERT(sock->state == HPXI_SOCK_OPEN);
    HPX_ASSERT(!sock->receiving && !sock->recv_armed && !sock->ended);
    hpxi_socks *socks = sock->socks;
    sock->receiving = true;
    if (hot && socks->hot_count < socks->config.hot_max) {
        sock->hot = true;
        sock->hot_index = socks->hot_count;
        socks->hot[socks->hot_count++] = sock;
        return true;
    }
    sock_arm_recv(sock);
    return false;
}

void hpxi_sock_pause(hpxi_sock *sock)
{
    HPX_ASSERT(!sock->hot);
    if (sock->state != HPXI_SOCK_OPEN || sock->paused) {
        return;
    }
    sock->paused = true;
    if (sock->recv_armed) {
        hpxi_ring_cancel(sock->socks->ring, sock_token(sock, HPXI_OP_RECV));
    }
}

void hpxi_sock_resume(hpxi_sock *sock)
{
    if (sock->state != HPXI_SOCK_OPEN || !sock->paused) {
        return;
    }
    sock->paused = false;
    if (sock->receiving && !sock->recv_armed) {
        sock_arm_recv(sock); /* else when the cancelled one has ended */
    }
}

/* ---- closing ---- */

static void sock_hot_remove(hpxi_sock *sock)
{
    hpxi_socks *socks = sock->socks;
    if (!sock->hot) {
        return;
    }
    HPX_ASSERT(sock->hot_index < socks->hot_count);
    HPX_ASSERT(socks->hot[sock->hot_index] == sock);
    hpxi_sock *last = socks->hot[--socks->hot_count];
    socks->hot[sock->hot_index] = last;
    last->hot_index = sock->hot_index;
    sock->hot = false;
}

static void sock_let_go(hpxi_sock *sock, bool abort)
{
    HPX_ASSERT(sock->state != HPXI_SOCK_FREE);
    if (abort && sock->fd >= 0) {
        hpxi_net_linger_zero(sock->fd); /* fails only on a socket that has ended anyway */
    }
    if (sock->state == HPXI_SOCK_CLOSING) {
        return;
    }
    if (sock->state == HPXI_SOCK_OPEN) {
        /* An armed receive holds the descriptor open, and ends by itself once shut down. For an
         * abort only our side of it: a FIN before the RST would read as a good end. */
        hpxi_net_shutdown(sock->fd, abort ? SHUT_RD : SHUT_RDWR);
    }
    sock_hot_remove(sock);
    sock->state = HPXI_SOCK_CLOSING;
    sock->receiving = false;
    sock->stuck = false;
    sock_cancel_armed(sock);
    if (sock->inflight == 0) {
        hpxi_sock_push_settle(sock);
    }
    HPX_XASSERT(hpxi_sock_is_valid(sock));
}

void hpxi_sock_close(hpxi_sock *sock)
{
    sock_let_go(sock, false);
}

void hpxi_sock_abort(hpxi_sock *sock)
{
    sock_let_go(sock, true);
}

/* The end of receiving, told at once: never called from inside a call of the owner. */
static void sock_end(hpxi_sock *sock, int result)
{
    HPX_ASSERT(sock->state == HPXI_SOCK_OPEN && result <= 0);
    HPX_ASSERT(!sock->ended);
    sock_hot_remove(sock);
    sock->receiving = false;
    sock->ended = true;
    if (sock->end_owed != 0) { /* a send failed first, and is why the stream ended */
        sock->end_owed = 0;
        result = sock->end_result;
    }
    sock->ops->on_end(sock, result);
}

/* ---- sending ---- */

/* The connection is broken. What the peer said before is still to be received, so this is told one
 * turn later, unless receiving ends before that. */
static void sock_send_fail(hpxi_sock *sock, int result)
{
    HPX_ASSERT(result < 0 && !sock->send_armed);
    sock->send_failed = true;
    sock->stuck = false;
    hpxi_buf_consume(&sock->out, hpxi_buf_size(&sock->out));
    hpxi_buf_consume(&sock->fly, hpxi_buf_size(&sock->fly));
    if (!sock->ended) {
        sock->end_owed = SOCK_END_ROUNDS;
        sock->end_result = result;
        hpxi_sock_push_settle(sock);
    }
}

/* Everything is with the kernel. */
static void sock_sent(hpxi_sock *sock, bool may_call)
{
    HPX_DASSERT(hpxi_sock_queued(sock) == 0);
    if (sock->finishing && !sock->write_shut) {
        sock->write_shut = true;
        hpxi_net_shutdown(sock->fd, SHUT_WR); /* fails only if the connection is gone */
    }
    if (HPXI_LIKELY(!sock->stuck)) {
        return;
    }
    sock->stuck = false;
    if (may_call) {
        sock->ops->on_drain(sock);
    } else {
        sock->drain_owed = true;
        hpxi_sock_push_settle(sock);
    }
}

/* Sends `out` inline; hands what the kernel does not take to a SEND operation. */
static void sock_transmit(hpxi_sock *sock, bool may_call)
{
    if (sock->state != HPXI_SOCK_OPEN || sock->send_armed || sock->send_failed) {
        return;
    }
    HPX_DASSERT(hpxi_buf_size(&sock->fly) == 0);
    const hpx_span bytes = hpxi_buf_span(&sock->out);
    if (bytes.size != 0) {
        const ptrdiff_t sent = hpxi_net_send(sock->fd, bytes.data, bytes.size);
        hpxi_count(&sock->socks->counters->send_syscalls, 1);
        if (HPXI_UNLIKELY(sent < 0 && sent != -EAGAIN)) {
            sock_send_fail(sock, (int)sent);
            return;
        }
        if (HPXI_LIKELY(sent > 0)) {
            hpxi_count(&sock->socks->counters->bytes_sent, (uint64_t)sent);
            hpxi_buf_consume(&sock->out, (size_t)sent);
            sock->sent_bytes += (uint64_t)sent;
        }
        if (HPXI_UNLIKELY(hpxi_buf_size(&sock->out) != 0)) {
            const hpxi_buf rest = sock->out;
            sock->out = sock->fly;
            sock->fly = rest;
            sock->stuck = true;
            sock_arm_send(sock);
            return;
        }
    }
    sock_sent(sock, may_call);
}

void hpxi_sock_mark(hpxi_sock *sock)
{
    HPX_DASSERT(!sock->finishing || sock->state != HPXI_SOCK_OPEN);
    if (sock->state == HPXI_SOCK_OPEN) {
        hpxi_sock_push_dirty(sock);
    }
}

void hpxi_sock_flush(hpxi_sock *sock)
{
    sock_transmit(sock, false);
}

void hpxi_sock_finish(hpxi_sock *sock)
{
    if (sock->state == HPXI_SOCK_OPEN && !sock->finishing) {
        sock->finishing = true;
        sock_transmit(sock, false);
    }
}

uint32_t hpxi_socks_flush(hpxi_socks *socks)
{
    uint32_t count = 0;
    while (socks->dirty_list != NULL) {
        hpxi_sock *sock = socks->dirty_list;
        HPX_DASSERT(sock->dirty);
        socks->dirty_list = sock->next_dirty;
        sock->dirty = false;
        sock_transmit(sock, true);
        count++;
    }
    return count;
}

/* ---- completions ---- */

static void sock_on_recv_end(hpxi_sock *sock, int result)
{
    if (sock->state != HPXI_SOCK_OPEN || !sock->receiving) {
        return;
    }
    if (HPXI_UNLIKELY(sock->paused) && (result > 0 || result == -ENOBUFS || result == -ECANCELED)) {
        return; /* resume() arms it again */
    }
    if (result > 0 || result == -ECANCELED) {
        sock_arm_recv(sock); /* ended though data came: the completion queue had overflowed; or
                                paused and resumed before the cancel was through */
    } else if (result == -ENOBUFS) {
        hpxi_count(&sock->socks->counters->no_buffers, 1);
        hpxi_sock_push_rearm(sock);
    } else {
        sock_end(sock, result);
    }
}

static void sock_on_recv(hpxi_sock *sock, const hpxi_completion *completion)
{
    hpxi_socks *socks = sock->socks;
    if (HPXI_UNLIKELY(!completion->more)) {
        sock_retire(sock, &sock->recv_armed);
    }
    if (HPXI_LIKELY(completion->result > 0)) {
        if (HPXI_LIKELY(sock->receiving)) {
            hpxi_count(&socks->counters->bytes_received, (uint64_t)completion->result);
            sock->ops->on_bytes(sock, completion->data, (size_t)completion->result);
        }
        hpxi_ring_recycle(socks->ring, completion);
    }
    if (HPXI_UNLIKELY(!completion->more)) {
        sock_on_recv_end(sock, completion->result);
    }
}

static void sock_on_send(hpxi_sock *sock, const hpxi_completion *completion)
{
    HPX_ASSERT(!completion->more);
    sock_retire(sock, &sock->send_armed);
    if (sock->state != HPXI_SOCK_OPEN) {
        return;
    }
    const int result = completion->result;
    if (result == 0 || (result < 0 && result != -EAGAIN && result != -EINTR)) {
        sock_send_fail(sock, result == 0 ? -EPIPE : result);
        return;
    }
    if (result > 0) {
        HPX_ASSERT((size_t)result <= hpxi_buf_size(&sock->fly));
        hpxi_count(&sock->socks->counters->bytes_sent, (uint64_t)result);
        hpxi_buf_consume(&sock->fly, (size_t)result);
        sock->sent_bytes += (uint64_t)result;
    }
    if (hpxi_buf_size(&sock->fly) != 0) {
        sock_arm_send(sock); /* short, though asked for all: MSG_WAITALL is no promise */
        return;
    }
    sock_transmit(sock, true);
}

static void sock_on_connect(hpxi_sock *sock, const hpxi_completion *completion)
{
    HPX_ASSERT(!completion->more);
    sock_retire(sock, &sock->wait_armed);
    if (sock->state != HPXI_SOCK_CONNECTING) {
        return;
    }
    if (completion->result >= 0) {
        sock->state = HPXI_SOCK_OPEN;
    }
    sock->ops->on_connect(sock, completion->result >= 0 ? 0 : completion->result);
}

static void sock_on_accept(hpxi_sock *sock, const hpxi_completion *completion)
{
    if (!completion->more) {
        sock_retire(sock, &sock->wait_armed);
    }
    if (sock->state != HPXI_SOCK_LISTENING) {
        if (completion->result >= 0) {
            hpxi_net_close(completion->result);
        }
        return;
    }
    sock->ops->on_accept(sock, completion->result);
    if (!completion->more && sock->state == HPXI_SOCK_LISTENING) {
        hpxi_sock_push_rearm(
            sock); /* in settle: out of descriptors is not to become a busy loop here */
    }
}

/* A cancel misses an operation that is between being issued and being entered in the kernel's poll
 * table. It is tried again in the next turn, not here: completions of cancels come at once, those
 * of their targets only with the next enter, and one must not chase the other. */
static void sock_on_cancel(hpxi_sock *sock, int result)
{
    const bool pausing = sock->state == HPXI_SOCK_OPEN && sock->paused && sock->recv_armed;
    const bool closing = sock->state == HPXI_SOCK_CLOSING && sock->inflight != 0;
    if ((closing || pausing) && result <= 0) { /* 0: of as many as there were */
        sock->cancel_owed = true;
        hpxi_sock_push_settle(sock);
    }
}

/* Belongs to a socket that is gone, or ends an operation that has ended: drop it, keep nothing. */
static void socks_stale(hpxi_socks *socks, const hpxi_completion *completion)
{
    hpxi_count(&socks->counters->stale_completions, 1);
    if (completion->op == HPXI_OP_ACCEPT && completion->result >= 0) {
        hpxi_net_close(completion->result);
    }
    hpxi_ring_recycle(socks->ring, completion);
}

static bool sock_expects(const hpxi_sock *sock, hpxi_op op)
{
    switch (op) {
    case HPXI_OP_RECV:
        return sock->recv_armed;
    case HPXI_OP_SEND:
        return sock->send_armed;
    case HPXI_OP_ACCEPT:
    case HPXI_OP_CONNECT:
        return sock->wait_armed && sock->wait_op == op;
    case HPXI_OP_CANCEL:
        return true;
    case HPXI_OP_NONE:
    case HPXI_OP_POLL:
    case HPXI_OP_DOORBELL:
        break;
    }
    return false;
}

void hpxi_socks_dispatch(hpxi_socks *socks, const hpxi_completion *completion)
{
    hpxi_sock *sock =
        completion->index < socks->config.capacity ? &socks->table[completion->index] : NULL;
    if (HPXI_UNLIKELY(
            sock == NULL || sock->generation != completion->generation ||
            !sock_expects(sock, completion->op))) {
        if (completion->op != HPXI_OP_CANCEL) {
            socks_stale(socks, completion);
        }
        return;
    }
    switch (completion->op) {
    case HPXI_OP_RECV:
        sock_on_recv(sock, completion);
        break;
    case HPXI_OP_SEND:
        sock_on_send(sock, completion);
        break;
    case HPXI_OP_CONNECT:
        sock_on_connect(sock, completion);
        break;
    case HPXI_OP_ACCEPT:
        sock_on_accept(sock, completion);
        break;
    default:
        sock_on_cancel(sock, completion->result);
        break;
    }
    HPX_XASSERT(hpxi_sock_is_valid(sock));
}

/* ---- hot receive ---- */

/* Returns the number of reads that brought bytes or an end. */
static uint32_t sock_receive_hot(hpxi_sock *sock, uint32_t bytes_max)
{
    hpxi_socks *socks = sock->socks;
    const size_t room = bytes_max < socks->config.hot_bytes ? bytes_max : socks->config.hot_bytes;
    uint32_t count = 0;
    size_t total = 0;
    ptrdiff_t got;
    do {
        got = hpxi_net_recv(sock->fd, socks->hot_buffer, room);
        hpxi_count(&socks->counters->recv_syscalls, 1);
        if (got == -EAGAIN) {
            break;
        }
        count++;
        if (HPXI_UNLIKELY(got <= 0)) {
            sock_end(sock, (int)got);
            break;
        }
        total += (size_t)got;
        hpxi_count(&socks->counters->bytes_received, (uint64_t)got);
        sock->ops->on_bytes(sock, socks->hot_buffer, (size_t)got);
        /* A short read emptied the socket; asking again would cost a call to learn that. */
    } while ((size_t)got == room && total + room <= bytes_max && sock->receiving);
    return count;
}

uint32_t hpxi_socks_receive_hot(hpxi_socks *socks, uint32_t bytes_max)
{
    HPX_DASSERT(bytes_max != 0);
    uint32_t count = 0;
    /* Backwards: one that leaves is replaced by the last, which has had its turn. */
    for (uint32_t i = socks->hot_count; i-- > 0;) {
        if (i < socks->hot_count) {
            count += sock_receive_hot(socks->hot[i], bytes_max);
        }
    }
    return count;
}

/* ---- settling ---- */

/* Makes what is owed to one socket. Returns the number of callbacks; *wait: something is owed
 * still, but not in this turn. */
static uint32_t sock_settle(hpxi_sock *sock, bool *wait)
{
    uint32_t count = 0;
    *wait = false;
    if (sock->state == HPXI_SOCK_OPEN && sock->drain_owed) {
        sock->drain_owed = false;
        sock->ops->on_drain(sock);
        count++;
    }
    if (sock->state == HPXI_SOCK_OPEN && sock->end_owed != 0) {
        sock->end_owed--;
        *wait = sock->end_owed != 0;
        if (!*wait) {
            sock_end(sock, sock->end_result);
            count++;
        }
    }
    if (sock->cancel_owed) {
        sock->cancel_owed = false;
        if (sock->state == HPXI_SOCK_CLOSING && sock->inflight != 0) {
            sock_cancel_armed(sock);
        } else if (sock->state == HPXI_SOCK_OPEN && sock->paused && sock->recv_armed) {
            hpxi_ring_cancel(sock->socks->ring, sock_token(sock, HPXI_OP_RECV));
        }
    }
    if (sock->state == HPXI_SOCK_CLOSING && sock->inflight == 0 && !sock->settle) {
        hpxi_net_close(sock->fd);
        sock->fd = -1;
        sock->ops->on_gone(sock);
        hpxi_sock_give_back(sock);
        count++;
    }
    return count;
}

/* Starts receives again that ran out of slots, in turn: each may take many at once, and whoever
 * came first is not to take them all every time. Returns the number left waiting. */
static uint32_t socks_rearm(hpxi_socks *socks)
{
    hpxi_ring_slots_flush(socks->ring);
    const uint32_t home = hpxi_ring_slots_home(socks->ring);
    uint32_t budget = (home + SOCK_REARM_SHARE - 1) / SOCK_REARM_SHARE;
    while (socks->rearm_list != NULL && budget != 0) {
        hpxi_sock *sock = socks->rearm_list;
        HPX_ASSERT(sock->rearm);
        socks->rearm_list = sock->next_rearm;
        sock->rearm = false;
        if (sock->state == HPXI_SOCK_LISTENING && !sock->wait_armed) {
            sock_arm_accept(sock);
        } else if (
            sock->state == HPXI_SOCK_OPEN && sock->receiving && !sock->hot && !sock->recv_armed &&
            !sock->paused) {
            sock_arm_recv(sock);
            budget--;
        }
    }
    return socks->rearm_list != NULL;
}

uint32_t hpxi_socks_settle(hpxi_socks *socks)
{
    uint32_t count = 0;
    hpxi_sock *later = NULL;
    while (socks->settle_list != NULL) {
        hpxi_sock *sock = socks->settle_list;
        HPX_ASSERT(sock->settle);
        socks->settle_list = sock->next_settle;
        sock->settle = false;
        bool wait = false;
        count += sock_settle(sock, &wait);
        if (wait && !sock->settle) {
            sock->settle = true;
            sock->next_settle = later;
            later = sock;
            count++;
        }
    }
    socks->settle_list = later;
    return count + (socks->rearm_list == NULL ? 0 : socks_rearm(socks));
}

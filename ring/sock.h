/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sock.h - TCP sockets of a shard: connect, accept, receive, send, close, over ring.h and net.h.
 *
 * Role      Knows every way in which an io_uring operation on a socket can end, so that nothing
 *           above it has to. Receive: multishot into provided slots, re-armed after overflow and,
 *           once slots were returned, after ENOBUFS; or hot: recv() every turn, nothing armed.
 *           Send: inline send() of what one turn produced; on a short send one SEND operation at a
 *           time carries the rest. Close: shutdown, final completion, close(2), slot reuse.
 * Threads   The shard's.
 * Memory    A fixed table; a socket's index is stable, its generation changes with each use, and a
 *           slot is reused only when nothing is in flight for it. Send buffers grow on demand.
 *
 * States    FREE -> CONNECTING -> OPEN -> CLOSING -> FREE       (client)
 *           FREE -> OPEN ...                                    (accepted)
 *           FREE -> LISTENING -> CLOSING -> FREE                (listener)
 *
 * Callbacks are made only from hpxi_socks_dispatch(), hpxi_socks_receive_hot() and
 * hpxi_socks_flush() / hpxi_socks_settle(), never from inside a call of the owner. After
 * hpxi_sock_close() or _abort() the only callback still to come is on_gone, once, last.
 */
#ifndef HPXI_SOCK_H
#define HPXI_SOCK_H

#include <stdalign.h>

#include "ring/alloc.h"
#include "ring/ring.h"

typedef struct hpxi_sock hpxi_sock;
typedef struct hpxi_socks hpxi_socks;

/* Callbacks of one kind of owner. All of them are required, except on_accept for non-listeners and
 * the others for listeners (on_gone is always required). */
typedef struct hpxi_sock_ops {
    void (*on_connect)(hpxi_sock *sock, int result);            /* 0 or -errno */
    void (*on_bytes)(hpxi_sock *sock, uint8_t *data, size_t size); /* size > 0; data is writable
                                                                    and valid during the call */
    void (*on_end)(hpxi_sock *sock, int result); /* once: 0 peer's FIN, or -errno (receive or
                                                    send failed); close the socket after it */
    void (*on_drain)(hpxi_sock *sock); /* everything queued was taken by the kernel, after a time
                                          in which it was not */
    void (*on_accept)(hpxi_sock *sock, int fd); /* fd >= 0: now the owner's; < 0: -errno */
    void (*on_gone)(hpxi_sock *sock); /* descriptor closed, nothing in flight: last use */
} hpxi_sock_ops;

typedef enum hpxi_sock_state {
    HPXI_SOCK_FREE = 0,
    HPXI_SOCK_LISTENING,
    HPXI_SOCK_CONNECTING,
    HPXI_SOCK_OPEN,
    HPXI_SOCK_CLOSING, /* owner let go; waiting for completions in flight */
} hpxi_sock_state;

struct hpxi_sock {
    /* For the owner. */
    alignas(64) void *owner; /* what a received message touches shares the first cache line */
    const hpxi_sock_ops *ops;

    /* Private to sock.c. */
    hpxi_socks *socks;
    uint32_t index;
    uint32_t generation;
    int fd;
    hpxi_sock_state state;
    uint32_t inflight;      /* operations whose final completion is to come */
    uint32_t hot_index;     /* place in socks->hot */
    hpxi_op wait_op;        /* CONNECT or ACCEPT */
    bool hot;               /* receive mode */
    bool receiving;         /* receive was started and has not ended */
    bool recv_armed;        /* a RECV operation is in flight */
    bool send_armed;        /* a SEND operation is in flight: `fly` is the kernel's */
    bool wait_armed;        /* the operation `wait_op` is in flight */
    bool finishing;         /* shut down for writing once everything is sent */
    bool write_shut;
    bool send_failed;       /* nothing more is sent */
    bool ended;             /* on_end was called */
    uint8_t end_owed;       /* on_end(end_result) is due after this many settles; 0 = none */
    bool drain_owed;        /* on_drain is due in settle */
    bool cancel_owed;       /* a cancel missed: to be tried again in settle */
    bool stuck;             /* a send could not complete inline: on_drain is to come */
    bool dirty;             /* on the flush list */
    bool settle;            /* on the settle list */
    bool rearm;             /* on the re-arm list */
    bool paused;            /* the owner takes no bytes now */
    int end_result;
    uint64_t sent_bytes;    /* taken by the kernel since the socket was made */
    hpxi_sock *next_dirty;
    hpxi_sock *next_settle;
    hpxi_sock *next_rearm;
    hpxi_sock *next_free;
    hpxi_buf out;           /* bytes to send next */
    hpxi_buf fly;           /* bytes of the SEND operation in flight */
    hpxi_address address;   /* peer, for connect */
};

typedef struct hpxi_socks_config {
    uint32_t capacity;      /* sockets, listeners included */
    uint32_t hot_max;
    uint32_t hot_bytes;     /* size of the one receive buffer of hot sockets */
} hpxi_socks_config;

struct hpxi_socks {
    hpxi_ring *ring;
    hpxi_counters *counters;
    const hpx_allocator *allocator;
    hpxi_socks_config config;
    hpxi_sock *table;
    hpxi_sock *free_list;
    hpxi_sock *dirty_list; /* first come, first served, as the re-arm list */
    hpxi_sock *dirty_tail;
    hpxi_sock *settle_list;
    hpxi_sock *rearm_list;
    hpxi_sock *rearm_tail;
    hpxi_sock **hot;
    uint32_t hot_count;
    uint32_t open_count; /* slots not FREE */
    uint8_t *hot_buffer;
};

hpx_status hpxi_socks_init(hpxi_socks *socks, const hpxi_socks_config *config, hpxi_ring *ring,
                           hpxi_counters *counters, const hpx_allocator *allocator);

/* Frees the table. Sockets that are not gone are cut off: their descriptor is closed, and the bytes
 * of a SEND in flight are leaked on purpose, for the kernel may still read them. */
void hpxi_socks_fini(hpxi_socks *socks);

/* Begin a connect. on_connect follows; after a failed one the socket is still to be closed.
 * HPX_OK, HPX_E_LIMIT, -errno (no descriptor, ...). */
hpx_status hpxi_sock_connect(hpxi_socks *socks, const hpxi_address *address, uint32_t busy_poll_us,
                             const hpxi_sock_ops *ops, void *owner, hpxi_sock **out);

/* Take over an accepted descriptor: OPEN at once. On failure the descriptor is closed. */
hpx_status hpxi_sock_adopt(hpxi_socks *socks, int fd, const hpxi_sock_ops *ops, void *owner,
                           hpxi_sock **out);

/* Listen; on_accept follows for every connection. HPX_OK, HPX_E_LIMIT, -errno. */
hpx_status hpxi_sock_listen(hpxi_socks *socks, const hpxi_address *address, uint32_t backlog,
                            bool reuse_port, const hpxi_sock_ops *ops, void *owner,
                            hpxi_sock **out);

/* Hand an OPEN socket (a winner of a race) to another owner. */
static inline void hpxi_sock_set_owner(hpxi_sock *sock, const hpxi_sock_ops *ops, void *owner)
{
    sock->ops = ops;
    sock->owner = owner;
}

/* Start receiving on an OPEN socket. `hot` falls back to multishot when hot_max is reached;
 * returns whether it is hot. */
bool hpxi_sock_receive(hpxi_sock *sock, bool hot);

/* The buffer to append bytes to; then hpxi_sock_mark(). OPEN sockets only. */
static inline hpxi_buf *hpxi_sock_out(hpxi_sock *sock)
{
    return &sock->out;
}

/* Bytes were appended: send them at the next flush. */
void hpxi_sock_mark(hpxi_sock *sock);

/* Send now rather than at the end of the turn. Errors come as on_end in the settle of the next
 * turn, so that what the peer said before it went is received first. */
void hpxi_sock_flush(hpxi_sock *sock);

/* Bytes not yet taken by the kernel. */
static inline size_t hpxi_sock_queued(const hpxi_sock *sock)
{
    return hpxi_buf_size(&sock->out) + hpxi_buf_size(&sock->fly);
}

/* Receive no more until hpxi_sock_resume(): the peer is throttled by TCP. What is on its way still
 * comes as on_bytes, and an end as on_end. Not for hot sockets. */
void hpxi_sock_pause(hpxi_sock *sock);
void hpxi_sock_resume(hpxi_sock *sock);

/* Bytes the kernel has taken so far. None since some moment: the peer cannot have seen any of what
 * was queued after it. */
static inline uint64_t hpxi_sock_sent(const hpxi_sock *sock)
{
    return sock->sent_bytes;
}

/* No more bytes will be queued: when all are sent, shut down the write side (FIN). Receiving goes
 * on until on_end. */
void hpxi_sock_finish(hpxi_sock *sock);

/* Let go: unsent bytes are dropped, the descriptor is closed in good order, on_gone follows. */
void hpxi_sock_close(hpxi_sock *sock);

/* Let go with RST. */
void hpxi_sock_abort(hpxi_sock *sock);

/* Route a completion of ACCEPT, CONNECT, RECV, SEND or CANCEL; recycles its slot. A CANCEL may be
 * of someone else's operation. */
void hpxi_socks_dispatch(hpxi_socks *socks, const hpxi_completion *completion);

/* recv() on every hot socket, at most `bytes_max` each. Returns the number of reads that brought
 * bytes or an end. */
uint32_t hpxi_socks_receive_hot(hpxi_socks *socks, uint32_t bytes_max);

/* Inline-send everything marked. Returns the number of sockets flushed. */
uint32_t hpxi_socks_flush(hpxi_socks *socks);

/* Owed callbacks (on_gone, deferred on_end and on_drain), then re-arms of receives that ran out of
 * buffers. Returns the number of callbacks made or still owed, re-arms still owed included: not 0
 * means that this turn was not idle. Not to be called from a callback. */
uint32_t hpxi_socks_settle(hpxi_socks *socks);

/* Is nothing left here that only a further turn would do? If not, do not sleep: hot sockets wake
 * nobody, and what waits on a list has no operation armed that could. */
static inline bool hpxi_socks_may_sleep(const hpxi_socks *socks)
{
    return socks->dirty_list == NULL && socks->settle_list == NULL && socks->rearm_list == NULL &&
           socks->hot_count == 0;
}

#endif /* HPXI_SOCK_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn.h - one WebSocket connection on its shard: the driver.
 *
 * client  IDLE -> RESOLVING -> CONNECTING -> [TLS_HANDSHAKE] -> UPGRADING -> READY
 * with a protocol                                   UPGRADING -> AUTHENTICATING -> RESUBSCRIBING
 *                                                                               -> READY
 * server                                     [TLS_HANDSHAKE] -> UPGRADING -> READY
 * any     -> CLOSING -> CLOSED        (orderly: CLOSE frames, close_notify, FIN, peer's FIN)
 * any     -> CLOSED                   (failed, refused, aborted)
 * lost or failed, with config.reconnect: -> BACKING_OFF -> RESOLVING ...
 *
 * Role      conn.c holds the transitions, one function each; conn_io.c turns bytes into events and
 *           messages into bytes; conn_close.c ends a connection from any state; conn_retry.c
 *           decides whether and when another attempt follows; conn_heartbeat.c finds dead peers.
 * Threads   The shard's.
 * Memory    One allocation for the connection, and buffers that grow to what it needs and stay.
 *
 * A connection that leaves READY (or fails on the way there) owes DISCONNECTED; once its socket is
 * gone it owes CLOSED, or with reconnection goes on to the next attempt. Events are delivered from
 * the shard's settle step, never from inside a call of the app.
 */
#ifndef HPXI_CONN_H
#define HPXI_CONN_H

#include "engine/dial.h"
#include "engine/session.h"
#include "engine/shard.h"
#include "engine/spec.h"
#include "tls/tls.h"
#include "ws/frame.h"
#include "ws/handshake.h"

struct hpx_conn {
    hpx_shard *shard;
    hpx_conn_state state;
    hpxi_ws_role role;
    hpx_event_fn on_event; /* inline delivery, or NULL */
    void *user;
    hpxi_hub *hub;         /* client role; a reference */
    hpxi_channel *channel; /* port delivery, or NULL; a reference */
    hpxi_channel *handles; /* those not yet released */
    hpxi_session *session; /* with a protocol, or NULL */

    /* Configuration: the client's spec, or the listener's settings copied at accept. */
    hpxi_spec *spec;
    hpx_listener *listener; /* server role; a reference */
    uint64_t send_queue_bytes_max;
    uint64_t close_timeout_ns;
    bool hot;

    /* The way up. */
    hpxi_dial dial;
    hpxi_sock *sock;
    hpxi_tls *tls;
    hpxi_ws_head head;
    uint8_t nonce[HPXI_WS_NONCE_BYTES];
    hpxi_timer deadline; /* of the current stage */
    uint64_t stage_ns;   /* when the current stage began */

    /* Ready. */
    uint64_t epoch;
    hpxi_ws_decoder decoder;
    hpxi_buf plain_out; /* TLS: frames to encrypt at the end of the turn */
    bool want_writable; /* a send was refused: WRITABLE is owed when drained */

    /* The way down. */
    bool terminal; /* no further attempt: the app closed, or the engine stops */
    bool close_sent;
    bool close_received;
    bool finish;    /* FIN after everything queued went out */
    bool discard;   /* received bytes are of no interest any more */
    bool announced; /* CONNECTED was delivered */
    bool owes_disconnected;
    bool told_disconnected;
    hpx_error error; /* why it ended */

    /* The next attempt. */
    hpxi_timer backoff; /* in BACKING_OFF: until it may begin */
    bool backoff_over;
    uint32_t failures; /* attempts in a row that did not become stable */
    uint64_t ready_ns; /* when READY began; 0: this attempt did not get there */

    /* Heartbeat and watchdog. */
    hpxi_timer heartbeat;
    hpxi_timer watchdog;
    uint64_t ping_ns;    /* when the ping frame without an answer was sent; 0: none is out */
    uint64_t query_ns;   /* likewise, of the protocol's ping */
    uint64_t message_ns; /* when the last message came */

    hpx_conn_info info;

    /* Lists of the shard. */
    hpx_conn *next;
    hpx_conn *prev;
    hpx_conn *next_settle;
    hpx_conn *next_dirty;
    bool on_settle;
    bool on_dirty;
};

struct hpx_listener {
    hpx_shard *shard;
    uint32_t refs; /* the app (until closed) and each accepted connection */
    hpx_listen_config config;
    char *strings;
    size_t strings_bytes;
    const char *subprotocols[HPXI_SUBPROTOCOLS_MAX];
    hpxi_sock *sock; /* NULL once closed */
    uint16_t port;
    hpx_listener *next;
    hpx_listener *prev;
};

void hpxi_listener_release(hpx_listener *listener);

/* New client connection in IDLE; takes the spec, a reference of the hub, and one of the channel
 * (may be NULL). NULL when out of memory (they stay the caller's). */
hpx_conn *
hpxi_conn_new_client(hpx_shard *shard, hpxi_spec *spec, hpxi_hub *hub, hpxi_channel *channel);

/* The WebSocket is open: messages flow, if only the session's own. */
static inline bool hpxi_conn_is_open(const hpx_conn *conn)
{
    return conn->state >= HPX_CONN_AUTHENTICATING && conn->state <= HPX_CONN_READY;
}

/* Between turns the shard's clock stands: a deadline set now has to count from now. */
void hpxi_conn_refresh_clock(hpx_conn *conn);

/* May the app queue `size` more bytes? If not, WRITABLE is owed. */
bool hpxi_conn_may_queue(hpx_conn *conn, size_t size);

/* The stage that the state stands for, for errors. */
hpx_stage hpxi_conn_stage(const hpx_conn *conn);

/* IDLE -> RESOLVING. */
void hpxi_conn_start(hpx_conn *conn);

/* A connection accepted by `listener` on descriptor `fd`; errors only close it. */
void hpxi_conn_accept(hpx_listener *listener, int fd);

/* conn.c: TLS_HANDSHAKE -> UPGRADING with bytes received. False: not yet, or failed. */
bool hpxi_conn_on_handshake(hpx_conn *conn, uint8_t **data, size_t *size);

/* conn.c: UPGRADING -> READY with bytes received; advances the input past the head. */
void hpxi_conn_on_head(hpx_conn *conn, uint8_t **data, size_t *size);

/* conn.c: AUTHENTICATING -> RESUBSCRIBING, RESUBSCRIBING -> READY; the session says when. */
void hpxi_conn_resubscribing(hpx_conn *conn);
void hpxi_conn_become_ready(hpx_conn *conn);

/* Set the state, and publish it to the handle. */
void hpxi_conn_set_state(hpx_conn *conn, hpx_conn_state state);

/* conn_io.c ------------------------------------------------------------------------------------ */

extern const hpxi_sock_ops hpxi_conn_sock_ops;

/* Bytes from the socket; then what the state makes of them. */
void hpxi_conn_on_plain(hpx_conn *conn, uint8_t *data, size_t size);

/* Queue bytes of a handshake or a frame; `bytes` were appended to hpxi_conn_out(). */
hpxi_buf *hpxi_conn_out(hpx_conn *conn);
void hpxi_conn_mark(hpx_conn *conn);

/* Queue a control frame. False when out of memory. */
bool hpxi_conn_control(hpx_conn *conn, hpxi_ws_op op, const uint8_t *payload, size_t size);

/* Bytes queued and not yet taken by the kernel. */
uint64_t hpxi_conn_queued(const hpx_conn *conn);

/* Encrypt what is waiting; called for connections on the dirty list. */
void hpxi_conn_flush(hpx_conn *conn);

/* Queue one message without looking at the queue's limit; the WebSocket is open. HPX_OK or
 * HPX_E_NO_MEMORY. */
hpx_status hpxi_conn_send(hpx_conn *conn, hpx_message_kind kind, hpx_span payload);

/* As above, a text with the splice applied: still one copy. */
hpx_status hpxi_conn_send_spliced(hpx_conn *conn, hpx_span payload, const hpx_splice *splice);

/* Deliver an event to the handler or the channel. */
void hpxi_conn_deliver(hpx_conn *conn, const hpx_event *event);

/* conn.c: frees what belongs to one attempt (session, codec, buffers) and makes it new. */
void hpxi_conn_renew(hpx_conn *conn);

/* conn_close.c: the handles that lead here. References are the link's. */
void hpxi_conn_add_handle(hpx_conn *conn, hpxi_channel *channel);
void hpxi_conn_remove_handle(hpx_conn *conn, hpxi_channel *channel);

/* conn_retry.c --------------------------------------------------------------------------------- */

/* The delay before the attempt that follows `failures` failed ones; `random` is uniform in 0..1. */
uint64_t hpxi_backoff_ns(const hpx_ws_config *config, uint32_t failures, double random);

/* The attempt (or the Ready period) is over: should another follow? Counts it. */
bool hpxi_conn_wants_retry(hpx_conn *conn);

/* Enter BACKING_OFF. */
void hpxi_conn_back_off(hpx_conn *conn);

/* In BACKING_OFF, from settle: begin the next attempt if it is time and the old socket is gone. */
void hpxi_conn_retry(hpx_conn *conn);

void hpxi_conn_on_backoff(hpxi_timer *timer, uint64_t now_ns);

/* conn_heartbeat.c ----------------------------------------------------------------------------- */

void hpxi_conn_heartbeat_init(hpx_conn *conn);
void hpxi_conn_heartbeat_start(hpx_conn *conn); /* the WebSocket is open */
void hpxi_conn_heartbeat_stop(hpx_conn *conn);  /* ... and not any more */
void hpxi_conn_heartbeat_pong(hpx_conn *conn, const uint8_t *payload, size_t size);
void hpxi_conn_heartbeat_answered(hpx_conn *conn); /* the protocol's ping was */

/* conn_close.c --------------------------------------------------------------------------------- */

/* End the connection with `error` (copied): tear down, owe the events. Any state but CLOSED. */
void hpxi_conn_fail(hpx_conn *conn, const hpx_error *error);

/* As above; the detail is given as text. */
void hpxi_conn_fail_with(hpx_conn *conn, hpx_status status, hpx_stage stage, const char *detail);

/* The peer broke a rule: send CLOSE(code), then FIN; DISCONNECTED is owed now. READY only. */
void hpxi_conn_violation(hpx_conn *conn, hpx_status status, uint16_t code, const char *detail);

/* The app (or the engine's stop) asks to close. Any state. */
void hpxi_conn_close(hpx_conn *conn, uint16_t code, hpx_span reason);

/* The peer's CLOSE frame arrived. */
void hpxi_conn_peer_close(hpx_conn *conn, uint16_t code, hpx_span reason);

/* Both CLOSE frames are through, or nothing more is to be said: close_notify and FIN. */
void hpxi_conn_finish(hpx_conn *conn);

/* The app wants a new connection. Any state; only with config.reconnect. */
void hpxi_conn_reconnect(hpx_conn *conn, hpx_span reason);

/* Give this connection up, in good order (CLOSE 1000), for the cause given: another attempt follows
 * if it may. The WebSocket is open. */
void hpxi_conn_leave(hpx_conn *conn, const hpx_error *error);

/* Drop everything at once (engine stop after its deadline). */
void hpxi_conn_abort(hpx_conn *conn);

/* The deadline of CLOSING passed. */
void hpxi_conn_close_timeout(hpx_conn *conn);

/* Put on the settle list; then hpxi_conn_settle() delivers what is owed, and frees the connection
 * after CLOSED. */
void hpxi_conn_mark_settle(hpx_conn *conn);
void hpxi_conn_settle(hpx_conn *conn);

#endif /* HPXI_CONN_H */

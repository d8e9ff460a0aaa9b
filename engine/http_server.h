/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_server.h - the HTTP server on a shard: listeners, connections, calls.
 *
 *   conn  [TLS] -> SNIFF -> HTTP1 or HTTP2 -> CLOSING -> gone
 *   call  RECEIVING -> OPEN -> STREAMING -> DONE -> (CLOSED delivered) -> free
 *            \__________________________________________________/ when the peer is lost
 *
 * Role      http_server.c       a server's configuration, its listener, the shard's steps for all
 *           http_server_conn.c  a connection: socket, TLS, bytes both ways, deadlines, close
 *           http_server_h1.c    one request at a time on it; what comes meanwhile waits
 *           http_server_h2.c    streams on it
 *           http_server_call.c  a request and its answer, and the public functions on it
 * Threads   The shard's.
 * Memory    Connections are allocated one by one; a connection keeps one finished call with its
 *           buffers for the next. HTTP/1.1 in the steady state allocates nothing.
 */
#ifndef HPXI_HTTP_SERVER_H
#define HPXI_HTTP_SERVER_H

#include <hpx/http_server.h>

#include "engine/shard.h"
#include "h1/reader.h"
#include "h2/session.h"
#include "tls/tls.h"

typedef struct hpxi_server_conn hpxi_server_conn;

typedef enum hpxi_call_phase {
    HPXI_CALL_RECEIVING, /* its body is to come; the app does not know of it */
    HPXI_CALL_OPEN,      /* the app is to answer */
    HPXI_CALL_STREAMING, /* the answer has begun */
    HPXI_CALL_DONE,      /* CLOSED is owed */
} hpxi_call_phase;

struct hpx_http_call {
    hpxi_server_conn *conn; /* lives as long as its calls */
    hpx_http_server *server;
    hpxi_call_phase phase;
    hpx_http_call_info info;
    void *user;
    hpx_error error; /* DONE: why it was lost, or HPX_OK */
    hpxi_buf body;   /* of the request */
    bool announced;  /* the app saw REQUEST */
    bool is_head;
    bool want_writable;
    bool aborted; /* by the app: the connection (HTTP/1.1) goes with it */
    uint64_t began_ns;

    /* The answer. */
    uint64_t body_bytes; /* announced, or HPX_HTTP_SIZE_UNKNOWN */
    uint64_t body_done;  /* taken from the app */
    bool chunked;        /* HTTP/1.1: in chunks */
    bool raw;            /* HTTP/1.1: the app frames it */
    bool no_body;        /* HEAD, 204, 304: what is written is counted only */

    /* HTTP/2 */
    hpxi_h2_stream stream;
    hpxi_buf head; /* fields, then their bytes: the session's views do not last */
    hpxi_buf out;  /* body that the session is to take */
    bool out_ended;
    bool refused; /* answered by the server itself: the app never sees it */

    hpx_http_call *next; /* of its connection */
    hpx_http_call *prev;
    hpx_http_call *next_settle; /* of the shard */
    bool on_settle;
};

typedef enum hpxi_server_state {
    HPXI_SERVER_TLS,
    HPXI_SERVER_SNIFF, /* HTTP/1.1 or HTTP/2 by its first bytes */
    HPXI_SERVER_HTTP1,
    HPXI_SERVER_HTTP2,
    HPXI_SERVER_CLOSING, /* nothing is read any more */
} hpxi_server_state;

struct hpxi_server_conn {
    hpx_http_server *server; /* a reference */
    hpx_shard *shard;
    hpxi_server_state state;
    hpxi_sock *sock;
    hpxi_tls *tls;
    hpxi_buf plain_out; /* TLS: bytes to encrypt */
    hpxi_buf held;      /* input that waits: for enough to sniff, or for the answer in progress */
    hpxi_timer deadline;
    uint64_t stall_sent; /* bytes the kernel had taken when `deadline` was set */
    bool peer_ended;     /* it sends no more */
    bool finish;         /* FIN after everything queued went out */
    bool last;           /* HTTP1: closed after the answer in progress */
    bool abort;          /* HTTP1: the app cut its answer off: RST */
    bool in_bytes;       /* its input is being read: calls that are done are seen to there */
    uint32_t request_count;

    hpxi_h1_reader reader; /* HTTP1 */
    bool reader_made;
    hpxi_h2 *h2; /* HTTP2 */
    hpxi_timer h2_timer;

    hpx_http_call *calls; /* HTTP1: at most one */
    hpx_http_call *spare; /* a finished one, kept for its buffers */

    char peer_address[64];
    hpxi_server_conn *next; /* the server's */
    hpxi_server_conn *prev;
    hpxi_server_conn *next_of_shard;
    hpxi_server_conn *prev_of_shard;
    hpxi_server_conn *next_dirty; /* the shard's */
    hpxi_server_conn *next_settle;
    bool on_dirty;
    bool on_settle;
};

struct hpx_http_server {
    hpx_shard *shard;
    uint32_t refs; /* the app (until closed) and each connection */
    hpx_http_server_config config;
    hpxi_h1_limits h1_limits;
    hpxi_h2_config h2_config;
    hpxi_sock *sock; /* NULL once closed */
    uint16_t port;
    hpx_http_server_stats stats;
    hpxi_server_conn *conns;
    hpxi_buf names; /* scratch: lower-case names of one head in HTTP/2 */
    int64_t date_s; /* when `date` was made */
    char date[32];
    hpx_http_server *next; /* the shard's */
    hpx_http_server *prev;
};

/* Fields of an answer, the server's own included. */
#define HPXI_SERVER_FIELDS_MAX 64u
#define HPXI_SERVER_OWN_FIELDS 2u /* Content-Length, Date */

/* ---- http_server.c: the shard's steps -------------------------------------------------------- */

void hpxi_servers_stop(hpx_shard *shard);  /* close all in good order */
void hpxi_servers_abort(hpx_shard *shard); /* drop all at once */
uint32_t hpxi_servers_flush(hpx_shard *shard);
uint32_t hpxi_servers_settle(hpx_shard *shard);

static inline bool hpxi_servers_are_quiet(const hpx_shard *shard)
{
    return shard->owner.servers.conn_count == 0;
}

static inline bool hpxi_servers_may_sleep(const hpx_shard *shard)
{
    return shard->owner.servers.dirty == NULL && shard->owner.servers.settle == NULL &&
           shard->owner.servers.calls == NULL;
}

void hpxi_server_release(hpx_http_server *server);

/* ---- http_server_conn.c ---------------------------------------------------------------------- */

/* A connection accepted on descriptor `fd`; errors only close it. */
void hpxi_server_accept(hpx_http_server *server, int fd);

static inline hpxi_buf *hpxi_server_out(hpxi_server_conn *conn)
{
    return conn->tls != NULL ? &conn->plain_out : hpxi_sock_out(conn->sock);
}

void hpxi_server_mark(hpxi_server_conn *conn);        /* flush it in this turn */
void hpxi_server_mark_settle(hpxi_server_conn *conn); /* settle it in this turn */
void hpxi_server_flush(hpxi_server_conn *conn);
void hpxi_server_settle(hpxi_server_conn *conn);
uint64_t hpxi_server_queued(const hpxi_server_conn *conn);

/* Nothing more is said: FIN when all is out. Input is dropped. */
void hpxi_server_finish(hpxi_server_conn *conn);

/* It is over at once: calls that are not done are lost with `error`. */
void hpxi_server_fail(hpxi_server_conn *conn, const hpx_error *error);
void hpxi_server_fail_with(hpxi_server_conn *conn, hpx_status status, const char *detail);

/* As that, but with RST, and what is queued is sent before it as far as the kernel takes it. */
void hpxi_server_reset(hpxi_server_conn *conn);

/* Close in good order as soon as no call is open. */
void hpxi_server_close(hpxi_server_conn *conn);

/* Wait for this long, HPX_NEVER for ever; then on_deadline decides by the state. */
void hpxi_server_set_deadline(hpxi_server_conn *conn, uint64_t timeout_ns);

/* The deadline while calls are open. */
void hpxi_server_watch(hpxi_server_conn *conn);

/* ---- http_server_h1.c, http_server_h2.c ------------------------------------------------------ */

void hpxi_server_h1_open(hpxi_server_conn *conn);
void hpxi_server_h1_bytes(hpxi_server_conn *conn, const uint8_t *data, size_t size);
void hpxi_server_h1_end(hpxi_server_conn *conn); /* the peer sends no more */

/* Its call is gone: the next request, of which some may be held. */
void hpxi_server_h1_next(hpxi_server_conn *conn);

/* The request in progress is refused with this status; the connection ends. */
void hpxi_server_h1_refuse(hpxi_server_conn *conn, uint16_t status, const char *detail);

hpx_status hpxi_server_h1_head(
    hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    hpx_error *error);
hpx_status hpxi_server_h1_piece(hpx_http_call *call, hpx_span piece);
hpx_status hpxi_server_h1_last(hpx_http_call *call);

bool hpxi_server_h2_open(hpxi_server_conn *conn); /* false: no memory */
void hpxi_server_h2_bytes(hpxi_server_conn *conn, const uint8_t *data, size_t size);
void hpxi_server_h2_end(hpxi_server_conn *conn);
void hpxi_server_h2_flush(hpxi_server_conn *conn);
void hpxi_server_h2_timer(hpxi_timer *timer, uint64_t now_ns);
void hpxi_server_h2_abort(hpx_http_call *call);

hpx_status hpxi_server_h2_head(
    hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    hpx_error *error);

/* ---- http_server_call.c ---------------------------------------------------------------------- */

/* A call of the connection, in RECEIVING. NULL: no memory. */
hpx_http_call *hpxi_call_new(hpxi_server_conn *conn);

/* Splits the target; then delivers REQUEST. */
void hpxi_call_announce(hpx_http_call *call);

/* The answer was given to the transport whole, or `error` lost it: CLOSED is owed. */
void hpxi_call_done(hpx_http_call *call, const hpx_error *error);

/* Delivers what is owed: WRITABLE, or CLOSED, after which the call is gone: true. */
bool hpxi_call_settle(hpx_http_call *call);
void hpxi_call_mark_settle(hpx_http_call *call);
void hpxi_call_free(hpx_http_call *call); /* with its buffers */

/* The value of Date, made anew each second. */
const char *hpxi_server_date(hpx_http_server *server);

#endif /* HPXI_HTTP_SERVER_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - the HTTP client on a shard: requests, connections, and how they meet in the pool.
 *
 *   request  QUEUED -> SENDING -> WAITING -> RECEIVING -> ENDED -> (END delivered) -> FREE
 *               ^---- retry, redirect ---------'
 *   conn     DIALING -> [TLS] -> OPEN (h1 or h2) -> CLOSING -> gone
 *
 * Role      http_settings.c  the client's configuration, checked and copied
 *           http_pack.c      a request, checked and copied into one block (on the app's thread)
 *           http_key.c       what connections are told apart by, as the bytes of a pool key
 *           http_request.c   a request's way: queue, deadlines, retries, the one end
 *           http_redirect.c  the request that follows a 3xx
 *           http_deliver.c   the response's way out: decoding, collecting, holding back, events
 *           http_conn.c      a connection: dial, TLS, bytes, close
 *           http_h1.c        one exchange at a time on it
 *           http_h2.c        streams on it
 *           http_board.c     what other threads may read of connections and counters
 *           http_core.c      a client on its shard, and the shard's steps for all of them
 *           http_client.c    the public functions, of clients on a shard
 *           http_port.c      the same for clients on a port
 *           http_link.c      the two rings between such a client and one shard
 * Threads   The shard's, but for settings and packing (any).
 * Memory    Requests are slots that are kept, with their buffers: the steady state allocates
 *           nothing. Connections are allocated one by one.
 */
#ifndef HPXI_HTTP_H
#define HPXI_HTTP_H

#include <stdalign.h>

#include <hpx/http.h>

#include "engine/dial.h"
#include "engine/http_board.h"
#include "engine/http_pack.h"
#include "engine/shard.h"
#include "h1/content.h"
#include "h1/reader.h"
#include "h2/session.h"
#include "pool/pool.h"
#include "tls/tls.h"

typedef struct hpxi_http_core hpxi_http_core;
typedef struct hpxi_http_conn hpxi_http_conn;
typedef struct hpxi_http_request hpxi_http_request;
typedef struct hpxi_http_link hpxi_http_link; /* http_link.h */

#define HPXI_HTTP_DECODE_BYTES (32u << 10)

/* An id: generation, then slot. */
#define HPXI_HTTP_SLOT_BITS 17u
#define HPXI_HTTP_SLOT_MASK ((UINT64_C(1) << HPXI_HTTP_SLOT_BITS) - 1)

_Static_assert(
    sizeof(hpxi_h1_field) == sizeof(hpx_http_header) &&
        offsetof(hpxi_h1_field, value) == offsetof(hpx_http_header, value),
    "the reader's fields are delivered as they are");

typedef enum hpxi_http_phase {
    HPXI_HTTP_FREE,
    HPXI_HTTP_QUEUED,    /* waits for a connection */
    HPXI_HTTP_SENDING,   /* has one; the body is not all queued yet */
    HPXI_HTTP_WAITING,   /* all is queued; nothing of the response has come */
    HPXI_HTTP_RECEIVING, /* the response has begun */
    HPXI_HTTP_ENDED,     /* END is owed */
} hpxi_http_phase;

/* Marks on the way, in the shard's clock; 0: not passed. */
typedef struct hpxi_http_marks {
    uint64_t began_ns;   /* the request itself */
    uint64_t attempt_ns; /* this attempt */
    uint64_t granted_ns;
    uint64_t sent_ns;
    uint64_t first_byte_ns;
    uint64_t moved_ns; /* the last byte in either direction */
} hpxi_http_marks;

struct hpxi_http_request {
    hpxi_http_core *core;
    hpx_http_id id;
    uint32_t slot;
    hpxi_http_phase phase;
    hpxi_buf packed;        /* a hpxi_http_packed and what is behind it, or */
    hpxi_http_packed spare; /* when there was no memory for it: `user` is right */
    hpxi_pool_key *key;
    hpxi_pool_waiter waiter;
    hpxi_http_conn *conn; /* while it has one use of it */
    hpxi_h2_stream stream;
    hpxi_timer deadline; /* of everything */
    hpxi_timer stage;    /* of the phase */
    hpxi_http_marks marks;

    /* The body sent. */
    uint64_t body_sent;
    bool pulled;       /* its producer was asked: it cannot be sent again */
    bool pull_starved; /* it said HPX_E_AGAIN */

    /* The response. */
    int32_t status;
    bool h2_ended;    /* HTTP/2: the peer's message is complete */
    bool redirecting; /* a 3xx that is to be followed: its body is of no interest */
    bool decoding;
    hpxi_h1_content *decoder; /* made on first use, kept */
    hpxi_buf next_packed;     /* of the redirect */
    hpxi_buf head;            /* headers and trailers that cannot be views (http_deliver.c) */
    uint32_t head_count;
    uint32_t trailer_count;
    size_t trailers_at; /* offset in `head` */
    hpxi_buf body;      /* collected; or decoded, and not delivered yet */
    hpxi_buf backlog;   /* as received, and not looked at yet */
    bool owes_headers;
    bool paused;  /* by the app */
    bool blocked; /* the port's ring is full */

    /* The end. */
    hpx_http_outcome outcome;
    hpx_http_processed processed;
    hpx_error error;
    hpx_http_info info;

    hpxi_http_request *next; /* the core's open ones */
    hpxi_http_request *prev;
    hpxi_http_request *next_settle;
    bool on_settle;
};

static inline hpxi_http_packed *hpxi_http_request_packed(hpxi_http_request *request)
{
    return hpxi_buf_size(&request->packed) == 0
               ? &request->spare
               : (hpxi_http_packed *)(void *)(request->packed.data + request->packed.head);
}

typedef enum hpxi_http_conn_state {
    HPXI_HTTP_DIALING,
    HPXI_HTTP_TLS,
    HPXI_HTTP_OPEN,
    HPXI_HTTP_CLOSING,
} hpxi_http_conn_state;

struct hpxi_http_conn {
    hpxi_pool_item item;
    hpxi_http_core *core;
    hpxi_http_entry *entry; /* where other threads read about it */
    hpxi_http_conn_state state;
    hpxi_http_origin origin; /* decoded from the key, which the item holds */
    hpxi_dial dial;
    hpxi_sock *sock;
    hpxi_tls *tls;
    hpxi_buf plain_out;  /* TLS: bytes to encrypt */
    hpxi_timer deadline; /* of DIALING and TLS */
    bool tls_ended;      /* the peer's close_notify came */
    uint64_t stage_ns;
    hpx_error error; /* why it ended */

    /* HTTP/1.1 */
    bool reader_made;
    hpxi_h1_reader reader;
    hpxi_http_request *exchange; /* the one request it serves */
    uint64_t exchange_from;      /* position in the socket's bytes where it begins */
    uint64_t keep_alive_ns;      /* how long the peer said that it stays idle; 0: it did not */
    bool body_queued;            /* the exchange's body is in the buffers, all of it */

    /* HTTP/2 */
    bool is_h2;
    bool h2_goaway; /* the peer sent one */
    hpxi_h2 *h2;
    hpxi_timer h2_timer;

    hpx_http_info info;   /* connection members only */
    hpxi_http_conn *next; /* the core's */
    hpxi_http_conn *prev;
    hpxi_http_conn *next_dirty; /* the shard's */
    hpxi_http_conn *next_settle;
    bool on_dirty;
    bool on_settle;
};

/* A client on one shard. */
struct hpxi_http_core {
    hpx_shard *shard;
    hpxi_http_settings *settings; /* a reference */
    hpx_http_client *client;      /* inline delivery, or NULL */
    hpxi_http_link *link;         /* port delivery, or NULL; a reference */
    hpxi_pool pool;
    hpxi_timer expiry;         /* of idle connections */
    hpxi_http_request **slots; /* [requests_max]; made on first use, kept */
    uint32_t *free_slots;      /* inline: stack of slots not in use */
    uint32_t free_count;
    uint64_t generation;      /* inline: of the next request */
    hpx_http_header *headers; /* scratch: [2 * headers_max], head and trailers */
    uint8_t *decoded;         /* scratch: HPXI_HTTP_DECODE_BYTES */
    hpxi_http_request *open;  /* all that are not FREE */
    uint32_t open_count;
    uint32_t ending;        /* requests whose END is being delivered: 0 or 1 */
    uint32_t blocked_count; /* requests that the full ring holds back */
    hpxi_http_conn *conns;
    uint32_t conn_count;
    bool down;     /* the shard is gone */
    bool released; /* the app let go: no more events; free when empty */
    bool on_settle;
    hpxi_http_core *next_settle;
    hpxi_http_core *next; /* the shard's */
    hpxi_http_core *prev;
    hpxi_http_board *board; /* the settings', once it is started */
    bool board_published;
    hpxi_http_counters *counters; /* the board's */
};

/* ---- http_core.c ----------------------------------------------------------------------------- */

/* Any thread: allocate. NULL: no memory. hpxi_http_core_start() makes it the shard's. */
hpxi_http_core *hpxi_http_core_new(hpx_shard *shard, hpxi_http_settings *settings);
void hpxi_http_core_free(hpxi_http_core *core); /* never started, or empty */
void hpxi_http_core_start(hpxi_http_core *core);
void hpxi_http_core_warm_up(hpxi_http_core *core, hpxi_http_packed *packed, uint32_t count);

/* Cancel everything, silently if `released`; it frees itself when empty. */
void hpxi_http_core_release(hpxi_http_core *core);

/* Slots: taken by inline clients, or made by the port and adopted. NULL: no memory; no such one. */
hpxi_http_request *hpxi_http_request_new(const hpx_allocator *allocator);
void hpxi_http_core_adopt(hpxi_http_core *core, uint32_t slot, hpxi_http_request *request);
hpxi_http_request *hpxi_http_core_take(hpxi_http_core *core);
hpxi_http_request *hpxi_http_core_find(hpxi_http_core *core, hpx_http_id id);

void hpxi_http_core_mark(hpxi_http_core *core); /* settle it */
void hpxi_http_core_settle(hpxi_http_core *core);
void hpxi_http_core_give_back(hpxi_http_core *core, hpxi_http_request *request);

/* ---- http_request.c -------------------------------------------------------------------------- */

/* FREE -> QUEUED, or at once SENDING. `request->packed` and id are set. */
void hpxi_http_request_start(hpxi_http_request *request);

/* The same when there was no memory for it: it has failed. `packed` is borrowed for the call. */
void hpxi_http_request_start_failed(hpxi_http_request *request, hpxi_http_packed *packed);

/* The app asks to go on: pull function, paused body. */
void hpxi_http_request_resume(hpxi_http_request *request);
void hpxi_http_request_pause(hpxi_http_request *request);

/* End it, from any phase but FREE and ENDED: takes it off its connection, owes END. */
void hpxi_http_request_fail(hpxi_http_request *request, const hpx_error *error);
void hpxi_http_request_fail_processed(
    hpxi_http_request *request, const hpx_error *error, hpx_http_processed processed);
void hpxi_http_request_fail_with(
    hpxi_http_request *request, hpx_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void hpxi_http_request_cancel(hpxi_http_request *request, const char *why);

/* The request has ended, but not all of its body has been delivered. */
bool hpxi_http_deliver_has_more(hpxi_http_request *request);

/* The response is whole and the connection was given back: END, or the request that follows a
 * redirect. */
void hpxi_http_response_complete(hpxi_http_request *request);

/* Off its connection, which proved that the peer did not act on it: try again if allowed, else
 * fail. `counter`: of the reason. */
void hpxi_http_request_retry(
    hpxi_http_request *request, hpxi_counter *counter, const hpx_error *error);

/* Queue it anew: another attempt, or another URL. */
void hpxi_http_request_again(hpxi_http_request *request);

/* Its stage in `phase`, for errors. */
hpx_stage hpxi_http_request_stage(const hpxi_http_request *request);

/* Progress: sets marks and deadlines. */
void hpxi_http_request_granted(hpxi_http_request *request, hpxi_http_conn *conn);
void hpxi_http_request_sent(hpxi_http_request *request);
void hpxi_http_request_first_byte(hpxi_http_request *request);
static inline void hpxi_http_request_moved(hpxi_http_request *request)
{
    request->marks.moved_ns = request->core->shard->owner.now_ns;
}

void hpxi_http_request_settle(hpxi_http_request *request);
void hpxi_http_request_mark(hpxi_http_request *request); /* settle it */

/* ---- http_redirect.c ------------------------------------------------------------------------- */

/* The response's head is a redirect to follow: prepares the request that comes next. False: it is
 * not, or the request failed (phase ENDED). */
bool hpxi_http_redirect_prepare(
    hpxi_http_request *request, const hpx_http_header *headers, uint32_t count);

/* The redirect's own response is over: the prepared request takes the place of the old one. */
void hpxi_http_redirect_follow(hpxi_http_request *request);

/* ---- http_deliver.c -------------------------------------------------------------------------- */

/* The final head. Views need to last for the call only. May fail the request. */
void hpxi_http_deliver_head(
    hpxi_http_request *request, int32_t status, const hpx_http_header *headers, uint32_t count);

/* Body bytes as received. Returns how many are held back, so that the peer should be throttled;
 * hpxi_http_conn_taken() is called when they are taken. */
size_t hpxi_http_deliver_body(hpxi_http_request *request, hpx_span bytes);

void hpxi_http_deliver_trailers(
    hpxi_http_request *request, const hpx_http_header *trailers, uint32_t count);

/* What is owed: headers, held bytes, END. True: everything is out and the request may be freed. */
bool hpxi_http_deliver_owed(hpxi_http_request *request);

/* ---- http_conn.c ----------------------------------------------------------------------------- */

extern const hpxi_pool_ops hpxi_http_pool_ops;

/* Where to append plain bytes; then hpxi_http_conn_mark(). */
static inline hpxi_buf *hpxi_http_conn_out(hpxi_http_conn *conn)
{
    return conn->tls != NULL ? &conn->plain_out : hpxi_sock_out(conn->sock);
}

/* On the shard's dirty list: hpxi_http_conn_flush() in this turn. */
void hpxi_http_conn_mark(hpxi_http_conn *conn);
void hpxi_http_conn_flush(hpxi_http_conn *conn);

/* Bytes of plain and cipher text not taken by the kernel. */
size_t hpxi_http_conn_queued(const hpxi_http_conn *conn);

/* End it with `error`: what it serves fails or is tried again. Any state. */
void hpxi_http_conn_fail(hpxi_http_conn *conn, const hpx_error *error);
void hpxi_http_conn_fail_with(hpxi_http_conn *conn, hpx_status status, const char *detail);

/* Not wanted any more: it serves nothing. GOAWAY, close_notify, FIN. */
void hpxi_http_conn_close(hpxi_http_conn *conn);

/* Drop everything at once (engine stop after its deadline). */
void hpxi_http_conn_abort(hpxi_http_conn *conn);

/* A request is given up, whose use of the connection ends here. Tells what is known. */
hpx_http_processed hpxi_http_conn_give_up(hpxi_http_conn *conn, hpxi_http_request *request);

/* Begin a request on an OPEN connection, whose use it has. */
void hpxi_http_conn_begin(hpxi_http_conn *conn, hpxi_http_request *request);

/* Held-back body bytes were taken (h2: window), or the pull function has more. */
void hpxi_http_conn_taken(hpxi_http_conn *conn, hpxi_http_request *request, size_t bytes);
void hpxi_http_conn_resume_body(hpxi_http_conn *conn, hpxi_http_request *request);

void hpxi_http_conn_settle(hpxi_http_conn *conn);
void hpxi_http_conn_mark_settle(hpxi_http_conn *conn);

/* ---- http_h1.c, http_h2.c: what the connection asks of its protocol ---------------------------
 */

void hpxi_http_h1_open(hpxi_http_conn *conn);
void hpxi_http_h1_begin(hpxi_http_conn *conn, hpxi_http_request *request);
void hpxi_http_h1_bytes(hpxi_http_conn *conn, const uint8_t *data, size_t size);
void hpxi_http_h1_end(hpxi_http_conn *conn, bool clean, const hpx_error *error);
void hpxi_http_h1_flush(hpxi_http_conn *conn);
hpx_http_processed hpxi_http_h1_give_up(hpxi_http_conn *conn, hpxi_http_request *request);

/* False: no memory, `conn->error` is set. */
bool hpxi_http_h2_open(hpxi_http_conn *conn);
void hpxi_http_h2_begin(hpxi_http_conn *conn, hpxi_http_request *request);
void hpxi_http_h2_bytes(hpxi_http_conn *conn, const uint8_t *data, size_t size);
void hpxi_http_h2_end(hpxi_http_conn *conn, const hpx_error *error);
void hpxi_http_h2_flush(hpxi_http_conn *conn);
void hpxi_http_h2_timer(hpxi_timer *timer, uint64_t now_ns);
hpx_http_processed hpxi_http_h2_give_up(hpxi_http_conn *conn, hpxi_http_request *request);

#endif /* HPXI_HTTP_H */

/* SPDX-License-Identifier: Apache-2.0 */
/**
 * http_server.h - answering HTTP/1.1 and HTTP/2 requests, on a shard.
 *
 * Role      For local services, simulators and tests. A server listens on one address and hands
 *           whole requests to a handler on the shard's thread; the handler answers at once, or
 *           keeps the call and answers in a later turn, whole or piece by piece. Keep-alive,
 *           pipelining, HTTP/2 streams, TLS and malformed requests are dealt with below it.
 * Promise   Every call that the handler saw a REQUEST of ends with exactly one CLOSED event.
 * Threads   "owner" is the shard's thread. Nothing calls back from inside the call that started it.
 * Memory    Views in an event are valid until the handler returns; those of a REQUEST until the
 *           call's CLOSED event. What is given to an answer is copied.
 */
#ifndef HPX_HTTP_SERVER_H
#define HPX_HTTP_SERVER_H

#include <hpx/base.h>
#include <hpx/engine.h>
#include <hpx/http.h>
#include <hpx/tls.h>

HPX_EXTERN_C_BEGIN

typedef struct hpx_http_server hpx_http_server; /* listens on a shard */
typedef struct hpx_http_call hpx_http_call;     /* one request, and the answer to it */

/** What was asked. Malformed requests never get here: they are answered with 400, 413, 417, 431,
 *  501 or 505 (RFC 9110), or as HTTP/2 wants it. Trailers are checked and dropped. */
typedef struct hpx_http_call_info {
    hpx_span method;                /* "GET"; a token, in the case that it was sent in */
    hpx_span target;                /* as sent; with an "http://host" in front, without it */
    hpx_span path;                  /* the target up to its "?"; "/" if that is empty */
    hpx_span query;                 /* what follows the "?"; empty without one */
    hpx_span authority;             /* host and port that the client asked for */
    const hpx_http_header *headers; /* in their order; HTTP/2: names in lower case */
    uint32_t header_count;
    hpx_span body;            /* all of it */
    hpx_http_version version; /* HPX_HTTP_1_1 (1.0 as well) or HPX_HTTP_2 */
    bool is_tls;
    const char *peer_address; /* "127.0.0.1:50412" */
} hpx_http_call_info;

typedef enum hpx_http_call_event_kind {
    HPX_HTTP_CALL_REQUEST = 1, /* a whole request came: `info` */
    HPX_HTTP_CALL_WRITABLE,    /* after HPX_E_AGAIN: the peer has taken enough of the answer */
    HPX_HTTP_CALL_CLOSED,      /* the last event, always, exactly once: `error` is HPX_OK when the
                                  answer was given to the transport whole, else why it was not */
} hpx_http_call_event_kind;

typedef struct hpx_http_call_event {
    hpx_http_call_event_kind kind;
    uint64_t time_ns;               /* shard clock */
    const hpx_http_call_info *info; /* REQUEST, never NULL there */
    const hpx_error *error;         /* CLOSED, never NULL there */
} hpx_http_call_event;

/** Handler, on the shard's thread. Any function on the call may be called from it. `user` is the
 *  call's: at first the server's. `call` is valid until the handler of CLOSED has returned. */
typedef void (*hpx_http_call_fn)(hpx_http_call *call, const hpx_http_call_event *event, void *user);

/** Start from HPX_HTTP_SERVER_CONFIG_INIT. A zero member means its default. Strings are copied, the
 *  TLS context is reference counted. HPX_NEVER turns a timeout off. */
typedef struct hpx_http_server_config {
    uint32_t size;
    uint32_t flags;                /* reserved, 0 */
    const char *address;           /* required: "127.0.0.1:8080", "[::1]:0"; port 0: any free */
    hpx_tls_context *tls;          /* server context; NULL: plain TCP */
    hpx_http_call_fn on_event;     /* required */
    void *user;                    /* of new calls */
    hpx_http_version version;      /* HPX_HTTP_ANY (default): both; over TLS as ALPN agrees, else by
                                      the client's first bytes. HPX_HTTP_1_1: that alone */
    uint32_t backlog;              /* default 511 */
    bool reuse_port;               /* SO_REUSEPORT: one server per shard on one address */
    uint64_t handshake_timeout_ns; /* TLS; default 10 s */
    uint64_t request_timeout_ns;   /* from a request's first byte to its last; default 10 s */
    uint64_t idle_timeout_ns;      /* without a request; default 60 s */
    uint64_t stall_timeout_ns;     /* the peer takes nothing of an answer; default 30 s */
    uint64_t close_timeout_ns;     /* from our last byte to the peer's; default 500 ms */
    uint32_t header_bytes_max;     /* of a request's head, 1 KiB..1 MiB; default 64 KiB */
    uint32_t headers_max;          /* fields; default 128 */
    uint64_t body_bytes_max;       /* of a request; default 1 MiB; over: 413 */
    uint64_t send_queue_bytes_max; /* of an answer in pieces; default 1 MiB; over: HPX_E_AGAIN */
    uint32_t requests_max;         /* on one HTTP/1.1 connection, then it is closed; default none */
    uint32_t h2_streams_max;       /* open at once on one connection; default 100 */
} hpx_http_server_config;

#define HPX_HTTP_SERVER_CONFIG_INIT                                                                \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_http_server_config)                                           \
    }

/**
 * Listen, and serve requests on this shard until hpx_http_server_close() or the engine's stop.
 *
 * @param out    set on success
 * @param error  may be NULL; on failure names what is wrong
 * @thread   owner
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_THREAD, HPX_E_STATE, HPX_E_LIMIT, HPX_E_NO_MEMORY,
 *           -EADDRINUSE, -EACCES, ... (the error says which)
 */
HPX_API HPX_NODISCARD hpx_status hpx_shard_http_listen(
    hpx_shard *shard,
    const hpx_http_server_config *config,
    hpx_http_server **out,
    hpx_error *error);

/** Bound port in host order (useful after asking for port 0). @thread owner */
HPX_API uint16_t hpx_http_server_get_port(const hpx_http_server *server);

/** Since the server began. */
typedef struct hpx_http_server_stats {
    uint64_t connections; /* open now */
    uint64_t accepted;
    uint64_t requests; /* that reached the handler */
    uint64_t refused;  /* answered by the server itself: malformed, too big */
    uint64_t lost;     /* calls whose answer was not given to the transport whole */
} hpx_http_server_stats;

/** Copy the counters. @thread owner */
HPX_API void hpx_http_server_get_stats(const hpx_http_server *server, hpx_http_server_stats *out);

/** Stop accepting. Open calls go on; idle connections are closed, the others after their answer.
 *  `server` is gone with this call. NULL is a no-op. The engine's stop does the same by itself: not
 *  to be called after it. @thread owner */
HPX_API void hpx_http_server_close(hpx_http_server *server);

/* ---- Answers --------------------------------------------------------------------------------- */

/**
 * Answer with a whole body. Content-Length, Date and what the connection needs are added; those and
 * other fields that frame a message may not be among `headers`. A body for HEAD is measured and
 * left out; one for 204 and 304 must be empty.
 *
 * @param status   200..599
 * @param headers  copied; HTTP/2 sends the names in lower case
 * @param body     copied
 * @param error    may be NULL; on failure names what is wrong
 * @thread   owner   @alloc never in steady state   @blocks never
 * @returns  HPX_OK; HPX_E_INVALID (nothing was sent: answer again), HPX_E_STATE (an answer has
 *           begun, or the call is over and CLOSED is on its way), HPX_E_NO_MEMORY (the call is
 *           lost)
 */
HPX_API hpx_status hpx_http_call_answer(
    hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    hpx_span body,
    hpx_error *error);

/**
 * Begin an answer whose body follows with hpx_http_call_write() and ends with hpx_http_call_end().
 *
 * @param body_bytes  its size, which is kept to; or HPX_HTTP_SIZE_UNKNOWN: chunked in HTTP/1.1,
 *                    until the connection's end in HTTP/1.0
 * @thread   owner   @returns as hpx_http_call_answer()
 */
HPX_API hpx_status hpx_http_call_begin(
    hpx_http_call *call,
    uint16_t status,
    const hpx_http_header *headers,
    uint32_t header_count,
    uint64_t body_bytes,
    hpx_error *error);

/**
 * The next piece of the body. Each is a chunk of its own in HTTP/1.1, and sent at the end of the
 * turn; an empty one does nothing.
 *
 * @thread   owner   @alloc never in steady state   @blocks never
 * @returns  HPX_OK; HPX_E_AGAIN (send_queue_bytes_max: nothing was taken, WRITABLE follows),
 *           HPX_E_INVALID (more than body_bytes), HPX_E_STATE (not begun, ended, or lost),
 *           HPX_E_NO_MEMORY (the call is lost)
 */
HPX_API hpx_status hpx_http_call_write(hpx_http_call *call, hpx_span piece);

/** The body is complete. @thread owner @returns HPX_OK, HPX_E_INVALID (less than body_bytes: the
 *  call is aborted), HPX_E_STATE, HPX_E_NO_MEMORY */
HPX_API hpx_status hpx_http_call_end(hpx_http_call *call);

/** Cut it off, whatever was sent: HTTP/2 resets the stream, HTTP/1.1 the connection. CLOSED
 *  follows. @thread owner */
HPX_API void hpx_http_call_abort(hpx_http_call *call);

/**
 * For tests of clients: write these bytes as they are, instead of or within an answer, then close
 * the connection in good order if `then_close`. HTTP/1.1 only.
 *
 * @thread   owner   @returns HPX_OK, HPX_E_STATE (HTTP/2, or the call is over), HPX_E_NO_MEMORY
 */
HPX_API hpx_status hpx_http_call_raw(hpx_http_call *call, hpx_span bytes, bool then_close);

/** Bytes of the answer not yet taken by the transport. @thread owner */
HPX_API uint64_t hpx_http_call_queued_bytes(const hpx_http_call *call);

/** What was asked; valid until CLOSED. @thread owner */
HPX_API const hpx_http_call_info *hpx_http_call_get_info(const hpx_http_call *call);

/** Value of the first header with this name (ASCII case aside); data NULL if there is none.
 *  @thread owner */
HPX_API hpx_span hpx_http_call_header(const hpx_http_call *call, const char *name);

/** The pointer given to the handler. @thread owner */
HPX_API void hpx_http_call_set_user(hpx_http_call *call, void *user);

/** @thread owner */
HPX_API void *hpx_http_call_get_user(const hpx_http_call *call);

HPX_EXTERN_C_END
#endif /* HPX_HTTP_SERVER_H */

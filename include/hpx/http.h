/* SPDX-License-Identifier: Apache-2.0 */
/**
 * http.h - HTTP/1.1 and HTTP/2 requests over pooled connections.
 *
 * Role      A client owns a pool of connections per shard. Two ways to use it, with the same events
 *           in the same order: *inline*, made with hpx_shard_http_client() and answered by an event
 *           handler on the shard's thread; or through a *port*, made with hpx_http_client_open()
 *           and its events pulled with hpx_http_next(). The functions on a client are the same.
 * Promise   Every request that hpx_http_send() took ends with exactly one HPX_HTTP_EVENT_END, and
 *           nothing of it follows. A request that may have reached the server is never sent again
 *           by the library: it fails, and `processed` says what is known.
 * Threads   "client" is the thread that the client was made on: the port's, or the shard's.
 *           Nothing calls back from inside the call that started it.
 * Memory    Requests, their header and body bytes and connections are kept and used again: in the
 *           steady state a request allocates nothing. Views in an event are valid until the handler
 *           returns, or until the next call of hpx_http_next() or hpx_http_wait().
 */
#ifndef HPX_HTTP_H
#define HPX_HTTP_H

#include <hpx/base.h>
#include <hpx/engine.h>
#include <hpx/tls.h>

HPX_EXTERN_C_BEGIN

typedef struct hpx_http_client hpx_http_client;

/** Names one request of one client; never used again, never 0. An old one is HPX_E_STALE. */
typedef uint64_t hpx_http_id;

typedef enum hpx_http_version {
    HPX_HTTP_ANY = 0,           /* https: HTTP/2 or HTTP/1.1, as ALPN agrees; http: HTTP/1.1 */
    HPX_HTTP_1_1,               /* HTTP/1.1 only */
    HPX_HTTP_2,                 /* https with HTTP/2 agreed by ALPN, or failed */
    HPX_HTTP_2_PRIOR_KNOWLEDGE, /* HTTP/2 at once; for http too (RFC 9113 section 3.3) */
} hpx_http_version;

/** One header or trailer field. In requests the name may be of any case (HTTP/2 sends it in lower
 *  case); in responses it is as received. */
typedef struct hpx_http_header {
    hpx_span name;
    hpx_span value;
} hpx_http_header;

/** A header from two strings, which are borrowed. @thread any */
static inline hpx_http_header hpx_http_header_of(const char *name, const char *value)
{
    const hpx_http_header header = {hpx_span_of(name), hpx_span_of(value)};
    return header;
}

/**
 * Produces a request body piece by piece, always on the shard's thread (of a port's client, too:
 * what it shares with other threads is the app's to protect).
 *
 * @returns  1..size bytes written to `to`; 0 the body ends here; HPX_E_AGAIN nothing now: call
 *           hpx_http_resume() when there is; any other negative status cancels the request, which
 *           ends as FAILED with that status
 */
typedef int (*hpx_http_pull_fn)(void *user, uint8_t *to, size_t size);

#define HPX_HTTP_SIZE_UNKNOWN UINT64_MAX

/** HPX_HTTP_DECODE: offer gzip and deflate, and deliver the decoded body (bounded). */
#define HPX_HTTP_DECODE UINT32_C(0x1)

/** One request. Start from HPX_HTTP_REQUEST_INIT; a zero member means its default. Everything is
 *  copied by hpx_http_send(), except that `pull` and its user are used until END. */
typedef struct hpx_http_request {
    uint32_t size;
    uint32_t flags;                 /* HPX_HTTP_DECODE */
    const char *method;             /* a token (RFC 9110 section 9.1), up to 32 bytes; "GET" */
    const char *url;                /* required: http://HOST[:PORT][/PATH][?QUERY] or https:// */
    const hpx_http_header *headers; /* besides Host, User-Agent, Accept-Encoding, Content-Length
                                       and Transfer-Encoding, which are added as needed. The first
                                       three and Accept may be given here instead; not so the
                                       framing ones, Connection, Expect and the like */
    uint32_t header_count;          /* 0..124, 256 KiB in all */
    hpx_http_version version;
    hpx_span body;                  /* the whole body, up to 1 GiB, or */
    hpx_http_pull_fn pull;          /* its producer, */
    void *pull_user;                /* with its argument, */
    uint64_t body_bytes;            /* and the size it will have, or HPX_HTTP_SIZE_UNKNOWN */
    uint64_t collect_bytes_max;     /* not 0: collect the body up to so many bytes and deliver it
                                       with END, without HEADERS and BODY events; more: FAILED */
    uint64_t timeout_ns;            /* of everything, queue and redirects too. This and the next
                                       three: 0 means the client's, HPX_NEVER none */
    uint64_t connect_timeout_ns;    /* in the queue, resolving, TCP and TLS together */
    uint64_t first_byte_timeout_ns; /* from the request's last byte to the response's first */
    uint64_t idle_timeout_ns;       /* no byte in either direction while one is owed */
    hpx_tls_context *tls;           /* NULL: the client's */
    const char *tls_server_name;    /* SNI and name to verify; NULL: the URL's host */
    const char *identity;           /* up to 255 bytes. Requests with different ones never share a
                                       connection: for authentication that binds to it. NULL is one
                                       of its own */
    void *user;                     /* comes back in every event */
} hpx_http_request;

#define HPX_HTTP_REQUEST_INIT                                                                      \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_http_request)                                                 \
    }

/** Accept any certificate for this request: no chain, date or name check. For tests against
 *  servers that you trust by other means; shows as tls_verified == false. Such a request shares no
 *  connection with one that verifies. @thread any */
HPX_API void hpx_http_request_set_insecure_no_verify(hpx_http_request *request);

typedef enum hpx_http_event_kind {
    HPX_HTTP_EVENT_HEADERS = 1, /* final status and headers (1xx are counted, not delivered) */
    HPX_HTTP_EVENT_BODY,        /* the next bytes of the body; never empty */
    HPX_HTTP_EVENT_END,         /* the last event of the request, always, exactly once */
} hpx_http_event_kind;

typedef enum hpx_http_outcome {
    HPX_HTTP_DONE = 1,  /* a whole response arrived; its status may be any, 500 too */
    HPX_HTTP_FAILED,    /* `error` has the stage and the cause */
    HPX_HTTP_TIMEOUT,   /* one of the deadlines passed; `error` says which */
    HPX_HTTP_CANCELLED, /* by hpx_http_cancel(), or the client's release or the engine's stop */
} hpx_http_outcome;

/** Did the server act on the request? What is not proved is unknown. */
typedef enum hpx_http_processed {
    HPX_HTTP_PROCESSED_NO = 0,  /* proved: no byte was written, or the server said so (GOAWAY,
                                   REFUSED_STREAM). Sending it again is safe */
    HPX_HTTP_PROCESSED_UNKNOWN, /* it may have been */
    HPX_HTTP_PROCESSED_YES,     /* a response began */
} hpx_http_processed;

/** Where the time went, and over what. Durations are of the last attempt, 0 where a stage did not
 *  happen; total_ns is of everything. Strings are NUL-terminated and may be cut. */
typedef struct hpx_http_info {
    uint64_t queue_ns; /* waiting for a connection; own connecting is in the next three */
    uint64_t resolve_ns;
    uint64_t connect_ns;
    uint64_t tls_ns;
    uint64_t send_ns;        /* from having a connection to the request's last byte queued */
    uint64_t wait_ns;        /* from there to the response's first byte */
    uint64_t receive_ns;     /* from there to the end */
    uint64_t total_ns;       /* from hpx_http_send() as the shard saw it to the end */
    uint64_t request_bytes;  /* of the body sent */
    uint64_t response_bytes; /* of the body received, before decoding */
    uint64_t body_bytes;     /* of the body delivered, after decoding */
    uint32_t shard;
    uint32_t attempts;        /* 1, and one for each automatic retry */
    uint32_t redirects;       /* followed */
    uint32_t interim;         /* 1xx responses before the final one */
    hpx_http_version version; /* HPX_HTTP_1_1 or HPX_HTTP_2; HPX_HTTP_ANY: got no connection */
    bool reused;              /* the connection had served before */
    bool is_tls;
    bool tls_verified; /* chain, dates and name were checked and are good */
    bool tls_resumed;
    char tls_version[16];  /* "TLSv1.3" */
    char tls_cipher[48];   /* IANA name */
    char peer_address[64]; /* "127.0.0.1:8443", "[::1]:8443" */
} hpx_http_info;

typedef struct hpx_http_event {
    hpx_http_event_kind kind;
    hpx_http_id id;
    void *user;                     /* of the request */
    uint64_t time_ns;               /* shard clock when the bytes were taken from the socket */
    int32_t status;                 /* HEADERS, END: 100..599; 0 if no response began */
    const hpx_http_header *headers; /* HEADERS; END of a collected response */
    uint32_t header_count;
    const hpx_http_header *trailers; /* END */
    uint32_t trailer_count;
    hpx_span body;                /* BODY; END of a collected response */
    hpx_http_outcome outcome;     /* END */
    hpx_http_processed processed; /* END */
    const hpx_error *error;       /* END, never NULL there; status HPX_OK when DONE */
    const hpx_http_info *info;    /* END, never NULL there */
} hpx_http_event;

/** Inline event handler, on the shard's thread. Any function on the client may be called from it,
 *  hpx_http_client_release() too. */
typedef void (*hpx_http_event_fn)(hpx_http_client *client, const hpx_http_event *event, void *user);

/** Where the connections to one origin live, of a client on a port. */
#define HPX_SHARD_BY_ORIGIN    UINT32_MAX       /* home shard by hash: one pool entry per origin */
#define HPX_SHARD_LEAST_LOADED (UINT32_MAX - 1) /* the shard with the fewest open requests */

/** Start from HPX_HTTP_CONFIG_INIT. A zero member means its default. All strings and arrays are
 *  copied; the TLS context is reference counted. Limits of connections are per shard. */
typedef struct hpx_http_config {
    uint32_t size;
    uint32_t flags;             /* reserved, 0 */
    hpx_tls_context *tls;       /* NULL: the engine's default context (system roots) */
    const char *user_agent;     /* NULL: "hpx/VERSION"; "": none is sent */
    const char *const *resolve; /* "HOST:PORT:ADDR[,ADDR...]": use these addresses, no DNS */
    uint32_t resolve_count;     /* 0..16 */
    uint32_t shard;             /* port: index, or one of the policies above */
    hpx_http_event_fn on_event; /* inline: required; port: NULL */
    void *user;                 /* given to on_event, borrowed */

    /* Requests. */
    uint32_t requests_max;             /* open at once, queued ones too, 1..65536; default 1024 */
    uint32_t redirects_max;            /* follow so many; 0 (default): a 3xx is the response. When
                                          followed, Authorization, Cookie, Proxy-Authorization and
                                          `secret_headers` are dropped once the origin changes */
    const char *const *secret_headers; /* names of further headers with credentials ("X-API-Key") */
    uint32_t secret_header_count;      /* 0..16 */
    uint32_t retries_max;              /* automatic ones of one request, all provably safe; 0: the
                                          default, 3; HPX_HTTP_NO_RETRIES: none */
    uint64_t timeout_ns;               /* default 30 s */
    uint64_t connect_timeout_ns;       /* default 10 s */
    uint64_t first_byte_timeout_ns;    /* default none */
    uint64_t idle_timeout_ns;          /* default 15 s */

    /* Limits of a response. */
    uint32_t header_bytes_max;  /* of the heads (1xx too), of the trailers, and of the chunk
                                   extensions, each; 1 KiB..1 MiB, default 64 KiB */
    uint32_t headers_max;       /* fields of a head, and of the trailers; default 128 */
    uint32_t interim_max;       /* 1xx responses; default 16 */
    uint64_t body_bytes_max;    /* as received; default none */
    uint64_t decoded_bytes_max; /* with HPX_HTTP_DECODE, after decoding; default 1 GiB */

    /* Pool. */
    uint32_t connections_max;            /* exact, 1..65536; default 256 */
    uint32_t connections_per_origin_max; /* default 16 */
    uint32_t idle_per_origin_max;        /* default 16 */
    uint32_t idle_per_origin_min;        /* kept open once the origin was used; default 0 */
    uint64_t idle_connection_ns;         /* then it is closed; default 30 s */

    /* HTTP/2. */
    uint32_t h2_connections_per_origin_max; /* a further one when all streams are taken; def. 1 */
    uint32_t h2_streams_max;           /* per connection, the peer's limit if lower; default 100 */
    uint32_t h2_window_bytes;          /* of a connection at first, 64 KiB..16 MiB; default 1 MiB */
    uint32_t h2_window_bytes_max;      /* grown to as bandwidth asks, up to 512 MiB; def. 16 MiB */
    bool h2_fixed_window;              /* do not measure, do not grow */
    bool h2_keep_alive_while_idle;     /* ping also without open streams */
    uint64_t h2_keep_alive_ns;         /* ping after so long without a byte; default none */
    uint64_t h2_keep_alive_timeout_ns; /* then, without an answer, the connection is lost; 20 s */

    /* Port. */
    uint32_t command_ring_bytes; /* per shard, power of two, 64 KiB..1 GiB; default 1 MiB */
    uint32_t event_ring_bytes;   /* per shard, power of two, 64 KiB..1 GiB; default 1 MiB. When
                                    it is full, responses wait and the peers are throttled:
                                    nothing is lost */
} hpx_http_config;

#define HPX_HTTP_NO_RETRIES UINT32_MAX

#define HPX_HTTP_CONFIG_INIT                                                                       \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_http_config), .shard = HPX_SHARD_BY_ORIGIN                    \
    }

/* ---- Making a client ------------------------------------------------------------------------- */

/**
 * Make a client on a port. Its connections live on the shards that config->shard chooses.
 *
 * @param out    set on success; released with hpx_http_client_release()
 * @param error  may be NULL; on failure names what is wrong
 * @thread   port   @blocks never (https without a context loads the system roots once)
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_LIMIT, HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status hpx_http_client_open(
    hpx_port *port, const hpx_http_config *config, hpx_http_client **out, hpx_error *error);

/** Make a client on a shard, from the shard's own thread; config->on_event is required. Release it
 *  before the engine is freed. @thread owner
 *  @returns HPX_OK, HPX_E_INVALID, HPX_E_THREAD, HPX_E_STATE, HPX_E_NO_MEMORY */
HPX_API HPX_NODISCARD hpx_status hpx_shard_http_client(
    hpx_shard *shard, const hpx_http_config *config, hpx_http_client **out, hpx_error *error);

/** Cancel what is open and close the connections. No event follows. NULL is a no-op.
 *  @thread client @blocks never */
HPX_API void hpx_http_client_release(hpx_http_client *client);

/* ---- Requests -------------------------------------------------------------------------------- */

/**
 * Begin a request. Returns at once; its outcome arrives as END.
 *
 * @param request  copied, with its body; bytes that HTTP does not allow are refused before anything
 *                 is sent
 * @param id       set on success; may be NULL
 * @param error    may be NULL; on failure names what is wrong
 * @thread   client   @alloc never in steady state   @blocks never
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_URL, HPX_E_LIMIT (requests_max), HPX_E_AGAIN (port: the
 *           command ring is full), HPX_E_STATE (the shard stops), HPX_E_NO_MEMORY, HPX_E_TLS_CONFIG
 */
HPX_API HPX_NODISCARD hpx_status hpx_http_send(
    hpx_http_client *client, const hpx_http_request *request, hpx_http_id *id, hpx_error *error);

/**
 * Cancel a request at any moment. END follows as CANCELLED; unless the request ended before the
 * cancel arrived, then END is as it was.
 *
 * @thread   client   @blocks never
 * @returns  HPX_OK, HPX_E_STALE (its END was delivered, or there was no such request)
 */
HPX_API hpx_status hpx_http_cancel(hpx_http_client *client, hpx_http_id id);

/** After a pull function said HPX_E_AGAIN: there is more. Inline: also ends hpx_http_pause().
 *  @thread client @returns HPX_OK, HPX_E_STALE, HPX_E_AGAIN (port: the command ring is full) */
HPX_API hpx_status hpx_http_resume(hpx_http_client *client, hpx_http_id id);

/** Inline: deliver no BODY event of this request until hpx_http_resume(); the peer is throttled,
 *  and idle_timeout_ns rests. On a port the same is had by not calling hpx_http_next().
 *  @thread client @returns HPX_OK, HPX_E_STALE, HPX_E_STATE (the client is on a port) */
HPX_API hpx_status hpx_http_pause(hpx_http_client *client, hpx_http_id id);

/**
 * Have `count` connections to the request's origin open (as its url, version, TLS members and
 * identity say; the other members are not looked at), so that the first requests need not wait.
 *
 * @thread   client   @blocks never
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_URL, HPX_E_AGAIN, HPX_E_NO_MEMORY, HPX_E_TLS_CONFIG
 */
HPX_API HPX_NODISCARD hpx_status hpx_http_warm_up(
    hpx_http_client *client, const hpx_http_request *request, uint32_t count, hpx_error *error);

/* ---- Events, on a port ----------------------------------------------------------------------- */

/** Take the next event. It and its views are valid until the next call.
 *  @thread port @alloc never @blocks never @returns 1 an event, 0 none now */
HPX_API HPX_NODISCARD int hpx_http_next(hpx_http_client *client, hpx_http_event *event);

/** As hpx_http_next(), but waits up to timeout_ns (UINT64_MAX: for ever).
 *  @thread port @returns 1, HPX_E_TIMEOUT, HPX_E_CLOSED (no request is open: nothing can come) */
HPX_API HPX_NODISCARD int
hpx_http_wait(hpx_http_client *client, hpx_http_event *event, uint64_t timeout_ns);

/** A descriptor that polls readable when an event is there, shared with the streams of the port:
 *  as hpx_stream_fd(). @thread port @returns >= 0 the descriptor */
HPX_API int hpx_http_fd(hpx_http_client *client);

/* ---- Watching: connections and counters ------------------------------------------------------ */

typedef enum hpx_http_connection_state {
    HPX_HTTP_CONNECTION_CONNECTING = 1, /* resolving, TCP, TLS */
    HPX_HTTP_CONNECTION_OPEN,           /* serves, or is idle */
    HPX_HTTP_CONNECTION_CLOSING,        /* serves nobody; its socket is about to go */
    HPX_HTTP_CONNECTION_LOST,           /* is gone, because a keep-alive ping was not answered.
                                           Listed until its place in the table is needed */
} hpx_http_connection_state;

#define HPX_HTTP_ORIGIN_BYTES 160

/** One connection, as it was a moment ago: members are read one by one while the shard goes on, but
 *  all are of the same connection. Times are those of hpx_clock_now_ns(). */
typedef struct hpx_http_connection_stats {
    uint64_t id; /* of this client, never used again */
    hpx_http_connection_state state;
    hpx_http_version version; /* HPX_HTTP_1_1 or HPX_HTTP_2; HPX_HTTP_ANY: not open yet */
    uint32_t shard;
    bool h2_keep_alive_timed_out; /* a ping was not answered within h2_keep_alive_timeout_ns */
    uint64_t began_ns;            /* when connecting began */
    uint64_t last_read_ns;        /* HTTP/2: any frame; HTTP/1.1: any byte; 0: not yet */
    uint64_t h2_bytes;            /* of DATA received, with padding */
    uint64_t h2_rtt_ns;           /* smoothed; 0: no ping was answered yet */
    uint64_t h2_bdp_bytes;        /* bandwidth-delay product, as estimated */
    uint64_t h2_window_bytes;     /* receive window of a stream that follows from it */
    char origin[HPX_HTTP_ORIGIN_BYTES]; /* "https://HOST:PORT", NUL-terminated, may be cut */
} hpx_http_connection_stats;

/**
 * Copy what is known of each connection of the client, on all its shards, in no order. For
 * watchdogs and metrics: a shard that is stuck shows by a last_read_ns that grows old. Neither this
 * function nor the shard waits for the other.
 *
 * @param out  [max]; may be NULL when max is 0
 * @thread   any, from the client's making to its release   @alloc never   @blocks never
 * @returns  how many there are; those beyond `max` are not in `out`
 */
HPX_API uint32_t
hpx_http_connections(const hpx_http_client *client, hpx_http_connection_stats *out, uint32_t max);

/** "connecting", "open", "closing", "lost"; static, never NULL. @thread any */
HPX_API const char *hpx_http_connection_state_name(hpx_http_connection_state state);

/** Since the client was made, over all its shards; of h2_last_read_ns, h2_rtt_ns, h2_bdp_bytes and
 *  h2_window_bytes the largest. Written by the shards alone, without locked instructions. */
typedef struct hpx_http_stats {
    uint64_t requests; /* taken by hpx_http_send(), as seen by the shards */
    uint64_t done;     /* outcomes */
    uint64_t failed;
    uint64_t timeouts;
    uint64_t cancelled;
    uint64_t retries;             /* automatic, all of them proved safe */
    uint64_t retries_goaway;      /* of them: above the last stream of a GOAWAY */
    uint64_t retries_refused;     /* of them: REFUSED_STREAM */
    uint64_t retries_idle_closed; /* of them: idle connection closed before a byte was written */
    uint64_t redirects;
    uint64_t connects; /* connections begun */
    uint64_t connects_failed;
    uint64_t reused;    /* requests that found a connection at once */
    uint64_t waited;    /* requests that had to wait for one */
    uint64_t idle_died; /* idle connections found closed, or with bytes unasked for */
    uint64_t idle_expired;
    uint64_t evicted;         /* idle connections closed to make room below connections_max */
    uint64_t connections;     /* open now */
    uint64_t idle;            /* of them idle */
    uint64_t h2_bytes;        /* of DATA received on HTTP/2 connections */
    uint64_t h2_last_read_ns; /* hpx_clock_now_ns() when one of them was last read; 0: never */
    uint64_t h2_rtt_ns;       /* smoothed, where a ping was answered last; 0: none was yet */
    uint64_t h2_bdp_bytes;    /* bandwidth-delay product estimated there */
    uint64_t h2_window_bytes; /* receive window of a stream that follows from it */
    uint64_t h2_keep_alive_timeouts; /* connections given up because a ping was not answered */
} hpx_http_stats;

/** Copy the counters. @thread any, from the client's making to its release @blocks never */
HPX_API void hpx_http_get_stats(const hpx_http_client *client, hpx_http_stats *out);

/** "done", "failed", "timeout", "cancelled"; static, never NULL. @thread any */
HPX_API const char *hpx_http_outcome_name(hpx_http_outcome outcome);

/** "no", "unknown", "yes"; static, never NULL. @thread any */
HPX_API const char *hpx_http_processed_name(hpx_http_processed processed);

/** Release through a pointer, for __attribute__((cleanup)). @thread client */
static inline void hpx_http_client_cleanup(hpx_http_client **it)
{
    hpx_http_client_release(*it);
}

HPX_EXTERN_C_END
#endif /* HPX_HTTP_H */

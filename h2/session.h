/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - one HTTP/2 connection (RFC 9113) over nghttp2, client or server role, sans-IO.
 *
 * Role      Bytes in become events, requests and responses become bytes out. It knows no socket and
 *           no clock; how HTTP/2 was agreed on (ALPN or prior knowledge) makes no difference.
 * Threads   A session belongs to one thread. Only hpxi_h2_stats() may be read by others.
 * Memory    Everything, nghttp2's share included, comes from the allocator given to hpxi_h2_new()
 *           and is bounded by limits.memory_bytes_max. Blocks that nghttp2 gives back are kept for
 *           it (see memory.h), so that a steady state takes nothing from the allocator.
 *
 * How a connection is driven, in each turn:
 *
 *      while ((rc = hpxi_h2_next(h2, &data, &size, out, now_ns, &event)) == 1) {
 *          ... handle the event: any function of this header may be called here ...
 *      }
 *      rc = hpxi_h2_flush(h2, out, out_bytes_max, now_ns);        // answers, requests, bodies
 *      ... send `out` ...; a timer for hpxi_h2_deadline_ns(), at which hpxi_h2_flush() is called
 *
 * There are no callbacks but a body's pull function, which runs inside hpxi_h2_flush() only.
 *
 * A stream is named by a handle with a generation: one that has ended is refused with HPX_E_STALE
 * and never mistaken for its successor. Every stream that was made (hpxi_h2_request() returned
 * HPX_OK, or HPXI_H2_REQUEST was delivered) ends in exactly one HPXI_H2_CLOSED event, its last, or
 * in hpxi_h2_reset(), after which it has no event.
 *
 *      1xx*  RESPONSE  DATA*  [TRAILERS]  [END]  CLOSED            client
 *            REQUEST   DATA*  [TRAILERS]  [END]  CLOSED            server
 *
 * END says that the peer's half is complete and lawful: a message without END was cut short.
 */
#ifndef HPXI_H2_SESSION_H
#define HPXI_H2_SESSION_H

#include "h2/ping.h"
#include "ring/alloc.h"

typedef struct hpxi_h2 hpxi_h2;

/* Slot and generation; HPXI_H2_NO_STREAM is none. Copy it freely. */
typedef uint64_t hpxi_h2_stream;
#define HPXI_H2_NO_STREAM UINT64_C(0)

/* Error codes of RFC 9113 section 7, as they are on the wire. */
typedef enum hpxi_h2_code {
    HPXI_H2_NO_ERROR = 0x0,
    HPXI_H2_PROTOCOL_ERROR = 0x1,
    HPXI_H2_INTERNAL_ERROR = 0x2,
    HPXI_H2_FLOW_CONTROL_ERROR = 0x3,
    HPXI_H2_SETTINGS_TIMEOUT = 0x4,
    HPXI_H2_STREAM_CLOSED = 0x5,
    HPXI_H2_FRAME_SIZE_ERROR = 0x6,
    HPXI_H2_REFUSED_STREAM = 0x7,
    HPXI_H2_CANCEL = 0x8,
    HPXI_H2_COMPRESSION_ERROR = 0x9,
    HPXI_H2_CONNECT_ERROR = 0xa,
    HPXI_H2_ENHANCE_YOUR_CALM = 0xb,
    HPXI_H2_INADEQUATE_SECURITY = 0xc,
    HPXI_H2_HTTP_1_1_REQUIRED = 0xd,
} hpxi_h2_code;

/* "ENHANCE_YOUR_CALM", "code 0x2a"...; static, never NULL. @thread any */
const char *hpxi_h2_code_name(uint32_t code);

/* ---- Configuration -------------------------------------------------------------------------- */

/* A token bucket: `burst` at once, `per_s` in the long run. Time is the caller's now_ns. */
typedef struct hpxi_h2_rate {
    uint32_t per_s;
    uint32_t burst;
} hpxi_h2_rate;

/*
 * Every limit, its default (hpxi_h2_config_client, _server), and what ends when it is met. "Calm":
 * the connection ends with ENHANCE_YOUR_CALM and HPX_E_H2_FLOOD.
 */
typedef struct hpxi_h2_limits {
    /* 1..65535, 128: slots, so streams open at once. Server: told to the peer, what is above is
     * refused with REFUSED_STREAM. Client: see hpxi_h2_can_open(). */
    uint32_t streams_max;

    /* 64 KiB: names, values and 32 bytes for each field of one head or trailer, as counted by us
     * after decompression. The stream ends with HPX_E_HTTP_TOO_BIG. Stops HPACK bombs. */
    uint32_t header_list_bytes_max;

    /* 128: fields of one head or trailer. As above. */
    uint32_t fields_max;

    /* 32: 1xx heads of one stream. As above. Stops endless 1xx. */
    uint32_t informational_max;

    /* 16: CONTINUATION frames of one head. Calm. CVE-2024-28182. */
    uint32_t continuations_max;

    /* 32: entries of one SETTINGS frame. Calm. */
    uint32_t settings_entries_max;

    /* 1000: answers to PING and SETTINGS that the peer does not take. Calm. CVE-2019-9512, -9515.
     */
    uint32_t acks_max;

    /* 100/s, 1000: PING frames received. Calm. */
    hpxi_h2_rate pings;

    /* 10/s, 100: SETTINGS frames received. Calm. */
    hpxi_h2_rate settings;

    /* 100/s, 1000: RST_STREAM received (client: only those for streams that had ended; the others
     * each answer a request of ours). Calm. CVE-2023-44487, rapid reset. */
    hpxi_h2_rate resets_received;

    /* 100/s, 1000: RST_STREAM that the peer's faults made us send. Calm. CVE-2025-8671. */
    hpxi_h2_rate resets_sent;

    /* 1000/s, 10000: frames that carry nothing: empty DATA, HEADERS and CONTINUATION, PRIORITY,
     * WINDOW_UPDATE, GOAWAY, unknown types, PING answers nobody asked for, heads of streams that
     * have ended. Calm. Every stream opened earns 16 back and every DATA frame sent 4, because an
     * honest peer's WINDOW_UPDATE follow those. CVE-2019-9511, -9513, -9518. */
    hpxi_h2_rate overhead;

    /* 16 MiB: all that the session holds, nghttp2's share included. HPX_E_NO_MEMORY. */
    size_t memory_bytes_max;
} hpxi_h2_limits;

typedef struct hpxi_h2_config {
    bool is_server;
    hpxi_h2_limits limits;

    /* Receive windows of streams, BDP sampling and keep-alive; its own defaults. */
    hpxi_h2_ping_config ping;

    /* 1 MiB: receive window of the connection to begin with. It is kept at no less than twice that
     * of a stream, so that one consumer that does not consume leaves the others half of it. */
    uint32_t connection_window_bytes;

    /* 10 s: the peer must acknowledge our SETTINGS within; SETTINGS_TIMEOUT. 0: never. */
    uint64_t settings_timeout_ns;
} hpxi_h2_config;

extern const hpxi_h2_config hpxi_h2_config_client; /* the defaults: copy and edit */
extern const hpxi_h2_config hpxi_h2_config_server;

/* HPX_OK, or HPX_E_INVALID with error->detail naming the member. `error` may be NULL. */
hpx_status hpxi_h2_config_check(const hpxi_h2_config *config, hpx_error *error);

/*
 * Make a session; our preface and SETTINGS are queued for the first hpxi_h2_flush(). `config` is
 * copied; `allocator` is borrowed for the session's life. HPX_OK, HPX_E_INVALID, HPX_E_NO_MEMORY.
 * @alloc yes
 */
hpx_status hpxi_h2_new(
    hpxi_h2 **out, const hpxi_h2_config *config, const hpx_allocator *allocator, uint64_t now_ns);

/* NULL is a no-op. Delivers nothing: streams that are open end silently. */
void hpxi_h2_free(hpxi_h2 *h2);

/* ---- Events --------------------------------------------------------------------------------- */

typedef struct hpxi_h2_field {
    hpx_span name; /* lower case */
    hpx_span value;
    bool is_sensitive; /* never put into a compression table (RFC 7541 7.1.3) */
} hpxi_h2_field;

typedef enum hpxi_h2_event_kind {
    HPXI_H2_INFORMATIONAL, /* client: a 1xx head; .head */
    HPXI_H2_RESPONSE,      /* client: the final head; .head */
    HPXI_H2_REQUEST,       /* server: a stream was opened by the peer; .head, .request */
    HPXI_H2_DATA,          /* .data: a view of body bytes; give the room back: hpxi_h2_consume() */
    HPXI_H2_TRAILERS,      /* .head (fields only) */
    HPXI_H2_END,           /* the peer's message is complete */
    HPXI_H2_CLOSED,        /* terminal; .closed; the handle is stale when this is delivered */
    HPXI_H2_SETTINGS,      /* the peer's SETTINGS; .settings; hpxi_h2_can_open() may have changed */
    HPXI_H2_GOAWAY,        /* the peer takes no more streams; .goaway; can_open is 0 for ever. The
                              streams above last_stream_id follow as CLOSED, processed: no */
    HPXI_H2_PONG,          /* our PING came back; .pong */
} hpxi_h2_event_kind;

/* May the peer have acted on a request? Decides whether it may be sent again elsewhere. */
typedef enum hpxi_h2_processed {
    HPXI_H2_PROCESSED_UNKNOWN = 0, /* it may have: never repeat by yourself what is not safe */
    HPXI_H2_PROCESSED_NO,          /* the peer proved that it did not, or it was never written */
} hpxi_h2_processed;

typedef struct hpxi_h2_event {
    hpxi_h2_event_kind kind;
    hpxi_h2_stream stream; /* HPXI_H2_NO_STREAM for SETTINGS, GOAWAY, PONG */
    void *user;            /* of the stream: from hpxi_h2_request() or hpxi_h2_set_user() */
    union {
        struct {
            uint16_t status; /* of a response; 0 otherwise */
            uint32_t field_count;
            const hpxi_h2_field *fields; /* without pseudo-header fields. Valid until the next call
                                            of hpxi_h2_next(); so are all spans of events */
            hpx_span method;             /* REQUEST only */
            hpx_span scheme;
            hpx_span authority; /* may be empty */
            hpx_span path;
        } head;
        hpx_span data; /* into the input given to hpxi_h2_next(): valid as long as that is */
        struct {
            hpx_status status; /* HPX_OK both halves complete; HPX_E_H2_REFUSED; HPX_E_H2_RESET by
                                  the peer; HPX_E_HTTP_MALFORMED, HPX_E_HTTP_TOO_BIG the peer's
                                  message; HPX_E_INVALID our body broke its content-length;
                                  otherwise the connection's failure */
            uint32_t code;     /* hpxi_h2_code, received or sent */
            bool by_peer;      /* the peer ended it (RST_STREAM, GOAWAY) */
            hpxi_h2_processed processed;
        } closed;
        struct {
            uint32_t streams_max;  /* MAX_CONCURRENT_STREAMS; UINT32_MAX: no limit. May be 0 */
            uint32_t window_bytes; /* INITIAL_WINDOW_SIZE */
            uint32_t frame_bytes_max;
            uint32_t header_list_bytes_max; /* UINT32_MAX: no limit */
            bool is_first;
        } settings;
        struct {
            uint32_t last_stream_id;
            uint32_t code;
            hpx_span debug_data;
        } goaway;
        struct {
            uint64_t rtt_ns; /* smoothed */
            uint32_t window_bytes;
        } pong;
    };
} hpxi_h2_event;

/*
 * Take the next event from the front of the input; *data and *size are advanced past what was used.
 * Call it until it does not return 1, also without input (*size 0): events may wait from
 * hpxi_h2_flush(), hpxi_h2_eof() and the like. Answers that cannot wait (GOAWAY) are appended to
 * `out`.
 *
 * Returns 1 an event in *event; HPX_E_PARTIAL all input was used; or the connection's failure, for
 * ever, after every open stream got its CLOSED: HPX_E_H2_PROTOCOL, HPX_E_H2_FLOOD,
 * HPX_E_PONG_TIMEOUT, HPX_E_NO_MEMORY, HPX_E_EOF, or what hpxi_h2_fail() was given. Then send what
 * `out` holds and close the connection; hpxi_h2_failure() tells more.
 */
hpx_status hpxi_h2_next(
    hpxi_h2 *h2,
    const uint8_t **data,
    size_t *size,
    hpxi_buf *out,
    uint64_t now_ns,
    hpxi_h2_event *event);

/*
 * Append what is to be sent to `out` until it holds out_bytes_max or there is nothing more: answers
 * and window updates first, then heads and bodies, streams taking turns. Also does what is due at
 * `now_ns` (PING, keep-alive, drain): call it at hpxi_h2_deadline_ns().
 *
 * Returns 1 when more waits for room in `out`, 0 when all is written, or the failure as above.
 * `out` may be over out_bytes_max by one frame (16 KiB + 9) or one head.
 */
hpx_status hpxi_h2_flush(hpxi_h2 *h2, hpxi_buf *out, size_t out_bytes_max, uint64_t now_ns);

/* When hpxi_h2_flush() must be called at the latest; HPXI_H2_NEVER_NS: no need. */
uint64_t hpxi_h2_deadline_ns(const hpxi_h2 *h2);

/* The transport ended: no more input. Fails the session with HPX_E_EOF, or with HPX_E_H2_GOAWAY if
 * the peer had sent one with an error code; hpxi_h2_next() delivers CLOSED for what was open.
 * Whether it had been drained, so that nothing was lost, hpxi_h2_is_drained() tells before and
 * after. */
void hpxi_h2_eof(hpxi_h2 *h2);

/* Fail the session from outside (TLS alert, deadline, ...): `status` < 0 is what its streams and
 * hpxi_h2_next() report. No GOAWAY is sent. No effect on a session that has failed. */
void hpxi_h2_fail(hpxi_h2 *h2, hpx_status status);

typedef struct hpxi_h2_failure_info {
    hpx_status status;  /* HPX_OK: it has not failed */
    uint32_t code;      /* hpxi_h2_code that was sent, or received */
    const char *detail; /* which rule was broken; static or the session's, never NULL */
} hpxi_h2_failure_info;

hpxi_h2_failure_info hpxi_h2_failure(const hpxi_h2 *h2);

/* ---- Bodies --------------------------------------------------------------------------------- */

/*
 * Write up to `room` bytes of the body to `to`; set *is_last with the last of them (0 bytes are
 * allowed then). Returns the bytes written; HPX_E_AGAIN nothing now, call hpxi_h2_resume() when
 * there is; any other value < 0 resets the stream with INTERNAL_ERROR, and its CLOSED reports that
 * value. Runs inside hpxi_h2_flush() only; it may not call any function of this header.
 */
typedef ptrdiff_t (*hpxi_h2_pull)(void *ctx, uint8_t *to, size_t room, bool *is_last);

#define HPXI_H2_SIZE_UNKNOWN UINT64_MAX

/* All zero: no body. What it points to is borrowed until the stream has ended (CLOSED, reset). */
typedef struct hpxi_h2_body {
    hpx_span span;     /* the whole body, when pull is NULL */
    hpxi_h2_pull pull; /* or where it comes from */
    void *pull_ctx;
    const hpxi_h2_field *trailers; /* sent after it */
    uint32_t trailer_count;
} hpxi_h2_body;

/* ---- Streams, both roles -------------------------------------------------------------------- */

/*
 * `bytes` of a stream's DATA have been taken by the consumer: the peer may send as many more, on
 * the stream and on the connection. Consuming is how a slow consumer holds a fast peer back. Not
 * more than was delivered and not yet consumed. What is not consumed when the stream ends is given
 * back to the connection then. A stale handle is a no-op.
 */
void hpxi_h2_consume(hpxi_h2 *h2, hpxi_h2_stream stream, size_t bytes);

/* The body's pull function has bytes again after HPX_E_AGAIN. A stale handle is a no-op. */
void hpxi_h2_resume(hpxi_h2 *h2, hpxi_h2_stream stream);

/*
 * End a stream now, in any of its states: RST_STREAM with `code` goes out (nothing, if its request
 * had not been written yet), its window is given back, and no event of it follows. HPX_OK,
 * HPX_E_STALE (it ended by itself: its CLOSED was delivered). Told in *processed, unless NULL.
 */
hpx_status
hpxi_h2_reset(hpxi_h2 *h2, hpxi_h2_stream stream, hpxi_h2_code code, hpxi_h2_processed *processed);

/* What event.user is for the stream. HPX_OK, HPX_E_STALE. */
hpx_status hpxi_h2_set_user(hpxi_h2 *h2, hpxi_h2_stream stream, void *user);

/* The stream's number on the wire, for logs; 0 when it is stale. */
uint32_t hpxi_h2_stream_id(const hpxi_h2 *h2, hpxi_h2_stream stream);

/* ---- Client --------------------------------------------------------------------------------- */

typedef struct hpxi_h2_request_head {
    hpx_span method;    /* a token; not CONNECT */
    hpx_span scheme;    /* "https", "http" */
    hpx_span authority; /* host[:port] without user info */
    hpx_span path;      /* "/..." with its query, or "*" */
    const hpxi_h2_field *fields;
    uint32_t field_count;
} hpxi_h2_request_head;

/*
 * Check every byte of a head without sending any (RFC 9113 8.2, 8.3): names lower-case tokens; no
 * CR, LF, NUL or other control bytes, no white space at either end of a value; no connection,
 * keep-alive, proxy-connection, transfer-encoding, upgrade, no te but "trailers", no host that
 * differs from the authority, one lawful content-length at most; counts and sizes within our limits
 * and the peer's. HPX_OK, or HPX_E_INVALID with error->detail naming the field (not showing its
 * value: it may be a credential). `error` may be NULL. hpxi_h2_request() checks as well.
 */
hpx_status
hpxi_h2_request_check(const hpxi_h2 *h2, const hpxi_h2_request_head *head, hpx_error *error);

/*
 * Streams that may be opened now: what the peer's MAX_CONCURRENT_STREAMS, our streams_max and the
 * stream numbers leave. 0 after GOAWAY, hpxi_h2_drain() or a failure; also while the peer's limit
 * is 0 or has shrunk below what is open. Ask again after SETTINGS, CLOSED and hpxi_h2_flush(). The
 * queue of waiting requests, with its deadlines, is the caller's. Before the peer's first SETTINGS
 * 100 are assumed.
 */
uint32_t hpxi_h2_can_open(const hpxi_h2 *h2);

/* Will hpxi_h2_can_open() stay 0 for ever? Then open another connection, and let this one end. */
bool hpxi_h2_is_closing(const hpxi_h2 *h2);

/*
 * Open a stream and queue its request. The head is copied, the body borrowed. HPX_OK with the
 * handle in *out; HPX_E_AGAIN (can_open is 0 now), HPX_E_STATE (for ever), HPX_E_INVALID (see
 * hpxi_h2_request_check()), HPX_E_NO_MEMORY (the session has failed). Nothing was sent on errors.
 * A body from a span gets a content-length unless the head has one (and it must agree); one from
 * a pull function is held to the head's content-length if there is one.
 * @alloc never in a steady state
 */
hpx_status hpxi_h2_request(
    hpxi_h2 *h2,
    hpxi_h2_stream *out,
    const hpxi_h2_request_head *head,
    const hpxi_h2_body *body,
    void *user,
    hpx_error *error);

/* ---- Server --------------------------------------------------------------------------------- */

/* Send a 1xx head (100..199 but 101). HPX_OK, HPX_E_STALE, HPX_E_STATE (the final head was sent),
 * HPX_E_INVALID, HPX_E_NO_MEMORY. */
hpx_status hpxi_h2_inform(
    hpxi_h2 *h2,
    hpxi_h2_stream stream,
    uint16_t status,
    const hpxi_h2_field *fields,
    uint32_t field_count,
    hpx_error *error);

/* Send the final head (200..599) and body. As above. A body for HEAD, 204 or 304 is HPX_E_INVALID;
 * no content-length is added. */
hpx_status hpxi_h2_respond(
    hpxi_h2 *h2,
    hpxi_h2_stream stream,
    uint16_t status,
    const hpxi_h2_field *fields,
    uint32_t field_count,
    const hpxi_h2_body *body,
    hpx_error *error);

/* ---- The connection ------------------------------------------------------------------------- */

/*
 * Graceful end: the streams that are open go on, no new ones are made. Client: GOAWAY(NO_ERROR).
 * Server: GOAWAY with the highest number first, so that no request under way is lost, and the final
 * one when the peer has answered a PING sent after it. Idempotent. hpxi_h2_is_drained() tells when
 * the transport may be closed; a deadline for it is the caller's.
 */
void hpxi_h2_drain(hpxi_h2 *h2, uint64_t now_ns);

/* No stream is left and none will come: drained by us or by the peer's GOAWAY, all is flushed. */
bool hpxi_h2_is_drained(const hpxi_h2 *h2);

/* End at once: GOAWAY with `code`, then the session has failed with HPX_E_ABORTED. */
void hpxi_h2_abort(hpxi_h2 *h2, hpxi_h2_code code);

/* Counters of the owner's thread. */
typedef struct hpxi_h2_info {
    uint32_t streams_open;                /* made and not ended, those being reset included */
    uint32_t streams_opened;              /* since the session began */
    uint32_t streams_max_peer;            /* the peer's MAX_CONCURRENT_STREAMS */
    uint32_t window_stream_bytes;         /* our receive window for new streams */
    int32_t window_connection_bytes;      /* what the peer may send on the connection now */
    uint32_t window_connection_bytes_max; /* and when all is consumed */
    uint64_t unconsumed_bytes;            /* delivered, not consumed, not given back */
    uint64_t refunded_bytes;              /* given back for ended streams and late frames */
    uint64_t resets_received;
    uint64_t resets_sent;
    uint64_t frames_received;
    uint64_t library_allocations; /* asked for by nghttp2 so far, kept blocks included */
    uint64_t allocations;         /* asked from the allocator so far, by all of the session */
    size_t memory_bytes;          /* held now, kept blocks included */
} hpxi_h2_info;

void hpxi_h2_get_info(const hpxi_h2 *h2, hpxi_h2_info *out);

/* RTT, BDP, window, bytes, last read, keep-alive: the one part that any thread may read, through
 * hpxi_h2_ping_read(), while the session lives; or what config.ping.stats points to. */
const hpxi_h2_ping_stats *hpxi_h2_stats(const hpxi_h2 *h2);

#endif /* HPXI_H2_SESSION_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.h - RFC 9112: bytes into messages. Responses for a client, requests for a server.
 *
 * Role      Sans-IO and strict: what two readers could understand differently is refused, never
 *           repaired. Where the input is cut changes nothing but the size of the pieces of a body.
 *
 *   IDLE --start()--> HEAD --> BODY or CHUNKED --> (TRAILERS) --> END --> IDLE
 *                    ^    \--> UNTIL_CLOSE --hpxi_h1_reader_close()--/
 *            (interim 1xx) \-> TUNNEL (after 101, and 2xx to CONNECT)
 *
 *           Any violation or limit leads to FAILED, for ever; so does a byte that comes in IDLE:
 *           it answers no request.
 *
 *           Refused although some readers accept it: both Transfer-Encoding and Content-Length;
 *           Content-Length more than once, signed, or in a list; a Transfer-Encoding that is not
 *           exactly "chunked", or in HTTP/1.0; HTTP versions but 1.0 and 1.1; folded fields; bare
 *           CR or LF; white space before a colon. Accepted although the RFC wants it otherwise: a
 *           status line that ends after the status (no space follows), one empty line before a
 *           request line (RFC 9112 2.2 asks for that).
 * Threads   One thread at a time. No clock.
 * Memory    A body is delivered as views into the input. A head is gathered in the reader's
 *           buffer, so its spans live until the next head or hpxi_h1_reader_start(). The buffers
 *           are kept: in the steady state nothing is allocated.
 */
#ifndef HPXI_H1_READER_H
#define HPXI_H1_READER_H

#include "h1/chunked.h"
#include "h1/lines.h"

typedef enum hpxi_h1_role {
    HPXI_H1_ROLE_CLIENT, /* reads responses */
    HPXI_H1_ROLE_SERVER, /* reads requests */
} hpxi_h1_role;

/* Over a limit: HPX_E_HTTP_TOO_BIG. */
typedef struct hpxi_h1_limits {
    uint32_t head_bytes_max;      /* all heads of one message together: interim ones count */
    uint32_t fields_max;          /* of one head; of the trailers */
    uint32_t interim_max;         /* 1xx responses before the final one */
    uint32_t extension_bytes_max; /* chunk extensions of one message */
    uint32_t trailer_bytes_max;
} hpxi_h1_limits;

#define HPXI_H1_LIMITS_DEFAULT                                                                     \
    ((hpxi_h1_limits){                                                                             \
        .head_bytes_max = 65536,                                                                   \
        .fields_max = 128,                                                                         \
        .interim_max = 16,                                                                         \
        .extension_bytes_max = 16384,                                                              \
        .trailer_bytes_max = 16384})

/* How a body ends (RFC 9112 6.3). */
typedef enum hpxi_h1_framing {
    HPXI_H1_NO_BODY,
    HPXI_H1_LENGTH,
    HPXI_H1_CHUNKED,
    HPXI_H1_UNTIL_CLOSE, /* responses only */
    HPXI_H1_TUNNEL,      /* what follows is not HTTP: after 101, and 2xx to CONNECT */
} hpxi_h1_framing;

/* What a head says. Members that the role has no use for are empty. */
typedef struct hpxi_h1_head {
    uint8_t version_minor; /* 0 or 1 */
    uint16_t status;       /* 100 to 999 */
    hpx_span reason;
    hpx_span method;
    hpx_span target;
    hpx_span host;               /* value of Host; empty if there is none (HTTP/1.0) */
    const hpxi_h1_field *fields; /* in their order, all of them */
    uint32_t field_count;
    hpxi_h1_framing framing;
    uint64_t body_bytes;   /* of LENGTH */
    bool keep_alive;       /* another message may follow this one */
    bool expects_continue; /* request: "Expect: 100-continue" */
} hpxi_h1_head;

typedef enum hpxi_h1_event_kind {
    HPXI_H1_EVENT_INTERIM, /* head of a 1xx response; the final one is still to come */
    HPXI_H1_EVENT_HEAD,
    HPXI_H1_EVENT_DATA, /* a piece of the body, never empty */
    HPXI_H1_EVENT_END,  /* the message is complete; not for TUNNEL */
} hpxi_h1_event_kind;

typedef struct hpxi_h1_event {
    hpxi_h1_event_kind kind;
    const hpxi_h1_head *head;      /* INTERIM, HEAD */
    hpx_span data;                 /* DATA: a view into the input */
    const hpxi_h1_field *trailers; /* END; valid until hpxi_h1_reader_start() */
    uint32_t trailer_count;
} hpxi_h1_event;

typedef enum hpxi_h1_state {
    HPXI_H1_STATE_IDLE,
    HPXI_H1_STATE_HEAD,
    HPXI_H1_STATE_BODY,
    HPXI_H1_STATE_CHUNKED,
    HPXI_H1_STATE_TRAILERS,
    HPXI_H1_STATE_UNTIL_CLOSE,
    HPXI_H1_STATE_END, /* the END event is to be told */
    HPXI_H1_STATE_TUNNEL,
    HPXI_H1_STATE_FAILED,
} hpxi_h1_state;

/* What the request was, as far as its response depends on it. All zero for a server. */
typedef struct hpxi_h1_exchange {
    bool head;    /* the method is HEAD */
    bool connect; /* the method is CONNECT */
    bool upgrade; /* the request asked for an upgrade: 101 is an answer */
} hpxi_h1_exchange;

typedef struct hpxi_h1_reader {
    hpxi_h1_state state;
    hpxi_h1_role role;
    hpxi_h1_limits limits;
    hpxi_h1_exchange exchange;
    hpxi_h1_head head;
    hpxi_h1_lines lines;    /* of the head */
    hpxi_h1_lines trailers; /* gathered apart: the head's spans stay valid */
    hpxi_h1_chunked chunked;
    uint64_t message_bytes; /* of this message taken so far */
    uint64_t body_bytes;    /* of its body delivered so far */
    uint32_t head_bytes;    /* of its heads that are over */
    uint32_t interim_count;
    uint16_t refusal;   /* server, FAILED: the HTTP status to answer with */
    bool interim_told;  /* the lines hold a 1xx head whose event was told */
    bool blank_skipped; /* server: the one empty line before the request line */
    bool started;       /* the first bytes of the head are those of HTTP/1.x */
    bool reusable;      /* IDLE: another message may be read */
    hpx_error error;    /* FAILED: which rule, and what broke it */
} hpxi_h1_reader;

void hpxi_h1_reader_init(
    hpxi_h1_reader *reader,
    hpxi_h1_role role,
    const hpxi_h1_limits *limits,
    const hpx_allocator *allocator);
void hpxi_h1_reader_fini(hpxi_h1_reader *reader);

/* The invariant, for HPX_XASSERT and fuzzing. */
bool hpxi_h1_reader_is_valid(const hpxi_h1_reader *reader);

/* Expect a message. Only when IDLE and reusable. `exchange` NULL: all zero. */
void hpxi_h1_reader_start(hpxi_h1_reader *reader, const hpxi_h1_exchange *exchange);

/* May the connection carry another message (RFC 9112 9.3)? True after init and after an END whose
 * message allowed it. Input left over then is of the next message, or nobody's: see IDLE above. */
static inline bool hpxi_h1_reader_is_reusable(const hpxi_h1_reader *reader)
{
    return reader->state == HPXI_H1_STATE_IDLE && reader->reusable;
}

/*
 * Take the next event from the front of the input, and advance *data and *size past it. Call until
 * it does not return 1: END may come without input.
 *
 * Returns 1 an event in *event; 0 the rest is not ours: a tunnel (input left as it is);
 * HPX_E_PARTIAL everything was taken; or the failure, for ever, with the reason in reader->error:
 * HPX_E_HTTP_MALFORMED, HPX_E_HTTP_TOO_BIG, HPX_E_NO_MEMORY.
 */
int hpxi_h1_reader_next(
    hpxi_h1_reader *reader, const uint8_t **data, size_t *size, hpxi_h1_event *event);

/*
 * The peer will send no more. `clean`: it said so (FIN without TLS, close_notify with it); not so
 * after a reset, a timeout, or a FIN without close_notify.
 *
 * Returns 1 with END when that completes a body that lasts until the close; 0 when nothing was
 * missing (IDLE, TUNNEL); HPX_E_EOF when the message is cut short (RFC 9112 8), with how much in
 * reader->error; a failure of before again. message_bytes == 0 then tells that nothing of it came.
 */
int hpxi_h1_reader_close(hpxi_h1_reader *reader, bool clean, hpxi_h1_event *event);

#endif /* HPXI_H1_READER_H */

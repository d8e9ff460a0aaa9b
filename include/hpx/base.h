/* SPDX-License-Identifier: Apache-2.0 */
/**
 * base.h - types shared by every public header: results, errors, spans, the allocator, the clock.
 *
 * Role      The vocabulary of the other headers. Nothing here performs I/O.
 * Threads   Every function here may be called from any thread.
 * Memory    Nothing here allocates.
 */
#ifndef HPX_BASE_H
#define HPX_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HPX_VERSION_MAJOR  0
#define HPX_VERSION_MINOR  1
#define HPX_VERSION_PATCH  0
#define HPX_VERSION_STRING "0.1.0"

#if defined(__cplusplus)
#define HPX_EXTERN_C_BEGIN extern "C" {
#define HPX_EXTERN_C_END   }
#else
#define HPX_EXTERN_C_BEGIN
#define HPX_EXTERN_C_END
#endif

#define HPX_API       __attribute__((visibility("default")))
#define HPX_NODISCARD __attribute__((warn_unused_result))

/** Nanoseconds in common units, for the `_ns` members and parameters. */
#define HPX_NS_PER_US UINT64_C(1000)
#define HPX_NS_PER_MS UINT64_C(1000000)
#define HPX_NS_PER_S  UINT64_C(1000000000)

/** For a time that is never to come: turns a deadline, a heartbeat or a watchdog off. */
#define HPX_NEVER UINT64_MAX

HPX_EXTERN_C_BEGIN

/**
 * Result of every fallible function: > 0 is a count, 0 is "done" or "nothing to do", < 0 is an
 * error. -4095..-1 is a kernel errno passed through unchanged (-ECONNREFUSED, ...). Below that,
 * each band has one reaction, so that a caller may switch on the band and not on forty codes:
 *
 *   usage (-4199..-4100)  the caller's mistake; nothing changed
 *   soft  (-4999..-4200)  nothing is wrong; retry after the event that the code names
 *   conn  (-7999..-5000)  this connection (or attempt) is finished; the engine is healthy
 *   fatal (-9999..-9000)  the engine could not start or cannot go on; only hpx_engine_free()
 */
typedef int hpx_status;

enum {
    HPX_OK = 0,

    /* usage */
    HPX_E_STALE = -4100,     /* handle of an object that no longer exists */
    HPX_E_INVALID = -4101,   /* an argument or config member is out of range; the error names it */
    HPX_E_STATE = -4102,     /* not legal in this state (engine not started, already closing) */
    HPX_E_THREAD = -4103,    /* called from a thread that may not call it */
    HPX_E_URL = -4104,       /* URL malformed; the error says where */
    HPX_E_DUPLICATE = -4105, /* a request with this id is pending already */

    /* soft */
    HPX_E_AGAIN = -4200,         /* queue full: wait for HPX_EVENT_WRITABLE, or drain */
    HPX_E_PARTIAL = -4201,       /* codec: need more bytes */
    HPX_E_NOT_CONNECTED = -4202, /* the connection is not Ready: nothing was queued */
    HPX_E_TIMEOUT = -4203,       /* a `_wait` function reached its timeout */
    HPX_E_CLOSED = -4204,        /* the Closed event was delivered: nothing follows */
    HPX_E_LIMIT = -4205,         /* a configured limit is met (ports, connections, requests) */
    HPX_E_DISCONNECTED = -4206,  /* the request's connection was lost before its answer came */
    HPX_E_CANCELLED = -4207,     /* the request was given up by the application */
    HPX_E_OVERFLOW = -4208,      /* the subscriber was too slow (HPX_OVERFLOW_DISCONNECT) */
    HPX_E_REFUSED = -4209,       /* the server refused the topic; the error says why */

    /* conn: resolve and connect */
    HPX_E_DNS_NOT_FOUND = -5000, /* the name does not exist or has no address */
    HPX_E_DNS_FAILED = -5001,    /* the name server refused, failed, or answered nonsense */
    HPX_E_DNS_TIMEOUT = -5002,   /* no answer within resolve_timeout_ns */
    HPX_E_CONNECT_TIMEOUT = -5003,

    /* conn: bytes */
    HPX_E_EOF = -5100,           /* peer closed the TCP connection without the protocol's close */
    HPX_E_CLOSE_TIMEOUT = -5101, /* the peer did not finish the closing handshake in time */
    HPX_E_ABORTED = -5102,       /* closed by us before it was established */
    HPX_E_PONG_TIMEOUT = -5103,  /* no answer to our ping within pong_timeout_ns */
    HPX_E_INBOUND_IDLE = -5104,  /* no message within inbound_idle_timeout_ns */
    HPX_E_RECONNECT = -5105,     /* the application asked for a new connection */

    /* conn: TLS */
    HPX_E_TLS_HANDSHAKE = -5200,
    HPX_E_TLS_TIMEOUT = -5201,
    HPX_E_TLS_UNTRUSTED = -5202, /* no trusted root signs the peer's chain */
    HPX_E_TLS_EXPIRED = -5203,
    HPX_E_TLS_NOT_YET_VALID = -5204,
    HPX_E_TLS_NAME = -5205,        /* certificate is valid, but for another name */
    HPX_E_TLS_CERTIFICATE = -5206, /* bad or missing certificate for any other reason */
    HPX_E_TLS_ALERT = -5207,       /* the peer sent a fatal alert; its number is in the error */
    HPX_E_TLS_TRUNCATED = -5208,   /* TCP ended without close_notify */
    HPX_E_TLS_PROTOCOL = -5209,    /* bad record, bad MAC, not TLS at all */
    HPX_E_TLS_CONFIG = -5210,      /* certificate, key or CA could not be loaded */
    HPX_E_TLS_PIN = -5211,         /* chain and name are good, but no key of it is a pinned one */

    /* conn: HTTP and the WebSocket upgrade (RFC 6455 section 4) */
    HPX_E_HTTP_MALFORMED = -5300,
    HPX_E_HTTP_TOO_BIG = -5301,        /* more header bytes or fields than the limits allow */
    HPX_E_UPGRADE_STATUS = -5302,      /* the answer is not 101; its status is in the error */
    HPX_E_UPGRADE_HEADER = -5303,      /* Upgrade or Connection missing or wrong */
    HPX_E_UPGRADE_ACCEPT = -5304,      /* Sec-WebSocket-Accept missing or wrong */
    HPX_E_UPGRADE_SUBPROTOCOL = -5305, /* the server chose one that was not offered */
    HPX_E_UPGRADE_EXTENSION = -5306,   /* the server chose one that was not offered */
    HPX_E_UPGRADE_TIMEOUT = -5307,

    /* conn: WebSocket (RFC 6455 sections 5 and 7) */
    HPX_E_WS_PROTOCOL = -5400, /* peer broke the framing rules: closed with 1002 */
    HPX_E_WS_UTF8 = -5401,     /* text or close reason is not UTF-8: closed with 1007 */
    HPX_E_WS_TOO_BIG = -5402,  /* message above message_bytes_max: closed with 1009 */
    HPX_E_WS_CLOSED = -5403,   /* orderly close; the code is in the error */

    /* conn: the session above the WebSocket */
    HPX_E_AUTH_FAILED = -5500,       /* the server refused the authentication */
    HPX_E_AUTH_TIMEOUT = -5501,      /* it was not answered within request_timeout_ns */
    HPX_E_SUBSCRIBE_TIMEOUT = -5502, /* a batch of topics was not acknowledged in time */
    HPX_E_SERVER_RECONNECT = -5503,  /* the server asked for a new connection */
    HPX_E_DIALECT = -5504,           /* the dialect could not build or decode a message */

    /* conn: HTTP/2 (RFC 9113); REFUSED and RESET end one stream, the others the connection */
    HPX_E_H2_PROTOCOL = -5700, /* peer broke the framing rules */
    HPX_E_H2_FLOOD = -5701,    /* peer sent more than a limit allows: closed, ENHANCE_YOUR_CALM */
    HPX_E_H2_REFUSED = -5702,  /* the peer did not process the request (REFUSED_STREAM, GOAWAY) */
    HPX_E_H2_RESET = -5703,    /* the peer ended the stream with RST_STREAM */
    HPX_E_H2_GOAWAY = -5704,   /* the peer ended the connection with an error code */

    /* conn: HTTP requests (RFC 9110) */
    HPX_E_HTTP_TIMEOUT = -5601,      /* timeout_ns passed */
    HPX_E_HTTP_FIRST_BYTE = -5602,   /* first_byte_timeout_ns passed */
    HPX_E_HTTP_IDLE = -5603,         /* idle_timeout_ns passed */
    HPX_E_HTTP_TRUNCATED = -5604,    /* the connection ended inside the response */
    HPX_E_HTTP_BODY_TOO_BIG = -5605, /* above body, decoded or collect_bytes_max */
    HPX_E_HTTP_ENCODING = -5606,     /* Content-Encoding: the body does not decode */
    HPX_E_HTTP_VERSION = -5607,      /* the peer did not agree to the version that was asked for */
    HPX_E_HTTP_REDIRECT = -5608,     /* Location missing, malformed, or too many of them */

    /* fatal */
    HPX_E_NO_MEMORY = -9000,
    HPX_E_URING_DISABLED = -9001,    /* sysctl kernel.io_uring_disabled */
    HPX_E_URING_BLOCKED = -9002,     /* seccomp or a container profile */
    HPX_E_URING_UNSUPPORTED = -9003, /* the kernel lacks a feature or an operation */
    HPX_E_MEMLOCK = -9004,           /* RLIMIT_MEMLOCK too low */
    HPX_E_CPU = -9005,               /* a CPU to pin to is not available to this process */
    HPX_E_INTERNAL = -9006,
};

/** Name of a status ("HPX_E_TLS_NAME", "ECONNREFUSED"); static, never NULL. @thread any */
HPX_API const char *hpx_status_name(hpx_status status);

/** One English phrase for a status; static, never NULL. @thread any */
HPX_API const char *hpx_status_text(hpx_status status);

/** Where on its way a connection or request was. Each has its stages in this order. */
typedef enum hpx_stage {
    HPX_STAGE_NONE = 0,
    HPX_STAGE_CONFIG,      /* arguments, configuration, engine start */
    HPX_STAGE_RESOLVE,     /* DNS */
    HPX_STAGE_CONNECT,     /* TCP */
    HPX_STAGE_TLS,         /* TLS handshake */
    HPX_STAGE_UPGRADE,     /* HTTP/1.1 101 */
    HPX_STAGE_AUTH,        /* authentication of the session */
    HPX_STAGE_RESUBSCRIBE, /* restoring the topics held */
    HPX_STAGE_READY,       /* messages flow */
    HPX_STAGE_CLOSE,       /* closing handshake */
    /* of an HTTP request, CONFIG to TLS being shared */
    HPX_STAGE_QUEUE,    /* waiting for a connection */
    HPX_STAGE_REQUEST,  /* sending */
    HPX_STAGE_RESPONSE, /* waiting for status and headers */
    HPX_STAGE_BODY,     /* receiving the body */
} hpx_stage;

/** "resolve", "connect", ...; static, never NULL. @thread any */
HPX_API const char *hpx_stage_name(hpx_stage stage);

#define HPX_ERROR_DETAIL_BYTES 192

/**
 * What went wrong, where, and every protocol's own number for it. Plain data: copy it freely.
 * Members that do not apply are 0.
 */
typedef struct hpx_error {
    hpx_status status;
    hpx_stage stage;
    int32_t os_errno;        /* positive errno of the failing system call */
    int32_t tls_error;       /* wolfSSL's error code (negative) */
    int32_t tls_alert;       /* AlertDescription of RFC 8446 section 6, when one was received */
    int32_t http_status;     /* of the answer to the upgrade */
    int32_t close_code;      /* WebSocket close code received, or sent by us (RFC 6455 7.4) */
    uint32_t h2_error;       /* HTTP/2 error code (RFC 9113 7) of a RST_STREAM or GOAWAY */
    uint64_t retry_after_ns; /* Retry-After of a 429 or 503 */
    char detail[HPX_ERROR_DETAIL_BYTES]; /* one line, NUL-terminated: cause, names, numbers */
} hpx_error;

/** Non-owning view of bytes. Never NUL-terminated; passed by value. */
typedef struct hpx_span {
    const uint8_t *data;
    size_t size;
} hpx_span;

/** Span over a NUL-terminated string (without its NUL). `text` is borrowed. @thread any */
HPX_API hpx_span hpx_span_of(const char *text);

/**
 * Where the engine takes its memory. Both functions or neither (all zero = the library's own:
 * mimalloc where it was built with it). They must be thread-safe. `align` is a power of two;
 * `free` gets the size and is never given NULL. `ctx` is borrowed for the engine's life.
 */
typedef struct hpx_allocator {
    void *(*alloc)(size_t size, size_t align, void *ctx);
    void (*free)(void *ptr, size_t size, void *ctx);
    void *ctx;
} hpx_allocator;

/** CLOCK_MONOTONIC in nanoseconds: the clock of every `time_ns` in this API. @thread any */
HPX_API uint64_t hpx_clock_now_ns(void);

HPX_EXTERN_C_END
#endif /* HPX_BASE_H */

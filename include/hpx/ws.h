/* SPDX-License-Identifier: Apache-2.0 */
/**
 * ws.h - WebSocket connections (RFC 6455): connect, send, receive, close, listen.
 *
 * Role      A connection is owned by one shard. Two ways to use it, with the same events in the
 *           same order: *inline*, an event handler that runs on the shard's thread and answers
 *           with hpx_conn_*; or through a *port*: a handle (commands) and a stream (events) on
 *           another thread.
 * Threads   hpx_conn_*: owner (the shard's thread). hpx_handle_*, hpx_stream_*: port.
 *           Nothing calls back from inside the call that started it.
 * Memory    Event payloads are views: of the receive slot (inline) or of the stream's ring; valid
 *           until the handler returns, or until the next call on the stream.
 */
#ifndef HPX_WS_H
#define HPX_WS_H

#include <hpx/base.h>
#include <hpx/engine.h>
#include <hpx/protocol.h>
#include <hpx/tls.h>

HPX_EXTERN_C_BEGIN

typedef struct hpx_conn hpx_conn;         /* a connection, seen from its shard */
typedef struct hpx_handle hpx_handle;     /* commands to a connection, from a port */
typedef struct hpx_stream hpx_stream;     /* events of a connection, on a port */
typedef struct hpx_listener hpx_listener; /* accepts connections on a shard */

typedef enum hpx_message_kind {
    HPX_MESSAGE_TEXT = 1, /* valid UTF-8, checked */
    HPX_MESSAGE_BINARY = 2,
} hpx_message_kind;

/** States of a connection, in their order (docs/architecture.md shows the transitions). */
typedef enum hpx_conn_state {
    HPX_CONN_IDLE = 0,
    HPX_CONN_RESOLVING,
    HPX_CONN_CONNECTING,
    HPX_CONN_TLS_HANDSHAKE,
    HPX_CONN_UPGRADING,
    HPX_CONN_AUTHENTICATING, /* with a protocol: first messages and authentication */
    HPX_CONN_RESUBSCRIBING,  /* with a protocol: the topics held are subscribed again */
    HPX_CONN_READY,
    HPX_CONN_BACKING_OFF, /* lost or failed; the next attempt comes after a delay */
    HPX_CONN_CLOSING,     /* closing handshake, or waiting for the peer's FIN */
    HPX_CONN_CLOSED,      /* absorbing */
} hpx_conn_state;

/** "resolving", "ready", ...; static, never NULL. @thread any */
HPX_API const char *hpx_conn_state_name(hpx_conn_state state);

/** What was agreed and how long it took. Strings are NUL-terminated and may be cut. */
typedef struct hpx_conn_info {
    uint64_t resolve_ns; /* duration of each stage, 0 if it did not happen */
    uint64_t connect_ns;
    uint64_t tls_ns;
    uint64_t upgrade_ns;
    uint64_t auth_ns;
    uint64_t resubscribe_ns;
    uint64_t rtt_ns; /* of the last ping that was answered; 0 before the first */
    uint32_t shard;
    bool is_server;
    bool is_tls;
    bool tls_verified; /* chain, dates and name were checked and are good */
    bool tls_resumed;
    char tls_version[16];  /* "TLSv1.3" */
    char tls_cipher[48];   /* IANA name: "TLS_AES_128_GCM_SHA256" */
    char peer_address[64]; /* "127.0.0.1:8443", "[::1]:8443" */
    char subprotocol[64];  /* chosen one, or "" */
    char target[256];      /* server role: request target of the upgrade ("/feed?x=1") */
} hpx_conn_info;

typedef enum hpx_event_kind {
    HPX_EVENT_CONNECTED = 1, /* Ready: `info`, `epoch`. Messages may be sent. */
    HPX_EVENT_MESSAGE,       /* one whole message: `message_kind`, `payload`; with a protocol only
                                those that are neither a response nor an update */
    HPX_EVENT_WRITABLE,      /* after HPX_E_AGAIN from a send: the queue has drained */
    HPX_EVENT_DISCONNECTED,  /* a Ready connection ended, or an attempt failed: `error`; with
                                config.reconnect another attempt follows */
    HPX_EVENT_CLOSED,        /* the last event, always, exactly once: `error` is the cause */
} hpx_event_kind;

typedef struct hpx_event {
    hpx_event_kind kind;
    hpx_message_kind message_kind;   /* MESSAGE */
    uint64_t epoch;                  /* 0 before the first CONNECTED, then counts Ready periods */
    uint64_t time_ns;                /* shard clock when the bytes were taken from the socket */
    hpx_span payload;                /* MESSAGE; may be empty, never merged with another; after
                                        the protocol's decode_binary() */
    hpx_span raw;                    /* MESSAGE: as received; on a stream, and for what
                                      came before CONNECTED, empty if it was decoded */
    hpx_message_class message_class; /* MESSAGE: what the protocol made of it */
    uint64_t missed;                 /* MESSAGE, DISCONNECTED on a stream: messages that were
                                        dropped just before, because its ring was full */
    const hpx_error *error;          /* DISCONNECTED, CLOSED; never NULL there */
    const hpx_conn_info *info;       /* CONNECTED; never NULL there */
} hpx_event;

/**
 * Inline event handler, on the shard's thread. Any hpx_conn_* function may be called from it.
 * `conn` is valid until the handler of HPX_EVENT_CLOSED has returned. It is NULL in both events
 * (DISCONNECTED, CLOSED) of a connection, made through a port, for which there was no memory.
 */
typedef void (*hpx_event_fn)(hpx_conn *conn, const hpx_event *event, void *user);

typedef enum hpx_receive_mode {
    HPX_RECEIVE_MULTISHOT = 0, /* io_uring multishot: flat in the number of connections */
    HPX_RECEIVE_HOT,           /* recv() every turn: about 0.9 us faster, few per shard */
} hpx_receive_mode;

/** How a dead peer is found, in READY. */
typedef enum hpx_heartbeat {
    HPX_HEARTBEAT_FRAME = 0, /* WebSocket ping frames */
    HPX_HEARTBEAT_PROTOCOL,  /* the protocol's build_ping() */
    HPX_HEARTBEAT_BOTH,
} hpx_heartbeat;

#define HPX_SHARD_BY_HASH UINT32_MAX

/** Start from HPX_WS_CONFIG_INIT. A zero member means its default. All strings and arrays are
 *  copied by the call that takes the config; the TLS context is reference counted. */
typedef struct hpx_ws_config {
    uint32_t size;
    uint32_t flags;                  /* set through functions only */
    const char *url;                 /* required: ws://HOST[:PORT][/PATH][?QUERY] or wss:// */
    const char *const *headers;      /* "Name: value" to add to the upgrade request */
    uint32_t header_count;           /* 0..64 */
    const char *const *subprotocols; /* offered, in order of preference (RFC 6455 1.9) */
    uint32_t subprotocol_count;      /* 0..16 */
    const char *const *resolve;      /* "HOST:PORT:ADDR[,ADDR...]": use these addresses, no DNS */
    uint32_t resolve_count;          /* 0..16 */
    hpx_tls_context *tls;            /* NULL: the engine's default context (system roots) */
    const char *tls_server_name;     /* SNI and name to verify; NULL: the URL's host */
    uint32_t shard;                  /* index, or HPX_SHARD_BY_HASH (by the URL's host:port) */
    hpx_receive_mode receive_mode;
    hpx_event_fn on_event;           /* set: inline delivery; NULL: through the stream */
    void *user;                      /* given to on_event, borrowed */
    uint64_t resolve_timeout_ns;     /* default 5 s */
    uint64_t connect_timeout_ns;     /* TCP, all addresses together; default 10 s */
    uint64_t tls_timeout_ns;         /* default 10 s */
    uint64_t upgrade_timeout_ns;     /* default 10 s */
    uint64_t close_timeout_ns;       /* closing handshake, then abort; default 500 ms */
    uint64_t message_bytes_max;      /* received; 1..1 GiB, default 16 MiB; over: close 1009 */
    uint32_t fragments_max;          /* frames of one message; default 65536; over: close 1009 */
    uint64_t send_queue_bytes_max;   /* unsent bytes; default 32 MiB; over: HPX_E_AGAIN */
    uint32_t upgrade_bytes_max;      /* header bytes of the answer, 1..256 KiB, default 16 KiB */
    uint32_t upgrade_headers_max;    /* header fields of the answer, default 100 */
    uint32_t stream_ring_bytes;      /* power of two, 64 KiB..1 GiB, default 1 MiB; full: drops,
                                        counted in `missed` */
    uint64_t stream_large_bytes_max; /* messages over a quarter of the ring travel as owned
                                        blocks; the sum outstanding; default 64 MiB */
    uint32_t busy_poll_us;           /* SO_BUSY_POLL and SO_PREFER_BUSY_POLL, 0 (default) off */
    bool quickack;                   /* TCP_QUICKACK when connected: the first answers are
                                        acknowledged at once (the kernel may fall back later) */
    bool incoming_cpu;               /* SO_INCOMING_CPU: the CPU that the shard is pinned to */

    /* Heartbeat and watchdog, in READY. */
    uint64_t ping_interval_ns;        /* WebSocket ping when due; default 15 s, or HPX_NEVER */
    uint64_t pong_timeout_ns;         /* from our ping to its pong; default 10 s; over: lost */
    uint64_t inbound_idle_timeout_ns; /* no message for so long: lost; 0 (default): no watchdog */

    /* Reconnection: the same handle and stream, a new socket, the next epoch. */
    bool reconnect;              /* default false: a lost connection is CLOSED */
    uint32_t attempts_max;       /* failed in a row, then CLOSED; 0 (default): no limit */
    uint64_t backoff_initial_ns; /* default 100 ms */
    uint64_t backoff_max_ns;     /* default 30 s; >= backoff_initial_ns */
    double backoff_factor;       /* 1..10, default 2 */
    double backoff_jitter;       /* 0..1: share of the delay that is random. 1, full jitter,
                                    is what HPX_WS_CONFIG_INIT sets; 0 means none */
    uint64_t stable_after_ns;    /* READY for so long: start again at backoff_initial_ns;
                                    default 10 s. Until then an accept-then-drop server
                                    counts as failing */

    /* The session (session.h); without a protocol messages are delivered as they are. */
    const hpx_protocol *protocol;    /* NULL (default): none. The table is copied; its ctx is
                                        retained until CLOSED */
    hpx_heartbeat heartbeat;         /* default FRAME */
    uint32_t requests_max;           /* pending at once, of all handles; 1..65536, default 1024 */
    uint64_t request_timeout_ns;     /* default 30 s; also for authentication and batches */
    uint32_t reply_ring_bytes;       /* of each handle, power of two; default: what requests_max
                                        needs, at least 256 KiB */
    uint32_t topics_max;             /* held at once, 1..1048576, default 65536 */
    uint32_t topics_per_message_max; /* 1..65535 topics of one subscribe message; default 100 */
    double messages_per_second;      /* rate that the server allows; 0 (default): no limit. All
                                        messages count; only (un)subscribing waits */
    uint32_t messages_burst;         /* at once after a pause; default: one second's worth */
} hpx_ws_config;

#define HPX_WS_CONFIG_INIT                                                                         \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_ws_config), .shard = HPX_SHARD_BY_HASH, .backoff_jitter = 1.0 \
    }

/** Accept any certificate on this connection: no chain, date or name check. For tests against
 *  servers that you trust by other means; shows as tls_verified == false. @thread any */
HPX_API void hpx_ws_config_set_insecure_no_verify(hpx_ws_config *config);

/* ---- Through a port -------------------------------------------------------------------------- */

/**
 * Begin a connection. Returns at once; its outcome arrives as CONNECTED, or as DISCONNECTED and
 * CLOSED with the stage and the cause.
 *
 * @param config  copied
 * @param handle  set on success; give it back with hpx_handle_release(), which closes the
 *                connection gracefully
 * @param stream  set on success; required unless config->on_event is set (then it may be NULL and
 *                is set to NULL); give it back with hpx_stream_release()
 * @param error   may be NULL; on failure names what is wrong
 * @thread   port   @blocks never (the first wss:// without a context loads the system roots)
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_URL, HPX_E_LIMIT, HPX_E_AGAIN (control ring full),
 *           HPX_E_TLS_CONFIG, HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status hpx_ws_connect(
    hpx_port *port,
    const hpx_ws_config *config,
    hpx_handle **handle,
    hpx_stream **stream,
    hpx_error *error);

/**
 * Queue one message. The payload is copied once. It belongs to the current epoch: if the
 * connection is lost before it is written, it is dropped, never sent on a later connection.
 *
 * @thread   port   @alloc never (for payloads up to a quarter of data_ring_bytes)  @blocks never
 * @returns  HPX_OK queued, HPX_E_NOT_CONNECTED, HPX_E_AGAIN (data ring full), HPX_E_INVALID
 *           (kind, or text that is not UTF-8), HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status
hpx_handle_send(hpx_handle *handle, hpx_message_kind kind, hpx_span payload);

/**
 * Begin the closing handshake (RFC 6455 section 7). Honoured in every state; overtakes queued
 * sends. CLOSED follows.
 *
 * @param code    1000, 1001, 1003, 1007..1014 or 3000..4999; 0 means 1000
 * @param reason  UTF-8, at most 123 bytes; copied
 * @thread   port   @blocks never
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_AGAIN (control ring full)
 */
HPX_API hpx_status hpx_handle_close(hpx_handle *handle, uint16_t code, hpx_span reason);

/**
 * Give the connection up and make a new one (config.reconnect must be set): in READY with CLOSE
 * 1000 and the events DISCONNECTED (HPX_E_RECONNECT, `reason` in its detail) and later CONNECTED;
 * while backing off, at once; on the way up, begins anew.
 *
 * @param reason  shown in the error's detail; at most 123 bytes are kept; copied
 * @thread   port   @blocks never
 * @returns  HPX_OK, HPX_E_STATE (config.reconnect is not set), HPX_E_AGAIN (control ring full)
 */
HPX_API hpx_status hpx_handle_reconnect(hpx_handle *handle, hpx_span reason);

/** Release the handle: closes the connection (1000) if it is the last one. NULL is a no-op.
 *  @thread port @blocks never */
HPX_API void hpx_handle_release(hpx_handle *handle);

/** State as the shard last published it. @thread any that may use the handle */
HPX_API hpx_conn_state hpx_handle_state(const hpx_handle *handle);

/** True in HPX_CONN_READY. @thread as hpx_handle_state() */
HPX_API bool hpx_handle_is_connected(const hpx_handle *handle);

/** Number of Ready periods so far; 0 before the first. @thread as hpx_handle_state() */
HPX_API uint64_t hpx_handle_epoch(const hpx_handle *handle);

/** Round trip of the last answered ping, nanoseconds; 0 before the first.
 *  @thread as hpx_handle_state() */
HPX_API uint64_t hpx_handle_rtt_ns(const hpx_handle *handle);

/**
 * Take the next event. The event and its views are valid until the next call on this stream.
 *
 * @thread   port   @alloc never   @blocks never
 * @returns  1 an event, 0 none now, HPX_E_CLOSED after the CLOSED event was taken
 */
HPX_API HPX_NODISCARD int hpx_stream_next(hpx_stream *stream, hpx_event *event);

/** As hpx_stream_next(), but waits up to timeout_ns (UINT64_MAX: for ever).
 *  @thread port @returns 1, HPX_E_TIMEOUT, HPX_E_CLOSED */
HPX_API HPX_NODISCARD int
hpx_stream_wait(hpx_stream *stream, hpx_event *event, uint64_t timeout_ns);

/** hpx_port_fd() of the stream's port. @thread port @returns >= 0 the descriptor */
HPX_API int hpx_stream_fd(hpx_stream *stream);

/** Release the stream: events not yet taken are dropped. NULL is a no-op.
 *  @thread port @blocks never */
HPX_API void hpx_stream_release(hpx_stream *stream);

/* ---- Inline, on the shard -------------------------------------------------------------------- */

/**
 * Begin a connection from the shard's own thread; config->on_event is required. The first event
 * comes in a later turn, never from inside this call.
 *
 * @thread   owner   @returns as hpx_ws_connect()
 */
HPX_API HPX_NODISCARD hpx_status
hpx_shard_connect(hpx_shard *shard, const hpx_ws_config *config, hpx_conn **out, hpx_error *error);

/**
 * Queue one message: framed straight into the send buffer, written at the end of the turn.
 * `payload` is copied and may be the event's own payload.
 *
 * @thread   owner   @alloc never in steady state (the buffer grows once)   @blocks never
 * @returns  HPX_OK, HPX_E_NOT_CONNECTED, HPX_E_AGAIN (send_queue_bytes_max: WRITABLE follows),
 *           HPX_E_INVALID (kind), HPX_E_NO_MEMORY. Text is not checked here: send UTF-8.
 */
HPX_API HPX_NODISCARD hpx_status
hpx_conn_send(hpx_conn *conn, hpx_message_kind kind, hpx_span payload);

/** Begin the closing handshake; as hpx_handle_close(). @thread owner
 *  @returns HPX_OK, HPX_E_INVALID */
HPX_API hpx_status hpx_conn_close(hpx_conn *conn, uint16_t code, hpx_span reason);

/** Give the connection up at once: no CLOSE frame, the peer sees a reset. DISCONNECTED
 *  (HPX_E_ABORTED, if it was Ready) and CLOSED follow, whatever config.reconnect says. For servers
 *  that must get rid of a peer, and for tests. @thread owner */
HPX_API void hpx_conn_abort(hpx_conn *conn);

/** As hpx_handle_reconnect(). @thread owner @returns HPX_OK, HPX_E_STATE */
HPX_API hpx_status hpx_conn_reconnect(hpx_conn *conn, hpx_span reason);

/** State now. @thread owner */
HPX_API hpx_conn_state hpx_conn_get_state(const hpx_conn *conn);

/** What was agreed; complete from CONNECTED on. Borrowed until CLOSED. @thread owner */
HPX_API const hpx_conn_info *hpx_conn_get_info(const hpx_conn *conn);

/** Bytes queued and not yet taken by the kernel. @thread owner */
HPX_API uint64_t hpx_conn_queued_bytes(const hpx_conn *conn);

/** Number of Ready periods so far. @thread owner */
HPX_API uint64_t hpx_conn_get_epoch(const hpx_conn *conn);

/** The pointer given to the event handler; settable per connection (server role). @thread owner */
HPX_API void hpx_conn_set_user(hpx_conn *conn, void *user);

/** @thread owner */
HPX_API void *hpx_conn_get_user(const hpx_conn *conn);

/** The shard that owns the connection. @thread owner */
HPX_API hpx_shard *hpx_conn_get_shard(const hpx_conn *conn);

/* ---- Server role ----------------------------------------------------------------------------- */

/** A valid upgrade request, before it is answered. Strings are valid during the call. */
typedef struct hpx_upgrade_request {
    const char *target;      /* "/ws?token=x"; cut to 255 bytes if longer */
    const char *host;        /* the Host field */
    const char *subprotocol; /* that would be chosen; "" for none */
} hpx_upgrade_request;

typedef struct hpx_upgrade_answer {
    uint32_t http_status;   /* 101 accepts; 400..599 refuses (others: 500) */
    uint32_t retry_after_s; /* with a refusal: Retry-After in seconds; 0: none */
} hpx_upgrade_answer;

/** Decides on an upgrade request, on the shard's thread. A refused connection makes no events. */
typedef hpx_upgrade_answer (*hpx_upgrade_fn)(const hpx_upgrade_request *request, void *user);

/** Start from HPX_LISTEN_CONFIG_INIT. A zero member means its default. Strings are copied. */
typedef struct hpx_listen_config {
    uint32_t size;
    uint32_t flags;                  /* reserved, 0 */
    const char *address;             /* required: "127.0.0.1:8080", "[::1]:0"; port 0: any free */
    hpx_tls_context *tls;            /* server context; NULL: plain TCP */
    hpx_event_fn on_event;           /* required; gets every accepted connection's events */
    void *user;                      /* initial user pointer of accepted connections */
    const char *const *subprotocols; /* supported, in order of preference */
    uint32_t subprotocol_count;      /* 0..16 */
    uint32_t backlog;                /* default 511 */
    bool reuse_port;                 /* SO_REUSEPORT: one listener per shard on one address */
    hpx_receive_mode receive_mode;
    uint64_t handshake_timeout_ns; /* TLS and upgrade together; default 10 s */
    uint64_t close_timeout_ns;     /* default 500 ms */
    uint64_t message_bytes_max;    /* default 16 MiB */
    uint32_t fragments_max;        /* default 65536 */
    uint64_t send_queue_bytes_max; /* default 32 MiB */
    uint32_t upgrade_bytes_max;    /* default 16 KiB */
    uint32_t upgrade_headers_max;  /* default 100 */
    hpx_upgrade_fn on_upgrade;     /* NULL: accept; gets `user` as well */
} hpx_listen_config;

#define HPX_LISTEN_CONFIG_INIT                                                                     \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_listen_config)                                                \
    }

/**
 * Listen and accept WebSocket connections on this shard. Requests that are no valid upgrade are
 * answered with 400, 405, 426 or 431 and closed; they make no events.
 *
 * @thread   owner
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_LIMIT, -EADDRINUSE, -EACCES, ... (the error says which)
 */
HPX_API HPX_NODISCARD hpx_status hpx_shard_listen(
    hpx_shard *shard, const hpx_listen_config *config, hpx_listener **out, hpx_error *error);

/** Bound port in host order (useful after asking for port 0). @thread owner */
HPX_API uint16_t hpx_listener_get_port(const hpx_listener *listener);

/** Stop accepting; accepted connections live on. NULL is a no-op. @thread owner */
HPX_API void hpx_listener_close(hpx_listener *listener);

/** Release through a pointer, for __attribute__((cleanup)). @thread port */
static inline void hpx_handle_cleanup(hpx_handle **handle)
{
    hpx_handle_release(*handle);
}

/** Release through a pointer, for __attribute__((cleanup)). @thread port */
static inline void hpx_stream_cleanup(hpx_stream **stream)
{
    hpx_stream_release(*stream);
}

/** HPX_AUTO(hpx_handle) *h = NULL; releases h when it goes out of scope. */
#define HPX_AUTO(type) __attribute__((cleanup(type##_cleanup))) type

HPX_EXTERN_C_END
#endif /* HPX_WS_H */

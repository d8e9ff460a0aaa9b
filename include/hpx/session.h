/* SPDX-License-Identifier: Apache-2.0 */
/**
 * session.h - requests and subscriptions on a WebSocket connection that speaks a dialect.
 *
 * Role      A connection whose config names a `protocol` correlates answers with requests and
 *           routes updates to subscriptions. Requests belong to an epoch: they complete exactly
 *           once and never travel on a later connection. Subscriptions are desired state: they
 *           survive reconnects and are restored before the connection counts as Ready.
 * Threads   hpx_conn_*: owner (the shard's thread). hpx_handle_*, hpx_subscription_*: port, the
 *           thread of the port that the object was made on.
 *           Nothing calls back from inside the call that started it.
 * Memory    Requests and updates allocate nothing in steady state. Payloads of replies and updates
 *           are views: valid until the next call on the same handle (replies) or subscription.
 */
#ifndef HPX_SESSION_H
#define HPX_SESSION_H

#include <hpx/protocol.h>
#include <hpx/ws.h>

HPX_EXTERN_C_BEGIN

/* ---- Requests -------------------------------------------------------------------------------- */

/** How a request ended. Exactly one per accepted request. */
typedef struct hpx_reply {
    /** HPX_OK               answered: `payload` is the response (also one that reports an error)
     *  HPX_E_TIMEOUT        no answer within its timeout; a later one is dropped and counted
     *  HPX_E_DISCONNECTED   the connection was lost: if `sent`, the server may have acted on it.
     *                       It is never sent again
     *  HPX_E_CANCELLED      hpx_request_cancel()
     *  HPX_E_DUPLICATE      request_raw: its id is in use
     *  HPX_E_AGAIN          the connection's send queue is full: it was not sent
     *  HPX_E_INVALID        the dialect found no place for an id in it
     *  HPX_E_NO_MEMORY      it was not sent, or its answer could not be kept (`sent` tells) */
    hpx_status status;
    bool sent;        /* bytes were queued to the socket */
    bool is_error;    /* answered, and the dialect says the server reports an error */
    uint64_t token;   /* of the request */
    void *user;       /* as given */
    uint64_t epoch;   /* the request's */
    uint64_t sent_ns; /* shard clock when it was framed, 0 if it was not; ... */
    uint64_t time_ns; /* ... and when this outcome was known: the difference is the round trip */
    hpx_span payload; /* the response, after decode_binary(); empty unless HPX_OK */
} hpx_reply;

/** Inline outcome of a request, on the shard's thread. Any hpx_conn_* function may be called. */
typedef void (*hpx_reply_fn)(hpx_conn *conn, const hpx_reply *reply, void *user);

/**
 * Send a request; its reply arrives later through hpx_handle_next_reply(), exactly one.
 *
 * @param payload     a message of the dialect without a request id, or with one to be replaced;
 *                    text; copied
 * @param timeout_ns  from now; 0: config.request_timeout_ns; HPX_NEVER: no limit
 * @param user        returned in the reply; borrowed
 * @param token       identifies the request for hpx_request_cancel(); may be NULL
 * @thread   port   @alloc never (payloads up to a quarter of data_ring_bytes)   @blocks never
 * @returns  HPX_OK; or at once, and then no reply follows: HPX_E_NOT_CONNECTED, HPX_E_LIMIT
 *           (config.requests_max are pending on the connection), HPX_E_AGAIN (the data ring is
 * full, or this handle has requests_max replies that were not taken), HPX_E_INVALID (not UTF-8),
 *           HPX_E_STATE (no protocol, or one without inject_request_id), HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status hpx_handle_request(
    hpx_handle *handle, hpx_span payload, uint64_t timeout_ns, void *user, uint64_t *token);

/** As hpx_handle_request(), for payloads that carry `id` already (NUMBER, or TEXT of at most
 *  HPX_REQUEST_ID_BYTES): sent as they are. An id that is pending on the connection makes the reply
 *  HPX_E_DUPLICATE. Do not mix with ids of the library's own (numbers above 2^16).
 *  @thread port @alloc never @blocks never @returns as hpx_handle_request() */
HPX_API HPX_NODISCARD hpx_status hpx_handle_request_raw(
    hpx_handle *handle,
    const hpx_request_id *id,
    hpx_span payload,
    uint64_t timeout_ns,
    void *user,
    uint64_t *token);

/**
 * Send a request and wait for its reply; other replies stay for hpx_handle_next_reply().
 *
 * @param reply  set unless the call itself is refused; payload valid until the next call on the
 *               handle
 * @thread   port
 * @returns  reply->status, or as hpx_handle_request() if it was refused at once
 */
HPX_API HPX_NODISCARD hpx_status hpx_handle_request_wait(
    hpx_handle *handle, hpx_span payload, uint64_t timeout_ns, hpx_reply *reply);

/** Give up a request: its reply will be HPX_E_CANCELLED, unless it completed before.
 *  @thread port @blocks never
 *  @returns HPX_OK, HPX_E_AGAIN (control ring full) */
HPX_API hpx_status hpx_request_cancel(hpx_handle *handle, uint64_t token);

/** Take the next reply of a request made on this handle. Views are valid until the next call.
 *  hpx_port_fd()'s descriptor tells of replies too.
 *  @thread port @alloc never @blocks never @returns 1 a reply, 0 none now */
HPX_API HPX_NODISCARD int hpx_handle_next_reply(hpx_handle *handle, hpx_reply *reply);

/** As hpx_handle_next_reply(), but waits. @thread port @returns 1, HPX_E_TIMEOUT */
HPX_API HPX_NODISCARD int
hpx_handle_wait_reply(hpx_handle *handle, hpx_reply *reply, uint64_t timeout_ns);

/** Requests pending on the connection, of all its handles. @thread port */
HPX_API uint32_t hpx_handle_pending_count(const hpx_handle *handle);

/**
 * The same, inline: `on_reply` is called on the shard in a later turn (or later in this one), never
 * from inside this call.
 *
 * @thread   owner   @alloc never   @blocks never
 * @returns  HPX_OK; or, and then on_reply is not called: HPX_E_NOT_CONNECTED, HPX_E_LIMIT,
 *           HPX_E_AGAIN (send queue full), HPX_E_INVALID (no place for an id), HPX_E_DUPLICATE,
 *           HPX_E_STATE (no protocol), HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status hpx_conn_request(
    hpx_conn *conn,
    hpx_span payload,
    uint64_t timeout_ns,
    hpx_reply_fn on_reply,
    void *user,
    uint64_t *token);

/** Inline form of hpx_handle_request_raw(). @thread owner @returns as hpx_conn_request() */
HPX_API HPX_NODISCARD hpx_status hpx_conn_request_raw(
    hpx_conn *conn,
    const hpx_request_id *id,
    hpx_span payload,
    uint64_t timeout_ns,
    hpx_reply_fn on_reply,
    void *user,
    uint64_t *token);

/** Give up an inline request: on_reply is called with HPX_E_CANCELLED, later.
 *  @thread owner @returns HPX_OK, HPX_E_STALE (it completed before) */
HPX_API hpx_status hpx_conn_request_cancel(hpx_conn *conn, uint64_t token);

/** Requests pending on the connection. @thread owner */
HPX_API uint32_t hpx_conn_pending_count(const hpx_conn *conn);

/* ---- Subscriptions --------------------------------------------------------------------------- */

typedef struct hpx_subscription hpx_subscription;

/** What happens when a subscriber is slower than its topics. */
typedef enum hpx_overflow {
    HPX_OVERFLOW_DROP_OLDEST = 0, /* the newest are kept; `missed` tells how many were not */
    HPX_OVERFLOW_DROP_NEWEST,     /* what is queued stays; `missed` likewise */
    HPX_OVERFLOW_CONFLATE,        /* only the newest message of each topic is kept */
    HPX_OVERFLOW_DISCONNECT,      /* the subscription ends with HPX_E_OVERFLOW */
} hpx_overflow;

typedef enum hpx_subscription_state {
    HPX_SUBSCRIPTION_PENDING = 0, /* not yet acknowledged for all its topics in this epoch */
    HPX_SUBSCRIPTION_LIVE,        /* every topic is subscribed at the server */
    HPX_SUBSCRIPTION_ENDED,       /* absorbing */
} hpx_subscription_state;

typedef enum hpx_update_kind {
    HPX_UPDATE_MESSAGE = 1, /* `topic`, `payload` */
    HPX_UPDATE_LIVE,        /* all topics are acknowledged in `epoch`; messages may come before */
    HPX_UPDATE_INTERRUPTED, /* the connection of `epoch` was lost: a gap follows */
    HPX_UPDATE_REFUSED,     /* the server refused `topic`: `error`; the other topics go on */
    HPX_UPDATE_ENDED,       /* last, always, exactly once unless released before: `error` */
} hpx_update_kind;

typedef struct hpx_update {
    hpx_update_kind kind;
    hpx_message_kind message_kind;
    uint32_t topic_index; /* MESSAGE, REFUSED: of the topics given when subscribing */
    uint64_t epoch;
    uint64_t time_ns; /* shard clock when the bytes were taken from the socket */
    uint64_t missed;  /* any kind: messages not delivered just before, by the policy */
    hpx_span topic;
    hpx_span payload;       /* the whole message, after decode_binary() */
    const hpx_error *error; /* REFUSED, ENDED; never NULL there */
} hpx_update;

/** Inline subscriber, on the shard's thread; `payload` lies in the receive slot. Any hpx_conn_*
 *  function may be called, and hpx_conn_unsubscribe() on this subscription too. */
typedef void (*hpx_update_fn)(
    hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user);

/** Start from HPX_SUBSCRIBE_CONFIG_INIT. A zero member means its default. */
typedef struct hpx_subscribe_config {
    uint32_t size;
    uint32_t flags;           /* reserved, 0 */
    hpx_overflow overflow;    /* default DROP_OLDEST */
    uint32_t ring_bytes;      /* of the subscriber's ring, power of two, 4 KiB..1 GiB;
                                 default 256 KiB (1024 messages of about 200 bytes) */
    uint64_t large_bytes_max; /* messages over a quarter of the ring travel as owned blocks; the
                                 sum outstanding; default 64 MiB */
    void *user;               /* hpx_subscription_get_user(); borrowed */
} hpx_subscribe_config;

#define HPX_SUBSCRIBE_CONFIG_INIT                                                                  \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_subscribe_config)                                             \
    }

#define HPX_TOPIC_BYTES_MAX 256

/**
 * Subscribe to a set of topics with one queue: updates arrive in wire order across the set.
 * Each topic is counted once per subscription; the connection subscribes it at the server when the
 * first subscription wants it and unsubscribes when the last one goes. May be called in any state:
 * topics are subscribed once connected, and again after each reconnect.
 *
 * @param topics  1..65535 of 1..HPX_TOPIC_BYTES_MAX bytes of UTF-8 each, no two the same; copied
 * @param config  copied; NULL means defaults
 * @param out     set on success; given back with hpx_subscription_release()
 * @thread   port   @alloc yes   @blocks never
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_STATE (no protocol, or one without build_subscribe),
 *           HPX_E_AGAIN (data ring full), HPX_E_CLOSED (the connection is closed), HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status hpx_handle_subscribe_many(
    hpx_handle *handle,
    const hpx_span *topics,
    uint32_t topic_count,
    const hpx_subscribe_config *config,
    hpx_subscription **out,
    hpx_error *error);

/** One topic, NUL-terminated. @thread port @returns as hpx_handle_subscribe_many() */
HPX_API HPX_NODISCARD hpx_status hpx_handle_subscribe(
    hpx_handle *handle,
    const char *topic,
    const hpx_subscribe_config *config,
    hpx_subscription **out,
    hpx_error *error);

/**
 * Let go of the topics and keep the object: messages already queued can still be taken, then
 * HPX_UPDATE_ENDED (HPX_OK) follows. Never sends twice: releasing later changes nothing.
 * @thread port @alloc never @blocks never
 */
HPX_API void hpx_subscription_unsubscribe(hpx_subscription *subscription);

/** Let go of the topics and of the object. Cannot fail. NULL is a no-op. @thread port
 *  @alloc never @blocks never */
HPX_API void hpx_subscription_release(hpx_subscription *subscription);

/** Take the next update; it and its views are valid until the next call on this subscription.
 *  @thread port @alloc never @blocks never
 *  @returns 1 an update, 0 none now, HPX_E_CLOSED after ENDED was taken */
HPX_API HPX_NODISCARD int hpx_subscription_next(hpx_subscription *subscription, hpx_update *update);

/** As hpx_subscription_next(), but waits. @thread port @returns 1, HPX_E_TIMEOUT, HPX_E_CLOSED */
HPX_API HPX_NODISCARD int
hpx_subscription_wait(hpx_subscription *subscription, hpx_update *update, uint64_t timeout_ns);

/** Wait until one of several subscriptions of one port has an update to take.
 *  @param subscriptions  of the calling thread's port; one that told its end never has any
 *  @thread port @alloc never @returns 1, HPX_E_TIMEOUT, HPX_E_CLOSED (count is 0) */
HPX_API HPX_NODISCARD int hpx_subscription_wait_any(
    hpx_subscription *const *subscriptions, uint32_t count, uint64_t timeout_ns);

/** State as the shard last published it. @thread port */
HPX_API hpx_subscription_state hpx_subscription_get_state(const hpx_subscription *subscription);

/** @thread port */
HPX_API void *hpx_subscription_get_user(const hpx_subscription *subscription);

/** Topics subscribed with, in their order. @thread any that may use the subscription */
HPX_API uint32_t hpx_subscription_topic_count(const hpx_subscription *subscription);

/** Topic `index` (< topic_count); borrowed until the release. @thread as above */
HPX_API hpx_span hpx_subscription_topic(const hpx_subscription *subscription, uint32_t index);

/** Distinct topics that subscriptions of this connection hold, of all its handles. @thread port */
HPX_API uint32_t hpx_handle_subscription_count(const hpx_handle *handle);

/** The topics held through this handle: up to `max` spans (borrowed while their subscriptions
 *  live), a topic held twice appears twice. @thread port @returns how many there are */
HPX_API uint32_t hpx_handle_topics(const hpx_handle *handle, hpx_span *out, uint32_t max);

/**
 * The same, inline: updates go to `on_update`. The object lives until its ENDED update has been
 * delivered, which follows hpx_conn_unsubscribe(), a refusal of all topics, or the connection's
 * end.
 *
 * @thread   owner   @alloc yes   @blocks never
 * @returns  as hpx_handle_subscribe_many()
 */
HPX_API HPX_NODISCARD hpx_status hpx_conn_subscribe(
    hpx_conn *conn,
    const hpx_span *topics,
    uint32_t topic_count,
    hpx_update_fn on_update,
    void *user,
    hpx_subscription **out,
    hpx_error *error);

/** Let go of the topics; ENDED follows, never from inside this call. @thread owner */
HPX_API void hpx_conn_unsubscribe(hpx_conn *conn, hpx_subscription *subscription);

/** Distinct topics that subscriptions of this connection hold. @thread owner */
HPX_API uint32_t hpx_conn_subscription_count(const hpx_conn *conn);

/* ---- More handles ---------------------------------------------------------------------------- */

/**
 * Another handle to the same connection, on another port (or the same): its own rings, so no lock.
 * The connection closes when the last of its handles is released. Events stay with the stream.
 *
 * @param handle  of any port; it must stay unreleased during the call
 * @param port    the calling thread's
 * @thread   port (of `port`)   @alloc yes   @blocks never
 * @returns  HPX_OK, HPX_E_LIMIT (handles_max of the port), HPX_E_AGAIN (control ring full),
 *           HPX_E_CLOSED, HPX_E_NO_MEMORY
 */
HPX_API HPX_NODISCARD hpx_status
hpx_handle_clone(const hpx_handle *handle, hpx_port *port, hpx_handle **out);

/** What a connection has done, since it was made. Written by its shard. */
typedef struct hpx_session_stats {
    uint64_t requests_sent;
    uint64_t replies; /* that met their request */
    uint64_t timeouts;
    uint64_t unsolicited_replies; /* late, twice, of an earlier epoch, or with a foreign id */
    uint64_t updates;             /* messages of subscribed topics */
    uint64_t unrouted_updates;    /* messages of topics that nobody holds */
    uint64_t subscribe_messages;  /* sent, and ... */
    uint64_t subscribe_topics;    /* ... the topics in them */
    uint64_t unsubscribe_messages;
    uint64_t unsubscribe_topics;
    uint64_t stale_drops; /* sends and requests of an earlier epoch, never sent */
    uint64_t server_pings;
} hpx_session_stats;

/** @thread port */
HPX_API void hpx_handle_get_stats(const hpx_handle *handle, hpx_session_stats *out);

/** @thread owner */
HPX_API void hpx_conn_get_stats(const hpx_conn *conn, hpx_session_stats *out);

/** Release through a pointer, for HPX_AUTO(hpx_subscription). @thread port */
static inline void hpx_subscription_cleanup(hpx_subscription **subscription)
{
    hpx_subscription_release(*subscription);
}

HPX_EXTERN_C_END
#endif /* HPX_SESSION_H */

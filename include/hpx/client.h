/* SPDX-License-Identifier: Apache-2.0 */
/**
 * client.h - a WebSocket client in one object: connect, ask, subscribe, close.
 *
 * Role      A thin wrapper over the handle of ws.h and session.h, made of public functions only,
 *           for programs that want one connection and no events. Where no engine and port are given
 *           it brings its own. Lifecycle events are taken on the shard's thread and kept as a
 *           state, an epoch and the last error, so nothing has to be drained: a program that does
 *           not call for an hour is reconnected all the same.
 * Threads   A client belongs to one thread, the one that connected it; with a port of the caller's
 *           that is the port's thread ("client" below). State, epoch, last error and counts may
 *           be read by any thread that knows the client is not freed.
 *           Nothing calls back from inside the call that started it.
 * Memory    One block, one ring for messages, and what a handle needs (docs/memory.md). Payloads
 *           are views: valid until the next call of the same kind (replies, updates, messages).
 *
 *     hpx_ws_config ws = HPX_WS_CONFIG_INIT;
 *     ws.url = "wss://test.example.com/ws";
 *     ws.protocol = hpx_protocol_json_rpc();
 *     hpx_ws_client *client;
 *     hpx_error error;
 *     if (hpx_ws_client_connect_wait(&client, &ws, NULL, 5 * HPX_NS_PER_S, &error) != HPX_OK)
 *         return fprintf(stderr, "%s\n", error.detail), 1;
 *     hpx_reply reply;
 *     if (hpx_ws_client_request_wait(client, question, 0, &reply) == HPX_OK)
 *         printf("%.*s\n", (int)reply.payload.size, (const char *)reply.payload.data);
 *     hpx_ws_client_free(client);
 */
#ifndef HPX_CLIENT_H
#define HPX_CLIENT_H

#include <hpx/engine.h>
#include <hpx/session.h>
#include <hpx/ws.h>

HPX_EXTERN_C_BEGIN

typedef struct hpx_ws_client hpx_ws_client;

/** Start from HPX_WS_CLIENT_CONFIG_INIT. A zero member means its default. */
typedef struct hpx_ws_client_config {
    uint32_t size;
    uint32_t flags;     /* reserved, 0 */
    hpx_engine *engine; /* running, borrowed until the free: the client opens a port of its
                           own on it. NULL, without a port: an engine of its own, with one
                           shard thread that sleeps when there is nothing to do */
    hpx_port *port;     /* the calling thread's, borrowed until the free; engine is NULL then */
    hpx_allocator allocator;     /* of the client's block and ring, and of an engine of its own;
                                    zero: the library's own */
    hpx_event_fn on_message;     /* gets HPX_EVENT_MESSAGE on the shard's thread, in place of the
                                    queue; views are valid until it returns. NULL: queued */
    void *user;                  /* given to on_message, borrowed until CLOSED */
    uint32_t message_ring_bytes; /* of the queue, power of two, 4 KiB..1 GiB; default 256 KiB. Full,
                                    or a message of more than a quarter of it: dropped and counted,
                                    and told in the `missed` of the next one */
} hpx_ws_client_config;

#define HPX_WS_CLIENT_CONFIG_INIT                                                                  \
    {                                                                                              \
        .size = (uint32_t)sizeof(hpx_ws_client_config)                                             \
    }

/* ---- Up -------------------------------------------------------------------------------------- */

/**
 * Begin a connection and return at once; hpx_ws_client_ready_wait() waits for it.
 *
 * @param out     set on success, NULL on failure; given back with hpx_ws_client_free()
 * @param ws      copied, as by hpx_ws_connect(); `on_event` must be NULL: the client takes the
 *                events. Set `reconnect` for a client that outlives its connections
 * @param config  copied; NULL means defaults
 * @param error   may be NULL; on failure names what is wrong
 * @thread   any one; it becomes the client's   @alloc yes
 * @blocks   only with an engine of its own: until its thread is up (milliseconds)
 * @returns  HPX_OK, HPX_E_INVALID, as hpx_ws_connect(), hpx_port_open(), hpx_engine_start()
 */
HPX_API HPX_NODISCARD hpx_status hpx_ws_client_connect(
    hpx_ws_client **out,
    const hpx_ws_config *ws,
    const hpx_ws_client_config *config,
    hpx_error *error);

/**
 * Connect and wait until it is Ready: authenticated, too, if the protocol does that. On failure
 * nothing is left behind. Without `reconnect` the first failed attempt ends the wait, with its
 * cause; with it attempts go on until the timeout, whose error holds the stage, the codes and the
 * cause of the last one.
 *
 * @param timeout_ns  HPX_NEVER: as long as it takes. The connection's own limits apply as well
 * @thread   any one; it becomes the client's
 * @returns  HPX_OK; the cause (-ECONNREFUSED, HPX_E_TLS_NAME, HPX_E_AUTH_FAILED, ...);
 *           HPX_E_TIMEOUT; as hpx_ws_client_connect()
 */
HPX_API HPX_NODISCARD hpx_status hpx_ws_client_connect_wait(
    hpx_ws_client **out,
    const hpx_ws_config *ws,
    const hpx_ws_client_config *config,
    uint64_t timeout_ns,
    hpx_error *error);

/**
 * Wait until the connection is Ready: for the first time, or again after a loss.
 *
 * @param error  may be NULL; on failure as in hpx_ws_client_connect_wait()
 * @thread   client
 * @returns  HPX_OK, HPX_E_TIMEOUT, the cause if it is closed (HPX_E_CLOSED if that was in good
 *           order)
 */
HPX_API HPX_NODISCARD hpx_status
hpx_ws_client_ready_wait(hpx_ws_client *client, uint64_t timeout_ns, hpx_error *error);

/* ---- Down ------------------------------------------------------------------------------------ */

/** Begin to close; as hpx_handle_close(). Honoured in every state. @thread client @blocks never
 *  @returns HPX_OK (also if it is closed already), HPX_E_INVALID, HPX_E_AGAIN */
HPX_API hpx_status hpx_ws_client_close(hpx_ws_client *client, uint16_t code, hpx_span reason);

/**
 * Close, and wait until the connection is closed: WebSocket close, TLS close_notify and FIN, at
 * most ws.close_timeout_ns of it. Requests that were pending have their outcome then, and
 * subscriptions their end; replies, updates and messages that came before can still be taken.
 *
 * @thread   client
 * @returns  HPX_OK, HPX_E_INVALID, HPX_E_AGAIN, HPX_E_TIMEOUT (it goes on closing)
 */
HPX_API hpx_status hpx_ws_client_close_wait(
    hpx_ws_client *client, uint16_t code, hpx_span reason, uint64_t timeout_ns);

/**
 * Free the client, its subscriptions, and the port and engine that it made. A connection that is
 * open is closed in good order. NULL is a no-op.
 *
 * @thread   client
 * @blocks   only with an engine of its own: until the connection is closed, at most 2 s
 */
HPX_API void hpx_ws_client_free(hpx_ws_client *client);

/* ---- How it stands --------------------------------------------------------------------------- */

/** True in HPX_CONN_READY. @thread any */
HPX_API bool hpx_ws_client_is_connected(const hpx_ws_client *client);

/** State as the shard last published it. @thread any */
HPX_API hpx_conn_state hpx_ws_client_get_state(const hpx_ws_client *client);

/** Number of Ready periods so far; 0 before the first. @thread any */
HPX_API uint64_t hpx_ws_client_get_epoch(const hpx_ws_client *client);

/** The error of the last DISCONNECTED or CLOSED: of a lost connection or a failed attempt. It stays
 *  when a later attempt succeeds. `out` is zero (HPX_OK) if there was none. @thread any
 *  @returns its status */
HPX_API hpx_status hpx_ws_client_get_error(const hpx_ws_client *client, hpx_error *out);

/** Messages that were neither a response nor an update and found no room. @thread any */
HPX_API uint64_t hpx_ws_client_messages_dropped(const hpx_ws_client *client);

/** The handle beneath, for what is not wrapped here: hpx_handle_reconnect(), _get_stats(),
 *  _clone(), _rtt_ns(), ... Borrowed until the free; do not release it. @thread client */
HPX_API hpx_handle *hpx_ws_client_handle(hpx_ws_client *client);

/* ---- Requests -------------------------------------------------------------------------------- */

/** Send a request and wait for its reply; as hpx_handle_request_wait().
 *  @param timeout_ns  0: ws.request_timeout_ns  @thread client
 *  @returns reply->status, or as hpx_ws_client_request() if it was refused at once */
HPX_API HPX_NODISCARD hpx_status hpx_ws_client_request_wait(
    hpx_ws_client *client, hpx_span payload, uint64_t timeout_ns, hpx_reply *reply);

/** Send a request; its reply, exactly one, comes through hpx_ws_client_next_reply().
 *  @param token  for hpx_request_cancel() on the handle; may be NULL
 *  @thread client @blocks never @returns as hpx_handle_request() */
HPX_API HPX_NODISCARD hpx_status hpx_ws_client_request(
    hpx_ws_client *client, hpx_span payload, uint64_t timeout_ns, void *user, uint64_t *token);

/** The next reply of hpx_ws_client_request(). @thread client @blocks never
 *  @returns 1 a reply, 0 none now */
HPX_API HPX_NODISCARD int hpx_ws_client_next_reply(hpx_ws_client *client, hpx_reply *reply);

/** As hpx_ws_client_next_reply(), but waits. @thread client @returns 1, HPX_E_TIMEOUT,
 *  HPX_E_STATE (the protocol has no requests) */
HPX_API HPX_NODISCARD int
hpx_ws_client_reply_wait(hpx_ws_client *client, hpx_reply *reply, uint64_t timeout_ns);

/* ---- Subscriptions --------------------------------------------------------------------------- */

/**
 * Subscribe to a set of topics with one queue; as hpx_handle_subscribe_many(). They survive
 * reconnects.
 *
 * @param out  set on success: the name for hpx_ws_client_unsubscribe(), and for
 *             hpx_subscription_get_state(), _get_user(), _topic(). The client reads it; do not call
 *             hpx_subscription_next(), _wait() or _release() on it. NULL: not wanted
 * @thread   client   @alloc yes   @blocks never
 * @returns  as hpx_handle_subscribe_many()
 */
HPX_API HPX_NODISCARD hpx_status hpx_ws_client_subscribe_many(
    hpx_ws_client *client,
    const hpx_span *topics,
    uint32_t topic_count,
    const hpx_subscribe_config *config,
    hpx_subscription **out,
    hpx_error *error);

/** One topic, NUL-terminated. @thread client @returns as hpx_ws_client_subscribe_many() */
HPX_API HPX_NODISCARD hpx_status hpx_ws_client_subscribe(
    hpx_ws_client *client,
    const char *topic,
    const hpx_subscribe_config *config,
    hpx_subscription **out,
    hpx_error *error);

/** Let go of the topics and of the object: what is queued is dropped. One that is not of this
 *  client, or was let go before, is HPX_E_STALE. @thread client @blocks never
 *  @returns HPX_OK, HPX_E_STALE */
HPX_API hpx_status hpx_ws_client_unsubscribe(hpx_ws_client *client, hpx_subscription *subscription);

/**
 * The next update of any subscription, in turns, so that a busy one does not keep a quiet one
 * waiting. Within a subscription they come in wire order. The update is valid until the next call.
 *
 * @param subscription  set to the update's; may be NULL
 * @thread   client   @alloc never   @blocks never
 * @returns  1 an update, 0 none now, HPX_E_CLOSED (every subscription has told its end, or there is
 *           none)
 */
HPX_API HPX_NODISCARD int hpx_ws_client_next_update(
    hpx_ws_client *client, hpx_update *update, hpx_subscription **subscription);

/** As hpx_ws_client_next_update(), but waits. @thread client
 *  @returns 1, HPX_E_TIMEOUT, HPX_E_CLOSED */
HPX_API HPX_NODISCARD int hpx_ws_client_update_wait(
    hpx_ws_client *client,
    hpx_update *update,
    hpx_subscription **subscription,
    uint64_t timeout_ns);

/* ---- Messages -------------------------------------------------------------------------------- */

/** Queue one message; as hpx_handle_send(). @thread client @blocks never
 *  @returns HPX_OK, HPX_E_NOT_CONNECTED, HPX_E_AGAIN (try again later), HPX_E_INVALID,
 *  HPX_E_NO_MEMORY */
HPX_API HPX_NODISCARD hpx_status
hpx_ws_client_send(hpx_ws_client *client, hpx_message_kind kind, hpx_span payload);

/**
 * The next message that is neither a response nor an update: without a protocol, every message.
 *
 * @param message  kind is HPX_EVENT_MESSAGE, `raw` empty; valid until the next call
 * @thread   client   @alloc never   @blocks never
 * @returns  1 a message, 0 none now, HPX_E_CLOSED (none, and none will come: the connection is
 *           closed), HPX_E_STATE (config.on_message takes them)
 */
HPX_API HPX_NODISCARD int hpx_ws_client_next_message(hpx_ws_client *client, hpx_event *message);

/** As hpx_ws_client_next_message(), but waits. @thread client
 *  @returns 1, HPX_E_TIMEOUT, HPX_E_CLOSED, HPX_E_STATE */
HPX_API HPX_NODISCARD int
hpx_ws_client_message_wait(hpx_ws_client *client, hpx_event *message, uint64_t timeout_ns);

/** Free through a pointer, for HPX_AUTO(hpx_ws_client). @thread client */
static inline void hpx_ws_client_cleanup(hpx_ws_client **it)
{
    hpx_ws_client_free(*it);
}

HPX_EXTERN_C_END
#endif /* HPX_CLIENT_H */

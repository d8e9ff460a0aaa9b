/* SPDX-License-Identifier: Apache-2.0 */
/* ws_session.c - requests and subscriptions of `hpx ws`. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "ws.h"
#include "ws_dialect.h"

hpx_status ws_session_init(ws_session *session, const ws_options *options, hpx_error *error)
{
    assert(session->protocol == NULL);
    return options->dialect == NULL
               ? HPX_OK
               : ws_dialect_new(&session->protocol, options->dialect, options->auth, error);
}

hpx_status ws_session_subscribe(
    ws_session *session, const ws_options *options, hpx_handle *handle, hpx_error *error)
{
    if (options->topic_count == 0) {
        return HPX_OK;
    }
    static hpx_span topics[WS_TOPICS_MAX];
    for (uint32_t i = 0; i < options->topic_count; i++) {
        topics[i] = hpx_span_of(options->topics[i]);
    }
    hpx_subscribe_config config = HPX_SUBSCRIBE_CONFIG_INIT;
    config.ring_bytes = 16u << 20; /* a terminal is slow; bursts shall not be dropped */
    const hpx_status status = hpx_handle_subscribe_many(
        handle, topics, options->topic_count, &config, &session->subscription, error);
    return status == HPX_E_CLOSED ? HPX_OK : status; /* the stream says why */
}

hpx_status
ws_session_request(ws_session *session, hpx_handle *handle, hpx_span payload, const char *source)
{
    const hpx_status status = hpx_handle_request(handle, payload, 0, NULL, NULL);
    if (status == HPX_OK) {
        session->pending++;
        return HPX_OK;
    }
    if (status == HPX_E_AGAIN || status == HPX_E_LIMIT || status == HPX_E_NOT_CONNECTED) {
        return HPX_E_AGAIN; /* not taken: nothing of it was sent */
    }
    session->is_failed = true;
    cli_error(
        "%s: not sent: %s",
        source,
        status == HPX_E_INVALID ? "not valid UTF-8" : hpx_status_text(status));
    return status;
}

bool ws_session_send(ws_session *session, const ws_options *options, hpx_handle *handle)
{
    while (session->requests_done < options->request_count) {
        const hpx_span payload = hpx_span_of(options->requests[session->requests_done]);
        if (ws_session_request(session, handle, payload, "--request") == HPX_E_AGAIN) {
            return false;
        }
        session->requests_done++;
    }
    return true;
}

static void session_on_reply(ws_session *session, const hpx_reply *reply, const ws_printer *printer)
{
    assert(session->pending > 0);
    session->pending--;
    if (reply->status == HPX_OK) {
        printer->print(printer->to, HPX_MESSAGE_TEXT, reply->payload, 0);
        return;
    }
    if (*printer->closing_ns != 0) {
        return;
    }
    session->is_failed = true;
    cli_error(
        "request: %s%s",
        reply->status == HPX_E_INVALID ? "no JSON object with room for an id"
                                       : hpx_status_text(reply->status),
        reply->sent ? "; the server may have acted on it" : "; it was not sent");
}

static void
session_on_update(ws_session *session, const hpx_update *update, const ws_printer *printer)
{
    switch (update->kind) {
    case HPX_UPDATE_MESSAGE:
        printer->print(printer->to, update->message_kind, update->payload, update->missed);
        break;
    case HPX_UPDATE_LIVE:
        cli_error(
            "subscribed, epoch %llu, topics %u",
            (unsigned long long)update->epoch,
            hpx_subscription_topic_count(session->subscription));
        break;
    case HPX_UPDATE_INTERRUPTED:
        break; /* the stream says why */
    case HPX_UPDATE_REFUSED:
        cli_error(
            "refused: %.*s: %s",
            (int)update->topic.size,
            (const char *)update->topic.data,
            update->error->detail);
        break;
    case HPX_UPDATE_ENDED:
        if (update->error->status == HPX_E_REFUSED || update->error->status == HPX_E_OVERFLOW) {
            session->is_ended = true; /* with its connection it needs no word of its own */
            cli_error("subscription ended: %s", update->error->detail);
        }
        break;
    }
}

void ws_session_take(ws_session *session, hpx_handle *handle, const ws_printer *printer)
{
    if (session->protocol == NULL) {
        return;
    }
    hpx_reply reply;
    while (hpx_handle_next_reply(handle, &reply) == 1) {
        session_on_reply(session, &reply, printer);
    }
    hpx_update update;
    while (session->subscription != NULL &&
           hpx_subscription_next(session->subscription, &update) == 1) {
        session_on_update(session, &update, printer);
    }
}

void ws_session_fini(ws_session *session)
{
    hpx_subscription_release(session->subscription);
    hpx_protocol_free(session->protocol);
    *session = (ws_session){0};
}

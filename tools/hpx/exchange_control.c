/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange_control.c - the methods test/fault and test/state, by which tests steer the exchange and
 * look into it.
 *
 * A connection that calls one of them is a controller from then on: no fault touches it, no count
 * counts it. Their replies may be longer than others: they are put together in memory of their own.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exchange_internal.h"

#define CONTROL_STATE_BYTES   2048u
#define CONTROL_SESSION_BYTES 160u

static void control_error(exchange *ex, session *s, const jsonrpc_request *request, const char *why)
{
    text reply;
    text_init(&reply, ex->reply, sizeof(ex->reply));
    jsonrpc_error(&reply, request, JSONRPC_INVALID_PARAMS, why);
    exchange_send_reply(ex, s, reply.data, reply.size);
}

static void control_make(exchange *ex, session *s)
{
    if (s->is_controller) {
        return;
    }
    s->is_controller = true;
    ex->observed.connections--; /* it was counted as one of the others */
    session_leave(s, &ex->shared);
}

/* To all connections: the text, or a JSON message of `bytes` bytes. */
static const char *control_send_all(exchange *ex, const fault_now *now)
{
    static const char start[] = "{\"jsonrpc\":\"2.0\",\"method\":\"pad\",\"params\":{\"pad\":\"";
    static const char end[] = "\"}}";
    const size_t least = sizeof(start) + sizeof(end) - 2;
    const size_t size = now->bytes == 0 ? now->text_bytes : now->bytes;
    if (now->bytes != 0 && now->bytes < least) {
        return "bytes is less than the shortest message has";
    }
    char *message = malloc(size + 1);
    if (message == NULL) {
        return "out of memory";
    }
    if (now->bytes == 0) {
        memcpy(message, now->text, size);
    } else {
        memset(message, 'x', size);
        memcpy(message, start, sizeof(start) - 1);
        memcpy(message + size - (sizeof(end) - 1), end, sizeof(end) - 1);
    }
    const hpx_message_kind kind = now->is_binary ? HPX_MESSAGE_BINARY : HPX_MESSAGE_TEXT;
    const hpx_span payload = {(const uint8_t *)message, size};
    const char *why = NULL;
    for (session *s = ex->sessions; s != NULL; s = s->next) {
        if (!s->is_controller && hpx_conn_send(s->conn, kind, payload) != HPX_OK) {
            why = "not all connections could take it";
        }
    }
    free(message);
    return why;
}

static void control_fault(exchange *ex, session *s, const jsonrpc_request *request)
{
    fault_now now;
    const char *why = faults_take(&ex->faults, request->params, &now);
    if (why == NULL && now.what == FAULT_NOW_SEND) {
        why = control_send_all(ex, &now);
    }
    if (why != NULL) {
        control_error(ex, s, request, why);
        return;
    }
    if (now.what == FAULT_NOW_DROP) {
        exchange_drop_all(ex, now.code);
    }
    ex->updates_are_faulty =
        ex->faults.duplicate_every != 0 || ex->faults.reorder_every != 0 || ex->held_size != 0;
    ex->timed_count++; /* look at the clock again soon */
    ex->timed_look_ns = 0;
    text reply;
    text_init(&reply, ex->reply, sizeof(ex->reply));
    jsonrpc_begin(&reply, request);
    text_add(&reply, "\"ok\"");
    jsonrpc_end(&reply);
    exchange_send_reply(ex, s, reply.data, reply.size);
}

static uint64_t control_count(const exchange *ex, bool controllers)
{
    uint64_t count = 0;
    for (const session *s = ex->sessions; s != NULL; s = s->next) {
        count += s->is_controller == controllers;
    }
    return count;
}

/* "trades.A":2,... : how many connections have each topic. */
static void control_add_multiset(const exchange *ex, text *out)
{
    const char *separator = "";
    for (uint32_t i = 0; i < ex->market.topic_count; i++) {
        if (ex->shared.subscribers[i] != 0) {
            const char *name = ex->market.topics[i].name;
            text_addf(out, "%s\"%s\":%u", separator, name, ex->shared.subscribers[i]);
            separator = ",";
        }
    }
}

static void control_add_session(const exchange *ex, const session *s, text *out)
{
    text_addf(
        out,
        "{\"id\":%llu,\"authenticated\":%s,\"requests\":%llu,\"topics\":[",
        (unsigned long long)s->id,
        s->is_authenticated ? "true" : "false",
        (unsigned long long)s->requests);
    const char *separator = "";
    for (uint32_t i = 0; i < ex->market.topic_count; i++) {
        if (session_has(s, i)) {
            text_addf(out, "%s\"%s\"", separator, ex->market.topics[i].name);
            separator = ",";
        }
    }
    text_add(out, "]}");
}

static void control_add_counts(const exchange *ex, text *out)
{
    const observed *seen = &ex->observed;
    text_addf(
        out,
        "\"connections\":{\"alive\":%llu,\"total\":%llu,\"refused\":%llu,\"controllers\":%llu},"
        "\"requests\":%llu,\"unauthenticated\":%llu,"
        "\"subscribe\":{\"messages\":%llu,\"topics\":%llu},"
        "\"unsubscribe\":{\"messages\":%llu,\"topics\":%llu},\"forgotten\":%llu",
        (unsigned long long)control_count(ex, false),
        (unsigned long long)seen->connections,
        (unsigned long long)seen->refused,
        (unsigned long long)control_count(ex, true),
        (unsigned long long)seen->requests,
        (unsigned long long)seen->unauthenticated,
        (unsigned long long)seen->subscribe_messages,
        (unsigned long long)seen->subscribe_topics,
        (unsigned long long)seen->unsubscribe_messages,
        (unsigned long long)seen->unsubscribe_topics,
        (unsigned long long)seen->forgotten);
}

/* Of params {"id":...} or {"label":...}: how often that came. */
static void control_add_seen(const exchange *ex, const jsonrpc_request *request, text *out)
{
    char id[FAULTS_ID_BYTES];
    yyjson_val *wanted = yyjson_obj_get(request->params, "id");
    const char *label = jsonrpc_string(request, "label");
    uint32_t count = 0;
    if (yyjson_is_raw(wanted)) {
        (void)snprintf(id, sizeof(id), "%.*s", (int)yyjson_get_len(wanted), yyjson_get_raw(wanted));
        count = observed_count(&ex->observed, 'i', id);
    } else if (yyjson_is_str(wanted)) {
        (void)snprintf(id, sizeof(id), "\"%s\"", yyjson_get_str(wanted));
        count = observed_count(&ex->observed, 'i', id);
    } else if (label != NULL) {
        count = observed_count(&ex->observed, 'l', label);
    } else {
        return;
    }
    text_addf(out, ",\"seen\":%u", count);
}

static void control_state(exchange *ex, session *s, const jsonrpc_request *request)
{
    const bool with_sessions = yyjson_get_bool(yyjson_obj_get(request->params, "sessions"));
    const size_t topics = ex->market.topic_count * (MARKET_TOPIC_BYTES + 16u);
    const size_t sessions = with_sessions ? ex->stats.sessions : 0;
    const size_t capacity =
        CONTROL_STATE_BYTES + topics + sessions * (topics + CONTROL_SESSION_BYTES);
    char *memory = malloc(capacity);
    if (memory == NULL) {
        control_error(ex, s, request, "out of memory");
        return;
    }
    text reply;
    text_init(&reply, memory, capacity);
    jsonrpc_begin(&reply, request);
    text_add(&reply, "{");
    control_add_counts(ex, &reply);
    control_add_seen(ex, request, &reply);
    text_add(&reply, ",\"subscriptions\":{");
    control_add_multiset(ex, &reply);
    text_add(&reply, "}");
    if (with_sessions) {
        const char *separator = "";
        text_add(&reply, ",\"sessions\":[");
        for (const session *other = ex->sessions; other != NULL; other = other->next) {
            if (!other->is_controller) {
                text_add(&reply, separator);
                control_add_session(ex, other, &reply);
                separator = ",";
            }
        }
        text_add(&reply, "]");
    }
    text_add(&reply, "}");
    jsonrpc_end(&reply);
    assert(!reply.full);
    exchange_send_reply(ex, s, reply.data, reply.size);
    free(memory);
}

void exchange_control(exchange *ex, session *s, const jsonrpc_request *request)
{
    control_make(ex, s);
    if (strcmp(request->method, "test/fault") == 0) {
        control_fault(ex, s, request);
    } else if (strcmp(request->method, "test/state") == 0) {
        control_state(ex, s, request);
    } else {
        control_error(ex, s, request, "there are test/fault and test/state");
    }
}

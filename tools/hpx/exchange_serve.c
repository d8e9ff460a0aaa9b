/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange_serve.c - a request's way to its answer, and how that goes wrong on request.
 *
 * A request that is never to be answered, or answered with a fault's error, is not carried out
 * either: to the client it was lost on the way. One that is answered late, twice or with another id
 * was carried out.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "exchange_internal.h"

#define EXCHANGE_CODE_INTERNAL 1011
#define EXCHANGE_LATE_MAX      4096u
#define EXCHANGE_FOREIGN_ID    "9007199254740991"

void exchange_send_reply(exchange *ex, session *s, const char *data, size_t size)
{
    if (size == 0 || exchange_is_mute(ex, s)) {
        return;
    }
    const hpx_span payload = {(const uint8_t *)data, size};
    if (hpx_conn_send(s->conn, HPX_MESSAGE_TEXT, payload) == HPX_E_AGAIN) {
        exchange_drop_slow(ex, s, "too slow to read replies");
    }
}

/* Keeps the reply back, in the order of their times; loses it if too many are kept already. */
static void
exchange_send_late(exchange *ex, const session *s, const text *reply, const fault_answer *fault)
{
    exchange_late *late = reply->size == 0 || ex->late_count == EXCHANGE_LATE_MAX
                              ? NULL
                              : malloc(sizeof(*late) + reply->size);
    if (late == NULL) {
        return;
    }
    *late = (exchange_late){
        .due_ns = hpx_clock_now_ns() + fault->delay_ns,
        .session_id = s->id,
        .across = fault->across,
        .size = reply->size,
    };
    memcpy(late->data, reply->data, reply->size);
    exchange_late **at = &ex->late;
    while (*at != NULL && (*at)->due_ns <= late->due_ns) {
        at = &(*at)->next;
    }
    late->next = *at;
    *at = late;
    ex->late_count++;
    ex->timed_count++;
}

/* A reply on its way out, with its fault. */
static void
exchange_send_faulty(exchange *ex, session *s, const text *reply, const fault_answer *fault)
{
    switch (fault->how) {
    case FAULT_LATE:
        exchange_send_late(ex, s, reply, fault);
        return;
    case FAULT_MALFORMED:
        exchange_send_reply(ex, s, reply->data, reply->size - (reply->size != 0 ? 1 : 0));
        return;
    case FAULT_TWICE:
        exchange_send_reply(ex, s, reply->data, reply->size);
        break;
    case FAULT_NONE:
    case FAULT_FOREIGN:
    case FAULT_ERROR:
        break;
    case FAULT_NEVER:
    case FAULT_DROP:
    case FAULT_CLOSE:
        return; /* has no reply */
    }
    exchange_send_reply(ex, s, reply->data, reply->size);
}

/* Faults that come in place of the request's work: true, it is done with. */
static bool exchange_refuse_request(session *s, const fault_answer *fault)
{
    switch (fault->how) {
    case FAULT_NEVER:
        return true;
    case FAULT_DROP:
        hpx_conn_abort(s->conn);
        return true;
    case FAULT_CLOSE:
        hpx_conn_close(s->conn, (uint16_t)fault->code, hpx_span_of(fault->message));
        return true;
    case FAULT_NONE:
    case FAULT_LATE:
    case FAULT_TWICE:
    case FAULT_FOREIGN:
    case FAULT_ERROR:
    case FAULT_MALFORMED:
        return false;
    }
    return false;
}

static void exchange_answer(exchange *ex, session *s, jsonrpc_request *request)
{
    fault_answer fault = {.how = FAULT_NONE};
    if (!s->is_controller) {
        const char *label = jsonrpc_string(request, "label");
        s->requests++;
        ex->observed.requests++;
        observed_add(&ex->observed, 'i', request->id);
        if (label != NULL) {
            observed_add(&ex->observed, 'l', label);
        }
        fault = faults_for_request(&ex->faults, request->method, request->id);
    }
    if (exchange_refuse_request(s, &fault)) {
        return;
    }
    if (fault.how == FAULT_FOREIGN) {
        memcpy(request->id, EXCHANGE_FOREIGN_ID, sizeof(EXCHANGE_FOREIGN_ID));
    }
    text reply;
    text_init(&reply, ex->reply, sizeof(ex->reply));
    if (fault.how == FAULT_ERROR) {
        jsonrpc_error(&reply, request, fault.code != 0 ? fault.code : -1, fault.message);
    } else {
        session_answer(s, &ex->shared, request, hpx_clock_now_ns(), &reply);
    }
    exchange_send_faulty(ex, s, &reply, &fault);
}

void exchange_serve(exchange *ex, session *s, hpx_span message)
{
    jsonrpc_request request;
    jsonrpc_parse(&request, message);
    ex->stats.requests++;
    if (ex->takes_faults && strncmp(request.method, "test/", 5) == 0) {
        exchange_control(ex, s, &request);
    } else {
        exchange_answer(ex, s, &request);
    }
    jsonrpc_free(&request);
}

void exchange_misdeliver(exchange *ex, uint32_t topic, hpx_span update)
{
    const uint64_t number = ++ex->updates;
    const uint32_t reorder = ex->faults.reorder_every;
    if (reorder != 0 && number % reorder == 0 && ex->held_size == 0) {
        assert(update.size <= sizeof(ex->held));
        memcpy(ex->held, update.data, update.size); /* until the next one has gone */
        ex->held_size = update.size;
        ex->held_topic = topic;
        return;
    }
    exchange_deliver(ex, topic, update);
    if (ex->faults.duplicate_every != 0 && number % ex->faults.duplicate_every == 0) {
        exchange_deliver(ex, topic, update);
    }
    if (ex->held_size != 0) {
        const hpx_span held = {(const uint8_t *)ex->held, ex->held_size};
        ex->held_size = 0;
        exchange_deliver(ex, ex->held_topic, held);
    }
}

static void exchange_drop(session *s, uint16_t code)
{
    if (code == 0) {
        hpx_conn_abort(s->conn);
    } else {
        hpx_conn_close(s->conn, code, hpx_span_of("fault"));
    }
}

void exchange_drop_all(exchange *ex, uint16_t code)
{
    for (session *s = ex->sessions; s != NULL; s = s->next) { /* they leave in a later turn */
        if (!s->is_controller) {
            exchange_drop(s, code);
        }
    }
}

/* The session that a late answer goes to: its own or, across, the newest once its own is gone.
 * *wait: nobody now, but somebody may come. */
static session *exchange_find_late(exchange *ex, const exchange_late *late, bool *wait)
{
    session *newest = NULL;
    *wait = late->across;
    for (session *s = ex->sessions; s != NULL; s = s->next) {
        if (s->id == late->session_id) {
            return late->across ? NULL : s;
        }
        if (newest == NULL && !s->is_controller) {
            newest = s;
        }
    }
    return late->across ? newest : NULL;
}

static uint32_t exchange_send_due(exchange *ex, uint64_t now_ns)
{
    uint32_t waiting = 0;
    exchange_late **at = &ex->late;
    while (*at != NULL) {
        exchange_late *late = *at;
        bool wait = false;
        session *s = exchange_find_late(ex, late, &wait);
        if (late->due_ns > now_ns || (s == NULL && wait)) {
            waiting++;
            at = &late->next;
            continue;
        }
        if (s != NULL) {
            exchange_send_reply(ex, s, late->data, late->size);
        }
        *at = late->next;
        free(late);
        ex->late_count--;
    }
    return waiting;
}

uint32_t exchange_misbehave(exchange *ex, uint64_t now_ns)
{
    uint32_t waiting = exchange_send_due(ex, now_ns);
    if (ex->faults.drop_every_ns == 0) {
        return waiting;
    }
    waiting++; /* somebody may connect */
    for (session *s = ex->sessions; s != NULL; s = s->next) {
        if (s->is_controller) {
            continue;
        }
        if (now_ns - s->started_ns >= ex->faults.drop_every_ns) {
            s->started_ns = now_ns; /* once */
            exchange_drop(s, ex->faults.drop_code);
        }
    }
    return waiting;
}

void exchange_forget_late(exchange *ex)
{
    while (ex->late != NULL) {
        exchange_late *next = ex->late->next;
        free(ex->late);
        ex->late = next;
    }
}

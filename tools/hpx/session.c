/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - requests of one client of the exchange.
 *
 * Sans-IO: a message in, a reply out. Nothing here knows of connections, so that tests can feed it
 * anything.
 *
 *   heartbeat:  off --set_heartbeat--> waiting --interval--> asked --public/test--> waiting
 *                                                              \--interval--> expired
 */
#include "session.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#define SESSION_HEARTBEAT_MAX_S 3600.0
#define SESSION_SECRET          "secret"
#define SESSION_TOKEN_SECONDS   900

const char session_test_request[] =
    "{\"jsonrpc\":\"2.0\",\"method\":\"heartbeat\",\"params\":{\"type\":\"test_request\"}}";

/* One request on its way through. */
typedef struct session_call {
    session *session;
    session_shared *shared;
    const jsonrpc_request *request;
    uint64_t now_ns;
    text *reply;
} session_call;

typedef enum session_auth_need {
    SESSION_AUTH_NEVER,
    SESSION_AUTH_IF_REQUIRED, /* by session_shared.require_auth */
    SESSION_AUTH_ALWAYS,
} session_auth_need;

typedef struct session_method {
    const char *name;
    session_auth_need needs_auth;
    void (*run)(session_call *call);
} session_method;

static void session_fail(session_call *call, int code, const char *message)
{
    assert(call->reply->size == 0);
    jsonrpc_error(call->reply, call->request, code, message);
}

static void session_result(session_call *call, const char *json)
{
    jsonrpc_begin(call->reply, call->request);
    text_add(call->reply, json);
    jsonrpc_end(call->reply);
}

static void session_auth(session_call *call)
{
    const char *grant = jsonrpc_string(call->request, "grant_type");
    const char *id = jsonrpc_string(call->request, "client_id");
    const char *secret = jsonrpc_string(call->request, "client_secret");
    if (grant == NULL || strcmp(grant, "client_credentials") != 0 || id == NULL || secret == NULL) {
        session_fail(
            call,
            JSONRPC_INVALID_PARAMS,
            "grant_type client_credentials, client_id and client_secret are required");
        return;
    }
    call->session->is_authenticated = strcmp(secret, SESSION_SECRET) == 0;
    if (!call->session->is_authenticated) {
        session_fail(call, SESSION_INVALID_CREDENTIALS, "invalid_credentials");
        return;
    }
    jsonrpc_begin(call->reply, call->request);
    text_addf(
        call->reply,
        "{\"access_token\":\"hpx-%llu\",\"expires_in\":%d,\"token_type\":\"bearer\","
        "\"scope\":\"connection trade:read_write\"}",
        (unsigned long long)++call->shared->token_last,
        SESSION_TOKEN_SECONDS);
    jsonrpc_end(call->reply);
}

static void session_set_topic(session_call *call, uint32_t topic, bool wanted)
{
    session *s = call->session;
    if (session_has(s, topic) == wanted) {
        return;
    }
    s->topics[topic / 64] ^= UINT64_C(1) << (topic % 64);
    if (wanted) {
        call->shared->subscribers[topic]++;
    } else {
        assert(call->shared->subscribers[topic] > 0);
        call->shared->subscribers[topic]--;
    }
}

static void session_count_change(const session_call *call, size_t topics, bool wanted)
{
    observed *seen = call->shared->observed;
    if (seen == NULL) {
        return;
    }
    *(wanted ? &seen->subscribe_messages : &seen->unsubscribe_messages) += 1;
    *(wanted ? &seen->subscribe_topics : &seen->unsubscribe_topics) += topics;
}

/* Is it one more than the faults allow? `accepted`: of this request so far. */
static bool session_refuses(const session_call *call, const char *topic, uint32_t accepted)
{
    const faults *f = call->shared->faults;
    return f != NULL && !call->session->is_controller &&
           (accepted >= f->accept_max || faults_refuses_topic(f, topic));
}

/* Both directions: the result names each known channel of the request, once, in its order. */
static void session_change(session_call *call, bool wanted)
{
    yyjson_val *channels = yyjson_obj_get(call->request->params, "channels");
    if (!yyjson_is_arr(channels)) {
        session_fail(call, JSONRPC_INVALID_PARAMS, "channels must be an array of strings");
        return;
    }
    session_count_change(call, yyjson_arr_size(channels), wanted);
    bool named[MARKET_TOPICS_MAX] = {false};
    uint32_t accepted = 0;
    const market *m = call->shared->market;
    yyjson_arr_iter iter;
    yyjson_arr_iter_init(channels, &iter);
    jsonrpc_begin(call->reply, call->request);
    text_add(call->reply, "[");
    const char *separator = "";
    for (yyjson_val *value = NULL; (value = yyjson_arr_iter_next(&iter)) != NULL;) {
        const char *name = yyjson_get_str(value);
        const int topic = name == NULL ? -1 : market_find_topic(m, name, yyjson_get_len(value));
        if (topic < 0 || named[topic]) {
            continue;
        }
        named[topic] = true;
        if (wanted && session_refuses(call, m->topics[topic].name, accepted)) {
            continue;
        }
        accepted++;
        session_set_topic(call, (uint32_t)topic, wanted);
        text_addf(call->reply, "%s\"%s\"", separator, m->topics[topic].name);
        separator = ",";
    }
    text_add(call->reply, "]");
    jsonrpc_end(call->reply);
}

static void session_subscribe(session_call *call)
{
    session_change(call, true);
}

static void session_unsubscribe(session_call *call)
{
    session_change(call, false);
}

static void session_set_heartbeat(session_call *call)
{
    double seconds = 0;
    hpx_span digits;
    if (!jsonrpc_positive(call->request, "interval", &seconds, &digits) || seconds < 0.001 ||
        seconds > SESSION_HEARTBEAT_MAX_S) {
        session_fail(
            call, JSONRPC_INVALID_PARAMS, "interval is a number of seconds from 0.001 to 3600");
        return;
    }
    call->session->heartbeat_ns = (uint64_t)(seconds * (double)HPX_NS_PER_S);
    call->session->heartbeat_next_ns = call->now_ns + call->session->heartbeat_ns;
    call->session->test_is_due = false;
    session_result(call, "\"ok\"");
}

static void session_disable_heartbeat(session_call *call)
{
    call->session->heartbeat_ns = 0;
    session_result(call, "\"ok\"");
}

static void session_test(session_call *call)
{
    if (call->session->test_is_due) {
        call->session->test_is_due = false;
        call->session->heartbeat_next_ns = call->now_ns + call->session->heartbeat_ns;
    }
    session_result(call, "{\"version\":\"" HPX_VERSION_STRING "\"}");
}

static void session_get_time(session_call *call)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    jsonrpc_begin(call->reply, call->request);
    text_addf(call->reply, "%lld", (long long)now.tv_sec * 1000 + (long long)now.tv_nsec / 1000000);
    jsonrpc_end(call->reply);
}

static void session_order(session_call *call, const char *direction)
{
    double value = 0;
    hpx_span amount, price;
    const char *symbol = jsonrpc_string(call->request, "instrument_name");
    if (symbol == NULL || market_find_symbol(call->shared->market, symbol) < 0) {
        session_fail(call, JSONRPC_INVALID_PARAMS, "instrument_name is not a known symbol");
        return;
    }
    if (!jsonrpc_positive(call->request, "amount", &value, &amount) ||
        !jsonrpc_positive(call->request, "price", &value, &price)) {
        session_fail(call, JSONRPC_INVALID_PARAMS, "amount and price are numbers above 0");
        return;
    }
    session *s = call->session;
    if (s->order_count == SESSION_ORDERS_MAX) {
        session_fail(call, SESSION_TOO_MANY_ORDERS, "too_many_open_orders");
        return;
    }
    const uint64_t id = ++call->shared->order_last;
    s->orders[s->order_count++] = id;
    jsonrpc_begin(call->reply, call->request);
    text_addf(
        call->reply,
        "{\"order\":{\"order_id\":\"HPX-%llu\",\"instrument_name\":\"%s\",\"direction\":\"%s\","
        "\"amount\":%.*s,\"price\":%.*s,\"order_state\":\"open\"},\"trades\":[]}",
        (unsigned long long)id,
        symbol,
        direction,
        (int)amount.size,
        (const char *)amount.data,
        (int)price.size,
        (const char *)price.data);
    jsonrpc_end(call->reply);
}

static void session_buy(session_call *call)
{
    session_order(call, "buy");
}

static void session_sell(session_call *call)
{
    session_order(call, "sell");
}

static void session_cancel(session_call *call)
{
    session *s = call->session;
    const char *name = jsonrpc_string(call->request, "order_id");
    if (name == NULL) {
        session_fail(call, JSONRPC_INVALID_PARAMS, "order_id must be a string");
        return;
    }
    for (uint32_t i = 0; i < s->order_count; i++) {
        char buffer[32];
        text id;
        text_init(&id, buffer, sizeof(buffer));
        text_addf(&id, "HPX-%llu", (unsigned long long)s->orders[i]);
        if (strcmp(id.data, name) == 0) {
            s->orders[i] = s->orders[--s->order_count];
            jsonrpc_begin(call->reply, call->request);
            text_addf(call->reply, "{\"order_id\":\"%s\",\"order_state\":\"cancelled\"}", id.data);
            jsonrpc_end(call->reply);
            return;
        }
    }
    session_fail(call, SESSION_NOT_OPEN_ORDER, "not_open_order");
}

static const session_method session_methods[] = {
    {"public/auth", SESSION_AUTH_NEVER, session_auth},
    {"public/subscribe", SESSION_AUTH_IF_REQUIRED, session_subscribe},
    {"public/unsubscribe", SESSION_AUTH_IF_REQUIRED, session_unsubscribe},
    {"public/set_heartbeat", SESSION_AUTH_NEVER, session_set_heartbeat},
    {"public/disable_heartbeat", SESSION_AUTH_NEVER, session_disable_heartbeat},
    {"public/test", SESSION_AUTH_NEVER, session_test},
    {"public/get_time", SESSION_AUTH_NEVER, session_get_time},
    {"private/subscribe", SESSION_AUTH_ALWAYS, session_subscribe},
    {"private/unsubscribe", SESSION_AUTH_ALWAYS, session_unsubscribe},
    {"private/buy", SESSION_AUTH_ALWAYS, session_buy},
    {"private/sell", SESSION_AUTH_ALWAYS, session_sell},
    {"private/cancel", SESSION_AUTH_ALWAYS, session_cancel},
};

static void session_dispatch(session_call *call)
{
    const jsonrpc_request *request = call->request;
    if (request->error != 0) {
        session_fail(call, request->error, request->error_message);
        return;
    }
    for (size_t i = 0; i < CLI_COUNT_OF(session_methods); i++) {
        const session_method *method = &session_methods[i];
        if (strcmp(method->name, request->method) != 0) {
            continue;
        }
        const session_auth_need least =
            call->shared->require_auth ? SESSION_AUTH_IF_REQUIRED : SESSION_AUTH_ALWAYS;
        if (method->needs_auth >= least && !call->session->is_authenticated) {
            if (call->shared->observed != NULL) {
                call->shared->observed->unauthenticated++;
            }
            session_fail(call, SESSION_UNAUTHORIZED, "unauthorized");
            return;
        }
        method->run(call);
        return;
    }
    session_fail(call, JSONRPC_METHOD_NOT_FOUND, "method not found");
}

void session_answer(
    session *s,
    session_shared *shared,
    const jsonrpc_request *request,
    uint64_t now_ns,
    text *reply)
{
    assert(reply->size == 0);
    session_call call = {s, shared, request, now_ns, reply};
    session_dispatch(&call);
    assert(!reply->full); /* SESSION_REPLY_BYTES holds the longest: all topics and an id */
    if (request->is_notification) {
        text_init(reply, reply->data, reply->capacity);
    }
}

void session_request(
    session *s, session_shared *shared, hpx_span message, uint64_t now_ns, text *reply)
{
    jsonrpc_request request;
    jsonrpc_parse(&request, message);
    session_answer(s, shared, &request, now_ns, reply);
    jsonrpc_free(&request);
}

void session_leave(session *s, session_shared *shared)
{
    session_call call = {.session = s, .shared = shared};
    for (uint32_t i = 0; i < shared->market->topic_count; i++) {
        session_set_topic(&call, i, false);
    }
}

session_beat session_heartbeat(session *s, uint64_t now_ns)
{
    if (s->heartbeat_ns == 0 || now_ns < s->heartbeat_next_ns) {
        return SESSION_BEAT_NONE;
    }
    if (s->test_is_due) {
        s->heartbeat_ns = 0;
        return SESSION_BEAT_EXPIRED;
    }
    s->test_is_due = true;
    s->heartbeat_next_ns = now_ns + s->heartbeat_ns;
    return SESSION_BEAT_ASK;
}

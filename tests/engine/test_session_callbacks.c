/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the app may call any function from inside any callback, and nothing calls back from inside
 * the call that started it (P13); whatever it does there, every request completes once and every
 * object ends once (P3, P11). Method: one script that brings about every kind of event, reply and
 * update, inline; in each run one function is called from inside one kind of callback. Under the
 * address sanitizer that finds a use of what the call took away.
 */
#include <stdio.h>

#include "session_bed.h"
#include "tests/support/test.h"

#define MS HPX_NS_PER_MS

/* Callbacks to act from. */
typedef enum where {
    AT_CONNECTED,
    AT_HELD,    /* a message that came before READY */
    AT_MESSAGE, /* of the stream */
    AT_WRITABLE,
    AT_DISCONNECTED,
    AT_CLOSED,
    AT_REPLY,
    AT_REPLY_TIMEOUT,
    AT_REPLY_CANCELLED,
    AT_REPLY_DISCONNECTED,
    AT_LIVE,
    AT_UPDATE,
    AT_INTERRUPTED,
    AT_REFUSED,
    AT_ENDED,
    WHERES,
} where;

static const char *const where_names[WHERES] = {
    "connected",
    "held message",
    "message",
    "writable",
    "disconnected",
    "closed",
    "reply",
    "reply timeout",
    "reply cancelled",
    "reply disconnected",
    "live",
    "update",
    "interrupted",
    "refused",
    "ended",
};

/* What to do there. */
typedef enum act {
    DO_LOOK, /* every getter */
    DO_CLOSE,
    DO_RECONNECT,
    DO_REQUEST,
    DO_REQUEST_RAW,
    DO_CANCEL, /* all that wait */
    DO_SUBSCRIBE,
    DO_UNSUBSCRIBE, /* all of them, twice */
    DO_SEND,
    DO_ALL,
    ACTS,
} act;

static const char *const act_names[ACTS] = {
    "look",
    "close",
    "reconnect",
    "request",
    "request_raw",
    "cancel",
    "subscribe",
    "unsubscribe",
    "send",
    "all",
};

#define SUBS_MAX     64u
#define REQUESTS_MAX 256u

typedef struct my_sub {
    hpx_subscription *sub;
    bool ended;
} my_sub;

typedef struct my_request {
    uint64_t token;
    bool over;
} my_request;

typedef struct rig {
    session_bed bed;
    toy_dialect dialect;
    hpx_protocol protocol;
    hpx_ws_config config;
    hpx_conn *conn;
    where from;
    act what;
    uint32_t acted;   /* times */
    uint32_t in_call; /* inside a function of the library */
    bool closed;
    uint32_t connected;
    uint32_t disconnected;
    uint32_t writable;
    my_sub subs[SUBS_MAX];
    uint32_t sub_count;
    my_request requests[REQUESTS_MAX];
    uint32_t request_count;
    uint32_t over; /* of the requests */
} rig;

static rig r;

/* Calls the library; a callback meanwhile is a failure. */
#define CALL(expression)                                                                           \
    do {                                                                                           \
        r.in_call++;                                                                               \
        expression;                                                                                \
        r.in_call--;                                                                               \
    } while (0)

static void check(bool good, const char *what)
{
    if (!good) {
        fail_msg("%s, when %s from %s", what, act_names[r.what], where_names[r.from]);
    }
}

static void on_reply(hpx_conn *conn, const hpx_reply *reply, void *user);
static void
on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user);

static bool is_one_of(hpx_status status, const hpx_status *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == status) {
            return true;
        }
    }
    return false;
}

/* ---- Acts ------------------------------------------------------------------------------------ */

static my_request *request(const char *text, uint64_t timeout_ns, const hpx_request_id *raw)
{
    if (r.request_count == REQUESTS_MAX) {
        return NULL;
    }
    my_request *mine = &r.requests[r.request_count];
    *mine = (my_request){0};
    hpx_status status;
    if (raw != NULL) {
        CALL(
            status = hpx_conn_request_raw(
                r.conn, raw, hpx_span_of(text), timeout_ns, on_reply, mine, &mine->token));
    } else {
        CALL(
            status = hpx_conn_request(
                r.conn, hpx_span_of(text), timeout_ns, on_reply, mine, &mine->token));
    }
    static const hpx_status expected[] = {
        HPX_OK, HPX_E_NOT_CONNECTED, HPX_E_LIMIT, HPX_E_AGAIN, HPX_E_DUPLICATE};
    check(is_one_of(status, expected, COUNT_OF(expected)), "request");
    if (status != HPX_OK) {
        return NULL;
    }
    r.request_count++;
    return mine;
}

static void subscribe(const char *first, const char *second)
{
    if (r.sub_count == SUBS_MAX) {
        return;
    }
    const hpx_span topics[] = {
        hpx_span_of(first), second != NULL ? hpx_span_of(second) : (hpx_span){0}};
    my_sub *mine = &r.subs[r.sub_count];
    *mine = (my_sub){0};
    hpx_status status;
    hpx_error error;
    CALL(
        status = hpx_conn_subscribe(
            r.conn, topics, second != NULL ? 2 : 1, on_update, mine, &mine->sub, &error));
    check(status == HPX_OK || status == HPX_E_CLOSED, "subscribe");
    r.sub_count += status == HPX_OK ? 1 : 0;
}

static void unsubscribe_all(void)
{
    for (uint32_t i = 0; i < r.sub_count; i++) {
        if (!r.subs[i].ended) {
            CALL(hpx_conn_unsubscribe(r.conn, r.subs[i].sub));
            CALL(hpx_conn_unsubscribe(r.conn, r.subs[i].sub));
        }
    }
}

static void cancel_all(void)
{
    for (uint32_t i = 0; i < r.request_count; i++) {
        hpx_status status;
        CALL(status = hpx_conn_request_cancel(r.conn, r.requests[i].token));
        check((status == HPX_OK) == !r.requests[i].over, "cancel");
    }
}

static void look(void)
{
    hpx_session_stats stats;
    CALL(hpx_conn_get_stats(r.conn, &stats));
    CALL((void)hpx_conn_get_info(r.conn));
    CALL((void)hpx_conn_queued_bytes(r.conn));
    CALL((void)hpx_conn_get_epoch(r.conn));
    CALL((void)hpx_conn_get_user(r.conn));
    CALL((void)hpx_conn_get_shard(r.conn));
    CALL((void)hpx_conn_subscription_count(r.conn));
    uint32_t pending = 0;
    CALL(pending = hpx_conn_pending_count(r.conn));
    check(pending == r.request_count - r.over, "pending");
    hpx_conn_state state = HPX_CONN_IDLE;
    CALL(state = hpx_conn_get_state(r.conn));
    check((state == HPX_CONN_CLOSED) == (r.closed), "state");
}

static void send_some(void)
{
    hpx_status status;
    CALL(status = hpx_conn_send(r.conn, HPX_MESSAGE_TEXT, hpx_span_of("hello")));
    static const hpx_status expected[] = {HPX_OK, HPX_E_NOT_CONNECTED, HPX_E_AGAIN};
    check(is_one_of(status, expected, COUNT_OF(expected)), "send");
}

static void do_act(act what)
{
    const hpx_request_id raw = {.kind = HPX_ID_NUMBER, .number = 9};
    hpx_status status = HPX_OK;
    switch (what) {
    case DO_LOOK:
        look();
        break;
    case DO_CLOSE:
        CALL(status = hpx_conn_close(r.conn, 4000, hpx_span_of("from inside")));
        break;
    case DO_RECONNECT:
        CALL(status = hpx_conn_reconnect(r.conn, hpx_span_of("from inside")));
        break;
    case DO_REQUEST:
        (void)request("req again", MS, NULL);
        break;
    case DO_REQUEST_RAW:
        (void)request("req 9 raw", MS, &raw);
        break;
    case DO_CANCEL:
        cancel_all();
        break;
    case DO_SUBSCRIBE:
        subscribe("a", "bad");
        subscribe("new", NULL);
        break;
    case DO_UNSUBSCRIBE:
        unsubscribe_all();
        break;
    case DO_SEND:
        send_some();
        break;
    case DO_ALL:
        for (act each = DO_LOOK; each < DO_ALL; each++) {
            do_act(DO_ALL - 1 - each); /* from send to look, close and reconnect in between */
        }
        break;
    case ACTS:
        break;
    }
    check(status == HPX_OK, "close or reconnect");
}

static void at(where place)
{
    check(r.in_call == 0, "called back from inside a call");
    /* Not without end: what is asked for here leads here again. */
    if (place == r.from && r.acted < 3) {
        r.acted++;
        do_act(r.what);
    }
}

/* ---- Callbacks ------------------------------------------------------------------------------- */

static void on_reply(hpx_conn *conn, const hpx_reply *reply, void *user)
{
    my_request *mine = user;
    check(!r.closed && conn == r.conn, "a reply after the end");
    check(!mine->over && reply->token == mine->token, "completed twice");
    mine->over = true;
    r.over++;
    switch (reply->status) {
    case HPX_OK:
        at(AT_REPLY);
        break;
    case HPX_E_TIMEOUT:
        at(AT_REPLY_TIMEOUT);
        break;
    case HPX_E_CANCELLED:
        at(AT_REPLY_CANCELLED);
        break;
    case HPX_E_DISCONNECTED:
        at(AT_REPLY_DISCONNECTED);
        break;
    default:
        check(false, hpx_status_name(reply->status));
    }
}

static void
on_update(hpx_conn *conn, hpx_subscription *subscription, const hpx_update *update, void *user)
{
    my_sub *mine = user;
    check(!r.closed && conn == r.conn, "an update after the end");
    check(!mine->ended && subscription == mine->sub, "an update after ENDED");
    switch (update->kind) {
    case HPX_UPDATE_MESSAGE:
        at(AT_UPDATE);
        break;
    case HPX_UPDATE_LIVE:
        at(AT_LIVE);
        break;
    case HPX_UPDATE_INTERRUPTED:
        at(AT_INTERRUPTED);
        break;
    case HPX_UPDATE_REFUSED:
        at(AT_REFUSED);
        break;
    case HPX_UPDATE_ENDED:
        at(AT_ENDED); /* it still exists in here */
        mine->ended = true;
        break;
    }
}

static void on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    check(user == &r && !r.closed, "an event after CLOSED");
    r.conn = conn;
    switch (event->kind) {
    case HPX_EVENT_CONNECTED:
        r.connected++;
        at(AT_CONNECTED);
        break;
    case HPX_EVENT_MESSAGE:
        at(memcmp(event->payload.data, "sys welcome", 11) == 0 ? AT_HELD : AT_MESSAGE);
        /* The view holds to the end of the callback, also if it closed the connection. */
        check(memcmp(event->payload.data, "sys ", 4) == 0, "payload");
        break;
    case HPX_EVENT_WRITABLE:
        r.writable++;
        at(AT_WRITABLE);
        break;
    case HPX_EVENT_DISCONNECTED:
        r.disconnected++;
        at(AT_DISCONNECTED);
        break;
    case HPX_EVENT_CLOSED:
        r.closed = true;
        at(AT_CLOSED);
        break;
    }
}

/* ---- The script ------------------------------------------------------------------------------ */

static void turns(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        (void)hpx_shard_poll(r.bed.shard);
    }
}

static bool is_ready(void)
{
    return !r.closed && hpx_conn_get_state(r.conn) == HPX_CONN_READY;
}

/* Ready, or closed for good. */
static void until_ready(void)
{
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (!r.closed && !is_ready()) {
        turns(1);
        check(hpx_clock_now_ns() < until, "not ready");
    }
}

static void until_over(const my_request *mine)
{
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (mine != NULL && !mine->over) {
        turns(1);
        check(hpx_clock_now_ns() < until, "a request never completed");
    }
}

static void script_requests(void)
{
    venue *v = &r.bed.venue;
    v->keep_requests = false;
    if (is_ready()) {
        until_over(request("req ask", 0, NULL));
    }
    v->keep_requests = true;
    v->kept_count = 0;
    if (is_ready()) {
        until_over(request("req late", MS, NULL));
    }
    until_ready();
    if (is_ready()) {
        my_request *mine = request("req cancelled", 0, NULL);
        if (mine != NULL) {
            assert_int_equal(hpx_conn_request_cancel(r.conn, mine->token), HPX_OK);
        }
        until_over(mine);
    }
}

/* More than the send queue may hold: AGAIN, and later WRITABLE. */
static void script_writable(void)
{
    static char text[4096];
    memset(text, 'x', sizeof(text));
    const hpx_span payload = {.data = (const uint8_t *)text, .size = sizeof(text)};
    until_ready();
    while (is_ready()) {
        const hpx_status status = hpx_conn_send(r.conn, HPX_MESSAGE_TEXT, payload);
        if (status == HPX_E_AGAIN) {
            break;
        }
        assert_int_equal(status, HPX_OK);
    }
    turns(50);
}

static void script_loss(void)
{
    venue *v = &r.bed.venue;
    until_ready();
    my_request *mine = is_ready() ? request("req lost", 0, NULL) : NULL;
    turns(10);
    venue_drop(v);
    until_over(mine);
    v->keep_requests = false;
    turns(10);
    until_ready();
}

static void run(where from, act what)
{
    memset(&r, 0, sizeof(r));
    r.from = from;
    r.what = what;
    session_bed_open(&r.bed);
    venue *v = &r.bed.venue;
    v->greets = true;
    v->refuse_topic = "bad";
    r.dialect.secret = "s";
    r.protocol = toy_protocol(&r.dialect);
    r.config = session_bed_config(&r.bed, &r.protocol);
    r.config.on_event = on_event;
    r.config.user = &r;
    r.config.send_queue_bytes_max = 64u << 10;
    hpx_error error;
    assert_int_equal(hpx_shard_connect(r.bed.shard, &r.config, &r.conn, &error), HPX_OK);
    subscribe("a", NULL);
    subscribe("bad", NULL);
    subscribe("bad", "a");
    subscribe("b", "c");
    until_ready();
    if (is_ready()) {
        v->keep_requests = true;
        (void)request("req standing", HPX_NEVER, NULL); /* to be cancelled, or lost */
        turns(10);
        venue_say(v, "sys hello");
        venue_say(v, "upd a 1");
        venue_say(v, "upd b 2");
        venue_say(v, "upd a 3");
    }
    turns(30);
    until_ready();
    script_requests();
    script_writable();
    script_loss();
    if (!r.closed) {
        assert_int_equal(hpx_conn_close(r.conn, 0, (hpx_span){0}), HPX_OK);
    }
    const uint64_t until = hpx_clock_now_ns() + 30 * HPX_NS_PER_S;
    while (!r.closed) {
        turns(1);
        check(hpx_clock_now_ns() < until, "not closed");
    }
    check(r.acted != 0, "the script did not lead there");
    check(r.over == r.request_count, "a request never completed");
    for (uint32_t i = 0; i < r.sub_count; i++) {
        check(r.subs[i].ended, "a subscription did not end");
    }
    check(v->twice == 0 && v->alive_max == 1, "subscribed twice, or two connections");
    session_bed_close(&r.bed);
}

static void test_p13_calls_when_from_inside_any_callback_then_legal(void **state)
{
    (void)state;
    for (where from = AT_CONNECTED; from < WHERES; from++) {
        for (act what = TEST_UNDER_TSAN ? DO_ALL : DO_LOOK; what < ACTS; what++) {
            run(from, what);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_p13_calls_when_from_inside_any_callback_then_legal),
    };
    return cmocka_run_group_tests_name("engine/session_callbacks", tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* session_bed.c - the venue and its dialect of words. */
#include "session_bed.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/conn.h"
#include "tests/support/test.h"

#define BED_DEADLINE_NS (30 * HPX_NS_PER_S)

/* ---- The dialect ----------------------------------------------------------------------------- */

/* Takes the next word off the front of *text. */
static hpx_span word(hpx_span *text)
{
    size_t end = 0;
    while (end < text->size && text->data[end] != ' ') {
        end++;
    }
    const hpx_span found = {.data = text->data, .size = end};
    const size_t next = end < text->size ? end + 1 : end;
    text->data += next;
    text->size -= next;
    return found;
}

static bool is(hpx_span span, const char *text)
{
    return span.size == strlen(text) && memcmp(span.data, text, span.size) == 0;
}

static hpx_request_id to_id(hpx_span span)
{
    hpx_request_id id = {.kind = HPX_ID_NUMBER};
    for (size_t i = 0; i < span.size; i++) {
        if (span.data[i] < '0' || span.data[i] > '9') {
            return (hpx_request_id){.kind = HPX_ID_TEXT, .text = span};
        }
        id.number = id.number * 10 + (uint64_t)(span.data[i] - '0');
    }
    return span.size == 0 ? (hpx_request_id){0} : id;
}

static void toy_classify(void *ctx, hpx_span text, hpx_classified *out)
{
    toy_dialect *dialect = ctx;
    dialect->classified++;
    const hpx_span kind = word(&text);
    if (is(kind, "res")) {
        out->message_class = HPX_CLASS_RESPONSE;
        out->id = to_id(word(&text));
        out->meaning = is(word(&text), "ok") ? 0 : HPX_MEANS_ERROR;
        out->reason = text;
    } else if (is(kind, "upd")) {
        out->message_class = HPX_CLASS_UPDATE;
        out->topic = word(&text);
    } else if (is(kind, "hb")) {
        out->message_class = HPX_CLASS_CONTROL;
        out->meaning = HPX_MEANS_PING;
    } else if (is(kind, "bye")) {
        out->message_class = HPX_CLASS_SYSTEM;
        out->meaning = HPX_MEANS_RECONNECT;
        out->reason = text;
    } else if (is(kind, "sys")) {
        out->message_class = HPX_CLASS_SYSTEM;
    }
}

static void put(hpx_writer *out, const char *verb, uint64_t id)
{
    char text[64];
    snprintf(text, sizeof(text), "%s %llu", verb, (unsigned long long)id);
    hpx_writer_text(out, text);
}

static hpx_status toy_on_connect(void *ctx, uint32_t index, uint64_t id, hpx_writer *out)
{
    const toy_dialect *dialect = ctx;
    if (!dialect->greets || index != 0) {
        return 0;
    }
    put(out, "req", id);
    hpx_writer_text(out, " hello");
    return 1;
}

static hpx_status toy_auth(void *ctx, uint64_t id, hpx_writer *out)
{
    const toy_dialect *dialect = ctx;
    if (dialect->secret == NULL) {
        return 0;
    }
    put(out, "auth", id);
    hpx_writer_text(out, " ");
    hpx_writer_text(out, dialect->secret);
    return 1;
}

static hpx_status
put_topics(hpx_writer *out, const char *verb, uint64_t id, const hpx_span *topics, uint32_t count)
{
    put(out, verb, id);
    for (uint32_t i = 0; i < count; i++) {
        hpx_writer_text(out, " ");
        hpx_writer_span(out, topics[i]);
    }
    return 1;
}

static hpx_status
toy_subscribe(void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    (void)ctx;
    return put_topics(out, "sub", id, topics, count);
}

static hpx_status
toy_unsubscribe(void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    (void)ctx;
    return put_topics(out, "unsub", id, topics, count);
}

static void
toy_result(void *ctx, hpx_span response, const hpx_span *topics, uint32_t count, bool *accepted)
{
    (void)ctx;
    (void)word(&response);
    (void)word(&response);
    (void)word(&response);
    for (uint32_t i = 0; i < count; i++) {
        hpx_span list = response;
        accepted[i] = false;
        while (list.size != 0 && !accepted[i]) {
            const hpx_span at = word(&list);
            accepted[i] =
                at.size == topics[i].size && memcmp(at.data, topics[i].data, at.size) == 0;
        }
    }
}

/* "req TEXT": the id goes after the verb. */
static hpx_status toy_inject(void *ctx, hpx_span payload, uint64_t id, hpx_splice *out)
{
    (void)ctx;
    if (payload.size < 4 || memcmp(payload.data, "req ", 4) != 0) {
        return HPX_E_INVALID;
    }
    out->offset = 4;
    out->text_bytes =
        (size_t)snprintf(out->text, sizeof(out->text), "%llu ", (unsigned long long)id);
    return 1;
}

static hpx_status toy_ping(void *ctx, uint64_t id, hpx_writer *out)
{
    (void)ctx;
    put(out, "ping", id);
    return 1;
}

static hpx_status toy_pong(void *ctx, hpx_span ping, uint64_t id, hpx_writer *out)
{
    (void)ctx;
    (void)ping;
    put(out, "pong", id);
    return 1;
}

hpx_protocol toy_protocol(toy_dialect *dialect)
{
    hpx_protocol protocol = HPX_PROTOCOL_INIT;
    protocol.flags = HPX_PROTOCOL_ACKNOWLEDGES;
    protocol.name = "toy";
    protocol.ctx = dialect;
    protocol.classify = toy_classify;
    protocol.build_on_connect = toy_on_connect;
    protocol.build_auth = toy_auth;
    protocol.build_subscribe = toy_subscribe;
    protocol.build_unsubscribe = toy_unsubscribe;
    protocol.subscription_result = toy_result;
    protocol.inject_request_id = toy_inject;
    protocol.build_ping = toy_ping;
    protocol.build_pong = toy_pong;
    return protocol;
}

/* ---- The venue ------------------------------------------------------------------------------- */

static void say(venue *v, hpx_conn *conn, const char *text, size_t size)
{
    const hpx_span span = {.data = (const uint8_t *)text, .size = size};
    const hpx_status status = hpx_conn_send(conn, HPX_MESSAGE_TEXT, span);
    assert_true(
        status == HPX_OK || status == HPX_E_NOT_CONNECTED || /* it may be going */
        (status == HPX_E_NO_MEMORY && v->may_lack_memory));
}

static void answer(venue *v, hpx_conn *conn, hpx_span id, const char *what)
{
    char text[128];
    const int size =
        snprintf(text, sizeof(text), "res %.*s %s", (int)id.size, (const char *)id.data, what);
    say(v, conn, text, (size_t)size);
}

static void venue_subscribe(venue *v, venue_client *client, hpx_span id, hpx_span list)
{
    static char text[64 << 10];
    size_t size =
        (size_t)snprintf(text, sizeof(text), "res %.*s ok", (int)id.size, (const char *)id.data);
    v->subscribe_messages++;
    while (list.size != 0) {
        const hpx_span topic = word(&list);
        char name[32];
        snprintf(name, sizeof(name), "%.*s", (int)topic.size, (const char *)topic.data);
        v->subscribe_topics++;
        if (v->refuse_topic != NULL && strcmp(v->refuse_topic, name) == 0) {
            continue;
        }
        v->twice += venue_has(client, name) ? 1 : 0;
        assert_true(client->topic_count < VENUE_TOPICS_MAX);
        snprintf(client->topics[client->topic_count++], 32, "%s", name);
        size += (size_t)snprintf(text + size, sizeof(text) - size, " %s", name);
    }
    if (!v->stall_subscribe) {
        say(v, client->conn, text, size);
    }
}

static void venue_unsubscribe(venue *v, venue_client *client, hpx_span id, hpx_span list)
{
    v->unsubscribe_messages++;
    while (list.size != 0) {
        const hpx_span topic = word(&list);
        bool found = false;
        v->unsubscribe_topics++;
        for (uint32_t i = 0; i < client->topic_count && !found; i++) {
            if (is(topic, client->topics[i])) {
                client->topic_count--;
                memmove(client->topics[i], client->topics[client->topic_count], 32);
                found = true;
            }
        }
        v->twice += found ? 0 : 1;
    }
    answer(v, client->conn, id, "ok");
}

static void venue_request(venue *v, venue_client *client, hpx_span id, hpx_span text)
{
    v->requests++;
    snprintf(
        v->last_request,
        sizeof(v->last_request),
        "%.*s %.*s",
        (int)id.size,
        (const char *)id.data,
        (int)text.size,
        (const char *)text.data);
    if (v->keep_requests) {
        assert_true(v->kept_count < VENUE_HELD_MAX);
        venue_kept *kept = &v->kept[v->kept_count++];
        snprintf(kept->id, sizeof(kept->id), "%.*s", (int)id.size, (const char *)id.data);
        kept->client = client->serial;
        return;
    }
    if (is(text, "fail")) {
        answer(v, client->conn, id, "err no");
        return;
    }
    char what[96];
    snprintf(what, sizeof(what), "ok %.*s", (int)text.size, (const char *)text.data);
    answer(v, client->conn, id, what);
    if (v->answer_twice) {
        answer(v, client->conn, id, what);
    }
}

static void venue_auth(venue *v, venue_client *client, hpx_span id)
{
    v->auths++;
    if (v->stall_auth) {
        return;
    }
    client->authenticated = !v->refuse_auth;
    answer(v, client->conn, id, v->refuse_auth ? "err bad secret" : "ok");
}

static void venue_on_message(venue *v, venue_client *client, hpx_span text)
{
    const hpx_span verb = word(&text);
    const hpx_span id = word(&text);
    if (is(verb, "auth")) {
        venue_auth(v, client, id);
        return;
    }
    if (v->require_auth && !client->authenticated) {
        v->early++;
    }
    if (is(verb, "sub")) {
        venue_subscribe(v, client, id, text);
    } else if (is(verb, "unsub")) {
        venue_unsubscribe(v, client, id, text);
    } else if (is(verb, "req")) {
        venue_request(v, client, id, text);
    } else if (is(verb, "ping")) {
        v->pings++;
        if (!v->silent_pings) {
            answer(v, client->conn, id, "ok");
        }
    } else if (is(verb, "pong")) {
        v->pongs++;
        answer(v, client->conn, id, "ok");
    } else {
        v->sends++;
    }
}

static venue_client *venue_find(venue *v, const hpx_conn *conn)
{
    for (uint32_t i = 0; i < VENUE_CLIENTS_MAX; i++) {
        if (v->clients[i].conn == conn) {
            return &v->clients[i];
        }
    }
    return NULL;
}

static void venue_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    venue *v = user;
    venue_client *client = venue_find(v, event->kind == HPX_EVENT_CONNECTED ? NULL : conn);
    if (event->kind == HPX_EVENT_CONNECTED) {
        assert_non_null(client); /* VENUE_CLIENTS_MAX */
        client->conn = conn;
        client->serial = ++v->connects;
        client->authenticated = false;
        client->topic_count = 0;
        v->alive++;
        v->alive_max = v->alive > v->alive_max ? v->alive : v->alive_max;
        if (v->greets) {
            say(v, conn, "sys welcome", 11);
        }
    } else if (event->kind == HPX_EVENT_MESSAGE && client != NULL) {
        venue_on_message(v, client, event->payload);
    } else if (event->kind == HPX_EVENT_DISCONNECTED && client != NULL) {
        client->conn = NULL;
        v->alive--;
    }
}

bool venue_has(const venue_client *client, const char *topic)
{
    for (uint32_t i = 0; i < client->topic_count; i++) {
        if (strcmp(client->topics[i], topic) == 0) {
            return true;
        }
    }
    return false;
}

venue_client *venue_only(venue *v)
{
    venue_client *found = NULL;
    for (uint32_t i = 0; i < VENUE_CLIENTS_MAX; i++) {
        if (v->clients[i].conn != NULL) {
            assert_null(found);
            found = &v->clients[i];
        }
    }
    assert_non_null(found);
    return found;
}

static venue_client *venue_newest(venue *v)
{
    venue_client *newest = NULL;
    for (uint32_t i = 0; i < VENUE_CLIENTS_MAX; i++) {
        venue_client *client = &v->clients[i];
        if (client->conn != NULL && (newest == NULL || client->serial > newest->serial)) {
            newest = client;
        }
    }
    assert_non_null(newest);
    return newest;
}

void venue_say(venue *v, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    const int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    say(v, venue_newest(v)->conn, text, (size_t)size);
}

void venue_answer(venue *v, uint32_t kept, const char *text)
{
    assert_true(kept < v->kept_count);
    venue_say(v, "res %s ok %s", v->kept[kept].id, text);
}

void venue_drop(venue *v)
{
    for (uint32_t i = 0; i < VENUE_CLIENTS_MAX; i++) {
        if (v->clients[i].conn != NULL) {
            hpxi_conn_abort(v->clients[i].conn);
        }
    }
}

/* ---- The bed --------------------------------------------------------------------------------- */

void session_bed_open(session_bed *bed)
{
    const hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    session_bed_open_with(bed, &config);
}

static bool bed_listen(session_bed *bed)
{
    hpx_listen_config listen = HPX_LISTEN_CONFIG_INIT;
    listen.address = "127.0.0.1:0";
    listen.on_event = venue_on_event;
    listen.user = &bed->venue;
    if (hpx_shard_listen(bed->shard, &listen, &bed->venue.listener, &bed->error) != HPX_OK ||
        hpx_port_open(&bed->port, bed->engine, NULL, &bed->error) != HPX_OK) {
        return false;
    }
    bed->venue.port = hpx_listener_get_port(bed->venue.listener);
    snprintf(bed->url, sizeof(bed->url), "ws://127.0.0.1:%u/", bed->venue.port);
    return true;
}

bool session_bed_try_open(session_bed *bed, const hpx_engine_config *base)
{
    memset(bed, 0, sizeof(*bed));
    hpx_engine_config config = *base;
    config.shard_mode = HPX_SHARDS_POLLED;
    if (hpx_engine_new(&bed->engine, &config, &bed->error) != HPX_OK) {
        return false;
    }
    bool good = hpx_engine_start(bed->engine, &bed->error) == HPX_OK;
    bed->shard = hpx_engine_shard(bed->engine, 0);
    if (good && hpx_shard_attach(bed->shard, &bed->error) == HPX_OK) {
        good = bed_listen(bed);
        if (!good) {
            (void)hpx_shard_detach_wait(bed->shard, HPX_NS_PER_S);
        }
    } else {
        good = false;
    }
    if (!good) {
        hpx_engine_free(bed->engine);
    }
    return good;
}

void session_bed_open_with(session_bed *bed, const hpx_engine_config *config)
{
    if (!session_bed_try_open(bed, config)) {
        fail_msg("%s", bed->error.detail);
    }
}

void session_bed_close(session_bed *bed)
{
    hpx_port_close(bed->port);
    assert_int_equal(hpx_shard_detach_wait(bed->shard, 5 * HPX_NS_PER_S), HPX_OK);
    assert_int_equal(hpx_engine_stop_wait(bed->engine, 5 * HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(bed->engine);
}

hpx_ws_config session_bed_config(session_bed *bed, const hpx_protocol *protocol)
{
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = bed->url;
    config.protocol = protocol;
    config.reconnect = true;
    config.backoff_initial_ns = HPX_NS_PER_MS;
    config.backoff_max_ns = 5 * HPX_NS_PER_MS;
    config.backoff_jitter = 0.0;
    return config;
}

void session_bed_run(session_bed *bed, uint64_t ns)
{
    const uint64_t until = hpx_clock_now_ns() + ns;
    do {
        (void)hpx_shard_poll(bed->shard);
    } while (hpx_clock_now_ns() < until);
}

void session_bed_until(session_bed *bed, const uint32_t *count, uint32_t least)
{
    const uint64_t until = hpx_clock_now_ns() + BED_DEADLINE_NS;
    while (*count < least) {
        (void)hpx_shard_poll(bed->shard);
        if (hpx_clock_now_ns() > until) {
            fail_msg("only %u of %u happened", *count, least);
        }
    }
}

void session_bed_until_state(session_bed *bed, const hpx_handle *handle, hpx_conn_state state)
{
    const uint64_t until = hpx_clock_now_ns() + BED_DEADLINE_NS;
    while (hpx_handle_state(handle) != state) {
        (void)hpx_shard_poll(bed->shard);
        if (hpx_clock_now_ns() > until) {
            fail_msg(
                "still %s, not %s",
                hpx_conn_state_name(hpx_handle_state(handle)),
                hpx_conn_state_name(state));
        }
    }
}

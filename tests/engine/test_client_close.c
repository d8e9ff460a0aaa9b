/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: hpx_ws_client closes in every state, by a call or by being freed, and whatever is under way
 * or runs out of memory leaves nothing behind. Method: servers that stop talking at each stage; an
 * allocator that fails at each allocation.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "raw_server.h"
#include "tests/support/test.h"
#include "ws_client_bed.h"

#define MS   HPX_NS_PER_MS
#define LONG CLIENT_LONG_NS

/* ---- Closed in every state ------------------------------------------------------------------- */

/* A listener whose queue is full: what comes next is neither accepted nor refused. */
typedef struct full_listener {
    int fds[4];
    uint16_t port;
} full_listener;

static void full_listener_open(full_listener *full)
{
    full->fds[0] = ws_client_bed_closed_port(&full->port);
    assert_int_equal(listen(full->fds[0], 0), 0);
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(full->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (size_t i = 1; i < COUNT_OF(full->fds); i++) {
        full->fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)connect(full->fds[i], (const struct sockaddr *)&address, sizeof(address));
    }
    ws_client_bed_nap(10 * MS);
}

static void full_listener_close(full_listener *full)
{
    for (size_t i = 0; i < COUNT_OF(full->fds); i++) {
        (void)close(full->fds[i]);
    }
}

typedef struct state_row {
    hpx_conn_state state;
    const char *url;
} state_row;

/* Up, with a topic, and down again, to restore the topic without an answer. */
static void reach_resubscribing(ws_client_bed *r)
{
    hpx_error error;
    (void)ws_client_bed_expect(r, HPX_UPDATE_LIVE, NULL);
    assert_int_equal(hpx_ws_client_ready_wait(r->client, LONG, &error), HPX_OK);
    venue_lock(&r->venue)->stall_subscribe = true;
    venue_unlock(&r->venue);
    venue_thread_drop(&r->venue);
}

/* By close_wait(), or by free() alone: in time, and nothing is left. */
static void check_close(ws_client_bed *r, const state_row *row, hpx_engine *engine, bool by_free)
{
    venue *v = venue_lock(&r->venue);
    v->stall_auth = row->state == HPX_CONN_AUTHENTICATING;
    v->stall_subscribe = false;
    venue_unlock(&r->venue);
    r->ws.url = row->url;
    r->ws.backoff_initial_ns = row->state == HPX_CONN_BACKING_OFF ? 10 * LONG : MS;
    r->ws.backoff_max_ns = r->ws.backoff_initial_ns;
    r->config.engine = engine;
    r->dialect.secret = row->state == HPX_CONN_AUTHENTICATING ? "s" : NULL;
    hpx_error error;
    assert_int_equal(hpx_ws_client_connect(&r->client, &r->ws, &r->config, &error), HPX_OK);
    assert_int_equal(hpx_ws_client_subscribe(r->client, "topic", NULL, NULL, &error), HPX_OK);
    if (row->state == HPX_CONN_RESUBSCRIBING) {
        reach_resubscribing(r);
    }
    ws_client_bed_until_state(r->client, row->state);
    if (!by_free) {
        assert_int_equal(
            hpx_ws_client_close_wait(r->client, 1000, hpx_span_of("bye"), LONG), HPX_OK);
        assert_int_equal(hpx_ws_client_get_state(r->client), HPX_CONN_CLOSED);
        hpx_update update = {0};
        while (hpx_ws_client_update_wait(r->client, &update, NULL, LONG) == 1) {
        }
        assert_int_equal(update.kind, HPX_UPDATE_ENDED);
    }
    hpx_ws_client_free(r->client);
    r->client = NULL;
}

static void test_client_when_closed_in_any_state_then_it_is_closed(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    uint16_t refused;
    uint16_t mute; /* a name server that is not there */
    const int refused_fd = ws_client_bed_closed_port(&refused);
    const int mute_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    assert_int_equal(bind(mute_fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(mute_fd, (struct sockaddr *)&address, &size), 0);
    mute = ntohs(address.sin_port);
    full_listener full;
    full_listener_open(&full);
    raw_server silent;
    raw_server_open(&silent, RAW_SILENT_ACCEPT);
    char urls[4][64];
    snprintf(urls[0], sizeof(urls[0]), "ws://127.0.0.1:%u/", full.port);
    snprintf(urls[1], sizeof(urls[1]), "wss://127.0.0.1:%u/", silent.port);
    snprintf(urls[2], sizeof(urls[2]), "ws://127.0.0.1:%u/", silent.port);
    snprintf(urls[3], sizeof(urls[3]), "ws://127.0.0.1:%u/", refused);
    const state_row rows[] = {
        {HPX_CONN_RESOLVING, "ws://silent.test/"},
        {HPX_CONN_CONNECTING, urls[0]},
        {HPX_CONN_TLS_HANDSHAKE, urls[1]},
        {HPX_CONN_UPGRADING, urls[2]},
        {HPX_CONN_AUTHENTICATING, r.venue.bed.url},
        {HPX_CONN_RESUBSCRIBING, r.venue.bed.url},
        {HPX_CONN_READY, r.venue.bed.url},
        {HPX_CONN_BACKING_OFF, urls[3]},
    };
    char servers[32];
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", mute);
    for (size_t i = 0; i < 2 * COUNT_OF(rows); i++) {
        hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
        config.dns_servers = servers;
        config.allocator = fa_allocator(&r.memory);
        hpx_engine *engine;
        assert_int_equal(hpx_engine_new(&engine, &config, NULL), HPX_OK);
        assert_int_equal(hpx_engine_start(engine, NULL), HPX_OK);
        check_close(&r, &rows[i / 2], engine, i % 2 == 1);
        assert_int_equal(hpx_engine_stop_wait(engine, LONG), HPX_OK);
        hpx_engine_free(engine);
        if (r.memory.live != 0) {
            fail_msg("row %zu: %zu blocks are left", i, (size_t)r.memory.live);
        }
    }
    raw_server_close(&silent);
    full_listener_close(&full);
    (void)close(refused_fd);
    (void)close(mute_fd);
    ws_client_bed_close(&r);
}

/* Everything unread: replies, updates, messages, a request under way, live subscriptions. */
static void test_client_when_freed_with_all_unread_then_nothing_is_left(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    ws_client_bed_connect(&r);
    hpx_error error;
    assert_int_equal(hpx_ws_client_subscribe(r.client, "a", NULL, NULL, &error), HPX_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(
            hpx_ws_client_request(r.client, hpx_span_of("req x"), 0, NULL, NULL), HPX_OK);
    }
    venue_thread_until(&r.venue, &r.venue.bed.venue.requests, 5);
    ws_client_bed_say(&r, "sys one");
    ws_client_bed_say(&r, "upd a 1");
    venue_lock(&r.venue)->keep_requests = true;
    venue_unlock(&r.venue);
    hpx_reply reply;
    assert_int_equal(
        hpx_ws_client_request_wait(r.client, hpx_span_of("req y"), 10 * MS, &reply), HPX_E_TIMEOUT);
    assert_int_equal(hpx_ws_client_request(r.client, hpx_span_of("req z"), 0, NULL, NULL), HPX_OK);
    hpx_ws_client_free(r.client);
    r.client = NULL;
    assert_int_equal(r.memory.live, 0);
    ws_client_bed_close(&r);
}

/* The shard may find the commands, the release and the stop in one turn or in many. */
static void test_client_when_freed_at_once_then_commands_under_way_leave_nothing(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    for (uint32_t i = 0; i < 36; i++) {
        hpx_error error;
        if (i % 3 != 0) {
            assert_int_equal(hpx_ws_client_connect(&r.client, &r.ws, &r.config, &error), HPX_OK);
        } else {
            ws_client_bed_connect(&r);
        }
        assert_int_equal(hpx_ws_client_subscribe(r.client, "a", NULL, NULL, &error), HPX_OK);
        assert_int_equal(hpx_ws_client_subscribe(r.client, "b", NULL, NULL, &error), HPX_OK);
        (void)!hpx_ws_client_request(r.client, hpx_span_of("req x"), 0, NULL, NULL);
        (void)!hpx_ws_client_send(r.client, HPX_MESSAGE_TEXT, hpx_span_of("x"));
        if (i % 2 != 0) {
            ws_client_bed_nap(20 * HPX_NS_PER_US);
        }
        hpx_ws_client_free(r.client);
        r.client = NULL;
        if (r.memory.live != 0) {
            fail_msg("round %u: %zu blocks are left", i, (size_t)r.memory.live);
        }
    }
    ws_client_bed_close(&r);
}

/* Asked for, and the shard stops before it has looked: the connection is made and has its end, or
 * the client's memory would wait for it for ever. */
static void test_client_when_the_shard_stops_before_it_looked_then_closed_is_told(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.allocator = fa_allocator(&r.memory);
    config.shard_mode = HPX_SHARDS_POLLED;
    hpx_engine *engine;
    hpx_port *port;
    hpx_error error;
    assert_int_equal(hpx_engine_new(&engine, &config, NULL), HPX_OK);
    assert_int_equal(hpx_engine_start(engine, NULL), HPX_OK);
    hpx_shard *shard = hpx_engine_shard(engine, 0);
    assert_int_equal(hpx_shard_attach(shard, &error), HPX_OK);
    assert_int_equal(hpx_port_open(&port, engine, NULL, NULL), HPX_OK);
    r.config.port = port;
    assert_int_equal(hpx_ws_client_connect(&r.client, &r.ws, &r.config, &error), HPX_OK);
    assert_int_equal(hpx_shard_detach_wait(shard, LONG), HPX_OK);
    assert_int_equal(hpx_ws_client_get_state(r.client), HPX_CONN_CLOSED);
    assert_int_equal(hpx_ws_client_ready_wait(r.client, 0, &error), HPX_E_ABORTED);
    assert_int_equal(error.status, HPX_E_ABORTED);
    hpx_ws_client_free(r.client);
    r.client = NULL;
    hpx_port_close(port);
    hpx_engine_free(engine);
    ws_client_bed_close(&r);
}

/* ---- Memory ---------------------------------------------------------------------------------- */

static ws_client_bed *memory_rig;

static void memory_scenario(hpx_allocator allocator, bool expect_success)
{
    ws_client_bed *r = memory_rig;
    hpx_ws_client_config config = HPX_WS_CLIENT_CONFIG_INIT;
    config.allocator = allocator;
    hpx_ws_config ws = r->ws;
    ws.reconnect = false;
    hpx_ws_client *client;
    hpx_error error = {0};
    hpx_status status = hpx_ws_client_connect_wait(&client, &ws, &config, LONG, &error);
    if (status != HPX_OK) {
        assert_false(expect_success);
        assert_null(client);
        assert_true(error.detail[0] != '\0');
        return;
    }
    hpx_reply reply;
    status = hpx_ws_client_request_wait(client, hpx_span_of("req x"), 0, &reply);
    assert_true(status == HPX_OK || !expect_success);
    for (int i = 0; i < 9 && status == HPX_OK; i++) {
        char topic[8];
        snprintf(topic, sizeof(topic), "t%d", i);
        status = hpx_ws_client_subscribe(client, topic, NULL, NULL, &error);
        assert_true(status == HPX_OK || !expect_success);
    }
    hpx_update update = {0};
    while (status == HPX_OK && update.kind != HPX_UPDATE_LIVE && update.kind != HPX_UPDATE_ENDED) {
        assert_int_equal(hpx_ws_client_update_wait(client, &update, NULL, LONG), 1);
    }
    assert_true(update.kind == HPX_UPDATE_LIVE || !expect_success);
    hpx_ws_client_free(client);
}

static void test_client_when_any_allocation_fails_then_it_is_told_and_nothing_leaks(void **state)
{
    (void)state;
    ws_client_bed r;
    ws_client_bed_open(&r);
    memory_rig = &r;
    fa_exhaust(memory_scenario);
    ws_client_bed_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_client_when_closed_in_any_state_then_it_is_closed),
        cmocka_unit_test(test_client_when_freed_with_all_unread_then_nothing_is_left),
        cmocka_unit_test(test_client_when_freed_at_once_then_commands_under_way_leave_nothing),
        cmocka_unit_test(test_client_when_the_shard_stops_before_it_looked_then_closed_is_told),
        cmocka_unit_test(test_client_when_any_allocation_fails_then_it_is_told_and_nothing_leaks),
    };
    return cmocka_run_group_tests_name("engine/client_close", tests, NULL, NULL);
}

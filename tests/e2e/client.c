/* SPDX-License-Identifier: Apache-2.0 */
/* client.c - events of all three forms, one by one. */
#include "tests/e2e/client.h"

#include <stdio.h>
#include <time.h>

#include "tests/support/descriptors.h"
#include "tests/support/test.h"

const char *const client_form_names[CLIENT_FORMS] = {"polled", "thread", "stream"};

struct client_item {
    hpx_event event;
    hpx_error error;
    hpx_conn_info info;
    uint8_t *payload;
    client_item *next;
};

const char *client_event_name(hpx_event_kind kind)
{
    static const char *const names[] = {
        "none", "connected", "message", "writable", "disconnected", "closed"};
    return (size_t)kind < COUNT_OF(names) ? names[kind] : "unknown";
}

/* ---- Bed ------------------------------------------------------------------------------------- */

void bed_open(e2e_bed *bed, client_form form, const hpx_engine_config *config)
{
    *bed = (e2e_bed){.form = form, .memory = FAILING_ALLOCATOR_NEVER};
    bed->descriptors = test_descriptors();
    hpx_engine_config full = HPX_ENGINE_CONFIG_INIT;
    if (config != NULL) {
        full = *config;
    }
    full.shard_mode = form == CLIENT_POLLED ? HPX_SHARDS_POLLED : HPX_SHARDS_THREADS;
    full.allocator = fa_allocator(&bed->memory);
    hpx_error error = {0};
    if (hpx_engine_new(&bed->engine, &full, &error) != HPX_OK ||
        hpx_engine_start(bed->engine, &error) != HPX_OK) {
        fail_msg("engine: %s", error.detail);
    }
    if (form == CLIENT_POLLED) {
        bed->shard = hpx_engine_shard(bed->engine, 0);
        if (hpx_shard_attach(bed->shard, &error) != HPX_OK) {
            fail_msg("attach: %s", error.detail);
        }
    } else if (hpx_port_open(&bed->port, bed->engine, NULL, &error) != HPX_OK) {
        fail_msg("port: %s", error.detail);
    }
}

void bed_turn(e2e_bed *bed)
{
    if (bed->form == CLIENT_POLLED) {
        assert_true(hpx_shard_poll_wait(bed->shard, HPX_NS_PER_MS) >= 0);
    } else {
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

/* What is left of a closed connection goes at once, but its own thread does it. */
static void bed_await_quiet(e2e_bed *bed)
{
    const uint64_t deadline_ns = hpx_clock_now_ns() + CLIENT_DEADLINE_NS;
    for (uint32_t i = 0; i < hpx_engine_shard_count(bed->engine);) {
        hpx_shard_stats stats;
        hpx_shard_get_stats(hpx_engine_shard(bed->engine, i), &stats);
        if (stats.connections == 0) {
            i++;
            continue;
        }
        assert_true(hpx_clock_now_ns() < deadline_ns);
        bed_turn(bed);
    }
}

static void item_free(client_item *item)
{
    if (item != NULL) {
        free(item->payload);
        free(item);
    }
}

static void client_fini(e2e_client *client)
{
    assert_int_equal(client->after_closed, 0);
    assert_null(client->first); /* events that the test did not take */
    assert_int_equal(client->closed, 1);
    assert_true(client->disconnected == 1 || (client->reconnects && client->disconnected > 1));
    assert_true(client->connected <= client->disconnected);
    item_free(client->current);
    client->current = NULL;
    (void)pthread_cond_destroy(&client->arrived);
    (void)pthread_mutex_destroy(&client->lock);
}

void bed_close(e2e_bed *bed)
{
    for (e2e_client *client = bed->clients; client != NULL; client = client->next) {
        hpx_handle_release(client->handle);
        hpx_stream_release(client->stream);
    }
    hpx_port_close(bed->port);
    bed_await_quiet(bed);
    if (bed->form == CLIENT_POLLED) {
        assert_int_equal(hpx_shard_detach_wait(bed->shard, HPX_NS_PER_S), HPX_OK);
    }
    assert_int_equal(hpx_engine_stop_wait(bed->engine, HPX_NS_PER_S), HPX_OK);
    hpx_engine_free(bed->engine);
    for (e2e_client *client = bed->clients; client != NULL; client = client->next) {
        client_fini(client);
    }
    assert_int_equal(bed->memory.live, 0);
    assert_int_equal(bed->memory.bytes, 0);
    assert_int_equal(test_descriptors(), bed->descriptors);
}

/* ---- Events ---------------------------------------------------------------------------------- */

/* Inline, on the shard's thread. */
static void client_on_event(hpx_conn *conn, const hpx_event *event, void *user)
{
    (void)conn;
    e2e_client *client = user;
    client_item *item = calloc(1, sizeof(*item));
    if (item == NULL) {
        abort();
    }
    item->event = *event;
    if (event->error != NULL) {
        item->error = *event->error;
        item->event.error = &item->error;
    }
    if (event->info != NULL) {
        item->info = *event->info;
        item->event.info = &item->info;
    }
    if (event->payload.size != 0) {
        item->payload = malloc(event->payload.size);
        if (item->payload == NULL) {
            abort();
        }
        memcpy(item->payload, event->payload.data, event->payload.size);
        item->event.payload.data = item->payload;
    }
    (void)pthread_mutex_lock(&client->lock);
    client->after_closed += client->ended;
    if (event->kind == HPX_EVENT_CLOSED) {
        client->ended = true;
        client->conn = NULL;
    }
    *(client->last != NULL ? &client->last->next : &client->first) = item;
    client->last = item;
    client->queued++;
    (void)pthread_cond_signal(&client->arrived);
    (void)pthread_mutex_unlock(&client->lock);
}

static client_item *client_take(e2e_client *client, uint64_t wait_ns)
{
    (void)pthread_mutex_lock(&client->lock);
    if (client->first == NULL && wait_ns != 0) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        const uint64_t sum = (uint64_t)until.tv_nsec + wait_ns;
        until.tv_sec += (time_t)(sum / HPX_NS_PER_S);
        until.tv_nsec = (long)(sum % HPX_NS_PER_S);
        (void)pthread_cond_timedwait(&client->arrived, &client->lock, &until);
    }
    client_item *item = client->first;
    if (item != NULL) {
        client->first = item->next;
        client->last = client->first == NULL ? NULL : client->last;
        client->queued--;
    }
    (void)pthread_mutex_unlock(&client->lock);
    return item;
}

static client_item *client_next_inline(e2e_client *client, uint64_t timeout_ns)
{
    const uint64_t start_ns = hpx_clock_now_ns();
    const bool polled = client->bed->form == CLIENT_POLLED;
    for (;;) {
        client_item *item = client_take(client, polled ? 0 : 10 * HPX_NS_PER_MS);
        if (item != NULL || hpx_clock_now_ns() - start_ns > timeout_ns) {
            return item;
        }
        if (polled) {
            assert_true(hpx_shard_poll_wait(client->bed->shard, 10 * HPX_NS_PER_MS) >= 0);
        }
    }
}

static client_item *client_next_stream(e2e_client *client, uint64_t timeout_ns)
{
    client_item *item = client->current;
    if (item == NULL) {
        item = calloc(1, sizeof(*item));
        assert_non_null(item);
        client->current = item;
    }
    const int got = hpx_stream_wait(client->stream, &item->event, timeout_ns);
    if (got == HPX_E_TIMEOUT) {
        return NULL;
    }
    assert_int_equal(got, 1);
    return item;
}

const hpx_event *client_next(e2e_client *client, uint64_t timeout_ns)
{
    client_item *item;
    if (client->bed->form == CLIENT_STREAM) {
        item = client_next_stream(client, timeout_ns);
    } else {
        item = client_next_inline(client, timeout_ns);
        item_free(client->current);
        client->current = item;
    }
    if (item == NULL) {
        return NULL;
    }
    assert_int_equal(client->closed, 0); /* nothing after the last event */
    client->connected += item->event.kind == HPX_EVENT_CONNECTED;
    client->messages += item->event.kind == HPX_EVENT_MESSAGE;
    client->disconnected += item->event.kind == HPX_EVENT_DISCONNECTED;
    client->closed += item->event.kind == HPX_EVENT_CLOSED;
    return &item->event;
}

const hpx_event *client_expect(e2e_client *client, hpx_event_kind kind)
{
    const hpx_event *event = client_next(client, CLIENT_DEADLINE_NS);
    const char *form = client_form_names[client->bed->form];
    if (event == NULL) {
        fail_msg("%s: no event in time, expected %s", form, client_event_name(kind));
    } else if (event->kind != kind) {
        fail_msg(
            "%s: event %s, expected %s%s%s",
            form,
            client_event_name(event->kind),
            client_event_name(kind),
            event->error != NULL ? ": " : "",
            event->error != NULL ? event->error->detail : "");
    }
    return event;
}

/* ---- Steps of a script ----------------------------------------------------------------------- */

void client_open(e2e_client *client, e2e_bed *bed, const hpx_ws_config *config)
{
    *client = (e2e_client){.bed = bed, .next = bed->clients, .reconnects = config->reconnect};
    assert_int_equal(pthread_mutex_init(&client->lock, NULL), 0);
    assert_int_equal(pthread_cond_init(&client->arrived, NULL), 0);
    bed->clients = client;
    hpx_ws_config full = *config;
    hpx_error error = {0};
    if (bed->form != CLIENT_STREAM) {
        full.on_event = client_on_event;
        full.user = client;
    }
    const hpx_status status =
        bed->form == CLIENT_POLLED
            ? hpx_shard_connect(bed->shard, &full, &client->conn, &error)
            : hpx_ws_connect(bed->port, &full, &client->handle, &client->stream, &error);
    if (status != HPX_OK) {
        fail_msg("connect to %s: %s", config->url, error.detail);
    }
}

void client_expect_connected(e2e_client *client, hpx_conn_info *info)
{
    const hpx_event *event = client_expect(client, HPX_EVENT_CONNECTED);
    assert_int_equal(event->epoch, client->connected);
    assert_non_null(event->info);
    if (info != NULL) {
        *info = *event->info;
    }
}

void client_connect(
    e2e_client *client, e2e_bed *bed, const hpx_ws_config *config, hpx_conn_info *info)
{
    client_open(client, bed, config);
    client_expect_connected(client, info);
}

void client_expect_message(e2e_client *client, hpx_message_kind kind, const void *data, size_t size)
{
    const hpx_event *event = client_expect(client, HPX_EVENT_MESSAGE);
    assert_int_equal(event->message_kind, kind);
    assert_int_equal(event->payload.size, size);
    assert_bytes_equal(event->payload.data, data, size);
    assert_int_equal(event->missed, 0);
    assert_int_equal(event->epoch, client->connected);
}

void client_expect_end(e2e_client *client, hpx_error *error)
{
    const hpx_event *event;
    do {
        event = client_next(client, CLIENT_DEADLINE_NS);
        assert_non_null(event);
    } while (event->kind == HPX_EVENT_MESSAGE || event->kind == HPX_EVENT_WRITABLE);
    assert_int_equal(event->kind, HPX_EVENT_DISCONNECTED);
    assert_non_null(event->error);
    *error = *event->error;
    event = client_expect(client, HPX_EVENT_CLOSED);
    assert_non_null(event->error);
    assert_int_equal(event->error->status, error->status);
    assert_int_equal(event->error->close_code, error->close_code);
    assert_string_equal(event->error->detail, error->detail);
    if (client->bed->form == CLIENT_STREAM) {
        hpx_event more;
        assert_int_equal(hpx_stream_next(client->stream, &more), HPX_E_CLOSED);
    }
}

void client_send(e2e_client *client, hpx_message_kind kind, const void *data, size_t size)
{
    const hpx_span payload = {.data = data, .size = size};
    const hpx_status status = client->bed->form == CLIENT_POLLED
                                  ? hpx_conn_send(client->conn, kind, payload)
                                  : hpx_handle_send(client->handle, kind, payload);
    assert_string_equal(hpx_status_name(status), "HPX_OK");
}

void client_close(e2e_client *client, uint16_t code, const char *reason)
{
    const hpx_span text = hpx_span_of(reason);
    const hpx_status status = client->bed->form == CLIENT_POLLED
                                  ? hpx_conn_close(client->conn, code, text)
                                  : hpx_handle_close(client->handle, code, text);
    assert_int_equal(status, HPX_OK);
}

void client_finish(e2e_client *client)
{
    hpx_error error;
    client_close(client, 0, "");
    client_expect_end(client, &error);
    if (error.status != HPX_OK || error.close_code != 1000) {
        fail_msg(
            "close: %s, %d: %s", hpx_status_name(error.status), error.close_code, error.detail);
    }
}

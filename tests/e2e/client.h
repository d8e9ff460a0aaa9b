/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client.h - one script for every way in which an application may hold a connection.
 *
 *   POLLED   inline handler; the test's thread drives the shard itself
 *   THREAD   inline handler on the engine's shard thread; commands through a handle
 *   STREAM   handle and stream on a port
 *
 * Role      A bed is an engine; a client is a connection on it. Events are taken one by one with
 *           client_next(), whatever the form. bed_close() checks that nothing was left behind: no
 *           descriptor, no block of the allocator, no connection without its terminal events.
 * Threads   The test's main thread. Handlers only copy: a failing assertion may not jump out of
 *           the engine.
 */
#ifndef HPX_TESTS_E2E_CLIENT_H
#define HPX_TESTS_E2E_CLIENT_H

#include <pthread.h>

#include <hpx/hpx.h>

#include "tests/support/failing_allocator.h"

#define CLIENT_DEADLINE_NS (20 * HPX_NS_PER_S)

typedef enum client_form {
    CLIENT_POLLED = 0,
    CLIENT_THREAD,
    CLIENT_STREAM,
} client_form;

#define CLIENT_FORMS 3

extern const char *const client_form_names[CLIENT_FORMS];

typedef struct e2e_client e2e_client;
typedef struct client_item client_item;

typedef struct e2e_bed {
    client_form form;
    hpx_engine *engine;
    hpx_shard *shard; /* POLLED */
    hpx_port *port;   /* THREAD, STREAM */
    e2e_client *clients;
    failing_allocator memory;
    uint32_t descriptors; /* open before */
} e2e_bed;

struct e2e_client {
    e2e_bed *bed;
    e2e_client *next;
    hpx_conn *conn; /* POLLED, until CLOSED */
    hpx_handle *handle;
    hpx_stream *stream;
    client_item *current; /* what client_next() returned */
    bool reconnects;      /* config.reconnect */
    uint32_t connected;   /* events taken */
    uint32_t messages;
    uint32_t disconnected;
    uint32_t closed;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t arrived;
    client_item *first;
    client_item *last;
    uint32_t queued;
    bool ended;            /* CLOSED has come */
    uint32_t after_closed; /* events after it: never any */
};

/* `config` may be NULL; mode and allocator are set here. */
void bed_open(e2e_bed *bed, client_form form, const hpx_engine_config *config);
void bed_close(e2e_bed *bed);

/* One turn of the shard (POLLED), or a short rest. */
void bed_turn(e2e_bed *bed);

/* Start from the config; on_event and user are set here. Fails the test if it is refused. */
void client_open(e2e_client *client, e2e_bed *bed, const hpx_ws_config *config);

/* The next event, NULL if none came in time. It and its views are valid until the next call. */
const hpx_event *client_next(e2e_client *client, uint64_t timeout_ns);

/* The next event must be this one. */
const hpx_event *client_expect(e2e_client *client, hpx_event_kind kind);

/* The next event must be CONNECTED; the info is copied to `info` if that is not NULL. */
void client_expect_connected(e2e_client *client, hpx_conn_info *info);

/* Connect and be Ready; the info is copied to `info` if that is not NULL. */
void client_connect(
    e2e_client *client, e2e_bed *bed, const hpx_ws_config *config, hpx_conn_info *info);

void client_expect_message(
    e2e_client *client, hpx_message_kind kind, const void *data, size_t size);

/* DISCONNECTED then CLOSED with the same error, and nothing after; messages before are skipped. */
void client_expect_end(e2e_client *client, hpx_error *error);

void client_send(e2e_client *client, hpx_message_kind kind, const void *data, size_t size);
void client_close(e2e_client *client, uint16_t code, const char *reason);

/* Close with 1000 and see it through: the end was orderly. */
void client_finish(e2e_client *client);

/* "connected", "message", ... */
const char *client_event_name(hpx_event_kind kind);

#endif /* HPX_TESTS_E2E_CLIENT_H */

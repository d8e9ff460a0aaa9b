/* SPDX-License-Identifier: Apache-2.0 */
/*
 * client_bed.h - a hpx_ws_client with its memory counted, and a venue on another thread.
 *
 * Threads   The test's.
 */
#ifndef HPX_TESTS_CLIENT_BED_H
#define HPX_TESTS_CLIENT_BED_H

#include "tests/support/failing_allocator.h"
#include "venue_thread.h"

#define CLIENT_LONG_NS (30 * HPX_NS_PER_S) /* reached by a failing test only */

typedef struct client_bed {
    venue_thread venue;
    toy_dialect dialect;
    hpx_protocol protocol;
    failing_allocator memory;
    hpx_ws_config ws;
    hpx_ws_client_config config;
    hpx_ws_client *client;
} client_bed;

/* The venue, and configs for it; no client yet. Close frees the client, and checks its memory. */
void client_bed_open(client_bed *r);
void client_bed_close(client_bed *r);

/* Connects and waits until it is Ready. */
void client_bed_connect(client_bed *r);

/* The next update, which is of this kind. */
hpx_update client_bed_expect(client_bed *r, hpx_update_kind kind, hpx_subscription **subscription);

/* The venue says it. */
void client_bed_say(client_bed *r, const char *text);

void client_bed_until_state(const hpx_ws_client *client, hpx_conn_state state);

/* Waits until so many are open: servers close their ends on threads of their own. */
void client_bed_until_descriptors(uint32_t count);

void client_bed_nap(uint64_t ns);

/* A port of 127.0.0.1 on which nobody listens; the descriptor that is returned holds it. */
int client_bed_closed_port(uint16_t *port);

bool span_ends_with(hpx_span span, const char *tail);

#endif /* HPX_TESTS_CLIENT_BED_H */

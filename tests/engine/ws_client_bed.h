/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_client_bed.h - a hpx_ws_client with its memory counted, and a venue on another thread.
 *
 * Threads   The test's.
 */
#ifndef HPX_TESTS_WS_CLIENT_BED_H
#define HPX_TESTS_WS_CLIENT_BED_H

#include "tests/support/failing_allocator.h"
#include "venue_thread.h"

#define CLIENT_LONG_NS (30 * HPX_NS_PER_S) /* reached by a failing test only */

typedef struct ws_client_bed {
    venue_thread venue;
    toy_dialect dialect;
    hpx_protocol protocol;
    failing_allocator memory;
    hpx_ws_config ws;
    hpx_ws_client_config config;
    hpx_ws_client *client;
} ws_client_bed;

/* The venue, and configs for it; no client yet. Close frees the client, and checks its memory. */
void ws_client_bed_open(ws_client_bed *r);
void ws_client_bed_close(ws_client_bed *r);

/* Connects and waits until it is Ready. */
void ws_client_bed_connect(ws_client_bed *r);

/* The next update, which is of this kind. */
hpx_update
ws_client_bed_expect(ws_client_bed *r, hpx_update_kind kind, hpx_subscription **subscription);

/* The venue says it. */
void ws_client_bed_say(ws_client_bed *r, const char *text);

void ws_client_bed_until_state(const hpx_ws_client *client, hpx_conn_state state);

/* Waits until so many are open: servers close their ends on threads of their own. */
void ws_client_bed_until_descriptors(uint32_t count);

void ws_client_bed_nap(uint64_t ns);

/* A port of 127.0.0.1 on which nobody listens; the descriptor that is returned holds it. */
int ws_client_bed_closed_port(uint16_t *port);

bool span_ends_with(hpx_span span, const char *tail);

#endif /* HPX_TESTS_WS_CLIENT_BED_H */

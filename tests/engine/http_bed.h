/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_bed.h - our HTTP server on a shard that the test turns itself, and bare sockets as clients.
 *
 * The handler does what the path says: see http_bed.c. What came back is written down with our own
 * reader, one line for each response: "200 keep hello" ("last" if
 * it is, "kept" if the server said keep-alive), then "FIN" or "RST" if the connection
 * ended.
 */
#ifndef HPX_TESTS_HTTP_BED_H
#define HPX_TESTS_HTTP_BED_H

#include <hpx/hpx.h>

#include "h1/reader.h"

#define BED_TEXT_BYTES 4096u
#define BED_KEPT_MAX   16u

typedef struct http_bed {
    hpx_engine *engine;
    hpx_shard *shard;
    hpx_http_server *server;
    uint32_t requests;                 /* seen by the handler */
    uint32_t closed;                   /* CLOSED events; of them */
    uint32_t lost;                     /* with an error, */
    hpx_error last;                    /* the last one */
    hpx_http_call *kept[BED_KEPT_MAX]; /* "/later": to be answered by the test */
    uint32_t kept_count;
    uint64_t stream_left; /* "/big" */
    uint32_t writable;    /* WRITABLE events */
    bool lenient;         /* memory may run out: answers need not succeed */
} http_bed;

/* `config` NULL: defaults, on a free port of 127.0.0.1. `allocator` NULL: the library's. */
void bed_open(http_bed *bed, const hpx_http_server_config *config);
void bed_open_with(
    http_bed *bed, const hpx_http_server_config *config, const hpx_allocator *allocator);
void bed_stop(http_bed *bed); /* every call must have been closed */

void bed_turn(http_bed *bed);
void bed_turns(http_bed *bed, uint32_t count);

/* A connection of a client; non-blocking. */
int bed_connect(const http_bed *bed);
void bed_send(http_bed *bed, int fd, const char *bytes, size_t size);

/* Reads responses (to HEAD if `head`) until `count` are complete, or the connection ends; or until
 * the connection ends, if UINT32_MAX. The log is bed_text, bodies cut to 60 bytes. */
void bed_read(http_bed *bed, int fd, uint32_t count, bool head);

/* Connects, sends, reads until the connection ends or `count` responses came, closes. */
void bed_exchange(http_bed *bed, const char *request, uint32_t count, bool head);

extern char bed_text[BED_TEXT_BYTES];
extern uint64_t bed_body_bytes; /* of all bodies of the last bed_read() */

#endif /* HPX_TESTS_HTTP_BED_H */

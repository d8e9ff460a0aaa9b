/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_bed.h - an HTTP client on a polled shard, and a server that is the test itself.
 *
 * Role      One thread does everything: the test turns the shard, and reads and writes the server's
 *           sockets by hand. So what happens in which order is what the test says.
 * Threads   One.
 */
#ifndef HPX_TESTS_HTTP_BED_H
#define HPX_TESTS_HTTP_BED_H

#include <hpx/hpx.h>

#include "tests/support/failing_allocator.h"

#define HTTP_BED_ANSWERS_MAX 512u
#define HTTP_BED_TEXT_BYTES  4096u

/* What became of one request. */
typedef struct http_answer {
    hpx_http_id id;
    uint32_t heads;
    uint32_t ends;
    int32_t status;
    char headers[HTTP_BED_TEXT_BYTES]; /* "name: value\n" each; with END of a collected one too */
    char trailers[256];
    char body[HTTP_BED_TEXT_BYTES]; /* its beginning */
    uint64_t body_bytes;
    uint64_t body_sum; /* of all bytes, position-dependent */
    hpx_http_outcome outcome;
    hpx_http_processed processed;
    hpx_error error;
    hpx_http_info info;
    bool is_late; /* an event came after END */
} http_answer;

typedef struct http_bed http_bed;

struct http_bed {
    failing_allocator memory;
    hpx_engine *engine;
    hpx_shard *shard;
    hpx_http_client *client;
    hpx_http_config config; /* edit between http_bed_prepare() and http_bed_open() */
    int listener;
    uint16_t port;
    char base[64]; /* "http://127.0.0.1:PORT" */
    uint32_t answer_count;
    http_answer answers[HTTP_BED_ANSWERS_MAX];
    void (*on_event)(http_bed *bed, const hpx_http_event *event, http_answer *answer);
    void *user;
};

void http_bed_prepare(http_bed *bed);
void http_bed_open(http_bed *bed);
void http_bed_close(http_bed *bed);

/* Sends; `request->url` may begin with "/" : then the bed's server. */
http_answer *http_bed_send(http_bed *bed, hpx_http_request *request);
http_answer *http_bed_get(http_bed *bed, const char *url);
http_answer *http_bed_post(http_bed *bed, const char *url, const char *body);

/* Turns of the shard. */
void http_bed_turn(http_bed *bed, uint32_t turns);
void http_bed_until_end(http_bed *bed, const http_answer *answer);
void http_bed_until_idle(http_bed *bed, uint64_t idle); /* connections idle in the pool */
void http_bed_until_connections(http_bed *bed, uint64_t count);

/* The server's side. accept: turns until there is a connection. read: until the text read so far
 * contains `until` (in `text`, which is emptied first); returns its size. */
int http_bed_accept(http_bed *bed);
size_t http_bed_read(http_bed *bed, int fd, const char *until, char text[HTTP_BED_TEXT_BYTES]);
void http_bed_write(http_bed *bed, int fd, const char *text);
void http_bed_write_bytes(http_bed *bed, int fd, const void *bytes, size_t size);

/* Is a connection waiting to be accepted, after some turns? */
bool http_bed_has_connection(http_bed *bed);

/* Has the client closed this connection (after turns)? Reads what is there. */
bool http_bed_is_closed(http_bed *bed, int fd);

void http_bed_stats(const http_bed *bed, hpx_http_stats *out);

#endif /* HPX_TESTS_HTTP_BED_H */

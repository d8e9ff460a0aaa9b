/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_client_bed.h - an HTTP client on a polled shard, and a server that is the test itself.
 *
 * Role      One thread does everything: the test turns the shard, and reads and writes the server's
 *           sockets by hand. So what happens in which order is what the test says.
 * Threads   One.
 */
#ifndef HPX_TESTS_HTTP_CLIENT_BED_H
#define HPX_TESTS_HTTP_CLIENT_BED_H

#include <hpx/hpx.h>

#include "tests/support/failing_allocator.h"

#define CLIENT_BED_ANSWERS_MAX 512u
#define CLIENT_BED_TEXT_BYTES  4096u

/* What became of one request. */
typedef struct http_answer {
    hpx_http_id id;
    uint32_t heads;
    uint32_t ends;
    int32_t status;
    char headers[CLIENT_BED_TEXT_BYTES]; /* "name: value\n" each; with END of a collected one too */
    char trailers[256];
    char body[CLIENT_BED_TEXT_BYTES]; /* its beginning */
    uint64_t body_bytes;
    uint64_t body_sum; /* of all bytes, position-dependent */
    hpx_http_outcome outcome;
    hpx_http_processed processed;
    hpx_error error;
    hpx_http_info info;
    bool is_late; /* an event came after END */
} http_answer;

typedef struct client_bed client_bed;

struct client_bed {
    failing_allocator memory;
    hpx_engine *engine;
    hpx_shard *shard;
    hpx_http_client *client;
    hpx_http_config config; /* edit between client_bed_prepare() and client_bed_open() */
    int listener;
    uint16_t port;
    char base[64];                    /* "http://127.0.0.1:PORT" */
    char text[CLIENT_BED_TEXT_BYTES]; /* of the last request that client_bed_serve() read */
    uint32_t answer_count;
    http_answer answers[CLIENT_BED_ANSWERS_MAX];
    void (*on_event)(client_bed *bed, const hpx_http_event *event, http_answer *answer);
    void *user;
};

void client_bed_prepare(client_bed *bed);
void client_bed_open(client_bed *bed);
void client_bed_close(client_bed *bed);

/* Sends; `request->url` may begin with "/" : then the bed's server. */
http_answer *client_bed_send(client_bed *bed, hpx_http_request *request);
http_answer *client_bed_get(client_bed *bed, const char *url);
http_answer *client_bed_post(client_bed *bed, const char *url, const char *body);

/* Turns of the shard. */
void client_bed_turn(client_bed *bed, uint32_t turns);
void client_bed_until_end(client_bed *bed, const http_answer *answer);
void client_bed_until_idle(client_bed *bed, uint64_t idle); /* connections idle in the pool */
void client_bed_until_connections(client_bed *bed, uint64_t count);

/* The server's side. accept: turns until there is a connection. read: until the text read so far
 * contains `until` (in `text`, which is emptied first); returns its size. */
int client_bed_accept(client_bed *bed);
size_t
client_bed_read(client_bed *bed, int fd, const char *until, char text[CLIENT_BED_TEXT_BYTES]);
void client_bed_write(client_bed *bed, int fd, const char *text);
void client_bed_write_bytes(client_bed *bed, int fd, const void *bytes, size_t size);

/* Is a connection waiting to be accepted, after some turns? */
bool client_bed_has_connection(client_bed *bed);

/* Has the client closed this connection (after turns)? Reads what is there. */
bool client_bed_is_closed(client_bed *bed, int fd);

/* The next connection: reads the request, writes the response, until the end. Its descriptor. */
int client_bed_serve(client_bed *bed, http_answer *answer, const char *response);

/* The same on a connection that is there. */
void client_bed_again(client_bed *bed, int fd, http_answer *answer, const char *response);

void client_bed_expect_done(const http_answer *answer, int32_t status, const char *body);
void client_bed_expect_failed(
    const http_answer *answer, hpx_status status, hpx_stage stage, hpx_http_processed processed);

void client_bed_stats(const client_bed *bed, hpx_http_stats *out);

#endif /* HPX_TESTS_HTTP_CLIENT_BED_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* bench_session.c - see bench_session.h. */
#include "bench/h2/bench_session.h"

#include <stdlib.h>

#include "h2/session.h"

#define OUT_BYTES (256u << 10)
#define NOW_NS    (1000 * HPX_NS_PER_S)

typedef struct bench_side {
    hpxi_h2 *h2;
    hpxi_buf out;
} bench_side;

struct bench_pair {
    hpx_allocator allocator;
    bench_side client;
    bench_side server;
    hpxi_h2_body answer;
    uint64_t bytes;
    uint32_t closed_count;
};

static void *bench_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void bench_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

static void side_new(bench_pair *pair, bench_side *side, const hpxi_h2_config *config)
{
    hpxi_buf_init(&side->out, &pair->allocator);
    HPX_ASSERT(hpxi_h2_new(&side->h2, config, &pair->allocator, NOW_NS) == HPX_OK);
}

bench_pair *bench_pair_new(size_t answer_bytes)
{
    bench_pair *pair = calloc(1, sizeof(*pair));
    uint8_t *answer = calloc(1, answer_bytes + 1);
    HPX_ASSERT(pair != NULL);
    HPX_ASSERT(answer != NULL);
    pair->allocator = (hpx_allocator){.alloc = bench_alloc, .free = bench_free};
    pair->answer.span = (hpx_span){answer, answer_bytes};
    hpxi_h2_config server = hpxi_h2_config_server;
    server.limits.streams_max = 256;
    hpxi_h2_config client = hpxi_h2_config_client;
    client.limits.streams_max = 256;
    side_new(pair, &pair->client, &client);
    side_new(pair, &pair->server, &server);
    return pair;
}

void bench_pair_free(bench_pair *pair)
{
    hpxi_h2_free(pair->client.h2);
    hpxi_h2_free(pair->server.h2);
    hpxi_buf_fini(&pair->client.out);
    hpxi_buf_fini(&pair->server.out);
    free((void *)(uintptr_t)pair->answer.span.data);
    free(pair);
}

static void side_take(bench_pair *pair, bench_side *side, const hpxi_h2_event *event)
{
    switch (event->kind) {
    case HPXI_H2_REQUEST: {
        static const hpxi_h2_field type = {
            .name = {(const uint8_t *)"content-type", 12},
            .value = {(const uint8_t *)"application/json", 16}};
        HPX_ASSERT(
            hpxi_h2_respond(side->h2, event->stream, 200, &type, 1, &pair->answer, NULL) == HPX_OK);
        break;
    }
    case HPXI_H2_DATA:
        pair->bytes += event->data.size;
        hpxi_h2_consume(side->h2, event->stream, event->data.size);
        break;
    case HPXI_H2_CLOSED:
        HPX_ASSERT(event->closed.status == HPX_OK);
        pair->closed_count += side == &pair->client;
        break;
    default:
        break;
    }
}

static size_t side_move(bench_pair *pair, bench_side *from, bench_side *to)
{
    HPX_ASSERT(hpxi_h2_flush(from->h2, &from->out, OUT_BYTES, NOW_NS) >= 0);
    const hpx_span span = hpxi_buf_span(&from->out);
    const uint8_t *data = span.data;
    size_t size = span.size;
    hpxi_h2_event event;
    hpx_status status;
    while ((status = hpxi_h2_next(to->h2, &data, &size, &to->out, NOW_NS, &event)) == 1) {
        side_take(pair, to, &event);
    }
    HPX_ASSERT(status == HPX_E_PARTIAL);
    hpxi_buf_consume(&from->out, span.size);
    const uint8_t *none = NULL;
    size = 0;
    while (hpxi_h2_next(from->h2, &none, &size, &from->out, NOW_NS, &event) == 1) {
        side_take(pair, from, &event);
    }
    return span.size;
}

void bench_pair_requests(bench_pair *pair, uint32_t count, uint32_t at_once)
{
    const hpxi_h2_field accept = {
        .name = {(const uint8_t *)"accept", 6}, .value = {(const uint8_t *)"application/json", 16}};
    const hpxi_h2_request_head head = {
        .method = {(const uint8_t *)"GET", 3},
        .scheme = {(const uint8_t *)"https", 5},
        .authority = {(const uint8_t *)"api.example.com", 15},
        .path = {(const uint8_t *)"/v1/book/BTC-USD", 16},
        .fields = &accept,
        .field_count = 1};
    pair->closed_count = 0;
    uint32_t opened = 0;
    while (pair->closed_count < count) {
        while (opened < count && opened - pair->closed_count < at_once &&
               hpxi_h2_can_open(pair->client.h2) != 0) {
            hpxi_h2_stream stream;
            HPX_ASSERT(
                hpxi_h2_request(pair->client.h2, &stream, &head, NULL, NULL, NULL) == HPX_OK);
            opened++;
        }
        (void)side_move(pair, &pair->client, &pair->server);
        (void)side_move(pair, &pair->server, &pair->client);
    }
}

bench_pair_info bench_pair_get_info(const bench_pair *pair)
{
    hpxi_h2_info client;
    hpxi_h2_info server;
    hpxi_h2_get_info(pair->client.h2, &client);
    hpxi_h2_get_info(pair->server.h2, &server);
    return (bench_pair_info){
        .frames = client.frames_received + server.frames_received,
        .bytes = pair->bytes,
        .allocations = client.allocations + server.allocations,
        .library_allocations = client.library_allocations + server.library_allocations};
}

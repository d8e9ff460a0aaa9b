/* SPDX-License-Identifier: Apache-2.0 */
/* bench_messages.c - see bench_messages.h. */
#include "bench/h1/bench_messages.h"

#include <stdlib.h>

#include "h1/reader.h"
#include "h1/writer.h"

struct bench_reader {
    hpx_allocator allocator;
    hpxi_h1_reader reader;
    hpxi_buf out;
};

static void *messages_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void messages_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

bench_reader *bench_reader_new(int is_server)
{
    bench_reader *bench = malloc(sizeof(*bench));
    HPX_ASSERT(bench != NULL);
    bench->allocator = (hpx_allocator){.alloc = messages_alloc, .free = messages_free};
    hpxi_h1_reader_init(
        &bench->reader,
        is_server != 0 ? HPXI_H1_ROLE_SERVER : HPXI_H1_ROLE_CLIENT,
        &HPXI_H1_LIMITS_DEFAULT,
        &bench->allocator);
    hpxi_buf_init(&bench->out, &bench->allocator);
    return bench;
}

void bench_reader_free(bench_reader *bench)
{
    hpxi_h1_reader_fini(&bench->reader);
    hpxi_buf_fini(&bench->out);
    free(bench);
}

size_t bench_reader_run(bench_reader *bench, const uint8_t *data, size_t size, size_t chunk)
{
    size_t body = 0;
    int status = HPX_E_PARTIAL;
    hpxi_h1_reader_start(&bench->reader, NULL);
    for (size_t at = 0; at < size; at += chunk) {
        const uint8_t *in = data + at;
        size_t left = size - at < chunk ? size - at : chunk;
        hpxi_h1_event event;
        while ((status = hpxi_h1_reader_next(&bench->reader, &in, &left, &event)) == 1) {
            body += event.kind == HPXI_H1_EVENT_DATA ? event.data.size : 0;
        }
        HPX_ASSERT(status == HPX_E_PARTIAL);
    }
    HPX_ASSERT(hpxi_h1_reader_is_reusable(&bench->reader));
    return body;
}

size_t bench_request_write(bench_reader *bench)
{
    const hpxi_h1_field fields[] = {
        {.name = hpx_span_of("Accept"), .value = hpx_span_of("application/json")},
        {.name = hpx_span_of("User-Agent"), .value = hpx_span_of("hpx/0.1")},
        {.name = hpx_span_of("X-Api-Key"), .value = hpx_span_of("0123456789abcdef01234567")},
        {.name = hpx_span_of("X-Api-Sign"), .value = hpx_span_of("89abcdef0123456789abcdef01")},
    };
    const hpxi_h1_request request = {
        .method = hpx_span_of("GET"),
        .target = hpx_span_of("/api/v3/depth?symbol=BTCUSDT&limit=100"),
        .host = hpx_span_of("api.example.com"),
        .fields = fields,
        .field_count = sizeof(fields) / sizeof(fields[0])};
    HPX_ASSERT(hpxi_h1_request_write(&bench->out, &request, NULL) == HPX_OK);
    const size_t bytes = hpxi_buf_size(&bench->out);
    hpxi_buf_consume(&bench->out, bytes);
    return bytes;
}

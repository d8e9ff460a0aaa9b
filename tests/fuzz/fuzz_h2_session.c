/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: for both roles, what a session tells (events, heads, whole bodies, ends, the failure)
 * does not depend on where the input is cut; exactly one CLOSED ends every stream that was made and
 * not reset; memory stays within its limit and nothing is left of it; no window is leaked.
 *
 * Byte 0: role (bit 0), limits (bit 1), size of the first cut. Byte 1: how the sizes go on, and
 * which streams the user resets. The rest is what the peer sends, after the client's preface.
 */
#include <stdlib.h>

#include "h2/session.h"

#define HASH_SEED     UINT64_C(14695981039346656037)
#define HASH_PRIME    UINT64_C(1099511628211)
#define BYTEWISE_MAX  200u /* longer inputs one byte at a time cost more than they find */
#define NOW_NS        (1000 * HPX_NS_PER_S)
#define STREAMS       16u
#define REQUESTS      4u
#define MEMORY_MAX    (2u << 20)
#define OUT_BYTES_MAX (1u << 20)

typedef struct outcome {
    hpx_status status;
    uint32_t code;
    uint64_t events;
    uint64_t made;   /* streams */
    uint64_t closed; /* by CLOSED */
    uint64_t reset;  /* by us */
    uint64_t hash;
} outcome;

typedef struct bed {
    hpxi_h2 *h2;
    hpxi_buf out;
    hpx_allocator allocator;
    outcome o;
    uint8_t resets;           /* bits: which of eight kinds of event */
    uint64_t bodies[STREAMS]; /* hashes, by slot */
} bed;

static size_t held_bytes;

static void *fuzz_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    held_bytes += size;
    align = align < sizeof(void *) ? sizeof(void *) : align;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void fuzz_free(void *block, size_t size, void *ctx)
{
    (void)ctx;
    held_bytes -= size;
    free(block);
}

static void mix(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * HASH_PRIME;
}

static void mix_span(uint64_t *hash, hpx_span span)
{
    mix(hash, span.size);
    for (size_t i = 0; i < span.size; i++) {
        mix(hash, span.data[i]);
    }
}

static void mix_head(uint64_t *hash, const hpxi_h2_event *event)
{
    mix(hash, event->head.status);
    mix_span(hash, event->head.method);
    mix_span(hash, event->head.scheme);
    mix_span(hash, event->head.authority);
    mix_span(hash, event->head.path);
    for (uint32_t i = 0; i < event->head.field_count; i++) {
        mix_span(hash, event->head.fields[i].name);
        mix_span(hash, event->head.fields[i].value);
        mix(hash, event->head.fields[i].is_sensitive);
    }
}

static void bed_mix(bed *b, const hpxi_h2_event *event, uint32_t slot)
{
    uint64_t *hash = &b->o.hash;
    if (event->kind == HPXI_H2_DATA) {
        for (size_t i = 0; i < event->data.size; i++) {
            mix(&b->bodies[slot], event->data.data[i]);
        }
        return; /* bodies count when they are whole: their pieces depend on the cuts */
    }
    b->o.events++;
    mix(hash, event->kind);
    mix(hash, hpxi_h2_stream_id(b->h2, event->stream));
    switch (event->kind) {
    case HPXI_H2_INFORMATIONAL:
    case HPXI_H2_RESPONSE:
    case HPXI_H2_REQUEST:
    case HPXI_H2_TRAILERS:
        mix_head(hash, event);
        break;
    case HPXI_H2_END:
        mix(hash, b->bodies[slot]);
        break;
    case HPXI_H2_CLOSED:
        mix(hash, (uint64_t)event->closed.status);
        mix(hash, event->closed.code);
        mix(hash, event->closed.processed);
        mix(hash, event->closed.by_peer);
        break;
    case HPXI_H2_SETTINGS:
        mix(hash, event->settings.streams_max);
        mix(hash, event->settings.window_bytes);
        break;
    case HPXI_H2_GOAWAY:
        mix(hash, event->goaway.last_stream_id);
        mix(hash, event->goaway.code);
        mix_span(hash, event->goaway.debug_data);
        break;
    default:
        break;
    }
}

static void bed_take(bed *b, const hpxi_h2_event *event)
{
    const uint32_t slot = (uint32_t)event->stream % STREAMS;
    if (event->kind == HPXI_H2_REQUEST) {
        b->o.made++;
        b->bodies[slot] = HASH_SEED;
    }
    bed_mix(b, event, slot);
    if (event->kind == HPXI_H2_CLOSED) {
        b->o.closed++;
        b->bodies[slot] = HASH_SEED;
        return;
    }
    if (event->kind == HPXI_H2_DATA) {
        hpxi_h2_consume(b->h2, event->stream, event->data.size - event->data.size / 4);
    } else if (event->stream != HPXI_H2_NO_STREAM && (b->resets >> event->kind & 1) != 0) {
        HPX_ASSERT(hpxi_h2_reset(b->h2, event->stream, HPXI_H2_CANCEL, NULL) == HPX_OK);
        b->o.reset++;
        b->bodies[slot] = HASH_SEED;
    } else if (event->kind == HPXI_H2_REQUEST) {
        const hpxi_h2_body body = {.span = {(const uint8_t *)"hello", 5}};
        (void)hpxi_h2_respond(b->h2, event->stream, 200, NULL, 0, &body, NULL);
    }
}

/* One piece, in a block of exactly its size. */
static void bed_feed(bed *b, const uint8_t *data, size_t size)
{
    uint8_t *const block = malloc(size == 0 ? 1 : size);
    HPX_ASSERT(block != NULL);
    if (size != 0) {
        memcpy(block, data, size);
    }
    const uint8_t *at = block;
    hpxi_h2_event event;
    while ((b->o.status = hpxi_h2_next(b->h2, &at, &size, &b->out, NOW_NS, &event)) == 1) {
        bed_take(b, &event);
    }
    HPX_ASSERT(size == 0);
    HPX_ASSERT(held_bytes <= MEMORY_MAX + OUT_BYTES_MAX);
    free(block);
}

static void bed_request(bed *b, const char *method, hpx_span body_span)
{
    const hpxi_h2_request_head head = {
        .method = hpx_span_of(method),
        .scheme = hpx_span_of("https"),
        .authority = hpx_span_of("a"),
        .path = hpx_span_of("/")};
    const hpxi_h2_body body = {.span = body_span};
    hpxi_h2_stream stream;
    HPX_ASSERT(hpxi_h2_request(b->h2, &stream, &head, &body, NULL, NULL) == HPX_OK);
    b->o.made++;
}

static void bed_start(bed *b, bool is_server, bool tight)
{
    static const uint8_t big[100000];
    hpxi_h2_config config = is_server ? hpxi_h2_config_server : hpxi_h2_config_client;
    config.limits.streams_max = STREAMS;
    config.limits.memory_bytes_max = MEMORY_MAX;
    if (tight) {
        config.limits.header_list_bytes_max = 512;
        config.limits.fields_max = 6;
        config.limits.informational_max = 1;
        config.limits.overhead.burst = 10;
        config.limits.pings.burst = 4;
        config.limits.resets_sent.burst = 2;
    }
    b->allocator = (hpx_allocator){.alloc = fuzz_alloc, .free = fuzz_free};
    hpxi_buf_init(&b->out, &b->allocator);
    HPX_ASSERT(hpxi_h2_new(&b->h2, &config, &b->allocator, NOW_NS) == HPX_OK);
    if (is_server) {
        bed_feed(b, (const uint8_t *)"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        return;
    }
    bed_request(b, "GET", (hpx_span){0});
    bed_request(b, "POST", (hpx_span){big, sizeof(big)});
    bed_request(b, "HEAD", (hpx_span){0});
    HPX_ASSERT(hpxi_h2_flush(b->h2, &b->out, OUT_BYTES_MAX, NOW_NS) == 0);
    bed_request(b, "GET", (hpx_span){0}); /* unwritten */
}

static void bed_finish(bed *b)
{
    if (b->o.status == HPX_E_PARTIAL) {
        (void)hpxi_h2_flush(b->h2, &b->out, OUT_BYTES_MAX, NOW_NS);
        bed_feed(b, NULL, 0);
        hpxi_h2_info info;
        hpxi_h2_get_info(b->h2, &info);
        HPX_ASSERT(info.window_connection_bytes >= 0);
        hpxi_h2_eof(b->h2);
        bed_feed(b, NULL, 0);
    }
    HPX_ASSERT(b->o.status < 0 && b->o.status != HPX_E_PARTIAL);
    HPX_ASSERT(b->o.made == b->o.closed + b->o.reset);
    b->o.code = hpxi_h2_failure(b->h2).code;
    hpxi_h2_free(b->h2);
    hpxi_buf_fini(&b->out);
    HPX_ASSERT(held_bytes == 0);
}

/* `first` 0: in one piece. */
static outcome run(const uint8_t *data, size_t size, size_t first, uint8_t step)
{
    bed b = {.o = {.hash = HASH_SEED}, .resets = data[1]};
    bed_start(&b, (data[0] & 1) != 0, (data[0] & 2) != 0);
    size_t piece = first == 0 ? size : first;
    b.o.status = HPX_E_PARTIAL;
    for (size_t at = 2; at < size && b.o.status == HPX_E_PARTIAL;) {
        const size_t take = size - at < piece ? size - at : piece;
        bed_feed(&b, data + at, take);
        at += take;
        piece = first == 0 ? size : 1 + (piece * 5 + step) % (1u + step);
    }
    bed_finish(&b);
    return b.o;
}

static void check_same(const outcome *a, const outcome *b)
{
    HPX_ASSERT(a->status == b->status);
    HPX_ASSERT(a->code == b->code);
    HPX_ASSERT(a->events == b->events);
    HPX_ASSERT(a->made == b->made);
    HPX_ASSERT(a->reset == b->reset);
    HPX_ASSERT(a->hash == b->hash);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    const outcome whole = run(data, size, 0, 0);
    const outcome cut = run(data, size, 1 + (data[0] >> 2), data[1]);
    check_same(&whole, &cut);
    if (size <= BYTEWISE_MAX) {
        const outcome bytes = run(data, size, 1, 0);
        check_same(&whole, &bytes);
    }
    return 0;
}

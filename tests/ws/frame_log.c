/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/ws/frame_log.h"

#include <stdio.h>
#include <stdlib.h>

#define FRAME_LOG_HEAD_BYTES (1 + sizeof(uint16_t) + sizeof(size_t))

static void *log_alloc(size_t size, size_t align, void *ctx)
{
    (void)ctx;
    return aligned_alloc(align, (size + align - 1) / align * align);
}

static void log_free(void *block, size_t size, void *ctx)
{
    (void)size;
    (void)ctx;
    free(block);
}

const hpx_allocator frame_log_allocator = {.alloc = log_alloc, .free = log_free};

uint64_t frame_log_random(uint64_t *seed)
{
    HPX_ASSERT(*seed != 0);
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static void log_append(frame_log *log, const void *bytes, size_t size)
{
    if (log->capacity - log->size < size) {
        log->capacity = (log->size + size) * 2;
        log->bytes = realloc(log->bytes, log->capacity);
        HPX_ASSERT(log->bytes != NULL);
    }
    if (size != 0) {
        memcpy(log->bytes + log->size, bytes, size);
        log->size += size;
    }
}

void frame_log_add(
    frame_log *log, hpxi_ws_op op, uint16_t close_code, const uint8_t *data, size_t size)
{
    const uint8_t op_byte = (uint8_t)op;
    log_append(log, &op_byte, 1);
    log_append(log, &close_code, sizeof(close_code));
    log_append(log, &size, sizeof(size));
    log_append(log, data, size);
    log->event_count++;
}

static size_t log_piece(frame_cut *cut, size_t left)
{
    size_t piece = cut->chunk;
    if (cut->seed != 0) {
        const uint64_t dice = frame_log_random(&cut->seed);
        const uint32_t bits = (uint32_t)(dice >> 32) % 18;
        piece = 1 + (size_t)(dice & ((UINT64_C(1) << bits) - 1));
    } else if (piece == 0) {
        piece = cut->split == 0 ? left : cut->split;
        cut->split = 0;
    }
    return piece < left ? piece : left;
}

void frame_log_decode(
    frame_log *log, hpxi_ws_decoder *decoder, const uint8_t *bytes, size_t size, frame_cut cut)
{
    log->status = HPX_E_PARTIAL;
    for (size_t at = 0; at < size && log->status == HPX_E_PARTIAL;) {
        const size_t piece = log_piece(&cut, size - at);
        uint8_t *const block = malloc(piece);
        HPX_ASSERT(block != NULL);
        memcpy(block, bytes + at, piece);
        at += piece;

        uint8_t *in = block;
        size_t left = piece;
        hpxi_ws_message message;
        while ((log->status = hpxi_ws_decoder_next(decoder, &in, &left, &message)) == 1) {
            HPX_ASSERT(message.data != NULL || message.size == 0);
            frame_log_add(log, message.op, message.close_code, message.data, message.size);
            HPX_ASSERT(hpxi_ws_decoder_is_valid(decoder));
        }
        HPX_ASSERT(left == 0);
        HPX_ASSERT(in == block + piece);
        HPX_ASSERT(hpxi_ws_decoder_is_valid(decoder));
        memset(block, 0xDD, piece);
        free(block);
        log->consumed = at;
    }
    log->failure_code = decoder->failure_code;
    log->detail = decoder->failure_detail;
}

void frame_log_decode_alone(
    frame_log *log,
    hpxi_ws_role role,
    const hpxi_ws_limits *limits,
    const uint8_t *bytes,
    size_t size,
    frame_cut cut)
{
    hpxi_ws_decoder decoder;
    hpxi_ws_decoder_init(&decoder, role, limits, &frame_log_allocator);
    frame_log_decode(log, &decoder, bytes, size, cut);
    hpxi_ws_decoder_fini(&decoder);
}

void frame_log_free(frame_log *log)
{
    free(log->bytes);
    *log = (frame_log){0};
}

bool frame_log_is_equal(const frame_log *a, const frame_log *b)
{
    return a->status == b->status && a->failure_code == b->failure_code &&
           a->event_count == b->event_count && a->detail == b->detail && a->size == b->size &&
           (a->size == 0 || memcmp(a->bytes, b->bytes, a->size) == 0);
}

static const char *log_op_name(uint8_t op)
{
    switch ((hpxi_ws_op)op) {
    case HPXI_WS_TEXT:
        return "text";
    case HPXI_WS_BINARY:
        return "binary";
    case HPXI_WS_CLOSE:
        return "close";
    case HPXI_WS_PING:
        return "ping";
    case HPXI_WS_PONG:
        return "pong";
    case HPXI_WS_CONTINUATION:
        break;
    }
    return "?";
}

/* snprintf() at *at, which advances. */
#define LOG_PRINT(...)                                                                             \
    do {                                                                                           \
        *at += (size_t)snprintf(line + *at, line_bytes - *at, __VA_ARGS__);                        \
        HPX_ASSERT(*at < line_bytes);                                                              \
    } while (0)

static void log_render_event(char *line, size_t line_bytes, size_t *at, const uint8_t *event)
{
    uint16_t code;
    size_t size;
    memcpy(&code, event + 1, sizeof(code));
    memcpy(&size, event + 1 + sizeof(code), sizeof(size));
    const uint8_t *payload = event + FRAME_LOG_HEAD_BYTES;
    LOG_PRINT("%s%s", *at == 0 ? "" : " ", log_op_name(event[0]));
    if (size > 40) {
        LOG_PRINT("[%zu]", size);
        return;
    }
    LOG_PRINT("(");
    if (event[0] == HPXI_WS_CLOSE) {
        LOG_PRINT("%u%s", code, size == 0 ? "" : ",");
    }
    for (size_t i = 0; i < size; i++) {
        const bool plain = payload[i] >= 0x20 && payload[i] < 0x7F;
        LOG_PRINT(plain ? "%c" : "\\x%02X", payload[i]);
    }
    LOG_PRINT(")");
}

void frame_log_render(const frame_log *log, char *line, size_t line_bytes)
{
    size_t written = 0;
    size_t *const at = &written;
    line[0] = '\0';
    for (size_t event = 0; event < log->size;) {
        log_render_event(line, line_bytes, at, log->bytes + event);
        size_t size;
        memcpy(&size, log->bytes + event + 1 + sizeof(uint16_t), sizeof(size));
        event += FRAME_LOG_HEAD_BYTES + size;
    }
    if (log->status != HPX_E_PARTIAL) {
        LOG_PRINT("%s!%u", written == 0 ? "" : " ", log->failure_code);
    }
}

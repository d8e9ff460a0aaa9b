/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol.c - writers, and what the dialects of the library have in common.
 *
 * Threads   Any; the one state is a thread's own memory for text that had escapes.
 */
#include "engine/protocol.h"

#include <stdio.h>
#include <string.h>

#include "engine/allocator.h"
#include "engine/error.h"
#include "ring/alloc.h"

const char *hpx_message_class_name(hpx_message_class message_class)
{
    switch (message_class) {
    case HPX_CLASS_UNKNOWN:
        return "unknown";
    case HPX_CLASS_RESPONSE:
        return "response";
    case HPX_CLASS_UPDATE:
        return "update";
    case HPX_CLASS_SYSTEM:
        return "system";
    case HPX_CLASS_CONTROL:
        return "control";
    }
    return "unknown";
}

void hpx_writer_u64(hpx_writer *writer, uint64_t value)
{
    char digits[20]; /* 2^64 - 1 */
    size_t at = sizeof(digits);
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    hpx_writer_bytes(writer, digits + at, sizeof(digits) - at);
}

static void writer_escape(hpx_writer *writer, uint8_t byte)
{
    static const char hex[] = "0123456789abcdef";
    static const char plain[] = "\"\\\b\f\n\r\t";
    static const char named[] = "\"\\bfnrt";
    const char *found = byte == 0 ? NULL : strchr(plain, byte);
    if (found != NULL) {
        hpx_writer_bytes(writer, (const char[]){'\\', named[found - plain]}, 2);
        return;
    }
    const char escape[] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 0xF]};
    hpx_writer_bytes(writer, escape, sizeof(escape));
}

void hpx_writer_json_string(hpx_writer *writer, hpx_span text)
{
    hpx_writer_bytes(writer, "\"", 1);
    size_t written = 0;
    for (size_t i = 0; i < text.size; i++) {
        const uint8_t byte = text.data[i];
        if (byte < 0x20 || byte == '"' || byte == '\\') {
            hpx_writer_bytes(writer, text.data + written, i - written);
            writer_escape(writer, byte);
            written = i + 1;
        }
    }
    if (text.size != written) {
        hpx_writer_bytes(writer, text.data + written, text.size - written);
    }
    hpx_writer_bytes(writer, "\"", 1);
}

void *hpxi_dialect_alloc(size_t bytes, const hpx_allocator *allocator)
{
    HPX_ASSERT(bytes >= sizeof(hpxi_dialect));
    const hpx_allocator from = allocator != NULL ? *allocator : hpxi_allocator_own();
    hpxi_dialect *dialect = hpxi_alloc_zero(&from, bytes, _Alignof(max_align_t));
    if (dialect == NULL) {
        return NULL;
    }
    dialect->bytes = bytes;
    dialect->allocator = from;
    atomic_init(&dialect->references, 1);
    dialect->table = (hpx_protocol)HPX_PROTOCOL_INIT;
    dialect->table.ctx = dialect;
    dialect->table.retain = hpxi_dialect_retain;
    dialect->table.release = hpxi_dialect_release;
    return dialect;
}

void hpxi_dialect_retain(void *ctx)
{
    hpxi_dialect *dialect = ctx;
    const uint32_t before =
        atomic_fetch_add_explicit(&dialect->references, 1, memory_order_relaxed);
    HPX_ASSERT(before != 0);
    HPX_ASSERT(before != UINT32_MAX);
}

void hpxi_dialect_release(void *ctx)
{
    hpxi_dialect *dialect = ctx;
    /* acq_rel: what any holder did comes before the memory goes back. */
    const uint32_t before =
        atomic_fetch_sub_explicit(&dialect->references, 1, memory_order_acq_rel);
    HPX_ASSERT(before != 0);
    if (before == 1) {
        const hpx_allocator allocator = dialect->allocator;
        hpxi_free(&allocator, dialect, dialect->bytes);
    }
}

void hpx_protocol_free(hpx_protocol *protocol)
{
    if (protocol != NULL && protocol->release != NULL) {
        protocol->release(protocol->ctx);
    }
}

const char *hpxi_text_copy(char **at, const char *text)
{
    if (text == NULL) {
        return NULL;
    }
    const size_t bytes = strlen(text) + 1;
    char *copy = memcpy(*at, text, bytes);
    *at += bytes;
    return copy;
}

size_t hpxi_text_bytes(const char *text)
{
    return text == NULL ? 0 : strlen(text) + 1;
}

hpx_status hpxi_config_fail(hpx_error *error, const char *member, const char *what)
{
    return hpxi_error_set(error, HPX_E_INVALID, HPX_STAGE_CONFIG, "%s: %s", member, what);
}

hpx_status hpxi_on_connect_check(const char *const *texts, uint32_t count, hpx_error *error)
{
    if (count > HPXI_ON_CONNECT_MAX) {
        return hpxi_config_fail(error, "on_connect_count", "more than 16");
    }
    if (count != 0 && texts == NULL) {
        return hpxi_config_fail(error, "on_connect", "NULL, but on_connect_count is not 0");
    }
    for (uint32_t i = 0; i < count; i++) {
        if (texts[i] == NULL) {
            return hpxi_config_fail(error, "on_connect", "one of the messages is NULL");
        }
    }
    return HPX_OK;
}

hpx_span hpxi_value_span(hpxi_json_value value, hpxi_scratch scratch)
{
    static _Thread_local uint8_t text[HPXI_SCRATCH_COUNT][HPXI_SCRATCH_BYTES];
    HPX_ASSERT(scratch < HPXI_SCRATCH_COUNT);
    if (value.kind <= HPXI_JSON_NULL) {
        return (hpx_span){0};
    }
    if (HPXI_UNLIKELY(value.escaped)) {
        const size_t size = hpxi_json_unescape(value, text[scratch], HPXI_SCRATCH_BYTES);
        if (size != SIZE_MAX) {
            return (hpx_span){.data = text[scratch], .size = size};
        }
    }
    return (hpx_span){.data = value.data, .size = value.size};
}

hpx_request_id hpxi_value_id(hpxi_json_value value, bool digits)
{
    hpx_request_id id = {.kind = HPX_ID_NONE};
    if (value.kind == HPXI_JSON_NUMBER && hpxi_json_to_u64(value, &id.number)) {
        id.kind = HPX_ID_NUMBER;
    } else if (value.kind == HPXI_JSON_STRING) {
        const hpx_span text = hpxi_value_span(value, HPXI_SCRATCH_ID);
        if (digits && hpxi_json_digits_to_u64(text, &id.number)) {
            id.kind = HPX_ID_NUMBER;
        } else if (text.size <= HPX_REQUEST_ID_BYTES) {
            id.kind = HPX_ID_TEXT;
            id.text = text;
        }
    }
    return id;
}

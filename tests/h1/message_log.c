/* SPDX-License-Identifier: Apache-2.0 */
/* message_log.c - see message_log.h. */
#include "tests/h1/message_log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/quote.h"

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

static const hpx_allocator log_allocator = {.alloc = log_alloc, .free = log_free};

__attribute__((format(printf, 2, 3))) static void log_add(message_log *log, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int bytes =
        vsnprintf(log->text + log->bytes, sizeof(log->text) - log->bytes, format, args);
    va_end(args);
    HPX_ASSERT(bytes >= 0);
    log->bytes += (size_t)bytes;
    if (log->bytes >= sizeof(log->text)) {
        log->bytes = sizeof(log->text) - 1; /* a long body: its front is compared */
    }
}

static void log_span(message_log *log, hpx_span text)
{
    for (size_t i = 0; i < text.size; i++) { /* byte by byte: it may hold a NUL */
        if (text.data[i] == 0) {
            log_add(log, "\\0");
        } else if (log->bytes + 1 < sizeof(log->text)) {
            log->text[log->bytes++] = (char)text.data[i];
        }
    }
}

static void log_fields(message_log *log, const hpxi_h1_field *fields, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        log_add(log, " ");
        log_span(log, fields[i].name);
        log_add(log, "=");
        log_span(log, fields[i].value);
    }
}

static void log_body_end(message_log *log)
{
    if (log->in_body) {
        log_add(log, "\"\n");
        log->in_body = false;
    }
}

static void log_head(message_log *log, const log_plan *plan, const hpxi_h1_event *event)
{
    static const char *const framings[] = {"none", "len", "chunked", "close", "tunnel"};
    const hpxi_h1_head *head = event->head;
    log_add(log, event->kind == HPXI_H1_EVENT_INTERIM ? "I" : "H");
    if (plan->role == HPXI_H1_ROLE_CLIENT) {
        log_add(log, "%u", head->status);
        if (head->reason.size != 0) {
            log_add(log, "(");
            log_span(log, head->reason);
            log_add(log, ")");
        }
    } else {
        log_span(log, head->method);
        log_add(log, " ");
        log_span(log, head->target);
    }
    if (event->kind == HPXI_H1_EVENT_HEAD) {
        log_add(log, " %s", framings[head->framing]);
        if (head->framing == HPXI_H1_LENGTH) {
            log_add(log, "%llu", (unsigned long long)head->body_bytes);
        }
        log_add(log, head->keep_alive ? " keep" : " last");
        log_add(log, head->expects_continue ? " expect" : "");
    }
    log_fields(log, head->fields, head->field_count);
    log_add(log, "\n");
}

static void log_event(message_log *log, const log_plan *plan, const hpxi_h1_event *event)
{
    if (event->kind != HPXI_H1_EVENT_DATA) {
        log_body_end(log);
    }
    switch (event->kind) {
    case HPXI_H1_EVENT_INTERIM:
    case HPXI_H1_EVENT_HEAD:
        log_head(log, plan, event);
        break;
    case HPXI_H1_EVENT_DATA:
        HPX_ASSERT(event->data.size != 0);
        log_add(log, log->in_body ? "" : "D\"");
        log->in_body = true;
        log_span(log, event->data);
        break;
    case HPXI_H1_EVENT_END:
        log_add(log, "E");
        log_fields(log, event->trailers, event->trailer_count);
        log_add(log, "\n");
        log->message_count++;
        break;
    }
}

/* Details are one printable line. */
static void log_check_detail(const hpx_error *error)
{
    const size_t bytes = strnlen(error->detail, sizeof(error->detail));
    HPX_ASSERT(bytes >= 1 && bytes < sizeof(error->detail));
    for (size_t i = 0; i < bytes; i++) {
        HPX_ASSERT(error->detail[i] >= 0x20 && error->detail[i] < 0x7F);
    }
}

/* Reads one piece; false when there is no use in another. A server goes on with the next request.
 */
static bool log_piece(
    message_log *log,
    const log_plan *plan,
    hpxi_h1_reader *reader,
    const uint8_t *bytes,
    size_t size)
{
    const uint8_t *data = bytes;
    hpxi_h1_event event;
    while ((log->status = hpxi_h1_reader_next(reader, &data, &size, &event)) == 1) {
        log_event(log, plan, &event);
        if (event.kind == HPXI_H1_EVENT_END && plan->role == HPXI_H1_ROLE_SERVER &&
            hpxi_h1_reader_is_reusable(reader)) {
            hpxi_h1_reader_start(reader, NULL);
        }
    }
    return log->status == HPX_E_PARTIAL;
}

static void log_finish(message_log *log, const log_plan *plan, hpxi_h1_reader *reader)
{
    hpxi_h1_event event;
    if (log->status == HPX_E_PARTIAL && plan->close != LOG_CLOSE_NONE) {
        log->status = hpxi_h1_reader_close(reader, plan->close == LOG_CLOSE_CLEAN, &event);
        if (log->status == 1) {
            log_event(log, plan, &event);
            log->status = 0;
        }
    }
    log->reusable = hpxi_h1_reader_is_reusable(reader);
    log_body_end(log);
    if (log->status == HPX_E_PARTIAL) {
        const bool waits = reader->state != HPXI_H1_STATE_IDLE && reader->message_bytes != 0;
        log_add(log, waits ? "M\n" : "");
        return;
    }
    if (log->status == 0) {
        log_add(log, reader->state == HPXI_H1_STATE_TUNNEL ? "T\n" : "");
        return;
    }
    log->refusal = reader->refusal;
    HPX_ASSERT(reader->error.status == log->status);
    log_check_detail(&reader->error);
    log_add(log, "!%d %s\n", log->status, reader->error.detail);
    const uint8_t *more = (const uint8_t *)"x";
    size_t size = 1;
    HPX_ASSERT(hpxi_h1_reader_next(reader, &more, &size, &event) == log->status);
    HPX_ASSERT(hpxi_h1_reader_close(reader, true, &event) == log->status);
}

void log_read(
    message_log *log,
    const log_plan *plan,
    const uint8_t *bytes,
    size_t size,
    size_t first,
    size_t piece)
{
    hpxi_h1_reader reader;
    *log = (message_log){.status = HPX_E_PARTIAL};
    hpxi_h1_reader_init(
        &reader,
        plan->role,
        &plan->limits,
        plan->allocator == NULL ? &log_allocator : plan->allocator);
    hpxi_h1_reader_start(&reader, plan->role == HPXI_H1_ROLE_CLIENT ? &plan->exchange : NULL);
    size_t want = first == 0 ? piece : first;
    for (size_t at = 0; at < size;) {
        const size_t some = size - at < want ? size - at : want;
        uint8_t *copy = malloc(some);
        HPX_ASSERT(copy != NULL);
        memcpy(copy, bytes + at, some);
        const bool more = log_piece(log, plan, &reader, copy, some);
        free(copy);
        if (!more) {
            break;
        }
        at += some;
        want = piece;
    }
    log_finish(log, plan, &reader);
    hpxi_h1_reader_fini(&reader);
}

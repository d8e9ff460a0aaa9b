/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: what the server's reader says about a stream of requests does not depend on where the
 * input is cut. A head that it accepts, our writer writes (without the fields that are its own),
 * and our reader reads back as the same method, target, host and fields. What the writer refuses,
 * it does not write.
 *
 * Byte 0: tight limits (bit 0), how the stream ends (bits 1, 2). Byte 1: size of the pieces.
 * Byte 2: size of the first one.
 */
#include "h1/writer.h"
#include "tests/h1/message_log.c"

#define FUZZ_FIELDS_MAX 128u

static bool same(hpx_span a, hpx_span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

static bool is_own(hpx_span name)
{
    static const char *const names[] = {
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Connection",
        "Upgrade",
        "TE",
        "Trailer",
        "Expect"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (hpxi_h1_span_has(name, names[i])) {
            return true;
        }
    }
    return false;
}

static void check_read_back(const hpxi_buf *bytes, const hpxi_h1_request *request)
{
    hpxi_h1_reader reader;
    hpxi_h1_event event;
    hpxi_h1_reader_init(&reader, HPXI_H1_ROLE_SERVER, &HPXI_H1_LIMITS_DEFAULT, bytes->allocator);
    hpxi_h1_reader_start(&reader, NULL);
    const uint8_t *data = bytes->data;
    size_t size = bytes->tail;
    HPX_ASSERT(hpxi_h1_reader_next(&reader, &data, &size, &event) == 1);
    const hpxi_h1_head *head = event.head;
    HPX_ASSERT(same(head->method, request->method) && same(head->target, request->target));
    HPX_ASSERT(same(head->host, request->host));
    HPX_ASSERT(head->field_count >= request->field_count + 1);
    const uint32_t skip = head->field_count - (uint32_t)request->field_count;
    HPX_ASSERT(hpxi_h1_span_is(head->fields[0].name, "Host"));
    for (uint32_t i = 0; i < request->field_count; i++) {
        HPX_ASSERT(same(head->fields[skip + i].name, request->fields[i].name));
        HPX_ASSERT(same(head->fields[skip + i].value, request->fields[i].value));
    }
    hpxi_h1_reader_fini(&reader);
}

/* Writes the head again, and reads that. */
static void round_trip(const hpxi_h1_head *head)
{
    hpxi_h1_field fields[FUZZ_FIELDS_MAX];
    size_t count = 0;
    for (uint32_t i = 0; i < head->field_count && count < FUZZ_FIELDS_MAX - 4; i++) {
        if (!is_own(head->fields[i].name)) {
            fields[count++] = head->fields[i];
        }
    }
    const bool bodiless =
        hpxi_h1_span_is(head->method, "CONNECT") || hpxi_h1_span_is(head->method, "TRACE");
    const hpxi_h1_request request = {
        .method = head->method,
        .target = head->target,
        .host = head->host.size == 0 ? hpx_span_of("x") : head->host,
        .fields = fields,
        .field_count = count,
        .body = bodiless                           ? HPXI_H1_BODY_NONE
                : head->framing == HPXI_H1_CHUNKED ? HPXI_H1_BODY_CHUNKED
                : head->framing == HPXI_H1_LENGTH  ? HPXI_H1_BODY_LENGTH
                                                   : HPXI_H1_BODY_NONE,
        .body_bytes = head->framing == HPXI_H1_LENGTH && !bodiless ? head->body_bytes : 0,
        .close = !head->keep_alive};
    hpxi_buf out;
    hpxi_buf_init(&out, &log_allocator);
    HPX_ASSERT(hpxi_h1_request_write(&out, &request, NULL) == HPX_OK);
    if (out.tail < HPXI_H1_LIMITS_DEFAULT.head_bytes_max) {
        check_read_back(&out, &request);
    }
    hpxi_buf_fini(&out);
}

static void check_first_head(const uint8_t *bytes, size_t size)
{
    hpxi_h1_reader reader;
    hpxi_h1_event event;
    hpxi_h1_reader_init(&reader, HPXI_H1_ROLE_SERVER, &HPXI_H1_LIMITS_DEFAULT, &log_allocator);
    hpxi_h1_reader_start(&reader, NULL);
    if (hpxi_h1_reader_next(&reader, &bytes, &size, &event) == 1) {
        round_trip(event.head);
    }
    hpxi_h1_reader_fini(&reader);
}

/* The input as the parts of a request: refused, or read back as it was. */
static void check_raw(const uint8_t *bytes, size_t size)
{
    const size_t part = size / 4;
    const hpxi_h1_field field = {
        .name = {.data = bytes + part, .size = part},
        .value = {.data = bytes + 2 * part, .size = part}};
    const hpxi_h1_request request = {
        .method = hpx_span_of("GET"),
        .target = {.data = bytes, .size = part},
        .host = {.data = bytes + 3 * part, .size = part},
        .fields = &field,
        .field_count = 1};
    hpxi_buf out;
    hpxi_buf_init(&out, &log_allocator);
    const hpx_status status = hpxi_h1_request_write(&out, &request, NULL);
    HPX_ASSERT(status == HPX_OK || out.tail == 0);
    if (status == HPX_OK && out.tail < HPXI_H1_LIMITS_DEFAULT.head_bytes_max) {
        check_read_back(&out, &request);
    }
    hpxi_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    log_plan plan = {
        .role = HPXI_H1_ROLE_SERVER,
        .limits = HPXI_H1_LIMITS_DEFAULT,
        .close = (data[0] >> 1 & 3) == 1   ? LOG_CLOSE_CLEAN
                 : (data[0] >> 1 & 3) == 2 ? LOG_CLOSE_CUT
                                           : LOG_CLOSE_NONE};
    if ((data[0] & 1) != 0) {
        plan.limits = (hpxi_h1_limits){
            .head_bytes_max = 64,
            .fields_max = 2,
            .extension_bytes_max = 6,
            .trailer_bytes_max = 20};
    }
    static message_log whole;
    static message_log cut;
    log_read(&whole, &plan, data + 3, size - 3, 0, size);
    log_read(&cut, &plan, data + 3, size - 3, data[2], 1 + (size_t)data[1]);
    HPX_ASSERT(strcmp(whole.text, cut.text) == 0);
    HPX_ASSERT(whole.status == cut.status && whole.refusal == cut.refusal);
    HPX_ASSERT(whole.message_count == cut.message_count);
    HPX_ASSERT(whole.reusable == cut.reusable);
    check_first_head(data + 3, size - 3);
    check_raw(data + 3, size - 3);
    return 0;
}

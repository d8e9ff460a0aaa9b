/* SPDX-License-Identifier: Apache-2.0 */
/* dialect_bed.c - asking a dialect the driver's questions, in words. */
#include "tests/engine/dialect_bed.h"

#include <stdio.h>

#include "tests/support/test.h"

#define BED_TOPICS_MAX 64

static char bed_line[8192];

static void bed_add(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void bed_add(const char *format, ...)
{
    const size_t used = strlen(bed_line);
    va_list args;
    va_start(args, format);
    const int size = vsnprintf(bed_line + used, sizeof(bed_line) - used, format, args);
    va_end(args);
    assert_true(size >= 0 && (size_t)size < sizeof(bed_line) - used);
}

static void bed_add_meanings(uint32_t meaning)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
        {HPX_MEANS_ERROR, "error"},
        {HPX_MEANS_AUTH_OK, "auth-ok"},
        {HPX_MEANS_AUTH_FAILED, "auth-failed"},
        {HPX_MEANS_SUBSCRIBED, "subscribed"},
        {HPX_MEANS_UNSUBSCRIBED, "unsubscribed"},
        {HPX_MEANS_REFUSED, "refused"},
        {HPX_MEANS_PING, "ping"},
        {HPX_MEANS_PONG, "pong"},
        {HPX_MEANS_RECONNECT, "reconnect"},
    };
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if ((meaning & names[i].bit) != 0) {
            bed_add(" %s", names[i].name);
            meaning &= ~names[i].bit;
        }
    }
    assert_int_equal(meaning, 0);
}

const char *bed_classify(const hpx_protocol *protocol, const char *text, size_t size)
{
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, text, size);
    hpx_classified said = {0};
    protocol->classify(protocol->ctx, (hpx_span){.data = copy, .size = size}, &said);
    bed_line[0] = '\0';
    bed_add("%s", hpx_message_class_name(said.message_class));
    if (said.message_class == HPX_CLASS_RESPONSE) {
        if (said.id.kind == HPX_ID_NUMBER) {
            bed_add(" %llu", (unsigned long long)said.id.number);
        } else if (said.id.kind == HPX_ID_TEXT) {
            bed_add(" \"%.*s\"", (int)said.id.text.size, (const char *)said.id.text.data);
        } else {
            bed_add(" none");
        }
    }
    const uint32_t of_topic = HPX_MEANS_SUBSCRIBED | HPX_MEANS_UNSUBSCRIBED | HPX_MEANS_REFUSED;
    bed_add_meanings(said.meaning);
    if (said.message_class == HPX_CLASS_UPDATE || (said.meaning & of_topic) != 0) {
        bed_add(" %.*s", (int)said.topic.size, (const char *)said.topic.data);
    }
    if (said.reason.size != 0) {
        bed_add(": %.*s", (int)said.reason.size, (const char *)said.reason.data);
    }
    free(copy);
    return bed_line;
}

void bed_check(const hpx_protocol *protocol, const bed_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *said = bed_classify(protocol, rows[i].text, strlen(rows[i].text));
        if (strcmp(said, rows[i].said) != 0) {
            fail_msg("%s\n  is: %s\n  should be: %s", rows[i].text, said, rows[i].said);
        }
    }
}

static hpx_writer bed_writer(void)
{
    memset(bed_line, 0, sizeof(bed_line));
    return (hpx_writer){.data = (uint8_t *)bed_line, .capacity = sizeof(bed_line) - 1};
}

static const char *bed_written(hpx_status status, const hpx_writer *writer)
{
    if (status <= 0 || writer->overflow) {
        assert_true(status < 0 || writer->overflow || writer->size == 0);
        bed_line[0] = '\0';
        if (status < 0 || writer->overflow) {
            bed_add("%d", writer->overflow ? HPX_E_LIMIT : status);
        }
    }
    return bed_line;
}

const char *bed_auth(const hpx_protocol *protocol, uint64_t id)
{
    hpx_writer writer = bed_writer();
    return bed_written(protocol->build_auth(protocol->ctx, id, &writer), &writer);
}

const char *bed_on_connect(const hpx_protocol *protocol, uint32_t index, uint64_t id)
{
    hpx_writer writer = bed_writer();
    return bed_written(protocol->build_on_connect(protocol->ctx, index, id, &writer), &writer);
}

const char *bed_ping(const hpx_protocol *protocol, uint64_t id)
{
    hpx_writer writer = bed_writer();
    return bed_written(protocol->build_ping(protocol->ctx, id, &writer), &writer);
}

const char *bed_pong(const hpx_protocol *protocol, const char *ping, uint64_t id)
{
    hpx_writer writer = bed_writer();
    return bed_written(
        protocol->build_pong(protocol->ctx, hpx_span_of(ping), id, &writer), &writer);
}

static uint32_t bed_split(const char *topics, hpx_span *out)
{
    uint32_t count = 0;
    while (*topics != '\0') {
        const size_t size = strcspn(topics, " ");
        assert_true(count < BED_TOPICS_MAX);
        out[count++] = (hpx_span){.data = (const uint8_t *)topics, .size = size};
        topics += size + (topics[size] == ' ' ? 1 : 0);
    }
    return count;
}

const char *bed_subscribe(const hpx_protocol *protocol, uint64_t id, const char *topics)
{
    hpx_span spans[BED_TOPICS_MAX];
    const uint32_t count = bed_split(topics, spans);
    hpx_writer writer = bed_writer();
    return bed_written(
        protocol->build_subscribe(protocol->ctx, id, spans, count, &writer), &writer);
}

const char *bed_unsubscribe(const hpx_protocol *protocol, uint64_t id, const char *topics)
{
    hpx_span spans[BED_TOPICS_MAX];
    const uint32_t count = bed_split(topics, spans);
    hpx_writer writer = bed_writer();
    return bed_written(
        protocol->build_unsubscribe(protocol->ctx, id, spans, count, &writer), &writer);
}

const char *bed_inject(const hpx_protocol *protocol, const char *payload, uint64_t id)
{
    const hpx_span span = hpx_span_of(payload);
    hpx_splice splice;
    memset(&splice, 0xAA, sizeof(splice));
    const hpx_status status = protocol->inject_request_id(protocol->ctx, span, id, &splice);
    bed_line[0] = '\0';
    if (status != 1) {
        bed_add("%d", status);
        return bed_line;
    }
    assert_true(splice.offset + splice.removed <= span.size);
    assert_true(splice.text_bytes <= HPX_SPLICE_BYTES);
    bed_add(
        "%.*s%.*s%s",
        (int)splice.offset,
        payload,
        (int)splice.text_bytes,
        splice.text,
        payload + splice.offset + splice.removed);
    return bed_line;
}

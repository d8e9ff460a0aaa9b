/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Property: the JSON scanner accepts what yyjson accepts (down to its depth) and finds what yyjson
 * finds; an id that goes into a payload is what a reader then finds there, and nothing else has
 * changed; dialects take any message. Input that begins with '$' is a configuration instead (lines:
 * subscribe template, rule, id field): refused with a printable line, or usable.
 */
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "engine/protocol.h"
#include "ring/assert.h"

static const char *const wanted[] = {
    "id", "method", "result", "params.channel", "params.type", "error.message", "data.0.symbol"};

#define WANTED (sizeof(wanted) / sizeof(wanted[0]))

static yyjson_val *lookup(yyjson_val *value, const char *path)
{
    while (value != NULL) {
        const size_t size = strcspn(path, ".");
        if (yyjson_is_arr(value)) {
            value = size == 1 && path[0] == '0' ? yyjson_arr_get_first(value) : NULL;
        } else {
            value = yyjson_obj_getn(value, path, size);
        }
        if (path[size] == '\0') {
            return value;
        }
        path += size + 1;
    }
    return NULL;
}

static void check_value(hpxi_json_value value, yyjson_val *expected)
{
    static const hpxi_json_kind kinds[] = {
        [YYJSON_TYPE_NONE] = HPXI_JSON_ABSENT,
        [YYJSON_TYPE_RAW] = HPXI_JSON_NUMBER,
        [YYJSON_TYPE_NULL] = HPXI_JSON_NULL,
        [YYJSON_TYPE_BOOL] = HPXI_JSON_TRUE,
        [YYJSON_TYPE_NUM] = HPXI_JSON_NUMBER,
        [YYJSON_TYPE_STR] = HPXI_JSON_STRING,
        [YYJSON_TYPE_ARR] = HPXI_JSON_ARRAY,
        [YYJSON_TYPE_OBJ] = HPXI_JSON_OBJECT,
    };
    hpxi_json_kind kind = kinds[yyjson_get_type(expected)];
    kind = yyjson_is_false(expected) ? HPXI_JSON_FALSE : kind;
    HPX_ASSERT(value.kind == kind);
    if (kind == HPXI_JSON_STRING) {
        const hpx_span text = {
            .data = (const uint8_t *)yyjson_get_str(expected), .size = yyjson_get_len(expected)};
        HPX_ASSERT(hpxi_json_is_text(value, text));
        uint8_t *out = malloc(text.size + 1);
        HPX_ASSERT(out != NULL);
        HPX_ASSERT(hpxi_json_unescape(value, out, text.size) == text.size);
        HPX_ASSERT(text.size == 0 || memcmp(out, text.data, text.size) == 0);
        free(out);
    } else if (kind == HPXI_JSON_NUMBER) {
        HPX_ASSERT(value.size == yyjson_get_len(expected));
        HPX_ASSERT(memcmp(value.data, yyjson_get_raw(expected), value.size) == 0);
    } else if (kind == HPXI_JSON_ARRAY) {
        hpxi_json_elements elements = hpxi_json_elements_of(value);
        hpxi_json_value element;
        yyjson_arr_iter iter = yyjson_arr_iter_with(expected);
        while (hpxi_json_elements_next(&elements, &element)) {
            yyjson_val *other = yyjson_arr_iter_next(&iter);
            if (!yyjson_is_ctn(other)) {
                check_value(element, other);
            }
        }
        HPX_ASSERT(!yyjson_arr_iter_has_next(&iter));
    }
}

/* A whole number as yyjson reads it: no more digits than a double holds, so exact. */
static void check_number(hpxi_json_value value)
{
    uint64_t number = 0;
    if (value.kind != HPXI_JSON_NUMBER || value.size > 15) {
        return;
    }
    char text[16] = "";
    memcpy(text, value.data, value.size);
    const double expected = strtod(text, NULL);
    const bool whole = expected >= 0 && expected < 9e15 && expected == (double)(uint64_t)expected;
    if (expected < 9e15) {
        HPX_ASSERT(hpxi_json_to_u64(value, &number) == whole || strpbrk(text, "eE") != NULL);
        HPX_ASSERT(!whole || strpbrk(text, "eE") != NULL || number == (uint64_t)expected);
    }
}

static yyjson_doc *read_json(const uint8_t *data, size_t size)
{
    /* A copy: yyjson says it may write. */
    char *copy = malloc(size + 1);
    HPX_ASSERT(copy != NULL);
    if (size != 0) {
        memcpy(copy, data, size);
    }
    yyjson_doc *doc = yyjson_read_opts(copy, size, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    free(copy);
    return doc;
}

static void check_injection(const hpx_protocol *protocol, hpx_span payload, yyjson_doc *doc)
{
    hpx_splice splice;
    yyjson_val *root = yyjson_doc_get_root(doc);
    const hpx_status status = protocol->inject_request_id(protocol->ctx, payload, 77, &splice);
    HPX_ASSERT(status == 1 || status == HPX_E_INVALID);
    if (status != 1) {
        return;
    }
    HPX_ASSERT(yyjson_is_obj(root));
    HPX_ASSERT(splice.text_bytes <= HPX_SPLICE_BYTES);
    HPX_ASSERT(splice.removed <= payload.size);
    HPX_ASSERT(splice.offset <= payload.size - splice.removed);
    const size_t rest = splice.offset + splice.removed;
    const size_t size = splice.offset + splice.text_bytes + payload.size - rest;
    uint8_t *text = malloc(size);
    HPX_ASSERT(text != NULL);
    memcpy(text, payload.data, splice.offset);
    memcpy(text + splice.offset, splice.text, splice.text_bytes);
    memcpy(text + splice.offset + splice.text_bytes, payload.data + rest, payload.size - rest);
    yyjson_doc *after = read_json(text, size);
    HPX_ASSERT(after != NULL);
    const size_t added = yyjson_obj_get(root, "id") == NULL ? 1 : 0;
    HPX_ASSERT(yyjson_obj_size(yyjson_doc_get_root(after)) == yyjson_obj_size(root) + added);
    yyjson_val *id = yyjson_obj_get(yyjson_doc_get_root(after), "id");
    HPX_ASSERT(yyjson_get_len(id) == 2 && memcmp(yyjson_get_raw(id), "77", 2) == 0);
    yyjson_doc_free(after);
    free(text);
}

static void check_classified(const hpx_classified *said, bool is_json)
{
    HPX_ASSERT(said->message_class <= HPX_CLASS_CONTROL);
    HPX_ASSERT(is_json || said->message_class == HPX_CLASS_UNKNOWN);
    HPX_ASSERT(said->message_class != HPX_CLASS_UNKNOWN || said->meaning == 0);
    HPX_ASSERT(said->id.text.size <= HPX_REQUEST_ID_BYTES);
}

static void check_message(hpx_span text)
{
    hpxi_json_paths paths;
    hpxi_json_found found;
    hpxi_json_paths_init(&paths);
    for (size_t i = 0; i < WANTED; i++) {
        HPX_ASSERT(hpxi_json_paths_add(&paths, hpx_span_of(wanted[i])) == (int)i);
    }
    const hpxi_json_result result = hpxi_json_scan(&paths, text, &found);
    if (result == HPXI_JSON_TOO_DEEP) {
        return;
    }
    yyjson_doc *doc = read_json(text.data, text.size);
    HPX_ASSERT((doc != NULL) == (result == HPXI_JSON_OK));
    for (size_t i = 0; i < WANTED && doc != NULL; i++) {
        const hpxi_json_value value = hpxi_json_at(&found, (int)i);
        check_value(value, lookup(yyjson_doc_get_root(doc), wanted[i]));
        check_number(value);
    }
    const hpx_protocol *protocol = hpx_protocol_json_rpc();
    hpx_classified said = {0};
    protocol->classify(protocol->ctx, text, &said);
    check_classified(&said, doc != NULL);
    if (doc != NULL) {
        check_injection(protocol, text, doc);
    }
    bool accepted[2];
    const hpx_span topics[] = {hpx_span_of("a"), hpx_span_of("b")};
    protocol->subscription_result(protocol->ctx, text, topics, 2, accepted);
    yyjson_doc_free(doc);
}

static void check_usable(hpx_protocol *protocol)
{
    static const char *const messages[] = {
        "{\"id\":1,\"a\":{\"b\":[1]},\"topic\":\"t\"}", "{\"a\":\"x\"}", "[1,[2]]", "{"};
    const hpx_span topics[] = {hpx_span_of("1"), hpx_span_of("2")};
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        hpx_classified said = {0};
        hpx_splice splice;
        protocol->classify(protocol->ctx, hpx_span_of(messages[i]), &said);
        check_classified(&said, i != 3);
        (void)protocol->inject_request_id(
            protocol->ctx, hpx_span_of(messages[i]), UINT64_MAX, &splice);
    }
    for (uint32_t count = 1; count <= 2; count++) {
        uint8_t out[4096];
        hpx_writer writer = {.data = out, .capacity = sizeof(out)};
        const hpx_status status =
            protocol->build_subscribe(protocol->ctx, 7, topics, count, &writer);
        HPX_ASSERT(status == 1);
        HPX_ASSERT(writer.size <= sizeof(out));
    }
}

static void check_config(char *text)
{
    hpx_json_config config = HPX_JSON_CONFIG_INIT;
    char *save = NULL;
    config.subscribe = strtok_r(text, "\n", &save);
    config.response_rule = strtok_r(NULL, "\n", &save);
    config.id_field = strtok_r(NULL, "\n", &save);
    hpx_protocol *protocol = NULL;
    hpx_error error = {0};
    if (hpx_protocol_json_new(&protocol, &config, &error) == HPX_OK) {
        check_usable(protocol);
        hpx_protocol_free(protocol);
        return;
    }
    HPX_ASSERT(error.status == HPX_E_INVALID);
    HPX_ASSERT(error.detail[0] != '\0');
    for (const char *at = error.detail; *at != '\0'; at++) {
        HPX_ASSERT(*at >= 0x20 && *at < 0x7F);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || data[0] != '$') {
        check_message((hpx_span){.data = data, .size = size});
        return 0;
    }
    char *text = malloc(size);
    HPX_ASSERT(text != NULL);
    memcpy(text, data + 1, size - 1);
    text[size - 1] = '\0';
    check_config(text);
    free(text);
    return 0;
}

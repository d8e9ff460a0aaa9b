/* SPDX-License-Identifier: Apache-2.0 */
/* protocol_template.c - message templates of the generic JSON dialect. */
#include "engine/protocol_template.h"

#include <string.h>

#include "ring/assert.h"

typedef struct template_parser {
    hpxi_template *out;
    uint32_t allowed;
    const char *what;
} template_parser;

static bool
template_add(template_parser *parser, hpxi_template_op_kind kind, const char *text, size_t size)
{
    hpxi_template *out = parser->out;
    if (out->count == HPXI_TEMPLATE_OPS_MAX) {
        parser->what = "more than 24 parts";
        return false;
    }
    out->ops[out->count++] =
        (hpxi_template_op){.kind = kind, .text = {.data = (const uint8_t *)text, .size = size}};
    out->uses |= 1u << kind;
    return true;
}

/* The } that ends what began before `at`, or NULL. */
static const char *template_end(const char *at)
{
    uint32_t open = 1;
    bool in_string = false;
    for (; *at != '\0'; at++) {
        if (in_string && *at == '\\' && at[1] != '\0') {
            at++;
        } else if (*at == '"') {
            in_string = !in_string;
        } else if (at[0] == '$' && at[1] == '{') {
            /* A variable in a string: it has no braces inside. */
            const char *end = strchr(at, '}');
            if (end == NULL) {
                return NULL;
            }
            at = end;
        } else if (!in_string && *at == '{') {
            open++;
        } else if (!in_string && *at == '}' && --open == 0) {
            return at;
        }
    }
    return NULL;
}

static bool template_parse(template_parser *parser, const char *at, const char *end, bool inner);

/* ${topics:TEMPLATE} with TEMPLATE at `at`. */
static bool template_parse_topics(template_parser *parser, const char *at, const char *end)
{
    const uint32_t index = parser->out->count;
    if (!template_add(parser, HPXI_TEMPLATE_TOPICS, NULL, 0) ||
        !template_parse(parser, at, end, true)) {
        return false;
    }
    parser->out->ops[index].count = parser->out->count - index - 1;
    if (parser->out->ops[index].count == 0) {
        parser->what = "nothing between ${topics: and }";
        return false;
    }
    return true;
}

/* The variable whose name is at `at`; *next is behind its }. */
static bool template_parse_variable(
    template_parser *parser, const char *at, const char *end, bool inner, const char **next)
{
    static const struct {
        const char *name;
        hpxi_template_op_kind kind;
        bool inner; /* may stand inside of ${topics:...} */
    } variables[] = {
        {"id}", HPXI_TEMPLATE_ID, true},
        {"topics}", HPXI_TEMPLATE_TOPICS, false},
        {"topics:", HPXI_TEMPLATE_TOPICS, false},
        {"topic}", HPXI_TEMPLATE_TOPIC, true},
        {"topic:raw}", HPXI_TEMPLATE_TOPIC_RAW, true},
        {"ping}", HPXI_TEMPLATE_PING, true},
    };
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
        const size_t size = strlen(variables[i].name);
        if ((size_t)(end - at) < size || memcmp(at, variables[i].name, size) != 0) {
            continue;
        }
        if ((parser->allowed >> variables[i].kind & 1) == 0 || (inner && !variables[i].inner)) {
            parser->what = "a variable that has no meaning here";
            return false;
        }
        *next = at + size;
        if (variables[i].name[size - 1] != ':') {
            return template_add(parser, variables[i].kind, NULL, 0);
        }
        const char *close = template_end(at + size);
        if (close == NULL || close >= end) {
            parser->what = "no } for ${topics:";
            return false;
        }
        *next = close + 1;
        return template_parse_topics(parser, at + size, close);
    }
    parser->what = "an unknown variable: there are ${id}, ${topics}, ${topic} and ${ping}";
    return false;
}

static bool template_parse(template_parser *parser, const char *at, const char *end, bool inner)
{
    while (at < end) {
        const char *dollar = at;
        while (dollar < end && !(dollar[0] == '$' && dollar + 1 < end && dollar[1] == '{')) {
            dollar++;
        }
        if (dollar != at && !template_add(parser, HPXI_TEMPLATE_TEXT, at, (size_t)(dollar - at))) {
            return false;
        }
        at = dollar;
        if (at < end && !template_parse_variable(parser, at + 2, end, inner, &at)) {
            return false;
        }
    }
    return true;
}

hpx_status
hpxi_template_compile(hpxi_template *out, const char *text, uint32_t allowed, const char **what)
{
    *out = (hpxi_template){0};
    if (text == NULL) {
        return HPX_OK;
    }
    if (text[0] == '\0') {
        *what = "empty";
        return HPX_E_INVALID;
    }
    template_parser parser = {.out = out, .allowed = allowed | 1u << HPXI_TEMPLATE_TEXT};
    if (!template_parse(&parser, text, text + strlen(text), false)) {
        HPX_ASSERT(parser.what != NULL);
        *what = parser.what;
        return HPX_E_INVALID;
    }
    HPX_ASSERT(out->count != 0);
    return HPX_OK;
}

static void template_write_op(
    const hpxi_template_op *op, const hpxi_template_values *values, hpx_span topic, hpx_writer *out)
{
    HPX_DASSERT(op->kind != HPXI_TEMPLATE_TOPICS); /* that is template_write_topics()'s */
    switch (op->kind) {
    case HPXI_TEMPLATE_TEXT:
        hpx_writer_span(out, op->text);
        return;
    case HPXI_TEMPLATE_ID:
        hpx_writer_bytes(out, "\"", values->id_is_string ? 1 : 0);
        hpx_writer_u64(out, values->id);
        hpx_writer_bytes(out, "\"", values->id_is_string ? 1 : 0);
        return;
    case HPXI_TEMPLATE_TOPIC:
        hpx_writer_json_string(out, topic);
        return;
    case HPXI_TEMPLATE_TOPIC_RAW:
        hpx_writer_span(out, topic);
        return;
    case HPXI_TEMPLATE_PING:
        hpx_writer_span(out, values->ping);
        return;
    case HPXI_TEMPLATE_TOPICS:
        return;
    }
}

static void template_write_topics(
    const hpxi_template_op *op, const hpxi_template_values *values, hpx_writer *out)
{
    hpx_writer_bytes(out, "[", 1);
    for (uint32_t i = 0; i < values->topic_count && !out->overflow; i++) {
        hpx_writer_bytes(out, ",", i == 0 ? 0 : 1);
        if (op->count == 0) {
            hpx_writer_json_string(out, values->topics[i]);
        }
        for (uint32_t inner = 1; inner <= op->count; inner++) {
            template_write_op(op + inner, values, values->topics[i], out);
        }
    }
    hpx_writer_bytes(out, "]", 1);
}

void hpxi_template_write(
    const hpxi_template *template, const hpxi_template_values *values, hpx_writer *out)
{
    HPX_ASSERT(template->count != 0);
    const hpx_span one = values->topic_count == 1 ? values->topics[0] : (hpx_span){0};
    for (uint32_t i = 0; i < template->count; i++) {
        const hpxi_template_op *op = &template->ops[i];
        if (op->kind == HPXI_TEMPLATE_TOPICS) {
            template_write_topics(op, values, out);
            i += op->count;
            continue;
        }
        const bool single = op->kind == HPXI_TEMPLATE_TOPIC || op->kind == HPXI_TEMPLATE_TOPIC_RAW;
        if (single && values->topic_count != 1) {
            out->overflow = true;
            return;
        }
        template_write_op(op, values, one, out);
    }
}

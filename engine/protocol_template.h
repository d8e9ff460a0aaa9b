/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol_template.h - message templates of the generic JSON dialect, compiled.
 *
 *   ${id}               the request id, in quotes where the dialect says so
 *   ${topics}           ["a","b"]
 *   ${topics:TEMPLATE}  [TEMPLATE,TEMPLATE], each with ${topic} as a JSON string, ${topic:raw} as
 * is
 *   ${topic}            outside of ${topics:...}: of messages with one topic each
 *   ${ping}             a value of the message that is answered
 *
 * Role      TEMPLATE ends at its }: braces in it are counted, those in JSON strings are not.
 * Threads   Any: immutable once compiled. Memory: fixed; the text is borrowed.
 */
#ifndef HPXI_PROTOCOL_TEMPLATE_H
#define HPXI_PROTOCOL_TEMPLATE_H

#include <hpx/protocol.h>

#define HPXI_TEMPLATE_OPS_MAX 24u

typedef enum hpxi_template_op_kind {
    HPXI_TEMPLATE_TEXT = 0,
    HPXI_TEMPLATE_ID,
    HPXI_TEMPLATE_TOPICS, /* the `count` ops that follow, for each topic; 0: as JSON strings */
    HPXI_TEMPLATE_TOPIC,
    HPXI_TEMPLATE_TOPIC_RAW,
    HPXI_TEMPLATE_PING,
} hpxi_template_op_kind;

typedef struct hpxi_template_op {
    hpxi_template_op_kind kind;
    uint32_t count;
    hpx_span text;
} hpxi_template_op;

typedef struct hpxi_template {
    uint32_t count; /* 0: not used */
    uint32_t uses;  /* bit of each kind of op in it */
    hpxi_template_op ops[HPXI_TEMPLATE_OPS_MAX];
} hpxi_template;

/* What the variables stand for. */
typedef struct hpxi_template_values {
    uint64_t id;
    bool id_is_string;
    hpx_span ping; /* JSON */
    const hpx_span *topics;
    uint32_t topic_count;
} hpxi_template_values;

/* `text` NULL: not used. `allowed`: bits of kinds. HPX_OK, or HPX_E_INVALID and *what says why. */
hpx_status
hpxi_template_compile(hpxi_template *out, const char *text, uint32_t allowed, const char **what);

/* A message for one topic that is given several counts as too long: it is then asked for fewer. */
void hpxi_template_write(
    const hpxi_template *template, const hpxi_template_values *values, hpx_writer *out);

#endif /* HPXI_PROTOCOL_TEMPLATE_H */

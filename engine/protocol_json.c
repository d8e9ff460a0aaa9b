/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol_json.c - the generic JSON dialect at work. protocol_json_config.c makes it.
 *
 * Role      A message is asked, in this order, and the first that says yes decides:
 *
 *               ping_text, pong_text        CONTROL (the whole message, JSON or not)
 *               not JSON                    UNKNOWN
 *               ping_rule, pong_rule        CONTROL
 *               reconnect_rule              SYSTEM
 *               auth_ok_, auth_failed_rule  CONTROL
 *               refused_, subscribed_, unsubscribed_rule, where there is a topic   CONTROL
 *               system_rule                 SYSTEM
 *               update_rule, where there is a topic   UPDATE
 *               response_rule (an id)       RESPONSE
 *               error_rule                  SYSTEM
 *               no update_rule but a topic  UPDATE
 *               all else                    UNKNOWN
 *
 * Threads   Any: the dialect is immutable. Memory: nothing is allocated.
 */
#include "engine/protocol_json.h"

#include <string.h>

#include "engine/error.h"
#include "ring/assert.h"

static bool
json_says(const hpxi_json_dialect *dialect, hpxi_json_rule rule, const hpxi_json_found *found)
{
    HPX_DASSERT(rule < HPXI_RULE_COUNT);
    return dialect->rules[rule].count != 0 &&
           hpxi_rule_matches(&dialect->rules[rule], &dialect->terms, found);
}

static hpx_span json_reason(const hpxi_json_dialect *dialect, const hpxi_json_found *found)
{
    return hpxi_value_span(hpxi_field_at(&dialect->reason, found), HPXI_SCRATCH_REASON);
}

/* Of a table of rules that each mean one thing: the first that says yes. */
typedef struct json_meaning {
    hpxi_json_rule rule;
    hpx_message_class message_class;
    uint32_t meaning;
    bool has_reason;
} json_meaning;

static bool json_classify_by(
    const hpxi_json_dialect *dialect,
    const json_meaning *meanings,
    size_t count,
    const hpxi_json_found *found,
    hpx_classified *out)
{
    for (size_t i = 0; i < count; i++) {
        if (json_says(dialect, meanings[i].rule, found)) {
            out->message_class = meanings[i].message_class;
            out->meaning = meanings[i].meaning;
            if (meanings[i].has_reason) {
                out->reason = json_reason(dialect, found);
            }
            return true;
        }
    }
    return false;
}

#define JSON_COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const json_meaning session_meanings[] = {
    {HPXI_RULE_PING, HPX_CLASS_CONTROL, HPX_MEANS_PING, false},
    {HPXI_RULE_PONG, HPX_CLASS_CONTROL, HPX_MEANS_PONG, false},
    {HPXI_RULE_RECONNECT, HPX_CLASS_SYSTEM, HPX_MEANS_RECONNECT, true},
    {HPXI_RULE_AUTH_OK, HPX_CLASS_CONTROL, HPX_MEANS_AUTH_OK, false},
    {HPXI_RULE_AUTH_FAILED, HPX_CLASS_CONTROL, HPX_MEANS_AUTH_FAILED, true},
};

static const json_meaning topic_meanings[] = {
    {HPXI_RULE_REFUSED, HPX_CLASS_CONTROL, HPX_MEANS_REFUSED, true},
    {HPXI_RULE_SUBSCRIBED, HPX_CLASS_CONTROL, HPX_MEANS_SUBSCRIBED, false},
    {HPXI_RULE_UNSUBSCRIBED, HPX_CLASS_CONTROL, HPX_MEANS_UNSUBSCRIBED, false},
};

static const json_meaning system_meanings[] = {
    {HPXI_RULE_SYSTEM, HPX_CLASS_SYSTEM, 0, true},
};

/* With neither an id nor a meaning of its own. */
static void json_classify_rest(
    const hpxi_json_dialect *dialect, const hpxi_json_found *found, hpx_classified *out)
{
    if (json_says(dialect, HPXI_RULE_ERROR, found)) {
        out->message_class = HPX_CLASS_SYSTEM;
        out->meaning = HPX_MEANS_ERROR;
        out->reason = json_reason(dialect, found);
    } else if (dialect->rules[HPXI_RULE_UPDATE].count == 0 && out->topic.size != 0) {
        out->message_class = HPX_CLASS_UPDATE;
    }
}

static void json_classify_object(
    const hpxi_json_dialect *dialect, const hpxi_json_found *found, hpx_classified *out)
{
    const hpxi_json_value id = hpxi_field_at(&dialect->id, found);
    if (id.kind != HPXI_JSON_ABSENT) {
        out->id = hpxi_value_id(id, dialect->id_is_string);
    }
    out->topic = hpxi_value_span(hpxi_field_at(&dialect->topic, found), HPXI_SCRATCH_TOPIC);
    const bool has_topic = out->topic.size != 0;
    if (json_classify_by(dialect, session_meanings, JSON_COUNT(session_meanings), found, out) ||
        (has_topic &&
         json_classify_by(dialect, topic_meanings, JSON_COUNT(topic_meanings), found, out)) ||
        json_classify_by(dialect, system_meanings, JSON_COUNT(system_meanings), found, out)) {
        return;
    }
    if (has_topic && json_says(dialect, HPXI_RULE_UPDATE, found)) {
        out->message_class = HPX_CLASS_UPDATE;
        return;
    }
    const bool is_response = dialect->rules[HPXI_RULE_RESPONSE].count != 0
                                 ? json_says(dialect, HPXI_RULE_RESPONSE, found)
                                 : id.kind != HPXI_JSON_ABSENT;
    if (!is_response) {
        json_classify_rest(dialect, found, out);
        return;
    }
    out->message_class = HPX_CLASS_RESPONSE;
    if (json_says(dialect, HPXI_RULE_ERROR, found)) {
        out->meaning = HPX_MEANS_ERROR;
        out->reason = json_reason(dialect, found);
    }
}

static bool json_is_exactly(hpx_span text, hpx_span wanted)
{
    return wanted.size != 0 && text.size == wanted.size &&
           memcmp(text.data, wanted.data, text.size) == 0;
}

static void json_classify(void *ctx, hpx_span text, hpx_classified *out)
{
    const hpxi_json_dialect *dialect = ctx;
    if (json_is_exactly(text, dialect->ping_text)) {
        out->message_class = HPX_CLASS_CONTROL;
        out->meaning = HPX_MEANS_PING;
        return;
    }
    if (json_is_exactly(text, dialect->pong_text)) {
        out->message_class = HPX_CLASS_CONTROL;
        out->meaning = HPX_MEANS_PONG;
        return;
    }
    hpxi_json_found found;
    if (hpxi_json_scan(&dialect->paths, text, &found) == HPXI_JSON_OK) {
        json_classify_object(dialect, &found, out);
    }
}

static hpx_status json_write(
    const hpxi_json_dialect *dialect,
    uint32_t message,
    const hpxi_template_values *values,
    hpx_writer *out)
{
    HPX_ASSERT(message < HPXI_MESSAGE_COUNT);
    hpxi_template_write(&dialect->messages[message], values, out);
    return 1;
}

static hpx_status json_on_connect(void *ctx, uint32_t index, uint64_t id, hpx_writer *out)
{
    const hpxi_json_dialect *dialect = ctx;
    if (index >= dialect->on_connect_count) {
        return 0;
    }
    const hpxi_template_values values = {.id = id, .id_is_string = dialect->id_is_string};
    return json_write(dialect, HPXI_MESSAGE_ON_CONNECT + index, &values, out);
}

static hpx_status json_auth(void *ctx, uint64_t id, hpx_writer *out)
{
    const hpxi_json_dialect *dialect = ctx;
    if (dialect->build_auth != NULL) {
        return dialect->build_auth(dialect->build_auth_ctx, id, out);
    }
    const hpxi_template_values values = {.id = id, .id_is_string = dialect->id_is_string};
    return json_write(dialect, HPXI_MESSAGE_AUTH, &values, out);
}

static hpx_status
json_subscribe(void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    const hpxi_json_dialect *dialect = ctx;
    HPX_ASSERT(count >= 1);
    const hpxi_template_values values = {
        .id = id,
        .id_is_string = dialect->id_is_string,
        .topics = topics,
        .topic_count = count,
    };
    return json_write(dialect, HPXI_MESSAGE_SUBSCRIBE, &values, out);
}

static hpx_status
json_unsubscribe(void *ctx, uint64_t id, const hpx_span *topics, uint32_t count, hpx_writer *out)
{
    const hpxi_json_dialect *dialect = ctx;
    HPX_ASSERT(count >= 1);
    const hpxi_template_values values = {
        .id = id,
        .id_is_string = dialect->id_is_string,
        .topics = topics,
        .topic_count = count,
    };
    return json_write(dialect, HPXI_MESSAGE_UNSUBSCRIBE, &values, out);
}

static hpx_status json_inject(void *ctx, hpx_span payload, uint64_t id, hpx_splice *out)
{
    const hpxi_json_dialect *dialect = ctx;
    return hpxi_id_place_splice(&dialect->id_place, payload, id, out);
}

static hpx_status json_ping(void *ctx, uint64_t id, hpx_writer *out)
{
    const hpxi_json_dialect *dialect = ctx;
    const hpxi_template_values values = {.id = id, .id_is_string = dialect->id_is_string};
    return json_write(dialect, HPXI_MESSAGE_PING, &values, out);
}

/* The ping's value as it stands, with the quotes of a string; null where it has none. */
static hpx_span json_ping_value(const hpxi_json_dialect *dialect, hpx_span ping)
{
    hpxi_json_found found;
    if (dialect->ping_value.count == 0 ||
        hpxi_json_scan(&dialect->paths, ping, &found) != HPXI_JSON_OK) {
        return hpx_span_of("null");
    }
    const hpxi_json_value value = hpxi_field_at(&dialect->ping_value, &found);
    if (value.kind == HPXI_JSON_ABSENT) {
        return hpx_span_of("null");
    }
    const size_t quote = value.kind == HPXI_JSON_STRING ? 1 : 0;
    return (hpx_span){.data = value.data - quote, .size = value.size + 2 * quote};
}

static hpx_status json_pong(void *ctx, hpx_span ping, uint64_t id, hpx_writer *out)
{
    const hpxi_json_dialect *dialect = ctx;
    const hpxi_template_values values = {
        .id = id,
        .id_is_string = dialect->id_is_string,
        .ping = json_ping_value(dialect, ping),
    };
    return json_write(dialect, HPXI_MESSAGE_PONG, &values, out);
}

static void json_set_table(hpxi_json_dialect *dialect, const hpx_json_config *config)
{
    hpx_protocol *table = &dialect->dialect.table;
    table->flags = config->acknowledges ? HPX_PROTOCOL_ACKNOWLEDGES : 0;
    table->name = "json";
    table->classify = json_classify;
    table->build_on_connect = dialect->on_connect_count != 0 ? json_on_connect : NULL;
    const bool auth =
        dialect->build_auth != NULL || dialect->messages[HPXI_MESSAGE_AUTH].count != 0;
    table->build_auth = auth ? json_auth : NULL;
    table->build_subscribe = json_subscribe;
    table->build_unsubscribe = json_unsubscribe;
    table->inject_request_id = json_inject;
    table->build_ping = dialect->messages[HPXI_MESSAGE_PING].count != 0 ? json_ping : NULL;
    table->build_pong = json_pong;
}

hpx_status hpxi_protocol_json_new(
    hpx_protocol **out,
    const hpx_json_config *config,
    const hpx_allocator *allocator,
    hpx_error *error)
{
    hpx_json_config full;
    hpx_status status = hpxi_json_prepare(&full, config, error);
    if (status != HPX_OK) {
        return status;
    }
    hpxi_json_dialect *dialect =
        hpxi_dialect_alloc(sizeof(hpxi_json_dialect) + hpxi_json_strings_bytes(&full), allocator);
    if (dialect == NULL) {
        return hpxi_error_set(
            error, HPX_E_NO_MEMORY, HPX_STAGE_CONFIG, "no memory for the dialect");
    }
    status = hpxi_json_compile(dialect, (char *)(dialect + 1), &full, error);
    if (status != HPX_OK) {
        hpxi_dialect_release(dialect);
        return status;
    }
    json_set_table(dialect, &full);
    *out = &dialect->dialect.table;
    return HPX_OK;
}

hpx_status
hpx_protocol_json_new(hpx_protocol **out, const hpx_json_config *config, hpx_error *error)
{
    return hpxi_protocol_json_new(out, config, NULL, error);
}

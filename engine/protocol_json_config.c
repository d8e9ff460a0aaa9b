/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol_json_config.c - checks and compiles the generic JSON dialect's configuration.
 *
 * Role      Whatever is wrong is said here, with the member's name: at work nothing can fail.
 * Threads   Any. Memory: what the caller gives.
 */
#include <string.h>

#include "engine/protocol_json.h"
#include "ring/assert.h"

#define JSON_SAMPLE_BYTES 16384u /* longest message of a template, for one topic */

/* One table of members for copying, and one place for their names. */
typedef struct json_text {
    const char *name;
    size_t offset;
    const char *fallback;
} json_text;

#define JSON_TEXT(member, fallback_text)                                                           \
    {                                                                                              \
#member, offsetof(hpx_json_config, member), fallback_text                                  \
    }

static const json_text json_texts[] = {
    JSON_TEXT(id_field, "id"),
    JSON_TEXT(topic_field, "topic"),
    JSON_TEXT(update_rule, NULL),
    JSON_TEXT(response_rule, NULL),
    JSON_TEXT(error_rule, "error"),
    JSON_TEXT(reason_field, "error.message"),
    JSON_TEXT(system_rule, NULL),
    JSON_TEXT(reconnect_rule, NULL),
    JSON_TEXT(auth, NULL),
    JSON_TEXT(auth_ok_rule, NULL),
    JSON_TEXT(auth_failed_rule, NULL),
    JSON_TEXT(subscribe, "{\"op\":\"subscribe\",\"args\":${topics},\"id\":${id}}"),
    JSON_TEXT(unsubscribe, "{\"op\":\"unsubscribe\",\"args\":${topics},\"id\":${id}}"),
    JSON_TEXT(subscribed_rule, NULL),
    JSON_TEXT(unsubscribed_rule, NULL),
    JSON_TEXT(refused_rule, NULL),
    JSON_TEXT(ping, NULL),
    JSON_TEXT(pong_rule, NULL),
    JSON_TEXT(ping_text, "ping"),
    JSON_TEXT(ping_rule, NULL),
    JSON_TEXT(ping_value_field, NULL),
    JSON_TEXT(pong, "pong"),
    JSON_TEXT(pong_text, "pong"),
};

#define JSON_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The member itself: all of them are strings. */
static const char **json_member(hpx_json_config *config, const json_text *text)
{
    return (const char **)(void *)((char *)config + text->offset);
}

hpx_status hpxi_json_prepare(hpx_json_config *full, const hpx_json_config *from, hpx_error *error)
{
    *full = (hpx_json_config)HPX_JSON_CONFIG_INIT;
    if (from == NULL || from->size < offsetof(hpx_json_config, id_field)) {
        return hpxi_config_fail(error, "config", "NULL or without its size; use the INIT macro");
    }
    memcpy(full, from, from->size < sizeof(*full) ? from->size : sizeof(*full));
    for (size_t i = 0; i < JSON_COUNT(json_texts); i++) {
        const char **member = json_member(full, &json_texts[i]);
        if (*member == NULL) {
            *member = json_texts[i].fallback;
        }
    }
    if (full->flags != 0) {
        return hpxi_config_fail(error, "flags", "must be 0");
    }
    return hpxi_on_connect_check(full->on_connect, full->on_connect_count, error);
}

size_t hpxi_json_strings_bytes(const hpx_json_config *full)
{
    hpx_json_config copy = *full;
    size_t bytes = 0;
    for (size_t i = 0; i < JSON_COUNT(json_texts); i++) {
        bytes += hpxi_text_bytes(*json_member(&copy, &json_texts[i]));
    }
    for (uint32_t i = 0; i < full->on_connect_count; i++) {
        bytes += hpxi_text_bytes(full->on_connect[i]);
    }
    return bytes;
}

static hpx_status
json_compile_fields(hpxi_json_dialect *out, const hpx_json_config *config, hpx_error *error)
{
    const struct {
        const char *name;
        hpxi_field *to;
        const char *from;
    } fields[] = {
        {"id_field", &out->id, config->id_field},
        {"topic_field", &out->topic, config->topic_field},
        {"reason_field", &out->reason, config->reason_field},
        {"ping_value_field", &out->ping_value, config->ping_value_field},
    };
    for (size_t i = 0; i < JSON_COUNT(fields); i++) {
        const char *what = NULL;
        if (hpxi_field_compile(fields[i].to, &out->paths, fields[i].from, &what) != HPX_OK) {
            return hpxi_config_fail(error, fields[i].name, what);
        }
    }
    const hpx_span id = {
        .data = (const uint8_t *)config->id_field, .size = strcspn(config->id_field, "|")};
    if (hpxi_id_place_init(&out->id_place, id, config->id_is_string) != HPX_OK) {
        return hpxi_config_fail(error, "id_field", "more than 64 bytes with an id in it");
    }
    return HPX_OK;
}

static hpx_status
json_compile_rules(hpxi_json_dialect *out, const hpx_json_config *config, hpx_error *error)
{
    const struct {
        const char *name;
        hpxi_json_rule rule;
        const char *from;
    } rules[] = {
        {"update_rule", HPXI_RULE_UPDATE, config->update_rule},
        {"response_rule", HPXI_RULE_RESPONSE, config->response_rule},
        {"error_rule", HPXI_RULE_ERROR, config->error_rule},
        {"system_rule", HPXI_RULE_SYSTEM, config->system_rule},
        {"reconnect_rule", HPXI_RULE_RECONNECT, config->reconnect_rule},
        {"auth_ok_rule", HPXI_RULE_AUTH_OK, config->auth_ok_rule},
        {"auth_failed_rule", HPXI_RULE_AUTH_FAILED, config->auth_failed_rule},
        {"subscribed_rule", HPXI_RULE_SUBSCRIBED, config->subscribed_rule},
        {"unsubscribed_rule", HPXI_RULE_UNSUBSCRIBED, config->unsubscribed_rule},
        {"refused_rule", HPXI_RULE_REFUSED, config->refused_rule},
        {"ping_rule", HPXI_RULE_PING, config->ping_rule},
        {"pong_rule", HPXI_RULE_PONG, config->pong_rule},
    };
    _Static_assert(JSON_COUNT(rules) == HPXI_RULE_COUNT, "all of them");
    for (size_t i = 0; i < JSON_COUNT(rules); i++) {
        const char *what = NULL;
        hpxi_rule *rule = &out->rules[rules[i].rule];
        if (hpxi_rule_compile(rule, &out->terms, &out->paths, rules[i].from, &what) != HPX_OK) {
            return hpxi_config_fail(error, rules[i].name, what);
        }
    }
    return HPX_OK;
}

/* A message that begins as JSON must be JSON: better said now than by the exchange. */
static hpx_status
json_check_sample(const hpxi_json_dialect *dialect, const hpxi_template *message, const char **what)
{
    const hpx_span topic = hpx_span_of("1"); /* JSON with quotes and without */
    const hpxi_template_values values = {
        .id = UINT64_MAX,
        .id_is_string = dialect->id_is_string,
        .ping = topic,
        .topics = &topic,
        .topic_count = 1,
    };
    uint8_t sample[JSON_SAMPLE_BYTES];
    hpx_writer writer = {.data = sample, .capacity = sizeof(sample)};
    hpxi_template_write(message, &values, &writer);
    if (writer.overflow) {
        *what = "longer than 16384 bytes";
        return HPX_E_INVALID;
    }
    if (sample[0] != '{' && sample[0] != '[') {
        return HPX_OK;
    }
    hpxi_json_paths none;
    hpxi_json_found found;
    hpxi_json_paths_init(&none);
    const hpx_span text = {.data = sample, .size = writer.size};
    if (hpxi_json_scan(&none, text, &found) != HPXI_JSON_OK) {
        *what = "begins as JSON but is none once filled in";
        return HPX_E_INVALID;
    }
    return HPX_OK;
}

static hpx_status json_compile_message(
    hpxi_json_dialect *out,
    uint32_t message,
    const char *text,
    uint32_t allowed,
    const char *name,
    hpx_error *error)
{
    const char *what = NULL;
    hpxi_template *to = &out->messages[message];
    if (hpxi_template_compile(to, text, allowed, &what) != HPX_OK ||
        (to->count != 0 && json_check_sample(out, to, &what) != HPX_OK)) {
        return hpxi_config_fail(error, name, what);
    }
    return HPX_OK;
}

#define JSON_HAS(kind) (1u << HPXI_TEMPLATE_##kind)
#define JSON_TOPICS    (JSON_HAS(TOPICS) | JSON_HAS(TOPIC) | JSON_HAS(TOPIC_RAW))

static hpx_status json_compile_messages(
    hpxi_json_dialect *out, char **strings, const hpx_json_config *config, hpx_error *error)
{
    const struct {
        const char *name;
        hpxi_json_message message;
        const char *from;
        uint32_t allowed;
    } messages[] = {
        {"auth", HPXI_MESSAGE_AUTH, config->auth, JSON_HAS(ID)},
        {"subscribe", HPXI_MESSAGE_SUBSCRIBE, config->subscribe, JSON_HAS(ID) | JSON_TOPICS},
        {"unsubscribe", HPXI_MESSAGE_UNSUBSCRIBE, config->unsubscribe, JSON_HAS(ID) | JSON_TOPICS},
        {"ping", HPXI_MESSAGE_PING, config->ping, JSON_HAS(ID)},
        {"pong", HPXI_MESSAGE_PONG, config->pong, JSON_HAS(ID) | JSON_HAS(PING)},
    };
    hpx_status status = HPX_OK;
    for (size_t i = 0; i < JSON_COUNT(messages) && status == HPX_OK; i++) {
        status = json_compile_message(
            out,
            messages[i].message,
            messages[i].from,
            messages[i].allowed,
            messages[i].name,
            error);
    }
    for (uint32_t i = 0; i < config->on_connect_count && status == HPX_OK; i++) {
        const char *text = hpxi_text_copy(strings, config->on_connect[i]);
        status = json_compile_message(
            out, HPXI_MESSAGE_ON_CONNECT + i, text, JSON_HAS(ID), "on_connect", error);
    }
    return status;
}

/* Members that make sense together only. */
static hpx_status
json_check_whole(const hpxi_json_dialect *out, const hpx_json_config *config, hpx_error *error)
{
    const uint32_t subscribe = out->messages[HPXI_MESSAGE_SUBSCRIBE].uses;
    if ((subscribe & JSON_TOPICS) == 0) {
        return hpxi_config_fail(error, "subscribe", "says no topic: needs ${topics} or ${topic}");
    }
    if ((out->messages[HPXI_MESSAGE_UNSUBSCRIBE].uses & JSON_TOPICS) == 0) {
        return hpxi_config_fail(error, "unsubscribe", "says no topic: needs ${topics} or ${topic}");
    }
    if ((out->messages[HPXI_MESSAGE_PONG].uses & JSON_HAS(PING)) != 0 &&
        out->ping_value.count == 0) {
        return hpxi_config_fail(error, "pong", "${ping} needs ping_value_field");
    }
    if (config->acknowledges && (subscribe & JSON_HAS(ID)) == 0 &&
        out->rules[HPXI_RULE_SUBSCRIBED].count == 0) {
        return hpxi_config_fail(
            error, "acknowledges", "needs ${id} in subscribe, or subscribed_rule");
    }
    return HPX_OK;
}

hpx_status hpxi_json_compile(
    hpxi_json_dialect *out, char *strings, const hpx_json_config *config, hpx_error *error)
{
    hpx_json_config own = *config;
    for (size_t i = 0; i < JSON_COUNT(json_texts); i++) {
        const char **member = json_member(&own, &json_texts[i]);
        *member = hpxi_text_copy(&strings, *member);
    }
    hpxi_json_paths_init(&out->paths);
    out->id_is_string = own.id_is_string;
    out->ping_text = hpx_span_of(own.ping_text);
    out->pong_text = hpx_span_of(own.pong_text);
    out->build_auth = own.build_auth;
    out->build_auth_ctx = own.build_auth_ctx;
    out->on_connect_count = own.on_connect_count;
    hpx_status status = json_compile_fields(out, &own, error);
    if (status == HPX_OK) {
        status = json_compile_rules(out, &own, error);
    }
    if (status == HPX_OK) {
        status = json_compile_messages(out, &strings, &own, error);
    }
    return status == HPX_OK ? json_check_whole(out, &own, error) : status;
}

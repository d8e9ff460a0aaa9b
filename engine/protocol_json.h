/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol_json.h - the generic JSON dialect, compiled from its configuration.
 *
 * Threads   Any: immutable once made. Memory: one block, its strings behind it.
 */
#ifndef HPXI_PROTOCOL_JSON_H
#define HPXI_PROTOCOL_JSON_H

#include "engine/protocol.h"
#include "engine/protocol_rule.h"
#include "engine/protocol_template.h"

typedef enum hpxi_json_rule {
    HPXI_RULE_PING = 0,
    HPXI_RULE_PONG,
    HPXI_RULE_RECONNECT,
    HPXI_RULE_AUTH_OK,
    HPXI_RULE_AUTH_FAILED,
    HPXI_RULE_REFUSED,
    HPXI_RULE_SUBSCRIBED,
    HPXI_RULE_UNSUBSCRIBED,
    HPXI_RULE_SYSTEM,
    HPXI_RULE_UPDATE,
    HPXI_RULE_RESPONSE,
    HPXI_RULE_ERROR,
    HPXI_RULE_COUNT,
} hpxi_json_rule;

typedef enum hpxi_json_message {
    HPXI_MESSAGE_AUTH = 0,
    HPXI_MESSAGE_SUBSCRIBE,
    HPXI_MESSAGE_UNSUBSCRIBE,
    HPXI_MESSAGE_PING,
    HPXI_MESSAGE_PONG,
    HPXI_MESSAGE_ON_CONNECT,
    HPXI_MESSAGE_COUNT = HPXI_MESSAGE_ON_CONNECT + HPXI_ON_CONNECT_MAX,
} hpxi_json_message;

typedef struct hpxi_json_dialect {
    hpxi_dialect dialect;
    hpxi_json_paths paths;
    hpxi_field id;
    hpxi_field topic;
    hpxi_field reason;
    hpxi_field ping_value;
    hpxi_rule rules[HPXI_RULE_COUNT];
    hpxi_rule_terms terms;
    hpx_span ping_text; /* empty: none */
    hpx_span pong_text;
    bool id_is_string;
    hpxi_id_place id_place;
    hpx_build_auth build_auth;
    void *build_auth_ctx;
    uint32_t on_connect_count;
    hpxi_template messages[HPXI_MESSAGE_COUNT];
} hpxi_json_dialect;

/* Everything but the table: checks a config with its defaults filled in, copies its strings to
 * `strings` (hpxi_json_strings_bytes() of them) and compiles it. `error` names the bad member. */
hpx_status hpxi_json_compile(
    hpxi_json_dialect *out, char *strings, const hpx_json_config *config, hpx_error *error);

/* Fills in defaults and checks what needs no compiling. */
hpx_status hpxi_json_prepare(hpx_json_config *full, const hpx_json_config *from, hpx_error *error);
size_t hpxi_json_strings_bytes(const hpx_json_config *full);

#endif /* HPXI_PROTOCOL_JSON_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * faults.c - the faults' grammar.
 *
 * Every kind of fault has a table of its members; one that it does not know is refused, so that a
 * mistake in a test's fault is not mistaken for good behaviour. Numbers come as text
 * (YYJSON_READ_NUMBER_AS_RAW), as jsonrpc.c reads them.
 */
#include "faults.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fault_parser {
    yyjson_val *fault;
    const char *why; /* NULL so far */
} fault_parser;

/* A whole number of at most `max`; `fallback` where there is none. */
static uint64_t
fault_number(fault_parser *parser, const char *name, uint64_t fallback, uint64_t max)
{
    yyjson_val *value = yyjson_obj_get(parser->fault, name);
    if (value == NULL) {
        return fallback;
    }
    const char *digits = yyjson_get_raw(value);
    const size_t size = yyjson_get_len(value);
    if (digits == NULL || size > 19 || strspn(digits, "0123456789") < size) {
        parser->why = "a number is not whole, or is out of range";
        return fallback;
    }
    char copy[20] = "";
    memcpy(copy, digits, size);
    const uint64_t number = strtoull(copy, NULL, 10);
    if (number > max) {
        parser->why = "a number is not whole, or is out of range";
    }
    return number;
}

static bool fault_flag(fault_parser *parser, const char *name)
{
    yyjson_val *value = yyjson_obj_get(parser->fault, name);
    if (value != NULL && !yyjson_is_bool(value)) {
        parser->why = "a flag is neither true nor false";
    }
    return yyjson_get_bool(value);
}

/* Copies a string, or an id as JSON writes it. */
static void
fault_text(fault_parser *parser, const char *name, const char *fallback, char *out, size_t capacity)
{
    yyjson_val *value = yyjson_obj_get(parser->fault, name);
    int size;
    if (value == NULL) {
        size = snprintf(out, capacity, "%s", fallback);
    } else if (yyjson_is_raw(value)) {
        size = snprintf(out, capacity, "%.*s", (int)yyjson_get_len(value), yyjson_get_raw(value));
    } else if (yyjson_is_str(value)) {
        const char *quote = strcmp(name, "id") == 0 ? "\"" : "";
        size = snprintf(out, capacity, "%s%s%s", quote, yyjson_get_str(value), quote);
    } else {
        parser->why = "a text is no string";
        return;
    }
    if (size < 0 || (size_t)size >= capacity) {
        parser->why = "a text is too long";
    }
}

static bool fault_is_close_code(uint64_t code)
{
    return (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
           (code >= 3000 && code <= 4999);
}

/* 0 or a close code. */
static uint16_t fault_close_code(fault_parser *parser, uint64_t fallback)
{
    const uint64_t code = fault_number(parser, "code", fallback, 4999);
    if (code != 0 && !fault_is_close_code(code)) {
        parser->why = "code is no close code";
    }
    return (uint16_t)code;
}

static const char *const fault_hows[] = {
    [FAULT_NEVER] = "never",
    [FAULT_LATE] = "late",
    [FAULT_TWICE] = "twice",
    [FAULT_FOREIGN] = "foreign",
    [FAULT_ERROR] = "error",
    [FAULT_MALFORMED] = "malformed",
    [FAULT_DROP] = "drop",
    [FAULT_CLOSE] = "close",
};

static void fault_take_answer(fault_parser *parser, faults *f, fault_now *now)
{
    (void)now;
    if (f->answer_count == FAULTS_ANSWERS_MAX) {
        parser->why = "16 answer faults are on already";
        return;
    }
    fault_answer *answer = &f->answers[f->answer_count];
    *answer = (fault_answer){.how = FAULT_NONE};
    yyjson_val *how = yyjson_obj_get(parser->fault, "how");
    for (size_t i = 1; i < CLI_COUNT_OF(fault_hows); i++) {
        if (yyjson_equals_str(how, fault_hows[i])) {
            answer->how = (fault_how)i;
        }
    }
    if (answer->how == FAULT_NONE) {
        parser->why = "how is none of never, late, twice, foreign, error, malformed, drop, close";
        return;
    }
    answer->across = fault_flag(parser, "across");
    answer->times = (uint32_t)fault_number(parser, "times", FAULTS_FOR_EVER, UINT32_MAX);
    answer->delay_ns = fault_number(parser, "delay_ms", 100, 3600000) * HPX_NS_PER_MS;
    answer->code = answer->how == FAULT_CLOSE
                       ? fault_close_code(parser, 1011)
                       : (int32_t)fault_number(parser, "code", 10028, INT32_MAX);
    fault_text(parser, "method", "", answer->method, sizeof(answer->method));
    fault_text(parser, "id", "", answer->id, sizeof(answer->id));
    fault_text(parser, "message", "fault", answer->message, sizeof(answer->message));
    f->answer_count++;
}

static void fault_take_drop(fault_parser *parser, faults *f, fault_now *now)
{
    const uint16_t code = fault_close_code(parser, 0);
    if (fault_flag(parser, "now")) {
        now->what = FAULT_NOW_DROP;
        now->code = code;
    } else if (yyjson_obj_get(parser->fault, "every_ms") == NULL) {
        parser->why = "neither now nor every_ms";
    } else {
        f->drop_every_ns = fault_number(parser, "every_ms", 0, 86400000) * HPX_NS_PER_MS;
        f->drop_code = code;
    }
}

static void fault_take_upgrade(fault_parser *parser, faults *f, fault_now *now)
{
    (void)now;
    const uint64_t status = fault_number(parser, "status", 429, 599);
    if (status != 101 && status < 400) {
        parser->why = "status is neither 101 nor 400 to 599";
    }
    f->upgrade.http_status = (uint32_t)status;
    f->upgrade.retry_after_s = (uint32_t)fault_number(parser, "retry_after_s", 0, 86400);
    f->upgrade_times = (uint32_t)fault_number(parser, "times", FAULTS_FOR_EVER, UINT32_MAX);
}

static void fault_take_updates(fault_parser *parser, faults *f, fault_now *now)
{
    (void)now;
    f->duplicate_every = (uint32_t)fault_number(parser, "duplicate_every", 0, UINT32_MAX);
    f->reorder_every = (uint32_t)fault_number(parser, "reorder_every", 0, UINT32_MAX);
}

static void fault_take_topics(fault_parser *parser, faults *f, fault_now *now)
{
    (void)now;
    yyjson_val *refuse = yyjson_obj_get(parser->fault, "refuse");
    f->accept_max = (uint32_t)fault_number(parser, "accept_max", FAULTS_ALL_ACCEPTED, UINT32_MAX);
    f->refused_count = 0;
    if (refuse == NULL) {
        return;
    }
    if (!yyjson_is_arr(refuse) || yyjson_arr_size(refuse) > FAULTS_REFUSED_MAX) {
        parser->why = "refuse is no array of at most 16 topics";
        return;
    }
    yyjson_arr_iter iter = yyjson_arr_iter_with(refuse);
    for (yyjson_val *value = NULL; (value = yyjson_arr_iter_next(&iter)) != NULL;) {
        if (yyjson_get_len(value) > MARKET_TOPIC_BYTES || !yyjson_is_str(value)) {
            parser->why = "refuse is no array of at most 16 topics";
            return;
        }
        char *to = f->refused[f->refused_count++];
        snprintf(to, sizeof(f->refused[0]), "%s", yyjson_get_str(value));
    }
}

static void fault_take_silent(fault_parser *parser, faults *f, fault_now *now)
{
    (void)now;
    f->silent = fault_flag(parser, "on");
}

static void fault_take_send(fault_parser *parser, faults *f, fault_now *now)
{
    (void)f;
    yyjson_val *text = yyjson_obj_get(parser->fault, "text");
    now->what = FAULT_NOW_SEND;
    now->is_binary = fault_flag(parser, "binary");
    now->bytes = fault_number(parser, "bytes", 0, FAULTS_SEND_MAX);
    now->text[0] = '\xFF'; /* no UTF-8 */
    now->text_bytes = 1;
    if (text != NULL) {
        if (!yyjson_is_str(text) || yyjson_get_len(text) > sizeof(now->text)) {
            parser->why = "text is no string of at most 1024 bytes";
            return;
        }
        now->text_bytes = yyjson_get_len(text);
        memcpy(now->text, yyjson_get_str(text), now->text_bytes);
    }
}

static void fault_take_clear(fault_parser *parser, faults *f, fault_now *now)
{
    (void)parser;
    (void)now;
    faults_init(f);
}

#define FAULT_MEMBERS_MAX 9u

static const struct {
    const char *name;
    void (*take)(fault_parser *parser, faults *f, fault_now *now);
    const char *members[FAULT_MEMBERS_MAX];
} fault_kinds[] = {
    {"answer",
     fault_take_answer,
     {"how", "method", "id", "times", "delay_ms", "across", "code", "message"}},
    {"drop", fault_take_drop, {"now", "every_ms", "code"}},
    {"upgrade", fault_take_upgrade, {"status", "retry_after_s", "times"}},
    {"updates", fault_take_updates, {"duplicate_every", "reorder_every"}},
    {"topics", fault_take_topics, {"refuse", "accept_max"}},
    {"silent", fault_take_silent, {"on"}},
    {"send", fault_take_send, {"text", "bytes", "binary"}},
    {"clear", fault_take_clear, {NULL}},
};

static void fault_check_members(fault_parser *parser, const char *const *members)
{
    yyjson_obj_iter iter = yyjson_obj_iter_with(parser->fault);
    for (yyjson_val *key = NULL; (key = yyjson_obj_iter_next(&iter)) != NULL;) {
        bool known = yyjson_equals_str(key, "fault");
        for (size_t i = 0; !known && members[i] != NULL; i++) {
            known = yyjson_equals_str(key, members[i]);
        }
        if (!known) {
            parser->why = "a member that this fault does not have";
        }
    }
}

void faults_init(faults *f)
{
    *f = (faults){.accept_max = FAULTS_ALL_ACCEPTED, .upgrade = {.http_status = 101}};
}

const char *faults_take(faults *f, yyjson_val *fault, fault_now *now)
{
    *now = (fault_now){.what = FAULT_NOW_NOTHING};
    fault_parser parser = {.fault = fault};
    for (size_t i = 0; i < CLI_COUNT_OF(fault_kinds); i++) {
        if (!yyjson_equals_str(yyjson_obj_get(fault, "fault"), fault_kinds[i].name)) {
            continue;
        }
        faults changed = *f;
        fault_check_members(&parser, fault_kinds[i].members);
        if (parser.why == NULL) {
            fault_kinds[i].take(&parser, &changed, now);
        }
        if (parser.why == NULL) {
            *f = changed;
        } else {
            now->what = FAULT_NOW_NOTHING;
        }
        return parser.why;
    }
    return "fault is none of answer, drop, upgrade, updates, topics, silent, send, clear";
}

const char *faults_take_text(faults *f, const char *json)
{
    yyjson_doc *doc = yyjson_read_opts(
        (char *)(uintptr_t)json, strlen(json), YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    fault_now now;
    const char *why = doc == NULL ? "not JSON" : faults_take(f, yyjson_doc_get_root(doc), &now);
    yyjson_doc_free(doc);
    if (why == NULL && now.what != FAULT_NOW_NOTHING) {
        return "there is nobody connected yet to do this to";
    }
    return why;
}

fault_answer faults_for_request(faults *f, const char *method, const char *id)
{
    for (uint32_t i = 0; i < f->answer_count; i++) {
        fault_answer *answer = &f->answers[i];
        if (answer->times == 0 ||
            (answer->method[0] != '\0' && strcmp(answer->method, method) != 0) ||
            (answer->id[0] != '\0' && strcmp(answer->id, id) != 0)) {
            continue;
        }
        if (answer->times != FAULTS_FOR_EVER) {
            answer->times--;
        }
        return *answer;
    }
    return (fault_answer){.how = FAULT_NONE};
}

hpx_upgrade_answer faults_for_upgrade(faults *f)
{
    if (f->upgrade.http_status == 101 || f->upgrade_times == 0) {
        return (hpx_upgrade_answer){.http_status = 101};
    }
    if (f->upgrade_times != FAULTS_FOR_EVER) {
        f->upgrade_times--;
    }
    return f->upgrade;
}

bool faults_refuses_topic(const faults *f, const char *name)
{
    for (uint32_t i = 0; i < f->refused_count; i++) {
        if (strcmp(f->refused[i], name) == 0) {
            return true;
        }
    }
    return false;
}

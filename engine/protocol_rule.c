/* SPDX-License-Identifier: Apache-2.0 */
/* protocol_rule.c - fields and rules of the generic JSON dialect. */
#include "engine/protocol_rule.h"

#include <string.h>

#include "engine/json_value.h"
#include "ring/assert.h"

/* Takes the part of `rest` before the next `separator`; false behind the last part. */
static bool rule_next_part(const char **rest, char separator, hpx_span *out)
{
    if (*rest == NULL) {
        return false;
    }
    const char *end = strchr(*rest, separator);
    const size_t size = end == NULL ? strlen(*rest) : (size_t)(end - *rest);
    *out = (hpx_span){.data = (const uint8_t *)*rest, .size = size};
    *rest = end == NULL ? NULL : end + 1;
    return true;
}

static int rule_add_path(hpxi_json_paths *paths, hpx_span path, const char **what)
{
    const int slot = hpxi_json_paths_add(paths, path);
    if (slot == HPX_E_INVALID) {
        *what = "a path or a key of one is empty";
    } else if (slot < 0) {
        *what = "more than 8 keys in a path, or more than 32 paths or 63 keys in the dialect";
    }
    return slot < 0 ? HPX_E_INVALID : slot;
}

hpx_status
hpxi_field_compile(hpxi_field *out, hpxi_json_paths *paths, const char *text, const char **what)
{
    *out = (hpxi_field){0};
    const char *rest = text;
    hpx_span path;
    while (rule_next_part(&rest, '|', &path)) {
        if (out->count == HPXI_FIELD_PATHS_MAX) {
            *what = "more than 4 paths";
            return HPX_E_INVALID;
        }
        const int slot = rule_add_path(paths, path, what);
        if (slot < 0) {
            return slot;
        }
        out->slots[out->count++] = (int8_t)slot;
    }
    return HPX_OK;
}

static hpx_status rule_add_term(
    hpxi_rule_terms *terms, hpxi_json_paths *paths, hpx_span text, bool is_last, const char **what)
{
    if (terms->count == HPXI_RULE_TERMS_MAX) {
        *what = "more than 64 terms in the rules of the dialect";
        return HPX_E_INVALID;
    }
    const uint8_t *equals = text.size == 0 ? NULL : memchr(text.data, '=', text.size);
    const size_t path_bytes = equals == NULL ? text.size : (size_t)(equals - text.data);
    const int slot = rule_add_path(paths, (hpx_span){text.data, path_bytes}, what);
    if (slot < 0) {
        return slot;
    }
    hpxi_rule_term *term = &terms->terms[terms->count++];
    *term = (hpxi_rule_term){.slot = (int8_t)slot, .is_last = is_last};
    if (equals != NULL) {
        term->has_value = true;
        term->value = (hpx_span){.data = equals + 1, .size = text.size - path_bytes - 1};
    }
    return HPX_OK;
}

/* The terms of one alternative, which has no end of its own. */
static hpx_status rule_add_alternative(
    hpxi_rule_terms *terms, hpxi_json_paths *paths, hpx_span text, const char **what)
{
    size_t at = 0;
    while (at <= text.size) {
        const uint8_t *from = text.data + at;
        const uint8_t *end = at == text.size ? NULL : memchr(from, '&', text.size - at);
        const size_t size = end == NULL ? text.size - at : (size_t)(end - from);
        const hpx_span term = {.data = from, .size = size};
        const hpx_status status = rule_add_term(terms, paths, term, end == NULL, what);
        if (status != HPX_OK) {
            return status;
        }
        at += size + 1;
    }
    return HPX_OK;
}

hpx_status hpxi_rule_compile(
    hpxi_rule *out,
    hpxi_rule_terms *terms,
    hpxi_json_paths *paths,
    const char *text,
    const char **what)
{
    *out = (hpxi_rule){.first = (uint8_t)terms->count};
    const char *rest = text;
    hpx_span alternative;
    while (rule_next_part(&rest, '|', &alternative)) {
        const hpx_status status = rule_add_alternative(terms, paths, alternative, what);
        if (status != HPX_OK) {
            return status;
        }
    }
    out->count = (uint8_t)(terms->count - out->first);
    HPX_ASSERT(text == NULL || out->count != 0);
    return HPX_OK;
}

hpxi_json_value hpxi_field_at(const hpxi_field *field, const hpxi_json_found *found)
{
    for (uint32_t i = 0; i < field->count; i++) {
        const hpxi_json_value value = hpxi_json_at(found, field->slots[i]);
        if (value.kind > HPXI_JSON_NULL) {
            return value;
        }
    }
    return (hpxi_json_value){0};
}

static bool rule_term_matches(const hpxi_rule_term *term, const hpxi_json_found *found)
{
    const hpxi_json_value value = hpxi_json_at(found, term->slot);
    if (!term->has_value) {
        return value.kind > HPXI_JSON_NULL;
    }
    switch (value.kind) {
    case HPXI_JSON_STRING:
        return hpxi_json_is_text(value, term->value);
    case HPXI_JSON_NULL:
    case HPXI_JSON_FALSE:
    case HPXI_JSON_TRUE:
    case HPXI_JSON_NUMBER:
        return value.size == term->value.size &&
               memcmp(value.data, term->value.data, value.size) == 0;
    case HPXI_JSON_ABSENT:
    case HPXI_JSON_OBJECT:
    case HPXI_JSON_ARRAY:
        return false;
    }
    return false;
}

bool hpxi_rule_matches(
    const hpxi_rule *rule, const hpxi_rule_terms *terms, const hpxi_json_found *found)
{
    const hpxi_rule_term *term = &terms->terms[rule->first];
    const hpxi_rule_term *end = term + rule->count;
    bool all = true;
    for (; term != end; term++) {
        all = all && rule_term_matches(term, found);
        if (term->is_last) {
            if (all) {
                return true;
            }
            all = true;
        }
    }
    return false;
}

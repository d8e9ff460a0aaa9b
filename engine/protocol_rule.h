/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol_rule.h - fields and rules of the generic JSON dialect, compiled.
 *
 *   field   path | path | ...          the first that is there and not null
 *   rule    term & term | term ...     any of the alternatives, all of its terms
 *   term    path                       it is there and not null
 *           path=value                 it is this string, number, boolean or null
 *
 * Threads   Any: immutable once compiled. Memory: fixed; texts are borrowed.
 */
#ifndef HPXI_PROTOCOL_RULE_H
#define HPXI_PROTOCOL_RULE_H

#include "engine/json_scan.h"

#define HPXI_FIELD_PATHS_MAX 4u
#define HPXI_RULE_TERMS_MAX  64u /* of all rules of a dialect */

typedef struct hpxi_field {
    uint8_t count; /* 0: not used */
    int8_t slots[HPXI_FIELD_PATHS_MAX];
} hpxi_field;

typedef struct hpxi_rule_term {
    int8_t slot;
    bool has_value;
    bool is_last; /* of its alternative */
    hpx_span value;
} hpxi_rule_term;

typedef struct hpxi_rule {
    uint8_t first;
    uint8_t count; /* 0: not used, matches nothing */
} hpxi_rule;

typedef struct hpxi_rule_terms {
    uint32_t count;
    hpxi_rule_term terms[HPXI_RULE_TERMS_MAX];
} hpxi_rule_terms;

/* `text` NULL: not used. Paths join `paths`. HPX_OK, or HPX_E_INVALID and *what says why. */
hpx_status
hpxi_field_compile(hpxi_field *out, hpxi_json_paths *paths, const char *text, const char **what);
hpx_status hpxi_rule_compile(
    hpxi_rule *out,
    hpxi_rule_terms *terms,
    hpxi_json_paths *paths,
    const char *text,
    const char **what);

/* The value of a field; ABSENT when it is nowhere. */
hpxi_json_value hpxi_field_at(const hpxi_field *field, const hpxi_json_found *found);

bool hpxi_rule_matches(
    const hpxi_rule *rule, const hpxi_rule_terms *terms, const hpxi_json_found *found);

#endif /* HPXI_PROTOCOL_RULE_H */

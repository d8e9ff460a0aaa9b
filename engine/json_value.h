/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_value.h - what a scanned value says: text without escapes, whole numbers, elements.
 *
 * Role      Works on values that hpxi_json_scan() gave, so on text that is known to be JSON.
 * Threads   Any; no state. Memory: the caller's.
 */
#ifndef HPXI_JSON_VALUE_H
#define HPXI_JSON_VALUE_H

#include "engine/json_scan.h"

/* Does the string say `text`? False for other kinds. */
bool hpxi_json_is_text(hpxi_json_value value, hpx_span text);

/* Writes the string without escapes. Its bytes, or SIZE_MAX when it has more than `capacity`. */
size_t hpxi_json_unescape(hpxi_json_value value, uint8_t *out, size_t capacity);

/* A number that is whole, not negative and below 2^64, in whatever form (7, 7.0, 70e-1). */
bool hpxi_json_to_u64(hpxi_json_value value, uint64_t *out);

/* As above for text that is digits without a leading zero: how ids are written in strings. */
bool hpxi_json_digits_to_u64(hpx_span text, uint64_t *out);

/* Walks over the elements of an array; false behind the last one. */
typedef struct hpxi_json_elements {
    const uint8_t *at;
    const uint8_t *end;
} hpxi_json_elements;

hpxi_json_elements hpxi_json_elements_of(hpxi_json_value array);
bool hpxi_json_elements_next(hpxi_json_elements *elements, hpxi_json_value *out);

#endif /* HPXI_JSON_VALUE_H */

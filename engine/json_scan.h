/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_scan.h - finds the values of a few wanted paths in a JSON text, in one pass.
 *
 * Role      The hot path of every update message: is the text JSON (all of it, strictly RFC 8259),
 *           and what stands at these paths? No tree is built; what nobody asked for is checked and
 *           passed over.
 * Threads   Any: a set of paths is immutable once made, a result is the caller's.
 * Memory    Nothing is allocated and nothing recurses: nesting costs one bit per level, up to
 *           HPXI_JSON_DEPTH_MAX. Values point into the text.
 *
 * What is refused: trailing bytes, invalid UTF-8 (a byte order mark too), control bytes in strings,
 * bad escapes, surrogates without their other half, numbers such as 01, +1, .5 or NaN.
 *
 * Of a key that occurs twice in one object the first counts, the others are passed over (and are
 * told in `repeated`). Keys are compared after unescaping: "\u0069d" is "id".
 */
#ifndef HPXI_JSON_SCAN_H
#define HPXI_JSON_SCAN_H

#include <hpx/base.h>

#define HPXI_JSON_DEPTH_MAX      512u /* objects and arrays in each other */
#define HPXI_JSON_SLOTS_MAX      32u  /* wanted paths of a set */
#define HPXI_JSON_NODES_MAX      64u  /* their keys, the shared ones counted once */
#define HPXI_JSON_PATH_DEPTH_MAX 8u   /* keys of one path */

typedef enum hpxi_json_kind {
    HPXI_JSON_ABSENT = 0,
    HPXI_JSON_NULL,
    HPXI_JSON_FALSE,
    HPXI_JSON_TRUE,
    HPXI_JSON_NUMBER,
    HPXI_JSON_STRING,
    HPXI_JSON_OBJECT,
    HPXI_JSON_ARRAY,
} hpxi_json_kind;

/* A value as it stands in the text: strings without their quotes and not unescaped, objects and
 * arrays with their brackets. */
typedef struct hpxi_json_value {
    const uint8_t *data;
    size_t size;
    hpxi_json_kind kind;
    bool escaped; /* a string with a backslash in it */
} hpxi_json_value;

/* A key of a path, in a tree of the keys that paths share. */
typedef struct hpxi_json_node {
    const uint8_t *key;
    uint32_t key_bytes;
    uint32_t index;      /* the key as an element of an array; UINT32_MAX: it is no number */
    uint8_t first_child; /* HPXI_JSON_NO_NODE: none */
    uint8_t next;        /* sibling */
    uint8_t slot;        /* HPXI_JSON_NO_SLOT: only on the way to others */
} hpxi_json_node;

#define HPXI_JSON_NO_NODE UINT8_MAX
#define HPXI_JSON_NO_SLOT UINT8_MAX

/* Node 0 is the text's own value. */
typedef struct hpxi_json_paths {
    uint32_t node_count;
    uint32_t slot_count;
    hpxi_json_node nodes[HPXI_JSON_NODES_MAX];
} hpxi_json_paths;

void hpxi_json_paths_init(hpxi_json_paths *paths);

/*
 * Want the value at `path`: keys with dots between them, "params.channel". A key of digits is an
 * element of an array as well: "data.0.symbol". The text is borrowed for the life of the set.
 * Returns the slot of its value (that of an earlier call with the same path), HPX_E_INVALID when a
 * key is empty, or HPX_E_LIMIT.
 */
int hpxi_json_paths_add(hpxi_json_paths *paths, hpx_span path);

typedef struct hpxi_json_found {
    hpxi_json_value root;
    uint32_t there;    /* bit of each slot that has a value (null is one) */
    uint64_t seen;     /* bit of each node that was met */
    uint64_t repeated; /* bit of each node that was met again */
    hpxi_json_value values[HPXI_JSON_SLOTS_MAX]; /* valid where `there` says so */
} hpxi_json_found;

typedef enum hpxi_json_result {
    HPXI_JSON_OK = 0,
    HPXI_JSON_MALFORMED,
    HPXI_JSON_TOO_DEEP, /* more than HPXI_JSON_DEPTH_MAX; the rest was not looked at */
} hpxi_json_result;

/* `out` need not be initialised. It says nothing unless the result is HPXI_JSON_OK. */
hpxi_json_result hpxi_json_scan(const hpxi_json_paths *paths, hpx_span text, hpxi_json_found *out);

/* The value of a slot; kind ABSENT when there is none. */
static inline hpxi_json_value hpxi_json_at(const hpxi_json_found *found, int slot)
{
    const bool there = slot >= 0 && (found->there >> slot & 1) != 0;
    return there ? found->values[slot] : (hpxi_json_value){0};
}

/* Is there a value other than null? */
static inline bool hpxi_json_has(const hpxi_json_found *found, int slot)
{
    return hpxi_json_at(found, slot).kind > HPXI_JSON_NULL;
}

#endif /* HPXI_JSON_SCAN_H */

/* SPDX-License-Identifier: Apache-2.0 */
/* json_paths.c - sets of wanted paths, as a tree of the keys that they share. */
#include <string.h>

#include "engine/json_scan.h"
#include "engine/json_value.h"
#include "ring/assert.h"

void hpxi_json_paths_init(hpxi_json_paths *paths)
{
    paths->node_count = 1;
    paths->slot_count = 0;
    paths->nodes[0] = (hpxi_json_node){
        .index = UINT32_MAX,
        .first_child = HPXI_JSON_NO_NODE,
        .next = HPXI_JSON_NO_NODE,
        .slot = HPXI_JSON_NO_SLOT,
    };
}

static bool paths_has_key(const hpxi_json_node *node, hpx_span key)
{
    return node->key_bytes == key.size && memcmp(node->key, key.data, key.size) == 0;
}

/* The child of `parent` with this key, made when there is none; HPX_E_LIMIT. */
static int paths_child(hpxi_json_paths *paths, uint8_t parent, hpx_span key)
{
    HPX_ASSERT(key.size != 0);
    uint8_t *link = &paths->nodes[parent].first_child;
    while (*link != HPXI_JSON_NO_NODE) {
        if (paths_has_key(&paths->nodes[*link], key)) {
            return *link;
        }
        link = &paths->nodes[*link].next;
    }
    if (paths->node_count == HPXI_JSON_NODES_MAX || key.size > UINT32_MAX) {
        return HPX_E_LIMIT;
    }
    uint64_t index = UINT32_MAX;
    if (!hpxi_json_digits_to_u64(key, &index) || index > UINT32_MAX) {
        index = UINT32_MAX;
    }
    *link = (uint8_t)paths->node_count++;
    paths->nodes[*link] = (hpxi_json_node){
        .key = key.data,
        .key_bytes = (uint32_t)key.size,
        .index = (uint32_t)index,
        .first_child = HPXI_JSON_NO_NODE,
        .next = HPXI_JSON_NO_NODE,
        .slot = HPXI_JSON_NO_SLOT,
    };
    return *link;
}

int hpxi_json_paths_add(hpxi_json_paths *paths, hpx_span path)
{
    HPX_ASSERT(paths->node_count >= 1);
    int node = 0;
    size_t at = 0;
    for (uint32_t depth = 0; at <= path.size; depth++) {
        const uint8_t *dot = path.size == at ? NULL : memchr(path.data + at, '.', path.size - at);
        const size_t end = dot == NULL ? path.size : (size_t)(dot - path.data);
        if (end == at) {
            return HPX_E_INVALID;
        }
        if (depth == HPXI_JSON_PATH_DEPTH_MAX) {
            return HPX_E_LIMIT;
        }
        const hpx_span key = {.data = path.data + at, .size = end - at};
        node = paths_child(paths, (uint8_t)node, key);
        if (node < 0) {
            return node;
        }
        at = end + 1;
    }
    uint8_t *slot = &paths->nodes[node].slot;
    if (*slot == HPXI_JSON_NO_SLOT) {
        if (paths->slot_count == HPXI_JSON_SLOTS_MAX) {
            return HPX_E_LIMIT;
        }
        *slot = (uint8_t)paths->slot_count++;
    }
    return *slot;
}

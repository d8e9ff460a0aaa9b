/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol.h - what the dialects of the library have in common.
 *
 * Role      A dialect made by a `_new` function is one block: this head, what the dialect compiled
 *           from its configuration, its strings. Its table's ctx is the block, which is counted:
 *           one reference for the caller of `_new`, one for each connection.
 * Threads   Immutable once made; the count is atomic.
 * Memory    One allocation for each dialect; none afterwards.
 */
#ifndef HPXI_PROTOCOL_H
#define HPXI_PROTOCOL_H

#include <stdatomic.h>

#include <hpx/protocol.h>

#include "engine/json_scan.h"
#include "engine/json_value.h"

#define HPXI_ON_CONNECT_MAX 16u

typedef struct hpxi_dialect {
    hpx_protocol table; /* first: what the application holds */
    _Atomic uint32_t references;
    size_t bytes; /* of the block */
    hpx_allocator allocator;
} hpxi_dialect;

/* Zeroed block of `bytes` with one reference; NULL when there is no memory. */
void *hpxi_dialect_alloc(size_t bytes, const hpx_allocator *allocator);

/* For hpx_protocol.retain and .release. */
void hpxi_dialect_retain(void *ctx);
void hpxi_dialect_release(void *ctx);

/* As the public functions, from this allocator (NULL: the library's own). */
hpx_status hpxi_protocol_json_rpc_new(
    hpx_protocol **out,
    const hpx_json_rpc_config *config,
    const hpx_allocator *allocator,
    hpx_error *error);
hpx_status hpxi_protocol_json_new(
    hpx_protocol **out,
    const hpx_json_config *config,
    const hpx_allocator *allocator,
    hpx_error *error);

/* Copies `text` to *at and advances it; NULL stays NULL. */
const char *hpxi_text_copy(char **at, const char *text);
size_t hpxi_text_bytes(const char *text); /* what it takes: 0 for NULL */

/* HPX_E_INVALID naming the member. */
hpx_status hpxi_config_fail(hpx_error *error, const char *member, const char *what);

/* Each of the `count` texts must be there. */
hpx_status hpxi_on_connect_check(const char *const *texts, uint32_t count, hpx_error *error);

/* Where the text of a string with escapes goes: memory of the calling thread, valid until it is
 * used again. */
typedef enum hpxi_scratch {
    HPXI_SCRATCH_TOPIC = 0,
    HPXI_SCRATCH_REASON,
    HPXI_SCRATCH_ID,
    HPXI_SCRATCH_COUNT,
} hpxi_scratch;

#define HPXI_SCRATCH_BYTES 256u

/* What a value says: the text of a string, nothing for null and absent, others as they stand. A
 * string with escapes that says more than HPXI_SCRATCH_BYTES stays as it stands. */
hpx_span hpxi_value_span(hpxi_json_value value, hpxi_scratch scratch);

/* The id that a value says; strings of digits are numbers where `digits` says so. */
hpx_request_id hpxi_value_id(hpxi_json_value value, bool digits);

/* Where a request id goes in a payload: a set of paths made once. */
typedef struct hpxi_id_place {
    hpxi_json_paths paths; /* slot i: the first i + 1 keys of the path */
    hpx_span path;
    bool is_string;
} hpxi_id_place;

/* `path` is borrowed. HPX_E_INVALID, HPX_E_LIMIT: an id could not be put in so few bytes. */
hpx_status hpxi_id_place_init(hpxi_id_place *place, hpx_span path, bool is_string);

/* For hpx_protocol.inject_request_id. */
hpx_status
hpxi_id_place_splice(const hpxi_id_place *place, hpx_span payload, uint64_t id, hpx_splice *out);

/* Is it an object that has a value at the place already? Negative: no JSON object, or no place. */
hpx_status hpxi_id_place_is_taken(const hpxi_id_place *place, hpx_span payload);

#endif /* HPXI_PROTOCOL_H */

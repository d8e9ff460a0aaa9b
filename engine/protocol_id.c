/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol_id.c - puts the id of a request into its payload.
 *
 * Role      A value at the id's place is replaced, whatever it is. Where there is none, the id goes
 *           first into the innermost object on its path that is there:
 *
 *               {"method":"m"}            id     {"id":7,"method":"m"}
 *               {"op":"x","meta":{}}      meta.id    {"op":"x","meta":{"id":7}}
 *               {"op":"x"}                meta.id    {"meta":{"id":7},"op":"x"}
 *
 *           A payload with the key twice is refused: the server might take the other one.
 * Threads   Any: a place is immutable once made. Memory: nothing is allocated.
 */
#include <string.h>

#include "engine/protocol.h"
#include "ring/assert.h"

/* "key": for keys `first` and on, the inner ones in braces; then the id. */
static void id_write(const hpxi_id_place *place, uint32_t first, uint64_t id, hpx_writer *writer)
{
    uint32_t index = 0;
    uint32_t braces = 0;
    size_t at = 0;
    while (at <= place->path.size) {
        const uint8_t *from = place->path.data + at;
        const uint8_t *dot = memchr(from, '.', place->path.size - at);
        const size_t size = dot == NULL ? place->path.size - at : (size_t)(dot - from);
        if (index >= first) {
            if (index > first) {
                hpx_writer_bytes(writer, "{", 1);
                braces++;
            }
            hpx_writer_json_string(writer, (hpx_span){.data = from, .size = size});
            hpx_writer_bytes(writer, ":", 1);
        }
        at += size + 1;
        index++;
    }
    hpx_writer_bytes(writer, "\"", place->is_string ? 1 : 0);
    hpx_writer_u64(writer, id);
    hpx_writer_bytes(writer, "\"", place->is_string ? 1 : 0);
    for (; braces != 0; braces--) {
        hpx_writer_bytes(writer, "}", 1);
    }
}

hpx_status hpxi_id_place_init(hpxi_id_place *place, hpx_span path, bool is_string)
{
    HPX_ASSERT(path.size != 0);
    place->path = path;
    place->is_string = is_string;
    hpxi_json_paths_init(&place->paths);
    for (size_t i = 0; i <= path.size; i++) {
        if (i == path.size || path.data[i] == '.') {
            const hpx_span prefix = {.data = path.data, .size = i};
            const int slot = hpxi_json_paths_add(&place->paths, prefix);
            if (slot < 0) {
                return slot;
            }
        }
    }
    char text[HPX_SPLICE_BYTES - 1]; /* a comma may follow */
    hpx_writer writer = {.data = (uint8_t *)text, .capacity = sizeof(text)};
    id_write(place, 0, UINT64_MAX, &writer);
    return writer.overflow ? HPX_E_LIMIT : HPX_OK;
}

static hpx_status
id_scan(const hpxi_id_place *place, hpx_span payload, hpxi_json_found *found, uint32_t *there)
{
    if (hpxi_json_scan(&place->paths, payload, found) != HPXI_JSON_OK ||
        found->root.kind != HPXI_JSON_OBJECT || found->repeated != 0) {
        return HPX_E_INVALID;
    }
    *there = 0;
    while (*there < place->paths.slot_count && (found->there >> *there & 1) != 0) {
        ++*there;
    }
    return HPX_OK;
}

hpx_status hpxi_id_place_is_taken(const hpxi_id_place *place, hpx_span payload)
{
    hpxi_json_found found;
    uint32_t there = 0;
    const hpx_status status = id_scan(place, payload, &found, &there);
    return status != HPX_OK ? status : there == place->paths.slot_count;
}

/* Into an object that lacks key `first` of the path: behind its opening brace. */
static void id_insert(
    const hpxi_id_place *place,
    hpxi_json_value object,
    uint32_t first,
    uint64_t id,
    hpx_writer *writer)
{
    HPX_ASSERT(object.kind == HPXI_JSON_OBJECT);
    const uint8_t *at = object.data + 1;
    while (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r') {
        at++;
    }
    id_write(place, first, id, writer);
    hpx_writer_bytes(writer, ",", *at == '}' ? 0 : 1);
}

hpx_status
hpxi_id_place_splice(const hpxi_id_place *place, hpx_span payload, uint64_t id, hpx_splice *out)
{
    hpxi_json_found found;
    uint32_t there = 0;
    const hpx_status status = id_scan(place, payload, &found, &there);
    if (status != HPX_OK) {
        return status;
    }
    hpx_writer writer = {.data = (uint8_t *)out->text, .capacity = sizeof(out->text)};
    const uint32_t count = place->paths.slot_count;
    if (there == count) {
        const hpxi_json_value old = found.values[count - 1];
        const size_t quote = old.kind == HPXI_JSON_STRING ? 1 : 0;
        out->offset = (size_t)(old.data - payload.data) - quote;
        out->removed = old.size + 2 * quote;
        id_write(place, count, id, &writer);
    } else {
        const hpxi_json_value parent = there == 0 ? found.root : found.values[there - 1];
        if (parent.kind != HPXI_JSON_OBJECT) {
            return HPX_E_INVALID;
        }
        out->offset = (size_t)(parent.data - payload.data) + 1;
        out->removed = 0;
        id_insert(place, parent, there, id, &writer);
    }
    HPX_ASSERT(!writer.overflow); /* hpxi_id_place_init() saw to it */
    out->text_bytes = writer.size;
    return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* alloc.c - the slow path of the byte buffer. */
#include "ring/alloc.h"

#define BUF_BYTES_MIN 256u
#define BUF_ALIGN     64u

uint8_t *hpxi_buf_grow(hpxi_buf *buf, size_t bytes)
{
    const size_t used = hpxi_buf_size(buf);
    if (bytes > SIZE_MAX / 4 - used) {
        return NULL;
    }
    if (buf->data != NULL && buf->capacity - used >= bytes && used <= buf->head) {
        memcpy(buf->data, buf->data + buf->head, used); /* used <= head: no overlap */
        buf->head = 0;
        buf->tail = used;
        return buf->data + buf->tail;
    }
    /* Doubled even where moving to the front would do: a queue that stays more than half full would
     * be moved as a whole for every few bytes. */
    size_t capacity = buf->capacity == 0 ? BUF_BYTES_MIN : buf->capacity * 2;
    while (capacity - used < bytes) {
        capacity *= 2;
    }
    uint8_t *data = hpxi_alloc(buf->allocator, capacity, BUF_ALIGN);
    if (data == NULL) {
        return NULL;
    }
    if (buf->data != NULL) {
        memcpy(data, buf->data + buf->head, used);
    }
    hpxi_free(buf->allocator, buf->data, buf->capacity);
    buf->data = data;
    buf->capacity = capacity;
    buf->head = 0;
    buf->tail = used;
    return buf->data + buf->tail;
}

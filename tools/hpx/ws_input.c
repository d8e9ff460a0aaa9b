/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_input.c - lines of stdin, for `hpx ws`.
 *
 * Memory    One buffer that holds the longest line, at most WS_LINE_BYTES_MAX.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ws.h"

#define WS_READ_BYTES     65536u
#define WS_LINE_BYTES_MAX (16u << 20)

void ws_input_init(ws_input *input)
{
    *input = (ws_input){.is_terminal = isatty(STDIN_FILENO) == 1};
}

void ws_input_free(ws_input *input)
{
    free(input->data);
    *input = (ws_input){0};
}

/* Room for one read behind the buffered bytes. */
static bool ws_input_reserve(ws_input *input)
{
    assert(input->begin <= input->end);
    if (input->begin > 0) {
        memmove(input->data, input->data + input->begin, input->end - input->begin);
        input->end -= input->begin;
        input->begin = 0;
    }
    if (input->capacity - input->end >= WS_READ_BYTES) {
        return true;
    }
    const size_t capacity = 2 * input->capacity + WS_READ_BYTES;
    char *data = realloc(input->data, capacity);
    if (data == NULL) {
        return false;
    }
    input->data = data;
    input->capacity = capacity;
    return true;
}

ws_read ws_input_read(ws_input *input)
{
    assert(!input->is_ended);
    if (input->end - input->begin > WS_LINE_BYTES_MAX) {
        return WS_READ_TOO_LONG;
    }
    if (!ws_input_reserve(input)) {
        errno = ENOMEM;
        return WS_READ_FAILED;
    }
    const ssize_t count = read(STDIN_FILENO, input->data + input->end, WS_READ_BYTES);
    if (count > 0) {
        input->end += (size_t)count;
        return WS_READ_MORE;
    }
    if (count < 0 && (errno == EINTR || errno == EAGAIN)) {
        return WS_READ_MORE;
    }
    input->is_ended = true;
    /* EIO: the terminal is another process group's now. It will give us nothing. */
    return count == 0 || errno == EIO ? WS_READ_END : WS_READ_FAILED;
}

bool ws_input_peek(const ws_input *input, hpx_span *line)
{
    const size_t size = input->end - input->begin;
    if (size == 0) {
        return false;
    }
    const char *data = input->data + input->begin;
    const char *newline = memchr(data, '\n', size);
    if (newline == NULL && !input->is_ended) {
        return false;
    }
    size_t count = newline == NULL ? size : (size_t)(newline - data);
    if (count > 0 && data[count - 1] == '\r') {
        count--;
    }
    *line = (hpx_span){(const uint8_t *)data, count};
    return true;
}

void ws_input_take(ws_input *input)
{
    const size_t size = input->end - input->begin;
    assert(size > 0);
    const char *data = input->data + input->begin;
    const char *newline = memchr(data, '\n', size);
    input->begin = newline == NULL ? input->end : (size_t)(newline - input->data) + 1;
    input->line_count++;
}

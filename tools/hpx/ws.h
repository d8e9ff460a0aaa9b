/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws.h - `hpx ws`: its options, and its input from stdin.
 */
#ifndef HPX_TOOL_WS_H
#define HPX_TOOL_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <hpx/hpx.h>

#define WS_HEADERS_MAX      64
#define WS_RESOLVE_MAX      16
#define WS_SUBPROTOCOLS_MAX 16
#define WS_SENDS_MAX        64

typedef struct ws_options {
    const char *url;
    const char *ca_file;
    bool insecure;
    bool hot;
    bool reconnect;
    bool verbose;
    uint64_t count;      /* 0: no limit */
    uint64_t timeout_ns; /* 0: none */
    uint64_t linger_ns;
    uint64_t message_bytes_max; /* 0: the library's default */
    const char *headers[WS_HEADERS_MAX];
    uint32_t header_count;
    const char *resolve[WS_RESOLVE_MAX];
    uint32_t resolve_count;
    const char *subprotocols[WS_SUBPROTOCOLS_MAX];
    uint32_t subprotocol_count;
    const char *sends[WS_SENDS_MAX];
    uint32_t send_count;
} ws_options;

/* True: run. False: `code` is the exit code. */
bool ws_parse_options(ws_options *out, int argc, char **argv, int *code);

/* Lines of stdin. */
typedef struct ws_input {
    char *data; /* on the heap */
    size_t begin, end, capacity;
    uint64_t line_count; /* taken so far */
    bool is_ended;       /* no more will come; what is buffered may still be taken */
    bool is_terminal;
} ws_input;

typedef enum ws_read {
    WS_READ_MORE,     /* read something, or may do so later */
    WS_READ_END,      /* the end of stdin */
    WS_READ_TOO_LONG, /* a line above 16 MiB */
    WS_READ_FAILED,   /* errno says why */
} ws_read;

void ws_input_init(ws_input *input);
void ws_input_free(ws_input *input);

/* One read(2) of stdin; call it when poll(2) says so. */
ws_read ws_input_read(ws_input *input);

/* The next whole line without its end (LF or CR LF), or the rest at the end of stdin. False: none.
 * The view is valid until ws_input_take() or ws_input_read(). */
bool ws_input_peek(const ws_input *input, hpx_span *line);
void ws_input_take(ws_input *input);

#endif /* HPX_TOOL_WS_H */

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
#define WS_TOPICS_MAX       1024
#define WS_REQUESTS_MAX     64

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
    const char *dialect; /* NULL: none */
    const char *auth;
    const char *topics[WS_TOPICS_MAX];
    uint32_t topic_count;
    const char *requests[WS_REQUESTS_MAX];
    uint32_t request_count;
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

/* The session: what a dialect adds. All zero: there is none. */
typedef struct ws_session {
    hpx_protocol *protocol;
    hpx_subscription *subscription;
    uint32_t requests_done; /* of --request: each goes out once, whatever becomes of it */
    uint32_t pending;
    bool is_failed; /* a request got no answer */
    bool is_ended;  /* the server refused all topics */
} ws_session;

/* What became of the session's objects, told to the terminal. */
typedef void ws_print_fn(void *to, hpx_message_kind kind, hpx_span payload, uint64_t missed);

typedef struct ws_printer {
    ws_print_fn *print;
    void *to;
    const uint64_t *closing_ns; /* not 0: we end it; what gets no answer now is no failure */
} ws_printer;

/* No-op without a dialect. HPX_OK, or as hpx_protocol_json_new(). */
hpx_status ws_session_init(ws_session *session, const ws_options *options, hpx_error *error);

/* After hpx_ws_connect(): subscribe. */
hpx_status ws_session_subscribe(
    ws_session *session, const ws_options *options, hpx_handle *handle, hpx_error *error);

/* Send a request. HPX_E_AGAIN: try again soon; else it is done with, and what went wrong is told.
 */
hpx_status
ws_session_request(ws_session *session, hpx_handle *handle, hpx_span payload, const char *source);

/* Send what is left of --request. False: try again soon. */
bool ws_session_send(ws_session *session, const ws_options *options, hpx_handle *handle);

/* Take updates and replies. */
void ws_session_take(ws_session *session, hpx_handle *handle, const ws_printer *printer);

/* Before the handle is released. */
void ws_session_fini(ws_session *session);

#endif /* HPX_TOOL_WS_H */

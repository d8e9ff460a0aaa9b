/* SPDX-License-Identifier: Apache-2.0 */
/*
 * writer.h - RFC 9112: messages into bytes. Requests of a client, responses of a server.
 *
 * Role      Everything is checked before the first byte is written: a CR, LF, NUL or space smuggled
 *           into a method, a target or a field never reaches the wire. The fields that say where a
 *           message ends or how its connection goes on are written from the message's members, and
 *           refused among its fields.
 * Threads   Any; no state. Memory: one reservation in the caller's buffer per call.
 */
#ifndef HPXI_H1_WRITER_H
#define HPXI_H1_WRITER_H

#include "h1/syntax.h"
#include "ring/alloc.h"

typedef enum hpxi_h1_body {
    HPXI_H1_BODY_NONE,
    HPXI_H1_BODY_LENGTH,      /* body_bytes follow */
    HPXI_H1_BODY_CHUNKED,     /* hpxi_h1_chunk_write() and hpxi_h1_chunks_end() follow */
    HPXI_H1_BODY_UNTIL_CLOSE, /* responses to HTTP/1.0; implies `close` */
} hpxi_h1_body;

/* All spans are borrowed for the call. */
typedef struct hpxi_h1_request {
    hpx_span method;
    hpx_span target; /* in the form that the method needs: see hpxi_h1_is_target() */
    hpx_span host;   /* value of Host */
    const hpxi_h1_field *fields;
    size_t field_count;
    hpxi_h1_body body; /* not UNTIL_CLOSE. NONE of a POST, PUT or PATCH: "Content-Length: 0" */
    uint64_t body_bytes;
    bool close; /* "Connection: close" */
} hpxi_h1_request;

/*
 * HPX_OK, or HPX_E_INVALID with error->detail naming the part and the byte, but not showing a
 * field's value: it may be a credential. Refused fields: Host, Content-Length, Transfer-Encoding,
 * Connection, Keep-Alive, Proxy-Connection, Upgrade, TE, Trailer, Expect.
 */
hpx_status hpxi_h1_request_check(const hpxi_h1_request *request, hpx_error *error);

/* Append the head. HPX_OK; HPX_E_INVALID as above and HPX_E_NO_MEMORY: nothing was appended. */
hpx_status hpxi_h1_request_write(hpxi_buf *out, const hpxi_h1_request *request, hpx_error *error);

typedef struct hpxi_h1_response {
    uint16_t status; /* 200 to 999; interim ones: hpxi_h1_continue_write() */
    hpx_span reason; /* empty: the registered phrase, or none */
    const hpxi_h1_field *fields;
    size_t field_count;
    hpxi_h1_body body; /* NONE: "Content-Length: 0", but not for 204 and 304 */
    uint64_t body_bytes;
    bool close;      /* "Connection: close" */
    bool keep_alive; /* "Connection: keep-alive", which a client of HTTP/1.0 needs to be told */
} hpxi_h1_response;

/* HPX_OK, or HPX_E_INVALID with error->detail naming the part, as hpxi_h1_request_check(). */
hpx_status hpxi_h1_response_check(const hpxi_h1_response *response, hpx_error *error);

/*
 * Append the head. To a HEAD request it is the same head, and no body is written after it. A 204
 * may have no body. HPX_OK; HPX_E_INVALID with error->detail; HPX_E_NO_MEMORY.
 */
hpx_status
hpxi_h1_response_write(hpxi_buf *out, const hpxi_h1_response *response, hpx_error *error);

/* Append "100 Continue". HPX_OK, HPX_E_NO_MEMORY. */
hpx_status hpxi_h1_continue_write(hpxi_buf *out);

/* "OK" for 200; "" for a status that RFC 9110 does not name. */
const char *hpxi_h1_reason(uint16_t status);

#define HPXI_H1_CHUNK_HEAD_BYTES_MAX 18u /* 16 digits, CRLF */

/* Write a chunk's line, for `bytes` (not 0) of data and a CRLF to follow. Returns its size. */
size_t hpxi_h1_chunk_head(uint8_t to[HPXI_H1_CHUNK_HEAD_BYTES_MAX], uint64_t bytes);

/* Append one whole chunk. An empty one would end the body: nothing is appended then. HPX_OK,
 * HPX_E_NO_MEMORY. */
hpx_status hpxi_h1_chunk_write(hpxi_buf *out, hpx_span data);

/* Append the last chunk and the trailers. HPX_OK; HPX_E_INVALID for a bad or forbidden trailer;
 * HPX_E_NO_MEMORY. */
hpx_status hpxi_h1_chunks_end(
    hpxi_buf *out, const hpxi_h1_field *trailers, size_t trailer_count, hpx_error *error);

#endif /* HPXI_H1_WRITER_H */

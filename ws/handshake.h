/* SPDX-License-Identifier: Apache-2.0 */
/*
 * handshake.h - RFC 6455 section 4: the opening handshake, both roles, sans-IO.
 *
 * Role      Client: writes the request, checks the answer (all rules of 4.1). Server: parses the
 *           request, decides, writes the answer (4.2). Strict HTTP/1.1 heads (RFC 9112): CRLF only,
 *           no obs-fold, token names, no control bytes in values; duplicates of the fields that
 *           matter are refused.
 * Threads   One thread at a time. No clock, no randomness: the nonce is a parameter.
 * Memory    A head is gathered in a buffer bounded by head_bytes_max; scanning is linear (no byte
 *           is looked at more than a constant number of times, however the input is cut).
 */
#ifndef HPXI_WS_HANDSHAKE_H
#define HPXI_WS_HANDSHAKE_H

#include "ring/alloc.h"
#include "ws/frame.h"

#define HPXI_WS_NONCE_BYTES  16u
#define HPXI_WS_KEY_BYTES    24u /* base64 of the nonce, without NUL */
#define HPXI_WS_ACCEPT_BYTES 28u /* base64 of SHA-1, without NUL */

/* base64(SHA-1(key + GUID)) into accept[HPXI_WS_ACCEPT_BYTES + 1], NUL-terminated. */
void hpxi_ws_accept_of(char *accept, const char *key, size_t key_bytes);

typedef struct hpxi_ws_request_config {
    const char *host;           /* Host value: "name", "name:port", "[v6]:port" */
    const char *target;         /* origin-form: "/path?query" */
    const char *const *headers; /* "Name: value" */
    uint32_t header_count;
    const char *const *subprotocols;
    uint32_t subprotocol_count;
    uint8_t nonce[HPXI_WS_NONCE_BYTES];
} hpxi_ws_request_config;

/*
 * Check every string (token names; no CR, LF, NUL or other control bytes; no leading or trailing
 * white space in values; none of the fields that the handshake itself sets or that would announce a
 * body) without writing. HPX_OK or HPX_E_INVALID with error->detail naming the string, but not
 * showing it: it may be a credential.
 */
hpx_status hpxi_ws_request_check(const hpxi_ws_request_config *config, hpx_error *error);

/* Append the request. HPX_OK, HPX_E_NO_MEMORY. The config must have passed the check. */
hpx_status hpxi_ws_request_write(hpxi_buf *out, const hpxi_ws_request_config *config);

/*
 * Incremental reader of one HTTP head: of the answer for a client, of the request for a server.
 *
 *   START --("HTTP/1.x " or "METHOD " seen)--> LINES --(empty line)--> complete
 *      \________ violation, limit or no memory ____\_________________> failed (absorbing)
 */
typedef struct hpxi_ws_head {
    hpxi_buf bytes;
    size_t scanned;     /* bytes looked at so far; each is looked at once */
    size_t line_bytes;  /* of the line in progress, without its CRLF */
    uint32_t bytes_max; /* of the whole head with its empty line */
    uint32_t fields_max;
    uint32_t lines;     /* line ends seen so far */
    hpx_status failure; /* HPX_OK until it failed, then the same for ever */
    hpxi_ws_role role;  /* ours */
    uint8_t matched;    /* bytes of " HTTP/1.x" that the request line ends with so far */
    bool started;       /* the first bytes were those of HTTP/1.x */
    bool cr;            /* the last byte was a CR */
    bool complete;
} hpxi_ws_head;

void hpxi_ws_head_init(
    hpxi_ws_head *head,
    hpxi_ws_role role,
    uint32_t bytes_max,
    uint32_t fields_max,
    const hpx_allocator *allocator);
void hpxi_ws_head_fini(hpxi_ws_head *head);

/*
 * Feed input until the empty line; advance *data and *size past what was used: bytes after the
 * head stay in the input. Returns 1 when the head is complete (in head->bytes), HPX_E_PARTIAL,
 * HPX_E_HTTP_TOO_BIG, HPX_E_HTTP_MALFORMED (at once: first bytes that no HTTP/1.x head begins with,
 * a request line without a version, a bare CR or LF, NUL and other control bytes),
 * HPX_E_NO_MEMORY. Not to be called again after a 1.
 */
hpx_status hpxi_ws_head_feed(hpxi_ws_head *head, uint8_t **data, size_t *size, hpx_error *error);

/* What the client learned from the server's answer. */
typedef struct hpxi_ws_answer {
    uint32_t http_status;
    char subprotocol[64]; /* chosen, or "" */
} hpxi_ws_answer;

/*
 * Client: check a complete head against the request (RFC 6455 4.1, items 1-6). `error` gets the
 * status, stage UPGRADE, http_status, retry_after_ns (seconds form; HTTP-date is ignored) and a
 * detail that names the field and what it was.
 * Returns HPX_OK, HPX_E_HTTP_MALFORMED (also a 101 of HTTP/1.0), HPX_E_UPGRADE_STATUS (with
 * Location in the detail of a redirect; of HTTP/1.0 as well), HPX_E_UPGRADE_HEADER,
 * HPX_E_UPGRADE_ACCEPT, HPX_E_UPGRADE_SUBPROTOCOL, HPX_E_UPGRADE_EXTENSION.
 */
hpx_status hpxi_ws_answer_check(
    const hpxi_ws_head *head,
    const hpxi_ws_request_config *request,
    hpxi_ws_answer *answer,
    hpx_error *error);

/* What the server learned from the client's request. */
typedef struct hpxi_ws_offer {
    char target[256]; /* cut if longer (`target_cut`) */
    bool target_cut;
    char host[256];
    char key[HPXI_WS_KEY_BYTES + 1];
    const char *subprotocol; /* chosen from the supported list (its pointer), or NULL */
} hpxi_ws_offer;

/*
 * Server: check a complete head (RFC 6455 4.2.1). Returns 101 if it is a valid upgrade, else the
 * HTTP status to answer with: 400, 405 (not GET), 426 (no or other upgrade, or version not 13).
 * A head that hpxi_ws_head_feed() refused is answered with 400, or 431 if it was too big.
 */
uint32_t hpxi_ws_offer_check(
    const hpxi_ws_head *head,
    const char *const *subprotocols,
    uint32_t subprotocol_count,
    hpxi_ws_offer *offer,
    hpx_error *error);

/* Server: append the 101 for an accepted offer. */
hpx_status hpxi_ws_answer_write(hpxi_buf *out, const hpxi_ws_offer *offer);

/* Server: append a refusal, 400..599 (Connection: close; the fields that a 405 and a 426 need;
 * Retry-After unless it is 0; a short text body). HPX_OK, HPX_E_NO_MEMORY. */
hpx_status hpxi_ws_refusal_write(hpxi_buf *out, uint32_t http_status, uint32_t retry_after_s);

#endif /* HPXI_WS_HANDSHAKE_H */

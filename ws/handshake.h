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

#define HPXI_WS_NONCE_BYTES  16u
#define HPXI_WS_KEY_BYTES    24u /* base64 of the nonce, without NUL */
#define HPXI_WS_ACCEPT_BYTES 28u /* base64 of SHA-1, without NUL */

/* base64(SHA-1(key + GUID)) into accept[HPXI_WS_ACCEPT_BYTES + 1], NUL-terminated. */
void hpxi_ws_accept_of(char *accept, const char *key, size_t key_bytes);

typedef struct hpxi_ws_request_config {
    const char *host;                 /* Host value: "name", "name:port", "[v6]:port" */
    const char *target;               /* origin-form: "/path?query" */
    const char *const *headers;       /* "Name: value" */
    uint32_t header_count;
    const char *const *subprotocols;
    uint32_t subprotocol_count;
    uint8_t nonce[HPXI_WS_NONCE_BYTES];
} hpxi_ws_request_config;

/*
 * Check every string (token names; no CR, LF, NUL or other control bytes; no leading or trailing
 * white space in values; none of the fields that the handshake itself sets) without writing.
 * HPX_OK or HPX_E_INVALID with error->detail naming the string.
 */
hpx_status hpxi_ws_request_check(const hpxi_ws_request_config *config, hpx_error *error);

/* Append the request. HPX_OK, HPX_E_NO_MEMORY. The config must have passed the check. */
hpx_status hpxi_ws_request_write(hpxi_buf *out, const hpxi_ws_request_config *config);

/* Incremental reader of one HTTP head (either role). */
typedef struct hpxi_ws_head {
    hpxi_buf bytes;
    size_t scanned;        /* bytes already searched for the end of the head */
    uint32_t bytes_max;
    uint32_t fields_max;
    uint32_t lines;        /* line ends seen so far, to fail early on too many fields */
} hpxi_ws_head;

void hpxi_ws_head_init(hpxi_ws_head *head, uint32_t bytes_max, uint32_t fields_max,
                       const hpx_allocator *allocator);
void hpxi_ws_head_fini(hpxi_ws_head *head);

/*
 * Feed input until the empty line; advance *data and *size past what was used: bytes after the
 * head stay in the input. Returns 1 when the head is complete (in head->bytes), HPX_E_PARTIAL,
 * HPX_E_HTTP_TOO_BIG, HPX_E_HTTP_MALFORMED (early: first bytes cannot be HTTP, bare CR or LF, NUL),
 * HPX_E_NO_MEMORY.
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
 * Returns HPX_OK, HPX_E_HTTP_MALFORMED, HPX_E_HTTP_TOO_BIG, HPX_E_UPGRADE_STATUS (with Location in
 * the detail of a redirect), HPX_E_UPGRADE_HEADER, HPX_E_UPGRADE_ACCEPT,
 * HPX_E_UPGRADE_SUBPROTOCOL, HPX_E_UPGRADE_EXTENSION.
 */
hpx_status hpxi_ws_answer_check(const hpxi_ws_head *head, const hpxi_ws_request_config *request,
                                hpxi_ws_answer *answer, hpx_error *error);

/* What the server learned from the client's request. */
typedef struct hpxi_ws_offer {
    char target[256];     /* cut if longer (`target_cut`) */
    bool target_cut;
    char host[256];
    char key[HPXI_WS_KEY_BYTES + 1];
    const char *subprotocol; /* chosen from the supported list (its pointer), or NULL */
} hpxi_ws_offer;

/*
 * Server: check a complete head (RFC 6455 4.2.1). Returns 101 if it is a valid upgrade, else the
 * HTTP status to answer with: 400, 405 (not GET), 426 (no or other upgrade, or version not 13),
 * 431 (too many fields).
 */
uint32_t hpxi_ws_offer_check(const hpxi_ws_head *head, const char *const *subprotocols,
                             uint32_t subprotocol_count, hpxi_ws_offer *offer, hpx_error *error);

/* Server: append the 101 for an accepted offer. */
hpx_status hpxi_ws_answer_write(hpxi_buf *out, const hpxi_ws_offer *offer);

/* Server: append a refusal (Connection: close; Sec-WebSocket-Version: 13 for a 426; a short text
 * body). */
hpx_status hpxi_ws_refusal_write(hpxi_buf *out, uint32_t http_status);

#endif /* HPXI_WS_HANDSHAKE_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - one session's state, shared by setup.c, session.c and resume.c.
 */
#ifndef HPXI_TLS_SESSION_H
#define HPXI_TLS_SESSION_H

#include "tls/internal.h"

typedef enum hpxi_tls_state {
    HPXI_TLS_HANDSHAKE,   /* until the peer is verified and both Finished are exchanged */
    HPXI_TLS_OPEN,        /* records flow both ways */
    HPXI_TLS_PEER_CLOSED, /* the peer sends no more; we still may */
    HPXI_TLS_FAILED,      /* `failure` says why; nothing works any more */
} hpxi_tls_state;

struct hpxi_tls {
    WOLFSSL *wolf;
    hpxi_tls_state state;
    bool is_server;
    bool close_sent;
    bool out_of_memory;     /* the send callback could not append */
    uint8_t first_bytes[5]; /* of the peer's stream: tell "not TLS at all" from a bad record */
    size_t first_bytes_count;

    /* Where the peer's stream of records is. */
    uint8_t record_header[5];
    uint8_t record_header_bytes;
    uint32_t record_left;  /* bytes of the current record still to come */
    uint32_t idle_records; /* begun since the last one that brought data, or since the handshake */

    /* Bytes that the callbacks copied, for tests: each byte of cipher text once, either way. */
    uint64_t copied_in;
    uint64_t copied_out;

    /* Borrowed during a call, NULL and 0 between calls. */
    const uint8_t *input;
    size_t input_bytes;
    hpxi_buf *output;

    /* Resumption, of a client with a cache; all NULL else. */
    hpxi_tls_cache *sessions;
    hpxi_tls_key *key;
    hpxi_tls_proof *offered_proof; /* of the session that was offered */
    WOLFSSL_SESSION *early;        /* told of during the handshake: kept once that is done */
    bool is_offered;
    bool got_ticket;
    uint32_t tickets_seen;

    hpxi_tls_verifier verifier;
    hpxi_tls_name name;
    hpx_tls_context *context;
    hpx_allocator allocator;
    hpx_error failure;
};

/* ---- resume.c: all no-ops without a cache ---------------------------------------------------- */

/* Prepares the key and offers the newest session for it, if there is one. HPX_OK, or out of memory.
 */
hpx_status hpxi_tls_resume_offer(hpxi_tls *tls, const hpxi_tls_session_config *config);
/* The handshake is done and the server accepted: keep what it offered for the next one. */
void hpxi_tls_resume_opened(hpxi_tls *tls);
/* The handshake or the verification failed: nothing of this key is trusted any more. */
void hpxi_tls_resume_evict(hpxi_tls *tls);
void hpxi_tls_resume_fini(hpxi_tls *tls);

#endif /* HPXI_TLS_SESSION_H */

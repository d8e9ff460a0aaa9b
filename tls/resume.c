/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resume.c - offers a kept session to the server, and keeps those that the server offers.
 *
 * A session is kept only after the handshake it came from was done and its certificate accepted;
 * what wolfSSL tells of before (TLS 1.2 does) waits in `early`. A failed handshake forgets all
 * sessions of its key, and so does one that ends unfinished after a session was offered: perhaps
 * that session is why.
 */
#include "tls/session.h"

/* A server that sends more than this many tickets on one connection is not listened to. */
#define RESUME_TICKETS_SEEN_MAX 64u

#define RESUME_SERIAL_ID        9  /* where a serialised session has the length of its ID */
#define RESUME_SECRET_BYTES     48 /* RFC 5246 8.1: of the master secret */
#define RESUME_SERIAL_BYTES_MAX (HPXI_TLS_TICKET_BYTES_MAX + 512)

/* ---- The key --------------------------------------------------------------------------------- */

static uint8_t *resume_put_bytes(uint8_t *to, const void *bytes, size_t size)
{
    HPX_ASSERT(size <= UINT16_MAX);
    to[0] = (uint8_t)(size >> 8);
    to[1] = (uint8_t)size;
    if (size != 0) {
        memcpy(to + 2, bytes, size);
    }
    return to + 2 + size;
}

/*
 * All that a connection was asked for. Roots, client certificate, pins, versions and ciphers belong
 * to the context, of which the number says which. Each part has its length before it.
 */
static hpxi_tls_key *resume_make_key(hpxi_tls *tls, const hpxi_tls_session_config *config)
{
    const char *host = config->host == NULL ? "" : config->host;
    const char *name = tls->verifier.name == NULL ? "" : tls->name.host;
    const size_t host_bytes = strnlen(host, HPXI_TLS_HOST_BYTES_MAX);
    const size_t name_bytes = strlen(name);
    const size_t alpn_bytes = config->alpn == NULL ? 0 : config->alpn_bytes;
    const uint8_t fixed[] = {
        config->insecure_no_verify,
        tls->name.is_address,
        (uint8_t)(config->port >> 8),
        (uint8_t)config->port,
    };
    const size_t size =
        sizeof(tls->context->id) + sizeof(fixed) + 3 * 2 + host_bytes + name_bytes + alpn_bytes;
    hpxi_tls_key *key = hpxi_tls_key_new(size, &tls->allocator);
    if (key == NULL) {
        return NULL;
    }
    uint8_t *to = key->bytes;
    memcpy(to, &tls->context->id, sizeof(tls->context->id));
    to += sizeof(tls->context->id);
    memcpy(to, fixed, sizeof(fixed));
    to = resume_put_bytes(to + sizeof(fixed), host, host_bytes);
    to = resume_put_bytes(to, name, name_bytes);
    to = resume_put_bytes(to, config->alpn, alpn_bytes);
    HPX_ASSERT(to == key->bytes + size);
    hpxi_tls_key_seal(key);
    return key;
}

/* ---- Keeping --------------------------------------------------------------------------------- */

static bool resume_is_1_3(const WOLFSSL *wolf)
{
    return wolfSSL_GetVersion(wolf) == WOLFSSL_TLSV1_3;
}

/* RFC 8446 4.6.1: a ticket is there to resume; of bearable size? */
static bool resume_has_ticket(WOLFSSL *wolf, const WOLFSSL_SESSION *session, bool *is_too_big)
{
    *is_too_big = false;
    if (wolfSSL_SESSION_has_ticket(session) != WOLFSSL_SUCCESS) {
        return false;
    }
    uint8_t ticket[HPXI_TLS_TICKET_BYTES_MAX];
    word32 ticket_bytes = sizeof(ticket);
    const int rc = wolfSSL_get_SessionTicket(wolf, ticket, &ticket_bytes);
    explicit_bzero(ticket, sizeof(ticket));
    *is_too_big = rc != WOLFSSL_SUCCESS || ticket_bytes == 0;
    return !*is_too_big;
}

/*
 * A session of TLS 1.2 as we want to have it; NULL: not at all. Takes the reference.
 *
 * With a ticket it is rewritten to have no session ID: else wolfSSL, which makes one up, takes the
 * server to have accepted the ticket whatever it answers, and fails when a full handshake follows.
 * Without an ID it looks (RFC 5077 3.4). A session without extended master secret is not resumed
 * (RFC 7627 5.3), nor one with neither ticket nor ID. All that is told by wolfSSL's serialised form
 * only: side 1, born 4, timeout 4, ID length 1, ID, master secret 48, has extended master secret 1.
 */
static WOLFSSL_SESSION *resume_rewrite_1_2(WOLFSSL_SESSION *session, bool has_ticket)
{
    uint8_t der[RESUME_SERIAL_BYTES_MAX];
    uint8_t *to = der;
    WOLFSSL_SESSION *result = NULL;
    int size = wolfSSL_i2d_SSL_SESSION(session, NULL);
    if (size > RESUME_SERIAL_ID && size <= (int)sizeof(der) &&
        wolfSSL_i2d_SSL_SESSION(session, &to) == size) {
        const int id_bytes = der[RESUME_SERIAL_ID];
        const int ems_at = RESUME_SERIAL_ID + 1 + id_bytes + RESUME_SECRET_BYTES;
        const bool has_ems = ems_at < size && der[ems_at] == 1;
        if (has_ems && !has_ticket && id_bytes != 0) {
            result = session;
        } else if (has_ems && has_ticket) {
            der[RESUME_SERIAL_ID] = 0;
            size -= id_bytes;
            memmove(
                der + RESUME_SERIAL_ID + 1,
                der + RESUME_SERIAL_ID + 1 + id_bytes,
                (size_t)(size - RESUME_SERIAL_ID - 1));
            const uint8_t *from = der;
            result = wolfSSL_d2i_SSL_SESSION(NULL, &from, size);
        }
    }
    explicit_bzero(der, sizeof(der));
    if (result != session) {
        wolfSSL_SESSION_free(session);
    }
    return result;
}

/* Until when: as the server says, but not beyond the certificates. */
static uint64_t resume_lifetime_ns(const hpxi_tls *tls, const WOLFSSL_SESSION *session)
{
    int64_t lifetime_s = wolfSSL_SESSION_get_timeout(session);
    if (tls->verifier.proof != NULL) {
        const int64_t left_s = tls->verifier.proof->not_after_s - hpxi_tls_wall_clock_s();
        lifetime_s = left_s < lifetime_s ? left_s : lifetime_s;
    }
    const int64_t most_s = (int64_t)(HPXI_TLS_SESSION_NS_MAX / HPX_NS_PER_S);
    if (lifetime_s <= 0) {
        return 0;
    }
    return (uint64_t)(lifetime_s < most_s ? lifetime_s : most_s) * HPX_NS_PER_S;
}

/* Takes the reference. */
static void resume_keep(hpxi_tls *tls, WOLFSSL_SESSION *session)
{
    HPX_ASSERT(tls->state == HPXI_TLS_OPEN || tls->state == HPXI_TLS_PEER_CLOSED);
    HPX_ASSERT(tls->verifier.insecure || tls->verifier.verdict.leaf_accepted);
    if (!tls->verifier.insecure && tls->verifier.proof == NULL) {
        wolfSSL_SESSION_free(session); /* there was no memory for it */
        return;
    }
    if (!resume_is_1_3(tls->wolf)) {
        session =
            resume_rewrite_1_2(session, wolfSSL_SESSION_has_ticket(session) == WOLFSSL_SUCCESS);
        if (session == NULL) {
            return;
        }
    }
    hpxi_tls_cache_put(
        tls->sessions,
        tls->key,
        session,
        tls->verifier.proof,
        resume_is_1_3(tls->wolf),
        resume_lifetime_ns(tls, session));
}

/* wolfSSL has a session that may be resumed later. Returns 1 if its reference was taken. */
static int resume_on_session(WOLFSSL *wolf, WOLFSSL_SESSION *session)
{
    hpxi_tls *tls = wolfSSL_GetIOReadCtx(wolf);
    HPX_ASSERT(tls != NULL && !tls->is_server);
    if (tls->sessions == NULL || tls->tickets_seen == RESUME_TICKETS_SEEN_MAX) {
        return 0;
    }
    tls->tickets_seen++;
    bool is_too_big;
    const bool has_ticket = resume_has_ticket(wolf, session, &is_too_big);
    if (is_too_big || (!has_ticket && resume_is_1_3(wolf))) {
        return 0;
    }
    if (has_ticket && !tls->got_ticket) {
        return 0; /* the one that we offered is still there; it is not of this session */
    }
    if (tls->state == HPXI_TLS_HANDSHAKE) {
        wolfSSL_SESSION_free(tls->early);
        tls->early = session;
    } else {
        resume_keep(tls, session);
    }
    return 1;
}

/* The server gave a ticket. */
static int resume_on_ticket(WOLFSSL *wolf, const unsigned char *ticket, int size, void *user)
{
    (void)wolf;
    (void)ticket;
    (void)size;
    hpxi_tls *tls = user;
    tls->got_ticket = true;
    return 0;
}

void hpxi_tls_resume_install(WOLFSSL_CTX *wolf)
{
    wolfSSL_CTX_sess_set_new_cb(wolf, resume_on_session);
}

/* ---- A session's life ------------------------------------------------------------------------ */

hpx_status hpxi_tls_resume_offer(hpxi_tls *tls, const hpxi_tls_session_config *config)
{
    HPX_ASSERT(tls->state == HPXI_TLS_HANDSHAKE);
    HPX_ASSERT(tls->key == NULL);
    if (tls->is_server || config->sessions == NULL || !tls->context->resumes) {
        return HPX_OK;
    }
    tls->key = resume_make_key(tls, config);
    if (tls->key == NULL) {
        return HPX_E_NO_MEMORY;
    }
    if (wolfSSL_set_SessionTicket_cb(tls->wolf, resume_on_ticket, tls) != WOLFSSL_SUCCESS) {
        return HPX_E_NO_MEMORY;
    }
    tls->sessions = config->sessions;
    tls->verifier.wants_proof = !config->insecure_no_verify;
    const hpxi_tls_found found = hpxi_tls_cache_take(tls->sessions, tls->key);
    if (found.session == NULL) {
        return HPX_OK;
    }
    HPX_ASSERT(config->insecure_no_verify == (found.proof == NULL));
    tls->offered_proof = found.proof;
    /* wolfSSL refuses one that its own clock finds too old: the handshake will be a full one. */
    tls->is_offered = wolfSSL_set_session(tls->wolf, found.session) == WOLFSSL_SUCCESS;
    wolfSSL_SESSION_free(found.session);
    return HPX_OK;
}

void hpxi_tls_resume_opened(hpxi_tls *tls)
{
    HPX_ASSERT(tls->state == HPXI_TLS_OPEN);
    if (tls->sessions == NULL) {
        return;
    }
    if (tls->is_offered && wolfSSL_session_reused(tls->wolf) == 0) {
        hpxi_tls_resume_evict(tls); /* the server does not know it, so neither its siblings */
    }
    if (tls->verifier.proof == NULL) {
        tls->verifier.proof = tls->offered_proof; /* resumed: it is what was verified */
        tls->offered_proof = NULL;
    }
    hpxi_tls_proof_release(tls->offered_proof);
    tls->offered_proof = NULL;
    WOLFSSL_SESSION *early = tls->early;
    tls->early = NULL;
    if (early != NULL) {
        resume_keep(tls, early);
    }
}

void hpxi_tls_resume_evict(hpxi_tls *tls)
{
    if (tls->sessions != NULL) {
        hpxi_tls_cache_evict(tls->sessions, tls->key);
    }
}

void hpxi_tls_resume_fini(hpxi_tls *tls)
{
    if (tls->is_offered && tls->state == HPXI_TLS_HANDSHAKE) {
        hpxi_tls_resume_evict(tls);
    }
    if (tls->early != NULL) {
        wolfSSL_SESSION_free(tls->early);
    }
    hpxi_tls_proof_release(tls->offered_proof);
    hpxi_tls_proof_release(tls->verifier.proof);
    hpxi_tls_key_free(tls->key, &tls->allocator);
}

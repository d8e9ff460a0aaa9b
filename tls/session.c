/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c - one WOLFSSL, sans-IO: see tls.h for the contract.
 *
 *   HANDSHAKE --done, peer accepted--> OPEN --peer's close_notify--> PEER_CLOSED
 *       \__ any error __________________ \_ any error ______________> FAILED (absorbing)
 *
 * wolfSSL pulls input and pushes output through two callbacks; during a call the session lends them
 * the caller's span and buffer. wolfSSL takes from the span only what the current record still
 * lacks, so that a partial record waits inside wolfSSL and the span is always used up before we
 * report HPX_E_PARTIAL. Writing still works in PEER_CLOSED: TLS 1.3 closes each direction alone.
 *
 * Threads   One thread at a time.
 */
#include "tls/session.h"

#include <limits.h>

#define SESSION_RECORD_PLAIN_MAX 16384u
#define SESSION_RECORD_EXTRA_BYTES                                                                 \
    32u                             /* header 5, explicit nonce 8, type 1, tag 16: 30 at most      \
                                     */
#define SESSION_SLACK_BYTES     64u /* an alert or a KeyUpdate that goes along */
#define SESSION_CHUNK_BYTES_MAX ((size_t)1 << 24) /* wolfSSL counts in int */

/* Follows the peer's records. False: too many in a row brought no data (see tls.h). */
static bool session_follow(hpxi_tls *tls, const uint8_t *bytes, size_t size)
{
    while (size != 0) {
        if (tls->record_left == 0) {
            tls->record_header[tls->record_header_bytes++] = *bytes++;
            size--;
            if (tls->record_header_bytes < sizeof(tls->record_header)) {
                continue;
            }
            tls->record_header_bytes = 0;
            tls->record_left = (uint32_t)tls->record_header[3] << 8 | tls->record_header[4];
            tls->idle_records++;
        } else {
            const size_t part = size < tls->record_left ? size : tls->record_left;
            bytes += part;
            size -= part;
            tls->record_left -= (uint32_t)part;
        }
    }
    return tls->idle_records <= HPXI_TLS_IDLE_RECORDS_MAX;
}

static int session_on_receive(WOLFSSL *wolf, char *to, int size, void *user)
{
    (void)wolf;
    hpxi_tls *tls = user;
    HPX_DASSERT(size > 0);
    if (tls->input_bytes == 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    const size_t bytes = tls->input_bytes < (size_t)size ? tls->input_bytes : (size_t)size;
    if (HPXI_UNLIKELY(!session_follow(tls, tls->input, bytes))) {
        return WOLFSSL_CBIO_ERR_GENERAL;
    }
    memcpy(to, tls->input, bytes);
    tls->input += bytes;
    tls->input_bytes -= bytes;
    tls->copied_in += bytes;
    return (int)bytes;
}

/* Never short and never "would block": wolfSSL keeps no record half sent. */
static int session_on_send(WOLFSSL *wolf, char *from, int size, void *user)
{
    (void)wolf;
    hpxi_tls *tls = user;
    HPX_DASSERT(size >= 0);
    if (tls->output == NULL || !hpxi_buf_append(tls->output, from, (size_t)size)) {
        tls->out_of_memory = true;
        return WOLFSSL_CBIO_ERR_GENERAL;
    }
    tls->copied_out += (uint64_t)size;
    return size;
}

void hpxi_tls_session_install(WOLFSSL_CTX *wolf)
{
    wolfSSL_CTX_SetIORecv(wolf, session_on_receive);
    wolfSSL_CTX_SetIOSend(wolf, session_on_send);
}

/* Lends the caller's input and output to the callbacks. */
static void session_lend(hpxi_tls *tls, const uint8_t *input, size_t input_bytes, hpxi_buf *output)
{
    HPX_ASSERT(tls->output == NULL);
    HPX_DASSERT(input != NULL || input_bytes == 0);
    HPX_ASSERT(output != NULL);
    tls->input = input;
    tls->input_bytes = input_bytes;
    tls->output = output;
    hpxi_tls_verify_begin(&tls->verifier);
    hpxi_tls_memory_drive(true);
}

/* Takes them back; tells how much input was left. */
static size_t session_take_back(hpxi_tls *tls)
{
    HPX_ASSERT(tls->output != NULL);
    hpxi_tls_memory_drive(false);
    hpxi_tls_verify_end(&tls->verifier);
    const size_t left = tls->input_bytes;
    tls->input = NULL;
    tls->input_bytes = 0;
    tls->output = NULL;
    return left;
}

static void session_advance(uint8_t **data, size_t *size, size_t left)
{
    HPX_ASSERT(left <= *size);
    *data = left == *size ? *data : *data + (*size - left);
    *size = left;
}

/* Ends the session with this failure: from now on every call returns it. */
static hpx_status session_fail(hpxi_tls *tls, hpx_error *error)
{
    HPX_ASSERT(tls->failure.status < 0);
    if (tls->state == HPXI_TLS_HANDSHAKE) {
        hpxi_tls_resume_evict(tls);
    }
    tls->state = HPXI_TLS_FAILED;
    if (error != NULL) {
        *error = tls->failure;
    }
    return tls->failure.status;
}

/* The peer's first bytes are no record header: it speaks something else (often plain HTTP). */
static bool session_peer_is_not_tls(const hpxi_tls *tls)
{
    if (tls->first_bytes_count == 0) {
        return false;
    }
    const uint8_t type = tls->first_bytes[0];
    const bool record_type = type >= 20 && type <= 23;
    return !record_type || (tls->first_bytes_count > 1 && tls->first_bytes[1] != 3);
}

static hpx_status session_fail_not_tls(hpxi_tls *tls, int wolf_error, hpx_error *error)
{
    HPX_ASSERT(tls->first_bytes_count <= sizeof(tls->first_bytes));
    char shown[sizeof(tls->first_bytes) + 1] = {0};
    for (size_t i = 0; i < tls->first_bytes_count; i++) {
        const uint8_t c = tls->first_bytes[i];
        shown[i] = c >= 0x20 && c < 0x7F ? (char)c : '?';
    }
    (void)hpxi_tls_error_set(
        &tls->failure,
        HPX_E_TLS_PROTOCOL,
        HPX_STAGE_TLS,
        wolf_error,
        "the peer does not speak TLS: it begins with \"%s\"",
        shown);
    return session_fail(tls, error);
}

static hpx_status
session_fail_alert(hpxi_tls *tls, hpx_stage stage, int wolf_error, hpx_error *error)
{
    HPX_ASSERT(tls->state != HPXI_TLS_FAILED);
    WOLFSSL_ALERT_HISTORY history = {0};
    (void)wolfSSL_get_alert_history(tls->wolf, &history);
    const int alert = history.last_rx.code;
    (void)hpxi_tls_error_set(
        &tls->failure,
        HPX_E_TLS_ALERT,
        stage,
        wolf_error,
        "the peer sent the fatal alert %d (%s)",
        alert,
        hpxi_tls_alert_name(alert));
    tls->failure.tls_alert = alert;
    return session_fail(tls, error);
}

/* The verdict on the peer is the failure. */
static hpx_status session_fail_verdict(hpxi_tls *tls, int wolf_error, hpx_error *error)
{
    const hpxi_tls_verdict *verdict = &tls->verifier.verdict;
    (void)hpxi_tls_error_set(
        &tls->failure,
        verdict->status,
        HPX_STAGE_TLS,
        verdict->wolf_error == 0 ? wolf_error : verdict->wolf_error,
        "%s",
        verdict->detail);
    return session_fail(tls, error);
}

/* Turns what wolfSSL returned into the session's failure. */
static hpx_status session_fail_wolf(hpxi_tls *tls, int wolf_error, hpx_error *error)
{
    HPX_ASSERT(tls->state != HPXI_TLS_FAILED);
    HPX_ASSERT(tls->output == NULL);
    const bool handshaking = tls->state == HPXI_TLS_HANDSHAKE;
    const hpx_stage stage = handshaking ? HPX_STAGE_TLS : HPX_STAGE_READY;
    const hpxi_tls_verdict *verdict = &tls->verifier.verdict;
    hpx_status status = hpxi_tls_status_of(wolf_error);
    if (tls->out_of_memory || status == HPX_E_NO_MEMORY) {
        (void)hpxi_tls_error_set(
            &tls->failure,
            HPX_E_NO_MEMORY,
            stage,
            wolf_error,
            "no memory for the TLS %s",
            handshaking ? "handshake" : "session");
        return session_fail(tls, error);
    }
    if (tls->idle_records > HPXI_TLS_IDLE_RECORDS_MAX) {
        (void)hpxi_tls_error_set(
            &tls->failure,
            HPX_E_TLS_PROTOCOL,
            stage,
            wolf_error,
            "the peer sent more than %u TLS records in a row without data",
            HPXI_TLS_IDLE_RECORDS_MAX);
        return session_fail(tls, error);
    }
    if (handshaking && verdict->status != HPX_OK) {
        return session_fail_verdict(tls, wolf_error, error);
    }
    if (status == HPX_E_TLS_ALERT) {
        return session_fail_alert(tls, stage, wolf_error, error);
    }
    if (handshaking && session_peer_is_not_tls(tls)) {
        return session_fail_not_tls(tls, wolf_error, error);
    }
    if (!handshaking) {
        status = HPX_E_TLS_PROTOCOL;
    }
    (void)hpxi_tls_error_set(
        &tls->failure,
        status,
        stage,
        wolf_error,
        wolf_error == ZERO_RETURN ? "the peer closed during the handshake" : "%s",
        hpxi_tls_reason(wolf_error));
    return session_fail(tls, error);
}

static void session_note_first_bytes(hpxi_tls *tls, const uint8_t *data, size_t size)
{
    while (tls->first_bytes_count < sizeof(tls->first_bytes) && size > 0) {
        tls->first_bytes[tls->first_bytes_count++] = *data++;
        size--;
    }
}

/*
 * wolfSSL says that the handshake is done. It is not, unless our callback accepted the leaf; or, as
 * a resumed session shows none, unless the leaf of the session's first handshake still is good for
 * this name.
 */
static hpx_status session_opened(hpxi_tls *tls, hpx_error *error)
{
    HPX_ASSERT(tls->state == HPXI_TLS_HANDSHAKE);
    hpxi_tls_verifier *verifier = &tls->verifier;
    const bool must_verify =
        !verifier->insecure && tls->context->verifies_peer && tls->context->requires_peer;
    const bool is_resumed = wolfSSL_session_reused(tls->wolf) != 0;
    if (must_verify && is_resumed && !verifier->verdict.leaf_accepted &&
        tls->offered_proof != NULL) {
        hpxi_tls_verify_proof(verifier, tls->offered_proof);
        if (verifier->verdict.status != HPX_OK) {
            return session_fail_verdict(tls, 0, error);
        }
    }
    if (must_verify && !verifier->verdict.leaf_accepted) {
        (void)hpxi_tls_error_set(
            &tls->failure,
            HPX_E_TLS_UNTRUSTED,
            HPX_STAGE_TLS,
            0,
            "the handshake ended without a verified certificate");
        return session_fail(tls, error);
    }
    tls->state = HPXI_TLS_OPEN;
    tls->idle_records = 0;
    hpxi_tls_resume_opened(tls);
    return 1;
}

hpx_status
hpxi_tls_handshake(hpxi_tls *tls, uint8_t **data, size_t *size, hpxi_buf *out, hpx_error *error)
{
    if (tls->state == HPXI_TLS_FAILED) {
        return session_fail(tls, error);
    }
    HPX_ASSERT(tls->state == HPXI_TLS_HANDSHAKE);
    session_note_first_bytes(tls, *data, *size);
    session_lend(tls, *data, *size, out);
    const int rc = tls->is_server ? wolfSSL_accept(tls->wolf) : wolfSSL_connect(tls->wolf);
    session_advance(data, size, session_take_back(tls));
    if (rc == WOLFSSL_SUCCESS) {
        return session_opened(tls, error);
    }
    const int wolf_error = wolfSSL_get_error(tls->wolf, rc);
    if (wolf_error == WOLFSSL_ERROR_WANT_READ) {
        HPX_ASSERT(*size == 0);
        return HPX_E_PARTIAL;
    }
    return session_fail_wolf(tls, wolf_error, error);
}

ptrdiff_t hpxi_tls_read(
    hpxi_tls *tls,
    uint8_t **data,
    size_t *size,
    uint8_t *plain,
    size_t plain_size,
    hpxi_buf *out,
    hpx_error *error)
{
    HPX_ASSERT(plain_size >= SESSION_RECORD_PLAIN_MAX);
    HPX_ASSERT(tls->state != HPXI_TLS_HANDSHAKE);
    if (HPXI_UNLIKELY(tls->state == HPXI_TLS_FAILED)) {
        return session_fail(tls, error);
    }
    if (HPXI_UNLIKELY(tls->state == HPXI_TLS_PEER_CLOSED)) {
        session_advance(data, size, 0); /* RFC 8446 6.1: what follows close_notify is ignored */
        return 0;
    }
    session_lend(tls, *data, *size, out);
    const int plain_max = plain_size > INT_MAX ? INT_MAX : (int)plain_size;
    const int rc = wolfSSL_read(tls->wolf, plain, plain_max);
    session_advance(data, size, session_take_back(tls));
    if (HPXI_LIKELY(rc > 0)) {
        HPX_DASSERT(rc <= plain_max);
        tls->idle_records = 0;
        return rc;
    }
    const int wolf_error = wolfSSL_get_error(tls->wolf, rc);
    if (HPXI_LIKELY(wolf_error == WOLFSSL_ERROR_WANT_READ)) {
        HPX_ASSERT(*size == 0);
        return HPX_E_PARTIAL;
    }
    if (wolf_error == WOLFSSL_ERROR_ZERO_RETURN) {
        tls->state = HPXI_TLS_PEER_CLOSED;
        session_advance(data, size, 0);
        return 0;
    }
    return session_fail_wolf(tls, wolf_error, error);
}

/* Room for all records that `plain_bytes` make, so that sealing cannot fail half way. */
static bool session_reserve(hpxi_buf *out, size_t plain_bytes)
{
    if (plain_bytes > SIZE_MAX / 2) {
        return false;
    }
    const size_t records = (plain_bytes + SESSION_RECORD_PLAIN_MAX - 1) / SESSION_RECORD_PLAIN_MAX;
    const size_t extra = records * SESSION_RECORD_EXTRA_BYTES + SESSION_SLACK_BYTES;
    return hpxi_buf_reserve(out, plain_bytes + extra) != NULL;
}

hpx_status hpxi_tls_write(hpxi_tls *tls, hpx_span plain, hpxi_buf *out, hpx_error *error)
{
    HPX_ASSERT(tls->state != HPXI_TLS_HANDSHAKE);
    HPX_ASSERT(!tls->close_sent);
    if (HPXI_UNLIKELY(tls->state == HPXI_TLS_FAILED)) {
        return session_fail(tls, error);
    }
    if (plain.size == 0) {
        return HPX_OK;
    }
    if (HPXI_UNLIKELY(!session_reserve(out, plain.size))) {
        return hpxi_tls_error_set(
            error, HPX_E_NO_MEMORY, HPX_STAGE_READY, 0, "no memory for TLS records");
    }
    session_lend(tls, NULL, 0, out);
    int rc = 1;
    int chunk = 1;
    for (size_t done = 0; done < plain.size && rc == chunk; done += (size_t)chunk) {
        const size_t left = plain.size - done;
        chunk = (int)(left < SESSION_CHUNK_BYTES_MAX ? left : SESSION_CHUNK_BYTES_MAX);
        rc = wolfSSL_write(tls->wolf, plain.data + done, chunk);
    }
    (void)session_take_back(tls);
    if (HPXI_LIKELY(rc == chunk)) {
        HPX_DASSERT(hpxi_buf_size(out) > plain.size);
        return HPX_OK;
    }
    return session_fail_wolf(tls, wolfSSL_get_error(tls->wolf, rc), error);
}

void hpxi_tls_close_notify(hpxi_tls *tls, hpxi_buf *out)
{
    const bool open = tls->state == HPXI_TLS_OPEN || tls->state == HPXI_TLS_PEER_CLOSED;
    if (tls->close_sent || !open) {
        return;
    }
    tls->close_sent = true;
    if (hpxi_buf_reserve(out, SESSION_SLACK_BYTES) == NULL) {
        return; /* the peer will see a truncated stream, which is what happened */
    }
    session_lend(tls, NULL, 0, out);
    (void)wolfSSL_shutdown(tls->wolf);
    (void)session_take_back(tls);
}

static void session_copy(char *to, size_t to_bytes, const char *from, size_t from_bytes)
{
    HPX_ASSERT(to_bytes != 0);
    const size_t bytes = from_bytes < to_bytes ? from_bytes : to_bytes - 1;
    memcpy(to, from, bytes);
    to[bytes] = '\0';
}

void hpxi_tls_get_info(const hpxi_tls *tls, hpxi_tls_info *out)
{
    *out = (hpxi_tls_info){0};
    if (tls->state == HPXI_TLS_HANDSHAKE) {
        return;
    }
    const int suite = wolfSSL_get_current_cipher_suite(tls->wolf);
    if (suite == 0) {
        return; /* it failed before the peer had chosen anything */
    }
    const char *version = wolfSSL_get_version(tls->wolf);
    const char *cipher =
        wolfSSL_get_cipher_name_iana_from_suite((uint8_t)(suite >> 8), (uint8_t)suite);
    if (version != NULL) {
        session_copy(out->version, sizeof(out->version), version, strlen(version));
    }
    if (cipher != NULL) {
        session_copy(out->cipher, sizeof(out->cipher), cipher, strlen(cipher));
    }
    char *alpn = NULL;
    word16 alpn_bytes = 0;
    if (wolfSSL_ALPN_GetProtocol(tls->wolf, &alpn, &alpn_bytes) == WOLFSSL_SUCCESS) {
        session_copy(out->alpn, sizeof(out->alpn), alpn, alpn_bytes);
    }
    out->verified = tls->verifier.verdict.leaf_accepted;
    out->resumed = wolfSSL_session_reused(tls->wolf) != 0;
    HPX_ASSERT(!(out->verified && tls->verifier.insecure));
}

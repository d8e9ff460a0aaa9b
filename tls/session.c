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
 * Memory    The session itself from its allocator; WOLFSSL and all below it from wolfSSL's.
 */
#include <limits.h>

#include "tls/internal.h"

#define SESSION_RECORD_PLAIN_MAX 16384u
#define SESSION_RECORD_EXTRA_BYTES                                                                 \
    32u                             /* header 5, explicit nonce 8, type 1, tag 16: 30 at most      \
                                     */
#define SESSION_SLACK_BYTES     64u /* an alert or a KeyUpdate that goes along */
#define SESSION_CHUNK_BYTES_MAX ((size_t)1 << 24) /* wolfSSL counts in int */
#define SESSION_ALPN_BYTES_MAX  256u

typedef enum session_state {
    SESSION_STATE_HANDSHAKE,   /* until the peer is verified and both Finished are exchanged */
    SESSION_STATE_OPEN,        /* records flow both ways */
    SESSION_STATE_PEER_CLOSED, /* the peer sends no more; we still may */
    SESSION_STATE_FAILED,      /* `failure` says why; nothing works any more */
} session_state;

struct hpxi_tls {
    WOLFSSL *wolf;
    session_state state;
    bool is_server;
    bool close_sent;
    bool out_of_memory;     /* the send callback could not append */
    uint8_t first_bytes[5]; /* of the peer's stream: tell "not TLS at all" from a bad record */
    size_t first_bytes_count;

    /* Borrowed during a call, NULL and 0 between calls. */
    const uint8_t *input;
    size_t input_bytes;
    hpxi_buf *output;

    hpxi_tls_verifier verifier;
    hpxi_tls_name name;
    hpx_tls_context *context;
    hpx_allocator allocator;
    hpx_error failure;
};

static int session_on_receive(WOLFSSL *wolf, char *to, int size, void *user)
{
    (void)wolf;
    hpxi_tls *tls = user;
    HPX_DASSERT(size > 0);
    if (tls->input_bytes == 0) {
        return WOLFSSL_CBIO_ERR_WANT_READ;
    }
    const size_t bytes = tls->input_bytes < (size_t)size ? tls->input_bytes : (size_t)size;
    memcpy(to, tls->input, bytes);
    tls->input += bytes;
    tls->input_bytes -= bytes;
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
    return size;
}

void hpxi_tls_session_install(WOLFSSL_CTX *wolf)
{
    wolfSSL_CTX_SetIORecv(wolf, session_on_receive);
    wolfSSL_CTX_SetIOSend(wolf, session_on_send);
}

/* ALPN in wire form to wolfSSL's comma-separated list. False when a name cannot be written so. */
static bool session_alpn_list(char *to, size_t to_bytes, const uint8_t *wire, size_t wire_bytes)
{
    size_t used = 0;
    for (size_t i = 0; i < wire_bytes;) {
        const size_t name_bytes = wire[i++];
        if (name_bytes == 0 || name_bytes > wire_bytes - i || used + name_bytes + 2 > to_bytes) {
            return false;
        }
        if (memchr(wire + i, ',', name_bytes) != NULL || memchr(wire + i, 0, name_bytes) != NULL) {
            return false;
        }
        if (used != 0) {
            to[used++] = ',';
        }
        memcpy(to + used, wire + i, name_bytes);
        used += name_bytes;
        i += name_bytes;
    }
    HPX_ASSERT(used < to_bytes);
    to[used] = '\0';
    return used != 0;
}

static hpx_status session_refuse(hpx_error *error, const char *what)
{
    return hpxi_tls_error_set(error, HPX_E_TLS_CONFIG, HPX_STAGE_TLS, 0, "%s", what);
}

static hpx_status session_no_memory(hpx_error *error)
{
    return hpxi_tls_error_set(
        error, HPX_E_NO_MEMORY, HPX_STAGE_TLS, 0, "no memory for a TLS session");
}

static hpx_status
session_set_alpn(hpxi_tls *tls, const hpxi_tls_session_config *config, hpx_error *error)
{
    if (config->alpn == NULL || config->alpn_bytes == 0) {
        return HPX_OK;
    }
    char list[SESSION_ALPN_BYTES_MAX];
    if (!session_alpn_list(list, sizeof(list), config->alpn, config->alpn_bytes)) {
        return session_refuse(error, "ALPN list is malformed or too long");
    }
    const int rc = wolfSSL_UseALPN(
        tls->wolf, list, (unsigned int)strlen(list), WOLFSSL_ALPN_FAILED_ON_MISMATCH);
    return rc == WOLFSSL_SUCCESS ? HPX_OK : session_no_memory(error);
}

/* Whom to verify, and what to ask the server for. */
static hpx_status
session_set_client(hpxi_tls *tls, const hpxi_tls_session_config *config, hpx_error *error)
{
    HPX_ASSERT(!tls->is_server);
    HPX_ASSERT(tls->state == SESSION_STATE_HANDSHAKE);
    const bool named =
        config->server_name != NULL && hpxi_tls_name_parse(&tls->name, config->server_name);
    if (!named && !config->insecure_no_verify) {
        return session_refuse(error, "server name is neither a host name nor an address");
    }
    if (named && !tls->name.is_address) { /* RFC 6066 section 3: no addresses, no trailing dot */
        const int rc =
            wolfSSL_UseSNI(tls->wolf, WOLFSSL_SNI_HOST_NAME, tls->name.host, tls->name.host_bytes);
        if (rc != WOLFSSL_SUCCESS) {
            return session_no_memory(error);
        }
    }
    tls->verifier.name = named ? &tls->name : NULL;
    tls->verifier.manager = wolfSSL_CTX_GetCertManager(tls->context->wolf);
    tls->verifier.insecure = config->insecure_no_verify;
    if (config->insecure_no_verify) {
        wolfSSL_set_verify(tls->wolf, WOLFSSL_VERIFY_NONE, NULL);
    }
    return HPX_OK;
}

static hpx_status
session_set_up(hpxi_tls *tls, const hpxi_tls_session_config *config, hpx_error *error)
{
    HPX_ASSERT(tls->wolf == NULL);
    tls->wolf = wolfSSL_new(tls->context->wolf);
    if (tls->wolf == NULL) {
        return session_no_memory(error);
    }
    wolfSSL_SetIOReadCtx(tls->wolf, tls);
    wolfSSL_SetIOWriteCtx(tls->wolf, tls);
    if (!tls->is_server) {
        const hpx_status status = session_set_client(tls, config, error);
        if (status != HPX_OK) {
            return status;
        }
    }
    if (!hpxi_tls_keylog_attach(tls->wolf, tls->context)) {
        return session_no_memory(error);
    }
    return session_set_alpn(tls, config, error);
}

hpx_status hpxi_tls_new(
    hpxi_tls **out,
    const hpxi_tls_session_config *config,
    const hpx_allocator *allocator,
    hpx_error *error)
{
    HPX_ASSERT(out != NULL);
    HPX_ASSERT(config->context != NULL);
    *out = NULL;
    if (config->is_server != config->context->is_server) {
        return session_refuse(error, "context is for the other role");
    }
    hpxi_tls *tls = hpxi_alloc_zero(allocator, sizeof(hpxi_tls), _Alignof(hpxi_tls));
    if (tls == NULL) {
        return session_no_memory(error);
    }
    tls->allocator = *allocator;
    tls->is_server = config->is_server;
    tls->state = SESSION_STATE_HANDSHAKE;
    tls->context = config->context;
    hpxi_tls_context_retain(tls->context);
    const hpx_status status = session_set_up(tls, config, error);
    if (status != HPX_OK) {
        hpxi_tls_free(tls);
        return status;
    }
    *out = tls;
    return HPX_OK;
}

void hpxi_tls_free(hpxi_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    HPX_ASSERT(tls->output == NULL);
    if (tls->wolf != NULL) {
        wolfSSL_free(tls->wolf); /* wipes keys and record buffers */
    }
    hpx_tls_context_release(tls->context);
    const hpx_allocator allocator = tls->allocator;
    explicit_bzero(tls, sizeof(*tls));
    hpxi_free(&allocator, tls, sizeof(*tls));
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
    tls->state = SESSION_STATE_FAILED;
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
    HPX_ASSERT(tls->state != SESSION_STATE_FAILED);
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

/* Turns what wolfSSL returned into the session's failure. */
static hpx_status session_fail_wolf(hpxi_tls *tls, int wolf_error, hpx_error *error)
{
    HPX_ASSERT(tls->state != SESSION_STATE_FAILED);
    HPX_ASSERT(tls->output == NULL);
    const bool handshaking = tls->state == SESSION_STATE_HANDSHAKE;
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
    if (verdict->status != HPX_OK) {
        (void)hpxi_tls_error_set(
            &tls->failure,
            verdict->status,
            stage,
            verdict->wolf_error == 0 ? wolf_error : verdict->wolf_error,
            "%s",
            verdict->detail);
        return session_fail(tls, error);
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

/* wolfSSL says that the handshake is done. It is not, unless our callback accepted the leaf. */
static hpx_status session_opened(hpxi_tls *tls, hpx_error *error)
{
    HPX_ASSERT(tls->state == SESSION_STATE_HANDSHAKE);
    const bool must_verify = !tls->is_server && !tls->verifier.insecure;
    if (must_verify && !tls->verifier.verdict.leaf_accepted) {
        (void)hpxi_tls_error_set(
            &tls->failure,
            HPX_E_TLS_UNTRUSTED,
            HPX_STAGE_TLS,
            0,
            "the handshake ended without a verified certificate");
        return session_fail(tls, error);
    }
    tls->state = SESSION_STATE_OPEN;
    return 1;
}

hpx_status
hpxi_tls_handshake(hpxi_tls *tls, uint8_t **data, size_t *size, hpxi_buf *out, hpx_error *error)
{
    if (tls->state == SESSION_STATE_FAILED) {
        return session_fail(tls, error);
    }
    HPX_ASSERT(tls->state == SESSION_STATE_HANDSHAKE);
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
    HPX_ASSERT(tls->state != SESSION_STATE_HANDSHAKE);
    if (HPXI_UNLIKELY(tls->state == SESSION_STATE_FAILED)) {
        return session_fail(tls, error);
    }
    if (HPXI_UNLIKELY(tls->state == SESSION_STATE_PEER_CLOSED)) {
        session_advance(data, size, 0); /* RFC 8446 6.1: what follows close_notify is ignored */
        return 0;
    }
    session_lend(tls, *data, *size, out);
    const int plain_max = plain_size > INT_MAX ? INT_MAX : (int)plain_size;
    const int rc = wolfSSL_read(tls->wolf, plain, plain_max);
    session_advance(data, size, session_take_back(tls));
    if (HPXI_LIKELY(rc > 0)) {
        HPX_DASSERT(rc <= plain_max);
        return rc;
    }
    const int wolf_error = wolfSSL_get_error(tls->wolf, rc);
    if (HPXI_LIKELY(wolf_error == WOLFSSL_ERROR_WANT_READ)) {
        HPX_ASSERT(*size == 0);
        return HPX_E_PARTIAL;
    }
    if (wolf_error == WOLFSSL_ERROR_ZERO_RETURN) {
        tls->state = SESSION_STATE_PEER_CLOSED;
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
    HPX_ASSERT(tls->state != SESSION_STATE_HANDSHAKE);
    HPX_ASSERT(!tls->close_sent);
    if (HPXI_UNLIKELY(tls->state == SESSION_STATE_FAILED)) {
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
    const bool open = tls->state == SESSION_STATE_OPEN || tls->state == SESSION_STATE_PEER_CLOSED;
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
    if (tls->state == SESSION_STATE_HANDSHAKE) {
        return;
    }
    const char *version = wolfSSL_get_version(tls->wolf);
    const int suite = wolfSSL_get_current_cipher_suite(tls->wolf);
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c - names and texts of statuses, stages and states, for people and logs.
 *
 * Role      HPX_STATUS_LIST is the one table of statuses; docs/errors.md and the tests follow it.
 * Threads   Any; no state. Memory: every string is static and the same in every locale.
 */
#include <errno.h>
#include <string.h>

#include <hpx/base.h>
#include <hpx/system.h>
#include <hpx/ws.h>

#include "ring/assert.h"

#define HPX_STATUS_LIST(X)                                                                         \
    X(HPX_OK, "success")                                                                           \
    X(HPX_E_STALE, "the handle's object no longer exists")                                         \
    X(HPX_E_INVALID, "an argument or a config member is out of range")                             \
    X(HPX_E_STATE, "not allowed in this state")                                                    \
    X(HPX_E_THREAD, "called from a thread that may not call it")                                   \
    X(HPX_E_URL, "the URL is malformed")                                                           \
    X(HPX_E_DUPLICATE, "a request with this id is pending already")                                \
    X(HPX_E_AGAIN, "a queue is full; try again when it has drained")                               \
    X(HPX_E_PARTIAL, "more bytes are needed")                                                      \
    X(HPX_E_NOT_CONNECTED, "the connection is not ready; nothing was queued")                      \
    X(HPX_E_TIMEOUT, "the wait reached its timeout")                                               \
    X(HPX_E_CLOSED, "the last event was delivered; nothing follows")                               \
    X(HPX_E_LIMIT, "a configured limit is met")                                                    \
    X(HPX_E_DISCONNECTED, "the connection was lost before the answer came")                        \
    X(HPX_E_CANCELLED, "the request was given up by the application")                              \
    X(HPX_E_OVERFLOW, "the subscriber was too slow")                                               \
    X(HPX_E_REFUSED, "the server refused the topic")                                               \
    X(HPX_E_DNS_NOT_FOUND, "the name does not exist or has no address")                            \
    X(HPX_E_DNS_FAILED, "the name server refused, failed or answered nonsense")                    \
    X(HPX_E_DNS_TIMEOUT, "the name server did not answer in time")                                 \
    X(HPX_E_CONNECT_TIMEOUT, "the TCP connection was not made in time")                            \
    X(HPX_E_EOF, "the peer ended the connection without a closing handshake")                      \
    X(HPX_E_CLOSE_TIMEOUT, "the peer did not finish the closing handshake in time")                \
    X(HPX_E_ABORTED, "closed by us before it was established")                                     \
    X(HPX_E_PONG_TIMEOUT, "the peer did not answer our ping in time")                              \
    X(HPX_E_INBOUND_IDLE, "no message arrived in the time that was set")                           \
    X(HPX_E_RECONNECT, "the application asked for a new connection")                               \
    X(HPX_E_TLS_HANDSHAKE, "the TLS handshake failed")                                             \
    X(HPX_E_TLS_TIMEOUT, "the TLS handshake was not finished in time")                             \
    X(HPX_E_TLS_UNTRUSTED, "no trusted root signs the peer's certificate")                         \
    X(HPX_E_TLS_EXPIRED, "the peer's certificate has expired")                                     \
    X(HPX_E_TLS_NOT_YET_VALID, "the peer's certificate is not valid yet")                          \
    X(HPX_E_TLS_NAME, "the peer's certificate is for another name")                                \
    X(HPX_E_TLS_CERTIFICATE, "the peer's certificate is bad or missing")                           \
    X(HPX_E_TLS_ALERT, "the peer ended TLS with a fatal alert")                                    \
    X(HPX_E_TLS_TRUNCATED, "the TCP connection ended without TLS close_notify")                    \
    X(HPX_E_TLS_PROTOCOL, "the peer broke the TLS protocol, or does not speak it")                 \
    X(HPX_E_TLS_CONFIG, "a certificate, key or CA file could not be loaded")                       \
    X(HPX_E_TLS_PIN, "the server has none of the pinned keys")                                     \
    X(HPX_E_HTTP_MALFORMED, "the peer's HTTP head is malformed")                                   \
    X(HPX_E_HTTP_TOO_BIG, "the peer's HTTP head is above the limits")                              \
    X(HPX_E_UPGRADE_STATUS, "the server refused the upgrade")                                      \
    X(HPX_E_UPGRADE_HEADER, "Upgrade or Connection is missing or wrong")                           \
    X(HPX_E_UPGRADE_ACCEPT, "Sec-WebSocket-Accept is missing or wrong")                            \
    X(HPX_E_UPGRADE_SUBPROTOCOL, "the server chose a subprotocol that was not offered")            \
    X(HPX_E_UPGRADE_EXTENSION, "the server chose an extension that was not offered")               \
    X(HPX_E_UPGRADE_TIMEOUT, "the upgrade was not answered in time")                               \
    X(HPX_E_WS_PROTOCOL, "the peer broke the WebSocket framing rules")                             \
    X(HPX_E_WS_UTF8, "a text message or close reason is not UTF-8")                                \
    X(HPX_E_WS_TOO_BIG, "a message is above the size limit")                                       \
    X(HPX_E_WS_CLOSED, "the WebSocket was closed in good order")                                   \
    X(HPX_E_AUTH_FAILED, "the server refused the authentication")                                  \
    X(HPX_E_AUTH_TIMEOUT, "the authentication was not answered in time")                           \
    X(HPX_E_SUBSCRIBE_TIMEOUT, "topics were not acknowledged in time")                             \
    X(HPX_E_SERVER_RECONNECT, "the server asked for a new connection")                             \
    X(HPX_E_DIALECT, "the protocol's dialect could not build or read a message")                   \
    X(HPX_E_H2_PROTOCOL, "the peer broke the HTTP/2 framing rules")                                \
    X(HPX_E_H2_FLOOD, "the peer sent more HTTP/2 frames of a kind than a limit allows")            \
    X(HPX_E_H2_REFUSED, "the peer refused the request without processing it")                      \
    X(HPX_E_H2_RESET, "the peer reset the HTTP/2 stream")                                          \
    X(HPX_E_H2_GOAWAY, "the peer ended the HTTP/2 connection with an error")                       \
    X(HPX_E_HTTP_TIMEOUT, "the request was not finished in the time that was set")                 \
    X(HPX_E_HTTP_FIRST_BYTE, "the response did not begin in the time that was set")                \
    X(HPX_E_HTTP_IDLE, "no byte moved in the time that was set")                                   \
    X(HPX_E_HTTP_TRUNCATED, "the connection ended inside the HTTP response")                       \
    X(HPX_E_HTTP_BODY_TOO_BIG, "the HTTP body is above the limits")                                \
    X(HPX_E_HTTP_ENCODING, "the HTTP body does not decode as its Content-Encoding says")           \
    X(HPX_E_HTTP_VERSION, "the peer did not agree to the HTTP version asked for")                  \
    X(HPX_E_HTTP_REDIRECT, "the redirect cannot be followed")                                      \
    X(HPX_E_NO_MEMORY, "out of memory")                                                            \
    X(HPX_E_URING_DISABLED, "io_uring is disabled (sysctl kernel.io_uring_disabled)")              \
    X(HPX_E_URING_BLOCKED, "io_uring is blocked by seccomp or a container profile")                \
    X(HPX_E_URING_UNSUPPORTED, "the kernel's io_uring lacks a feature or an operation")            \
    X(HPX_E_MEMLOCK, "the locked-memory limit (RLIMIT_MEMLOCK) is too low")                        \
    X(HPX_E_CPU, "a CPU to pin to is not available to this process")                               \
    X(HPX_E_INTERNAL, "internal error")

/* The errnos that a network engine meets, in our words; the C library knows the others. */
#define STATUS_ERRNO_LIST(X)                                                                       \
    X(EPERM, "operation not permitted")                                                            \
    X(ENOENT, "no such file")                                                                      \
    X(EINTR, "interrupted")                                                                        \
    X(EIO, "input/output error")                                                                   \
    X(EBADF, "bad file descriptor")                                                                \
    X(EAGAIN, "not ready now")                                                                     \
    X(ENOMEM, "the kernel has no memory")                                                          \
    X(EACCES, "permission denied")                                                                 \
    X(EFAULT, "bad address in memory")                                                             \
    X(EBUSY, "busy")                                                                               \
    X(EEXIST, "exists already")                                                                    \
    X(EINVAL, "invalid argument")                                                                  \
    X(ENFILE, "the system has too many open files")                                                \
    X(EMFILE, "this process has too many open files")                                              \
    X(EPIPE, "the peer has closed the connection")                                                 \
    X(ENOSYS, "the kernel has no such system call")                                                \
    X(EPROTO, "protocol error")                                                                    \
    X(ENOTSOCK, "not a socket")                                                                    \
    X(EMSGSIZE, "message too long")                                                                \
    X(EOPNOTSUPP, "operation not supported")                                                       \
    X(EAFNOSUPPORT, "address family not supported")                                                \
    X(EADDRINUSE, "address in use")                                                                \
    X(EADDRNOTAVAIL, "address not available on this machine")                                      \
    X(ENETDOWN, "network is down")                                                                 \
    X(ENETUNREACH, "network is unreachable")                                                       \
    X(ENETRESET, "connection dropped by the network")                                              \
    X(ECONNABORTED, "connection aborted")                                                          \
    X(ECONNRESET, "connection reset by the peer")                                                  \
    X(ENOBUFS, "no buffer space")                                                                  \
    X(EISCONN, "already connected")                                                                \
    X(ENOTCONN, "not connected")                                                                   \
    X(ESHUTDOWN, "sending after shutdown")                                                         \
    X(ETIMEDOUT, "connection timed out")                                                           \
    X(ECONNREFUSED, "connection refused")                                                          \
    X(EHOSTDOWN, "host is down")                                                                   \
    X(EHOSTUNREACH, "no route to host")                                                            \
    X(EALREADY, "already in progress")                                                             \
    X(EINPROGRESS, "in progress")                                                                  \
    X(ECANCELED, "cancelled")

typedef struct status_entry {
    hpx_status status;
    const char *name;
    const char *text;
} status_entry;

#define STATUS_ROW(status, text)      {status, #status, text},
#define STATUS_ERRNO_ROW(value, text) {-(value), #value, text},

static const status_entry status_entries[] = {HPX_STATUS_LIST(STATUS_ROW)
                                                  STATUS_ERRNO_LIST(STATUS_ERRNO_ROW)};

static const status_entry *status_find(hpx_status status)
{
    if (status > 0) {
        status = HPX_OK; /* a count */
    }
    for (size_t i = 0; i < sizeof(status_entries) / sizeof(status_entries[0]); i++) {
        HPX_DASSERT(status_entries[i].text != NULL);
        if (status_entries[i].status == status) {
            return &status_entries[i];
        }
    }
    return NULL;
}

static bool status_is_errno(hpx_status status)
{
    return status < 0 && status >= -4095;
}

const char *hpx_status_name(hpx_status status)
{
    const status_entry *entry = status_find(status);
    if (entry != NULL) {
        return entry->name;
    }
    const char *name = NULL;
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
    if (status_is_errno(status)) {
        name = strerrorname_np(-status);
    }
#endif
    if (name == NULL) {
        name = status_is_errno(status) ? "errno" : "HPX_E_UNKNOWN";
    }
    return name;
}

const char *hpx_status_text(hpx_status status)
{
    const status_entry *entry = status_find(status);
    if (entry != NULL) {
        return entry->text;
    }
    const char *text = NULL;
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 32)
    if (status_is_errno(status)) {
        text = strerrordesc_np(-status); /* never translated */
    }
#endif
    if (text == NULL) {
        text = status_is_errno(status) ? "unknown system error" : "unknown status";
    }
    return text;
}

const char *hpx_stage_name(hpx_stage stage)
{
    switch (stage) {
    case HPX_STAGE_NONE:
        return "none";
    case HPX_STAGE_CONFIG:
        return "config";
    case HPX_STAGE_RESOLVE:
        return "resolve";
    case HPX_STAGE_CONNECT:
        return "connect";
    case HPX_STAGE_TLS:
        return "tls";
    case HPX_STAGE_UPGRADE:
        return "upgrade";
    case HPX_STAGE_AUTH:
        return "auth";
    case HPX_STAGE_RESUBSCRIBE:
        return "resubscribe";
    case HPX_STAGE_READY:
        return "ready";
    case HPX_STAGE_CLOSE:
        return "close";
    case HPX_STAGE_QUEUE:
        return "queue";
    case HPX_STAGE_REQUEST:
        return "request";
    case HPX_STAGE_RESPONSE:
        return "response";
    case HPX_STAGE_BODY:
        return "body";
    }
    return "unknown";
}

const char *hpx_conn_state_name(hpx_conn_state state)
{
    switch (state) {
    case HPX_CONN_IDLE:
        return "idle";
    case HPX_CONN_RESOLVING:
        return "resolving";
    case HPX_CONN_CONNECTING:
        return "connecting";
    case HPX_CONN_TLS_HANDSHAKE:
        return "tls-handshake";
    case HPX_CONN_UPGRADING:
        return "upgrading";
    case HPX_CONN_AUTHENTICATING:
        return "authenticating";
    case HPX_CONN_RESUBSCRIBING:
        return "resubscribing";
    case HPX_CONN_READY:
        return "ready";
    case HPX_CONN_BACKING_OFF:
        return "backing-off";
    case HPX_CONN_CLOSING:
        return "closing";
    case HPX_CONN_CLOSED:
        return "closed";
    }
    return "unknown";
}

hpx_span hpx_span_of(const char *text)
{
    if (text == NULL) {
        return (hpx_span){0};
    }
    return (hpx_span){.data = (const uint8_t *)text, .size = strlen(text)};
}

const char *hpx_version(void)
{
    return HPX_VERSION_STRING;
}

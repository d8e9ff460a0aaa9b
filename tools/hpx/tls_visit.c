/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_visit.c - one connection of `hpx tls`: a plain socket with a deadline, and the probe.
 */
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tls.h"

/* How long a server may take to send its tickets after the handshake. */
#define VISIT_TICKETS_NS (400 * HPX_NS_PER_MS)

typedef struct visit_peer {
    struct sockaddr_storage address;
    socklen_t address_bytes;
    int fd;
    uint64_t deadline_ns;
} visit_peer;

static bool
visit_fail(tls_visit *visit, hpx_status status, hpx_stage stage, int os_errno, const char *what)
{
    visit->status = status;
    visit->error = (hpx_error){.status = status, .stage = stage, .os_errno = os_errno};
    (void)snprintf(
        visit->error.detail,
        sizeof(visit->error.detail),
        "%s%s%s",
        what,
        os_errno == 0 ? "" : ": ",
        os_errno == 0 ? "" : cli_errno_text(os_errno));
    return false;
}

/* Waits for the socket until the deadline. */
static bool visit_wait(const visit_peer *peer, short events, uint64_t deadline_ns)
{
    const uint64_t now_ns = hpx_clock_now_ns();
    if (now_ns >= deadline_ns || cli_stopping()) {
        return false;
    }
    struct pollfd wait = {.fd = peer->fd, .events = events};
    const uint64_t ms = (deadline_ns - now_ns + HPX_NS_PER_MS - 1) / HPX_NS_PER_MS;
    return poll(&wait, 1, ms > 1u << 30 ? 1 << 30 : (int)ms) == 1;
}

static bool visit_connect_one(
    tls_visit *visit, visit_peer *peer, const struct sockaddr *address, socklen_t address_bytes)
{
    int os_errno = 0;
    socklen_t size = sizeof(os_errno);
    peer->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (peer->fd < 0) {
        return visit_fail(visit, -errno, HPX_STAGE_CONNECT, errno, "socket");
    }
    (void)getnameinfo(
        address, address_bytes, visit->address, sizeof(visit->address), NULL, 0, NI_NUMERICHOST);
    if (connect(peer->fd, address, address_bytes) != 0) {
        os_errno = errno;
        if (os_errno == EINPROGRESS) {
            if (!visit_wait(peer, POLLOUT, peer->deadline_ns)) {
                return visit_fail(
                    visit, HPX_E_CONNECT_TIMEOUT, HPX_STAGE_CONNECT, 0, "no answer in time");
            }
            (void)getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &os_errno, &size);
        }
    }
    if (os_errno != 0) {
        return visit_fail(visit, -os_errno, HPX_STAGE_CONNECT, os_errno, visit->address);
    }
    memcpy(&peer->address, address, address_bytes);
    peer->address_bytes = address_bytes;
    return true;
}

/* Tries the addresses one after the other. */
static bool visit_connect(tls_visit *visit, visit_peer *peer, const char *host, const char *port)
{
    struct addrinfo *list = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    const uint64_t start_ns = hpx_clock_now_ns();
    const int rc = getaddrinfo(host, port, &hints, &list);
    visit->resolve_ns = hpx_clock_now_ns() - start_ns;
    if (rc != 0) {
        const hpx_status status = rc == EAI_NONAME ? HPX_E_DNS_NOT_FOUND : HPX_E_DNS_FAILED;
        return visit_fail(visit, status, HPX_STAGE_RESOLVE, 0, gai_strerror(rc));
    }
    bool done = false;
    for (const struct addrinfo *at = list; at != NULL && !done; at = at->ai_next) {
        const uint64_t connect_ns = hpx_clock_now_ns();
        done = visit_connect_one(visit, peer, at->ai_addr, at->ai_addrlen);
        visit->connect_ns = hpx_clock_now_ns() - connect_ns;
        if (!done && peer->fd >= 0) {
            (void)close(peer->fd);
            peer->fd = -1;
        }
    }
    freeaddrinfo(list);
    return done;
}

static void visit_flush(const visit_peer *peer, hpx_tls_probe *probe)
{
    for (;;) {
        const hpx_span out = hpx_tls_probe_output(probe);
        if (out.size == 0) {
            return;
        }
        const ssize_t sent = send(peer->fd, out.data, out.size, MSG_NOSIGNAL);
        if (sent > 0) {
            hpx_tls_probe_sent(probe, (size_t)sent);
        } else if (errno != EAGAIN || !visit_wait(peer, POLLOUT, peer->deadline_ns)) {
            hpx_tls_probe_sent(probe, out.size); /* the peer is gone: reading will tell */
            return;
        }
    }
}

/* Receives once. > 0 bytes, 0 the end, -1 nothing until the deadline, -2 an error. */
static ssize_t visit_receive(const visit_peer *peer, uint8_t *to, size_t size, uint64_t deadline_ns)
{
    if (!visit_wait(peer, POLLIN, deadline_ns)) {
        return -1;
    }
    const ssize_t got = recv(peer->fd, to, size, 0);
    return got < 0 ? -2 : got;
}

static bool visit_handshake(tls_visit *visit, const visit_peer *peer, hpx_tls_probe *probe)
{
    static uint8_t bytes[16384];
    const uint64_t start_ns = hpx_clock_now_ns();
    visit->status = hpx_tls_probe_start(probe, &visit->error);
    if (visit->status != HPX_OK) {
        return false;
    }
    do {
        visit_flush(peer, probe);
        const ssize_t got = visit_receive(peer, bytes, sizeof(bytes), peer->deadline_ns);
        if (got == -1) {
            return visit_fail(visit, HPX_E_TLS_TIMEOUT, HPX_STAGE_TLS, 0, "no answer in time");
        }
        if (got <= 0) {
            return visit_fail(
                visit,
                got == 0 ? HPX_E_EOF : -errno,
                HPX_STAGE_TLS,
                got == 0 ? 0 : errno,
                "the server closed the connection during the handshake");
        }
        visit->status = hpx_tls_probe_receive(probe, bytes, (size_t)got, &visit->error);
    } while (visit->status == HPX_E_PARTIAL);
    visit->handshake_ns = hpx_clock_now_ns() - start_ns;
    visit_flush(peer, probe);
    return visit->status == 1;
}

/* A server of TLS 1.3 refuses a client's certificate, or gives tickets, after the handshake. */
static void visit_linger(tls_visit *visit, const visit_peer *peer, hpx_tls_probe *probe)
{
    static uint8_t bytes[16384];
    const uint64_t deadline_ns = hpx_clock_now_ns() + VISIT_TICKETS_NS;
    for (;;) {
        hpx_tls_probe_get_report(probe, &visit->report);
        if (visit->report.session_count != 0) {
            return;
        }
        const ssize_t got = visit_receive(peer, bytes, sizeof(bytes), deadline_ns);
        if (got <= 0) {
            return;
        }
        const hpx_status status = hpx_tls_probe_receive(probe, bytes, (size_t)got, &visit->error);
        visit_flush(peer, probe);
        if (status < 0) {
            visit->status = status;
        }
        if (status != 1) {
            return;
        }
    }
}

void tls_visit_make(
    tls_visit *visit, hpx_tls_probe *probe, const tls_options *options, const tls_visit *like)
{
    *visit = (tls_visit){0};
    visit_peer peer = {.fd = -1, .deadline_ns = hpx_clock_now_ns() + options->timeout_ns};
    const char *host = like == NULL ? options->host : like->address;
    if (!visit_connect(visit, &peer, host, options->port)) {
        return;
    }
    if (visit_handshake(visit, &peer, probe)) {
        visit_linger(visit, &peer, probe);
    }
    hpx_tls_probe_get_report(probe, &visit->report);
    (void)close(peer.fd);
}

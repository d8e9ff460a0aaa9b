/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - thin calls over the kernel's socket interface.
 *
 * Role      Turns errno into -errno once, here, and retries EINTR, so that no caller has to.
 * Threads   Any; no state.
 * Memory    Nothing is allocated.
 */
#include "ring/net.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ring/assert.h"

#ifndef SO_PREFER_BUSY_POLL /* Linux 5.11 */
#define SO_PREFER_BUSY_POLL 69
#endif

static int net_set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0 ? 0 : -errno;
}

int hpxi_net_tcp_tune(int fd, uint32_t busy_poll_us)
{
    HPX_ASSERT(fd >= 0 && busy_poll_us <= INT32_MAX);
    int result = net_set(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (result == 0 && busy_poll_us != 0) {
        result = net_set(fd, SOL_SOCKET, SO_BUSY_POLL, (int)busy_poll_us);
    }
    if (result == 0 && busy_poll_us != 0) {
        result = net_set(fd, SOL_SOCKET, SO_PREFER_BUSY_POLL, 1);
    }
    return result;
}

int hpxi_net_tcp_hint(int fd, bool quickack, int cpu)
{
    HPX_ASSERT(fd >= 0);
    int result = quickack ? net_set(fd, IPPROTO_TCP, TCP_QUICKACK, 1) : 0;
    if (result == 0 && cpu >= 0) {
        result = net_set(fd, SOL_SOCKET, SO_INCOMING_CPU, cpu);
    }
    return result;
}

int hpxi_net_tcp_socket(int family, uint32_t busy_poll_us)
{
    const int fd = hpxi_net_socket(family, SOCK_STREAM, IPPROTO_TCP);
    if (fd < 0) {
        return fd;
    }
    const int result = hpxi_net_tcp_tune(fd, busy_poll_us);
    if (result != 0) {
        close(fd);
        return result;
    }
    return fd;
}

static int net_listen(int fd, const hpxi_address *address, uint32_t backlog, bool reuse_port)
{
    int result = net_set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (result == 0 && reuse_port) {
        result = net_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    }
    if (result == 0 && bind(fd, &address->u.any, address->size) != 0) {
        result = -errno;
    }
    if (result == 0 && listen(fd, (int)backlog) != 0) {
        result = -errno;
    }
    return result;
}

int hpxi_net_tcp_listen(const hpxi_address *address, uint32_t backlog, bool reuse_port)
{
    HPX_ASSERT(address != NULL && address->size != 0);
    HPX_ASSERT(backlog <= INT32_MAX);
    const int fd = hpxi_net_tcp_socket(address->u.any.sa_family, 0);
    if (fd < 0) {
        return fd;
    }
    const int result = net_listen(fd, address, backlog, reuse_port);
    if (result != 0) {
        close(fd);
        return result;
    }
    return fd;
}

ptrdiff_t hpxi_net_recv(int fd, void *data, size_t size)
{
    HPX_DASSERT(fd >= 0 && size != 0);
    ssize_t result;
    do {
        result = recv(fd, data, size, MSG_DONTWAIT);
    } while (HPXI_UNLIKELY(result < 0 && errno == EINTR));
    return result >= 0 ? result : -errno;
}

int hpxi_net_peek(int fd)
{
    HPX_DASSERT(fd >= 0);
    uint8_t byte;
    ssize_t result;
    do {
        result = recv(fd, &byte, sizeof(byte), MSG_DONTWAIT | MSG_PEEK);
    } while (HPXI_UNLIKELY(result < 0 && errno == EINTR));
    return result >= 0 ? (int)result : -errno;
}

ptrdiff_t hpxi_net_send(int fd, const void *data, size_t size)
{
    HPX_DASSERT(fd >= 0 && size != 0);
    ssize_t result;
    do {
        result = send(fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (HPXI_UNLIKELY(result < 0 && errno == EINTR));
    return result >= 0 ? result : -errno;
}

int hpxi_net_shutdown(int fd, int how)
{
    HPX_DASSERT(fd >= 0);
    return shutdown(fd, how) == 0 ? 0 : -errno;
}

int hpxi_net_close(int fd)
{
    HPX_ASSERT(fd >= 0);
    /* Linux closes the descriptor even when it answers EINTR: never retry. */
    return close(fd) == 0 || errno == EINTR ? 0 : -errno;
}

int hpxi_net_linger_zero(int fd)
{
    HPX_DASSERT(fd >= 0);
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0 ? 0 : -errno;
}

int hpxi_net_local(int fd, hpxi_address *out)
{
    HPX_ASSERT(fd >= 0 && out != NULL);
    *out = (hpxi_address){.size = sizeof(out->u)};
    if (getsockname(fd, &out->u.any, &out->size) != 0) {
        const int result = -errno;
        *out = (hpxi_address){0};
        return result;
    }
    return 0;
}

int hpxi_net_peer(int fd, hpxi_address *out)
{
    HPX_ASSERT(fd >= 0 && out != NULL);
    *out = (hpxi_address){.size = sizeof(out->u)};
    if (getpeername(fd, &out->u.any, &out->size) != 0) {
        const int result = -errno;
        *out = (hpxi_address){0};
        return result;
    }
    return 0;
}

int hpxi_net_error(int fd)
{
    HPX_ASSERT(fd >= 0);
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) {
        return -errno;
    }
    return -error;
}

int hpxi_net_socket(int family, int type, int protocol)
{
    const int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
    return fd >= 0 ? fd : -errno;
}

int hpxi_net_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    HPX_ASSERT(fd >= 0 && address != NULL);
    return connect(fd, address, size) == 0 ? 0 : -errno;
}

ptrdiff_t hpxi_net_recvfrom(
    int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *from_size)
{
    HPX_ASSERT(fd >= 0);
    ssize_t result;
    do {
        result = recvfrom(fd, data, size, flags | MSG_DONTWAIT, from, from_size);
    } while (result < 0 && errno == EINTR);
    return result >= 0 ? result : -errno;
}

ptrdiff_t hpxi_net_sendv(int fd, const struct iovec *parts, int count)
{
    HPX_ASSERT(fd >= 0 && count >= 0);
    const struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)parts, /* sendmsg() does not write through it */
        .msg_iovlen = (size_t)count,
    };
    ssize_t result;
    do {
        result = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (result < 0 && errno == EINTR);
    return result >= 0 ? result : -errno;
}

void hpxi_os_random(void *data, size_t size)
{
    uint8_t *next = data;
    while (size != 0) {
        const ssize_t got = getrandom(next, size, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        HPX_ASSERT(got > 0); /* without randomness there is no safe way to go on */
        next += got;
        size -= (size_t)got;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doorbell.c - the doorbell's eventfd. The protocol that decides when to touch it is in doorbell.h.
 *
 * The eventfd's count says "at least one ring since the last drain" and no more: a late write by a
 * producer that lost the processor after its exchange is a spurious wake-up, never a lost one.
 */
#include "ring/doorbell.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "ring/assert.h"

hpx_status hpxi_doorbell_init(hpxi_doorbell *bell)
{
    *bell = (hpxi_doorbell){.fd = -1};
    bell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return bell->fd < 0 ? -errno : HPX_OK;
}

void hpxi_doorbell_fini(hpxi_doorbell *bell)
{
    if (bell->fd >= 0) {
        close(bell->fd);
    }
    bell->fd = -1;
}

void hpxi_doorbell_drain(hpxi_doorbell *bell)
{
    HPX_DASSERT(bell->fd >= 0);
    uint64_t rings;
    ssize_t got;
    do {
        got = read(bell->fd, &rings, sizeof(rings));
    } while (got < 0 && errno == EINTR);
    HPX_ASSERT(got == (ssize_t)sizeof(rings) || errno == EAGAIN);
}

bool hpxi_doorbell_wait(hpxi_doorbell *bell, uint64_t timeout_ns)
{
    HPX_DASSERT(bell->fd >= 0);
    const struct timespec timeout = {
        .tv_sec = (time_t)(timeout_ns / HPX_NS_PER_S),
        .tv_nsec = (long)(timeout_ns % HPX_NS_PER_S),
    };
    struct pollfd poll_fd = {.fd = bell->fd, .events = POLLIN};
    const int ready = ppoll(&poll_fd, 1, timeout_ns == UINT64_MAX ? NULL : &timeout, NULL);
    HPX_ASSERT(ready >= 0 || errno == EINTR || errno == ENOMEM);
    if (ready <= 0) {
        return false;
    }
    hpxi_doorbell_drain(bell);
    return true;
}

void hpxi_doorbell_write(hpxi_doorbell *bell)
{
    HPX_DASSERT(bell->fd >= 0);
    const int saved_errno = errno; /* async-signal-safe includes this */
    const uint64_t one = 1;
    ssize_t put;
    do {
        put = write(bell->fd, &one, sizeof(one));
    } while (put < 0 && errno == EINTR);
    /* EAGAIN: the count is at its maximum, so the descriptor is readable all the same. */
    HPX_ASSERT(put == (ssize_t)sizeof(one) || errno == EAGAIN);
    errno = saved_errno;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dns_sockets.c - the table of c-ares' sockets.
 *
 * A poll may still be in the submission queue when its descriptor is closed, and the number may be
 * given to another socket before the kernel sees it. The poll is then armed on that other socket
 * for an instant: the cancel was prepared right behind it. Its events carry the old token and are
 * dropped.
 */
#include "engine/dns_sockets.h"

#include <errno.h>
#include <poll.h>

#include "ring/assert.h"

/* Calls into c-ares for one ready socket before the others, and the shard, have their turn. c-ares
 * 1.18 reads two bytes or one message of a stream per call. */
#define PUMP_ROUNDS_MAX 64u

void hpxi_dns_sockets_init(hpxi_dns_sockets *sockets, hpxi_ring *ring)
{
    HPX_ASSERT(ring != NULL);
    *sockets = (hpxi_dns_sockets){.ring = ring};
    /* A random start, so that completions for an earlier resolver on this ring match nothing. */
    uint32_t generation;
    hpxi_os_random(&generation, sizeof(generation));
    for (uint32_t i = 0; i < HPXI_RESOLVER_POLLS_MAX; i++) {
        sockets->table[i].fd = -1;
        sockets->table[i].generation = (generation + i) & HPXI_GENERATION_MASK;
    }
}

static hpxi_dns_socket *sockets_find(hpxi_dns_sockets *sockets, int fd)
{
    HPX_ASSERT(fd >= 0);
    for (uint32_t i = 0; i < HPXI_RESOLVER_POLLS_MAX; i++) {
        if (sockets->table[i].fd == fd) {
            return &sockets->table[i];
        }
    }
    return NULL;
}

static hpxi_token sockets_token(const hpxi_dns_sockets *sockets, const hpxi_dns_socket *entry)
{
    const uint32_t index = (uint32_t)(entry - sockets->table);
    HPX_DASSERT(index < HPXI_RESOLVER_POLLS_MAX);
    return hpxi_token_make(HPXI_OP_POLL, entry->generation, index);
}

static void sockets_arm(hpxi_dns_sockets *sockets, hpxi_dns_socket *entry)
{
    HPX_ASSERT(!entry->polled);
    HPX_ASSERT(entry->fd >= 0);
    entry->polled = true;
    entry->generation = (entry->generation + 1) & HPXI_GENERATION_MASK;
    /* A stream is watched for room as well: once connected, and after a full send buffer. */
    const uint32_t events = entry->is_stream ? POLLIN | POLLOUT : POLLIN;
    hpxi_ring_poll(sockets->ring, sockets_token(sockets, entry), entry->fd, events);
}

static ares_socket_t sockets_socket(int family, int type, int protocol, void *user)
{
    hpxi_dns_sockets *sockets = user;
    for (uint32_t i = 0; i < HPXI_RESOLVER_POLLS_MAX; i++) {
        hpxi_dns_socket *entry = &sockets->table[i];
        if (entry->fd >= 0 || entry->polled) {
            continue;
        }
        const int fd = hpxi_net_socket(family, type, protocol);
        if (fd < 0) {
            errno = -fd;
            return ARES_SOCKET_BAD;
        }
        HPX_ASSERT(sockets_find(sockets, fd) == NULL);
        *entry = (hpxi_dns_socket){
            .fd = fd, .generation = entry->generation, .is_stream = type == SOCK_STREAM};
        return fd;
    }
    errno = EMFILE;
    return ARES_SOCKET_BAD;
}

static int sockets_close(ares_socket_t fd, void *user)
{
    hpxi_dns_sockets *sockets = user;
    hpxi_dns_socket *entry = sockets_find(sockets, fd);
    HPX_ASSERT(entry != NULL);
    if (entry->polled) {
        hpxi_ring_cancel(sockets->ring, sockets_token(sockets, entry));
    }
    *entry = (hpxi_dns_socket){.fd = -1, .generation = entry->generation, .polled = entry->polled};
    const int result = hpxi_net_close(fd);
    if (result < 0) {
        errno = -result;
        return -1;
    }
    return 0;
}

static int
sockets_connect(ares_socket_t fd, const struct sockaddr *address, ares_socklen_t size, void *user)
{
    HPX_DASSERT(sockets_find(user, fd) != NULL);
    (void)user;
    const int result = hpxi_net_connect(fd, address, size);
    if (result < 0) {
        errno = -result;
        return -1;
    }
    return 0;
}

static ares_ssize_t sockets_receive(
    ares_socket_t fd,
    void *data,
    size_t size,
    int flags,
    struct sockaddr *from,
    ares_socklen_t *from_size,
    void *user)
{
    hpxi_dns_socket *entry = sockets_find(user, fd);
    HPX_ASSERT(entry != NULL);
    entry->touched = true;
    if (entry->error != 0) {
        errno = entry->error;
        entry->error = 0;
        entry->readable = false;
        return -1;
    }
    const ptrdiff_t result = hpxi_net_recvfrom(fd, data, size, flags, from, from_size);
    if (result > 0) {
        return result;
    }
    if (result == 0 && !entry->is_stream) {
        /* An empty datagram. c-ares would take it for the end of the connection and give up on the
         * server (CVE-2023-32067). The socket stays readable: more may follow. */
        errno = EAGAIN;
        return -1;
    }
    entry->readable = false;
    if (result < 0) {
        errno = (int)-result;
        return -1;
    }
    return 0;
}

static ares_ssize_t sockets_send(ares_socket_t fd, const struct iovec *parts, int count, void *user)
{
    hpxi_dns_sockets *sockets = user;
    hpxi_dns_socket *entry = sockets_find(sockets, fd);
    HPX_ASSERT(entry != NULL);
    entry->touched = true;
    const ptrdiff_t result = hpxi_net_sendv(fd, parts, count);
    if (result >= 0) {
        return result;
    }
    entry->writable = false;
    if (!entry->is_stream && result != -EAGAIN) {
        /* The error of an earlier datagram (ICMP: nobody listens there). Having been reported here
         * it is gone from the socket, and c-ares moves on with this question alone: those sent
         * before would wait for their timeout. A failing receive moves all of them on. */
        entry->error = (int)-result;
        entry->readable = true;
        sockets->backlog = true;
    }
    errno = (int)-result;
    return -1;
}

static void sockets_state(void *user, ares_socket_t fd, int readable, int writable)
{
    hpxi_dns_sockets *sockets = user;
    hpxi_dns_socket *entry = sockets_find(sockets, fd);
    HPX_ASSERT(entry != NULL);
    entry->wanted = readable != 0 || writable != 0;
    entry->wants_write = writable != 0;
    if (entry->wants_write && entry->writable) {
        /* There is room already: no edge will tell. This may happen in the middle of a pump that
         * has passed this entry. */
        sockets->backlog = true;
    }
    if (entry->wanted && !entry->polled) {
        sockets_arm(sockets, entry);
    }
}

void hpxi_dns_sockets_options(
    hpxi_dns_sockets *sockets, struct ares_options *options, int *option_mask)
{
    HPX_ASSERT(sockets->ring != NULL);
    options->sock_state_cb = sockets_state;
    options->sock_state_cb_data = sockets;
    *option_mask |= ARES_OPT_SOCK_STATE_CB;
}

void hpxi_dns_sockets_attach(hpxi_dns_sockets *sockets, ares_channel channel)
{
    HPX_ASSERT(channel != NULL);
    static const struct ares_socket_functions functions = {
        .asocket = sockets_socket,
        .aclose = sockets_close,
        .aconnect = sockets_connect,
        .arecvfrom = sockets_receive,
        .asendv = sockets_send,
    };
    ares_set_socket_functions(channel, &functions, sockets);
}

bool hpxi_dns_sockets_completion(hpxi_dns_sockets *sockets, const hpxi_completion *completion)
{
    HPX_ASSERT(completion->op == HPXI_OP_POLL);
    HPX_ASSERT(completion->index < HPXI_RESOLVER_POLLS_MAX);
    hpxi_dns_socket *entry = &sockets->table[completion->index];
    if (!entry->polled || completion->generation != entry->generation) {
        return false; /* of an earlier resolver on this ring */
    }
    entry->polled = completion->more;
    if (entry->fd < 0) {
        return false;
    }
    if (completion->result < 0) {
        return false; /* deaf until hpxi_dns_sockets_rearm() */
    }
    const uint32_t events = (uint32_t)completion->result;
    entry->readable = entry->readable || (events & (POLLIN | POLLERR | POLLHUP)) != 0;
    entry->writable = entry->writable || (events & (POLLOUT | POLLERR | POLLHUP)) != 0;
    if (!entry->polled) {
        sockets_arm(sockets, entry); /* ended without an error: the completion queue was full */
    }
    return true;
}

/* True when it is still ready. */
static bool sockets_pump_one(hpxi_dns_socket *entry, ares_channel channel)
{
    for (uint32_t round = 0; round < PUMP_ROUNDS_MAX; round++) {
        /* The calls below may close this socket, and may even put a new one into its entry, which
         * then has no readiness yet. */
        const bool read = entry->fd >= 0 && entry->readable;
        const bool write = entry->fd >= 0 && entry->writable && entry->wants_write;
        if (!read && !write) {
            return false;
        }
        entry->touched = false;
        const uint32_t generation = entry->generation;
        ares_process_fd(
            channel, read ? entry->fd : ARES_SOCKET_BAD, write ? entry->fd : ARES_SOCKET_BAD);
        if (!entry->touched && entry->generation == generation) {
            /* Ready, but of no use to c-ares now: do not insist. */
            entry->readable = false;
            entry->wants_write = false;
        }
    }
    return true;
}

void hpxi_dns_sockets_pump(hpxi_dns_sockets *sockets, ares_channel channel)
{
    HPX_ASSERT(channel != NULL);
    sockets->backlog = false;
    for (uint32_t i = 0; i < HPXI_RESOLVER_POLLS_MAX; i++) {
        if (sockets_pump_one(&sockets->table[i], channel)) {
            sockets->backlog = true;
        }
    }
}

void hpxi_dns_sockets_rearm(hpxi_dns_sockets *sockets)
{
    HPX_ASSERT(sockets->ring != NULL);
    for (uint32_t i = 0; i < HPXI_RESOLVER_POLLS_MAX; i++) {
        hpxi_dns_socket *entry = &sockets->table[i];
        if (entry->fd >= 0 && entry->wanted && !entry->polled) {
            sockets_arm(sockets, entry);
        }
    }
}

uint32_t hpxi_dns_sockets_polls(const hpxi_dns_sockets *sockets)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < HPXI_RESOLVER_POLLS_MAX; i++) {
        count += sockets->table[i].polled;
    }
    HPX_ASSERT(count <= HPXI_RESOLVER_POLLS_MAX);
    return count;
}

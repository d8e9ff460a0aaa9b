/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_net.c - net.h without a kernel: streams, listeners, and what a network does to them.
 *
 * Role      Follows Linux where the engine could tell: what was received is read before an error;
 *           an error is told once, then the end; close() with unread bytes, or after
 *           hpxi_net_linger_zero(), sends RST; bytes for a socket that is gone are answered with
 *           RST. A stream keeps its order, two streams do not keep theirs.
 * Threads   One.
 */
#include <errno.h>
#include <stdlib.h>

#include "ring/sim_world.h"

#define SIM_SYN_TIMEOUT_NS (127 * HPX_NS_PER_S) /* net.ipv4.tcp_syn_retries = 6 */
#define SIM_DATAGRAMS      (-EMFILE)            /* there are none: the resolver is not simulated */

/* ---- The table ------------------------------------------------------------------------------- */

sim_socket *hpxi_sim_socket(int fd)
{
    HPX_ASSERT(fd >= SIM_FD_FIRST && fd < SIM_FD_FIRST + (int)SIM_SOCKETS_MAX);
    sim_socket *socket = &SIM->sockets[fd - SIM_FD_FIRST];
    HPX_ASSERT(socket->kind != SIM_FREE); /* else: used after close */
    return socket;
}

sim_socket *hpxi_sim_deref(sim_ref ref)
{
    sim_socket *socket = &SIM->sockets[ref.index];
    return socket->kind != SIM_FREE && socket->generation == ref.generation ? socket : NULL;
}

static sim_ref net_ref(const sim_socket *socket)
{
    return (sim_ref){.index = socket->index, .generation = socket->generation};
}

int hpxi_sim_open(sim_kind kind)
{
    for (uint32_t i = 0; i < SIM_SOCKETS_MAX; i++) {
        sim_socket *socket = &SIM->sockets[i];
        if (socket->kind == SIM_FREE) {
            const uint32_t generation = socket->generation;
            memset(socket, 0, sizeof(*socket));
            socket->index = i;
            socket->generation = generation;
            socket->kind = kind;
            socket->peer.generation = UINT32_MAX; /* nobody */
            return hpxi_sim_fd(socket);
        }
    }
    return -EMFILE;
}

static void net_free(sim_socket *socket)
{
    free(socket->in);
    socket->in = NULL;
    socket->in_size = 0;
    socket->in_capacity = 0;
    socket->kind = SIM_FREE;
    socket->generation++;
}

void hpxi_sim_close_all(void)
{
    for (uint32_t i = 0; i < SIM_SOCKETS_MAX; i++) {
        if (SIM->sockets[i].kind != SIM_FREE) {
            net_free(&SIM->sockets[i]);
        }
    }
}

uint64_t hpxi_sim_longest_end_ns(void)
{
    uint64_t longest = 0;
    for (uint32_t i = 0; i < SIM_SOCKETS_MAX; i++) {
        const sim_socket *socket = &SIM->sockets[i];
        if (socket->kind == SIM_STREAM && socket->end_ns != 0 &&
            SIM->now_ns - socket->end_ns > longest) {
            longest = SIM->now_ns - socket->end_ns;
        }
    }
    return longest;
}

uint32_t hpxi_sim_socket_count(void)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < SIM_SOCKETS_MAX; i++) {
        const sim_kind kind = SIM->sockets[i].kind;
        count += kind == SIM_STREAM || kind == SIM_LISTENER ? 1 : 0;
    }
    return count;
}

bool hpxi_sim_port_is_open(uint16_t port)
{
    for (uint32_t i = 0; i < SIM_SOCKETS_MAX; i++) {
        const sim_socket *socket = &SIM->sockets[i];
        if (socket->kind == SIM_STREAM && hpxi_address_port(&socket->local) == port) {
            return true;
        }
    }
    return false;
}

/* ---- Segments -------------------------------------------------------------------------------- */

static uint64_t net_delay(void)
{
    const hpxi_sim_config *config = &SIM->config;
    uint64_t delay = hpxi_sim_between(&SIM->random, config->delay_min_ns, config->delay_max_ns);
    if (hpxi_sim_fault_happens(HPXI_SIM_SLOW)) {
        delay += hpxi_sim_below(&SIM->random, config->delay_slow_ns);
    }
    return delay;
}

/* When the next thing that `from` sends arrives: not before what it sent last. */
static uint64_t net_arrival(sim_socket *from)
{
    const uint64_t arrival = SIM->now_ns + net_delay();
    if (arrival > from->last_arrival_ns) {
        from->last_arrival_ns = arrival;
    }
    return from->last_arrival_ns;
}

static void net_send_event(sim_socket *from, sim_event_kind kind)
{
    if (!from->silent) {
        hpxi_sim_push(&(sim_event){
            .when_ns = net_arrival(from), .kind = kind, .to = from->peer, .from = net_ref(from)});
    }
}

/* The network, or a host without such a socket, answers. */
static void net_reset_later(sim_ref to)
{
    hpxi_sim_push(&(sim_event){
        .when_ns = SIM->now_ns + net_delay(), .kind = SIM_EVENT_RESET, .to = to, .from = to});
}

static void net_fall_silent(sim_socket *from)
{
    const uint64_t how = hpxi_sim_below(&SIM->random, 3);
    sim_socket *peer = hpxi_sim_deref(from->peer);
    from->silent = from->silent || how != 0;
    if (peer != NULL && how != 1) {
        peer->silent = true;
    }
}

/* What happens to the stream after this segment. Returns false if the segment itself is lost. */
static bool net_misfortune(sim_socket *from)
{
    if (hpxi_sim_fault_happens(HPXI_SIM_RESET)) {
        const uint64_t who = hpxi_sim_below(&SIM->random, 3);
        if (who != 0) {
            net_reset_later(from->peer);
        }
        if (who != 1) {
            net_reset_later(net_ref(from));
        }
        from->silent = true; /* a stream has no hole: what follows is lost as well */
        return false;
    }
    if (hpxi_sim_fault_happens(HPXI_SIM_SILENCE)) {
        net_fall_silent(from);
        return !from->silent;
    }
    return true;
}

static void net_send_segment(sim_socket *from, const uint8_t *data, uint32_t size)
{
    SIM->stats.segments++;
    if (from->cut) {
        net_reset_later(net_ref(from));
        return;
    }
    if (!from->silent && net_misfortune(from)) {
        uint8_t *copy = malloc(size);
        HPX_ASSERT(copy != NULL);
        memcpy(copy, data, size);
        hpxi_sim_push(&(sim_event){
            .when_ns = net_arrival(from),
            .kind = SIM_EVENT_DATA,
            .to = from->peer,
            .from = net_ref(from),
            .size = size,
            .data = copy});
        if (hpxi_sim_fault_happens(HPXI_SIM_CUT)) {
            net_send_event(from, SIM_EVENT_FIN);
            from->cut = true;
        }
    }
    if (from->silent && !from->timing) {
        from->timing = true;
        hpxi_sim_push(&(sim_event){
            .when_ns = SIM->now_ns + SIM->config.retransmit_ns,
            .kind = SIM_EVENT_TIMEOUT,
            .to = net_ref(from)});
    }
}

/* ---- What arrives ---------------------------------------------------------------------------- */

static void net_fail(sim_socket *socket, int error)
{
    if (socket->state != SIM_CONNECTED) {
        return;
    }
    socket->state = SIM_FAILED;
    /* As tcp_reset(): who has seen the peer's FIN gets EPIPE. */
    socket->error = error == -ECONNRESET && socket->fin_received ? -EPIPE : error;
}

static void net_on_data(const sim_event *event)
{
    sim_socket *socket = hpxi_sim_deref(event->to);
    if (socket == NULL) {
        net_reset_later(event->from);
        return;
    }
    if (socket->state != SIM_CONNECTED) {
        return;
    }
    if (socket->in_size + event->size > socket->in_capacity) {
        socket->in_capacity = (socket->in_size + event->size) * 2;
        socket->in = realloc(socket->in, socket->in_capacity);
        HPX_ASSERT(socket->in != NULL);
    }
    memcpy(socket->in + socket->in_size, event->data, event->size);
    socket->in_size += event->size;
}

static sim_socket *net_find_listener(const hpxi_address *address)
{
    for (uint32_t i = 0; i < SIM_SOCKETS_MAX; i++) {
        sim_socket *socket = &SIM->sockets[i];
        if (socket->kind == SIM_LISTENER &&
            hpxi_address_port(&socket->local) == hpxi_address_port(address)) {
            return socket;
        }
    }
    return NULL;
}

static void net_answer(sim_ref to, uint64_t when_ns, int result)
{
    hpxi_sim_push(&(sim_event){
        .when_ns = when_ns, .kind = SIM_EVENT_ANSWER, .to = to, .from = to, .result = result});
}

static void net_on_syn(const sim_event *event)
{
    sim_socket *client = hpxi_sim_deref(event->to);
    if (client == NULL || client->state != SIM_CONNECTING) {
        return; /* gone before it arrived */
    }
    sim_socket *listener = net_find_listener(&client->remote);
    if (listener == NULL) {
        net_answer(event->to, SIM->now_ns + net_delay(), -ECONNREFUSED);
        return;
    }
    const int fd = listener->queue_count == SIM_QUEUE_MAX ? -1 : hpxi_sim_open(SIM_STREAM);
    if (fd < 0) {
        net_answer(event->to, SIM->now_ns + SIM_SYN_TIMEOUT_NS, -ETIMEDOUT);
        return;
    }
    sim_socket *server = hpxi_sim_socket(fd);
    server->state = SIM_CONNECTED;
    server->local = client->remote;
    server->remote = client->local;
    server->peer = net_ref(client);
    client->peer = net_ref(server);
    listener->queue[listener->queue_count++] = server->index;
    server->last_arrival_ns = SIM->now_ns + net_delay();
    net_answer(event->to, server->last_arrival_ns, 0);
    if (hpxi_sim_fault_happens(HPXI_SIM_CONNECT_RESET)) {
        net_reset_later(net_ref(server));
        server->last_arrival_ns += net_delay();
        hpxi_sim_push(&(sim_event){
            .when_ns = server->last_arrival_ns, .kind = SIM_EVENT_RESET, .to = event->to});
    }
}

static void net_on_answer(const sim_event *event)
{
    sim_socket *client = hpxi_sim_deref(event->to);
    if (client == NULL || client->state != SIM_CONNECTING) {
        return;
    }
    client->connect_result = event->result;
    client->state = event->result == 0 ? SIM_CONNECTED : SIM_FAILED;
    SIM->stats.connects += event->result == 0 ? 1 : 0;
}

void hpxi_sim_net_event(const sim_event *event)
{
    static const char *const names[] = {"syn", "answer", "data", "fin", "reset", "timeout", "call"};
    sim_socket *to = hpxi_sim_deref(event->to);
    SIM->changes++;
    hpxi_sim_log(
        (uint64_t)event->kind << 32 | event->size,
        "net %s fd %d%s size %u result %d",
        names[event->kind],
        SIM_FD_FIRST + (int)event->to.index,
        to == NULL ? " (gone)" : "",
        event->size,
        event->result);
    switch (event->kind) {
    case SIM_EVENT_SYN:
        net_on_syn(event);
        return;
    case SIM_EVENT_ANSWER:
        net_on_answer(event);
        return;
    case SIM_EVENT_DATA:
        net_on_data(event);
        return;
    case SIM_EVENT_FIN:
        if (to != NULL && to->state == SIM_CONNECTED) {
            to->fin_received = true;
        }
        return;
    case SIM_EVENT_RESET:
        if (to != NULL) {
            net_fail(to, -ECONNRESET);
        }
        return;
    case SIM_EVENT_TIMEOUT:
        if (to != NULL) {
            net_fail(to, -ETIMEDOUT);
        }
        return;
    case SIM_EVENT_CALL:
        break;
    }
    HPX_ASSERT(false);
}

/* ---- Connect and accept ---------------------------------------------------------------------- */

void hpxi_sim_connect(sim_socket *socket, const hpxi_address *address)
{
    static const int refusals[] = {-ECONNREFUSED, -EHOSTUNREACH, -ENETUNREACH, -ETIMEDOUT};
    HPX_ASSERT(socket->kind == SIM_STREAM && socket->state == SIM_NEW);
    socket->state = SIM_CONNECTING;
    socket->remote = *address;
    HPX_ASSERT(hpxi_address_parse(&socket->local, "10.1.0.1", (uint16_t)SIM->next_port));
    SIM->next_port++;
    HPX_ASSERT(SIM->next_port <= UINT16_MAX); /* ports are used once */
    const sim_ref self = net_ref(socket);
    if (hpxi_sim_fault_happens(HPXI_SIM_CONNECT_REFUSED)) {
        const uint64_t when_ns = SIM->now_ns + net_delay();
        net_answer(self, when_ns, refusals[hpxi_sim_below(&SIM->random, 4)]);
    } else if (hpxi_sim_fault_happens(HPXI_SIM_CONNECT_STALLS)) {
        net_answer(self, SIM->now_ns + SIM_SYN_TIMEOUT_NS, -ETIMEDOUT);
    } else {
        hpxi_sim_push(
            &(sim_event){.when_ns = SIM->now_ns + net_delay(), .kind = SIM_EVENT_SYN, .to = self});
    }
}

int hpxi_sim_accept(sim_socket *listener)
{
    HPX_ASSERT(listener->kind == SIM_LISTENER);
    if (listener->queue_count == 0) {
        return -EAGAIN;
    }
    const uint32_t index = listener->queue[0];
    listener->queue_count--;
    memmove(
        listener->queue, listener->queue + 1, listener->queue_count * sizeof(listener->queue[0]));
    return SIM_FD_FIRST + (int)index;
}

/* ---- Reading and writing --------------------------------------------------------------------- */

bool hpxi_sim_may_read(const sim_socket *socket)
{
    return socket->in_size != 0 || socket->error != 0 || socket->fin_received ||
           socket->shut_read || socket->state == SIM_FAILED;
}

static uint32_t net_room(const sim_socket *socket)
{
    const uint64_t window = SIM->config.window_bytes;
    return socket->unread >= window ? 0 : (uint32_t)(window - socket->unread);
}

bool hpxi_sim_may_write(const sim_socket *socket)
{
    return net_room(socket) != 0 || socket->error != 0 || socket->shut_write ||
           socket->state != SIM_CONNECTED;
}

static int net_take_error(sim_socket *socket)
{
    SIM->changes++;
    const int error = socket->error;
    socket->error = 0;
    return error;
}

int hpxi_sim_read(sim_socket *socket, void *data, uint32_t size)
{
    if (!hpxi_sim_may_read(socket)) {
        return socket->state == SIM_CONNECTED ? -EAGAIN : -ENOTCONN;
    }
    if (socket->in_size == 0) {
        socket->end_ns = socket->end_ns == 0 ? SIM->now_ns : socket->end_ns;
        return net_take_error(socket); /* 0: the end */
    }
    uint32_t take = socket->in_size < size ? (uint32_t)socket->in_size : size;
    if (hpxi_sim_fault_happens(HPXI_SIM_SHORT_RECV)) {
        take = (uint32_t)hpxi_sim_between(&SIM->random, 1, take);
    }
    SIM->changes++; /* the peer may have room again */
    memcpy(data, socket->in, take);
    socket->in_size -= take;
    memmove(socket->in, socket->in + take, socket->in_size);
    sim_socket *peer = hpxi_sim_deref(socket->peer);
    if (peer != NULL) {
        HPX_ASSERT(peer->unread >= take);
        peer->unread -= take;
    }
    return (int)take;
}

int hpxi_sim_write(sim_socket *socket, const void *data, uint32_t size)
{
    if (socket->error != 0) {
        return net_take_error(socket);
    }
    if (socket->state != SIM_CONNECTED || socket->shut_write) {
        return -EPIPE;
    }
    const uint32_t room = net_room(socket);
    if (room == 0) {
        return -EAGAIN;
    }
    uint32_t take = size < room ? size : room;
    if (hpxi_sim_fault_happens(HPXI_SIM_SHORT_SEND)) {
        take = (uint32_t)hpxi_sim_between(&SIM->random, 1, take);
    }
    socket->unread += take;
    for (uint32_t done = 0; done != take;) {
        const uint32_t left = take - done;
        const uint32_t most = left < SIM->config.segment_bytes ? left : SIM->config.segment_bytes;
        const uint32_t part = (uint32_t)hpxi_sim_between(&SIM->random, (most + 1) / 2, most);
        net_send_segment(socket, (const uint8_t *)data + done, part);
        done += part;
    }
    return (int)take;
}

/* ---- net.h ----------------------------------------------------------------------------------- */

int hpxi_net_tcp_socket(int family, uint32_t busy_poll_us)
{
    (void)busy_poll_us;
    HPX_ASSERT(family == AF_INET || family == AF_INET6);
    return hpxi_sim_fault_happens(HPXI_SIM_NO_SOCKET) ? -EMFILE : hpxi_sim_open(SIM_STREAM);
}

int hpxi_net_tcp_tune(int fd, uint32_t busy_poll_us)
{
    (void)busy_poll_us;
    HPX_ASSERT(hpxi_sim_socket(fd)->kind == SIM_STREAM);
    return 0;
}

int hpxi_net_tcp_hint(int fd, bool quickack, int cpu)
{
    (void)quickack;
    (void)cpu;
    HPX_ASSERT(hpxi_sim_socket(fd)->kind == SIM_STREAM);
    return 0;
}

int hpxi_net_tcp_listen(const hpxi_address *address, uint32_t backlog, bool reuse_port)
{
    (void)backlog;
    (void)reuse_port;
    hpxi_address local = *address;
    if (hpxi_address_port(&local) == 0) {
        hpxi_address_set_port(&local, (uint16_t)SIM->next_port++);
    } else if (net_find_listener(&local) != NULL) {
        return -EADDRINUSE;
    }
    const int fd = hpxi_sim_open(SIM_LISTENER);
    if (fd >= 0) {
        hpxi_sim_socket(fd)->local = local;
    }
    return fd;
}

ptrdiff_t hpxi_net_recv(int fd, void *data, size_t size)
{
    sim_socket *socket = hpxi_sim_socket(fd);
    const int result = hpxi_sim_read(socket, data, (uint32_t)size);
    if (result != -EAGAIN) {
        hpxi_sim_log((uint64_t)(int64_t)result, "recv fd %d: %d", fd, result);
    }
    return result;
}

int hpxi_net_peek(int fd)
{
    const sim_socket *socket = hpxi_sim_socket(fd);
    if (!hpxi_sim_may_read(socket)) {
        return socket->state == SIM_CONNECTED ? -EAGAIN : -ENOTCONN;
    }
    return socket->in_size != 0 ? 1 : socket->error;
}

ptrdiff_t hpxi_net_send(int fd, const void *data, size_t size)
{
    HPX_ASSERT(size != 0);
    sim_socket *socket = hpxi_sim_socket(fd);
    int result = -EAGAIN;
    if (!hpxi_sim_fault_happens(HPXI_SIM_SEND_AGAIN)) {
        result = hpxi_sim_write(socket, data, size < INT32_MAX ? (uint32_t)size : INT32_MAX);
    }
    hpxi_sim_log((uint64_t)(int64_t)result, "send fd %d %zu: %d", fd, size, result);
    return result;
}

int hpxi_net_shutdown(int fd, int how)
{
    sim_socket *socket = hpxi_sim_socket(fd);
    hpxi_sim_log((uint64_t)how, "shutdown fd %d %d", fd, how);
    if (socket->state != SIM_CONNECTED) {
        return -ENOTCONN;
    }
    SIM->changes++;
    socket->shut_read = socket->shut_read || how != SHUT_WR;
    if (how != SHUT_RD && !socket->shut_write) {
        socket->shut_write = true;
        net_send_event(socket, SIM_EVENT_FIN);
    }
    return 0;
}

static void net_close_stream(sim_socket *socket)
{
    if (socket->state == SIM_CONNECTED) {
        if (socket->linger_zero || socket->in_size != 0) {
            net_send_event(socket, SIM_EVENT_RESET);
        } else if (!socket->shut_write) {
            net_send_event(socket, SIM_EVENT_FIN);
        }
    }
    net_free(socket);
}

int hpxi_net_close(int fd)
{
    sim_socket *socket = hpxi_sim_socket(fd);
    hpxi_sim_log((uint64_t)fd, "close fd %d", fd);
    HPX_ASSERT(!hpxi_sim_ring_uses(fd)); /* a kernel would send no FIN now */
    if (socket->kind == SIM_LISTENER) {
        while (socket->queue_count != 0) {
            sim_socket *waiting = hpxi_sim_socket(hpxi_sim_accept(socket));
            waiting->linger_zero = true;
            net_close_stream(waiting);
        }
        net_free(socket);
    } else {
        HPX_ASSERT(socket->kind == SIM_STREAM);
        net_close_stream(socket);
    }
    return 0;
}

int hpxi_net_linger_zero(int fd)
{
    hpxi_sim_socket(fd)->linger_zero = true;
    return 0;
}

int hpxi_net_local(int fd, hpxi_address *out)
{
    *out = hpxi_sim_socket(fd)->local;
    return 0;
}

int hpxi_net_peer(int fd, hpxi_address *out)
{
    const sim_socket *socket = hpxi_sim_socket(fd);
    *out = socket->state == SIM_CONNECTED ? socket->remote : (hpxi_address){0};
    return socket->state == SIM_CONNECTED ? 0 : -ENOTCONN;
}

int hpxi_net_error(int fd)
{
    return net_take_error(hpxi_sim_socket(fd));
}

int hpxi_net_socket(int family, int type, int protocol)
{
    (void)family;
    (void)type;
    (void)protocol;
    return SIM_DATAGRAMS;
}

int hpxi_net_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    (void)fd;
    (void)address;
    (void)size;
    return -ENETUNREACH;
}

ptrdiff_t hpxi_net_recvfrom(
    int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *from_size)
{
    (void)fd;
    (void)data;
    (void)size;
    (void)flags;
    (void)from;
    (void)from_size;
    return -ENOTCONN;
}

ptrdiff_t hpxi_net_sendv(int fd, const struct iovec *parts, int count)
{
    (void)fd;
    (void)parts;
    (void)count;
    return -ENOTCONN;
}

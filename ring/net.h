/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.h - the socket calls of the library, and addresses. Nothing outside ring/ makes a system
 * call on a socket; the simulated backend replaces this file's implementation at link time.
 *
 * Threads   Any; no state.
 * Errors    Results are >= 0, or -errno. No function changes or needs errno.
 */
#ifndef HPXI_NET_H
#define HPXI_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <hpx/base.h>

typedef struct hpxi_address {
    socklen_t size; /* of the member in use; 0 = none */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u;
} hpxi_address;

#define HPXI_ADDRESS_TEXT_BYTES 64 /* "[v6]:port" with room for a scope */

/* Numeric address without brackets ("127.0.0.1", "::1", "fe80::1%eth0" refused) and a port. */
bool hpxi_address_parse(hpxi_address *out, const char *host, uint16_t port);

/* "ADDR:PORT" or "[ADDR]:PORT", numeric. */
bool hpxi_address_parse_endpoint(hpxi_address *out, const char *endpoint);

/* "127.0.0.1:80", "[::1]:80". `text` has HPXI_ADDRESS_TEXT_BYTES. */
void hpxi_address_format(const hpxi_address *address, char *text);

uint16_t hpxi_address_port(const hpxi_address *address);
void hpxi_address_set_port(hpxi_address *address, uint16_t port);

/* TCP socket: close-on-exec, non-blocking, TCP_NODELAY. busy_poll_us 0 = off. Returns fd. */
int hpxi_net_tcp_socket(int family, uint32_t busy_poll_us);

/* Options every accepted or connected TCP socket needs (TCP_NODELAY, SO_BUSY_POLL). */
int hpxi_net_tcp_tune(int fd, uint32_t busy_poll_us);

/* Hints for a connected socket: TCP_QUICKACK, and SO_INCOMING_CPU unless cpu < 0. */
int hpxi_net_tcp_hint(int fd, bool quickack, int cpu);

/* Bound, listening TCP socket. Returns fd. */
int hpxi_net_tcp_listen(const hpxi_address *address, uint32_t backlog, bool reuse_port);

/* recv(MSG_DONTWAIT): > 0 bytes, 0 end of stream, -EAGAIN nothing there, else -errno. */
ptrdiff_t hpxi_net_recv(int fd, void *data, size_t size);

/* Is there something to receive? 1 bytes, 0 end of stream, -EAGAIN nothing, else -errno. Takes
 * nothing. */
int hpxi_net_peek(int fd);

/* send(MSG_DONTWAIT | MSG_NOSIGNAL): >= 0 bytes taken, -EAGAIN full, else -errno. */
ptrdiff_t hpxi_net_send(int fd, const void *data, size_t size);

int hpxi_net_shutdown(int fd, int how);
int hpxi_net_close(int fd);
int hpxi_net_linger_zero(int fd); /* the next close sends RST */
int hpxi_net_local(int fd, hpxi_address *out);
int hpxi_net_peer(int fd, hpxi_address *out);

/* Pending error of a socket (SO_ERROR) as 0 or -errno. */
int hpxi_net_error(int fd);

/* For the resolver (c-ares brings its own protocol): plain non-blocking sockets. */
int hpxi_net_socket(int family, int type, int protocol);
int hpxi_net_connect(int fd, const struct sockaddr *address, socklen_t size);
ptrdiff_t hpxi_net_recvfrom(
    int fd, void *data, size_t size, int flags, struct sockaddr *from, socklen_t *from_size);
ptrdiff_t hpxi_net_sendv(int fd, const struct iovec *parts, int count);

/* Fill with bytes from the kernel's CSPRNG. Aborts if the kernel has none (it does since 3.17). */
void hpxi_os_random(void *data, size_t size);

#endif /* HPXI_NET_H */

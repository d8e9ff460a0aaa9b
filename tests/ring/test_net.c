/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: addresses are read strictly and written canonically; the socket calls answer -errno.
 * Method: tables; loopback sockets.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ring/net.h"
#include "tests/ring/ring_bed.h"
#include "tests/support/test.h"

static const struct {
    const char *host;
    uint16_t port;
    const char *text; /* NULL: refused */
} hosts[] = {
    {"127.0.0.1", 80, "127.0.0.1:80"},
    {"0.0.0.0", 0, "0.0.0.0:0"},
    {"255.255.255.255", 65535, "255.255.255.255:65535"},
    {"::1", 443, "[::1]:443"},
    {"::", 1, "[::]:1"},
    {"2001:DB8:0:0:0:0:0:1", 8080, "[2001:db8::1]:8080"},
    {"::ffff:1.2.3.4", 5, "[::ffff:1.2.3.4]:5"},
    {"", 80, NULL},
    {"localhost", 80, NULL},
    {"127.1", 80, NULL},
    {"127.0.0.01", 80, NULL},
    {"0x7f.0.0.1", 80, NULL},
    {"256.0.0.1", 80, NULL},
    {"1.2.3.4.5", 80, NULL},
    {"[::1]", 80, NULL},
    {"fe80::1%lo", 80, NULL},
    {":::1", 80, NULL},
    {"1.2.3.4 ", 80, NULL},
    {"aaaa:bbbb:cccc:dddd:eeee:ffff:1111:2222:3333:4444:5555:6666", 80, NULL},
};

static void test_address_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(hosts); i++) {
        hpxi_address address;
        char text[HPXI_ADDRESS_TEXT_BYTES];
        const bool ok = hpxi_address_parse(&address, hosts[i].host, hosts[i].port);
        if (ok != (hosts[i].text != NULL)) {
            fail_msg("\"%s\" was %s", hosts[i].host, ok ? "taken" : "refused");
        }
        hpxi_address_format(&address, text);
        assert_string_equal(text, ok ? hosts[i].text : "");
        assert_int_equal(hpxi_address_port(&address), ok ? hosts[i].port : 0);
    }
}

static const struct {
    const char *endpoint;
    const char *text; /* NULL: refused */
} endpoints[] = {
    {"127.0.0.1:80", "127.0.0.1:80"},
    {"127.0.0.1:0", "127.0.0.1:0"},
    {"[::1]:65535", "[::1]:65535"},
    {"[::1]:00080", "[::1]:80"},
    {"", NULL},
    {":", NULL},
    {":80", NULL},
    {"[]:80", NULL},
    {"127.0.0.1", NULL},
    {"127.0.0.1:", NULL},
    {"127.0.0.1:65536", NULL},
    {"127.0.0.1:000080", NULL},
    {"127.0.0.1:+80", NULL},
    {"127.0.0.1:80 ", NULL},
    {"127.0.0.1:80:80", NULL},
    {"127.0.0.1:-1", NULL},
    {"::1:80", NULL},
    {"[::1]", NULL},
    {"[::1]80", NULL},
    {"[::1:80", NULL},
    {"[127.0.0.1]:80", NULL},
    {"[[::1]]:80", NULL},
    {"[aaaa:bbbb:cccc:dddd:eeee:ffff:1111:2222:3333:4444:5555:6666]:80", NULL},
};

static void test_address_parse_endpoint(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(endpoints); i++) {
        hpxi_address address;
        char text[HPXI_ADDRESS_TEXT_BYTES];
        const bool ok = hpxi_address_parse_endpoint(&address, endpoints[i].endpoint);
        if (ok != (endpoints[i].text != NULL)) {
            fail_msg("\"%s\" was %s", endpoints[i].endpoint, ok ? "taken" : "refused");
        }
        hpxi_address_format(&address, text);
        assert_string_equal(text, ok ? endpoints[i].text : "");
        assert_int_equal(address.size == 0, !ok);
    }
}

static void test_address_set_port(void **state)
{
    (void)state;
    hpxi_address address;
    char text[HPXI_ADDRESS_TEXT_BYTES];
    assert_true(hpxi_address_parse(&address, "::1", 1));
    hpxi_address_set_port(&address, 9);
    hpxi_address_format(&address, text);
    assert_string_equal(text, "[::1]:9");
    assert_true(hpxi_address_parse(&address, "1.2.3.4", 1));
    hpxi_address_set_port(&address, 65535);
    assert_int_equal(hpxi_address_port(&address), 65535);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

static void test_tcp_socket_when_made_then_options_are_set(void **state)
{
    (void)state;
    const int fd = hpxi_net_tcp_socket(AF_INET, 0);
    assert_true(fd >= 0);
    assert_true(option(fd, IPPROTO_TCP, TCP_NODELAY) != 0);
    assert_int_equal(option(fd, SOL_SOCKET, SO_BUSY_POLL), 0);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    /* More than the system's default needs CAP_NET_ADMIN: set, or an error, never ignored. */
    const int result = hpxi_net_tcp_tune(fd, 50);
    assert_true(result == 0 || result == -EPERM);
    assert_int_equal(option(fd, SOL_SOCKET, SO_BUSY_POLL), result == 0 ? 50 : 0);
    assert_int_equal(hpxi_net_close(fd), 0);
    assert_int_equal(hpxi_net_close(fd), -EBADF);
    assert_int_equal(hpxi_net_tcp_socket(AF_UNSPEC, 0), -EAFNOSUPPORT);
}

static void test_stream_when_used_then_bytes_and_errors_come(void **state)
{
    (void)state;
    int ends[2];
    bed_pair(ends);
    char data[16];
    assert_int_equal(hpxi_net_recv(ends[0], data, sizeof(data)), -EAGAIN);
    assert_int_equal(hpxi_net_send(ends[1], "abc", 3), 3);
    struct iovec parts[2] = {{.iov_base = "de", .iov_len = 2}, {.iov_base = "f", .iov_len = 1}};
    assert_int_equal(hpxi_net_sendv(ends[1], parts, 2), 3);
    assert_int_equal(hpxi_net_recv(ends[0], data, sizeof(data)), 6);
    assert_memory_equal(data, "abcdef", 6);

    hpxi_address here, there;
    assert_int_equal(hpxi_net_local(ends[0], &here), 0);
    assert_int_equal(hpxi_net_peer(ends[1], &there), 0);
    assert_int_equal(hpxi_address_port(&here), hpxi_address_port(&there));
    assert_int_equal(hpxi_net_error(ends[0]), 0);

    assert_int_equal(hpxi_net_shutdown(ends[1], SHUT_WR), 0);
    assert_int_equal(hpxi_net_recv(ends[0], data, sizeof(data)), 0);
    assert_int_equal(hpxi_net_linger_zero(ends[1]), 0);
    assert_int_equal(hpxi_net_close(ends[1]), 0);
    ptrdiff_t sent = 0; /* no SIGPIPE */
    for (int i = 0; i < 2; i++) {
        sent = hpxi_net_send(ends[0], "x", 1);
    }
    assert_int_equal(sent, -EPIPE);
    assert_int_equal(hpxi_net_close(ends[0]), 0);
    assert_int_equal(hpxi_net_local(ends[0], &here), -EBADF);
    assert_int_equal(here.size, 0);
}

static void test_send_when_full_then_eagain(void **state)
{
    (void)state;
    int ends[2];
    bed_pair(ends);
    static uint8_t block[1 << 16];
    ptrdiff_t sent;
    do {
        sent = hpxi_net_send(ends[0], block, sizeof(block));
    } while (sent > 0);
    assert_int_equal(sent, -EAGAIN);
    close(ends[0]);
    close(ends[1]);
}

static void test_listen_when_port_is_taken_then_error(void **state)
{
    (void)state;
    hpxi_address address;
    assert_true(hpxi_address_parse(&address, "127.0.0.1", 0));
    const int fd = hpxi_net_tcp_listen(&address, 4, true);
    assert_true(fd >= 0);
    assert_int_equal(hpxi_net_local(fd, &address), 0);
    assert_int_equal(hpxi_net_tcp_listen(&address, 4, false), -EADDRINUSE);
    const int shared = hpxi_net_tcp_listen(&address, 4, true);
    assert_true(shared >= 0);
    close(shared);
    close(fd);
    assert_true(hpxi_address_parse(&address, "192.0.2.1", 1));
    assert_int_equal(hpxi_net_tcp_listen(&address, 4, false), -EADDRNOTAVAIL);
}

static void test_datagram_for_the_resolver(void **state)
{
    (void)state;
    hpxi_address address;
    const int server = hpxi_net_socket(AF_INET, SOCK_DGRAM, 0);
    const int client = hpxi_net_socket(AF_INET, SOCK_DGRAM, 0);
    assert_true(server >= 0 && client >= 0);
    assert_true(hpxi_address_parse(&address, "127.0.0.1", 0));
    assert_int_equal(bind(server, &address.u.any, address.size), 0);
    assert_int_equal(hpxi_net_local(server, &address), 0);
    assert_int_equal(hpxi_net_connect(client, &address.u.any, address.size), 0);
    struct iovec part = {.iov_base = "q", .iov_len = 1};
    char data[4];
    hpxi_address from = {.size = sizeof(from.u)};
    assert_int_equal(
        hpxi_net_recvfrom(server, data, sizeof(data), 0, &from.u.any, &from.size), -EAGAIN);
    assert_int_equal(hpxi_net_sendv(client, &part, 1), 1);
    assert_int_equal(hpxi_net_recvfrom(server, data, sizeof(data), 0, &from.u.any, &from.size), 1);
    assert_int_equal(from.u.any.sa_family, AF_INET);
    close(server);
    close(client);
}

static void test_random_when_asked_twice_then_differs(void **state)
{
    (void)state;
    uint8_t a[300] = {0}, b[300] = {0}; /* more than one uninterruptible getrandom() */
    hpxi_os_random(a, sizeof(a));
    hpxi_os_random(b, sizeof(b));
    assert_memory_not_equal(a, b, sizeof(a));
    static const uint8_t zeroes[8];
    assert_memory_not_equal(a + sizeof(a) - 8, zeroes, 8);
    hpxi_os_random(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_parse),
        cmocka_unit_test(test_address_parse_endpoint),
        cmocka_unit_test(test_address_set_port),
        cmocka_unit_test(test_tcp_socket_when_made_then_options_are_set),
        cmocka_unit_test(test_stream_when_used_then_bytes_and_errors_come),
        cmocka_unit_test(test_send_when_full_then_eagain),
        cmocka_unit_test(test_listen_when_port_is_taken_then_error),
        cmocka_unit_test(test_datagram_for_the_resolver),
        cmocka_unit_test(test_random_when_asked_twice_then_differs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

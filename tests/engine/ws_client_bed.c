/* SPDX-License-Identifier: Apache-2.0 */
/* ws_client_bed.c - up, down, and waits. */
#include "ws_client_bed.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "tests/support/descriptors.h"
#include "tests/support/test.h"

void ws_client_bed_open(ws_client_bed *r)
{
    memset(r, 0, sizeof(*r));
    venue_thread_open(&r->venue);
    r->protocol = toy_protocol(&r->dialect);
    r->ws = session_bed_config(&r->venue.bed, &r->protocol);
    r->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    r->config = (hpx_ws_client_config)HPX_WS_CLIENT_CONFIG_INIT;
    r->config.allocator = fa_allocator(&r->memory);
}

void ws_client_bed_connect(ws_client_bed *r)
{
    hpx_error error;
    if (hpx_ws_client_connect_wait(&r->client, &r->ws, &r->config, CLIENT_LONG_NS, &error) !=
        HPX_OK) {
        fail_msg("%s", error.detail);
    }
}

void ws_client_bed_close(ws_client_bed *r)
{
    hpx_ws_client_free(r->client);
    assert_int_equal(r->memory.live, 0);
    venue_thread_close(&r->venue);
}

void ws_client_bed_nap(uint64_t ns)
{
    const struct timespec time = {.tv_nsec = (long)ns};
    (void)nanosleep(&time, NULL);
}

void ws_client_bed_until_state(const hpx_ws_client *client, hpx_conn_state state)
{
    const uint64_t until = hpx_clock_now_ns() + CLIENT_LONG_NS;
    while (hpx_ws_client_get_state(client) != state) {
        if (hpx_clock_now_ns() > until) {
            fail_msg("never %s", hpx_conn_state_name(state));
        }
        ws_client_bed_nap(HPX_NS_PER_MS / 10);
    }
}

bool span_ends_with(hpx_span span, const char *tail)
{
    const size_t size = strlen(tail);
    return span.size >= size && memcmp(span.data + span.size - size, tail, size) == 0;
}

void ws_client_bed_until_descriptors(uint32_t count)
{
    const uint64_t until = hpx_clock_now_ns() + CLIENT_LONG_NS;
    while (test_descriptors() != count && hpx_clock_now_ns() < until) {
        ws_client_bed_nap(HPX_NS_PER_MS / 10);
    }
    assert_int_equal(test_descriptors(), count);
}

int ws_client_bed_closed_port(uint16_t *port)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

hpx_update
ws_client_bed_expect(ws_client_bed *r, hpx_update_kind kind, hpx_subscription **subscription)
{
    hpx_update update = {0};
    assert_int_equal(
        hpx_ws_client_update_wait(r->client, &update, subscription, CLIENT_LONG_NS), 1);
    assert_int_equal(update.kind, kind);
    return update;
}

void ws_client_bed_say(ws_client_bed *r, const char *text)
{
    venue_thread_say(&r->venue, text);
}

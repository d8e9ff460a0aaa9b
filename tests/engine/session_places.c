/* SPDX-License-Identifier: Apache-2.0 */
#include "session_places.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/test.h"

const hpx_conn_state places[PLACES] = {
    HPX_CONN_RESOLVING,
    HPX_CONN_CONNECTING,
    HPX_CONN_UPGRADING,
    HPX_CONN_AUTHENTICATING,
    HPX_CONN_RESUBSCRIBING,
    HPX_CONN_READY,
    HPX_CONN_BACKING_OFF,
    HPX_CONN_CLOSING,
};

/* ---- Sockets that hold a connection up ------------------------------------------------------- */

static int place_socket(place *p, int type)
{
    const int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_true(p->socket_count < PLACE_SOCKETS_MAX);
    p->sockets[p->socket_count++] = fd;
    return fd;
}

static struct sockaddr_in place_bind(int fd)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return address;
}

/* A name server that reads nothing. */
static void place_dumb_dns(place *p)
{
    const struct sockaddr_in address = place_bind(place_socket(p, SOCK_DGRAM));
    (void)snprintf(p->dns, sizeof(p->dns), "127.0.0.1:%u", ntohs(address.sin_port));
    (void)snprintf(p->url, sizeof(p->url), "ws://venue.test:80/");
}

/* A listener that accepts nothing; with `full`, nobody more can even connect: the kernel drops the
 * SYNs that do not fit its queue. */
static void place_dumb_listener(place *p, bool full)
{
    const int listener = place_socket(p, SOCK_STREAM);
    const struct sockaddr_in address = place_bind(listener);
    assert_int_equal(listen(listener, full ? 0 : 16), 0);
    for (unsigned i = 0; full && i < 4; i++) {
        const int fd = place_socket(p, SOCK_STREAM);
        (void)connect(fd, (const struct sockaddr *)&address, sizeof(address));
    }
    (void)snprintf(p->url, sizeof(p->url), "ws://127.0.0.1:%u/", ntohs(address.sin_port));
}

/* ---- The place ------------------------------------------------------------------------------- */

void place_open(place *p, hpx_conn_state state)
{
    memset(p, 0, sizeof(*p));
    p->state = state;
    p->memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.allocator = fa_allocator(&p->memory);
    if (state == HPX_CONN_RESOLVING) {
        place_dumb_dns(p);
        config.dns_servers = p->dns;
    } else if (state == HPX_CONN_CONNECTING || state == HPX_CONN_UPGRADING) {
        place_dumb_listener(p, state == HPX_CONN_CONNECTING);
    }
    session_bed_open_with(&p->bed, &config);
    if (p->url[0] == '\0') {
        (void)snprintf(p->url, sizeof(p->url), "%s", p->bed.url);
    }
    p->dialect.secret = "s";
    p->protocol = toy_protocol(&p->dialect);
    p->bed.venue.stall_auth = state == HPX_CONN_AUTHENTICATING;
    p->bed.venue.stall_subscribe = state == HPX_CONN_RESUBSCRIBING;
}

void place_close(place *p)
{
    session_bed_close(&p->bed);
    for (uint32_t i = 0; i < p->socket_count; i++) {
        (void)close(p->sockets[i]);
    }
    assert_int_equal(p->memory.live, 0);
}

hpx_ws_config place_config(place *p)
{
    hpx_ws_config config = session_bed_config(&p->bed, &p->protocol);
    config.url = p->url;
    config.backoff_initial_ns = 3600 * HPX_NS_PER_S; /* once down it stays down */
    config.backoff_max_ns = 3600 * HPX_NS_PER_S;
    return config;
}

void place_reach(
    place *p,
    const hpx_ws_config *config,
    hpx_handle **handle,
    hpx_stream **stream,
    hpx_subscription **subscription)
{
    hpx_error error;
    hpx_stream *events = NULL;
    if (hpx_ws_connect(p->bed.port, config, handle, stream != NULL ? stream : &events, &error) !=
        HPX_OK) {
        fail_msg("%s", error.detail);
    }
    hpx_stream_release(events);
    if (subscription != NULL) {
        assert_int_equal(hpx_handle_subscribe(*handle, "t", NULL, subscription, &error), HPX_OK);
    }
    if (p->state == HPX_CONN_BACKING_OFF || p->state == HPX_CONN_CLOSING) {
        session_bed_until_state(&p->bed, *handle, HPX_CONN_READY);
        if (p->state == HPX_CONN_BACKING_OFF) {
            venue_drop(&p->bed.venue);
        } else {
            assert_int_equal(hpx_handle_reconnect(*handle, hpx_span_of("away")), HPX_OK);
        }
    }
    session_bed_until_state(&p->bed, *handle, p->state);
}

uint64_t place_until_gone(place *p)
{
    const uint64_t start = hpx_clock_now_ns();
    hpx_shard_stats stats;
    do {
        (void)hpx_shard_poll(p->bed.shard);
        hpx_shard_get_stats(p->bed.shard, &stats);
        if (hpx_clock_now_ns() - start > 30 * HPX_NS_PER_S) {
            fail_msg("held in %s, and not gone", hpx_conn_state_name(p->state));
        }
    } while (stats.connections != 0);
    return hpx_clock_now_ns() - start;
}

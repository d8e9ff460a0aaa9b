/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a name with several addresses connects if one of them lives (RFC 8305): at once when the
 * others refuse, after the stagger when they are silent; and fails precisely when none lives.
 * Method: overrides of the resolver with ::1 and 127.0.0.1; ports that refuse, ports that answer
 * nothing (full accept queues), and the service of service.h on 127.0.0.1 only.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/e2e/client.h"
#include "tests/e2e/echo_script.h"
#include "tests/e2e/script_server.h"
#include "tests/e2e/service.h"
#include "tests/e2e/ws_peer.h"
#include "tests/support/test.h"

#define STAGGER_NS (250 * HPX_NS_PER_MS) /* RFC 8305 section 8 */
#define PROMPT_NS  (3 * HPX_NS_PER_S)

static char folder[PEER_PATH_BYTES];
static hpx_tls_context *trusting;
static e2e_service live;
static uint32_t visit;

static hpx_ws_config eyes_config(uint16_t port, bool tls, const char *const *resolve, char url[64])
{
    (void)snprintf(url, 64, "%s://localhost:%u/echo", tls ? "wss" : "ws", port);
    hpx_ws_config config = HPX_WS_CONFIG_INIT;
    config.url = url;
    config.tls = trusting;
    config.resolve = resolve;
    config.resolve_count = 1;
    return config;
}

/* Connects through `addresses`; returns how long TCP took. */
static uint64_t eyes_connect(const char *addresses, client_form form, bool tls)
{
    char url[64];
    char resolve[128];
    const char *resolves[] = {resolve};
    const uint16_t port = tls ? live.tls_port : live.port;
    (void)snprintf(resolve, sizeof(resolve), "localhost:%u:%s", port, addresses);
    e2e_bed bed;
    e2e_client client;
    hpx_conn_info info;
    const hpx_ws_config config = eyes_config(port, tls, resolves, url);
    bed_open(&bed, form, NULL);
    client_connect(&client, &bed, &config, &info);
    assert_int_equal(strncmp(info.peer_address, "127.0.0.1:", 10), 0);
    assert_int_equal(info.tls_verified, tls);
    echo_sizes(&client, 127);
    client_finish(&client);
    (void)service_told(&live, visit++, SERVICE_CLOSED); /* its descriptors are ours, too */
    bed_close(&bed);
    return info.connect_ns;
}

/* Nothing listens on [::1] at the service's port: the next address is tried at once. */
static void test_race_when_the_first_address_refuses_then_the_second_is_used(void **state)
{
    (void)state;
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        assert_in_range(eyes_connect("[::1],127.0.0.1", form, form == 0), 1, PROMPT_NS);
        assert_in_range(eyes_connect("::1,127.0.0.1", form, form != 0), 1, PROMPT_NS);
    }
}

static void
test_race_when_the_first_address_is_silent_then_the_second_starts_after_250_ms(void **state)
{
    (void)state;
    script_hole holes[2];
    if (!script_hole_open(&holes[0], AF_INET6, live.port)) {
        skip(); /* no IPv6 on this machine's loopback */
    }
    assert_true(script_hole_open(&holes[1], AF_INET6, live.tls_port));
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        const uint64_t took_ns = eyes_connect("[::1],127.0.0.1", form, form == 1);
        assert_in_range(took_ns, STAGGER_NS - STAGGER_NS / 50, STAGGER_NS + PROMPT_NS);
    }
    script_hole_close(&holes[0]);
    script_hole_close(&holes[1]);
}

/* The live one is first: the silent one is never waited for. */
static void test_race_when_the_first_address_lives_then_it_wins(void **state)
{
    (void)state;
    assert_in_range(eyes_connect("127.0.0.1,::1", CLIENT_STREAM, false), 1, PROMPT_NS);
}

/* All addresses refuse: the errno of TCP, long before the deadline. */
static void test_race_when_all_addresses_refuse_then_it_fails_at_once(void **state)
{
    (void)state;
    uint16_t port;
    char url[64];
    char resolve[128];
    const char *resolves[] = {resolve};
    const int held = peer_bind(false, &port);
    (void)snprintf(resolve, sizeof(resolve), "localhost:%u:127.0.0.1,[::1],127.0.0.1", port);
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        e2e_bed bed;
        e2e_client client;
        hpx_error error;
        const hpx_ws_config config = eyes_config(port, false, resolves, url);
        bed_open(&bed, form, NULL);
        const uint64_t began_ns = hpx_clock_now_ns();
        client_open(&client, &bed, &config);
        client_expect_end(&client, &error);
        assert_true(hpx_clock_now_ns() - began_ns < PROMPT_NS);
        bed_close(&bed);
        assert_string_equal(hpx_status_name(error.status), "ECONNREFUSED");
        assert_int_equal(error.stage, HPX_STAGE_CONNECT);
        assert_int_equal(error.os_errno, ECONNREFUSED);
    }
    (void)close(held);
}

/* Two silent addresses: connect_timeout_ns is for all of them together. */
static void test_race_when_all_addresses_are_silent_then_one_deadline_ends_it(void **state)
{
    (void)state;
    char url[64];
    char resolve[128];
    const char *resolves[] = {resolve};
    script_hole hole;
    const uint64_t timeout_ns = 600 * HPX_NS_PER_MS;
    assert_true(script_hole_open(&hole, AF_INET, 0));
    (void)snprintf(
        resolve, sizeof(resolve), "localhost:%u:127.0.0.1,127.0.0.1,127.0.0.1", hole.port);
    for (client_form form = 0; form < CLIENT_FORMS; form++) {
        e2e_bed bed;
        e2e_client client;
        hpx_error error;
        hpx_ws_config config = eyes_config(hole.port, false, resolves, url);
        config.connect_timeout_ns = timeout_ns;
        bed_open(&bed, form, NULL);
        const uint64_t began_ns = hpx_clock_now_ns();
        client_open(&client, &bed, &config);
        client_expect_end(&client, &error);
        const uint64_t took_ns = hpx_clock_now_ns() - began_ns;
        bed_close(&bed);
        assert_string_equal(hpx_status_name(error.status), "HPX_E_CONNECT_TIMEOUT");
        assert_in_range(took_ns, timeout_ns - timeout_ns / 50, timeout_ns + PROMPT_NS);
    }
    script_hole_close(&hole);
}

static int start(void **state)
{
    (void)state;
    ws_certs(folder, (const char *const[]){"good", NULL});
    trusting = ws_trust(folder);
    service_start(&live, folder, HPX_RECEIVE_MULTISHOT);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    service_stop(&live);
    hpx_tls_context_release(trusting);
    peer_folder_remove(folder);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_race_when_the_first_address_refuses_then_the_second_is_used),
        cmocka_unit_test(
            test_race_when_the_first_address_is_silent_then_the_second_starts_after_250_ms),
        cmocka_unit_test(test_race_when_the_first_address_lives_then_it_wins),
        cmocka_unit_test(test_race_when_all_addresses_refuse_then_it_fails_at_once),
        cmocka_unit_test(test_race_when_all_addresses_are_silent_then_one_deadline_ends_it),
    };
    return cmocka_run_group_tests_name("e2e/happy_eyeballs", tests, start, stop);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what c-ares' sockets meet rarely: polls that end by themselves or with an error, sockets
 * closed before their poll was submitted, more sockets than the table has entries.
 * Method: c-ares' calls are made by the test through a channel of its own; the completions that
 * the kernel hardly ever makes are made up, the others come from a real ring.
 */
#include <errno.h>
#include <poll.h>

#include "engine/dns_sockets.h"
#include "tests/engine/resolver_bed.h"
#include "tests/support/test.h"

typedef struct fixture {
    resolver_bed bed; /* for its ring and its name server */
    hpxi_dns_sockets sockets;
    ares_channel channel;
    int answers;
    int status;
} fixture;

static void on_answer(void *user, int status, int timeouts, struct ares_addrinfo *answer)
{
    fixture *f = user;
    (void)timeouts;
    f->answers++;
    f->status = status;
    ares_freeaddrinfo(answer);
}

static void fixture_open(fixture *f)
{
    resolver_bed_open(&f->bed, 0);
    hpxi_resolver_free(f->bed.resolver);
    f->bed.resolver = NULL;
    f->answers = 0;
    hpxi_dns_sockets_init(&f->sockets, f->bed.ring);
    struct ares_options options = {0};
    int mask = 0;
    hpxi_dns_sockets_options(&f->sockets, &options, &mask);
    assert_int_equal(ares_init_options(&f->channel, &options, mask), ARES_SUCCESS);
    hpxi_dns_sockets_attach(&f->sockets, f->channel);
    assert_int_equal(ares_set_servers_ports_csv(f->channel, f->bed.servers), ARES_SUCCESS);
}

static void fixture_ask(fixture *f, const char *host)
{
    const struct ares_addrinfo_hints hints = {.ai_family = AF_INET, .ai_flags = ARES_AI_NOSORT};
    ares_getaddrinfo(f->channel, host, NULL, &hints, on_answer, f);
}

/* Waits for completions, but at most a few milliseconds. Returns how many made a socket ready. */
static uint32_t fixture_reap(fixture *f)
{
    uint32_t ready = 0;
    assert_true(hpxi_ring_turn(f->bed.ring) >= 0);
    assert_true(hpxi_ring_wait(f->bed.ring, 2 * HPX_NS_PER_MS) >= 0);
    hpxi_completion completion;
    while (hpxi_ring_next(f->bed.ring, &completion)) {
        if (completion.op == HPXI_OP_POLL) {
            ready += hpxi_dns_sockets_completion(&f->sockets, &completion);
        }
    }
    return ready;
}

/* Until there are that many answers. */
static void fixture_run(fixture *f, int answers)
{
    for (int i = 0; i < 2000 && f->answers < answers; i++) {
        if (fixture_reap(f) != 0 || f->sockets.backlog) {
            hpxi_dns_sockets_pump(&f->sockets, f->channel);
        }
    }
    assert_int_equal(f->answers, answers);
}

static void fixture_close(fixture *f)
{
    ares_destroy(f->channel);
    for (int i = 0; i < 2000 && hpxi_dns_sockets_polls(&f->sockets) != 0; i++) {
        fixture_reap(f);
    }
    assert_int_equal(hpxi_dns_sockets_polls(&f->sockets), 0);
    resolver_bed_close(&f->bed);
}

static hpxi_dns_socket *only_socket(fixture *f)
{
    hpxi_dns_socket *found = NULL;
    for (uint32_t i = 0; i < HPXI_RESOLVER_POLLS_MAX; i++) {
        if (f->sockets.table[i].fd >= 0) {
            assert_null(found);
            found = &f->sockets.table[i];
        }
    }
    assert_non_null(found);
    return found;
}

static hpxi_completion make_completion(const fixture *f, const hpxi_dns_socket *entry, int result)
{
    return (hpxi_completion){
        .op = HPXI_OP_POLL,
        .generation = entry->generation,
        .index = (uint32_t)(entry - f->sockets.table),
        .result = result,
        .more = false,
    };
}

static void test_poll_when_it_ends_by_itself_then_armed_again(void **state)
{
    (void)state;
    static fixture f;
    fixture_open(&f);
    fixture_ask(&f, "slow.test");
    hpxi_dns_socket *entry = only_socket(&f);
    const uint32_t generation = entry->generation;
    /* Made up: the kernel's poll goes on, and what it says is then of an old generation. */
    const hpxi_completion ended = make_completion(&f, entry, POLLIN);
    assert_true(hpxi_dns_sockets_completion(&f.sockets, &ended));
    assert_true(entry->polled);
    assert_int_not_equal(entry->generation, generation);
    assert_false(hpxi_dns_sockets_completion(&f.sockets, &ended)); /* stale now */
    assert_true(entry->polled);
    hpxi_dns_sockets_pump(&f.sockets, f.channel); /* meets EAGAIN */
    assert_false(entry->readable);
    fixture_run(&f, 1);
    assert_int_equal(f.status, ARES_SUCCESS);
    hpxi_ring_cancel(
        f.bed.ring, hpxi_token_make(HPXI_OP_POLL, generation, (uint32_t)(entry - f.sockets.table)));
    fixture_close(&f);
}

static void test_poll_when_it_fails_then_armed_by_rearm_only(void **state)
{
    (void)state;
    static fixture f;
    fixture_open(&f);
    fixture_ask(&f, "slow.test");
    hpxi_dns_socket *entry = only_socket(&f);
    const uint32_t generation = entry->generation;
    const hpxi_completion failed = make_completion(&f, entry, -ENOMEM);
    assert_false(hpxi_dns_sockets_completion(&f.sockets, &failed));
    assert_false(entry->polled);
    hpxi_dns_sockets_rearm(&f.sockets);
    assert_true(entry->polled);
    fixture_run(&f, 1);
    assert_int_equal(f.status, ARES_SUCCESS);
    hpxi_ring_cancel(
        f.bed.ring, hpxi_token_make(HPXI_OP_POLL, generation, (uint32_t)(entry - f.sockets.table)));
    fixture_close(&f);
}

static void test_write_when_stream_is_pumped_before_datagrams_then_not_forgotten(void **state)
{
    (void)state;
    static fixture f;
    fixture_open(&f);
    /* Occupies the first entry until its poll is home, so that the stream gets that entry and the
     * datagrams, whose truncated answers give the stream something to write, the second. */
    fixture_ask(&f, "silent1.test");
    ares_cancel(f.channel);
    fixture_ask(&f, "silent2.test"); /* for its sake c-ares 1.18 keeps the connection open */
    while (hpxi_dns_sockets_polls(&f.sockets) != 1) {
        fixture_reap(&f);
    }
    assert_int_equal(f.sockets.table[0].fd, -1);
    assert_false(f.sockets.table[1].is_stream);
    f.answers = 0;
    fixture_ask(&f, "tc1.test");
    fixture_run(&f, 1);
    assert_int_equal(f.status, ARES_SUCCESS);
    fixture_ask(&f, "tc2.test");
    fixture_run(&f, 2);
    assert_int_equal(f.status, ARES_SUCCESS);
    fixture_close(&f);
}

static void test_close_when_poll_is_in_flight_then_entry_waits_for_its_completion(void **state)
{
    (void)state;
    static fixture f;
    fixture_open(&f);
    /* With no turn in between many a socket is closed before the kernel has seen its poll, and the
     * number of its descriptor is used again at once. */
    for (uint32_t i = 0; i < HPXI_RESOLVER_POLLS_MAX; i++) {
        fixture_ask(&f, "silent.test");
        assert_int_equal(f.answers, i);
        assert_int_equal(hpxi_dns_sockets_polls(&f.sockets), i + 1);
        ares_cancel(f.channel);
        assert_int_equal(f.answers, i + 1);
        assert_int_equal(f.status, ARES_ECANCELLED);
    }
    fixture_ask(&f, "silent.test");
    assert_int_equal(f.answers, HPXI_RESOLVER_POLLS_MAX + 1);
    assert_int_equal(f.status, ARES_ECONNREFUSED); /* no entry: no socket */
    assert_int_equal(hpxi_dns_sockets_polls(&f.sockets), HPXI_RESOLVER_POLLS_MAX);
    for (int i = 0; i < 2000 && hpxi_dns_sockets_polls(&f.sockets) != 0; i++) {
        assert_int_equal(fixture_reap(&f), 0);
    }
    assert_int_equal(hpxi_dns_sockets_polls(&f.sockets), 0);
    f.answers = 0;
    fixture_ask(&f, "a.test");
    fixture_run(&f, 1);
    assert_int_equal(f.status, ARES_SUCCESS);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poll_when_it_ends_by_itself_then_armed_again),
        cmocka_unit_test(test_poll_when_it_fails_then_armed_by_rearm_only),
        cmocka_unit_test(test_write_when_stream_is_pumped_before_datagrams_then_not_forgotten),
        cmocka_unit_test(test_close_when_poll_is_in_flight_then_entry_waits_for_its_completion),
    };
    return cmocka_run_group_tests_name("engine/dns_sockets", tests, NULL, NULL);
}

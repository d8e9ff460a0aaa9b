/* SPDX-License-Identifier: Apache-2.0 */
/* resolver_bed.c - see resolver_bed.h. */
#include "tests/engine/resolver_bed.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/descriptors.h"
#include "tests/support/test.h"

#define TURN_SLEEP_NS (5 * HPX_NS_PER_MS)
#define RUN_MAX_NS    (10 * HPX_NS_PER_S)

static void bed_read_clock(resolver_bed *bed)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    bed->now_ns = (uint64_t)now.tv_sec * HPX_NS_PER_S + (uint64_t)now.tv_nsec + bed->ahead_ns;
}

void resolver_bed_new_resolver(resolver_bed *bed, uint32_t cache_entries)
{
    const hpxi_resolver_config config = {
        .servers = bed->servers, .cache_entries = cache_entries, .hosts_path = bed->hosts_path};
    hpx_error error = {0};
    bed_read_clock(bed);
    const hpx_status status = hpxi_resolver_new(
        &bed->resolver, &config, bed->ring, &bed->wheel, &bed->now_ns, &bed->allocator, &error);
    if (status != HPX_OK) {
        fail_msg("hpxi_resolver_new: %d %s", status, error.detail);
    }
}

void resolver_bed_open(resolver_bed *bed, uint32_t cache_entries)
{
    memset(bed, 0, sizeof(*bed));
    bed->descriptors = test_descriptors();
    bed->memory.fail_at = SIZE_MAX;
    bed->allocator = fa_allocator(&bed->memory);
    dns_server_start(&bed->server);
    const hpxi_ring_config config = {
        .sq_entries = 64,
        .cq_entries = 512,
        .slot_bytes = 1024,
        .slot_count = 8,
        .ops_max = 2 * HPXI_RESOLVER_POLLS_MAX,
    };
    hpx_error error = {0};
    const hpx_status status =
        hpxi_ring_new(&bed->ring, &config, &bed->counters, &bed->allocator, &error);
    if (status != HPX_OK) {
        fail_msg("hpxi_ring_new: %d %s", status, error.detail);
    }
    bed_read_clock(bed);
    hpxi_wheel_init(&bed->wheel, bed->now_ns);
    snprintf(bed->servers, sizeof(bed->servers), "127.0.0.1:%u", bed->server.port);
    snprintf(bed->hosts_path, sizeof(bed->hosts_path), "hosts.%d.tmp", (int)getpid());
    unlink(bed->hosts_path);
    resolver_bed_new_resolver(bed, cache_entries);
}

void resolver_bed_turn(resolver_bed *bed)
{
    bed_read_clock(bed);
    if (bed->resolver != NULL) {
        hpxi_resolver_settle(bed->resolver);
    }
    hpxi_wheel_advance(&bed->wheel, bed->now_ns, UINT32_MAX);
    int ready = hpxi_ring_turn(bed->ring);
    assert_true(ready >= 0);
    if (ready == 0) {
        const uint64_t next_ns = hpxi_wheel_next(&bed->wheel);
        const uint64_t left_ns = next_ns > bed->now_ns ? next_ns - bed->now_ns : 0;
        ready = hpxi_ring_wait(bed->ring, left_ns < TURN_SLEEP_NS ? left_ns : TURN_SLEEP_NS);
        assert_true(ready >= 0);
    }
    bed_read_clock(bed);
    hpxi_completion completion;
    while (hpxi_ring_next(bed->ring, &completion)) {
        if (completion.op == HPXI_OP_POLL && bed->resolver != NULL) {
            hpxi_resolver_completion(bed->resolver, &completion);
        }
    }
}

void resolver_bed_idle(resolver_bed *bed, uint64_t time_ns)
{
    bed_read_clock(bed);
    const uint64_t end_ns = bed->now_ns + time_ns;
    while (bed->now_ns < end_ns) {
        resolver_bed_turn(bed);
    }
}

void resolver_bed_run(resolver_bed *bed, const ask *asks, uint32_t count)
{
    bed_read_clock(bed);
    const uint64_t end_ns = bed->now_ns + RUN_MAX_NS;
    for (uint32_t i = 0; i < count; i++) {
        while (asks[i].called == 0) {
            if (bed->now_ns >= end_ns) {
                fail_msg("query %u of %u has not been called back", i, count);
            }
            resolver_bed_turn(bed);
        }
    }
}

static void ask_on_done(
    hpxi_query *query, hpx_status status, const hpxi_addresses *addresses, const char *detail)
{
    ask *self = query->owner;
    assert_ptr_equal(&self->query, query);
    assert_false(query->active);
    self->called++;
    self->called_ns = self->bed->now_ns;
    self->status = status;
    self->addresses = *addresses;
    assert_int_equal(status == HPX_OK, addresses->count != 0);
    assert_int_equal(status == HPX_OK, detail[0] == '\0');
    snprintf(self->detail, sizeof(self->detail), "%s", detail);
    if (self->then != NULL) {
        self->then(self);
    }
}

void resolver_bed_ask(
    resolver_bed *bed, ask *self, const char *host, uint16_t port, uint64_t timeout_ns)
{
    const uint32_t called = self->called;
    self->bed = bed;
    hpxi_query_start(bed->resolver, &self->query, host, port, timeout_ns, ask_on_done, self);
    assert_int_equal(self->called, called); /* never from inside the call */
    assert_true(self->query.active);
}

uint32_t resolver_bed_resolve(resolver_bed *bed, ask *self, const char *host)
{
    const uint32_t questions = atomic_load(&bed->server.questions);
    memset(self, 0, sizeof(*self));
    bed_read_clock(bed);
    resolver_bed_ask(bed, self, host, 443, 9 * HPX_NS_PER_S);
    resolver_bed_run(bed, self, 1);
    assert_int_equal(self->called, 1);
    return atomic_load(&bed->server.questions) - questions;
}

void resolver_bed_await_questions(resolver_bed *bed, uint32_t count)
{
    bed_read_clock(bed);
    const uint64_t end_ns = bed->now_ns + RUN_MAX_NS;
    while (atomic_load(&bed->server.questions) < count) {
        assert_true(bed->now_ns < end_ns);
        resolver_bed_turn(bed);
    }
    assert_int_equal(atomic_load(&bed->server.questions), count);
}

void resolver_bed_assert_addresses(const ask *a, const char *expected)
{
    char text[HPXI_ADDRESSES_MAX * (HPXI_ADDRESS_TEXT_BYTES + 1)] = "";
    for (uint32_t i = 0; i < a->addresses.count; i++) {
        char one[HPXI_ADDRESS_TEXT_BYTES];
        hpxi_address_format(&a->addresses.list[i], one);
        strcat(text, i == 0 ? "" : " ");
        strcat(text, one);
    }
    if (a->status != HPX_OK) {
        fail_msg("%s: %s", hpx_status_name(a->status), a->detail);
    }
    assert_string_equal(text, expected);
}

void resolver_bed_close(resolver_bed *bed)
{
    if (bed->resolver != NULL) {
        /* c-ares closes its sockets with its last question, and the polls then come home. */
        bed_read_clock(bed);
        const uint64_t end_ns = bed->now_ns + RUN_MAX_NS;
        while (hpxi_resolver_polls(bed->resolver) != 0) {
            if (bed->now_ns >= end_ns) {
                fail_msg("%u polls are not home", hpxi_resolver_polls(bed->resolver));
            }
            resolver_bed_turn(bed);
        }
        assert_int_equal(hpxi_ring_inflight(bed->ring), 0);
        hpxi_resolver_free(bed->resolver);
    }
    assert_int_equal(bed->wheel.count, 0);
    hpxi_ring_free(bed->ring, HPX_NS_PER_S);
    dns_server_stop(&bed->server);
    unlink(bed->hosts_path);
    assert_int_equal(bed->memory.live, 0);
    assert_int_equal(test_descriptors(), bed->descriptors);
}

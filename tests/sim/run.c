/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.c - one run: chaos; then either calm and an orderly end, or a stop in the middle of it.
 *
 * After chaos nothing goes wrong any more, and within LIVENESS_NS every connection has to be Ready
 * and subscribed to what is held. At the end everything has to be back: sockets, memory, timers,
 * receive slots, operations.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bed.h"
#include "gauges.h"

#define MS            HPX_NS_PER_MS
#define RESIDUE_NS    (2500 * MS) /* what went wrong before has come to its timeouts by then */
#define LIVENESS_NS   (5 * HPX_NS_PER_S)
#define CLOSE_NS      (2 * HPX_NS_PER_S)
#define SLICE_NS      (200 * MS)
#define CALM_ROUND_NS (400 * MS)
#define BED_PORT_RING (64u << 10)

static bed the_bed;

/* ---- Failing --------------------------------------------------------------------------------- */

_Noreturn void bed_fail(const char *format, ...)
{
    const plan *p = &the_bed.plan;
    va_list arguments;
    va_start(arguments, format);
    (void)fflush(stdout);
    (void)fprintf(stderr, "\nseed %llu failed: ", (unsigned long long)p->seed);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fprintf(
        stderr,
        "\n  at %.3f ms, trace hash %016llx\n",
        (double)(hpxi_sim_now_ns() - p->network.start_ns) / 1e6,
        (unsigned long long)hpxi_sim_hash());
    plan_print(p, stderr);
    (void)fprintf(
        stderr, "  again: test_sim_seeds --seed %llu --trace\n", (unsigned long long)p->seed);
    (void)fflush(stderr);
    _exit(1);
}

/* ---- Words ----------------------------------------------------------------------------------- */

hpx_span bed_word(hpx_span *text)
{
    size_t end = 0;
    while (end < text->size && text->data[end] != ' ') {
        end++;
    }
    const hpx_span found = {.data = text->data, .size = end};
    const size_t next = end < text->size ? end + 1 : end;
    text->data += next;
    text->size -= next;
    return found;
}

bool bed_is(hpx_span word, const char *text)
{
    return word.size == strlen(text) && memcmp(word.data, text, word.size) == 0;
}

uint64_t bed_number(hpx_span word)
{
    uint64_t number = 0;
    CHECK(word.size != 0 && word.size < 20, "G1: a number is missing");
    for (size_t i = 0; i < word.size; i++) {
        CHECK(
            word.data[i] >= '0' && word.data[i] <= '9',
            "G1: \"%.*s\" is not a number",
            (int)word.size,
            (const char *)word.data);
        number = number * 10 + (uint64_t)(word.data[i] - '0');
    }
    return number;
}

/* ---- Later ----------------------------------------------------------------------------------- */

struct later {
    bed *bed;
    void (*fn)(bed *b, uint32_t a, uint32_t c);
    uint32_t a, c;
    bool anywhere;
    struct later *next; /* ready, or free */
    struct later *all;
};

static struct later *later_all, *later_free;

static void later_on_time(void *ctx)
{
    struct later *l = ctx;
    bed *b = l->bed;
    if (l->anywhere) {
        l->next = later_free;
        later_free = l;
        l->fn(b, l->a, l->c);
        return;
    }
    l->next = NULL;
    if (b->ready_first == NULL) {
        b->ready_first = l;
    } else {
        b->ready_last->next = l;
    }
    b->ready_last = l;
    hpx_shard_wake(b->shard);
}

static void later_push(
    bed *b,
    uint64_t delay_ns,
    void (*fn)(bed *, uint32_t, uint32_t),
    uint32_t a,
    uint32_t c,
    bool anywhere)
{
    struct later *l = later_free;
    if (l != NULL) {
        later_free = l->next;
    } else {
        l = malloc(sizeof(*l));
        CHECK(l != NULL, "no memory");
        l->all = later_all;
        later_all = l;
    }
    l->bed = b;
    l->fn = fn;
    l->a = a;
    l->c = c;
    l->anywhere = anywhere;
    hpxi_sim_at(hpxi_sim_now_ns() + delay_ns, later_on_time, l);
}

void bed_later(
    bed *b, uint64_t delay_ns, void (*fn)(bed *b, uint32_t a, uint32_t c), uint32_t a, uint32_t c)
{
    later_push(b, delay_ns, fn, a, c, false);
}

void bed_anywhere(
    bed *b, uint64_t delay_ns, void (*fn)(bed *b, uint32_t a, uint32_t c), uint32_t a, uint32_t c)
{
    later_push(b, delay_ns, fn, a, c, true);
}

uint64_t bed_gap(hpxi_sim_random *random, uint64_t mean_ns)
{
    const uint64_t kind = hpxi_sim_below(random, 10);
    if (kind == 0) {
        return hpxi_sim_below(random, 8 * mean_ns);
    }
    return kind <= 3 ? 0 : hpxi_sim_below(random, 2 * mean_ns);
}

static void later_run_ready(bed *b)
{
    while (b->ready_first != NULL) {
        struct later *l = b->ready_first;
        b->ready_first = l->next;
        l->next = later_free;
        later_free = l;
        l->fn(b, l->a, l->c);
    }
}

/* What was under way belongs to a world that is over. */
static void later_forget(bed *b)
{
    b->ready_first = NULL;
    later_free = NULL;
    for (struct later *l = later_all; l != NULL; l = l->all) {
        l->next = later_free;
        later_free = l;
    }
}

/* ---- Turning --------------------------------------------------------------------------------- */

/* Until it is so, or for `ns`. Returns whether it is so. */
static bool bed_turn(bed *b, uint64_t ns, bool (*is_so)(bed *b))
{
    const uint64_t until = hpxi_sim_now_ns() + ns;
    while (hpxi_sim_now_ns() < until) {
        later_run_ready(b);
        if (is_so != NULL && is_so(b)) {
            return true;
        }
        const uint64_t left = until - hpxi_sim_now_ns();
        const int work = hpx_shard_poll_wait(b->shard, left < SLICE_NS ? left : SLICE_NS);
        CHECK(work >= 0, "poll: %d", work);
    }
    return is_so != NULL && is_so(b);
}

/* The shard goes on, and whole connections with it. */
void bed_preempt(void *ctx)
{
    bed *b = ctx;
    if (!b->slow || b->preempted) {
        return;
    }
    b->preempted = true;
    (void)bed_turn(b, hpxi_sim_below(&b->user_random, 400 * MS), NULL);
    b->preempted = false;
}

/* A user waits: others go on. */
static void bed_turn_once(void *ctx)
{
    bed *b = ctx;
    later_run_ready(b);
    CHECK(hpx_shard_poll_wait(b->shard, MS) >= 0, "poll");
}

/* ---- Begin ----------------------------------------------------------------------------------- */

static void bed_start_engine(bed *b)
{
    const plan *p = &b->plan;
    hpx_engine_config config = HPX_ENGINE_CONFIG_INIT;
    config.shard_mode = HPX_SHARDS_POLLED;
    config.wait_mode = p->wait_mode;
    config.sq_entries = p->sq_entries;
    config.cq_entries = p->cq_entries;
    config.recv_slot_count = p->slot_count;
    config.recv_slot_bytes = p->slot_bytes;
    config.connections_max = 64;
    config.hot_connections_max = 3;
    config.dns_servers = "127.0.0.1:1";
    config.dns_cache_entries = 1;
    config.tls_session_hosts_max = 1;
    config.allocator = fa_allocator(&b->memory);
    hpx_error error = {0};
    CHECK(hpx_engine_new(&b->engine, &config, &error) == HPX_OK, "engine: %s", error.detail);
    CHECK(hpx_engine_start(b->engine, &error) == HPX_OK, "start: %s", error.detail);
    b->shard = hpx_engine_shard(b->engine, 0);
    CHECK(hpx_shard_attach(b->shard, &error) == HPX_OK, "attach: %s", error.detail);
    hpx_port_config port = HPX_PORT_CONFIG_INIT;
    port.control_ring_bytes = 16u << 10;
    port.data_ring_bytes = BED_PORT_RING;
    port.handles_max = 32;
    for (uint32_t i = 0; i < PORTS; i++) {
        CHECK(
            hpx_port_open(&b->ports[i], b->engine, &port, &error) == HPX_OK,
            "port: %s",
            error.detail);
    }
}

static void bed_begin(bed *b, uint64_t seed, FILE *trace)
{
    memset(b, 0, sizeof(*b));
    plan_make(&b->plan, seed);
    b->memory.fail_at = SIZE_MAX;
    b->user_random.state = seed ^ UINT64_C(0x05E4);
    b->venue_random.state = seed ^ UINT64_C(0x7E40E);
    b->sends = calloc(HANDLE_IDS_MAX, sizeof(uint32_t));
    b->send_epoch = calloc(HANDLE_IDS_MAX, sizeof(uint64_t));
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        b->owners[i].bed = b;
        b->owners[i].id = i;
    }
    /* Only who spins lets time pass by itself; a shard that sleeps and spins all the same fails. */
    const bool spins = b->plan.hot || b->plan.wait_mode != HPX_WAIT_SLEEP;
    b->plan.network.spin_ns = spins ? 500 * 1000 : 0;
    hpxi_sim_begin(&b->plan.network, trace);
    hpxi_sim_set_preempt(bed_preempt, b);
    hpxi_sim_set_turn(bed_turn_once, b);
    bed_start_engine(b);
    venue_start(b);
    user_start(b);
}

/* ---- Calm ------------------------------------------------------------------------------------ */

static hpx_conn_state owner_state(const owner *o)
{
    if (o->is_inline) {
        return o->conn == NULL ? HPX_CONN_CLOSED : hpx_conn_get_state(o->conn);
    }
    for (uint32_t i = 0; i < HANDLES_MAX; i++) {
        if (o->handles[i] != NULL) {
            return hpx_handle_state(o->handles[i]);
        }
    }
    return HPX_CONN_CLOSED;
}

/* What keeps this owner from being settled; NULL: nothing. */
static const char *owner_is_late(bed *b, const owner *o)
{
    if (!o->used || o->closed) {
        return NULL;
    }
    if (o->leaving) {
        return "it was let go and is not CLOSED";
    }
    const hpx_conn_state state = owner_state(o);
    if (state != HPX_CONN_READY) {
        return hpx_conn_state_name(state);
    }
    const peer *p = venue_newest(b, o->id);
    if (p == NULL) {
        return "READY, but the venue has no connection";
    }
    return p->topics == feeds_held(b, o->id) ? NULL : "the venue has another set of topics";
}

static bool bed_is_settled(bed *b)
{
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        if (owner_is_late(b, &b->owners[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static void bed_check_settled(bed *b)
{
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        const owner *o = &b->owners[i];
        const char *why = owner_is_late(b, o);
        const peer *p = venue_newest(b, i);
        CHECK(
            why == NULL,
            "liveness: owner %u, calm for %llu s: %s (held %x, venue %x)",
            i,
            (unsigned long long)(LIVENESS_NS / HPX_NS_PER_S),
            why,
            feeds_held(b, i),
            p == NULL ? 0 : p->topics);
    }
}

/* C7: what is pending is what the ledger says. */
static void bed_check_pending(bed *b, const owner *o)
{
    uint32_t open = 0;
    for (uint32_t i = 0; i < b->ask_count; i++) {
        const ask *a = &b->asks[i];
        open += a->owner == o->id && a->accepted && !a->is_send && !a->forgotten && a->outcomes == 0
                    ? 1
                    : 0;
    }
    for (uint32_t i = 0; i < HANDLES_MAX && !o->closed; i++) {
        if (o->handles[i] != NULL) {
            const uint32_t pending = hpx_handle_pending_count(o->handles[i]);
            CHECK(pending == open, "C7: owner %u: %u pending, %u open", o->id, pending, open);
            const uint32_t held = hpx_handle_subscription_count(o->handles[i]);
            const uint32_t want = (uint32_t)__builtin_popcount(feeds_held(b, o->id));
            CHECK(held == want, "P6: owner %u holds %u topics, %u wanted", o->id, held, want);
        }
    }
}

/* One more request of each owner that is Ready. Returns the serial of the first. */
static uint32_t bed_last_requests(bed *b)
{
    const uint32_t first = b->ask_count + 1;
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        owner *o = &b->owners[i];
        if (o->is_inline || o->handles[0] == NULL || owner_state(o) != HPX_CONN_READY) {
            continue;
        }
        const uint32_t serial =
            ledger_open(b, o, o->handle_ids[0], false, hpx_handle_epoch(o->handles[0]));
        char text[32];
        const int size = snprintf(text, sizeof(text), "req %u", serial);
        const hpx_span payload = {.data = (uint8_t *)text, .size = (size_t)size};
        uint64_t token;
        const hpx_status status =
            hpx_handle_request(o->handles[0], payload, 0, (void *)(uintptr_t)serial, &token);
        CHECK(status == HPX_OK || status == HPX_E_LIMIT, "last request: %d", status);
        if (status == HPX_OK) {
            ledger_accepted(b, serial, b->plan.request_ns, token);
        }
    }
    return first;
}

static void bed_calm(bed *b)
{
    b->stopped = true;
    b->calm = true;
    hpxi_sim_calm();
    (void)bed_turn(b, RESIDUE_NS, NULL);
    if (!bed_turn(b, LIVENESS_NS, bed_is_settled)) {
        bed_check_settled(b);
    }
    b->quiet = true;
    (void)bed_turn(b, CALM_ROUND_NS, NULL);
    user_drain_all(b);
    const uint32_t first = bed_last_requests(b);
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        peer *p = venue_newest(b, i);
        for (uint32_t topic = 0; p != NULL && topic < TOPICS; topic++) {
            venue_publish(b, p, topic, 0);
        }
    }
    (void)bed_turn(b, CALM_ROUND_NS, NULL);
    user_drain_all(b);
    bed_check_settled(b);
    feeds_check_final(b);
    for (uint32_t i = first; i <= b->ask_count; i++) {
        const ask *a = &b->asks[i - 1];
        CHECK(
            !a->accepted || (a->outcomes == 1 && a->answered),
            "liveness: request %u was not answered",
            i);
    }
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        bed_check_pending(b, &b->owners[i]);
    }
}

/* ---- End ------------------------------------------------------------------------------------- */

static bool bed_all_closed(bed *b)
{
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        if (b->owners[i].used && !b->owners[i].closed) {
            return false;
        }
    }
    return true;
}

static bool bed_is_quiet(bed *b)
{
    return gauges_read(b->shard).quiet;
}

static void bed_check_closed(bed *b)
{
    user_drain_all(b);
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        const owner *o = &b->owners[i];
        CHECK(!o->used || o->closed, "P11: owner %u is not CLOSED", i);
    }
    for (uint32_t i = 0; i < b->feed_count; i++) {
        const feed *f = &b->feeds[i];
        CHECK(f->sub == NULL || f->ended, "P11: feed %u has not ENDED", f->id);
    }
    ledger_finish(b);
}

/* Everything that a shard can still hold. */
static void bed_check_gauges(bed *b)
{
    const sim_gauges gauges = gauges_read(b->shard);
    hpx_shard_stats stats;
    hpx_shard_get_stats(b->shard, &stats);
    CHECK(hpxi_sim_socket_count() == 0, "G9: %u sockets are open", hpxi_sim_socket_count());
    CHECK(stats.connections == 0, "G9: %llu connections", (unsigned long long)stats.connections);
    CHECK(gauges.timers == 0, "C3: %llu timers are set", (unsigned long long)gauges.timers);
    CHECK(
        gauges.slots_home == b->plan.slot_count,
        "U3: %u slots of %u are home",
        gauges.slots_home,
        b->plan.slot_count);
    /* The doorbell's. */
    CHECK(gauges.inflight == 1, "G9: %u operations are in flight", gauges.inflight);
    const uint64_t stale = hpxi_sim_get_stats()->stale_taken;
    CHECK(
        stats.stale_completions == stale,
        "U1: %llu stale completions, %llu counted",
        (unsigned long long)stale,
        (unsigned long long)stats.stale_completions);
}

static void bed_close_ports(bed *b)
{
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        if (i % 2 == 0) { /* the port has the others */
            hpx_stream_release(b->owners[i].stream);
        }
        b->owners[i].stream = NULL;
    }
    for (uint32_t i = 0; i < b->feed_count; i++) {
        b->feeds[i].sub = b->feeds[i].is_inline ? b->feeds[i].sub : NULL;
    }
    for (uint32_t i = 0; i < PORTS; i++) {
        hpx_port_close(b->ports[i]);
        b->ports[i] = NULL;
    }
}

static void bed_end_orderly(bed *b)
{
    user_release_all(b);
    for (uint32_t i = 0; i < OWNERS_MAX; i++) {
        owner *o = &b->owners[i];
        o->leaving = true;
        if (o->conn != NULL) {
            CHECK(hpx_conn_close(o->conn, 0, (hpx_span){0}) == HPX_OK, "close");
        }
    }
    (void)bed_turn(b, CLOSE_NS, bed_all_closed);
    (void)bed_turn(b, SLICE_NS, NULL);
    bed_check_closed(b);
    bed_close_ports(b);
    venue_end(b);
    CHECK(bed_turn(b, CLOSE_NS, bed_is_quiet), "P8: the shard is not quiet");
    (void)bed_turn(b, 20 * b->plan.request_ns, NULL); /* what was set for later is to be nothing */
    bed_check_gauges(b);
    CHECK(hpx_shard_detach_wait(b->shard, HPX_NS_PER_S) == HPX_OK, "detach");
}

/* In the middle of it: whatever the network does, the deadline holds. */
static void bed_end_abruptly(bed *b)
{
    b->stopped = true;
    b->quiet = true;
    const uint64_t limit_ns = hpxi_sim_below(&b->user_random, 200 * MS);
    const uint64_t start_ns = hpxi_sim_now_ns();
    const hpx_status status = hpx_shard_detach_wait(b->shard, limit_ns);
    CHECK(status == HPX_OK || status == HPX_E_TIMEOUT, "detach: %d", status);
    const uint64_t took_ns = hpxi_sim_now_ns() - start_ns;
    CHECK(
        took_ns <= limit_ns + 50 * MS,
        "G19: the stop took %llu ms of %llu",
        (unsigned long long)(took_ns / MS),
        (unsigned long long)(limit_ns / MS));
    bed_check_closed(b);
    user_release_all(b);
    bed_close_ports(b);
}

static void bed_free(bed *b)
{
    CHECK(hpx_engine_stop_wait(b->engine, 0) == HPX_OK, "stop");
    hpx_engine_free(b->engine);
    CHECK(b->memory.live == 0, "G9: %zu blocks were not freed", (size_t)b->memory.live);
    const uint32_t left = hpxi_sim_end();
    CHECK(left == 0, "G9: %u descriptors were not closed", left);
    later_forget(b);
    for (uint32_t i = 0; i < b->peer_count; i++) {
        free(b->peers[i]->log);
        free(b->peers[i]);
    }
    free(b->asks);
    free(b->sends);
    free(b->send_epoch);
}

void run_seed(uint64_t seed, FILE *trace, run_result *out)
{
    bed *b = &the_bed;
    bed_begin(b, seed, trace);
    if (trace != NULL) {
        (void)fprintf(trace, "seed %llu\n", (unsigned long long)seed);
        plan_print(&b->plan, trace);
    }
    (void)bed_turn(b, b->plan.chaos_ns, NULL);
    if (b->plan.abrupt) {
        bed_end_abruptly(b);
    } else {
        bed_calm(b);
        bed_end_orderly(b);
    }
    *out = (run_result){
        .hash = hpxi_sim_hash(),
        .updates = b->updates,
        .replies = b->replies,
        .actions = b->actions,
        .connects = b->peer_count,
        .sim_ns = hpxi_sim_now_ns() - b->plan.network.start_ns,
        .network = *hpxi_sim_get_stats(),
    };
    memcpy(out->venue_faults, b->venue_faults, sizeof(out->venue_faults));
    bed_free(b);
}

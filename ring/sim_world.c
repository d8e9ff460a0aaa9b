/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_world.c - time, events, chance and the trace of the simulation; clock.h and doorbell.h on it.
 *
 * Role      Events lie in a heap by time, then by the order they were pushed in. Only
 *           hpxi_sim_pass() moves the clock.
 * Threads   One.
 * Memory    malloc(): the heap, and the bytes of segments on their way.
 */
#include "ring/sim_world.h"

#include <stdlib.h>

#include "ring/clock.h"
#include "ring/doorbell.h"

sim_world hpxi_sim_world;

#define SIM_HASH_SEED  UINT64_C(0xCBF29CE484222325)
#define SIM_HASH_PRIME UINT64_C(0x100000001B3)

/* ---- The world ------------------------------------------------------------------------------- */

void hpxi_sim_begin(const hpxi_sim_config *config, FILE *trace)
{
    HPX_ASSERT(!SIM->open);
    HPX_ASSERT(config->delay_min_ns <= config->delay_max_ns);
    HPX_ASSERT(config->window_bytes != 0 && config->segment_bytes != 0);
    memset(SIM, 0, sizeof(*SIM));
    SIM->config = *config;
    SIM->random.state = config->seed ^ UINT64_C(0x5EED);
    SIM->entropy.state = config->seed ^ UINT64_C(0xE117);
    SIM->now_ns = config->start_ns;
    SIM->hash = SIM_HASH_SEED;
    SIM->trace = trace;
    SIM->next_port = SIM_PORT_FIRST;
    for (uint32_t i = 0; i < SIM_SOCKETS_MAX; i++) {
        SIM->sockets[i].index = i;
    }
    SIM->open = true;
}

uint32_t hpxi_sim_end(void)
{
    HPX_ASSERT(SIM->open);
    uint32_t left = 0;
    for (uint32_t i = 0; i < SIM_SOCKETS_MAX; i++) {
        left += SIM->sockets[i].kind != SIM_FREE ? 1 : 0;
    }
    hpxi_sim_close_all();
    for (size_t i = 0; i < SIM->heap_count; i++) {
        free(SIM->heap[i].data);
    }
    free(SIM->heap);
    SIM->heap = NULL;
    SIM->heap_count = 0;
    SIM->heap_capacity = 0;
    SIM->open = false;
    return left;
}

void hpxi_sim_calm(void)
{
    SIM->calm = true;
    hpxi_sim_note("calm", 0, 0);
}

uint64_t hpxi_sim_now_ns(void)
{
    return SIM->now_ns;
}

uint64_t hpxi_sim_hash(void)
{
    return SIM->hash;
}

const hpxi_sim_stats *hpxi_sim_get_stats(void)
{
    return &SIM->stats;
}

void hpxi_sim_set_turn(void (*turn)(void *ctx), void *ctx)
{
    SIM->turn = turn;
    SIM->turn_ctx = ctx;
}

void hpxi_sim_set_preempt(void (*preempt)(void *ctx), void *ctx)
{
    SIM->preempt = preempt;
    SIM->preempt_ctx = ctx;
}

/* ---- Chance and trace ------------------------------------------------------------------------ */

const char *hpxi_sim_fault_name(hpxi_sim_fault fault)
{
    static const char *const names[] = {
#define SIM_FAULT_NAME(name, text) #name,
        HPXI_SIM_FAULTS(SIM_FAULT_NAME)
#undef SIM_FAULT_NAME
    };
    return fault < HPXI_SIM_FAULT_COUNT ? names[fault] : "?";
}

bool hpxi_sim_fault_happens(hpxi_sim_fault fault)
{
    if (SIM->calm || !hpxi_sim_happens(&SIM->random, SIM->config.chances[fault])) {
        return false;
    }
    SIM->stats.faults[fault]++;
    hpxi_sim_log(fault, "fault %s", hpxi_sim_fault_name(fault));
    return true;
}

static void sim_mix(uint64_t value)
{
    SIM->hash = (SIM->hash ^ value) * SIM_HASH_PRIME;
    SIM->hash ^= SIM->hash >> 29;
}

static void sim_trace_head(void)
{
    const uint64_t passed = SIM->now_ns - SIM->config.start_ns;
    (void)fprintf(
        SIM->trace,
        "%6u.%06u ms  ",
        (unsigned)(passed / HPX_NS_PER_MS),
        (unsigned)(passed % HPX_NS_PER_MS));
}

void hpxi_sim_log(uint64_t what, const char *format, ...)
{
    sim_mix(SIM->now_ns);
    sim_mix(what);
    if (SIM->trace == NULL) {
        return;
    }
    sim_trace_head();
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(SIM->trace, format, arguments);
    va_end(arguments);
    (void)fputc('\n', SIM->trace);
}

void hpxi_sim_note(const char *what, uint64_t a, uint64_t b)
{
    sim_mix(SIM->now_ns);
    for (const char *at = what; *at != '\0'; at++) {
        sim_mix((uint8_t)*at);
    }
    sim_mix(a);
    sim_mix(b);
    if (SIM->trace != NULL) {
        sim_trace_head();
        (void)fprintf(
            SIM->trace, "%s %llu %llu\n", what, (unsigned long long)a, (unsigned long long)b);
    }
}

void hpxi_os_random(void *data, size_t size)
{
    uint8_t *to = data;
    for (size_t i = 0; i < size; i++) {
        to[i] = (uint8_t)hpxi_sim_next(&SIM->entropy);
    }
}

/* ---- Events ---------------------------------------------------------------------------------- */

static bool sim_before(const sim_event *a, const sim_event *b)
{
    return a->when_ns != b->when_ns ? a->when_ns < b->when_ns : a->order < b->order;
}

static void sim_swap(size_t a, size_t b)
{
    const sim_event kept = SIM->heap[a];
    SIM->heap[a] = SIM->heap[b];
    SIM->heap[b] = kept;
}

void hpxi_sim_push(const sim_event *event)
{
    if (SIM->heap_count == SIM->heap_capacity) {
        SIM->heap_capacity = SIM->heap_capacity == 0 ? 256 : SIM->heap_capacity * 2;
        SIM->heap = realloc(SIM->heap, SIM->heap_capacity * sizeof(*SIM->heap));
        HPX_ASSERT(SIM->heap != NULL);
    }
    size_t at = SIM->heap_count++;
    SIM->heap[at] = *event;
    SIM->heap[at].order = SIM->order++;
    if (SIM->heap[at].when_ns < SIM->now_ns) {
        SIM->heap[at].when_ns = SIM->now_ns;
    }
    while (at != 0 && sim_before(&SIM->heap[at], &SIM->heap[(at - 1) / 2])) {
        sim_swap(at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static sim_event sim_pop(void)
{
    HPX_ASSERT(SIM->heap_count != 0);
    const sim_event first = SIM->heap[0];
    SIM->heap[0] = SIM->heap[--SIM->heap_count];
    size_t at = 0;
    for (;;) {
        size_t least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2 && child < SIM->heap_count; child++) {
            least = sim_before(&SIM->heap[child], &SIM->heap[least]) ? child : least;
        }
        if (least == at) {
            return first;
        }
        sim_swap(at, least);
        at = least;
    }
}

uint64_t hpxi_sim_next_event_ns(void)
{
    return SIM->heap_count == 0 ? UINT64_MAX : SIM->heap[0].when_ns;
}

void hpxi_sim_run_due(void)
{
    while (SIM->heap_count != 0 && SIM->heap[0].when_ns <= SIM->now_ns) {
        const sim_event event = sim_pop();
        if (event.kind == SIM_EVENT_CALL) {
            event.fn(event.ctx);
        } else {
            hpxi_sim_net_event(&event);
        }
        free(event.data);
    }
}

void hpxi_sim_pass(uint64_t when_ns)
{
    HPX_ASSERT(when_ns >= SIM->now_ns);
    HPX_ASSERT(when_ns <= hpxi_sim_next_event_ns());
    if (when_ns != SIM->now_ns) {
        SIM->turns_here = 0;
    }
    SIM->now_ns = when_ns;
}

void hpxi_sim_at(uint64_t when_ns, void (*fn)(void *ctx), void *ctx)
{
    hpxi_sim_push(&(sim_event){.when_ns = when_ns, .kind = SIM_EVENT_CALL, .fn = fn, .ctx = ctx});
}

/* ---- clock.h --------------------------------------------------------------------------------- */

uint64_t hpx_clock_now_ns(void)
{
    HPX_ASSERT(SIM->open);
    const uint64_t now_ns = SIM->now_ns;
    if (SIM->preempt != NULL) {
        SIM->preempt(SIM->preempt_ctx);
    }
    return now_ns;
}

void hpxi_clock_init(hpxi_clock *clock)
{
    HPX_ASSERT(SIM->open);
    *clock = (hpxi_clock){.last_ns = SIM->now_ns};
}

uint64_t hpxi_clock_now(hpxi_clock *clock)
{
    HPX_ASSERT(SIM->now_ns >= clock->last_ns);
    clock->last_ns = SIM->now_ns;
    return clock->last_ns;
}

int64_t hpxi_clock_utc_s(void)
{
    return (int64_t)((SIM->now_ns - SIM->config.start_ns) / HPX_NS_PER_S);
}

/* ---- doorbell.h ------------------------------------------------------------------------------ */

hpx_status hpxi_doorbell_init(hpxi_doorbell *bell)
{
    HPX_ASSERT(SIM->open); /* hpxi_sim_begin() comes before the engine */
    *bell = (hpxi_doorbell){.fd = hpxi_sim_open(SIM_BELL)};
    return bell->fd < 0 ? bell->fd : HPX_OK;
}

void hpxi_doorbell_fini(hpxi_doorbell *bell)
{
    if (bell->fd >= 0) {
        sim_socket *socket = hpxi_sim_socket(bell->fd);
        socket->kind = SIM_FREE;
        socket->generation++;
    }
    bell->fd = -1;
}

void hpxi_doorbell_drain(hpxi_doorbell *bell)
{
    hpxi_sim_socket(bell->fd)->rings = 0;
}

void hpxi_doorbell_write(hpxi_doorbell *bell)
{
    sim_socket *socket = hpxi_sim_socket(bell->fd);
    HPX_ASSERT(socket->kind == SIM_BELL);
    socket->rings++;
    socket->edges++;
    SIM->changes++;
    hpxi_sim_log((uint64_t)bell->fd, "ring fd %d", bell->fd);
}

bool hpxi_doorbell_wait(hpxi_doorbell *bell, uint64_t timeout_ns)
{
    sim_socket *socket = hpxi_sim_socket(bell->fd);
    const uint64_t left = UINT64_MAX - SIM->now_ns;
    const uint64_t until = SIM->now_ns + (timeout_ns < left ? timeout_ns : left);
    while (socket->rings == 0 && SIM->now_ns < until) {
        HPX_ASSERT(SIM->turn != NULL); /* nobody would ever ring */
        SIM->turn(SIM->turn_ctx);
    }
    const bool rung = socket->rings != 0;
    socket->rings = 0;
    return rung;
}

bool hpxi_sim_is_readable(int fd)
{
    return hpxi_sim_socket(fd)->rings != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plan.c - what a seed means. Each fault is off in half of the seeds and rare or frequent in the
 * others: a run with a few faults at a high rate goes where one with all of them never comes.
 */
#include <string.h>

#include "bed.h"

#define MS HPX_NS_PER_MS

static uint64_t draw(hpxi_sim_random *random, uint64_t low, uint64_t high)
{
    return hpxi_sim_between(random, low, high);
}

/* Off, or up to `most`, small values as likely as large ones. */
static uint32_t draw_chance(hpxi_sim_random *random, uint32_t most)
{
    if (draw(random, 0, 1) == 0) {
        return 0;
    }
    uint64_t chance = most;
    for (uint64_t halvings = draw(random, 0, 5); halvings != 0; halvings--) {
        chance /= 2;
    }
    return chance == 0 ? 1 : (uint32_t)chance;
}

static void plan_network(plan *p, hpxi_sim_random *random)
{
    static const uint32_t most[HPXI_SIM_FAULT_COUNT] = {
        [HPXI_SIM_SHORT_RECV] = 6000,
        [HPXI_SIM_SHORT_SEND] = 4000,
        [HPXI_SIM_SEND_AGAIN] = 2000,
        [HPXI_SIM_NO_BUFFERS] = 2000,
        [HPXI_SIM_RECV_ENDS] = 3000,
        [HPXI_SIM_ACCEPT_ENDS] = 3000,
        [HPXI_SIM_ACCEPT_FAILS] = 2000,
        [HPXI_SIM_NO_SOCKET] = 2000,
        [HPXI_SIM_CQ_FULL] = 1000,
        [HPXI_SIM_CONNECT_REFUSED] = 3000,
        [HPXI_SIM_CONNECT_STALLS] = 1500,
        [HPXI_SIM_CONNECT_RESET] = 1500,
        [HPXI_SIM_RESET] = 60,
        [HPXI_SIM_CUT] = 60,
        [HPXI_SIM_SILENCE] = 40,
        [HPXI_SIM_SLOW] = 500,
        [HPXI_SIM_LATE] = 1500,
        [HPXI_SIM_CANCEL_MISSES] = 3000,
        [HPXI_SIM_CANCEL_LOSES] = 5000,
        [HPXI_SIM_STALE] = 5000,
        [HPXI_SIM_WAKE_EARLY] = 500,
    };
    /* The clock starts a second before the places where a careless counter wraps, too (C13). */
    static const uint64_t starts[] = {
        HPX_NS_PER_S,
        (UINT64_C(1) << 31) * MS - HPX_NS_PER_S,
        (UINT64_C(1) << 32) * MS - HPX_NS_PER_S,
        (UINT64_C(1) << 63) - HPX_NS_PER_S,
    };
    hpxi_sim_config *network = &p->network;
    network->seed = hpxi_sim_next(random);
    network->start_ns = starts[draw(random, 0, 1) == 0 ? 0 : draw(random, 0, 3)];
    network->delay_min_ns = draw(random, 1, 50) * 1000;
    network->delay_max_ns = network->delay_min_ns + draw(random, 0, 2000) * 1000;
    network->delay_slow_ns = draw(random, 1, 200) * MS;
    network->late_ns = draw(random, 1, 5000) * 1000;
    network->turn_ns = draw(random, 0, 1) == 0 ? 0 : draw(random, 1, 50) * 1000;
    network->retransmit_ns = draw(random, 500, 3000) * MS;
    network->window_bytes = UINT32_C(1) << draw(random, 11, 18);
    network->segment_bytes =
        draw(random, 0, 2) == 0 ? (uint32_t)draw(random, 1, 40) : (uint32_t)draw(random, 400, 9000);
    for (uint32_t i = 0; i < HPXI_SIM_FAULT_COUNT; i++) {
        network->chances[i] = draw_chance(random, most[i]);
    }
}

static void plan_engine(plan *p, hpxi_sim_random *random)
{
    p->wait_mode = draw(random, 0, 3) == 0 ? (hpx_wait_mode)draw(random, 1, 2) : HPX_WAIT_SLEEP;
    p->sq_entries = UINT32_C(1) << draw(random, 3, 6);
    p->cq_entries = p->sq_entries << draw(random, 1, 3);
    p->slot_count = UINT32_C(1) << draw(random, 3, 5);
    p->slot_bytes = UINT32_C(1) << draw(random, 11, 13);
}

static void plan_connections(plan *p, hpxi_sim_random *random)
{
    p->auth = draw(random, 0, 2) != 0;
    p->hot = draw(random, 0, 4) == 0;
    p->heartbeat = (hpx_heartbeat)draw(random, 0, 2);
    p->ping_ns = draw(random, 100, 400) * MS;
    p->pong_ns = draw(random, 50, 200) * MS;
    p->idle_ns = draw(random, 0, 3) == 0 ? 1500 * MS : 0;
    p->request_ns = draw(random, 100, 400) * MS;
    p->connect_ns = draw(random, 100, 400) * MS;
    p->backoff_ns = draw(random, 1, 20) * MS;
    p->backoff_max_ns = p->backoff_ns + draw(random, 0, 200) * MS;
    p->requests_max = (uint32_t)draw(random, 1, 24);
    p->topics_per_message = (uint32_t)draw(random, 1, 12);
    p->messages_per_second = draw(random, 0, 3) == 0 ? (double)draw(random, 50, 500) : 0.0;
    p->send_queue_bytes = draw(random, 0, 2) == 0 ? (uint32_t)draw(random, 1024, 8000) : 0;
}

static void plan_people(plan *p, hpxi_sim_random *random)
{
    static const uint32_t most[VENUE_FAULT_COUNT] = {
        [VENUE_REFUSE_UPGRADE] = 2000, [VENUE_REFUSE_AUTH] = 2000,
        [VENUE_STALL_AUTH] = 1500,     [VENUE_REFUSE_TOPIC] = 2000,
        [VENUE_REFUSE_BATCH] = 1000,   [VENUE_STALL_BATCH] = 1000,
        [VENUE_LATE_BATCH] = 4000,     [VENUE_TWICE_BATCH] = 2000,
        [VENUE_LATE_ANSWER] = 4000,    [VENUE_TWICE_ANSWER] = 3000,
        [VENUE_NO_ANSWER] = 2000,      [VENUE_ERROR_ANSWER] = 2000,
        [VENUE_FOREIGN_ANSWER] = 2000, [VENUE_STALE_ANSWER] = 4000,
        [VENUE_SILENT_PING] = 2000,    [VENUE_DROP] = 200,
        [VENUE_CLOSE] = 150,           [VENUE_BYE] = 150,
        [VENUE_HEARTBEAT] = 1000,      [VENUE_CHATTER] = 1000,
        [VENUE_BURST] = 600,
    };
    p->chaos_ns = draw(random, 1000, 4000) * MS;
    p->action_ns = draw(random, 2, 30) * MS;
    p->drain_ns = draw(random, 1, 60) * MS;
    p->venue_ns = draw(random, 2, 20) * MS;
    p->fd_mode = draw(random, 0, 1) == 0;
    p->abrupt = draw(random, 0, 4) == 0;
    p->wants_inline = draw(random, 0, 2) != 0;
    p->owners = (uint32_t)draw(random, 1, 4);
    p->addresses = (uint32_t)draw(random, 0, 3);
    for (uint32_t i = 0; i < VENUE_FAULT_COUNT; i++) {
        p->venue[i] = draw_chance(random, most[i]);
    }
}

void plan_make(plan *p, uint64_t seed)
{
    memset(p, 0, sizeof(*p));
    p->seed = seed;
    hpxi_sim_random random = {.state = seed * UINT64_C(0x2545F4914F6CDD1D) + 1};
    plan_network(p, &random);
    plan_engine(p, &random);
    plan_connections(p, &random);
    plan_people(p, &random);
    p->gentle = draw(&random, 0, 3) == 0;
    if (p->gentle) {
        static const hpxi_sim_fault cruel[] = {
            HPXI_SIM_CONNECT_STALLS, HPXI_SIM_RESET, HPXI_SIM_CUT, HPXI_SIM_SILENCE, HPXI_SIM_SLOW};
        for (size_t i = 0; i < sizeof(cruel) / sizeof(cruel[0]); i++) {
            p->network.chances[cruel[i]] = 0;
        }
        p->network.window_bytes = 1u << 18;
    }
}

void plan_print(const plan *p, FILE *to)
{
    static const char *const venue_names[] = {
#define VENUE_FAULT_NAME(name) #name,
        VENUE_FAULTS(VENUE_FAULT_NAME)
#undef VENUE_FAULT_NAME
    };
    const hpxi_sim_config *n = &p->network;
    (void)fprintf(
        to,
        "  delay %llu..%llu us, window %u, segment %u, start %llu ns\n"
        "  wait mode %d, sq %u, cq %u, %u slots of %u\n"
        "  gentle %d, auth %d, hot %d, inline %d, fd %d, abrupt %d\n"
        "  owners %u, requests %u, topics each %u, addresses %u\n"
        "  ping %llu ms, pong %llu ms, request %llu ms, chaos %llu ms, rate %.0f/s, queue %u\n"
        "  network:",
        (unsigned long long)n->delay_min_ns / 1000,
        (unsigned long long)n->delay_max_ns / 1000,
        n->window_bytes,
        n->segment_bytes,
        (unsigned long long)n->start_ns,
        (int)p->wait_mode,
        p->sq_entries,
        p->cq_entries,
        p->slot_count,
        p->slot_bytes,
        p->gentle,
        p->auth,
        p->hot,
        p->wants_inline,
        p->fd_mode,
        p->abrupt,
        p->owners,
        p->requests_max,
        p->topics_per_message,
        p->addresses,
        (unsigned long long)(p->ping_ns / MS),
        (unsigned long long)(p->pong_ns / MS),
        (unsigned long long)(p->request_ns / MS),
        (unsigned long long)(p->chaos_ns / MS),
        p->messages_per_second,
        p->send_queue_bytes);
    for (uint32_t i = 0; i < HPXI_SIM_FAULT_COUNT; i++) {
        if (n->chances[i] != 0) {
            (void)fprintf(to, " %s=%u", hpxi_sim_fault_name((hpxi_sim_fault)i), n->chances[i]);
        }
    }
    (void)fprintf(to, "\n  venue:");
    for (uint32_t i = 0; i < VENUE_FAULT_COUNT; i++) {
        if (p->venue[i] != 0) {
            (void)fprintf(to, " %s=%u", venue_names[i], p->venue[i]);
        }
    }
    (void)fputc('\n', to);
}

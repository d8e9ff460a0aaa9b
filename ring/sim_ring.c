/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_ring.c - ring.h on the simulated network.
 *
 * Role      Operations wait in a table until their socket lets them complete; a turn completes
 *           those that can, in an order of chance, and moves the completions into a queue of
 *           cq_entries. As with IORING_SETUP_DEFER_TASKRUN nothing completes outside a turn, and
 *           as with IORING_SUBMIT nothing starts before one, unless the submission queue is full.
 * Checks    A slot is given out once and given back once; what was given back is overwritten. Bytes
 *           to send are read when the send completes, and not before.
 * Threads   One.
 * Memory    Everything in hpxi_ring_new(), but the completions that overflow the queue: malloc().
 */
#include <errno.h>
#include <stdlib.h>

#include "ring/alloc.h"
#include "ring/ring.h"
#include "ring/sim_world.h"

#define SIM_RINGS_MAX  4u
#define SIM_GHOSTS_MAX 16u
#define SIM_RECV_BURST 4u /* completions of one receive in one turn */
#define SIM_SLOT_ALIGN 4096u
#define SIM_TURNS_MAX  20000u /* at one moment, of a shard that may sleep */
#define SIM_TURNS_SPUN 4u     /* ... of one that may not, before time passes */
#define SIM_STALE_BYTE 0xDB   /* what a slot given back is filled with */

typedef struct sim_op {
    bool used;
    bool started; /* submitted */
    bool ready;   /* due_ns is set */
    hpxi_op op;
    int fd;
    hpxi_token token; /* of the target, for CANCEL */
    uint8_t *data;
    uint32_t size;
    uint32_t done; /* bytes sent so far */
    uint64_t due_ns;
    uint64_t edges; /* POLL: told so far */
    hpxi_address address;
} sim_op;

typedef struct sim_cqe {
    hpxi_completion completion;
    bool ghost;
} sim_cqe;

struct hpxi_ring {
    hpxi_ring_config config;
    hpxi_counters *counters;
    const hpx_allocator *allocator;
    uint32_t inflight;

    sim_op *ops; /* ops_max */
    uint32_t ops_high;
    uint32_t prepared;

    sim_cqe *cq;
    uint32_t cq_head;
    uint32_t cq_count;
    sim_cqe *overflow;
    uint32_t overflow_count;
    uint32_t overflow_capacity;
    bool full; /* takes no more, though there is room */

    uint8_t *slots;
    uint8_t *slot_out;   /* given to the application */
    uint16_t *slot_fifo; /* posted first, then returned */
    uint32_t slot_head;
    uint32_t slot_posted;
    uint32_t slot_returned;
    uint32_t slots_home;

    hpxi_token ghosts[SIM_GHOSTS_MAX]; /* operations that ended */
    uint32_t ghost_next;
    uint32_t *order;
    uint64_t idle; /* SIM->changes when nothing was possible; UINT64_MAX: look */
};

static hpxi_ring *sim_rings[SIM_RINGS_MAX];

/* ---- New and free ---------------------------------------------------------------------------- */

static size_t ring_slots_size(const hpxi_ring *ring)
{
    return (size_t)ring->config.slot_bytes * ring->config.slot_count;
}

static void ring_destroy(hpxi_ring *ring)
{
    const hpx_allocator *allocator = ring->allocator;
    const hpxi_ring_config *config = &ring->config;
    hpxi_free(allocator, ring->ops, config->ops_max * sizeof(sim_op));
    hpxi_free(allocator, ring->order, config->ops_max * sizeof(uint32_t));
    hpxi_free(allocator, ring->cq, config->cq_entries * sizeof(sim_cqe));
    hpxi_free(allocator, ring->slots, ring_slots_size(ring));
    hpxi_free(allocator, ring->slot_out, config->slot_count);
    hpxi_free(allocator, ring->slot_fifo, config->slot_count * sizeof(uint16_t));
    free(ring->overflow);
    hpxi_free(allocator, ring, sizeof(*ring));
}

hpx_status hpxi_ring_new(
    hpxi_ring **out,
    const hpxi_ring_config *config,
    hpxi_counters *counters,
    const hpx_allocator *allocator,
    hpx_error *error)
{
    *out = NULL;
    *error = (hpx_error){.stage = HPX_STAGE_CONFIG};
    hpxi_ring *ring = hpxi_alloc_zero(allocator, sizeof(*ring), 64);
    if (ring == NULL) {
        error->status = HPX_E_NO_MEMORY;
        return HPX_E_NO_MEMORY;
    }
    ring->config = *config;
    ring->counters = counters;
    ring->allocator = allocator;
    ring->ops = hpxi_alloc_zero(allocator, config->ops_max * sizeof(sim_op), 64);
    ring->order = hpxi_alloc_zero(allocator, config->ops_max * sizeof(uint32_t), 64);
    ring->cq = hpxi_alloc_zero(allocator, config->cq_entries * sizeof(sim_cqe), 64);
    ring->slots = hpxi_alloc_zero(allocator, ring_slots_size(ring), SIM_SLOT_ALIGN);
    ring->slot_out = hpxi_alloc_zero(allocator, config->slot_count, 8);
    ring->slot_fifo = hpxi_alloc_zero(allocator, config->slot_count * sizeof(uint16_t), 64);
    if (ring->ops == NULL || ring->order == NULL || ring->cq == NULL || ring->slots == NULL ||
        ring->slot_out == NULL || ring->slot_fifo == NULL) {
        ring_destroy(ring);
        error->status = HPX_E_NO_MEMORY;
        return HPX_E_NO_MEMORY;
    }
    for (uint32_t i = 0; i < config->slot_count; i++) {
        ring->slot_fifo[i] = (uint16_t)i;
    }
    ring->slot_posted = config->slot_count;
    ring->slots_home = config->slot_count;
    for (uint32_t i = 0; i < SIM_RINGS_MAX; i++) {
        if (sim_rings[i] == NULL) {
            sim_rings[i] = ring;
            *out = ring;
            return HPX_OK;
        }
    }
    HPX_ASSERT(false); /* SIM_RINGS_MAX */
    return HPX_E_LIMIT;
}

void hpxi_ring_free(hpxi_ring *ring, uint64_t timeout_ns)
{
    (void)timeout_ns;
    if (ring == NULL) {
        return;
    }
    hpxi_ring_slots_flush(ring);
    hpxi_completion completion;
    for (uint32_t i = 0; i < ring->ops_high; i++) {
        ring->ops[i].used = false; /* cancelled, all of them */
    }
    while (hpxi_ring_next(ring, &completion)) {
        if (completion.op == HPXI_OP_ACCEPT && completion.result >= 0) {
            (void)hpxi_net_close(completion.result);
        }
        hpxi_ring_recycle(ring, &completion);
    }
    HPX_ASSERT(ring->slots_home == ring->config.slot_count); /* U3: none was lost */
    for (uint32_t i = 0; i < SIM_RINGS_MAX; i++) {
        if (sim_rings[i] == ring) {
            sim_rings[i] = NULL;
        }
    }
    ring_destroy(ring);
}

bool hpxi_sim_ring_uses(int fd)
{
    for (uint32_t r = 0; r < SIM_RINGS_MAX; r++) {
        const hpxi_ring *ring = sim_rings[r];
        for (uint32_t i = 0; ring != NULL && i < ring->ops_high; i++) {
            if (ring->ops[i].used && ring->ops[i].fd == fd) {
                return true;
            }
        }
    }
    return false;
}

uint32_t hpxi_ring_inflight(const hpxi_ring *ring)
{
    return ring->inflight;
}

uint32_t hpxi_ring_slots_home(const hpxi_ring *ring)
{
    return ring->slots_home;
}

/* ---- Slots ----------------------------------------------------------------------------------- */

static bool ring_take_slot(hpxi_ring *ring, uint16_t *slot)
{
    if (ring->slot_posted == 0) {
        return false;
    }
    *slot = ring->slot_fifo[ring->slot_head];
    ring->slot_head = (ring->slot_head + 1) % ring->config.slot_count;
    ring->slot_posted--;
    HPX_ASSERT(ring->slot_out[*slot] == 0);
    return true;
}

static void ring_return_slot(hpxi_ring *ring, uint16_t slot)
{
    const uint32_t at = ring->slot_head + ring->slot_posted + ring->slot_returned;
    ring->slot_fifo[at % ring->config.slot_count] = slot;
    ring->slot_returned++;
}

void hpxi_ring_recycle(hpxi_ring *ring, const hpxi_completion *completion)
{
    if (completion->data == NULL) {
        return;
    }
    HPX_ASSERT(ring->slot_out[completion->slot] == 1); /* else: returned twice */
    ring->slot_out[completion->slot] = 0;
    ring->slots_home++;
    memset(completion->data, SIM_STALE_BYTE, (size_t)completion->result);
    ring_return_slot(ring, completion->slot);
}

void hpxi_ring_slots_flush(hpxi_ring *ring)
{
    ring->slot_posted += ring->slot_returned;
    ring->slot_returned = 0;
}

static uint8_t *ring_slot_data(const hpxi_ring *ring, uint16_t slot)
{
    return ring->slots + (size_t)slot * ring->config.slot_bytes;
}

/* ---- Completions ----------------------------------------------------------------------------- */

static bool ring_cq_is_full(const hpxi_ring *ring)
{
    return ring->full || ring->cq_count == ring->config.cq_entries || ring->overflow_count != 0;
}

static void ring_cq_push(hpxi_ring *ring, const sim_cqe *cqe)
{
    HPX_ASSERT(ring->cq_count < ring->config.cq_entries);
    ring->cq[(ring->cq_head + ring->cq_count) % ring->config.cq_entries] = *cqe;
    ring->cq_count++;
}

static void ring_post(hpxi_ring *ring, const sim_cqe *cqe)
{
    SIM->stats.completions++;
    if (!ring_cq_is_full(ring)) {
        ring_cq_push(ring, cqe);
        return;
    }
    SIM->stats.cq_overflows++;
    if (ring->overflow_count == ring->overflow_capacity) {
        ring->overflow_capacity = ring->overflow_capacity * 2 + 16;
        ring->overflow = realloc(ring->overflow, ring->overflow_capacity * sizeof(sim_cqe));
        HPX_ASSERT(ring->overflow != NULL);
    }
    ring->overflow[ring->overflow_count++] = *cqe;
}

/* The kernel, entered with room in the queue, moves over what had overflowed. */
static void ring_cq_refill(hpxi_ring *ring)
{
    uint32_t moved = 0;
    if (ring->overflow_count != 0) {
        hpxi_count(&ring->counters->cq_overflows, 1);
    }
    while (moved < ring->overflow_count && ring->cq_count < ring->config.cq_entries) {
        ring_cq_push(ring, &ring->overflow[moved++]);
    }
    ring->overflow_count -= moved;
    if (ring->overflow_count != 0) {
        memmove(ring->overflow, ring->overflow + moved, ring->overflow_count * sizeof(sim_cqe));
    }
}

static sim_cqe ring_cqe(hpxi_token token, int32_t result, bool more)
{
    return (sim_cqe){
        .completion = {
            .op = (hpxi_op)(token >> 56),
            .generation = (uint32_t)(token >> 32) & HPXI_GENERATION_MASK,
            .index = (uint32_t)token,
            .result = result,
            .more = more}};
}

static void ring_end_op(hpxi_ring *ring, sim_op *op)
{
    op->used = false;
    ring->ghosts[ring->ghost_next++ % SIM_GHOSTS_MAX] = op->token;
}

/* A completion without a slot. */
static void ring_complete(hpxi_ring *ring, sim_op *op, int32_t result, bool more)
{
    const sim_cqe cqe = ring_cqe(op->token, result, more);
    if (!more) {
        ring_end_op(ring, op);
    }
    ring_post(ring, &cqe);
}

bool hpxi_ring_next(hpxi_ring *ring, hpxi_completion *out)
{
    if (ring->cq_count == 0) {
        return false;
    }
    const sim_cqe cqe = ring->cq[ring->cq_head];
    ring->cq_head = (ring->cq_head + 1) % ring->config.cq_entries;
    ring->cq_count--;
    *out = cqe.completion;
    if (cqe.ghost) {
        SIM->stats.stale_taken++;
    } else if (!out->more) {
        HPX_ASSERT(ring->inflight != 0);
        ring->inflight--;
    }
    if (out->data != NULL) {
        HPX_ASSERT(ring->slot_out[out->slot] == 0);
        ring->slot_out[out->slot] = 1;
        ring->slots_home--;
    }
    static const char *const names[] = {
        "none", "accept", "connect", "recv", "send", "poll", "doorbell", "cancel"};
    hpxi_sim_log(
        (uint64_t)out->op << 56 | (uint64_t)out->index << 32 | (uint32_t)out->result,
        "cqe %s %u.%u result %d%s%s",
        names[out->op],
        out->index,
        out->generation,
        out->result,
        out->more ? " more" : "",
        cqe.ghost ? " (stale)" : "");
    return true;
}

/* ---- Preparing ------------------------------------------------------------------------------- */

static void ring_submit(hpxi_ring *ring);

/* One of the slot's earlier operations is heard of once more. */
static void ring_haunt(hpxi_ring *ring, hpxi_token token)
{
    for (uint32_t i = 0; i < SIM_GHOSTS_MAX; i++) {
        const hpxi_token ghost = ring->ghosts[i];
        const hpxi_op op = (hpxi_op)(ghost >> 56);
        if ((uint32_t)ghost != (uint32_t)token || (op != HPXI_OP_RECV && op != HPXI_OP_SEND) ||
            (uint32_t)(ghost >> 32 & HPXI_GENERATION_MASK) ==
                (uint32_t)(token >> 32 & HPXI_GENERATION_MASK)) {
            continue;
        }
        ring->ghosts[i] = 0;
        if (!hpxi_sim_fault_happens(HPXI_SIM_STALE)) {
            continue;
        }
        const bool bytes = op == HPXI_OP_RECV && hpxi_sim_below(&SIM->random, 2) == 0;
        sim_cqe cqe = ring_cqe(ghost, -ECONNRESET, false);
        uint16_t slot;
        if (bytes && ring_take_slot(ring, &slot)) {
            cqe.completion.result = 1;
            cqe.completion.slot = slot;
            cqe.completion.data = ring_slot_data(ring, slot);
            cqe.completion.data[0] = 0x81;
        }
        cqe.ghost = true;
        ring_post(ring, &cqe);
        return;
    }
}

static sim_op *ring_prepare(hpxi_ring *ring, hpxi_op kind, hpxi_token token, int fd)
{
    if (ring->prepared == ring->config.sq_entries) {
        ring_submit(ring);
    }
    uint32_t i = 0;
    while (i < ring->ops_high && ring->ops[i].used) {
        i++;
    }
    HPX_ASSERT(i < ring->config.ops_max); /* ops_max was too small */
    ring->ops_high = i < ring->ops_high ? ring->ops_high : i + 1;
    ring->ops[i] = (sim_op){.used = true, .op = kind, .fd = fd, .token = token};
    ring->inflight++;
    ring->prepared++;
    return &ring->ops[i];
}

void hpxi_ring_accept(hpxi_ring *ring, hpxi_token token, int fd)
{
    HPX_ASSERT(hpxi_sim_socket(fd)->kind == SIM_LISTENER);
    (void)ring_prepare(ring, HPXI_OP_ACCEPT, token, fd);
}

void hpxi_ring_connect(hpxi_ring *ring, hpxi_token token, int fd, const hpxi_address *address)
{
    HPX_ASSERT(hpxi_sim_socket(fd)->kind == SIM_STREAM && address->size != 0);
    ring_prepare(ring, HPXI_OP_CONNECT, token, fd)->address = *address;
    ring_haunt(ring, token);
}

void hpxi_ring_recv(hpxi_ring *ring, hpxi_token token, int fd)
{
    HPX_ASSERT(hpxi_sim_socket(fd)->kind == SIM_STREAM);
    (void)ring_prepare(ring, HPXI_OP_RECV, token, fd);
    ring_haunt(ring, token);
}

void hpxi_ring_send(hpxi_ring *ring, hpxi_token token, int fd, const void *data, uint32_t size)
{
    HPX_ASSERT(hpxi_sim_socket(fd)->kind == SIM_STREAM && size != 0);
    sim_op *op = ring_prepare(ring, HPXI_OP_SEND, token, fd);
    op->data = (uint8_t *)(uintptr_t)data; /* read only */
    op->size = size;
}

void hpxi_ring_poll(hpxi_ring *ring, hpxi_token token, int fd, uint32_t events)
{
    HPX_ASSERT(hpxi_sim_socket(fd)->kind == SIM_BELL && events != 0);
    (void)ring_prepare(ring, (hpxi_op)(token >> 56), token, fd);
}

void hpxi_ring_cancel(hpxi_ring *ring, hpxi_token target)
{
    HPX_ASSERT(target >> 56 != HPXI_OP_CANCEL);
    (void)ring_prepare(ring, HPXI_OP_CANCEL, target, -1);
}

/* ---- Operations ------------------------------------------------------------------------------ */

static bool op_is_possible(const sim_op *op)
{
    const sim_socket *socket = hpxi_sim_socket(op->fd);
    switch (op->op) {
    case HPXI_OP_ACCEPT:
        return socket->queue_count != 0;
    case HPXI_OP_CONNECT:
        return socket->state != SIM_CONNECTING;
    case HPXI_OP_RECV:
        return hpxi_sim_may_read(socket);
    case HPXI_OP_SEND:
        return hpxi_sim_may_write(socket);
    case HPXI_OP_POLL:
    case HPXI_OP_DOORBELL:
        return socket->edges != op->edges;
    case HPXI_OP_CANCEL:
    case HPXI_OP_NONE:
        break;
    }
    HPX_ASSERT(false);
    return false;
}

/* Can it go on now? Decides, once, whether it is late. */
static bool op_is_due(sim_op *op)
{
    if (!op->used || !op->started || !op_is_possible(op)) {
        return false;
    }
    if (!op->ready) {
        op->ready = true;
        op->due_ns = SIM->now_ns;
        if (hpxi_sim_fault_happens(HPXI_SIM_LATE)) {
            op->due_ns += hpxi_sim_below(&SIM->random, SIM->config.late_ns);
        }
    }
    return op->due_ns <= SIM->now_ns;
}

/* One completion of a receive. False when it ended. */
static bool op_recv_once(hpxi_ring *ring, sim_op *op, sim_socket *socket)
{
    uint16_t slot;
    const bool refused = hpxi_sim_fault_happens(HPXI_SIM_NO_BUFFERS);
    if (socket->in_size != 0 && (refused || !ring_take_slot(ring, &slot))) {
        SIM->stats.no_buffers++;
        ring_complete(ring, op, -ENOBUFS, false);
        return false;
    }
    if (socket->in_size == 0) {
        ring_complete(ring, op, hpxi_sim_read(socket, NULL, 0), false); /* the end, or an error */
        return false;
    }
    uint8_t *data = ring_slot_data(ring, slot);
    const int got = hpxi_sim_read(socket, data, ring->config.slot_bytes);
    HPX_ASSERT(got > 0);
    /* A queue that is full ends a multishot operation, as in the kernel. */
    const bool ends = ring_cq_is_full(ring) || hpxi_sim_fault_happens(HPXI_SIM_RECV_ENDS);
    sim_cqe cqe = ring_cqe(op->token, got, !ends);
    cqe.completion.slot = slot;
    cqe.completion.data = data;
    if (ends) {
        ring_end_op(ring, op);
    }
    ring_post(ring, &cqe);
    return !ends;
}

static void op_recv(hpxi_ring *ring, sim_op *op)
{
    sim_socket *socket = hpxi_sim_socket(op->fd);
    uint64_t burst = hpxi_sim_between(&SIM->random, 1, SIM_RECV_BURST);
    while (burst-- != 0 && hpxi_sim_may_read(socket) && op_recv_once(ring, op, socket)) {
    }
}

static void op_send(hpxi_ring *ring, sim_op *op)
{
    const int sent =
        hpxi_sim_write(hpxi_sim_socket(op->fd), op->data + op->done, op->size - op->done);
    HPX_ASSERT(sent != -EAGAIN);
    if (sent < 0) {
        ring_complete(ring, op, op->done != 0 ? (int32_t)op->done : sent, false);
        return;
    }
    op->done += (uint32_t)sent;
    /* MSG_WAITALL waits for the rest, but is no promise. */
    if (op->done == op->size || hpxi_sim_fault_happens(HPXI_SIM_SHORT_SEND)) {
        ring_complete(ring, op, (int32_t)op->done, false);
    }
}

static void op_accept(hpxi_ring *ring, sim_op *op)
{
    static const int failures[] = {-EMFILE, -ENFILE, -ECONNABORTED};
    if (hpxi_sim_fault_happens(HPXI_SIM_ACCEPT_FAILS)) {
        ring_complete(ring, op, failures[hpxi_sim_below(&SIM->random, 3)], false);
        return;
    }
    const int fd = hpxi_sim_accept(hpxi_sim_socket(op->fd));
    const bool ends = ring_cq_is_full(ring) || hpxi_sim_fault_happens(HPXI_SIM_ACCEPT_ENDS);
    ring_complete(ring, op, fd, !ends);
}

static void op_run(hpxi_ring *ring, sim_op *op)
{
    op->ready = false; /* the next completion may be late again */
    switch (op->op) {
    case HPXI_OP_ACCEPT:
        op_accept(ring, op);
        return;
    case HPXI_OP_CONNECT:
        ring_complete(ring, op, hpxi_sim_socket(op->fd)->connect_result, false);
        return;
    case HPXI_OP_RECV:
        op_recv(ring, op);
        return;
    case HPXI_OP_SEND:
        op_send(ring, op);
        return;
    case HPXI_OP_POLL:
    case HPXI_OP_DOORBELL:
        op->edges = hpxi_sim_socket(op->fd)->edges;
        ring_complete(ring, op, 1 /* POLLIN */, !ring_cq_is_full(ring));
        return;
    case HPXI_OP_CANCEL:
    case HPXI_OP_NONE:
        break;
    }
    HPX_ASSERT(false);
}

/* ---- Submitting ------------------------------------------------------------------------------ */

/* Ends the target one way or the other. Returns whether it was cancelled. */
static bool ring_cancel_target(hpxi_ring *ring, sim_op *target)
{
    const bool possible = target->op != HPXI_OP_CONNECT && op_is_possible(target);
    if (possible && hpxi_sim_fault_happens(HPXI_SIM_CANCEL_LOSES)) {
        op_run(ring, target); /* a multishot one goes on: it has to be cancelled again */
        return false;
    }
    ring_complete(ring, target, target->done != 0 ? (int32_t)target->done : -ECANCELED, false);
    return true;
}

static void ring_cancel_now(hpxi_ring *ring, sim_op *cancel)
{
    const hpxi_token token = cancel->token;
    const bool told_first = hpxi_sim_below(&SIM->random, 2) == 0;
    sim_cqe cqe = ring_cqe(
        hpxi_token_make(HPXI_OP_CANCEL, (uint32_t)(token >> 32), (uint32_t)token), 0, false);
    cancel->used = false;
    sim_op *target = NULL;
    for (uint32_t i = 0; i < ring->ops_high && target == NULL; i++) {
        sim_op *op = &ring->ops[i];
        target =
            op->used && op->started && op->op != HPXI_OP_CANCEL && op->token == token ? op : NULL;
    }
    if (target != NULL && hpxi_sim_fault_happens(HPXI_SIM_CANCEL_MISSES)) {
        cqe.completion.result = hpxi_sim_below(&SIM->random, 2) == 0 ? -EALREADY : 0;
        target = NULL;
    }
    if (told_first) { /* whether it found one is not known to this completion's reader in time */
        cqe.completion.result = target != NULL ? 1 : cqe.completion.result;
        ring_post(ring, &cqe);
    }
    const bool cancelled = target != NULL && ring_cancel_target(ring, target);
    if (!told_first) {
        cqe.completion.result = cancelled ? 1 : cqe.completion.result;
        ring_post(ring, &cqe);
    }
}

static void ring_start(hpxi_ring *ring, sim_op *op)
{
    op->started = true;
    ring->idle = UINT64_MAX;
    if (op->op == HPXI_OP_CANCEL) {
        ring_cancel_now(ring, op);
        return;
    }
    sim_socket *socket = hpxi_sim_socket(op->fd);
    if (op->op == HPXI_OP_CONNECT) {
        hpxi_sim_connect(socket, &op->address);
    } else if (socket->kind == SIM_BELL) {
        op->edges = socket->rings != 0 ? socket->edges - 1 : socket->edges;
    }
}

/* In the order of preparation: a cancel never overtakes its target. Operations keep their place in
 * the table, so that the order has to be found; few are prepared at a time. */
static void ring_submit(hpxi_ring *ring)
{
    if (ring->prepared == 0) {
        return;
    }
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < ring->ops_high; i++) {
            sim_op *op = &ring->ops[i];
            if (op->used && !op->started && (op->op == HPXI_OP_CANCEL) == (pass == 1)) {
                ring_start(ring, op);
            }
        }
    }
    ring->prepared = 0;
}

/* ---- Turns ----------------------------------------------------------------------------------- */

static void ring_shuffle(hpxi_ring *ring, uint32_t count)
{
    for (uint32_t i = count; i > 1; i--) {
        const uint32_t other = (uint32_t)hpxi_sim_below(&SIM->random, i);
        const uint32_t kept = ring->order[i - 1];
        ring->order[i - 1] = ring->order[other];
        ring->order[other] = kept;
    }
}

/* Operations that can complete now, in `order`. */
static uint32_t ring_find_due(hpxi_ring *ring)
{
    uint32_t count = 0;
    bool late = false;
    if (ring->idle == SIM->changes) {
        return 0;
    }
    for (uint32_t i = 0; i < ring->ops_high; i++) {
        sim_op *op = &ring->ops[i];
        if (op_is_due(op)) {
            ring->order[count++] = i;
        } else {
            late = late || (op->used && op->ready);
        }
    }
    ring->idle = count == 0 && !late ? SIM->changes : UINT64_MAX;
    return count;
}

static void ring_run(hpxi_ring *ring)
{
    ring_cq_refill(ring);
    const uint32_t count = ring_find_due(ring);
    ring_shuffle(ring, count);
    ring->full = count != 0 && hpxi_sim_fault_happens(HPXI_SIM_CQ_FULL);
    for (uint32_t i = 0; i < count; i++) {
        sim_op *op = &ring->ops[ring->order[i]];
        if (op_is_due(op)) { /* the one before may have read the same stream */
            op_run(ring, op);
        }
    }
    ring->full = false;
}

static void ring_take_time(uint64_t ns)
{
    const uint64_t next = hpxi_sim_next_event_ns();
    const uint64_t until = SIM->now_ns + ns;
    if (next > SIM->now_ns) {
        hpxi_sim_pass(next < until ? next : until);
    }
}

/* Turn after turn at one moment: something spins. That takes time, or is a mistake. */
static void ring_spin(void)
{
    SIM->turns_here++;
    if (SIM->config.turn_ns != 0 && hpxi_sim_below(&SIM->random, 4) == 0) {
        ring_take_time(hpxi_sim_below(&SIM->random, SIM->config.turn_ns));
    }
    if (SIM->config.spin_ns == 0) {
        HPX_ASSERT(SIM->turns_here < SIM_TURNS_MAX); /* spins, and was to sleep */
        return;
    }
    if (SIM->turns_here >= SIM_TURNS_SPUN) {
        ring_take_time(SIM->config.spin_ns);
    }
}

static int ring_turn(hpxi_ring *ring)
{
    hpxi_sim_run_due();
    hpxi_ring_slots_flush(ring);
    ring_submit(ring);
    ring_run(ring);
    return (int)ring->cq_count;
}

int hpxi_ring_turn(hpxi_ring *ring)
{
    ring_spin();
    return ring_turn(ring);
}

/* When an operation that is possible, but late, is due. */
static uint64_t ring_next_due_ns(const hpxi_ring *ring)
{
    uint64_t next = UINT64_MAX;
    for (uint32_t i = 0; i < ring->ops_high; i++) {
        const sim_op *op = &ring->ops[i];
        if (op->used && op->started && op->ready && op->due_ns > SIM->now_ns && op->due_ns < next) {
            next = op->due_ns;
        }
    }
    return next;
}

bool hpxi_ring_has_work(const hpxi_ring *ring)
{
    if (ring->cq_count != 0 || ring->overflow_count != 0) {
        return true;
    }
    /* What it finds is only looked at: `order` is scratch. */
    return ring_find_due((hpxi_ring *)(uintptr_t)ring) != 0;
}

int hpxi_ring_wait(hpxi_ring *ring, uint64_t timeout_ns)
{
    const uint64_t left = UINT64_MAX - SIM->now_ns;
    const uint64_t until = SIM->now_ns + (timeout_ns < left ? timeout_ns : left);
    hpxi_count(&ring->counters->sleeps, 1);
    if (hpxi_sim_fault_happens(HPXI_SIM_WAKE_EARLY)) {
        return ring_turn(ring);
    }
    for (;;) {
        const int ready = ring_turn(ring);
        if (ring->overflow_count != 0 && ready == 0) {
            continue; /* the next look moves them over */
        }
        if (ready != 0 || SIM->now_ns == until) {
            return ready;
        }
        const uint64_t due = ring_next_due_ns(ring);
        const uint64_t event = hpxi_sim_next_event_ns();
        uint64_t next = due < event ? due : event;
        next = next < until ? next : until;
        HPX_ASSERT(next != UINT64_MAX); /* asleep for ever */
        hpxi_sim_pass(next);
    }
}

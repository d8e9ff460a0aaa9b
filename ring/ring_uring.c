/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_uring.c - ring.h on io_uring.
 *
 * Role      Owns the two queues, the provided-buffer ring and its slots. A slot is the kernel's or
 *           the application's, never both: taken by hpxi_ring_next(), given back once.
 * Threads   The thread that made the ring (IORING_SETUP_SINGLE_ISSUER): only it may enter, and with
 *           IORING_SETUP_DEFER_TASKRUN completions appear only while it is in the kernel.
 * Memory    Everything is allocated by hpxi_ring_new(). Preparations that find the submission queue
 *           full wait in a backlog of ops_max entries, in order.
 *
 * Both queues are worked on with local indices: the head of the completion queue is published when
 * a batch is used up and before every enter, the tail of the buffer ring once per turn.
 */
#include "ring/ring.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#include "ring/alloc.h"
#include "ring/uring_setup.h"

#ifndef IORING_ENTER_NO_IOWAIT /* Linux 6.15, liburing 2.10 */
#define IORING_ENTER_NO_IOWAIT (1U << 7)
#endif

#define RING_SLOT_GROUP    0
#define RING_SLOT_ALIGN    4096u
#define RING_SLOTS_MAX     32768u
#define RING_SECONDS_MAX   (UINT64_C(1) << 30) /* a longer sleep is for ever */
#define RING_FREE_SLICE_NS (10 * HPX_NS_PER_MS)

#define RING_KERNEL_WORK (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)

enum { RING_SLOT_KERNEL = 0, RING_SLOT_APP = 1 };

struct hpxi_ring {
    /* Taking completions. */
    struct io_uring_cqe *cqes;
    uint32_t cq_mask;
    uint32_t cq_head; /* next to take */
    uint32_t cq_seen; /* tail when last read: cq_head..cq_seen may be taken without looking */
    uint32_t inflight;
    uint32_t slots_home; /* slots not held by the application */

    /* Slots. */
    uint8_t *slots;
    uint8_t *slot_owner; /* RING_SLOT_*, one for each */
    struct io_uring_buf_ring *slot_ring;
    uint32_t slot_bytes;
    uint32_t slot_count;
    uint16_t slot_tail;   /* where the next slot goes back */
    uint16_t slot_posted; /* what the kernel knows of slot_tail */

    /* Entering. */
    int enter_fd;
    uint32_t enter_flags;
    hpxi_counters *counters;

    /* Preparations that did not fit: a FIFO in an array. */
    struct io_uring_sqe *backlog;
    uint32_t backlog_max;
    uint32_t backlog_head;
    uint32_t backlog_count;

    struct io_uring uring;
    const hpx_allocator *allocator;
    pthread_t owner;
    bool uring_open;
    bool slots_registered;
};

static bool ring_power_of_two(uint32_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static uint64_t ring_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * HPX_NS_PER_S + (uint64_t)now.tv_nsec;
}

static size_t ring_slots_size(const hpxi_ring *ring)
{
    return (size_t)ring->slot_bytes * ring->slot_count;
}

static size_t ring_slot_ring_size(const hpxi_ring *ring)
{
    return (size_t)ring->slot_count * sizeof(struct io_uring_buf);
}

/* Puts the slot at the local tail of the buffer ring. */
static void ring_slot_add(hpxi_ring *ring, uint32_t slot)
{
    HPX_DASSERT(slot < ring->slot_count);
    HPX_DASSERT((uint16_t)(ring->slot_tail - ring->slot_posted) < ring->slot_count);
    struct io_uring_buf *entry = &ring->slot_ring->bufs[ring->slot_tail & (ring->slot_count - 1)];
    /* Not a struct assignment: the ring's own tail lies in the first entry's reserved member. */
    entry->addr = (uint64_t)(uintptr_t)(ring->slots + (size_t)slot * ring->slot_bytes);
    entry->len = ring->slot_bytes;
    entry->bid = (uint16_t)slot;
    ring->slot_tail++;
}

static bool ring_allocate(hpxi_ring *ring, const hpxi_ring_config *config)
{
    ring->slot_bytes = config->slot_bytes;
    ring->slot_count = config->slot_count;
    ring->backlog_max = config->ops_max;
    /* Zeroing touches every page on the thread, and so on the memory node, that will use it. */
    ring->slots = hpxi_alloc_zero(ring->allocator, ring_slots_size(ring), RING_SLOT_ALIGN);
    ring->slot_owner = hpxi_alloc_zero(ring->allocator, ring->slot_count, sizeof(uint64_t));
    ring->slot_ring = hpxi_alloc_zero(ring->allocator, ring_slot_ring_size(ring), RING_SLOT_ALIGN);
    ring->backlog = hpxi_alloc_zero(
        ring->allocator, (size_t)ring->backlog_max * sizeof(struct io_uring_sqe), 64);
    return ring->slots != NULL && ring->slot_owner != NULL && ring->slot_ring != NULL &&
           ring->backlog != NULL;
}

static hpx_status ring_register_slots(hpxi_ring *ring, hpx_error *error)
{
    HPX_ASSERT(ring->uring_open && !ring->slots_registered);
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)ring->slot_ring,
        .ring_entries = ring->slot_count,
        .bgid = RING_SLOT_GROUP,
    };
    const int result = io_uring_register_buf_ring(&ring->uring, &registration, 0);
    if (result < 0) {
        return hpxi_uring_explain(result, "provided buffer ring", error);
    }
    ring->slots_registered = true;
    io_uring_buf_ring_init(ring->slot_ring);
    for (uint32_t slot = 0; slot < ring->slot_count; slot++) {
        ring_slot_add(ring, slot);
    }
    ring->slots_home = ring->slot_count;
    hpxi_ring_slots_flush(ring);
    return HPX_OK;
}

static hpx_status ring_open(hpxi_ring *ring, const hpxi_ring_config *config, hpx_error *error)
{
    hpxi_uring_facts facts;
    hpx_status status =
        hpxi_uring_open(&ring->uring, config->sq_entries, config->cq_entries, &facts, error);
    if (status != HPX_OK) {
        return status;
    }
    ring->uring_open = true;
    status = ring_register_slots(ring, error);
    if (status != HPX_OK) {
        return status;
    }
    int result = io_uring_ring_dontfork(&ring->uring);
    if (result < 0) {
        return hpxi_uring_explain(result, "io_uring_ring_dontfork", error);
    }
    /* Worth 50 ns for each enter; a kernel that has no room for one more does not lack anything
     * else. */
    result = io_uring_register_ring_fd(&ring->uring);
    ring->enter_fd = result == 1 ? ring->uring.enter_ring_fd : ring->uring.ring_fd;
    ring->enter_flags = result == 1 ? IORING_ENTER_REGISTERED_RING : 0;
    ring->enter_flags |= facts.no_iowait ? IORING_ENTER_NO_IOWAIT : 0;
    ring->cqes = ring->uring.cq.cqes;
    ring->cq_mask = ring->uring.cq.ring_mask;
    ring->cq_head = *ring->uring.cq.khead; /* the trial in hpxi_uring_open() used some */
    ring->cq_seen = ring->cq_head;
    return HPX_OK;
}

/* Frees what there is. With `leak`, not what the kernel may still write to. */
static void ring_destroy(hpxi_ring *ring, bool leak)
{
    if (ring->slots_registered) {
        io_uring_unregister_buf_ring(&ring->uring, RING_SLOT_GROUP);
    }
    if (ring->uring_open) {
        io_uring_queue_exit(&ring->uring);
    }
    if (!leak) {
        hpxi_free(ring->allocator, ring->slots, ring_slots_size(ring));
        hpxi_free(ring->allocator, ring->slot_ring, ring_slot_ring_size(ring));
    }
    hpxi_free(ring->allocator, ring->slot_owner, ring->slot_count);
    hpxi_free(
        ring->allocator, ring->backlog, (size_t)ring->backlog_max * sizeof(struct io_uring_sqe));
    hpxi_free(ring->allocator, ring, sizeof(*ring));
}

static bool ring_config_is_valid(const hpxi_ring_config *config)
{
    return ring_power_of_two(config->sq_entries) && ring_power_of_two(config->cq_entries) &&
           config->cq_entries >= config->sq_entries && ring_power_of_two(config->slot_count) &&
           config->slot_count <= RING_SLOTS_MAX && ring_power_of_two(config->slot_bytes) &&
           config->slot_bytes <= INT32_MAX && config->ops_max != 0;
}

static hpx_status ring_no_memory(hpx_error *error)
{
    *error = (hpx_error){.status = HPX_E_NO_MEMORY, .stage = HPX_STAGE_CONFIG};
    strcpy(error->detail, "ring: the allocator has no memory for slots and queues");
    return error->status;
}

hpx_status hpxi_ring_new(
    hpxi_ring **out,
    const hpxi_ring_config *config,
    hpxi_counters *counters,
    const hpx_allocator *allocator,
    hpx_error *error)
{
    HPX_ASSERT(out != NULL && config != NULL && counters != NULL);
    HPX_ASSERT(allocator != NULL && error != NULL);
    *out = NULL;
    *error = (hpx_error){.stage = HPX_STAGE_CONFIG};
    if (!ring_config_is_valid(config)) {
        error->status = HPX_E_INVALID;
        strcpy(error->detail, "ring: sizes must be powers of two, cq_entries >= sq_entries");
        return error->status;
    }
    hpxi_ring *ring = hpxi_alloc_zero(allocator, sizeof(*ring), 64);
    if (ring == NULL) {
        return ring_no_memory(error);
    }
    ring->counters = counters;
    ring->allocator = allocator;
    ring->owner = pthread_self();
    const hpx_status status =
        ring_allocate(ring, config) ? ring_open(ring, config, error) : ring_no_memory(error);
    if (status != HPX_OK) {
        HPX_ASSERT(error->status == status);
        ring_destroy(ring, false);
        return status;
    }
    *out = ring;
    return HPX_OK;
}

uint32_t hpxi_ring_inflight(const hpxi_ring *ring)
{
    return ring->inflight;
}

uint32_t hpxi_ring_slots_home(const hpxi_ring *ring)
{
    return ring->slots_home;
}

/* ---- entering ---- */

static uint32_t ring_cq_tail(const hpxi_ring *ring)
{
    return io_uring_smp_load_acquire(ring->uring.cq.ktail);
}

static int ring_ready(const hpxi_ring *ring)
{
    const uint32_t ready = ring_cq_tail(ring) - ring->cq_head;
    HPX_DASSERT(ready <= ring->cq_mask + 1);
    return (int)ready;
}

/* Entries in the submission queue that the kernel has not taken. */
static uint32_t ring_sq_pending(const hpxi_ring *ring)
{
    return ring->uring.sq.sqe_tail - *ring->uring.sq.khead;
}

/* The one place that enters the kernel. Returns entries taken, or -errno. */
static int ring_enter(
    hpxi_ring *ring, uint32_t submit, uint32_t wait, uint32_t flags, void *argument, size_t size)
{
    HPX_DASSERT(pthread_equal(ring->owner, pthread_self()));
    struct io_uring_sq *sq = &ring->uring.sq;
    /* No release needed: without SQPOLL the kernel reads the queue only during this call. */
    sq->sqe_head = sq->sqe_tail;
    *sq->ktail = sq->sqe_tail;
    io_uring_smp_store_release(ring->uring.cq.khead, ring->cq_head);
    hpxi_count(&ring->counters->enters, 1);
    return io_uring_enter2(
        (unsigned)ring->enter_fd, submit, wait, flags | ring->enter_flags, argument, size);
}

static void ring_backlog_drain(hpxi_ring *ring)
{
    HPX_DASSERT(ring->backlog_count <= ring->backlog_max);
    while (ring->backlog_count != 0) {
        struct io_uring_sqe *sqe = io_uring_get_sqe(&ring->uring);
        if (sqe == NULL) {
            return;
        }
        *sqe = ring->backlog[ring->backlog_head];
        ring->backlog_head = (ring->backlog_head + 1) % ring->backlog_max;
        ring->backlog_count--;
    }
}

/* Not now: nothing was lost, and the next turn may succeed. */
static bool ring_is_refusal(int result)
{
    return result == -EINTR || result == -EAGAIN || result == -EBUSY;
}

/* The kernel would not take everything (no memory, completions piled up): run what is done, so
 * that the next turn may succeed. The entries stay where they are. */
static int ring_reap_only(hpxi_ring *ring)
{
    const int result = ring_enter(ring, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
    return ring_is_refusal(result) ? 0 : result;
}

/* Submits everything and runs completions. Returns >= 0, or -errno. */
static int ring_run(hpxi_ring *ring)
{
    for (;;) {
        ring_backlog_drain(ring);
        const uint32_t pending = ring_sq_pending(ring);
        const int taken = ring_enter(ring, pending, 0, IORING_ENTER_GETEVENTS, NULL, 0);
        if (ring_is_refusal(taken) || (taken >= 0 && (uint32_t)taken < pending)) {
            return ring_reap_only(ring);
        }
        if (taken < 0 || ring->backlog_count == 0) {
            return taken;
        }
    }
}

int hpxi_ring_turn(hpxi_ring *ring)
{
    HPX_DASSERT(ring->slots_home <= ring->slot_count);
    hpxi_ring_slots_flush(ring);
    const uint32_t kflags = IO_URING_READ_ONCE(*ring->uring.sq.kflags);
    const bool pending = ring_sq_pending(ring) != 0 || ring->backlog_count != 0;
    if (!pending && (kflags & RING_KERNEL_WORK) == 0) {
        return ring_ready(ring);
    }
    if (HPXI_UNLIKELY(kflags & IORING_SQ_CQ_OVERFLOW)) {
        hpxi_count(&ring->counters->cq_overflows, 1);
    }
    const int result = ring_run(ring);
    return result < 0 ? result : ring_ready(ring);
}

bool hpxi_ring_has_work(const hpxi_ring *ring)
{
    return ring_cq_tail(ring) != ring->cq_head ||
           (IO_URING_READ_ONCE(*ring->uring.sq.kflags) & RING_KERNEL_WORK) != 0;
}

int hpxi_ring_wait(hpxi_ring *ring, uint64_t timeout_ns)
{
    if (timeout_ns == 0 || ring->backlog_count != 0 || hpxi_ring_has_work(ring)) {
        return hpxi_ring_turn(ring);
    }
    HPX_DASSERT(timeout_ns != 0);
    hpxi_ring_slots_flush(ring);
    struct __kernel_timespec timeout = {
        .tv_sec = (int64_t)(timeout_ns / HPX_NS_PER_S),
        .tv_nsec = (int64_t)(timeout_ns % HPX_NS_PER_S),
    };
    struct io_uring_getevents_arg argument = {0};
    if (timeout_ns / HPX_NS_PER_S < RING_SECONDS_MAX) {
        argument.ts = (uint64_t)(uintptr_t)&timeout;
    }
    const uint32_t pending = ring_sq_pending(ring);
    const uint32_t flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
    const int taken = ring_enter(ring, pending, 1, flags, &argument, sizeof(argument));
    hpxi_count(&ring->counters->sleeps, 1);
    if (ring_is_refusal(taken) || (taken >= 0 && (uint32_t)taken < pending)) {
        return hpxi_ring_turn(ring);
    }
    if (taken < 0 && taken != -ETIME) {
        return taken;
    }
    return ring_ready(ring);
}

/* ---- preparing ---- */

static struct io_uring_sqe *ring_backlog_push(hpxi_ring *ring)
{
    HPX_ASSERT(ring->backlog_count < ring->backlog_max); /* ops_max was too small */
    const uint32_t at = (ring->backlog_head + ring->backlog_count) % ring->backlog_max;
    ring->backlog_count++;
    memset(&ring->backlog[at], 0, sizeof(ring->backlog[at]));
    return &ring->backlog[at];
}

/* An entry to fill in. Once something waits in the backlog, all that follows has to queue there:
 * a cancel must not overtake its target. */
static struct io_uring_sqe *ring_sqe(hpxi_ring *ring)
{
    ring->inflight++;
    struct io_uring_sqe *sqe = NULL;
    if (ring->backlog_count == 0) {
        sqe = io_uring_get_sqe(&ring->uring);
        if (HPXI_UNLIKELY(sqe == NULL)) {
            ring_enter(ring, ring_sq_pending(ring), 0, 0, NULL, 0);
            sqe = io_uring_get_sqe(&ring->uring);
        }
    }
    return HPXI_LIKELY(sqe != NULL) ? sqe : ring_backlog_push(ring);
}

void hpxi_ring_accept(hpxi_ring *ring, hpxi_token token, int fd)
{
    HPX_ASSERT(fd >= 0);
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    sqe->user_data = token;
}

void hpxi_ring_connect(hpxi_ring *ring, hpxi_token token, int fd, const hpxi_address *address)
{
    HPX_ASSERT(fd >= 0 && address->size != 0);
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_connect(sqe, fd, &address->u.any, address->size);
    sqe->user_data = token;
}

void hpxi_ring_recv(hpxi_ring *ring, hpxi_token token, int fd)
{
    HPX_ASSERT(fd >= 0);
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = RING_SLOT_GROUP;
    sqe->user_data = token;
}

void hpxi_ring_send(hpxi_ring *ring, hpxi_token token, int fd, const void *data, uint32_t size)
{
    HPX_ASSERT(fd >= 0 && data != NULL);
    HPX_ASSERT(size != 0 && size <= INT32_MAX);
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_send(sqe, fd, data, size, MSG_WAITALL | MSG_NOSIGNAL);
    sqe->user_data = token;
}

void hpxi_ring_poll(hpxi_ring *ring, hpxi_token token, int fd, uint32_t events)
{
    HPX_ASSERT(fd >= 0 && events != 0);
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_poll_multishot(sqe, fd, events);
    sqe->user_data = token;
}

void hpxi_ring_cancel(hpxi_ring *ring, hpxi_token target)
{
    HPX_DASSERT(target >> 56 != HPXI_OP_CANCEL);
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_cancel64(sqe, target, IORING_ASYNC_CANCEL_ALL);
    sqe->user_data = hpxi_token_make(HPXI_OP_CANCEL, (uint32_t)(target >> 32), (uint32_t)target);
}

/* ---- completions and slots ---- */

/* Gives a used-up batch back to the kernel and looks for the next. */
static bool ring_refill(hpxi_ring *ring)
{
    io_uring_smp_store_release(ring->uring.cq.khead, ring->cq_head);
    ring->cq_seen = ring_cq_tail(ring);
    return ring->cq_seen != ring->cq_head;
}

static void ring_slot_return(hpxi_ring *ring, uint32_t slot)
{
    HPX_ASSERT(slot < ring->slot_count);
    HPX_DASSERT(ring->slots_home < ring->slot_count);
    HPX_ASSERT(ring->slot_owner[slot] == RING_SLOT_APP); /* else: returned twice */
    ring->slot_owner[slot] = RING_SLOT_KERNEL;
    ring->slots_home++;
    ring_slot_add(ring, slot);
}

static void ring_slot_take(hpxi_ring *ring, hpxi_completion *out, uint32_t slot)
{
    HPX_ASSERT(slot < ring->slot_count);
    HPX_DASSERT(ring->slot_owner[slot] == RING_SLOT_KERNEL); /* else: given out twice */
    HPX_DASSERT(out->op == HPXI_OP_RECV);
    ring->slot_owner[slot] = RING_SLOT_APP;
    ring->slots_home--;
    if (HPXI_UNLIKELY(out->result <= 0)) {
        ring_slot_return(ring, slot); /* picked, but nothing was received into it */
        return;
    }
    out->slot = (uint16_t)slot;
    out->data = ring->slots + (size_t)slot * ring->slot_bytes;
}

bool hpxi_ring_next(hpxi_ring *ring, hpxi_completion *out)
{
    if (HPXI_UNLIKELY(ring->cq_head == ring->cq_seen) && !ring_refill(ring)) {
        return false;
    }
    const struct io_uring_cqe *cqe = &ring->cqes[ring->cq_head & ring->cq_mask];
    const hpxi_token token = cqe->user_data;
    const uint32_t flags = cqe->flags;
    ring->cq_head++;
    out->op = (hpxi_op)(token >> 56);
    out->generation = (uint32_t)(token >> 32) & HPXI_GENERATION_MASK;
    out->index = (uint32_t)token;
    out->result = cqe->res;
    out->more = (flags & IORING_CQE_F_MORE) != 0;
    out->slot = 0;
    out->data = NULL;
    HPX_DASSERT(ring->inflight != 0);
    ring->inflight -= !out->more;
    if (HPXI_LIKELY(flags & IORING_CQE_F_BUFFER)) {
        ring_slot_take(ring, out, flags >> IORING_CQE_BUFFER_SHIFT);
    }
    return true;
}

void hpxi_ring_recycle(hpxi_ring *ring, const hpxi_completion *completion)
{
    if (completion->data == NULL) {
        return;
    }
    HPX_DASSERT(completion->data == ring->slots + (size_t)completion->slot * ring->slot_bytes);
    ring_slot_return(ring, completion->slot);
}

void hpxi_ring_slots_flush(hpxi_ring *ring)
{
    if (ring->slot_tail != ring->slot_posted) {
        ring->slot_posted = ring->slot_tail;
        /* Pairs with the kernel's acquire load of the tail: the entries come first. */
        io_uring_smp_store_release(&ring->slot_ring->tail, ring->slot_tail);
    }
}

/* ---- end ---- */

static void ring_drop_completions(hpxi_ring *ring)
{
    hpxi_completion completion;
    while (hpxi_ring_next(ring, &completion)) {
        if (completion.op == HPXI_OP_ACCEPT && completion.result >= 0) {
            hpxi_net_close(completion.result); /* nobody else knows of it */
        }
        hpxi_ring_recycle(ring, &completion);
    }
}

static void ring_cancel_all(hpxi_ring *ring)
{
    struct io_uring_sqe *sqe = ring_sqe(ring);
    io_uring_prep_cancel64(sqe, 0, IORING_ASYNC_CANCEL_ANY);
    sqe->user_data = hpxi_token_make(HPXI_OP_CANCEL, 0, 0);
}

void hpxi_ring_free(hpxi_ring *ring, uint64_t timeout_ns)
{
    if (ring == NULL) {
        return;
    }
    HPX_ASSERT(pthread_equal(ring->owner, pthread_self()));
    const uint64_t start_ns = ring_now_ns();
    ring_drop_completions(ring);
    while (ring->inflight != 0 && ring->backlog_count < ring->backlog_max) {
        /* Again each time round: an operation that was on its way to the kernel's poll table when
         * the last cancel looked for it is there by now. */
        ring_cancel_all(ring);
        int result = hpxi_ring_turn(ring);
        if (result == 0) {
            result = hpxi_ring_wait(ring, RING_FREE_SLICE_NS);
        }
        ring_drop_completions(ring);
        if (result < 0 || ring_now_ns() - start_ns >= timeout_ns) {
            break;
        }
    }
    ring_destroy(ring, ring->inflight != 0);
}

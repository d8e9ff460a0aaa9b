/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the kernel refusing, interrupting or half-doing an enter loses no operation and no order.
 * Method: the linker puts __wrap_io_uring_enter2() before the real one (--wrap); it plays a script
 * of results by the rules of io_uring_enter(2): what is refused is not taken, and when not all is
 * taken completions are not run either.
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/ring/ring_bed.h"
#include "tests/support/test.h"

#define TOKEN(op, index) hpxi_token_make(HPXI_OP_##op, 7, (index))

int __real_io_uring_enter2(
    unsigned int fd,
    unsigned int submit,
    unsigned int wait,
    unsigned int flags,
    void *argument,
    size_t size);
int __wrap_io_uring_enter2(
    unsigned int fd,
    unsigned int submit,
    unsigned int wait,
    unsigned int flags,
    void *argument,
    size_t size);

typedef struct fault {
    int refuse;     /* -errno to answer while submitting, 0 = do not */
    uint32_t times; /* for so many enters that submit */
    bool always;    /* also for enters that submit nothing */
    uint32_t part;  /* entries to let through first */
} fault;

static fault script;
static uint32_t refused;

int __wrap_io_uring_enter2(
    unsigned int fd,
    unsigned int submit,
    unsigned int wait,
    unsigned int flags,
    void *argument,
    size_t size)
{
    const bool hit = script.refuse != 0 && script.times != 0 && (submit != 0 || script.always);
    if (!hit) {
        return __real_io_uring_enter2(fd, submit, wait, flags, argument, size);
    }
    script.times--;
    refused++;
    if (script.part != 0 && submit > script.part) {
        const int taken = __real_io_uring_enter2(
            fd, script.part, 0, flags & ~(unsigned)IORING_ENTER_GETEVENTS, NULL, 0);
        assert_int_equal(taken, script.part);
        return taken;
    }
    return script.refuse;
}

static const hpxi_ring_config config_small = {
    .sq_entries = 8, .cq_entries = 512, .slot_bytes = 64, .slot_count = 8, .ops_max = 256};

/* Many more operations than the queue holds, while submission fails: they wait in the backlog. */
static void run_refused(fault with)
{
    enum { OPS = 150 };
    ring_bed bed;
    bool seen[OPS] = {false};
    script = (fault){0};
    ring_bed_init(&bed, &config_small);
    const int fd = eventfd(1, EFD_CLOEXEC);
    refused = 0;
    script = with;
    for (uint32_t i = 0; i < OPS; i++) {
        hpxi_ring_poll(bed.ring, TOKEN(POLL, i), fd, POLLIN);
    }
    assert_int_equal(hpxi_ring_inflight(bed.ring), OPS);
    for (uint32_t i = 0; i < OPS; i++) {
        const hpxi_completion got = ring_bed_take(&bed);
        assert_int_equal(got.op, HPXI_OP_POLL);
        assert_int_equal(got.result, POLLIN);
        assert_false(seen[got.index]);
        seen[got.index] = true;
    }
    assert_true(refused > 0);
    script = with;
    for (uint32_t i = 0; i < OPS; i++) {
        hpxi_ring_cancel(bed.ring, TOKEN(POLL, i));
    }
    ring_bed_drain(&bed);
    script = (fault){0};
    close(fd);
    ring_bed_fini(&bed);
}

static void test_submit_when_refused_then_nothing_is_lost(void **state)
{
    (void)state;
    static const int refusals[] = {-EAGAIN, -EBUSY, -EINTR};
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        run_refused((fault){.refuse = refusals[i], .times = 1});
        run_refused((fault){.refuse = refusals[i], .times = 7});
        run_refused((fault){.refuse = refusals[i], .times = 400});
        run_refused((fault){.refuse = refusals[i], .times = 7, .always = true});
    }
}

static void test_submit_when_taken_in_part_then_nothing_is_lost(void **state)
{
    (void)state;
    for (uint32_t part = 1; part < 8; part++) {
        run_refused((fault){.refuse = -EAGAIN, .times = 100, .part = part});
    }
}

/* Order survives the backlog: the kernel takes entries again between a cancel and its target, at
 * either of them, and the cancel still comes second. */
static void run_ordered(uint32_t refusals)
{
    ring_bed bed;
    script = (fault){0};
    ring_bed_init(&bed, &config_small);
    const int fd = eventfd(0, EFD_CLOEXEC);
    script = (fault){.refuse = -EBUSY, .times = refusals};
    for (uint32_t i = 0; i < 50; i++) {
        hpxi_ring_poll(bed.ring, TOKEN(POLL, i), fd, POLLIN);
        hpxi_ring_cancel(bed.ring, TOKEN(POLL, i));
    }
    uint32_t cancelled = 0, found = 0;
    while (hpxi_ring_inflight(bed.ring) != 0) { /* a cancel that ran ahead would hang this */
        const hpxi_completion got = ring_bed_take(&bed);
        cancelled += got.op == HPXI_OP_POLL && got.result == -ECANCELED;
        found += got.op == HPXI_OP_CANCEL && got.result == 1;
    }
    assert_int_equal(cancelled, 50);
    assert_int_equal(found, 50);
    close(fd);
    ring_bed_fini(&bed);
}

static void test_backlog_when_cancel_follows_target_then_order_is_kept(void **state)
{
    (void)state;
    for (uint32_t refusals = 1; refusals < 64; refusals++) {
        run_ordered(refusals);
    }
}

static void test_enter_when_it_fails_for_good_then_the_error_is_returned(void **state)
{
    (void)state;
    ring_bed bed;
    script = (fault){0};
    ring_bed_init(&bed, &config_small);
    const int fd = eventfd(0, EFD_CLOEXEC);
    hpxi_ring_poll(bed.ring, TOKEN(POLL, 1), fd, POLLIN);
    script = (fault){.refuse = -EBADR, .times = 2, .always = true};
    assert_int_equal(hpxi_ring_turn(bed.ring), -EBADR);
    assert_int_equal(hpxi_ring_wait(bed.ring, HPX_NS_PER_S), -EBADR);
    assert_int_equal(hpxi_ring_turn(bed.ring), 0);
    hpxi_ring_cancel(bed.ring, TOKEN(POLL, 1));
    ring_bed_drain(&bed);
    close(fd);
    ring_bed_fini(&bed);
}

static void free_unanswered(void *ctx)
{
    (void)ctx;
    ring_bed bed;
    int ends[2];
    script = (fault){0};
    ring_bed_init(&bed, &config_small);
    bed_pair(ends);
    hpxi_ring_recv(bed.ring, TOKEN(RECV, 1), ends[0]);
    hpxi_ring_turn(bed.ring);
    script = (fault){.refuse = -EBUSY, .times = UINT32_MAX, .always = true};
    hpxi_ring_free(bed.ring, 0);
    _exit((int)bed.fa.live);
}

/* The deadline passes with an operation the kernel does not give back: its memory is not freed. In
 * a child, because a leak is what is wanted. */
static void test_free_when_kernel_never_answers_then_slots_are_leaked(void **state)
{
    (void)state;
    const int status = bed_child(free_unanswered, NULL);
    assert_int_equal(status, 2 << 8); /* the slots and the buffer ring, and nothing else */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submit_when_refused_then_nothing_is_lost),
        cmocka_unit_test(test_submit_when_taken_in_part_then_nothing_is_lost),
        cmocka_unit_test(test_backlog_when_cancel_follows_target_then_order_is_kept),
        cmocka_unit_test(test_enter_when_it_fails_for_good_then_the_error_is_returned),
        cmocka_unit_test(test_free_when_kernel_never_answers_then_slots_are_leaked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

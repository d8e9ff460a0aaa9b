/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/ring/ring_bed.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/test.h"

#define BED_SECONDS_MAX 20
#define BED_PERIOD      1048583u

void ring_bed_init(ring_bed *bed, const hpxi_ring_config *config)
{
    *bed = (ring_bed){.fa = FAILING_ALLOCATOR_NEVER, .slot_count = config->slot_count};
    bed->allocator = fa_allocator(&bed->fa);
    hpx_error error;
    const hpx_status status =
        hpxi_ring_new(&bed->ring, config, &bed->counters, &bed->allocator, &error);
    if (status == HPX_E_URING_DISABLED || status == HPX_E_URING_BLOCKED) {
        fprintf(stderr, "skipped: %s\n", error.detail);
        exit(TEST_EXIT_SKIP); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
    if (status != HPX_OK) {
        fail_msg("hpxi_ring_new: %d: %s", status, error.detail);
    }
}

void ring_bed_fini(ring_bed *bed)
{
    assert_int_equal(hpxi_ring_inflight(bed->ring), 0);
    assert_int_equal(hpxi_ring_slots_home(bed->ring), bed->slot_count);
    hpxi_ring_free(bed->ring, HPX_NS_PER_S);
    assert_int_equal(bed->fa.live, 0);
    assert_int_equal(bed->fa.bytes, 0);
}

hpxi_completion ring_bed_take(ring_bed *bed)
{
    hpxi_completion completion;
    const time_t start = time(NULL);
    assert_true(hpxi_ring_turn(bed->ring) >= 0);
    while (!hpxi_ring_next(bed->ring, &completion)) {
        if (time(NULL) - start > BED_SECONDS_MAX) {
            fail_msg("no completion in %d s", BED_SECONDS_MAX);
        }
        assert_true(hpxi_ring_wait(bed->ring, HPX_NS_PER_S) >= 0);
    }
    return completion;
}

void ring_bed_drain(ring_bed *bed)
{
    while (hpxi_ring_inflight(bed->ring) != 0) {
        const hpxi_completion completion = ring_bed_take(bed);
        hpxi_ring_recycle(bed->ring, &completion);
    }
}

int bed_listen(hpxi_address *address, int backlog)
{
    assert_true(hpxi_address_parse(address, "127.0.0.1", 0));
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &address->u.any, address->size), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(hpxi_net_local(fd, address), 0);
    return fd;
}

void bed_pair(int ends[2])
{
    hpxi_address address;
    const int listener = bed_listen(&address, 1);
    ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(ends[0] >= 0);
    assert_int_equal(connect(ends[0], &address.u.any, address.size), 0);
    ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(ends[1] >= 0);
    close(listener);
}

void bed_write(int fd, const void *data, size_t size)
{
    const uint8_t *next = data;
    while (size != 0) {
        const ssize_t sent = send(fd, next, size, MSG_NOSIGNAL);
        assert_true(sent > 0);
        next += sent;
        size -= (size_t)sent;
    }
}

void bed_read(int fd, void *data, size_t size)
{
    uint8_t *next = data;
    while (size != 0) {
        const ssize_t got = recv(fd, next, size, 0);
        assert_true(got > 0);
        next += got;
        size -= (size_t)got;
    }
}

void bed_close_rst(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    assert_int_equal(close(fd), 0);
}

/* Connects until one is not answered: the queue is full then, and stays so. */
void bed_blackhole_init(bed_blackhole *hole)
{
    *hole = (bed_blackhole){0};
    hole->listener = bed_listen(&hole->address, 0);
    for (;;) {
        assert_true(hole->count < (int)COUNT_OF(hole->fillers));
        const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(fd >= 0);
        hole->fillers[hole->count++] = fd;
        if (connect(fd, &hole->address.u.any, hole->address.size) == 0) {
            continue;
        }
        assert_int_equal(errno, EINPROGRESS);
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        if (poll(&wait, 1, 100) == 0) {
            return;
        }
    }
}

void bed_blackhole_fini(bed_blackhole *hole)
{
    for (int i = 0; i < hole->count; i++) {
        close(hole->fillers[i]);
    }
    close(hole->listener);
}

int bed_fd_count(void)
{
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    int count = 0;
    while (readdir(dir) != NULL) { /* NOLINT(concurrency-mt-unsafe): one thread */
        count++;
    }
    closedir(dir);
    return count;
}

static const uint8_t *pattern_block(void)
{
    static uint8_t block[BED_PERIOD];
    if (block[0] == 0) {
        uint64_t x = UINT64_C(0x9E3779B97F4A7C15);
        for (size_t i = 0; i < sizeof(block); i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            block[i] = (uint8_t)(x >> 24);
        }
        block[0] = 1;
    }
    return block;
}

void bed_pattern(uint8_t *out, uint64_t position, size_t size)
{
    while (size != 0) {
        const size_t at = position % BED_PERIOD;
        const size_t part = size < BED_PERIOD - at ? size : BED_PERIOD - at;
        memcpy(out, pattern_block() + at, part);
        out += part;
        position += part;
        size -= part;
    }
}

bool bed_pattern_is(const uint8_t *data, uint64_t position, size_t size)
{
    while (size != 0) {
        const size_t at = position % BED_PERIOD;
        const size_t part = size < BED_PERIOD - at ? size : BED_PERIOD - at;
        if (memcmp(data, pattern_block() + at, part) != 0) {
            return false;
        }
        data += part;
        position += part;
        size -= part;
    }
    return true;
}

int bed_child(void (*run)(void *ctx), void *ctx)
{
    fflush(NULL);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit no_core = {0};
        setrlimit(RLIMIT_CORE, &no_core);
        run(ctx);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

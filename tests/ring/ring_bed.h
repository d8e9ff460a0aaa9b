/* SPDX-License-Identifier: Apache-2.0 */
/* ring_bed.h - what the tests of the ring and of its sockets share: a ring, and raw peers. */
#ifndef HPX_TESTS_RING_BED_H
#define HPX_TESTS_RING_BED_H

#include <netinet/in.h>
#include <stdbool.h>
#include <sys/types.h>

#include "ring/ring.h"
#include "tests/support/failing_allocator.h"

typedef struct ring_bed {
    failing_allocator fa;
    hpx_allocator allocator;
    hpxi_counters counters;
    hpxi_ring *ring;
    uint32_t slot_count;
} ring_bed;

#define RING_BED_CONFIG                                                                            \
    {                                                                                              \
        .sq_entries = 64, .cq_entries = 256, .slot_bytes = 4096, .slot_count = 64, .ops_max = 256, \
    }

/* Ends the process as skipped where there is no io_uring. */
void ring_bed_init(ring_bed *bed, const hpxi_ring_config *config);

/* Checks that nothing is in flight, all slots are home and, after freeing, that nothing leaked. */
void ring_bed_fini(ring_bed *bed);

/* Next completion, taking turns and sleeping for it; fails the test after some seconds. */
hpxi_completion ring_bed_take(ring_bed *bed);

/* Takes until nothing is in flight, counting nothing: for the completions of cancels. */
void ring_bed_drain(ring_bed *bed);

/* A blocking listener on 127.0.0.1 and its address. */
int bed_listen(hpxi_address *address, int backlog);

/* Two ends of a TCP connection over loopback, blocking. */
void bed_pair(int ends[2]);

/* Blocking, whole. */
void bed_write(int fd, const void *data, size_t size);
void bed_read(int fd, void *data, size_t size);

/* The next close sends RST. */
void bed_close_rst(int fd);

/* A listener that answers no more: connects to `address` hang. */
typedef struct bed_blackhole {
    hpxi_address address;
    int listener;
    int fillers[16];
    int count;
} bed_blackhole;
void bed_blackhole_init(bed_blackhole *hole);
void bed_blackhole_fini(bed_blackhole *hole);

/* Open descriptors of this process. */
int bed_fd_count(void);

/* Pseudo-random bytes; the same for the same position, period 1 MiB and a prime. */
void bed_pattern(uint8_t *out, uint64_t position, size_t size);
bool bed_pattern_is(const uint8_t *data, uint64_t position, size_t size);

/* Runs in a child; returns the wait status. */
int bed_child(void (*run)(void *ctx), void *ctx);

#endif /* HPX_TESTS_RING_BED_H */

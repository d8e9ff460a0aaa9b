/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the ring on one thread: order, contents, wrap, padding, full, publication, memory.
 * Method: directed cases at every position of a 1 KiB ring, then random traffic of all sizes
 * against a plain array of what was sent. hpxi_spsc_init() runs with its allocation failing.
 */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ring/spsc.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define RING_BYTES 1024u

static failing_allocator memory;
static hpx_allocator allocator;
static hpxi_spsc ring;

static int setup(void **state)
{
    (void)state;
    memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    allocator = fa_allocator(&memory);
    return hpxi_spsc_init(&ring, RING_BYTES, &allocator);
}

static int teardown(void **state)
{
    (void)state;
    hpxi_spsc_fini(&ring);
    return memory.live == 0 && memory.bytes == 0 ? 0 : -1;
}

static uint8_t content(uint64_t tag, uint32_t at)
{
    return (uint8_t)(tag * 31 + (uint64_t)at * 7 + 1);
}

/* Claims and fills one record; false when the ring is full. */
static bool put(uint32_t bytes, uint64_t tag)
{
    hpxi_record *record = hpxi_spsc_claim(&ring, 1 + (uint32_t)(tag % 5), bytes, tag);
    if (record == NULL) {
        return false;
    }
    assert_int_equal((uintptr_t)record->payload % HPXI_SPSC_ALIGN, 0);
    assert_true(record->payload + bytes <= ring.data + RING_BYTES);
    for (uint32_t i = 0; i < bytes; i++) {
        record->payload[i] = content(tag, i);
    }
    hpxi_spsc_commit(&ring);
    return true;
}

static void put_and_publish(uint32_t bytes, uint64_t tag)
{
    assert_true(put(bytes, tag));
    hpxi_spsc_publish(&ring);
}

static void take(uint32_t bytes, uint64_t tag)
{
    const hpxi_record *record = hpxi_spsc_peek(&ring);
    assert_non_null(record);
    assert_int_equal(record->type, 1 + tag % 5);
    assert_int_equal(record->bytes, bytes);
    assert_int_equal(record->tag, tag);
    assert_true(record->payload + bytes <= ring.data + RING_BYTES);
    for (uint32_t i = 0; i < bytes; i++) {
        assert_int_equal(record->payload[i], content(tag, i));
    }
    hpxi_spsc_release(&ring);
}

/* Brings the empty ring's position to `offset`, a multiple of 16. */
static void move_to(uint64_t offset)
{
    while ((ring.producer.tail_claimed & ring.mask) != offset) {
        put_and_publish(0, 0);
        take(0, 0);
    }
}

static void test_spsc_init_when_done_then_empty_and_isolated(void **state)
{
    (void)state;
    assert_int_equal((uintptr_t)ring.data % HPXI_ISOLATE, 0);
    assert_int_equal(ring.bytes_max, RING_BYTES / 4);
    assert_int_equal((uintptr_t)&ring.producer % HPXI_ISOLATE, 0);
    assert_int_equal((uintptr_t)&ring.consumer % HPXI_ISOLATE, 0);
    assert_true((uint8_t *)&ring.producer.tail_claimed - (uint8_t *)&ring.producer >= HPXI_ISOLATE);
    assert_true((uint8_t *)&ring.consumer.head_taken - (uint8_t *)&ring.consumer >= HPXI_ISOLATE);
    assert_null(hpxi_spsc_peek(&ring));
    assert_true(hpxi_spsc_is_empty_sc(&ring));
    assert_false(hpxi_spsc_has_unpublished(&ring));
}

/* Many, with odd blocks between them: one could be aligned by chance. */
static void test_spsc_init_when_memory_is_odd_then_data_isolated(void **state)
{
    (void)state;
    hpxi_spsc rings[16];
    void *odd[16];
    for (size_t i = 0; i < 16; i++) {
        odd[i] = hpxi_alloc(&allocator, 16 + 48 * i, 16);
        assert_int_equal(hpxi_spsc_init(&rings[i], RING_BYTES, &allocator), HPX_OK);
        assert_int_equal((uintptr_t)rings[i].data % HPXI_ISOLATE, 0);
    }
    for (size_t i = 0; i < 16; i++) {
        hpxi_free(&allocator, odd[i], 16 + 48 * i);
        hpxi_spsc_fini(&rings[i]);
    }
}

static void test_spsc_publish_when_not_called_then_nothing_visible(void **state)
{
    (void)state;
    assert_true(put(5, 1));
    assert_true(put(0, 2));
    assert_true(put(40, 3));
    assert_null(hpxi_spsc_peek(&ring));
    assert_true(hpxi_spsc_is_empty_sc(&ring));
    assert_true(hpxi_spsc_has_unpublished(&ring));
    hpxi_spsc_publish(&ring);
    assert_false(hpxi_spsc_has_unpublished(&ring));
    assert_false(hpxi_spsc_is_empty_sc(&ring));
    take(5, 1);
    take(0, 2);
    assert_false(hpxi_spsc_is_empty_sc(&ring));
    take(40, 3);
    assert_true(hpxi_spsc_is_empty_sc(&ring));
    assert_null(hpxi_spsc_peek(&ring));
}

static void test_spsc_peek_when_repeated_then_same_record(void **state)
{
    (void)state;
    put_and_publish(3, 7);
    put_and_publish(3, 8);
    const hpxi_record *record = hpxi_spsc_peek(&ring);
    assert_ptr_equal(hpxi_spsc_peek(&ring), record);
    take(3, 7);
    assert_ptr_not_equal(hpxi_spsc_peek(&ring), record);
    take(3, 8);
}

static void test_spsc_claim_when_not_committed_then_abandoned(void **state)
{
    (void)state;
    /* At the end of the buffer too, where the abandoned claim has written padding. */
    for (uint64_t offset = 0; offset < RING_BYTES; offset += HPXI_SPSC_ALIGN) {
        move_to(offset);
        assert_non_null(hpxi_spsc_claim(&ring, 9, ring.bytes_max, 99));
        hpxi_spsc_publish(&ring);
        assert_null(hpxi_spsc_peek(&ring));
        put_and_publish(1, 5);
        take(1, 5);
        assert_null(hpxi_spsc_peek(&ring));
    }
}

static void test_spsc_claim_when_empty_then_bytes_max_fits_at_every_position(void **state)
{
    (void)state;
    for (uint64_t offset = 0; offset < RING_BYTES; offset += HPXI_SPSC_ALIGN) {
        for (uint32_t bytes = 0; bytes <= ring.bytes_max; bytes++) {
            move_to(offset);
            put_and_publish(bytes, offset + bytes);
            take(bytes, offset + bytes);
            assert_null(hpxi_spsc_peek(&ring));
        }
    }
    assert_int_equal(ring.producer.full_count, 0);
}

static void test_spsc_claim_when_record_ends_at_the_end_then_no_padding(void **state)
{
    (void)state;
    move_to(RING_BYTES - 64);
    put_and_publish(48, 1); /* exactly to the end */
    assert_int_equal(ring.producer.tail_claimed & ring.mask, 0);
    take(48, 1);

    move_to(RING_BYTES - 64); /* again on the slow path: with an older view of head */
    ring.producer.head_seen = ring.producer.tail_claimed - RING_BYTES;
    put_and_publish(48, 3);
    assert_int_equal(ring.producer.tail_claimed & ring.mask, 0);
    take(48, 3);

    move_to(RING_BYTES - 16); /* room for a header alone: the smallest padding */
    put_and_publish(1, 2);
    assert_int_equal(ring.producer.tail_claimed & ring.mask, 32);
    take(1, 2);
}

static void test_spsc_claim_when_full_then_null_and_counted(void **state)
{
    (void)state;
    for (uint64_t offset = 0; offset < RING_BYTES; offset += HPXI_SPSC_ALIGN) {
        move_to(offset);
        const uint64_t full_count = ring.producer.full_count;
        uint64_t sent = 0;
        while (put(16, sent)) {
            sent++;
        }
        assert_int_equal(ring.producer.full_count, full_count + 1);
        assert_in_range(sent, RING_BYTES / 32 - 1, RING_BYTES / 32);
        assert_false(put(16, 999)); /* and again, with nothing changed */
        assert_int_equal(ring.producer.full_count, full_count + 2);
        hpxi_spsc_publish(&ring);
        take(16, 0);
        put_and_publish(16, sent); /* one out, one in */
        for (uint64_t tag = 1; tag <= sent; tag++) {
            take(16, tag);
        }
        assert_null(hpxi_spsc_peek(&ring));
    }
}

static void test_spsc_claim_when_full_then_open_claim_is_gone(void **state)
{
    (void)state;
    move_to(0);
    for (uint64_t i = 0; i < 30; i++) {
        assert_true(put(16, i));
    }
    assert_non_null(hpxi_spsc_claim(&ring, 1, 0, 77)); /* abandoned by the next, which fails */
    assert_null(hpxi_spsc_claim(&ring, 1, 200, 78));
    assert_int_equal(ring.producer.claim_bytes, 0);
    hpxi_spsc_publish(&ring);
    for (uint64_t i = 0; i < 30; i++) {
        take(16, i);
    }
    assert_null(hpxi_spsc_peek(&ring));
}

/* A record is released only as a whole: the producer must not reach into one being read. */
static void test_spsc_claim_when_record_is_peeked_then_not_overwritten(void **state)
{
    (void)state;
    move_to(0);
    put_and_publish(ring.bytes_max, 1);
    const hpxi_record *held = hpxi_spsc_peek(&ring);
    uint64_t sent = 2;
    while (put(20, sent)) {
        sent++;
    }
    hpxi_spsc_publish(&ring);
    assert_ptr_equal(hpxi_spsc_peek(&ring), held);
    take(ring.bytes_max, 1);
    for (uint64_t tag = 2; tag < sent; tag++) {
        take(20, tag);
    }
}

static uint32_t random_next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void test_spsc_when_random_traffic_then_same_as_array(void **state)
{
    (void)state;
    static uint32_t sizes[200000];
    uint64_t claimed = 0, published = 0, taken = 0;
    uint32_t seed = 1;
    while (taken < COUNT_OF(sizes)) {
        const uint32_t choice = random_next(&seed) % 8;
        if (choice < 4 && claimed < COUNT_OF(sizes)) {
            const uint32_t limit = choice == 0 ? ring.bytes_max : 40;
            sizes[claimed] = random_next(&seed) % (limit + 1);
            if (put(sizes[claimed], claimed)) {
                claimed++;
            }
        } else if (choice == 4) {
            hpxi_spsc_publish(&ring);
            published = claimed;
        } else if (taken < published) {
            take(sizes[taken], taken);
            taken++;
        } else {
            assert_null(hpxi_spsc_peek(&ring));
            assert_true(hpxi_spsc_is_empty_sc(&ring));
        }
        assert_int_equal(hpxi_spsc_has_unpublished(&ring), published != claimed);
    }
    assert_int_equal(memory.count, 1); /* that of init: the hot path allocated nothing */
}

static void test_spsc_claim_when_above_bytes_max_then_asserts(void **state)
{
    (void)state;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        hpxi_spsc_claim(&ring, 1, ring.bytes_max + 1, 0);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void init_scenario(hpx_allocator alloc, bool expect_success)
{
    hpxi_spsc other;
    const hpx_status status = hpxi_spsc_init(&other, 4096, &alloc);
    assert_int_equal(status, expect_success ? HPX_OK : HPX_E_NO_MEMORY);
    hpxi_spsc_fini(&other); /* legal after a failed init too */
}

static void test_spsc_init_when_allocation_fails_then_no_memory(void **state)
{
    (void)state;
    fa_exhaust(init_scenario);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_spsc_init_when_done_then_empty_and_isolated),
        TEST(test_spsc_init_when_memory_is_odd_then_data_isolated),
        TEST(test_spsc_publish_when_not_called_then_nothing_visible),
        TEST(test_spsc_peek_when_repeated_then_same_record),
        TEST(test_spsc_claim_when_not_committed_then_abandoned),
        TEST(test_spsc_claim_when_empty_then_bytes_max_fits_at_every_position),
        TEST(test_spsc_claim_when_record_ends_at_the_end_then_no_padding),
        TEST(test_spsc_claim_when_full_then_null_and_counted),
        TEST(test_spsc_claim_when_full_then_open_claim_is_gone),
        TEST(test_spsc_claim_when_record_is_peeked_then_not_overwritten),
        TEST(test_spsc_when_random_traffic_then_same_as_array),
        TEST(test_spsc_claim_when_above_bytes_max_then_asserts),
        cmocka_unit_test(test_spsc_init_when_allocation_fails_then_no_memory),
    };
    return cmocka_run_group_tests_name("ring/spsc", tests, NULL, NULL);
}

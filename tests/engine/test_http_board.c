/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal    What other threads read of connections is never a mixture of two of them, never waits for
 *         the shard, and tells of keep-alive timeouts after the connection is gone.
 * Method  A board without a client. One thread enters and leaves entries, whose numbers all follow
 *         from the id; two threads read. The thread sanitizer watches.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "engine/http_board.h"
#include "tests/support/failing_allocator.h"
#include "tests/support/test.h"

#define ENTRIES 4u
#define ROUNDS  20000u
#define READERS 2u

static failing_allocator memory;
static hpx_allocator allocator;
static hpxi_http_boards boards;
static hpxi_http_board *board;
static hpx_http_connection_stats found[2 * ENTRIES];

static void open_board(void)
{
    memory = (failing_allocator)FAILING_ALLOCATOR_NEVER;
    allocator = fa_allocator(&memory);
    board = hpxi_http_board_new(&allocator, ENTRIES, 3);
    assert_non_null(board);
    hpxi_http_boards_publish(&boards, board);
}

static void close_board(void)
{
    hpxi_http_boards_free(&boards);
    assert_int_equal(memory.live, 0);
}

static uint32_t look(void)
{
    return hpxi_http_boards_read(&boards, found, 2 * ENTRIES);
}

static void test_board_when_entered_then_listed_until_left(void **state)
{
    (void)state;
    open_board();
    assert_int_equal(look(), 0);
    hpxi_http_entry *first = hpxi_http_board_enter(board, true, "venue.example", 443, 70);
    hpxi_http_entry *second = hpxi_http_board_enter(board, false, "::1", 80, 80);
    assert_int_equal(look(), 2);
    assert_string_equal(found[0].origin, "https://venue.example:443");
    assert_string_equal(found[1].origin, "http://[::1]:80");
    assert_int_equal(found[0].state, HPX_HTTP_CONNECTION_CONNECTING);
    assert_int_equal(found[0].version, HPX_HTTP_ANY);
    assert_int_equal(found[0].began_ns, 70);
    assert_int_equal(found[0].last_read_ns, 0);
    assert_int_equal(found[0].shard, 3);
    assert_true(found[0].id != found[1].id);

    hpxi_http_entry_set(second, HPX_HTTP_CONNECTION_OPEN);
    hpxi_http_entry_set_version(second, HPX_HTTP_1_1);
    hpxi_http_entry_read(second, 90);
    hpxi_http_board_leave(board, first);
    assert_int_equal(look(), 1);
    assert_int_equal(found[0].state, HPX_HTTP_CONNECTION_OPEN);
    assert_int_equal(found[0].version, HPX_HTTP_1_1);
    assert_int_equal(found[0].last_read_ns, 90);
    assert_int_equal(hpxi_http_boards_read(&boards, NULL, 0), 1); /* counted, not copied */
    hpxi_http_board_leave(board, second);
    assert_int_equal(look(), 0);
    close_board();
}

static void test_board_when_keep_alive_timed_out_then_listed_until_the_place_is_needed(void **state)
{
    (void)state;
    open_board();
    hpxi_http_entry *entry = hpxi_http_board_enter(board, true, "venue.example", 443, 70);
    const uint64_t began = look() == 1 ? found[0].id : 0;
    atomic_store(&entry->ping.keep_alive_timed_out, true);
    hpxi_http_board_leave(board, entry);
    for (uint32_t i = 1; i < ENTRIES; i++) { /* the other places come first */
        hpxi_http_entry *other = hpxi_http_board_enter(board, true, "other.example", 443, 80);
        assert_ptr_not_equal(other, entry);
        hpxi_http_board_leave(board, other);
        assert_int_equal(look(), 1);
        assert_int_equal(found[0].id, began);
        assert_int_equal(found[0].state, HPX_HTTP_CONNECTION_LOST);
        assert_true(found[0].h2_keep_alive_timed_out);
    }
    assert_ptr_equal(hpxi_http_board_enter(board, true, "other.example", 443, 80), entry);
    assert_int_equal(look(), 1);
    assert_false(found[0].h2_keep_alive_timed_out);
    assert_int_equal(found[0].state, HPX_HTTP_CONNECTION_CONNECTING);
    close_board();
}

static void test_board_when_the_host_is_long_then_cut(void **state)
{
    (void)state;
    open_board();
    char host[254];
    memset(host, 'a', sizeof(host));
    host[sizeof(host) - 1] = '\0';
    (void)hpxi_http_board_enter(board, true, host, 443, 70);
    assert_int_equal(look(), 1);
    assert_int_equal(strlen(found[0].origin), HPX_HTTP_ORIGIN_BYTES - 1);
    assert_memory_equal(found[0].origin, "https://aaaa", 12);
    close_board();
}

static _Atomic bool is_over;
static _Atomic bool is_mixed;

/* All numbers of a connection follow from its serial number. */
static bool fits(const hpx_http_connection_stats *stats)
{
    const uint64_t serial = stats->id & UINT32_MAX;
    char origin[64];
    (void)snprintf(origin, sizeof(origin), "https://h%u:%u", (unsigned)serial, (unsigned)serial);
    /* 0: no frame came yet. */
    return strcmp(stats->origin, origin) == 0 && stats->began_ns == serial &&
           (stats->h2_bytes == 0 || stats->h2_bytes / 1000 == serial) &&
           (stats->last_read_ns == 0 || stats->last_read_ns / 1000 == serial);
}

static void *read_on(void *user)
{
    uint64_t *seen = user;
    hpx_http_connection_stats stats[ENTRIES];
    while (!is_over || *seen == 0) {
        const uint32_t count = hpxi_http_boards_read(&boards, stats, ENTRIES);
        for (uint32_t i = 0; i < count; i++) {
            if (!fits(&stats[i])) {
                is_mixed = true;
            }
            ++*seen;
        }
    }
    return NULL;
}

/* As the session does, frame by frame. */
static void record(hpxi_http_entry *entry, uint64_t value)
{
    atomic_store_explicit(&entry->ping.bytes, value, memory_order_relaxed);
    atomic_store_explicit(&entry->ping.last_read_at_ns, value, memory_order_relaxed);
}

static void test_board_when_read_while_connections_come_and_go_then_never_mixed(void **state)
{
    (void)state;
    open_board();
    is_over = false;
    is_mixed = false;
    pthread_t threads[READERS];
    uint64_t seen[READERS] = {0};
    for (uint32_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &seen[i]), 0);
    }
    hpxi_http_entry *open[ENTRIES] = {NULL};
    for (uint64_t serial = 1; serial <= ROUNDS; serial++) {
        hpxi_http_entry **at = &open[serial % ENTRIES];
        if (*at != NULL) {
            hpxi_http_board_leave(board, *at);
        }
        char host[32];
        (void)snprintf(host, sizeof(host), "h%u", (unsigned)serial);
        *at = hpxi_http_board_enter(board, true, host, (uint16_t)serial, serial);
        for (uint64_t frame = 0; frame < 10; frame++) {
            record(*at, serial * 1000 + frame);
        }
    }
    is_over = true;
    for (uint32_t i = 0; i < READERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_true(seen[i] != 0);
    }
    close_board();
}

static void test_board_when_there_is_no_memory_then_none(void **state)
{
    (void)state;
    for (size_t fail_at = 0; fail_at < 3; fail_at++) {
        failing_allocator fa = {.fail_at = fail_at};
        const hpx_allocator failing = fa_allocator(&fa);
        assert_null(hpxi_http_board_new(&failing, ENTRIES, 0));
        assert_int_equal(fa.live, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_board_when_entered_then_listed_until_left),
        cmocka_unit_test(
            test_board_when_keep_alive_timed_out_then_listed_until_the_place_is_needed),
        cmocka_unit_test(test_board_when_the_host_is_long_then_cut),
        cmocka_unit_test(test_board_when_read_while_connections_come_and_go_then_never_mixed),
        cmocka_unit_test(test_board_when_there_is_no_memory_then_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

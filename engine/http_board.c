/* SPDX-License-Identifier: Apache-2.0 */
/* http_board.c - what any thread may read of a client on one shard. Threads: see http_board.h. */
#include "engine/http_board.h"

#include <stdio.h>
#include <string.h>

#define BOARD_FREE 0u /* state of an entry without a connection */

_Static_assert(
    HPX_HTTP_ORIGIN_BYTES % sizeof(uint64_t) == 0 && sizeof(hpxi_http_entry) == 256,
    "whole words, whole lines");

hpxi_http_board *
hpxi_http_board_new(const hpx_allocator *allocator, uint32_t entry_count, uint32_t shard)
{
    hpxi_http_board *board = hpxi_alloc_zero(allocator, sizeof(*board), _Alignof(hpxi_http_board));
    if (board == NULL) {
        return NULL;
    }
    board->allocator = allocator;
    board->entry_count = entry_count;
    board->shard = shard;
    board->entries = hpxi_alloc_zero(
        allocator, entry_count * sizeof(board->entries[0]), _Alignof(hpxi_http_entry));
    board->free = hpxi_alloc(allocator, entry_count * sizeof(uint32_t), sizeof(uint32_t));
    if (board->entries == NULL || board->free == NULL) {
        hpxi_http_board_free(board);
        return NULL;
    }
    for (uint32_t i = 0; i < entry_count; i++) {
        board->free[i] = i;
    }
    board->free_count = entry_count;
    return board;
}

void hpxi_http_board_free(hpxi_http_board *board)
{
    if (board == NULL) {
        return;
    }
    const hpx_allocator *allocator = board->allocator;
    hpxi_free(allocator, board->entries, board->entry_count * sizeof(board->entries[0]));
    hpxi_free(allocator, board->free, board->entry_count * sizeof(uint32_t));
    hpxi_free(allocator, board, sizeof(*board));
}

void hpxi_http_boards_publish(hpxi_http_boards *boards, hpxi_http_board *board)
{
    board->next = atomic_load_explicit(boards, memory_order_relaxed);
    /* Release: readers see the board whole (partner: the loads of `boards`). */
    while (!atomic_compare_exchange_weak_explicit(
        boards, &board->next, board, memory_order_release, memory_order_relaxed)) {
    }
}

void hpxi_http_boards_free(hpxi_http_boards *boards)
{
    hpxi_http_board *board = atomic_load_explicit(boards, memory_order_acquire);
    while (board != NULL) {
        hpxi_http_board *next = board->next;
        hpxi_http_board_free(board);
        board = next;
    }
    atomic_store_explicit(boards, NULL, memory_order_relaxed);
}

/* ---- The shard ------------------------------------------------------------------------------- */

hpxi_http_entry *hpxi_http_board_enter(
    hpxi_http_board *board, bool is_tls, const char *host, uint16_t port, uint64_t now_ns)
{
    HPX_ASSERT(board->free_count != 0); /* the pool's limit is exact */
    hpxi_http_entry *entry = &board->entries[board->free[board->free_first]];
    board->free_first = (board->free_first + 1) % board->entry_count;
    board->free_count--;

    union {
        char text[HPX_HTTP_ORIGIN_BYTES];
        uint64_t words[HPXI_HTTP_ORIGIN_WORDS];
    } origin = {0};
    const bool is_v6 = strchr(host, ':') != NULL;
    (void)snprintf(
        origin.text,
        sizeof(origin.text),
        "%s://%s%s%s:%u",
        is_tls ? "https" : "http",
        is_v6 ? "[" : "",
        host,
        is_v6 ? "]" : "",
        port);

    /* Release, all of them: who reads one of these sees the odd sequence, too. */
    const uint64_t sequence = atomic_load_explicit(&entry->sequence, memory_order_relaxed);
    const uint64_t id = (uint64_t)board->shard << 48 | ++board->entered;
    atomic_store_explicit(&entry->sequence, sequence + 1, memory_order_relaxed);
    atomic_store_explicit(&entry->id, id, memory_order_release);
    atomic_store_explicit(&entry->began_ns, now_ns, memory_order_release);
    atomic_store_explicit(&entry->state, HPX_HTTP_CONNECTION_CONNECTING, memory_order_release);
    atomic_store_explicit(&entry->version, HPX_HTTP_ANY, memory_order_release);
    for (uint32_t i = 0; i < HPXI_HTTP_ORIGIN_WORDS; i++) {
        atomic_store_explicit(&entry->origin[i], origin.words[i], memory_order_release);
    }
    hpxi_h2_ping_clear(&entry->ping);
    atomic_store_explicit(&entry->sequence, sequence + 2, memory_order_release);
    return entry;
}

void hpxi_http_board_leave(hpxi_http_board *board, hpxi_http_entry *entry)
{
    HPX_ASSERT(board->free_count < board->entry_count);
    const bool lost = atomic_load_explicit(&entry->ping.keep_alive_timed_out, memory_order_relaxed);
    atomic_store_explicit(
        &entry->state, lost ? HPX_HTTP_CONNECTION_LOST : BOARD_FREE, memory_order_relaxed);
    const uint32_t at = (board->free_first + board->free_count++) % board->entry_count;
    board->free[at] = (uint32_t)(entry - board->entries);
}

/* ---- Any thread ------------------------------------------------------------------------------ */

/* False: nothing is there, or what is there has only just begun. */
static bool board_read(const hpxi_http_entry *entry, hpx_http_connection_stats *out)
{
    uint64_t sequence;
    do {
        sequence = atomic_load_explicit(&entry->sequence, memory_order_acquire);
        const uint32_t state = atomic_load_explicit(&entry->state, memory_order_acquire);
        if (sequence % 2 != 0 || state == BOARD_FREE) {
            return false;
        }
        const hpxi_h2_ping_snapshot ping = hpxi_h2_ping_read(&entry->ping);
        *out = (hpx_http_connection_stats){
            .id = atomic_load_explicit(&entry->id, memory_order_acquire),
            .state = (hpx_http_connection_state)state,
            .version =
                (hpx_http_version)atomic_load_explicit(&entry->version, memory_order_acquire),
            .h2_keep_alive_timed_out = ping.keep_alive_timed_out,
            .began_ns = atomic_load_explicit(&entry->began_ns, memory_order_acquire),
            .last_read_ns = ping.last_read_at_ns,
            .h2_bytes = ping.bytes,
            .h2_rtt_ns = ping.rtt_ns,
            .h2_bdp_bytes = ping.bdp_bytes,
            .h2_window_bytes = ping.window_bytes,
        };
        for (uint32_t i = 0; i < HPXI_HTTP_ORIGIN_WORDS; i++) {
            const uint64_t word = atomic_load_explicit(&entry->origin[i], memory_order_acquire);
            memcpy(out->origin + i * sizeof(word), &word, sizeof(word));
        }
        /* Another connection has taken the place: look at that one. */
    } while (atomic_load_explicit(&entry->sequence, memory_order_relaxed) != sequence);
    return true;
}

uint32_t
hpxi_http_boards_read(const hpxi_http_boards *boards, hpx_http_connection_stats *out, uint32_t max)
{
    uint32_t count = 0;
    const hpxi_http_board *board = atomic_load_explicit(boards, memory_order_acquire);
    for (; board != NULL; board = board->next) {
        for (uint32_t i = 0; i < board->entry_count; i++) {
            hpx_http_connection_stats ignored;
            hpx_http_connection_stats *to = count < max ? &out[count] : &ignored;
            if (board_read(&board->entries[i], to)) {
                to->shard = board->shard;
                count++;
            }
        }
    }
    return count;
}

static void stats_max(uint64_t *out, const hpxi_counter *counter)
{
    const uint64_t value = hpxi_counter_read(counter);
    *out = value > *out ? value : *out;
}

static void stats_add(hpx_http_stats *out, const hpxi_http_counters *from)
{
    out->requests += hpxi_counter_read(&from->requests);
    out->done += hpxi_counter_read(&from->done);
    out->failed += hpxi_counter_read(&from->failed);
    out->timeouts += hpxi_counter_read(&from->timeouts);
    out->cancelled += hpxi_counter_read(&from->cancelled);
    out->retries += hpxi_counter_read(&from->retries);
    out->retries_goaway += hpxi_counter_read(&from->retries_goaway);
    out->retries_refused += hpxi_counter_read(&from->retries_refused);
    out->retries_idle_closed += hpxi_counter_read(&from->retries_idle_closed);
    out->redirects += hpxi_counter_read(&from->redirects);
    out->connects += hpxi_counter_read(&from->connects);
    out->connects_failed += hpxi_counter_read(&from->connects_failed);
    out->reused += hpxi_counter_read(&from->reused);
    out->waited += hpxi_counter_read(&from->waited);
    out->idle_died += hpxi_counter_read(&from->idle_died);
    out->idle_expired += hpxi_counter_read(&from->idle_expired);
    out->evicted += hpxi_counter_read(&from->evicted);
    out->connections += hpxi_counter_read(&from->connections);
    out->idle += hpxi_counter_read(&from->idle);
    out->h2_bytes += hpxi_counter_read(&from->h2_bytes);
    out->h2_keep_alive_timeouts += hpxi_counter_read(&from->h2_keep_alive_timeouts);
    stats_max(&out->h2_last_read_ns, &from->h2_last_read_ns);
    stats_max(&out->h2_rtt_ns, &from->h2_rtt_ns);
    stats_max(&out->h2_bdp_bytes, &from->h2_bdp_bytes);
    stats_max(&out->h2_window_bytes, &from->h2_window_bytes);
}

void hpxi_http_boards_count(const hpxi_http_boards *boards, hpx_http_stats *out)
{
    *out = (hpx_http_stats){0};
    const hpxi_http_board *board = atomic_load_explicit(boards, memory_order_acquire);
    for (; board != NULL; board = board->next) {
        stats_add(out, &board->counters);
    }
}

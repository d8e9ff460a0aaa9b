/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_ping.cc - recording one DATA frame: a mutex, locked instructions, and a single writer.
 *
 * Names are BM_record_data/<way>/threads:<n>. Times are CPU time of one recording by one thread, so
 * that more threads than CPUs do not count as slowness; waiting for a lock that another thread
 * sleeps on does not count either, which flatters the mutex.
 */
#include "bench/h2/bench_ping.h"

#include <benchmark/benchmark.h>

namespace
{

constexpr uint32_t per_call = 4096;
constexpr uint32_t frame_bytes = 1024;

void record(benchmark::State &state, bench_ping_way way)
{
    if (state.thread_index() == 0) {
        bench_ping_reset();
    }
    while (state.KeepRunningBatch(per_call)) {
        bench_ping_record(way, state.thread_index(), frame_bytes, per_call);
    }
    state.SetItemsProcessed(state.iterations());
    const auto recorded = static_cast<uint64_t>(state.iterations()) *
                          static_cast<uint64_t>(state.threads()) * frame_bytes;
    if (state.thread_index() == 0 && bench_ping_total() != recorded) {
        state.SkipWithError("bytes were lost");
    }
}

} // namespace

#define RECORD(name, way)                                                                          \
    BENCHMARK_CAPTURE(record, name, way)                                                           \
        ->Name("BM_record_data/" #name)                                                            \
        ->Threads(1)                                                                               \
        ->Threads(4)                                                                               \
        ->Threads(16)

RECORD(mutex, BENCH_PING_MUTEX);
RECORD(fetch_add, BENCH_PING_FETCH_ADD);
RECORD(fetch_add_own, BENCH_PING_FETCH_ADD_OWN);
RECORD(ours, BENCH_PING_OURS);

BENCHMARK_MAIN();

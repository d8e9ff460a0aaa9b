/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_pool.cc - checkout + checkin at 1, 4 and 16 threads over 10 hosts.
 *
 * BM_pool/one_mutex, /16_mutexes, /per_shard: one checkout and one checkin are one item. The time
 * per item of one thread is threads / items_per_second; flat over the threads (up to the CPUs) is
 * what sharing nothing buys.
 */
#include "bench/pool/bench_pool.h"

#include <benchmark/benchmark.h>

namespace
{

constexpr uint32_t per_call = 1000;
bench_pool *shared;

void BM_pool(benchmark::State &state, bench_pool_kind kind)
{
    if (state.thread_index() == 0) {
        shared = bench_pool_new(kind, static_cast<uint32_t>(state.threads()));
    }
    const auto thread = static_cast<uint32_t>(state.thread_index());
    while (state.KeepRunningBatch(per_call)) {
        bench_pool_run(shared, thread, per_call);
    }
    state.SetItemsProcessed(state.iterations());
    if (state.thread_index() == 0) {
        bench_pool_free(shared);
    }
}

void threads(benchmark::internal::Benchmark *bench)
{
    bench->Threads(1)->Threads(4)->Threads(16)->UseRealTime();
}

} // namespace

BENCHMARK_CAPTURE(BM_pool, one_mutex, BENCH_POOL_ONE_MUTEX)->Apply(threads);
BENCHMARK_CAPTURE(BM_pool, 16_mutexes, BENCH_POOL_16_MUTEXES)->Apply(threads);
BENCHMARK_CAPTURE(BM_pool, per_shard, BENCH_POOL_PER_SHARD)->Apply(threads);

BENCHMARK_MAIN();

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_session.cc - requests through a client and a server session in memory, on one thread.
 *
 * Names are BM_h2/get/<bytes of the answer>/<requests open at once>. Items are requests, both sides
 * included. Counters: frames per second; allocations per request, ours and nghttp2's.
 */
#include "bench/h2/bench_session.h"

#include <benchmark/benchmark.h>

namespace
{

constexpr uint32_t per_call = 200;

void BM_h2_get(benchmark::State &state)
{
    const auto answer_bytes = static_cast<size_t>(state.range(0));
    const auto at_once = static_cast<uint32_t>(state.range(1));
    bench_pair *pair = bench_pair_new(answer_bytes);
    bench_pair_requests(pair, 10 * per_call, at_once); /* into the steady state */
    const bench_pair_info before = bench_pair_get_info(pair);
    while (state.KeepRunningBatch(per_call)) {
        bench_pair_requests(pair, per_call, at_once);
    }
    const bench_pair_info after = bench_pair_get_info(pair);
    bench_pair_free(pair);
    const auto requests = static_cast<double>(state.iterations());
    const auto of = [&](uint64_t end, uint64_t start) { return static_cast<double>(end - start); };
    state.SetItemsProcessed(state.iterations());
    state.SetBytesProcessed(static_cast<int64_t>(after.bytes - before.bytes));
    state.counters["frames/s"] =
        benchmark::Counter(of(after.frames, before.frames), benchmark::Counter::kIsRate);
    state.counters["allocs"] = of(after.allocations, before.allocations) / requests;
    state.counters["nghttp2_allocs"] =
        of(after.library_allocations, before.library_allocations) / requests;
}

BENCHMARK(BM_h2_get)
    ->Name("BM_h2/get")
    ->ArgsProduct({{0, 1024, 16384, 1 << 20}, {1, 100}})
    ->UseRealTime();

} // namespace

BENCHMARK_MAIN();

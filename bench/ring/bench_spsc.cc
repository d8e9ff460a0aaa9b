/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_spsc.cc - the ring: on one thread, as a stream to another, and there and back.
 *
 * Names are BM_spsc/<case>/<payload bytes>/<records per publish>. Both threads spin and are pinned
 * to two CPUs; on a machine with one the two-thread cases are skipped.
 */
#include "bench/ring/bench_spsc.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <vector>

namespace
{

constexpr uint32_t ring_bytes = 1 << 20;
constexpr uint32_t per_call = 4096;

uint32_t argument(const benchmark::State &state, size_t at)
{
    return static_cast<uint32_t>(state.range(at));
}

void count_records(benchmark::State &state)
{
    state.SetItemsProcessed(state.iterations());
    state.SetBytesProcessed(state.iterations() * state.range(0));
}

using bench_loop = void (*)(bench_spsc *, uint32_t, uint32_t, uint32_t);

void run_loop(benchmark::State &state, bench_loop loop, bool with_thread)
{
    bench_spsc *bench = bench_spsc_new(ring_bytes, with_thread);
    while (state.KeepRunningBatch(per_call)) {
        loop(bench, argument(state, 0), per_call, argument(state, 1));
    }
    bench_spsc_free(bench);
    count_records(state);
}

void BM_spsc_local(benchmark::State &state)
{
    bench_spsc_pin();
    run_loop(state, bench_spsc_local, false);
}

void BM_spsc_stream(benchmark::State &state)
{
    if (!bench_spsc_pin()) {
        state.SkipWithError("needs two CPUs");
        return;
    }
    run_loop(state, bench_spsc_stream, true);
}

void BM_spsc_round_trip(benchmark::State &state)
{
    if (!bench_spsc_pin()) {
        state.SkipWithError("needs two CPUs");
        return;
    }
    bench_spsc *bench = bench_spsc_new(ring_bytes, true);
    std::vector<uint64_t> all_ns;
    std::vector<uint64_t> rtt_ns(per_call);
    while (state.KeepRunningBatch(per_call)) {
        bench_spsc_ping(bench, argument(state, 0), per_call, rtt_ns.data());
        all_ns.insert(all_ns.end(), rtt_ns.begin(), rtt_ns.end());
    }
    bench_spsc_free(bench);
    std::sort(all_ns.begin(), all_ns.end());
    const auto quantile = [&](double q) {
        const auto last = static_cast<double>(all_ns.size() - 1);
        return static_cast<double>(all_ns[static_cast<size_t>(last * q)]);
    };
    state.counters["p50_ns"] = quantile(0.5);
    state.counters["p90_ns"] = quantile(0.9);
    state.counters["p99_ns"] = quantile(0.99);
}

BENCHMARK(BM_spsc_local)
    ->Name("BM_spsc/local")
    ->ArgsProduct({{16, 128, 1024}, {1, 16}})
    ->UseRealTime();
BENCHMARK(BM_spsc_stream)
    ->Name("BM_spsc/stream")
    ->ArgsProduct({{16, 128, 1024}, {1, 16}})
    ->UseRealTime();
BENCHMARK(BM_spsc_round_trip)
    ->Name("BM_spsc/round_trip")
    ->Arg(16)
    ->Arg(128)
    ->Arg(1024)
    ->UseRealTime();

} // namespace

BENCHMARK_MAIN();

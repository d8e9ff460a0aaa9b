/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_time.cc - the timer wheel with 1, 1000 and 100000 timers in it, and the clock.
 *
 * BM_wheel/advance/<timers>/<step ns>: 2000 ns is a turn of a busy loop, in which mostly nothing is
 * due; the counter `fired` is timers per advance.
 */
#include "bench/ring/bench_time.h"

#include <benchmark/benchmark.h>

namespace
{

constexpr uint32_t per_call = 65536;

using wheel_loop = void (*)(bench_wheel *, uint32_t);

void run_wheel(benchmark::State &state, wheel_loop loop)
{
    bench_wheel *bench = bench_wheel_new(static_cast<uint32_t>(state.range(0)));
    while (state.KeepRunningBatch(per_call)) {
        loop(bench, per_call);
    }
    bench_wheel_free(bench);
    state.SetItemsProcessed(state.iterations());
}

void BM_wheel_set_cancel(benchmark::State &state)
{
    run_wheel(state, bench_wheel_set_cancel);
}

void BM_wheel_move(benchmark::State &state)
{
    run_wheel(state, bench_wheel_move);
}

void BM_wheel_advance(benchmark::State &state)
{
    bench_wheel *bench = bench_wheel_new(static_cast<uint32_t>(state.range(0)));
    uint64_t fired = 0;
    while (state.KeepRunningBatch(per_call)) {
        fired += bench_wheel_advance(bench, per_call, static_cast<uint64_t>(state.range(1)));
    }
    bench_wheel_free(bench);
    state.counters["fired"] = static_cast<double>(fired) / static_cast<double>(state.iterations());
}

template <uint64_t (*read)(uint32_t)> void BM_clock(benchmark::State &state)
{
    while (state.KeepRunningBatch(per_call)) {
        benchmark::DoNotOptimize(read(per_call));
    }
}

BENCHMARK(BM_wheel_set_cancel)->Name("BM_wheel/set_cancel")->Arg(1)->Arg(1000)->Arg(100000);
BENCHMARK(BM_wheel_move)->Name("BM_wheel/move")->Arg(1)->Arg(1000)->Arg(100000);
BENCHMARK(BM_wheel_advance)
    ->Name("BM_wheel/advance")
    ->ArgsProduct({{1, 1000, 100000}, {2000, 1000000}});
BENCHMARK_TEMPLATE(BM_clock, bench_clock_tsc)->Name("BM_clock/tsc");
BENCHMARK_TEMPLATE(BM_clock, bench_clock_gettime)->Name("BM_clock/clock_gettime");

} // namespace

BENCHMARK_MAIN();

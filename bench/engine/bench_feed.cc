/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_feed.cc - what a subscriber costs: pushing to 1, 4 and 16 feeds, taking, and there and
 * back.
 *
 * BM_feed/<case>/<policy>/<feeds>/<payload bytes>. fan_out: readers keep up. stalled: nobody reads,
 * so that every push overwrites (or conflates). push_ns and take_ns are per message and subscriber.
 * round_trip: two threads that spin, each on its own CPU; half of it is the way of one message.
 */
#include "bench/engine/bench_feed.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <vector>

namespace
{

/* hpx_overflow. */
enum : int64_t { drop_oldest = 0, drop_newest = 1, conflate = 2 };

constexpr uint32_t per_call = 4096;

uint32_t argument(const benchmark::State &state, size_t at)
{
    return static_cast<uint32_t>(state.range(at));
}

void run_fan_out(benchmark::State &state, bool with_take)
{
    const uint32_t feeds = argument(state, 1);
    bench_feed_pin();
    bench_feed *bench = bench_feed_new(argument(state, 0), feeds, false);
    bench_feed_times times = {};
    bench_feed_fan_out(bench, argument(state, 2), per_call, with_take, &times); /* warm up */
    times = {};
    while (state.KeepRunningBatch(per_call)) {
        bench_feed_fan_out(bench, argument(state, 2), per_call, with_take, &times);
    }
    bench_feed_free(bench);
    const auto pushed = static_cast<double>(state.iterations()) * feeds;
    state.counters["push_ns"] = static_cast<double>(times.push_ns) / pushed;
    if (with_take) {
        state.counters["take_ns"] =
            static_cast<double>(times.take_ns) / static_cast<double>(times.taken);
    }
    state.counters["allocations"] = static_cast<double>(times.allocations);
    state.SetItemsProcessed(static_cast<int64_t>(pushed));
}

void BM_feed_fan_out(benchmark::State &state)
{
    run_fan_out(state, true);
}

void BM_feed_stalled(benchmark::State &state)
{
    run_fan_out(state, false);
}

void BM_feed_round_trip(benchmark::State &state)
{
    if (!bench_feed_pin()) {
        state.SkipWithError("needs two CPUs");
        return;
    }
    bench_feed *bench = bench_feed_new(argument(state, 0), 2, true);
    std::vector<uint64_t> all_ns;
    std::vector<uint64_t> rtt_ns(per_call);
    while (state.KeepRunningBatch(per_call)) {
        bench_feed_ping(bench, argument(state, 1), per_call, rtt_ns.data());
        all_ns.insert(all_ns.end(), rtt_ns.begin(), rtt_ns.end());
    }
    bench_feed_free(bench);
    std::sort(all_ns.begin(), all_ns.end());
    const auto quantile = [&](double q) {
        const auto last = static_cast<double>(all_ns.size() - 1);
        return static_cast<double>(all_ns[static_cast<size_t>(last * q)]);
    };
    state.counters["p50_ns"] = quantile(0.5);
    state.counters["p90_ns"] = quantile(0.9);
    state.counters["p99_ns"] = quantile(0.99);
}

BENCHMARK(BM_feed_fan_out)
    ->Name("BM_feed/fan_out")
    ->ArgNames({"policy", "feeds", "bytes"})
    ->ArgsProduct({{drop_oldest, drop_newest, conflate}, {1, 4, 16}, {200}})
    ->UseRealTime();
BENCHMARK(BM_feed_stalled)
    ->Name("BM_feed/stalled")
    ->ArgNames({"policy", "feeds", "bytes"})
    ->ArgsProduct({{drop_oldest, conflate}, {1, 4, 16}, {200}})
    ->UseRealTime();
BENCHMARK(BM_feed_round_trip)
    ->Name("BM_feed/round_trip")
    ->ArgNames({"policy", "bytes"})
    ->ArgsProduct({{drop_oldest, drop_newest, conflate}, {200}})
    ->UseRealTime();

} // namespace

BENCHMARK_MAIN();

// SPDX-License-Identifier: Apache-2.0
//
// bench_loopback.cc - round trips and floods over loopback, beside the raw floor of the same run.
//
// Run with --benchmark_enable_random_interleaving=true --benchmark_repetitions=N: each repetition
// of each variant is a round of its own, in random order, so that drift hits all of them alike.
// bench/report.py draws the ratios from the JSON.
#include "bench_loopback.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <vector>

#include "peers.h"

namespace
{

constexpr uint32_t kRound = 2000;
constexpr uint32_t kWarmUp = 200;
constexpr uint64_t kFloodNs = 300000000;

void BM_Echo(
    benchmark::State &state, client_kind kind, peer_kind peer_type, size_t bytes, slot_sizes slots)
{
    peer_pin_self(0);
    peer *p = peer_start(peer_type, 1);
    client *c = client_open(kind, peer_port(p), slots);
    std::vector<uint64_t> samples(kRound);
    std::vector<uint64_t> all;
    client_ping(c, bytes, kWarmUp, samples.data());
    for (auto _ : state) {
        client_ping(c, bytes, kRound, samples.data());
        uint64_t sum = 0;
        for (uint64_t ns : samples) {
            sum += ns;
        }
        state.SetIterationTime(static_cast<double>(sum) / 1e9);
        all.insert(all.end(), samples.begin(), samples.end());
    }
    std::sort(all.begin(), all.end());
    const auto at = [&](double q) {
        return static_cast<double>(
            all[static_cast<size_t>(q * static_cast<double>(all.size() - 1))]);
    };
    state.counters["p50_ns"] = at(0.50);
    state.counters["p90_ns"] = at(0.90);
    state.counters["p99_ns"] = at(0.99);
    state.counters["p999_ns"] = at(0.999);
    client_close(c);
    peer_stop(p);
}

void BM_Flood(benchmark::State &state, client_kind kind, peer_kind peer_type, slot_sizes slots)
{
    peer_pin_self(0);
    peer *p = peer_start(peer_type, 1);
    client *c = client_open(kind, peer_port(p), slots);
    flood_result sum = {};
    flood_result warm_up;
    client_flood(c, kFloodNs / 10, &warm_up);
    for (auto _ : state) {
        flood_result one;
        client_flood(c, kFloodNs, &one);
        state.SetIterationTime(static_cast<double>(one.wall_ns) / 1e9);
        sum.messages += one.messages;
        sum.bytes += one.bytes;
        sum.wall_ns += one.wall_ns;
        sum.cpu_ns += one.cpu_ns;
    }
    const double messages = static_cast<double>(sum.messages);
    state.counters["msgs_per_s"] = messages / (static_cast<double>(sum.wall_ns) / 1e9);
    state.counters["cpu_ns_per_msg"] = static_cast<double>(sum.cpu_ns) / messages;
    client_close(c);
    peer_stop(p);
}

void RegisterAll()
{
    const auto echo =
        [](const char *name, client_kind kind, peer_kind peer, size_t bytes, slot_sizes slots) {
            benchmark::RegisterBenchmark(name, BM_Echo, kind, peer, bytes, slots)
                ->UseManualTime()
                ->Iterations(1)
                ->Unit(benchmark::kMillisecond);
        };
    echo("echo/raw_spin/128", CLIENT_RAW, PEER_RAW_ECHO, 128, {});
    echo("echo/ws_multishot/128", CLIENT_WS_MULTISHOT, PEER_WS_ECHO, 128, {});
    echo("echo/ws_hot/128", CLIENT_WS_HOT, PEER_WS_ECHO, 128, {});
    echo("echo/wss_multishot/128", CLIENT_WSS_MULTISHOT, PEER_WSS_ECHO, 128, {});
    echo("echo/wss_hot/128", CLIENT_WSS_HOT, PEER_WSS_ECHO, 128, {});
    echo("echo/raw_blocking/128", CLIENT_RAW_BLOCKING, PEER_RAW_ECHO, 128, {});
    echo("echo/ws_sleep/128", CLIENT_WS_SLEEP, PEER_WS_ECHO, 128, {});
    const auto flood = [](const char *name, client_kind kind, peer_kind peer, slot_sizes slots) {
        benchmark::RegisterBenchmark(name, BM_Flood, kind, peer, slots)
            ->UseManualTime()
            ->Iterations(1)
            ->Unit(benchmark::kMillisecond);
    };
    flood("flood/raw_blocking/200", CLIENT_RAW_BLOCKING, PEER_RAW_FLOOD, {});
    flood("flood/ws_multishot/200", CLIENT_WS_MULTISHOT, PEER_WS_FLOOD, {});
    flood("flood/ws_hot/200", CLIENT_WS_HOT, PEER_WS_FLOOD, {});
    flood("flood/ws_sleep/200", CLIENT_WS_SLEEP, PEER_WS_FLOOD, {});
    // What decides is the size of a slot (receives per megabyte) and the memory of all of them
    // together, since the kernel walks through it in a circle: does it stay in a cache?
    const slot_sizes candidates[] = {
        {4096, 1024},
        {16384, 64},
        {16384, 256},
        {32768, 32},
        {32768, 64},
        {32768, 128},
        {65536, 16},
        {65536, 32},
        {65536, 64},
        {65536, 128},
        {131072, 16},
        {131072, 32},
        {262144, 16}};
    for (slot_sizes slots : candidates) {
        const std::string tail =
            "/slot:" + std::to_string(slots.bytes) + "x" + std::to_string(slots.count);
        echo(
            ("slots/echo_multishot" + tail).c_str(), CLIENT_WS_MULTISHOT, PEER_WS_ECHO, 128, slots);
        flood(("slots/flood_multishot" + tail).c_str(), CLIENT_WS_MULTISHOT, PEER_WS_FLOOD, slots);
        flood(("slots/flood_sleep" + tail).c_str(), CLIENT_WS_SLEEP, PEER_WS_FLOOD, slots);
    }
}

} // namespace

int main(int argc, char **argv)
{
    RegisterAll();
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) {
        return 1;
    }
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
}

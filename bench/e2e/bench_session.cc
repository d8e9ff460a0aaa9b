// SPDX-License-Identifier: Apache-2.0
//
// bench_session.cc - what a session costs: requests inline and from another thread's port side by
// side, updates to 1, 4 and 16 subscribers, and the way back to Ready.
//
// Run as bench_loopback.cc: random interleaving and repetitions, so that drift and neighbours hit
// all variants alike; then compare within a repetition.
#include "bench_session.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <string>
#include <vector>

#include "peers.h"

namespace
{

constexpr uint32_t kRound = 2000;
constexpr uint32_t kWarmUp = 200;
constexpr uint32_t kFlood = 50000;
constexpr uint32_t kWindow = 64;
constexpr uint32_t kPublishRounds = 100;
constexpr uint32_t kLosses = 40;

double quantile(std::vector<uint64_t> &sorted, double q)
{
    return static_cast<double>(
        sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1))]);
}

void report(benchmark::State &state, std::vector<uint64_t> &samples)
{
    uint64_t sum = 0;
    for (uint64_t ns : samples) {
        sum += ns;
    }
    state.SetIterationTime(static_cast<double>(sum) / 1e9);
    std::sort(samples.begin(), samples.end());
    state.counters["p50_ns"] = quantile(samples, 0.50);
    state.counters["p90_ns"] = quantile(samples, 0.90);
    state.counters["p99_ns"] = quantile(samples, 0.99);
}

void BM_Request(benchmark::State &state, session_way way)
{
    const session_setup setup = {way, 0, false, 0, 0};
    session *s = session_open(&setup);
    std::vector<uint64_t> samples(kRound);
    session_ask(s, kWarmUp, samples.data());
    for (auto _ : state) {
        session_ask(s, kRound, samples.data());
        report(state, samples);
    }
    session_close(s);
}

// The raw peer answers from the other CPU: the client has one of its own. Without it the venue's
// work is on the shard, too.
void BM_Flood(benchmark::State &state, session_way way, bool raw)
{
    peer *p = raw ? peer_start(PEER_WS_ECHO, 1) : nullptr;
    const session_setup setup = {way, raw ? peer_port(p) : uint16_t{0}, false, 0, 0};
    session *s = session_open(&setup);
    session_counts warm_up = {};
    session_counts counts = {};
    session_flood(s, kFlood / 10, kWindow, &warm_up);
    for (auto _ : state) {
        session_flood(s, kFlood, kWindow, &counts);
        state.SetIterationTime(static_cast<double>(counts.wall_ns) / 1e9);
    }
    state.counters["requests_per_s"] =
        static_cast<double>(counts.done) / (static_cast<double>(counts.wall_ns) / 1e9);
    state.counters["cpu_ns_per_request"] =
        static_cast<double>(counts.cpu_ns) / static_cast<double>(counts.done);
    state.counters["allocations"] = static_cast<double>(counts.allocations);
    session_close(s);
    if (p != nullptr) {
        peer_stop(p);
    }
}

void BM_FanOut(benchmark::State &state, session_way way, uint32_t subscribers)
{
    const session_setup setup = {way, 0, false, 0, 0};
    session *s = session_open(&setup);
    for (uint32_t i = 0; i < subscribers; i++) {
        session_subscribe(s);
    }
    session_fan_out warm_up = {};
    session_fan_out sum = {};
    session_publish(s, kPublishRounds / 10, &warm_up);
    for (auto _ : state) {
        session_publish(s, kPublishRounds, &sum);
        state.SetIterationTime(static_cast<double>(sum.shard_ns) / 1e9);
    }
    const auto updates = static_cast<double>(sum.updates);
    state.counters["shard_ns_per_update"] = static_cast<double>(sum.shard_ns) / updates;
    if (subscribers != 0) {
        state.counters["read_ns_per_message"] =
            static_cast<double>(sum.read_ns) / updates / subscribers;
    }
    state.counters["allocations"] = static_cast<double>(sum.allocations);
    session_close(s);
}

void BM_Reconnect(benchmark::State &state, bool tls, uint32_t tickets, uint32_t topics)
{
    const session_setup setup = {SESSION_INLINE, 0, tls, tickets, topics};
    session *s = session_open(&setup);
    std::vector<uint64_t> samples(kLosses);
    std::vector<uint64_t> attempts(kLosses);
    session_lose(s, 3, samples.data(), attempts.data());
    for (auto _ : state) {
        session_lose(s, kLosses, samples.data(), attempts.data());
        report(state, samples);
    }
    std::sort(attempts.begin(), attempts.end());
    state.counters["attempt_p50_ns"] = quantile(attempts, 0.50);
    state.counters["attempt_p90_ns"] = quantile(attempts, 0.90);
    state.counters["tls_resumed"] = session_is_resumed(s) ? 1 : 0;
    session_close(s);
}

template <typename... Args> void Add(const std::string &name, Args... args)
{
    benchmark::RegisterBenchmark(name.c_str(), args...)
        ->UseManualTime()
        ->Iterations(1)
        ->Unit(benchmark::kMillisecond);
}

void RegisterAll()
{
    Add("request/inline", BM_Request, SESSION_INLINE);
    Add("request/port", BM_Request, SESSION_PORT);
    Add("request/port_same_thread", BM_Request, SESSION_PORT_SAME);
    Add("request/port_wait", BM_Request, SESSION_PORT_WAIT);
    Add("flood/inline_raw_peer", BM_Flood, SESSION_INLINE, true);
    Add("flood/inline", BM_Flood, SESSION_INLINE, false);
    Add("flood/port", BM_Flood, SESSION_PORT, false);
    Add("flood/port_same_thread", BM_Flood, SESSION_PORT_SAME, false);
    for (uint32_t subscribers : {0u, 1u, 4u, 16u}) {
        Add("fan_out/port/" + std::to_string(subscribers),
            BM_FanOut,
            SESSION_PORT_SAME,
            subscribers);
        Add("fan_out/inline/" + std::to_string(subscribers),
            BM_FanOut,
            SESSION_INLINE,
            subscribers);
    }
    for (uint32_t topics : {0u, 500u}) {
        Add("reconnect/plain/" + std::to_string(topics), BM_Reconnect, false, 0u, topics);
        Add("reconnect/tls/" + std::to_string(topics), BM_Reconnect, true, 0u, topics);
        Add("reconnect/tls_resumed/" + std::to_string(topics), BM_Reconnect, true, 2u, topics);
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

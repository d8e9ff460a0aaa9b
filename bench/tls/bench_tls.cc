/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_tls.cc - what a record costs (seal, open), beside OpenSSL's EVP doing the same work in the
 * same run; and what a full handshake costs, in memory, both sides on one core.
 *
 * `allocs` are wolfSSL's allocations per operation; `session_bytes` what one session holds.
 */
#include "bench/tls/bench_tls.h"

#include <benchmark/benchmark.h>
#include <cstdint>
#include <time.h>

namespace
{

constexpr int64_t kBatch = 64;

void sizes(benchmark::internal::Benchmark *b)
{
    b->Arg(64)->Arg(128)->Arg(1024)->Arg(4096)->Arg(16384);
}

/* CPU time, as Google Benchmark's own: on a busy machine the wall clock measures the others. */
double cpu_seconds()
{
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Pair {
    bench_site *site = bench_site_new();
    bench_pair *pair = bench_pair_new(site);
    ~Pair()
    {
        bench_pair_free(pair);
        bench_site_free(site);
    }
};

void report(benchmark::State &state, uint64_t allocations, int64_t batch)
{
    const int64_t records = static_cast<int64_t>(state.iterations()) * batch;
    state.SetItemsProcessed(records);
    state.SetBytesProcessed(records * state.range(0));
    state.counters["record"] = benchmark::Counter(
        static_cast<double>(records), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["allocs"] =
        static_cast<double>(bench_allocations() - allocations) / static_cast<double>(records);
}

void BM_tls_seal(benchmark::State &state)
{
    Pair p;
    const auto bytes = static_cast<size_t>(state.range(0));
    bench_seal(p.pair, bytes, false);
    const uint64_t allocations = bench_allocations();
    for (auto _ : state) {
        bench_seal(p.pair, bytes, false);
    }
    report(state, allocations, 1);
    state.SetLabel(bench_pair_what(p.pair));
}
BENCHMARK(BM_tls_seal)->Apply(sizes);

/*
 * A record opens once and in order, so a batch is sealed first; only opening it is timed. Time is
 * that of the batch, `record` that of one.
 */
void BM_tls_open(benchmark::State &state)
{
    Pair p;
    const auto bytes = static_cast<size_t>(state.range(0));
    const uint64_t allocations = bench_allocations();
    for (auto _ : state) {
        for (int64_t i = 0; i < kBatch; i++) {
            bench_seal(p.pair, bytes, true);
        }
        const double start = cpu_seconds();
        benchmark::DoNotOptimize(bench_open(p.pair));
        state.SetIterationTime(cpu_seconds() - start);
    }
    report(state, allocations, kBatch);
}
BENCHMARK(BM_tls_open)->Apply(sizes)->UseManualTime();

void BM_evp_seal(benchmark::State &state)
{
    bench_evp *evp = bench_evp_new();
    if (evp == nullptr) {
        state.SkipWithError("no libcrypto.so.3");
        return;
    }
    for (auto _ : state) {
        if (!bench_evp_seal(evp, static_cast<size_t>(state.range(0)))) {
            state.SkipWithError("EVP failed");
        }
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
    bench_evp_free(evp);
}
BENCHMARK(BM_evp_seal)->Apply(sizes);

void BM_evp_open(benchmark::State &state)
{
    bench_evp *evp = bench_evp_new();
    if (evp == nullptr) {
        state.SkipWithError("no libcrypto.so.3");
        return;
    }
    const auto bytes = static_cast<size_t>(state.range(0));
    (void)bench_evp_seal(evp, bytes);
    for (auto _ : state) {
        if (!bench_evp_open(evp, bytes)) {
            state.SkipWithError("EVP failed");
        }
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
    bench_evp_free(evp);
}
BENCHMARK(BM_evp_open)->Apply(sizes);

/* ECDSA P-256, X25519: client and server, with all verification. */
void BM_tls_handshake(benchmark::State &state)
{
    bench_site *site = bench_site_new();
    const uint64_t allocations = bench_allocations();
    for (auto _ : state) {
        bench_pair *pair = bench_pair_new(site);
        if (pair == nullptr) {
            state.SkipWithError("handshake failed");
            break;
        }
        bench_pair_free(pair);
    }
    const auto count = static_cast<int64_t>(state.iterations());
    state.SetItemsProcessed(count);
    state.counters["allocs"] =
        static_cast<double>(bench_allocations() - allocations) / static_cast<double>(count);
    bench_site_free(site);
    bench_memory_watch(true);
    site = bench_site_new();
    const int64_t before = bench_memory_bytes();
    bench_pair *pair = bench_pair_new(site);
    state.counters["session_bytes"] = static_cast<double>(bench_memory_bytes() - before) / 2;
    bench_pair_free(pair);
    bench_site_free(site);
    bench_memory_watch(false);
}
BENCHMARK(BM_tls_handshake)->Unit(benchmark::kMicrosecond);

} // namespace

BENCHMARK_MAIN();

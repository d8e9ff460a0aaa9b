/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_tls.cc - what a record costs (seal, open) and what a handshake costs (full, resumed; both
 * sides on one core, in memory), beside OpenSSL's libssl doing the same in the same run; and
 * beside its EVP doing the cipher's work alone.
 *
 * `allocs` are the library's allocations per operation; `session_bytes` what one session holds
 * after its handshake, idle.
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

void report(benchmark::State &state, uint64_t allocated, int64_t batch)
{
    const int64_t records = static_cast<int64_t>(state.iterations()) * batch;
    state.SetItemsProcessed(records);
    state.SetBytesProcessed(records * state.range(0));
    state.counters["record"] = benchmark::Counter(
        static_cast<double>(records), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    state.counters["allocs"] = static_cast<double>(allocated) / static_cast<double>(records);
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
    report(state, bench_allocations() - allocations, 1);
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
    report(state, bench_allocations() - allocations, kBatch);
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

struct Ossl {
    bench_site *site = bench_site_new();
    bench_ossl *ossl;
    explicit Ossl(bool resume = false) : ossl(bench_ossl_new(site, resume))
    {
    }
    ~Ossl()
    {
        if (ossl != nullptr) {
            bench_ossl_free(ossl);
        }
        bench_site_free(site);
    }
};

void BM_openssl_seal(benchmark::State &state)
{
    Ossl o;
    bench_ossl_pair *pair = o.ossl == nullptr ? nullptr : bench_ossl_pair_new(o.ossl);
    if (pair == nullptr) {
        state.SkipWithError("no libssl.so.3");
        return;
    }
    const auto bytes = static_cast<size_t>(state.range(0));
    (void)bench_ossl_seal(o.ossl, pair, bytes, false);
    const uint64_t allocations = bench_ossl_allocations();
    for (auto _ : state) {
        if (!bench_ossl_seal(o.ossl, pair, bytes, false)) {
            state.SkipWithError("SSL_write failed");
        }
    }
    report(state, bench_ossl_allocations() - allocations, 1);
    bench_ossl_pair_free(o.ossl, pair);
}
BENCHMARK(BM_openssl_seal)->Apply(sizes);

void BM_openssl_open(benchmark::State &state)
{
    Ossl o;
    bench_ossl_pair *pair = o.ossl == nullptr ? nullptr : bench_ossl_pair_new(o.ossl);
    if (pair == nullptr) {
        state.SkipWithError("no libssl.so.3");
        return;
    }
    const auto bytes = static_cast<size_t>(state.range(0));
    const uint64_t allocations = bench_ossl_allocations();
    for (auto _ : state) {
        for (int64_t i = 0; i < kBatch; i++) {
            (void)bench_ossl_seal(o.ossl, pair, bytes, true);
        }
        const double start = cpu_seconds();
        benchmark::DoNotOptimize(bench_ossl_open(o.ossl, pair));
        state.SetIterationTime(cpu_seconds() - start);
    }
    report(state, bench_ossl_allocations() - allocations, kBatch);
    bench_ossl_pair_free(o.ossl, pair);
}
BENCHMARK(BM_openssl_open)->Apply(sizes)->UseManualTime();

/* ECDSA P-256, X25519: client and server, with all verification. */
void handshakes(benchmark::State &state, bool resume)
{
    bench_site *site = bench_site_new();
    if (resume) {
        bench_site_resume(site);
        bench_pair_free(bench_pair_new(site));
    }
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

void BM_tls_handshake(benchmark::State &state)
{
    handshakes(state, false);
}
BENCHMARK(BM_tls_handshake)->Unit(benchmark::kMicrosecond);

void BM_tls_resume(benchmark::State &state)
{
    handshakes(state, true);
}
BENCHMARK(BM_tls_resume)->Unit(benchmark::kMicrosecond);

void openssl_handshakes(benchmark::State &state, bool resume)
{
    Ossl o(resume);
    bench_ossl_pair *pair = o.ossl == nullptr ? nullptr : bench_ossl_pair_new(o.ossl);
    if (pair == nullptr) {
        state.SkipWithError("no libssl.so.3");
        return;
    }
    bench_ossl_pair_free(o.ossl, pair);
    const uint64_t allocations = bench_ossl_allocations();
    for (auto _ : state) {
        pair = bench_ossl_pair_new(o.ossl);
        if (pair == nullptr) {
            state.SkipWithError("handshake failed");
            return;
        }
        bench_ossl_pair_free(o.ossl, pair);
    }
    const auto count = static_cast<int64_t>(state.iterations());
    state.SetItemsProcessed(count);
    state.counters["allocs"] =
        static_cast<double>(bench_ossl_allocations() - allocations) / static_cast<double>(count);
    const int64_t before = bench_ossl_memory();
    pair = bench_ossl_pair_new(o.ossl);
    state.counters["session_bytes"] = static_cast<double>(bench_ossl_memory() - before) / 2;
    bench_ossl_pair_free(o.ossl, pair);
}

void BM_openssl_handshake(benchmark::State &state)
{
    openssl_handshakes(state, false);
}
BENCHMARK(BM_openssl_handshake)->Unit(benchmark::kMicrosecond);

void BM_openssl_resume(benchmark::State &state)
{
    openssl_handshakes(state, true);
}
BENCHMARK(BM_openssl_resume)->Unit(benchmark::kMicrosecond);

} // namespace

BENCHMARK_MAIN();

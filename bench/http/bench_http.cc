/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_http.cc - HTTP clients beside each other, against the same servers in the same run.
 *
 * BM_http1/<client>/<open>     keep-alive GETs of 100 bytes against nginx, so many open at a time;
 *                              with 1 the time is the round trip. wrk is a load generator: what it
 *                              reaches is what nginx gives.
 * BM_http2/<client>/<streams>  the same against nghttpd, streams of one connection.
 * BM_http2_far/<window>        100 MB over a round trip of 50 ms: windows that follow the measured
 *                              bandwidth-delay product, and windows of 64 KiB.
 *
 * hpx and libcurl run on this thread. allocations_per_request counts those of the engine's
 * allocator, through which nghttp2 takes its memory, too. Clients that are not installed are
 * skipped.
 */
#include "bench/http/bench_http.h"

#include <benchmark/benchmark.h>
#include <cstdio>

namespace
{

bench_servers servers;

void BM_hpx(benchmark::State &state, bool h2)
{
    if ((h2 ? servers.nghttpd : servers.nginx) == 0) {
        state.SkipWithError("the server is not installed");
        return;
    }
    const auto open = static_cast<uint32_t>(state.range(0));
    const uint32_t count = open == 1 ? 500 : 5000;
    bench_hpx *hpx = bench_hpx_new(h2 ? servers.h2_port : servers.h1_port, h2, false);
    bench_hpx_result result;
    bench_hpx_run(hpx, "/small", open, 2000, &result); /* connect, warm up */
    uint64_t allocations = 0;
    uint64_t failed = 0;
    while (state.KeepRunningBatch(count)) {
        bench_hpx_run(hpx, "/small", open, count, &result);
        allocations += result.allocations;
        failed += result.failed;
    }
    bench_hpx_free(hpx);
    state.SetItemsProcessed(state.iterations());
    state.counters["failed"] = static_cast<double>(failed);
    state.counters["allocations_per_request"] =
        static_cast<double>(allocations) / static_cast<double>(state.iterations());
}

void BM_curl(benchmark::State &state)
{
    if (servers.nginx == 0) {
        state.SkipWithError("nginx is not installed");
        return;
    }
    const auto open = static_cast<uint32_t>(state.range(0));
    const uint32_t count = open == 1 ? 500 : 5000;
    bench_curl *curl = bench_curl_new(servers.h1_port, "/small", open);
    bench_curl_run(curl, 200);
    while (state.KeepRunningBatch(count)) {
        bench_curl_run(curl, count);
    }
    bench_curl_free(curl);
    state.SetItemsProcessed(state.iterations());
}

/* The rate that another program reports, as one iteration of so many seconds. */
void report_external(benchmark::State &state, const char *command, const char *key)
{
    double rate = 0;
    for (auto _ : state) {
        rate = bench_external(command, key);
        state.SetIterationTime(rate > 0 ? 1 / rate : 1);
    }
    if (rate <= 0) {
        state.SkipWithError("not installed");
        return;
    }
    state.counters["items_per_second"] = rate;
}

void BM_wrk(benchmark::State &state)
{
    char command[160];
    std::snprintf(
        command,
        sizeof(command),
        "wrk -t1 -c%d -d2s http://127.0.0.1:%u/small 2>/dev/null",
        static_cast<int>(state.range(0)),
        servers.h1_port);
    report_external(state, command, "Requests/sec:");
}

void BM_h2load(benchmark::State &state)
{
    char command[160];
    const int streams = static_cast<int>(state.range(0));
    std::snprintf(
        command,
        sizeof(command),
        "h2load -n %d -c 1 -m %d http://127.0.0.1:%u/small 2>/dev/null",
        streams == 1 ? 10000 : 50000,
        streams,
        servers.h2_port);
    report_external(state, command, "s, ");
}

void BM_far(benchmark::State &state, bool fixed_window)
{
    if (servers.nghttpd == 0) {
        state.SkipWithError("nghttpd is not installed");
        return;
    }
    for (auto _ : state) {
        state.PauseTiming();
        bench_proxy *proxy = bench_proxy_new(servers.h2_port, 50 * 1000 * 1000);
        bench_hpx *hpx = bench_hpx_new(bench_proxy_port(proxy), true, fixed_window);
        bench_hpx_result result;
        state.ResumeTiming();
        bench_hpx_run(hpx, "/large", 1, 1, &result);
        state.PauseTiming();
        if (result.done != 1) {
            state.SkipWithError("the download failed");
        }
        bench_hpx_free(hpx);
        bench_proxy_free(proxy);
        state.SetBytesProcessed(state.bytes_processed() + static_cast<int64_t>(result.bytes));
        state.ResumeTiming();
    }
}

} // namespace

BENCHMARK_CAPTURE(BM_hpx, http1, false)->Name("BM_http1/hpx")->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(BM_curl)->Name("BM_http1/libcurl")->Arg(1)->Arg(16)->UseRealTime();
BENCHMARK(BM_wrk)->Name("BM_http1/wrk")->Arg(1)->Arg(16)->UseManualTime()->Iterations(1);
BENCHMARK_CAPTURE(BM_hpx, http2, true)->Name("BM_http2/hpx")->Arg(1)->Arg(100)->UseRealTime();
BENCHMARK(BM_h2load)->Name("BM_http2/h2load")->Arg(1)->Arg(100)->UseManualTime()->Iterations(1);
BENCHMARK_CAPTURE(BM_far, bdp, false)
    ->Name("BM_http2_far/bdp_window")
    ->Iterations(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(BM_far, fixed, true)
    ->Name("BM_http2_far/window_64k")
    ->Iterations(1)
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

int main(int argc, char **argv)
{
    benchmark::Initialize(&argc, argv);
    bench_servers_start(&servers);
    benchmark::RunSpecifiedBenchmarks();
    bench_servers_stop(&servers);
    return 0;
}

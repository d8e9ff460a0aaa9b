/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_messages.cc - time to read one response or request, and to write one request. All data
 * stays in the cache: what is measured is the code. `message` is the time of one.
 */
#include "bench/h1/bench_messages.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <string>

namespace
{

/* What an exchange behind a CDN answers: 12 fields, about 400 bytes. */
const std::string fields = "Content-Type: application/json;charset=UTF-8\r\n"
                           "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                           "Server: nginx\r\n"
                           "X-Mbx-Uuid: 5f9b3f70-8c1e-4d36-9a01-2a4f9d3c8e71\r\n"
                           "X-Mbx-Used-Weight: 2\r\n"
                           "X-Mbx-Used-Weight-1m: 2\r\n"
                           "Strict-Transport-Security: max-age=31536000; includeSubdomains\r\n"
                           "X-Frame-Options: SAMEORIGIN\r\n"
                           "X-Content-Type-Options: nosniff\r\n"
                           "Cache-Control: no-cache, no-store, must-revalidate\r\n"
                           "Connection: keep-alive\r\n";

std::string response_of(size_t body)
{
    return "HTTP/1.1 200 OK\r\n" + fields + "Content-Length: " + std::to_string(body) + "\r\n\r\n" +
           std::string(body, 'x');
}

std::string chunked_of(size_t body, size_t chunk)
{
    std::string text = "HTTP/1.1 200 OK\r\n" + fields + "Transfer-Encoding: chunked\r\n\r\n";
    for (size_t at = 0; at < body; at += chunk) {
        char head[32];
        snprintf(head, sizeof(head), "%zx\r\n", std::min(chunk, body - at));
        text += head + std::string(std::min(chunk, body - at), 'x') + "\r\n";
    }
    return text + "0\r\n\r\n";
}

void read(benchmark::State &state, const std::string &text, bool is_server, size_t chunk)
{
    bench_reader *reader = bench_reader_new(is_server);
    const auto *data = reinterpret_cast<const uint8_t *>(text.data());
    for (auto _ : state) {
        benchmark::DoNotOptimize(bench_reader_run(reader, data, text.size(), chunk));
    }
    const auto turns = static_cast<int64_t>(state.iterations());
    state.SetBytesProcessed(turns * static_cast<int64_t>(text.size()));
    state.counters["message"] = benchmark::Counter(
        static_cast<double>(turns), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    bench_reader_free(reader);
}

void BM_response(benchmark::State &state)
{
    read(state, response_of(static_cast<size_t>(state.range(0))), false, SIZE_MAX);
}

/* Reads of 64 bytes: the head is cut in 9. */
void BM_response_cut(benchmark::State &state)
{
    read(state, response_of(static_cast<size_t>(state.range(0))), false, 64);
}

void BM_response_chunked(benchmark::State &state)
{
    read(state, chunked_of(static_cast<size_t>(state.range(0)), 1024), false, SIZE_MAX);
}

/* The smallest there is. */
void BM_response_minimal(benchmark::State &state)
{
    read(state, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false, SIZE_MAX);
}

void BM_request(benchmark::State &state)
{
    read(
        state,
        "GET /api/v3/depth?symbol=BTCUSDT&limit=100 HTTP/1.1\r\nHost: api.example.com\r\n"
        "Accept: application/json\r\nUser-Agent: hpx/0.1\r\n\r\n",
        true,
        SIZE_MAX);
}

void BM_request_write(benchmark::State &state)
{
    bench_reader *writer = bench_reader_new(0);
    size_t bytes = 0;
    for (auto _ : state) {
        bytes = bench_request_write(writer);
        benchmark::DoNotOptimize(bytes);
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(bytes));
    bench_reader_free(writer);
}

BENCHMARK(BM_response_minimal);
BENCHMARK(BM_response)->Arg(0)->Arg(1024)->Arg(16384);
BENCHMARK(BM_response_cut)->Arg(1024);
BENCHMARK(BM_response_chunked)->Arg(1024)->Arg(16384);
BENCHMARK(BM_request);
BENCHMARK(BM_request_write);

} // namespace

BENCHMARK_MAIN();

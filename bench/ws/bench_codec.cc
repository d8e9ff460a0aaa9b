/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_codec.cc - frames per second through the decoder and the encoder, bytes per second through
 * masking and UTF-8 validation, each beside its scalar reference. All data stays in the cache:
 * what is measured is the code. `frame` is the time of one frame.
 */
#include "bench/ws/bench_codec.h"

#include <benchmark/benchmark.h>
#include <cstring>
#include <string>
#include <vector>

namespace
{

const uint8_t key[4] = {0x9A, 0x3C, 0x51, 0xE7};

/* A tick as exchanges send them; `mixed` has a character of 2 to 4 bytes in every few. */
std::string text_of(size_t size, bool mixed)
{
    static const std::string ascii = "{\"e\":\"trade\",\"s\":\"BTCUSDT\",\"p\":\"63214.17\",\"q\":"
                                     "\"0.00215\",\"T\":1700000000123}";
    static const std::string other =
        "цена 63 214,17 ₽ — 価格は六万三千 🚀 größer als zuvor; ";
    std::string text;
    while (text.size() < size) {
        text += mixed ? other : ascii;
    }
    while ((text[size] & 0xC0) == 0x80) {
        size--;
    }
    text.resize(size);
    return text;
}

std::vector<uint8_t> frames_of(size_t size, bool is_text, bool masked, size_t *count)
{
    const std::string payload = text_of(size, false);
    const size_t wanted = size < 4096 ? 32768 : 131072; /* bytes of input per run */
    std::vector<uint8_t> frames(wanted + 2 * (size + 14));
    size_t at = 0;
    for (*count = 0; at < wanted; ++*count) {
        at += bench_encode(
            frames.data() + at,
            is_text,
            masked ? key : nullptr,
            reinterpret_cast<const uint8_t *>(payload.data()),
            payload.size());
    }
    frames.resize(at);
    return frames;
}

void report_frames(benchmark::State &state, size_t frames_per_turn, size_t bytes_per_turn)
{
    const auto turns = static_cast<int64_t>(state.iterations());
    state.SetItemsProcessed(turns * static_cast<int64_t>(frames_per_turn));
    state.SetBytesProcessed(turns * static_cast<int64_t>(bytes_per_turn));
    state.counters["frame"] = benchmark::Counter(
        static_cast<double>(turns) * static_cast<double>(frames_per_turn),
        benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void decode(benchmark::State &state, bool is_text, bool is_server, size_t chunk)
{
    size_t count = 0;
    auto frames = frames_of(static_cast<size_t>(state.range(0)), is_text, is_server, &count);
    bench_decoder *decoder = bench_decoder_new(is_server);
    for (auto _ : state) {
        const size_t seen = bench_decoder_run(decoder, frames.data(), frames.size(), chunk);
        if (seen != count) {
            state.SkipWithError("lost a frame");
            break;
        }
    }
    report_frames(state, count, frames.size());
    bench_decoder_free(decoder);
}

void BM_decode_binary(benchmark::State &state)
{
    decode(state, false, false, 0);
}

void BM_decode_text(benchmark::State &state)
{
    decode(state, true, false, 0);
}

/* Frames of clients, unmasked in place (every other turn masks them again: the bytes do not
 * matter to a binary frame). */
void BM_decode_binary_masked(benchmark::State &state)
{
    decode(state, false, true, 0);
}

/* Reads of 1448 bytes, one TCP segment: most frames of 1024 bytes are cut, all of 16384. */
void BM_decode_text_cut(benchmark::State &state)
{
    decode(state, true, false, 1448);
}

void encode(benchmark::State &state, bool masked)
{
    const std::string payload = text_of(static_cast<size_t>(state.range(0)), false);
    std::vector<uint8_t> frame(payload.size() + 14);
    size_t bytes = 0;
    for (auto _ : state) {
        bytes = bench_encode(
            frame.data(),
            1,
            masked ? key : nullptr,
            reinterpret_cast<const uint8_t *>(payload.data()),
            payload.size());
        benchmark::ClobberMemory();
    }
    report_frames(state, 1, bytes);
}

void BM_encode_client(benchmark::State &state)
{
    encode(state, true);
}

void BM_encode_server(benchmark::State &state)
{
    encode(state, false);
}

#define SIZES Arg(32)->Arg(200)->Arg(1024)->Arg(16384)
BENCHMARK(BM_decode_binary)->SIZES;
BENCHMARK(BM_decode_text)->SIZES;
BENCHMARK(BM_decode_binary_masked)->SIZES;
BENCHMARK(BM_decode_text_cut)->SIZES;
BENCHMARK(BM_encode_client)->SIZES;
BENCHMARK(BM_encode_server)->SIZES;

void BM_mask(benchmark::State &state, int form)
{
    bench_mask_fn *mask = bench_mask(form);
    const auto size = static_cast<size_t>(state.range(0));
    std::vector<uint8_t> src(size, 0x55);
    std::vector<uint8_t> dst(size);
    for (auto _ : state) {
        mask(dst.data(), src.data(), size, key, 1);
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations()) * state.range(0));
}
BENCHMARK_CAPTURE(BM_mask, best, 0)->Arg(16)->SIZES;
BENCHMARK_CAPTURE(BM_mask, portable, 1)->Arg(16)->SIZES;
BENCHMARK_CAPTURE(BM_mask, scalar, 2)->Arg(16)->SIZES;

void BM_utf8(benchmark::State &state, int form, bool mixed)
{
    bench_utf8_fn *check = bench_utf8(form);
    const std::string text = text_of(static_cast<size_t>(state.range(0)), mixed);
    for (auto _ : state) {
        if (!check(reinterpret_cast<const uint8_t *>(text.data()), text.size())) {
            state.SkipWithError("good text refused");
            break;
        }
    }
    state.SetBytesProcessed(
        static_cast<int64_t>(state.iterations()) * static_cast<int64_t>(text.size()));
}
BENCHMARK_CAPTURE(BM_utf8, ascii_best, 0, false)->SIZES;
BENCHMARK_CAPTURE(BM_utf8, ascii_portable, 1, false)->SIZES;
BENCHMARK_CAPTURE(BM_utf8, ascii_scalar, 2, false)->SIZES;
BENCHMARK_CAPTURE(BM_utf8, mixed_best, 0, true)->SIZES;
BENCHMARK_CAPTURE(BM_utf8, mixed_portable, 1, true)->SIZES;
BENCHMARK_CAPTURE(BM_utf8, mixed_scalar, 2, true)->SIZES;

} // namespace

BENCHMARK_MAIN();

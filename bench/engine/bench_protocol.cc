/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_protocol.cc - what a dialect costs for each message: classify(), beside yyjson parsing the
 * same text and looking up the same fields (with malloc, and with a pool that never reaches it).
 * `message` is the time of one message. All data stays in the cache: what is measured is the code.
 */
#include <benchmark/benchmark.h>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>
#include <yyjson.h>

#include <hpx/protocol.h>

namespace
{

/* Messages of one kind with other numbers in each: a feed never says the same thing twice, and a
 * branch predictor that has seen the one message a thousand times knows it by heart. */
constexpr size_t variants = 1024;
using messages = std::vector<std::string>;

messages make(const std::function<std::string(std::mt19937 &)> &one)
{
    std::mt19937 random(1);
    messages all;
    for (size_t i = 0; i < variants; i++) {
        all.push_back(one(random));
    }
    return all;
}

std::string number(std::mt19937 &random, uint32_t below, uint32_t digits)
{
    std::string text = std::to_string(random() % below);
    if (digits != 0) {
        text += "." + std::to_string(random()).substr(0, 1 + random() % digits);
    }
    return text;
}

/* A trade in Deribit's shape, of about 200 bytes. */
std::string trade(std::mt19937 &random)
{
    static const char *const pairs[] = {"BTC-USD", "ETH-USD", "SOL-USDC", "XRP-USD", "DOGE-EUR"};
    const std::string pair = pairs[random() % 5];
    return "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"trades." +
           pair + "\",\"data\":{\"seq\":" + number(random, 1000000, 0) + ",\"ts_ns\":17000000" +
           std::to_string(random()).substr(0, 5) +
           "3456789,\"price\":" + number(random, 100000, 2) +
           ",\"amount\":" + number(random, 20, 5) + ",\"side\":\"" +
           (random() % 2 == 0 ? "buy" : "sell") + "\",\"id\":\"BTC-" + number(random, 1000000, 0) +
           "\"}}}";
}

std::string answer(std::mt19937 &random)
{
    return "{\"jsonrpc\":\"2.0\",\"id\":" + std::to_string(4294967296 + random()) +
           ",\"result\":{\"order_id\":\"BTC-" + number(random, 1000000000, 0) +
           "\",\"state\":\"open\",\"price\":" + number(random, 100000, 2) +
           ",\"amount\":" + number(random, 1000, 0) + ",\"filled\":" + number(random, 20, 0) +
           ",\"time_in_force\":\"good_til_cancelled\",\"created_ms\":1700000" +
           std::to_string(random()).substr(0, 6) + "}}";
}

/* An order book of `levels` levels on each side: what passing over costs. */
std::string book(std::mt19937 &random, int levels)
{
    std::string text = "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":"
                       "\"book.BTC-USD\",\"data\":{";
    for (const char *side : {"bids", "asks"}) {
        text += std::string("\"") + side + "\":[";
        for (int i = 0; i < levels; i++) {
            text += (i == 0 ? "[" : ",[") + number(random, 100000, 2) + ",\"" +
                    number(random, 20, 5) + "\"]";
        }
        text += side[0] == 'b' ? "]," : "]";
    }
    return text + "}}}";
}

void report(benchmark::State &state, const messages &all)
{
    size_t bytes = 0;
    for (const std::string &text : all) {
        bytes += text.size();
    }
    const auto turns = static_cast<int64_t>(state.iterations());
    const double mean = static_cast<double>(bytes) / static_cast<double>(all.size());
    state.SetBytesProcessed(static_cast<int64_t>(static_cast<double>(turns) * mean));
    state.counters["bytes"] = mean;
    state.counters["message"] = benchmark::Counter(
        static_cast<double>(turns), benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

void classify(
    benchmark::State &state,
    const hpx_protocol *protocol,
    const messages &all,
    hpx_message_class expected)
{
    size_t at = 0;
    for (auto _ : state) {
        const std::string &text = all[at++ % variants];
        const hpx_span span = {reinterpret_cast<const uint8_t *>(text.data()), text.size()};
        hpx_classified found = {};
        protocol->classify(protocol->ctx, span, &found);
        benchmark::DoNotOptimize(found);
        if (found.message_class != expected) {
            state.SkipWithError("another class");
            break;
        }
    }
    report(state, all);
}

void json_rpc(benchmark::State &state, const messages &all, hpx_message_class expected)
{
    classify(state, hpx_protocol_json_rpc(), all, expected);
}

/* The same shape by rules, as many as a real exchange takes. */
void json_rules(benchmark::State &state, const messages &all, hpx_message_class expected)
{
    hpx_json_config config = {};
    config.size = static_cast<uint32_t>(sizeof(config));
    config.topic_field = "params.channel";
    config.update_rule = "method=subscription";
    config.system_rule = "method=system";
    config.reconnect_rule = "method=system&params.type=maintenance";
    config.ping_rule = "method=heartbeat&params.type=test_request";
    hpx_protocol *protocol = nullptr;
    if (hpx_protocol_json_new(&protocol, &config, nullptr) != HPX_OK) {
        state.SkipWithError("config");
        return;
    }
    classify(state, protocol, all, expected);
    hpx_protocol_free(protocol);
}

/* What a reader with yyjson would ask: is it a call, of which method and channel; else its id. */
void yyjson(benchmark::State &state, const messages &all, const yyjson_alc *allocator)
{
    messages copies = all; /* its parser wants them writable, and does not write */
    size_t at = 0;
    for (auto _ : state) {
        std::string &copy = copies[at++ % variants];
        yyjson_doc *doc =
            yyjson_read_opts(&copy[0], copy.size(), YYJSON_READ_NOFLAG, allocator, nullptr);
        yyjson_val *root = yyjson_doc_get_root(doc);
        yyjson_val *method = yyjson_obj_get(root, "method");
        const char *topic = nullptr;
        uint64_t id = 0;
        if (method != nullptr) {
            if (yyjson_equals_str(method, "subscription")) {
                topic = yyjson_get_str(yyjson_obj_get(yyjson_obj_get(root, "params"), "channel"));
            }
        } else {
            id = yyjson_get_uint(yyjson_obj_get(root, "id"));
            benchmark::DoNotOptimize(yyjson_obj_get(root, "error"));
            benchmark::DoNotOptimize(yyjson_obj_get(root, "result"));
        }
        benchmark::DoNotOptimize(topic);
        benchmark::DoNotOptimize(id);
        if (topic == nullptr && id == 0) {
            state.SkipWithError("nothing found");
            break;
        }
        yyjson_doc_free(doc);
    }
    report(state, all);
}

void yyjson_malloc(benchmark::State &state, const messages &all)
{
    yyjson(state, all, nullptr);
}

void yyjson_pool(benchmark::State &state, const messages &all)
{
    std::string memory(yyjson_read_max_memory_usage(2 * all[0].size(), YYJSON_READ_NOFLAG), '\0');
    yyjson_alc allocator;
    if (!yyjson_alc_pool_init(&allocator, &memory[0], memory.size())) {
        state.SkipWithError("pool");
        return;
    }
    yyjson(state, all, &allocator);
}

const messages update = make(trade);
const messages response = make(answer);
const messages small_book = make([](std::mt19937 &random) { return book(random, 20); });
const messages large_book = make([](std::mt19937 &random) { return book(random, 500); });

} // namespace

BENCHMARK_CAPTURE(json_rpc, update, update, HPX_CLASS_UPDATE);
BENCHMARK_CAPTURE(json_rules, update, update, HPX_CLASS_UPDATE);
BENCHMARK_CAPTURE(yyjson_malloc, update, update);
BENCHMARK_CAPTURE(yyjson_pool, update, update);
BENCHMARK_CAPTURE(json_rpc, response, response, HPX_CLASS_RESPONSE);
BENCHMARK_CAPTURE(yyjson_malloc, response, response);
BENCHMARK_CAPTURE(yyjson_pool, response, response);
BENCHMARK_CAPTURE(json_rpc, book_20, small_book, HPX_CLASS_UPDATE);
BENCHMARK_CAPTURE(yyjson_malloc, book_20, small_book);
BENCHMARK_CAPTURE(yyjson_pool, book_20, small_book);
BENCHMARK_CAPTURE(json_rpc, book_500, large_book, HPX_CLASS_UPDATE);
BENCHMARK_CAPTURE(yyjson_malloc, book_500, large_book);
BENCHMARK_CAPTURE(yyjson_pool, book_500, large_book);

BENCHMARK_MAIN();

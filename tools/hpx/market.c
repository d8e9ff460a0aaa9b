/* SPDX-License-Identifier: Apache-2.0 */
/*
 * market.c - the simulated market.
 *
 * Updates are formatted by hand (no printf, no JSON library): at a million a second that is what
 * keeps the simulator from being the slowest part of a measurement.
 */
#include "market.h"

#include <assert.h>
#include <string.h>

#include "text.h"

#define MARKET_LEVELS 2

/* SplitMix64 (Steele, Lea, Flood 2014): one word of state, every seed is a good one. */
static uint64_t market_random(market *m)
{
    m->random += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t x = m->random;
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static int64_t market_start_cents(const char *name, uint64_t hash)
{
    static const struct {
        const char *prefix;
        int64_t cents;
    } known[] = {{"BTC", 6500000}, {"ETH", 350000}, {"SOL", 15000}};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strncmp(name, known[i].prefix, 3) == 0) {
            return known[i].cents;
        }
    }
    return 1000 + (int64_t)(hash % 100000);
}

static bool market_is_symbol_byte(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

static void market_add_topic(market *m, uint32_t symbol, bool is_book)
{
    assert(m->topic_count < MARKET_TOPICS_MAX);
    market_topic *topic = &m->topics[m->topic_count++];
    *topic = (market_topic){.symbol = symbol, .is_book = is_book};
    text out;
    text_init(&out, topic->name, sizeof(topic->name));
    text_addf(&out, "%s.%s", is_book ? "book" : "trades", m->symbols[symbol].name);
    assert(!out.full);
    text_init(&out, topic->head, sizeof(topic->head));
    text_addf(
        &out,
        "{\"jsonrpc\":\"2.0\",\"method\":\"subscription\",\"params\":{\"channel\":\"%s\","
        "\"data\":{\"seq\":",
        topic->name);
    assert(!out.full);
    topic->head_size = out.size;
}

/* Returns NULL or what is wrong with the name. */
static const char *market_add_symbol(market *m, const char *name, size_t size)
{
    if (size == 0 || size > MARKET_SYMBOL_BYTES) {
        return "a symbol has 1 to 24 characters";
    }
    if (m->symbol_count == MARKET_SYMBOLS_MAX) {
        return "at most 256 symbols";
    }
    market_symbol *symbol = &m->symbols[m->symbol_count];
    *symbol = (market_symbol){0};
    uint64_t hash = 0;
    for (size_t i = 0; i < size; i++) {
        if (!market_is_symbol_byte(name[i])) {
            return "a symbol is made of letters, digits, - and _";
        }
        symbol->name[i] = name[i];
        hash = hash * 31 + (unsigned char)name[i];
    }
    if (market_find_symbol(m, symbol->name) >= 0) {
        return "a symbol is named twice";
    }
    symbol->start_cents = market_start_cents(symbol->name, hash);
    symbol->price_cents = symbol->start_cents;
    const uint32_t index = m->symbol_count++;
    market_add_topic(m, index, false);
    market_add_topic(m, index, true);
    return NULL;
}

bool market_init(market *m, const char *symbols, uint64_t seed, const char **why)
{
    assert(why != NULL);
    *m = (market){.random = seed};
    const char *name = symbols;
    for (;;) {
        const size_t size = strcspn(name, ",");
        *why = market_add_symbol(m, name, size);
        if (*why != NULL) {
            return false;
        }
        if (name[size] == '\0') {
            return true;
        }
        name += size + 1;
    }
}

int market_find_symbol(const market *m, const char *name)
{
    for (uint32_t i = 0; i < m->symbol_count; i++) {
        if (strcmp(m->symbols[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

int market_find_topic(const market *m, const char *name, size_t size)
{
    for (uint32_t i = 0; i < m->topic_count; i++) {
        if (strlen(m->topics[i].name) == size && memcmp(m->topics[i].name, name, size) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* A step of up to 1/10000 of the price either way, reflected at the walk's walls. */
static void market_walk(market_symbol *symbol, uint64_t random)
{
    const int64_t reach = symbol->start_cents / 10000 + 1;
    const int64_t step = (int64_t)(random % (uint64_t)(2 * reach + 1)) - reach;
    const int64_t next = symbol->price_cents + step;
    const bool is_inside = next > symbol->start_cents / 2 && next < symbol->start_cents * 2;
    symbol->price_cents = is_inside ? next : symbol->price_cents - step;
    assert(symbol->price_cents > 0);
}

market_update market_step(market *m)
{
    assert(m->topic_count > 0);
    const uint64_t random = market_random(m);
    const uint32_t index = (uint32_t)((random >> 32) % m->topic_count);
    market_topic *topic = &m->topics[index];
    market_symbol *symbol = &m->symbols[topic->symbol];
    market_walk(symbol, random & 0xFFFFFF);
    const uint64_t amounts = market_random(m);
    return (market_update){
        .topic = index,
        .sequence = ++topic->sequence,
        .price_cents = symbol->price_cents,
        .spread_cents = symbol->start_cents / 20000 + 1,
        .amount = 1 + amounts % 50000,
        .amount_other = 1 + (amounts >> 32) % 50000,
        .is_buy = (random >> 24 & 1) != 0,
    };
}

/* Literals only: the size is known at compile time. */
#define MARKET_PUT(out, literal)                                                                   \
    (memcpy((out), (literal), sizeof(literal) - 1), (out) + sizeof(literal) - 1)

static char *market_put_digits(char *out, uint64_t value)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[sizeof(digits) - ++count] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    memcpy(out, digits + sizeof(digits) - count, count);
    return out + count;
}

/* `value` in units of 10^-decimals, as 12.34. */
static char *market_put_fixed(char *out, uint64_t value, int decimals)
{
    uint64_t scale = 1;
    for (int i = 0; i < decimals; i++) {
        scale *= 10;
    }
    out = market_put_digits(out, value / scale);
    *out++ = '.';
    uint64_t rest = value % scale;
    for (int i = decimals - 1; i >= 0; i--) {
        out[i] = (char)('0' + rest % 10);
        rest /= 10;
    }
    return out + decimals;
}

static char *market_put_level(char *out, int64_t cents, uint64_t amount)
{
    *out++ = '[';
    out = market_put_fixed(out, (uint64_t)(cents > 0 ? cents : 1), 2);
    *out++ = ',';
    out = market_put_fixed(out, amount, 4);
    *out++ = ']';
    return out;
}

static char *market_put_side(char *out, const market_update *update, int64_t sign)
{
    for (int64_t level = 1; level <= MARKET_LEVELS; level++) {
        if (level > 1) {
            *out++ = ',';
        }
        const uint64_t amount = sign > 0 ? update->amount : update->amount_other;
        out = market_put_level(
            out,
            update->price_cents + sign * level * update->spread_cents,
            amount * (uint64_t)level);
    }
    return out;
}

size_t market_format(const market *m, const market_update *update, uint64_t time_ns, char *out)
{
    assert(update->topic < m->topic_count);
    const market_topic *topic = &m->topics[update->topic];
    char *at = out;
    memcpy(at, topic->head, topic->head_size);
    at = market_put_digits(at + topic->head_size, update->sequence);
    at = MARKET_PUT(at, ",\"ts_ns\":");
    at = market_put_digits(at, time_ns);
    if (topic->is_book) {
        at = MARKET_PUT(at, ",\"bids\":[");
        at = market_put_side(at, update, -1);
        at = MARKET_PUT(at, "],\"asks\":[");
        at = market_put_side(at, update, 1);
        at = MARKET_PUT(at, "]}}}");
    } else {
        at = MARKET_PUT(at, ",\"price\":");
        at = market_put_fixed(at, (uint64_t)update->price_cents, 2);
        at = MARKET_PUT(at, ",\"amount\":");
        at = market_put_fixed(at, update->amount, 4);
        at = update->is_buy ? MARKET_PUT(at, ",\"side\":\"buy\"}}}")
                            : MARKET_PUT(at, ",\"side\":\"sell\"}}}");
    }
    const size_t size = (size_t)(at - out);
    assert(size < MARKET_UPDATE_BYTES);
    return size;
}

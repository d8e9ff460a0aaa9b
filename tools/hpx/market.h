/* SPDX-License-Identifier: Apache-2.0 */
/*
 * market.h - the simulated market: symbols, a seeded random walk, and the updates as JSON.
 *
 * The same symbols and seed give the same sequence of prices, amounts and topics, always.
 */
#ifndef HPX_TOOL_MARKET_H
#define HPX_TOOL_MARKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MARKET_SYMBOLS_MAX     256u
#define MARKET_TOPICS_MAX      (2u * MARKET_SYMBOLS_MAX) /* trades.X and book.X */
#define MARKET_SYMBOL_BYTES    24u
#define MARKET_TOPIC_BYTES     (MARKET_SYMBOL_BYTES + 8u)
#define MARKET_UPDATE_BYTES    512u /* an update is always shorter */
#define MARKET_SYMBOLS_DEFAULT "BTC-USD,ETH-USD,SOL-USD"

typedef struct market_symbol {
    char name[MARKET_SYMBOL_BYTES + 1];
    int64_t price_cents; /* last price */
    int64_t start_cents; /* the walk stays within half and twice of this */
} market_symbol;

typedef struct market_topic {
    char name[MARKET_TOPIC_BYTES + 1];
    char head[MARKET_TOPIC_BYTES + 112]; /* the update up to its sequence number */
    size_t head_size;
    uint32_t symbol;
    bool is_book;
    uint64_t sequence; /* of the last update; counts from 1 */
} market_topic;

typedef struct market {
    uint64_t random;
    uint32_t symbol_count;
    uint32_t topic_count;
    market_symbol symbols[MARKET_SYMBOLS_MAX];
    market_topic topics[MARKET_TOPICS_MAX];
} market;

/* One update, before it is written out. */
typedef struct market_update {
    uint32_t topic;
    uint64_t sequence;
    int64_t price_cents;  /* of the trade, or the middle of the book */
    int64_t spread_cents; /* book: distance from the middle to the best prices */
    uint64_t amount;      /* in 1/10000 */
    uint64_t amount_other;
    bool is_buy;
} market_update;

/* `symbols` is "BTC-USD,ETH-USD": 1..256 names of A-Z a-z 0-9 - _, each once. False: `why` (static)
 * says what is wrong. */
bool market_init(market *m, const char *symbols, uint64_t seed, const char **why);

/* Index of the topic, or -1. */
int market_find_topic(const market *m, const char *name, size_t size);

/* Index of the symbol, or -1. */
int market_find_symbol(const market *m, const char *name);

/* One step of the market: the next topic and its update. */
market_update market_step(market *m);

/* The update as JSON; `out` has MARKET_UPDATE_BYTES. Returns its size; not NUL-terminated. */
size_t market_format(const market *m, const market_update *update, uint64_t time_ns, char *out);

#endif /* HPX_TOOL_MARKET_H */

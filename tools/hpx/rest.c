/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rest.c - the exchange simulator's REST side: routes, market data, limits.
 *
 * Errors are {"error":{"code":"...","message":"..."}} with a status that fits.
 */
#include "rest.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct rest_route {
    const char *method;
    const char *path; /* ending with "/": an argument follows */
    rest_route_fn run;
    bool needs_auth;
} rest_route;

/* ---- Answers --------------------------------------------------------------------------------- */

void rest_answer_json(rest_ask *ask, uint16_t status)
{
    assert(!ask->body.full);
    const hpx_http_header headers[] = {
        hpx_http_header_of("Content-Type", "application/json"),
        hpx_http_header_of("Cache-Control", "no-store"),
        hpx_http_header_of("Retry-After", "1")};
    const bool later = status == 429 || status == 503;
    const hpx_span body = {(const uint8_t *)ask->body.data, ask->body.size};
    (void)hpx_http_call_answer(ask->call, status, headers, later ? 3 : 2, body, NULL);
}

void rest_answer_error(rest_ask *ask, uint16_t status, const char *code, const char *message)
{
    text_init(&ask->body, ask->rest->body, sizeof(ask->rest->body));
    text_addf(&ask->body, "{\"error\":{\"code\":\"%s\",\"message\":\"%s\"}}", code, message);
    rest_answer_json(ask, status);
}

/* The value of `name` in "a=1&b=2", or a span without data. */
static hpx_span rest_query_find(hpx_span query, const char *name)
{
    const size_t name_bytes = strlen(name);
    while (query.size != 0) {
        const uint8_t *end = memchr(query.data, '&', query.size);
        const size_t bytes = end == NULL ? query.size : (size_t)(end - query.data);
        if (bytes > name_bytes && memcmp(query.data, name, name_bytes) == 0 &&
            query.data[name_bytes] == '=') {
            return (hpx_span){query.data + name_bytes + 1, bytes - name_bytes - 1};
        }
        const size_t skip = end == NULL ? bytes : bytes + 1;
        query.data += skip;
        query.size -= skip;
    }
    return (hpx_span){0};
}

bool rest_query(rest_ask *ask, const char *name, uint64_t min, uint64_t max, uint64_t *value)
{
    const hpx_span found = rest_query_find(ask->info->query, name);
    if (found.data == NULL) {
        return true;
    }
    uint64_t number = 0;
    bool good = found.size != 0 && found.size < 19;
    for (size_t i = 0; i < found.size && good; i++) {
        good = found.data[i] >= '0' && found.data[i] <= '9';
        number = number * 10 + (uint64_t)(found.data[i] - '0');
    }
    if (!good || number < min || number > max) {
        char message[128];
        snprintf(
            message,
            sizeof(message),
            "%s is a number from %llu to %llu",
            name,
            (unsigned long long)min,
            (unsigned long long)max);
        rest_answer_error(ask, 400, "invalid_parameter", message);
        return false;
    }
    *value = number;
    return true;
}

/* ---- Market data ----------------------------------------------------------------------------- */

static void rest_time(rest_ask *ask)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_REALTIME, &now);
    text_addf(&ask->body, "{\"time_ns\":%lld%09ld}", (long long)now.tv_sec, (long)now.tv_nsec);
    rest_answer_json(ask, 200);
}

static void rest_symbols(rest_ask *ask)
{
    const market *m = ask->rest->market;
    text_add(&ask->body, "{\"symbols\":[");
    for (uint32_t i = 0; i < m->symbol_count; i++) {
        text_addf(&ask->body, "%s\"%s\"", i == 0 ? "" : ",", m->symbols[i].name);
    }
    text_add(&ask->body, "]}");
    rest_answer_json(ask, 200);
}

static void rest_levels(rest_ask *ask, const market_symbol *symbol, uint64_t count, int64_t sign)
{
    const int64_t step = symbol->start_cents / 20000 + 1; /* as market_step() has it */
    for (uint64_t level = 1; level <= count; level++) {
        int64_t cents = symbol->price_cents + sign * (int64_t)level * step;
        cents = cents > 0 ? cents : 1;
        text_addf(
            &ask->body,
            "%s[%lld.%02lld,%llu.%04llu]",
            level == 1 ? "" : ",",
            (long long)cents / 100,
            (long long)cents % 100,
            (unsigned long long)(level % 7 + 1),
            (unsigned long long)(level * 7919 % 10000));
    }
}

/* A snapshot: `seq` is that of the last update of book.SYMBOL on the WebSocket. */
static void rest_book(rest_ask *ask)
{
    char name[MARKET_SYMBOL_BYTES + 1] = "";
    uint64_t depth = 10;
    if (!rest_query(ask, "depth", 1, REST_LEVELS_MAX, &depth)) {
        return;
    }
    const bool fits = ask->argument.size < sizeof(name);
    memcpy(name, ask->argument.data, fits ? ask->argument.size : 0);
    const int index = fits ? market_find_symbol(ask->rest->market, name) : -1;
    if (index < 0) {
        rest_answer_error(ask, 404, "unknown_symbol", "see /v1/symbols");
        return;
    }
    const market_symbol *symbol = &ask->rest->market->symbols[index];
    const market_topic *topic = &ask->rest->market->topics[2 * index + 1];
    assert(topic->is_book && topic->symbol == (uint32_t)index);
    text_addf(
        &ask->body,
        "{\"symbol\":\"%s\",\"seq\":%llu,\"bids\":[",
        symbol->name,
        (unsigned long long)topic->sequence);
    rest_levels(ask, symbol, depth, -1);
    text_add(&ask->body, "],\"asks\":[");
    rest_levels(ask, symbol, depth, 1);
    text_add(&ask->body, "]}");
    rest_answer_json(ask, 200);
}

/* Its body again: to test requests with. */
static void rest_echo(rest_ask *ask)
{
    const hpx_http_header type = hpx_http_header_of("Content-Type", "application/octet-stream");
    (void)hpx_http_call_answer(ask->call, 200, &type, 1, ask->info->body, NULL);
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static const rest_route rest_routes[] = {
    {"GET", "/v1/time", rest_time, false},
    {"GET", "/v1/symbols", rest_symbols, false},
    {"GET", "/v1/book/", rest_book, false},
    {"GET", "/v1/orders", rest_orders_list, true},
    {"POST", "/v1/orders", rest_orders_create, true},
    {"GET", "/v1/orders/", rest_orders_get, true},
    {"DELETE", "/v1/orders/", rest_orders_cancel, true},
    {"POST", "/v1/echo", rest_echo, false},
    {"PUT", "/v1/echo", rest_echo, false},
    {"GET", "/v1/slow", rest_play_slow, false},
    {"GET", "/v1/pieces", rest_play_pieces, false},
    {"GET", "/v1/large", rest_play_large, false},
    {"GET", "/v1/status/", rest_play_status, false},
    {"GET", "/v1/fault/", rest_play_fault, false},
};

static bool rest_span_is(hpx_span span, const char *string)
{
    return span.size == strlen(string) && memcmp(span.data, string, span.size) == 0;
}

/* Does the path lead to this route? Then the argument is set. */
static bool rest_route_takes(const rest_route *route, hpx_span path, hpx_span *argument)
{
    const size_t bytes = strlen(route->path);
    if (route->path[bytes - 1] != '/') {
        *argument = (hpx_span){0};
        return rest_span_is(path, route->path);
    }
    if (path.size <= bytes || memcmp(path.data, route->path, bytes) != 0) {
        return false;
    }
    *argument = (hpx_span){path.data + bytes, path.size - bytes};
    return memchr(argument->data, '/', argument->size) == NULL;
}

static bool rest_is_authorised(const rest_ask *ask)
{
    return rest_span_is(hpx_http_call_header(ask->call, "Authorization"), "Bearer " REST_SECRET);
}

static void rest_refuse_method(rest_ask *ask, const char *allowed)
{
    const hpx_http_header allow = hpx_http_header_of("Allow", allowed);
    (void)hpx_http_call_answer(ask->call, 405, &allow, 1, (hpx_span){0}, NULL);
}

static void rest_dispatch(rest_ask *ask)
{
    char allowed[64];
    text methods;
    text_init(&methods, allowed, sizeof(allowed));
    for (size_t i = 0; i < CLI_COUNT_OF(rest_routes); i++) {
        const rest_route *route = &rest_routes[i];
        if (!rest_route_takes(route, ask->info->path, &ask->argument)) {
            continue;
        }
        const bool head =
            rest_span_is(ask->info->method, "HEAD") && strcmp(route->method, "GET") == 0;
        if (!head && !rest_span_is(ask->info->method, route->method)) {
            text_addf(&methods, "%s%s", methods.size == 0 ? "" : ", ", route->method);
            continue;
        }
        if (route->needs_auth && !rest_is_authorised(ask)) {
            rest_answer_error(ask, 401, "unauthorized", "send Authorization: Bearer " REST_SECRET);
            return;
        }
        route->run(ask);
        return;
    }
    if (methods.size != 0) {
        rest_refuse_method(ask, methods.data);
    } else {
        rest_answer_error(ask, 404, "not_found", "no such path");
    }
}

/* A token bucket, one second deep. */
static bool rest_is_over_limit(rest *r, uint64_t now_ns)
{
    if (r->limit == 0) {
        return false;
    }
    r->tokens += (double)(now_ns - r->tokens_ns) / (double)HPX_NS_PER_S * (double)r->limit;
    r->tokens = r->tokens < (double)r->limit ? r->tokens : (double)r->limit;
    r->tokens_ns = now_ns;
    if (r->tokens < 1) {
        return true;
    }
    r->tokens -= 1;
    return false;
}

static void rest_on_request(rest *r, hpx_http_call *call, const hpx_http_call_event *event)
{
    r->requests++;
    rest_ask ask = {.rest = r, .call = call, .info = event->info};
    text_init(&ask.body, r->body, sizeof(r->body));
    if (rest_is_over_limit(r, event->time_ns)) {
        rest_answer_error(&ask, 429, "too_many_requests", "over the limit of --rest-limit");
    } else {
        rest_dispatch(&ask);
    }
}

/* A call's user pointer is the rest side, or its task. Hence one rest side per thread. */
static _Thread_local rest *rest_of_thread;

static void rest_on_event(hpx_http_call *call, const hpx_http_call_event *event, void *user)
{
    rest *r = rest_of_thread;
    switch (event->kind) {
    case HPX_HTTP_CALL_REQUEST:
        assert(user == r);
        rest_on_request(r, call, event);
        break;
    case HPX_HTTP_CALL_WRITABLE:
        rest_task_writable(r, call);
        break;
    case HPX_HTTP_CALL_CLOSED:
        if (user != r) {
            rest_task_closed(r, call);
        }
        break;
    }
}

/* ---- Up and down ----------------------------------------------------------------------------- */

hpx_status rest_open(
    rest **out,
    hpx_shard *shard,
    const rest_config *config,
    char *address,
    size_t address_bytes,
    hpx_error *error)
{
    *out = NULL;
    rest *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        *error = (hpx_error){.status = HPX_E_NO_MEMORY, .stage = HPX_STAGE_CONFIG};
        snprintf(error->detail, sizeof(error->detail), "exchange: out of memory");
        return HPX_E_NO_MEMORY;
    }
    r->market = config->market;
    r->limit = config->limit;
    r->tokens = (double)config->limit;
    r->tokens_ns = hpx_clock_now_ns();
    rest_of_thread = r;
    hpx_http_server_config server = HPX_HTTP_SERVER_CONFIG_INIT;
    server.address = config->listen;
    server.tls = config->tls;
    server.on_event = rest_on_event;
    server.user = r;
    const hpx_status status = hpx_shard_http_listen(shard, &server, &r->server, error);
    if (status != HPX_OK) {
        free(r);
        return status;
    }
    const char *colon = strrchr(config->listen, ':');
    assert(colon != NULL); /* or hpx_shard_http_listen() had refused it */
    snprintf(
        address,
        address_bytes,
        "%.*s:%u",
        (int)(colon - config->listen),
        config->listen,
        (unsigned)hpx_http_server_get_port(r->server));
    *out = r;
    return HPX_OK;
}

void rest_free(rest *r)
{
    if (r != NULL) {
        assert(r->tasks == NULL); /* every call got its CLOSED event */
        rest_of_thread = NULL;
        free(r);
    }
}

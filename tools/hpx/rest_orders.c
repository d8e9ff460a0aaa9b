/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rest_orders.c - the REST side's orders: created, listed, looked at, cancelled. They rest: the
 * simulator fills nothing.
 *
 * A request with a client_order_id that is in use is refused with 409: a gateway that sends an
 * order twice finds out here.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "rest.h"

#define ORDERS_PAGE_MAX 500u

static void orders_add(text *body, const rest *r, const rest_order *order, const char *state)
{
    text_addf(
        body,
        "{\"order_id\":\"HPX-R%llu\",\"symbol\":\"%s\",\"side\":\"%s\",\"amount\":%s,"
        "\"price\":%s,\"client_order_id\":",
        (unsigned long long)order->id,
        r->market->symbols[order->symbol].name,
        order->is_buy ? "buy" : "sell",
        order->amount,
        order->price);
    text_add_json(body, order->client_id, strlen(order->client_id));
    text_addf(body, ",\"state\":\"%s\"}", state);
}

/* ---- The request ----------------------------------------------------------------------------- */

/* A string without NUL bytes that fits into `out`; "" if it is not there. */
static bool orders_read_string(yyjson_val *object, const char *name, char *out, size_t out_bytes)
{
    yyjson_val *value = yyjson_obj_get(object, name);
    out[0] = '\0';
    if (value == NULL) {
        return true;
    }
    const size_t size = yyjson_get_len(value);
    const char *bytes = yyjson_get_str(value);
    if (bytes == NULL || size >= out_bytes || strlen(bytes) != size) {
        return false;
    }
    memcpy(out, bytes, size + 1);
    return true;
}

/* A finite number above 0, kept as it was written. */
static bool orders_read_number(yyjson_val *object, const char *name, char out[REST_NUMBER_BYTES])
{
    yyjson_val *value = yyjson_obj_get(object, name);
    const char *digits = yyjson_get_raw(value);
    const size_t size = yyjson_get_len(value);
    if (digits == NULL || size >= REST_NUMBER_BYTES) {
        return false;
    }
    memcpy(out, digits, size);
    out[size] = '\0';
    const double number = strtod(out, NULL);
    return isfinite(number) && number > 0;
}

/* NULL, or what is wrong with it. */
static const char *orders_read(const rest *r, yyjson_val *root, rest_order *order)
{
    char symbol[MARKET_SYMBOL_BYTES + 1];
    char side[8];
    if (!yyjson_is_obj(root)) {
        return "the body is not a JSON object";
    }
    if (!orders_read_string(root, "symbol", symbol, sizeof(symbol)) ||
        market_find_symbol(r->market, symbol) < 0) {
        return "symbol is not a known one";
    }
    order->symbol = (uint32_t)market_find_symbol(r->market, symbol);
    if (!orders_read_string(root, "side", side, sizeof(side)) ||
        (strcmp(side, "buy") != 0 && strcmp(side, "sell") != 0)) {
        return "side is buy or sell";
    }
    order->is_buy = strcmp(side, "buy") == 0;
    if (!orders_read_number(root, "amount", order->amount) ||
        !orders_read_number(root, "price", order->price)) {
        return "amount and price are numbers above 0";
    }
    if (!orders_read_string(root, "client_order_id", order->client_id, REST_ID_BYTES)) {
        return "client_order_id is a string of up to 63 bytes";
    }
    return NULL;
}

/* ---- Routes ---------------------------------------------------------------------------------- */

static rest_order *orders_free_slot(rest *r)
{
    for (uint32_t i = 0; i < REST_ORDERS_MAX; i++) {
        if (r->orders[i].id == 0) {
            return &r->orders[i];
        }
    }
    return NULL;
}

static bool orders_has_client_id(const rest *r, const char *client_id)
{
    for (uint32_t i = 0; i < REST_ORDERS_MAX && client_id[0] != '\0'; i++) {
        if (r->orders[i].id != 0 && strcmp(r->orders[i].client_id, client_id) == 0) {
            return true;
        }
    }
    return false;
}

static void orders_create(rest_ask *ask, const rest_order *wanted)
{
    rest *r = ask->rest;
    if (orders_has_client_id(r, wanted->client_id)) {
        rest_answer_error(ask, 409, "duplicate_order", "client_order_id is in use");
        return;
    }
    rest_order *slot = orders_free_slot(r);
    if (slot == NULL) {
        rest_answer_error(ask, 503, "too_many_orders", "1024 orders are open");
        return;
    }
    *slot = *wanted;
    slot->id = ++r->order_last;
    r->order_count++;
    orders_add(&ask->body, r, slot, "open");
    rest_answer_json(ask, 201);
}

void rest_orders_create(rest_ask *ask)
{
    char copy[4096]; /* yyjson takes bytes that it may not change, but not const */
    const hpx_span body = ask->info->body;
    if (body.size == 0 || body.size > sizeof(copy)) {
        rest_answer_error(ask, 400, "invalid_order", "the body is empty, or over 4096 bytes");
        return;
    }
    memcpy(copy, body.data, body.size);
    yyjson_doc *doc = yyjson_read_opts(copy, body.size, YYJSON_READ_NUMBER_AS_RAW, NULL, NULL);
    rest_order order = {0};
    const char *wrong = orders_read(ask->rest, yyjson_doc_get_root(doc), &order);
    if (wrong != NULL) {
        rest_answer_error(ask, 400, "invalid_order", wrong);
    } else {
        orders_create(ask, &order);
    }
    yyjson_doc_free(doc);
}

void rest_orders_list(rest_ask *ask)
{
    const rest *r = ask->rest;
    uint32_t shown = 0;
    text_addf(&ask->body, "{\"count\":%u,\"orders\":[", r->order_count);
    for (uint32_t i = 0; i < REST_ORDERS_MAX && shown < ORDERS_PAGE_MAX; i++) {
        if (r->orders[i].id != 0) {
            text_add(&ask->body, shown++ == 0 ? "" : ",");
            orders_add(&ask->body, r, &r->orders[i], "open");
        }
    }
    text_add(&ask->body, "]}");
    rest_answer_json(ask, 200);
}

/* The order that the argument names ("HPX-R17"); NULL: a 404 was sent. */
static rest_order *orders_named(rest_ask *ask)
{
    rest *r = ask->rest;
    for (uint32_t i = 0; i < REST_ORDERS_MAX; i++) {
        char name[32];
        const int bytes =
            snprintf(name, sizeof(name), "HPX-R%llu", (unsigned long long)r->orders[i].id);
        if (r->orders[i].id != 0 && (size_t)bytes == ask->argument.size &&
            memcmp(name, ask->argument.data, ask->argument.size) == 0) {
            return &r->orders[i];
        }
    }
    rest_answer_error(ask, 404, "unknown_order", "no open order has this id");
    return NULL;
}

void rest_orders_get(rest_ask *ask)
{
    const rest_order *order = orders_named(ask);
    if (order != NULL) {
        orders_add(&ask->body, ask->rest, order, "open");
        rest_answer_json(ask, 200);
    }
}

void rest_orders_cancel(rest_ask *ask)
{
    rest_order *order = orders_named(ask);
    if (order != NULL) {
        orders_add(&ask->body, ask->rest, order, "cancelled");
        *order = (rest_order){0};
        ask->rest->order_count--;
        rest_answer_json(ask, 200);
    }
}

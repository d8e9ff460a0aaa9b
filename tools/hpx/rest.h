/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rest.h - the exchange simulator's REST side: time, books, orders; and answers that are slow, in
 * pieces, large, refused or broken, on request.
 *
 * Role      rest.c has the routes, rest_orders.c the orders, rest_play.c what takes time or is
 *           broken on purpose. HTTP/1.1 and HTTP/2, on the exchange's shard.
 * Threads   The shard's owner.
 * Memory    One task for each answer that takes time; orders in a fixed table.
 */
#ifndef HPX_TOOL_REST_H
#define HPX_TOOL_REST_H

#include <hpx/hpx.h>

#include "market.h"
#include "text.h"

#define REST_ORDERS_MAX   1024u
#define REST_NUMBER_BYTES 32u
#define REST_ID_BYTES     64u
#define REST_BODY_BYTES   (256u << 10) /* an answer that is made in memory is shorter */
#define REST_LEVELS_MAX   1000u
#define REST_SECRET       "secret"

typedef struct rest_config {
    const char *listen;   /* ADDR:PORT */
    hpx_tls_context *tls; /* NULL: plain */
    const market *market; /* must outlive it */
    uint64_t limit;       /* requests per second, over: 429; 0: none */
} rest_config;

typedef struct rest_order {
    uint64_t id; /* 0: free */
    uint32_t symbol;
    bool is_buy;
    char amount[REST_NUMBER_BYTES]; /* as the client wrote it */
    char price[REST_NUMBER_BYTES];
    char client_id[REST_ID_BYTES]; /* or "" */
} rest_order;

typedef struct rest_task rest_task; /* an answer that takes time */

typedef struct rest {
    hpx_http_server *server;
    const market *market;
    uint64_t limit;
    double tokens;
    uint64_t tokens_ns; /* when they were counted */
    uint64_t order_last;
    uint32_t order_count;
    rest_order orders[REST_ORDERS_MAX];
    rest_task *tasks;
    uint64_t requests;
    char body[REST_BODY_BYTES];
} rest;

/* Listen on the shard. `address` is set to HOST:PORT with the port that was bound. */
hpx_status rest_open(
    rest **out,
    hpx_shard *shard,
    const rest_config *config,
    char *address,
    size_t address_bytes,
    hpx_error *error);

/* When its shard was detached. NULL is a no-op. */
void rest_free(rest *r);

/* Go on with what is due. Returns how long until something is; UINT64_MAX: nothing will be. */
uint64_t rest_turn(rest *r, uint64_t now_ns);

/* ---- Shared by its files --------------------------------------------------------------------- */

/* A request on its way to its route; `argument` is what follows the route's path. */
typedef struct rest_ask {
    rest *rest;
    hpx_http_call *call;
    const hpx_http_call_info *info;
    hpx_span argument;
    text body; /* empty, over rest->body */
} rest_ask;

typedef void (*rest_route_fn)(rest_ask *ask);

void rest_answer_json(rest_ask *ask, uint16_t status); /* ask->body */
void rest_answer_error(rest_ask *ask, uint16_t status, const char *code, const char *message);

/* A number in the query, min..max; `value` if it is not there. False: a 400 was sent. */
bool rest_query(rest_ask *ask, const char *name, uint64_t min, uint64_t max, uint64_t *value);

/* rest_orders.c */
void rest_orders_list(rest_ask *ask);
void rest_orders_create(rest_ask *ask);
void rest_orders_get(rest_ask *ask);
void rest_orders_cancel(rest_ask *ask);

/* rest_play.c */
void rest_play_slow(rest_ask *ask);
void rest_play_pieces(rest_ask *ask);
void rest_play_large(rest_ask *ask);
void rest_play_status(rest_ask *ask);
void rest_play_fault(rest_ask *ask);
void rest_task_writable(rest *r, hpx_http_call *call);
void rest_task_closed(rest *r, hpx_http_call *call);

#endif /* HPX_TOOL_REST_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_client.h - a client as the app holds it: on a shard, or on a port.
 *
 * Threads   The client's: the shard's, or the port's.
 */
#ifndef HPXI_HTTP_CLIENT_H
#define HPXI_HTTP_CLIENT_H

#include "engine/http_link.h"

/* A request of a client on a port. */
typedef struct hpxi_http_port_slot {
    hpx_http_id id; /* of its present or last request */
    void *user;
    uint32_t shard;
    bool open;
    bool cancelled;   /* one cancel is enough: more of them would fill the ring */
    bool cancel_owed; /* the command ring had no room for it */
} hpxi_http_port_slot;

struct hpx_http_client {
    hpxi_http_settings *settings;
    hpxi_http_core *core; /* on a shard; NULL: on a port, and what follows */
    hpx_port *port;
    hpxi_http_link **links; /* [shard_count], made when first used */
    uint32_t shard_count;
    hpxi_http_port_slot *slots; /* [requests_max] */
    uint32_t *free_slots;       /* stack */
    uint32_t free_count;
    uint32_t open_count;
    uint32_t cancels_owed;
    uint64_t generation;
    hpxi_buf packed;          /* scratch */
    hpx_http_header *headers; /* of the event that the app looks at */
    hpx_error error;          /* of an END made here */
    hpx_http_info info;
    hpxi_http_link *held;  /* link whose front record the app looks at */
    hpxi_http_block block; /* which that record owned */
    uint32_t next_shard;   /* round robin */
    hpx_http_client *next; /* the port's */
    hpx_http_client *prev;
};

/* http_port.c */
void hpxi_http_port_release(hpx_http_client *client);
hpx_status hpxi_http_port_send(
    hpx_http_client *client, const hpx_http_request *request, hpx_http_id *id, hpx_error *error);
hpx_status hpxi_http_port_cancel(hpx_http_client *client, hpx_http_id id);
hpx_status hpxi_http_port_resume(hpx_http_client *client, hpx_http_id id);
hpx_status hpxi_http_port_warm_up(
    hpx_http_client *client, const hpx_http_request *request, uint32_t count, hpx_error *error);

#endif /* HPXI_HTTP_CLIENT_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_peer.h - the tests that every WebSocket server of other people has to pass with our client;
 * test_node_ws.c and test_python_ws.c run them.
 *
 * The servers' paths are described in servers/ws_server.js.
 */
#ifndef HPX_TESTS_E2E_WS_PEER_H
#define HPX_TESTS_E2E_WS_PEER_H

#include "tests/e2e/client.h"
#include "tests/e2e/peer.h"

typedef struct ws_peer {
    e2e_peer process;
    char folder[PEER_PATH_BYTES]; /* certificates */
    uint16_t port;
    uint16_t tls_port;
    hpx_tls_context *tls; /* trusts ca.pem */
} ws_peer;

/* One way to hold a connection. */
typedef struct ws_way {
    client_form form;
    hpx_receive_mode mode;
    bool tls;
} ws_way;

/* All of them, or without hot receiving. */
#define WS_WAYS       12
#define WS_WAYS_PLAIN 6
extern const ws_way ws_ways[WS_WAYS];

/* Makes certificates in a new folder; `names` as for servers/make_certs.sh, ends with NULL. */
void ws_certs(char folder[PEER_PATH_BYTES], const char *const *names);

/* A client context that trusts FOLDER/ca.pem. */
hpx_tls_context *ws_trust(const char *folder);

void ws_peer_start(ws_peer *server, const char *script);
void ws_peer_stop(ws_peer *server);

/* The config of a connection to `path`; `url` is where it is built. */
#define WS_URL_BYTES 256
hpx_ws_config
ws_peer_config(const ws_peer *server, const ws_way *way, const char *path, char url[WS_URL_BYTES]);

/* The scripts. */
void ws_check_echo(ws_peer *server, const ws_way *way, size_t bytes_max);
void ws_check_fragments(ws_peer *server, const ws_way *way, size_t bytes_max);
void ws_check_pipelined(ws_peer *server, const ws_way *way);
void ws_check_ping(ws_peer *server, const ws_way *way);
void ws_check_server_close(ws_peer *server, const ws_way *way);
void ws_check_our_close(ws_peer *server, const ws_way *way);
void ws_check_subprotocol(ws_peer *server, const ws_way *way);
void ws_check_headers(ws_peer *server, const ws_way *way);

#endif /* HPX_TESTS_E2E_WS_PEER_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - other TLS implementations as processes of the test, and our session over a blocking
 * socket to talk to them. Certificates are made by OpenSSL (make_certs.sh). Every wait has a limit.
 */
#ifndef HPX_TESTS_TLS_PEER_H
#define HPX_TESTS_TLS_PEER_H

#include <sys/types.h>

#include "tests/tls/certs.h"
#include "tls/tls.h"

#define PEER_WAIT_MS       20000
#define PEER_ARGUMENTS_MAX 32

/* cmocka's group fixtures: the folder with the certificates. */
int peer_setup(void **state);
int peer_teardown(void **state);
/* Path of a file in that folder; good for the next seven calls. */
const char *peer_file(const char *name);

/* A client's context that trusts make_certs.sh's root; `config` (may be NULL) says the rest. */
hpx_tls_context *peer_client_context(const hpx_tls_config *config);

/* A process with pipes to its standard input and from its standard output. */
typedef struct process {
    pid_t pid;
    int in;
    int out;
    int death_signal;
} process;

void process_start(process *p, const char *const *arguments);
/* For one with processes of its own, which it ends at that signal. */
void process_start_until(process *p, const char *const *arguments, int death_signal);
void process_end(process *p);
/* Reads the process's output until `text` is in it. */
void process_expect(process *p, char *output, size_t output_bytes, const char *text);
void process_say(process *p, const char *text);

int peer_connect(uint16_t port);
int peer_try_connect(uint16_t port); /* -1: nobody listens */
int peer_listen(uint16_t *port);
int peer_accept(int listener);

/* A session over a blocking socket. */
typedef struct wire {
    int fd;
    hpxi_tls *tls;
    hpxi_buf out;
    uint8_t input[4096];
    uint8_t *data;
    size_t size;
    hpx_error error;
} wire;

extern const hpx_allocator wire_allocator;

void wire_open(wire *w, int fd, const hpxi_tls_session_config *config);
void wire_close(wire *w);
void wire_flush(wire *w);
bool wire_fill(wire *w); /* false: the peer closed, or the limit passed */
/* 1, or why not; HPX_E_EOF when the peer just closed. */
hpx_status wire_handshake(wire *w);
void wire_write(wire *w, const char *text);
/* Reads until `text` has come, or, with "", the peer's close_notify. */
void wire_expect(wire *w, const char *text);
/* Waits for records that hold no application data. */
void wire_expect_nothing(wire *w);

#endif /* HPX_TESTS_TLS_PEER_H */

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * script_server.h - a TCP server on loopback that misbehaves as a script says. No library of ours.
 *
 * Threads   The script runs on the server's thread, one connection after the other; what it found
 *           is read by the test after script_await(). Scripts assert nothing: cmocka's jumps stay
 *           on their own thread.
 */
#ifndef HPX_TESTS_E2E_SCRIPT_SERVER_H
#define HPX_TESTS_E2E_SCRIPT_SERVER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCRIPT_HEAD_BYTES 4096

/* How a connection of the script ended. */
enum {
    SCRIPT_SAW_EOF = -1,   /* FIN without a CLOSE frame */
    SCRIPT_SAW_RESET = -2, /* or an error of the socket */
    SCRIPT_SAW_NOTHING = -3,
};

typedef struct script_conn {
    int fd;
    int release;                  /* eventfd of script_hold() */
    char head[SCRIPT_HEAD_BYTES]; /* of the request, NUL-terminated */
    size_t head_bytes;
} script_conn;

/* Returns what it saw at the end: a close code, or one of the above. The descriptor is closed
 * afterwards unless the script has set it to -1. */
typedef int (*script_fn)(script_conn *conn, void *user);

typedef struct script_server {
    int fd;
    uint16_t port;
    int stop; /* eventfds */
    int release;
    pthread_t thread;
    script_fn serve;
    void *user;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    uint32_t served;
    int saw;
} script_server;

void script_start(script_server *server, script_fn serve, void *user);
void script_stop(script_server *server);

/* Waits until `count` connections were served; returns what the last one saw. */
int script_await(script_server *server, uint32_t count);

/* Lets one script_hold() go on. */
void script_release(script_server *server);

/* Connections served so far. */
uint32_t script_served(script_server *server);

/* ---- For scripts ----------------------------------------------------------------------------- */

/* Reads the head of a request. False if the peer left before. */
bool script_read_head(script_conn *conn);

/* Writes all; false if the peer is gone. */
bool script_write(script_conn *conn, const void *data, size_t size);

/* Time for what was written to be read alone: a hint to the scheduler, nothing depends on it. */
void script_rest(void);

/* Writes `step` bytes at a time, with a rest between. */
bool script_dribble(script_conn *conn, const void *data, size_t size, size_t step);

/* "HTTP/1.1 101 ..." for the request in conn->head. Returns its length. */
size_t script_answer(const script_conn *conn, char *to, size_t to_bytes);

/* Reads frames until CLOSE (returns its code, 1005 for none), FIN or an error. */
int script_read_frames(script_conn *conn);

/* Reads until the peer's FIN: how it ended. */
int script_read_end(script_conn *conn);

/* Does nothing, whatever the peer does, until script_release(). */
void script_hold(const script_conn *conn);

/* RST instead of FIN. */
void script_reset(script_conn *conn);

/* ---- An address that answers nothing ----------------------------------------------------------
 */

/* A port on loopback that accepts no connection: its queue is full. */
typedef struct script_hole {
    int fds[4];
    uint16_t port;
} script_hole;

/* `family` is AF_INET or AF_INET6; port 0: any. False if the family is not there. */
bool script_hole_open(script_hole *hole, int family, uint16_t port);
void script_hole_close(script_hole *hole);

#endif /* HPX_TESTS_E2E_SCRIPT_SERVER_H */
